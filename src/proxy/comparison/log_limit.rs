//! How many lines a cache that is wrong all the time may write.

use std::time::Duration;
use std::time::Instant;

/// Lines in one interval.
const LINES: u32 = 10;

/// The interval.
const INTERVAL: Duration = Duration::from_secs(10);

/// Lets some lines pass and counts the others.
#[derive(Debug, Default)]
pub(super) struct LogLimit {
    begun: Option<Instant>,
    lines: u32,
    untold: u32,
}

impl LogLimit {
    /// Whether a line may be written now; if so, how many before it were not.
    pub(super) fn admit(&mut self, now: Instant) -> Option<u32> {
        let is_over = |begun| now.saturating_duration_since(begun) >= INTERVAL;
        if self.begun.is_none_or(is_over) {
            self.begun = Some(now);
            self.lines = 0;
        }
        if self.lines == LINES {
            self.untold = self.untold.saturating_add(1);
            return None;
        }
        self.lines += 1;
        Some(std::mem::take(&mut self.untold))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn some_lines_are_written_and_the_others_counted() {
        let (mut limit, start) = (LogLimit::default(), Instant::now());
        for _ in 0..LINES {
            assert_eq!(limit.admit(start), Some(0));
        }
        for _ in 0..7 {
            assert_eq!(limit.admit(start), None);
        }
        let later = start + INTERVAL;
        assert_eq!(limit.admit(later), Some(7));
        assert_eq!(limit.admit(later), Some(0));
    }
}
