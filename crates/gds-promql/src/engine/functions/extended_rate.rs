//! `rate`, `increase` and `delta` of windows that are `anchored` or `smoothed`: nothing is carried on, the samples beside
//! the window say what was at its ends.

use std::sync::Arc;

use super::growth::{Growth, combine};
use crate::annotations::{Combination, Note};
use crate::ast::Extension;
use crate::engine::context::HISTOGRAM_WORK;
use crate::engine::interpolate;
use crate::engine::window::{Part, Window};
use crate::histogram::{CounterResetHint, FloatHistogram};
use crate::value::Sample;

/// The samples at or before the start of the window, and at or after its end where it is smoothed: the first and the last
/// one that matter. Nothing where no sample is in the window.
fn ends(times: &[i64], extension: Extension, (start, end): (i64, i64)) -> Option<(usize, usize)> {
    let last = times.len().checked_sub(1)?;
    let smoothed = extension == Extension::Smoothed;
    let first = times[..last].partition_point(|time| *time <= start).saturating_sub(1);
    let last = if smoothed { times[..last].partition_point(|time| *time < end) } else { last };
    (times[last] > start && !(smoothed && times[first] > end)).then_some((first, last))
}

/// The values of an extended window itself, with those at its ends.
pub(in crate::engine) fn extended(floats: &Part<'_, f64>, extension: Extension, window: (i64, i64)) -> Vec<(i64, f64)> {
    let Some((first, last)) = ends(floats.times, extension, window) else { return Vec::new() };
    let (left, right) = values_at_ends(floats, extension, window, (first, last), false);
    let within = (first..=last).map(|at| (floats.times[at], floats.values[at]));
    let within = within.filter(|(time, _)| *time > window.0 && *time < window.1);
    [(window.0, left)].into_iter().chain(within).chain([(window.1, right)]).collect()
}

fn values_at_ends(
    floats: &Part<'_, f64>,
    extension: Extension,
    (start, end): (i64, i64),
    (first, last): (usize, usize),
    is_counter: bool,
) -> (f64, f64) {
    let at = |index: usize| (floats.times[index], floats.values[index]);
    let smoothed = extension == Extension::Smoothed;
    let left = if smoothed && floats.times[first] < start {
        interpolate::float(at(first), at(first + 1), start, is_counter)
    } else {
        floats.values[first]
    };
    let right = if smoothed && last > 0 && floats.times[last] > end {
        interpolate::float(at(last - 1), at(last), end, is_counter)
    } else {
        floats.values[last]
    };
    (left, right)
}

pub(super) fn of_floats(window: &Window<'_>, extension: Extension, kind: Growth) -> Option<Sample> {
    let floats = &window.floats;
    let bounds = (window.start, window.end);
    let (first, last) = ends(floats.times, extension, bounds)?;
    let (left, right) = values_at_ends(floats, extension, bounds, (first, last), kind.is_counter);
    let mut growth = right - left;
    if kind.is_counter {
        // Resets across the ends are in the values there.
        let from = first + usize::from(floats.times[first] <= window.start);
        let to = last + usize::from(floats.times[last] < window.end);
        let mut previous = left;
        for value in floats.values.get(from..to).unwrap_or(&[]).iter().copied().chain([right]) {
            if value < previous {
                growth += previous;
            }
            previous = value;
        }
    }
    if kind.per_second {
        growth /= window.seconds();
    }
    Some(Sample::Float(growth))
}

pub(super) fn of_histograms(window: &Window<'_>, extension: Extension, kind: Growth) -> Option<Sample> {
    let (times, values) = (window.histograms.times, window.histograms.values);
    let (first, last) = ends(times, extension, (window.start, window.end))?;
    let incompatible = || {
        window.notes.add(Note::MixedExponentialCustom(window.metric_name()), window.span);
        None::<FloatHistogram>
    };
    for histogram in &values[first..=last] {
        if histogram.uses_custom_buckets() != values[first].uses_custom_buckets() {
            incompatible()?;
        }
        if kind.is_counter && histogram.counter_reset_hint == CounterResetHint::Gauge {
            window.notes.add(Note::NotCounter(window.metric_name()), window.span);
        }
    }
    let smoothed = extension == Extension::Smoothed;
    let between = |before: usize, time: i64| {
        let (before, after) = ((times[before], &*values[before]), (times[before + 1], &*values[before + 1]));
        interpolate::histogram(before, after, time, kind.is_counter, (window.notes, window.span))
    };
    let left = if smoothed && times[first] < window.start {
        between(first, window.start).ok().or_else(incompatible)?
    } else {
        FloatHistogram::clone(&values[first])
    };
    let right = if smoothed && last > 0 && times[last] > window.end {
        between(last - 1, window.end).ok().or_else(incompatible)?
    } else {
        FloatHistogram::clone(&values[last])
    };
    let is_gauge = |histogram: &FloatHistogram| histogram.counter_reset_hint == CounterResetHint::Gauge;
    if !kind.is_counter && [&left, &right].into_iter().any(|one| !is_gauge(one)) {
        window.notes.add(Note::NotGauge(window.metric_name()), window.span);
    }
    let mut growth = right.clone();
    combine(window, Combination::Subtraction, &mut growth, &left)?;
    if kind.is_counter {
        let lost = lost_at_resets(window, (first, last), &left, &right)?;
        if let Some(lost) = lost {
            combine(window, Combination::Addition, &mut growth, &lost)?;
        }
    }
    if kind.per_second {
        growth.divide(window.seconds());
    }
    growth.counter_reset_hint = CounterResetHint::Gauge;
    growth.compact();
    Some(Sample::Histogram(Arc::new(growth)))
}

/// What the counter had before each reset in the window; nothing inside where there was none, nothing at all where the
/// histograms do not fit together.
#[allow(clippy::option_option)]
fn lost_at_resets(
    window: &Window<'_>,
    (first, last): (usize, usize),
    left: &FloatHistogram,
    right: &FloatHistogram,
) -> Option<Option<FloatHistogram>> {
    let (times, values) = (window.histograms.times, window.histograms.values);
    let smoothed = window.extension == Some(Extension::Smoothed);
    let mut from = first + 1;
    let mut previous = left;
    if smoothed && times[first] < window.start && values[first + 1].detect_reset(&values[first]) {
        // The value at the start was taken after that reset.
        previous = &values[first + 1];
        from += 1;
    }
    // The value at the end stands for the last sample, and has its hint.
    if from > last {
        return Some(None);
    }
    let mut lost: Option<FloatHistogram> = None;
    let mut pace = window.query.pace();
    for histogram in values[from..last].iter().map(|histogram| &**histogram).chain([right]) {
        if pace.work(HISTOGRAM_WORK).is_err() {
            return None;
        }
        if histogram.detect_reset(previous) {
            match &mut lost {
                None => lost = Some(previous.clone()),
                Some(lost) => combine(window, Combination::Addition, lost, previous)?,
            }
        }
        previous = histogram;
    }
    Some(lost)
}
