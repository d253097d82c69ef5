//! Work that waits for a thread: a bounded queue.

use std::collections::VecDeque;

use parking_lot::Condvar;
use parking_lot::Mutex;

/// A queue that takes work up to a total weight. Putting never waits, taking does.
#[derive(Debug)]
pub(super) struct Queue<T> {
    waiting: Mutex<Waiting<T>>,
    comes: Condvar,
    capacity: u64,
}

#[derive(Debug)]
struct Waiting<T> {
    work: VecDeque<(T, u64)>,
    weight: u64,
    is_closed: bool,
}

impl<T> Queue<T> {
    /// For work of so much weight.
    pub(super) fn new(capacity: u64) -> Self {
        Self {
            waiting: Mutex::new(Waiting {
                work: VecDeque::new(),
                weight: 0,
                is_closed: false,
            }),
            comes: Condvar::new(),
            capacity,
        }
    }

    /// Adds work; gives it back when there is no room. What weighs nothing always fits, and what is
    /// heavier than the whole queue fits
    /// when it is empty.
    pub(super) fn put(&self, work: T, weight: u64) -> Result<(), T> {
        let mut waiting = self.waiting.lock();
        let is_full = weight > 0 && waiting.weight > 0 && waiting.weight + weight > self.capacity;
        if is_full || waiting.is_closed {
            return Err(work);
        }
        waiting.weight += weight;
        waiting.work.push_back((work, weight));
        drop(waiting);
        self.comes.notify_one();
        Ok(())
    }

    /// Waits for work. `None` when the queue is closed and empty.
    pub(super) fn take(&self) -> Option<T> {
        let mut waiting = self.waiting.lock();
        loop {
            if let Some((work, weight)) = waiting.work.pop_front() {
                waiting.weight -= weight;
                return Some(work);
            }
            if waiting.is_closed {
                return None;
            }
            self.comes.wait(&mut waiting);
        }
    }

    /// Takes no more work; what waits is still done.
    pub(super) fn close(&self) {
        self.waiting.lock().is_closed = true;
        self.comes.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_queue_takes_nothing_and_a_closed_one_is_emptied() {
        let queue = Queue::new(10);
        assert_eq!(queue.put('a', 20), Ok(()));
        assert_eq!(queue.put('b', 1), Err('b'));
        assert_eq!(queue.take(), Some('a'));
        assert_eq!(queue.put('c', 5), Ok(()));
        assert_eq!(queue.put('d', 5), Ok(()));
        assert_eq!(queue.put('e', 1), Err('e'));
        queue.close();
        assert_eq!(queue.put('f', 0), Err('f'));
        assert_eq!(queue.take(), Some('c'));
        assert_eq!(queue.take(), Some('d'));
        assert_eq!(queue.take(), None);
    }
}
