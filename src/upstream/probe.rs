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
use tokio::sync::Notify;
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
    fetch: Arc<Fetch>,
    probed: Mutex<Vec<Probed>>,
    /// Other origins have come, which nothing is known of.
    replaced: Notify,
}

/// An origin, and what the last probe of it found.
#[derive(Clone)]
struct Probed {
    origin: Arc<Origin>,
    metrics: OriginMetrics,
    found: Reachability,
    at: Option<Instant>,
}

impl Probes {
    /// No probe was made yet.
    pub fn new(origins: Vec<(Arc<Origin>, OriginMetrics)>, fetch: Arc<Fetch>) -> Self {
        let probes = Self {
            fetch,
            probed: Mutex::default(),
            replaced: Notify::new(),
        };
        probes.replace(origins);
        probes
    }

    /// Probes these from now on, at once. What was known by the same name holds until then.
    pub fn replace(&self, origins: Vec<(Arc<Origin>, OriginMetrics)>) {
        let mut probed = self.probed.lock();
        let known = |(origin, metrics): (Arc<Origin>, OriginMetrics)| {
            let name = &origin.config.name;
            let before = probed.iter().find(|it| it.origin.config.name == *name);
            Probed {
                found: before.map_or(Reachability::Unknown, |before| before.found),
                at: before.and_then(|before| before.at),
                origin,
                metrics,
            }
        };
        let replaced: Vec<_> = origins.into_iter().map(known).collect();
        *probed = replaced;
        drop(probed);
        self.replaced.notify_one();
    }

    async fn probe_all(&self) {
        let origins = self.probed.lock().clone();
        for Probed {
            origin, metrics, ..
        } in origins
        {
            let reachability = match self.probe(&origin).await {
                Ok(()) => Reachability::Reachable,
                Err(error) => {
                    log::debug!("origin {} does not answer: {error}", origin.config.name);
                    Reachability::Unreachable(error.kind().as_str())
                }
            };
            metrics.reachable(reachability == Reachability::Reachable);
            self.note(&origin, reachability);
        }
    }

    fn note(&self, origin: &Arc<Origin>, now: Reachability) {
        let mut probed = self.probed.lock();
        let is_it = |probed: &&mut Probed| Arc::ptr_eq(&probed.origin, origin);
        // It may have been replaced meanwhile.
        let Some(probed) = probed.iter_mut().find(is_it) else {
            return;
        };
        let name = &origin.config.name;
        match (probed.found, now) {
            (Reachability::Reachable | Reachability::Unknown, Reachability::Unreachable(why)) => {
                log::warn!("origin {name} is unreachable: {why}");
            }
            (Reachability::Unreachable(_), Reachability::Reachable) => {
                log::info!("origin {name} is reachable again");
            }
            _ => {}
        }
        probed.found = now;
        probed.at = Some(Instant::now());
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
        let probed = self.probed.lock();
        let status = |probed: &Probed| OriginStatus {
            name: Arc::clone(&probed.origin.config.name),
            reachability: probed.found,
            age: probed.at.map(|at| at.elapsed()),
        };
        probed.iter().map(status).collect()
    }
}

#[async_trait]
impl BackgroundService for Probes {
    async fn start(&self, mut shutdown: ShutdownWatch) {
        loop {
            self.probe_all().await;
            tokio::select! {
                () = tokio::time::sleep(INTERVAL) => {}
                () = self.replaced.notified() => {}
                _ = shutdown.changed() => return,
            }
        }
    }
}
