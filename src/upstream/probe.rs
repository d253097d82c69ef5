//! Asks every origin now and then whether it answers at all, for `/readyz`.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::header;
use parking_lot::Mutex;
use pingora::http::RequestHeader;
use pingora::server::ShutdownWatch;
use pingora::services::background::BackgroundService;
use tokio::time::Instant;

use super::error::UpstreamError;
use super::fetch::Fetch;
use super::origin::Origin;
use crate::telemetry::OriginMetrics;
use crate::telemetry::OriginStatus;
use crate::telemetry::Reachability;
use crate::telemetry::Readiness;

/// Pause between two probes of the same origin.
const INTERVAL: Duration = Duration::from_secs(10);

/// A probe that takes longer says that the origin is unreachable.
const PATIENCE: Duration = Duration::from_secs(5);

/// More of an answer than this is of no interest; any answer at all will do.
const MAX_ANSWER: usize = 1 << 20;

/// What the last probes found.
pub struct Probes {
    origins: Vec<(Arc<Origin>, OriginMetrics)>,
    fetch: Arc<Fetch>,
    found: Mutex<Vec<(Reachability, Option<Instant>)>>,
}

impl Probes {
    /// No probe was made yet.
    pub fn new(origins: Vec<(Arc<Origin>, OriginMetrics)>, fetch: Arc<Fetch>) -> Self {
        let found = Mutex::new(vec![(Reachability::Unknown, None); origins.len()]);
        Self {
            origins,
            fetch,
            found,
        }
    }

    async fn probe_all(&self) {
        for (position, (origin, metrics)) in self.origins.iter().enumerate() {
            let reachability = match self.probe(origin).await {
                Ok(()) => Reachability::Reachable,
                Err(error) => {
                    log::debug!("origin {} does not answer: {error}", origin.config.name);
                    Reachability::Unreachable(error.kind().as_str())
                }
            };
            metrics.reachable(reachability == Reachability::Reachable);
            self.note(position, &origin.config.name, reachability);
        }
    }

    fn note(&self, position: usize, name: &str, now: Reachability) {
        let mut found = self.found.lock();
        let before = found[position].0;
        match (before, now) {
            (Reachability::Reachable | Reachability::Unknown, Reachability::Unreachable(why)) => {
                log::warn!("origin {name} is unreachable: {why}");
            }
            (Reachability::Unreachable(_), Reachability::Reachable) => {
                log::info!("origin {name} is reachable again");
            }
            _ => {}
        }
        found[position] = (now, Some(Instant::now()));
    }

    /// Any answer counts: an origin that refuses an unsigned request is there.
    async fn probe(&self, origin: &Origin) -> Result<(), UpstreamError> {
        let destination = origin.destination(None);
        let mut head =
            RequestHeader::build("GET", b"/", Some(1)).map_err(UpstreamError::Connection)?;
        head.insert_header(header::HOST, destination.endpoint.authority())
            .map_err(UpstreamError::Connection)?;
        let peer = origin.peer(&destination).await?;
        match self
            .fetch
            .exchange(&peer, head, Bytes::new(), MAX_ANSWER, PATIENCE)
            .await
        {
            Ok(_) | Err(UpstreamError::AnswerTooLong(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

impl Readiness for Probes {
    fn origins(&self) -> Vec<OriginStatus> {
        let found = self.found.lock();
        let known = self.origins.iter().zip(found.iter());
        known
            .map(|((origin, _), (reachability, at))| OriginStatus {
                name: Arc::clone(&origin.config.name),
                reachability: *reachability,
                age: at.map(|at| at.elapsed()),
            })
            .collect()
    }
}

#[async_trait]
impl BackgroundService for Probes {
    async fn start(&self, mut shutdown: ShutdownWatch) {
        loop {
            self.probe_all().await;
            tokio::select! {
                () = tokio::time::sleep(INTERVAL) => {}
                _ = shutdown.changed() => return,
            }
        }
    }
}
