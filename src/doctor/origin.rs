//! One origin: its name, its addresses, TLS, its clock, and whether it takes our credentials.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;
use std::time::SystemTime;

use bytes::Bytes;
use http::HeaderMap;
use http::Method;
use http::StatusCode;
use http::header;
use pingora::http::RequestHeader;

use super::Report;
use super::certificate;
use crate::config::ClientSource;
use crate::config::Config;
use crate::s3::Credentials;
use crate::s3::Operation;
use crate::s3::Request;
use crate::s3::xml::Element;
use crate::telemetry::UpstreamErrorKind;
use crate::upstream::Answer;
use crate::upstream::CredentialSource;
use crate::upstream::Fetch;
use crate::upstream::Origin;
use crate::upstream::OriginConfig;
use crate::upstream::OriginCredentials;
use crate::upstream::Question;
use crate::upstream::Resolver;
use crate::upstream::UpstreamError;
use crate::upstream::is_refused;

/// The longest answer that is read; lists of buckets are the longest.
pub(super) const MAX_ANSWER: usize = 4 << 20;

/// Elements of an error document.
const MAX_ELEMENTS: usize = 100;

/// Addresses that are tried; S3 gives eight.
const MAX_ADDRESSES: usize = 8;

/// Beyond it S3 refuses every request (`RequestTimeTooSkewed`).
const MAX_SKEW: Duration = Duration::from_mins(15);

/// A clock that is kept in time is never so far off.
const SMALL_SKEW: Duration = Duration::from_secs(30);

/// What a first retry would hide is to be seen; a region that the origin names is followed.
const RETRIES: u32 = 1;

/// Tries one origin. Gives it back when it makes sense to ask it for buckets.
pub(super) async fn examine(
    config: &Config,
    position: usize,
    resolver: &Arc<Resolver>,
    fetch: &Fetch,
    report: &mut Report,
) -> Option<Origin> {
    let tried = OriginConfig {
        max_retries: RETRIES,
        ..config.origins[position].clone()
    };
    let subject = format!("origin {}", tried.name);
    let addresses = resolve(&tried, &subject, report).await?;
    if !connect(&tried, &addresses, &subject, report).await {
        return None;
    }
    if tried.endpoint.is_tls {
        certificate::examine_origin(&tried, addresses[0], &subject, report);
    }
    let credentials = OriginCredentials::new(&tried.credentials, &tried.region);
    let origin = match Origin::new(tried, credentials, Arc::clone(resolver), position as u64) {
        Ok(origin) => origin,
        Err(error) => {
            let advice = "correct `ca_file`: certificates in PEM form";
            report.problem(subject, error.to_string(), advice);
            return None;
        }
    };
    if !answers(&origin, fetch, &subject, report).await {
        return None;
    }
    let is_only = matches!(config.client_source, ClientSource::SameAsOrigin { .. });
    has_credentials(&origin, fetch, &subject, is_only, report)
        .await
        .then_some(origin)
}

async fn resolve(
    config: &OriginConfig,
    subject: &str,
    report: &mut Report,
) -> Option<Vec<SocketAddr>> {
    let host = config.endpoint.host.as_str();
    let port = config.endpoint.port;
    let asked = tokio::net::lookup_host((host, port));
    let found = match tokio::time::timeout(Duration::from_secs(5), asked).await {
        Ok(Ok(addresses)) => addresses.collect::<Vec<_>>(),
        Ok(Err(error)) => {
            let advice = "correct the host of `endpoint`, or the name servers in /etc/resolv.conf";
            report.problem(
                subject,
                format!("{host} cannot be resolved: {error}"),
                advice,
            );
            return None;
        }
        Err(_) => {
            let advice = "see that the name servers in /etc/resolv.conf answer from here";
            report.problem(subject, format!("resolving {host} takes too long"), advice);
            return None;
        }
    };
    let (refused, mut usable): (Vec<_>, Vec<_>) = found
        .into_iter()
        .partition(|address| is_refused(address.ip()));
    usable.truncate(MAX_ADDRESSES);
    if let (true, Some(address)) = (usable.is_empty(), refused.first()) {
        report.problem(
            subject,
            format!("{host} leads to {}, which is refused", address.ip()),
            "no origin has a link-local, metadata or multicast address: correct the name's records",
        );
        return None;
    }
    let addresses = usable.len();
    report.ok(subject, format!("{host} has {addresses} usable addresses"));
    (addresses > 0).then_some(usable)
}

/// Whether any address takes a connection.
async fn connect(
    config: &OriginConfig,
    addresses: &[SocketAddr],
    subject: &str,
    report: &mut Report,
) -> bool {
    let mut failures = Vec::new();
    let mut slowest = Duration::ZERO;
    for address in addresses {
        let began = Instant::now();
        let connecting = tokio::net::TcpStream::connect(address);
        match tokio::time::timeout(config.timeouts.connect, connecting).await {
            Ok(Ok(_)) => slowest = slowest.max(began.elapsed()),
            Ok(Err(error)) => failures.push(format!("{address}: {error}")),
            Err(_) => failures.push(format!(
                "{address}: nothing within {:?}",
                config.timeouts.connect
            )),
        }
    }
    let said = failures.join("; ");
    let advice = "see that the store runs, and that no firewall or security group is in between";
    if failures.len() == addresses.len() {
        report.problem(subject, format!("no connection: {said}"), advice);
        return false;
    }
    if failures.is_empty() {
        let millis = slowest.as_secs_f64() * 1000.0;
        report.ok(
            subject,
            format!("TCP connections in at most {millis:.1} ms"),
        );
    } else {
        report.warning(
            subject,
            format!("no connection to some addresses: {said}"),
            advice,
        );
    }
    true
}

/// Whether it answers HTTP, over TLS as the proxy would; its clock is compared on the way.
async fn answers(origin: &Origin, fetch: &Fetch, subject: &str, report: &mut Report) -> bool {
    let before = SystemTime::now();
    let answer = match unsigned(origin, fetch).await {
        Ok(answer) => answer,
        Err(error) => {
            let advice = match error.kind() {
                UpstreamErrorKind::Tls => {
                    "see the certificate above; `ca_file` trusts an authority of your own, \
                     `server_name` expects another name; or install ca-certificates"
                }
                UpstreamErrorKind::Protocol => {
                    "see that an S3 store listens there, and by this scheme"
                }
                _ => "see that the store is well, and that scheme and port are right",
            };
            report.problem(subject, format!("no answer: {error}"), advice);
            return false;
        }
    };
    let transport = if origin.config.endpoint.is_tls {
        "HTTPS"
    } else {
        "HTTP"
    };
    report.ok(subject, format!("answers over {transport}"));
    clock(&answer.headers, before, subject, report);
    true
}

async fn unsigned(origin: &Origin, fetch: &Fetch) -> Result<Answer, UpstreamError> {
    let destination = origin.destination(None);
    let mut head = RequestHeader::build("GET", b"/", Some(2)).map_err(UpstreamError::Connection)?;
    head.insert_header(header::HOST, destination.endpoint.authority())
        .map_err(UpstreamError::Connection)?;
    let peer = origin.peer(&destination).await?;
    let patience = origin.config.timeouts.read;
    fetch
        .exchange(&peer, head, Bytes::new(), MAX_ANSWER, patience)
        .await
}

fn clock(headers: &HeaderMap, asked: SystemTime, subject: &str, report: &mut Report) {
    let date = headers
        .get(header::DATE)
        .and_then(|date| date.to_str().ok())
        .and_then(|date| httpdate::parse_http_date(date).ok());
    let Some(theirs) = date else {
        let advice = "compare the clocks by hand: signatures are only good for 15 minutes";
        report.warning(subject, "its answer has no date", advice);
        return;
    };
    let (skew, direction) = match asked.duration_since(theirs) {
        Ok(ahead) => (ahead, "ahead of"),
        Err(behind) => (behind.duration(), "behind"),
    };
    let said = format!(
        "this machine's clock is {} s {direction} the origin's",
        skew.as_secs()
    );
    let advice = "set the clock (`timedatectl set-ntp true`): with 15 minutes of difference every \
                  signature is refused";
    if skew >= MAX_SKEW {
        report.problem(subject, said, advice);
    } else if skew >= SMALL_SKEW {
        report.warning(subject, said, advice);
    } else {
        report.ok(subject, "its clock and this machine's agree");
    }
}

/// Whether there are credentials and the origin takes them: one signed request, for the list of
/// buckets. That the list is refused says that the signature was right.
async fn has_credentials(
    origin: &Origin,
    fetch: &Fetch,
    subject: &str,
    is_only_client: bool,
    report: &mut Report,
) -> bool {
    if matches!(origin.config.credentials, CredentialSource::Anonymous) {
        report.ok(subject, "requests go out unsigned, as configured");
        return true;
    }
    let credentials = match origin.credentials.current().await {
        Ok(Some(credentials)) => credentials,
        Ok(None) => return true,
        Err(error) if error.is_no_credentials() && is_only_client => {
            report.warning(
                subject,
                "no credentials were found: requests go out unsigned, for everyone on this machine",
                "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or configure `credentials`",
            );
            return false;
        }
        Err(error) => {
            let advice =
                "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or correct `credentials`";
            report.problem(subject, format!("no credentials: {error}"), advice);
            return false;
        }
    };
    let asked = list_buckets(origin, fetch, None).await;
    takes_credentials(asked, &credentials, subject, report)
}

/// Asks for the list of buckets in somebody's name; the origin's own when none is given.
pub(super) async fn list_buckets(
    origin: &Origin,
    fetch: &Fetch,
    own: Option<&Credentials>,
) -> Result<Answer, UpstreamError> {
    let request = Request::own(Operation::ListBuckets, None, None);
    let question = Question {
        request: &request,
        method: Method::GET,
        headers: HeaderMap::new(),
        body: Bytes::new(),
        is_read: true,
        own,
        max_answer: MAX_ANSWER,
    };
    origin.ask(fetch, &question).await
}

/// Notes whether a signed request was accepted as such.
pub(super) fn takes_credentials(
    asked: Result<Answer, UpstreamError>,
    credentials: &Credentials,
    subject: &str,
    report: &mut Report,
) -> bool {
    let key = &credentials.access_key_id;
    let answer = match asked {
        Ok(answer) => answer,
        // Nothing is said of the credentials: the list was too long, or elsewhere.
        Err(UpstreamError::AnswerTooLong(_) | UpstreamError::Redirected) => {
            report.ok(subject, format!("takes the key {key}"));
            return true;
        }
        Err(error) => {
            let advice = "see that the store is well; then run this again";
            report.problem(subject, format!("a signed request fails: {error}"), advice);
            return false;
        }
    };
    let code = error_code(&answer.body);
    match rejection(code.as_deref().unwrap_or_default()) {
        Some((what, advice)) => {
            report.problem(subject, format!("key {key}: {what}"), advice);
            false
        }
        None if answer.status.is_server_error() => {
            let said = format!("a signed request is answered {}", answer.status);
            report.problem(
                subject,
                said,
                "see that the store is well; then run this again",
            );
            false
        }
        None if answer.status == StatusCode::OK => {
            report.ok(subject, format!("takes the key {key}"));
            true
        }
        None => {
            let said = format!("takes the key {key}, which may not list all buckets");
            report.ok(subject, said);
            true
        }
    }
}

/// What an S3 error code says of credentials, and what to do; none when it is about something else.
pub(super) fn rejection(code: &str) -> Option<(&'static str, &'static str)> {
    Some(match code {
        "SignatureDoesNotMatch" => (
            "the store finds the signature wrong (SignatureDoesNotMatch)",
            "the secret access key does not belong to this access key: set it anew, without blanks",
        ),
        "InvalidAccessKeyId" => (
            "the store does not know it (InvalidAccessKeyId)",
            "correct the access key, or have it made in this store",
        ),
        "ExpiredToken" | "InvalidToken" | "TokenRefreshRequired" => (
            "the store finds the session token expired or wrong",
            "get new temporary credentials, or use a source that renews them",
        ),
        "RequestTimeTooSkewed" => (
            "the store finds the request's time too far from its own (RequestTimeTooSkewed)",
            "set this machine's clock (`timedatectl set-ntp true`)",
        ),
        "AuthorizationHeaderMalformed" => (
            "the store expects another region (AuthorizationHeaderMalformed)",
            "correct `region` of the origin",
        ),
        _ => return None,
    })
}

/// The `Code` of an error document.
pub(super) fn error_code(body: &[u8]) -> Option<String> {
    let root = Element::parse(body, MAX_ELEMENTS).ok()?;
    let code = root.child_text("Code").filter(|_| root.name == "Error")?;
    Some(code.chars().take(60).collect())
}
