//! `AssumeRoleWithWebIdentity`: a bearer token for temporary credentials.
//! <https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRoleWithWebIdentity.html>
//!
//! Only the request's body and the answer's meaning, both pure; sending is the caller's.

#[cfg(test)]
mod tests;

use std::time::Duration;
use std::time::SystemTime;

use http::StatusCode;
use percent_encoding::AsciiSet;
use percent_encoding::NON_ALPHANUMERIC;
use percent_encoding::utf8_percent_encode;
use quick_xml::Reader;
use quick_xml::events::BytesRef;
use quick_xml::events::Event;
use zeroize::Zeroizing;

use crate::s3::Credentials;
use crate::s3::Secret;

/// `Content-Type` of the request.
pub const REQUEST_CONTENT_TYPE: &str = "application/x-www-form-urlencoded";

/// The largest answer that is looked at. AWS's are 2 KiB; a session token may have 12 KiB.
pub const MAX_RESPONSE_BYTES: usize = 64 * 1024;

/// How deep elements may nest; AWS's answer has four levels.
const MAX_DEPTH: usize = 16;

/// What the token service gave for a token.
pub struct AssumedRole {
    /// Temporary credentials: session token and expiry are always present.
    pub credentials: Credentials,
    /// `SubjectFromWebIdentityToken`: whom the token names, as the identity provider says; empty
    /// when the service does not tell.
    pub subject: String,
}

/// Why there are no credentials.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StsError {
    /// The service looked at the token and refused it: asking again is of no use.
    Rejected {
        /// The service's error code.
        code: String,
    },
    /// The service cannot answer now, or refused our request for a reason of its own.
    Unavailable {
        /// Status of the answer.
        status: StatusCode,
        /// The service's error code, when the answer has one.
        code: Option<String>,
    },
    /// A success that is not understood; the field that is missing or wrong.
    Malformed(&'static str),
}

impl StsError {
    /// Whether the same token may be accepted later.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Rejected { .. } | Self::Malformed(_) => false,
            Self::Unavailable { status, code } => {
                status.is_server_error()
                    || *status == StatusCode::TOO_MANY_REQUESTS
                    || code.as_deref().is_some_and(is_transient)
            }
        }
    }
}

impl std::fmt::Display for StsError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Rejected { code } => write!(f, "the token service rejects the token: {code}"),
            Self::Unavailable { status, code } => write!(
                f,
                "the token service answers {}: {}",
                status.as_u16(),
                code.as_deref().unwrap_or("no error code")
            ),
            Self::Malformed(field) => write!(f, "the token service's answer has no valid {field}"),
        }
    }
}

impl std::error::Error for StsError {}

/// The body of `POST /`. The request is not signed: the token is its authority.
pub fn request_body(
    role_arn: &str,
    session_name: &str,
    token: &Secret,
    duration: Option<Duration>,
) -> Zeroizing<String> {
    let token = Zeroizing::new(encode(token.expose()).collect::<String>());
    let parameters = token.len() + 3 * (role_arn.len() + session_name.len()) + 160;
    // Large enough from the start: growing would leave copies of the token behind.
    let mut body = Zeroizing::new(String::with_capacity(parameters));
    body.push_str("Action=AssumeRoleWithWebIdentity&Version=2011-06-15&RoleArn=");
    body.extend(encode(role_arn));
    body.push_str("&RoleSessionName=");
    body.extend(encode(session_name));
    if let Some(duration) = duration {
        body.push_str("&DurationSeconds=");
        body.push_str(&duration.as_secs().to_string());
    }
    body.push_str("&WebIdentityToken=");
    body.push_str(&token);
    body
}

/// What the service said.
pub fn parse_response(status: StatusCode, body: &[u8]) -> Result<AssumedRole, StsError> {
    if status.is_success() {
        return parse_success(body);
    }
    let mut code = None;
    // `ErrorResponse/Error/Code` of AWS, `Error/Code` of services that answer as S3 does. An answer
    // that is cut short behind it has told it all the same.
    let _ = visit_texts(body, |path, text| {
        let is_code_element =
            matches!(path, ["ErrorResponse", "Error", "Code"] | ["Error", "Code"]);
        if is_code_element && is_code(text) {
            code.get_or_insert_with(|| text.to_owned());
        }
    });
    match code {
        Some(code) if status.is_client_error() && is_rejection(&code) => {
            Err(StsError::Rejected { code })
        }
        code => Err(StsError::Unavailable { status, code }),
    }
}

/// Codes that speak of the token, or of whether it may assume the role:
/// <https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRoleWithWebIdentity.html#API_AssumeRoleWithWebIdentity_Errors>;
/// `InvalidParameterValue` and `InvalidClientTokenId` are other services' words for it, and
/// `ValidationError` is AWS's for a token too short or too long to be one.
fn is_rejection(code: &str) -> bool {
    matches!(
        code,
        "AccessDenied"
            | "AccessDeniedException"
            | "ExpiredToken"
            | "ExpiredTokenException"
            | "IDPRejectedClaim"
            | "IDPRejectedClaimException"
            | "InvalidClientTokenId"
            | "InvalidIdentityToken"
            | "InvalidIdentityTokenException"
            | "InvalidParameterValue"
            | "ValidationError"
    )
}

/// `IDPCommunicationError` comes with status 400 and is worth another attempt.
fn is_transient(code: &str) -> bool {
    matches!(
        code,
        "IDPCommunicationError"
            | "IDPCommunicationErrorException"
            | "InternalFailure"
            | "RequestTimeout"
            | "ServiceUnavailable"
            | "SlowDown"
            | "Throttling"
            | "ThrottlingException"
    )
}

/// Error codes go to the log; junk does not.
fn is_code(code: &str) -> bool {
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | ':');
    (1..=64).contains(&code.len()) && code.chars().all(is_allowed)
}

#[derive(Default)]
struct Fields {
    access_key_id: String,
    secret_access_key: Zeroizing<String>,
    session_token: Zeroizing<String>,
    expiration: String,
    subject: String,
}

fn parse_success(body: &[u8]) -> Result<AssumedRole, StsError> {
    let mut fields = Fields::default();
    visit_texts(body, |path, text| {
        let [
            "AssumeRoleWithWebIdentityResponse",
            "AssumeRoleWithWebIdentityResult",
            field @ ..,
        ] = path
        else {
            return;
        };
        match field {
            ["Credentials", "AccessKeyId"] => text.clone_into(&mut fields.access_key_id),
            ["Credentials", "SecretAccessKey"] => {
                fields.secret_access_key = Zeroizing::new(text.to_owned());
            }
            ["Credentials", "SessionToken"] => {
                fields.session_token = Zeroizing::new(text.to_owned());
            }
            ["Credentials", "Expiration"] => text.clone_into(&mut fields.expiration),
            ["SubjectFromWebIdentityToken"] => text.clone_into(&mut fields.subject),
            _ => {}
        }
    })
    .ok_or(StsError::Malformed("XML"))?;
    fields.into_assumed_role()
}

impl Fields {
    fn into_assumed_role(self) -> Result<AssumedRole, StsError> {
        // They go into header fields; nothing of them may end one.
        let is_field_text =
            |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic());
        for (text, name) in [
            (self.access_key_id.as_str(), "AccessKeyId"),
            (self.secret_access_key.as_str(), "SecretAccessKey"),
            (self.session_token.as_str(), "SessionToken"),
        ] {
            if !is_field_text(text) {
                return Err(StsError::Malformed(name));
            }
        }
        if self.subject.chars().any(char::is_control) {
            return Err(StsError::Malformed("SubjectFromWebIdentityToken"));
        }
        let expires_at: SystemTime = humantime::parse_rfc3339(&self.expiration)
            .map_err(|_| StsError::Malformed("Expiration"))?;
        Ok(AssumedRole {
            credentials: Credentials {
                access_key_id: self.access_key_id.into(),
                secret_access_key: Secret::new(self.secret_access_key.as_str()),
                session_token: Some(Secret::new(self.session_token.as_str())),
                expires_at: Some(expires_at),
            },
            subject: self.subject,
        })
    }
}

/// Calls `visit` with the path (local names from the root) and the trimmed text of each element
/// that has text. `None` when the body is not well-formed, too large, too deep, or has a document
/// type.
fn visit_texts(body: &[u8], mut visit: impl FnMut(&[&str], &str)) -> Option<()> {
    let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
    if body.len() > MAX_RESPONSE_BYTES {
        return None;
    }
    let mut reader = Reader::from_str(std::str::from_utf8(body).ok()?);
    let mut path: Vec<String> = Vec::new();
    let mut text = Zeroizing::new(String::with_capacity(body.len()));
    loop {
        match reader.read_event().ok()? {
            Event::Start(start) => {
                if path.len() == MAX_DEPTH {
                    return None;
                }
                path.push(start.local_name().as_ref().to_owned());
                text.clear();
            }
            Event::End(_) => {
                let value = text.trim();
                if !value.is_empty() {
                    let names: Vec<&str> = path.iter().map(String::as_str).collect();
                    visit(&names, value);
                }
                text.clear();
                path.pop()?;
            }
            Event::Text(piece) => text.push_str(&piece.xml10_content()),
            Event::CData(piece) => text.push_str(&piece.xml10_content()),
            Event::GeneralRef(reference) => text.push(character(&reference)?),
            Event::DocType(_) => return None,
            Event::Empty(_) | Event::Comment(_) | Event::Decl(_) | Event::PI(_) => {}
            Event::Eof => return path.is_empty().then_some(()),
        }
    }
}

/// One of the five entities of XML, or a character by its number.
fn character(reference: &BytesRef<'_>) -> Option<char> {
    match &**reference {
        "amp" => Some('&'),
        "lt" => Some('<'),
        "gt" => Some('>'),
        "quot" => Some('"'),
        "apos" => Some('\''),
        _ => reference.resolve_char_ref().ok()?,
    }
}

/// Form encoding, with `%20` for a space: the same to every reader.
fn encode(text: &str) -> percent_encoding::PercentEncode<'_> {
    utf8_percent_encode(text, UNRESERVED)
}

/// All but the unreserved characters of RFC 3986.
const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');
