//! The real binary, started with a configuration of the test's and watched until its end.

use std::io::Read;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tempfile::TempDir;

use super::call::Call;
use super::client::{Answer, Client};
use super::origin::Origin;
use super::sigv4::Key;

/// May do everything.
pub(super) fn everything() -> Key {
    Key::new("EVERYTHINGKEY", "everything-secret-1")
}

/// Reads and lists `lake/public/*`.
pub(super) fn reader() -> Key {
    Key::new("READERKEY", "reader-secret-2")
}

/// All four plain actions on `lake/in/*` but not below `lake/in/locked/`.
pub(super) fn writer() -> Key {
    Key::new("WRITERKEY", "writer-secret-3")
}

const CLIENTS: &str = "\
clients:
  - {name: everything, access_key_id: EVERYTHINGKEY, secret_access_key_env: EVERYTHING_SECRET,
     allow: [{buckets: ['*'], actions: ['*']}]}
  - {name: reader, access_key_id: READERKEY, secret_access_key_env: READER_SECRET,
     allow: [{buckets: [lake], prefixes: [public/], actions: [read, list]}]}
  - {name: writer, access_key_id: WRITERKEY, secret_access_key_env: WRITER_SECRET,
     allow: [{buckets: [lake], prefixes: [in/], actions: [read, list, write, delete]}],
     deny: [{buckets: [lake], prefixes: [in/locked/], actions: [read, list, write, delete]}]}
";

/// A configuration in the making.
pub(super) struct Setup {
    listen: String,
    origins: String,
    clients: String,
    limits: String,
    top: String,
    admin: String,
    env: Vec<(String, String)>,
    /// A shell command that prepares a mount namespace of the proxy's own.
    mount: Option<String>,
    program: Option<PathBuf>,
    pub(super) dir: TempDir,
}

/// A running proxy. It is killed when dropped.
pub(super) struct Proxy {
    pub(super) address: SocketAddr,
    pub(super) admin: SocketAddr,
    pub(super) dir: TempDir,
    child: Child,
    /// Those that took over from it, by process id.
    successors: Vec<u32>,
    environment: Vec<(String, String)>,
    logs: Arc<Mutex<Vec<u8>>>,
    readers: Vec<JoinHandle<()>>,
}

impl Setup {
    /// One origin, the three clients of this module.
    pub(super) fn of(origin: &Origin) -> Self {
        Self::at(&format!("http://{}", origin.address), &[])
    }

    /// One origin with further keys, each `name: value`.
    pub(super) fn at(endpoint: &str, keys: &[&str]) -> Self {
        let setup = Self {
            listen: String::new(),
            origins: String::new(),
            clients: CLIENTS.to_owned(),
            limits: String::new(),
            top: String::new(),
            admin: "ADDRESS".to_owned(),
            env: Vec::new(),
            mount: None,
            program: None,
            dir: tempfile::tempdir().unwrap(),
        };
        setup.secret("origin-secret", &Origin::key().secret);
        setup.origin("main", endpoint, keys)
    }

    /// A further origin, behind those there are.
    pub(super) fn origin(mut self, name: &str, endpoint: &str, keys: &[&str]) -> Self {
        let secret = self.dir.path().join("origin-secret");
        self.origins += &format!("  - name: {name}\n    endpoint: {endpoint}\n");
        for key in keys {
            self.origins += &format!("    {key}\n");
        }
        for (name, value) in [
            ("region", "us-east-1".to_owned()),
            (
                "credentials",
                format!(
                    "{{static: {{access_key_id: {}, secret_access_key_file: {}}}}}",
                    Origin::key().id,
                    secret.display()
                ),
            ),
            ("idle_timeout", "15s".to_owned()),
        ] {
            if !keys.iter().any(|key| key.starts_with(name)) {
                self.origins += &format!("    {name}: {value}\n");
            }
        }
        self
    }

    /// Takes the place of the three clients.
    pub(super) fn clients(mut self, yaml: &str) -> Self {
        self.clients = yaml.to_owned();
        self
    }

    pub(super) fn limit(mut self, line: &str) -> Self {
        self.limits += &format!("  {line}\n");
        self
    }

    /// A further listener.
    pub(super) fn listen(mut self, item: &str) -> Self {
        self.listen += &format!("  - {item}\n");
        self
    }

    /// Any other part of the file.
    pub(super) fn top(mut self, yaml: &str) -> Self {
        self.top += yaml;
        self.top.push('\n');
        self
    }

    /// The admin listener; `ADDRESS` stands for one that is free, `DIR` for the directory.
    pub(super) fn admin(mut self, yaml: &str) -> Self {
        self.admin = yaml.to_owned();
        self
    }

    /// Starts the binary and waits for nothing.
    pub(super) fn launch_only(mut self) -> Proxy {
        self.launch()
    }

    pub(super) fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Runs this program instead of the one that was built.
    pub(super) fn program(mut self, path: &Path) -> Self {
        self.program = Some(path.to_owned());
        self
    }

    /// Runs in a mount namespace of its own, in which this command was run before.
    pub(super) fn within(mut self, mount: &str) -> Self {
        self.mount = Some(mount.to_owned());
        self
    }

    /// A file that only its owner reads.
    pub(super) fn secret(&self, name: &str, text: &str) -> PathBuf {
        let path = self.dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).unwrap();
        path
    }

    /// Starts the binary and waits until it is ready. Another process may take a port first: then
    /// it is tried again with others.
    pub(super) async fn start(self) -> Proxy {
        self.start_when(200).await
    }

    /// Starts, or gives back what the proxy said when it refused to.
    pub(super) async fn start_or_refused(mut self) -> Result<Proxy, String> {
        let mut proxy = self.launch();
        let deadline = Instant::now() + Duration::from_secs(10);
        while Instant::now() < deadline {
            if proxy.child.try_wait().unwrap().is_some() {
                proxy.stop();
                return Err(proxy.logs());
            }
            if std::net::TcpStream::connect(proxy.admin).is_ok() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let ready = proxy.wait_until(200).await;
        ready.map_err(|_| "it ended before it was ready".to_owned())
    }

    /// Starts with origins that cannot be reached, so that it serves without being ready.
    pub(super) async fn start_unready(self) -> Proxy {
        self.start_when(503).await
    }

    async fn start_when(self, status: u16) -> Proxy {
        let mut setup = self;
        for _ in 0..3 {
            let proxy = setup.launch();
            match proxy.wait_until(status).await {
                Ok(proxy) => return proxy,
                Err(dir) => setup.dir = dir,
            }
        }
        panic!("the proxy does not start");
    }

    /// Nothing of the test's own.
    fn environment(&self, home: &Path) -> Vec<(String, String)> {
        let mut environment: Vec<(String, String)> = vec![
            ("HOME".to_owned(), home.display().to_string()),
            ("XDG_RUNTIME_DIR".to_owned(), home.display().to_string()),
            ("RUST_LOG".to_owned(), "trace".to_owned()),
            ("EVERYTHING_SECRET".to_owned(), everything().secret),
            ("READER_SECRET".to_owned(), reader().secret),
            ("WRITER_SECRET".to_owned(), writer().secret),
        ];
        environment.extend(self.env.iter().cloned());
        if self.mount.is_some() {
            let path = "/usr/sbin:/usr/bin:/sbin:/bin".to_owned();
            environment.push(("PATH".to_owned(), path));
        }
        environment
    }

    fn launch(&mut self) -> Proxy {
        let (port, admin_port) = (free_port(), free_port());
        let yaml = format!(
            "listen:\n  - tcp: 127.0.0.1:{port}\n{}admin: {}\nthreads: 2\n\
             origins:\n{}{}{}{}{}",
            self.listen,
            self.admin
                .replace("ADDRESS", &format!("127.0.0.1:{admin_port}"))
                .replace("DIR", &self.dir.path().display().to_string()),
            self.origins,
            self.clients,
            if self.limits.is_empty() {
                String::new()
            } else {
                format!("limits:\n{}", self.limits)
            },
            self.top,
            // Most tests are about what is forwarded; those about the cache set its keys.
            if self.top.contains("cache:") {
                ""
            } else {
                "cache: {mode: off}\n"
            }
        );
        let dir = std::mem::replace(&mut self.dir, tempfile::tempdir().unwrap());
        let runtime = format!(
            "upgrade_sock: {}\n",
            dir.path().join("upgrade.sock").display()
        );
        let file = dir.path().join("s3proxy.yaml");
        std::fs::write(&file, yaml + &runtime).unwrap();
        let program = self.program.clone();
        let binary = program
            .as_deref()
            .unwrap_or(Path::new(env!("CARGO_BIN_EXE_s3proxy")));
        let mut command = match &self.mount {
            None => Command::new(binary),
            Some(mount) => {
                let mut command = Command::new("unshare");
                let script = format!("{mount} && exec \"$@\"");
                command.args([
                    "--mount",
                    "--propagation",
                    "private",
                    "sh",
                    "-c",
                    &script,
                    "sh",
                ]);
                command.arg(binary);
                command
            }
        };
        let environment = self.environment(dir.path());
        command
            .arg("-c")
            .arg(&file)
            .env_clear()
            .envs(environment.iter().cloned())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let logs = Arc::new(Mutex::default());
        let readers = vec![
            collect(child.stdout.take().unwrap(), Arc::clone(&logs)),
            collect(child.stderr.take().unwrap(), Arc::clone(&logs)),
        ];
        Proxy {
            address: ([127, 0, 0, 1], port).into(),
            admin: ([127, 0, 0, 1], admin_port).into(),
            environment,
            dir,
            child,
            successors: Vec::new(),
            logs,
            readers,
        }
    }
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port()
}

fn collect(mut from: impl Read + Send + 'static, logs: Arc<Mutex<Vec<u8>>>) -> JoinHandle<()> {
    std::thread::spawn(move || {
        let mut buffer = [0; 8192];
        while let Ok(read @ 1..) = from.read(&mut buffer) {
            logs.lock().extend_from_slice(&buffer[..read]);
        }
    })
}

impl Proxy {
    async fn wait_until(mut self, status: u16) -> Result<Self, TempDir> {
        let deadline = Instant::now() + Duration::from_secs(30);
        while Instant::now() < deadline {
            if let Some(exit) = self.child.try_wait().unwrap() {
                eprintln!("the proxy ended with {exit}:\n{}", self.logs());
                return Err(std::mem::replace(
                    &mut self.dir,
                    tempfile::tempdir().unwrap(),
                ));
            }
            if std::net::TcpStream::connect(self.admin).is_ok()
                && self.page("/readyz").await.is_some_and(|page| {
                    page.status == status && !page.text().contains("\"reachable\":null")
                })
                && std::net::TcpStream::connect(self.address).is_ok()
            {
                return Ok(self);
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("the proxy is not ready:\n{}", self.logs());
    }

    pub(super) async fn connect(&self) -> Client {
        Client::connect(self.address).await
    }

    /// One request over a connection of its own.
    pub(super) async fn call(&self, call: &Call) -> Answer {
        self.connect().await.call(call).await
    }

    /// A page of the admin listener.
    pub(super) async fn page(&self, path: &str) -> Option<Answer> {
        let mut client = Client::connect(self.admin).await;
        let request = format!("GET {path} HTTP/1.1\r\nhost: {}\r\n\r\n", self.admin);
        client.send(request.as_bytes()).await;
        client.answer_to("GET").await
    }

    /// Sends JSON to the admin listener.
    pub(super) async fn post_json(&self, path: &str, body: &str) -> Answer {
        let mut client = Client::connect(self.admin).await;
        let request = format!(
            "POST {path} HTTP/1.1\r\nhost: {}\r\ncontent-type: application/json\r\n\
             content-length: {}\r\n\r\n{body}",
            self.admin,
            body.len()
        );
        client.send(request.as_bytes()).await;
        client.answer_to("POST").await.expect("an answer")
    }

    /// The sum of all samples of a metric whose labels contain the text.
    pub(super) async fn metric(&self, name: &str, labels: &str) -> u64 {
        let page = self.page("/metrics").await.expect("metrics").text();
        let samples = page.lines().filter(|line| {
            let rest = line.strip_prefix(name);
            rest.is_some_and(|rest| rest.starts_with([' ', '{']) && rest.contains(labels))
        });
        samples
            .map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap())
            .sum()
    }

    /// Waits until no request is served any more.
    pub(super) async fn wait_until_idle(&self) {
        let deadline = Instant::now() + Duration::from_secs(30);
        while self.metric("s3proxy_requests_in_flight", "").await > 0 {
            assert!(Instant::now() < deadline, "a request does not end");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Everything that was logged, the access log among it.
    pub(super) fn logs(&self) -> String {
        String::from_utf8_lossy(&self.logs.lock()).into_owned()
    }

    /// The most memory that was ever resident.
    pub(super) fn peak_memory_kib(&self) -> u64 {
        self.memory_kib("VmHWM:")
    }

    /// Whether it runs.
    /// The process that was started first.
    pub(super) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(super) fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    pub(super) fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        let status = Command::new("kill").args(["-s", name, &pid]).status();
        assert!(status.unwrap().success(), "{name}");
    }

    pub(super) fn process(&self) -> u32 {
        self.child.id()
    }

    fn memory_kib(&self, field: &str) -> u64 {
        let status = format!("/proc/{}/status", self.child.id());
        let status = std::fs::read_to_string(status).unwrap();
        let line = status.lines().find(|line| line.starts_with(field)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }

    /// The configuration file.
    pub(super) fn file(&self) -> PathBuf {
        self.dir.path().join("s3proxy.yaml")
    }

    /// Has it replaced by a new process; answers its id, or what was said instead.
    pub(super) async fn upgrade(&mut self) -> Result<u32, String> {
        let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_s3proxy"));
        command.arg("-c").arg(self.file()).arg("upgrade");
        command.env_clear().envs(self.environment.iter().cloned());
        let output = command.output().await.unwrap();
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).into_owned());
        }
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let mut words = said.lines().last().unwrap().split(' ');
        let process = words.nth(1).unwrap().parse().unwrap();
        self.successors.push(process);
        Ok(process)
    }

    /// Another process in the same surroundings, whose log is added to this one's.
    pub(super) fn start_another(&mut self, file: &Path) -> Child {
        let mut command = Command::new(env!("CARGO_BIN_EXE_s3proxy"));
        command
            .arg("-c")
            .arg(file)
            .env_clear()
            .envs(self.environment.iter().cloned())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let reader = collect(child.stderr.take().unwrap(), Arc::clone(&self.logs));
        self.readers.push(reader);
        child
    }

    pub(super) fn stop(&mut self) {
        for successor in self.successors.drain(..) {
            let process = i32::try_from(successor).ok();
            if let Some(process) = process.and_then(rustix::process::Pid::from_raw) {
                // Most of them have ended.
                let _ = rustix::process::kill_process(process, rustix::process::Signal::KILL);
            }
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
        for reader in self.readers.drain(..) {
            let _ = reader.join();
        }
    }
}

impl Drop for Proxy {
    /// No secret may stand in any log, whatever the test was about; and nothing may have panicked.
    fn drop(&mut self) {
        self.stop();
        let logs = self.logs();
        if std::thread::panicking() {
            let start = logs.len().saturating_sub(12_000);
            eprintln!(
                "the proxy's log ends:\n{}",
                logs.get(start..).unwrap_or(&logs)
            );
            return;
        }
        let keys = [everything(), reader(), writer(), Origin::key()];
        for secret in keys.iter().map(|key| key.secret.as_str()) {
            assert!(!logs.contains(secret), "{secret} is in the log");
        }
        for trace in ["Signature=", "panicked at"] {
            let line = logs.lines().find(|line| line.contains(trace));
            assert!(line.is_none(), "{trace} is in the log: {line:?}");
        }
    }
}
