//! Fuzz targets: texts that anybody may send. The tree's folder `fuzz/` has programs of them, and tests run them, too.

// A panic is how each of them says that it has found a fault.
#![allow(clippy::missing_panics_doc)]

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use gds_fuzz::Target;

use crate::api::{self, Params};
use crate::ast::{Expr, Span};
use crate::engine::{Cancel, Engine, EngineOptions, When};
use crate::error::Error;
use crate::histogram::{Buckets, CUSTOM_BUCKETS, CounterResetHint, FloatHistogram};
use crate::labels::Labels;
use crate::memory::MemorySource;
use crate::parser::{parse, parse_selector};
use crate::printer::pretty;
use crate::value::{STALE_NAN, Sample};

/// All targets of the crate.
pub const TARGETS: [Target; 3] = [
    Target { name: "parser", run: parser, seeds: queries, words: WORDS },
    Target { name: "evaluator", run: evaluator, seeds: queries, words: WORDS },
    Target { name: "api", run: api, seeds: forms, words: WORDS },
];

const WORDS: &[&str] = &[
    " anchored",
    " smoothed",
    " offset ",
    " @ ",
    "start()",
    "end()",
    "step()",
    "range()",
    "min_of(1, 2)",
    " bool ",
    " by (job) ",
    " without (le) ",
    " on (job) ",
    " ignoring (le) ",
    "group_left (version) ",
    "group_right ",
    "fill(0) ",
    "fill_left(1) ",
    "sum(",
    "topk(2, ",
    "quantile(0.9, ",
    "count_values(\"v\", ",
    "limitk(1, ",
    "limit_ratio(-0.5, ",
    "rate(",
    "[5m]",
    "[5m:1m]",
    "[1h:]",
    "max_over_time(",
    "histogram_quantile(0.9, ",
    "label_replace(",
    "info(",
    "absent(",
    "sort_by_label(",
    "requests_total",
    "latency",
    "latency_bucket",
    "{job=~\"a|b\"}",
    "{\"a b\", x!=\"\"}",
    " and ",
    " or ",
    " unless ",
    " </ ",
    " >/ ",
    " == ",
    " atan2 ",
    "NaN",
    "-Inf",
    "0x1F",
    "1e308",
    "5m",
    "1_000",
    "\"\\u00e9\"",
    "`",
    "#",
    "é",
];

/// The queries of the scripts of this crate.
fn queries() -> Vec<Vec<u8>> {
    const SCRIPTS: [&str; 9] = [
        include_str!("../tests/scripts/aggregations.test"),
        include_str!("../tests/scripts/dates.test"),
        include_str!("../tests/scripts/elementwise.test"),
        include_str!("../tests/scripts/histograms.test"),
        include_str!("../tests/scripts/operators.test"),
        include_str!("../tests/scripts/scalars.test"),
        include_str!("../tests/scripts/selectors.test"),
        include_str!("../tests/scripts/series.test"),
        include_str!("../tests/scripts/windows.test"),
    ];
    // `eval instant at 5m QUERY` and `eval range from 0 to 5m step 1m QUERY`
    let query = |line: &str| {
        let (words, before) = match line.trim().strip_prefix("eval ")? {
            rest if rest.starts_with("instant") => (rest, 3),
            rest => (rest, 7),
        };
        let text = words.splitn(before + 1, char::is_whitespace).nth(before)?;
        Some(text.as_bytes().to_vec())
    };
    SCRIPTS.iter().flat_map(|script| script.lines()).filter_map(query).collect()
}

/// A text is a query or it is not, and an error is somewhere in it. A query that is printed is read again, as the same.
pub fn parser(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    match parse(&text) {
        Ok(expr) => {
            check_spans(&text, &expr);
            let line = expr.to_string();
            for printed in [line.clone(), pretty(&expr)] {
                let again = parse(&printed).unwrap_or_else(|error| panic!("{printed}: {error}"));
                assert_eq!(again.to_string(), line);
            }
        }
        Err(error) => {
            check_span(&text, error.span);
            assert!(!error.message.is_empty());
        }
    }
    if let Err(error) = parse_selector(&text) {
        check_span(&text, error.span);
    }
}

fn check_spans(text: &str, expr: &Expr) {
    check_span(text, expr.span);
    expr.children().for_each(|child| check_spans(text, child));
}

fn check_span(text: &str, span: Span) {
    assert!(span.start <= span.end && text.get(span.start..span.end).is_some(), "{span:?} is not in the text");
}

/// What a query may use up here.
fn engine() -> Engine {
    Engine::new(EngineOptions {
        max_samples: 20_000,
        max_bytes: 1 << 20,
        timeout: Duration::from_secs(2),
        ..EngineOptions::default()
    })
}

/// A query has an answer or none, at one time and at several.
pub fn evaluator(bytes: &[u8]) {
    let Ok(expr) = parse(&String::from_utf8_lossy(bytes)) else { return };
    for when in [When::Instant(600_000), When::Range { start: 0, end: 1_200_000, step: 60_000 }] {
        match engine().evaluate(&expr, source(), when, &Cancel::new()) {
            Ok(_) => {}
            Err(error @ (Error::Parse(_) | Error::Cancelled | Error::Source(_))) => panic!("{error}"),
            Err(error) => assert!(!error.to_string().is_empty()),
        }
    }
}

/// Series of each kind: counters with a reset, gauges with holes and stale markers, histograms of all sorts.
fn source() -> &'static MemorySource {
    static SOURCE: OnceLock<MemorySource> = OnceLock::new();
    SOURCE.get_or_init(|| {
        let mut source = MemorySource::new();
        for at in 0..40u32 {
            let time = i64::from(at) * 30_000;
            let count = f64::from(at);
            for job in ["a", "b"] {
                let labels = |name: &str| Labels::from_pairs([("__name__", name), ("job", job), ("instance", "1")]);
                let start = if at < 20 { 0 } else { 600_000 };
                let mut append = |labels: &Labels, start, value| source.append(labels, time, start, value);
                append(&labels("requests_total"), start, Sample::Float(f64::from(at % 20) * 3.0));
                let gauge = if at % 9 == 8 { f64::from_bits(STALE_NAN) } else { (count - 20.0) / 7.0 };
                append(&labels("latency"), 0, Sample::Float(gauge));
                append(&labels("target_info").with("version", if at < 9 { "1" } else { "2" }), 0, Sample::Float(1.0));
                for (le, part) in [("0.1", 0.25), ("1", 0.5), ("+Inf", 1.0)] {
                    append(&labels("latency_bucket").with("le", le), 0, Sample::Float(count * part));
                }
                append(&labels("native"), 0, Sample::Histogram(Arc::new(native(at))));
                let mixed = if at % 3 == 0 { Sample::Float(count) } else { Sample::Histogram(Arc::new(native(at))) };
                append(&labels("mixed"), 0, mixed);
            }
        }
        source
    })
}

fn native(at: u32) -> FloatHistogram {
    let counts = vec![f64::from(at), f64::from(at % 5), 1.0];
    let custom = at % 4 == 3;
    FloatHistogram {
        schema: if custom { CUSTOM_BUCKETS } else { i32::try_from(at % 3).unwrap_or(0) },
        counter_reset_hint: if at % 8 == 5 { CounterResetHint::Gauge } else { CounterResetHint::Unknown },
        zero_threshold: if custom { 0.0 } else { 0.001 },
        count: counts.iter().sum(),
        sum: f64::from(at) * 2.5,
        positive: Buckets::from_offset(0, counts),
        custom_values: if custom { vec![0.1, 1.0].into() } else { Vec::new().into() },
        ..FloatHistogram::default()
    }
}

/// Values as forms have them, a line each: `name=value`.
fn forms() -> Vec<Vec<u8>> {
    [
        "query=up\ntime=600\nlimit=1",
        "query=rate(requests_total[5m])\nstart=0\nend=1200\nstep=30s",
        "query=sum(latency)\nstart=1970-01-01T00:00:00Z\nend=1970-01-01T00:20:00.5+02:00\nstep=1m",
        "match[]=up\nmatch[]={job=\"a\"}\nstart=0\nend=1e9\nlimit=2",
        "metric=up\nlimit_per_metric=1\ntimeout=5s\nlookback_delta=1m",
    ]
    .map(|form| form.as_bytes().to_vec())
    .to_vec()
}

/// Every function of the interface answers with a status that it has, and with JSON.
pub fn api(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let pairs: Vec<(String, String)> = text
        .lines()
        .map(|line| {
            line.split_once('=').map_or((line.to_owned(), String::new()), |(name, value)| (name.into(), value.into()))
        })
        .collect();
    let (params, engine, cancel) = (Params(&pairs), engine(), Cancel::new());
    let metadata = [("up", api::Metadata { r#type: "gauge".into(), help: "1 \"é\"".into(), unit: String::new() })];
    for response in [
        api::query(&engine, source(), &params, 600_000, &cancel),
        api::query_range(&engine, source(), &params, &cancel),
        api::format_query(&params),
        api::parse_query(&params),
        api::series(source(), &params),
        api::labels(source(), &params),
        api::label_values(source(), params.get("label").unwrap_or("job"), &params),
        api::metadata(metadata, &params),
    ] {
        assert!(matches!(response.status, 200 | 400 | 422 | 503), "status {}", response.status);
        let json: serde_json::Value = serde_json::from_slice(&response.body).expect("the body is JSON");
        assert_eq!(json["status"], if response.status == 200 { "success" } else { "error" });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn most_seeds_are_queries_that_have_an_answer() {
        let seeds = queries();
        let read: Vec<_> = seeds.iter().filter_map(|seed| parse(std::str::from_utf8(seed).ok()?).ok()).collect();
        let answer = |expr: &&Expr| engine().evaluate(expr, source(), When::Instant(600_000), &Cancel::new()).is_ok();
        let counts = (seeds.len(), read.len(), read.iter().filter(answer).count());
        assert!(counts.0 >= 100 && counts.1 * 10 >= counts.0 * 9 && counts.2 * 2 > counts.1, "{counts:?}");
    }

    #[test]
    fn no_text_makes_the_parser_panic_and_what_is_printed_is_read_again() {
        TARGETS[0].check(8_000);
    }

    #[test]
    fn no_query_makes_the_evaluator_panic() {
        TARGETS[1].check(1_500);
    }

    #[test]
    fn no_form_makes_the_interface_panic() {
        TARGETS[2].check(600);
    }
}
