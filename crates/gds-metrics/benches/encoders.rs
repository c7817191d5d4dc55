//! What a page costs the core: both formats, and the merge of a folder that processes share.
#![allow(missing_docs)] // what criterion's macros define

use std::sync::Arc;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use gds_metrics::format::Format;
use gds_metrics::page::RegistryPage;
use gds_metrics::registry::{Registry, RegistryOptions};
use gds_metrics::settings::ViewOptions;
use gds_metrics::shared::{Folder, Writer};
use gds_metrics::view::View;

const COUNTERS: usize = 10_000;
const HISTOGRAMS: usize = 1_000;
/// Lines of a histogram with the default buckets: 15 buckets, count and sum.
const HISTOGRAM_LINES: usize = 17;

const PROCESSES: usize = 8;
const SHARED_SERIES: usize = 1_000;

const FORMATS: [(&str, Format); 2] = [("text", Format::Text), ("openmetrics", Format::OpenMetrics)];

fn view(registry: &Arc<Registry>) -> View {
    registry.view(ViewOptions { max_series: COUNTERS, ..ViewOptions::default() })
}

fn fill_counters(view: &View, series: usize) {
    for number in 0..series {
        let path = format!("/item/{number}");
        view.increment("requests", number as f64, &[("path", &path), ("status", "200")], None).expect("counted");
    }
}

fn fill_histograms(view: &View, series: usize) {
    for number in 0..series {
        let path = format!("/item/{number}");
        for value in [0.003, 0.3, 3.0] {
            view.histogram("took", value, &[("path", &path)], None).expect("counted");
        }
    }
}

fn lines(page: &[u8], beginning: &str) -> usize {
    let page = std::str::from_utf8(page).expect("UTF-8");
    page.lines().filter(|line| line.starts_with(beginning)).count()
}

fn pages(criterion: &mut Criterion) {
    let registry = Registry::new(RegistryOptions::default());
    let view = view(&registry);
    fill_counters(&view, COUNTERS);
    fill_histograms(&view, HISTOGRAMS);
    let page = RegistryPage::new(registry, None);
    for (family, beginning, samples) in
        [("requests", "requests_total{", COUNTERS), ("took", "took_", HISTOGRAMS * HISTOGRAM_LINES)]
    {
        let mut group = criterion.benchmark_group(format!("page/{family}"));
        group.throughput(Throughput::Elements(samples as u64));
        for (name, format) in FORMATS {
            let names = [family.to_owned()];
            let write = || page.write(format, &names).expect("a page");
            let written = write();
            assert_eq!(lines(&written, beginning), samples, "samples of {name}");
            assert_eq!(written.ends_with(b"# EOF\n"), format == Format::OpenMetrics, "end of {name}");
            group.bench_function(name, |bencher| bencher.iter(write));
        }
        group.finish();
    }
}

fn merge(criterion: &mut Criterion) {
    let path = tempfile::tempdir().expect("a folder");
    let processes: Vec<_> = (0..PROCESSES)
        .map(|_| {
            let writer = Arc::new(Writer::create(path.path()).expect("a file"));
            let registry = Registry::new(RegistryOptions { shared: Some(writer), ..RegistryOptions::default() });
            let view = view(&registry);
            fill_counters(&view, SHARED_SERIES * 9 / 10);
            fill_histograms(&view, SHARED_SERIES / 10);
            registry
        })
        .collect();
    let folder = Folder::open(path.path()).expect("a folder");
    let merged = folder.merge().expect("a merge").merged;
    let requests = merged.families.iter().find(|family| &*family.name == "requests").expect("the counters");
    let total: f64 = requests.series.iter().map(|series| f64::from_bits(series.raw[0])).sum();
    let each: usize = (0..SHARED_SERIES * 9 / 10).sum();
    assert!((total - (each * PROCESSES) as f64).abs() < 0.5, "expected {PROCESSES} times {each}, merged {total}");

    let mut group = criterion.benchmark_group("shared_folder");
    group.throughput(Throughput::Elements((PROCESSES * SHARED_SERIES) as u64));
    group.bench_function("merge", |bencher| bencher.iter(|| folder.merge().expect("a merge")));
    let page = RegistryPage::new(Arc::clone(&processes[0]), Some(folder.clone()));
    for (name, format) in FORMATS {
        group.bench_function(format!("page/{name}"), |bencher| bencher.iter(|| page.write(format, &[])));
    }
    group.finish();
}

criterion_group!(benches, pages, merge);
criterion_main!(benches);
