//! `s3proxy-demo distance`: puts any S3 server far away. A relay between clients and the server: each answer's first byte is
//! late, each connection is slow, and requests are counted. Messages pass byte for byte, bodies in pieces.

mod connection;
mod counters;
mod exchanges;
mod framing;

#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::Error;
use crate::distance::{Distance, DistanceArgs};
use crate::origin::STATS_PATH;
use crate::run::signals::Stop;
use connection::Connection;
use counters::Counters;
use exchanges::Exchanges;

#[derive(Args, Debug)]
pub(crate) struct RelayArgs {
    /// Address of the S3 server, plain HTTP
    #[arg(long, value_name = "ADDR:PORT")]
    to: SocketAddr,
    /// Where clients connect to
    #[arg(long, default_value = "127.0.0.1:9101", value_name = "ADDR:PORT")]
    listen: SocketAddr,
    /// File that gets one line of JSON for each exchange: its times, in milliseconds, and what was asked
    #[arg(long, value_name = "FILE")]
    log: Option<PathBuf>,
    #[command(flatten)]
    distance: DistanceArgs,
}

/// Relays until a signal.
pub(crate) async fn run(args: RelayArgs) -> Result<ExitCode, Error> {
    let mut stop = Stop::listen()?;
    let listener = TcpListener::bind(args.listen)
        .await
        .map_err(|error| format!("{} cannot be used: {error}", args.listen))?;
    let addr = listener.local_addr()?;
    println!(
        "{} is now far away: http://{addr}, {}",
        args.to, args.distance
    );
    println!("counters at http://{addr}{STATS_PATH}, DELETE resets them; end with Ctrl-C");
    let exchanges = match &args.log {
        Some(path) => {
            let exchanges = Exchanges::create(path);
            Some(exchanges.map_err(|error| format!("{}: {error}", path.display()))?)
        }
        None => None,
    };
    let records = Records {
        counters: Counters::default(),
        exchanges,
    };
    tokio::select! {
        () = accept(listener, args.to, args.distance.distance(), records) => {}
        () = stop.wait() => {}
    }
    Ok(ExitCode::SUCCESS)
}

/// What is kept of what passes.
#[derive(Debug, Default)]
struct Records {
    counters: Counters,
    exchanges: Option<Exchanges>,
}

async fn accept(listener: TcpListener, to: SocketAddr, distance: Distance, records: Records) {
    let records = Arc::new(records);
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((client, _)) => {
                    let connection = Connection::new(to, distance, Arc::clone(&records));
                    connections.spawn(connection.serve(client));
                }
                // Out of file descriptors, most likely: wait for connections to end.
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            },
            Some(_) = connections.join_next() => {}
        }
    }
}
