//! Secrets whose name is not before them but in a place of its own: members and attributes such as
//! `{"name": "DB_PASSWORD", "value": "..."}`, elements beside each other, columns and values of an `INSERT`.

use std::ops::Range;

use super::keyed::{Named, Separator};
use super::{Found, LOOK, LOOK_BRACKETS, LOOK_STATEMENT, Scan};
use crate::keys::is_secret_key;
use crate::text::{is_identifier, is_listed};

impl Scan<'_> {
    /// A secret's name that names nothing right behind it.
    pub(super) fn pair(&mut self, left: usize, right: usize) -> Option<Found> {
        let next = self.byte(right)?;
        if next == b' ' && !matches!(self.byte(self.skip_spaces(right)), Some(b',' | b')' | b'}' | b'/')) {
            return None;
        }
        // `spring.datasource.password`
        let whole = self.look_back(left, LOOK, |byte| is_identifier(byte) || matches!(byte, b'.' | b'/'));
        let is_secret = |left: usize| std::str::from_utf8(&self.bytes[left..right]).is_ok_and(is_secret_key);
        if !is_secret(left) && !is_secret(whole) {
            return None;
        }
        let left = whole;
        let secret =
            self.element(left, right).or_else(|| self.member_behind(left, right)).or_else(|| self.member_before(left));
        if let Some(secret) = secret {
            self.take(secret);
            return Found::nothing(right);
        }
        self.column(left, right);
        None
    }

    /// `<name>password</name><value>x</value>`, `<key>password</key><string>x</string>`
    fn element(&self, left: usize, right: usize) -> Option<Range<usize>> {
        if left == 0 || self.bytes[left - 1] != b'>' || !self.starts_with(right, b"</") {
            return None;
        }
        let tag = self.glance(right + 2, is_tag);
        let close = right + 2 + tag.len();
        let opens = self.look_back(left - 1, LOOK, is_tag);
        let last = local(tag);
        // `<param-name>`; `<entry><string>password</string><string>x</string></entry>`
        let is_entry = last == b"string" && {
            let before = opens.saturating_sub(1);
            self.bytes[..self.look_back(before, LOOK, |byte| byte.is_ascii_whitespace())].ends_with(b"<entry>")
        };
        let is_name = is_name_of_name(last) || last.ends_with(b"-name") || is_entry;
        if !is_name || !self.bytes[opens..left - 1].ends_with(tag) || self.byte(close) != Some(b'>') {
            return None;
        }
        let next = self.skip_blank(close + 1);
        if self.byte(next) == Some(b'<') { self.content(next, b"") } else { None }
    }

    /// The text of an element from behind its tag on, which may be in elements of its own: `<value><string>x</string>`.
    pub(super) fn content(&self, from: usize, tag: &[u8]) -> Option<Range<usize>> {
        let (mut at, mut tag, mut is_inner) = (self.skip_blank(from), tag, false);
        while self.byte(at) == Some(b'<') && !self.starts_with(at, b"</") && !self.starts_with(at, b"<![CDATA[") {
            tag = self.glance(at + 1, is_tag);
            let rest = self.look_ahead(at, LOOK_BRACKETS, |byte| byte != b'>');
            let is_value =
                is_name_of_value(local(tag)) || is_any_of(local(tag), &["string"]) || tag.ends_with(b"-value");
            if !is_value || rest.ends_with(b"/") {
                return None;
            }
            at = self.skip_blank(at + rest.len() + 1);
            is_inner = true;
        }
        let (begin, end) = if self.starts_with(at, b"<![CDATA[") { (at + 9, &b"]]>"[..]) } else { (at, &b"</"[..]) };
        let look = &self.bytes[begin.min(self.bytes.len())..(begin + LOOK_STATEMENT).min(self.bytes.len())];
        let is_end = |place: &usize| {
            let rest = &look[*place..];
            rest.starts_with(end) || end == b"</" && (rest.starts_with(b"<") || rest.starts_with(b"&lt;"))
        };
        let len = (0..look.len()).find(is_end).unwrap_or(look.len());
        let close = begin + len;
        let is_closed = self.starts_with(close, end) && (end != b"</" || self.starts_with(close + 2, tag))
            || self.starts_with(close, b"&lt;/")
            || close == self.bytes.len() && is_inner;
        let text = trim_end(&look[..len]);
        (is_closed && !text.is_empty()).then_some(begin..begin + text.len())
    }

    /// `"name": "DB_PASSWORD", "value": "x"`, `name="password" value="x"`, `- name: PASSWORD`, `value: x`.
    fn member_behind(&self, left: usize, right: usize) -> Option<Range<usize>> {
        self.member_of_name(left)?;
        let quote = self.quote_before(left).unwrap_or(0);
        let closed = if quote > 0 { self.quote(right)? } else { 0 };
        let mut at = right + closed;
        if quote == 0 && !matches!(self.byte(at), Some(b'\n' | b'\r' | b',' | b'}' | b'\\')) {
            return None;
        }
        let end = (at + LOOK_BRACKETS).min(self.bytes.len());
        while at < end {
            match self.bytes[at] {
                // `<property name="password">x</property>`
                b'>' if quote > 0 && self.bytes[at - 1] != b'/' => {
                    let open = self.look_back(left, LOOK_BRACKETS, |byte| byte != b'<' && byte != b'>');
                    let tag = self.glance(open, is_tag);
                    return if tag.is_empty() || is_listed(tag, HTML) { None } else { self.content(at + 1, tag) };
                }
                b'}' | b'{' | b'<' | b'>' | b')' => return None,
                b'\\' if self.is_escaped_blank(at) => at += 2,
                byte if byte.is_ascii_alphabetic() => {
                    let word = self.glance(at, is_identifier);
                    let named = is_name_of_value(word).then(|| self.named(at, at + word.len())).flatten();
                    if let Some(named) = named {
                        return self.value_of(&named);
                    }
                    // The next of a list.
                    if quote == 0 && is_name_of_name(word) {
                        return None;
                    }
                    at += word.len();
                }
                _ => at += 1,
            }
        }
        None
    }

    fn value_of(&self, named: &Named) -> Option<Range<usize>> {
        let as_secret =
            Named { name: named.name.clone(), kind: Separator::TightColon, value: named.value, quoted_name: true };
        self.value(&as_secret).map(|found| found.secret).filter(|secret| !secret.is_empty())
    }

    /// `"value": "x", "name": "DB_PASSWORD"`
    fn member_before(&self, left: usize) -> Option<Range<usize>> {
        let begin = self.member_of_name(left)?;
        let comma = self.look_back(begin, LOOK, |byte| byte.is_ascii_whitespace() || byte == b',');
        let quote = *self.bytes[..comma].last()?;
        if comma == begin || !matches!(quote, b'"' | b'\'') {
            return None;
        }
        let start = self.look_back(comma - 1, LOOK_BRACKETS, |byte| byte != quote);
        let sign = self.look_back(start.checked_sub(1)?, LOOK, |byte| byte.is_ascii_whitespace());
        let sign = self.look_back(sign, 2, |byte| matches!(byte, b':' | b'='));
        let end = sign - self.quote_before(sign).unwrap_or(0);
        let word = self.look_back(end, LOOK, is_identifier);
        (end < start && is_name_of_value(&self.bytes[word..end])).then_some(start..comma - 1)
    }

    /// Where the `name` in `"name": "` begins, if that is what stands before.
    fn member_of_name(&self, left: usize) -> Option<usize> {
        let at = left - self.quote_before(left).unwrap_or(0);
        let signs = self.skip_spaces_back(at);
        let sign = self.look_back(signs, 2, |byte| matches!(byte, b':' | b'=' | b'>'));
        if sign == signs {
            return None;
        }
        let end = self.skip_spaces_back(sign);
        let end = end - self.quote_before(end).unwrap_or(0);
        let word = self.look_back(end, LOOK, is_identifier);
        let begin = word - self.quote_before(word).unwrap_or(0);
        is_name_of_name(&self.bytes[word..end]).then_some(begin)
    }

    /// `INSERT INTO users (name, password) VALUES ('bob', 'x'), ('eve', 'y')`
    fn column(&mut self, left: usize, right: usize) {
        let open = self.look_back(left, LOOK_BRACKETS, |byte| !matches!(byte, b'(' | b';' | b'\''));
        if open == 0 || self.bytes[open - 1] != b'(' {
            return;
        }
        let number = self.bytes[open..left].split(|&byte| byte == b',').count();
        let columns = self.look_ahead(right, LOOK_BRACKETS, |byte| !matches!(byte, b'(' | b')' | b';'));
        let close = right + columns.len();
        let mut at = self.skip_blank(close + 1);
        if self.byte(close) != Some(b')') || !self.says(at, "values") {
            return;
        }
        at = self.skip_blank(at + "values".len());
        let end = at + 4 * LOOK_STATEMENT;
        while self.byte(at) == Some(b'(') && at < end {
            let close = self.each_argument(at, |place, argument, scan| {
                if place == number
                    && let Some(secret) = argument
                {
                    scan.take(secret);
                }
            });
            at = self.skip_blank(close + 1);
            at = if self.byte(at) == Some(b',') { self.skip_blank(at + 1) } else { return };
        }
    }
}

/// Elements of pages, whose text is what people read.
const HTML: &[&str] = &[
    "a", "button", "dd", "div", "dt", "h1", "h2", "h3", "h4", "h5", "h6", "input", "label", "legend", "li", "option",
    "p", "section", "span", "td", "th",
];

/// Without blanks at the end, also those that were escaped.
fn trim_end(text: &[u8]) -> &[u8] {
    let mut text = text.trim_ascii_end();
    while let [before @ .., b'\\', b'n' | b'r' | b't'] = text {
        text = before.trim_ascii_end();
    }
    text
}

fn is_tag(byte: u8) -> bool {
    is_identifier(byte) || byte == b':' || byte == b'.'
}

/// A tag without its namespace.
fn local(tag: &[u8]) -> &[u8] {
    tag.rsplit(|&byte| byte == b':').next().unwrap_or(tag)
}

/// Whether a member of this name has a name in it, as `name` in `{"name": "DB_PASSWORD", "value": "..."}`.
pub fn is_name_of_name(word: &[u8]) -> bool {
    const WORDS: &[&str] = &[
        "attribute",
        "code",
        "env",
        "envname",
        "field",
        "fieldname",
        "header",
        "headername",
        "id",
        "k",
        "key",
        "keyname",
        "label",
        "n",
        "name",
        "option",
        "param",
        "parameter",
        "parameterkey",
        "parametername",
        "parameter_key",
        "prop",
        "property",
        "propertyname",
        "setting",
        "settingname",
        "title",
        "var",
        "variable",
        "variable_name",
    ];
    is_any_of(word, WORDS)
}

/// Whether a member of this name has a value in it, as `value` in `{"name": "DB_PASSWORD", "value": "..."}`.
pub fn is_name_of_value(word: &[u8]) -> bool {
    const WORDS: &[&str] = &[
        "content",
        "current",
        "default",
        "defaultvalue",
        "parameter_value",
        "parametervalue",
        "setting_value",
        "stringvalue",
        "text",
        "v",
        "val",
        "value",
        "variable_value",
    ];
    is_any_of(word, WORDS)
}

fn is_any_of(word: &[u8], words: &[&str]) -> bool {
    words.iter().any(|known| word.eq_ignore_ascii_case(known.as_bytes()))
}
