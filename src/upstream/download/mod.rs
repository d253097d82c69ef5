//! Streaming reads of objects: the origin side of fills, on connections of their own.
//!
//! A [`Download`] is an answer whose body is read as it arrives. What fails before the head of the
//! answer is tried again here; what fails later is the caller's to take up, who knows which bytes
//! it has.

mod attempt;
mod body;
mod hedge;
mod object;
mod pool;
mod slots;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use async_trait::async_trait;
use pingora::connectors::ConnectorOptions;
use pingora::connectors::TransportConnector;
use pingora::protocols::Stream;
use pingora::upstreams::peer::HttpPeer;

pub use body::Download;
use hedge::Hedging;
pub use object::{AskedRange, Awaited, ObjectAsk, Priority};
use pool::Pool;
use slots::Slots;

use super::error::UpstreamError;
use super::origin::Origin;

/// Bounds on the downloads from one origin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DownloadConfig {
    /// Connections to one origin, those that are idle included.
    pub max_connections: usize,
    /// Requests of each priority that wait for a connection to one origin.
    pub max_waiting: usize,
    /// Whether late answers are asked for once more.
    pub hedges: bool,
}

impl Default for DownloadConfig {
    /// 64 connections carry 5 GB/s at the 80 MB/s that S3 gives to each.
    fn default() -> Self {
        Self {
            max_connections: 64,
            max_waiting: 4096,
            hedges: true,
        }
    }
}

/// Where new connections come from.
#[async_trait]
pub trait Connect: Send + Sync + 'static {
    /// Connects, as far as the request: name checked, TLS agreed, bounded in time by the peer's
    /// options.
    async fn connect(&self, peer: &HttpPeer) -> pingora::Result<Stream>;
}

#[async_trait]
impl Connect for TransportConnector {
    async fn connect(&self, peer: &HttpPeer) -> pingora::Result<Stream> {
        self.new_stream(peer).await
    }
}

/// Makes the connections that downloads use, and says how many there may be. Kept ones belong to
/// their origin: what was verified against its authorities serves no other.
pub struct Downloads {
    source: Box<dyn Connect>,
    config: DownloadConfig,
}

impl Downloads {
    /// Connects with these options; the size of Pingora's pool among them means nothing here.
    pub fn new(config: DownloadConfig, options: Option<ConnectorOptions>) -> Self {
        Self::with_source(config, TransportConnector::new(options))
    }

    /// Connects in another way.
    pub fn with_source(config: DownloadConfig, source: impl Connect) -> Self {
        Self {
            source: Box::new(source),
            config,
        }
    }

    /// Connections to one origin, at most.
    pub fn max_connections(&self) -> usize {
        self.config.max_connections
    }

    /// The way to this origin, made by its first download.
    fn lane<'a>(&self, origin: &'a Origin) -> &'a Lane {
        origin.lane.get_or_init(|| Lane {
            slots: Slots::new(self.config.max_connections, self.config.max_waiting),
            pool: Pool::new(self.config.max_connections, origin.config.idle_timeout),
            hedging: Hedging::default(),
        })
    }
}

/// An origin is busy when more than this part of its connections is in use.
const BUSY: usize = 2;

/// The connections to one origin.
pub(super) struct Lane {
    slots: Arc<Slots>,
    pool: Arc<Pool>,
    hedging: Hedging,
}

impl Lane {
    /// Whether most connections are free, so that a request more takes nobody's place.
    fn is_quiet(&self) -> bool {
        self.slots.used() <= self.slots.limit() / BUSY
    }

    /// Makes room for one more connection. The slots bound those in use; idle ones to other hosts
    /// of the origin count too.
    fn make_room(&self) {
        while self.slots.used() + self.pool.len() > self.slots.limit() && self.pool.close_oldest() {
        }
    }
}

impl Origin {
    /// Asks for an object and gives the answer as soon as its head is there. A hint that the bucket
    /// lives elsewhere is followed once; connections that fail and answers that say the origin is
    /// ill are tried again, as often as the configuration and the retry budget allow.
    pub async fn download(
        &self,
        downloads: &Downloads,
        ask: &ObjectAsk<'_>,
    ) -> Result<Download, UpstreamError> {
        self.retry_budget.earn();
        attempt::Attempts::new(self, downloads, ask).run().await
    }
}
