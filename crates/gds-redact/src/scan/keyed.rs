//! Secrets that can be told by the name before them: `password=...`, `"api_key": "..."`, `X-Vault-Token: ...`.

use std::ops::Range;

use super::{Found, LOOK, LOOK_BRACKETS, Scan};
use crate::keys::is_secret_key;
use crate::text::{is_basic, is_identifier, is_listed};
use crate::{prose, values};

/// What stands between `PASSWORD` and its literal in statements, beside nothing at all.
const LINKS: &[&str] = &["as ", "from ", "hash ", "is ", "set ", "to ", "was "];

/// Words that make what follows a name its value: `setenv NAME VALUE`.
const SETTERS: &[&str] = &["arg", "config", "env", "export", "set", "setenv"];

/// Directives of files of settings, which have a space before their value.
const DIRECTIVES: &[&str] = &["bindpw", "masterauth", "requirepass", "rootpw"];

/// A name and what it names: the name's place, what keeps both apart, and where the value begins.
pub(super) struct Named {
    pub(super) name: Range<usize>,
    pub(super) kind: Separator,
    pub(super) value: usize,
    pub(super) quoted_name: bool,
}

/// How a name and its value are kept apart.
#[derive(Clone, Copy, Eq, PartialEq)]
pub(super) enum Separator {
    /// `a=b`
    Equals,
    /// `a == b`, `a !== b`: of code or a statement, where what has no quotes is a name
    Compared,
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
    /// `("a", "b")`, `| a | b |`
    Pair,
    /// `a 'b'`
    Literal,
}

impl Scan<'_> {
    /// A name with a secret's name in it, and its value.
    pub(super) fn key(&mut self, start: usize, end: usize) -> Option<Found> {
        let left = self.name_start(start);
        let right = end + self.glance(end, is_identifier).len();
        let name = std::str::from_utf8(&self.bytes[left..right]).ok()?;
        // Most words are just words: nothing is assigned to them, and what is said of them comes after one space.
        match self.byte(right)? {
            b'.' => return self.equals(name, right),
            b'!' if self.byte(right + 1) == Some(b'=') => {}
            b'/' | b'-' | b'!' | b'?' | b'~' | b'^' | b'$' | b'+' => return None,
            _ => {}
        }
        if self.byte(right) == Some(b'(') || name.starts_with("sp_") {
            return self.call(left, right);
        }
        if self.is_commented(left, right) {
            return Found::nothing(right);
        }
        let Some(named) = self.named(left, right) else {
            return self.pair(left, right).or_else(|| self.spoken(name, left, right));
        };
        if values::last_word(name) == "auth"
            && let Some(found) = self.auth(&named)
        {
            return Some(found);
        }
        if !is_secret_key(name) && !self.is_secret_in_context(&named) {
            return None;
        }
        let found = self.value(&named);
        // `SET PASSWORD FROM 'x' TO 'y'`
        if named.kind == Separator::Literal
            && let Some(old) = &found
            && let to = self.skip_spaces(old.resume + 1)
            && self.says(to, "to ")
            && let Some(new) = self.quoted(self.skip_spaces(to + 3))
        {
            self.take(new);
        }
        // `SET PASSWORD = 'x' REPLACE 'y'`
        if let Some(new) = &found
            && let Some(old) = self.replaced(new.resume, false)
        {
            self.take(old.secret);
        }
        if found.is_none() && named.kind == Separator::Colon && name.eq_ignore_ascii_case("secret") {
            self.aws_secret(right);
        }
        found
    }

    /// `api.key=`, `PRAGMA key = `, `ATTACH ... KEY 'x'`: what is before makes it the name of a secret.
    fn is_secret_in_context(&self, named: &Named) -> bool {
        let Range { start: left, end: right } = named.name;
        let name = &self.bytes[left..right];
        if is_listed(name, &["hexkey", "hexrekey", "key", "rekey", "textkey", "textrekey"])
            && (named.kind == Separator::Literal && self.is_attached(left)
                || self.word_before(left).eq_ignore_ascii_case(b"pragma"))
        {
            return true;
        }
        let dotted = self.look_back(left, LOOK, |byte| is_identifier(byte) || byte == b'.');
        let name = std::str::from_utf8(&self.bytes[dotted..right]);
        dotted < left && name.is_ok_and(is_secret_key)
    }

    /// `ATTACH DATABASE 'x.db' AS x KEY 'y'`
    fn is_attached(&self, left: usize) -> bool {
        let name = self.skip_spaces_back(left);
        let name = self.look_back(name, LOOK, is_identifier);
        self.word_before(name).eq_ignore_ascii_case(b"as") && self.is_of_statement(left, b"attach ")
    }

    /// `COMMENT ON COLUMN u.password IS 'x'`
    fn is_commented(&self, left: usize, right: usize) -> bool {
        let quoted = if self.byte(right) == Some(b' ') { 0 } else { self.quote(right).unwrap_or(0) };
        self.says(self.skip_spaces(right + quoted), "is ") && self.is_of_statement(left, b"comment on ")
    }

    /// Whether the statement before has these words.
    fn is_of_statement(&self, at: usize, words: &[u8]) -> bool {
        let begin = self.look_back(at, LOOK_BRACKETS, |byte| byte != b';' && byte != b'\n');
        self.bytes[begin..at].windows(words.len()).any(|bytes| bytes.eq_ignore_ascii_case(words))
    }

    /// Where the name begins; what belongs to an escape or a quote that was encoded is no part of it.
    fn name_start(&self, start: usize) -> usize {
        let left = self.look_back(start, LOOK, is_identifier);
        let before = left.checked_sub(1).map(|at| self.bytes[at]);
        let name = &self.bytes[left..start];
        let escape = match (before, name) {
            (Some(b'%'), [b'2', b'2' | b'7' | b'6', ..]) => 2,
            (Some(b'%'), [b'2', b'5', b'2', b'2' | b'7', ..]) => 4,
            (Some(b'\\'), [b'u', b'0', b'0', b'2', b'2' | b'7', ..]) => 5,
            (Some(b'\\'), [b'x', b'2', b'2' | b'7', ..]) => 3,
            (Some(b'\\'), [b'n' | b'r' | b't', ..]) => 1,
            _ => 0,
        };
        left + escape
    }

    /// What keeps a name and its value apart, if it has a value.
    pub(super) fn named(&self, left: usize, right: usize) -> Option<Named> {
        let named = |kind, value, quoted_name| {
            Some(Named { name: left..right, kind, value: self.skip_spaces(value), quoted_name })
        };
        if let Some(value) = self.tested(left, right) {
            return named(Separator::Compared, value, true);
        }
        // `"spring.datasource.password"`, `"/prod/db/password"`
        let whole = self.look_back(left, LOOK, |byte| is_identifier(byte) || matches!(byte, b'.' | b'/'));
        let whole = if matches!(self.bytes[whole..left].last(), Some(b'.' | b'/')) { whole } else { left };
        let before = whole.checked_sub(1).map(|at| self.bytes[at]);
        let opened = self.quote_before(whole);
        // `"a"`, `\"a\"`, `['a']`
        let closed = if opened.is_some() { self.quote(right) } else { None };
        let quoted = closed.is_some();
        let mut at = right + closed.unwrap_or(0);
        at += usize::from(quoted && self.byte(at) == Some(b']'));
        let signs = self.skip_spaces(at);
        let spaced = signs > at;
        let compared = self.comparison(signs);
        if compared > 0 {
            return named(Separator::Compared, signs + compared, quoted);
        }
        match (self.byte(signs)?, self.byte(signs + 1)) {
            (b':' | b'?', Some(b'=')) | (b'=', Some(b'>')) => named(Separator::Equals, signs + 2, quoted),
            (b'=', _) => named(Separator::Equals, signs + 1, quoted),
            (b':', Some(b':')) => None,
            (b':', _) if quoted => named(Separator::TightColon, signs + 1, quoted),
            (b':', Some(b' ' | b'\t')) => named(Separator::Colon, signs + 1, quoted),
            (b':', _) if !spaced => named(Separator::TightColon, signs + 1, quoted),
            (b'%', Some(b'3' | b'2')) => {
                let len = ["%3D", "%3A", "%253D", "%253A"].iter().find(|sign| self.says(signs, sign))?.len();
                let blank =
                    if self.says(signs + len, "%20") { 3 } else { usize::from(self.byte(signs + len) == Some(b'+')) };
                named(Separator::Encoded, signs + len + blank, quoted)
            }
            (b'\\', Some(b'u')) if self.says(signs, "\\u003d") => named(Separator::Equals, signs + 6, quoted),
            (b'&', Some(b'#')) if self.says(signs, "&#61;") => named(Separator::Equals, signs + 5, quoted),
            (b'&', Some(b'g')) if self.starts_with(signs, b"&gt;") => named(Separator::Tag, signs + 4, quoted),
            (b'>', _) if !spaced && matches!(before, Some(b'<' | b':')) => named(Separator::Tag, signs + 1, quoted),
            (b',', _) if quoted && !spaced => {
                self.is_pair(whole, right, signs).then_some(()).and_then(|()| named(Separator::Pair, signs + 1, quoted))
            }
            (b'|', _) if spaced && self.is_cell(left) => named(Separator::Pair, signs + 1, quoted),
            _ if spaced => self.spaced(left, right, signs, quoted),
            _ => None,
        }
    }

    /// The length of a sign that compares: `==`, `!==`, `<>`, `-eq`.
    fn comparison(&self, at: usize) -> usize {
        const WORDS: &[&str] = &["-eq ", "-ne ", "-ceq ", "-cne "];
        match self.bytes.get(at..at + 2) {
            Some(b"==" | b"!=") => 2 + usize::from(self.byte(at + 2) == Some(b'=')),
            Some(b"=~" | b"<>") => 2,
            Some([b'-', _]) => WORDS.iter().find(|word| self.says(at, word)).map_or(0, |word| word.len()),
            _ => 0,
        }
    }

    /// `"$PASSWORD" = "x"` of a shell's test
    fn tested(&self, left: usize, right: usize) -> Option<usize> {
        let quote = self.quote_before(left.checked_sub(1).filter(|at| self.bytes[*at] == b'$')?)?;
        let at = self.skip_spaces(right + self.quote(right).filter(|closed| *closed == quote)?);
        let sign = self.comparison(at).max(usize::from(self.byte(at) == Some(b'=')));
        (sign > 0).then(|| at + sign)
    }

    /// `password.equals("x")`
    fn equals(&mut self, name: &str, dot: usize) -> Option<Found> {
        let method = self.glance(dot + 1, is_identifier);
        let open = dot + 1 + method.len();
        let compares = is_listed(method, &["compareto", "contentequals", "equals", "equalsignorecase"])
            && self.byte(open) == Some(b'(')
            && is_secret_key(name);
        if compares { self.arguments(open, 1..=1, true) } else { None }
    }

    /// A value that is kept apart by a space.
    fn spaced(&self, left: usize, right: usize, value: usize, quoted: bool) -> Option<Named> {
        let named = |kind, value| Some(Named { name: left..right, kind, value, quoted_name: quoted });
        // `--password x`, `-storepass x`
        let whole = self.look_back(left, LOOK, |byte| is_identifier(byte) || byte == b'.');
        if self.byte(whole) == Some(b'-') {
            return named(Separator::Space, value);
        }
        // `<password type="text">x`
        if matches!(left.checked_sub(1).map(|at| self.bytes[at]), Some(b'<' | b':')) {
            let attributes = self.look_ahead(value, LOOK_BRACKETS, |byte| !matches!(byte, b'>' | b'<' | b'\n'));
            let close = value + attributes.len();
            let is_tag =
                self.byte(close) == Some(b'>') && attributes.contains(&b'=') && attributes.last() != Some(&b'/');
            return if is_tag { named(Separator::Tag, close + 1) } else { None };
        }
        let name = &self.bytes[left..right];
        // `SET PASSWORD FOR u = x`
        if name.eq_ignore_ascii_case(b"password") && self.says(value, "for ") {
            let user = self.look_ahead(value, LOOK, |byte| !matches!(byte, b'=' | b'\n' | b';'));
            let to = user.windows(4).position(|four| four.eq_ignore_ascii_case(b" to ")).map(|to| value + to + 4);
            let equals = value + user.len();
            // `SET PASSWORD FOR u TO RANDOM REPLACE 'x'`
            let old = to.filter(|to| self.says(*to, "random ")).and_then(|to| self.replaced(to + 6, false));
            let old = old.filter(|old| !old.secret.is_empty());
            return if let Some(old) = old {
                named(Separator::Literal, old.secret.start - 1)
            } else if let Some(to) = to.filter(|to| self.quoted(*to).is_some()) {
                named(Separator::Literal, to)
            } else if self.byte(equals) == Some(b'=') {
                named(Separator::Equals, self.skip_spaces(equals + 1))
            } else {
                None
            };
        }
        let setter = if name.starts_with(b"set-") { b"" } else { self.word_before(left) };
        let is_compound = name.iter().any(|&byte| matches!(byte, b'_' | b'-'))
            || name.windows(2).any(|two| two[0].is_ascii_lowercase() && two[1].is_ascii_uppercase());
        let is_set = is_listed(setter, SETTERS) && (is_compound || setter.eq_ignore_ascii_case(b"setenv"));
        if is_set || is_listed(name, DIRECTIVES) {
            return named(Separator::Space, value);
        }
        // `PASSWORD 'x'`, `PASSWORD = N'x'`, `PASSWORD FROM 'x'`
        let mut literal = value;
        if let Some(link) = LINKS.iter().find(|link| self.says(literal, link)) {
            literal = self.skip_spaces(literal + link.len());
        }
        let is_literal = self.quoted(literal).is_some() && !matches!(self.byte(literal), Some(b'`' | b'\\'));
        let is_name =
            || is_compound || self.is_option(left) || values::is_password_name(name) || self.is_attached(left);
        if is_literal && is_name() { named(Separator::Literal, literal) } else { None }
    }

    /// The word before, in the same line.
    pub(super) fn word_before(&self, at: usize) -> &[u8] {
        let end = self.skip_spaces_back(at);
        if end == at {
            return b"";
        }
        &self.bytes[self.look_back(end, LOOK, |byte| byte.is_ascii_alphabetic())..end]
    }

    /// In a list of options: `(user 'u', password 'x')`.
    fn is_option(&self, left: usize) -> bool {
        let before = self.look_back(left, LOOK, |byte| byte.is_ascii_whitespace());
        before > 0 && matches!(self.bytes[before - 1], b'(' | b',')
    }

    /// Two in brackets, or a header and its value, which are often among others.
    fn is_pair(&self, left: usize, right: usize, comma: usize) -> bool {
        let name = &self.bytes[left..right];
        let opens = left >= 2 && matches!(self.bytes[left - 2], b'(' | b'[' | b'{' | b'b');
        let is_header = name.contains(&b'-') || is_listed(name, &["authorization", "cookie"]);
        if is_header {
            return opens || name.starts_with(b"--");
        }
        let Some(second) = self.quoted(self.skip_spaces(comma + 1)).filter(|_| opens) else { return false };
        let close = second.end + 1;
        let is_name = values::is_name(&self.bytes[second.start..second.end.min(second.start + LOOK)]);
        !is_name && matches!(self.byte(self.skip_spaces(close)), Some(b')' | b']' | b'}'))
    }

    /// The first cell of a row: `| password | x |`.
    fn is_cell(&self, left: usize) -> bool {
        let before = self.skip_spaces_back(left);
        before < left && before > 0 && self.bytes[before - 1] == b'|'
    }

    /// `auth=("u", "x")`, `"auth": "dTp4"`, `auth=u:x`: a name that is rarely that of a secret.
    fn auth(&mut self, named: &Named) -> Option<Found> {
        if self.byte(named.value) == Some(b'(') {
            return self.arguments(named.value, 2..=2, false);
        }
        let quoted = self.quoted(named.value);
        if quoted.is_none() && named.kind != Separator::Equals {
            return None;
        }
        let value = quoted.clone().unwrap_or_else(|| named.value..self.unquoted_end(named.value, named));
        let text = &self.bytes[value.start..value.end.min(value.start + LOOK_BRACKETS)];
        let secret = login_secret(text)?;
        self.unless_done(value.start + secret..value.end)
    }

    /// "password hunter2", "secret access key wJalr..."
    fn spoken(&mut self, name: &str, left: usize, end: usize) -> Option<Found> {
        if self.byte(end) != Some(b' ') {
            return None;
        }
        let mut from = end + 1;
        // "password for bob is x", "password of root: x"
        if self.says(from, "for ") || self.says(from, "of ") {
            let whose = self.skip_spaces(from + 3);
            let next = whose + self.glance(whose, |byte| !byte.is_ascii_whitespace()).len();
            let is_told =
                self.bytes[whose..next].ends_with(b":") || self.says(next, " is ") || self.says(next, " was ");
            from = if is_told { self.skip_spaces(next) } else { from };
        }
        for verb in ["set ", "changed ", "is ", "was ", "to ", "= "] {
            from += if self.says(from, verb) { verb.len() } else { 0 };
        }
        let quoted = matches!(self.byte(from), Some(b'"' | b'\'' | b'`'));
        from += usize::from(quoted);
        let word = self.glance(from, |byte| !byte.is_ascii_whitespace());
        let last = word
            .iter()
            .rposition(|byte| !matches!(byte, b'.' | b',' | b';' | b':' | b')' | b']' | b'"' | b'\'' | b'`'));
        let word = &word[..last.map_or(0, |last| last + 1)];
        let is_secret = match values::last_word(name) {
            "password" | "passwd" | "passphrase" | "pwd" | "passcode" => {
                // `machine h login u password x` of a .netrc
                let line = &self.bytes[self.look_back(left, 2 * LOOK, |byte| byte != b'\n')..left];
                let is_netrc = line.ends_with(b" ") && line.windows(7).any(|bytes| bytes == b" login ");
                prose::is_password(word) && !values::is_type(word)
                    || is_netrc && !word.is_empty() && !prose::is_said(word) && !values::is_placeholder(word)
            }
            "token" | "apikey" => prose::is_token(word) && word.len() < LOOK,
            "secret" => {
                self.aws_secret(end);
                false
            }
            // Of Redis: `AUTH x`, `AUTH user x`
            "auth" if name == "AUTH" => {
                let next = self.skip_spaces(from + word.len());
                let second = self.glance(next, |byte| !byte.is_ascii_whitespace() && !matches!(byte, b'"' | b'\''));
                if prose::is_password(second) {
                    return Found::secret(next..next + second.len());
                }
                prose::is_password(word)
            }
            _ => false,
        };
        if is_secret { Found::secret(from..from + word.len()) } else { None }
    }
}

/// Where in `u:x` or its base64, as a value of `auth`, the secret begins.
fn login_secret(text: &[u8]) -> Option<usize> {
    let user = text.iter().take_while(|&&byte| is_identifier(byte) || matches!(byte, b'.' | b'@')).count();
    if user > 0 && text.get(user) == Some(&b':') && text.len() > user + 1 && !text.contains(&b'/') {
        return Some(user + 1);
    }
    (text.len() >= 8 && is_basic(text)).then_some(0)
}

/// Whether a value under this name is a login: a pair of user and password, or [`is_login`].
pub fn is_name_of_login(name: &str) -> bool {
    name.eq_ignore_ascii_case("auth")
}

/// Whether this is `user:password` or its base64.
pub fn is_login(text: &str) -> bool {
    login_secret(text.as_bytes()).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lists_are_in_order() {
        assert!(SETTERS.is_sorted() && DIRECTIVES.is_sorted());
    }
}
