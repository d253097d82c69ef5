//! The admin pages: what each answers, and one exchange over a real socket.

use std::io::Read;
use std::io::Write;
use std::net::TcpStream;
use std::time::Duration;

use async_trait::async_trait;
use pingora::protocols::l4::stream::Stream;
use tokio::sync::mpsc;

use super::*;
use crate::telemetry::DiskState;
use crate::telemetry::Figures;
use crate::telemetry::OriginStatus;
use crate::telemetry::Reachability;

struct Origins(Vec<Reachability>);

impl Readiness for Origins {
    fn origins(&self) -> Vec<OriginStatus> {
        let status = |(index, reachability): (usize, &Reachability)| OriginStatus {
            name: format!("origin-{index}").into(),
            reachability: *reachability,
            age: (*reachability != Reachability::Unknown).then_some(Duration::from_secs(4)),
        };
        self.0.iter().enumerate().map(status).collect()
    }
}

fn admin(origins: &[Reachability]) -> Admin {
    let lifecycle = Lifecycle::new();
    lifecycle.serving();
    let readiness = Arc::new(Origins(origins.to_vec()));
    Admin::new(
        AdminConfig::default(),
        Metrics::new(),
        lifecycle,
        readiness,
        None,
    )
}

fn get(admin: &Admin, path: &str) -> (u16, String) {
    let response = admin.answer(&Method::GET, path, "", &HeaderMap::new());
    let fields = response.headers();
    assert_eq!(
        fields[header::CONTENT_LENGTH],
        response.body().len().to_string()
    );
    assert_eq!(fields[header::CACHE_CONTROL], "no-store");
    let status = response.status().as_u16();
    (status, String::from_utf8(response.into_body()).unwrap())
}

#[test]
fn each_path_has_its_page() {
    let admin = admin(&[]);
    assert_eq!(get(&admin, "/healthz"), (200, "ok\n".to_owned()));
    assert!(
        get(&admin, "/metrics")
            .1
            .contains("s3proxy_build_info{version=")
    );
    let (status, index) = get(&admin, "/");
    assert_eq!(status, 200);
    for path in ["/healthz", "/readyz", "/metrics"] {
        assert!(index.contains(path), "{path}");
        assert_eq!(get(&admin, path).0, 200, "{path}");
    }
    for path in ["", "//", "/metrics/", "/healthz/x", "/../metrics"] {
        assert_eq!(get(&admin, path).0, 404, "{path}");
    }
}

/// Whoever opens the listener in a browser sees the dashboard, everybody else what there is.
#[test]
fn a_browser_gets_the_dashboard() {
    let admin = admin(&[]);
    let mut fields = HeaderMap::new();
    let page = |path, fields: &HeaderMap| {
        let page = admin.answer(&Method::GET, path, "", fields);
        assert_eq!(page.status(), StatusCode::OK, "{path}");
        let kind = page.headers()[header::CONTENT_TYPE].to_str().unwrap();
        (kind.to_owned(), page.headers().clone(), page.into_body())
    };
    let (kind, index, _) = page("/", &fields);
    assert_eq!(kind, "text/plain; charset=utf-8");
    assert_eq!(index[header::VARY], "accept");
    let (_, _, dashboard) = page("/-/dashboard", &fields);
    fields.insert(header::ACCEPT, "text/html,*/*;q=0.8".parse().unwrap());
    let (kind, fields_of_page, body) = page("/", &fields);
    assert_eq!(kind, "text/html; charset=utf-8");
    assert!(body == dashboard, "another page");
    assert_eq!(fields_of_page[header::VARY], "accept");
    assert!(fields_of_page.contains_key(header::CONTENT_SECURITY_POLICY));
    let (kind, ..) = page("/-/stats", &fields);
    assert_eq!(kind, "application/json");
}

#[test]
fn only_reading_methods_are_answered() {
    let admin = admin(&[]);
    for method in [Method::POST, Method::PUT, Method::DELETE, Method::OPTIONS] {
        let response = admin.answer(&method, "/metrics", "", &HeaderMap::new());
        assert_eq!(response.status(), StatusCode::METHOD_NOT_ALLOWED);
        assert_eq!(response.headers()[header::ALLOW], "GET, HEAD");
    }
    let response = admin.answer(&Method::HEAD, "/healthz", "", &HeaderMap::new());
    assert_eq!(response.status(), StatusCode::OK);
}

#[test]
fn a_rebound_name_is_turned_away() {
    let admin = admin(&[]);
    let mut fields = HeaderMap::new();
    fields.insert(header::HOST, "127.0.0.1:3001".parse().unwrap());
    assert_eq!(
        admin.answer(&Method::GET, "/metrics", "", &fields).status(),
        StatusCode::OK
    );
    fields.append(header::HOST, "attacker.example".parse().unwrap());
    let refusal = admin.answer(&Method::GET, "/metrics", "", &fields);
    assert_eq!(refusal.status(), StatusCode::MISDIRECTED_REQUEST);
}

#[test]
fn readiness_needs_one_origin() {
    use Reachability::{Reachable, Unknown, Unreachable};
    for (origins, expected) in [
        (&[][..], 200),
        (&[Reachable], 200),
        (&[Unreachable("timeout"), Reachable], 200),
        (&[Unknown], 503),
        (&[Unreachable("timeout"), Unknown], 503),
    ] {
        assert_eq!(get(&admin(origins), "/readyz").0, expected, "{origins:?}");
    }
    let (_, body) = get(
        &admin(&[Unreachable("timeout"), Unknown, Reachable]),
        "/readyz",
    );
    let body: serde_json::Value = serde_json::from_str(&body).unwrap();
    let expected = serde_json::json!({
        "ready": true,
        "phase": "serving",
        "origins": [
            {"name": "origin-0", "reachable": false, "error": "timeout", "age_secs": 4},
            {"name": "origin-1", "reachable": null},
            {"name": "origin-2", "reachable": true, "age_secs": 4},
        ],
    });
    assert_eq!(body, expected);
}

/// Notes orders.
#[derive(Default)]
struct Orders(parking_lot::Mutex<Vec<PurgeOrder>>);

#[async_trait]
impl Purge for Orders {
    async fn purge(&self, order: &PurgeOrder) -> Result<PurgeReport, PurgeError> {
        self.0.lock().push(order.clone());
        if order.bucket.as_str() == "pond" {
            return Err(PurgeError::NoOrigin);
        }
        Ok(PurgeReport {
            objects: 1,
            segments: 2,
            bytes: 300,
            failures: 0,
        })
    }
}

/// Tells of two objects, and stays until nobody listens.
impl Warm for Orders {
    fn begin(&self, order: WarmOrder) -> Result<mpsc::Receiver<WarmEvent>, WarmError> {
        if order.bucket.as_str() == "pond" {
            return Err(WarmError::Busy);
        }
        let (events, listener) = mpsc::channel(4);
        for found in 1..=2 {
            let figures = WarmFigures {
                found,
                ..WarmFigures::default()
            };
            events.try_send(WarmEvent::Progress(figures)).unwrap();
        }
        Ok(listener)
    }
}

impl CacheFigures for Orders {
    fn figures(&self) -> Figures {
        let mut figures = Figures {
            metas: 7,
            ..Figures::default()
        };
        figures.memory.bytes = 5;
        figures.memory.capacity = 6;
        figures.disk.state = DiskState::ReadOnly;
        figures.disk.fault = Some("no space left");
        figures
    }
}

fn admin_of_cache() -> (Admin, Arc<Orders>) {
    let orders = Arc::new(Orders::default());
    let cache = AdminCache {
        figures: Arc::clone(&orders) as _,
        purge: Arc::clone(&orders) as _,
        warm: Arc::clone(&orders) as _,
    };
    let mut admin = admin(&[]);
    admin.cache = Some(cache);
    (admin, orders)
}

#[test]
fn readiness_shows_the_cache_and_does_not_depend_on_it() {
    let (admin, _) = admin_of_cache();
    let (status, body) = get(&admin, "/readyz");
    assert_eq!(status, 200);
    let body: serde_json::Value = serde_json::from_str(&body).unwrap();
    let expected = serde_json::json!({
        "metas": 7,
        "memory": {"bytes": 5, "capacity": 6},
        "disk": {"state": "read_only", "fault": "no space left", "bytes": 0, "capacity": 0},
    });
    assert_eq!(body["cache"], expected);
}

#[tokio::test]
async fn a_purge_needs_the_host_the_method_and_a_cache() {
    let mut fields = HeaderMap::new();
    fields.insert(header::CONTENT_TYPE, "application/json".parse().unwrap());
    let body = br#"{"bucket": "lake", "key": "a"}"#;
    let off = admin(&[]).purge("", &fields, body).await;
    assert_eq!(off.status(), StatusCode::NOT_FOUND);

    let (admin, orders) = admin_of_cache();
    let get = admin.answer(&Method::GET, "/-/purge", "", &fields);
    assert_eq!(get.status(), StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(get.headers()[header::ALLOW], "POST");
    let elsewhere = admin.purge("", &fields, br#"{"bucket": "pond", "key": "a"}"#);
    assert_eq!(elsewhere.await.status(), StatusCode::NOT_FOUND);
    orders.0.lock().clear();

    let mut rebound = fields.clone();
    rebound.insert(header::HOST, "attacker.example".parse().unwrap());
    let refused = admin.purge("", &rebound, body).await;
    assert_eq!(refused.status(), StatusCode::MISDIRECTED_REQUEST);
    let none = HeaderMap::new();
    let simple = admin.purge("bucket=lake&key=a", &none, b"").await;
    assert_eq!(simple.status(), StatusCode::FORBIDDEN);
    assert!(orders.0.lock().is_empty());
}

#[test]
fn pingora_serves_a_purge() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let limit = Some(Duration::from_secs(10));
    client.set_read_timeout(limit).unwrap();
    let (admin, orders) = admin_of_cache();
    let server = std::thread::spawn(move || serve_with(&listener, admin));
    let body = r#"{"bucket": "lake", "prefix": "hive/"}"#;
    let request = format!(
        "POST /-/purge HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len()
    );
    let expected = "{\"objects\":1,\"segments\":2,\"bytes\":300,\"failures\":0}\n";
    // Twice, over one connection.
    for _ in 0..2 {
        client.write_all(request.as_bytes()).unwrap();
        let (head, answer) = read_answer(&mut client, expected.len());
        assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
        assert_eq!(answer, expected);
    }
    let long = "POST /-/purge HTTP/1.1\r\nhost: localhost\r\ncontent-length: 100000\r\n\r\n";
    client.write_all(long.as_bytes()).unwrap();
    client.write_all(&vec![b'x'; 20_000]).unwrap();
    let mut answer = String::new();
    let _ = client.read_to_string(&mut answer);
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    server.join().unwrap();
    let target = PurgeTarget::Prefix("hive/".to_owned());
    let orders = orders.0.lock();
    assert_eq!(orders.len(), 2);
    assert!(orders.iter().all(|order| order.target == target));
}

#[test]
fn a_warm_is_told_of_line_by_line() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let limit = Some(Duration::from_secs(10));
    client.set_read_timeout(limit).unwrap();
    let (admin, _) = admin_of_cache();
    let server = std::thread::spawn(move || serve_with(&listener, admin));
    let mut ask = |query: &str, body: &str| {
        let request = format!(
            "POST /-/warm{query} HTTP/1.1\r\nhost: localhost\r\n\
             content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        client.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        let mut byte = [0];
        // Every answer ends with a line of JSON, and this one with an empty chunk behind.
        while !answer.ends_with("}\n") && !answer.ends_with("\r\n0\r\n\r\n") {
            client.read_exact(&mut byte).unwrap();
            answer.push(char::from(byte[0]));
            if answer.contains("chunked") && answer.ends_with("}\n") {
                answer.push(' ');
            }
        }
        answer
    };
    let busy = ask("", r#"{"bucket": "pond", "prefix": ""}"#);
    assert!(busy.starts_with("HTTP/1.1 429 "), "{busy}");
    assert!(busy.contains("two warms run already"), "{busy}");
    let query = ask("?limit=1", r#"{"bucket": "lake", "prefix": ""}"#);
    assert!(query.starts_with("HTTP/1.1 400 "), "{query}");
    let told = ask("", r#"{"bucket": "lake", "prefix": ""}"#);
    assert!(told.starts_with("HTTP/1.1 200 "), "{told}");
    assert!(told.to_lowercase().contains("application/x-ndjson"));
    assert_eq!(
        told.matches("{\"event\":\"progress\",\"found\":").count(),
        2
    );
    drop(client);
    server.join().unwrap();
}

#[test]
fn the_token_opens_what_is_not_open_to_all() {
    let mut admin = admin(&[]);
    admin.config.token = Some(Secret::new("t0ken"));
    let status = |path: &str, authorization: &[&str]| {
        let mut fields = HeaderMap::new();
        for value in authorization {
            fields.append(header::AUTHORIZATION, value.parse().unwrap());
        }
        let answer = admin.answer(&Method::GET, path, "", &fields);
        answer.status().as_u16()
    };
    for path in ["/healthz", "/readyz", "/"] {
        assert_eq!(status(path, &[]), 200, "{path}");
    }
    for path in ["/metrics", "/-/stats", "/-/top"] {
        assert_eq!(status(path, &[]), 401, "{path}");
        for wrong in [
            "Bearer",
            "Bearer ",
            "Bearer t0ke",
            "Bearer t0kenn",
            "Basic t0ken",
            "t0ken",
        ] {
            assert_eq!(status(path, &[wrong]), 401, "{path} {wrong}");
        }
        assert_eq!(
            status(path, &["Bearer t0ken", "Bearer t0ken"]),
            401,
            "{path}"
        );
        assert_eq!(status(path, &["Bearer t0ken"]), 200, "{path}");
        assert_eq!(status(path, &["bearer t0ken"]), 200, "{path}");
    }
    let fields = HeaderMap::new();
    let refused = admin.answer(&Method::POST, "/-/purge", "", &fields);
    assert_eq!(refused.status(), StatusCode::UNAUTHORIZED);
    assert!(refused.headers().contains_key(header::WWW_AUTHENTICATE));
}

#[test]
fn readiness_follows_the_life_of_the_process() {
    let lifecycle = Lifecycle::new();
    let readiness = Arc::new(Origins(vec![Reachability::Reachable]));
    let admin = Admin::new(
        AdminConfig::default(),
        Metrics::new(),
        lifecycle.clone(),
        readiness,
        None,
    );
    assert_eq!(get(&admin, "/readyz").0, 503);
    lifecycle.serving();
    assert_eq!(get(&admin, "/readyz").0, 200);
    lifecycle.stopping();
    let (status, body) = get(&admin, "/readyz");
    assert_eq!(status, 503);
    assert!(body.contains(r#""phase":"stopping""#), "{body}");
    assert_eq!(get(&admin, "/healthz").0, 200);
}

/// Pingora's half of an exchange: HEAD has no body but its length, the connection is kept, and a
/// request with a body ends it.
#[test]
fn pingora_serves_the_pages() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    client
        .set_read_timeout(Some(Duration::from_secs(10)))
        .unwrap();
    let server = std::thread::spawn(move || serve(&listener));
    for (request, status, body) in [
        (
            "HEAD /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n",
            "200 OK",
            "",
        ),
        (
            "GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n",
            "200 OK",
            "ok\n",
        ),
    ] {
        client.write_all(request.as_bytes()).unwrap();
        let (head, rest) = read_answer(&mut client, body.len());
        assert!(
            head.starts_with(&format!("HTTP/1.1 {status}\r\n")),
            "{head}"
        );
        assert!(
            head.to_lowercase().contains("\r\ncontent-length: 3\r\n"),
            "{head}"
        );
        assert_eq!(rest, body);
    }
    let request = "POST / HTTP/1.1\r\nhost: localhost\r\ncontent-length: 2\r\n\r\nhi";
    client.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 405 "), "{answer}");
    server.join().unwrap();
}

/// The head and `len` bytes behind it.
fn read_answer(client: &mut TcpStream, len: usize) -> (String, String) {
    let mut bytes = Vec::new();
    let end_of_head = |bytes: &[u8]| bytes.windows(4).position(|part| part == b"\r\n\r\n");
    loop {
        if let Some(end) = end_of_head(&bytes).filter(|end| bytes.len() >= end + 4 + len) {
            let text = String::from_utf8(bytes).unwrap();
            return (text[..end + 2].to_owned(), text[end + 4..].to_owned());
        }
        let mut part = [0; 1024];
        let count = client.read(&mut part).unwrap();
        assert_ne!(count, 0, "closed too early");
        bytes.extend_from_slice(&part[..count]);
    }
}

fn serve(listener: &std::net::TcpListener) {
    serve_with(listener, admin(&[]));
}

fn serve_with(listener: &std::net::TcpListener, admin: Admin) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let (socket, _) = listener.accept().unwrap();
        socket.set_nonblocking(true).unwrap();
        let stream: Stream = tokio::net::TcpStream::from_std(socket).unwrap().into();
        let app = Arc::new(admin);
        let (_alive, shutdown) = tokio::sync::watch::channel(false);
        Service::handle_event(Box::new(stream), app, shutdown).await;
    });
}
