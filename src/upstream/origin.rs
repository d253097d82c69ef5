//! One origin at run time, and which origin serves a bucket.

use std::sync::Arc;
use std::time::SystemTime;

use http::Method;
use pingora::http::RequestHeader;
use pingora::protocols::tls::CaType;
use pingora::upstreams::peer::HttpPeer;

use super::config::Addressing;
use super::config::Endpoint;
use super::config::OriginConfig;
use super::credentials::OriginCredentials;
use super::error::UpstreamError;
use super::region::Regions;
use super::region::regional_endpoint;
use super::resolve::Resolver;
use super::retry::RetryBudget;
use super::rewrite::OriginBody;
use super::rewrite::rewrite;
use super::sign::sign_request;
use super::tls::CaFileError;
use super::tls::read_ca_file;
use crate::s3::Bucket;
use crate::s3::Credentials;
use crate::s3::Request;

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
    ca: Option<Arc<CaType>>,
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
        let ca = config.ca_file.as_deref().map(read_ca_file).transpose()?;
        Ok(Self {
            config,
            credentials,
            regions: Regions::default(),
            retry_budget: RetryBudget::default(),
            resolver,
            ca,
            group_key: position,
        })
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
        let address =
            self.resolver.resolve(host, *port).await.map_err(UpstreamError::Resolve)?;
        let sni = if *is_tls { destination.server_name.clone() } else { String::new() };
        let mut peer = HttpPeer::new(address, *is_tls, sni);
        peer.group_key = self.group_key;
        let timeouts = &self.config.timeouts;
        peer.options.connection_timeout = Some(timeouts.connect);
        peer.options.total_connection_timeout = Some(timeouts.connect);
        peer.options.read_timeout = Some(timeouts.read);
        peer.options.write_timeout = Some(timeouts.write);
        peer.options.idle_timeout = Some(self.config.idle_timeout);
        peer.options.ca.clone_from(&self.ca);
        Ok(peer)
    }

    /// The request as it goes on the wire, signed now. `own` signs it as the client itself.
    pub async fn request(
        &self,
        request: &Request,
        method: &Method,
        client: &http::HeaderMap,
        body: &OriginBody,
        destination: &Destination,
        own: Option<&Credentials>,
    ) -> Result<RequestHeader, UpstreamError> {
        let host = destination.endpoint.authority();
        let rewritten = rewrite(request, method, client, &host, self.config.addressing, body);
        let current;
        let credentials = match own {
            Some(own) => Some(own),
            None => {
                current = self.credentials.current().await.map_err(UpstreamError::Credentials)?;
                current.as_ref()
            }
        };
        let now = SystemTime::now();
        sign_request(&rewritten, credentials, &destination.region, now).map_err(UpstreamError::Sign)
    }
}

/// All origins, in the order in which a bucket is looked up.
#[derive(Clone)]
pub struct Origins(Arc<[Arc<Origin>]>);

impl Origins {
    /// Takes the origins in configured order.
    pub fn new(origins: Vec<Arc<Origin>>) -> Self {
        Self(origins.into())
    }

    /// The origin that serves a bucket: the first whose globs match.
    pub fn for_bucket(&self, bucket: &Bucket) -> Option<&Arc<Origin>> {
        self.0.iter().find(|origin| origin.config.buckets.is_match(bucket.as_str()))
    }

    /// Every origin.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Origin>> {
        self.0.iter()
    }
}
