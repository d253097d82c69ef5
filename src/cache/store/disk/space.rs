//! How much the tier may occupy, and making it occupy no more.

use std::sync::atomic::Ordering;
use std::time::Duration;
use std::time::Instant;

use super::DiskConfig;
use super::core::Core;
use super::core::Stored;
use super::health::Fault;
use super::root::Space;
use crate::cache::Priority;

/// The part of what is free and what it occupies that the tier takes if nothing else is said, in
/// percent.
const DEFAULT_SHARE: u64 = 80;

/// The space is measured again after so many bytes: what other processes write meanwhile is about as
/// much, and far less than any reserve.
const MEASURE_AFTER: u64 = 64 << 20;

/// Some file systems show the space of deleted files a moment later. What was given up does not
/// count as missing for so long, or more and more would be.
const FREED_SHOWS_AFTER: Duration = Duration::from_secs(2);

/// With fewer inodes left the tier makes files only as it deletes others.
const FEW_FILES: u64 = 64;

/// Between two warnings that there is less room than was asked for.
const TELL_AGAIN_AFTER: Duration = Duration::from_hours(1);

/// What was given up lately because the file system had too little left.
#[derive(Debug, Default)]
pub(super) struct Freed {
    bytes: u64,
    since: Option<Instant>,
    /// Whether the reserve was touched when the space was measured last.
    is_short: bool,
    /// When it was told that there is less room than was asked for.
    told: Option<Instant>,
}

impl Freed {
    /// Whether it is to be told that the tier may occupy less than was asked for.
    fn tells(&mut self, is_less: bool, now: Instant) -> bool {
        let is_due = |told: Instant| now.saturating_duration_since(told) >= TELL_AGAIN_AFTER;
        let tells = is_less && self.told.is_none_or(is_due);
        if tells {
            self.told = Some(now);
        }
        tells
    }

    fn lately(&self, now: Instant) -> u64 {
        let is_recent = |since| now.saturating_duration_since(since) < FREED_SHOWS_AFTER;
        if self.since.is_some_and(is_recent) {
            self.bytes
        } else {
            0
        }
    }

    fn note(&mut self, bytes: u64, now: Instant) {
        let lately = self.lately(now);
        if lately == 0 {
            self.since = Some(now);
        }
        self.bytes = lately + bytes;
    }
}

/// What has to stay free.
fn reserve(config: &DiskConfig, space: Space) -> u64 {
    let percent = u64::from(config.min_free_percent.min(100));
    (space.size / 100 * percent).max(config.min_free_bytes)
}

/// How many bytes the tier may occupy when it occupies `used` and gave up `freed` of late.
fn limit(config: &DiskConfig, space: Space, used: u64, freed: u64) -> u64 {
    let reserve = reserve(config, space);
    let missing = reserve.saturating_sub(space.free);
    let by_reserve = if missing > 0 {
        used.saturating_sub(missing.saturating_sub(freed))
    } else {
        used.saturating_add(space.free - reserve)
    };
    let by_files = match space.free_files {
        Some(left) if left < FEW_FILES => used - used / 64,
        _ => u64::MAX,
    };
    let wanted = config.capacity.unwrap_or_else(|| {
        let reachable = space.free.saturating_add(used);
        reachable / 100 * DEFAULT_SHARE
    });
    wanted.min(by_reserve).min(by_files)
}

impl Core {
    /// Looks how full the file system is and sets the limit by it.
    pub(super) fn measure(&self) {
        self.unmeasured.store(0, Ordering::Relaxed);
        let space = match self.root().space() {
            Ok(space) => space,
            Err(error) => {
                self.failed(Fault::of_read(error), Some(error));
                return;
            }
        };
        let used = self.policy.used();
        let kept_free = reserve(&self.config, space);
        let (limit, tells) = {
            let mut freed = self.freed.lock();
            let now = Instant::now();
            freed.is_short = space.free < kept_free;
            let limit = limit(&self.config, space, used, freed.lately(now));
            let is_less = self.config.capacity.is_some_and(|wanted| limit < wanted);
            (limit, freed.tells(is_less, now))
        };
        if tells {
            log::warn!(
                "disk cache: room for {} MiB, less than asked for: {} MiB are free, and {} MiB stay free; dir={}",
                limit >> 20,
                space.free >> 20,
                kept_free >> 20,
                self.dir().display()
            );
        }
        self.policy.resize(limit);
        self.counters.free.set(space.free);
        self.counters.capacity.set(limit);
        self.show();
    }

    /// Whether so many bytes fit at all.
    pub(super) fn has_room(&self, bytes: u64) -> bool {
        self.policy.capacity() >= bytes
    }

    /// Makes sure that so many bytes may be written.
    pub(super) fn make_room(&self, bytes: u64) -> bool {
        let unmeasured = self.unmeasured.fetch_add(bytes, Ordering::Relaxed) + bytes;
        if unmeasured >= MEASURE_AFTER {
            self.measure();
            self.evict_until_fits();
        }
        self.has_room(bytes)
    }

    /// Evicts what exceeds the limit.
    pub(super) fn evict_until_fits(&self) {
        let mut evicted = 0;
        while let Some((stored, weight)) = self.policy.evict() {
            if !self.evict(stored, weight) {
                break;
            }
            evicted += weight;
        }
        let mut freed = self.freed.lock();
        if evicted > 0 && freed.is_short {
            freed.note(evicted, Instant::now());
        }
        drop(freed);
        self.show();
    }

    /// The file system is full although the limit is not reached: another limit holds, such as a
    /// quota. Gives up a 64th of what is stored.
    pub(super) fn give_up_some(&self) {
        let used = self.policy.used();
        self.policy
            .resize(used - (used / 64).max(1 << 20).min(used));
        self.evict_until_fits();
    }

    fn evict(&self, stored: Stored, weight: u64) -> bool {
        let deleted = match stored {
            Stored::Segment(segment) => self.delete_segment(segment),
            Stored::Meta(id) => self.delete_meta(id),
        };
        match deleted {
            Ok(_) => {
                self.counters.evictions.add(1);
                self.counters.evicted_bytes.add(weight);
                true
            }
            Err(error) => {
                // It is still there, and counts.
                self.policy.insert(stored, weight, Priority::Normal);
                self.failed(Fault::of_write(error), Some(error));
                false
            }
        }
    }

    /// Shows what is stored.
    pub(super) fn show(&self) {
        self.counters.bytes.set(self.policy.used());
        let metas = self.index.metas() as u64;
        self.counters.metas.set(metas);
        let segments = (self.policy.len() as u64).saturating_sub(metas);
        self.counters.segments.set(segments);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1 << 30;

    fn space(free: u64) -> Space {
        Space {
            size: 100 * GIB,
            free,
            free_files: None,
        }
    }

    #[test]
    fn the_limit_is_what_was_asked_for_and_what_the_reserve_leaves() {
        let mut config = DiskConfig::new("/nowhere");
        config.capacity = Some(50 * GIB);
        let of = |free, used, freed| limit(&config, space(free), used, freed);
        assert_eq!(of(60 * GIB, 0, 0), 50 * GIB);
        assert_eq!(of(30 * GIB, 0, 0), 25 * GIB, "5 % stay free");
        assert_eq!(of(5 * GIB, 20 * GIB, 0), 20 * GIB);
        assert_eq!(of(3 * GIB, 20 * GIB, 0), 18 * GIB);
        assert_eq!(of(3 * GIB, 20 * GIB, 2 * GIB), 20 * GIB, "it is on its way");
        assert_eq!(of(0, 3 * GIB, 0), 0);
    }

    #[test]
    fn without_a_wish_it_takes_most_of_what_is_free() {
        let mut config = DiskConfig::new("/nowhere");
        assert_eq!(limit(&config, space(50 * GIB), 0, 0), 40 * GIB);
        assert_eq!(limit(&config, space(40 * GIB), 10 * GIB, 0), 40 * GIB);
        config.min_free_bytes = 45 * GIB;
        assert_eq!(limit(&config, space(50 * GIB), 0, 0), 5 * GIB);
    }

    #[test]
    fn that_there_is_less_room_is_told_once_an_hour() {
        let mut freed = Freed::default();
        let start = Instant::now();
        let at = |minutes: u64| start + Duration::from_mins(minutes);
        assert!(!freed.tells(false, at(0)));
        assert!(freed.tells(true, at(1)));
        assert!(!freed.tells(true, at(2)));
        assert!(!freed.tells(false, at(3)));
        assert!(!freed.tells(true, at(60)));
        assert!(freed.tells(true, at(61)));
    }

    #[test]
    fn without_inodes_it_shrinks() {
        let config = DiskConfig::new("/nowhere");
        let mut space = space(90 * GIB);
        space.free_files = Some(3);
        assert!(limit(&config, space, GIB, 0) < GIB);
        space.free_files = Some(1000);
        assert!(limit(&config, space, GIB, 0) > GIB);
    }
}
