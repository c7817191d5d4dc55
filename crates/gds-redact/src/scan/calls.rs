//! Secrets that can be told by their place in a statement or a call: `IDENTIFIED BY 'x'`, `db.auth("u", "x")`,
//! `sp_addlogin 'u', 'x'`.

use std::ops::{Range, RangeInclusive};

use super::{Found, LOOK, LOOK_BRACKETS, Scan};
use crate::text::{is_identifier, is_listed, lowered};
use crate::{keys, prose, values};

/// Calls that take credentials, and which of their arguments are secrets: from this one to that one.
const CALLS: &[(&str, usize, usize)] = &[
    ("aes_decrypt", 2, 2),
    ("aes_encrypt", 2, 2),
    ("auth", 2, 2),
    ("authenticate", 2, 2),
    ("basic_auth", 2, 2),
    ("basicauth", 2, 2),
    ("basiccredentials", 2, 2),
    ("crypt", 1, 1),
    ("getconnection", 3, 3),
    ("httpbasicauth", 2, 2),
    ("httpdigestauth", 2, 2),
    ("login", 2, 2),
    ("networkcredential", 2, 2),
    ("openrowset", 4, 4),
    ("passwordauthentication", 2, 2),
    ("pgp_sym_decrypt", 2, 2),
    ("pgp_sym_encrypt", 2, 2),
    ("plaincredentials", 2, 2),
    ("set_basic_auth", 2, 2),
    ("setbasicauth", 2, 2),
    ("sp_addlinkedsrvlogin", 5, 5),
    ("sp_addlogin", 2, 2),
    ("sp_password", 1, 2),
    ("usernamepasswordcredentials", 2, 2),
    ("userpassauthenticator", 2, 2),
    ("with_basic_auth", 2, 2),
];

/// First words of calls that ask for a password, or about one.
const ASKS: &[&str] = &[
    "ask", "check", "fetch", "find", "generate", "get", "has", "hash", "input", "is", "load", "lookup", "prompt",
    "read", "request", "require", "resolve", "validate", "verify",
];

/// Plugins of MariaDB whose `USING` says where to ask.
const PLUGINS_WITHOUT: &[&str] = &["gssapi", "named_pipe", "pam", "unix_socket"];

/// Of several arguments the first one is the user.
const OF_TWO: usize = 2;

impl Scan<'_> {
    /// A word that is the name of a call, or its end: `sp_addlogin`.
    pub(super) fn named_call(&mut self, start: usize, end: usize) -> Option<Found> {
        let left = self.look_back(start, LOOK, is_identifier);
        let right = end + self.glance(end, is_identifier).len();
        if matches!(self.byte(right)?, b'(' | b' ') { self.call(left, right) } else { None }
    }

    /// A call of this name, with brackets or, of procedures in SQL, without.
    pub(super) fn call(&mut self, left: usize, right: usize) -> Option<Found> {
        let mut buffer = [0; LOOK];
        let name = lowered(&self.bytes[left..right], &mut buffer)?;
        let is_call = self.byte(right) == Some(b'(');
        if !is_call && !name.starts_with("sp_") {
            return None;
        }
        if let Some((_, first, last)) = CALLS.iter().find(|(known, ..)| *known == name) {
            // `redis.auth("x")`
            let is_method = left > 0 && self.bytes[left - 1] == b'.';
            return self.arguments(right, *first..=*last, name == "auth" && is_method);
        }
        if name == "connect" {
            return self.connect(right);
        }
        if name == "encryptbypassphrase" || name == "decryptbypassphrase" {
            return self.arguments(right, 1..=1, true);
        }
        // `setPassword("x")`, `set_password("service", "user", "x")`; `getpass("Password: ")` is none.
        let original = std::str::from_utf8(&self.bytes[left..right]).ok()?;
        let asks = keys::first_word(original, |word| is_listed(word.as_bytes(), ASKS));
        if is_call && values::is_password_name(original.as_bytes()) && !asks {
            // Of `("service", "user", "x")` the last one, of `("u", "old", "new")` both.
            let from = if name.starts_with("set") { self.count(right) } else { 0 };
            return self.arguments(right, from.max(OF_TWO)..=usize::MAX, true);
        }
        None
    }

    fn count(&self, open: usize) -> usize {
        let mut count = 0;
        self.each_argument_of(open, |place, _| count = place);
        count
    }

    /// Takes out those arguments of a call that are literals, or its only one.
    pub(super) fn arguments(&mut self, open: usize, places: RangeInclusive<usize>, or_only: bool) -> Option<Found> {
        let mut literals = Vec::new();
        let mut count = 0;
        self.each_argument_of(open, |place, argument| {
            count = place;
            literals.extend(argument.map(|argument| (place, argument)));
        });
        let is_only = or_only && count == 1;
        literals.retain(|(place, argument)| (is_only || places.contains(place)) && !self.is_no_password(argument));
        let mut secrets = literals.into_iter().map(|(_, argument)| argument);
        let last = secrets.next_back()?;
        secrets.for_each(|secret| self.take(secret));
        Found::secret(last)
    }

    fn is_no_password(&self, argument: &Range<usize>) -> bool {
        let text = &self.bytes[argument.start..argument.end.min(argument.start + LOOK)];
        text.is_empty() || values::is_placeholder(text) || values::is_absent(text) || prose::is_sentence(text)
    }

    /// `connect("u", "x", "dsn")`, `connect("host", "u", "x", "db")`
    fn connect(&self, open: usize) -> Option<Found> {
        let mut literals: Vec<(usize, Range<usize>)> = Vec::new();
        let mut count = 0;
        self.each_argument_of(open, |place, argument| {
            count = place;
            if let Some(argument) = argument.filter(|_| place <= 4) {
                literals.push((place, argument));
            }
        });
        let is_named = |literal: &Range<usize>| {
            let before = self.look_back(literal.start - 1, 2, |byte| byte == b' ');
            before > 0 && self.bytes[before - 1] == b'='
        };
        if literals.iter().any(|(_, literal)| is_named(literal)) {
            return None;
        }
        let is_url = literals.first().is_some_and(|(_, first)| self.bytes[first.clone()].contains(&b':'));
        let place = if count >= 4 || count == 3 && is_url { 3 } else { 2 };
        let all = literals.len() >= 3 && literals[..3].iter().map(|(place, _)| *place).eq(1..=3);
        let (_, secret) = literals.into_iter().find(|(at, _)| *at == place).filter(|_| all)?;
        if self.is_no_password(&secret) { None } else { Found::secret(secret) }
    }

    /// As [`Self::each_argument_of`], for those who take something out.
    pub(super) fn each_argument(
        &mut self,
        open: usize,
        mut visit: impl FnMut(usize, Option<Range<usize>>, &mut Self),
    ) -> usize {
        let mut found = Vec::new();
        let close = self.each_argument_of(open, |place, argument| found.push((place, argument)));
        for (place, argument) in found {
            visit(place, argument, self);
        }
        close
    }

    /// The arguments behind an open bracket or a space, by their number from 1; those that are literals with their
    /// text. Returns where they end.
    fn each_argument_of(&self, open: usize, mut visit: impl FnMut(usize, Option<Range<usize>>)) -> usize {
        let is_call = self.byte(open) == Some(b'(');
        let end = (open + 2 * LOOK_BRACKETS).min(self.bytes.len());
        let (mut at, mut place) = (open + 1, 1);
        while at < end {
            at = self.skip_blank(at);
            // `@rmtpassword = N'x'`, `password='x'`
            let name = self.glance(at, |byte| is_identifier(byte) || byte == b'@').len();
            let equals = self.skip_spaces(at + name);
            if name > 0 && self.byte(equals) == Some(b'=') {
                at = self.skip_spaces(equals + 1);
            }
            let literal = self.quoted(at);
            if let Some(literal) = &literal {
                at = literal.end + self.quote(literal.end).unwrap_or(1);
            }
            let mut depth = 0_usize;
            let rest = self.skip_spaces(at);
            // `'a' + b` is no literal.
            let literal = literal.filter(|_| !matches!(self.byte(rest), Some(b'+' | b'.' | b'%')));
            while at < end {
                match self.bytes[at] {
                    b'(' | b'[' | b'{' => depth += 1,
                    b')' | b']' | b'}' if depth > 0 => depth -= 1,
                    b')' | b']' | b'}' if is_call => {
                        visit(place, literal);
                        return at;
                    }
                    b',' | b';' if depth == 0 => break,
                    b'\n' if !is_call => break,
                    b'\'' | b'"' => {
                        let Some(quoted) = self.quoted(at) else { break };
                        at = quoted.end;
                    }
                    _ => {}
                }
                at += 1;
            }
            visit(place, literal);
            if at >= end || self.bytes[at] == b'\n' {
                return at;
            }
            at += 1;
            place += 1;
        }
        end
    }

    /// `IDENTIFIED BY 'x' REPLACE 'y'`, `IDENTIFIED WITH plugin AS 'x'`, `VIA plugin USING 'x'`, `USER u USING x`.
    pub(super) fn clause(&mut self, start: usize, end: usize) -> Option<Found> {
        if !self.begins(start) {
            return None;
        }
        if self.says(start, "using") {
            let word = self.skip_spaces_back(start);
            let word = self.look_back(word, LOOK, |byte| !byte.is_ascii_whitespace())..word;
            let before = self.word_before(word.start);
            // Of DB2 and Informix: `CONNECT TO db USER u USING x`.
            let is_user = before.eq_ignore_ascii_case(b"user");
            // Of MariaDB, where some plugins know the password from elsewhere.
            let is_plugin = is_listed(before, &["or", "via"]) && !is_listed(&self.bytes[word], PLUGINS_WITHOUT);
            return if is_user || is_plugin { self.literal(self.skip_spaces(end), is_user) } else { None };
        }
        let mut at = self.skip_blank(end);
        let (mut by, mut with) = (false, false);
        for _ in 0..6 {
            let word = self.glance(at, |byte| is_identifier(byte) || byte == b'.');
            let word_of = |known: &str| word.eq_ignore_ascii_case(known.as_bytes());
            let next = self.skip_blank(at + word.len());
            match () {
                () if word_of("by") || word_of("as") => by = true,
                () if word_of("with") || word_of("via") => with = true,
                () if by && (word_of("values") || word_of("value") || word_of("password") || word_of("random")) => {}
                // The plugin, which may be in quotes.
                () if with && !by => {
                    at = self.quoted(at).map_or(next, |quoted| self.skip_blank(quoted.end + 1));
                    with = false;
                    continue;
                }
                () => break,
            }
            at = next;
        }
        // Oracle has it without quotes, and so do people: "identified by its name".
        let user = self.skip_spaces_back(start);
        let user = self.look_back(user, LOOK, |byte| !byte.is_ascii_whitespace());
        let before = self.word_before(user);
        let is_statement = is_listed(before, &["exists", "role", "to", "user"]);
        if !by {
            return None;
        }
        // `IDENTIFIED BY RANDOM PASSWORD REPLACE 'x'`
        if let Some(old) = self.replaced(at, is_statement) {
            return Some(old);
        }
        let new = self.literal(at, is_statement)?;
        if let Some(old) = self.replaced(new.resume, is_statement) {
            self.take(old.secret);
        }
        Some(new)
    }

    /// The old password behind a new one: `REPLACE 'x'`.
    pub(super) fn replaced(&self, new: usize, or_word: bool) -> Option<Found> {
        let at = self.skip_blank(new + self.quote(new).unwrap_or(0));
        if self.says(at, "replace ") { self.literal(self.skip_blank(at + "replace ".len()), or_word) } else { None }
    }

    /// A literal, or a word where it may have no quotes.
    fn literal(&self, at: usize, or_word: bool) -> Option<Found> {
        if let Some(quoted) = self.quoted(at) {
            return self.unless_done(quoted);
        }
        let word =
            self.glance(at, |byte| !byte.is_ascii_whitespace() && !matches!(byte, b';' | b',' | b')' | b'"' | b'\''));
        if !or_word || word.is_empty() || prose::is_said(word) {
            return None;
        }
        self.unless_done(at..at + word.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lists_are_in_order() {
        assert!(CALLS.is_sorted() && ASKS.is_sorted());
    }
}
