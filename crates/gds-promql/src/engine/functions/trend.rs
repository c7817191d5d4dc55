//! `deriv`, `predict_linear` and `double_exponential_smoothing`: where the numbers of a window go.

use crate::annotations::Note;
use crate::engine::window::Window;
use crate::error::Error;
use crate::kahan::Sum;
use crate::value::Sample;

/// `deriv`
pub(in crate::engine) fn deriv(window: &Window<'_>) -> Result<Option<Sample>, Error> {
    if !has_two(window) {
        return Ok(None);
    }
    let (slope, _) = line(window, window.floats.times[0])?;
    Ok(Some(Sample::Float(slope)))
}

/// `predict_linear`
pub(in crate::engine) fn predict_linear(window: &Window<'_>) -> Result<Option<Sample>, Error> {
    if !has_two(window) {
        return Ok(None);
    }
    let (slope, intercept) = line(window, window.time)?;
    Ok(Some(Sample::Float(slope * window.arguments[0] + intercept)))
}

/// `double_exponential_smoothing`
pub(in crate::engine) fn double_exponential_smoothing(window: &Window<'_>) -> Result<Option<Sample>, Error> {
    let (smoothing, trend_factor) = (window.arguments[0], window.arguments[1]);
    for (what, factor, short) in [("smoothing", smoothing, "sf"), ("trend", trend_factor, "tf")] {
        if factor <= 0.0 || factor >= 1.0 {
            let message = format!("invalid {what} factor. Expected: 0 < {short} < 1, got: {factor:.6}");
            return Err(Error::Execution(message));
        }
    }
    if !has_two(window) {
        return Ok(None);
    }
    let values = window.floats.values;
    let (mut before, mut smoothed) = (0.0, values[0]);
    let mut trend = values[1] - values[0];
    let mut pace = window.query.pace();
    for (at, value) in values.iter().enumerate().skip(1) {
        pace.work(1)?;
        if at > 1 {
            trend = trend_factor * (smoothed - before) + (1.0 - trend_factor) * trend;
        }
        let next = smoothing * value + (1.0 - smoothing) * (smoothed + trend);
        (before, smoothed) = (smoothed, next);
    }
    Ok(Some(Sample::Float(smoothed)))
}

/// Whether there are two numbers; histograms beside them are left out, which is said.
fn has_two(window: &Window<'_>) -> bool {
    if !window.floats.is_empty() && !window.histograms.is_empty() {
        window.notes.add(Note::IgnoredInRange(window.metric_name()), window.span);
    }
    window.floats.len() >= 2
}

/// Slope per second, and value at a time, of the line with the least squares.
fn line(window: &Window<'_>, at: i64) -> Result<(f64, f64), Error> {
    let floats = &window.floats;
    let first = floats.values[0];
    if floats.values.iter().all(|value| *value == first) {
        return Ok(if first.is_infinite() { (f64::NAN, f64::NAN) } else { (0.0, first) });
    }
    let (mut x_sum, mut y_sum, mut xy_sum, mut xx_sum) =
        (Sum::default(), Sum::default(), Sum::default(), Sum::default());
    let mut pace = window.query.pace();
    for (time, y) in floats.times.iter().zip(floats.values) {
        pace.work(1)?;
        let x = (time - at) as f64 / 1e3;
        x_sum.add(x);
        y_sum.add(*y);
        xy_sum.add(x * y);
        xx_sum.add(x * x);
    }
    let count = floats.len() as f64;
    let (x, y) = (x_sum.total(), y_sum.total());
    let slope = (xy_sum.total() - x * y / count) / (xx_sum.total() - x * x / count);
    Ok((slope, y / count - slope * x / count))
}
