//! Calls into other libraries that hold a lock of the whole process for a moment.
//!
//! Forked at that moment, a child would find the lock taken by a thread that it does not have, and wait for ever in its
//! first such call. The threads of a library must not bring that upon a program. So such calls pass a gate, which a fork
//! closes, and a fork waits for those that have just passed it.

use std::time::Duration;

/// A call under way, until this is dropped.
#[must_use = "dropped at once, no fork waits for the call"]
pub struct Passed {
    #[cfg(unix)]
    _slot: crate::slots::Slot,
}

/// Waits until no fork is under way. Forks that begin after that wait until the guard is dropped, but not longer than
/// `timeout` from now: what the call does later needs no such care, or is not worth the wait.
pub fn pass(timeout: Duration) -> Passed {
    #[cfg(unix)]
    {
        crate::fork::watch();
        Passed { _slot: crate::slots::pass(timeout) }
    }
    #[cfg(not(unix))]
    {
        let _ = timeout;
        Passed {}
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use crate::slots::{forked, forking};

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
                let slot = pass(YOUNG);
                told.send(()).unwrap();
                drop(slot);
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
