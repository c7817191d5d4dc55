//! `gds-bench NAME TIMES`: a hot path of the core, so many times; without arguments, the names.
//!
//! `python -m bench.instructions` runs each path with two numbers of times under callgrind: the difference is free of
//! what beginning and ending cost. Each path is checked once before it is run, so that what is counted is the real thing.

use std::borrow::Cow;
use std::hint::black_box;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use gds_events::metric;
use gds_hub::embedded::{Embedded, EmbeddedOptions};
use gds_hub::{Batch, Deliveries, Delivery, Error, Headers, Hub, Position, Record, Subscription, codec};
use gds_metrics::format::Format;
use gds_metrics::key::{Change, MetricKind};
use gds_metrics::page::RegistryPage;
use gds_metrics::registry::{Registry, RegistryOptions};
use gds_metrics::settings::ViewOptions;
use gds_metrics::view::View;
use gds_redact::Redactor;

const LABELS: [(&str, &str); 2] = [("method", "GET"), ("status", "200")];

/// Series on a page: more than what is written around them.
const SERIES: usize = 200;

/// Records of a poll.
const POLLED: usize = 100;

const CLEAN_LINE: &str =
    "GET /api/v1/orders/4711?page=2 from 10.1.2.3 took 12.5 ms, status 200, 5120 bytes, worker 7 of db-01 ok.";
const SECRET_LINE: &str =
    "could not connect to postgresql://app:hunter2@db-1/orders with token=hvs.CAESIJlWh2VGkPZ0YqkF0tPzq8w9nQ, retrying";

/// Runs a path so many times.
type Run = fn(u64);

const PATHS: &[(&str, Run)] = &[
    ("counter without labels", |times| increments(times, &[])),
    ("counter with two labels", |times| increments(times, &LABELS)),
    ("counter whose series is at hand", series_at_hand),
    ("timing with two labels", timings),
    ("new series", new_series),
    ("page of 200 series", pages),
    ("text of JSON", json_text),
    ("message of a measurement", messages),
    ("record written", records_written),
    ("record read", records_read),
    ("embedded hub: a record published", embedded_published),
    ("embedded hub: 100 records polled", embedded_polled),
    ("clean line redacted", |times| redactions(times, CLEAN_LINE, true)),
    ("line with two secrets redacted", |times| redactions(times, SECRET_LINE, false)),
];

fn view() -> View {
    Registry::new(RegistryOptions::default()).view(ViewOptions { max_series: usize::MAX, ..ViewOptions::default() })
}

fn increment(view: &View, labels: &[(&str, &str)]) {
    view.increment("requests", 1.0, labels, None).expect("counted");
}

fn increments(times: u64, labels: &[(&str, &str)]) {
    let view = view();
    increment(&view, labels);
    assert!(view.find(MetricKind::Counter, "requests", labels).is_some());
    (0..times).for_each(|_| increment(&view, black_box(labels)));
}

fn series_at_hand(times: u64) {
    let view = view();
    increment(&view, &LABELS);
    let series = view.find(MetricKind::Counter, "requests", &LABELS).expect("the series");
    let report = || view.report_found(MetricKind::Counter, Change::Report, black_box(&series), 1.0, None);
    assert!(report());
    (0..times).for_each(|_| _ = report());
}

fn timings(times: u64) {
    let view = view();
    for _ in 0..=times {
        view.timing("took", black_box(300.0), black_box(&LABELS), None).expect("counted");
    }
}

fn new_series(times: u64) {
    let view = view();
    let values: Vec<String> = (0..times).map(|number| format!("/item/{number:08}")).collect();
    for value in &values {
        increment(&view, &[("path", value), ("status", "200")]);
    }
}

fn pages(times: u64) {
    let registry = Registry::new(RegistryOptions::default());
    let view = registry.view(ViewOptions { max_series: usize::MAX, ..ViewOptions::default() });
    (0..SERIES).for_each(|number| increment(&view, &[("path", &format!("/item/{number}"))]));
    let page = RegistryPage::new(registry, None);
    let names = ["requests".to_owned()];
    for _ in 0..=times {
        let text = page.write(Format::Text, &names).expect("a page");
        assert!(black_box(text).len() > SERIES * 30);
    }
}

fn json_text(times: u64) {
    let mut out = Vec::new();
    for _ in 0..=times {
        out.clear();
        gds_json::text::write::<b','>(&mut out, black_box(CLEAN_LINE));
        assert_eq!(out.len(), CLEAN_LINE.len() + 3);
    }
}

fn messages(times: u64) {
    let mut out = Vec::new();
    for _ in 0..=times {
        out.clear();
        metric::write(&mut out, black_box(1_700_000_000.25), "counter", "requests", 1.0, black_box(&LABELS));
        assert!(out.ends_with(b"}}"));
    }
}

fn record() -> Record<'static> {
    let (key, value) = (Some(&b"orders"[..]), Some(CLEAN_LINE.as_bytes()));
    Record { topic: "orders", timestamp: 1_700_000_000_000, key, value, headers: Headers::default(), partition: None }
}

fn records_written(times: u64) {
    let record = record();
    let mut frame = Vec::new();
    for _ in 0..=times {
        frame.clear();
        codec::write(&mut frame, black_box(&record));
        assert!(frame.len() > CLEAN_LINE.len());
    }
}

fn records_read(times: u64) {
    let mut batch = Batch::default();
    batch.push("orders", 0, 7, None, &record());
    for _ in 0..=times {
        let message = batch.get(black_box(0)).expect("a message");
        assert_eq!((message.offset, message.value.map(<[u8]>::len)), (7, Some(CLEAN_LINE.len())));
    }
}

#[derive(Default)]
struct DeliveryCounter(AtomicU64);

impl Deliveries for DeliveryCounter {
    fn delivered(&self, _: u64, _: &Delivery<'_>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn failed(&self, _: u64, _: &Record<'_>, error: &Error) {
        panic!("{error}");
    }
}

/// A hub in a folder that goes with it, with so many records in it.
fn embedded(records: u64) -> (tempfile::TempDir, Embedded) {
    let dir = tempfile::tempdir().expect("a folder");
    let hub = Embedded::open(dir.path(), EmbeddedOptions::default()).expect("opened");
    let delivered = Arc::new(DeliveryCounter::default());
    let publisher = hub.publisher(delivered.clone()).expect("a publisher");
    let record = record();
    for id in 0..records {
        publisher.publish(id, black_box(&record)).expect("taken");
    }
    assert_eq!(delivered.0.load(Ordering::Relaxed), records);
    drop(publisher);
    (dir, hub)
}

fn embedded_published(times: u64) {
    drop(embedded(times + 1));
}

fn embedded_polled(times: u64) {
    let (_dir, hub) = embedded(POLLED as u64);
    let subscription = Subscription { topics: vec!["orders".to_owned()], ..Subscription::default() };
    let mut reader = hub.subscribe(&subscription).expect("subscribed");
    let start = Position { topic: Arc::from("orders"), partition: 0, offset: 0 };
    let mut batch = Batch::default();
    for _ in 0..=times {
        reader.seek(&start).expect("sought");
        batch.clear();
        reader.poll(&mut batch, POLLED, Duration::ZERO).expect("polled");
        assert_eq!(black_box(&batch).len(), POLLED);
    }
}

fn redactions(times: u64, line: &str, is_clean: bool) {
    let redactor = Redactor::new(&[]).expect("no patterns");
    for _ in 0..=times {
        let redacted = redactor.redact(black_box(line));
        assert_eq!(matches!(redacted, Cow::Borrowed(_)), is_clean);
    }
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let found = arguments.first().and_then(|given| PATHS.iter().find(|(name, _)| name == given));
    match (found, arguments.get(1).map(|times| times.parse())) {
        (Some((_, path)), Some(Ok(times))) => path(times),
        _ if arguments.is_empty() => PATHS.iter().for_each(|(name, _)| println!("{name}")),
        _ => {
            eprintln!("usage: gds-bench [NAME TIMES]; the names are printed without arguments");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}
