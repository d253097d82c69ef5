//! From the command line, the environment and the file to a checked `Config`.

use std::collections::HashMap;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use super::Config;
use super::Handover;
use super::args::Args;
use super::cache;
use super::clients;
use super::conflict::Conflict;
use super::environment::Environment;
use super::error::ConfigErrors;
use super::error::Findings;
use super::error::Place;
use super::error::Problem;
use super::files;
use super::keys::ROOT;
use super::listen;
use super::origins;
use super::overrides;
use super::reload::Written;
use super::schema;
use super::section::Section;
use super::server_keys;
use super::traces;
use super::yaml;
use super::yaml::Node;
use crate::proxy::Limits;
use crate::telemetry::AccessLogConfig;
use crate::telemetry::AccessLogFormat;
use crate::telemetry::AccessLogTo;
use crate::telemetry::Prices;

/// Hundreds of clients fit in a tenth of it.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// Reads and checks everything; what is wrong is reported together.
pub(super) fn load(args: &Args, environment: &Environment) -> Result<Config, ConfigErrors> {
    let (tree, findings) = tree(args)?;
    read(args.conf.as_deref(), tree, environment, findings)
}

/// Reads and checks a tree that another one was made of.
pub(super) fn from_tree(
    file: Option<&Path>,
    tree: Node,
    environment: &Environment,
) -> Result<Config, ConfigErrors> {
    let mut findings = Findings::new(file);
    schema::check(ROOT, &tree, &mut findings);
    read(file, tree, environment, findings)
}

/// Reads a tree that is checked for its keys.
fn read(
    file: Option<&Path>,
    tree: Node,
    environment: &Environment,
    mut findings: Findings,
) -> Result<Config, ConfigErrors> {
    let root = Section::root(ROOT, &tree);
    if file.is_some_and(files::is_writable_by_all) {
        findings.warn(root.here(), "everyone may write to this file");
    }
    let listeners = listen::read(&root, environment, &mut findings);
    let origins = origins::read(&root, environment, &mut findings);
    let clients = clients::read(&root, &origins, environment, &mut findings);
    listen::check_reach(&root, &listeners.clients, &mut findings);
    let server = server_keys::server_conf(&root, environment, &mut findings);
    let cache = cache::read(&root, &mut findings);
    let (base_domains, limits) = (base_domains(&root, &mut findings), limits(&root));
    let access_log = access_log(&root, &mut findings);
    let traces = traces::read(&root, environment, &mut findings);
    let (warnings, contents) = findings.into_result()?;
    Ok(Config {
        listen: listeners.clients,
        admin: listeners.admin,
        server,
        upgrade_timeout: root.duration("upgrade_timeout"),
        origins,
        auth: clients.auth,
        client_source: clients.source,
        rules: clients.rules,
        origin_identity: clients.origin_identity,
        web_identity: clients.web_identity,
        base_domains,
        limits,
        access_log,
        traces,
        cache,
        prices: prices(&root),
        warnings,
        written: Written::new(tree, contents),
    })
}

/// Reads and checks what asking for an upgrade takes, and nothing else: whoever asks may have no right
/// to read the secrets, as systemd's `ExecReload=` has none to read the service's credentials.
pub(super) fn load_handover(
    args: &Args,
    environment: &Environment,
) -> Result<Handover, ConfigErrors> {
    let (tree, mut findings) = tree(args)?;
    let root = Section::root(ROOT, &tree);
    let server = server_keys::server_conf(&root, environment, &mut findings);
    let handover = Handover {
        upgrade_sock: server.upgrade_sock,
        upgrade_timeout: root.duration("upgrade_timeout"),
    };
    findings.into_result().map(|_| handover)
}

/// The file with the command line over it, every key of it one that there is.
fn tree(args: &Args) -> Result<(Node, Findings), ConfigErrors> {
    let file = args.conf.as_deref();
    let mut findings = Findings::new(file);
    let mut tree = match file.map_or_else(|| Ok(yaml::nothing()), read_file) {
        Ok(tree) => tree,
        Err((line, problem)) => {
            let key = String::new();
            findings.error(Place { line, key }, problem);
            return Err(findings.into_errors());
        }
    };
    overrides::apply(args, &mut tree, &mut findings);
    schema::check(ROOT, &tree, &mut findings);
    Ok((tree, findings))
}

fn read_file(path: &Path) -> Result<Node, (usize, Problem)> {
    let mut text = String::new();
    File::open(path)
        .and_then(|file| file.take(MAX_FILE_BYTES + 1).read_to_string(&mut text))
        .map_err(|error| (0, Problem::Unreadable(error)))?;
    if text.len() as u64 > MAX_FILE_BYTES {
        let limit = MAX_FILE_BYTES;
        return Err((0, Problem::TooLarge { limit }));
    }
    yaml::parse(&text).map_err(|error| (error.line, Problem::Yaml(error)))
}

fn base_domains(root: &Section<'_>, findings: &mut Findings) -> Vec<String> {
    let mut seen = HashMap::new();
    let domains = root.texts("base_domains");
    let domains: Vec<_> = domains
        .iter()
        .map(|domain| domain.to_ascii_lowercase())
        .collect();
    for domain in &domains {
        let place = root.place("base_domains");
        clients::unique(&mut seen, "the domain", domain, place, findings);
    }
    domains
}

fn limits(root: &Section<'_>) -> Limits {
    let limits = root.section("limits");
    Limits {
        connections: limits.count("connections"),
        requests: limits.count("requests"),
        requests_per_client: limits.count("requests_per_client"),
        header_bytes: limits.memory("header_bytes"),
        xml_body_bytes: limits.memory("xml_body_bytes"),
        header_timeout: limits.duration("header_timeout"),
        read_timeout: limits.duration("read_timeout"),
        body_timeout: limits.duration("body_timeout"),
        write_timeout: limits.duration("write_timeout"),
        min_send_rate: limits.maybe_memory("min_send_rate"),
        keepalive_timeout: limits.duration("keepalive_timeout"),
        drain_timeout: limits.duration("drain_timeout"),
    }
}

fn prices(root: &Section<'_>) -> Prices {
    let prices = root.section("prices");
    Prices {
        get_requests: prices.price("get_requests"),
        other_requests: prices.price("other_requests"),
        transfer: prices.price("transfer"),
    }
}

fn access_log(root: &Section<'_>, findings: &mut Findings) -> AccessLogConfig {
    let section = root.section("access_log");
    let format = match section.text("format").as_str() {
        "json" => AccessLogFormat::Json,
        "off" => AccessLogFormat::Off,
        _ => AccessLogFormat::Text,
    };
    let to = match section.text("to").as_str() {
        "journald" => AccessLogTo::Journal,
        path if path.starts_with('/') => AccessLogTo::File(path.into()),
        _ => AccessLogTo::Stdout,
    };
    if format != AccessLogFormat::Off
        && let Err(error) = to.check()
    {
        let conflict = match &to {
            AccessLogTo::File(path) => Conflict::LogFile(path.clone(), error),
            AccessLogTo::Journal | AccessLogTo::Stdout => Conflict::NoJournal(error),
        };
        findings.error(section.place("to"), conflict);
    }
    AccessLogConfig {
        to,
        format,
        ..AccessLogConfig::default()
    }
}
