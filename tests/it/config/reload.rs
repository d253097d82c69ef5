//! A file that is read again: what changed, what of it takes effect, and what is shown.

use s3proxy::config::{Config, Reloaded};

use super::Files;

const START: &str = "\
listen:
- tcp: 127.0.0.1:4000
- tls: {addr: \"127.0.0.1:4443\", cert_file: DIR/cert.pem, key_file: DIR/key.pem}
admin: 127.0.0.1:4001
threads: 3
origins:
- {name: eu, endpoint: \"https://s3.eu-west-1.amazonaws.com\", buckets: [eu-*]}
- {name: us, endpoint: \"https://s3.us-east-1.amazonaws.com\", max_retries: 1}
clients:
- {name: etl, access_key_id: ETLKEY, secret_access_key_file: DIR/secret, allow: [{buckets: [lake], actions: [read]}]}
- {name: bi, access_key_id: BIKEY, secret_access_key_env: ETL_SECRET, allow: [{buckets: [lake], actions: [read]}]}
cache:
  memory: 64MiB
  rules: [{freshness: 1s}, {freshness: 2s, keys: [a]}]
";

/// Starts with the file, then replaces a text in it by another one and reads it again.
fn reload(files: &Files, replaced: &[(&str, &str)]) -> Result<Reloaded, String> {
    let args = files.conf(START);
    let running = files.load(&args).unwrap();
    let mut text = START.to_owned();
    for (old, new) in replaced {
        assert!(text.contains(old), "{old}");
        text = text.replace(old, new);
    }
    let args = files.conf(&text);
    Config::reload(&args, &files.environment(), &running.written)
        .map_err(|errors| errors.to_string())
}

#[track_caller]
fn expect(replaced: &[(&str, &str)], changed: &[&str], needs_restart: &[&str]) -> Reloaded {
    let reloaded = reload(&Files::new(), replaced).unwrap();
    assert_eq!(reloaded.changed, changed, "{replaced:?}");
    assert_eq!(reloaded.needs_restart, needs_restart, "{replaced:?}");
    reloaded
}

#[test]
fn a_change_is_named_by_its_key_and_by_what_it_takes() {
    expect(&[], &[], &[]);
    expect(
        &[("[read]", "[read, list]")],
        &[
            "clients[etl].allow[0].actions",
            "clients[bi].allow[0].actions",
        ],
        &[],
    );
    expect(
        &[("name: bi,", "name: ml,")],
        &["clients[ml] added", "clients[bi] removed"],
        &[],
    );
    expect(
        &[("max_retries: 1", "max_retries: 2")],
        &["origins[us].max_retries"],
        &[],
    );
    expect(
        &[("memory: 64MiB", "memory: 65MiB")],
        &[],
        &["cache.memory"],
    );
    expect(
        &[("freshness: 2s", "freshness: 3s")],
        &["cache.rules[1].freshness"],
        &[],
    );
    expect(
        &[(", {freshness: 2s, keys: [a]}", "")],
        &["cache.rules"],
        &[],
    );
    expect(&[("threads: 3", "threads: 4")], &[], &["threads"]);
    expect(&[("127.0.0.1:4001", "127.0.0.1:4002")], &[], &["admin"]);
    expect(
        &[("127.0.0.1:4000", "127.0.0.1:4003")],
        &[],
        &[
            "listen[127.0.0.1:4003] added",
            "listen[127.0.0.1:4000] removed",
        ],
    );
    expect(
        &[("us-east-1.amazonaws", "us-east-2.amazonaws")],
        &[],
        &["origins[us].endpoint"],
    );
    expect(
        &[(
            "threads: 3",
            "threads: 3\nlimits: {connections: 5}\naccess_log: {format: json}",
        )],
        &["limits.connections"],
        &["access_log.format"],
    );
}

#[test]
fn what_waits_stays_while_the_rest_takes_effect() {
    let reloaded = expect(
        &[
            ("127.0.0.1:4000", "127.0.0.1:4003"),
            ("memory: 64MiB", "memory: 65MiB"),
            ("freshness: 2s", "freshness: 3s"),
            ("eu-west-1.amazonaws", "eu-west-2.amazonaws"),
            ("buckets: [eu-*]", "buckets: [europe-*]"),
        ],
        &["origins[eu].buckets", "cache.rules[1].freshness"],
        &[
            "listen[127.0.0.1:4003] added",
            "listen[127.0.0.1:4000] removed",
            "origins[eu].endpoint",
            "cache.memory",
        ],
    );
    let (file, in_force) = (&reloaded.file, &reloaded.in_force);
    assert_eq!(in_force.listen[0].to_string(), "http://127.0.0.1:4000");
    assert_eq!(file.listen[0].to_string(), "http://127.0.0.1:4003");
    assert_eq!(in_force.cache.store.memory, 64 << 20);
    assert_eq!(in_force.cache.rules, file.cache.rules);
    assert_eq!(
        in_force.origins[0].endpoint.host,
        "s3.eu-west-1.amazonaws.com"
    );
    assert!(in_force.origins[0].buckets.is_match("europe-1"));
}

#[test]
fn origins_may_come_go_and_change_places() {
    let (eu, us) = ("name: eu", "name: us");
    let swapped = [(eu, "name: xx"), (us, eu), ("name: xx", us)];
    // Each under the other's name: their endpoints would change.
    expect(
        &swapped,
        &[
            "origins[us].buckets",
            "origins[us].max_retries",
            "origins[eu].buckets",
            "origins[eu].max_retries",
            "order of origins",
        ],
        &["origins[us].endpoint", "origins[eu].endpoint"],
    );
    let reloaded = expect(
        &[(us, "name: asia")],
        &["origins[asia] added", "origins[us] removed"],
        &[],
    );
    assert_eq!(&*reloaded.in_force.origins[1].name, "asia");
}

/// The listener that waits would be this origin: the file is good, and does not go with what runs.
#[test]
fn what_takes_effect_has_to_go_with_what_waits() {
    let said = reload(
        &Files::new(),
        &[
            ("127.0.0.1:4000", "127.0.0.1:4003"),
            (
                "name: us, endpoint: \"https://s3.us-east-1.amazonaws.com\"",
                "name: own, endpoint: \"http://127.0.0.1:4000\"",
            ),
        ],
    )
    .err()
    .unwrap();
    assert!(
        said.contains("origins[1].endpoint: this is our own listener http://127.0.0.1:4000"),
        "{said}"
    );
    assert!(
        said.ends_with("it does not go with keys that changed and take a restart"),
        "{said}"
    );
}

#[test]
fn files_that_changed_are_named() {
    let files = Files::new();
    let args = files.conf(START);
    let running = files.load(&args).unwrap();
    files.write("secret", "another-secret\n", 0o600);
    let pair = rcgen::generate_simple_self_signed(["s3.test".to_owned()]).unwrap();
    files.write("key.pem", &pair.key_pair.serialize_pem(), 0o600);
    let again = || {
        let reloaded = Config::reload(&args, &files.environment(), &running.written);
        reloaded
            .map(|reloaded| reloaded.changed)
            .map_err(|errors| errors.to_string())
    };
    let said = again().unwrap_err();
    assert!(said.contains(":3: listen[1].tls.key_file: "), "{said}");
    files.write("cert.pem", &pair.cert.pem(), 0o644);
    let expected = ["cert.pem", "key.pem", "secret"]
        .map(|name| format!("contents of {}", files.path(name).display()));
    assert_eq!(again().unwrap(), expected);
}

#[test]
fn what_is_in_force_is_shown_with_defaults_and_without_secrets() {
    let files = Files::new();
    let running = files.load(&files.conf(START)).unwrap();
    let text = serde_json::to_string(&running.written).unwrap();
    for secret in ["hunter2", "ETLKEY", "BEGIN"] {
        assert!(!text.contains(secret), "{secret} in {text}");
    }
    let shown: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(shown["threads"], 3);
    assert_eq!(shown["limits"]["connections"], 4096);
    assert_eq!(shown["auth"]["unsigned_payload"], true);
    assert_eq!(shown["auth"]["regions"], "any");
    assert_eq!(shown["clients"][0]["access_key_id"], "ETLK***");
    assert_eq!(shown["clients"][1]["secret_access_key_env"], "ETL_SECRET");
    assert_eq!(shown["cache"]["rules"][1]["keys"][0], "a");
    assert_eq!(shown["cache"]["rules"][0]["stale_if_error"], "0s");
    assert_eq!(shown["listen"][1]["tls"]["addr"], "127.0.0.1:4443");
    assert!(shown.get("anonymous").is_none());
    assert!(
        text.find("\"listen\"") < text.find("\"admin\""),
        "in the order of the table"
    );
}
