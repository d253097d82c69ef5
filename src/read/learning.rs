//! Learns the meta of an object, once for everyone who asks at the same time.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;
use std::time::SystemTime;

use http::HeaderMap;
use http::StatusCode;
use moka::sync::Cache;
use parking_lot::Mutex;
use tokio::sync::watch;

use super::ask::ReadAsk;
use super::fill::Follower;
use super::filling::Filling;
use super::filling::MAX_DOCUMENT;
use super::filling::Source;
use super::plan;
use super::probe::Probe;
use super::shared::Shared;
use crate::cache::AbsentObject;
use crate::cache::CachedMeta;
use crate::cache::Generation;
use crate::cache::Identity;
use crate::cache::ObjectName;
use crate::s3::Checksums;
use crate::s3::ContentRange;
use crate::s3::NotCacheable;
use crate::s3::ObjectMeta;
use crate::telemetry::Refusal;
use crate::telemetry::Validation;
use crate::telemetry::trace;
use crate::upstream::Answer;
use crate::upstream::AskedRange;
use crate::upstream::Download;
use crate::upstream::ObjectAsk;
use crate::upstream::Priority;
use crate::upstream::UpstreamError;

/// Objects that cannot be cached, at most, that are remembered.
const MAX_UNCACHEABLE: u64 = 10_000;

/// How long it is believed that an object cannot be cached.
const UNCACHEABLE_TIME: Duration = Duration::from_mins(1);

/// What is being learned at this moment, and what was learned in vain.
pub(super) struct Learning {
    subjects: Mutex<HashMap<Subject, watch::Receiver<Option<Learned>>>>,
    /// Asking for such an object twice, once here and once when it is forwarded, would cost every
    /// read of it a second trip.
    uncacheable: Cache<ObjectName, (Generation, &'static str)>,
}

impl Default for Learning {
    fn default() -> Self {
        Self {
            subjects: Mutex::default(),
            uncacheable: Cache::builder()
                .max_capacity(MAX_UNCACHEABLE)
                .time_to_live(UNCACHEABLE_TIME)
                .build(),
        }
    }
}

impl Learning {
    /// Why an object cannot be cached, if that was tried a short while ago and nothing was written
    /// since.
    pub(super) fn uncacheable(
        &self,
        object: &ObjectName,
        generation: Generation,
    ) -> Option<&'static str> {
        let (tried, why) = self.uncacheable.get(object)?;
        (tried == generation).then_some(why)
    }
}

/// Who waits for the same answer. A write in between makes it another subject.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Subject {
    object: ObjectName,
    generation: Generation,
    identity: Option<Identity>,
    is_head: bool,
    checksums: bool,
    /// A client does not wait for what waits for clients.
    priority: Priority,
}

/// What the origin said.
#[derive(Clone)]
pub(super) enum Learned {
    /// The object's meta, and the fill that came with it.
    Meta {
        /// The meta, fresh as of now.
        meta: Arc<CachedMeta>,
        /// The status that it came with.
        status: StatusCode,
        /// The rest of the body, on its way.
        fill: Option<Arc<Follower>>,
    },
    /// Something else, to be passed on as it is.
    Answer(Arc<Answer>),
    /// The object cannot be cached, and why.
    Uncacheable(&'static str),
    /// The origin could not be asked.
    Failed(Arc<UpstreamError>),
}

/// One lesson: a request, and what follows from its answer.
struct Lesson {
    shared: Arc<Shared>,
    ask: ReadAsk,
    probe: Probe,
    before: Option<Arc<CachedMeta>>,
    subject: Subject,
    begun: Instant,
}

/// Asks the origin, or waits for the answer to the same question. The second value is whether
/// somebody else had asked.
pub(super) async fn learn(
    shared: &Arc<Shared>,
    ask: &ReadAsk,
    probe: Probe,
    before: Option<Arc<CachedMeta>>,
) -> (Learned, bool) {
    let subject = Subject {
        object: ask.object.clone(),
        generation: shared.generations.current(&ask.object),
        identity: ask.identity(),
        // Who only wants to have a meta confirmed waits for anyone who asks.
        is_head: probe.is_head && !probe.is_conditional,
        checksums: ask.wants_checksums,
        priority: ask.priority,
    };
    let (mut receiver, is_collapsed) = join(shared, ask, probe, before, subject);
    let learned = match receiver.wait_for(Option::is_some).await {
        Ok(learned) => learned.clone(),
        Err(_) => None,
    };
    let lost = || Learned::Uncacheable("lesson-lost");
    (learned.unwrap_or_else(lost), is_collapsed)
}

/// Waits for a lesson that runs, or begins one.
fn join(
    shared: &Arc<Shared>,
    ask: &ReadAsk,
    probe: Probe,
    before: Option<Arc<CachedMeta>>,
    subject: Subject,
) -> (watch::Receiver<Option<Learned>>, bool) {
    let mut learning = shared.learning.subjects.lock();
    if let Some(receiver) = learning.get(&subject) {
        return (receiver.clone(), true);
    }
    let (sender, receiver) = watch::channel(None);
    learning.insert(subject.clone(), receiver.clone());
    let lesson = Lesson {
        shared: Arc::clone(shared),
        ask: ask.clone(),
        probe,
        before,
        subject,
        begun: Instant::now(),
    };
    tokio::spawn(trace::carry(lesson.take(sender)));
    (receiver, false)
}

/// Ends the subject when the lesson ends, however it does.
struct Ended<'a>(&'a Shared, &'a Subject);

impl Drop for Ended<'_> {
    fn drop(&mut self) {
        self.0.learning.subjects.lock().remove(self.1);
    }
}

impl Lesson {
    async fn take(self, sender: watch::Sender<Option<Learned>>) {
        let ended = Ended(&self.shared, &self.subject);
        let (learned, filling) = self.ask_origin(&self.probe).await;
        // First it is known, then it is no longer being learned, then everyone is told.
        drop(ended);
        sender.send_replace(Some(learned));
        // The channel would count as a follower of the fill.
        drop(sender);
        if let Some((filling, download)) = filling {
            trace::in_span("fill", filling.run(None, Some(download))).await;
        }
    }

    /// The time on the clock by which the read was asked: time is an argument here too.
    fn now(&self) -> SystemTime {
        self.ask.now + self.begun.elapsed()
    }

    async fn ask_origin(&self, probe: &Probe) -> (Learned, Option<(Filling, Download)>) {
        let asked = self.now();
        let download = match self.send(probe).await {
            Ok(download) => download,
            Err(error) => {
                self.count(Validation::Failed);
                return (Learned::Failed(Arc::new(error)), None);
            }
        };
        match download.status {
            StatusCode::NOT_MODIFIED => (self.confirm(download, asked).await, None),
            StatusCode::OK | StatusCode::PARTIAL_CONTENT => self.meet(probe, download, asked).await,
            // Without the size there is no telling which bytes there are: a HEAD tells.
            StatusCode::RANGE_NOT_SATISFIABLE if !probe.is_head => {
                download.finish().await;
                let head = Probe {
                    is_head: true,
                    range: None,
                    is_conditional: false,
                };
                Box::pin(self.ask_origin(&head)).await
            }
            _ => (self.refused(download, asked).await, None),
        }
    }

    async fn send(&self, probe: &Probe) -> Result<Download, UpstreamError> {
        let object = &self.ask.object;
        let known = self.before.as_ref().filter(|_| probe.is_conditional);
        let ask = ObjectAsk {
            is_head: probe.is_head,
            range: probe.range.clone(),
            if_none_match: known.map(|known| &known.meta.etag),
            checksum_mode: self.ask.wants_checksums,
            own: self.ask.own.as_ref(),
            priority: self.ask.priority,
            ..ObjectAsk::get(&object.bucket, &object.key)
        };
        self.ask.origin.download(&self.shared.downloads, &ask).await
    }

    /// The object is what it was.
    async fn confirm(&self, download: Download, asked: SystemTime) -> Learned {
        let headers = download.headers.clone();
        download.finish().await;
        let Some(before) = &self.before else {
            return Learned::Uncacheable("unasked-304");
        };
        if !before.meta.is_confirmed_by(&headers) {
            // The same bytes under another date: everything about it has to be learned anew.
            self.shared.metas.remove(&self.ask.object);
            let head = Probe {
                is_head: true,
                range: None,
                is_conditional: false,
            };
            return Box::pin(self.ask_origin(&head)).await.0;
        }
        self.count(Validation::Freshened);
        let confirmed = before.confirmed(asked, self.subject.generation);
        self.know(confirmed, asked, StatusCode::NOT_MODIFIED)
    }

    /// The object as it is now, perhaps with some of its bytes.
    async fn meet(
        &self,
        probe: &Probe,
        download: Download,
        asked: SystemTime,
    ) -> (Learned, Option<(Filling, Download)>) {
        let (status, checksums) = (download.status, self.ask.wants_checksums);
        let learned = ObjectMeta::from_answer(status, &download.headers, checksums);
        let (mut meta, range) = match learned {
            Ok(learned) => learned,
            Err(reason) => {
                self.shared.metrics.admission_refused(refusal(reason));
                return (self.uncacheable(why(reason)), None);
            }
        };
        let Some(interval) = interval_of(probe, range.as_ref(), meta.size) else {
            self.shared.metrics.admission_refused(Refusal::ContentRange);
            // Perhaps only this once, so nothing is remembered.
            return (Learned::Uncacheable("other-range"), None);
        };
        if probe.range.is_some() && meta.checksums == Checksums::Known(HeaderMap::new()) {
            // Whoever answers a range with the whole object may leave out what a part does not have.
            meta.checksums = Checksums::Unknown;
        }
        if let Some(before) = &self.before {
            meta.keep_checksums_of(&before.meta);
            let is_same = before.meta.is_same_version(&meta);
            self.count(if is_same {
                Validation::Freshened
            } else {
                Validation::Replaced
            });
        }
        let object = self.ask.object.clone();
        let cached = CachedMeta::new(object, meta, asked, self.subject.generation);
        let version = Arc::clone(&cached.version);
        let mut learned = self.know(cached, asked, status);
        if probe.is_head || interval.is_empty() {
            download.finish().await;
            return (learned, None);
        }
        let fill = self.shared.fills.begin(&version, interval);
        // After a client's HEAD nobody reads along, and the footer is fetched all the same.
        let is_awaited = !self.ask.is_head || self.ask.priority == Priority::Prefetch;
        if is_awaited && let Learned::Meta { fill: follower, .. } = &mut learned {
            *follower = Some(Arc::new(fill.follow()));
        }
        let filling = Filling::new(&self.shared, &fill, self.source());
        (learned, Some((filling, download)))
    }

    fn uncacheable(&self, why: &'static str) -> Learned {
        let learning = &self.shared.learning;
        let object = self.ask.object.clone();
        let tried = (self.subject.generation, why);
        learning.uncacheable.insert(object, tried);
        Learned::Uncacheable(why)
    }

    fn know(&self, cached: CachedMeta, asked: SystemTime, status: StatusCode) -> Learned {
        if let Some(identity) = self.subject.identity {
            let object = self.ask.object.clone();
            let generation = self.subject.generation;
            let verdicts = &self.shared.verdicts;
            verdicts.allow(identity, object, asked, generation);
        }
        let is_known = |before: &Arc<CachedMeta>| before.meta == cached.meta;
        let is_news = !self.before.as_ref().is_some_and(is_known);
        let meta = self.shared.metas.insert(cached, self.now());
        if is_news {
            let (shared, meta) = (Arc::clone(&self.shared), Arc::clone(&meta));
            tokio::spawn(async move { shared.store.keep_meta(&meta).await });
        }
        Learned::Meta {
            meta,
            status,
            fill: None,
        }
    }

    /// An error, in the origin's words.
    async fn refused(&self, download: Download, asked: SystemTime) -> Learned {
        let is_absent = download.status == StatusCode::NOT_FOUND;
        let answer = match download.read_small(MAX_DOCUMENT).await {
            Ok(answer) => answer,
            Err(error) => return Learned::Failed(Arc::new(error)),
        };
        // An origin that is ill or busy has not denied anything.
        let is_verdict =
            answer.status.is_client_error() && answer.status != StatusCode::TOO_MANY_REQUESTS;
        if let Some(identity) = self.subject.identity.filter(|_| is_verdict) {
            let object = self.ask.object.clone();
            self.shared.verdicts.deny(identity, object, asked);
        }
        if is_absent {
            self.count(Validation::Gone);
            self.absent(&answer, asked);
        } else {
            // The entry stays: a refusal concerns this request, and an origin that is ill nobody.
            self.count(Validation::Refused);
        }
        Learned::Answer(Arc::new(answer))
    }

    fn absent(&self, answer: &Answer, asked: SystemTime) {
        self.shared.metas.remove(&self.ask.object);
        let rule = &self.ask.rule;
        // What an identity of its own is told may not be what others would be.
        if rule.negative.is_zero() || self.subject.identity.is_some() {
            return;
        }
        let body = (!self.ask.is_head).then(|| answer.body.clone());
        let generation = self.subject.generation;
        let (status, headers) = (answer.status, &answer.headers);
        if let Ok(absent) = AbsentObject::from_answer(status, headers, body, asked, generation) {
            let object = &self.ask.object;
            self.shared.metas.insert_absent(object, absent, self.now());
        }
    }

    fn source(&self) -> Source {
        Source {
            origin: Arc::clone(&self.ask.origin),
            own: self.ask.own.clone(),
            priority: self.ask.priority,
            generation: self.subject.generation,
        }
    }

    fn count(&self, validation: Validation) {
        if self.before.is_some() {
            self.shared.metrics.validation(validation);
        }
    }
}

/// Where the body of an answer belongs, if it is what was asked for; at most as long as a fill.
fn interval_of(
    probe: &Probe,
    given: Option<&ContentRange>,
    size: u64,
) -> Option<std::ops::Range<u64>> {
    let expected = match &probe.range {
        // The range of a HEAD is none, and the whole object is longer than what is read of it.
        None => 0..size.min(plan::MAX_FIRST_FILL),
        Some(AskedRange::Interval(asked)) => asked.start..asked.end.min(size),
        Some(AskedRange::Suffix(length)) => size.saturating_sub(*length)..size,
    };
    match given {
        Some(given) => (probe.range.is_some() && given.interval == expected).then_some(expected),
        // The origin gives everything, whatever is asked: fine when it begins where it should.
        None => (expected.start == 0).then_some(expected),
    }
}

fn refusal(reason: NotCacheable) -> Refusal {
    match reason {
        NotCacheable::ETag => Refusal::ETag,
        NotCacheable::Length => Refusal::Length,
        NotCacheable::Range | NotCacheable::Multipart => Refusal::ContentRange,
        NotCacheable::Status
        | NotCacheable::CustomerKey
        | NotCacheable::TooLarge
        | NotCacheable::LastModified => Refusal::Status,
    }
}

/// The same, as `Cache-Status` says it.
fn why(reason: NotCacheable) -> &'static str {
    match reason {
        NotCacheable::Status => "status",
        NotCacheable::ETag => "no-etag",
        NotCacheable::Length => "no-length",
        NotCacheable::Range => "other-range",
        NotCacheable::Multipart => "multipart",
        NotCacheable::CustomerKey => "customer-key",
        NotCacheable::TooLarge => "too-many-fields",
        NotCacheable::LastModified => "two-dates",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::Generations;
    use crate::read::tests::object;

    #[test]
    fn what_was_learned_in_vain_is_bounded() {
        let learning = Learning::default();
        let generation = Generations::new(7).current(&object("0"));
        for index in 0..2 * MAX_UNCACHEABLE {
            let tried = (generation, "no-etag");
            let object = object(&index.to_string());
            learning.uncacheable.insert(object, tried);
        }
        learning.uncacheable.run_pending_tasks();
        assert!(learning.uncacheable.entry_count() <= MAX_UNCACHEABLE);
    }
}
