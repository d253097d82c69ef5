//! The store's eviction policy as an `EvictionManager`, for this storage or any other.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::Path;
use std::path::PathBuf;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;
use std::time::SystemTime;

use async_trait::async_trait;
use parking_lot::Mutex;
use pingora::ErrorType;
use pingora::OrErr;
use pingora::Result;
use pingora_cache::CacheEntryKey;
use pingora_cache::CacheEntryKeyRef;
use pingora_cache::eviction::EvictionManager;
use pingora_cache::key::CacheHashKey;
use serde::Deserialize;
use serde::Serialize;

use crate::cache::Policy;
use crate::cache::Priority;
use crate::cache::VersionId;

const FILE_NAME: &str = "scan-resistant.json";

/// Evicts whole responses as the store evicts segments: a scan of many times the capacity leaves what
/// is read again alone.
///
/// [`BlockStorage`](super::BlockStorage) bounds itself and needs none. With one, give it fewer bytes
/// than the store's tiers have, or the store evicts parts of what the manager believes to be there.
#[derive(Debug)]
pub struct ScanResistant {
    policy: Policy<VersionId>,
    /// The policy keeps hashes. Whoever holds this may ask the policy, never the other way round.
    pub(super) tracked: Mutex<HashMap<VersionId, Tracked>>,
    evicted_bytes: AtomicUsize,
    evicted: AtomicUsize,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Tracked {
    entry: CacheEntryKey,
    weight: u64,
}

impl ScanResistant {
    /// For so many bytes.
    pub fn new(capacity: u64) -> Self {
        Self {
            policy: Policy::new(capacity),
            tracked: Mutex::default(),
            evicted_bytes: AtomicUsize::new(0),
            evicted: AtomicUsize::new(0),
        }
    }

    fn track(&self, tracked: &mut HashMap<VersionId, Tracked>, entry: &CacheEntryKey, weight: u64) {
        let weight = weight.max(1);
        let id = id_of(entry.into());
        self.policy.insert(id, weight, Priority::Normal);
        let entry = entry.clone();
        tracked.insert(id, Tracked { entry, weight });
    }

    fn evict(&self, tracked: &mut HashMap<VersionId, Tracked>) -> Vec<CacheEntryKey> {
        let evicted = self.policy.evict_until_fits();
        let bytes = evicted.iter().map(|(_, weight)| clamped(*weight)).sum();
        self.evicted_bytes.fetch_add(bytes, Ordering::Relaxed);
        self.evicted.fetch_add(evicted.len(), Ordering::Relaxed);
        let gone = evicted.iter().filter_map(|(id, _)| tracked.remove(id));
        gone.map(|gone| gone.entry).collect()
    }
}

#[async_trait]
impl EvictionManager for ScanResistant {
    fn total_size(&self) -> usize {
        clamped(self.policy.used())
    }

    fn total_items(&self) -> usize {
        self.policy.len()
    }

    fn evicted_size(&self) -> usize {
        self.evicted_bytes.load(Ordering::Relaxed)
    }

    fn evicted_items(&self) -> usize {
        self.evicted.load(Ordering::Relaxed)
    }

    fn admit(
        &self,
        item: CacheEntryKey,
        size: usize,
        _fresh_until: SystemTime,
    ) -> Vec<CacheEntryKey> {
        let mut tracked = self.tracked.lock();
        self.track(&mut tracked, &item, size as u64);
        self.evict(&mut tracked)
    }

    fn increment_weight(
        &self,
        item: &CacheEntryKey,
        delta: usize,
        max_weight: Option<usize>,
    ) -> Vec<CacheEntryKey> {
        let mut tracked = self.tracked.lock();
        let known = tracked.get(&id_of(item.into()));
        let known = known.map_or(0, |known| known.weight);
        let most = max_weight.map_or(u64::MAX, |most| most as u64);
        // The hint shrinks nothing.
        let weight = known.saturating_add(delta as u64).min(most.max(known));
        self.track(&mut tracked, item, weight);
        self.evict(&mut tracked)
    }

    fn remove(&self, item: CacheEntryKeyRef<'_>) {
        let id = id_of(item);
        let mut tracked = self.tracked.lock();
        tracked.remove(&id);
        self.policy.remove(&id);
    }

    fn access(&self, item: &CacheEntryKey, size: usize, _fresh_until: SystemTime) -> bool {
        if self.policy.touch(&id_of(item.into())) {
            return true;
        }
        let mut tracked = self.tracked.lock();
        self.track(&mut tracked, item, size as u64);
        false
    }

    fn peek(&self, item: &CacheEntryKey) -> bool {
        self.policy.has(&id_of(item.into()))
    }

    /// Keeps what is tracked and its weights; how warm it is is not kept.
    async fn save(&self, dir_path: &str) -> Result<()> {
        let entries: Vec<Tracked> = self.tracked.lock().values().cloned().collect();
        let text = serde_json::to_vec(&entries).or_err(ErrorType::InternalError, "as JSON")?;
        let dir = PathBuf::from(dir_path);
        let saved = tokio::task::spawn_blocking(move || replace(&dir, &text)).await;
        let saved = saved.or_err(ErrorType::InternalError, "saving")?;
        saved.or_err(ErrorType::FileWriteError, "saving what is tracked")
    }

    async fn load(&self, dir_path: &str) -> Result<()> {
        let path = Path::new(dir_path).join(FILE_NAME);
        let text = tokio::task::spawn_blocking(move || fs::read(path)).await;
        let text = match text.or_err(ErrorType::InternalError, "loading")? {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            read => read.or_err(ErrorType::FileReadError, "loading what is tracked")?,
        };
        let entries: Vec<Tracked> = serde_json::from_slice(&text)
            .or_err(ErrorType::InternalError, "not as it was saved")?;
        let mut tracked = self.tracked.lock();
        for Tracked { entry, weight } in entries {
            self.track(&mut tracked, &entry, weight);
        }
        Ok(())
    }
}

/// All that tells one entry from another, hashed.
fn id_of(entry: CacheEntryKeyRef<'_>) -> VersionId {
    let key = entry.key();
    let variance = key.variance_bin();
    let id = entry.entry_id().map(|id| id.get().to_le_bytes());
    VersionId::of(&[
        &key.primary_bin(),
        variance.as_ref().map_or(&[][..], |variance| &variance[..]),
        key.user_tag().as_bytes(),
        id.as_ref().map_or(&[][..], |id| &id[..]),
    ])
}

fn replace(dir: &Path, text: &[u8]) -> io::Result<()> {
    fs::create_dir_all(dir)?;
    let beside = dir.join(format!("{FILE_NAME}.{}", std::process::id()));
    fs::write(&beside, text)?;
    fs::rename(beside, dir.join(FILE_NAME))
}

fn clamped(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}
