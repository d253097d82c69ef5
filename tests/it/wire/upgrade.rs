//! Upgrades under load: nobody notices, whatever the new binary and the new file are like.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rustls_pki_types::ServerName;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpStream, UnixListener, UnixStream};
use tokio::task::JoinSet;

use super::cached::{CacheSetup, Cached, KIB, MIB, get, head, put, ranged};
use super::call::Call;
use super::client::Client;
use super::content::Content;
use super::objects::Version;
use super::proxy::{Setup, everything};
use super::tls::Pki;

/// Clients that only read, in each of four ways; two more write, and two are slow.
const READERS: usize = 3;

const UPGRADES: usize = 5;

const OBJECTS: u64 = 8;

/// What the download reads: long enough to begin before the first upgrade and to end after the last.
const DOWNLOAD: u64 = 1 << 30;

/// A program that can be replaced.
struct Program {
    dir: TempDir,
}

impl Program {
    fn new() -> Self {
        let program = Self {
            dir: tempfile::tempdir().unwrap(),
        };
        program.restore();
        program
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("s3proxy")
    }

    /// As a package manager does it: under another name first. Another process writes it: what this
    /// one writes is open in whatever a test starts meanwhile, and is too busy to be started itself.
    fn replace(&self, with: &Path, mode: &str) {
        let new = self.dir.path().join("s3proxy.new");
        let installed = std::process::Command::new("install")
            .args(["-m", mode])
            .args([with, &new])
            .status();
        assert!(installed.unwrap().success());
        fs::rename(new, self.path()).unwrap();
    }

    fn restore(&self) {
        self.replace(Path::new(env!("CARGO_BIN_EXE_s3proxy")), "755");
    }

    fn script(&self, text: &str) {
        self.write(&format!("#!/bin/sh\n{text}\n"), "755");
    }

    fn write(&self, text: &str, mode: &str) {
        let file = self.dir.path().join("text");
        fs::write(&file, text).unwrap();
        self.replace(&file, mode);
    }
}

/// How a client comes to the proxy.
#[derive(Clone)]
enum Way {
    Tcp(std::net::SocketAddr),
    Tls(u16, Arc<Pki>),
    Unix(PathBuf),
}

impl Way {
    async fn connect(&self) -> Client {
        let client = match self {
            Self::Tcp(address) => Client::connect(*address).await,
            Self::Unix(path) => Client::over(Box::new(UnixStream::connect(path).await.unwrap())),
            Self::Tls(port, pki) => {
                let stream = TcpStream::connect(("127.0.0.1", *port)).await.unwrap();
                let name = ServerName::try_from("s3.test").unwrap();
                let stream = pki.connector().connect(name, stream).await.unwrap();
                Client::over(Box::new(stream))
            }
        };
        client.keep(4 << 20)
    }
}

/// What all clients share.
struct Load {
    versions: Vec<Arc<Version>>,
    stop: AtomicBool,
    requests: AtomicU64,
    /// Connections that the proxy closed before a request was answered at all.
    closed: AtomicU64,
}

impl Load {
    fn is_over(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Sends a request over a connection that may have been closed since its last answer: that
    /// is no failure, and every HTTP client sends it again.
    async fn call(
        &self,
        way: &Way,
        kept: &mut Option<Client>,
        call: &Call,
    ) -> super::client::Answer {
        self.requests.fetch_add(1, Ordering::Relaxed);
        if let Some(mut client) = kept.take() {
            if client.send(&call.bytes()).await
                && let Some(answer) = client.answer_to(&call.method).await
            {
                assert!(answer.is_complete, "cut short");
                if answer.field("connection") != Some("close") {
                    *kept = Some(client);
                }
                return answer;
            }
            self.closed.fetch_add(1, Ordering::Relaxed);
        }
        let mut client = way.connect().await;
        client.send(&call.bytes()).await;
        let answer = client.answer_to(&call.method).await.expect("an answer");
        assert!(answer.is_complete, "cut short");
        if answer.field("connection") != Some("close") {
            *kept = Some(client);
        }
        answer
    }
}

async fn read(load: Arc<Load>, way: Way, number: u64, keeps: bool) {
    let mut kept = None;
    let mut turn = number;
    while !load.is_over() {
        turn = turn
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(99);
        let index = (turn >> 33) % OBJECTS;
        let version = &load.versions[usize::try_from(index).unwrap()];
        let first = (turn >> 20) % (200 * KIB);
        let target = format!("/lake/small/{index}");
        if turn >> 60 == 0 {
            let answer = load.call(&way, &mut kept, &head(&target)).await;
            answer.expect_head(version);
        } else {
            let last = first + 50_000;
            let call = ranged(&target, &format!("bytes={first}-{last}"));
            load.call(&way, &mut kept, &call)
                .await
                .expect_part(version, first, last);
        }
        if !keeps {
            kept = None;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn write(load: Arc<Load>, way: Way, number: u64) {
    let mut kept = None;
    let mut turn = 0;
    while !load.is_over() {
        turn += 1;
        let target = format!("/lake/written/{number}");
        let body = Content::Told {
            seed: number << 32 | turn,
            size: 300 * KIB,
        };
        let bytes = body.bytes(0..300 * KIB);
        load.call(&way, &mut kept, &put(&target, &bytes))
            .await
            .expect(200, "");
        let answer = load
            .call(&way, &mut kept, &get(&target))
            .await
            .expect(200, "");
        assert_eq!(
            body.first_difference(0, &answer.body),
            None,
            "of an older write"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// One upload whose parts come before, between and after the upgrades.
async fn upload(load: Arc<Load>, way: Way) -> u64 {
    let key = everything();
    let mut kept = None;
    let begin = Call::new("POST", "/lake/uploaded?uploads").sign(&key);
    let begun = load.call(&way, &mut kept, &begin).await.expect(200, "");
    let id = begun.element("UploadId");
    let mut parts = String::new();
    let mut number = 0;
    while number == 0 || !load.is_over() {
        number += 1;
        let body = Content::Told {
            seed: number,
            size: 200 * KIB,
        }
        .bytes(0..200 * KIB);
        let target = format!("/lake/uploaded?partNumber={number}&uploadId={id}");
        let answer = load
            .call(&way, &mut kept, &put(&target, &body))
            .await
            .expect(200, "");
        let etag = answer.field("etag").unwrap();
        parts += &format!("<Part><PartNumber>{number}</PartNumber><ETag>{etag}</ETag></Part>");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let complete = Call::new("POST", &format!("/lake/uploaded?uploadId={id}"))
        .body(format!(
            "<CompleteMultipartUpload>{parts}</CompleteMultipartUpload>"
        ))
        .sign(&key);
    load.call(&way, &mut kept, &complete).await.expect(200, "");
    let whole = load
        .call(&way, &mut kept, &get("/lake/uploaded"))
        .await
        .expect(200, "");
    assert_eq!(whole.body_bytes, number * 200 * KIB);
    number
}

/// Begins with the first process and ends with it.
async fn download(load: Arc<Load>, way: Way, version: Arc<Version>) {
    let mut client = way.connect().await;
    client.send(&get("/lake/large").bytes()).await;
    let (status, _) = client.read_head().await.expect("a head");
    assert_eq!(status, 200);
    let mut offset = 0;
    while offset < DOWNLOAD {
        let length = usize::try_from((DOWNLOAD - offset).min(MIB)).unwrap();
        let bytes = client.read_raw(length).await;
        assert_eq!(bytes.len(), length, "cut at {offset}");
        assert!(
            version.content.matches(offset, &bytes),
            "wrong bytes at {offset}"
        );
        offset += length as u64;
        // Not before the last upgrade.
        if !load.is_over() && offset > DOWNLOAD / 16 {
            tokio::time::sleep(Duration::from_millis(60)).await;
        }
    }
}

struct Stand {
    program: Program,
    cached: Cached,
    ways: Vec<Way>,
    _root: TempDir,
}

/// A proxy that can be upgraded, on TCP, TLS and a Unix socket, with a disk tier.
async fn stand() -> Stand {
    let program = Program::new();
    let root = tempfile::tempdir().unwrap();
    let pki = Arc::new(Pki::new(&["s3.test"]));
    let files = root.path().to_owned();
    for (name, text) in [("tls.crt", &pki.cert), ("tls.key", &pki.key)] {
        let path = files.join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).unwrap();
    }
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = free.local_addr().unwrap().port();
    drop(free);
    let (path, socket) = (program.path(), files.join("s3.sock"));
    let (cert, key) = (files.join("tls.crt"), files.join("tls.key"));
    let listen = socket.clone();
    let cached = CacheSetup::disk(&files.join("cache"))
        .rule("{keys: ['small/*', large], freshness: immutable}")
        .with(move |setup: Setup| {
            setup
                .program(&path)
                .listen(&format!(
                    "tls: {{addr: '127.0.0.1:{port}', cert_file: {}, key_file: {}}}",
                    cert.display(),
                    key.display()
                ))
                .listen(&format!(
                    "unix: {{path: {}, mode: '0600'}}",
                    listen.display()
                ))
                .top("grace_period_seconds: 120\nupgrade_timeout: 20s")
                .env("RUST_LOG", "info")
        })
        .start()
        .await;
    let ways = vec![
        Way::Tcp(cached.proxy.address),
        Way::Tls(port, pki),
        Way::Unix(socket),
    ];
    Stand {
        program,
        cached,
        ways,
        _root: root,
    }
}

fn versions(cached: &Cached) -> Vec<Arc<Version>> {
    let put = |index| cached.put(&format!("lake/small/{index}"), MIB);
    (0..OBJECTS).map(put).collect()
}

/// Of the requests that the process has answered from the start.
async fn hit_ratio(cached: &Cached) -> f64 {
    let count = async |labels: &str| {
        let name = "s3proxy_cache_requests_total";
        u32::try_from(cached.proxy.metric(name, labels).await).unwrap()
    };
    let (hits, all) = (count("result=\"hit\"").await, count("").await);
    f64::from(hits) / f64::from(all.max(1))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_notices_an_upgrade() {
    let mut stand = stand().await;
    let load = Arc::new(Load {
        versions: versions(&stand.cached),
        stop: AtomicBool::default(),
        requests: AtomicU64::default(),
        closed: AtomicU64::default(),
    });
    let large = stand.cached.put("lake/large", DOWNLOAD);
    let mut clients = JoinSet::new();
    for (number, way) in stand.ways.iter().enumerate() {
        for reader in 0..READERS {
            let seed = (number * READERS + reader) as u64 + 1;
            clients.spawn(read(Arc::clone(&load), way.clone(), seed, true));
        }
        clients.spawn(read(
            Arc::clone(&load),
            way.clone(),
            1000 + number as u64,
            false,
        ));
    }
    for number in 0..2 {
        clients.spawn(write(Arc::clone(&load), stand.ways[0].clone(), number));
    }
    let uploading = tokio::spawn(upload(Arc::clone(&load), stand.ways[1].clone()));
    let downloading = tokio::spawn(download(Arc::clone(&load), stand.ways[0].clone(), large));
    tokio::time::sleep(Duration::from_secs(2)).await;
    let mut processes = Vec::new();
    for _ in 0..UPGRADES {
        let process = stand.cached.proxy.upgrade().await.expect("an upgrade");
        assert!(!processes.contains(&process));
        processes.push(process);
        tokio::time::sleep(Duration::from_secs(2)).await;
        let ratio = hit_ratio(&stand.cached).await;
        println!(
            "process {process}: {:.1} % hits in its first seconds",
            100.0 * ratio
        );
        assert!(ratio > 0.0, "the disk tier is there at once");
    }
    load.stop.store(true, Ordering::Relaxed);
    while let Some(client) = clients.join_next().await {
        client.expect("no request fails");
    }
    let parts = uploading.await.expect("the upload is completed");
    downloading.await.expect("the download is completed");
    let requests = load.requests.load(Ordering::Relaxed);
    let closed = load.closed.load(Ordering::Relaxed);
    println!(
        "{requests} requests, {parts} parts, {closed} idle connections closed under a request"
    );
    assert!(
        requests > 500 && parts > 20,
        "{requests} requests, {parts} parts"
    );
    // All but the last process have ended, by themselves.
    let deadline = Instant::now() + Duration::from_secs(30);
    for process in &processes[..UPGRADES - 1] {
        while Path::new(&format!("/proc/{process}/exe")).exists()
            && fs::read_link(format!("/proc/{process}/exe")).is_ok()
        {
            assert!(Instant::now() < deadline, "process {process} does not end");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upgrade_that_fails_changes_nothing() {
    let mut stand = stand().await;
    let versions = versions(&stand.cached);
    let file = stand.cached.proxy.file();
    let good = fs::read_to_string(&file).unwrap();
    let still_serves = async |stand: &Stand, what: &str| {
        let answer = stand.cached.range("/lake/small/1", "bytes=0-99").await;
        answer.expect_part(&versions[1], 0, 99);
        let mut over_unix = stand.ways[2].connect().await;
        over_unix.call(&head("/lake/small/2")).await.expect(200, "");
        println!("{what}: still serving");
    };
    let hanging = good.replace("upgrade_timeout: 20s", "upgrade_timeout: 4s");
    // Takes effect with the process that reads it.
    fs::write(&file, &hanging).unwrap();
    stand.cached.proxy.upgrade().await.expect("an upgrade");

    stand.program.script("exit 0");
    let error = stand.cached.proxy.upgrade().await.unwrap_err();
    assert!(error.contains("does not serve after 4 s"), "{error}");
    still_serves(&stand, "a binary that ends").await;

    stand.program.script("echo something is wrong >&2; exit 3");
    let error = stand.cached.proxy.upgrade().await.unwrap_err();
    assert!(
        error.contains("exit status: 3: something is wrong"),
        "{error}"
    );
    still_serves(&stand, "a binary that does not pass its test").await;

    stand
        .program
        .script("case \"$*\" in *--test*) exit 0 ;; esac; exec sleep 100");
    let error = stand.cached.proxy.upgrade().await.unwrap_err();
    assert!(error.contains("does not serve after 4 s"), "{error}");
    still_serves(&stand, "a binary that hangs").await;

    stand.program.write("no program", "644");
    let error = stand.cached.proxy.upgrade().await.unwrap_err();
    assert!(error.contains("cannot be started"), "{error}");
    still_serves(&stand, "a file that is no program").await;
    stand.program.restore();

    // The command that asks reads the file too: it is broken behind its back.
    let asking = ask_behind(&stand, &file, "listen: 5\n").await;
    assert!(
        asking.contains("failed: ") && asking.contains("listen"),
        "{asking}"
    );
    still_serves(&stand, "a file that is wrong").await;
    fs::write(&file, &hanging).unwrap();

    successor_that_goes_silent(&stand).await;
    still_serves(&stand, "a successor that takes the sockets and hangs").await;

    let failed = stand
        .cached
        .proxy
        .metric("s3proxy_upgrades_failed_total", "");
    assert_eq!(failed.await, 5);
    stand
        .cached
        .proxy
        .upgrade()
        .await
        .expect("an upgrade at last");
    still_serves(&stand, "the next one").await;
}

/// Two processes with one upgrade socket: the second leaves it to the first.
#[tokio::test]
async fn another_process_does_not_take_the_socket() {
    let mut stand = stand().await;
    let text = fs::read_to_string(stand.cached.proxy.file()).unwrap();
    let mut lines: Vec<&str> = text.lines().collect();
    lines.retain(|line| !line.contains("- tls:") && !line.contains("- unix:"));
    let free = || {
        std::net::TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
    };
    let text = lines
        .join("\n")
        .replace(&stand.cached.proxy.address.to_string(), &free().to_string())
        .replace(&stand.cached.proxy.admin.to_string(), &free().to_string());
    let second = stand.cached.proxy.dir.path().join("second.yaml");
    fs::write(&second, text).unwrap();
    let mut second = stand.cached.proxy.start_another(&second);
    let deadline = Instant::now() + Duration::from_secs(20);
    while !stand
        .cached
        .proxy
        .logs()
        .contains("another process listens there already")
    {
        assert!(Instant::now() < deadline, "no warning");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    stand.cached.proxy.upgrade().await.expect("of the first");
    assert!(second.try_wait().unwrap().is_none(), "the second has gone");
    second.kill().unwrap();
    second.wait().unwrap();
}

async fn ask_behind(stand: &Stand, file: &Path, text: &str) -> String {
    let stream = UnixStream::connect(stand.cached.proxy.dir.path().join("upgrade.control"))
        .await
        .unwrap();
    fs::write(file, text).unwrap();
    let (reader, mut writer) = stream.into_split();
    writer.write_all(b"upgrade\n").await.unwrap();
    let mut lines = BufReader::new(reader).lines();
    let mut last = String::new();
    while let Ok(Some(line)) = lines.next_line().await {
        last = line;
    }
    last
}

/// Does all that a successor does but serve.
async fn successor_that_goes_silent(stand: &Stand) {
    let control = stand.cached.proxy.dir.path().join("upgrade.control");
    let sockets = control.with_extension("sock");
    let _ = fs::remove_file(&sockets);
    let listener = UnixListener::bind(&sockets).unwrap();
    let mut stream = UnixStream::connect(&control).await.unwrap();
    stream.write_all(b"take\n").await.unwrap();
    let (reader, _writer) = stream.split();
    let mut lines = BufReader::new(reader).lines();
    assert_eq!(lines.next_line().await.unwrap().as_deref(), Some("here"));
    let (_taken, _) = listener.accept().await.unwrap();
    // Until the other side has lost patience.
    assert_eq!(lines.next_line().await.unwrap(), None);
}
