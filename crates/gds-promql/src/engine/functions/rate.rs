//! `rate`, `increase` and `delta`: what a window grew by, carried on to its ends.

use std::sync::Arc;

use super::extended_rate;
use super::growth::{Growth, combine};
use crate::annotations::{Combination, Note};
use crate::engine::context::HISTOGRAM_WORK;
use crate::engine::window::{Part, Window};
use crate::error::Error;
use crate::histogram::{CounterResetHint, FloatHistogram};
use crate::value::Sample;

/// `rate`
pub(in crate::engine) fn rate(window: &Window<'_>) -> Result<Option<Sample>, Error> {
    Ok(growth(window, Growth { is_counter: true, per_second: true }))
}

/// `increase`
pub(in crate::engine) fn increase(window: &Window<'_>) -> Result<Option<Sample>, Error> {
    Ok(growth(window, Growth { is_counter: true, per_second: false }))
}

/// `delta`
pub(in crate::engine) fn delta(window: &Window<'_>) -> Result<Option<Sample>, Error> {
    Ok(growth(window, Growth { is_counter: false, per_second: false }))
}

fn growth(window: &Window<'_>, kind: Growth) -> Option<Sample> {
    let (floats, histograms) = (&window.floats, &window.histograms);
    if !floats.is_empty() && !histograms.is_empty() {
        window.notes.add(Note::MixedFloatsHistograms(window.metric_name()), window.span);
        return None;
    }
    match (window.extension, histograms.is_empty()) {
        (Some(extension), true) => extended_rate::of_floats(window, extension, kind),
        (Some(extension), false) => extended_rate::of_histograms(window, extension, kind),
        (None, true) => of_floats(window, kind),
        (None, false) => of_histograms(window, kind),
    }
}

fn of_floats(window: &Window<'_>, kind: Growth) -> Option<Sample> {
    let floats = &window.floats;
    let (first, last) = (*floats.values.first()?, *floats.values.last()?);
    let mut growth = last - first;
    if kind.is_counter {
        note_overlap(window, floats);
        // The resets of the whole series are known; those at the second sample of the window and later count.
        let from = window.resets.partition_point(|at| *at <= window.first_float);
        let of_window = window.resets[from..].iter().take_while(|at| **at < window.first_float + floats.len());
        for at in of_window {
            growth += floats.values[at - window.first_float - 1];
        }
    }
    let extent = Extent::of(window, floats, kind)?;
    if extent.from_zero {
        growth += first;
    }
    let factor = extent.factor(window, kind, (growth > 0.0 && first >= 0.0).then(|| first / growth));
    Some(Sample::Float(growth * factor))
}

fn note_overlap<T>(window: &Window<'_>, part: &Part<'_, T>) {
    if part.has_starts() && (1..part.len()).any(|at| part.starts_overlap(at)) {
        window.notes.add(Note::StartTimeOverlap(window.metric_name()), window.span);
    }
}

fn of_histograms(window: &Window<'_>, kind: Growth) -> Option<Sample> {
    let histograms = &window.histograms;
    let first = histograms.values.first()?;
    let growth = if histograms.len() > 1 { Some(between(window, kind)?) } else { None };
    let extent = Extent::of(window, histograms, kind)?;
    let mut growth = match (growth, extent.from_zero) {
        (Some(mut growth), true) => {
            combine(window, Combination::Addition, &mut growth, first)?;
            growth
        }
        (Some(growth), false) => growth,
        (None, _) => FloatHistogram::clone(first),
    };
    let to_zero = (growth.count > 0.0 && first.count >= 0.0).then(|| first.count / growth.count);
    growth.multiply(extent.factor(window, kind, to_zero));
    Some(Sample::Histogram(Arc::new(growth)))
}

/// How far the samples of a window reach.
struct Extent {
    /// From the first sample to the last one, in seconds; from the start of what is counted, where that is in the window.
    sampled: f64,
    to_start: f64,
    to_end: f64,
    /// The mean distance of the samples.
    distance: f64,
    /// The counter began at zero in the window.
    from_zero: bool,
}

impl Extent {
    /// Nothing where a single sample says nothing.
    fn of<T>(window: &Window<'_>, part: &Part<'_, T>, kind: Growth) -> Option<Self> {
        let (first, last) = (*part.times.first()?, *part.times.last()?);
        let seconds = |milliseconds: i64| milliseconds as f64 / 1e3;
        let sampled = seconds(last - first);
        let distance = if part.len() > 1 { sampled / (part.len() - 1) as f64 } else { 0.0 };
        let start = part.start(0);
        let from_zero = kind.is_counter && start != 0 && start > window.start && start < first;
        if !from_zero && part.len() < 2 {
            return None;
        }
        Some(Self {
            sampled: if from_zero { seconds(last - start) } else { sampled },
            to_start: if from_zero { 0.0 } else { seconds(first - window.start) },
            to_end: seconds(window.end - last),
            distance,
            from_zero,
        })
    }

    /// What the growth between the samples is multiplied with. `to_zero` is how often that growth goes into the first
    /// value: a counter is not carried on to before it was zero.
    fn factor(&self, window: &Window<'_>, kind: Growth, to_zero: Option<f64>) -> f64 {
        // Samples that end so close to the end of the window are taken to go on to it; others for half a distance.
        let close = self.distance * 1.1;
        let reach = |gap: f64| if gap >= close { self.distance / 2.0 } else { gap };
        let mut to_start = self.to_start;
        if !self.from_zero {
            to_start = reach(to_start);
            if let Some(to_zero) = to_zero.filter(|_| kind.is_counter) {
                to_start = to_start.min(self.sampled * to_zero);
            }
        }
        let reached = self.sampled + to_start + reach(self.to_end);
        let factor = if self.sampled == 0.0 { 1.0 } else { reached / self.sampled };
        if kind.per_second { factor / window.seconds() } else { factor }
    }
}

/// What the histograms of a window grew by; nothing where they do not fit together.
fn between(window: &Window<'_>, kind: Growth) -> Option<FloatHistogram> {
    let part = &window.histograms;
    let values = part.values;
    let (mut previous, last) = (Arc::clone(&values[0]), &values[values.len() - 1]);
    let is_gauge = |histogram: &FloatHistogram| histogram.counter_reset_hint == CounterResetHint::Gauge;
    let incompatible = || {
        window.notes.add(Note::MixedExponentialCustom(window.metric_name()), window.span);
        None
    };
    if kind.is_counter {
        if values.iter().any(|histogram| is_gauge(histogram)) {
            window.notes.add(Note::NotCounter(window.metric_name()), window.span);
        }
        // After a reset the layout of the first one is of no matter.
        if part.starts_anew(1) || values[1].detect_reset(&previous) {
            previous = Arc::new(FloatHistogram {
                schema: values[1].schema,
                custom_values: values[1].custom_values.clone(),
                ..FloatHistogram::default()
            });
        }
    }
    let custom = previous.uses_custom_buckets();
    if last.uses_custom_buckets() != custom {
        return incompatible();
    }
    let mut schema = last.schema.min(previous.schema);
    if kind.is_counter {
        for histogram in &values[1..values.len() - 1] {
            if histogram.uses_custom_buckets() != custom {
                return incompatible();
            }
            schema = schema.min(histogram.schema);
        }
    }
    let mut growth = FloatHistogram::clone(last);
    growth.reduce_resolution(schema);
    combine(window, Combination::Subtraction, &mut growth, &previous)?;
    if kind.is_counter {
        note_overlap(window, part);
        let mut pace = window.query.pace();
        for (at, histogram) in values.iter().enumerate().skip(1) {
            if pace.work(HISTOGRAM_WORK).is_err() {
                return None;
            }
            if part.starts_anew(at) || histogram.detect_reset(&previous) {
                combine(window, Combination::Addition, &mut growth, &previous)?;
            }
            previous = Arc::clone(histogram);
        }
    } else if !is_gauge(&values[0]) || !is_gauge(last) {
        window.notes.add(Note::NotGauge(window.metric_name()), window.span);
    }
    growth.counter_reset_hint = CounterResetHint::Gauge;
    growth.compact();
    Some(growth)
}
