//! What a file of rules says that nobody can have meant: it can be used, and does less than it looks like.

use std::collections::{BTreeMap, BTreeSet};

use crate::matcher::{Labels, Matcher};
use crate::problem::{Problem, Problems, Sink};
use crate::rules::{Inhibition, Route, Rule, Rules};
use crate::template::Template;
use crate::yaml::{self, Mark, Node, NodeKind};

/// What templates see, and of a rule.
const NAMES: [&str; 8] = ["rule", "metric", "instance_id", "database_type", "tags", "labels", "value", "state"];
const OF_A_RULE: [&str; 7] = ["id", "description", "severity", "owner", "impact", "runbook_url", "dashboard_url"];
/// Labels that every alert has because of its rule, and no tag can change.
const OWN: [&str; 3] = ["alertname", "severity", "page"];

/// Reads a file, and looks for routes that nothing comes to, inhibitions that never or always apply, names that no template
/// knows, rules that share a key, and, where the metrics that there are are known, rules about none of them.
///
/// Fails with what keeps the file from being used at all.
pub fn check(text: &str, metrics: Option<&BTreeSet<String>>) -> Result<Vec<Problem>, Problems> {
    let rules = Rules::parse(text)?;
    let Ok(root) = yaml::read(text) else { return Ok(Vec::new()) };
    let sink = Sink::default();
    let finder = Finder { root: &root, sink: &sink };
    for (index, inhibition) in rules.policy.inhibition.iter().enumerate() {
        inhibits(&finder, &format!("policy.inhibition[{index}]"), &rules, inhibition);
    }
    unreachable(&finder, "routing.routes", &rules.routing.root.routes);
    names(&finder, "alert_key_template", &rules.alert_key_template);
    let mut enabled = Vec::new();
    for (index, rule) in rules.rules.iter().enumerate() {
        let path = format!("rules[{index}]");
        for (name, template) in &rule.annotations {
            names(&finder, &format!("{path}.annotations.{name}"), template);
        }
        if rule.enabled {
            enabled.push((path.clone(), rule));
        }
        let (Some(metrics), Some(metric)) = (metrics, &rule.metric) else { continue };
        if !metrics.contains(metric) {
            let known: Vec<&str> = metrics.iter().map(String::as_str).collect();
            let remedy = crate::nearest::nearest(metric, &known)
                .map_or_else(|| "nobody reports it".to_owned(), |near| format!("did you mean `{near}`?"));
            finder.put(&format!("{path}.metric"), format!("there is no metric `{metric}` on the hub; {remedy}"));
        }
    }
    shared_keys(&finder, &rules.alert_key_template, &enabled);
    match sink.finish(Some(())) {
        Ok(()) => Ok(Vec::new()),
        Err(Problems(found)) => Ok(found),
    }
}

struct Finder<'a> {
    root: &'a Node,
    sink: &'a Sink,
}

impl Finder<'_> {
    /// Where a key stands; the nearest one above it that is there.
    fn mark(&self, key: &str) -> Mark {
        let mut node = self.root;
        let mut mark = node.mark;
        for part in key.split(['.', '[']) {
            let next = match (&node.kind, part.strip_suffix(']').and_then(|index| index.parse::<usize>().ok())) {
                (NodeKind::List(members), Some(index)) => members.get(index).map(|member| (member.mark, member)),
                (NodeKind::Map(entries), _) => {
                    let entry = entries.iter().find(|(name, _)| name.scalar() == Some(part));
                    entry.map(|(name, value)| (name.mark, value))
                }
                _ => None,
            };
            let Some(next) = next else { break };
            (mark, node) = next;
        }
        mark
    }

    fn put(&self, key: &str, message: impl Into<String>) {
        self.sink.put(self.mark(key), key, message);
    }
}

fn names(finder: &Finder<'_>, key: &str, template: &Template) {
    for name in template.names() {
        let mut parts = name.split('.');
        let first = parts.next().unwrap_or_default();
        let unknown = match parts.next() {
            _ if !NAMES.contains(&first) => Some((first, &NAMES[..])),
            Some(field) if first == "rule" && !OF_A_RULE.contains(&field) => Some((field, &OF_A_RULE[..])),
            _ => None,
        };
        if let Some((unknown, known)) = unknown {
            let remedy = crate::nearest::nearest(unknown, known).map_or_else(
                || format!("expected one of {}", known.join(", ")),
                |near| format!("did you mean `{near}`?"),
            );
            finder.put(key, format!("`{name}` is always empty: there is no `{unknown}`; {remedy}"));
        }
    }
}

/// Whether whatever `narrow` matches is matched by `wide` too. No where that cannot be told.
fn covers(wide: &Matcher, narrow: &Matcher) -> bool {
    if wide.name != narrow.name {
        return false;
    }
    let one_value = narrow.is_equal && !narrow.is_regex;
    wide == narrow || one_value && wide.matches(&[(narrow.name.clone(), narrow.value.clone())].into())
}

fn unreachable(finder: &Finder<'_>, path: &str, routes: &[Route]) {
    for (index, route) in routes.iter().enumerate() {
        let before = routes[..index].iter().position(|before| {
            let covered = |wide: &Matcher| route.matchers.iter().any(|narrow| covers(wide, narrow));
            !before.continues && before.matchers.iter().all(covered)
        });
        let key = format!("{path}[{index}]");
        if let Some(before) = before {
            let message = format!(
                "nothing comes here: {path}[{before}] takes all of it; put this one first, or give that one `continue: true`"
            );
            finder.put(&key, message);
        }
        unreachable(finder, &format!("{key}.routes"), &route.routes);
    }
}

/// Labels that all alerts of a rule have for certain.
fn certain(rule: &Rule) -> Labels {
    let mut labels: Labels = rule.labels.clone();
    labels.insert("alertname".to_owned(), rule.id.clone());
    labels.insert("severity".to_owned(), rule.severity.clone());
    labels.insert("page".to_owned(), rule.page.to_string());
    labels
}

/// Whether an alert of a rule may match.
fn may_match(rule: &Rule, matchers: &[Matcher]) -> bool {
    let labels = certain(rule);
    // What a tag may say is not known before there is a sample.
    let known = |matcher: &&Matcher| labels.contains_key(&matcher.name) || OWN.contains(&matcher.name.as_str());
    matchers.iter().filter(known).all(|matcher| matcher.matches(&labels))
}

fn inhibits(finder: &Finder<'_>, path: &str, rules: &Rules, inhibition: &Inhibition) {
    let matching = |matchers: &[Matcher]| {
        let found = rules.rules.iter().filter(|rule| rule.enabled && may_match(rule, matchers));
        found.map(|rule| rule.id.as_str()).collect::<BTreeSet<&str>>()
    };
    let (sources, targets) = (matching(&inhibition.suppress_if), matching(&inhibition.suppresses));
    for (key, found) in [("suppress_if", &sources), ("suppresses", &targets)] {
        if found.is_empty() {
            finder.put(&format!("{path}.{key}"), "never applies: no rule that is enabled has such alerts");
        }
    }
    if !sources.is_empty() && sources == targets && inhibition.suppress_if == inhibition.suppresses {
        finder.put(path, "never applies: alerts that match both sides do not hide each other");
    }
    if inhibition.equal.is_empty() {
        let message = "always applies: with `equal: []` one alert hides those of all instances; name labels that have to be the same, such as [instance_id]";
        finder.put(&format!("{path}.equal"), message);
    }
}

fn shared_keys(finder: &Finder<'_>, template: &Template, rules: &[(String, &Rule)]) {
    let names = template.names();
    let has = |name: &str| names.contains(name);
    if has("rule.id") || has("rule") || has("labels.alertname") {
        return;
    }
    let mut first: BTreeMap<&str, &str> = BTreeMap::new();
    for (path, rule) in rules {
        // Without the metric in it, the key of one is that of another.
        let about = if has("metric") { rule.metric.as_deref().unwrap_or_default() } else { "" };
        if let Some(other) = first.insert(about, &rule.id) {
            let message = format!(
                "alerts of `{other}` and `{}` have one key, and so are one alert; put {{{{ rule.id }}}} into alert_key_template",
                rule.id
            );
            finder.put(&format!("{path}.id"), message);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str, metrics: &[&str]) -> Vec<String> {
        let metrics: BTreeSet<String> = metrics.iter().map(|&metric| metric.to_owned()).collect();
        let metrics = (!metrics.is_empty()).then_some(&metrics);
        check(text, metrics).expect("a file that can be used").iter().map(ToString::to_string).collect()
    }

    const RULES: &str = "\
version: 1
routing:
  default_channel: a
  channels: {a: {type: log}}
  routes:
    - match: {severity: [critical, warning]}
      channel: a
    - match: {severity: critical, team: x}
      channel: a
    - match: {severity: info}
      channel: a
policy:
  inhibition:
    - {suppress_if: high, suppresses: {severity: emergency}}
    - {suppress_if: high, suppresses: low, equal: []}
alert_key_template: \"{{ tags.instance_id }}:{{ metric }}\"
rules:
  - id: high
    metric: cpu_usage
    threshold: {op: '>', value: 85}
    annotations:
      summary: \"{{ instance }} at {{ value }} {{ rule.runbok_url }} {{ tags.any.thing }}\"
  - id: low
    metric: cpu_usage
    threshold: {op: '<', value: 1}
  - id: other
    metric: cpu_usge
    threshold: {op: '<', value: 1}
";

    #[test]
    fn what_does_less_than_it_looks_like_is_found_with_its_place() {
        let found = found(RULES, &["cpu_usage", "memory"]);
        let expected = [
            "8:7: routing.routes[1]: nothing comes here: routing.routes[0] takes all of it",
            "14:27: policy.inhibition[0].suppresses: never applies",
            "15:44: policy.inhibition[1].equal: always applies",
            "22:7: rules[0].annotations.summary: `instance` is always empty: there is no `instance`",
            "22:7: rules[0].annotations.summary: `rule.runbok_url` is always empty: there is no `runbok_url`; did you mean `runbook_url`?",
            "23:5: rules[1].id: alerts of `high` and `low` have one key",
            "27:5: rules[2].metric: there is no metric `cpu_usge` on the hub; did you mean `cpu_usage`?",
        ];
        assert_eq!(found.len(), expected.len(), "{found:#?}");
        for (found, expected) in found.iter().zip(expected) {
            assert!(found.starts_with(expected), "{found}\nis not\n{expected}");
        }
    }

    #[test]
    fn a_file_that_is_meant_as_it_stands_has_nothing_of_it() {
        let text = RULES
            .replace("severity: [critical, warning]", "severity: warning")
            .replace("{severity: emergency}", "low")
            .replace(", equal: []", "")
            .replace("{{ instance }}", "{{ instance_id }}")
            .replace("runbok", "runbook")
            .replace("\"{{ tags.instance_id }}", "\"{{ rule.id }}:{{ tags.instance_id }}");
        assert_eq!(found(&text, &[]), Vec::<String>::new());
        assert!(check("version: 2", None).is_err());
    }

    #[test]
    fn an_inhibition_of_itself_never_applies() {
        let text = RULES
            .replace("{suppress_if: high, suppresses: {severity: emergency}}", "{suppress_if: low, suppresses: low}");
        assert!(
            found(&text, &[]).iter().any(|line| line.contains("do not hide each other")),
            "{:?}",
            found(&text, &[])
        );
    }
}
