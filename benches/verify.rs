//! What verification costs: a ranged read signed in the header and in the query, with the signing key kept and without.

#![allow(clippy::unwrap_used, reason = "a benchmark may fall over")]
#![allow(missing_docs, reason = "the macros of criterion document nothing")]

use std::hint::black_box;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use criterion::{Criterion, criterion_group, criterion_main};
use http::{HeaderMap, Method};
use s3proxy::auth::{AuthConfig, ClientConfig, Verifier};
use s3proxy::s3::{Credentials, RequestHead, Secret};

const HEADER: &[(&str, &str)] = &[
    ("host", "127.0.0.1:9000"),
    ("accept", "*/*"),
    ("range", "bytes=530124-546507"),
    (
        "user-agent",
        "duckdb/v1.5.5(linux_amd64) python/3.11 d8cdaa33fd",
    ),
    (
        "authorization",
        "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20261121/us-east-1/s3/aws4_request, \
         SignedHeaders=host;x-amz-content-sha256;x-amz-date, \
         Signature=91eebddcfcd28eed92e451822c00c163205bd4fb4380d0dc7f762d5bde1697f6",
    ),
    (
        "x-amz-content-sha256",
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    ),
    ("x-amz-date", "20261121T081042Z"),
];
const PATH: &str = "/lake/hive/year%3D2024/month%3D01/part%201%2Bx.parquet";
const QUERY: &str = "X-Amz-Algorithm=AWS4-HMAC-SHA256\
    &X-Amz-Credential=ASIAIOSFODNN7EXAMPLE%2F20261121%2Fus-east-1%2Fs3%2Faws4_request\
    &X-Amz-Date=20261121T082248Z&X-Amz-Expires=600&X-Amz-SignedHeaders=host\
    &X-Amz-Security-Token=FakeToken%2F%2F%2Babc%3D%3D\
    &X-Amz-Signature=f0cc5b3a57f5cd28f5c5262fa84ef46b8a22e87f2559327b3f9d7a6ae3b03c74";

fn verifier() -> Verifier {
    let fixed = Credentials::fixed(
        "AKIDEXAMPLE",
        Secret::new("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"),
    );
    let mut temporary = Credentials::fixed(
        "ASIAIOSFODNN7EXAMPLE",
        Secret::new("wJalrXUtnFEMI/K7MDENG+bPxRfiCYTEMPEXAMPLE"),
    );
    temporary.session_token = Some(Secret::new("FakeToken//+abc=="));
    let clients = [("fixed", fixed), ("temporary", temporary)];
    Verifier::new(
        AuthConfig {
            clients: clients
                .into_iter()
                .map(|(name, credentials)| ClientConfig {
                    name: name.into(),
                    credentials,
                })
                .collect(),
            regions: None,
            unsigned_payload: true,
            max_skew: Duration::from_mins(15),
            anonymous: false,
            web_identity: None,
        },
        None,
    )
}

fn headers(fields: &[(&'static str, &'static str)]) -> HeaderMap {
    fields
        .iter()
        .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()))
        .collect()
}

/// 2026-11-21 08:20:00, within the life of both requests.
fn now() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_795_249_400)
}

fn verify(verifier: &Verifier, head: &RequestHead<'_>) -> bool {
    let future = std::pin::pin!(verifier.verify(head, None, now()));
    let mut context = Context::from_waker(Waker::noop());
    matches!(future.poll(&mut context), Poll::Ready(Ok(_)))
}

fn benchmarks(criterion: &mut Criterion) {
    let (signed, plain) = (headers(HEADER), headers(&HEADER[..4]));
    let header = RequestHead {
        method: &Method::GET,
        raw_path: PATH,
        raw_query: "",
        host: "127.0.0.1:9000",
        headers: &signed,
    };
    let presigned = RequestHead {
        raw_query: QUERY,
        headers: &plain,
        ..header
    };
    let kept = verifier();
    for (name, head) in [("header", &header), ("presigned", &presigned)] {
        assert!(verify(&kept, head), "{name}");
        criterion.bench_function(&format!("verify/{name}"), |bencher| {
            bencher.iter(|| verify(&kept, black_box(head)));
        });
        criterion.bench_function(&format!("verify/{name}_cold_key"), |bencher| {
            bencher.iter_batched_ref(
                verifier,
                |cold| verify(cold, black_box(head)),
                criterion::BatchSize::SmallInput,
            );
        });
    }
}

criterion_group!(benches, benchmarks);
criterion_main!(benches);
