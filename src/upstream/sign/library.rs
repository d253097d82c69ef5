//! Signs with `aws-sigv4`: the reference, and the way of every request that is no plain read. Those
//! are rare or carry bodies, beside which deriving a key each time costs nothing.

use std::time::SystemTime;

use aws_credential_types::Credentials as AwsCredentials;
use aws_sigv4::http_request::PayloadChecksumKind;
use aws_sigv4::http_request::PercentEncodingMode;
use aws_sigv4::http_request::SignableBody;
use aws_sigv4::http_request::SignableRequest;
use aws_sigv4::http_request::SigningSettings;
use aws_sigv4::http_request::UriPathNormalizationMode;
use aws_sigv4::http_request::sign;
use aws_sigv4::sign::v4;
use http::HeaderValue;
use http::header;

use super::SignError;
use crate::s3::Credentials;
use crate::upstream::rewrite::OriginRequest;
use crate::upstream::rewrite::PayloadHash;

/// The fields that make the request a signed one.
pub(super) fn signature(
    request: &OriginRequest,
    credentials: &Credentials,
    region: &str,
    now: SystemTime,
) -> Result<Vec<(&'static str, HeaderValue)>, SignError> {
    let identity = AwsCredentials::new(
        &*credentials.access_key_id,
        credentials.secret_access_key.expose(),
        credentials
            .session_token
            .as_ref()
            .map(|token| token.expose().to_owned()),
        credentials.expires_at,
        "s3proxy",
    )
    .into();
    let params = v4::SigningParams::builder()
        .identity(&identity)
        .region(region)
        .name("s3")
        .time(now)
        .settings(settings())
        .build()
        .map_err(|error| SignError::Signing(error.into()))?
        .into();
    let mut fields = Vec::with_capacity(request.headers.len() + 1);
    fields.push(("host", request.authority.as_str()));
    for (name, value) in &request.headers {
        // A user agent may be rewritten on the way, and S3 does not want it signed.
        if name != header::USER_AGENT {
            let value = std::str::from_utf8(value.as_bytes());
            fields.push((name.as_str(), value.map_err(|_| SignError::FieldNotText)?));
        }
    }
    let body = match &request.payload {
        PayloadHash::Sha256(hex) => SignableBody::Precomputed(hex.clone()),
        PayloadHash::Unsigned => SignableBody::UnsignedPayload,
        PayloadHash::UnsignedTrailer => SignableBody::StreamingUnsignedPayloadTrailer,
    };
    // Only path and query of the target are signed; the scheme is there to make it a URL.
    let uri = format!("https://{}{}", request.authority, request.target);
    let signable = SignableRequest::new(request.method.as_str(), uri, fields.into_iter(), body)
        .map_err(|error| SignError::Signing(error.into()))?;
    let (instructions, _signature) = sign(signable, &params)
        .map_err(|error| SignError::Signing(error.into()))?
        .into_parts();
    let (headers, _query) = instructions.into_parts();
    headers
        .into_iter()
        .map(|header| {
            let mut value =
                HeaderValue::from_str(header.value()).map_err(|_| SignError::FieldNotText)?;
            value.set_sensitive(header.sensitive());
            Ok((header.name(), value))
        })
        .collect()
}

fn settings() -> SigningSettings {
    let mut settings = SigningSettings::default();
    // S3 signs the path as it stands: encoded once, never normalised.
    settings.percent_encoding_mode = PercentEncodingMode::Single;
    settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
    settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
    settings
}
