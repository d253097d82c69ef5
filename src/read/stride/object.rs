//! What is known of one file: its layout, who reads what of it, and what was fetched ahead.

use std::ops::Range;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering;

use parking_lot::Mutex;

use super::learn::Lesson;
use super::pattern::Pattern;
use super::pattern::Room;
use super::pattern::Sight;
use super::unread::Unread;
use crate::cache::BlockSize;
use crate::read::ledger::Ledger;
use crate::read::parquet::Layout;
use crate::read::shared::Shared;

/// What may be fetched in vain of one file, before anything was of use.
pub(super) const ALLOWANCE: u64 = 4 << 20;

/// What may lie unread of one file.
const MOST_AHEAD: u64 = 32 << 20;

/// So often the layout is looked for: the end of the file may be on its way.
const MAX_TRIES: u32 = 8;

/// Reads that wait for the layout to be known.
const MAX_WAITING: usize = 32;

/// Chunks of one read that are noted.
const MAX_CHUNKS: usize = 4096;

/// A file and its table entries, without the layout, roughly.
const WEIGHT: u32 = 512;

/// One file.
pub(super) struct Object {
    state: Mutex<State>,
    weight: AtomicU32,
}

enum State {
    /// Its layout is looked for.
    Unknown(Unknown),
    Known(Box<Known>),
    /// It is no Parquet file.
    Other,
}

#[derive(Default)]
struct Unknown {
    tries: u32,
    is_learning: bool,
    /// Reads so far.
    waiting: Vec<(Range<u64>, Stock)>,
}

struct Known {
    layout: Layout,
    pattern: Pattern,
    unread: Unread,
    ledger: Ledger,
}

/// How the bytes of a read were found when it came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::read) enum Stock {
    /// All of them.
    Stored,
    /// Some are not, and some are on their way.
    Filling,
    /// Some are not.
    Missing,
}

/// What is to be done after a read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Due {
    Nothing,
    /// The layout is to be learned.
    Layout,
    /// These bytes are to be fetched.
    Runs(Vec<Range<u64>>),
}

impl Due {
    pub(super) fn is_nothing(&self) -> bool {
        *self == Self::Nothing
    }
}

impl Default for Object {
    fn default() -> Self {
        Self {
            state: Mutex::new(State::Unknown(Unknown::default())),
            weight: AtomicU32::new(WEIGHT),
        }
    }
}

impl Object {
    /// The memory that it takes.
    pub(super) fn weight(&self) -> u32 {
        self.weight.load(Ordering::Relaxed)
    }

    /// Notes a read.
    pub(super) fn note(&self, shared: &Shared, interval: &Range<u64>, stock: Stock) -> Due {
        match &mut *self.state.lock() {
            State::Other => Due::Nothing,
            State::Known(known) => {
                let runs = known.note(shared, interval, stock);
                if runs.is_empty() {
                    Due::Nothing
                } else {
                    Due::Runs(runs)
                }
            }
            State::Unknown(unknown) => {
                if unknown.waiting.len() < MAX_WAITING {
                    unknown.waiting.push((interval.clone(), stock));
                }
                if unknown.is_learning {
                    return Due::Nothing;
                }
                unknown.is_learning = true;
                Due::Layout
            }
        }
    }

    /// Something was learned of the layout: what follows from the reads so far.
    pub(super) fn learned(&self, shared: &Shared, lesson: Lesson) -> Vec<Range<u64>> {
        let mut state = self.state.lock();
        let State::Unknown(unknown) = &mut *state else {
            return Vec::new();
        };
        unknown.is_learning = false;
        unknown.tries += 1;
        let layout = match lesson {
            Lesson::Layout(layout) => layout,
            Lesson::Absent if unknown.tries < MAX_TRIES => return Vec::new(),
            Lesson::Absent | Lesson::None => {
                *state = State::Other;
                return Vec::new();
            }
        };
        let weight = u32::try_from(layout.bytes()).unwrap_or(u32::MAX);
        self.weight
            .store(weight.saturating_add(WEIGHT), Ordering::Relaxed);
        let mut known = Known {
            layout,
            pattern: Pattern::default(),
            unread: Unread::default(),
            ledger: Ledger::new(ALLOWANCE, MOST_AHEAD),
        };
        let mut runs = Vec::new();
        for (interval, stock) in std::mem::take(&mut unknown.waiting) {
            runs.extend(known.note(shared, &interval, stock));
        }
        *state = State::Known(Box::new(known));
        runs
    }

    /// These bytes are being fetched ahead.
    pub(super) fn begun(&self, shared: &Shared, intervals: &[Range<u64>]) {
        if let State::Known(known) = &mut *self.state.lock() {
            for interval in intervals {
                let blocks = shared.config.block_size.touched_by(interval);
                known.unread.add(&blocks);
                known.ledger.begun(interval.end - interval.start);
            }
        }
    }

    /// They did not come. Answers how many of them nobody asked for.
    pub(super) fn failed(&self, shared: &Shared, interval: &Range<u64>) -> u64 {
        let State::Known(known) = &mut *self.state.lock() else {
            return 0;
        };
        let bytes = known.take(shared.config.block_size, interval);
        known.ledger.failed(bytes);
        bytes
    }

    /// From this byte on nothing was begun after all.
    pub(super) fn fell_short(&self, from: u64) {
        if let State::Known(known) = &mut *self.state.lock()
            && let Some(chunk) = known.layout.touched_by(&(from..u64::MAX)).next()
        {
            known.pattern.fell_short(chunk.group);
        }
    }

    /// Nobody reads it any more: the bytes that were fetched ahead in vain.
    pub(super) fn give_up(&self) -> u64 {
        match std::mem::replace(&mut *self.state.lock(), State::Other) {
            State::Known(known) => known.ledger.ahead(),
            State::Unknown(_) | State::Other => 0,
        }
    }
}

impl Known {
    fn note(&mut self, shared: &Shared, interval: &Range<u64>, stock: Stock) -> Vec<Range<u64>> {
        let grid = shared.config.block_size;
        let taken = self.take(grid, interval);
        if taken > 0 {
            self.settle(shared, taken, stock);
        }
        let sight = match stock {
            Stock::Stored if taken > 0 => Sight::Ahead,
            Stock::Stored => Sight::There,
            Stock::Filling if taken > 0 => Sight::Late,
            Stock::Filling | Stock::Missing => Sight::Missing,
        };
        for chunk in self.layout.touched_by(interval).take(MAX_CHUNKS) {
            self.pattern.note(chunk, sight);
        }
        if self.unread.is_full() {
            return Vec::new();
        }
        let room = Room {
            bytes: self.ledger.room().min(shared.strides.ledger.lock().room()),
            grows: self.ledger.ahead() > 0,
        };
        self.pattern.due(&self.layout, room, grid.bytes())
    }

    /// Bytes that were fetched ahead are asked for.
    fn settle(&mut self, shared: &Shared, bytes: u64, stock: Stock) {
        let mut all = shared.strides.ledger.lock();
        if stock == Stock::Missing {
            // Evicted since.
            self.ledger.lost(bytes);
            all.lost(bytes);
            shared.metrics.prefetch_wasted(bytes);
        } else {
            self.ledger.read(bytes);
            all.read(bytes);
            shared.metrics.prefetch_used(bytes);
        }
    }

    /// How many of these bytes were fetched ahead and not asked for yet.
    fn take(&mut self, grid: BlockSize, interval: &Range<u64>) -> u64 {
        self.unread.take(&grid.touched_by(interval)) * grid.bytes()
    }
}
