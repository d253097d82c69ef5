//! The read path with an origin in the process, and the plain model that it is held against: which
//! version of an object was the current one when.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use http::{HeaderMap, HeaderValue};
use parking_lot::Mutex;
use s3proxy::cache::{
    BlockSize, CacheRule, CacheRules, Freshness, Generations, Metas, ObjectName, PurgeScope,
    RuleSpec, Store, StoreConfig, Verdicts,
};
use s3proxy::read::{ReadAsk, ReadConfig, ReadParts, Reader, Reply};
use s3proxy::s3::{Bucket, Key, Preconditions, RangeField};
use s3proxy::telemetry::Metrics;
use s3proxy::upstream::{Origin as Upstream, Priority, Timeouts};
use tempfile::TempDir;
use tokio::task::JoinSet;

use super::content::Content;
use super::download;
use super::model_sight::Sight;
use super::model_steps::{
    Act, Condition, Fault, KEYS, Lifetime, Pause, RangeSpec, ReadSpec, Rng, Rule, Sequence, Step,
};
use super::object_origin::{ObjectOrigin, is_object_read};
use super::objects::{Given, Version};
use super::reply::{End, Payload, Reply as OriginReply};

/// The smallest there is: more of them in small objects.
const BLOCK: u64 = 16 << 10;

/// What an object was from a moment on.
#[derive(Clone)]
pub(super) struct Epoch {
    pub(super) since: SystemTime,
    pub(super) version: Option<Arc<Version>>,
}

/// One object in the model.
pub(super) struct Modelled {
    path: String,
    name: ObjectName,
    pub(super) epochs: Vec<Epoch>,
    /// Nothing before this epoch may be seen any more: a write through the proxy was answered.
    seen_from: usize,
    pub(super) writes: u64,
}

/// One sequence under way.
pub(super) struct World {
    store: Arc<ObjectOrigin>,
    upstream: Mutex<Arc<Upstream>>,
    rules: Arc<CacheRules>,
    pub(super) rule: Rule,
    memory: u64,
    disk: Option<(u64, TempDir)>,
    reader: Mutex<(Reader, Arc<Store>)>,
    pub(super) objects: Mutex<Vec<Modelled>>,
    /// How far the clock of the sequence is ahead.
    ahead: Mutex<Duration>,
    /// Since when something may have been under way.
    busy_since: Mutex<SystemTime>,
    /// Whether the origin has failed since then, or may.
    is_faulty: AtomicBool,
    /// What an origin told wrongly once may be forwarded for a while.
    was_faulty: AtomicBool,
    has_fault: AtomicBool,
}

impl World {
    pub(super) fn new(store: &Arc<ObjectOrigin>, sequence: &Sequence) -> Arc<Self> {
        let disk = sequence
            .disk
            .map(|size| (size, tempfile::tempdir().unwrap()));
        let rules = Arc::new(rules(sequence.rule));
        let side = side(store);
        let reader = open(sequence.memory, disk.as_ref(), &side);
        let ending = if sequence.is_data_file {
            "parquet"
        } else {
            "bin"
        };
        let objects = (0..KEYS).map(|index| {
            let key = format!("{:016x}/{index}.{ending}", sequence.seed);
            Modelled {
                path: format!("lake/{key}"),
                name: ObjectName {
                    origin: "main".into(),
                    bucket: Bucket::new("lake").unwrap(),
                    key: Key::new(&key).unwrap(),
                },
                epochs: vec![Epoch {
                    since: SystemTime::UNIX_EPOCH,
                    version: None,
                }],
                seen_from: 0,
                writes: 0,
            }
        });
        Arc::new(Self {
            store: Arc::clone(store),
            upstream: Mutex::new(side.upstream.clone()),
            rules,
            rule: sequence.rule,
            memory: sequence.memory,
            disk,
            reader: Mutex::new(reader),
            objects: Mutex::new(objects.collect()),
            ahead: Mutex::default(),
            busy_since: Mutex::new(SystemTime::now()),
            is_faulty: AtomicBool::new(false),
            was_faulty: AtomicBool::new(false),
            has_fault: AtomicBool::new(false),
        })
    }

    /// Whether the origin has failed since nothing was under way, or may.
    pub(super) fn is_faulty(&self) -> bool {
        self.is_faulty.load(Ordering::SeqCst)
    }

    pub(super) fn now(&self) -> SystemTime {
        SystemTime::now() + *self.ahead.lock()
    }

    pub(super) async fn run(self: &Arc<Self>, sequence: &Sequence) {
        for (index, step) in sequence.steps.iter().enumerate() {
            match step {
                Step::Together(acts) => self.together(acts).await,
                Step::Advance(by) => {
                    self.settle().await;
                    self.advance(*by);
                }
                Step::Fault(fault) => self.set_fault(*fault, sequence.seed ^ index as u64),
                Step::Restart => {
                    self.settle().await;
                    self.restart().await;
                    self.advance(Duration::ZERO);
                }
                Step::Flush => {
                    let store = Arc::clone(&self.reader.lock().1);
                    store.flush().await;
                }
            }
        }
        self.set_fault(None, 0);
        self.settle().await;
        self.check_everything().await;
    }

    /// In the end everything is well: each object is read whole once more.
    async fn check_everything(self: &Arc<Self>) {
        self.advance(Duration::from_hours(1));
        for key in 0..KEYS {
            let spec = ReadSpec {
                key,
                is_head: false,
                range: RangeSpec::No,
                condition: Condition::No,
                wants_checksums: false,
                before: Pause::No,
                between: Pause::No,
                leaves_after: None,
            };
            self.read(&spec).await;
        }
    }

    /// Lets time pass while nothing is under way.
    fn advance(&self, by: Duration) {
        *self.ahead.lock() += by;
        *self.busy_since.lock() = self.now();
    }

    /// Waits until nothing is under way any more.
    async fn settle(&self) {
        loop {
            while self.store.origin.in_flight() > 0 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            // Whoever has just been answered may ask again.
            for _ in 0..50 {
                tokio::task::yield_now().await;
            }
            if self.store.origin.in_flight() == 0 {
                let has_fault = self.has_fault.load(Ordering::SeqCst);
                self.is_faulty.store(has_fault, Ordering::SeqCst);
                return;
            }
        }
    }

    /// As by a kill, but that what was on its way to the disk may arrive there.
    async fn restart(&self) {
        let side = side(&self.store);
        let reader = open(self.memory, self.disk.as_ref(), &side);
        *self.upstream.lock() = side.upstream.clone();
        *self.reader.lock() = reader;
        tokio::task::yield_now().await;
    }

    async fn together(self: &Arc<Self>, acts: &[Act]) {
        let mut tasks = JoinSet::new();
        for act in acts {
            let (world, act) = (Arc::clone(self), act.clone());
            tasks.spawn(async move { world.act(&act).await });
        }
        while let Some(outcome) = tasks.join_next().await {
            if let Err(error) = outcome {
                std::panic::resume_unwind(error.into_panic());
            }
        }
    }

    async fn act(self: &Arc<Self>, act: &Act) {
        let reader = self.reader.lock().0.clone();
        let name = |key: usize| self.objects.lock()[key].name.clone();
        match act {
            Act::Read(spec) => {
                self.read(spec).await;
            }
            Act::Through { key, size, pause } => {
                pause.take().await;
                reader.invalidate(&name(*key));
                pause.take().await;
                let epoch = self.write(*key, *size);
                pause.take().await;
                reader.invalidate(&name(*key));
                let mut objects = self.objects.lock();
                let seen_from = &mut objects[*key].seen_from;
                *seen_from = epoch.max(*seen_from);
            }
            Act::Behind { key, size, pause } => {
                pause.take().await;
                self.write(*key, *size);
            }
            Act::Invalidate { key } => {
                reader.invalidate(&name(*key));
            }
            Act::PurgeKey { key } => {
                reader.purge(&PurgeScope::Key(name(*key))).await;
            }
            Act::PurgePrefix => {
                let name = name(0);
                let prefix = name.key.as_str()[..8].to_owned();
                let scope = PurgeScope::Prefix {
                    origin: name.origin,
                    bucket: name.bucket,
                    prefix,
                };
                reader.purge(&scope).await;
            }
            Act::PurgeBucket => {
                let name = name(0);
                let scope = PurgeScope::Bucket {
                    origin: name.origin,
                    bucket: name.bucket,
                };
                reader.purge(&scope).await;
            }
        }
    }

    /// Writes at the origin and in the model at once; answers which epoch begins.
    fn write(&self, key: usize, size: Option<u64>) -> usize {
        let mut objects = self.objects.lock();
        let object = &mut objects[key];
        object.writes += 1;
        let version = size.map(|size| {
            let seed = Rng::new(object.writes ^ (self.ahead.lock().as_secs() << 40) ^ size).next();
            let given = Given {
                fields: vec![
                    (
                        "Content-Type".to_owned(),
                        format!("application/x-{:x}", seed & 0xFFFF),
                    ),
                    ("x-amz-meta-seed".to_owned(), format!("{seed:016x}")),
                ],
                ..Given::default()
            };
            self.store
                .objects
                .write(&object.path, Content::Told { seed, size }, given)
        });
        if version.is_none() {
            self.store.objects.remove(&object.path);
        }
        object.epochs.push(Epoch {
            since: self.now(),
            version,
        });
        object.epochs.len() - 1
    }

    fn set_fault(self: &Arc<Self>, fault: Option<(Fault, u64)>, seed: u64) {
        self.has_fault.store(fault.is_some(), Ordering::SeqCst);
        self.store.straighten();
        let Some((fault, percent)) = fault else {
            return;
        };
        self.is_faulty.store(true, Ordering::SeqCst);
        self.was_faulty.store(true, Ordering::SeqCst);
        let rng = Mutex::new(Rng::new(seed));
        let strikes = move || rng.lock().chance(percent);
        let world = Arc::downgrade(self);
        if matches!(fault, Fault::Overwritten) {
            self.store.before(move |seen| {
                if let Some(world) = world.upgrade()
                    && is_object_read(seen)
                    && strikes()
                {
                    let writes = world.objects.lock()[0].writes;
                    let size = 50_000 + Rng::new(writes).below(100_000);
                    world.write(0, Some(size));
                }
            });
            return;
        }
        self.store.bend(move |seen, reply| {
            if is_object_read(seen) && strikes() {
                bent(reply, fault)
            } else {
                reply
            }
        });
    }

    async fn read(self: &Arc<Self>, spec: &ReadSpec) {
        spec.before.take().await;
        let (ask, sight) = self.ask(spec);
        let reader = self.reader.lock().0.clone();
        match reader.answer(&ask).await {
            Err(error) => assert!(
                sight.may_fail(),
                "{spec:?} failed without a reason: {error}"
            ),
            Ok(Reply::Bypass(why)) => {
                let was_faulty = self.was_faulty.load(Ordering::SeqCst);
                assert!(was_faulty, "{spec:?} is not cacheable: {why}");
            }
            Ok(Reply::Absent(absent, _)) => {
                assert_eq!(absent.status, 404);
                sight.expect_absence(self.rule.negative);
            }
            Ok(Reply::Answer(answer, _)) if answer.status == 404 => {
                sight.expect_absence(Duration::ZERO);
            }
            Ok(Reply::Answer(answer, _)) => {
                assert!(
                    self.is_faulty(),
                    "{spec:?}: the origin is said to have answered {}",
                    answer.status
                );
            }
            Ok(Reply::Object(reply)) => sight.expect_object(*reply).await,
        }
    }

    fn ask(self: &Arc<Self>, spec: &ReadSpec) -> (ReadAsk, Sight) {
        let busy_since = *self.busy_since.lock();
        let upstream = Arc::clone(&self.upstream.lock());
        let now = self.now();
        let objects = self.objects.lock();
        let object = &objects[spec.key];
        let headers = fields(object, spec);
        let ask = ReadAsk {
            object: object.name.clone(),
            origin: upstream,
            rule: self.rule_of(&object.name),
            is_head: spec.is_head,
            range: RangeField::parse(&headers),
            preconditions: Preconditions::parse(&headers),
            wants_checksums: spec.wants_checksums,
            own: None,
            now,
            priority: Priority::Demand,
        };
        let sight = Sight {
            world: Arc::clone(self),
            spec: spec.clone(),
            headers,
            seen_from: object.seen_from,
            writes: object.writes,
            busy_since,
        };
        (ask, sight)
    }
}

fn side(store: &ObjectOrigin) -> download::Side {
    let mut setup = download::Setup::of(&store.origin);
    setup.config.timeouts = Timeouts {
        connect: Duration::from_secs(2),
        read: Duration::from_millis(400),
        write: Duration::from_millis(400),
        total: Duration::from_secs(5),
    };
    setup.config.max_retries = 1;
    setup.build()
}

impl World {
    fn rule_of(&self, object: &ObjectName) -> CacheRule {
        let (bucket, key) = (object.bucket.as_str(), object.key.as_str());
        self.rules.rule_for(bucket, key).clone()
    }
}

fn open(memory: u64, disk: Option<&(u64, TempDir)>, side: &download::Side) -> (Reader, Arc<Store>) {
    let block_size = BlockSize::new(BLOCK).unwrap();
    let config = StoreConfig {
        memory,
        disk: disk.map(|(size, _)| *size),
        dir: disk.map(|(_, dir)| dir.path().join("cache")),
        block_size,
        min_free: 0,
    };
    let store = Arc::new(Store::open(&config).unwrap());
    store.start();
    let generations = Arc::new(Generations::new(1));
    let parts = ReadParts {
        store: Arc::clone(&store),
        metas: Arc::new(Metas::new(1 << 20, Arc::clone(&generations))),
        generations,
        verdicts: Arc::new(Verdicts::new(Duration::from_mins(1))),
        downloads: Arc::clone(&side.downloads),
        metrics: Metrics::new().cache(),
    };
    let config = ReadConfig {
        block_size,
        fill_memory: 16 << 20,
    };
    (Reader::new(config, parts), store)
}

fn rules(rule: Rule) -> CacheRules {
    let freshness = match rule.freshness {
        Lifetime::For(lifetime) => Freshness::For(lifetime),
        Lifetime::Immutable => Freshness::Immutable,
        Lifetime::Validate => Freshness::Validate,
    };
    let spec = RuleSpec {
        freshness: Some(freshness),
        stale_if_error: rule.stale_if_error,
        negative: rule.negative,
        ..RuleSpec::default()
    };
    CacheRules::new(vec![spec]).unwrap()
}

/// What a client sends that knows the object so far.
fn fields(object: &Modelled, spec: &ReadSpec) -> HeaderMap {
    let mut known = object
        .epochs
        .iter()
        .rev()
        .filter_map(|epoch| epoch.version.as_ref());
    let none = || "\"none\"".to_owned();
    let current = known
        .next()
        .map_or_else(none, |version| version.etag.clone());
    let older = known
        .next()
        .map_or_else(none, |version| version.etag.clone());
    let condition = match spec.condition {
        Condition::No => None,
        Condition::MatchCurrent => Some(("if-match", current)),
        Condition::MatchOlder => Some(("if-match", older)),
        Condition::NoneMatchCurrent => Some(("if-none-match", current)),
        Condition::NoneMatchOlder => Some(("if-none-match", older)),
        Condition::MatchAny => Some(("if-match", "*".to_owned())),
        Condition::RangeIfCurrent => Some(("if-range", current)),
        Condition::RangeIfOlder => Some(("if-range", older)),
    };
    let range = spec.range.field().map(|range| ("range", range));
    let mut headers = HeaderMap::new();
    for (name, value) in condition.into_iter().chain(range) {
        headers.insert(name, HeaderValue::try_from(value).unwrap());
    }
    headers
}

/// The origin's proper answer, spoiled.
fn bent(reply: OriginReply, fault: Fault) -> OriginReply {
    match fault {
        Fault::Status(status) => OriginReply::error(status, "Fault"),
        Fault::Vanish => OriginReply::vanish(),
        Fault::CutAfter(bytes) => reply.ending(End::CutAfter(bytes)),
        Fault::ResetAfter(bytes) => reply.ending(End::ResetAfter(bytes)),
        Fault::StallAt(bytes) => reply.stalled_at(bytes),
        Fault::Slow => reply.in_pieces(10_000, Duration::from_millis(1)),
        Fault::OtherRange if reply.status == 206 => reply.set("Content-Range", "bytes 1-2/3"),
        Fault::NoETag => reply.without("etag"),
        Fault::WeakETag => {
            let etag = reply
                .headers
                .iter()
                .find(|(name, _)| name == "ETag")
                .cloned();
            match etag {
                Some((_, etag)) => reply.set("ETag", &format!("W/{etag}")),
                None => reply,
            }
        }
        Fault::Whole => match reply.body.clone() {
            Payload::Object(content, _) if reply.status == 206 => {
                let size = content.size();
                let body = Payload::Object(content, 0..size);
                let whole = OriginReply {
                    status: 200,
                    body,
                    ..reply
                };
                whole.without("content-range")
            }
            _ => reply,
        },
        Fault::OtherRange | Fault::Overwritten => reply,
    }
}
