//! JSON without Python objects in between: messages on their way out and in.

mod conversions;
mod keys;
pub(crate) mod read;
pub(crate) mod write;
mod write_error;

use pyo3::exceptions::{PyException, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyByteArray, PyBytes, PyMemoryView};

use write::Options;
use write_error::WriteError;

/// Containers within containers that are written and that are read: what can be written can be read. More would be more
/// than the stack of a small thread holds.
pub(crate) const DEEPEST: usize = 256;

/// The bytes of an object that is bytes: `bytes`, `bytearray` or `memoryview`; none if it is of another type.
pub(crate) fn bytes_like<'py>(object: &Bound<'py, PyAny>) -> Option<PyResult<Bound<'py, PyBytes>>> {
    if let Ok(bytes) = object.cast::<PyBytes>() {
        return Some(Ok(bytes.clone()));
    }
    let is_bytes = object.is_instance_of::<PyByteArray>() || object.is_instance_of::<PyMemoryView>();
    is_bytes.then(|| write::bytes_of(object))
}

/// Whether an object stands for none, such as pandas' `NA`.
pub(crate) fn is_null(object: &Bound<'_, PyAny>) -> bool {
    matches!(conversions::of(object), Ok(conversions::Conversion::Null))
}

/// What a message with this value is: the text as bytes. For tests and measurements; producers write into their queue.
#[pyfunction]
#[pyo3(signature = (value, *, default = None, max_depth = 256))]
pub(crate) fn json_dumps<'py>(
    value: &Bound<'py, PyAny>,
    default: Option<Py<PyAny>>,
    max_depth: usize,
) -> PyResult<Bound<'py, PyBytes>> {
    let py = value.py();
    let mut out = Vec::with_capacity(512);
    let options = Options { max_depth: max_depth.min(DEEPEST), default };
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
