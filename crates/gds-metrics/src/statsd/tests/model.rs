//! Whatever is reported and however the network fails: servers end up with what a plain sum says.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use proptest::collection::vec;
use proptest::prelude::*;

use crate::key::Change;
use crate::key::MetricKind;

use super::super::Outcome;
use super::super::options::StatsdOptions;
use super::{Bench, Fate, key};

/// Text with what the protocol gives a meaning, often.
fn text() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        "[a-z.]{0,8}",
        any::<char>().prop_map(String::from),
        prop::sample::select(vec![":", "|", "@", "#", ",", "\n", "\r", "\0", " ", "\u{2028}", "|#", "|@0.5", "-1|g\n"])
            .prop_map(String::from),
    ];
    vec(piece, 0..4).prop_map(|pieces| pieces.concat())
}

fn kind() -> impl Strategy<Value = MetricKind> {
    prop::sample::select(MetricKind::ALL.to_vec())
}

fn fate() -> impl Strategy<Value = Fate> {
    prop_oneof![
        4 => Just(Fate::Arrives),
        1 => Just(Fate::Blocked),
        1 => Just(Fate::Limited(100)),
    ]
}

#[derive(Clone, Debug)]
enum Step {
    Report {
        kind: MetricKind,
        series: usize,
        value: i32,
    },
    /// A flush in which the server is there, but not every packet gets through.
    Flush(Vec<Fate>),
    /// A flush in which it is not, which is known after so many packets.
    Absent {
        delay: usize,
    },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        20 => (kind(), 0..12_usize, -100..1000).prop_map(|(kind, series, value)| Step::Report { kind, series, value }),
        2 => vec(fate(), 1..6).prop_map(Step::Flush),
        1 => (0..5_usize).prop_map(|delay| Step::Absent { delay }),
    ]
}

proptest! {
    #[test]
    fn any_text_and_number_arrives_or_is_dropped(
        prefix in text(),
        constant in vec((text(), text()), 0..2),
        reports in vec((kind(), text(), vec((text(), text()), 0..4), any::<f64>(), 0..1000_u32), 0..30),
        pack_values in any::<bool>(),
    ) {
        let constant_tags = constant.into_iter().filter(|(name, _)| !name.is_empty()).collect();
        let max_packet_bytes = Some(4096);
        let options =
            StatsdOptions { prefix, constant_tags, max_packet_bytes, pack_values, ..StatsdOptions::default() };
        let mut bench = Bench::new(&options, true);
        let (mut sum, mut samples, mut gauges) = (0.0, Vec::new(), 0);
        for (kind, name, labels, float, whole) in &reports {
            let labels: Vec<_> = labels.iter().map(|(name, value)| (&**name, &**value)).collect();
            // Sums of floats depend on their order, so counters take whole numbers.
            let value = if *kind == MetricKind::Counter { f64::from(*whole) } else { *float };
            let outcome = bench.aggregate.report(*kind, Change::Report, &key(name, &labels), value);
            prop_assert_eq!(outcome == Outcome::Counted, value.is_finite() && !name.is_empty());
            match (outcome, kind) {
                (Outcome::Dropped(_), _) => {}
                (_, MetricKind::Counter) => sum += value,
                (_, MetricKind::Gauge) => gauges += 1,
                (_, MetricKind::Histogram | MetricKind::Timing) => samples.push(value + 0.0),
            }
        }
        bench.flush().unwrap();
        let server = bench.server();
        prop_assert!(server.longest_packet() <= 4096);
        prop_assert_eq!(server.counters.values().sum::<f64>(), sum);
        prop_assert_eq!(server.datadog_gauges.is_empty(), gauges == 0);
        prop_assert_eq!(&server.datadog_gauges, &server.plain_gauges);
        let mut arrived: Vec<_> = server.samples.values().flatten().map(|(value, _)| *value).collect();
        arrived.sort_by(f64::total_cmp);
        samples.sort_by(f64::total_cmp);
        prop_assert_eq!(arrived, samples);
        prop_assert_eq!(bench.aggregate.buffer.taken(), 0);
    }

    #[test]
    fn failures_lose_nothing_and_double_nothing(
        steps in vec(step(), 0..150),
        certain in any::<bool>(),
        pack_values in any::<bool>(),
        max_buffered_samples in 1..40_usize,
    ) {
        let max_packet_bytes = Some(200);
        let options = StatsdOptions { max_packet_bytes, max_buffered_samples, pack_values, ..StatsdOptions::default() };
        let mut bench = Bench::new(&options, certain);
        let (mut counters, mut gauges) = (BTreeMap::new(), BTreeMap::new());
        let mut samples = 0;
        for step in steps {
            match step {
                Step::Report { kind, series, value } => {
                    let (name, value) = (format!("name{series}"), f64::from(value));
                    let outcome = bench.aggregate.report(kind, Change::Report, &key(&name, &[("a", "b")]), value);
                    let series = format!("{name}|#a:b");
                    match kind {
                        MetricKind::Counter if value > 0.0 => *counters.entry(series).or_default() += value,
                        MetricKind::Counter => prop_assert_eq!(outcome == Outcome::Counted, value == 0.0),
                        MetricKind::Gauge => drop(gauges.insert(series, value)),
                        MetricKind::Histogram | MetricKind::Timing => samples += 1,
                    }
                }
                Step::Flush(fates) => {
                    bench.wire.fates = fates;
                    let _ = bench.flush();
                }
                Step::Absent { delay } => {
                    bench.wire.fates = vec![Fate::Refused];
                    bench.wire.delay = delay;
                    let _ = bench.flush();
                }
            }
            prop_assert!(bench.aggregate.buffer.taken() <= max_buffered_samples);
        }
        bench.wire.fates = vec![Fate::Arrives];
        // The first of these may end with the refusal of a packet before it.
        let _ = bench.flush();
        bench.flush().unwrap();
        let server = bench.server();
        prop_assert_eq!(&server.counters, &counters);
        prop_assert_eq!(&server.plain_gauges, &gauges);
        prop_assert_eq!(&server.datadog_gauges, &gauges);
        prop_assert_eq!(server.sample_count() + bench.aggregate.buffer.dropped.load(Ordering::Relaxed), samples);
        prop_assert_eq!(bench.aggregate.buffer.taken(), 0);
        prop_assert!(server.longest_packet() <= 200);
    }
}
