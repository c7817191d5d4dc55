use proptest::prelude::*;

use super::*;
use crate::histogram::trim::Keep;

fn exponential(schema: i32, offset: i32, counts: &[f64]) -> FloatHistogram {
    let count = counts.iter().sum();
    FloatHistogram {
        schema,
        count,
        sum: count,
        positive: Buckets::from_offset(offset, counts.to_vec()),
        ..FloatHistogram::default()
    }
}

fn custom(bounds: &[f64], counts: &[f64]) -> FloatHistogram {
    FloatHistogram { custom_values: bounds.into(), ..exponential(CUSTOM_BUCKETS, 0, counts) }
}

#[test]
fn a_histogram_is_written_with_its_populated_buckets() {
    let mut histogram = exponential(0, 0, &[1.0, 0.0, 2.5]);
    histogram.negative = Buckets::from_offset(1, vec![4.0]);
    histogram.zero_threshold = 0.001;
    histogram.zero_count = 3.0;
    histogram.count = 10_000_000.0;
    assert_eq!(histogram.to_string(), "{count:1e+07, sum:3.5, [-2,-1):4, [-0.001,0.001]:3, (0.5,1]:1, (2,4]:2.5}");
    assert_eq!(custom(&[5.0], &[1.0, 2.0]).to_string(), "{count:3, sum:3, [-Inf,5]:1, (5,+Inf]:2}");
}

#[test]
fn spans_become_indexes() {
    let buckets = Buckets::from_spans([(-1, 2), (3, 1)], &[1.0, 2.0, 3.0]);
    assert_eq!(buckets.index, [-1, 0, 4]);
    assert_eq!(Buckets::from_spans([(0, 5)], &[1.0]).len(), 1);
    assert_eq!(Buckets::from_spans([(0, 1)], &[1.0, 2.0]).len(), 1);
}

#[test]
fn the_sum_has_the_lower_resolution() {
    let mut sum = exponential(1, 1, &[1.0, 2.0, 4.0]);
    let combined = sum.add(&exponential(0, 1, &[10.0])).unwrap();
    assert_eq!(combined, Combined::default());
    assert_eq!((sum.schema, &sum.positive), (0, &Buckets::from_offset(1, vec![13.0, 4.0])));
    assert_eq!(sum.count.to_bits(), 17f64.to_bits());
}

#[test]
fn the_zero_bucket_widens_to_the_end_of_a_populated_bucket() {
    let mut sum = exponential(0, 1, &[1.0, 2.0]);
    let mut wide = exponential(0, 3, &[5.0]);
    wide.zero_threshold = 1.5;
    wide.zero_count = 7.0;
    sum.add(&wide).unwrap();
    assert_eq!((sum.zero_threshold, sum.zero_count), (2.0, 8.0));
    assert_eq!(sum.positive, Buckets { index: vec![2, 3], count: vec![2.0, 5.0] });
}

#[test]
fn custom_bounds_that_differ_become_those_of_both() {
    let mut sum = custom(&[1.0, 5.0, 10.0], &[1.0, 2.0, 3.0, 4.0]);
    let combined = sum.add(&custom(&[5.0, 7.0, 10.0], &[10.0, 20.0, 30.0, 40.0])).unwrap();
    assert!(combined.bounds_reconciled);
    assert_eq!(&*sum.custom_values, [5.0, 10.0]);
    assert_eq!(sum.positive, Buckets::from_offset(0, vec![13.0, 53.0, 44.0]));
}

#[test]
fn exponential_and_custom_buckets_do_not_mix() {
    assert_eq!(exponential(0, 0, &[1.0]).add(&custom(&[1.0], &[1.0])), Err(IncompatibleSchemas));
}

#[test]
fn opposite_hints_collide() {
    let mut sum = exponential(0, 0, &[1.0]);
    sum.counter_reset_hint = CounterResetHint::Reset;
    let mut other = sum.clone();
    other.counter_reset_hint = CounterResetHint::NotReset;
    assert!(sum.add(&other).unwrap().counter_reset_collision);
    assert_eq!(sum.counter_reset_hint, CounterResetHint::Unknown);
    other.counter_reset_hint = CounterResetHint::Gauge;
    assert!(!sum.add(&other).unwrap().counter_reset_collision);
    assert_eq!(sum.counter_reset_hint, CounterResetHint::Gauge);
}

#[test]
fn sums_keep_what_rounding_loses() {
    let mut sum = HistogramSum::new(exponential(0, 0, &[1e100]));
    sum.add(&exponential(0, 0, &[1.0])).unwrap();
    sum.add(&exponential(0, 0, &[-1e100, 4.0])).unwrap();
    sum.add(&exponential(0, -1, &[2.0])).unwrap();
    let total = sum.total();
    assert_eq!(total.positive, Buckets::from_offset(-1, vec![2.0, 1.0, 4.0]));
    assert_eq!(total.count.to_bits(), 3f64.to_bits(), "the four is lost in the helper already");
}

#[test]
fn a_reset_is_a_count_that_fell_or_a_bucket_that_is_gone() {
    let before = exponential(0, 0, &[1.0, 2.0]);
    assert!(!exponential(0, 0, &[1.0, 2.0]).detect_reset(&before));
    assert!(!exponential(0, -1, &[9.0, 1.0, 2.0, 1.0]).detect_reset(&before));
    assert!(exponential(0, 0, &[9.0, 1.0]).detect_reset(&before));
    assert!(exponential(0, 1, &[9.0]).detect_reset(&before));
    assert!(exponential(1, 0, &[9.0, 9.0, 9.0, 9.0]).detect_reset(&before), "resolution grows with a reset only");
    assert!(!exponential(-1, 0, &[1.0, 2.0]).detect_reset(&before), "resolution falls without one");
    let mut hinted = before.clone();
    hinted.counter_reset_hint = CounterResetHint::Reset;
    assert!(hinted.detect_reset(&before));
}

#[test]
fn resets_with_other_custom_bounds_are_found_at_the_common_ones() {
    let before = custom(&[1.0, 5.0], &[1.0, 1.0, 1.0]);
    assert!(!custom(&[5.0, 10.0], &[2.0, 1.0, 1.0]).detect_reset(&before));
    assert!(custom(&[5.0, 10.0], &[1.0, 5.0, 1.0]).detect_reset(&before));
}

#[test]
fn quantiles_and_fractions_are_each_others_inverse() {
    let histogram = exponential(0, 0, &[2.0, 4.0, 2.0]);
    for q in [0.1, 0.3, 0.5, 0.8, 1.0] {
        let value = histogram.quantile(q).value;
        let back = histogram.fraction(f64::NEG_INFINITY, value).value;
        assert!((back - q).abs() < 1e-12, "{q}: {value}, {back}");
    }
    assert_eq!(histogram.quantile(0.5).value.to_bits(), 2f64.sqrt().to_bits());
    assert!(FloatHistogram::default().quantile(0.5).value.is_nan());
}

#[test]
fn observations_that_are_no_numbers_are_said() {
    let mut histogram = exponential(0, 0, &[2.0, 4.0]);
    histogram.sum = f64::NAN;
    histogram.count = 8.0;
    assert_eq!(histogram.quantile(0.5).nan, NanObservations::Beside);
    assert_eq!(histogram.quantile(0.9).nan, NanObservations::Reached);
    assert_eq!(histogram.fraction(0.0, 100.0).nan, NanObservations::Beside);
}

#[test]
fn trimming_keeps_one_side() {
    let mut below = custom(&[5.0, 10.0], &[2.0, 4.0, 6.0]);
    below.trim(7.5, Keep::Below);
    assert_eq!(below.positive, Buckets::from_offset(0, vec![2.0, 2.0]));
    assert_eq!((below.count, below.sum), (4.0, 2.0 * 2.5 + 2.0 * 6.25));
    let mut above = custom(&[5.0, 10.0], &[2.0, 4.0, 6.0]);
    above.trim(7.5, Keep::Above);
    assert_eq!(above.positive, Buckets { index: vec![1, 2], count: vec![2.0, 6.0] });
    let mut whole = exponential(0, 0, &[1.0]);
    whole.sum = 0.7;
    whole.trim(4.0, Keep::Below);
    assert_eq!(whole.sum.to_bits(), 0.7f64.to_bits());
}

fn hostile() -> impl Strategy<Value = FloatHistogram> {
    let number = prop_oneof![4 => (-3i32..9).prop_map(f64::from), 1 => any::<f64>()];
    let side =
        (any::<i8>(), proptest::collection::vec((0i32..3, number.clone()), 0..6)).prop_map(|(offset, counts)| {
            let spans: Vec<_> =
                std::iter::once((i32::from(offset), 0)).chain(counts.iter().map(|(gap, _)| (*gap, 1))).collect();
            Buckets::from_spans(spans, &counts.iter().map(|(_, count)| *count).collect::<Vec<_>>())
        });
    let schema = prop_oneof![6 => -4i32..9, 3 => Just(CUSTOM_BUCKETS), 1 => any::<i32>()];
    let hint = prop_oneof![
        Just(CounterResetHint::Unknown),
        Just(CounterResetHint::Reset),
        Just(CounterResetHint::NotReset),
        Just(CounterResetHint::Gauge)
    ];
    let bounds = proptest::collection::vec(-5i32..9, 0..4).prop_map(|mut bounds| {
        bounds.sort_unstable();
        bounds.dedup();
        bounds.into_iter().map(f64::from).collect::<Vec<_>>()
    });
    (schema, hint, side.clone(), side, bounds, [number.clone(), number.clone(), number.clone(), number]).prop_map(
        |(schema, counter_reset_hint, positive, negative, bounds, [count, sum, zero_count, zero_threshold])| {
            let custom = schema == CUSTOM_BUCKETS;
            FloatHistogram {
                counter_reset_hint,
                schema,
                zero_threshold: if custom { 0.0 } else { zero_threshold.abs() },
                zero_count: if custom { 0.0 } else { zero_count },
                count,
                sum,
                positive,
                negative: if custom { Buckets::default() } else { negative },
                custom_values: if custom { bounds.into() } else { Vec::new().into() },
            }
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_histogram_makes_anything_fail(one in hostile(), other in hostile(), number in any::<f64>()) {
        let mut sum = one.clone();
        let added = sum.add(&other);
        let mut kept = HistogramSum::new(one.clone());
        prop_assert_eq!(kept.add(&other).is_ok(), added.is_ok());
        if added.is_ok() {
            let total = kept.total();
            prop_assert_eq!(&total.positive.index, &sum.positive.index);
            prop_assert_eq!(total.schema, sum.schema);
        }
        prop_assert_eq!(one.clone().subtract(&other).is_ok(), added.is_ok());
        let _ = one.detect_reset(&other);
        for keep in [Keep::Below, Keep::Above] {
            one.clone().trim(number, keep);
        }
        let (q, _, _) = (one.quantile(number), one.quantile(0.3), one.quantile(0.9));
        let (part, _) = (one.fraction(number, q.value), one.fraction(-1.0, 3.0));
        prop_assert!(part.value.is_nan() || number < q.value || part.value == 0.0);
        let _ = (one.variance(), one.to_string(), one.buckets().rev().count());
        prop_assert!(one.same_data(&one.clone()));
    }
}

#[test]
fn one_made_by_hand_is_looked_at() {
    let whole =
        FloatHistogram { count: 1.0, positive: Buckets::from_offset(0, vec![1.0]), ..FloatHistogram::default() };
    let custom = FloatHistogram { schema: CUSTOM_BUCKETS, custom_values: [1.0, 2.0].into(), ..whole.clone() };
    assert_eq!((whole.check(), custom.check()), (Ok(()), Ok(())));
    for (wrong, said) in [
        (FloatHistogram { schema: 9, ..whole.clone() }, "schema 9"),
        (FloatHistogram { count: -1.0, ..whole.clone() }, "count -1"),
        (FloatHistogram { zero_count: f64::NAN, ..whole.clone() }, "count NaN"),
        (FloatHistogram { zero_threshold: f64::INFINITY, ..whole.clone() }, "threshold inf"),
        (FloatHistogram { custom_values: [1.0].into(), ..whole.clone() }, "need the schema -53"),
        (FloatHistogram { positive: Buckets { index: vec![2, 1], count: vec![1.0, 1.0] }, ..whole.clone() }, "order"),
        (
            FloatHistogram { positive: Buckets::from_offset(3, vec![1.0]), ..custom.clone() },
            "bucket 3: expected 0 to 2",
        ),
        (FloatHistogram { negative: Buckets::from_offset(0, vec![1.0]), ..custom.clone() }, "positive buckets only"),
        (FloatHistogram { custom_values: [2.0, 1.0].into(), ..custom.clone() }, "ascending"),
    ] {
        let found = wrong.check().unwrap_err();
        assert!(found.contains(said), "{found}");
    }
}
