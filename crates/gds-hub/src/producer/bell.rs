//! Waking threads, without a system call when none sleeps.

use std::time::{Duration, Instant};

use super::sync::{AtomicUsize, Condvar, Mutex, Ordering, fence};

/// Some wait for something to change, others change it and ring.
///
/// Who waits says so before looking at what it waits for; who rings changes it before looking whether anybody waits. So
/// one of the two sees the other.
#[derive(Debug, Default)]
pub(super) struct Bell {
    waiting: AtomicUsize,
    mutex: Mutex<()>,
    condvar: Condvar,
}

impl Bell {
    /// Wakes all who wait.
    pub(super) fn ring(&self) {
        fence(Ordering::SeqCst);
        if self.waiting.load(Ordering::Relaxed) > 0 {
            // Whoever waits either has the lock and is not asleep yet, or sleeps already.
            drop(self.mutex.lock());
            self.condvar.notify_all();
        }
    }

    /// Sleeps until somebody rings, for at most `patience`.
    pub(super) fn wait(&self, patience: Duration) {
        let guard = self.mutex.lock();
        self.waiting.fetch_add(1, Ordering::SeqCst);
        let _guard = self.condvar.wait_for(guard, patience);
        self.waiting.fetch_sub(1, Ordering::SeqCst);
    }

    /// Sleeps until what is waited for is `there`, for at most `patience`. A ring is the time to look, and no more: it
    /// may be for another change, or for one that was seen before it rang.
    pub(super) fn wait_until(&self, patience: Duration, there: impl Fn() -> bool) {
        let deadline = Instant::now() + patience;
        let mut guard = self.mutex.lock();
        self.waiting.fetch_add(1, Ordering::SeqCst);
        fence(Ordering::SeqCst);
        let mut is_over = false;
        while !there() && !is_over {
            (guard, is_over) = self.condvar.wait_until(guard, deadline);
        }
        self.waiting.fetch_sub(1, Ordering::SeqCst);
    }

    /// Whether somebody sleeps here, or is about to.
    #[cfg(test)]
    pub(super) fn is_waited_for(&self) -> bool {
        self.waiting.load(Ordering::SeqCst) > 0
    }
}
