//! Finds the meta that an answer is given from: what is known and fresh, what was known before, or
//! what the origin says when it is asked.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use super::Reader;
use super::ask::ReadAsk;
use super::error::ReadError;
use super::fill::Follower;
use super::learning::Learned;
use super::learning::learn;
use super::plan;
use super::probe::Situation;
use super::probe::Stale;
use super::reply::CacheTrace;
use super::reply::Decision;
use super::reply::Reply;
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
use crate::telemetry::CacheResult;

/// The meta that an answer is given from.
pub(super) struct Found {
    pub(super) meta: Arc<CachedMeta>,
    /// The fill that came with it.
    pub(super) arriving: Option<Arc<Follower>>,
    /// Whether the origin has just said so.
    pub(super) is_current: bool,
}

/// What is known without asking the origin.
enum Sight {
    /// Enough to answer from.
    Enough(Finding),
    /// To be confirmed, or to be learned anew.
    Old {
        before: Arc<CachedMeta>,
        /// Whether it may be used all the same when the origin fails.
        usable_on_error: bool,
    },
    Nothing,
}

/// Finding the meta ends with it, or with an answer.
pub(super) enum Finding {
    Meta(Found),
    Reply(Reply),
}

impl Found {
    /// What is known already.
    fn known(meta: Arc<CachedMeta>) -> Self {
        Self {
            meta,
            arriving: None,
            is_current: false,
        }
    }
}

impl Reader {
    /// Finds a meta that may be answered from; asks the origin when there is none. `anew` asks it in
    /// any case.
    pub(super) async fn find(
        &self,
        ask: &ReadAsk,
        trace: &mut CacheTrace,
        anew: bool,
    ) -> Result<Finding, ReadError> {
        let (before, usable_on_error) = match self.look(ask, trace, anew).await {
            Sight::Enough(finding) => return Ok(finding),
            Sight::Old {
                before,
                usable_on_error,
            } => (Some(before), usable_on_error),
            Sight::Nothing => (None, false),
        };
        if let Some((found, left)) = self.listed(ask, before.as_ref()).filter(|_| !anew) {
            trace.left = Some(left);
            trace.detail = Some("list");
            return Ok(Finding::Meta(found));
        }
        let stale = before.clone();
        let stale = stale.filter(|meta| usable_on_error && self.suffices(ask, meta));
        let learned = self.learn(ask, before, trace).await;
        judge_learned(learned, stale, trace)
    }

    /// Asks for what a meta lacks that has just been learned. Nothing is looked up again: meanwhile
    /// something older may have taken its place.
    pub(super) async fn learn_checksums(
        &self,
        ask: &ReadAsk,
        meta: Arc<CachedMeta>,
        trace: &mut CacheTrace,
    ) -> Result<Finding, ReadError> {
        let learned = self.learn(ask, Some(meta), trace).await;
        judge_learned(learned, None, trace)
    }

    /// A meta in memory that is fresh and says all that this read needs to know.
    pub(super) fn known_and_fresh(&self, ask: &ReadAsk, trace: &mut CacheTrace) -> Option<Found> {
        let Some(Known::Meta(meta)) = self.0.metas.find(&ask.object) else {
            return None;
        };
        let Judgement::Fresh { left } = judge(meta.learned, &ask.rule, ask.now) else {
            return None;
        };
        if !self.suffices(ask, &meta) {
            return None;
        }
        trace.left = Some(left);
        Some(Found::known(meta))
    }

    /// Looks at what is known: in memory first, then on disk.
    async fn look(&self, ask: &ReadAsk, trace: &mut CacheTrace, anew: bool) -> Sight {
        let rule = &ask.rule;
        match self.0.metas.find(&ask.object) {
            Some(Known::Meta(meta)) => self.judge_known(ask, rule, meta, trace, anew),
            // From before a write, or the answer to another question.
            Some(Known::Outdated(before)) => Sight::Old {
                before,
                usable_on_error: false,
            },
            Some(Known::Absent(absent))
                if !anew
                    && ask.own.is_none()
                    && (ask.is_head || absent.body.is_some())
                    && judge_absent(absent.learned, rule, ask.now).is_fresh() =>
            {
                trace.result = CacheResult::Hit;
                Sight::Enough(Finding::Reply(Reply::Absent(absent, *trace)))
            }
            Some(Known::Absent(_)) => Sight::Nothing,
            None => match self.uncacheable(ask) {
                Some(why) => Sight::Enough(Finding::Reply(Reply::bypass(why))),
                None => self.recall(ask, rule, anew).await,
            },
        }
    }

    fn judge_known(
        &self,
        ask: &ReadAsk,
        rule: &CacheRule,
        meta: Arc<CachedMeta>,
        trace: &mut CacheTrace,
        anew: bool,
    ) -> Sight {
        let usable_on_error = match judge(meta.learned, rule, ask.now) {
            Judgement::Fresh { left } if !anew && self.suffices(ask, &meta) => {
                trace.left = Some(left);
                return Sight::Enough(Finding::Meta(Found::known(meta)));
            }
            Judgement::Fresh { .. } => {
                trace.detail = Some(self.why_asked(ask, anew));
                false
            }
            Judgement::Stale {
                overdue,
                usable_on_error,
            } => {
                trace.overdue = usable_on_error.then_some(overdue);
                usable_on_error
            }
        };
        Sight::Old {
            before: meta,
            usable_on_error,
        }
    }

    /// What was learned before the process began. Writes since then may have gone another way, past
    /// every fence, so it is confirmed first, however fresh it would be; only what never changes is
    /// used as it is.
    async fn recall(&self, ask: &ReadAsk, rule: &CacheRule, anew: bool) -> Sight {
        let generation = self.0.generations.current(&ask.object);
        let recalled = self.0.store.recall_meta(&ask.object, generation).await;
        let Some(meta) = recalled else {
            return Sight::Nothing;
        };
        // After a write that this process has seen, it is only good to validate with.
        let is_fenced = !generation.is_first();
        if rule.freshness == Freshness::Immutable && !is_fenced {
            let meta = self.0.metas.insert(meta, ask.now);
            if !anew && self.suffices(ask, &meta) {
                return Sight::Enough(Finding::Meta(Found::known(meta)));
            }
            return Sight::Old {
                before: meta,
                usable_on_error: false,
            };
        }
        let may_be_old = match judge(meta.learned, rule, ask.now) {
            Judgement::Fresh { .. } => true,
            Judgement::Stale {
                usable_on_error, ..
            } => usable_on_error,
        };
        Sight::Old {
            before: Arc::new(meta),
            usable_on_error: may_be_old && !is_fenced,
        }
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
            is_data_file: ask.rule.tail_on_head,
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
        if ask.is_head {
            return 0..0;
        }
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
}

/// What follows from the origin's answer, or from its failure.
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

/// Whether checksums are to be shown that nobody has asked the origin for.
pub(super) fn lacks_checksums(ask: &ReadAsk, cached: &CachedMeta) -> bool {
    ask.wants_checksums
        && cached.meta.checksums == Checksums::Unknown
        && matches!(Decision::of(ask, cached), Decision::Whole)
}
