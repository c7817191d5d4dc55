//! What services say to each other: an [`Event`] in either of two envelopes, as `schemas/event.json` has them.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{ParseError, Timestamp};

/// An event of a service.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// What it says: `metrics.push`, `alert.triggered`, ...
    pub event_type: String,
    /// What belongs to it; the answer has the same.
    pub correlation_id: Option<String>,
    /// What it is about.
    pub data: Value,
    /// What only the long envelope has.
    pub delivery: Option<Delivery>,
}

/// What the long envelope says beside the event. What is null may be missing.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Delivery {
    /// Of this message.
    pub id: String,
    /// The kind of message: `event`, `request`, `response`, `command`, ...
    #[serde(rename = "type")]
    pub kind: String,
    /// Who says it.
    pub source: String,
    /// When.
    #[serde(default)]
    pub timestamp: Option<Timestamp>,
    /// For how many seconds from then on it means something.
    #[serde(default)]
    pub ttl: Option<f64>,
    /// To whom, if not to all.
    #[serde(default)]
    pub destination: Option<String>,
    /// As the sender has it: a number, or a word.
    #[serde(default)]
    pub priority: Option<Value>,
}

/// `{id, type, source, event_type, correlation_id, timestamp, payload, ttl, destination, priority}`
#[derive(Deserialize, Serialize)]
struct Long {
    event_type: String,
    #[serde(default)]
    correlation_id: Option<String>,
    #[serde(default)]
    payload: Value,
    #[serde(flatten)]
    delivery: Delivery,
}

/// `{type, data: {..., correlation_id}}`
#[derive(Deserialize, Serialize)]
struct Short<T> {
    r#type: String,
    data: T,
}

/// Reads an event in either envelope.
pub fn parse(value: &[u8]) -> Result<Event, ParseError> {
    let wrong = |error: serde_json::Error| ParseError::json(&error);
    if value.is_empty() {
        return Err(ParseError::Empty);
    }
    let message: Value = serde_json::from_slice(value).map_err(wrong)?;
    if message.get("event_type").is_some() {
        let long: Long = serde_json::from_value(message).map_err(wrong)?;
        let (event_type, data) = (long.event_type, long.payload);
        return Ok(Event { event_type, correlation_id: long.correlation_id, data, delivery: Some(long.delivery) });
    }
    let short: Short<Value> = serde_json::from_value(message).map_err(wrong)?;
    let correlation_id = short.data.get("correlation_id").and_then(Value::as_str).map(str::to_owned);
    Ok(Event { event_type: short.r#type, correlation_id, data: short.data, delivery: None })
}

impl Event {
    /// Appends the message, in the long envelope if there is something for it to say, else in the short one.
    pub fn write_json(&self, out: &mut Vec<u8>) {
        match &self.delivery {
            None => {
                let mut data = self.data.clone();
                if let (Value::Object(fields), Some(correlation_id)) = (&mut data, &self.correlation_id) {
                    fields.insert("correlation_id".to_owned(), Value::String(correlation_id.clone()));
                }
                write_json(out, &self.event_type, &data);
            }
            Some(delivery) => append(
                out,
                &Long {
                    event_type: self.event_type.clone(),
                    correlation_id: self.correlation_id.clone(),
                    payload: self.data.clone(),
                    delivery: delivery.clone(),
                },
            ),
        }
    }
}

/// Appends the short envelope; `data` has the correlation id itself.
pub fn write_json<T: Serialize>(out: &mut Vec<u8>, event_type: &str, data: &T) {
    append(out, &Short { r#type: event_type.to_owned(), data });
}

/// Appends a message of texts, numbers and maps of texts; writing those to memory cannot fail.
pub(crate) fn append<T: Serialize>(out: &mut Vec<u8>, message: &T) {
    let written = serde_json::to_writer(out, message);
    debug_assert!(written.is_ok(), "{written:?}");
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn both_envelopes_are_read_and_written() {
        let short = json!({"type": "metrics.query", "data": {"query": "up", "correlation_id": "c1"}});
        let long = json!({
            "id": "m1", "type": "request", "source": "dashboard", "event_type": "metrics.query", "correlation_id": "c1",
            "timestamp": "2026-03-01T12:00:00.000Z", "payload": {"query": "up"}, "ttl": 30.0, "destination": "metrics",
            "priority": "high",
        });
        for message in [short, long] {
            let event = parse(message.to_string().as_bytes()).unwrap();
            assert_eq!((event.event_type.as_str(), event.correlation_id.as_deref()), ("metrics.query", Some("c1")));
            assert_eq!(event.data["query"], "up");
            let mut out = Vec::new();
            event.write_json(&mut out);
            assert_eq!(serde_json::from_slice::<Value>(&out).unwrap(), message);
        }
    }

    #[test]
    fn the_long_envelope_may_be_short_of_most() {
        let event = parse(br#"{"id":"m","type":"event","source":"s","event_type":"e"}"#).unwrap();
        assert_eq!((event.data, event.delivery.unwrap().priority), (Value::Null, None));
    }

    #[test]
    fn what_is_no_event_has_a_reason() {
        for (message, reason) in
            [("", "empty"), ("[", "malformed"), ("{}", "malformed"), (r#"{"type":"a"}"#, "malformed")]
        {
            assert_eq!(parse(message.as_bytes()).unwrap_err().reason(), reason, "{message}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>) {
            let _ = parse(&bytes);
        }
    }
}
