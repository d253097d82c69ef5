//! What is different between two configurations, by key. Items of a list are told apart by their
//! names: `clients[etl].allow` is the same key wherever `etl` stands.

use super::schema::Default;
use super::schema::Key;
use super::schema::below;
use super::yaml::Node;
use super::yaml::Value;

/// What tells an item from the others, the first that it has.
const NAMES: &[&[&str]] = &[&["name"], &["tcp"], &["tls", "addr"], &["unix", "path"]];

/// The keys that differ between two sections with their defaults.
pub(super) fn between(before: &Node, after: &Node) -> Vec<String> {
    let mut found = Vec::new();
    compare("", before, after, &mut found);
    found
}

/// What an item is called, as it is written or by default.
pub(super) fn name_of<'a>(keys: &[Key], item: &'a Node) -> Option<&'a str> {
    written_name(item).or_else(|| {
        let name = keys.iter().find(|key| key.name == NAMES[0][0])?;
        match name.default {
            Default::Is(text) => Some(text),
            Default::Absent(_) | Default::Required(_) | Default::Alternative(_) => None,
        }
    })
}

fn written_name(item: &Node) -> Option<&str> {
    let at = |path: &&[&str]| {
        let node = path.iter().try_fold(item, |node, name| node.below(name));
        node.and_then(Node::text)
    };
    NAMES.iter().find_map(at)
}

fn compare(path: &str, before: &Node, after: &Node, found: &mut Vec<String>) {
    match (&before.value, &after.value) {
        (Value::Section(old), Value::Section(new)) => {
            for entry in new {
                let path = below(path, &entry.key);
                match old.iter().find(|old| old.key == entry.key) {
                    Some(old) => compare(&path, &old.node, &entry.node, found),
                    None => found.push(path),
                }
            }
            let gone = |entry: &&super::yaml::Entry| !new.iter().any(|new| new.key == entry.key);
            found.extend(old.iter().filter(gone).map(|old| below(path, &old.key)));
        }
        (Value::List(old), Value::List(new)) => lists(path, old, new, found),
        (Value::Scalar { text: old, .. }, Value::Scalar { text: new, .. }) if old == new => {}
        _ => found.push(path.to_owned()),
    }
}

fn lists(path: &str, before: &[Node], after: &[Node], found: &mut Vec<String>) {
    let names = |nodes: &[Node]| -> Option<Vec<String>> {
        nodes
            .iter()
            .map(|node| written_name(node).map(str::to_owned))
            .collect()
    };
    match (names(before), names(after)) {
        (Some(old), Some(new)) => named(path, (before, &old), (after, &new), found),
        _ if before.len() == after.len() => {
            let is_section = |node: &Node| matches!(node.value, Value::Section(_));
            for (index, (old, new)) in before.iter().zip(after).enumerate() {
                if is_section(new) {
                    compare(&format!("{path}[{index}]"), old, new, found);
                } else if old.text() != new.text() {
                    found.push(path.to_owned());
                    return;
                }
            }
        }
        _ => found.push(path.to_owned()),
    }
}

fn named(
    path: &str,
    (before, old): (&[Node], &[String]),
    (after, new): (&[Node], &[String]),
    found: &mut Vec<String>,
) {
    for (name, node) in new.iter().zip(after) {
        let path = format!("{path}[{name}]");
        match old.iter().position(|old| old == name) {
            Some(at) => compare(&path, &before[at], node, found),
            None => found.push(format!("{path} added")),
        }
    }
    let gone = old.iter().filter(|name| !new.contains(name));
    found.extend(gone.map(|name| format!("{path}[{name}] removed")));
    let stayed = |names: &'_ [String], others: &[String]| -> Vec<String> {
        let stayed = names.iter().filter(|name| others.contains(name));
        stayed.cloned().collect()
    };
    if stayed(old, new) != stayed(new, old) {
        found.push(format!("order of {path}"));
    }
}
