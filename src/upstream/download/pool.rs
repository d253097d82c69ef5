//! Connections to one origin that are open and idle.
//!
//! Pingora's own pool drops a connection now and then when it is taken on another thread than the
//! one it was put back on (cloudflare/pingora#998), and it bounds nothing per origin. This one is a
//! stack: the connection used last is used next, so that the others can age and be closed.

use std::collections::VecDeque;
use std::future::Future;
use std::future::poll_fn;
use std::pin::Pin;
use std::pin::pin;
use std::sync::Arc;
use std::sync::Weak;
use std::task::Context;
use std::task::Waker;
use std::time::Duration;

use parking_lot::Mutex;
use pingora::protocols::Stream;
use tokio::io::AsyncRead;
use tokio::io::ReadBuf;
use tokio::time::Instant;

use crate::upstream::config::Endpoint;
use crate::upstream::origin::Destination;

/// What two connections must have in common to stand for each other: where they lead, and which
/// name the other side has proved to have. The authorities it was checked against are the origin's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ConnectionKey {
    pub(super) endpoint: Endpoint,
    /// Empty without TLS.
    pub(super) server_name: String,
}

impl ConnectionKey {
    pub(super) fn of(destination: &Destination) -> Self {
        let server_name = if destination.endpoint.is_tls {
            destination.server_name.clone()
        } else {
            String::new()
        };
        Self {
            endpoint: destination.endpoint.clone(),
            server_name,
        }
    }
}

/// The idle connections of one origin.
pub(super) struct Pool {
    max_idle: usize,
    idle_timeout: Duration,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The one put back last is at the end.
    idle: VecDeque<Idle>,
    is_swept: bool,
}

struct Idle {
    key: ConnectionKey,
    stream: Stream,
    since: Instant,
}

impl Pool {
    pub(super) fn new(max_idle: usize, idle_timeout: Duration) -> Arc<Self> {
        Arc::new(Self {
            max_idle,
            idle_timeout,
            state: Mutex::default(),
        })
    }

    /// A connection that seems to be alive.
    pub(super) fn take(&self, key: &ConnectionKey) -> Option<Stream> {
        loop {
            let mut idle = {
                let mut state = self.state.lock();
                let position = state.idle.iter().rposition(|idle| idle.key == *key)?;
                state.idle.remove(position)?
            };
            if idle.since.elapsed() < self.idle_timeout && is_quiet(&mut idle.stream) {
                return Some(idle.stream);
            }
        }
    }

    /// Keeps a connection for the next request.
    pub(super) fn put(self: &Arc<Self>, key: ConnectionKey, mut stream: Stream) {
        if !is_quiet(&mut stream) {
            return;
        }
        let since = Instant::now();
        let (closed, sweep) = {
            let mut state = self.state.lock();
            state.idle.push_back(Idle { key, stream, since });
            let closed = if state.idle.len() > self.max_idle {
                state.idle.pop_front()
            } else {
                None
            };
            let sweep = !state.is_swept && !state.idle.is_empty();
            state.is_swept |= sweep;
            (closed, sweep)
        };
        drop(closed);
        if sweep {
            tokio::spawn(sweep_pool(Arc::downgrade(self)));
        }
    }

    /// Closes the connection that has been idle the longest; false when there is none.
    pub(super) fn close_oldest(&self) -> bool {
        let oldest = self.state.lock().idle.pop_front();
        oldest.is_some()
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.state.lock().idle.len()
    }

    /// Closes what has been idle for too long, and says when to look again; `None`: nothing is left.
    fn sweep(&self) -> Option<Instant> {
        let mut state = self.state.lock();
        let mut closed = Vec::new();
        while let Some(oldest) = state.idle.front() {
            let end = oldest.since + self.idle_timeout;
            if end > Instant::now() {
                drop(state);
                return Some(end);
            }
            closed.extend(state.idle.pop_front());
        }
        state.is_swept = false;
        drop(state);
        None
    }
}

async fn sweep_pool(pool: Weak<Pool>) {
    while let Some(next) = pool.upgrade().and_then(|pool| pool.sweep()) {
        tokio::time::sleep_until(next).await;
    }
}

/// Whether the other side has neither closed the connection nor said anything. An origin that
/// speaks unasked has sent more than it promised; what it says belongs to no request.
fn is_quiet(stream: &mut Stream) -> bool {
    let mut byte = [0];
    let mut buffer = ReadBuf::new(&mut byte);
    let read = poll_fn(|context| Pin::new(&mut *stream).poll_read(context, &mut buffer));
    // Unconstrained: a task that has used up its turn would be told that every connection is quiet.
    let read = pin!(tokio::task::unconstrained(read));
    read.poll(&mut Context::from_waker(Waker::noop()))
        .is_pending()
}
