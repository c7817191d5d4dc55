//! A query ends soon after it is called off, wherever it is: what every loop looks at is counted.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::context::WORK;
use super::{Cancel, Engine, EngineOptions, When};
use crate::error::Error;
use crate::histogram::{Buckets, FloatHistogram};
use crate::labels::Labels;
use crate::memory::MemorySource;
use crate::parser::parse;
use crate::value::Sample;

/// Samples of a series of the tests, a millisecond from one to the next.
const SAMPLES: usize = 12 * WORK;
/// Histograms of a series; each counts for many samples.
const HISTOGRAMS: usize = SAMPLES / 64;

fn source() -> MemorySource {
    let mut source = MemorySource::new();
    let labels = |name: &str, instance: &str| {
        Labels::from_pairs([("__name__", name), ("instance", instance), ("job", "a"), ("le", "+Inf")])
    };
    for instance in ["1", "2"] {
        let own = labels("x", instance);
        for (time, number) in (1i64..).zip(0..SAMPLES) {
            source.append(&own, time, 0, Sample::Float(number as f64));
        }
    }
    source.append(&labels("target_info", "1"), 1, 0, Sample::Float(1.0));
    for (time, count) in (1i64..).zip(0..HISTOGRAMS) {
        let count = count as f64;
        let histogram = FloatHistogram {
            count: 2.0 * count,
            sum: count,
            positive: Buckets::from_offset(0, vec![count, count]),
            ..FloatHistogram::default()
        };
        source.append(&labels("h", "1"), time, 0, Sample::Histogram(Arc::new(histogram)));
    }
    source
}

/// At all samples once, with a window of all of them; or at each of so many steps.
fn once() -> When {
    When::Instant(i64::try_from(SAMPLES).unwrap())
}

fn steps(count: usize) -> When {
    When::Range { start: 1, end: i64::try_from(count).unwrap(), step: 1 }
}

fn evaluate(source: &MemorySource, query: &str, when: When, cancel: &Cancel) -> Result<(), Error> {
    let engine = Engine::new(EngineOptions { max_bytes: 1 << 32, ..EngineOptions::default() });
    engine.evaluate(&parse(query).unwrap(), source, when, cancel).map(drop)
}

/// How often a query looks.
fn looks(source: &MemorySource, query: &str, when: When) -> usize {
    let cancel = Cancel::new();
    evaluate(source, query, when, &cancel).unwrap_or_else(|error| panic!("{query}: {error}"));
    cancel.1.count.load(Ordering::Relaxed)
}

/// That a query which is called off at a look does not take another one.
fn ends_at_each_look(source: &MemorySource, query: &str, when: When, all: usize) {
    for last in [2, all / 2, all - 1, all] {
        let cancel = Cancel::new();
        cancel.1.last.store(last, Ordering::Relaxed);
        assert_eq!(evaluate(source, query, when, &cancel), Err(Error::Cancelled), "{query} at look {last} of {all}");
        let more = cancel.1.count.load(Ordering::Relaxed) - last;
        // What can only break off has its caller look again.
        assert!(more <= 1, "{query} looks {more} times more");
    }
}

#[test]
fn a_function_over_a_long_window_looks_while_it_goes_through_it() {
    let source = source();
    for call in [
        "sum_over_time(x[1h])",
        "avg_over_time(x[1h])",
        "max_over_time(x[1h])",
        "min_over_time(x[1h])",
        "ts_of_max_over_time(x[1h])",
        "ts_of_min_over_time(x[1h])",
        "stddev_over_time(x[1h])",
        "stdvar_over_time(x[1h])",
        "deriv(x[1h])",
        "predict_linear(x[1h], 60)",
        "double_exponential_smoothing(x[1h], 0.5, 0.5)",
        "changes(x[1h])",
        "resets(x[1h])",
        "sum_over_time(h[1h])",
        "avg_over_time(h[1h])",
        "rate(h[1h])",
        "increase(h[1h] anchored)",
        "changes(h[1h])",
        "resets(h[1h])",
    ] {
        let all = looks(&source, call, once());
        // Of the two series of numbers each has as many samples as the one of histograms has buckets.
        assert!(all >= 11, "{call} looks {all} times");
        ends_at_each_look(&source, call, once(), all);
    }
}

#[test]
fn an_operator_looks_while_it_goes_through_many_steps() {
    let source = source();
    let count = 6 * WORK;
    let selector = looks(&source, "x", steps(count));
    for query in [
        "x + 1",
        "x > 5",
        "-x",
        "abs(x)",
        "clamp(x, 1, 2)",
        "sum(x)",
        "avg by (job) (x)",
        "stddev(x)",
        "topk(1, x)",
        "quantile(0.5, x)",
        "x + x",
        "x * on (job, instance) group_left () x",
        "x and x",
        "x or x",
        "histogram_quantile(0.5, x)",
        "info(x)",
        "max_over_time(x[1ms:1ms])",
    ] {
        let all = looks(&source, query, steps(count));
        // Its own loop, or the columns that it makes, besides those of the selector.
        assert!(all >= selector + 5, "{query} looks {all} times, its selector {selector} times");
        ends_at_each_look(&source, query, steps(count), all);
    }
    let selector = looks(&source, "h", steps(HISTOGRAMS));
    for query in ["histogram_count(h)", "histogram_quantile(0.5, h)", "sum(h)", "avg(h)"] {
        let all = looks(&source, query, steps(HISTOGRAMS));
        assert!(all >= selector + 5, "{query} looks {all} times, its selector {selector} times");
        ends_at_each_look(&source, query, steps(HISTOGRAMS), all);
    }
}

#[test]
fn windows_that_overlap_are_counted_each() {
    let source = source();
    // Fewer than 256 steps, each of which looks at all that is before it.
    let when = When::Range { start: 0, end: i64::try_from(SAMPLES).unwrap(), step: i64::try_from(WORK / 8).unwrap() };
    let all = looks(&source, "sum_over_time(x[1h])", when);
    assert!(all > 600, "it looks {all} times");
}
