//! A write that goes on, and what its followers may know of it.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::watch;

use super::body::Body;
use super::record::Serialized;

/// So many bytes of a write are held for those who follow closely, whatever becomes of them in the
/// store. They have to be more than the longest run that was not yet admitted.
const WINDOW_BYTES: u64 = 4 << 20;

/// A write that goes on.
#[derive(Debug)]
pub(super) struct Filling {
    pub(super) body: Arc<Body>,
    pub(super) meta: Serialized,
    /// As the response said.
    pub(super) declared: Option<u64>,
    window: Mutex<Window>,
    progress: watch::Sender<Progress>,
    /// Its response was purged: nobody may find it any more.
    is_purged: AtomicBool,
}

/// How far a write is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Progress {
    pub(super) written: u64,
    pub(super) stage: Stage,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    Running,
    Done,
    Failed,
}

/// The last bytes written, in the pieces that they came in.
#[derive(Debug, Default)]
struct Window {
    pieces: VecDeque<(u64, Bytes)>,
    bytes: u64,
}

impl Filling {
    pub(super) fn new(body: Arc<Body>, meta: Serialized, declared: Option<u64>) -> Self {
        let begun = Progress {
            written: 0,
            stage: Stage::Running,
        };
        Self {
            body,
            meta,
            declared,
            window: Mutex::default(),
            progress: watch::Sender::new(begun),
            is_purged: AtomicBool::new(false),
        }
    }

    /// Adds what came, for followers. What lies before `admitted` need not be held for them.
    pub(super) fn extend(&self, piece: Bytes, admitted: u64) {
        let start = self.progress.borrow().written;
        let written = start + piece.len() as u64;
        let mut released = Vec::new();
        {
            let mut window = self.window.lock();
            window.bytes += piece.len() as u64;
            window.pieces.push_back((start, piece));
            // The newest stays, however long it is.
            while window.bytes > WINDOW_BYTES
                && window.pieces.len() > 1
                && let Some((start, first)) = window.pieces.front()
                && start + first.len() as u64 <= admitted
            {
                window.bytes -= first.len() as u64;
                released.extend(window.pieces.pop_front());
            }
        }
        drop(released);
        self.progress
            .send_modify(|progress| progress.written = written);
    }

    /// Tells the followers how it ended.
    pub(super) fn end(&self, stage: Stage) {
        self.progress.send_modify(|progress| {
            if progress.stage == Stage::Running {
                progress.stage = stage;
            }
        });
    }

    pub(super) fn progress(&self) -> watch::Receiver<Progress> {
        self.progress.subscribe()
    }

    pub(super) fn purge(&self) {
        self.is_purged.store(true, Ordering::Release);
    }

    pub(super) fn is_purged(&self) -> bool {
        self.is_purged.load(Ordering::Acquire)
    }

    /// Bytes from the start of an interval on, if they came lately.
    pub(super) fn recent(&self, interval: &Range<u64>) -> Option<Bytes> {
        let window = self.window.lock();
        let after = window
            .pieces
            .partition_point(|(start, _)| *start <= interval.start);
        let (start, piece) = window.pieces.get(after.checked_sub(1)?)?;
        let skip = usize::try_from(interval.start - start).ok()?;
        let wanted = usize::try_from(interval.end - interval.start).ok()?;
        let end = piece.len().min(skip.saturating_add(wanted));
        (skip < end).then(|| piece.slice(skip..end))
    }
}
