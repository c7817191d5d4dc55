//! Names and texts as queries write them.

use std::fmt;

/// Whether a label name is written without quotes.
pub(crate) fn is_plain_label(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes.next().is_some_and(|byte| byte == b'_' || byte.is_ascii_alphabetic())
        && bytes.all(|byte| byte == b'_' || byte.is_ascii_alphanumeric())
}

/// Appends a text in double quotes, escaped so that the parser reads the same text.
pub(crate) fn write_quoted(out: &mut impl fmt::Write, text: &str) -> fmt::Result {
    write_quoted_bytes(out, text.as_bytes())
}

/// The same of bytes that may be no UTF-8.
pub(crate) fn write_quoted_bytes(out: &mut impl fmt::Write, text: &[u8]) -> fmt::Result {
    out.write_char('"')?;
    for chunk in text.utf8_chunks() {
        for char in chunk.valid().chars() {
            match char {
                '"' => out.write_str("\\\"")?,
                '\\' => out.write_str("\\\\")?,
                '\n' => out.write_str("\\n")?,
                '\r' => out.write_str("\\r")?,
                '\t' => out.write_str("\\t")?,
                '\u{7}' => out.write_str("\\a")?,
                '\u{8}' => out.write_str("\\b")?,
                '\u{b}' => out.write_str("\\v")?,
                '\u{c}' => out.write_str("\\f")?,
                char if char < ' ' || char == '\u{7f}' => write!(out, "\\x{:02x}", char as u32)?,
                // What a reader would not see, or what the lexer takes for bytes that are no UTF-8.
                '\u{80}'..='\u{a0}' | '\u{ad}' | '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffd}' => {
                    write!(out, "\\u{:04x}", char as u32)?;
                }
                char => out.write_char(char)?,
            }
        }
        for byte in chunk.invalid() {
            write!(out, "\\x{byte:02x}")?;
        }
    }
    out.write_char('"')
}

/// The bytes of a text in single, double or back quotes; nothing where an escape is none.
pub(crate) fn unquote(quoted: &str) -> Option<Vec<u8>> {
    let quote = quoted.chars().next()?;
    let inner = quoted.strip_prefix(quote)?.strip_suffix(quote)?;
    if quote == '`' {
        return (!inner.contains('`')).then(|| inner.as_bytes().to_vec());
    }
    let mut bytes = Vec::with_capacity(inner.len());
    let mut chars = inner.chars();
    while let Some(char) = chars.next() {
        match char {
            '\n' => return None,
            char if char == quote => return None,
            '\\' => unescape(quote, &mut chars, &mut bytes)?,
            char => bytes.extend_from_slice(char.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    Some(bytes)
}

/// Appends what the escape after a backslash stands for.
fn unescape(quote: char, chars: &mut std::str::Chars<'_>, bytes: &mut Vec<u8>) -> Option<()> {
    let first = chars.next()?;
    let mut number = |radix: u32, digits: u32, start: u32| {
        (0..digits).try_fold(start, |value, _| Some(value * radix + chars.next()?.to_digit(radix)?))
    };
    let byte = match first {
        'a' => 7,
        'b' => 8,
        'f' => 12,
        'n' => b'\n',
        'r' => b'\r',
        't' => b'\t',
        'v' => 11,
        '\\' => b'\\',
        '\'' | '"' if first == quote => u8::try_from(first).ok()?,
        'x' => u8::try_from(number(16, 2, 0)?).ok()?,
        '0'..='7' => u8::try_from(number(8, 2, first.to_digit(8)?)?).ok()?,
        'u' | 'U' => {
            let char = char::from_u32(number(16, if first == 'u' { 4 } else { 8 }, 0)?)?;
            bytes.extend_from_slice(char.encode_utf8(&mut [0; 4]).as_bytes());
            return Some(());
        }
        _ => return None,
    };
    bytes.push(byte);
    Some(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn escapes_stand_for_their_bytes() {
        assert_eq!(unquote(r#""a\n\x41\101\u00e9\"'""#).as_deref(), Some("a\nAAé\"'".as_bytes()));
        assert_eq!(unquote(r#"'\xff"'"#).as_deref(), Some(&b"\xff\""[..]));
        assert_eq!(unquote(r"`a\n`").as_deref(), Some(&br"a\n"[..]));
    }

    #[test]
    fn what_is_no_escape_is_refused() {
        for text in [r#""\q""#, r#""\x4""#, r#""\400""#, r#""\ud800""#, r#""\'""#, "\"", "\"a\nb\"", r#""a"b""#] {
            assert_eq!(unquote(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn quoted_bytes_are_read_again(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            let mut quoted = String::new();
            write_quoted_bytes(&mut quoted, &bytes).unwrap();
            prop_assert_eq!(unquote(&quoted), Some(bytes));
        }
    }
}
