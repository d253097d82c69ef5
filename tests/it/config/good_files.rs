//! Files and command lines that are accepted, and what becomes of them.

use std::os::unix::fs::MetadataExt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use s3proxy::cache::CacheMode;
use s3proxy::cache::Freshness;
use s3proxy::config::Args;
use s3proxy::config::ClientSource;
use s3proxy::config::Config;
use s3proxy::config::Environment;
use s3proxy::config::ListenConfig;
use s3proxy::s3::Principal;
use s3proxy::telemetry::AccessLogFormat;
use s3proxy::upstream::Addressing;
use s3proxy::upstream::CredentialSource;
use s3proxy::upstream::OriginIdentity;

use super::Files;

const ORIGIN: &str = "origins: [{endpoint: \"https://s3.example.com\"}]\n";

pub(crate) const EVERYTHING: &str = r#"
threads: 3
listen:
  - tcp: "0.0.0.0:4000"
  - tls: {addr: "[::]:4443", cert_file: DIR/cert.pem, key_file: DIR/key.pem}
  - unix: {path: DIR/s3proxy.sock, mode: 0600}
admin: off
origins:
  - name: minio
    endpoint: http://minio.internal:9000
    region: local
    addressing: virtual
    buckets: ["scratch-*", tmp]
    credentials: {static: {access_key_id: MKEY, secret_access_key_file: DIR/secret}}
    timeouts: {connect: 500ms}
    max_retries: 0
  - name: aws
    endpoint: https://s3.eu-west-1.amazonaws.com
    credentials: {profile: analytics}
clients:
  - name: etl
    access_key_id: ETLKEY
    secret_access_key_env: ETL_SECRET
    session_token_file: DIR/secret
    origin_identity: own
    allow: [{buckets: [scratch-1], prefixes: [raw/], actions: ["*"]}]
    deny: [{buckets: ["*"], prefixes: [raw/private/], actions: [delete]}]
anonymous:
  allow: [{buckets: [public], actions: [read]}]
web_identity:
  role_arn: arn:aws:iam::123456789012:role/analyst
  sts_endpoint: https://sts.example.com
  signing_key: {access_key_id: ANALYST, secret_access_key_env: ETL_SECRET}
base_domains: [S3.example.com]
auth: {regions: [eu-west-1], unsigned_payload: false, max_skew: 5m}
limits: {requests: 10, min_send_rate: 1KiB}
access_log: {format: json}
cache:
  mode: verify
  memory: 4GiB
  dir: DIR/cache
  disk: 1TiB
  min_free: 10
  block_size: 256KiB
  metas: 1GiB
  fill_memory: 128MiB
  fill_connections: 7
  own_verdict: 5s
  rules:
  - {buckets: [lake], keys: ["raw/*"], freshness: immutable, tail_on_head: false}
  - {buckets: [tmp-*], freshness: bypass}
  - {freshness: 5m, stale_if_error: 1h, negative: 2s, list_metas: true, tail_on_list: true}
"#;

#[test]
fn every_section_arrives() {
    let files = Files::new();
    let config = files.load(&files.conf(EVERYTHING)).unwrap();
    assert_eq!(config.server.threads, 3);
    assert_eq!(
        config.listen,
        [
            ListenConfig::Tcp("0.0.0.0:4000".parse().unwrap()),
            ListenConfig::Tls {
                addr: "[::]:4443".parse().unwrap(),
                cert: files.path("cert.pem"),
                key: files.path("key.pem"),
            },
            ListenConfig::Unix {
                path: files.path("s3proxy.sock"),
                mode: 0o600,
            },
        ]
    );
    assert_eq!(config.admin, None);
    assert!(!config.is_local_only());
    assert_eq!(config.base_domains, ["s3.example.com"]);
    assert_eq!(config.limits.requests, 10);
    assert_eq!(config.limits.min_send_rate, Some(1024));
    assert_eq!(config.access_log.format, AccessLogFormat::Json);
    assert_eq!(
        (config.cache.store.memory, config.cache.store.disk),
        (4 << 30, Some(1 << 40))
    );
    assert_eq!(config.cache.store.dir, Some(files.path("cache")));
}

#[test]
fn the_cache_arrives() {
    let files = Files::new();
    let cache = files.load(&files.conf(EVERYTHING)).unwrap().cache;
    assert_eq!(cache.mode, CacheMode::Verify);
    assert_eq!(cache.store.min_free, 10);
    assert_eq!(cache.store.block_size.bytes(), 256 << 10);
    assert_eq!((cache.metas, cache.fill_memory), (1 << 30, 128 << 20));
    assert_eq!(cache.fill_connections, 7);
    assert_eq!(cache.own_verdict, Duration::from_secs(5));
    let raw = cache.rules.rule_for("lake", "raw/a.parquet");
    assert_eq!(raw.freshness, Freshness::Immutable);
    assert!(!raw.tail_on_head && !raw.tail_on_list);
    assert_eq!(
        cache.rules.rule_for("tmp-1", "a").freshness,
        Freshness::Bypass
    );
    let rest = cache.rules.rule_for("lake", "a.parquet");
    assert_eq!(rest.freshness, Freshness::For(Duration::from_mins(5)));
    assert_eq!(rest.stale_if_error, Duration::from_hours(1));
    assert_eq!(rest.negative, Duration::from_secs(2));
    assert!(rest.tail_on_head && rest.list_metas && rest.tail_on_list);
}

#[test]
fn origins_arrive() {
    let files = Files::new();
    let config = files.load(&files.conf(EVERYTHING)).unwrap();
    let [minio, aws] = config.origins.as_slice() else {
        panic!("not two origins")
    };
    assert_eq!(minio.endpoint.authority(), "minio.internal:9000");
    assert_eq!(minio.addressing, Addressing::VirtualHosted);
    assert!(minio.buckets.is_match("scratch-9") && !minio.buckets.is_match("lake"));
    assert_eq!(minio.timeouts.connect, Duration::from_millis(500));
    assert_eq!(minio.timeouts.read, Duration::from_secs(30));
    assert_eq!(minio.max_retries, 0);
    let CredentialSource::Static(pair) = &minio.credentials else {
        panic!("not a key pair")
    };
    assert_eq!(pair.secret_access_key.expose(), "hunter2-hunter2");
    assert_eq!(aws.region, "eu-west-1");
    assert!(matches!(&aws.credentials, CredentialSource::Profile(name) if name == "analytics"));
}

#[test]
fn callers_arrive() {
    let files = Files::new();
    let config = files.load(&files.conf(EVERYTHING)).unwrap();
    let etl = Principal::Client("etl".into());
    assert_eq!(config.client_source, ClientSource::Configured);
    assert_eq!(config.auth.clients.len(), 1);
    assert!(config.auth.clients[0].credentials.session_token.is_some());
    assert_eq!(
        (
            config.rules[&etl].allow.len(),
            config.rules[&etl].deny.len()
        ),
        (1, 1)
    );
    assert_eq!(config.origin_identity[&etl], OriginIdentity::Own);
    assert_eq!(
        config.origin_identity[&Principal::Anonymous],
        OriginIdentity::Origin
    );
    assert!(config.auth.anonymous);
    assert_eq!(
        config.auth.regions.as_deref(),
        Some(&["eu-west-1".to_owned()][..])
    );
    assert_eq!(config.auth.max_skew, Duration::from_mins(5));
    assert!(!config.auth.unsigned_payload);
    let policy = config.web_identity.as_ref().unwrap();
    assert_eq!(policy.origin_identity, OriginIdentity::Own);
    assert_eq!(
        policy.sts_endpoint.as_ref().unwrap().host,
        "sts.example.com"
    );
    let tokens = config.auth.web_identity.as_ref().unwrap();
    assert!(tokens.signing_credentials.is_some());
    assert_eq!(tokens.max_entries, 10_000);
}

#[test]
fn what_is_odd_is_a_warning() {
    let files = Files::new();
    let warnings = |yaml: &str| files.findings(&files.conf(yaml)).unwrap();
    let only_lake = "origins: [{endpoint: \"https://s3.example.com\", buckets: [lake]}]\n";
    assert_eq!(
        warnings(&format!(
            "{only_lake}anonymous: {{allow: [{{buckets: [sea], actions: [read]}}]}}"
        )),
        "FILE:2: anonymous.allow[0].buckets: no origin serves the bucket `sea`"
    );
    let open = format!(
        "{ORIGIN}listen: [{{tcp: \"0.0.0.0:4000\"}}]\n\
         anonymous: {{allow: [{{buckets: [\"*\"], actions: [read]}}]}}\n"
    );
    assert_eq!(
        warnings(&open),
        "FILE:3: anonymous: anyone who reaches the listeners may use every bucket"
    );
    let two = "origins:\n- {name: a, endpoint: \"https://a.example.com\"}\n\
               - {name: b, endpoint: \"https://b.example.com\"}\n\
               anonymous: {allow: [{buckets: [lake], actions: [read]}]}\n";
    assert_eq!(
        warnings(two),
        "FILE:3: origins[1]: gets no request: origin `a` before it takes every bucket"
    );
    assert_eq!(
        warnings(&format!("{ORIGIN}user: s3proxy\n")),
        "FILE:2: user: has an effect only with `--daemon` or `daemon: true`"
    );
    for (cache, warning) in [
        (
            "{memory: 0}",
            "cache.memory: keeps no blocks: `memory` is 0 and there is no `dir`; `mode: off` says so",
        ),
        (
            "{memory: 63MiB}",
            "cache.memory: 63MiB are less than 16 segments of 64 blocks, 64MiB: little of what is \
             read will stay",
        ),
        (
            "{dir: /c, disk: 1000MiB, block_size: 1MiB}",
            "cache.disk: 1000MiB are less than 16 segments of 64 blocks, 1GiB: little of what is \
             read will stay",
        ),
        (
            "{rules: [{freshness: 1s}, {buckets: [lake]}]}",
            "cache.rules[1]: has no effect: cache.rules[0] before it is about every object",
        ),
    ] {
        assert_eq!(
            warnings(&format!("{ORIGIN}cache: {cache}\n")),
            format!("FILE:2: {warning}")
        );
    }
}

#[test]
fn without_a_file_the_only_client_is_the_holder_of_the_origins_key() {
    let args = Args {
        endpoint: Some("https://s3.eu-west-1.amazonaws.com".into()),
        ..Args::default()
    };
    let environment = Environment::fixed([("XDG_RUNTIME_DIR", "/run/user/1000")]);
    let config = Config::load_with(&args, &environment).unwrap();
    let listen: Vec<_> = config.listen.iter().map(ToString::to_string).collect();
    assert_eq!(listen, ["http://127.0.0.1:3000"]);
    let admin = config.admin.as_ref().unwrap();
    let default = ListenConfig::Tcp("127.0.0.1:3001".parse().unwrap());
    assert_eq!(admin.listen, default);
    assert!(admin.token.is_none() && admin.hosts.is_empty());
    assert!(matches!(
        config.origins[0].credentials,
        CredentialSource::DefaultChain
    ));
    assert_eq!(config.origins[0].region, "eu-west-1");
    let ClientSource::SameAsOrigin { name } = &config.client_source else {
        panic!("not the origin's key pair")
    };
    assert_eq!(
        config.rules[&Principal::Client(name.clone())].allow.len(),
        1
    );
    assert!(config.is_local_only() && !config.auth.anonymous);
    assert_eq!(config.server.pid_file, "/run/user/1000/s3proxy/s3proxy.pid");
    assert_eq!(
        config.server.upgrade_sock,
        "/run/user/1000/s3proxy/upgrade.sock"
    );
    assert!(config.warnings.is_empty());
}

#[test]
fn the_admin_listener_has_a_short_form_and_a_long_one() {
    let files = Files::new();
    let origin = ORIGIN;
    let load = |admin: &str| {
        let config = files.load(&files.conf(&format!("{origin}admin: {admin}\n")));
        config.unwrap().admin.unwrap()
    };
    let tcp = |text: &str| ListenConfig::Tcp(text.parse().unwrap());
    assert_eq!(load("127.0.0.1:4001").listen, tcp("127.0.0.1:4001"));
    let long = load("{listen: \"127.0.0.1:4001\", token_env: ETL_SECRET, hosts: [proxy.internal]}");
    assert_eq!(long.listen, tcp("127.0.0.1:4001"));
    assert!(long.token.is_some());
    assert_eq!(long.hosts, ["proxy.internal"]);
    assert!(!format!("{long:?}").contains("Secret"));
    assert_eq!(
        load("{token_file: DIR/secret}").listen,
        tcp("127.0.0.1:3001")
    );
    for (admin, mode) in [
        ("unix:DIR/admin.sock", 0o600),
        ("{listen: \"unix:DIR/admin.sock\", mode: 0660}", 0o660),
    ] {
        let ListenConfig::Unix { path, mode: found } = load(admin).listen else {
            panic!("{admin} is no socket");
        };
        assert!(path.ends_with("admin.sock"));
        assert_eq!(found, mode, "{admin}");
    }
    // The command line says where, the file keeps the rest.
    let yaml = format!("{origin}admin: {{token_env: ETL_SECRET}}\n");
    let args = Args {
        admin: Some("127.0.0.1:4002".into()),
        ..files.conf(&yaml)
    };
    let admin = files.load(&args).unwrap().admin.unwrap();
    assert_eq!(admin.listen, tcp("127.0.0.1:4002"));
    assert!(admin.token.is_some());
    let off = Args {
        admin: Some("off".into()),
        ..files.conf(&yaml)
    };
    assert_eq!(files.load(&off).unwrap().admin, None);
}

#[test]
fn prices_are_read() {
    let files = Files::new();
    let yaml = format!("{ORIGIN}prices: {{get_requests: 0.0005, transfer: 0.09}}\n");
    let prices = files.load(&files.conf(&yaml)).unwrap().prices;
    let expected = s3proxy::telemetry::Prices {
        get_requests: 0.0005,
        other_requests: 0.005,
        transfer: 0.09,
    };
    assert_eq!(prices, expected);
}

#[test]
fn flags_beat_the_file() {
    let files = Files::new();
    let yaml = "origins: [{endpoint: \"https://s3.example.com\", max_retries: 1}]\n\
                listen: [{tcp: \"0.0.0.0:4000\"}, {unix: {path: DIR/sock}}]\n\
                admin: 127.0.0.1:4001\ncache: {memory: 1GiB, dir: /a}\n";
    let args = Args {
        endpoint: Some("http://other.example.com".into()),
        port: Some(4100),
        admin: Some("off".into()),
        cache_memory: Some(bytesize_of("2GiB")),
        cache_dir: Some("/b".into()),
        ..files.conf(yaml)
    };
    let config = files.load(&args).unwrap();
    assert_eq!(
        config.listen[0],
        ListenConfig::Tcp("0.0.0.0:4100".parse().unwrap())
    );
    assert_eq!(config.listen.len(), 2);
    assert_eq!(config.admin, None);
    assert_eq!(config.origins[0].endpoint.host, "other.example.com");
    assert_eq!(config.origins[0].max_retries, 1);
    assert_eq!(config.cache.store.memory, 2 << 30);
    assert_eq!(config.cache.store.dir.as_deref(), Some(Path::new("/b")));
    assert_eq!(config.warnings.len(), 1);
}

#[test]
fn a_wrong_flag_is_named_as_such() {
    let said = |args: Args| {
        let environment = Environment::fixed([("HOME", "/nonexistent")]);
        let errors = Config::load_with(&args, &environment).err().unwrap();
        assert_eq!(errors.iter().next().unwrap().line(), None);
        errors.to_string()
    };
    let args = Args {
        endpoint: Some("s3.example.com".into()),
        ..Args::default()
    };
    assert_eq!(
        said(args.clone()),
        "command line or environment: origins[0].endpoint: `s3.example.com` cannot be used; give a \
         URL `http://host[:port]` or `https://host[:port]`"
    );
    let args = Args {
        endpoint: Some("https://s3.example.com".into()),
        admin: Some("0.0.0.0:4001".into()),
        ..args
    };
    assert!(said(args).starts_with("command line or environment: admin: other machines"));
}

#[test]
fn one_endpoint_cannot_replace_two_origins() {
    let files = Files::new();
    let args = Args {
        endpoint: Some("http://other.example.com".into()),
        ..files.conf(EVERYTHING)
    };
    let said = files.findings(&args).unwrap_err();
    assert!(
        said.starts_with("FILE:8: origins: the file has 2 origins and --endpoint"),
        "{said}"
    );
}

#[test]
fn systemd_names_the_runtime_directory() {
    let args = Args {
        endpoint: Some("https://s3.example.com".into()),
        ..Args::default()
    };
    let environment = Environment::fixed([("RUNTIME_DIRECTORY", "/run/a:/run/b"), ("HOME", "/x")]);
    let config = Config::load_with(&args, &environment).unwrap();
    assert_eq!(config.server.pid_file, "/run/a/s3proxy.pid");
    let nowhere = Config::load_with(&args, &Environment::fixed([]))
        .err()
        .unwrap();
    assert!(
        nowhere
            .to_string()
            .contains("pid_file: no private directory")
    );
}

#[test]
fn runtime_directories_are_made_for_us_alone() {
    let files = Files::new();
    let config = files.load(&files.conf(ORIGIN)).unwrap();
    let directory = files.path(".cache/s3proxy/run");
    assert!(!directory.exists());
    config.create_runtime_directories().unwrap();
    config.create_runtime_directories().unwrap();
    let mode = directory.metadata().unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o700);
}

/// systemd's credentials are root's files that the group may read. Only root can make such a file,
/// so anyone else sees the refusal.
#[test]
fn credentials_of_systemd_are_accepted() {
    let files = Files::new();
    let path = files.write("credential", "hunter2\n", 0o440);
    let cert = files.path("cert.pem");
    let key = std::fs::read_to_string(files.path("key.pem")).unwrap();
    let key = files.write("key", &key, 0o440);
    let directory = files.path("").display().to_string();
    let yaml = format!(
        "{ORIGIN}clients: [{{name: a, access_key_id: AKEY, secret_access_key_file: {}}}]\n\
         listen: [{{tls: {{addr: \"127.0.0.1:3443\", cert_file: {}, key_file: {}}}}}]\n",
        path.display(),
        cert.display(),
        key.display()
    );
    let args = files.conf(&yaml);
    let load = |variables: &[(&str, &str)]| {
        let home = [("HOME", "/nonexistent")];
        let environment = Environment::fixed(home.iter().chain(variables).copied());
        Config::load_with(&args, &environment).is_ok()
    };
    let is_roots = path.metadata().unwrap().uid() == 0;
    assert!(!load(&[]));
    assert!(!load(&[("CREDENTIALS_DIRECTORY", "/nonexistent")]));
    assert_eq!(load(&[("CREDENTIALS_DIRECTORY", &directory)]), is_roots);
}

fn bytesize_of(text: &str) -> bytesize::ByteSize {
    text.parse().unwrap()
}
