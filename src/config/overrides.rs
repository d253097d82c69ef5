//! What the command line and the environment say, written over what the file says.
//!
//! They become nodes of the file's tree with line 0, so that every check sees one tree.

use std::net::SocketAddr;
use std::path::absolute;

use super::args::Args;
use super::conflict::Conflict;
use super::error::Findings;
use super::error::Place;
use super::keys::ROOT;
use super::schema::Default;
use super::values;
use super::yaml;
use super::yaml::Entry;
use super::yaml::Node;
use super::yaml::Value;

/// Writes flags and environment variables over the tree.
pub(super) fn apply(args: &Args, root: &mut Node, findings: &mut Findings) {
    let Value::Section(entries) = &mut root.value else {
        return;
    };
    if let Some(url) = &args.endpoint {
        endpoint(url, entries, findings);
    }
    if args.listen.is_some() || args.port.is_some() {
        listen(args, entries, findings);
    }
    if let Some(admin) = &args.admin {
        admin_at(admin, entries);
    }
    let cache_dir = args.cache_dir.as_ref().map(|dir| {
        let dir = absolute(dir).unwrap_or_else(|_| dir.clone());
        dir.to_string_lossy().into_owned()
    });
    let size = |size: Option<bytesize::ByteSize>| size.map(|size| format!("{}B", size.as_u64()));
    let values = [
        ("dir", cache_dir),
        ("memory", size(args.cache_memory)),
        ("disk", size(args.cache_disk)),
    ];
    for (key, value) in values {
        if let (Some(value), Some(cache)) = (value, section(entries, "cache")) {
            set(cache, key, scalar(&value));
        }
    }
}

/// Stands for a list of one origin, or replaces the endpoint of the only one.
fn endpoint(url: &str, entries: &mut Vec<Entry>, findings: &mut Findings) {
    let Some(at) = entries.iter().position(|entry| entry.key == "origins") else {
        let origin = Value::Section(vec![entry("endpoint", scalar(url))]);
        set(entries, "origins", node(Value::List(vec![node(origin)])));
        return;
    };
    let line = entries[at].line;
    match &mut entries[at].node.value {
        Value::List(origins) if origins.len() == 1 => {
            if let Value::Section(origin) = &mut origins[0].value {
                set(origin, "endpoint", scalar(url));
            }
        }
        Value::List(origins) => {
            let origins = origins.len();
            let key = "origins".to_owned();
            findings.error(Place { line, key }, Conflict::WhichOrigin { origins });
        }
        Value::Scalar { .. } | Value::Section(_) => {}
    }
}

/// Replaces where the admin listener is. What else its section says stays.
fn admin_at(admin: &str, entries: &mut Vec<Entry>) {
    let given = entries.iter_mut().find(|entry| entry.key == "admin");
    match given.map(|entry| &mut entry.node.value) {
        Some(Value::Section(keys)) if admin != "off" => set(keys, "listen", scalar(admin)),
        _ => set(entries, "admin", scalar(admin)),
    }
}

/// Replaces the `tcp` listeners. What is not given comes from the first of them, else from the
/// default; listeners of other kinds stay.
fn listen(args: &Args, entries: &mut Vec<Entry>, findings: &mut Findings) {
    let default = default_listen();
    let given = entries.iter().find(|entry| entry.key == "listen");
    let line = given.map(|entry| entry.line);
    let mut listeners = match given.map(|entry| &entry.node.value) {
        Some(Value::List(listeners)) => listeners.clone(),
        // Noted by the checks.
        Some(Value::Scalar { .. } | Value::Section(_)) => return,
        None => Vec::new(),
    };
    let before = listeners.len();
    let first = listeners.iter().chain(&default).find_map(tcp_address);
    listeners.retain(|listener| !is_tcp(listener));
    let Some(first) = first else {
        return;
    };
    if let Some(line) = line.filter(|_| listeners.len() < before) {
        let key = "listen".to_owned();
        let text = "its `tcp` listeners are replaced by --listen and --port, or LISTEN and PORT";
        findings.warn(&Place { line, key }, text);
    }
    let ip = args.listen.unwrap_or(first.ip());
    let addr = SocketAddr::new(ip, args.port.unwrap_or(first.port()));
    let tcp = Value::Section(vec![entry("tcp", scalar(&addr.to_string()))]);
    listeners.insert(0, node(tcp));
    set(entries, "listen", node(Value::List(listeners)));
}

fn default_listen() -> Vec<Node> {
    let text = ROOT.iter().find_map(|key| match key.default {
        Default::Is(text) if key.name == "listen" => Some(text),
        _ => None,
    });
    match text
        .and_then(|text| yaml::parse(text).ok())
        .map(|node| node.value)
    {
        Some(Value::List(listeners)) => listeners,
        _ => Vec::new(),
    }
}

fn is_tcp(listener: &Node) -> bool {
    matches!(&listener.value, Value::Section(keys) if keys.iter().any(|entry| entry.key == "tcp"))
}

fn tcp_address(listener: &Node) -> Option<SocketAddr> {
    let Value::Section(keys) = &listener.value else {
        return None;
    };
    let tcp = keys.iter().find(|entry| entry.key == "tcp")?;
    values::address(tcp.node.text()?)
}

/// The entries of a section, which is made when absent; `None` when something else stands there.
fn section<'a>(entries: &'a mut Vec<Entry>, key: &str) -> Option<&'a mut Vec<Entry>> {
    if !entries.iter().any(|entry| entry.key == key) {
        entries.push(entry(key, node(Value::Section(Vec::new()))));
    }
    let entry = entries.iter_mut().find(|entry| entry.key == key)?;
    match &mut entry.node.value {
        Value::Section(entries) => Some(entries),
        Value::Scalar { .. } | Value::List(_) => None,
    }
}

fn set(entries: &mut Vec<Entry>, key: &str, value: Node) {
    entries.retain(|entry| entry.key != key);
    entries.push(entry(key, value));
}

fn entry(key: &str, node: Node) -> Entry {
    let key = key.to_owned();
    let line = 0;
    Entry { key, line, node }
}

fn scalar(text: &str) -> Node {
    node(Value::Scalar {
        text: text.to_owned(),
        is_plain: false,
    })
}

fn node(value: Value) -> Node {
    Node { line: 0, value }
}
