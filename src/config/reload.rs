//! Reading everything again: what of it can take effect now, and what has to wait for a new process.
//!
//! What waits stays as it is. The file is checked as it stands, as at a start; then once more as what
//! takes effect, because a key that changed may not go with one that waits.

use std::collections::BTreeMap;

use serde::Serialize;
use serde::Serializer;
use sha2::Digest;
use sha2::Sha256;

use super::Config;
use super::args::Args;
use super::changes;
use super::effective::Shown;
use super::effective::effective;
use super::environment::Environment;
use super::error::ConfigErrors;
use super::keys::ROOT;
use super::load;
use super::schema::Change;
use super::schema::Default;
use super::schema::Key;
use super::schema::Kind;
use super::yaml::Entry;
use super::yaml::Node;
use super::yaml::Value;

/// A configuration as it was written, for the next one to be compared with.
pub struct Written {
    tree: Node,
    contents: Contents,
}

/// What was in the files that the configuration names, by path; hashes, for some hold secrets.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Contents(BTreeMap<String, [u8; 32]>);

/// What came of reading everything again.
pub struct Reloaded {
    /// The file as it stands; what a new process would take.
    pub file: Config,
    /// What takes effect now: the file, and what was before where that takes a new process.
    pub in_force: Config,
    /// The keys that changed and take effect.
    pub changed: Vec<String>,
    /// The keys that changed and take a new process.
    pub needs_restart: Vec<String>,
}

impl Contents {
    pub(super) fn add(&mut self, path: &str, bytes: &[u8]) {
        self.0.insert(path.to_owned(), Sha256::digest(bytes).into());
    }

    /// The files that hold something else than before.
    fn changed<'a>(&'a self, before: &'a Self) -> impl Iterator<Item = &'a str> {
        let changed = |(path, hash): &(&String, &[u8; 32])| {
            let before = before.0.get(*path);
            before.is_some_and(|before| before != *hash)
        };
        self.0.iter().filter(changed).map(|(path, _)| path.as_str())
    }
}

impl Written {
    pub(super) fn new(tree: Node, contents: Contents) -> Self {
        Self { tree, contents }
    }
}

impl Serialize for Written {
    /// The keys with their values and defaults, without secrets.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let node = &effective(ROOT, &self.tree);
        Shown { keys: ROOT, node }.serialize(serializer)
    }
}

/// Reads everything again, `running` being what is in force.
pub(super) fn reload(
    args: &Args,
    environment: &Environment,
    running: &Written,
) -> Result<Reloaded, ConfigErrors> {
    let file = load::load(args, environment)?;
    let tree = merged(ROOT, &running.tree, &file.written.tree);
    let in_force = load::from_tree(args.conf.as_deref(), tree, environment)
        .map_err(ConfigErrors::until_restart)?;
    let before = effective(ROOT, &running.tree);
    let now = effective(ROOT, &in_force.written.tree);
    let wanted = effective(ROOT, &file.written.tree);
    let mut changed = changes::between(&before, &now);
    let contents = in_force.written.contents.changed(&running.contents);
    changed.extend(contents.map(|path| format!("contents of {path}")));
    Ok(Reloaded {
        changed,
        needs_restart: changes::between(&now, &wanted),
        file,
        in_force,
    })
}

fn merged(keys: &'static [Key], running: &Node, wanted: &Node) -> Node {
    section(keys, Change::Reload, running, wanted)
}

/// The wanted section, with the running one's values of keys that wait.
fn section(keys: &'static [Key], above: Change, running: &Node, wanted: &Node) -> Node {
    let find = |node: &Node, key: &Key| {
        let mut entries = node.entries().iter();
        entries.find(|entry| entry.key == key.name).cloned()
    };
    let entries = keys.iter().filter_map(|key| {
        let (running, wanted) = (find(running, key), find(wanted, key));
        entry(key, key.change.below(above), running, wanted)
    });
    Node {
        line: wanted.line,
        value: Value::Section(entries.collect()),
    }
}

fn entry(
    key: &'static Key,
    change: Change,
    running: Option<Entry>,
    wanted: Option<Entry>,
) -> Option<Entry> {
    if !differs_below(&key.kind, change) {
        return if waits(change) { running } else { wanted };
    }
    match (&key.kind, key.default, running, wanted) {
        (Kind::Section(keys), _, Some(running), Some(wanted)) => Some(Entry {
            node: section(keys, change, &running.node, &wanted.node),
            ..wanted
        }),
        // A section that is there in any case, and so are the keys in it that do not wait.
        (Kind::Section(keys), Default::Is(_), running, wanted) => {
            let nothing = super::yaml::nothing();
            let of = |entry: &Option<Entry>| {
                let node = entry.as_ref().map(|entry| &entry.node);
                node.unwrap_or(&nothing).clone()
            };
            let node = section(keys, change, &of(&running), &of(&wanted));
            let entry = running.or(wanted)?;
            Some(Entry { node, ..entry })
        }
        (Kind::List(item), _, Some(running), Some(wanted)) => Some(Entry {
            node: list(item.keys(), change, &running.node, &wanted.node),
            ..wanted
        }),
        (_, _, running, wanted) => {
            if waits(change) {
                running
            } else {
                wanted
            }
        }
    }
}

/// The items of the list that counts, each merged with the one of the same name in the other.
fn list(keys: &'static [Key], change: Change, running: &Node, wanted: &Node) -> Node {
    let (counts, other) = if waits(change) {
        (running, wanted)
    } else {
        (wanted, running)
    };
    let merged = |item: &Node| {
        let name = changes::name_of(keys, item);
        let mut others = other.items().iter();
        match others.find(|other| changes::name_of(keys, other) == name) {
            Some(other) if waits(change) => section(keys, change, item, other),
            Some(other) => section(keys, change, other, item),
            None => item.clone(),
        }
    };
    Node {
        line: counts.line,
        value: Value::List(counts.items().iter().map(merged).collect()),
    }
}

fn waits(change: Change) -> bool {
    change == Change::Restart
}

/// Whether some key below takes something else.
fn differs_below(kind: &'static Kind, change: Change) -> bool {
    kind.keys().iter().any(|key| {
        let own = key.change.below(change);
        own != change || differs_below(&key.kind, own)
    })
}
