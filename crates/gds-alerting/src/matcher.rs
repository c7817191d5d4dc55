//! Matchers of labels, as Alertmanager writes them: `severity="critical"`, `instance_id=~"db-.+"`.

use std::collections::BTreeMap;

use regex::{Regex, RegexBuilder};
use serde::{Deserialize, Serialize};

/// Labels of an alert.
pub type Labels = BTreeMap<String, String>;

/// One label and what it has to be.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Matcher {
    /// Name of the label.
    pub name: String,
    /// Text or pattern, as it was written.
    pub value: String,
    /// Whether it is a pattern.
    pub is_regex: bool,
    /// Whether it has to match, or must not.
    pub is_equal: bool,
    pattern: Option<Regex>,
}

impl Matcher {
    /// A matcher; a pattern is matched against whole values.
    pub fn new(name: &str, value: &str, is_regex: bool, is_equal: bool) -> Result<Self, String> {
        let pattern = is_regex.then(|| RegexBuilder::new(&format!("^(?s:{value})$")).size_limit(1 << 20).build());
        let pattern = pattern.transpose().map_err(|_| format!("{value:?} is no regular expression"))?;
        Ok(Self { name: name.to_owned(), value: value.to_owned(), is_regex, is_equal, pattern })
    }

    /// Reads `name="value"`, with `=`, `!=`, `=~` or `!~`; quotes may be left out.
    pub fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let end = text.find(|c: char| !c.is_alphanumeric() && !"_.-".contains(c)).unwrap_or(text.len());
        let (name, rest) = text.split_at(end);
        let rest = rest.trim_start();
        let form = || format!("{text:?} is no matcher; expected a form such as severity=\"critical\" or db=~\"a.+\"");
        let (sign, is_regex, is_equal) =
            [("=~", true, true), ("!~", true, false), ("!=", false, false), ("=", false, true)]
                .into_iter()
                .find(|(sign, ..)| rest.starts_with(sign))
                .ok_or_else(form)?;
        let value = rest[sign.len()..].trim();
        let value = match value.strip_prefix('"') {
            Some(open) => open.strip_suffix('"').ok_or_else(form)?.replace("\\\"", "\"").replace("\\\\", "\\"),
            None if value.starts_with(['=', '~']) => return Err(form()),
            None => value.to_owned(),
        };
        if name.is_empty() {
            return Err(form());
        }
        Self::new(name, &value, is_regex, is_equal)
    }

    fn accepts(&self, value: &str) -> bool {
        let found = self.pattern.as_ref().map_or(self.value == value, |pattern| pattern.is_match(value));
        found == self.is_equal
    }

    /// Whether labels match; a missing one is empty text, as for Alertmanager's routes.
    pub fn matches(&self, labels: &Labels) -> bool {
        self.accepts(labels.get(&self.name).map_or("", String::as_str))
    }

    /// Whether labels match; a missing one never does, so that nothing is muted by what it does not have.
    pub fn matches_present(&self, labels: &Labels) -> bool {
        labels.get(&self.name).is_some_and(|value| self.accepts(value))
    }
}

impl PartialEq for Matcher {
    fn eq(&self, other: &Self) -> bool {
        String::from(self.clone()) == String::from(other.clone())
    }
}

impl TryFrom<String> for Matcher {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        Self::parse(&text)
    }
}

impl From<Matcher> for String {
    fn from(matcher: Matcher) -> Self {
        let sign = match (matcher.is_regex, matcher.is_equal) {
            (true, true) => "=~",
            (true, false) => "!~",
            (false, true) => "=",
            (false, false) => "!=",
        };
        format!("{}{sign}\"{}\"", matcher.name, matcher.value.replace('\\', "\\\\").replace('"', "\\\""))
    }
}

/// Refuses two matchers that ask one label for two texts: together they can never match.
pub fn refuse_contradictions(matchers: &[Matcher]) -> Result<(), String> {
    for (index, matcher) in matchers.iter().enumerate() {
        let plain = |other: &Matcher| other.name == matcher.name && other.is_equal && !other.is_regex;
        if plain(matcher) && matchers[..index].iter().any(plain) {
            return Err(format!(
                "label `{}` is asked for twice; use one matcher, or a pattern with `=~`",
                matcher.name
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> Labels {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn matchers_are_read_and_match_whole_values() {
        let critical = labels(&[("severity", "critical")]);
        for (text, expected) in [
            ("severity=\"critical\"", true),
            ("severity = critical", true),
            ("severity!=critical", false),
            ("severity=~\"crit.+\"", true),
            ("severity=~\"crit\"", false),
            ("severity!~\"warn.*\"", true),
        ] {
            let matcher = Matcher::parse(text).expect(text);
            assert_eq!(matcher.matches(&critical), expected, "{text}");
            assert_eq!(Matcher::parse(&String::from(matcher.clone())).expect("its own text"), matcher);
        }
        for text in ["", "severity", "=x", "severity==x", "a=\"x", "a=~\"(\""] {
            assert!(Matcher::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_missing_label_is_empty_for_routes_and_matches_no_silence() {
        let matcher = Matcher::parse("example!~\"x.+\"").expect("a matcher");
        assert!(matcher.matches(&labels(&[])));
        assert!(!matcher.matches_present(&labels(&[])));
        assert!(matcher.matches_present(&labels(&[("example", "y")])));
    }

    #[test]
    fn one_label_cannot_be_two_texts() {
        let twice = ["alertname=A", "alertname=B"].map(|text| Matcher::parse(text).expect("a matcher"));
        assert!(refuse_contradictions(&twice).expect_err("twice").contains("`alertname` is asked for twice"));
    }
}
