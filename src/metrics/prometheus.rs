//! `PrometheusMetrics`: settings in, a view of a registry with its page and its server, and the way back.

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use gds_metrics::Error;
use gds_metrics::family::{Aggregation, Description};
use gds_metrics::format::Format;
use gds_metrics::http::respond;
use gds_metrics::key::Change;
use gds_metrics::key::MetricKind;
use gds_metrics::push::{self, PushTarget};
use gds_metrics::registry::Refusal;
use gds_net::{Auth, RequestHead, tls};
use gds_process::sync::Mutex;
use gds_process::{PerProcess, fork};
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyTuple};

use crate::errors::metrics_error;
use crate::interop::dicts::from_dict;
use crate::interop::warnings::log_warning;
use crate::interop::{exit, runtime};
use crate::metrics::arguments::Argument;
use crate::metrics::methods::{observing_methods, registry_methods};
use crate::metrics::observe::{self, Collector, Descriptions, RegistryHandle, Report, Warned};
use crate::metrics::page_server::{self, PageServer, Settings, served};
use crate::metrics::scrape::{self, ScrapedPage};
use crate::metrics::{arguments, python_metrics};

from_dict! {
    /// A group of metrics on a Pushgateway, and the way there.
    struct Gateway {
        url: String,
        job: String,
        grouping_key: Vec<(String, String)>,
        headers: Vec<(String, String)>,
        timeout_seconds: f64,
        cafile: Option<PathBuf>,
        certfile: Option<PathBuf>,
        keyfile: Option<PathBuf>,
    }
}

impl Gateway {
    fn target(&self) -> Result<PushTarget, Error> {
        let target = PushTarget::new(&self.url, &self.job, &self.grouping_key)?.headers(&self.headers)?;
        let target = target.timeout(Duration::from_secs_f64(self.timeout_seconds));
        let files = (self.cafile.as_deref(), self.certfile.as_deref(), self.keyfile.as_deref());
        if files == (None, None, None) {
            return Ok(target);
        }
        Ok(target.tls(tls::client_config(files.0, files.1, files.2)?))
    }
}

/// A collector in one process: the parent's, or a forked child's.
struct PrometheusInstance {
    page_server: Mutex<Arc<PageServer>>,
    page: Arc<ScrapedPage>,
    handle: RegistryHandle,
}

/// Native side of `gds_metrics.PrometheusMetrics`.
#[pyclass(frozen, subclass, weakref, module = "gds_native._lib")]
pub(crate) struct PrometheusCore {
    settings: OnceLock<Settings>,
    instance: PerProcess<PrometheusInstance>,
    described: Descriptions,
    /// What is called before a page is read, for the page of a forked child. The lock is taken with the interpreter's lock
    /// held and never while waiting, so no fork finds it taken.
    ask: Mutex<Option<Arc<Py<PyAny>>>>,
    warned: Warned,
}

impl PrometheusInstance {
    fn new(page_server: Arc<PageServer>, settings: &Settings) -> Self {
        let view = page_server.registry().view(settings.view());
        Self {
            page: Arc::clone(page_server.page()),
            page_server: Mutex::new(page_server),
            handle: RegistryHandle::new(view),
        }
    }

    fn ask(&self, settings: &Settings, ask: Arc<Py<PyAny>>) {
        self.page.callbacks.add(ask);
        if settings.multiprocess_dir.is_some() {
            scrape::refresh(Arc::downgrade(&self.page));
        }
    }

    fn port(&self) -> Option<u16> {
        self.page_server.lock().port()
    }
}

impl PrometheusCore {
    #[inline]
    fn instance(&self) -> Option<&PrometheusInstance> {
        if let Some(instance) = self.instance.get() { Some(instance) } else { self.after_fork() }
    }

    /// A forked child starts with an empty registry (in a shared folder: with a file of its own) and without a server.
    #[cold]
    fn after_fork(&self) -> Option<&PrometheusInstance> {
        let settings = self.settings.get()?;
        let make = || {
            let options = settings.page_server();
            let page_server = page_server::new(&options).or_else(|error| {
                log_warning(&format!("metrics of process {} stay out of the shared page: {error}", std::process::id()));
                page_server::new(&options.without_folder())
            });
            page_server.ok().map(|page_server| PrometheusInstance::new(page_server, settings)).inspect(|instance| {
                self.described.replay(&instance.handle.view);
                if let Some(ask) = self.ask.lock().clone() {
                    instance.ask(settings, ask);
                }
            })
        };
        // Without a folder there is nothing that can fail.
        let mut made = make();
        made.as_ref()?;
        made.take().map(|instance| self.instance.get_or_init(move || instance))
    }

    fn opened(&self) -> PyResult<(&Settings, &PrometheusInstance)> {
        let closed =
            || PyRuntimeError::new_err("PrometheusMetrics.__init__ was not called; call super().__init__() first");
        Ok((self.settings.get().ok_or_else(closed)?, self.instance().ok_or_else(closed)?))
    }
}

impl Collector for PrometheusCore {
    #[inline]
    fn handle(&self) -> Option<&RegistryHandle> {
        self.instance().map(|instance| &instance.handle)
    }

    #[inline]
    fn record_known(&self, report: Report, name: &str, labels: &[(&str, &str)]) -> Option<Result<(), Refusal>> {
        self.instance.get().filter(|instance| instance.handle.record_known(report, name, labels)).map(|_| Ok(()))
    }

    fn record(&self, report: Report, name: &str, labels: &[(&str, &str)]) -> Result<(), Refusal> {
        self.instance().map_or(Err(Refusal::Unavailable), |instance| instance.handle.record(report, name, labels))
    }

    fn refuse(&self, refusal: Refusal) {
        if let Some(instance) = self.instance() {
            instance.handle.view.registry().count_refusal(refusal);
        }
    }

    fn wants_trace(&self) -> bool {
        self.settings.get().is_some_and(|settings| settings.exemplars)
    }

    fn warned(&self) -> &Warned {
        &self.warned
    }
}

observing_methods!(PrometheusCore);
registry_methods!(PrometheusCore);

#[pymethods]
#[allow(clippy::needless_pass_by_value, clippy::too_many_arguments)] // arguments as Python gives them
impl PrometheusCore {
    // Takes whatever a subclass's `__init__` takes.
    #[new]
    #[pyo3(signature = (*_args, **_kwargs))]
    fn new(_args: &Bound<'_, PyTuple>, _kwargs: Option<&Bound<'_, PyDict>>) -> Self {
        Self {
            settings: OnceLock::new(),
            instance: PerProcess::new(),
            described: Descriptions::default(),
            ask: Mutex::new(None),
            warned: Warned::default(),
        }
    }

    /// Settles the settings (checked by the Python side) and starts to count; with `serve`, to serve.
    #[pyo3(name = "_open")]
    fn open(&self, py: Python<'_>, settings: Settings, serve: bool) -> PyResult<()> {
        fork::watch();
        exit::watch(py)?;
        if settings.process_metrics {
            python_metrics::watch(py)?;
        }
        let runtime = serve.then(runtime::handle).transpose()?;
        let made = py.detach(|| {
            // Bad files are an error now, also when the server starts only later.
            let options = settings.page_server();
            let listening = options.listening(settings.port)?;
            let Some(runtime) = runtime else { return page_server::new(&options) };
            let mut ports = served();
            if let Some(page_server) = ports.get(settings.port, &options)? {
                return Ok(page_server);
            }
            let page_server = page_server::new(&options)?;
            page_server.serve(&mut ports, listening, &runtime).map(|_| page_server)
        });
        let instance = PrometheusInstance::new(made.map_err(|error| metrics_error(&error))?, &settings);
        if self.settings.set(settings).is_err() {
            return Err(PyRuntimeError::new_err("PrometheusMetrics.__init__ was called twice; make a new collector"));
        }
        self.instance.get_or_init(|| instance);
        Ok(())
    }

    /// Told by the thread that runs a function which was asked for values.
    #[pyo3(name = "_answers_here")]
    fn answers_here(&self) {
        if let Some(instance) = self.instance() {
            instance.page.callbacks.answers_here();
        }
    }

    /// Has a function without arguments called before values are read.
    #[pyo3(name = "_ask")]
    fn ask(&self, ask: Py<PyAny>) -> PyResult<()> {
        let (settings, instance) = self.opened()?;
        let ask = Arc::new(ask);
        *self.ask.lock() = Some(Arc::clone(&ask));
        instance.ask(settings, ask);
        Ok(())
    }

    /// Has a function called for what is asked at a path beside the page, by those who may see that; None ends it. It is
    /// given the query and how long is waited, and gives a status and a body.
    #[pyo3(name = "_show_beside")]
    fn show_beside(&self, path: String, call: Option<Py<PyAny>>) -> PyResult<()> {
        self.opened()?.1.page.show_beside(path, call);
        Ok(())
    }

    #[pyo3(name = "_describe", signature = (name, *, help = None, unit = None, buckets = None, aggregation = None, max_series = None))]
    fn describe(
        &self,
        name: &str,
        help: Option<String>,
        unit: Option<String>,
        buckets: Option<Vec<f64>>,
        aggregation: Option<&str>,
        max_series: Option<usize>,
    ) -> PyResult<()> {
        let (_, instance) = self.opened()?;
        let aggregation = aggregation.map(Aggregation::parse).transpose().map_err(|error| metrics_error(&error))?;
        let description = Description { help, unit, buckets: buckets.map(Arc::from), aggregation, max_series };
        self.described.add(&instance.handle.view, name, description).map_err(|error| metrics_error(&error))
    }

    /// The port of the server, if this process serves the page.
    #[getter]
    #[pyo3(name = "_bound_port")]
    fn bound_port(&self) -> PyResult<Option<u16>> {
        Ok(self.opened()?.1.port())
    }

    /// Starts the server where there is none: with `start_server=False`, or in a forked child.
    #[pyo3(name = "_serve")]
    fn serve(&self, py: Python<'_>, port: u16) -> PyResult<u16> {
        let (settings, instance) = self.opened()?;
        let runtime = runtime::handle()?;
        let listening = || settings.page_server().listening(port);
        let served = py.detach(|| instance.page_server.lock().serve(&mut served(), listening()?, &runtime));
        served.map_err(|error| metrics_error(&error))
    }

    /// The page: `format` is `text` or `openmetrics`.
    #[pyo3(name = "_page")]
    fn page<'py>(&self, py: Python<'py>, openmetrics: bool, names: Vec<String>) -> PyResult<Bound<'py, PyBytes>> {
        let (_, instance) = self.opened()?;
        let format = if openmetrics { Format::OpenMetrics } else { Format::Text };
        let page = py.detach(|| instance.page.write(format, &names)).map_err(|error| metrics_error(&error))?;
        Ok(PyBytes::new(py, &page))
    }

    /// The value of one sample of the page.
    #[pyo3(name = "_sample")]
    fn sample(
        &self,
        py: Python<'_>,
        name: &Bound<'_, PyAny>,
        labels: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Option<f64>> {
        let (_, instance) = self.opened()?;
        let read = |name: &str, labels: &[(&str, &str)]| {
            py.detach(|| instance.page.sample(&instance.handle.view, name, labels))
        };
        let value =
            arguments::with_owned_text(name, labels, read).map_err(|error| error.into_argument_error(name, labels))?;
        value.map_err(|error| metrics_error(&error))
    }

    /// Answers a request of an ASGI or WSGI server: status, headers, body.
    #[allow(clippy::type_complexity)] // the shape of a response
    #[pyo3(name = "_respond")]
    fn respond<'py>(
        &self,
        py: Python<'py>,
        method: &str,
        path: &str,
        query: &str,
        accept: Option<&str>,
        accept_encoding: Option<&str>,
    ) -> PyResult<(u16, Vec<(String, String)>, Bound<'py, PyBytes>)> {
        let (_, instance) = self.opened()?;
        let request = RequestHead { method, path, query, accept, accept_encoding, ..RequestHead::default() };
        // Who may ask is the business of the application that mounts the page.
        let response = py.detach(|| respond(&*instance.page, &Auth::None, &request, true));
        let headers = response.headers.into_iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
        Ok((response.status, headers, PyBytes::new(py, &response.body)))
    }

    /// Sends the page to a Pushgateway.
    #[pyo3(name = "_push")]
    fn push(&self, py: Python<'_>, gateway: Gateway, replace: bool) -> PyResult<()> {
        let (_, instance) = self.opened()?;
        let target = gateway.target().map_err(|error| metrics_error(&error))?.replace(replace);
        let page = py.detach(|| instance.page.write(Format::Text, &[])).map_err(|error| metrics_error(&error))?;
        runtime::wait(py, async move { push::push(page, &target).await })?.map_err(|error| metrics_error(&error))
    }

    /// Deletes from a Pushgateway what was pushed.
    #[staticmethod]
    #[pyo3(name = "_delete_from_gateway")]
    fn delete_from_gateway(py: Python<'_>, gateway: Gateway) -> PyResult<()> {
        let target = gateway.target().map_err(|error| metrics_error(&error))?;
        runtime::wait(py, async move { push::delete(&target).await })?.map_err(|error| metrics_error(&error))
    }

    /// Writes the page to a file that a node exporter reads.
    #[pyo3(name = "_write_to_textfile")]
    fn write_to_textfile(&self, py: Python<'_>, path: PathBuf) -> PyResult<()> {
        let (_, instance) = self.opened()?;
        let write = || gds_metrics::textfile::write_to_textfile(&path, &instance.page.write(Format::Text, &[])?);
        py.detach(write).map_err(|error| metrics_error(&error))
    }

    /// Stops serving; what is reported later is still counted.
    #[pyo3(name = "_stop")]
    fn stop(&self, py: Python<'_>) -> PyResult<()> {
        let (_, instance) = self.opened()?;
        py.detach(|| {
            let mut page_server = instance.page_server.lock();
            // The last collector of the port stops the server by dropping it.
            *page_server = page_server.unserved();
        });
        Ok(())
    }
}
