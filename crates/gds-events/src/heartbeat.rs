//! That a collector lives, as `schemas/heartbeat.json` and `schemas/heartbeat.avsc` have it.

use serde::{Deserialize, Serialize};

use crate::{ParseError, Timestamp};

/// How a cycle of a collector ended.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum HeartbeatStatus {
    /// All that was planned was measured.
    Ok,
    /// Some of it was not.
    Partial,
    /// Nothing was.
    Failed,
    /// It was not begun.
    Skipped,
}

impl HeartbeatStatus {
    /// As messages have it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Partial => "partial",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
        }
    }

    /// From its text.
    pub fn from_text(text: &str) -> Option<Self> {
        [Self::Ok, Self::Partial, Self::Failed, Self::Skipped].into_iter().find(|status| status.as_str() == text)
    }
}

/// Sent by a collector for each topic that it writes to, once a cycle, whatever the cycle brought.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct CollectorHeartbeat {
    /// When the cycle ended.
    pub timestamp: Timestamp,
    /// Which collector.
    pub collector: String,
    /// Of which instance; also the key of the message.
    pub instance_id: String,
    /// `postgresql`, `mongodb`, ...
    pub database_type: String,
    /// Where its metrics go.
    pub topic: String,
    /// How the cycle ended.
    pub status: HeartbeatStatus,
    /// Why not all is well.
    #[serde(default)]
    pub reason: Option<String>,
    /// When the next one is to be expected, after this one.
    pub interval_ms: u64,
    /// How many metrics the cycle brought.
    #[serde(default)]
    pub metrics: u64,
    /// How long it took.
    #[serde(default)]
    pub duration_ms: u64,
    /// Of the cycle, as its metrics have it.
    #[serde(default)]
    pub correlation_id: Option<String>,
}

impl CollectorHeartbeat {
    /// Appends the message as JSON.
    pub fn write_json(&self, out: &mut Vec<u8>) {
        crate::envelope::append(out, self);
    }

    /// Reads a message in JSON; [`parse_heartbeat`](crate::parse_heartbeat) reads either form.
    pub fn parse(value: &[u8]) -> Result<Self, ParseError> {
        serde_json::from_slice(value).map_err(|error| ParseError::json(&error))
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn beat() -> CollectorHeartbeat {
        CollectorHeartbeat {
            timestamp: Timestamp::from_millis(1_772_366_400_250),
            collector: "postgresql".into(),
            instance_id: "pg-1".into(),
            database_type: "postgresql".into(),
            topic: "gds.metrics.postgresql.production".into(),
            status: HeartbeatStatus::Partial,
            reason: Some("permission_denied".into()),
            interval_ms: 30_000,
            metrics: 120,
            duration_ms: 45,
            correlation_id: None,
        }
    }

    #[test]
    fn a_heartbeat_is_read_as_it_was_written() {
        let beat = beat();
        let mut out = Vec::new();
        beat.write_json(&mut out);
        assert!(out.starts_with(br#"{"timestamp":"2026-03-01T12:00:00.250Z","collector":"postgresql","#));
        assert_eq!(CollectorHeartbeat::parse(&out), Ok(beat));
        assert_eq!(CollectorHeartbeat::parse(b"{}").unwrap_err().reason(), "malformed");
    }
}
