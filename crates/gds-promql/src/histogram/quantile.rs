//! Quantiles and fractions estimated from the buckets of a native histogram.

use super::{Bucket, FloatHistogram};

/// What observations that are no numbers do to an estimate. They are in the count, but in no bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NanObservations {
    /// There is none, or none that matters.
    None,
    /// There are; the estimate is that of the others.
    Beside,
    /// The quantile is among them.
    Reached,
}

/// An estimate.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Estimate {
    pub(crate) value: f64,
    pub(crate) nan: NanObservations,
}

impl Estimate {
    fn of(value: f64) -> Self {
        Self { value, nan: NanObservations::None }
    }
}

impl FloatHistogram {
    /// The q-quantile, with observations spread evenly within a bucket: over the width of custom ones and of the zero
    /// bucket, over the logarithms of the bounds of others.
    pub(crate) fn quantile(&self, q: f64) -> Estimate {
        if q < 0.0 {
            return Estimate::of(f64::NEG_INFINITY);
        }
        if q > 1.0 {
            return Estimate::of(f64::INFINITY);
        }
        if self.count == 0.0 || q.is_nan() {
            return Estimate::of(f64::NAN);
        }
        let forward = self.sum.is_nan() || q < 0.5;
        let rank = if forward { q * self.count } else { (1.0 - q) * self.count };
        let mut buckets = self.buckets();
        let mut count = 0.0;
        let mut bucket = Bucket { lower: 0.0, upper: 0.0, lower_inclusive: false, upper_inclusive: false, count: 0.0 };
        while let Some(next) = if forward { buckets.next() } else { buckets.next_back() } {
            bucket = next;
            count += bucket.count;
            if bucket.count != 0.0 && count >= rank {
                break;
            }
        }
        if self.uses_custom_buckets() {
            if bucket.lower.is_infinite() && bucket.lower < 0.0 {
                if bucket.upper <= 0.0 {
                    return Estimate::of(bucket.upper);
                }
                bucket.lower = 0.0;
            } else if bucket.upper.is_infinite() && bucket.upper > 0.0 {
                return Estimate::of(bucket.lower);
            }
        } else if bucket.lower < 0.0 && bucket.upper > 0.0 {
            self.cut_zero_bucket(&mut bucket);
        }
        let count = count.min(self.count);
        if count < rank {
            return if self.sum.is_nan() {
                Estimate { value: f64::NAN, nan: NanObservations::Reached }
            } else {
                Estimate::of(bucket.upper)
            };
        }
        let rank = if forward { rank - (count - bucket.count) } else { count - rank };
        let nan = if self.sum.is_nan() && buckets.fold(count, |sum, rest| sum + rest.count) < self.count {
            NanObservations::Beside
        } else {
            NanObservations::None
        };
        let fraction = rank / bucket.count;
        let value = if self.uses_custom_buckets() || (bucket.lower <= 0.0 && bucket.upper >= 0.0) {
            bucket.lower + (bucket.upper - bucket.lower) * fraction
        } else {
            let (lower, upper) = (bucket.lower.abs().log2(), bucket.upper.abs().log2());
            if bucket.lower > 0.0 {
                (lower + (upper - lower) * fraction).exp2()
            } else {
                -(upper + (lower - upper) * (1.0 - fraction)).exp2()
            }
        };
        Estimate { value, nan }
    }

    /// The part of all observations between two numbers, estimated likewise.
    pub(crate) fn fraction(&self, lower: f64, upper: f64) -> Estimate {
        if self.count == 0.0 || lower.is_nan() || upper.is_nan() {
            return Estimate::of(f64::NAN);
        }
        if lower >= upper {
            return Estimate::of(0.0);
        }
        let (mut counted, mut rank) = (0.0, 0.0);
        let (mut lower_rank, mut upper_rank): (Option<f64>, Option<f64>) = (None, None);
        for mut bucket in self.buckets() {
            counted += bucket.count;
            if lower_rank.is_some() && upper_rank.is_some() {
                continue;
            }
            let zero = bucket.lower <= 0.0 && bucket.upper >= 0.0;
            if zero {
                self.cut_zero_bucket(&mut bucket);
            }
            let linear = self.uses_custom_buckets() || zero;
            let rank_of = |value: f64| {
                if bucket.lower >= value {
                    Some(rank)
                } else if bucket.upper <= value {
                    None
                } else if linear && bucket.lower.is_infinite() {
                    // Nothing is known about how observations spread down to infinity.
                    Some(bucket.count)
                } else {
                    Some(rank + bucket.count * bucket.fraction_below(value, linear))
                }
            };
            lower_rank = lower_rank.or_else(|| rank_of(lower));
            upper_rank = upper_rank.or_else(|| rank_of(upper));
            rank += bucket.count;
        }
        let (count, nan) = if self.sum.is_nan() {
            (counted, if counted < self.count { NanObservations::Beside } else { NanObservations::None })
        } else {
            (self.count, NanObservations::None)
        };
        let at_most = |rank: Option<f64>| rank.filter(|rank| *rank <= count).unwrap_or(count);
        Estimate { value: (at_most(upper_rank) - at_most(lower_rank)) / self.count, nan }
    }

    /// The zero bucket reaches to one side only, where the other one has no buckets.
    fn cut_zero_bucket(&self, bucket: &mut Bucket) {
        match (self.negative.is_empty(), self.positive.is_empty()) {
            (true, false) => bucket.lower = 0.0,
            (false, true) => bucket.upper = 0.0,
            _ => {}
        }
    }
}
