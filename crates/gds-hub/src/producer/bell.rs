//! Waking threads, without a system call when none sleeps.

use std::time::{Duration, Instant};

use super::sync::{AtomicUsize, Condvar, Mutex, Ordering, fence};

/// Some wait for something to change, others change it and ring.
///
/// Who waits says so before looking at what it waits for; who rings changes it before looking whether anybody waits. So
/// one of the two sees the other. Nothing is locked while somebody looks: who rings may hold the locks for that.
#[derive(Debug, Default)]
pub(super) struct Bell {
    waiting: AtomicUsize,
    /// How often it was rung while somebody waited.
    rings: Mutex<u64>,
    condvar: Condvar,
}

impl Bell {
    /// Wakes all who wait.
    pub(super) fn ring(&self) {
        fence(Ordering::SeqCst);
        if self.waiting.load(Ordering::Relaxed) > 0 {
            *self.rings.lock() += 1;
            self.condvar.notify_all();
        }
    }

    /// Sleeps until somebody rings, for at most `patience`.
    pub(super) fn wait(&self, patience: Duration) {
        let rings = self.rings.lock();
        self.waiting.fetch_add(1, Ordering::SeqCst);
        let _rings = self.condvar.wait_for(rings, patience);
        self.waiting.fetch_sub(1, Ordering::SeqCst);
    }

    /// Sleeps until what is waited for is `there`, for at most `patience`. A ring is the time to look, and no more: it
    /// may be for another change, or for one that was seen before it rang.
    pub(super) fn wait_until(&self, patience: Duration, there: impl Fn() -> bool) {
        let deadline = Instant::now() + patience;
        self.waiting.fetch_add(1, Ordering::SeqCst);
        let mut is_over = false;
        loop {
            let heard = *self.rings.lock();
            fence(Ordering::SeqCst);
            if there() || is_over {
                break;
            }
            let rings = self.rings.lock();
            is_over = if *rings == heard {
                self.condvar.wait_until(rings, deadline).1
            } else {
                Instant::now() >= deadline // it was rung while it looked: it looks again
            };
        }
        self.waiting.fetch_sub(1, Ordering::SeqCst);
    }

    /// Whether somebody sleeps here, or is about to.
    #[cfg(test)]
    pub(super) fn is_waited_for(&self) -> bool {
        self.waiting.load(Ordering::SeqCst) > 0
    }
}

#[cfg(all(test, not(feature = "shuttle")))]
mod tests {
    use std::sync::{Arc, mpsc};

    use super::*;

    #[test]
    fn who_rings_may_hold_what_the_sleeper_looks_at() {
        let soon = Duration::from_secs(20);
        let shared = Arc::new((Bell::default(), Mutex::new(false)));
        let ((looks, looked), (rung, heard)) = (mpsc::channel(), mpsc::channel());
        let sleeper = Arc::clone(&shared);
        std::thread::spawn(move || {
            sleeper.0.wait_until(soon, || {
                let _ = looks.send(());
                *sleeper.1.lock()
            });
            let _ = rung.send(());
        });
        std::thread::spawn(move || {
            let mut there = shared.1.lock();
            looked.recv_timeout(soon).expect("it looks");
            *there = true;
            shared.0.ring();
        });
        heard.recv_timeout(soon / 2).expect("both wait for each other");
    }
}
