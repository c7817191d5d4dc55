//! The samples of a window that moves along with the steps.

use std::ops::Range as Indexes;
use std::sync::Arc;

use super::column::{Column, Grid, Point};
use super::context::{HISTOGRAM_WORK, Notes, Query};
use super::operator::Op;
use super::selector::Selector;
use crate::ast::{Extension, Span};
use crate::error::Error;
use crate::histogram::{CounterResetHint, FloatHistogram};
use crate::labels::Labels;
use crate::source::{self, Samples};

/// `rate(x[5m])[1h:1m]`, the part in the brackets and before them.
pub(super) struct Subquery {
    pub(super) op: Op,
    /// The distance of its steps, which are multiples of it.
    pub(super) step: i64,
    pub(super) offset: i64,
    pub(super) at: Option<i64>,
}

impl Subquery {
    fn reference(&self, time: i64) -> i64 {
        self.at.unwrap_or(time).saturating_sub(self.offset)
    }

    /// The steps of all windows together: the inner expression is evaluated once.
    pub(super) fn grid(&self, outer: Grid, range: i64) -> Grid {
        if outer.count == 0 {
            return Grid { count: 0, ..outer };
        }
        let before = self.reference(outer.start).saturating_sub(range);
        let start = (before.div_euclid(self.step) + 1).saturating_mul(self.step);
        Grid::new(start, self.reference(outer.last()), self.step)
    }
}

/// What is in a window.
pub(super) enum Input {
    Selector(Selector),
    Subquery(Subquery),
}

/// A range vector.
pub(super) struct Range {
    pub(super) input: Input,
    /// The length of the window in milliseconds.
    pub(super) length: i64,
}

impl Range {
    /// The end of the window of a step.
    pub(super) fn end(&self, time: i64) -> i64 {
        match &self.input {
            Input::Selector(selector) => selector.reference(time),
            Input::Subquery(subquery) => subquery.reference(time),
        }
    }

    pub(super) fn extension(&self) -> Option<Extension> {
        match &self.input {
            Input::Selector(selector) => selector.extension,
            Input::Subquery(_) => None,
        }
    }

    /// How far before and after the window samples are taken in.
    pub(super) fn margins(&self, lookback: i64) -> (i64, i64) {
        match self.extension() {
            None => (0, 0),
            Some(Extension::Anchored) => (lookback, 0),
            Some(Extension::Smoothed) => (lookback, lookback),
        }
    }

    /// Each series with the samples of all windows, without stale markers; and whether its name goes at the end.
    pub(super) fn each(
        &self,
        query: &Query<'_>,
        grid: Grid,
        take: &mut dyn FnMut(Labels, bool, &Samples) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let (before, after) = self.margins(query.options.lookback);
        match &self.input {
            Input::Selector(selector) => {
                let around = (self.length.saturating_add(before), after);
                selector.each(query, grid, around, &mut |labels, samples| {
                    take(labels, false, &Samples::without_stale(samples))
                })
            }
            Input::Subquery(subquery) => {
                let inner = subquery.grid(grid, self.length);
                query.admit(inner.count)?;
                subquery.op.run(query, inner, &mut |series| {
                    let samples = samples_of(query, &series.column, inner)?;
                    let _held = query.hold(samples.size())?;
                    take(series.labels, series.drop_name, &samples)
                })
            }
        }
    }
}

/// Values at steps as samples. What hints say of the histogram before them is not true of that of the step before.
fn samples_of(query: &Query<'_>, column: &Column, grid: Grid) -> Result<Samples, Error> {
    let mut samples = Samples::default();
    let mut pace = query.pace();
    for (step, point) in column.iter() {
        pace.work(1)?;
        match point {
            Point::Float(number) => samples.floats.push(grid.at(step), 0, number),
            Point::Histogram(histogram) => {
                let mut histogram = Arc::clone(histogram);
                if matches!(histogram.counter_reset_hint, CounterResetHint::Reset | CounterResetHint::NotReset) {
                    Arc::make_mut(&mut histogram).counter_reset_hint = CounterResetHint::Unknown;
                }
                samples.histograms.push(grid.at(step), 0, histogram);
            }
        }
    }
    Ok(samples)
}

/// Samples of one type in a window.
#[derive(Debug)]
pub(super) struct Part<'a, T> {
    pub(super) times: &'a [i64],
    pub(super) values: &'a [T],
    starts: &'a [i64],
}

impl<T> Clone for Part<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Part<'_, T> {}

impl<'a, T> Part<'a, T> {
    fn of(column: &'a source::Column<T>, indexes: &Indexes<usize>) -> Self {
        Self {
            times: &column.times[indexes.clone()],
            values: &column.values[indexes.clone()],
            starts: column.starts.get(indexes.clone()).unwrap_or(&[]),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.times.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.times.is_empty()
    }

    /// When what a sample counts began, zero where that is not known.
    pub(super) fn start(&self, at: usize) -> i64 {
        self.starts.get(at).copied().unwrap_or(0)
    }

    /// Whether of any sample it is known when what it counts began.
    pub(super) fn has_starts(&self) -> bool {
        !self.starts.is_empty()
    }

    /// Whether the start says that the counter was reset between a sample and the one before it.
    pub(super) fn starts_anew(&self, at: usize) -> bool {
        !self.starts.is_empty()
            && starts_anew((self.start(at - 1), self.times[at - 1]), (self.start(at), self.times[at]))
    }

    /// Whether what a sample counts began before the sample before it, though not when that one did.
    pub(super) fn starts_overlap(&self, at: usize) -> bool {
        let start = self.start(at);
        start != 0 && start < self.times[at - 1] && start != self.start(at - 1)
    }
}

/// Whether starts and times of two samples say that the counter was reset between them.
///
/// A start at or after its own sample is none. One at the sample before is a reset where that sample has a start of its
/// own: the two count one stretch after the other. Where it has none, the start of the series is not known.
pub(super) fn starts_anew(before: (i64, i64), now: (i64, i64)) -> bool {
    let ((before_start, before_time), (start, time)) = (before, now);
    if start == 0 || start >= time || start < before_time {
        return false;
    }
    start > before_time || (before_start < before_time && before_start != 0)
}

/// What a function over a window is given.
#[derive(Clone, Copy)]
pub(super) struct Window<'a> {
    pub(super) labels: &'a Labels,
    /// The samples after `start` and not after `end`, and those of the margins.
    pub(super) floats: Part<'a, f64>,
    pub(super) histograms: Part<'a, Arc<FloatHistogram>>,
    /// Where among all samples of the series the floats begin.
    pub(super) first_float: usize,
    /// The floats of the series that are smaller than the one before them, or begin anew.
    pub(super) resets: &'a [usize],
    pub(super) start: i64,
    pub(super) end: i64,
    /// The step.
    pub(super) time: i64,
    /// The length of the window in milliseconds.
    pub(super) length: i64,
    pub(super) extension: Option<Extension>,
    /// The other arguments at this step.
    pub(super) arguments: &'a [f64],
    pub(super) notes: &'a Notes,
    /// What a function asks that goes through many samples. One that cannot fail gives nothing when the query has to end:
    /// whoever called it asks again.
    pub(super) query: &'a Query<'a>,
    /// Where the first argument stands.
    pub(super) span: Span,
}

impl Window<'_> {
    /// How many values the samples count for.
    pub(super) fn size(&self) -> usize {
        self.floats.len().saturating_add(self.histograms.len().saturating_mul(HISTOGRAM_WORK))
    }

    pub(super) fn metric_name(&self) -> String {
        self.labels.metric_name().to_owned()
    }

    /// The length of the window in seconds.
    pub(super) fn seconds(&self) -> f64 {
        self.length as f64 / 1e3
    }
}

/// Which samples are in the window of a step; it moves forward only.
#[derive(Default)]
pub(super) struct Cursor {
    floats: Indexes<usize>,
    histograms: Indexes<usize>,
}

impl Cursor {
    /// Moves on to the samples after `start`, not after `end`.
    pub(super) fn move_to<'a>(
        &mut self,
        samples: &'a Samples,
        start: i64,
        end: i64,
    ) -> (usize, Part<'a, f64>, Part<'a, Arc<FloatHistogram>>) {
        advance(&mut self.floats, &samples.floats.times, start, end);
        advance(&mut self.histograms, &samples.histograms.times, start, end);
        let floats = Part::of(&samples.floats, &self.floats);
        (self.floats.start, floats, Part::of(&samples.histograms, &self.histograms))
    }
}

fn advance(indexes: &mut Indexes<usize>, times: &[i64], start: i64, end: i64) {
    // The first window may begin far into the series; the next ones are near by.
    let first = |from: usize, bound: i64| {
        let near = times[from..].iter().take(16).take_while(|time| **time <= bound).count();
        if near < 16 { from + near } else { from + times[from..].partition_point(|time| *time <= bound) }
    };
    indexes.start = first(indexes.start, start);
    indexes.end = first(indexes.end.max(indexes.start), end);
}
