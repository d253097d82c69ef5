//! Whether what was learned may be used without asking. Pure: the time is an argument.

use std::time::Duration;
use std::time::SystemTime;

use super::CacheRule;
use super::Freshness;

/// A clock that was set back leaves entries in the future. So far they count as just learned: the
/// time that a request carries may be a little older than what another one learned meanwhile.
const CLOCK_TOLERANCE: Duration = Duration::from_secs(5);

/// What an entry is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Judgement {
    /// Usable without asking.
    Fresh {
        /// For how much longer.
        left: Duration,
    },
    /// To be validated.
    Stale {
        /// How old it is.
        age: Duration,
        /// Whether it may be used all the same when the origin fails.
        usable_on_error: bool,
    },
}

impl Judgement {
    /// Whether it is usable without asking.
    pub fn is_fresh(self) -> bool {
        matches!(self, Self::Fresh { .. })
    }
}

/// Judges a meta by when it was asked for.
pub fn judge(learned: SystemTime, rule: &CacheRule, now: SystemTime) -> Judgement {
    let lifetime = match rule.freshness {
        Freshness::For(lifetime) => lifetime,
        Freshness::Immutable => {
            return Judgement::Fresh {
                left: Duration::MAX,
            };
        }
        Freshness::Validate => Duration::ZERO,
        Freshness::Bypass => {
            return Judgement::Stale {
                age: age(learned, now).unwrap_or_default(),
                usable_on_error: false,
            };
        }
    };
    judge_lifetime(learned, lifetime, rule.stale_if_error, now)
}

/// Judges a 404 by when it was asked for.
pub fn judge_absent(learned: SystemTime, rule: &CacheRule, now: SystemTime) -> Judgement {
    judge_lifetime(learned, rule.negative, Duration::ZERO, now)
}

fn judge_lifetime(
    learned: SystemTime,
    lifetime: Duration,
    stale_if_error: Duration,
    now: SystemTime,
) -> Judgement {
    let Some(age) = age(learned, now) else {
        return Judgement::Stale {
            age: Duration::ZERO,
            usable_on_error: false,
        };
    };
    match lifetime.checked_sub(age) {
        Some(left) if !left.is_zero() => Judgement::Fresh { left },
        _ => Judgement::Stale {
            age,
            usable_on_error: !stale_if_error.is_zero()
                && age <= lifetime.saturating_add(stale_if_error),
        },
    }
}

/// `None` for a moment in the future, about which nothing is known.
pub(super) fn age(learned: SystemTime, now: SystemTime) -> Option<Duration> {
    match now.duration_since(learned) {
        Ok(age) => Some(age),
        Err(ahead) if ahead.duration() <= CLOCK_TOLERANCE => Some(Duration::ZERO),
        Err(_) => None,
    }
}
