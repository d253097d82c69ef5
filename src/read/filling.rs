//! Runs one fill: opens the download, lets followers have every piece at once, admits whole blocks
//! once they are complete, and takes up a body that breaks off.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use http::StatusCode;

use super::ask::identity_of;
use super::assembly::Assembly;
use super::assembly::Step;
use super::error::FillError;
use super::fill::Fill;
use super::fills::Share;
use super::shared::Shared;
use crate::cache::Generation;
use crate::s3::Credentials;
use crate::s3::ObjectMeta;
use crate::telemetry::FillEvent;
use crate::telemetry::InProgress;
use crate::telemetry::Refusal;
use crate::upstream::AskedRange;
use crate::upstream::Download;
use crate::upstream::ObjectAsk;
use crate::upstream::Origin;
use crate::upstream::Priority;
use crate::upstream::UpstreamError;

/// A body that breaks off is taken up this many times, not counting those after which much of it
/// had arrived.
const MAX_FRUITLESS: u32 = 3;

/// This is much.
const FRUIT: u64 = 1 << 20;

/// The rest of a body that is worth less than its connection: it is read although nobody follows. As
/// long as the longest hole that a fill closes beyond what is asked for.
const SMALL_REST: u64 = 1 << 20;

/// The longest error document that is read from an origin.
pub(super) const MAX_DOCUMENT: usize = 64 << 10;

/// What a fill needs beside itself.
#[derive(Clone)]
pub(super) struct Source {
    /// Where from.
    pub(super) origin: Arc<Origin>,
    /// In whose name, when not in the origin's own.
    pub(super) own: Option<Credentials>,
    /// How urgent.
    pub(super) priority: Priority,
    /// The object's generation before anything was asked: a write since then fences the bytes off.
    pub(super) generation: Generation,
}

/// A fill under way.
pub(super) struct Filling {
    shared: Arc<Shared>,
    fill: Arc<Fill>,
    source: Source,
    assembly: Assembly,
    in_progress: InProgress,
}

impl Filling {
    /// A fill that is registered and not begun.
    pub(super) fn new(shared: &Arc<Shared>, fill: &Arc<Fill>, source: Source) -> Self {
        let assembly = Assembly::new(&fill.interval, fill.version.size, shared.config.block_size);
        Self {
            shared: Arc::clone(shared),
            fill: Arc::clone(fill),
            source,
            assembly,
            in_progress: shared.metrics.filling(),
        }
    }

    /// Runs to the end, with the body that has already begun to arrive, if there is one.
    pub(super) async fn run(mut self, share: Option<Share>, arriving: Option<Download>) {
        let share = match share {
            Some(share) => Some(share),
            None => self.shared.fills.share(self.length()).await,
        };
        self.shared.metrics.fill(FillEvent::Started);
        let outcome = self.fetch(arriving).await;
        if let Err(FillError::Changed) = outcome {
            // Or the next read would begin with the old one again, and break off where this did.
            self.shared.metas.remove_version(&self.fill.version);
        }
        self.count(&outcome);
        let Self {
            shared,
            fill,
            source,
            assembly,
            in_progress,
        } = self;
        if let Some((start, bytes)) = assembly.rest() {
            admit(&shared, &fill, &source, start, bytes);
        }
        // First what it brought is stored, then it is no longer found, then its followers go on.
        shared.fills.end(&fill);
        fill.end(outcome);
        drop((share, in_progress));
    }

    fn length(&self) -> u64 {
        self.fill.interval.end - self.fill.interval.start
    }

    async fn fetch(&mut self, arriving: Option<Download>) -> Result<(), FillError> {
        let mut arriving = arriving;
        let mut fruitless = 0;
        loop {
            let before = self.fill.arrived();
            if before >= self.fill.interval.end {
                return Ok(());
            }
            let download = match arriving.take() {
                Some(download) => download,
                None => self.open(before..self.fill.interval.end).await?,
            };
            let error = match self.read(download).await {
                Ok(()) => return Ok(()),
                Err(FillError::Upstream(error)) if error.is_interruption() => error,
                Err(error) => return Err(error),
            };
            fruitless += u32::from(self.fill.arrived() - before < FRUIT);
            if fruitless == MAX_FRUITLESS || !self.source.origin.retry_budget.spend() {
                return Err(FillError::Upstream(error));
            }
            self.shared.metrics.fill(FillEvent::Resumed);
        }
    }

    /// Asks for what is missing, of this version only.
    async fn open(&self, interval: Range<u64>) -> Result<Download, FillError> {
        let version = &self.fill.version;
        let ask = ObjectAsk {
            range: Some(AskedRange::Interval(interval.clone())),
            if_match: Some(&version.etag),
            own: self.source.own.as_ref(),
            priority: self.source.priority,
            awaited: Some(&self.fill.awaited),
            ..ObjectAsk::get(&version.object.bucket, &version.object.key)
        };
        let asked = self.source.origin.download(&self.shared.downloads, &ask);
        let download = tokio::select! {
            download = asked => download.map_err(|error| FillError::Upstream(Arc::new(error)))?,
            () = self.abandoned() => return Err(FillError::Abandoned),
        };
        match download.status {
            StatusCode::PARTIAL_CONTENT | StatusCode::OK => {
                self.check(&download, &interval)?;
                Ok(download)
            }
            StatusCode::PRECONDITION_FAILED
            | StatusCode::NOT_FOUND
            | StatusCode::RANGE_NOT_SATISFIABLE => {
                download.finish().await;
                Err(FillError::Changed)
            }
            status if status.is_success() => Err(FillError::Unexpected(
                "the origin answers a ranged read by something else",
            )),
            _ => {
                if let Some(identity) = self.source.own.as_ref().map(identity_of) {
                    let object = version.object.clone();
                    self.shared.verdicts.end(identity, object);
                }
                let answer = download.read_small(MAX_DOCUMENT).await;
                let answer = answer.map_err(|error| FillError::Upstream(Arc::new(error)))?;
                Err(FillError::Refused(Arc::new(answer)))
            }
        }
    }

    /// Only an answer that is exactly what was asked for is let in.
    fn check(&self, download: &Download, interval: &Range<u64>) -> Result<(), FillError> {
        let version = &self.fill.version;
        let (meta, range) = ObjectMeta::from_answer(download.status, &download.headers, false)
            .map_err(|_| FillError::Unexpected("the origin's answer has no usable validator"))?;
        if meta.etag != version.etag {
            return Err(FillError::Changed);
        }
        if meta.size != version.size {
            let what = "the origin gives another size for the same ETag";
            return Err(FillError::Unexpected(what));
        }
        let given = range.map_or(0..meta.size, |range| range.interval);
        if given == *interval {
            Ok(())
        } else {
            Err(FillError::Unexpected(
                "the origin gave another range than was asked for",
            ))
        }
    }

    /// Passes the body on.
    async fn read(&mut self, mut download: Download) -> Result<(), FillError> {
        loop {
            let left = self.fill.interval.end - self.fill.arrived();
            let piece = tokio::select! {
                piece = download.next() => piece,
                () = self.abandoned(), if left > SMALL_REST => return Err(FillError::Abandoned),
            };
            match piece {
                Ok(Some(mut piece)) => {
                    // The body of a whole object is longer than its first fill.
                    piece.truncate(usize::try_from(left).unwrap_or(usize::MAX));
                    self.take(piece);
                    if self.fill.arrived() == self.fill.interval.end {
                        download.finish().await;
                        return Ok(());
                    }
                }
                Ok(None) => {
                    let short = UpstreamError::Short { missing: left };
                    return Err(FillError::Upstream(Arc::new(short)));
                }
                Err(error) => return Err(FillError::Upstream(Arc::new(error))),
            }
        }
    }

    fn take(&mut self, mut piece: Bytes) {
        self.shared.metrics.fetched(piece.len() as u64);
        while !piece.is_empty() {
            match self.assembly.take(&piece) {
                Step::Taken(length) => self.fill.push(piece.split_to(length)),
                Step::Complete(length, start, bytes) => {
                    self.fill.push(piece.split_to(length));
                    self.fill.replace(start, bytes.clone());
                    admit(&self.shared, &self.fill, &self.source, start, bytes);
                }
            }
        }
    }

    fn count(&self, outcome: &Result<(), FillError>) {
        let metrics = &self.shared.metrics;
        match outcome {
            Ok(()) => metrics.fill(FillEvent::Completed),
            Err(FillError::Abandoned) => metrics.fill(FillEvent::Abandoned),
            Err(FillError::Upstream(error)) => metrics.fill_failed(error.kind()),
            Err(FillError::Changed) => {
                metrics.fill(FillEvent::Failed);
                metrics.admission_refused(Refusal::ETag);
            }
            Err(FillError::Unexpected(_)) => {
                metrics.fill(FillEvent::Failed);
                metrics.admission_refused(Refusal::ContentRange);
            }
            Err(FillError::Refused(_)) => {
                metrics.fill(FillEvent::Failed);
                metrics.admission_refused(Refusal::Status);
            }
        }
    }

    /// Returns when nobody follows any more.
    async fn abandoned(&self) {
        self.fill.left().await;
    }
}

/// Stores whole blocks, unless the object was written to since they were asked for.
fn admit(shared: &Shared, fill: &Fill, source: &Source, start: u64, bytes: Bytes) {
    let version = &fill.version;
    if shared.generations.current(&version.object) != source.generation {
        shared.metrics.admission_refused(Refusal::Generation);
        return;
    }
    let first = shared.config.block_size.block_at(start);
    shared.store.admit(version, first, bytes);
}
