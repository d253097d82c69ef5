//! Reads that need no waiting: a fresh meta, and all the bytes that are wanted in a few pieces, in
//! memory or in files that the page cache holds.

use std::sync::Arc;

use super::Reader;
use super::ask::ReadAsk;
use super::reply::CacheTrace;
use super::reply::Decision;
use super::reply::ObjectReply;
use super::stride::Stock;
use crate::cache::Freshness;

impl Reader {
    /// Answers a read as [`Reader::answer`] does, if that takes neither waiting nor asking: `None` leaves everything
    /// as it was.
    pub fn answer_at_once(&self, ask: &ReadAsk) -> Option<ObjectReply> {
        if ask.rule.freshness == Freshness::Bypass {
            return None;
        }
        let mut trace = CacheTrace::default();
        let found = self.known_and_fresh(ask, &mut trace)?;
        let decision = Decision::of(ask, &found.meta);
        // To be confirmed first.
        if decision.is_refusal() {
            return None;
        }
        let interval = decision.interval(&found.meta);
        let mut body = None;
        if !ask.is_head && !interval.is_empty() {
            let mut stream = self.stream(ask, &found, interval.clone());
            if !stream.begin_at_once() {
                return None;
            }
            self.0.metrics.asked(interval.end - interval.start);
            // A tier has just given them.
            self.read_ahead(ask, &found, &interval, false);
            self.stride(ask, &found, &interval, Some(Stock::Stored));
            body = Some(stream);
        }
        self.note_tail(&ask.object);
        Some(ObjectReply {
            decision,
            meta: Arc::clone(&found.meta),
            wants_checksums: ask.wants_checksums,
            body,
            trace,
        })
    }
}
