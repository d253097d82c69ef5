//! What every stage of a forwarded request costs beside verification: classifying, authorizing,
//! building and signing the origin request, and the line in the access log.

#![allow(clippy::unwrap_used, reason = "a benchmark may fall over")]
#![allow(missing_docs, reason = "the macros of criterion document nothing")]

use std::collections::HashMap;
use std::hint::black_box;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use criterion::{Criterion, criterion_group, criterion_main};
use http::{HeaderMap, Method, StatusCode};
use s3proxy::policy::{Policy, Rules, Statement};
use s3proxy::s3::{Action, BaseDomains, Credentials, Principal, Request, RequestHead, Secret};
use s3proxy::telemetry::{
    AccessLogConfig, AccessLogFormat, BytesFrom, CacheResult, CacheShare, OriginShare,
    RequestRecord,
};
use s3proxy::upstream::{Addressing, OriginBody, PayloadHash, SigningKeys, rewrite, sign_request};

const PATH: &str = "/lake/hive/year%3D2024/month%3D01/part%201%2Bx.parquet";
const AUTHORIZATION: &str = "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20261121/us-east-1/s3/aws4_request, \
     SignedHeaders=host;x-amz-content-sha256;x-amz-date, \
     Signature=91eebddcfcd28eed92e451822c00c163205bd4fb4380d0dc7f762d5bde1697f6";
const EMPTY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// A request as an engine sends it.
struct Sent {
    name: &'static str,
    method: Method,
    path: &'static str,
    query: &'static str,
    headers: HeaderMap,
    body: OriginBody,
}

impl Sent {
    fn head(&self) -> RequestHead<'_> {
        RequestHead {
            method: &self.method,
            raw_path: self.path,
            raw_query: self.query,
            host: "127.0.0.1:9000",
            headers: &self.headers,
        }
    }

    fn classify(&self) -> Request {
        Request::classify(&self.head(), &BaseDomains::default()).unwrap()
    }
}

fn headers(more: &[(&'static str, &'static str)]) -> HeaderMap {
    let always = [
        ("host", "127.0.0.1:9000"),
        ("accept", "*/*"),
        ("user-agent", "duckdb/v1.5.5(linux_amd64) python/3.11"),
        ("authorization", AUTHORIZATION),
        ("x-amz-content-sha256", EMPTY),
        ("x-amz-date", "20261121T081042Z"),
    ];
    let fields = always.iter().chain(more);
    fields
        .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()))
        .collect()
}

fn requests() -> [Sent; 3] {
    [
        Sent {
            name: "get",
            method: Method::GET,
            path: PATH,
            query: "",
            headers: headers(&[("range", "bytes=530124-546507")]),
            body: OriginBody::Absent,
        },
        Sent {
            name: "list",
            method: Method::GET,
            path: "/lake",
            query: "list-type=2&prefix=hive%2Fyear%3D2024%2F&delimiter=%2F&max-keys=1000",
            headers: headers(&[]),
            body: OriginBody::Absent,
        },
        Sent {
            name: "part",
            method: Method::PUT,
            path: PATH,
            query: "partNumber=7&uploadId=2~oAcwZ7QkgNCuVdZ4cNf9vM6Ic3SStd1",
            headers: headers(&[("content-length", "8388608")]),
            body: OriginBody::Plain {
                length: 8 << 20,
                payload: PayloadHash::Sha256(EMPTY.to_owned()),
            },
        },
    ]
}

/// A client with three allow rules, of which the last fits, and a deny rule.
fn policy() -> Policy {
    let rule = |buckets: &[&str], prefixes: &[&str], actions: &[Action]| {
        let owned = |list: &[&str]| list.iter().map(ToString::to_string).collect::<Vec<_>>();
        let (buckets, prefixes) = (owned(buckets), owned(prefixes));
        Statement::new(&buckets, &prefixes, actions.to_vec(), Vec::new()).unwrap()
    };
    let all = [Action::Read, Action::List, Action::Write, Action::Delete];
    let rules = Rules {
        allow: vec![
            rule(&["public-*"], &[], &[Action::Read]),
            rule(&["lake"], &["tmp/", "scratch/"], &all),
            rule(&["lake"], &["hive/", "iceberg/"], &all),
        ],
        deny: vec![rule(&["lake"], &["hive/locked/"], &all)],
    };
    Policy {
        clients: HashMap::from([("analytics".into(), rules)]),
        ..Policy::default()
    }
}

/// 2026-11-21 08:10:42.
fn now() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_795_248_642)
}

fn deciding(criterion: &mut Criterion) {
    let (domains, policy) = (BaseDomains::default(), policy());
    let principal = Principal::Client("analytics".into());
    for sent in &requests() {
        let head = sent.head();
        criterion.bench_function(&format!("classify/{}", sent.name), |bencher| {
            bencher.iter(|| Request::classify(black_box(&head), &domains));
        });
        let request = sent.classify();
        assert_eq!(policy.authorize(&principal, &request.accesses()), Ok(()));
        criterion.bench_function(&format!("authorize/{}", sent.name), |bencher| {
            bencher.iter(|| policy.authorize(&principal, &black_box(&request).accesses()));
        });
    }
}

fn forwarding(criterion: &mut Criterion) {
    let credentials =
        Credentials::fixed("ORIGINKEY", Secret::new("origin-secret-of-40-characters"));
    for sent in &requests() {
        let request = sent.classify();
        let rewritten = || {
            rewrite(
                black_box(&request),
                &sent.method,
                &sent.headers,
                "s3.eu-central-1.amazonaws.com",
                Addressing::Path,
                &sent.body,
            )
        };
        criterion.bench_function(&format!("rewrite/{}", sent.name), |bencher| {
            bencher.iter(rewritten);
        });
        let (unsigned, keys) = (rewritten(), SigningKeys::default());
        criterion.bench_function(&format!("sign/{}", sent.name), |bencher| {
            bencher.iter(|| {
                let signed = sign_request(
                    black_box(&unsigned),
                    Some(&credentials),
                    "eu-central-1",
                    now(),
                    &keys,
                );
                signed.unwrap()
            });
        });
    }
}

fn logging(criterion: &mut Criterion) {
    let [get, ..] = requests();
    let request = get.classify();
    let principal = Principal::Client("analytics".into());
    let record = RequestRecord {
        time: now(),
        request_id: "5EB0E6BD4A8C7D2F",
        principal: Some(&principal),
        remote: Some(([127, 0, 0, 1], 40_000).into()),
        method: &get.method,
        operation: request.operation,
        bucket: request.bucket.as_ref(),
        key: request.key.as_ref(),
        status: Some(StatusCode::PARTIAL_CONTENT),
        code: None,
        request_bytes: 0,
        response_bytes: 16_384,
        duration: Duration::from_micros(31_217),
        first_byte: Some(Duration::from_micros(30_018)),
        origin: Some(OriginShare {
            name: "main",
            time: Duration::from_micros(29_871),
            retries: 0,
        }),
        cache: Some(CacheShare {
            result: CacheResult::Partial,
            detail: None,
            bytes_from: Some(BytesFrom {
                memory: 8_192,
                disk: 0,
                origin: 8_192,
            }),
            origin_requests: 1,
        }),
        user_agent: Some(b"duckdb/v1.5.5(linux_amd64) python/3.11"),
    };
    for (name, format) in [
        ("text", AccessLogFormat::Text),
        ("json", AccessLogFormat::Json),
    ] {
        let config = AccessLogConfig {
            format,
            ..AccessLogConfig::default()
        };
        criterion.bench_function(&format!("access_log/{name}"), |bencher| {
            bencher.iter(|| config.line(black_box(&record)));
        });
    }
}

criterion_group!(benches, deciding, forwarding, logging);
criterion_main!(benches);
