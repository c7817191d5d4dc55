//! What alerting says on the hub, as `schemas/alert.json` has it: an [`AlertEvent`] is the `data` of an
//! [`Event`](crate::Event).

use serde::{Deserialize, Serialize};

use crate::{Event, Tags, Timestamp};

/// The type of an event that says that an alert fires.
pub const TRIGGERED: &str = "alert.triggered";
/// The type of an event that says that it does not any more.
pub const RESOLVED: &str = "alert.resolved";

/// Whether an alert fires.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum AlertState {
    /// It does.
    Firing,
    /// It did.
    Resolved,
}

/// A transition of an alert. What is null may be missing.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct AlertEvent {
    /// What belongs to it: the same in the event that triggers and in the one that resolves.
    pub correlation_id: String,
    /// Which alert; also the key of the message.
    pub alert_key: String,
    /// Of which rule.
    pub rule_id: String,
    /// Of this transition: the same each time it is told.
    pub transition_id: String,
    /// `critical`, `warning`, `info`, or what the rules say.
    pub severity: String,
    /// Where it is now.
    pub state: AlertState,
    /// Of which instance.
    #[serde(default)]
    pub instance_id: Option<String>,
    /// `postgresql`, `mongodb`, ...
    #[serde(default)]
    pub database_type: Option<String>,
    /// Of which metric.
    #[serde(default)]
    pub metric: Option<String>,
    /// The value that made it change; null where there is none, or no finite one.
    #[serde(default)]
    pub value: Option<f64>,
    /// What tells alerts apart.
    #[serde(default)]
    pub labels: Tags,
    /// What people should read.
    #[serde(default)]
    pub annotations: Tags,
    /// Since when it fires.
    pub starts_at: Timestamp,
    /// Until when it did.
    #[serde(default)]
    pub ends_at: Option<Timestamp>,
    /// What to do.
    #[serde(default)]
    pub runbook_url: Option<String>,
}

impl AlertEvent {
    /// Appends the message: `{"type": "alert.triggered", "data": {...}}`.
    pub fn write_json(&self, out: &mut Vec<u8>) {
        let event_type = match self.state {
            AlertState::Firing => TRIGGERED,
            AlertState::Resolved => RESOLVED,
        };
        crate::envelope::write_json(out, event_type, self);
    }

    /// The alert that an event is about; None if it is about something else, or has not the form.
    pub fn of(event: &Event) -> Option<Self> {
        if ![TRIGGERED, RESOLVED].contains(&event.event_type.as_str()) {
            return None;
        }
        serde_json::from_value(event.data.clone()).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::envelope;

    #[test]
    fn an_alert_is_read_as_it_was_written() {
        let alert = AlertEvent {
            correlation_id: "c".into(),
            alert_key: "cpu:pg-1".into(),
            rule_id: "cpu".into(),
            transition_id: "t1".into(),
            severity: "critical".into(),
            state: AlertState::Firing,
            instance_id: Some("pg-1".into()),
            database_type: None,
            metric: Some("cpu".into()),
            value: Some(91.5),
            labels: [("team", "db")].into_iter().collect(),
            annotations: Tags::default(),
            starts_at: Timestamp::from_millis(1_772_366_400_000),
            ends_at: None,
            runbook_url: None,
        };
        let mut out = Vec::new();
        alert.write_json(&mut out);
        assert!(out.starts_with(br#"{"type":"alert.triggered","data":{"correlation_id":"c","alert_key":"cpu:pg-1""#));
        let event = envelope::parse(&out).unwrap();
        assert_eq!((event.event_type.as_str(), event.correlation_id.as_deref()), (TRIGGERED, Some("c")));
        assert_eq!(AlertEvent::of(&event), Some(alert.clone()));
        let other = Event { event_type: "metrics.collected".into(), ..event };
        assert_eq!(AlertEvent::of(&other), None);
        let resolved = AlertEvent { state: AlertState::Resolved, value: Some(f64::NAN), ..alert };
        out.clear();
        resolved.write_json(&mut out);
        let event = envelope::parse(&out).unwrap();
        assert_eq!((event.event_type.as_str(), AlertEvent::of(&event).unwrap().value), (RESOLVED, None));
    }
}
