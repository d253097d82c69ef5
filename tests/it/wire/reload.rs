//! The configuration is read again while requests are served: by `POST /-/reload`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::cached::{CacheSetup, get};
use super::call::Call;
use super::client::{Answer, Client, PATIENCE};
use super::objects::Version;
use super::origin::Origin;
use super::poll_until;
use super::proxy::{Proxy, Setup, everything, reader, writer};
use super::reply::{Gate, Reply};
use super::sigv4::Key;

impl Proxy {
    /// Replaces a text of the file by another one.
    #[track_caller]
    pub(super) fn rewrite(&self, old: &str, new: &str) {
        let text = std::fs::read_to_string(self.file()).unwrap();
        assert!(text.contains(old), "{old} is not in\n{text}");
        self.write(&text.replace(old, new));
    }

    /// As editors and operators do: another file in the place of the old one.
    pub(super) fn write(&self, text: &str) {
        let beside = self.dir.path().join("s3proxy.yaml.new");
        std::fs::write(&beside, text).unwrap();
        std::fs::rename(beside, self.file()).unwrap();
    }

    pub(super) fn text(&self) -> String {
        std::fs::read_to_string(self.file()).unwrap()
    }

    pub(super) async fn reload(&self) -> (u16, Value) {
        let answer = self.post_json("/-/reload", "").await;
        let report = serde_json::from_str(&answer.text()).expect("JSON");
        (answer.status, report)
    }

    /// Reloads; these keys changed and took effect.
    pub(super) async fn reload_for(&self, changed: &[&str]) -> Value {
        let (status, report) = self.reload().await;
        assert_eq!(
            (status, &report["ok"]),
            (200, &Value::Bool(true)),
            "{report}"
        );
        assert_eq!(report["changed"], Value::from(changed.to_vec()), "{report}");
        report
    }

    pub(super) async fn in_force(&self) -> Value {
        let page = self.page("/-/config").await.expect("a page");
        assert_eq!(page.status, 200);
        serde_json::from_str(&page.text()).expect("JSON")
    }
}

pub(super) fn read_by(key: &Key, path: &str) -> Call {
    Call::get(path).sign(key)
}

#[tokio::test]
async fn a_right_that_was_removed_is_refused_on_the_very_next_request() {
    let cached = CacheSetup::memory().rule("{freshness: 1h}").start().await;
    let version = cached.put("lake/public/a", 5000);
    cached.get("/lake/public/a").await;
    let proxy = &cached.proxy;
    let mut client = proxy.connect().await;
    let link = Call::get("/lake/public/a").presign(&reader(), "600");
    let asked = [
        Call::get("/lake/public/a").sign(&reader()),
        Call::get("/lake/public/a")
            .header("range", "bytes=0-9")
            .sign(&reader()),
        Call::new("HEAD", "/lake/public/a").sign(&reader()),
        link.clone(),
    ];
    for _ in 0..10 {
        for call in &asked {
            assert!(client.call(call).await.expect_hit().status < 300);
        }
        cached.asks();
        proxy.rewrite("prefixes: [public/]", "prefixes: [other/]");
        proxy
            .reload_for(&["clients[reader].allow[0].prefixes"])
            .await;
        for call in &asked {
            let answer = client.call(call).await;
            assert_eq!(answer.status, 403, "{} {}", call.method, call.target);
        }
        cached.expect_no_asks("a refusal");
        // Whoever kept the right has its hits.
        client.call(&get("/lake/public/a")).await.expect_hit();
        proxy.rewrite("prefixes: [other/]", "prefixes: [public/]");
        proxy
            .reload_for(&["clients[reader].allow[0].prefixes"])
            .await;
    }
    client.call(&link).await.expect_hit().expect_whole(&version);
}

#[tokio::test]
async fn clients_and_their_keys_come_and_go() {
    let origin = Origin::start().await;
    let setup = Setup::of(&origin);
    setup.secret("new-secret", "first-secret-of-new");
    let proxy = setup.start().await;
    let text = proxy.text();
    let secret = proxy.dir.path().join("new-secret");
    let added = format!(
        "  - {{name: new, access_key_id: NEWKEY, secret_access_key_file: {}, allow: [{{buckets: [lake], actions: [read]}}]}}\n  - {{name: writer,",
        secret.display()
    );
    let (first, second) = (
        Key::new("NEWKEY", "first-secret-of-new"),
        Key::new("NEWKEY", "second-secret-of-new"),
    );
    let mut client = proxy.connect().await;
    let refused = client.call(&read_by(&first, "/lake/a")).await;
    refused.expect(403, "InvalidAccessKeyId");
    proxy.rewrite("  - {name: writer,", &added);
    proxy.reload_for(&["clients[new] added"]).await;
    client
        .call(&read_by(&first, "/lake/a"))
        .await
        .expect(200, "");
    std::fs::write(&secret, "second-secret-of-new").unwrap();
    let changed = format!("contents of {}", secret.display());
    proxy.reload_for(&[&changed]).await;
    let refused = client.call(&read_by(&first, "/lake/a")).await;
    refused.expect(403, "SignatureDoesNotMatch");
    client
        .call(&read_by(&second, "/lake/a"))
        .await
        .expect(200, "");
    proxy.write(&text);
    proxy.reload_for(&["clients[new] removed"]).await;
    let refused = client.call(&read_by(&second, "/lake/a")).await;
    refused.expect(403, "InvalidAccessKeyId");
    for secret in ["first-secret-of-new", "second-secret-of-new"] {
        assert!(!proxy.logs().contains(secret));
    }
}

/// Requests that were let in go on under what they began with.
#[tokio::test]
async fn a_request_in_flight_ends_as_it_began() {
    let origin = Origin::start().await;
    let gate = Gate::closed();
    let held = gate.clone();
    origin.respond(move |_| Reply::ok("held").held(&held));
    let proxy = Setup::of(&origin).start().await;
    let mut waiting = proxy.connect().await;
    waiting
        .send(&read_by(&reader(), "/lake/public/a").bytes())
        .await;
    origin.wait_for(1).await;
    proxy.rewrite("name: reader", "name: renamed");
    proxy.rewrite("READERKEY", "OTHERKEY");
    proxy
        .reload_for(&["clients[renamed] added", "clients[reader] removed"])
        .await;
    gate.open();
    let answer = waiting.answer_to("GET").await.unwrap().expect(200, "");
    assert_eq!(answer.text(), "held");
    let next = waiting.call(&read_by(&reader(), "/lake/public/a")).await;
    next.expect(403, "InvalidAccessKeyId");
}

/// One client of the load: reads hits and misses over one connection until it is told to stop.
async fn read_until(
    mut client: Client,
    paths: Vec<(String, Arc<Version>)>,
    is_over: Arc<AtomicBool>,
    served: Arc<AtomicUsize>,
) {
    for (path, version) in paths.iter().cycle() {
        if is_over.load(Ordering::Relaxed) {
            return;
        }
        client.send(&read_by(&writer(), path).bytes()).await;
        let answer = client.answer_to("GET").await;
        let answer = answer.expect("the connection is kept");
        answer.expect_whole(version);
        served.fetch_add(1, Ordering::Relaxed);
    }
}

#[tokio::test]
async fn no_request_fails_while_the_file_is_swapped_fifty_times() {
    let cached = CacheSetup::memory()
        .rule("{keys: ['in/hot/*'], freshness: 1h}")
        .rule("{keys: ['in/cold/*'], freshness: bypass}")
        .start()
        .await;
    let is_over = Arc::new(AtomicBool::new(false));
    let served = Arc::new(AtomicUsize::new(0));
    let put = |path: String| {
        let version = cached.put(&path, 30_000);
        (format!("/{path}"), version)
    };
    let hot = put("lake/in/hot/all".to_owned());
    let mut tasks = Vec::new();
    for number in 0..6 {
        let mut paths = vec![hot.clone(), put(format!("lake/in/cold/{number}"))];
        paths.extend((0..20).map(|miss| put(format!("lake/in/{number}/{miss}"))));
        let client = cached.proxy.connect().await;
        let reading = read_until(client, paths, Arc::clone(&is_over), Arc::clone(&served));
        tasks.push(tokio::spawn(reading));
    }
    let proxy = &cached.proxy;
    let good = proxy.text();
    let others = [
        good.replace("in/locked/", "in/closed/"),
        good.replace("freshness: bypass", "freshness: validate"),
        good.replace(
            "    idle_timeout: 15s",
            "    idle_timeout: 14s\n    max_retries: 1",
        ),
        good.replace("name: reader", "name: renamed"),
        format!("limits: {{requests: 100, keepalive_timeout: 50s}}\n{good}"),
        format!("{good}\nnonsense: true\n"),
    ];
    for round in 0..50 {
        let text = if round % 2 == 0 {
            &others[round / 2 % others.len()]
        } else {
            &good
        };
        let before = served.load(Ordering::Relaxed);
        proxy.write(text);
        let (status, report) = proxy.reload().await;
        let expected = if text.contains("nonsense") { 422 } else { 200 };
        assert_eq!(status, expected, "{report}");
        // Some of each configuration.
        poll_until("request", || served.load(Ordering::Relaxed) >= before + 6).await;
    }
    is_over.store(true, Ordering::Relaxed);
    for task in tasks {
        task.await.expect("no request fails");
    }
    assert_eq!(
        proxy
            .metric("s3proxy_config_reloads_total", "applied")
            .await,
        46
    );
    assert_eq!(
        proxy
            .metric("s3proxy_config_reloads_total", "refused")
            .await,
        4
    );
    assert!(served.load(Ordering::Relaxed) >= 300);
}

#[tokio::test]
async fn what_takes_a_restart_is_named_and_is_no_error() {
    let origin = Origin::start().await;
    let proxy = Setup::of(&origin).start().await;
    let address = proxy.address.to_string();
    proxy.rewrite("threads: 2\n", "threads: 3\n");
    proxy.rewrite(&address, "127.0.0.1:1");
    proxy.rewrite("name: reader", "name: renamed");
    let report = proxy
        .reload_for(&["clients[renamed] added", "clients[reader] removed"])
        .await;
    let waits = Value::from(vec![
        "listen[127.0.0.1:1] added".to_owned(),
        format!("listen[{address}] removed"),
        "threads".to_owned(),
    ]);
    assert_eq!(report["needs_restart"], waits);
    let shown = proxy.in_force().await;
    assert_eq!(shown["needs_restart"], waits);
    assert_eq!(shown["config"]["threads"], 2);
    assert_eq!(shown["config"]["listen"][0]["tcp"], address);
    assert_eq!(shown["config"]["clients"][1]["name"], "renamed");
    assert_eq!(shown["last_reload"]["by"], "POST");
    let text = shown.to_string();
    for key in [everything(), Origin::key()] {
        assert!(
            !text.contains(&key.secret) && !text.contains(&key.id),
            "{text}"
        );
    }
    // The same again, for nothing of it has happened.
    assert_eq!(proxy.reload_for(&[]).await["needs_restart"], waits);
}

#[tokio::test]
async fn origins_that_did_not_change_keep_their_connections() {
    let (origin, other) = (Origin::start().await, Origin::start().await);
    let proxy = Setup::of(&origin).start().await;
    let get = async |path: &str| -> Answer {
        let answer = proxy.call(&read_by(&everything(), path)).await;
        answer.expect(200, "")
    };
    get("/lake/a").await;
    let connection = origin.take_one().connection;
    proxy.rewrite("name: reader", "name: renamed");
    proxy
        .reload_for(&["clients[renamed] added", "clients[reader] removed"])
        .await;
    get("/lake/a").await;
    assert_eq!(origin.take_one().connection, connection);
    // Another key pair for the same origin, and another origin before it.
    let rotated = Key::new("ROTATEDKEY", "rotated-secret-8");
    let good = proxy.text();
    let secret = proxy.dir.path().join("origin-secret");
    std::fs::write(&secret, &rotated.secret).unwrap();
    origin.trust(&[rotated]);
    proxy.rewrite("ORIGINKEY", "ROTATEDKEY");
    let contents = format!("contents of {}", secret.display());
    let key = "origins[main].credentials.static.access_key_id";
    proxy.reload_for(&[key, &contents]).await;
    get("/lake/a").await;
    assert_eq!(origin.take_one().signer.as_deref(), Ok("ROTATEDKEY"));
    other.trust(&[Key::new("ORIGINKEY", "rotated-secret-8")]);
    let added = format!(
        "origins:\n  - {{name: pond, endpoint: 'http://{}', buckets: [pond], credentials: {{static: \
         {{access_key_id: ORIGINKEY, secret_access_key_file: {}}}}}}}\n",
        other.address,
        secret.display()
    );
    proxy.rewrite("origins:\n", &added);
    proxy.reload_for(&["origins[pond] added"]).await;
    get("/pond/a").await;
    assert!(other.take_one().signer.is_ok());
    origin.assert_untouched("another's bucket");
    poll_until_probed(&proxy, "pond").await;
    assert!(
        proxy
            .page("/readyz")
            .await
            .unwrap()
            .text()
            .contains("\"pond\"")
    );
    proxy.write(&good.replace("ORIGINKEY", "ROTATEDKEY"));
    proxy.reload_for(&["origins[pond] removed"]).await;
    let metrics = proxy.page("/metrics").await.unwrap().text();
    assert!(!metrics.contains("s3proxy_origin_reachable{origin=\"pond\"}"));
    get("/pond/a").await;
    assert_eq!(origin.take().len(), 1);
    // What the cache may hold by that name is from where it was.
    let moved = added.replace(&other.address.to_string(), "127.0.0.1:9");
    proxy.rewrite("origins:\n", &moved);
    let (status, report) = proxy.reload().await;
    assert_eq!(status, 422, "{report}");
    assert!(
        report["errors"][0]
            .as_str()
            .unwrap()
            .contains("origins[pond].endpoint"),
        "{report}"
    );
}

#[tokio::test]
async fn several_at_once_come_one_after_the_other() {
    let origin = Origin::start().await;
    let proxy = Arc::new(Setup::of(&origin).start().await);
    let tasks = (0..8).map(|_| {
        let proxy = Arc::clone(&proxy);
        tokio::spawn(async move { proxy.reload().await.0 })
    });
    for task in tasks.collect::<Vec<_>>() {
        assert_eq!(task.await.unwrap(), 200);
    }
    assert_eq!(
        proxy
            .metric("s3proxy_config_reloads_total", "applied")
            .await,
        8
    );
}

/// As with a purge: no web page can have it sent.
#[tokio::test]
async fn a_reload_that_nobody_meant_is_refused() {
    let origin = Origin::start().await;
    let proxy = Setup::of(&origin).start().await;
    let admin = proxy.admin;
    for (fields, status) in [
        (format!("host: {admin}\r\n"), 403),
        (
            format!("host: {admin}\r\ncontent-type: text/plain\r\n"),
            403,
        ),
        (
            "host: evil.example\r\nx-s3proxy-reload: 1\r\n".to_owned(),
            421,
        ),
        (format!("host: {admin}\r\nx-s3proxy-reload: 1\r\n"), 200),
    ] {
        let mut client = Client::connect(admin).await;
        let request = format!("POST /-/reload HTTP/1.1\r\n{fields}content-length: 0\r\n\r\n");
        client.send(request.as_bytes()).await;
        assert_eq!(
            client.answer_to("POST").await.unwrap().status,
            status,
            "{fields}"
        );
    }
    assert_eq!(proxy.page("/-/reload").await.unwrap().status, 405);
    assert_eq!(proxy.metric("s3proxy_config_reloads_total", "").await, 1);
}

async fn poll_until_probed(proxy: &Proxy, origin: &str) {
    let shown = format!("s3proxy_origin_reachable{{origin=\"{origin}\"}} 1");
    let deadline = Instant::now() + PATIENCE;
    while !proxy
        .page("/metrics")
        .await
        .unwrap()
        .text()
        .contains(&shown)
    {
        assert!(Instant::now() < deadline, "{origin} is not probed");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
