//! `x-amz-copy-source`: the object that CopyObject and UploadPartCopy read.
//! <https://docs.aws.amazon.com/AmazonS3/latest/API/API_CopyObject.html>

use super::encoding::encode_key;
use super::names::Bucket;
use super::names::Key;

/// The source of a copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CopySource {
    /// Bucket it is read from.
    pub bucket: Bucket,
    /// Key it is read from.
    pub key: Key,
    /// Version, when one is named.
    pub version_id: Option<String>,
}

impl CopySource {
    /// Parses `[/]bucket/key[?versionId=id]`, percent-encoded. Access point ARNs are not objects of
    /// a bucket that rules could name, and are refused.
    pub fn parse(value: &str) -> Option<Self> {
        let (path, version_id) = match value.split_once("?versionId=") {
            Some((path, id)) if is_version_id(id) => (path, Some(id.to_owned())),
            Some(_) => return None,
            None => (value, None),
        };
        let path = path.strip_prefix('/').unwrap_or(path);
        // Some clients encode the slash behind the bucket as well.
        let slash_encoded = path.find('/').is_none();
        let decoded;
        let (bucket, key) = if slash_encoded {
            decoded = percent_encoding::percent_decode_str(path)
                .decode_utf8()
                .ok()?;
            let (bucket, key) = decoded.split_once('/')?;
            (bucket, Key::new(key).ok()?)
        } else {
            let (bucket, key) = path.split_once('/')?;
            (bucket, Key::decode(key).ok()?)
        };
        Some(Self {
            bucket: Bucket::new(bucket).ok()?,
            key,
            version_id,
        })
    }

    /// The value as it goes to the origin: rebuilt, never what the client wrote.
    pub fn to_field(&self) -> String {
        let path = format!("{}/{}", self.bucket, encode_key(self.key.as_str()));
        match &self.version_id {
            Some(id) => format!("{path}?versionId={id}"),
            None => path,
        }
    }
}

fn is_version_id(id: &str) -> bool {
    !id.is_empty()
        && id
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"._-~%".contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_that_clients_send() {
        let parse = |value| CopySource::parse(value).map(|source| source.to_field());
        assert_eq!(parse("/lake/a%20b").as_deref(), Some("lake/a%20b"));
        assert_eq!(parse("lake/a b/ü").as_deref(), Some("lake/a%20b/%C3%BC"));
        assert_eq!(parse("lake%2Fa%2Fb").as_deref(), Some("lake/a/b"));
        assert_eq!(
            parse("lake/a?versionId=v.1").as_deref(),
            Some("lake/a?versionId=v.1")
        );
        assert_eq!(
            parse("lake/a%3FversionId=v1").as_deref(),
            Some("lake/a%3FversionId%3Dv1")
        );
        for bad in [
            "",
            "/",
            "lake",
            "lake/",
            "lake/a?versionId=",
            "lake/a?versionId=x&acl",
            "../a/b",
            "arn:aws:s3:eu:1:accesspoint/x/object/k",
        ] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }
}
