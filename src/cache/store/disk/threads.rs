//! The threads that the tier's work is done on: some that read, some that write, one for metas, one
//! that lists the directory and one that looks after it.

use std::ops::Range;
use std::panic::AssertUnwindSafe;
use std::panic::catch_unwind;
use std::sync::Arc;
use std::thread;
use std::time::Duration;
use std::time::Instant;

use bytes::Bytes;
use parking_lot::Condvar;
use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::MetaId;
use super::Miss;
use super::core::Core;
use super::file::Segment;
use super::queue::Queue;
use crate::cache::Blocks;
use crate::cache::ObjectName;
use crate::cache::ObjectVersion;

/// Nothing here goes deep.
const STACK_BYTES: usize = 256 << 10;

/// Metas that may wait to be written.
const META_QUEUE: u64 = 4096;

/// Listing the directory takes at most a hundredth of the time.
const LISTING_SHARE: u32 = 100;

/// Work for a thread that reads.
#[derive(Debug)]
pub(super) enum ReadJob {
    Blocks {
        segment: Segment,
        places: Range<u32>,
        reply: oneshot::Sender<Result<Bytes, Miss>>,
    },
    Look {
        segment: Segment,
        reply: oneshot::Sender<Blocks>,
    },
    Meta {
        id: MetaId,
        reply: oneshot::Sender<Option<Bytes>>,
    },
}

/// Work for a thread that writes.
#[derive(Debug)]
pub(super) enum WriteJob {
    Blocks {
        segment: Segment,
        first: u32,
        bytes: Bytes,
    },
    Forget(Arc<ObjectVersion>),
    Barrier(oneshot::Sender<()>),
}

/// Work for the thread for metas.
#[derive(Debug)]
pub(super) enum MetaJob {
    Write {
        id: MetaId,
        object: Option<ObjectName>,
        blob: Bytes,
        reply: oneshot::Sender<bool>,
    },
    Remove {
        id: MetaId,
        reply: oneshot::Sender<bool>,
    },
    Barrier(oneshot::Sender<()>),
}

/// The ways to the threads. They end when this is dropped, after what waits is done.
#[derive(Debug)]
pub(super) struct Threads {
    core: Arc<Core>,
    readers: Arc<Queue<ReadJob>>,
    /// One each: what is written to one segment stays in order.
    writers: Vec<Arc<Queue<WriteJob>>>,
    metas: Arc<Queue<MetaJob>>,
    bell: Arc<Bell>,
}

/// Wakes those who only look around from time to time.
#[derive(Debug, Default)]
struct Bell {
    rung: Mutex<Rung>,
    rings: Condvar,
}

#[derive(Debug, Default)]
struct Rung {
    is_over: bool,
    wants_listing: bool,
}

impl Threads {
    pub(super) fn start(core: &Arc<Core>) -> Self {
        let config = &core.config;
        let writers = core.forgotten.writers();
        let queue_bytes = config.write_queue_bytes / writers as u64;
        let threads = Self {
            core: Arc::clone(core),
            readers: Arc::new(Queue::new(config.read_queue as u64)),
            writers: (0..writers)
                .map(|_| Arc::new(Queue::new(queue_bytes)))
                .collect(),
            metas: Arc::new(Queue::new(META_QUEUE)),
            bell: Arc::default(),
        };
        for number in 0..config.readers.max(1) {
            let (core, queue) = (Arc::clone(core), Arc::clone(&threads.readers));
            spawn(&format!("disk-read-{number}"), move || {
                serve(&core, &queue, |core, job| job.run(core));
            });
        }
        for (number, queue) in threads.writers.iter().enumerate() {
            let (core, queue) = (Arc::clone(core), Arc::clone(queue));
            spawn(&format!("disk-write-{number}"), move || {
                serve(&core, &queue, |core, job| job.run(core, number));
            });
        }
        let (of_metas, queue) = (Arc::clone(core), Arc::clone(&threads.metas));
        spawn("disk-metas", move || {
            serve(&of_metas, &queue, |core, job| job.run(core));
        });
        let (of_listing, bell) = (Arc::clone(core), Arc::clone(&threads.bell));
        spawn("disk-index", move || keep_listing(&of_listing, &bell));
        let (of_tending, bell) = (Arc::clone(core), Arc::clone(&threads.bell));
        spawn("disk-tend", move || tend(&of_tending, &bell));
        threads
    }

    /// False when too many wait.
    pub(super) fn read(&self, job: ReadJob) -> bool {
        self.readers.put(job, 1).is_ok()
    }

    /// False when too much waits.
    pub(super) fn write(&self, segment: Segment, first: u32, bytes: Bytes) -> bool {
        let weight = bytes.len() as u64;
        let writer = self.core.forgotten.writer_of(segment.id());
        let job = WriteJob::Blocks {
            segment,
            first,
            bytes,
        };
        self.writers[writer].put(job, weight).is_ok()
    }

    /// Nobody finds it any more; where too much waits, it stays on disk for now.
    pub(super) fn forget(&self, version: &Arc<ObjectVersion>) {
        let forgotten = &self.core.forgotten;
        (0..self.writers.len()).for_each(|writer| forgotten.add(writer, version.id));
        self.core.hide(version);
        for (writer, queue) in self.writers.iter().enumerate() {
            let job = WriteJob::Forget(Arc::clone(version));
            // As heavy as a page, so that they are bounded too.
            if queue.put(job, 4096).is_err() {
                forgotten.done(writer, version.id);
            }
        }
    }

    /// False when too many wait.
    pub(super) fn meta(&self, job: MetaJob) -> bool {
        self.metas.put(job, 1).is_ok()
    }

    /// Waits until all that was given to the threads for writing and metas is done.
    pub(super) async fn flush(&self) {
        let mut barriers = Vec::new();
        for queue in &self.writers {
            let (reply, done) = oneshot::channel();
            if queue.put(WriteJob::Barrier(reply), 0).is_ok() {
                barriers.push(done);
            }
        }
        let (reply, done) = oneshot::channel();
        if self.metas.put(MetaJob::Barrier(reply), 0).is_ok() {
            barriers.push(done);
        }
        for done in barriers {
            // An error says that the thread is gone, and what it had to do with it.
            let _ = done.await;
        }
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        self.readers.close();
        self.metas.close();
        self.writers.iter().for_each(|queue| queue.close());
        self.bell.rung.lock().is_over = true;
        self.bell.rings.notify_all();
    }
}

impl ReadJob {
    fn run(self, core: &Core) {
        // Whoever asked may have given up: then nobody waits, and nothing is read. A reply that
        // nobody waits for any more is dropped.
        match self {
            Self::Blocks {
                segment,
                places,
                reply,
            } => {
                if !reply.is_closed() {
                    let _ = reply.send(core.read(&segment, places));
                }
            }
            Self::Look { segment, reply } => {
                if !reply.is_closed() {
                    let _ = reply.send(core.look(&segment));
                }
            }
            Self::Meta { id, reply } => {
                if !reply.is_closed() {
                    let _ = reply.send(core.read_meta(id));
                }
            }
        }
    }
}

impl WriteJob {
    fn run(self, core: &Core, writer: usize) {
        match self {
            Self::Blocks {
                segment,
                first,
                bytes,
            } => core.write(&segment, first, &bytes),
            Self::Forget(version) => core.forget(&version, writer),
            Self::Barrier(reply) => {
                let _ = reply.send(());
            }
        }
    }
}

impl MetaJob {
    fn run(self, core: &Core) {
        match self {
            Self::Write {
                id,
                object,
                blob,
                reply,
            } => {
                let _ = reply.send(core.write_meta(id, object.as_ref(), &blob));
            }
            Self::Remove { id, reply } => {
                let _ = reply.send(core.remove_meta(id));
            }
            Self::Barrier(reply) => {
                let _ = reply.send(());
            }
        }
    }
}

impl Bell {
    /// Waits for so long, until it is over, or until a listing is wanted by one who waits for that.
    /// False when it is over.
    fn wait(&self, pause: Duration, for_listing: bool) -> bool {
        let until = Instant::now() + pause;
        let mut rung = self.rung.lock();
        while !(rung.is_over || for_listing && rung.wants_listing) {
            if self.rings.wait_until(&mut rung, until).timed_out() {
                break;
            }
        }
        if for_listing {
            rung.wants_listing = false;
        }
        !rung.is_over
    }

    fn want_listing(&self) {
        self.rung.lock().wants_listing = true;
        self.rings.notify_all();
    }

    fn is_over(&self) -> bool {
        self.rung.lock().is_over
    }
}

pub(super) fn spawn(name: &str, body: impl FnOnce() + Send + 'static) {
    let builder = thread::Builder::new()
        .name(name.to_owned())
        .stack_size(STACK_BYTES);
    // Without threads everything is a miss, after the deadline.
    if let Err(error) = builder.spawn(body) {
        log::error!("disk cache: cannot start thread {name}: {error}");
    }
}

fn serve<T>(core: &Core, queue: &Queue<T>, run: impl Fn(&Core, T)) {
    while let Some(job) = queue.take() {
        // Nothing panics here; if something does, it costs one job and not the thread.
        if catch_unwind(AssertUnwindSafe(|| run(core, job))).is_err() {
            core.counters.errors.add(1);
        }
    }
}

/// Finds out what is stored, and again from time to time what other processes changed.
fn keep_listing(core: &Core, bell: &Bell) {
    loop {
        let begun = Instant::now();
        let is_done = core.may_read() && core.scan(|| core.may_read() && !bell.is_over());
        let pause = if is_done {
            core.config
                .rescan_every
                .max(begun.elapsed() * LISTING_SHARE)
        } else {
            core.config.retry_after
        };
        if !bell.wait(pause, true) {
            return;
        }
    }
}

/// Looks after the space, the open files and the disk's health.
fn tend(core: &Core, bell: &Bell) {
    while bell.wait(core.config.tick, false) {
        core.try_again(Instant::now());
        if core.may_read() {
            core.measure();
            core.evict_until_fits();
            core.files.close_deleted();
            if !core.counters.is_indexed() {
                bell.want_listing();
            }
        }
    }
}
