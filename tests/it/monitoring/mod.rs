//! What is shipped to watch s3proxy with, the Grafana dashboard and the Prometheus alert rules, asks for metrics that
//! exist, in a way that means something; and the documents tell of it.

mod meaning;
mod promql;
mod yaml;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use s3proxy::telemetry::TABLE;
use serde_json::Value;

use meaning::Checked;
use meaning::check;
use meaning::check_label_values;

const DASHBOARD: &str = "conf/grafana/s3proxy.json";
const ALERTS: &str = "conf/prometheus/alerts.yaml";
const OPERATIONS: &str = "docs/operations.md";

/// Metrics that the dashboard does not show, and why.
const NOT_SHOWN: &[(&str, &str)] = &[
    (
        "s3proxy_cache_served_blocks_total",
        "bytes by tier say the same in a unit that people know",
    ),
    (
        "s3proxy_fast_path_requests_total",
        "how a hit was answered is nobody's concern but a developer's",
    ),
    (
        "process_threads",
        "it follows from the configuration and hardly changes",
    ),
];

/// Grafana's names of units that stand in the dashboard; an unknown one is shown as it is, without a word.
const UNITS: &[&str] = &[
    "Bps",
    "bytes",
    "none",
    "ops",
    "percentunit",
    "reqps",
    "s",
    "short",
    "suffix:x",
];

fn read(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    let text = value[key].as_str().unwrap_or_default();
    assert!(!text.is_empty(), "no {key} in {value}");
    text
}

fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    let list = value[key].as_array();
    list.unwrap_or_else(|| panic!("no list {key} in {value}"))
}

/// What is checked, or a failed test that says where and what is wrong.
fn good(place: &str, expr: &str, checked: Result<Checked, String>) -> Checked {
    checked.unwrap_or_else(|wrong| panic!("{place}: {wrong}\n{expr}"))
}

/// The names behind every `before` in a template.
fn names_behind<'a>(template: &'a str, before: &str) -> Vec<&'a str> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let rests = template.split(before).skip(1);
    rests
        .filter_map(|rest| rest.split(|c| !is_name(c)).next())
        .collect()
}

fn assert_labels(place: &str, checked: &Checked, names: &[&str]) {
    let labels = checked.labels.clone().unwrap_or_default();
    for name in names {
        assert!(labels.contains(*name), "{place}: {name} is no label of it");
    }
}

fn dashboard() -> Value {
    serde_json::from_str(&read(DASHBOARD)).unwrap()
}

/// The panels that show something.
fn panels(dashboard: &Value) -> impl Iterator<Item = &Value> {
    let panels = list(dashboard, "panels").iter();
    panels.filter(|panel| panel["type"] != "row")
}

/// Every instance can be looked at alone, and other programs have `process_..` metrics, too.
fn assert_follows_variables(place: &str, checked: &Checked) {
    for selector in &checked.selectors {
        for label in ["job", "instance"] {
            let value = format!("${label}");
            let follows = selector
                .matchers
                .iter()
                .any(|m| m.label == label && m.operator == "=~" && m.value == value);
            assert!(follows, "{place}: {} for every {label}", selector.name);
        }
    }
}

#[test]
fn the_dashboard_asks_for_metrics_that_exist() {
    let dashboard = dashboard();
    for panel in panels(&dashboard) {
        let title = text(panel, "title");
        assert!(!list(panel, "targets").is_empty(), "{title}");
        for target in list(panel, "targets") {
            let expr = text(target, "expr");
            let checked = good(title, expr, check(expr));
            assert_follows_variables(title, &checked);
            let legend = text(target, "legendFormat");
            assert_labels(title, &checked, &names_behind(legend, "{{"));
            let labels = checked.labels.unwrap_or_default();
            let shown = names_behind(legend, "{{").len();
            assert_eq!(labels.len(), shown, "{title}: lines with the same name");
        }
    }
    for annotation in list(&dashboard["annotations"], "list") {
        if let Some(expr) = annotation["expr"].as_str() {
            let name = text(annotation, "name");
            let checked = good(name, expr, check(expr));
            assert_follows_variables(name, &checked);
            let said = text(annotation, "textFormat");
            assert_labels(name, &checked, &names_behind(said, "{{"));
        }
    }
}

#[test]
fn the_dashboard_has_variables_for_data_source_job_and_instance() {
    let dashboard = dashboard();
    let variables = list(&dashboard["templating"], "list");
    let names: Vec<_> = variables.iter().map(|v| text(v, "name")).collect();
    assert_eq!(names, ["DS_PROMETHEUS", "job", "instance"]);
    assert_eq!(variables[0]["type"], "datasource");
    assert_eq!(variables[0]["query"], "prometheus");
    for variable in &variables[1..] {
        let query = text(variable, "definition");
        good("variable", query, check_label_values(query));
        assert_eq!(variable["query"]["query"], query);
        assert_eq!(variable["includeAll"], true);
    }
    // Grafana keeps the source of what was imported; a number of another installation is not found.
    let said = read(DASHBOARD);
    assert_eq!(
        said.matches("\"type\": \"prometheus\"").count(),
        said.matches("\"type\": \"prometheus\", \"uid\": \"${DS_PROMETHEUS}\"")
            .count()
    );
}

#[test]
fn the_panels_say_what_they_show_and_do_not_overlap() {
    let dashboard = dashboard();
    // Grafana 11's; newer ones move it up by themselves.
    assert_eq!(dashboard["schemaVersion"], 39);
    let mut ids = BTreeSet::new();
    let mut places = BTreeSet::new();
    for panel in list(&dashboard, "panels") {
        let title = text(panel, "title");
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "{title}");
        let [x, y, w, h] = ["x", "y", "w", "h"].map(|key| panel["gridPos"][key].as_u64().unwrap());
        assert!(x + w <= 24, "{title}");
        for place in (x..x + w).flat_map(|x| (y..y + h).map(move |y| (x, y))) {
            assert!(places.insert(place), "{title} lies upon another one");
        }
    }
    for panel in panels(&dashboard) {
        let title = text(panel, "title");
        assert!(text(panel, "description").ends_with('.'), "{title}");
        let unit = text(&panel["fieldConfig"]["defaults"], "unit");
        assert!(UNITS.contains(&unit), "{title}: {unit}");
        let refs: BTreeSet<_> = list(panel, "targets")
            .iter()
            .map(|target| text(target, "refId"))
            .collect();
        assert_eq!(refs.len(), list(panel, "targets").len(), "{title}");
    }
}

#[test]
fn the_dashboard_shows_every_metric_or_the_test_says_why_not() {
    let dashboard = dashboard();
    let shown: BTreeSet<&str> = panels(&dashboard)
        .flat_map(|panel| list(panel, "targets"))
        .flat_map(|target| check(text(target, "expr")).unwrap().families())
        .collect();
    let excused: BTreeSet<&str> = NOT_SHOWN.iter().map(|(name, _)| *name).collect();
    let lacking: Vec<&str> = TABLE
        .iter()
        .map(|row| row.name)
        .filter(|name| !shown.contains(name) && !excused.contains(name))
        .collect();
    assert!(
        lacking.is_empty(),
        "neither in {DASHBOARD} nor excused here: {lacking:?}"
    );
    for name in excused {
        assert!(TABLE.iter().any(|row| row.name == name), "{name}");
        assert!(!shown.contains(name), "{name} is shown and excused");
    }
}

fn alerts() -> Vec<Value> {
    let file = yaml::parse(&read(ALERTS));
    let groups = list(&file, "groups").iter();
    let alerts: Vec<_> = groups
        .flat_map(|group| {
            assert!(text(group, "name").starts_with("s3proxy"));
            list(group, "rules").to_vec()
        })
        .collect();
    let names: BTreeSet<_> = alerts.iter().map(|alert| text(alert, "alert")).collect();
    assert_eq!(names.len(), alerts.len(), "a name twice");
    alerts
}

#[test]
fn the_alerts_ask_for_metrics_that_exist() {
    for alert in alerts() {
        let name = text(&alert, "alert");
        let expr = text(&alert, "expr");
        let checked = good(name, expr, check(expr));
        for selector in &checked.selectors {
            let is_ours = selector.name.starts_with("s3proxy_");
            let has_job = selector.matchers.iter().any(|m| m.label == "job");
            assert!(
                is_ours || has_job,
                "{name}: {} of every program",
                selector.name
            );
        }
        assert_labels(name, &checked, &["job"]);
        if !expr.contains("absent(") {
            assert_labels(name, &checked, &["instance"]);
        }
        for key in ["summary", "description"] {
            let said = text(&alert["annotations"], key);
            assert_labels(name, &checked, &names_behind(said, "$labels."));
        }
    }
}

#[test]
fn the_alerts_say_how_bad_it_is_and_what_to_do() {
    for alert in alerts() {
        let name = text(&alert, "alert");
        assert!(name.starts_with("S3proxy"), "{name}");
        assert!(text(&alert, "for").ends_with('m'), "{name}");
        let severity = text(&alert["labels"], "severity");
        assert!(["critical", "warning"].contains(&severity), "{name}");
        let annotations = &alert["annotations"];
        assert!(!text(annotations, "summary").ends_with('.'), "{name}");
        assert!(text(annotations, "description").ends_with('.'), "{name}");
        let repository = concat!(env!("CARGO_PKG_REPOSITORY"), "/blob/main/");
        let page = text(annotations, "runbook_url").strip_prefix(repository);
        let (page, anchor) = page.and_then(|page| page.split_once('#')).unwrap();
        let headings: Vec<String> = read(page)
            .lines()
            .filter(|line| line.starts_with('#'))
            .map(anchor_of)
            .collect();
        assert!(
            headings.iter().any(|heading| heading == anchor),
            "{name}: {page} has no #{anchor}"
        );
    }
}

/// As GitHub makes it from a heading.
fn anchor_of(heading: &str) -> String {
    let kept = heading.trim_start_matches('#').trim().to_lowercase();
    kept.chars()
        .filter(|c| c.is_alphanumeric() || " -_".contains(*c))
        .map(|c| if c == ' ' { '-' } else { c })
        .collect()
}

#[test]
fn the_operations_page_has_every_alert() {
    let page = read(OPERATIONS);
    let rows: Vec<Vec<&str>> = page
        .lines()
        .skip_while(|line| !line.starts_with("| alert |"))
        .skip(2)
        .take_while(|line| line.starts_with('|'))
        .map(|line| line.trim_matches('|').split('|').map(str::trim).collect())
        .collect();
    let on_page: Vec<_> = rows.iter().map(|row| (row[0], row[1])).collect();
    let alerts = alerts();
    let code: Vec<_> = alerts
        .iter()
        .map(|alert| {
            (
                format!("`{}`", text(alert, "alert")),
                text(&alert["labels"], "severity"),
            )
        })
        .collect();
    let code: Vec<_> = code.iter().map(|(name, s)| (name.as_str(), *s)).collect();
    assert_eq!(on_page, code);
    assert!(
        rows.iter()
            .all(|row| row[2..].iter().all(|c| !c.is_empty()))
    );
}

#[test]
fn the_package_has_both() {
    let manifest = read("Cargo.toml");
    for file in [DASHBOARD, ALERTS] {
        let asset = format!("[\"{file}\", \"usr/share/s3proxy/");
        assert!(manifest.contains(&asset), "{file}");
    }
}

#[test]
fn what_is_meant_is_accepted() {
    let accepted = [
        "up == 0",
        r#"sum by (tier) (rate(s3proxy_cache_served_bytes_total{tier=~"memory|disk"}[$__rate_interval]))"#,
        "histogram_quantile(0.99, sum by (le) (rate(s3proxy_first_byte_seconds_bucket[5m] offset 1h)))",
        "rate(s3proxy_first_byte_seconds_sum[5m]) / rate(s3proxy_first_byte_seconds_count[5m])",
        r#"sum(rate(s3proxy_requests_total{status=~"5..|none"}[5m])) or vector(0)"#,
        "time() - process_start_time_seconds",
        "s3proxy_origin_reachable unless on (instance) s3proxy_connections > 1",
    ];
    for expr in accepted {
        good("accepted", expr, check(expr));
    }
    let quantile = check(accepted[2]).unwrap();
    assert_eq!(quantile.labels, Some(BTreeSet::new()));
    let families: Vec<_> = quantile.families().into_iter().collect();
    assert_eq!(families, ["s3proxy_first_byte_seconds"]);
}

#[test]
fn what_means_nothing_is_refused() {
    let refused = [
        // Names.
        ("s3proxy_connection", "there is no metric"),
        ("rate(s3proxy_requests[5m])", "there is no metric"),
        (
            "rate(s3proxy_requests_total_count[5m])",
            "there is no metric",
        ),
        ("s3proxy_connections_bucket", "there is no metric"),
        ("rate(s3proxy_first_byte_seconds[5m])", "has _bucket"),
        // Labels and their values.
        (r#"s3proxy_connections{tier="disk"}"#, "no label tier"),
        (r#"s3proxy_cache_bytes{tier="dsik"}"#, "tier is never dsik"),
        (
            r#"s3proxy_cache_bytes{tier=~"disk|dsik"}"#,
            "tier is never dsik",
        ),
        (
            r#"rate(s3proxy_requests_total{status="2.."}[5m])"#,
            "status is never 2..",
        ),
        (
            r#"rate(s3proxy_requests_total{operation="GetObjekt"}[5m])"#,
            "is never",
        ),
        (
            r#"rate(s3proxy_requests_refused_total{code="Slow"}[5m])"#,
            "is never",
        ),
        ("sum by (bucket) (s3proxy_connections)", "no label bucket"),
        ("sum without (tier) (s3proxy_connections)", "no label tier"),
        (
            "sum by (tier) (sum by (job) (s3proxy_cache_bytes))",
            "no label tier",
        ),
        (
            "sum by (le) (rate(s3proxy_first_byte_seconds_count[5m]))",
            "no label le",
        ),
        (
            "s3proxy_connections and on (tier) s3proxy_cache_bytes",
            "no label tier",
        ),
        (
            "s3proxy_connections / s3proxy_cache_bytes",
            "matches nothing",
        ),
        ("up and sum(up)", "matches nothing"),
        // Kinds.
        ("rate(s3proxy_connections[5m])", "is a gauge"),
        ("increase(s3proxy_cache_bytes[5m])", "is a gauge"),
        ("s3proxy_requests_total", "only grows"),
        ("sum(s3proxy_requests_total) > 3", "only grows"),
        ("max_over_time(s3proxy_requests_total[1h])", "is no gauge"),
        ("rate(s3proxy_requests_total)", "of no range"),
        ("sum(s3proxy_connections[5m])", "a range"),
        (
            "histogram_quantile(0.9, s3proxy_connections)",
            "needs buckets",
        ),
        (
            "histogram_quantile(0.9, sum by (job) (rate(s3proxy_first_byte_seconds_bucket[5m])))",
            "needs buckets",
        ),
        // What is no expression, or none that is understood here.
        ("sum(up", "instead of"),
        ("up up", "does not belong"),
        ("up{job=~s3proxy}", "a text instead of"),
        ("rate(s3proxy_requests_total[5m]", "instead of"),
        ("guess(up)", "not known"),
        ("", "too early"),
    ];
    for (expr, expected) in refused {
        let wrong = check(expr).expect_err(expr);
        assert!(wrong.contains(expected), "{expr}: {wrong}");
    }
    assert!(check_label_values("label_values(up, tier)").is_err());
    assert!(check_label_values("label_values(s3proxy_build_info, job)").is_ok());
}
