//! The YAML of the file as a tree whose every node knows its line.
//!
//! Scalars stay text: what type a key has is for the key table to say, so `mode: 0660` and
//! `name: 1e3` mean what is written. Left out on purpose: anchors and aliases (a few lines of them
//! expand without bound), tags, several documents.

use std::borrow::Cow;

use saphyr_parser::Event;
use saphyr_parser::Parser;
use saphyr_parser::ScalarStyle;
use saphyr_parser::Span;
use saphyr_parser::StrInput;

/// The key table is 6 levels deep; what nests deeper is not meant for us.
const MAX_DEPTH: usize = 16;

/// A value and where it begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Node {
    pub(super) line: usize,
    pub(super) value: Value,
}

/// What stands at a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Value {
    /// One value, as written; `is_plain` when without quotes.
    Scalar { text: String, is_plain: bool },
    /// `- a` lines or `[a, b]`.
    List(Vec<Node>),
    /// `key: value` lines. Keys may repeat here; the key table refuses that with the path.
    Section(Vec<Entry>),
}

/// One `key: value`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) line: usize,
    pub(super) node: Node,
}

/// Why the text is not the YAML we read.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct YamlError {
    pub(super) line: usize,
    pub(super) wrong: Cow<'static, str>,
    pub(super) right: &'static str,
}

impl Node {
    /// Whether nothing was written: `key:` or `key: null`.
    pub(super) fn is_null(&self) -> bool {
        matches!(&self.value, Value::Scalar { text, is_plain: true }
            if matches!(text.as_str(), "" | "~" | "null" | "Null" | "NULL"))
    }

    /// The text of a scalar.
    pub(super) fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Scalar { text, .. } => Some(text),
            Value::List(_) | Value::Section(_) => None,
        }
    }

    /// The entries of a section; none of anything else.
    pub(super) fn entries(&self) -> &[Entry] {
        match &self.value {
            Value::Section(entries) => entries,
            Value::Scalar { .. } | Value::List(_) => &[],
        }
    }

    /// The items of a list; none of anything else.
    pub(super) fn items(&self) -> &[Node] {
        match &self.value {
            Value::List(items) => items,
            Value::Scalar { .. } | Value::Section(_) => &[],
        }
    }

    /// What a section has under a name.
    pub(super) fn below(&self, name: &str) -> Option<&Node> {
        let mut entries = self.entries().iter();
        let entry = entries.find(|entry| entry.key == name)?;
        Some(&entry.node)
    }

    /// The shape, for messages.
    pub(super) fn shape(&self) -> &'static str {
        match &self.value {
            Value::Scalar { .. } if self.is_null() => "nothing",
            Value::Scalar { .. } => "a single value",
            Value::List(_) => "a list",
            Value::Section(_) => "a section of keys",
        }
    }
}

/// A section without entries, from nowhere.
pub(super) fn nothing() -> Node {
    Node {
        line: 0,
        value: Value::Section(Vec::new()),
    }
}

/// Reads one document; an empty one is an empty section.
pub(super) fn parse(text: &str) -> Result<Node, YamlError> {
    let mut reader = Reader {
        parser: Parser::new_from_str(text),
    };
    let mut root = None;
    loop {
        let (event, span) = reader.next()?;
        let line = span.start.line();
        match event {
            Event::StreamEnd => break,
            Event::StreamStart | Event::DocumentStart(_) | Event::DocumentEnd | Event::Nothing => {}
            _ if root.is_some() => return Err(YamlError::second_document(line)),
            event => root = Some(reader.node(event, span, 0)?),
        }
    }
    let root = root.filter(|node| !node.is_null());
    Ok(root.unwrap_or(Node {
        line: 1,
        value: Value::Section(Vec::new()),
    }))
}

struct Reader<'a> {
    parser: Parser<'a, StrInput<'a>>,
}

impl<'a> Reader<'a> {
    fn next(&mut self) -> Result<(Event<'a>, Span), YamlError> {
        match self.parser.next_event() {
            Some(Ok(next)) => Ok(next),
            Some(Err(error)) => Err(YamlError {
                line: error.marker().line(),
                wrong: format!("not YAML: {}", error.info()).into(),
                right: "indent with spaces, quote values that hold `: ` or ` #`",
            }),
            None => Ok((Event::StreamEnd, Span::default())),
        }
    }

    fn node(&mut self, event: Event<'a>, span: Span, depth: usize) -> Result<Node, YamlError> {
        let line = span.start.line();
        if depth > MAX_DEPTH {
            return Err(YamlError {
                line,
                wrong: format!("nested more than {MAX_DEPTH} levels").into(),
                right: "no key stands that deep",
            });
        }
        let (anchor, is_tagged) = match &event {
            Event::Alias(id) => (*id, false),
            Event::Scalar(_, _, anchor, tag) => (*anchor, tag.is_some()),
            Event::SequenceStart(anchor, tag) | Event::MappingStart(anchor, tag) => {
                (*anchor, tag.is_some())
            }
            _ => (0, false),
        };
        if anchor != 0 || matches!(event, Event::Alias(_)) {
            return Err(YamlError {
                line,
                wrong: "anchors (`&name`) and aliases (`*name`) are not supported".into(),
                right: "write the value out, or quote it when it begins with `&` or `*`",
            });
        }
        if is_tagged {
            return Err(YamlError {
                line,
                wrong: "tags (`!name`) are not supported".into(),
                right: "write the plain value, or quote it when it begins with `!`",
            });
        }
        let value = match event {
            Event::Scalar(text, style, _, _) => Value::Scalar {
                text: text.into_owned(),
                is_plain: style == ScalarStyle::Plain,
            },
            Event::SequenceStart(..) => Value::List(self.list(depth)?),
            Event::MappingStart(..) => Value::Section(self.section(depth)?),
            _ => return Err(YamlError::second_document(line)),
        };
        Ok(Node { line, value })
    }

    fn list(&mut self, depth: usize) -> Result<Vec<Node>, YamlError> {
        let mut nodes = Vec::new();
        loop {
            let (event, span) = self.next()?;
            if matches!(event, Event::SequenceEnd) {
                return Ok(nodes);
            }
            nodes.push(self.node(event, span, depth + 1)?);
        }
    }

    fn section(&mut self, depth: usize) -> Result<Vec<Entry>, YamlError> {
        let mut entries = Vec::new();
        loop {
            let (event, span) = self.next()?;
            if matches!(event, Event::MappingEnd) {
                return Ok(entries);
            }
            let key = self.node(event, span, depth + 1)?;
            let line = key.line;
            let Value::Scalar { text, .. } = key.value else {
                return Err(YamlError {
                    line,
                    wrong: "a key that is not a word".into(),
                    right: "keys are single words",
                });
            };
            let (event, span) = self.next()?;
            let node = self.node(event, span, depth + 1)?;
            let key = text;
            entries.push(Entry { key, line, node });
        }
    }
}

impl YamlError {
    fn second_document(line: usize) -> Self {
        Self {
            line,
            wrong: "a second document".into(),
            right: "the file is one document; remove `---` and what follows",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_lines_and_text() {
        let root = parse("# head\na: 0660\nb:\n  - x: \"1\"\n    y:\n").unwrap();
        let Value::Section(entries) = root.value else {
            panic!("not a section")
        };
        assert_eq!(entries[0].node.text(), Some("0660"));
        assert_eq!((entries[0].line, entries[1].line), (2, 3));
        let Value::List(items) = &entries[1].node.value else {
            panic!("not a list")
        };
        let Value::Section(inner) = &items[0].value else {
            panic!("not a section")
        };
        assert_eq!((items[0].line, inner[1].line), (4, 5));
        assert!(inner[1].node.is_null());
    }

    #[test]
    fn refuses_what_can_expand_or_hide() {
        let bomb = "a: &a [x]\nb: &b [*a, *a]\n";
        assert_eq!(parse(bomb).unwrap_err().line, 1);
        assert_eq!(parse("a: 1\nb: !!str x\n").unwrap_err().line, 2);
        assert_eq!(parse("a: 1\n---\nb: 1\n").unwrap_err().line, 3);
        assert_eq!(parse("a: [1,\nb: 2\n").unwrap_err().line, 2);
        assert!(parse(&"[".repeat(100_000)).is_err());
        assert!(parse(&"- ".repeat(100_000)).is_err());
        assert!(parse(&"{a: ".repeat(100_000)).is_err());
    }

    #[test]
    fn an_empty_file_is_an_empty_section() {
        for text in ["", "# nothing\n", "---\n", "null\n"] {
            assert_eq!(parse(text).unwrap().value, Value::Section(Vec::new()));
        }
    }
}
