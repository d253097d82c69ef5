//! How missing bytes come from the origin: once, at once, only right ones, and not for nobody.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::cached::{Ask, CacheSetup, Cached, KIB, MIB, comes_true, get, ranged};
use super::client::Client;
use super::object_origin::is_object_read;
use super::origin::Seen;
use super::poll_until;
use super::reply::{End, Gate, Reply};

/// How often each block of 64 KiB was sent by the origin. Requests without a range count as far as
/// they went.
fn times_fetched(asks: &[Ask], size: u64) -> Vec<usize> {
    let blocks = usize::try_from(size.div_ceil(64 * KIB)).unwrap();
    let mut times = vec![0; blocks];
    for ask in asks
        .iter()
        .filter(|ask| ask.is("GET") && ask.sent_bytes > 0)
    {
        let first = match (&ask.range, ask.interval()) {
            (None, _) => 0,
            (_, Some((first, _))) => first,
            (Some(suffix), None) => {
                let length: u64 = suffix.strip_prefix("bytes=-").unwrap().parse().unwrap();
                size.saturating_sub(length)
            }
        };
        let end = first + ask.sent_bytes;
        for block in first / (64 * KIB)..end.div_ceil(64 * KIB) {
            times[usize::try_from(block).unwrap()] += 1;
        }
    }
    times
}

async fn begin(cached: &Cached, path: &str) -> Client {
    let mut client = cached.proxy.connect().await.keep(32 << 20);
    client.send(&get(path).bytes()).await;
    client
}

#[tokio::test]
async fn a_hundred_cold_readers_cause_one_fill_of_each_block() {
    let cached = Cached::start().await;
    let size = 2 * MIB + 5;
    let version = cached.put("lake/a", size);
    cached
        .store
        .bend(|_, reply| reply.after(Duration::from_millis(300)));
    let mut clients = Vec::new();
    for index in 0..100_u64 {
        let mut client = cached.proxy.connect().await.keep(4 << 20);
        let first = index * 10_007 % MIB;
        let call = if index % 2 == 0 {
            get("/lake/a")
        } else {
            ranged("/lake/a", &format!("bytes={first}-{}", first + 200_000))
        };
        client.send(&call.bytes()).await;
        clients.push((index % 2 == 0, first, client));
    }
    let mut collapsed = 0;
    for (is_whole, first, client) in &mut clients {
        let answer = client.answer_to("GET").await.unwrap();
        collapsed += usize::from(answer.cache_status().collapsed);
        if *is_whole {
            answer.expect_whole(&version);
        } else {
            answer.expect_part(&version, *first, *first + 200_000);
        }
    }
    let asks = cached.asks();
    let times = times_fetched(&asks, size);
    assert!(times.iter().all(|times| *times == 1), "{times:?}\n{asks:?}");
    assert!(asks.len() <= 5, "{asks:?}");
    assert!(
        collapsed >= 90,
        "{collapsed} say that they waited for another"
    );
}

#[tokio::test]
async fn followers_have_every_byte_as_it_arrives() {
    let cached = Cached::start().await;
    let version = cached.put("lake/a", MIB);
    let gate = Gate::closed();
    let held = gate.clone();
    cached
        .store
        .bend(move |_, reply| reply.held_at(100_000, &held));
    let mut clients = Vec::new();
    for _ in 0..3 {
        let mut client = begin(&cached, "/lake/a").await;
        let begun = Instant::now();
        let (status, _) = client.read_head().await.unwrap();
        assert_eq!(status, 200);
        let bytes = client.read_raw(100_000).await;
        assert!(version.content.matches(0, &bytes));
        assert!(begun.elapsed() < Duration::from_mins(1));
        clients.push(client);
    }
    gate.open();
    for client in &mut clients {
        let rest = client.read_raw((1 << 20) - 100_000).await;
        assert!(version.content.matches(100_000, &rest));
    }
    let times = times_fetched(&cached.asks(), MIB);
    assert!(times.iter().all(|times| *times == 1), "{times:?}");
}

#[tokio::test]
async fn a_leader_that_leaves_costs_its_followers_nothing() {
    let cached = Cached::start().await;
    let size = 4 * MIB;
    let version = cached.put("lake/a", size);
    let gate = Gate::closed();
    let held = gate.clone();
    cached
        .store
        .bend(move |_, reply| reply.held_at(300_000, &held));
    let mut leader = begin(&cached, "/lake/a").await;
    leader.wait_for_byte().await;
    let mut followers = Vec::new();
    for _ in 0..5 {
        let mut follower = begin(&cached, "/lake/a").await;
        follower.wait_for_byte().await;
        followers.push(follower);
    }
    let running = async || {
        let name = "s3proxy_cache_fills_in_flight";
        cached.proxy.metric(name, "").await
    };
    assert_eq!(running().await, 1);
    drop(leader);
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(running().await, 1);
    gate.open();
    for follower in &mut followers {
        follower
            .answer_to("GET")
            .await
            .unwrap()
            .expect_whole(&version);
    }
    let times = times_fetched(&cached.asks(), size);
    assert!(times.iter().all(|times| *times == 1), "{times:?}");
    cached.settle().await;
    assert_eq!(running().await, 0);
}

/// What is fetched ahead of a read may use half of the connections. When all of those are in use, a read
/// that comes to what is still waiting for one gets one of the others.
#[tokio::test]
async fn what_a_client_has_come_to_wait_for_is_no_longer_ahead_of_it() {
    let cached = CacheSetup::memory()
        .with_memory("1GiB")
        .line("fill_connections: 4")
        .start()
        .await;
    let size = 32 * MIB;
    cached.put("lake/slow", size);
    let version = cached.put("lake/b", size);
    let gate = Gate::closed();
    let held = gate.clone();
    let is_later = |seen: &Seen| {
        let range = seen.field("range");
        range.is_some_and(|range| !range.starts_with("bytes=0-"))
    };
    cached.store.bend(move |seen, reply| {
        if seen.path().ends_with("/slow") && is_later(seen) {
            reply.held(&held)
        } else {
            reply
        }
    });
    let mut slow = begin(&cached, "/lake/slow").await;
    slow.wait_for_byte().await;
    let all_that_may = || cached.store.origin.in_flight() == 2;
    assert!(comes_true(all_that_may).await);
    let mut client = begin(&cached, "/lake/b").await;
    let answer = tokio::time::timeout(Duration::from_secs(20), client.answer_to("GET"));
    let answer = answer.await.expect("it waits for the other's read-ahead");
    answer.unwrap().expect_whole(&version);
    gate.open();
    slow.answer_to("GET").await.unwrap();
}

/// The leader leaves before the origin has said anything.
#[tokio::test]
async fn a_leader_that_leaves_before_the_first_byte_costs_its_followers_nothing() {
    let cached = Cached::start().await;
    let version = cached.put("lake/a", 300_000);
    let gate = Gate::closed();
    let held = gate.clone();
    cached.store.bend(move |_, reply| reply.held(&held));
    let leader = begin(&cached, "/lake/a").await;
    assert!(comes_true(|| cached.store.origin.in_flight() == 1).await);
    let mut follower = begin(&cached, "/lake/a").await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    drop(leader);
    tokio::time::sleep(Duration::from_millis(200)).await;
    gate.open();
    follower
        .answer_to("GET")
        .await
        .unwrap()
        .expect_whole(&version);
    assert!(cached.asks().len() <= 2);
}

#[tokio::test]
async fn nobody_left_stops_the_transfer() {
    let cached = Cached::start().await;
    let size = 200 * MIB;
    cached.put("lake/a", size);
    let mut readers = Vec::new();
    for _ in 0..3 {
        let mut reader = begin(&cached, "/lake/a").await;
        reader.wait_for_byte().await;
        readers.push(reader);
    }
    drop(readers);
    let ended = comes_true(|| cached.store.origin.in_flight() == 0).await;
    assert!(ended, "the origin is still sending to nobody");
    let sent: u64 = cached.asks().iter().map(|ask| ask.sent_bytes).sum();
    assert!(sent < 64 * MIB, "{} MiB were sent to nobody", sent / MIB);
    cached.proxy.wait_until_idle().await;
    let lines = || cached.proxy.logs().matches("operation=GetObject").count();
    poll_until("lines in the access log", || lines() == 3).await;
    let logs = cached.proxy.logs();
    assert!(!logs.contains("code="), "nothing failed: {logs}");
}

/// The origin has not said anything yet, and whoever asked has left.
#[tokio::test]
async fn nobody_left_ends_a_fill_that_is_not_answered() {
    let cached = Cached::start().await;
    let version = cached.put("lake/a", 8 * MIB);
    cached
        .range("/lake/a", "bytes=0-9")
        .await
        .expect_part(&version, 0, 9);
    let gate = Gate::closed();
    let held = gate.clone();
    cached.store.bend(move |_, reply| reply.held(&held));
    let mut reader = cached.proxy.connect().await;
    let call = ranged("/lake/a", "bytes=5000000-5000009");
    reader.send(&call.bytes()).await;
    assert!(comes_true(|| cached.store.origin.in_flight() == 1).await);
    drop(reader);
    let running = async || {
        let name = "s3proxy_cache_fills_in_flight";
        cached.proxy.metric(name, "").await
    };
    let deadline = Instant::now() + Duration::from_secs(10);
    while running().await > 0 {
        assert!(Instant::now() < deadline, "it waits for nobody");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    gate.open();
    cached.expect_all_asks_counted().await;
}

#[tokio::test]
async fn a_cut_body_is_continued_where_it_broke_off() {
    for end in [
        End::CutAfter(MIB + 77),
        End::ResetAfter(MIB + 77),
        End::CutAfter(0),
    ] {
        let cached = Cached::start().await;
        let size = 3 * MIB;
        let version = cached.put("lake/a", size);
        let cuts = AtomicUsize::new(0);
        cached.store.bend(move |seen, reply| {
            let is_first = is_object_read(seen) && cuts.fetch_add(1, Ordering::Relaxed) == 0;
            if is_first { reply.ending(end) } else { reply }
        });
        cached.get("/lake/a").await.expect_whole(&version);
        let asks = cached.asks();
        for ask in &asks[1..] {
            assert_eq!(
                ask.if_match.as_deref(),
                Some(version.etag.as_str()),
                "{end:?} {ask:?}"
            );
        }
        let sent: u64 = asks.iter().map(|ask| ask.sent_bytes).sum();
        // What was under way is lost with a connection that is reset.
        let lost = if matches!(end, End::ResetAfter(_)) {
            MIB + 77
        } else {
            0
        };
        assert!(
            sent <= size + lost + 300_000,
            "{end:?}: {sent} bytes for {size}"
        );
        cached
            .get("/lake/a")
            .await
            .expect_hit()
            .expect_whole(&version);
    }
}

/// It breaks off every time: the client is told in bounded time, by a short body.
#[tokio::test]
async fn a_body_that_always_breaks_off_is_given_up() {
    let cached = Cached::start().await;
    let version = cached.put("lake/a", 4 * MIB);
    cached.store.bend(|seen, reply| {
        if is_object_read(seen) {
            reply.ending(End::CutAfter(10))
        } else {
            reply
        }
    });
    let begun = Instant::now();
    let mut client = cached.proxy.connect().await.keep(8 << 20);
    client.send(&get("/lake/a").bytes()).await;
    if let Some(answer) = client.answer_to("GET").await {
        assert!(
            answer.status >= 500 || !answer.is_complete,
            "{}",
            answer.status
        );
        if answer.status == 200 {
            assert_eq!(version.content.first_difference(0, &answer.body), None);
        }
    }
    assert!(
        begun.elapsed() < Duration::from_mins(2),
        "{:?}",
        begun.elapsed()
    );
    assert!(cached.asks().len() < 50, "asked again and again");
    cached.store.straighten();
    cached.get("/lake/a").await.expect_whole(&version);
}

#[tokio::test]
async fn a_stalled_origin_frees_everything_in_bounded_time() {
    for stalled_at in [None, Some(0), Some(100_000), Some(MIB + 1)] {
        let cached = CacheSetup::memory()
            .origin_key("timeouts: {read: 500ms, connect: 500ms, write: 500ms, total: 5s}")
            .origin_key("max_retries: 1")
            .start()
            .await;
        let version = cached.put("lake/a", 3 * MIB);
        cached.store.bend(move |seen, reply| match stalled_at {
            _ if !is_object_read(seen) => reply,
            None => Reply::stall(),
            Some(bytes) => reply.stalled_at(bytes),
        });
        let begun = Instant::now();
        let mut clients = Vec::new();
        for index in 0..20 {
            let mut client = cached.proxy.connect().await.keep(4 << 20);
            let call = if index % 2 == 0 {
                get("/lake/a")
            } else {
                ranged("/lake/a", "bytes=50000-1500000")
            };
            client.send(&call.bytes()).await;
            clients.push((index % 2 == 0, client));
        }
        for (is_whole, client) in &mut clients {
            let Some(answer) = client.answer_to("GET").await else {
                continue;
            };
            // Taken up three times where it stalled, a part may have become whole.
            assert!(
                answer.status >= 500 || !answer.is_complete || stalled_at.is_some(),
                "{stalled_at:?}: {}",
                answer.status
            );
            if answer.status < 300 {
                let first = if *is_whole { 0 } else { 50_000 };
                assert_eq!(version.content.first_difference(first, &answer.body), None);
            }
        }
        assert!(
            begun.elapsed() < Duration::from_mins(2),
            "{stalled_at:?}: {:?}",
            begun.elapsed()
        );
        cached.proxy.wait_until_idle().await;
        let ended = comes_true(|| cached.store.origin.in_flight() == 0).await;
        assert!(ended, "{stalled_at:?}: connections to the origin stay open");
        cached.store.straighten();
        cached.get("/lake/a").await.expect_whole(&version);
    }
}

#[tokio::test]
async fn errors_of_the_origin_are_passed_on_and_not_kept() {
    for (status, code) in [
        (403, "AccessDenied"),
        (404, "NoSuchKey"),
        (400, "InvalidRequest"),
        (501, "NotImplemented"),
    ] {
        let cached = Cached::start().await;
        let version = cached.put("lake/a", 300_000);
        cached.store.bend(move |_, _| Reply::error(status, code));
        for call in [
            get("/lake/a"),
            ranged("/lake/a", "bytes=0-9"),
            ranged("/lake/a", "bytes=-9"),
        ] {
            let answer = cached.call(&call).await.expect(status, code);
            assert!(!answer.cache_status().stored);
        }
        assert_eq!(cached.head("/lake/a").await.status, status);
        cached.store.straighten();
        cached.get("/lake/a").await.expect_whole(&version);
    }
    // Those that may pass are tried again first.
    for status in [500, 502, 503, 504] {
        let cached = Cached::start().await;
        let version = cached.put("lake/a", 300_000);
        let turn = AtomicUsize::new(0);
        cached
            .store
            .bend(move |_, reply| match turn.fetch_add(1, Ordering::Relaxed) {
                0 | 1 => Reply::error(status, "InternalError"),
                _ => reply,
            });
        cached.get("/lake/a").await.expect_whole(&version);
        cached
            .store
            .bend(move |_, _| Reply::error(status, "InternalError"));
        let answer = cached.range("/lake/b", "bytes=0-9").await;
        answer.expect(status, "InternalError");
    }
}

#[tokio::test]
async fn a_long_read_is_fetched_over_several_connections() {
    let cached = Cached::start().await;
    let size = 48 * MIB;
    let version = cached.put("lake/a", size);
    cached.range("/lake/a", "bytes=0-9").await;
    cached
        .store
        .bend(|_, reply| reply.after(Duration::from_millis(50)));
    cached.asks();
    cached.get("/lake/a").await.expect_whole(&version);
    assert!(
        cached.store.origin.most_in_flight() >= 2,
        "one after the other"
    );
    let asks = cached.asks();
    for ask in &asks {
        let (first, last) = ask.interval().expect("a range");
        assert!(last + 1 - first <= 8 * MIB, "{ask:?}");
        assert_eq!(ask.if_match.as_deref(), Some(version.etag.as_str()));
    }
    let times = times_fetched(&asks, size);
    assert!(times[1..].iter().all(|times| *times == 1), "{times:?}");
}

/// Small reads here and there bring little more than what was asked for.
#[tokio::test]
async fn scattered_reads_are_not_inflated() {
    let cached = Cached::start().await;
    let size = 200 * MIB;
    let version = cached.put("lake/a", size);
    let mut asked = 0;
    for index in 0..40_u64 {
        let first = index * 5 * MIB + 12_345;
        let answer = cached
            .range("/lake/a", &format!("bytes={first}-{}", first + 84_999))
            .await;
        answer.expect_part(&version, first, first + 84_999);
        asked += 85_000;
    }
    let sent: u64 = cached.asks().iter().map(|ask| ask.sent_bytes).sum();
    assert!(sent <= 2 * asked + MIB, "{sent} bytes fetched for {asked}");
}

/// A sequential reader is read ahead of, and pays no more bytes for it than there are.
#[tokio::test]
async fn sequential_reads_are_read_ahead_of() {
    let cached = Cached::start().await;
    let size = 32 * MIB;
    let version = cached.put("lake/a", size);
    let mut client = cached.proxy.connect().await;
    let mut hits = 0;
    for index in 0..64 {
        let first = index * 512 * KIB;
        let last = first + 512 * KIB - 1;
        let answer = client
            .call(&ranged("/lake/a", &format!("bytes={first}-{last}")))
            .await;
        hits += usize::from(answer.cache_status().is_hit);
        answer.expect_part(&version, first, last);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let asks = cached.asks();
    assert!(
        asks.len() < 40,
        "{} requests for 64 reads in a row",
        asks.len()
    );
    assert!(hits > 0, "nothing was read ahead");
    let times = times_fetched(&asks, size);
    assert!(times.iter().all(|times| *times == 1), "{times:?}");
}

/// Neighbouring readers whose gaps are small share one request; far ones do not wait for each other.
#[tokio::test]
async fn the_first_byte_does_not_wait_for_the_last() {
    let cached = Cached::start().await;
    let version = cached.put("lake/a", 8 * MIB);
    cached.store.bend(|seen, reply| {
        if is_object_read(seen) {
            reply.in_pieces(64 << 10, Duration::from_millis(400))
        } else {
            reply
        }
    });
    let begun = Instant::now();
    let mut client = begin(&cached, "/lake/a").await;
    let (status, _) = client.read_head().await.unwrap();
    assert_eq!(status, 200);
    let bytes = client.read_raw(1000).await;
    assert!(version.content.matches(0, &bytes));
    // Before half of its first mebibyte can have come.
    assert!(
        begun.elapsed() < Duration::from_secs(3),
        "{:?}",
        begun.elapsed()
    );
}

#[tokio::test]
async fn isolated_reads_fetch_what_they_ask_for_and_dense_ones_what_follows() {
    let cached = Cached::start().await;
    let block = 64 * KIB;
    let read = async |path: &str, first: u64, blocks: u64| {
        let (start, end) = (first * block, (first + blocks) * block);
        let range = format!("bytes={start}-{}", end - 1);
        cached.range(path, &range).await;
        let asks = cached.asks();
        let intervals = asks.iter().map(|ask| ask.interval().unwrap());
        intervals
            .map(|(first, last)| (first / block, (last + 1) / block))
            .collect::<Vec<_>>()
    };
    cached.put("lake/sparse", 40 * MIB);
    for group in 0..30 {
        let first = group * 16 + 1;
        assert_eq!(read("/lake/sparse", first, 3).await, [(first, first + 3)]);
    }
    let version = cached.put("lake/dense", 40 * MIB);
    for group in 0..4 {
        for first in [0, 4, 8, 12] {
            read("/lake/dense", group * 16 + first, 4).await;
        }
    }
    assert_eq!(read("/lake/dense", 160, 3).await, [(160, 176)]);
    cached
        .range("/lake/dense", "bytes=11000000-11000009")
        .await
        .expect_part(&version, 11_000_000, 11_000_009)
        .expect_hit();
    cached.expect_no_asks("what was fetched along");
    // Also where that is a fill of its own, whose answer comes when the client has left.
    let gate = Gate::closed();
    let held = gate.clone();
    cached.store.bend(move |seen, reply| {
        let range = seen.field("range").unwrap_or_default();
        if range.starts_with(&format!("bytes={}-", 244 * block)) {
            reply.held(&held)
        } else {
            reply
        }
    });
    let mut asks = read("/lake/dense", 212, 32).await;
    asks.sort_unstable();
    assert_eq!(asks, [(212, 244), (244, 256)]);
    gate.open();
    cached.settle().await;
    assert_eq!(read("/lake/dense", 250, 6).await, []);
    let prefetched = "s3proxy_cache_prefetched_bytes_total";
    assert!(cached.proxy.metric(prefetched, "").await >= 13 * block);
}
