//! A `logging.LogRecord` in, the contract's log record out: JSON text in one buffer, without its secrets.
//!
//! The record's `__dict__` is walked once; no Python object is made on the way but the formatted message. Every piece of
//! text that the program chose (message, exception, values in `extra`, names of loggers and threads) goes through the
//! redactor before it reaches the buffer, and values under names of secrets do not reach it at all. Where source code
//! is (`path`, `function`) stays as it is.
//!
//! Whatever a record holds, something arrives: what has no JSON is written as its text, what has no text as its type,
//! and `flags` in the record says that this happened. Ctrl-C while Python code of the program runs belongs to it.

use std::borrow::Cow;
use std::cell::Cell;
use std::io::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use gds_redact::{MARK, Redactor, is_secret_key};
use pyo3::exceptions::{PyException, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyBytes, PyDict, PyFloat, PyFrozenSet, PyInt, PyList, PySet, PyString, PyTuple};
use smallvec::SmallVec;

use crate::exit;
use crate::input::type_name;
use crate::made::{Made, interned};
use crate::trace;

/// Containers within containers of `extra`; what lies deeper is left out.
const MAX_DEPTH: usize = 16;
/// Bytes of one text that are kept: a broker takes messages of 1 MiB unless it is told otherwise.
const MAX_TEXT: usize = 192 * 1024;
/// Bytes of one text that are looked at.
const MAX_LOOK: usize = 4 * MAX_TEXT;
/// Bytes of a record beyond which no further value is begun.
const MAX_RECORD: usize = 512 * 1024;

/// Attributes of a record that are none of its `extra`, in the order in which `LogRecord.__init__` sets them.
const NAMES: [&str; 25] = [
    "name",
    "msg",
    "args",
    "levelname",
    "levelno",
    "pathname",
    "filename",
    "module",
    "exc_info",
    "exc_text",
    "stack_info",
    "lineno",
    "funcName",
    "created",
    "msecs",
    "relativeCreated",
    "thread",
    "threadName",
    "processName",
    "process",
    "taskName",
    // Left by a formatter of another handler.
    "message",
    "asctime",
    // Not set by anybody, but not to be told of either.
    "__class__",
    "__dict__",
];
const NAME: usize = 0;
const MSG: usize = 1;
const ARGS: usize = 2;
const LEVEL: usize = 3;
const PATH: usize = 5;
const EXC_INFO: usize = 8;
const EXC_TEXT: usize = 9;
const STACK: usize = 10;
const LINE: usize = 11;
const FUNCTION: usize = 12;
const CREATED: usize = 13;
const THREAD: usize = 17;
const PROCESS: usize = 19;

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

static INTERNED: Made<[Py<PyString>; NAMES.len()]> = Made::new();

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
        let parts = Parts::of(record)?;
        let name = parts.text(NAME);
        let name = name.as_deref().unwrap_or("root");
        if self.ignored.iter().any(|logger| is_within(name, logger)) {
            return Ok(None);
        }
        begin(out, self.redactor.redact(name).as_bytes());
        let mut writer = Writer { redactor: &self.redactor, start: out.len(), out, flags: Flags::default() };
        writer.record(record, &parts, name, &self.constant)?;
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

/// The attributes of a record.
struct Parts<'py> {
    named: [Option<Bound<'py, PyAny>>; NAMES.len()],
    extra: SmallVec<[(Bound<'py, PyAny>, Bound<'py, PyAny>); 8]>,
}

impl<'py> Parts<'py> {
    fn of(record: &Bound<'py, PyAny>) -> PyResult<Self> {
        let py = record.py();
        let mut parts = Self { named: [const { None }; NAMES.len()], extra: SmallVec::new() };
        let dict = match record.getattr(interned!(py, "__dict__")) {
            Ok(dict) => dict,
            Err(error) => return unless_program(py, error).map(|()| parts),
        };
        let Ok(dict) = dict.cast_exact::<PyDict>() else { return Ok(parts) };
        let interned =
            INTERNED.get_or_try_init(py, || PyResult::Ok(NAMES.map(|name| PyString::intern(py, name).unbind())))?;
        let mut next = 0;
        // No Python code runs in this loop, so the dict stays as it is.
        for (name, value) in dict.iter() {
            let is_next = interned.get(next).is_some_and(|expected| expected.as_ptr() == name.as_ptr());
            match if is_next { Some(next) } else { place(interned, &name) } {
                Some(place) => {
                    parts.named[place] = Some(value);
                    next = place + 1;
                }
                None => parts.extra.push((name, value)),
            }
        }
        Ok(parts)
    }

    /// An attribute that is not None.
    fn get(&self, place: usize) -> Option<&Bound<'py, PyAny>> {
        self.named[place].as_ref().filter(|value| !value.is_none())
    }

    /// An attribute that is a `str`, as text.
    fn text(&self, place: usize) -> Option<Cow<'_, str>> {
        self.get(place)?.cast::<PyString>().ok().map(lossy)
    }
}

/// Which of the record's own attributes this is.
fn place(interned: &[Py<PyString>; NAMES.len()], name: &Bound<'_, PyAny>) -> Option<usize> {
    let same = interned.iter().position(|known| known.as_ptr() == name.as_ptr());
    // Records that came from another process have names of their own.
    same.or_else(|| {
        name.cast_exact::<PyString>().ok()?.to_str().ok().and_then(|name| NAMES.iter().position(|known| *known == name))
    })
}

/// What could not be taken as it was.
#[derive(Clone, Copy, Default, Eq, PartialEq)]
#[allow(clippy::struct_excessive_bools)] // each is a flag of its own in the record
struct Flags {
    non_finite: bool,
    truncated: bool,
    unformatted: bool,
    unserialisable: bool,
}

impl Flags {
    fn names(self) -> impl Iterator<Item = &'static str> {
        let all = [
            (self.non_finite, "non_finite"),
            (self.truncated, "truncated"),
            (self.unformatted, "unformatted"),
            (self.unserialisable, "unserialisable"),
        ];
        all.into_iter().filter_map(|(is_set, name)| is_set.then_some(name))
    }
}

/// Goes on after an `Exception`; anything else (Ctrl-C) belongs to the program.
fn unless_program(py: Python<'_>, error: PyErr) -> PyResult<()> {
    if error.is_instance_of::<PyException>(py) { Ok(()) } else { Err(error) }
}

struct Writer<'a> {
    redactor: &'a Redactor,
    out: &'a mut Vec<u8>,
    /// Where the record begins in `out`.
    start: usize,
    flags: Flags,
}

impl Writer<'_> {
    fn record<'py>(
        &mut self,
        record: &Bound<'py, PyAny>,
        parts: &Parts<'py>,
        name: &str,
        constant: &[u8],
    ) -> PyResult<()> {
        let py = record.py();
        self.out.extend_from_slice(b"{\"timestamp\":");
        // The first six are in every record, whoever made it.
        let created = parts.get(CREATED).and_then(|created| created.extract::<f64>().ok());
        self.float(created.filter(|created| created.is_finite()).unwrap_or_else(now));
        self.name("logger");
        self.text(name);
        self.name("level");
        self.plain(parts.text(LEVEL).filter(|level| !level.is_empty()).as_deref().unwrap_or("NOTSET"));
        self.out.extend_from_slice(b",\"message\":");
        self.message(record, parts)?;
        self.name("path");
        self.plain(parts.text(PATH).as_deref().unwrap_or_default());
        self.name("lineno");
        self.whole(parts.get(LINE).and_then(|line| line.extract::<u32>().ok()).unwrap_or(0));
        self.named_plain("function", parts.text(FUNCTION).as_deref());
        if let Some(process) = parts.get(PROCESS).and_then(|process| process.extract::<u32>().ok()) {
            self.name("process");
            self.whole(process);
        }
        self.named_text("thread", parts.text(THREAD).as_deref());
        self.out.extend_from_slice(constant);
        self.exception(py, parts)?;
        self.named_text("stack", parts.text(STACK).as_deref());
        if let Some(trace) = trace::active_span(py) {
            self.hex("trace_id", &trace.trace_id);
            self.hex("span_id", &trace.span_id);
        }
        if !parts.extra.is_empty() {
            self.out.extend_from_slice(b",\"extra\":");
            self.members(&parts.extra, MAX_DEPTH)?;
        }
        let mut separator = &b",\"flags\":["[..];
        for flag in self.flags.names() {
            self.out.extend_from_slice(separator);
            self.plain(flag);
            separator = b",";
        }
        let close: &[u8] = if self.flags == Flags::default() { b"}" } else { b"]}" };
        self.out.extend_from_slice(close);
        Ok(())
    }

    /// The formatted message; where it cannot be formatted, what there is to see of it.
    fn message<'py>(&mut self, record: &Bound<'py, PyAny>, parts: &Parts<'py>) -> PyResult<()> {
        let py = record.py();
        let message = match formatted(record, parts) {
            Some(message) => message,
            None => record.call_method0(interned!(py, "getMessage")),
        };
        match message.and_then(|message| message.str()) {
            Ok(message) => self.text(&lossy(&message)),
            Err(error) => {
                unless_program(py, error)?;
                self.flags.unformatted = true;
                let mut message = match parts.get(MSG) {
                    Some(message) => described(message, Bound::str)?,
                    None => described(record, Bound::repr)?,
                };
                let arguments = parts.get(ARGS).filter(|arguments| !arguments.is_truthy().is_ok_and(|any| !any));
                if let Some(arguments) = arguments {
                    message.push(' ');
                    message.push_str(&described(arguments, Bound::repr)?);
                }
                self.text(&message);
            }
        }
        Ok(())
    }

    fn exception(&mut self, py: Python<'_>, parts: &Parts<'_>) -> PyResult<()> {
        let cached = parts.text(EXC_TEXT);
        let info = parts.get(EXC_INFO).and_then(|info| info.cast::<PyTuple>().ok());
        let info = info.filter(|info| info.get_item(1).is_ok_and(|error| !error.is_none()));
        let Some(info) = info else {
            // A record that was made ready for another process.
            if let Some(traceback) = cached {
                self.out.extend_from_slice(b",\"exception\":{\"traceback\":");
                self.tail(&traceback);
                self.out.push(b'}');
            }
            return Ok(());
        };
        let error = info.get_item(1)?;
        self.out.extend_from_slice(b",\"exception\":{\"type\":");
        self.plain(&full_name(&error));
        self.out.extend_from_slice(b",\"message\":");
        let message = described(&error, Bound::str)?;
        self.text(&message);
        let traceback = match cached {
            Some(traceback) => Ok(traceback.into_owned()),
            None => format_exception(py, info),
        };
        match traceback {
            Ok(traceback) => {
                self.out.extend_from_slice(b",\"traceback\":");
                self.tail(traceback.trim_end());
            }
            Err(error) => {
                unless_program(py, error)?;
                self.flags.unserialisable = true;
            }
        }
        self.out.push(b'}');
        Ok(())
    }

    /// Any object: as JSON where it has one, as text where not.
    fn value(&mut self, object: &Bound<'_, PyAny>, depth: usize) -> PyResult<()> {
        if let Ok(text) = object.cast::<PyString>() {
            self.text(&lossy(text));
        } else if object.is_none() {
            self.out.extend_from_slice(b"null");
        } else if let Ok(flag) = object.cast::<PyBool>() {
            self.out.extend_from_slice(if flag.is_true() { b"true" } else { b"false" });
        } else if object.is_instance_of::<PyInt>() {
            match object.extract::<i64>() {
                Ok(number) => self.whole(number),
                Err(_) => self.other(object)?,
            }
        } else if let Ok(number) = object.cast::<PyFloat>() {
            self.float(number.value());
        } else if let Ok(bytes) = object.cast::<PyBytes>()
            && let Ok(text) = std::str::from_utf8(bytes.as_bytes())
        {
            self.text(text);
        } else if is_container(object) {
            self.container(object, depth)?;
        } else {
            self.other(object)?;
        }
        Ok(())
    }

    fn container(&mut self, object: &Bound<'_, PyAny>, depth: usize) -> PyResult<()> {
        let Some(depth) = depth.checked_sub(1) else {
            self.flags.truncated = true;
            self.plain("...");
            return Ok(());
        };
        if let Ok(dict) = object.cast::<PyDict>() {
            // Copied, because writing a value may run code that changes the dict.
            let items: SmallVec<[_; 8]> = dict.iter().collect();
            return self.members(&items, depth);
        }
        if let Ok(list) = object.cast_exact::<PyList>() {
            return self.items(list.iter(), depth);
        }
        if let Ok(tuple) = object.cast_exact::<PyTuple>() {
            return self.items(tuple.iter(), depth);
        }
        let Ok(items) = object.try_iter() else { return self.other(object) };
        let items: PyResult<Vec<_>> = items.collect();
        let items = items.or_else(|error| unless_program(object.py(), error).map(|()| Vec::new()))?;
        self.items(items.into_iter(), depth)
    }

    fn items<'py>(&mut self, items: impl Iterator<Item = Bound<'py, PyAny>>, depth: usize) -> PyResult<()> {
        self.out.push(b'[');
        for (number, item) in items.enumerate() {
            if self.is_full() {
                break;
            }
            if number > 0 {
                self.out.push(b',');
            }
            self.value(&item, depth)?;
        }
        self.out.push(b']');
        Ok(())
    }

    fn members(&mut self, items: &[(Bound<'_, PyAny>, Bound<'_, PyAny>)], depth: usize) -> PyResult<()> {
        self.out.push(b'{');
        let mut is_first = true;
        for (name, value) in items {
            if self.is_full() {
                break;
            }
            if !is_first {
                self.out.push(b',');
            }
            is_first = false;
            match name.cast::<PyString>() {
                Ok(name) => self.member(&lossy(name), value, depth)?,
                Err(_) => self.member(&described(name, Bound::str)?, value, depth)?,
            }
        }
        self.out.push(b'}');
        Ok(())
    }

    fn member(&mut self, name: &str, value: &Bound<'_, PyAny>, depth: usize) -> PyResult<()> {
        self.text(name);
        self.out.push(b':');
        // That there is none is no secret.
        if is_secret_key(name) && !value.is_none() {
            self.plain(MARK);
            Ok(())
        } else {
            self.value(value, depth)
        }
    }

    /// The text of an object that has no JSON.
    fn other(&mut self, object: &Bound<'_, PyAny>) -> PyResult<()> {
        let py = object.py();
        // Times as everybody writes them; scalars of numpy as the numbers they are.
        for name in [interned!(py, "isoformat"), interned!(py, "item")] {
            let Ok(Some(method)) = object.getattr_opt(name) else { continue };
            match method.call0() {
                Ok(value)
                    if value.is_instance_of::<PyFloat>()
                        || value.is_instance_of::<PyInt>()
                        || value.is_instance_of::<PyString>() =>
                {
                    if value.is_instance_of::<PyInt>() && value.extract::<i64>().is_err() {
                        break;
                    }
                    return self.value(&value, 0);
                }
                Ok(_) => {}
                Err(error) => unless_program(py, error)?,
            }
        }
        match object.str() {
            Ok(text) => self.text(&lossy(&text)),
            Err(error) => {
                unless_program(py, error)?;
                self.flags.unserialisable = true;
                let text = described(object, Bound::repr)?;
                self.text(&text);
            }
        }
        Ok(())
    }

    /// Whether the record is as large as it may get.
    fn is_full(&mut self) -> bool {
        let is_full = self.out.len() - self.start > MAX_RECORD;
        self.flags.truncated |= is_full;
        is_full
    }

    fn named_text(&mut self, name: &str, text: Option<&str>) {
        if let Some(text) = text.filter(|text| !text.is_empty()) {
            self.name(name);
            self.text(text);
        }
    }

    fn named_plain(&mut self, name: &str, text: Option<&str>) {
        if let Some(text) = text.filter(|text| !text.is_empty()) {
            self.name(name);
            self.plain(text);
        }
    }

    fn name(&mut self, name: &str) {
        self.out.extend_from_slice(b",\"");
        self.out.extend_from_slice(name.as_bytes());
        self.out.extend_from_slice(b"\":");
    }

    fn hex(&mut self, name: &str, bytes: &[u8]) {
        self.name(name);
        self.out.push(b'"');
        for byte in bytes {
            write!(self.out, "{byte:02x}").expect("a Vec takes anything");
        }
        self.out.push(b'"');
    }

    fn whole(&mut self, number: impl itoa::Integer) {
        self.out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
    }

    fn float(&mut self, number: f64) {
        if number.is_finite() {
            self.out.extend_from_slice(zmij::Buffer::new().format_finite(number).as_bytes());
        } else {
            self.flags.non_finite = true;
            self.out.extend_from_slice(b"null");
        }
    }

    /// Text without its secrets, from its beginning as far as it may go.
    fn text(&mut self, text: &str) {
        // Cut after redacting, because half a secret looks like none.
        let look = &text[..boundary(text, MAX_LOOK)];
        let redacted = self.redactor.redact(look);
        let kept = &redacted[..boundary(&redacted, MAX_TEXT)];
        self.flags.truncated |= kept.len() < redacted.len() || look.len() < text.len();
        self.plain(kept);
    }

    /// As [`Self::text`], the end of it: what a traceback ends with is what happened.
    fn tail(&mut self, text: &str) {
        let look = &text[boundary(text, text.len().saturating_sub(MAX_LOOK))..];
        let redacted = self.redactor.redact(look);
        let kept = &redacted[boundary(&redacted, redacted.len().saturating_sub(MAX_TEXT))..];
        self.flags.truncated |= kept.len() < redacted.len() || look.len() < text.len();
        self.plain(kept);
    }

    /// Text as it is (RFC 8259, section 7).
    fn plain(&mut self, text: &str) {
        self.out.push(b'"');
        let mut rest = text.as_bytes();
        while let Some(len) = rest.iter().position(|&byte| byte < 0x20 || byte == b'"' || byte == b'\\') {
            self.out.extend_from_slice(&rest[..len]);
            match rest[len] {
                b'\n' => self.out.extend_from_slice(b"\\n"),
                b'\t' => self.out.extend_from_slice(b"\\t"),
                b'\r' => self.out.extend_from_slice(b"\\r"),
                byte @ (b'"' | b'\\') => self.out.extend_from_slice(&[b'\\', byte]),
                byte => write!(self.out, "\\u{byte:04x}").expect("a Vec takes anything"),
            }
            rest = &rest[len + 1..];
        }
        self.out.extend_from_slice(rest);
        self.out.push(b'"');
    }
}

/// `logging.LogRecord` and its `getMessage`, if that is the one of the standard library.
static PLAIN_RECORD: Made<(Py<PyAny>, Option<Py<PyAny>>)> = Made::new();

/// What `LogRecord.getMessage` returns, without calling it; none if the record has a way of its own.
///
/// Programs may make records of another class, or replace the method for all of them.
fn formatted<'py>(record: &Bound<'py, PyAny>, parts: &Parts<'py>) -> Option<PyResult<Bound<'py, PyAny>>> {
    let py = record.py();
    let name = interned!(py, "getMessage");
    let (class, method) = PLAIN_RECORD
        .get_or_try_init(py, || {
            let class = py.import("logging")?.getattr("LogRecord")?;
            let method = class.getattr(name)?;
            let is_plain = method.getattr("__module__")?.eq("logging")?
                && method.getattr("__qualname__")?.eq("LogRecord.getMessage")?;
            PyResult::Ok((class.unbind(), is_plain.then(|| method.unbind())))
        })
        .ok()?;
    let kind = record.get_type();
    if !kind.is(class) || !kind.getattr(name).is_ok_and(|found| method.as_ref().is_some_and(|method| found.is(method)))
    {
        return None;
    }
    let message = parts.get(MSG)?.cast_exact::<PyString>().ok()?;
    match parts.get(ARGS) {
        None => Some(Ok(message.clone().into_any())),
        Some(arguments) => match arguments.cast_exact::<PyTuple>() {
            Ok(arguments) if arguments.is_empty() => Some(Ok(message.clone().into_any())),
            Ok(arguments) => Some(message.rem(arguments)),
            Err(_) => None,
        },
    }
}

/// Text with one U+FFFD in the place of each lone surrogate, which UTF-8 cannot carry.
fn lossy<'a>(text: &'a Bound<'_, PyString>) -> Cow<'a, str> {
    match text.to_str() {
        Ok(text) => Cow::Borrowed(text),
        // One for each of its three bytes.
        Err(_) => Cow::Owned(text.to_string_lossy().replace("\u{fffd}\u{fffd}\u{fffd}", "\u{fffd}")),
    }
}

/// Seconds since the epoch.
fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}

/// The last place not behind `at` where a character begins.
fn boundary(text: &str, at: usize) -> usize {
    (0..=at.min(text.len())).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0)
}

fn is_container(object: &Bound<'_, PyAny>) -> bool {
    object.is_instance_of::<PyDict>()
        || object.is_instance_of::<PyList>()
        || object.is_instance_of::<PyTuple>()
        || object.is_instance_of::<PySet>()
        || object.is_instance_of::<PyFrozenSet>()
}

/// `str(object)` or `repr(object)`, or what type it is of if it has neither.
fn described<'py>(
    object: &Bound<'py, PyAny>,
    how: impl Fn(&Bound<'py, PyAny>) -> PyResult<Bound<'py, PyString>>,
) -> PyResult<String> {
    match how(object) {
        Ok(text) => Ok(lossy(&text).into_owned()),
        Err(error) => {
            unless_program(object.py(), error)?;
            Ok(format!("<unprintable {}>", type_name(Some(object))))
        }
    }
}

/// `module.Class` of an exception, without the module for those that are built in.
fn full_name(error: &Bound<'_, PyAny>) -> String {
    let kind = error.get_type();
    let name = kind.qualname().map_or_else(|_| "?".to_owned(), |name| name.to_string());
    match kind.module() {
        Ok(module) if module != "builtins" => format!("{module}.{name}"),
        _ => name,
    }
}

fn format_exception(py: Python<'_>, info: &Bound<'_, PyTuple>) -> PyResult<String> {
    let lines = py.import("traceback")?.call_method1("format_exception", info)?;
    let lines: Vec<String> =
        lines.try_iter()?.map(|line| line?.str().map(|line| lossy(&line).into_owned())).collect::<PyResult<_>>()?;
    Ok(lines.concat())
}
