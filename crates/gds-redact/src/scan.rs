//! One walk over a text: an automaton finds what secrets begin with or stand behind, a rule looks at each such place.
//!
//! **Linear.** The automaton passes each byte once. A rule looks at a bounded number of bytes before it decides, or at
//! more only where what it looked at is taken out (so nobody looks there again), or where it remembers for later rules
//! what it did not find ([`Scan::no_at_before`]).

use std::ops::Range;

use aho_corasick::automaton::Automaton;
use aho_corasick::dfa::DFA;
use aho_corasick::{Anchored, Input, MatchKind, StartKind};

use crate::keys::is_secret_key;
use crate::prose;
use crate::text::{Made, is_base64, is_base64url, is_basic, is_identifier, is_one_of, run};

/// How many bytes a rule looks at before it decides.
const LOOK: usize = 64;

/// How far a structure under a secret's name may reach where it may be mere prose in brackets.
const LOOK_BRACKETS: usize = 256;

/// What a trigger leads to.
#[derive(Clone, Copy)]
enum Rule {
    /// A name such as `db_password` around it, with its value.
    Key,
    /// `Bearer` and what is bearer of.
    Bearer,
    /// `Basic` and base64.
    Basic,
    /// User and password of a URL.
    Url,
    /// Vault's tokens since 1.10.
    Vault,
    /// Vault's tokens before: a letter, a dot and 24 letters and digits.
    OldVault,
    /// An access key id, and the secret key beside it.
    Aws,
    /// A private key, from its first line on.
    PemBegin,
    /// The last line of a private key whose beginning is cut off.
    PemEnd,
    /// Three parts of base64 (RFC 7519).
    Jwt,
    /// The signature in the query of a URL.
    Signature,
    /// A known beginning, followed by at least so many bytes of an alphabet.
    Known(usize, fn(u8) -> bool),
}

fn is_dotted(byte: u8) -> bool {
    is_base64url(byte) || byte == b'.'
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

fn is_path(byte: u8) -> bool {
    is_base64url(byte) || byte == b'/'
}

fn is_alphanumeric(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
}

/// Searched for in any case; rules that care compare again.
const TRIGGERS: &[(&str, Rule)] = &[
    ("pass", Rule::Key),
    ("pwd", Rule::Key),
    ("psw", Rule::Key),
    ("kennwort", Rule::Key),
    ("secret", Rule::Key),
    ("token", Rule::Key),
    ("key", Rule::Key),
    ("cred", Rule::Key),
    ("cookie", Rule::Key),
    ("authoriz", Rule::Key),
    ("_auth", Rule::Key),
    ("jwt", Rule::Key),
    ("-signature", Rule::Key),
    ("bearer", Rule::Bearer),
    ("basic", Rule::Basic),
    ("://", Rule::Url),
    ("hvs.", Rule::Vault),
    ("hvb.", Rule::Vault),
    ("hvr.", Rule::Vault),
    ("s.", Rule::OldVault),
    ("b.", Rule::OldVault),
    ("r.", Rule::OldVault),
    ("AKIA", Rule::Aws),
    ("ASIA", Rule::Aws),
    ("-----BEGIN ", Rule::PemBegin),
    ("-----END ", Rule::PemEnd),
    ("eyJ", Rule::Jwt),
    ("sig=", Rule::Signature),
    ("ghp_", Rule::Known(20, is_alphanumeric)),
    ("gho_", Rule::Known(20, is_alphanumeric)),
    ("ghu_", Rule::Known(20, is_alphanumeric)),
    ("ghs_", Rule::Known(20, is_alphanumeric)),
    ("ghr_", Rule::Known(20, is_alphanumeric)),
    ("github_pat_", Rule::Known(20, is_word)),
    ("glpat-", Rule::Known(16, is_base64url)),
    ("xoxa-", Rule::Known(10, is_base64url)),
    ("xoxb-", Rule::Known(10, is_base64url)),
    ("xoxe-", Rule::Known(10, is_base64url)),
    ("xoxp-", Rule::Known(10, is_base64url)),
    ("xoxr-", Rule::Known(10, is_base64url)),
    ("xoxs-", Rule::Known(10, is_base64url)),
    ("xapp-", Rule::Known(10, is_base64url)),
    ("slack.com/services/", Rule::Known(16, is_path)),
    ("sk_live_", Rule::Known(16, is_alphanumeric)),
    ("sk_test_", Rule::Known(16, is_alphanumeric)),
    ("rk_live_", Rule::Known(16, is_alphanumeric)),
    ("rk_test_", Rule::Known(16, is_alphanumeric)),
    ("whsec_", Rule::Known(16, is_base64)),
    ("sk-", Rule::Known(20, is_base64url)),
    ("AIza", Rule::Known(35, is_base64url)),
    ("ya29.", Rule::Known(20, is_dotted)),
    ("npm_", Rule::Known(36, is_alphanumeric)),
    ("pypi-AgE", Rule::Known(16, is_base64url)),
    ("SG.", Rule::Known(40, is_dotted)),
    ("dop_v1_", Rule::Known(32, is_alphanumeric)),
    ("dapi", Rule::Known(32, is_alphanumeric)),
];

/// Schemes of an `Authorization` header that have one credential after them.
const SCHEMES: &[&str] = &["apikey", "basic", "bearer", "dpop", "genie", "negotiate", "ntlm", "splunk", "token"];

/// Those that have a list of parameters.
const SCHEMES_WITH_LIST: &[&str] =
    &["aws4-hmac-sha256", "digest", "hawk", "hmac-sha256", "oauth", "scram-sha-256", "signature"];

/// The automaton for [`TRIGGERS`].
pub(crate) fn automaton() -> DFA {
    DFA::builder()
        .ascii_case_insensitive(true)
        .match_kind(MatchKind::Standard)
        .start_kind(StartKind::Unanchored)
        .build(TRIGGERS.iter().map(|(trigger, _)| trigger))
        .expect("a few short constants")
}

/// What a rule found: what to take out, or at least where to go on.
struct Found {
    secret: Range<usize>,
    resume: usize,
}

impl Found {
    fn secret(secret: Range<usize>) -> Option<Self> {
        (!secret.is_empty()).then_some(Self { resume: secret.end, secret })
    }

    fn nothing(resume: usize) -> Option<Self> {
        Some(Self { secret: 0..0, resume })
    }
}

/// The walk.
pub(crate) struct Scan<'t> {
    bytes: &'t [u8],
    /// End of what was taken out last: no rule looks back beyond it.
    done: usize,
    /// There is no `@` from a URL's beginning to here.
    no_at_before: usize,
    secrets: Vec<Range<usize>>,
}

impl<'t> Scan<'t> {
    /// Where the secrets are, in order and apart from each other.
    pub(crate) fn secrets(automaton: &DFA, text: &'t str) -> Vec<Range<usize>> {
        let bytes = text.as_bytes();
        let mut scan = Self { bytes, done: 0, no_at_before: 0, secrets: Vec::new() };
        let mut at = 0;
        while let Ok(Some(hit)) = automaton.try_find(&Input::new(bytes).anchored(Anchored::No).range(at..)) {
            let found = scan.look(TRIGGERS[hit.pattern().as_usize()], hit.start(), hit.end());
            at = hit.start() + 1;
            if let Some(Found { secret, resume }) = found {
                at = at.max(resume);
                if !secret.is_empty() {
                    scan.done = scan.done.max(secret.end);
                    scan.secrets.push(secret);
                }
            }
        }
        scan.secrets
    }

    fn look(&mut self, (trigger, rule): (&str, Rule), start: usize, end: usize) -> Option<Found> {
        match rule {
            Rule::Key => self.key(start, end),
            Rule::Bearer => self.scheme(start, end, prose::is_bearer),
            Rule::Basic => self.scheme(start, end, |word| word.len() >= 6 && is_basic(word)),
            Rule::Url => self.url(end),
            Rule::Vault => self.vault(start, end),
            Rule::OldVault => self.old_vault(start, end),
            Rule::Aws => self.aws(start, end),
            Rule::PemBegin => self.pem_begin(start, end),
            Rule::PemEnd => self.pem_end(start, end),
            Rule::Jwt => self.jwt(start),
            Rule::Signature => self.signature(start, end),
            Rule::Known(least, alphabet) => self.known(trigger, start, end, least, alphabet),
        }
    }

    fn byte(&self, at: usize) -> Option<u8> {
        self.bytes.get(at).copied()
    }

    /// Bytes of the alphabet from here on, as far as a rule may look.
    fn glance(&self, from: usize, alphabet: impl Fn(u8) -> bool) -> &'t [u8] {
        let end = (from + LOOK).min(self.bytes.len());
        &self.bytes[from..run(&self.bytes[..end], from, alphabet)]
    }

    fn run(&self, from: usize, alphabet: impl Fn(u8) -> bool) -> usize {
        run(self.bytes, from, alphabet)
    }

    fn skip_spaces(&self, from: usize) -> usize {
        from + self.glance(from, |byte| matches!(byte, b' ' | b'\t')).len()
    }

    /// Whether a token may begin here: not within a word, unless its last letters are those of `\n` or `%3D`.
    fn begins(&self, at: usize) -> bool {
        let before = |back: usize| at.checked_sub(back).map(|at| self.bytes[at]);
        match before(1) {
            Some(byte) if byte.is_ascii_alphanumeric() && at > self.done => {
                matches!(byte, b'n' | b'r' | b't') && before(2) == Some(b'\\')
                    || byte.is_ascii_hexdigit() && before(3) == Some(b'%')
            }
            _ => true,
        }
    }

    fn vault(&self, start: usize, end: usize) -> Option<Found> {
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

    fn old_vault(&self, start: usize, end: usize) -> Option<Found> {
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
    fn namespace(&self, end: usize) -> usize {
        match self.byte(end) {
            Some(b'.') => {
                let id = self.glance(end + 1, is_alphanumeric).len();
                if matches!(id, 5 | 6) { end + 1 + id } else { end }
            }
            _ => end,
        }
    }

    fn known(&self, trigger: &str, start: usize, end: usize, least: usize, alphabet: fn(u8) -> bool) -> Option<Found> {
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

    fn jwt(&self, start: usize) -> Option<Found> {
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

    fn aws(&mut self, start: usize, end: usize) -> Option<Found> {
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
    fn aws_secret(&mut self, from: usize) {
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

    fn pem_begin(&self, start: usize, end: usize) -> Option<Found> {
        let _ = start;
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
    fn pem_end(&self, start: usize, end: usize) -> Option<Found> {
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

    fn signature(&self, start: usize, end: usize) -> Option<Found> {
        if start == 0 || !matches!(self.bytes[start - 1], b'?' | b'&') {
            return None;
        }
        let value = self.run(end, |byte| is_base64(byte) || matches!(byte, b'%' | b'=' | b'-' | b'_' | b'.' | b'~'));
        if value - end < 16 { None } else { Found::secret(end..value) }
    }

    fn url(&mut self, start: usize) -> Option<Found> {
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
        match colon.filter(|colon| *colon < at) {
            Some(colon) => self.unless_done(colon + 1..at),
            None => {
                // A token in the place of a user; `git@` and `deploy-user2@` are none.
                let user = &self.bytes[start..at];
                let made = Made::of(&user[..user.len().min(LOOK)]);
                let is_token = user.len() >= 20 && made.digits > 1 && made.letters() > 0;
                if is_token { self.unless_done(start..at) } else { None }
            }
        }
    }

    /// The secret, unless there is none in its place.
    fn unless_done(&self, secret: Range<usize>) -> Option<Found> {
        let value = &self.bytes[secret.clone()];
        if prose::is_placeholder(value.trim_ascii()) { Found::nothing(secret.end) } else { Found::secret(secret) }
    }

    /// `Bearer` or `Basic` on its own; in a header, [`Self::key`] has it already.
    fn scheme(&mut self, start: usize, end: usize, is_credential: impl Fn(&[u8]) -> bool) -> Option<Found> {
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
        // `token_type=bearer expires_in=3600`
        let is_name = filled > end && !self.is_over(filled);
        if is_name && !is_basic(word) { None } else { Found::secret(from..filled) }
    }

    /// A name with a secret's name in it, and its value.
    fn key(&mut self, start: usize, end: usize) -> Option<Found> {
        let floor = start.saturating_sub(LOOK).max(self.done);
        let left =
            self.bytes[floor..start].iter().rposition(|&byte| !is_identifier(byte)).map_or(floor, |at| floor + at + 1);
        let right = end + self.glance(end, is_identifier).len();
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
        while has_list || is_cookie {
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
        let has_list = is_one_of(word, &SCHEMES_WITH_LIST);
        if has_list || is_one_of(word, &SCHEMES) { (after, has_list) } else { (within.start, false) }
    }

    /// `<Secret object at 0x7f...>`
    fn is_object(&self, at: usize) -> bool {
        let head = &self.bytes[at + 1..(at + LOOK).min(self.bytes.len())];
        head.first().is_some_and(u8::is_ascii_alphabetic) && head.contains(&b'>')
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
    fn is_over(&self, at: usize) -> bool {
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

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_trigger_hides_another() {
        // The automaton tells of the one that ends first, and the walk goes on behind where that one began.
        for (trigger, _) in TRIGGERS {
            for (other, _) in TRIGGERS {
                let (trigger, other) = (trigger.to_ascii_lowercase(), other.to_ascii_lowercase());
                let hidden = trigger.find(&other).is_some_and(|at| at + other.len() < trigger.len());
                assert!(!hidden, "{other} ends within {trigger}");
            }
        }
    }

    #[test]
    fn the_lists_are_in_order() {
        assert!(SCHEMES.is_sorted() && SCHEMES_WITH_LIST.is_sorted());
    }
}
