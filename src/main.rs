//! The `s3proxy` command: arguments, configuration, then the server.

use std::process::ExitCode;

use pingora::server::configuration::Opt;
use s3proxy::config::Args;
use s3proxy::config::Command;
use s3proxy::config::Config;
use s3proxy::config::Handover;
use s3proxy::server::Signals;

/// Buffers of 64 KiB to 8 MiB come and go with every request; mimalloc returns them faster and
/// keeps less of them than the system's allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // Before anything else: the signals would end the process.
    let signals = Signals::catch();
    let args = Args::parse_or_exit();
    if let Some(Command::Ctl(ctl)) = &args.command {
        return s3proxy::ctl::run(ctl, args.admin_listener());
    }
    if let Some(Command::Doctor(options)) = &args.command {
        return s3proxy::doctor::run(&args, options);
    }
    s3proxy::telemetry::logger::init();
    if args.command == Some(Command::Upgrade) && !args.test {
        return upgrade(&args);
    }
    signals.tell_faults();
    let config = match Config::load(&args) {
        Ok(config) => config,
        Err(errors) => {
            eprintln!("{errors}");
            return ExitCode::FAILURE;
        }
    };
    if args.test {
        if let Err(error) = s3proxy::server::check(&config) {
            eprintln!("{}: {error}", args.source());
            return ExitCode::FAILURE;
        }
        print!("{}: ok\n{}", args.source(), config.summary());
        return ExitCode::SUCCESS;
    }
    for warning in &config.warnings {
        log::warn!("{warning}");
    }
    let opt = Opt {
        upgrade: args.upgrade,
        daemon: args.daemon,
        ..Opt::default()
    };
    match s3proxy::server::run(config, args, signals, opt) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            log::error!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn upgrade(args: &Args) -> ExitCode {
    let handover = match Handover::load(args) {
        Ok(handover) => handover,
        Err(errors) => {
            eprintln!("{errors}");
            return ExitCode::FAILURE;
        }
    };
    let note = |note: &str| println!("{note}");
    let (socket, patience) = (&handover.upgrade_sock, handover.upgrade_timeout);
    match s3proxy::server::request_upgrade(socket, patience, note) {
        Ok(process) => {
            println!("process {process} serves");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("no upgrade: {error}");
            ExitCode::FAILURE
        }
    }
}
