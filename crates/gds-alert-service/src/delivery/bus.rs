//! The hub as a receiver: alerts as events, and messages that cannot be used.

use std::sync::Arc;
use std::time::Duration;

use gds_alerting::effect::{AlertView, Notification, NotificationKind};
use gds_events::dead_letter::DeadLetter as Headers;
use gds_events::topic::{ALERTS, HEARTBEATS, METRICS_DLQ};
use gds_events::{AlertEvent, AlertState, CollectorHeartbeat, HeartbeatStatus, Timestamp};
use gds_hub::producer::{Linger, Producer, ProducerOptions, Reported, Reporter, Sent};
use gds_hub::{Error, Hub, OwnedHeader, Record};
use tokio::sync::oneshot;

use super::outcome::Outcome;
use crate::store::DeadLetter;
use crate::{Said, Say};

type Token = oneshot::Sender<Result<(), Error>>;

/// Tells whoever waits for a record.
struct Tell(Arc<Say>);

impl std::fmt::Debug for Tell {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tell")
    }
}

impl Reporter<Token> for Tell {
    fn report(&self, outcomes: Vec<Reported<Token>>) {
        for Reported { token, outcome } in outcomes {
            // Who has ended does not want to know.
            let _ = token.send(outcome.map(drop));
        }
    }

    fn warn(&self, text: &str) {
        (self.0)(Said::Warning(text));
    }
}

/// A way into the hub for whatever has to arrive there.
#[derive(Debug)]
pub(crate) struct Bus(Producer<Token>);

impl Bus {
    pub(crate) fn open(hub: &dyn Hub, say: &Arc<Say>) -> gds_hub::Result<Self> {
        let options = ProducerOptions { delivery_timeout: Some(Duration::from_secs(30)), ..ProducerOptions::default() };
        Ok(Self(Producer::new(hub, options, Arc::new(Tell(Arc::clone(say))))?))
    }

    async fn publish(&self, record: &Record<'_>) -> Outcome {
        let (token, known) = oneshot::channel();
        match self.0.send(&self.0.encode(record), Some(token), Linger::Short) {
            Ok(Sent::Queued) => {}
            Ok(Sent::Full(_) | Sent::Dropped(..)) => return Outcome::retry("the hub is slow or away: no room"),
            Err(error) => return refused(&error),
        }
        self.0.hurry();
        match known.await {
            Ok(Ok(())) => Outcome::Delivered,
            Ok(Err(error)) => refused(&error),
            Err(_) => Outcome::retry("the producer was closed"),
        }
    }

    /// An event for the first alert of a notification.
    pub(super) async fn event(&self, topic: &str, said: &Notification, now_ms: i64) -> Outcome {
        let Some(alert) = said.alerts.first() else { return Outcome::Delivered };
        let mut value = Vec::new();
        event(said, alert).write_json(&mut value);
        let key = Some(alert.key.as_bytes());
        self.publish(&Record { topic, timestamp: now_ms, key, value: Some(&value), ..Record::default() }).await
    }

    /// A heartbeat as collectors have them, so that others watch this one as they watch collectors.
    pub(super) async fn heartbeat(&self, said: &Notification, every: Duration, now_ms: i64) -> Outcome {
        let group = said.group_labels.get("group").cloned().unwrap_or_default();
        let beat = CollectorHeartbeat {
            timestamp: Timestamp::from_millis(now_ms),
            collector: "gds_alerting".to_owned(),
            instance_id: group.clone(),
            database_type: String::new(),
            topic: ALERTS.to_owned(),
            status: HeartbeatStatus::Ok,
            reason: None,
            interval_ms: u64::try_from(every.as_millis()).unwrap_or(u64::MAX),
            metrics: 0,
            duration_ms: 0,
            correlation_id: None,
        };
        let mut value = Vec::new();
        beat.write_json(&mut value);
        let key = Some(group.as_bytes());
        let record = Record { topic: HEARTBEATS, timestamp: now_ms, key, value: Some(&value), ..Record::default() };
        self.publish(&record).await
    }

    /// A message as it was, with the reason in its headers.
    pub(super) async fn dead_letter(&self, letter: &DeadLetter, now_ms: i64) -> Outcome {
        let mut headers: Vec<OwnedHeader> = letter.headers.clone();
        let own = Headers {
            error: &letter.error,
            reason: &letter.reason,
            topic: &letter.topic,
            place: Some((letter.partition, letter.offset)),
            timestamp_ms: letter.timestamp_ms,
            attempts: 1,
        };
        headers.extend(own.headers());
        let record = Record {
            topic: METRICS_DLQ,
            timestamp: now_ms,
            key: letter.key.as_deref(),
            value: letter.value.as_deref(),
            headers: gds_hub::Headers::new(&headers),
            ..Record::default()
        };
        self.publish(&record).await
    }

    /// Sends no more.
    pub(crate) fn close(&self) {
        self.0.close(Duration::from_secs(5));
    }
}

fn refused(error: &Error) -> Outcome {
    let never = matches!(error, Error::Message(_) | Error::Serialization(_)) && !error.retriable();
    if never { Outcome::Refused(error.message().to_owned()) } else { Outcome::retry(error.message()) }
}

fn event(said: &Notification, alert: &AlertView) -> AlertEvent {
    let label = |name: &str| alert.labels.get(name).cloned();
    let over = said.kind == NotificationKind::Resolved;
    AlertEvent {
        correlation_id: alert.correlation_id.clone(),
        alert_key: alert.key.clone(),
        rule_id: alert.rule.clone(),
        transition_id: alert.transition_id.clone(),
        severity: alert.severity.clone(),
        state: if over { AlertState::Resolved } else { AlertState::Firing },
        instance_id: label("instance_id"),
        database_type: label("database_type"),
        metric: label("metric"),
        value: alert.value.parse().ok(),
        labels: alert.labels.clone().into_iter().collect(),
        annotations: alert.annotations.clone().into_iter().collect(),
        starts_at: Timestamp::from_millis(alert.started_at_ms),
        ends_at: over.then(|| Timestamp::from_millis(alert.since_ms)),
        runbook_url: alert.runbook_url.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::delivery::text::tests::said;

    #[test]
    fn an_event_says_what_and_since_when() {
        let fired = said(NotificationKind::Firing);
        let event = event(&fired, &fired.alerts[0]);
        assert_eq!((event.state, event.value, event.ends_at), (AlertState::Firing, Some(92.0), None));
        assert_eq!(event.instance_id.as_deref(), Some("db-1"));
        let over = said(NotificationKind::Resolved);
        let event = super::event(&over, &over.alerts[0]);
        assert_eq!(
            (event.state, event.ends_at),
            (AlertState::Resolved, Some(Timestamp::from_millis(1_772_366_460_000)))
        );
        assert_eq!((event.correlation_id.as_str(), event.transition_id.as_str()), ("c1", "t1"));
    }
}
