//! Writes a hit: head and body in one system call, when the socket takes them.

use std::io;
use std::io::IoSlice;
use std::time::Duration;

use bytes::BufMut;
use bytes::Bytes;
use bytes::BytesMut;
use http::HeaderName;
use http::HeaderValue;
use http::StatusCode;
use http::header;
use pingora::Error;
use pingora::ErrorType;
use pingora::protocols::http::date::get_cached_date;
use tokio::io::AsyncWriteExt;
use tokio::time::timeout;

use super::Hit;
use crate::proxy::client_stream::ClientStream;
use crate::proxy::limits::Limits;
use crate::read::PIECES;

/// What heads have room for at first.
const HEAD_BYTES: usize = 1024;

/// Writes it; tells how much of the body went out too.
pub(super) async fn hit(
    stream: &mut ClientStream,
    limits: &Limits,
    hit: Hit,
) -> (pingora::Result<()>, u64) {
    let length: usize = hit.body.iter().map(Bytes::len).sum();
    let patience = patience(limits, hit.head.len() + length);
    let mut written = 0;
    let done = timeout(patience, all(stream, &hit, &mut written)).await;
    let sent = written.saturating_sub(hit.head.len()) as u64;
    let outcome = match done {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Error::e_because(ErrorType::WriteError, "writing a hit", error),
        Err(_) => Error::e_explain(
            ErrorType::WriteTimedout,
            format!("writing a hit, timeout: {patience:?}"),
        ),
    };
    (outcome.map_err(|error: Box<Error>| error.into_down()), sent)
}

/// A head as Pingora writes it, with the two fields that it adds to every answer.
pub(super) fn head(
    status: StatusCode,
    fields: impl Iterator<Item = (HeaderName, HeaderValue)>,
) -> BytesMut {
    let mut head = BytesMut::with_capacity(HEAD_BYTES);
    head.put_slice(b"HTTP/1.1 ");
    head.put_slice(status.as_str().as_bytes());
    head.put_u8(b' ');
    head.put_slice(status.canonical_reason().unwrap_or_default().as_bytes());
    head.put_slice(b"\r\n");
    for (name, value) in fields {
        put_field(&mut head, titled(&name), &value);
    }
    put_field(&mut head, "Date", &get_cached_date());
    put_field(
        &mut head,
        "Connection",
        &HeaderValue::from_static("keep-alive"),
    );
    head.put_slice(b"\r\n");
    head
}

/// The spelling that Pingora gives to some names.
fn titled(name: &HeaderName) -> &str {
    match *name {
        header::ACCEPT_RANGES => "Accept-Ranges",
        header::CACHE_CONTROL => "Cache-Control",
        header::CONTENT_ENCODING => "Content-Encoding",
        header::CONTENT_LENGTH => "Content-Length",
        header::CONTENT_TYPE => "Content-Type",
        header::SERVER => "Server",
        _ => name.as_str(),
    }
}

fn put_field(head: &mut BytesMut, name: &str, value: &HeaderValue) {
    head.put_slice(name.as_bytes());
    head.put_slice(b": ");
    head.put_slice(value.as_bytes());
    head.put_slice(b"\r\n");
}

/// Writes all of it, and counts what goes out.
async fn all(stream: &mut ClientStream, hit: &Hit, written: &mut usize) -> io::Result<()> {
    let mut pieces = [IoSlice::new(&[]); 1 + PIECES];
    let bytes = hit.body.iter().map(Bytes::as_ref);
    let bytes = [hit.head.as_ref()].into_iter().chain(bytes);
    for (piece, bytes) in pieces.iter_mut().zip(bytes) {
        *piece = IoSlice::new(bytes);
    }
    let mut left = &mut pieces[..=hit.body.len().min(PIECES)];
    while !left.is_empty() {
        let length = stream.write_vectored(left).await?;
        if length == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        *written += length;
        IoSlice::advance_slices(&mut left, length);
    }
    stream.flush().await
}

/// As Pingora reckons it for a piece of a body.
fn patience(limits: &Limits, length: usize) -> Duration {
    match limits.min_send_rate.filter(|rate| *rate > 0) {
        None => limits.write_timeout,
        Some(rate) => {
            let millis = length.max(rate) as u128 * 1000 / rate as u128;
            Duration::from_millis(u64::try_from(millis).unwrap_or(u64::MAX))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pingora::http::ResponseHeader;

    const NAMES: [&str; 10] = [
        "accept-ranges",
        "cache-control",
        "content-encoding",
        "content-length",
        "content-type",
        "etag",
        "expires",
        "last-modified",
        "server",
        "x-amz-meta-a",
    ];

    /// `ResponseHeader` writes fields as Pingora does.
    #[test]
    fn a_head_is_written_as_pingora_writes_it() {
        let mut expected = ResponseHeader::build_no_case(206, None).unwrap();
        for name in NAMES {
            expected.append_header(name, "a b").unwrap();
        }
        let mut fields = BytesMut::new();
        expected.header_to_h1_wire(&mut fields);
        let fields = String::from_utf8(fields.to_vec()).unwrap();
        let named = NAMES.map(|name| {
            let value = HeaderValue::from_static("a b");
            (HeaderName::from_static(name), value)
        });
        let head = head(StatusCode::PARTIAL_CONTENT, named.into_iter());
        let text = String::from_utf8(head.to_vec()).unwrap();
        let (begin, date) = text.split_once("Date: ").unwrap();
        assert_eq!(begin, format!("HTTP/1.1 206 Partial Content\r\n{fields}"));
        assert!(
            date.ends_with(" GMT\r\nConnection: keep-alive\r\n\r\n"),
            "{date}"
        );
    }
}
