//! The SDK's sources. They read the environment, so each runs in a process of its own: this test
//! binary again, with the environment that the test chooses and nothing else.

use std::io::Read;
use std::io::Write;
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;
use std::time::Duration;
use std::time::Instant;

use super::CredentialSource;
use super::OriginCredentials;

const CHILD: &str = "upstream::credentials::source_tests::loads_what_the_parent_asks_for";
const SECRET: &str = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYzEXAMPLEKEY";

/// Does nothing unless it runs as the child of another test.
#[tokio::test]
async fn loads_what_the_parent_asks_for() {
    let Ok(source) = std::env::var("TEST_SOURCE") else {
        return;
    };
    let source = match source.split_once(' ') {
        Some(("profile", name)) => CredentialSource::Profile(name.to_owned()),
        Some(("web-identity", file)) => CredentialSource::WebIdentity {
            role_arn: "arn:aws:iam::1:role/r".to_owned(),
            token_file: file.into(),
            session_name: "s3proxy".to_owned(),
        },
        _ => CredentialSource::DefaultChain,
    };
    let credentials = OriginCredentials::new(&source, "eu-west-1");
    let start = Instant::now();
    let outcome = match credentials.current().await {
        Ok(Some(c)) => {
            let secret_is_right = c.secret_access_key.expose() == SECRET;
            let token = c.session_token.map(|token| token.expose().to_owned());
            format!(
                "{} {secret_is_right} {token:?} {}",
                c.access_key_id,
                c.expires_at.is_some()
            )
        }
        Ok(None) => "anonymous".to_owned(),
        Err(error) => format!("{error:?} | {error}"),
    };
    println!(
        "outcome[{outcome}]outcome took[{}]",
        start.elapsed().as_millis()
    );
}

struct Outcome {
    text: String,
    took: Duration,
}

fn load(source: &str, home: &Path, environment: &[(&str, &str)]) -> Outcome {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", CHILD, "--nocapture"])
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("HOME", home)
        .env("TEST_SOURCE", source)
        .envs(environment.iter().copied())
        .output()
        .unwrap();
    let stdout = String::from_utf8(output.stdout).unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(!stdout.contains(SECRET) && !stderr.contains(SECRET));
    let between = |from: &str, to: &str| {
        let (_, rest) = stdout.split_once(from)?;
        Some(rest.split_once(to)?.0.to_owned())
    };
    let text = between("outcome[", "]outcome").unwrap_or_else(|| panic!("{stdout}{stderr}"));
    let took = between("took[", "]").and_then(|millis| millis.parse().ok());
    Outcome {
        text,
        took: Duration::from_millis(took.unwrap()),
    }
}

/// Answers each connection with what `answer` says to the request's head, on loopback.
fn serve(answer: impl Fn(&str) -> Option<String> + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        let mut silent = Vec::new();
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut request = [0; 8192];
            let mut length = 0;
            while !request[..length].windows(4).any(|w| w == b"\r\n\r\n") {
                match stream.read(&mut request[length..]) {
                    Ok(read @ 1..) => length += read,
                    _ => break,
                }
            }
            match answer(&String::from_utf8_lossy(&request[..length])) {
                Some(response) => stream.write_all(response.as_bytes()).unwrap(),
                None => silent.push(stream),
            }
        }
    });
    url
}

fn response(status: &str, fields: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n{fields}\r\n{body}"
    )
}

const NO_IMDS: (&str, &str) = ("AWS_EC2_METADATA_DISABLED", "true");

#[test]
fn the_environment_gives_credentials() {
    let home = tempfile::tempdir().unwrap();
    let keys = [
        ("AWS_ACCESS_KEY_ID", "AKIDENV"),
        ("AWS_SECRET_ACCESS_KEY", SECRET),
        ("AWS_SESSION_TOKEN", "session"),
    ];
    let outcome = load("chain", home.path(), &keys);
    assert_eq!(outcome.text, r#"AKIDENV true Some("session") false"#);
    let outcome = load("chain", home.path(), &keys[..2]);
    assert_eq!(outcome.text, "AKIDENV true None false");
}

#[test]
fn a_profile_gives_credentials() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("credentials");
    let profiles = format!(
        "[default]\naws_access_key_id = AKIDDEFAULT\naws_secret_access_key = {SECRET}\n\
         [lake]\naws_access_key_id = AKIDLAKE\naws_secret_access_key = {SECRET}\n"
    );
    std::fs::write(&file, profiles).unwrap();
    let environment = [
        ("AWS_SHARED_CREDENTIALS_FILE", file.to_str().unwrap()),
        NO_IMDS,
    ];
    let of = |source: &str| load(source, home.path(), &environment).text;
    assert_eq!(of("profile lake"), "AKIDLAKE true None false");
    assert_eq!(of("chain"), "AKIDDEFAULT true None false");
    let missing = of("profile pond");
    assert!(
        missing.starts_with("NoCredentials") && missing.contains("pond"),
        "{missing}"
    );
}

#[test]
fn a_broken_profile_or_process_tells_no_secret() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("credentials");
    let environment = [
        ("AWS_SHARED_CREDENTIALS_FILE", file.to_str().unwrap()),
        NO_IMDS,
    ];
    let broken = format!("[default]\naws_access_key_id = A\n{SECRET}\n");
    std::fs::write(&file, broken).unwrap();
    let outcome = load("profile default", home.path(), &environment).text;
    assert!(outcome.starts_with("Misconfigured"), "{outcome}");
    for script in [
        format!("echo {SECRET} >&2; exit 1"),
        format!("echo {SECRET}"),
    ] {
        let process = format!("[default]\ncredential_process = {script}\n");
        std::fs::write(&file, process).unwrap();
        let outcome = load("chain", home.path(), &environment).text;
        assert!(
            outcome.contains("the credential process failed"),
            "{outcome}"
        );
    }
    let json = format!(
        r#"{{"Version":1,"AccessKeyId":"AKIDPROC","SecretAccessKey":"{SECRET}","Expiration":"2999-01-01T00:00:00Z"}}"#
    );
    std::fs::write(home.path().join("json"), json).unwrap();
    let process = format!(
        "[default]\ncredential_process = cat {}/json\n",
        home.path().display()
    );
    std::fs::write(&file, process).unwrap();
    let outcome = load("chain", home.path(), &environment).text;
    assert_eq!(outcome, "AKIDPROC true None true");
}

#[test]
fn no_credentials_anywhere_is_said_soon() {
    let home = tempfile::tempdir().unwrap();
    let closed = TcpListener::bind("127.0.0.1:0").unwrap();
    let refusing = format!("http://{}", closed.local_addr().unwrap());
    drop(closed);
    let silent = serve(|_| None);
    let other_cloud = serve(|_| Some(response("404 Not Found", "", "<html>not here</html>")));
    for environment in [
        NO_IMDS,
        ("AWS_EC2_METADATA_SERVICE_ENDPOINT", &refusing),
        ("AWS_EC2_METADATA_SERVICE_ENDPOINT", &silent),
        ("AWS_EC2_METADATA_SERVICE_ENDPOINT", &other_cloud),
    ] {
        let outcome = load("chain", home.path(), &[environment]);
        assert!(
            outcome.text.starts_with("NoCredentials"),
            "{environment:?}: {}",
            outcome.text
        );
        assert!(
            outcome.took < Duration::from_millis(2500),
            "{:?}",
            outcome.took
        );
    }
}

#[test]
fn instance_metadata_gives_credentials() {
    let home = tempfile::tempdir().unwrap();
    let url = serve(|request| {
        let ttl = "x-aws-ec2-metadata-token-ttl-seconds: 21600\r\n";
        let role = "/latest/meta-data/iam/security-credentials/";
        let credentials = format!(
            r#"{{"Code":"Success","Type":"AWS-HMAC","AccessKeyId":"AKIDIMDS","SecretAccessKey":"{SECRET}","Token":"session","Expiration":"2999-01-01T00:00:00Z"}}"#
        );
        Some(match request.split(' ').nth(1) {
            Some("/latest/api/token") => response("200 OK", ttl, "imds-token"),
            Some(path) if path == role => response("200 OK", "", "lake-role"),
            Some(path) if path.ends_with("/lake-role") => response("200 OK", "", &credentials),
            _ => response("404 Not Found", "", ""),
        })
    });
    let environment = [("AWS_EC2_METADATA_SERVICE_ENDPOINT", url.as_str())];
    let outcome = load("chain", home.path(), &environment);
    assert_eq!(outcome.text, r#"AKIDIMDS true Some("session") true"#);
    // The service has a role and fails: that is not the absence of credentials.
    let failing = serve(|_| Some(response("503 Service Unavailable", "", SECRET)));
    let environment = [("AWS_EC2_METADATA_SERVICE_ENDPOINT", failing.as_str())];
    let outcome = load("chain", home.path(), &environment);
    assert!(outcome.text.starts_with("Unavailable"), "{}", outcome.text);
}

#[test]
fn a_token_file_is_exchanged() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("token");
    std::fs::write(&file, "ey.token").unwrap();
    let url = serve(|request| {
        let known = request.starts_with("POST / ");
        let body = format!(
            "<AssumeRoleWithWebIdentityResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\">\
             <AssumeRoleWithWebIdentityResult><Credentials><AccessKeyId>AKIDSTS</AccessKeyId>\
             <SecretAccessKey>{SECRET}</SecretAccessKey><SessionToken>session</SessionToken>\
             <Expiration>2999-01-01T00:00:00Z</Expiration></Credentials>\
             </AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>"
        );
        known.then(|| response("200 OK", "Content-Type: text/xml\r\n", &body))
    });
    let source = format!("web-identity {}", file.display());
    let environment = [("AWS_ENDPOINT_URL_STS", url.as_str())];
    let outcome = load(&source, home.path(), &environment);
    assert_eq!(outcome.text, r#"AKIDSTS true Some("session") true"#);
    std::fs::remove_file(&file).unwrap();
    let outcome = load(&source, home.path(), &environment);
    assert!(outcome.text.starts_with("Unavailable"), "{}", outcome.text);
    assert!(outcome.text.contains("No such file"), "{}", outcome.text);
}
