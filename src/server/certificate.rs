//! The certificate of a TLS listener, which may be replaced under its connections.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::SystemTime;
use std::time::UNIX_EPOCH;

use arc_swap::ArcSwap;
use rustls::server::ClientHello;
use rustls::server::ResolvesServerCert;
use rustls::sign::CertifiedKey;

use crate::config::EXPIRES_SOON;
use crate::config::expiry;
use crate::telemetry::Metrics;

/// Gives the listener's one certificate to every client. Connections that are open keep what they
/// agreed on.
#[derive(Debug)]
pub(super) struct ListenerCertificate(ArcSwap<CertifiedKey>);

impl ListenerCertificate {
    pub(super) fn new(certificate: CertifiedKey) -> Self {
        Self(ArcSwap::from_pointee(certificate))
    }

    /// Every handshake gets this one from now on.
    pub(super) fn replace(&self, certificate: CertifiedKey) {
        self.0.store(Arc::new(certificate));
    }

    /// Shows when it expires, and warns when that is near: whoever connects then turns away.
    pub(super) fn tell_expiry(&self, listener: SocketAddr, metrics: &Metrics) {
        let Some(expires) = expiry(&self.0.load()) else {
            return;
        };
        metrics.certificate_expires(&listener.to_string(), expires);
        let seconds = |time: SystemTime| time.duration_since(UNIX_EPOCH).unwrap_or_default();
        let now = i64::try_from(seconds(SystemTime::now()).as_secs()).unwrap_or(i64::MAX);
        let left = expires.saturating_sub(now);
        if left < 0 {
            log::warn!("the certificate of {listener} has expired: clients refuse it");
        } else if left.cast_unsigned() < EXPIRES_SOON.as_secs() {
            let hours = left / 3600;
            log::warn!("the certificate of {listener} expires in {hours} hours");
        }
    }
}

impl ResolvesServerCert for ListenerCertificate {
    fn resolve(&self, _client_hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.load_full())
    }
}
