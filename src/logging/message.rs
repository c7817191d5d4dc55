//! What a record says: a formatted message, or fields where a dict was logged, as structlog does.

use std::borrow::Cow;

use gds_redact::{MARK, is_secret_key, mask_template};
use pyo3::exceptions::PyBaseException;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyBoolMethods, PyDict, PyMapping, PyMappingMethods, PyString, PyTuple};

use super::attributes::{ARGS, DictItems, MSG, RecordAttributes};
use crate::interop::once::{RaceOnce, interned};
use crate::interop::text::lossy;

/// Where a dict that is logged has its message, the first of them that is text.
const MESSAGES: [&str; 3] = ["event", "message", "msg"];
/// What structlog adds to a record for a formatter of its own.
const STRUCTLOG: [&str; 2] = ["_logger", "_name"];

/// What a record says.
pub(super) struct RecordMessage<'py> {
    pub(super) message: PyResult<Bound<'py, PyString>>,
    /// What was logged as a dict, without its message; beside them, the program's `extra`.
    pub(super) fields: Option<DictItems<'py>>,
    /// Given in the dict.
    pub(super) raised: Option<RaisedException<'py>>,
}

impl<'py> RecordMessage<'py> {
    pub(super) fn of(record: &Bound<'py, PyAny>, attributes: &RecordAttributes<'py>) -> Self {
        let text = |message| Self { message, fields: None, raised: None };
        match attributes.any(MSG) {
            Some(message) if is_plain(record) => {
                let arguments = attributes.get(ARGS).filter(|arguments| arguments.is_truthy().unwrap_or(true));
                match items(message) {
                    Some(items) if arguments.is_none() && !items.is_empty() => Self::fields(message, items, attributes),
                    _ => text(formatted(message, arguments)),
                }
            }
            _ => text(own_message(record, attributes)),
        }
    }

    fn fields(message: &Bound<'py, PyAny>, mut fields: DictItems<'py>, attributes: &RecordAttributes<'py>) -> Self {
        let place = |fields: &DictItems<'py>, wanted: &str| fields.iter().position(|(name, _)| is_named(name, wanted));
        let found = MESSAGES
            .iter()
            .find_map(|name| place(&fields, name).filter(|&place| fields[place].1.is_instance_of::<PyString>()));
        let message = match found {
            Some(place) => fields.remove(place).1.str(),
            None => masked(message).and_then(|masked| masked.as_ref().map_or(message, |masked| masked).str()),
        };
        let info = place(&fields, "exc_info");
        let raised = info.and_then(|place| RaisedException::of(&fields[place].1));
        if let (Some(place), Some(_)) = (info, &raised) {
            fields.remove(place);
        }
        for (name, value) in &attributes.extra {
            let is_taken = fields.iter().any(|(taken, _)| match name.cast::<PyString>() {
                Ok(name) => is_named(taken, &lossy(name)),
                Err(_) => taken.is(name),
            });
            if !is_taken && !STRUCTLOG.iter().any(|own| is_named(name, own)) {
                fields.push((name.clone(), value.clone()));
            }
        }
        Self { message, fields: Some(fields), raised }
    }
}

/// An exception, and from where it came.
pub(super) struct RaisedException<'py> {
    pub(super) error: Bound<'py, PyAny>,
    traceback: Option<Bound<'py, PyAny>>,
}

impl<'py> RaisedException<'py> {
    /// Of an `exc_info`: a tuple as `sys.exc_info()` returns it, an exception, or True for the one that is handled.
    pub(super) fn of(info: &Bound<'py, PyAny>) -> Option<Self> {
        let py = info.py();
        if let Ok(info) = info.cast::<PyTuple>() {
            let error = info.get_item(1).ok().filter(PyAnyMethods::is_instance_of::<PyBaseException>)?;
            return Some(Self { error, traceback: info.get_item(2).ok() });
        }
        if info.is_instance_of::<PyBaseException>() {
            let traceback = info.getattr(interned!(py, "__traceback__")).ok();
            return Some(Self { error: info.clone(), traceback });
        }
        if info.cast::<PyBool>().is_ok_and(PyBoolMethods::is_true) {
            return Self::of(&py.import("sys").and_then(|sys| sys.call_method0("exc_info")).ok()?);
        }
        None
    }

    /// As the interpreter prints it.
    pub(super) fn format(&self) -> PyResult<String> {
        let arguments = (self.error.get_type(), &self.error, self.traceback.as_ref());
        let lines = self.error.py().import("traceback")?.call_method1("format_exception", arguments)?;
        let lines: Vec<String> =
            lines.try_iter()?.map(|line| line?.str().map(|line| lossy(&line).into_owned())).collect::<PyResult<_>>()?;
        Ok(lines.concat())
    }
}

/// The members of a dict, or of another mapping.
fn items<'py>(object: &Bound<'py, PyAny>) -> Option<DictItems<'py>> {
    if object.is_instance_of::<PyString>() {
        return None;
    }
    if let Ok(dict) = object.cast::<PyDict>() {
        return Some(dict.iter().collect());
    }
    object.cast::<PyMapping>().ok()?.items().ok()?.iter().map(|item| item.extract().ok()).collect()
}

fn is_named(name: &Bound<'_, PyAny>, wanted: &str) -> bool {
    name.cast::<PyString>().is_ok_and(|name| lossy(name) == wanted)
}

/// A copy of a mapping, with [`MARK`] for the values that stand under names of secrets; none if there are none.
pub(super) fn masked<'py>(mapping: &Bound<'py, PyAny>) -> PyResult<Option<Bound<'py, PyDict>>> {
    let Some(items) = items(mapping) else { return Ok(None) };
    let is_secret = |name: &Bound<'py, PyAny>, value: &Bound<'py, PyAny>| {
        !value.is_none() && name.cast::<PyString>().is_ok_and(|name| is_secret_key(&lossy(name)))
    };
    if !items.iter().any(|(name, value)| is_secret(name, value)) {
        return Ok(None);
    }
    let copy = PyDict::new(mapping.py());
    for (name, value) in &items {
        if is_secret(name, value) { copy.set_item(name, MARK) } else { copy.set_item(name, value) }?;
    }
    Ok(Some(copy))
}

/// `logging.LogRecord` and its `getMessage`, if that is the one of the standard library.
static PLAIN_RECORD: RaceOnce<(Py<PyAny>, Option<Py<PyAny>>)> = RaceOnce::new();

/// Whether the message of the record is what the standard library says.
///
/// Programs may make records of another class, or replace the method for all of them.
fn is_plain(record: &Bound<'_, PyAny>) -> bool {
    let py = record.py();
    let name = interned!(py, "getMessage");
    let known = PLAIN_RECORD.get_or_try_init(py, || {
        let class = py.import("logging")?.getattr("LogRecord")?;
        let method = class.getattr(name)?;
        let is_plain = method.getattr("__module__")?.eq("logging")?
            && method.getattr("__qualname__")?.eq("LogRecord.getMessage")?;
        PyResult::Ok((class.unbind(), is_plain.then(|| method.unbind())))
    });
    let Ok((class, Some(method))) = known else { return false };
    let kind = record.get_type();
    kind.is(class) && kind.getattr(name).is_ok_and(|found| found.is(method))
}

/// What `LogRecord.getMessage` returns, without calling it, and without the arguments that are named as secrets.
fn formatted<'py>(
    message: &Bound<'py, PyAny>,
    arguments: Option<&Bound<'py, PyAny>>,
) -> PyResult<Bound<'py, PyString>> {
    let text = message.str()?;
    let Some(arguments) = arguments else { return Ok(text) };
    if !arguments.is_exact_instance_of::<PyTuple>()
        && let Cow::Owned(masked) = mask_template(&lossy(&text))
    {
        return PyString::new(message.py(), &masked).rem(arguments)?.str();
    }
    text.rem(arguments)?.str()
}

/// What a record with a way of its own says, which is not told the arguments that are named as secrets.
fn own_message<'py>(record: &Bound<'py, PyAny>, attributes: &RecordAttributes<'py>) -> PyResult<Bound<'py, PyString>> {
    let py = record.py();
    let masked = attributes.get(ARGS).map(masked).transpose()?.flatten();
    let copy = masked.map(|arguments| {
        let copy = py.import("copy")?.call_method1("copy", (record,))?;
        copy.setattr(interned!(py, "args"), arguments)?;
        PyResult::Ok(copy)
    });
    let copy = copy.transpose()?;
    copy.as_ref().unwrap_or(record).call_method0(interned!(py, "getMessage"))?.str()
}
