//! Many processes, one page. The "processes" are writers whose lock is let go as a dead process's is; that real ones do
//! so under SIGKILL is shown by the tests of the Python package.
#![allow(missing_docs, clippy::float_cmp)]

use std::fs;
use std::path::Path;
use std::sync::Arc;

use gds_metrics::clock::Clock;
use gds_metrics::family::{Aggregation, Description};
use gds_metrics::format::Format;
use gds_metrics::page::RegistryPage;
use gds_metrics::registry::{Registry, RegistryOptions};
use gds_metrics::settings::ViewOptions;
use gds_metrics::shared::{Folder, Writer};
use gds_metrics::snapshot::TraceContext;
use gds_metrics::view::View;
use tempfile::TempDir;

struct Process {
    page: RegistryPage,
    view: View,
    clock: Clock,
}

fn process(folder: &Path) -> Process {
    let writer = Arc::new(Writer::create(folder).expect("a file"));
    let clock = Clock::manual(1_000);
    let options = RegistryOptions { shared: Some(writer), clock: clock.clone(), ..RegistryOptions::default() };
    let registry = Registry::new(options);
    let view = registry.view(ViewOptions::default());
    Process { page: RegistryPage::new(registry, Some(Folder::open(folder).expect("a folder"))), view, clock }
}

impl Process {
    fn sample(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        self.page.sample(&self.view, name, labels).expect("read")
    }

    fn text(&self, format: Format) -> String {
        String::from_utf8(self.page.write(format, &[]).expect("a page")).expect("UTF-8")
    }
}

fn files(folder: &Path, extension: &str) -> usize {
    let entries = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
    entries.filter(|path| path.extension().is_some_and(|other| other == extension)).count()
}

#[test]
fn a_scrape_from_any_process_shows_the_sum() {
    let folder = TempDir::new().expect("a folder");
    let (a, b) = (process(folder.path()), process(folder.path()));
    for (process, times) in [(&a, 3), (&b, 4)] {
        for _ in 0..times {
            process.view.increment("requests", 1.0, &[("path", "/")], None).expect("counted");
            process.view.timing("took", 300.0, &[], None).expect("counted");
        }
    }
    for process in [&a, &b] {
        assert_eq!(process.sample("requests", &[("path", "/")]), Some(7.0));
        assert_eq!(process.sample("took_count", &[]), Some(7.0));
        assert_eq!(process.sample("took_bucket", &[("le", "0.5")]), Some(7.0));
        assert!((process.sample("took_sum", &[]).expect("a sum") - 2.1).abs() < 1e-9);
    }
}

#[test]
fn gauges_are_added_up_as_described() {
    let folder = TempDir::new().expect("a folder");
    let processes = [process(folder.path()), process(folder.path()), process(folder.path())];
    for aggregation in Aggregation::ALL {
        for (n, process) in processes.iter().enumerate() {
            let described = Description { aggregation: Some(aggregation), ..Description::default() };
            process.view.describe(aggregation.as_str(), described).expect("described");
            process.clock.advance(std::time::Duration::from_secs(n as u64));
            process.view.gauge(aggregation.as_str(), [2.0, 5.0, 3.0][n], &[("a", "b")]).expect("counted");
        }
    }
    let labels = [("a", "b")];
    let sample = |name| processes[0].sample(name, &labels);
    assert_eq!(
        (sample("sum"), sample("min"), sample("max"), sample("last")),
        (Some(10.0), Some(2.0), Some(5.0), Some(3.0))
    );
    let pid = std::process::id();
    assert!(processes[0].text(Format::Text).contains(&format!("pid{{a=\"b\",pid=\"{pid}\"}} ")));
}

#[test]
fn the_dead_are_folded_once_and_their_gauges_go() {
    let folder = TempDir::new().expect("a folder");
    let survivor = process(folder.path());
    for _ in 0..50 {
        let dead = process(folder.path());
        dead.view.increment("requests", 2.0, &[], None).expect("counted");
        dead.view.histogram("size", 0.1, &[], None).expect("counted");
        dead.view.gauge("busy", 1.0, &[]).expect("counted");
    }
    assert_eq!(files(folder.path(), "gds"), 51);
    for _ in 0..3 {
        assert_eq!(survivor.sample("requests", &[]), Some(100.0));
        assert_eq!(survivor.sample("size_count", &[]), Some(50.0));
        assert_eq!(survivor.sample("busy", &[]), None);
        assert_eq!(files(folder.path(), "gds"), 1);
    }
    let another = process(folder.path());
    another.view.increment("requests", 1.0, &[], None).expect("counted");
    drop(another);
    assert_eq!(survivor.sample("requests", &[]), Some(101.0));
}

#[test]
fn torn_files_are_skipped_counted_and_set_aside() {
    let folder = TempDir::new().expect("a folder");
    let survivor = process(folder.path());
    survivor.view.increment("requests", 1.0, &[], None).expect("counted");
    let dead = process(folder.path());
    dead.view.increment("requests", 2.0, &[("a", "b")], None).expect("counted");
    drop(dead);
    let path = fs::read_dir(folder.path()).expect("a folder").map(|entry| entry.expect("an entry").path());
    let whole: Vec<_> = path
        .filter(|path| path.extension().is_some_and(|other| other == "gds"))
        .map(|path| fs::read(path).expect("read"))
        .collect();
    let whole = whole.iter().find(|bytes| bytes.windows(5).any(|part| part == b"a=\"b\"")).expect("the dead one's");
    survivor.sample("requests", &[]);
    let mut cases = vec![Vec::new(), b"garbage".to_vec(), whole[..100].to_vec(), whole[..whole.len() / 2].to_vec()];
    for at in [0, 16, 64, 68, 72, 76, 80, 90, 100] {
        let mut flipped = whole.clone();
        flipped[at] ^= 0x55;
        cases.push(flipped);
    }
    // Half a file is whole where it says so: its records end before the cut.
    cases.remove(3);
    let expected = cases.len() as f64;
    for (n, bytes) in cases.iter().enumerate() {
        fs::write(folder.path().join(format!("{n}-1-1.gds")), bytes).expect("written");
        survivor.text(Format::Text);
    }
    assert_eq!(survivor.sample("requests", &[("a", "b")]), Some(2.0), "folded once, before the torn copies came");
    assert_eq!(survivor.sample("requests", &[]), Some(1.0));
    assert_eq!(survivor.sample("gds_metrics_multiprocess_skipped_total", &[("reason", "torn")]), Some(expected));
    assert_eq!(files(folder.path(), "torn"), cases.len());
}

#[test]
fn a_file_grows_past_its_first_mapping() {
    let folder = TempDir::new().expect("a folder");
    let (a, b) = (process(folder.path()), process(folder.path()));
    for n in 0..9_000 {
        let n = format!("{n:050}");
        for process in [&a, &b] {
            process.view.histogram("size", 0.1, &[("n", &n)], None).expect("counted");
        }
    }
    let long = "x".repeat(100_000);
    a.view.increment("requests", 1.0, &[("long", &long)], None).expect("counted");
    assert_eq!(b.sample("requests", &[("long", &long)]), Some(1.0));
    for n in [0, 4_500, 8_999] {
        assert_eq!(b.sample("size_count", &[("n", &format!("{n:050}"))]), Some(2.0));
    }
}

#[test]
fn exemplars_of_the_latest_process_are_shown_and_outlive_it() {
    let folder = TempDir::new().expect("a folder");
    let survivor = process(folder.path());
    let dead = process(folder.path());
    let trace = |fill| TraceContext { trace_id: [fill; 16], span_id: [fill; 8] };
    survivor.view.histogram("size", 0.1, &[], Some(&trace(1))).expect("counted");
    dead.clock.advance(std::time::Duration::from_secs(1));
    dead.view.histogram("size", 0.1, &[], Some(&trace(2))).expect("counted");
    dead.view.increment("requests", 1.0, &[], Some(&trace(3))).expect("counted");
    drop(dead);
    for _ in 0..2 {
        let page = survivor.text(Format::OpenMetrics);
        for fill in ["02", "03"] {
            assert!(page.contains(&format!("# {{trace_id=\"{}\"", fill.repeat(16))), "{page}");
        }
    }
}

#[test]
fn processes_that_named_a_type_each_show_one_sound_page() {
    let folder = TempDir::new().expect("a folder");
    let (a, b) = (process(folder.path()), process(folder.path()));
    a.view.gauge("x", 1.0, &[]).expect("counted");
    b.view.increment("x", 2.0, &[], None).expect("counted");
    let page = a.text(Format::OpenMetrics);
    let types: Vec<_> = page.lines().filter(|line| line.starts_with("# TYPE x")).collect();
    assert_eq!(types.len(), 2, "{page}");
    assert_ne!(types[0].split(' ').nth(2), types[1].split(' ').nth(2), "{page}");
}

#[test]
fn a_folder_that_cannot_be_used_is_named() {
    let folder = TempDir::new().expect("a folder");
    let file = folder.path().join("file");
    fs::write(&file, "").expect("written");
    let error = Folder::open(&file.join("below")).expect_err("no folder").to_string();
    assert!(error.contains("multiprocess_dir") && error.contains("local disk"), "{error}");
}

#[test]
fn living_processes_are_read_while_they_write() {
    let folder = TempDir::new().expect("a folder");
    let (writer, reader) = (process(folder.path()), process(folder.path()));
    std::thread::scope(|scope| {
        let busy = scope.spawn(|| {
            for n in 0..20_000 {
                let n = n.to_string();
                writer.view.increment("requests", 1.0, &[("n", &n)], None).expect("counted");
                writer.view.increment("all", 1.0, &[], None).expect("counted");
            }
        });
        let mut last = 0.0;
        while !busy.is_finished() {
            let now = reader.sample("all", &[]).unwrap_or(0.0);
            assert!(now >= last, "{now} after {last}");
            last = now;
        }
    });
    assert_eq!(reader.sample("all", &[]), Some(20_000.0));
    assert_eq!(reader.sample("gds_metrics_multiprocess_skipped_total", &[("reason", "torn")]), None);
}

#[test]
fn a_port_is_for_the_processes_of_one_folder() {
    let (ours, others) = (TempDir::new().expect("a folder"), TempDir::new().expect("a folder"));
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = taken.local_addr().expect("an address").port();
    let ours = Folder::open(ours.path()).expect("a folder");
    let error = ours.claim_port("127.0.0.1", port).expect_err("taken").to_string();
    assert!(error.contains(&port.to_string()) && error.contains("port="), "{error}");
    drop(taken);
    let first = ours.claim_port("127.0.0.1", port).expect("free");
    let second = ours.claim_port("127.0.0.1", port).expect("shared");
    let listening = std::net::TcpListener::bind(("127.0.0.1", port)).expect("still free for its owner");
    drop(first);
    ours.claim_port("127.0.0.1", port).expect("shared with the second");
    Folder::open(others.path()).expect("a folder").claim_port("127.0.0.1", port).expect_err("taken by another program");
    drop(second);
    ours.claim_port("127.0.0.1", port).expect_err("listened on, and claimed by nobody of this folder");
    drop(listening);
}
