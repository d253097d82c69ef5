//! Reading a stored body, or one that is still being written.

use std::any::Any;
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use pingora::Error;
use pingora::ErrorType;
use pingora::Result;
use pingora_cache::CacheKey;
use pingora_cache::Storage;
use pingora_cache::storage::HandleHit;
use pingora_cache::trace::SpanHandle;
use tokio::sync::watch;

use super::BlockStorage;
use super::body::Body;
use super::filling::Filling;
use super::filling::Progress;
use super::filling::Stage;
use super::key::EntryId;
use super::record::Record;

/// What is read at once, and what a short body is: one read of the disk tier.
pub(super) const PIECE_BYTES: u64 = 1 << 20;

/// A hit on a stored response.
pub(super) struct StoredHit {
    storage: &'static BlockStorage,
    entry: EntryId,
    record: Arc<Record>,
    /// A short body as a whole: it was read before anybody was promised anything.
    held: Option<Vec<Bytes>>,
    left: Range<u64>,
}

/// A hit on a response that is being written.
pub(super) struct FollowingHit {
    filling: Arc<Filling>,
    progress: watch::Receiver<Progress>,
    position: u64,
    /// Where the asked range ends.
    end: Option<u64>,
    has_disk: bool,
}

impl StoredHit {
    /// `None` when the body is not stored as a whole.
    pub(super) async fn open(
        storage: &'static BlockStorage,
        entry: EntryId,
        record: Arc<Record>,
    ) -> Option<Self> {
        let length = record.length;
        let held = if length <= PIECE_BYTES {
            Some(whole(&record.body, length).await?)
        } else if record.body.has_all(length).await {
            None
        } else {
            return None;
        };
        Some(Self {
            storage,
            entry,
            record,
            held,
            left: 0..length,
        })
    }

    async fn piece(&self, wanted: &Range<u64>) -> Option<Bytes> {
        match &self.held {
            Some(pieces) => held(pieces, wanted),
            None => self.record.body.read(wanted).await,
        }
    }
}

#[async_trait]
impl HandleHit for StoredHit {
    async fn read_body(&mut self) -> Result<Option<Bytes>> {
        if self.left.is_empty() {
            return Ok(None);
        }
        let wanted = piece_of(&self.left);
        let Some(bytes) = self.piece(&wanted).await else {
            // What was there at the look-up is evicted, damaged or unreadable by now. The answer is
            // cut, never padded, and the next look-up is a miss.
            self.storage.drop_record(self.entry, &self.record).await;
            return Error::e_explain(ErrorType::InternalError, "a stored body is incomplete");
        };
        self.left.start += bytes.len() as u64;
        Ok(Some(bytes))
    }

    async fn finish(
        self: Box<Self>,
        _storage: &'static (dyn Storage + Sync),
        _key: &CacheKey,
        _trace: &SpanHandle,
    ) -> Result<()> {
        Ok(())
    }

    fn can_seek(&self) -> bool {
        true
    }

    fn seek(&mut self, start: usize, end: Option<usize>) -> Result<()> {
        self.left = sought(start, end, self.record.length)?;
        Ok(())
    }

    fn get_eviction_weight(&self) -> usize {
        self.record.stored_bytes()
    }

    fn as_any(&self) -> &(dyn Any + Send + Sync) {
        self
    }

    fn as_any_mut(&mut self) -> &mut (dyn Any + Send + Sync) {
        self
    }
}

impl FollowingHit {
    pub(super) fn new(filling: Arc<Filling>, has_disk: bool) -> Self {
        Self {
            progress: filling.progress(),
            end: filling.declared,
            filling,
            position: 0,
            has_disk,
        }
    }

    /// What was written from the position on.
    async fn piece(&self, written: u64) -> Option<Bytes> {
        let end = self.end.map_or(written, |end| end.min(written));
        let wanted = self.position..end;
        if let Some(bytes) = self.filling.recent(&wanted) {
            return Some(bytes);
        }
        let (body, wanted) = (&self.filling.body, piece_of(&wanted));
        if let Some(bytes) = body.read(&wanted).await {
            return Some(bytes);
        }
        // It may be on its way to the disk.
        if !self.has_disk {
            return None;
        }
        body.landed().await;
        body.cold(&wanted).await
    }
}

#[async_trait]
impl HandleHit for FollowingHit {
    /// May be dropped at any await: nothing is changed before the end.
    async fn read_body(&mut self) -> Result<Option<Bytes>> {
        loop {
            if self.end.is_some_and(|end| self.position >= end) {
                return Ok(None);
            }
            let Progress { written, stage } = *self.progress.borrow_and_update();
            if self.position < written {
                let Some(bytes) = self.piece(written).await else {
                    return Error::e_explain(
                        ErrorType::InternalError,
                        "what was written is evicted already",
                    );
                };
                self.position += bytes.len() as u64;
                return Ok(Some(bytes));
            }
            match stage {
                Stage::Done => return Ok(None),
                Stage::Failed => {
                    return Error::e_explain(ErrorType::InternalError, "the write failed");
                }
                // The sender lives as long as the filling.
                Stage::Running => drop(self.progress.changed().await),
            }
        }
    }

    async fn finish(
        self: Box<Self>,
        _storage: &'static (dyn Storage + Sync),
        _key: &CacheKey,
        _trace: &SpanHandle,
    ) -> Result<()> {
        Ok(())
    }

    fn can_seek(&self) -> bool {
        self.filling.declared.is_some()
    }

    fn seek(&mut self, start: usize, end: Option<usize>) -> Result<()> {
        let sought = sought(start, end, self.filling.declared.unwrap_or_default())?;
        (self.position, self.end) = (sought.start, Some(sought.end));
        Ok(())
    }

    /// It is counted when it is admitted.
    fn should_count_access(&self) -> bool {
        false
    }

    fn as_any(&self) -> &(dyn Any + Send + Sync) {
        self
    }

    fn as_any_mut(&mut self) -> &mut (dyn Any + Send + Sync) {
        self
    }
}

/// All of a short body.
async fn whole(body: &Body, length: u64) -> Option<Vec<Bytes>> {
    let mut pieces = Vec::new();
    let mut left = 0..length;
    while !left.is_empty() {
        let piece = body.read(&left).await?;
        left.start += piece.len() as u64;
        pieces.push(piece);
    }
    Some(pieces)
}

/// Bytes from the start of an interval on.
fn held(pieces: &[Bytes], wanted: &Range<u64>) -> Option<Bytes> {
    let mut skip = usize::try_from(wanted.start).ok()?;
    let length = usize::try_from(wanted.end - wanted.start).ok()?;
    for piece in pieces {
        if skip < piece.len() {
            let end = piece.len().min(skip.saturating_add(length));
            return Some(piece.slice(skip..end));
        }
        skip -= piece.len();
    }
    None
}

/// So that a read never crosses an aligned mebibyte: memory holds no longer buffers.
fn piece_of(left: &Range<u64>) -> Range<u64> {
    let boundary = (left.start / PIECE_BYTES + 1).saturating_mul(PIECE_BYTES);
    left.start..left.end.min(boundary)
}

/// A range within a body; what lies beyond its end is left out.
fn sought(start: usize, end: Option<usize>, length: u64) -> Result<Range<u64>> {
    let start = start as u64;
    if start >= length {
        return Error::e_explain(
            ErrorType::InternalError,
            format!("cannot seek to {start} of {length} bytes"),
        );
    }
    let end = end.map_or(length, |end| length.min(end as u64));
    Ok(start..end.max(start))
}
