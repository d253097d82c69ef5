//! What is known of one request while it is served.

use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;
use std::time::SystemTime;

use bytes::Bytes;

use super::admission::ClientPlace;
use super::admission::Place;
use super::body::RequestBody;
use super::cache_use::CacheUse;
use super::comparison::Comparison;
use super::failure::Failure;
use super::forward::Forward;
use super::invalidation::Invalidation;
use super::rejection::ErrorDocument;
use super::settings::Settings;
use crate::auth::Verified;
use crate::read::Harvest;
use crate::s3::Request;
use crate::telemetry::InProgress;
use crate::telemetry::trace::Trace;

/// The state of one request, from its head to its line in the access log.
pub struct RequestCtx {
    /// What the configuration said when its head had arrived; it holds to its end.
    pub settings: Arc<Settings>,
    /// Our id of it: `x-amz-request-id`.
    pub request_id: String,
    /// When its head had arrived.
    pub started: Option<(Instant, SystemTime)>,
    /// Until when its body has to have arrived.
    pub body_deadline: Option<Instant>,
    /// Whether its body broke off.
    pub is_body_broken: bool,
    /// What it asks; absent until classified.
    pub request: Option<Arc<Request>>,
    /// Who asks; absent until verified.
    pub verified: Option<Arc<Verified>>,
    /// The body, when it had to be read before the signature could be checked.
    pub early_body: Option<Bytes>,
    /// Whether the client was told to send its body, if it asked.
    pub is_continued: bool,
    /// Its body's way to the origin.
    pub body: Option<RequestBody>,
    /// Its way to the origin; absent when it is answered here.
    pub forward: Option<Forward>,
    /// Whether the origin was asked in the client's own name.
    pub is_own: bool,
    /// Why it failed here.
    pub failure: Option<Failure>,
    /// Time to the first byte of the answer.
    pub first_byte: Option<Duration>,
    /// An error document of the origin that is looked at before it goes on.
    pub error_document: Option<ErrorDocument>,
    /// What the cache did for it.
    pub cache: CacheUse,
    /// What it changes of what the cache keeps.
    pub invalidation: Option<Invalidation>,
    /// What the cache would have said is compared with the origin's answer.
    pub comparison: Option<Comparison>,
    /// A page of ListObjects that is read along.
    pub harvest: Option<Harvest>,
    /// Its trace, where traces are configured.
    pub trace: Option<Trace>,
    pub(super) place: Option<Place>,
    pub(super) client_place: Option<ClientPlace>,
    pub(super) in_progress: Option<InProgress>,
}

impl RequestCtx {
    /// A request of which nothing is known yet.
    pub fn new(request_id: String, settings: Arc<Settings>) -> Self {
        Self {
            settings,
            request_id,
            started: None,
            body_deadline: None,
            is_body_broken: false,
            request: None,
            verified: None,
            early_body: None,
            is_continued: false,
            body: None,
            forward: None,
            is_own: false,
            failure: None,
            first_byte: None,
            error_document: None,
            cache: CacheUse::default(),
            invalidation: None,
            comparison: None,
            harvest: None,
            trace: None,
            place: None,
            client_place: None,
            in_progress: None,
        }
    }

    /// Since the head arrived.
    pub fn elapsed(&self) -> Duration {
        self.started
            .map(|(instant, _)| instant.elapsed())
            .unwrap_or_default()
    }

    /// What is left of the time that its body has.
    pub fn body_time_left(&self) -> Duration {
        let deadline = self.body_deadline;
        deadline.map_or(Duration::MAX, |deadline| {
            deadline.saturating_duration_since(Instant::now())
        })
    }

    /// Notes that the answer begins now.
    pub fn answer_begins(&mut self) {
        if self.first_byte.is_none() {
            self.first_byte = Some(self.elapsed());
        }
    }

    /// Notes that it is known now who asks, and that they may.
    pub fn is_verified(&mut self) {
        self.cache.verified_after = Some(self.elapsed());
    }

    /// Tells the cache again, before the client learns the outcome of what it wrote.
    pub fn invalidate_again(&mut self) {
        if let Some(invalidation) = &mut self.invalidation {
            invalidation.again();
        }
    }

    /// The origin that the request goes to, by name.
    pub fn origin_name(&self) -> Option<Arc<str>> {
        self.forward
            .as_ref()
            .map(|forward| Arc::clone(&forward.origin.config.name))
    }
}
