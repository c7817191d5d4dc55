//! Takes secrets out of text, in linear time, before the text leaves the process.
//!
//! ```
//! use gds_redact::Redactor;
//!
//! let redactor = Redactor::new(&[r"employee (\d+)".to_owned()])?;
//! let text = redactor.redact("postgresql://app:hunter2@db/app refused employee 4711");
//! assert_eq!(text, "postgresql://app:[REDACTED]@db/app refused employee [REDACTED]");
//! # Ok::<(), gds_redact::Error>(())
//! ```
//!
//! Found without being told: tokens of Vault (`hvs.`, `hvb.`, `hvr.`, `s.`), `Authorization` headers and bearer and basic
//! credentials outside of them, passwords in URLs, values behind names of secrets (`password=`, `"api_key": `,
//! `X-Vault-Token: `; [`is_secret_key`] says which names) in DSNs, queries, headers, JSON and YAML, AWS keys, private keys
//! also where they are cut off, JSON web tokens, cookies, and the tokens of GitHub, GitLab, Slack, Stripe and others that
//! can be told by how they begin.
//!
//! **What stays.** Of a credential everything that helps to find the mistake: scheme, user, host, name. Of prose
//! everything: "password reset", "Bearer of bad news", "token: expected ')'". Where a value could be either, it is taken
//! out. Passwords without any sign of being one ("log in as bob with swordfish") cannot be found.
//!
//! **What it costs.** Text in which nothing looks like a secret is read once and borrowed, at about a
//! nanosecond for each byte. Time grows with the length of the text and with nothing else, whoever wrote it. Extra patterns have the
//! syntax of the `regex` crate, which never backtracks; each costs a search of its own.

mod fingerprint;
mod keys;
mod list;
mod prose;
mod scan;
mod template;
mod text;
mod values;

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

use regex::{Regex, RegexBuilder};

pub use keys::is_secret_key;
pub use scan::{is_login, is_name_of_login, is_name_of_name, is_name_of_value};
pub use template::mask_template;
pub use values::is_value_a_name;

/// What stands where a secret stood.
pub const MARK: &str = "[REDACTED]";

/// Bytes an extra pattern may take once compiled: plenty for any token, little for `(\w{1000}){1000}`.
const MAX_COMPILED_BYTES: usize = 1 << 20;

/// Short for results of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An extra pattern that cannot be used.
///
/// It is named by its number, never by its text: people pass secrets as patterns.
#[derive(Debug, thiserror::Error)]
#[error(
    "redact pattern {number} of {count}: {reason}; expected a regular expression without look-around and back-references"
)]
pub struct Error {
    /// Counted from 1.
    pub number: usize,
    /// How many there are.
    pub count: usize,
    /// What is wrong with it.
    pub reason: String,
}

/// Finds secrets and takes them out. Made once, used from any thread.
pub struct Redactor {
    patterns: Vec<Regex>,
}

impl fmt::Debug for Redactor {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not the patterns: they may be secrets themselves.
        formatter.debug_struct("Redactor").field("patterns", &self.patterns.len()).finish_non_exhaustive()
    }
}

impl Redactor {
    /// One that knows these patterns beside its own.
    ///
    /// A pattern with groups takes out what its groups matched, one without groups all that it matched.
    pub fn new(extra_patterns: &[String]) -> Result<Self> {
        let compile = |(place, pattern): (usize, &String)| {
            let compiled = RegexBuilder::new(pattern).size_limit(MAX_COMPILED_BYTES).build();
            compiled.map_err(|error| Error { number: place + 1, count: extra_patterns.len(), reason: reason(&error) })
        };
        let patterns = extra_patterns.iter().enumerate().map(compile).collect::<Result<_>>()?;
        Ok(Self { patterns })
    }

    /// The text with [`MARK`] in place of each secret; the text itself where there is none.
    pub fn redact<'a>(&self, text: &'a str) -> Cow<'a, str> {
        self.redact_with(text, Vec::new())
    }

    /// The texts of a list, each of which may say that the next one is a secret: `["--password", "hunter2"]`.
    ///
    /// ```
    /// let redactor = gds_redact::Redactor::new(&[])?;
    /// assert_eq!(redactor.redact_list(&["curl", "-u", "bob:hunter2"]), ["curl", "-u", "bob:[REDACTED]"]);
    /// # Ok::<(), gds_redact::Error>(())
    /// ```
    pub fn redact_list<'a>(&self, texts: &[&'a str]) -> Vec<Cow<'a, str>> {
        let list = list::List::of(texts);
        let secrets = scan::Scan::secrets(&list.text);
        texts
            .iter()
            .zip(&list.places)
            .map(|(text, place)| self.redact_with(text, list::within(place, &secrets)))
            .collect()
    }

    /// As [`Self::redact`], where it is known of some of the text that it is secret.
    fn redact_with<'a>(&self, text: &'a str, mut secrets: Vec<Range<usize>>) -> Cow<'a, str> {
        secrets.extend(scan::Scan::secrets(text));
        self.patterns.iter().for_each(|pattern| matches(pattern, text, &mut secrets));
        if secrets.is_empty() { Cow::Borrowed(text) } else { Cow::Owned(without(text, secrets)) }
    }
}

/// What a pattern takes out.
fn matches(pattern: &Regex, text: &str, secrets: &mut Vec<Range<usize>>) {
    if pattern.captures_len() == 1 {
        secrets.extend(pattern.find_iter(text).map(|found| found.range()));
        return;
    }
    // Groups are dear: only where there is a match.
    if !pattern.is_match(text) {
        return;
    }
    for captures in pattern.captures_iter(text) {
        let before = secrets.len();
        secrets.extend(captures.iter().skip(1).flatten().map(|group| group.range()));
        if secrets.len() == before {
            // Another branch, without a group.
            secrets.extend(captures.get(0).map(|whole| whole.range()));
        }
    }
}

fn without(text: &str, mut secrets: Vec<Range<usize>>) -> String {
    secrets.sort_unstable_by_key(|secret| secret.start);
    let mut clean = String::with_capacity(text.len() + MARK.len());
    let mut end = 0;
    for secret in secrets {
        // Nothing was matched, or what stands there is a mark of before.
        if secret.is_empty() || secret.end <= end || MARK.contains(&text[secret.clone()]) && is_mark(text, &secret) {
            continue;
        }
        if secret.start > end || clean.is_empty() {
            clean.push_str(&text[end..secret.start.max(end)]);
            clean.push_str(MARK);
        } else if secret.start == end && !clean.ends_with(MARK) {
            clean.push_str(MARK);
        }
        end = secret.end;
    }
    clean.push_str(&text[end..]);
    clean
}

/// Whether the range lies within a mark.
fn is_mark(text: &str, range: &Range<usize>) -> bool {
    let from = range.start.saturating_sub(MARK.len());
    text.as_bytes()[from..].windows(MARK.len()).take(MARK.len() + 1).enumerate().any(|(place, window)| {
        window == MARK.as_bytes() && from + place <= range.start && from + place + MARK.len() >= range.end
    })
}

/// The last words of what the compiler says: the lines before quote the pattern.
fn reason(error: &regex::Error) -> String {
    match error {
        regex::Error::CompiledTooBig(_) => format!("takes more than {MAX_COMPILED_BYTES} bytes once compiled"),
        regex::Error::Syntax(text) => {
            let last = text.lines().last().unwrap_or_default();
            last.strip_prefix("error: ").unwrap_or(last).to_owned()
        }
        other => other.to_string().lines().last().unwrap_or_default().to_owned(),
    }
}

#[cfg(test)]
mod tests;
