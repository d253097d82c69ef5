//! Heads and framings that parsers disagree about: refused, and nothing behind them is served.

use std::time::Duration;

use tokio::time::timeout;

use super::call::{Call, Framed, HOST};
use super::client::Client;
use super::origin::Origin;
use super::proxy::{Proxy, Setup, everything, reader};
use super::sigv4::date_in;

/// A signed request that must never be taken out of another one's body.
fn smuggled() -> Vec<u8> {
    Call::get("/lake/smuggled").sign(&everything()).bytes()
}

/// Sends bytes with a second request behind them. Answers the first status, or 0.
async fn status_of(proxy: &Proxy, origin: &Origin, bytes: &[u8]) -> u16 {
    let mut client = proxy.connect().await;
    client.send(&[bytes, &smuggled()].concat()).await;
    let first = client.answer_to("PUT").await;
    while client.answer_to("GET").await.is_some() {}
    for seen in origin.take() {
        let name = String::from_utf8_lossy(bytes).into_owned();
        assert_ne!(seen.path(), "/lake/smuggled", "{name}");
        assert!(!seen.is_complete, "{name}");
    }
    first.map_or(0, |answer| answer.status)
}

#[tokio::test]
async fn ambiguous_framing_is_refused() {
    let origin = Origin::start().await;
    let proxy = Setup::of(&origin).start().await;
    let key = everything();
    let unsigned = "UNSIGNED-PAYLOAD";
    let put = |fields: &[(&str, &str)]| {
        let mut call = Call::new("PUT", "/lake/a").sign_at(&key, &date_in(0), unsigned);
        for (name, value) in fields {
            call = call.header(name, value);
        }
        call
    };
    let te = ("transfer-encoding", "chunked");
    let chunk = "5\r\nhello\r\n0\r\n\r\n";
    let with = |fields: &[(&str, &str)], body: &str| {
        let mut call = put(fields);
        call.body = body.as_bytes().to_vec();
        call.bytes()
    };
    for (name, bytes) in [
        ("TE and CL", with(&[te, ("content-length", "5")], chunk)),
        ("CL and TE", with(&[("content-length", "5"), te], chunk)),
        (
            "two lengths",
            with(&[("content-length", "5"), ("content-length", "6")], "hello"),
        ),
        (
            "a list of lengths",
            with(&[("content-length", "5, 6")], "hello"),
        ),
        (
            "a signed length",
            with(&[("content-length", "+5")], "hello"),
        ),
        (
            "a negative length",
            with(&[("content-length", "-5")], "hello"),
        ),
        ("a hex length", with(&[("content-length", "0x5")], "hello")),
        (
            "a huge length",
            with(&[("content-length", "99999999999999999999")], "hello"),
        ),
        ("no number", with(&[("content-length", "five")], "hello")),
        (
            "xchunked",
            with(&[("transfer-encoding", "xchunked")], chunk),
        ),
        (
            "chunked, identity",
            with(&[("transfer-encoding", "chunked, identity")], chunk),
        ),
        ("chunked twice", with(&[te, te], chunk)),
        (
            "gzip, chunked",
            with(&[("transfer-encoding", "gzip, chunked")], chunk),
        ),
        (
            "quoted",
            with(&[("transfer-encoding", "\"chunked\"")], chunk),
        ),
        (
            "vertical tab",
            with(&[("transfer-encoding", "\u{b}chunked")], chunk),
        ),
        ("chunked without a length", with(&[te], chunk)),
    ] {
        let status = status_of(&proxy, &origin, &bytes).await;
        assert!(matches!(status, 0 | 400 | 411 | 501), "{name}: {status}");
    }
}

#[tokio::test]
async fn malformed_heads_are_refused() {
    let origin = Origin::start().await;
    let proxy = Setup::of(&origin).start().await;
    let good = String::from_utf8(Call::get("/lake/a").sign(&everything()).bytes()).unwrap();
    let with_line = |line: &str| good.replacen("\r\n", &format!("\r\n{line}\r\n"), 1);
    let framed_1_0 = with_line("transfer-encoding: chunked").replacen("HTTP/1.1", "HTTP/1.0", 1);
    for (name, text) in [
        ("space before the colon", with_line("content-length : 5")),
        ("space before the name", with_line(" x: y")),
        ("folded line", with_line("x: y\r\n z")),
        ("no colon", with_line("x")),
        ("no name", with_line(": x")),
        ("NUL in a value", with_line("x: a\0b")),
        ("CR in a value", with_line("x: a\rb")),
        ("TE on HTTP/1.0", framed_1_0),
        ("bare CR", good.replacen("\r\n", "\r", 1)),
        ("HTTP/3.7", good.replacen("HTTP/1.1", "HTTP/3.7", 1)),
        ("no version", good.replacen(" HTTP/1.1", "", 1)),
        ("two spaces", good.replacen("GET /lake", "GET  /lake", 1)),
        (
            "space in the target",
            good.replacen("/lake/a", "/lake/a b", 1),
        ),
        (
            "tab in the target",
            good.replacen("/lake/a", "/lake/a\tb", 1),
        ),
        ("no slash", good.replacen("/lake/a", "lake/a", 1)),
        ("star", good.replacen("/lake/a", "*", 1)),
        (
            "CONNECT",
            good.replacen("GET /lake/a", "CONNECT lake:80", 1),
        ),
        (
            "upgrade",
            with_line("upgrade: h2c\r\nconnection: upgrade").replacen("GET", "BREW", 1),
        ),
        ("garbage", "\x16\x03\x01\x02\r\n\r\n".to_owned()),
    ] {
        let status = status_of(&proxy, &origin, text.as_bytes()).await;
        assert!(
            matches!(status, 0 | 400 | 403 | 405 | 501 | 505),
            "{name}: {status}"
        );
    }
}

/// A chunk size that does not fit, or says two things, ends the connection.
#[tokio::test]
async fn malformed_chunks_are_refused() {
    let origin = Origin::start().await;
    let proxy = Setup::of(&origin).start().await;
    let key = everything();
    let data = b"hello";
    let framed = Call::new("PUT", "/lake/a").framed(&key, &Framed::unsigned(data));
    let body = String::from_utf8(framed.body.clone()).unwrap();
    let outer = format!("{:x}\r\n{body}\r\n0\r\n\r\n", body.len());
    let call = framed
        .without("content-length")
        .header("transfer-encoding", "chunked");
    let send = |outer: String| {
        let mut call = call.clone();
        call.body = outer.into_bytes();
        call.bytes()
    };
    let mut client = proxy.connect().await;
    client.send(&send(outer.clone())).await;
    client.answer_to("PUT").await.unwrap().expect(200, "");
    assert_eq!(origin.take_one().decoded, Ok(data.to_vec()));
    let size = format!("{:x}\r\n", body.len());
    for (name, first) in [
        ("overflow", "10000000000000005\r\n"),
        ("negative", "-5\r\n"),
        ("no digits", "\r\n"),
        ("blank", " \r\n"),
        ("letters", "xyz\r\n"),
        ("line feed only", "\n"),
        ("huge", "7fffffffffffffff\r\n"),
        ("endless", &"0".repeat(100_000)),
    ] {
        println!("{name}");
        let status = status_of(&proxy, &origin, &send(outer.replacen(&size, first, 1))).await;
        assert!(matches!(status, 0 | 400), "{name}: {status}");
    }
}

#[tokio::test]
async fn large_heads_are_refused_and_ordinary_ones_are_not() {
    let origin = Origin::start().await;
    let proxy = Setup::of(&origin)
        .limit("header_bytes: 16KiB")
        .start()
        .await;
    let key = everything();
    let mut client = proxy.connect().await;
    let large = Call::get("/lake/a")
        .header("x-amz-meta-a", &"x".repeat(17 << 10))
        .sign(&key);
    client.call(&large).await.expect(400, "MetadataTooLarge");
    let long = Call::get(&format!("/lake?prefix={}", "x".repeat(17 << 10))).sign(&key);
    client.call(&long).await.expect(400, "MetadataTooLarge");
    let mut pairs = Call::get("/lake?a=1");
    for number in 0..100 {
        pairs.target += &format!("&p{number}=x");
    }
    client
        .call(&pairs.sign(&key))
        .await
        .expect(400, "InvalidURI");
    let mut fields = Call::get("/lake/a").sign(&key);
    for number in 0..300 {
        fields = fields.header(&format!("x-{number}"), "y");
    }
    let answer = client.call(&fields).await;
    assert!(matches!(answer.status, 400 | 431), "{}", answer.status);
    let mut client = proxy.connect().await;
    client
        .send(&[b"GET /".to_vec(), vec![b'x'; 2 << 20]].concat())
        .await;
    let answer = client.answer_to("GET").await;
    assert!(answer.is_none_or(|answer| matches!(answer.status, 400 | 414 | 431)));
    origin.assert_untouched("large heads");
    let good = Call::get("/lake/a")
        .header("x-amz-meta-a", &"x".repeat(8 << 10))
        .sign(&key);
    proxy.call(&good).await.expect(200, "");
}

#[tokio::test]
async fn a_client_that_asks_first_is_refused_without_its_body() {
    let origin = Origin::start().await;
    let proxy = Setup::of(&origin).start().await;
    for (name, call, status, code) in [
        (
            "rights",
            Call::put("/lake/public/a", "hello").sign(&reader()),
            403,
            "AccessDenied",
        ),
        (
            "signature",
            Call::put("/lake/a", "hello").sign(&everything().with_secret("x")),
            403,
            "SignatureDoesNotMatch",
        ),
        (
            "nobody",
            Call::put("/lake/a", "hello").header("host", HOST),
            403,
            "AccessDenied",
        ),
    ] {
        let mut client = proxy.connect().await;
        client
            .send(&call.header("expect", "100-continue").head())
            .await;
        let answer = client.answer_to("PUT").await.unwrap().expect(status, code);
        assert_eq!(answer.interim, [0_u16; 0], "{name}");
        assert_eq!(answer.field("connection"), Some("close"), "{name}");
        assert!(client.is_closed().await, "{name}");
        origin.assert_untouched(name);
    }
}

#[tokio::test]
async fn a_client_that_asks_first_is_told_to_go_on_once() {
    let origin = Origin::start().await;
    let proxy = Setup::of(&origin).start().await;
    let key = everything();
    let mut client = proxy.connect().await;
    let delete = "<Delete><Object><Key>a</Key></Object></Delete>";
    let no_hash = Call::put("/lake/a", "hello")
        .header("host", HOST)
        .sign(&key);
    let no_hash = no_hash
        .without("x-amz-content-sha256")
        .without("authorization")
        .sign_body(&key);
    for (name, call) in [
        ("put", Call::put("/lake/a", "hello").sign(&key)),
        ("other case", Call::put("/lake/a", "hello").sign(&key)),
        (
            "framed",
            Call::new("PUT", "/lake/a").framed(&key, &Framed::unsigned(b"hello")),
        ),
        (
            "framed, empty",
            Call::new("PUT", "/lake/a").framed(&key, &Framed::signed(b"")),
        ),
        (
            "batch delete",
            Call::new("POST", "/lake?delete").body(delete).sign(&key),
        ),
        ("no hash", no_hash),
        (
            "empty",
            Call::new("PUT", "/lake/a")
                .header("content-length", "0")
                .sign(&key),
        ),
    ] {
        println!("{name}");
        let value = if name == "other case" {
            "100-Continue"
        } else {
            "100-continue"
        };
        let call = call.header("expect", value);
        client.send(&call.head()).await;
        if name != "empty" {
            let (status, _) = client.read_head().await.expect("an interim answer");
            assert_eq!(status, 100, "{name}");
        }
        client.send(&call.body).await;
        let answer = client.answer_to("PUT").await.unwrap().expect(200, "");
        let rest = if name == "empty" { vec![100] } else { vec![] };
        assert_eq!(answer.interim, rest, "{name}");
        let seen = origin.take_one();
        assert!(seen.is_complete && seen.field("expect").is_none(), "{name}");
    }
}

#[tokio::test]
async fn the_admin_listener_ends_what_an_old_client_reads() {
    let origin = Origin::start().await;
    let proxy = Setup::of(&origin).start().await;
    for (request, is_closed) in [
        ("GET /healthz HTTP/1.0\r\nhost: localhost\r\n\r\n", true),
        ("GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n", false),
    ] {
        let mut client = Client::connect(proxy.admin).await;
        assert!(client.send(request.as_bytes()).await);
        let answer = client.answer_to("GET").await.unwrap();
        assert_eq!(answer.status, 200, "{request}");
        let ended = timeout(Duration::from_secs(2), client.is_closed()).await;
        assert_eq!(ended.unwrap_or(false), is_closed, "{request}");
    }
}
