//! What a relayed store was asked, by kind of request, and how many bytes of body went each way.

use std::array;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};

/// What a request is, as far as path-style requests of S3 tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Head,
    /// GET of a part of an object.
    RangedGet,
    /// GET of an object.
    Get,
    /// GET of a bucket, which above all lists it.
    List,
    /// GET of the store itself: its buckets, or whether it is there at all, as the proxy asks now and then.
    Service,
    Other,
}

const KINDS: [(Kind, &str); 6] = [
    (Kind::Head, "head"),
    (Kind::RangedGet, "ranged_get"),
    (Kind::Get, "get"),
    (Kind::List, "list"),
    (Kind::Service, "service"),
    (Kind::Other, "other"),
];

/// Counters since the start or the last reset.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    /// In the order of `KINDS`.
    requests: [AtomicU64; KINDS.len()],
    connections: AtomicU64,
    downloaded: AtomicU64,
    uploaded: AtomicU64,
}

impl Kind {
    /// Of a request line and of whether a field `Range` follows it.
    pub(crate) fn of(method: &str, target: &str, has_range: bool) -> Self {
        let (bucket, key) = bucket_and_key(target);
        match method {
            "HEAD" => Self::Head,
            "GET" if bucket.is_empty() => Self::Service,
            "GET" if key.is_empty() => Self::List,
            "GET" if has_range => Self::RangedGet,
            "GET" => Self::Get,
            _ => Self::Other,
        }
    }
}

fn bucket_and_key(target: &str) -> (&str, &str) {
    let path = target.split('?').next().unwrap_or_default();
    let path = match path.split_once("://") {
        Some((_, rest)) => rest.find('/').map_or("", |slash| &rest[slash..]),
        None => path,
    };
    let path = path.trim_start_matches('/');
    path.split_once('/').unwrap_or((path, ""))
}

impl Counters {
    pub(crate) fn connected(&self) {
        self.connections.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn asked(&self, kind: Kind) {
        if let Some(index) = KINDS.iter().position(|(known, _)| *known == kind) {
            self.requests[index].fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Adds bytes of the body of an answer.
    pub(crate) fn downloaded(&self, bytes: u64) {
        self.downloaded.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Adds bytes of the body of a request.
    pub(crate) fn uploaded(&self, bytes: u64) {
        self.uploaded.fetch_add(bytes, Ordering::Relaxed);
    }

    /// One flat JSON object: `requests` and `bytes` are the sums, as the embedded origin names them.
    pub(crate) fn to_json(&self) -> String {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let requests: [u64; KINDS.len()] = array::from_fn(|index| load(&self.requests[index]));
        let mut text = format!(
            "{{\"requests\":{},\"bytes\":{}",
            requests.iter().sum::<u64>(),
            load(&self.downloaded)
        );
        for ((_, name), count) in KINDS.iter().zip(requests) {
            let _ = write!(text, ",\"{name}\":{count}");
        }
        let (uploaded, connections) = (load(&self.uploaded), load(&self.connections));
        let _ = writeln!(
            text,
            ",\"uploaded_bytes\":{uploaded},\"connections\":{connections}}}"
        );
        text
    }

    pub(crate) fn reset(&self) {
        let sums = [&self.connections, &self.downloaded, &self.uploaded];
        for counter in self.requests.iter().chain(sums) {
            counter.store(0, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_told_apart_by_method_key_and_range() {
        let cases = [
            ("HEAD", "/lake/a.parquet", true, Kind::Head),
            ("GET", "/lake/a.parquet", true, Kind::RangedGet),
            ("GET", "/lake/a/b.parquet?x-id=GetObject", false, Kind::Get),
            ("GET", "http://s3:1/lake/a", false, Kind::Get),
            ("GET", "/lake?list-type=2&prefix=a/b", false, Kind::List),
            ("GET", "/lake/?list-type=2", false, Kind::List),
            ("GET", "http://s3:1/lake", false, Kind::List),
            ("GET", "/", false, Kind::Service),
            ("GET", "/?x-id=ListBuckets", false, Kind::Service),
            ("PUT", "/lake/a.parquet", false, Kind::Other),
            ("POST", "/lake?delete", false, Kind::Other),
        ];
        for (method, target, has_range, kind) in cases {
            assert_eq!(
                Kind::of(method, target, has_range),
                kind,
                "{method} {target}"
            );
        }
    }

    #[test]
    fn a_reset_leaves_nothing() {
        let counters = Counters::default();
        let fresh = counters.to_json();
        counters.connected();
        counters.asked(Kind::List);
        counters.downloaded(7);
        counters.uploaded(8);
        assert_eq!(
            counters.to_json(),
            "{\"requests\":1,\"bytes\":7,\"head\":0,\"ranged_get\":0,\"get\":0,\"list\":1,\
             \"service\":0,\"other\":0,\"uploaded_bytes\":8,\"connections\":1}\n"
        );
        counters.reset();
        assert_eq!(counters.to_json(), fresh);
    }
}
