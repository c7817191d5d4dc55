//! Text of Python objects, where it may hold what UTF-8 cannot.
#![allow(unsafe_code)]

use std::borrow::Cow;

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyString;

/// Text with one U+FFFD in the place of each lone surrogate, which UTF-8 cannot carry; owned if there was one.
pub(crate) fn lossy<'a>(text: &'a Bound<'_, PyString>) -> Cow<'a, str> {
    match text.to_str() {
        Ok(text) => Cow::Borrowed(text),
        Err(_) => Cow::Owned(without_surrogates(text)),
    }
}

#[cold]
fn without_surrogates(text: &Bound<'_, PyString>) -> String {
    // SAFETY: attached; the object is a str (or of a subclass) and held, both names end with NUL.
    let encoded = unsafe {
        let encoded = ffi::PyUnicode_AsEncodedString(text.as_ptr(), c"utf-8".as_ptr(), c"surrogatepass".as_ptr());
        Bound::from_owned_ptr_or_opt(text.py(), encoded)
    };
    let Some(encoded) = encoded else {
        // No memory for it.
        drop(PyErr::take(text.py()));
        return text.to_string_lossy().into_owned();
    };
    let encoded = encoded.extract::<&[u8]>().unwrap_or_default();
    let mut replaced = Vec::with_capacity(encoded.len());
    let mut rest = encoded;
    while let Some((&byte, tail)) = rest.split_first() {
        // Surrogates are the code points whose three bytes begin with ED A0 to ED BF; the replacement has three.
        if byte == 0xed && tail.first().is_some_and(|&second| second >= 0xa0) {
            replaced.extend_from_slice("\u{fffd}".as_bytes());
            rest = tail.get(2..).unwrap_or_default();
        } else {
            replaced.push(byte);
            rest = tail;
        }
    }
    String::from_utf8_lossy(&replaced).into_owned()
}

/// The name of an object's type, for messages: its value may be a secret that somebody passed by mistake.
pub(crate) fn type_name(object: Option<&Bound<'_, PyAny>>) -> String {
    let name = |object: &Bound<'_, PyAny>| object.get_type().name().map(|name| name.to_string());
    object.map_or_else(|| "none".to_owned(), |object| name(object).unwrap_or_else(|_| "?".to_owned()))
}
