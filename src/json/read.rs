//! JSON as Python objects, made while the text is read: no tree in between.
//!
//! The text is JSON as RFC 8259 has it, in UTF-8 and without a byte order mark. Integers have any size that `int(str)`
//! takes (`sys.get_int_max_str_digits`); other numbers become the nearest float, beyond its range an infinity, as in
//! Python's own json. Of equal keys the last one counts. A surrogate that is escaped alone is an error: there is no such
//! text in UTF-8, and whatever is made of it cannot be written again.
#![allow(unsafe_code)]

use std::ffi::CString;
use std::fmt;

use gds_json::text;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyDict, PyFloat, PyList, PyString};

use super::DEEPEST;
use super::keys::Keys;

/// Why a text cannot be read. Says where and what was expected, never what stands there: it may be a secret.
#[derive(Debug)]
pub(crate) struct ReadError {
    at: usize,
    expected: &'static str,
    /// What Python raised on the way.
    pub(crate) cause: Option<PyErr>,
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no JSON at byte {}: expected {}", self.at, self.expected)
    }
}

type Result<T> = std::result::Result<T, Box<ReadError>>;

/// The object that `text` says.
pub(crate) fn read<'py>(py: Python<'py>, text: &[u8]) -> Result<Bound<'py, PyAny>> {
    let mut session = Session::new();
    session.read(py, text)
}

/// For many texts in a row, which look up their keys in the same table.
pub(crate) struct Session {
    keys: Option<Keys>,
    unescaped: Vec<u8>,
}

impl Drop for Session {
    fn drop(&mut self) {
        if let Some(keys) = self.keys.take() {
            keys.put_back();
        }
    }
}

impl Session {
    pub(crate) fn new() -> Self {
        Self { keys: Keys::take(), unescaped: Vec::new() }
    }

    /// The object that `text` says.
    pub(crate) fn read<'py>(&mut self, py: Python<'py>, text: &[u8]) -> Result<Bound<'py, PyAny>> {
        let text = match std::str::from_utf8(text) {
            Ok(text) => text,
            Err(error) => return Err(expected(error.valid_up_to(), "UTF-8")),
        };
        let mut reader =
            Reader { py, text, at: 0, keys: self.keys.as_mut(), items: Vec::new(), unescaped: &mut self.unescaped };
        reader.skip_space();
        let value = reader.value(DEEPEST)?;
        reader.skip_space();
        if reader.at < text.len() { Err(reader.expected("the end of the text")) } else { Ok(value) }
    }
}

#[cold]
#[allow(clippy::unnecessary_box_returns)] // what a failed read returns
fn expected(at: usize, expected: &'static str) -> Box<ReadError> {
    Box::new(ReadError { at, expected, cause: None })
}

struct Reader<'a, 'py> {
    py: Python<'py>,
    text: &'a str,
    at: usize,
    keys: Option<&'a mut Keys>,
    /// Of all arrays that are open; the innermost ones last.
    items: Vec<Bound<'py, PyAny>>,
    unescaped: &'a mut Vec<u8>,
}

impl<'py> Reader<'_, 'py> {
    #[cold]
    #[allow(clippy::unnecessary_box_returns)] // as above
    fn expected(&self, what: &'static str) -> Box<ReadError> {
        expected(self.at, what)
    }

    #[cold]
    #[allow(clippy::unnecessary_box_returns)] // as above
    fn raised(&self, what: &'static str, cause: PyErr) -> Box<ReadError> {
        Box::new(ReadError { cause: Some(cause), ..*expected(self.at, what) })
    }

    #[inline]
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    #[inline]
    fn skip_space(&mut self) {
        while let Some(b' ' | b'\n' | b'\r' | b'\t') = self.peek() {
            self.at += 1;
        }
    }

    fn value(&mut self, depth: usize) -> Result<Bound<'py, PyAny>> {
        match self.peek() {
            Some(b'"') => self.string(false).map(Bound::into_any),
            Some(b'{') => self.object(depth),
            Some(b'[') => self.array(depth),
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(b't') => self.word("true", |py| PyBool::new(py, true).to_owned().into_any()),
            Some(b'f') => self.word("false", |py| PyBool::new(py, false).to_owned().into_any()),
            Some(b'n') => self.word("null", |py| py.None().into_bound(py)),
            _ => Err(self.expected("a value")),
        }
    }

    fn word(&mut self, word: &'static str, make: fn(Python<'py>) -> Bound<'py, PyAny>) -> Result<Bound<'py, PyAny>> {
        if !self.text.as_bytes()[self.at..].starts_with(word.as_bytes()) {
            return Err(self.expected("a value"));
        }
        self.at += word.len();
        Ok(make(self.py))
    }

    fn deeper(&self, depth: usize) -> Result<usize> {
        depth.checked_sub(1).ok_or_else(|| self.expected("at most 256 levels of objects and arrays"))
    }

    fn object(&mut self, depth: usize) -> Result<Bound<'py, PyAny>> {
        let depth = self.deeper(depth)?;
        let dict = PyDict::new(self.py);
        self.at += 1;
        self.skip_space();
        if self.peek() == Some(b'}') {
            self.at += 1;
            return Ok(dict.into_any());
        }
        loop {
            if self.peek() != Some(b'"') {
                return Err(self.expected("a key in '\"'"));
            }
            let key = self.string(true)?;
            self.skip_space();
            if self.peek() != Some(b':') {
                return Err(self.expected("':' after the key"));
            }
            self.at += 1;
            self.skip_space();
            let value = self.value(depth)?;
            // SAFETY: attached; three valid objects, of which `dict` is a dict. It takes references of its own.
            if unsafe { ffi::PyDict_SetItem(dict.as_ptr(), key.as_ptr(), value.as_ptr()) } != 0 {
                return Err(self.raised("a value that fits into memory", PyErr::fetch(self.py)));
            }
            self.skip_space();
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b'}') => break,
                _ => return Err(self.expected("',' or '}'")),
            }
            self.skip_space();
        }
        self.at += 1;
        Ok(dict.into_any())
    }

    fn array(&mut self, depth: usize) -> Result<Bound<'py, PyAny>> {
        let depth = self.deeper(depth)?;
        let start = self.items.len();
        self.at += 1;
        self.skip_space();
        if self.peek() == Some(b']') {
            self.at += 1;
            return Ok(PyList::empty(self.py).into_any());
        }
        loop {
            let item = self.value(depth)?;
            self.items.push(item);
            self.skip_space();
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b']') => break,
                _ => return Err(self.expected("',' or ']'")),
            }
            self.skip_space();
        }
        self.at += 1;
        let list = PyList::new(self.py, self.items.drain(start..));
        list.map(Bound::into_any).map_err(|error| self.raised("a value that fits into memory", error))
    }

    fn string(&mut self, key: bool) -> Result<Bound<'py, PyString>> {
        self.at += 1;
        let start = self.at;
        self.at += text::plain_length(&self.text.as_bytes()[start..]);
        if self.peek() == Some(b'"') {
            // Both ends stand beside a quote, and so between characters.
            let text = &self.text[start..self.at];
            self.at += 1;
            return Ok(self.text_object(key, text));
        }
        self.unescape(start)?;
        let unescaped = std::mem::take(self.unescaped);
        let made = match std::str::from_utf8(&unescaped) {
            Ok(text) => Ok(self.text_object(key, text)),
            Err(_) => Err(self.expected("UTF-8")),
        };
        *self.unescaped = unescaped;
        made
    }

    #[inline]
    fn text_object(&mut self, key: bool, text: &str) -> Bound<'py, PyString> {
        match &mut self.keys {
            Some(keys) if key => keys.get(self.py, text),
            _ => PyString::new(self.py, text),
        }
    }

    /// Reads on to the end of a string that began at `start`, with all of it in `unescaped`.
    #[cold]
    fn unescape(&mut self, start: usize) -> Result<()> {
        self.unescaped.clear();
        self.unescaped.extend_from_slice(&self.text.as_bytes()[start..self.at]);
        loop {
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(());
                }
                Some(b'\\') => self.escape()?,
                Some(_) => return Err(self.expected("no bare control character in a string")),
                None => return Err(self.expected("'\"' at the end of the string")),
            }
            let rest = &self.text.as_bytes()[self.at..];
            let plain = text::plain_length(rest);
            self.unescaped.extend_from_slice(&rest[..plain]);
            self.at += plain;
        }
    }

    fn escape(&mut self) -> Result<()> {
        self.at += 1;
        let byte = match self.peek() {
            Some(byte @ (b'"' | b'\\' | b'/')) => byte,
            Some(b'b') => 0x08,
            Some(b'f') => 0x0c,
            Some(b'n') => b'\n',
            Some(b'r') => b'\r',
            Some(b't') => b'\t',
            Some(b'u') => {
                let mut code = self.hex()?;
                if (0xd800..0xdc00).contains(&code) && self.text.as_bytes()[self.at..].starts_with(b"\\u") {
                    self.at += 1;
                    let low = self.hex()?;
                    if (0xdc00..0xe000).contains(&low) {
                        code = 0x1_0000 + ((code - 0xd800) << 10) + (low - 0xdc00);
                    }
                }
                // A surrogate is no char.
                let Some(char) = char::from_u32(code) else {
                    return Err(self.expected("a pair of surrogates before this"));
                };
                self.unescaped.extend_from_slice(char.encode_utf8(&mut [0; 4]).as_bytes());
                return Ok(());
            }
            _ => return Err(self.expected("one of \"\\/bfnrtu after '\\'")),
        };
        self.at += 1;
        self.unescaped.push(byte);
        Ok(())
    }

    /// The four digits after a `u`.
    fn hex(&mut self) -> Result<u32> {
        let mut code = 0;
        for _ in 0..4 {
            self.at += 1;
            let digit = self.peek().and_then(|byte| char::from(byte).to_digit(16));
            code = code << 4 | digit.ok_or_else(|| self.expected("four hexadecimal digits after '\\u'"))?;
        }
        self.at += 1;
        Ok(code)
    }

    fn number(&mut self) -> Result<Bound<'py, PyAny>> {
        let start = self.at;
        let negative = self.peek() == Some(b'-');
        self.at += usize::from(negative);
        let first = self.at;
        let mut number: u64 = 0;
        while let Some(digit @ b'0'..=b'9') = self.peek() {
            number = number.wrapping_mul(10).wrapping_add(u64::from(digit - b'0'));
            self.at += 1;
        }
        let digits = self.at - first;
        if digits == 0 || (digits > 1 && self.text.as_bytes()[first] == b'0') {
            self.at = first + usize::from(digits > 1);
            return Err(self.expected(if digits == 0 { "a digit" } else { "no digit after a leading 0" }));
        }
        let mut whole = true;
        if self.peek() == Some(b'.') {
            whole = false;
            self.at += 1;
            self.digits()?;
        }
        if let Some(b'e' | b'E') = self.peek() {
            whole = false;
            self.at += 1;
            if let Some(b'+' | b'-') = self.peek() {
                self.at += 1;
            }
            self.digits()?;
        }
        let text = &self.text[start..self.at];
        if !whole {
            return match text.parse() {
                Ok(number) => Ok(PyFloat::new(self.py, number).into_any()),
                Err(_) => Err(self.expected("a number")),
            };
        }
        // All numbers of 18 digits are less than 2^63.
        if digits > 18 {
            return self.long(text);
        }
        let number = number.cast_signed();
        // SAFETY: attached; it makes an object or none with an exception.
        unsafe {
            let made = ffi::PyLong_FromLongLong(if negative { -number } else { number });
            Bound::from_owned_ptr_or_err(self.py, made)
        }
        .map_err(|error| self.raised("a value that fits into memory", error))
    }

    fn digits(&mut self) -> Result<()> {
        let start = self.at;
        while let Some(b'0'..=b'9') = self.peek() {
            self.at += 1;
        }
        if self.at == start { Err(self.expected("a digit")) } else { Ok(()) }
    }

    #[cold]
    fn long(&self, digits: &str) -> Result<Bound<'py, PyAny>> {
        let Ok(digits) = CString::new(digits) else { return Err(self.expected("digits")) };
        // SAFETY: attached; the text ends with NUL, and the place of its end is not asked for.
        unsafe {
            let made = ffi::PyLong_FromString(digits.as_ptr(), std::ptr::null_mut(), 10);
            Bound::from_owned_ptr_or_err(self.py, made)
        }
        .map_err(|error| self.raised("no more digits than sys.get_int_max_str_digits() before this", error))
    }
}
