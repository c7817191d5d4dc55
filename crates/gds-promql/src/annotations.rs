//! What a query says besides its answer: warnings and infos.
//!
//! They are told apart by their message, as Prometheus does: what is said about a hundred series of one metric is said
//! once. The words are those of Prometheus, so that what looks for them finds them.

use std::collections::HashMap;
use std::fmt;

use crate::ast::Span;
use crate::histogram::Number;
use crate::labels::BUCKET;

/// Which combination of histograms it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Combination {
    Addition,
    Subtraction,
    Aggregation,
}

impl Combination {
    fn text(self) -> &'static str {
        match self {
            Self::Addition => "addition",
            Self::Subtraction => "subtraction",
            Self::Aggregation => "aggregation",
        }
    }
}

/// A number by its bits, so that annotations can be looked up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Bits(u64);

impl From<f64> for Bits {
    fn from(number: f64) -> Self {
        Self(number.to_bits())
    }
}

impl fmt::Display for Bits {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        Number(f64::from_bits(self.0)).fmt(out)
    }
}

/// What is said.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Note {
    // Warnings
    InvalidRatio { ratio: Bits, capped_to: i8 },
    InvalidQuantile(Bits),
    BadBucketLabel { metric: String, value: String },
    MixedFloatsHistograms(String),
    MixedFloatsHistogramsInAggregation,
    MixedClassicNativeHistograms(String),
    NotCounter(String),
    NotGauge(String),
    MixedExponentialCustom(String),
    IncompatibleBucketLayout(&'static str),
    SortInRangeQuery,
    CounterResetCollision(Combination),
    StartTimeOverlap(String),
    // Infos
    PossibleNonCounter(String),
    PossibleNonCounterType { metric: String, found: String },
    ForcedMonotonicity(String),
    IncompatibleTypes { left: &'static str, op: &'static str, right: &'static str },
    IgnoredInAggregation(&'static str),
    IgnoredInRange(String),
    QuantileReachesNan(String),
    QuantileBesideNan(String),
    FractionBesideNan(String),
    BoundsReconciled(Combination),
}

impl Note {
    fn is_warning(&self) -> bool {
        use Note::{
            BadBucketLabel, CounterResetCollision, IncompatibleBucketLayout, InvalidQuantile, InvalidRatio,
            MixedClassicNativeHistograms, MixedExponentialCustom, MixedFloatsHistograms,
            MixedFloatsHistogramsInAggregation, NotCounter, NotGauge, SortInRangeQuery, StartTimeOverlap,
        };
        matches!(
            self,
            InvalidRatio { .. }
                | InvalidQuantile(_)
                | BadBucketLabel { .. }
                | MixedFloatsHistograms(_)
                | MixedFloatsHistogramsInAggregation
                | MixedClassicNativeHistograms(_)
                | NotCounter(_)
                | NotGauge(_)
                | MixedExponentialCustom(_)
                | IncompatibleBucketLayout(_)
                | SortInRangeQuery
                | CounterResetCollision(_)
                | StartTimeOverlap(_)
        )
    }
}

/// ` for metric name "x"`, nothing where there is no name.
struct ForMetric<'a>(&'a str);

impl fmt::Display for ForMetric<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() { Ok(()) } else { write!(out, " for metric name {:?}", self.0) }
    }
}

impl fmt::Display for Note {
    #[rustfmt::skip]
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(if self.is_warning() { "PromQL warning: " } else { "PromQL info: " })?;
        match self {
            Self::InvalidRatio { ratio, capped_to } =>
                write!(out, "ratio value should be between -1 and 1, got {ratio}, capping to {capped_to}"),
            Self::InvalidQuantile(q) => write!(out, "quantile value should be between 0 and 1, got {q}"),
            Self::BadBucketLabel { metric, value } => write!(
                out, "bucket label {BUCKET:?} is missing or has a malformed value of {value:?}{}", ForMetric(metric)),
            Self::MixedFloatsHistograms(metric) =>
                write!(out, "encountered a mix of histograms and floats for metric name {metric:?}"),
            Self::MixedFloatsHistogramsInAggregation =>
                out.write_str("encountered a mix of histograms and floats for aggregation"),
            Self::MixedClassicNativeHistograms(metric) =>
                write!(out, "vector contains a mix of classic and native histograms{}", ForMetric(metric)),
            Self::NotCounter(metric) => write!(out, "this native histogram metric is not a counter: {metric:?}"),
            Self::NotGauge(metric) => write!(out, "this native histogram metric is not a gauge: {metric:?}"),
            Self::MixedExponentialCustom(metric) => write!(out,
                "vector contains a mix of histograms with exponential and custom buckets schemas for metric name {metric:?}"),
            Self::IncompatibleBucketLayout(op) =>
                write!(out, "incompatible bucket layout encountered for binary operator {op}"),
            Self::SortInRangeQuery =>
                out.write_str("sort is ineffective for range queries since results are always ordered by labels"),
            Self::CounterResetCollision(by) =>
                write!(out, "conflicting counter resets during histogram {}", by.text()),
            Self::StartTimeOverlap(metric) => write!(out,
                "sample has start time that overlaps with previous sample timestamp for metric {metric:?}"),
            Self::PossibleNonCounter(metric) => write!(out,
                "metric might not be a counter, name does not end in _total/_sum/_count/_bucket: {metric:?}"),
            Self::PossibleNonCounterType { metric, found } => write!(out,
                "metric might not be a counter, __type__ label is not set to \"counter\" or \"histogram\", got {found:?}: {metric:?}"),
            Self::ForcedMonotonicity(metric) => write!(out,
                "input to histogram_quantile needed to be fixed for monotonicity \
                 (see https://prometheus.io/docs/prometheus/latest/querying/functions/#histogram_quantile){}",
                ForMetric(metric)),
            Self::IncompatibleTypes { left, op, right } => write!(out,
                "incompatible sample types encountered for binary operator {op:?}: {left} {op} {right}"),
            Self::IgnoredInAggregation(aggregation) => write!(out, "ignored histogram in {aggregation} aggregation"),
            Self::IgnoredInRange(metric) => write!(out,
                "ignored histograms in a range containing both floats and histograms for metric name {metric:?}"),
            Self::QuantileReachesNan(metric) => write!(out,
                "input to histogram_quantile has NaN observations, result is NaN{}", ForMetric(metric)),
            Self::QuantileBesideNan(metric) => write!(out,
                "input to histogram_quantile has NaN observations, result is skewed higher{}", ForMetric(metric)),
            Self::FractionBesideNan(metric) => write!(out,
                "input to histogram_fraction has NaN observations, which are excluded from all fractions{}",
                ForMetric(metric)),
            Self::BoundsReconciled(by) =>
                write!(out, "mismatched custom buckets were reconciled during {}", by.text()),
        }
    }
}

/// What is known of all occurrences of an annotation together.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Extent {
    /// The times of the first and the last one, where those are said.
    pub(crate) times: Option<(i64, i64)>,
    /// The lowest and the highest bucket.
    pub(crate) buckets: (f64, f64),
    /// The greatest difference.
    pub(crate) difference: f64,
    /// How many there were.
    pub(crate) count: u64,
}

impl Extent {
    fn extend(&mut self, other: &Self) {
        if let (Some(own), Some(new)) = (&mut self.times, other.times) {
            *own = (own.0.min(new.0), own.1.max(new.1));
        }
        self.buckets = (self.buckets.0.min(other.buckets.0), self.buckets.1.max(other.buckets.1));
        self.difference = self.difference.max(other.difference);
        self.count += other.count;
    }
}

/// A warning or an info.
#[derive(Clone, Debug, PartialEq)]
pub struct Annotation {
    note: Note,
    extent: Extent,
    /// Where what it is about stands in the query.
    pub span: Span,
}

impl Annotation {
    /// Whether the answer may be wrong, rather than merely not what was meant.
    pub fn is_warning(&self) -> bool {
        self.note.is_warning()
    }

    /// What it says, without where: `PromQL warning: ...`.
    pub fn message(&self) -> String {
        self.note.to_string()
    }

    /// What it says, how often and for what, and the line and column of the query: `PromQL info: ... (1:5)`.
    pub fn render(&self, query: &str) -> String {
        let (line, column) = self.span.position(query);
        let extent = &self.extent;
        match (&self.note, extent.times) {
            (Note::ForcedMonotonicity(_), Some((first, last))) => format!(
                "{}, from buckets {} to {}, with a max diff of {}, over {} samples from {} to {} ({line}:{column})",
                self.note,
                Number(extent.buckets.0),
                Number(extent.buckets.1),
                TwoDigits(extent.difference),
                extent.count,
                Utc(first),
                Utc(last),
            ),
            (Note::StartTimeOverlap(_), _) if extent.count > 1 => {
                format!("{} ({} occurrences) ({line}:{column})", self.note, extent.count)
            }
            _ => format!("{} ({line}:{column})", self.note),
        }
    }
}

/// A number with two significant digits, as `%.2g` writes it.
struct TwoDigits(f64);

impl fmt::Display for TwoDigits {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rounded: f64 = format!("{:.1e}", self.0).parse().unwrap_or(self.0);
        if rounded != 0.0 && !(1e-4..100.0).contains(&rounded.abs()) {
            let scientific = format!("{rounded:e}");
            let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
            let exponent: i32 = exponent.parse().unwrap_or(0);
            return write!(out, "{digits}e{}{:02}", if exponent < 0 { '-' } else { '+' }, exponent.abs());
        }
        write!(out, "{rounded}")
    }
}

/// Milliseconds since 1970 as `2026-01-31T12:00:00Z`.
struct Utc(i64);

impl fmt::Display for Utc {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.div_euclid(1000);
        let date = crate::calendar::Date::of_seconds(seconds);
        let within = seconds.rem_euclid(86_400);
        let (hour, minute, second) = (within / 3600, within / 60 % 60, within % 60);
        write!(out, "{:04}-{:02}-{:02}T{hour:02}:{minute:02}:{second:02}Z", date.year, date.month, date.day)
    }
}

/// The annotations of a query, in the order in which they were first made.
#[derive(Clone, Debug, Default)]
pub struct Annotations {
    list: Vec<Annotation>,
    by_note: HashMap<Note, usize>,
}

impl Annotations {
    /// Says something about a place of the query.
    pub(crate) fn add(&mut self, note: Note, span: Span) {
        self.add_with(note, span, Extent { count: 1, ..Extent::default() });
    }

    /// Likewise, with how far it reaches.
    pub(crate) fn add_with(&mut self, note: Note, span: Span, extent: Extent) {
        if let Some(at) = self.by_note.get(&note) {
            let known = &mut self.list[*at];
            known.extent.extend(&extent);
            known.span = span;
        } else {
            self.by_note.insert(note.clone(), self.list.len());
            self.list.push(Annotation { note, extent, span });
        }
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Annotation> {
        self.list.iter()
    }

    /// The messages of the warnings.
    pub fn warnings(&self) -> impl Iterator<Item = String> {
        self.iter().filter(|annotation| annotation.is_warning()).map(Annotation::message)
    }

    /// The messages of the infos.
    pub fn infos(&self) -> impl Iterator<Item = String> {
        self.iter().filter(|annotation| !annotation.is_warning()).map(Annotation::message)
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_twice_is_kept_once() {
        let mut annotations = Annotations::default();
        annotations.add(Note::NotCounter("x".into()), Span::new(0, 1));
        annotations.add(Note::NotCounter("x".into()), Span::new(4, 5));
        annotations.add(Note::NotGauge("x".into()), Span::new(4, 5));
        let messages: Vec<_> = annotations.warnings().collect();
        assert_eq!(
            messages,
            [
                "PromQL warning: this native histogram metric is not a counter: \"x\"",
                "PromQL warning: this native histogram metric is not a gauge: \"x\""
            ]
        );
        assert_eq!(annotations.infos().count(), 0);
    }

    #[test]
    fn the_place_is_said_by_line_and_column() {
        let mut annotations = Annotations::default();
        annotations.add(Note::SortInRangeQuery, Span::new(6, 9));
        let rendered = annotations.iter().next().unwrap().render("a +\n  sort(b)");
        assert!(rendered.ends_with("ordered by labels (2:3)"), "{rendered}");
    }

    #[test]
    fn forced_monotonicity_says_how_far_it_reaches() {
        let mut annotations = Annotations::default();
        for (time, bucket, difference) in [(1_000, 0.5, 0.25), (61_000, 2.0, 1234.0)] {
            annotations.add_with(
                Note::ForcedMonotonicity("x".into()),
                Span::new(0, 1),
                Extent { times: Some((time, time)), buckets: (bucket, bucket), difference, count: 1 },
            );
        }
        let rendered = annotations.iter().next().unwrap().render("x");
        let expected = ", from buckets 0.5 to 2, with a max diff of 1.2e+03, over 2 samples \
                        from 1970-01-01T00:00:01Z to 1970-01-01T00:01:01Z (1:1)";
        assert!(rendered.ends_with(expected), "{rendered}");
    }
}
