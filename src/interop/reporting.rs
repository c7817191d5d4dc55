//! Figures of a client, told to a Python function again and again.

use std::sync::Arc;
use std::time::Duration;

use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::interop::exit;

/// Calls `report` with the figures of a client once an interval, for as long as `client` gives it and there is an
/// interpreter.
///
/// Beside the runtime's own thread, which must not wait for the interpreter. The client is let go of without the
/// interpreter: its threads may want it.
pub(crate) async fn report_regularly<C: Send + 'static>(
    interval: Duration,
    report: Py<PyAny>,
    client: impl Fn() -> Option<C>,
    stats: for<'py> fn(Python<'py>, &C) -> PyResult<Bound<'py, PyDict>>,
) {
    let report = Arc::new(report);
    loop {
        tokio::time::sleep(interval).await;
        let Some(client) = client() else { return };
        let report = Arc::clone(&report);
        let reported = tokio::task::spawn_blocking(move || {
            let call = |py: Python<'_>| stats(py, &client).and_then(|stats| report.call1(py, (stats,))).map(drop);
            Python::try_attach(|py| exit::reporting_to_python(py, || call(py))).is_some()
        });
        if !reported.await.unwrap_or(false) {
            return; // the interpreter is ending
        }
    }
}
