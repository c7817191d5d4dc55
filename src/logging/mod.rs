//! A `logging.LogRecord` in, the contract's log record out: JSON text in one buffer, without its secrets.
//!
//! The record's `__dict__` is walked once; no Python object is made on the way but the formatted message. Every piece of
//! text that the program chose (message, exception, values in `extra`, names of loggers and threads) goes through the
//! redactor before it reaches the buffer, and values under names of secrets do not reach it at all. Where source code
//! is (`path`, `function`) stays as it is.
//!
//! Whatever a record holds, something arrives: what has no JSON is written as its text, what has no text as its type,
//! and `flags` in the record says that this happened. Ctrl-C while Python code of the program runs belongs to it.

mod attributes;
mod message;
mod objects;
mod values;
mod writer;

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering};

use gds_redact::Redactor;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};

use crate::interop::exit;
use crate::interop::text::lossy;
use attributes::{NAME, RecordAttributes};
use writer::{Flags, MAX_DEPTH, Writer};

/// Keys of a record, which constant fields may not take.
const KEYS: [&str; 17] = [
    "timestamp",
    "logger",
    "level",
    "message",
    "path",
    "lineno",
    "function",
    "process",
    "thread",
    "host",
    "service",
    "exception",
    "stack",
    "extra",
    "trace_id",
    "span_id",
    "flags",
];

thread_local! {
    /// Whether this thread is writing a record: what it logs meanwhile (in a `__str__`) goes elsewhere.
    static WRITING: Cell<bool> = const { Cell::new(false) };
}

struct Writing;

impl Writing {
    fn begin() -> Option<Self> {
        WRITING.with(|writing| (!writing.replace(true)).then_some(Self))
    }
}

impl Drop for Writing {
    fn drop(&mut self) {
        WRITING.with(|writing| writing.set(false));
    }
}

/// What became of the records so far.
#[derive(Default)]
struct Counts {
    encoded: AtomicU64,
    skipped: AtomicU64,
    flagged: AtomicU64,
}

/// Native side of `gds_kafka.KafkaLoggingHandler`: makes log records into messages.
#[pyclass(frozen, module = "gds_native._lib")]
pub(crate) struct LogEncoder {
    redactor: Redactor,
    /// `,"host":"...","service":"..."` and the constant fields.
    constant: Vec<u8>,
    /// Loggers whose records are not for this handler.
    ignored: Vec<String>,
    counts: Counts,
}

impl LogEncoder {
    /// Appends the record to `out`, after `begin` was given the name of its logger, without secrets, to append what it
    /// likes.
    ///
    /// False if there is nothing to send: the record is of a logger that is ignored, was logged while this thread was
    /// writing another, or the interpreter is ending around this thread. An error is no `Exception` (Ctrl-C).
    pub(crate) fn encode(
        &self,
        py: Python<'_>,
        record: &Bound<'_, PyAny>,
        out: &mut Vec<u8>,
        begin: impl FnOnce(&mut Vec<u8>, &[u8]),
    ) -> PyResult<bool> {
        let Some(_writing) = Writing::begin() else {
            self.counts.skipped.fetch_add(1, Ordering::Relaxed);
            return Ok(false);
        };
        let length = out.len();
        let written = exit::calling_python(py, || self.write(record, out, begin)).unwrap_or(Ok(None));
        match written {
            Ok(Some(flags)) => {
                self.counts.encoded.fetch_add(1, Ordering::Relaxed);
                self.counts.flagged.fetch_add(u64::from(flags != Flags::default()), Ordering::Relaxed);
                Ok(true)
            }
            other => {
                out.truncate(length);
                self.counts.skipped.fetch_add(1, Ordering::Relaxed);
                other.map(|_| false)
            }
        }
    }

    fn write(
        &self,
        record: &Bound<'_, PyAny>,
        out: &mut Vec<u8>,
        begin: impl FnOnce(&mut Vec<u8>, &[u8]),
    ) -> PyResult<Option<Flags>> {
        let attributes = RecordAttributes::of(record)?;
        let name = attributes.text(NAME);
        let name = name.as_deref().unwrap_or("root");
        if self.ignored.iter().any(|logger| is_within(name, logger)) {
            return Ok(None);
        }
        begin(out, self.redactor.redact(name).as_bytes());
        let mut writer = Writer { redactor: &self.redactor, start: out.len(), out, flags: Flags::default() };
        writer.record(record, &attributes, name, &self.constant)?;
        Ok(Some(writer.flags))
    }
}

/// Whether a logger is this one or below it.
fn is_within(name: &str, logger: &str) -> bool {
    name.strip_prefix(logger).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

#[pymethods]
impl LogEncoder {
    #[new]
    #[pyo3(signature = (service=None, fields=None, redact=Vec::new(), *, host=None, ignore=Vec::new()))]
    #[allow(clippy::needless_pass_by_value)] // a list of Python's
    fn new(
        service: Option<&str>,
        fields: Option<&Bound<'_, PyDict>>,
        redact: Vec<String>,
        host: Option<&str>,
        ignore: Vec<String>,
    ) -> PyResult<Self> {
        let redactor = Redactor::new(&redact).map_err(|error| PyValueError::new_err(error.to_string()))?;
        let mut constant = Vec::new();
        let mut writer = Writer { redactor: &redactor, out: &mut constant, start: 0, flags: Flags::default() };
        writer.named_text("host", host);
        writer.named_text("service", service);
        for (name, value) in fields.iter().flat_map(|fields| fields.iter()) {
            let name = name.str()?;
            let name = lossy(&name);
            if KEYS.contains(&&*name) {
                let message = format!("field {name:?} is one of every record already; expected another name");
                return Err(PyValueError::new_err(message));
            }
            writer.out.push(b',');
            writer.member(&name, &value, MAX_DEPTH)?;
        }
        Ok(Self { redactor, constant, ignored: ignore, counts: Counts::default() })
    }

    /// The record as a message; none if there is nothing to send.
    fn encode_record<'py>(&self, record: &Bound<'py, PyAny>) -> PyResult<Option<Bound<'py, PyBytes>>> {
        let py = record.py();
        let mut value = Vec::with_capacity(512);
        let written = self.encode(py, record, &mut value, |_, _| ())?;
        Ok(written.then(|| PyBytes::new(py, &value)))
    }

    /// Text without its secrets.
    fn redact(&self, text: &str) -> String {
        self.redactor.redact(text).into_owned()
    }

    /// How many records were made into messages, left aside, and could not be taken as they were.
    fn counts(&self) -> (u64, u64, u64) {
        let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
        (of(&self.counts.encoded), of(&self.counts.skipped), of(&self.counts.flagged))
    }
}
