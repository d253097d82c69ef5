//! What the package brings beside the binary: the configuration as shipped, the man pages and the
//! shell completions, all of which say what the command line and the key table say.

use std::fs;
use std::path::Path;

use clap::CommandFactory;
use clap::ValueEnum;
use clap_complete::Shell;
use clap_mangen::Man;
use s3proxy::config::Args;

use super::Files;
use super::command::s3proxy;
use super::command::text;
use super::documents::assert_file;
use super::documents::repository;

/// What the command line does not know.
const SECTIONS: &str = r#".SH FILES
.TP
\fI/etc/s3proxy/s3proxy.yaml\fR
The configuration of the service. All keys: \fI/usr/share/doc/s3proxy/reference.yaml\fR.
.TP
\fI/etc/s3proxy/environment\fR
Environment variables of the service, mode 0600.
.TP
\fI/etc/s3proxy/credentials/\fR
Secrets of the service, a file each; \fINAME\fR there is
\fI/run/credentials/s3proxy.service/secret_NAME\fR in the configuration.
.TP
\fI/var/cache/s3proxy/\fR
The disk tier of the cache.
.TP
\fI/var/log/s3proxy/\fR
Log files, which logrotate(8) rotates.
.SH "EXIT STATUS"
0 when all went well, 1 when something is wrong, 2 when the command line is.
"#;

fn command() -> clap::Command {
    let mut command = Args::command();
    command.build();
    command
}

/// A page for the command, and one for each subcommand.
fn man_pages() -> Vec<(String, String)> {
    let command = command();
    let mut pages = vec![(
        "s3proxy.1".to_owned(),
        page(command.clone(), "s3proxy") + SECTIONS,
    )];
    for subcommand in command.get_subcommands() {
        let name = format!("s3proxy-{}", subcommand.get_name());
        if name != "s3proxy-help" {
            pages.push((format!("{name}.1"), page(subcommand.clone(), &name)));
        }
    }
    pages
}

fn page(command: clap::Command, name: &str) -> String {
    let version = concat!("s3proxy ", env!("CARGO_PKG_VERSION"));
    let man = Man::new(command.display_name(name.to_owned()))
        .title(name)
        .source(version);
    let mut page = Vec::new();
    man.render(&mut page).unwrap();
    let page = String::from_utf8(page).unwrap();
    // Its lines are commands: they stay as they are.
    page.replace(".SH EXTRA\nExamples:\n", ".SH EXAMPLES\n.nf\n")
        .replace(".SH VERSION\n", ".fi\n.SH VERSION\n")
}

fn names_in(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap();
    let mut names: Vec<_> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn the_man_pages_are_the_command_line() {
    let directory = repository("packaging/man");
    let pages = man_pages();
    for (name, text) in &pages {
        assert_file(&directory.join(name), text);
    }
    let mut expected: Vec<_> = pages.into_iter().map(|(name, _)| name).collect();
    expected.sort();
    assert_eq!(names_in(&directory), expected);
}

#[test]
fn the_completions_are_the_command_line() {
    let directory = repository("packaging/completions");
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
        let name = format!("s3proxy.{}", shell.to_possible_value().unwrap().get_name());
        let mut script = Vec::new();
        clap_complete::generate(shell, &mut Args::command(), "s3proxy", &mut script);
        assert_file(&directory.join(name), text(&script));
    }
    assert_eq!(names_in(&directory).len(), 3);
}

fn shipped() -> String {
    fs::read_to_string(repository("conf/s3proxy.yaml")).unwrap()
}

#[test]
fn the_file_as_shipped_serves_with_one_edited_line() {
    let files = Files::new();
    let text_of = shipped();
    let (edit, rest): (Vec<_>, Vec<_>) = text_of.lines().partition(|line| line.contains("# EDIT"));
    let [line] = edit.as_slice() else {
        panic!("not one line to edit: {edit:?}")
    };
    assert!(line.trim_start().starts_with("- endpoint: https://"));
    assert!(rest.iter().any(|line| line.contains("/var/cache/s3proxy")));
    let edited = text_of
        .replace(line, "  - endpoint: http://store.example.com:3900")
        .replace("/var/cache/s3proxy", "DIR/cache");
    for yaml in [text_of.replace("/var/cache/s3proxy", "DIR/cache"), edited] {
        let conf = files.conf(&yaml).conf.unwrap();
        let output = s3proxy(&files, &["-t", "-c", conf.to_str().unwrap()], &[]);
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        assert!(
            !text(&output.stdout).contains("warning"),
            "{}",
            text(&output.stdout)
        );
        assert_eq!(text(&output.stderr), "");
    }
}

/// With the `#` of every example removed, nothing is wrong but files that are not here.
#[test]
fn the_examples_in_the_file_as_shipped_are_well_formed() {
    let shipped = shipped();
    let (_, keys) = shipped.split_once("\n\n").unwrap();
    let uncommented: Vec<_> = keys
        .lines()
        .map(|line| {
            let indent = line.len() - line.trim_start().len();
            match line.trim_start().strip_prefix('#') {
                // Prose has one blank there.
                Some(rest) if !rest.starts_with(' ') || rest.starts_with("  ") => {
                    format!("{}{rest}", " ".repeat(indent))
                }
                _ => line.to_owned(),
            }
        })
        .collect();
    let files = Files::new();
    let said = files
        .findings(&files.conf(&uncommented.join("\n")))
        .unwrap_err();
    let (missing, rest): (Vec<_>, Vec<_>) =
        said.lines().partition(|line| line.contains("No such file"));
    assert!(rest.is_empty(), "{}", rest.join("\n"));
    // Both secrets, certificate and key.
    assert_eq!(missing.len(), 4, "{said}");
}
