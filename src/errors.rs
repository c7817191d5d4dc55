//! Every Rust error that reaches Python becomes its exception here and nowhere else.
//!
//! Of the metrics they are built-in exceptions, because that is what callers already catch: a setting is a `ValueError`,
//! a file, a port or an answer that refuses is an `OSError` (with its number, so `FileNotFoundError` and
//! `PermissionError` come by themselves), a server that is not there a `ConnectionError` or `TimeoutError`. The hub
//! and the store have classes of their own, which say whether to try again.

use gds_hub::Failure;
use gds_metrics::Error;
use pyo3::exceptions::{
    PyConnectionError, PyException, PyOSError, PyRuntimeError, PyTimeoutError, PyTypeError, PyValueError,
};
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

const HUB: &str = "gds_kafka.errors";
const STORE: &str = "gds_store.errors";

fn class<'py>(
    py: Python<'py>,
    (home, name): (&str, &str),
    doc: &str,
    bases: &[Bound<'py, PyType>],
    attributes: &[(&str, Option<bool>)],
) -> PyResult<Bound<'py, PyType>> {
    let body = PyDict::new(py);
    body.set_item("__doc__", doc)?;
    body.set_item("__module__", home)?;
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
            let base = class(py, (HUB, "GdsKafkaError"), doc, &[py.get_type::<PyException>()], &defaults)?;
            let with = |other: Bound<'py, PyType>| [base.clone(), other];
            let derive = |name: &str, doc: &str| class(py, (HUB, name), doc, std::slice::from_ref(&base), &[]);
            Ok(Self {
                configuration: class(
                    py,
                    (HUB, "KafkaConfigurationError"),
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
                    (HUB, "KafkaTimeoutError"),
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
    let of_hub = [&all.base, &all.configuration, &all.connection, &all.message, &all.serialization, &all.timeout];
    for class in of_hub.into_iter().chain(StoreExceptions::get(py)?.all()) {
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

/// The classes of `gds_store`, made once.
struct StoreExceptions {
    base: Py<PyType>,
    configuration: Py<PyType>,
    damaged: Py<PyType>,
    query: Py<PyType>,
    syntax: Py<PyType>,
    timeout: Py<PyType>,
    unavailable: Py<PyType>,
}

static STORE_EXCEPTIONS: RaceOnce<StoreExceptions> = RaceOnce::new();

impl StoreExceptions {
    fn get(py: Python<'_>) -> PyResult<&Self> {
        STORE_EXCEPTIONS.get_or_try_init(py, || {
            let make = |name: &str, doc: &str, bases: &[Bound<'_, PyType>], attributes: &[(&str, Option<bool>)]| {
                class(py, (STORE, name), doc, bases, attributes).map(Bound::unbind)
            };
            let doc = "Something went wrong with a store.\n\n``retriable``: trying the same again later may help.";
            let base = class(py, (STORE, "GdsStoreError"), doc, &[py.get_type::<PyException>()], &[("retriable", Some(false))])?;
            let doc = "A query has no answer.\n\n``expression``: the query. ``line``, ``column`` and ``end_column``: where in \
                       it, counted from one, columns in bytes; None where that is not known.";
            let place = [("expression", None), ("line", None), ("column", None), ("end_column", None)];
            let query = class(py, (STORE, "StoreQueryError"), doc, std::slice::from_ref(&base), &place)?;
            let values = py.get_type::<PyValueError>();
            let (syntax, timeout) = ([query.clone(), values.clone()], [query.clone(), py.get_type::<PyTimeoutError>()]);
            let unavailable = "The folder cannot be used now: there is no room, another process has it, it is closed, or the \
                               system refuses.";
            Ok(Self {
                configuration: make(
                    "StoreConfigurationError",
                    "A setting makes no sense, or what is asked for cannot be done with a store that was opened so.",
                    &[base.clone(), values],
                    &[],
                )?,
                damaged: make(
                    "StoreDamagedError",
                    "A file is not what was written, or was written by a newer version.",
                    std::slice::from_ref(&base),
                    &[],
                )?,
                syntax: make("StoreSyntaxError", "The text is no query.", &syntax, &[])?,
                timeout: make("StoreTimeoutError", "The query took longer than it may.", &timeout, &[])?,
                unavailable: make("StoreUnavailableError", unavailable, std::slice::from_ref(&base), &[])?,
                query: query.unbind(),
                base: base.unbind(),
            })
        })
    }

    fn all(&self) -> [&Py<PyType>; 7] {
        let Self { base, configuration, damaged, query, syntax, timeout, unavailable } = self;
        [base, configuration, damaged, query, syntax, timeout, unavailable]
    }
}

fn store_exception(py: Python<'_>, class: &Py<PyType>, message: &str, retriable: bool) -> PyResult<PyErr> {
    let exception = class.bind(py).call1((message,))?;
    exception.setattr("retriable", retriable)?;
    Ok(PyErr::from_value(exception))
}

/// The exception for an error of a store.
pub(crate) fn store_error(py: Python<'_>, error: &gds_store::Error) -> PyErr {
    use gds_store::Error::{Damaged, Format, Full, HeadFull, Io, Locked, NotEmpty, ReadOnly, Setting};
    let made = StoreExceptions::get(py).and_then(|all| {
        let class = match error {
            Setting(_) | NotEmpty { .. } | ReadOnly => &all.configuration,
            Damaged { .. } | Format { .. } => &all.damaged,
            Full { .. } | Io { .. } | Locked { .. } | HeadFull { .. } => &all.unavailable,
        };
        store_exception(py, class, &error.to_string(), error.retriable())
    });
    made.unwrap_or_else(|failed| failed)
}

/// The exception for a store that was closed, or is another process's.
pub(crate) fn store_closed(py: Python<'_>, message: &str) -> PyErr {
    let made = StoreExceptions::get(py).and_then(|all| store_exception(py, &all.unavailable, message, false));
    made.unwrap_or_else(|failed| failed)
}

/// The exception for a query, or a selector, that has no answer.
pub(crate) fn promql_error(py: Python<'_>, text: &str, error: &gds_promql::error::Error) -> PyErr {
    use gds_promql::error::Error::{Duration, Parse, Source, Timeout};
    let made = StoreExceptions::get(py).and_then(|all| {
        let class = match error {
            Parse(_) | Duration(_) => &all.syntax,
            Timeout => &all.timeout,
            Source(_) => return store_exception(py, &all.unavailable, &error.to_string(), error.retriable()),
            _ => &all.query,
        };
        let made = store_exception(py, class, &error.to_string(), error.retriable())?;
        let exception = made.value(py);
        exception.setattr("expression", text)?;
        if let Some(span) = error.span() {
            let (line, column) = span.position(text);
            exception.setattr("line", line)?;
            exception.setattr("column", column)?;
            exception.setattr("end_column", column + span.end.saturating_sub(span.start))?;
        }
        Ok(made)
    });
    made.unwrap_or_else(|failed| failed)
}

/// The exception for an answer that is more than columns can hold.
pub(crate) fn arrow_error(error: &arrow_schema::ArrowError) -> PyErr {
    PyValueError::new_err(error.to_string())
}

/// The exception for errors of alerting: a line for each thing that is wrong.
pub(crate) fn alert_errors(py: Python<'_>, errors: &[gds_alert_service::Error]) -> PyErr {
    let text = errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
    match errors {
        [gds_alert_service::Error::Hub(error)] => hub_error(py, error),
        [gds_alert_service::Error::Store(_)] => PyOSError::new_err(text),
        [gds_alert_service::Error::Ended] => PyRuntimeError::new_err(text),
        _ => PyValueError::new_err(text),
    }
}
