//! Reading values out of a section that has been held against its table.
//!
//! What does not fit has been noted by then, so a reader here just goes on with the default: the
//! result is thrown away, and the rest of the file still gets its turn.

use std::borrow::Cow;
use std::time::Duration;

use super::error::Place;
use super::schema::Default;
use super::schema::Key;
use super::schema::Kind;
use super::schema::below;
use super::values;
use super::yaml;
use super::yaml::Entry;
use super::yaml::Node;
use super::yaml::Value;
use super::yaml::nothing;

/// A section of the file, or the absence of one, with the table that says what may stand in it.
#[derive(Clone)]
pub(super) struct Section<'a> {
    keys: &'static [Key],
    entries: Cow<'a, [Entry]>,
    at: Place,
}

impl<'a> Section<'a> {
    /// The top of the file.
    pub(super) fn root(keys: &'static [Key], root: &'a Node) -> Self {
        let at = Place {
            line: root.line,
            key: String::new(),
        };
        Self::of(keys, Cow::Borrowed(root), at)
    }

    fn of(keys: &'static [Key], node: Cow<'a, Node>, at: Place) -> Self {
        let entries = match node {
            Cow::Borrowed(Node {
                value: Value::Section(entries),
                ..
            }) => Cow::Borrowed(entries.as_slice()),
            Cow::Owned(Node {
                value: Value::Section(entries),
                ..
            }) => Cow::Owned(entries),
            _ => Cow::Borrowed(&[][..]),
        };
        Self { keys, entries, at }
    }

    /// Where the section begins.
    pub(super) fn here(&self) -> &Place {
        &self.at
    }

    /// Where a key stands; of an absent one, where its section begins.
    pub(super) fn place(&self, name: &str) -> Place {
        let entry = self.entries.iter().find(|entry| entry.key == name);
        Place {
            line: entry.map_or(self.at.line, |entry| entry.line),
            key: below(&self.at.key, name),
        }
    }

    /// Whether the file gives the key.
    pub(super) fn has(&self, name: &str) -> bool {
        self.entries.iter().any(|entry| entry.key == name)
    }

    /// A section below this one; an absent one has the defaults of its keys.
    pub(super) fn section(&self, name: &str) -> Section<'_> {
        let node = self.node(name).unwrap_or_else(|| Cow::Owned(nothing()));
        Section::of(self.key(name).kind.keys(), node, self.place(name))
    }

    /// A section below this one, `None` when absent or something else.
    pub(super) fn maybe_section(&self, name: &str) -> Option<Section<'_>> {
        let node = self.node(name)?;
        matches!(node.value, Value::Section(_))
            .then(|| Section::of(self.key(name).kind.keys(), node, self.place(name)))
    }

    /// The sections of a list.
    pub(super) fn sections(&self, name: &str) -> Vec<Section<'_>> {
        let keys = self.key(name).kind.keys();
        let place = self.place(name);
        let is_given = self.has(name);
        let section = |(index, node): (usize, Node)| {
            let at = Place {
                line: if is_given { node.line } else { place.line },
                key: format!("{}[{index}]", place.key),
            };
            Section::of(keys, Cow::Owned(node), at)
        };
        self.list(name)
            .into_iter()
            .enumerate()
            .map(section)
            .collect()
    }

    /// The texts of a list.
    pub(super) fn texts(&self, name: &str) -> Vec<String> {
        let texts = self.list(name);
        texts
            .iter()
            .filter_map(|node| node.text().map(str::to_owned))
            .collect()
    }

    /// Whether the value is a list without items.
    pub(super) fn is_empty_list(&self, name: &str) -> bool {
        self.node(name)
            .is_some_and(|node| matches!(&node.value, Value::List(nodes) if nodes.is_empty()))
    }

    /// A text that has a default; empty when it is required and missing.
    pub(super) fn text(&self, name: &str) -> String {
        self.maybe_text(name).unwrap_or_default()
    }

    /// A text that may be absent.
    pub(super) fn maybe_text(&self, name: &str) -> Option<String> {
        self.read(name, |text| Some(text.to_owned()))
    }

    /// A flag.
    pub(super) fn flag(&self, name: &str) -> bool {
        self.read(name, values::flag).unwrap_or_default()
    }

    /// A whole number that has a default.
    pub(super) fn whole(&self, name: &str) -> u64 {
        self.maybe_whole(name).unwrap_or_default()
    }

    /// A whole number that may be absent.
    pub(super) fn maybe_whole(&self, name: &str) -> Option<u64> {
        self.read(name, values::whole)
    }

    /// A whole number that counts things and has a default.
    pub(super) fn count(&self, name: &str) -> usize {
        self.maybe_count(name).unwrap_or_default()
    }

    /// A whole number that counts things and may be absent.
    pub(super) fn maybe_count(&self, name: &str) -> Option<usize> {
        self.read(name, |text| values::whole(text)?.try_into().ok())
    }

    /// A number of bytes that has a default.
    pub(super) fn size(&self, name: &str) -> u64 {
        self.maybe_size(name).unwrap_or_default()
    }

    /// A number of bytes that may be absent.
    pub(super) fn maybe_size(&self, name: &str) -> Option<u64> {
        self.read(name, values::size)
    }

    /// A number of bytes that has to fit into memory and has a default.
    pub(super) fn memory(&self, name: &str) -> usize {
        self.maybe_memory(name).unwrap_or_default()
    }

    /// A number of bytes that has to fit into memory; `None` for a word in its place.
    pub(super) fn maybe_memory(&self, name: &str) -> Option<usize> {
        self.read(name, |text| values::size(text)?.try_into().ok())
    }

    /// A duration that has a default.
    pub(super) fn duration(&self, name: &str) -> Duration {
        self.maybe_duration(name).unwrap_or_default()
    }

    /// A duration that may be absent.
    pub(super) fn maybe_duration(&self, name: &str) -> Option<Duration> {
        self.read(name, values::duration)
    }

    /// An amount of dollars that has a default.
    pub(super) fn price(&self, name: &str) -> f64 {
        self.read(name, values::price).unwrap_or_default()
    }

    /// A share that has a default.
    pub(super) fn ratio(&self, name: &str) -> f64 {
        self.read(name, values::ratio).unwrap_or_default()
    }

    /// Reads the value, or the default when the value is absent or has been found wrong.
    fn read<T>(&self, name: &str, parse: impl Fn(&str) -> Option<T>) -> Option<T> {
        self.node(name)?.text().and_then(parse)
    }

    fn list(&self, name: &str) -> Vec<Node> {
        match self.node(name).map(Cow::into_owned) {
            Some(Node {
                value: Value::List(nodes),
                ..
            }) => nodes,
            _ => Vec::new(),
        }
    }

    /// What the file gives, else the table's default.
    fn node(&self, name: &str) -> Option<Cow<'_, Node>> {
        let key = self.key(name);
        if let Some(entry) = self.entries.iter().find(|entry| entry.key == name) {
            return Some(Cow::Borrowed(&entry.node));
        }
        match (&key.default, &key.kind) {
            (Default::Is(_), Kind::Section(_)) => Some(Cow::Owned(nothing())),
            (Default::Is(text), _) => Some(Cow::Owned(
                yaml::parse(text).expect("a test reads every default of the table"),
            )),
            (Default::Absent(_) | Default::Required(_) | Default::Alternative(_), _) => None,
        }
    }

    fn key(&self, name: &str) -> &'static Key {
        self.keys
            .iter()
            .find(|key| key.name == name)
            .expect("only keys of the table are read, and tests read them all")
    }
}
