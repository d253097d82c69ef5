//! What the configuration says about how long answers hold, per bucket and key.

use std::time::Duration;

use globset::Glob;
use globset::GlobBuilder;
use globset::GlobSet;
use globset::GlobSetBuilder;

/// What is not just itself in a glob.
const WILDCARDS: [char; 7] = ['*', '?', '[', ']', '{', '}', '\\'];

/// How long what was learned about an object holds when no rule says it.
pub const DEFAULT_FRESHNESS: Duration = Duration::from_secs(60);

/// Objects of table formats that name the current version of a table and are overwritten in place.
/// Everything else of these formats is written once.
///
/// Delta Lake: `_delta_log/_last_checkpoint`
/// (<https://github.com/delta-io/delta/blob/master/PROTOCOL.md#last-checkpoint-file>) and its symlink
/// manifests; Iceberg's Hadoop catalog: `metadata/version-hint.text`
/// (<https://iceberg.apache.org/spec/#file-system-tables>); Hudi: `.hoodie/hoodie.properties`, and
/// from 1.0 on the `_version_` of its archived timeline (<https://hudi.apache.org/tech-specs-1point0/>);
/// Lance: `_latest.manifest` of old tables and the hint of new ones (<https://lance.org/format/table/>);
/// Paimon: the hints `LATEST` and `EARLIEST` (<https://paimon.apache.org/docs/master/concepts/basic-concepts/>).
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
    rule: CacheRule,
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
        for spec in specs.iter().chain([&default]) {
            let mut add = |keys: &Patterns, kind: &Patterns, rule| {
                rules.push(Rule {
                    buckets: Patterns::new(&spec.buckets)?,
                    keys: keys.clone(),
                    kind: kind.clone(),
                    rule,
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
        let matching = self.rules.iter().find(|rule| {
            rule.buckets.matches(bucket) && rule.kind.matches(key) && rule.keys.matches(key)
        });
        matching.map_or(&self.default, |rule| &rule.rule)
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
        other: Option<GlobSet>,
    },
}

#[derive(Debug, Clone)]
enum Plain {
    Name(String),
    Beginning(String),
    End(String),
}

impl Patterns {
    fn of_static(globs: &[&str]) -> Result<Self, globset::Error> {
        let globs: Vec<_> = globs.iter().map(|glob| (*glob).to_owned()).collect();
        Self::new(&globs)
    }

    fn new(globs: &[String]) -> Result<Self, globset::Error> {
        let mut plain = Vec::new();
        let mut other = GlobSetBuilder::new();
        let mut others = 0;
        for glob in globs {
            let compiled = compile(glob)?;
            match Plain::of(glob) {
                Some(simple) => plain.push(simple),
                None => {
                    others += 1;
                    other.add(compiled);
                }
            }
        }
        if globs.is_empty() || globs.iter().any(|glob| glob == "*") {
            return Ok(Self::Any);
        }
        let other = (others > 0).then(|| other.build()).transpose()?;
        Ok(Self::Some { plain, other })
    }

    fn matches(&self, text: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Some { plain, other } => {
                plain.iter().any(|plain| plain.matches(text))
                    || other.as_ref().is_some_and(|globs| globs.is_match(text))
            }
        }
    }
}

impl Plain {
    fn of(glob: &str) -> Option<Self> {
        let is_plain = |text: &str| !text.contains(WILDCARDS);
        if is_plain(glob) {
            return Some(Self::Name(glob.to_owned()));
        }
        match (glob.strip_prefix('*'), glob.strip_suffix('*')) {
            (Some(end), _) if is_plain(end) => Some(Self::End(end.to_owned())),
            (_, Some(beginning)) if is_plain(beginning) => {
                Some(Self::Beginning(beginning.to_owned()))
            }
            _ => None,
        }
    }

    fn matches(&self, text: &str) -> bool {
        match self {
            Self::Name(name) => text == name,
            Self::Beginning(beginning) => text.starts_with(beginning.as_str()),
            Self::End(end) => text.ends_with(end.as_str()),
        }
    }
}

/// Globs as rules of clients have them: names are no paths, `*` matches everything.
fn compile(glob: &str) -> Result<Glob, globset::Error> {
    GlobBuilder::new(glob)
        .literal_separator(false)
        .backslash_escape(true)
        .build()
}
