//! What stands where a secret could be and is none: placeholders, references, types, code, paths.

use crate::MARK;
use crate::keys::{is_secret_key, last_word as last};
use crate::text::{CharacterClasses, is_identifier, is_listed};

/// What follows `key=` and says that there is no secret, how it is, or that code follows.
const ABSENT: &[&str] = &[
    "absent",
    "active",
    "await",
    "blank",
    "cached",
    "changed",
    "cleared",
    "configured",
    "deleted",
    "denied",
    "disabled",
    "empty",
    "enabled",
    "encrypted",
    "error",
    "exists",
    "expired",
    "expiring",
    "failed",
    "false",
    "filtered",
    "found",
    "fresh",
    "granted",
    "hidden",
    "ignored",
    "inactive",
    "invalid",
    "lambda",
    "loaded",
    "locked",
    "masked",
    "mismatch",
    "missing",
    "n/a",
    "na",
    "new",
    "nil",
    "no",
    "none",
    "not",
    "not_found",
    "not_set",
    "notfound",
    "null",
    "nullptr",
    "ok",
    "omitted",
    "optional",
    "pending",
    "present",
    "protected",
    "provided",
    "redacted",
    "refreshed",
    "rejected",
    "removed",
    "renewed",
    "required",
    "reset",
    "revoked",
    "rotated",
    "sanitized",
    "scrubbed",
    "set",
    "skipped",
    "stale",
    "str",
    "true",
    "unchanged",
    "undefined",
    "unknown",
    "unset",
    "updated",
    "valid",
    "verified",
    "yes",
];

/// Types of columns, fields and arguments.
const TYPES: &[&str] = &[
    "any",
    "bigint",
    "binary",
    "blob",
    "bool",
    "boolean",
    "bytea",
    "bytearray",
    "bytes",
    "char",
    "character",
    "clob",
    "const",
    "double",
    "dyn",
    "float",
    "i16",
    "i32",
    "i64",
    "i8",
    "impl",
    "int",
    "integer",
    "isize",
    "list",
    "long",
    "longtext",
    "mediumtext",
    "mut",
    "nchar",
    "number",
    "numeric",
    "nvarchar",
    "nvarchar2",
    "object",
    "option",
    "optional",
    "raw",
    "secretstr",
    "self",
    "smallint",
    "static",
    "str",
    "string",
    "text",
    "timestamp",
    "tinytext",
    "tuple",
    "u128",
    "u16",
    "u32",
    "u64",
    "u8",
    "union",
    "unsigned",
    "usize",
    "uuid",
    "varbinary",
    "varchar",
    "varchar2",
    "vec",
    "void",
];

/// Objects whose attributes are code, not text: `password=self.password`.
const OBJECTS: &[&str] = &[
    "args", "cfg", "cls", "conf", "config", "ctx", "env", "environ", "kwargs", "options", "opts", "os", "params",
    "process", "props", "req", "request", "self", "settings", "system", "this",
];

/// How references to a place where the secret is begin.
const REFERENCES: &[&str] = &[
    "$(",
    "$env:",
    "!ref",
    "!sub",
    "!vault",
    "@microsoft.keyvault(",
    "akv:",
    "arn:aws",
    "awssm:",
    "enc[",
    "env:",
    "file:",
    "gcpsm:",
    "keyring:",
    "op://",
    "projects/",
    "ref+",
    "secretref:",
    "sm://",
    "ssm:",
    "vault:",
];

/// Whether the value says that there is none.
pub(crate) fn is_absent(value: &[u8]) -> bool {
    let end = value.iter().rposition(|byte| !matches!(byte, b'.' | b',' | b';' | b'!' | b'?' | b':'));
    end.is_none_or(|end| is_listed(&value[..=end], ABSENT))
}

/// Whether a value stands for a secret without being one: `***`, `<password>`, `${TOKEN}`, `%s`, `:pw`, `op://...`.
pub(crate) fn is_placeholder(value: &[u8]) -> bool {
    let named =
        |name: &[u8]| !name.is_empty() && name.iter().all(|&byte| is_identifier(byte) || matches!(byte, b'.' | b' '));
    match value {
        b"..." | b"%s" | b"%r" | b"%d" | b"%v" | b"%q" | b"{}" | b"{!r}" | b"?" | b"-" | b"$$" => true,
        [b'<', name @ .., b'>'] | [b'{', name @ .., b'}'] if named(name) => !CharacterClasses::of(name).is_mixed(),
        [b'$' | b'#', b'{', name @ .., b'}']
        | [b'{', b'{', name @ .., b'}', b'}']
        | [b'%', b'(', name @ .., b')', b's']
            if named(name) =>
        {
            true
        }
        [b'[', name @ .., b']'] | [b'(', name @ .., b')'] if is_absent(name) || is_name_of_secret(name) => true,
        [b'@', b'@', name @ .., b'@', b'@'] | [b'_', b'_', name @ .., b'_', b'_'] | [b'%', name @ .., b'%'] => {
            named(name)
        }
        // `$1`, `?1`, `:1` of statements that are given their values.
        [b'$' | b'?' | b':' | b'%', digits @ ..] if !digits.is_empty() && digits.iter().all(u8::is_ascii_digit) => {
            digits.len() < 3
        }
        [b':', name @ ..] if name.first().is_some_and(u8::is_ascii_lowercase) => {
            name.iter().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || *byte == b'_')
        }
        [b'@', b'p' | b'P', digits @ ..] if digits.iter().all(u8::is_ascii_digit) => true,
        [b'@', name @ ..] if named(name) => std::str::from_utf8(name).is_ok_and(is_secret_key),
        // `$ecret` is a password, `$DB_PASSWORD` and `$password` are names of variables.
        [b'$', name @ ..] if named(name) => {
            name.len() > 2
                && name.iter().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || *byte == b'_')
                && name[0].is_ascii_uppercase()
                || std::str::from_utf8(name).is_ok_and(is_secret_key)
        }
        _ => {
            value.starts_with(MARK.as_bytes())
                || is_mask(value)
                || is_instruction(value)
                || is_reference(value)
                || is_template(value)
        }
    }
}

/// `****`, `xxxx`, `****1234`, `••••`
fn is_mask(value: &[u8]) -> bool {
    let Some(&first) = value.first() else { return true };
    let is_run = value.iter().all(|&byte| byte == first);
    if is_run && (first == b'*' || value.len() > 2 && matches!(first, b'x' | b'X' | b'#' | b'.' | b'-' | b'_')) {
        return true;
    }
    let shown = value.iter().filter(|byte| **byte != b'*').count();
    value.chunks(3).all(|sign| sign == "•".as_bytes()) || value.windows(3).any(|three| three == b"***") && shown <= 4
}

/// `{host}:{port}`, `{attrs[2]}`: nothing but what is filled in, and signs.
fn is_template(value: &[u8]) -> bool {
    let mut depth = 0_usize;
    let mut any = false;
    for &byte in value {
        match byte {
            b'{' => (depth, any) = (depth + 1, true),
            b'}' if depth == 0 => return false,
            b'}' => depth -= 1,
            _ if depth == 0 && byte.is_ascii_alphanumeric() => return false,
            b' ' | b';' | b'"' => return false,
            _ => {}
        }
    }
    any && depth == 0 && value.iter().filter(|byte| byte.is_ascii_digit()).count() < 3
}

/// `your-api-key`, `<insert token>`, `REPLACE_ME`
fn is_instruction(value: &[u8]) -> bool {
    let head = value.iter().position(|byte| matches!(byte, b'-' | b'_' | b' '));
    head.is_some_and(|end| is_listed(&value[..end], &["enter", "insert", "my", "replace", "your"]))
        && value.iter().all(|byte| byte.is_ascii_alphabetic() || matches!(byte, b'-' | b'_' | b' '))
}

/// `op://vault/item`, `arn:aws:secretsmanager:...`, `$(cat file)`
pub(crate) fn is_reference(value: &[u8]) -> bool {
    REFERENCES
        .iter()
        .any(|begin| value.len() >= begin.len() && value[..begin.len()].eq_ignore_ascii_case(begin.as_bytes()))
}

/// Whether a value is a type: `VARCHAR(255)`, `Option<String>`, `text`.
pub(crate) fn is_type(value: &[u8]) -> bool {
    let value = value.strip_prefix(b"&").or(value.strip_prefix(b"*")).unwrap_or(value);
    let end = value.iter().position(|byte| !(byte.is_ascii_alphanumeric() || *byte == b'.')).unwrap_or(value.len());
    let word = value[..end].rsplit(|&byte| byte == b'.').next().unwrap_or(value);
    let is_closed = matches!(
        &value[end..],
        [] | [b',' | b';' | b'?' | b'|' | b'=' | b')'] | [b'(' | b'<' | b'[', ..] | [b')', b',' | b';' | b':', ..]
    );
    is_closed && is_listed(word, TYPES)
}

/// Whether an unquoted value is an expression: `self.password`, `os.environ["PASSWORD"]`, `next(tokens)`.
///
/// Lines of source stand in every traceback. What has digits or begins with a capital is no such name here, unless it
/// is that of an object that everybody knows.
pub(crate) fn is_code(key: &[u8], value: &[u8], may_be_same: bool) -> bool {
    let plain = value.strip_prefix(b"&").or(value.strip_prefix(b"*")).unwrap_or(value);
    let is_pointer = plain.len() < value.len();
    let value = plain;
    let name = value.iter().position(|byte| !(byte.is_ascii_alphabetic() || matches!(byte, b'_' | b'.')));
    let (name, rest) = value.split_at(name.unwrap_or(value.len()));
    let mut parts = name.split(|&byte| byte == b'.');
    let first = parts.next().unwrap_or(name);
    let last = parts.next_back();
    let of_object = last.is_some() && is_listed(first, OBJECTS);
    match rest {
        [] | [b',' | b')' | b';' | b':' | b'}', ..] => {
            // `token = u.token`, `password=db_password`, `(password=password)`
            let of_name = last.is_some_and(is_name_of_secret) && !first.is_empty();
            let is_name = (is_pointer || name.contains(&b'_')) && is_name_of_secret(name);
            let is_same = may_be_same || matches!(rest, [b',' | b')', ..]);
            let is_path = last.is_some()
                && rest.is_empty()
                && name.split(|&byte| byte == b'.').all(|part| part.len() > 1 && part[0].is_ascii_uppercase());
            let key = key.strip_prefix(b"_").unwrap_or(key);
            let is_member = last.is_some_and(|last| last.contains(&b'_'))
                && name.iter().all(|&byte| byte.is_ascii_lowercase() || matches!(byte, b'_' | b'.'));
            is_path
                || is_member
                || value == b"DEFAULT"
                || of_object
                || of_name
                || is_name
                || is_same && name.eq_ignore_ascii_case(key)
        }
        [open @ (b'(' | b'['), after, ..] => {
            let is_known = of_object || is_listed(first, OBJECTS);
            let is_lower = name.first().is_some_and(|first| first.is_ascii_lowercase() || *first == b'_');
            let is_upper = name.len() > 2 && name.iter().all(u8::is_ascii_uppercase);
            let begins = match after {
                b')' | b'_' | b'a'..=b'z' | b'$' | b':' | b'@' | b'?' | b'[' => {
                    is_known || is_lower || is_upper || name.len() > 2
                }
                b'A'..=b'Z' => name.len() > 2 && name[1..].iter().any(u8::is_ascii_lowercase),
                // What is made from a literal is one: `encrypt('x')`. What is looked up by one is none.
                b'"' | b'\'' => {
                    let word = rest[2..].split(|byte| byte == after).next().unwrap_or(b"");
                    is_known
                        || is_lower
                            && (*open == b'['
                                || looks_up(name)
                                || is_name_of_secret(first)
                                || last.is_some_and(|last| !makes(last)))
                        || is_name_of_secret(word)
                }
                b'0'..=b'9' => {
                    *open == b'[' || last.is_some() || name.contains(&b'_') || name.eq_ignore_ascii_case(key)
                }
                _ => false,
            };
            begins || rest[1..].starts_with(MARK.as_bytes()) && (is_known || is_lower)
        }
        [b'(' | b'['] => last.is_some(),
        _ => false,
    }
}

/// `rand(32)`, `vec![0u8; 32]`, `sha256(data)`: what is made of numbers, or of something by a name with numbers in it.
pub(crate) fn is_call(value: &[u8]) -> bool {
    let name = value.iter().position(|byte| !(is_identifier(*byte) || matches!(byte, b'.' | b':' | b'!')));
    let Some((name, rest)) = name.map(|end| value.split_at(end)) else { return false };
    let is_name = name.first().is_some_and(u8::is_ascii_alphabetic) && !name.contains(&b'-');
    let [b'(' | b'[', inside @ ..] = rest else { return false };
    let word = inside.iter().position(|byte| !byte.is_ascii_alphanumeric()).unwrap_or(inside.len());
    let is_over = matches!(inside.get(word), None | Some(b')' | b']' | b',' | b';' | b'.'));
    let is_number = inside.first().is_some_and(u8::is_ascii_digit) && word <= 5 && !name.iter().any(u8::is_ascii_digit);
    let is_lower =
        |word: &[u8]| word.first().is_some_and(u8::is_ascii_lowercase) && !word.iter().any(u8::is_ascii_uppercase);
    is_name && is_over && (is_number || is_lower(name) && is_lower(&inside[..word]))
}

/// Whether a call of this name finds what it is asked for.
fn looks_up(name: &[u8]) -> bool {
    const WORDS: &[&str] = &[
        "ask",
        "attr",
        "config",
        "cookie",
        "create",
        "env",
        "fetch",
        "find",
        "form",
        "generate",
        "get",
        "getattr",
        "getenv",
        "getpass",
        "header",
        "input",
        "load",
        "lookup",
        "new",
        "next",
        "param",
        "parameter",
        "pop",
        "prompt",
        "property",
        "read",
        "require",
        "resolve",
        "secret",
        "setting",
        "var",
    ];
    std::str::from_utf8(name).is_ok_and(|name| crate::keys::any_word(name, |word| is_listed(word.as_bytes(), WORDS)))
}

/// Whether a method of this name makes something of a literal: `bcrypt.hash("x")`.
fn makes(name: &[u8]) -> bool {
    const WORDS: &[&str] = &[
        "b64",
        "b64encode",
        "base64",
        "bytes",
        "crypt",
        "digest",
        "encode",
        "encrypt",
        "escape",
        "from",
        "hash",
        "hashpw",
        "hmac",
        "md5",
        "of",
        "pack",
        "passwd",
        "password",
        "quote",
        "secret",
        "sha1",
        "sha256",
        "str",
        "string",
        "text",
        "unquote",
        "wrap",
    ];
    std::str::from_utf8(name).is_ok_and(|name| crate::keys::any_word(name, |word| is_listed(word.as_bytes(), WORDS)))
}

/// `CancellationToken`, `UserPassword`: a type in the code of whoever has it.
pub(crate) fn is_class(name: &[u8], value: &[u8]) -> bool {
    let value = value.strip_suffix(b",").or(value.strip_suffix(b";")).unwrap_or(value);
    let is_camel = value.first().is_some_and(u8::is_ascii_uppercase)
        && value.iter().any(u8::is_ascii_lowercase)
        && value.iter().all(u8::is_ascii_alphabetic);
    let humps = value.iter().filter(|byte| byte.is_ascii_uppercase()).count();
    let ends = [&b"Credentials"[..], b"Key", b"Password", b"Secret", b"Token"];
    is_camel && (value.eq_ignore_ascii_case(name) || humps > 1 && ends.iter().any(|end| value.ends_with(end)))
}

/// `PASSWORD_FILE`, `password`
pub(crate) fn has_secret_word(value: &[u8]) -> bool {
    value.split(|&byte| byte == b'_').any(is_name_of_secret)
}

fn is_name_of_secret(word: &[u8]) -> bool {
    std::str::from_utf8(word).is_ok_and(is_secret_key)
}

/// Whether this could be the name of a column or a field: `username`, `last_login`.
pub(crate) fn is_name(word: &[u8]) -> bool {
    let is_plain = !word.is_empty() && word.iter().all(|byte| byte.is_ascii_lowercase() || *byte == b'_');
    is_plain || std::str::from_utf8(word).is_ok_and(is_value_a_name)
}

/// Whether a value under the name of a secret is such a name itself. One with a digit is none, even if its letters are
/// those of one: `a0000PW0`.
pub fn is_value_a_name(value: &str) -> bool {
    is_secret_key(value) && !value.bytes().any(|byte| byte.is_ascii_digit())
}

/// Whether a name ends in a word for password, which has no other sense as `token` and `key` have.
pub(crate) fn is_password_name(name: &[u8]) -> bool {
    let name = std::str::from_utf8(name).unwrap_or("");
    matches!(last(name), "password" | "passwd" | "passphrase" | "pwd" | "passcode")
}

/// The word that decides what a name names, if it is one of those that have rules of their own.
pub(crate) fn last_word(name: &str) -> &'static str {
    last(name)
}

/// `tls_key=/etc/tls/tls.key`: the name of a file under the name of a key.
pub(crate) fn is_file_of_key(name: &[u8], value: &[u8]) -> bool {
    let is_key = name.len() >= 3 && name[name.len() - 3..].eq_ignore_ascii_case(b"key");
    let is_path = value.starts_with(b"/")
        || value.starts_with(b"./")
        || value.starts_with(b"~/")
        || value.get(1..3) == Some(b":\\");
    let is_file = value
        .rsplit(|&byte| byte == b'.')
        .next()
        .is_some_and(|end| is_listed(end, &["crt", "jks", "key", "p12", "pem", "pfx", "txt"]));
    is_key && is_path && (is_file || value.starts_with(b"/run/") || value.starts_with(b"/etc/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lists_are_in_order() {
        for list in [ABSENT, TYPES, OBJECTS] {
            for pair in list.windows(2) {
                assert!(pair[0] < pair[1], "{pair:?}");
            }
        }
    }
}
