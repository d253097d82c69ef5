//! A request's line, as text and as JSON, and its entry for the journal.
//!
//! Whatever a client sends, a line is one line of printable ASCII, and no value can be taken for
//! another field. The query never gets here.

mod value;

use std::borrow::Cow;

use humantime::Rfc3339Timestamp;
use percent_encoding::PercentEncode;
use serde::Serialize;

use crate::s3::Principal;
use crate::s3::encoded_key;
use crate::telemetry::record::RequestRecord;
use value::Address;
use value::Milliseconds;
use value::Shown;
use value::Text;

/// The bytes of a user agent that are shown; engines say what they are in the first half of it.
const MAX_USER_AGENT_BYTES: usize = 128;

macro_rules! line {
    ($($(#[$attribute:meta])* $field:ident: $type:ty,)*) => {
        /// The names of the fields, in the order in which they stand in a line.
        pub const FIELDS: &[&str] = &[$(stringify!($field),)*];

        /// What a line shows. Absent values are left out.
        #[derive(Debug, Serialize)]
        struct Line<'a> {
            $(#[serde(skip_serializing_if = "Option::is_none")] $field: Option<$type>,)*
        }

        impl Line<'_> {
            fn text(&self) -> String {
                let mut text = String::with_capacity(384);
                $(if let Some(value) = &self.$field {
                    push(&mut text, stringify!($field), value);
                })*
                text
            }

            fn fields(&self, entry: &mut String) {
                $(if let Some(value) = &self.$field {
                    push_field(entry, stringify!($field), value);
                })*
            }
        }
    };
}

line! {
    time: Text<Rfc3339Timestamp>,
    request_id: &'a str,
    client: Text<&'a Principal>,
    remote: Address,
    method: &'a str,
    operation: &'static str,
    bucket: &'a str,
    key: Text<PercentEncode<'a>>,
    status: u16,
    code: &'static str,
    bytes_in: u64,
    bytes_out: u64,
    duration_ms: Milliseconds,
    first_byte_ms: Milliseconds,
    origin: &'a str,
    origin_ms: Milliseconds,
    retries: u32,
    cache: &'static str,
    cache_detail: &'static str,
    bytes_memory: u64,
    bytes_disk: u64,
    bytes_origin: u64,
    origin_requests: u32,
    user_agent: Cow<'a, str>,
}

/// `name=value` pairs, separated by a space; a value is quoted when it needs to be.
pub(super) fn text(record: &RequestRecord<'_>, with_key: bool) -> String {
    line(record, with_key).text()
}

/// A JSON object.
pub(super) fn json(record: &RequestRecord<'_>, with_key: bool) -> String {
    let mut bytes = Vec::with_capacity(512);
    let mut serializer = serde_json::Serializer::with_formatter(&mut bytes, Ascii);
    line(record, with_key)
        .serialize(&mut serializer)
        .expect("strings and numbers serialize into memory");
    String::from_utf8(bytes).expect("JSON is UTF-8")
}

/// The fields of the journal's entry, a line each; the first is the line that others see.
pub(super) fn journal(record: &RequestRecord<'_>, with_key: bool, message: &str) -> String {
    let mut entry = String::with_capacity(1024);
    entry.push_str("MESSAGE=");
    entry.push_str(message);
    // Informational, as severities go in RFC 5424.
    entry.push_str("\nPRIORITY=6\nSYSLOG_IDENTIFIER=s3proxy\n");
    line(record, with_key).fields(&mut entry);
    entry
}

fn line<'a>(record: &RequestRecord<'a>, with_key: bool) -> Line<'a> {
    let key = record.key.filter(|_| with_key);
    let origin = record.origin;
    let bytes_from = record.cache.and_then(|cache| cache.bytes_from);
    Line {
        time: Some(Text(humantime::format_rfc3339_millis(record.time))),
        request_id: Some(record.request_id),
        client: record.principal.map(Text),
        remote: record.remote.map(Address),
        method: Some(record.method.as_str()),
        operation: Some(record.operation.name()),
        bucket: record.bucket.map(crate::s3::Bucket::as_str),
        key: key.map(|key| Text(encoded_key(key.as_str()))),
        status: record.status.map(|status| status.as_u16()),
        code: record.code.map(crate::s3::ErrorCode::as_str),
        bytes_in: Some(record.request_bytes),
        bytes_out: Some(record.response_bytes),
        duration_ms: Some(Milliseconds(record.duration)),
        first_byte_ms: record.first_byte.map(Milliseconds),
        origin: origin.map(|origin| origin.name),
        origin_ms: origin.map(|origin| Milliseconds(origin.time)),
        retries: origin.map(|origin| origin.retries),
        cache: record.cache.map(|cache| cache.result.as_str()),
        cache_detail: record.cache.and_then(|cache| cache.detail),
        bytes_memory: bytes_from.map(|bytes| bytes.memory),
        bytes_disk: bytes_from.map(|bytes| bytes.disk),
        bytes_origin: bytes_from.map(|bytes| bytes.origin),
        origin_requests: record.cache.map(|cache| cache.origin_requests),
        user_agent: record.user_agent.map(|agent| {
            let shown = &agent[..agent.len().min(MAX_USER_AGENT_BYTES)];
            String::from_utf8_lossy(shown)
        }),
    }
}

/// Appends `name=value`. `escape_default` leaves printable ASCII alone but for quotes and the
/// backslash, and turns everything else into `\n`, `\t`, `\r` or `\u{...}`. Most values are plain:
/// they are written once, in their place.
fn push(text: &mut String, name: &str, value: &impl Shown) {
    if !text.is_empty() {
        text.push(' ');
    }
    text.push_str(name);
    text.push('=');
    let start = text.len();
    value.show(text);
    if is_plain(&text.as_bytes()[start..]) {
        return;
    }
    if text[start..].bytes().all(is_as_it_is) {
        // As nearly every user agent.
        text.insert(start, '"');
    } else {
        let value = text.split_off(start);
        text.push('"');
        text.extend(value.escape_default());
    }
    text.push('"');
}

/// Whether a byte needs no escape between quotes.
fn is_as_it_is(byte: u8) -> bool {
    matches!(byte, b' '..=b'~') && !matches!(byte, b'"' | b'\'' | b'\\')
}

/// Whether a value needs no quotes; an empty one does.
fn is_plain(value: &[u8]) -> bool {
    !value.is_empty() && value.iter().all(|byte| PLAIN[usize::from(*byte)])
}

const PLAIN: [bool; 256] = {
    let mut plain = [false; 256];
    let mut byte = 0_u8;
    while byte < 128 {
        plain[byte as usize] = byte.is_ascii_alphanumeric();
        byte += 1;
    }
    let others = b"-._~:/@%+[]";
    let mut index = 0;
    while index < others.len() {
        plain[others[index] as usize] = true;
        index += 1;
    }
    plain
};

/// Appends a field and its line feed. The journal's own fields have other names.
fn push_field(entry: &mut String, name: &str, value: &impl Shown) {
    entry.push_str("S3PROXY_");
    entry.extend(name.chars().map(|char| char.to_ascii_uppercase()));
    entry.push('=');
    let start = entry.len();
    value.show(entry);
    if !entry[start..]
        .bytes()
        .all(|byte| (b' '..=b'~').contains(&byte))
    {
        let value = entry.split_off(start);
        entry.extend(value.escape_default());
    }
    entry.push('\n');
}

/// JSON in ASCII: line separators and direction marks beyond it would fool viewers, not parsers.
struct Ascii;

impl serde_json::ser::Formatter for Ascii {
    fn write_string_fragment<W: ?Sized + std::io::Write>(
        &mut self,
        writer: &mut W,
        fragment: &str,
    ) -> std::io::Result<()> {
        if fragment.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
            return writer.write_all(fragment.as_bytes());
        }
        for char in fragment.chars() {
            if matches!(char, ' '..='~') {
                write!(writer, "{char}")?;
            } else {
                for unit in char.encode_utf16(&mut [0; 2]) {
                    write!(writer, "\\u{unit:04x}")?;
                }
            }
        }
        Ok(())
    }
}
