//! What the configuration says about how long answers hold, per bucket and key.

use std::time::Duration;

use globset::Glob;
use globset::GlobBuilder;
use globset::GlobMatcher;

/// What is not just itself in a glob.
const WILDCARDS: [char; 7] = ['*', '?', '[', ']', '{', '}', '\\'];

/// How long what was learned about an object holds when no rule says it.
pub const DEFAULT_FRESHNESS: Duration = Duration::from_mins(1);

/// Objects of table formats that name the current version of a table and are overwritten in place.
/// Everything else of these formats is written once.
///
/// Delta Lake: `_delta_log/_last_checkpoint`
/// (<https://github.com/delta-io/delta/blob/master/PROTOCOL.md#last-checkpoint-file>) and its symlink
/// manifests; Iceberg's Hadoop catalog: `metadata/version-hint.text`
/// (<https://iceberg.apache.org/spec/#file-system-tables>); Hudi: `.hoodie/hoodie.properties`, and
/// from 1.0 on the `_version_` of its archived timeline (<https://hudi.apache.org/tech-specs-1point0/>);
/// Lance: `_latest.manifest` of old tables and the version hint of new ones; Paimon: the hints `LATEST`
/// and `EARLIEST` (<https://alibaba.github.io/paimon-cpp/user_guide/snapshot.html>).
pub const POINTERS: &[&str] = &[
    "*_last_checkpoint",
    "*version-hint.text",
    "*.hoodie/hoodie.properties",
    "*.hoodie/*_version_",
    "*_latest.manifest",
    "*_versions/latest_version_hint.json",
    "*_symlink_format_manifest/*manifest",
    "*snapshot/LATEST",
    "*snapshot/EARLIEST",
    "*changelog/LATEST",
    "*changelog/EARLIEST",
];

/// How a glob ends that means a pointer and not whatever lies there.
const POINTER_NAMES: &[&str] = &[
    "_last_checkpoint",
    "version-hint.text",
    "hoodie.properties",
    "_version_",
    "_latest.manifest",
    "latest_version_hint.json",
    "/manifest",
    "LATEST",
    "EARLIEST",
];

/// Files whose readers begin at the end.
pub const DATA_FILES: &[&str] = &["*.parquet", "*.orc", "*.arrow", "*.feather", "*.lance"];

/// How the answers about some objects are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CacheRule {
    /// How long a meta is used without asking.
    pub freshness: Freshness,
    /// How much longer it is used while the origin fails.
    pub stale_if_error: Duration,
    /// How long a 404 is used without asking.
    pub negative: Duration,
    /// Whether a HEAD of an unknown object is sent as a GET of its last bytes, which come next.
    pub tail_on_head: bool,
    /// Whether a HEAD may be answered from a page of ListObjects, which has no metadata.
    pub list_metas: bool,
    /// Whether the last bytes of files that a page of ListObjects names are fetched, where a HEAD
    /// would bring them.
    pub tail_on_list: bool,
}

/// How long a meta is used without asking.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Freshness {
    /// This long after it was asked for.
    For(Duration),
    /// For ever: nobody overwrites these objects but through this proxy.
    Immutable,
    /// Never: each read asks whether it still holds, and uses the blocks when it does.
    Validate,
    /// These objects are neither looked up nor kept.
    Bypass,
}

/// Which objects a rule is about and what it says of them; what it leaves open is filled in.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RuleSpec {
    /// Globs of bucket names; none is every bucket.
    pub buckets: Vec<String>,
    /// Globs of keys, in which `*` matches `/` too; none is every key.
    pub keys: Vec<String>,
    /// See [`CacheRule`]; absent is the default.
    pub freshness: Option<Freshness>,
    /// See [`CacheRule`].
    pub stale_if_error: Duration,
    /// See [`CacheRule`].
    pub negative: Duration,
    /// See [`CacheRule`]; absent is yes for files that are read from the end.
    pub tail_on_head: Option<bool>,
    /// See [`CacheRule`].
    pub list_metas: bool,
    /// See [`CacheRule`].
    pub tail_on_list: bool,
}

/// The rules in their order, the default behind them. The first that matches counts.
#[derive(Debug, Clone)]
pub struct CacheRules {
    specs: Vec<RuleSpec>,
    rules: Vec<Rule>,
    default: CacheRule,
}

#[derive(Debug, Clone)]
struct Rule {
    buckets: Patterns,
    keys: Patterns,
    /// The key has to match these too.
    kind: Patterns,
    says: CacheRule,
    /// Which of the given ones it comes from; the default is behind the last.
    spec: usize,
}

impl CacheRules {
    /// Compiles rules; the error names the glob that is none.
    ///
    /// A rule about `warehouse/*` hardly means the pointers below it, and a table whose pointer is
    /// taken for immutable stands still. So they are validated, unless a glob ends with their name.
    pub fn new(specs: Vec<RuleSpec>) -> Result<Self, globset::Error> {
        let pointers = Patterns::of_static(POINTERS)?;
        let data_files = Patterns::of_static(DATA_FILES)?;
        let default = RuleSpec::default();
        let mut rules = Vec::new();
        for (index, spec) in specs.iter().chain([&default]).enumerate() {
            let mut add = |keys: &Patterns, kind: &Patterns, says| {
                rules.push(Rule {
                    buckets: Patterns::new(&spec.buckets)?,
                    keys: keys.clone(),
                    kind: kind.clone(),
                    says,
                    spec: index,
                });
                Ok(())
            };
            let rule = spec.rule();
            let data_file = CacheRule {
                tail_on_head: true,
                ..rule.clone()
            };
            let (named, other): (Vec<_>, Vec<_>) = spec
                .keys
                .iter()
                .cloned()
                .partition(|glob| names_a_pointer(glob));
            if !named.is_empty() {
                add(&Patterns::new(&named)?, &Patterns::Any, rule.clone())?;
            }
            if other.is_empty() && !named.is_empty() {
                continue;
            }
            let keys = Patterns::new(&other)?;
            if rule.freshness != Freshness::Bypass {
                let pointer = CacheRule {
                    freshness: Freshness::Validate,
                    negative: Duration::ZERO,
                    list_metas: false,
                    ..rule.clone()
                };
                add(&keys, &pointers, pointer)?;
            }
            if spec.tail_on_head.is_none() {
                add(&keys, &data_files, data_file)?;
            }
            add(&keys, &Patterns::Any, rule)?;
        }
        Ok(Self {
            default: default.rule(),
            specs,
            rules,
        })
    }

    /// The rules as they were given.
    pub fn specs(&self) -> &[RuleSpec] {
        &self.specs
    }

    /// What holds for an object.
    pub fn rule_for(&self, bucket: &str, key: &str) -> &CacheRule {
        let matching = self.matching(bucket, key);
        matching.map_or(&self.default, |rule| &rule.says)
    }

    /// Which of the given rules is about an object, and its place among them; `None` when none is and
    /// the defaults hold.
    pub fn spec_for(&self, bucket: &str, key: &str) -> Option<(usize, &RuleSpec)> {
        let index = self.matching(bucket, key)?.spec;
        Some((index, self.specs.get(index)?))
    }

    fn matching(&self, bucket: &str, key: &str) -> Option<&Rule> {
        self.rules.iter().find(|rule| {
            rule.buckets.matches(bucket) && rule.kind.matches(key) && rule.keys.matches(key)
        })
    }
}

impl PartialEq for CacheRules {
    fn eq(&self, other: &Self) -> bool {
        self.specs == other.specs
    }
}

impl Eq for CacheRules {}

impl Default for CacheRules {
    fn default() -> Self {
        Self::new(Vec::new()).expect("a test compiles the patterns of this file")
    }
}

impl RuleSpec {
    fn rule(&self) -> CacheRule {
        CacheRule {
            freshness: self.freshness.unwrap_or(Freshness::For(DEFAULT_FRESHNESS)),
            stale_if_error: self.stale_if_error,
            negative: self.negative,
            tail_on_head: self.tail_on_head.unwrap_or(false),
            list_metas: self.list_metas,
            tail_on_list: self.tail_on_list,
        }
    }
}

fn names_a_pointer(glob: &str) -> bool {
    let (_, tail) = glob.rsplit_once(WILDCARDS).unwrap_or(("", glob));
    POINTER_NAMES.iter().any(|name| tail.ends_with(name))
}

/// Globs, most of which need no automaton: every request passes here.
#[derive(Debug, Clone)]
enum Patterns {
    Any,
    Some {
        plain: Vec<Plain>,
        other: Vec<GlobMatcher>,
    },
}

/// A glob whose only wildcard is `*`.
#[derive(Debug, Clone)]
struct Plain {
    beginning: String,
    /// In this order, anywhere between.
    middle: Vec<String>,
    /// `None` without any `*`: the beginning is everything.
    end: Option<String>,
}

impl Patterns {
    fn of_static(globs: &[&str]) -> Result<Self, globset::Error> {
        let globs: Vec<_> = globs.iter().map(|glob| (*glob).to_owned()).collect();
        Self::new(&globs)
    }

    fn new(globs: &[String]) -> Result<Self, globset::Error> {
        let mut plain = Vec::new();
        let mut other = Vec::new();
        for glob in globs {
            let compiled = compile(glob)?;
            if let Some(simple) = Plain::of(glob) {
                plain.push(simple);
            } else {
                // One by one: a `GlobSet` takes keys for paths, and `a/..` has no extension.
                other.push(compiled.compile_matcher());
            }
        }
        if globs.is_empty() || globs.iter().any(|glob| glob == "*") {
            return Ok(Self::Any);
        }
        Ok(Self::Some { plain, other })
    }

    fn matches(&self, text: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Some { plain, other } => {
                plain.iter().any(|plain| plain.matches(text))
                    || other.iter().any(|glob| glob.is_match(text))
            }
        }
    }
}

impl Plain {
    fn of(glob: &str) -> Option<Self> {
        // Two stars in a row are about path components.
        if glob.contains("**") || glob.contains(&WILDCARDS[1..]) {
            return None;
        }
        let mut parts = glob.split('*').map(str::to_owned);
        let beginning = parts.next()?;
        let end = parts.next_back();
        Some(Self {
            beginning,
            middle: parts.filter(|part| !part.is_empty()).collect(),
            end,
        })
    }

    fn matches(&self, text: &str) -> bool {
        let Some(rest) = text.strip_prefix(self.beginning.as_str()) else {
            return false;
        };
        let Some(end) = &self.end else {
            return rest.is_empty();
        };
        let Some(mut rest) = rest.strip_suffix(end.as_str()) else {
            return false;
        };
        self.middle.iter().all(|part| {
            let found = rest.split_once(part.as_str());
            rest = found.map_or(rest, |(_, behind)| behind);
            found.is_some()
        })
    }
}

/// Globs as rules of clients have them: names are no paths, `*` matches everything.
fn compile(glob: &str) -> Result<Glob, globset::Error> {
    GlobBuilder::new(glob)
        .literal_separator(false)
        .backslash_escape(true)
        .build()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MINUTE: Freshness = Freshness::For(DEFAULT_FRESHNESS);

    fn rules(specs: &[(&[&str], &[&str], Freshness)]) -> CacheRules {
        let owned = |globs: &[&str]| globs.iter().map(|glob| (*glob).to_owned()).collect();
        let specs = specs.iter().map(|(buckets, keys, freshness)| RuleSpec {
            buckets: owned(buckets),
            keys: owned(keys),
            freshness: Some(*freshness),
            ..RuleSpec::default()
        });
        CacheRules::new(specs.collect()).unwrap()
    }

    #[test]
    fn pointers_are_validated_and_everything_else_is_fresh_for_a_minute() {
        let rules = CacheRules::default();
        for pointer in [
            "t/_delta_log/_last_checkpoint",
            "_delta_log/_last_checkpoint",
            "db/t/metadata/version-hint.text",
            "t/.hoodie/hoodie.properties",
            "t/.hoodie/timeline/history/_version_",
            "t.lance/_latest.manifest",
            "t.lance/_versions/latest_version_hint.json",
            "t/_symlink_format_manifest/manifest",
            "t/_symlink_format_manifest/day=1/manifest",
            "db/t/snapshot/LATEST",
            "db/t/snapshot/EARLIEST",
        ] {
            let rule = rules.rule_for("b", pointer);
            assert_eq!(rule.freshness, Freshness::Validate, "{pointer}");
        }
        for other in [
            "a.parquet",
            "t/_delta_log/00000000000000000001.json",
            "t/_delta_log/00000000000000000010.checkpoint.parquet",
            "t/metadata/v3.metadata.json",
            "t.lance/_versions/3.manifest",
            "db/t/snapshot/snapshot-7",
            "LATEST",
            "manifest",
        ] {
            assert_eq!(rules.rule_for("b", other).freshness, MINUTE, "{other}");
        }
    }

    #[test]
    fn data_files_are_read_from_the_end() {
        let rules = CacheRules::default();
        for key in ["a.parquet", "t/a.orc", "a.arrow", "a.feather", "t.lance"] {
            assert!(rules.rule_for("b", key).tail_on_head, "{key}");
        }
        for key in ["a.json", "parquet", "a.parquet.crc", "a.PARQUET"] {
            assert!(!rules.rule_for("b", key).tail_on_head, "{key}");
        }
        let said = |tail_on_head| {
            let spec = RuleSpec {
                tail_on_head,
                ..RuleSpec::default()
            };
            let rules = CacheRules::new(vec![spec]).unwrap();
            ["a.parquet", "a.json"].map(|key| rules.rule_for("b", key).tail_on_head)
        };
        assert_eq!(said(None), [true, false]);
        assert_eq!(said(Some(true)), [true, true]);
        assert_eq!(said(Some(false)), [false, false]);
    }

    #[test]
    fn the_first_rule_that_matches_counts() {
        let rules = rules(&[
            (&["lake"], &["raw/*"], Freshness::Immutable),
            (&["tmp-*", "scratch"], &[], Freshness::Bypass),
            (&["lake"], &["*/part-[0-9].csv"], Freshness::Validate),
            (&["lake"], &["raw/b", "other"], Freshness::Bypass),
        ]);
        for (bucket, key, freshness) in [
            ("lake", "raw/a", Freshness::Immutable),
            ("lake", "raw/b", Freshness::Immutable),
            ("lake", "raw/x/part-1.csv", Freshness::Immutable),
            ("lake", "x/y/part-1.csv", Freshness::Validate),
            ("lake", "x/part-10.csv", MINUTE),
            ("lake", "other", Freshness::Bypass),
            ("lake2", "raw/a", MINUTE),
            ("tmp-1", "a", Freshness::Bypass),
            ("scratch", "a", Freshness::Bypass),
        ] {
            assert_eq!(
                rules.rule_for(bucket, key).freshness,
                freshness,
                "{bucket}/{key}"
            );
        }
    }

    #[test]
    fn a_rule_about_pointers_has_to_name_them() {
        const POINTER: &str = "warehouse/t/_delta_log/_last_checkpoint";
        let said = |keys: &[&str], freshness| {
            let rules = rules(&[(&[], keys, freshness)]);
            rules.rule_for("b", POINTER).freshness
        };
        let ten = Freshness::For(Duration::from_secs(10));
        for keys in [
            &[][..],
            &["*"],
            &["warehouse/*"],
            &["*_last_*"],
            &["*checkpoint"],
        ] {
            assert_eq!(
                said(keys, Freshness::Immutable),
                Freshness::Validate,
                "{keys:?}"
            );
        }
        for keys in [
            &["*_last_checkpoint"][..],
            &["warehouse/*/_last_checkpoint"],
            &[POINTER],
            &["warehouse/*", "*/_last_checkpoint"],
        ] {
            assert_eq!(said(keys, ten), ten, "{keys:?}");
        }
        assert_eq!(said(&["warehouse/*"], Freshness::Bypass), Freshness::Bypass);
        // A rule that names pointers is about nothing else.
        let named = rules(&[(&[], &["*_last_checkpoint"], ten)]);
        assert_eq!(named.rule_for("b", "a").freshness, MINUTE);
    }

    #[test]
    fn what_a_rule_says_of_404s_does_not_hold_for_pointers() {
        let spec = RuleSpec {
            negative: Duration::from_secs(5),
            stale_if_error: Duration::from_secs(7),
            list_metas: true,
            ..RuleSpec::default()
        };
        let rules = CacheRules::new(vec![spec]).unwrap();
        let pointer = rules.rule_for("b", "t/metadata/version-hint.text");
        assert_eq!(pointer.negative, Duration::ZERO);
        assert_eq!(pointer.stale_if_error, Duration::from_secs(7));
        assert!(!pointer.list_metas);
        assert_eq!(rules.rule_for("b", "a").negative, Duration::from_secs(5));
    }

    #[test]
    fn a_glob_that_is_none_is_refused() {
        for glob in ["a[", "{a", "a\\"] {
            let keys = RuleSpec {
                keys: vec![glob.to_owned()],
                ..RuleSpec::default()
            };
            let buckets = RuleSpec {
                buckets: vec![glob.to_owned()],
                ..RuleSpec::default()
            };
            for spec in [keys, buckets] {
                assert!(CacheRules::new(vec![spec]).is_err(), "{glob}");
            }
        }
    }

    proptest! {
        /// The short ways match what the automaton matches.
        #[test]
        fn plain_patterns_are_globs(glob in "[ab/.*]{1,8}", text in "[ab/.]{0,6}") {
            let patterns = Patterns::new(std::slice::from_ref(&glob)).unwrap();
            let expected = compile(&glob).unwrap().compile_matcher().is_match(&text);
            prop_assert_eq!(patterns.matches(&text), expected);
        }

        #[test]
        fn any_glob_is_compiled_or_refused(glob in "[ -~]{0,12}", key in "[ -~]{0,12}") {
            let spec = RuleSpec { keys: vec![glob], ..RuleSpec::default() };
            if let Ok(rules) = CacheRules::new(vec![spec]) {
                let _ = rules.rule_for("b", &key);
            }
        }
    }
}
