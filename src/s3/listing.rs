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

/// A page that is to be followed by others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListPage {
    /// The objects on it.
    pub objects: Vec<ListedObject>,
    /// What to ask for the next one with; `None` on the last.
    pub continuation_token: Option<String>,
}

/// A page of ListObjectsV2; `None` when it is something else or not well formed.
pub fn list_page(page: &[u8]) -> Option<ListPage> {
    let page = read_page(page)?;
    let token = Some(page.token.clone()).filter(|token| page.is_truncated && !token.is_empty());
    Some(ListPage {
        continuation_token: token,
        objects: page.listed(),
    })
}

/// What has been read of a page.
#[derive(Default)]
struct Page {
    is_truncated: bool,
    token: String,
    objects: Vec<RawObject>,
    is_encoded: bool,
    /// Elements that are open.
    depth: usize,
    /// Whether the one below the root is `Contents`.
    is_in_object: bool,
    /// What the open element holds, when that is of interest.
    field: Option<Field>,
    /// Its text so far.
    text: String,
}

#[derive(Default)]
struct RawObject {
    key: String,
    size: String,
    etag: String,
    last_modified: String,
}

#[derive(Clone, Copy)]
enum Field {
    Encoding,
    Truncated,
    Token,
    Key,
    Size,
    ETag,
    LastModified,
}

fn read(page: &[u8]) -> Option<Vec<ListedObject>> {
    read_page(page).map(Page::listed)
}

fn read_page(page: &[u8]) -> Option<Page> {
    let text = std::str::from_utf8(page).ok()?;
    let mut reader = Reader::from_str(text.trim_start_matches('\u{feff}'));
    let mut page = Page::default();
    let mut is_closed = false;
    loop {
        match reader.read_event().ok()? {
            Event::Start(_) | Event::Empty(_) if is_closed => return None,
            Event::Start(start) => page.begin(start.local_name().as_ref())?,
            Event::End(_) => {
                page.end()?;
                is_closed = page.depth == 0;
            }
            Event::Empty(_) if page.depth == 0 => return None,
            Event::Text(piece) if page.field.is_some() => page.append(&piece.xml10_content())?,
            Event::CData(piece) if page.field.is_some() => page.append(&piece.xml10_content())?,
            Event::GeneralRef(entity) => match entity.resolve_char_ref().ok()? {
                Some(character) => page.append(character.encode_utf8(&mut [0; 4]))?,
                None => page.append(resolve_predefined_entity(&entity)?)?,
            },
            Event::Empty(_)
            | Event::Text(_)
            | Event::CData(_)
            | Event::Decl(_)
            | Event::Comment(_) => {}
            Event::DocType(_) | Event::PI(_) => return None,
            Event::Eof => return is_closed.then_some(page),
        }
    }
}

impl Page {
    fn begin(&mut self, element: &str) -> Option<()> {
        self.field = match (self.depth, element) {
            (0, "ListBucketResult") => None,
            (0 | MAX_DEPTH.., _) => return None,
            (1, "Contents") => {
                if self.objects.len() == MAX_OBJECTS {
                    return None;
                }
                self.objects.push(RawObject::default());
                None
            }
            (1, "EncodingType") => Some(Field::Encoding),
            (1, "IsTruncated") => Some(Field::Truncated),
            (1, "NextContinuationToken") => Some(Field::Token),
            (2, "Key") if self.is_in_object => Some(Field::Key),
            (2, "Size") if self.is_in_object => Some(Field::Size),
            (2, "ETag") if self.is_in_object => Some(Field::ETag),
            (2, "LastModified") if self.is_in_object => Some(Field::LastModified),
            _ => None,
        };
        if self.depth == 1 {
            self.is_in_object = element == "Contents";
        }
        self.depth += 1;
        self.text.clear();
        Some(())
    }

    /// A longer text is of no interest, and neither is the page that has it.
    fn append(&mut self, piece: &str) -> Option<()> {
        if self.field.is_some() {
            (self.text.len() + piece.len() <= MAX_TEXT).then(|| self.text.push_str(piece))
        } else {
            Some(())
        }
    }

    fn end(&mut self) -> Option<()> {
        self.depth = self.depth.checked_sub(1)?;
        let text = self.text.as_str();
        match (self.field.take(), self.objects.last_mut()) {
            (None, _) => {}
            (Some(Field::Encoding), _) => self.is_encoded = text == "url",
            (Some(Field::Truncated), _) => self.is_truncated = text == "true",
            (Some(Field::Token), _) => text.clone_into(&mut self.token),
            (Some(Field::Key), Some(object)) => text.clone_into(&mut object.key),
            (Some(Field::Size), Some(object)) => text.clone_into(&mut object.size),
            (Some(Field::ETag), Some(object)) => text.clone_into(&mut object.etag),
            (Some(Field::LastModified), Some(object)) => text.clone_into(&mut object.last_modified),
            (Some(_), None) => return None,
        }
        Some(())
    }

    fn listed(self) -> Vec<ListedObject> {
        let is_encoded = self.is_encoded;
        let objects = self.objects.into_iter();
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::s3::xml;

    /// The example of the API reference, shortened.
    const PAGE: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">
    <Name>bucket</Name>
    <Prefix/>
    <KeyCount>2</KeyCount>
    <MaxKeys>1000</MaxKeys>
    <IsTruncated>false</IsTruncated>
    <Contents>
        <Key>my&#45;image.jpg</Key>
        <LastModified>2009-10-12T17:50:30.500Z</LastModified>
        <ETag>&quot;fba9dede5f27731c9771645a39863328&quot;</ETag>
        <Size>434234</Size>
        <StorageClass>STANDARD</StorageClass>
        <Owner><ID>8a69</ID><DisplayName>owner</DisplayName></Owner>
    </Contents>
    <Contents>
        <Key>a+b%20c</Key>
        <LastModified>soon</LastModified>
        <ETag>"d41d8cd98f00b204e9800998ecf8427e"</ETag>
        <Size>0</Size>
    </Contents>
    <CommonPrefixes><Prefix>photos/</Prefix></CommonPrefixes>
</ListBucketResult>"#;

    fn keys(page: &str) -> Vec<String> {
        listed_objects(page.as_bytes())
            .into_iter()
            .map(|object| object.key.as_str().to_owned())
            .collect()
    }

    #[test]
    fn a_page_is_read() {
        let objects = listed_objects(PAGE.as_bytes());
        assert_eq!(keys(PAGE), ["my-image.jpg", "a+b%20c"]);
        assert_eq!((objects[0].size, objects[1].size), (434_234, 0));
        let etag = objects[0].etag.as_str();
        assert_eq!(etag, "\"fba9dede5f27731c9771645a39863328\"");
        let modified = httpdate::parse_http_date("Mon, 12 Oct 2009 17:50:30 GMT").unwrap();
        assert_eq!(objects[0].last_modified, Some(modified));
        assert_eq!(objects[1].last_modified, None);
    }

    #[test]
    fn a_page_says_how_the_next_one_is_asked_for() {
        let page = |text: &str| list_page(text.as_bytes()).unwrap();
        assert_eq!(page(PAGE).continuation_token, None);
        assert_eq!(page(PAGE).objects.len(), 2);
        let token = "<NextContinuationToken>1ueG&amp;c=</NextContinuationToken><Name>";
        let unfinished = PAGE.replace("<Name>", token);
        assert_eq!(page(&unfinished).continuation_token, None);
        let truncated = unfinished.replace("false</IsT", "true</IsT");
        let next = page(&truncated).continuation_token;
        assert_eq!(next.as_deref(), Some("1ueG&c="));
        assert_eq!(list_page(b"<Error/>"), None);
    }

    #[test]
    fn keys_are_decoded_when_the_page_says_so() {
        let encoding = "<EncodingType>url</EncodingType>";
        for place in ["<Name>bucket</Name>", "</ListBucketResult>"] {
            let page = PAGE.replace(place, &format!("{encoding}{place}"));
            assert_eq!(keys(&page), ["my-image.jpg", "a b c"]);
        }
        let page = PAGE
            .replace("<Name>", &format!("{encoding}<Name>"))
            .replace("a+b%20c", "%C3%BC%2B%252B");
        assert_eq!(keys(&page), ["my-image.jpg", "ü+%2B"]);
        let other = PAGE.replace("<Name>", "<EncodingType>other</EncodingType><Name>");
        assert_eq!(keys(&other), ["my-image.jpg", "a+b%20c"]);
    }

    #[test]
    fn an_object_that_is_not_told_whole_is_left_out() {
        for (from, to) in [
            ("<Size>434234</Size>", ""),
            ("<Size>434234</Size>", "<Size>-1</Size>"),
            ("<Size>434234</Size>", "<Size/>"),
            ("&quot;fba9dede5f27731c9771645a39863328&quot;", ""),
            ("&quot;fba9", "W/&quot;fba9"),
            ("my&#45;image.jpg", ""),
            ("<Key>my&#45;image.jpg</Key>", "<Owner><Key>a</Key></Owner>"),
        ] {
            assert_eq!(keys(&PAGE.replace(from, to)), ["a+b%20c"], "{to}");
        }
        let bare = PAGE.replace("&quot;", "");
        assert_eq!(listed_objects(bare.as_bytes())[0].etag.as_str().len(), 34);
    }

    #[test]
    fn only_objects_have_keys() {
        let page = PAGE.replace("<Prefix>photos/</Prefix>", "<Key>photos/</Key>");
        assert_eq!(keys(&page), ["my-image.jpg", "a+b%20c"]);
    }

    #[test]
    fn what_is_no_page_teaches_nothing() {
        let cut = &PAGE[..PAGE.len() - 3];
        let twice = format!("{PAGE}{PAGE}");
        let other = PAGE.replace("ListBucketResult", "ListVersionsResult");
        let wrapped = format!("<a>{}</a>", PAGE.split_once("?>").unwrap().1);
        let doctype = PAGE.replacen("<ListB", "<!DOCTYPE a [<!ENTITY x 'y'>]><ListB", 1);
        let entity = PAGE.replace("&#45;", "&x;");
        let crossed = PAGE.replacen("</Key>", "</Kez>", 1);
        let deep = PAGE.replace("soon", &format!("{}{}", "<a>".repeat(9), "</a>".repeat(9)));
        let many = PAGE.replace(
            "<CommonPrefixes>",
            &format!("{}<CommonPrefixes>", "<Contents></Contents>".repeat(10_000)),
        );
        let long = PAGE.replace("my&#45;", &"k".repeat(4096));
        for page in [
            "", "text", cut, &twice, &other, &wrapped, &doctype, &entity, &crossed, &deep, &many,
            &long,
        ] {
            assert_eq!(keys(page), [""; 0], "{page:.300}");
        }
        assert!(listed_objects(b"\xff").is_empty());
    }

    #[test]
    fn a_whole_page_of_s3_is_read() {
        let contents = "<Contents><Key>k</Key><Size>1</Size><ETag>\"e\"</ETag></Contents>";
        let contents = contents.repeat(1000);
        let page = format!("<ListBucketResult>{contents}</ListBucketResult>");
        assert_eq!(listed_objects(page.as_bytes()).len(), 1000);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read(page in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = listed_objects(&page);
        }

        #[test]
        fn a_damaged_page_is_read(at in any::<prop::sample::Index>(), byte in any::<u8>()) {
            let mut page = PAGE.as_bytes().to_vec();
            let at = at.index(page.len());
            page[at] = byte;
            let _ = listed_objects(&page);
        }

        #[test]
        fn keys_come_back(names in prop::collection::vec("[^\u{0}-\u{8}\u{b}\u{c}\u{e}-\u{1f}\u{fffe}\u{ffff}]{1,20}", 0..10), is_encoded in any::<bool>()) {
            let mut page = String::from("<ListBucketResult>");
            for name in &names {
                page.push_str("<Contents>");
                let written = if is_encoded {
                    crate::s3::encode_key(name).replace("%20", "+")
                } else {
                    name.clone()
                };
                xml::write_text(&mut page, "Key", &written);
                xml::write_text(&mut page, "ETag", "\"e\"");
                xml::write_text(&mut page, "Size", "1");
                page.push_str("</Contents>");
            }
            if is_encoded {
                xml::write_text(&mut page, "EncodingType", "url");
            }
            page.push_str("</ListBucketResult>");
            prop_assert_eq!(keys(&page), names);
        }
    }
}
