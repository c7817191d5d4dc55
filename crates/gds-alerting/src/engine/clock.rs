//! The time of the samples, partition by partition, and what is due by it.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

/// A cell of a series: their places.
pub(super) type CellPlace = (u32, u32);

/// Of a partition from which nothing was evaluated yet.
const NEVER: i64 = i64::MIN;

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Partition {
    /// The newest time seen.
    pub(super) now_ms: i64,
    /// The place after the last one that was evaluated.
    pub(super) next_offset: i64,
}

#[derive(Debug, Default)]
pub(super) struct Clocks {
    pub(super) partitions: BTreeMap<i32, Partition>,
    /// By partition: when to look again whether a series is silent. A sample moves none of them: who is looked at finds the
    /// time of its newest sample, and is looked at again.
    due: BTreeMap<i32, BTreeSet<(i64, CellPlace)>>,
}

impl Clocks {
    /// The clock of a partition goes on, never back.
    pub(super) fn advance(&mut self, partition: i32, now_ms: i64) {
        let clock = self.partition(partition);
        clock.now_ms = clock.now_ms.max(now_ms);
    }

    /// Whether a place in a partition was evaluated before; it is from now on.
    pub(super) fn is_read(&mut self, partition: i32, offset: i64) -> bool {
        let clock = self.partition(partition);
        let read = offset < clock.next_offset;
        clock.next_offset = clock.next_offset.max(offset + 1);
        read
    }

    /// The time that all partitions have come to.
    pub(super) fn all(&self) -> Option<i64> {
        self.partitions.values().map(|clock| clock.now_ms).filter(|now_ms| *now_ms != NEVER).min()
    }

    fn partition(&mut self, partition: i32) -> &mut Partition {
        self.partitions.entry(partition).or_insert(Partition { now_ms: NEVER, next_offset: 0 })
    }

    pub(super) fn watch(&mut self, partition: i32, at_ms: i64, place: CellPlace) {
        self.due.entry(partition).or_default().insert((at_ms, place));
    }

    /// The next one of a partition that is due by `until_ms`.
    pub(super) fn pop(&mut self, partition: i32, until_ms: i64) -> Option<(i64, CellPlace)> {
        let due = self.due.get_mut(&partition)?;
        let first = *due.first()?;
        (first.0 <= until_ms).then(|| {
            due.remove(&first);
            first
        })
    }
}
