//! Secrets that can be told by what they are: where they begin, how long they are, what they are made of.

use std::ops::Range;

use super::{Found, LOOK, Scan, is_alphanumeric, is_dotted};
use crate::prose;
use crate::text::{Made, is_base64, is_base64url, is_identifier, run};

impl Scan<'_> {
    pub(super) fn vault(&self, start: usize, end: usize) -> Option<Found> {
        let made = Made::of(self.glance(end, is_base64url));
        let is_one = self.bytes[start..end].starts_with(b"hv")
            && self.begins(start)
            && made.letters() + made.digits + made.other >= 12
            && made.digits + made.upper > 0;
        if !is_one {
            return None;
        }
        Found::secret(start..self.namespace(self.run(end, is_base64url)))
    }

    pub(super) fn old_vault(&self, start: usize, end: usize) -> Option<Found> {
        if !matches!(self.bytes[start], b's' | b'b' | b'r') || !self.begins(start) {
            return None;
        }
        // An attribute of an attribute, or the end of a word such as `_s.`
        if start > self.done && matches!(self.bytes[start - 1], b'.' | b'_') {
            return None;
        }
        let body = self.glance(end, is_base64url);
        let made = Made::of(body);
        // Batch tokens are long and of the alphabet for URLs; the others have 24 letters and digits.
        let is_one = if self.bytes[start] == b'b' { body.len() == LOOK } else { body.len() == 24 && made.other == 0 };
        if !is_one || made.upper == 0 || made.lower == 0 {
            return None;
        }
        Found::secret(start..self.namespace(self.run(end, is_base64url)))
    }

    /// Vault appends the id of a namespace: a dot and five letters and digits.
    pub(super) fn namespace(&self, end: usize) -> usize {
        match self.byte(end) {
            Some(b'.') => {
                let id = self.glance(end + 1, is_alphanumeric).len();
                if matches!(id, 5 | 6) { end + 1 + id } else { end }
            }
            _ => end,
        }
    }

    pub(super) fn known(
        &self,
        trigger: &str,
        start: usize,
        end: usize,
        least: usize,
        alphabet: fn(u8) -> bool,
    ) -> Option<Found> {
        let is_path = trigger.ends_with('/');
        if &self.bytes[start..end] != trigger.as_bytes() || !is_path && !self.begins(start) {
            return None;
        }
        let body = self.glance(end, alphabet);
        if body.len() < least || Made::of(body).digits == 0 {
            return None;
        }
        Found::secret(if is_path { end } else { start }..self.run(end, alphabet))
    }

    pub(super) fn jwt(&self, start: usize) -> Option<Found> {
        let dashed = start > self.done && matches!(self.bytes[start - 1], b'-' | b'_' | b'.');
        if dashed || !self.begins(start) || !self.bytes[start..].starts_with(b"eyJ") {
            return None;
        }
        // Each run is looked at from its beginning only, so at most once.
        let header = self.run(start, is_base64url);
        if self.byte(header) != Some(b'.') || header - start < 10 || self.glance(header + 1, is_base64url).len() < 4 {
            return None;
        }
        Found::secret(start..self.run(start, is_dotted))
    }

    pub(super) fn aws(&mut self, start: usize, end: usize) -> Option<Found> {
        let body = self.glance(end, is_alphanumeric);
        let is_one = matches!(&self.bytes[start..end], b"AKIA" | b"ASIA")
            && self.begins(start)
            && body.len() == 16
            && body.iter().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit());
        if !is_one {
            return None;
        }
        let id = start..end + 16;
        self.aws_secret(id.end);
        Found::secret(id)
    }

    /// Takes out a secret access key within reach: 40 bytes of base64 that are a word of their own. What lies between
    /// is still to be looked at.
    pub(super) fn aws_secret(&mut self, from: usize) {
        let end = (from + 2 * LOOK).min(self.bytes.len());
        let mut at = from;
        while at < end {
            let word = run(&self.bytes[..end], at, is_base64);
            if word - at == 40 {
                let made = Made::of(&self.bytes[at..word]);
                if made.digits > 0 && made.upper > 0 && made.lower > 0 {
                    self.secrets.push(at..word);
                    return;
                }
            }
            at = word + 1;
        }
    }

    pub(super) fn pem_begin(&self, end: usize) -> Option<Found> {
        let title = self.glance(end, |byte| byte != b'-' && byte != b'\n');
        let body = end + title.len();
        let title = std::str::from_utf8(title).ok()?;
        if !title.ends_with("PRIVATE KEY") && !title.ends_with("PRIVATE KEY BLOCK") {
            return None;
        }
        let body = self.run(body, |byte| byte == b'-');
        let end = find(&self.bytes[body..], b"-----END ").map_or(self.bytes.len(), |len| body + len);
        self.unless_done(body..end)
    }

    /// Base64 before the last line, over all lines it has.
    pub(super) fn pem_end(&self, start: usize, end: usize) -> Option<Found> {
        let title = self.glance(end, |byte| byte != b'-' && byte != b'\n');
        if !title.ends_with(b"PRIVATE KEY") && !title.ends_with(b"PRIVATE KEY BLOCK") {
            return None;
        }
        let is_body = |byte: u8| is_base64(byte) || matches!(byte, b'=' | b'\\' | b'\n' | b'\r');
        // Not beyond what was taken out, nor beyond the dashes of another such line.
        let before = self.bytes[self.done..start].iter().rposition(|&byte| !is_body(byte));
        let body = before.map_or(self.done, |last| self.done + last + 1);
        let resume = end + title.len();
        if start - body < 16 { Found::nothing(resume) } else { Some(Found { secret: body..start, resume }) }
    }

    pub(super) fn signature(&self, start: usize, end: usize) -> Option<Found> {
        if start == 0 || !matches!(self.bytes[start - 1], b'?' | b'&') {
            return None;
        }
        let value = self.run(end, |byte| is_base64(byte) || matches!(byte, b'%' | b'=' | b'-' | b'_' | b'.' | b'~'));
        if value - end < 16 { None } else { Found::secret(end..value) }
    }

    pub(super) fn url(&mut self, start: usize) -> Option<Found> {
        let ends = |byte: u8| byte.is_ascii_whitespace() || matches!(byte, b'"' | b'\'' | b'<' | b'>' | b'`' | b'\\');
        let authority = self.run(start, |byte| !ends(byte) && !matches!(byte, b'/' | b'?' | b'#'));
        let mut at = self.bytes[start..authority].iter().rposition(|&byte| byte == b'@').map(|at| start + at);
        let colon = self.bytes[start..authority].iter().position(|&byte| byte == b':').map(|at| start + at);
        if at.is_none()
            && let Some(colon) = colon
        {
            // A password with `/`, `?` or `#` in it, which should have been encoded; unless it is a port.
            let port = self.run(colon + 1, |byte| byte.is_ascii_digit());
            if port < authority && authority >= self.no_at_before {
                let end = self.run(authority, |byte| !ends(byte));
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
        // A token in the place of a user; `git@` and `deploy-user2@` are none.
        let user = &self.bytes[start..at];
        let made = Made::of(&user[..user.len().min(LOOK)]);
        let is_token = user.len() >= 20 && made.digits > 1 && made.letters() > 0;
        if is_token { self.unless_done(start..at) } else { None }
    }

    /// The secret, unless there is none in its place.
    pub(super) fn unless_done(&self, secret: Range<usize>) -> Option<Found> {
        let value = &self.bytes[secret.clone()];
        if prose::is_placeholder(value.trim_ascii()) { Found::nothing(secret.end) } else { Found::secret(secret) }
    }

    /// `Bearer` or `Basic` on its own; in a header, [`Self::key`] has it already.
    pub(super) fn scheme(&mut self, start: usize, end: usize, is_credential: impl Fn(&[u8]) -> bool) -> Option<Found> {
        if start > self.done && is_identifier(self.bytes[start - 1]) && !self.begins(start) {
            return None;
        }
        let from = match self.byte(end)? {
            b' ' | b'\t' => self.skip_spaces(end),
            b'%' if self.bytes[end..].starts_with(b"%20") => end + 3,
            b'+' => end + 1,
            // `bearer: abc`, `"bearer": "abc"`
            _ => return self.key(start, end),
        };
        let is_credential_byte = |byte: u8| is_base64(byte) || matches!(byte, b'-' | b'.' | b'_' | b'~');
        let word = self.glance(from, is_credential_byte);
        let word = word.strip_suffix(b".").unwrap_or(word);
        if !is_credential(word) {
            return None;
        }
        let end = self.run(from, is_credential_byte);
        let filled = self.run(end, |byte| byte == b'=');
        // `token_type=bearer refresh_token_expires_in=3600`
        let is_name = filled > end && word.iter().all(|byte| byte.is_ascii_lowercase() || matches!(byte, b'_' | b'-'));
        if is_name { None } else { Found::secret(from..filled) }
    }
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}
