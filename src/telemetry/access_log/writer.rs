//! The thread that writes the access log, and the bounded buffer in front of it.
//!
//! Two buffers take turns: requests append to one while the thread writes the other, so that the
//! lock is held for a copy of one line, and many lines go out in one system call.

use std::io::Write;
use std::mem;
use std::sync::Arc;
use std::thread;
use std::time::Duration;
use std::time::Instant;

use parking_lot::Condvar;
use parking_lot::Mutex;

/// How many bytes may wait: some 3,000 lines, or half a second of 6,000 requests a second.
const CAPACITY: usize = 1 << 20;

/// How long lines gather before they are written. It bounds the system calls at low load and the
/// delay that `tail -f` sees.
const GATHER: Duration = Duration::from_millis(20);

type Output = Box<dyn Write + Send>;

#[derive(Debug)]
pub(super) struct Writer(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    queue: Mutex<Queue>,
    /// Tells the thread that there is something to do.
    wake: Condvar,
    /// Tells `flush` that a batch is written.
    written: Condvar,
}

struct Queue {
    lines: Vec<u8>,
    /// The thread takes it when it begins; `None` from then on.
    output: Option<Output>,
    is_writing: bool,
    is_urgent: bool,
    is_closed: bool,
}

impl std::fmt::Debug for Queue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Queue")
            .field("waiting", &self.lines.len())
            .finish_non_exhaustive()
    }
}

impl Writer {
    pub(super) fn new(output: Output) -> Self {
        Self(Arc::new(Shared {
            queue: Mutex::new(Queue {
                lines: Vec::new(),
                output: Some(output),
                is_writing: false,
                is_urgent: false,
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
            queue.is_urgent = true;
        }
        drop(queue);
        if was_empty || is_half_full {
            self.0.wake.notify_one();
        }
        true
    }

    /// Waits until nothing waits, for `limit` at most.
    pub(super) fn flush(&self, limit: Duration) -> bool {
        let deadline = Instant::now() + limit;
        let mut queue = self.0.queue.lock();
        while !queue.lines.is_empty() || queue.is_writing {
            queue.is_urgent = true;
            self.0.wake.notify_one();
            if self.0.written.wait_until(&mut queue, deadline).timed_out() {
                return queue.lines.is_empty() && !queue.is_writing;
            }
        }
        true
    }

    /// A thread that cannot be started leaves the buffer to fill up, and lines to be counted as
    /// dropped.
    fn start(&self, output: Output) {
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
    fn run(&self, mut output: Output) {
        let mut batch = Vec::new();
        while self.next_batch(&mut batch) {
            let result = output.write_all(&batch).and_then(|()| output.flush());
            if let Err(error) = result {
                log::debug!("the access log cannot be written: {error}");
            }
            batch.clear();
            self.queue.lock().is_writing = false;
            self.written.notify_all();
        }
    }

    /// Swaps the full buffer for the empty one; `false` when no more lines will come.
    fn next_batch(&self, batch: &mut Vec<u8>) -> bool {
        let mut queue = self.queue.lock();
        while queue.lines.is_empty() {
            if queue.is_closed {
                return false;
            }
            self.wake.wait(&mut queue);
        }
        let deadline = Instant::now() + GATHER;
        while !queue.is_urgent && !queue.is_closed {
            if self.wake.wait_until(&mut queue, deadline).timed_out() {
                break;
            }
        }
        mem::swap(&mut queue.lines, batch);
        queue.is_urgent = false;
        queue.is_writing = true;
        true
    }
}
