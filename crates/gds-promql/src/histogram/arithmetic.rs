//! Sums and differences of histograms, whose layouts are brought to what both have.

use std::cmp::Ordering;
use std::sync::Arc;

use super::bounds::exponential;
use super::{Buckets, CUSTOM_BUCKETS, CounterResetHint, FloatHistogram};
use crate::kahan;

/// One histogram has exponential buckets, the other custom ones: they have nothing in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("histograms with exponential and with custom buckets cannot be combined")]
pub struct IncompatibleSchemas;

/// What happened while two histograms were combined.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Combined {
    /// One said that the counter was reset before it, the other that it was not.
    pub counter_reset_collision: bool,
    /// Their custom bounds were not the same; the result has those that both have.
    pub bounds_reconciled: bool,
}

/// A histogram that others are added to, with what rounding takes away kept beside it.
#[derive(Clone, Debug)]
pub(crate) struct HistogramSum {
    /// The sum as far as its numbers hold it.
    pub(crate) sum: FloatHistogram,
    /// What is lost of it, in the same layout; nothing before the first addition.
    lost: Option<FloatHistogram>,
}

impl HistogramSum {
    /// Begins with one histogram.
    pub(crate) fn new(first: FloatHistogram) -> Self {
        Self { sum: first, lost: None }
    }

    /// Adds one more.
    pub(crate) fn add(&mut self, other: &FloatHistogram) -> Result<Combined, IncompatibleSchemas> {
        let lost = self.lost.get_or_insert_with(|| FloatHistogram {
            schema: self.sum.schema,
            zero_threshold: self.sum.zero_threshold,
            custom_values: self.sum.custom_values.clone(),
            positive: zeros(&self.sum.positive),
            negative: zeros(&self.sum.negative),
            ..FloatHistogram::default()
        });
        combine(&mut self.sum, lost, other, 1.0)
    }

    /// Scales the sum.
    pub(crate) fn multiply(&mut self, factor: f64) {
        self.sum.multiply(factor);
        if let Some(lost) = &mut self.lost {
            lost.multiply(factor);
        }
    }

    /// Divides the sum.
    pub(crate) fn divide(&mut self, divisor: f64) {
        self.sum.divide(divisor);
        if let Some(lost) = &mut self.lost {
            lost.divide(divisor);
        }
    }

    /// The sum, with what was lost put back.
    pub(crate) fn total(self) -> FloatHistogram {
        let Self { mut sum, lost } = self;
        if let Some(lost) = lost {
            sum.zero_count += lost.zero_count;
            sum.count += lost.count;
            sum.sum += lost.sum;
            merge(&mut sum.positive, &lost.positive, |_| true, |a, b| *a += b);
            merge(&mut sum.negative, &lost.negative, |_| true, |a, b| *a += b);
        }
        sum
    }
}

impl FloatHistogram {
    /// Adds a histogram. Resolution, zero bucket and custom bounds become those that both can have.
    pub fn add(&mut self, other: &Self) -> Result<Combined, IncompatibleSchemas> {
        plain(self, other, 1.0)
    }

    /// Subtracts a histogram, likewise. The result is marked as what the two were: a query's difference is a gauge.
    pub fn subtract(&mut self, other: &Self) -> Result<Combined, IncompatibleSchemas> {
        plain(self, other, -1.0)
    }

    /// Reduces the resolution; does nothing where it is not greater, or buckets are custom ones.
    pub fn reduce_resolution(&mut self, schema: i32) {
        if schema < self.schema && !self.uses_custom_buckets() {
            self.positive = reduced(&self.positive, self.schema, schema);
            self.negative = reduced(&self.negative, self.schema, schema);
            self.schema = schema;
        }
    }

    /// The zero count that the histogram would have with a greater threshold, and that threshold: within a bucket that
    /// has observations it moves on to the end of that one.
    pub(super) fn zero_count_for(&self, threshold: f64) -> (f64, f64) {
        let mut threshold = threshold;
        if threshold <= self.zero_threshold {
            return (self.zero_count, threshold);
        }
        'again: loop {
            let mut sum = kahan::Sum { sum: self.zero_count, lost: 0.0 };
            for (side, index, count) in self.sides() {
                let (lower, upper) =
                    (exponential(index.saturating_sub(1), self.schema), exponential(index, self.schema));
                if lower >= threshold {
                    continue;
                }
                sum.add(count);
                if upper > threshold && count != 0.0 {
                    threshold = upper;
                    if side == Side::Negative {
                        continue 'again;
                    }
                }
            }
            return (sum.sum, threshold);
        }
    }

    fn sides(&self) -> impl Iterator<Item = (Side, i32, f64)> {
        let positive = self.positive.iter().map(|(index, count)| (Side::Positive, index, count));
        positive.chain(self.negative.iter().map(|(index, count)| (Side::Negative, index, count)))
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Positive,
    Negative,
}

fn zeros(buckets: &Buckets) -> Buckets {
    Buckets { index: buckets.index.clone(), count: vec![0.0; buckets.len()] }
}

fn plain(target: &mut FloatHistogram, other: &FloatHistogram, sign: f64) -> Result<Combined, IncompatibleSchemas> {
    let mut combined = begin(target, other)?;
    target.count += sign * other.count;
    target.sum += sign * other.sum;
    if target.uses_custom_buckets() {
        if target.custom_values == other.custom_values {
            merge(&mut target.positive, &other.positive, |_| true, |a, b| *a += sign * b);
        } else {
            combined.bounds_reconciled = true;
            intersect(target, None, other, sign);
        }
        return Ok(combined);
    }
    target.zero_count += sign * reconcile_zero(target, None, other);
    let other = at_common_schema(target, None, other);
    let keep = above(target.schema, target.zero_threshold);
    merge(&mut target.positive, &other.positive, &keep, |a, b| *a += sign * b);
    merge(&mut target.negative, &other.negative, &keep, |a, b| *a += sign * b);
    Ok(combined)
}

fn combine(
    target: &mut FloatHistogram,
    lost: &mut FloatHistogram,
    other: &FloatHistogram,
    sign: f64,
) -> Result<Combined, IncompatibleSchemas> {
    let mut combined = begin(target, other)?;
    (target.count, lost.count) = kahan::add(other.count, target.count, lost.count);
    (target.sum, lost.sum) = kahan::add(other.sum, target.sum, lost.sum);
    if target.uses_custom_buckets() {
        if target.custom_values == other.custom_values {
            kahan_merge(&mut target.positive, &mut lost.positive, &other.positive, |_| true);
        } else {
            combined.bounds_reconciled = true;
            intersect(target, Some(lost), other, sign);
        }
        return Ok(combined);
    }
    let zero = reconcile_zero(target, Some(lost), other);
    (target.zero_count, lost.zero_count) = kahan::add(zero, target.zero_count, lost.zero_count);
    let other = at_common_schema(target, Some(lost), other);
    let keep = above(target.schema, target.zero_threshold);
    kahan_merge(&mut target.positive, &mut lost.positive, &other.positive, &keep);
    kahan_merge(&mut target.negative, &mut lost.negative, &other.negative, &keep);
    Ok(combined)
}

/// Whether the two can be combined at all, and the hint of the result.
fn begin(target: &mut FloatHistogram, other: &FloatHistogram) -> Result<Combined, IncompatibleSchemas> {
    use CounterResetHint::{Gauge, Unknown};
    if target.uses_custom_buckets() != other.uses_custom_buckets() {
        return Err(IncompatibleSchemas);
    }
    let (own, new) = (target.counter_reset_hint, other.counter_reset_hint);
    let collides = own != new && ![own, new].contains(&Gauge) && ![own, new].contains(&Unknown);
    if own != new {
        let gauge = own == Gauge || new == Gauge;
        target.counter_reset_hint = if gauge { Gauge } else { Unknown };
    }
    Ok(Combined { counter_reset_collision: collides, bounds_reconciled: false })
}

/// What of the other histogram is not in the zero bucket.
fn above(schema: i32, threshold: f64) -> impl Fn(i32) -> bool {
    move |index| threshold <= 0.0 || exponential(index, schema) > threshold
}

/// Makes the zero bucket wide enough for both; the zero count of the other one with that width.
fn reconcile_zero(target: &mut FloatHistogram, mut lost: Option<&mut FloatHistogram>, other: &FloatHistogram) -> f64 {
    let (mut zero_count, mut threshold) = (other.zero_count, other.zero_threshold);
    loop {
        match target.zero_threshold.partial_cmp(&threshold) {
            Some(Ordering::Greater) => (zero_count, threshold) = other.zero_count_for(target.zero_threshold),
            Some(Ordering::Less) => {
                let (count, wider) = target.zero_count_for(threshold);
                let schema = target.schema;
                let keep = |index: i32| exponential(index.saturating_sub(1), schema) >= wider;
                if let Some(lost) = lost.as_deref_mut() {
                    for side in [&lost.positive, &lost.negative] {
                        lost.zero_count +=
                            side.iter().filter(|(index, _)| !keep(*index)).map(|(_, count)| count).sum::<f64>();
                    }
                    lost.zero_threshold = wider;
                    retain(&mut lost.positive, keep);
                    retain(&mut lost.negative, keep);
                }
                target.zero_count = count;
                target.zero_threshold = wider;
                retain(&mut target.positive, keep);
                retain(&mut target.negative, keep);
            }
            Some(Ordering::Equal) | None => return zero_count,
        }
    }
}

fn retain(buckets: &mut Buckets, keep: impl Fn(i32) -> bool) {
    let kept: Vec<_> = buckets.iter().filter(|(index, _)| keep(*index)).collect();
    (buckets.index, buckets.count) = kept.into_iter().unzip();
}

/// Reduces whichever has the greater resolution; the other one as it is to be combined.
fn at_common_schema(
    target: &mut FloatHistogram,
    lost: Option<&mut FloatHistogram>,
    other: &FloatHistogram,
) -> FloatHistogram {
    if let Some(lost) = lost {
        lost.reduce_resolution(other.schema);
    }
    target.reduce_resolution(other.schema);
    let mut other = other.clone();
    other.reduce_resolution(target.schema);
    other
}

/// The index of a bucket at a lower resolution.
pub(super) fn reduced_index(index: i32, from: i32, to: i32) -> i32 {
    let narrowed = (i64::from(index) - 1) >> from.saturating_sub(to).clamp(0, 63);
    i32::try_from(narrowed + 1).unwrap_or(index)
}

pub(super) fn reduced(buckets: &Buckets, from: i32, to: i32) -> Buckets {
    let mut target = Buckets::default();
    for (index, count) in buckets.iter() {
        let index = reduced_index(index, from, to);
        match (target.index.last(), target.count.last_mut()) {
            (Some(last), Some(sum)) if *last == index => *sum += count,
            _ => {
                target.index.push(index);
                target.count.push(count);
            }
        }
    }
    target
}

/// Puts the buckets of one into the other.
fn merge(target: &mut Buckets, other: &Buckets, keep: impl Fn(i32) -> bool, put: impl Fn(&mut f64, f64)) {
    if target.index == other.index && other.index.first().is_none_or(|first| keep(*first)) {
        target.count.iter_mut().zip(&other.count).for_each(|(own, new)| put(own, *new));
        return;
    }
    let mut result = Buckets::default();
    let mut own = target.iter().peekable();
    for (index, new) in other.iter().filter(|(index, _)| keep(*index)) {
        while let Some((before, count)) = own.next_if(|(before, _)| *before < index) {
            result.index.push(before);
            result.count.push(count);
        }
        let mut count = own.next_if(|(same, _)| *same == index).map_or(0.0, |(_, count)| count);
        put(&mut count, new);
        result.index.push(index);
        result.count.push(count);
    }
    for (index, count) in own {
        result.index.push(index);
        result.count.push(count);
    }
    *target = result;
}

/// Likewise, with what is lost kept in buckets of the same indexes.
fn kahan_merge(target: &mut Buckets, lost: &mut Buckets, other: &Buckets, keep: impl Fn(i32) -> bool) {
    merge(target, other, &keep, |_, _| {});
    merge(lost, other, &keep, |_, _| {});
    // Both have every index of the other one now; a count that was not there is zero.
    let mut at = 0;
    for (index, count) in other.iter().filter(|(index, _)| keep(*index)) {
        at += target.index[at..].partition_point(|own| *own < index);
        if let (Some(sum), Some(missing)) = (target.count.get_mut(at), lost.count.get_mut(at)) {
            (*sum, *missing) = kahan::add(count, *sum, *missing);
        }
    }
}

/// Combines two histograms with custom bounds that differ: what remains are the bounds that both have.
fn intersect(target: &mut FloatHistogram, lost: Option<&mut FloatHistogram>, other: &FloatHistogram, sign: f64) {
    let common: Arc<[f64]> = {
        let mut theirs = other.custom_values.iter().peekable();
        let both = target.custom_values.iter().filter(|own| {
            while theirs.next_if(|bound| bound < own).is_some() {}
            theirs.next_if(|bound| bound <= own).is_some()
        });
        both.copied().collect()
    };
    let mut sums = vec![kahan::Sum::default(); common.len() + 1];
    let mut put = |buckets: &Buckets, bounds: &[f64], sign: f64| {
        for (index, count) in buckets.iter() {
            let bound = usize::try_from(index).ok().and_then(|at| bounds.get(at));
            let to = bound.map_or(common.len(), |bound| common.partition_point(|kept| kept < bound));
            sums[to].add(sign * count);
        }
    };
    put(&target.positive, &target.custom_values, 1.0);
    if let Some(lost) = &lost {
        put(&lost.positive, &target.custom_values, 1.0);
    }
    put(&other.positive, &other.custom_values, sign);

    let there = || (0i32..).zip(&sums).filter(|(_, sum)| sum.sum != 0.0 || sum.lost != 0.0);
    let index: Vec<i32> = there().map(|(index, _)| index).collect();
    target.positive = Buckets { index: index.clone(), count: there().map(|(_, sum)| sum.sum).collect() };
    target.custom_values = common.clone();
    if let Some(lost) = lost {
        lost.positive = Buckets { index, count: there().map(|(_, sum)| sum.lost).collect() };
        lost.custom_values = common;
    }
    debug_assert_eq!(target.schema, CUSTOM_BUCKETS);
}
