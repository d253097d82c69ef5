//! A certificate for `localhost`, and clients that believe it.

use std::fs::{self, Permissions};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

use rcgen::CertifiedKey;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::client::Resumption;
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

/// One that has signed itself.
pub(crate) struct Certificate(CertifiedKey);

impl Certificate {
    pub(crate) fn new() -> Self {
        let names = vec!["localhost".to_owned()];
        Self(rcgen::generate_simple_self_signed(names).unwrap())
    }

    /// What the configuration says of a listener with it; it and its key are written into files.
    pub(crate) fn listener(&self, address: SocketAddr, dir: &Path) -> String {
        let (cert, key) = (dir.join("tls.crt"), dir.join("tls.key"));
        fs::write(&cert, self.0.cert.pem()).unwrap();
        fs::write(&key, self.0.key_pair.serialize_pem()).unwrap();
        fs::set_permissions(&key, Permissions::from_mode(0o600)).unwrap();
        let (cert, key) = (cert.display(), key.display());
        format!("tls:\n      addr: {address}\n      cert_file: {cert}\n      key_file: {key}")
    }

    /// A client that takes no session up again: each connection costs a whole handshake.
    pub(crate) fn connector(&self) -> TlsConnector {
        let mut roots = RootCertStore::empty();
        roots.add(self.0.cert.der().clone()).unwrap();
        let mut config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.resumption = Resumption::disabled();
        TlsConnector::from(Arc::new(config))
    }
}
