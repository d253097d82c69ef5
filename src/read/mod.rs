//! Reading objects: the only place where the cache and the origins meet.
//!
//! [`Reader::answer`] finds the object's meta, fresh by its rule, evaluates preconditions and range
//! against it, and gives a stream of bytes. It knows nothing of clients' connections, signatures or
//! rights: what comes here is verified and authorized.

mod ahead;
mod ask;
mod assembly;
mod at_once;
mod density;
mod error;
mod explain;
mod fill;
mod filling;
mod fills;
mod finding;
mod invalidate;
mod learning;
mod ledger;
mod listing;
mod missing;
mod parquet;
mod plan;
mod probe;
mod reply;
mod shared;
mod stream;
mod stride;
mod tails;
#[cfg(test)]
mod tests;
mod warm;
mod window;

use std::ops::Range;
use std::sync::Arc;

pub use ask::ReadAsk;
pub use error::ReadError;
pub use explain::{Explanation, Held, Runs, Sighting};
pub use listing::Harvest;
pub use reply::{CacheTrace, Decision, ObjectReply, Reply};
pub use shared::{ReadConfig, ReadParts};
pub(crate) use stream::PIECES;
pub use stream::{ObjectStream, Served};
pub use tails::ListedFile;
pub use warm::{WarmCount, WarmExtent, WarmRefusal};

use crate::cache::Freshness;
use error::FillError;
use filling::Source;
use finding::Finding;
use finding::Found;
use finding::lacks_checksums;
use missing::Wanted;
use plan::Beyond;
use shared::Shared;

/// An object that is replaced again and again while it is being read is given up after this many
/// starts.
const MAX_STARTS: u32 = 4;

/// Answers reads.
#[derive(Clone)]
pub struct Reader(Arc<Shared>);

impl Reader {
    /// Reads with these parts.
    pub fn new(config: ReadConfig, parts: ReadParts) -> Self {
        Self(Shared::new(config, parts))
    }

    /// Answers a read. What comes of it is either complete, or a stream whose first bytes are there.
    pub async fn answer(&self, ask: &ReadAsk) -> Result<Reply, ReadError> {
        if ask.rule.freshness == Freshness::Bypass {
            return Ok(Reply::bypass("rule"));
        }
        self.note_tail(&ask.object);
        let mut trace = CacheTrace::default();
        for start in 0..MAX_STARTS {
            let found = match self.find(ask, &mut trace, start > 0).await? {
                Finding::Meta(found) => found,
                Finding::Reply(reply) => return Ok(reply),
            };
            let found = match self.complete(ask, found, &mut trace).await? {
                Finding::Meta(found) => found,
                Finding::Reply(reply) => return Ok(reply),
            };
            match self.reply(ask, &found, &mut trace).await {
                Ok(reply) => return Ok(reply),
                // Replaced since its meta was learned, which the fill has forgotten: nothing has been
                // said yet, so start again.
                Err(FillError::Changed) => {}
                // Whatever kind of origin this is: the client gets what it says.
                Err(FillError::Unexpected(why)) => return Ok(Reply::bypass(why)),
                Err(FillError::Refused(answer)) => return Ok(Reply::Answer(answer, trace)),
                Err(error) => return Err(error.into()),
            }
        }
        Err(ReadError::Changed)
    }

    /// A fresh meta may be older than what the client has seen elsewhere: before a read is refused
    /// because of it, the origin is asked. And a part, asked for on a condition or because the rest
    /// was there, may have taught a meta without the checksums of the whole that it comes to.
    async fn complete(
        &self,
        ask: &ReadAsk,
        mut found: Found,
        trace: &mut CacheTrace,
    ) -> Result<Finding, ReadError> {
        if !found.is_current && Decision::of(ask, &found.meta).is_refusal() {
            found = match self.find(ask, trace, true).await? {
                Finding::Meta(found) => found,
                reply @ Finding::Reply(_) => return Ok(reply),
            };
        }
        if lacks_checksums(ask, &found.meta) {
            return self.learn_checksums(ask, found.meta, trace).await;
        }
        Ok(Finding::Meta(found))
    }

    /// Gives the answer that follows from a meta.
    async fn reply(
        &self,
        ask: &ReadAsk,
        found: &Found,
        trace: &mut CacheTrace,
    ) -> Result<Reply, FillError> {
        let decision = Decision::of(ask, &found.meta);
        let interval = decision.interval(&found.meta);
        let mut body = None;
        if !ask.is_head && !interval.is_empty() {
            self.0.metrics.asked(interval.end - interval.start);
            let mut stream = self.stream(ask, found, interval.clone());
            self.read_ahead(
                ask,
                found,
                &interval,
                self.lacks_first_block(found, &interval),
            );
            self.stride(ask, found, &interval, None);
            stream.begin().await?;
            trace.follow(&stream);
            body = Some(stream);
        }
        Ok(Reply::Object(Box::new(ObjectReply {
            decision,
            meta: Arc::clone(&found.meta),
            wants_checksums: ask.wants_checksums,
            body,
            trace: *trace,
        })))
    }

    fn stream(&self, ask: &ReadAsk, found: &Found, interval: Range<u64>) -> ObjectStream {
        let source = self.source(ask);
        let arriving = found.arriving.clone();
        ObjectStream::new(&self.0, &found.meta.version, source, interval, arriving)
    }

    /// Whether the block in which an interval begins is not stored.
    fn lacks_first_block(&self, found: &Found, interval: &Range<u64>) -> bool {
        let shared = &self.0;
        let first = shared.config.block_size.block_at(interval.start);
        let stored = shared.store.present(&found.meta.version, first.segment());
        !stored.blocks().has(first.place())
    }

    /// Fetches what the client is expected to ask for next.
    fn read_ahead(&self, ask: &ReadAsk, found: &Found, interval: &Range<u64>, is_missing: bool) {
        let shared = &self.0;
        let version = &found.meta.version;
        let Some(due) = shared.ahead.note(version, interval, is_missing) else {
            return;
        };
        let (shared, version, source) = (Arc::clone(shared), Arc::clone(version), self.source(ask));
        tokio::spawn(async move {
            // The block in which it begins is the client's own.
            let start = due.start.next_multiple_of(shared.config.block_size.bytes());
            if start >= due.end {
                return;
            }
            let wanted = Wanted {
                interval: start..due.end,
                position: None,
                distrusted: None,
                beyond: Beyond::HOLE,
            };
            let begun = missing::begin(&shared, &version, &source, wanted).await;
            let length = |fill: &Arc<fill::Fill>| fill.interval.end - fill.interval.start;
            let bytes = begun.fills.iter().map(length).sum();
            shared.metrics.prefetched(bytes);
            shared.ahead.begun(&version, due.end, begun.to, bytes);
        });
    }

    fn source(&self, ask: &ReadAsk) -> Source {
        Source {
            origin: Arc::clone(&ask.origin),
            own: ask.own.clone(),
            priority: ask.priority,
            generation: self.0.generations.current(&ask.object),
        }
    }
}
