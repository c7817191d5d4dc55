//! How series leave a registry: nobody updates them, or somebody removes them.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::cells::Word;
use crate::family::Family;
use crate::registry::{Registry, oldest_kept};
use crate::series::Series;

/// Removed series that a family keeps until the next scrape, unless they are half of it.
const KEPT: usize = 64;

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

impl Registry {
    /// Forgets series that were removed or that nobody updated for `expire_after`; the caller holds `scraping`, or walks
    /// no family. In a shared folder what is old is only left off the page, so that a counter that comes back continues
    /// where it was.
    pub fn expire(&self) {
        let limit = self.expire_after.filter(|_| self.shared.is_none());
        let oldest = limit.map(|limit| oldest_kept(&self.clock, limit));
        let mut any = false;
        let families: Vec<_> = self.families.read().sorted.values().cloned().collect();
        for family in families {
            if let Some(oldest) = oldest {
                self.expire_of(&family, oldest);
            }
            if family.members.read().gone > 0 {
                family.members.write().forget_removed();
                any = true;
            }
        }
        if any {
            self.index.retain(|series| !series.is_removed());
        }
    }

    fn expire_of(&self, family: &Family, oldest: u64) {
        let is_stale = |series: &Series| series.updated_millis() < oldest;
        if !family.members.read().list.iter().any(|series| is_stale(series)) {
            return;
        }
        let mut members = family.members.write();
        let _settling = self.expiring.lock();
        let leaving = members.list.iter().filter(|series| !series.is_removed() && series.leaves(oldest));
        let leaving: Vec<Arc<Series>> = leaving.map(Arc::clone).collect();
        for series in leaving {
            members.take_out(&series);
        }
    }

    /// Takes a series out of its family; whether there was one.
    pub(crate) fn remove(&self, family: &Family, given: &[(&str, &str)]) -> bool {
        let labels = self.canonical(family, given);
        let identity = self.identity(&labels);
        let mut members = family.members.write();
        let overflow = members.overflow.as_ref().filter(|series| series.identity() == identity);
        let Some(series) = members.find(&identity).or(overflow).cloned() else { return false };
        members.take_out(&series);
        if self.shared.is_some() {
            series.forget();
        }
        // The list is walked by scrapes, which shorten it themselves. Where there are none, it is done here, seldom enough.
        if members.gone >= KEPT.max(members.list.len() / 2)
            && let Some(_nobody_walks) = self.scraping.try_lock()
        {
            members.forget_removed();
            drop(members);
            self.index.retain(|series| !series.is_removed());
        }
        true
    }
}
