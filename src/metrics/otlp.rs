//! `OpenTelemetryMetrics` without a provider of the program's: a registry and an OTLP exporter.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use gds_metrics::family::Description;
use gds_metrics::key::Change;
use gds_metrics::key::MetricKind;
use gds_metrics::naming::Naming;
use gds_metrics::otlp::{self, Exporter, OtlpConfig, OtlpOptions, Source};
use gds_metrics::outage::LogFn;
use gds_metrics::registry::{Refusal, Registry, RegistryOptions};
use gds_metrics::settings::ViewOptions;
use gds_metrics::snapshot::Family;
use gds_process::sync::Mutex;
use gds_process::{PerProcess, fork};
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};

use crate::errors::metrics_error;
use crate::interop::dicts::from_dict;
use crate::interop::warnings::log_warning;
use crate::interop::{exit, runtime};
use crate::metrics::arguments::Argument;
use crate::metrics::methods::{observing_methods, registry_methods};
use crate::metrics::observe::{self, Collector, Descriptions, RegistryHandle, Report, Warned};
use crate::metrics::scrape::ValueCallbacks;

from_dict! {
    struct Settings {
        endpoint: Option<String>,
        protocol: Option<String>,
        headers: Option<Vec<(String, String)>>,
        cafile: Option<PathBuf>,
        certfile: Option<PathBuf>,
        keyfile: Option<PathBuf>,
        insecure: Option<bool>,
        interval_seconds: Option<f64>,
        timeout_seconds: Option<f64>,
        temporality: Option<String>,
        resource_attributes: Option<Vec<(String, String)>>,
        compression: Option<String>,
        service_name: Option<String>,
        service_version: Option<String>,
        buckets: Vec<f64>,
        max_series: usize,
        exemplars: bool,
    }
}

struct ResolvedSettings {
    config: OtlpConfig,
    view: ViewOptions,
    exemplars: bool,
}

struct OtlpInstance {
    handle: RegistryHandle,
    source: Arc<RegistrySource>,
    exporter: Arc<Exporter>,
}

struct RegistrySource {
    registry: Arc<Registry>,
    callbacks: ValueCallbacks,
    shutdown: Arc<Shutdown>,
}

/// The end of a collector: what is reported once it has come is refused.
#[derive(Default)]
struct Shutdown {
    begun: AtomicBool,
    done: AtomicBool,
}

impl Source for RegistrySource {
    fn snapshot(&self) -> Vec<Family> {
        if !self.shutdown.done.load(Ordering::Relaxed) {
            self.callbacks.ask(&self.registry);
            // Not before the functions have reported for the last export.
            if self.shutdown.begun.load(Ordering::Relaxed) {
                self.shutdown.done.store(true, Ordering::Relaxed);
            }
        }
        self.registry.snapshot()
    }
}

/// Native side of `gds_metrics.OpenTelemetryMetrics`.
#[pyclass(frozen, subclass, weakref, module = "gds_native._lib")]
pub(crate) struct OtlpCore {
    resolved: OnceLock<ResolvedSettings>,
    shutdown: Arc<Shutdown>,
    /// Observations not kept; the exported ones say by reason.
    dropped: AtomicU64,
    instance: PerProcess<OtlpInstance>,
    described: Descriptions,
    /// What is called before an export, for the exporter of a forked child; locked as in `PrometheusCore`.
    ask: Mutex<Option<Arc<Py<PyAny>>>>,
    warned: Warned,
}

impl OtlpInstance {
    fn new(resolved: &ResolvedSettings, shutdown: &Arc<Shutdown>) -> PyResult<Self> {
        let registry = Registry::new(RegistryOptions { naming: Naming::AsGiven, ..RegistryOptions::default() });
        let handle = RegistryHandle::new(registry.view(resolved.view.clone()));
        let source =
            Arc::new(RegistrySource { registry, callbacks: ValueCallbacks::default(), shutdown: Arc::clone(shutdown) });
        let exporter = Exporter::start(
            resolved.config.clone().as_instance(),
            Arc::clone(&source) as Arc<dyn Source>,
            &runtime::handle()?,
        );
        Ok(Self { handle, source, exporter: Arc::new(exporter) })
    }
}

impl OtlpCore {
    #[inline]
    fn instance(&self) -> Option<&OtlpInstance> {
        if let Some(instance) = self.instance.get() { Some(instance) } else { self.after_fork() }
    }

    /// A forked child counts from zero and exports by itself, as a service instance of its own.
    #[cold]
    fn after_fork(&self) -> Option<&OtlpInstance> {
        let resolved = self.resolved.get().filter(|_| !self.shutdown.begun.load(Ordering::Relaxed))?;
        let instance = OtlpInstance::new(resolved, &self.shutdown).ok()?;
        self.described.replay(&instance.handle.view);
        if let Some(ask) = self.ask.lock().clone() {
            instance.source.callbacks.add(ask);
        }
        Some(self.instance.get_or_init(move || instance))
    }

    #[inline]
    fn is_closed(&self) -> bool {
        self.shutdown.done.load(Ordering::Relaxed)
    }

    fn opened(&self) -> PyResult<&OtlpInstance> {
        let closed = || {
            PyRuntimeError::new_err(
                "OpenTelemetryMetrics is closed, or its __init__ was not called: call super().__init__() first",
            )
        };
        self.instance().ok_or_else(closed)
    }
}

impl Collector for OtlpCore {
    #[inline]
    fn handle(&self) -> Option<&RegistryHandle> {
        if self.is_closed() { None } else { self.instance().map(|instance| &instance.handle) }
    }

    #[inline]
    fn record_known(&self, report: Report, name: &str, labels: &[(&str, &str)]) -> Option<Result<(), Refusal>> {
        let instance = self.instance.get().filter(|_| !self.is_closed())?;
        instance.handle.record_known(report, name, labels).then_some(Ok(()))
    }

    fn record(&self, report: Report, name: &str, labels: &[(&str, &str)]) -> Result<(), Refusal> {
        if self.is_closed() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
            return Err(Refusal::Closed);
        }
        let Some(instance) = self.instance() else { return Err(Refusal::Unavailable) };
        let outcome = instance.handle.record(report, name, labels);
        self.dropped.fetch_add(u64::from(outcome.is_err()), Ordering::Relaxed);
        outcome
    }

    fn refuse(&self, refusal: Refusal) {
        self.dropped.fetch_add(1, Ordering::Relaxed);
        if let Some(instance) = self.instance() {
            instance.handle.view.registry().count_refusal(refusal);
        }
    }

    fn wants_trace(&self) -> bool {
        self.resolved.get().is_some_and(|resolved| resolved.exemplars)
    }

    fn warned(&self) -> &Warned {
        &self.warned
    }
}

observing_methods!(OtlpCore);
registry_methods!(OtlpCore);

#[pymethods]
impl OtlpCore {
    // Takes whatever a subclass's `__init__` takes.
    #[new]
    #[pyo3(signature = (*_args, **_kwargs))]
    fn new(_args: &Bound<'_, PyTuple>, _kwargs: Option<&Bound<'_, PyDict>>) -> Self {
        Self {
            resolved: OnceLock::new(),
            shutdown: Arc::default(),
            dropped: AtomicU64::new(0),
            instance: PerProcess::new(),
            described: Descriptions::default(),
            ask: Mutex::new(None),
            warned: Warned::default(),
        }
    }

    /// Settles the settings with the environment's and starts to export.
    #[pyo3(name = "_open")]
    fn open(&self, py: Python<'_>, settings: Settings) -> PyResult<()> {
        fork::watch();
        exit::watch(py)?;
        let options = OtlpOptions {
            endpoint: settings.endpoint,
            protocol: settings.protocol,
            headers: settings.headers,
            cafile: settings.cafile,
            certfile: settings.certfile,
            keyfile: settings.keyfile,
            insecure: settings.insecure,
            interval: settings.interval_seconds.map(Duration::from_secs_f64),
            timeout: settings.timeout_seconds.map(Duration::from_secs_f64),
            temporality: settings.temporality,
            resource_attributes: settings.resource_attributes,
            compression: settings.compression,
            service_name: settings.service_name,
            service_version: settings.service_version,
        };
        let mut config =
            otlp::resolve(&options, |name| std::env::var(name).ok()).map_err(|error| metrics_error(&error))?;
        for warning in &config.warnings {
            log_warning(warning);
        }
        config.log = LogFn::new(log_warning);
        let view = ViewOptions {
            buckets: Arc::from(settings.buckets),
            max_series: settings.max_series,
            ..ViewOptions::default()
        };
        let resolved = ResolvedSettings { config, view, exemplars: settings.exemplars };
        let instance = OtlpInstance::new(&resolved, &self.shutdown)?;
        if self.resolved.set(resolved).is_err() {
            return Err(PyRuntimeError::new_err(
                "OpenTelemetryMetrics.__init__ was called twice; make a new collector",
            ));
        }
        self.instance.get_or_init(|| instance);
        Ok(())
    }

    /// Has a function without arguments called before values are read.
    #[pyo3(name = "_ask")]
    fn ask(&self, ask: Py<PyAny>) -> PyResult<()> {
        let ask = Arc::new(ask);
        *self.ask.lock() = Some(Arc::clone(&ask));
        self.opened()?.source.callbacks.add(ask);
        Ok(())
    }

    #[pyo3(name = "_describe", signature = (name, *, help = None, unit = None, buckets = None, max_series = None))]
    fn describe(
        &self,
        name: &str,
        help: Option<String>,
        unit: Option<String>,
        buckets: Option<Vec<f64>>,
        max_series: Option<usize>,
    ) -> PyResult<()> {
        let description = Description { help, unit, buckets: buckets.map(Arc::from), aggregation: None, max_series };
        let instance = self.opened()?;
        self.described.add(&instance.handle.view, name, description).map_err(|error| metrics_error(&error))
    }

    /// Exports now; an exception tells why the receiver did not take it.
    #[pyo3(name = "_flush")]
    fn flush(&self, py: Python<'_>, timeout_seconds: f64) -> PyResult<()> {
        let exporter = Arc::clone(&self.opened()?.exporter);
        let timeout = Duration::from_secs_f64(timeout_seconds);
        runtime::wait_blocking(py, move || exporter.flush(timeout))?.map_err(|error| metrics_error(&error))
    }

    /// Exports a last time and stops.
    #[pyo3(name = "_close")]
    fn close(&self, py: Python<'_>, timeout_seconds: f64) -> PyResult<()> {
        self.shutdown.begun.store(true, Ordering::Relaxed);
        // A forked child that reported nothing has nothing to close.
        let closed = self.instance.get().map(|instance| {
            let exporter = Arc::clone(&instance.exporter);
            let timeout = Duration::from_secs_f64(timeout_seconds);
            runtime::wait_blocking(py, move || exporter.close(timeout))
        });
        // Also where that ended otherwise, or there was no export to wait for.
        self.shutdown.done.store(true, Ordering::Relaxed);
        closed.transpose()?.unwrap_or(Ok(())).map_err(|error| metrics_error(&error))
    }

    /// What the exporter has done, by name.
    #[pyo3(name = "_stats")]
    fn stats<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let stats = self.opened()?.exporter.stats();
        let dict = PyDict::new(py);
        dict.set_item("exports", stats.exports)?;
        dict.set_item("failed_attempts", stats.failed_attempts)?;
        dict.set_item("rejected_points", stats.rejected_points)?;
        dict.set_item("dropped", self.dropped.load(Ordering::Relaxed))?;
        dict.set_item("last_error", stats.last_error)?;
        Ok(dict)
    }

    /// Where it exports to, without user information; `None` if the environment turned export off.
    #[getter]
    #[pyo3(name = "_endpoint")]
    fn endpoint(&self) -> Option<String> {
        let resolved = self.resolved.get()?;
        (!resolved.config.disabled).then(|| resolved.config.endpoint.shown().to_owned())
    }
}
