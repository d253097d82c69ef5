//! Reads ahead of engines that read some columns of a Parquet file, row group after row group.
//!
//! The footer, which passes through the cache before anything else of a file does, says where the
//! columns lie. What is fetched ahead is fetched like everything else ([`super::missing`]), behind
//! what clients wait for; how much, the [`Ledger`]s of the file and of all files say: what is never
//! read is bounded, and a file of which too much is not read is not read ahead of any more. Whatever
//! fails here, no client learns of it.

mod learn;
mod object;
mod pattern;
mod unread;

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use moka::notification::RemovalCause;
use moka::sync::Cache;
use parking_lot::Mutex;
use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::Semaphore;

use super::Reader;
use super::ask::ReadAsk;
use super::fill::Fill;
use super::fill::Follower;
use super::filling::Source;
use super::finding::Found;
use super::ledger::Ledger;
use super::missing;
use super::missing::Wanted;
use super::plan;
use super::plan::Beyond;
use super::shared::Shared;
use crate::cache::BlockIndex;
use crate::cache::Blocks;
use crate::cache::ObjectVersion;
use crate::cache::SegmentIndex;
use crate::cache::VersionId;
use crate::telemetry::CacheMetrics;
use learn::learn;
use object::Due;
use object::Object;
pub(in crate::read) use object::Stock;

/// Memory for what is known of files.
const MAX_BYTES: u64 = 32 << 20;

/// A file that nobody reads for so long is forgotten, and what was fetched of it in vain is counted.
const PATIENCE: Duration = Duration::from_mins(1);

/// What may be fetched in vain of all files, before anything was of use.
const ALLOWANCE: u64 = 64 << 20;

/// Of the memory tier, what may be fetched ahead and not read: what is new passes through a tenth of
/// it.
const MEMORY_SHARE: u64 = 16;

/// Bounds of that share.
const LEAST_AHEAD: u64 = 4 << 20;
const MOST_AHEAD: u64 = 128 << 20;

/// Runs that are fetched ahead at one moment. Fewer than half of the connections to an origin, which
/// is what may be used for this at all: so no client comes to wait for one that waits itself.
const MAX_RUNS: usize = 16;

/// Who reads what of which file.
pub(super) struct Strides {
    objects: Cache<VersionId, Arc<Object>>,
    ledger: Arc<Mutex<Ledger>>,
    places: Arc<Semaphore>,
}

impl Strides {
    /// Over a memory tier of this capacity, with so many connections to each origin.
    pub(super) fn new(memory: u64, connections: usize, metrics: CacheMetrics) -> Self {
        let most = (memory / MEMORY_SHARE).clamp(LEAST_AHEAD, MOST_AHEAD);
        let ledger = Arc::new(Mutex::new(Ledger::new(ALLOWANCE, most)));
        let shared = Arc::clone(&ledger);
        let gone = move |_, object: Arc<Object>, cause| {
            if cause != RemovalCause::Replaced {
                let bytes = object.give_up();
                shared.lock().lost(bytes);
                metrics.prefetch_wasted(bytes);
            }
        };
        let objects = Cache::builder()
            .max_capacity(MAX_BYTES)
            .weigher(|_, object: &Arc<Object>| object.weight())
            .time_to_idle(PATIENCE)
            .eviction_listener(gone)
            .build();
        Self {
            objects,
            ledger,
            places: Arc::new(Semaphore::new((connections / 4).clamp(1, MAX_RUNS))),
        }
    }

    fn object(&self, version: &ObjectVersion) -> Arc<Object> {
        self.objects
            .get_with(version.id, || Arc::new(Object::default()))
    }
}

impl Reader {
    /// Notes a read, and fetches what is expected to be read after it. How its bytes are found is looked up where it
    /// is not known.
    pub(super) fn stride(
        &self,
        ask: &ReadAsk,
        found: &Found,
        interval: &Range<u64>,
        known: Option<Stock>,
    ) {
        let shared = &self.0;
        let version = &found.meta.version;
        // The tail is all of it.
        if version.size <= plan::TAIL {
            return;
        }
        let object = shared.strides.object(version);
        let stock = known.unwrap_or_else(|| stock(shared, version, interval));
        let noted = object.note(shared, interval, stock);
        if noted.is_nothing() {
            return;
        }
        let errand = Errand {
            shared: Arc::clone(shared),
            version: Arc::clone(version),
            source: self.source(ask),
            object,
        };
        tokio::spawn(errand.run(noted));
    }
}

/// How the blocks of an interval are found: those of its first and last segment.
fn stock(shared: &Shared, version: &ObjectVersion, interval: &Range<u64>) -> Stock {
    let blocks = shared.config.block_size.touched_by(interval);
    let last = BlockIndex(blocks.end.0.saturating_sub(1));
    let is_stored = |segment: SegmentIndex| {
        let wanted = Blocks::of(&blocks, segment);
        let stored = shared.store.present(version, segment).blocks();
        wanted.without(stored).is_empty()
    };
    let are_stored = || is_stored(blocks.start.segment()) && is_stored(last.segment());
    let is_there = are_stored();
    if !is_there && shared.fills.is_filling(&version.id, interval) {
        Stock::Filling
    } else if is_there || are_stored() {
        // Or what was on its way has arrived in between.
        Stock::Stored
    } else {
        Stock::Missing
    }
}

/// Fetching ahead in one file.
struct Errand {
    shared: Arc<Shared>,
    version: Arc<ObjectVersion>,
    source: Source,
    object: Arc<Object>,
}

impl Errand {
    async fn run(self, due: Due) {
        match due {
            Due::Nothing => {}
            Due::Layout => {
                let lesson = learn(&self.shared, &self.version).await;
                let runs = self.object.learned(&self.shared, lesson);
                // Its weight is another one now.
                let object = Arc::clone(&self.object);
                self.shared.strides.objects.insert(self.version.id, object);
                self.fetch(runs).await;
            }
            Due::Runs(runs) => self.fetch(runs).await,
        }
    }

    /// Begins to fetch what is missing of these runs, as long as there is room.
    async fn fetch(self, runs: Vec<Range<u64>>) {
        for run in runs {
            let places = Arc::clone(&self.shared.strides.places);
            let Ok(place) = places.try_acquire_owned() else {
                self.object.fell_short(run.start);
                return;
            };
            let wanted = Wanted {
                interval: run.clone(),
                position: None,
                distrusted: None,
                // Which columns are read is known: no others come along, but for holes.
                beyond: Beyond {
                    reach: BlockIndex(0),
                    ..self.shared.ahead.beyond(&self.version, &run)
                },
            };
            let begun = missing::begin(&self.shared, &self.version, &self.source, wanted).await;
            if !begun.fills.is_empty() {
                self.follow(&begun.fills, run.end, place);
            }
            if begun.to < run.end {
                self.object.fell_short(begun.to);
                return;
            }
        }
    }

    /// Counts fills of what ends here, and keeps them going until they end. What they bring beyond it
    /// is nothing that was expected.
    fn follow(&self, fills: &[Arc<Fill>], end: u64, place: OwnedSemaphorePermit) {
        let shared = &self.shared;
        let last = end.next_multiple_of(shared.config.block_size.bytes());
        let mut intervals = Vec::new();
        let mut followers: Vec<Follower> = Vec::new();
        for fill in fills {
            shared.ahead.widened(&self.version, &fill.interval, end);
            let expected = fill.interval.start..fill.interval.end.min(last);
            if !expected.is_empty() {
                intervals.push(expected);
            }
            followers.push(fill.follow());
        }
        let bytes = intervals.iter().map(|run| run.end - run.start).sum();
        shared.metrics.prefetched(bytes);
        shared.strides.ledger.lock().begun(bytes);
        self.object.begun(shared, &intervals);
        let (shared, object) = (Arc::clone(shared), Arc::clone(&self.object));
        tokio::spawn(async move {
            // In the order of the object: what is wholly beyond comes last.
            for (index, follower) in followers.iter().enumerate() {
                if let (Err(_), Some(interval)) = (follower.ended().await, intervals.get(index)) {
                    let bytes = object.failed(&shared, interval);
                    shared.strides.ledger.lock().failed(bytes);
                }
            }
            drop(place);
        });
    }
}
