//! Samples of one series from several places, newest last.

use std::sync::Arc;

use gds_promql::histogram::FloatHistogram;
use gds_promql::source::{Column, Samples, hint_after};
use gds_promql::value::Sample;

/// A sample with its time.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Point {
    pub(crate) time: i64,
    pub(crate) start: i64,
    pub(crate) value: Sample,
}

/// A time from one to another, both included.
pub(crate) type Range = (i64, i64);

/// The first and the last time of samples.
pub(crate) fn bounds(samples: &Samples) -> Option<Range> {
    let columns = [&samples.floats.times, &samples.histograms.times];
    let ends = columns.into_iter().filter_map(|times| Some((*times.first()?, *times.last()?)));
    ends.reduce(|one, other| (one.0.min(other.0), one.1.max(other.1)))
}

/// Puts samples together. Of those at the same time the one of the last layer stays, and of a layer the last one; how
/// many did not stay is counted.
pub(crate) fn merged(mut layers: Vec<Samples>) -> (Samples, u64) {
    layers.retain(|layer| !layer.is_empty());
    if layers.len() <= 1 && layers.iter().all(in_order) {
        return (layers.pop().unwrap_or_default(), 0);
    }
    in_time(layers.into_iter().flat_map(points).collect())
}

/// Samples by time, the last one of each time; and how many were before that one.
pub(crate) fn in_time(mut points: Vec<Point>) -> (Samples, u64) {
    points.sort_by_key(|point| point.time);
    let mut kept = Samples::default();
    let mut dropped = 0;
    let mut points = points.into_iter().peekable();
    while let Some(point) = points.next() {
        if points.peek().is_some_and(|next| next.time == point.time) {
            dropped += 1;
        } else {
            push(&mut kept, point);
        }
    }
    (kept, dropped)
}

/// Whether no two have the same time, and none is before the one that stands before it.
fn in_order(samples: &Samples) -> bool {
    let grows = |times: &[i64]| times.windows(2).all(|pair| pair[0] < pair[1]);
    let one_kind = samples.floats.times.is_empty() || samples.histograms.times.is_empty();
    one_kind && grows(&samples.floats.times) && grows(&samples.histograms.times)
}

/// Appends a sample.
pub(crate) fn push(samples: &mut Samples, point: Point) {
    match point.value {
        Sample::Float(value) => samples.floats.push(point.time, point.start, value),
        Sample::Histogram(value) => samples.histograms.push(point.time, point.start, value),
    }
}

/// Each sample by itself: the numbers, then the histograms.
pub(crate) fn points(samples: Samples) -> impl Iterator<Item = Point> {
    let Samples { floats, histograms } = samples;
    each(floats, Sample::Float).chain(each(histograms, Sample::Histogram))
}

fn each<T>(column: Column<T>, value: fn(T) -> Sample) -> impl Iterator<Item = Point> {
    let starts = column.starts.into_iter().chain(std::iter::repeat(0));
    let rest = column.times.into_iter().zip(starts).zip(column.values);
    rest.map(move |((time, start), one)| Point { time, start, value: value(one) })
}

/// The samples within a time, the others left out.
pub(crate) fn within(samples: &Samples, (start, end): Range) -> Samples {
    Samples { floats: cut(&samples.floats, start, end), histograms: cut(&samples.histograms, start, end) }
}

fn cut<T: Clone>(column: &Column<T>, start: i64, end: i64) -> Column<T> {
    let from = column.times.partition_point(|time| *time < start);
    let to = from + column.times[from..].partition_point(|time| *time <= end);
    Column {
        times: column.times[from..to].to_vec(),
        values: column.values[from..to].to_vec(),
        starts: column.starts.get(from..to).map(<[i64]>::to_vec).unwrap_or_default(),
    }
}

/// Whether a sample is within a time.
pub(crate) fn any_within(samples: &Samples, (start, end): Range) -> bool {
    let any = |times: &[i64]| times.get(times.partition_point(|time| *time < start)).is_some_and(|time| *time <= end);
    any(&samples.floats.times) || any(&samples.histograms.times)
}

/// The samples that are in none of the times.
pub(crate) fn without(samples: Samples, deleted: &[Range]) -> Samples {
    let gone = |time: i64| deleted.iter().any(|(start, end)| (*start..=*end).contains(&time));
    let any = |times: &[i64]| times.iter().any(|time| gone(*time));
    if deleted.is_empty() || (!any(&samples.floats.times) && !any(&samples.histograms.times)) {
        return samples;
    }
    let mut kept = Samples::default();
    points(samples).filter(|point| !gone(point.time)).for_each(|point| push(&mut kept, point));
    kept
}

/// Samples as a reader gets them: histograms say what is known of a reset between them.
pub(crate) fn with_hints(samples: Samples) -> Samples {
    if samples.histograms.times.is_empty() {
        return samples;
    }
    let mut hinted = Samples { floats: samples.floats, histograms: Column::default() };
    let histograms: Column<Arc<FloatHistogram>> = samples.histograms;
    let mut floats = 0;
    let mut newest: Option<(i64, Arc<FloatHistogram>)> = None;
    for point in each(histograms, Sample::Histogram) {
        let Sample::Histogram(mut histogram) = point.value else { continue };
        floats += hinted.floats.times[floats..].partition_point(|time| *time < point.time);
        let float_between = floats.checked_sub(1).map(|last| hinted.floats.times[last]) > newest.as_ref().map(|n| n.0);
        let previous = newest.as_ref().filter(|_| !float_between).map(|(_, previous)| &**previous);
        let hint = hint_after(previous, &histogram);
        if histogram.counter_reset_hint != hint {
            Arc::make_mut(&mut histogram).counter_reset_hint = hint;
        }
        newest = Some((point.time, Arc::clone(&histogram)));
        hinted.histograms.push(point.time, point.start, histogram);
    }
    hinted
}
