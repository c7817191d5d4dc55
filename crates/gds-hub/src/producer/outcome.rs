//! What became of records: counted, told to who asked for it, and if need be tried again or put aside.

use std::collections::HashMap;
use std::fmt::Debug;
use std::sync::Arc;
use std::thread::{self, ThreadId};

use super::id::is_spooled;
use crate::error::Error;
use crate::sync::{AtomicUsize, Mutex, Ordering};

/// Where a record landed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct DeliveryMetadata {
    /// The topic's name.
    pub topic: String,
    /// The partition it is in.
    pub partition: i32,
    /// Its place in the partition; -1 if the hub does not say.
    pub offset: i64,
    /// Milliseconds since the epoch.
    pub timestamp: i64,
}

/// The outcome of a record that came with a token.
#[derive(Debug)]
pub struct Reported<T> {
    /// What came with it.
    pub token: T,
    /// Where it is, or why it is not.
    pub outcome: Result<DeliveryMetadata, Error>,
}

/// Takes the outcomes of records that came with tokens, many at a time: from threads of the producer and the hub, one
/// at a time, in the order in which outcomes became known.
pub trait Reporter<T>: Send + Sync + Debug {
    /// Called for each record once.
    fn report(&self, outcomes: Vec<Reported<T>>);

    /// Something that people should know and no record's outcome says; no lock of the producer is held meanwhile.
    fn warn(&self, _text: &str) {}
}

/// Outcomes that are known and not told yet.
///
/// Whoever comes while another thread is telling leaves its own to that one: nobody waits here, since the reporter may
/// let go of what the others wait for.
#[derive(Debug)]
pub(super) struct PendingReports<T> {
    known: Mutex<Vec<Reported<T>>>,
    /// Of those known and those being told.
    count: AtomicUsize,
    /// Who is telling, if anybody is.
    reporting: Mutex<Option<ThreadId>>,
    reporter: Arc<dyn Reporter<T>>,
}

impl<T> PendingReports<T> {
    pub(super) fn new(reporter: Arc<dyn Reporter<T>>) -> Self {
        Self { known: Mutex::default(), count: AtomicUsize::new(0), reporting: Mutex::default(), reporter }
    }

    pub(super) fn push(&self, token: T, outcome: Result<DeliveryMetadata, Error>) {
        self.count.fetch_add(1, Ordering::SeqCst);
        self.known.lock().push(Reported { token, outcome });
    }

    pub(super) fn count(&self) -> usize {
        self.count.load(Ordering::SeqCst)
    }

    /// Whether this is called from within the reporter.
    pub(super) fn is_reporting_here(&self) -> bool {
        *self.reporting.lock() == Some(thread::current().id())
    }

    pub(super) fn report(&self) {
        // Looked at again when nobody is telling any more: somebody may have left something in the last moment.
        while !self.known.lock().is_empty() {
            {
                let mut reporting = self.reporting.lock();
                if reporting.is_some() {
                    return;
                }
                *reporting = Some(thread::current().id());
            }
            let known = std::mem::take(&mut *self.known.lock());
            // Counted as told even if the reporter panics: nothing tells them again.
            let _guard = ReportGuard { pending_reports: self, records: known.len() };
            self.reporter.report(known);
        }
    }

    pub(super) fn reporter(&self) -> &dyn Reporter<T> {
        &*self.reporter
    }
}

struct ReportGuard<'a, T> {
    pending_reports: &'a PendingReports<T>,
    records: usize,
}

impl<T> Drop for ReportGuard<'_, T> {
    fn drop(&mut self) {
        *self.pending_reports.reporting.lock() = None;
        self.pending_reports.count.fetch_sub(self.records, Ordering::SeqCst);
    }
}

/// Tokens of records under way; most records have none, so that costs nothing but a look at a number.
#[derive(Debug)]
pub(super) struct Tokens<T> {
    count: AtomicUsize,
    /// Of those whose records are on disk.
    spooled: AtomicUsize,
    by_id: Mutex<HashMap<u64, T, foldhash::fast::FixedState>>,
}

impl<T> Tokens<T> {
    pub(super) fn new() -> Self {
        Self { count: AtomicUsize::new(0), spooled: AtomicUsize::new(0), by_id: Mutex::default() }
    }

    pub(super) fn insert(&self, id: u64, token: T) {
        self.count.fetch_add(1, Ordering::SeqCst);
        self.spooled.fetch_add(usize::from(is_spooled(id)), Ordering::SeqCst);
        self.by_id.lock().insert(id, token);
    }

    pub(super) fn remove(&self, id: u64) -> Option<T> {
        if self.count.load(Ordering::SeqCst) == 0 {
            return None;
        }
        let token = self.by_id.lock().remove(&id);
        if token.is_some() {
            self.count.fetch_sub(1, Ordering::SeqCst);
            self.spooled.fetch_sub(usize::from(is_spooled(id)), Ordering::SeqCst);
        }
        token
    }

    /// How many there are of records that are on disk.
    pub(super) fn spooled(&self) -> usize {
        self.spooled.load(Ordering::SeqCst)
    }

    /// The record has another id from now on.
    pub(super) fn rename(&self, from: u64, to: u64) {
        if let Some(token) = self.remove(from) {
            self.insert(to, token);
        }
    }

    pub(super) fn take_all(&self) -> Vec<T> {
        self.count.store(0, Ordering::SeqCst);
        self.spooled.store(0, Ordering::SeqCst);
        self.by_id.lock().drain().map(|(_, token)| token).collect()
    }
}

/// The name under which a failure is counted.
pub(super) fn reason(error: &Error) -> &'static str {
    match (error.code(), error) {
        (Some(10), _) => "message_too_large",
        (Some(29..=31 | 53 | 65), _) => "not_authorized",
        (Some(3 | -188 | -190), _) => "unknown_topic",
        (Some(17), _) => "invalid_topic",
        (Some(-192), _) | (_, Error::Timeout(_)) => "timeout",
        (_, Error::Connection(_)) => "connection",
        (_, Error::Storage(_)) => "storage",
        _ => "refused",
    }
}
