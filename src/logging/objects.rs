//! What any object says of itself, whatever it raises.

use pyo3::exceptions::PyException;
use pyo3::prelude::*;
use pyo3::types::PyString;

use crate::interop::text::{lossy, type_name};

/// Goes on after an `Exception`; anything else (Ctrl-C) belongs to the program.
pub(super) fn swallow_exception(py: Python<'_>, error: PyErr) -> PyResult<()> {
    if error.is_instance_of::<PyException>(py) { Ok(()) } else { Err(error) }
}

/// `str(object)` or `repr(object)`, or what type it is of if it has neither.
pub(super) fn describe<'py>(
    object: &Bound<'py, PyAny>,
    how: impl Fn(&Bound<'py, PyAny>) -> PyResult<Bound<'py, PyString>>,
) -> PyResult<String> {
    match how(object) {
        Ok(text) => Ok(lossy(&text).into_owned()),
        Err(error) => {
            swallow_exception(object.py(), error)?;
            Ok(format!("<unprintable {}>", type_name(Some(object))))
        }
    }
}

/// `module.Class` of an exception, without the module for those that are built in.
pub(super) fn full_name(error: &Bound<'_, PyAny>) -> String {
    let kind = error.get_type();
    let name = kind.qualname().map_or_else(|_| "?".to_owned(), |name| name.to_string());
    match kind.module() {
        Ok(module) if module != "builtins" => format!("{module}.{name}"),
        _ => name,
    }
}
