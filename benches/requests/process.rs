//! Servers under measurement, and what the system says of their processes.

use std::ffi::OsStr;
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::request::{ACCESS_KEY_ID, SECRET_ACCESS_KEY};
use crate::tls::Certificate;

/// The unit of `/proc/PID/stat`: `USER_HZ` is 100 on every architecture that the proxy runs on.
const TICK: Duration = Duration::from_millis(10);

/// A running server and its children. It is ended when dropped.
pub(crate) struct Process {
    child: Child,
    /// Ends it in order, where killing it would not end all of it.
    stop: Option<Command>,
    _dir: TempDir,
}

impl Drop for Process {
    fn drop(&mut self) {
        let is_stopped = self
            .stop
            .as_mut()
            .is_some_and(|stop| stop.status().is_ok_and(|status| status.success()));
        if !is_stopped {
            let _ = self.child.kill();
        }
        let _ = self.child.wait();
    }
}

impl Process {
    pub(crate) fn new(child: Child, dir: TempDir, stop: Option<Command>) -> Self {
        Self {
            child,
            stop,
            _dir: dir,
        }
    }

    /// User and system time of all its threads and children.
    pub(crate) fn cpu_time(&self) -> Duration {
        let ticks = |pid: &u32| {
            let stat = read(*pid, "stat");
            // The second field is the command in parentheses; the times are the 14th and 15th.
            let (_, rest) = stat.rsplit_once(')').unwrap();
            let ticks = rest.split_whitespace().skip(11).take(2);
            ticks.map(|text| text.parse::<u32>().unwrap()).sum::<u32>()
        };
        TICK * self.pids().iter().map(ticks).sum()
    }

    /// Begins a new peak: see `clear_refs` in proc(5). Where that is not allowed, the peak is that of
    /// the whole run.
    pub(crate) fn forget_peak_memory(&self) {
        for pid in self.pids() {
            let _ = fs::write(format!("/proc/{pid}/clear_refs"), "5");
        }
    }

    /// The most memory that was resident.
    pub(crate) fn peak_memory_kib(&self) -> u64 {
        self.memory_kib("VmHWM:")
    }

    /// The memory that is resident.
    pub(crate) fn resident_kib(&self) -> u64 {
        self.memory_kib("VmRSS:")
    }

    fn memory_kib(&self, name: &str) -> u64 {
        let memory = |pid: &u32| {
            let status = read(*pid, "status");
            let memory = status.lines().find_map(|line| line.strip_prefix(name));
            let memory = memory.unwrap().trim_end_matches("kB").trim();
            memory.parse::<u64>().unwrap()
        };
        self.pids().iter().map(memory).sum()
    }

    fn pids(&self) -> Vec<u32> {
        let pid = self.child.id();
        let children = read(pid, &format!("task/{pid}/children"));
        let children = children
            .split_whitespace()
            .map(|child| child.parse().unwrap());
        [pid].into_iter().chain(children).collect()
    }
}

fn read(pid: u32, name: &str) -> String {
    fs::read_to_string(format!("/proc/{pid}/{name}")).unwrap()
}

/// The proxy's binary.
pub(crate) struct Proxy {
    pub(crate) address: SocketAddr,
    pub(crate) process: Process,
}

impl Proxy {
    /// Starts it before the origin and waits until it is ready; with a certificate, its clients speak TLS.
    /// Verification, rules, signing, metrics and access log are on, as in production; the log goes to `/dev/null`.
    pub(crate) fn start(
        binary: &OsStr,
        origin: SocketAddr,
        cache: &str,
        certificate: Option<&Certificate>,
    ) -> Self {
        let (address, admin) = (free_address(), free_address());
        let dir = tempfile::tempdir().unwrap();
        let listener = match certificate {
            Some(certificate) => certificate.listener(address, dir.path()),
            None => format!("tcp: {address}"),
        };
        let yaml = format!(
            "listen:\n  - {listener}\nadmin: {admin}\nthreads: 2\norigins:\n  - name: main\n    \
             endpoint: http://{origin}\n    region: us-east-1\n    credentials:\n      static:\n        \
             access_key_id: BENCHORIGIN\n        secret_access_key_env: ORIGIN_SECRET\n\
             clients:\n  - name: bench\n    access_key_id: {ACCESS_KEY_ID}\n    \
             secret_access_key_env: CLIENT_SECRET\n    allow:\n      - buckets: [lake]\n        \
             prefixes: [hive/]\n        actions: [read, list, write]\n{cache}"
        );
        let file = dir.path().join("s3proxy.yaml");
        fs::write(&file, yaml).unwrap();
        let child = Command::new(binary)
            .arg("-c")
            .arg(&file)
            .env_clear()
            .env("HOME", dir.path())
            .env("XDG_RUNTIME_DIR", dir.path())
            .env("ORIGIN_SECRET", "bench-origin-secret")
            .env("CLIENT_SECRET", SECRET_ACCESS_KEY)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let mut process = Process::new(child, dir, None);
        wait_until(&mut process, || is_ready(admin));
        Self { address, process }
    }
}

/// Waits until a server is there.
pub(crate) fn wait_until(process: &mut Process, is_ready: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !is_ready() {
        let exit = process.child.try_wait().unwrap();
        assert!(exit.is_none(), "the server ended with {exit:?}");
        assert!(Instant::now() < deadline, "the server is not ready");
        std::thread::sleep(Duration::from_millis(20));
    }
}

pub(crate) fn free_address() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap()
}

fn is_ready(admin: SocketAddr) -> bool {
    let ask = || -> std::io::Result<bool> {
        let mut stream = TcpStream::connect(admin)?;
        stream.write_all(b"GET /readyz HTTP/1.0\r\nhost: localhost\r\n\r\n")?;
        let mut status = [0; 12];
        stream.read_exact(&mut status)?;
        Ok(status.ends_with(b" 200"))
    };
    ask().unwrap_or(false)
}
