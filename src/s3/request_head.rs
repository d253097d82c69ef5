//! The head of a client's request exactly as it came over the wire.

use http::header::AsHeaderName;
use http::{HeaderMap, Method};

/// Borrowed view of a request before anything normalised it: signatures are computed over these bytes.
#[derive(Debug, Clone, Copy)]
pub struct RequestHead<'a> {
    /// The method as sent.
    pub method: &'a Method,
    /// Path as sent, undecoded, starting with `/` (an absolute-form target has been cut to its path).
    pub raw_path: &'a str,
    /// Query as sent, without the `?`; empty when there is none.
    pub raw_query: &'a str,
    /// `Host`, or `:authority` over HTTP/2, as sent, with the port.
    pub host: &'a str,
    /// Fields as received, hop-by-hop fields included. Over HTTP/2 `host` may be absent from it.
    pub headers: &'a HeaderMap,
}

impl<'a> RequestHead<'a> {
    /// The only value of a field, as text; `None` when absent, repeated or not visible ASCII.
    pub fn field(&self, name: impl AsHeaderName) -> Option<&'a str> {
        let mut values = self.headers.get_all(name).iter();
        let value = values.next()?;
        if values.next().is_some() {
            return None;
        }
        value.to_str().ok()
    }

    /// The decoded value of the first query parameter with this name.
    /// `+` is a literal plus here: S3 clients never encode a space that way.
    pub fn query_value(&self, name: &str) -> Option<String> {
        self.query_pairs()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value)
    }

    /// Query parameters in wire order, percent-decoded once; `k` without `=` has an empty value.
    pub fn query_pairs(&self) -> impl Iterator<Item = (String, String)> + use<'a> {
        self.raw_query
            .split('&')
            .filter(|pair| !pair.is_empty())
            .map(|pair| {
                let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
                (decode_lossy(key), decode_lossy(value))
            })
    }
}

fn decode_lossy(text: &str) -> String {
    percent_encoding::percent_decode_str(text)
        .decode_utf8_lossy()
        .into_owned()
}
