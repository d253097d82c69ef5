//! The store as the storage of any program that caches with Pingora: `impl pingora_cache::Storage`.
//!
//! The proxy itself does not use it (ARCHITECTURE.md says why). A response is a record of some hundred
//! bytes, in memory and in the disk tier's metas, and an object version of its own in the blocks, so
//! ranges of it are read without the rest. The store evicts by segments and on its own: a response of
//! which a block is gone is a miss, and one that loses a block while it is being read is cut.

mod body;
mod eviction;
mod filling;
mod hit;
mod key;
mod miss;
mod record;
mod records;
#[cfg(test)]
mod tests;

use std::any::Any;
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use std::time::SystemTime;

use async_trait::async_trait;
use http::header;
use parking_lot::Mutex;
use pingora::Error;
use pingora::ErrorType;
use pingora::Result;
use pingora_cache::CacheEntryKey;
use pingora_cache::CacheKey;
use pingora_cache::CacheMeta;
use pingora_cache::PurgeType;
use pingora_cache::Storage;
use pingora_cache::key::CacheHashKey;
use pingora_cache::storage::HitHandler;
use pingora_cache::storage::MissHandler;
use pingora_cache::storage::PurgeOutcome;
use pingora_cache::storage::PurgeTarget;
use pingora_cache::trace::SpanHandle;
use tokio::sync::Mutex as AsyncMutex;
use tokio::sync::OwnedMutexGuard;

pub use eviction::ScanResistant;

use crate::cache::BlockSize;
use crate::cache::Store;
use body::Body;
use body::Extent;
use body::WriteId;
use filling::Filling;
use hit::FollowingHit;
use hit::StoredHit;
use key::EntryId;
use miss::Write;
use record::Record;
use record::Serialized;
use records::Records;

/// Records that memory may hold, in bytes. Those on disk are found again.
const RECORD_BYTES: u64 = 32 << 20;

/// Records are changed one at a time within a share of the keys.
const SHARES: usize = 256;

/// So long a purge waits for the disk to say that a record is gone.
const DISK_DEADLINE: Duration = Duration::from_secs(5);

/// Pingora's view of a [`Store`]. Leak it, or make it static: Pingora asks for that.
///
/// Entries are known by the hash of their key alone, and have no ids. Make the store's memory tier
/// large enough for what is written at once: those who follow a write read it from there when they
/// fall behind.
///
/// ```no_run
/// # use std::sync::Arc;
/// # use std::sync::LazyLock;
/// # use pingora::proxy::Session;
/// # use s3proxy::cache::{BlockSize, BlockStorage, Store, StoreConfig};
/// static STORAGE: LazyLock<BlockStorage> = LazyLock::new(|| {
///     let config = StoreConfig {
///         memory: 1 << 30,
///         disk: Some(100 << 30),
///         dir: Some("/var/cache/program".into()),
///         block_size: BlockSize::DEFAULT,
///         min_free: 5,
///     };
///     BlockStorage::new(Arc::new(Store::open(&config).expect("a directory of its own")))
/// });
///
/// // In `ProxyHttp::request_cache_filter`; the store evicts by itself.
/// fn enable(session: &mut Session) {
///     session.cache.enable(&*STORAGE, None, None, None, None);
/// }
/// ```
pub struct BlockStorage {
    store: Arc<Store>,
    records: Records,
    fillings: Mutex<HashMap<EntryId, Vec<Arc<Filling>>>>,
    shares: Vec<Arc<AsyncMutex<()>>>,
    streams: bool,
}

impl fmt::Debug for BlockStorage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BlockStorage")
            .field("store", &self.store)
            .field("records", &self.records.len())
            .finish_non_exhaustive()
    }
}

impl BlockStorage {
    /// Over a store, that others may use too. Responses may be read while they are written.
    pub fn new(store: Arc<Store>) -> Self {
        Self {
            store,
            records: Records::new(RECORD_BYTES),
            fillings: Mutex::default(),
            shares: (0..SHARES).map(|_| Arc::default()).collect(),
            streams: true,
        }
    }

    /// The same, but nobody reads a response before it is complete. Pingora then forwards a miss
    /// without the storage, and throws a fill away when the client wanted only a part of it.
    #[must_use]
    pub fn without_streaming(mut self) -> Self {
        self.streams = false;
        self
    }

    /// Returns when everything that was finished before is on disk, or dropped.
    pub async fn flush(&self) {
        for share in &self.shares {
            drop(share.lock().await);
        }
        self.store.flush().await;
    }

    fn block_size(&self) -> BlockSize {
        self.store.block_size()
    }

    fn streams(&self) -> bool {
        self.streams
    }

    /// Who holds it changes the record of this entry.
    async fn lock(&self, entry: EntryId) -> OwnedMutexGuard<()> {
        let share = &self.shares[entry.share(SHARES)];
        Arc::clone(share).lock_owned().await
    }

    /// A response's record, from memory or disk.
    async fn record(&self, entry: EntryId) -> Option<Arc<Record>> {
        if let Some(record) = self.records.get(entry) {
            return Some(record);
        }
        self.store.disk()?;
        let _lock = self.lock(entry).await;
        self.load(entry).await
    }

    /// The same. The caller holds its lock.
    async fn load(&self, entry: EntryId) -> Option<Arc<Record>> {
        if let Some(record) = self.records.get(entry) {
            return Some(record);
        }
        let blob = self.store.disk()?.read_meta(entry.meta()).await?;
        let record = Arc::new(Record::decode(&self.store, entry, &blob)?);
        self.records.insert(entry, Arc::clone(&record));
        Some(record)
    }

    /// Makes a written body the response of its key: what it weighs. `None` when it was purged while
    /// it was written.
    async fn publish(&self, entry: EntryId, filling: &Filling, length: u64) -> Option<usize> {
        let lock = self.lock(entry).await;
        if filling.is_purged() {
            return None;
        }
        let record = Arc::new(Record {
            body: Arc::clone(&filling.body),
            length,
            meta: filling.meta.clone(),
            has_landed: self.store.disk().is_none().into(),
        });
        // One that only the disk knows is replaced there; its blocks grow cold and go.
        if let Some(replaced) = self.records.insert(entry, Arc::clone(&record)) {
            replaced.body.condemn();
        }
        let weight = record.stored_bytes();
        if let Some(disk) = self.store.disk() {
            let (store, disk) = (Arc::clone(&self.store), Arc::clone(disk));
            // The client does not wait for the disk; whoever changes the record next does.
            tokio::spawn(async move {
                store.flush().await;
                // Without it the response is gone after a restart.
                let (object, blob) = (entry.object(), record.encode());
                disk.write_meta(entry.meta(), Some(&object), blob).await;
                record.has_landed.store(true, Ordering::Release);
                drop(lock);
            });
        }
        Some(weight)
    }

    /// Puts another meta in the place of a record's. The caller holds its lock. False when the disk
    /// may still have the one before.
    async fn replace(&self, entry: EntryId, record: &Record, meta: Serialized) -> bool {
        let record = Arc::new(record.with_meta(meta));
        self.records.insert(entry, Arc::clone(&record));
        let Some(disk) = self.store.disk() else {
            return true;
        };
        let (object, blob) = (entry.object(), record.encode());
        let written = disk.write_meta(entry.meta(), Some(&object), blob);
        tokio::time::timeout(DISK_DEADLINE, written).await == Ok(true)
    }

    /// Takes a record off the disk. The caller holds its lock. False when it may still be there.
    async fn remove_from_disk(&self, entry: EntryId) -> bool {
        let Some(disk) = self.store.disk() else {
            return true;
        };
        let removed = disk.remove_meta(entry.meta());
        tokio::time::timeout(DISK_DEADLINE, removed).await == Ok(true)
    }

    /// A record's body, if all of it is stored, or still on its way to the disk.
    async fn open(&'static self, entry: EntryId, record: &Arc<Record>) -> Option<StoredHit> {
        // Asked first: it may land while the disk is asked, which then has told that it is not there.
        let had_landed = record.has_landed.load(Ordering::Acquire);
        let hit = StoredHit::open(self, entry, Arc::clone(record)).await;
        if hit.is_some() || had_landed {
            return hit;
        }
        self.store.flush().await;
        StoredHit::open(self, entry, Arc::clone(record)).await
    }

    /// Drops a record whose body is not whole any more, unless another one took its place.
    async fn drop_record(&self, entry: EntryId, record: &Arc<Record>) {
        let _lock = self.lock(entry).await;
        let current = self.records.get(entry);
        if current.is_none_or(|current| current.body.write == record.body.write) {
            self.records.remove(entry);
            // Should it stay there, its body is still not whole.
            self.remove_from_disk(entry).await;
        }
        record.body.condemn();
    }

    /// The newest write of a key that others may follow.
    fn followed(&self, entry: EntryId, write: Option<WriteId>) -> Option<Arc<Filling>> {
        let fillings = self.fillings.lock();
        let mut running = fillings.get(&entry)?.iter().rev();
        let found = running.find(|filling| match write {
            Some(write) => filling.body.write == write,
            None => !filling.is_purged(),
        });
        found.cloned()
    }

    fn forget_filling(&self, entry: EntryId, write: WriteId) {
        let mut fillings = self.fillings.lock();
        if let Some(running) = fillings.get_mut(&entry) {
            running.retain(|filling| filling.body.write != write);
            if running.is_empty() {
                fillings.remove(&entry);
            }
        }
    }

    /// What is being written for a key is not kept either. False when nothing is.
    fn purge_fillings(&self, entry: EntryId) -> bool {
        let fillings = self.fillings.lock();
        let running = fillings.get(&entry);
        running.is_some_and(|running| {
            for filling in running {
                filling.purge();
            }
            true
        })
    }

    fn follow(&self, filling: Arc<Filling>) -> Result<(CacheMeta, HitHandler)> {
        let meta = filling.meta.meta()?;
        let hit = FollowingHit::new(filling, self.store.disk().is_some());
        Ok((meta, Box::new(hit)))
    }
}

#[async_trait]
impl Storage for BlockStorage {
    async fn lookup(
        &'static self,
        key: &CacheKey,
        _trace: &SpanHandle,
    ) -> Result<Option<(CacheMeta, HitHandler)>> {
        let entry = EntryId(key.combined_bin());
        if self.streams
            && let Some(filling) = self.followed(entry, None)
        {
            return self.follow(filling).map(Some);
        }
        let Some(record) = self.record(entry).await else {
            return Ok(None);
        };
        let hit = self.open(entry, &record).await;
        let (Some(hit), Ok(meta)) = (hit, record.meta.meta()) else {
            self.drop_record(entry, &record).await;
            return Ok(None);
        };
        Ok(Some((meta, Box::new(hit))))
    }

    async fn lookup_streaming_write(
        &'static self,
        key: &CacheKey,
        streaming_write_tag: Option<&[u8]>,
        trace: &SpanHandle,
    ) -> Result<Option<(CacheMeta, HitHandler)>> {
        let entry = EntryId(key.combined_bin());
        let Some(tag) = streaming_write_tag else {
            return self.lookup(key, trace).await;
        };
        let write = tag.try_into().ok().map(WriteId);
        let filling = write.and_then(|write| self.followed(entry, Some(write)));
        filling.map(|filling| self.follow(filling)).transpose()
    }

    async fn get_miss_handler(
        &'static self,
        key: &CacheKey,
        meta: &CacheMeta,
        _trace: &SpanHandle,
    ) -> Result<MissHandler> {
        let entry = EntryId(key.combined_bin());
        let declared = declared_length(meta);
        let extent = declared.map_or(Extent::Open, Extent::Exact);
        let body = Body::new(&self.store, entry, WriteId::new(), extent, 0);
        let filling = Filling::new(Arc::new(body), Serialized::of(meta)?, declared);
        let filling = Arc::new(filling);
        let mut fillings = self.fillings.lock();
        fillings
            .entry(entry)
            .or_default()
            .push(Arc::clone(&filling));
        drop(fillings);
        Ok(Box::new(Write::new(self, entry, filling)))
    }

    async fn purge(
        &'static self,
        target: PurgeTarget<'_>,
        purge_type: PurgeType,
        _trace: &SpanHandle,
    ) -> Result<PurgeOutcome> {
        let Some(entry) = entry_of(target) else {
            return Ok(PurgeOutcome::NotFound);
        };
        let lock = self.lock(entry).await;
        // Evicted is what was there, not what is about to come.
        let was_running =
            matches!(purge_type, PurgeType::Invalidation) && self.purge_fillings(entry);
        let record = self.load(entry).await;
        self.records.remove(entry);
        let is_gone = self.remove_from_disk(entry).await;
        drop(lock);
        let Some(record) = record else {
            return outcome(is_gone, was_running, PurgeOutcome::Purged(None));
        };
        record.body.condemn();
        outcome(is_gone, true, PurgeOutcome::Purged(None))
    }

    async fn expire(
        &'static self,
        target: PurgeTarget<'_>,
        _trace: &SpanHandle,
    ) -> Result<PurgeOutcome> {
        let Some(entry) = entry_of(target) else {
            return Ok(PurgeOutcome::NotFound);
        };
        let _lock = self.lock(entry).await;
        let Some(record) = self.load(entry).await else {
            return Ok(PurgeOutcome::NotFound);
        };
        let mut meta = record.meta.meta()?;
        meta.expire_at(SystemTime::now());
        let is_kept = self.replace(entry, &record, Serialized::of(&meta)?).await;
        // Rather no meta than one that is fresh again after a restart.
        let is_safe = is_kept || self.remove_from_disk(entry).await;
        outcome(is_safe, true, PurgeOutcome::Expired)
    }

    async fn update_meta(
        &'static self,
        key: &CacheKey,
        meta: &CacheMeta,
        _trace: &SpanHandle,
    ) -> Result<bool> {
        let entry = EntryId(key.combined_bin());
        let _lock = self.lock(entry).await;
        let Some(record) = self.load(entry).await else {
            return Ok(false);
        };
        // Where the disk keeps the one before, that is only less fresh.
        self.replace(entry, &record, Serialized::of(meta)?).await;
        Ok(true)
    }

    fn support_streaming_partial_write(&self) -> bool {
        self.streams
    }

    fn as_any(&self) -> &(dyn Any + Send + Sync + 'static) {
        self
    }
}

/// Entries have no ids, so one with an id is somebody else's.
fn entry_of(target: PurgeTarget<'_>) -> Option<EntryId> {
    let is_ours = !matches!(target, PurgeTarget::Exact(CacheEntryKey::Identified { .. }));
    is_ours.then(|| EntryId(target.key().combined_bin()))
}

fn outcome(is_safe: bool, was_there: bool, outcome: PurgeOutcome) -> Result<PurgeOutcome> {
    match (is_safe, was_there) {
        (true, true) => Ok(outcome),
        (true, false) => Ok(PurgeOutcome::NotFound),
        (false, _) => Error::e_explain(
            ErrorType::InternalError,
            "the disk kept a record that may come back after a restart",
        ),
    }
}

/// How long the response said that its body is.
fn declared_length(meta: &CacheMeta) -> Option<u64> {
    let field = meta.headers().get(header::CONTENT_LENGTH)?;
    field.to_str().ok()?.parse().ok()
}
