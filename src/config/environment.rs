//! The process's environment as a value, so that tests need not change the real one.

use std::collections::HashMap;
use std::os::unix::fs::MetadataExt;

/// Where environment variables are looked up.
pub struct Environment(Source);

enum Source {
    Process,
    Fixed(HashMap<String, String>),
}

impl Environment {
    /// The real one.
    pub fn process() -> Self {
        Self(Source::Process)
    }

    /// Exactly these variables, and an unprivileged user.
    pub fn fixed<'a>(variables: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let owned = |(key, value): (&str, &str)| (key.to_owned(), value.to_owned());
        Self(Source::Fixed(variables.into_iter().map(owned).collect()))
    }

    /// A variable; set to nothing counts as not set, as for the AWS SDKs.
    pub(super) fn get(&self, name: &str) -> Option<String> {
        match &self.0 {
            Source::Process => std::env::var(name).ok(),
            Source::Fixed(variables) => variables.get(name).cloned(),
        }
        .filter(|value| !value.is_empty())
    }

    /// Whether the process runs as root.
    pub(super) fn is_root(&self) -> bool {
        match &self.0 {
            Source::Process => {
                std::fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0)
            }
            Source::Fixed(_) => false,
        }
    }
}
