//! The doctor: tries everything that serving needs before traffic does, and says what to do.
//!
//! It goes the ways that the proxy goes: the same resolver, connector, certificate authorities,
//! credentials and signatures. What it sends is harmless: it asks for lists and single bytes, and
//! writes an object only when told to, under a key of its own that it deletes again. What it finds is
//! a list of [`Finding`]s; nothing here ends the process or writes to a log.

mod buckets;
mod certificate;
mod disk;
mod finding;
mod machine;
mod named;
mod origin;
mod ports;

use std::process::ExitCode;
use std::sync::Arc;

use pingora::connectors::ConnectorOptions;

pub use finding::Finding;
pub use finding::Report;
pub use finding::Verdict;

use crate::config::Args;
use crate::config::Config;
use crate::config::DoctorArgs;
use crate::upstream::Fetch;
use crate::upstream::Resolver;

/// Reads the configuration, tries it, and prints what was found. Exit code 1 when there is a
/// problem.
pub fn run(args: &Args, options: &DoctorArgs) -> ExitCode {
    let mut report = Report::default();
    match Config::load(args) {
        Err(errors) => {
            for line in errors.to_string().lines() {
                report.problem(
                    "configuration",
                    line,
                    "mend it; docs/configuration.md has all keys",
                );
            }
        }
        Ok(config) => {
            report.ok("configuration", args.source());
            for warning in &config.warnings {
                report.warning("configuration", warning, "mend it if it is not meant");
            }
            examine(&config, options, &mut report);
        }
    }
    if options.json {
        println!("{}", report.json());
    } else {
        print!("{report}");
    }
    if report.has_problems() {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    }
}

fn examine(config: &Config, options: &DoctorArgs, report: &mut Report) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    match runtime {
        Ok(runtime) => {
            runtime.block_on(ask_origins(config, options, report));
            runtime.shutdown_background();
        }
        Err(error) => report.problem(
            "origins",
            format!("no runtime to ask them: {error}"),
            "see that this account may open files and start threads",
        ),
    }
    disk::examine(config, report);
    machine::examine(config, report);
    ports::examine(config, report);
    certificate::examine_listeners(config, report);
}

async fn ask_origins(config: &Config, options: &DoctorArgs, report: &mut Report) {
    let resolver = Arc::new(Resolver::new());
    let fetch = Fetch::new(Some(ConnectorOptions::from_server_conf(&config.server)));
    let named = named::in_configuration(config, &options.bucket, report);
    for position in 0..config.origins.len() {
        let Some(origin) = origin::examine(config, position, &resolver, &fetch, report).await
        else {
            continue;
        };
        let serves = |bucket: &named::Named| bucket.origin == Some(position);
        for bucket in named.iter().filter(|bucket| serves(bucket)) {
            buckets::examine(&origin, &fetch, bucket, options.write, report).await;
        }
    }
    for bucket in named.iter().filter(|bucket| bucket.origin.is_none()) {
        report.problem(
            format!("bucket {}", bucket.bucket.as_str()),
            "no origin serves it",
            "add it to the `buckets` of an origin, or correct the name in the rules",
        );
    }
}
