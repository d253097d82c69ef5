//! Signs an origin request. This is the last thing that happens to it, on each attempt anew.

mod keys;
mod library;
mod read;
#[cfg(test)]
mod tests;

use std::time::SystemTime;

use http::HeaderValue;
use http::header;
use pingora::http::RequestHeader;

pub use keys::SigningKeys;

use super::rewrite::OriginRequest;
use super::rewrite::PayloadHash;
use crate::s3::Credentials;
use crate::sigv4::AMZ_CONTENT_SHA256;

/// Why a request cannot be signed or written.
#[derive(Debug)]
pub enum SignError {
    /// A field value is not text: a signature cannot cover it.
    FieldNotText,
    /// The signing library refused the request.
    Signing(Box<dyn std::error::Error + Send + Sync>),
    /// The clock shows a time that no signature can name.
    Clock,
    /// The head cannot be put on the wire.
    Head(Box<pingora::Error>),
}

impl std::fmt::Display for SignError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::FieldNotText => "a header field is not text",
            Self::Clock => "the clock shows an impossible time",
            Self::Signing(_) => "the request cannot be signed",
            Self::Head(_) => "the request head cannot be written",
        })
    }
}

impl std::error::Error for SignError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::FieldNotText | Self::Clock => None,
            Self::Signing(source) => Some(source.as_ref()),
            Self::Head(source) => Some(source.as_ref()),
        }
    }
}

/// Puts the request on the wire's form, signed with the credentials; without any it stays unsigned.
/// Reads are signed with a key that is kept in `keys`.
pub fn sign_request(
    request: &OriginRequest,
    credentials: Option<&Credentials>,
    region: &str,
    now: SystemTime,
    keys: &SigningKeys,
) -> Result<RequestHeader, SignError> {
    let mut head = RequestHeader::build(
        request.method.clone(),
        request.target.as_bytes(),
        Some(request.headers.len() + 6),
    )
    .map_err(SignError::Head)?;
    let host = HeaderValue::from_str(&request.authority).map_err(|_| SignError::FieldNotText)?;
    head.append_header(header::HOST, host)
        .map_err(SignError::Head)?;
    for (name, value) in &request.headers {
        head.append_header(name.clone(), value.clone())
            .map_err(SignError::Head)?;
    }
    match credentials {
        Some(credentials) if read::is_read(request) => {
            read::sign(&mut head, request, credentials, region, now, keys)?;
        }
        Some(credentials) => {
            for (name, value) in library::signature(request, credentials, region, now)? {
                head.insert_header(name, value).map_err(SignError::Head)?;
            }
        }
        None if request.payload == PayloadHash::UnsignedTrailer => {
            let value = "STREAMING-UNSIGNED-PAYLOAD-TRAILER";
            head.insert_header(&AMZ_CONTENT_SHA256, value)
                .map_err(SignError::Head)?;
        }
        None => {}
    }
    Ok(head)
}
