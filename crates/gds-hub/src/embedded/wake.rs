//! Waking those who wait for something to happen in the hub.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Instant;

use gds_process::sync::{Condvar, Mutex};

/// Counts what happens. Telling costs two atomic operations while nobody waits.
#[derive(Debug, Default)]
pub(super) struct Wake {
    happened: AtomicU64,
    waiting: AtomicUsize,
    lock: Mutex<()>,
    condvar: Condvar,
}

impl Wake {
    /// How much has happened; to be asked before looking, and given to [`wait`](Self::wait) when there was nothing.
    pub(super) fn happened(&self) -> u64 {
        self.happened.load(Ordering::SeqCst)
    }

    /// Something happened.
    pub(super) fn tell(&self) {
        // Either this sees the one who waits, or he sees this: both orders are sequentially consistent.
        self.happened.fetch_add(1, Ordering::SeqCst);
        if self.waiting.load(Ordering::SeqCst) > 0 {
            drop(self.lock.lock());
            self.condvar.notify_all();
        }
    }

    /// Returns when more than `seen` has happened, or at `deadline` if there is one.
    pub(super) fn wait(&self, seen: u64, deadline: Option<Instant>) {
        let mut lock = self.lock.lock();
        self.waiting.fetch_add(1, Ordering::SeqCst);
        let mut is_over = false;
        while self.happened() == seen && !is_over {
            (lock, is_over) = match deadline {
                Some(deadline) => self.condvar.wait_until(lock, deadline),
                None => (self.condvar.wait(lock), false),
            };
        }
        self.waiting.fetch_sub(1, Ordering::SeqCst);
    }
}
