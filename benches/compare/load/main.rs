//! `s3proxy-load`: a client that does nothing but send signed reads, compare every byte and keep time, so that its own share of the
//! processor is small. `benches/compare` starts it: a job as JSON on standard input, results as JSON on standard output.

mod exchange;
mod job;
mod pattern;
mod plan;
mod result;
mod run;
mod signing;
#[path = "../../requests/wire.rs"]
mod wire;

use std::io::{Read as _, stdin};
use std::process::ExitCode;

use job::Job;
use pattern::Pattern;

type Error = Box<dyn std::error::Error>;

fn main() -> ExitCode {
    match measure() {
        Ok(text) => {
            println!("{text}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("s3proxy-load: {error}");
            ExitCode::FAILURE
        }
    }
}

fn measure() -> Result<String, Error> {
    let mut text = String::new();
    stdin().read_to_string(&mut text)?;
    let job: Job = serde_json::from_str(&text)?;
    let pattern = Pattern::read(&job.pattern)?;
    // One thread: what it uses is not there for who is measured.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let results = runtime.block_on(run::all(&job, pattern))?;
    Ok(serde_json::to_string(&results)?)
}
