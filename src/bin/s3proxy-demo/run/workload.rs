//! DuckDB and the queries: a Python environment, the script that drives DuckDB, and what it measured.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, Command};

use super::{BUCKET, terminal::Terminal};
use crate::Error;
use crate::origin::Key;

const SCRIPT: &str = include_str!("../../../../tests/demo/workload.py");
const REQUIREMENTS: &str = include_str!("../../../../tests/demo/requirements.txt");

/// One way to the data.
#[derive(Clone, Debug)]
pub(crate) struct Route {
    pub(crate) name: &'static str,
    pub(crate) endpoint: SocketAddr,
    pub(crate) key: Key,
}

/// One query, run once.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Sample {
    pub(crate) route: String,
    pub(crate) query: String,
    pub(crate) round: u32,
    pub(crate) seconds: f64,
    /// What the origin was asked, and what it sent, meanwhile.
    pub(crate) requests: u64,
    pub(crate) bytes: u64,
    /// The result, to be compared between routes.
    pub(crate) answer: String,
}

/// An installed DuckDB.
#[derive(Debug)]
pub(crate) struct Workload {
    python: PathBuf,
    script: PathBuf,
}

/// What the script reads from its standard input: secrets do not belong on a command line.
#[derive(Serialize)]
struct Job<'a> {
    bucket: &'a str,
    routes: Vec<JobRoute<'a>>,
    scale: Option<f64>,
    rounds: u32,
    stats: &'a str,
}

#[derive(Serialize)]
struct JobRoute<'a> {
    name: &'a str,
    endpoint: String,
    key_id: &'a str,
    secret: &'a str,
}

impl Workload {
    /// Makes the Python environment, or keeps the one that has the right packages.
    pub(crate) async fn install(
        python: &Path,
        work_dir: &Path,
        run_dir: &Path,
    ) -> Result<Self, Error> {
        let venv = work_dir.join("venv");
        let installed = venv.join("requirements.txt");
        if std::fs::read_to_string(&installed).is_ok_and(|present| present == REQUIREMENTS) {
            return Self::write_script(&venv, run_dir);
        }
        let requirements = run_dir.join("requirements.txt");
        std::fs::write(&requirements, REQUIREMENTS)?;
        let mut make = Command::new(python);
        make.args(["-m", "venv", "--clear"]).arg(&venv);
        finish(
            make,
            "a Python environment (Debian: apt-get install python3-venv)",
        )
        .await?;
        let mut install = Command::new(venv.join("bin/python"));
        install
            .args([
                "-m",
                "pip",
                "install",
                "--quiet",
                "--disable-pip-version-check",
                "--requirement",
            ])
            .arg(&requirements);
        finish(install, "DuckDB").await?;
        std::fs::copy(&requirements, &installed)?;
        Self::write_script(&venv, run_dir)
    }

    fn write_script(venv: &Path, run_dir: &Path) -> Result<Self, Error> {
        let script = run_dir.join("workload.py");
        std::fs::write(&script, SCRIPT)?;
        Ok(Self {
            python: venv.join("bin/python"),
            script,
        })
    }

    /// Writes the data through `route`; returns one line about it.
    pub(crate) async fn generate(&self, route: &Route, scale: f64) -> Result<String, Error> {
        let job = Job {
            bucket: BUCKET,
            routes: vec![JobRoute::from(route)],
            scale: Some(scale),
            rounds: 0,
            stats: "",
        };
        let mut line = String::new();
        self.perform(&job, |text| {
            text.clone_into(&mut line);
            Ok(())
        })
        .await?;
        Ok(line)
    }

    /// Runs each query `rounds` times on each route, in turn, so that a slow moment hits all alike.
    pub(crate) async fn measure(
        &self,
        routes: &[Route],
        stats: &str,
        rounds: u32,
        terminal: &Terminal,
    ) -> Result<Vec<Sample>, Error> {
        let job = Job {
            bucket: BUCKET,
            routes: routes.iter().map(JobRoute::from).collect(),
            scale: None,
            rounds,
            stats,
        };
        let names: Vec<_> = routes.iter().map(|route| route.name).collect();
        terminal.say(&format!(
            "running DuckDB, {rounds} {}: {}",
            if rounds == 1 { "round" } else { "rounds" },
            names.join(" and ")
        ));
        let mut samples: Vec<Sample> = Vec::new();
        self.perform(&job, |text| {
            let sample: Sample = serde_json::from_str(text)?;
            terminal.progress(&format!(
                "round {}  {:<6}  {}",
                sample.round + 1,
                sample.route,
                sample.query
            ));
            samples.push(sample);
            Ok(())
        })
        .await?;
        terminal.end_line();
        Ok(samples)
    }

    async fn perform(
        &self,
        job: &Job<'_>,
        mut on_line: impl FnMut(&str) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let mut command = Command::new(&self.python);
        // Everything it talks to is on this machine, and DuckDB asks a proxy for that too.
        for name in ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"] {
            command.env_remove(name);
        }
        let mut child = command
            .arg(&self.script)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true)
            .spawn()?;
        let mut stdin = child.stdin.take().ok_or("no standard input")?;
        stdin.write_all(&serde_json::to_vec(job)?).await?;
        drop(stdin);
        let mut lines = BufReader::new(child.stdout.take().ok_or("no standard output")?).lines();
        while let Some(line) = lines.next_line().await? {
            on_line(&line)?;
        }
        check_end(child, "the DuckDB workload").await
    }
}

impl<'a> From<&'a Route> for JobRoute<'a> {
    fn from(route: &'a Route) -> Self {
        Self {
            name: route.name,
            endpoint: route.endpoint.to_string(),
            key_id: &route.key.id,
            secret: &route.key.secret,
        }
    }
}

async fn finish(mut command: Command, what: &str) -> Result<(), Error> {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true);
    let child = command
        .spawn()
        .map_err(|error| format!("{what} cannot be made: {error}"))?;
    check_end(child, what).await
}

async fn check_end(mut child: Child, what: &str) -> Result<(), Error> {
    let mut said = Vec::new();
    if let Some(mut stderr) = child.stderr.take() {
        stderr.read_to_end(&mut said).await?;
    }
    let status = child.wait().await?;
    if status.success() {
        return Ok(());
    }
    Err(format!(
        "{what} failed ({status}):\n{}",
        String::from_utf8_lossy(&said).trim_end()
    )
    .into())
}
