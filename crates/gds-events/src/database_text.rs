//! A text of a database that is told once and not with each metric, as `schemas/database-text.json` has it: that of a
//! statement, of which metrics have the number.

use serde::Serialize;

use crate::{Tags, Timestamp};

/// A text on its way out: an event in the short envelope, whose type says what the text is.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DatabaseText<'a> {
    /// When it was read.
    pub timestamp: Timestamp,
    /// `postgresql`, `mongodb`, ...
    pub database_type: &'a str,
    /// Of which instance; also the key of the message.
    pub instance_id: &'a str,
    /// What it belongs to: the tags that metrics have, and that tell it apart.
    pub attributes: Tags,
    /// The text, without literals.
    pub text: &'a str,
    /// Of the cycle that found it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub correlation_id: Option<&'a str>,
}

impl DatabaseText<'_> {
    /// Appends the message as JSON; the type is such as `postgresql.statement`.
    pub fn write_json(&self, event_type: &str, out: &mut Vec<u8>) {
        crate::envelope::write_json(out, event_type, self);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_an_event_in_the_short_envelope() {
        let text = DatabaseText {
            timestamp: Timestamp::from_millis(1_772_366_400_250),
            database_type: "postgresql",
            instance_id: "pg-1",
            attributes: [("db.query.id", "42")].into_iter().collect(),
            text: "SELECT $1",
            correlation_id: Some("cycle-1"),
        };
        let mut out = Vec::new();
        text.write_json("postgresql.statement", &mut out);
        let event = crate::envelope::parse(&out).unwrap();
        assert_eq!(event.event_type, "postgresql.statement");
        assert_eq!(event.correlation_id.as_deref(), Some("cycle-1"));
        assert_eq!((&event.data["text"], &event.data["instance_id"]), (&"SELECT $1".into(), &"pg-1".into()));
        assert_eq!(event.data["attributes"]["db.query.id"], "42");
        assert_eq!(event.data["timestamp"], "2026-03-01T12:00:00.250Z");
    }
}
