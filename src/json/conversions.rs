//! What becomes of an object that is none of JSON's own types, by its type.
//!
//! A type is looked at once and remembered: a record of the same dataclass, or with the same Enum, comes again.
//! Libraries are never imported for the question: what was not imported has no objects.
#![allow(unsafe_code)]

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use gds_process::sync::Mutex;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{
    PyByteArray, PyBytes, PyDict, PyFloat, PyFrozenSet, PyInt, PyList, PyMemoryView, PySet, PyString, PyTuple, PyType,
};

use crate::interop::once::interned;

/// How objects of a type are written.
#[derive(Clone)]
pub(super) enum Conversion {
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
    /// The named attributes: a dataclass, or what attrs or msgspec made.
    Fields(Arc<[Py<PyString>]>),
    /// A model of pydantic, by what itself says is its JSON.
    Model,
    /// The same, of version 1.
    OldModel,
    /// pandas' own none.
    Null,
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
type Known = HashMap<usize, (Py<PyType>, Conversion)>;

/// Locked for a look-up or an insertion only, during which no Python code runs: nobody waits for it.
static KNOWN: LazyLock<Mutex<Known>> = LazyLock::new(Mutex::default);

/// How objects of this type are written.
pub(super) fn of(object: &Bound<'_, PyAny>) -> PyResult<Conversion> {
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
fn look_at(kind: &Bound<'_, PyType>) -> PyResult<Conversion> {
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
        Conversion::Enum
    } else if is_named("numpy", "datetime64") {
        Conversion::NumpyDatetime
    } else if is_named("numpy", "timedelta64") {
        Conversion::NumpyTimedelta
    } else if is(&py.get_type::<PyString>()) {
        Conversion::Text
    } else if is(&py.get_type::<PyInt>()) {
        Conversion::Int
    } else if is(&py.get_type::<PyFloat>()) {
        Conversion::Float
    } else if is(&py.get_type::<PyBytes>()) || is(&py.get_type::<PyByteArray>()) || is(&py.get_type::<PyMemoryView>()) {
        Conversion::Bytes
    } else if is_named("datetime", "date") || is_named("datetime", "time") {
        Conversion::Iso
    } else if is_named("datetime", "timedelta") {
        Conversion::Timedelta
    } else if is_named("uuid", "UUID") || is_named("decimal", "Decimal") || is_named("pathlib", "PurePath") {
        Conversion::Str
    } else if is_named("pydantic.v1", "BaseModel") {
        Conversion::OldModel
    } else if is_named("pydantic", "BaseModel") {
        if kind.hasattr("model_dump")? { Conversion::Model } else { Conversion::OldModel }
    } else if kind.hasattr("__dataclass_fields__")? {
        named(&py.import("dataclasses")?.getattr("fields")?.call1((kind,))?)?
    } else if kind.hasattr("__attrs_attrs__")? {
        named(&kind.getattr("__attrs_attrs__")?)?
    } else if is_named("msgspec", "Struct") {
        let names = kind.getattr("__struct_fields__")?.extract::<Vec<Py<PyString>>>()?;
        Conversion::Fields(names.into())
    } else if is_named("pandas._libs.missing", "NAType") {
        Conversion::Null
    } else if is(&py.get_type::<PyDict>()) {
        Conversion::Dict
    } else if is(&py.get_type::<PyList>()) {
        Conversion::List
    } else if is(&py.get_type::<PyTuple>()) {
        Conversion::Tuple
    } else if is(&py.get_type::<PySet>()) || is(&py.get_type::<PyFrozenSet>()) {
        Conversion::Set
    } else if is_named("numpy", "generic") {
        Conversion::NumpyScalar
    } else if is_named("numpy", "ndarray") {
        Conversion::NumpyArray
    } else {
        Conversion::Unknown
    })
}

/// The names of fields that each have one.
fn named(fields: &Bound<'_, PyAny>) -> PyResult<Conversion> {
    let names = fields.try_iter()?.map(|field| Ok(field?.getattr("name")?.cast_into::<PyString>()?.unbind()));
    Ok(Conversion::Fields(names.collect::<PyResult<_>>()?))
}

/// What is written in the place of an object; none for a kind that is written as it is, and for one that is unknown.
pub(super) fn instead<'py>(kind: &Conversion, object: &Bound<'py, PyAny>) -> Option<PyResult<Bound<'py, PyAny>>> {
    let py = object.py();
    Some(match kind {
        Conversion::Set => set_items(object),
        Conversion::Iso => iso_text(object),
        Conversion::Timedelta => object.call_method0(interned!(py, "total_seconds")),
        Conversion::Str => object.str().map(Bound::into_any),
        Conversion::Enum => object.getattr(interned!(py, "value")),
        Conversion::Model => model_items(object),
        Conversion::OldModel => old_model_items(object),
        Conversion::Null => Ok(py.None().into_bound(py)),
        Conversion::NumpyScalar => object.call_method0(interned!(py, "item")),
        Conversion::NumpyArray => numpy_items(object),
        Conversion::NumpyDatetime => numpy_text(object),
        Conversion::NumpyTimedelta => numpy_seconds(object),
        _ => return None,
    })
}

/// The text of a time; of pandas' NaT, which is a datetime too, none.
fn iso_text<'py>(time: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    let text = time.call_method0(interned!(time.py(), "isoformat"))?;
    Ok(if is_nat(&text) { time.py().None().into_bound(time.py()) } else { text })
}

fn is_nat(text: &Bound<'_, PyAny>) -> bool {
    text.cast::<PyString>().is_ok_and(|text| text == "NaT")
}

/// As the model itself writes JSON, so that its own serializers are used and its secrets stay hidden.
fn model_items<'py>(model: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    let mode = PyDict::new(model.py());
    mode.set_item("mode", "json")?;
    model.call_method("model_dump", (), Some(&mode))
}

fn old_model_items<'py>(model: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    model.py().import("json")?.call_method1("loads", (model.call_method0("json")?,))
}

fn set_items<'py>(object: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    let items = object.try_iter()?.collect::<PyResult<Vec<_>>>()?;
    Ok(PyList::new(object.py(), items)?.into_any())
}

/// `tolist()`, with the times in it as they are written alone: of those in nanoseconds it would make plain integers.
fn numpy_items<'py>(array: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    let py = array.py();
    let kind = array.getattr(interned!(py, "dtype"))?.getattr(interned!(py, "kind"))?;
    let array = match &*kind.extract::<String>()? {
        // Text by way of objects, since NaT is to become None.
        "M" => {
            let none = array.py().import("numpy")?.call_method1("isnat", (array,))?;
            let text = array.call_method1("astype", ("str",))?.call_method1("astype", ("object",))?;
            array.py().import("numpy")?.call_method1("where", (none, py.None(), text))?
        }
        "m" => numpy_seconds(array)?,
        _ => array.clone(),
    };
    array.call_method0(interned!(py, "tolist"))
}

fn numpy_text<'py>(time: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    let text = time.str()?;
    Ok(if is_nat(&text) { time.py().None().into_bound(time.py()) } else { text.into_any() })
}

fn numpy_seconds<'py>(span: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    let second = span.py().import("numpy")?.call_method1("timedelta64", (1, "s"))?;
    span.div(second)
}
