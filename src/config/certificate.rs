//! The certificate of a TLS listener: read, and held against its key, before Pingora sees it.

use std::fmt;
use std::path::Path;
use std::path::PathBuf;

use rustls::crypto::ring::default_provider;
use rustls::sign::CertifiedKey;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::PrivateKeyDer;
use rustls_pki_types::pem::PemObject;

use super::files;

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

fn fail(path: &Path, reason: &impl fmt::Display) -> CertificateError {
    CertificateError {
        path: path.to_owned(),
        reason: reason.to_string(),
    }
}
