//! Bodies stream: however large, they leave no trace in memory.

use std::time::Duration;

use tokio::time::timeout;

use super::call::{Call, HOST};
use super::origin::Origin;
use super::pattern;
use super::proxy::{Proxy, Setup, everything};
use super::reply::{Payload, Reply};

const PEAK_MIB: u64 = 100;

/// One, or what the environment says.
fn bytes() -> u64 {
    let said = std::env::var("S3PROXY_TEST_GIB");
    said.map_or(1, |text| text.parse::<u64>().expect("a number of GiB")) << 30
}

fn assert_small(proxy: &Proxy) {
    let peak = proxy.peak_memory_kib() >> 10;
    println!("peak {peak} MiB");
    assert!(peak < PEAK_MIB, "{peak} MiB");
}

#[tokio::test]
async fn a_large_download_streams() {
    let origin = Origin::start().await;
    let size = bytes();
    origin.respond(move |_| Reply::new(200, Payload::Pattern(size)));
    let proxy = Setup::of(&origin).start().await;
    let mut client = proxy.connect().await;
    client
        .send(&Call::get("/lake/a").sign(&everything()).bytes())
        .await;
    let reading = client.answer_unbounded("GET");
    let answer = timeout(Duration::from_mins(10), reading)
        .await
        .unwrap()
        .unwrap();
    assert_eq!((answer.status, answer.body_bytes), (200, size));
    assert!(answer.is_complete && answer.is_pattern);
    assert_small(&proxy);
}

#[tokio::test]
async fn a_large_upload_streams() {
    let origin = Origin::start().await;
    let size = bytes();
    let proxy = Setup::of(&origin).start().await;
    let call = Call::new("PUT", "/lake/a")
        .header("host", HOST)
        .header("content-length", &size.to_string())
        .sign_unsigned(&everything());
    let mut client = proxy.connect().await;
    client.send(&call.head()).await;
    let mut sent = 0;
    while sent < size {
        let piece = pattern::piece(sent, size - sent);
        assert!(client.send(piece).await, "after {sent} bytes");
        sent += piece.len() as u64;
    }
    client.answer_to("PUT").await.unwrap().expect(200, "");
    let seen = origin.take_one();
    assert_eq!(seen.body_bytes, size);
    assert!(seen.is_complete && seen.is_pattern && seen.signer.is_ok());
    assert_small(&proxy);
}
