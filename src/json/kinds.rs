//! What becomes of an object that is none of JSON's own types, by its type.
//!
//! A type is looked at once and remembered: a record of the same dataclass, or with the same Enum, comes again.
//! Libraries are never imported for the question: what was not imported has no objects.
#![allow(unsafe_code)]

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use parking_lot::Mutex;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{
    PyByteArray, PyBytes, PyDict, PyFloat, PyFrozenSet, PyInt, PyList, PyMemoryView, PySet, PyString, PyTuple, PyType,
};

/// How objects of a type are written.
#[derive(Clone)]
pub(super) enum Kind {
    /// A subclass of a type of JSON's own.
    Text,
    Int,
    Float,
    Dict,
    List,
    Tuple,
    /// `bytes`, `bytearray`, `memoryview`: base64.
    Bytes,
    Set,
    /// By `isoformat()`.
    Iso,
    /// By `total_seconds()`.
    Timedelta,
    /// By `str()`: UUID, Decimal, paths.
    Str,
    /// Its value.
    Enum,
    /// The named attributes.
    Dataclass(Arc<[Py<PyString>]>),
    /// By `item()`.
    NumpyScalar,
    /// By `tolist()`.
    NumpyArray,
    NumpyDatetime,
    NumpyTimedelta,
    /// The caller's `default` is asked.
    Unknown,
}

/// As many types as programs have; one that makes types as it runs has the memory of them given back now and then.
const MOST: usize = 512;

/// By the address of the type, which is kept alive so that it stays the address of that type.
type Known = HashMap<usize, (Py<PyType>, Kind)>;

/// Locked for a look-up or an insertion only, during which no Python code runs: nobody waits for it.
static KNOWN: LazyLock<Mutex<Known>> = LazyLock::new(Mutex::default);

/// How objects of this type are written.
pub(super) fn of(object: &Bound<'_, PyAny>) -> PyResult<Kind> {
    let kind = object.get_type();
    if let Some((_, known)) = KNOWN.lock().get(&(kind.as_ptr() as usize)) {
        return Ok(known.clone());
    }
    let found = look_at(&kind)?;
    let entry = (kind.clone().unbind(), found.clone());
    let mut known = KNOWN.lock();
    let full = if known.len() < MOST { Known::new() } else { std::mem::take(&mut *known) };
    let before = known.insert(kind.as_ptr() as usize, entry);
    drop(known);
    // After the lock: where these are the last references, Python code may run.
    drop((full, before));
    Ok(found)
}

#[cold]
fn look_at(kind: &Bound<'_, PyType>) -> PyResult<Kind> {
    let py = kind.py();
    let modules = py.import("sys")?.getattr("modules")?.cast_into::<PyDict>()?;
    let is = |base: &Bound<'_, PyType>| {
        // SAFETY: both are types and alive; it reads their bases and runs no Python code (no `__subclasscheck__`).
        unsafe { ffi::PyType_IsSubtype(kind.as_type_ptr(), base.as_type_ptr()) != 0 }
    };
    let is_named = |module: &str, name: &str| {
        let Ok(Some(module)) = modules.get_item(module) else { return false };
        let base = module.getattr(name).ok().and_then(|base| base.cast_into::<PyType>().ok());
        base.is_some_and(|base| is(&base))
    };
    // An Enum first: the text of `class Colour(str, Enum)` is its value too, but not that of `class C(int, Enum)`
    // whose `value` a program has changed.
    Ok(if is_named("enum", "Enum") {
        Kind::Enum
    } else if is_named("numpy", "datetime64") {
        Kind::NumpyDatetime
    } else if is_named("numpy", "timedelta64") {
        Kind::NumpyTimedelta
    } else if is(&py.get_type::<PyString>()) {
        Kind::Text
    } else if is(&py.get_type::<PyInt>()) {
        Kind::Int
    } else if is(&py.get_type::<PyFloat>()) {
        Kind::Float
    } else if is(&py.get_type::<PyBytes>()) || is(&py.get_type::<PyByteArray>()) || is(&py.get_type::<PyMemoryView>()) {
        Kind::Bytes
    } else if is_named("datetime", "date") || is_named("datetime", "time") {
        Kind::Iso
    } else if is_named("datetime", "timedelta") {
        Kind::Timedelta
    } else if is_named("uuid", "UUID") || is_named("decimal", "Decimal") || is_named("pathlib", "PurePath") {
        Kind::Str
    } else if kind.hasattr("__dataclass_fields__")? {
        let fields = py.import("dataclasses")?.getattr("fields")?.call1((kind,))?;
        let names = fields.try_iter()?.map(|field| {
            let name = field?.getattr("name")?.cast_into::<PyString>()?;
            Ok(name.unbind())
        });
        Kind::Dataclass(names.collect::<PyResult<_>>()?)
    } else if is(&py.get_type::<PyDict>()) {
        Kind::Dict
    } else if is(&py.get_type::<PyList>()) {
        Kind::List
    } else if is(&py.get_type::<PyTuple>()) {
        Kind::Tuple
    } else if is(&py.get_type::<PySet>()) || is(&py.get_type::<PyFrozenSet>()) {
        Kind::Set
    } else if is_named("numpy", "generic") {
        Kind::NumpyScalar
    } else if is_named("numpy", "ndarray") {
        Kind::NumpyArray
    } else {
        Kind::Unknown
    })
}
