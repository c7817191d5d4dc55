//! Messages as the dicts that a program gets.

use gds_hub::{Error, Message, Position, consumer};
use pyo3::exceptions::PyException;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList, PyString};

use crate::errors::hub_exception;
use crate::interop::once::interned;
use crate::json::read::Session;

/// Why a message could not be made into a dict: with the deserializer's exception where it is not what that takes, or
/// with what is the program's: Ctrl-C, no memory.
type ParseError = consumer::ParseError<Option<PyErr>>;

fn interrupted(error: PyErr) -> ParseError {
    ParseError::Interrupted(Some(error))
}

/// The dict of a message.
pub(super) fn dict<'py>(
    py: Python<'py>,
    key_deserializer: Option<&Py<PyAny>>,
    value_deserializer: Option<&Py<PyAny>>,
    session: &mut Session,
    message: &Message<'_>,
    topic: &Bound<'py, PyString>,
) -> Result<Bound<'py, PyDict>, ParseError> {
    let key = match (message.key, key_deserializer) {
        (None, _) => py.None().into_bound(py),
        (Some(key), Some(deserializer)) => deserialized(py, deserializer, key, message, "key_deserializer")?,
        (Some(key), None) => match std::str::from_utf8(key) {
            Ok(text) => PyString::new(py, text).into_any(),
            Err(_) => PyBytes::new(py, key).into_any(),
        },
    };
    let value = match (message.value, value_deserializer) {
        (None, _) => py.None().into_bound(py),
        (Some(value), Some(deserializer)) => deserialized(py, deserializer, value, message, "value_deserializer")?,
        (Some(value), None) => match session.read(py, value) {
            Ok(value) => value,
            Err(mut error) => {
                let cause = error.cause.take();
                if let Some(cause) = &cause
                    && !cause.is_instance_of::<PyException>(py)
                {
                    return Err(interrupted(cause.clone_ref(py)));
                }
                return Err(ParseError::Unreadable(not_read(message, &error.to_string()), cause));
            }
        },
    };
    fields(py, key, value, message, topic).map_err(interrupted)
}

fn fields<'py>(
    py: Python<'py>,
    key: Bound<'py, PyAny>,
    value: Bound<'py, PyAny>,
    message: &Message<'_>,
    topic: &Bound<'py, PyString>,
) -> PyResult<Bound<'py, PyDict>> {
    let headers = PyList::empty(py);
    for (name, value) in &message.headers {
        headers.append((name, value.map(|value| PyBytes::new(py, value))))?;
    }
    let made = PyDict::new(py);
    made.set_item(interned!(py, "key"), key)?;
    made.set_item(interned!(py, "value"), value)?;
    made.set_item(interned!(py, "topic"), topic)?;
    made.set_item(interned!(py, "partition"), message.partition)?;
    made.set_item(interned!(py, "offset"), message.offset)?;
    made.set_item(interned!(py, "timestamp"), message.timestamp)?;
    made.set_item(interned!(py, "headers"), headers)?;
    Ok(made)
}

fn not_read(message: &Message<'_>, why: &str) -> Error {
    let Message { topic, partition, offset, .. } = message;
    Error::Serialization(format!("message at {topic}[{partition}] offset {offset} cannot be read: {why}").into())
}

fn deserialized<'py>(
    py: Python<'py>,
    deserializer: &Py<PyAny>,
    bytes: &[u8],
    message: &Message<'_>,
    who: &str,
) -> Result<Bound<'py, PyAny>, ParseError> {
    let bytes = PyBytes::new(py, bytes);
    if deserializer.is(py.get_type::<PyBytes>()) {
        return Ok(bytes.into_any());
    }
    match deserializer.bind(py).call1((bytes,)) {
        Ok(value) => Ok(value),
        Err(error) if error.is_instance_of::<PyException>(py) => {
            // Not its text, which may quote the value.
            let kind = error.get_type(py).name().map_or_else(|_| "an exception".to_owned(), |name| name.to_string());
            Err(ParseError::Unreadable(not_read(message, &format!("{who} raised {kind}")), Some(error)))
        }
        Err(error) => Err(interrupted(error)),
    }
}

/// The exception for a value that cannot be parsed: it says from where the value is.
pub(super) fn unparsed(py: Python<'_>, error: &Error, at: &Position, cause: Option<PyErr>) -> PyResult<PyErr> {
    let exception = hub_exception(py, error)?;
    exception.setattr("topic", &*at.topic)?;
    exception.setattr("partition", at.partition)?;
    exception.setattr("offset", at.offset)?;
    let raised = PyErr::from_value(exception);
    raised.set_cause(py, cause);
    Ok(raised)
}
