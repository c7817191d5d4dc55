//! The active OpenTelemetry span, where the program uses that library.

use gds_metrics::snapshot::TraceContext;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyDict;

static MODULES: PyOnceLock<Py<PyDict>> = PyOnceLock::new();

/// Trace and span id of the active, sampled span. Costs one look-up in `sys.modules` where the library is not loaded.
#[inline]
pub(crate) fn current(py: Python<'_>) -> Option<TraceContext> {
    let modules = MODULES.get_or_try_init(py, || {
        py.import("sys")?.getattr("modules")?.cast_into().map(Bound::unbind).map_err(PyErr::from)
    });
    let module = modules.ok()?.bind(py).get_item(pyo3::intern!(py, "opentelemetry.trace")).ok()??;
    active(&module).ok()?
}

#[cold]
fn active(module: &Bound<'_, PyAny>) -> PyResult<Option<TraceContext>> {
    let py = module.py();
    let span = module.call_method0(pyo3::intern!(py, "get_current_span"))?;
    let context = span.call_method0(pyo3::intern!(py, "get_span_context"))?;
    // An exemplar that leads to a trace nobody kept is a dead link, hence the question for `sampled`.
    let flags: u8 = context.getattr(pyo3::intern!(py, "trace_flags"))?.extract()?;
    if !context.getattr(pyo3::intern!(py, "is_valid"))?.extract::<bool>()? || flags & 1 == 0 {
        return Ok(None);
    }
    let trace: u128 = context.getattr(pyo3::intern!(py, "trace_id"))?.extract()?;
    let span: u64 = context.getattr(pyo3::intern!(py, "span_id"))?.extract()?;
    Ok(Some(TraceContext { trace_id: trace.to_be_bytes(), span_id: span.to_be_bytes() }))
}
