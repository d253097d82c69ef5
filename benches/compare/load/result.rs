//! What came of a load.

use std::time::Duration;

use serde::Serialize;

use crate::exchange::Outcome;

/// What one connection saw; then, of all connections.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    first: Vec<u64>,
    whole: Vec<u64>,
    bytes: u64,
    late: usize,
    failures: usize,
    wrong: usize,
    /// What the first failure was.
    complaint: Option<String>,
}

/// Times in microseconds.
#[derive(Debug, Serialize)]
pub(crate) struct Figures {
    requests: usize,
    bytes: u64,
    seconds: f64,
    /// Answers whose first byte came no sooner than the job said.
    late: usize,
    failures: usize,
    wrong: usize,
    complaint: Option<String>,
    whole: Spread,
    first: Spread,
}

#[derive(Debug, Serialize)]
struct Spread {
    p50: u64,
    p99: u64,
    max: u64,
}

impl Tally {
    pub(crate) fn add(&mut self, outcome: Outcome, bytes: usize, late_micros: Option<u64>) {
        match outcome {
            Outcome::Good { first, whole } => {
                let (first, whole) = (micros(first), micros(whole));
                self.first.push(first);
                self.whole.push(whole);
                self.bytes += bytes as u64;
                self.late += usize::from(late_micros.is_some_and(|limit| first >= limit));
            }
            Outcome::Wrong(text) => {
                self.wrong += 1;
                self.complaint.get_or_insert(text);
            }
            Outcome::Failed(text) => {
                self.failures += 1;
                self.complaint.get_or_insert(text);
            }
        }
    }

    pub(crate) fn merge(&mut self, other: Self) {
        self.first.extend(other.first);
        self.whole.extend(other.whole);
        self.bytes += other.bytes;
        self.late += other.late;
        self.failures += other.failures;
        self.wrong += other.wrong;
        self.complaint = self.complaint.take().or(other.complaint);
    }

    pub(crate) fn figures(mut self, elapsed: Duration) -> Figures {
        Figures {
            requests: self.whole.len(),
            bytes: self.bytes,
            seconds: elapsed.as_secs_f64(),
            late: self.late,
            failures: self.failures,
            wrong: self.wrong,
            complaint: self.complaint,
            whole: Spread::of(&mut self.whole),
            first: Spread::of(&mut self.first),
        }
    }
}

impl Spread {
    fn of(values: &mut [u64]) -> Self {
        values.sort_unstable();
        let at = |percent: usize| {
            let place = (values.len() * percent).div_ceil(100).max(1) - 1;
            values.get(place).copied().unwrap_or(0)
        };
        Self {
            p50: at(50),
            p99: at(99),
            max: at(100),
        }
    }
}

fn micros(duration: Duration) -> u64 {
    duration.as_micros().try_into().unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_values_that_occurred() {
        let mut values: Vec<u64> = (1..=200).rev().collect();
        let spread = Spread::of(&mut values);
        assert_eq!((spread.p50, spread.p99, spread.max), (100, 198, 200));
        let spread = Spread::of(&mut []);
        assert_eq!((spread.p50, spread.p99, spread.max), (0, 0, 0));
    }

    #[test]
    fn what_is_late_wrong_or_failed_is_counted_apart() {
        let millis = Duration::from_millis;
        let good = |first| Outcome::Good {
            first: millis(first),
            whole: millis(40),
        };
        let mut tally = Tally::default();
        tally.add(good(29), 7, Some(30_000));
        tally.add(good(30), 7, Some(30_000));
        tally.add(Outcome::Wrong("other bytes".to_owned()), 7, None);
        let mut other = Tally::default();
        other.add(Outcome::Failed("503".to_owned()), 7, None);
        tally.merge(other);
        let figures = tally.figures(millis(1500));
        assert_eq!((figures.requests, figures.bytes, figures.late), (2, 14, 1));
        assert_eq!((figures.wrong, figures.failures), (1, 1));
        assert_eq!(figures.complaint.as_deref(), Some("other bytes"));
    }
}
