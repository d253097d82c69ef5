//! One writer through the proxy, one behind it, sixteen readers: what they see of one another.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::cached::{CacheSetup, Cached, MIB, call_keeping, delete, get, put};
use super::call::Call;
use super::client::{Answer, Client};
use super::content::Content;
use super::proxy::everything;

const READERS: u64 = 16;
const OBJECTS: u64 = 4;

/// How long an answer may be used without asking.
const FRESHNESS: Duration = Duration::from_secs(1);

/// What a busy machine takes from a decision to its effect; far below what is being tested for.
const SLACK: Duration = Duration::from_millis(250);

/// A minute where the environment says so, some seconds without a word.
fn duration() -> Duration {
    let said = std::env::var("S3PROXY_TEST_SOAK_SECS");
    Duration::from_secs(said.map_or(6, |text| text.parse().expect("seconds")))
}

/// The last write through the proxy that was answered, by path: when the origin made it the current
/// version.
type Written = Arc<Mutex<HashMap<String, Instant>>>;

fn next(state: &mut u64) -> u64 {
    *state = state
        .wrapping_mul(6_364_136_223_846_793_005)
        .wrapping_add(1_442_695_040_888_963_407);
    *state >> 33
}

async fn reconnect(cached: &Cached, client: &mut Option<Client>) {
    if client.is_none() {
        *client = Some(cached.proxy.connect().await.keep(8 << 20));
    }
}

async fn write_through(cached: Arc<Cached>, written: Written, stop: Arc<AtomicBool>) -> u64 {
    let (mut state, mut writes) = (1, 0);
    while !stop.load(Ordering::Relaxed) {
        let path = format!("lake/through/{}", next(&mut state) % OBJECTS);
        let size = MIB + next(&mut state) % MIB;
        let body = Content::Told {
            seed: next(&mut state) << 20,
            size,
        }
        .bytes(0..size);
        let call = if next(&mut state).is_multiple_of(12) {
            delete(&format!("/{path}"))
        } else {
            put(&format!("/{path}"), &body)
        };
        let answer = call_keeping(&cached.proxy, &call).await;
        assert!(answer.status < 300, "{}", answer.text());
        // Nobody else writes there.
        let since = cached.store.objects.history(&path).last().unwrap().since;
        written.lock().insert(path.clone(), since);
        // Its own next read, at once.
        let own = call_keeping(&cached.proxy, &get(&format!("/{path}"))).await;
        let current = cached.store.objects.current(&path);
        match current {
            Some(version) => drop(own.expect_whole(&version)),
            None => assert_eq!(own.status, 404),
        }
        writes += 1;
        tokio::time::sleep(Duration::from_millis(next(&mut state) % 40)).await;
    }
    writes
}

async fn write_behind(cached: Arc<Cached>, stop: Arc<AtomicBool>) -> u64 {
    let (mut state, mut writes) = (2, 0);
    while !stop.load(Ordering::Relaxed) {
        let path = format!("lake/behind/{}", next(&mut state) % OBJECTS);
        if next(&mut state).is_multiple_of(12) {
            cached.store.objects.remove(&path);
        } else {
            cached.put(&path, MIB + next(&mut state) % (2 * MIB));
        }
        writes += 1;
        tokio::time::sleep(Duration::from_millis(next(&mut state) % 300)).await;
    }
    writes
}

/// What one read may have seen.
struct Sight<'a> {
    path: &'a str,
    /// The last write through the proxy that had been answered when it began.
    known: Option<Instant>,
    begun: Instant,
    ended: Instant,
}

impl Sight<'_> {
    fn check(&self, cached: &Cached, first: Option<u64>, answer: &Answer) {
        let objects = &cached.store.objects;
        // Nothing older than the last write that was answered, or than the freshness time.
        let stale = self.begun.checked_sub(FRESHNESS + SLACK);
        let from = self.known.or(stale).unwrap_or(self.begun);
        match answer.status {
            404 => assert!(
                objects.was_absent(self.path, from, self.ended),
                "{}: 404",
                self.path
            ),
            412 | 416 => {}
            // Replaced again and again while it was being read.
            503 => assert!(
                objects.was_written(self.path, from, self.ended),
                "{}: {}",
                self.path,
                answer.text()
            ),
            200 | 206 | 304 => {
                let etag = answer.field("etag").expect("an ETag");
                let version = objects
                    .by_etag(self.path, etag)
                    .expect("a version that was");
                assert!(
                    objects.was_current(self.path, etag, from, self.ended),
                    "{}: {etag} is too old, {:?} after the start",
                    self.path,
                    self.ended - self.begun
                );
                if let Some(first) = first {
                    let first = first.min(version.size());
                    let torn = version.content.first_difference(first, &answer.body);
                    assert_eq!(torn, None, "{}: torn", self.path);
                }
                // Cut short for want of the rest, never for want of patience.
                assert!(
                    answer.is_complete || objects.was_written(self.path, from, self.ended),
                    "{}: cut short",
                    self.path
                );
                if answer.is_complete && answer.status == 206 {
                    let told = answer.field("content-range").unwrap();
                    assert!(told.ends_with(&format!("/{}", version.size())), "{told}");
                }
            }
            other => panic!("{}: {other} {}", self.path, answer.text()),
        }
    }
}

async fn read(cached: Arc<Cached>, written: Written, number: u64, stop: Arc<AtomicBool>) -> u64 {
    let (mut state, mut reads) = (number * 7919 + 11, 0);
    let mut client = None;
    while !stop.load(Ordering::Relaxed) {
        reconnect(&cached, &mut client).await;
        let kind = if next(&mut state).is_multiple_of(2) {
            "through"
        } else {
            "behind"
        };
        let path = format!("lake/{kind}/{}", next(&mut state) % OBJECTS);
        let target = format!("/{path}");
        let first = next(&mut state) % (2 * MIB);
        let last = first + next(&mut state) % 400_000;
        let (call, first) = match next(&mut state) % 8 {
            0 => (Call::get(&target), Some(0)),
            1 => (Call::new("HEAD", &target), None),
            2 => (Call::get(&target).header("range", "bytes=-70000"), None),
            _ => (
                Call::get(&target).header("range", &format!("bytes={first}-{last}")),
                Some(first),
            ),
        };
        let call = call.sign(&everything());
        let known = written.lock().get(&path).copied();
        let begun = Instant::now();
        let open = client.as_mut().unwrap();
        open.send(&call.bytes()).await;
        let Some(answer) = open.answer_to(&call.method).await else {
            client = None;
            continue;
        };
        let sight = Sight {
            path: &path,
            known,
            begun,
            ended: Instant::now(),
        };
        let first = match (first, answer.field("content-range")) {
            (None, Some(told)) if call.method == "GET" => Some(
                told["bytes ".len()..]
                    .split('-')
                    .next()
                    .unwrap()
                    .parse()
                    .unwrap(),
            ),
            (first, _) => first,
        };
        sight.check(&cached, first, &answer);
        if !answer.is_complete {
            client = None;
        }
        reads += 1;
    }
    reads
}

/// Whoever writes through the proxy is seen at once, whoever writes behind it within the freshness
/// time, and nobody sees half of one version and half of another.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_see_writes_in_time_and_whole() {
    let root = tempfile::tempdir().unwrap();
    let cached = CacheSetup::disk(&root.path().join("cache"))
        .with_memory("6MiB")
        .with_disk("24MiB")
        .rule("{freshness: 1s, negative: 1s}")
        .start()
        .await;
    let cached = Arc::new(cached);
    for index in 0..OBJECTS {
        cached.put(&format!("lake/through/{index}"), MIB);
        cached.put(&format!("lake/behind/{index}"), MIB);
    }
    let stop = Arc::new(AtomicBool::new(false));
    let written = Written::default();
    let mut readers = Vec::new();
    for number in 0..READERS {
        let reading = read(
            Arc::clone(&cached),
            Arc::clone(&written),
            number,
            Arc::clone(&stop),
        );
        readers.push(tokio::spawn(reading));
    }
    let through = tokio::spawn(write_through(
        Arc::clone(&cached),
        written,
        Arc::clone(&stop),
    ));
    let behind = tokio::spawn(write_behind(Arc::clone(&cached), Arc::clone(&stop)));
    tokio::time::sleep(duration()).await;
    // A busy machine gets more time to have done enough of everything.
    let enough = async || {
        let hits = cached
            .proxy
            .metric("s3proxy_cache_requests_total", "result=\"hit\"");
        let writes = cached.proxy.metric("s3proxy_cache_invalidations_total", "");
        hits.await > 20 && writes.await > 20
    };
    let deadline = Instant::now() + Duration::from_mins(2);
    while !enough().await && Instant::now() < deadline {
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    stop.store(true, Ordering::Relaxed);
    let mut reads = 0;
    for reader in readers {
        reads += reader.await.unwrap();
    }
    let (through, behind) = (through.await.unwrap(), behind.await.unwrap());
    let hits = cached
        .proxy
        .metric("s3proxy_cache_requests_total", "result=\"hit\"")
        .await;
    println!("{reads} reads, {hits} hits, {through} writes through, {behind} behind");
    assert!(reads > 100 && through > 10 && behind > 5 && hits > 20);
}
