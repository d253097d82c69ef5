//! A disk that fails, for tests.

use std::sync::atomic::AtomicI32;
use std::sync::atomic::Ordering;

use rustix::io::Errno;

use super::core::Call;

/// The error that each kind of call meets; 0 is none.
#[derive(Debug, Default)]
pub(super) struct Faults {
    read: AtomicI32,
    write: AtomicI32,
    delete: AtomicI32,
}

impl Faults {
    pub(super) fn set(&self, call: Call, error: Option<Errno>) {
        let error = error.map_or(0, Errno::raw_os_error);
        self.of(call).store(error, Ordering::Relaxed);
    }

    pub(super) fn attempt(&self, call: Call) -> rustix::io::Result<()> {
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
