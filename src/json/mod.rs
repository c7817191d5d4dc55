//! JSON without Python objects in between: messages on their way out and in.

mod keys;
mod kinds;
pub(crate) mod measurement;
pub(crate) mod read;
mod text;
pub(crate) mod write;

use pyo3::exceptions::{PyException, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use write::{Options, WriteError};

/// What a message with this value is: the text as bytes. For tests and measurements; producers write into their queue.
#[pyfunction]
#[pyo3(signature = (value, *, default = None, max_depth = 64))]
pub(crate) fn json_dumps<'py>(
    value: &Bound<'py, PyAny>,
    default: Option<Py<PyAny>>,
    max_depth: usize,
) -> PyResult<Bound<'py, PyBytes>> {
    let py = value.py();
    let mut out = Vec::with_capacity(512);
    let options = Options { max_depth: max_depth.min(write::DEEPEST), default };
    write::write(py, value, &mut out, &options).map_err(|error| into_python(py, *error))?;
    Ok(PyBytes::new(py, &out))
}

/// As Python's own json: `TypeError` for an object of the wrong type, else `ValueError`; Ctrl-C stays what it is.
fn into_python(py: Python<'_>, mut error: WriteError) -> PyErr {
    let cause = error.cause.take();
    if let Some(cause) = &cause
        && !cause.is_instance_of::<PyException>(py)
    {
        return cause.clone_ref(py);
    }
    let message = error.to_string();
    let raised = if error.unsuitable { PyTypeError::new_err(message) } else { PyValueError::new_err(message) };
    raised.set_cause(py, cause);
    raised
}

/// The object that a message says; `ValueError` for what is no JSON.
#[pyfunction]
pub(crate) fn json_loads<'py>(py: Python<'py>, text: &[u8]) -> PyResult<Bound<'py, PyAny>> {
    read::read(py, text).map_err(|mut error| {
        let raised = PyValueError::new_err(error.to_string());
        raised.set_cause(py, error.cause.take());
        raised
    })
}
