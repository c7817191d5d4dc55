//! The page beside what the encoder of the crate `prometheus` writes for the same values.

use std::collections::BTreeMap;

use gds_metrics::format::Format;
use gds_metrics::page::RegistryPage;
use gds_metrics::registry::{Registry, RegistryOptions};
use gds_metrics::settings::ViewOptions;
use prometheus::core::Collector;
use prometheus::{CounterVec, Encoder, GaugeVec, HistogramOpts, HistogramVec, Opts, TextEncoder};

const BUCKETS: [f64; 3] = [0.1, 1.0, 10.0];
const VALUES: [f64; 6] = [0.1, 0.25, 1.0, 9.75, 1e3, 12_345.678];
const LABELS: [&str; 4] = ["plain", "with \"quotes\"", "back\\slash and\nline", "\u{fc}\u{4e2d}"];

/// Samples by name and labels, and types by name.
fn samples(page: &str) -> (BTreeMap<String, f64>, BTreeMap<String, String>) {
    let (mut samples, mut types) = (BTreeMap::new(), BTreeMap::new());
    for line in page.lines() {
        if let Some(named) = line.strip_prefix("# TYPE ") {
            let (name, kind) = named.split_once(' ').expect("a name and a type");
            types.insert(name.to_owned(), kind.to_owned());
        } else if !line.starts_with('#') && !line.is_empty() {
            let (series, value) = line.rsplit_once(' ').expect("a series and a value");
            // Bounds are numbers too: 1 and 1.0 are the same.
            let series = series.replace("le=\"1.0\"", "le=\"1\"").replace("le=\"10.0\"", "le=\"10\"");
            assert!(samples.insert(series, value.parse().expect("a number")).is_none(), "twice: {line}");
        }
    }
    (samples, types)
}

#[test]
fn the_page_says_what_the_encoder_of_prometheus_says() {
    let view = ViewOptions { buckets: BUCKETS.as_slice().into(), ..ViewOptions::default() };
    let registry = Registry::new(RegistryOptions::default());
    let view = registry.view(view);
    let counter = CounterVec::new(Opts::new("jobs_total", "h"), &["kind"]).expect("a counter");
    let gauge = GaugeVec::new(Opts::new("level", "h"), &["kind"]).expect("a gauge");
    let histogram = HistogramOpts::new("took", "h").buckets(BUCKETS.to_vec());
    let histogram = HistogramVec::new(histogram, &["kind"]).expect("a histogram");
    for (place, label) in LABELS.iter().enumerate() {
        let labels = [("kind", *label)];
        for value in &VALUES[place..] {
            view.increment("jobs", *value, &labels, None).expect("counted");
            view.gauge("level", -*value, &labels).expect("set");
            view.histogram("took", *value, &labels, None).expect("counted");
            counter.with_label_values(&[label]).inc_by(*value);
            gauge.with_label_values(&[label]).set(-*value);
            histogram.with_label_values(&[label]).observe(*value);
        }
    }
    let names = ["jobs_total", "level", "took"].map(str::to_owned);
    let page = RegistryPage::new(registry, None).write(Format::Text, &names).expect("a page");
    let families: Vec<_> = [counter.collect(), gauge.collect(), histogram.collect()].concat();
    let mut theirs = Vec::new();
    TextEncoder::new().encode(&families, &mut theirs).expect("a page");
    let text = |page: Vec<u8>| String::from_utf8(page).expect("text");
    let ours = samples(&text(page));
    assert_eq!(ours, samples(&text(theirs)));
    assert_eq!(ours.0.len(), LABELS.len() * (1 + 1 + BUCKETS.len() + 3));
}
