//! Reading objects: the only place where the cache and the origins meet.
//!
//! [`Reader::answer`] finds the object's meta, fresh by its rule, evaluates preconditions and range
//! against it, and gives a stream of bytes. It knows nothing of clients' connections, signatures or
//! rights: what comes here is verified and authorized.

mod ahead;
mod ask;
mod assembly;
mod error;
mod fill;
mod filling;
mod fills;
mod invalidate;
mod learning;
mod listing;
mod missing;
mod plan;
mod probe;
mod reply;
mod shared;
mod stream;
mod window;

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

pub use ask::ReadAsk;
pub use error::ReadError;
pub use listing::Harvest;
pub use reply::{CacheTrace, Decision, ObjectReply, Reply};
pub use shared::{ReadConfig, ReadParts};
pub use stream::{ObjectStream, Served};

use crate::cache::BLOCKS_PER_SEGMENT;
use crate::cache::CacheRule;
use crate::cache::CachedMeta;
use crate::cache::Freshness;
use crate::cache::Judgement;
use crate::cache::Known;
use crate::cache::judge;
use crate::cache::judge_absent;
use crate::s3::ByteRange;
use crate::s3::Checksums;
use crate::s3::Verdict;
use crate::telemetry::CacheResult;
use crate::upstream::Priority;
use error::FillError;
use fill::Follower;
use filling::Source;
use learning::Learned;
use learning::learn;
use missing::Wanted;
use probe::Situation;
use probe::Stale;
use shared::Shared;

/// An object that is replaced again and again while it is being read is given up after this many
/// starts.
const MAX_STARTS: u32 = 4;

/// Answers reads.
#[derive(Clone)]
pub struct Reader(Arc<Shared>);

/// The meta that an answer is given from.
struct Found {
    meta: Arc<CachedMeta>,
    arriving: Option<Arc<Follower>>,
    /// Whether the origin has just said so.
    is_current: bool,
}

/// A meta from before the process began.
enum Recalled {
    /// As good as new.
    Found(Arc<CachedMeta>),
    /// To be confirmed; whether it may be used when the origin fails to.
    ToConfirm(Arc<CachedMeta>, bool),
}

/// Finding the meta ends with it, or with an answer.
enum Finding {
    Meta(Found),
    Reply(Reply),
}

impl Reader {
    /// Reads with these parts.
    pub fn new(config: ReadConfig, parts: ReadParts) -> Self {
        Self(Shared::new(config, parts))
    }

    /// Answers a read. What comes of it is either complete, or a stream whose first bytes are there.
    pub async fn answer(&self, ask: &ReadAsk) -> Result<Reply, ReadError> {
        if ask.rule(&self.0.rules).freshness == Freshness::Bypass {
            return Ok(Reply::bypass("rule"));
        }
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
    /// because of it, the origin is asked. And a part, asked for on a condition, may have taught a
    /// meta without the checksums of the whole that it comes to.
    async fn complete(
        &self,
        ask: &ReadAsk,
        found: Found,
        trace: &mut CacheTrace,
    ) -> Result<Finding, ReadError> {
        let is_refused = match decide(ask, &found.meta) {
            Decision::PreconditionFailed | Decision::Unsatisfiable => true,
            Decision::NotModified | Decision::Whole | Decision::Part(_) => false,
        };
        if (is_refused && !found.is_current) || lacks_checksums(ask, &found.meta) {
            return self.find(ask, trace, true).await;
        }
        Ok(Finding::Meta(found))
    }

    /// Finds a meta that may be answered from; asks the origin when there is none. `anew` asks it in
    /// any case.
    async fn find(
        &self,
        ask: &ReadAsk,
        trace: &mut CacheTrace,
        anew: bool,
    ) -> Result<Finding, ReadError> {
        let shared = &self.0;
        let rule = ask.rule(&shared.rules);
        let (before, usable_on_error) = match shared.metas.find(&ask.object) {
            Some(Known::Meta(meta)) => match judge(meta.learned, rule, ask.now) {
                Judgement::Fresh { left } if !anew && self.suffices(ask, &meta) => {
                    trace.left = Some(left);
                    return Ok(Finding::Meta(Found {
                        meta,
                        arriving: None,
                        is_current: false,
                    }));
                }
                Judgement::Fresh { .. } => {
                    trace.detail = Some(self.why_asked(ask, anew));
                    (Some(meta), false)
                }
                Judgement::Stale {
                    overdue,
                    usable_on_error,
                } => {
                    trace.overdue = usable_on_error.then_some(overdue);
                    (Some(meta), usable_on_error)
                }
            },
            Some(Known::Outdated(meta)) => (Some(meta), false),
            Some(Known::Absent(absent))
                if !anew
                    && ask.own.is_none()
                    && (ask.is_head || absent.body.is_some())
                    && judge_absent(absent.learned, rule, ask.now).is_fresh() =>
            {
                trace.result = CacheResult::Hit;
                return Ok(Finding::Reply(Reply::Absent(absent, *trace)));
            }
            Some(Known::Absent(_)) => (None, false),
            None if let Some(why) = self.uncacheable(ask) => {
                return Ok(Finding::Reply(Reply::bypass(why)));
            }
            None => match self.recall(ask, rule).await {
                Some(Recalled::Found(meta)) if !anew && self.suffices(ask, &meta) => {
                    return Ok(Finding::Meta(Found {
                        meta,
                        arriving: None,
                        is_current: false,
                    }));
                }
                Some(Recalled::Found(meta)) => (Some(meta), false),
                Some(Recalled::ToConfirm(meta, usable_on_error)) => (Some(meta), usable_on_error),
                None => (None, false),
            },
        };
        if let Some((found, left)) = self.listed(ask, before.as_ref()).filter(|_| !anew) {
            trace.left = Some(left);
            trace.detail = Some("list");
            return Ok(Finding::Meta(found));
        }
        let stale = before.clone();
        let stale = stale.filter(|meta| usable_on_error && self.suffices(ask, meta));
        let learned = self.learn(ask, before, trace).await;
        Self::judge_learned(learned, stale, trace)
    }

    /// What was learned before the process began. Writes since then may have gone another way, past
    /// every fence, so it is confirmed first, however fresh it would be; only what never changes is
    /// used as it is.
    async fn recall(&self, ask: &ReadAsk, rule: &CacheRule) -> Option<Recalled> {
        let generation = self.0.generations.current(&ask.object);
        let meta = self.0.store.recall_meta(&ask.object, generation).await?;
        // After a write that this process has seen, it is only good to validate with.
        let is_fenced = !generation.is_first();
        if rule.freshness == Freshness::Immutable && !is_fenced {
            return Some(Recalled::Found(self.0.metas.insert(meta, ask.now)));
        }
        let usable_on_error = match judge(meta.learned, rule, ask.now) {
            Judgement::Fresh { .. } => true,
            Judgement::Stale {
                usable_on_error, ..
            } => usable_on_error,
        };
        let meta = Arc::new(meta);
        Some(Recalled::ToConfirm(meta, usable_on_error && !is_fenced))
    }

    fn uncacheable(&self, ask: &ReadAsk) -> Option<&'static str> {
        let generation = self.0.generations.current(&ask.object);
        self.0.learning.uncacheable(&ask.object, generation)
    }

    /// Whether a meta, were it fresh, says all that this read needs to know.
    fn suffices(&self, ask: &ReadAsk, meta: &CachedMeta) -> bool {
        self.may_read(ask) && !lacks_checksums(ask, meta)
    }

    /// Why the origin is asked although the meta is fresh.
    fn why_asked(&self, ask: &ReadAsk, anew: bool) -> &'static str {
        match anew {
            true => "refusal",
            false if !self.may_read(ask) => "permission",
            false => "checksums",
        }
    }

    /// Whether the origin lets this client read the object, as far as is known without asking.
    fn may_read(&self, ask: &ReadAsk) -> bool {
        let Some(identity) = ask.identity() else {
            return true;
        };
        let generation = self.0.generations.current(&ask.object);
        let verdicts = &self.0.verdicts;
        verdicts.allows(identity, &ask.object, ask.now, generation)
    }

    async fn learn(
        &self,
        ask: &ReadAsk,
        before: Option<Arc<CachedMeta>>,
        trace: &mut CacheTrace,
    ) -> Learned {
        let shared = &self.0;
        let listed = shared.metas.listed(&ask.object);
        let size = before.as_ref().map(|before| before.meta.size);
        let lacks_checksums = match &before {
            Some(before) => lacks_checksums(ask, before),
            // With `If-Range` it may come to the whole object, whose checksums a part does not bring.
            None => ask.wants_checksums && (ask.is_head || ask.preconditions.has_if_range()),
        };
        let situation = Situation {
            is_head: ask.is_head,
            range: ask.range,
            size: size.or(listed.map(|listed| listed.size)),
            stale: match &before {
                Some(before) => Some(Stale {
                    missing: self.first_missing(ask, before).await,
                }),
                None => None,
            },
            is_data_file: ask.rule(&shared.rules).tail_on_head,
            needs_head: lacks_checksums,
        };
        trace.result = match &before {
            Some(_) => CacheResult::Stale,
            None => CacheResult::Miss,
        };
        let probe = situation.probe(shared.config.block_size);
        let (learned, is_collapsed) = learn(shared, ask, probe, before).await;
        trace.origin_requests += u32::from(!is_collapsed);
        trace.collapsed |= is_collapsed;
        learned
    }

    /// What of the wanted bytes is not stored, up to the first block that is; no longer than a first
    /// fill.
    async fn first_missing(&self, ask: &ReadAsk, before: &CachedMeta) -> Range<u64> {
        let size = before.meta.size;
        let wanted = match ask.range.resolve(size) {
            Ok(ByteRange::Part(interval)) => interval,
            Ok(ByteRange::Whole) => 0..size,
            // Nothing of the body is wanted.
            Err(_) => return 0..0,
        };
        if wanted.is_empty() {
            return 0..0;
        }
        let grid = self.0.config.block_size;
        let wanted = grid.touched_by(&plan::first_fill(&wanted, grid, Some(size)));
        let mut end = wanted.start;
        while end < wanted.end {
            let blocks = self.0.blocks(&before.version, end.segment()).await;
            let next = end.segment().first_block().0 + BLOCKS_PER_SEGMENT;
            let next = next.min(wanted.end.0);
            while end.0 < next && !blocks.has(end.place()) {
                end.0 += 1;
            }
            if end.0 < next {
                break;
            }
        }
        grid.interval_of(&(wanted.start..end), size)
    }

    fn judge_learned(
        learned: Learned,
        stale: Option<Arc<CachedMeta>>,
        trace: &mut CacheTrace,
    ) -> Result<Finding, ReadError> {
        let is_failure = match &learned {
            Learned::Failed(_) => true,
            Learned::Answer(answer) => answer.status.is_server_error(),
            Learned::Meta { .. } | Learned::Uncacheable(_) => false,
        };
        if let Some(meta) = stale.filter(|_| is_failure) {
            trace.result = CacheResult::HitStale;
            return Ok(Finding::Meta(Found {
                meta,
                arriving: None,
                is_current: true,
            }));
        }
        match learned {
            Learned::Meta { meta, status, fill } => {
                trace.overdue = None;
                trace.forward_status = Some(status);
                trace.left = Some(Duration::ZERO);
                Ok(Finding::Meta(Found {
                    meta,
                    arriving: fill,
                    is_current: true,
                }))
            }
            Learned::Answer(answer) => {
                trace.forward_status = Some(answer.status);
                Ok(Finding::Reply(Reply::Answer(answer, *trace)))
            }
            Learned::Uncacheable(why) => Ok(Finding::Reply(Reply::bypass(why))),
            Learned::Failed(error) => Err(ReadError::Upstream(error)),
        }
    }

    /// Gives the answer that follows from a meta.
    async fn reply(
        &self,
        ask: &ReadAsk,
        found: &Found,
        trace: &mut CacheTrace,
    ) -> Result<Reply, FillError> {
        let decision = decide(ask, &found.meta);
        let interval = match &decision {
            Decision::Whole => 0..found.meta.meta.size,
            Decision::Part(interval) => interval.clone(),
            Decision::NotModified | Decision::PreconditionFailed | Decision::Unsatisfiable => 0..0,
        };
        let mut body = None;
        if !ask.is_head && !interval.is_empty() {
            self.0.metrics.asked(interval.end - interval.start);
            let mut stream = self.stream(ask, found, interval.clone());
            self.read_ahead(ask, found, &interval);
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
}

impl Reader {
    /// Fetches what the client is expected to ask for next.
    fn read_ahead(&self, ask: &ReadAsk, found: &Found, interval: &Range<u64>) {
        let shared = &self.0;
        let version = &found.meta.version;
        let Some(due) = shared.ahead.note(version, interval) else {
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
            priority: Priority::Demand,
            generation: self.0.generations.current(&ask.object),
        }
    }
}

/// What an answer is, given the object's meta. The order is that of RFC 9110, section 13.2.2.
fn decide(ask: &ReadAsk, cached: &CachedMeta) -> Decision {
    let meta = &cached.meta;
    match ask.preconditions.evaluate(&meta.etag, meta.last_modified) {
        Verdict::Failed => return Decision::PreconditionFailed,
        Verdict::NotModified => return Decision::NotModified,
        Verdict::Proceed => {}
    }
    if !ask
        .preconditions
        .range_applies(&meta.etag, meta.last_modified)
    {
        return Decision::Whole;
    }
    match ask.range.resolve(meta.size) {
        Ok(ByteRange::Whole) => Decision::Whole,
        Ok(ByteRange::Part(interval)) => Decision::Part(interval),
        Err(_) => Decision::Unsatisfiable,
    }
}

/// Whether checksums are to be shown that nobody has asked the origin for.
fn lacks_checksums(ask: &ReadAsk, cached: &CachedMeta) -> bool {
    ask.wants_checksums
        && cached.meta.checksums == Checksums::Unknown
        && matches!(decide(ask, cached), Decision::Whole)
}
