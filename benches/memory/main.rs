//! What a hit from memory costs: our store, our store through `pingora_cache::Storage`, Pingora's own
//! `MemCache`, and a map whose values are copied.
//!
//! `cargo bench --bench memory` prints a Markdown table. Each hit is taken out, and in the second half of
//! the rows also written to a socket on the loopback interface that somebody empties.

#![allow(clippy::unwrap_used, reason = "a benchmark may fall over")]
#![allow(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    reason = "counts stay far below 2^52, and the results are rounded"
)]

#[path = "../measure/mod.rs"]
mod measure;
mod ways;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;

use measure::{Dice, Plan, Sample, median, spread, take_turns};
use ways::{Hits, MapCopy, OurStorage, OurStore, PingoraMap};

/// The length of each object, and how many there are: more than the processor's caches hold.
const OBJECT_BYTES: usize = 64 << 20;
const OBJECTS: usize = 4;

const SIZES: [(&str, usize); 4] = [
    ("64 KiB", 64 << 10),
    ("1 MiB", 1 << 20),
    ("8 MiB", 8 << 20),
    ("whole, 64 MiB", OBJECT_BYTES),
];

fn main() {
    let plan = Plan::of_arguments();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let mut hits: [Box<dyn Hits>; 4] = runtime.block_on(async {
        [
            Box::new(OurStore::new()) as Box<dyn Hits>,
            Box::new(OurStorage::new().await),
            Box::new(PingoraMap::new().await),
            Box::new(MapCopy::new()),
        ]
    });
    println!("| hit | | µs, CPU | GB/s | ratio to s3proxy | pieces of a hit |");
    println!("|---|---|--:|--:|--:|--:|");
    for is_sent in [false, true] {
        for (name, size) in SIZES {
            measure_size(&plan, &runtime, &mut hits, name, size, is_sent);
        }
    }
}

fn measure_size(
    plan: &Plan,
    runtime: &tokio::runtime::Runtime,
    hits: &mut [Box<dyn Hits>; 4],
    name: &str,
    size: usize,
    is_sent: bool,
) {
    let names: Vec<&str> = hits.iter().map(|hits| hits.name()).collect();
    let pieces: Vec<usize> = hits
        .iter_mut()
        .map(|hits| {
            let mut pieces = 0;
            runtime.block_on(hits.hit(0, 0..size, &mut |_| pieces += 1));
            pieces
        })
        .collect();
    let mut rounds: Vec<Box<dyn FnMut() -> Sample>> = Vec::new();
    for hits in hits.iter_mut() {
        let mut dice = Dice(7);
        let mut socket = is_sent.then(drain);
        rounds.push(Box::new(move || {
            plan.sample(|| {
                let object = usize::try_from(dice.roll(OBJECTS as u64)).unwrap();
                let start = dice.roll((OBJECT_BYTES / size) as u64);
                let start = usize::try_from(start).unwrap() * size;
                let mut taken = 0;
                runtime.block_on(hits.hit(object, start..start + size, &mut |piece| {
                    let piece = std::hint::black_box(piece);
                    taken += piece.len();
                    if let Some(socket) = &mut socket {
                        socket.write_all(&piece).unwrap();
                    }
                }));
                assert_eq!(taken, size);
            })
        }));
    }
    let mut turns: Vec<&mut dyn FnMut() -> Sample> = rounds
        .iter_mut()
        .map(|round| &mut **round as &mut dyn FnMut() -> Sample)
        .collect();
    let samples = take_turns(plan, &mut turns);
    for ((way, samples_of_way), pieces) in names.iter().zip(&samples).zip(pieces) {
        let ratios = samples_of_way.iter().zip(&samples[0]);
        let ratio = median(ratios.map(|(this, ours)| this.cpu_micros() / ours.cpu_micros()));
        let rate = samples_of_way
            .iter()
            .map(|sample| size as f64 / sample.wall_micros() / 1e3);
        let what = if is_sent { "sent" } else { "taken out" };
        println!(
            "| {name}, {what} | {way} | {} | {:.1} | {ratio:.2} | {pieces} |",
            spread(samples_of_way.iter().map(Sample::cpu_micros)),
            median(rate),
        );
    }
}

/// A socket whose other end is emptied by a thread, that counts too.
fn drain() -> TcpStream {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let socket = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (mut other, _) = listener.accept().unwrap();
    thread::spawn(move || {
        let mut buffer = vec![0; 1 << 20];
        while other.read(&mut buffer).is_ok_and(|read| read > 0) {}
    });
    socket
}
