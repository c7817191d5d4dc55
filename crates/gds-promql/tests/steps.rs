//! A range query answers at each step what an instant query answers at that time.

use std::collections::BTreeMap;
use std::sync::Arc;

use gds_promql::engine::Engine;
use gds_promql::histogram::{Buckets, FloatHistogram};
use gds_promql::labels::Labels;
use gds_promql::memory::MemorySource;
use gds_promql::value::{STALE_NAN, Sample, Value};
use proptest::prelude::*;

const SERIES: [(&str, &str, &str); 8] = [
    ("a", "x", "1"),
    ("a", "x", "2"),
    ("a", "y", "1"),
    ("b_total", "x", "1"),
    ("b_total", "y", "1"),
    ("b_total", "y", "3"),
    ("h", "x", "1"),
    ("h", "y", "2"),
];

/// Samples some seconds apart, with gaps, resets, stale markers, numbers that are none, and histograms of metric `h`.
fn data() -> impl Strategy<Value = MemorySource> {
    let sample = (0u8..40, 1i64..40, 0u8..30);
    let series = proptest::collection::vec(sample, 0..40);
    proptest::collection::vec(series, SERIES.len()).prop_map(|all| {
        let mut source = MemorySource::new();
        for ((name, job, instance), samples) in SERIES.iter().zip(all) {
            let labels = Labels::from_pairs([("__name__", *name), ("job", job), ("instance", instance)]);
            let (mut time, mut total) = (0, 0.0);
            for (growth, gap, kind) in samples {
                time += gap * 1_000;
                total = if kind == 1 { 0.0 } else { total + f64::from(growth) };
                let number = match kind {
                    2 => f64::from_bits(STALE_NAN),
                    3 => f64::NAN,
                    _ => total,
                };
                let value = if *name == "h" && kind > 3 {
                    let count = vec![total, f64::from(growth)];
                    Sample::Histogram(Arc::new(FloatHistogram {
                        count: count.iter().sum(),
                        sum: total,
                        positive: Buckets::from_offset(0, count),
                        ..FloatHistogram::default()
                    }))
                } else {
                    Sample::Float(number)
                };
                source.append(&labels, time, 0, value);
            }
        }
        source
    })
}

fn selector() -> impl Strategy<Value = String> {
    let metric = prop_oneof![Just("a"), Just("b_total"), Just("h"), Just("{__name__=~\"a|b_total\"}")];
    let modifier = prop_oneof![4 => Just(""), 1 => Just(" offset 20s"), 1 => Just(" offset -15s"), 1 => Just(" @ 300")];
    (metric, modifier).prop_map(|(metric, modifier)| format!("{metric}{modifier}"))
}

fn windowed() -> impl Strategy<Value = String> {
    let function = prop_oneof![
        Just("rate"),
        Just("increase"),
        Just("delta"),
        Just("irate"),
        Just("idelta"),
        Just("changes"),
        Just("resets"),
        Just("deriv"),
        Just("sum_over_time"),
        Just("avg_over_time"),
        Just("max_over_time"),
        Just("count_over_time"),
        Just("last_over_time"),
        Just("first_over_time"),
        Just("stddev_over_time"),
        Just("mad_over_time"),
        Just("ts_of_max_over_time"),
        Just("absent_over_time"),
        Just("present_over_time"),
    ];
    let metric = prop_oneof![Just("a"), Just("b_total"), Just("h")];
    let range = prop_oneof![Just("7s"), Just("45s"), Just("3m")];
    let modifier = prop_oneof![5 => Just(""), 1 => Just(" offset 20s"), 1 => Just(" @ 250")];
    (function, metric, range, modifier)
        .prop_map(|(function, metric, range, modifier)| format!("{function}({metric}[{range}]{modifier})"))
}

fn extended() -> impl Strategy<Value = String> {
    let function = prop_oneof![Just("rate"), Just("increase"), Just("delta")];
    let modifier = prop_oneof![Just("anchored"), Just("smoothed")];
    (function, modifier).prop_map(|(function, modifier)| format!("{function}(b_total[1m] {modifier})"))
}

/// Vectors whose series come in the order of their labels at every step, whichever steps there are.
fn ordered() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![3 => selector(), 3 => windowed(), 1 => extended()];
    let function =
        prop_oneof![Just(""), Just("abs"), Just("-"), Just("ceil"), Just("timestamp"), Just("histogram_count")];
    (function, leaf).prop_map(|(function, leaf)| format!("{function}({leaf})"))
}

/// Expressions whose value at a step does not depend on which steps there are besides it.
///
/// The groups of an aggregation and the pairs of an operator come in the order in which they are met, which in a range is
/// another one than at a step of it. So what depends on an order to the last bit, or chooses among equals, is asked of
/// [`ordered`] vectors, and sums elsewhere are of whole numbers. Both sides of `or` have lost their names, since a series
/// that comes from either side has the name that it has at its first step.
fn expression() -> impl Strategy<Value = String> {
    let by_order = prop_oneof![
        Just("sum("),
        Just("sum by (job) ("),
        Just("avg without (instance) ("),
        Just("stddev("),
        Just("topk(2, "),
        Just("bottomk by (job) (1, "),
        Just("limitk(2, "),
    ];
    let leaf = prop_oneof![
        3 => selector(),
        3 => windowed(),
        1 => extended(),
        2 => (by_order, ordered()).prop_map(|(aggregation, inner)| format!("{aggregation}{inner})")),
        1 => Just("time()*0+vector(3)".to_owned()),
    ];
    leaf.prop_recursive(4, 24, 3, |inner| {
        let function = prop_oneof![
            Just("abs"),
            Just("-"),
            Just("ceil"),
            Just("timestamp"),
            Just("absent"),
            Just("sgn"),
            Just("histogram_count"),
            Just("round"),
            Just("minute"),
            Just("vector(7) or "),
        ];
        let aggregation = prop_oneof![
            Just("sum(round("),
            Just("sum by (job) (round("),
            Just("avg without (instance) (round("),
            Just("count(("),
            Just("min by (instance) (("),
            Just("max(("),
            Just("group by (job) (("),
            Just("quantile(0.4, ("),
            Just("limit_ratio(0.6, ("),
            Just("count_values(\"v\", ("),
        ];
        let operator = prop_oneof![
            Just("+"),
            Just("-"),
            Just("* on (job, instance)"),
            Just("/ ignoring (instance) group_left"),
            Just("> bool"),
            Just("<="),
            Just("=="),
            Just("and on (job)"),
            Just("unless on (instance)"),
            Just("+ fill(2)"),
        ];
        let over = prop_oneof![
            Just("max_over_time"),
            Just("rate"),
            Just("sum_over_time"),
            Just("last_over_time"),
            Just("changes"),
        ];
        prop_oneof![
            (function, inner.clone()).prop_map(|(function, inner)| format!("{function}({inner})")),
            (aggregation, inner.clone()).prop_map(|(aggregation, inner)| format!("{aggregation}{inner}))")),
            (inner.clone(), operator, inner.clone())
                .prop_map(|(left, operator, right)| format!("({left}) {operator} ({right})")),
            (inner.clone(), inner.clone()).prop_map(|(left, right)| format!("(-({left})) or (-({right}))")),
            (over, inner.clone()).prop_map(|(over, inner)| format!("{over}(({inner})[2m:20s])")),
            (inner.clone(), 0..5u8).prop_map(|(inner, number)| format!("({inner}) * {number}")),
            inner.prop_map(|inner| format!("label_replace({inner}, \"kind\", \"$1\", \"job\", \"(.)\")")),
        ]
    })
}

type AtTime = BTreeMap<Labels, String>;

/// Values as texts, so that numbers that are none are the same.
fn text(sample: &Sample) -> String {
    match sample {
        Sample::Float(number) if number.is_nan() => "NaN".to_owned(),
        Sample::Float(number) => format!("{number:?}"),
        Sample::Histogram(histogram) => histogram.to_string(),
    }
}

const STEPS: [i64; 3] = [60_000, 480_000, 13_000];

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_range_is_its_instants(source in data(), query in expression()) {
        let [start, end, step] = STEPS;
        let engine = Engine::default();
        let instants: Vec<_> = (start..=end)
            .step_by(usize::try_from(step).unwrap())
            .map(|time| (time, engine.instant(&query, &source, time)))
            .collect();
        match engine.range(&query, &source, start, end, step) {
            // One step that has no answer leaves the range without one.
            Err(error) => prop_assert!(
                instants.iter().any(|(_, instant)| instant.is_err()),
                "only the range fails: {error}"
            ),
            Ok(range) => {
                let Value::Matrix(series) = range.value else { return Err(TestCaseError::fail("no matrix")) };
                let mut by_time: BTreeMap<i64, AtTime> = BTreeMap::new();
                for one in &series {
                    for point in &one.points {
                        by_time.entry(point.t).or_default().insert(one.labels.clone(), text(&point.value));
                    }
                }
                for (time, instant) in instants {
                    let instant = instant.map_err(|error| TestCaseError::fail(format!("at {time}: {error}")))?;
                    let at: AtTime = match instant.value {
                        Value::Vector(samples) => {
                            samples.into_iter().map(|sample| (sample.labels, text(&sample.value))).collect()
                        }
                        Value::Scalar { v, .. } => BTreeMap::from([(Labels::empty(), text(&Sample::Float(v)))]),
                        other => return Err(TestCaseError::fail(format!("unexpected {other:?}"))),
                    };
                    prop_assert_eq!(at, by_time.remove(&time).unwrap_or_default(), "at {}", time);
                }
            }
        }
    }
}
