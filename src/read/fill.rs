//! One ranged GET on its way into the cache, and everyone who reads along.
//!
//! Bytes can be read from a fill as they arrive. It keeps them until it ends; then they are in the
//! store, and a reader that its client slows down holds nothing here.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::error::FillError;
use crate::cache::ObjectVersion;
use crate::upstream::Awaited;

/// A fill, shared by the task that runs it and its followers.
pub(super) struct Fill {
    /// Of which version.
    pub(super) version: Arc<ObjectVersion>,
    /// The bytes that it fetches.
    pub(super) interval: Range<u64>,
    state: Mutex<State>,
    progress: Notify,
    followers: AtomicUsize,
    /// Whether anybody ever read along: what is fetched ahead waits for its reader.
    was_followed: AtomicBool,
    left: Notify,
    /// Whether a client waits for its bytes, whoever it was begun for.
    pub(super) awaited: Awaited,
}

/// What has come of it.
struct State {
    /// In order and without gaps, up to `arrived`.
    pieces: Vec<Piece>,
    arrived: u64,
    end: Option<Result<(), FillError>>,
    /// Followers that wait at this moment, and are owed a byte before the pieces go.
    waiting: usize,
}

struct Piece {
    start: u64,
    bytes: Bytes,
}

/// What a follower finds.
#[derive(Debug)]
pub(super) enum Found {
    /// Bytes from the offset on.
    Bytes(Bytes),
    /// It has ended: the store has the bytes, or nobody.
    Ended,
    /// It failed before it came so far.
    Failed(FillError),
}

/// A reader's interest in a fill. Without any, the fill stops.
pub(super) struct Follower(Arc<Fill>);

impl Fill {
    /// Nothing has arrived yet.
    pub(super) fn new(version: Arc<ObjectVersion>, interval: Range<u64>) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::new(State {
                pieces: Vec::new(),
                arrived: interval.start,
                end: None,
                waiting: 0,
            }),
            version,
            interval,
            progress: Notify::new(),
            followers: AtomicUsize::new(0),
            was_followed: AtomicBool::new(false),
            left: Notify::new(),
            awaited: Awaited::default(),
        })
    }

    /// Reads along.
    pub(super) fn follow(self: &Arc<Self>) -> Follower {
        self.followers.fetch_add(1, Ordering::AcqRel);
        self.was_followed.store(true, Ordering::Release);
        Follower(Arc::clone(self))
    }

    /// The next byte to arrive.
    pub(super) fn arrived(&self) -> u64 {
        self.state.lock().arrived
    }

    /// Bytes have arrived.
    pub(super) fn push(&self, bytes: Bytes) {
        let mut state = self.state.lock();
        let start = state.arrived;
        state.arrived += bytes.len() as u64;
        state.pieces.push(Piece { start, bytes });
        drop(state);
        self.progress.notify_waiters();
    }

    /// Puts one buffer in the place of the pieces that it was made of: followers that lag behind read
    /// it in one go.
    pub(super) fn replace(&self, start: u64, bytes: Bytes) {
        let end = start + bytes.len() as u64;
        let mut state = self.state.lock();
        let first = state.pieces.partition_point(|piece| piece.start < start);
        let last = state.pieces.partition_point(|piece| piece.start < end);
        state.pieces.splice(first..last, [Piece { start, bytes }]);
    }

    /// It is over. What arrived is in the store, as far as it was admitted.
    pub(super) fn end(&self, outcome: Result<(), FillError>) {
        let mut state = self.state.lock();
        if state.end.is_none() {
            state.end = Some(outcome);
        }
        state.let_go();
        drop(state);
        self.progress.notify_waiters();
    }

    /// Waits until nobody reads along. A fill that was never followed waits until somebody has come
    /// and gone.
    pub(super) async fn left(&self) {
        loop {
            let left = self.left.notified();
            tokio::pin!(left);
            // Before the look at the count: who leaves in between is not missed.
            left.as_mut().enable();
            let followers = self.followers.load(Ordering::Acquire);
            if followers == 0 && self.was_followed.load(Ordering::Acquire) {
                return;
            }
            left.await;
        }
    }
}

impl State {
    fn find(&self, offset: u64, at_most: u64) -> Option<Bytes> {
        let after = self.pieces.partition_point(|piece| piece.start <= offset);
        let piece = &self.pieces.get(after.checked_sub(1)?)?;
        // The pieces are no longer than a fill, so the offset in one fits.
        let skip = usize::try_from(offset - piece.start).ok()?;
        if skip >= piece.bytes.len() {
            return None;
        }
        let length = usize::try_from(at_most).unwrap_or(usize::MAX);
        let length = length.min(piece.bytes.len() - skip);
        Some(piece.bytes.slice(skip..skip + length))
    }

    /// Drops the pieces once nobody who waited needs them.
    fn let_go(&mut self) {
        if self.end.is_some() && self.waiting == 0 {
            self.pieces = Vec::new();
        }
    }
}

impl Follower {
    /// Whether the fill fetches this byte.
    pub(super) fn covers(&self, offset: u64) -> bool {
        self.0.interval.contains(&offset)
    }

    /// What the fill fetches.
    pub(super) fn interval(&self) -> Range<u64> {
        self.0.interval.clone()
    }

    /// Where the fill ends.
    pub(super) fn end(&self) -> u64 {
        self.0.interval.end
    }

    /// Waits until it is over, without reading.
    pub(super) async fn ended(&self) -> Result<(), FillError> {
        loop {
            let progress = self.0.progress.notified();
            tokio::pin!(progress);
            // Before the look at the state: what happens in between is not missed.
            progress.as_mut().enable();
            if let Some(end) = self.0.state.lock().end.clone() {
                return end;
            }
            progress.await;
        }
    }

    /// Bytes from the offset on, as many as lie in one piece; waits for the first.
    pub(super) async fn read(&self, offset: u64, at_most: u64) -> Found {
        let mut wait = Wait::new(&self.0);
        loop {
            let progress = self.0.progress.notified();
            tokio::pin!(progress);
            // Before the look at the state: what happens in between is not missed.
            progress.as_mut().enable();
            if let Some(found) = wait.look(offset, at_most) {
                return found;
            }
            self.0.awaited.say();
            progress.await;
        }
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        if self.0.followers.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.left.notify_waiters();
        }
    }
}

/// A follower's waiting, counted for as long as it lasts.
struct Wait<'a>(&'a Fill);

impl<'a> Wait<'a> {
    fn new(fill: &'a Fill) -> Self {
        fill.state.lock().waiting += 1;
        Self(fill)
    }

    fn look(&mut self, offset: u64, at_most: u64) -> Option<Found> {
        let state = self.0.state.lock();
        if let Some(bytes) = state.find(offset, at_most) {
            return Some(Found::Bytes(bytes));
        }
        match &state.end {
            Some(Err(error)) if offset >= state.arrived => Some(Found::Failed(error.clone())),
            Some(_) => Some(Found::Ended),
            None => None,
        }
    }
}

impl Drop for Wait<'_> {
    fn drop(&mut self) {
        let mut state = self.0.state.lock();
        state.waiting -= 1;
        state.let_go();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::ObjectName;
    use crate::s3::Bucket;
    use crate::s3::ETag;
    use crate::s3::Key;

    fn fill(interval: Range<u64>) -> Arc<Fill> {
        let object = ObjectName {
            origin: "origin".into(),
            bucket: Bucket::new("lake").unwrap(),
            key: Key::new("a").unwrap(),
        };
        let version = ObjectVersion::new(object, ETag::parse("\"e\"").unwrap(), 1000);
        Fill::new(Arc::new(version), interval)
    }

    fn bytes(found: Found) -> Bytes {
        match found {
            Found::Bytes(bytes) => bytes,
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn followers_read_what_has_arrived_and_wait_for_the_rest() {
        let fill = fill(100..110);
        fill.push(Bytes::from_static(b"abc"));
        let follower = fill.follow();
        assert_eq!(bytes(follower.read(101, 10).await), "bc");
        assert_eq!(bytes(follower.read(100, 2).await), "ab");
        let waiting = tokio::spawn(async move { (bytes(follower.read(103, 10).await), follower) });
        tokio::task::yield_now().await;
        fill.push(Bytes::from_static(b"defghij"));
        let (read, follower) = waiting.await.unwrap();
        assert_eq!(read, "defghij");
        fill.replace(100, Bytes::from_static(b"abcdefghij"));
        assert_eq!(bytes(follower.read(102, 100).await), "cdefghij");
    }

    #[tokio::test]
    async fn who_waits_gets_a_byte_and_who_comes_late_asks_the_store() {
        let fill = fill(0..4);
        let (waiting, late) = (fill.follow(), fill.follow());
        let task = tokio::spawn(async move { bytes(waiting.read(0, 10).await) });
        tokio::task::yield_now().await;
        // It ends before the follower had its turn.
        fill.push(Bytes::from_static(b"abcd"));
        fill.end(Ok(()));
        assert_eq!(task.await.unwrap(), "abcd");
        assert!(matches!(late.read(0, 10).await, Found::Ended));
        assert!(fill.state.lock().pieces.is_empty());
    }

    #[tokio::test]
    async fn a_failure_is_told_to_those_it_concerns() {
        let fill = fill(0..4);
        let follower = fill.follow();
        fill.push(Bytes::from_static(b"ab"));
        fill.end(Err(FillError::Changed));
        assert!(matches!(follower.read(1, 10).await, Found::Ended));
        assert!(matches!(
            follower.read(2, 10).await,
            Found::Failed(FillError::Changed)
        ));
    }

    #[tokio::test]
    async fn it_knows_when_nobody_is_left() {
        let fill = fill(0..4);
        let alone = {
            let fill = Arc::clone(&fill);
            tokio::spawn(async move { fill.left().await })
        };
        tokio::task::yield_now().await;
        assert!(!alone.is_finished(), "nobody has come yet");
        let (first, second) = (fill.follow(), fill.follow());
        let watch = {
            let fill = Arc::clone(&fill);
            tokio::spawn(async move { fill.left().await })
        };
        tokio::task::yield_now().await;
        drop(first);
        tokio::task::yield_now().await;
        assert!(!watch.is_finished());
        drop(second);
        watch.await.unwrap();
        alone.await.unwrap();
        fill.left().await;
    }
}
