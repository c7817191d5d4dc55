//! `gds_notification`: `POST {url}/ingest`, one message for each alert that has changed.

use std::collections::BTreeMap;

use gds_alerting::effect::{AlertView, Notification, NotificationKind};
use reqwest::header::HeaderMap;
use serde_json::json;

use super::http::Endpoint;
use super::outcome::Outcome;
use super::text;

/// What the service keeps of an id.
const LONGEST_ID: usize = 200;
/// What it keeps of a subject: that of a message is `Alert: `, so many characters, and `...`.
const SUBJECT: usize = 50;

#[derive(Debug)]
pub(super) struct GdsNotification {
    pub(super) endpoint: Endpoint,
    pub(super) headers: HeaderMap,
    /// The numbers that the service knows instances by.
    pub(super) instances: BTreeMap<String, i64>,
}

impl GdsNotification {
    pub(super) async fn send(&self, said: &Notification) -> Outcome {
        let Some(alert) = said.alerts.first() else { return Outcome::Delivered };
        let body = self.body(said, alert);
        match self.endpoint.post(self.headers.clone(), body.to_string().into_bytes()).await {
            Ok(answer) => answer.outcome(),
            Err(outcome) => outcome,
        }
    }

    fn body(&self, said: &Notification, alert: &AlertView) -> serde_json::Value {
        json!({
            "alert_name": alert.rule,
            "db_instance_id": self.instance(alert),
            "subject": subject(said),
            // The service drops severity, runbook and labels, so they stand in here too.
            "body_text": text::plain(said),
            "body_html": text::html(said),
            "message_id": message_id(said, alert),
            "severity": alert.severity,
            "runbook_url": alert.runbook_url,
            "labels": alert.labels,
            "routing_key": alert.routing_key,
        })
    }

    /// A number: of the map, or of a label of that name.
    fn instance(&self, alert: &AlertView) -> Option<i64> {
        let of = |name: &str| alert.labels.get(name);
        let mapped = of("instance_id").and_then(|instance| self.instances.get(instance).copied());
        mapped.or_else(|| of("db_instance_id").and_then(|number| number.parse().ok()))
    }
}

fn subject(said: &Notification) -> String {
    let title = text::title(said);
    format!("Alert: {}...", title.chars().take(SUBJECT).collect::<String>())
}

/// That of the transition. What is said once more of the same transition is a message of its own.
fn message_id(said: &Notification, alert: &AlertView) -> String {
    let id = match said.kind {
        NotificationKind::Firing
        | NotificationKind::NoData
        | NotificationKind::Flapping
        | NotificationKind::Resolved => alert.transition_id.clone(),
        NotificationKind::Reminder | NotificationKind::Escalation | NotificationKind::Limited => {
            format!("{}:{}:{}", alert.transition_id, said.kind.name(), said.at_ms)
        }
    };
    id.chars().take(LONGEST_ID).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::delivery::text::tests::said;

    #[test]
    fn a_message_is_what_the_service_takes() {
        let endpoint = Endpoint::new("http://localhost:1/ingest", std::time::Duration::from_secs(1), None);
        let mut to = GdsNotification {
            endpoint: endpoint.expect("an endpoint"),
            headers: HeaderMap::new(),
            instances: [("db-1".to_owned(), 17)].into(),
        };
        let mut fired = said(NotificationKind::Firing);
        let body = to.body(&fired, &fired.alerts[0]);
        assert_eq!(body["alert_name"], "cpu_high");
        assert_eq!(body["db_instance_id"], 17);
        assert_eq!(body["subject"], "Alert: FIRING critical: db-1 is <busy>...");
        assert_eq!(body["message_id"], "t1");
        assert_eq!(body["routing_key"], "dba");
        for part in ["severity: critical", "runbook: https://example.com/cpu", "instance_id=db-1"] {
            assert!(body["body_text"].as_str().is_some_and(|text| text.contains(part)), "{part}");
        }
        assert_eq!(to.body(&said(NotificationKind::Resolved), &fired.alerts[0])["message_id"], "t1");
        let again = said(NotificationKind::Reminder);
        assert_eq!(message_id(&again, &again.alerts[0]), "t1:reminder:1772366460000");
        to.instances.clear();
        assert_eq!(to.body(&fired, &fired.alerts[0])["db_instance_id"], serde_json::Value::Null);
        fired.alerts[0].labels.insert("db_instance_id".to_owned(), "23".to_owned());
        assert_eq!(to.body(&fired, &fired.alerts[0])["db_instance_id"], 23);
        fired.alerts[0].annotations.insert("summary".to_owned(), "ü".repeat(1200));
        assert_eq!(subject(&fired).chars().count(), 7 + 50 + 3);
    }
}
