//! The bytes of one answer in order: from memory, from a running fill, from disk, or from a fill that
//! is begun for them.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;

use super::error::FillError;
use super::fill::Follower;
use super::fill::Found;
use super::filling::Source;
use super::missing;
use super::missing::Wanted;
use super::plan::Beyond;
use super::shared::Shared;
use super::window;
use super::window::Window;
use crate::cache::BlockIndex;
use crate::cache::ObjectVersion;
use crate::telemetry::FillEvent;
use crate::telemetry::Tier;

/// Reads above this length look ahead even while everything is in memory.
const LONG: u64 = 1 << 20;

/// Pieces in which a whole answer is given at once: of a mebibyte that lies across two buffers, and of
/// some that were filled one by one.
pub(crate) const PIECES: usize = 8;

/// Attempts for one position, each after something failed or was evicted before it could be read.
const MAX_ATTEMPTS: u32 = 4;

/// How many bytes came from where.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Served {
    /// From memory.
    pub memory: u64,
    /// From disk.
    pub disk: u64,
    /// From a fill, as the origin sent them.
    pub origin: u64,
}

/// An ordered read of an interval of one object version.
pub struct ObjectStream {
    shared: Arc<Shared>,
    version: Arc<ObjectVersion>,
    source: Source,
    position: u64,
    end: u64,
    window: Window,
    is_long: bool,
    /// Fills that this read waits for, now or soon, in the order of the object.
    followed: VecDeque<Arc<Follower>>,
    /// Read before it was asked for.
    pending: VecDeque<Bytes>,
    served: Served,
    /// What is fetched for this read: it comes from the origin, by whatever way it is read.
    fetched: VecDeque<Range<u64>>,
    /// Whether it came with a fill, and how many it began beside.
    has_arriving: bool,
    fills_begun: u32,
    has_collapsed: bool,
    /// A block that is said to be stored and could not be read.
    distrusted: Option<BlockIndex>,
}

impl ObjectStream {
    pub(super) fn new(
        shared: &Arc<Shared>,
        version: &Arc<ObjectVersion>,
        source: Source,
        interval: Range<u64>,
        arriving: Option<Arc<Follower>>,
    ) -> Self {
        let is_long = interval.end - interval.start > LONG;
        if is_long {
            shared.readers.fetch_add(1, Ordering::Relaxed);
        }
        let is_whole = interval == (0..version.size);
        Self {
            window: Window::new(&interval, is_whole),
            shared: Arc::clone(shared),
            version: Arc::clone(version),
            source,
            position: interval.start,
            end: interval.end,
            is_long,
            fetched: arriving.iter().map(|fill| fill.interval()).collect(),
            has_arriving: arriving.is_some(),
            fills_begun: 0,
            followed: arriving.into_iter().collect(),
            pending: VecDeque::new(),
            served: Served::default(),
            has_collapsed: false,
            distrusted: None,
        }
    }

    /// Waits for the first bytes, so that what goes wrong before them can still be told.
    pub(super) async fn begin(&mut self) -> Result<(), FillError> {
        if self.pending.is_empty() && self.position < self.end {
            let bytes = self.read().await?;
            self.pending.push_back(bytes);
            // What follows is fetched at once, and the head of the answer tells that it is.
            if self.position < self.end {
                self.look_ahead().await;
            }
        }
        Ok(())
    }

    /// Begins with all the bytes, if they are there without waiting and in few pieces; otherwise nothing
    /// is read.
    pub(super) fn begin_at_once(&mut self) -> bool {
        let is_short = self.end - self.position <= LONG;
        let Some(pieces) = is_short.then(|| self.pieces_at_once()).flatten() else {
            return false;
        };
        for (bytes, tier) in pieces {
            let bytes = self.take(bytes, tier);
            self.pending.push_back(bytes);
        }
        true
    }

    fn pieces_at_once(&self) -> Option<Vec<(Bytes, Tier)>> {
        let mut pieces = Vec::new();
        let mut position = self.position;
        while position < self.end {
            if pieces.len() == PIECES {
                return None;
            }
            let piece = match self.read_memory(position) {
                Some(bytes) => (bytes, Tier::Memory),
                None => (self.read_disk_at_once(position)?, Tier::Disk),
            };
            position += piece.0.len() as u64;
            pieces.push(piece);
        }
        Some(pieces)
    }

    /// All that is left, when it is there, in a few pieces.
    pub fn take_whole(&mut self) -> Option<VecDeque<Bytes>> {
        let is_whole = self.position >= self.end;
        is_whole.then(|| std::mem::take(&mut self.pending))
    }

    /// The next bytes; `None` at the end. An error is final.
    pub async fn next(&mut self) -> Option<Result<Bytes, super::ReadError>> {
        if let Some(bytes) = self.pending.pop_front() {
            return Some(Ok(bytes));
        }
        if self.position >= self.end {
            return None;
        }
        let read = self.read().await;
        if read.is_err() {
            self.position = self.end;
        }
        Some(read.map_err(Into::into))
    }

    /// How many bytes are still to come.
    pub fn left(&self) -> u64 {
        let pending: u64 = self.pending.iter().map(|bytes| bytes.len() as u64).sum();
        self.end - self.position + pending
    }

    /// Where the bytes so far came from.
    pub fn served(&self) -> Served {
        self.served
    }

    /// Whether a fill was begun for this read.
    pub fn has_begun_fill(&self) -> bool {
        self.has_arriving || self.fills_begun > 0
    }

    /// How many fills were begun for this read, apart from what brought the object's meta.
    pub fn fills_begun(&self) -> u32 {
        self.fills_begun
    }

    /// Whether it waited for a fill that another read had begun.
    pub fn has_collapsed(&self) -> bool {
        self.has_collapsed
    }

    async fn read(&mut self) -> Result<Bytes, FillError> {
        let mut attempts = 0;
        loop {
            if let Some(bytes) = self.read_memory(self.position) {
                // What is still missing is begun at once, and told of as missing.
                if self.is_long || (bytes.len() as u64) < self.end - self.position {
                    self.look_ahead().await;
                }
                return Ok(self.take(bytes, Tier::Memory));
            }
            self.look_ahead().await;
            if let Some(follower) = self.follower() {
                match follower.read(self.position, self.end - self.position).await {
                    Found::Bytes(bytes) => return Ok(self.take(bytes, Tier::Origin)),
                    // What it brought is stored, unless it was evicted again.
                    Found::Ended => self.leave(&follower),
                    Found::Failed(error) => {
                        self.leave(&follower);
                        attempts += 1;
                        if attempts >= MAX_ATTEMPTS || !self.may_try_again(&error) {
                            return Err(error);
                        }
                    }
                }
                continue;
            }
            if let Some(bytes) = self.read_disk(self.position).await {
                return Ok(self.take(bytes, Tier::Disk));
            }
            attempts += 1;
            if attempts > MAX_ATTEMPTS {
                return Err(FillError::Unexpected(
                    "the bytes are evicted before they are read",
                ));
            }
            self.fill_now();
        }
    }

    /// What failed for others need not fail for this read: an identity may be refused, and a fill
    /// may have been given up in the moment when this read came.
    fn may_try_again(&self, error: &FillError) -> bool {
        match error {
            FillError::Abandoned => true,
            FillError::Refused(_) => self.has_collapsed,
            FillError::Changed | FillError::Upstream(_) | FillError::Unexpected(_) => false,
        }
    }

    fn take(&mut self, bytes: Bytes, tier: Tier) -> Bytes {
        let length = bytes.len() as u64;
        let position = self.position;
        let is_fetched = self.fetched.iter().any(|part| part.contains(&position));
        let tier = if is_fetched { Tier::Origin } else { tier };
        let block = self.shared.config.block_size;
        let touched = block.touched_by(&(self.position..self.position + length));
        self.shared
            .metrics
            .served(tier, touched.end.0 - touched.start.0, length);
        match tier {
            Tier::Memory => self.served.memory += length,
            Tier::Disk => self.served.disk += length,
            Tier::Origin => self.served.origin += length,
        }
        self.position += length;
        let position = self.position;
        self.followed.retain(|follower| follower.end() > position);
        self.fetched.retain(|part| part.end > position);
        bytes
    }

    /// What one buffer in memory has from a position on.
    fn read_memory(&self, position: u64) -> Option<Bytes> {
        let wanted = self.wanted(position);
        let blocks = wanted.end.0 - wanted.start.0;
        let bytes = self.shared.store.hot(&self.version, wanted.start, blocks);
        self.cut(&bytes?, position)
    }

    /// What one file on disk has, if that takes no waiting.
    fn read_disk_at_once(&self, position: u64) -> Option<Bytes> {
        let wanted = self.wanted(position);
        let bytes = self.shared.store.cold_at_once(&self.version, wanted);
        self.cut(&bytes?, position)
    }

    async fn read_disk(&self, position: u64) -> Option<Bytes> {
        let wanted = self.wanted(position);
        let bytes = self.shared.store.cold(&self.version, wanted).await;
        self.cut(&bytes?, position)
    }

    /// The blocks from the one that a position lies in.
    fn wanted(&self, position: u64) -> Range<BlockIndex> {
        let block = self.shared.config.block_size;
        block.touched_by(&(position..self.end))
    }

    /// What of a run of these blocks is wanted.
    fn cut(&self, run: &Bytes, position: u64) -> Option<Bytes> {
        let block = self.shared.config.block_size;
        let start = block.start_of(block.block_at(position));
        let skip = usize::try_from(position - start).ok()?;
        let length = usize::try_from(self.end - start).unwrap_or(usize::MAX);
        let end = length.min(run.len());
        (skip < end).then(|| run.slice(skip..end))
    }

    /// The running fill that brings the next byte.
    fn follower(&mut self) -> Option<Arc<Follower>> {
        let position = self.position;
        if let Some(own) = self.followed.iter().find(|fill| fill.covers(position)) {
            return Some(Arc::clone(own));
        }
        let others = self.shared.fills.follow(&self.version.id, position)?;
        self.shared.metrics.fill(FillEvent::Collapsed);
        self.has_collapsed = true;
        let others = Arc::new(others);
        self.fetched.push_front(others.interval());
        self.followed.push_front(Arc::clone(&others));
        Some(others)
    }

    fn leave(&mut self, follower: &Arc<Follower>) {
        self.followed.retain(|other| !Arc::ptr_eq(other, follower));
    }

    /// Begins fills for what is missing of the window, if it is time to.
    async fn look_ahead(&mut self) {
        let readers = self.shared.readers.load(Ordering::Relaxed);
        let limit = window::limit(self.shared.memory, readers);
        let Some(due) = self.window.due(self.position, limit) else {
            return;
        };
        let looked_to = self.look_at(due).await;
        self.window.advance(looked_to);
    }

    /// Looks at an interval, and begins the fills of it for which there is room. Answers how far it
    /// came.
    async fn look_at(&mut self, interval: Range<u64>) -> u64 {
        let ahead = &self.shared.ahead;
        let is_last = interval.end == self.end;
        let wanted = Wanted {
            beyond: if is_last {
                ahead.beyond(&self.version, &interval)
            } else {
                Beyond::HOLE
            },
            interval,
            position: Some(self.position),
            distrusted: self.distrusted.take(),
        };
        let begun = missing::begin(&self.shared, &self.version, &self.source, wanted).await;
        for fill in &begun.fills {
            self.fills_begun += 1;
            if is_last {
                ahead.widened(&self.version, &fill.interval, self.end);
            }
            // What this read does not come to is not given up when it ends.
            if fill.interval.start >= self.end {
                continue;
            }
            self.fetched.push_back(fill.interval.clone());
            self.followed.push_back(Arc::new(fill.follow()));
        }
        begun.to
    }

    /// The next block was evicted or refused since it was looked at: fetches it and what follows.
    fn fill_now(&mut self) {
        let block = self.shared.config.block_size;
        self.distrusted = Some(block.block_at(self.position));
        self.window.look_again(self.position);
    }
}

impl Drop for ObjectStream {
    fn drop(&mut self) {
        if self.is_long {
            self.shared.readers.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::BlockSize;
    use crate::cache::Store;
    use crate::cache::store::disk::DiskConfig;
    use crate::cache::store::disk::DiskTier;
    use crate::read::tests::shared;
    use crate::read::tests::source;
    use crate::read::tests::version;

    /// A disk that is too slow or too busy has the block and does not give it.
    #[tokio::test]
    async fn what_is_stored_and_cannot_be_read_is_fetched() {
        let dir = tempfile::tempdir().unwrap();
        let config = DiskConfig::new(dir.path().join("cache"));
        let disk = DiskTier::open(config, Arc::default()).unwrap();
        let shared = shared(Store::new(BlockSize::DEFAULT, 0, Some(disk)));
        let version = version("a", 1000);
        let block = Bytes::from(vec![1; 1000]);
        shared.store.admit(&version, BlockIndex(0), block);
        shared.store.flush().await;
        let source = source(&shared, &version.object);
        let mut stream = ObjectStream::new(&shared, &version, source, 0..1000, None);
        stream.look_ahead().await;
        assert_eq!(stream.fills_begun(), 0, "it is stored");
        stream.fill_now();
        stream.look_ahead().await;
        assert_eq!(stream.fills_begun(), 1);
    }
}
