//! The proxy as a child: its configuration, its start, whether it is ready, its end.

use std::fmt::Write as _;
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

use super::signals::Stop;
use crate::Error;
use crate::origin::Key;

/// From the start of the process to its first ready answer.
const READY_WITHIN: Duration = Duration::from_secs(20);

/// From SIGTERM to its end; after that it is killed.
const END_WITHIN: Duration = Duration::from_secs(15);

/// What the proxy gets of our environment.
const KEPT_VARIABLES: [&str; 5] = ["PATH", "HOME", "TMPDIR", "RUST_LOG", "RUST_BACKTRACE"];

/// Lines of its log that are shown when it fails.
const SHOWN_LOG_LINES: usize = 30;

/// What the proxy is to do.
#[derive(Debug)]
pub(crate) struct ProxyConfig<'a> {
    pub(crate) listen: SocketAddr,
    pub(crate) admin: SocketAddr,
    pub(crate) origin: SocketAddr,
    pub(crate) origin_key: &'a Key,
    pub(crate) client_key: &'a Key,
}

/// A started proxy. Dropping it kills it; [`Proxy::stop`] ends it as an operator would.
#[derive(Debug)]
pub(crate) struct Proxy {
    child: Child,
    bin: PathBuf,
    file: PathBuf,
    log: PathBuf,
    listen: SocketAddr,
    admin: SocketAddr,
}

impl ProxyConfig<'_> {
    /// Writes the configuration and its secrets, readable by the owner alone.
    fn write(&self, dir: &Path) -> io::Result<PathBuf> {
        let origin_secret = dir.join("origin.secret");
        let client_secret = dir.join("client.secret");
        write_private(&origin_secret, &self.origin_key.secret)?;
        write_private(&client_secret, &self.client_key.secret)?;
        let path = dir.join("s3proxy.yaml");
        write_private(&path, &self.yaml(dir, &origin_secret, &client_secret))?;
        Ok(path)
    }

    /// The files of a running proxy are ours, or it would meet those of another one on this machine.
    fn yaml(&self, dir: &Path, origin_secret: &Path, client_secret: &Path) -> String {
        format!(
            r#"listen:
  - tcp: "{listen}"
admin: "{admin}"
origins:
  - name: demo
    endpoint: "http://{origin}"
    region: us-east-1
    credentials:
      static:
        access_key_id: "{origin_id}"
        secret_access_key_file: "{origin_secret}"
clients:
  - name: demo
    access_key_id: "{client_id}"
    secret_access_key_file: "{client_secret}"
    allow:
      - buckets: ["*"]
        actions: [read, list, write, delete]
pid_file: "{dir}/s3proxy.pid"
upgrade_sock: "{dir}/upgrade.sock"
grace_period_seconds: 1
graceful_shutdown_timeout_seconds: 2
cache:
  memory: 256MiB
  disk: 2GiB
  min_free: 0
  dir: "{dir}/cache"
"#,
            listen = self.listen,
            admin = self.admin,
            origin = self.origin,
            origin_id = self.origin_key.id,
            origin_secret = origin_secret.display(),
            client_id = self.client_key.id,
            client_secret = client_secret.display(),
            dir = dir.display(),
        )
    }
}

impl Proxy {
    /// Starts `bin` with its files in `dir`.
    pub(crate) fn start(bin: &Path, config: &ProxyConfig, dir: &Path) -> Result<Self, Error> {
        let file = config.write(dir)?;
        let log = dir.join("s3proxy.log");
        Ok(Self {
            child: spawn(bin, &file, &log)?,
            bin: bin.to_owned(),
            file,
            log,
            listen: config.listen,
            admin: config.admin,
        })
    }

    /// Ends it and starts it again: it keeps what is on disk, and nothing else.
    pub(crate) async fn restart(&mut self) -> Result<(), Error> {
        self.terminate();
        tokio::time::timeout(END_WITHIN, self.child.wait())
            .await
            .map_err(|_| self.failure("did not end in time"))??;
        self.child = spawn(&self.bin, &self.file, &self.log)?;
        self.wait_until_ready().await
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.listen
    }

    /// Returns when the proxy says that it is ready, or fails with its log.
    pub(crate) async fn wait_until_ready(&mut self) -> Result<(), Error> {
        let admin = self.admin;
        let ready = async {
            while !is_ready(admin).await.unwrap_or(false) {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::select! {
            error = self.died() => Err(error),
            ready = tokio::time::timeout(READY_WITHIN, ready) => {
                ready.map_err(|_| self.failure("was not ready in time").into())
            }
        }
    }

    /// Waits for an end that nobody asked for.
    pub(crate) async fn died(&mut self) -> Error {
        match self.child.wait().await {
            Ok(status) => self.failure(&format!("ended by itself ({status})")).into(),
            Err(error) => error.into(),
        }
    }

    /// Does `work`, and adds the log to whatever goes wrong meanwhile.
    pub(crate) async fn during<T>(
        &mut self,
        work: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        let done = tokio::select! {
            error = self.died() => return Err(error),
            done = work => done,
        };
        done.map_err(|error| format!("{error}\n{}", self.failure("was running")).into())
    }

    /// Asks it to end and waits; an impatient second signal, or too long a wait, kills it.
    /// Returns how it ended, or `None` when it had ended before.
    pub(crate) async fn stop(mut self, impatient: &mut Stop) -> Option<String> {
        if let Ok(Some(_)) = self.child.try_wait() {
            return None;
        }
        self.terminate();
        let ended = tokio::select! {
            ended = self.child.wait() => ended,
            () = tokio::time::sleep(END_WITHIN) => Err(io::Error::other("killed, it took too long")),
            () = impatient.wait() => Err(io::Error::other("killed, before its work was done")),
        };
        if ended.is_err() {
            let _ = self.child.kill().await;
        }
        Some(ended.map_or_else(|error| error.to_string(), |status| status.to_string()))
    }

    fn terminate(&self) {
        let pid = self.child.id().and_then(|pid| i32::try_from(pid).ok());
        if let Some(pid) = pid {
            // It is our child and not yet waited for, so the number is still its own.
            let _ = kill(Pid::from_raw(pid), Signal::SIGTERM);
        }
    }

    /// What it counted since its start, in Prometheus' text format.
    pub(crate) async fn metrics(&self) -> Result<String, Error> {
        let answer = ask(self.admin, "/metrics").await?;
        let (head, body) = answer
            .split_once("\r\n\r\n")
            .ok_or("an answer without an end")?;
        if !is_ok(head) {
            return Err(format!("no metrics: {head}").into());
        }
        Ok(body.to_owned())
    }

    fn failure(&self, what: &str) -> String {
        let log = std::fs::read(&self.log).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let lines: Vec<&str> = log.lines().collect();
        let mut text = format!("s3proxy {what}");
        if lines.is_empty() {
            text.push_str(" and logged nothing");
        } else {
            text.push_str("; the end of its log:");
        }
        for line in &lines[lines.len().saturating_sub(SHOWN_LOG_LINES)..] {
            let _ = write!(text, "\n    {line}");
        }
        text
    }
}

/// Starts `bin` in a process group of its own: Ctrl-C in the terminal is for us, and we stop it in order.
fn spawn(bin: &Path, file: &Path, log: &Path) -> Result<Child, Error> {
    let output = File::create(log)?;
    // Variables such as PORT or AWS_REGION would beat the file.
    let kept =
        std::env::vars_os().filter(|(name, _)| KEPT_VARIABLES.iter().any(|kept| name == kept));
    let child = Command::new(bin)
        .env_clear()
        .envs(kept)
        .arg("--conf")
        .arg(file)
        .stdin(Stdio::null())
        .stdout(output.try_clone()?)
        .stderr(output)
        .process_group(0)
        .kill_on_drop(true)
        .spawn();
    child.map_err(|error| {
        let bin = bin.display();
        format!("{bin} cannot be started: {error}; give --s3proxy-bin").into()
    })
}

async fn is_ready(admin: SocketAddr) -> io::Result<bool> {
    Ok(is_ok(&ask(admin, "/readyz").await?))
}

fn is_ok(head: &str) -> bool {
    head.starts_with("HTTP/1.") && head.get(8..12) == Some(" 200")
}

/// Asks the admin listener in the plainest HTTP there is.
async fn ask(admin: SocketAddr, path: &str) -> io::Result<String> {
    let ask = async {
        let mut stream = TcpStream::connect(admin).await?;
        let request = format!("GET {path} HTTP/1.0\r\nhost: localhost\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        Ok(answer)
    };
    tokio::time::timeout(Duration::from_secs(2), ask).await?
}

fn write_private(path: &Path, text: &str) -> io::Result<()> {
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?
        .write_all(text.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn secrets_are_for_the_owner_and_not_in_the_yaml() {
        let dir = tempfile::tempdir().unwrap();
        let origin_key = Key {
            id: "origin-id".to_owned(),
            secret: "origin-secret".to_owned(),
        };
        let client_key = Key {
            id: "client-id".to_owned(),
            secret: "client-secret".to_owned(),
        };
        let addr = |port| SocketAddr::from(([127, 0, 0, 1], port));
        let config = ProxyConfig {
            listen: addr(1),
            admin: addr(2),
            origin: addr(3),
            origin_key: &origin_key,
            client_key: &client_key,
        };
        let path = config.write(dir.path()).unwrap();
        let yaml = std::fs::read_to_string(&path).unwrap();
        assert!(
            !yaml.contains("origin-secret") && !yaml.contains("client-secret"),
            "{yaml}"
        );
        for name in ["origin.secret", "client.secret", "s3proxy.yaml"] {
            let mode = std::fs::metadata(dir.path().join(name))
                .unwrap()
                .permissions()
                .mode();
            assert_eq!(mode & 0o777, 0o600, "{name}");
        }
    }

    #[tokio::test]
    async fn a_proxy_that_dies_shows_its_log() {
        let dir = tempfile::tempdir().unwrap();
        let bin = dir.path().join("broken");
        std::fs::write(&bin, "#!/bin/sh\necho no such key: listne >&2\nexit 3\n").unwrap();
        std::fs::set_permissions(&bin, std::fs::Permissions::from_mode(0o700)).unwrap();
        let key = Key {
            id: "id".to_owned(),
            secret: "secret".to_owned(),
        };
        let addr = SocketAddr::from(([127, 0, 0, 1], 9));
        let config = ProxyConfig {
            listen: addr,
            admin: addr,
            origin: addr,
            origin_key: &key,
            client_key: &key,
        };
        let mut proxy = Proxy::start(&bin, &config, dir.path()).unwrap();
        let error = proxy.wait_until_ready().await.unwrap_err().to_string();
        assert!(
            error.contains("no such key: listne") && error.contains("exit status: 3"),
            "{error}"
        );
    }
}
