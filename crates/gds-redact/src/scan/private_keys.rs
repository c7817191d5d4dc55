//! Private keys: as lines of PEM, also where they are cut off, and as base64 of PEM or of DER.

use super::{Found, LOOK, Scan};
use crate::text::{decoded, is_base64, is_base64url, run, unhexed};

impl Scan<'_> {
    pub(super) fn pem_begin(&self, end: usize) -> Option<Found> {
        let title = self.glance(end, |byte| byte != b'-' && byte != b'\n');
        let body = end + title.len();
        if !title.ends_with(b"PRIVATE KEY") && !title.ends_with(b"PRIVATE KEY BLOCK") {
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
        let before = self.bytes[self.done.min(start)..start].iter().rposition(|&byte| !is_body(byte));
        let body = before.map_or(self.done, |last| self.done + last + 1);
        let resume = end + title.len();
        if start - body < 16 { Found::nothing(resume) } else { Some(Found { secret: body..start, resume }) }
    }

    /// Base64 of either alphabet of the first line of PEM, of an OpenSSH key, or of a structure of DER that only private
    /// keys have; of the latter also the hexadecimal digits.
    pub(super) fn private_key(&self, start: usize) -> Option<Found> {
        let is_hex = self.byte(start) == Some(b'3');
        let is_part = |byte: u8| if is_hex { byte.is_ascii_hexdigit() } else { is_base64(byte) || is_base64url(byte) };
        if start > self.done && is_part(self.bytes[start - 1]) && !self.begins(start) {
            return None;
        }
        let head = self.glance(start, is_part);
        let is_key = match &*if is_hex { unhexed(head) } else { decoded(head) } {
            [b'-', title @ ..] => title.windows(11).any(|window| window == b"PRIVATE KEY"),
            [b'o', rest @ ..] => rest.starts_with(b"penssh-key"),
            // A sequence that begins with its version (RFC 5208 and 8017: 0 or 1, RFC 5915: 1, RFC 7292: 3).
            [0x30, 0x82, _, _, 2, 1, 0 | 1 | 3, ..]
            | [0x30, 0x81, _, 2, 1, 0 | 1 | 3, ..]
            | [0x30, _, 2, 1, 0 | 1, ..] => true,
            _ => false,
        };
        if !is_key || head.len() < LOOK.min(60) {
            return None;
        }
        // Over all its lines, if it was wrapped.
        let mut end = self.run(start, is_part);
        let mut line = start;
        while end - line >= 60 {
            let next = run(self.bytes, end, |byte| byte.is_ascii_whitespace());
            if self.glance(next, is_part).len() < 4 || !matches!(self.byte(end), Some(b'\n' | b'\r')) {
                break;
            }
            (line, end) = (next, self.run(next, is_part));
        }
        // Dashes may be the last line of PEM.
        let dashes = find(&self.bytes[line..end], b"-----");
        let end = dashes.map_or(end, |len| line + len);
        Found::secret(start..self.run(end, |byte| byte == b'='))
    }
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}
