//! Series of the source at the steps of a query.

use std::borrow::Cow;

use super::column::{Column, Grid, Point, Series};
use super::context::Query;
use super::interpolate;
use super::operator::{Operator, Sink};
use crate::annotations::Note;
use crate::ast::{Extension, Span};
use crate::error::Error;
use crate::histogram::CounterResetHint;
use crate::labels::Labels;
use crate::matcher::Matcher;
use crate::source::{Samples, Select};
use crate::value::{Sample, is_stale};

/// Takes a series of the source.
pub(super) type Take<'t> = dyn FnMut(Labels, Cow<'_, Samples>) -> Result<(), Error> + 't;

/// Which series, and when.
pub(super) struct Selector {
    pub(super) matchers: Vec<Matcher>,
    /// How far before the step, in milliseconds.
    pub(super) offset: i64,
    /// The time instead of that of the step.
    pub(super) at: Option<i64>,
    pub(super) extension: Option<Extension>,
    /// Whether only counts and sums of histograms are asked for, which says that resets are to be looked for at once.
    pub(super) detects_resets: bool,
    pub(super) span: Span,
}

impl Selector {
    /// The time that a step looks at.
    pub(super) fn reference(&self, time: i64) -> i64 {
        self.at.unwrap_or(time).saturating_sub(self.offset)
    }

    /// Each series with a sample from `before` milliseconds before the first step, less one, to `after` the last step.
    pub(super) fn each(
        &self,
        query: &Query<'_>,
        grid: Grid,
        (before, after): (i64, i64),
        take: &mut Take<'_>,
    ) -> Result<(), Error> {
        if grid.count == 0 {
            return Ok(());
        }
        let request = Select {
            matchers: &self.matchers,
            start: self.reference(grid.start).saturating_sub(before - 1),
            end: self.reference(grid.last()).saturating_add(after),
            step: if grid.count > 1 { grid.step } else { 0 },
        };
        for series in query.source.select(&request)? {
            let series = series?;
            query.read(series.samples.count_within(request.start, request.end))?;
            let _held = match &series.samples {
                Cow::Owned(samples) => Some(query.hold(samples.size())?),
                Cow::Borrowed(_) => None,
            };
            let samples = if self.detects_resets {
                Samples::with_detected_resets(series.samples, request.start)
            } else {
                series.samples
            };
            take(series.labels, samples)?;
        }
        Ok(())
    }
}

/// What a selector gives of the newest sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Yield {
    /// Its value.
    Value,
    /// Its time in seconds.
    Time,
    /// The start of what it counts in seconds, zero where it is not known.
    Start,
    /// Its time in milliseconds; it has to be a number.
    InfoTime,
}

/// `up{job="api"}`
pub(super) struct SelectVector {
    pub(super) selector: Selector,
    pub(super) yields: Yield,
}

impl Operator for SelectVector {
    fn run(&self, query: &Query<'_>, grid: Grid, sink: &mut Sink<'_>) -> Result<(), Error> {
        let lookback = query.options.lookback;
        self.selector.each(query, grid, (lookback, 0), &mut |labels, samples| {
            let column = self.newest(query, grid, &labels, &samples)?;
            if column.is_empty() {
                return Ok(());
            }
            sink(Series { labels, drop_name: matches!(self.yields, Yield::Time | Yield::Start), column })
        })
    }
}

impl SelectVector {
    fn newest(&self, query: &Query<'_>, grid: Grid, labels: &Labels, samples: &Samples) -> Result<Column, Error> {
        let mut column = Column::new(query, grid.count)?;
        let (floats, histograms) = (&samples.floats, &samples.histograms);
        let oldest = self.selector.reference(grid.start).saturating_sub(query.options.lookback);
        let (mut float, mut histogram) = (floats.up_to(oldest), histograms.up_to(oldest));
        let mut pace = query.pace();
        for (step, time) in grid.times().enumerate() {
            pace.work(1)?;
            let reference = self.selector.reference(time);
            while floats.times.get(float).is_some_and(|time| *time <= reference) {
                float += 1;
            }
            while histograms.times.get(histogram).is_some_and(|time| *time <= reference) {
                histogram += 1;
            }
            let newest = |count: usize, times: &[i64]| count.checked_sub(1).map(|at| (times[at], at));
            let (float, histogram) = (newest(float, &floats.times), newest(histogram, &histograms.times));
            let is_float = float.map(|(time, _)| time) >= histogram.map(|(time, _)| time);
            let Some((found, at)) = (if is_float { float } else { histogram }) else { continue };
            if found <= reference.saturating_sub(query.options.lookback) {
                continue;
            }
            let point =
                if is_float { Point::Float(floats.values[at]) } else { Point::Histogram(&histograms.values[at]) };
            if match point {
                Point::Float(number) => is_stale(number),
                Point::Histogram(histogram) => is_stale(histogram.sum),
            } {
                continue;
            }
            match (self.yields, point) {
                (Yield::Value, Point::Float(number)) => column.set_float(step, number),
                (Yield::Value, Point::Histogram(_)) => column.set(step, point.to_sample())?,
                (Yield::Time, _) => column.set_float(step, found as f64 / 1e3),
                (Yield::Start, Point::Float(_)) => column.set_float(step, floats.start(at) as f64 / 1e3),
                (Yield::Start, Point::Histogram(_)) => column.set_float(step, histograms.start(at) as f64 / 1e3),
                (Yield::InfoTime, Point::Float(_)) => column.set_float(step, found as f64),
                (Yield::InfoTime, Point::Histogram(_)) => {
                    let message = format!("this should be an info metric, with float samples: {labels}");
                    return Err(Error::Execution(message));
                }
            }
        }
        Ok(column)
    }
}

/// `up smoothed`: between two samples, the value on the line between them.
pub(super) struct SelectSmoothed {
    pub(super) selector: Selector,
}

impl Operator for SelectSmoothed {
    fn run(&self, query: &Query<'_>, grid: Grid, sink: &mut Sink<'_>) -> Result<(), Error> {
        let lookback = query.options.lookback;
        self.selector.each(query, grid, (lookback, lookback), &mut |labels, samples| {
            let samples = Samples::without_stale(samples);
            let mut column = Column::new(query, grid.count)?;
            let mut pace = query.pace();
            for (step, time) in grid.times().enumerate() {
                pace.work(1)?;
                if let Some(sample) = self.at(query, &labels, &samples, self.selector.reference(time)) {
                    column.set(step, sample)?;
                }
            }
            if column.is_empty() { Ok(()) } else { sink(Series { labels, drop_name: false, column }) }
        })
    }
}

impl SelectSmoothed {
    fn at(&self, query: &Query<'_>, labels: &Labels, samples: &Samples, time: i64) -> Option<Sample> {
        let lookback = query.options.lookback;
        let (from, to) = (time.saturating_sub(lookback), time.saturating_add(lookback));
        let (floats, histograms) = (&samples.floats, &samples.histograms);
        let float = floats.up_to(from)..floats.up_to(to);
        let histogram = histograms.up_to(from)..histograms.up_to(to);
        if !float.is_empty() && !histogram.is_empty() {
            query.notes.add(Note::MixedFloatsHistograms(labels.metric_name().to_owned()), self.selector.span);
            return None;
        }
        if histogram.is_empty() {
            let next = floats.times.partition_point(|other| *other < time).max(float.start);
            if next < float.end && floats.times[next] == time {
                return Some(Sample::Float(floats.values[next]));
            }
            if next == float.start {
                return None;
            }
            let previous = (floats.times[next - 1], floats.values[next - 1]);
            if next == float.end {
                return Some(Sample::Float(previous.1));
            }
            let following = (floats.times[next], floats.values[next]);
            return Some(Sample::Float(interpolate::float(previous, following, time, false)));
        }
        let next = histograms.times.partition_point(|other| *other < time).max(histogram.start);
        if next < histogram.end && histograms.times[next] == time {
            return Some(Sample::Histogram(histograms.values[next].clone()));
        }
        if next == histogram.start {
            return None;
        }
        let previous = &histograms.values[next - 1];
        if next == histogram.end {
            let mut carried = previous.clone();
            if carried.counter_reset_hint != CounterResetHint::Unknown {
                std::sync::Arc::make_mut(&mut carried).counter_reset_hint = CounterResetHint::Unknown;
            }
            return Some(Sample::Histogram(carried));
        }
        let following = &histograms.values[next];
        let is_counter = [previous, following].iter().any(|one| one.counter_reset_hint != CounterResetHint::Gauge);
        let between = interpolate::histogram(
            (histograms.times[next - 1], previous),
            (histograms.times[next], following),
            time,
            is_counter,
            (&query.notes, self.selector.span),
        );
        match between {
            Ok(histogram) => Some(Sample::Histogram(histogram.into())),
            Err(_) => {
                query.notes.add(Note::MixedExponentialCustom(labels.metric_name().to_owned()), self.selector.span);
                None
            }
        }
    }
}
