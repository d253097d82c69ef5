//! Pingora's own keys at the top of the file, and the server settings they make.
//!
//! A test compares this table with what Pingora's settings serialize to, so that an update which
//! adds or drops a key is noticed.

use std::num::NonZeroU64;
use std::path::Path;
use std::path::PathBuf;
use std::thread::available_parallelism;

use pingora::server::configuration::ServerConf;

use super::conflict::Conflict;
use super::environment::Environment;
use super::error::Findings;
use super::keys::table;
use super::schema::Change;
use super::schema::Default;
use super::schema::Key;
use super::schema::Kind;
use super::section::Section;

const UNSTABLE: &str = "it needs a build with `--cfg tokio_unstable`, which this is not; remove it";
const YEAR: u64 = 365 * 24 * 3600;

table! {
    /// Pingora's keys.
    SERVER:
    version: Kind::Whole(1, 1), Is "1", "Version of Pingora's part of the file; there is one.";
    threads: Kind::Whole(1, 1024), Absent "4", "Threads of the proxy. Absent: one for each core.";
    listener_tasks_per_fd: Kind::Whole(1, 64), Is "1", "Tasks that accept connections, for each listener.";
    work_stealing: Kind::Flag, Is "true", "Lets idle threads take over work of busy ones.";
    daemon: Kind::Flag, Is "false", "Runs in the background, as `--daemon`. systemd does not want it.";
    daemon_wait_for_ready: Kind::Flag, Is "false", "Makes the starting process wait until the one in the background serves.";
    daemon_ready_timeout_seconds: Kind::Whole(1, YEAR), Absent "600", "How long it waits. Absent: 600.";
    daemon_notify_timeout_seconds: Kind::Whole(1, YEAR), Absent "60", "How long the one in the background tries to report. Absent: 60.";
    error_log: Kind::Path, Absent "/var/log/s3proxy/error.log", "File for what goes to standard error, in the background only.";
    pid_file: Kind::Path, Absent "/run/s3proxy/s3proxy.pid",
        "File with the process id, in the background only. Absent: `s3proxy.pid` in RUNTIME_DIRECTORY, else in /run/s3proxy (root), XDG_RUNTIME_DIR/s3proxy or ~/.cache/s3proxy/run.";
    upgrade_sock: Kind::Path, Absent "/run/s3proxy/upgrade.sock", "Socket over which listeners are handed to the next process. Absent: `upgrade.sock` beside the default `pid_file`.";
    user: Kind::Text, Absent "s3proxy", "User to become, in the background only.";
    group: Kind::Text, Absent "s3proxy", "Group to become, in the background only.";
    working_directory: Kind::Path, Absent "/", "Directory to change to, in the background only.";
    grace_period_seconds: Kind::Whole(0, YEAR), Is "30", "How long requests may go on after SIGTERM or an upgrade; the process ends with the last of them. Pingora's own default is 300, and it would always wait for all of it.";
    graceful_shutdown_timeout_seconds: Kind::Whole(0, YEAR), Is "5", "How long the threads may take to end after that.";
    ca_file: Kind::Path, Absent "/etc/ssl/certs/ca-certificates.crt", "Certificate authorities (PEM) to trust towards origins. Absent: the system's.";
    client_bind_to_ipv4: Kind::List(&Kind::Ipv4), Is "[]", "IPv4 addresses to connect to origins from.";
    client_bind_to_ipv6: Kind::List(&Kind::Ipv6), Is "[]", "IPv6 addresses to connect to origins from.";
    upstream_keepalive_pool_size: Kind::Whole(0, 65_536), Is "128", "Idle connections to origins to keep, for each thread.";
    upstream_connect_offload_threadpools: Kind::Whole(0, 1024), Absent "1", "Thread pools that only connect to origins. Absent: none.";
    upstream_connect_offload_thread_per_pool: Kind::Whole(0, 1024), Absent "1", "Threads of each of them.";
    downstream_tls_offload_threadpools: Kind::Whole(0, 1024), Absent "1", "Thread pools that only do TLS handshakes with clients. Absent: none.";
    downstream_tls_offload_thread_per_pool: Kind::Whole(0, 1024), Absent "1", "Threads of each of them.";
    max_retries: Kind::Whole(0, 64), Is "16", "Pingora's fuse against endless retries; `origins[].max_retries` is the one to set.";
    max_blocking_threads: Kind::Whole(1, 65_536), Absent "512", "Most threads for blocking work. Absent: 512.";
    blocking_threads_ttl_seconds: Kind::Whole(0, YEAR), Absent "10", "How long such a thread may idle. Absent: 10.";
    fast_timeout_to_tokio_threshold_seconds: Kind::Whole(1, YEAR), Is "900", "Timeouts above it use Tokio's timers instead of Pingora's.";
    upstream_debug_ssl_keylog: Kind::Refused("it writes the keys of TLS sessions to a file; remove it"), Is "false", "Refused.";
    upgrade_sock_connect_accept_max_retries: Kind::Refused("Pingora 0.9.1 reads it and does not use it; remove it"), Absent "5", "Refused.";
    runtime_enable_alt_timer: Kind::Refused(UNSTABLE), Is "false", "Refused.";
    runtime_metrics_poll_time_histogram: Kind::Refused(UNSTABLE), Is "false", "Refused.";
    runtime_metrics_poll_time_histogram_scale: Kind::Refused(UNSTABLE), Absent "log", "Refused.";
    runtime_metrics_poll_time_histogram_resolution_micros: Kind::Refused(UNSTABLE), Absent "10", "Refused.";
    runtime_metrics_poll_time_histogram_buckets: Kind::Refused(UNSTABLE), Absent "10", "Refused.";
}

/// Pingora's settings, with the pid file and the upgrade socket in a private directory.
pub(super) fn server_conf(
    root: &Section<'_>,
    environment: &Environment,
    findings: &mut Findings,
) -> ServerConf {
    let cores = available_parallelism().map_or(1, std::num::NonZero::get);
    let path = |key| root.maybe_text(key);
    let conf = ServerConf {
        version: root.count("version"),
        threads: root.maybe_count("threads").unwrap_or(cores),
        listener_tasks_per_fd: root.count("listener_tasks_per_fd"),
        work_stealing: root.flag("work_stealing"),
        daemon: root.flag("daemon"),
        daemon_wait_for_ready: root.flag("daemon_wait_for_ready"),
        daemon_ready_timeout_seconds: seconds(root, "daemon_ready_timeout_seconds"),
        daemon_notify_timeout_seconds: seconds(root, "daemon_notify_timeout_seconds"),
        error_log: path("error_log"),
        pid_file: runtime_path(root, "pid_file", "s3proxy.pid", environment, findings),
        upgrade_sock: runtime_path(root, "upgrade_sock", "upgrade.sock", environment, findings),
        user: path("user"),
        group: path("group"),
        working_directory: path("working_directory").map(PathBuf::from),
        grace_period_seconds: Some(root.whole("grace_period_seconds")),
        graceful_shutdown_timeout_seconds: Some(root.whole("graceful_shutdown_timeout_seconds")),
        ca_file: path("ca_file"),
        client_bind_to_ipv4: root.texts("client_bind_to_ipv4"),
        client_bind_to_ipv6: root.texts("client_bind_to_ipv6"),
        upstream_keepalive_pool_size: root.count("upstream_keepalive_pool_size"),
        upstream_connect_offload_threadpools: root
            .maybe_count("upstream_connect_offload_threadpools"),
        upstream_connect_offload_thread_per_pool: root
            .maybe_count("upstream_connect_offload_thread_per_pool"),
        downstream_tls_offload_threadpools: root.maybe_count("downstream_tls_offload_threadpools"),
        downstream_tls_offload_thread_per_pool: root
            .maybe_count("downstream_tls_offload_thread_per_pool"),
        max_retries: root.count("max_retries"),
        max_blocking_threads: root.maybe_count("max_blocking_threads"),
        blocking_threads_ttl_seconds: root.maybe_whole("blocking_threads_ttl_seconds"),
        fast_timeout_to_tokio_threshold_seconds: Some(
            root.whole("fast_timeout_to_tokio_threshold_seconds"),
        ),
        ..ServerConf::default()
    };
    if let Some(file) = &conf.ca_file {
        super::files::check_pem(
            Path::new(file),
            "CERTIFICATE",
            &root.place("ca_file"),
            findings,
        );
    }
    warn_without_daemon(root, &conf, findings);
    conf
}

fn seconds(root: &Section<'_>, key: &str) -> Option<NonZeroU64> {
    root.maybe_whole(key).and_then(NonZeroU64::new)
}

fn warn_without_daemon(root: &Section<'_>, conf: &ServerConf, findings: &mut Findings) {
    for key in ["user", "group", "error_log", "working_directory"] {
        if !conf.daemon && root.maybe_text(key).is_some() {
            findings.warn(
                &root.place(key),
                "has an effect only with `--daemon` or `daemon: true`",
            );
        }
    }
}

/// The path as written, or the default one in a private directory.
fn runtime_path(
    root: &Section<'_>,
    key: &str,
    name: &str,
    environment: &Environment,
    findings: &mut Findings,
) -> String {
    let place = root.place(key);
    let given = root.maybe_text(key).map(PathBuf::from);
    let default = || Some(runtime_directory(environment)?.join(name));
    let Some(path) = given.or_else(default) else {
        findings.error(place, Conflict::NoRuntimeDirectory);
        return String::new();
    };
    if let Some(directory) = path.parent()
        && super::files::is_shared(directory)
    {
        let directory = directory.to_owned();
        findings.error(place, Conflict::SharedDirectory { directory });
    }
    path.to_string_lossy().into_owned()
}

/// A directory that only we write to: systemd's, root's, the session's, or one below the home.
fn runtime_directory(environment: &Environment) -> Option<PathBuf> {
    if let Some(directories) = environment.get("RUNTIME_DIRECTORY") {
        return directories.split(':').next().map(PathBuf::from);
    }
    if environment.is_root() {
        return Some(PathBuf::from("/run/s3proxy"));
    }
    if let Some(directory) = environment.get("XDG_RUNTIME_DIR") {
        return Some(Path::new(&directory).join("s3proxy"));
    }
    if let Some(directory) = environment.get("XDG_CACHE_HOME") {
        return Some(Path::new(&directory).join("s3proxy/run"));
    }
    let home = environment.get("HOME")?;
    Some(Path::new(&home).join(".cache/s3proxy/run"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::yaml;

    #[test]
    fn the_table_has_every_key_of_pingora() {
        let written = ServerConf::default().to_yaml();
        let yaml::Value::Section(entries) = yaml::parse(&written).unwrap().value else {
            panic!("not a section")
        };
        let mut theirs: Vec<_> = entries.iter().map(|entry| entry.key.as_str()).collect();
        let mut ours: Vec<_> = SERVER.iter().map(|key| key.name).collect();
        theirs.sort_unstable();
        ours.sort_unstable();
        assert_eq!(ours, theirs);
    }
}
