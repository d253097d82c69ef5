//! What a key table is made of, and the walk that holds a file against it.
//!
//! The tables in `keys` and `server_keys` are the only place where a key's name, type, default and
//! meaning stand; `docs/configuration.md` and `conf/reference.yaml` are checked against them.

use std::net::Ipv4Addr;
use std::net::Ipv6Addr;
use std::time::Duration;

use super::error::Findings;
use super::error::Place;
use super::error::Problem;
use super::values;
use super::yaml::Entry;
use super::yaml::Node;
use super::yaml::Value;

/// One key.
#[derive(Clone, Copy)]
pub(super) struct Key {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    pub(super) default: Default,
    pub(super) meaning: &'static str,
    pub(super) change: Change,
}

/// What it takes for a changed key to take effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    /// What the key above it takes; at the top of the file, a reload.
    Inherited,
    /// A reload: SIGHUP, or `POST /-/reload`.
    Reload,
    /// A new process: an upgrade or a restart.
    Restart,
}

impl Change {
    /// What it takes below a key that takes `above`.
    pub(super) fn below(self, above: Self) -> Self {
        match self {
            Self::Inherited => above,
            Self::Reload | Self::Restart => self,
        }
    }
}

/// What holds when a key is absent.
#[derive(Clone, Copy)]
pub(super) enum Default {
    /// This value, as YAML. Of a section: the defaults of its keys.
    Is(&'static str),
    /// Nothing; `meaning` says what that means. The text is an example, as YAML.
    Absent(&'static str),
    /// The key has to be there. The text is an example, as YAML.
    Required(&'static str),
    /// One of several keys has to be there; this is the one that examples take.
    Alternative(&'static str),
}

/// What a key holds.
#[derive(Clone, Copy)]
pub(super) enum Kind {
    /// `true` or `false`.
    Flag,
    /// A whole number in these bounds.
    Whole(u64, u64),
    /// A number of bytes in these bounds.
    Size(u64, u64),
    /// A duration in these bounds.
    Time(Duration, Duration),
    /// An amount of dollars, with a decimal point or without.
    Price,
    /// A share, from 0 to 1.
    Ratio,
    /// Any text but none.
    Text,
    /// A name for logs and rules.
    Name,
    /// An absolute path: the working directory may change, and a reload reads it again.
    Path,
    /// A glob over bucket names.
    Buckets,
    /// A glob over the beginning of keys.
    Prefix,
    /// A glob over whole keys.
    Keys,
    /// `http://host[:port]` or `https://host[:port]`.
    Endpoint,
    /// `address:port`.
    Address,
    /// `address:port`, or `unix:` and an absolute path.
    Listener,
    /// The same, or keys of its own of which one is that.
    ListenerOr(&'static [Key]),
    /// An IPv4 address. Pingora panics on anything else.
    Ipv4,
    /// An IPv6 address. Pingora panics on anything else.
    Ipv6,
    /// A host name.
    Host,
    /// The name of an environment variable. Never quoted in messages: it may be a secret that was
    /// put in the wrong place.
    Variable,
    /// An access key id.
    AccessKey,
    /// Octal permission bits that leave everyone else out.
    Mode,
    /// One of these words.
    Word(&'static [&'static str]),
    /// One of these words, or the other kind.
    WordOr(&'static [&'static str], &'static Kind),
    /// Any number of these.
    List(&'static Kind),
    /// Keys of its own.
    Section(&'static [Key]),
    /// Keys of its own, of which exactly one is given.
    OneOf(&'static [Key]),
    /// A key that is known and not taken, for this reason.
    Refused(&'static str),
}

impl Kind {
    /// What to give, for messages and documents.
    pub(super) fn expected(&self) -> String {
        match self {
            Self::Flag => "true or false".into(),
            Self::Whole(min, max) => format!("a whole number from {min} to {max}"),
            Self::Size(min, max) => format!(
                "a size from {} to {}",
                values::show_size(*min),
                values::show_size(*max)
            ),
            Self::Time(min, max) => format!(
                "a duration from {} to {}",
                values::show_duration(*min),
                values::show_duration(*max)
            ),
            Self::Ratio => "a share from 0 to 1 such as 0.01".into(),
            Self::Price => "an amount from 0 to 1000 such as 0.0004".into(),
            Self::Text => "a text".into(),
            Self::Name => "a name of up to 64 letters, digits, `-`, `_` and `.`".into(),
            Self::Path => "an absolute path".into(),
            Self::Buckets => "a glob over bucket names such as `team-*`".into(),
            Self::Prefix => "a glob over the beginning of keys such as `raw/2026-*`".into(),
            Self::Keys => "a glob over keys such as `*.parquet`".into(),
            Self::Endpoint => "a URL `http://host[:port]` or `https://host[:port]`".into(),
            Self::Address => "an address `ip:port`, IPv6 as `[ip]:port`".into(),
            Self::Listener => "an address `ip:port` or `unix:/path`".into(),
            Self::ListenerOr(_) => {
                "an address `ip:port` or `unix:/path`, or a section of keys".into()
            }
            Self::Ipv4 => "an IPv4 address".into(),
            Self::Ipv6 => "an IPv6 address".into(),
            Self::Host => "a host name".into(),
            Self::Variable => "the name of an environment variable such as `S3_SECRET`".into(),
            Self::AccessKey => {
                "an access key id of 3 to 128 visible characters without `/`, `,` and `=`".into()
            }
            Self::Mode => "permission bits that leave others out, such as `0660`".into(),
            Self::Word(words) => words
                .iter()
                .map(|word| format!("`{word}`"))
                .collect::<Vec<_>>()
                .join(" or "),
            Self::WordOr(words, other) => {
                format!("{} or {}", Self::Word(words).expected(), other.expected())
            }
            Self::List(item) => match item {
                Self::Section(_) | Self::OneOf(_) => "a list of sections".into(),
                item => format!("a list, each {}", item.expected()),
            },
            Self::Section(_) => "a section of keys".into(),
            Self::OneOf(keys) => format!(
                "a section with one of {}",
                keys.iter()
                    .map(|key| format!("`{}`", key.name))
                    .collect::<Vec<_>>()
                    .join(", ")
            ),
            Self::Refused(_) => "nothing".into(),
        }
    }

    /// The keys below this one, whatever stands between.
    pub(super) fn keys(&self) -> &'static [Key] {
        match self {
            Self::Section(keys) | Self::OneOf(keys) | Self::ListenerOr(keys) => keys,
            Self::List(kind) | Self::WordOr(_, kind) => kind.keys(),
            _ => &[],
        }
    }

    /// Whether it is a list, or a list is what it is when it is not a word.
    pub(super) fn is_list(&self) -> bool {
        match self {
            Self::List(_) => true,
            Self::WordOr(_, other) => other.is_list(),
            _ => false,
        }
    }

    fn accepts(&self, text: &str, is_plain: bool) -> bool {
        match self {
            Self::Flag => is_plain && values::flag(text).is_some(),
            Self::Whole(min, max) => {
                is_plain && values::whole(text).is_some_and(|n| (*min..=*max).contains(&n))
            }
            Self::Size(min, max) => {
                values::size(text).is_some_and(|size| (*min..=*max).contains(&size))
            }
            Self::Time(min, max) => {
                values::duration(text).is_some_and(|time| (*min..=*max).contains(&time))
            }
            Self::Ratio => is_plain && values::ratio(text).is_some(),
            Self::Price => is_plain && values::price(text).is_some(),
            Self::Text => !text.is_empty() && !text.contains('\0'),
            Self::Path => text.starts_with('/') && !text.contains('\0'),
            Self::Name => values::is_name(text),
            Self::Buckets => values::is_bucket_glob(text),
            Self::Prefix => values::is_prefix_glob(text),
            Self::Keys => values::is_key_glob(text),
            Self::Endpoint => values::endpoint(text).is_some(),
            Self::Address => values::address(text).is_some(),
            Self::Listener | Self::ListenerOr(_) => values::admin_listener(text).is_some(),
            Self::Ipv4 => text.parse::<Ipv4Addr>().is_ok(),
            Self::Ipv6 => text.parse::<Ipv6Addr>().is_ok(),
            Self::Host => values::is_host(text),
            Self::Variable => values::is_variable(text),
            Self::AccessKey => values::is_access_key(text),
            Self::Mode => values::mode(text).is_some(),
            Self::Word(words) => words.contains(&text),
            Self::WordOr(..) | Self::List(_) | Self::Section(_) | Self::OneOf(_) => false,
            Self::Refused(_) => true,
        }
    }

    fn refusal(&self, text: &str) -> Problem {
        Problem::Value {
            text: (!self.may_hold_a_secret(text)).then(|| text.to_owned()),
            expected: self.expected(),
        }
    }

    fn may_hold_a_secret(&self, text: &str) -> bool {
        match self {
            Self::Variable => true,
            Self::Endpoint => text.contains('@'),
            Self::WordOr(_, other) => other.may_hold_a_secret(text),
            _ => false,
        }
    }
}

/// Holds a section against its table and notes everything that does not fit.
pub(super) fn check(keys: &'static [Key], root: &Node, findings: &mut Findings) {
    match &root.value {
        Value::Section(entries) => check_section(keys, entries, &place(root.line, ""), findings),
        Value::Scalar { .. } | Value::List(_) => findings.error(
            place(root.line, ""),
            Problem::Shape {
                expected: "a section of keys, `key: value`".into(),
                found: root.shape(),
            },
        ),
    }
}

fn place(line: usize, key: impl Into<String>) -> Place {
    Place {
        line,
        key: key.into(),
    }
}

/// The path of a key below another one.
pub(super) fn below(path: &str, name: &str) -> String {
    if path.is_empty() {
        name.to_owned()
    } else {
        format!("{path}.{name}")
    }
}

fn check_section(keys: &'static [Key], entries: &[Entry], at: &Place, findings: &mut Findings) {
    for (index, entry) in entries.iter().enumerate() {
        let here = place(entry.line, below(&at.key, &entry.key));
        if let Some(first) = entries[..index].iter().find(|e| e.key == entry.key) {
            let first_line = first.line;
            findings.error(here, Problem::Repeated { first_line });
        } else if let Some(key) = keys.iter().find(|key| key.name == entry.key) {
            check_value(&key.kind, &entry.node, &here, findings);
        } else {
            let nearest = nearest(keys, &entry.key);
            findings.error(here, Problem::Unknown { nearest });
        }
    }
    for key in keys {
        if let Default::Required(example) = key.default
            && !entries.iter().any(|entry| entry.key == key.name)
        {
            let here = place(at.line, below(&at.key, key.name));
            findings.error(here, Problem::Missing { example });
        }
    }
}

fn check_value(kind: &'static Kind, node: &Node, at: &Place, findings: &mut Findings) {
    if let Kind::Refused(reason) = kind {
        return findings.error(at.clone(), Problem::Refused { reason });
    }
    let mismatch = || Problem::Shape {
        expected: kind.expected(),
        found: node.shape(),
    };
    if node.is_null() {
        return findings.error(at.clone(), mismatch());
    }
    match (kind, &node.value) {
        (Kind::WordOr(words, _), Value::Scalar { text, .. }) if words.contains(&text.as_str()) => {}
        (Kind::WordOr(_, other), Value::Scalar { text, is_plain }) => {
            if !other.accepts(text, *is_plain) {
                findings.error(at.clone(), kind.refusal(text));
            }
        }
        (Kind::WordOr(_, other), _) if is_same_shape(other, &node.value) => {
            check_value(other, node, at, findings);
        }
        (Kind::Section(keys) | Kind::ListenerOr(keys), Value::Section(entries)) => {
            check_section(keys, entries, at, findings);
        }
        (Kind::OneOf(keys), Value::Section(entries)) => {
            check_section(keys, entries, at, findings);
            let found = entries
                .iter()
                .filter(|e| keys.iter().any(|key| key.name == e.key))
                .count();
            if found != 1 {
                let choices = keys.iter().map(|key| key.name).collect();
                findings.error(at.clone(), Problem::ExactlyOne { choices, found });
            }
        }
        (Kind::List(item), Value::List(nodes)) => {
            for (index, node) in nodes.iter().enumerate() {
                let here = place(node.line, format!("{}[{index}]", at.key));
                check_value(item, node, &here, findings);
            }
        }
        (_, Value::Scalar { text, is_plain }) if is_same_shape(kind, &node.value) => {
            if !kind.accepts(text, *is_plain) {
                findings.error(at.clone(), kind.refusal(text));
            }
        }
        _ => findings.error(at.clone(), mismatch()),
    }
}

fn is_same_shape(kind: &Kind, value: &Value) -> bool {
    match kind {
        Kind::List(_) => matches!(value, Value::List(_)),
        Kind::Section(_) | Kind::OneOf(_) => matches!(value, Value::Section(_)),
        Kind::WordOr(_, other) => is_same_shape(other, value),
        Kind::ListenerOr(_) => matches!(value, Value::Scalar { .. } | Value::Section(_)),
        _ => matches!(value, Value::Scalar { .. }),
    }
}

/// The known key that was probably meant. Refused ones are no advice.
fn nearest(keys: &'static [Key], written: &str) -> Option<&'static str> {
    keys.iter()
        .filter(|key| !matches!(key.kind, Kind::Refused(_)))
        .map(|key| (strsim::damerau_levenshtein(key.name, written), key.name))
        .filter(|(distance, name)| *distance <= 1 + name.len() / 4)
        .min()
        .map(|(_, name)| name)
}
