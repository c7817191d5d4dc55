//! `irate` and `idelta`: the difference of the last two samples of a window.

use std::sync::Arc;

use super::growth::combine;
use crate::annotations::{Combination, Note};
use crate::engine::column::Point;
use crate::engine::window::{Window, starts_anew};
use crate::error::Error;
use crate::histogram::{CounterResetHint, FloatHistogram};
use crate::value::Sample;

/// `irate`
pub(in crate::engine) fn irate(window: &Window<'_>) -> Result<Option<Sample>, Error> {
    Ok(last_two(window, true))
}

/// `idelta`
pub(in crate::engine) fn idelta(window: &Window<'_>) -> Result<Option<Sample>, Error> {
    Ok(last_two(window, false))
}

fn last_two(window: &Window<'_>, is_rate: bool) -> Option<Sample> {
    let (floats, histograms) = (&window.floats, &window.histograms);
    let mut newest: Vec<(i64, i64, Point<'_>)> = Vec::with_capacity(4);
    let of_floats = floats.len().saturating_sub(2)..floats.len();
    newest.extend(of_floats.map(|at| (floats.times[at], floats.start(at), Point::Float(floats.values[at]))));
    let of_histograms = histograms.len().saturating_sub(2)..histograms.len();
    newest.extend(
        of_histograms.map(|at| (histograms.times[at], histograms.start(at), Point::Histogram(&histograms.values[at]))),
    );
    newest.sort_by_key(|(time, ..)| *time);
    let [.., before, now] = newest.as_slice() else { return None };
    if now.0 == before.0 {
        return None;
    }
    let seconds = (now.0 - before.0) as f64 / 1e3;
    let anew = starts_anew((before.1, before.0), (now.1, now.0));
    match (before.2, now.2) {
        (Point::Float(previous), Point::Float(current)) => {
            let difference = if is_rate && (current < previous || anew) { current } else { current - previous };
            Some(Sample::Float(if is_rate { difference / seconds } else { difference }))
        }
        (Point::Histogram(previous), Point::Histogram(current)) => {
            let both_gauges = [previous, current].iter().filter(|one| is_gauge(one)).count();
            if is_rate && both_gauges > 0 {
                window.notes.add(Note::NotCounter(window.metric_name()), window.span);
            }
            if !is_rate && both_gauges < 2 {
                window.notes.add(Note::NotGauge(window.metric_name()), window.span);
            }
            let mut difference = FloatHistogram::clone(current);
            if !is_rate || !(anew || current.detect_reset(previous)) {
                combine(window, Combination::Subtraction, &mut difference, previous)?;
            }
            difference.counter_reset_hint = CounterResetHint::Gauge;
            difference.compact();
            if is_rate {
                difference.divide(seconds);
            }
            Some(Sample::Histogram(Arc::new(difference)))
        }
        _ => {
            window.notes.add(Note::MixedFloatsHistograms(window.metric_name()), window.span);
            None
        }
    }
}

fn is_gauge(histogram: &FloatHistogram) -> bool {
    histogram.counter_reset_hint == CounterResetHint::Gauge
}
