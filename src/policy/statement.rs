//! One allow or deny rule, and what it is matched against.

use std::fmt;

use globset::{Glob, GlobBuilder, GlobMatcher};

/// What a request does, as rules name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    /// Object bytes and object meta.
    Read,
    /// Names of objects, uploads and buckets.
    List,
    /// Creates or replaces.
    Write,
    /// Removes.
    Delete,
}

/// Rights beyond plain objects. A rule gives one only by naming it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Grant {
    /// `versionId`, and listing versions.
    Versions,
    /// Object and bucket tags.
    Tagging,
    /// Access control lists and canned ACLs other than `private`.
    Acl,
    /// Object Lock: retention, legal hold, governance bypass.
    Retention,
    /// Bucket configuration: policy, lifecycle, CORS, encryption, versioning and the like.
    BucketConfig,
}

/// Why a rule cannot be used.
#[derive(Debug)]
pub enum StatementError {
    /// `buckets` or `prefixes` holds a pattern that is not a glob.
    Glob {
        /// The pattern as written.
        pattern: String,
        /// What the glob parser said.
        source: globset::Error,
    },
}

impl fmt::Display for StatementError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Glob { pattern, source } => {
                write!(f, "`{pattern}` is not a glob: {}", source.kind())
            }
        }
    }
}

impl std::error::Error for StatementError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Glob { source, .. } => Some(source),
        }
    }
}

/// The rules of one principal.
#[derive(Debug, Clone, Default)]
pub struct Rules {
    /// A request needs one of these.
    pub allow: Vec<Statement>,
    /// And none of these.
    pub deny: Vec<Statement>,
}

/// One rule: these actions, on these buckets, below these prefixes.
#[derive(Debug, Clone)]
pub struct Statement {
    buckets: Vec<GlobMatcher>,
    prefixes: Vec<Prefix>,
    actions: Vec<Action>,
    grants: Vec<Grant>,
    everything: bool,
}

/// A prefix glob: it matches every key that has some prefix the glob matches.
#[derive(Debug, Clone)]
struct Prefix {
    literal: String,
    matcher: GlobMatcher,
}

impl Statement {
    /// Compiles a rule. `buckets` are globs over the whole bucket name; `prefixes` are globs that a
    /// key has to start with, and none at all means every key. In both `*` matches any run of
    /// characters, `/` included, and `?` one character.
    pub fn new(
        buckets: &[String],
        prefixes: &[String],
        actions: Vec<Action>,
        grants: Vec<Grant>,
    ) -> Result<Self, StatementError> {
        Ok(Self {
            buckets: buckets
                .iter()
                .map(|pattern| Ok(glob(pattern, pattern)?.compile_matcher()))
                .collect::<Result<_, StatementError>>()?,
            prefixes: prefixes
                .iter()
                .map(|text| Prefix::new(text))
                .collect::<Result<_, _>>()?,
            actions,
            grants,
            everything: false,
        })
    }

    /// Marks the rule as covering every action, every grant and sub-resources that this proxy does
    /// not know: `actions: ["*"]`.
    #[must_use]
    pub fn everything(mut self) -> Self {
        self.everything = true;
        self
    }
}

impl Prefix {
    fn new(text: &str) -> Result<Self, StatementError> {
        let literal = text
            .split(['*', '?', '[', '{'])
            .next()
            .unwrap_or_default()
            .to_owned();
        let matcher = glob(text, &format!("{text}*"))?.compile_matcher();
        Ok(Self { literal, matcher })
    }
}

fn glob(written: &str, pattern: &str) -> Result<Glob, StatementError> {
    GlobBuilder::new(pattern)
        .literal_separator(false)
        .backslash_escape(true)
        .build()
        .map_err(|source| StatementError::Glob {
            pattern: written.to_owned(),
            source,
        })
}
