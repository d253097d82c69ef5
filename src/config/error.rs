//! What is wrong with the configuration: all of it at once, each by file, line and key.

use std::fmt;
use std::path::Path;
use std::path::PathBuf;

use super::conflict::Conflict;
use super::reload::Contents;
use super::yaml::YamlError;

/// Everything that is wrong, in the order of lines; never empty.
#[derive(Debug)]
pub struct ConfigErrors {
    errors: Vec<ConfigError>,
    until_restart: bool,
}

/// One thing that is wrong: where, what, and what would be right.
#[derive(Debug)]
pub struct ConfigError {
    file: Option<PathBuf>,
    place: Place,
    problem: Problem,
}

/// A key and its line; line 0 means the command line or the environment.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub(super) line: usize,
    pub(super) key: String,
}

/// What can be wrong with a key.
#[derive(Debug)]
pub(super) enum Problem {
    /// The file cannot be read.
    Unreadable(std::io::Error),
    /// The file is larger than any configuration.
    TooLarge { limit: u64 },
    /// Not YAML, or YAML that we do not read.
    Yaml(YamlError),
    /// No such key.
    Unknown { nearest: Option<&'static str> },
    /// The key stands there twice.
    Repeated { first_line: usize },
    /// A key that has to be there is not.
    Missing { example: &'static str },
    /// A list where one value belongs, and the like.
    Shape {
        expected: String,
        found: &'static str,
    },
    /// A value that cannot be read as what the key holds. Without `text` when it may be a secret.
    Value {
        text: Option<String>,
        expected: String,
    },
    /// A key that we know and do not take.
    Refused { reason: &'static str },
    /// Of these keys exactly one has to be given.
    ExactlyOne {
        choices: Vec<&'static str>,
        found: usize,
    },
    /// A key without effect unless another one is given.
    Needs { other: &'static str },
    /// Each value is well formed, and they cannot stand together.
    Conflict(Conflict),
}

impl ConfigErrors {
    pub(super) fn new(mut errors: Vec<ConfigError>) -> Self {
        errors.sort_by(|a, b| a.place.cmp(&b.place));
        Self {
            errors,
            until_restart: false,
        }
    }

    /// They are about what would be in force until the next restart, and not about the file alone.
    pub(super) fn until_restart(self) -> Self {
        Self {
            until_restart: true,
            ..self
        }
    }

    /// One by one, in the order of lines.
    pub fn iter(&self) -> impl Iterator<Item = &ConfigError> {
        self.errors.iter()
    }
}

impl ConfigError {
    /// `file` is absent for what came with the command line or the environment.
    pub(super) fn new(file: Option<&Path>, place: Place, problem: Problem) -> Self {
        Self {
            file: file.map(Path::to_owned),
            place,
            problem,
        }
    }

    /// The line in the file; `None` when it came with the command line or the environment.
    pub fn line(&self) -> Option<usize> {
        (self.place.line > 0).then_some(self.place.line)
    }

    /// The full path of the key, such as `clients[1].allow[0].buckets`.
    pub fn key(&self) -> &str {
        &self.place.key
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.errors.iter().enumerate() {
            let separator = if index == 0 { "" } else { "\n" };
            write!(f, "{separator}{error}")?;
        }
        if self.until_restart {
            f.write_str(
                "\nthe file alone is good; it does not go with keys that changed and take a restart",
            )?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigErrors {}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.file, self.line()) {
            (Some(file), Some(line)) => write!(f, "{}:{line}: ", file.display())?,
            (Some(file), None) => write!(f, "{}: ", file.display())?,
            (None, _) => f.write_str("command line or environment: ")?,
        }
        if !self.place.key.is_empty() {
            write!(f, "{}: ", self.place.key)?;
        }
        self.problem.fmt(f)
    }
}

impl std::error::Error for ConfigError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.problem {
            Problem::Unreadable(error) => Some(error),
            Problem::Conflict(conflict) => conflict.source(),
            _ => None,
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable(error) => write!(f, "cannot be read: {error}; give a readable file"),
            Self::TooLarge { limit } => {
                write!(f, "larger than {limit} bytes; give a configuration file")
            }
            Self::Yaml(error) => write!(f, "{}; {}", error.wrong, error.right),
            Self::Unknown { nearest: Some(key) } => write!(f, "unknown key; did you mean `{key}`?"),
            Self::Unknown { nearest: None } => {
                f.write_str("unknown key; the keys are listed in docs/configuration.md")
            }
            Self::Repeated { first_line } => {
                write!(f, "already given in line {first_line}; keep one of the two")
            }
            Self::Missing { example } => write!(f, "missing; give one such as `{example}`"),
            Self::Shape { expected, found } => write!(f, "{found} stands here; give {expected}"),
            Self::Value {
                text: Some(text),
                expected,
            } => {
                write!(f, "`{text}` cannot be used; give {expected}")
            }
            Self::Value {
                text: None,
                expected,
            } => write!(f, "cannot be used; give {expected}"),
            Self::Refused { reason } => write!(f, "not taken; {reason}"),
            Self::ExactlyOne { choices, found } => write!(
                f,
                "{found} of {} are given; give exactly one",
                choices.join(", ")
            ),
            Self::Needs { other } => write!(f, "has no effect alone; give `{other}` too"),
            Self::Conflict(conflict) => conflict.fmt(f),
        }
    }
}

impl From<Conflict> for Problem {
    fn from(conflict: Conflict) -> Self {
        Self::Conflict(conflict)
    }
}

/// Collects what is wrong and what is odd, so that one run shows everything.
pub(super) struct Findings {
    file: Option<PathBuf>,
    errors: Vec<ConfigError>,
    warnings: Vec<String>,
    contents: Contents,
}

impl Findings {
    pub(super) fn new(file: Option<&Path>) -> Self {
        Self {
            file: file.map(Path::to_owned),
            errors: Vec::new(),
            warnings: Vec::new(),
            contents: Contents::default(),
        }
    }

    /// Notes what is wrong at a place of the file.
    pub(super) fn error(&mut self, place: Place, problem: impl Into<Problem>) {
        let file = if place.line == 0 && !place.key.is_empty() {
            None
        } else {
            self.file.as_deref()
        };
        self.errors
            .push(ConfigError::new(file, place, problem.into()));
    }

    /// Notes what is allowed but probably not meant.
    pub(super) fn warn(&mut self, place: &Place, text: impl fmt::Display) {
        let key = &place.key;
        self.warnings.push(match &self.file {
            Some(file) if place.line > 0 => {
                format!("{}:{}: {key}: {text}", file.display(), place.line)
            }
            _ => format!("{key}: {text}"),
        });
    }

    /// Notes what was in a file, so that a later look can tell whether it changed.
    pub(super) fn contents(&mut self, path: &Path, bytes: &[u8]) {
        self.contents.add(&path.to_string_lossy(), bytes);
    }

    /// Everything that is wrong.
    pub(super) fn into_errors(self) -> ConfigErrors {
        ConfigErrors::new(self.errors)
    }

    /// The warnings and what was in files, or everything that is wrong.
    pub(super) fn into_result(self) -> Result<(Vec<String>, Contents), ConfigErrors> {
        if self.errors.is_empty() {
            Ok((self.warnings, self.contents))
        } else {
            Err(self.into_errors())
        }
    }
}
