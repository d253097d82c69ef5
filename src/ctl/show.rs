//! What the admin listener tells, as people read it.

use serde_json::Value;

use super::terminal::Terminal;
use super::text::bytes;
use super::text::count;
use super::text::dollars;
use super::text::duration;
use super::text::latency;
use super::text::percent;
use super::text::string;
use super::text::times;

/// Lines of a name and what there is to say of it.
struct Lines {
    terminal: Terminal,
    text: String,
}

impl Lines {
    fn new(terminal: Terminal) -> Self {
        let text = String::new();
        Self { terminal, text }
    }

    fn head(&mut self, text: &str) {
        if !self.text.is_empty() {
            self.text.push('\n');
        }
        self.text.push_str(&self.terminal.bold(text));
        self.text.push('\n');
    }

    fn line(&mut self, name: &str, said: &str) {
        let name = self.terminal.dim(format!("{name:<16}"));
        self.text.extend(["  ", &name, " ", said, "\n"]);
    }
}

/// `status`: the page of readiness, and statistics where they could be had.
pub(super) fn status(
    terminal: Terminal,
    at: &str,
    ready: &Value,
    figures: Option<&Value>,
) -> String {
    let mut lines = Lines::new(terminal);
    let is_ready = ready["ready"] == true;
    let word = if is_ready {
        terminal.good("ready")
    } else {
        terminal.bad("not ready")
    };
    let version = figures.map_or(String::new(), |stats| {
        format!(" {}", string(&stats["version"]))
    });
    lines.head(&format!("s3proxy{version} at {at}"));
    lines.line("state", &format!("{word}, {}", string(&ready["phase"])));
    if let Some(stats) = figures {
        lines.line("up", &duration(&stats["uptime_seconds"]));
        let requests = &stats["requests"];
        let (connections, in_flight) = (
            count(&requests["connections"]),
            count(&requests["in_flight"]),
        );
        let load = format!("{connections} connections, {in_flight} requests in flight");
        lines.line("load", &load);
        lines.line(
            "hits",
            &format!("{} of reads", percent(&stats["hit_ratio"])),
        );
    }
    for origin in items(&ready["origins"]) {
        lines.line("origin", &origin_state(terminal, origin));
    }
    let cache = &ready["cache"];
    if cache.is_null() {
        lines.line("cache", "off");
        return lines.text;
    }
    lines.line("memory", &fill(terminal, &cache["memory"]));
    let disk = &cache["disk"];
    let state = string(&disk["state"]);
    match state.as_str() {
        "absent" => lines.line("disk", "none"),
        "serving" => lines.line("disk", &fill(terminal, disk)),
        _ => {
            let fault = disk
                .get("fault")
                .map_or(String::new(), |fault| format!(": {}", string(fault)));
            let state = terminal.doubtful(format!("{state}{fault}"));
            lines.line("disk", &format!("{} {state}", fill(terminal, disk)));
        }
    }
    lines.line("objects known", &count(&cache["metas"]));
    lines.text
}

fn origin_state(terminal: Terminal, origin: &Value) -> String {
    let name = string(&origin["name"]);
    let age = origin["age_secs"].as_u64();
    let age = age.map_or(String::new(), |age| format!(", asked {age} s ago"));
    let state = match origin["reachable"].as_bool() {
        Some(true) => terminal.good("reachable"),
        Some(false) => terminal.bad(format!("unreachable: {}", string(&origin["error"]))),
        None => terminal.doubtful("not asked yet"),
    };
    format!("{name}: {state}{age}")
}

fn fill(terminal: Terminal, tier: &Value) -> String {
    let (used, capacity) = (float(&tier["bytes"]), float(&tier["capacity"]));
    let bar = terminal.bar(if capacity > 0.0 { used / capacity } else { 0.0 });
    format!(
        "{bar}{} of {}",
        bytes(&tier["bytes"]),
        bytes(&tier["capacity"])
    )
}

/// `stats`.
pub(super) fn stats(terminal: Terminal, at: &str, stats: &Value) -> String {
    let mut lines = Lines::new(terminal);
    let up = duration(&stats["uptime_seconds"]);
    lines.head(&format!(
        "s3proxy {} at {at}, up {up}",
        string(&stats["version"])
    ));
    let requests = &stats["requests"];
    lines.line("requests", &count(&requests["total"]));
    lines.line("in flight", &count(&requests["in_flight"]));
    lines.line("reads by result", &pairs(&requests["reads_by_result"]));
    let ratio = |name: &str| {
        let bar = terminal.bar(stats[name].as_f64().unwrap_or_default());
        format!("{bar}{}", percent(&stats[name]))
    };
    lines.line("hits", &ratio("hit_ratio"));
    lines.line("bytes from cache", &ratio("byte_hit_ratio"));
    let first = &stats["first_byte"];
    for (name, kind) in [("first byte, hit", "hit"), ("first byte, miss", "miss")] {
        let times = ["p50", "p90", "p99"].map(|part| {
            let time = latency(&first[kind][part]);
            format!("{part} {time}")
        });
        lines.line(name, &times.join("  "));
    }
    lines.head("Saved");
    let saved = &stats["saved"];
    lines.line("requests", &count(&saved["requests"]));
    lines.line("bytes", &bytes(&saved["bytes"]));
    let waited = if float(&saved["seconds"]) < 60.0 {
        latency(&saved["seconds"])
    } else {
        duration(&saved["seconds"])
    };
    lines.line("waiting", &waited);
    let (money, spent) = (dollars(&saved["money"]), dollars(&saved["spent"]));
    lines.line("money", &format!("{money} saved, {spent} spent"));
    cache(&mut lines, stats);
    origins(&mut lines, &stats["origins"]);
    let errors = pairs(&stats["errors"]["by_code"]);
    if errors != "-" {
        lines.head("Errors");
        lines.line("by code", &terminal.bad(errors));
    }
    let head = ["requests", "hits", "errors", "bytes", "client"];
    let clients = items(&stats["clients"]).map(|client| {
        let number = |name: &str| count(&client[name]);
        let mut row = vec![number("requests"), number("hits"), number("errors")];
        row.extend([bytes(&client["bytes"]), string(&client["name"])]);
        row
    });
    let clients: Vec<_> = clients.collect();
    if !clients.is_empty() {
        lines.head("Clients");
        let table = terminal.table(&head, &clients);
        lines.text.push_str(&table);
    }
    lines.text
}

fn cache(lines: &mut Lines, stats: &Value) {
    let (terminal, cache) = (lines.terminal, &stats["cache"]);
    lines.head("Cache");
    if cache.is_null() {
        lines.line("state", "off");
        return;
    }
    for tier in ["memory", "disk"] {
        if tier == "disk" && cache["disk_state"] == "absent" {
            continue;
        }
        lines.line(tier, &fill(terminal, &cache[tier]));
        let figures = &cache[tier];
        let (evictions, evicted) = (
            count(&figures["evictions"]),
            bytes(&figures["evicted_bytes"]),
        );
        lines.line("", &format!("{evictions} evicted, {evicted}"));
    }
    lines.line("disk state", &string(&cache["disk_state"]));
    let fills = count(&cache["fills_in_flight"]);
    lines.line(
        "fills",
        &format!("{fills} in flight; so far: {}", pairs(&cache["fills"])),
    );
    let amplification = times(&stats["amplification"]);
    lines.line(
        "amplification",
        &format!("{amplification} bytes fetched for one asked"),
    );
}

fn origins(lines: &mut Lines, origins: &Value) {
    let terminal = lines.terminal;
    let head = ["requests", "bytes", "retries", "p50", "p99", "origin"];
    let rows = items(origins).map(|origin| {
        let state = if origin["reachable"] == true {
            ""
        } else {
            " (unreachable)"
        };
        vec![
            count(&origin["requests"]),
            bytes(&origin["bytes"]),
            count(&origin["retries"]),
            latency(&origin["latency"]["p50"]),
            latency(&origin["latency"]["p99"]),
            format!("{}{state}", string(&origin["name"])),
        ]
    });
    let rows: Vec<_> = rows.collect();
    lines.head("Origins");
    let table = terminal.table(&head, &rows);
    lines.text.push_str(&table);
}

/// `top`.
pub(super) fn top(terminal: Terminal, top: &Value) -> String {
    let mut lines = Lines::new(terminal);
    let since = duration(&top["since_seconds"]);
    for (kind, head) in [("objects", "Objects"), ("prefixes", "Prefixes")] {
        lines.head(&format!("{head} read most in the last {since}"));
        let rows: Vec<_> = items(&top[kind])
            .map(|row| {
                let name = format!("{}/{}", string(&row["bucket"]), string(&row["key"]));
                let number = |name: &str| count(&row[name]);
                let mut cells = vec![number("requests"), number("hits"), number("misses")];
                cells.extend([bytes(&row["bytes"]), name]);
                cells
            })
            .collect();
        let table = terminal.table(&["requests", "hits", "misses", "bytes", "key"], &rows);
        lines.text.push_str(&table);
    }
    lines.text
}

/// `explain`.
pub(super) fn explain(terminal: Terminal, told: &Value) -> String {
    let mut lines = Lines::new(terminal);
    lines.head(&format!(
        "{}/{}",
        string(&told["bucket"]),
        string(&told["key"])
    ));
    let state = string(&told["state"]);
    let state = match state.as_str() {
        "fresh" => terminal.good(state),
        _ => terminal.doubtful(state),
    };
    lines.line("state", &format!("{state}: {}", string(&told["meaning"])));
    if told["cacheable"] != true {
        let why = terminal.bad(string(&told["why_not"]));
        lines.line(
            "not cached",
            &format!("{why} (docs/cache.md explains the word)"),
        );
    }
    lines.line("origin", &string(&told["origin"]));
    if let Some(version) = told.get("version").filter(|version| !version.is_null()) {
        let (etag, size) = (string(&version["etag"]), bytes(&version["size"]));
        lines.line("version", &format!("{etag}, {size}"));
        lines.line("modified", &string(&version["last_modified"]));
    }
    lines.line("learned", &string(&told["learned"]));
    if let Some(until) = told["fresh_until"].as_str() {
        let left = duration(&told["fresh_seconds"]);
        lines.line("fresh until", &format!("{until}, for {left}"));
    } else if told["state"] == "fresh" {
        lines.line("fresh until", "for ever");
    }
    if let Some(rule) = told.get("rule").filter(|rule| !rule.is_null()) {
        let which = rule["index"].as_u64();
        let which = which.map_or("default".to_owned(), |index| {
            format!("cache.rules[{index}]")
        });
        lines.line("rule", &format!("{which}: {}", string(&rule["text"])));
        lines.line("freshness", &string(&rule["freshness"]));
    }
    blocks(&mut lines, &told["blocks"]);
    let readers: Vec<_> = items(&told["readers"])
        .map(|reader| {
            if reader["asks_origin"] == true {
                format!("{} (if the origin lets it)", string(&reader["client"]))
            } else {
                string(&reader["client"])
            }
        })
        .collect();
    let readers = if readers.is_empty() {
        "nobody".to_owned()
    } else {
        readers.join(", ")
    };
    lines.line("may be read by", &readers);
    lines.text
}

fn blocks(lines: &mut Lines, blocks: &Value) {
    let Some(all) = blocks["count"].as_u64() else {
        return;
    };
    for tier in ["memory", "disk"] {
        let held = &blocks[tier];
        let part = match all {
            0 => 0.0,
            _ => float(&held["blocks"]) / float(&blocks["count"]),
        };
        let runs: Vec<_> = items(&held["runs"]).take(8).map(run).collect();
        let more = items(&held["runs"]).count().saturating_sub(runs.len());
        let more = if more > 0 {
            format!(" and {more} more")
        } else {
            String::new()
        };
        let runs = if runs.is_empty() {
            String::new()
        } else {
            format!(": {}{more}", runs.join(" "))
        };
        let bar = lines.terminal.bar(part);
        let (number, size) = (count(&held["blocks"]), bytes(&held["bytes"]));
        let said = format!(
            "{bar}{number} of {} blocks, {size}{runs}",
            count(&blocks["count"])
        );
        lines.line(&format!("in {tier}"), &said);
    }
}

fn run(run: &Value) -> String {
    let (first, last) = (&run[0], &run[1]);
    if first == last {
        first.to_string()
    } else {
        format!("{first}-{last}")
    }
}

/// `purge`.
pub(super) fn purge(told: &Value) -> String {
    let objects = of(&told["objects"], "object");
    let segments = of(&told["segments"], "segment");
    let size = bytes(&told["bytes"]);
    format!("purged {objects}, {segments}, {size}\n")
}

/// The line of a warm that moves.
pub(super) fn warming(terminal: Terminal, told: &Value) -> String {
    let (objects, found) = (float(&told["objects"]), float(&told["found"]));
    let bar = terminal.bar(if found > 0.0 { objects / found } else { 0.0 });
    let more = if told["more"] == true { "+" } else { "" };
    let seconds = float(&told["seconds"]).max(0.001);
    let rate = Value::from(float(&told["fetched_bytes"]) / seconds);
    let rate = bytes(&Value::from(rate.as_f64().map_or(0, whole)));
    format!(
        "{bar}{} of {}{more} objects, {} fetched, {rate}/s",
        count(&told["objects"]),
        count(&told["found"]),
        bytes(&told["fetched_bytes"])
    )
}

/// What came of a warm.
pub(super) fn warmed(told: &Value) -> String {
    let number = |name: &str| told[name].as_u64().unwrap_or_default();
    let done = number("objects").saturating_sub(number("failed") + number("skipped"));
    let mut text = format!(
        "warmed {} in {:.1} s: {} fetched, {} there already",
        of(&Value::from(done), "object"),
        float(&told["seconds"]),
        bytes(&told["fetched_bytes"]),
        bytes(&told["present_bytes"])
    );
    for (name, said) in [("skipped", "not for the cache"), ("failed", "failed")] {
        if told[name].as_u64().unwrap_or_default() > 0 {
            text.extend([", ", &count(&told[name]), " ", said]);
        }
    }
    if told["more"] == true {
        text.push_str("; there are more, beyond the limit");
    }
    text + "\n"
}

/// So many of them.
fn of(number: &Value, what: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{} {what}{plural}", count(number))
}

fn items(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

/// Names and numbers, the highest first.
fn pairs(value: &Value) -> String {
    let mut pairs: Vec<_> = value
        .as_object()
        .into_iter()
        .flatten()
        .filter(|(_, number)| number.as_u64().unwrap_or_default() > 0)
        .collect();
    pairs.sort_by_key(|(_, number)| std::cmp::Reverse(number.as_u64()));
    let pairs: Vec<_> = pairs
        .into_iter()
        .map(|(name, number)| format!("{name} {}", count(number)))
        .collect();
    if pairs.is_empty() {
        "-".to_owned()
    } else {
        pairs.join(", ")
    }
}

fn float(value: &Value) -> f64 {
    value.as_f64().unwrap_or_default()
}

#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "saturates, and is shown in three digits"
)]
fn whole(value: f64) -> u64 {
    value as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_old_proxy_that_tells_less_is_shown_all_the_same() {
        let nothing = json!({});
        let plain = Terminal::plain();
        for text in [
            status(plain, "x", &nothing, Some(&nothing)),
            stats(plain, "x", &nothing),
            top(plain, &nothing),
            explain(plain, &nothing),
            purge(&nothing),
            warming(plain, &nothing),
            warmed(&nothing),
        ] {
            assert!(text.ends_with('\n') || text.contains("objects"), "{text}");
            assert!(!text.contains('\x1b'), "{text}");
        }
    }

    #[test]
    fn a_key_cannot_command_the_terminal() {
        let row = json!({"bucket": "lake", "key": "a\u{1b}[2J", "requests": 1});
        let list = json!({"objects": [row], "prefixes": []});
        assert!(!top(Terminal::plain(), &list).contains('\u{1b}'));
    }

    #[test]
    fn runs_of_blocks_are_short() {
        let blocks = json!({
            "count": 21, "block_size": 65536, "cut": false,
            "memory": {"blocks": 3, "bytes": 196_608, "runs": [[1, 2], [20, 20]]},
            "disk": {"blocks": 0, "bytes": 0, "runs": []},
        });
        let told = explain(Terminal::plain(), &json!({"blocks": blocks, "readers": []}));
        assert!(
            told.contains("3 of 21 blocks, 192.0 KiB: 1-2 20\n"),
            "{told}"
        );
        assert!(told.contains("may be read by   nobody\n"), "{told}");
    }
}
