//! What a hit costs as more objects are cached, and over more connections: `--growth`, and with `--million` up to a
//! million objects, which takes a quarter of an hour, 8 GB of memory and 12 GB below `TMPDIR`.
//!
//! Whole requests to the whole proxy: verified, authorized, logged. Each way keeps its objects in a proxy of its own, and
//! all of them take turns.

use std::ffi::OsStr;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

use crate::Plan;
use crate::load;
use crate::origin::{Origin, SMALL_BYTES};
use crate::process::{Process, Proxy};
use crate::report::median;
use crate::request::Request;
use crate::wire::Connection;

/// Connections that fill a cache, and that read from it where the number of objects is compared.
const READERS: usize = 8;

/// Everything fits; an object is asked after once.
const FRESH: &str = "  rules:\n    - buckets: [\"*\"]\n      freshness: immutable\n";

/// Where a hit finds its bytes.
#[derive(Clone, Copy)]
enum Hit {
    /// A HEAD finds none.
    Meta,
    Memory,
    Disk,
}

/// A proxy with so many objects in its cache.
struct Filled {
    count: u64,
    proxy: Proxy,
    /// Resident bytes that came with each object.
    bytes_an_object: f64,
}

/// CPU time of a proxy for each of some requests.
struct Cost {
    micros: f64,
    requests_per_second: f64,
}

pub(crate) fn print(plan: &Plan, origin: &Origin, runtime: &Runtime) {
    let has = |name| std::env::args().any(|argument| argument == name);
    let counts: &[u64] = match (plan.rounds, has("--million")) {
        (1, _) => &[10, 100],
        (_, false) => &[1_000, 10_000, 100_000],
        (_, true) => &[1_000, 10_000, 100_000, 1_000_000],
    };
    println!(
        "| hit | objects | CPU µs/request | ratio to the fewest | req/s | resident bytes an object |"
    );
    println!("|---|--:|--:|--:|--:|--:|");
    let memory = format!("cache:\n  memory: 6GiB\n  metas: 6GiB\n{FRESH}");
    let filled = fill(counts, origin, runtime, |_| memory.clone());
    objects(plan, runtime, "HEAD", Hit::Meta, &filled);
    objects(
        plan,
        runtime,
        "GET 4 KiB, from memory",
        Hit::Memory,
        &filled,
    );
    drop(filled);
    // Fewer fit into the least memory that there can be.
    let counts = counts.strip_prefix(&[1_000]).unwrap_or(counts);
    let dirs: Vec<_> = counts
        .iter()
        .map(|_| tempfile::tempdir().unwrap())
        .collect();
    let disk = |index: usize| {
        format!(
            "cache:\n  memory: 8MiB\n  fill_memory: 8MiB\n  metas: 6GiB\n  dir: {}\n  disk: 32GiB\n  min_free: 0\n{FRESH}",
            dirs[index].path().join("cache").display()
        )
    };
    let filled = fill(counts, origin, runtime, disk);
    objects(plan, runtime, "GET 4 KiB, from disk", Hit::Disk, &filled);
    drop(filled);
    connections(plan, origin, runtime);
}

/// Starts a proxy for each number of objects and reads each of its objects once.
fn fill(
    counts: &[u64],
    origin: &Origin,
    runtime: &Runtime,
    cache: impl Fn(usize) -> String,
) -> Vec<Filled> {
    let start = |(index, &count): (usize, &u64)| {
        let proxy = Proxy::start(this_proxy(), origin.address, &cache(index), None);
        let before = resident_bytes(&proxy.process);
        runtime.block_on(read_all(proxy.address, count));
        let resident = resident_bytes(&proxy.process) - before;
        Filled {
            count,
            proxy,
            bytes_an_object: resident / count as f64,
        }
    };
    counts.iter().enumerate().map(start).collect()
}

/// A table of one kind of hit.
fn objects(plan: &Plan, runtime: &Runtime, name: &str, hit: Hit, filled: &[Filled]) {
    let mut costs: Vec<Vec<Cost>> = filled.iter().map(|_| Vec::new()).collect();
    for round in 0..plan.rounds {
        for turn in 0..filled.len() {
            let index = (turn + round) % filled.len();
            let (count, proxy) = (filled[index].count, &filled[index].proxy);
            let seed = (round * filled.len() + turn) as u64;
            let pick = move |number: u64| small(hit, scattered(seed << 32 | number) % count);
            costs[index].push(cost(plan, runtime, proxy, READERS, pick));
        }
    }
    for (
        Filled {
            count,
            bytes_an_object,
            ..
        },
        of_this,
    ) in filled.iter().zip(&costs)
    {
        let row = format!("| {name} | {count}");
        let memory = match hit {
            Hit::Meta => String::new(),
            Hit::Memory | Hit::Disk => format!("{bytes_an_object:.0}"),
        };
        println!("{row} | {} | {memory} |", figures(of_this, &costs[0]));
    }
}

/// A table of requests over more and more connections.
fn connections(plan: &Plan, origin: &Origin, runtime: &Runtime) {
    let counts: &[usize] = match plan.rounds {
        1 => &[1, 10],
        _ => &[8, 1, 64, 1000],
    };
    let cache = format!("cache:\n  memory: 1GiB\n{FRESH}");
    let proxy = Proxy::start(this_proxy(), origin.address, &cache, None);
    println!(
        "\n| request | connections | CPU µs/request | ratio to {} | req/s |",
        counts[0]
    );
    println!("|---|--:|--:|--:|--:|");
    for request in Request::all() {
        if !["GET range 4 KiB", "GET range 64 KiB"].contains(&request.name) {
            continue;
        }
        let mut costs: Vec<Vec<Cost>> = counts.iter().map(|_| Vec::new()).collect();
        for round in 0..plan.rounds {
            for turn in 0..counts.len() {
                let index = (turn + round) % counts.len();
                let pick = always(&request);
                costs[index].push(cost(plan, runtime, &proxy, counts[index], pick));
            }
        }
        for (count, of_this) in counts.iter().zip(&costs) {
            let figures = figures(of_this, &costs[0]);
            println!("| {} | {count} | {figures} |", request.name);
        }
    }
    let proxy = Proxy::start(this_proxy(), origin.address, &cache, None);
    let request = small(Hit::Memory, 0);
    let one = runtime.block_on(open(proxy.address, 1, always(&request)));
    let before = resident_bytes(&proxy.process);
    let most = counts[counts.len() - 1];
    let opened = runtime.block_on(open(proxy.address, most, always(&request)));
    let bytes = (resident_bytes(&proxy.process) - before) / opened.len() as f64;
    println!(
        "\n{} idle connections take {bytes:.0} resident bytes each.",
        opened.len()
    );
    drop((one, opened));
}

fn figures(costs: &[Cost], fewest: &[Cost]) -> String {
    let (middle, least, most) = median(costs.iter().map(|cost| cost.micros));
    let ratios = costs
        .iter()
        .zip(fewest)
        .map(|(this, fewest)| this.micros / fewest.micros);
    let (ratio, ..) = median(ratios);
    let (rate, ..) = median(costs.iter().map(|cost| cost.requests_per_second));
    format!("{middle:.1} ({least:.1}–{most:.1}) | {ratio:.2} | {rate:.0}")
}

/// What a request costs a proxy, of those that are sent over so many connections in one round.
fn cost(
    plan: &Plan,
    runtime: &Runtime,
    proxy: &Proxy,
    connections: usize,
    pick: impl Fn(u64) -> Request + Clone + Send + 'static,
) -> Cost {
    let opened = runtime.block_on(open(proxy.address, connections, pick.clone()));
    let (begun, before) = (Instant::now(), proxy.process.cpu_time());
    let requests = runtime.block_on(read(opened, plan.duration, pick)) as f64;
    let cpu = proxy.process.cpu_time().saturating_sub(before);
    Cost {
        micros: cpu.as_secs_f64() * 1e6 / requests,
        requests_per_second: requests / begun.elapsed().as_secs_f64(),
    }
}

/// Each of the objects once, over a few connections.
async fn read_all(address: SocketAddr, count: u64) {
    let mut tasks = JoinSet::new();
    for reader in 0..READERS as u64 {
        tasks.spawn(async move {
            let mut connection = Connection::new(TcpStream::connect(address).await.unwrap());
            let mut number = reader;
            while number < count {
                load::exchange(&mut connection, &small(Hit::Memory, number)).await;
                number += READERS as u64;
            }
        });
    }
    tasks.join_all().await;
}

/// So many connections, over each of which one request was sent.
async fn open(
    address: SocketAddr,
    connections: usize,
    pick: impl Fn(u64) -> Request,
) -> Vec<Connection> {
    let mut opened = Vec::new();
    for number in 0..connections as u64 {
        let mut connection = Connection::new(TcpStream::connect(address).await.unwrap());
        load::exchange(&mut connection, &pick(number)).await;
        opened.push(connection);
    }
    opened
}

/// Sends requests over these connections for so long; how many.
async fn read(
    opened: Vec<Connection>,
    duration: Duration,
    pick: impl Fn(u64) -> Request + Clone + Send + 'static,
) -> u64 {
    let begun = Instant::now();
    let mut tasks = JoinSet::new();
    for (reader, mut connection) in opened.into_iter().enumerate() {
        let pick = pick.clone();
        tasks.spawn(async move {
            let mut count = 0;
            while count == 0 || begun.elapsed() < duration {
                let number = (reader as u64) << 20 | count;
                load::exchange(&mut connection, &pick(number)).await;
                count += 1;
            }
            count
        });
    }
    tasks.join_all().await.into_iter().sum()
}

fn always(request: &Request) -> impl Fn(u64) -> Request + Clone + Send + 'static {
    let request = request.clone();
    move |_| request.clone()
}

fn small(hit: Hit, number: u64) -> Request {
    let path = format!("/lake/hive/small/part-{number:08}.parquet");
    match hit {
        Hit::Meta => Request::new("HEAD", "HEAD", &path, None, &[], 0),
        Hit::Memory | Hit::Disk => Request::new("GET", "GET", &path, None, &[], SMALL_BYTES),
    }
}

/// Numbers all over the place, the same in every run (SplitMix64).
fn scattered(number: u64) -> u64 {
    let mut bits = number
        .wrapping_mul(0x9E37_79B9_7F4A_7C15)
        .wrapping_add(0x9E37_79B9_7F4A_7C15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    bits ^ (bits >> 31)
}

fn this_proxy() -> &'static OsStr {
    OsStr::new(env!("CARGO_BIN_EXE_s3proxy"))
}

fn resident_bytes(process: &Process) -> f64 {
    process.resident_kib() as f64 * 1024.0
}
