//! Names and texts as queries write them.

use std::fmt::{self, Write as _};

/// Whether a label name is written without quotes.
pub(crate) fn is_plain_label(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes.next().is_some_and(|byte| byte == b'_' || byte.is_ascii_alphabetic())
        && bytes.all(|byte| byte == b'_' || byte.is_ascii_alphanumeric())
}

/// Appends a text in double quotes, escaped so that the parser reads the same text.
pub(crate) fn write_quoted(out: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    out.write_char('"')?;
    for char in text.chars() {
        match char {
            '"' => out.write_str("\\\"")?,
            '\\' => out.write_str("\\\\")?,
            '\n' => out.write_str("\\n")?,
            '\r' => out.write_str("\\r")?,
            '\t' => out.write_str("\\t")?,
            char if char < ' ' || char == '\u{7f}' => write!(out, "\\x{:02x}", char as u32)?,
            char => out.write_char(char)?,
        }
    }
    out.write_char('"')
}
