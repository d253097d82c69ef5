//! The answer of ListBuckets, read from origins and written for one client.
//! <https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListBuckets.html>

use super::xml;
use super::xml::Element;
use super::xml::MalformedXml;

/// Buckets read from one answer, at most: S3's own page size.
const MAX_BUCKETS: usize = 10_000;

/// Elements of such an answer.
const MAX_ELEMENTS: usize = MAX_BUCKETS * 5 + 16;

/// One bucket as an origin lists it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ListedBucket {
    /// Its name.
    pub name: String,
    /// When it was created, as the origin wrote it.
    pub creation_date: String,
}

/// One page of an origin's answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BucketPage {
    /// The buckets of this page.
    pub buckets: Vec<ListedBucket>,
    /// Where the next page begins.
    pub continuation_token: Option<String>,
}

impl BucketPage {
    /// Reads an origin's answer.
    pub fn parse(body: &[u8]) -> Result<Self, MalformedXml> {
        let root = Element::parse(body, MAX_ELEMENTS)?;
        if root.name != "ListAllMyBucketsResult" {
            return Err(MalformedXml);
        }
        let listed = root
            .child("Buckets")
            .map(|list| list.children.as_slice())
            .unwrap_or_default();
        let buckets = listed
            .iter()
            .filter_map(|bucket| {
                Some(ListedBucket {
                    name: bucket.child_text("Name")?.to_owned(),
                    creation_date: bucket
                        .child_text("CreationDate")
                        .unwrap_or_default()
                        .to_owned(),
                })
            })
            .collect();
        let token = root
            .child_text("ContinuationToken")
            .filter(|token| !token.is_empty());
        Ok(Self {
            buckets,
            continuation_token: token.map(str::to_owned),
        })
    }
}

/// What a client asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct BucketQuery<'a> {
    /// `prefix`.
    pub prefix: &'a str,
    /// `continuation-token`: here, the last name of the page before.
    pub after: &'a str,
    /// `max-buckets`.
    pub max_buckets: Option<usize>,
}

/// Writes the answer for one client from all buckets it may see.
pub fn write(mut buckets: Vec<ListedBucket>, query: BucketQuery<'_>, owner: &str) -> String {
    buckets.retain(|bucket| bucket.name.starts_with(query.prefix) && *bucket.name > *query.after);
    buckets.sort();
    buckets.dedup_by(|a, b| a.name == b.name);
    let page = query.max_buckets.unwrap_or(MAX_BUCKETS).min(buckets.len());
    let next = if page < buckets.len() {
        page.checked_sub(1).map(|last| &buckets[last])
    } else {
        None
    };
    let mut document = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<ListAllMyBucketsResult xmlns=\"{}\"><Owner>",
        xml::NAMESPACE
    );
    xml::write_text(&mut document, "ID", owner);
    xml::write_text(&mut document, "DisplayName", owner);
    document.push_str("</Owner><Buckets>");
    for bucket in &buckets[..page] {
        document.push_str("<Bucket>");
        xml::write_text(&mut document, "Name", &bucket.name);
        xml::write_text(&mut document, "CreationDate", &bucket.creation_date);
        document.push_str("</Bucket>");
    }
    document.push_str("</Buckets>");
    if let Some(last) = next {
        xml::write_text(&mut document, "ContinuationToken", &last.name);
    }
    if !query.prefix.is_empty() {
        xml::write_text(&mut document, "Prefix", query.prefix);
    }
    document.push_str("</ListAllMyBucketsResult>");
    document
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(names: &[&str]) -> Vec<ListedBucket> {
        let bucket = |name: &&str| ListedBucket {
            name: (*name).to_owned(),
            creation_date: "2026-01-01T00:00:00Z".to_owned(),
        };
        names.iter().map(bucket).collect()
    }

    fn names(document: &str) -> (Vec<String>, Option<String>) {
        let page = BucketPage::parse(document.as_bytes()).unwrap();
        (
            page.buckets.into_iter().map(|bucket| bucket.name).collect(),
            page.continuation_token,
        )
    }

    #[test]
    fn pages_follow_each_other_without_gap() {
        let all = listed(&["c", "a", "b", "a"]);
        let query = BucketQuery {
            max_buckets: Some(2),
            ..BucketQuery::default()
        };
        let (first, token) = names(&write(all.clone(), query, "me"));
        assert_eq!(first, ["a", "b"]);
        assert_eq!(token.as_deref(), Some("b"));
        let (second, token) = names(&write(
            all.clone(),
            BucketQuery {
                after: "b",
                ..query
            },
            "me",
        ));
        assert_eq!(second, ["c"]);
        assert_eq!(token, None);
        let prefixed = BucketQuery {
            prefix: "b",
            ..BucketQuery::default()
        };
        assert_eq!(names(&write(all, prefixed, "me")).0, ["b"]);
    }

    #[test]
    fn an_answer_of_something_else_is_no_list() {
        assert!(BucketPage::parse(b"<Error><Code>AccessDenied</Code></Error>").is_err());
        assert!(BucketPage::parse(b"<html>").is_err());
    }
}
