//! What a topic can be set to, by Kafka's names.

use std::collections::BTreeMap;
use std::fmt::Display;

use crate::error::{Error, Result};

const CLEANUP_POLICY: &str = "cleanup.policy";
const DELETE_RETENTION_MS: &str = "delete.retention.ms";
const RETENTION_BYTES: &str = "retention.bytes";
const RETENTION_MS: &str = "retention.ms";
const SEGMENT_BYTES: &str = "segment.bytes";
const SEGMENT_MS: &str = "segment.ms";
const ALL: [&str; 6] = [CLEANUP_POLICY, DELETE_RETENTION_MS, RETENTION_BYTES, RETENTION_MS, SEGMENT_BYTES, SEGMENT_MS];

const DELETE: &str = "delete";
const COMPACT: &str = "compact";
/// As Kafka's.
const KEEP_TOMBSTONES_MS: i64 = 24 * 60 * 60 * 1_000;
/// As Kafka's.
const ROLL_AFTER_MS: i64 = 7 * 24 * 60 * 60 * 1_000;
/// Segments no smaller than this, however little is kept.
const SMALLEST_SEGMENT: u64 = 4 * 1024;

/// How long the messages of a topic are kept; forever, without a limit.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Retention {
    /// Messages older than this many milliseconds are removed.
    pub age_ms: Option<i64>,
    /// The oldest messages of a partition that is larger than this are removed.
    pub bytes: Option<u64>,
}

/// The settings of a topic.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct TopicConfig {
    retention: Retention,
    deletes: bool,
    /// Of each key the last message is kept.
    pub(super) compacts: bool,
    /// How long a message without a value is kept in a topic that is compacted.
    pub(super) keep_tombstones_ms: i64,
    segment_bytes: u64,
    /// A file is written to no longer than this.
    pub(super) segment_ms: i64,
}

impl TopicConfig {
    /// Those of a topic that says nothing.
    pub(super) fn new(retention: Retention, segment_bytes: u64) -> Self {
        Self {
            retention,
            deletes: true,
            compacts: false,
            keep_tombstones_ms: KEEP_TOMBSTONES_MS,
            segment_bytes,
            segment_ms: ROLL_AFTER_MS,
        }
    }

    /// What `given` says, and for the rest as it is here.
    pub(super) fn with(mut self, given: &BTreeMap<String, String>) -> Result<Self> {
        for (key, value) in given {
            match key.as_str() {
                RETENTION_MS => self.retention.age_ms = limit(key, value)?,
                RETENTION_BYTES => self.retention.bytes = limit(key, value)?.map(i64::unsigned_abs),
                CLEANUP_POLICY => (self.deletes, self.compacts) = policy(value)?,
                DELETE_RETENTION_MS => self.keep_tombstones_ms = number(key, value, 0)?,
                SEGMENT_BYTES => self.segment_bytes = number(key, value, 1)?.unsigned_abs(),
                SEGMENT_MS => self.segment_ms = number(key, value, 1)?,
                other => check_name(other)?,
            }
        }
        Ok(self)
    }

    /// All settings as they are.
    pub(super) fn shown(&self) -> BTreeMap<String, String> {
        let or_none = |limit: Option<i64>| limit.unwrap_or(-1).to_string();
        let bytes = self.retention.bytes.map(|bytes| i64::try_from(bytes).unwrap_or(i64::MAX));
        let policies = [(self.compacts, COMPACT), (self.deletes, DELETE)];
        let policies: Vec<_> = policies.into_iter().filter_map(|(is, name)| is.then_some(name)).collect();
        let shown = [
            (CLEANUP_POLICY, policies.join(",")),
            (DELETE_RETENTION_MS, self.keep_tombstones_ms.to_string()),
            (RETENTION_BYTES, or_none(bytes)),
            (RETENTION_MS, or_none(self.retention.age_ms)),
            (SEGMENT_BYTES, self.segment_bytes.to_string()),
            (SEGMENT_MS, self.segment_ms.to_string()),
        ];
        shown.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }

    /// How long messages are kept, whatever came after them.
    pub(super) fn retention(&self) -> Retention {
        if self.deletes { self.retention } else { Retention::default() }
    }

    /// Size of files. Removed as a whole, they leave messages to within an eighth of the limit.
    pub(super) fn segment_bytes(&self) -> u64 {
        let most = self.retention().bytes.map_or(u64::MAX, |bytes| (bytes / 8).max(SMALLEST_SEGMENT));
        self.segment_bytes.min(most)
    }
}

/// Refuses names of settings that there are not.
pub(super) fn check_name(name: &str) -> Result<()> {
    if ALL.contains(&name) {
        return Ok(());
    }
    let known = ALL.map(|name| format!("{name:?}")).join(", ");
    let message = format!("unknown topic setting {name:?}; the embedded hub knows {known}");
    Err(Error::Config(message.into()))
}

fn unusable(key: &str, value: &str, expected: impl Display) -> Error {
    Error::Config(format!("topic setting {key}={value:?}; expected {expected}").into())
}

fn policy(value: &str) -> Result<(bool, bool)> {
    let (mut deletes, mut compacts) = (false, false);
    for policy in value.split(',').map(str::trim) {
        match policy {
            DELETE => deletes = true,
            COMPACT => compacts = true,
            _ => {
                let expected = "\"delete\", \"compact\" or \"compact,delete\"";
                return Err(unusable(CLEANUP_POLICY, value, expected));
            }
        }
    }
    Ok((deletes, compacts))
}

fn limit(key: &str, value: &str) -> Result<Option<i64>> {
    match value.parse::<i64>() {
        Ok(-1) => Ok(None),
        Ok(number) if number > 0 => Ok(Some(number)),
        _ => Err(unusable(key, value, "a number above 0, or -1 for no limit")),
    }
}

fn number(key: &str, value: &str, least: i64) -> Result<i64> {
    let number = value.parse::<i64>().ok().filter(|number| *number >= least);
    number.ok_or_else(|| unusable(key, value, format_args!("a whole number, {least} or more")))
}
