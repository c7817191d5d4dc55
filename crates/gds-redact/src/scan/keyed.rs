//! Secrets that can be told by the name before them: `password=...`, `"api_key": "..."`, `X-Vault-Token: ...`.

use std::ops::Range;

use super::{Found, LOOK, LOOK_BRACKETS, Scan};
use crate::keys::is_secret_key;
use crate::prose;
use crate::text::{is_identifier, is_one_of};

/// Schemes of an `Authorization` header that have one credential after them.
const SCHEMES: &[&str] = &["apikey", "basic", "bearer", "dpop", "genie", "negotiate", "ntlm", "splunk", "token"];

/// Those that have a list of parameters.
const SCHEMES_WITH_LIST: &[&str] =
    &["aws4-hmac-sha256", "digest", "hawk", "hmac-sha256", "oauth", "scram-sha-256", "signature"];

impl Scan<'_> {
    /// A name with a secret's name in it, and its value.
    pub(super) fn key(&mut self, start: usize, end: usize) -> Option<Found> {
        let floor = start.saturating_sub(LOOK).max(self.done);
        let left =
            self.bytes[floor..start].iter().rposition(|&byte| !is_identifier(byte)).map_or(floor, |at| floor + at + 1);
        let right = end + self.glance(end, is_identifier).len();
        // Most words are just words: nothing is assigned to them, and what is said of them comes after one space.
        if !matches!(self.byte(right)?, b' ' | b'\t' | b'=' | b':' | b'"' | b'\'' | b'`' | b'\\' | b'%' | b'>') {
            return None;
        }
        let name = std::str::from_utf8(&self.bytes[left..right]).ok()?;
        let Some(separator) = Separator::find(self, left, right) else {
            return self.spoken(name, right);
        };
        if !is_secret_key(name) {
            return None;
        }
        let found = self.value(name, &separator);
        if found.is_none() && separator.kind == Kind::Colon && name.eq_ignore_ascii_case("secret") {
            self.aws_secret(right);
        }
        found
    }

    /// "password hunter2", "secret access key wJalr..."
    fn spoken(&mut self, name: &str, end: usize) -> Option<Found> {
        if self.byte(end) != Some(b' ') {
            return None;
        }
        let mut from = end + 1;
        for verb in [&b"is "[..], b"was ", b"= "] {
            if self.bytes[from..].starts_with(verb) {
                from += verb.len();
            }
        }
        let quoted = matches!(self.byte(from), Some(b'"' | b'\'' | b'`'));
        from += usize::from(quoted);
        let word = self.glance(from, |byte| !byte.is_ascii_whitespace());
        let last = word
            .iter()
            .rposition(|byte| !matches!(byte, b'.' | b',' | b';' | b':' | b')' | b']' | b'"' | b'\'' | b'`'));
        let word = &word[..last.map_or(0, |last| last + 1)];
        let mut lower = [0; 16];
        let lower = lower.get_mut(..name.len())?;
        lower.copy_from_slice(name.as_bytes());
        lower.make_ascii_lowercase();
        let is_secret = match &*lower {
            b"password" | b"passwd" | b"passphrase" | b"pwd" | b"passcode" => prose::is_password(word),
            b"token" | b"apikey" | b"key" => prose::is_token(word) && word.len() < LOOK && &*lower != b"key",
            b"secret" => {
                self.aws_secret(end);
                false
            }
            _ => false,
        };
        if is_secret { Found::secret(from..from + word.len()) } else { None }
    }

    fn value(&self, name: &str, separator: &Separator) -> Option<Found> {
        let from = separator.end;
        let is_header = name.len() >= 13 && name.as_bytes()[name.len() - 13..].eq_ignore_ascii_case(b"authorization");
        if let Some(quoted) = self.quoted(from) {
            let inside = &self.bytes[quoted.clone()];
            let inside = &inside[..inside.len().min(LOOK_BRACKETS)];
            // `Unexpected token: "}"`
            let is_sign = inside.len() <= 3 && !inside.iter().any(u8::is_ascii_alphanumeric);
            if inside.is_empty() || is_sign || prose::is_placeholder(inside) || prose::is_absent(inside) {
                return Found::nothing(quoted.start);
            }
            let start = if is_header { self.after_scheme(quoted.clone()).0 } else { quoted.start };
            let found = self.unless_done(start..quoted.end);
            return found.or(Found::nothing(quoted.end));
        }
        match self.byte(from)? {
            b'\n' | b'\r' => None,
            b'[' | b'{' | b'(' if !self.bytes[from..].starts_with(crate::MARK.as_bytes()) => {
                self.structure(from, separator)
            }
            _ if separator.kind == Kind::Pair => None,
            _ => self.unquoted(name, separator, is_header),
        }
    }

    /// What is inside of quotes that begin here; up to the end of the line if they do not end.
    fn quoted(&self, from: usize) -> Option<Range<usize>> {
        // b'...' and its like.
        let prefix = self.glance(from, |byte| matches!(byte, b'b' | b'r' | b'u' | b'f' | b'B' | b'R')).len();
        let open = if prefix <= 2 { from + prefix } else { from };
        // Text within text has `\"`, that within another `\\\"`: what opened so closes so.
        let depth = self.glance(open, |byte| byte == b'\\').len();
        let quote = self.byte(open + depth).filter(|byte| matches!(byte, b'"' | b'\'' | b'`'))?;
        let start = open + depth + 1;
        let mut at = start;
        loop {
            match self.byte(at) {
                None | Some(b'\n' | b'\r') => return Some(start..at),
                Some(b'\\') => {
                    let slashes = self.run(at, |byte| byte == b'\\') - at;
                    let is_quote = self.byte(at + slashes) == Some(quote);
                    // Without a depth, every second one stands for itself; the quote behind an odd one is escaped.
                    if is_quote && depth > 0 && slashes == depth {
                        return Some(start..at);
                    }
                    at += slashes + usize::from(is_quote && (depth > 0 || slashes % 2 == 1));
                }
                Some(byte) if byte == quote => return Some(start..at),
                Some(_) => at += 1,
            }
        }
    }

    /// A list or an object under a secret's name: all of it.
    fn structure(&self, from: usize, separator: &Separator) -> Option<Found> {
        if self.bytes[self.skip_spaces(from + 1)..].starts_with(crate::MARK.as_bytes()) {
            return Found::nothing(from + 1);
        }
        let end = if separator.quoted_key { self.bytes.len() } else { (from + LOOK_BRACKETS).min(self.bytes.len()) };
        let (mut depth, mut quote, mut at) = (0_usize, 0_u8, from);
        let mut close = None;
        while at < end {
            let byte = self.bytes[at];
            match byte {
                b'\\' if quote != 0 && self.byte(at + 1).is_some_and(|next| next.is_ascii()) => at += 1,
                _ if quote != 0 => quote = if byte == quote { 0 } else { quote },
                b'"' | b'\'' => quote = byte,
                b'[' if self.bytes[at..].starts_with(crate::MARK.as_bytes()) => at += crate::MARK.len() - 1,
                b'[' | b'{' | b'(' => depth += 1,
                b']' | b'}' | b')' => {
                    depth -= 1;
                    if depth == 0 {
                        close = Some(at);
                        break;
                    }
                }
                _ => {}
            }
            at += 1;
        }
        let close = match close {
            Some(close) => close,
            None if separator.quoted_key => self.bytes.len(),
            // A sentence, or a piece of one.
            None => return None,
        };
        let inside = from + 1..close;
        let content = self.bytes[inside.clone()].trim_ascii();
        let is_name =
            self.bytes[from] == b'{' && prose::is_placeholder(&self.bytes[from..(close + 1).min(self.bytes.len())]);
        if content.is_empty() || is_name {
            return Found::nothing(from + 1);
        }
        if !separator.quoted_key && separator.kind == Kind::Colon && !content.iter().any(u8::is_ascii_alphanumeric) {
            return Found::nothing(from + 1);
        }
        Found::secret(inside)
    }

    fn unquoted(&self, name: &str, separator: &Separator, is_header: bool) -> Option<Found> {
        let from = separator.end;
        let (start, has_list) = if is_header { self.after_scheme(from..self.bytes.len()) } else { (from, false) };
        if self.bytes[start..].starts_with(crate::MARK.as_bytes()) {
            return Found::nothing(start + crate::MARK.len());
        }
        let after_scheme = start > from;
        let mut end = self.unquoted_end(start, separator);
        let value = &self.bytes[start..end];
        // What is longer is nothing else than a secret; and whatever is not taken out may be looked at again.
        if value.is_empty() || value.len() <= LOOK_BRACKETS && self.is_none(name, separator, value, after_scheme) {
            return None;
        }
        let is_cookie = name.len() >= 6 && name.as_bytes()[name.len() - 6..].eq_ignore_ascii_case(b"cookie");
        if !has_list && !is_cookie {
            return Found::secret(start..end);
        }
        loop {
            // Further pairs: `a=1; b=2`, `realm="x", response="y"`.
            let next = self.skip_spaces(self.run(end, |byte| matches!(byte, b',' | b';' | b'"')));
            let pair = self.glance(next, is_identifier);
            let listed = next > end && self.bytes[end..next].iter().any(|byte| matches!(byte, b',' | b';'));
            if !listed || is_cookie_attribute(pair) || self.byte(next + pair.len()) != Some(b'=') {
                break;
            }
            end = match self.quoted(next + pair.len() + 1) {
                Some(quoted) => (quoted.end + 1).min(self.bytes.len()),
                None => self.unquoted_end(next + pair.len() + 1, separator),
            };
        }
        Found::secret(start..end)
    }

    /// Whether a value without quotes says that there is none, or is a sentence or code.
    fn is_none(&self, name: &str, separator: &Separator, value: &[u8], after_scheme: bool) -> bool {
        let spoken = matches!(separator.kind, Kind::Colon | Kind::Space) && !after_scheme;
        let is_sign = value.len() <= 3 && !value.iter().any(u8::is_ascii_alphanumeric);
        prose::is_placeholder(value)
            || prose::is_absent(value)
            || spoken && (is_sign || prose::is_said(value))
            || separator.kind == Kind::Colon && value.starts_with(b"//")
            || separator.kind == Kind::Space && value.starts_with(b"-")
            || value.starts_with(b"<") && self.is_object(separator.end)
            || !after_scheme && prose::is_code(value)
            || is_number_of(name, value)
    }

    /// Where the credential begins behind a scheme such as `Bearer`, and whether it is a list.
    fn after_scheme(&self, within: Range<usize>) -> (usize, bool) {
        let word = self.glance(within.start, is_identifier);
        let after = self.skip_spaces(within.start + word.len());
        let mut lower = [0; 20];
        if word.len() > lower.len() || after == within.start + word.len() || after >= within.end {
            return (within.start, false);
        }
        let lower = &mut lower[..word.len()];
        lower.copy_from_slice(word);
        lower.make_ascii_lowercase();
        let word = std::str::from_utf8(lower).unwrap_or("");
        let has_list = is_one_of(word, SCHEMES_WITH_LIST);
        if has_list || is_one_of(word, SCHEMES) { (after, has_list) } else { (within.start, false) }
    }

    /// `<Secret object at 0x7f...>`
    fn is_object(&self, at: usize) -> bool {
        let head = &self.bytes[at + 1..(at + LOOK).min(self.bytes.len())];
        let begins = head.first().is_some_and(u8::is_ascii_alphabetic) || head.starts_with(crate::MARK.as_bytes());
        begins && head.contains(&b'>')
    }

    /// Passwords have any signs in them, so a sign ends one only where the text around goes on behind it.
    fn unquoted_end(&self, from: usize, separator: &Separator) -> usize {
        let mut at = from;
        let mut open = 0_usize;
        while let Some(byte) = self.byte(at) {
            let ends = match byte {
                _ if byte.is_ascii_whitespace() => true,
                b'&' | b',' => self.goes_on(at + 1, false),
                b';' => self.goes_on(at + 1, true),
                // What was opened in the value is closed in it.
                b'(' | b'[' | b'{' => {
                    open += 1;
                    false
                }
                b')' | b']' | b'}' if open > 0 => {
                    open -= 1;
                    false
                }
                b'"' | b'\'' | b'`' | b')' | b']' | b'}' | b'>' => at > from && open == 0 && self.is_over(at + 1),
                b'\\' => {
                    let quote = at + self.glance(at, |byte| byte == b'\\').len();
                    matches!(self.byte(quote), Some(b'"' | b'\'')) && self.is_over(quote + 1)
                }
                b'<' => separator.kind == Kind::Tag || self.byte(at + 1) == Some(b'/'),
                b'%' if separator.kind == Kind::Encoded => self.bytes[at..].starts_with(b"%26"),
                _ => false,
            };
            if ends {
                break;
            }
            at += 1;
        }
        at
    }

    /// Whether a list goes on here: an end, a space, or the next `name=`, or `Connect Timeout=` as ODBC has it.
    fn goes_on(&self, at: usize, names_have_spaces: bool) -> bool {
        let Some(first) = self.byte(at) else { return true };
        if first.is_ascii_whitespace() || matches!(first, b'"' | b'\'' | b')' | b']' | b'}' | b'{') {
            return true;
        }
        let name =
            self.glance(at, |byte| is_identifier(byte) || byte == b'.' || byte == b' ' && names_have_spaces).len();
        name > 0 && matches!(self.byte(at + name), Some(b'=' | b':'))
    }

    /// Whether nothing more of a word comes.
    pub(super) fn is_over(&self, at: usize) -> bool {
        self.byte(at).is_none_or(|byte| {
            byte.is_ascii_whitespace()
                || matches!(
                    byte,
                    b',' | b';' | b':' | b'.' | b')' | b']' | b'}' | b'"' | b'\'' | b'`' | b'>' | b'<' | b'\\'
                )
        })
    }
}

/// `tokens=512`, `secrets: 3`, `pass=12`: counts.
fn is_number_of(name: &str, value: &[u8]) -> bool {
    let last = name.rsplit(['_', '-']).next().unwrap_or(name);
    let counts = last.eq_ignore_ascii_case("pass") || last.ends_with(['s', 'S']);
    counts && value.iter().all(|byte| byte.is_ascii_digit() || matches!(byte, b',' | b'.' | b'%' | b'/'))
}

/// Whether a name in a cookie's list is none of its values.
fn is_cookie_attribute(name: &[u8]) -> bool {
    let attributes = [&b""[..], b"path", b"domain", b"expires", b"max-age", b"samesite"];
    attributes.iter().any(|attribute| name.eq_ignore_ascii_case(attribute))
}

/// How a name and its value are kept apart.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Kind {
    /// `a=b`
    Equals,
    /// `a%3Db`
    Encoded,
    /// `a: b`, after which prose may come
    Colon,
    /// `a:b`, `"a": b`
    TightColon,
    /// `--a b`
    Space,
    /// `<a>b</a>`
    Tag,
    /// `("a", "b")`
    Pair,
}

struct Separator {
    kind: Kind,
    /// Where the value begins.
    end: usize,
    quoted_key: bool,
}

impl Separator {
    fn find(scan: &Scan<'_>, left: usize, right: usize) -> Option<Self> {
        let before = left.checked_sub(1).map(|at| scan.bytes[at]);
        let mut at = right;
        // `"a"`, `\"a\"`, `['a']`
        let slashes = scan.glance(at, |byte| byte == b'\\').len();
        if matches!(scan.byte(at + slashes), Some(b'"' | b'\'')) {
            at += slashes;
        }
        let quoted_key =
            matches!(scan.byte(at), Some(b'"' | b'\'' | b'`')) && matches!(before, Some(b'"' | b'\'' | b'`'));
        at += usize::from(quoted_key);
        at += usize::from(quoted_key && scan.byte(at) == Some(b']'));
        let signs = scan.skip_spaces(at);
        let spaced = signs > at;
        let (kind, end) = match (scan.byte(signs)?, scan.byte(signs + 1)) {
            (b'=', Some(b'>' | b'=')) | (b':', Some(b'=')) => (Kind::Equals, signs + 2),
            (b'=', _) => (Kind::Equals, signs + 1),
            (b':', Some(b':')) => return None,
            (b':', _) if quoted_key => (Kind::TightColon, signs + 1),
            (b':', Some(b' ' | b'\t')) => (Kind::Colon, signs + 1),
            (b':', _) if !spaced => (Kind::TightColon, signs + 1),
            (b'%', Some(b'3')) => match scan.byte(signs + 2)? {
                b'A' | b'D' | b'a' | b'd' => (Kind::Encoded, signs + 3),
                _ => return None,
            },
            (b'>', _) if before == Some(b'<') && !spaced => (Kind::Tag, signs + 1),
            (b',', _) if quoted_key && !spaced => {
                let name = &scan.bytes[left..right];
                // Pairs of header name and value; a list of names is none.
                let is_header = name.contains(&b'-')
                    || name.eq_ignore_ascii_case(b"authorization")
                    || name.eq_ignore_ascii_case(b"cookie");
                let opens = left >= 2 && matches!(scan.bytes[left - 2], b'(' | b'[' | b'b');
                if !is_header || !opens {
                    return None;
                }
                (Kind::Pair, signs + 1)
            }
            _ if spaced && scan.bytes[left..].starts_with(b"--") => (Kind::Space, signs),
            _ => return None,
        };
        Some(Self { kind, end: scan.skip_spaces(end), quoted_key })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lists_are_in_order() {
        assert!(SCHEMES.is_sorted() && SCHEMES_WITH_LIST.is_sorted());
    }
}
