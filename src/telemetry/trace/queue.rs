//! Spans that wait for the collector: a bounded queue that no request waits for.

use std::mem;
use std::time::Duration;
use std::time::Instant;

use parking_lot::Condvar;
use parking_lot::Mutex;

use super::FinishedSpan;

/// Spans that may wait: some 800 requests, and about 2 MiB.
const CAPACITY: usize = 4096;

/// A batch is sent when so many wait,
const FULL: usize = 512;

/// or after this time.
const GATHER: Duration = Duration::from_secs(1);

#[derive(Default)]
pub(super) struct Queue {
    state: Mutex<State>,
    wake: Condvar,
    sent: Condvar,
}

#[derive(Default)]
struct State {
    spans: Vec<FinishedSpan>,
    is_sending: bool,
    is_urgent: bool,
}

impl Queue {
    /// Takes a span; `false` when there is no room.
    pub(super) fn push(&self, span: FinishedSpan) -> bool {
        let mut state = self.state.lock();
        if state.spans.len() >= CAPACITY {
            return false;
        }
        state.spans.push(span);
        let length = state.spans.len();
        drop(state);
        if length == 1 || length >= FULL {
            self.wake.notify_one();
        }
        true
    }

    /// Waits for spans, and a while for more.
    pub(super) fn next(&self) -> Vec<FinishedSpan> {
        let mut state = self.state.lock();
        state.is_sending = false;
        self.sent.notify_all();
        while state.spans.is_empty() {
            state.is_urgent = false;
            self.wake.wait(&mut state);
        }
        let deadline = Instant::now() + GATHER;
        while state.spans.len() < FULL && !state.is_urgent {
            if self.wake.wait_until(&mut state, deadline).timed_out() {
                break;
            }
        }
        state.is_sending = true;
        mem::take(&mut state.spans)
    }

    /// Waits until nothing waits, for `limit` at most.
    pub(super) fn flush(&self, limit: Duration) -> bool {
        let deadline = Instant::now() + limit;
        let mut state = self.state.lock();
        while !state.spans.is_empty() || state.is_sending {
            state.is_urgent = true;
            self.wake.notify_one();
            if self.sent.wait_until(&mut state, deadline).timed_out() {
                return state.spans.is_empty() && !state.is_sending;
            }
        }
        true
    }
}
