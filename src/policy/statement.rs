//! One allow or deny rule, and what it is matched against.

use std::fmt;

use globset::{Glob, GlobBuilder, GlobMatcher};

use crate::s3::Action;
use crate::s3::GLOB_MARKS;
use crate::s3::Grant;
use crate::s3::Right;
use crate::s3::Target;

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

impl Statement {
    /// The buckets that it names as such, not by a pattern.
    pub(super) fn bucket_names(&self) -> impl Iterator<Item = &str> {
        let patterns = self.buckets.iter().map(|bucket| bucket.glob().glob());
        patterns.filter(|pattern| !pattern.contains(GLOB_MARKS))
    }

    /// What every key of the first prefix that it names begins with.
    pub(super) fn first_prefix(&self) -> &str {
        self.prefixes
            .first()
            .map_or("", |prefix| prefix.literal.as_str())
    }

    /// Whether this rule, as an allow rule, gives the right on all of the target.
    pub(super) fn allows(&self, right: Right, bucket: &str, target: Target<'_>) -> bool {
        self.names_bucket(bucket)
            && match right {
                Right::Visible => true,
                Right::Plain(action) => self.has_action(action) && self.covers(target),
                Right::Granted(action, grant) => {
                    let granted = self.everything || self.grants.contains(&grant);
                    granted && self.has_action(action) && self.covers(target)
                }
                Right::Everything => self.everything && self.prefixes.is_empty(),
            }
    }

    /// Whether this rule, as a deny rule, takes the right away on any of the target. A deny rule
    /// without grants denies its actions with every grant.
    pub(super) fn denies(&self, right: Right, bucket: &str, target: Target<'_>) -> bool {
        self.names_bucket(bucket)
            && match right {
                Right::Visible => self.everything && self.prefixes.is_empty(),
                Right::Plain(action) => {
                    self.grants.is_empty() && self.has_action(action) && self.touches(target)
                }
                Right::Granted(action, grant) => {
                    let named = self.grants.is_empty() || self.grants.contains(&grant);
                    named && self.has_action(action) && self.touches(target)
                }
                Right::Everything => true,
            }
    }

    fn names_bucket(&self, bucket: &str) -> bool {
        self.buckets.iter().any(|glob| glob.is_match(bucket))
    }

    fn has_action(&self, action: Action) -> bool {
        self.everything || self.actions.contains(&action)
    }

    /// Every key of the target lies below a prefix.
    fn covers(&self, target: Target<'_>) -> bool {
        self.prefixes.is_empty()
            || match target {
                Target::Key(name) | Target::Prefix(name) => self
                    .prefixes
                    .iter()
                    .any(|prefix| prefix.matcher.is_match(name)),
                Target::Bucket => false,
            }
    }

    /// Some key of the target may lie below a prefix.
    fn touches(&self, target: Target<'_>) -> bool {
        self.prefixes.is_empty()
            || match target {
                Target::Key(key) => self
                    .prefixes
                    .iter()
                    .any(|prefix| prefix.matcher.is_match(key)),
                Target::Prefix(asked) => self.prefixes.iter().any(|prefix| {
                    prefix.literal.starts_with(asked) || asked.starts_with(&prefix.literal)
                }),
                Target::Bucket => false,
            }
    }
}

impl Prefix {
    fn new(text: &str) -> Result<Self, StatementError> {
        let literal = text.split(GLOB_MARKS).next().unwrap_or_default().to_owned();
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
