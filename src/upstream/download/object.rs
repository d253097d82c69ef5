//! What is asked of an origin about one object's bytes: GET or HEAD, with range and preconditions.

use std::ops::Range;

use http::HeaderMap;
use http::HeaderValue;
use http::Method;
use http::header;
use tokio::sync::watch;

use crate::s3::Bucket;
use crate::s3::CHECKSUM_MODE;
use crate::s3::Credentials;
use crate::s3::ETag;
use crate::s3::Key;
use crate::s3::Operation;
use crate::s3::Request;

/// Which bytes of an object are asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AskedRange {
    /// From the first to before the last. Not empty; an empty one asks for its first byte.
    Interval(Range<u64>),
    /// So many from the end.
    Suffix(u64),
}

/// Who gets a connection first when there are few.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Priority {
    /// A client waits for the bytes.
    #[default]
    Demand,
    /// Nobody waits yet. At most half of the connections are used for such.
    Prefetch,
}

/// Tells a prefetch that somebody waits for it by now.
#[derive(Debug, Default)]
pub struct Awaited(watch::Sender<bool>);

impl Awaited {
    /// From now on. Costs little when it was said before.
    pub fn say(&self) {
        self.0
            .send_if_modified(|is_awaited| !std::mem::replace(is_awaited, true));
    }

    /// Returns when it is said.
    pub(super) async fn said(&self) {
        // The other half is here: it cannot be closed.
        let _ = self.0.subscribe().wait_for(|is_awaited| *is_awaited).await;
    }
}

/// A read of one object.
#[derive(Clone)]
pub struct ObjectAsk<'a> {
    /// Its bucket.
    pub bucket: &'a Bucket,
    /// Its key.
    pub key: &'a Key,
    /// Whether only the head is wanted.
    pub is_head: bool,
    /// Which bytes; all of them when absent.
    pub range: Option<AskedRange>,
    /// Answer 412 unless the object is this version.
    pub if_match: Option<&'a ETag>,
    /// Answer 304 if the object is this version.
    pub if_none_match: Option<&'a ETag>,
    /// Whether the answer shall name the object's checksums.
    pub checksum_mode: bool,
    /// Whose name it is signed in; the origin's own when absent.
    pub own: Option<&'a Credentials>,
    /// How urgent it is.
    pub priority: Priority,
    /// What makes a prefetch as urgent as demand, when that may happen while it waits for its turn.
    pub awaited: Option<&'a Awaited>,
}

impl<'a> ObjectAsk<'a> {
    /// All bytes, whatever the version.
    pub fn get(bucket: &'a Bucket, key: &'a Key) -> Self {
        Self {
            bucket,
            key,
            is_head: false,
            range: None,
            if_match: None,
            if_none_match: None,
            checksum_mode: false,
            own: None,
            priority: Priority::Demand,
            awaited: None,
        }
    }

    /// The head only.
    pub fn head(bucket: &'a Bucket, key: &'a Key) -> Self {
        Self {
            is_head: true,
            ..Self::get(bucket, key)
        }
    }

    /// What metrics call it.
    pub fn operation(&self) -> Operation {
        if self.is_head {
            Operation::HeadObject
        } else {
            Operation::GetObject
        }
    }

    pub(super) fn method(&self) -> Method {
        if self.is_head {
            Method::HEAD
        } else {
            Method::GET
        }
    }

    /// The request as a client's would be classified.
    pub(super) fn request(&self) -> Request {
        let (bucket, key) = (self.bucket.clone(), self.key.clone());
        Request::own(self.operation(), Some(bucket), Some(key))
    }

    /// The fields as a client would send them.
    pub(super) fn fields(&self) -> HeaderMap {
        let mut fields = HeaderMap::with_capacity(4);
        let range = self.range.as_ref().map(AskedRange::to_field);
        for (name, text) in [
            (header::RANGE, range.as_deref()),
            (header::IF_MATCH, self.if_match.map(ETag::as_str)),
            (header::IF_NONE_MATCH, self.if_none_match.map(ETag::as_str)),
        ] {
            // Numbers, and ETags, which are visible ASCII.
            if let Some(value) = text.and_then(|text| HeaderValue::from_str(text).ok()) {
                fields.insert(name, value);
            }
        }
        if self.checksum_mode {
            fields.insert(&CHECKSUM_MODE, HeaderValue::from_static("ENABLED"));
        }
        fields
    }
}

impl AskedRange {
    fn to_field(&self) -> String {
        match self {
            Self::Interval(interval) => {
                let last = interval.end.saturating_sub(1).max(interval.start);
                format!("bytes={}-{last}", interval.start)
            }
            Self::Suffix(length) => format!("bytes=-{length}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range_of(range: AskedRange) -> String {
        let (bucket, key) = (Bucket::new("lake").unwrap(), Key::new("a").unwrap());
        let mut ask = ObjectAsk::get(&bucket, &key);
        ask.range = Some(range);
        ask.fields()["range"].to_str().unwrap().to_owned()
    }

    #[test]
    fn ranges_are_written_with_their_last_byte() {
        assert_eq!(range_of(AskedRange::Interval(0..1)), "bytes=0-0");
        assert_eq!(range_of(AskedRange::Interval(7..20)), "bytes=7-19");
        assert_eq!(range_of(AskedRange::Suffix(8)), "bytes=-8");
        // An inverted range would be ignored by the origin, which then sends the whole object.
        assert_eq!(range_of(AskedRange::Interval(7..7)), "bytes=7-7");
    }

    #[test]
    fn fields_say_what_is_asked_and_no_more() {
        let (bucket, key) = (Bucket::new("lake").unwrap(), Key::new("a").unwrap());
        assert!(ObjectAsk::get(&bucket, &key).fields().is_empty());
        let etag = ETag::parse("\"e\"").unwrap();
        let ask = ObjectAsk {
            if_match: Some(&etag),
            if_none_match: Some(&etag),
            checksum_mode: true,
            ..ObjectAsk::head(&bucket, &key)
        };
        let fields = ask.fields();
        assert_eq!(fields.len(), 3);
        assert_eq!(fields["if-match"], "\"e\"");
        assert_eq!(fields["if-none-match"], "\"e\"");
        assert_eq!(fields["x-amz-checksum-mode"], "ENABLED");
    }
}
