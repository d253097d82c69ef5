//! Streaming reads of objects from an origin that follows a script, without the proxy between.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use s3proxy::s3::{Bucket, Credentials, ETag, Key, Secret};
use s3proxy::telemetry::Metrics;
use s3proxy::upstream::{
    Addressing, AskedRange, Awaited, CredentialSource, Download, DownloadConfig, Downloads,
    Endpoint, ObjectAsk, Origin as Upstream, OriginConfig, OriginCredentials, Priority, Resolver,
    Timeouts, UpstreamError,
};

use super::origin::Origin;
use super::pattern;
use super::poll_until;
use super::reply::{End, Payload, Reply};
use super::tls::Pki;

/// What downloads need, towards one scripted origin.
#[derive(Clone)]
pub(super) struct Side {
    pub(super) upstream: Arc<Upstream>,
    pub(super) downloads: Arc<Downloads>,
    metrics: Arc<Metrics>,
    bucket: Bucket,
    key: Key,
}

pub(super) struct Setup {
    pub(super) config: OriginConfig,
    pub(super) downloads: DownloadConfig,
}

impl Setup {
    pub(super) fn of(origin: &Origin) -> Self {
        let key = Origin::key();
        let credentials = Credentials::fixed(key.id.as_str(), Secret::new(key.secret.as_str()));
        let config = OriginConfig {
            name: "main".into(),
            endpoint: Endpoint {
                is_tls: false,
                host: origin.address.ip().to_string(),
                port: origin.address.port(),
            },
            region: "us-east-1".to_owned(),
            addressing: Addressing::Path,
            ca_file: None,
            server_name: None,
            credentials: CredentialSource::Static(credentials),
            buckets: s3proxy::upstream::BucketGlobs::default(),
            trailing_checksums: true,
            timeouts: Timeouts {
                connect: Duration::from_secs(5),
                read: Duration::from_secs(5),
                write: Duration::from_secs(5),
                total: Duration::from_secs(20),
            },
            max_retries: 2,
            idle_timeout: Duration::from_mins(1),
        };
        Self {
            config,
            // What is late on a busy machine would be asked for once more, and counted.
            downloads: DownloadConfig {
                hedges: false,
                ..DownloadConfig::default()
            },
        }
    }

    pub(super) fn tls(mut self, ca_file: &Path, name: &str) -> Self {
        self.config.endpoint.is_tls = true;
        self.config.ca_file = Some(ca_file.to_owned());
        self.config.server_name = Some(name.to_owned());
        self
    }

    pub(super) fn build(self) -> Side {
        let credentials =
            OriginCredentials::new(&self.config.credentials, self.config.region.as_str());
        let resolver = Arc::new(Resolver::new());
        let upstream = Upstream::new(self.config, credentials, resolver, 0).unwrap();
        let metrics = Metrics::new();
        upstream.report_to(metrics.origin("main"));
        Side {
            upstream: Arc::new(upstream),
            downloads: Arc::new(Downloads::new(self.downloads, None)),
            metrics,
            bucket: Bucket::new("lake").unwrap(),
            key: Key::new("year=2024/a b.parquet").unwrap(),
        }
    }
}

impl Side {
    pub(super) fn of(origin: &Origin) -> Self {
        Setup::of(origin).build()
    }

    pub(super) fn ask(&self) -> ObjectAsk<'_> {
        ObjectAsk::get(&self.bucket, &self.key)
    }

    pub(super) fn ask_head(&self) -> ObjectAsk<'_> {
        ObjectAsk::head(&self.bucket, &self.key)
    }

    pub(super) async fn send(&self, ask: &ObjectAsk<'_>) -> Result<Download, UpstreamError> {
        self.upstream.download(&self.downloads, ask).await
    }

    pub(super) async fn get(&self) -> Result<Download, UpstreamError> {
        self.send(&self.ask()).await
    }

    /// Whether the metrics say so.
    #[track_caller]
    pub(super) fn assert_counted(&self, line: &str) {
        let text = self.metrics.expose();
        let line = format!("s3proxy_upstream_{line}");
        let found = text.lines().any(|counted| counted == line);
        let of_origin = text.lines().filter(|line| line.contains("upstream"));
        let of_origin: Vec<_> = of_origin
            .filter(|line| !line.contains("duration"))
            .collect();
        assert!(found, "{line} is not in {of_origin:#?}");
    }
}

/// Reads up to the end or to an error.
pub(super) async fn drain(mut download: Download) -> (Vec<u8>, Result<(), UpstreamError>) {
    let mut body = Vec::new();
    loop {
        match download.next().await {
            Ok(Some(piece)) => {
                assert!(!piece.is_empty());
                body.extend_from_slice(&piece);
            }
            Ok(None) => return (body, Ok(())),
            Err(error) => return (body, Err(error)),
        }
    }
}

pub(super) async fn whole(download: Download) -> Vec<u8> {
    let (body, outcome) = drain(download).await;
    outcome.unwrap();
    body
}

#[tokio::test]
async fn an_object_is_asked_for_signed_and_streamed() {
    let origin = Origin::start().await;
    origin.respond(|_| Reply::new(206, Payload::Pattern(1 << 20)).header("ETag", "\"e\""));
    let side = Side::of(&origin);
    let etag = ETag::parse("\"e\"").unwrap();
    let download = side
        .send(&ObjectAsk {
            range: Some(AskedRange::Interval(0..1 << 20)),
            if_match: Some(&etag),
            checksum_mode: true,
            ..side.ask()
        })
        .await
        .unwrap();
    assert_eq!(download.status, 206);
    assert_eq!(download.headers["etag"], "\"e\"");
    assert_eq!(download.length, Some(1 << 20));
    let body = whole(download).await;
    assert!(body.len() == 1 << 20 && pattern::matches(0, &body));
    let seen = origin.take_one();
    assert_eq!(seen.signer.as_deref(), Ok("ORIGINKEY"));
    assert_eq!(seen.method, "GET");
    assert_eq!(seen.target, "/lake/year%3D2024/a%20b.parquet");
    assert_eq!(seen.field("range"), Some("bytes=0-1048575"));
    assert_eq!(seen.field("if-match"), Some("\"e\""));
    assert_eq!(seen.field("x-amz-checksum-mode"), Some("ENABLED"));
    side.assert_counted(r#"requests_total{operation="GetObject",origin="main",status="206"} 1"#);
    side.assert_counted(r#"response_bytes_total{origin="main"} 1048576"#);
}

#[tokio::test]
async fn heads_and_answers_without_a_body_leave_the_connection_usable() {
    let origin = Origin::start().await;
    let side = Side::of(&origin);
    origin.script(vec![
        Reply::status(200).header("Content-Length", "4711"),
        Reply::status(304).header("Content-Length", "4711"),
        Reply::ok("body"),
    ]);
    for ask in [side.ask_head(), side.ask()] {
        let mut download = side.send(&ask).await.unwrap();
        assert_eq!(download.headers.get("content-length").unwrap(), "4711");
        assert_eq!(download.length, Some(0));
        assert_eq!(download.next().await.unwrap(), None);
    }
    assert_eq!(whole(side.get().await.unwrap()).await, b"body");
    assert!(origin.take().iter().all(|seen| seen.connection == 0));
    side.assert_counted(r#"requests_total{operation="HeadObject",origin="main",status="200"} 1"#);
}

#[tokio::test]
async fn a_client_may_be_signed_for_in_its_own_name() {
    let origin = Origin::start().await;
    let side = Side::of(&origin);
    let key = super::sigv4::Key::new("OWNKEY", "own-secret-4711");
    origin.trust(std::slice::from_ref(&key));
    let own = Credentials::fixed(key.id.as_str(), Secret::new(key.secret.as_str()));
    let ask = ObjectAsk {
        own: Some(&own),
        ..side.ask()
    };
    whole(side.send(&ask).await.unwrap()).await;
    let seen = origin.take_one();
    assert_eq!(seen.signer.as_deref(), Ok("OWNKEY"));
}

#[tokio::test]
async fn a_thousand_downloads_in_a_row_use_one_connection() {
    let origin = Origin::start().await;
    origin.respond(|_| Reply::new(200, Payload::Pattern(3000)));
    let side = Side::of(&origin);
    for _ in 0..1000 {
        assert_eq!(whole(side.get().await.unwrap()).await.len(), 3000);
    }
    assert!(origin.take().iter().all(|seen| seen.connection == 0));
    side.assert_counted(r#"connections_total{origin="main",reused="false"} 1"#);
    side.assert_counted(r#"connections_total{origin="main",reused="true"} 999"#);
}

/// Pingora's own pool opens dozens of connections here, since its idle poll races with taking.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nor_do_threads_lose_it() {
    let origin = Origin::start().await;
    origin.respond(|_| Reply::new(200, Payload::Pattern(3000)));
    let side = Side::of(&origin);
    for _ in 0..1000 {
        let side = side.clone();
        let reading = async move { whole(side.get().await.unwrap()).await.len() };
        assert_eq!(tokio::spawn(reading).await.unwrap(), 3000);
    }
    side.assert_counted(r#"connections_total{origin="main",reused="false"} 1"#);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn sixteen_readers_use_sixteen_connections_for_good() {
    let origin = Origin::start().await;
    origin.respond(|_| Reply::new(200, Payload::Pattern(100_000)));
    let side = Side::of(&origin);
    let readers = (0..16).map(|_| {
        let side = side.clone();
        tokio::spawn(async move {
            for _ in 0..60 {
                let body = whole(side.get().await.unwrap()).await;
                assert!(body.len() == 100_000 && pattern::matches(0, &body));
            }
        })
    });
    for reader in readers.collect::<Vec<_>>() {
        reader.await.unwrap();
    }
    let seen = origin.take();
    assert_eq!(seen.len(), 960);
    let connections = seen.iter().map(|seen| seen.connection).max().unwrap() + 1;
    assert!(connections <= 16, "{connections} connections");
}

#[tokio::test]
async fn tls_connections_are_kept_too_and_the_name_is_checked() {
    let pki = Pki::new(&["s3.test"]);
    let dir = tempfile::tempdir().unwrap();
    let ca = dir.path().join("ca.pem");
    std::fs::write(&ca, &pki.ca).unwrap();
    let origin = Origin::start_tls(pki.acceptor()).await;
    origin.respond(|_| Reply::new(200, Payload::Pattern(300_000)));
    let side = Setup::of(&origin).tls(&ca, "s3.test").build();
    for _ in 0..50 {
        assert!(pattern::matches(0, &whole(side.get().await.unwrap()).await));
    }
    assert!(origin.take().iter().all(|seen| seen.connection == 0));
    let mut setup = Setup::of(&origin).tls(&ca, "other.test");
    setup.config.max_retries = 0;
    let side = setup.build();
    let refused = side.get().await.err().unwrap();
    assert!(matches!(refused, UpstreamError::Connection(_)), "{refused}");
    side.assert_counted(r#"errors_total{kind="tls",origin="main"} 1"#);
    origin.assert_untouched("with the wrong name");
}

#[tokio::test]
async fn the_first_bytes_are_not_held_back() {
    let origin = Origin::start().await;
    origin.respond(|_| Reply::ok(vec![7; 100]).in_pieces(10, Duration::from_millis(30)));
    let side = Side::of(&origin);
    let mut download = side.get().await.unwrap();
    assert_eq!(download.next().await.unwrap().unwrap().len(), 10);
    assert_eq!(download.received(), 10);
    let (rest, outcome) = drain(download).await;
    outcome.unwrap();
    assert_eq!(rest.len(), 90);
}

#[tokio::test]
async fn giving_up_waiting_for_a_piece_loses_nothing() {
    let origin = Origin::start().await;
    let body = pattern::bytes(2000);
    let reply = Reply::ok(body.clone()).in_pieces(20, Duration::from_millis(1));
    origin.respond(move |_| reply.clone());
    let side = Side::of(&origin);
    let mut download = side.get().await.unwrap();
    let mut read = Vec::new();
    let mut given_up = 0;
    loop {
        let patience = Duration::from_micros(300);
        match tokio::time::timeout(patience, download.next()).await {
            Err(_) => given_up += 1,
            Ok(piece) => match piece.unwrap() {
                Some(piece) => read.extend_from_slice(&piece),
                None => break,
            },
        }
    }
    assert!(given_up > 10);
    assert_eq!(read, body);
}

#[tokio::test]
async fn chunks_have_no_length_and_an_end() {
    let origin = Origin::start().await;
    let chunked = |body: &str| {
        Reply::new(404, Payload::Raw(body.into())).header("Transfer-Encoding", "chunked")
    };
    origin.script(vec![
        chunked("5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n"),
        chunked("5\r\nhel").ending(End::Close),
    ]);
    let side = Side::of(&origin);
    let download = side.get().await.unwrap();
    assert_eq!(download.length, None);
    assert_eq!(whole(download).await, b"hello world");
    let (body, outcome) = drain(side.get().await.unwrap()).await;
    assert_eq!(body, b"hel");
    assert!(outcome.unwrap_err().is_interruption());
    assert!(origin.take().iter().all(|seen| seen.connection == 0));
}

#[tokio::test]
async fn small_answers_are_read_as_a_whole() {
    let origin = Origin::start().await;
    origin.script(vec![
        Reply::error(404, "NoSuchKey"),
        Reply::new(200, Payload::Pattern(5000)),
        Reply::ok("next"),
    ]);
    let side = Side::of(&origin);
    let answer = side.get().await.unwrap().read_small(1000).await.unwrap();
    assert_eq!(answer.status, 404);
    assert_eq!(answer.headers["content-type"], "application/xml");
    assert!(answer.body.starts_with(b"<Error>"));
    let long = side.get().await.unwrap().read_small(1000).await;
    assert!(matches!(long, Err(UpstreamError::AnswerTooLong(1000))));
}

#[tokio::test]
async fn a_download_left_early_closes_its_connection() {
    let origin = Origin::start().await;
    origin.respond(|seen| match seen.number {
        0 => Reply::new(200, Payload::Pattern(50 << 20)),
        _ => Reply::ok("ok"),
    });
    let mut setup = Setup::of(&origin);
    setup.downloads.max_connections = 1;
    let side = setup.build();
    let mut download = side.get().await.unwrap();
    download.next().await.unwrap();
    drop(download);
    assert_eq!(whole(side.get().await.unwrap()).await, b"ok");
    let connections: Vec<_> = origin.take().iter().map(|seen| seen.connection).collect();
    assert_eq!(connections, [0, 1]);
}

#[tokio::test]
async fn a_little_rest_is_read_to_keep_the_connection() {
    for (length, connection) in [(60_000, 0), (10 << 20, 1)] {
        let origin = Origin::start().await;
        origin.respond(move |_| Reply::new(200, Payload::Pattern(length)));
        let side = Side::of(&origin);
        side.get().await.unwrap().finish().await;
        side.get().await.unwrap().finish().await;
        let second = &origin.take()[1];
        assert_eq!(second.connection, connection, "after {length} bytes");
    }
}

#[tokio::test]
async fn connections_are_closed_when_idle_for_too_long() {
    let origin = Origin::start().await;
    let mut setup = Setup::of(&origin);
    setup.config.idle_timeout = Duration::from_millis(50);
    let side = setup.build();
    whole(side.get().await.unwrap()).await;
    whole(side.get().await.unwrap()).await;
    poll_until("closed connection", || origin.open_connections() == 0).await;
    whole(side.get().await.unwrap()).await;
    let connections: Vec<_> = origin.take().iter().map(|seen| seen.connection).collect();
    assert_eq!(connections, [0, 0, 1]);
}

#[tokio::test]
async fn no_more_connections_than_configured_are_open() {
    let origin = Origin::start().await;
    origin.respond(|_| Reply::ok("ok").after(Duration::from_millis(5)));
    let mut setup = Setup::of(&origin);
    setup.downloads.max_connections = 3;
    let side = setup.build();
    let all = (0..30).map(|_| {
        let side = side.clone();
        tokio::spawn(async move { whole(side.get().await.unwrap()).await })
    });
    for one in all.collect::<Vec<_>>() {
        assert_eq!(one.await.unwrap(), b"ok");
    }
    assert!(origin.most_connections() <= 3);
    side.assert_counted(r#"connections_total{origin="main",reused="false"} 3"#);
}

/// Idle connections to another host of the same origin count: over TLS every bucket is one.
#[tokio::test]
async fn idle_connections_make_room_for_others() {
    let pki = Pki::new(&["lake.localhost", "pond.localhost", "sea.localhost"]);
    let dir = tempfile::tempdir().unwrap();
    let ca = dir.path().join("ca.pem");
    std::fs::write(&ca, &pki.ca).unwrap();
    let origin = Origin::start_tls(pki.acceptor()).await;
    let mut setup = Setup::of(&origin).tls(&ca, "");
    setup.config.server_name = None;
    setup.config.endpoint.host = "localhost".to_owned();
    setup.config.addressing = Addressing::VirtualHosted;
    setup.downloads.max_connections = 2;
    let side = setup.build();
    for bucket in ["lake", "pond", "sea", "sea", "pond", "lake"] {
        let bucket = Bucket::new(bucket).unwrap();
        let ask = ObjectAsk {
            bucket: &bucket,
            ..side.ask()
        };
        whole(side.send(&ask).await.unwrap()).await;
    }
    let connections: Vec<_> = origin.take().iter().map(|seen| seen.connection).collect();
    // `sea` and `pond` were used last when they are asked again; `lake` had to go.
    assert_eq!(connections, [0, 1, 2, 2, 1, 3]);
}

#[tokio::test]
async fn prefetches_leave_half_of_the_connections_to_demand() {
    let origin = Origin::start().await;
    origin.respond(|seen| match seen.field("range") {
        Some(_) => Reply::stall(),
        None => Reply::ok("ok"),
    });
    let mut setup = Setup::of(&origin);
    setup.downloads.max_connections = 4;
    let side = setup.build();
    let prefetches = (0..10).map(|_| {
        let side = side.clone();
        tokio::spawn(async move {
            let ask = ObjectAsk {
                range: Some(AskedRange::Suffix(1)),
                priority: Priority::Prefetch,
                ..side.ask()
            };
            side.send(&ask).await.map(|download| download.status)
        })
    });
    let prefetches: Vec<_> = prefetches.collect();
    origin.wait_for(2).await;
    for _ in 0..20 {
        let both = tokio::join!(side.get(), side.get());
        assert_eq!(whole(both.0.unwrap()).await, b"ok");
        assert_eq!(whole(both.1.unwrap()).await, b"ok");
    }
    let seen = origin.take();
    let prefetched = seen.iter().filter(|seen| seen.field("range").is_some());
    assert_eq!(prefetched.count(), 2);
    assert!(origin.most_connections() <= 4);
    for prefetch in &prefetches {
        prefetch.abort();
    }
}

#[tokio::test]
async fn a_prefetch_that_is_awaited_goes_with_demand() {
    let origin = Origin::start().await;
    origin.respond(|seen| match seen.field("range") {
        Some("bytes=-1") => Reply::stall(),
        _ => Reply::ok("ok"),
    });
    let mut setup = Setup::of(&origin);
    setup.downloads.max_connections = 4;
    let side = setup.build();
    let prefetch = |length: u64, awaited: Option<Arc<Awaited>>| {
        let side = side.clone();
        tokio::spawn(async move {
            let ask = ObjectAsk {
                range: Some(AskedRange::Suffix(length)),
                priority: Priority::Prefetch,
                awaited: awaited.as_deref(),
                ..side.ask()
            };
            whole(side.send(&ask).await.unwrap()).await
        })
    };
    let stalled = [prefetch(1, None), prefetch(1, None)];
    origin.wait_for(2).await;
    let (early, late) = (Arc::new(Awaited::default()), Arc::default());
    early.say();
    let now = prefetch(2, Some(early));
    let then = prefetch(3, Some(Arc::clone(&late)));
    assert_eq!(now.await.unwrap(), b"ok");
    assert_eq!(
        origin.take().len(),
        3,
        "the other has its turn still to come"
    );
    late.say();
    assert_eq!(then.await.unwrap(), b"ok");
    for prefetch in &stalled {
        prefetch.abort();
    }
}

#[tokio::test]
async fn waiters_are_bounded() {
    let origin = Origin::start().await;
    origin.respond(|_| Reply::stall());
    let mut setup = Setup::of(&origin);
    setup.downloads = DownloadConfig {
        max_connections: 1,
        max_waiting: 1,
        hedges: false,
    };
    let side = setup.build();
    let running: Vec<_> = (0..2)
        .map(|_| {
            let side = side.clone();
            tokio::spawn(async move { side.get().await.map(|download| download.status) })
        })
        .collect();
    origin.wait_for(1).await;
    tokio::task::yield_now().await;
    let third = side.get().await.err().unwrap();
    assert!(matches!(third, UpstreamError::TooManyWaiting), "{third}");
    let prefetch = ObjectAsk {
        priority: Priority::Prefetch,
        ..side.ask()
    };
    assert!(side.send(&prefetch).await.is_err());
    for one in &running {
        one.abort();
    }
}

#[test]
fn a_download_may_move_between_threads() {
    fn assert_send<T: Send + 'static>() {}
    assert_send::<Download>();
    assert_send::<Bytes>();
}
