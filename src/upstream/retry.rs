//! When a read is tried again, and how soon.
//!
//! Only reads are: a write whose answer was lost may have happened.

use std::hash::BuildHasher;
use std::hash::RandomState;
use std::sync::atomic::AtomicI64;
use std::sync::atomic::Ordering;
use std::time::Duration;

use http::StatusCode;

/// First pause; doubled for every further attempt.
const FIRST_PAUSE: Duration = Duration::from_millis(50);

/// No pause is longer.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// A retry costs as much as this many requests earn: one retry per ten requests, at most.
const COST: i64 = 10;

/// Retries that may be saved up.
const MAX_SAVED_RETRIES: i64 = 100;

/// The pause before an attempt: exponential with full jitter, so that many readers of a sick origin
/// do not come back together. `attempt` counts from 1 for the first retry; `random` is in 0..=1.
pub fn backoff(attempt: u32, random: f64) -> Duration {
    let doubled = FIRST_PAUSE.saturating_mul(1 << attempt.saturating_sub(1).min(16));
    doubled.min(LONGEST_PAUSE).mul_f64(random.clamp(0.0, 1.0))
}

/// A number between 0 and 1 that spreads load and guards nothing.
pub fn jitter() -> f64 {
    let bits = RandomState::new().hash_one(0_u8);
    f64::from(u32::try_from(bits >> 32).unwrap_or_default()) / f64::from(u32::MAX)
}

/// Answers that say the origin may do better in a moment:
/// <https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html>.
pub fn is_transient(status: StatusCode) -> bool {
    matches!(
        status,
        StatusCode::INTERNAL_SERVER_ERROR
            | StatusCode::BAD_GATEWAY
            | StatusCode::SERVICE_UNAVAILABLE
            | StatusCode::GATEWAY_TIMEOUT
    )
}

/// Keeps retries below a tenth of the requests, so that they never become a storm.
#[derive(Debug)]
pub struct RetryBudget {
    saved: AtomicI64,
}

impl Default for RetryBudget {
    fn default() -> Self {
        Self {
            saved: AtomicI64::new(MAX_SAVED_RETRIES * COST),
        }
    }
}

impl RetryBudget {
    /// A request has begun.
    pub fn earn(&self) {
        if self.saved.load(Ordering::Relaxed) < MAX_SAVED_RETRIES * COST {
            self.saved.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Takes one retry; false when there is none left.
    pub fn spend(&self) -> bool {
        let before = self.saved.fetch_sub(COST, Ordering::Relaxed);
        if before < COST {
            self.saved.fetch_add(COST, Ordering::Relaxed);
        }
        before >= COST
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_a_bound() {
        let pauses: Vec<_> = (1..=8)
            .map(|attempt| backoff(attempt, 1.0).as_millis())
            .collect();
        assert_eq!(pauses, [50, 100, 200, 400, 800, 1600, 2000, 2000]);
        assert_eq!(backoff(3, 0.5).as_millis(), 100);
        assert_eq!(backoff(u32::MAX, 1.0), LONGEST_PAUSE);
        assert_eq!(backoff(0, f64::INFINITY), FIRST_PAUSE);
    }

    #[test]
    fn a_tenth_of_the_requests_may_be_retried() {
        let budget = RetryBudget::default();
        let saved = std::iter::repeat_with(|| budget.spend())
            .take_while(|spent| *spent)
            .count();
        assert_eq!(saved, 100);
        for _ in 0..9 {
            budget.earn();
        }
        assert!(!budget.spend());
        budget.earn();
        assert!(budget.spend());
        assert!(!budget.spend());
    }
}
