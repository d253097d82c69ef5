//! The command itself: exit codes and where it writes to.

use std::process::Command;
use std::process::Output;

use super::Files;

pub(super) fn s3proxy(files: &Files, arguments: &[&str], variables: &[(&str, &str)]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_s3proxy"))
        .args(arguments)
        .env_clear()
        .env("HOME", files.path(""))
        .env("RUNTIME_DIRECTORY", files.path(""))
        .envs(variables.iter().copied())
        .output()
        .unwrap()
}

pub(super) fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

#[test]
fn a_good_file_is_ok() {
    let files = Files::new();
    let yaml = "origins: [{endpoint: \"https://s3.example.com\", buckets: [lake]}]\n\
                clients:\n- name: etl\n  access_key_id: ETLKEY\n  secret_access_key_env: SECRET\n  \
                allow: [{buckets: [sea], actions: [read]}]\n";
    let conf = files.conf(yaml).conf.unwrap();
    let conf = conf.to_str().unwrap();
    let output = s3proxy(&files, &["-c", conf, "-t"], &[("SECRET", "hunter2")]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert_eq!(
        text(&output.stdout),
        format!(
            "{conf}: ok\n\
             warning: {conf}:6: clients[0].allow[0].buckets: no origin serves the bucket `sea`\n  \
             listen   http://127.0.0.1:3000\n  \
             admin    http://127.0.0.1:3001\n  \
             origin   origin, https://s3.example.com, region us-east-1, default credential chain\n  \
             client   etl, key ETLKEY, 1 allow, 0 deny\n  \
             cache    1GiB of memory, blocks of 64KiB\n"
        )
    );
    assert_eq!(text(&output.stderr), "");
}

#[test]
fn a_bad_file_is_told_on_standard_error() {
    let files = Files::new();
    let conf = files.conf("origins: []\nthreads: x\n").conf.unwrap();
    let output = s3proxy(&files, &["--conf", conf.to_str().unwrap(), "--test"], &[]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(text(&output.stdout), "");
    assert_eq!(
        text(&output.stderr).lines().count(),
        2,
        "{}",
        text(&output.stderr)
    );
}

#[test]
fn nothing_to_forward_to_is_a_usage_error() {
    let output = s3proxy(&Files::new(), &[], &[]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("--endpoint URL"));
    let output = s3proxy(
        &Files::new(),
        &["-e", "https://s3.example.com", "-p", "0"],
        &[],
    );
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn flags_beat_variables() {
    let files = Files::new();
    let variables = [
        ("ENDPOINT", "https://s3.example.com"),
        ("PORT", "4000"),
        ("LISTEN", "0.0.0.0"),
        ("ADMIN", "off"),
        ("AWS_REGION", "eu-north-1"),
    ];
    let output = s3proxy(&files, &["-t", "--port", "4100"], &variables);
    assert_eq!(
        text(&output.stdout),
        "command line: ok\n  \
         listen   http://0.0.0.0:4100\n  \
         admin    off\n  \
         origin   origin, https://s3.example.com, region eu-north-1, default credential chain\n  \
         client   default, the holder of the origin's key pair\n  \
         cache    1GiB of memory, blocks of 64KiB\n"
    );
}

#[test]
fn help_has_examples_and_version_a_number() {
    let output = s3proxy(&Files::new(), &["--help"], &[]);
    assert!(text(&output.stdout).contains("Examples:"));
    let output = s3proxy(&Files::new(), &["--version"], &[]);
    let version = concat!("s3proxy ", env!("CARGO_PKG_VERSION"), "\n");
    assert_eq!(text(&output.stdout), version);
}

/// Whoever asks for an upgrade may not be allowed to read the secrets: systemd's `ExecReload=` is not.
#[test]
fn asking_for_an_upgrade_reads_no_secret() {
    let files = Files::new();
    let yaml = "origins: [{endpoint: \"https://s3.example.com\"}]\n\
                clients: [{name: a, access_key_id: AKEY, secret_access_key_file: DIR/missing}]\n";
    let conf = files.conf(yaml).conf.unwrap();
    let output = s3proxy(&files, &["-c", conf.to_str().unwrap(), "upgrade"], &[]);
    assert_eq!(output.status.code(), Some(1));
    let said = text(&output.stderr);
    // Nobody runs there, which is what it could find out.
    assert!(said.starts_with("no upgrade: "), "{said}");
}
