//! Alerts: a running system, and what there is to say about files of rules.

pub(crate) mod engine;
pub(crate) mod files;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use gds_alert_service::{Credentials, Options, Said, Service};
use gds_hub::settings::{Address, Role};
use gds_net::{Auth, Server, ServerOptions, tls};
use gds_process::fork;
use pyo3::exceptions::{PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::errors::{alert_errors, hub_error, metrics_error};
use crate::interop::dicts::from_dict;
use crate::interop::drop_detached::DropDetached;
use crate::interop::{exit, runtime};
use crate::kafka::{hub, settings};

/// Rules that are watched for, from when it is made until it is stopped or let go of.
#[pyclass(frozen, module = "gds_native._lib")]
pub(crate) struct AlertService {
    /// Of its API, where it has one.
    server: Option<Server>,
    service: DropDetached<Service>,
    process_id: u32,
}

#[pymethods]
impl AlertService {
    /// Opens the hub and the state, and begins. `say(kind, text)` is told notifications of channels of type `log`,
    /// warnings and notes, by other threads.
    #[new]
    #[pyo3(signature = (rules, servers, config, librdkafka, *, group, state, topics, credentials, say, listen = None,
        log = None, token = None))]
    #[allow(clippy::too_many_arguments, clippy::needless_pass_by_value)] // what Python's function collected
    fn new(
        py: Python<'_>,
        rules: String,
        servers: Vec<String>,
        config: &Bound<'_, PyDict>,
        librdkafka: &Bound<'_, PyDict>,
        group: String,
        state: PathBuf,
        topics: Vec<String>,
        credentials: BTreeMap<String, String>,
        say: Py<PyAny>,
        listen: Option<Listen>,
        log: Option<Py<PyAny>>,
        token: Option<Py<PyAny>>,
    ) -> PyResult<Self> {
        fork::watch();
        exit::watch(py)?;
        let settings = settings::parse(py, Role::Consumer, &servers, config, librdkafka)?;
        let callbacks = hub::callbacks(log, token);
        let opened = py.detach(|| gds_hub::open(&settings, callbacks)).map_err(|error| hub_error(py, &error))?;
        if !settings.lazy {
            hub::reach(py, &opened, settings.connect_timeout)?;
        }
        let options = Options {
            rules,
            group,
            state,
            topics,
            hub_name: match &settings.address {
                Address::Embedded(path) => format!("embedded:{}", path.display()),
                // Its brokers have other names tomorrow.
                Address::Kafka(_) => "kafka".to_owned(),
            },
            max_poll_interval: settings.max_poll_interval(),
            credentials: Credentials::new(credentials),
        };
        let handle = runtime::handle()?;
        let say = Arc::new(move |said: Said<'_>| tell(&say, said));
        let started = runtime::wait_blocking(py, move || Service::start(opened, options, say, &handle))?;
        let service = DropDetached::new(started.map_err(|errors| alert_errors(py, &errors))?);
        let server = listen.map(|listen| listen.serve(&service)).transpose();
        let server = server.map_err(|error| metrics_error(&error.into()))?;
        Ok(Self { server, service, process_id: std::process::id() })
    }

    /// Waits for the end, for at most `timeout` seconds; whether it has come. What ended it is raised.
    fn wait(&self, py: Python<'_>, timeout: f64) -> PyResult<bool> {
        let timeout = Duration::try_from_secs_f64(timeout)
            .map_err(|_| PyValueError::new_err(format!("timeout={timeout}: expected seconds, 0 or more")))?;
        let service = self.here()?;
        match py.detach(|| service.wait(timeout)) {
            None => Ok(false),
            Some(Ok(())) => Ok(true),
            Some(Err(error)) => Err(alert_errors(py, &[error])),
        }
    }

    /// Asks for the end. State is kept, and deliveries under way get three seconds.
    fn stop(&self) -> PyResult<()> {
        self.here()?.stop();
        Ok(())
    }

    /// Takes another rules file into use; what is wrong with it is raised, and leaves the one before in use.
    #[allow(clippy::needless_pass_by_value)] // as Python gives it
    fn reload(&self, py: Python<'_>, rules: String) -> PyResult<()> {
        let service = self.here()?;
        py.detach(|| service.reload(&rules)).map_err(|errors| alert_errors(py, &errors))
    }

    /// Where its API is, with the port that was chosen for port 0.
    #[getter]
    fn address(&self) -> Option<(String, u16)> {
        let at = self.server.as_ref()?.local_addr();
        Some((at.ip().to_string(), at.port()))
    }

    /// What was counted, by name.
    fn counts(&self, py: Python<'_>) -> PyResult<BTreeMap<String, u64>> {
        let service = self.here()?;
        py.detach(|| service.counts()).map_err(|error| alert_errors(py, &[error]))
    }
}

from_dict! {
    /// Where the API listens, and for whom.
    struct Listen {
        addr: String,
        port: u16,
        certfile: Option<PathBuf>,
        keyfile: Option<PathBuf>,
        client_cafile: Option<PathBuf>,
        bearer_token_file: Option<PathBuf>,
        basic_auth_file: Option<PathBuf>,
    }
}

impl Listen {
    fn serve(self, service: &Service) -> gds_net::Result<Server> {
        let auth = match (self.bearer_token_file, self.basic_auth_file) {
            (Some(path), _) => Auth::bearer_file(path)?,
            (None, Some(path)) => Auth::basic_file(path)?,
            (None, None) => Auth::None,
        };
        let mut options = ServerOptions::new(self.addr, self.port);
        let (cert, key, ca) = (self.certfile.as_deref(), self.keyfile.as_deref(), self.client_cafile.as_deref());
        options.tls = tls::server_config(cert, key, ca)?;
        service.serve(options, auth)
    }
}

impl AlertService {
    fn here(&self) -> PyResult<&Service> {
        if self.process_id == std::process::id() {
            return Ok(&self.service);
        }
        let message = format!(
            "these alerts are watched for by process {}, and this is its forked child {}; start others here",
            self.process_id,
            std::process::id()
        );
        Err(PyRuntimeError::new_err(message))
    }
}

fn tell(say: &Py<PyAny>, said: Said<'_>) {
    let (kind, text) = match said {
        Said::Notification(text) => ("notification", text),
        Said::Warning(text) => ("warning", text),
        Said::Note(text) => ("note", text),
    };
    // Nothing to attach to while the interpreter ends; what the function raises has nowhere to go.
    let _ = Python::try_attach(|py| exit::reporting_to_python(py, || say.call1(py, (kind, text)).map(drop)));
}
