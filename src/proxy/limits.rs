//! What one process and one client may take, checked. The defaults stand in the key table of the
//! configuration, each with its reason.

use std::time::Duration;

use pingora::proxy::Session;

/// Bounds on clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Client connections open at once.
    pub connections: usize,
    /// Requests served at once; above it `SlowDown`.
    pub requests: usize,
    /// Requests served at once for one principal; above it `SlowDown`.
    pub requests_per_client: usize,
    /// Largest request head.
    pub header_bytes: usize,
    /// Largest body that is read whole: the XML of `DeleteObjects`, `CompleteMultipartUpload` and
    /// the like. Object bytes are streamed and not counted here.
    pub xml_body_bytes: usize,
    /// The longest time from the first byte of a request head to its last.
    pub header_timeout: Duration,
    /// The longest silence of a client that is sending a body.
    pub read_timeout: Duration,
    /// The longest time that a whole body may take to arrive.
    pub body_timeout: Duration,
    /// The longest time that one write to a client may wait.
    pub write_timeout: Duration,
    /// Bytes a second below which a client that reads too slowly is cut off; `None` leaves it to
    /// `write_timeout`.
    pub min_send_rate: Option<usize>,
    /// How long a connection may idle between two requests.
    pub keepalive_timeout: Duration,
    /// How long the rest of a refused upload is read before the connection is closed.
    pub drain_timeout: Duration,
}

impl Limits {
    /// Sets what Pingora enforces for this session. Its own defaults are "none" for most.
    pub(super) fn apply(&self, session: &mut Session) {
        // A process that is shutting down has switched keep-alive off already.
        if session.get_keepalive().is_some() {
            session.set_keepalive(Some(self.keepalive_timeout.as_secs().max(1)));
        }
        session.set_read_timeout(Some(self.read_timeout));
        session.set_write_timeout(Some(self.write_timeout));
        session.set_min_send_rate(self.min_send_rate);
        session.set_total_drain_timeout(Some(self.drain_timeout));
    }
}
