//! The origin over a real socket, asked by signed requests.

use std::time::{Duration, Instant, SystemTime};

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{
    PayloadChecksumKind, PercentEncodingMode, SignableBody, SignableRequest, SigningSettings,
    UriPathNormalizationMode, sign,
};
use aws_sigv4::sign::v4;
use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpStream};

use super::{Key, Origin, STATS_PATH};
use crate::distance::Distance;

const SECRET: &str = "demo-secret-for-tests";

struct Fixture {
    root: TempDir,
    origin: Origin,
}

struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

impl Answer {
    fn field(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
    }
}

impl Fixture {
    async fn start(first_byte_delay: Duration) -> Self {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir(root.path().join("lake")).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let key = Key {
            id: "demo".to_owned(),
            secret: SECRET.to_owned(),
        };
        let distance = Distance {
            first_byte_delay,
            bytes_per_second: None,
        };
        let origin = Origin::start(root.path(), listener, key, distance).unwrap();
        Self { root, origin }
    }

    async fn get(&self, path: &str, fields: &[(&str, &str)]) -> Answer {
        self.send(Method::GET, path, fields, b"", SECRET).await
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        fields: &[(&str, &str)],
        body: &'static [u8],
        secret: &str,
    ) -> Answer {
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", self.origin.addr().to_string());
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        let mut request = request.body(Full::new(Bytes::from_static(body))).unwrap();
        sign_request(
            &mut request,
            &format!("http://{}{path}", self.origin.addr()),
            body,
            secret,
        );
        let stream = TcpStream::connect(self.origin.addr()).await.unwrap();
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .unwrap();
        let connection = tokio::spawn(connection);
        let (parts, body) = sender.send_request(request).await.unwrap().into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        drop(sender);
        connection.await.unwrap().unwrap();
        Answer {
            status: parts.status,
            headers: parts.headers,
            body,
        }
    }
}

fn sign_request(request: &mut Request<Full<Bytes>>, url: &str, body: &[u8], secret: &str) {
    let identity = Credentials::new("demo", secret, None, None, "test").into();
    let mut settings = SigningSettings::default();
    settings.percent_encoding_mode = PercentEncodingMode::Single;
    settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
    settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
    let params = v4::SigningParams::builder()
        .identity(&identity)
        .region("us-east-1")
        .name("s3")
        .time(SystemTime::now())
        .settings(settings)
        .build()
        .unwrap()
        .into();
    let fields = request
        .headers()
        .iter()
        .map(|(name, value)| (name.as_str(), value.to_str().unwrap()));
    let signable = SignableRequest::new(
        request.method().as_str(),
        url,
        fields,
        SignableBody::Bytes(body),
    )
    .unwrap();
    let (instructions, _) = sign(signable, &params).unwrap().into_parts();
    instructions.apply_to_request_http1x(request);
}

#[tokio::test]
async fn an_upload_is_read_back_whole_and_by_range() {
    let s3 = Fixture::start(Duration::ZERO).await;
    let put = s3
        .send(
            Method::PUT,
            "/lake/a/b.txt",
            &[("content-type", "text/x-demo")],
            b"0123456789",
            SECRET,
        )
        .await;
    assert_eq!(put.status, StatusCode::OK);
    let whole = s3.get("/lake/a/b.txt", &[]).await;
    assert_eq!(
        (whole.status, &whole.body[..]),
        (StatusCode::OK, &b"0123456789"[..])
    );
    assert_eq!(whole.field("etag"), "\"781e5e245d69b566979b86e28d23f2c7\"");
    assert_eq!(
        (whole.field("content-type"), whole.field("accept-ranges")),
        ("text/x-demo", "bytes")
    );
    for (range, bytes, content_range) in [
        ("bytes=2-4", &b"234"[..], "bytes 2-4/10"),
        ("bytes=7-", b"789", "bytes 7-9/10"),
        ("bytes=5-999", b"56789", "bytes 5-9/10"),
        ("bytes=-3", b"789", "bytes 7-9/10"),
        ("bytes=-262144", b"0123456789", "bytes 0-9/10"),
    ] {
        let part = s3.get("/lake/a/b.txt", &[("range", range)]).await;
        assert_eq!(
            (part.status, &part.body[..], part.field("content-range")),
            (StatusCode::PARTIAL_CONTENT, bytes, content_range)
        );
        let head = s3
            .send(
                Method::HEAD,
                "/lake/a/b.txt",
                &[("range", range)],
                b"",
                SECRET,
            )
            .await;
        assert_eq!(
            (head.status, head.field("content-range")),
            (StatusCode::PARTIAL_CONTENT, content_range)
        );
        assert_eq!(head.field("content-length"), bytes.len().to_string());
    }
    assert_eq!(
        s3.get("/lake/a/b.txt", &[("range", "bytes=10-")])
            .await
            .status,
        StatusCode::RANGE_NOT_SATISFIABLE
    );
}

#[tokio::test]
async fn preconditions_hold() {
    let s3 = Fixture::start(Duration::ZERO).await;
    std::fs::write(s3.root.path().join("lake/x"), b"abc").unwrap();
    let first = s3.get("/lake/x", &[]).await;
    let (e_tag, date) = (first.field("etag"), first.field("last-modified"));
    let status = async |name, value| s3.get("/lake/x", &[(name, value)]).await.status;
    assert_eq!(status("if-match", e_tag).await, StatusCode::OK);
    assert_eq!(
        status("if-match", "\"other\"").await,
        StatusCode::PRECONDITION_FAILED
    );
    assert_eq!(
        status("if-none-match", e_tag).await,
        StatusCode::NOT_MODIFIED
    );
    assert_eq!(status("if-none-match", "\"other\"").await, StatusCode::OK);
    assert_eq!(
        status("if-modified-since", date).await,
        StatusCode::NOT_MODIFIED
    );
    assert_eq!(status("if-unmodified-since", date).await, StatusCode::OK);
}

#[tokio::test]
async fn a_file_changed_by_hand_has_another_etag() {
    let s3 = Fixture::start(Duration::ZERO).await;
    s3.send(Method::PUT, "/lake/x", &[], b"one", SECRET).await;
    let before = s3.get("/lake/x", &[]).await;
    let file = std::fs::File::options()
        .write(true)
        .open(s3.root.path().join("lake/x"))
        .unwrap();
    file.set_modified(SystemTime::now() + Duration::from_secs(5))
        .unwrap();
    let after = s3.get("/lake/x", &[]).await;
    assert_ne!(before.field("etag"), after.field("etag"));
}

#[tokio::test]
async fn a_listing_has_etags_and_encoded_keys() {
    let s3 = Fixture::start(Duration::ZERO).await;
    std::fs::write(s3.root.path().join("lake/a b+c%"), b"abc").unwrap();
    let e_tag = s3
        .get("/lake/a%20b%2Bc%25", &[])
        .await
        .field("etag")
        .to_owned();
    let page = s3.get("/lake?encoding-type=url&list-type=2", &[]).await;
    let page = String::from_utf8(page.body.to_vec()).unwrap();
    assert!(page.contains("<Key>a%20b%2Bc%25</Key>"), "{page}");
    assert!(page.contains(&format!("<ETag>{e_tag}</ETag>")), "{page}");
}

#[tokio::test]
async fn a_wrong_secret_is_refused() {
    let s3 = Fixture::start(Duration::ZERO).await;
    std::fs::write(s3.root.path().join("lake/x"), b"abc").unwrap();
    assert_eq!(
        s3.send(Method::GET, "/lake/x", &[], b"", "wrong")
            .await
            .status,
        StatusCode::FORBIDDEN
    );
}

#[tokio::test]
async fn keys_stay_inside_the_root() {
    let s3 = Fixture::start(Duration::ZERO).await;
    std::fs::write(s3.root.path().join("secret"), b"abc").unwrap();
    for path in ["/lake/../secret", "/lake/a/"] {
        assert_eq!(
            s3.get(path, &[]).await.status,
            StatusCode::NOT_FOUND,
            "{path}"
        );
    }
}

#[tokio::test]
async fn what_is_missing_is_named() {
    let s3 = Fixture::start(Duration::ZERO).await;
    for (path, code) in [("/lake/x", "NoSuchKey"), ("/nolake/x", "NoSuchBucket")] {
        let answer = s3.get(path, &[]).await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND);
        assert!(
            answer
                .body
                .windows(code.len())
                .any(|part| part == code.as_bytes()),
            "{path}"
        );
    }
}

#[tokio::test]
async fn each_response_waits_and_is_counted() {
    let s3 = Fixture::start(Duration::from_millis(30)).await;
    std::fs::write(s3.root.path().join("lake/x"), vec![7; 1000]).unwrap();
    let start = Instant::now();
    s3.get("/lake/x", &[]).await;
    assert!(start.elapsed() >= Duration::from_millis(30));
    s3.get("/lake/nothing", &[]).await;
    let stats: serde_json::Value =
        serde_json::from_slice(&s3.get(STATS_PATH, &[]).await.body).unwrap();
    assert_eq!(stats["requests"], 2);
    assert!(stats["bytes"].as_u64().unwrap() > 1000);
}
