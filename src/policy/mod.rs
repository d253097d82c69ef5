//! What they may do: authorizes a principal for an operation on a bucket and key.
//!
//! Default deny; an explicit deny wins. Hits and misses ask the same function.

mod alias;
mod statement;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::Arc;

pub use alias::{aliases, has_aliases};
pub use statement::{Rules, Statement, StatementError};

use crate::s3::Access;
pub use crate::s3::Action;
use crate::s3::Bucket;
pub use crate::s3::Grant;
use crate::s3::Principal;
use crate::s3::Right;
use crate::s3::Target;

/// The rules of every principal.
#[derive(Debug, Clone, Default)]
pub struct Policy {
    /// By client name.
    pub clients: HashMap<Arc<str>, Rules>,
    /// Of everyone with an accepted web identity token.
    pub web_identity: Rules,
    /// Of requests without credentials.
    pub anonymous: Rules,
}

/// A bucket that allow rules name as such, not by a pattern, and what may be done there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedBucket<'a> {
    /// Its name.
    pub bucket: &'a str,
    /// What keys begin with there.
    pub prefix: &'a str,
    /// What is allowed below the prefix.
    pub actions: Vec<Action>,
}

/// The principal has no right to do this.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Denied;

impl Policy {
    /// Authorizes every access that a request needs. A request that needs none (listing the
    /// buckets) is allowed: its answer is filtered by [`Policy::may_see`].
    pub fn authorize(&self, principal: &Principal, accesses: &[Access<'_>]) -> Result<(), Denied> {
        let Some(rules) = self.rules_of(principal) else {
            return Err(Denied);
        };
        let all_allowed = accesses.iter().all(|access| rules.allow_all_forms(access));
        if all_allowed { Ok(()) } else { Err(Denied) }
    }

    /// Whether the bucket appears in this principal's list of buckets.
    pub fn may_see(&self, principal: &Principal, bucket: &Bucket) -> bool {
        let access = Access {
            right: Right::Visible,
            bucket,
            target: Target::Bucket,
        };
        self.authorize(principal, &[access]).is_ok()
    }

    fn rules_of(&self, principal: &Principal) -> Option<&Rules> {
        match principal {
            Principal::Client(name) => self.clients.get(name),
            Principal::WebIdentity(_) => Some(&self.web_identity),
            Principal::Anonymous => Some(&self.anonymous),
        }
    }
}

impl Rules {
    /// The buckets that could be tried.
    pub fn named_buckets(&self) -> impl Iterator<Item = NamedBucket<'_>> {
        self.allow.iter().flat_map(move |rule| {
            let prefix = rule.first_prefix();
            rule.bucket_names().map(move |bucket| NamedBucket {
                bucket,
                prefix,
                actions: self.allowed_actions(bucket, prefix),
            })
        })
    }

    fn allowed_actions(&self, bucket: &str, prefix: &str) -> Vec<Action> {
        let actions = [Action::List, Action::Read, Action::Write, Action::Delete];
        let target = Target::Prefix(prefix);
        let allowed = |action: &Action| self.allow(Right::Plain(*action), bucket, target);
        actions.into_iter().filter(allowed).collect()
    }

    fn allow_all_forms(&self, access: &Access<'_>) -> bool {
        let bucket = access.bucket.as_str();
        let (Target::Key(name) | Target::Prefix(name)) = access.target else {
            return self.allow(access.right, bucket, access.target);
        };
        self.allow(access.right, bucket, access.target)
            && aliases(bucket, name).is_some_and(|forms| {
                forms.iter().all(|(bucket, name)| {
                    let target = match access.target {
                        Target::Prefix(_) => Target::Prefix(name),
                        _ if name.is_empty() => Target::Bucket,
                        _ => Target::Key(name),
                    };
                    self.allow(access.right, bucket, target)
                })
            })
    }

    fn allow(&self, right: Right, bucket: &str, target: Target<'_>) -> bool {
        self.allow
            .iter()
            .any(|rule| rule.allows(right, bucket, target))
            && !self
                .deny
                .iter()
                .any(|rule| rule.denies(right, bucket, target))
    }
}
