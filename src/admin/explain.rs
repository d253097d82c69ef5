//! `GET /-/explain`: what is known of one object, and who may read it.

use async_trait::async_trait;
use http::StatusCode;
use serde::Serialize;

use super::pages::Page;
use super::query::Query;
use crate::s3::Bucket;
use crate::s3::Key;

/// Tells what is known of objects. It asks no origin.
#[async_trait]
pub trait Explain: Send + Sync {
    /// All about one object; `None` when no origin serves the bucket.
    async fn explain(&self, bucket: &Bucket, key: &Key) -> Option<Explained>;
}

/// All about an object.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Explained {
    /// Its bucket.
    pub bucket: String,
    /// Its key.
    pub key: String,
    /// The origin that serves it.
    pub origin: String,
    /// Whether it can be cached, as far as is known without asking.
    pub cacheable: bool,
    /// Why not: a detail of `Cache-Status`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why_not: Option<&'static str>,
    /// What is known: `fresh`, `stale`, `outdated`, `recalled`, `listed`, `absent` or `unknown`.
    pub state: &'static str,
    /// The same in a sentence.
    pub meaning: &'static str,
    /// The rule that holds.
    pub rule: Option<ExplainedRule>,
    /// The version that is known.
    pub version: Option<ExplainedVersion>,
    /// When the origin said so.
    pub learned: Option<String>,
    /// Until when it is read without asking; absent when it is not, or for ever.
    pub fresh_until: Option<String>,
    /// For how many more seconds.
    pub fresh_seconds: Option<u64>,
    /// What is stored of the version.
    pub blocks: Option<ExplainedBlocks>,
    /// The clients that may read it, by name.
    pub readers: Vec<ExplainedReader>,
}

/// A rule.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ExplainedRule {
    /// Its place in `cache.rules`, from 0; absent for the defaults.
    pub index: Option<usize>,
    /// As it could be written.
    pub text: String,
    /// What comes of it for this object: pointers of table formats are validated.
    pub freshness: String,
}

/// A version.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ExplainedVersion {
    /// Its ETag.
    pub etag: String,
    /// Its length.
    pub size: u64,
    /// When it was written.
    pub last_modified: Option<String>,
}

/// What is stored of a version.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ExplainedBlocks {
    /// How long a block is.
    pub block_size: u64,
    /// How many blocks the version has.
    pub count: u64,
    /// Those in memory.
    pub memory: ExplainedRuns,
    /// Those on disk.
    pub disk: ExplainedRuns,
    /// Whether there is more than is told here.
    pub cut: bool,
}

/// Some blocks.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ExplainedRuns {
    /// How many.
    pub blocks: u64,
    /// Their bytes.
    pub bytes: u64,
    /// The first and the last block of each run.
    pub runs: Vec<[u64; 2]>,
}

/// Somebody who may read an object.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ExplainedReader {
    /// The client's name; `anonymous`, or `web-identity:*` for all holders of such tokens.
    pub client: String,
    /// Whether the origin decides too, because the client signs as itself.
    pub asks_origin: bool,
}

/// The object that a query names.
pub(super) fn parse(query: &str) -> Result<(Bucket, Key), String> {
    let query = Query::parse(query, &["bucket", "key"])?;
    let bucket = query.get("bucket").ok_or("`bucket` is missing")?;
    let bucket = Bucket::new(bucket).map_err(|_| "`bucket` is no bucket name")?;
    let key = query.get("key").ok_or("`key` is missing")?;
    let key = Key::new(key).map_err(|_| "`key` is no key")?;
    Ok((bucket, key))
}

/// The page about an object.
pub(super) async fn page(explain: &dyn Explain, query: &str) -> Page {
    let (bucket, key) = match parse(query) {
        Ok(object) => object,
        Err(why) => return Page::refusal(StatusCode::BAD_REQUEST, &why),
    };
    match explain.explain(&bucket, &key).await {
        Some(explained) => Page::json(StatusCode::OK, &explained),
        None => Page::refusal(StatusCode::NOT_FOUND, "no origin serves this bucket"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_names_one_object() {
        let (bucket, key) = parse("bucket=lake&key=a%2Fb%20c").unwrap();
        assert_eq!((bucket.as_str(), key.as_str()), ("lake", "a/b c"));
        for (bad, why) in [
            ("", "`bucket` is missing"),
            ("bucket=lake", "`key` is missing"),
            ("bucket=..&key=a", "`bucket` is no bucket name"),
            ("bucket=lake&key=", "`key` is no key"),
            (
                "bucket=lake&key=a&prefix=b",
                "there is no parameter `prefix`",
            ),
        ] {
            assert_eq!(parse(bad), Err(why.to_owned()));
        }
    }
}
