//! Listeners and origins over TLS, listeners on Unix sockets, buckets in host names.

use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedKey, IsCa, KeyPair};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::call::Call;
use super::client::Client;
use super::origin::Origin;
use super::proxy::{Setup, everything, reader};

/// An authority, and a certificate of its for these names.
pub(super) struct Pki {
    pub(super) ca: String,
    pub(super) cert: String,
    pub(super) key: String,
}

impl Pki {
    pub(super) fn new(names: &[&str]) -> Self {
        Self::valid_until(names, 4000)
    }

    /// The certificate ends with this year's beginning.
    pub(super) fn valid_until(names: &[&str], year: i32) -> Self {
        let ca_key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let ca = params.self_signed(&ca_key).unwrap();
        let key_pair = KeyPair::generate().unwrap();
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.not_after = rcgen::date_time_ymd(year, 1, 1);
        let cert = params.signed_by(&key_pair, &ca, &ca_key).unwrap();
        let leaf = CertifiedKey { cert, key_pair };
        Self {
            ca: ca.pem(),
            cert: leaf.cert.pem(),
            key: leaf.key_pair.serialize_pem(),
        }
    }

    pub(super) fn acceptor(&self) -> TlsAcceptor {
        let chain = vec![CertificateDer::from_pem_slice(self.cert.as_bytes()).unwrap()];
        let key = PrivateKeyDer::from_pem_slice(self.key.as_bytes()).unwrap();
        let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .unwrap();
        TlsAcceptor::from(Arc::new(config))
    }

    pub(super) fn connector(&self) -> TlsConnector {
        let mut roots = RootCertStore::empty();
        roots
            .add(CertificateDer::from_pem_slice(self.ca.as_bytes()).unwrap())
            .unwrap();
        let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        TlsConnector::from(Arc::new(config))
    }
}

fn get() -> Call {
    Call::get("/lake/a").sign(&everything())
}

#[tokio::test]
async fn listeners_speak_tls_and_unix_sockets() {
    let origin = Origin::start().await;
    let pki = Pki::new(&["s3.test"]);
    let setup = Setup::of(&origin);
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("s3.sock");
    let (cert, key) = (
        setup.secret("tls.crt", &pki.cert),
        setup.secret("tls.key", &pki.key),
    );
    // The files move along with the directory that the proxy keeps.
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let proxy = setup
        .listen(&format!(
            "tls: {{addr: '127.0.0.1:{port}', cert_file: {}, key_file: {}}}",
            cert.display(),
            key.display()
        ))
        .listen(&format!(
            "unix: {{path: {}, mode: '0600'}}",
            socket.display()
        ))
        .start()
        .await;
    let stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let name = ServerName::try_from("s3.test").unwrap();
    let stream = pki.connector().connect(name, stream).await.unwrap();
    let mut over_tls = Client::over(Box::new(stream));
    let mut over_unix = Client::over(Box::new(UnixStream::connect(&socket).await.unwrap()));
    for client in [&mut over_tls, &mut over_unix] {
        for _ in 0..3 {
            client.call(&get()).await.expect(200, "");
            let refused = Call::get("/lake/private").sign(&reader());
            client.call(&refused).await.expect(403, "AccessDenied");
        }
        let large = Call::put("/lake/a", vec![1; 3 << 20]).sign_unsigned(&everything());
        client.call(&large).await.expect(200, "");
        assert_eq!(origin.take().last().unwrap().body_bytes, 3 << 20);
    }
    // Plain text on the TLS port is dropped without harm.
    let mut plain = Client::connect(([127, 0, 0, 1], port).into()).await;
    plain.send(&get().bytes()).await;
    over_tls.call(&get()).await.expect(200, "");
    assert_eq!(origin.take().len(), 1);
    drop(proxy);
}

#[tokio::test]
async fn origins_are_trusted_by_their_authority_and_name() {
    let pki = Pki::new(&["s3.internal", "localhost"]);
    let other = Pki::new(&["s3.internal", "localhost"]);
    let origin = Origin::start_tls(pki.acceptor()).await;
    let port = origin.address.port();
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        format!("ca_file: {}", path.display())
    };
    let (good, bad) = (file("good.pem", &pki.ca), file("bad.pem", &other.ca));
    let by_address = format!("https://127.0.0.1:{port}");
    let by_name = format!("https://localhost:{port}");
    for (endpoint, keys) in [
        (&by_address, vec![good.as_str(), "server_name: s3.internal"]),
        (&by_name, vec![good.as_str()]),
    ] {
        let proxy = Setup::at(endpoint, &keys).start().await;
        let mut client = proxy.connect().await;
        for _ in 0..3 {
            client.call(&get()).await.expect(200, "");
        }
        let seen = origin.take();
        assert!(seen.iter().all(|seen| seen.signer.is_ok()));
        let host = endpoint.strip_prefix("https://").unwrap();
        assert_eq!(seen[0].field("host"), Some(host));
    }
    for (endpoint, keys) in [
        (&by_address, vec![bad.as_str(), "server_name: s3.internal"]),
        (&by_address, vec![good.as_str(), "server_name: s3.other"]),
        (&by_address, vec!["server_name: s3.internal"]),
    ] {
        let proxy = Setup::at(endpoint, &keys).start_unready().await;
        let answer = proxy.call(&get()).await.expect(503, "ServiceUnavailable");
        assert!(
            !answer.text().to_lowercase().contains("cert"),
            "{}",
            answer.text()
        );
        let labels = "kind=\"tls\"";
        assert!(proxy.metric("s3proxy_upstream_errors_total", labels).await >= 1);
        origin.assert_untouched("a wrong certificate");
    }
}

#[tokio::test]
async fn the_bucket_may_stand_in_the_host_on_both_sides() {
    let origin = Origin::start().await;
    let port = origin.address.port();
    let proxy = Setup::at(
        &format!("http://localhost:{port}"),
        &["addressing: virtual"],
    )
    .top("base_domains: [s3.test]")
    .start()
    .await;
    let mut client = proxy.connect().await;
    let at = |host: &str, target: &str| Call::get(target).header("host", host).sign(&reader());
    for (host, target, status, code) in [
        ("pond.s3.test:3000", "/public/a", 403, "AccessDenied"),
        ("lake.s3.test:3000", "/private/a", 403, "AccessDenied"),
        ("lake.s3.test:3000", "/lake/public/a", 403, "AccessDenied"),
        ("s3.test:3000", "/pond/public/a", 403, "AccessDenied"),
        ("lake.s3.test.evil.test", "/private/a", 403, "AccessDenied"),
        ("-lake.s3.test", "/public/a", 400, "InvalidBucketName"),
    ] {
        client.call(&at(host, target)).await.expect(status, code);
        origin.assert_untouched(host);
    }
    for (host, target, arrives) in [
        ("lake.s3.test:3000", "/public/a", "/public/a"),
        (
            "LAKE.S3.test",
            "/public/a%20b?x-id=GetObject",
            "/public/a%20b?x-id=GetObject",
        ),
        ("s3.test:3000", "/lake/public/a", "/public/a"),
        (
            "s3.test",
            "/lake?list-type=2&prefix=public/",
            "/?list-type=2&prefix=public%2F",
        ),
        (
            "lake.s3.test",
            "/?list-type=2&prefix=public/",
            "/?list-type=2&prefix=public%2F",
        ),
        ("10.0.0.1", "/lake/public/a", "/public/a"),
    ] {
        client.call(&at(host, target)).await.expect(200, "");
        let seen = origin.take_one();
        assert_eq!(seen.target, arrives);
        assert_eq!(
            seen.field("host"),
            Some(format!("lake.localhost:{port}").as_str())
        );
        assert_eq!(seen.signer.as_deref(), Ok("ORIGINKEY"));
    }
}
