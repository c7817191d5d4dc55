//! `StatsdMetrics`: settings in, a StatsD client that adds up in memory.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use gds_metrics::key::Change;
use gds_metrics::key::{Key, MetricKind, Scope};
use gds_metrics::outage::LogFn;
use gds_metrics::registry::Refusal;
use gds_metrics::statsd::{Outcome, Statsd, StatsdOptions};
use gds_process::{PerProcess, fork};
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};

use crate::errors::metrics_error;
use crate::interop::dicts::from_dict;
use crate::interop::warnings::log_warning;
use crate::interop::{exit, runtime};
use crate::metrics::arguments::Argument;
use crate::metrics::methods::observing_methods;
use crate::metrics::observe::{self, Collector, Report, Warned};

from_dict! {
    struct Settings {
        host: Option<String>,
        port: i64,
        socket_path: Option<PathBuf>,
        prefix: String,
        constant_tags: Vec<(String, String)>,
        max_packet_bytes: Option<usize>,
        flush_interval_seconds: f64,
        max_series: usize,
        max_buffered_samples: usize,
        pack_values: bool,
    }
}

/// Native side of `gds_metrics.StatsdMetrics`.
#[pyclass(frozen, subclass, weakref, module = "gds_native._lib")]
pub(crate) struct StatsdCore {
    options: OnceLock<StatsdOptions>,
    closed: AtomicBool,
    instance: PerProcess<Arc<Statsd>>,
    warned: Warned,
    unreadable: AtomicU64,
}

fn start(options: StatsdOptions) -> PyResult<Arc<Statsd>> {
    let statsd = Statsd::new(options).map_err(|error| metrics_error(&error))?;
    statsd.start(&runtime::handle()?);
    Ok(Arc::new(statsd))
}

impl StatsdCore {
    #[inline]
    fn instance(&self) -> Option<&Arc<Statsd>> {
        if let Some(instance) = self.instance.get() { Some(instance) } else { self.after_fork() }
    }

    /// A forked child adds up from zero: what the parent had not sent yet, the parent sends.
    #[cold]
    fn after_fork(&self) -> Option<&Arc<Statsd>> {
        let options = self.options.get().filter(|_| !self.closed.load(Ordering::Relaxed))?;
        let statsd = start(options.clone()).ok()?;
        Some(self.instance.get_or_init(move || statsd))
    }

    /// Why there is no client to report to.
    fn absent(&self) -> Refusal {
        if self.closed.load(Ordering::Relaxed) { Refusal::Closed } else { Refusal::Unavailable }
    }

    fn opened(&self) -> PyResult<&Arc<Statsd>> {
        let closed = || {
            PyRuntimeError::new_err(
                "StatsdMetrics is closed, or its __init__ was not called: call super().__init__() first",
            )
        };
        self.instance().ok_or_else(closed)
    }
}

impl Collector for StatsdCore {
    /// There is nothing in a client of StatsD that calls back, so what is new to it needs no copy either.
    #[inline]
    fn record_known(&self, report: Report, name: &str, labels: &[(&str, &str)]) -> Option<Result<(), Refusal>> {
        self.instance.get().map(|_| self.record(report, name, labels))
    }

    #[inline]
    fn record(&self, report: Report, name: &str, labels: &[(&str, &str)]) -> Result<(), Refusal> {
        let Some(statsd) = self.instance() else { return Err(self.absent()) };
        let Report { kind, change, value, .. } = report;
        let key = Key { scope: Scope { view: 0, kind }, name, labels };
        match statsd.report(kind, change, &key, value) {
            Outcome::Counted => Ok(()),
            Outcome::Dropped(reason) => Err(reason.into()),
        }
    }

    fn refuse(&self, _refusal: Refusal) {
        self.unreadable.fetch_add(1, Ordering::Relaxed);
    }

    fn wants_trace(&self) -> bool {
        false
    }

    fn warned(&self) -> &Warned {
        &self.warned
    }
}

observing_methods!(StatsdCore);

#[pymethods]
impl StatsdCore {
    // Takes whatever a subclass's `__init__` takes.
    #[new]
    #[pyo3(signature = (*_args, **_kwargs))]
    fn new(_args: &Bound<'_, PyTuple>, _kwargs: Option<&Bound<'_, PyDict>>) -> Self {
        Self {
            options: OnceLock::new(),
            closed: AtomicBool::new(false),
            instance: PerProcess::new(),
            warned: Warned::default(),
            unreadable: AtomicU64::new(0),
        }
    }

    /// Settles the settings and starts to send.
    #[pyo3(name = "_open")]
    fn open(&self, py: Python<'_>, settings: Settings) -> PyResult<()> {
        fork::watch();
        exit::watch(py)?;
        let options = StatsdOptions {
            host: settings.host,
            port: settings.port,
            socket_path: settings.socket_path,
            prefix: settings.prefix,
            constant_tags: settings.constant_tags,
            max_packet_bytes: settings.max_packet_bytes,
            flush_interval: Duration::from_secs_f64(settings.flush_interval_seconds),
            max_series: settings.max_series,
            max_buffered_samples: settings.max_buffered_samples,
            pack_values: settings.pack_values,
            log: LogFn::new(log_warning),
            ..StatsdOptions::default()
        };
        let statsd = start(options.clone())?;
        if self.options.set(options).is_err() {
            return Err(PyRuntimeError::new_err("StatsdMetrics.__init__ was called twice; make a new collector"));
        }
        self.instance.get_or_init(|| statsd);
        Ok(())
    }

    /// Sends what was added up; an exception tells why not all of it was sent.
    #[pyo3(name = "_flush")]
    fn flush(&self, py: Python<'_>, timeout_seconds: f64) -> PyResult<()> {
        let statsd = Arc::clone(self.opened()?);
        let timeout = Duration::from_secs_f64(timeout_seconds);
        runtime::wait_blocking(py, move || statsd.flush(timeout))?.map_err(|error| metrics_error(&error))
    }

    /// Sends a last time and stops.
    #[pyo3(name = "_close")]
    fn close(&self, py: Python<'_>, timeout_seconds: f64) -> PyResult<()> {
        self.closed.store(true, Ordering::Relaxed);
        // A forked child that reported nothing has nothing to close.
        let Some(instance) = self.instance.get() else { return Ok(()) };
        let statsd = Arc::clone(instance);
        let timeout = Duration::from_secs_f64(timeout_seconds);
        runtime::wait_blocking(py, move || statsd.close(timeout))?.map_err(|error| metrics_error(&error))
    }

    /// What the client has sent and dropped, by name.
    #[pyo3(name = "_stats")]
    fn stats<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let stats = self.opened()?.stats();
        let dict = PyDict::new(py);
        for (name, number) in [
            ("packets_sent", stats.packets_sent),
            ("bytes_sent", stats.bytes_sent),
            ("packets_failed", stats.packets_failed),
            ("flushes_failed", stats.flushes_failed),
            ("samples_dropped", stats.samples_dropped),
            ("samples_thinned", stats.samples_thinned),
            ("lines_too_long", stats.lines_too_long),
            ("overflowed", stats.overflowed),
            ("refused", stats.refused + self.unreadable.load(Ordering::Relaxed)),
            ("series", stats.series),
        ] {
            dict.set_item(name, number)?;
        }
        Ok(dict)
    }
}
