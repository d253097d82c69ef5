//! Where the access log goes: no line is lost by rotation or an upgrade, and what cannot be written
//! is counted while requests go on.

use std::collections::HashSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::task::JoinSet;

use super::cache_disk::mounted;
use super::call::Call;
use super::origin::Origin;
use super::poll_until;
use super::proxy::{Proxy, Setup, everything};

fn with_file(origin: &Origin) -> (Setup, PathBuf) {
    let setup = Setup::of(origin);
    let path = setup.dir.path().join("access.log");
    let to = format!("access_log: {{to: {}}}", path.display());
    (setup.top(&to), path)
}

fn get() -> Call {
    Call::get("/lake/a").sign(&everything())
}

/// Clients that ask until they are told to stop, and count the answers.
struct Load {
    clients: JoinSet<()>,
    is_over: Arc<AtomicBool>,
    answers: Arc<AtomicU64>,
}

impl Load {
    fn on(proxy: &Proxy) -> Self {
        let mut load = Self {
            clients: JoinSet::new(),
            is_over: Arc::default(),
            answers: Arc::default(),
        };
        for _ in 0..4 {
            let (is_over, answers) = (Arc::clone(&load.is_over), Arc::clone(&load.answers));
            let address = proxy.address;
            load.clients.spawn(async move {
                while !is_over.load(Ordering::Relaxed) {
                    // A process that is replaced closes its connections.
                    let mut client = super::client::Client::connect(address).await;
                    for _ in 0..8 {
                        let answer = client.call(&get()).await.expect(200, "");
                        answers.fetch_add(1, Ordering::Relaxed);
                        if answer.field("connection") == Some("close") {
                            break;
                        }
                    }
                }
            });
        }
        load
    }

    async fn wait_for_more(&self, answers: u64) {
        let enough = self.answers.load(Ordering::Relaxed) + answers;
        poll_until("answers", || self.answers.load(Ordering::Relaxed) >= enough).await;
    }

    async fn end(mut self) -> u64 {
        self.is_over.store(true, Ordering::Relaxed);
        while let Some(client) = self.clients.join_next().await {
            client.unwrap();
        }
        self.answers.load(Ordering::Relaxed)
    }
}

/// The ids of all requests in a log, each of whose lines is whole.
fn ids(log: &str) -> Vec<String> {
    let id = |line: &str| {
        let mut fields = line.split(' ');
        assert!(fields.next().unwrap().starts_with("time="), "{line}");
        assert!(line.contains(" origin_requests=1"), "{line}");
        let id = fields.next().unwrap().strip_prefix("request_id=");
        id.unwrap().to_owned()
    };
    log.lines().map(id).collect()
}

fn lines(path: &Path) -> usize {
    fs::read_to_string(path).map_or(0, |log| log.lines().count())
}

/// How many requests are in these files, each of them once.
fn requests_in(paths: &[PathBuf]) -> u64 {
    let read = |path: &PathBuf| ids(&fs::read_to_string(path).unwrap());
    let all: Vec<String> = paths.iter().flat_map(read).collect();
    let different: HashSet<&String> = all.iter().collect();
    assert_eq!(different.len(), all.len());
    all.len() as u64
}

#[tokio::test]
async fn rotation_under_load_loses_no_line() {
    let origin = Origin::start().await;
    let (setup, path) = with_file(&origin);
    let proxy = setup.start().await;
    let load = Load::on(&proxy);
    let mut files = Vec::new();
    for turn in 1..=5 {
        load.wait_for_more(50).await;
        let old = path.with_extension(turn.to_string());
        fs::rename(&path, &old).unwrap();
        // Lines still go there, until the signal.
        let before = lines(&old);
        poll_until("line", || lines(&old) > before).await;
        proxy.signal("USR1");
        poll_until("file", || path.exists()).await;
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o640);
        let settled = lines(&old);
        load.wait_for_more(20).await;
        poll_until("line", || lines(&path) > 0).await;
        assert_eq!(lines(&old), settled);
        files.push(old);
    }
    let answers = load.end().await;
    files.push(path);
    poll_until("last line", || {
        files.iter().map(|path| lines(path) as u64).sum::<u64>() >= answers
    })
    .await;
    assert_eq!(requests_in(&files), answers);
    assert!(!proxy.logs().contains("request_id="), "{}", proxy.logs());
}

#[tokio::test]
async fn an_idle_process_makes_the_new_file_at_once() {
    let origin = Origin::start().await;
    let (setup, path) = with_file(&origin);
    let proxy = setup.start().await;
    fs::remove_file(&path).unwrap();
    proxy.signal("USR1");
    poll_until("file", || path.exists()).await;
}

#[tokio::test]
async fn two_processes_write_whole_lines_to_one_file() {
    let origin = Origin::start().await;
    let (setup, path) = with_file(&origin);
    let mut proxy = setup.start().await;
    let load = Load::on(&proxy);
    let moved = path.with_extension("1");
    let mut process = 0;
    for _ in 0..2 {
        load.wait_for_more(50).await;
        process = proxy.upgrade().await.unwrap();
    }
    load.wait_for_more(50).await;
    fs::rename(&path, &moved).unwrap();
    let process = rustix::process::Pid::from_raw(process.cast_signed()).unwrap();
    rustix::process::kill_process(process, rustix::process::Signal::USR1).unwrap();
    poll_until("file", || path.exists()).await;
    load.wait_for_more(50).await;
    let answers = load.end().await;
    let files = [path, moved];
    poll_until("last line", || {
        files.iter().map(|path| lines(path) as u64).sum::<u64>() >= answers
    })
    .await;
    assert_eq!(requests_in(&files), answers);
}

#[tokio::test]
async fn a_full_disk_costs_lines_but_no_request() {
    if !mounted::is_possible() {
        return;
    }
    let origin = Origin::start().await;
    let setup = Setup::of(&origin);
    let logs = setup.dir.path().join("logs");
    fs::create_dir(&logs).unwrap();
    let to = format!("access_log: {{to: {}/access.log}}", logs.display());
    let mount = format!("mount -t tmpfs -o size=32k tmpfs {}", logs.display());
    let proxy = setup.top(&to).within(&mount).start().await;
    // As the proxy sees it.
    let seen = PathBuf::from(format!("/proc/{}/root{}", proxy.process(), logs.display()));
    let path = seen.join("access.log");
    let dropped = "s3proxy_access_log_dropped_total";
    let mut client = proxy.connect().await;
    let mut requests = 0;
    while proxy.metric(dropped, "").await < 20 {
        for _ in 0..20 {
            client.call(&get()).await.expect(200, "");
            requests += 1;
        }
        assert!(requests < 2000, "nothing is dropped");
    }
    // All that was asked so far is either there or counted.
    tokio::time::sleep(Duration::from_millis(200)).await;
    let full = fs::read_to_string(&path).unwrap();
    let whole = full
        .lines()
        .filter(|line| line.contains(" origin_requests="));
    let whole = whole.count() as u64;
    assert_eq!(whole + proxy.metric(dropped, "").await, requests);
    let told = "the access log loses lines";
    assert_eq!(proxy.logs().matches(told).count(), 1, "{}", proxy.logs());
    // Somebody makes room.
    fs::File::options()
        .write(true)
        .open(&path)
        .unwrap()
        .set_len(0)
        .unwrap();
    let lost = proxy.metric(dropped, "").await;
    for _ in 0..5 {
        client.call(&get()).await.expect(200, "");
    }
    let log = || fs::read_to_string(&path).unwrap();
    poll_until("lines", || log().matches("request_id=").count() == 5).await;
    assert_eq!(ids(log().trim_start_matches('\n')).len(), 5);
    assert_eq!(proxy.metric(dropped, "").await, lost);
    let told = format!("the access log is written again; {lost} lines were lost");
    poll_until("word", || proxy.logs().contains(&told)).await;
}

#[tokio::test]
async fn the_journal_gets_an_entry_with_fields() {
    if !mounted::is_possible() {
        return;
    }
    let origin = Origin::start().await;
    let setup = Setup::of(&origin);
    let journal = setup.dir.path().join("journal");
    fs::create_dir(&journal).unwrap();
    let socket = UnixDatagram::bind(journal.join("socket")).unwrap();
    socket
        .set_read_timeout(Some(Duration::from_secs(30)))
        .unwrap();
    let mount = format!(
        "mount -t tmpfs -o mode=755 tmpfs /run && mkdir -p /run/systemd/journal && mount --bind {} /run/systemd/journal",
        journal.display()
    );
    let setup = setup.top("access_log: {to: journald, format: json}");
    let proxy = setup.within(&mount).start().await;
    proxy.call(&get()).await.expect(200, "");
    let entry = tokio::task::spawn_blocking(move || {
        let mut datagram = vec![0; 1 << 16];
        let length = socket.recv(&mut datagram).unwrap();
        String::from_utf8(datagram[..length].to_vec()).unwrap()
    });
    let entry = entry.await.unwrap();
    let fields: Vec<(&str, &str)> = entry
        .lines()
        .map(|line| line.split_once('=').unwrap())
        .collect();
    let value = |name: &str| {
        let field = fields.iter().find(|field| field.0 == name);
        field.unwrap_or_else(|| panic!("no {name} in {entry}")).1
    };
    let message: serde_json::Value = serde_json::from_str(value("MESSAGE")).unwrap();
    assert_eq!(message["request_id"], value("S3PROXY_REQUEST_ID"));
    for (name, expected) in [
        ("PRIORITY", "6"),
        ("SYSLOG_IDENTIFIER", "s3proxy"),
        ("S3PROXY_CLIENT", "everything"),
        ("S3PROXY_BUCKET", "lake"),
        ("S3PROXY_KEY", "a"),
        ("S3PROXY_STATUS", "200"),
    ] {
        assert_eq!(value(name), expected, "{name}");
    }
}
