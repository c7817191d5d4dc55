//! What one update costs the core: a series that exists, a new one, and threads that meet.
#![allow(missing_docs)] // what criterion's macros define

use std::hint::black_box;
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::{Duration, Instant};

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use gds_metrics::key::Change;
use gds_metrics::key::MetricKind;
use gds_metrics::registry::{Registry, RegistryOptions};
use gds_metrics::settings::ViewOptions;
use gds_metrics::snapshot::Value;
use gds_metrics::view::View;

const LABELS: [(&str, &str); 2] = [("method", "GET"), ("status", "200")];
const THREADS: [usize; 4] = [1, 2, 4, 8];
/// New series of one iteration, so that the cost of an empty registry is not that of a series.
const NEW: usize = 1_000;

fn view() -> View {
    Registry::new(RegistryOptions::default()).view(ViewOptions { max_series: usize::MAX, ..ViewOptions::default() })
}

fn increment(view: &View, labels: &[(&str, &str)]) {
    view.increment("requests", 1.0, labels, None).expect("counted");
}

/// The sum over the series of the counter, and how many there are.
fn total(view: &View) -> (f64, usize) {
    let families = view.registry().snapshot();
    let Some(family) = families.iter().find(|family| &*family.name == "requests") else { return (0.0, 0) };
    let number = |value: &Value| if let Value::Number(number) = value { *number } else { f64::NAN };
    (family.series.iter().map(|series| number(&series.value)).sum(), family.series.len())
}

fn assert_total(view: &View, times: usize, series: usize) {
    let (sum, len) = total(view);
    assert!((sum - times as f64).abs() < 0.5, "expected {times} increments, counted {sum}");
    assert_eq!(len, series, "series");
}

fn hit(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("hit");
    for (name, labels) in [("no_labels", &LABELS[..0]), ("two_labels", &LABELS[..])] {
        let view = view();
        (0..1_000).for_each(|_| increment(&view, labels));
        assert_total(&view, 1_000, 1);
        group.bench_function(format!("counter/{name}"), |bencher| {
            bencher.iter(|| increment(&view, black_box(labels)));
        });
    }
    let view = view();
    let timing = || view.timing("took", black_box(300.0), black_box(&LABELS), None).expect("counted");
    timing();
    let took = view.find(MetricKind::Timing, "took", &LABELS).expect("the series").value();
    assert!(matches!(took, Value::Distribution { sum, .. } if (sum - 0.3).abs() < 1e-9), "{took:?}");
    group.bench_function("timing/two_labels", |bencher| bencher.iter(timing));

    increment(&view, &LABELS);
    let series = view.find(MetricKind::Counter, "requests", &LABELS).expect("the series");
    assert!(view.report_found(MetricKind::Counter, Change::Report, &series, 1.0, None));
    assert_total(&view, 2, 1);
    group.bench_function("counter/series_at_hand", |bencher| {
        bencher.iter(|| view.report_found(MetricKind::Counter, Change::Report, black_box(&series), 1.0, None));
    });
    group.finish();
}

fn miss(criterion: &mut Criterion) {
    let values: Vec<String> = (0..NEW).map(|number| format!("/item/{number}")).collect();
    let fill = |view: View| {
        for value in &values {
            increment(&view, &[("path", value), ("status", "200")]);
        }
        view
    };
    assert_total(&fill(view()), NEW, NEW);
    let mut group = criterion.benchmark_group("miss");
    group.throughput(Throughput::Elements(NEW as u64));
    group.bench_function("new_series", |bencher| bencher.iter_batched(view, fill, BatchSize::SmallInput));
    group.finish();
}

/// How long `threads` threads take to increment `times` times each, from the moment all of them are ready.
fn contend(view: &View, threads: usize, times: u64, values: &[String]) -> Duration {
    let ready = Arc::new(Barrier::new(threads + 1));
    thread::scope(|scope| {
        let workers: Vec<_> = (0..threads)
            .map(|number| {
                let (ready, value) = (Arc::clone(&ready), &*values[number % values.len()]);
                scope.spawn(move || {
                    ready.wait();
                    let begun = Instant::now();
                    (0..times).for_each(|_| increment(view, black_box(&[("worker", value), ("status", "200")])));
                    (begun, Instant::now())
                })
            })
            .collect();
        ready.wait();
        let spans: Vec<_> = workers.into_iter().map(|worker| worker.join().expect("a worker")).collect();
        let begun = spans.iter().map(|(begun, _)| *begun).min().expect("a thread");
        let ended = spans.iter().map(|(_, ended)| *ended).max().expect("a thread");
        ended - begun
    })
}

fn contention(criterion: &mut Criterion) {
    for (name, distinct) in [("same_series", 1), ("different_series", 8)] {
        let mut group = criterion.benchmark_group(format!("contention/{name}"));
        let values: Vec<String> = (0..distinct).map(|number| format!("worker-{number}")).collect();
        for threads in THREADS {
            let view = view();
            contend(&view, threads, 10_000, &values);
            assert_total(&view, threads * 10_000, threads.min(distinct));
            // Of all threads together, so that perfect scaling divides the time per iteration of none.
            group.throughput(Throughput::Elements(threads as u64));
            group.bench_function(BenchmarkId::from_parameter(threads), |bencher| {
                bencher.iter_custom(|times| contend(&view, threads, times, &values));
            });
        }
        group.finish();
    }
}

criterion_group!(benches, hit, miss, contention);
criterion_main!(benches);
