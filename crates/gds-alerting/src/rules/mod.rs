//! The rules file, `version: 1`: read whole, with everything that is wrong with it and where.

mod condition;
mod fields;
mod model;
mod routing;
mod rule;
mod selector;

use std::collections::{BTreeMap, HashMap};

pub(crate) use fields::Fields;

pub use model::{
    Anomaly, Baseline, Bounds, BurnRate, BurnWindows, Canary, ChangeUnit, Channel, Composite, Condition, Cooldown,
    Direction, EscalationStep, Flapping, Heartbeat, Inhibition, Limit, Maintenance, Operator, Policy, RateOfChange,
    Route, Routing, Rule, Threshold,
};

use crate::problem::{Problems, Sink};
use crate::template::Template;
use crate::yaml::{self, Node};

const KEYS: [&str; 5] = ["version", "routing", "policy", "alert_key_template", "rules"];
const KEY_TEMPLATE: &str = "{{ rule.id }}:{{ tags.instance_id }}:{{ metric }}";

/// A rules file, compiled.
#[derive(Clone, Debug)]
pub struct Rules {
    /// Where notifications go.
    pub routing: Routing,
    /// What holds for all rules.
    pub policy: Policy,
    /// What makes two alerts the same one.
    pub alert_key_template: Template,
    /// In the order of the file.
    pub rules: Vec<Rule>,
    by_metric: HashMap<String, Vec<usize>>,
    by_id: HashMap<String, usize>,
}

impl Rules {
    /// Reads a file; an error has all that is wrong with it.
    pub fn parse(text: &str) -> Result<Self, Problems> {
        let sink = Sink::default();
        match yaml::read(text) {
            Ok(node) => {
                let read = Self::read(&sink, &node);
                sink.finish(read)
            }
            Err((mark, message)) => {
                sink.put(mark, "", message);
                sink.finish(None)
            }
        }
    }

    /// Reads what stands at a place of another file.
    pub(crate) fn read(sink: &Sink, node: &Node) -> Option<Self> {
        let fields = Fields::open(sink, "", node, &KEYS)?;
        match fields.get("version") {
            None => fields.missing("version", "`version: 1`"),
            Some(node) if node.scalar() != Some("1") => {
                fields.put("version", node, format!("{} is not known; expected 1", node.name()));
            }
            Some(_) => {}
        }
        let nodes = fields.list("rules");
        if fields.get("rules").is_none() {
            fields.missing("rules", "a list of rules");
        }
        let ids = ids(sink, &nodes);
        let routing = match fields.get("routing") {
            Some(node) => routing::routing(sink, node),
            None => Some(Routing::default()),
        };
        let policy = routing::policy(sink, fields.get("policy"), &ids);
        let key = match fields.get("alert_key_template") {
            Some(_) => fields.template("alert_key_template"),
            None => Template::new(KEY_TEMPLATE).ok(),
        };
        let rules: Vec<Rule> = nodes.iter().filter_map(|(path, node)| rule::read(sink, path, node, &ids)).collect();
        composites_of_composites(sink, &nodes, &rules);
        let mut by_metric: HashMap<String, Vec<usize>> = HashMap::new();
        let mut by_id = HashMap::new();
        for (index, rule) in rules.iter().enumerate() {
            by_id.insert(rule.id.clone(), index);
            if let (Some(metric), true) = (&rule.metric, rule.enabled) {
                by_metric.entry(metric.clone()).or_default().push(index);
            }
        }
        Some(Self { routing: routing?, policy, alert_key_template: key?, rules, by_metric, by_id })
    }

    /// The rules that look at a metric, by their places.
    pub fn of_metric(&self, metric: &str) -> &[usize] {
        self.by_metric.get(metric).map_or(&[], Vec::as_slice)
    }

    /// The place of a rule.
    pub fn find(&self, id: &str) -> Option<usize> {
        self.by_id.get(id).copied()
    }
}

/// All ids, so that sections before them can name them; two rules cannot have one.
fn ids(sink: &Sink, nodes: &[(String, &Node)]) -> Vec<String> {
    let mut lines: BTreeMap<String, usize> = BTreeMap::new();
    let mut ids = Vec::new();
    for (path, node) in nodes {
        let yaml::NodeKind::Map(entries) = &node.kind else { continue };
        let Some((_, value)) = entries.iter().find(|(key, _)| key.scalar() == Some("id")) else { continue };
        let Some(id) = value.scalar() else { continue };
        if let Some(line) = lines.insert(id.to_owned(), value.mark.line) {
            sink.put(value.mark, &format!("{path}.id"), format!("rule `{id}` is there twice, first in line {line}"));
        }
        ids.push(id.to_owned());
    }
    ids
}

fn composites_of_composites(sink: &Sink, nodes: &[(String, &Node)], rules: &[Rule]) {
    let composite =
        |id: &str| rules.iter().any(|rule| rule.id == id && matches!(rule.condition, Condition::Composite(_)));
    for rule in rules {
        let Condition::Composite(of) = &rule.condition else { continue };
        if let Some(other) = of.all.iter().chain(&of.any).chain(&of.none).find(|other| composite(other)) {
            let place = nodes.iter().find(|(_, node)| {
                matches!(&node.kind, yaml::NodeKind::Map(entries) if entries.iter().any(|(key, value)| {
                    key.scalar() == Some("id") && value.scalar() == Some(&rule.id)
                }))
            });
            if let Some((path, node)) = place {
                let message = format!("`{other}` is a composite too; name the rules that it is made of");
                sink.put(node.mark, &format!("{path}.composite"), message);
            }
        }
    }
}
