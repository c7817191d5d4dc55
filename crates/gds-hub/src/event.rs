//! Waking threads that wait for a change, without a system call when none sleeps.

use std::time::{Duration, Instant};

use crate::sync::{AtomicUsize, Condvar, Mutex, Ordering, fence};

/// How long a wait without a deadline sleeps before it goes on sleeping.
const LONG: Duration = Duration::from_secs(3600);

/// Some threads wait for a change, others make it and notify them.
///
/// Who waits says so before looking at what it waits for; who notifies has changed it before looking whether anybody
/// waits. So one of the two sees the other. Nothing is locked while somebody looks: the notifier may hold the locks for
/// that.
#[derive(Debug, Default)]
pub(crate) struct Event {
    waiting: AtomicUsize,
    /// Notifications while somebody waited.
    count: Mutex<u64>,
    condvar: Condvar,
}

impl Event {
    /// Wakes all who wait.
    pub(crate) fn notify(&self) {
        fence(Ordering::SeqCst);
        if self.waiting.load(Ordering::Relaxed) > 0 {
            *self.count.lock() += 1;
            self.condvar.notify_all();
        }
    }

    /// What is notified from here on ends a [`Listener::wait`]: to be called before looking at what is waited for.
    pub(crate) fn listen(&self) -> Listener<'_> {
        self.waiting.fetch_add(1, Ordering::SeqCst);
        let mut listener = Listener { event: self, heard: 0 };
        listener.hear();
        listener
    }

    /// Sleeps until the next notification, for at most `timeout`.
    pub(crate) fn wait(&self, timeout: Duration) {
        self.listen().wait(Some(Instant::now() + timeout));
    }

    /// Sleeps until `condition` holds, for at most `timeout`. It is looked at after each notification, which may be of
    /// another change, or of one that was seen before.
    pub(crate) fn wait_until(&self, timeout: Duration, condition: impl Fn() -> bool) {
        let deadline = Instant::now() + timeout;
        let mut listener = self.listen();
        let mut is_over = false;
        while !condition() && !is_over {
            is_over = listener.wait(Some(deadline));
        }
    }

    /// Whether somebody sleeps here, or is about to.
    #[cfg(test)]
    pub(crate) fn is_waited_for(&self) -> bool {
        self.waiting.load(Ordering::SeqCst) > 0
    }
}

/// Somebody who is about to wait, or waits.
pub(crate) struct Listener<'a> {
    event: &'a Event,
    /// Notifications before what it waits for was last looked at.
    heard: u64,
}

impl Listener<'_> {
    /// Sleeps until there was a notification since [`Event::listen`] or the wait before, or until `deadline`; whether
    /// that has passed.
    pub(crate) fn wait(&mut self, deadline: Option<Instant>) -> bool {
        let until = deadline.unwrap_or_else(|| Instant::now() + LONG);
        let count = self.event.count.lock();
        let is_over = if *count == self.heard {
            self.event.condvar.wait_until(count, until).1
        } else {
            drop(count);
            Instant::now() >= until
        };
        self.hear();
        is_over && deadline.is_some()
    }

    fn hear(&mut self) {
        self.heard = *self.event.count.lock();
        fence(Ordering::SeqCst);
    }
}

impl Drop for Listener<'_> {
    fn drop(&mut self) {
        self.event.waiting.fetch_sub(1, Ordering::SeqCst);
    }
}

#[cfg(all(test, not(feature = "shuttle")))]
mod tests {
    use std::sync::{Arc, mpsc};

    use super::*;

    #[test]
    fn who_notifies_may_hold_what_the_sleeper_looks_at() {
        let soon = Duration::from_secs(20);
        let shared = Arc::new((Event::default(), Mutex::new(false)));
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
            shared.0.notify();
        });
        heard.recv_timeout(soon / 2).expect("both wait for each other");
    }
}
