//! Quantiles of numbers, and of the buckets of classic histograms.

/// The q-quantile of numbers, whose order changes; between two of them, the weighted mean.
pub(super) fn quantile(q: f64, values: &mut [f64]) -> f64 {
    if values.is_empty() || q.is_nan() {
        return f64::NAN;
    }
    if q < 0.0 {
        return f64::NEG_INFINITY;
    }
    if q > 1.0 {
        return f64::INFINITY;
    }
    let rank = q * (values.len() - 1) as f64;
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let lower = rank.floor().max(0.0) as usize;
    let weight = rank - rank.floor();
    // Numbers that are none come first.
    let order = |a: &f64, b: &f64| b.is_nan().cmp(&a.is_nan()).then(a.total_cmp(b));
    let (_, below, above) = values.select_nth_unstable_by(lower, order);
    let above = above.iter().copied().min_by(order).unwrap_or(*below);
    *below * (1.0 - weight) + above * weight
}

/// What up to a bound was counted.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct ClassicBucket {
    pub(super) upper: f64,
    pub(super) count: f64,
}

/// What had to be done to counts that fall from one bucket to the next, though each has those before it in it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Forced {
    /// The first and the last bucket that was raised.
    pub(super) buckets: (f64, f64),
    /// The most that was missing.
    pub(super) difference: f64,
}

/// A difference that is this small beside the two counts is taken to be rounding.
const SMALL: f64 = 1e-12;

/// The q-quantile of a classic histogram, with observations spread evenly within each bucket; and what had to be forced.
pub(super) fn bucket_quantile(q: f64, buckets: &mut Vec<ClassicBucket>) -> (f64, Option<Forced>) {
    if q.is_nan() {
        return (f64::NAN, None);
    }
    if q < 0.0 {
        return (f64::NEG_INFINITY, None);
    }
    if q > 1.0 {
        return (f64::INFINITY, None);
    }
    if !sorted_up_to_infinity(buckets) {
        return (f64::NAN, None);
    }
    let forced = force_monotonic(buckets);
    let observations = buckets.last().map_or(0.0, |last| last.count);
    if buckets.len() < 2 || observations == 0.0 {
        return (f64::NAN, forced);
    }
    let mut rank = q * observations;
    let last = buckets.len() - 1;
    let at = buckets[..last].partition_point(|bucket| bucket.count < rank);
    if at == last {
        return (buckets[last - 1].upper, forced);
    }
    let bucket = buckets[at];
    let (mut start, mut count) = (0.0, bucket.count);
    if at == 0 {
        if bucket.upper <= 0.0 {
            return (bucket.upper, forced);
        }
    } else {
        start = buckets[at - 1].upper;
        count -= buckets[at - 1].count;
        rank -= buckets[at - 1].count;
    }
    (start + (bucket.upper - start) * (rank / count), forced)
}

/// The part of the observations of a classic histogram between two numbers.
pub(super) fn bucket_fraction(lower: f64, upper: f64, buckets: &mut Vec<ClassicBucket>) -> f64 {
    if !sorted_up_to_infinity(buckets) {
        return f64::NAN;
    }
    let count = buckets.last().map_or(0.0, |last| last.count);
    if count == 0.0 || lower.is_nan() || upper.is_nan() {
        return f64::NAN;
    }
    if lower >= upper {
        return 0.0;
    }
    let mut start = if buckets[0].upper <= 0.0 { f64::NEG_INFINITY } else { 0.0 };
    let mut rank = 0.0;
    let (mut lower_rank, mut upper_rank): (Option<f64>, Option<f64>) = (None, None);
    for bucket in buckets.iter() {
        let rank_of = |value: f64| {
            if start >= value {
                Some(rank)
            } else if bucket.upper <= value {
                None
            } else if start == f64::NEG_INFINITY {
                Some(bucket.count)
            } else {
                Some(rank + (bucket.count - rank) * (value - start) / (bucket.upper - start))
            }
        };
        lower_rank = lower_rank.or_else(|| rank_of(lower));
        upper_rank = upper_rank.or_else(|| rank_of(upper));
        rank = bucket.count;
        start = bucket.upper;
    }
    let at_most = |rank: Option<f64>| rank.filter(|rank| *rank <= count).unwrap_or(count);
    (at_most(upper_rank) - at_most(lower_rank)) / count
}

/// Sorts by bound, adds up those with the same bound; whether the last bound is infinity.
fn sorted_up_to_infinity(buckets: &mut Vec<ClassicBucket>) -> bool {
    buckets.sort_by(|a, b| a.upper.total_cmp(&b.upper));
    if buckets.last().is_none_or(|last| last.upper != f64::INFINITY) {
        return false;
    }
    buckets.dedup_by(|next, kept| {
        let same = next.upper == kept.upper;
        if same {
            kept.count += next.count;
        }
        same
    });
    true
}

fn force_monotonic(buckets: &mut [ClassicBucket]) -> Option<Forced> {
    let mut forced: Option<Forced> = None;
    let mut previous = buckets[0].count;
    for bucket in &mut buckets[1..] {
        let count = bucket.count;
        if count == previous {
            continue;
        }
        let nearly = previous != 0.0
            && count != 0.0
            && (previous - count).abs() / (previous.abs() + count.abs()).min(f64::MAX) < SMALL;
        if nearly {
            bucket.count = previous;
        } else if count < previous {
            let known = forced.get_or_insert(Forced { buckets: (f64::INFINITY, f64::NEG_INFINITY), difference: 0.0 });
            known.buckets = (known.buckets.0.min(bucket.upper), known.buckets.1.max(bucket.upper));
            known.difference = known.difference.max(previous - count);
            bucket.count = previous;
        } else {
            previous = count;
        }
    }
    forced
}

#[cfg(test)]
mod tests {
    use super::*;

    fn buckets(list: &[(f64, f64)]) -> Vec<ClassicBucket> {
        list.iter().map(|(upper, count)| ClassicBucket { upper: *upper, count: *count }).collect()
    }

    #[test]
    fn quantiles_lie_between_numbers() {
        assert_eq!(quantile(0.5, &mut [3.0, 1.0, 2.0, 4.0]), 2.5);
        assert_eq!(quantile(1.0, &mut [3.0, f64::NAN]), 3.0);
        assert!(quantile(0.5, &mut []).is_nan());
        assert_eq!(quantile(-1.0, &mut [1.0]), f64::NEG_INFINITY);
    }

    #[test]
    fn classic_buckets_are_sorted_and_raised() {
        let mut list = buckets(&[(f64::INFINITY, 10.0), (1.0, 4.0), (2.0, 3.0)]);
        let (value, forced) = bucket_quantile(0.2, &mut list);
        assert_eq!(value, 0.5);
        assert_eq!(forced, Some(Forced { buckets: (2.0, 2.0), difference: 1.0 }));
        assert!(bucket_quantile(0.2, &mut buckets(&[(1.0, 4.0), (2.0, 8.0)])).0.is_nan());
    }

    #[test]
    fn fractions_are_interpolated() {
        let mut list = buckets(&[(1.0, 4.0), (2.0, 8.0), (f64::INFINITY, 8.0)]);
        assert_eq!(bucket_fraction(0.5, 1.5, &mut list), 0.5);
    }
}
