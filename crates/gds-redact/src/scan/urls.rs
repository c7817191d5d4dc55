//! Users and passwords in URLs, in DSNs that have no scheme, and in lines of `.pgpass`.

use super::{Found, LOOK, Scan};
use crate::text::{CharacterClasses, is_identifier, is_listed};
use crate::{prose, values};

/// Words before `user/password@db`.
const LOGONS: &[&str] = &["auxiliary", "catalog", "conn", "connect", "target"];

/// Where the user begins in `jdbc:oracle:thin:user/password`.
fn oracle(word: &[u8]) -> Option<usize> {
    [&b":thin:"[..], b":oci:", b":oci8:"].iter().find_map(|kind| {
        let found = word.windows(kind.len()).position(|bytes| bytes.eq_ignore_ascii_case(kind))?;
        Some(found + kind.len())
    })
}

fn ends_url(byte: u8) -> bool {
    byte.is_ascii_whitespace() || matches!(byte, b'"' | b'\'' | b'<' | b'>' | b'`' | b'\\')
}

impl Scan<'_> {
    pub(super) fn url(&mut self, start: usize) -> Option<Found> {
        let authority = self.run(start, |byte| !ends_url(byte) && !matches!(byte, b'/' | b'?' | b'#'));
        let mut at = self.bytes[start..authority].iter().rposition(|&byte| byte == b'@').map(|at| start + at);
        let colon = self.bytes[start..authority].iter().position(|&byte| byte == b':').map(|at| start + at);
        if at.is_none()
            && let Some(colon) = colon
        {
            // A password with `/`, `?` or `#` in it, which should have been encoded; unless it is a port.
            let port = self.run(colon + 1, |byte| byte.is_ascii_digit());
            if port < authority && authority >= self.no_at_before {
                let end = self.run(authority, |byte| !ends_url(byte));
                at = self.bytes[authority..end].iter().position(|&byte| byte == b'@').map(|at| authority + at);
                if at.is_none() {
                    self.no_at_before = end;
                }
            }
        }
        let at = at?;
        if let Some(colon) = colon.filter(|colon| *colon < at) {
            return self.unless_done(colon + 1..at);
        }
        // `user%3Apassword@`
        let user = &self.bytes[start..at];
        if let Some(encoded) = user.windows(3).position(|bytes| bytes.eq_ignore_ascii_case(b"%3a")) {
            return self.unless_done(start + encoded + 3..at);
        }
        // A token in the place of a user; `git@` and `deploy-user2@` are none.
        let made = CharacterClasses::of(&user[..user.len().min(LOOK)]);
        let is_token = user.len() >= 20 && made.digits > 1 && made.letters() > 0;
        if is_token { self.unless_done(start..at) } else { None }
    }

    /// `u:...@tcp(db)`, `u:...@db:5432/x`, `jdbc:oracle:thin:u/...@db`: what is before the `@` is no mail address.
    pub(super) fn at(&self, at: usize) -> Option<Found> {
        if at > self.done && self.bytes[at - 1] == b'"' {
            return self.quoted_login(at - 1);
        }
        let begin = self.look_back(at, 2 * LOOK, |byte| !ends_url(byte));
        // `DATA_SOURCE_NAME=u:...`
        let name = self.glance(begin, |byte| is_identifier(byte) || byte == b'.').len();
        let begin = if self.byte(begin + name) == Some(b'=') { begin + name + 1 } else { begin };
        let word = &self.bytes[begin..at];
        if word.windows(3).any(|bytes| bytes == b"://") {
            return None;
        }
        if let Some(user) = oracle(word) {
            let slash = word[user..].iter().position(|&byte| byte == b'/')?;
            return self.unless_done(begin + user + slash + 1..self.last_at(at));
        }
        // `CONNECT scott/x@db`
        let slash = word.iter().position(|&byte| byte == b'/').map(|slash| begin + slash);
        if let Some(slash) = slash.filter(|slash| *slash > begin)
            && (is_listed(self.word_before(begin), LOGONS) || self.says(begin.saturating_sub(7), "userid="))
        {
            return self.unless_done(slash + 1..self.last_at(at));
        }
        let user = self.look_ahead(begin, LOOK, |byte| is_identifier(byte) || byte == b'.' || byte == b'\\').len();
        let colon = begin + user;
        if user == 0 || self.byte(colon) != Some(b':') || colon + 1 >= at {
            return None;
        }
        let password = &self.bytes[colon + 1..at];
        let host = self.glance(at + 1, |byte| is_identifier(byte) || byte == b'.');
        let behind = self.byte(at + 1 + host.len());
        let is_driver = matches!((host, behind), (b"tcp" | b"tcp4" | b"tcp6" | b"unix" | b"udp" | b"", Some(b'(')))
            || host.is_empty() && behind == Some(b'/');
        // `10:30@room:2`, `image:1.27@sha256:...`, `mailto:bob@db:1`.
        let made = CharacterClasses::of(password);
        let is_place = matches!(behind, Some(b':' | b'/')) && host != b"sha256" && !host.is_empty();
        let is_password = made.letters() > 0 && password.len() >= 4 && (prose::is_password(password) || made.turns > 0);
        if is_driver || is_place && is_password && !self.bytes[begin].is_ascii_digit() {
            return self.unless_done(colon + 1..at);
        }
        None
    }

    /// The last `@` of a word: those before are of the password.
    fn last_at(&self, at: usize) -> usize {
        let rest = self.look_ahead(at, 2 * LOOK, |byte| !ends_url(byte));
        rest.iter().rposition(|&byte| byte == b'@').map_or(at, |last| at + last)
    }

    /// `scott/"x"@db`, by its closing quote.
    fn quoted_login(&self, close: usize) -> Option<Found> {
        let open = self.look_back(close, LOOK, |byte| !matches!(byte, b'"' | b'\n'));
        let slash = open.checked_sub(2)?;
        if &self.bytes[slash..open] != b"/\"" {
            return None;
        }
        let user = self.look_back(slash, 2 * LOOK, |byte| !byte.is_ascii_whitespace());
        let is_login = oracle(&self.bytes[user..slash]).is_some() || is_listed(self.word_before(user), LOGONS);
        if is_login { self.unless_done(open..close) } else { None }
    }

    /// `CONNECT scott/x`, without an `@` to know it by: where a prompt, a line or a message begins, and nothing else
    /// follows.
    pub(super) fn logon(&self, start: usize, end: usize) -> Option<Found> {
        let before = self.skip_spaces_back(start);
        let prompt = before.checked_sub(1).map(|at| self.bytes[at]);
        if !matches!(prompt, None | Some(b'\n' | b'>' | b'"' | b'\'' | b';' | b':')) {
            return None;
        }
        let word = self.look_ahead(self.skip_spaces(end), 2 * LOOK, |byte| !ends_url(byte) && byte != b';');
        let begin = self.skip_spaces(end);
        let slash = word.iter().position(|&byte| byte == b'/').filter(|slash| *slash > 0)?;
        let (user, password) = (&word[..slash], &word[slash + 1..]);
        let rest = self.skip_spaces(begin + word.len());
        let is_all = self.says(rest, "as sys") || self.byte(rest).is_none_or(|byte| b"\r\n;\"'".contains(&byte));
        let is_login = is_all
            && user.iter().all(|&byte| is_identifier(byte) || matches!(byte, b'$' | b'#'))
            && !password.iter().any(|byte| matches!(byte, b'/' | b'@'))
            && (prose::is_password(password) || prompt == Some(b'>'));
        if is_login { self.unless_done(begin + slash + 1..begin + word.len()) } else { None }
    }

    /// `host:port:database:user:...`, found by the port.
    pub(super) fn pgpass(&self, colon: usize) -> Option<Found> {
        let is_field =
            |byte: u8| !byte.is_ascii_whitespace() && !matches!(byte, b':' | b'"' | b'\'' | b'/' | b'@' | b'=');
        let host = self.look_back(colon, LOOK, is_field);
        let port = self.glance(colon + 1, |byte| byte.is_ascii_digit() || byte == b'*');
        if host == colon || host > self.done && self.bytes[host - 1] == b':' {
            return None;
        }
        let mut at = colon + 1 + port.len();
        for _ in ["database", "user"] {
            let field = self.glance(at + 1, is_field).len();
            if self.byte(at) != Some(b':') || field == 0 {
                return None;
            }
            at += 1 + field;
        }
        if self.byte(at) != Some(b':') {
            return None;
        }
        let end = self.run(at + 1, |byte| !byte.is_ascii_whitespace() && !matches!(byte, b'"' | b'\''));
        let password = &self.bytes[at + 1..end];
        if values::is_absent(password) { None } else { self.unless_done(at + 1..end) }
    }
}
