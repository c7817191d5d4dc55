//! Formats of Python's `%`, before they are filled in.

use std::borrow::Cow;

use crate::MARK;
use crate::keys::is_secret_key;

/// A format of `%` in which [`MARK`] stands for what `%(name)s` would take from under the name of a secret, whatever
/// its flags and type; the format itself where there is none.
///
/// ```
/// let masked = gds_redact::mask_template("%(user)s logs in with %(password)-10s");
/// assert_eq!(masked, "%(user)s logs in with [REDACTED]");
/// ```
pub fn mask_template(format: &str) -> Cow<'_, str> {
    let mut rest = format;
    let mut masked = String::new();
    while let Some(at) = rest.find('%') {
        let length = conversion(&rest[at..]);
        match name_of(&rest[at..at + length]) {
            Some(name) if is_secret_key(name) => {
                masked.push_str(&rest[..at]);
                masked.push_str(MARK);
            }
            _ => masked.push_str(&rest[..at + length]),
        }
        rest = &rest[at + length..];
    }
    if masked.len() + rest.len() == format.len() && format.starts_with(&masked) {
        return Cow::Borrowed(format);
    }
    Cow::Owned(masked + rest)
}

/// The name in `%(name)s`.
fn name_of(conversion: &str) -> Option<&str> {
    let rest = conversion.strip_prefix("%(")?;
    Some(&rest[..rest.rfind(')')?])
}

/// How many bytes the conversion takes that `format` begins with, as `str.__mod__` reads it: names may have brackets in
/// pairs.
fn conversion(format: &str) -> usize {
    let mut at = 1;
    if format[at..].starts_with('(') {
        let mut open = 0_usize;
        let end = format[at..].char_indices().find(|&(_, char)| {
            open = match char {
                '(' => open + 1,
                ')' => open - 1,
                _ => open,
            };
            open == 0
        });
        let Some((end, _)) = end else { return format.len() };
        at += end + 1;
    }
    let flags = format[at..].bytes().take_while(|byte| b"#0- +123456789.*hlL".contains(byte)).count();
    at += flags;
    at + format[at..].chars().next().map_or(0, char::len_utf8)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_stands_under_the_name_of_a_secret_is_masked_whatever_its_flags() {
        for (format, masked) in [
            ("%(password)s", "[REDACTED]"),
            ("a %(token)-10.3ld b", "a [REDACTED] b"),
            ("%(user)s %(api_key)r %(user)s", "%(user)s [REDACTED] %(user)s"),
            ("%(odd(user))s %(odd(password))s", "%(odd(user))s [REDACTED]"),
            ("100%% of %(secret)s", "100%% of [REDACTED]"),
            ("%(password)é", "[REDACTED]"),
        ] {
            assert_eq!(mask_template(format), masked, "{format}");
        }
    }

    #[test]
    fn what_names_no_secret_is_borrowed() {
        for format in ["", "plain", "%s %d", "%", "%(", "%(user)s", "%(password", "100 %", "%(user)s %"] {
            assert!(matches!(mask_template(format), Cow::Borrowed(same) if same == format), "{format}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_to_its_end(format in "[%()a-zé#0 .*s]{0,40}") {
            let masked = mask_template(&format);
            prop_assert!(masked == format || masked.contains(MARK));
        }
    }
}
