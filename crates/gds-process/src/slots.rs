//! The calls under way that a fork waits for, in a table that its handlers may read.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

const PAUSE: Duration = Duration::from_micros(100);

/// Calls at the same time; further ones wait. A handler of forks may not allocate or lock, so a table.
const SLOTS: usize = 256;

const FREE: u64 = 0;

/// Forks under way.
static FORKING: AtomicUsize = AtomicUsize::new(0);
/// Until when each call is waited for, in nanoseconds of the monotonic clock.
static UNTIL: [AtomicU64; SLOTS] = [const { AtomicU64::new(FREE) }; SLOTS];

/// A call under way.
pub(crate) struct Slot(&'static AtomicU64);

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.store(FREE, Ordering::SeqCst);
    }
}

/// As [`pass`](crate::gate::pass), in a process whose forks are watched.
pub(crate) fn pass(timeout: Duration) -> Slot {
    loop {
        if FORKING.load(Ordering::SeqCst) == 0
            && let Some(slot) = take_slot(timeout)
        {
            // Either this look sees the fork, or the fork, which looks at the slots later, sees this call.
            if FORKING.load(Ordering::SeqCst) == 0 {
                return slot;
            }
        }
        std::thread::sleep(PAUSE);
    }
}

fn take_slot(timeout: Duration) -> Option<Slot> {
    let until = now().saturating_add(u64::try_from(timeout.as_nanos()).unwrap_or(u64::MAX));
    let free = UNTIL.iter().find(|slot| slot.compare_exchange(FREE, until, Ordering::SeqCst, Ordering::SeqCst).is_ok());
    free.map(Slot)
}

/// Before a fork: closes the gate, and waits for those who passed it just now.
pub(crate) fn forking() {
    FORKING.fetch_add(1, Ordering::SeqCst);
    for slot in &UNTIL {
        while slot.load(Ordering::SeqCst) > now() {
            std::thread::sleep(PAUSE);
        }
    }
}

/// After it: opens the gate, in the child for a process without calls.
pub(crate) fn forked(in_child: bool) {
    if in_child {
        for slot in &UNTIL {
            slot.store(FREE, Ordering::SeqCst);
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
