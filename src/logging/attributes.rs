//! The attributes of a record: its own, and what the program added.

use std::borrow::Cow;
use std::cell::Cell;

use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString};
use smallvec::SmallVec;

use super::objects::swallow_exception;
use crate::interop::once::{RaceOnce, interned};
use crate::interop::text::lossy;

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
pub(super) const NAME: usize = 0;
pub(super) const MSG: usize = 1;
pub(super) const ARGS: usize = 2;
pub(super) const LEVEL: usize = 3;
pub(super) const PATH: usize = 5;
pub(super) const EXC_INFO: usize = 8;
pub(super) const EXC_TEXT: usize = 9;
pub(super) const STACK: usize = 10;
pub(super) const LINE: usize = 11;
pub(super) const FUNCTION: usize = 12;
pub(super) const CREATED: usize = 13;
pub(super) const THREAD: usize = 17;
pub(super) const PROCESS: usize = 19;

static INTERNED: RaceOnce<[Py<PyString>; NAMES.len()]> = RaceOnce::new();

/// Names and values.
pub(super) type DictItems<'py> = SmallVec<[(Bound<'py, PyAny>, Bound<'py, PyAny>); 8]>;

/// The attributes of a record.
pub(super) struct RecordAttributes<'py> {
    named: [Option<Bound<'py, PyAny>>; NAMES.len()],
    pub(super) extra: DictItems<'py>,
    /// Whether text of it was read that UTF-8 cannot carry.
    pub(super) replaced: Cell<bool>,
}

impl<'py> RecordAttributes<'py> {
    pub(super) fn of(record: &Bound<'py, PyAny>) -> PyResult<Self> {
        let py = record.py();
        let mut attributes =
            Self { named: [const { None }; NAMES.len()], extra: SmallVec::new(), replaced: Cell::new(false) };
        let dict = match record.getattr(interned!(py, "__dict__")) {
            Ok(dict) => dict,
            Err(error) => return swallow_exception(py, error).map(|()| attributes),
        };
        let Ok(dict) = dict.cast_exact::<PyDict>() else { return Ok(attributes) };
        let interned =
            INTERNED.get_or_try_init(py, || PyResult::Ok(NAMES.map(|name| PyString::intern(py, name).unbind())))?;
        let mut next = 0;
        // No Python code runs in this loop, so the dict stays as it is.
        for (name, value) in dict.iter() {
            let is_next = interned.get(next).is_some_and(|expected| expected.as_ptr() == name.as_ptr());
            match if is_next { Some(next) } else { place(interned, &name) } {
                Some(place) => {
                    attributes.named[place] = Some(value);
                    next = place + 1;
                }
                None => attributes.extra.push((name, value)),
            }
        }
        Ok(attributes)
    }

    /// An attribute, whatever it is.
    pub(super) fn any(&self, place: usize) -> Option<&Bound<'py, PyAny>> {
        self.named[place].as_ref()
    }

    /// An attribute that is not None.
    pub(super) fn get(&self, place: usize) -> Option<&Bound<'py, PyAny>> {
        self.any(place).filter(|value| !value.is_none())
    }

    /// An attribute that is a `str`, as text.
    pub(super) fn text(&self, place: usize) -> Option<Cow<'_, str>> {
        let text = lossy(self.get(place)?.cast::<PyString>().ok()?);
        self.replaced.set(self.replaced.get() || matches!(text, Cow::Owned(_)));
        Some(text)
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
