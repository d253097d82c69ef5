//! Hot objects and prefixes: which are read most, in memory that does not grow and at a cost that
//! does not either.
//!
//! Names are counted in windows of half an hour, of which the last two are shown. A name lies in one of
//! a few shards by its hash, so that threads seldom meet.

mod sketch;

use std::collections::HashMap;
use std::hash::BuildHasher;
use std::hash::RandomState;
use std::time::Duration;

use parking_lot::Mutex;
use serde::Serialize;
use sketch::Sketch;
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// Locks over the names.
const SHARDS: usize = 8;

/// Names in a shard, for each order: 512 in all.
const CAPACITY: usize = 64;

/// Prefixes of a key that are counted: the bucket and four more.
const DEPTH: usize = 5;

/// How long a window is.
const WINDOW: Duration = Duration::from_mins(30);

/// What was counted of a name.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Reads.
    pub requests: u64,
    /// Of these, answered without the origin.
    pub hits: u64,
    /// The others.
    pub misses: u64,
    /// Body bytes sent.
    pub bytes: u64,
}

/// What heavy means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TopBy {
    /// Many requests.
    Requests,
    /// Many bytes.
    Bytes,
    /// Many misses.
    Misses,
}

/// The hottest.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TopList {
    /// What was counted before is not in it.
    pub since_seconds: u64,
    /// Objects, the hottest first.
    pub objects: Vec<TopRow>,
    /// Beginnings of keys up to a slash, the hottest first.
    pub prefixes: Vec<TopRow>,
}

/// A name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TopRow {
    /// The bucket.
    pub bucket: String,
    /// The key, or its beginning.
    pub key: String,
    /// What was counted since it was noticed.
    #[serde(flatten)]
    pub counts: Counts,
    /// How much of what the list is ordered by may have escaped before.
    pub uncounted: u64,
}

/// What is read.
pub(super) struct Top {
    seed: u64,
    objects: Tables,
    prefixes: Tables,
}

#[derive(Default)]
struct Tables([Mutex<Shard>; SHARDS]);

/// The present window and the one before.
#[derive(Default)]
struct Shard {
    windows: [Window; 2],
    started: Duration,
}

struct Window([Sketch; 3]);

impl Counts {
    fn add(&mut self, other: &Self) {
        self.requests += other.requests;
        self.hits += other.hits;
        self.misses += other.misses;
        self.bytes += other.bytes;
    }
}

impl TopBy {
    const ALL: [Self; 3] = [Self::Requests, Self::Bytes, Self::Misses];

    fn weight(self, counts: &Counts) -> u64 {
        match self {
            Self::Requests => counts.requests,
            Self::Bytes => counts.bytes,
            Self::Misses => counts.misses,
        }
    }
}

impl Default for Window {
    fn default() -> Self {
        Self(std::array::from_fn(|_| Sketch::new(CAPACITY)))
    }
}

impl Default for Top {
    fn default() -> Self {
        Self {
            // A client that could choose keys of one hash could hide them behind each other.
            seed: RandomState::new().hash_one(0_u8),
            objects: Tables::default(),
            prefixes: Tables::default(),
        }
    }
}

impl Top {
    /// Counts a read at this moment of the process's life.
    pub(super) fn add(&self, uptime: Duration, bucket: &str, key: &str, counts: &Counts) {
        let name = [bucket, "/", key].concat();
        self.objects.add(self.seed, uptime, &name, counts);
        let slashes = name.match_indices('/').take(DEPTH);
        for (end, _) in slashes {
            // An object whose key ends with a slash is no prefix of anything that was read.
            if end + 1 < name.len() {
                self.prefixes.add(self.seed, uptime, &name[..=end], counts);
            }
        }
    }

    /// The hottest, so many of each kind at most.
    pub(super) fn list(&self, uptime: Duration, by: TopBy, limit: usize) -> TopList {
        TopList {
            since_seconds: self.objects.covered(uptime).as_secs(),
            objects: self.objects.list(uptime, by, limit),
            prefixes: self.prefixes.list(uptime, by, limit),
        }
    }
}

impl Tables {
    fn add(&self, seed: u64, uptime: Duration, name: &str, counts: &Counts) {
        let hash = xxh3_64_with_seed(name.as_bytes(), seed);
        let shard = usize::from(hash.to_le_bytes()[0]) % SHARDS;
        let mut shard = self.0[shard].lock();
        shard.turn(uptime);
        for (by, sketch) in TopBy::ALL.iter().zip(&mut shard.windows[0].0) {
            sketch.add(hash, name, by.weight(counts), counts);
        }
    }

    fn list(&self, uptime: Duration, by: TopBy, limit: usize) -> Vec<TopRow> {
        let mut found: HashMap<u64, (u64, TopRow)> = HashMap::new();
        for shard in &self.0 {
            let mut shard = shard.lock();
            shard.turn(uptime);
            for window in &shard.windows {
                for (weight, entry) in window.0[by as usize].entries() {
                    let (bucket, key) = entry.name.split_once('/').unwrap_or((&entry.name, ""));
                    let (total, row) = found.entry(entry.hash).or_insert_with(|| {
                        let row = TopRow {
                            bucket: bucket.to_owned(),
                            key: key.to_owned(),
                            counts: Counts::default(),
                            uncounted: 0,
                        };
                        (0, row)
                    });
                    *total += weight;
                    row.counts.add(&entry.counts);
                    row.uncounted += entry.error;
                }
            }
        }
        let mut rows: Vec<_> = found.into_values().collect();
        // Of equal ones, always the same first.
        rows.sort_by(|(a, one), (b, other)| {
            let name = |row: &TopRow| (row.bucket.clone(), row.key.clone());
            b.cmp(a).then_with(|| name(one).cmp(&name(other)))
        });
        rows.truncate(limit);
        rows.into_iter().map(|(_, row)| row).collect()
    }

    /// How far back the windows reach.
    fn covered(&self, uptime: Duration) -> Duration {
        let mut shard = self.0[0].lock();
        shard.turn(uptime);
        let before = shard.started.min(WINDOW);
        uptime.saturating_sub(shard.started) + before
    }
}

impl Shard {
    fn turn(&mut self, uptime: Duration) {
        let windows = uptime.saturating_sub(self.started).as_secs() / WINDOW.as_secs();
        for _ in 0..windows.min(2) {
            self.windows.swap(0, 1);
            self.windows[0] = Window::default();
        }
        self.started += WINDOW * u32::try_from(windows).unwrap_or(u32::MAX);
    }
}

impl std::fmt::Debug for Top {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Top").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::from_secs(10);

    fn read(bytes: u64, is_hit: bool) -> Counts {
        Counts {
            requests: 1,
            hits: u64::from(is_hit),
            misses: u64::from(!is_hit),
            bytes,
        }
    }

    fn keys(rows: &[TopRow]) -> Vec<String> {
        let name = |row: &TopRow| format!("{}/{}", row.bucket, row.key);
        rows.iter().map(name).collect()
    }

    #[test]
    fn the_hottest_come_first_whatever_that_means() {
        let top = Top::default();
        for _ in 0..5 {
            top.add(NOW, "lake", "t/often", &read(1, true));
        }
        top.add(NOW, "lake", "t/long", &read(1000, true));
        for _ in 0..2 {
            top.add(NOW, "pond", "missed", &read(3, false));
        }
        let list = |by| top.list(NOW, by, 10);
        let by_requests = list(TopBy::Requests);
        assert_eq!(
            keys(&by_requests.objects),
            ["lake/t/often", "pond/missed", "lake/t/long"]
        );
        assert_eq!(
            by_requests.objects[0].counts,
            Counts {
                requests: 5,
                hits: 5,
                misses: 0,
                bytes: 5
            }
        );
        assert_eq!(keys(&by_requests.prefixes), ["lake/", "lake/t/", "pond/"]);
        assert_eq!(by_requests.prefixes[0].counts.requests, 6);
        assert_eq!(keys(&list(TopBy::Bytes).objects)[0], "lake/t/long");
        assert_eq!(keys(&list(TopBy::Misses).objects), ["pond/missed"]);
        assert_eq!(top.list(NOW, TopBy::Requests, 1).objects.len(), 1);
        assert_eq!(by_requests.since_seconds, 10);
    }

    #[test]
    fn deep_keys_and_slashes_are_counted_within_bounds() {
        let top = Top::default();
        top.add(NOW, "lake", "a/b/c/d/e/f/g", &read(1, true));
        top.add(NOW, "lake", "dir/", &read(1, true));
        let list = top.list(NOW, TopBy::Requests, 100);
        let prefixes = keys(&list.prefixes);
        assert_eq!(prefixes.len(), DEPTH);
        assert!(
            prefixes.contains(&"lake/a/b/c/d/".to_owned()),
            "{prefixes:?}"
        );
        assert!(!prefixes.contains(&"lake/dir/".to_owned()));
        assert!(keys(&list.objects).contains(&"lake/dir/".to_owned()));
    }

    #[test]
    fn many_names_do_not_grow_it_and_the_hot_one_stays() {
        let top = Top::default();
        for number in 0..20_000 {
            top.add(NOW, "lake", &format!("cold/{number}"), &read(1, false));
            if number % 50 == 0 {
                top.add(NOW, "lake", "hot", &read(1, false));
            }
        }
        let list = top.list(NOW, TopBy::Requests, usize::MAX);
        assert_eq!(list.objects.len(), SHARDS * CAPACITY);
        assert_eq!(list.objects[0].key, "hot");
        assert_eq!(list.prefixes[0].counts.requests, 20_400);
    }

    #[test]
    fn what_was_hot_an_hour_ago_is_forgotten() {
        let top = Top::default();
        let minute = |count| Duration::from_mins(count);
        top.add(minute(1), "lake", "a", &read(1, true));
        top.add(minute(31), "lake", "a", &read(1, true));
        let requests = |uptime| {
            let list = top.list(uptime, TopBy::Requests, 1);
            list.objects.first().map(|row| row.counts.requests)
        };
        assert_eq!(requests(minute(59)), Some(2));
        assert_eq!(top.list(minute(59), TopBy::Bytes, 1).since_seconds, 59 * 60);
        assert_eq!(requests(minute(61)), Some(1));
        assert_eq!(top.list(minute(61), TopBy::Bytes, 1).since_seconds, 31 * 60);
        assert_eq!(requests(minute(500)), None);
    }
}
