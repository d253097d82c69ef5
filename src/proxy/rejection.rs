//! An origin that rejects the proxy's own credentials.
//!
//! Its error is about us, not about the client: passed on, it would tell the client that its own key
//! is wrong, and show the key id and the string that we signed. So small error documents are looked
//! at before they go on, and such a one is replaced by a plain `AccessDenied`.

use bytes::Bytes;
use bytes::BytesMut;
use http::Method;
use http::header;
use pingora::http::ResponseHeader;

use super::ctx::RequestCtx;
use super::failure::Failure;
use crate::s3::ErrorCode;
use crate::upstream::may_reject;
use crate::upstream::rejection_code;

/// S3's error documents have a kilobyte or two; anything longer is none.
const MAX_DOCUMENT: usize = 64 * 1024;

/// What the client gets instead.
const REPLACEMENT: &[u8] = b"<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>AccessDenied\
    </Code><Message>Access Denied</Message></Error>";

/// The same for a document that is shorter still. No rejection is shorter than this.
const SHORT_REPLACEMENT: &[u8] = b"<Error><Code>AccessDenied</Code></Error>";

/// An error document on its way to the client.
#[derive(Debug, Default)]
pub struct ErrorDocument {
    collected: BytesMut,
    has_length: bool,
}

/// What a client is told in place of a whole answer that rejects us.
pub(super) fn instead_of(document: &[u8]) -> Option<Failure> {
    let code = rejection_code(document)?;
    let mut failure = Failure::new(ErrorCode::AccessDenied);
    failure.internal = Some(format!("the origin rejects our credentials with {code}"));
    Some(failure)
}

/// Decides from the head of an answer whether its body is looked at.
pub(super) fn watch(ctx: &mut RequestCtx, method: &Method, head: &ResponseHeader) {
    let is_ours = ctx.forward.as_ref().is_some_and(|forward| !forward.is_own);
    let length = head.headers.get(header::CONTENT_LENGTH);
    let fits = length.is_none_or(|length| {
        let length: Option<usize> = length.to_str().ok().and_then(|text| text.parse().ok());
        length.is_some_and(|length| (SHORT_REPLACEMENT.len()..=MAX_DOCUMENT).contains(&length))
    });
    if is_ours && may_reject(head.status) && fits && *method != Method::HEAD {
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

fn note(ctx: &RequestCtx, code: &str) {
    if let Some(forward) = &ctx.forward
        && let Some(used) = &forward.signed_with
    {
        forward.origin.signed_with(used.clone()).rejected(code);
    }
}

/// The promised length is kept with blanks, which mean nothing behind the root element.
fn replacement(length: Option<usize>) -> Bytes {
    let is_short = length.is_some_and(|length| length < REPLACEMENT.len());
    let mut document = if is_short {
        SHORT_REPLACEMENT
    } else {
        REPLACEMENT
    }
    .to_vec();
    if let Some(length) = length {
        document.resize(length, b' ');
    }
    document.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::s3::xml::Element;

    #[test]
    fn the_replacement_is_xml_of_the_promised_length() {
        for length in [40, 41, 109, 110, 400] {
            let document = replacement(Some(length));
            assert_eq!(document.len(), length);
            let root = Element::parse(&document, 8).unwrap();
            assert_eq!(root.child_text("Code"), Some("AccessDenied"));
        }
        assert_eq!(replacement(None).len(), REPLACEMENT.len());
    }
}
