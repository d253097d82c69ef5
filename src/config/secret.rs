//! Secrets: from files that only the owner reads, or from environment variables.
//!
//! No message quotes what may be a secret in the wrong place: a path is shown only when a file is
//! there, a variable only when it is set or spelled as variables are.

use std::fmt;
use std::fs;
use std::fs::File;
use std::io;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::path::PathBuf;

use zeroize::Zeroizing;

use super::conflict::Conflict;
use super::environment::Environment;
use super::error::Findings;
use super::error::Problem;
use super::files;
use super::section::Section;
use crate::s3::Credentials;
use crate::s3::Secret;

/// Session tokens are a few KiB; what is larger is the wrong file.
const MAX_SECRET_BYTES: u64 = 64 << 10;

/// Why a secret cannot be had.
#[derive(Debug)]
pub(super) enum SecretError {
    /// The file cannot be opened; its path may be anything, so it is not kept.
    NoFile(io::Error),
    /// A directory, a pipe, a device.
    NotAFile(PathBuf),
    /// Others may read it.
    Readable { path: PathBuf, mode: u32 },
    /// Nothing in it, too much, several lines, or not text.
    NotASecret(PathBuf),
    /// The variable is not set; without a name when that may be a secret itself.
    NoVariable(Option<String>),
    /// The variable holds blanks or control characters.
    NotASecretIn(String),
}

impl fmt::Display for SecretError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoFile(error) => write!(
                f,
                "the file cannot be read: {error}; give the path of a readable file that holds the secret"
            ),
            Self::NotAFile(path) => {
                write!(f, "{} is not a regular file; give one", path.display())
            }
            Self::Readable { path, mode } => write!(
                f,
                "{0} has mode {mode:04o}, others may read it; chmod 600 {0}",
                path.display()
            ),
            Self::NotASecret(path) => write!(
                f,
                "{} does not hold one secret; give a file with one line and nothing else",
                path.display()
            ),
            Self::NoVariable(Some(name)) => write!(
                f,
                "the environment variable {name} is not set; set it, or give a file instead"
            ),
            Self::NoVariable(None) => f.write_str(
                "no environment variable has this name; give the name of the variable, not its value",
            ),
            Self::NotASecretIn(name) => write!(
                f,
                "the environment variable {name} holds blanks or control characters; set it to the \
                 secret and nothing else"
            ),
        }
    }
}

impl std::error::Error for SecretError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::NoFile(error) => Some(error),
            _ => None,
        }
    }
}

/// The key pair that a section gives by `access_key_id`, `secret_access_key_*`, `session_token_*`.
pub(super) fn key_pair(
    section: &Section<'_>,
    environment: &Environment,
    findings: &mut Findings,
) -> Option<Credentials> {
    let secret = either(
        section,
        ["secret_access_key_file", "secret_access_key_env"],
        environment,
        findings,
    );
    let token = ["session_token_file", "session_token_env"];
    let session_token = if token.iter().any(|name| section.has(name)) {
        either(section, token, environment, findings)
    } else {
        None
    };
    let access_key_id = section.maybe_text("access_key_id")?;
    Some(Credentials {
        session_token,
        ..Credentials::fixed(access_key_id, secret?)
    })
}

/// The token that a section gives by `token_file` or `token_env`, if it gives one.
pub(super) fn token(
    section: &Section<'_>,
    environment: &Environment,
    findings: &mut Findings,
) -> Option<Secret> {
    let names = ["token_file", "token_env"];
    let is_given = names.iter().any(|name| section.has(name));
    is_given
        .then(|| either(section, names, environment, findings))
        .flatten()
}

/// The secret that exactly one of two keys gives: a file's or a variable's.
fn either(
    section: &Section<'_>,
    [file, variable]: [&'static str; 2],
    environment: &Environment,
    findings: &mut Findings,
) -> Option<Secret> {
    let (name, secret) = match (section.maybe_text(file), section.maybe_text(variable)) {
        (Some(path), None) => {
            let secret = from_file(Path::new(&path), environment);
            if let Ok(secret) = &secret {
                findings.contents(Path::new(&path), secret.expose().as_bytes());
            }
            (file, secret)
        }
        (None, Some(name)) => (variable, from_variable(&name, environment)),
        (path, _) => {
            let choices = vec![file, variable];
            let found = if path.is_some() { 2 } else { 0 };
            let problem = Problem::ExactlyOne { choices, found };
            findings.error(section.here().clone(), problem);
            return None;
        }
    };
    secret
        .map_err(|error| findings.error(section.place(name), Conflict::Secret(error)))
        .ok()
}

/// The secret in a variable.
pub(super) fn from_variable(name: &str, environment: &Environment) -> Result<Secret, SecretError> {
    if let Some(text) = environment.get(name).map(Zeroizing::new) {
        return secret(&text).ok_or_else(|| SecretError::NotASecretIn(name.to_owned()));
    }
    let is_spelled = |b: u8| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_';
    let name = name.bytes().all(is_spelled).then(|| name.to_owned());
    Err(SecretError::NoVariable(name))
}

/// The secret in a file, of which a final line break is not part.
fn from_file(path: &Path, environment: &Environment) -> Result<Secret, SecretError> {
    // Asked before opening: opening a pipe would wait for its other end.
    if !fs::metadata(path).map_err(SecretError::NoFile)?.is_file() {
        return Err(SecretError::NotAFile(path.to_owned()));
    }
    let file = File::open(path).map_err(SecretError::NoFile)?;
    let metadata = file.metadata().map_err(SecretError::NoFile)?;
    let mode = metadata.mode() & 0o7777;
    let is_private = mode & files::OTHERS_READ == 0;
    if !is_private && !files::is_system_credential(path, metadata.uid(), mode, environment) {
        let path = path.to_owned();
        return Err(SecretError::Readable { path, mode });
    }
    let mut text = Zeroizing::new(String::new());
    let bytes = file.take(MAX_SECRET_BYTES).read_to_string(&mut text);
    let is_whole = bytes.is_ok_and(|bytes| (bytes as u64) < MAX_SECRET_BYTES);
    is_whole
        .then(|| secret(text.trim_end_matches(['\n', '\r'])))
        .flatten()
        .ok_or_else(|| SecretError::NotASecret(path.to_owned()))
}

fn secret(text: &str) -> Option<Secret> {
    let is_secret = !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic());
    is_secret.then(|| Secret::new(text))
}
