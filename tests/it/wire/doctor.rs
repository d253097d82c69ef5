//! `s3proxy doctor`: every failure that it can name, produced for real.

use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use super::cache_disk::mounted;
use super::object_origin::ObjectOrigin;
use super::origin::Origin;
use super::proxy::Setup;
use super::reply::Reply;
use super::tls::Pki;

/// A configuration, and the directory that it lies in: `DIR` in a text stands for its path.
struct Patient {
    dir: TempDir,
    /// The lines of the only origin.
    origin: String,
    top: String,
    secret: String,
    /// A shell command before it, in a mount namespace of its own.
    before: Option<String>,
}

/// What the doctor said.
struct Said {
    code: Option<i32>,
    findings: Vec<(String, String, String)>,
}

impl Patient {
    fn at(endpoint: &str) -> Self {
        Self {
            dir: tempfile::tempdir().unwrap(),
            origin: format!("  - name: main\n    endpoint: {endpoint}\n    region: us-east-1\n"),
            top: "listen: [{tcp: '127.0.0.1:PORT'}]\nadmin: off\n".to_owned(),
            secret: Origin::key().secret,
            before: None,
        }
    }

    fn of(store: &ObjectOrigin) -> Self {
        Self::at(&format!("http://{}", store.origin.address))
    }

    /// A further key of the origin.
    fn key(mut self, line: &str) -> Self {
        self.origin += &format!("    {line}\n");
        self
    }

    fn top(mut self, yaml: &str) -> Self {
        self.top += yaml;
        self.top.push('\n');
        self
    }

    fn file(&self, name: &str, text: &str, mode: u32) -> PathBuf {
        let path = self.dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
        path
    }

    /// A disk tier in a directory of this mode.
    fn disk(mut self, mode: u32, keys: &str) -> Self {
        let cache = self.dir.path().join("cache");
        std::fs::create_dir(&cache).unwrap();
        std::fs::set_permissions(&cache, PermissionsExt::from_mode(mode)).unwrap();
        self.top += &format!("cache: {{dir: DIR/cache, {keys}}}\n");
        self
    }

    fn before(mut self, command: &str) -> Self {
        self.before = Some(command.replace("DIR", &self.dir.path().display().to_string()));
        self
    }

    /// Runs the doctor beside the origins of this test.
    async fn examine(self, arguments: &[&str]) -> Said {
        let arguments: Vec<String> = arguments.iter().map(ToString::to_string).collect();
        let examining = tokio::task::spawn_blocking(move || self.run(&arguments));
        examining.await.unwrap()
    }

    fn run(self, arguments: &[String]) -> Said {
        self.file("secret", &self.secret, 0o600);
        let credentials = if self.origin.contains("credentials:") {
            String::new()
        } else {
            let id = Origin::key().id;
            format!(
                "    credentials: {{static: {{access_key_id: {id}, secret_access_key_file: DIR/secret}}}}\n"
            )
        };
        let clients = if self.top.contains("clients:") {
            ""
        } else {
            "clients:\n  - {name: etl, access_key_id: ETLKEY, secret_access_key_file: DIR/secret,\n     \
             allow: [{buckets: [lake, 'other-*'], prefixes: [in/], actions: [read, list, write, delete]}]}\n"
        };
        let yaml = format!(
            "origins:\n{}{credentials}{clients}{}",
            self.origin, self.top
        )
        .replace("DIR", &self.dir.path().display().to_string())
        .replace("PORT", &free_port().to_string());
        let conf = self.file("s3proxy.yaml", &yaml, 0o644);
        let mut command = match &self.before {
            None => Command::new(env!("CARGO_BIN_EXE_s3proxy")),
            Some(before) => {
                let mut command = Command::new("unshare");
                let script = format!("{before} && exec \"$@\"");
                command.args([
                    "--mount",
                    "--propagation",
                    "private",
                    "sh",
                    "-c",
                    &script,
                    "sh",
                ]);
                command.arg(env!("CARGO_BIN_EXE_s3proxy"));
                command
            }
        };
        let output = command
            .arg("-c")
            .arg(conf)
            .args(["doctor", "--json"])
            .args(arguments)
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .env("HOME", self.dir.path())
            .env("XDG_RUNTIME_DIR", self.dir.path())
            .output()
            .unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let errors = String::from_utf8(output.stderr).unwrap();
        assert_eq!(errors, "", "on standard error");
        assert!(!text.contains(&self.secret), "a secret is shown: {text}");
        let json: Value = serde_json::from_str(&text).unwrap();
        let field = |finding: &Value, name: &str| finding[name].as_str().unwrap_or("").to_owned();
        let findings = json["findings"].as_array().unwrap().iter();
        let findings: Vec<_> = findings
            .map(|finding| {
                let advised = finding["advice"].is_string();
                assert_eq!(advised, finding["verdict"] != "ok", "{finding}");
                let said = format!("{}: {}", field(finding, "subject"), field(finding, "found"));
                (field(finding, "verdict"), said, field(finding, "advice"))
            })
            .collect();
        let problems = findings.iter().filter(|(verdict, ..)| verdict == "problem");
        assert_eq!(json["problems"], problems.count());
        Said {
            code: output.status.code(),
            findings,
        }
    }
}

impl Said {
    /// What was found of this verdict.
    fn all(&self, wanted: &str) -> Vec<&str> {
        let findings = self.findings.iter();
        findings
            .filter(|(verdict, ..)| verdict == wanted)
            .map(|(_, said, _)| said.as_str())
            .collect()
    }

    /// It is fit but for these, and says so by its exit code.
    #[track_caller]
    fn expect_problems(&self, expected: &[&str]) -> &Self {
        let problems = self.all("problem");
        let all_there = problems.len() == expected.len()
            && problems
                .iter()
                .zip(expected)
                .all(|(said, part)| said.contains(part));
        assert!(all_there, "expected {expected:?} in {:#?}", self.findings);
        assert_eq!(self.code, Some(i32::from(!expected.is_empty())));
        self
    }

    #[track_caller]
    fn expect(&self, verdict: &str, part: &str) -> &Self {
        let is_there = self.all(verdict).iter().any(|said| said.contains(part));
        assert!(
            is_there,
            "no {verdict} with {part:?} in {:#?}",
            self.findings
        );
        self
    }
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

#[tokio::test]
async fn the_healthy_are_told_so_and_nothing_is_written() {
    let store = ObjectOrigin::start().await;
    store.objects.put("lake/in/a", 1000);
    let said = Patient::of(&store)
        .disk(0o700, "disk: 8MiB")
        .examine(&[])
        .await;
    said.expect_problems(&[])
        .expect("ok", "origin main: takes the key ORIGINKEY")
        .expect("ok", "its clock and this machine's agree")
        .expect("ok", "bucket lake: can be listed")
        .expect("ok", "bucket lake: an object can be read")
        .expect("ok", "bucket lake: writing was not tried")
        .expect("ok", "the port is free")
        .expect("ok", "memory")
        .expect("ok", "MB/s");
    let seen = store.origin.take();
    assert!(
        seen.iter()
            .all(|seen| seen.method != "PUT" && seen.method != "DELETE")
    );
    let read = seen
        .iter()
        .find(|seen| seen.path() == "/lake/in/a")
        .unwrap();
    assert_eq!(read.field("range"), Some("bytes=0-0"));
}

#[tokio::test]
async fn what_it_writes_when_told_to_it_deletes() {
    let store = ObjectOrigin::start().await;
    let said = Patient::of(&store).examine(&["--write"]).await;
    said.expect_problems(&[])
        .expect("ok", "bucket lake: an object can be written")
        .expect("ok", "bucket lake: the object was deleted again");
    let seen = store.origin.take();
    let put = seen.iter().find(|seen| seen.method == "PUT").unwrap();
    assert!(
        put.path().starts_with("/lake/in/.s3proxy-doctor-"),
        "{}",
        put.path()
    );
    assert!(store.objects.listed("lake", "").is_empty());
}

#[tokio::test]
async fn an_object_that_cannot_be_deleted_is_named() {
    let store = ObjectOrigin::start().await;
    store.bend(|seen, reply| match seen.method.as_str() {
        "DELETE" => Reply::error(403, "AccessDenied"),
        _ => reply,
    });
    let said = Patient::of(&store).examine(&["--write"]).await;
    said.expect_problems(&[])
        .expect("warning", "the object in/.s3proxy-doctor-");
}

#[tokio::test]
async fn an_origin_that_is_down() {
    let endpoint = format!("http://127.0.0.1:{}", free_port());
    let said = Patient::at(&endpoint).examine(&[]).await;
    said.expect_problems(&["origin main: no connection: 127.0.0.1"]);
}

#[tokio::test]
async fn a_name_that_leads_nowhere() {
    let said = Patient::at("http://no-such-store.invalid")
        .examine(&[])
        .await;
    said.expect_problems(&["no-such-store.invalid cannot be resolved"]);
}

#[tokio::test]
async fn an_address_that_no_origin_has() {
    let said = Patient::at("http://169.254.169.254").examine(&[]).await;
    said.expect_problems(&["leads to 169.254.169.254, which is refused"]);
}

#[tokio::test]
async fn a_wrong_secret() {
    let store = ObjectOrigin::start().await;
    let mut patient = Patient::of(&store);
    patient.secret = "not-the-right-secret".to_owned();
    let said = patient.examine(&[]).await;
    said.expect_problems(&["key ORIGINKEY: the store finds the signature wrong"]);
}

#[tokio::test]
async fn a_key_that_the_store_does_not_know() {
    let store = ObjectOrigin::start().await;
    let static_key = "{static: {access_key_id: NOSUCHKEY, secret_access_key_file: DIR/secret}}";
    let patient = Patient::of(&store).key(&format!("credentials: {static_key}"));
    let said = patient.examine(&[]).await;
    said.expect_problems(&["key NOSUCHKEY: the store does not know it"]);
}

#[tokio::test]
async fn no_credentials_at_all() {
    let store = ObjectOrigin::start().await;
    let said = Patient::of(&store)
        .key("credentials: env")
        .examine(&[])
        .await;
    assert_eq!(said.code, Some(1));
    said.expect("problem", "credential");
}

#[tokio::test]
async fn a_clock_that_is_wrong() {
    let store = ObjectOrigin::start().await;
    store.origin.set_clock_ahead(Duration::from_mins(20));
    let said = Patient::of(&store).examine(&[]).await;
    said.expect_problems(&[
        "s behind the origin's",
        "too far from its own (RequestTimeTooSkewed)",
    ]);
    store.origin.set_clock_ahead(Duration::from_mins(2));
    let said = Patient::of(&store).examine(&[]).await;
    said.expect_problems(&[])
        .expect("warning", "s behind the origin's");
}

#[tokio::test]
async fn a_bucket_that_is_not_there() {
    let store = ObjectOrigin::start().await;
    let said = Patient::of(&store).examine(&["--bucket", "sea"]).await;
    said.expect_problems(&["bucket sea: there is no such bucket at origin main"])
        .expect("ok", "bucket lake: can be listed");
}

#[tokio::test]
async fn a_bucket_that_no_origin_serves() {
    let store = ObjectOrigin::start().await;
    let said = Patient::of(&store)
        .key("buckets: [pond]")
        .examine(&[])
        .await;
    said.expect_problems(&["bucket lake: no origin serves it"])
        .expect("ok", "bucket pond: can be listed")
        .expect("warning", "no origin serves the bucket `lake`");
}

#[tokio::test]
async fn rights_that_the_store_does_not_give() {
    let store = ObjectOrigin::start().await;
    store.objects.put("lake/in/a", 1000);
    store.objects.deny(&Origin::key().id, "lake/in/");
    let said = Patient::of(&store).examine(&[]).await;
    said.expect_problems(&["bucket lake: cannot be read: 403"]);
    store.bend(|seen, reply| {
        if seen.target.contains("list-type") || seen.method == "PUT" {
            Reply::error(403, "AccessDenied")
        } else {
            reply
        }
    });
    let said = Patient::of(&store).examine(&["--write"]).await;
    said.expect_problems(&[
        "bucket lake: cannot be listed: 403 Forbidden AccessDenied",
        "bucket lake: cannot be written: 403 Forbidden AccessDenied",
    ]);
}

#[tokio::test]
async fn a_client_that_the_store_has_to_know() {
    let store = ObjectOrigin::start().await;
    let clients = "clients: [{name: own, access_key_id: OWNKEY, secret_access_key_file: DIR/secret, \
                   origin_identity: own, allow: [{buckets: [lake], actions: [read, list]}]}]";
    let said = Patient::of(&store).top(clients).examine(&[]).await;
    said.expect_problems(&["bucket lake as own: key OWNKEY: the store does not know it"]);
}

#[tokio::test]
async fn a_store_that_is_ill() {
    let store = ObjectOrigin::start().await;
    store.bend(|_, _| Reply::error(503, "ServiceUnavailable"));
    let said = Patient::of(&store).examine(&[]).await;
    said.expect_problems(&["a signed request is answered 503"]);
}

#[tokio::test]
async fn certificates_of_origins() {
    for (year, trusted, problems) in [
        (4000, true, vec![]),
        (4000, false, vec!["no answer"]),
        (
            2020,
            true,
            vec!["its certificate expired on Jan  1", "no answer"],
        ),
    ] {
        let pki = Pki::valid_until(&["localhost"], year);
        let origin = Origin::start_tls(pki.acceptor()).await;
        let endpoint = format!("https://localhost:{}", origin.address.port());
        let mut patient = Patient::at(&endpoint);
        patient.file("ca.pem", &pki.ca, 0o644);
        if trusted {
            patient = patient.key("ca_file: DIR/ca.pem");
        }
        let said = patient.examine(&[]).await;
        let found = said.all("problem");
        let is_expected = found
            .iter()
            .zip(&problems)
            .all(|(said, part)| said.contains(part));
        let (got, expected) = (found.len(), problems.len());
        assert!(
            is_expected && got == expected,
            "{year} {trusted}: {:#?}",
            said.findings
        );
    }
}

#[tokio::test]
async fn an_origin_without_tls_where_tls_is_expected() {
    let origin = Origin::start().await;
    let endpoint = format!("https://localhost:{}", origin.address.port());
    let said = Patient::at(&endpoint).examine(&[]).await;
    said.expect("problem", "no TLS handshake");
}

#[tokio::test]
async fn certificates_of_listeners() {
    let store = ObjectOrigin::start().await;
    let listen =
        "listen: [{tls: {addr: '127.0.0.1:PORT', cert_file: DIR/cert.pem, key_file: DIR/key.pem}}]";
    let with = |cert: &str, key: &str| {
        let mut patient = Patient::of(&store);
        patient.file("cert.pem", cert, 0o644);
        patient.file("key.pem", key, 0o600);
        patient.top = format!("admin: off\n{listen}\n");
        patient
    };
    let (good, expired) = (Pki::new(&["a"]), Pki::valid_until(&["a"], 2020));
    let said = with(&good.cert, &good.key).examine(&[]).await;
    said.expect_problems(&[])
        .expect("ok", "its certificate is valid until");
    let said = with(&expired.cert, &expired.key).examine(&[]).await;
    said.expect_problems(&["its certificate expired on Jan  1"]);
    let said = with(&good.cert, &expired.key).examine(&[]).await;
    said.expect_problems(&["key.pem cannot be used: keys may not be consistent"]);
}

#[tokio::test]
async fn directories_that_are_no_good() {
    let store = ObjectOrigin::start().await;
    let said = Patient::of(&store).disk(0o755, "").examine(&[]).await;
    said.expect_problems(&["is open to other users (mode 0755)"]);
    let patient = Patient::of(&store).disk(0o700, "");
    std::fs::write(patient.dir.path().join("cache/thesis.odt"), "mine").unwrap();
    patient
        .examine(&[])
        .await
        .expect_problems(&["holds \"thesis.odt\""]);
    let said = Patient::of(&store)
        .disk(0o700, "disk: 900TiB")
        .examine(&[])
        .await;
    said.expect_problems(&["less than the 900"]);
}

#[tokio::test]
async fn disks_that_are_full_or_read_only() {
    if !mounted::is_possible() {
        return;
    }
    let store = ObjectOrigin::start().await;
    let mount = "mount -t tmpfs -o size=6m,mode=700 tmpfs DIR/cache";
    let full = Patient::of(&store).disk(0o700, "disk: 1MiB, min_free: 0");
    let said = full.before(mount).examine(&[]).await;
    said.expect_problems(&["a file cannot be written and read there: No space left"])
        .expect("warning", "is on tmpfs: it is memory");
    let locked = Patient::of(&store).disk(0o700, "disk: 1MiB, min_free: 0");
    let remount = format!("{mount} && mount -o remount,ro DIR/cache");
    let said = locked.before(&remount).examine(&[]).await;
    said.expect_problems(&["Read-only file system"]);
}

#[tokio::test]
async fn limits_that_are_too_low() {
    if !mounted::is_possible() {
        return;
    }
    let store = ObjectOrigin::start().await;
    let said = Patient::of(&store)
        .before("ulimit -n 300")
        .examine(&[])
        .await;
    said.expect_problems(&["open files: 300 allowed"]);
    let said = Patient::of(&store)
        .before("ulimit -n 1024")
        .examine(&[])
        .await;
    said.expect_problems(&[])
        .expect("warning", "open files: 1024 allowed");
    let said = Patient::of(&store)
        .top("cache: {memory: 60TiB}")
        .examine(&[])
        .await;
    said.expect_problems(&["up to 60"]);
}

#[tokio::test]
async fn a_port_that_somebody_else_has() {
    let store = ObjectOrigin::start().await;
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = other.local_addr().unwrap().port();
    // It takes the connection and says something that is not ours.
    std::thread::spawn(move || {
        while let Ok((mut stream, _)) = other.accept() {
            let _ = std::io::Write::write_all(&mut stream, b"HTTP/1.1 200 OK\r\n\r\n");
        }
    });
    let mut patient = Patient::of(&store);
    patient.top = format!("listen: [{{tcp: '127.0.0.1:{port}'}}]\nadmin: off\n");
    patient
        .examine(&[])
        .await
        .expect_problems(&["another program has the port"]);
}

#[tokio::test]
async fn a_proxy_that_runs_already() {
    let store = ObjectOrigin::start().await;
    let proxy = Setup::of(&store.origin).start().await;
    let mut patient = Patient::of(&store);
    patient.top = format!(
        "listen: [{{tcp: '{}'}}]\nadmin: '{}'\n",
        proxy.address, proxy.admin
    );
    let said = patient.examine(&[]).await;
    said.expect_problems(&[]);
    let ours = said
        .all("ok")
        .into_iter()
        .filter(|said| said.contains("by s3proxy itself"));
    assert_eq!(ours.count(), 2, "{:#?}", said.findings);
}

#[tokio::test]
async fn a_file_that_cannot_be_read() {
    let said = Patient::at("http://127.0.0.1:1")
        .top("no_such_key: 1")
        .examine(&[])
        .await;
    said.expect_problems(&["no_such_key"]);
}
