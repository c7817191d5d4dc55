//! Structs whose fields are the items of a dict on the Python side.
//!
//! pyo3 derives the same, with a `PyOnceLock` for every name (see `once.rs`).

use pyo3::conversion::FromPyObjectOwned;
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::PyString;

/// The struct, and how it is taken from a dict that has an item for every field.
macro_rules! from_dict {
    ($(#[$about:meta])* $seen:vis struct $struct:ident { $($field_seen:vis $field:ident: $type:ty),+ $(,)? }) => {
        $(#[$about])*
        $seen struct $struct {
            $($field_seen $field: $type),+
        }

        impl<'py> ::pyo3::FromPyObject<'_, 'py> for $struct {
            type Error = ::pyo3::PyErr;

            fn extract(items: ::pyo3::Borrowed<'_, 'py, ::pyo3::PyAny>) -> ::pyo3::PyResult<Self> {
                let py = items.py();
                Ok(Self { $($field: $crate::interop::dicts::item(&items, $crate::interop::once::interned!(py, stringify!($field)))?),+ })
            }
        }
    };
}
pub(crate) use from_dict;

/// The struct, and how it becomes a dict.
macro_rules! into_dict {
    ($(#[$about:meta])* $seen:vis struct $struct:ident { $($field:ident: $type:ty),+ $(,)? }) => {
        $(#[$about])*
        $seen struct $struct {
            $($field: $type),+
        }

        impl<'py> ::pyo3::IntoPyObject<'py> for $struct {
            type Target = ::pyo3::types::PyDict;
            type Output = ::pyo3::Bound<'py, Self::Target>;
            type Error = ::pyo3::PyErr;

            fn into_pyobject(self, py: ::pyo3::Python<'py>) -> ::pyo3::PyResult<Self::Output> {
                let items = ::pyo3::types::PyDict::new(py);
                $(items.set_item($crate::interop::once::interned!(py, stringify!($field)), self.$field)?;)+
                Ok(items)
            }
        }
    };
}
pub(crate) use into_dict;

/// The item of this name. One of another type is a `TypeError` that names it.
pub(crate) fn item<'py, T: FromPyObjectOwned<'py>>(
    items: &Bound<'py, PyAny>,
    name: &Bound<'py, PyString>,
) -> PyResult<T> {
    let py = items.py();
    items.get_item(name)?.extract::<T>().map_err(|error| {
        let error: PyErr = error.into();
        if !error.is_instance_of::<PyTypeError>(py) {
            return error;
        }
        let named = PyTypeError::new_err(format!("{name}: {}", error.value(py)));
        named.set_cause(py, Some(error));
        named
    })
}
