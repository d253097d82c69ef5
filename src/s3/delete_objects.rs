//! The body of DeleteObjects.
//! <https://docs.aws.amazon.com/AmazonS3/latest/API/API_DeleteObjects.html>
//!
//! It is read here and written anew, so that the keys that were authorized are the keys that the
//! origin sees, however it would have read the client's document.

use super::ErrorCode;
use super::names::Key;
use super::xml;
use super::xml::Element;

/// Objects in one request, at most.
const MAX_OBJECTS: usize = 1000;

/// Elements of a document with that many objects: the object and at most five fields.
const MAX_ELEMENTS: usize = MAX_OBJECTS * 6 + 2;

/// Fields of an object besides its key, all handed on as they are.
const FIELDS: &[&str] = &["VersionId", "ETag", "LastModifiedTime", "Size"];

/// The objects to delete.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeleteObjects {
    /// In the order given.
    pub objects: Vec<DeleteObject>,
    /// Only failures are answered.
    pub quiet: bool,
}

/// One object to delete.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeleteObject {
    /// Its key.
    pub key: Key,
    /// Other fields by name.
    fields: Vec<(&'static str, String)>,
}

impl DeleteObject {
    /// Whether a version is named, which needs a grant of its own.
    pub fn names_version(&self) -> bool {
        self.fields.iter().any(|(name, _)| *name == "VersionId")
    }
}

impl DeleteObjects {
    /// Reads a body. Anything that the schema does not have is refused, not skipped.
    pub fn parse(body: &[u8]) -> Result<Self, ErrorCode> {
        let malformed = ErrorCode::MalformedXML;
        let root = Element::parse(body, MAX_ELEMENTS).map_err(|_| malformed)?;
        if root.name != "Delete" {
            return Err(malformed);
        }
        let mut request = Self {
            objects: Vec::new(),
            quiet: false,
        };
        for child in &root.children {
            match child.name.as_str() {
                "Object" => request.objects.push(object(child)?),
                "Quiet" => request.quiet = child.text.trim().eq_ignore_ascii_case("true"),
                _ => return Err(malformed),
            }
        }
        let count = request.objects.len();
        if (1..=MAX_OBJECTS).contains(&count) {
            Ok(request)
        } else {
            Err(malformed)
        }
    }

    /// The document as it goes to the origin.
    pub fn to_xml(&self) -> String {
        let mut document = format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Delete xmlns=\"{}\">",
            xml::NAMESPACE
        );
        for object in &self.objects {
            document.push_str("<Object>");
            xml::write_text(&mut document, "Key", object.key.as_str());
            for (name, value) in &object.fields {
                xml::write_text(&mut document, name, value);
            }
            document.push_str("</Object>");
        }
        if self.quiet {
            xml::write_text(&mut document, "Quiet", "true");
        }
        document.push_str("</Delete>");
        document
    }
}

fn object(element: &Element) -> Result<DeleteObject, ErrorCode> {
    let mut key = None;
    let mut fields: Vec<(&'static str, String)> = Vec::new();
    for child in &element.children {
        // A character reference can name what no document can hold: another object would be deleted.
        if !child.children.is_empty() || !xml::can_hold(&child.text) {
            return Err(ErrorCode::MalformedXML);
        }
        if child.name == "Key" && key.is_none() {
            key = Some(Key::new(&child.text)?);
        } else {
            let name = FIELDS.iter().find(|name| **name == child.name);
            let name = *name.ok_or(ErrorCode::MalformedXML)?;
            if fields.iter().any(|(known, _)| *known == name) {
                return Err(ErrorCode::MalformedXML);
            }
            fields.push((name, child.text.clone()));
        }
    }
    Ok(DeleteObject {
        key: key.ok_or(ErrorCode::MalformedXML)?,
        fields,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_read_and_written_anew() {
        let body = b"<Delete><Object><Key>a &amp; b</Key><VersionId>v1</VersionId></Object>\
                     <Object><Key>c&#10;d</Key></Object><Quiet>true</Quiet></Delete>";
        let request = DeleteObjects::parse(body).unwrap();
        assert_eq!(request.objects[0].key.as_str(), "a & b");
        assert!(request.objects[0].names_version());
        assert_eq!(request.objects[1].key.as_str(), "c\nd");
        assert!(request.quiet);
        assert_eq!(
            DeleteObjects::parse(request.to_xml().as_bytes()),
            Ok(request)
        );
    }

    #[test]
    fn ambiguous_bodies_are_refused() {
        for body in [
            "<Delete/>",
            "<Delete><Object/></Delete>",
            "<Delete><Object><Key></Key></Object></Delete>",
            "<Delete><Object><Key>a</Key><Key>b</Key></Object></Delete>",
            "<Delete><Object><Key>a</Key><Prefix>b</Prefix></Object></Delete>",
            "<Delete><Object><Key>a</Key><VersionId>1</VersionId><VersionId>2</VersionId></Object></Delete>",
            "<Delete><Object><Key>a&#1;</Key></Object></Delete>",
            "<Delete><Object><Key>a</Key><VersionId>&#xFFFF;</VersionId></Object></Delete>",
            "<Delete><Objects><Key>a</Key></Objects></Delete>",
            "<Remove><Object><Key>a</Key></Object></Remove>",
        ] {
            assert!(DeleteObjects::parse(body.as_bytes()).is_err(), "{body}");
        }
        let object = "<Object><Key>a</Key></Object>";
        let full = format!("<Delete>{}</Delete>", object.repeat(MAX_OBJECTS));
        assert!(DeleteObjects::parse(full.as_bytes()).is_ok());
        let over = format!("<Delete>{}</Delete>", object.repeat(MAX_OBJECTS + 1));
        assert_eq!(
            DeleteObjects::parse(over.as_bytes()),
            Err(ErrorCode::MalformedXML)
        );
    }
}
