//! When a second request is sent beside one whose answer is late, and how often at most.
//!
//! A few of a store's answers take many times as long as the others, and whoever waits for several
//! answers often waits for one of those. Only what is late among the answers of this very origin is
//! hedged, at most one request in fifty, and nothing while the origin or the connections to it are
//! busy: a store that is slow because of its load would only get more of it.

use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

/// Each step of the distribution is a quarter longer than the one before it: 2^(1/3), from half a
/// millisecond to about a minute.
const STEPS: usize = 52;
const STEPS_PER_DOUBLING: i32 = 3;
const FIRST_STEP: Duration = Duration::from_micros(500);

/// So many answers have to be known before one can be called late.
const ENOUGH: u32 = 100;

/// The distribution forgets: when it counts this many answers, every count is halved.
const MEMORY: u32 = 2048;

/// An answer is late when it takes longer than all but one in this many.
const LATE_ONE_IN: u32 = 100;

/// And longer than this many halves of the median: where all answers take about the same time, the
/// last of a hundred is hardly later than the others.
const MEDIAN_HALVES: u32 = 3;

/// Nothing is late before that: a second request would bring little.
const SOONEST: Duration = Duration::from_millis(20);

/// A hedge costs as much as this many requests earn: one for fifty requests.
const COST: u32 = 50;

/// Hedges that may be saved up.
const MAX_SAVED: u32 = 10;

/// After an answer or a failure that says the origin is ill or busy, nothing is hedged for so long.
const CALM: Duration = Duration::from_secs(10);

/// What one origin's answers have been like, and what may still be spent on late ones.
#[derive(Debug, Default)]
pub(super) struct Hedging(Mutex<State>);

#[derive(Debug)]
struct State {
    waits: Waits,
    saved: u32,
    /// When the origin was last ill or busy.
    trouble: Option<Instant>,
}

/// How long answers let wait for their heads.
#[derive(Debug)]
struct Waits {
    counts: [u32; STEPS],
    total: u32,
}

impl Default for State {
    fn default() -> Self {
        Self {
            waits: Waits {
                counts: [0; STEPS],
                total: 0,
            },
            saved: 0,
            trouble: None,
        }
    }
}

impl Hedging {
    /// A request that may be hedged begins. Answers after how long its answer is late; `None`: that
    /// is not known, or it would not be hedged.
    pub(super) fn begin(&self, now: Instant) -> Option<Duration> {
        let mut state = self.0.lock();
        state.saved = (state.saved + 1).min(MAX_SAVED * COST);
        let may_hedge = state.may_hedge(now);
        may_hedge.then(|| state.waits.late()).flatten()
    }

    /// Takes one hedge; false when there is none left, or the origin is ill or busy.
    pub(super) fn spend(&self, now: Instant) -> bool {
        let mut state = self.0.lock();
        let may_hedge = state.may_hedge(now);
        if may_hedge {
            state.saved -= COST;
        }
        may_hedge
    }

    /// An answer took so long; or at least so long, and was given up for another.
    pub(super) fn waited(&self, wait: Duration) {
        self.0.lock().waits.note(wait);
    }

    /// The origin is ill or busy.
    pub(super) fn trouble(&self, now: Instant) {
        self.0.lock().trouble = Some(now);
    }
}

impl State {
    fn may_hedge(&self, now: Instant) -> bool {
        let since = |trouble| now.saturating_duration_since(trouble);
        let is_troubled = self.trouble.is_some_and(|trouble| since(trouble) < CALM);
        self.saved >= COST && !is_troubled
    }
}

impl Waits {
    fn note(&mut self, wait: Duration) {
        let step = (0..STEPS - 1).find(|step| wait < end_of(*step));
        self.counts[step.unwrap_or(STEPS - 1)] += 1;
        self.total += 1;
        if self.total >= MEMORY {
            self.total = 0;
            for count in &mut self.counts {
                *count /= 2;
                self.total += *count;
            }
        }
    }

    fn late(&self) -> Option<Duration> {
        if self.total < ENOUGH {
            return None;
        }
        let median = self.end_of_all_but(self.total / 2);
        let last = self.end_of_all_but(self.total / LATE_ONE_IN);
        Some(last.max(median * MEDIAN_HALVES / 2).max(SOONEST))
    }

    /// Where the step ends after which no more than so many of the answers come.
    fn end_of_all_but(&self, rest: u32) -> Duration {
        let mut left = self.total;
        for (step, count) in self.counts.iter().enumerate() {
            left -= count;
            if left <= rest {
                return end_of(step);
            }
        }
        end_of(STEPS - 1)
    }
}

fn end_of(step: usize) -> Duration {
    let doublings =
        f64::from(i32::try_from(step + 1).unwrap_or(i32::MAX)) / f64::from(STEPS_PER_DOUBLING);
    FIRST_STEP.mul_f64(doublings.exp2())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ms(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    fn seen(hedging: &Hedging, waits: impl IntoIterator<Item = u64>) {
        for wait in waits {
            hedging.begin(Instant::now());
            hedging.waited(ms(wait));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_is_late_before_it_is_known_what_is_usual() {
        let hedging = Hedging::default();
        seen(&hedging, std::iter::repeat_n(30, 99));
        assert_eq!(hedging.begin(Instant::now()), None);
        hedging.waited(ms(30));
        let late = hedging.begin(Instant::now()).unwrap();
        assert!(ms(45) <= late && late <= ms(60), "{late:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn one_request_in_fifty_is_hedged_at_most() {
        let hedging = Hedging::default();
        let mut hedged = 0;
        for _ in 0..10_000 {
            hedging.waited(ms(30));
            if hedging.begin(Instant::now()).is_some() && hedging.spend(Instant::now()) {
                hedged += 1;
            }
        }
        assert!((190..=200).contains(&hedged), "{hedged}");
        // However much was saved while nothing was late.
        seen(&hedging, std::iter::repeat_n(30, 10_000));
        let spent = (0..1000).filter(|_| hedging.spend(Instant::now())).count();
        assert_eq!(spent, MAX_SAVED as usize);
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_is_hedged_for_a_while_after_the_origin_was_busy() {
        let hedging = Hedging::default();
        seen(&hedging, std::iter::repeat_n(30, 1000));
        assert!(hedging.spend(Instant::now()));
        hedging.trouble(Instant::now());
        assert_eq!(hedging.begin(Instant::now()), None);
        assert!(!hedging.spend(Instant::now()));
        tokio::time::advance(CALM).await;
        assert!(hedging.begin(Instant::now()).is_some());
        assert!(hedging.spend(Instant::now()));
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_usual_is_forgotten() {
        let hedging = Hedging::default();
        seen(&hedging, std::iter::repeat_n(30, 10_000));
        seen(&hedging, std::iter::repeat_n(300, 10_000));
        assert!(hedging.begin(Instant::now()).unwrap() > ms(400));
        seen(&hedging, std::iter::repeat_n(30, 20_000));
        assert!(hedging.begin(Instant::now()).unwrap() < ms(60));
    }

    proptest! {
        /// Against the sorted list of all waits.
        #[test]
        fn late_is_what_no_more_than_one_in_a_hundred_reaches(
            waits in proptest::collection::vec(1..60_000_u64, 100..2000),
        ) {
            let mut noted = Waits { counts: [0; STEPS], total: 0 };
            for wait in &waits {
                noted.note(ms(*wait));
            }
            let late = noted.late().unwrap();
            let later = waits.iter().filter(|wait| ms(**wait) >= late).count();
            prop_assert!(later <= waits.len() / 100);
            let mut sorted = waits.clone();
            sorted.sort_unstable();
            let median = ms(sorted[sorted.len() / 2]);
            let last = ms(sorted[sorted.len() - 1 - sorted.len() / 100]);
            // No more than a step beyond either bound.
            prop_assert!(late <= last.max(median * 3 / 2).mul_f64(1.26).max(SOONEST));
        }
    }
}
