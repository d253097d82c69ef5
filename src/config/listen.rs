//! Where clients connect to, checked.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

/// One listener for clients.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ListenConfig {
    /// Plain HTTP.
    Tcp(SocketAddr),
    /// HTTPS.
    Tls {
        /// Address and port.
        addr: SocketAddr,
        /// Certificate chain (PEM), the server's own certificate first.
        cert: PathBuf,
        /// Its private key (PEM).
        key: PathBuf,
    },
    /// Plain HTTP over a Unix socket.
    Unix {
        /// Where the socket appears.
        path: PathBuf,
        /// Its permission bits, never for everyone.
        mode: u32,
    },
}

impl ListenConfig {
    /// The network address; a Unix socket has none.
    pub fn address(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(addr) | Self::Tls { addr, .. } => Some(*addr),
            Self::Unix { .. } => None,
        }
    }

    /// Whether only this machine can reach it.
    pub fn is_local(&self) -> bool {
        self.address().is_none_or(|addr| addr.ip().is_loopback())
    }
}

impl fmt::Display for ListenConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(addr) => write!(f, "http://{addr}"),
            Self::Tls { addr, .. } => write!(f, "https://{addr}"),
            Self::Unix { path, mode } => write!(f, "unix:{} (mode {mode:04o})", path.display()),
        }
    }
}
