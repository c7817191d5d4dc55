//! How many series a metric and a tenant may have.

use std::collections::HashMap;

use gds_process::sync::Mutex;
use gds_promql::labels::Labels;

/// How many there may be; as many as come where it says nothing.
#[derive(Clone, Debug, Default)]
pub struct Limits {
    /// Series of one metric.
    pub series_per_metric: Option<usize>,
    /// Series of one tenant.
    pub series_per_tenant: Option<usize>,
    /// The label that says which tenant a series belongs to.
    pub tenant_label: String,
}

/// Series in memory, counted.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    limits: Limits,
    counts: Mutex<[HashMap<String, usize>; 2]>,
}

impl Counts {
    pub(crate) fn new(limits: Limits) -> Self {
        Self { limits, counts: Mutex::default() }
    }

    fn kinds<'a>(&self, labels: &'a Labels) -> [(Option<usize>, &'a str); 2] {
        let limits = &self.limits;
        [(limits.series_per_metric, labels.metric_name()), (limits.series_per_tenant, labels.get(&limits.tenant_label))]
    }

    /// Counts a new series; not where there are as many as may be. What replay finds was counted before.
    pub(crate) fn add(&self, labels: &Labels, replay: bool) -> bool {
        let kinds = self.kinds(labels);
        let mut counts = self.counts.lock();
        let full = |(limit, key): &(Option<usize>, &str), counts: &HashMap<String, usize>| {
            limit.is_some_and(|limit| counts.get(*key).copied().unwrap_or(0) >= limit)
        };
        if !replay && kinds.iter().zip(counts.iter()).any(|(kind, counts)| full(kind, counts)) {
            return false;
        }
        for ((limit, key), counts) in kinds.iter().zip(counts.iter_mut()) {
            if limit.is_some() {
                *counts.entry((*key).to_owned()).or_default() += 1;
            }
        }
        true
    }

    /// A series is gone.
    pub(crate) fn remove(&self, labels: &Labels) {
        let kinds = self.kinds(labels);
        let mut counts = self.counts.lock();
        for ((limit, key), counts) in kinds.iter().zip(counts.iter_mut()) {
            if limit.is_some()
                && let Some(count) = counts.get_mut(*key)
            {
                *count -= 1;
                if *count == 0 {
                    counts.remove(*key);
                }
            }
        }
    }
}
