//! Any stage's error becomes an S3 error document here, and nowhere else.
//! <https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html>

use http::HeaderName;
use http::HeaderValue;
use pingora::ErrorSource;
use pingora::ErrorType;

use crate::auth::AuthError;
use crate::auth::PayloadError;
use crate::policy::Denied;
use crate::s3::ErrorCode;
use crate::s3::xml;
use crate::upstream::UpstreamError;

/// What a client is told when its request failed here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The code, which decides the status.
    pub code: ErrorCode,
    /// The public message.
    pub message: String,
    /// Further elements of the document.
    details: Vec<(&'static str, String)>,
    /// A field of the answer beside the usual ones.
    pub field: Option<Box<(HeaderName, HeaderValue)>>,
    /// What only the log is told.
    pub internal: Option<String>,
}

impl Failure {
    /// A failure with the message of its code.
    pub fn new(code: ErrorCode) -> Self {
        Self::because(code, code.message())
    }

    /// A failure with a message of its own.
    pub fn because(code: ErrorCode, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            details: Vec::new(),
            field: None,
            internal: None,
        }
    }

    /// Adds an element to the document.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.details.push((name, value.into()));
        self
    }

    /// Adds a field to the answer.
    #[must_use]
    pub fn with_field(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.field = Some(Box::new((name, value)));
        self
    }

    /// The error document.
    pub fn to_xml(&self, resource: &str, request_id: &str) -> String {
        let mut document = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error>");
        xml::write_text(&mut document, "Code", self.code.as_str());
        xml::write_text(&mut document, "Message", &self.message);
        for (name, value) in &self.details {
            xml::write_text(&mut document, name, value);
        }
        xml::write_text(&mut document, "Resource", resource);
        xml::write_text(&mut document, "RequestId", request_id);
        document.push_str("</Error>");
        document
    }
}

impl From<ErrorCode> for Failure {
    fn from(code: ErrorCode) -> Self {
        Self::new(code)
    }
}

impl From<Denied> for Failure {
    fn from(Denied: Denied) -> Self {
        Self::new(ErrorCode::AccessDenied)
    }
}

impl From<PayloadError> for Failure {
    fn from(error: PayloadError) -> Self {
        Self::because(error.code(), error.to_string())
    }
}

impl From<AuthError> for Failure {
    fn from(error: AuthError) -> Self {
        let mut failure = Self::because(error.code(), error.to_string());
        match error {
            AuthError::SignatureMismatch(mismatch) => {
                failure.details = vec![
                    ("AWSAccessKeyId", mismatch.access_key_id.to_string()),
                    ("StringToSign", mismatch.string_to_sign),
                    ("SignatureProvided", mismatch.signature_provided),
                    ("CanonicalRequest", mismatch.canonical_request),
                ];
            }
            AuthError::WrongRegion { expected, .. } => {
                failure.details = vec![("Region", expected)];
            }
            _ => {}
        }
        failure
    }
}

impl From<&pingora::Error> for Failure {
    /// What a client is told of an error that Pingora met.
    fn from(error: &pingora::Error) -> Self {
        let code = match (error.esource(), error.etype()) {
            (ErrorSource::Downstream, ErrorType::ReadTimedout | ErrorType::WriteTimedout) => {
                ErrorCode::RequestTimeout
            }
            (ErrorSource::Downstream, ErrorType::ConnectionClosed) => ErrorCode::IncompleteBody,
            (ErrorSource::Downstream, _) => ErrorCode::InvalidRequest,
            (ErrorSource::Upstream, _) => ErrorCode::ServiceUnavailable,
            (ErrorSource::Internal | ErrorSource::Unset, _) => ErrorCode::InternalError,
        };
        let mut failure = Self::new(code);
        if *error.esource() != ErrorSource::Downstream {
            failure.internal = Some(error.to_string());
        }
        failure
    }
}

impl From<UpstreamError> for Failure {
    /// The client learns that the origin failed, the log learns how.
    fn from(error: UpstreamError) -> Self {
        let mut failure = Self::new(error.code());
        failure.internal = Some(format!("{}: {error}", error.kind().as_str()));
        failure
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_document_is_escaped_and_hides_what_is_internal() {
        let mut failure = Failure::because(ErrorCode::AccessDenied, "no <b>");
        failure.internal = Some("secret detail".to_owned());
        assert_eq!(
            failure.to_xml("/lake/a&b", "R1"),
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>AccessDenied</Code>\
             <Message>no &lt;b&gt;</Message><Resource>/lake/a&amp;b</Resource>\
             <RequestId>R1</RequestId></Error>"
        );
    }
}
