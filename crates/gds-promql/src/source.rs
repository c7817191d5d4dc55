//! Where samples come from.
//!
//! A source finds the series that matchers choose and gives their samples within a window: a store, remote read, the
//! history of a hub, or [memory](crate::memory::MemorySource). The evaluator asks once for each selector of a query, with
//! the window that the selector can look at, and goes through the series once, one after the other.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::Arc;

use crate::histogram::{CounterResetHint, FloatHistogram};
use crate::labels::Labels;
use crate::matcher::Matcher;
use crate::value::is_stale;

/// What is asked of a source.
#[derive(Clone, Debug)]
pub struct Select<'a> {
    /// All have to match.
    pub matchers: &'a [Matcher],
    /// The first millisecond that is of interest. A source may give samples before it.
    pub start: i64,
    /// The last millisecond that is of interest. A source may give samples after it.
    pub end: i64,
    /// The distance of the steps at which samples are looked at, in milliseconds; zero where there is one step only.
    pub step: i64,
}

/// Why a source gives nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct SourceError {
    /// What went wrong.
    pub message: String,
    /// Whether trying again can help.
    pub retriable: bool,
}

/// Series one after the other, each once.
pub type SeriesIter<'a> = Box<dyn Iterator<Item = Result<SourceSeries<'a>, SourceError>> + 'a>;

/// Labels of series one after the other, each once.
pub type LabelsIter<'a> = Box<dyn Iterator<Item = Result<Labels, SourceError>> + 'a>;

/// Finds series.
pub trait Source {
    /// The series that all matchers choose and that have a sample in the window.
    fn select<'a>(&'a self, request: &Select<'_>) -> Result<SeriesIter<'a>, SourceError>;

    /// The labels of such series. A source that has an index answers from it, without reading a sample; it may give
    /// series besides whose samples are near the window.
    fn select_labels<'a>(&'a self, request: &Select<'_>) -> Result<LabelsIter<'a>, SourceError> {
        Ok(Box::new(self.select(request)?.map(|series| Ok(series?.labels))))
    }
}

/// The labels of the series with a sample from `start` to `end` that at least one of several sets of matchers chooses.
pub fn find_labels(
    source: &dyn Source,
    sets: &[Vec<Matcher>],
    start: i64,
    end: i64,
) -> Result<BTreeSet<Labels>, SourceError> {
    let mut found = BTreeSet::new();
    for matchers in sets {
        for labels in source.select_labels(&Select { matchers, start, end, step: 0 })? {
            found.insert(labels?);
        }
    }
    Ok(found)
}

/// A series and its samples.
#[derive(Clone, Debug)]
pub struct SourceSeries<'a> {
    /// Its labels.
    pub labels: Labels,
    /// Its samples.
    pub samples: Cow<'a, Samples>,
}

/// Values of one type with their times.
#[derive(Clone, Debug, PartialEq)]
pub struct Column<T> {
    /// Milliseconds since 1970, ascending.
    pub times: Vec<i64>,
    /// The value at each time.
    pub values: Vec<T>,
    /// When what each value counts began, in milliseconds since 1970; zero where that is not known. Empty where it is
    /// known of none.
    pub starts: Vec<i64>,
}

impl<T> Default for Column<T> {
    fn default() -> Self {
        Self { times: Vec::new(), values: Vec::new(), starts: Vec::new() }
    }
}

impl<T: Clone> Column<T> {
    /// Appends a value, at a time that is not before that of the last one.
    pub fn push(&mut self, time: i64, start: i64, value: T) {
        if start != 0 && self.starts.is_empty() {
            self.starts.resize(self.times.len(), 0);
        }
        if start != 0 || !self.starts.is_empty() {
            self.starts.push(start);
        }
        self.times.push(time);
        self.values.push(value);
    }

    /// The start of one, zero where it is not known.
    pub(crate) fn start(&self, at: usize) -> i64 {
        self.starts.get(at).copied().unwrap_or(0)
    }

    /// How many are at or before a time.
    pub(crate) fn up_to(&self, time: i64) -> usize {
        self.times.partition_point(|own| *own <= time)
    }

    /// Those that pass.
    fn retained(&self, keep: impl Fn(&T) -> bool) -> Self {
        let mut kept = Self::default();
        for (at, value) in self.values.iter().enumerate().filter(|(_, value)| keep(value)) {
            kept.push(self.times[at], self.start(at), value.clone());
        }
        kept
    }
}

/// The samples of a series: numbers, and native histograms beside them. Stale markers are among them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Samples {
    /// Numbers.
    pub floats: Column<f64>,
    /// Native histograms.
    pub histograms: Column<Arc<FloatHistogram>>,
}

impl Samples {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.floats.times.len() + self.histograms.times.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many are from `start` to `end`.
    pub(crate) fn count_within(&self, start: i64, end: i64) -> usize {
        let within = |times: &[i64]| {
            let from = times.partition_point(|time| *time < start);
            times[from..].partition_point(|time| *time <= end)
        };
        within(&self.floats.times) + within(&self.histograms.times)
    }

    /// With hints of what the histograms themselves say, from the second one after `start` on: where one has no hint,
    /// whether the counter was reset between it and the one before.
    pub(crate) fn with_detected_resets(samples: Cow<'_, Self>, start: i64) -> Cow<'_, Self> {
        let first = samples.histograms.times.partition_point(|time| *time < start);
        let known = |histogram: &FloatHistogram| {
            histogram.counter_reset_hint != CounterResetHint::Unknown || is_stale(histogram.sum)
        };
        if samples.histograms.values.iter().skip(first + 1).all(|histogram| known(histogram)) {
            return samples;
        }
        let mut samples = samples.into_owned();
        let mut previous: Option<Arc<FloatHistogram>> = None;
        for histogram in &mut samples.histograms.values[first..] {
            if is_stale(histogram.sum) {
                continue;
            }
            if let Some(previous) = previous.filter(|_| !known(histogram)) {
                let reset = histogram.detect_reset(&previous);
                Arc::make_mut(histogram).counter_reset_hint =
                    if reset { CounterResetHint::Reset } else { CounterResetHint::NotReset };
            }
            previous = Some(Arc::clone(histogram));
        }
        Cow::Owned(samples)
    }

    /// Bytes that they take in memory.
    pub(crate) fn size(&self) -> usize {
        let starts = self.floats.starts.len() + self.histograms.starts.len();
        let histograms: usize = self.histograms.values.iter().map(|histogram| histogram.size()).sum();
        8 * (2 * self.len() + starts) + histograms
    }

    /// Without the markers of where the series ended: a window has only what is there.
    pub(crate) fn without_stale(samples: Cow<'_, Self>) -> Cow<'_, Self> {
        let stale = samples.floats.values.iter().any(|value| is_stale(*value))
            || samples.histograms.values.iter().any(|histogram| is_stale(histogram.sum));
        if !stale {
            return samples;
        }
        Cow::Owned(Self {
            floats: samples.floats.retained(|value| !is_stale(*value)),
            histograms: samples.histograms.retained(|histogram| !is_stale(histogram.sum)),
        })
    }
}

/// What a source knows of a reset between a histogram and the one that it keeps before it, with no number between them.
pub fn hint_after(previous: Option<&FloatHistogram>, histogram: &FloatHistogram) -> CounterResetHint {
    use CounterResetHint::{Gauge, NotReset, Reset, Unknown};
    if histogram.counter_reset_hint == Gauge {
        return Gauge;
    }
    let Some(previous) = previous.filter(|previous| previous.counter_reset_hint != Gauge) else { return Unknown };
    let same_layout = histogram.schema == previous.schema
        && histogram.zero_threshold.to_bits() == previous.zero_threshold.to_bits()
        && histogram.custom_values == previous.custom_values;
    if histogram.counter_reset_hint == Reset || is_stale(previous.sum) || !same_layout || histogram.is_below(previous) {
        return Unknown;
    }
    NotReset
}
