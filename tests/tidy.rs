//! Repository rules that rustc, rustfmt and clippy cannot check: where arrows between modules point,
//! how long files are, and that what documents say is what the code does.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;

use s3proxy::s3::ErrorCode;
use s3proxy::telemetry;

/// Modules by tier, top first. Code may name `crate::x` only if `x` sits on a lower tier. `read` and
/// `cache` are planned.
const TIERS: &[&[&str]] = &[
    &["ctl", "doctor", "server"],
    &["config"],
    &["admin", "proxy"],
    &["read"],
    &["auth", "cache", "policy", "upstream"],
    &["telemetry"],
    &["s3", "sigv4"],
];

const MAX_CODE_LINES: usize = 600;

/// Names that say nothing about what a file owns.
const EMPTY_NAMES: &[&str] = &[
    "common", "helper", "helpers", "manager", "misc", "util", "utils",
];

#[test]
fn modules_only_import_lower_tiers() {
    let mut violations = Vec::new();
    for path in rust_files("src") {
        let from = top_module(&path);
        // The binaries stand above everything, and lib.rs only lists the modules.
        if ["main", "lib", "bin"].contains(&from.as_str()) {
            continue;
        }
        let from_tier = tier(&from).unwrap_or_else(|| panic!("{from} has no tier"));
        let code = code_of(&path);
        if code.contains("crate::{") {
            violations.push(format!(
                "{}: one `use crate::...;` a module",
                path.display()
            ));
        }
        if code.contains("super::super") {
            violations.push(format!("{}: write `crate::` for it", path.display()));
        }
        if is_root_of_module(&path) && code.contains("super::") {
            violations.push(format!("{}: `super` hides an arrow", path.display()));
        }
        for to in crate_paths(&code) {
            let to_tier = tier(&to).unwrap_or_else(|| panic!("{to} has no tier"));
            if to != from && to_tier <= from_tier {
                violations.push(format!("{}: {from} -> {to}", path.display()));
            }
        }
    }
    assert_none(&violations);
}

#[test]
fn files_are_short_and_say_what_they_are() {
    let mut violations = Vec::new();
    for path in ["src", "tests", "benches"].into_iter().flat_map(rust_files) {
        let text = read(&path);
        let shown = path.display();
        if !text.starts_with("//! ") {
            violations.push(format!("{shown}: no module comment"));
        }
        let lines = code_of(&path)
            .lines()
            .filter(|line| !line.trim().is_empty())
            .count();
        if lines > MAX_CODE_LINES {
            violations.push(format!("{shown}: {lines} lines of code, split it"));
        }
        let stem = path.file_stem().unwrap_or_default().to_string_lossy();
        if EMPTY_NAMES.contains(&stem.as_ref()) {
            violations.push(format!("{shown}: name it by what it owns"));
        }
        if path.starts_with("src") && text.contains("clippy::too_many_lines") {
            violations.push(format!("{shown}: split the function"));
        }
    }
    assert_none(&violations);
}

#[test]
fn no_tracked_file_names_a_machine_path() {
    // Put together, so that this file does not hold them.
    let prefixes = ["work", "root"].map(|name| format!("/{name}/"));
    let home = format!("/{}/", "home");
    let mut violations = Vec::new();
    for path in tracked_files() {
        let Ok(text) = fs::read_to_string(root().join(&path)) else {
            continue; // not text
        };
        for (index, line) in text.lines().enumerate() {
            let in_home = line
                .split(&home)
                .skip(1)
                .any(|rest| rest.starts_with(is_name));
            let elsewhere = prefixes.iter().any(|prefix| names_path(line, prefix));
            if in_home || elsewhere {
                violations.push(format!("{path}:{}: {line}", index + 1));
            }
        }
    }
    assert_none(&violations);
}

#[test]
fn links_in_documents_lead_somewhere() {
    let mut violations = Vec::new();
    for path in tracked_files().iter().filter(|path| has_ending(path, "md")) {
        let file = root().join(path);
        let folder = file.parent().expect("a file is in a folder");
        let text = prose_of(&read(&file));
        for link in text
            .split("](")
            .skip(1)
            .filter_map(|rest| rest.split(')').next())
        {
            let target = link.split(['#', ' ']).next().unwrap_or_default();
            let is_elsewhere = target.contains("://") || target.starts_with("mailto:");
            if !is_elsewhere && !target.is_empty() && !folder.join(target).exists() {
                violations.push(format!("{path}: {link}"));
            }
        }
    }
    assert_none(&violations);
}

#[test]
fn shell_scripts_stop_at_the_first_error() {
    let mut violations = Vec::new();
    for path in tracked_files() {
        let Ok(text) = fs::read_to_string(root().join(&path)) else {
            continue;
        };
        let first = text.lines().next().unwrap_or_default();
        let has_shebang = first.starts_with("#!");
        let is_shell = has_shebang && first.ends_with("sh");
        if has_ending(&path, "sh") && !has_shebang {
            violations.push(format!("{path}: no shebang"));
        }
        if is_shell && !text.lines().any(|line| line.starts_with("set -eu")) {
            violations.push(format!("{path}: no `set -eu`"));
        }
    }
    assert_none(&violations);
}

#[test]
fn the_metrics_page_is_the_metrics_table() {
    let code = telemetry::TABLE.iter().map(|row| {
        let labels: Vec<String> = row
            .labels
            .iter()
            .map(|label| format!("`{label}`"))
            .collect();
        vec![
            format!("`{}`", row.name),
            row.kind.as_str().to_owned(),
            row.unit().to_owned(),
            labels.join(", "),
            row.help.to_owned(),
        ]
    });
    assert_same_rows("docs/metrics.md", "name", &code.collect::<Vec<_>>());
}

#[test]
fn the_metrics_page_has_every_label_value() {
    let code = telemetry::LABELS.iter().map(|(label, values)| {
        let values: Vec<String> = values.iter().map(|value| format!("`{value}`")).collect();
        vec![format!("`{label}`"), values.join(" ")]
    });
    assert_same_rows("docs/metrics.md", "label", &code.collect::<Vec<_>>());
}

#[test]
fn the_metrics_page_has_every_field_of_the_access_log() {
    let fields = table("docs/metrics.md", "field");
    let names: Vec<&String> = fields.iter().map(|row| &row[0]).collect();
    let code: Vec<String> = telemetry::FIELDS
        .iter()
        .map(|field| format!("`{field}`"))
        .collect();
    assert_eq!(names, code.iter().collect::<Vec<_>>());
    assert!(fields.iter().all(|row| !row[1].is_empty()));
}

#[test]
fn the_errors_page_has_every_code() {
    let rows = table("docs/errors.md", "code");
    let codes: Vec<(String, String)> = rows.iter().map(|r| (r[0].clone(), r[1].clone())).collect();
    let code: Vec<(String, String)> = ErrorCode::ALL
        .iter()
        .map(|code| {
            (
                format!("`{}`", code.as_str()),
                code.status().as_u16().to_string(),
            )
        })
        .collect();
    assert_eq!(codes, code);
    for row in rows {
        assert!(row[2..].iter().all(|cell| cell.ends_with('.')), "{row:?}");
    }
}

/// Every number that the dashboard shows stands in its table, and every metric there is one.
#[test]
fn the_dashboard_page_has_every_number() {
    let markup = read(Path::new("src/admin/dashboard/index.html"));
    let shown: BTreeSet<String> = ["stat", "past", "series", "probe"]
        .iter()
        .flat_map(|kind| {
            let attribute = format!("data-{kind}=\"");
            let rest = markup.split(attribute.as_str()).skip(1);
            rest.filter_map(|rest| rest.split('"').next())
                .map(|from| format!("`{from}`"))
                .collect::<Vec<_>>()
        })
        .collect();
    let rows = table("docs/dashboard.md", "shown");
    let told: Vec<String> = rows.iter().map(|row| row[1].clone()).collect();
    assert_eq!(told.iter().cloned().collect::<BTreeSet<_>>(), shown);
    assert_eq!(told.len(), shown.len(), "a row stands there twice");
    let mut violations = Vec::new();
    for row in &rows {
        let code = row[2].split('`').skip(1).step_by(2);
        let names = code.map(|code| code.split('{').next().unwrap_or_default());
        let mut metrics = names
            .filter(|name| name.starts_with("s3proxy_") || name.starts_with("process_"))
            .peekable();
        if metrics.peek().is_none() && !row[2].starts_with("none: ") {
            violations.push(format!("{}: no metric and no reason", row[0]));
        }
        let unknown = metrics.filter(|name| telemetry::TABLE.iter().all(|def| def.name != *name));
        violations.extend(unknown.map(|name| format!("{}: {name} is no metric", row[0])));
        // The samples have the fields that are asked of them.
        let words: Vec<&str> = row[1].trim_matches('`').split([' ', '+']).collect();
        if ["rate", "share", "level"].contains(&words[0]) {
            let unknown = words[1..]
                .iter()
                .filter(|word| !telemetry::SAMPLE_FIELDS.contains(word));
            violations.extend(unknown.map(|word| format!("{}: samples have no {word}", row[0])));
        }
    }
    assert_none(&violations);
}

#[test]
fn the_code_map_has_every_module() {
    let map = table("ARCHITECTURE.md", "module");
    let named: BTreeSet<String> = map.iter().map(|row| row[0].clone()).collect();
    let entries = fs::read_dir(root().join("src")).expect("a readable folder");
    let present: BTreeSet<String> = entries
        .map(|entry| entry.expect("a readable folder"))
        // lib.rs only lists the modules.
        .filter(|entry| entry.file_name() != "lib.rs")
        .map(|entry| {
            let slash = if entry.path().is_dir() { "/" } else { "" };
            format!("`src/{}{slash}`", entry.file_name().to_string_lossy())
        })
        .collect();
    assert_eq!(named, present);
}

#[test]
fn the_engines_page_has_every_tested_client() {
    let page = read(Path::new("docs/engines.md"));
    let entries = fs::read_dir(root().join("tests/clients")).expect("a readable folder");
    let lacking: Vec<String> = entries
        .map(|entry| entry.expect("a readable folder").file_name())
        .map(|name| name.to_string_lossy().into_owned())
        .filter(|name| name.starts_with("test_") && has_ending(name, "py"))
        .filter(|name| !page.contains(name))
        .collect();
    assert_none(&lacking);
}

fn assert_none(violations: &[String]) {
    assert!(violations.is_empty(), "\n{}", violations.join("\n"));
}

fn assert_same_rows(document: &str, heading: &str, code: &[Vec<String>]) {
    let rows = table(document, heading);
    let show = |row: &Vec<String>| format!("| {} |", row.join(" | ").replace("|  |", "| |"));
    for row in code {
        assert!(rows.contains(row), "{document} lacks:\n{}", show(row));
    }
    assert_eq!(rows, code, "{document} has another order or rows too many");
}

/// The rows of the Markdown table whose first column has this heading.
fn table(document: &str, heading: &str) -> Vec<Vec<String>> {
    let text = read(&root().join(document));
    let start = format!("| {heading} |");
    text.lines()
        .skip_while(|line| !line.starts_with(&start))
        .skip(2)
        .take_while(|line| line.starts_with('|'))
        .map(|line| {
            let cells = line.trim_matches('|').split('|');
            cells.map(|cell| cell.trim().to_owned()).collect()
        })
        .collect()
}

fn tier(module: &str) -> Option<usize> {
    TIERS.iter().position(|modules| modules.contains(&module))
}

/// `src/cache/store/disk/mod.rs` belongs to `cache`.
fn top_module(path: &Path) -> String {
    let inside = path.strip_prefix("src").expect("a file of src");
    let first = inside.components().next().expect("a file has a name");
    Path::new(first.as_os_str())
        .file_stem()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned()
}

/// Whether `super` in this file is the crate.
fn is_root_of_module(path: &Path) -> bool {
    let depth = path.components().count();
    depth == 2 || (depth == 3 && path.ends_with("mod.rs"))
}

/// The file without line comments and without its tests: a file of tests, or what follows
/// `#[cfg(test)]`, be it a line or the rest of the file.
fn code_of(path: &Path) -> String {
    if path.starts_with("src") && path.components().any(|part| is_of_tests(Path::new(&part))) {
        return String::new();
    }
    let text = read(&root().join(path));
    let mut code = String::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if line.trim_start() == "#[cfg(test)]" {
            let item = lines.next().unwrap_or_default();
            if item == "mod tests {" {
                break;
            }
            // A module in a file of its own, an import: one line. A function or block: to its end.
            let end = item.trim_end();
            if !end.ends_with(';') {
                let indent = &item[..item.len() - item.trim_start().len()];
                let closing = format!("{indent}}}");
                lines.by_ref().find(|line| *line == closing);
            }
            continue;
        }
        code.push_str(line.split("//").next().unwrap_or_default());
        code.push('\n');
    }
    code
}

fn is_of_tests(part: &Path) -> bool {
    part.file_stem().is_some_and(|stem| stem == "tests")
}

/// First segments after `crate::`. Grouped imports (`use crate::{a, b}`) are refused, so that one
/// arrow is one line and this stays a text search.
fn crate_paths(code: &str) -> BTreeSet<String> {
    code.split("crate::")
        .skip(1)
        .filter(|rest| rest.starts_with(|c: char| c.is_lowercase()))
        .map(|rest| {
            rest.split(|c| !is_name(c))
                .next()
                .unwrap_or_default()
                .to_owned()
        })
        .collect()
}

fn has_ending(path: &str, ending: &str) -> bool {
    Path::new(path)
        .extension()
        .is_some_and(|extension| extension == ending)
}

fn is_name(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Whether the line holds the path from the root on, not as the end of another path or address.
fn names_path(line: &str, prefix: &str) -> bool {
    line.match_indices(prefix).any(|(start, _)| {
        let before = line[..start].chars().next_back();
        !before.is_some_and(|c| is_name(c) || matches!(c, '.' | '-' | '/' | '*' | '}' | ')'))
    })
}

/// Markdown without its code blocks and code spans.
fn prose_of(text: &str) -> String {
    let blocks = text.split("```").step_by(2).collect::<String>();
    blocks.split('`').step_by(2).collect()
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &Path) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// Paths from the root of the repository.
fn rust_files(folder: &str) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut folders = vec![PathBuf::from(folder)];
    while let Some(folder) = folders.pop() {
        let Ok(entries) = fs::read_dir(root().join(&folder)) else {
            continue; // not every kind of test exists yet
        };
        for entry in entries {
            let entry = entry.expect("a readable folder");
            let path = folder.join(entry.file_name());
            if entry.path().is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.push(path);
            }
        }
    }
    files.sort();
    files
}

/// What git tracks or would track. Without git (a source archive) there is nothing to check.
fn tracked_files() -> Vec<String> {
    let listing = Command::new("git")
        .args(["ls-files", "--cached", "--others", "--exclude-standard"])
        .current_dir(root())
        .output();
    let text = listing.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    text.unwrap_or_default()
        .lines()
        .map(ToOwned::to_owned)
        .collect()
}
