//! The active OpenTelemetry span, where the program uses that library.

use std::sync::atomic::{AtomicUsize, Ordering};

use gds_metrics::snapshot::TraceContext;
use gds_process::sync::Mutex;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::interop::exit;
use crate::interop::once::{RaceOnce, interned};

static MODULES: RaceOnce<Py<PyDict>> = RaceOnce::new();

/// Number of loaded modules when OpenTelemetry was last looked for in vain.
static MODULES_WITHOUT: AtomicUsize = AtomicUsize::new(usize::MAX);

/// A span, and whether its trace is kept.
#[derive(Clone, Copy)]
struct Active {
    context: TraceContext,
    is_sampled: bool,
}

/// Trace and span id of the active span, if it is sampled: an exemplar that leads to a trace nobody kept is a dead link.
#[inline]
pub(crate) fn current(py: Python<'_>) -> Option<TraceContext> {
    active(py).filter(|span| span.is_sampled).map(|span| span.context)
}

/// Trace and span id of the active span, kept or not: what was logged within it belongs together.
pub(crate) fn active_span(py: Python<'_>) -> Option<TraceContext> {
    active(py).map(|span| span.context)
}

/// Nobody can have an active span without having imported the library, so where it is not loaded this costs one
/// comparison: as long as the number of loaded modules is what it was, it is not loaded yet.
#[inline]
fn active(py: Python<'_>) -> Option<Active> {
    let modules = match MODULES.get() {
        Some(modules) => modules.bind(py),
        None => modules(py)?,
    };
    let loaded = modules.len();
    if loaded == MODULES_WITHOUT.load(Ordering::Relaxed) { None } else { look(modules, loaded) }
}

#[cold]
fn modules(py: Python<'_>) -> Option<&Bound<'_, PyDict>> {
    let find = || py.import("sys")?.getattr("modules")?.cast_into().map(Bound::unbind).map_err(PyErr::from);
    MODULES.get_or_try_init(py, find).ok().map(|modules| modules.bind(py))
}

fn look(modules: &Bound<'_, PyDict>, loaded: usize) -> Option<Active> {
    let Some(module) = modules.get_item(interned!(modules.py(), "opentelemetry.trace")).ok()? else {
        MODULES_WITHOUT.store(loaded, Ordering::Relaxed);
        return None;
    };
    exit::calling_python(module.py(), || of_context(&module).ok())?.flatten()
}

/// `opentelemetry.context.get_current`.
static GET_CURRENT: RaceOnce<Py<PyAny>> = RaceOnce::new();

/// The context asked about last, kept alive so that its address means this one, and the span that was active in it.
///
/// The lock is taken with the interpreter's lock held and never around Python code, so it is never waited for and no
/// fork finds it taken.
static LAST: Mutex<Option<(Py<PyAny>, Option<Active>)>> = Mutex::new(None);

/// A context never changes (specification, "Context"), so the same object has the same active span: only the first
/// report within a span asks for its ids.
fn of_context(module: &Bound<'_, PyAny>) -> PyResult<Option<Active>> {
    let py = module.py();
    let find = || py.import("opentelemetry.context")?.getattr("get_current").map(Bound::unbind);
    let context = GET_CURRENT.get_or_try_init(py, find)?.bind(py).call0()?;
    if let Some((last, trace)) = &*LAST.lock()
        && last.as_ptr() == context.as_ptr()
    {
        return Ok(*trace);
    }
    let trace = read(module)?;
    let replaced = LAST.lock().replace((context.unbind(), trace));
    drop(replaced); // after the lock is let go: this may run Python code
    Ok(trace)
}

fn read(module: &Bound<'_, PyAny>) -> PyResult<Option<Active>> {
    let py = module.py();
    let span = module.call_method0(interned!(py, "get_current_span"))?;
    let context = span.call_method0(interned!(py, "get_span_context"))?;
    let flags: u8 = context.getattr(interned!(py, "trace_flags"))?.extract()?;
    if !context.getattr(interned!(py, "is_valid"))?.extract::<bool>()? {
        return Ok(None);
    }
    let trace: u128 = context.getattr(interned!(py, "trace_id"))?.extract()?;
    let span: u64 = context.getattr(interned!(py, "span_id"))?.extract()?;
    let context = TraceContext { trace_id: trace.to_be_bytes(), span_id: span.to_be_bytes() };
    Ok(Some(Active { context, is_sampled: flags & 1 != 0 }))
}
