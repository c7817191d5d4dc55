//! What the interpreter tells about itself: its version, and its garbage collector's counts.
//!
//! The counts come from a callback of the collector (`gc.callbacks`), so that a scrape reads three atomics and never
//! waits for the interpreter.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use gds_metrics::key::MetricKind;
use gds_metrics::page::Extra;
use gds_process::PerProcess;
use pyo3::prelude::*;
use pyo3::types::PyDict;

const GENERATIONS: usize = 3;

#[derive(Default)]
struct Counts {
    collections: [AtomicU64; GENERATIONS],
    collected: [AtomicU64; GENERATIONS],
    uncollectable: [AtomicU64; GENERATIONS],
}

static COUNTS: PerProcess<Counts> = PerProcess::new();
static VERSION: OnceLock<String> = OnceLock::new();

/// Begins to count collections; once for the interpreter.
pub(crate) fn watch(py: Python<'_>) -> PyResult<()> {
    if VERSION.get().is_some() {
        return Ok(());
    }
    let gc = py.import("gc")?;
    let counts = COUNTS.get_or_init(Counts::default);
    for (generation, stats) in gc.call_method0("get_stats")?.try_iter()?.take(GENERATIONS).enumerate() {
        let stats = stats?;
        for (name, cells) in [
            ("collections", &counts.collections),
            ("collected", &counts.collected),
            ("uncollectable", &counts.uncollectable),
        ] {
            cells[generation].store(stats.get_item(name)?.extract()?, Ordering::Relaxed);
        }
    }
    gc.getattr("callbacks")?.call_method1("append", (wrap_pyfunction!(on_collection, py)?,))?;
    let platform = py.import("platform")?;
    let text = |name| platform.call_method0(name)?.extract::<String>();
    let _ = VERSION.set(format!(
        "implementation=\"{}\",version=\"{}\"",
        text("python_implementation")?,
        text("python_version")?,
    ));
    Ok(())
}

/// Counts one garbage collection. `phase` and `info` are as `gc.callbacks` gives them.
#[pyfunction]
pub(crate) fn on_collection(phase: &str, info: &Bound<'_, PyDict>) {
    if phase != "stop" {
        return;
    }
    let number = |name: &str| info.get_item(name).ok().flatten().and_then(|value| value.extract::<u64>().ok());
    let Some(generation) =
        number("generation").and_then(|number| usize::try_from(number).ok()).filter(|n| *n < GENERATIONS)
    else {
        return;
    };
    let counts = COUNTS.get_or_init(Counts::default);
    counts.collections[generation].fetch_add(1, Ordering::Relaxed);
    counts.collected[generation].fetch_add(number("collected").unwrap_or(0), Ordering::Relaxed);
    counts.uncollectable[generation].fetch_add(number("uncollectable").unwrap_or(0), Ordering::Relaxed);
}

/// The families, named as `prometheus_client` names them.
pub(crate) fn families() -> Vec<Extra> {
    let counts = COUNTS.get_or_init(Counts::default);
    let counter = |name: &str, help: &str, cells: &[AtomicU64; GENERATIONS]| Extra {
        name: name.to_owned(),
        kind: MetricKind::Counter,
        help: help.to_owned(),
        samples: cells
            .iter()
            .enumerate()
            .map(|(n, cell)| (format!("generation=\"{n}\""), cell.load(Ordering::Relaxed) as f64))
            .collect(),
    };
    vec![
        counter("python_gc_collections", "Garbage collections, by generation.", &counts.collections),
        counter("python_gc_objects_collected", "Objects collected, by generation.", &counts.collected),
        counter(
            "python_gc_objects_uncollectable",
            "Objects found that cannot be collected, by generation.",
            &counts.uncollectable,
        ),
        Extra {
            name: "python_info".to_owned(),
            kind: MetricKind::Gauge,
            help: "The interpreter of this process.".to_owned(),
            samples: vec![(VERSION.get().cloned().unwrap_or_default(), 1.0)],
        },
    ]
}
