//! SIGHUP: it reloads, and never ends the process.

use std::io::Write;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::call::Call;
use super::origin::Origin;
use super::poll_until;
use super::proxy::{Setup, everything, reader};
use super::reply::{Gate, Reply};

#[tokio::test]
async fn a_hangup_reloads() {
    let origin = Origin::start().await;
    let mut proxy = Setup::of(&origin).start().await;
    let mut client = proxy.connect().await;
    let call = || Call::get("/lake/public/a").sign(&reader());
    client.call(&call()).await.expect(200, "");
    let good = proxy.text();
    proxy.write("nonsense");
    proxy.signal("HUP");
    poll_until("refusal", || {
        proxy.logs().contains("is refused, what was in force stays")
    })
    .await;
    client.call(&call()).await.expect(200, "");
    proxy.write(&good.replace("prefixes: [public/]", "prefixes: [other/]"));
    proxy.signal("HUP");
    let told = "changed: clients[reader].allow[0].prefixes";
    poll_until("reload", || proxy.logs().contains(told)).await;
    client.call(&call()).await.expect(403, "AccessDenied");
    let shown = proxy.in_force().await;
    assert_eq!(shown["last_reload"]["by"], "SIGHUP");
    assert_eq!(shown["last_reload"]["outcome"], "applied");
    assert!(proxy.is_running());
}

#[tokio::test]
async fn a_hangup_while_the_process_stops_is_answered_and_nothing_more() {
    let origin = Origin::start().await;
    let gate = Gate::closed();
    let held = gate.clone();
    origin.respond(move |_| Reply::ok("held").held(&held));
    let mut proxy = Setup::of(&origin).start().await;
    let mut waiting = proxy.connect().await;
    waiting
        .send(&Call::get("/lake/a").sign(&everything()).bytes())
        .await;
    origin.wait_for(1).await;
    proxy.signal("TERM");
    // The signal is seen by another thread than the next one.
    tokio::time::sleep(Duration::from_millis(500)).await;
    proxy.signal("HUP");
    let told = "the process is stopping: nothing is reloaded any more";
    poll_until("word", || proxy.logs().contains(told)).await;
    assert!(proxy.is_running());
    gate.open();
    waiting.answer_to("GET").await.unwrap().expect(200, "");
}

struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Killed {
    fn pid(&self) -> u32 {
        self.0.id()
    }

    fn hang_up(&self) {
        let pid = self.pid().to_string();
        assert!(
            Command::new("kill")
                .args(["-s", "HUP", &pid])
                .status()
                .unwrap()
                .success()
        );
    }

    /// Whether SIGHUP, the first signal, is caught.
    fn catches(&self) -> bool {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
        u64::from_str_radix(caught.unwrap().trim(), 16).unwrap() & 1 == 1
    }
}

fn port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

/// The file is a pipe, so the process waits for it when the signal comes.
#[tokio::test]
async fn a_hangup_before_the_file_is_read_is_not_lost() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("s3proxy.yaml");
    assert!(
        Command::new("mkfifo")
            .arg(&file)
            .status()
            .unwrap()
            .success()
    );
    let log = dir.path().join("log");
    let mut child = Command::new(env!("CARGO_BIN_EXE_s3proxy"));
    child
        .arg("-c")
        .arg(&file)
        .env_clear()
        .env("HOME", dir.path())
        .env("SECRET", "secret-of-a");
    child.stdin(Stdio::null()).stdout(Stdio::null());
    child.stderr(std::fs::File::create(&log).unwrap());
    let mut child = Killed(child.spawn().unwrap());
    poll_until("handler", || child.catches()).await;
    child.hang_up();
    let (client, admin) = (port(), port());
    let text = |name: &str| {
        format!(
            "listen: [{{tcp: '127.0.0.1:{client}'}}]\nadmin: 127.0.0.1:{admin}\n\
             origins: [{{endpoint: 'http://127.0.0.1:9'}}]\n\
             clients: [{{name: {name}, access_key_id: AKEY, secret_access_key_env: SECRET}}]\n"
        )
    };
    let first = text("first");
    let written = tokio::task::spawn_blocking({
        let file = file.clone();
        move || {
            let mut pipe = std::fs::OpenOptions::new().write(true).open(file).unwrap();
            let beside = pipe.write_all(first.as_bytes());
            drop(pipe);
            beside
        }
    });
    written.await.unwrap().unwrap();
    // Whoever opens the name from now on finds a file.
    let beside = dir.path().join("new");
    std::fs::write(&beside, text("second")).unwrap();
    std::fs::rename(beside, &file).unwrap();
    let told = || std::fs::read_to_string(&log).unwrap();
    poll_until("reload", || {
        told().contains("changed: clients[second] added")
    })
    .await;
    assert!(child.0.try_wait().unwrap().is_none(), "{}", told());
}

#[tokio::test]
async fn a_hangup_without_a_file_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("log");
    let (client, admin) = (port(), port());
    let mut child = Command::new(env!("CARGO_BIN_EXE_s3proxy"));
    child
        .args(["-e", "http://127.0.0.1:9", "--port", &client.to_string()])
        .args(["--admin", &format!("127.0.0.1:{admin}")])
        .env_clear()
        .env("HOME", dir.path())
        .env("AWS_ACCESS_KEY_ID", "AKEY")
        .env("AWS_SECRET_ACCESS_KEY", "secret-of-a");
    child.stdin(Stdio::null()).stdout(Stdio::null());
    child.stderr(std::fs::File::create(&log).unwrap());
    let mut child = Killed(child.spawn().unwrap());
    poll_until("handler", || child.catches()).await;
    child.hang_up();
    let told = || std::fs::read_to_string(&log).unwrap();
    poll_until("word", || told().contains("there is no file to read again")).await;
    child.hang_up();
    poll_until("second word", || {
        told().matches("there is no file").count() == 2
    })
    .await;
    assert!(child.0.try_wait().unwrap().is_none(), "{}", told());
}
