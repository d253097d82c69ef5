//! Explaining: what the configuration and the cache say of one object.

use std::time::SystemTime;

use async_trait::async_trait;

use crate::admin::Explain;
use crate::admin::Explained;
use crate::admin::ExplainedBlocks;
use crate::admin::ExplainedReader;
use crate::admin::ExplainedRule;
use crate::admin::ExplainedRuns;
use crate::admin::ExplainedVersion;
use crate::cache::CacheMode;
use crate::cache::CacheRule;
use crate::cache::Judgement;
use crate::cache::ObjectName;
use crate::cache::RuleSpec;
use crate::policy;
use crate::proxy::InForce;
use crate::proxy::Settings;
use crate::read::Explanation;
use crate::read::Held;
use crate::read::Reader;
use crate::read::Runs;
use crate::read::Sighting;
use crate::s3::Access;
use crate::s3::Action;
use crate::s3::Bucket;
use crate::s3::Key;
use crate::s3::Principal;
use crate::s3::Right;
use crate::s3::Target;
use crate::upstream::OriginIdentity;

/// What explanations are made from.
pub(super) struct Explanations {
    pub(super) mode: CacheMode,
    pub(super) reader: Option<Reader>,
    pub(super) settings: InForce,
}

#[async_trait]
impl Explain for Explanations {
    async fn explain(&self, bucket: &Bucket, key: &Key) -> Option<Explained> {
        let settings = self.settings.now();
        let served = settings.serving(bucket)?;
        let origin = served.origin.config.name.clone();
        let mut explained = Explained {
            bucket: bucket.as_str().to_owned(),
            key: key.as_str().to_owned(),
            origin: origin.to_string(),
            cacheable: false,
            why_not: Some("off"),
            state: "unknown",
            meaning: "nothing is known of it; the next read asks the origin",
            rule: None,
            version: None,
            learned: None,
            fresh_until: None,
            fresh_seconds: None,
            blocks: None,
            readers: readers(&settings, bucket, key),
        };
        if let Some(reader) = &self.reader {
            let object = ObjectName {
                origin,
                bucket: bucket.clone(),
                key: key.clone(),
            };
            let now = SystemTime::now();
            let found = reader.explain(&object, &settings.cache_rules, now).await;
            explained.why_not = self.why_not(bucket, key).or(found.uncacheable);
            explained.cacheable = explained.why_not.is_none();
            explained.tell(&found, now);
        }
        Some(explained)
    }
}

impl Explanations {
    fn why_not(&self, bucket: &Bucket, key: &Key) -> Option<&'static str> {
        if policy::has_aliases(bucket.as_str(), key.as_str()) {
            return Some("ambiguous-key");
        }
        (self.mode == CacheMode::Verify).then_some("verify")
    }
}

/// Clients in the order of their names, then the others.
fn readers(settings: &Settings, bucket: &Bucket, key: &Key) -> Vec<ExplainedReader> {
    let mut names: Vec<_> = settings.policy.clients.keys().collect();
    names.sort_unstable();
    let identities = &settings.identities;
    let clients = names.into_iter().map(|name| {
        let identity = identities.clients.get(name).copied();
        let principal = Principal::Client(name.clone());
        (name.to_string(), principal, identity)
    });
    let others = [
        (
            "web-identity:*".to_owned(),
            Principal::WebIdentity("*".into()),
            identities.web_identity,
        ),
        ("anonymous".to_owned(), Principal::Anonymous, None),
    ];
    let access = Access {
        right: Right::Plain(Action::Read),
        bucket,
        target: Target::Key(key.as_str()),
    };
    let mut readers = Vec::new();
    for (client, principal, identity) in clients.chain(others) {
        let accesses = std::slice::from_ref(&access);
        if settings.policy.authorize(&principal, accesses).is_ok() {
            let asks_origin = identity == Some(OriginIdentity::Own);
            readers.push(ExplainedReader {
                client,
                asks_origin,
            });
        }
    }
    readers
}

trait Tell {
    fn tell(&mut self, found: &Explanation, now: SystemTime);
}

impl Tell for Explained {
    fn tell(&mut self, found: &Explanation, now: SystemTime) {
        (self.state, self.meaning) = state(found);
        self.rule = Some(rule(&found.rule, found.spec.as_ref()));
        self.version = found.version.as_ref().map(|version| ExplainedVersion {
            etag: String::from_utf8_lossy(version.etag.as_bytes()).into_owned(),
            size: version.size,
            last_modified: found.last_modified.and_then(time),
        });
        self.learned = found.learned.and_then(time);
        self.blocks = found.held.as_ref().map(blocks);
        let is_answered = matches!(found.sighting, Sighting::Meta | Sighting::Absent);
        if let (true, Some(Judgement::Fresh { left })) = (is_answered, found.judgement) {
            // What is immutable is fresh for longer than there is a time for.
            self.fresh_until = now.checked_add(left).and_then(time);
            self.fresh_seconds = self.fresh_until.as_ref().map(|_| left.as_secs());
        }
    }
}

fn state(found: &Explanation) -> (&'static str, &'static str) {
    let is_fresh = found.judgement.is_some_and(Judgement::is_fresh);
    match found.sighting {
        Sighting::Meta if is_fresh => ("fresh", "it is read without asking the origin"),
        Sighting::Meta => (
            "stale",
            "the next read asks the origin whether it is still the same",
        ),
        Sighting::Outdated => (
            "outdated",
            "it was written or purged since; the next read asks the origin",
        ),
        Sighting::Recalled => (
            "recalled",
            "known from before the start; unless it is immutable, the next read asks the origin",
        ),
        Sighting::Listed => (
            "listed",
            "only a list spoke of it; the next read asks the origin",
        ),
        Sighting::Absent if is_fresh => ("absent", "it is taken for missing without asking"),
        Sighting::Absent => ("absent", "it was missing; the next read asks the origin"),
        Sighting::Nothing => (
            "unknown",
            "nothing is known of it; the next read asks the origin",
        ),
    }
}

fn rule(rule: &CacheRule, spec: Option<&(usize, RuleSpec)>) -> ExplainedRule {
    ExplainedRule {
        index: spec.map(|(index, _)| *index),
        text: spec.map_or_else(
            || RuleSpec::default().to_string(),
            |(_, spec)| spec.to_string(),
        ),
        freshness: rule.freshness.to_string(),
    }
}

fn blocks(held: &Held) -> ExplainedBlocks {
    let runs = |runs: &Runs| ExplainedRuns {
        blocks: runs.blocks,
        bytes: runs.bytes,
        runs: runs
            .runs
            .iter()
            .map(|run| [run.start, run.end - 1])
            .collect(),
    };
    ExplainedBlocks {
        block_size: held.block_size.bytes(),
        count: held.blocks,
        memory: runs(&held.memory),
        disk: runs(&held.disk),
        cut: held.is_cut,
    }
}

/// RFC 3339; `None` beyond the years that it can write.
fn time(time: SystemTime) -> Option<String> {
    const YEAR_9999: u64 = 253_402_300_799;
    let since = time.duration_since(SystemTime::UNIX_EPOCH).ok()?;
    let seconds = humantime::format_rfc3339_seconds(time);
    (since.as_secs() <= YEAR_9999).then(|| seconds.to_string())
}
