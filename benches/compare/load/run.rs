//! Runs the loads of a job at the same time, each over connections of its own.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio::task::JoinSet;

use crate::Error;
use crate::exchange::Client;
use crate::job::{Job, Load};
use crate::pattern::Pattern;
use crate::plan::{self, Request};
use crate::result::{Figures, Tally};
use crate::signing::Signer;

/// A load that is about to begin: requests signed, connections made.
struct Ready {
    course: Arc<Course>,
    clients: Vec<Client>,
    is_endless: bool,
}

/// What the connections of a load share.
struct Course {
    requests: Vec<Request>,
    pattern: Arc<Pattern>,
    next: AtomicUsize,
    limit: Option<usize>,
    duration: Option<Duration>,
    pause: Duration,
    late_micros: Option<u64>,
    /// The loads that have an end have ended.
    is_over: Arc<AtomicBool>,
}

/// The figures of each load, in their order.
pub(crate) async fn all(job: &Job, pattern: Pattern) -> Result<Vec<Figures>, Error> {
    let is_over = Arc::new(AtomicBool::new(false));
    let pattern = Arc::new(pattern);
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    let host = job.address.to_string();
    let signer = Signer::new(
        &host,
        &job.access_key,
        &job.secret_key,
        &job.region,
        now.try_into()?,
    )?;
    let mut ready = Vec::new();
    for load in &job.loads {
        ready.push(prepare(job, load, &signer, &pattern, &is_over).await?);
    }
    if ready.iter().all(|load| load.is_endless) {
        return Err("no load has an end".into());
    }
    let begun = Instant::now();
    let mut tasks = JoinSet::new();
    let mut running = ready.iter().filter(|load| !load.is_endless).count();
    let mut figures: Vec<Option<Figures>> = ready.iter().map(|_| None).collect();
    for (number, load) in ready.into_iter().enumerate() {
        tasks.spawn(async move {
            let is_endless = load.is_endless;
            (number, is_endless, load.run(begun).await)
        });
    }
    while let Some(ended) = tasks.join_next().await {
        let (number, is_endless, result) = ended?;
        figures[number] = Some(result?);
        if !is_endless {
            running -= 1;
            is_over.store(running == 0, Ordering::Relaxed);
        }
    }
    Ok(figures.into_iter().flatten().collect())
}

async fn prepare(
    job: &Job,
    load: &Load,
    signer: &Signer,
    pattern: &Arc<Pattern>,
    is_over: &Arc<AtomicBool>,
) -> Result<Ready, Error> {
    let course = Course {
        requests: plan::requests(load, signer)?,
        pattern: Arc::clone(pattern),
        next: AtomicUsize::new(0),
        limit: load.requests,
        duration: load.seconds.map(Duration::from_secs_f64),
        pause: Duration::from_micros(load.pause_micros),
        late_micros: load.late_micros,
        is_over: Arc::clone(is_over),
    };
    let mut clients = Vec::new();
    for _ in 0..load.connections {
        clients.push(Client::connect(job.address).await?);
    }
    Ok(Ready {
        course: Arc::new(course),
        clients,
        is_endless: load.is_endless(),
    })
}

impl Ready {
    async fn run(self, begun: Instant) -> Result<Figures, tokio::task::JoinError> {
        let mut tasks = JoinSet::new();
        for mut client in self.clients {
            let course = Arc::clone(&self.course);
            tasks.spawn(async move { course.run(&mut client, begun).await });
        }
        let mut whole = Tally::default();
        while let Some(tally) = tasks.join_next().await {
            whole.merge(tally?);
        }
        Ok(whole.figures(begun.elapsed()))
    }
}

impl Course {
    async fn run(&self, client: &mut Client, begun: Instant) -> Tally {
        let mut tally = Tally::default();
        while let Some(request) = self.next(begun) {
            let outcome = client.exchange(request, &self.pattern).await;
            tally.add(outcome, request.bytes, self.late_micros);
            if !self.pause.is_zero() {
                tokio::time::sleep(self.pause).await;
            }
        }
        tally
    }

    /// The next request, whichever connection sends it.
    fn next(&self, begun: Instant) -> Option<&Request> {
        let is_late = self.duration.is_some_and(|limit| begun.elapsed() >= limit);
        let is_left = self.limit.is_none() && self.duration.is_none();
        if is_late || (is_left && self.is_over.load(Ordering::Relaxed)) {
            return None;
        }
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        if self.limit.is_some_and(|limit| number >= limit) {
            return None;
        }
        self.requests.get(number % self.requests.len())
    }
}
