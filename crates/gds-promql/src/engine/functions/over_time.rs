//! Functions over the values of a window: `sum_over_time` and its likes.

use std::sync::Arc;

use crate::annotations::{Combination, Note};
use crate::engine::context::HISTOGRAM_WORK;
use crate::engine::quantile::quantile;
use crate::engine::window::Window;
use crate::error::Error;
use crate::histogram::{Combined, CounterResetHint, FloatHistogram, HistogramSum, IncompatibleSchemas};
use crate::kahan::{self, Sum};
use crate::value::Sample;

type Answer = Result<Option<Sample>, Error>;

fn number(value: f64) -> Answer {
    Ok(Some(Sample::Float(value)))
}

/// The numbers of the window, if there are any; histograms beside them are left out, which is said.
fn numbers<'a>(window: &Window<'a>) -> Option<&'a [f64]> {
    if window.floats.is_empty() {
        return None;
    }
    if !window.histograms.is_empty() {
        window.notes.add(Note::IgnoredInRange(window.metric_name()), window.span);
    }
    Some(window.floats.values)
}

/// Whether numbers and histograms are in the window, which is said.
fn is_mixed(window: &Window<'_>) -> bool {
    let mixed = !window.floats.is_empty() && !window.histograms.is_empty();
    if mixed {
        window.notes.add(Note::MixedFloatsHistograms(window.metric_name()), window.span);
    }
    mixed
}

/// `count_over_time`
pub(in crate::engine) fn count(window: &Window<'_>) -> Answer {
    number((window.floats.len() + window.histograms.len()) as f64)
}

/// `present_over_time`, and whether a step of `absent_over_time` has a value.
pub(in crate::engine) fn present(_: &Window<'_>) -> Answer {
    number(1.0)
}

/// `sum_over_time`
pub(in crate::engine) fn sum(window: &Window<'_>) -> Answer {
    if is_mixed(window) {
        return Ok(None);
    }
    if window.floats.is_empty() {
        return of_histograms(window, |first, rest, met| {
            let mut sum = HistogramSum::new(first.clone());
            let mut pace = window.query.pace();
            for histogram in rest {
                if pace.work(HISTOGRAM_WORK).is_err() {
                    break;
                }
                met(sum.add(histogram)?);
            }
            Ok(sum.total())
        });
    }
    let mut sum = Sum::default();
    for piece in window.query.pieces(window.floats.values) {
        piece?.iter().for_each(|value| sum.add(*value));
    }
    number(if sum.sum.is_infinite() { sum.sum } else { sum.total() })
}

/// `avg_over_time`
pub(in crate::engine) fn avg(window: &Window<'_>) -> Answer {
    if is_mixed(window) {
        return Ok(None);
    }
    if window.floats.is_empty() {
        return of_histograms(window, |first, rest, met| {
            let mut mean = HistogramMean::new(first);
            let mut pace = window.query.pace();
            for histogram in rest {
                if pace.work(HISTOGRAM_WORK).is_err() {
                    break;
                }
                met(mean.add(histogram)?);
            }
            Ok(mean.mean())
        });
    }
    let mut mean = Mean::new(window.floats.values[0]);
    for piece in window.query.pieces(&window.floats.values[1..]) {
        piece?.iter().for_each(|value| mean.add(*value));
    }
    number(mean.mean())
}

/// A mean: the sum divided by the count, until the sum overflows, from then on carried along.
#[derive(Clone, Copy, Debug)]
pub(in crate::engine) struct Mean {
    /// The sum, or the mean.
    value: f64,
    lost: f64,
    count: f64,
    carried: bool,
}

impl Mean {
    pub(in crate::engine) fn new(first: f64) -> Self {
        Self { value: first, lost: 0.0, count: 1.0, carried: false }
    }

    pub(in crate::engine) fn add(&mut self, number: f64) {
        self.count += 1.0;
        if !self.carried {
            let (sum, lost) = kahan::add(number, self.value, self.lost);
            if !sum.is_infinite() {
                (self.value, self.lost) = (sum, lost);
                return;
            }
            self.carried = true;
            self.value /= self.count - 1.0;
            self.lost /= self.count - 1.0;
        }
        let weight = (self.count - 1.0) / self.count;
        (self.value, self.lost) = kahan::add(number / self.count, weight * self.value, weight * self.lost);
    }

    pub(in crate::engine) fn mean(self) -> f64 {
        if self.carried { self.value + self.lost } else { self.value / self.count + self.lost / self.count }
    }
}

/// Likewise of histograms.
#[derive(Clone, Debug)]
pub(in crate::engine) struct HistogramMean {
    value: HistogramSum,
    count: f64,
    carried: bool,
}

impl HistogramMean {
    pub(in crate::engine) fn new(first: &FloatHistogram) -> Self {
        Self { value: HistogramSum::new(first.clone()), count: 1.0, carried: false }
    }

    pub(in crate::engine) fn add(&mut self, histogram: &FloatHistogram) -> Result<Combined, IncompatibleSchemas> {
        self.count += 1.0;
        if !self.carried {
            let mut sum = self.value.clone();
            let combined = sum.add(histogram)?;
            if !sum.sum.has_overflow() {
                self.value = sum;
                return Ok(combined);
            }
            self.carried = true;
            self.value.divide(self.count - 1.0);
        }
        self.value.multiply((self.count - 1.0) / self.count);
        let mut part = histogram.clone();
        part.divide(self.count);
        self.value.add(&part)
    }

    pub(in crate::engine) fn mean(mut self) -> FloatHistogram {
        if !self.carried {
            self.value.divide(self.count);
        }
        self.value.total()
    }
}

/// Combines the histograms of a window, and says what was met: hints that contradict each other, bounds that differ.
fn of_histograms(
    window: &Window<'_>,
    combine: impl FnOnce(
        &FloatHistogram,
        &[Arc<FloatHistogram>],
        &mut dyn FnMut(Combined),
    ) -> Result<FloatHistogram, IncompatibleSchemas>,
) -> Answer {
    let Some((first, rest)) = window.histograms.values.split_first() else { return Ok(None) };
    let mut reconciled = false;
    let combined = combine(first, rest, &mut |combined| reconciled |= combined.bounds_reconciled);
    match combined {
        Ok(histogram) => {
            let has = |hint| window.histograms.values.iter().any(|histogram| histogram.counter_reset_hint == hint);
            if has(CounterResetHint::Reset) && has(CounterResetHint::NotReset) {
                window.notes.add(Note::CounterResetCollision(Combination::Aggregation), window.span);
            }
            if reconciled {
                window.notes.add(Note::BoundsReconciled(Combination::Aggregation), window.span);
            }
            Ok(Some(Sample::Histogram(Arc::new(histogram))))
        }
        Err(IncompatibleSchemas) => {
            window.notes.add(Note::MixedExponentialCustom(window.metric_name()), window.span);
            Ok(None)
        }
    }
}

/// The index of the best number: numbers that are none lose against any.
fn best(window: &Window<'_>, values: &[f64], better: impl Fn(f64, f64) -> bool) -> Result<usize, Error> {
    let (mut best, mut at) = (0, 0);
    for piece in window.query.pieces(values) {
        for value in piece? {
            if better(*value, values[best]) || values[best].is_nan() {
                best = at;
            }
            at += 1;
        }
    }
    Ok(best)
}

/// `max_over_time`
pub(in crate::engine) fn max(window: &Window<'_>) -> Answer {
    let Some(values) = numbers(window) else { return Ok(None) };
    number(values[best(window, values, |value, best| value > best)?])
}

/// `min_over_time`
pub(in crate::engine) fn min(window: &Window<'_>) -> Answer {
    let Some(values) = numbers(window) else { return Ok(None) };
    number(values[best(window, values, |value, best| value < best)?])
}

fn seconds(time: i64) -> f64 {
    time as f64 / 1e3
}

/// `ts_of_max_over_time`: of equal ones the last.
pub(in crate::engine) fn ts_of_max(window: &Window<'_>) -> Answer {
    let Some(values) = numbers(window) else { return Ok(None) };
    number(seconds(window.floats.times[best(window, values, |value, best| value >= best)?]))
}

/// `ts_of_min_over_time`: of equal ones the last.
pub(in crate::engine) fn ts_of_min(window: &Window<'_>) -> Answer {
    let Some(values) = numbers(window) else { return Ok(None) };
    number(seconds(window.floats.times[best(window, values, |value, best| value <= best)?]))
}

/// `ts_of_first_over_time`
pub(in crate::engine) fn ts_of_first(window: &Window<'_>) -> Answer {
    let first = window.floats.times.first().into_iter().chain(window.histograms.times.first()).min();
    Ok(first.map(|time| Sample::Float(seconds(*time))))
}

/// `ts_of_last_over_time`
pub(in crate::engine) fn ts_of_last(window: &Window<'_>) -> Answer {
    let last = window.floats.times.last().into_iter().chain(window.histograms.times.last()).max();
    Ok(last.map(|time| Sample::Float(seconds(*time))))
}

/// `first_over_time`
pub(in crate::engine) fn first(window: &Window<'_>) -> Answer {
    let (floats, histograms) = (&window.floats, &window.histograms);
    Ok(match (floats.times.first(), histograms.times.first()) {
        (None, None) => None,
        (Some(_), None) => Some(Sample::Float(floats.values[0])),
        (Some(float), Some(histogram)) if float < histogram => Some(Sample::Float(floats.values[0])),
        (_, Some(_)) => Some(Sample::Histogram(Arc::clone(&histograms.values[0]))),
    })
}

/// `last_over_time`
pub(in crate::engine) fn last(window: &Window<'_>) -> Answer {
    let (floats, histograms) = (&window.floats, &window.histograms);
    Ok(match (floats.times.last(), histograms.times.last()) {
        (None, None) => None,
        (Some(_), None) => floats.values.last().map(|value| Sample::Float(*value)),
        (Some(float), Some(histogram)) if float > histogram => floats.values.last().map(|value| Sample::Float(*value)),
        (_, Some(_)) => histograms.values.last().map(|value| Sample::Histogram(Arc::clone(value))),
    })
}

fn variance(window: &Window<'_>) -> Result<Option<f64>, Error> {
    let Some(values) = numbers(window) else { return Ok(None) };
    let (mut mean, mut squares, mut count) = (Sum::default(), Sum::default(), 0.0);
    let mut pace = window.query.pace();
    for value in values {
        pace.work(1)?;
        count += 1.0;
        let delta = value - mean.total();
        mean.add(delta / count);
        squares.add(delta * (value - mean.total()));
    }
    Ok(Some(squares.total() / count))
}

/// `stdvar_over_time`
pub(in crate::engine) fn stdvar(window: &Window<'_>) -> Answer {
    Ok(variance(window)?.map(Sample::Float))
}

/// `stddev_over_time`
pub(in crate::engine) fn stddev(window: &Window<'_>) -> Answer {
    Ok(variance(window)?.map(|variance| Sample::Float(variance.sqrt())))
}

/// `quantile_over_time`
pub(in crate::engine) fn quantile_of(window: &Window<'_>) -> Answer {
    let q = window.arguments[0];
    if !window.floats.is_empty() && !(0.0..=1.0).contains(&q) {
        window.notes.add(Note::InvalidQuantile(q.into()), window.span);
    }
    let Some(values) = numbers(window) else { return Ok(None) };
    number(quantile(q, &mut values.to_vec()))
}

/// `mad_over_time`: the median of the distances from the median.
pub(in crate::engine) fn mad(window: &Window<'_>) -> Answer {
    let Some(values) = numbers(window) else { return Ok(None) };
    if values.iter().any(|value| value.is_nan()) {
        return number(f64::NAN);
    }
    let mut values = values.to_vec();
    let median = quantile(0.5, &mut values);
    for value in &mut values {
        *value = (*value - median).abs();
    }
    number(quantile(0.5, &mut values))
}
