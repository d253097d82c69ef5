//! Downloads from an origin that fails: what is tried again, what is told to the caller.

use std::time::{Duration, Instant};

use s3proxy::s3::ETag;
use s3proxy::upstream::{AskedRange, ObjectAsk, UpstreamError};

use super::download::{Setup, Side, drain, whole};
use super::origin::Origin;
use super::pattern;
use super::reply::{End, Payload, Reply};

fn connections(origin: &Origin) -> Vec<usize> {
    origin.take().iter().map(|seen| seen.connection).collect()
}

#[tokio::test]
async fn a_kept_connection_that_was_closed_costs_no_retry() {
    let origin = Origin::start().await;
    origin.script(vec![
        Reply::ok("first"),
        // Closed when the second request is already on its way.
        Reply::vanish(),
        Reply::ok("second"),
        // Closed while nobody looks.
        Reply::ok("third").ending(End::Close),
        Reply::ok("fourth"),
    ]);
    let mut setup = Setup::of(&origin);
    setup.config.max_retries = 0;
    let side = setup.build();
    assert_eq!(whole(side.get().await.unwrap()).await, b"first");
    assert_eq!(whole(side.get().await.unwrap()).await, b"second");
    side.assert_counted(r#"retries_total{origin="main",reason="stale_connection"} 1"#);
    assert_eq!(whole(side.get().await.unwrap()).await, b"third");
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert_eq!(whole(side.get().await.unwrap()).await, b"fourth");
    // That one was noticed before it was used.
    side.assert_counted(r#"retries_total{origin="main",reason="stale_connection"} 1"#);
    assert_eq!(connections(&origin), [0, 0, 1, 1, 2]);
}

#[tokio::test]
async fn a_new_connection_that_fails_costs_one() {
    let origin = Origin::start().await;
    let mut setup = Setup::of(&origin);
    setup.config.max_retries = 1;
    let side = setup.build();
    origin.script(vec![Reply::vanish(), Reply::ok("ok")]);
    assert_eq!(whole(side.get().await.unwrap()).await, b"ok");
    side.assert_counted(r#"retries_total{origin="main",reason="truncated"} 1"#);
    let mut setup = Setup::of(&origin);
    setup.config.max_retries = 1;
    let side = setup.build();
    origin.script(vec![Reply::vanish(), Reply::vanish(), Reply::ok("ok")]);
    assert!(side.get().await.err().unwrap().is_interruption());
    side.assert_counted(r#"errors_total{kind="closed",origin="main"} 2"#);
}

#[tokio::test]
async fn an_ill_origin_is_asked_again_on_the_same_connection() {
    for status in [500, 502, 503, 504] {
        let origin = Origin::start().await;
        let side = Side::of(&origin);
        let ill = Reply::error(status, "SlowDown");
        origin.script(vec![ill.clone(), ill, Reply::ok("ok")]);
        assert_eq!(whole(side.get().await.unwrap()).await, b"ok");
        side.assert_counted(r#"retries_total{origin="main",reason="server_error"} 2"#);
        assert_eq!(connections(&origin), [0, 0, 0]);
    }
}

#[tokio::test]
async fn other_answers_are_answers() {
    for status in [403, 404, 412, 416, 429, 501] {
        let origin = Origin::start().await;
        let side = Side::of(&origin);
        origin.respond(move |_| Reply::error(status, "Some"));
        assert_eq!(side.get().await.unwrap().status, status);
        assert_eq!(origin.take().len(), 1, "{status}");
    }
}

#[tokio::test]
async fn retries_end_with_their_number_and_with_the_budget() {
    let origin = Origin::start().await;
    let side = Side::of(&origin);
    origin.respond(|_| Reply::error(503, "SlowDown"));
    let download = side.get().await.unwrap();
    assert_eq!(download.status, 503);
    assert!(whole(download).await.starts_with(b"<Error>"));
    assert_eq!(origin.take().len(), 3);
    while side.upstream.retry_budget.spend() {}
    assert_eq!(side.get().await.unwrap().status, 503);
    assert_eq!(origin.take().len(), 1);
}

#[tokio::test]
async fn nobody_listening_is_an_error_after_the_retries() {
    let origin = Origin::start().await;
    let side = Side::of(&origin);
    drop(origin);
    tokio::time::sleep(Duration::from_millis(20)).await;
    let error = side.get().await.err().unwrap();
    assert!(matches!(error, UpstreamError::Connection(_)), "{error}");
    side.assert_counted(r#"errors_total{kind="connect",origin="main"} 3"#);
    side.assert_counted(r#"retries_total{origin="main",reason="connect"} 2"#);
}

#[tokio::test]
async fn a_cut_body_is_an_error_and_can_be_taken_up() {
    let origin = Origin::start().await;
    let body = pattern::bytes(300_000);
    let sent = body.clone();
    origin.respond(move |seen| {
        let start = match seen.field("range") {
            None => 0,
            Some(range) => range
                .trim_start_matches("bytes=")
                .trim_end_matches("-299999")
                .parse()
                .unwrap(),
        };
        let end = if start == 0 {
            End::CutAfter(123_456)
        } else {
            End::Keep
        };
        Reply::ok(&sent[start..]).ending(end)
    });
    let side = Side::of(&origin);
    let (mut read, outcome) = drain(side.get().await.unwrap()).await;
    let error = outcome.unwrap_err();
    assert!(error.is_interruption(), "{error}");
    assert_eq!(read.len(), 123_456);
    side.assert_counted(r#"errors_total{kind="closed",origin="main"} 1"#);
    let etag = ETag::parse("\"e\"").unwrap();
    let ask = ObjectAsk {
        range: Some(AskedRange::Interval(123_456..300_000)),
        if_match: Some(&etag),
        ..side.ask()
    };
    read.extend(whole(side.send(&ask).await.unwrap()).await);
    assert!(read == body);
    assert_eq!(connections(&origin), [0, 1]);
}

#[tokio::test]
async fn after_an_error_there_is_no_end() {
    let origin = Origin::start().await;
    origin.respond(|_| Reply::ok("12345678").ending(End::CutAfter(5)));
    let side = Side::of(&origin);
    let mut download = side.get().await.unwrap();
    assert_eq!(download.next().await.unwrap().unwrap(), "12345");
    for _ in 0..3 {
        let error = download.next().await.unwrap_err();
        assert!(error.is_interruption(), "{error}");
    }
    assert_eq!(download.received(), 5);
}

/// A body without a length may have been cut: only the absent length tells.
#[tokio::test]
async fn a_body_up_to_the_end_of_the_connection_has_no_length() {
    let origin = Origin::start().await;
    origin.respond(|_| Reply::new(200, Payload::Raw(b"some".into())).ending(End::Close));
    let side = Side::of(&origin);
    for _ in 0..2 {
        let download = side.get().await.unwrap();
        assert_eq!(download.length, None);
        assert_eq!(whole(download).await, b"some");
    }
    assert_eq!(connections(&origin), [0, 1]);
}

#[tokio::test]
async fn more_than_promised_is_never_read_as_the_next_answer() {
    let extra = b"12345HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison".to_vec();
    for pause in [Duration::ZERO, Duration::from_millis(20)] {
        let origin = Origin::start().await;
        let extra = extra.clone();
        origin.respond(move |seen| match seen.number {
            0 => Reply::new(200, Payload::Raw(extra.clone())).header("Content-Length", "5"),
            _ => Reply::ok("clean"),
        });
        let side = Side::of(&origin);
        assert_eq!(whole(side.get().await.unwrap()).await, b"12345");
        tokio::time::sleep(pause).await;
        assert_eq!(whole(side.get().await.unwrap()).await, b"clean");
        assert_eq!(connections(&origin), [0, 1]);
    }
}

/// The same, where the rest comes after the connection was put back.
#[tokio::test]
async fn a_connection_that_speaks_unasked_is_not_used() {
    let origin = Origin::start().await;
    origin.respond(|seen| match seen.number {
        0 => Reply::new(200, Payload::Bytes(b"12345HTTP/1.1 200 OK\r\n\r\n".into()))
            .header("Content-Length", "5")
            .in_pieces(5, Duration::from_millis(10)),
        _ => Reply::ok("clean"),
    });
    let side = Side::of(&origin);
    assert_eq!(whole(side.get().await.unwrap()).await, b"12345");
    tokio::time::sleep(Duration::from_millis(30)).await;
    assert_eq!(whole(side.get().await.unwrap()).await, b"clean");
    assert_eq!(connections(&origin), [0, 1]);
}

#[tokio::test]
async fn heads_are_bounded() {
    let long = "x".repeat(100 << 10);
    let endless = "x".repeat(3 << 20);
    let many = (0..400).fold(Reply::ok("ok"), |reply, number| {
        reply.header(&format!("x-amz-meta-{number}"), "v")
    });
    let interim = "HTTP/1.1 100 Continue\r\n\r\n";
    for reply in [
        Reply::ok("ok").header("x-amz-meta-a", &long),
        Reply::ok("ok").header("x-amz-meta-a", &endless),
        many,
        Reply::ok("ok").interim(&interim.repeat(1000)),
        Reply::ok("ok")
            .header("Content-Length", "2")
            .header("Content-Length", "3"),
        Reply::new(200, Payload::Raw(Vec::new())).header("Content-Length", "-1"),
    ] {
        let origin = Origin::start().await;
        origin.respond(move |_| reply.clone());
        let side = Side::of(&origin);
        let error = side.get().await.err().unwrap();
        assert!(!error.is_interruption(), "{error}");
        assert_eq!(origin.take().len(), 1, "{error}");
        side.assert_counted(r#"errors_total{kind="protocol",origin="main"} 1"#);
    }
}

#[tokio::test]
async fn a_few_interim_answers_are_skipped() {
    let origin = Origin::start().await;
    let interim = "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n";
    origin.respond(move |_| Reply::ok("ok").interim(&interim.repeat(3)));
    let side = Side::of(&origin);
    assert_eq!(whole(side.get().await.unwrap()).await, b"ok");
    assert_eq!(whole(side.get().await.unwrap()).await, b"ok");
    assert_eq!(connections(&origin), [0, 0]);
}

#[tokio::test]
async fn silence_is_bounded_before_the_head_and_in_the_body() {
    let origin = Origin::start().await;
    let mut setup = Setup::of(&origin);
    setup.config.timeouts.read = Duration::from_millis(150);
    let side = setup.build();
    origin.script(vec![Reply::stall(), Reply::ok("ok")]);
    assert_eq!(whole(side.get().await.unwrap()).await, b"ok");
    side.assert_counted(r#"retries_total{origin="main",reason="timeout"} 1"#);
    origin.script(vec![
        Reply::new(200, Payload::Raw(b"12345".into()))
            .header("Content-Length", "6")
            .ending(End::StallAfter),
    ]);
    let (body, outcome) = drain(side.get().await.unwrap()).await;
    let error = outcome.unwrap_err();
    assert_eq!(body, b"12345");
    assert!(matches!(error, UpstreamError::Silent(_)), "{error}");
    assert!(error.is_interruption());
}

#[tokio::test]
async fn the_whole_exchange_is_bounded() {
    let origin = Origin::start().await;
    let mut setup = Setup::of(&origin);
    setup.config.timeouts.total = Duration::from_millis(200);
    let side = setup.build();
    let began = Instant::now();
    origin.respond(|_| Reply::ok(vec![1; 1000]).in_pieces(1, Duration::from_millis(10)));
    let (body, outcome) = drain(side.get().await.unwrap()).await;
    assert!(matches!(outcome, Err(UpstreamError::TimedOut(_))));
    assert!((1..100).contains(&body.len()));
    origin.respond(|_| Reply::stall());
    let error = side.get().await.err().unwrap();
    assert!(matches!(error, UpstreamError::TimedOut(_)), "{error}");
    assert!(began.elapsed() < Duration::from_secs(30));
    side.assert_counted(r#"errors_total{kind="timeout",origin="main"} 2"#);
}

fn elsewhere(status: u16, region: &str) -> Reply {
    Reply::error(status, "PermanentRedirect").header("x-amz-bucket-region", region)
}

#[tokio::test]
async fn a_bucket_elsewhere_is_asked_there_once() {
    for status in [301, 307, 400] {
        let origin = Origin::start().await;
        let mut setup = Setup::of(&origin);
        setup.config.max_retries = 0;
        let side = setup.build();
        origin.script(vec![elsewhere(status, "eu-west-1"), Reply::ok("ok")]);
        assert_eq!(whole(side.get().await.unwrap()).await, b"ok");
        side.assert_counted(r#"retries_total{origin="main",reason="region"} 1"#);
        let seen = origin.take();
        let scopes = ["/us-east-1/s3/", "/eu-west-1/s3/"];
        for (seen, scope) in seen.iter().zip(scopes) {
            assert!(seen.field("authorization").unwrap().contains(scope));
            assert_eq!(seen.connection, 0);
        }
        whole(side.get().await.unwrap()).await;
        let later = origin.take_one();
        assert!(
            later
                .field("authorization")
                .unwrap()
                .contains("/eu-west-1/")
        );
    }
}

#[tokio::test]
async fn many_downloads_may_learn_it_at_once() {
    let origin = Origin::start().await;
    origin.respond(|seen| {
        if seen.field("authorization").unwrap().contains("/eu-west-1/") {
            Reply::ok("ok")
        } else {
            elsewhere(301, "eu-west-1").after(Duration::from_millis(20))
        }
    });
    let side = Side::of(&origin);
    let (a, b, c) = tokio::join!(side.get(), side.get(), side.get());
    for download in [a, b, c] {
        assert_eq!(whole(download.unwrap()).await, b"ok");
    }
    assert_eq!(origin.take().len(), 6);
}

#[tokio::test]
async fn hints_are_not_followed_in_circles_or_out_of_the_service() {
    let origin = Origin::start().await;
    let side = Side::of(&origin);
    origin.script(vec![
        elsewhere(301, "eu-west-1"),
        elsewhere(301, "us-east-1"),
        Reply::ok("never asked"),
    ]);
    let error = side.get().await.err().unwrap();
    assert!(matches!(error, UpstreamError::Redirected), "{error}");
    assert_eq!(origin.take().len(), 2);
    let side = Side::of(&origin);
    origin.respond(|_| Reply::status(307).header("Location", "http://169.254.169.254/"));
    let error = side.get().await.err().unwrap();
    assert!(matches!(error, UpstreamError::Redirected), "{error}");
    assert_eq!(origin.take().len(), 1);
}
