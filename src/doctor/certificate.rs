//! Certificates: until when they are valid.

use std::net::SocketAddr;
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;
use std::time::SystemTime;
use std::time::UNIX_EPOCH;

use rustls::ClientConfig;
use rustls::ClientConnection;
use rustls::DigitallySignedStruct;
use rustls::SignatureScheme;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::client::danger::ServerCertVerified;
use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::ring::default_provider;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::ServerName;
use rustls_pki_types::UnixTime;
use x509_parser::prelude::FromDer;
use x509_parser::prelude::X509Certificate;

use super::Report;
use crate::config::Config;
use crate::config::EXPIRES_SOON;
use crate::config::ListenConfig;
use crate::config::read_certificate;
use crate::upstream::OriginConfig;

/// Looks at the certificate of every TLS listener.
pub(super) fn examine_listeners(config: &Config, report: &mut Report) {
    for listen in &config.listen {
        if let ListenConfig::Tls { cert, key, .. } = listen {
            let subject = format!("listener {listen}");
            let advice = "correct `cert_file` and `key_file`";
            match read_certificate(cert, key) {
                Ok(certified) => {
                    // Its own comes first.
                    if let Some(own) = certified.cert.first() {
                        validity(own, &subject, "replace it", report);
                    }
                }
                // The configuration was read with it, so it changed since.
                Err(error) => report.problem(subject, error.to_string(), advice),
            }
        }
    }
}

/// Looks at the certificate that an origin shows. Whether it is to be trusted the proxy's own
/// connection tells; this says why not, when that is its date.
pub(super) fn examine_origin(
    config: &OriginConfig,
    address: SocketAddr,
    subject: &str,
    report: &mut Report,
) {
    let name = config.server_name.as_ref().unwrap_or(&config.endpoint.host);
    match shown(name, address, config.timeouts.connect) {
        Ok(certificate) => {
            let advice = "have it replaced by whoever runs the store";
            validity(&certificate, subject, advice, report);
        }
        Err(error) => report.problem(
            subject,
            format!("no TLS handshake: {error}"),
            "see that this port speaks TLS, or write http:// in `endpoint`",
        ),
    }
}

fn shown(
    name: &str,
    address: SocketAddr,
    patience: Duration,
) -> Result<CertificateDer<'static>, String> {
    let text = |error: &dyn std::fmt::Display| error.to_string();
    let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| text(&error))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Onlooker))
        .with_no_client_auth();
    let name = ServerName::try_from(name.to_owned()).map_err(|error| text(&error))?;
    let mut connection =
        ClientConnection::new(Arc::new(config), name).map_err(|error| text(&error))?;
    let mut stream =
        TcpStream::connect_timeout(&address, patience).map_err(|error| text(&error))?;
    let limited = stream
        .set_read_timeout(Some(patience))
        .and_then(|()| stream.set_write_timeout(Some(patience)));
    limited.map_err(|error| text(&error))?;
    while connection.is_handshaking() {
        connection
            .complete_io(&mut stream)
            .map_err(|error| text(&error))?;
    }
    let chain = connection.peer_certificates().unwrap_or_default();
    let first = chain.first().ok_or("it shows no certificate")?;
    Ok(first.clone().into_owned())
}

fn validity(der: &CertificateDer<'_>, subject: &str, advice: &str, report: &mut Report) {
    let Ok((_, certificate)) = X509Certificate::from_der(der) else {
        report.problem(subject, "its certificate cannot be read", advice);
        return;
    };
    let validity = certificate.validity();
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| {
            i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
        });
    let (from, until) = (
        validity.not_before.timestamp(),
        validity.not_after.timestamp(),
    );
    let soon = i64::try_from(EXPIRES_SOON.as_secs()).unwrap_or(i64::MAX);
    if until < now {
        let said = format!("its certificate expired on {}", validity.not_after);
        report.problem(subject, said, advice);
    } else if from > now {
        let said = format!("its certificate is valid from {} on", validity.not_before);
        report.problem(
            subject,
            said,
            "wait, replace it, or set this machine's clock",
        );
    } else if until - now < soon {
        let said = format!("its certificate expires on {}", validity.not_after);
        report.warning(subject, said, advice);
    } else {
        report.ok(
            subject,
            format!("its certificate is valid until {}", validity.not_after),
        );
    }
}

/// Lets any certificate pass, to look at it. Nothing is ever sent over such a connection.
#[derive(Debug)]
struct Onlooker;

impl ServerCertVerifier for Onlooker {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        default_provider()
            .signature_verification_algorithms
            .supported_schemes()
    }
}
