//! `s3proxy ctl` against a running proxy: what it prints, what it does, how it ends.

use std::process::Output;

use super::cached::{CacheSetup, Cached, KIB};
use super::object_origin::ObjectOrigin;
use super::origin::Origin;
use super::proxy::Setup;

async fn ctl(admin: &str, arguments: &[&str]) -> Output {
    let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_s3proxy"));
    command.arg("ctl").args(arguments);
    command.env_clear().env("S3PROXY_ADMIN", admin);
    command.output().await.unwrap()
}

/// Exit code, standard output, standard error.
fn said(output: &Output) -> (i32, String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let code = output.status.code().unwrap();
    (code, text(&output.stdout), text(&output.stderr))
}

async fn run(cached: &Cached, arguments: &[&str]) -> (i32, String, String) {
    let admin = format!("http://{}", cached.proxy.admin);
    said(&ctl(&admin, arguments).await)
}

/// What has to be done at all is done.
#[track_caller]
fn done(outcome: (i32, String, String)) -> String {
    assert_eq!((outcome.0, outcome.2.as_str()), (0, ""), "{}", outcome.1);
    assert!(
        !outcome.1.contains('\u{1b}'),
        "colours for a program: {}",
        outcome.1
    );
    outcome.1
}

async fn start() -> Cached {
    let cached = CacheSetup::memory().rule("{freshness: 1h}").start().await;
    for key in ["t/a.parquet", "t/b.parquet", "u"] {
        cached.put(&format!("lake/{key}"), 300 * KIB);
    }
    cached
}

#[tokio::test]
async fn what_a_proxy_does_is_shown() {
    let cached = start().await;
    for _ in 0..4 {
        cached.get("/lake/t/a.parquet").await.expect(200, "");
    }
    let status = done(run(&cached, &["status"]).await);
    assert!(status.contains("ready, serving"), "{status}");
    assert!(status.contains("main: reachable"), "{status}");
    assert!(status.contains("75.0 % of reads"), "{status}");
    let stats = done(run(&cached, &["stats"]).await);
    for line in [
        "hit 3, miss 1",
        "requests         3\n",
        "4\t3\t0\t1.2 MiB\teverything\n",
    ] {
        assert!(stats.contains(line), "{line} in\n{stats}");
    }
    let top = done(run(&cached, &["top", "--by", "bytes", "--limit", "1"]).await);
    assert!(
        top.contains("4\t3\t1\t1.2 MiB\tlake/t/a.parquet\n"),
        "{top}"
    );
    assert!(top.contains("\tlake/\n"), "{top}");
    let explained = done(run(&cached, &["explain", "s3://lake/t/a.parquet"]).await);
    for line in [
        "fresh: it is read",
        "5 of 5 blocks, 300.0 KiB: 0-4",
        "everything",
    ] {
        assert!(explained.contains(line), "{line} in\n{explained}");
    }
    let json = done(run(&cached, &["stats", "--json"]).await);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["saved"]["requests"], 3);
}

#[tokio::test]
async fn a_cache_is_warmed_and_purged() {
    let cached = start().await;
    let warm = done(run(&cached, &["warm", "--prefix", "lake/t/", "--mode", "whole"]).await);
    assert!(warm.starts_with("warmed 2 objects in "), "{warm}");
    assert!(
        warm.contains("600.0 KiB fetched, 0 B there already"),
        "{warm}"
    );
    cached.asks();
    cached.get("/lake/t/b.parquet").await.expect_hit();
    cached.expect_no_asks("what is warm");
    let lines = done(run(&cached, &["--json", "warm", "lake/u"]).await);
    let last: serde_json::Value = serde_json::from_str(lines.lines().last().unwrap()).unwrap();
    assert_eq!(last["event"], "done");
    // One of them is not there: the others are fetched, and a script sees that something is amiss.
    let (code, out, error) = run(&cached, &["warm", "lake/u", "lake/none"]).await;
    assert_eq!(code, 1);
    assert!(out.starts_with("warmed 1 object in"), "{out}");
    assert_eq!(error, "none: there is no such object\n");
    let purged = done(run(&cached, &["purge", "--prefix", "lake/t/"]).await);
    assert!(purged.starts_with("purged 2 objects"), "{purged}");
    assert!(done(run(&cached, &["purge", "lake/u"]).await).starts_with("purged 1 object,"));
    cached.asks();
    cached.get("/lake/t/b.parquet").await.expect(200, "");
    assert!(!cached.asks().is_empty(), "it was purged");
}

#[tokio::test]
async fn what_goes_wrong_has_its_exit_code() {
    let cached = start().await;
    for arguments in [
        &["purge", "lake"][..],
        &["purge"],
        &["purge", "lake/a", "--prefix", "lake/"],
        &["purge", "--prefix", "lake"],
        &["explain", "lake/"],
        &["warm", "lake/a", "pond/b"],
        &["top", "--by", "age"],
        &["--admin", "https://localhost:1", "status"],
        &["sing"],
        &[],
    ] {
        let (code, out, error) = run(&cached, arguments).await;
        assert_eq!((code, out.as_str()), (2, ""), "{arguments:?}");
        assert!(!error.is_empty(), "{arguments:?}");
    }
    cached.expect_no_asks("what is not understood");
    let (code, _, error) = said(&ctl("127.0.0.1:9", &["status"]).await);
    assert_eq!(code, 3);
    assert!(
        error.contains("no connection to http://127.0.0.1:9"),
        "{error}"
    );
    let (code, _, error) = run(
        &cached,
        &[
            "purge",
            "lake/a",
            "--origin",
            "main",
            "--token-file",
            "/none",
        ],
    )
    .await;
    assert_eq!(code, 4, "{error}");
    // No origin answers: the proxy is there and not ready.
    let unready = Setup::at("http://127.0.0.1:9", &["timeouts: {connect: 200ms}"])
        .start_unready()
        .await;
    let (code, out, _) = said(&ctl(&unready.admin.to_string(), &["status"]).await);
    assert_eq!(code, 1);
    assert!(out.contains("not ready"), "{out}");
    assert!(out.contains("unreachable"), "{out}");
}

#[tokio::test]
async fn a_token_and_a_socket_are_understood() {
    let store = ObjectOrigin::start().await;
    let proxy = CacheSetup::memory()
        .with(|setup| {
            setup.secret("admin-token", "admin-token-4");
            setup.admin("{listen: \"ADDRESS\", token_file: DIR/admin-token}")
        })
        .before(&store)
        .await;
    let token = proxy.dir.path().join("admin-token");
    let token = token.to_str().unwrap();
    let admin = proxy.admin.to_string();
    let (code, _, error) = said(&ctl(&admin, &["stats"]).await);
    assert_eq!(code, 4);
    assert!(error.contains("give --token-file FILE"), "{error}");
    done(said(&ctl(&admin, &["stats", "--token-file", token]).await));
    // Readiness is for everyone.
    done(said(&ctl(&admin, &["status"]).await));
    let origin = Origin::start().await;
    let mut on_socket = Setup::of(&origin)
        .admin("unix:DIR/admin.sock")
        .launch_only();
    let socket = on_socket.dir.path().join("admin.sock");
    super::poll_until("socket", || {
        std::os::unix::net::UnixStream::connect(&socket).is_ok()
    })
    .await;
    let admin = format!("unix:{}", socket.display());
    let stats = done(said(&ctl(&admin, &["stats"]).await));
    assert!(stats.contains(&admin), "{stats}");
    on_socket.stop();
}
