//! A disk that fails, for tests.

use std::collections::BTreeSet;
use std::sync::atomic::AtomicI32;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use parking_lot::Mutex;
use rustix::io::Errno;

use super::core::Call;

/// The error that each kind of call meets; 0 is none.
#[derive(Debug, Default)]
pub(super) struct Faults {
    read: AtomicI32,
    write: AtomicI32,
    delete: AtomicI32,
    /// How long a read takes, in milliseconds.
    delay: AtomicU64,
    /// The same of deleting a file.
    delete_delay: AtomicU64,
    /// The names of the threads that made a call so far.
    threads: Mutex<BTreeSet<String>>,
}

impl Faults {
    pub(super) fn set(&self, call: Call, error: Option<Errno>) {
        let error = error.map_or(0, Errno::raw_os_error);
        self.of(call).store(error, Ordering::Relaxed);
    }

    pub(super) fn delay_reads(&self, milliseconds: u64) {
        self.delay.store(milliseconds, Ordering::Relaxed);
    }

    pub(super) fn delay_deletes(&self, milliseconds: u64) {
        self.delete_delay.store(milliseconds, Ordering::Relaxed);
    }

    pub(super) fn threads(&self) -> BTreeSet<String> {
        self.threads.lock().clone()
    }

    pub(super) fn attempt(&self, call: Call) -> rustix::io::Result<()> {
        let name = thread::current().name().unwrap_or_default().to_owned();
        self.threads.lock().insert(name);
        let delay = match call {
            Call::Read => self.delay.load(Ordering::Relaxed),
            Call::Delete => self.delete_delay.load(Ordering::Relaxed),
            Call::Write => 0,
        };
        thread::sleep(Duration::from_millis(delay));
        match self.of(call).load(Ordering::Relaxed) {
            0 => Ok(()),
            error => Err(Errno::from_raw_os_error(error)),
        }
    }

    fn of(&self, call: Call) -> &AtomicI32 {
        match call {
            Call::Read => &self.read,
            Call::Write => &self.write,
            Call::Delete => &self.delete,
        }
    }
}
