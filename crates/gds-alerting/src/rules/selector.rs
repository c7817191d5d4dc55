//! Which alerts something is about: `{severity: critical}`, `["severity=~\"crit.*\""]`, or names of rules.

use super::fields::{Fields, texts};
use crate::matcher::{Matcher, refuse_contradictions};
use crate::yaml::{Node, NodeKind};

/// Matchers of a key: a mapping of labels to texts or lists of texts, or a list of matchers.
pub(crate) fn matchers(fields: &Fields<'_>, key: &str) -> Vec<Matcher> {
    let Some(node) = fields.get(key) else { return Vec::new() };
    let found = match &node.kind {
        NodeKind::Map(_) => mapping(fields, key, false),
        _ => written(fields, key, node),
    };
    if let Err(message) = refuse_contradictions(&found) {
        fields.put(key, node, message);
    }
    found
}

/// Matchers of a mapping of labels to patterns.
pub(crate) fn patterns(fields: &Fields<'_>, key: &str) -> Vec<Matcher> {
    mapping(fields, key, true)
}

fn mapping(fields: &Fields<'_>, key: &str, regex: bool) -> Vec<Matcher> {
    let mut found = Vec::new();
    for (name, path, value) in fields.map(key) {
        let Some(values) = texts(value) else {
            fields.sink.put(
                value.mark,
                &path,
                format!("{} is wrong here; expected text or a list of texts", value.name()),
            );
            continue;
        };
        let name = name.scalar().unwrap_or_default();
        let name = name.strip_prefix("tags.").or_else(|| name.strip_prefix("labels.")).unwrap_or(name);
        let name = if matches!(name, "rule" | "rule_id" | "rule.id") { "alertname" } else { name };
        match any_of(name, &values, regex) {
            Ok(matcher) => found.push(matcher),
            Err(message) => fields.sink.put(value.mark, &path, message),
        }
    }
    found
}

/// One matcher for one of several values.
fn any_of(name: &str, values: &[String], regex: bool) -> Result<Matcher, String> {
    match values {
        [value] => Matcher::new(name, value, regex, true),
        _ if regex => Matcher::new(name, &values.join("|"), true, true),
        _ => Matcher::new(
            name,
            &values.iter().map(|value| regex::escape(value)).collect::<Vec<_>>().join("|"),
            true,
            true,
        ),
    }
}

fn written(fields: &Fields<'_>, key: &str, node: &Node) -> Vec<Matcher> {
    let Some(list) = fields.texts(key) else { return Vec::new() };
    let read = |text: &String| Matcher::parse(text).map_err(|message| fields.put(key, node, message)).ok();
    list.iter().filter_map(read).collect()
}

/// Alerts by names of rules, or by matchers; the names are checked by who knows all rules.
pub(crate) fn selector(fields: &Fields<'_>, key: &str, ids: &[String]) -> Vec<Matcher> {
    let Some(node) = fields.get(key) else {
        fields.missing(key, "names of rules, or labels such as {severity: critical}");
        return Vec::new();
    };
    if matches!(node.kind, NodeKind::Map(_)) {
        return matchers(fields, key);
    }
    let Some(list) = fields.texts(key) else { return Vec::new() };
    if list.iter().any(|text| text.contains(['=', '~'])) {
        return matchers(fields, key);
    }
    for id in &list {
        known(fields, key, node, id, ids);
    }
    any_of("alertname", &list, false).map_or_else(|_| Vec::new(), |matcher| vec![matcher])
}

/// Says so where a name is none of a rule.
pub(crate) fn known(fields: &Fields<'_>, key: &str, node: &Node, id: &str, ids: &[String]) {
    if ids.iter().any(|known| known == id) {
        return;
    }
    let known: Vec<&str> = ids.iter().map(String::as_str).collect();
    let remedy = crate::nearest::nearest(id, &known)
        .map_or_else(|| "expected the id of a rule of this file".to_owned(), |near| format!("did you mean `{near}`?"));
    fields.put(key, node, format!("there is no rule `{id}`; {remedy}"));
}
