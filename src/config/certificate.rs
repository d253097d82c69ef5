//! The certificate of a TLS listener: read, and held against its key, before Pingora sees it.

use std::fmt;
use std::path::Path;
use std::path::PathBuf;
use std::time::Duration;

use rustls::crypto::ring::default_provider;
use rustls::sign::CertifiedKey;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::PrivateKeyDer;
use rustls_pki_types::pem::PemObject;
use x509_parser::prelude::FromDer;
use x509_parser::prelude::X509Certificate;

use super::files;

/// Whoever renews certificates by machine does so a month before their end; this is late.
pub const EXPIRES_SOON: Duration = Duration::from_hours(14 * 24);

/// Why a listener's certificate or key cannot be used.
#[derive(Debug)]
pub struct CertificateError {
    pub(super) path: PathBuf,
    pub(super) reason: String,
}

impl fmt::Display for CertificateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path.display(), self.reason)
    }
}

impl std::error::Error for CertificateError {}

/// Reads chain and key, and checks that they belong together.
pub fn read_certificate(chain: &Path, key: &Path) -> Result<CertifiedKey, CertificateError> {
    let read = |path: &Path| files::read(path).map_err(|error| fail(path, &error));
    from_pem((chain, &read(chain)?), (key, &read(key)?))
}

/// The same from what was in the files.
pub(super) fn from_pem(
    (chain, certificates): (&Path, &[u8]),
    (key, private): (&Path, &[u8]),
) -> Result<CertifiedKey, CertificateError> {
    let certificates = CertificateDer::pem_slice_iter(certificates)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| fail(chain, &error))?;
    if certificates.is_empty() {
        return Err(fail(chain, &"there is no certificate in it"));
    }
    let private = PrivateKeyDer::from_pem_slice(private).map_err(|error| fail(key, &error))?;
    CertifiedKey::from_der(certificates, private, &default_provider()).map_err(|error| {
        let at = match &error {
            rustls::Error::InvalidCertificate(_) => chain,
            _ => key,
        };
        fail(at, &error)
    })
}

/// When it is no longer valid, in seconds since the Unix epoch; `None` when that cannot be read.
pub fn expiry(certificate: &CertifiedKey) -> Option<i64> {
    let own = certificate.cert.first()?;
    let (_, parsed) = X509Certificate::from_der(own).ok()?;
    Some(parsed.validity().not_after.timestamp())
}

fn fail(path: &Path, reason: &impl fmt::Display) -> CertificateError {
    CertificateError {
        path: path.to_owned(),
        reason: reason.to_string(),
    }
}
