//! An origin that rejects the proxy's own credentials.
//!
//! Its error is about us, not about the client: passed on, it would tell the client that its own key
//! is wrong, and show the key id and the string that we signed. So small error documents are looked
//! at before they go on, and such a one is replaced by a plain `AccessDenied`.

use bytes::Bytes;
use bytes::BytesMut;
use http::Method;
use http::StatusCode;
use http::header;
use pingora::http::ResponseHeader;

use super::ctx::RequestCtx;
use crate::s3::xml::Element;
use crate::telemetry::UpstreamErrorKind;

/// S3's error documents have a kilobyte or two; anything longer is none.
const MAX_DOCUMENT: usize = 64 * 1024;

/// Elements of an error document, at most.
const MAX_ELEMENTS: usize = 64;

/// Codes by which a service rejects who signed, or how.
const CODES: &[&str] = &[
    "AccountProblem",
    "AuthorizationHeaderMalformed",
    "ExpiredToken",
    "InvalidAccessKeyId",
    "InvalidSecurity",
    "InvalidToken",
    "NotSignedUp",
    "RequestTimeTooSkewed",
    "SignatureDoesNotMatch",
    "TokenRefreshRequired",
];

/// What the client gets instead. Shorter than any error document that it replaces.
const REPLACEMENT: &[u8] = b"<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>AccessDenied\
    </Code><Message>Access Denied</Message></Error>";

/// An error document on its way to the client.
#[derive(Debug, Default)]
pub struct ErrorDocument {
    collected: BytesMut,
    has_length: bool,
}

/// Decides from the head of an answer whether its body is looked at.
pub(super) fn watch(ctx: &mut RequestCtx, method: &Method, head: &ResponseHeader) {
    let is_ours = ctx.forward.as_ref().is_some_and(|forward| !forward.is_own);
    let length = head.headers.get(header::CONTENT_LENGTH);
    let fits = length.is_none_or(|length| {
        let length: Option<usize> = length.to_str().ok().and_then(|text| text.parse().ok());
        length.is_some_and(|length| (REPLACEMENT.len()..=MAX_DOCUMENT).contains(&length))
    });
    let is_rejection = matches!(
        head.status,
        StatusCode::BAD_REQUEST | StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN
    );
    if is_ours && is_rejection && fits && *method != Method::HEAD {
        let has_length = length.is_some();
        ctx.error_document = Some(ErrorDocument {
            collected: BytesMut::new(),
            has_length,
        });
    }
}

/// Collects the document, and gives it or its replacement when it is complete.
pub(super) fn pass(ctx: &mut RequestCtx, body: &mut Option<Bytes>, end: bool) {
    let Some(document) = &mut ctx.error_document else {
        return;
    };
    document
        .collected
        .extend_from_slice(&body.take().unwrap_or_default());
    if document.collected.len() > MAX_DOCUMENT {
        *body = Some(document.collected.split().freeze());
        ctx.error_document = None;
    } else if end {
        let original = document.collected.split().freeze();
        let has_length = document.has_length;
        *body = Some(match rejection_code(&original) {
            Some(code) => {
                note(ctx, &code);
                replacement(has_length.then_some(original.len()))
            }
            None => original,
        });
    }
}

/// The code by which an error document rejects who signed, if it does.
pub(super) fn rejection_code(document: &[u8]) -> Option<String> {
    let root = Element::parse(document, MAX_ELEMENTS).ok()?;
    let code = root.child_text("Code").filter(|_| root.name == "Error")?;
    CODES.contains(&code).then(|| code.to_owned())
}

fn note(ctx: &RequestCtx, code: &str) {
    let Some(forward) = &ctx.forward else { return };
    let name = &forward.origin.config.name;
    log::error!(
        "origin {name} rejects our credentials with {code} (request {})",
        ctx.request_id
    );
    forward.metrics.error(UpstreamErrorKind::Credentials);
    if let Some(rejected) = &forward.signed_with {
        forward.origin.credentials.invalidate(rejected);
    }
}

/// The promised length is kept with blanks, which mean nothing behind the root element.
fn replacement(length: Option<usize>) -> Bytes {
    let mut document = REPLACEMENT.to_vec();
    if let Some(length) = length {
        document.resize(length, b' ');
    }
    document.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_about_the_signer_is_replaced() {
        let error = |code: &str| {
            format!("<Error><Code>{code}</Code><AWSAccessKeyId>A</AWSAccessKeyId></Error>")
        };
        assert!(rejection_code(error("SignatureDoesNotMatch").as_bytes()).is_some());
        assert!(rejection_code(error("ExpiredToken").as_bytes()).is_some());
        for other in ["AccessDenied", "NoSuchKey", "InvalidObjectState"] {
            assert!(rejection_code(error(other).as_bytes()).is_none(), "{other}");
        }
        assert!(rejection_code(b"<html>InvalidAccessKeyId</html>").is_none());
        assert!(rejection_code(b"").is_none());
    }

    #[test]
    fn the_replacement_is_xml_of_the_promised_length() {
        let document = replacement(Some(400));
        assert_eq!(document.len(), 400);
        let root = Element::parse(&document, MAX_ELEMENTS).unwrap();
        assert_eq!(root.child_text("Code"), Some("AccessDenied"));
        assert_eq!(replacement(None).len(), REPLACEMENT.len());
    }
}
