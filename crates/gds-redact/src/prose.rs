//! What may follow a word such as "password" without being one: people write about secrets, too.

use crate::text::{Made, is_one_of};

/// Longest word that is looked up.
const MAX_WORD: usize = 20;

/// What follows `key=` and says that there is no secret, or that code follows.
const ABSENT: &[&str] = &[
    "await",
    "disabled",
    "empty",
    "enabled",
    "false",
    "lambda",
    "missing",
    "new",
    "nil",
    "no",
    "none",
    "not",
    "null",
    "redacted",
    "true",
    "undefined",
    "yes",
];

/// What follows `password: ` or `--password ` in a sentence or a type.
const SAID: &[&str] = &[
    "a",
    "above",
    "absent",
    "accepted",
    "added",
    "after",
    "all",
    "already",
    "an",
    "and",
    "any",
    "are",
    "argument",
    "as",
    "at",
    "await",
    "be",
    "because",
    "before",
    "below",
    "bytes",
    "can",
    "cannot",
    "change",
    "changed",
    "check",
    "cleared",
    "contains",
    "could",
    "created",
    "default",
    "deleted",
    "denied",
    "deprecated",
    "disabled",
    "do",
    "does",
    "don't",
    "done",
    "empty",
    "enabled",
    "ends",
    "error",
    "exceeded",
    "expected",
    "expired",
    "expires",
    "failed",
    "failure",
    "false",
    "field",
    "flag",
    "for",
    "forbidden",
    "found",
    "from",
    "granted",
    "has",
    "have",
    "here",
    "if",
    "ignored",
    "illegal",
    "in",
    "incorrect",
    "int",
    "invalid",
    "is",
    "it",
    "its",
    "length",
    "less",
    "loaded",
    "locked",
    "malformed",
    "may",
    "mismatch",
    "missing",
    "more",
    "must",
    "need",
    "needs",
    "never",
    "new",
    "nil",
    "no",
    "none",
    "not",
    "null",
    "object",
    "of",
    "off",
    "ok",
    "on",
    "only",
    "option",
    "optional",
    "or",
    "parameter",
    "passed",
    "pending",
    "please",
    "present",
    "read",
    "redacted",
    "refreshed",
    "refused",
    "rejected",
    "removed",
    "renewed",
    "required",
    "reset",
    "revoked",
    "rotated",
    "rotation",
    "saved",
    "secretstr",
    "see",
    "sent",
    "set",
    "should",
    "skipped",
    "some",
    "stored",
    "str",
    "string",
    "succeeded",
    "success",
    "supplied",
    "that",
    "the",
    "this",
    "to",
    "too",
    "true",
    "type",
    "unauthorized",
    "undefined",
    "unexpected",
    "unknown",
    "unset",
    "unsupported",
    "unused",
    "updated",
    "use",
    "used",
    "valid",
    "verified",
    "via",
    "was",
    "we",
    "were",
    "when",
    "where",
    "which",
    "will",
    "with",
    "without",
    "wrong",
    "yes",
    "you",
    "your",
];

/// Objects whose attributes are code, not text: `password=self.password`.
const OBJECTS: &[&str] =
    &["args", "cfg", "cls", "conf", "config", "env", "kwargs", "options", "os", "self", "settings"];

/// Whether the value says that there is none.
pub(crate) fn is_absent(value: &[u8]) -> bool {
    is_listed(value, ABSENT)
}

/// Whether a word after a colon goes on with a sentence.
pub(crate) fn is_said(value: &[u8]) -> bool {
    let word = value.strip_suffix(b"]").unwrap_or(value);
    let word = word.split(|byte| matches!(byte, b'[' | b'(')).next().unwrap_or(word);
    // `token: 5`, `password: 12 characters`: three digits open nothing.
    word.len() <= 3 && word.iter().all(u8::is_ascii_digit) || is_listed(word, SAID) || is_listed(value, SAID)
}

fn is_listed(word: &[u8], list: &[&str]) -> bool {
    let end = word.iter().rposition(|byte| !matches!(byte, b'.' | b',' | b';' | b'!' | b'?' | b':'));
    let Some(word) = end.map(|end| &word[..=end]).filter(|word| word.len() <= MAX_WORD) else { return word.is_empty() };
    let mut lower = [0; MAX_WORD];
    let lower = &mut lower[..word.len()];
    lower.copy_from_slice(word);
    lower.make_ascii_lowercase();
    std::str::from_utf8(lower).is_ok_and(|word| is_one_of(word, list))
}

/// Whether a value stands for a secret without being one: `***`, `<password>`, `${TOKEN}`, `%s`, `{password}`.
pub(crate) fn is_placeholder(value: &[u8]) -> bool {
    let named = |name: &[u8]| {
        !name.is_empty()
            && name.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.' | b' '))
    };
    match value {
        b"..." | b"%s" | b"%r" | b"%d" | b"{}" | b"{!r}" | b"?" | b"-" => true,
        [b'<', name @ .., b'>']
        | [b'$', b'{', name @ .., b'}']
        | [b'{', b'{', name @ .., b'}', b'}']
        | [b'{', name @ .., b'}']
        | [b'%', b'(', name @ .., b')', b's'] => named(name),
        // `$ecret` is a password, `$DB_PASSWORD` is the name of a variable.
        [b'$', name @ ..] => {
            name.len() > 2 && name.iter().all(|byte| byte.is_ascii_uppercase() || matches!(byte, b'_'))
        }
        _ => value.starts_with(crate::MARK.as_bytes()) || value.iter().all(|byte| matches!(byte, b'*')),
    }
}

/// Whether an unquoted value is an expression: `self.password`, `os.environ["PASSWORD"]`, `next(tokens)`.
///
/// Lines of source stand in every traceback. What has digits or begins with a capital is no such name here.
pub(crate) fn is_code(value: &[u8]) -> bool {
    let name = value.iter().position(|byte| !(byte.is_ascii_alphabetic() || matches!(byte, b'_' | b'.')));
    let (name, rest) = value.split_at(name.unwrap_or(value.len()));
    let first = name.split(|&byte| byte == b'.').next().unwrap_or(name);
    let of_object = first.len() < name.len() && is_listed(first, OBJECTS);
    match rest {
        [] | [b',' | b')', ..] => of_object,
        [b'(' | b'[', after, ..] => {
            let is_mark = rest[1..].starts_with(crate::MARK.as_bytes());
            let begins = is_mark || matches!(after, b')' | b'"' | b'\'' | b'_' | b'a'..=b'z');
            begins && name.first().is_some_and(|first| first.is_ascii_lowercase() || *first == b'_')
        }
        _ => false,
    }
}

/// Whether a word after "password " is one, and not the next word of a sentence: `hunter2`, `s3cr3t!`.
pub(crate) fn is_password(word: &[u8]) -> bool {
    let made = Made::of(word);
    let symbols = word.iter().any(|byte| matches!(byte, b'!' | b'@' | b'#' | b'$' | b'%' | b'^' | b'&' | b'*'));
    let algorithm = [&b"sha"[..], b"md5", b"bcrypt", b"argon2", b"pbkdf2", b"scrypt", b"base64", b"utf", b"scram"];
    let known = algorithm.iter().any(|name| word.len() >= name.len() && word[..name.len()].eq_ignore_ascii_case(name));
    word.len() >= 6
        && made.letters() > 0
        && (made.digits > 0 || symbols)
        && !known
        && !word.contains(&b'/')
        && !is_placeholder(word)
}

/// Whether a word after "token " is one: long, and of letters and digits as only chance mixes them.
pub(crate) fn is_token(word: &[u8]) -> bool {
    let made = Made::of(word);
    word.len() >= 16 && made.digits >= 2 && made.letters() > 0 && made.other == 0
}

/// Whether a word after "Bearer " is a credential (RFC 6750) and not the next word of a sentence.
pub(crate) fn is_bearer(word: &[u8]) -> bool {
    let made = Made::of(word);
    word.len() >= 8 && (made.digits > 0 || made.turns > 0 || word.len() >= 20) && !is_placeholder(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lists_are_in_order() {
        assert!(ABSENT.is_sorted());
        for pair in SAID.windows(2) {
            assert!(pair[0] < pair[1], "{pair:?}");
        }
        assert!(OBJECTS.is_sorted());
    }
}
