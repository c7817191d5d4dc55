//! One walk over a text: fingerprints find what secrets begin with or stand behind, a rule looks at each such place.
//!
//! | rules | know a secret by |
//! | --- | --- |
//! | [`keyed`] | the name before it, and what keeps the two apart: `password=`, `"api_key": `, `--token `, `<pwd>` |
//! | [`pairs`] | its name in another place: `{"name": "DB_PASSWORD", "value": ...}`, columns and values of an `INSERT` |
//! | [`calls`] | its place in a statement or a call: `IDENTIFIED BY`, `db.auth("u", ...)` |
//! | [`commands`] | its place on a command line: `mysql -p...`, `curl -u u:...` |
//! | [`urls`] | its place in a URL or DSN: `://u:...@`, `u:...@tcp(` |
//! | [`tokens`] | how it begins, how long it is and what it is made of |
//! | [`private_keys`] | the lines around it, or the bytes its base64 stands for |
//!
//! **Linear.** The walk passes each byte once. A rule looks at a bounded number of bytes before it decides, or at
//! more only where what it looked at is taken out (so nobody looks there again), or where it remembers for later rules
//! what it did not find ([`Scan::no_at_before`], [`Scan::command_end`]).

mod calls;
mod commands;
mod keyed;
mod pairs;
mod private_keys;
mod quotes;
mod tokens;
mod urls;
mod value;

use std::ops::Range;

use self::commands::{PROGRAMS, Program};
pub use self::keyed::{is_login, is_name_of_login};
pub use self::pairs::{is_name_of_name, is_name_of_value};
use self::tokens::{FORMATS, Format, MIDDLES, Middle};
use crate::fingerprint::Fingerprints;
use crate::text::{is_basic, run};
use crate::{prose, values};

/// How many bytes a rule looks at before it decides.
const LOOK: usize = 64;

/// How far a structure may reach where it may be mere prose in brackets.
const LOOK_BRACKETS: usize = 256;

/// How far the parts of a statement or a command line may lie apart.
const LOOK_STATEMENT: usize = 1024;

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
    /// User and password of a DSN that has no scheme.
    At,
    /// A line of `.pgpass`, by its port.
    Pgpass,
    /// `IDENTIFIED BY`, `USER u USING`.
    Clause,
    /// `CONNECT u/...`
    Login,
    /// `chpasswd <<< u:...`
    Here,
    /// A call that takes credentials, where its name is none of [`Rule::Key`].
    Call,
    /// A program that takes secrets on its command line.
    Program(&'static Program),
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
    /// Base64 of a private key, or its hexadecimal digits.
    PrivateKey,
    /// Three parts of base64 (RFC 7519).
    Jwt,
    /// The signature in the query of a URL.
    Signature,
    /// A token of a bot of Discord, by the dot behind its number.
    Discord,
    /// A token that is known by how it begins.
    Format(&'static Format),
    /// A token that is known by what is in its middle.
    Middle(&'static Middle),
}

/// Words that lead to rules, beside those of the tables [`FORMATS`], [`MIDDLES`] and [`PROGRAMS`]. Found in any case;
/// rules that care compare again.
const WORDS: &[(&str, Rule)] = &[
    ("pass", Rule::Key),
    ("pw", Rule::Key),
    ("psw", Rule::Key),
    ("kennwort", Rule::Key),
    ("secret", Rule::Key),
    ("token", Rule::Key),
    ("key", Rule::Key),
    ("cred", Rule::Key),
    ("cookie", Rule::Key),
    ("auth", Rule::Key),
    ("jwt", Rule::Key),
    ("-signature", Rule::Key),
    ("bearer", Rule::Bearer),
    ("basic", Rule::Basic),
    ("://", Rule::Url),
    ("@", Rule::At),
    (":543", Rule::Pgpass),
    (":643", Rule::Pgpass),
    (":*:", Rule::Pgpass),
    ("identified", Rule::Clause),
    ("using ", Rule::Clause),
    ("login", Rule::Call),
    ("connect", Rule::Call),
    ("conn ", Rule::Login),
    ("connect ", Rule::Login),
    ("<<", Rule::Here),
    ("crypt", Rule::Call),
    ("pgp_sym_", Rule::Call),
    ("openrowset", Rule::Call),
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
    ("LS0tLS1CRUdJTi", Rule::PrivateKey),
    ("b3BlbnNzaC1rZXkt", Rule::PrivateKey),
    ("MII", Rule::PrivateKey),
    ("MIG", Rule::PrivateKey),
    ("MHcCAQ", Rule::PrivateKey),
    ("MC4CAQ", Rule::PrivateKey),
    ("3081", Rule::PrivateKey),
    ("3082", Rule::PrivateKey),
    ("302e0201", Rule::PrivateKey),
    ("30770201", Rule::PrivateKey),
    ("eyJ", Rule::Jwt),
    ("sig=", Rule::Signature),
    (".G", Rule::Discord),
    (".X", Rule::Discord),
    (".Y", Rule::Discord),
    (".Z", Rule::Discord),
    (".C", Rule::Discord),
    (".D", Rule::Discord),
];

const ALL: usize = WORDS.len() + FORMATS.len() + MIDDLES.len() + PROGRAMS.len();

/// All words, the tables of formats first: where two begin alike, what is told by its shape is surer.
static TRIGGERS: [(&str, Rule); ALL] = {
    let mut all = [("", Rule::Key); ALL];
    let mut at = 0;
    let mut number = 0;
    while number < FORMATS.len() {
        all[at] = (FORMATS[number].begins, Rule::Format(&FORMATS[number]));
        (at, number) = (at + 1, number + 1);
    }
    number = 0;
    while number < MIDDLES.len() {
        all[at] = (MIDDLES[number].word, Rule::Middle(&MIDDLES[number]));
        (at, number) = (at + 1, number + 1);
    }
    number = 0;
    while number < WORDS.len() {
        all[at] = WORDS[number];
        (at, number) = (at + 1, number + 1);
    }
    number = 0;
    while number < PROGRAMS.len() {
        all[at] = (PROGRAMS[number].name, Rule::Program(&PROGRAMS[number]));
        (at, number) = (at + 1, number + 1);
    }
    all
};

/// Where they may begin.
static FINGERPRINTS: Fingerprints<ALL> = {
    let mut words = [""; ALL];
    let mut number = 0;
    while number < ALL {
        words[number] = TRIGGERS[number].0;
        number += 1;
    }
    Fingerprints::of(&words)
};

/// What a rule found: what to take out, or at least where to go on.
struct Found {
    secret: Range<usize>,
    resume: usize,
}

impl Found {
    fn secret(secret: Range<usize>) -> Option<Self> {
        (!secret.is_empty()).then_some(Self { resume: secret.end, secret })
    }

    #[expect(clippy::unnecessary_wraps, reason = "what rules return")]
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
    /// End of the last command line that was looked at.
    command_end: usize,
    secrets: Vec<Range<usize>>,
}

impl<'t> Scan<'t> {
    /// Where the secrets are; they may overlap.
    pub(crate) fn secrets(text: &'t str) -> Vec<Range<usize>> {
        let mut scan = Self { bytes: text.as_bytes(), done: 0, no_at_before: 0, command_end: 0, secrets: Vec::new() };
        let mut at = 0;
        while let Some((start, bits)) = FINGERPRINTS.next(scan.bytes, at) {
            at = scan.visit(start, bits);
        }
        scan.secrets
    }

    /// Asks the rules of the words that may begin here, up to the first that knows more; returns where to go on.
    fn visit(&mut self, start: usize, bits: u64) -> usize {
        for number in FINGERPRINTS.words(bits, &self.bytes[start..]) {
            let (word, rule) = TRIGGERS[number];
            let end = start + word.len();
            if !self.bytes.get(start..end).is_some_and(|bytes| bytes.eq_ignore_ascii_case(word.as_bytes())) {
                continue;
            }
            if let Some(Found { secret, resume }) = self.look(rule, start, end) {
                if !secret.is_empty() {
                    self.done = self.done.max(secret.end);
                    self.secrets.push(secret);
                }
                return resume.max(start + 1);
            }
        }
        start + 1
    }

    fn look(&mut self, rule: Rule, start: usize, end: usize) -> Option<Found> {
        match rule {
            Rule::Key => self.key(start, end),
            Rule::Bearer => self.scheme(start, end, prose::is_bearer),
            Rule::Basic => self.scheme(start, end, |word| word.len() >= 6 && is_basic(word)),
            Rule::Url => self.url(end),
            Rule::At => self.at(start),
            Rule::Pgpass => self.pgpass(start),
            Rule::Clause => self.clause(start, end),
            Rule::Call => self.named_call(start, end),
            Rule::Login => self.logon(start, end),
            Rule::Here => self.here(start, end),
            Rule::Program(program) => self.command(program, start, end),
            Rule::Vault => self.vault(start, end),
            Rule::OldVault => self.old_vault(start, end),
            Rule::Aws => self.aws(start, end),
            Rule::PemBegin => self.pem_begin(end),
            Rule::PemEnd => self.pem_end(start, end),
            Rule::PrivateKey => self.private_key(start),
            Rule::Jwt => self.jwt(start),
            Rule::Signature => self.signature(start, end),
            Rule::Discord => self.discord(start, end),
            Rule::Format(format) => self.format(format, start, end),
            Rule::Middle(middle) => self.middle(middle, start, end),
        }
    }

    /// Takes something out that is not where the walk stands; what lies between is still to be looked at.
    fn take(&mut self, secret: Range<usize>) {
        if !secret.is_empty() && !values::is_placeholder(&self.bytes[secret.clone()]) {
            self.secrets.push(secret);
        }
    }

    fn byte(&self, at: usize) -> Option<u8> {
        self.bytes.get(at).copied()
    }

    fn starts_with(&self, at: usize, what: &[u8]) -> bool {
        self.bytes.get(at..).is_some_and(|bytes| bytes.starts_with(what))
    }

    /// As [`Self::starts_with`], in any case.
    fn says(&self, at: usize, what: &str) -> bool {
        self.bytes.get(at..at + what.len()).is_some_and(|bytes| bytes.eq_ignore_ascii_case(what.as_bytes()))
    }

    /// Bytes of the alphabet from here on, as far as a rule may look.
    fn glance(&self, from: usize, alphabet: impl Fn(u8) -> bool) -> &'t [u8] {
        self.look_ahead(from, LOOK, alphabet)
    }

    fn look_ahead(&self, from: usize, look: usize, alphabet: impl Fn(u8) -> bool) -> &'t [u8] {
        let from = from.min(self.bytes.len());
        let end = (from + look).min(self.bytes.len());
        &self.bytes[from..run(&self.bytes[..end], from, alphabet)]
    }

    /// Where the bytes of the alphabet before here begin, as far as a rule may look back.
    fn look_back(&self, before: usize, look: usize, alphabet: impl Fn(u8) -> bool) -> usize {
        let floor = before.saturating_sub(look).max(self.done.min(before));
        self.bytes[floor..before].iter().rposition(|&byte| !alphabet(byte)).map_or(floor, |at| floor + at + 1)
    }

    fn run(&self, from: usize, alphabet: impl Fn(u8) -> bool) -> usize {
        run(self.bytes, from, alphabet)
    }

    fn skip_spaces(&self, from: usize) -> usize {
        from + self.glance(from, |byte| matches!(byte, b' ' | b'\t')).len()
    }

    /// Line breaks, too, also those that were escaped.
    fn skip_blank(&self, from: usize) -> usize {
        let mut at = from + self.glance(from, |byte| byte.is_ascii_whitespace()).len();
        while self.is_escaped_blank(at) && at < from + LOOK {
            at += 2;
            at += self.glance(at, |byte| byte.is_ascii_whitespace()).len();
        }
        at
    }

    fn is_escaped_blank(&self, at: usize) -> bool {
        matches!(self.bytes.get(at..at + 2), Some([b'\\', b'n' | b'r' | b't']))
    }

    fn skip_spaces_back(&self, before: usize) -> usize {
        self.look_back(before, LOOK, |byte| matches!(byte, b' ' | b'\t'))
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
}
