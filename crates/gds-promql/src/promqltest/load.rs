//! What `load` puts into a source.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Loadable;
use super::script::Load;
use super::series::SeriesValue;
use crate::histogram::{Buckets, CUSTOM_BUCKETS, FloatHistogram};
use crate::labels::{BUCKET, Labels};
use crate::matcher::METRIC_NAME;
use crate::value::Sample;

/// Appends the series of a command; classic histograms as native ones too, where it says so.
pub(super) fn load(command: &Load, source: &mut dyn Loadable) -> Result<(), String> {
    let mut classic: BTreeMap<Labels, BTreeMap<i64, Classic>> = BTreeMap::new();
    for series in &command.series {
        let part = if command.native { Part::of(&series.labels) } else { None };
        let mut time = 0;
        for (index, value) in series.values.iter().enumerate() {
            let start = series.starts.get(index).copied().flatten().map_or(0, |start| time + start);
            match value {
                SeriesValue::Omitted => {}
                SeriesValue::Float(number) => {
                    source.append(&series.labels, time, start, Sample::Float(*number))?;
                    if let Some((labels, part)) = &part {
                        let histogram = classic.entry(labels.clone()).or_default().entry(time).or_default();
                        part.set(histogram, *number);
                    }
                }
                SeriesValue::Histogram { histogram, .. } => {
                    source.append(&series.labels, time, start, Sample::Histogram(Arc::clone(histogram)))?;
                }
            }
            time += command.step;
        }
    }
    for (labels, histograms) in classic {
        for (time, histogram) in histograms {
            let histogram = histogram.native().map_err(|error| format!("{labels}: {error}"))?;
            source.append(&labels, time, 0, Sample::Histogram(Arc::new(histogram)))?;
        }
    }
    Ok(())
}

/// What a series is of a classic histogram.
enum Part {
    Bucket(f64),
    Count,
    Sum,
}

impl Part {
    /// The part, and the labels of the whole.
    fn of(labels: &Labels) -> Option<(Labels, Self)> {
        let name = labels.metric_name();
        let (name, part) = if let Some(name) = name.strip_suffix("_bucket") {
            let bound: f64 = labels.get(BUCKET).parse().ok()?;
            (name, Self::Bucket(bound))
        } else if let Some(name) = name.strip_suffix("_sum") {
            (name, Self::Sum)
        } else {
            (name.strip_suffix("_count")?, Self::Count)
        };
        let whole = labels.with(BUCKET, "").with(METRIC_NAME, name);
        Some((whole, part))
    }

    fn set(&self, histogram: &mut Classic, number: f64) {
        match self {
            Self::Bucket(bound) if bound.is_nan() => {}
            Self::Bucket(bound) => histogram.buckets.push((*bound, number)),
            Self::Count => histogram.count = Some(number),
            Self::Sum => histogram.sum = number,
        }
    }
}

/// A classic histogram at one time.
#[derive(Default)]
struct Classic {
    /// Upper bounds and cumulated counts, in any order.
    buckets: Vec<(f64, f64)>,
    count: Option<f64>,
    sum: f64,
}

impl Classic {
    /// The same with the bounds as custom ones; the last bucket has none.
    fn native(mut self) -> Result<FloatHistogram, String> {
        self.buckets.sort_by(|(one, _), (other, _)| one.total_cmp(other));
        self.buckets.dedup_by(|(one, _), (other, _)| one.total_cmp(other).is_eq());
        let highest = self.buckets.last().map_or(0.0, |(_, count)| *count);
        let count = self.count.unwrap_or(highest);
        if self.buckets.last().is_none_or(|(bound, _)| *bound != f64::INFINITY) {
            self.buckets.push((f64::INFINITY, count));
        }
        let mut previous = 0.0;
        let mut counts = Vec::with_capacity(self.buckets.len());
        for (bound, cumulated) in &self.buckets {
            if cumulated.is_nan() || *cumulated < previous {
                return Err(format!("count is not cumulative: {cumulated} at le={bound} after {previous}"));
            }
            counts.push(cumulated - previous);
            previous = *cumulated;
        }
        if count.to_bits() != previous.to_bits() {
            return Err(format!("count mismatch: {count} in all, {previous} in the highest bucket"));
        }
        self.buckets.pop();
        let mut histogram = FloatHistogram {
            schema: CUSTOM_BUCKETS,
            count,
            sum: self.sum,
            positive: Buckets::from_offset(0, counts),
            custom_values: self.buckets.iter().map(|(bound, _)| *bound).collect(),
            ..FloatHistogram::default()
        };
        histogram.compact();
        Ok(histogram)
    }
}
