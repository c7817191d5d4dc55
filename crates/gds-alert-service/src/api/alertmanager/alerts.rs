//! Alerts that are open, one by one and in the groups in which they are told.

use std::collections::{BTreeMap, BTreeSet};

use gds_alerting::effect::{AlertView, State};
use gds_alerting::engine::Engine;
use gds_alerting::matcher::{Labels, Matcher};
use gds_alerting::rules::Route;
use gds_net::Response;
use serde_json::{Value, json};

use super::super::answers::{Answer, json};
use super::super::parameter;
use super::{filters, problem, wanted};
use crate::asking::Asking;
use crate::delivery::text;
use crate::now_ms;

/// How far ahead the end of an alert is put that has none: clients take one whose end is past for resolved. As long as
/// Alertmanager's `resolve_timeout`.
const NO_END_MS: i64 = 300_000;

/// Which alerts somebody asks for.
struct Wanted {
    filters: Vec<Matcher>,
    receiver: Option<Matcher>,
    active: bool,
    silenced: bool,
    inhibited: bool,
}

impl Wanted {
    fn parse(query: &str) -> Result<Self, Response> {
        let receiver = parameter(query, "receiver").filter(|pattern| !pattern.is_empty());
        let receiver = receiver.map(|pattern| Matcher::new("receiver", &pattern, true, true)).transpose();
        Ok(Self {
            filters: filters(query)?,
            receiver: receiver.map_err(|wrong| problem(400, &format!("receiver: {wrong}")))?,
            active: wanted(query, "active")?,
            silenced: wanted(query, "silenced")?,
            inhibited: wanted(query, "inhibited")?,
        })
    }

    fn wants(&self, found: &Found) -> bool {
        let muted = !found.silenced_by.is_empty() || found.muted_by.is_some();
        self.filters.iter().all(|filter| filter.matches(&found.alert.labels))
            && (self.silenced || !muted)
            && (self.inhibited || found.inhibited_by.is_none())
            && (self.active || muted || found.inhibited_by.is_some())
    }

    fn wants_receiver(&self, name: &str) -> bool {
        let labels = || Labels::from([("receiver".to_owned(), name.to_owned())]);
        self.receiver.as_ref().is_none_or(|pattern| pattern.matches(&labels()))
    }
}

/// An open alert, who is told of it, and what keeps it from being told.
struct Found {
    alert: AlertView,
    receivers: BTreeSet<String>,
    silenced_by: Vec<String>,
    /// The fingerprint of the alert that makes it needless.
    inhibited_by: Option<String>,
    muted_by: Option<String>,
}

impl Found {
    fn new(engine: &Engine, alert: AlertView, by_key: &BTreeMap<String, String>, now_ms: i64) -> Self {
        let routes = engine.rules().routing.root.leading(&alert.labels);
        let silenced_by = engine.silenced_by(&alert.key, now_ms);
        let inhibited_by = engine.inhibited_by(&alert.key).and_then(|key| by_key.get(key)).cloned();
        let muted = engine.muted(&alert.key, now_ms);
        Self {
            receivers: routes.iter().flat_map(|route| route.channels.iter().cloned()).collect(),
            muted_by: muted.filter(|_| silenced_by.is_empty() && inhibited_by.is_none()),
            alert,
            silenced_by,
            inhibited_by,
        }
    }

    fn json(&self, now_ms: i64) -> Value {
        let muted = !self.silenced_by.is_empty() || self.inhibited_by.is_some() || self.muted_by.is_some();
        let receivers: Vec<Value> = self.receivers.iter().map(|name| json!({"name": name})).collect();
        json!({
            "labels": self.alert.labels,
            "annotations": text::annotations(&self.alert),
            "startsAt": text::time(self.alert.started_at_ms),
            "updatedAt": text::time(self.alert.since_ms),
            "endsAt": text::time(now_ms.saturating_add(NO_END_MS)),
            "generatorURL": self.alert.dashboard_url.as_deref().unwrap_or_default(),
            "fingerprint": text::fingerprint(&self.alert),
            "receivers": receivers,
            "status": {
                "state": if muted { "suppressed" } else { "active" },
                "silencedBy": self.silenced_by,
                "inhibitedBy": self.inhibited_by.iter().collect::<Vec<_>>(),
                "mutedBy": self.muted_by.iter().collect::<Vec<_>>(),
            },
        })
    }
}

fn find(engine: &Engine, wanted: &Wanted, now_ms: i64) -> Vec<Found> {
    let open: Vec<AlertView> = engine.alerts().filter(|alert| alert.state != State::Pending).collect();
    let fingerprint = |alert: &AlertView| (alert.key.clone(), text::fingerprint(alert).to_owned());
    let by_key: BTreeMap<String, String> = open.iter().map(fingerprint).collect();
    let all = open.into_iter().map(|alert| Found::new(engine, alert, &by_key, now_ms));
    all.filter(|found| wanted.wants(found)).collect()
}

pub(super) fn list(asking: &Asking, query: &str) -> Answer {
    let wanted = match Wanted::parse(query) {
        Ok(wanted) => wanted,
        Err(refusal) => return Ok(refusal),
    };
    let alerts = asking.ask(move |evaluator| {
        let now_ms = now_ms();
        let found = find(&evaluator.engine, &wanted, now_ms).into_iter();
        let found = found.filter(|found| found.receivers.iter().any(|name| wanted.wants_receiver(name)));
        found.map(|found| found.json(now_ms)).collect::<Vec<_>>()
    })?;
    Ok(json(200, &alerts))
}

/// The labels that alerts of a group share: all of them, where each is told by itself.
fn group_labels(route: &Route, labels: &Labels) -> Labels {
    let shared = |name: &str| route.group_by.is_empty() || route.group_by.iter().any(|by| by == name);
    labels.iter().filter(|(name, _)| shared(name)).map(|(name, value)| (name.clone(), value.clone())).collect()
}

pub(super) fn groups(asking: &Asking, query: &str) -> Answer {
    let wanted = match Wanted::parse(query) {
        Ok(wanted) => wanted,
        Err(refusal) => return Ok(refusal),
    };
    let groups = asking.ask(move |evaluator| {
        let now_ms = now_ms();
        // By route, labels and receiver; alerts that are told by themselves may have the same labels.
        let mut groups: BTreeMap<(String, Labels, String, String), Vec<Value>> = BTreeMap::new();
        for found in find(&evaluator.engine, &wanted, now_ms) {
            for route in evaluator.engine.rules().routing.root.leading(&found.alert.labels) {
                let labels = group_labels(route, &found.alert.labels);
                let alone = if route.group_by.is_empty() { found.alert.key.as_str() } else { "" };
                for channel in route.channels.iter().filter(|name| wanted.wants_receiver(name)) {
                    let group = (route.id.clone(), labels.clone(), alone.to_owned(), channel.clone());
                    groups.entry(group).or_default().push(found.json(now_ms));
                }
            }
        }
        let group = |((_, labels, _, receiver), alerts): ((_, Labels, _, String), Vec<Value>)| {
            json!({"labels": labels, "receiver": {"name": receiver}, "alerts": alerts})
        };
        groups.into_iter().map(group).collect::<Vec<_>>()
    })?;
    Ok(json(200, &groups))
}
