//! The addresses to listen on: free, taken by s3proxy itself, or by somebody else.

use std::io;
use std::io::Read;
use std::io::Write;
use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::net::Ipv6Addr;
use std::net::SocketAddr;
use std::net::TcpListener;
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use rustix::fs::Access;

use super::Report;
use crate::config::Config;
use crate::config::ListenConfig;

/// How long whoever listens there may take to answer.
const PATIENCE: Duration = Duration::from_secs(3);

/// What is read of its answer.
const MAX_ANSWER: u64 = 256 << 10;

/// Tries every listener, and the one for operators.
pub(super) fn examine(config: &Config, report: &mut Report) {
    for listen in &config.listen {
        let subject = format!("listener {listen}");
        match listen {
            ListenConfig::Tcp(address) => {
                let is_ours = |stream| answer(stream, "/").contains("\r\nserver: s3proxy\r\n");
                port(*address, &subject, is_ours, report);
            }
            // Who it is cannot be asked without TLS; who serves the other listeners says it.
            ListenConfig::Tls { addr, .. } => {
                let admin = config.admin.as_ref();
                let admin = admin.and_then(|admin| admin.listen.address());
                let is_ours = |_| admin.is_some_and(|admin| is_our_admin(connect(admin)));
                port(*addr, &subject, is_ours, report);
            }
            ListenConfig::Unix { path, .. } => socket(path, &subject, report),
        }
    }
    if let Some(admin) = &config.admin {
        let subject = format!("admin {}", admin.listen);
        match &admin.listen {
            ListenConfig::Tcp(address) | ListenConfig::Tls { addr: address, .. } => {
                port(*address, &subject, |it| is_our_admin(Some(it)), report);
            }
            ListenConfig::Unix { path, .. } => socket(path, &subject, report),
        }
    }
}

fn port(
    address: SocketAddr,
    subject: &str,
    is_ours: impl FnOnce(TcpStream) -> bool,
    report: &mut Report,
) {
    let Err(error) = TcpListener::bind(address) else {
        report.ok(subject, "the port is free");
        return;
    };
    match error.kind() {
        io::ErrorKind::AddrInUse if connect(address).is_some_and(is_ours) => {
            report.ok(subject, "the port is in use by s3proxy itself");
        }
        io::ErrorKind::AddrInUse => report.problem(
            subject,
            "another program has the port",
            format!(
                "see who: `ss -ltnp sport = :{}`; end it, or name another port",
                address.port()
            ),
        ),
        io::ErrorKind::PermissionDenied => report.problem(
            subject,
            "this account may not have the port",
            "take one from 1024 on, or give the service CAP_NET_BIND_SERVICE (see the unit)",
        ),
        io::ErrorKind::AddrNotAvailable => report.problem(
            subject,
            "this machine does not have the address",
            "see `ip addr`; 0.0.0.0 stands for all of them",
        ),
        _ => report.problem(subject, error.to_string(), "name another address"),
    }
}

/// Connects as a client on this machine would.
fn connect(address: SocketAddr) -> Option<TcpStream> {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    TcpStream::connect_timeout(&SocketAddr::new(ip, address.port()), PATIENCE).ok()
}

fn is_our_admin(stream: Option<TcpStream>) -> bool {
    stream.is_some_and(|stream| {
        let answer = answer(stream, "/metrics");
        // Without its token it says at least whose it is.
        answer.contains("\ns3proxy_build_info{") || answer.contains("realm=\"s3proxy\"")
    })
}

/// The beginning of the answer to an unsigned request, in which field names are lower case.
fn answer(mut stream: TcpStream, path: &str) -> String {
    let asked = stream
        .set_read_timeout(Some(PATIENCE))
        .and_then(|()| stream.set_write_timeout(Some(PATIENCE)))
        .and_then(|()| {
            write!(
                stream,
                "GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n"
            )
        });
    let mut answer = Vec::new();
    if asked.is_ok() {
        // What came before a time-out is looked at as well.
        let _ = stream.take(MAX_ANSWER).read_to_end(&mut answer);
    }
    String::from_utf8_lossy(&answer).to_lowercase()
}

fn socket(path: &Path, subject: &str, report: &mut Report) {
    if UnixStream::connect(path).is_ok() {
        // Only who may enter the directory could have put it there.
        report.ok(subject, "somebody listens there: s3proxy, if it runs");
        return;
    }
    let directory = path.parent().unwrap_or(path);
    if !directory.is_dir() {
        let said = format!("there is no directory {}", directory.display());
        report.problem(subject, said, "make it, for the service's account alone");
    } else if rustix::fs::access(directory, Access::WRITE_OK | Access::EXEC_OK).is_err() {
        let said = format!("this account may not write to {}", directory.display());
        report.problem(subject, said, "give it the directory, or name another");
    } else {
        report.ok(subject, "can be made");
    }
}
