//! Files that are refused: each with the line, the key and the reason that the message has.

use super::Files;

const ORIGIN: &str = "origins: [{endpoint: \"https://s3.example.com\"}]\n";

/// A part of a file behind a good origin (so it begins in line 2), and a line of the messages.
const BEHIND_A_GOOD_ORIGIN: &[(&str, &str)] = &[
    // Form.
    (
        "lisen: []",
        "FILE:2: lisen: unknown key; did you mean `listen`?",
    ),
    (
        "zzzzzz: 1",
        "FILE:2: zzzzzz: unknown key; the keys are listed in docs/configuration.md",
    ),
    (
        "limits:\n  conections: 5",
        "FILE:3: limits.conections: unknown key; did you mean `connections`?",
    ),
    (
        "clients:\n- name: a\n  access_key_id: AKEY\n  secret_access_key_env: ETL_SECRET\n  allow:\n  - bukets: [a]\n    actions: [read]",
        "FILE:7: clients[0].allow[0].bukets: unknown key; did you mean `buckets`?",
    ),
    (
        "anonymous:\n  allow:\n  - buckets: [a]\n    actions: [read]\n    grant: [acl]",
        "FILE:6: anonymous.allow[0].grant: unknown key; did you mean `grants`?",
    ),
    (
        "threds: 4",
        "FILE:2: threds: unknown key; did you mean `threads`?",
    ),
    (
        "admin: 127.0.0.1:4001\nadmin: 127.0.0.1:4002",
        "FILE:3: admin: already given in line 2; keep one of the two",
    ),
    (
        "limits: 5",
        "FILE:2: limits: a single value stands here; give a section of keys",
    ),
    (
        "limits:",
        "FILE:2: limits: nothing stands here; give a section of keys",
    ),
    (
        "base_domains: example.com",
        "FILE:2: base_domains: a single value stands here; give a list, each a host name",
    ),
    (
        "threads: [4]",
        "FILE:2: threads: a list stands here; give a whole number from 1 to 1024",
    ),
    (
        "a: &x 1\nb: *x",
        "FILE:2: anchors (`&name`) and aliases (`*name`) are not supported; write the value out, or quote it when it begins with `&` or `*`",
    ),
    ("a: [1", "FILE:3: not YAML"),
    (
        "---\nb: 1",
        "FILE:3: a second document; the file is one document; remove `---` and what follows",
    ),
    // Values.
    (
        "threads: many",
        "FILE:2: threads: `many` cannot be used; give a whole number from 1 to 1024",
    ),
    ("threads: 0", "FILE:2: threads: `0` cannot be used"),
    (
        "work_stealing: yes",
        "FILE:2: work_stealing: `yes` cannot be used; give true or false",
    ),
    (
        "cache: {memory: lots}",
        "FILE:2: cache.memory: `lots` cannot be used; give a size from 0B to 64TiB",
    ),
    (
        "limits: {read_timeout: 30}",
        "FILE:2: limits.read_timeout: `30` cannot be used; give a duration from 1s to 1h",
    ),
    (
        "access_log: {format: xml}",
        "FILE:2: access_log.format: `xml` cannot be used; give `text` or `json` or `off`",
    ),
    (
        "access_log: {to: access.log}",
        "FILE:2: access_log.to: `access.log` cannot be used; give `stdout` or `journald` or an absolute path",
    ),
    (
        "access_log:\n  format: json\n  to: /nowhere/access.log",
        "FILE:4: access_log.to: /nowhere/access.log cannot be written: No such file or directory (os error 2); give a file in a directory that is there",
    ),
    (
        "access_log: {to: /dev/null}",
        "FILE:2: access_log.to: /dev/null cannot be written: not a regular file",
    ),
    (
        "anonymous: {allow: [{buckets: [\"[\"], actions: [read]}]}",
        "FILE:2: anonymous.allow[0].buckets[0]: `[` cannot be used; give a glob over bucket names such as `team-*`",
    ),
    (
        "anonymous: {allow: [{buckets: [lake/raw], actions: [read]}]}",
        "FILE:2: anonymous.allow[0].buckets[0]: `lake/raw` cannot be used; give a glob over bucket names",
    ),
    (
        "anonymous: {allow: [{buckets: [a], prefixes: [\"{\"], actions: [read]}]}",
        "FILE:2: anonymous.allow[0].prefixes[0]: `{` cannot be used",
    ),
    (
        "anonymous:\n  allow:\n  - buckets: [a]\n    actions:\n    - read\n    - get",
        "FILE:7: anonymous.allow[0].actions[1]: `get` cannot be used; give `read` or `list` or `write` or `delete` or `*`",
    ),
    (
        "anonymous: {allow: [{buckets: [a]}]}",
        "FILE:2: anonymous.allow[0].actions: missing; give one such as `[read, list]`",
    ),
    (
        "anonymous: {deny: [{buckets: [], actions: [read]}]}",
        "FILE:2: anonymous.deny[0].buckets: is empty, and so the rule matches nothing; give at least one",
    ),
    (
        "base_domains: [https://s3.example.com]",
        "FILE:2: base_domains[0]: `https://s3.example.com` cannot be used; give a host name",
    ),
    // Secrets.
    (
        "clients: [{name: a, access_key_id: AKEY}]",
        "FILE:2: clients[0]: 0 of secret_access_key_file, secret_access_key_env are given; give exactly one",
    ),
    (
        "clients: [{name: a, access_key_id: AKEY, secret_access_key: hunter2}]",
        "FILE:2: clients[0].secret_access_key: not taken; secrets do not belong in this file",
    ),
    (
        "clients: [{name: a, access_key_id: AKEY, secret_access_key_env: NOT_SET}]",
        "FILE:2: clients[0].secret_access_key_env: the environment variable NOT_SET is not set; set it, or give a file instead",
    ),
    (
        "clients: [{name: a, access_key_id: AKEY, secret_access_key_env: BLANK_SECRET}]",
        "FILE:2: clients[0].secret_access_key_env: the environment variable BLANK_SECRET holds blanks",
    ),
    (
        "clients: [{name: a, access_key_id: AKEY, secret_access_key_file: DIR/none}]",
        "FILE:2: clients[0].secret_access_key_file: the file cannot be read: No such file or directory",
    ),
    (
        "clients: [{name: a, access_key_id: AKEY, secret_access_key_file: DIR}]",
        "FILE:2: clients[0].secret_access_key_file: DIR is not a regular file; give one",
    ),
    (
        "clients: [{name: a, access_key_id: AKEY, secret_access_key_file: DIR/empty}]",
        "FILE:2: clients[0].secret_access_key_file: DIR/empty does not hold one secret",
    ),
    (
        "clients: [{name: a, access_key_id: AKEY, secret_access_key_file: DIR/two-lines}]",
        "FILE:2: clients[0].secret_access_key_file: DIR/two-lines does not hold one secret",
    ),
    (
        "clients: [{name: a, access_key_id: AKEY, secret_access_key_file: secret}]",
        "FILE:2: clients[0].secret_access_key_file: `secret` cannot be used; give an absolute path",
    ),
    (
        "clients: [{name: a, access_key_id: AKEY, secret_access_key_file: DIR/open-secret}]",
        "FILE:2: clients[0].secret_access_key_file: DIR/open-secret has mode 0644, others may read it; chmod 600 DIR/open-secret",
    ),
    // Listeners.
    (
        "listen: []",
        "FILE:2: listen: no client could connect; give at least one",
    ),
    (
        "listen: [{tcp: localhost}]",
        "FILE:2: listen[0].tcp: `localhost` cannot be used; give an address `ip:port`",
    ),
    (
        "listen: [{}]",
        "FILE:2: listen[0]: 0 of tcp, tls, unix are given; give exactly one",
    ),
    (
        "listen:\n- tcp: 127.0.0.1:4000\n- tcp: 0.0.0.0:4000",
        "FILE:4: listen[1].tcp: the address `http://0.0.0.0:4000` is taken by listen[0].tcp in line 3; give another one",
    ),
    (
        "listen: [{tls: {addr: \"0.0.0.0:4443\", cert_file: DIR/none, key_file: DIR/key.pem}}]",
        "FILE:2: listen[0].tls.cert_file: DIR/none: No such file or directory (os error 2); give a readable file",
    ),
    (
        "listen: [{tls: {addr: \"0.0.0.0:4443\", cert_file: DIR/key.pem, key_file: DIR/key.pem}}]",
        "FILE:2: listen[0].tls.cert_file: DIR/key.pem holds no `-----BEGIN CERTIFICATE-----`; give a PEM file",
    ),
    (
        "listen:\n- tls:\n    addr: \"0.0.0.0:4443\"\n    cert_file: DIR/cert.pem\n    key_file: DIR/other-key.pem",
        "FILE:6: listen[0].tls.key_file: DIR/other-key.pem cannot be used: keys may not be consistent: KeyMismatch; give a certificate chain and its own key, or authorities that are X.509 certificates",
    ),
    (
        "listen:\n- tls:\n    addr: \"0.0.0.0:4443\"\n    cert_file: DIR/no-cert.pem\n    key_file: DIR/key.pem",
        "FILE:5: listen[0].tls.cert_file: DIR/no-cert.pem cannot be used: ",
    ),
    (
        "listen: [{tls: {addr: \"0.0.0.0:4443\", cert_file: DIR/cert.pem, key_file: DIR/open-key.pem}}]",
        "FILE:2: listen[0].tls.key_file: DIR/open-key.pem has mode 0640, others may read it; chmod 600 DIR/open-key.pem",
    ),
    (
        "listen: [{unix: {path: DIR/s, mode: \"0666\"}}]",
        "FILE:2: listen[0].unix.mode: `0666` cannot be used; give permission bits that leave others out, such as `0660`",
    ),
    (
        "listen: [{unix: {path: DIR/shared/s}}]",
        "FILE:2: listen[0].unix.path: everyone may write to DIR/shared",
    ),
    (
        "admin: 0.0.0.0:4001",
        "FILE:2: admin: other machines could reach the admin listener; give a loopback address, or `admin_allow_remote: true` if that is meant",
    ),
    (
        "admin: 127.0.0.1:3000",
        "FILE:2: admin: clients are served on this address; give another one",
    ),
    (
        "admin: {listen: 0.0.0.0:4001, token_env: ETL_SECRET}",
        "FILE:2: admin.listen: other machines could reach the admin listener; give a loopback address",
    ),
    (
        "admin: {listen: \"unix:DIR/shared/admin.sock\"}",
        "FILE:2: admin.listen: everyone may write to DIR/shared",
    ),
    (
        "admin: unix:admin.sock",
        "FILE:2: admin: `unix:admin.sock` cannot be used; give `off` or an address `ip:port` or `unix:/path`, or a section of keys",
    ),
    (
        "admin: {token_env: ETL_SECRET, token_file: /a}",
        "FILE:2: admin: 2 of token_file, token_env are given; give exactly one",
    ),
    (
        "admin: {token_env: NO_SUCH}",
        "FILE:2: admin.token_env: the environment variable NO_SUCH is not set",
    ),
    (
        "admin: {token: abc}",
        "FILE:2: admin.token: not taken; secrets do not belong in this file",
    ),
    (
        "admin: [127.0.0.1:4001]",
        "FILE:2: admin: a list stands here; give `off` or an address",
    ),
    (
        "listen: [{unix: {path: DIR/a.sock}}]\nadmin: unix:DIR/a.sock",
        "FILE:3: admin: clients are served on this address; give another one",
    ),
    (
        "prices: {get_requests: -1}",
        "FILE:2: prices.get_requests: `-1` cannot be used; give an amount from 0 to 1000 such as 0.0004",
    ),
    // Pingora's part.
    (
        "pid_file: DIR/shared/s3proxy.pid",
        "FILE:2: pid_file: everyone may write to DIR/shared, and so replace the file",
    ),
    (
        "upstream_debug_ssl_keylog: true",
        "FILE:2: upstream_debug_ssl_keylog: not taken; it writes the keys of TLS sessions to a file",
    ),
    (
        "runtime_metrics_poll_time_histogram: true",
        "FILE:2: runtime_metrics_poll_time_histogram: not taken; it needs a build with",
    ),
    (
        "client_bind_to_ipv4: [\"::1\"]",
        "FILE:2: client_bind_to_ipv4[0]: `::1` cannot be used; give an IPv4 address",
    ),
    (
        "ca_file: DIR/none",
        "FILE:2: ca_file: DIR/none: No such file or directory",
    ),
    (
        "cache: {disk: 1GiB}",
        "FILE:2: cache.disk: has no effect alone; give `cache.dir` too",
    ),
    (
        "cache: {block_size: 96KiB}",
        "FILE:2: cache.block_size: is no power of two; give 16KiB, 32KiB, 64KiB, 128KiB, 256KiB, 512KiB or 1MiB",
    ),
    (
        "cache: {block_size: 8KiB}",
        "FILE:2: cache.block_size: `8KiB` cannot be used; give a size from 16KiB to 1MiB",
    ),
    (
        "cache: {mode: yes}",
        "FILE:2: cache.mode: `yes` cannot be used; give `on` or `off` or `verify`",
    ),
    (
        "cache: {rules: [{freshness: forever}]}",
        "FILE:2: cache.rules[0].freshness: `forever` cannot be used; give `immutable` or `validate` or `bypass` or a duration from 0s to 30days",
    ),
    (
        "cache: {rules: [{keys: [\"a[\"]}]}",
        "FILE:2: cache.rules[0].keys[0]: `a[` cannot be used; give a glob over keys such as `*.parquet`",
    ),
    (
        "cache: {rules: [{buckets: []}]}",
        "FILE:2: cache.rules[0].buckets: is empty, and so the rule matches nothing; give at least one",
    ),
    (
        "cache: {rules: [{prefixes: [a]}]}",
        "FILE:2: cache.rules[0].prefixes: unknown key",
    ),
    // Callers.
    ("clients: []", "FILE:2: clients: nobody may call"),
    (
        "clients:\n- {name: a, access_key_id: AKEY, secret_access_key_env: ETL_SECRET}\n- {name: a, access_key_id: BKEY, secret_access_key_env: ETL_SECRET}",
        "FILE:4: clients[1].name: the name `a` is taken by clients[0].name in line 3; give another one",
    ),
    (
        "clients:\n- {name: a, access_key_id: AKEY, secret_access_key_env: ETL_SECRET}\nweb_identity:\n  role_arn: r\n  signing_key: {access_key_id: AKEY, secret_access_key_env: ETL_SECRET}",
        "FILE:6: web_identity.signing_key.access_key_id: the access key id `AKEY` is taken by clients[0].access_key_id in line 3",
    ),
    (
        "clients: [{name: a, access_key_id: A/KEY, secret_access_key_env: ETL_SECRET}]",
        "FILE:2: clients[0].access_key_id: `A/KEY` cannot be used",
    ),
    (
        "web_identity: {allow: []}",
        "FILE:2: web_identity.role_arn: missing; give one such as `arn:aws:iam::",
    ),
];

/// Whole files, and a line of the messages.
const WHOLE: &[(&str, &str)] = &[
    (
        "",
        "FILE:1: origins: missing; give one such as `[{name: aws",
    ),
    (
        "- a",
        "FILE:1: a list stands here; give a section of keys, `key: value`",
    ),
    (
        "origins: []",
        "FILE:1: origins: there is nothing to forward to; give at least one",
    ),
    (
        "origins:\n- name: a",
        "FILE:2: origins[0].endpoint: missing; give one such as `https://s3.eu-west-1.amazonaws.com`",
    ),
    (
        "origins:\n- endpoint: s3.example.com",
        "FILE:2: origins[0].endpoint: `s3.example.com` cannot be used; give a URL `http://host[:port]` or `https://host[:port]`",
    ),
    (
        "origins:\n- endpoint: https://s3.example.com/bucket",
        "FILE:2: origins[0].endpoint: `https://s3.example.com/bucket` cannot be used",
    ),
    (
        "origins:\n- endpoint: https://10.0.0.7",
        "FILE:2: origins[0].endpoint: https to an IP address leaves no name to check the certificate against; give `server_name`",
    ),
    (
        "origins:\n- endpoint: https://10.0.0.7\n  server_name: 10.0.0.7",
        "FILE:3: origins[0].server_name: https to an IP address",
    ),
    (
        "origins:\n- endpoint: http://127.0.0.1:3000",
        "FILE:2: origins[0].endpoint: this is our own listener http://127.0.0.1:3000",
    ),
    (
        "origins:\n- endpoint: http://localhost:4000\nlisten: [{tcp: \"0.0.0.0:4000\"}]",
        "FILE:2: origins[0].endpoint: this is our own listener http://0.0.0.0:4000",
    ),
    (
        "origins:\n- endpoint: https://a.example.com\n- endpoint: https://b.example.com",
        "FILE:3: origins[1].name: the name `origin` is taken by origins[0].name in line 2; give another one",
    ),
    (
        "origins:\n- {name: a, endpoint: https://a.example.com}\n- {name: a, endpoint: https://b.example.com}",
        "FILE:3: origins[1].name: the name `a` is taken by origins[0].name in line 2",
    ),
    (
        "origins:\n- {name: a, endpoint: https://a.example.com}\n- {name: b, endpoint: https://b.example.com}",
        "FILE:1: clients: nobody may call",
    ),
    (
        "origins:\n- endpoint: https://a.example.com\n  credentials: anonymous",
        "FILE:1: clients: nobody may call",
    ),
    (
        "origins:\n- endpoint: https://a.example.com\n  credentials: env",
        "FILE:3: origins[0].credentials: the environment variable AWS_ACCESS_KEY_ID is not set",
    ),
    (
        "origins:\n- endpoint: https://a.example.com\n  credentials: magic",
        "FILE:3: origins[0].credentials: `magic` cannot be used; give `default_chain` or `env` or `anonymous` or a section with one of `static`, `profile`, `web_identity`",
    ),
    (
        "origins:\n- endpoint: https://a.example.com\n  credentials:\n    profile: a\n    web_identity: {role_arn: r, token_file: /t}",
        "FILE:3: origins[0].credentials: 2 of static, profile, web_identity are given; give exactly one",
    ),
    (
        "origins:\n- endpoint: https://a.example.com\n  timeouts: {connect: 0s}",
        "FILE:3: origins[0].timeouts.connect: `0s` cannot be used; give a duration from 1ms to 1h",
    ),
    (
        "origins:\n- endpoint: https://a.example.com\n  addressing: dns",
        "FILE:3: origins[0].addressing: `dns` cannot be used; give `path` or `virtual`",
    ),
    (
        "origins:\n- endpoint: https://a.example.com\n  ca_file: DIR/no-cert.pem",
        "FILE:3: origins[0].ca_file: DIR/no-cert.pem cannot be used: ",
    ),
    (
        "origins:\n- endpoint: https://a.example.com\n  ca_file: DIR/empty",
        "FILE:3: origins[0].ca_file: DIR/empty holds no `-----BEGIN CERTIFICATE-----`",
    ),
];

fn assert_refused(yaml: &str, expected: &str) {
    let files = Files::new();
    let said = files.findings(&files.conf(yaml)).expect_err(yaml);
    let is_said = said.lines().any(|line| line.starts_with(expected));
    assert!(
        is_said,
        "of\n{yaml}\nexpected\n{expected}\nbut this was said:\n{said}"
    );
    assert!(!said.contains("hunter2"), "a secret is quoted:\n{said}");
}

#[test]
fn each_is_refused_by_line_key_and_reason() {
    for (yaml, expected) in BEHIND_A_GOOD_ORIGIN {
        assert_refused(&format!("{ORIGIN}{yaml}\n"), expected);
    }
    for (yaml, expected) in WHOLE {
        assert_refused(yaml, expected);
    }
}

#[test]
fn everything_that_is_wrong_is_said_at_once_in_the_order_of_lines() {
    let files = Files::new();
    let yaml = "origins:\n- endpoint: nowhere\nthreads: x\nlimits:\n  requests: -1\nclients:\n- {nam: a}\n";
    let said = files.findings(&files.conf(yaml)).unwrap_err();
    let starts: Vec<_> = said
        .lines()
        .map(|line| line.splitn(4, ": ").take(2).collect::<Vec<_>>().join(" "))
        .collect();
    assert_eq!(
        starts,
        [
            "FILE:2 origins[0].endpoint",
            "FILE:3 threads",
            "FILE:5 limits.requests",
            "FILE:7 clients[0]",
            "FILE:7 clients[0].access_key_id",
            "FILE:7 clients[0].nam",
            "FILE:7 clients[0].name",
        ]
    );
}

#[test]
fn a_secret_in_the_wrong_place_is_not_quoted() {
    for key in [
        "secret_access_key_env: hunter2/hunter2",
        "secret_access_key_env: hunter2hunter2",
        "secret_access_key_file: /hunter2/hunter2",
        "secret_access_key: hunter2",
        "secret_access_key_env: ETL_SECRET, session_token: hunter2",
    ] {
        let yaml = format!("{ORIGIN}clients: [{{name: a, access_key_id: AKEY, {key}}}]\n");
        assert_refused(&yaml, "FILE:2: clients[0].s");
    }
    assert_refused(
        "origins: [{endpoint: \"https://user:hunter2@h\"}]",
        "FILE:1: origins[0].endpoint",
    );
}

#[test]
fn a_file_that_is_missing_or_huge_is_refused() {
    let files = Files::new();
    let mut args = files.conf(&format!("#{}\n", "x".repeat(2 << 20)));
    let said = files.findings(&args).unwrap_err();
    assert_eq!(
        said,
        "FILE: larger than 1048576 bytes; give a configuration file"
    );
    args.conf = Some(files.path("none.yaml"));
    let said = files.findings(&args).unwrap_err();
    assert!(
        said.starts_with("DIR/none.yaml: cannot be read: No such file"),
        "{said}"
    );
}
