//! Why there are no credentials, told without telling any.

use std::error::Error;
use std::time::Duration;

use aws_config::imds::client::error::ImdsError;
use aws_config::imds::client::error::TokenError;
use aws_credential_types::provider::error::CredentialsError as SdkCredentialsError;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;

/// How much is told of a failure, in bytes.
const MAX_DETAIL_BYTES: usize = 400;
/// The longest word that is told. Secret access keys have 40 characters, tokens hundreds.
const MAX_WORD_BYTES: usize = 31;

/// Why there are no credentials to sign with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CredentialsError {
    /// There are none anywhere the source looks. The detail says where it looked last.
    NoCredentials(String),
    /// The source is set up in a way that cannot work.
    Misconfigured(String),
    /// The source cannot answer now.
    Unavailable(String),
    /// The source did not answer in time.
    TimedOut(Duration),
    /// What the source gives has expired already: one of the clocks is wrong.
    AlreadyExpired,
    /// Loading ended without a result.
    Interrupted,
}

impl CredentialsError {
    /// Whether there are none at all, so that going on without is a choice.
    pub fn is_no_credentials(&self) -> bool {
        matches!(self, Self::NoCredentials(_))
    }
}

impl std::fmt::Display for CredentialsError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NoCredentials(detail) => write!(f, "no credentials found: {detail}"),
            Self::Misconfigured(detail) => write!(f, "credentials are misconfigured: {detail}"),
            Self::Unavailable(detail) => write!(f, "credentials cannot be loaded: {detail}"),
            Self::TimedOut(after) => write!(f, "loading credentials took over {after:?}"),
            Self::AlreadyExpired => f.write_str("the loaded credentials have expired already"),
            Self::Interrupted => f.write_str("loading credentials was interrupted"),
        }
    }
}

impl Error for CredentialsError {}

impl From<SdkCredentialsError> for CredentialsError {
    fn from(error: SdkCredentialsError) -> Self {
        let detail = detail(&error);
        match &error {
            SdkCredentialsError::CredentialsNotLoaded(_) => Self::NoCredentials(detail),
            SdkCredentialsError::InvalidConfiguration(_) => Self::Misconfigured(detail),
            SdkCredentialsError::ProviderTimedOut(after) => {
                Self::TimedOut(after.timeout_duration())
            }
            _ if has_no_instance_role(&error) => Self::NoCredentials(detail),
            _ => Self::Unavailable(detail),
        }
    }
}

/// Whether instance metadata answered, but not as AWS does when it has credentials: another cloud's
/// service has no session tokens (404, 405), and a disabled one says 403.
fn has_no_instance_role(error: &SdkCredentialsError) -> bool {
    let causes = causes(error);
    let is_token_failure = |cause: &&(dyn Error + 'static)| {
        matches!(
            cause.downcast_ref::<ImdsError>(),
            Some(ImdsError::FailedToLoadToken(_))
        )
    };
    let mut below = causes
        .into_iter()
        .skip_while(|cause| !is_token_failure(cause));
    let response = below
        .nth(1)
        .and_then(|cause| cause.downcast_ref::<SdkError<TokenError, HttpResponse>>())
        .and_then(SdkError::raw_response);
    response.is_some_and(|response| response.status().is_client_error())
}

/// The chain of causes in one line. What is not ours to know the content of stays out: the error
/// output of a credential process, the answer of the metadata service, and any word that is long
/// enough to be a secret.
fn detail(error: &SdkCredentialsError) -> String {
    let told = |error: &(dyn Error + 'static)| match error.downcast_ref::<ImdsError>() {
        Some(ImdsError::ErrorResponse(context)) => format!(
            "instance metadata answers {}",
            context.response().status().as_u16()
        ),
        _ => without_secrets(&error.to_string()),
    };
    let mut causes: Vec<String> = causes(error).into_iter().map(told).collect();
    if causes.is_empty() {
        causes.push(error.to_string());
    }
    let mut detail = causes.join(": ");
    detail.truncate(detail.floor_char_boundary(MAX_DETAIL_BYTES));
    detail
}

fn causes(error: &SdkCredentialsError) -> Vec<&(dyn Error + 'static)> {
    let mut causes = Vec::new();
    let mut next = error.source();
    while let Some(cause) = next {
        causes.push(cause);
        next = cause.source();
    }
    causes
}

fn without_secrets(text: &str) -> String {
    if text.contains("external process") || text.contains("Error retrieving credentials:") {
        return "the credential process failed".to_owned();
    }
    let is_telling = |word: &str| {
        let is_place =
            word.starts_with('/') || word.starts_with("http") || word.starts_with("arn:");
        word.len() <= MAX_WORD_BYTES || is_place
    };
    let words = text.split(|c: char| c.is_whitespace() || c.is_control());
    let told = words.map(|word| {
        let bare = word.trim_matches(|c: char| matches!(c, '`' | '"' | '\'' | '(' | ')' | ','));
        if is_telling(bare) { word } else { "[...]" }
    });
    told.filter(|word| !word.is_empty())
        .collect::<Vec<_>>()
        .join(" ")
}
