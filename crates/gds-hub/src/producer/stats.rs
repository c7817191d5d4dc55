//! What a producer has counted.

use std::collections::BTreeMap;

/// A snapshot. `accepted` is the sum of `delivered`, `failed`, `dropped` and `pending`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Stats {
    /// Records that `send` took.
    pub accepted: u64,
    /// Records the hub has.
    pub delivered: u64,
    /// Records the hub refused for good, by the name of its error.
    pub failed: BTreeMap<&'static str, u64>,
    /// Records that were given up here, by reason.
    pub dropped: BTreeMap<&'static str, u64>,
    /// Records that are neither delivered nor failed nor dropped.
    pub pending: u64,
    /// Of these, records waiting in memory.
    pub queued: u64,
    /// Bytes of these.
    pub queued_bytes: u64,
    /// Of these, records handed to the hub.
    pub in_flight: u64,
    /// Of these, records waiting in the spool, and those in flight from there.
    pub spooled: u64,
    /// Bytes of the spool on disk.
    pub spool_bytes: u64,
    /// Age of the oldest record in the spool, in seconds.
    pub spool_age_seconds: f64,
    /// Records found in the spools of processes that ended, now delivered by this one; they count as accepted here.
    pub adopted: u64,
    /// Records that were handed to the hub again.
    pub retried: u64,
    /// Dead letters written for records that failed.
    pub dead_lettered: u64,
    /// Failed writes of the spool.
    pub spool_errors: u64,
    /// The hub's own figures.
    pub hub: BTreeMap<String, f64>,
}

impl Stats {
    /// All records that failed.
    pub fn failures(&self) -> u64 {
        self.failed.values().sum()
    }

    /// All records that were dropped.
    pub fn drops(&self) -> u64 {
        self.dropped.values().sum()
    }
}
