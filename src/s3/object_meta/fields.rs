//! Which fields of an answer describe the object, and which the exchange.

use http::HeaderMap;
use http::HeaderValue;
use http::header;
use http::header::HeaderName;

/// Fields kept of one answer. S3 has about 30 of its own, and 2 KB of metadata hold some more.
const MAX_FIELDS: usize = 128;

/// Bytes of their names and values together; S3 answers with 8 KiB at most, others allow more.
const MAX_BYTES: usize = 32 << 10;

/// What the `http` crate takes for a field besides its bytes.
const FIELD_OVERHEAD: usize = 128;

/// About this exchange, this connection, this server or caches on the way; or said anew in each
/// answer. Everything else belongs to the object.
const DROPPED: &[&str] = &[
    // Said anew.
    "content-length",
    "content-range",
    "etag",
    // The connection: <https://www.rfc-editor.org/rfc/rfc9110#section-7.6.1>.
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authentication-info",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    // The exchange.
    "authentication-info",
    "cache-status",
    "date",
    "proxy-status",
    "request-id",
    "retry-after",
    "server-timing",
    "set-cookie",
    "set-cookie2",
    "www-authenticate",
    "x-amz-bucket-region",
    "x-amz-id-2",
    "x-amz-request-charged",
    "x-amz-request-id",
    "x-amzn-requestid",
    "x-amzn-trace-id",
    "x-ratelimit-limit",
    "x-ratelimit-remaining",
    "x-ratelimit-reset",
    "x-request-id",
    "x-served-by",
    "x-timer",
    "x-trans-id",
    // The server.
    "alt-svc",
    "nel",
    "report-to",
    "reporting-endpoints",
    "server",
    // Caches on the way.
    "age",
    "cdn-cache-control",
    "via",
    "warning",
    "x-amz-cf-id",
    "x-amz-cf-pop",
    "x-cache",
    "x-cache-hits",
    "x-cache-lookup",
    "x-varnish",
    // The answer to one `Origin`, which fills do not send.
    "access-control-allow-credentials",
    "access-control-allow-headers",
    "access-control-allow-methods",
    "access-control-allow-origin",
    "access-control-expose-headers",
    "access-control-max-age",
];

/// Of one CDN or the other, all about the exchange.
const DROPPED_PREFIXES: &[&str] = &["cf-", "x-fastly-", "x-akamai-"];

/// The fields that describe the object, in order, several of one name included; `None` when they
/// are more than is kept.
pub fn kept_fields(headers: &HeaderMap) -> Option<HeaderMap> {
    // What `Connection` names belongs to the connection too.
    let listed = |name: &HeaderName| {
        headers.get_all(header::CONNECTION).iter().any(|value| {
            let options = value.as_bytes().split(|byte| *byte == b',');
            options
                .map(<[u8]>::trim_ascii)
                .any(|option| option.eq_ignore_ascii_case(name.as_str().as_bytes()))
        })
    };
    collect(headers, |name| {
        !is_dropped(name.as_str()) && !is_checksum(name) && !listed(name)
    })
}

/// `x-amz-checksum-*`; `None` when they are more than is kept.
pub(super) fn checksums(headers: &HeaderMap) -> Option<HeaderMap> {
    collect(headers, is_checksum)
}

fn collect(headers: &HeaderMap, is_wanted: impl Fn(&HeaderName) -> bool) -> Option<HeaderMap> {
    let mut kept = HeaderMap::new();
    let mut bytes = 0;
    for (name, value) in headers {
        if is_wanted(name) {
            bytes += name.as_str().len() + value.len();
            if kept.len() == MAX_FIELDS || bytes > MAX_BYTES {
                return None;
            }
            kept.append(name.clone(), owned(value));
        }
    }
    Some(kept)
}

/// A copy: the values of an answer are slices of the buffer that its head was read into, and each would keep
/// all of that.
fn owned(value: &HeaderValue) -> HeaderValue {
    HeaderValue::from_bytes(value.as_bytes()).unwrap_or_else(|_| value.clone())
}

fn is_dropped(name: &str) -> bool {
    DROPPED.contains(&name)
        || DROPPED_PREFIXES
            .iter()
            .any(|prefix| name.starts_with(prefix))
}

fn is_checksum(name: &HeaderName) -> bool {
    name.as_str().starts_with("x-amz-checksum-")
}

/// SSE-C: <https://docs.aws.amazon.com/AmazonS3/latest/userguide/ServerSideEncryptionCustomerKeys.html>.
pub(super) fn is_customer_key(name: &HeaderName) -> bool {
    name.as_str()
        .starts_with("x-amz-server-side-encryption-customer-")
}

/// `multipart/byteranges`, whatever its parameters.
pub(super) fn is_multipart_range(value: &HeaderValue) -> bool {
    const TYPE: &[u8] = b"multipart/byteranges";
    let given = value.as_bytes().trim_ascii_start();
    given
        .get(..TYPE.len())
        .is_some_and(|start| start.eq_ignore_ascii_case(TYPE))
}

/// What a 304 repeats of a 200, and the date: <https://www.rfc-editor.org/rfc/rfc9110#section-15.4.5>.
pub(super) fn belongs_to_304(name: &HeaderName) -> bool {
    const REPEATED: &[HeaderName] = &[
        header::CACHE_CONTROL,
        header::CONTENT_LOCATION,
        header::EXPIRES,
        header::LAST_MODIFIED,
        header::VARY,
    ];
    REPEATED.contains(name)
}

/// Roughly the bytes of memory that fields take.
pub(super) fn weight(fields: &HeaderMap) -> usize {
    let field = |(name, value): (&HeaderName, &HeaderValue)| {
        FIELD_OVERHEAD + name.as_str().len() + value.len()
    };
    fields.iter().map(field).sum()
}
