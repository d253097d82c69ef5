//! Downloads over connections in memory, where time is the test's; slots and kept connections.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use pingora::Error;
use pingora::ErrorType;
use pingora::protocols::Stream;
use pingora::upstreams::peer::HttpPeer;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::io::DuplexStream;
use tokio::time::Instant;

use super::Connect;
use super::Download;
use super::DownloadConfig;
use super::Downloads;
use super::ObjectAsk;
use super::Priority;
use super::pool::ConnectionKey;
use super::pool::Pool;
use super::slots::Slot;
use super::slots::Slots;
use crate::s3::Bucket;
use crate::s3::Key;
use crate::upstream::Addressing;
use crate::upstream::BucketGlobs;
use crate::upstream::CredentialSource;
use crate::upstream::Endpoint;
use crate::upstream::Origin;
use crate::upstream::OriginConfig;
use crate::upstream::OriginCredentials;
use crate::upstream::Resolver;
use crate::upstream::Timeouts;
use crate::upstream::UpstreamError;

const CONNECT: Duration = Duration::from_secs(3);
const READ: Duration = Duration::from_secs(30);
const TOTAL: Duration = Duration::from_mins(5);
const IDLE: Duration = Duration::from_mins(1);

fn origin() -> Origin {
    let config = OriginConfig {
        name: "main".into(),
        endpoint: Endpoint {
            is_tls: false,
            host: "127.0.0.1".to_owned(),
            port: 9000,
        },
        region: "us-east-1".to_owned(),
        addressing: Addressing::Path,
        ca_file: None,
        server_name: None,
        credentials: CredentialSource::Anonymous,
        buckets: BucketGlobs::default(),
        trailing_checksums: true,
        timeouts: Timeouts {
            connect: CONNECT,
            read: READ,
            write: READ,
            total: TOTAL,
        },
        max_retries: 2,
        idle_timeout: IDLE,
    };
    let credentials = OriginCredentials::new(&config.credentials, &config.region);
    Origin::new(config, credentials, Arc::new(Resolver::new()), 0).unwrap()
}

/// Hands out one end of each connection and keeps the other.
#[derive(Clone, Default)]
struct Wires {
    /// What is said on each connection at once, the oldest first; none: connecting fails.
    said: Arc<Mutex<VecDeque<&'static str>>>,
    far: Arc<Mutex<Vec<DuplexStream>>>,
    made: Arc<AtomicUsize>,
}

impl Wires {
    fn saying(said: &[&'static str]) -> Self {
        let wires = Self::default();
        wires.said.lock().extend(said);
        wires
    }

    fn downloads(&self) -> Downloads {
        Downloads::with_source(DownloadConfig::default(), self.clone())
    }
}

#[async_trait]
impl Connect for Wires {
    async fn connect(&self, _peer: &HttpPeer) -> pingora::Result<Stream> {
        self.made.fetch_add(1, Ordering::Relaxed);
        let said = self.said.lock().pop_front();
        let said = said.ok_or_else(|| Error::new(ErrorType::ConnectRefused))?;
        let (near, mut far) = tokio::io::duplex(64 << 10);
        far.write_all(said.as_bytes()).await.unwrap();
        self.far.lock().push(far);
        Ok(Box::new(near))
    }
}

async fn get(origin: &Origin, downloads: &Downloads) -> Result<Download, UpstreamError> {
    let (bucket, key) = (Bucket::new("lake").unwrap(), Key::new("a").unwrap());
    origin
        .download(downloads, &ObjectAsk::get(&bucket, &key))
        .await
}

#[tokio::test(start_paused = true)]
async fn a_silent_origin_is_given_up_after_the_read_limit_each_time() {
    let origin = origin();
    let wires = Wires::saying(&[
        "",
        "HTTP/1.1 20",
        "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nsome",
    ]);
    let downloads = wires.downloads();
    let began = Instant::now();
    let mut download = get(&origin, &downloads).await.unwrap();
    // Two limits and two pauses of at most 50 and 100 ms.
    let waited = began.elapsed();
    assert!(READ * 2 <= waited && waited <= READ * 2 + Duration::from_millis(160));
    assert_eq!(wires.made.load(Ordering::Relaxed), 3);
    assert_eq!(download.next().await.unwrap().unwrap(), "some");
    let began = Instant::now();
    let error = download.next().await.unwrap_err();
    assert!(matches!(error, UpstreamError::Silent(READ)), "{error}");
    assert_eq!(began.elapsed().as_secs(), READ.as_secs());
}

#[tokio::test(start_paused = true)]
async fn bytes_put_the_read_limit_off_and_never_the_total() {
    let origin = origin();
    let wires = Wires::saying(&["HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n"]);
    let downloads = wires.downloads();
    let began = Instant::now();
    let mut download = get(&origin, &downloads).await.unwrap();
    let mut far = wires.far.lock().remove(0);
    let drip = tokio::spawn(async move {
        loop {
            tokio::time::sleep(READ.checked_sub(Duration::from_secs(1)).unwrap()).await;
            if far.write_all(b"x").await.is_err() {
                return;
            }
        }
    });
    let error = loop {
        match download.next().await {
            Ok(piece) => assert_eq!(piece.unwrap(), "x"),
            Err(error) => break error,
        }
    };
    assert!(matches!(error, UpstreamError::TimedOut(TOTAL)), "{error}");
    assert_eq!(began.elapsed().as_secs(), TOTAL.as_secs());
    assert_eq!(download.received(), 10);
    drop(download);
    drip.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn waiting_for_a_connection_counts_towards_the_total() {
    let origin = origin();
    let wires = Wires::saying(&["HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n"]);
    let config = DownloadConfig {
        max_connections: 1,
        max_waiting: 1,
        hedges: false,
    };
    let downloads = Downloads::with_source(config, wires.clone());
    let _first = get(&origin, &downloads).await.unwrap();
    let began = Instant::now();
    let error = get(&origin, &downloads).await.err().unwrap();
    assert!(matches!(error, UpstreamError::TimedOut(TOTAL)), "{error}");
    assert_eq!(began.elapsed().as_secs(), TOTAL.as_secs());
}

#[tokio::test(start_paused = true)]
async fn connecting_is_tried_again_with_pauses() {
    let origin = origin();
    let wires = Wires::default();
    let began = Instant::now();
    let error = get(&origin, &wires.downloads()).await.err().unwrap();
    assert!(matches!(error, UpstreamError::Connection(_)), "{error}");
    assert_eq!(wires.made.load(Ordering::Relaxed), 3);
    let waited = began.elapsed();
    assert!(Duration::ZERO < waited && waited <= Duration::from_millis(160));
}

#[tokio::test(start_paused = true)]
async fn a_little_rest_that_does_not_come_is_not_waited_for() {
    let origin = origin();
    let wires = Wires::saying(&["HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nsome"]);
    let downloads = wires.downloads();
    let download = get(&origin, &downloads).await.unwrap();
    let began = Instant::now();
    download.finish().await;
    assert_eq!(began.elapsed(), super::body::DRAIN_TIME);
    let mut far = wires.far.lock().remove(0);
    let mut request = Vec::new();
    // Ends only because the connection was closed.
    far.read_to_end(&mut request).await.unwrap();
    assert!(request.starts_with(b"GET /lake/a HTTP/1.1\r\n"));
}

#[tokio::test(start_paused = true)]
async fn each_request_is_written_at_once_and_whole() {
    let origin = origin();
    let wires = Wires::saying(&["HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"]);
    let downloads = wires.downloads();
    let answer = get(&origin, &downloads).await.unwrap();
    assert_eq!(answer.read_small(2).await.unwrap().body, "ok");
    let mut far = wires.far.lock().remove(0);
    let mut request = [0; 1000];
    let length = far.read(&mut request).await.unwrap();
    let text = std::str::from_utf8(&request[..length]).unwrap();
    assert_eq!(text, "GET /lake/a HTTP/1.1\r\nHost: 127.0.0.1:9000\r\n\r\n");
}

fn key(host: &str) -> ConnectionKey {
    ConnectionKey {
        endpoint: Endpoint {
            is_tls: true,
            host: host.to_owned(),
            port: 443,
        },
        server_name: host.to_owned(),
    }
}

/// A connection, and its other end.
fn wire() -> (Stream, DuplexStream) {
    let (near, far) = tokio::io::duplex(64);
    (Box::new(near), far)
}

/// Whether the other end has been closed.
async fn is_closed(far: &mut DuplexStream) -> bool {
    tokio::time::timeout(Duration::from_millis(1), far.read_u8())
        .await
        .is_ok()
}

#[tokio::test(start_paused = true)]
async fn the_connection_used_last_is_used_next() {
    let pool = Pool::new(8, IDLE);
    let (first, mut far_first) = wire();
    let (second, mut far_second) = wire();
    pool.put(key("a"), first);
    pool.put(key("a"), second);
    let mut taken = pool.take(&key("a")).unwrap();
    taken.write_all(b"!").await.unwrap();
    assert_eq!(far_second.read_u8().await.unwrap(), b'!');
    assert!(!is_closed(&mut far_first).await);
    assert_eq!(pool.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_kept_connection_serves_only_its_host_and_name() {
    let pool = Pool::new(8, IDLE);
    let (stream, _far) = wire();
    pool.put(key("a"), stream);
    let mut other = key("a");
    for (host, port, is_tls, name) in [
        ("b", 443, true, "a"),
        ("a", 444, true, "a"),
        ("a", 443, false, "a"),
        ("a", 443, true, "b"),
    ] {
        other.endpoint = Endpoint {
            is_tls,
            host: host.to_owned(),
            port,
        };
        other.server_name = name.to_owned();
        assert!(pool.take(&other).is_none(), "{other:?}");
    }
    assert!(pool.take(&key("a")).is_some());
    assert!(pool.take(&key("a")).is_none());
}

#[tokio::test(start_paused = true)]
async fn dead_and_talking_connections_are_passed_over() {
    let pool = Pool::new(8, IDLE);
    let (good, _far_good) = wire();
    let (dead, far_dead) = wire();
    let (talking, mut far_talking) = wire();
    for stream in [good, dead, talking] {
        pool.put(key("a"), stream);
    }
    drop(far_dead);
    far_talking.write_all(b"HTTP/1.1 408").await.unwrap();
    assert!(pool.take(&key("a")).is_some());
    assert!(pool.take(&key("a")).is_none());
    // And they are not put back in the first place.
    let (dead, far_dead) = wire();
    drop(far_dead);
    pool.put(key("a"), dead);
    assert_eq!(pool.len(), 0);
}

#[tokio::test(start_paused = true)]
async fn idle_connections_are_bounded_in_number_and_time() {
    let pool = Pool::new(2, IDLE);
    let (first, mut far_first) = wire();
    let (second, mut far_second) = wire();
    let (third, mut far_third) = wire();
    pool.put(key("a"), first);
    tokio::time::sleep(IDLE / 2).await;
    pool.put(key("b"), second);
    pool.put(key("c"), third);
    assert!(is_closed(&mut far_first).await, "one too many");
    tokio::time::sleep(IDLE.checked_sub(Duration::from_secs(1)).unwrap()).await;
    assert!(!is_closed(&mut far_second).await && !is_closed(&mut far_third).await);
    tokio::time::sleep(Duration::from_secs(2)).await;
    // Nobody asked for any; they are closed all the same.
    assert!(is_closed(&mut far_second).await && is_closed(&mut far_third).await);
    assert_eq!(pool.len(), 0);
    let (fourth, mut far_fourth) = wire();
    pool.put(key("a"), fourth);
    tokio::time::sleep(IDLE + Duration::from_secs(1)).await;
    assert!(is_closed(&mut far_fourth).await, "after a pause");
}

/// A task that takes a slot and gives it to the test.
fn waiting(slots: &Arc<Slots>, priority: Priority) -> tokio::task::JoinHandle<Option<Slot>> {
    let slots = Arc::clone(slots);
    tokio::spawn(async move { slots.take(priority).await })
}

async fn settle() {
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn demand_goes_first_in_order_of_arrival() {
    let slots = Slots::new(2, 10);
    let held = [
        slots.take(Priority::Demand).await.unwrap(),
        slots.take(Priority::Demand).await.unwrap(),
    ];
    let prefetch = waiting(&slots, Priority::Prefetch);
    settle().await;
    let first = waiting(&slots, Priority::Demand);
    settle().await;
    let second = waiting(&slots, Priority::Demand);
    settle().await;
    let [one, two] = held;
    drop(one);
    settle().await;
    assert!(first.is_finished() && !second.is_finished() && !prefetch.is_finished());
    drop(two);
    settle().await;
    assert!(second.is_finished() && !prefetch.is_finished());
    drop(first.await.unwrap());
    settle().await;
    assert!(prefetch.is_finished());
    assert_eq!(slots.used(), 2);
    drop((second.await.unwrap(), prefetch.await.unwrap()));
    assert_eq!(slots.used(), 0);
}

#[tokio::test]
async fn prefetches_get_half_and_no_more() {
    let slots = Slots::new(5, 10);
    let first = slots.take(Priority::Prefetch).await.unwrap();
    let _second = slots.take(Priority::Prefetch).await.unwrap();
    let third = waiting(&slots, Priority::Prefetch);
    settle().await;
    assert!(!third.is_finished());
    let mut demand = Vec::new();
    for _ in 0..3 {
        demand.extend(slots.take(Priority::Demand).await);
    }
    demand.clear();
    settle().await;
    assert!(!third.is_finished(), "slots of demand are none of theirs");
    drop(first);
    settle().await;
    assert!(third.is_finished());
    assert!(Slots::new(1, 10).take(Priority::Prefetch).await.is_none());
}

#[tokio::test]
async fn whoever_leaves_takes_no_slot_along() {
    let slots = Slots::new(1, 3);
    let held = slots.take(Priority::Demand).await.unwrap();
    let left: Vec<_> = (0..3).map(|_| waiting(&slots, Priority::Demand)).collect();
    settle().await;
    assert!(
        slots.take(Priority::Demand).await.is_none(),
        "too many wait"
    );
    for waiter in left {
        waiter.abort();
        assert!(waiter.await.is_err());
    }
    // Those that left do not count any more.
    let waiter = waiting(&slots, Priority::Demand);
    settle().await;
    assert!(!waiter.is_finished());
    drop(held);
    let slot = waiter.await.unwrap().unwrap();
    assert_eq!(slots.used(), 1);
    drop(slot);
    assert_eq!(slots.used(), 0);
}

/// Many tasks that come, wait, leave early and hold for a moment: no slot is lost or made.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn slots_are_neither_lost_nor_made() {
    let slots = Slots::new(6, 1000);
    let (used, prefetching) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let tasks: Vec<_> = (0..64_u64)
        .map(|number| {
            let slots = Arc::clone(&slots);
            let (used, prefetching) = (Arc::clone(&used), Arc::clone(&prefetching));
            tokio::spawn(async move {
                for turn in 0..200 {
                    let is_prefetch = number % 3 == 0;
                    let priority = if is_prefetch {
                        Priority::Prefetch
                    } else {
                        Priority::Demand
                    };
                    let patience = Duration::from_micros((number * 7 + turn * 13) % 400);
                    let slot = tokio::time::timeout(patience, slots.take(priority)).await;
                    let Ok(Some(slot)) = slot else { continue };
                    assert!(used.fetch_add(1, Ordering::SeqCst) < 6);
                    if is_prefetch {
                        assert!(prefetching.fetch_add(1, Ordering::SeqCst) < 3);
                    }
                    tokio::task::yield_now().await;
                    if is_prefetch {
                        prefetching.fetch_sub(1, Ordering::SeqCst);
                    }
                    used.fetch_sub(1, Ordering::SeqCst);
                    drop(slot);
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(slots.used(), 0);
}

const FINE: &str = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nfine";

/// An origin that usually answers within 30 ms, as far as is known.
fn usually_quick(origin: &Origin, downloads: &Downloads) {
    let hedging = &downloads.lane(origin).hedging;
    for _ in 0..1000 {
        hedging.begin(Instant::now());
        hedging.waited(Duration::from_millis(30));
    }
}

#[tokio::test(start_paused = true)]
async fn a_late_answer_is_asked_for_once_more() {
    let origin = origin();
    let wires = Wires::saying(&["", FINE]);
    let downloads = wires.downloads();
    usually_quick(&origin, &downloads);
    let began = Instant::now();
    let mut download = get(&origin, &downloads).await.unwrap();
    let waited = began.elapsed().as_millis();
    assert!((45..100).contains(&waited), "{waited} ms");
    assert_eq!(download.next().await.unwrap().unwrap(), "fine");
    let mut far = std::mem::take(&mut *wires.far.lock());
    let mut requests = vec![Vec::new(); 2];
    far[1].read_buf(&mut requests[1]).await.unwrap();
    // Ends only because the connection was closed.
    far[0].read_to_end(&mut requests[0]).await.unwrap();
    assert_eq!(requests[0], requests[1]);
    assert_eq!(downloads.lane(&origin).slots.used(), 0);
}

/// The first connection says this after a second.
fn say_late(wires: &Wires, said: &'static str) {
    let wires = wires.clone();
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let mut far = wires.far.lock().remove(0);
        far.write_all(said.as_bytes()).await.unwrap();
        wires.far.lock().push(far);
    });
}

#[tokio::test(start_paused = true)]
async fn only_a_success_beats_what_still_runs() {
    for second in [
        Some("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"),
        Some("HTTP/1.1 412 Precondition Failed\r\nContent-Length: 0\r\n\r\n"),
        Some("HTTP/1.1 410 Gone\r\nContent-Length: 0\r\n\r\n"),
        Some("HTTP/1.1 503 Slow Down\r\nContent-Length: 0\r\n\r\n"),
        Some("nonsense\r\n\r\n"),
        Some(""),
        None,
    ] {
        let origin = origin();
        let wires = Wires::saying(&[""]);
        wires.said.lock().extend(second);
        let downloads = wires.downloads();
        usually_quick(&origin, &downloads);
        say_late(&wires, FINE);
        let began = Instant::now();
        let download = get(&origin, &downloads).await.unwrap();
        assert_eq!(began.elapsed().as_secs(), 1, "{second:?}");
        assert_eq!(wires.made.load(Ordering::Relaxed), 2, "{second:?}");
        assert_eq!(download.read_small(4).await.unwrap().body, "fine");
    }
}

#[tokio::test(start_paused = true)]
async fn of_two_failures_the_first_ones_is_told() {
    let origin = origin();
    let wires = Wires::saying(&["", "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"]);
    let downloads = wires.downloads();
    usually_quick(&origin, &downloads);
    say_late(
        &wires,
        "HTTP/1.1 412 Precondition Failed\r\nContent-Length: 0\r\n\r\n",
    );
    let download = get(&origin, &downloads).await.unwrap();
    assert_eq!(download.status, 412);
}

#[tokio::test(start_paused = true)]
async fn heads_read_ahead_and_busy_origins_are_not_hedged() {
    let (bucket, key) = (Bucket::new("lake").unwrap(), Key::new("a").unwrap());
    let ahead = ObjectAsk {
        priority: Priority::Prefetch,
        ..ObjectAsk::get(&bucket, &key)
    };
    let sent = async |ask: &ObjectAsk<'_>, prepare: &dyn Fn(&Origin, &Downloads)| {
        let origin = origin();
        let wires = Wires::saying(&["", FINE]);
        let downloads = wires.downloads();
        usually_quick(&origin, &downloads);
        prepare(&origin, &downloads);
        say_late(&wires, FINE);
        origin.download(&downloads, ask).await.unwrap();
        wires.made.load(Ordering::Relaxed)
    };
    let get = ObjectAsk::get(&bucket, &key);
    assert_eq!(sent(&get, &|_, _| {}).await, 2);
    assert_eq!(sent(&ObjectAsk::head(&bucket, &key), &|_, _| {}).await, 1);
    assert_eq!(sent(&ahead, &|_, _| {}).await, 1);
    let ill = |origin: &Origin, downloads: &Downloads| {
        downloads.lane(origin).hedging.trouble(Instant::now());
    };
    assert_eq!(sent(&get, &ill).await, 1);
}

#[tokio::test(start_paused = true)]
async fn where_most_connections_are_in_use_nothing_is_hedged() {
    for (in_use, made) in [(31, 2), (32, 1)] {
        let origin = origin();
        let wires = Wires::saying(&["", FINE]);
        let downloads = wires.downloads();
        usually_quick(&origin, &downloads);
        let slots = &downloads.lane(&origin).slots;
        let mut taken = Vec::new();
        for _ in 0..in_use {
            taken.push(slots.take(Priority::Demand).await);
        }
        say_late(&wires, FINE);
        // Its own connection is one of them.
        get(&origin, &downloads).await.unwrap();
        assert_eq!(wires.made.load(Ordering::Relaxed), made, "{in_use}");
    }
}
