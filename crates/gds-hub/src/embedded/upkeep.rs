//! What retention and compaction could not do.

use std::collections::BTreeMap;
use std::mem;
use std::sync::atomic::{AtomicU64, Ordering};

use gds_process::sync::Mutex;

use crate::error::Error;

/// Failures of all topics: counted, and kept until somebody says them to people.
#[derive(Debug, Default)]
pub(super) struct UpkeepFailures {
    retention: AtomicU64,
    compaction: AtomicU64,
    unsaid: Mutex<Vec<String>>,
}

/// What was not done.
#[derive(Clone, Copy, Debug)]
pub(super) enum Upkeep {
    Retention,
    Compaction,
}

impl UpkeepFailures {
    /// Counts one. It is said if it is the first since that went well.
    pub(super) fn note(&self, what: Upkeep, topic: &str, error: &Error, is_first: bool) {
        let (count, name, outcome) = match what {
            Upkeep::Retention => (&self.retention, "retention", "old messages stay on disk"),
            Upkeep::Compaction => (&self.compaction, "compaction", "all messages stay on disk"),
        };
        count.fetch_add(1, Ordering::Relaxed);
        if is_first {
            let again = if error.fatal() { "is not tried again" } else { "is tried again" };
            let text = format!("{name} of topic {topic:?} of the embedded hub failed, and {again}; {outcome}: {error}");
            self.unsaid.lock().push(text);
        }
    }

    /// What is to be said now.
    pub(super) fn take(&self) -> Vec<String> {
        mem::take(&mut *self.unsaid.lock())
    }

    /// How many there were since the hub was opened.
    pub(super) fn add_to(&self, figures: &mut BTreeMap<String, f64>) {
        for (name, count) in
            [("retention_errors_total", &self.retention), ("compaction_errors_total", &self.compaction)]
        {
            figures.insert(name.to_owned(), count.load(Ordering::Relaxed) as f64);
        }
    }
}
