//! The buckets that the configuration names, and what its rules let clients do there.
//!
//! Patterns name no bucket that could be tried.

use crate::auth::ClientConfig;
use crate::config::Config;
use crate::policy::Action;
use crate::policy::Rules;
use crate::s3::Bucket;
use crate::s3::Credentials;
use crate::s3::Principal;
use crate::upstream::OriginIdentity;

use super::Report;

/// What is to be tried in one bucket.
pub(super) struct Named {
    pub(super) bucket: Bucket,
    /// Keys begin so, as far as the rule says.
    pub(super) prefix: String,
    pub(super) actions: Vec<Action>,
    /// Position of the origin that serves it.
    pub(super) origin: Option<usize>,
    /// Whose name it is tried in, when not the origin's.
    pub(super) own: Option<(String, Credentials)>,
}

/// All of them, each once; `further` are tried with every right.
pub(super) fn in_configuration(
    config: &Config,
    further: &[String],
    report: &mut Report,
) -> Vec<Named> {
    let mut found = Vec::new();
    for (principal, rules) in &config.rules {
        let own = own_credentials(config, principal);
        add_rules(config, rules, own.as_ref(), &mut found);
    }
    if let Some(web_identity) = &config.web_identity
        && web_identity.origin_identity == OriginIdentity::Origin
    {
        add_rules(config, &web_identity.rules, None, &mut found);
    }
    let of_origins = config
        .origins
        .iter()
        .flat_map(|origin| origin.buckets.names());
    for name in of_origins {
        add(
            config,
            name,
            "",
            &[Action::List, Action::Read],
            None,
            &mut found,
        );
    }
    let everything = [Action::List, Action::Read, Action::Write, Action::Delete];
    for name in further {
        if !add(config, name, "", &everything, None, &mut found) {
            report.problem(
                "bucket",
                format!("`{name}` cannot be the name of a bucket"),
                "correct --bucket",
            );
        }
    }
    found.sort_by(|a, b| (a.bucket.as_str(), &a.prefix).cmp(&(b.bucket.as_str(), &b.prefix)));
    found
}

fn add_rules(
    config: &Config,
    rules: &Rules,
    own: Option<&(String, Credentials)>,
    found: &mut Vec<Named>,
) {
    for named in rules.named_buckets() {
        add(
            config,
            named.bucket,
            named.prefix,
            &named.actions,
            own,
            found,
        );
    }
}

/// Adds to what is to be tried; false when there can be no such bucket.
fn add(
    config: &Config,
    name: &str,
    prefix: &str,
    actions: &[Action],
    own: Option<&(String, Credentials)>,
    found: &mut Vec<Named>,
) -> bool {
    let Ok(bucket) = Bucket::new(name) else {
        return false;
    };
    let owner = own.map(|(name, _)| name);
    let same = found.iter_mut().find(|named| {
        named.bucket.as_str() == name
            && named.prefix == prefix
            && named.own.as_ref().map(|(name, _)| name) == owner
    });
    if let Some(named) = same {
        for action in actions {
            if !named.actions.contains(action) {
                named.actions.push(*action);
            }
        }
        return true;
    }
    let mut origins = config.origins.iter();
    found.push(Named {
        origin: origins.position(|origin| origin.buckets.is_match(name)),
        bucket,
        prefix: prefix.to_owned(),
        actions: actions.to_vec(),
        own: own.cloned(),
    });
    true
}

/// The key pair of a client whose requests reach the origin in its own name.
fn own_credentials(config: &Config, principal: &Principal) -> Option<(String, Credentials)> {
    let Principal::Client(name) = principal else {
        return None;
    };
    if config.origin_identity.get(principal) != Some(&OriginIdentity::Own) {
        return None;
    }
    let is_it = |client: &&ClientConfig| client.name == *name;
    let client = config.auth.clients.iter().find(is_it)?;
    Some((name.to_string(), client.credentials.clone()))
}
