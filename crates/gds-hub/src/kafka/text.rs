//! Text on its way to librdkafka and back.
#![allow(unsafe_code)] // each block says why it is sound

use std::ffi::{CStr, CString, c_char};

use crate::error::{Error, Result};

/// Text for librdkafka; one with a NUL is the caller's mistake.
pub(super) fn c_text(text: &str, what: &str) -> Result<CString> {
    CString::new(text).map_err(|_| Error::Message(format!("{what} {text:?} holds a NUL character").into()))
}

/// A copy of librdkafka's text.
///
/// # Safety
/// `text` is null, or ends in NUL and lives for the call.
pub(super) unsafe fn owned_text(text: *const c_char) -> String {
    if text.is_null() {
        return String::new();
    }
    // SAFETY: not null; the rest is the caller's promise.
    unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned()
}
