//! What is said in a logger of Python's.

use pyo3::prelude::*;

use crate::interop::exit;

/// Says something in the logger `gds_metrics` from where nothing can be raised.
pub(crate) fn log_warning(text: &str) {
    warn_in("gds_metrics", text);
}

/// As [`log_warning`], in another logger.
pub(crate) fn warn_in(logger: &str, text: &str) {
    // Nothing to attach to while the interpreter ends.
    let _ = Python::try_attach(|py| exit::calling_python(py, || log(py, logger, text)));
}

/// Says something in a logger; what a handler of it raises is the caller's.
pub(crate) fn log(py: Python<'_>, logger: &str, text: &str) -> PyResult<()> {
    let logger = py.import("logging")?.call_method1("getLogger", (logger,))?;
    logger.call_method1("warning", ("%s", text)).map(drop)
}
