//! Every Rust error that reaches Python becomes its exception here and nowhere else.
//!
//! Of the metrics they are built-in exceptions, because that is what callers already catch: a setting is a `ValueError`,
//! a file, a port or an answer that refuses is an `OSError` (with its number, so `FileNotFoundError` and
//! `PermissionError` come by themselves), a server that is not there a `ConnectionError` or `TimeoutError`. The hub has
//! classes of its own, which say whether to try again.

use gds_hub::Failure;
use gds_metrics::Error;
use pyo3::exceptions::{PyConnectionError, PyException, PyOSError, PyTimeoutError, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple, PyType};

use crate::interop::once::RaceOnce;

/// The exception for an error of the metrics.
pub(crate) fn metrics_error(error: &Error) -> PyErr {
    let message = error.to_string();
    match error {
        Error::Unusable(gds_net::Error::File { source, .. } | gds_net::Error::Listen { source, .. }) => {
            match source.raw_os_error() {
                Some(number) => PyOSError::new_err((number, message)),
                None => PyOSError::new_err(message),
            }
        }
        Error::Unreachable { timed_out: true, .. } => PyTimeoutError::new_err(message),
        Error::Unreachable { .. } | Error::Closed { .. } => PyConnectionError::new_err(message),
        Error::Refused { .. } => PyOSError::new_err(message),
        _ => PyValueError::new_err(message),
    }
}

/// The classes of `gds_kafka`, made once; the hub has no other errors than these say.
pub(crate) struct Exceptions {
    base: Py<PyType>,
    configuration: Py<PyType>,
    connection: Py<PyType>,
    message: Py<PyType>,
    serialization: Py<PyType>,
    timeout: Py<PyType>,
}

static EXCEPTIONS: RaceOnce<Exceptions> = RaceOnce::new();

fn class<'py>(
    py: Python<'py>,
    name: &str,
    doc: &str,
    bases: &[Bound<'py, PyType>],
    attributes: &[(&str, Option<bool>)],
) -> PyResult<Bound<'py, PyType>> {
    let body = PyDict::new(py);
    body.set_item("__doc__", doc)?;
    body.set_item("__module__", "gds_kafka.errors")?;
    for (name, value) in attributes {
        body.set_item(name, value)?;
    }
    let made = py.get_type::<PyType>().call1((name, PyTuple::new(py, bases)?, body))?;
    Ok(made.cast_into::<PyType>()?)
}

impl Exceptions {
    pub(crate) fn get<'py>(py: Python<'py>) -> PyResult<&'py Self> {
        EXCEPTIONS.get_or_try_init(py, || {
            let defaults = [("retriable", Some(false)), ("fatal", Some(false)), ("code", None)];
            let doc = "Something went wrong between this program and the hub.\n\n\
                       ``retriable``: trying again later may help. ``fatal``: this client is of no more use. ``code``: \
                       librdkafka's number, or None.";
            let base = class(py, "GdsKafkaError", doc, &[py.get_type::<PyException>()], &defaults)?;
            let with = |other: Bound<'py, PyType>| [base.clone(), other];
            let derive = |name: &str, doc: &str| class(py, name, doc, std::slice::from_ref(&base), &[]);
            Ok(Self {
                configuration: class(
                    py,
                    "KafkaConfigurationError",
                    "A setting is unknown or makes no sense.",
                    &with(py.get_type::<PyValueError>()),
                    &[],
                )?
                .unbind(),
                connection: derive("KafkaConnectionError", "The hub cannot be reached, or does not let us in.")?
                    .unbind(),
                message: derive("KafkaMessageError", "The hub refuses this message, topic or request.")?.unbind(),
                serialization: derive(
                    "KafkaSerializationError",
                    "A value cannot be written or read. Where it was read, ``topic``, ``partition`` and ``offset`` say \
                     from where.",
                )?
                .unbind(),
                timeout: class(
                    py,
                    "KafkaTimeoutError",
                    "No answer, or no room, in time; what was asked for may still happen.",
                    &with(py.get_type::<PyTimeoutError>()),
                    &[],
                )?
                .unbind(),
                base: base.unbind(),
            })
        })
    }

    fn of(&self, error: &gds_hub::Error) -> &Py<PyType> {
        match error {
            gds_hub::Error::Config(_) => &self.configuration,
            gds_hub::Error::Connection(_) | gds_hub::Error::Closed(_) => &self.connection,
            gds_hub::Error::Message(_) | gds_hub::Error::Storage(_) => &self.message,
            gds_hub::Error::Serialization(_) => &self.serialization,
            gds_hub::Error::Timeout(_) | gds_hub::Error::Full(_) => &self.timeout,
        }
    }
}

/// Puts the classes into the module.
pub(crate) fn add(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let py = module.py();
    let all = Exceptions::get(py)?;
    for class in [&all.base, &all.configuration, &all.connection, &all.message, &all.serialization, &all.timeout] {
        let class = class.bind(py);
        module.add(class.name()?, class)?;
    }
    Ok(())
}

/// The exception for an error of the hub.
pub(crate) fn hub_error(py: Python<'_>, error: &gds_hub::Error) -> PyErr {
    match hub_exception(py, error) {
        Ok(exception) => PyErr::from_value(exception),
        Err(failed) => failed,
    }
}

/// The same, as an object that is not raised.
pub(crate) fn hub_exception<'py>(py: Python<'py>, error: &gds_hub::Error) -> PyResult<Bound<'py, PyAny>> {
    let exception = Exceptions::get(py)?.of(error).bind(py).call1((error.message(),))?;
    exception.setattr("retriable", error.retriable())?;
    exception.setattr("fatal", error.fatal())?;
    exception.setattr("code", error.code())?;
    Ok(exception)
}

/// An exception as an error of the hub, to be told later.
pub(crate) fn to_hub_error(py: Python<'_>, error: &PyErr) -> gds_hub::Error {
    use gds_hub::Error::{Config, Connection, Message, Serialization, Timeout};
    let failure = Failure::from(error.value(py).to_string());
    let Ok(all) = Exceptions::get(py) else { return Message(failure) };
    let is = |class: &Py<PyType>| error.matches(py, class).unwrap_or(false);
    match () {
        () if error.is_instance_of::<PyTypeError>(py) || is(&all.serialization) => Serialization(failure),
        () if is(&all.connection) => Connection(failure),
        () if is(&all.timeout) => Timeout(failure),
        () if is(&all.configuration) => Config(failure),
        () => Message(failure),
    }
}
