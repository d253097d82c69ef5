//! Certificate authorities of one origin, read when it is built.

use std::fmt;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;

use pingora::protocols::tls::CaType;
use pingora::utils::tls::WrappedX509;
use pingora::utils::tls::parse_x509;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use x509_parser::prelude::FromDer;
use x509_parser::prelude::X509Certificate;

/// Why a CA file cannot be used.
#[derive(Debug)]
pub struct CaFileError {
    path: PathBuf,
    /// What is wrong with it.
    pub reason: String,
}

impl fmt::Display for CaFileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path.display(), self.reason)
    }
}

impl std::error::Error for CaFileError {}

/// The certificate authorities that an origin's certificate has to come from.
pub(super) struct Authorities {
    certificates: Vec<CertificateDer<'static>>,
    /// The same in Pingora's form.
    pub(super) ca: Arc<CaType>,
}

impl PartialEq for Authorities {
    fn eq(&self, other: &Self) -> bool {
        self.certificates == other.certificates
    }
}

impl Authorities {
    /// Reads every certificate of a PEM file.
    pub(super) fn read(path: &Path) -> Result<Self, CaFileError> {
        let certificates = read_ca_file(path)?;
        let wrap = |der: &CertificateDer<'_>| WrappedX509::new(der.to_vec(), parse_x509);
        Ok(Self {
            ca: certificates.iter().map(wrap).collect(),
            certificates,
        })
    }
}

/// Whether the certificates of a PEM file can be used.
pub fn check_ca_file(path: &Path) -> Result<(), CaFileError> {
    read_ca_file(path).map(drop)
}

fn read_ca_file(path: &Path) -> Result<Vec<CertificateDer<'static>>, CaFileError> {
    let fail = |reason: String| CaFileError {
        path: path.to_owned(),
        reason,
    };
    let certificates = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| fail(error.to_string()))?;
    if certificates.is_empty() {
        return Err(fail("there is no certificate in it".to_owned()));
    }
    for certificate in &certificates {
        X509Certificate::from_der(certificate).map_err(|error| fail(error.to_string()))?;
    }
    Ok(certificates)
}
