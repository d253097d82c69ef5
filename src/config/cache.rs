//! The read cache: `cache`.

use std::path::PathBuf;
use std::time::Duration;

use super::conflict::Conflict;
use super::error::Findings;
use super::error::Place;
use super::error::Problem;
use super::section::Section;
use super::values;
use crate::cache::BlockSize;
use crate::cache::CacheMode;
use crate::cache::CacheRules;
use crate::cache::Freshness;
use crate::cache::RuleSpec;
use crate::cache::StoreConfig;

/// A tier of fewer segments throws out what it just took in.
const FEW_SEGMENTS: u64 = 16;

/// The read cache, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CacheConfig {
    /// What it is for.
    pub mode: CacheMode,
    /// Sizes of the two tiers.
    pub store: StoreConfig,
    /// Bytes of memory for what is known of objects.
    pub metas: u64,
    /// Bytes on their way from origins.
    pub fill_memory: u64,
    /// Fetches at once.
    pub fill_connections: usize,
    /// How long an origin's permission holds for a client that signs as itself.
    pub own_verdict: Duration,
    /// How long answers hold.
    pub rules: CacheRules,
}

/// Reads `cache`.
pub(super) fn read(root: &Section<'_>, findings: &mut Findings) -> CacheConfig {
    let cache = root.section("cache");
    if cache.has("disk") && !cache.has("dir") {
        findings.error(cache.place("disk"), Problem::Needs { other: "cache.dir" });
    }
    let config = CacheConfig {
        mode: match cache.text("mode").as_str() {
            "off" => CacheMode::Off,
            "verify" => CacheMode::Verify,
            _ => CacheMode::On,
        },
        store: StoreConfig {
            memory: cache.size("memory"),
            disk: cache.maybe_size("disk"),
            dir: cache.maybe_text("dir").map(PathBuf::from),
            block_size: block_size(&cache, findings),
            min_free: u8::try_from(cache.whole("min_free")).unwrap_or_default(),
        },
        metas: cache.size("metas"),
        fill_memory: cache.size("fill_memory"),
        fill_connections: cache.count("fill_connections"),
        own_verdict: cache.duration("own_verdict"),
        rules: rules(&cache, findings),
    };
    warn_of_small_tiers(&cache, &config.store, findings);
    config
}

fn block_size(cache: &Section<'_>, findings: &mut Findings) -> BlockSize {
    let bytes = cache.size("block_size");
    // What is out of bounds has been noted.
    if (16 << 10..=1 << 20).contains(&bytes) && !bytes.is_power_of_two() {
        findings.error(cache.place("block_size"), Conflict::BlockSize);
    }
    BlockSize::new(bytes).unwrap_or(BlockSize::DEFAULT)
}

fn warn_of_small_tiers(cache: &Section<'_>, store: &StoreConfig, findings: &mut Findings) {
    let least = FEW_SEGMENTS * store.block_size.segment_bytes();
    if store.memory == 0 && store.dir.is_none() {
        let text = "keeps no blocks: `memory` is 0 and there is no `dir`; `mode: off` says so";
        findings.warn(&cache.place("memory"), text);
    }
    let sizes = [
        ("memory", (store.memory > 0).then_some(store.memory)),
        ("disk", store.disk),
    ];
    for (key, size) in sizes {
        if let Some(size) = size.filter(|size| *size < least) {
            let text = format_args!(
                "{} are less than {FEW_SEGMENTS} segments of 64 blocks, {}: little of what is read will stay",
                values::show_size(size),
                values::show_size(least),
            );
            findings.warn(&cache.place(key), text);
        }
    }
}

fn rules(cache: &Section<'_>, findings: &mut Findings) -> CacheRules {
    let mut covered: Option<Place> = None;
    let mut specs = Vec::new();
    for section in cache.sections("rules") {
        let spec = rule(&section);
        if section.is_empty_list("buckets") {
            findings.error(section.place("buckets"), Conflict::MatchesNothing);
        }
        if let Some(first) = &covered {
            let text = format_args!(
                "has no effect: {} before it is about every object",
                first.key
            );
            findings.warn(section.here(), text);
        } else if is_everything(&spec) {
            covered = Some(section.here().clone());
        }
        specs.push(spec);
    }
    // A glob that is none has been noted.
    CacheRules::new(specs).unwrap_or_default()
}

fn is_everything(spec: &RuleSpec) -> bool {
    let any = |globs: &[String]| globs.iter().any(|glob| glob == "*");
    any(&spec.buckets) && (spec.keys.is_empty() || any(&spec.keys))
}

fn rule(section: &Section<'_>) -> RuleSpec {
    let freshness = match section.maybe_text("freshness").as_deref() {
        Some("immutable") => Freshness::Immutable,
        Some("validate") => Freshness::Validate,
        Some("bypass") => Freshness::Bypass,
        _ => Freshness::For(section.duration("freshness")),
    };
    RuleSpec {
        buckets: section.texts("buckets"),
        keys: section.texts("keys"),
        freshness: Some(freshness),
        stale_if_error: section.duration("stale_if_error"),
        negative: section.duration("negative"),
        tail_on_head: section
            .has("tail_on_head")
            .then(|| section.flag("tail_on_head")),
        list_metas: section.flag("list_metas"),
        tail_on_list: section.flag("tail_on_list"),
    }
}
