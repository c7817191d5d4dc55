//! Which names are those of secrets.
//!
//! A name is split into words, and the last one decides what it names: `db_password` and `passwordOld` name a password,
//! `password_policy` a policy, `secret_path` a path, `token_count` a count.

use crate::fingerprint::Fingerprints;
use crate::text::is_one_of;

/// Longest part of a name that is looked at: its end, where the deciding words are.
const MAX_NAME: usize = 96;

/// Words that say nothing about what a name stands for, at its end: `password_new`, `tokenValue`, `secret2`.
const NEUTRAL: &[&str] = &[
    "again",
    "b64",
    "base",
    "binary",
    "bytes",
    "clear",
    "cleartext",
    "confirm",
    "confirmation",
    "current",
    "data",
    "decrypted",
    "default",
    "digest",
    "encoded",
    "encrypted",
    "env",
    "hash",
    "hex",
    "json",
    "new",
    "old",
    "override",
    "plain",
    "plaintext",
    "prev",
    "previous",
    "raw",
    "repeat",
    "str",
    "string",
    "temp",
    "text",
    "tmp",
    "value",
];

/// First words of switches and counts: `has_password`, `max_token`.
const SWITCH: &[&str] = &[
    "allow", "are", "can", "check", "count", "did", "disable", "does", "enable", "expect", "get", "has", "hide", "is",
    "mask", "max", "min", "n", "need", "needs", "no", "num", "optional", "require", "requires", "should", "show",
    "total", "use", "validate", "was", "without",
];

/// Words that are secrets by themselves.
const SECRET: &[&str] = &[
    "accesstoken",
    "adminpass",
    "apikeys",
    "apitoken",
    "authorization",
    "bearer",
    "bindpass",
    "contrasena",
    "contrasenya",
    "cookie",
    "cookies",
    "cred",
    "credential",
    "credentials",
    "creds",
    "dbpass",
    "ftppass",
    "hmackey",
    "jwt",
    "kennwort",
    "keypass",
    "loginpass",
    "masterauth",
    "motdepasse",
    "mysqlpass",
    "passcode",
    "passkey",
    "passphrase",
    "passphrases",
    "passwds",
    "passwords",
    "passwort",
    "pgpass",
    "privkey",
    "psw",
    "pswd",
    "pw",
    "pws",
    "rediscliauth",
    "requirepass",
    "rootpass",
    "rootpw",
    "secret",
    "secrets",
    "senha",
    "signingsecret",
    "smtppass",
    "sqlpass",
    "sshkey",
    "sshpass",
    "storepass",
    "token",
    "userpass",
    "wachtwoord",
];

/// Ends of words written without a separator: `dbpassword`, `PGPASSWORD`, `authtoken`, `clientsecret`.
const SECRET_END: &[&str] = &[
    "accesskey",
    "accountkey",
    "apikey",
    "appkey",
    "clientkey",
    "credentials",
    "encryptionkey",
    "masterkey",
    "passphrase",
    "passwd",
    "password",
    "privatekey",
    "pw",
    "pwd",
    "secret",
    "secretkey",
    "sharedkey",
    "signingkey",
    "sshkey",
    "subscriptionkey",
    "token",
];

/// What comes before `key` where the key is one that locks; `partition_key` and `cache_key` are none.
const KEY_OF: &[&str] = &[
    "access",
    "account",
    "admin",
    "aes",
    "anthropic",
    "api",
    "app",
    "application",
    "auth",
    "aws",
    "azure",
    "client",
    "consumer",
    "cosmos",
    "cosmosdb",
    "crypto",
    "csrf",
    "datadog",
    "dd",
    "decryption",
    "deploy",
    "encryption",
    "fernet",
    "functions",
    "gcp",
    "gemini",
    "github",
    "gitlab",
    "gpg",
    "hmac",
    "instrumentation",
    "integration",
    "jwt",
    "license",
    "mailgun",
    "master",
    "openai",
    "pagerduty",
    "pem",
    "pgp",
    "private",
    "recovery",
    "rsa",
    "sas",
    "secret",
    "sendgrid",
    "service",
    "session",
    "shared",
    "signing",
    "snowflake",
    "splunk",
    "ssh",
    "storage",
    "stripe",
    "subscription",
    "sumologic",
    "tls",
    "twilio",
    "unseal",
    "vault",
    "wallet",
    "webhook",
    "wireguard",
    "x509",
];

/// What comes before `pass` where it is a run or a result and not short for password.
const HARMLESS_PASS: &[&str] = &[
    "all", "allow", "band", "boarding", "by", "check", "checks", "compiler", "dual", "each", "final", "first",
    "forward", "full", "gc", "high", "last", "low", "multi", "next", "num", "one", "per", "render", "second", "single",
    "target", "test", "tests", "third", "total", "two", "vacuum",
];

/// Tokens that open nothing: cursors of lists, and the pieces of text that language models count.
const HARMLESS_TOKEN: &[&str] = &[
    "accept",
    "begin",
    "bos",
    "bracket",
    "cancellation",
    "close",
    "cls",
    "comma",
    "continuation",
    "cursor",
    "delta",
    "end",
    "eos",
    "expected",
    "fencing",
    "first",
    "literal",
    "lookahead",
    "marker",
    "mask",
    "next",
    "open",
    "operator",
    "pad",
    "page",
    "pagination",
    "prompt",
    "punctuation",
    "resume",
    "sep",
    "separator",
    "special",
    "start",
    "stop",
    "symbol",
    "sync",
    "syntax",
    "unexpected",
    "unk",
    "zookie",
];

/// What makes `tokens` ones that open something; a bare `tokens` is a number of them.
const TOKENS_OF: &[&str] = &["access", "api", "auth", "bearer", "id", "refresh", "session", "vault"];

/// What makes `auth` a user with a password.
const AUTH_OF: &[&str] = &["basic", "docker", "http", "npm", "proxy", "rediscli", "smtp"];

/// What every name of a secret has in it.
static STEMS: Fingerprints<16> = Fingerprints::of(&[
    "auth",
    "bearer",
    "cookie",
    "cred",
    "jwt",
    "kennwort",
    "key",
    "pass",
    "psw",
    "pw",
    "secret",
    "signature",
    "token",
    "senha",
    "contrasen",
    "wachtwoord",
]);

/// Whether what stands under this name is a secret, whatever it looks like.
///
/// In any case and spelling: `password`, `db_password`, `dbPassword`, `X-Api-Key`, `PGPASSWORD`. Not secret are names
/// *about* secrets (`token_count`, `password_policy`, `secret_name`, `secret_path`, `token_type`), switches
/// (`has_password`), counts (`tokens`, `max_tokens`), cursors (`next_page_token`) and `session_id`, which for databases
/// is a number in a list that every administrator sees.
///
/// ```
/// use gds_redact::is_secret_key;
///
/// assert!(is_secret_key("X-Vault-Token"));
/// assert!(!is_secret_key("secret_path"));
/// ```
pub fn is_secret_key(name: &str) -> bool {
    if !STEMS.any(name.as_bytes()) {
        return false;
    }
    let mut buffer = [0; MAX_NAME * 2];
    let words = Words::split(name, &mut buffer);
    let mut rest = words.text.rsplit('_').skip_while(|word| is_neutral(word));
    let Some(last) = rest.next() else { return false };
    let before = rest.next().unwrap_or("");
    let named = match last {
        "password" | "secret" => true,
        // The key of a .NET assembly is public.
        "token" => !is_one_of(before, HARMLESS_TOKEN) && (before != "key" || rest.next() != Some("public")),
        "tokens" => is_one_of(before, TOKENS_OF),
        "key" | "keys" => is_one_of(before, KEY_OF),
        "pass" => !is_one_of(before, HARMLESS_PASS),
        "auth" => is_one_of(before, AUTH_OF) || name == "_auth",
        // Vault's AppRole has a secret id; an access key id comes with its key.
        "id" => before == "secret" || before == "key" && rest.next() == Some("access"),
        "signature" => matches!(before, "amz" | "goog"),
        "header" => before == "authorization",
        _ => is_one_of(last, SECRET) || SECRET_END.iter().any(|end| last.ends_with(end)),
    };
    named && !words.text.split_once('_').is_some_and(|(first, _)| is_one_of(first, SWITCH))
}

/// The word that decides, if it is one of those that have rules of their own.
pub(crate) fn last_word(name: &str) -> &'static str {
    const WORDS: &[&str] =
        &["password", "passwd", "passphrase", "pwd", "passcode", "token", "apikey", "secret", "auth"];
    let mut buffer = [0; MAX_NAME * 2];
    let words = Words::split(name, &mut buffer);
    let last = words.text.rsplit('_').find(|word| !is_neutral(word)).unwrap_or("");
    // `PGPASSWORD`, `dbpassword`
    let is_last = |word: &str| if word == "auth" { last == word || last == "basicauth" } else { last.ends_with(word) };
    WORDS.iter().find(|word| is_last(word)).copied().unwrap_or("")
}

/// Whether the first word of a name passes.
pub(crate) fn first_word(name: &str, pass: impl Fn(&str) -> bool) -> bool {
    let mut buffer = [0; MAX_NAME * 2];
    Words::split(name, &mut buffer).text.split('_').find(|word| !word.is_empty()).is_some_and(pass)
}

/// Whether any word of a name passes.
pub(crate) fn any_word(name: &str, pass: impl Fn(&str) -> bool) -> bool {
    let mut buffer = [0; MAX_NAME * 2];
    Words::split(name, &mut buffer).text.split('_').any(pass)
}

fn is_neutral(word: &str) -> bool {
    word.is_empty() || word.bytes().all(|byte| byte.is_ascii_digit()) || is_one_of(word, NEUTRAL)
}

/// Words of a name in lower case, joined by `_`.
struct Words<'b> {
    text: &'b str,
}

impl<'b> Words<'b> {
    fn split(name: &str, buffer: &'b mut [u8; MAX_NAME * 2]) -> Self {
        let bytes = name.as_bytes();
        let bytes = &bytes[bytes.len().saturating_sub(MAX_NAME)..];
        let mut len = 0;
        for (place, &byte) in bytes.iter().enumerate() {
            let before = if place == 0 { b'_' } else { bytes[place - 1] };
            let after = bytes.get(place + 1).copied().unwrap_or(b'_');
            // `passwordOld`, the `K` of `APIKey`, `password2`, `2fa`.
            let begins = byte.is_ascii_uppercase()
                && (before.is_ascii_lowercase() || before.is_ascii_uppercase() && after.is_ascii_lowercase())
                || byte.is_ascii_digit() && before.is_ascii_alphabetic()
                || byte.is_ascii_alphabetic() && before.is_ascii_digit();
            if begins {
                buffer[len] = b'_';
                len += 1;
            }
            // Letters beyond ASCII are in no list; any byte that keeps this text stands for them.
            buffer[len] = match byte {
                byte if byte.is_ascii_alphanumeric() => byte.to_ascii_lowercase(),
                byte if byte.is_ascii() => b'_',
                _ => b'?',
            };
            len += 1;
        }
        Self { text: std::str::from_utf8(&buffer[..len]).unwrap_or("") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_secrets_are_known_in_any_spelling() {
        for name in [
            "password",
            "PASSWORD",
            "Passwd",
            "pwd",
            "PGPASSWORD",
            "MYSQL_PWD",
            "db_password",
            "dbPassword",
            "db.password",
            "password2",
            "new_password",
            "passwordOld",
            "password_hash",
            "passphrase",
            "secret",
            "client_secret",
            "clientSecret",
            "clientsecret",
            "SecretString",
            "token",
            "vault_token",
            "X-Vault-Token",
            "authtoken",
            "access_tokens",
            "api_key",
            "apikey",
            "x-api-key",
            "APIKey",
            "api_keys",
            "private_key",
            "privateKey",
            "access_key",
            "aws_access_key_id",
            "aws_secret_access_key",
            "SecretAccessKey",
            "AccountKey",
            "authorization",
            "Proxy-Authorization",
            "authorization_header",
            "credential",
            "credentials",
            "creds",
            "cookie",
            "Set-Cookie",
            "secret_id",
            "db_pass",
            "pass",
            "unseal_key",
            "basic_auth",
            "x-amz-signature",
            "jwt",
            "secrets",
        ] {
            assert!(is_secret_key(name), "{name}");
        }
    }

    #[test]
    fn names_about_secrets_are_none() {
        for name in [
            "",
            "_",
            "token_count",
            "tokens",
            "max_tokens",
            "tokenizer",
            "token_type",
            "password_policy",
            "password_length",
            "secret_name",
            "secret_path",
            "secretPath",
            "secret_version",
            "has_password",
            "is_secret",
            "next_page_token",
            "nextToken",
            "pad_token",
            "session_id",
            "key",
            "primary_key",
            "partition_key",
            "cache_key",
            "public_key",
            "monkey",
            "first_pass",
            "compass",
            "bypass",
            "passed",
            "auth",
            "author",
            "authorized",
            "user_id",
            "client_id",
            "signature",
            "secretary",
            "accredited",
            "cookiecutter",
            "пароль",
        ] {
            assert!(!is_secret_key(name), "{name}");
        }
    }

    #[test]
    fn the_lists_are_in_order() {
        let lists = [NEUTRAL, SWITCH, SECRET, KEY_OF, HARMLESS_PASS, HARMLESS_TOKEN, TOKENS_OF, AUTH_OF];
        for list in lists {
            assert!(list.is_sorted(), "{list:?}");
        }
    }

    #[test]
    fn a_name_of_any_length_is_looked_at() {
        assert!(is_secret_key(&format!("{}_password", "x".repeat(100_000))));
        assert!(is_secret_key(&format!("{}_password", "é".repeat(100_000))));
        assert!(!is_secret_key(&"aB1".repeat(100_000)));
    }
}
