//! What one process and one client may take, and that the others do not notice.

use std::time::{Duration, Instant};

use super::call::{Call, Framed};
use super::client::Client;
use super::origin::Origin;
use super::proxy::{Proxy, Setup, everything, reader};
use super::reply::{Payload, Reply};

fn get() -> Call {
    Call::get("/lake/public/a").sign(&everything())
}

#[tokio::test]
async fn connections_are_bounded() {
    let origin = Origin::start().await;
    let proxy = Setup::of(&origin).limit("connections: 3").start().await;
    let mut kept = Vec::new();
    for count in 1..=3 {
        let mut client = proxy.connect().await;
        client.call(&get()).await.expect(200, "");
        // The one that found the proxy ready was accepted before the first of these, and goes.
        wait_for_connections(&proxy, count).await;
        kept.push(client);
    }
    let mut refused = proxy.connect().await;
    let answer = refused
        .answer_to("GET")
        .await
        .expect("an answer without asking");
    assert_eq!((answer.status, answer.code().as_str()), (503, "SlowDown"));
    assert_eq!(answer.field("connection"), Some("close"));
    assert!(refused.is_closed().await);
    assert!(proxy.metric("s3proxy_connections_refused_total", "").await >= 1);
    kept[0].call(&get()).await.expect(200, "");
    drop(kept);
    wait_for_connections(&proxy, 0).await;
    proxy.call(&get()).await.expect(200, "");
}

async fn wait_for_connections(proxy: &Proxy, count: u64) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while proxy.metric("s3proxy_connections", "").await != count {
        assert!(Instant::now() < deadline, "connections stay open");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn requests_are_bounded_in_all_and_by_client() {
    let origin = Origin::start().await;
    origin.respond(|seen| {
        if seen.path().ends_with("slow") {
            Reply::stall()
        } else {
            Reply::ok("ok")
        }
    });
    let proxy = Setup::of(&origin)
        .limit("requests: 5")
        .limit("requests_per_client: 3")
        .start()
        .await;
    let slow = |key| Call::get("/lake/public/slow").sign(&key);
    let mut waiting = Vec::new();
    for _ in 0..3 {
        waiting.push(begin(&proxy, &slow(everything())).await);
    }
    origin.wait_for(3).await;
    let mut client = proxy.connect().await;
    client.call(&get()).await.expect(503, "SlowDown");
    client
        .call(&Call::get("/lake/public/a").sign(&reader()))
        .await
        .expect(200, "");
    for _ in 0..2 {
        waiting.push(begin(&proxy, &slow(reader())).await);
    }
    origin.wait_for(6).await;
    client
        .call(&Call::get("/lake/public/a").sign(&reader()))
        .await
        .expect(503, "SlowDown");
    client
        .call(&Call::get("/lake/public/a"))
        .await
        .expect(503, "SlowDown");
    assert_eq!(origin.seen().len(), 6);
    drop(waiting);
    proxy.wait_until_idle().await;
    client.call(&get()).await.expect(200, "");
}

async fn begin(proxy: &Proxy, call: &Call) -> Client {
    let mut client = proxy.connect().await;
    client.send(&call.bytes()).await;
    client
}

#[tokio::test]
async fn heads_that_dribble_and_connections_that_idle_are_dropped() {
    let origin = Origin::start().await;
    let proxy = Setup::of(&origin)
        .limit("header_timeout: 1s")
        .limit("keepalive_timeout: 1s")
        .start()
        .await;
    let begun = Instant::now();
    let mut silent = proxy.connect().await;
    let mut idle = proxy.connect().await;
    idle.call(&get()).await.expect(200, "");
    let mut dribbling = proxy.connect().await;
    let bytes = get().bytes();
    let mut sent = 0;
    for byte in &bytes {
        if !dribbling.send(&[*byte]).await || begun.elapsed() > Duration::from_secs(10) {
            break;
        }
        sent += 1;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(sent < bytes.len(), "the whole head was waited for");
    assert!(silent.is_closed().await);
    assert!(idle.is_closed().await);
    // A second head that dribbles, on a connection that was good before.
    let begun = Instant::now();
    let mut second = proxy.connect().await;
    second.call(&get()).await.expect(200, "");
    second.send(&bytes[..20]).await;
    let mut sent = 20;
    for byte in &bytes[20..] {
        if !second.send(&[*byte]).await || begun.elapsed() > Duration::from_secs(15) {
            break;
        }
        sent += 1;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(sent < bytes.len(), "the whole second head was waited for");
    assert_eq!(origin.seen().len(), 2);
}

#[tokio::test]
async fn bodies_that_dribble_are_dropped() {
    let origin = Origin::start().await;
    let proxy = Setup::of(&origin)
        .limit("read_timeout: 1s")
        .limit("body_timeout: 2s")
        .start()
        .await;
    let key = everything();
    let delete = "<Delete><Object><Key>a</Key></Object></Delete>";
    let calls = [
        Call::put("/lake/a", vec![1; 1000]).sign_unsigned(&key),
        Call::new("PUT", "/lake/a").framed(&key, &Framed::unsigned(&[1; 1000])),
        Call::new("POST", "/lake?delete")
            .body(delete.repeat(20))
            .sign(&key),
    ];
    for call in calls {
        println!("{} {}", call.method, call.target);
        let mut silent = proxy.connect().await;
        silent.send(&call.head()).await;
        silent.send(&call.body[..10]).await;
        silent
            .answer_to("PUT")
            .await
            .expect("an answer")
            .expect(400, "RequestTimeout");
        let begun = Instant::now();
        let mut dribbling = proxy.connect().await;
        dribbling.send(&call.head()).await;
        for byte in &call.body {
            if !dribbling.send(&[*byte]).await || begun.elapsed() > Duration::from_secs(3) {
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        dribbling
            .answer_to("PUT")
            .await
            .expect("an answer")
            .expect(400, "RequestTimeout");
        assert!(begun.elapsed() < Duration::from_mins(1));
    }
    proxy.wait_until_idle().await;
    assert!(origin.take().iter().all(|seen| !seen.is_complete));
    proxy.call(&get()).await.expect(200, "");
}

/// Readers that do not read and writers that do not write leave the others alone.
#[tokio::test]
async fn slow_clients_do_not_hold_up_a_fast_one() {
    let origin = Origin::start().await;
    origin.respond(|seen| {
        if seen.path().ends_with("large") {
            Reply::new(200, Payload::Pattern(64 << 20))
        } else {
            Reply::ok("ok")
        }
    });
    let proxy = Setup::of(&origin).limit("write_timeout: 5m").start().await;
    let large = Call::get("/lake/large").sign(&everything());
    let mut slow = Vec::new();
    for _ in 0..200 {
        slow.push(begin(&proxy, &large).await);
    }
    let upload = Call::put("/lake/a", vec![1; 100_000]).sign_unsigned(&everything());
    for _ in 0..50 {
        let mut client = proxy.connect().await;
        client.send(&upload.head()).await;
        client.send(&upload.body[..1000]).await;
        slow.push(client);
    }
    origin.wait_for(250).await;
    // Generous, as origin, clients and proxy may share a busy core; held up means five minutes.
    let begun = Instant::now();
    let mut fast = proxy.connect().await;
    for _ in 0..50 {
        fast.call(&get()).await.expect(200, "");
    }
    assert!(
        begun.elapsed() < Duration::from_mins(1),
        "{:?}",
        begun.elapsed()
    );
    let peak = proxy.peak_memory_kib() >> 10;
    assert!(peak < 300, "{peak} MiB for 250 slow clients");
    drop(slow);
    proxy.wait_until_idle().await;
}

/// A reader that takes nothing for longer than `write_timeout` is cut off.
#[tokio::test]
async fn a_reader_that_stops_is_cut_off() {
    let origin = Origin::start().await;
    origin.respond(|_| Reply::new(200, Payload::Pattern(256 << 20)));
    let proxy = Setup::of(&origin).limit("write_timeout: 1s").start().await;
    let begun = Instant::now();
    let _stopped = begin(&proxy, &get()).await;
    origin.wait_for(1).await;
    proxy.wait_until_idle().await;
    assert!(begun.elapsed() < Duration::from_mins(1));
}
