//! One request's way to its origin: attempts, and whether there is another.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;

use crate::s3::Credentials;
use crate::telemetry::Attempt;
use crate::telemetry::OriginMetrics;
use crate::telemetry::RetryReason;
use crate::telemetry::trace::Span;
use crate::upstream::Destination;
use crate::upstream::Origin;

/// The state of forwarding one request.
pub struct Forward {
    /// Where it goes.
    pub origin: Arc<Origin>,
    /// Its metrics.
    pub metrics: OriginMetrics,
    /// Whether it is signed in the client's own name.
    pub is_own: bool,
    /// Whether it only reads: only then may it be sent twice.
    pub is_read: bool,
    /// Attempts begun.
    pub attempts: u32,
    /// Destination of the present attempt.
    pub destination: Option<Destination>,
    /// Address of the present attempt.
    pub address: Option<SocketAddr>,
    /// Since when the present attempt waits for an answer.
    pub sent: Option<Instant>,
    /// Waiting for the origin so far.
    pub waited: Duration,
    /// The present attempt, from its head to the head of its answer.
    pub attempt: Option<Attempt>,
    /// What the present attempt is signed with; absent when it goes out unsigned.
    pub signed_with: Option<Credentials>,
    /// The present attempt, as long as it waits for an answer and is traced.
    pub span: Option<Span>,
    /// Why the present attempt was given up for another.
    pub retry: Option<RetryReason>,
}

impl Forward {
    /// Nothing is sent yet.
    pub fn new(origin: Arc<Origin>, metrics: OriginMetrics, is_own: bool, is_read: bool) -> Self {
        origin.retry_budget.earn();
        Self {
            origin,
            metrics,
            is_own,
            is_read,
            attempts: 0,
            destination: None,
            address: None,
            sent: None,
            waited: Duration::ZERO,
            attempt: None,
            signed_with: None,
            span: None,
            retry: None,
        }
    }

    /// Begins another attempt.
    pub fn begin(&mut self, destination: Destination, address: Option<SocketAddr>) {
        self.attempts += 1;
        self.destination = Some(destination);
        self.address = address;
        self.sent = Some(Instant::now());
        self.attempt = None;
        self.retry = None;
    }

    /// The present attempt ended or was answered: adds to the time waited.
    pub fn stop_waiting(&mut self) -> Duration {
        self.span = None;
        let waited = self
            .sent
            .take()
            .map(|sent| sent.elapsed())
            .unwrap_or_default();
        self.waited += waited;
        waited
    }

    /// Takes another attempt for this reason, if there is one left. Writes have none, except where
    /// the origin said, or the missing connection shows, that nothing was done.
    pub fn try_again(&mut self, reason: RetryReason) -> bool {
        let is_certain = matches!(reason, RetryReason::Connect | RetryReason::Region);
        let again = (self.is_read || is_certain)
            && self.attempts <= self.origin.config.max_retries
            && self.origin.retry_budget.spend();
        if again {
            self.metrics.retry(reason);
            self.retry = Some(reason);
        }
        again
    }
}
