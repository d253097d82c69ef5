//! Verify mode: every read is answered by the origin, and beside it the cache says what it would have
//! answered. The two are compared, and the cache fills as it would otherwise.
//!
//! Of a body only length and hash are kept, so that a comparison needs no memory to speak of, and the
//! cache's side is never slowed down by a slow client.

mod differences;
mod log_limit;

use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;

use http::HeaderMap;
use http::StatusCode;
use parking_lot::Mutex;
use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::Semaphore;
use tokio::sync::oneshot;

use crate::cache::Generation;
use crate::read::ObjectReply;
use crate::read::ReadAsk;
use crate::read::Reader;
use crate::read::Reply;
use crate::telemetry::CacheMetrics;
use crate::telemetry::Difference;
use differences::Differences;
use differences::Seen;
use log_limit::LogLimit;

/// Comparisons at once; what comes beyond is answered and not compared.
const MAX_COMPARISONS: usize = 256;

/// The cache's side gives up this long after the origin's answer has ended.
const PATIENCE: Duration = Duration::from_mins(1);

/// A write that is under way may show in one answer and not in the other. It is told when it ends;
/// for so long it is waited for before a difference counts.
const WRITE_TIME: Duration = Duration::from_secs(2);

/// Compares answers. Cloning shares it.
#[derive(Clone)]
pub struct Comparisons(Arc<Parts>);

struct Parts {
    places: Arc<Semaphore>,
    metrics: CacheMetrics,
    limit: Mutex<LogLimit>,
}

/// The origin's side of one comparison.
pub struct Comparison {
    seen: Option<Seen>,
    report: oneshot::Sender<Seen>,
}

/// The cache's side of it.
struct Shadow {
    parts: Arc<Parts>,
    reader: Reader,
    ask: ReadAsk,
    /// Before either side was asked.
    generation: Generation,
    request_id: String,
    _place: OwnedSemaphorePermit,
}

impl Comparisons {
    /// Counts in these metrics.
    pub fn new(metrics: CacheMetrics) -> Self {
        Self(Arc::new(Parts {
            places: Arc::new(Semaphore::new(MAX_COMPARISONS)),
            metrics,
            limit: Mutex::default(),
        }))
    }

    /// Begins to ask the cache. To be called before the origin is asked.
    pub(super) fn begin(
        &self,
        reader: &Reader,
        ask: ReadAsk,
        request_id: &str,
    ) -> Option<Comparison> {
        let place = Arc::clone(&self.0.places).try_acquire_owned().ok()?;
        let (report, reported) = oneshot::channel();
        let shadow = Shadow {
            parts: Arc::clone(&self.0),
            generation: reader.generation(&ask.object),
            reader: reader.clone(),
            ask,
            request_id: request_id.to_owned(),
            _place: place,
        };
        tokio::spawn(shadow.compare(reported));
        Some(Comparison { seen: None, report })
    }
}

impl Comparison {
    /// The head of the origin's answer.
    pub(super) fn answered(&mut self, status: StatusCode, headers: &HeaderMap) {
        self.seen = Some(Seen::new(status, headers));
    }

    /// A piece of its body.
    pub(super) fn take(&mut self, piece: &[u8]) {
        if let Some(seen) = &mut self.seen {
            seen.digest.take(piece);
        }
    }

    /// Its end. Dropped before, there is nothing to compare with.
    pub(super) fn end(self) {
        if let Some(seen) = self.seen {
            // The cache's side may have ended without an answer.
            let _ = self.report.send(seen);
        }
    }
}

impl Shadow {
    async fn compare(self, mut reported: oneshot::Receiver<Seen>) {
        let expecting = self.expected();
        tokio::pin!(expecting);
        let (expected, seen) = tokio::select! {
            expected = &mut expecting => (expected, reported.await),
            // Without the origin's answer the cache is not asked any further.
            seen = &mut reported => match &seen {
                Ok(_) => match tokio::time::timeout(PATIENCE, expecting).await {
                    Ok(expected) => (expected, seen),
                    Err(_) => return,
                },
                Err(_) => return,
            },
        };
        let (Some(expected), Ok(seen)) = (expected, seen) else {
            return;
        };
        // An origin that fails says nothing about the object.
        if expected.is_failure() || seen.is_failure() {
            return;
        }
        let is_head = self.ask.is_head;
        let differences = Differences::between(&expected, &seen, is_head);
        if !differences.is_none() {
            if self.was_written() {
                return;
            }
            tokio::time::sleep(WRITE_TIME).await;
        }
        if !self.was_written() {
            self.count(&differences);
        }
    }

    /// What the cache would have said; `None` when it would have left it to the origin.
    async fn expected(&self) -> Option<Seen> {
        match self.reader.answer(&self.ask).await {
            Ok(Reply::Object(reply)) => expected_object(*reply).await,
            Ok(Reply::Absent(absent, _)) => Some(Seen::new(absent.status, &absent.fields)),
            Ok(Reply::Answer(answer, _)) => Some(Seen::new(answer.status, &answer.headers)),
            Ok(Reply::Bypass(_)) => None,
            Err(error) => {
                log::debug!("request {} is not compared: {error}", self.request_id);
                None
            }
        }
    }

    fn was_written(&self) -> bool {
        self.reader.generation(&self.ask.object) != self.generation
    }

    fn count(&self, differences: &Differences) {
        let metrics = &self.parts.metrics;
        metrics.compared();
        for kind in &differences.kinds {
            metrics.differs(*kind);
        }
        if differences.is_none() {
            return;
        }
        let Some(untold) = self.parts.limit.lock().admit(Instant::now()) else {
            return;
        };
        let id = &self.request_id;
        let level = if differences.kinds.contains(&Difference::Body) {
            log::Level::Error
        } else {
            log::Level::Warn
        };
        log::log!(
            level,
            "request {id}: the cache would have answered otherwise: {differences}"
        );
        if untold > 0 {
            log::warn!("{untold} differences before it are counted and not told");
        }
    }
}

async fn expected_object(mut reply: ObjectReply) -> Option<Seen> {
    let fields: HeaderMap =
        reply
            .fields()
            .into_iter()
            .flatten()
            .fold(HeaderMap::new(), |mut fields, (name, value)| {
                fields.append(name, value);
                fields
            });
    let mut seen = Seen::new(reply.status(), &fields);
    if let Some(mut stream) = reply.body.take() {
        while let Some(piece) = stream.next().await {
            seen.digest.take(&piece.ok()?);
        }
    }
    Some(seen)
}
