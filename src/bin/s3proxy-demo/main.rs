//! `s3proxy-demo`: a first look at s3proxy on one machine, and the embedded origin behind it.
//! Built only with the feature `demo`; nothing of it is linked into the proxy.

mod distance;
mod origin;
mod relay;
mod run;
mod throttle;

use std::io::Write as _;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use tokio::net::TcpListener;

use distance::DistanceArgs;
use origin::{Key, Origin, STATS_PATH};

/// Anything that ends a command; shown to the user as it is.
type Error = Box<dyn std::error::Error + Send + Sync>;

#[derive(Debug, Parser)]
#[command(
    version,
    about = "A first look at s3proxy: an embedded S3 origin, real queries, a comparison"
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve a directory as an S3 store that is far away
    Origin(OriginArgs),
    /// Put an S3 server far away: delay and slow down what it answers, and count what it is asked
    Distance(relay::RelayArgs),
    /// Start an origin and s3proxy, compare DuckDB with and without it, and keep both running
    Run(run::RunArgs),
}

#[derive(Debug, Args)]
struct OriginArgs {
    /// Directory whose folders are the buckets
    #[arg(long, value_name = "DIR")]
    root: PathBuf,
    /// Port on 127.0.0.1
    #[arg(long, default_value_t = 9100)]
    port: u16,
    /// Access key id that requests must be signed with
    #[arg(long, env = "AWS_ACCESS_KEY_ID", value_name = "ID")]
    access_key_id: String,
    /// Its secret access key; the environment keeps it out of the process list
    #[arg(
        long,
        env = "AWS_SECRET_ACCESS_KEY",
        hide_env_values = true,
        value_name = "SECRET"
    )]
    secret_access_key: String,
    #[command(flatten)]
    distance: DistanceArgs,
}

#[tokio::main]
async fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Origin(args) => serve_origin(args).await,
        Command::Distance(args) => relay::run(args).await,
        Command::Run(args) => run::run(args).await,
    };
    result.unwrap_or_else(|error| {
        // Not `eprintln`, which panics when the terminal is gone.
        let _ = writeln!(std::io::stderr(), "s3proxy-demo: {error}");
        ExitCode::FAILURE
    })
}

async fn serve_origin(args: OriginArgs) -> Result<ExitCode, Error> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, args.port))
        .await
        .map_err(|error| {
            format!(
                "port {} cannot be used: {error}; choose another with --port",
                args.port
            )
        })?;
    let key = Key {
        id: args.access_key_id,
        secret: args.secret_access_key,
    };
    let origin = Origin::start(&args.root, listener, key, args.distance.distance())
        .map_err(|error| format!("{} cannot be served: {error}", args.root.display()))?;
    println!(
        "serving {} at http://{}",
        args.root.display(),
        origin.addr()
    );
    println!(
        "counters at http://{}{STATS_PATH}; end with Ctrl-C",
        origin.addr()
    );
    run::signals::Stop::listen()?.wait().await;
    Ok(ExitCode::SUCCESS)
}
