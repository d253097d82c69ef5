//! The configuration as it holds: what is given, and the default of what is not. For people and for
//! comparing; secrets do not stand in it, and of key pairs the public half is cut short.

use serde::Serialize;
use serde::Serializer;
use serde::ser::SerializeMap;
use serde::ser::SerializeSeq;

use super::schema::Default;
use super::schema::Key;
use super::schema::Kind;
use super::values;
use super::yaml;
use super::yaml::Entry;
use super::yaml::Node;
use super::yaml::Value;

/// So much of an access key id is shown.
const SHOWN_OF_KEY: usize = 4;

/// A checked section with its defaults, keys in the order of the table.
pub(super) fn effective(keys: &'static [Key], node: &Node) -> Node {
    let given = node.entries();
    let mut entries = Vec::new();
    for key in keys {
        let given = given.iter().find(|entry| entry.key == key.name);
        let node = match (given, &key.default, &key.kind) {
            (_, _, Kind::Refused(_)) => continue,
            (Some(entry), ..) => value(&key.kind, &entry.node),
            (None, Default::Is(_), Kind::Section(inner)) => effective(inner, &yaml::nothing()),
            (None, Default::Is(text), kind) => {
                let default = yaml::parse(text).expect("a test reads every default of the table");
                value(kind, &default)
            }
            (None, Default::Absent(_) | Default::Required(_) | Default::Alternative(_), _) => {
                continue;
            }
        };
        let (key, line) = (key.name.to_owned(), 0);
        entries.push(Entry { key, line, node });
    }
    let value = Value::Section(entries);
    Node { line: 0, value }
}

fn value(kind: &'static Kind, node: &Node) -> Node {
    match (kind, &node.value) {
        (Kind::Section(keys) | Kind::OneOf(keys), Value::Section(_)) => effective(keys, node),
        (Kind::List(item), Value::List(nodes)) => Node {
            line: 0,
            value: Value::List(nodes.iter().map(|node| value(item, node)).collect()),
        },
        (Kind::WordOr(_, other), Value::Section(_) | Value::List(_)) => value(other, node),
        _ => node.clone(),
    }
}

/// A section as JSON, by its table.
pub(super) struct Shown<'a> {
    pub(super) keys: &'static [Key],
    pub(super) node: &'a Node,
}

impl Serialize for Shown<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for entry in self.node.entries() {
            if let Some(key) = self.keys.iter().find(|key| key.name == entry.key) {
                let (kind, node) = (&key.kind, &entry.node);
                map.serialize_entry(key.name, &ShownValue { kind, node })?;
            }
        }
        map.end()
    }
}

struct ShownValue<'a> {
    kind: &'static Kind,
    node: &'a Node,
}

impl Serialize for ShownValue<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let node = self.node;
        match (self.kind, &node.value) {
            (Kind::WordOr(words, _), Value::Scalar { text, .. })
                if words.contains(&text.as_str()) =>
            {
                serializer.serialize_str(text)
            }
            (Kind::WordOr(_, kind), _) => ShownValue { kind, node }.serialize(serializer),
            (kind, Value::Section(_)) => {
                let keys = kind.keys();
                Shown { keys, node }.serialize(serializer)
            }
            (Kind::List(kind), Value::List(nodes)) => {
                let mut list = serializer.serialize_seq(Some(nodes.len()))?;
                for node in nodes {
                    list.serialize_element(&ShownValue { kind, node })?;
                }
                list.end()
            }
            // Held against the table, which has no other lists.
            (_, Value::List(_)) => serializer.serialize_none(),
            (kind, Value::Scalar { text, .. }) => scalar(kind, text, serializer),
        }
    }
}

fn scalar<S: Serializer>(kind: &Kind, text: &str, serializer: S) -> Result<S::Ok, S::Error> {
    match kind {
        Kind::Flag => serializer.serialize_bool(values::flag(text).unwrap_or_default()),
        Kind::Whole(..) => serializer.serialize_u64(values::whole(text).unwrap_or_default()),
        Kind::AccessKey => {
            let shown: String = text.chars().take(SHOWN_OF_KEY).collect();
            serializer.collect_str(&format_args!("{shown}***"))
        }
        _ => serializer.serialize_str(text),
    }
}
