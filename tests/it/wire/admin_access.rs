//! Who may call the admin listener: token, host, Unix socket.

use std::os::unix::fs::PermissionsExt;

use super::cached::CacheSetup;
use super::client::Client;
use super::object_origin::ObjectOrigin;
use super::origin::Origin;
use super::proxy::{Proxy, Setup};

const TOKEN: &str = "admin-token-4";

/// The file names the admin listener; the test's own line about it is taken out.
async fn start(admin: &str) -> (ObjectOrigin, Proxy) {
    let admin = admin.to_owned();
    let store = ObjectOrigin::start().await;
    let proxy = CacheSetup::memory()
        .with(move |setup| {
            setup.secret("admin-token", TOKEN);
            setup.admin(&admin)
        })
        .before(&store)
        .await;
    (store, proxy)
}

async fn status(proxy: &Proxy, head: &str) -> u16 {
    let mut client = Client::connect(proxy.admin).await;
    let method = head.split(' ').next().unwrap();
    client.send(format!("{head}\r\n").as_bytes()).await;
    client.answer_to(method).await.unwrap().status
}

#[tokio::test]
async fn a_token_is_asked_for_but_not_of_probes() {
    let (_store, proxy) = start("{listen: \"ADDRESS\", token_file: DIR/admin-token}").await;
    for (path, without) in [
        ("/healthz", 200),
        ("/readyz", 200),
        ("/metrics", 401),
        ("/-/stats", 401),
        ("/-/top", 401),
        ("/-/explain?bucket=lake&key=a", 401),
    ] {
        let head = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n");
        assert_eq!(status(&proxy, &head).await, without, "{path}");
        let wrong = format!("{head}authorization: Bearer wrong\r\n");
        assert_eq!(status(&proxy, &wrong).await, without, "{path}");
        let right = format!("{head}authorization: Bearer {TOKEN}\r\n");
        assert_eq!(status(&proxy, &right).await, 200, "{path}");
    }
    for path in ["/-/purge", "/-/warm"] {
        let body = r#"{"bucket": "lake", "prefix": "none/"}"#;
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n\
             content-length: {}\r\n",
            body.len()
        );
        let send = async |fields: &str| {
            let mut client = Client::connect(proxy.admin).await;
            client
                .send(format!("{head}{fields}\r\n{body}").as_bytes())
                .await;
            client.answer_to("POST").await.unwrap().status
        };
        assert_eq!(send("").await, 401, "{path}");
        assert_eq!(
            send(&format!("authorization: Bearer {TOKEN}\r\n")).await,
            200,
            "{path}"
        );
    }
    assert!(!proxy.logs().contains(TOKEN), "the token is in the log");
}

#[tokio::test]
async fn it_answers_to_the_names_that_it_is_given() {
    let (_store, proxy) = start("{listen: \"ADDRESS\", hosts: [proxy.internal]}").await;
    for (host, expected) in [
        ("proxy.internal", 200),
        ("proxy.internal:3001", 200),
        ("localhost", 200),
        ("attacker.example", 421),
    ] {
        let head = format!("GET /-/stats HTTP/1.1\r\nhost: {host}\r\n");
        assert_eq!(status(&proxy, &head).await, expected, "{host}");
    }
}

#[tokio::test]
async fn a_unix_socket_takes_the_place_of_an_address() {
    let origin = Origin::start().await;
    let mut proxy = Setup::of(&origin)
        .admin("unix:DIR/admin.sock")
        .launch_only();
    let socket = proxy.dir.path().join("admin.sock");
    super::poll_until("socket", || {
        std::os::unix::net::UnixStream::connect(&socket).is_ok()
    })
    .await;
    let mode = std::fs::metadata(&socket).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let stream = tokio::net::UnixStream::connect(&socket).await.unwrap();
    let mut client = Client::over(Box::new(stream));
    client
        .send(b"GET /-/stats HTTP/1.1\r\nhost: localhost\r\n\r\n")
        .await;
    assert_eq!(client.answer_to("GET").await.unwrap().status, 200);
    proxy.stop();
}
