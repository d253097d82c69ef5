//! The proxy's binary, and what the system says of its process.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::request::{ACCESS_KEY_ID, SECRET_ACCESS_KEY};

/// The unit of `/proc/PID/stat`: `USER_HZ` is 100 on every architecture that the proxy runs on.
const TICK: Duration = Duration::from_millis(10);

/// A running proxy. It is killed when dropped.
pub(crate) struct Proxy {
    pub(crate) address: SocketAddr,
    child: Child,
    _dir: TempDir,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Proxy {
    /// Starts it before the origin and waits until it is ready. Verification, rules, signing,
    /// metrics and access log are on, as in production; the log goes to `/dev/null`.
    pub(crate) fn start(origin: SocketAddr) -> Self {
        let (address, admin) = (free_address(), free_address());
        let yaml = format!(
            "listen:\n  - tcp: {address}\nadmin: {admin}\nthreads: 2\norigins:\n  - name: main\n    \
             endpoint: http://{origin}\n    region: us-east-1\n    credentials:\n      static:\n        \
             access_key_id: BENCHORIGIN\n        secret_access_key_env: ORIGIN_SECRET\n\
             clients:\n  - name: bench\n    access_key_id: {ACCESS_KEY_ID}\n    \
             secret_access_key_env: CLIENT_SECRET\n    allow:\n      - buckets: [lake]\n        \
             prefixes: [hive/]\n        actions: [read, list, write]\n"
        );
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("s3proxy.yaml");
        fs::write(&file, yaml).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_s3proxy"))
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
        let mut proxy = Self {
            address,
            child,
            _dir: dir,
        };
        let deadline = Instant::now() + Duration::from_secs(30);
        while !is_ready(admin) {
            let exit = proxy.child.try_wait().unwrap();
            assert!(exit.is_none(), "the proxy ended with {exit:?}");
            assert!(Instant::now() < deadline, "the proxy is not ready");
            std::thread::sleep(Duration::from_millis(20));
        }
        proxy
    }

    /// User and system time of all its threads.
    pub(crate) fn cpu_time(&self) -> Duration {
        let stat = self.read("stat");
        // The second field is the command in parentheses; the times are the 14th and 15th.
        let (_, rest) = stat.rsplit_once(')').unwrap();
        let ticks = rest.split_whitespace().skip(11).take(2);
        TICK * ticks.map(|text| text.parse::<u32>().unwrap()).sum()
    }

    /// Begins a new peak: see `clear_refs` in proc(5). Where that is not allowed, the peak is that of
    /// the whole run.
    pub(crate) fn forget_peak_memory(&self) {
        let _ = fs::write(format!("/proc/{}/clear_refs", self.child.id()), "5");
    }

    /// The most memory that was resident.
    pub(crate) fn peak_memory_kib(&self) -> u64 {
        let status = self.read("status");
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        peak.unwrap().trim_end_matches("kB").trim().parse().unwrap()
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(format!("/proc/{}/{name}", self.child.id())).unwrap()
    }
}

fn free_address() -> SocketAddr {
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
