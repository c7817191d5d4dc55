//! Native histograms with counts that are numbers rather than integers, as queries make them.
//!
//! A side is its buckets that are there, by index: whatever stores spans of buckets converts with
//! [`Buckets::from_spans`]. Exponential schemas from -4 to 8 have a zero bucket and two sides; [`CUSTOM_BUCKETS`] has the
//! positive side only, with the bounds that [`FloatHistogram::custom_values`] says.

mod arithmetic;
mod bounds;
mod quantile;
mod reset;
mod trim;

use std::fmt;
use std::sync::Arc;

use crate::kahan::Sum;
use bounds::upper_bound;

pub(crate) use arithmetic::HistogramSum;
pub use arithmetic::{Combined, IncompatibleSchemas};
pub(crate) use quantile::NanObservations;
pub use trim::Keep;

/// The schema of histograms whose bounds are [listed](FloatHistogram::custom_values).
pub const CUSTOM_BUCKETS: i32 = -53;

/// What is known about a reset of the counter between a histogram and the one before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum CounterResetHint {
    /// Nothing: the two have to be compared.
    #[default]
    Unknown,
    /// There was one.
    Reset,
    /// There was none.
    NotReset,
    /// The histogram is no counter.
    Gauge,
}

/// The buckets of one side, by index.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Buckets {
    /// Indexes in ascending order, each once.
    pub index: Vec<i32>,
    /// The count of each; it may be zero.
    pub count: Vec<f64>,
}

impl Buckets {
    /// Buckets one after the other from an index on.
    pub fn from_offset(offset: i32, mut count: Vec<f64>) -> Self {
        let index: Vec<i32> = (offset..=i32::MAX).take(count.len()).collect();
        count.truncate(index.len());
        Self { index, count }
    }

    /// Spans as stores have them: how far after the end of the span before it each begins (the first: its index), and
    /// how many buckets it has; and the counts of all. What one has too many of is left out, and so are buckets of a span
    /// that begins before the end of the one before it.
    pub fn from_spans(spans: impl IntoIterator<Item = (i32, u32)>, count: &[f64]) -> Self {
        let mut buckets = Self::default();
        let mut next = 0i64;
        let mut counts = count.iter();
        for (offset, length) in spans {
            next += i64::from(offset);
            for count in counts.by_ref().take(length as usize) {
                if let Ok(index) = i32::try_from(next)
                    && buckets.index.last().is_none_or(|last| *last < index)
                {
                    buckets.index.push(index);
                    buckets.count.push(*count);
                }
                next += 1;
            }
        }
        buckets
    }

    /// How many are there.
    pub fn len(&self) -> usize {
        self.index.len()
    }

    /// Whether none is there.
    pub fn is_empty(&self) -> bool {
        self.index.is_empty()
    }

    /// Index and count of each.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (i32, f64)> {
        self.index.iter().copied().zip(self.count.iter().copied())
    }

    /// Leaves out what is empty.
    fn compact(&mut self) {
        if self.count.contains(&0.0) {
            let kept: Vec<_> = self.iter().filter(|(_, count)| *count != 0.0).collect();
            (self.index, self.count) = kept.into_iter().unzip();
        }
    }

    fn scale(&mut self, by: impl Fn(f64) -> f64) {
        for count in &mut self.count {
            *count = by(*count);
        }
    }

    fn same_bits(&self, other: &Self) -> bool {
        self.index == other.index && self.count.iter().zip(&other.count).all(|(a, b)| a.to_bits() == b.to_bits())
    }
}

/// One bucket with its bounds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bucket {
    /// Where it begins.
    pub lower: f64,
    /// Where it ends.
    pub upper: f64,
    /// Whether `lower` is in it.
    pub lower_inclusive: bool,
    /// Whether `upper` is in it.
    pub upper_inclusive: bool,
    /// How many observations it has.
    pub count: f64,
}

impl Bucket {
    /// The part of its width up to a value inside it: of the width itself, or of the logarithms of its bounds.
    fn fraction_below(&self, value: f64, linear: bool) -> f64 {
        if linear {
            return (value - self.lower) / (self.upper - self.lower);
        }
        let (lower, upper, value_log) = (self.lower.abs().log2(), self.upper.abs().log2(), value.abs().log2());
        if value > 0.0 { (value_log - lower) / (upper - lower) } else { 1.0 - ((value_log - upper) / (lower - upper)) }
    }
}

/// A native histogram.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FloatHistogram {
    /// What is known about a reset before it.
    pub counter_reset_hint: CounterResetHint,
    /// The resolution: bounds grow by 2^(2^-schema); or [`CUSTOM_BUCKETS`].
    pub schema: i32,
    /// Observations that are as small as this, either side of zero, are in the zero bucket.
    pub zero_threshold: f64,
    /// The count of the zero bucket.
    pub zero_count: f64,
    /// The count of all observations.
    pub count: f64,
    /// The sum of all observations; a [stale marker](crate::value::STALE_NAN) where the series ended.
    pub sum: f64,
    /// Buckets of the positive side.
    pub positive: Buckets,
    /// Buckets of the negative side, counted away from zero.
    pub negative: Buckets,
    /// Upper bounds of custom buckets in ascending order, without the last one, which is infinity.
    pub custom_values: Arc<[f64]>,
}

impl FloatHistogram {
    /// Whether its bounds are listed.
    pub fn uses_custom_buckets(&self) -> bool {
        self.schema == CUSTOM_BUCKETS
    }

    /// Says what is wrong with one that was made by hand.
    pub fn check(&self) -> Result<(), String> {
        if !(-4..=8).contains(&self.schema) && !self.uses_custom_buckets() {
            let schema = self.schema;
            return Err(format!(
                "a histogram has schema {schema}: expected -4 to 8, or {CUSTOM_BUCKETS} with custom_values"
            ));
        }
        let sides = [&self.positive, &self.negative];
        if sides
            .iter()
            .any(|side| !side.index.is_sorted_by(|one, next| one < next) || side.index.len() != side.count.len())
        {
            return Err("a histogram has its buckets in another order than by index, each once".to_owned());
        }
        let mut counts = sides.into_iter().flat_map(|side| &side.count).chain([&self.zero_count, &self.count]);
        if let Some(count) = counts.find(|count| count.is_nan() || **count < 0.0) {
            return Err(format!("a histogram has the count {count} in a bucket or in all: expected zero or more"));
        }
        if !self.zero_threshold.is_finite() || self.zero_threshold < 0.0 {
            return Err(format!("a histogram has the zero threshold {}: expected zero or more", self.zero_threshold));
        }
        let bounds = &self.custom_values;
        if !self.uses_custom_buckets() {
            return if bounds.is_empty() {
                Ok(())
            } else {
                Err(format!("custom_values need the schema {CUSTOM_BUCKETS}"))
            };
        }
        let most = i32::try_from(bounds.len()).unwrap_or(i32::MAX);
        let outside = |index: &&i32| !(0..=most).contains(*index);
        if let Some(index) = self.positive.index.iter().find(outside) {
            return Err(format!("a histogram has a bucket {index}: expected 0 to {most}, one more than custom_values"));
        }
        if !self.negative.is_empty() || self.zero_count != 0.0 {
            return Err("a histogram with custom_values has positive buckets only".to_owned());
        }
        if !bounds.is_sorted_by(|one, next| one < next) || bounds.iter().any(|bound| !bound.is_finite()) {
            return Err("custom_values are finite numbers in ascending order".to_owned());
        }
        Ok(())
    }

    /// Leaves out the buckets that are empty.
    pub fn compact(&mut self) {
        self.positive.compact();
        self.negative.compact();
    }

    /// Scales all counts and the sum; with a negative factor the result is no counter.
    pub fn multiply(&mut self, factor: f64) {
        self.scale(|number| number * factor);
        if factor < 0.0 {
            self.counter_reset_hint = CounterResetHint::Gauge;
        }
    }

    /// Divides all counts and the sum. Division by zero leaves no bucket.
    pub fn divide(&mut self, divisor: f64) {
        if divisor == 0.0 {
            self.positive = Buckets::default();
            self.negative = Buckets::default();
        }
        self.scale(|number| number / divisor);
        if divisor < 0.0 {
            self.counter_reset_hint = CounterResetHint::Gauge;
        }
    }

    fn scale(&mut self, by: impl Fn(f64) -> f64) {
        self.zero_count = by(self.zero_count);
        self.count = by(self.count);
        self.sum = by(self.sum);
        self.positive.scale(&by);
        self.negative.scale(&by);
    }

    /// Whether both hold the same data, bit by bit; empty buckets and hints apart from that, both are compared as they
    /// are.
    pub fn same_data(&self, other: &Self) -> bool {
        self.schema == other.schema
            && self.count.to_bits() == other.count.to_bits()
            && self.sum.to_bits() == other.sum.to_bits()
            && (!self.uses_custom_buckets() || self.custom_values == other.custom_values)
            && self.zero_threshold.to_bits() == other.zero_threshold.to_bits()
            && self.zero_count.to_bits() == other.zero_count.to_bits()
            && self.positive.same_bits(&other.positive)
            && self.negative.same_bits(&other.negative)
    }

    /// Whether a number in it has grown beyond all bounds.
    pub(crate) fn has_overflow(&self) -> bool {
        [self.zero_count, self.count, self.sum].iter().any(|number| number.is_infinite())
            || self.positive.count.iter().chain(&self.negative.count).any(|count| count.is_infinite())
    }

    /// Bytes that it takes in memory.
    pub(crate) fn size(&self) -> usize {
        const EACH: usize = size_of::<i32>() + size_of::<f64>();
        size_of::<Self>() + EACH * (self.positive.len() + self.negative.len())
    }

    /// All buckets from the lowest to the highest. Where one reaches into the zero bucket, it ends at that one.
    pub fn buckets(&self) -> impl DoubleEndedIterator<Item = Bucket> {
        let zero = (self.zero_count > 0.0 && !self.uses_custom_buckets()).then(|| self.zero_bucket());
        let negative = self.negative.iter().rev().map(|(index, count)| {
            let mut bucket = self.negative_bucket(index, count);
            if bucket.upper < 0.0 && bucket.upper > -self.zero_threshold {
                bucket.upper = -self.zero_threshold;
            }
            bucket
        });
        let positive = self.positive.iter().map(|(index, count)| {
            let mut bucket = self.positive_bucket(index, count);
            if bucket.lower > 0.0 && bucket.lower < self.zero_threshold {
                bucket.lower = self.zero_threshold;
            }
            bucket
        });
        negative.chain(zero).chain(positive)
    }

    fn zero_bucket(&self) -> Bucket {
        Bucket {
            lower: -self.zero_threshold,
            upper: self.zero_threshold,
            lower_inclusive: true,
            upper_inclusive: true,
            count: self.zero_count,
        }
    }

    fn positive_bucket(&self, index: i32, count: f64) -> Bucket {
        let lower = upper_bound(index.saturating_sub(1), self.schema, &self.custom_values);
        let upper = upper_bound(index, self.schema, &self.custom_values);
        if self.uses_custom_buckets() {
            return Bucket { lower, upper, lower_inclusive: index == 0, upper_inclusive: true, count };
        }
        Bucket { lower, upper, lower_inclusive: false, upper_inclusive: true, count }
    }

    fn negative_bucket(&self, index: i32, count: f64) -> Bucket {
        let lower = -upper_bound(index, self.schema, &self.custom_values);
        let upper = -upper_bound(index.saturating_sub(1), self.schema, &self.custom_values);
        Bucket { lower, upper, lower_inclusive: true, upper_inclusive: false, count }
    }

    /// The variance of the observations, each taken to be in the middle of its bucket.
    pub(crate) fn variance(&self) -> f64 {
        let mean = self.sum / self.count;
        let mut sum = Sum::default();
        for bucket in self.buckets().filter(|bucket| bucket.count != 0.0) {
            let middle = if self.uses_custom_buckets() {
                f64::midpoint(bucket.upper, bucket.lower)
            } else if bucket.lower <= 0.0 && bucket.upper >= 0.0 {
                0.0
            } else {
                (bucket.upper * bucket.lower).sqrt().copysign(bucket.upper)
            };
            let delta = middle - mean;
            sum.add(bucket.count * delta * delta);
        }
        sum.total() / self.count
    }
}

/// `{count:3, sum:4.5, (1,2]:3}`
impl fmt::Display for FloatHistogram {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{{count:{}, sum:{}", Number(self.count), Number(self.sum))?;
        let negative = self.negative.iter().rev().map(|(index, count)| self.negative_bucket(index, count));
        let zero = (self.zero_count != 0.0).then(|| self.zero_bucket());
        let positive = self.positive.iter().map(|(index, count)| self.positive_bucket(index, count));
        for bucket in negative.chain(zero).chain(positive).filter(|bucket| bucket.count != 0.0) {
            let open = if bucket.lower_inclusive { '[' } else { '(' };
            let close = if bucket.upper_inclusive { ']' } else { ')' };
            let (lower, upper, count) = (Number(bucket.lower), Number(bucket.upper), Number(bucket.count));
            write!(out, ", {open}{lower},{upper}{close}:{count}")?;
        }
        out.write_str("}")
    }
}

/// A number as `%g` writes it with as few digits as say which it is: `0.1`, `1e+06`, `+Inf`.
pub(crate) struct Number(pub(crate) f64);

impl fmt::Display for Number {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = self.0;
        if number.is_nan() {
            return out.write_str("NaN");
        }
        if number.is_infinite() {
            return out.write_str(if number > 0.0 { "+Inf" } else { "-Inf" });
        }
        let scientific = format!("{number:e}");
        let Some((digits, exponent)) = scientific.split_once('e') else { return out.write_str(&scientific) };
        let exponent: i32 = exponent.parse().unwrap_or(0);
        if (-4..6).contains(&exponent) {
            return write!(out, "{number}");
        }
        let sign = if exponent < 0 { '-' } else { '+' };
        write!(out, "{digits}e{sign}{:02}", exponent.abs())
    }
}

#[cfg(test)]
mod tests;
