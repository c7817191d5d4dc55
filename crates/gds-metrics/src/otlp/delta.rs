//! What the receiver has acknowledged of each series, which is what a delta counts from.

use std::collections::HashMap;

use foldhash::fast::RandomState;

use crate::snapshot::{Family, Series, Value};

/// Series id -> what was acknowledged; as large as the last snapshot at most.
#[derive(Debug, Default)]
pub(super) struct Deltas {
    cycle: u64,
    acknowledged: HashMap<u64, Acknowledged, RandomState>,
}

#[derive(Debug)]
struct Acknowledged {
    nanos: u64,
    value: Value,
    /// The last snapshot that had the series.
    cycle: u64,
}

/// The change of a series since it was last acknowledged.
#[derive(Debug, PartialEq)]
pub(super) struct Change {
    /// What the change began with: the time of the last acknowledged point, or of the series.
    pub(super) start_nanos: u64,
    /// How much was added.
    pub(super) value: Value,
    /// Whether the receiver has seen the series, and therefore its examples up to `start_nanos`.
    pub(super) seen: bool,
}

/// What to remember of a series once a request is acknowledged.
#[derive(Debug)]
pub(super) struct Receipt {
    pub(super) id: u64,
    pub(super) nanos: u64,
    pub(super) value: Value,
}

impl Deltas {
    /// Forgets every series that `families` does not hold.
    pub(super) fn retain(&mut self, families: &[Family]) {
        self.cycle += 1;
        let cycle = self.cycle;
        for series in families.iter().flat_map(|family| &family.series) {
            if let Some(known) = self.acknowledged.get_mut(&series.id) {
                known.cycle = cycle;
            }
        }
        self.acknowledged.retain(|_, known| known.cycle == cycle);
    }

    /// What changed, or nothing.
    pub(super) fn change(&self, series: &Series) -> Option<Change> {
        let Some(known) = self.acknowledged.get(&series.id) else {
            return Some(Change { start_nanos: series.created_nanos, value: series.value.clone(), seen: false });
        };
        let value = match (&known.value, &series.value) {
            (Value::Number(old), Value::Number(new)) if is_nothing(new - old) => return None,
            (Value::Number(old), Value::Number(new)) if new > old => Value::Number(new - old),
            (Value::Distribution { buckets: old, .. }, Value::Distribution { buckets: new, .. }) if old == new => {
                return None;
            }
            (Value::Distribution { sum: old_sum, buckets: old }, Value::Distribution { sum, buckets })
                if old.len() == buckets.len() && old.iter().zip(buckets).all(|(old, new)| old <= new) =>
            {
                let buckets = buckets.iter().zip(old).map(|(new, old)| new - old).collect();
                Value::Distribution { sum: sum - old_sum, buckets }
            }
            // It shrank, which a total does only by starting again from nothing.
            _ => series.value.clone(),
        };
        Some(Change { start_nanos: known.nanos, value, seen: true })
    }

    /// Takes over what a receiver acknowledged.
    pub(super) fn acknowledge(&mut self, receipts: Vec<Receipt>) {
        for Receipt { id, nanos, value } in receipts {
            self.acknowledged.insert(id, Acknowledged { nanos, value, cycle: self.cycle });
        }
    }

    /// Number of series remembered.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.acknowledged.len()
    }
}

/// Whether nothing was added, as far as can be told: infinity less infinity is no number.
fn is_nothing(added: f64) -> bool {
    added == 0.0 || added.is_nan()
}
