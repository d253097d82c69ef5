//! One origin at run time, and which origin serves a bucket.

use std::sync::Arc;
use std::sync::OnceLock;
use std::time::Instant;
use std::time::SystemTime;

use bytes::Bytes;
use http::HeaderMap;
use http::Method;
use pingora::http::RequestHeader;
use pingora::upstreams::peer::HttpPeer;
use sha2::Digest;
use sha2::Sha256;

use super::config::Addressing;
use super::config::Endpoint;
use super::config::OriginConfig;
use super::credentials::OriginCredentials;
use super::download::Lane;
use super::error::UpstreamError;
use super::fetch::Answer;
use super::fetch::Fetch;
use super::region::RegionHint;
use super::region::Regions;
use super::region::hint_of;
use super::region::regional_endpoint;
use super::resolve::Resolver;
use super::retry::RetryBudget;
use super::retry::backoff;
use super::retry::is_transient;
use super::retry::jitter;
use super::rewrite::OriginBody;
use super::rewrite::PayloadHash;
use super::rewrite::rewrite;
use super::sign::SigningKeys;
use super::sign::sign_request;
use super::tls::Authorities;
use super::tls::CaFileError;
use crate::s3::Bucket;
use crate::s3::Credentials;
use crate::s3::Request;
use crate::sigv4::hex;
use crate::telemetry::OriginMetrics;
use crate::telemetry::trace;
use crate::telemetry::trace::Span;
use crate::telemetry::trace::Trace;

/// An origin that requests can be sent to.
pub struct Origin {
    /// Its configuration.
    pub config: OriginConfig,
    /// Its own credentials.
    pub credentials: OriginCredentials,
    /// Where its buckets turned out to live.
    pub regions: Regions,
    /// How many reads may still be retried.
    pub retry_budget: RetryBudget,
    resolver: Arc<Resolver>,
    authorities: Option<Authorities>,
    signing_keys: SigningKeys,
    metrics: OnceLock<OriginMetrics>,
    /// The connections that downloads use.
    pub(super) lane: OnceLock<Lane>,
    /// Keeps connections that were verified against different authorities apart in the pool.
    group_key: u64,
}

/// Where a request goes, and for which region it is signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Destination {
    /// Endpoint, of the bucket's own region when that is known.
    pub endpoint: Endpoint,
    /// Region to sign for.
    pub region: String,
    /// Name in the certificate and in SNI.
    pub server_name: String,
}

impl Origin {
    /// Prepares an origin. `position` tells it apart from the others.
    pub fn new(
        config: OriginConfig,
        credentials: OriginCredentials,
        resolver: Arc<Resolver>,
        position: u64,
    ) -> Result<Self, CaFileError> {
        let authorities = config.ca_file.as_deref();
        let authorities = authorities.map(Authorities::read).transpose()?;
        Ok(Self {
            config,
            credentials,
            regions: Regions::default(),
            retry_budget: RetryBudget::default(),
            resolver,
            authorities,
            signing_keys: SigningKeys::default(),
            metrics: OnceLock::new(),
            lane: OnceLock::new(),
            group_key: position,
        })
    }

    /// Whether it is told the same as another one, down to the contents of files.
    pub fn is_as(&self, other: &Self) -> bool {
        self.config == other.config && self.authorities == other.authorities
    }

    /// Counts in these metrics from now on what the origin asks on its own account.
    pub fn report_to(&self, metrics: OriginMetrics) {
        self.credentials.report_to(metrics.clone());
        // Set once, when the origin is built.
        let _ = self.metrics.set(metrics);
    }

    /// Where it counts.
    pub(super) fn metrics(&self) -> Option<&OriginMetrics> {
        self.metrics.get()
    }

    /// Where requests for a bucket go now.
    pub fn destination(&self, bucket: Option<&Bucket>) -> Destination {
        let config = &self.config;
        let learned = bucket.and_then(|bucket| self.regions.get(bucket));
        let endpoint = match &learned {
            Some(region) => regional_endpoint(&config.endpoint, region),
            None => config.endpoint.clone(),
        };
        let server_name = match (&config.server_name, config.addressing, bucket) {
            (Some(name), _, _) => name.clone(),
            (None, Addressing::VirtualHosted, Some(bucket)) => {
                format!("{bucket}.{}", endpoint.host)
            }
            (None, _, _) => endpoint.host.clone(),
        };
        Destination {
            region: learned.unwrap_or_else(|| config.region.clone()),
            endpoint,
            server_name,
        }
    }

    /// The peer to connect to, every time-out set.
    pub async fn peer(&self, destination: &Destination) -> Result<HttpPeer, UpstreamError> {
        let Endpoint { is_tls, host, port } = &destination.endpoint;
        let address = self
            .resolver
            .resolve(host, *port)
            .await
            .map_err(UpstreamError::Resolve)?;
        let sni = if *is_tls {
            destination.server_name.clone()
        } else {
            String::new()
        };
        let mut peer = HttpPeer::new(address, *is_tls, sni);
        peer.group_key = self.group_key;
        let timeouts = &self.config.timeouts;
        peer.options.connection_timeout = Some(timeouts.connect);
        peer.options.total_connection_timeout = Some(timeouts.connect);
        peer.options.read_timeout = Some(timeouts.read);
        peer.options.write_timeout = Some(timeouts.write);
        peer.options.idle_timeout = Some(self.config.idle_timeout);
        peer.options.ca = self.authorities.as_ref().map(|it| Arc::clone(&it.ca));
        Ok(peer)
    }

    /// A request to it, as a span of this trace.
    pub fn span(&self, trace: &Trace, destination: &Destination) -> Span {
        trace.origin_request(&self.config.name, &destination.endpoint.host)
    }

    /// The same of the trace at work, if there is one.
    pub(super) fn current_span(&self, destination: &Destination) -> Option<Span> {
        Some(self.span(&trace::current()?, destination))
    }

    /// What requests are signed with: the client's own credentials where they are given, or else
    /// the origin's; nothing for an anonymous origin.
    pub async fn signer(
        &self,
        own: Option<&Credentials>,
    ) -> Result<Option<Credentials>, UpstreamError> {
        match own {
            Some(own) => Ok(Some(own.clone())),
            None => self
                .credentials
                .current()
                .await
                .map_err(UpstreamError::Credentials),
        }
    }

    /// The request as it goes on the wire, signed now.
    pub fn request(
        &self,
        request: &Request,
        method: &Method,
        client: &HeaderMap,
        body: &OriginBody,
        destination: &Destination,
        signer: Option<&Credentials>,
    ) -> Result<RequestHeader, UpstreamError> {
        let host = destination.endpoint.authority();
        let rewritten = rewrite(request, method, client, &host, self.config.addressing, body);
        let now = SystemTime::now();
        sign_request(
            &rewritten,
            signer,
            &destination.region,
            now,
            &self.signing_keys,
        )
        .map_err(UpstreamError::Sign)
    }
}

impl Origin {
    /// Asks the origin something small and reads the whole answer. A hint that the bucket lives
    /// elsewhere is followed once; reads are tried again while the origin is ill.
    pub async fn ask(
        &self,
        fetch: &Fetch,
        question: &Question<'_>,
    ) -> Result<Answer, UpstreamError> {
        let mut attempt = 0;
        loop {
            let destination = self.destination(question.request.bucket.as_ref());
            let outcome = self.ask_once(fetch, question, &destination).await;
            let again = match &outcome {
                Ok(answer) => {
                    let hint = hint_of(answer.status, &answer.headers, &destination.region);
                    self.learn(question.request.bucket.as_ref(), &hint, &destination)?
                        || (question.is_read && is_transient(answer.status))
                }
                Err(UpstreamError::Connection(_)) => question.is_read,
                Err(_) => false,
            };
            if !again || attempt == self.config.max_retries || !self.retry_budget.spend() {
                return outcome;
            }
            attempt += 1;
            tokio::time::sleep(backoff(attempt, jitter())).await;
        }
    }

    async fn ask_once(
        &self,
        fetch: &Fetch,
        question: &Question<'_>,
        destination: &Destination,
    ) -> Result<Answer, UpstreamError> {
        let plan = match question.body.len() {
            0 => OriginBody::Absent,
            length => OriginBody::Plain {
                length: length as u64,
                payload: PayloadHash::Sha256(hex_sha256(&question.body)),
            },
        };
        let Question {
            request,
            method,
            headers,
            own,
            ..
        } = question;
        let signer = self.signer(*own).await?;
        let mut head = self.request(
            request,
            method,
            headers,
            &plan,
            destination,
            signer.as_ref(),
        )?;
        let mut span = self.current_span(destination);
        tell_trace(&mut head, span.as_ref()).map_err(UpstreamError::Connection)?;
        let peer = self.peer(destination).await?;
        let (body, timeout) = (question.body.clone(), self.config.timeouts.total);
        let sent = Instant::now();
        let attempt = self.metrics().map(|to| to.attempt(request.operation));
        let outcome = fetch
            .exchange(&peer, head, body, question.max_answer, timeout)
            .await;
        if let (Some(span), Ok(answer)) = (&mut span, &outcome) {
            span.answered(answer.status);
        }
        match (attempt, &outcome) {
            (None, _) => {}
            (Some(attempt), Ok(answer)) => attempt.answered(answer.status, sent.elapsed()),
            (Some(attempt), Err(error)) => attempt.failed(error.kind()),
        }
        if let (Some(metrics), Ok(answer)) = (self.metrics(), &outcome) {
            metrics.received(answer.body.len());
        }
        if let (Ok(answer), Some(used), None) = (&outcome, signer, own) {
            self.signed_with(used).check(answer);
        }
        outcome
    }

    /// Acts on a hint that an answer gave; true when the request, which went to `asked`, should be
    /// sent again: the bucket is elsewhere, as is known now or was learned meanwhile.
    pub fn learn(
        &self,
        bucket: Option<&Bucket>,
        hint: &RegionHint,
        asked: &Destination,
    ) -> Result<bool, UpstreamError> {
        match (hint, bucket) {
            (RegionHint::None, _) => Ok(false),
            (RegionHint::Region(region), Some(bucket))
                if self.regions.learn(bucket, region)
                    || self.destination(Some(bucket)) != *asked =>
            {
                Ok(true)
            }
            // Known already, or not about a bucket: following it again would go round in circles.
            (RegionHint::Region(_) | RegionHint::Unusable, _) => Err(UpstreamError::Redirected),
        }
    }

    /// Connecting to this address failed: another one is tried first next time.
    pub fn connect_failed(&self, address: std::net::SocketAddr) {
        self.resolver.mark_failed(address);
    }
}

/// Tells the origin about a trace. It is not signed: what stands between may add to it.
pub fn tell_trace(head: &mut RequestHeader, span: Option<&Span>) -> pingora::Result<()> {
    for (name, value) in span.into_iter().flat_map(Span::fields) {
        head.insert_header(name, value)?;
    }
    Ok(())
}

/// A small request of the proxy's own.
pub struct Question<'a> {
    /// What is asked.
    pub request: &'a Request,
    /// How.
    pub method: Method,
    /// Fields to send, as a client would.
    pub headers: HeaderMap,
    /// The whole body.
    pub body: Bytes,
    /// Whether asking twice is harmless.
    pub is_read: bool,
    /// Whose name it is signed in; the origin's own when absent.
    pub own: Option<&'a Credentials>,
    /// The longest answer that makes sense.
    pub max_answer: usize,
}

fn hex_sha256(bytes: &[u8]) -> String {
    hex::encode(&Sha256::digest(bytes).into())
}
