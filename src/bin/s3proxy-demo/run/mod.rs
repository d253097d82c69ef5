//! `s3proxy-demo run`: an origin, a proxy, a workload, a table, settings to copy, and a clean end.

mod clients;
mod proxy;
mod report;
pub(crate) mod signals;
mod terminal;
mod workload;

use std::fs::Permissions;
use std::io::{self, Read as _};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use clap::Args;
use tempfile::TempDir;
use tokio::net::TcpListener;

use crate::Error;
use crate::distance::DistanceArgs;
use crate::origin::{Key, Origin, STATS_PATH};
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

/// Where files go.
struct Dirs {
    /// Kept for the next time: the Python environment.
    kept: PathBuf,
    /// Removed at the end: data, configuration, secrets, logs.
    run: TempDir,
}

/// Who signs with what: the proxy towards the origin, and the clients towards the proxy.
struct Keys {
    origin: Key,
    client: Key,
}

/// Runs the demonstration until a signal, or until the table with `--once`.
pub(crate) async fn run(args: RunArgs) -> Result<ExitCode, Error> {
    let mut stop = Stop::listen()?;
    let terminal = Terminal::detect();
    let dirs = Dirs::make(&args)?; // dropped last: the proxy may write to them until its end
    let mut proxy = None;
    let outcome = tokio::select! {
        outcome = perform(&args, &dirs, &terminal, &mut proxy) => Some(outcome),
        () = stop.wait() => None,
    };
    let outcome = match &outcome {
        Some(Ok(_)) if !args.once => {
            terminal.say("Everything keeps running. End it with Ctrl-C.");
            serve(&mut proxy, &mut stop)
                .await
                .map(|()| ExitCode::SUCCESS)
        }
        _ => outcome.map_or(Ok(ExitCode::from(INTERRUPTED)), |done| {
            done.map(|_| ExitCode::SUCCESS)
        }),
    };
    terminal.end_line();
    if let Some(proxy) = proxy
        && let Some(ended) = proxy.stop(&mut stop).await
    {
        terminal.say(&format!("s3proxy ended: {ended}"));
    }
    outcome
}

/// Starts everything and prints the comparison and the settings; the origin runs as long as what is returned. The
/// proxy is handed out as soon as it is started, so that it is stopped properly when this is interrupted.
async fn perform(
    args: &RunArgs,
    dirs: &Dirs,
    terminal: &Terminal,
    proxy: &mut Option<Proxy>,
) -> Result<Origin, Error> {
    let keys = Keys {
        origin: Key::random("demo-origin")?,
        client: Key::random("demo")?,
    };
    let origin = start_origin(args, &keys.origin, dirs.run.path(), terminal).await?;
    let mut routes = vec![Route {
        name: "direct",
        endpoint: origin.addr(),
        key: keys.origin.clone(),
    }];
    if !args.direct_only {
        let started =
            proxy.insert(start_proxy(args, &origin, &keys, dirs.run.path(), terminal).await?);
        started.wait_until_ready().await?;
        routes.push(Route {
            name: "proxy",
            endpoint: started.addr(),
            key: keys.client.clone(),
        });
    }

    terminal.say("preparing DuckDB (downloaded once)");
    let workload = Workload::install(&args.python, &dirs.kept, dirs.run.path()).await?;
    terminal.say(&format!(
        "generating TPC-H data, scale factor {}",
        args.scale
    ));
    terminal.say(&workload.generate(&routes[0], args.scale).await?);
    let stats = format!("http://{}{STATS_PATH}", origin.addr());
    let measured = workload.measure(&routes, &stats, args.rounds, terminal);
    let samples = match proxy {
        Some(proxy) => proxy.during(measured).await?,
        None => measured.await?,
    };

    terminal.print(&report::table(&samples, terminal)?);
    if let Some(proxy) = proxy {
        terminal.print(&clients::settings(proxy.addr(), &keys.client, terminal));
    }
    Ok(origin)
}

async fn start_origin(
    args: &RunArgs,
    key: &Key,
    dir: &Path,
    terminal: &Terminal,
) -> Result<Origin, Error> {
    let store = dir.join("store");
    std::fs::create_dir_all(store.join(BUCKET))?;
    let listener = listen(args.origin_port, "origin", terminal).await?;
    let origin = Origin::start(&store, listener, key.clone(), args.distance.distance())?;
    terminal.say(&format!(
        "origin at http://{}: {}",
        origin.addr(),
        args.distance
    ));
    Ok(origin)
}

async fn start_proxy(
    args: &RunArgs,
    origin: &Origin,
    keys: &Keys,
    dir: &Path,
    terminal: &Terminal,
) -> Result<Proxy, Error> {
    let bin = match &args.s3proxy_bin {
        Some(bin) => bin.clone(),
        None => std::env::current_exe()?.with_file_name("s3proxy"),
    };
    let config = ProxyConfig {
        listen: free_addr(args.port, "proxy", terminal).await?,
        admin: free_addr(args.admin_port, "admin listener", terminal).await?,
        origin: origin.addr(),
        origin_key: &keys.origin,
        client_key: &keys.client,
    };
    let proxy = Proxy::start(&bin, &config, dir)?;
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

impl Dirs {
    fn make(args: &RunArgs) -> Result<Self, Error> {
        let kept = match &args.work_dir {
            Some(dir) => std::path::absolute(dir)?,
            None => default_work_dir()?,
        };
        std::fs::create_dir_all(&kept).map_err(|error| format!("{}: {error}", kept.display()))?;
        let private = Permissions::from_mode(0o700);
        let run = tempfile::Builder::new()
            .prefix("run-")
            .permissions(private)
            .tempdir_in(&kept)?;
        Ok(Self { kept, run })
    }
}

/// `target/demo` for `target/release/s3proxy-demo`.
fn default_work_dir() -> Result<PathBuf, Error> {
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

impl Key {
    /// A pair with a secret of 120 random bits, in letters that need no quoting anywhere.
    fn random(id: &str) -> io::Result<Self> {
        let mut bytes = [0; 15];
        std::fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
        Ok(Self {
            id: id.to_owned(),
            secret: BASE64_URL_SAFE_NO_PAD.encode(bytes),
        })
    }
}
