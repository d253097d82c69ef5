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
        /// For how long it has not been fresh any more.
        overdue: Duration,
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
                overdue: age(learned, now).unwrap_or_default(),
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
            overdue: Duration::ZERO,
            usable_on_error: false,
        };
    };
    match lifetime.checked_sub(age) {
        Some(left) if !left.is_zero() => Judgement::Fresh { left },
        _ => Judgement::Stale {
            overdue: age.saturating_sub(lifetime),
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

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use proptest::prelude::*;

    use super::*;
    use crate::cache::CacheRules;

    fn seconds(count: u64) -> Duration {
        Duration::from_secs(count)
    }

    fn rule(freshness: Freshness, stale_if_error: u64, negative: u64) -> CacheRule {
        CacheRule {
            freshness,
            stale_if_error: seconds(stale_if_error),
            negative: seconds(negative),
            ..CacheRules::default().rule_for("b", "k").clone()
        }
    }

    fn at(second: u64) -> SystemTime {
        UNIX_EPOCH + seconds(second)
    }

    fn stale(overdue: u64, usable_on_error: bool) -> Judgement {
        Judgement::Stale {
            overdue: seconds(overdue),
            usable_on_error,
        }
    }

    #[test]
    fn an_entry_is_fresh_for_its_lifetime_and_usable_on_error_a_bit_longer() {
        let rule = rule(Freshness::For(seconds(60)), 30, 2);
        let judged = |now| judge(at(1000), &rule, at(now));
        assert_eq!(judged(1000), Judgement::Fresh { left: seconds(60) });
        assert_eq!(judged(1059), Judgement::Fresh { left: seconds(1) });
        assert_eq!(judged(1060), stale(0, true));
        assert_eq!(judged(1090), stale(30, true));
        assert_eq!(judged(1091), stale(31, false));
        let absent = |now| judge_absent(at(1000), &rule, at(now));
        assert!(absent(1001).is_fresh());
        assert_eq!(absent(1002), stale(0, false));
    }

    #[test]
    fn without_a_rule_nothing_is_used_on_error_and_no_404_is_kept() {
        let rules = CacheRules::default();
        let rule = rules.rule_for("b", "k");
        assert!(judge(at(1000), rule, at(1059)).is_fresh());
        assert_eq!(judge(at(1000), rule, at(1060)), stale(0, false));
        assert_eq!(judge_absent(at(1000), rule, at(1000)), stale(0, false));
    }

    #[test]
    fn immutable_never_ages_and_the_others_always_ask() {
        let judged = |freshness, now| judge(at(1000), &rule(freshness, 10, 0), at(now));
        let for_ever = Judgement::Fresh {
            left: Duration::MAX,
        };
        assert_eq!(judged(Freshness::Immutable, 9_999_999), for_ever);
        assert_eq!(judged(Freshness::Immutable, 0), for_ever);
        assert_eq!(judged(Freshness::Validate, 1000), stale(0, true));
        assert_eq!(judged(Freshness::Validate, 1010), stale(10, true));
        assert_eq!(judged(Freshness::Validate, 1011), stale(11, false));
        assert_eq!(judged(Freshness::Bypass, 1000), stale(0, false));
    }

    #[test]
    fn a_clock_that_was_set_back_makes_nothing_fresh_for_longer() {
        let rule = rule(Freshness::For(seconds(60)), 30, 60);
        let judged = |now| judge(at(1000), &rule, at(now));
        assert_eq!(judged(995), Judgement::Fresh { left: seconds(60) });
        assert_eq!(judged(994), stale(0, false));
        assert_eq!(judged(0), stale(0, false));
        assert_eq!(judge_absent(at(1000), &rule, at(0)), stale(0, false));
    }

    #[test]
    fn the_longest_times_do_not_overflow() {
        let rule = rule(Freshness::For(Duration::MAX), u64::MAX / 2, 0);
        assert!(judge(at(0), &rule, at(u64::MAX >> 2)).is_fresh());
        let rule = CacheRule {
            freshness: Freshness::For(Duration::MAX),
            stale_if_error: Duration::MAX,
            ..rule
        };
        assert!(judge(at(1), &rule, at(1)).is_fresh());
    }

    proptest! {
        #[test]
        fn judged_as_arithmetic_says(learned in 0..10_000_u64, lifetime in 0..1_000_u64, more in 0..1_000_u64, now in 0..12_000_u64) {
            let rule = rule(Freshness::For(seconds(lifetime)), more, lifetime);
            let age = now.saturating_sub(learned);
            let is_known = now + 5 >= learned;
            let expected = if is_known && age < lifetime {
                Judgement::Fresh { left: seconds(lifetime - age) }
            } else {
                stale(age.saturating_sub(lifetime), is_known && more > 0 && age <= lifetime + more)
            };
            prop_assert_eq!(judge(at(learned), &rule, at(now)), expected);
            prop_assert_eq!(judge_absent(at(learned), &rule, at(now)).is_fresh(), expected.is_fresh());
        }
    }
}
