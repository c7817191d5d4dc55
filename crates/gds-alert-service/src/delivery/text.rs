//! What people read of a notification.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use gds_alerting::effect::{AlertView, Notification, NotificationKind, State};
use gds_events::Timestamp;

/// A moment as people and programs read it: ISO 8601, in UTC.
pub(crate) fn time(at_ms: i64) -> String {
    Timestamp::from_millis(at_ms).to_string()
}

/// Annotations as Alertmanager's users have them: with where to look and what to do among them.
pub(crate) fn annotations(alert: &AlertView) -> BTreeMap<String, String> {
    let mut annotations = alert.annotations.clone();
    for (name, value) in [("runbook_url", &alert.runbook_url), ("dashboard_url", &alert.dashboard_url)] {
        if let Some(value) = value {
            annotations.entry(name.to_owned()).or_insert_with(|| value.clone());
        }
    }
    annotations
}

/// What Alertmanager's users tell alerts apart by. Of the trouble: the same when it fires and when it is over.
pub(crate) fn fingerprint(alert: &AlertView) -> &str {
    alert.correlation_id.get(..16).unwrap_or(&alert.correlation_id)
}

/// What a line about an alert begins with.
pub(crate) fn word(kind: NotificationKind) -> &'static str {
    match kind {
        NotificationKind::Firing => "FIRING",
        NotificationKind::NoData => "NO DATA",
        NotificationKind::Flapping => "FLAPPING",
        NotificationKind::Resolved => "RESOLVED",
        NotificationKind::Reminder => "STILL FIRING",
        NotificationKind::Escalation => "ESCALATED",
        NotificationKind::Limited => "MORE ALERTS",
    }
}

/// What an alert is about, in a line: its summary, or its key.
pub(crate) fn summary(alert: &AlertView) -> &str {
    let of = |name| alert.annotations.get(name).map(String::as_str).filter(|text| !text.trim().is_empty());
    of("summary").or_else(|| of("description")).unwrap_or(&alert.key)
}

/// One line for a notification, without line breaks.
pub(crate) fn title(said: &Notification) -> String {
    let mut title = word(said.kind).to_owned();
    if said.news > 1 {
        let _ = write!(title, " ({})", said.news);
    }
    if let Some(alert) = said.alerts.first() {
        let _ = write!(title, " {}: {}", alert.severity, summary(alert));
    }
    one_line(&title)
}

/// Text without line breaks and other control characters.
pub(crate) fn one_line(text: &str) -> String {
    let plain: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    plain.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// At most so many characters, the last of them `…` where something is left out.
pub(crate) fn cut(text: &str, characters: usize) -> String {
    if text.chars().count() <= characters {
        return text.to_owned();
    }
    text.chars().take(characters.saturating_sub(1)).chain(['…']).collect()
}

/// All there is to say about an alert, line by line: name and value. What is not there is left out.
pub(crate) fn facts(alert: &AlertView) -> Vec<(String, String)> {
    let mut facts = Vec::new();
    let mut put = |name: &str, value: &str| {
        if !value.is_empty() {
            facts.push((name.to_owned(), value.to_owned()));
        }
    };
    for (name, text) in &alert.annotations {
        put(name, text);
    }
    put("alert", &alert.key);
    put("state", alert.state.name());
    put("severity", &alert.severity);
    put("value", &alert.value);
    put("since", &time(alert.started_at_ms));
    if alert.state == State::Resolved {
        put("resolved", &time(alert.since_ms));
    }
    put("runbook", alert.runbook_url.as_deref().unwrap_or_default());
    put("dashboard", alert.dashboard_url.as_deref().unwrap_or_default());
    put("routing key", alert.routing_key.as_deref().unwrap_or_default());
    let own = ["alertname", "severity", "page"];
    let labels: Vec<String> = alert
        .labels
        .iter()
        .filter(|(name, _)| !own.contains(&name.as_str()))
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    put("labels", &labels.join(", "));
    facts
}

/// The whole of a notification as plain text.
pub(crate) fn plain(said: &Notification) -> String {
    let mut text = String::new();
    for (number, alert) in said.alerts.iter().enumerate() {
        if number == said.news {
            text.push_str("Also open:\n\n");
        }
        for (name, value) in facts(alert) {
            let _ = writeln!(text, "{name}: {}", value.replace("\r\n", "\n"));
        }
        text.push('\n');
    }
    text
}

/// The same as HTML.
pub(crate) fn html(said: &Notification) -> String {
    let mut text = format!("<!DOCTYPE html><html><body><h2>{}</h2>\n", escaped(&title(said)));
    for (number, alert) in said.alerts.iter().enumerate() {
        if number == said.news {
            text.push_str("<h3>Also open</h3>\n");
        }
        text.push_str("<table>\n");
        for (name, value) in facts(alert) {
            let value = escaped(&value);
            // Only what a browser opens by itself becomes a link.
            let shown = if value.starts_with("https://") || value.starts_with("http://") {
                format!("<a href=\"{value}\">{value}</a>")
            } else {
                value.replace('\n', "<br>")
            };
            let _ = writeln!(text, "<tr><th align=\"left\">{}</th><td>{shown}</td></tr>", escaped(&name));
        }
        text.push_str("</table>\n");
    }
    text.push_str("</body></html>\n");
    text
}

/// Text as HTML has it, also in an attribute.
pub(crate) fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}

/// For a terminal: a line that says what, and what there is to know below it.
pub(crate) fn terminal(said: &Notification) -> String {
    let mut text = String::new();
    for alert in said.alerts.iter().take(said.news) {
        let page = if alert.page { " page" } else { "" };
        let at = time(said.at_ms);
        let _ = writeln!(text, "{at} {} {}{page} {}", word(said.kind), alert.severity, printable(&alert.key));
        for (name, value) in facts(alert) {
            if !["alert", "state", "severity"].contains(&name.as_str()) {
                let _ = writeln!(text, "    {name}: {}", printable(&one_line(&value)));
            }
        }
    }
    text.truncate(text.trim_end().len());
    text
}

/// Without characters that a terminal would obey.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A notification of one alert.
    pub(crate) fn said(kind: NotificationKind) -> Notification {
        let text = |text: &str| text.to_owned();
        let alert = AlertView {
            key: text("cpu_high:db-1:cpu_usage"),
            rule: text("cpu_high"),
            state: if kind == NotificationKind::Resolved { State::Resolved } else { State::Firing },
            transition_id: text("t1"),
            correlation_id: text("c1"),
            severity: text("critical"),
            page: true,
            value: text("92"),
            started_at_ms: 1_772_366_400_000,
            since_ms: 1_772_366_460_000,
            labels: [("alertname", "cpu_high"), ("severity", "critical"), ("instance_id", "db-1"), ("page", "true")]
                .into_iter()
                .map(|(name, value)| (text(name), text(value)))
                .collect(),
            annotations: [(text("summary"), text("db-1 is <busy>"))].into_iter().collect(),
            routing_key: Some(text("dba")),
            runbook_url: Some(text("https://example.com/cpu")),
            dashboard_url: None,
        };
        Notification {
            id: text("n1"),
            channel: text("c"),
            kind,
            group: text("0/cpu_high:db-1:cpu_usage"),
            group_labels: alert.labels.clone(),
            at_ms: 1_772_366_460_000,
            alerts: vec![alert],
            news: 1,
        }
    }

    #[test]
    fn a_terminal_is_told_what_and_what_to_do() {
        let mut fired = said(NotificationKind::Firing);
        fired.alerts[0].annotations.insert("evil".to_owned(), "a\u{1b}[2Jb".to_owned());
        let text = terminal(&fired);
        assert!(text.starts_with("2026-03-01T12:01:00"), "{text}");
        assert!(text.contains(" FIRING critical page cpu_high:db-1:cpu_usage\n"), "{text}");
        assert!(text.contains("\n    runbook: https://example.com/cpu"), "{text}");
        assert!(text.contains("\n    value: 92") && !text.contains('\u{1b}'), "{text}");
        assert!(terminal(&said(NotificationKind::Resolved)).contains(" RESOLVED critical page "));
    }

    #[test]
    fn html_holds_no_markup_of_others() {
        let text = html(&said(NotificationKind::Firing));
        assert!(text.contains("db-1 is &lt;busy&gt;") && !text.contains("<busy>"), "{text}");
        assert!(text.contains("<a href=\"https://example.com/cpu\">"), "{text}");
    }

    #[test]
    fn titles_are_one_line() {
        let mut fired = said(NotificationKind::Firing);
        fired.alerts[0].annotations.insert("summary".to_owned(), "Über\r\nBcc: x@y".to_owned());
        assert_eq!(title(&fired), "FIRING critical: Über Bcc: x@y");
        assert_eq!(cut("abcdef", 4), "abc…");
        assert_eq!(cut("abcd", 4), "abcd");
    }
}
