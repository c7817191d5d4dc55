//! How series leave a registry: nobody updates them, or somebody removes them.

use std::sync::Arc;

use crate::family::Family;
use crate::registry::{Registry, oldest_kept};
use crate::series::Series;

/// Removed series that a family keeps until the next scrape, unless they are half of it.
const KEPT: usize = 64;

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
