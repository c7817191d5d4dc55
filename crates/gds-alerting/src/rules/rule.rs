//! One rule.

use super::condition;
use super::fields::{Fields, template};
use super::model::{Canary, Condition, Flapping, Limit, Rule};
use super::selector::known;
use crate::expression::Expression;
use crate::matcher::Labels;
use crate::problem::Sink;
use crate::yaml::{Node, NodeKind};

const KEYS: [&str; 31] = [
    "id",
    "description",
    "metric",
    "filter",
    "evaluate",
    "severity",
    "page",
    "labels",
    "runbook_url",
    "dashboard_url",
    "owner",
    "impact",
    "routing_key",
    "annotations",
    "enabled",
    "shadow",
    "canary",
    "auto_resolve",
    "flapping",
    "limit",
    "no_data_after",
    "expect",
    "for",
    "keep_firing_for",
    "burn_rate",
    "threshold",
    "rate_of_change",
    "absence",
    "slo",
    "anomaly",
    "composite",
];

pub(super) fn read(sink: &Sink, path: &str, node: &Node, ids: &[String]) -> Option<Rule> {
    let fields = Fields::open(sink, path, node, &KEYS)?;
    let id = fields.required("id", "a name that no other rule has");
    let timed = condition::read(&fields);
    let composite = fields.get("composite").is_some();
    for key in ["metric", "filter", "evaluate", "no_data_after", "expect"] {
        if let (true, Some(node)) = (composite, fields.get(key)) {
            fields.put(key, node, "not for a composite, which looks at other rules; leave it out");
        }
    }
    let metric = if composite { None } else { fields.required("metric", "the name of a metric") };
    if let (Some(node), None) = (fields.get("burn_rate"), fields.get("slo")) {
        fields.put("burn_rate", node, "needs `slo` beside it, with the objective");
    }
    let timed = timed?;
    if let Condition::Composite(composite) = &timed.condition {
        let node = fields.get("composite")?;
        for other in composite.all.iter().chain(&composite.any).chain(&composite.none) {
            known(&fields, "composite", node, other, ids);
        }
    }
    Some(Rule {
        id: id?,
        description: fields.text("description").unwrap_or_default(),
        metric,
        filter: fields.expression("filter", Expression::condition),
        evaluate: fields.expression("evaluate", Expression::number).filter(|evaluate| !evaluate.is_value()),
        condition: timed.condition,
        for_ms: fields.duration("for").unwrap_or(timed.for_ms),
        keep_firing_for_ms: fields.duration("keep_firing_for").unwrap_or(timed.keep_firing_for_ms),
        no_data_after_ms: fields.duration("no_data_after").filter(|after| *after > 0).or(timed.no_data_after_ms),
        expect: expect(&fields, timed.expect),
        severity: fields.text("severity").unwrap_or_else(|| "warning".to_owned()),
        page: fields.boolean("page", false),
        labels: labels(&fields),
        runbook_url: fields.text("runbook_url"),
        dashboard_url: fields.text("dashboard_url"),
        owner: fields.text("owner"),
        impact: fields.text("impact"),
        routing_key: fields.text("routing_key"),
        annotations: fields
            .map("annotations")
            .into_iter()
            .filter_map(|(name, path, node)| Some((name.scalar()?.to_owned(), template(sink, &path, node)?)))
            .collect(),
        enabled: fields.boolean("enabled", true),
        shadow: fields.boolean("shadow", false),
        canary: canary(&fields),
        auto_resolve: fields.boolean("auto_resolve", true),
        flapping: flapping(&fields),
        limit: limit(&fields),
    })
}

fn expect(fields: &Fields<'_>, inner: Vec<String>) -> Vec<String> {
    let outer = fields.texts("expect").unwrap_or_default();
    if let (Some(node), None, None) = (fields.get("expect"), fields.get("no_data_after"), fields.get("absence")) {
        fields.put("expect", node, "needs `no_data_after`: for how long an instance may be silent");
    }
    if outer.is_empty() { inner } else { outer }
}

fn labels(fields: &Fields<'_>) -> Labels {
    let mut labels = Labels::new();
    for (name, path, node) in fields.map("labels") {
        match node.scalar() {
            Some(value) => drop(labels.insert(name.scalar().unwrap_or_default().to_owned(), value.to_owned())),
            None => fields.sink.put(node.mark, &path, format!("{} is no label; expected text", node.name())),
        }
    }
    labels
}

fn canary(fields: &Fields<'_>) -> Canary {
    let Some(node) = fields.get("canary") else { return Canary::Off };
    if let NodeKind::List(_) = node.kind {
        return Canary::Instances(fields.texts("canary").unwrap_or_default());
    }
    let percent = |node: &Node| match node.scalar()? {
        "false" => Some(Canary::Off),
        text => text.trim_end_matches('%').parse().ok().filter(|percent| *percent <= 100).map(Canary::Percent),
    };
    fields.read("canary", "a list of instances, or a share such as 10%", percent).unwrap_or_default()
}

fn flapping(fields: &Fields<'_>) -> Option<Flapping> {
    let inner = Fields::open(fields.sink, &fields.key("flapping"), fields.get("flapping")?, &["changes", "within"])?;
    let changes = inner.count("changes", 2, 1_000).unwrap_or(6);
    Some(Flapping { changes, within_ms: inner.duration("within").filter(|within| *within > 0).unwrap_or(3_600_000) })
}

fn limit(fields: &Fields<'_>) -> Option<Limit> {
    let inner = Fields::open(fields.sink, &fields.key("limit"), fields.get("limit")?, &["alerts", "within"])?;
    if inner.get("alerts").is_none() {
        inner.missing("alerts", "how many alerts of the rule are told one by one");
    }
    let alerts = inner.count("alerts", 1, 1_000_000)?;
    Some(Limit { alerts, within_ms: inner.duration("within").filter(|within| *within > 0).unwrap_or(3_600_000) })
}
