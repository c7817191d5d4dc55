//! Python objects as JSON, written straight into a buffer: no Python object is built on the way for JSON's own types.
//!
//! | object | JSON |
//! | --- | --- |
//! | `dict`, and its subclasses by their `items()` | object; the keys as below |
//! | `list`, `tuple`, `NamedTuple`, `set`, `frozenset` | array |
//! | `str` | string in UTF-8; a lone surrogate, which UTF-8 cannot carry, becomes U+FFFD ([`Flags::lone_surrogate`]) |
//! | `int` | number with all its digits, as many as `str(int)` gives (`sys.get_int_max_str_digits`) |
//! | `float` | shortest number that reads back as the same; NaN and infinities become null ([`Flags::non_finite`]) |
//! | `bool`, `None` | true, false, null |
//! | `datetime`, `date`, `time` | string, as `isoformat()` |
//! | `timedelta` | number of seconds |
//! | `UUID`, `pathlib` paths, `Decimal` | string, as `str()`; most readers would round a Decimal that is a number |
//! | `Enum` | its value |
//! | dataclass, objects of attrs and msgspec | object of their fields |
//! | pydantic model | what it says itself is its JSON: `model_dump(mode="json")`, with version 1 `json()` |
//! | `bytes`, `bytearray`, `memoryview` | string in base64 (RFC 4648, with padding) |
//! | numpy scalars and arrays | as `item()` and `tolist()`; `datetime64` as ISO 8601, `timedelta64` in seconds |
//! | NaT of numpy and pandas, `pandas.NA` | null |
//! | anything else | what `default` returns for it, or an error that says where it stands |
//!
//! Keys are `str`; `int`, `float`, `bool` and `None` as `json.dumps` writes them; `Enum`, `datetime`, `date`, `time`,
//! `UUID`, `Decimal` and paths as the text they are as values.
#![allow(unsafe_code)]
// What is proved here once, and referred to below:
//
// *Attached*: a `Writer` has the `Python` token, so the interpreter is attached for as long as it lives.
// *Alive*: the functions that take a pointer say `Safety: alive`, which means: a valid object that stays alive for the
// call. Their callers hold a reference of their own, except for exact str, int, float, bool and None straight from a
// dict or a list. Those are only borrowed from it, which is sound because between taking and last using them nothing
// runs that could take them out: neither Python code nor an allocation that the garbage collector watches (a collection
// may run finalizers). The one thing that can go wrong with such an object is a str with lone surrogates, for which the
// interpreter makes an exception: after that the pointer is not used again, and the writer starts over with `careful`
// set, in which everything is held by a reference.

use std::ptr::{addr_eq, null_mut};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use gds_json::{number, text};
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyBytes, PyFloat, PyMapping, PyMappingMethods, PyString};

use super::conversions::{self, Conversion};
use super::write_error::{Failure, WriteError, changed, class_of, unsuitable};
use crate::interop::once::interned;
use crate::interop::text::lossy;

/// How to write.
#[derive(Debug)]
pub(crate) struct Options {
    /// Containers within containers, up to [`DEEPEST`](super::DEEPEST); an Enum and what `default` returns count as one.
    pub(crate) max_depth: usize,
    /// Called with an object that is of no known type; what it returns is written instead.
    pub(crate) default: Option<Py<PyAny>>,
}

impl Default for Options {
    fn default() -> Self {
        Self { max_depth: super::DEEPEST, default: None }
    }
}

/// What a reader should know of the text.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Flags {
    /// A NaN or an infinity was written as null.
    pub(crate) non_finite: bool,
    /// A lone surrogate was written as U+FFFD.
    pub(crate) lone_surrogate: bool,
}

/// Appends `value` to `out`; on an error `out` is as before.
pub(crate) fn write(
    py: Python<'_>,
    value: &Bound<'_, PyAny>,
    out: &mut Vec<u8>,
    options: &Options,
) -> Result<Flags, Box<WriteError>> {
    let start = out.len();
    let mut writer = Writer { py, out, options, flags: Flags::default(), careful: false };
    loop {
        match writer.held(value, options.max_depth) {
            Ok(()) => {
                // Behind everything there is a comma.
                writer.out.pop();
                return Ok(writer.flags);
            }
            Err(error) => {
                writer.out.truncate(start);
                if !error.retry {
                    return Err(error);
                }
                writer.careful = true;
                writer.flags = Flags::default();
            }
        }
    }
}

struct Writer<'a, 'py> {
    py: Python<'py>,
    out: &'a mut Vec<u8>,
    options: &'a Options,
    flags: Flags,
    /// Everything written is held by a reference.
    careful: bool,
}

/// Whether `object` is exactly of this type.
macro_rules! is_exactly {
    ($kind:expr, $type:ident) => {
        addr_eq($kind, &raw const ffi::$type)
    };
}

impl<'py> Writer<'_, 'py> {
    /// Writes an object that [`scalar`](Self::scalar) does not, within `depth` more containers, with a comma behind.
    ///
    /// Safety: alive and held by a reference.
    unsafe fn container(&mut self, object: *mut ffi::PyObject, depth: usize) -> Result<(), Failure> {
        // SAFETY: alive.
        unsafe {
            let kind = ffi::Py_TYPE(object);
            if is_exactly!(kind, PyDict_Type) {
                self.dict(object, depth)
            } else if is_exactly!(kind, PyList_Type) {
                self.sequence::<true>(object, depth)
            } else if is_exactly!(kind, PyTuple_Type) {
                self.sequence::<false>(object, depth)
            } else {
                self.other(&Bound::from_borrowed_ptr(self.py, object), depth)
            }
        }
    }

    /// Writes any object that is held by a reference, with a comma behind.
    fn held(&mut self, object: &Bound<'py, PyAny>, depth: usize) -> Result<(), Failure> {
        // SAFETY: alive, and held by the reference given.
        unsafe { if self.scalar(object.as_ptr())? { Ok(()) } else { self.container(object.as_ptr(), depth) } }
    }

    /// Writes an exact str, int, float, bool or None with a comma behind, and says whether it was one. Runs no Python
    /// code unless `careful`.
    ///
    /// Safety: alive.
    #[inline(always)]
    #[allow(clippy::inline_always)] // the innermost of all loops
    unsafe fn scalar(&mut self, object: *mut ffi::PyObject) -> Result<bool, Failure> {
        // SAFETY: alive and attached; each call is made for an object of the type it is for.
        unsafe {
            let kind = ffi::Py_TYPE(object);
            if is_exactly!(kind, PyUnicode_Type) {
                self.text::<b','>(object)?;
            } else if is_exactly!(kind, PyLong_Type) {
                let mut overflow = 0;
                let number = ffi::PyLong_AsLongLongAndOverflow(object, &raw mut overflow);
                if overflow != 0 {
                    return Ok(false);
                }
                number::write_integer_item(self.out, number);
            } else if is_exactly!(kind, PyFloat_Type) {
                self.float(ffi::PyFloat_AsDouble(object));
            } else if addr_eq(object, ffi::Py_None()) {
                self.out.extend_from_slice(b"null,");
            } else if addr_eq(object, ffi::Py_True()) {
                self.out.extend_from_slice(b"true,");
            } else if addr_eq(object, ffi::Py_False()) {
                self.out.extend_from_slice(b"false,");
            } else {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Writes a `str`, or the text of a subclass, and what is to stand behind.
    ///
    /// Safety: alive.
    #[inline]
    unsafe fn text<const BEHIND: u8>(&mut self, object: *mut ffi::PyObject) -> Result<(), Failure> {
        let mut length: ffi::Py_ssize_t = 0;
        // SAFETY: alive and attached. What it returns is UTF-8 that the object owns and never changes; nothing runs
        // while it is borrowed.
        unsafe {
            let start = ffi::PyUnicode_AsUTF8AndSize(object, &raw mut length);
            if !start.is_null() {
                let bytes = std::slice::from_raw_parts(start.cast::<u8>(), length.cast_unsigned());
                let text = std::str::from_utf8_unchecked(bytes);
                text::write::<BEHIND>(self.out, text);
                return Ok(());
            }
            ffi::PyErr_Clear();
        }
        if !self.careful {
            return Err(Box::new(WriteError { retry: true, ..WriteError::new("") }));
        }
        // SAFETY: alive: `careful` means that it is held by a reference.
        let object = unsafe { Bound::from_borrowed_ptr(self.py, object) };
        let object = object.cast::<PyString>().map_err(|error| WriteError::failed(error.into(), &object))?;
        text::write_escaped(self.out, lossy(object).as_bytes());
        self.flags.lone_surrogate = true;
        self.out.push(BEHIND);
        Ok(())
    }

    #[inline]
    fn float(&mut self, number: f64) {
        if number.is_finite() {
            number::write_float_item(self.out, number);
        } else {
            self.out.extend_from_slice(b"null,");
            self.flags.non_finite = true;
        }
    }

    /// What is left of `depth` within `container`.
    #[inline]
    fn enter(&self, container: *mut ffi::PyObject, depth: usize) -> Result<usize, Failure> {
        depth.checked_sub(1).ok_or_else(|| {
            let most = self.options.max_depth;
            let problem = format!("expected at most {most} levels within each other, got more");
            Box::new(WriteError { suspect: container.addr(), ..WriteError::new(problem) })
        })
    }

    /// Writes an exact dict.
    ///
    /// Safety: alive and held by a reference.
    unsafe fn dict(&mut self, dict: *mut ffi::PyObject, depth: usize) -> Result<(), Failure> {
        let depth = self.enter(dict, depth)?;
        let (mut position, mut key, mut value) = (0, null_mut(), null_mut());
        // SAFETY: `dict` is an exact dict, held by the caller, and attached. `PyDict_Next` looks at the dict as it is
        // at each call, so that it stays sound when Python code has changed the dict in between. Key and value are
        // borrowed from it only as said at the top of this file: everything that may run Python code is done on
        // references of our own.
        unsafe {
            let size = ffi::PyDict_Size(dict);
            if size == 0 {
                self.out.extend_from_slice(b"{},");
                return Ok(());
            }
            self.out.push(b'{');
            while ffi::PyDict_Next(dict, &raw mut position, &raw mut key, &raw mut value) != 0 {
                if !self.careful && is_exactly!(ffi::Py_TYPE(key), PyUnicode_Type) {
                    self.text::<b':'>(key)?;
                    if self.scalar(value)? {
                        continue;
                    }
                    // The key is alive still: as long as `scalar` writes nothing, it runs nothing.
                    let key = Bound::from_borrowed_ptr(self.py, key);
                    let value = Bound::from_borrowed_ptr(self.py, value);
                    self.container(value.as_ptr(), depth).map_err(|error| error.at_key(&key).within(dict))?;
                } else {
                    let key = Bound::from_borrowed_ptr(self.py, key);
                    let value = Bound::from_borrowed_ptr(self.py, value);
                    self.pair(&key, &value, depth).map_err(|error| error.within(dict))?;
                }
                if ffi::PyDict_Size(dict) != size {
                    return Err(changed("dict"));
                }
            }
        }
        self.close(b'{', b'}');
        Ok(())
    }

    fn pair(&mut self, key: &Bound<'py, PyAny>, value: &Bound<'py, PyAny>, depth: usize) -> Result<(), Failure> {
        self.key(key, depth)?;
        self.held(value, depth).map_err(|error| error.at_key(key))
    }

    /// Ends what began with `open`, with a comma behind; of the commas within, the last one is too many.
    #[inline]
    fn close(&mut self, open: u8, close: u8) {
        match self.out.last_mut() {
            Some(last) if *last != open => *last = close,
            _ => self.out.push(close),
        }
        self.out.push(b',');
    }

    /// Writes a list (`LIST`) or a tuple, or the items of a subclass.
    ///
    /// Safety: alive and held by a reference, and of that type.
    unsafe fn sequence<const LIST: bool>(&mut self, sequence: *mut ffi::PyObject, depth: usize) -> Result<(), Failure> {
        let depth = self.enter(sequence, depth)?;
        // SAFETY: of the type and held, as the caller promises, and attached. The length of a list is asked for again
        // after Python code may have run, and the index is within it; a tuple does not change. Items are borrowed
        // only as said at the top of this file.
        unsafe {
            let size = if LIST { ffi::PyList_Size(sequence) } else { ffi::PyTuple_Size(sequence) };
            if size == 0 {
                self.out.extend_from_slice(b"[],");
                return Ok(());
            }
            self.out.push(b'[');
            for index in 0..size {
                let item =
                    if LIST { ffi::PyList_GetItem(sequence, index) } else { ffi::PyTuple_GetItem(sequence, index) };
                if self.careful || !self.scalar(item)? {
                    let item = Bound::from_borrowed_ptr(self.py, item);
                    let careful = self.careful;
                    let written = if careful { self.held(&item, depth) } else { self.container(item.as_ptr(), depth) };
                    written.map_err(|error| error.at_index(index).within(sequence))?;
                    if LIST && ffi::PyList_Size(sequence) != size {
                        return Err(changed("list"));
                    }
                }
            }
        }
        self.close(b'[', b']');
        Ok(())
    }

    /// Writes what is not exactly of a type of JSON's own, and integers beyond 64 bits.
    #[cold]
    fn other(&mut self, object: &Bound<'py, PyAny>, depth: usize) -> Result<(), Failure> {
        let py = self.py;
        let kind = conversions::of(object)
            .map_err(|error| WriteError::raised(error, "expected an object with a type, got none"))?;
        let pointer = object.as_ptr();
        // What is written in its place.
        let instead = match kind {
            // SAFETY: alive, held by `object`, and of the type as `conversions` found.
            Conversion::Text => return unsafe { self.text::<b','>(pointer) },
            Conversion::Int => return self.whole(object),
            Conversion::Float => {
                // SAFETY: the same; it reads the number of a subclass of float and runs no Python code.
                self.float(unsafe { ffi::PyFloat_AsDouble(pointer) });
                return Ok(());
            }
            // SAFETY: as for text.
            Conversion::List => return unsafe { self.sequence::<true>(pointer, depth) },
            // SAFETY: as for text.
            Conversion::Tuple => return unsafe { self.sequence::<false>(pointer, depth) },
            Conversion::Dict => return self.items(object, depth),
            Conversion::Bytes => return self.bytes(object),
            Conversion::Fields(fields) => return self.fields(object, &fields, depth),
            _ => match (conversions::instead(&kind, object), &self.options.default) {
                (Some(instead), _) => instead,
                (None, Some(default)) => default.bind(py).call1((object,)),
                (None, None) => return Err(unsuitable(object)),
            },
        };
        let instead = instead.map_err(|error| WriteError::failed(error, object))?;
        // A level deeper also where no bracket is written, so that a `default` which returns what it got has an end.
        let depth = self.enter(pointer, depth)?;
        self.held(&instead, depth).map_err(|error| error.within(pointer))
    }

    /// Writes an int of any size, or one of a subclass by its number.
    fn whole(&mut self, object: &Bound<'py, PyAny>) -> Result<(), Failure> {
        // SAFETY: attached; the object is an int (or of a subclass) and held. It reads the digits of the number
        // itself, whatever a subclass has for `__str__`.
        let digits = unsafe { Bound::from_owned_ptr_or_err(self.py, ffi::PyNumber_ToBase(object.as_ptr(), 10)) };
        let digits = digits.and_then(|digits| Ok(digits.cast_into::<PyString>()?));
        let digits = digits.map_err(|error| {
            let problem = "expected an int of no more digits than sys.get_int_max_str_digits(), got one of more";
            WriteError::raised(error, problem)
        })?;
        text::write_plain(self.out, digits.to_string_lossy().as_bytes());
        Ok(())
    }

    /// Writes a subclass of dict, which may have an order or items of its own.
    fn items(&mut self, object: &Bound<'py, PyAny>, depth: usize) -> Result<(), Failure> {
        let depth = self.enter(object.as_ptr(), depth)?;
        let items = object.cast::<PyMapping>().map_err(PyErr::from).and_then(PyMappingMethods::items);
        let items = items.map_err(|error| WriteError::failed(error, object))?;
        self.out.push(b'{');
        for item in items {
            let pair = item.extract::<(Bound<'_, PyAny>, Bound<'_, PyAny>)>();
            let (key, value) = pair.map_err(|error| WriteError::failed(error, object))?;
            self.pair(&key, &value, depth).map_err(|error| error.within(object.as_ptr()))?;
        }
        self.close(b'{', b'}');
        Ok(())
    }

    /// Writes a dataclass. A field that was deleted is left out.
    fn fields(&mut self, object: &Bound<'py, PyAny>, names: &[Py<PyString>], depth: usize) -> Result<(), Failure> {
        let depth = self.enter(object.as_ptr(), depth)?;
        self.out.push(b'{');
        for name in names {
            let name = name.bind(self.py).as_any();
            let value = object
                .getattr_opt(name.cast::<PyString>().map_err(|error| WriteError::failed(error.into(), object))?)
                .map_err(|error| WriteError::failed(error, object))?;
            let Some(value) = value else { continue };
            self.key(name, depth)?;
            self.held(&value, depth).map_err(|error| error.at_field(name).within(object.as_ptr()))?;
        }
        self.close(b'{', b'}');
        Ok(())
    }

    fn bytes(&mut self, object: &Bound<'py, PyAny>) -> Result<(), Failure> {
        let bytes = bytes_of(object).map_err(|error| WriteError::failed(error, object))?;
        self.out.push(b'"');
        let start = self.out.len();
        self.out.resize(start + bytes.as_bytes().len().div_ceil(3) * 4, 0);
        let written = STANDARD.encode_slice(bytes.as_bytes(), &mut self.out[start..]);
        debug_assert_eq!(written, Ok(self.out.len() - start));
        self.out.extend_from_slice(b"\",");
        Ok(())
    }

    /// What was written with a comma behind is a key.
    fn end_key(&mut self) {
        self.out.pop();
        self.out.extend_from_slice(b"\":");
    }

    /// Writes a key, with the colon.
    fn key(&mut self, key: &Bound<'py, PyAny>, depth: usize) -> Result<(), Failure> {
        if key.is_exact_instance_of::<PyString>() {
            // SAFETY: alive, held by `key`.
            return unsafe { self.text::<b':'>(key.as_ptr()) };
        }
        if key.is_none() || key.is_exact_instance_of::<PyBool>() {
            self.out.push(b'"');
            self.held(key, depth)?;
            self.end_key();
            return Ok(());
        }
        let kind =
            conversions::of(key).map_err(|error| WriteError::raised(error, "expected a key with a type, got none"))?;
        let instead = match &kind {
            // SAFETY: alive, held by `key`, and of the type as `conversions` found.
            Conversion::Text => return unsafe { self.text::<b':'>(key.as_ptr()) },
            Conversion::Int => {
                self.out.push(b'"');
                self.whole(key)?;
                self.end_key();
                return Ok(());
            }
            Conversion::Float => float_key(key),
            Conversion::Iso | Conversion::Str | Conversion::Enum | Conversion::NumpyScalar | Conversion::Null => {
                conversions::instead(&kind, key).unwrap_or_else(|| Ok(key.clone()))
            }
            _ => {
                let got = class_of(key);
                let problem = format!(
                    "expected keys that are str, int, float, bool, None, Enum, datetime, date, time, UUID, Decimal or \
                     paths, got {got}"
                );
                return Err(Box::new(WriteError { unsuitable: true, ..WriteError::new(problem) }));
            }
        };
        let instead = instead.map_err(|error| WriteError::failed(error, key))?;
        let depth = self.enter(key.as_ptr(), depth)?;
        self.key(&instead, depth)
    }
}

/// The bytes of what is `bytes`, `bytearray` or `memoryview`, as they are now.
pub(super) fn bytes_of<'py>(object: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyBytes>> {
    // SAFETY: attached, and the object is held. What is bytes already is returned as it is; of anything else it makes a
    // copy, which nobody can change.
    let bytes = unsafe { Bound::from_owned_ptr_or_err(object.py(), ffi::PyBytes_FromObject(object.as_ptr())) }?;
    Ok(bytes.cast_into::<PyBytes>()?)
}

/// As `json.dumps` has it, to the letter: it is text that readers look up.
fn float_key<'py>(key: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    let py = key.py();
    let number = key.extract::<f64>()?;
    Ok(match number {
        f64::INFINITY => interned!(py, "Infinity").clone().into_any(),
        f64::NEG_INFINITY => interned!(py, "-Infinity").clone().into_any(),
        _ if number.is_nan() => interned!(py, "NaN").clone().into_any(),
        _ => PyFloat::new(py, number).repr()?.into_any(),
    })
}
