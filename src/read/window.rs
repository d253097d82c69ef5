//! How far ahead of its client a long read fetches.
//!
//! Twice as far as the client has come: so a client that leaves early has cost little, and one that stays is
//! fed by several connections at once.

use std::ops::Range;

const MIB: u64 = 1 << 20;

/// First window of a read whose end the client named: it means to read to there.
const FIRST_ASKED: u64 = 32 * MIB;

/// First window of a read of the whole object: some clients leave it after a few megabytes, and what
/// is on its way then is given up.
const FIRST_WHOLE: u64 = 16 * MIB;

/// The window is this many times what the client has read.
const GROWTH: u64 = 2;

/// The widest: eight connections with a fill each.
const WIDEST: u64 = 64 * MIB;

/// Readers together get no more ahead than this share of the memory tier. What is new passes through a
/// tenth of it (see [`crate::cache::Policy`]): fetched further ahead, it would be evicted before it is
/// read, and fetched again.
const MEMORY_SHARE: u64 = 16;

/// The window of one read: twice as much as the client has already read, within bounds.
#[derive(Debug, Clone)]
pub(super) struct Window {
    start: u64,
    end: u64,
    first: u64,
    /// Everything before was looked at, and fetched where it was missing.
    looked_to: u64,
}

impl Window {
    /// Of a read of this interval.
    pub(super) fn new(interval: &Range<u64>, is_whole: bool) -> Self {
        Self {
            start: interval.start,
            end: interval.end,
            first: if is_whole { FIRST_WHOLE } else { FIRST_ASKED },
            looked_to: interval.start,
        }
    }

    /// What has to be looked at now, if anything: when the client has come half way through what
    /// was looked at before. `limit` bounds the width.
    pub(super) fn due(&self, position: u64, limit: u64) -> Option<Range<u64>> {
        let read = (position - self.start).saturating_mul(GROWTH);
        let width = read.clamp(self.first, WIDEST).min(limit);
        let from = self.looked_to.max(position);
        let target = position.saturating_add(width).min(self.end);
        let is_due = from - position <= width / 2;
        (is_due && from < target).then_some(from..target)
    }

    /// Everything up to here was looked at, or is on its way.
    pub(super) fn advance(&mut self, looked_to: u64) {
        self.looked_to = looked_to;
    }

    /// What was looked at from here on is not there after all.
    pub(super) fn look_again(&mut self, position: u64) {
        self.looked_to = position;
    }
}

/// The widest window when so many long reads run at once over a memory tier of this capacity.
pub(super) fn limit(memory: u64, readers: usize) -> u64 {
    (memory / MEMORY_SHARE / (readers.max(1) as u64)).clamp(MIB, WIDEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_window_widens_as_the_client_reads() {
        let mut window = Window::new(&(0..1000 * MIB), true);
        let mut asked = Vec::new();
        for position in 0..200 {
            if let Some(due) = window.due(position * MIB, WIDEST) {
                asked.push((position, due.start / MIB, due.end / MIB));
                window.advance(due.end);
            }
        }
        assert_eq!(
            asked[..5],
            [
                (0, 0, 16),
                (8, 16, 24),
                (12, 24, 36),
                (18, 36, 54),
                (27, 54, 81)
            ]
        );
        assert!(
            asked.windows(2).all(|pair| pair[0].2 == pair[1].1),
            "{asked:?}"
        );
        let ahead = |(position, _, end): &(u64, u64, u64)| end - position;
        assert!(
            asked
                .iter()
                .all(|look| ahead(look) <= (2 * look.0).clamp(16, 64))
        );
        assert_eq!(asked.iter().map(ahead).max(), Some(64));
    }

    #[test]
    fn it_ends_where_the_read_ends() {
        let mut window = Window::new(&(5..10), false);
        assert_eq!(window.due(5, WIDEST), Some(5..10));
        window.advance(10);
        assert_eq!(window.due(7, WIDEST), None);
    }

    #[test]
    fn many_readers_share_the_memory() {
        assert_eq!(limit(1 << 30, 1), 64 * MIB);
        assert_eq!(limit(1 << 30, 32), 2 * MIB);
        assert_eq!(limit(64 * MIB, 1), 4 * MIB);
        assert_eq!(limit(1 << 30, 10_000), MIB);
        assert_eq!(limit(0, 0), MIB);
    }
}
