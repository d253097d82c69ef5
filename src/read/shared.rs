//! What all reads share.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use tokio::sync::Semaphore;

use super::ahead::Ahead;
use super::fills::Fills;
use super::learning::Learning;
use super::listing;
use super::stride::Strides;
use super::tails::Tails;
use crate::cache::BlockSize;
use crate::cache::Blocks;
use crate::cache::Generations;
use crate::cache::Metas;
use crate::cache::ObjectVersion;
use crate::cache::Presence;
use crate::cache::SegmentIndex;
use crate::cache::Store;
use crate::cache::Verdicts;
use crate::telemetry::CacheMetrics;
use crate::upstream::Downloads;

/// What reading is told.
#[derive(Debug, Clone, Copy)]
pub struct ReadConfig {
    /// The grid over objects.
    pub block_size: BlockSize,
    /// Bytes that are fetched and not yet stored, at most.
    pub fill_memory: u64,
}

/// The parts that reading works on, made by whoever builds the server.
#[derive(Clone)]
pub struct ReadParts {
    /// Blocks.
    pub store: Arc<Store>,
    /// Metas.
    pub metas: Arc<Metas>,
    /// Fences against writes.
    pub generations: Arc<Generations>,
    /// What the origin said to identities of their own.
    pub verdicts: Arc<Verdicts>,
    /// Connections to origins.
    pub downloads: Arc<Downloads>,
    /// Numbers.
    pub metrics: CacheMetrics,
}

/// The state of all reads.
pub(super) struct Shared {
    pub(super) config: ReadConfig,
    pub(super) store: Arc<Store>,
    /// Bytes that the store may hold in memory.
    pub(super) memory: u64,
    pub(super) metas: Arc<Metas>,
    pub(super) generations: Arc<Generations>,
    pub(super) verdicts: Arc<Verdicts>,
    pub(super) downloads: Arc<Downloads>,
    pub(super) metrics: CacheMetrics,
    pub(super) fills: Fills,
    pub(super) learning: Learning,
    pub(super) ahead: Ahead,
    pub(super) strides: Strides,
    pub(super) tails: Tails,
    /// Long reads that are under way.
    pub(super) readers: AtomicUsize,
    /// Places for pages of ListObjects that are read along.
    pub(super) pages: Arc<Semaphore>,
}

impl Shared {
    pub(super) fn new(config: ReadConfig, parts: ReadParts) -> Arc<Self> {
        let memory = parts.store.memory_capacity();
        let metrics = parts.metrics.clone();
        let connections = parts.downloads.max_connections();
        Arc::new(Self {
            fills: Fills::new(config.block_size, config.fill_memory),
            learning: Learning::default(),
            ahead: Ahead::new(config.block_size, parts.metrics.clone()),
            strides: Strides::new(memory, connections, metrics),
            tails: Tails::new(memory, connections),
            readers: AtomicUsize::new(0),
            pages: Arc::new(Semaphore::new(listing::MAX_PAGES)),
            config,
            memory,
            store: parts.store,
            metas: parts.metas,
            generations: parts.generations,
            verdicts: parts.verdicts,
            downloads: parts.downloads,
            metrics: parts.metrics,
        })
    }

    /// The blocks of a segment that are stored; asks the disk where that is not known.
    pub(super) async fn blocks(
        &self,
        version: &Arc<ObjectVersion>,
        segment: SegmentIndex,
    ) -> Blocks {
        match self.store.present(version, segment) {
            Presence::Known(blocks) => blocks,
            Presence::Unknown(_) => self.store.look(version, segment).await,
        }
    }
}
