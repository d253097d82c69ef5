//! What an origin that cleans paths would make of a key.
//!
//! To S3 a key is an opaque name: `public/../private/x` is a key below `public/`. Some servers
//! clean the path first and would read `private/x`, or another bucket. `SeaweedFS` takes
//! `private\x` for `private/x`, and lists `private/` when it is asked for `/private/`. So a key or
//! a listed prefix that cleaning would change has to be allowed in every form that it could take.

/// Forms of `bucket/name` other than the literal one. `None` when cleaning leaves the root: no rule
/// could ever allow that.
pub fn aliases(bucket: &str, name: &str) -> Option<Vec<(String, String)>> {
    let mut forms = Vec::new();
    if name.contains('\\') {
        let slashed = name.replace('\\', "/");
        add_cleaned(&mut forms, bucket, &slashed)?;
        forms.push((bucket.to_owned(), slashed));
    }
    add_cleaned(&mut forms, bucket, name)?;
    forms.sort_unstable();
    forms.dedup();
    Some(forms)
}

/// Whether some origin may take a name for another one.
pub fn has_aliases(bucket: &str, name: &str) -> bool {
    aliases(bucket, name).is_none_or(|forms| !forms.is_empty())
}

fn add_cleaned(forms: &mut Vec<(String, String)>, bucket: &str, name: &str) -> Option<()> {
    if is_ambiguous(name) {
        for merge_slashes in [false, true] {
            forms.push(clean(bucket, name, merge_slashes)?);
            forms.push((bucket.to_owned(), clean_within(name, merge_slashes)));
        }
    }
    Some(())
}

fn is_ambiguous(key: &str) -> bool {
    let bytes = key.as_bytes();
    let is_odd = |segment: &[u8]| matches!(segment, b"" | b"." | b"..");
    // One pass. A slash at the end is no odd segment.
    let segments = bytes.strip_suffix(b"/").unwrap_or(bytes);
    segments.split(|byte| *byte == b'/').any(is_odd) && !bytes.is_empty()
}

/// Removes dot segments over the whole path: `..` can lead to another bucket.
fn clean(bucket: &str, name: &str, merge_slashes: bool) -> Option<(String, String)> {
    let mut kept = vec![bucket];
    for segment in name.split('/') {
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
    Some(((*bucket).to_owned(), joined(rest, name, merge_slashes)))
}

/// Removes dot segments as a server does that knows the bucket already, from the path or from the
/// host: `..` stops there, as RFC 3986 section 5.2.4 has it.
fn clean_within(name: &str, merge_slashes: bool) -> String {
    let mut kept = Vec::new();
    for segment in name.split('/') {
        match segment {
            "." => {}
            ".." => {
                kept.pop();
            }
            "" if merge_slashes => {}
            _ => kept.push(segment),
        }
    }
    joined(&kept, name, merge_slashes)
}

/// Merging keeps a slash at the end.
fn joined(kept: &[&str], name: &str, merge_slashes: bool) -> String {
    let mut path = kept.join("/");
    if merge_slashes && name.ends_with('/') && !path.is_empty() {
        path.push('/');
    }
    path
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
        assert_eq!(
            forms("../other/x"),
            Some(vec!["b:other/x".into(), "other:x".into()])
        );
        assert_eq!(forms("a/./b"), one("b:a/b"));
        assert_eq!(forms("a//../b"), Some(vec!["b:a/b".into(), "b:b".into()]));
        assert_eq!(forms("a//b"), Some(vec!["b:a//b".into(), "b:a/b".into()]));
        assert_eq!(forms("/a/"), Some(vec!["b:/a/".into(), "b:a/".into()]));
        assert_eq!(forms("a\\b"), one("b:a/b"));
        assert_eq!(
            forms("a\\..\\b"),
            Some(vec!["b:a/../b".into(), "b:b".into()])
        );
        assert_eq!(forms("../../etc"), None);
        assert_eq!(forms(".."), None);
    }
}
