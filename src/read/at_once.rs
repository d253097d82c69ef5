//! Reads that need nothing but memory: a fresh meta and all the bytes that are wanted, in one piece.

use std::sync::Arc;

use super::Reader;
use super::ask::ReadAsk;
use super::reply::CacheTrace;
use super::reply::Decision;
use super::reply::ObjectReply;
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
        let interval = match &decision {
            Decision::Whole => 0..found.meta.meta.size,
            Decision::Part(interval) => interval.clone(),
            Decision::NotModified => 0..0,
            // To be confirmed first.
            Decision::PreconditionFailed | Decision::Unsatisfiable => return None,
        };
        let mut body = None;
        if !ask.is_head && !interval.is_empty() {
            let mut stream = self.stream(ask, &found, interval.clone());
            if !stream.begin_in_memory() {
                return None;
            }
            self.0.metrics.asked(interval.end - interval.start);
            self.read_ahead(ask, &found, &interval);
            self.stride(ask, &found, &interval);
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
