//! nginx with its slice cache, for scale: the usual way to cache ranges of a store without verifying anybody.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::process::{Process, free_address, wait_until};

/// Starts it, where it is installed.
pub(crate) fn start(origin: SocketAddr) -> Option<(SocketAddr, Process)> {
    let is_there = Command::new("nginx")
        .arg("-v")
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    if !is_there {
        eprintln!("nginx is not installed, and not measured");
        return None;
    }
    let address = free_address();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("nginx.conf");
    fs::write(&file, configuration(dir.path(), address, origin)).unwrap();
    let command = |more: &[&str]| {
        let mut command = Command::new("nginx");
        command.arg("-p").arg(dir.path()).arg("-c").arg(&file);
        command
            .args(more)
            .stdin(Stdio::null())
            .stderr(Stdio::null());
        command
    };
    let child = command(&[]).spawn().unwrap();
    // Killed, the master would leave its workers behind.
    let stop = command(&["-s", "stop"]);
    let mut process = Process::new(child, dir, Some(stop));
    wait_until(&mut process, || {
        std::net::TcpStream::connect(address).is_ok()
    });
    Some((address, process))
}

/// Two workers as the proxy has two threads, a log line a request as the proxy writes one.
fn configuration(dir: &Path, address: SocketAddr, origin: SocketAddr) -> String {
    let dir = dir.display();
    format!(
        "user root;\ndaemon off;\nworker_processes 2;\npid {dir}/nginx.pid;\nerror_log {dir}/error.log;\n\
         events {{ worker_connections 1024; }}\n\
         http {{\n\
         access_log /dev/null combined;\nsendfile on;\ntcp_nopush off;\ntcp_nodelay on;\n\
         keepalive_requests 100000000;\nkeepalive_timeout 1h;\n\
         client_body_temp_path {dir}/body;\nproxy_temp_path {dir}/proxy;\n\
         proxy_cache_path {dir}/cache levels=1:2 keys_zone=slices:64m max_size=4g inactive=1h use_temp_path=off;\n\
         upstream store {{ server {origin}; keepalive 32; }}\n\
         server {{\n\
         listen {address};\n\
         location / {{\n\
         slice 1m;\nproxy_cache slices;\nproxy_cache_key $uri$slice_range;\nproxy_cache_valid 200 206 1h;\n\
         proxy_set_header Range $slice_range;\nproxy_set_header Host $http_host;\nproxy_set_header Connection \"\";\n\
         proxy_http_version 1.1;\nproxy_pass http://store;\n\
         }}\n}}\n}}\n"
    )
}
