//! A request body's way to the origin: verified while it streams, and framed anew.

use std::time::Duration;

use bytes::Bytes;
use bytes::BytesMut;
use http::HeaderMap;
use http::header;
use pingora::proxy::Session;

use super::ctx::RequestCtx;
use super::limits::Limits;
use crate::auth::PayloadDecoder;
use crate::auth::PayloadError;
use crate::auth::PayloadMode;
use crate::s3::ErrorCode;
use crate::upstream::OriginBody;
use crate::upstream::PayloadHash;
use crate::upstream::TrailingFramer;
use crate::upstream::checksum_name;

/// How long a refused upload is kept open, so that the part of it that was released is sent.
pub(super) const LAST_WORDS: Duration = Duration::from_millis(50);

/// The largest object of S3. Lengths above it are refused before anything is computed from them.
const MAX_BODY_BYTES: u64 = 5 << 40;

/// A body on its way. The last bytes go out only when everything was verified: a body that turns
/// out wrong never reaches the origin completely, and the origin discards it.
pub struct RequestBody {
    mode: PayloadMode,
    plan: OriginBody,
    decoder: PayloadDecoder,
    framer: TrailingFramer,
    is_finished: bool,
}

impl RequestBody {
    /// A body whose way is planned.
    pub fn new(mode: PayloadMode, plan: OriginBody) -> Self {
        let decoder = mode.decoder();
        Self {
            mode,
            plan,
            decoder,
            framer: TrailingFramer::default(),
            is_finished: false,
        }
    }

    /// How it goes out.
    pub fn plan(&self) -> &OriginBody {
        &self.plan
    }

    /// Begins again, for another attempt: what was received is replayed.
    pub fn restart(&mut self) {
        self.decoder = self.mode.decoder();
        self.framer = TrailingFramer::default();
        self.is_finished = false;
    }

    /// Takes what came from the client, leaves what goes to the origin.
    pub fn pass(&mut self, data: &mut Option<Bytes>, end: bool) -> Result<(), PayloadError> {
        if self.is_finished {
            *data = None;
            return Ok(());
        }
        let received = data.take().filter(|piece| !piece.is_empty());
        let released = match received {
            // Over HTTP/2 a body needs no announcement.
            Some(_) if self.plan == OriginBody::Absent => return Err(PayloadError::TooLong),
            Some(piece) => self.decoder.push(piece)?,
            None => None,
        };
        if !end {
            // An empty piece tells Pingora that there is nothing to send yet.
            *data = Some(released.map(|piece| self.frame(piece)).unwrap_or_default());
            return Ok(());
        }
        let (rest, trailer) = self.decoder.finish()?;
        self.is_finished = true;
        let mut last = BytesMut::new();
        for piece in [released, rest].into_iter().flatten() {
            last.extend_from_slice(&self.frame(piece));
        }
        if let OriginBody::TrailingChecksum { trailer: name, .. } = self.plan {
            let field = trailer
                .iter()
                .find(|field| field.algorithm.field_name() == name);
            let value = field
                .map(|field| field.value.as_str())
                .ok_or(PayloadError::Trailer)?;
            last.extend_from_slice(&self.framer.finish(name, value));
        }
        *data = Some(last.freeze()).filter(|piece| !piece.is_empty());
        Ok(())
    }

    fn frame(&mut self, piece: Bytes) -> Bytes {
        match self.plan {
            OriginBody::TrailingChecksum { .. } => self.framer.push(&piece),
            OriginBody::Plain { .. } | OriginBody::Absent => piece,
        }
    }
}

/// The next piece of a body that is read before the request goes anywhere. Pingora bounds the
/// silence between two pieces over HTTP/1.1 only, and the whole never.
pub(super) async fn next_piece(
    limits: &Limits,
    session: &mut Session,
    ctx: &RequestCtx,
) -> Result<Option<Bytes>, ErrorCode> {
    let left = limits.body_timeout.saturating_sub(ctx.elapsed());
    match tokio::time::timeout(left.min(limits.read_timeout), session.read_request_body()).await {
        Ok(Ok(piece)) => Ok(piece),
        Ok(Err(_)) | Err(_) => Err(ErrorCode::RequestTimeout),
    }
}

/// Decides how a body goes out. S3 takes no body of unknown length, so neither do we.
pub(super) fn plan(
    mode: &PayloadMode,
    headers: &HeaderMap,
    forwards_trailers: bool,
) -> Result<OriginBody, ErrorCode> {
    let is_chunked = headers.contains_key(header::TRANSFER_ENCODING);
    let content_length = content_length(headers)?;
    if mode.is_aws_chunked() {
        let decoded_length = mode
            .decoded_length()
            .ok_or(ErrorCode::MissingContentLength)?;
        if decoded_length > MAX_BODY_BYTES {
            return Err(ErrorCode::EntityTooLarge);
        }
        let trailer = mode.trailer_names().next().and_then(checksum_name);
        return Ok(match trailer {
            Some(trailer) if forwards_trailers => OriginBody::TrailingChecksum {
                decoded_length,
                trailer,
            },
            _ => OriginBody::Plain {
                length: decoded_length,
                payload: PayloadHash::Unsigned,
            },
        });
    }
    match content_length {
        None if is_chunked => Err(ErrorCode::MissingContentLength),
        None | Some(0) => Ok(OriginBody::Absent),
        Some(length) if length > MAX_BODY_BYTES => Err(ErrorCode::EntityTooLarge),
        Some(length) => {
            let payload = match mode.sha256_hex() {
                Some(hex) => PayloadHash::Sha256(hex),
                None => PayloadHash::Unsigned,
            };
            Ok(OriginBody::Plain { length, payload })
        }
    }
}

/// `Content-Length`, when there is one.
pub(super) fn content_length(headers: &HeaderMap) -> Result<Option<u64>, ErrorCode> {
    let Some(value) = headers.get(header::CONTENT_LENGTH) else {
        return Ok(None);
    };
    let number = value.to_str().ok().and_then(|text| text.parse().ok());
    number.map(Some).ok_or(ErrorCode::InvalidArgument)
}

/// Whether a request announces a body.
pub(super) fn has_body(headers: &HeaderMap) -> bool {
    headers.contains_key(header::TRANSFER_ENCODING)
        || content_length(headers).is_ok_and(|length| length.is_some_and(|length| length > 0))
}
