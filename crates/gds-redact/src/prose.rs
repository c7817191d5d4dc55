//! What may follow a word such as "password" without being one: people write about secrets, too.

use std::sync::LazyLock;

use crate::text::{CharacterClasses, is_listed};
use crate::values::is_placeholder;

/// What follows `password: ` or `--password ` in a sentence or a type.
static SAID: LazyLock<Vec<&str>> = LazyLock::new(|| include_str!("said.txt").split_whitespace().collect());

/// Whether a word after a colon goes on with a sentence.
pub(crate) fn is_said(value: &[u8]) -> bool {
    let word = value.strip_suffix(b"]").unwrap_or(value);
    let word = word.split(|byte| matches!(byte, b'[' | b'(')).next().unwrap_or(word);
    // `token: 5`, `password: 12 characters`: three digits open nothing.
    word.len() <= 3 && word.iter().all(u8::is_ascii_digit) || is_word_of(word, &SAID) || is_word_of(value, &SAID)
}

/// A word of a sentence, without the sign behind it.
fn is_word_of(word: &[u8], list: &[&str]) -> bool {
    let end = word.iter().rposition(|byte| !matches!(byte, b'.' | b',' | b';' | b'!' | b'?' | b':'));
    end.is_none_or(|end| is_listed(&word[..=end], list))
}

/// Words before a name that a sentence is about: `Reset password: link sent`.
const ABOUT: &[&str] = &[
    "about",
    "change",
    "changed",
    "changing",
    "check",
    "confirm",
    "create",
    "created",
    "enter",
    "expired",
    "forget",
    "forgot",
    "forgotten",
    "invalid",
    "issue",
    "issued",
    "lost",
    "missing",
    "no",
    "one-time",
    "recover",
    "refresh",
    "refreshed",
    "renew",
    "request",
    "requested",
    "reset",
    "resetting",
    "revoke",
    "revoked",
    "rotate",
    "rotated",
    "rotating",
    "set",
    "temporary",
    "the",
    "this",
    "unexpected",
    "unknown",
    "update",
    "updated",
    "updating",
    "validate",
    "verify",
    "weak",
    "your",
];

/// Whether a name after this word is what is spoken about.
pub(crate) fn is_about(before: &[u8]) -> bool {
    is_listed(before, ABOUT)
}

/// Whether a token after this word is one of a text that is parsed.
pub(crate) fn is_of_parser(before: &[u8]) -> bool {
    const WORDS: &[&str] = &[
        "bad",
        "close",
        "current",
        "end",
        "expected",
        "first",
        "illegal",
        "invalid",
        "last",
        "lookahead",
        "misplaced",
        "next",
        "offending",
        "open",
        "parse",
        "peek",
        "previous",
        "stray",
        "syntax",
        "unexpected",
        "unknown",
        "unmatched",
        "unrecognized",
    ];
    is_listed(before, WORDS)
}

/// Schemes of an `Authorization` header by their names; others are known by what follows.
pub(crate) fn is_scheme(word: &[u8]) -> bool {
    const SCHEMES: &[&str] = &[
        "apikey",
        "apitoken",
        "aws",
        "aws4-hmac-sha256",
        "basic",
        "bearer",
        "bot",
        "cloudapi",
        "digest",
        "dpop",
        "geniekey",
        "genie",
        "glc",
        "hawk",
        "hmac-sha256",
        "key",
        "negotiate",
        "nrak",
        "ntlm",
        "oauth",
        "scram-sha-256",
        "sharedaccesssignature",
        "sharedkey",
        "signature",
        "snowflake",
        "splunk",
        "ssws",
        "token",
    ];
    SCHEMES.iter().any(|scheme| {
        let plain = word.iter().filter(|byte| **byte != b'-').map(u8::to_ascii_lowercase);
        word.eq_ignore_ascii_case(scheme.as_bytes()) || !scheme.contains('-') && plain.eq(scheme.bytes())
    })
}

/// What follows `Bearer` and `Basic` where no credential does.
pub(crate) fn is_scheme_word(word: &[u8]) -> bool {
    is_listed(word, &["authentication", "authorization", "token"])
}

/// Whether a text is a sentence and no password: words with spaces in between, or what asks for something.
pub(crate) fn is_sentence(text: &[u8]) -> bool {
    let mut words = text.split(|&byte| byte == b' ').filter(|word| !word.is_empty());
    let first = words.next().unwrap_or(b"");
    text.ends_with(b": ")
        || text.ends_with(b":")
        || words.next().is_some() && is_said(first)
        || is_word_of(first, PROMPTS) && text.contains(&b' ')
}

/// Whether an object under the name of a secret says what it must look like: `{"type": "string", "minLength": 8}`.
pub(crate) fn is_of_schema(first: &[u8], content: &[u8]) -> bool {
    const WORDS: &[&str] = &[
        "code",
        "description",
        "error",
        "errors",
        "format",
        "max",
        "maxlength",
        "message",
        "min",
        "minlength",
        "nullable",
        "optional",
        "pattern",
        "readonly",
        "required",
        "rules",
        "title",
        "type",
        "validators",
        "writeonly",
    ];
    let has_value =
        ["alue", "ault", "data", "pass"].iter().any(|word| content.windows(4).any(|four| four == word.as_bytes()));
    is_listed(first, WORDS) && !has_value
}

/// First words of what asks for a password.
const PROMPTS: &[&str] = &["confirm", "enter", "input", "password", "please", "repeat", "retype", "type"];

/// Whether a word after "password " is one, and not the next word of a sentence: `hunter2`, `s3cr3t!`.
pub(crate) fn is_password(word: &[u8]) -> bool {
    let made = CharacterClasses::of(word);
    let symbols = word.iter().any(|byte| matches!(byte, b'!' | b'@' | b'#' | b'$' | b'%' | b'^' | b'&' | b'*'));
    let algorithm = [&b"sha"[..], b"md5", b"bcrypt", b"argon2", b"pbkdf2", b"scrypt", b"base64", b"utf", b"scram"];
    let known = algorithm.iter().any(|name| word.len() >= name.len() && word[..name.len()].eq_ignore_ascii_case(name));
    word.len() >= 6
        && made.letters() > 0
        && (made.digits > 0 || symbols)
        && !known
        && !word.contains(&b'/')
        && !word.starts_with(b"<")
        && !is_placeholder(word)
}

/// Whether a word is one of a language that is parsed: `then`, `END_IF`.
pub(crate) fn is_keyword(word: &[u8]) -> bool {
    word.len() <= 12 && word.iter().all(|byte| byte.is_ascii_alphabetic() || *byte == b'_')
}

/// Whether a word without quotes is text and no name in code: long, and mixed as only chance does.
pub(crate) fn is_literal(word: &[u8]) -> bool {
    word.len() >= 8 && (is_token(word) || CharacterClasses::of(word).is_mixed())
}

/// Whether a word after "token " is one: long, and of letters and digits as only chance mixes them.
pub(crate) fn is_token(word: &[u8]) -> bool {
    let made = CharacterClasses::of(word);
    word.len() >= 16 && made.digits >= 2 && made.letters() > 0 && made.other == 0
}

/// Whether a word after "Bearer " is a credential (RFC 6750) and not the next word of a sentence.
pub(crate) fn is_bearer(word: &[u8]) -> bool {
    let made = CharacterClasses::of(word);
    word.len() >= 8 && (made.digits > 0 || made.turns > 0 || word.len() >= 20) && !is_placeholder(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lists_are_in_order() {
        assert!(ABOUT.is_sorted() && PROMPTS.is_sorted());
        for pair in SAID.windows(2) {
            assert!(pair[0] < pair[1], "{pair:?}");
        }
    }
}
