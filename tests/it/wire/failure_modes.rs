//! Each row of the failure modes in docs/operations.md, produced: what a client then sees and what the
//! operator sees stands in the document as it is seen here.

use std::fs;
use std::fs::File;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use rustls_pki_types::ServerName;
use tokio::net::TcpStream;

use super::cache_disk::mounted;
use super::cached::{CacheSetup, MIB, call_keeping, get};
use super::call::Call;
use super::client::{Answer, Client};
use super::object_origin::ObjectOrigin;
use super::origin::Origin;
use super::proxy::{Proxy, Setup, everything};
use super::reply::Reply;
use super::sigv4::date_in;
use super::tls::Pki;

const DOCUMENT: &str = include_str!("../../../docs/operations.md");

/// A row: the failure, what clients see, what the operator sees, what is to be done.
#[derive(Debug)]
struct Row {
    client: &'static str,
    operator: &'static str,
}

fn rows() -> Vec<(&'static str, Row)> {
    let (_, table) = DOCUMENT.split_once("\n## Failure modes\n").unwrap();
    let table = table.split("\n## ").next().unwrap();
    let rows = table.lines().filter(|line| line.starts_with("| **"));
    rows.map(|line| {
        let cells: Vec<_> = line.trim_matches('|').split(" | ").map(str::trim).collect();
        let [failure, client, operator, advice] = cells[..] else {
            panic!("four cells: {line}");
        };
        assert!(!advice.is_empty(), "{line}");
        (failure.trim_matches('*'), Row { client, operator })
    })
    .collect()
}

fn row(failure: &str) -> Row {
    let mut rows = rows().into_iter();
    let found = rows.find(|(name, _)| *name == failure);
    found.unwrap_or_else(|| panic!("no row {failure:?}")).1
}

impl Row {
    /// The client is answered like this.
    fn client(&self, answer: &Answer) {
        let told = format!("{} {}", answer.status, answer.code());
        let told = format!("`{}`", told.trim());
        assert!(self.client.contains(&told), "{told} in {self:?}");
    }

    /// The operator is told of it in the log in these words.
    async fn log(&self, proxy: &Proxy, words: &str) {
        assert!(self.operator.contains(words), "{words} in {self:?}");
        let mut tries = 0..1500;
        while !proxy.logs().contains(words) {
            assert!(tries.next().is_some(), "{words}\n{}", proxy.logs());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// A metric, by which the operator is told of it, soon has such a value.
    async fn metric(&self, proxy: &Proxy, name: &str, label: &str, holds: fn(u64) -> bool) {
        let told = if label.is_empty() {
            format!("`{name}`")
        } else {
            format!("`{name}{{{label}}}`")
        };
        assert!(self.operator.contains(&told), "{told} in {self:?}");
        let mut tries = 0..1500;
        loop {
            let value = proxy.metric(name, label).await;
            if holds(value) {
                return;
            }
            assert!(tries.next().is_some(), "{name} is {value}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// `/readyz` answers with this status and says this.
    async fn ready(&self, proxy: &Proxy, status: u16, words: &str) {
        let told = format!("`/readyz` {status}");
        assert!(self.operator.contains(&told), "{told} in {self:?}");
        assert!(self.operator.contains(words), "{words} in {self:?}");
        let mut tries = 0..1500;
        loop {
            let page = proxy.page("/readyz").await.unwrap();
            if page.status == status && page.text().contains(words) {
                return;
            }
            assert!(tries.next().is_some(), "{} {}", page.status, page.text());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

/// Every row is of a test here.
#[test]
fn every_row_is_produced() {
    let own = include_str!("failure_modes.rs");
    let rows = rows();
    assert!(rows.len() >= 13, "{rows:?}");
    for (failure, _) in rows {
        let produced = format!("row(\"{failure}\")");
        assert!(own.contains(&produced), "no test has {produced}");
    }
}

fn read() -> Call {
    Call::get("/lake/a").sign(&everything())
}

fn one_hour(dir: &std::path::Path) -> CacheSetup {
    CacheSetup::disk(dir)
        .with_memory("0")
        .rule("{freshness: 1h}")
}

#[tokio::test]
async fn the_disk_is_full() {
    if !mounted::is_possible() {
        return;
    }
    let row = row("The disk is full");
    let dir = tempfile::tempdir().unwrap();
    fs::set_permissions(dir.path(), PermissionsExt::from_mode(0o700)).unwrap();
    let mount = format!(
        "mount -t tmpfs -o size=4m,mode=700 tmpfs {0}",
        dir.path().display()
    );
    let store = ObjectOrigin::start().await;
    let proxy = one_hour(&dir.path().join("cache"))
        .with(move |setup| setup.within(&mount))
        .before(&store)
        .await;
    // Another program takes all that is left.
    let seen_by_proxy = format!("/proc/{}/root{}", proxy.id(), dir.path().display());
    let mut other = File::create(format!("{seen_by_proxy}/other")).unwrap();
    while other.write_all(&[1; 4096]).is_ok() {}
    let version = store.objects.put("lake/a", MIB);
    for _ in 0..3 {
        let answer = call_keeping(&proxy, &get("/lake/a")).await;
        row.client(&answer);
        answer.expect_whole(&version);
    }
    row.log(&proxy, "disk cache read_only, no space left").await;
    row.ready(&proxy, 200, "\"fault\":\"no space left\"").await;
    let name = "s3proxy_cache_disk_state";
    row.metric(&proxy, name, "state=\"read_only\"", |state| state == 1)
        .await;
    let name = "s3proxy_cache_disk_writes_dropped_total";
    row.metric(&proxy, name, "", |dropped| dropped > 0).await;
}

#[tokio::test]
async fn the_disk_is_nearly_full() {
    if !mounted::is_possible() {
        return;
    }
    let row = row("The disk is nearly full");
    let dir = tempfile::tempdir().unwrap();
    fs::set_permissions(dir.path(), PermissionsExt::from_mode(0o700)).unwrap();
    let mount = format!(
        "mount -t tmpfs -o size=64m,mode=700 tmpfs {0} && head -c 40m /dev/zero > {0}/other",
        dir.path().display()
    );
    let store = ObjectOrigin::start().await;
    let proxy = one_hour(&dir.path().join("cache"))
        .with_disk("32MiB")
        .with(move |setup| setup.within(&mount))
        .before(&store)
        .await;
    let version = store.objects.put("lake/a", MIB);
    let answer = call_keeping(&proxy, &get("/lake/a")).await;
    row.client(&answer);
    answer.expect_whole(&version);
    row.log(&proxy, "less than asked for").await;
    let name = "s3proxy_cache_capacity_bytes";
    let is_less = |bytes| bytes > 16 << 20 && bytes < 32 << 20;
    row.metric(&proxy, name, "tier=\"disk\"", is_less).await;
}

#[tokio::test]
async fn the_disk_is_gone() {
    let row = row("The cache directory is gone");
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("cache");
    let store = ObjectOrigin::start().await;
    let version = store.objects.put("lake/a", MIB);
    let proxy = one_hour(&dir).before(&store).await;
    call_keeping(&proxy, &get("/lake/a")).await;
    // A file stands in the way of making it again.
    fs::rename(&dir, root.path().join("elsewhere")).unwrap();
    fs::write(&dir, "a file").unwrap();
    row.log(&proxy, "the directory is gone").await;
    let answer = call_keeping(&proxy, &get("/lake/a")).await;
    row.client(&answer);
    answer.expect_whole(&version);
    row.ready(&proxy, 200, "\"fault\":\"the directory is gone\"")
        .await;
    fs::remove_file(&dir).unwrap();
    row.log(&proxy, "disk cache serving again").await;
}

#[tokio::test]
async fn the_disk_is_read_only() {
    if !mounted::is_possible() {
        return;
    }
    let row = row("The disk turns read-only");
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("cache");
    let store = ObjectOrigin::start().await;
    let version = store.objects.put("lake/a", MIB);
    drop(one_hour(&dir).before(&store).await);
    let mount = format!(
        "mount --bind {0} {0} && mount -o remount,bind,ro {0}",
        dir.display()
    );
    let proxy = one_hour(&dir)
        .with(move |setup| setup.within(&mount))
        .before(&store)
        .await;
    let answer = call_keeping(&proxy, &get("/lake/a")).await;
    row.client(&answer);
    answer.expect_whole(&version);
    row.log(&proxy, "disk cache read_only, not writable").await;
    row.ready(&proxy, 200, "\"fault\":\"not writable\"").await;
}

#[tokio::test]
async fn an_origin_is_down() {
    let row = row("An origin is down");
    let store = ObjectOrigin::start().await;
    let setup = CacheSetup::memory().rule("{freshness: 1h}");
    let proxy = setup.before(&store).await;
    let version = store.objects.put("lake/a", MIB);
    store.objects.put("lake/b", MIB);
    call_keeping(&proxy, &get("/lake/a")).await;
    drop(store);
    let hit = call_keeping(&proxy, &get("/lake/a")).await;
    row.client(&hit);
    hit.expect_hit().expect_whole(&version);
    let miss = call_keeping(&proxy, &get("/lake/b")).await;
    row.client(&miss);
    assert_eq!(miss.status, 503);
    let name = "s3proxy_upstream_errors_total";
    row.metric(&proxy, name, "", |errors| errors > 0).await;
    row.log(&proxy, "origin main is unreachable").await;
    row.ready(&proxy, 503, "\"reachable\":false").await;
    let name = "s3proxy_origin_reachable";
    row.metric(&proxy, name, "", |reachable| reachable == 0)
        .await;
}

#[tokio::test]
async fn an_origin_is_slow() {
    let row = row("An origin does not answer");
    let store = ObjectOrigin::start().await;
    let setup = CacheSetup::memory()
        .rule("{freshness: 1h}")
        .origin_key("timeouts: {read: 100ms}");
    let proxy = setup.before(&store).await;
    let version = store.objects.put("lake/a", MIB);
    store.objects.put("lake/b", MIB);
    call_keeping(&proxy, &get("/lake/a")).await;
    store.bend(|_, _| Reply::stall());
    let miss = call_keeping(&proxy, &get("/lake/b")).await;
    row.client(&miss);
    assert_eq!(miss.status, 503);
    let hit = call_keeping(&proxy, &get("/lake/a")).await;
    row.client(&hit);
    hit.expect_hit().expect_whole(&version);
    let name = "s3proxy_upstream_errors_total";
    row.metric(&proxy, name, "kind=\"timeout\"", |late| late > 0)
        .await;
}

#[tokio::test]
async fn an_origin_is_overloaded() {
    let row = row("An origin answers 503");
    let store = ObjectOrigin::start().await;
    let setup = CacheSetup::memory().rule("{freshness: 1s, stale_if_error: 1h}");
    let proxy = setup.before(&store).await;
    let version = store.objects.put("lake/a", MIB);
    store.objects.put("lake/b", MIB);
    call_keeping(&proxy, &get("/lake/a")).await;
    store.bend(|_, _| Reply::error(503, "SlowDown"));
    tokio::time::sleep(Duration::from_millis(1100)).await;
    let stale = call_keeping(&proxy, &get("/lake/a")).await;
    row.client(&stale);
    stale.expect_whole(&version);
    let miss = call_keeping(&proxy, &get("/lake/b")).await;
    row.client(&miss);
    assert_eq!((miss.status, miss.code().as_str()), (503, "SlowDown"));
    let name = "s3proxy_upstream_retries_total";
    row.metric(&proxy, name, "", |retries| retries > 0).await;
}

#[tokio::test]
async fn credentials_have_expired() {
    let row = row("The origin's credentials have expired");
    let store = ObjectOrigin::start().await;
    let setup = CacheSetup::memory().rule("{freshness: 1h}");
    let proxy = setup.before(&store).await;
    let version = store.objects.put("lake/a", MIB);
    store.objects.put("lake/b", MIB);
    call_keeping(&proxy, &get("/lake/a")).await;
    store.bend(|_, _| Reply::error(400, "ExpiredToken"));
    let hit = call_keeping(&proxy, &get("/lake/a")).await;
    row.client(&hit);
    hit.expect_hit().expect_whole(&version);
    let list = Call::get("/lake?list-type=2").sign(&everything());
    let batch = "<Delete><Object><Key>a</Key></Object></Delete>";
    let batch = Call::new("POST", "/lake?delete").body(batch);
    let (name, label) = ("s3proxy_upstream_errors_total", "kind=\"credentials\"");
    let counts: [fn(u64) -> bool; 3] = [|all| all == 1, |all| all == 2, |all| all == 3];
    let calls = [get("/lake/b"), list, batch.sign(&everything())];
    for (call, count) in calls.iter().zip(counts) {
        row.client(&proxy.call(call).await);
        row.metric(&proxy, name, label, count).await;
    }
    row.log(&proxy, "rejects our credentials with ExpiredToken")
        .await;
}

#[tokio::test]
async fn a_clients_clock_is_wrong() {
    let row = row("A client's clock is wrong");
    let origin = Origin::start().await;
    let proxy = Setup::of(&origin).start().await;
    let late = Call::get("/lake/a").sign_at(&everything(), &date_in(-1000), "UNSIGNED-PAYLOAD");
    row.client(&proxy.call(&late).await);
    origin.assert_untouched("a request of another time");
    let label = "code=\"RequestTimeTooSkewed\"";
    let name = "s3proxy_requests_refused_total";
    row.metric(&proxy, name, label, |refused| refused == 1)
        .await;
}

#[tokio::test]
async fn the_proxys_clock_is_wrong() {
    let row = row("This machine's clock is wrong");
    let origin = Origin::start().await;
    let proxy = Setup::of(&origin).start().await;
    origin.set_clock_ahead(Duration::from_hours(1));
    origin.respond(|_| Reply::error(403, "RequestTimeTooSkewed"));
    row.client(&proxy.call(&read()).await);
    row.log(&proxy, "rejects our credentials with RequestTimeTooSkewed")
        .await;
    let (name, label) = ("s3proxy_upstream_errors_total", "kind=\"credentials\"");
    row.metric(&proxy, name, label, |rejected| rejected == 1)
        .await;
}

#[tokio::test]
async fn too_many_connections() {
    let row = row("Too many connections");
    let origin = Origin::start().await;
    let proxy = Setup::of(&origin).limit("connections: 8").start().await;
    let mut kept = Vec::new();
    let refused = loop {
        let mut client = proxy.connect().await;
        client.send(&read().bytes()).await;
        match client.answer_to("GET").await {
            Some(answer) if answer.status == 200 => kept.push(client),
            answer => break answer.expect("an answer"),
        }
        assert!(kept.len() <= 8);
    };
    row.client(&refused);
    kept[0].call(&read()).await.expect(200, "");
    let name = "s3proxy_connections_refused_total";
    row.metric(&proxy, name, "", |refused| refused == 1).await;
}

#[tokio::test]
async fn too_many_requests() {
    let row = row("Too many requests of one client");
    let origin = Origin::start().await;
    origin.respond(|_| Reply::stall());
    let setup = Setup::of(&origin).limit("requests_per_client: 2");
    let proxy = setup.start().await;
    let mut waiting = Vec::new();
    for _ in 0..2 {
        let mut client = proxy.connect().await;
        client.send(&read().bytes()).await;
        waiting.push(client);
    }
    origin.wait_for(2).await;
    row.client(&proxy.call(&read()).await);
    let label = "code=\"SlowDown\"";
    let name = "s3proxy_requests_refused_total";
    row.metric(&proxy, name, label, |refused| refused == 1)
        .await;
}

#[tokio::test]
async fn a_listeners_certificate_has_expired() {
    let row = row("A listener's certificate has expired");
    let origin = Origin::start().await;
    let pki = Pki::valid_until(&["s3.test"], 2020);
    let setup = Setup::of(&origin);
    let cert = setup.secret("tls.crt", &pki.cert);
    let key = setup.secret("tls.key", &pki.key);
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .and_then(|listener| listener.local_addr())
        .unwrap()
        .port();
    let item = format!(
        "tls: {{addr: '127.0.0.1:{port}', cert_file: {}, key_file: {}}}",
        cert.display(),
        key.display()
    );
    let proxy = setup.listen(&item).start().await;
    let stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let name = ServerName::try_from("s3.test").unwrap();
    let refusal = pki.connector().connect(name, stream).await.unwrap_err();
    assert!(refusal.to_string().contains("xpired"), "{refusal}");
    assert!(row.client.contains("refuse the connection"), "{row:?}");
    row.log(&proxy, "has expired: clients refuse it").await;
    let name = "s3proxy_certificate_expires_timestamp_seconds";
    // 2020 and 2021 began then.
    let years = 1_577_836_800..1_609_459_200;
    assert!(years.contains(&proxy.metric(name, "").await));
    row.metric(&proxy, name, "", |expires| expires < 1_609_459_200)
        .await;
    // Plain HTTP is served as before.
    let mut plain = Client::connect(proxy.address).await;
    plain.call(&read()).await.expect(200, "");
}

#[tokio::test]
async fn an_origins_certificate_has_expired() {
    let row = row("An origin's certificate has expired");
    let pki = Pki::valid_until(&["localhost"], 2020);
    let origin = Origin::start_tls(pki.acceptor()).await;
    let dir = tempfile::tempdir().unwrap();
    let authority = dir.path().join("ca.pem");
    fs::write(&authority, &pki.ca).unwrap();
    let endpoint = format!("https://localhost:{}", origin.address.port());
    let keys = [format!("ca_file: {}", authority.display())];
    let proxy = Setup::at(&endpoint, &[&keys[0]]).start_unready().await;
    row.client(&proxy.call(&read()).await);
    origin.assert_untouched("an expired certificate");
    row.ready(&proxy, 503, "\"error\":\"tls\"").await;
    row.log(&proxy, "origin main is unreachable: tls").await;
    let (name, label) = ("s3proxy_upstream_errors_total", "kind=\"tls\"");
    row.metric(&proxy, name, label, |refused| refused > 0).await;
}
