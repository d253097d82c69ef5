//! Verifies requests: the claim against the keys, over the bytes of the wire.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::SystemTime;

use sha2::{Digest, Sha256};

use crate::auth::claim::Claim;
use crate::auth::error::{AuthError, SignatureMismatch};
use crate::auth::keyring::{Holder, Keyring, ScopedKey};
use crate::auth::mechanism::Mechanism;
use crate::auth::payload::{DeclaredPayload, PayloadMode, may_have_body};
use crate::auth::web_identity::WebIdentities;
use crate::auth::{AuthConfig, TokenExchange};
use crate::s3::{Credentials, Principal, RequestHead, Secret};
use crate::sigv4::{
    AMZ_SECURITY_TOKEN, CanonicalQuery, CanonicalRequest, ChunkSignatures, Signature,
    canonical_path, hex, string_to_sign,
};

/// The payload hash of a presigned URL that declares none.
const UNSIGNED_PAYLOAD: &str = "UNSIGNED-PAYLOAD";

/// Verifies requests against the configured identities. Shared by all requests.
pub struct Verifier {
    config: AuthConfig,
    keyring: Keyring,
    web_identities: Option<WebIdentities>,
}

/// A request whose caller is known.
#[derive(Clone)]
pub struct Verified {
    /// Who called.
    pub principal: Principal,
    /// The caller's own credentials: its key pair, or those its web identity was exchanged for.
    pub credentials: Option<Credentials>,
    /// What the request was signed with; absent for anonymous and bearer requests.
    pub access_key_id: Option<Arc<str>>,
    /// How the body has to be checked.
    pub payload: PayloadMode,
    /// The region that the client signed for, possibly empty.
    pub signed_region: Option<Arc<str>>,
    /// Whether the signature stands in the query.
    pub is_presigned: bool,
}

/// A request whose signature is right.
struct Signed<'k> {
    holder: &'k Holder,
    key: Arc<ScopedKey>,
    payload: PayloadMode,
    is_presigned: bool,
}

impl Verifier {
    /// Builds the verifier. Without an `exchange` web identities are refused.
    pub fn new(config: AuthConfig, exchange: Option<Arc<dyn TokenExchange>>) -> Self {
        let web_identities = config
            .web_identity
            .as_ref()
            .zip(exchange)
            .map(|(web_identity, exchange)| WebIdentities::new(web_identity, exchange));
        Self {
            keyring: Keyring::new(&config),
            web_identities,
            config,
        }
    }

    /// Builds the verifier that comes after this one. The sessions of web identities are kept when
    /// the exchange is the very same.
    #[must_use]
    pub fn followed_by(
        &self,
        config: AuthConfig,
        exchange: Option<Arc<dyn TokenExchange>>,
    ) -> Self {
        let kept = self.web_identities.as_ref().filter(|identities| {
            let wanted = config.web_identity.as_ref().zip(exchange.as_ref());
            wanted.is_some_and(|(config, exchange)| identities.would_be_same(config, exchange))
        });
        let kept = kept.cloned();
        let next = Self::new(config, exchange);
        Self {
            web_identities: kept.or(next.web_identities),
            ..next
        }
    }

    /// Verifies a request at the moment `now`. `body_sha256` is given after
    /// [`AuthError::BodyHashNeeded`]. Only web identities ever wait.
    pub async fn verify(
        &self,
        head: &RequestHead<'_>,
        body_sha256: Option<[u8; 32]>,
        now: SystemTime,
    ) -> Result<Verified, AuthError> {
        let query = CanonicalQuery::parse(head.raw_query);
        let claim = match Mechanism::of(head, &query)? {
            Mechanism::Anonymous => return self.anonymous(head),
            Mechanism::Bearer(token) => return self.bearer(head, token, now).await,
            Mechanism::Header(parts) => Claim::from_header(head, parts)?,
            Mechanism::Query => Claim::from_query(&query)?,
        };
        let signed = self.verify_signature(head, &query, &claim, body_sha256, now)?;
        let token = match claim.expires {
            Some(_) => query.value("X-Amz-Security-Token"),
            None => None,
        };
        let token = match (token, head.headers.get(&AMZ_SECURITY_TOKEN)) {
            (Some(_), Some(_)) => return Err(AuthError::SeveralMechanisms),
            (None, Some(field)) => {
                Some(field.to_str().map_err(|_| AuthError::TokenInvalid)?.into())
            }
            (token, None) => token,
        };
        self.identify(signed, token.as_deref(), now).await
    }

    fn anonymous(&self, head: &RequestHead<'_>) -> Result<Verified, AuthError> {
        if !self.config.anonymous {
            return Err(AuthError::Anonymous);
        }
        Ok(Verified {
            principal: Principal::Anonymous,
            credentials: None,
            access_key_id: None,
            payload: DeclaredPayload::mode_without_signature(head)?,
            signed_region: None,
            is_presigned: false,
        })
    }

    async fn bearer(
        &self,
        head: &RequestHead<'_>,
        token: &str,
        now: SystemTime,
    ) -> Result<Verified, AuthError> {
        let web_identities = self
            .web_identities
            .as_ref()
            .ok_or(AuthError::BearerUnsupported)?;
        let payload = DeclaredPayload::mode_without_signature(head)?;
        let session = web_identities.session(token, now).await;
        let session = session.map_err(AuthError::Exchange)?;
        Ok(Verified {
            principal: Principal::WebIdentity(session.subject),
            credentials: Some(session.credentials),
            access_key_id: None,
            payload,
            signed_region: None,
            is_presigned: false,
        })
    }

    /// Who the holder of the key is, given the session token that was signed with it.
    async fn identify(
        &self,
        signed: Signed<'_>,
        token: Option<&str>,
        now: SystemTime,
    ) -> Result<Verified, AuthError> {
        let holder = signed.holder;
        let expected = holder.credentials.session_token.as_ref();
        let (principal, credentials) = match (&holder.client, token) {
            (Some(client), token) if is_same_token(expected, token) => {
                let principal = Principal::Client(Arc::clone(client));
                (principal, holder.credentials.clone())
            }
            (_, Some(token)) if holder.brings_tokens => {
                let identities = self.web_identities.as_ref();
                let identities = identities.ok_or(AuthError::TokenInvalid)?;
                let session = identities.session(token, now).await;
                let session = session.map_err(AuthError::Exchange)?;
                (Principal::WebIdentity(session.subject), session.credentials)
            }
            _ => return Err(AuthError::TokenInvalid),
        };
        Ok(Verified {
            principal,
            credentials: Some(credentials),
            access_key_id: Some(Arc::clone(&holder.credentials.access_key_id)),
            payload: signed.payload,
            signed_region: Some(Arc::clone(&signed.key.region)),
            is_presigned: signed.is_presigned,
        })
    }

    /// Checks time, region, coverage and signature. A stranger's signature is computed like any
    /// other, so that the time it takes tells nothing.
    fn verify_signature(
        &self,
        head: &RequestHead<'_>,
        query: &CanonicalQuery<'_>,
        claim: &Claim<'_>,
        body_sha256: Option<[u8; 32]>,
        now: SystemTime,
    ) -> Result<Signed<'_>, AuthError> {
        claim.check_time(now, self.config.max_skew)?;
        self.check_region(claim)?;
        check_coverage(head, claim)?;
        let is_presigned = claim.expires.is_some();
        let holder = self.keyring.holder(claim.credential.access_key_id());
        let (declared, payload_hash) =
            match declared_payload(head, query, is_presigned, body_sha256)? {
                Some(declared) => declared,
                None if holder.is_ok() => return Err(AuthError::BodyHashNeeded),
                // A stranger is refused whatever stands here.
                None => (DeclaredPayload::Sha256([0; 32]), String::new()),
            };
        if declared.is_unsigned() && !self.config.unsigned_payload && may_have_body(head) {
            return Err(AuthError::PayloadUnsigned);
        }
        let (Ok(candidate) | Err(candidate)) = holder;
        let key = candidate.signing_key(claim.credential.day(), claim.credential.region());
        let path = canonical_path(head.raw_path);
        let request = CanonicalRequest {
            method: head.method.as_str(),
            path: &path,
            query,
            host: head.host,
            headers: head.headers,
            signed_headers: &claim.signed_headers,
            payload_hash: &payload_hash,
        };
        let is_right = check(&request, claim, &key) || check_verbatim(head, &request, claim, &key);
        let holder = holder.map_err(|_| AuthError::UnknownAccessKey)?;
        if !is_right {
            return Err(mismatch(holder, claim, &request));
        }
        holder.keep(&key);
        let payload = declared.mode(head, || {
            let scope = claim.credential.scope().to_owned();
            ChunkSignatures::new(key.key.clone(), claim.date, scope, claim.signature)
        })?;
        Ok(Signed {
            holder,
            key,
            payload,
            is_presigned,
        })
    }

    fn check_region(&self, claim: &Claim<'_>) -> Result<(), AuthError> {
        let Some(regions) = &self.config.regions else {
            return Ok(());
        };
        let found = claim.credential.region();
        if regions.iter().any(|region| region == found) {
            return Ok(());
        }
        Err(AuthError::WrongRegion {
            found: found.to_owned(),
            expected: regions.first().cloned().unwrap_or_default(),
        })
    }
}

/// What the request declares, or what stands for it when it declares nothing: a presigned URL does
/// not cover the body, anything else covers its actual bytes. `None` when those are not known yet.
fn declared_payload(
    head: &RequestHead<'_>,
    query: &CanonicalQuery<'_>,
    is_presigned: bool,
    body_sha256: Option<[u8; 32]>,
) -> Result<Option<(DeclaredPayload, String)>, AuthError> {
    let declared = DeclaredPayload::of(head, query, is_presigned)?;
    if declared.is_some() {
        return Ok(declared);
    }
    if is_presigned {
        let unsigned = UNSIGNED_PAYLOAD.to_owned();
        return Ok(Some((DeclaredPayload::Unsigned, unsigned)));
    }
    if body_sha256.is_none() && may_have_body(head) {
        return Ok(None);
    }
    let hash = body_sha256.unwrap_or_else(|| Sha256::digest([]).into());
    Ok(Some((DeclaredPayload::Sha256(hash), hex::encode(&hash))))
}

/// `host` and every `x-amz-*` field present have to be signed, lest somebody on the way adds one;
/// and what is signed has to be present.
///
/// Signed names are distinct, so that equal counts mean equal sets: the work is linear however many
/// fields a hostile request brings.
fn check_coverage(head: &RequestHead<'_>, claim: &Claim<'_>) -> Result<(), AuthError> {
    let signed = &claim.signed_headers;
    let is_present = |name: &str| name == "host" || head.headers.contains_key(name);
    if let Some(name) = signed.names().find(|name| !is_present(name)) {
        return Err(AuthError::SignedFieldAbsent(name.to_owned()));
    }
    let is_required = |name: &&str| name.starts_with("x-amz-") || *name == "host";
    let required = || {
        let names = head.headers.keys().map(http::HeaderName::as_str);
        let names = names.filter(|name| name.starts_with("x-amz-"));
        names.chain(["host"])
    };
    if required().count() == signed.names().filter(is_required).count() {
        return Ok(());
    }
    let signed: HashSet<&str> = signed.names().collect();
    let unsigned = required().find(|name| !signed.contains(name));
    Err(AuthError::NotSigned(
        unsigned.unwrap_or_default().to_owned(),
    ))
}

fn check(request: &CanonicalRequest<'_>, claim: &Claim<'_>, key: &ScopedKey) -> bool {
    computed(&request.to_bytes(), claim, key) == claim.signature
}

/// curl signs the path as it stands on the wire. Both spellings decode to the same key, so accepting
/// both gives nobody another object.
fn check_verbatim(
    head: &RequestHead<'_>,
    request: &CanonicalRequest<'_>,
    claim: &Claim<'_>,
    key: &ScopedKey,
) -> bool {
    let is_one_line = head
        .raw_path
        .bytes()
        .all(|byte| byte > b' ' && byte != 0x7f);
    if head.raw_path == request.path || !is_one_line {
        return false;
    }
    let verbatim = CanonicalRequest {
        path: head.raw_path,
        ..*request
    };
    check(&verbatim, claim, key)
}

fn computed(canonical_request: &[u8], claim: &Claim<'_>, key: &ScopedKey) -> Signature {
    let text = string_to_sign(&claim.date, claim.credential.scope(), canonical_request);
    key.key.sign(text.as_bytes())
}

fn mismatch(holder: &Holder, claim: &Claim<'_>, request: &CanonicalRequest<'_>) -> AuthError {
    let scope = claim.credential.scope();
    AuthError::SignatureMismatch(Box::new(SignatureMismatch {
        access_key_id: Arc::clone(&holder.credentials.access_key_id),
        string_to_sign: string_to_sign(&claim.date, scope, &request.to_bytes()),
        signature_provided: claim.signature.to_hex(),
        canonical_request: request.to_redacted_string(),
    }))
}

fn is_same_token(expected: Option<&Secret>, sent: Option<&str>) -> bool {
    match (expected, sent) {
        (None, None) => true,
        (Some(expected), Some(sent)) => *expected == Secret::new(sent),
        (None, Some(_)) | (Some(_), None) => false,
    }
}
