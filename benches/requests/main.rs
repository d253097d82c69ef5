//! What a request costs, side by side: the same signed requests sent straight to an origin on the
//! loopback interface, forwarded by the proxy without a cache, and answered from its cache; verification
//! is on in both. Where nginx is installed, its slice cache is measured beside them; it verifies nothing.
//!
//! `cargo bench --bench requests` takes a few minutes and prints a Markdown table;
//! `cargo bench --bench requests -- --quick` only shows that it works, and any other argument picks
//! the requests whose name has it. All ways take turns in each round, so that whatever else the machine does
//! meets all of them. `--growth` shows instead how the cost of a hit grows ([`growth`]). `S3PROXY_OTHER_BIN` names another build of the proxy, which is measured beside this one.

#![allow(clippy::unwrap_used, reason = "a benchmark may fall over")]
#![allow(
    clippy::cast_precision_loss,
    reason = "counts stay far below 2^52, and the results are rounded"
)]

mod growth;
mod load;
mod nginx;
mod origin;
mod process;
mod report;
mod request;
mod tls;
mod way;
mod wire;

use std::time::Duration;

use tokio::runtime::Runtime;

use origin::Origin;
use report::Cell;
use request::Request;
use way::Way;

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
            (7, 500)
        };
        Self {
            rounds,
            duration: Duration::from_millis(milliseconds),
            name: arguments.into_iter().find(|word| !word.starts_with('-')),
        }
    }

    fn requests(&self) -> Vec<Request> {
        let mut requests = Request::all();
        requests.retain(|request| {
            let name = self.name.as_deref().unwrap_or_default();
            request.name.contains(name)
        });
        requests
    }
}

fn main() {
    let plan = Plan::of_arguments();
    let origin = origin::start();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    if std::env::args().any(|argument| argument == "--growth") {
        growth::print(&plan, &origin, &runtime);
        return;
    }
    let ways = Way::all(&origin);
    let mut cells: Vec<Vec<Cell>> = Vec::new();
    for request in plan.requests() {
        for connections in CONNECTIONS {
            let meant = ways.iter().filter(|way| way.takes(&request));
            cells.push(
                meant
                    .map(|way| Cell::new(way, &request, connections))
                    .collect(),
            );
        }
    }
    for round in 0..plan.rounds {
        for cell in &mut cells {
            measure(&plan, &origin, &runtime, round, cell);
        }
    }
    let cells: Vec<Cell> = cells.into_iter().flatten().collect();
    report::print(&cells, plan.rounds, plan.duration);
}

/// One round of one request at one number of connections, each way once.
fn measure(plan: &Plan, origin: &Origin, runtime: &Runtime, round: usize, cell: &mut [Cell]) {
    // No way is always the first to run on a warm or a busy machine.
    let first = round % cell.len();
    cell.rotate_left(first);
    for one in &mut *cell {
        let way = one.way;
        let measured = async {
            way.warm_up(&one.request, origin).await;
            let asked = origin.requests();
            way.forget_peak_memory();
            let before = way.cpu_time();
            let sample = load::run(&way.door, &one.request, one.connections, plan.duration).await;
            let cpu = way.cpu_time().saturating_sub(before);
            (sample, cpu, origin.requests() - asked)
        };
        let (sample, cpu, asked) = runtime.block_on(measured);
        one.add(sample, cpu, asked);
    }
    cell.rotate_right(first);
}
