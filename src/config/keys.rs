//! The key tables: every key of the file with its type, default and meaning. Nothing else says them.
//!
//! A row is `name: kind, Is/Absent/Required "YAML", "meaning";`, see `schema::Default`. `, Restart` or
//! `, Reload` at its end says what a change takes, of the key and of those below it that say nothing.

use std::time::Duration;

use super::schema::Change;
use super::schema::Default;
use super::schema::Key;
use super::schema::Kind;
use super::server_keys;

macro_rules! table {
    (@change) => { Change::Inherited };
    (@change $change:ident) => { Change::$change };
    ($(#[$doc:meta])* $table:ident: $($name:tt: $kind:expr, $default:ident $yaml:literal, $meaning:literal $(, $change:ident)?;)*) => {
        $(#[$doc])*
        pub(super) const $table: &[Key] = &[$(Key {
            name: stringify!($name),
            kind: $kind,
            default: Default::$default($yaml),
            meaning: $meaning,
            change: table!(@change $($change)?),
        },)*];
    };
}
pub(super) use table;

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const TIB: u64 = 1 << 40;
const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_hours(1);
const DAY: Duration = Duration::from_hours(24);
const WEEK: Duration = Duration::from_hours(7 * 24);
const MONTH: Duration = Duration::from_hours(30 * 24);
const NO_TIME: Duration = Duration::ZERO;

const NO_SECRET_HERE: &str = "secrets do not belong in this file; give the file or the environment \
                              variable that holds it (`.._file`, `.._env`)";

/// The whole file: our keys, then Pingora's.
pub(super) const ROOT: &[Key] = &concat::<{ OURS.len() + server_keys::SERVER.len() }>();

const fn concat<const N: usize>() -> [Key; N] {
    let mut all = [OURS[0]; N];
    let mut index = 0;
    while index < N {
        all[index] = if index < OURS.len() {
            OURS[index]
        } else {
            Key {
                change: Change::Restart,
                ..server_keys::SERVER[index - OURS.len()]
            }
        };
        index += 1;
    }
    all
}

table! {
    /// Our keys at the top of the file.
    OURS:
    listen: Kind::List(&Kind::OneOf(LISTEN)), Is "[{tcp: \"127.0.0.1:3000\"}]",
        "Where clients connect to; any number of listeners. `--listen` and `--port` replace the `tcp` ones.", Restart;
    admin: Kind::WordOr(&["off"], &Kind::ListenerOr(ADMIN)), Is "127.0.0.1:3001",
        "Where health, readiness, metrics, statistics, purging and warming are: an address or a Unix socket, or a section with more. Without a token, whoever reaches it may have all of it.", Restart;
    admin_allow_remote: Kind::Flag, Is "false",
        "Allows an `admin` address that other machines can reach. It is plain HTTP: give it a token, and a network that can be trusted.", Restart;
    origins: Kind::List(&Kind::Section(ORIGIN)), Required "[{name: aws, endpoint: \"https://s3.eu-west-1.amazonaws.com\"}]",
        "The S3 endpoints to forward to. The first whose `buckets` match gets the request. `--endpoint` stands for a list of one, or replaces the endpoint of the only one.";
    clients: Kind::List(&Kind::Section(CLIENT)), Absent "[{name: etl, access_key_id: ETLKEY, secret_access_key_env: ETL_SECRET}]",
        "Who may call. Without `clients`, `anonymous` and `web_identity` one client exists: whoever holds the key pair of the only origin, and it may do everything.";
    anonymous: Kind::Section(ANONYMOUS), Absent "{allow: [{buckets: [public], actions: [read]}]}",
        "What requests without credentials may do. Absent: they are refused.";
    web_identity: Kind::Section(WEB_IDENTITY), Absent "{role_arn: \"arn:aws:iam::123456789012:role/analyst\"}",
        "Takes bearer tokens and exchanges them by AssumeRoleWithWebIdentity. Absent: they are refused.";
    base_domains: Kind::List(&Kind::Host), Is "[]",
        "Domains of this proxy for virtual-hosted-style requests: with `s3.example.com`, the host `data.s3.example.com` means the bucket `data`. Empty: path-style only.";
    auth: Kind::Section(AUTH), Is "", "How strictly signatures are read.";
    limits: Kind::Section(LIMITS), Is "", "What one process and one client may take.";
    access_log: Kind::Section(ACCESS_LOG), Is "", "One line a request.", Restart;
    traces: Kind::Section(TRACES), Absent "{endpoint: \"http://127.0.0.1:4318\"}",
        "Where OpenTelemetry traces of requests go, as OTLP over HTTP. Absent: there are none, and no origin is told of a client's.", Restart;
    upgrade_timeout: Kind::Time(SECOND, HOUR), Is "1m",
        "How long the next process may take, at an upgrade, from its start until it serves; after that it is ended, and this one goes on.", Restart;
    cache: Kind::Section(CACHE), Is "", "The read cache: sizes, and how long answers hold.", Restart;
    prices: Kind::Section(PRICES), Is "",
        "What the origins charge, in US dollars, for the money that statistics show. The defaults are those of S3 Standard in us-east-1, read from within the region (https://aws.amazon.com/s3/pricing/).", Restart;
}

table! {
    /// What origins charge.
    PRICES:
    get_requests: Kind::Price, Is "0.0004", "1,000 requests that read an object: GET and HEAD.";
    other_requests: Kind::Price, Is "0.005", "1,000 other requests: PUT, COPY, POST, LIST. Deletes are free.";
    transfer: Kind::Price, Is "0", "A gigabyte (10^9 bytes) that an origin sends: 0 within its region, 0.02 to most others, 0.09 to the internet.";
}

table! {
    /// The admin listener.
    ADMIN:
    listen: Kind::Listener, Is "127.0.0.1:3001", "Address and port, or `unix:` and the path of a socket.";
    mode: Kind::Mode, Is "\"0600\"", "Permission bits of the socket. Everyone's are refused.";
    token_file: Kind::Path, Absent "/etc/s3proxy/admin-token", "File with a token that requests must bring as `Authorization: Bearer ..`, readable by the owner only; `/healthz` and `/readyz` need none. Either this or `token_env`.";
    token_env: Kind::Variable, Absent "S3PROXY_ADMIN_TOKEN", "Environment variable with the token.";
    hosts: Kind::List(&Kind::Host), Is "[]", "Names under which it may be called, beside IP addresses and `localhost`. With any other it is `421`: a web page could have made its own name lead here.";
    token: Kind::Refused(NO_SECRET_HERE), Absent "\"\"", "Refused.";
}

table! {
    /// One listener.
    LISTEN:
    tcp: Kind::Address, Alternative "127.0.0.1:3000", "Plain HTTP on this address.";
    tls: Kind::Section(LISTEN_TLS), Absent "{addr: \"0.0.0.0:3443\", cert_file: /etc/s3proxy/tls.crt, key_file: /etc/s3proxy/tls.key}", "HTTPS.";
    unix: Kind::Section(LISTEN_UNIX), Absent "{path: /run/s3proxy/s3proxy.sock}", "Plain HTTP over a Unix socket.";
}

table! {
    /// An HTTPS listener.
    LISTEN_TLS:
    addr: Kind::Address, Required "0.0.0.0:3443", "Address and port.";
    cert_file: Kind::Path, Required "/etc/s3proxy/tls.crt", "Certificate chain (PEM), the own certificate first.", Reload;
    key_file: Kind::Path, Required "/etc/s3proxy/tls.key", "Its private key (PEM), readable by the owner only.", Reload;
}

table! {
    /// A Unix socket.
    LISTEN_UNIX:
    path: Kind::Path, Required "/run/s3proxy/s3proxy.sock", "Where the socket appears.";
    mode: Kind::Mode, Is "\"0660\"", "Its permission bits. Everyone's are refused: whoever may connect may try keys.";
}

table! {
    /// One origin.
    ORIGIN:
    name: Kind::Name, Is "origin", "Its name in logs and metrics; needed as soon as there are two.";
    endpoint: Kind::Endpoint, Required "https://s3.eu-west-1.amazonaws.com", "Scheme, host and port.", Restart;
    region: Kind::Name, Absent "eu-west-1",
        "Region that requests are signed for. Absent: the one in an AWS endpoint's host, else AWS_REGION, else AWS_DEFAULT_REGION, else us-east-1.";
    addressing: Kind::Word(&["path", "virtual"]), Is "path",
        "Where the bucket is written in requests to it: `https://host/bucket/key` or `https://bucket.host/key`.";
    ca_file: Kind::Path, Absent "/etc/s3proxy/origin-ca.pem", "Certificate authorities (PEM) to trust instead of the system's.";
    server_name: Kind::Host, Absent "s3.internal", "Name that its certificate must carry when it is not the endpoint's host; required for https to an IP address.";
    credentials: Kind::WordOr(&["default_chain", "env", "anonymous"], &Kind::OneOf(CREDENTIALS)), Is "default_chain",
        "Whose name requests are signed in. `default_chain`: environment, profile, web identity, container, instance metadata, as AWS SDKs do. `env`: AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN. `anonymous`: requests go out unsigned.";
    buckets: Kind::List(&Kind::Buckets), Is "[\"*\"]", "Buckets it serves, as globs.";
    trailing_checksums: Kind::Flag, Is "true",
        "Whether uploads with trailing checksums are forwarded as such; when not, the checksum is verified here and the body goes out plain.";
    timeouts: Kind::Section(TIMEOUTS), Is "", "Bounds on one exchange.";
    max_retries: Kind::Whole(0, 10), Is "2", "Retries of reads after the first attempt; SDK clients retry on top of it.";
    idle_timeout: Kind::Time(SECOND, HOUR), Is "15s",
        "How long a connection to it may idle; longer, and the other side closes it first, perhaps under a request.";
}

table! {
    /// Where an origin's credentials come from, when it takes more than a word.
    CREDENTIALS:
    static: Kind::Section(KEY_PAIR), Absent "{access_key_id: ORIGINKEY, secret_access_key_env: ORIGIN_SECRET}", "A fixed key pair.";
    profile: Kind::Text, Absent "analytics", "A profile of the AWS configuration files.";
    web_identity: Kind::Section(TOKEN_FILE), Absent "{role_arn: \"arn:aws:iam::123456789012:role/s3proxy\", token_file: /var/run/secrets/token}",
        "A token file that is exchanged at the security token service, as on Kubernetes.";
}

table! {
    /// A key pair.
    KEY_PAIR:
    access_key_id: Kind::AccessKey, Required "EXAMPLEKEY", "Public half.";
    secret_access_key_file: Kind::Path, Absent "/etc/s3proxy/secret", "File with the secret half, readable by the owner only. Either this or `secret_access_key_env`.";
    secret_access_key_env: Kind::Variable, Alternative "EXAMPLE_SECRET", "Environment variable with the secret half.";
    session_token_file: Kind::Path, Absent "/etc/s3proxy/token", "File with the session token of temporary credentials.";
    session_token_env: Kind::Variable, Absent "EXAMPLE_TOKEN", "Environment variable with the session token.";
    secret_access_key: Kind::Refused(NO_SECRET_HERE), Absent "\"\"", "Refused.";
    session_token: Kind::Refused(NO_SECRET_HERE), Absent "\"\"", "Refused.";
}

table! {
    /// A token on disk.
    TOKEN_FILE:
    role_arn: Kind::Text, Required "arn:aws:iam::123456789012:role/s3proxy", "Role to assume.";
    token_file: Kind::Path, Required "/var/run/secrets/token", "File with the token; read again at each exchange.";
    session_name: Kind::Name, Is "s3proxy", "Name of the session in the origin's logs.";
}

table! {
    /// Bounds on one exchange with an origin.
    TIMEOUTS:
    connect: Kind::Time(MS, HOUR), Is "3s", "TCP and TLS together; a lost SYN is sent again after 1 s, so two may be lost.";
    read: Kind::Time(MS, HOUR), Is "30s", "The longest silence of the origin; CompleteMultipartUpload sends spaces while it works, everything else answers sooner.";
    write: Kind::Time(MS, HOUR), Is "30s", "The longest time that one write may wait.";
    total: Kind::Time(SECOND, DAY), Is "1h", "The whole exchange, body included: 5 GiB, the largest part, at 1.5 MB/s.";
}

table! {
    /// One client.
    CLIENT:
    name: Kind::Name, Required "etl", "Its name in logs and metrics.";
    access_key_id: Kind::AccessKey, Required "ETLKEY", "What it signs with, public half.";
    secret_access_key_file: Kind::Path, Absent "/etc/s3proxy/etl-secret", "File with the secret half, readable by the owner only. Either this or `secret_access_key_env`.";
    secret_access_key_env: Kind::Variable, Alternative "ETL_SECRET", "Environment variable with the secret half.";
    session_token_file: Kind::Path, Absent "/etc/s3proxy/etl-token", "File with the session token that it has to send.";
    session_token_env: Kind::Variable, Absent "ETL_TOKEN", "Environment variable with the session token that it has to send.";
    secret_access_key: Kind::Refused(NO_SECRET_HERE), Absent "\"\"", "Refused.";
    session_token: Kind::Refused(NO_SECRET_HERE), Absent "\"\"", "Refused.";
    origin_identity: Kind::Word(&["origin", "own"]), Is "origin",
        "In whose name its requests reach the origin: `origin`, the origin's credentials, so that these rules decide alone; `own`, its own key pair, so that the origin judges it too.";
    allow: Kind::List(&Kind::Section(RULE)), Is "[]", "A request needs one of these rules; none at all allows nothing.";
    deny: Kind::List(&Kind::Section(RULE)), Is "[]", "A request must match none of these; deny beats allow.";
}

table! {
    /// One rule.
    RULE:
    buckets: Kind::List(&Kind::Buckets), Required "[\"lake-*\"]", "Buckets it is about, as globs.";
    prefixes: Kind::List(&Kind::Prefix), Is "[]", "Beginnings of keys it is about, as globs in which `*` matches `/` too. Empty: every key.";
    actions: Kind::List(&Kind::Word(&["read", "list", "write", "delete", "*"])), Required "[read, list]",
        "What it is about. `*` is everything: all four, all grants, and sub-resources unknown to this proxy.";
    grants: Kind::List(&Kind::Word(&["versions", "tagging", "acl", "retention", "bucket-config"])), Is "[]",
        "Rights beyond plain objects, which `actions` alone do not give. `bucket-config` with `write` is an administrator's right: replication, logging and the like can name other buckets.";
}

table! {
    /// Requests without credentials.
    ANONYMOUS:
    allow: Kind::List(&Kind::Section(RULE)), Is "[]", "As for clients.";
    deny: Kind::List(&Kind::Section(RULE)), Is "[]", "As for clients.";
}

table! {
    /// Bearer tokens.
    WEB_IDENTITY:
    role_arn: Kind::Text, Required "arn:aws:iam::123456789012:role/analyst", "Role to assume.";
    session_name: Kind::Name, Is "s3proxy", "Beginning of the session's name in the origin's logs.";
    duration: Kind::Time(Duration::from_mins(15), Duration::from_hours(12)), Absent "1h", "Lifetime to ask for. Absent: the service's own default.";
    sts_endpoint: Kind::Endpoint, Absent "https://sts.eu-west-1.amazonaws.com", "The security token service. Absent: the first origin.";
    origin_identity: Kind::Word(&["own", "origin"]), Is "own", "As for clients; `own` are the credentials that the token was exchanged for.";
    signing_key: Kind::Section(KEY_PAIR), Absent "{access_key_id: ANALYST, secret_access_key_env: ANALYST_SECRET}",
        "Key pair for clients that can only sign: they send the token as session token. Absent: only `Authorization: Bearer`.";
    allow: Kind::List(&Kind::Section(RULE)), Is "[]", "As for clients; for every holder of an accepted token.";
    deny: Kind::List(&Kind::Section(RULE)), Is "[]", "As for clients.";
    refresh_before: Kind::Time(SECOND, HOUR), Is "5m", "How long before their expiry credentials are replaced.";
    max_entries: Kind::Whole(1, 1_000_000), Is "10000", "Tokens remembered at once; a few KiB each.";
}

table! {
    /// How strictly signatures are read.
    AUTH:
    regions: Kind::WordOr(&["any"], &Kind::List(&Kind::Name)), Is "any", "Regions that clients may sign for.";
    unsigned_payload: Kind::Flag, Is "true", "Takes bodies whose hash is not signed, as most SDKs send over HTTPS.";
    max_skew: Kind::Time(SECOND, DAY), Is "15m", "How far a request's date may be from this machine's clock; 15 minutes is what S3 allows.";
}

table! {
    /// Bounds on clients.
    LIMITS:
    connections: Kind::Whole(1, 1_000_000), Is "4096", "Client connections open at once; each takes about 64 KiB, so 256 MiB in all.";
    requests: Kind::Whole(1, 1_000_000), Is "2048", "Requests served at once; above it clients are told to slow down.";
    requests_per_client: Kind::Whole(1, 1_000_000), Is "1024", "The same for one client: half, so that no client shuts out the others.";
    header_bytes: Kind::Size(4 * KIB, MIB), Is "64KiB", "Largest request head; S3 takes 8 KiB, and tokens come on top.";
    xml_body_bytes: Kind::Size(64 * KIB, 64 * MIB), Is "4MiB", "Largest body that is read whole, the XML of DeleteObjects and the like; 1000 keys of 1024 bytes are 1 MiB before escaping.";
    header_timeout: Kind::Time(SECOND, HOUR), Is "10s", "From the first byte of a request head to its last; one round trip would do.";
    read_timeout: Kind::Time(SECOND, HOUR), Is "30s", "The longest silence of a client that is sending a body.";
    body_timeout: Kind::Time(SECOND, DAY), Is "1h", "The longest time that a whole body may take: 5 GiB, the largest part, at 1.5 MB/s.";
    write_timeout: Kind::Time(SECOND, HOUR), Is "60s", "The longest time that one write to a client may wait; engines pause reading while they compute.";
    min_send_rate: Kind::WordOr(&["off"], &Kind::Size(1, MIB)), Is "off", "Bytes a second below which a reading client is cut off. Off: engines pause for long, and `write_timeout` bounds it.";
    keepalive_timeout: Kind::Time(SECOND, HOUR), Is "60s", "How long a connection may idle between two requests; engines come back within seconds.";
    drain_timeout: Kind::Time(MS, HOUR), Is "5s", "How long the rest of a refused upload is read, so that the client sees the answer.";
}

table! {
    /// One line a request.
    ACCESS_LOG:
    format: Kind::Word(&["text", "json", "off"]), Is "text", "How a line is written.";
    to: Kind::WordOr(&["stdout", "journald"], &Kind::Path), Is "stdout",
        "Where lines go: standard output, systemd's journal with a field for each part of a line, or a file, which is made with mode 0640 and opened anew at SIGUSR1.";
}

table! {
    /// Traces.
    TRACES:
    endpoint: Kind::Endpoint, Required "http://127.0.0.1:4318", "The collector. Spans are posted to `/v1/traces` there.";
    sample_ratio: Kind::Ratio, Is "0.01", "The share of traces recorded, of those that begin here. Of a request with a valid `traceparent` that field decides.";
    token_file: Kind::Path, Absent "/etc/s3proxy/traces-token", "File with a token for the collector, sent as `Authorization: Bearer ..`, readable by the owner only. Either this or `token_env`.";
    token_env: Kind::Variable, Absent "S3PROXY_TRACES_TOKEN", "Environment variable with the token.";
    timeout: Kind::Time(MS, Duration::from_mins(1)), Is "10s", "The longest time that the collector may take for one batch.";
    token: Kind::Refused(NO_SECRET_HERE), Absent "\"\"", "Refused.";
}

table! {
    /// The read cache.
    CACHE:
    mode: Kind::Word(&["on", "off", "verify"]), Is "on",
        "`on` answers reads. `off` forwards every request. `verify` forwards every request too, compares the answer with what the cache would have said, and counts the differences.";
    memory: Kind::Size(0, 64 * TIB), Is "1GiB", "Memory for blocks; `--cache-memory`. 0 switches it off.";
    disk: Kind::Size(0, 1024 * TIB), Absent "100GiB", "Disk for blocks, only with `dir`; `--cache-disk`. Absent: chosen from the free space there.";
    dir: Kind::Path, Absent "/var/cache/s3proxy", "Directory of the disk tier, of this process and the one that replaces it alone; `--cache-dir`. Absent: memory only.";
    min_free: Kind::Whole(0, 90), Is "5", "What the disk tier leaves free of its file system, in percent.";
    block_size: Kind::Size(16 * KIB, MIB), Is "64KiB",
        "What is fetched and kept as a whole; a power of two. A column chunk of 85 KB costs 1.7 times its bytes with 64KiB, 12.7 times with 1MiB.";
    metas: Kind::Size(MIB, TIB), Is "64MiB", "Memory for what is known of objects, about 1 KiB each.";
    fill_memory: Kind::Size(8 * MIB, TIB), Is "64MiB", "Memory for bytes on their way from origins to clients and into the cache; one fetch is at most 8 MiB.";
    fill_connections: Kind::Whole(1, 10_000), Is "64", "Fetches at once; S3 gives about 80 MB/s each, so 5 GB/s in all.";
    own_verdict: Kind::Time(NO_TIME, HOUR), Is "60s",
        "How long an origin's permission holds for a client with `origin_identity: own`, per object. 0s asks each time.";
    rules: Kind::List(&Kind::Section(CACHE_RULE)), Is "[]",
        "How long answers hold. The first rule that matches an object counts; where none does, the defaults of its keys hold.", Reload;
}

table! {
    /// One rule of the cache.
    CACHE_RULE:
    buckets: Kind::List(&Kind::Buckets), Is "[\"*\"]", "Buckets it is about, as globs.";
    keys: Kind::List(&Kind::Keys), Is "[]",
        "Keys it is about, as globs in which `*` matches `/` too. Empty: every key; the pointers of table formats, such as `_last_checkpoint` and `version-hint.text`, are validated all the same, unless a glob ends with their name.";
    freshness: Kind::WordOr(&["immutable", "validate", "bypass"], &Kind::Time(NO_TIME, MONTH)), Is "60s",
        "How long an object is read without asking the origin whether it changed; a write through this proxy ends it at once. `immutable` never asks, `validate` asks at each read, `bypass` keeps nothing.";
    stale_if_error: Kind::Time(NO_TIME, WEEK), Is "0s", "How much longer an object is read while the origin fails or cannot be reached.";
    negative: Kind::Time(NO_TIME, HOUR), Is "0s", "How long a missing object is taken for missing without asking.";
    tail_on_head: Kind::Flag, Absent "true",
        "Fetches the last 512 KiB of an unknown object where a client asks for its head: most readers want them next. Absent: for `*.parquet`, `*.orc`, `*.arrow`, `*.feather`, `*.lance`.";
    list_metas: Kind::Flag, Is "false",
        "Answers HEAD from lists of objects, too. They have size, ETag and date, but neither `Content-Type` nor metadata.";
    tail_on_list: Kind::Flag, Is "false",
        "Fetches, when a client lists them, the last 512 KiB of those unknown objects for which `tail_on_head` holds and which the client may read: for jobs that list and then read what they listed.";
}
