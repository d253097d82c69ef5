//! Fetching into the cache what no client has asked for, because an operator did. It stands behind
//! clients everywhere: for connections, and for room in flight.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::Reader;
use super::ask::ReadAsk;
use super::error::FillError;
use super::fill::Fill;
use super::fill::Follower;
use super::filling::Source;
use super::finding::Finding;
use super::finding::Found;
use super::missing;
use super::missing::Wanted;
use super::plan;
use super::plan::Beyond;
use super::reply::CacheTrace;
use super::reply::Reply;
use crate::cache::Freshness;
use crate::cache::ObjectVersion;

/// So much of an object is looked at, and what is missing of it fetched, at a time.
const STEP: u64 = 32 << 20;

/// Between two attempts to get room when clients need all of it.
const PAUSE: Duration = Duration::from_millis(25);

/// An object that is replaced again and again is given up after this many starts.
const MAX_STARTS: u32 = 3;

/// How much of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WarmExtent {
    /// Its last 512 KiB.
    Tail,
    /// All of it.
    Whole,
}

/// Bytes so far.
#[derive(Debug, Default)]
pub struct WarmCount {
    /// Fetched.
    pub fetched: AtomicU64,
    /// There already, or fetched for others.
    pub present: AtomicU64,
}

/// Why an object is not in the cache now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WarmRefusal {
    /// It is not for the cache: a detail of `Cache-Status`.
    Skipped(&'static str),
    /// It could not be fetched.
    Failed(String),
}

impl Reader {
    /// Fetches what is missing. Dropping the future gives it up.
    pub async fn warm(
        &self,
        ask: &ReadAsk,
        extent: WarmExtent,
        count: &WarmCount,
    ) -> Result<(), WarmRefusal> {
        if ask.rule.freshness == Freshness::Bypass {
            return Err(WarmRefusal::Skipped("rule"));
        }
        let mut last = FillError::Changed;
        for start in 0..MAX_STARTS {
            let mut trace = CacheTrace::default();
            let found = match self.find(ask, &mut trace, start > 0).await {
                Ok(Finding::Meta(found)) => found,
                Ok(Finding::Reply(reply)) => return Err(refusal(&reply)),
                Err(error) => return Err(WarmRefusal::Failed(error.to_string())),
            };
            match self.warm_version(ask, &found, extent, count).await {
                Ok(()) => return Ok(()),
                // Replaced or left since: from the beginning.
                Err(error @ (FillError::Changed | FillError::Abandoned)) => last = error,
                Err(error) => return Err(failed(&error)),
            }
        }
        Err(failed(&last))
    }

    async fn warm_version(
        &self,
        ask: &ReadAsk,
        found: &Found,
        extent: WarmExtent,
        count: &WarmCount,
    ) -> Result<(), FillError> {
        let version = &found.meta.version;
        let size = version.size;
        let wanted = match extent {
            WarmExtent::Tail => size.saturating_sub(plan::TAIL)..size,
            WarmExtent::Whole => 0..size,
        };
        if let Some(arriving) = &found.arriving {
            let fill = arriving.interval();
            let fetched = fill.end - fill.start;
            count.fetched.fetch_add(fetched, Ordering::Relaxed);
            self.0.metrics.prefetched(fetched);
        }
        let source = self.source(ask);
        let mut position = wanted.start;
        while position < wanted.end {
            let step = position..wanted.end.min(position + STEP);
            position = self.warm_step(found, &source, step, count).await?;
        }
        // Of an object that lies in memory already, or of an empty one, there was nothing to wait for.
        match &found.arriving {
            Some(arriving) => arriving.ended().await,
            None => Ok(()),
        }
    }

    /// Fetches what is missing of a part of the object, as far as there is room. Answers how far it
    /// came.
    async fn warm_step(
        &self,
        found: &Found,
        source: &Source,
        step: Range<u64>,
        count: &WarmCount,
    ) -> Result<u64, FillError> {
        let shared = &self.0;
        let version: &Arc<ObjectVersion> = &found.meta.version;
        let wanted = Wanted {
            interval: step.clone(),
            position: None,
            distrusted: None,
            beyond: Beyond::HOLE,
        };
        let begun = missing::begin(shared, version, source, wanted).await;
        let fills: Vec<Follower> = begun.fills.iter().map(Fill::follow).collect();
        let done = step.start..begun.to;
        let arriving = found.arriving.iter().map(|fill| fill.interval());
        let begun_now = begun.fills.iter().map(|fill| fill.interval.clone());
        let mine: u64 = arriving
            .chain(begun_now)
            .map(|fill| overlap(&fill, &done))
            .sum();
        let present = length(&done).saturating_sub(mine);
        let fetched = fills.iter().map(|fill| length(&fill.interval())).sum();
        shared.metrics.prefetched(fetched);
        count.fetched.fetch_add(fetched, Ordering::Relaxed);
        count.present.fetch_add(present, Ordering::Relaxed);
        for fill in &fills {
            fill.ended().await?;
        }
        // What others fetch of it is waited for, too.
        while let Some(other) = shared.fills.follow_any(&version.id, &done) {
            other.ended().await?;
        }
        if begun.to < step.end {
            tokio::time::sleep(PAUSE).await;
        }
        Ok(begun.to)
    }
}

fn overlap(a: &Range<u64>, b: &Range<u64>) -> u64 {
    let (start, end) = (a.start.max(b.start), a.end.min(b.end));
    end.saturating_sub(start)
}

fn length(interval: &Range<u64>) -> u64 {
    interval.end.saturating_sub(interval.start)
}

/// An answer in the place of a meta.
fn refusal(reply: &Reply) -> WarmRefusal {
    match reply {
        Reply::Bypass(why) => WarmRefusal::Skipped(why),
        Reply::Absent(absent, _) => origin_says(absent.status),
        Reply::Answer(answer, _) => origin_says(answer.status),
        // Not given in the place of a meta.
        Reply::Object(_) => WarmRefusal::Skipped("object"),
    }
}

fn origin_says(status: http::StatusCode) -> WarmRefusal {
    WarmRefusal::Failed(match status {
        http::StatusCode::NOT_FOUND => "there is no such object".to_owned(),
        status => format!("the origin answers {}", status.as_u16()),
    })
}

fn failed(error: &FillError) -> WarmRefusal {
    match error {
        FillError::Refused(answer) => origin_says(answer.status),
        error => WarmRefusal::Failed(super::ReadError::from(error.clone()).to_string()),
    }
}
