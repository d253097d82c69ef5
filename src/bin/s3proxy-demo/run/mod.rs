//! `s3proxy-demo run`: an origin, a proxy, a workload, a table, settings to copy, and a clean end.

mod clients;
mod proxy;
mod report;
pub(crate) mod signals;
mod terminal;
mod workload;

use std::io::{self, Read as _};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use clap::Args;
use tempfile::TempDir;
use tokio::net::TcpListener;

use crate::origin::{Key, Origin, STATS_PATH};
use crate::{DistanceArgs, Error};
use proxy::{Proxy, ProxyConfig};
use signals::Stop;
use terminal::Terminal;
use workload::{Route, Workload};

/// The bucket that the workload reads.
const BUCKET: &str = "lake";

/// As the shell reports a command ended by Ctrl-C.
const INTERRUPTED: u8 = 130;

#[derive(Args, Debug)]
pub(crate) struct RunArgs {
    /// The proxy to start [default: s3proxy beside this program]
    #[arg(long, value_name = "FILE")]
    s3proxy_bin: Option<PathBuf>,
    /// Where the Python environment is kept and the data is written [default: target/demo]
    #[arg(long, value_name = "DIR")]
    work_dir: Option<PathBuf>,
    /// Python 3 with the module venv
    #[arg(long, default_value = "python3", value_name = "FILE")]
    python: PathBuf,
    /// Port of the proxy; another is taken when it is busy, as for the next two
    #[arg(long, default_value_t = 3000, value_name = "PORT")]
    port: u16,
    /// Port of the proxy's admin listener
    #[arg(long, default_value_t = 3001, value_name = "PORT")]
    admin_port: u16,
    /// Port of the embedded origin
    #[arg(long, default_value_t = 9100, value_name = "PORT")]
    origin_port: u16,
    /// TPC-H scale factor of the data
    #[arg(long, default_value_t = 0.2, value_name = "FACTOR")]
    scale: f64,
    /// Times each query runs; the first through the proxy is the cold one
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(2..), value_name = "N")]
    rounds: u32,
    /// End after the table
    #[arg(long)]
    once: bool,
    /// Measure the origin alone, without a proxy
    #[arg(long)]
    direct_only: bool,
    #[command(flatten)]
    distance: DistanceArgs,
}

/// Everything that is started once and kept until the end. Dropping it closes the origin and removes the files.
struct Stage {
    origin: Origin,
    origin_key: Key,
    client_key: Key,
    workload: Workload,
    dir: TempDir,
}

/// Runs the demonstration until a signal, or until the table with `--once`.
pub(crate) async fn run(args: RunArgs) -> Result<ExitCode, Error> {
    let mut stop = Stop::listen()?;
    let terminal = Terminal::detect();
    let work_dir = work_dir(&args)?;
    let mut proxy = None;
    let outcome = tokio::select! {
        outcome = perform(&args, &work_dir, &terminal, &mut proxy) => Some(outcome),
        () = stop.wait() => None,
    };
    let outcome = match outcome {
        Some(Ok(stage)) if !args.once => {
            terminal.say("Everything keeps running. End it with Ctrl-C.");
            let ended = serve(&mut proxy, &mut stop).await;
            drop(stage);
            Some(ended)
        }
        Some(outcome) => Some(outcome.map(drop)),
        None => None,
    };
    if let Some(proxy) = proxy {
        terminal.end_line();
        let ended = proxy.stop(&mut stop).await;
        terminal.say(&format!("s3proxy ended: {ended}"));
    }
    match outcome {
        Some(Ok(())) => Ok(ExitCode::SUCCESS),
        Some(Err(error)) => Err(error),
        None => Ok(ExitCode::from(INTERRUPTED)),
    }
}

/// Starts everything and prints the comparison and the settings. The proxy is handed out at once, so that it is
/// stopped properly when this is interrupted.
async fn perform(
    args: &RunArgs,
    work_dir: &Path,
    terminal: &Terminal,
    proxy: &mut Option<Proxy>,
) -> Result<Stage, Error> {
    let stage = prepare(args, work_dir, terminal).await?;
    let direct = Route {
        name: "direct",
        endpoint: stage.origin.addr(),
        key: stage.origin_key.clone(),
    };
    let mut routes = vec![direct];
    if !args.direct_only {
        let started = proxy.insert(start_proxy(args, &stage, terminal).await?);
        started.wait_until_ready().await?;
        routes.push(Route {
            name: "proxy",
            endpoint: started.addr(),
            key: stage.client_key.clone(),
        });
    }
    let stats = format!("http://{}{STATS_PATH}", stage.origin.addr());
    let samples = stage
        .workload
        .measure(&routes, &stats, args.rounds, terminal)
        .await?;
    terminal.print(&report::table(&samples, terminal)?);
    if let Some(proxy) = proxy {
        terminal.print(&clients::settings(
            proxy.addr(),
            &stage.client_key,
            terminal,
        ));
    }
    Ok(stage)
}

async fn prepare(args: &RunArgs, work_dir: &Path, terminal: &Terminal) -> Result<Stage, Error> {
    std::fs::create_dir_all(work_dir)
        .map_err(|error| format!("{}: {error}", work_dir.display()))?;
    let dir = tempfile::Builder::new()
        .prefix("run-")
        .tempdir_in(work_dir)?;
    let store = dir.path().join("store");
    std::fs::create_dir_all(store.join(BUCKET))?;
    let origin_key = Key {
        id: "demo-origin".to_owned(),
        secret: random_secret()?,
    };
    let client_key = Key {
        id: "demo".to_owned(),
        secret: random_secret()?,
    };

    let listener = listen(args.origin_port, "origin", terminal).await?;
    let distance = args.distance.distance();
    let origin = Origin::start(&store, listener, origin_key.clone(), distance)?;
    let DistanceArgs {
        first_byte_delay,
        bandwidth,
    } = &args.distance;
    let delay = humantime::format_duration(*first_byte_delay);
    let rate = if bandwidth.as_u64() == 0 {
        String::new()
    } else {
        format!(", {} per second and connection", bandwidth.display().si())
    };
    terminal.say(&format!(
        "origin at http://{}: {delay} to the first byte{rate}",
        origin.addr()
    ));

    terminal.say("preparing DuckDB (downloaded once)");
    let workload = Workload::install(&args.python, work_dir, dir.path()).await?;
    terminal.say(&format!(
        "generating TPC-H data, scale factor {}",
        args.scale
    ));
    let direct = Route {
        name: "direct",
        endpoint: origin.addr(),
        key: origin_key.clone(),
    };
    let generated = workload.generate(&direct, args.scale).await?;
    terminal.say(&generated);
    Ok(Stage {
        origin,
        origin_key,
        client_key,
        workload,
        dir,
    })
}

async fn start_proxy(args: &RunArgs, stage: &Stage, terminal: &Terminal) -> Result<Proxy, Error> {
    let bin = match &args.s3proxy_bin {
        Some(bin) => bin.clone(),
        None => std::env::current_exe()?.with_file_name("s3proxy"),
    };
    let config = ProxyConfig {
        listen: free_addr(args.port, "proxy", terminal).await?,
        admin: free_addr(args.admin_port, "admin listener", terminal).await?,
        origin: stage.origin.addr(),
        origin_key: &stage.origin_key,
        client_key: &stage.client_key,
    };
    let proxy = Proxy::start(&bin, &config, stage.dir.path())?;
    terminal.say(&format!(
        "proxy  at http://{}, admin at http://{}",
        config.listen, config.admin
    ));
    Ok(proxy)
}

/// Until a signal, or until the proxy ends by itself.
async fn serve(proxy: &mut Option<Proxy>, stop: &mut Stop) -> Result<(), Error> {
    let Some(proxy) = proxy else {
        stop.wait().await;
        return Ok(());
    };
    tokio::select! {
        error = proxy.died() => Err(error),
        () = stop.wait() => Ok(()),
    }
}

fn work_dir(args: &RunArgs) -> Result<PathBuf, Error> {
    if let Some(dir) = &args.work_dir {
        return Ok(std::path::absolute(dir)?);
    }
    // target/release/s3proxy-demo -> target/demo
    let exe = std::env::current_exe()?;
    let target = exe
        .parent()
        .and_then(Path::parent)
        .ok_or("give --work-dir")?;
    Ok(target.join("demo"))
}

/// Listens on `port`, or on a free one when it is busy.
async fn listen(port: u16, name: &str, terminal: &Terminal) -> io::Result<TcpListener> {
    match TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
            terminal.say(&format!(
                "port {port} is busy: the {name} takes {}",
                listener.local_addr()?.port()
            ));
            Ok(listener)
        }
        listener => listener,
    }
}

/// An address that was free a moment ago, for a child that listens by itself.
async fn free_addr(port: u16, name: &str, terminal: &Terminal) -> io::Result<SocketAddr> {
    listen(port, name, terminal).await?.local_addr()
}

/// 120 random bits, in letters that need no quoting anywhere.
fn random_secret() -> io::Result<String> {
    let mut bytes = [0; 15];
    std::fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(BASE64_URL_SAFE_NO_PAD.encode(bytes))
}
