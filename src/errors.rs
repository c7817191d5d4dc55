//! Every Rust error that reaches Python becomes its exception here and nowhere else.
//!
//! Built-in exceptions, because that is what callers already catch: a setting is a `ValueError`, a file, a port or an
//! answer that refuses is an `OSError` (with its number, so `FileNotFoundError` and `PermissionError` come by
//! themselves), a server that is not there a `ConnectionError` or `TimeoutError`.

use gds_metrics::Error;
use pyo3::PyErr;
use pyo3::exceptions::{PyConnectionError, PyOSError, PyTimeoutError, PyValueError};

/// The exception for an error of the core.
pub(crate) fn to_python(error: &Error) -> PyErr {
    let message = error.to_string();
    match error {
        Error::File { source, .. } | Error::Listen { source, .. } => match source.raw_os_error() {
            Some(number) => PyOSError::new_err((number, message)),
            None => PyOSError::new_err(message),
        },
        Error::Unreachable { timed_out: true, .. } => PyTimeoutError::new_err(message),
        Error::Unreachable { .. } | Error::Closed { .. } => PyConnectionError::new_err(message),
        Error::Refused { .. } => PyOSError::new_err(message),
        _ => PyValueError::new_err(message),
    }
}
