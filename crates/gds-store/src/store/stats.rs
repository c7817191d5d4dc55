//! What the store has, and what it did.

use std::sync::atomic::{AtomicU64, Ordering};

use super::Store;
use crate::head::shard::Appended;

/// What the store has now, and what it did since it was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Series with samples in memory.
    pub head_series: u64,
    /// Bytes of them.
    pub head_bytes: u64,
    /// Parts.
    pub parts: u64,
    /// Samples in parts.
    pub part_samples: u64,
    /// Bytes of parts on the disk.
    pub part_bytes: u64,
    /// Bytes of the indexes of parts in memory.
    pub index_bytes: u64,
    /// Deletions whose samples still take space.
    pub deletions: u64,
    /// Samples that were accepted.
    pub accepted: u64,
    /// Samples that a later one of their series at the same time took the place of, counted when parts are written.
    pub duplicates: u64,
    /// Samples that were older than their series are kept.
    pub too_old: u64,
    /// Samples whose series would have been one too many.
    pub over_limit: u64,
    /// Appends that failed.
    pub failed: u64,
}

/// What was counted.
#[derive(Debug, Default)]
pub(super) struct Counters {
    accepted: AtomicU64,
    duplicates: AtomicU64,
    too_old: AtomicU64,
    over_limit: AtomicU64,
    failed: AtomicU64,
}

impl Counters {
    pub(super) fn appended(&self, done: &Appended) {
        self.accepted.fetch_add(done.accepted, Ordering::Relaxed);
        self.too_old.fetch_add(done.too_old, Ordering::Relaxed);
        self.over_limit.fetch_add(done.over_limit, Ordering::Relaxed);
    }

    pub(super) fn duplicates(&self, count: u64) {
        self.duplicates.fetch_add(count, Ordering::Relaxed);
    }

    pub(super) fn failed(&self) {
        self.failed.fetch_add(1, Ordering::Relaxed);
    }
}

impl Store {
    /// What there is, and what was done.
    pub fn stats(&self) -> Stats {
        let state = self.state.read().clone();
        let heads = self.shards.iter().map(|shard| {
            let shard = shard.lock();
            (shard.table.len() as u64, shard.bytes as u64)
        });
        let (head_series, head_bytes) = heads.fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Stats {
            head_series,
            head_bytes,
            parts: state.parts.len() as u64,
            part_samples: state.parts.iter().map(|part| part.info.samples).sum(),
            part_bytes: state.parts.iter().map(|part| part.info.bytes).sum(),
            index_bytes: state.parts.iter().map(|part| part.size() as u64).sum(),
            deletions: state.deletions.len() as u64,
            accepted: count(&self.counters.accepted),
            duplicates: count(&self.counters.duplicates),
            too_old: count(&self.counters.too_old),
            over_limit: count(&self.counters.over_limit),
            failed: count(&self.counters.failed),
        }
    }
}
