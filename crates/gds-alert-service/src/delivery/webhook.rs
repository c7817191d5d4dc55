//! A webhook in Alertmanager's format, version 4.

use std::collections::BTreeMap;

use gds_alerting::effect::{AlertView, Notification, NotificationKind, State};
use gds_alerting::matcher::Labels;
use reqwest::header::HeaderMap;
use serde_json::{Value, json};

use super::http::Endpoint;
use super::outcome::Outcome;
use super::text;

/// How Alertmanager writes a time that there is not.
const NEVER: &str = "0001-01-01T00:00:00Z";

#[derive(Debug)]
pub(super) struct Webhook {
    pub(super) endpoint: Endpoint,
    pub(super) headers: HeaderMap,
}

impl Webhook {
    pub(super) async fn send(&self, said: &Notification) -> Outcome {
        match self.endpoint.post(self.headers.clone(), body(said).to_string().into_bytes()).await {
            Ok(answer) => answer.outcome(),
            Err(outcome) => outcome,
        }
    }
}

pub(super) fn body(said: &Notification) -> Value {
    let labels: Vec<&Labels> = said.alerts.iter().map(|alert| &alert.labels).collect();
    let annotations: Vec<&BTreeMap<String, String>> = said.alerts.iter().map(|alert| &alert.annotations).collect();
    json!({
        "version": "4",
        "groupKey": said.group,
        "truncatedAlerts": 0,
        "status": status(said.kind == NotificationKind::Resolved && said.alerts.len() == said.news),
        "receiver": said.channel,
        "groupLabels": said.group_labels,
        "commonLabels": common(&labels),
        "commonAnnotations": common(&annotations),
        "externalURL": "",
        "alerts": said.alerts.iter().map(alert).collect::<Vec<_>>(),
    })
}

fn alert(alert: &AlertView) -> Value {
    let over = alert.state == State::Resolved;
    json!({
        "status": status(over),
        "labels": alert.labels,
        "annotations": text::annotations(alert),
        "startsAt": text::time(alert.started_at_ms),
        "endsAt": if over { text::time(alert.since_ms) } else { NEVER.to_owned() },
        "generatorURL": alert.dashboard_url.as_deref().unwrap_or_default(),
        "fingerprint": text::fingerprint(alert),
    })
}

fn status(over: bool) -> &'static str {
    if over { "resolved" } else { "firing" }
}

/// What all have alike.
fn common(all: &[&BTreeMap<String, String>]) -> BTreeMap<String, String> {
    let Some((first, others)) = all.split_first() else { return BTreeMap::new() };
    let shared = |(name, value): &(&String, &String)| others.iter().all(|other| other.get(*name) == Some(*value));
    first.iter().filter(shared).map(|(name, value)| (name.clone(), value.clone())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::delivery::text::tests::said;

    #[test]
    fn the_body_is_that_of_alertmanager() {
        let mut fired = said(NotificationKind::Firing);
        let mut other = fired.alerts[0].clone();
        other.labels.insert("instance_id".to_owned(), "db-2".to_owned());
        fired.alerts.push(other);
        let body = body(&fired);
        assert_eq!((body["version"].as_str(), body["status"].as_str()), (Some("4"), Some("firing")));
        assert_eq!(body["commonLabels"]["alertname"], "cpu_high");
        assert_eq!(body["commonLabels"].get("instance_id"), None);
        assert_eq!(body["alerts"][0]["endsAt"], NEVER);
        assert_eq!(body["alerts"][0]["annotations"]["runbook_url"], "https://example.com/cpu");
        let over = super::body(&said(NotificationKind::Resolved));
        assert_eq!(
            (over["status"].as_str(), over["alerts"][0]["status"].as_str()),
            (Some("resolved"), Some("resolved"))
        );
        assert!(over["alerts"][0]["endsAt"].as_str().is_some_and(|at| at.starts_with("2026-03-01T12:01:00")));
    }
}
