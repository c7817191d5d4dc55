//! Calls into other libraries that hold a lock of the whole process for a moment.
//!
//! Forked at that moment, a child would find the lock taken by a thread that it does not have, and wait for ever in its
//! first such call. The threads of a library must not bring that upon a program. So such calls pass a gate, which a fork
//! closes, and a fork waits for those that have just passed it.

use std::time::Duration;

#[cfg(unix)]
pub(crate) use unix::{forked, forking};

/// A call under way, until this is dropped.
#[must_use = "dropped at once, no fork waits for the call"]
pub struct Passed {
    #[cfg(unix)]
    _place: unix::Place,
}

/// Waits until no fork is under way. Forks that begin after that wait until the guard is dropped, but not longer than
/// `patience` from now: what the call does later needs no such care, or is not worth the wait.
pub fn pass(patience: Duration) -> Passed {
    #[cfg(unix)]
    return Passed { _place: unix::pass(patience) };
    #[cfg(not(unix))]
    {
        let _ = patience;
        Passed {}
    }
}

#[cfg(unix)]
mod unix {
    use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
    use std::time::Duration;

    use rustix::time::{ClockId, clock_gettime};

    const PAUSE: Duration = Duration::from_micros(100);

    /// Calls at the same time; further ones wait. A handler of forks may not allocate or lock, so a table.
    const PLACES: usize = 256;

    const FREE: u64 = 0;

    /// Forks under way.
    static FORKING: AtomicUsize = AtomicUsize::new(0);
    /// Until when each call is waited for, in nanoseconds of the monotonic clock.
    static UNTIL: [AtomicU64; PLACES] = [const { AtomicU64::new(FREE) }; PLACES];

    /// A call under way.
    pub(super) struct Place(&'static AtomicU64);

    impl Drop for Place {
        fn drop(&mut self) {
            self.0.store(FREE, Ordering::SeqCst);
        }
    }

    pub(super) fn pass(patience: Duration) -> Place {
        crate::fork::watch();
        loop {
            if FORKING.load(Ordering::SeqCst) == 0
                && let Some(place) = take_place(patience)
            {
                // Either this look sees the fork, or the fork, which looks at the places later, sees this call.
                if FORKING.load(Ordering::SeqCst) == 0 {
                    return place;
                }
            }
            std::thread::sleep(PAUSE);
        }
    }

    fn take_place(patience: Duration) -> Option<Place> {
        let until = now().saturating_add(u64::try_from(patience.as_nanos()).unwrap_or(u64::MAX));
        let free =
            UNTIL.iter().find(|place| place.compare_exchange(FREE, until, Ordering::SeqCst, Ordering::SeqCst).is_ok());
        free.map(Place)
    }

    /// Before a fork: closes the gate, and waits for those who passed it just now.
    pub(crate) fn forking() {
        FORKING.fetch_add(1, Ordering::SeqCst);
        for place in &UNTIL {
            while place.load(Ordering::SeqCst) > now() {
                std::thread::sleep(PAUSE);
            }
        }
    }

    /// After it: opens the gate, in the child for a process without calls.
    pub(crate) fn forked(in_child: bool) {
        if in_child {
            for place in &UNTIL {
                place.store(FREE, Ordering::SeqCst);
            }
            FORKING.store(0, Ordering::SeqCst);
        } else {
            FORKING.fetch_sub(1, Ordering::SeqCst);
        }
    }

    fn now() -> u64 {
        let now = clock_gettime(ClockId::Monotonic);
        let nanos = i128::from(now.tv_sec) * 1_000_000_000 + i128::from(now.tv_nsec);
        u64::try_from(nanos).unwrap_or(1).max(1)
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    /// Long enough to be seen, and not reached by anything else here.
    const YOUNG: Duration = Duration::from_millis(50);

    #[test]
    fn a_fork_waits_for_young_calls_only_and_lets_no_other_begin() {
        use std::sync::mpsc;
        use std::time::Instant;

        let _alone = crate::fork::testing::FORKS.write();
        let (told, tell) = mpsc::channel();
        let began = Instant::now();
        let never_ends = pass(YOUNG);
        forking();
        assert!(began.elapsed() >= YOUNG, "the fork did not wait for a call that had just begun");
        std::thread::scope(|scope| {
            scope.spawn(move || {
                let place = pass(YOUNG);
                told.send(()).unwrap();
                drop(place);
            });
            tell.recv_timeout(Duration::from_millis(20)).expect_err("a call began during a fork");
            // A second fork at the same time waits for none of them.
            forking();
            forked(false);
            tell.recv_timeout(Duration::from_millis(20)).expect_err("a call began during a fork");
            forked(false);
            tell.recv_timeout(Duration::from_secs(60)).expect("the gate is open again");
        });
        drop(never_ends);
    }

    #[test]
    fn a_child_passes_whatever_its_parent_was_at() {
        let _alone = crate::fork::testing::FORKS.write();
        let _place = pass(YOUNG);
        let child = crate::fork::testing::Child::fork_running(|_| {
            drop(pass(YOUNG)); // waits for no one
            true
        });
        assert!(child.answer);
    }
}
