//! Quotes of text, of text within text, and of text that was encoded for a URL, for HTML or for JSON.

use std::ops::Range;

use super::Scan;

/// Quotes that were encoded; each is closed by the like of it.
const ENCODED: &[&str] =
    &["%22", "%27", "%2522", "&quot;", "&#34;", "&#39;", "&#x27;", "&#x22;", "&apos;", "u0022", "u0027", "x22", "x27"];

impl Scan<'_> {
    /// The length of the quote that stands here: `"`, `\"`, `&quot;`, `%22`.
    pub(super) fn quote(&self, at: usize) -> Option<usize> {
        let slashes = self.glance(at, |byte| byte == b'\\').len();
        match self.byte(at + slashes) {
            Some(b'"' | b'\'' | b'`') => Some(slashes + 1),
            _ => self.encoded_quote(at),
        }
    }

    fn encoded_quote(&self, at: usize) -> Option<usize> {
        if !matches!(self.byte(at)?, b'%' | b'&' | b'\\') {
            return None;
        }
        let slashes = self.glance(at, |byte| byte == b'\\').len();
        let is_one = |quote: &&&str| (slashes > 0) == quote.starts_with(['u', 'x']) && self.says(at + slashes, quote);
        ENCODED.iter().find(is_one).map(|quote| slashes + quote.len())
    }

    /// The length of the quote that ends here.
    pub(super) fn quote_before(&self, end: usize) -> Option<usize> {
        let before = &self.bytes[self.done.min(end)..end];
        match before.last()? {
            b'"' | b'\'' | b'`' => {
                let slashes = before[..before.len() - 1].iter().rev().take(4).take_while(|byte| **byte == b'\\');
                Some(1 + slashes.count())
            }
            b'2' | b'7' | b';' => {
                let quote = ENCODED.iter().find(|quote| before.ends_with(quote.as_bytes()))?;
                let rest = &before[..before.len() - quote.len()];
                let slashes = rest.iter().rev().take(4).take_while(|byte| **byte == b'\\').count();
                ((slashes > 0) == quote.starts_with(['u', 'x'])).then_some(slashes + quote.len())
            }
            _ => None,
        }
    }

    /// What is inside of quotes that begin here; up to the end of the line if they do not end.
    pub(super) fn quoted(&self, from: usize) -> Option<Range<usize>> {
        // b'...' of Python, N'...' and E'...' of SQL, and their like.
        let prefix = self.glance(from, |byte| byte.is_ascii_alphabetic() || byte == b'&').len();
        let is_prefix = matches!(
            self.glance(from, |byte| byte.is_ascii_alphabetic() || byte == b'&'),
            [b'b' | b'r' | b'u' | b'f' | b'x' | b'B' | b'R' | b'N' | b'E' | b'X' | b'U' | b'n' | b'e']
                | [b'b' | b'r', b'r' | b'b']
                | [b'U' | b'u', b'&']
        );
        let open = if is_prefix { from + prefix } else { from };
        // `$$...$$` of PostgreSQL
        if self.starts_with(from, b"$$") {
            let line = self.run(from + 2, |byte| !matches!(byte, b'\n' | b'\r' | b'$'));
            return self.starts_with(line, b"$$").then_some(from + 2..line);
        }
        if let Some(length) = self.encoded_quote(open) {
            let start = open + length;
            let quote = &self.bytes[open..start];
            let ends = |bytes: &[u8]| matches!(bytes[0], b'\n' | b'\r') || bytes.eq_ignore_ascii_case(quote);
            let end = self.bytes[start..].windows(quote.len()).position(ends);
            return Some(start..end.map_or(self.bytes.len(), |len| start + len));
        }
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
                // `''` is one quote of the text, as in SQL; nothing else follows a closing quote without a space.
                Some(byte) if byte == quote => {
                    let is_double = depth == 0
                        && self.byte(at + 1) == Some(quote)
                        && (at > start || self.byte(at + 2) == Some(quote))
                        && self.byte(at + 2).is_some_and(|next| next != b'\n');
                    if !is_double {
                        return Some(start..at);
                    }
                    at += 2;
                }
                Some(_) => at += 1,
            }
        }
    }
}
