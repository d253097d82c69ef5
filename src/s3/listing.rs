//! A page of ListObjects, read for what it says about objects while it passes.
//!
//! Nothing depends on it: what cannot be read teaches nothing.
//! <https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListObjectsV2.html>

use std::time::Duration;
use std::time::SystemTime;
use std::time::UNIX_EPOCH;

use percent_encoding::percent_decode;
use quick_xml::Reader;
use quick_xml::escape::resolve_predefined_entity;
use quick_xml::events::Event;

use super::ETag;
use super::Key;
use super::byte_range::exact;

/// Objects read of one page; S3's own are not longer than 1,000.
const MAX_OBJECTS: usize = 10_000;

/// No such page is nested deeper.
const MAX_DEPTH: usize = 8;

/// The longest text of interest: a key of 1,024 bytes, each percent-encoded.
const MAX_TEXT: usize = 3 * 1024;

/// An object as a page lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedObject {
    /// Its key.
    pub key: Key,
    /// Its complete length.
    pub size: u64,
    /// Its ETag.
    pub etag: ETag,
    /// When it was written, in whole seconds, as fields have it.
    pub last_modified: Option<SystemTime>,
}

/// The objects of a page. None when the page is something else or not well formed.
pub fn listed_objects(page: &[u8]) -> Vec<ListedObject> {
    read(page).unwrap_or_default()
}

#[derive(Default)]
struct Page {
    raw: Vec<RawObject>,
    is_encoded: bool,
}

#[derive(Default)]
struct RawObject {
    key: String,
    size: String,
    etag: String,
    last_modified: String,
}

fn read(page: &[u8]) -> Option<Vec<ListedObject>> {
    let text = std::str::from_utf8(page).ok()?;
    let mut reader = Reader::from_str(text.trim_start_matches('\u{feff}'));
    let mut listing = Page::default();
    let mut open: Vec<String> = Vec::new();
    let mut text = String::new();
    let mut is_closed = false;
    loop {
        match reader.read_event().ok()? {
            Event::Start(start) => {
                text.clear();
                if is_closed || open.len() == MAX_DEPTH {
                    return None;
                }
                open.push(start.local_name().as_ref().to_owned());
                listing.begin(&open)?;
            }
            Event::End(_) => {
                listing.end(&open, &mut text);
                open.pop()?;
                is_closed = open.is_empty();
            }
            Event::Empty(_) if is_closed || open.is_empty() => return None,
            Event::Text(piece) => append(&mut text, &piece.xml10_content())?,
            Event::CData(piece) => append(&mut text, &piece.xml10_content())?,
            Event::GeneralRef(entity) => match entity.resolve_char_ref().ok()? {
                Some(character) => append(&mut text, character.encode_utf8(&mut [0; 4]))?,
                None => append(&mut text, resolve_predefined_entity(&entity)?)?,
            },
            Event::Empty(_) | Event::Decl(_) | Event::Comment(_) => {}
            Event::DocType(_) | Event::PI(_) => return None,
            Event::Eof if is_closed => break,
            Event::Eof => return None,
        }
    }
    Some(listing.objects())
}

/// Only what is of interest is as short as this; white space between elements is shorter still.
fn append(text: &mut String, piece: &str) -> Option<()> {
    (text.len() + piece.len() <= MAX_TEXT).then(|| text.push_str(piece))
}

impl Page {
    fn begin(&mut self, open: &[String]) -> Option<()> {
        match open {
            [root] if root != "ListBucketResult" => return None,
            [_, element] if element == "Contents" => {
                if self.raw.len() == MAX_OBJECTS {
                    return None;
                }
                self.raw.push(RawObject::default());
            }
            _ => {}
        }
        Some(())
    }

    fn end(&mut self, open: &[String], text: &mut String) {
        match open {
            [_, element] if element == "EncodingType" => self.is_encoded = text == "url",
            [_, contents, element] if contents == "Contents" => {
                let Some(object) = self.raw.last_mut() else {
                    return;
                };
                let field = match element.as_str() {
                    "Key" => &mut object.key,
                    "Size" => &mut object.size,
                    "ETag" => &mut object.etag,
                    "LastModified" => &mut object.last_modified,
                    _ => return,
                };
                *field = std::mem::take(text);
            }
            _ => {}
        }
    }

    fn objects(self) -> Vec<ListedObject> {
        let is_encoded = self.is_encoded;
        let objects = self.raw.into_iter();
        objects
            .filter_map(|object| object.read(is_encoded))
            .collect()
    }
}

impl RawObject {
    fn read(self, is_encoded: bool) -> Option<ListedObject> {
        let key = if is_encoded {
            // As in forms: a space may be a plus, and a plus never is one.
            let spaced = self.key.replace('+', " ");
            let decoded = percent_decode(spaced.as_bytes()).decode_utf8().ok()?;
            Key::new(&decoded).ok()?
        } else {
            Key::new(&self.key).ok()?
        };
        if self.etag.is_empty() {
            return None;
        }
        let etag = ETag::parse(&self.etag).or_else(|| ETag::parse(&format!("\"{}\"", self.etag)));
        Some(ListedObject {
            key,
            size: exact(&self.size)?,
            etag: etag.filter(|etag| !etag.is_weak())?,
            last_modified: date(&self.last_modified),
        })
    }
}

fn date(text: &str) -> Option<SystemTime> {
    let time = humantime::parse_rfc3339(text).ok()?;
    let seconds = time.duration_since(UNIX_EPOCH).ok()?.as_secs();
    Some(UNIX_EPOCH + Duration::from_secs(seconds))
}
