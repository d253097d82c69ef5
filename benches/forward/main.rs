//! What forwarding costs, side by side: the same signed requests sent straight to an origin on the
//! loopback interface, and through the proxy with verification on.
//!
//! `cargo bench --bench forward` takes about a minute and prints a Markdown table;
//! `cargo bench --bench forward -- --quick` only shows that it works, and any other argument picks
//! the requests whose name has it. Rounds alternate between the
//! two ways, so that whatever else the machine does meets both; ratios are taken within a round.

#![allow(clippy::unwrap_used, reason = "a benchmark may fall over")]
#![allow(
    clippy::cast_precision_loss,
    reason = "counts stay far below 2^52, and the results are rounded"
)]

mod load;
mod origin;
mod process;
mod report;
mod request;
mod wire;

use std::time::Duration;

use load::Sample;
use process::Proxy;
use report::Cell;
use request::Request;

/// Connections that send one request after the other.
const CONNECTIONS: [usize; 2] = [1, 8];

/// What is measured, how long and how often.
struct Plan {
    rounds: usize,
    duration: Duration,
    /// A part of the names of the requests.
    name: Option<String>,
}

impl Plan {
    /// Cargo says `--bench` when it benchmarks; as a test, this only has to work.
    fn of_arguments() -> Self {
        let arguments: Vec<String> = std::env::args().skip(1).collect();
        let has = |name: &str| arguments.iter().any(|argument| argument == name);
        let (rounds, milliseconds) = if has("--quick") || !has("--bench") {
            (1, 20)
        } else {
            (7, 350)
        };
        Self {
            rounds,
            duration: Duration::from_millis(milliseconds),
            name: arguments.into_iter().find(|word| !word.starts_with('-')),
        }
    }

    fn cells(&self) -> Vec<Cell> {
        let is_meant = |request: &Request| {
            let name = self.name.as_deref().unwrap_or_default();
            request.name.contains(name)
        };
        let requests = Request::all().into_iter().filter(is_meant);
        requests
            .flat_map(|request| CONNECTIONS.map(|count| Cell::new(request.clone(), count)))
            .collect()
    }
}

fn main() {
    let plan = Plan::of_arguments();
    let origin = origin::start();
    let proxy = Proxy::start(origin);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let mut cells = plan.cells();
    for round in 0..plan.rounds {
        for cell in &mut cells {
            let request = cell.request.clone();
            let measure = |address| {
                let load = load::run(address, &request, cell.connections, plan.duration);
                runtime.block_on(load)
            };
            let through = |direct: Option<Sample>| {
                proxy.forget_peak_memory();
                let before = proxy.cpu_time();
                let proxied = measure(proxy.address);
                let cpu = proxy.cpu_time().saturating_sub(before);
                let direct = direct.unwrap_or_else(|| measure(origin));
                (direct, proxied, cpu, proxy.peak_memory_kib())
            };
            // Neither way is always the first to run on a warm or a busy machine.
            let first = (round % 2 == 0).then(|| measure(origin));
            let measured = through(first);
            cell.add(measured.0, measured.1, measured.2, measured.3);
        }
    }
    report::print(&cells, plan.rounds, plan.duration);
}
