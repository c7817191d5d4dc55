//! One walk over a text: fingerprints find what secrets begin with or stand behind, a rule looks at each such place.
//!
//! **Linear.** The walk passes each byte once. A rule looks at a bounded number of bytes before it decides, or at
//! more only where what it looked at is taken out (so nobody looks there again), or where it remembers for later rules
//! what it did not find ([`Scan::no_at_before`]).

mod keyed;
mod tokens;

use std::ops::Range;

use crate::fingerprint::Fingerprints;
use crate::prose;
use crate::text::{is_base64, is_base64url, is_basic, run};

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

/// Found in any case; rules that care compare again.
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

/// Where they may begin.
static FINGERPRINTS: Fingerprints = {
    let mut words = [""; TRIGGERS.len()];
    let mut number = 0;
    while number < words.len() {
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
    secrets: Vec<Range<usize>>,
}

impl<'t> Scan<'t> {
    /// Where the secrets are; they may overlap.
    pub(crate) fn secrets(text: &'t str) -> Vec<Range<usize>> {
        let mut scan = Self { bytes: text.as_bytes(), done: 0, no_at_before: 0, secrets: Vec::new() };
        let mut at = 0;
        while let Some((start, words)) = FINGERPRINTS.next(scan.bytes, at) {
            at = scan.visit(start, words);
        }
        scan.secrets
    }

    /// Asks the rules of the words that may begin here, up to the first that knows more; returns where to go on.
    fn visit(&mut self, start: usize, mut words: u64) -> usize {
        while words != 0 {
            let (word, rule) = TRIGGERS[words.trailing_zeros() as usize];
            words &= words - 1;
            let end = start + word.len();
            if !self.bytes.get(start..end).is_some_and(|bytes| bytes.eq_ignore_ascii_case(word.as_bytes())) {
                continue;
            }
            if let Some(Found { secret, resume }) = self.look((word, rule), start, end) {
                if !secret.is_empty() {
                    self.done = self.done.max(secret.end);
                    self.secrets.push(secret);
                }
                return resume.max(start + 1);
            }
        }
        start + 1
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
            Rule::PemBegin => self.pem_begin(end),
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
}
