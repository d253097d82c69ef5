//! The heads that the fast path understands: those of plain reads, as engines send them. Every other head,
//! wrong ones included, is for Pingora, which parses it anew.

use bytes::Bytes;
use http::HeaderMap;
use http::HeaderName;
use http::HeaderValue;
use http::Method;
use http::header;

use crate::s3::RequestHead;

/// More fields than any engine sends.
const MAX_FIELDS: usize = 40;

/// Fields that stand for a body, or for anything else than one answer after the other.
const OTHERWISE: [HeaderName; 6] = [
    header::CONTENT_LENGTH,
    header::TRANSFER_ENCODING,
    header::EXPECT,
    header::UPGRADE,
    header::TE,
    header::TRAILER,
];

/// The head of a GET or HEAD without a body, in a form that leaves no doubt.
pub(super) struct Head<'a> {
    pub(super) method: Method,
    /// Path and query as they came.
    pub(super) target: &'a str,
    pub(super) headers: HeaderMap,
}

impl<'a> Head<'a> {
    /// Parses a head that is complete, with nothing behind it.
    pub(super) fn parse(bytes: &'a Bytes) -> Option<Self> {
        if !bytes.ends_with(b"\r\n\r\n") {
            return None;
        }
        let mut fields = [httparse::EMPTY_HEADER; MAX_FIELDS];
        let mut parsed = httparse::Request::new(&mut fields);
        let length = match parsed.parse(bytes) {
            Ok(httparse::Status::Complete(length)) => length,
            Ok(httparse::Status::Partial) | Err(_) => return None,
        };
        let method = match parsed.method? {
            "GET" => Method::GET,
            "HEAD" => Method::HEAD,
            _ => return None,
        };
        let target = parsed.path.filter(|target| target.starts_with('/'))?;
        if length != bytes.len() || parsed.version != Some(1) {
            return None;
        }
        let mut headers = HeaderMap::with_capacity(parsed.headers.len());
        for field in parsed.headers.iter() {
            let name = HeaderName::from_bytes(field.name.as_bytes()).ok()?;
            // Checked, and not copied.
            let value = HeaderValue::from_maybe_shared(bytes.slice_ref(field.value)).ok()?;
            let is_plain = match name {
                header::HOST => is_host(&value) && !headers.contains_key(header::HOST),
                header::CONNECTION => value.as_bytes().eq_ignore_ascii_case(b"keep-alive"),
                _ => !OTHERWISE.contains(&name),
            };
            if !is_plain {
                return None;
            }
            headers.append(name, value);
        }
        headers.contains_key(header::HOST).then_some(Self {
            method,
            target,
            headers,
        })
    }

    /// As verification reads it.
    pub(super) fn to_request_head(&self) -> Option<RequestHead<'_>> {
        let (raw_path, raw_query) = self.target.split_once('?').unwrap_or((self.target, ""));
        Some(RequestHead {
            method: &self.method,
            raw_path,
            raw_query,
            host: self.headers.get(header::HOST)?.to_str().ok()?,
            headers: &self.headers,
        })
    }
}

/// As hosts are written, with a port or without.
fn is_host(value: &HeaderValue) -> bool {
    !value.is_empty() && value.as_bytes().iter().copied().all(is_host_byte)
}

fn is_host_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_' | b':' | b'[' | b']')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Option<(Method, String, HeaderMap)> {
        let bytes = Bytes::copy_from_slice(text.as_bytes());
        let head = Head::parse(&bytes)?;
        Some((head.method, head.target.to_owned(), head.headers))
    }

    const PLAIN: &str =
        "GET /lake/a%20b?x-id=GetObject HTTP/1.1\r\nHost: proxy:3000\r\nrange: bytes=0-1\r\n\r\n";

    #[test]
    fn a_plain_read_is_taken_apart() {
        let bytes = Bytes::from_static(PLAIN.as_bytes());
        let head = Head::parse(&bytes).unwrap();
        let request = head.to_request_head().unwrap();
        assert_eq!(request.method, Method::GET);
        assert_eq!(request.raw_path, "/lake/a%20b");
        assert_eq!(request.raw_query, "x-id=GetObject");
        assert_eq!(request.host, "proxy:3000");
        assert_eq!(head.headers["range"], "bytes=0-1");
        for plain in [
            PLAIN.replace("GET", "HEAD"),
            PLAIN.replace("range:", "Connection: keep-alive\r\nrange:"),
        ] {
            assert!(parse(&plain).is_some(), "{plain}");
        }
    }

    #[test]
    fn everything_else_is_left_to_pingora() {
        for (from, to) in [
            ("GET", "PUT"),
            ("GET", "get"),
            ("HTTP/1.1", "HTTP/1.0"),
            ("HTTP/1.1", "HTTP/2.0"),
            ("/lake", "http://proxy:3000/lake"),
            ("/lake", "*"),
            ("\r\n\r\n", "\r\n"),
            ("\r\n\r\n", "\r\n\r\nGET"),
            ("\r\n\r\n", "\r\n\r\n\r\n\r\n"),
            ("Host: proxy:3000\r\n", ""),
            ("range:", "host: other\r\nrange:"),
            ("proxy:3000", "user@proxy:3000"),
            ("proxy:3000", "proxy/lake"),
            ("proxy:3000", ""),
            ("range:", "Content-Length: 0\r\nrange:"),
            ("range:", "Transfer-Encoding: chunked\r\nrange:"),
            ("range:", "Expect: 100-continue\r\nrange:"),
            ("range:", "Upgrade: h2c\r\nrange:"),
            ("range:", "Connection: close\r\nrange:"),
            ("range:", "Connection: keep-alive, close\r\nrange:"),
            ("range:", "range :"),
            ("range: ", "range: a\r\n "),
            ("range: ", "range: \0"),
        ] {
            let other = PLAIN.replacen(from, to, 1);
            assert_ne!(other, PLAIN);
            assert!(parse(&other).is_none(), "{other:?}");
        }
        let many = PLAIN.replace("range:", &"x: y\r\n".repeat(MAX_FIELDS));
        assert!(parse(&many).is_none());
    }
}
