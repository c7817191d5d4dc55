//! Values of a record as JSON: whatever they are, something arrives, and no secret.

use std::borrow::Cow;
use std::io::Write as _;

use gds_json::{number, text};
use gds_redact::{MARK, is_login, is_name_of_login, is_name_of_name, is_name_of_value, is_secret_key, is_value_a_name};
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyBytes, PyDict, PyFloat, PyFrozenSet, PyInt, PyList, PySet, PyString, PyTuple};

use super::attributes::DictItems;
use super::objects::{describe, swallow_exception};
use super::writer::Writer;
use crate::interop::once::interned;
use crate::interop::text::lossy;
use crate::json::{bytes_like, is_null};

/// Bytes of one text that are kept: a broker takes messages of 1 MiB unless it is told otherwise.
const MAX_TEXT: usize = 192 * 1024;
/// Bytes of one text that are looked at.
const MAX_LOOK: usize = 4 * MAX_TEXT;
/// Bytes of a record beyond which no further value is begun.
const MAX_RECORD: usize = 512 * 1024;

impl Writer<'_> {
    /// Any object: as JSON where it has one, as text where not.
    fn value(&mut self, object: &Bound<'_, PyAny>, depth: usize) -> PyResult<()> {
        if let Ok(text) = object.cast::<PyString>() {
            self.readable(text);
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
        } else if let Some(Ok(bytes)) = bytes_like(object) {
            match std::str::from_utf8(bytes.as_bytes()) {
                Ok(text) => self.text(text),
                Err(_) => self.other(&bytes)?,
            }
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
            let mut items: DictItems<'_> = dict.iter().collect();
            mask_named_value(object.py(), &mut items);
            return self.members(&items, depth);
        }
        if let Some(items) = named_tuple(object) {
            return self.members(&items, depth);
        }
        if let Some(name) = secret_pair(object) {
            self.masked_pair(&name);
            return Ok(());
        }
        if let Ok(list) = object.cast_exact::<PyList>() {
            return self.sequence(&list.iter().collect::<Vec<_>>(), depth);
        }
        if let Ok(tuple) = object.cast::<PyTuple>() {
            return self.sequence(&tuple.iter().collect::<Vec<_>>(), depth);
        }
        let Ok(items) = object.try_iter() else { return self.other(object) };
        let items: PyResult<Vec<_>> = items.collect();
        let items = items.or_else(|error| swallow_exception(object.py(), error).map(|()| Vec::new()))?;
        self.items(items.into_iter(), depth)
    }

    /// A list or a tuple. Where it is of texts, one may say that the next is a secret: `["curl", "-u", "bob:..."]`.
    fn sequence(&mut self, items: &[Bound<'_, PyAny>], depth: usize) -> PyResult<()> {
        let texts: Option<Vec<_>> = items.iter().map(text_of).collect();
        let texts =
            texts.filter(|texts| texts.len() > 1 && texts.iter().map(|text| text.len()).sum::<usize>() <= MAX_TEXT);
        let Some(texts) = texts else { return self.items(items.iter().cloned(), depth) };
        self.flags.lone_surrogate |= texts.iter().any(|text| matches!(text, Cow::Owned(_)));
        let texts: Vec<&str> = texts.iter().map(|text| &**text).collect();
        for (number, text) in self.redactor.redact_list(&texts).iter().enumerate() {
            self.out.push(if number == 0 { b'[' } else { b',' });
            self.plain(text);
        }
        self.out.push(b']');
        Ok(())
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

    pub(super) fn members(&mut self, items: &[(Bound<'_, PyAny>, Bound<'_, PyAny>)], depth: usize) -> PyResult<()> {
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
                Ok(name) => {
                    let name = lossy(name);
                    self.flags.lone_surrogate |= matches!(name, Cow::Owned(_));
                    self.member(&name, value, depth)?;
                }
                Err(_) => self.member(&describe(name, Bound::str)?, value, depth)?,
            }
        }
        self.out.push(b'}');
        Ok(())
    }

    pub(super) fn member(&mut self, name: &str, value: &Bound<'_, PyAny>, depth: usize) -> PyResult<()> {
        self.text(name);
        self.out.push(b':');
        // That there is none is no secret.
        if is_secret_key(name) && !value.is_none() {
            self.plain(MARK);
            return Ok(());
        }
        if is_name_of_login(name) {
            if let Some(user) = login_pair(value) {
                self.masked_pair(&user);
                return Ok(());
            }
            if text_of(value).is_some_and(|text| is_login(&text)) {
                self.plain(MARK);
                return Ok(());
            }
        }
        self.value(value, depth)
    }

    /// A pair whose second is a secret.
    fn masked_pair(&mut self, first: &Bound<'_, PyString>) {
        self.out.push(b'[');
        self.readable(first);
        self.out.push(b',');
        self.plain(MARK);
        self.out.push(b']');
    }

    /// The text of an object that has no JSON.
    fn other(&mut self, object: &Bound<'_, PyAny>) -> PyResult<()> {
        let py = object.py();
        // Times as everybody writes them; scalars of numpy as the numbers they are.
        for name in [interned!(py, "isoformat"), interned!(py, "item")] {
            let Ok(Some(method)) = object.getattr_opt(name) else { continue };
            match method.call0() {
                // A time that is none: pandas has a datetime of that text, numpy an item that is None.
                Ok(value) if value.is_none() || value.cast::<PyString>().is_ok_and(|text| text == "NaT") => {
                    self.out.extend_from_slice(b"null");
                    return Ok(());
                }
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
                Err(error) => swallow_exception(py, error)?,
            }
        }
        if is_null(object) {
            self.out.extend_from_slice(b"null");
            return Ok(());
        }
        match object.str() {
            Ok(text) => self.readable(&text),
            Err(error) => {
                swallow_exception(py, error)?;
                self.flags.unserialisable = true;
                let text = describe(object, Bound::repr)?;
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

    pub(super) fn named_text(&mut self, name: &str, text: Option<&str>) {
        if let Some(text) = text.filter(|text| !text.is_empty()) {
            self.name(name);
            self.text(text);
        }
    }

    pub(super) fn named_plain(&mut self, name: &str, text: Option<&str>) {
        if let Some(text) = text.filter(|text| !text.is_empty()) {
            self.name(name);
            self.plain(text);
        }
    }

    pub(super) fn name(&mut self, name: &str) {
        self.out.extend_from_slice(b",\"");
        self.out.extend_from_slice(name.as_bytes());
        self.out.extend_from_slice(b"\":");
    }

    pub(super) fn hex(&mut self, name: &str, bytes: &[u8]) {
        self.name(name);
        self.out.push(b'"');
        for byte in bytes {
            write!(self.out, "{byte:02x}").expect("a Vec takes anything");
        }
        self.out.push(b'"');
    }

    pub(super) fn whole(&mut self, number: impl itoa::Integer) {
        number::write_integer(self.out, number);
    }

    pub(super) fn float(&mut self, number: f64) {
        if number.is_finite() {
            number::write_float(self.out, number);
        } else {
            self.flags.non_finite = true;
            self.out.extend_from_slice(b"null");
        }
    }

    /// As [`Self::text`], of a `str`.
    pub(super) fn readable(&mut self, text: &Bound<'_, PyString>) {
        let text = lossy(text);
        self.flags.lone_surrogate |= matches!(text, Cow::Owned(_));
        self.text(&text);
    }

    /// Text without its secrets, from its beginning as far as it may go.
    pub(super) fn text(&mut self, text: &str) {
        // Cut after redacting, because half a secret looks like none.
        let look = &text[..boundary(text, MAX_LOOK)];
        let redacted = self.redactor.redact(look);
        let kept = &redacted[..boundary(&redacted, MAX_TEXT)];
        self.flags.truncated |= kept.len() < redacted.len() || look.len() < text.len();
        self.plain(kept);
    }

    /// As [`Self::text`], the end of it: what a traceback ends with is what happened.
    pub(super) fn tail(&mut self, text: &str) {
        let look = &text[boundary(text, text.len().saturating_sub(MAX_LOOK))..];
        let redacted = self.redactor.redact(look);
        let kept = &redacted[boundary(&redacted, redacted.len().saturating_sub(MAX_TEXT))..];
        self.flags.truncated |= kept.len() < redacted.len() || look.len() < text.len();
        self.plain(kept);
    }

    /// Text as it is.
    pub(super) fn plain(&mut self, text: &str) {
        text::write::<b','>(self.out, text);
        self.out.pop();
    }
}

/// The last place not behind `at` where a character begins.
fn boundary(text: &str, at: usize) -> usize {
    (0..=at.min(text.len())).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0)
}

/// What an object says if it is text, also as bytes.
fn text_of<'a>(object: &'a Bound<'_, PyAny>) -> Option<Cow<'a, str>> {
    if let Ok(text) = object.cast::<PyString>() {
        return Some(lossy(text));
    }
    std::str::from_utf8(object.cast::<PyBytes>().ok()?.as_bytes()).ok().map(Cow::Borrowed)
}

/// Whether an object is text that names a secret.
fn names_secret(object: &Bound<'_, PyAny>) -> bool {
    text_of(object).is_some_and(|name| is_secret_key(&name))
}

/// Of `{"name": "DB_PASSWORD", "value": ...}` the value is the secret.
fn mask_named_value<'py>(py: Python<'py>, items: &mut DictItems<'py>) {
    let is = |object: &Bound<'_, PyAny>, what: fn(&[u8]) -> bool| {
        object.cast::<PyString>().is_ok_and(|text| what(lossy(text).as_bytes()))
    };
    if !items.iter().any(|(name, value)| is(name, is_name_of_name) && names_secret(value)) {
        return;
    }
    for (name, value) in items {
        if is(name, is_name_of_value) && !value.is_none() {
            *value = PyString::new(py, MARK).into_any();
        }
    }
}

/// The two of a tuple or a list, if the first is text.
fn pair<'py>(object: &Bound<'py, PyAny>) -> Option<(Bound<'py, PyString>, Bound<'py, PyAny>)> {
    let pair = match object.cast::<PyTuple>() {
        Ok(tuple) => tuple.clone(),
        Err(_) => object.cast::<PyList>().ok().filter(|list| list.len() == 2)?.to_tuple(),
    };
    let second = pair.get_item(1).ok().filter(|_| pair.len() == 2)?;
    Some((pair.get_item(0).ok()?.cast_into().ok()?, second))
}

/// The name in a pair of the name of a secret and the secret; two names of secrets are a list of names.
fn secret_pair<'py>(object: &Bound<'py, PyAny>) -> Option<Bound<'py, PyString>> {
    let (name, second) = pair(object)?;
    let is_name = text_of(&second).is_some_and(|text| is_value_a_name(&text));
    (names_secret(&name) && !second.is_none() && !is_name).then_some(name)
}

/// The user in a pair of user and password.
fn login_pair<'py>(object: &Bound<'py, PyAny>) -> Option<Bound<'py, PyString>> {
    let (user, password) = pair(object)?;
    text_of(&password).map(|_| user)
}

/// The fields of a named tuple, by name: names say which of them are secrets.
fn named_tuple<'py>(object: &Bound<'py, PyAny>) -> Option<DictItems<'py>> {
    let tuple = object.cast::<PyTuple>().ok().filter(|_| !object.is_exact_instance_of::<PyTuple>())?;
    let names = object.get_type().getattr(interned!(object.py(), "_fields")).ok()?.cast_into::<PyTuple>().ok()?;
    (names.len() == tuple.len()).then(|| names.iter().zip(tuple.iter()).collect())
}

fn is_container(object: &Bound<'_, PyAny>) -> bool {
    object.is_instance_of::<PyDict>()
        || object.is_instance_of::<PyList>()
        || object.is_instance_of::<PyTuple>()
        || object.is_instance_of::<PySet>()
        || object.is_instance_of::<PyFrozenSet>()
}
