//! What a query runs with: its source, its limits, and what it has to say.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::annotations::{Annotations, Extent, Note};
use crate::ast::Span;
use crate::error::{Error, Limit};
use crate::source::Source;

/// How queries are evaluated, and what each may use up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EngineOptions {
    /// How old the newest sample of a series may be to count, in milliseconds.
    pub lookback: i64,
    /// The distance of the steps of subqueries that do not say one, in milliseconds.
    pub subquery_step: i64,
    /// Samples that one query may read.
    pub max_samples: usize,
    /// Series that one query may read, those of all its selectors together.
    pub max_series: usize,
    /// Bytes that one query may hold at once.
    pub max_bytes: usize,
    /// How long one query may take.
    pub timeout: Duration,
    /// Whether the label `__type__` says which metrics are counters, rather than their names.
    pub type_and_unit_labels: bool,
}

impl Default for EngineOptions {
    fn default() -> Self {
        Self {
            lookback: 300_000,
            subquery_step: 60_000,
            max_samples: 50_000_000,
            max_series: 1_000_000,
            max_bytes: 1 << 30,
            timeout: Duration::from_secs(120),
            type_and_unit_labels: false,
        }
    }
}

/// Ends a query from another thread.
#[derive(Clone, Debug, Default)]
pub struct Cancel(Arc<AtomicBool>, #[cfg(test)] pub(super) Arc<Looks>);

impl Cancel {
    /// Has not been called for yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// The query ends as soon as it looks, which it does with each series and after every 16,384 values that it looks at.
    pub fn cancel(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether the query is to end.
    pub fn is_cancelled(&self) -> bool {
        #[cfg(test)]
        self.1.look(self);
        self.0.load(Ordering::Relaxed)
    }
}

/// How often a query looked at whether it has to end.
#[cfg(test)]
#[derive(Debug, Default)]
pub(super) struct Looks {
    pub(super) count: std::sync::atomic::AtomicUsize,
    /// The look at which it is called off; none where that is zero.
    pub(super) last: std::sync::atomic::AtomicUsize,
}

#[cfg(test)]
impl Looks {
    fn look(&self, cancel: &Cancel) {
        if self.count.fetch_add(1, Ordering::Relaxed) + 1 == self.last.load(Ordering::Relaxed) {
            cancel.cancel();
        }
    }
}

/// The memory of a query.
#[derive(Debug)]
pub(super) struct Budget {
    allowed: usize,
    held: Cell<usize>,
}

impl Budget {
    /// Takes a part of it, until what is returned is dropped.
    pub(super) fn hold(self: &Rc<Self>, bytes: usize) -> Result<Reservation, Error> {
        let mut held = Reservation { budget: Rc::clone(self), bytes: 0 };
        held.grow(bytes)?;
        Ok(held)
    }
}

/// A part of the memory of a query.
#[derive(Debug)]
pub(super) struct Reservation {
    budget: Rc<Budget>,
    bytes: usize,
}

impl Reservation {
    /// Takes more.
    pub(super) fn grow(&mut self, bytes: usize) -> Result<(), Error> {
        let total = self.budget.held.get().saturating_add(bytes);
        if total > self.budget.allowed {
            return Err(Error::Limit { limit: Limit::Bytes, allowed: self.budget.allowed });
        }
        self.budget.held.set(total);
        self.bytes += bytes;
        Ok(())
    }

    /// A reservation of as much.
    pub(super) fn try_clone(&self) -> Result<Self, Error> {
        self.budget.hold(self.bytes)
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.budget.held.set(self.budget.held.get() - self.bytes);
    }
}

/// What a query has to say besides its answer.
#[derive(Debug, Default)]
pub(super) struct Notes(RefCell<Annotations>);

impl Notes {
    pub(super) fn add(&self, note: Note, span: Span) {
        self.0.borrow_mut().add(note, span);
    }

    pub(super) fn add_with(&self, note: Note, span: Span, extent: Extent) {
        self.0.borrow_mut().add_with(note, span, extent);
    }

    pub(super) fn into_inner(self) -> Annotations {
        self.0.into_inner()
    }
}

/// How many values are looked at until a query looks whether it has to end: a fraction of a millisecond. Tests of this
/// crate count the looks, and need not go through as many values for that.
pub(super) const WORK: usize = if cfg!(test) { 1 << 8 } else { 1 << 14 };
/// For how many values a histogram counts: most have some dozens of buckets.
pub(super) const HISTOGRAM_WORK: usize = 64;

/// What is counted of the values that were looked at, with a look at the query now and then.
pub(super) struct Pace<'q> {
    query: &'q Query<'q>,
    left: usize,
}

impl Pace<'_> {
    /// So many values are looked at next; fails when the query has to end.
    #[inline]
    pub(super) fn work(&mut self, values: usize) -> Result<(), Error> {
        match self.left.checked_sub(values) {
            Some(left) => {
                self.left = left;
                Ok(())
            }
            None => {
                self.left = WORK;
                self.query.check()
            }
        }
    }
}

/// A query that is running.
pub(super) struct Query<'a> {
    pub(super) source: &'a dyn Source,
    pub(super) options: &'a EngineOptions,
    pub(super) notes: Notes,
    budget: Rc<Budget>,
    samples: Cell<usize>,
    series: Cell<usize>,
    /// Values that are looked at until the next look at whether it has to end.
    left: Cell<usize>,
    ends: Option<Instant>,
    cancel: &'a Cancel,
}

impl<'a> Query<'a> {
    pub(super) fn new(source: &'a dyn Source, options: &'a EngineOptions, cancel: &'a Cancel) -> Self {
        Self {
            source,
            options,
            notes: Notes::default(),
            budget: Rc::new(Budget { allowed: options.max_bytes, held: Cell::new(0) }),
            samples: Cell::new(0),
            series: Cell::new(0),
            left: Cell::new(WORK),
            ends: Instant::now().checked_add(options.timeout),
            cancel,
        }
    }

    /// Takes memory, until what is returned is dropped.
    pub(super) fn hold(&self, bytes: usize) -> Result<Reservation, Error> {
        self.budget.hold(bytes)
    }

    /// Fails where a single series at the steps of a grid would take all memory.
    pub(super) fn admit(&self, steps: usize) -> Result<(), Error> {
        self.hold(steps.saturating_mul(2 * size_of::<f64>())).map(drop)
    }

    /// Counts a series that was read, and its samples.
    pub(super) fn read(&self, samples: usize) -> Result<(), Error> {
        let count = |counter: &Cell<usize>, more: usize, limit: Limit, allowed: usize| {
            counter.set(counter.get().saturating_add(more));
            if counter.get() > allowed { Err(Error::Limit { limit, allowed }) } else { Ok(()) }
        };
        count(&self.series, 1, Limit::Series, self.options.max_series)?;
        count(&self.samples, samples, Limit::Samples, self.options.max_samples)?;
        self.check()
    }

    /// So many values are looked at next; fails when the query has to end.
    pub(super) fn work(&self, values: usize) -> Result<(), Error> {
        match self.left.get().checked_sub(values) {
            Some(left) => {
                self.left.set(left);
                Ok(())
            }
            None => {
                self.left.set(WORK);
                self.check()
            }
        }
    }

    /// Likewise for the values of a loop, one by one.
    pub(super) fn pace(&self) -> Pace<'_> {
        Pace { query: self, left: WORK }
    }

    /// Goes through values piece by piece, so that the query can end between two pieces.
    pub(super) fn pieces<'v, T>(&self, values: &'v [T]) -> impl Iterator<Item = Result<&'v [T], Error>> {
        values.chunks(WORK).enumerate().map(|(at, piece)| if at > 0 { self.check().map(|()| piece) } else { Ok(piece) })
    }

    /// Fails when the query has to end.
    pub(super) fn check(&self) -> Result<(), Error> {
        if self.cancel.is_cancelled() {
            return Err(Error::Cancelled);
        }
        if self.ends.is_some_and(|ends| Instant::now() >= ends) {
            return Err(Error::Timeout);
        }
        Ok(())
    }
}
