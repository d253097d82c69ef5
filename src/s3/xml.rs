//! S3's XML: a small bounded tree for reading, and escaping for writing.
//!
//! A document type declaration is refused, so no entity can be defined and nothing outside can be
//! named. Element count and depth are bounded before anything is allocated for them.

use std::fmt::Write;

use quick_xml::Reader;
use quick_xml::escape::resolve_predefined_entity;
use quick_xml::events::Event;

/// No S3 document is nested deeper.
const MAX_DEPTH: usize = 8;

/// `xmlns` of every S3 document.
pub const NAMESPACE: &str = "http://s3.amazonaws.com/doc/2006-03-01/";

/// The document is not well-formed, or larger than its schema allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MalformedXml;

/// One element: its local name, the text directly in it, its children in order. Attributes and
/// namespaces carry nothing in S3's documents and are dropped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Element {
    /// Local name.
    pub name: String,
    /// Text, entities resolved.
    pub text: String,
    /// Children.
    pub children: Vec<Element>,
}

impl Element {
    /// Reads a document of at most `max_elements` elements.
    pub fn parse(document: &[u8], max_elements: usize) -> Result<Self, MalformedXml> {
        let text = std::str::from_utf8(document).map_err(|_| MalformedXml)?;
        let mut reader = Reader::from_str(text.trim_start_matches('\u{feff}'));
        let mut open: Vec<Self> = Vec::new();
        let mut root = None;
        let mut elements = 0;
        loop {
            match reader.read_event().map_err(|_| MalformedXml)? {
                Event::Start(start) => {
                    elements += 1;
                    if elements > max_elements || open.len() == MAX_DEPTH || root.is_some() {
                        return Err(MalformedXml);
                    }
                    open.push(Self::named(start.local_name().as_ref()));
                }
                Event::Empty(start) => {
                    elements += 1;
                    if elements > max_elements || root.is_some() {
                        return Err(MalformedXml);
                    }
                    close(
                        Self::named(start.local_name().as_ref()),
                        &mut open,
                        &mut root,
                    );
                }
                Event::End(_) => {
                    let element = open.pop().ok_or(MalformedXml)?;
                    close(element, &mut open, &mut root);
                }
                Event::Text(text) => append(&mut open, &text.xml10_content())?,
                Event::CData(text) => append(&mut open, &text.xml10_content())?,
                Event::GeneralRef(entity) => {
                    let character = entity.resolve_char_ref().map_err(|_| MalformedXml)?;
                    match (character, resolve_predefined_entity(&entity)) {
                        (Some(character), _) => {
                            append(&mut open, character.encode_utf8(&mut [0; 4]))?;
                        }
                        (None, Some(text)) => append(&mut open, text)?,
                        (None, None) => return Err(MalformedXml),
                    }
                }
                Event::Decl(_) | Event::Comment(_) => {}
                Event::DocType(_) | Event::PI(_) => return Err(MalformedXml),
                Event::Eof => break,
            }
        }
        if open.is_empty() {
            root.ok_or(MalformedXml)
        } else {
            Err(MalformedXml)
        }
    }

    /// The first child of this name.
    pub fn child(&self, name: &str) -> Option<&Self> {
        self.children.iter().find(|child| child.name == name)
    }

    /// The text of the first child of this name.
    pub fn child_text(&self, name: &str) -> Option<&str> {
        self.child(name).map(|child| child.text.as_str())
    }

    fn named(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            text: String::new(),
            children: Vec::new(),
        }
    }
}

fn close(element: Element, open: &mut [Element], root: &mut Option<Element>) {
    match open.last_mut() {
        Some(parent) => parent.children.push(element),
        None => *root = Some(element),
    }
}

fn append(open: &mut [Element], text: &str) -> Result<(), MalformedXml> {
    match open.last_mut() {
        Some(element) => element.text.push_str(text),
        None if text.trim().is_empty() => {}
        None => return Err(MalformedXml),
    }
    Ok(())
}

/// Whether a document can hold the text as it is.
pub fn can_hold(text: &str) -> bool {
    !text.chars().any(is_foreign)
}

/// Characters that XML 1.0 has no way to write, among those that a `char` can be.
fn is_foreign(character: char) -> bool {
    matches!(
        character,
        '\0'..='\x08' | '\x0b' | '\x0c' | '\x0e'..='\x1f' | '\u{fffe}' | '\u{ffff}'
    )
}

/// Appends `<name>text</name>`, escaped. Characters that XML 1.0 cannot hold become U+FFFD.
pub fn write_text(document: &mut String, name: &str, text: &str) {
    document.push('<');
    document.push_str(name);
    document.push('>');
    for character in text.chars() {
        match character {
            '&' => document.push_str("&amp;"),
            '<' => document.push_str("&lt;"),
            '>' => document.push_str("&gt;"),
            '"' => document.push_str("&quot;"),
            '\'' => document.push_str("&apos;"),
            '\t' | '\n' | '\r' => {
                // Written as references, or a reader would normalise them away.
                let _ = write!(document, "&#{};", u32::from(character));
            }
            foreign if is_foreign(foreign) => document.push('\u{fffd}'),
            _ => document.push(character),
        }
    }
    document.push_str("</");
    document.push_str(name);
    document.push('>');
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_document_becomes_a_tree() {
        let document = br#"<?xml version="1.0"?><!-- c --><Delete xmlns="http://s3.amazonaws.com/doc/2006-03-01/">
            <Object><Key>a&amp;b&#x20;&lt;<![CDATA[<c>]]></Key></Object><Quiet/></Delete>"#;
        let root = Element::parse(document, 10).unwrap();
        assert_eq!(root.name, "Delete");
        assert_eq!(
            root.child("Object").unwrap().child_text("Key"),
            Some("a&b <<c>")
        );
        assert!(root.child("Quiet").is_some());
    }

    #[test]
    fn hostile_documents_are_refused() {
        let deep = format!("{}{}", "<a>".repeat(9), "</a>".repeat(9));
        for document in [
            "",
            "text",
            "<a>",
            "<a></b>",
            "<a/><b/>",
            "<a/>x",
            "<a>&undefined;</a>",
            "<!DOCTYPE a [<!ENTITY x SYSTEM 'file:///etc/passwd'>]><a>&x;</a>",
            "<!DOCTYPE a><a/>",
            "<?php?><a/>",
            "<a><b/><b/><b/></a>",
            deep.as_str(),
        ] {
            assert_eq!(
                Element::parse(document.as_bytes(), 3),
                Err(MalformedXml),
                "{document}"
            );
        }
        assert_eq!(Element::parse(b"<a>\xff</a>", 3), Err(MalformedXml));
    }

    proptest! {
        #[test]
        fn any_bytes_parse_or_are_refused(document in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = Element::parse(&document, 10);
        }

        #[test]
        fn what_is_written_is_read_back(text in "[^\u{0}-\u{8}\u{b}\u{c}\u{e}-\u{1f}\u{fffe}\u{ffff}]*") {
            let mut document = String::new();
            write_text(&mut document, "Key", &text);
            prop_assert_eq!(Element::parse(document.as_bytes(), 1).unwrap().text, text);
        }
    }
}
