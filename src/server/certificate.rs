//! The certificate of a TLS listener, checked before Pingora sees it.

use std::fmt;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;

use rustls::crypto::ring::default_provider;
use rustls::server::ClientHello;
use rustls::server::ResolvesServerCert;
use rustls::sign::CertifiedKey;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::PrivateKeyDer;
use rustls_pki_types::pem::PemObject;

/// Why a listener's certificate or key cannot be used.
#[derive(Debug)]
pub struct CertificateError {
    path: PathBuf,
    reason: String,
}

impl fmt::Display for CertificateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path.display(), self.reason)
    }
}

impl std::error::Error for CertificateError {}

/// Gives the listener's one certificate to every client.
#[derive(Debug)]
pub(super) struct ListenerCertificate(Arc<CertifiedKey>);

impl ListenerCertificate {
    /// Reads chain and key, and checks that they belong together.
    pub(super) fn read(chain: &Path, key: &Path) -> Result<Self, CertificateError> {
        let fail = |path: &Path, reason: String| CertificateError {
            path: path.into(),
            reason,
        };
        let certificates = CertificateDer::pem_file_iter(chain)
            .and_then(Iterator::collect::<Result<Vec<_>, _>>)
            .map_err(|error| fail(chain, error.to_string()))?;
        if certificates.is_empty() {
            return Err(fail(chain, "there is no certificate in it".to_owned()));
        }
        let private =
            PrivateKeyDer::from_pem_file(key).map_err(|error| fail(key, error.to_string()))?;
        let certified = CertifiedKey::from_der(certificates, private, &default_provider())
            .map_err(|error| fail(key, error.to_string()))?;
        Ok(Self(Arc::new(certified)))
    }
}

impl ResolvesServerCert for ListenerCertificate {
    fn resolve(&self, _client_hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }
}
