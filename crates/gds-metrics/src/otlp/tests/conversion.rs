use std::collections::HashMap;

use opentelemetry_proto::tonic::metrics::v1::{AggregationTemporality, exemplar, metric};
use proptest::prelude::*;
use prost::Message as _;

use crate::key::MetricKind;
use crate::otlp::Temporality;
use crate::otlp::convert::{Batch, Converter, Limits, Position};
use crate::otlp::testing::{distribution, family, float, metrics, number, numbers, texts};
use crate::snapshot::{Exemplar, Family, Series, TraceContext, Value};

fn converter(temporality: Temporality) -> Converter {
    Converter::new(&[("service.name".to_owned(), "shop".to_owned())], temporality, Limits::default())
}

fn batches(converter: &mut Converter, families: &[Family], now: u64) -> Vec<Batch> {
    converter.begin(families);
    let mut position = Position::default();
    std::iter::from_fn(|| converter.next_batch(families, now, &mut position)).collect()
}

/// Converts, acknowledges, and gives the only metric there is, if there is one.
fn acknowledged(converter: &mut Converter, families: &[Family], now: u64) -> Option<metric::Data> {
    let mut all = batches(converter, families, now);
    assert!(all.len() <= 1);
    let (mut request, receipt) = all.pop()?.into_parts();
    converter.acknowledge(receipt);
    request.resource_metrics[0].scope_metrics[0].metrics.pop()?.data
}

#[test]
fn a_request_says_who_what_and_in_which_unit() {
    let mut timing = family("vault.secret.fetch", MetricKind::Timing, vec![distribution(3, 2.5, &[1, 0, 2])]);
    timing.unit = "seconds".into();
    timing.help = "time to fetch".into();
    let mut sizes = family("sizes", MetricKind::Histogram, vec![distribution(4, 9.0, &[0, 1, 0])]);
    sizes.unit = "bytes".into();
    let mut gauge = family("level", MetricKind::Gauge, vec![number(2, &[], -3.5)]);
    gauge.unit = "percent".into();
    let families =
        [family("requests", MetricKind::Counter, vec![number(1, &["a", "x", "b", "y"], 7.0)]), gauge, timing, sizes];
    let all = batches(&mut converter(Temporality::Cumulative), &families, 9);
    assert_eq!(all.len(), 1);
    assert_eq!(all[0].points, 4);
    let resource = &all[0].request.resource_metrics[0];
    assert_eq!(texts(&resource.resource.as_ref().unwrap().attributes), [("service.name", "shop")]);
    let scope = resource.scope_metrics[0].scope.as_ref().unwrap();
    assert_eq!((&*scope.name, &*scope.version), ("gds_metrics", env!("CARGO_PKG_VERSION")));

    let found: Vec<_> = metrics(&all[0].request).collect();
    let heads: Vec<_> = found.iter().map(|metric| (&*metric.name, &*metric.unit, &*metric.description)).collect();
    assert_eq!(
        heads,
        [
            ("requests", "", ""),
            ("level", "percent", ""),
            ("vault.secret.fetch", "s", "time to fetch"),
            ("sizes", "By", "")
        ]
    );
    let Some(metric::Data::Sum(sum)) = &found[0].data else { panic!("{:?}", found[0]) };
    assert!(sum.is_monotonic);
    assert_eq!(sum.aggregation_temporality(), AggregationTemporality::Cumulative);
    let point = &sum.data_points[0];
    assert_eq!(texts(&point.attributes), [("a", "x"), ("b", "y")]);
    assert_eq!((point.start_time_unix_nano, point.time_unix_nano), (5, 9));
    assert_eq!(point.value, Some(opentelemetry_proto::tonic::metrics::v1::number_data_point::Value::AsDouble(7.0)));
    assert!(matches!(&found[1].data, Some(metric::Data::Gauge(_))));
    let Some(metric::Data::Histogram(histogram)) = &found[2].data else { panic!("{:?}", found[2]) };
    assert_eq!(histogram.aggregation_temporality(), AggregationTemporality::Cumulative);
    let point = &histogram.data_points[0];
    assert_eq!((point.count, point.sum), (3, Some(2.5)));
    assert_eq!((&*point.bucket_counts, &*point.explicit_bounds), (&[1, 0, 2][..], &[0.1, 1.0][..]));
}

#[test]
fn exemplars_carry_their_trace_and_deltas_only_the_new_ones() {
    let trace = TraceContext { trace_id: [1; 16], span_id: [2; 8] };
    let mut series = number(1, &[], 1.0);
    series.exemplars = vec![Exemplar { trace, value: 1.0, nanos: 7, bucket: 0 }];
    let families = |series: &Series| [family("x", MetricKind::Counter, vec![series.clone()])];
    let exemplars = |data: Option<metric::Data>| match data {
        Some(metric::Data::Sum(mut sum)) => sum.data_points.remove(0).exemplars,
        other => panic!("{other:?}"),
    };
    let mut delta = converter(Temporality::Delta);
    let found = exemplars(acknowledged(&mut delta, &families(&series), 10));
    assert_eq!(found.len(), 1);
    assert_eq!((&*found[0].trace_id, &*found[0].span_id), (&[1; 16][..], &[2; 8][..]));
    assert_eq!((found[0].time_unix_nano, found[0].value), (7, Some(exemplar::Value::AsDouble(1.0))));
    series.value = Value::Number(2.0);
    assert_eq!(exemplars(acknowledged(&mut delta, &families(&series), 20)), []);
    let mut cumulative = converter(Temporality::Cumulative);
    for now in [10, 20] {
        assert_eq!(exemplars(acknowledged(&mut cumulative, &families(&series), now)).len(), 1);
    }
}

#[test]
fn a_delta_begins_where_the_last_acknowledged_one_ended() {
    let mut converter = converter(Temporality::Delta);
    let families = |value| [family("x", MetricKind::Counter, vec![number(1, &[], value)])];
    let point = |data: Option<metric::Data>| match data {
        Some(metric::Data::Sum(sum)) => {
            assert_eq!(sum.aggregation_temporality(), AggregationTemporality::Delta);
            let point = &sum.data_points[0];
            (point.start_time_unix_nano, point.time_unix_nano, float(point))
        }
        other => panic!("{other:?}"),
    };
    assert_eq!(point(acknowledged(&mut converter, &families(3.0), 10)), (5, 10, 3.0));
    assert_eq!(point(acknowledged(&mut converter, &families(4.0), 20)), (10, 20, 1.0));
    // Lost: its change is part of the next.
    assert_eq!(batches(&mut converter, &families(6.0), 30).len(), 1);
    assert_eq!(point(acknowledged(&mut converter, &families(7.0), 40)), (20, 40, 3.0));
    // Unchanged: left out, and the gap belongs to the next.
    assert!(acknowledged(&mut converter, &families(7.0), 50).is_none());
    assert_eq!(point(acknowledged(&mut converter, &families(8.0), 60)), (40, 60, 1.0));
    // The clock was set back.
    assert_eq!(point(acknowledged(&mut converter, &families(9.0), 30)), (30, 30, 1.0));
}

#[test]
fn deltas_of_distributions_are_deltas_of_every_part() {
    let mut converter = converter(Temporality::LowMemory);
    let families = |sum, buckets: &[u64]| [family("x", MetricKind::Histogram, vec![distribution(1, sum, buckets)])];
    let point = |data: Option<metric::Data>| match data {
        Some(metric::Data::Histogram(mut histogram)) => histogram.data_points.remove(0),
        other => panic!("{other:?}"),
    };
    acknowledged(&mut converter, &families(1.0, &[1, 2, 3]), 10);
    let delta = point(acknowledged(&mut converter, &families(3.0, &[1, 4, 4]), 20));
    assert_eq!((delta.count, delta.sum, &*delta.bucket_counts), (3, Some(2.0), &[0, 2, 1][..]));
    assert!(acknowledged(&mut converter, &families(3.0, &[1, 4, 4]), 30).is_none());
    // It began again, which a series does not do under one id; still no count may wrap.
    let restarted = point(acknowledged(&mut converter, &families(0.5, &[1, 0, 0]), 40));
    assert_eq!((restarted.count, restarted.sum), (1, Some(0.5)));
}

#[test]
fn values_that_are_not_finite_do_no_harm() {
    for temporality in [Temporality::Cumulative, Temporality::Delta] {
        let mut converter = converter(temporality);
        for value in [f64::INFINITY, f64::NAN, f64::NEG_INFINITY, f64::INFINITY] {
            for now in [10, 20] {
                let families = [
                    family("c", MetricKind::Counter, vec![number(1, &[], value)]),
                    family("g", MetricKind::Gauge, vec![number(2, &[], value)]),
                    family("h", MetricKind::Histogram, vec![distribution(3, value, &[1, 1, now])]),
                ];
                for batch in batches(&mut converter, &families, now) {
                    let (request, receipt) = batch.into_parts();
                    for metric in metrics(&request) {
                        let Some(metric::Data::Histogram(histogram)) = &metric.data else { continue };
                        assert!(histogram.data_points.iter().all(|point| !point.sum.is_some_and(f64::is_nan)));
                    }
                    converter.acknowledge(receipt);
                }
            }
        }
    }
}

#[test]
fn gauges_have_no_temporality() {
    let mut converter = converter(Temporality::Delta);
    for now in [10, 20] {
        let families = [family("g", MetricKind::Gauge, vec![number(1, &[], 4.0)])];
        match acknowledged(&mut converter, &families, now) {
            Some(metric::Data::Gauge(gauge)) => assert_eq!(float(&gauge.data_points[0]).to_bits(), 4f64.to_bits()),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(converter.remembered(), 0);
}

#[test]
fn memory_is_bounded_by_the_series_that_live() {
    let mut converter = converter(Temporality::Delta);
    for round in 0..10 {
        let series = (0..100).map(|id| number(round * 100 + id, &[], 1.0)).collect();
        assert!(acknowledged(&mut converter, &[family("x", MetricKind::Counter, series)], 10).is_some());
        assert_eq!(converter.remembered(), 100);
    }
    assert!(acknowledged(&mut converter, &[], 20).is_none());
    assert_eq!(converter.remembered(), 0);
}

#[test]
fn a_series_that_does_not_fit_its_family_is_left_out() {
    let families = [
        family("c", MetricKind::Counter, vec![distribution(1, 1.0, &[1, 1, 1]), number(2, &[], 1.0)]),
        family("h", MetricKind::Histogram, vec![number(3, &[], 1.0), distribution(4, 1.0, &[1])]),
    ];
    let all = batches(&mut converter(Temporality::Cumulative), &families, 9);
    assert_eq!(all.len(), 1);
    assert_eq!((all[0].points, metrics(&all[0].request).count()), (1, 1));
}

#[test]
fn nothing_to_send_is_no_request() {
    for families in [vec![], vec![family("x", MetricKind::Counter, vec![])]] {
        assert!(batches(&mut converter(Temporality::Cumulative), &families, 9).is_empty());
    }
}

#[test]
fn large_snapshots_become_several_requests_that_servers_accept() {
    let long = "v".repeat(2_000);
    let few = (0..4_000).map(|id| number(id, &["label", &long], 1.0)).collect();
    let many = (4_000..16_001).map(|id| number(id, &[], 1.0)).collect();
    let families = [family("few", MetricKind::Counter, few), family("many", MetricKind::Gauge, many)];
    let all = batches(&mut converter(Temporality::Cumulative), &families, 9);
    assert_eq!(all.iter().map(|batch| batch.points).sum::<usize>(), 16_001);
    for batch in &all {
        assert!(batch.points <= 5_000 && batch.request.encoded_len() < 4 << 20);
        assert_eq!(metrics(&batch.request).flat_map(numbers).count(), batch.points);
    }
    assert!(all.len() < 10);
}

#[test]
fn a_point_larger_than_a_request_goes_alone() {
    let limits = Limits { points: 0, bytes: 0 };
    let converter = Converter::new(&[], Temporality::Cumulative, limits);
    let families = [family("x", MetricKind::Counter, (0..3).map(|id| number(id, &[], 1.0)).collect())];
    let mut position = Position::default();
    for _ in 0..3 {
        assert_eq!(converter.next_batch(&families, 9, &mut position).unwrap().points, 1);
    }
    assert!(converter.next_batch(&families, 9, &mut position).is_none());
}

#[derive(Clone, Debug)]
enum Step {
    /// Adds to a series, making it if need be.
    Add(u64, u32),
    /// Ends a series.
    Expire(u64),
    /// Exports; the batches are acknowledged in turn as this says, the rest not.
    Export(Vec<bool>),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..8_u64, 0..100_u32).prop_map(|(slot, value)| Step::Add(slot, value)),
        1 => (0..8_u64).prop_map(Step::Expire),
        3 => prop::collection::vec(any::<bool>(), 0..6).prop_map(Step::Export),
    ]
}

/// A registry of eight places whose series get a new id each time they are made.
#[derive(Default)]
struct Model {
    next_id: u64,
    live: HashMap<u64, (u64, f64, [u64; 3])>,
}

impl Model {
    fn add(&mut self, slot: u64, value: u32) {
        let next_id = &mut self.next_id;
        let (_, total, buckets) = self.live.entry(slot).or_insert_with(|| {
            *next_id += 2;
            (*next_id, 0.0, [0; 3])
        });
        *total += f64::from(value);
        buckets[value as usize % 3] += 1;
    }

    fn families(&self) -> [Family; 2] {
        let numbers = self.live.values().map(|(id, total, _)| number(*id, &[], *total));
        let distributions = self.live.values().map(|(id, total, buckets)| distribution(id + 1, *total, buckets));
        let tagged = |mut series: Series| {
            series.labels = [Box::from("id"), series.id.to_string().into()].into();
            series
        };
        [
            family("c", MetricKind::Counter, numbers.map(tagged).collect()),
            family("h", MetricKind::Timing, distributions.map(tagged).collect()),
        ]
    }
}

/// What a receiver knows by adding up: id -> sum, buckets.
#[derive(Default)]
struct Ledger(HashMap<u64, (f64, Vec<u64>)>);

impl Ledger {
    fn add(&mut self, batch: &Batch) {
        for metric in metrics(&batch.request) {
            match metric.data.as_ref().unwrap() {
                metric::Data::Sum(sum) => {
                    for point in &sum.data_points {
                        self.entry(&point.attributes).0 += float(point);
                    }
                }
                metric::Data::Histogram(histogram) => {
                    for point in &histogram.data_points {
                        let known = self.entry(&point.attributes);
                        known.0 += point.sum.unwrap();
                        known.1.resize(3, 0);
                        known.1.iter_mut().zip(&point.bucket_counts).for_each(|(known, new)| *known += new);
                        assert_eq!(point.count, point.bucket_counts.iter().sum::<u64>());
                    }
                }
                other => panic!("{other:?}"),
            }
        }
    }

    fn entry(&mut self, attributes: &[opentelemetry_proto::tonic::common::v1::KeyValue]) -> &mut (f64, Vec<u64>) {
        self.0.entry(texts(attributes)[0].1.parse().unwrap()).or_default()
    }
}

proptest! {
    #[test]
    fn acknowledged_deltas_add_up_to_the_totals_whatever_fails(steps in prop::collection::vec(step(), 0..60)) {
        let limits = Limits { points: 3, bytes: usize::MAX };
        let mut converter = Converter::new(&[], Temporality::Delta, limits);
        let (mut model, mut ledger, mut now) = (Model::default(), Ledger::default(), 100);
        let last = Step::Export(vec![true; 16]);
        for step in steps.into_iter().chain([last]) {
            now += 1;
            match step {
                Step::Add(slot, value) => model.add(slot, value),
                Step::Expire(slot) => _ = model.live.remove(&slot),
                Step::Export(outcomes) => {
                    let all = batches(&mut converter, &model.families(), now);
                    for (batch, is_acknowledged) in all.into_iter().zip(outcomes) {
                        if is_acknowledged {
                            ledger.add(&batch);
                            converter.acknowledge(batch.into_parts().1);
                        }
                    }
                }
            }
            prop_assert!(converter.remembered() <= 2 * 8 + 2 * 8);
        }
        for (id, total, buckets) in model.live.values() {
            // Whole numbers, so sums are exact.
            prop_assert_eq!(ledger.0[id].0.to_bits(), total.to_bits());
            prop_assert_eq!(ledger.0[&(id + 1)].0.to_bits(), total.to_bits());
            prop_assert_eq!(&*ledger.0[&(id + 1)].1, &buckets[..]);
        }
        prop_assert_eq!(converter.remembered(), 2 * model.live.len());
    }
}
