//! What is given to be sent, written as records of the hub.

use std::borrow::Cow;
use std::cell::Cell;

use gds_hub::producer::Producer;
use gds_hub::{Error, Headers, OwnedHeader, Record, check_topic, codec};
use gds_process::clock::now_ms;
use pyo3::exceptions::{PyException, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyInt, PyString};

use super::outcomes::Token;
use crate::errors::hub_error;
use crate::interop::exit;
use crate::interop::text::{lossy, type_name};
use crate::json::bytes_like;
use crate::json::write::{self as json, Flags, Options};

/// A scratch buffer that became larger than this is not kept.
const KEEP_BYTES: usize = 1024 * 1024;

/// The header that flags a message in which a number that is none was written as null.
const NON_FINITE: &str = "gds.non_finite";

/// The header that flags a message in which, anywhere, U+FFFD stands for what UTF-8 cannot carry.
const LONE_SURROGATE: &str = "gds.lone_surrogate";

/// How many headers a message may get beside its own: two flags, its id, and six as a dead letter.
const ADDED: usize = 2 + 1 + 6;

/// As much of the name of a header is shown.
const SHOWN: usize = 40;

thread_local! {
    static SCRATCH: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// A message for `send_many` that is more than its value.
#[pyclass(frozen, module = "gds_kafka", get_all)]
pub(crate) struct OutgoingMessage {
    pub(super) value: Py<PyAny>,
    pub(super) key: Option<Py<PyAny>>,
    pub(super) headers: Option<Py<PyAny>>,
    pub(super) partition: Option<i32>,
    pub(super) timestamp: Option<Py<PyAny>>,
}

#[pymethods]
impl OutgoingMessage {
    #[new]
    #[pyo3(signature = (value, key = None, *, headers = None, partition = None, timestamp = None))]
    fn new(
        value: Py<PyAny>,
        key: Option<Py<PyAny>>,
        headers: Option<Py<PyAny>>,
        partition: Option<i32>,
        timestamp: Option<Py<PyAny>>,
    ) -> Self {
        Self { value, key, headers, partition, timestamp }
    }
}

/// The parts of a message besides its value.
#[derive(Clone, Copy, Default)]
pub(super) struct MessageFields<'a, 'py> {
    pub(super) key: Option<&'a Bound<'py, PyAny>>,
    pub(super) headers: Option<&'a Bound<'py, PyAny>>,
    pub(super) partition: Option<i32>,
    pub(super) timestamp: Option<&'a Bound<'py, PyAny>>,
}

/// What makes bytes of values and keys; without them values become JSON.
pub(super) struct Serializers {
    pub(super) value: Option<Py<PyAny>>,
    pub(super) key: Option<Py<PyAny>>,
}

impl Serializers {
    pub(super) fn are_none(&self) -> bool {
        self.value.is_none() && self.key.is_none()
    }

    /// Writes one message as a record into `frame`.
    pub(super) fn write(
        &self,
        producer: &Producer<Token>,
        frame: &mut Vec<u8>,
        topic: &str,
        value: &Bound<'_, PyAny>,
        parts: MessageFields<'_, '_>,
    ) -> PyResult<()> {
        let py = value.py();
        check_topic(topic).map_err(|error| hub_error(py, &error))?;
        let mut flags = Flags::default();
        let mut headers =
            parts.headers.map(|headers| read_headers(headers, &mut flags)).transpose()?.unwrap_or_default();
        let timestamp = parts.timestamp.map_or_else(|| Ok(now_ms()), read_timestamp)?;
        if let Some(partition) = parts.partition
            && partition < 0
        {
            return Err(PyValueError::new_err(format!("partition={partition}: expected None or a number from 0 on")));
        }
        let key_bytes;
        let key = match parts.key {
            None => None,
            Some(key) => {
                key_bytes = KeyBytes::read(key, self.key.as_ref(), &mut flags)?;
                key_bytes.get()
            }
        };
        let draft = codec::begin(frame, key);
        let has_value = match &self.value {
            Some(serializer) => append_serialized(frame, value, serializer, &mut flags)?,
            None => append_value(frame, value, &mut flags)?,
        };
        if flags.non_finite {
            headers.push((NON_FINITE.to_owned(), Some(b"null".to_vec())));
        }
        if flags.lone_surrogate {
            headers.push((LONE_SURROGATE.to_owned(), Some("\u{fffd}".into())));
        }
        let record = Record {
            topic,
            partition: parts.partition,
            timestamp,
            headers: Headers::new(&headers),
            ..Record::default()
        };
        producer.finish(frame, draft, has_value, &record);
        Ok(())
    }
}

/// Lends the thread's buffer, empty; a call within the call gets another one.
pub(super) fn with_scratch<R>(call: impl FnOnce(&mut Vec<u8>) -> R) -> R {
    let mut frame = SCRATCH.take();
    frame.clear();
    let done = call(&mut frame);
    if frame.capacity() <= KEEP_BYTES {
        SCRATCH.set(frame);
    }
    done
}

pub(super) fn topic_name<'a>(topic: &'a Bound<'_, PyAny>) -> PyResult<&'a str> {
    match topic.cast::<PyString>() {
        Ok(name) => name.to_str().map_err(|_| {
            let message = "topic: expected a name in UTF-8, got text with a lone surrogate";
            hub_error(topic.py(), &Error::Message(message.into()))
        }),
        Err(_) => Err(PyTypeError::new_err(format!("topic is of type {}: expected a str", topic.get_type().name()?))),
    }
}

/// Milliseconds since the epoch, or a datetime.
fn read_timestamp(given: &Bound<'_, PyAny>) -> PyResult<i64> {
    if given.is_none() {
        return Ok(now_ms());
    }
    let timestamp = timestamp_of(given)?;
    if timestamp < 1 {
        // To librdkafka 0 is now and -1 none at all; another time than the one given is worse than an error.
        return Err(PyValueError::new_err(format!(
            "timestamp={}: expected milliseconds since the epoch from 1 on, or a datetime after it; leave it out for now",
            given.str()?
        )));
    }
    Ok(timestamp)
}

fn timestamp_of(given: &Bound<'_, PyAny>) -> PyResult<i64> {
    if given.is_instance_of::<PyInt>() {
        return given.extract();
    }
    match given.call_method0("timestamp").and_then(|seconds| seconds.extract::<f64>()) {
        // Far inside what i64 holds: datetime ends with the year 9999.
        #[allow(clippy::cast_possible_truncation)]
        Ok(seconds) => Ok((seconds * 1000.0).round() as i64),
        Err(_) => Err(PyTypeError::new_err(format!(
            "timestamp is of type {}: expected milliseconds since the epoch as an int, or a datetime",
            given.get_type().name()?
        ))),
    }
}

/// Pairs, or a dict; values are bytes, text or None.
fn read_headers(given: &Bound<'_, PyAny>, flags: &mut Flags) -> PyResult<Vec<OwnedHeader>> {
    let wrong = || {
        PyTypeError::new_err(
            "headers: expected a list of (name, value) pairs or a dict, names being str and values bytes, str or None",
        )
    };
    if given.is_none() {
        return Ok(Vec::new());
    }
    let items = match given.cast::<PyDict>() {
        Ok(dict) => dict.items().into_any(),
        Err(_) => given.clone(),
    };
    let mut headers = Vec::new();
    for item in items.try_iter().map_err(|_| wrong())? {
        let item = item?;
        let (name, value) = item.extract::<(Bound<'_, PyString>, Bound<'_, PyAny>)>().map_err(|_| wrong())?;
        let value = if value.is_none() {
            None
        } else if let Ok(text) = value.cast::<PyString>() {
            Some(utf8(text, flags).into_owned().into_bytes())
        } else {
            Some(bytes_like(&value).ok_or_else(wrong)??.as_bytes().to_vec())
        };
        let name = utf8(&name, flags).into_owned();
        if name.len() > codec::MAX_HEADER_NAME {
            let (length, most) = (name.len(), codec::MAX_HEADER_NAME);
            let shown: String = name.chars().take(SHOWN).chain("...".chars()).collect();
            let message = format!("header {shown:?}: a name of {length} bytes in UTF-8: expected at most {most}");
            return Err(PyValueError::new_err(message));
        }
        headers.push((name, value));
    }
    let most = codec::MAX_HEADERS - ADDED;
    if headers.len() > most {
        return Err(PyValueError::new_err(format!("{} headers: expected at most {most}", headers.len())));
    }
    Ok(headers)
}

/// Text as UTF-8, flagged where it has to be changed for that.
fn utf8<'a>(text: &'a Bound<'_, PyString>, flags: &mut Flags) -> Cow<'a, str> {
    let text = lossy(text);
    flags.lone_surrogate |= matches!(text, Cow::Owned(_));
    text
}

/// The bytes of a key, kept alive.
pub(super) enum KeyBytes<'a, 'py> {
    Text(Cow<'a, str>),
    Bytes(Bound<'py, PyBytes>),
    Owned(Option<Vec<u8>>),
}

impl<'a, 'py> KeyBytes<'a, 'py> {
    pub(super) fn read(
        key: &'a Bound<'py, PyAny>,
        serializer: Option<&Py<PyAny>>,
        flags: &mut Flags,
    ) -> PyResult<Self> {
        let py = key.py();
        if let Some(serializer) = serializer {
            let made = serializer.call1(py, (key,)).map_err(|error| serializer_failed(py, "key_serializer", error))?;
            return Ok(Self::Owned(bytes_of(made.bind(py), "key_serializer", flags)?));
        }
        if let Ok(text) = key.cast::<PyString>() {
            return Ok(Self::Text(utf8(text, flags)));
        }
        if key.is_none() {
            return Ok(Self::Owned(None));
        }
        match bytes_like(key) {
            Some(bytes) => Ok(Self::Bytes(bytes?)),
            None => Err(PyTypeError::new_err(format!(
                "key is of type {}: expected str, bytes or None",
                key.get_type().name()?
            ))),
        }
    }

    pub(super) fn get(&self) -> Option<&[u8]> {
        match self {
            Self::Text(text) => Some(text.as_bytes()),
            Self::Bytes(bytes) => Some(bytes.as_bytes()),
            Self::Owned(bytes) => bytes.as_deref(),
        }
    }
}

/// Bytes as they are, None as none, everything else as JSON. Whether there is a value.
fn append_value(frame: &mut Vec<u8>, value: &Bound<'_, PyAny>, flags: &mut Flags) -> PyResult<bool> {
    let py = value.py();
    if let Some(bytes) = bytes_like(value) {
        frame.extend_from_slice(bytes?.as_bytes());
        return Ok(true);
    }
    if value.is_none() {
        return Ok(false);
    }
    let written = exit::calling_python(py, || json::write(py, value, frame, &Options::default()));
    match written {
        Some(Ok(found)) => {
            flags.non_finite |= found.non_finite;
            flags.lone_surrogate |= found.lone_surrogate;
            Ok(true)
        }
        Some(Err(mut error)) => {
            let cause = error.cause.take();
            if let Some(cause) = &cause
                && !cause.is_instance_of::<PyException>(py)
            {
                return Err(cause.clone_ref(py)); // Ctrl-C while user code ran
            }
            let raised = hub_error(py, &Error::Serialization(error.to_string().into()));
            raised.set_cause(py, cause);
            Err(raised)
        }
        None => Err(ending(py)),
    }
}

fn append_serialized(
    frame: &mut Vec<u8>,
    value: &Bound<'_, PyAny>,
    serializer: &Py<PyAny>,
    flags: &mut Flags,
) -> PyResult<bool> {
    let py = value.py();
    let made = serializer.call1(py, (value,)).map_err(|error| serializer_failed(py, "value_serializer", error))?;
    let bytes = bytes_of(made.bind(py), "value_serializer", flags)?;
    frame.extend_from_slice(bytes.as_deref().unwrap_or_default());
    Ok(bytes.is_some())
}

fn bytes_of(made: &Bound<'_, PyAny>, who: &str, flags: &mut Flags) -> PyResult<Option<Vec<u8>>> {
    if made.is_none() {
        return Ok(None);
    }
    if let Ok(text) = made.cast::<PyString>() {
        return Ok(Some(utf8(text, flags).into_owned().into_bytes()));
    }
    if let Some(bytes) = bytes_like(made) {
        return Ok(Some(bytes?.as_bytes().to_vec()));
    }
    let message = format!("{who} returned an object of type {}: expected bytes", type_name(Some(made)));
    Err(hub_error(made.py(), &Error::Serialization(message.into())))
}

fn serializer_failed(py: Python<'_>, who: &str, error: PyErr) -> PyErr {
    if !error.is_instance_of::<PyException>(py) {
        return error;
    }
    let raised = hub_error(py, &Error::Serialization(format!("{who} raised {error}").into()));
    raised.set_cause(py, Some(error));
    raised
}

fn ending(py: Python<'_>) -> PyErr {
    hub_error(py, &Error::Closed("the interpreter is ending".into()))
}
