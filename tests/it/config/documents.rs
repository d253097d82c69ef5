//! The files that people read say what the key table says.

use std::fs;
use std::path::Path;

use s3proxy::config::Args;
use s3proxy::config::Config;
use s3proxy::config::Environment;
use s3proxy::config::document;

use super::Files;

const BEGIN: &str = "<!-- keys: written from the key table -->\n";
const END: &str = "<!-- end of keys -->\n";

/// Compares a file with what it should be, or writes it when `UPDATE_DOCUMENTS` is set.
pub(super) fn assert_file(path: &Path, expected: &str) {
    if std::env::var_os("UPDATE_DOCUMENTS").is_some() {
        fs::write(path, expected).unwrap();
    }
    let text = fs::read_to_string(path).unwrap_or_default();
    assert!(
        text == expected,
        "{} is not what the code says; run the tests with UPDATE_DOCUMENTS=1",
        path.display()
    );
}

pub(super) fn repository(path: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn load(path: &Path) -> Config {
    let args = Args {
        conf: Some(path.to_owned()),
        ..Args::default()
    };
    let environment = Environment::fixed([("HOME", "/nonexistent"), ("ETL_SECRET", "hunter2")]);
    Config::load_with(&args, &environment).unwrap_or_else(|errors| panic!("{errors}"))
}

#[test]
fn the_reference_file_is_the_key_table() {
    assert_file(
        &repository("conf/reference.yaml"),
        &document::reference_yaml(),
    );
}

#[test]
fn the_configuration_document_has_the_key_table() {
    let path = repository("docs/configuration.md");
    let text = fs::read_to_string(&path).unwrap();
    let (head, rest) = text.split_once(BEGIN).unwrap();
    let (_, tail) = rest.split_once(END).unwrap();
    let expected = format!("{head}{BEGIN}\n{}\n{END}{tail}", document::key_table());
    assert_file(&path, &expected);
}

#[test]
fn the_reference_file_says_the_defaults() {
    let files = Files::new();
    let endpoint = "https://s3.eu-west-1.amazonaws.com";
    let bare = files.conf(&format!("origins: [{{endpoint: \"{endpoint}\"}}]\n"));
    let bare = load(bare.conf.as_deref().unwrap());
    let reference = load(&repository("conf/reference.yaml"));
    assert!(reference.warnings.is_empty(), "{:?}", reference.warnings);
    assert_eq!(reference.listen, bare.listen);
    assert_eq!(reference.admin, bare.admin);
    assert_eq!(reference.server, bare.server);
    assert_eq!(reference.client_source, bare.client_source);
    assert_eq!(reference.base_domains, bare.base_domains);
    assert_eq!(reference.limits, bare.limits);
    assert_eq!(reference.access_log, bare.access_log);
    assert_eq!(reference.cache, bare.cache);
    let (a, b) = (&reference.auth, &bare.auth);
    assert_eq!(
        (&a.regions, a.unsigned_payload),
        (&b.regions, b.unsigned_payload)
    );
    assert_eq!((a.max_skew, a.anonymous), (b.max_skew, b.anonymous));
    assert!(a.clients.is_empty() && a.web_identity.is_none());
    let [a] = reference.origins.as_slice() else {
        panic!("not one origin")
    };
    let b = &bare.origins[0];
    assert_eq!(
        (&a.name, &a.endpoint, &a.region),
        (&b.name, &b.endpoint, &b.region)
    );
    assert_eq!((a.addressing, a.timeouts), (b.addressing, b.timeouts));
    assert_eq!((&a.ca_file, &a.server_name), (&b.ca_file, &b.server_name));
    assert_eq!(
        (a.max_retries, a.idle_timeout),
        (b.max_retries, b.idle_timeout)
    );
    assert_eq!(a.trailing_checksums, b.trailing_checksums);
}

/// The examples behind `#` are examples of what is accepted: with every `#` removed, nothing is
/// wrong but what cannot stand together and files that are not here.
#[test]
fn the_examples_of_the_reference_file_are_well_formed() {
    let text = fs::read_to_string(repository("conf/reference.yaml")).unwrap();
    let uncommented: Vec<_> = text
        .lines()
        .map(|line| {
            let rest = line.trim_start_matches('#');
            let is_comment = rest.starts_with(' ') && !rest.starts_with("  ");
            if rest.is_empty() || is_comment {
                line
            } else {
                rest
            }
        })
        .collect();
    let files = Files::new();
    let said = files
        .findings(&files.conf(&uncommented.join("\n")))
        .unwrap_err();
    let is_expected = |line: &str| {
        [
            "already given in line", // the two forms of one key
            "are given; give exactly one",
            "No such file",
            "is not set",
            "is taken by",
        ]
        .iter()
        .any(|expected| line.contains(expected))
    };
    let rest: Vec<_> = said.lines().filter(|line| !is_expected(line)).collect();
    assert!(rest.is_empty(), "{}", rest.join("\n"));
    assert!(
        said.lines().count() > 5,
        "the examples were not read:\n{said}"
    );
}

#[test]
fn the_minimal_file_is_accepted_without_a_warning() {
    let config = load(&repository("conf/minimal.yaml"));
    assert!(config.warnings.is_empty(), "{:?}", config.warnings);
    assert_eq!(config.auth.clients.len(), 1);
}
