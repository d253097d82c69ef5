//! What an origin that cleans paths would make of a key.
//!
//! To S3 a key is an opaque name: `public/../private/x` is a key below `public/`. Some servers
//! clean the path first and would read `private/x`, or another bucket. So a key that cleaning
//! would change has to be allowed in every form that it could take.

/// Forms of `bucket/key` other than the literal one. `None` when cleaning leaves the root: no rule
/// could ever allow that.
pub(super) fn aliases(bucket: &str, key: &str) -> Option<Vec<(String, String)>> {
    if !is_ambiguous(key) {
        return Some(Vec::new());
    }
    let mut forms = Vec::new();
    for merge_slashes in [false, true] {
        let form = clean(bucket, key, merge_slashes)?;
        if !forms.contains(&form) {
            forms.push(form);
        }
    }
    Some(forms)
}

fn is_ambiguous(key: &str) -> bool {
    key.contains("//")
        || key.starts_with('/')
        || key
            .split('/')
            .any(|segment| segment == "." || segment == "..")
}

/// Removes dot segments as RFC 3986 section 5.2.4 does, over the whole path.
fn clean(bucket: &str, key: &str, merge_slashes: bool) -> Option<(String, String)> {
    let mut kept = vec![bucket];
    for segment in key.split('/') {
        match segment {
            "." => {}
            ".." => {
                kept.pop()?;
            }
            "" if merge_slashes => {}
            _ => kept.push(segment),
        }
    }
    let (bucket, rest) = kept.split_first()?;
    Some(((*bucket).to_owned(), rest.join("/")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn forms(key: &str) -> Option<Vec<String>> {
        let forms = aliases("b", key)?;
        Some(
            forms
                .into_iter()
                .map(|(bucket, key)| format!("{bucket}:{key}"))
                .collect(),
        )
    }

    #[test]
    fn plain_keys_have_no_other_form() {
        for key in ["a", "a/b/c.parquet", "a/", "..a/b..", "a/.../b"] {
            assert_eq!(forms(key), Some(Vec::new()), "{key}");
        }
    }

    #[test]
    fn every_form_a_cleaning_server_could_see() {
        let one = |form: &str| Some(vec![form.to_owned()]);
        assert_eq!(forms("public/../private/x"), one("b:private/x"));
        assert_eq!(forms("../other/x"), one("other:x"));
        assert_eq!(forms("a/./b"), one("b:a/b"));
        assert_eq!(forms("a//../b"), Some(vec!["b:a/b".into(), "b:b".into()]));
        assert_eq!(forms("a//b"), Some(vec!["b:a//b".into(), "b:a/b".into()]));
        assert_eq!(forms("../../etc"), None);
        assert_eq!(forms(".."), None);
    }
}
