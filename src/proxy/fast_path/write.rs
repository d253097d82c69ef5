//! Writes a hit: head and body in one system call, when the socket takes them.

use std::io;
use std::io::IoSlice;
use std::time::Duration;

use bytes::Buf;
use bytes::BufMut;
use bytes::Bytes;
use bytes::BytesMut;
use http::HeaderValue;
use pingora::Error;
use pingora::ErrorType;
use pingora::http::ResponseHeader;
use pingora::protocols::http::date::get_cached_date;
use tokio::io::AsyncWriteExt;
use tokio::time::timeout;

use super::Hit;
use crate::proxy::client_stream::ClientStream;
use crate::proxy::limits::Limits;

/// What heads have room for at first.
const HEAD_BYTES: usize = 1024;

/// Writes it; tells how much of the body went out too.
pub(super) async fn hit(
    stream: &mut ClientStream,
    limits: &Limits,
    hit: &Hit,
) -> (pingora::Result<()>, u64) {
    let mut head = wire(&hit.head);
    let mut body = hit.body.clone().unwrap_or_default();
    let length = body.len();
    let patience = patience(limits, head.len() + length);
    let written = timeout(patience, both(stream, &mut head, &mut body)).await;
    let sent = (length - body.len()) as u64;
    let outcome = match written {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Error::e_because(ErrorType::WriteError, "writing a hit", error),
        Err(_) => Error::e_explain(
            ErrorType::WriteTimedout,
            format!("writing a hit, timeout: {patience:?}"),
        ),
    };
    (outcome.map_err(|error: Box<Error>| error.into_down()), sent)
}

/// As it goes over the wire, with the two fields that Pingora adds to every answer.
fn wire(head: &ResponseHeader) -> BytesMut {
    let mut wire = BytesMut::with_capacity(HEAD_BYTES);
    wire.put_slice(b"HTTP/1.1 ");
    wire.put_slice(head.status.as_str().as_bytes());
    wire.put_u8(b' ');
    wire.put_slice(
        head.status
            .canonical_reason()
            .unwrap_or_default()
            .as_bytes(),
    );
    wire.put_slice(b"\r\n");
    head.header_to_h1_wire(&mut wire);
    put_field(&mut wire, "Date", &get_cached_date());
    put_field(
        &mut wire,
        "Connection",
        &HeaderValue::from_static("keep-alive"),
    );
    wire.put_slice(b"\r\n");
    wire
}

fn put_field(wire: &mut BytesMut, name: &str, value: &HeaderValue) {
    wire.put_slice(name.as_bytes());
    wire.put_slice(b": ");
    wire.put_slice(value.as_bytes());
    wire.put_slice(b"\r\n");
}

async fn both(stream: &mut ClientStream, head: &mut BytesMut, body: &mut Bytes) -> io::Result<()> {
    while !head.is_empty() || !body.is_empty() {
        let pieces = [IoSlice::new(head), IoSlice::new(body)];
        let written = stream.write_vectored(&pieces).await?;
        if written == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        let of_head = written.min(head.len());
        head.advance(of_head);
        body.advance(written - of_head);
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
    use http::StatusCode;

    #[test]
    fn a_head_is_written_as_pingora_writes_it() {
        let mut head = ResponseHeader::build_no_case(StatusCode::PARTIAL_CONTENT, None).unwrap();
        for (name, value) in [
            ("content-type", "text/plain"),
            ("etag", "\"e\""),
            ("x-amz-meta-a", "b"),
        ] {
            head.append_header(name, value).unwrap();
        }
        let wire = wire(&head);
        let text = std::str::from_utf8(&wire).unwrap();
        let (begin, date) = text.split_once("Date: ").unwrap();
        assert_eq!(
            begin,
            "HTTP/1.1 206 Partial Content\r\nContent-Type: text/plain\r\netag: \"e\"\r\nx-amz-meta-a: b\r\n"
        );
        assert!(
            date.ends_with(" GMT\r\nConnection: keep-alive\r\n\r\n"),
            "{date}"
        );
    }
}
