//! Why an object cannot be written, and where it stands in what was to be written.

use std::fmt::Write as _;

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyString;

/// Why an object cannot be written.
#[derive(Debug)]
pub(crate) struct WriteError {
    /// What is wrong, without the place.
    pub(super) problem: String,
    /// Innermost first.
    pub(super) path: Vec<String>,
    /// Where the object is of which it may turn out that it contains itself.
    pub(super) suspect: usize,
    /// Whether an object of an unsuitable type is the reason, which is a `TypeError` in Python's own json.
    pub(crate) unsuitable: bool,
    /// What Python code raised on the way.
    pub(crate) cause: Option<PyErr>,
    /// Start over, holding references.
    pub(super) retry: bool,
}

pub(super) type Failure = Box<WriteError>;

/// Longest key shown in the path to a value.
const KEY_SHOWN: usize = 40;
/// Most steps of the path shown, of which the last four are the last.
const STEPS_SHOWN: usize = 12;

impl WriteError {
    pub(super) fn new(problem: impl Into<String>) -> Self {
        Self { problem: problem.into(), path: Vec::new(), suspect: 0, unsuitable: false, cause: None, retry: false }
    }

    pub(super) fn raised(cause: PyErr, problem: &str) -> Failure {
        Box::new(Self { cause: Some(cause), ..Self::new(problem) })
    }

    #[cold]
    pub(super) fn failed(cause: PyErr, object: &Bound<'_, PyAny>) -> Failure {
        Self::raised(
            cause,
            &format!("expected an object that can be converted, got a {} that failed", class_of(object)),
        )
    }

    #[cold]
    pub(super) fn at_index(mut self: Box<Self>, index: isize) -> Failure {
        self.path.push(format!("[{index}]"));
        self
    }

    #[cold]
    pub(super) fn at_key(mut self: Box<Self>, key: &Bound<'_, PyAny>) -> Failure {
        let mut step = String::from("[");
        match key.cast::<PyString>() {
            Ok(text) => {
                let text = text.to_string_lossy();
                let end = text.char_indices().nth(KEY_SHOWN).map_or(text.len(), |(end, _)| end);
                let more = if end < text.len() { "..." } else { "" };
                let _ = write!(step, "{:?}{more}", &text[..end]);
            }
            Err(_) => step.push_str(&key.repr().map_or_else(|_| "?".to_owned(), |text| text.to_string())),
        }
        step.push(']');
        self.path.push(step);
        self
    }

    #[cold]
    pub(super) fn at_field(mut self: Box<Self>, name: &Bound<'_, PyAny>) -> Failure {
        self.path.push(format!(".{name}"));
        self
    }

    /// Tells that it is no depth that is wrong, if `container` is the object that was found too deep within itself.
    #[cold]
    pub(super) fn within(mut self: Box<Self>, container: *mut ffi::PyObject) -> Failure {
        if self.suspect == container.addr() {
            self.path.clear();
            "expected an object that ends, got one that contains itself".clone_into(&mut self.problem);
        }
        self
    }
}

impl std::fmt::Display for WriteError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("value")?;
        let steps = self.path.len();
        for (index, step) in self.path.iter().rev().enumerate() {
            if steps > STEPS_SHOWN && index == STEPS_SHOWN - 4 {
                f.write_str("...")?;
            }
            if steps <= STEPS_SHOWN || index < STEPS_SHOWN - 4 || index >= steps - 4 {
                f.write_str(step)?;
            }
        }
        write!(f, ": {}", self.problem)
    }
}

/// `<class 'module.Name'>`; never the object, which may be or hold a secret.
pub(super) fn class_of(object: &Bound<'_, PyAny>) -> String {
    let kind = object.get_type();
    kind.fully_qualified_name().map_or_else(|_| "<class ?>".to_owned(), |name| format!("<class '{name}'>"))
}

#[cold]
pub(super) fn changed(what: &str) -> Failure {
    Box::new(WriteError::new(format!(
        "expected a {what} that stays as it is, got one that changed while it was written"
    )))
}

#[cold]
pub(super) fn unsuitable(object: &Bound<'_, PyAny>) -> Failure {
    let problem = format!(
        "expected a dict, list, tuple, set, str, int, float, bool, None, datetime, date, time, timedelta, UUID, Decimal, \
         Enum, dataclass, pydantic model, bytes, path or numpy object, got {}",
        class_of(object)
    );
    Box::new(WriteError { unsuitable: true, ..WriteError::new(problem) })
}
