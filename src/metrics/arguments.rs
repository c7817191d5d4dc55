//! Arguments of the four observing methods: Python objects in, borrowed text and a number out.
//!
//! The usual case (a `str`, a number, a `dict` of `str` to `str`) borrows everything and allocates nothing. Anything
//! else takes the slow way, where Python code may run (`__str__`, `__float__`) and its failure is a [`Refusal`].
#![allow(unsafe_code)]

use gds_metrics::registry::Refusal;
use pyo3::exceptions::{PyException, PyTypeError};
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyDict, PyFloat, PyInt, PyMapping, PyString};
use smallvec::SmallVec;

use crate::interop::exit;
use crate::interop::text::{lossy, type_name};
use crate::metrics::call_sites::CallObjects;

/// Label names and values; more than eight of them go to the heap.
pub(crate) type Labels<'a> = SmallVec<[(&'a str, &'a str); 8]>;

/// A name and labels that had to be copied or converted.
type OwnedText = (String, Vec<(String, String)>);

/// What is passed on when arguments cannot be used: a reason to count, or an exception that is no `Exception`
/// (Ctrl-C while user code ran), which belongs to the program.
pub(crate) enum ArgumentError {
    Refused(Refusal),
    Raise(PyErr),
}

impl ArgumentError {
    /// As an exception, for calls that may raise.
    pub(crate) fn into_argument_error(self, name: &Bound<'_, PyAny>, labels: Option<&Bound<'_, PyAny>>) -> PyErr {
        match self {
            Self::Raise(error) => error,
            Self::Refused(refusal) => PyTypeError::new_err(format!(
                "{}: expected a name that is a str and labels that are a dict of str to str, got {} and {}",
                refusal.as_str(),
                type_name(Some(name)),
                type_name(labels),
            )),
        }
    }

    fn from(py: Python<'_>, error: PyErr, refusal: Refusal) -> Self {
        if error.is_instance_of::<PyException>(py) { Self::Refused(refusal) } else { Self::Raise(error) }
    }
}

/// An argument that tells `None` from nothing.
#[derive(Clone, Copy)]
pub(crate) struct Argument<'a, 'py>(Option<Borrowed<'a, 'py, PyAny>>);

impl<'py> Argument<'_, 'py> {
    /// Nothing was given.
    pub(crate) const MISSING: Self = Self(None);

    /// What was given.
    pub(crate) fn get(&self) -> Option<&Bound<'py, PyAny>> {
        self.0.as_deref()
    }
}

impl<'a, 'py> FromPyObject<'a, 'py> for Argument<'a, 'py> {
    type Error = std::convert::Infallible;

    fn extract(object: Borrowed<'a, 'py, PyAny>) -> Result<Self, Self::Error> {
        Ok(Self(Some(object)))
    }
}

/// The value; a missing one is the one of an increment.
#[inline]
pub(crate) fn number(value: Option<&Bound<'_, PyAny>>) -> Result<f64, ArgumentError> {
    let Some(value) = value else { return Ok(1.0) };
    if let Some(number) = plain_number(value) {
        return Ok(number);
    }
    let py = value.py();
    match exit::calling_python(py, || value.extract::<f64>()) {
        Some(number) => number.map_err(|error| ArgumentError::from(py, error, Refusal::InvalidValue)),
        None => Err(ArgumentError::Refused(Refusal::Unavailable)),
    }
}

/// The number of an exact `float`, or an exact `int` of 64 bits: rounded as `float()` does, without Python code.
#[inline]
pub(crate) fn plain_number(value: &Bound<'_, PyAny>) -> Option<f64> {
    if let Ok(value) = value.cast_exact::<PyFloat>() {
        return Some(value.value());
    }
    let whole = value.cast_exact::<PyInt>().ok()?.extract::<i64>().ok()?;
    Some(whole as f64)
}

/// Calls `then` with a copy of name and labels as text; making it may run Python code (`__str__`).
pub(crate) fn with_owned_text<R>(
    name: &Bound<'_, PyAny>,
    labels: Option<&Bound<'_, PyAny>>,
    then: impl FnOnce(&str, &[(&str, &str)]) -> R,
) -> Result<R, ArgumentError> {
    let copy = |name: &str, labels: &[(&str, &str)]| {
        let labels = labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Ok((name.to_owned(), labels.collect()))
    };
    let owned = with_borrowed_text(name, labels, None, copy)
        .or_else(|| exit::calling_python(name.py(), || owned_text(name, labels)));
    let (name, labels) = owned.unwrap_or(Err(ArgumentError::Refused(Refusal::Unavailable)))?;
    let labels: Labels<'_> = labels.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    Ok(then(&name, &labels))
}

/// Calls `then` with name and labels as they are, borrowed; none where that takes Python code. `parts` are the objects of
/// the call where they were collected already.
///
/// What is borrowed belongs to `str` objects that only the caller's `dict` keeps alive, so `then` must run no Python code:
/// it looks something up, or copies. Whatever logs, calls back or lets the interpreter go is for afterwards. In debug builds
/// [`exit::calling_python`] sees to that.
#[inline]
pub(crate) fn with_borrowed_text<R>(
    name: &Bound<'_, PyAny>,
    labels: Option<&Bound<'_, PyAny>>,
    parts: Option<&CallObjects>,
    then: impl FnOnce(&str, &[(&str, &str)]) -> R,
) -> Option<R> {
    let mut borrowed = Labels::new();
    let name = name.cast_exact::<PyString>().ok()?.to_str().ok()?;
    let all = match parts {
        Some(parts) => borrow_parts(parts, &mut borrowed),
        None => borrow_labels(labels, &mut borrowed),
    };
    let _no_python = exit::NoPython::begin();
    all.then(|| then(name, &borrowed))
}

/// Borrows the text of every label; false if something is no `str` with UTF-8 text in an exact `dict`.
#[inline]
fn borrow_labels<'a>(labels: Option<&'a Bound<'_, PyAny>>, into: &mut Labels<'a>) -> bool {
    let Some(labels) = labels else { return true };
    let Ok(dict) = labels.cast_exact::<PyDict>() else { return labels.is_none() };
    let (mut position, mut key, mut value) = (0, std::ptr::null_mut(), std::ptr::null_mut());
    // SAFETY: `dict` is an exact dict, which the caller's argument keeps alive for 'a, and the interpreter is attached.
    // From here to the end of `then` of `with_borrowed_text`, which ends 'a, no Python code runs and the interpreter is
    // not let go of: reading the UTF-8 of an exact str runs none, and `then` runs none by its contract. So nobody can
    // change the dict, which keeps its keys and values alive. The text of a str never moves or changes.
    unsafe {
        while ffi::PyDict_Next(dict.as_ptr(), &raw mut position, &raw mut key, &raw mut value) != 0 {
            let (Some(name), Some(value)) = (borrow_text(key), borrow_text(value)) else { return false };
            into.push((name, value));
        }
    }
    true
}

/// As [`borrow_labels`], for objects that were taken from the `dict` already.
#[inline]
fn borrow_parts<'a>(parts: &'a CallObjects, into: &mut Labels<'a>) -> bool {
    parts.get()[1..].chunks_exact(2).all(|pair| {
        // SAFETY: as in `borrow_labels`: the caller's dict still holds these objects, since no Python code ran since
        // they were taken from it, in the same call.
        let (name, value) = unsafe { (borrow_text(pair[0]), borrow_text(pair[1])) };
        name.zip(value).map(|pair| into.push(pair)).is_some()
    })
}

/// The text of an exact `str` that is valid UTF-8 (no lone surrogates).
///
/// # Safety
/// `object` is a valid object that lives for 'a, and the interpreter is attached.
#[inline]
unsafe fn borrow_text<'a>(object: *mut ffi::PyObject) -> Option<&'a str> {
    let mut len: ffi::Py_ssize_t = 0;
    // SAFETY: as the caller promises; the pointer and length describe UTF-8 owned by the object.
    unsafe {
        if ffi::PyUnicode_CheckExact(object) == 0 {
            return None;
        }
        let text = ffi::PyUnicode_AsUTF8AndSize(object, &raw mut len);
        if text.is_null() {
            ffi::PyErr_Clear();
            return None;
        }
        let bytes = std::slice::from_raw_parts(text.cast::<u8>(), usize::try_from(len).unwrap_or(0));
        Some(std::str::from_utf8_unchecked(bytes))
    }
}

#[cold]
fn owned_text(name: &Bound<'_, PyAny>, labels: Option<&Bound<'_, PyAny>>) -> Result<OwnedText, ArgumentError> {
    let py = name.py();
    let Ok(name) = name.cast::<PyString>() else { return Err(ArgumentError::Refused(Refusal::InvalidName)) };
    let mut owned = Vec::new();
    if let Some(labels) = labels.filter(|labels| !labels.is_none()) {
        let refused = |error| ArgumentError::from(py, error, Refusal::InvalidLabels);
        let invalid = || ArgumentError::Refused(Refusal::InvalidLabels);
        let items = labels.cast::<PyMapping>().map_err(|_| invalid())?.items().map_err(refused)?;
        for item in items {
            let (key, value) = item.extract::<(Bound<'_, PyAny>, Bound<'_, PyAny>)>().map_err(refused)?;
            let key = key.cast::<PyString>().map_err(|_| invalid())?;
            owned.push((lossy(key).into_owned(), label_value(&value).map_err(refused)?));
        }
    }
    Ok((lossy(name).into_owned(), owned))
}

/// `None` is the empty string, booleans are lower-case as everywhere outside Python, the rest is `str(value)`.
fn label_value(value: &Bound<'_, PyAny>) -> PyResult<String> {
    if value.is_none() {
        return Ok(String::new());
    }
    if let Ok(flag) = value.cast::<PyBool>() {
        return Ok(flag.is_true().to_string());
    }
    // The text itself also for what is a `str` and prints as something else, such as a member of `class C(str, Enum)`.
    match value.cast::<PyString>() {
        Ok(text) => Ok(lossy(text).into_owned()),
        Err(_) => Ok(lossy(&value.str()?).into_owned()),
    }
}
