//! The thread that writes the access log, and the bounded buffer in front of it.
//!
//! Two buffers take turns: requests append to one while the thread writes the other, so that the
//! lock is held for a copy of one line, and many lines go out in one system call.

use std::mem;
use std::sync::Arc;
use std::thread;
use std::time::Duration;
use std::time::Instant;

use parking_lot::Condvar;
use parking_lot::Mutex;

use super::output::Lost;
use super::output::Output;
use crate::telemetry::metrics::Metrics;

/// How many bytes may wait: some 3,000 lines, or half a second of 6,000 requests a second.
const CAPACITY: usize = 1 << 20;

/// How long lines gather before they are written. It bounds the system calls at low load and the
/// delay that `tail -f` sees.
const GATHER: Duration = Duration::from_millis(100);

/// How soon trouble is told again: a disk that is full takes a line now and then.
const TELL_AGAIN: Duration = Duration::from_mins(1);

#[derive(Debug)]
pub(super) struct Writer(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    metrics: Arc<Metrics>,
    queue: Mutex<Queue>,
    /// Tells the thread that there is something to do.
    wake: Condvar,
    /// Tells `flush` that a batch is written.
    written: Condvar,
}

struct Queue {
    lines: Vec<u8>,
    /// The thread takes it when it begins; `None` from then on.
    output: Option<Box<dyn Output>>,
    is_writing: bool,
    asked: Asked,
    is_closed: bool,
}

/// What the thread is asked for, the greater one first.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Asked {
    #[default]
    Nothing,
    /// Not to wait for more lines.
    Hurry,
    Reopen,
}

impl Queue {
    fn ask(&mut self, what: Asked) {
        self.asked = self.asked.max(what);
    }
}

impl std::fmt::Debug for Queue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Queue")
            .field("waiting", &self.lines.len())
            .finish_non_exhaustive()
    }
}

impl Writer {
    pub(super) fn new(output: Box<dyn Output>, metrics: Arc<Metrics>) -> Self {
        Self(Arc::new(Shared {
            metrics,
            queue: Mutex::new(Queue {
                lines: Vec::new(),
                output: Some(output),
                is_writing: false,
                asked: Asked::Nothing,
                is_closed: false,
            }),
            wake: Condvar::new(),
            written: Condvar::new(),
        }))
    }

    /// Takes a line; `false` when there is no room for it.
    pub(super) fn push(&self, line: &str) -> bool {
        let mut queue = self.0.queue.lock();
        if queue.lines.len() + line.len() >= CAPACITY {
            return false;
        }
        if let Some(output) = queue.output.take() {
            self.start(output);
        }
        let was_empty = queue.lines.is_empty();
        queue.lines.extend_from_slice(line.as_bytes());
        queue.lines.push(b'\n');
        let is_half_full = queue.lines.len() > CAPACITY / 2;
        if is_half_full {
            queue.ask(Asked::Hurry);
        }
        drop(queue);
        if was_empty || is_half_full {
            self.0.wake.notify_one();
        }
        true
    }

    /// Has the output opened anew before anything else is written.
    pub(super) fn reopen(&self) {
        let mut queue = self.0.queue.lock();
        if let Some(output) = queue.output.take() {
            self.start(output);
        }
        queue.ask(Asked::Reopen);
        drop(queue);
        self.0.wake.notify_one();
    }

    /// Waits until nothing waits, for `limit` at most.
    pub(super) fn flush(&self, limit: Duration) -> bool {
        let deadline = Instant::now() + limit;
        let mut queue = self.0.queue.lock();
        while !queue.lines.is_empty() || queue.is_writing {
            queue.ask(Asked::Hurry);
            self.0.wake.notify_one();
            if self.0.written.wait_until(&mut queue, deadline).timed_out() {
                return queue.lines.is_empty() && !queue.is_writing;
            }
        }
        true
    }

    /// A thread that cannot be started leaves the buffer to fill up, and lines to be counted as
    /// dropped.
    fn start(&self, output: Box<dyn Output>) {
        let shared = Arc::clone(&self.0);
        let thread = thread::Builder::new().name("access-log".to_owned());
        if let Err(error) = thread.spawn(move || shared.run(output)) {
            log::error!("the access log has no thread: {error}");
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.0.queue.lock().is_closed = true;
        self.0.wake.notify_one();
    }
}

impl Shared {
    fn run(&self, mut output: Box<dyn Output>) {
        let mut batch = Vec::new();
        let mut trouble = Trouble::default();
        while let Some(turn) = self.next_turn(&mut batch) {
            if turn == Turn::Reopen {
                match output.reopen() {
                    Ok(()) => log::info!("the access log goes to {output}, opened anew"),
                    Err(error) => log::error!(
                        "the access log stays where it was, {output} cannot be opened: {error}"
                    ),
                }
                continue;
            }
            let result = output.write(&batch);
            if let Err(lost) = &result {
                self.metrics.access_log_dropped(lost.lines);
            }
            trouble.tell(&result, &output, Instant::now());
            batch.clear();
            self.queue.lock().is_writing = false;
            self.written.notify_all();
        }
    }

    /// What is to be done next; `None` when no more lines will come. To write is to take the full
    /// buffer for the empty one.
    fn next_turn(&self, batch: &mut Vec<u8>) -> Option<Turn> {
        let mut queue = self.queue.lock();
        while queue.lines.is_empty() && queue.asked != Asked::Reopen {
            if queue.is_closed {
                return None;
            }
            self.wake.wait(&mut queue);
        }
        let deadline = Instant::now() + GATHER;
        while queue.asked == Asked::Nothing && !queue.is_closed {
            if self.wake.wait_until(&mut queue, deadline).timed_out() {
                break;
            }
        }
        if mem::take(&mut queue.asked) == Asked::Reopen {
            return Some(Turn::Reopen);
        }
        mem::swap(&mut queue.lines, batch);
        queue.is_writing = true;
        Some(Turn::Write)
    }
}

/// What the thread is to do.
#[derive(PartialEq, Eq)]
enum Turn {
    Write,
    Reopen,
}

/// Says once that lines are lost, and once that they no longer are.
#[derive(Default)]
struct Trouble {
    told: Option<Instant>,
    is_told: bool,
    lost: u64,
}

impl Trouble {
    fn tell(&mut self, result: &Result<(), Lost>, output: &dyn std::fmt::Display, now: Instant) {
        match result {
            Ok(()) if self.is_told => {
                let lost = mem::take(&mut self.lost);
                log::info!("the access log is written again; {lost} lines were lost");
                self.is_told = false;
            }
            Ok(()) => {}
            Err(Lost { lines, error }) => {
                self.lost += lines;
                let is_due = self
                    .told
                    .is_none_or(|told| now.duration_since(told) > TELL_AGAIN);
                if !self.is_told && is_due {
                    log::error!("the access log loses lines, {output} does not take them: {error}");
                    self.told = Some(now);
                    self.is_told = true;
                }
            }
        }
    }
}
