//! `changes` and `resets`: how often the values of a window change, or begin anew.

use std::iter::Peekable;

use crate::ast::Extension;
use crate::engine::column::Point;
use crate::engine::context::HISTOGRAM_WORK;
use crate::engine::window::{Window, starts_anew};
use crate::error::Error;
use crate::value::Sample;

/// `changes`
pub(in crate::engine) fn changes(window: &Window<'_>) -> Result<Option<Sample>, Error> {
    Ok(count(window, |before, now| match (before.point, now.point) {
        (Point::Float(before), Point::Float(now)) => before != now && !(before.is_nan() && now.is_nan()),
        (Point::Histogram(before), Point::Histogram(now)) => !now.same_data(before),
        _ => true,
    }))
}

/// `resets`
pub(in crate::engine) fn resets(window: &Window<'_>) -> Result<Option<Sample>, Error> {
    Ok(count(window, |before, now| {
        let anew = || starts_anew((before.start, before.time), (now.start, now.time));
        match (before.point, now.point) {
            (Point::Float(old), Point::Float(new)) => new < old || anew(),
            (Point::Histogram(old), Point::Histogram(new)) => anew() || new.detect_reset(old),
            _ => true,
        }
    }))
}

#[derive(Clone, Copy)]
struct Item<'a> {
    time: i64,
    start: i64,
    point: Point<'a>,
}

/// How many samples pass together with the one before them.
fn count(window: &Window<'_>, passes: impl Fn(&Item<'_>, &Item<'_>) -> bool) -> Option<Sample> {
    let (floats, histograms) = (&window.floats, &window.histograms);
    let mut floats = (0..floats.len())
        .map(|at| Item { time: floats.times[at], start: floats.start(at), point: Point::Float(floats.values[at]) })
        .peekable();
    let mut histograms = (0..histograms.len())
        .map(|at| Item {
            time: histograms.times[at],
            start: histograms.start(at),
            point: Point::Histogram(&histograms.values[at]),
        })
        .peekable();
    let mut items = std::iter::from_fn(|| earlier(&mut floats, &mut histograms)).peekable();

    let mut previous = items.next()?;
    if window.extension == Some(Extension::Anchored) {
        // Of what is before the window the last sample counts, and only together with one inside.
        while let Some(next) = items.next_if(|item| item.time <= window.start) {
            previous = next;
        }
        if previous.time <= window.start && items.peek().is_none() {
            return None;
        }
    }
    let mut count = 0u32;
    let mut pace = window.query.pace();
    for item in items {
        let work = if matches!(item.point, Point::Float(_)) { 1 } else { HISTOGRAM_WORK };
        if pace.work(work).is_err() {
            return None;
        }
        count += u32::from(passes(&previous, &item));
        previous = item;
    }
    Some(Sample::Float(f64::from(count)))
}

fn earlier<'a>(
    floats: &mut Peekable<impl Iterator<Item = Item<'a>>>,
    histograms: &mut Peekable<impl Iterator<Item = Item<'a>>>,
) -> Option<Item<'a>> {
    match (floats.peek(), histograms.peek()) {
        (Some(float), Some(histogram)) if histogram.time < float.time => histograms.next(),
        (None, _) => histograms.next(),
        (Some(_), _) => floats.next(),
    }
}
