//! Whether a series that is updated stays, while another thread has it expire.

use std::sync::atomic::Ordering;

use crate::cells::Word;

/// The mark of a series that is reported to.
pub(crate) const LIVES: u64 = 0;
/// That of one which nobody will see.
pub(crate) const REMOVED: u64 = 1;

/// Remembers when a series was last updated.
#[inline]
pub(crate) fn touch<W: Word>(updated: &W, millis: u64) {
    updated.store(millis, Ordering::Relaxed);
}

/// Whether a series stays that was touched and changed just before; if not, it expired meanwhile. `wait` returns when
/// whoever expires is done: with the mark alone nothing is settled yet.
#[inline]
pub(crate) fn stays<W: Word>(mark: &W, wait: impl FnOnce()) -> bool {
    // Pairs with the fence below: either that one sees the touch and lets the series live, or this sees the mark.
    W::fence(Ordering::SeqCst);
    if mark.load(Ordering::Acquire) == LIVES {
        return true;
    }
    wait();
    mark.load(Ordering::Acquire) == LIVES
}

/// Marks a series as removed that was touched before `oldest`, unless it is touched meanwhile; whether it is.
pub(crate) fn leaves<W: Word>(updated: &W, mark: &W, oldest: u64) -> bool {
    // Looked at once: what is compared below is what was found to be too long ago, and no touch since.
    let seen = updated.load(Ordering::Relaxed);
    if seen >= oldest {
        return false;
    }
    mark.store(REMOVED, Ordering::Release);
    // Pairs with the fence above: an update that did not see the mark is seen here.
    W::fence(Ordering::SeqCst);
    let leaves = updated.load(Ordering::Relaxed) == seen;
    if !leaves {
        mark.store(LIVES, Ordering::Release);
    }
    leaves
}
