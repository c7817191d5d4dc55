//! The sections `routing` and `policy`.

use std::collections::BTreeMap;

use super::fields::{Fields, join};
use super::model::{Channel, Cooldown, EscalationStep, Heartbeat, Inhibition, Maintenance, Policy, Route, Routing};
use super::selector::{matchers, patterns, selector};
use crate::matcher::refuse_contradictions;
use crate::nearest::nearest;
use crate::problem::Sink;
use crate::schedule::{Schedule, zone};
use crate::yaml::{Node, NodeKind};

const CHANNEL_KINDS: [&str; 7] = ["email", "slack", "pagerduty", "webhook", "gds_notification", "hub", "log"];
/// Of them those that a sign of life may go to: people would not read it for long.
const HEARTBEAT_KINDS: [&str; 2] = ["webhook", "hub"];
const HEARTBEAT_EVERY_MS: i64 = 60_000;
const ROUTE: [&str; 12] = [
    "match",
    "match_re",
    "matchers",
    "channel",
    "channels",
    "continue",
    "routes",
    "group_by",
    "group_wait",
    "group_interval",
    "repeat_interval",
    "escalation",
];
const HOUR: i64 = 3_600_000;

pub(super) fn routing(sink: &Sink, node: &Node) -> Option<Routing> {
    let known = [&["default_channel", "channels", "routes", "heartbeat"], &ROUTE[7..]].concat();
    let fields = Fields::open(sink, "routing", node, &known)?;
    let channels = channels(&fields);
    let mut root = Route { id: "0".to_owned(), repeat_interval_ms: 4 * HOUR, ..Route::default() };
    match fields.required("default_channel", "the name of a channel") {
        Some(name) => root.channels = known_channels(&fields, "default_channel", vec![name], &channels),
        None if channels.is_empty() => return None,
        None => {}
    }
    times(&fields, &mut root, &channels);
    root.routes = routes(&fields, "routes", &root, &channels);
    let heartbeat = heartbeat(&fields, &channels);
    Some(Routing { channels, root, heartbeat })
}

fn heartbeat(fields: &Fields<'_>, channels: &BTreeMap<String, Channel>) -> Option<Heartbeat> {
    let node = fields.get("heartbeat")?;
    let inner = Fields::open(fields.sink, &fields.key("heartbeat"), node, &["channel", "every"])?;
    let channel = inner.required("channel", "the name of a channel of type webhook or hub")?;
    if let Some(found) = channels.get(&channel) {
        if !HEARTBEAT_KINDS.contains(&found.kind.as_str()) {
            let expected = format!("is of type {}; expected one of type {}", found.kind, HEARTBEAT_KINDS.join(" or "));
            inner.put("channel", inner.get("channel").unwrap_or(node), format!("channel `{channel}` {expected}"));
        }
    } else {
        known_channels(&inner, "channel", vec![channel.clone()], channels);
    }
    let every_ms = inner.duration("every").unwrap_or(HEARTBEAT_EVERY_MS);
    if every_ms < 1000 {
        inner.put("every", inner.get("every").unwrap_or(node), "expected 1s or more");
    }
    Some(Heartbeat { channel, every_ms })
}

fn channels(fields: &Fields<'_>) -> BTreeMap<String, Channel> {
    let mut found = BTreeMap::new();
    for (name, path, node) in fields.map("channels") {
        let NodeKind::Map(entries) = &node.kind else {
            fields.sink.put(
                node.mark,
                &path,
                format!("{} is no channel; expected {{type: email, to: ...}}", node.name()),
            );
            continue;
        };
        let mut channel = Channel { kind: String::new(), settings: BTreeMap::new() };
        for (key, value) in entries {
            let key_name = key.scalar().unwrap_or_default();
            let path = join(&path, key_name);
            let lower = key_name.to_lowercase();
            if ["password", "token", "secret", "api_key", "credential"].iter().any(|word| lower.contains(word)) {
                let message =
                    "credentials do not belong into this file; they come from the environment, a file or Vault";
                fields.sink.put(key.mark, &path, message);
            } else if key_name == "type" {
                value.scalar().unwrap_or_default().clone_into(&mut channel.kind);
                if !CHANNEL_KINDS.contains(&channel.kind.as_str()) {
                    let remedy = nearest(&channel.kind, &CHANNEL_KINDS).map_or_else(
                        || format!("expected one of {}", CHANNEL_KINDS.join(", ")),
                        |near| format!("did you mean `{near}`?"),
                    );
                    fields.sink.put(value.mark, &path, format!("unknown type {}; {remedy}", value.name()));
                }
            } else {
                channel.settings.insert(key_name.to_owned(), json(value));
            }
        }
        if channel.kind.is_empty() {
            fields.sink.put(
                node.mark,
                &join(&path, "type"),
                format!("missing; expected one of {}", CHANNEL_KINDS.join(", ")),
            );
        }
        found.insert(name.scalar().unwrap_or_default().to_owned(), channel);
    }
    found
}

/// A value of YAML as one of JSON: plain words are what they look like.
pub(super) fn json(node: &Node) -> serde_json::Value {
    match &node.kind {
        NodeKind::Scalar { text, plain: false } => text.clone().into(),
        NodeKind::Scalar { text, .. } => match text.as_str() {
            _ if node.is_null() => serde_json::Value::Null,
            "true" => true.into(),
            "false" => false.into(),
            _ => text.parse::<serde_json::Number>().map_or_else(|_| text.clone().into(), Into::into),
        },
        NodeKind::List(members) => members.iter().map(json).collect(),
        NodeKind::Map(entries) => entries
            .iter()
            .map(|(key, value)| (key.scalar().unwrap_or_default().to_owned(), json(value)))
            .collect::<serde_json::Map<_, _>>()
            .into(),
    }
}

fn known_channels(
    fields: &Fields<'_>,
    key: &str,
    names: Vec<String>,
    channels: &BTreeMap<String, Channel>,
) -> Vec<String> {
    for name in names.iter().filter(|name| !channels.contains_key(*name)) {
        let known: Vec<&str> = channels.keys().map(String::as_str).collect();
        let remedy = nearest(name, &known)
            .map_or_else(|| "name it under routing.channels".to_owned(), |near| format!("did you mean `{near}`?"));
        let mark = fields.get(key).map_or(fields.mark, |node| node.mark);
        fields.sink.put(mark, &fields.key(key), format!("there is no channel `{name}`; {remedy}"));
    }
    names
}

/// Grouping, times and escalation, where they are not inherited.
fn times(fields: &Fields<'_>, route: &mut Route, channels: &BTreeMap<String, Channel>) {
    if let Some(labels) = fields.texts("group_by") {
        route.group_by = labels;
        // What is gathered needs a moment to come together; what is not goes at once.
        (route.group_wait_ms, route.group_interval_ms) =
            if route.group_by.is_empty() { (0, 0) } else { (30_000, 300_000) };
    }
    for (key, field) in [
        ("group_wait", &mut route.group_wait_ms),
        ("group_interval", &mut route.group_interval_ms),
        ("repeat_interval", &mut route.repeat_interval_ms),
    ] {
        *field = fields.duration(key).unwrap_or(*field);
    }
    if fields.get("escalation").is_some() {
        route.escalation = fields
            .list("escalation")
            .into_iter()
            .filter_map(|(path, node)| {
                let step = Fields::open(fields.sink, &path, node, &["after", "channel", "channels"])?;
                let after_ms = step.duration("after").unwrap_or(0);
                let names = named(&step, channels);
                if names.is_empty() {
                    step.missing("channel", "the name of a channel");
                }
                Some(EscalationStep { after_ms, channels: names })
            })
            .collect();
        route.escalation.sort_by_key(|step| step.after_ms);
    }
}

fn named(fields: &Fields<'_>, channels: &BTreeMap<String, Channel>) -> Vec<String> {
    ["channel", "channels"]
        .into_iter()
        .flat_map(|key| known_channels(fields, key, fields.texts(key).unwrap_or_default(), channels))
        .collect()
}

fn routes(fields: &Fields<'_>, key: &str, parent: &Route, channels: &BTreeMap<String, Channel>) -> Vec<Route> {
    let mut found = Vec::new();
    for (index, (path, node)) in fields.list(key).into_iter().enumerate() {
        let Some(fields) = Fields::open(fields.sink, &path, node, &ROUTE) else { continue };
        let mut route = Route { id: format!("{}.{index}", parent.id), routes: Vec::new(), ..parent.clone() };
        route.matchers = matchers(&fields, "match");
        route.matchers.extend(patterns(&fields, "match_re"));
        route.matchers.extend(matchers(&fields, "matchers"));
        if let Err(message) = refuse_contradictions(&route.matchers) {
            fields.sink.put(fields.mark, &path, message);
        }
        route.continues = fields.boolean("continue", false);
        times(&fields, &mut route, channels);
        let names = named(&fields, channels);
        if !names.is_empty() {
            route.channels = names;
        } else if fields.get("escalation").is_some() {
            route.channels = Vec::new();
        }
        route.routes = routes(&fields, "routes", &route, channels);
        found.push(route);
    }
    found
}

pub(super) fn policy(sink: &Sink, node: Option<&Node>, ids: &[String]) -> Policy {
    let mut policy = Policy {
        cooldown: Cooldown::default(),
        silence_labels: Vec::new(),
        inhibition: Vec::new(),
        maintenance: Vec::new(),
        lateness_ms: 60_000,
        max_ahead_ms: 600_000,
    };
    let known = ["cooldown", "silence_labels", "inhibition", "maintenance", "lateness", "max_ahead"];
    let Some(fields) = node.and_then(|node| Fields::open(sink, "policy", node, &known)) else { return policy };
    policy.cooldown = cooldown(&fields);
    policy.lateness_ms = fields.duration("lateness").unwrap_or(policy.lateness_ms);
    policy.max_ahead_ms = fields.duration("max_ahead").unwrap_or(policy.max_ahead_ms);
    policy.silence_labels = silence_labels(&fields);
    for (path, node) in fields.list("inhibition") {
        let Some(inner) = Fields::open(sink, &path, node, &["suppress_if", "suppresses", "equal"]) else { continue };
        policy.inhibition.push(Inhibition {
            suppress_if: selector(&inner, "suppress_if", ids),
            suppresses: selector(&inner, "suppresses", ids),
            equal: inner.texts("equal").unwrap_or_else(|| vec!["instance_id".to_owned()]),
        });
    }
    policy.maintenance =
        fields.list("maintenance").into_iter().filter_map(|(path, node)| maintenance(sink, &path, node)).collect();
    policy
}

fn cooldown(fields: &Fields<'_>) -> Cooldown {
    match fields.get("cooldown") {
        Some(node) if matches!(node.kind, NodeKind::Map(_)) => {
            let path = fields.key("cooldown");
            let Some(inner) = Fields::open(fields.sink, &path, node, &["initial", "factor", "max", "jitter"]) else {
                return Cooldown::default();
            };
            let number = |key: &str, range: std::ops::RangeInclusive<f64>| {
                let expected = format!("a number from {} to {}", range.start(), range.end());
                inner.read(key, &expected, |node| {
                    node.scalar()?.parse().ok().filter(|number: &f64| range.contains(number))
                })
            };
            let initial_ms = inner.duration("initial").unwrap_or(0);
            Cooldown {
                initial_ms,
                factor: number("factor", 1.0..=100.0).unwrap_or(1.0),
                max_ms: inner.duration("max").unwrap_or(24 * HOUR).max(initial_ms),
                jitter: number("jitter", 0.0..=1.0).unwrap_or(0.0),
            }
        }
        _ => {
            let initial_ms = fields.duration("cooldown").unwrap_or(0);
            Cooldown { initial_ms, factor: 1.0, max_ms: initial_ms, jitter: 0.0 }
        }
    }
}

/// A list of labels that silence by being there, or a mapping of labels to the values that do.
fn silence_labels(fields: &Fields<'_>) -> Vec<(String, Option<String>)> {
    match fields.get("silence_labels") {
        Some(node) if matches!(node.kind, NodeKind::Map(_)) => {
            matchers(fields, "silence_labels").into_iter().map(|matcher| (matcher.name, Some(matcher.value))).collect()
        }
        _ => {
            let labels = fields.texts("silence_labels").unwrap_or_default();
            let split = |label: String| match label.split_once('=') {
                Some((name, value)) => (name.trim().to_owned(), Some(value.trim().trim_matches('"').to_owned())),
                None => (label, None),
            };
            labels.into_iter().map(split).collect()
        }
    }
}

fn maintenance(sink: &Sink, path: &str, node: &Node) -> Option<Maintenance> {
    let known = ["name", "match", "starts_at", "ends_at", "times", "weekdays", "cron", "duration", "timezone"];
    let fields = Fields::open(sink, path, node, &known)?;
    let name = fields.required("name", "what the work is called")?;
    let place = fields.text("timezone").unwrap_or_else(|| "UTC".to_owned());
    let instant = |key: &str| {
        fields.read(key, "a time such as 2026-11-28T22:00:00Z, or with `timezone` one without offset", |node| {
            let text = node.scalar()?;
            let civil = || text.parse::<jiff::civil::DateTime>().ok()?.to_zoned(zone(&place).ok()?).ok();
            let instant = text.parse::<jiff::Timestamp>().ok().or_else(|| Some(civil()?.timestamp()))?;
            Some(instant.as_millisecond())
        })
    };
    let schedule = if let Some(times) = fields.text("times") {
        let weekdays = fields.texts("weekdays").unwrap_or_default();
        Schedule::daily(&times, &weekdays.iter().map(String::as_str).collect::<Vec<_>>(), &place)
    } else if let Some(cron) = fields.text("cron") {
        if fields.get("duration").is_none() {
            fields.missing("duration", "how long the work lasts, such as 2h");
        }
        Schedule::cron(&cron, fields.duration("duration")?, &place)
    } else if let (Some(starts_ms), Some(ends_ms)) = (instant("starts_at"), instant("ends_at")) {
        let order = "`ends_at` is not after `starts_at`".to_owned();
        if starts_ms < ends_ms { Ok(Schedule::Once { starts_ms, ends_ms }) } else { Err(order) }
    } else {
        Err("no time; expected `starts_at` and `ends_at`, `times`, or `cron` and `duration`".to_owned())
    };
    let schedule = schedule.map_err(|message| sink.put(node.mark, path, message)).ok()?;
    Some(Maintenance { name, matchers: matchers(&fields, "match"), schedule })
}
