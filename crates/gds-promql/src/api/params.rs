//! The form values of a request.

use std::fmt;

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::duration;

/// The first and the last time that there is, in milliseconds.
pub(super) const MIN_TIME: i64 = i64::MIN / 1_000_000;
pub(super) const MAX_TIME: i64 = i64::MAX / 1_000_000;

/// The values of a query string or of a form, decoded, in their order.
#[derive(Clone, Copy, Debug)]
pub struct Params<'a>(pub &'a [(String, String)]);

/// A value that cannot be used.
#[derive(Debug)]
pub(super) struct Invalid {
    name: &'static str,
    why: String,
}

impl Invalid {
    pub(super) fn new(name: &'static str, why: impl fmt::Display) -> Self {
        Self { name, why: why.to_string() }
    }
}

impl fmt::Display for Invalid {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "invalid parameter {:?}: {}", self.name, self.why)
    }
}

impl<'a> Params<'a> {
    /// The first value of a name.
    pub fn get(&self, name: &str) -> Option<&'a str> {
        self.all(name).next()
    }

    /// All values of a name.
    pub fn all(&self, name: &str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(other, _)| other == name).map(|(_, value)| value.as_str())
    }

    fn given(&self, name: &str) -> Option<&'a str> {
        self.get(name).filter(|value| !value.is_empty())
    }

    /// Milliseconds since 1970 of seconds or of a time as RFC 3339 has it.
    pub(super) fn time(&self, name: &'static str, default: Option<i64>) -> Result<i64, Invalid> {
        let value = match (self.given(name), default) {
            (Some(value), _) => value,
            (None, Some(default)) => return Ok(default),
            (None, None) => "",
        };
        let milliseconds = match value.parse::<f64>() {
            Ok(seconds) => whole(seconds * 1e3),
            Err(_) => OffsetDateTime::parse(value, &Rfc3339)
                .ok()
                .and_then(|time| i64::try_from(time.unix_timestamp_nanos() / 1_000_000).ok()),
        };
        milliseconds.ok_or_else(|| Invalid::new(name, format!("cannot parse {value:?} to a valid timestamp")))
    }

    /// Milliseconds of seconds or of a duration.
    pub(super) fn duration(&self, name: &'static str) -> Result<i64, Invalid> {
        let value = self.get(name).unwrap_or_default();
        let milliseconds = match value.parse::<f64>() {
            Ok(seconds) => whole(seconds * 1e3),
            Err(_) => duration::parse(value).ok(),
        };
        milliseconds.ok_or_else(|| Invalid::new(name, format!("cannot parse {value:?} to a valid duration")))
    }

    pub(super) fn count(&self, name: &'static str) -> Result<Option<usize>, Invalid> {
        let Some(value) = self.given(name) else { return Ok(None) };
        value.parse().map(Some).map_err(|_| Invalid::new(name, format!("expected a count, got {value:?}")))
    }

    /// A count of which zero means no limit.
    pub(super) fn limit(&self, name: &'static str) -> Result<Option<usize>, Invalid> {
        Ok(self.count(name)?.filter(|limit| *limit > 0))
    }
}

/// A number without its fraction; nothing beyond the times there are.
fn whole(number: f64) -> Option<i64> {
    let within = number >= MIN_TIME as f64 && number <= MAX_TIME as f64;
    #[expect(clippy::cast_possible_truncation, reason = "looked at above")]
    within.then_some(number.round() as i64)
}
