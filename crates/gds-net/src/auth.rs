//! Who may ask: a bearer token or users with passwords, each kept in a file.
//!
//! The file is read at construction, where its faults are told, and again whenever it changes, so that a rotated
//! secret counts from the next request on. A file that cannot be read or understood any more admits nobody until it
//! can. Secrets are compared in constant time and are part of no message.

use std::fmt;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use gds_process::sync::Mutex;
use subtle::{Choice, ConstantTimeEq};

use crate::error::{Error, Result};
use crate::stamp::{self, Stamp};

/// Longest secret in bytes, for `user:password` together. Every secret is padded to this, so that a comparison takes
/// the same time whatever its length.
const MAX_SECRET: usize = 512;

/// Clients differ on whether they pad.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// What a request must bring to be answered.
#[derive(Default)]
pub enum Auth {
    /// Nothing.
    #[default]
    None,
    /// The token in a file (RFC 6750).
    BearerFile(SecretFile),
    /// A user and password of a file (RFC 7617).
    BasicFile(SecretFile),
}

impl Auth {
    /// Asks for the token in the file at `path`: one line of printable ASCII without spaces, at most 512 bytes.
    ///
    /// Fails with setting `bearer_token_file` when the file cannot be read or holds something else.
    pub fn bearer_file(path: impl Into<PathBuf>) -> Result<Self> {
        SecretFile::open(path.into(), Scheme::Bearer).map(Self::BearerFile)
    }

    /// Asks for a user of the file at `path`: lines of `user:password`, each of at most 512 bytes, with the password
    /// as it is sent (not hashed); blank lines and lines that start with `#` are skipped.
    ///
    /// Fails with setting `basic_auth_file` when the file cannot be read or holds something else.
    pub fn basic_file(path: impl Into<PathBuf>) -> Result<Self> {
        SecretFile::open(path.into(), Scheme::Basic).map(Self::BasicFile)
    }

    /// Whether a request with this `Authorization` header may be answered.
    ///
    /// Looks at the file, so call it where blocking is allowed. A file that went bad means no.
    pub fn allows(&self, authorization: Option<&str>) -> bool {
        match self {
            Self::None => true,
            Self::BearerFile(file) | Self::BasicFile(file) => {
                authorization.and_then(|header| file.scheme.credentials(header)).is_some_and(|given| file.holds(&given))
            }
        }
    }

    /// The value of the `WWW-Authenticate` header that says what was missing; None when nothing is asked for.
    pub const fn challenge(&self) -> Option<&'static str> {
        match self {
            Self::None => None,
            Self::BearerFile(_) => Some("Bearer realm=\"metrics\""),
            Self::BasicFile(_) => Some("Basic realm=\"metrics\", charset=\"UTF-8\""),
        }
    }
}

impl fmt::Debug for Auth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("None"),
            Self::BearerFile(file) => f.debug_tuple("BearerFile").field(&file.path).finish(),
            Self::BasicFile(file) => f.debug_tuple("BasicFile").field(&file.path).finish(),
        }
    }
}

/// A file of secrets that is read again when it changes; made by [`Auth::bearer_file`] and [`Auth::basic_file`].
pub struct SecretFile {
    path: PathBuf,
    scheme: Scheme,
    loaded: Mutex<Loaded>,
}

struct Loaded {
    /// None after a failure: what is in the file now is not known, so the next request reads it again.
    stamp: Option<Stamp>,
    secrets: Vec<Padded>,
}

impl SecretFile {
    fn open(path: PathBuf, scheme: Scheme) -> Result<Self> {
        let loaded = Mutex::new(load(&path, scheme)?);
        Ok(Self { path, scheme, loaded })
    }

    fn holds(&self, given: &[u8]) -> bool {
        let mut loaded = self.loaded.lock();
        if !loaded.stamp.is_some_and(|stamp| stamp.is_current(&self.path)) {
            *loaded = load(&self.path, self.scheme).unwrap_or(Loaded { stamp: None, secrets: Vec::new() });
        }
        let given = Padded::new(given);
        // No early exit: how long this takes must not tell which user matched.
        loaded.secrets.iter().fold(Choice::from(0), |found, secret| found | secret.ct_eq(&given)).into()
    }
}

impl fmt::Debug for SecretFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SecretFile").field("path", &self.path).finish_non_exhaustive()
    }
}

fn load(path: &Path, scheme: Scheme) -> Result<Loaded> {
    let setting = scheme.setting();
    let (content, stamp) = stamp::read(path).map_err(|source| Error::File {
        setting,
        path: path.to_owned(),
        remedy: "give a file that this process can read",
        source,
    })?;
    let secrets =
        scheme.parse(&content).map_err(|expected| Error::setting(setting, &path.display().to_string(), expected))?;
    Ok(Loaded { stamp: Some(stamp), secrets })
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scheme {
    Bearer,
    Basic,
}

impl Scheme {
    const fn setting(self) -> &'static str {
        match self {
            Self::Bearer => "bearer_token_file",
            Self::Basic => "basic_auth_file",
        }
    }

    /// What an `Authorization` header brings, in the form that the file has it.
    fn credentials(self, header: &str) -> Option<Vec<u8>> {
        let (scheme, rest) = header.trim().split_once(' ')?;
        let rest = rest.trim_start();
        match self {
            Self::Bearer if scheme.eq_ignore_ascii_case("bearer") => Some(rest.into()),
            Self::Basic if scheme.eq_ignore_ascii_case("basic") => BASE64.decode(rest).ok(),
            _ => None,
        }
    }

    /// The secrets of a file, or what was expected of it. The text names lines, never what is in them.
    fn parse(self, content: &[u8]) -> std::result::Result<Vec<Padded>, String> {
        match self {
            Self::Bearer => {
                let token = content.trim_ascii();
                if token.is_empty() || token.len() > MAX_SECRET || !token.iter().all(u8::is_ascii_graphic) {
                    return Err(format!(
                        "a file with one line of 1 to {MAX_SECRET} printable ASCII characters without spaces, the token"
                    ));
                }
                Ok(vec![Padded::new(token)])
            }
            Self::Basic => {
                let mut users = Vec::new();
                for (number, line) in (1..).zip(content.split(|byte| *byte == b'\n')) {
                    let line = line.strip_suffix(b"\r").unwrap_or(line);
                    if line.trim_ascii().is_empty() || line.starts_with(b"#") {
                        continue;
                    }
                    let colon = line.iter().position(|byte| *byte == b':');
                    if line.len() > MAX_SECRET || !colon.is_some_and(|at| at > 0 && at + 1 < line.len()) {
                        return Err(format!(
                            "user:password in at most {MAX_SECRET} bytes on each line; correct line {number}"
                        ));
                    }
                    users.push(Padded::new(line));
                }
                if users.is_empty() {
                    return Err("a file with at least one line user:password; add one".to_owned());
                }
                Ok(users)
            }
        }
    }
}

/// A secret in a fixed number of bytes.
struct Padded {
    bytes: [u8; MAX_SECRET],
    len: u64,
}

impl Padded {
    /// Keeps the first [`MAX_SECRET`] bytes and the full length, so that a longer text equals no secret.
    fn new(secret: &[u8]) -> Self {
        let mut bytes = [0; MAX_SECRET];
        let kept = secret.len().min(MAX_SECRET);
        bytes[..kept].copy_from_slice(&secret[..kept]);
        Self { bytes, len: secret.len() as u64 }
    }

    fn ct_eq(&self, other: &Self) -> Choice {
        self.bytes.ct_eq(&other.bytes) & self.len.ct_eq(&other.len)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn file(content: &str) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), content).unwrap();
        file
    }

    fn basic(credentials: &str) -> String {
        format!("Basic {}", BASE64.encode(credentials))
    }

    #[test]
    fn the_token_of_the_file_is_let_in_and_no_other() {
        let file = file("s3cret-token\n");
        let auth = Auth::bearer_file(file.path()).unwrap();
        assert!(auth.allows(Some("Bearer s3cret-token")));
        assert!(auth.allows(Some("bearer  s3cret-token")));
        for wrong in ["Bearer s3cret-toke", "Bearer s3cret-token2", "Bearer ", "Bearer", "Basic s3cret-token", ""] {
            assert!(!auth.allows(Some(wrong)), "{wrong}");
        }
        assert!(!auth.allows(None));
    }

    #[test]
    fn any_user_of_the_file_is_let_in_with_their_own_password() {
        let file = file("# people\n\nann:one\r\nbob:t:wo\n");
        let auth = Auth::basic_file(file.path()).unwrap();
        assert!(auth.allows(Some(&basic("ann:one"))));
        assert!(auth.allows(Some(&basic("bob:t:wo"))));
        assert!(auth.allows(Some(basic("ann:one").trim_end_matches('='))));
        for wrong in ["ann:t:wo", "ann:", "ann", "", "# people", "ann:one\r"] {
            assert!(!auth.allows(Some(&basic(wrong))), "{wrong}");
        }
        assert!(!auth.allows(Some("Basic %%%")));
    }

    #[test]
    fn a_text_longer_than_any_secret_equals_none_that_it_starts_with() {
        let token = "x".repeat(MAX_SECRET);
        let file = file(&token);
        let auth = Auth::bearer_file(file.path()).unwrap();
        assert!(auth.allows(Some(&format!("Bearer {token}"))));
        assert!(!auth.allows(Some(&format!("Bearer {token}x"))));
    }

    #[test]
    fn a_rotated_secret_counts_at_once_and_a_broken_file_admits_nobody_until_it_is_mended() {
        let file = file("old");
        let auth = Auth::bearer_file(file.path()).unwrap();
        assert!(auth.allows(Some("Bearer old")));

        std::fs::write(file.path(), "new").unwrap();
        assert!(auth.allows(Some("Bearer new")));
        assert!(!auth.allows(Some("Bearer old")));

        std::fs::remove_file(file.path()).unwrap();
        assert!(!auth.allows(Some("Bearer new")));
        std::fs::write(file.path(), "two words").unwrap();
        assert!(!auth.allows(Some("Bearer new")));
        assert!(!auth.allows(Some("Bearer two words")));

        std::fs::write(file.path(), "new").unwrap();
        assert!(auth.allows(Some("Bearer new")));
    }

    #[test]
    fn a_file_that_cannot_serve_is_told_at_construction_without_its_content() {
        for (content, expected) in [("", "one line"), ("two words", "one line"), ("tökén", "one line")] {
            let file = file(content);
            let error = Auth::bearer_file(file.path()).unwrap_err();
            assert!(matches!(error, Error::Setting { setting: "bearer_token_file", .. }));
            assert!(error.to_string().contains(expected), "{error}");
            assert!(!error.to_string().contains("words"));
        }
        for (content, expected) in [
            ("", "at least one"),
            ("# a:b\n", "at least one"),
            ("a:b\nhunter2", "line 2"),
            (":x", "line 1"),
            ("x:", "line 1"),
        ] {
            let file = file(content);
            let error = Auth::basic_file(file.path()).unwrap_err();
            assert!(matches!(error, Error::Setting { setting: "basic_auth_file", .. }));
            assert!(error.to_string().contains(expected), "{error}");
            assert!(!error.to_string().contains("hunter2"));
        }
        let error = Auth::basic_file("/nowhere/at/all").unwrap_err();
        assert!(matches!(error, Error::File { setting: "basic_auth_file", .. }), "{error}");
    }

    #[test]
    fn debug_names_the_file_and_nothing_in_it() {
        let file = file("hunter2");
        let auth = Auth::bearer_file(file.path()).unwrap();
        let text = format!("{auth:?}");
        assert!(text.contains(&*file.path().to_string_lossy()) && !text.contains("hunter2"), "{text}");
    }

    proptest! {
        #[test]
        fn no_header_panics(header in "(\\PC|(?i)(basic|bearer) ){0,40}") {
            let file = file("a:b");
            prop_assert!(!Auth::bearer_file(file.path()).unwrap().allows(Some(&header)) || header.contains("a:b"));
            Auth::basic_file(file.path()).unwrap().allows(Some(&header));
        }
    }
}
