//! What a request asks: operation, bucket, key, and what else of it rules have to know.

use http::HeaderMap;
use http::HeaderName;
use http::HeaderValue;

use super::ErrorCode;
use super::addressing::BaseDomains;
use super::copy_source::CopySource;
use super::names::Bucket;
use super::names::Key;
use super::operation::Action;
use super::operation::Grant;
use super::operation::Operation;
use super::operation::Right;
use super::operation::Scope;
use super::request_head::RequestHead;

/// More parameters than any S3 request has; beyond it a query is refused unread.
const MAX_QUERY_PAIRS: usize = 64;

/// Query parameters of a presigned URL that only the verifier reads.
const PRESIGN: &[&str] = &[
    "X-Amz-Algorithm",
    "X-Amz-Credential",
    "X-Amz-Date",
    "X-Amz-Expires",
    "X-Amz-SignedHeaders",
    "X-Amz-Signature",
    "X-Amz-Security-Token",
    "X-Amz-Content-Sha256",
];

/// `x-amz-*` fields that say nothing of the operation.
const SIGNING: &[&str] = &["x-amz-content-sha256", "x-amz-date", "x-amz-security-token"];

/// A classified request.
#[derive(Debug, Clone)]
pub struct Request {
    /// What is asked.
    pub operation: Operation,
    /// On which bucket; absent for the service itself.
    pub bucket: Option<Bucket>,
    /// On which key; absent for buckets.
    pub key: Option<Key>,
    /// The source of a copy.
    pub copy_source: Option<CopySource>,
    /// Query parameters in wire order, decoded, without those of a presigned URL; `None` stands
    /// for a name without `=`.
    pub query: Vec<(String, Option<String>)>,
    /// `x-amz-*` fields that a presigned URL carries in its query. They act like the header.
    pub hoisted: Vec<(HeaderName, HeaderValue)>,
    /// Grants that fields of the request ask for beside the operation's own.
    pub extra_grants: Vec<Grant>,
}

/// One right that a request needs on one bucket and key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Access<'a> {
    /// The right.
    pub right: Right,
    /// The bucket.
    pub bucket: &'a Bucket,
    /// What of the bucket.
    pub target: Target<'a>,
}

/// What of a bucket an access touches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target<'a> {
    /// One key.
    Key(&'a str),
    /// All keys that begin so: a listing.
    Prefix(&'a str),
    /// The bucket as such.
    Bucket,
}

impl Request {
    /// One of the proxy's own: no query, nothing copied.
    pub fn own(operation: Operation, bucket: Option<Bucket>, key: Option<Key>) -> Self {
        Self {
            operation,
            bucket,
            key,
            copy_source: None,
            query: Vec::new(),
            hoisted: Vec::new(),
            extra_grants: Vec::new(),
        }
    }

    /// Classifies a request from its raw head.
    pub fn classify(head: &RequestHead<'_>, domains: &BaseDomains) -> Result<Self, ErrorCode> {
        let resource = domains.resource(head)?;
        let (query, hoisted) = split_query(head)?;
        let scope = match (&resource.bucket, &resource.key) {
            (None, _) => Scope::Service,
            (Some(_), None) => Scope::Bucket,
            (Some(_), Some(_)) => Scope::Object,
        };
        let mut request = Self {
            operation: Operation::Unknown,
            bucket: resource.bucket,
            key: resource.key,
            copy_source: None,
            query,
            hoisted,
            extra_grants: Vec::new(),
        };
        let is_plain = request.is_plain(head.headers);
        let copy_source = if is_plain {
            None
        } else {
            request
                .effective_field(head.headers, "x-amz-copy-source")?
                .cloned()
        };
        let params = request.query.iter().map(|(name, _)| name.as_str());
        request.operation =
            Operation::recognise(head.method, scope, &params, copy_source.is_some());
        // Ceph takes an empty upload id for none: aborting that upload deletes the object.
        if request.param("uploadId") == Some("") {
            return Err(ErrorCode::InvalidArgument);
        }
        if let Some(value) = copy_source {
            let value = value.to_str().map_err(|_| ErrorCode::InvalidArgument)?;
            request.copy_source = Some(CopySource::parse(value).ok_or(ErrorCode::InvalidArgument)?);
        }
        if !is_plain || request.param("versionId").is_some() {
            request.extra_grants = request.grants_of_fields(head.headers)?;
        }
        Ok(request)
    }

    /// Whether no field says anything of the operation, as in nearly every read.
    fn is_plain(&self, headers: &HeaderMap) -> bool {
        let is_of_s3 = |name: &HeaderName| name.as_str().starts_with("x-amz-");
        let is_signing = |name: &HeaderName| SIGNING.contains(&name.as_str());
        let mut names = headers.keys();
        self.hoisted.is_empty() && names.all(|name| !is_of_s3(name) || is_signing(name))
    }

    /// The decoded value of a query parameter; a name without `=` has the empty value.
    pub fn param(&self, name: &str) -> Option<&str> {
        let (_, value) = self.query.iter().find(|(key, _)| key == name)?;
        Some(value.as_deref().unwrap_or_default())
    }

    /// Every right that the request needs, apart from what its body names.
    pub fn accesses(&self) -> Vec<Access<'_>> {
        let Some(bucket) = &self.bucket else {
            return Vec::new();
        };
        let right = self.operation.right();
        let target = self.target();
        let mut accesses = vec![Access {
            right,
            bucket,
            target,
        }];
        let action = self.operation.right().action();
        accesses.extend(self.extra_grants.iter().map(|grant| Access {
            right: Right::Granted(action, *grant),
            bucket,
            target,
        }));
        if let Some(source) = &self.copy_source {
            let target = Target::Key(source.key.as_str());
            let right = Right::Plain(Action::Read);
            accesses.push(Access {
                right,
                bucket: &source.bucket,
                target,
            });
            if source.version_id.is_some() {
                let right = Right::Granted(Action::Read, Grant::Versions);
                accesses.push(Access {
                    right,
                    bucket: &source.bucket,
                    target,
                });
            }
        }
        accesses
    }

    fn target(&self) -> Target<'_> {
        match &self.key {
            Some(key) => Target::Key(key.as_str()),
            // Some services delete what is in the bucket with it.
            None if self.operation == Operation::DeleteBucket => Target::Prefix(""),
            None => match self.operation.right() {
                Right::Plain(Action::List) | Right::Granted(Action::List, _) => {
                    Target::Prefix(self.param("prefix").unwrap_or_default())
                }
                _ => Target::Bucket,
            },
        }
    }

    /// A field from the head, or from the query of a presigned URL; both at once is refused, as it
    /// is unclear which one the origin would obey.
    pub fn effective_field<'a>(
        &'a self,
        headers: &'a HeaderMap,
        name: &'static str,
    ) -> Result<Option<&'a HeaderValue>, ErrorCode> {
        let mut values = headers.get_all(name).iter().chain(
            self.hoisted
                .iter()
                .filter(|(key, _)| key == name)
                .map(|(_, value)| value),
        );
        match (values.next(), values.next()) {
            (first, None) => Ok(first),
            _ => Err(ErrorCode::InvalidRequest),
        }
    }

    /// Fields that do what a sub-resource would do need its grant:
    /// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/using-with-s3-policy-actions.html>.
    fn grants_of_fields(&self, headers: &HeaderMap) -> Result<Vec<Grant>, ErrorCode> {
        let mut grants = Vec::new();
        if self.param("versionId").is_some() {
            grants.push(Grant::Versions);
        }
        if self.effective_field(headers, "x-amz-tagging")?.is_some() {
            grants.push(Grant::Tagging);
        }
        let acl = self.effective_field(headers, "x-amz-acl")?;
        // `private` is what an object gets anyway; rclone sends it with every upload.
        let has_acl = acl.is_some_and(|value| value != "private");
        let names = || {
            headers
                .keys()
                .chain(self.hoisted.iter().map(|(name, _)| name))
        };
        if has_acl || names().any(|name| name.as_str().starts_with("x-amz-grant-")) {
            grants.push(Grant::Acl);
        }
        let locks = |name: &HeaderName| {
            name.as_str().starts_with("x-amz-object-lock-")
                || name == "x-amz-bucket-object-lock-enabled"
                || name == "x-amz-bypass-governance-retention"
        };
        if names().any(locks) {
            grants.push(Grant::Retention);
        }
        if names().any(|name| name == "x-amz-object-ownership") {
            grants.push(Grant::BucketConfig);
        }
        Ok(grants)
    }
}

impl Right {
    /// The action in it; asking whether something is there counts as listing.
    fn action(self) -> Action {
        match self {
            Self::Plain(action) | Self::Granted(action, _) => action,
            Self::Visible => Action::List,
            Self::Everything => Action::Write,
        }
    }
}

type Query = Vec<(String, Option<String>)>;
type Hoisted = Vec<(HeaderName, HeaderValue)>;

/// Splits the raw query into parameters and hoisted fields. A parameter that appears twice is
/// refused: which one counts differs between services.
fn split_query(head: &RequestHead<'_>) -> Result<(Query, Hoisted), ErrorCode> {
    let mut query = Query::new();
    let mut hoisted = Hoisted::new();
    for pair in head.raw_query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = match pair.split_once('=') {
            Some((name, value)) => (decode(name)?, Some(decode(value)?)),
            None => (decode(pair)?, None),
        };
        // It would be no parameter that the operation table could know.
        if name.is_empty() {
            return Err(ErrorCode::InvalidArgument);
        }
        if PRESIGN.contains(&name.as_str()) {
            continue;
        }
        let lower = name.to_ascii_lowercase();
        if lower.starts_with("x-amz-") {
            let field = HeaderName::try_from(lower).map_err(|_| ErrorCode::InvalidArgument)?;
            let value = HeaderValue::try_from(value.unwrap_or_default())
                .map_err(|_| ErrorCode::InvalidArgument)?;
            hoisted.push((field, value));
        } else if query.iter().any(|(known, _)| *known == name) {
            return Err(ErrorCode::InvalidArgument);
        } else {
            query.push((name, value));
        }
        if query.len() + hoisted.len() > MAX_QUERY_PAIRS {
            return Err(ErrorCode::InvalidURI);
        }
    }
    Ok((query, hoisted))
}

fn decode(text: &str) -> Result<String, ErrorCode> {
    let decoded = percent_encoding::percent_decode_str(text).decode_utf8();
    decoded.map(Into::into).map_err(|_| ErrorCode::InvalidURI)
}

#[cfg(test)]
mod tests {
    use http::Method;

    use super::*;

    fn classified(
        method: &Method,
        query: &str,
        field: Option<&'static str>,
    ) -> Result<Request, ErrorCode> {
        let mut headers = HeaderMap::new();
        if let Some(name) = field {
            headers.insert(name, HeaderValue::from_static("true"));
        }
        let head = RequestHead {
            method,
            raw_path: "/lake/a",
            raw_query: query,
            host: "proxy",
            headers: &headers,
        };
        Request::classify(&head, &BaseDomains::default())
    }

    #[test]
    fn an_upload_has_an_id() {
        for method in [&Method::GET, &Method::PUT, &Method::POST, &Method::DELETE] {
            for query in ["uploadId", "uploadId=", "partNumber=1&upload%49d="] {
                let refused = classified(method, query, None).err();
                assert_eq!(
                    refused,
                    Some(ErrorCode::InvalidArgument),
                    "{method} {query}"
                );
            }
        }
        let abort = classified(&Method::DELETE, "uploadId=u", None).unwrap();
        assert_eq!(abort.operation, Operation::AbortMultipartUpload);
    }

    #[test]
    fn fields_that_configure_need_the_grant_of_what_they_configure() {
        for (name, grant) in [
            ("x-amz-tagging", Grant::Tagging),
            ("x-amz-acl", Grant::Acl),
            ("x-amz-grant-read", Grant::Acl),
            ("x-amz-object-lock-mode", Grant::Retention),
            ("x-amz-bucket-object-lock-enabled", Grant::Retention),
            ("x-amz-bypass-governance-retention", Grant::Retention),
            ("x-amz-object-ownership", Grant::BucketConfig),
        ] {
            let by_field = classified(&Method::PUT, "", Some(name)).unwrap();
            assert_eq!(by_field.extra_grants, [grant], "{name}");
            let by_query = classified(&Method::PUT, &format!("{name}=x"), None).unwrap();
            assert_eq!(by_query.extra_grants, [grant], "{name}");
        }
    }
}
