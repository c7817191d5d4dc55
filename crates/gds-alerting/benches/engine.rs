//! What a sample costs against a hundred rules, and what a series takes in memory.

use std::fmt::Write as _;
use std::hint::black_box;
use std::sync::Arc;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use gds_alerting::effect::Effect;
use gds_alerting::engine::Engine;
use gds_alerting::event::Event;
use gds_alerting::rules::Rules;
use gds_alerting::sample::Sample;

const RULES: usize = 100;
const INSTANCES: usize = 100;

/// A hundred threshold rules on as many metrics, each with a filter.
fn rules() -> Arc<Rules> {
    let mut text = "version: 1\nrules:\n".to_owned();
    for number in 0..RULES {
        writeln!(
            text,
            "  - {{id: rule_{number}, metric: metric_{number}, filter: 'tags.environment == \"production\"', \
             threshold: {{op: \">\", value: 85, for: 5m}}}}"
        )
        .expect("written");
    }
    Arc::new(Rules::parse(&text).expect("rules"))
}

/// A sample of each instance and metric for a minute; one instance is above the threshold.
fn samples(minute: i64) -> Vec<Event> {
    let sample = |instance: usize, metric: usize| Sample {
        metric: format!("metric_{metric}"),
        instance_id: format!("prod-db-{instance}"),
        database_type: "postgresql".to_owned(),
        tags: [("environment", "production"), ("region", "eu-central-1"), ("cluster", "orders")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into(),
        value: if instance == 7 { 90.0 } else { 10.0 + metric as f64 / 2.0 },
        time_ms: Some(minute * 60_000),
        ..Sample::default()
    };
    (0..INSTANCES).flat_map(|instance| (0..RULES).map(move |metric| Event::Sample(sample(instance, metric)))).collect()
}

fn fired(effects: &[Effect]) -> usize {
    let of = |effect: &&Effect| matches!(effect, Effect::Transition(one) if one.to.name() == "firing");
    effects.iter().filter(of).count()
}

fn thresholds(criterion: &mut Criterion) {
    // The answer first.
    let mut engine = Engine::new(rules());
    let mut effects = Vec::new();
    let minutes: Vec<_> = (0..7).map(samples).collect();
    for (minute, events) in (0i64..).zip(&minutes) {
        for event in events {
            engine.step(event, minute * 60_000, &mut effects);
        }
    }
    assert_eq!(fired(&effects), RULES);
    assert_eq!(engine.counters().samples, 7 * (RULES * INSTANCES) as u64);

    let mut group = criterion.benchmark_group("samples against 100 threshold rules");
    group.throughput(Throughput::Elements((RULES * INSTANCES) as u64));
    group.bench_function("of 10,000 series", |bencher| {
        let mut minute = 7;
        bencher.iter_batched(
            || {
                minute += 1;
                (minute, samples(minute))
            },
            |(minute, events)| {
                for event in &events {
                    engine.step(black_box(event), minute * 60_000, &mut effects);
                }
                events
            },
            BatchSize::PerIteration,
        );
    });
    group.finish();
    assert_eq!(fired(&effects), RULES, "and no more");
}

/// Bytes that a series takes, its name and index included.
fn memory(_: &mut Criterion) {
    for (name, condition, most) in [
        ("threshold", "threshold: {op: \">\", value: 85}", 300),
        ("ewma", "anomaly: {method: ewma}", 400),
        ("robust", "anomaly: {method: robust, samples: 120}", 2_000),
        ("hour of week", "anomaly: {method: hour_of_week}", 2_300),
        ("rate of change", "rate_of_change: {op: \">\", value: 1, window: 5m}", 1_500),
        (
            "burn rate, one pair",
            "slo: {objective: 99.9, burn_rate: {factor: 14.4, short_window: 5m, long_window: 1h}}",
            2_300,
        ),
        ("burn rate, pairs by default", "slo: {objective: 99.9}", 6_000),
    ] {
        let text = format!("version: 1\nrules: [{{id: one, metric: metric_0, {condition}}}]");
        let mut engine = Engine::new(Arc::new(Rules::parse(&text).expect("a rule")));
        for minute in 0..200 {
            for instance in 0..64 {
                let sample = Sample {
                    metric: "metric_0".to_owned(),
                    instance_id: format!("prod-db-{instance}"),
                    value: 10.0,
                    time_ms: Some(minute * 60_000),
                    ..Sample::default()
                };
                engine.step(&Event::Sample(sample), minute * 60_000, &mut Vec::new());
            }
        }
        let (series, bytes) = engine.size();
        println!("{name}: {} bytes a series", bytes / series);
        assert!(bytes / series <= most, "{name}: {} bytes a series", bytes / series);
    }
}

criterion_group!(benches, thresholds, memory);
criterion_main!(benches);
