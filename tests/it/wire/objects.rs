//! Objects as S3 keeps them: every version that ever was, and when it was the current one.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use md5::{Digest, Md5};
use parking_lot::Mutex;

use super::content::Content;
use super::sigv4::hex;

/// One version of an object.
#[derive(Debug)]
#[expect(clippy::struct_field_names, reason = "version id is S3's word")]
pub(super) struct Version {
    pub(super) etag: String,
    pub(super) content: Arc<Content>,
    pub(super) modified: SystemTime,
    /// Fields that describe it: `Content-Type`, `x-amz-meta-*` and the like.
    pub(super) fields: Vec<(String, String)>,
    pub(super) version_id: Option<String>,
    /// MD5 of the key that it is encrypted with, when a client gave one.
    pub(super) customer_key_md5: Option<String>,
    /// CRC-32 of the whole, in base64, when it is small.
    pub(super) crc32: Option<String>,
    pub(super) parts: usize,
}

impl Version {
    pub(super) fn size(&self) -> u64 {
        self.content.size()
    }

    /// `Last-Modified` as it stands in a field.
    pub(super) fn last_modified(&self) -> String {
        httpdate::fmt_http_date(self.modified)
    }
}

/// What an object was from a moment on: a version, or nothing.
#[derive(Debug, Clone)]
pub(super) struct Epoch {
    pub(super) since: Instant,
    pub(super) version: Option<Arc<Version>>,
}

/// What a writer gives.
#[derive(Debug, Clone, Default)]
pub(super) struct Given {
    pub(super) fields: Vec<(String, String)>,
    pub(super) customer_key_md5: Option<String>,
    /// Ends the ETag, as that of an object that came in parts.
    pub(super) parts: usize,
}

#[derive(Default)]
struct State {
    buckets: BTreeSet<String>,
    versioned: BTreeSet<String>,
    /// By bucket and key, oldest first.
    history: BTreeMap<(String, String), Vec<Epoch>>,
    /// By upload id: bucket, key, what was given, parts by number.
    uploads: BTreeMap<String, Upload>,
    /// Who may not read what begins so, both as written: `bucket/key`.
    denied: Vec<(String, String)>,
}

#[derive(Debug, Clone)]
pub(super) struct Upload {
    pub(super) bucket: String,
    pub(super) key: String,
    pub(super) given: Given,
    pub(super) parts: BTreeMap<u32, Vec<u8>>,
}

/// All buckets of one origin.
pub(super) struct Objects {
    state: Mutex<State>,
    seeds: AtomicU64,
    owner: String,
}

/// Objects up to this size have a CRC-32; it is computed when they are written.
const CHECKED_BYTES: u64 = 1 << 20;

impl Objects {
    pub(super) fn with_buckets(names: &[&str]) -> Self {
        let state = State {
            buckets: names.iter().map(|name| (*name).to_owned()).collect(),
            ..State::default()
        };
        Self {
            state: Mutex::new(state),
            seeds: AtomicU64::new(0x5EED_0001),
            owner: "111122223333".to_owned(),
        }
    }

    pub(super) fn owner(&self) -> &str {
        &self.owner
    }

    pub(super) fn has_bucket(&self, bucket: &str) -> bool {
        self.state.lock().buckets.contains(bucket)
    }

    /// Gives every later version of the bucket's objects an id.
    pub(super) fn keep_versions(&self, bucket: &str) {
        self.state.lock().versioned.insert(bucket.to_owned());
    }

    /// Refuses reads of what begins with `bucket/key` to whoever's key id this is.
    pub(super) fn deny(&self, key_id: &str, beginning: &str) {
        let denied = (key_id.to_owned(), beginning.to_owned());
        self.state.lock().denied.push(denied);
    }

    /// Takes back every denial.
    pub(super) fn allow_all(&self) {
        self.state.lock().denied.clear();
    }

    pub(super) fn is_denied(&self, signer: &str, bucket: &str, key: &str) -> bool {
        let name = format!("{bucket}/{key}");
        let state = self.state.lock();
        let mut denied = state.denied.iter();
        denied.any(|(id, beginning)| signer.contains(id.as_str()) && name.starts_with(beginning))
    }

    /// A new version whose bytes tell which it is. `path` is `bucket/key`.
    pub(super) fn put(&self, path: &str, size: u64) -> Arc<Version> {
        self.put_with(path, size, &[])
    }

    pub(super) fn put_with(&self, path: &str, size: u64, fields: &[(&str, &str)]) -> Arc<Version> {
        let given = Given {
            fields: owned(fields),
            ..Given::default()
        };
        let seed = self.seed();
        self.write(path, Content::Told { seed, size }, given)
    }

    /// A new version with these bytes.
    pub(super) fn put_bytes(&self, path: &str, bytes: &[u8]) -> Arc<Version> {
        self.write(path, Content::Given(bytes.to_vec()), Given::default())
    }

    fn seed(&self) -> u64 {
        let number = self.seeds.fetch_add(1, Ordering::Relaxed);
        number.wrapping_mul(0xD6E8_FEB8_6659_FD93)
    }

    /// Makes it the current version.
    pub(super) fn write(&self, path: &str, content: Content, given: Given) -> Arc<Version> {
        let (bucket, key) = split(path);
        let mut state = self.state.lock();
        let version_id = state
            .versioned
            .contains(bucket)
            .then(|| format!("v{:016x}", self.seed()));
        let version = Arc::new(version(content, given, version_id));
        let epoch = Epoch {
            since: Instant::now(),
            version: Some(Arc::clone(&version)),
        };
        let name = (bucket.to_owned(), key.to_owned());
        state.history.entry(name).or_default().push(epoch);
        version
    }

    /// As after DELETE.
    pub(super) fn remove(&self, path: &str) {
        let (bucket, key) = split(path);
        let name = (bucket.to_owned(), key.to_owned());
        let epoch = Epoch {
            since: Instant::now(),
            version: None,
        };
        self.state
            .lock()
            .history
            .entry(name)
            .or_default()
            .push(epoch);
    }

    pub(super) fn current(&self, path: &str) -> Option<Arc<Version>> {
        self.history(path).pop()?.version
    }

    /// What it was, oldest first.
    pub(super) fn history(&self, path: &str) -> Vec<Epoch> {
        let (bucket, key) = split(path);
        let name = (bucket.to_owned(), key.to_owned());
        let state = self.state.lock();
        state.history.get(&name).cloned().unwrap_or_default()
    }

    /// The version with this ETag.
    pub(super) fn by_etag(&self, path: &str, etag: &str) -> Option<Arc<Version>> {
        let versions = self.history(path).into_iter();
        let mut versions = versions.filter_map(|epoch| epoch.version);
        versions.find(|version| version.etag == etag)
    }

    pub(super) fn by_version_id(&self, path: &str, id: &str) -> Option<Arc<Version>> {
        let versions = self.history(path).into_iter();
        let mut versions = versions.filter_map(|epoch| epoch.version);
        versions.find(|version| version.version_id.as_deref() == Some(id))
    }

    /// Whether the version with this ETag was the current one at some moment between these two.
    pub(super) fn was_current(&self, path: &str, etag: &str, from: Instant, to: Instant) -> bool {
        let history = self.history(path);
        history.iter().enumerate().any(|(index, epoch)| {
            let until = history.get(index + 1).map(|next| next.since);
            epoch.since <= to
                && until.is_none_or(|until| until > from)
                && epoch
                    .version
                    .as_ref()
                    .is_some_and(|version| version.etag == etag)
        })
    }

    /// Whether there was no object at some moment between these two.
    pub(super) fn was_absent(&self, path: &str, from: Instant, to: Instant) -> bool {
        let history = self.history(path);
        let before = history.first().is_none_or(|first| first.since > from);
        before
            || history.iter().enumerate().any(|(index, epoch)| {
                let until = history.get(index + 1).map(|next| next.since);
                epoch.since <= to
                    && until.is_none_or(|until| until > from)
                    && epoch.version.is_none()
            })
    }

    /// Whether it was written or removed between these two.
    pub(super) fn was_written(&self, path: &str, from: Instant, to: Instant) -> bool {
        let history = self.history(path);
        history
            .iter()
            .any(|epoch| from < epoch.since && epoch.since <= to)
    }

    /// The current objects of a bucket whose keys begin so, in order.
    pub(super) fn listed(&self, bucket: &str, prefix: &str) -> Vec<(String, Arc<Version>)> {
        let state = self.state.lock();
        let of_bucket = state
            .history
            .iter()
            .filter(|((name, key), _)| name == bucket && key.starts_with(prefix));
        of_bucket
            .filter_map(|((_, key), epochs)| {
                let version = epochs.last()?.version.clone()?;
                Some((key.clone(), version))
            })
            .collect()
    }

    /// Empties all buckets, the past included.
    pub(super) fn forget_all(&self) {
        self.state.lock().history.clear();
    }

    pub(super) fn begin_upload(&self, path: &str, given: Given) -> String {
        let (bucket, key) = split(path);
        let id = format!("upload-{:016x}", self.seed());
        let upload = Upload {
            bucket: bucket.to_owned(),
            key: key.to_owned(),
            given,
            parts: BTreeMap::new(),
        };
        self.state.lock().uploads.insert(id.clone(), upload);
        id
    }

    /// Keeps a part and answers its ETag; nothing when there is no such upload.
    pub(super) fn put_part(&self, id: &str, number: u32, bytes: Vec<u8>) -> Option<String> {
        let mut state = self.state.lock();
        let upload = state.uploads.get_mut(id)?;
        let etag = format!("\"{}\"", hex(&Md5::digest(&bytes)));
        upload.parts.insert(number, bytes);
        Some(etag)
    }

    pub(super) fn end_upload(&self, id: &str) -> Option<Upload> {
        self.state.lock().uploads.remove(id)
    }
}

/// `bucket/key`.
pub(super) fn split(path: &str) -> (&str, &str) {
    path.trim_start_matches('/')
        .split_once('/')
        .expect("a bucket and a key")
}

fn owned(fields: &[(&str, &str)]) -> Vec<(String, String)> {
    let fields = fields.iter();
    fields
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect()
}

fn version(content: Content, given: Given, version_id: Option<String>) -> Version {
    let digest = match &content {
        Content::Given(bytes) => hex(&Md5::digest(bytes)),
        Content::Told { seed, size } => hex(&Md5::digest(
            [seed.to_le_bytes(), size.to_le_bytes()].concat(),
        )),
    };
    let etag = match given.parts {
        0 => format!("\"{digest}\""),
        parts => format!("\"{digest}-{parts}\""),
    };
    let crc32 = (content.size() <= CHECKED_BYTES).then(|| {
        let bytes = content.bytes(0..content.size());
        let sum = crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32IsoHdlc, &bytes);
        STANDARD.encode(u32::try_from(sum).unwrap().to_be_bytes())
    });
    Version {
        etag,
        content: Arc::new(content),
        modified: whole_second(SystemTime::now()),
        fields: given.fields,
        version_id,
        customer_key_md5: given.customer_key_md5,
        crc32,
        parts: given.parts,
    }
}

fn whole_second(time: SystemTime) -> SystemTime {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap();
    SystemTime::UNIX_EPOCH + Duration::from_secs(since.as_secs())
}
