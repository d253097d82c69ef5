//! Requests that tests own and change, the captured ones among them, and a signer of our own.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::{HeaderMap, HeaderName, HeaderValue, Method};
use s3proxy::auth::{AuthConfig, AuthError, ClientConfig, Verified, Verifier};
use s3proxy::s3::{Credentials, RequestHead, Secret};
use s3proxy::sigv4::{
    AmzDate, CanonicalQuery, CanonicalRequest, SignedHeaders, SigningKey, canonical_path, hex,
    string_to_sign,
};
use serde_json::Value;

pub(super) const ACCESS_KEY: &str = "AKIDEXAMPLE";
pub(super) const SECRET_KEY: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
pub(super) const DATE: &str = "20261121T081042Z";

/// A request whose every part can be changed.
#[derive(Debug, Clone)]
pub(super) struct Request {
    pub(super) method: Method,
    pub(super) path: String,
    pub(super) query: String,
    pub(super) host: String,
    pub(super) headers: HeaderMap,
}

impl Request {
    pub(super) fn get(target: &str) -> Self {
        Self::new("GET", target)
    }

    pub(super) fn new(method: &str, target: &str) -> Self {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let mut headers = HeaderMap::new();
        headers.insert("host", HeaderValue::from_static("127.0.0.1:9000"));
        Self {
            method: Method::from_bytes(method.as_bytes()).unwrap(),
            path: path.to_owned(),
            query: query.to_owned(),
            host: "127.0.0.1:9000".to_owned(),
            headers,
        }
    }

    pub(super) fn head(&self) -> RequestHead<'_> {
        RequestHead {
            method: &self.method,
            raw_path: &self.path,
            raw_query: &self.query,
            host: &self.host,
            headers: &self.headers,
        }
    }

    pub(super) fn with(mut self, name: &str, value: &str) -> Self {
        let name: HeaderName = name.parse().unwrap();
        self.headers.append(name, value.parse().unwrap());
        self
    }

    pub(super) fn without(mut self, name: &str) -> Self {
        self.headers.remove(name);
        self
    }

    /// Signs every field and puts `Authorization` on, dated [`DATE`].
    pub(super) fn signed(self) -> Self {
        let mut names: Vec<String> = self.headers.keys().map(ToString::to_string).collect();
        for name in ["x-amz-date", "x-amz-content-sha256"] {
            if !self.headers.contains_key(name) {
                names.push(name.to_owned());
            }
        }
        names.sort();
        self.signed_with(&names.join(";"), "us-east-1")
    }

    /// Signs these fields; adds date and payload hash if they are among them and absent.
    pub(super) fn signed_with(mut self, signed_headers: &str, region: &str) -> Self {
        for (name, value) in [
            ("x-amz-date", DATE),
            ("x-amz-content-sha256", s3proxy::sigv4::EMPTY_SHA256_HEX),
        ] {
            if !self.headers.contains_key(name) && signed_headers.contains(name) {
                self.headers.insert(name, HeaderValue::from_static(value));
            }
        }
        let hash = self.head().field("x-amz-content-sha256");
        let hash = hash.unwrap_or(s3proxy::sigv4::EMPTY_SHA256_HEX).to_owned();
        let signature = self.signature(signed_headers, region, &hash);
        let day = &DATE[..8];
        let value = format!(
            "AWS4-HMAC-SHA256 Credential={ACCESS_KEY}/{day}/{region}/s3/aws4_request, \
             SignedHeaders={signed_headers}, Signature={signature}"
        );
        self.headers.insert("authorization", value.parse().unwrap());
        self
    }

    /// Makes it a presigned URL dated [`DATE`] that lives for `expires`.
    pub(super) fn presigned(mut self, expires: &str, signed_headers: &str) -> Self {
        let separator = if self.query.is_empty() { "" } else { "&" };
        let names = signed_headers.replace(';', "%3B");
        let day = &DATE[..8];
        self.query += &format!(
            "{separator}X-Amz-Algorithm=AWS4-HMAC-SHA256\
             &X-Amz-Credential={ACCESS_KEY}%2F{day}%2Fus-east-1%2Fs3%2Faws4_request\
             &X-Amz-Date={DATE}&X-Amz-Expires={expires}&X-Amz-SignedHeaders={names}"
        );
        let signature = self.signature(signed_headers, "us-east-1", "UNSIGNED-PAYLOAD");
        self.query += &format!("&X-Amz-Signature={signature}");
        self
    }

    fn signature(&self, signed_headers: &str, region: &str, payload_hash: &str) -> String {
        let query = CanonicalQuery::parse(&self.query);
        let signed_headers = SignedHeaders::parse(signed_headers.into()).unwrap();
        let request = CanonicalRequest {
            method: self.method.as_str(),
            path: &canonical_path(&self.path),
            query: &query,
            host: &self.host,
            headers: &self.headers,
            signed_headers: &signed_headers,
            payload_hash,
        };
        let day = &DATE[..8];
        let scope = format!("{day}/{region}/s3/aws4_request");
        let date = AmzDate::parse(DATE).unwrap();
        let text = string_to_sign(&date, &scope, &request.to_bytes());
        let key = SigningKey::derive(SECRET_KEY, day, region, "s3");
        key.sign(text.as_bytes()).to_hex()
    }
}

/// One line of `captured-requests.jsonl`.
pub(super) struct Capture {
    pub(super) id: String,
    pub(super) json: Value,
    pub(super) request: Request,
    pub(super) now: SystemTime,
}

/// All captured requests.
pub(super) fn captures() -> Vec<Capture> {
    include_str!("../../fixtures/captured-requests.jsonl")
        .lines()
        .map(Capture::parse)
        .collect()
}

impl Capture {
    pub(super) fn named(id: &str) -> Self {
        captures()
            .into_iter()
            .find(|capture| capture.id == id)
            .unwrap()
    }

    fn parse(line: &str) -> Self {
        let json: Value = serde_json::from_str(line).unwrap();
        let mut request = Request::new(
            json["method"].as_str().unwrap(),
            json["target"].as_str().unwrap(),
        );
        request.headers.clear();
        for field in json["headers"].as_array().unwrap() {
            let (name, value) = (field[0].as_str().unwrap(), field[1].as_str().unwrap());
            request = request.with(name, value);
        }
        request.host = request.head().field("host").unwrap().to_owned();
        if json["http_version"] == "HTTP/2" {
            request.headers.remove("host");
        }
        Self {
            id: json["id"].as_str().unwrap().to_owned(),
            now: at(json["date"].as_str().unwrap_or(DATE)),
            request,
            json,
        }
    }

    /// A verifier that knows the pair the request was signed with.
    pub(super) fn verifier(&self) -> Verifier {
        let mut credentials = Credentials::fixed(
            self.json["access_key"].as_str().unwrap_or(ACCESS_KEY),
            Secret::new(self.json["secret_key"].as_str().unwrap_or(SECRET_KEY)),
        );
        credentials.session_token = self.json["session_token"].as_str().map(Secret::new);
        Verifier::new(config(vec![client("captured", credentials)]), None)
    }

    pub(super) fn body_sha256(&self) -> Option<[u8; 32]> {
        hex::decode(self.json["body_sha256"].as_str()?.as_bytes())
    }
}

pub(super) fn client(name: &str, credentials: Credentials) -> ClientConfig {
    ClientConfig {
        name: name.into(),
        credentials,
    }
}

pub(super) fn config(clients: Vec<ClientConfig>) -> AuthConfig {
    AuthConfig {
        clients,
        regions: None,
        unsigned_payload: true,
        max_skew: Duration::from_mins(15),
        anonymous: false,
        web_identity: None,
    }
}

/// Knows [`ACCESS_KEY`].
pub(super) fn verifier() -> Verifier {
    let credentials = Credentials::fixed(ACCESS_KEY, Secret::new(SECRET_KEY));
    Verifier::new(config(vec![client("analytics", credentials)]), None)
}

pub(super) fn at(date: &str) -> SystemTime {
    let seconds = AmzDate::parse(date).unwrap().unix_seconds();
    UNIX_EPOCH + Duration::from_secs(seconds.try_into().unwrap())
}

/// Polls a future that must not wait.
pub(super) fn now_or_never<T>(future: impl Future<Output = T>) -> T {
    let mut future = std::pin::pin!(future);
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    match future.as_mut().poll(&mut context) {
        std::task::Poll::Ready(value) => value,
        std::task::Poll::Pending => panic!("static keys never wait"),
    }
}

pub(super) fn verify(verifier: &Verifier, request: &Request) -> Result<Verified, AuthError> {
    verify_at(verifier, request, at(DATE))
}

pub(super) fn verify_at(
    verifier: &Verifier,
    request: &Request,
    now: SystemTime,
) -> Result<Verified, AuthError> {
    now_or_never(verifier.verify(&request.head(), None, now))
}

/// The error, or a panic when the request was accepted. `Verified` holds secrets and has no `Debug`.
pub(super) fn refusal(result: Result<Verified, AuthError>) -> AuthError {
    result.err().expect("the request must be refused")
}
