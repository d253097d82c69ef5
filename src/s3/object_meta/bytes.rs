//! A meta as bytes, for the disk.
//!
//! Version, size, ETag, state of the checksums, fields, checksums; numbers are little-endian. What
//! does not fit this exactly is no meta.

use http::HeaderMap;
use http::HeaderValue;
use http::StatusCode;
use http::header;
use http::header::HeaderName;

use super::Checksums;
use super::ObjectMeta;

/// Changes with the format; whatever has another one is dropped.
const VERSION: u8 = 1;

const UNKNOWN: u8 = 0;
const KNOWN: u8 = 1;
const UNASKED: u8 = 2;

impl ObjectMeta {
    /// As bytes, about as long as the fields themselves.
    pub fn to_bytes(&self) -> Vec<u8> {
        let (state, checksums) = match &self.checksums {
            Checksums::Unknown => (UNKNOWN, None),
            Checksums::Known(given) => (KNOWN, Some(given)),
            Checksums::Unasked(given) => (UNASKED, Some(given)),
        };
        let mut bytes = vec![VERSION];
        bytes.extend(self.size.to_le_bytes());
        write(&mut bytes, self.etag.as_bytes());
        write_fields(&mut bytes, &self.fields);
        bytes.push(state);
        if let Some(checksums) = checksums {
            write_fields(&mut bytes, checksums);
        }
        bytes
    }

    /// Back from bytes, held against the same rules as an origin's answer; `None` for anything that
    /// [`Self::to_bytes`] did not write.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let mut rest = bytes;
        let version = take(&mut rest, 1)?;
        if version != [VERSION] {
            return None;
        }
        let size = u64::from_le_bytes(take(&mut rest, 8)?.try_into().ok()?);
        let etag = HeaderValue::from_bytes(read(&mut rest)?).ok()?;
        let mut headers = read_fields(&mut rest)?;
        let fields = headers.len();
        let state = take(&mut rest, 1)?;
        match *state {
            [UNKNOWN] => {}
            [KNOWN | UNASKED] => headers.extend(read_fields(&mut rest)?),
            _ => return None,
        }
        headers.insert(header::ETAG, etag);
        headers.insert(header::CONTENT_LENGTH, size.into());
        let asked = *state == [KNOWN];
        let (meta, _) = Self::from_answer(StatusCode::OK, &headers, asked).ok()?;
        let is_whole = rest.is_empty() && meta.fields.len() == fields;
        (is_whole && meta.to_bytes() == bytes).then_some(meta)
    }
}

fn write_fields(bytes: &mut Vec<u8>, fields: &HeaderMap) {
    bytes.extend(length(fields.len()));
    for (name, value) in fields {
        write(bytes, name.as_str().as_bytes());
        write(bytes, value.as_bytes());
    }
}

fn write(bytes: &mut Vec<u8>, text: &[u8]) {
    bytes.extend(length(text.len()));
    bytes.extend(text);
}

/// Fields are bounded to 32 KiB altogether when they are learned.
fn length(length: usize) -> [u8; 2] {
    u16::try_from(length).unwrap_or(u16::MAX).to_le_bytes()
}

fn read_fields(rest: &mut &[u8]) -> Option<HeaderMap> {
    let mut fields = HeaderMap::new();
    for _ in 0..read_length(rest)? {
        let name = HeaderName::from_bytes(read(rest)?).ok()?;
        let value = HeaderValue::from_bytes(read(rest)?).ok()?;
        fields.append(name, value);
    }
    Some(fields)
}

fn read<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = read_length(rest)?;
    take(rest, length)
}

fn read_length(rest: &mut &[u8]) -> Option<usize> {
    let length = take(rest, 2)?.try_into().ok()?;
    Some(usize::from(u16::from_le_bytes(length)))
}

fn take<'a>(rest: &mut &'a [u8], count: usize) -> Option<&'a [u8]> {
    let (taken, left) = rest.split_at_checked(count)?;
    *rest = left;
    Some(taken)
}
