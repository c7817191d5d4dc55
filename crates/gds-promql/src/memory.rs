//! Series in memory, for tests, and for what is too small for a store.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use crate::labels::Labels;
use crate::source::{Samples, Select, SeriesIter, Source, SourceError, SourceSeries, hint_after};
use crate::value::Sample;

/// Series by their labels.
#[derive(Clone, Debug, Default)]
pub struct MemorySource {
    series: BTreeMap<Labels, Samples>,
}

impl MemorySource {
    /// Without any series.
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends a sample to a series, at a time that is not before that of its last one. `start` is when what it counts
    /// began, zero where that is not known.
    ///
    /// Histograms get the hint that a store gives: that there was no reset, where the one before shows it; none where
    /// the two have to be compared; that of a gauge stays.
    pub fn append(&mut self, labels: &Labels, time: i64, start: i64, value: Sample) {
        let samples = self.series.entry(labels.clone()).or_default();
        match value {
            Sample::Float(number) => samples.floats.push(time, start, number),
            Sample::Histogram(mut histogram) => {
                let newest = samples.histograms.values.last();
                let float_between = samples.floats.times.last() > samples.histograms.times.last();
                let hint = hint_after(newest.map(|newest| &**newest).filter(|_| !float_between), &histogram);
                if histogram.counter_reset_hint != hint {
                    Arc::make_mut(&mut histogram).counter_reset_hint = hint;
                }
                samples.histograms.push(time, start, histogram);
            }
        }
    }

    /// The labels of all series.
    pub fn labels(&self) -> impl Iterator<Item = &Labels> {
        self.series.keys()
    }
}

impl Source for MemorySource {
    fn select<'a>(&'a self, request: &Select<'_>) -> Result<SeriesIter<'a>, SourceError> {
        let (start, end) = (request.start, request.end);
        let within = move |times: &[i64]| {
            let from = times.partition_point(|time| *time < start);
            times.get(from).is_some_and(|time| *time <= end)
        };
        let found: Vec<_> = self
            .series
            .iter()
            .filter(|(labels, _)| request.matchers.iter().all(|matcher| matcher.matches(labels.get(matcher.name()))))
            .filter(|(_, samples)| within(&samples.floats.times) || within(&samples.histograms.times))
            .map(|(labels, samples)| Ok(SourceSeries { labels: labels.clone(), samples: Cow::Borrowed(samples) }))
            .collect();
        Ok(Box::new(found.into_iter()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::histogram::{Buckets, CounterResetHint, FloatHistogram};
    use crate::matcher::Matcher;

    fn counted(counts: &[f64]) -> FloatHistogram {
        FloatHistogram {
            count: counts.iter().sum(),
            positive: Buckets::from_offset(0, counts.to_vec()),
            ..FloatHistogram::default()
        }
    }

    #[test]
    fn series_are_chosen_by_matchers_and_window() {
        let mut source = MemorySource::new();
        for (name, time) in [("a", 10), ("a", 20), ("b", 10)] {
            source.append(&Labels::from_pairs([("__name__", name)]), time, 0, Sample::Float(1.0));
        }
        let found = |name: &str, start, end| {
            let matchers = [Matcher::equal("__name__", name)];
            source.select(&Select { matchers: &matchers, start, end, step: 0 }).unwrap().count()
        };
        assert_eq!((found("a", 20, 30), found("b", 20, 30), found("b", 0, 10), found("a", 11, 19)), (1, 0, 1, 0));
    }

    #[test]
    fn histograms_side_by_side_say_whether_the_counter_was_reset() {
        use CounterResetHint::{Gauge, NotReset, Unknown};

        let mut source = MemorySource::new();
        let labels = Labels::empty();
        let mut gauge = counted(&[1.0]);
        gauge.counter_reset_hint = Gauge;
        for (time, histogram) in
            [counted(&[1.0]), counted(&[2.0]), counted(&[1.0]), counted(&[2.0]), gauge].into_iter().enumerate()
        {
            source.append(&labels, i64::try_from(time).unwrap(), 0, Sample::Histogram(Arc::new(histogram)));
        }
        let hints: Vec<_> =
            source.series[&labels].histograms.values.iter().map(|histogram| histogram.counter_reset_hint).collect();
        assert_eq!(hints, [Unknown, NotReset, Unknown, NotReset, Gauge]);
    }
}
