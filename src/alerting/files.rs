//! Files of rules and of their tests: what is wrong with them, and what comes of them.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use gds_alerting::case::Case;
use gds_alerting::check::check;
use gds_alerting::problem::Problem;
use gds_hub::settings::Role;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::errors::{alert_errors, hub_error};
use crate::interop::runtime;
use crate::kafka::{hub, settings};

/// Line, column, key and message of each thing.
type Places = Vec<(usize, usize, String, String)>;

fn places(problems: Vec<Problem>) -> Places {
    let place = |problem: Problem| (problem.line, problem.column, problem.key, problem.message);
    problems.into_iter().map(place).collect()
}

/// What keeps a file from being used, and, of one that can be, what nobody can have meant. `metrics` are those that there
/// are, where they are known.
#[pyfunction]
#[pyo3(signature = (text, metrics = None))]
#[allow(clippy::needless_pass_by_value)] // as Python gives it
pub(crate) fn check_alert_rules(py: Python<'_>, text: &str, metrics: Option<BTreeSet<String>>) -> (Places, Places) {
    match py.detach(|| check(text, metrics.as_ref())) {
        Ok(found) => (Vec::new(), places(found)),
        Err(problems) => (places(problems.0), Vec::new()),
    }
}

/// Runs a test of rules: what it is about, and what is not as expected, a line each. A file that it names is in `folder`.
#[pyfunction]
#[allow(clippy::needless_pass_by_value)] // as Python gives it
pub(crate) fn run_alert_case(py: Python<'_>, text: &str, folder: PathBuf) -> PyResult<(String, Vec<String>)> {
    let read = |name: &str| {
        let path = folder.join(name);
        std::fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))
    };
    py.detach(|| {
        let case = Case::parse(text, read)?;
        let differences = case.run().differences;
        Ok((case.description, differences))
    })
    .map_err(|problems: gds_alerting::problem::Problems| PyValueError::new_err(problems.to_string()))
}

/// The names of the metrics that the newest messages of a hub are about.
#[pyfunction]
#[pyo3(signature = (servers, config, librdkafka, *, timeout, log = None, token = None))]
#[allow(clippy::needless_pass_by_value)] // as Python gives it
pub(crate) fn hub_metrics(
    py: Python<'_>,
    servers: Vec<String>,
    config: &Bound<'_, PyDict>,
    librdkafka: &Bound<'_, PyDict>,
    timeout: f64,
    log: Option<Py<PyAny>>,
    token: Option<Py<PyAny>>,
) -> PyResult<BTreeSet<String>> {
    let timeout = Duration::try_from_secs_f64(timeout)
        .map_err(|_| PyValueError::new_err(format!("timeout={timeout}: expected seconds, 0 or more")))?;
    let settings = settings::parse(py, Role::Consumer, &servers, config, librdkafka)?;
    let callbacks = hub::callbacks(log, token);
    let opened = py.detach(|| gds_hub::open(&settings, callbacks)).map_err(|error| hub_error(py, &error))?;
    hub::reach(py, &opened, settings.connect_timeout)?;
    let found = runtime::wait_blocking(py, move || gds_alert_service::metrics(&*opened, timeout))?;
    found.map_err(|error| alert_errors(py, &[error]))
}
