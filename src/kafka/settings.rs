//! Settings of the clients: Python's values in, the hub's table asked.

use gds_hub::Error;
use gds_hub::settings::{Role, Settings, Value};
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyDict, PyFloat, PyInt, PyList, PyString, PyTuple};

use crate::errors::hub_error;
use crate::interop::text::type_name;

/// Reads settings by both spellings.
pub(crate) fn parse(
    py: Python<'_>,
    role: Role,
    servers: &[String],
    config: &Bound<'_, PyDict>,
    librdkafka: &Bound<'_, PyDict>,
) -> PyResult<Settings> {
    Settings::parse(role, servers, &values(config)?, &values(librdkafka)?).map_err(|error| hub_error(py, &error))
}

fn values(config: &Bound<'_, PyDict>) -> PyResult<Vec<(String, Value)>> {
    let mut values = Vec::with_capacity(config.len());
    for (name, value) in config {
        let name: String = name.extract()?;
        // None is what kafka-python's defaults say for "not set".
        if value.is_none() {
            continue;
        }
        let read = value_of(&value).ok_or_else(|| {
            let kind = type_name(Some(&value));
            let message =
                format!("{name} is of type {kind}: expected a str, a number, a bool, a path or a list of str");
            hub_error(config.py(), &Error::Config(message.into()))
        })?;
        values.push((name, read));
    }
    Ok(values)
}

fn value_of(value: &Bound<'_, PyAny>) -> Option<Value> {
    if value.is_instance_of::<PyBool>() {
        return value.extract().ok().map(Value::Bool);
    }
    if value.is_instance_of::<PyInt>() {
        return value.extract().ok().map(Value::Int);
    }
    if value.is_instance_of::<PyFloat>() {
        return value.extract().ok().map(Value::Float);
    }
    if value.is_instance_of::<PyString>() {
        return value.extract().ok().map(Value::Text);
    }
    if value.is_instance_of::<PyList>() || value.is_instance_of::<PyTuple>() {
        return value.extract().ok().map(Value::List);
    }
    // A path; bytes are no text.
    value.extract::<std::path::PathBuf>().ok()?.into_os_string().into_string().ok().map(Value::Text)
}
