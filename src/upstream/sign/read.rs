//! Signs reads: with a kept key, and the same canonical request that verification builds.

use std::borrow::Cow;
use std::time::SystemTime;
use std::time::UNIX_EPOCH;

use http::HeaderValue;
use http::Method;
use http::header;
use pingora::http::RequestHeader;

use super::SignError;
use super::keys::SigningKeys;
use crate::s3::Credentials;
use crate::sigv4::ALGORITHM;
use crate::sigv4::AMZ_CONTENT_SHA256;
use crate::sigv4::AMZ_DATE;
use crate::sigv4::AMZ_SECURITY_TOKEN;
use crate::sigv4::AmzDate;
use crate::sigv4::CanonicalQuery;
use crate::sigv4::CanonicalRequest;
use crate::sigv4::EMPTY_SHA256_HEX;
use crate::sigv4::SignedHeaders;
use crate::sigv4::canonical_path;
use crate::sigv4::string_to_sign;
use crate::upstream::rewrite::OriginRequest;
use crate::upstream::rewrite::PayloadHash;

/// Whether a request is a read without a body.
pub(super) fn is_read(request: &OriginRequest) -> bool {
    matches!(request.method, Method::GET | Method::HEAD)
        && matches!(&request.payload, PayloadHash::Sha256(hash) if hash == EMPTY_SHA256_HEX)
}

/// Completes the head, which has all fields of the request, with those of the signature.
pub(super) fn sign(
    head: &mut RequestHeader,
    request: &OriginRequest,
    credentials: &Credentials,
    region: &str,
    now: SystemTime,
    keys: &SigningKeys,
) -> Result<(), SignError> {
    let seconds = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let date = i64::try_from(seconds).ok().and_then(AmzDate::from_unix);
    let date = date.ok_or(SignError::Clock)?;
    let mut insert = |name, value| head.insert_header(name, value).map_err(SignError::Head);
    insert(&AMZ_DATE, value_of(date.as_str(), false)?)?;
    insert(
        &AMZ_CONTENT_SHA256,
        HeaderValue::from_static(EMPTY_SHA256_HEX),
    )?;
    if let Some(token) = &credentials.session_token {
        insert(&AMZ_SECURITY_TOKEN, value_of(token.expose(), true)?)?;
    }
    let authorization = authorization(head, request, credentials, region, &date, keys)?;
    head.insert_header(header::AUTHORIZATION, value_of(&authorization, true)?)
        .map_err(SignError::Head)
}

fn authorization(
    head: &RequestHeader,
    request: &OriginRequest,
    credentials: &Credentials,
    region: &str,
    date: &AmzDate,
    keys: &SigningKeys,
) -> Result<String, SignError> {
    let signed_headers = signed_headers(head)?;
    let (path, query) = request
        .target
        .split_once('?')
        .unwrap_or((&request.target, ""));
    let canonical = CanonicalRequest {
        method: request.method.as_str(),
        path: &canonical_path(path),
        query: &CanonicalQuery::parse(query),
        host: &request.authority,
        headers: &head.headers,
        signed_headers: &signed_headers,
        payload_hash: EMPTY_SHA256_HEX,
    };
    let scope = format!("{}/{region}/s3/aws4_request", date.day());
    let string_to_sign = string_to_sign(date, &scope, &canonical.to_bytes());
    let signature = keys.sign(credentials, date.day(), region, &string_to_sign);
    Ok(format!(
        "{ALGORITHM} Credential={}/{scope}, SignedHeaders={}, Signature={signature}",
        credentials.access_key_id,
        signed_headers.as_str()
    ))
}

/// Every field of the head but the user agent: that may be rewritten on the way, and S3 does not
/// want it signed.
fn signed_headers(head: &RequestHeader) -> Result<SignedHeaders<'static>, SignError> {
    let mut names = Vec::with_capacity(head.headers.keys_len());
    for (name, value) in &head.headers {
        std::str::from_utf8(value.as_bytes()).map_err(|_| SignError::FieldNotText)?;
        names.push(name.as_str());
    }
    names.retain(|name| *name != header::USER_AGENT);
    names.sort_unstable();
    names.dedup();
    SignedHeaders::parse(Cow::Owned(names.join(";"))).ok_or(SignError::FieldNotText)
}

fn value_of(text: &str, is_secret: bool) -> Result<HeaderValue, SignError> {
    let mut value = HeaderValue::from_str(text).map_err(|_| SignError::FieldNotText)?;
    value.set_sensitive(is_secret);
    Ok(value)
}
