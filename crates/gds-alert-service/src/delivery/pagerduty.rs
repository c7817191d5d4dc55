//! PagerDuty's Events API v2: an incident for each alert, by its key.

use gds_alerting::effect::{AlertView, Notification, NotificationKind};
use reqwest::header::HeaderMap;
use serde_json::{Value, json};

use super::http::Endpoint;
use super::outcome::Outcome;
use super::text;

pub(super) const URL: &str = "https://events.pagerduty.com/v2/enqueue";
/// What the service takes of a `dedup_key` and of a summary, in characters.
const LONGEST_KEY: usize = 255;
const LONGEST_SUMMARY: usize = 1024;

#[derive(Debug)]
pub(super) struct PagerDuty {
    pub(super) endpoint: Endpoint,
    pub(super) routing_key: String,
}

impl PagerDuty {
    pub(super) async fn send(&self, said: &Notification, acknowledged: bool) -> Outcome {
        let Some(alert) = said.alerts.first() else { return Outcome::Delivered };
        let body = self.body(said, alert, acknowledged);
        match self.endpoint.post(HeaderMap::new(), body.to_string().into_bytes()).await {
            Ok(answer) => answer.outcome(),
            Err(outcome) => outcome,
        }
    }

    fn body(&self, said: &Notification, alert: &AlertView, acknowledged: bool) -> Value {
        let action = match said.kind {
            _ if acknowledged => "acknowledge",
            NotificationKind::Resolved => "resolve",
            _ => "trigger",
        };
        let of = |name: &str| alert.labels.get(name).map(String::as_str).unwrap_or_default();
        let source = if of("instance_id").is_empty() { "gds-alerting" } else { of("instance_id") };
        let links: Vec<Value> = [("Runbook", &alert.runbook_url), ("Dashboard", &alert.dashboard_url)]
            .into_iter()
            .filter_map(|(name, url)| url.as_ref().map(|url| json!({"href": url, "text": name})))
            .collect();
        let details: serde_json::Map<String, Value> =
            text::facts(alert).into_iter().map(|(name, value)| (name, value.into())).collect();
        json!({
            "routing_key": self.routing_key,
            "event_action": action,
            "dedup_key": dedup_key(&alert.key),
            "client": "gds-alerting",
            "payload": {
                "summary": text::cut(&text::one_line(text::summary(alert)), LONGEST_SUMMARY),
                "source": source,
                "severity": severity(&alert.severity),
                "timestamp": text::time(alert.started_at_ms),
                "component": of("metric"),
                "class": alert.rule,
                "custom_details": details,
            },
            "links": links,
        })
    }
}

/// The alert's key. Of one that is too long, its beginning and a hash of the whole.
fn dedup_key(key: &str) -> String {
    if key.chars().count() <= LONGEST_KEY {
        return key.to_owned();
    }
    // FNV-1a: the same in each process, which is all that is asked of it.
    let hash = key
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3));
    format!("{}:{hash:016x}", key.chars().take(LONGEST_KEY - 17).collect::<String>())
}

/// Those that the service knows.
fn severity(given: &str) -> &'static str {
    match given.to_ascii_lowercase().as_str() {
        "critical" | "fatal" | "emergency" | "page" => "critical",
        "error" | "high" => "error",
        "info" | "notice" | "low" | "none" => "info",
        _ => "warning",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::delivery::text::tests::said;

    #[test]
    fn an_alert_is_an_incident_by_its_key() {
        let endpoint = Endpoint::new(URL, std::time::Duration::from_secs(1), None).expect("an endpoint");
        let to = PagerDuty { endpoint, routing_key: "R".to_owned() };
        let fired = said(NotificationKind::Firing);
        let body = to.body(&fired, &fired.alerts[0], false);
        assert_eq!((body["event_action"].as_str(), body["routing_key"].as_str()), (Some("trigger"), Some("R")));
        assert_eq!(body["dedup_key"], "cpu_high:db-1:cpu_usage");
        assert_eq!(body["payload"]["source"], "db-1");
        assert_eq!(body["payload"]["severity"], "critical");
        assert_eq!(body["links"][0]["href"], "https://example.com/cpu");
        assert_eq!(to.body(&fired, &fired.alerts[0], true)["event_action"], "acknowledge");
        let over = said(NotificationKind::Resolved);
        assert_eq!(to.body(&over, &over.alerts[0], false)["event_action"], "resolve");
    }

    #[test]
    fn long_keys_stay_apart() {
        let (one, other) = (format!("{}1", "k".repeat(300)), format!("{}2", "k".repeat(300)));
        assert_eq!(dedup_key(&one).chars().count(), LONGEST_KEY);
        assert_ne!(dedup_key(&one), dedup_key(&other));
        assert_eq!(dedup_key(&one), dedup_key(&one.clone()));
    }
}
