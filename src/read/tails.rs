//! Fetches the tails of files that a client has just listed and may be about to open.
//!
//! Only where a rule says so. It stands behind clients everywhere, and as long as what it fetches is
//! not asked for, there is an end to it.

use std::collections::HashMap;
use std::collections::VecDeque;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;
use std::time::Duration;
use std::time::Instant;

use parking_lot::Mutex;

use super::Reader;
use super::ask::ReadAsk;
use super::ledger::Ledger;
use super::plan;
use super::warm::WarmCount;
use super::warm::WarmExtent;
use crate::cache::CacheRule;
use crate::cache::ObjectName;

/// Files at most that wait for their turn, or that were fetched and not asked for.
const MAX_FILES: usize = 10_000;

/// Tails that are fetched at one moment, at most, and as a part of all connections to an origin.
const MAX_AT_ONCE: usize = 16;
const CONNECTION_SHARE: usize = 4;

/// What nobody has asked for after so long was fetched in vain.
const PATIENCE: Duration = Duration::from_mins(1);

/// What may be fetched in vain before anything was of use: a hundred tails.
const ALLOWANCE: u64 = 64 << 20;

/// Of the memory tier, what may be fetched and not asked for.
const MEMORY_SHARE: u64 = 16;

/// Bounds of that share.
const LEAST_AHEAD: u64 = 4 << 20;
const MOST_AHEAD: u64 = 128 << 20;

/// A file of a page of ListObjects of which nothing else is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedFile {
    /// Which one.
    pub object: ObjectName,
    /// How it is kept.
    pub rule: CacheRule,
    /// Its length.
    pub size: u64,
}

/// Tails that are fetched, or to be fetched.
pub(super) struct Tails {
    at_once: usize,
    /// How many files were fetched and not asked for: mostly none, and then a read costs nothing.
    unread: AtomicUsize,
    state: Mutex<State>,
}

struct State {
    ledger: Ledger,
    running: usize,
    waiting: VecDeque<(Instant, ReadAsk, u64)>,
    /// Those that were fetched and not asked for, with their bytes; in the order of their time.
    unread: HashMap<ObjectName, u64>,
    order: VecDeque<(Instant, ObjectName)>,
}

impl Tails {
    /// Over a memory tier of this capacity, with so many connections to each origin.
    pub(super) fn new(memory: u64, connections: usize) -> Self {
        let most = (memory / MEMORY_SHARE).clamp(LEAST_AHEAD, MOST_AHEAD);
        Self {
            at_once: (connections / CONNECTION_SHARE).min(MAX_AT_ONCE),
            unread: AtomicUsize::new(0),
            state: Mutex::new(State {
                ledger: Ledger::new(ALLOWANCE, most),
                running: 0,
                waiting: VecDeque::new(),
                unread: HashMap::new(),
                order: VecDeque::new(),
            }),
        }
    }

    /// The next file to fetch, if there is one and room for it; and the bytes that were fetched in
    /// vain and are given up.
    fn next(&self, now: Instant) -> (Option<(ReadAsk, u64)>, u64) {
        let mut state = self.state.lock();
        let given_up = state.give_up(now);
        self.unread.store(state.unread.len(), Ordering::Relaxed);
        let next = if state.running < self.at_once {
            state.next(now)
        } else {
            None
        };
        (next, given_up)
    }

    /// A file was fetched: so many bytes of those that were reckoned with.
    fn ended(&self, object: ObjectName, reckoned: u64, fetched: u64, now: Instant) {
        let mut state = self.state.lock();
        state.running -= 1;
        state.ledger.failed(reckoned.saturating_sub(fetched));
        if fetched > 0 && state.unread.len() < MAX_FILES {
            state.order.push_back((now, object.clone()));
            state.unread.insert(object, fetched.min(reckoned));
            self.unread.store(state.unread.len(), Ordering::Relaxed);
        }
    }

    /// A client asks for a file. Answers the bytes that were fetched for it.
    fn asked(&self, object: &ObjectName) -> u64 {
        if self.unread.load(Ordering::Relaxed) == 0 {
            return 0;
        }
        let mut state = self.state.lock();
        let bytes = state.unread.remove(object).unwrap_or_default();
        state.ledger.read(bytes);
        bytes
    }
}

impl State {
    fn next(&mut self, now: Instant) -> Option<(ReadAsk, u64)> {
        while let Some((begun, _, bytes)) = self.waiting.front() {
            let is_late = now.saturating_duration_since(*begun) > PATIENCE;
            if !is_late && *bytes > self.ledger.room() {
                return None;
            }
            let (_, ask, bytes) = self.waiting.pop_front()?;
            if !is_late {
                self.ledger.begun(bytes);
                self.running += 1;
                return Some((ask, bytes));
            }
        }
        None
    }

    fn give_up(&mut self, now: Instant) -> u64 {
        let mut given_up = 0;
        while let Some((fetched, object)) = self.order.front()
            && now.saturating_duration_since(*fetched) > PATIENCE
        {
            given_up += self.unread.remove(object).unwrap_or_default();
            self.order.pop_front();
        }
        self.ledger.lost(given_up);
        given_up
    }
}

impl Reader {
    /// Fetches, sooner or later or not at all, what comes first of files that a client may read.
    pub fn fetch_tails(&self, asks: Vec<(ReadAsk, u64)>) {
        let now = Instant::now();
        {
            let mut state = self.0.tails.state.lock();
            let room = MAX_FILES.saturating_sub(state.waiting.len());
            let asks = asks.into_iter().take(room);
            state
                .waiting
                .extend(asks.map(|(ask, size)| (now, ask, size.min(plan::TAIL))));
        }
        self.go_on(now);
    }

    /// Notes that a client asks for an object.
    pub(super) fn note_tail(&self, object: &ObjectName) {
        let bytes = self.0.tails.asked(object);
        if bytes > 0 {
            self.0.metrics.prefetch_used(bytes);
            self.go_on(Instant::now());
        }
    }

    fn go_on(&self, now: Instant) {
        let shared = &self.0;
        loop {
            let (next, given_up) = shared.tails.next(now);
            shared.metrics.prefetch_wasted(given_up);
            let Some((ask, bytes)) = next else {
                return;
            };
            self.fetch_tail(ask, bytes);
        }
    }

    fn fetch_tail(&self, ask: ReadAsk, bytes: u64) {
        let reader = self.clone();
        tokio::spawn(async move {
            let count = WarmCount::default();
            // A client may have asked for it meanwhile.
            if reader.0.metas.find(&ask.object).is_none() {
                // What fails is not there when it is asked for, no more.
                let _ = reader.warm(&ask, WarmExtent::Tail, &count).await;
            }
            let fetched = count.fetched.load(Ordering::Relaxed);
            let now = Instant::now();
            reader.0.tails.ended(ask.object, bytes, fetched, now);
            reader.go_on(now);
        });
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;
    use crate::cache::CacheRules;
    use crate::read::tests::object;
    use crate::read::tests::origin;

    const MIB: u64 = 1 << 20;

    fn tails(files: u32) -> (Tails, Instant) {
        let tails = Tails::new(4 << 30, 64);
        let now = Instant::now();
        let origin = origin();
        let waiting = (0..files).map(|index| {
            let rule = CacheRules::default().rule_for("lake", "a").clone();
            let ask = ReadAsk::ahead(
                object(&index.to_string()),
                origin.clone(),
                rule,
                SystemTime::UNIX_EPOCH,
            );
            (now, ask, MIB)
        });
        tails.state.lock().waiting.extend(waiting);
        (tails, now)
    }

    /// Fetches as long as it may, and answers how many.
    fn fetch(tails: &Tails, now: Instant) -> usize {
        let mut count = 0;
        while let (Some((ask, bytes)), _) = tails.next(now) {
            tails.ended(ask.object, bytes, bytes, now);
            count += 1;
        }
        count
    }

    #[test]
    fn it_stops_when_nobody_asks_and_goes_on_when_somebody_does() {
        let (tails, now) = tails(1000);
        assert_eq!(fetch(&tails, now), 64, "the allowance");
        for index in 0..30 {
            assert_eq!(tails.asked(&object(&index.to_string())), MIB);
        }
        assert_eq!(tails.asked(&object("0")), 0, "once");
        assert_eq!(tails.asked(&object("999")), 0, "not fetched");
        assert_eq!(fetch(&tails, now), 40, "those, and a third as many");
        // Nobody comes back: what is late is not fetched any more.
        let later = now + PATIENCE + Duration::from_secs(1);
        let (next, given_up) = tails.next(later);
        assert!(next.is_none());
        assert_eq!(given_up, 74 * MIB);
        assert_eq!(tails.state.lock().waiting.len(), 0);
        assert_eq!(tails.unread.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn few_are_fetched_at_once() {
        let (tails, now) = tails(100);
        let begun: Vec<_> = std::iter::from_fn(|| tails.next(now).0).collect();
        assert_eq!(begun.len(), MAX_AT_ONCE);
        let few = Tails::new(1 << 30, 3);
        few.state.lock().waiting = tails.state.lock().waiting.clone();
        assert!(few.next(now).0.is_none(), "clients need all of them");
    }

    #[test]
    fn what_did_not_come_takes_no_room() {
        let (tails, now) = tails(1000);
        for _ in 0..500 {
            let (ask, bytes) = tails.next(now).0.expect("there is room");
            tails.ended(ask.object, bytes, 0, now);
        }
        assert_eq!(tails.unread.load(Ordering::Relaxed), 0);
    }
}
