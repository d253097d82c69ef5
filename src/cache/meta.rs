//! What is known of objects, in memory: metas, 404s, and what pages of ListObjects said.
//!
//! Everything carries the generation in which it was asked for. What was asked for before the last
//! write that we know of is handed out as outdated: good to validate with, never to answer from.

use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use http::HeaderMap;
use http::StatusCode;
use moka::ops::compute::Op;
use moka::sync::Cache;

use super::Generation;
use super::Generations;
use super::ObjectName;
use super::ObjectVersion;
use crate::s3::ETag;
use crate::s3::ListedObject;
use crate::s3::NotCacheable;
use crate::s3::ObjectMeta;
use crate::s3::kept_fields;
use crate::s3::xml::Element;

/// Of the memory for metas, what listings may take: a page of a bucket that nobody reads from must
/// not push out what is read.
const LISTED_SHARE: u64 = 8;

/// The longest body of a 404 that is kept; S3's have about 300 bytes.
const MAX_ABSENT_BODY: usize = 4 << 10;

/// Elements of an error document, at most.
const MAX_ELEMENTS: usize = 32;

/// What an entry takes besides what it holds: names, hash table, queues of the policy.
const ENTRY_OVERHEAD: usize = 384;

/// A meta and when it was true.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CachedMeta {
    /// The meta.
    pub meta: ObjectMeta,
    /// The version of the object that it is about.
    pub version: Arc<ObjectVersion>,
    /// When it was asked for.
    pub learned: SystemTime,
    /// The object's generation before it was asked for.
    pub generation: Generation,
}

/// A 404 and when it was true.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AbsentObject {
    /// 404.
    pub status: StatusCode,
    /// The fields that describe the answer.
    pub fields: HeaderMap,
    /// The error document; `None` when it was learned from a HEAD, and then good for HEADs only.
    pub body: Option<Bytes>,
    /// When it was asked for.
    pub learned: SystemTime,
    /// The object's generation before it was asked for.
    pub generation: Generation,
}

/// What a page of ListObjects said of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeededMeta {
    /// Its complete length.
    pub size: u64,
    /// Its ETag.
    pub etag: ETag,
    /// When it was written.
    pub last_modified: Option<SystemTime>,
    /// When the page was asked for.
    pub learned: SystemTime,
    /// The object's generation before the page was asked for.
    pub generation: Generation,
}

/// What is known of an object.
#[derive(Debug, Clone)]
pub enum Known {
    /// Its meta. Fresh or not is for [`super::judge`] to say.
    Meta(Arc<CachedMeta>),
    /// A meta from before a write: to validate with, not to answer from.
    Outdated(Arc<CachedMeta>),
    /// That there was none.
    Absent(Arc<AbsentObject>),
}

/// All that is known of objects; bounded.
pub struct Metas {
    known: Cache<ObjectName, Entry>,
    listed: Cache<ObjectName, Arc<SeededMeta>>,
    generations: Arc<Generations>,
}

#[derive(Clone)]
enum Entry {
    Meta(Arc<CachedMeta>),
    Absent(Arc<AbsentObject>),
}

impl CachedMeta {
    /// A meta of this object.
    pub fn new(
        name: ObjectName,
        meta: ObjectMeta,
        learned: SystemTime,
        generation: Generation,
    ) -> Self {
        let version = ObjectVersion::new(name, meta.etag.clone(), meta.size);
        Self {
            version: Arc::new(version),
            meta,
            learned,
            generation,
        }
    }

    /// The same, confirmed by an answer to a question that was asked later.
    #[must_use]
    pub fn confirmed(&self, learned: SystemTime, generation: Generation) -> Self {
        Self {
            learned,
            generation,
            ..self.clone()
        }
    }
}

impl AbsentObject {
    /// From a 404; `body` is `None` for the answer to a HEAD. Refused when it is something else, or
    /// longer than what is kept.
    pub fn from_answer(
        status: StatusCode,
        headers: &HeaderMap,
        body: Option<Bytes>,
        learned: SystemTime,
        generation: Generation,
    ) -> Result<Self, NotCacheable> {
        if status != StatusCode::NOT_FOUND {
            return Err(NotCacheable::Status);
        }
        if let Some(body) = &body {
            if body.len() > MAX_ABSENT_BODY {
                return Err(NotCacheable::TooLarge);
            }
            // A bucket may be missing too, and a gateway may not know the host.
            if !says_no_such_key(body) {
                return Err(NotCacheable::Status);
            }
        }
        Ok(Self {
            status,
            fields: kept_fields(headers).ok_or(NotCacheable::TooLarge)?,
            // A copy: it may be a slice of something longer.
            body: body.map(|body| Bytes::copy_from_slice(&body)),
            learned,
            generation,
        })
    }
}

impl Metas {
    /// At most about `max_bytes` of memory.
    pub fn new(max_bytes: u64, generations: Arc<Generations>) -> Self {
        let listed_bytes = max_bytes / LISTED_SHARE;
        Self {
            known: Cache::builder()
                .name("metas")
                .max_capacity(max_bytes - listed_bytes)
                .weigher(|name, entry: &Entry| weight(name, entry.weight()))
                .build(),
            listed: Cache::builder()
                .name("listed metas")
                .max_capacity(listed_bytes)
                .weigher(|name, seed: &Arc<SeededMeta>| {
                    weight(name, size_of::<SeededMeta>() + seed.etag.as_bytes().len())
                })
                .build(),
            generations,
        }
    }

    /// What is known of an object: one look at one table.
    pub fn find(&self, name: &ObjectName) -> Option<Known> {
        match self.known.get(name)? {
            Entry::Meta(meta) if self.is_current(name, meta.generation) => Some(Known::Meta(meta)),
            Entry::Meta(meta) => Some(Known::Outdated(meta)),
            Entry::Absent(absent) if self.is_current(name, absent.generation) => {
                Some(Known::Absent(absent))
            }
            Entry::Absent(_) => None,
        }
    }

    /// Its meta, unless outdated.
    pub fn get(&self, name: &ObjectName) -> Option<Arc<CachedMeta>> {
        match self.find(name)? {
            Known::Meta(meta) => Some(meta),
            Known::Outdated(_) | Known::Absent(_) => None,
        }
    }

    /// What the last listing said of it, unless outdated.
    pub fn listed(&self, name: &ObjectName) -> Option<Arc<SeededMeta>> {
        let seed = self.listed.get(name)?;
        self.is_current(name, seed.generation).then_some(seed)
    }

    /// Keeps a meta, unless a write came between or something later is known already. Either way
    /// the caller has the answer to its own question back.
    pub fn insert(&self, meta: CachedMeta, now: SystemTime) -> Arc<CachedMeta> {
        let meta = Arc::new(meta);
        let name = &meta.version.object;
        self.put(name, Entry::Meta(Arc::clone(&meta)), now);
        meta
    }

    /// Keeps a 404, unless a write came between or something later is known already.
    pub fn insert_absent(&self, name: &ObjectName, absent: AbsentObject, now: SystemTime) {
        self.put(name, Entry::Absent(Arc::new(absent)), now);
    }

    /// Notes what a page of ListObjects said of an object. A meta of another version that was asked
    /// for before the page is dropped: somebody wrote the object without us.
    pub fn seed(
        &self,
        name: ObjectName,
        listed: ListedObject,
        learned: SystemTime,
        generation: Generation,
    ) {
        if !self.is_current(&name, generation) {
            return;
        }
        if let Some(entry) = self.known.get(&name) {
            let is_contradicted = match &entry {
                Entry::Meta(known) => {
                    known.meta.etag != listed.etag || known.meta.size != listed.size
                }
                Entry::Absent(_) => true,
            };
            if is_contradicted && entry.learned() < learned {
                self.known.invalidate(&name);
            }
        }
        let seed = SeededMeta {
            size: listed.size,
            etag: listed.etag,
            last_modified: listed.last_modified,
            learned,
            generation,
        };
        self.listed.insert(name, Arc::new(seed));
    }

    /// Forgets an object.
    pub fn remove(&self, name: &ObjectName) {
        self.known.invalidate(name);
        self.listed.invalidate(name);
    }

    /// Forgets a version that is not the object's any more; another one stays.
    pub fn remove_version(&self, version: &ObjectVersion) {
        let is_this = |meta: &CachedMeta| meta.version.id == version.id;
        self.known
            .entry_by_ref(&version.object)
            .and_compute_with(|entry| match entry.map(moka::Entry::into_value) {
                Some(Entry::Meta(meta)) if is_this(&meta) => Op::Remove,
                _ => Op::Nop,
            });
        let is_listed = |seed: Arc<SeededMeta>| seed.etag == version.etag;
        if self.listed.get(&version.object).is_some_and(is_listed) {
            self.listed.invalidate(&version.object);
        }
    }

    /// Forgets objects, and says of how many something was known. What comes in meanwhile is kept
    /// out by advancing generations before.
    pub fn remove_where(&self, is_meant: impl Fn(&ObjectName) -> bool) -> usize {
        let mut removed = 0;
        for (name, _) in &self.known {
            if is_meant(&name) {
                self.known.invalidate(&*name);
                removed += 1;
            }
        }
        for (name, _) in &self.listed {
            if is_meant(&name) {
                self.listed.invalidate(&*name);
            }
        }
        removed
    }

    /// Objects of which something is known, and roughly the bytes that it takes.
    pub fn usage(&self) -> (u64, u64) {
        // What came and went lately is counted by and by otherwise.
        self.settle();
        let count = self.known.entry_count() + self.listed.entry_count();
        let bytes = self.known.weighted_size() + self.listed.weighted_size();
        (count, bytes)
    }

    /// Does now what is otherwise done by and by.
    fn settle(&self) {
        self.known.run_pending_tasks();
        self.listed.run_pending_tasks();
    }

    fn is_current(&self, name: &ObjectName, generation: Generation) -> bool {
        self.generations.current(name) == generation
    }

    /// The later question wins, whichever answer comes in first: or a reader could see an object
    /// go back to an older version. An entry from the future does not count, the clock was set back.
    fn put(&self, name: &ObjectName, new: Entry, now: SystemTime) {
        if !self.is_current(name, new.generation()) {
            return;
        }
        self.known.entry_by_ref(name).and_compute_with(|before| {
            let is_later = before.is_some_and(|before| {
                let before = before.into_value();
                self.is_current(name, before.generation())
                    && (new.learned()..=now).contains(&before.learned())
                    && before.learned() != new.learned()
            });
            if is_later { Op::Nop } else { Op::Put(new) }
        });
    }
}

impl Entry {
    fn learned(&self) -> SystemTime {
        match self {
            Self::Meta(meta) => meta.learned,
            Self::Absent(absent) => absent.learned,
        }
    }

    fn generation(&self) -> Generation {
        match self {
            Self::Meta(meta) => meta.generation,
            Self::Absent(absent) => absent.generation,
        }
    }

    fn weight(&self) -> usize {
        match self {
            Self::Meta(meta) => meta.meta.weight() + size_of::<ObjectVersion>(),
            Self::Absent(absent) => {
                let fields = absent.fields.iter();
                let fields: usize = fields
                    .map(|(name, value)| 128 + name.as_str().len() + value.len())
                    .sum();
                size_of::<AbsentObject>() + fields + absent.body.as_ref().map_or(0, Bytes::len)
            }
        }
    }
}

fn says_no_such_key(document: &[u8]) -> bool {
    Element::parse(document, MAX_ELEMENTS)
        .is_ok_and(|root| root.name == "Error" && root.child_text("Code") == Some("NoSuchKey"))
}

fn weight(name: &ObjectName, value: usize) -> u32 {
    let names = name.bucket.as_str().len() + name.key.as_str().len();
    u32::try_from(ENTRY_OVERHEAD + names + value).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;
    use std::time::UNIX_EPOCH;

    use http::HeaderValue;

    use super::*;
    use crate::s3::Bucket;
    use crate::s3::Key;

    struct Bench {
        metas: Metas,
        generations: Arc<Generations>,
        now: SystemTime,
    }

    impl Bench {
        fn new() -> Self {
            let generations = Arc::new(Generations::new(7));
            Self {
                metas: Metas::new(1 << 20, Arc::clone(&generations)),
                generations,
                now: UNIX_EPOCH + Duration::from_secs(1_000_000),
            }
        }

        /// A meta of this ETag that was asked for so many seconds ago.
        fn meta(&self, key: &str, etag: &str, ago: u64) -> CachedMeta {
            let name = name(key);
            let generation = self.generations.current(&name);
            CachedMeta::new(name, meta(etag), self.ago(ago), generation)
        }

        fn insert(&self, key: &str, etag: &str, ago: u64) {
            self.metas.insert(self.meta(key, etag, ago), self.now);
        }

        fn absent(&self, key: &str, ago: u64) -> AbsentObject {
            let (status, body) = (
                StatusCode::NOT_FOUND,
                Bytes::from("<Error><Code>NoSuchKey</Code></Error>"),
            );
            let generation = self.generations.current(&name(key));
            let headers = HeaderMap::new();
            AbsentObject::from_answer(status, &headers, Some(body), self.ago(ago), generation)
                .unwrap()
        }

        fn seed(&self, key: &str, etag: &str, ago: u64) {
            let name = name(key);
            let generation = self.generations.current(&name);
            let listed = listed(key, etag);
            self.metas.seed(name, listed, self.ago(ago), generation);
        }

        fn ago(&self, seconds: u64) -> SystemTime {
            self.now - Duration::from_secs(seconds)
        }

        fn etag(&self, key: &str) -> Option<String> {
            let meta = self.metas.get(&name(key))?;
            Some(meta.version.etag.as_str().to_owned())
        }
    }

    fn name(key: &str) -> ObjectName {
        ObjectName {
            origin: "o".into(),
            bucket: Bucket::new("b").unwrap(),
            key: Key::new(key).unwrap(),
        }
    }

    fn meta(etag: &str) -> ObjectMeta {
        let mut headers = HeaderMap::new();
        let etag = HeaderValue::from_str(&format!("\"{etag}\"")).unwrap();
        headers.insert("etag", etag);
        headers.insert("content-length", HeaderValue::from_static("5"));
        let (meta, _) = ObjectMeta::from_answer(StatusCode::OK, &headers, false).unwrap();
        meta
    }

    fn listed(key: &str, etag: &str) -> ListedObject {
        ListedObject {
            key: Key::new(key).unwrap(),
            size: 5,
            etag: ETag::parse(&format!("\"{etag}\"")).unwrap(),
            last_modified: None,
        }
    }

    #[test]
    fn a_meta_from_before_a_write_is_only_good_to_validate_with() {
        let bench = Bench::new();
        bench.insert("k", "1", 0);
        assert_eq!(bench.etag("k").as_deref(), Some("\"1\""));
        bench.generations.advance(&name("k"));
        assert_eq!(bench.etag("k"), None);
        let found = bench.metas.find(&name("k"));
        assert!(matches!(found, Some(Known::Outdated(old)) if old.meta == meta("1")));
    }

    #[test]
    fn an_answer_that_comes_in_after_a_write_is_not_kept() {
        let bench = Bench::new();
        let (late, late_absent) = (bench.meta("k", "1", 0), bench.absent("n", 0));
        let (key, listing) = (name("l"), bench.generations.current(&name("l")));
        for key in ["k", "n", "l"] {
            bench.generations.advance(&name(key));
        }
        let answered = bench.metas.insert(late, bench.now);
        assert_eq!(answered.meta, meta("1"));
        bench
            .metas
            .insert_absent(&name("n"), late_absent, bench.now);
        bench.metas.seed(key, listed("l", "1"), bench.now, listing);
        assert!(bench.metas.find(&name("k")).is_none());
        assert!(bench.metas.find(&name("n")).is_none());
        assert!(bench.metas.listed(&name("l")).is_none());
    }

    #[test]
    fn a_write_to_the_bucket_outdates_its_metas() {
        let bench = Bench::new();
        bench.insert("k", "1", 0);
        bench.seed("k", "1", 0);
        bench
            .metas
            .insert_absent(&name("n"), bench.absent("n", 0), bench.now);
        bench.generations.advance_bucket("o", "b");
        assert_eq!(bench.etag("k"), None);
        assert!(bench.metas.listed(&name("k")).is_none());
        assert!(bench.metas.find(&name("n")).is_none());
    }

    #[test]
    fn the_later_question_wins() {
        let bench = Bench::new();
        bench.insert("k", "2", 5);
        bench.insert("k", "1", 9);
        assert_eq!(bench.etag("k").as_deref(), Some("\"2\""));
        bench
            .metas
            .insert_absent(&name("k"), bench.absent("k", 7), bench.now);
        assert_eq!(bench.etag("k").as_deref(), Some("\"2\""));
        bench.insert("k", "3", 5);
        assert_eq!(bench.etag("k").as_deref(), Some("\"3\""));
        bench
            .metas
            .insert_absent(&name("k"), bench.absent("k", 1), bench.now);
        assert!(matches!(
            bench.metas.find(&name("k")),
            Some(Known::Absent(_))
        ));
        assert_eq!(bench.etag("k"), None);
    }

    #[test]
    fn an_outdated_meta_gives_way_to_whatever_comes() {
        let bench = Bench::new();
        bench.insert("k", "2", 1);
        bench.generations.advance(&name("k"));
        bench.insert("k", "1", 3);
        assert_eq!(bench.etag("k").as_deref(), Some("\"1\""));
    }

    #[test]
    fn a_meta_from_the_future_gives_way_too() {
        let mut bench = Bench::new();
        bench.insert("k", "1", 0);
        bench.now -= Duration::from_hours(1);
        bench.insert("k", "2", 0);
        assert_eq!(bench.etag("k").as_deref(), Some("\"2\""));
    }

    #[test]
    fn a_listing_drops_what_it_contradicts() {
        let bench = Bench::new();
        for key in ["same", "other", "later", "absent"] {
            bench.insert(key, "1", 5);
        }
        bench
            .metas
            .insert_absent(&name("absent"), bench.absent("absent", 4), bench.now);
        bench.seed("same", "1", 2);
        bench.seed("other", "2", 2);
        bench.seed("later", "2", 8);
        bench.seed("absent", "1", 2);
        assert!(bench.etag("same").is_some());
        assert!(bench.etag("other").is_none());
        assert!(bench.etag("later").is_some());
        assert!(bench.metas.find(&name("absent")).is_none());
        let seed = bench.metas.listed(&name("other")).unwrap();
        assert_eq!((seed.size, seed.etag.as_str()), (5, "\"2\""));
    }

    #[test]
    fn a_listing_from_before_a_write_contradicts_nothing() {
        let bench = Bench::new();
        let before = bench.generations.current(&name("k"));
        bench.generations.advance(&name("k"));
        bench.insert("k", "2", 5);
        let listed = listed("k", "1");
        bench.metas.seed(name("k"), listed, bench.now, before);
        assert_eq!(bench.etag("k").as_deref(), Some("\"2\""));
    }

    #[test]
    fn what_is_removed_is_gone() {
        let bench = Bench::new();
        for key in ["a/1", "a/2", "b/1"] {
            bench.insert(key, "1", 0);
            bench.seed(key, "1", 0);
        }
        let removed = bench
            .metas
            .remove_where(|name| name.key.as_str().starts_with("a/"));
        assert_eq!(removed, 2);
        assert_eq!(bench.etag("a/1"), None);
        assert!(bench.metas.listed(&name("a/2")).is_none());
        assert!(bench.etag("b/1").is_some());
        bench.metas.remove(&name("b/1"));
        assert!(bench.etag("b/1").is_none() && bench.metas.listed(&name("b/1")).is_none());
    }

    #[test]
    fn memory_is_bounded() {
        let bench = Bench::new();
        for n in 0..5_000 {
            bench.insert(&format!("{n:0100}"), "1", 0);
            bench.seed(&format!("{n:0100}"), "1", 0);
        }
        let (count, bytes) = bench.metas.usage();
        assert!(bytes <= 1 << 20, "{bytes}");
        assert!((500..4_000).contains(&count), "{count}");
    }

    #[test]
    fn listings_do_not_push_out_what_is_read() {
        let bench = Bench::new();
        for n in 0..500 {
            bench.insert(&format!("read/{n}"), "1", 0);
        }
        for n in 0..20_000 {
            bench.seed(&format!("listed/{n}"), "1", 0);
        }
        let read = (0..500).filter(|n| bench.etag(&format!("read/{n}")).is_some());
        assert_eq!(read.count(), 500);
    }

    #[test]
    fn only_small_404s_are_kept() {
        let bench = Bench::new();
        let generation = bench.generations.current(&name("k"));
        let document = |code: &str, length: usize| {
            let text = format!("<Error><Code>{code}</Code></Error>");
            Bytes::from(format!("{text:length$}"))
        };
        let kept = |status: u16, body: Bytes| {
            let status = StatusCode::from_u16(status).unwrap();
            let mut headers = HeaderMap::new();
            headers.insert("x-amz-request-id", HeaderValue::from_static("1"));
            headers.insert("x-amz-delete-marker", HeaderValue::from_static("true"));
            AbsentObject::from_answer(status, &headers, Some(body), bench.now, generation)
        };
        let is_kept = |body| kept(404, body).map(|absent| absent.fields.len());
        assert_eq!(is_kept(document("NoSuchKey", 4096)), Ok(1));
        let long = document("NoSuchKey", 4097);
        assert_eq!(is_kept(long), Err(NotCacheable::TooLarge));
        for body in [document("NoSuchBucket", 0), "NoSuchKey".into(), "".into()] {
            assert_eq!(is_kept(body), Err(NotCacheable::Status));
        }
        for status in [200, 403, 410, 500] {
            let kept = kept(status, document("NoSuchKey", 0));
            assert_eq!(kept, Err(NotCacheable::Status), "{status}");
        }
    }

    #[test]
    fn a_confirmed_meta_is_the_same_but_later() {
        let bench = Bench::new();
        let old = bench.meta("k", "1", 100);
        bench.generations.advance(&name("k"));
        let generation = bench.generations.current(&name("k"));
        let confirmed = old.confirmed(bench.now, generation);
        assert!(Arc::ptr_eq(&confirmed.version, &old.version));
        assert_eq!(
            (confirmed.learned, confirmed.generation),
            (bench.now, generation)
        );
        bench.metas.insert(confirmed, bench.now);
        assert!(bench.etag("k").is_some());
    }
}
