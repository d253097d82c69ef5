//! The certificate of a TLS listener, which may be replaced under its connections.

use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::server::ClientHello;
use rustls::server::ResolvesServerCert;
use rustls::sign::CertifiedKey;

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
}

impl ResolvesServerCert for ListenerCertificate {
    fn resolve(&self, _client_hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.load_full())
    }
}
