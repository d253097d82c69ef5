//! Signs an origin request. This is the last thing that happens to it, on each attempt anew.

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
use pingora::http::RequestHeader;

use super::rewrite::OriginRequest;
use super::rewrite::PayloadHash;
use crate::s3::Credentials;

/// Why a request cannot be signed or written.
#[derive(Debug)]
pub enum SignError {
    /// A field value is not text: a signature cannot cover it.
    FieldNotText,
    /// The signing library refused the request.
    Signing(Box<dyn std::error::Error + Send + Sync>),
    /// The head cannot be put on the wire.
    Head(Box<pingora::Error>),
}

impl std::fmt::Display for SignError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::FieldNotText => "a header field is not text",
            Self::Signing(_) => "the request cannot be signed",
            Self::Head(_) => "the request head cannot be written",
        })
    }
}

impl std::error::Error for SignError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::FieldNotText => None,
            Self::Signing(source) => Some(source.as_ref()),
            Self::Head(source) => Some(source.as_ref()),
        }
    }
}

/// Puts the request on the wire's form, signed with the credentials; without any it stays unsigned.
pub fn sign_request(
    request: &OriginRequest,
    credentials: Option<&Credentials>,
    region: &str,
    now: SystemTime,
) -> Result<RequestHeader, SignError> {
    let mut head = RequestHeader::build(
        request.method.clone(),
        request.target.as_bytes(),
        Some(request.headers.len() + 6),
    )
    .map_err(SignError::Head)?;
    let host = HeaderValue::from_str(&request.authority).map_err(|_| SignError::FieldNotText)?;
    head.append_header(header::HOST, host)
        .map_err(SignError::Head)?;
    for (name, value) in &request.headers {
        head.append_header(name.clone(), value.clone())
            .map_err(SignError::Head)?;
    }
    match credentials {
        Some(credentials) => {
            for (name, value) in signature(request, credentials, region, now)? {
                head.insert_header(name, value).map_err(SignError::Head)?;
            }
        }
        None if request.payload == PayloadHash::UnsignedTrailer => {
            let value = "STREAMING-UNSIGNED-PAYLOAD-TRAILER";
            head.insert_header("x-amz-content-sha256", value)
                .map_err(SignError::Head)?;
        }
        None => {}
    }
    Ok(head)
}

fn signature(
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http::HeaderMap;
    use http::Method;

    use super::*;
    use crate::s3::Secret;

    fn request(payload: PayloadHash) -> OriginRequest {
        let mut headers = HeaderMap::new();
        headers.insert("range", HeaderValue::from_static("bytes=0-9"));
        headers.insert("user-agent", HeaderValue::from_static("duckdb"));
        OriginRequest {
            method: Method::GET,
            target: "/examplebucket/test.txt".to_owned(),
            authority: "s3.amazonaws.com".to_owned(),
            headers,
            payload,
        }
    }

    fn field<'a>(head: &'a RequestHeader, name: &str) -> &'a str {
        head.headers
            .get(name)
            .map_or("-", |value| value.to_str().unwrap())
    }

    #[test]
    fn every_forwarded_field_but_the_user_agent_is_signed() {
        let mut credentials = Credentials::fixed("AKIDEXAMPLE", Secret::new("secret"));
        credentials.session_token = Some(Secret::new("token"));
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_400_000_000);
        let head = sign_request(
            &request(PayloadHash::Unsigned),
            Some(&credentials),
            "eu-west-1",
            now,
        )
        .unwrap();
        assert_eq!(field(&head, "x-amz-date"), "20140513T165320Z");
        assert_eq!(field(&head, "x-amz-content-sha256"), "UNSIGNED-PAYLOAD");
        assert_eq!(field(&head, "x-amz-security-token"), "token");
        assert_eq!(field(&head, "user-agent"), "duckdb");
        let authorization = field(&head, "authorization");
        assert!(authorization.contains("AKIDEXAMPLE/20140513/eu-west-1/s3/aws4_request"));
        assert!(authorization.contains(
            "SignedHeaders=host;range;x-amz-content-sha256;x-amz-date;x-amz-security-token"
        ));
    }

    #[test]
    fn an_anonymous_origin_gets_no_signature() {
        let head = sign_request(
            &request(PayloadHash::Unsigned),
            None,
            "",
            SystemTime::UNIX_EPOCH,
        )
        .unwrap();
        assert_eq!(field(&head, "authorization"), "-");
        assert_eq!(field(&head, "x-amz-content-sha256"), "-");
        assert_eq!(field(&head, "host"), "s3.amazonaws.com");
    }
}
