//! Warming: from the bucket that an operator names to its objects, page after page, a few at once.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use std::time::Instant;
use std::time::SystemTime;

use bytes::Bytes;
use http::HeaderMap;
use http::Method;
use http::StatusCode;
use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::Semaphore;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

use crate::admin::Warm;
use crate::admin::WarmError;
use crate::admin::WarmEvent;
use crate::admin::WarmFigures;
use crate::admin::WarmMode;
use crate::admin::WarmOrder;
use crate::admin::WarmTarget;
use crate::cache::CacheMode;
use crate::cache::CacheRules;
use crate::cache::ObjectName;
use crate::policy;
use crate::proxy::InForce;
use crate::proxy::ServedOrigin;
use crate::read::ReadAsk;
use crate::read::Reader;
use crate::read::WarmCount;
use crate::read::WarmExtent;
use crate::read::WarmRefusal;
use crate::s3::Bucket;
use crate::s3::Key;
use crate::s3::ListPage;
use crate::s3::Operation;
use crate::s3::Request;
use crate::s3::list_page;
use crate::upstream::Fetch;
use crate::upstream::Question;

/// Warms at once.
const WARMS: usize = 2;

/// Objects of one warm at once.
const OBJECTS: usize = 8;

/// Events that wait for a slow listener.
const EVENTS: usize = 64;

/// Between two lines about how it goes.
const PROGRESS: Duration = Duration::from_millis(250);

/// Objects that are told of when they cannot be fetched; others are counted.
const ERRORS: u64 = 100;

/// The longest page of a list: 1,000 of the longest keys, each byte escaped.
const MAX_PAGE: usize = 8 << 20;

/// Who carries out warms.
pub(super) struct Warms {
    reader: Reader,
    mode: CacheMode,
    settings: InForce,
    fetch: Arc<Fetch>,
    places: Arc<Semaphore>,
}

/// A warm under way.
struct Run {
    reader: Reader,
    served: ServedOrigin,
    rules: Arc<CacheRules>,
    fetch: Arc<Fetch>,
    order: WarmOrder,
    events: mpsc::Sender<WarmEvent>,
    count: Arc<WarmCount>,
    figures: WarmFigures,
    begun: Instant,
}

/// What is still to be done.
struct Waiting {
    keys: VecDeque<Key>,
    next_page: NextPage,
}

/// Which page of the list comes next.
enum NextPage {
    First,
    /// The one that this token asks for.
    After(String),
    None,
}

/// What came of an object.
type Outcome = (Key, Result<(), WarmRefusal>);

impl Warms {
    pub(super) fn new(
        reader: Reader,
        mode: CacheMode,
        settings: InForce,
        fetch: Arc<Fetch>,
    ) -> Self {
        Self {
            reader,
            mode,
            settings,
            fetch,
            places: Arc::new(Semaphore::new(WARMS)),
        }
    }
}

impl Warm for Warms {
    fn begin(&self, order: WarmOrder) -> Result<mpsc::Receiver<WarmEvent>, WarmError> {
        if self.mode != CacheMode::On {
            return Err(WarmError::Off);
        }
        let settings = self.settings.now();
        let served = settings.serving(&order.bucket).cloned();
        let served = served.ok_or(WarmError::NoOrigin)?;
        let places = Arc::clone(&self.places);
        let place = places.try_acquire_owned().map_err(|_| WarmError::Busy)?;
        let (events, listener) = mpsc::channel(EVENTS);
        let run = Run {
            reader: self.reader.clone(),
            served,
            rules: Arc::clone(&settings.cache_rules),
            fetch: Arc::clone(&self.fetch),
            order,
            events,
            count: Arc::default(),
            figures: WarmFigures::default(),
            begun: Instant::now(),
        };
        tokio::spawn(run.run(place));
        Ok(listener)
    }
}

impl Run {
    async fn run(mut self, place: OwnedSemaphorePermit) {
        let bucket = self.order.bucket.clone();
        log::info!(
            "warming begins in {}: {:?}",
            bucket.as_str(),
            self.order.mode
        );
        let events = self.events.clone();
        let outcome = tokio::select! {
            biased;
            // What is under way ends with the future that waits for it.
            () = events.closed() => None,
            outcome = self.all() => Some(outcome),
        };
        let figures = self.figures();
        log::info!("warming ended in {}: {figures:?}", bucket.as_str());
        drop(place);
        let last = match outcome {
            None => return,
            Some(Ok(())) => WarmEvent::Done(figures),
            Some(Err(error)) => WarmEvent::Failed { error, figures },
        };
        let _ = events.send(last).await;
    }

    async fn all(&mut self) -> Result<(), String> {
        let mut waiting = self.waiting();
        let mut running: JoinSet<Outcome> = JoinSet::new();
        let mut ticks = tokio::time::interval(PROGRESS);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            if waiting.keys.is_empty() {
                self.list(&mut waiting).await?;
            }
            while running.len() < OBJECTS
                && let Some(key) = waiting.keys.pop_front()
            {
                running.spawn(self.object(key));
            }
            if running.is_empty() && matches!(waiting.next_page, NextPage::None) {
                return Ok(());
            }
            tokio::select! {
                Some(ended) = running.join_next() => {
                    // A task that panicked is an object that was not fetched.
                    let lost = |_| Err(format!("an object was lost in {:?}", self.order.bucket.as_str()));
                    self.note(ended.map_or_else(lost, Ok)).await;
                }
                _ = ticks.tick() => {
                    let progress = WarmEvent::Progress(self.figures());
                    let _ = self.events.send(progress).await;
                }
                else => {}
            }
        }
    }

    fn waiting(&mut self) -> Waiting {
        match &mut self.order.target {
            WarmTarget::Prefix(_) => Waiting {
                keys: VecDeque::new(),
                next_page: NextPage::First,
            },
            WarmTarget::Keys(keys) => {
                let mut keys: VecDeque<_> = std::mem::take(keys).into();
                let limit = usize::try_from(self.order.limit).unwrap_or(usize::MAX);
                self.figures.more = keys.len() > limit;
                keys.truncate(limit);
                self.figures.found = keys.len() as u64;
                Waiting {
                    keys,
                    next_page: NextPage::None,
                }
            }
        }
    }

    fn figures(&self) -> WarmFigures {
        WarmFigures {
            fetched_bytes: self.count.fetched.load(Ordering::Relaxed),
            present_bytes: self.count.present.load(Ordering::Relaxed),
            seconds: self.begun.elapsed().as_secs_f64(),
            ..self.figures
        }
    }

    async fn note(&mut self, ended: Result<Outcome, String>) {
        self.figures.objects += 1;
        let (key, error) = match ended {
            Ok((_, Ok(()))) => return,
            Ok((_, Err(WarmRefusal::Skipped(_)))) => {
                self.figures.skipped += 1;
                return;
            }
            Ok((key, Err(WarmRefusal::Failed(error)))) => (key.as_str().to_owned(), error),
            Err(error) => (String::new(), error),
        };
        self.figures.failed += 1;
        if self.figures.failed <= ERRORS {
            let _ = self.events.send(WarmEvent::Error { key, error }).await;
        }
    }

    /// Fetches one object.
    fn object(&self, key: Key) -> impl Future<Output = Outcome> + Send + use<> {
        let reader = self.reader.clone();
        let count = Arc::clone(&self.count);
        let extent = match self.order.mode {
            WarmMode::Footer => WarmExtent::Tail,
            WarmMode::Whole => WarmExtent::Whole,
        };
        let origin = Arc::clone(&self.served.origin);
        let object = ObjectName {
            origin: origin.config.name.clone(),
            bucket: self.order.bucket.clone(),
            key: key.clone(),
        };
        let rule = self.rules.rule_for(object.bucket.as_str(), key.as_str());
        let rule = rule.clone();
        async move {
            if policy::has_aliases(object.bucket.as_str(), key.as_str()) {
                return (key, Err(WarmRefusal::Skipped("ambiguous-key")));
            }
            let ask = ReadAsk::ahead(object, origin, rule, SystemTime::now());
            let outcome = reader.warm(&ask, extent, &count).await;
            (key, outcome)
        }
    }

    /// Lists the next objects, page after page until there is one.
    async fn list(&mut self, waiting: &mut Waiting) -> Result<(), String> {
        loop {
            let token = match std::mem::replace(&mut waiting.next_page, NextPage::None) {
                NextPage::First => None,
                NextPage::After(token) => Some(token),
                NextPage::None => return Ok(()),
            };
            let page = self.page(token.clone()).await?;
            if page.continuation_token.is_some() && page.continuation_token == token {
                return Err("the origin's list goes round in circles".to_owned());
            }
            let room = self.order.limit - self.figures.found;
            let room = usize::try_from(room).unwrap_or(usize::MAX);
            self.figures.more = page.continuation_token.is_some() || page.objects.len() > room;
            let objects = page.objects.into_iter().take(room);
            // Empty ones have nothing to fetch; most are there to stand for directories.
            waiting.keys.extend(
                objects
                    .filter(|object| object.size > 0)
                    .map(|object| object.key),
            );
            self.figures.found += waiting.keys.len() as u64;
            let next = page.continuation_token.map(NextPage::After);
            if let Some(next) = next.filter(|_| self.figures.found < self.order.limit) {
                waiting.next_page = next;
            }
            if !waiting.keys.is_empty() {
                return Ok(());
            }
        }
    }

    async fn page(&self, token: Option<String>) -> Result<ListPage, String> {
        let WarmTarget::Prefix(prefix) = &self.order.target else {
            return Err("there is nothing to list".to_owned());
        };
        let request = request(&self.order.bucket, prefix, token);
        let question = Question {
            request: &request,
            method: Method::GET,
            headers: HeaderMap::new(),
            body: Bytes::new(),
            is_read: true,
            own: None,
            max_answer: MAX_PAGE,
        };
        let origin = &self.served.origin;
        let (name, bucket) = (origin.config.name.clone(), self.order.bucket.clone());
        let mut harvest =
            self.reader
                .harvest(name, bucket, Arc::clone(&self.rules), SystemTime::now());
        let answer = origin.ask(&self.fetch, &question).await;
        let answer = answer.map_err(|error| format!("the origin cannot be asked: {error}"))?;
        if answer.status != StatusCode::OK {
            let status = answer.status.as_u16();
            return Err(format!("the origin answers {status} to the list"));
        }
        let length = answer.body.len() as u64;
        if harvest.begin(Some(length)) && harvest.take(&answer.body) {
            harvest.finish();
        }
        list_page(&answer.body).ok_or_else(|| "the origin's list cannot be read".to_owned())
    }
}

fn request(bucket: &Bucket, prefix: &str, token: Option<String>) -> Request {
    let pair = |name: &str, value: &str| (name.to_owned(), Some(value.to_owned()));
    let mut query = vec![
        pair("list-type", "2"),
        pair("encoding-type", "url"),
        pair("prefix", prefix),
    ];
    query.extend(token.map(|token| pair("continuation-token", &token)));
    Request {
        query,
        ..Request::own(Operation::ListObjectsV2, Some(bucket.clone()), None)
    }
}
