//! Takes away what a histogram observed above or below a number.

use super::{Bucket, FloatHistogram};

/// Which part stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// What is not above the number: `</`.
    Below,
    /// What is not below the number: `>/`.
    Above,
}

impl FloatHistogram {
    /// Leaves what is on one side of a number; of the bucket that the number is in, the estimated part. Count and sum
    /// become those of what is left, estimated from the buckets, where anything was taken away.
    pub fn trim(&mut self, at: f64, keep: Keep) {
        let custom = self.uses_custom_buckets();
        let (mut count, mut sum, mut trimmed) = (0.0, 0.0, false);
        let mut has_side = [false; 2];
        for (side, positive) in [true, false].into_iter().enumerate() {
            let buckets = if positive { &self.positive } else { &self.negative };
            let kept: Vec<f64> = buckets
                .iter()
                .map(|(index, had)| {
                    if had == 0.0 {
                        return 0.0;
                    }
                    has_side[side] = true;
                    let bucket =
                        if positive { self.positive_bucket(index, had) } else { self.negative_bucket(index, had) };
                    let (whole, part) = match keep {
                        Keep::Below => (bucket.upper <= at, bucket.lower < at),
                        Keep::Above => (bucket.lower >= at, bucket.upper > at),
                    };
                    let (stays, middle) = if whole {
                        (had, middle(bucket.lower, bucket.upper, positive, custom))
                    } else if part {
                        part_of(&bucket, at, keep, positive, custom)
                    } else {
                        (0.0, 0.0)
                    };
                    count += stays;
                    sum += middle * stays;
                    trimmed |= stays.to_bits() != had.to_bits() || !(whole || part);
                    stays
                })
                .collect();
            if positive {
                self.positive.count = kept;
            } else {
                self.negative.count = kept;
            }
        }
        if self.zero_count > 0.0 {
            let (stays, middle) = part_of_zero(&self.zero_bucket(), at, keep, has_side);
            trimmed |= stays.to_bits() != self.zero_count.to_bits();
            self.zero_count = stays;
            count += stays;
            sum += middle * stays;
        }
        if trimmed {
            self.count = count;
            self.sum = sum;
            self.compact();
        }
    }
}

/// Where the observations of a part of a bucket are taken to be.
fn middle(lower: f64, upper: f64, positive: bool, linear: bool) -> f64 {
    match (lower.is_infinite(), upper.is_infinite()) {
        (true, true) => 0.0,
        (true, false) if upper > 0.0 => upper / 2.0,
        (true, false) => upper,
        (false, true) => lower,
        (false, false) if linear => f64::midpoint(lower, upper),
        (false, false) => {
            let mean = (lower * upper).abs().sqrt();
            if positive { mean } else { -mean }
        }
    }
}

/// The count that stays of a bucket that the number is in, and where it is.
fn part_of(bucket: &Bucket, at: f64, keep: Keep, positive: bool, custom: bool) -> (f64, f64) {
    if bucket.lower.is_infinite() && bucket.lower < 0.0 {
        return part_of_lowest(bucket, at, keep);
    }
    if bucket.upper.is_infinite() && bucket.upper > 0.0 {
        // How observations spread up to infinity is not known: what the number cuts goes, whole.
        return match keep {
            Keep::Above if at >= bucket.lower => (bucket.count, at),
            Keep::Above | Keep::Below => (0.0, 0.0),
        };
    }
    let below = if at <= bucket.lower {
        0.0
    } else if at >= bucket.upper {
        bucket.count
    } else {
        bucket.count * bucket.fraction_below(at, custom)
    };
    match keep {
        Keep::Below => (below, middle(bucket.lower, at, positive, custom)),
        Keep::Above => (bucket.count - below, middle(at, bucket.upper, positive, custom)),
    }
}

/// Likewise of the bucket that begins at minus infinity: where it ends above zero, it is taken to begin at zero.
fn part_of_lowest(bucket: &Bucket, at: f64, keep: Keep) -> (f64, f64) {
    let from_zero = bucket.upper > 0.0 && bucket.upper.is_finite();
    match keep {
        Keep::Below if at >= bucket.upper => (bucket.count, 0.0),
        Keep::Below if at > 0.0 && from_zero => (bucket.count * at / bucket.upper, at / 2.0),
        Keep::Below if bucket.upper <= 0.0 => (bucket.count, at),
        Keep::Above if at <= bucket.lower => (bucket.count, 0.0),
        Keep::Above if at >= 0.0 && bucket.upper > at && from_zero => {
            (bucket.count * (1.0 - at / bucket.upper), f64::midpoint(at, bucket.upper))
        }
        Keep::Below | Keep::Above => (0.0, 0.0),
    }
}

/// Likewise of the zero bucket, which ends at zero where the other side has no observation.
fn part_of_zero(bucket: &Bucket, at: f64, keep: Keep, [has_positive, has_negative]: [bool; 2]) -> (f64, f64) {
    let lower = if has_positive && !has_negative { 0.0 } else { bucket.lower };
    let upper = if has_negative && !has_positive { 0.0 } else { bucket.upper };
    let whole = (bucket.count, f64::midpoint(lower, upper));
    match keep {
        Keep::Below if at <= lower => (0.0, 0.0),
        Keep::Below if at >= upper => whole,
        Keep::Below => (bucket.count * ((at - lower) / (upper - lower)), f64::midpoint(lower, at)),
        Keep::Above if at <= lower => whole,
        Keep::Above if at >= upper => (0.0, 0.0),
        Keep::Above => (bucket.count * ((upper - at) / (upper - lower)), f64::midpoint(at, upper)),
    }
}
