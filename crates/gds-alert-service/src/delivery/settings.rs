//! What a channel is told in the rules file.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;

/// The settings of a channel, each read once; what is left over is nobody's.
pub(super) struct Settings<'a> {
    given: &'a BTreeMap<String, Value>,
    known: Vec<&'static str>,
}

impl<'a> Settings<'a> {
    pub(super) fn new(given: &'a BTreeMap<String, Value>) -> Self {
        Self { given, known: Vec::new() }
    }

    fn take(&mut self, key: &'static str) -> Option<&'a Value> {
        self.known.push(key);
        self.given.get(key).filter(|value| !value.is_null())
    }

    /// Text, if it is there.
    pub(super) fn text(&mut self, key: &'static str) -> Result<Option<&'a str>, String> {
        match self.take(key) {
            None => Ok(None),
            Some(Value::String(text)) if !text.is_empty() => Ok(Some(text)),
            Some(other) => Err(format!("{key}: {other} is no text")),
        }
    }

    /// A text, several with commas, or a list of texts.
    pub(super) fn texts(&mut self, key: &'static str) -> Result<Vec<String>, String> {
        let wrong = |value: &Value| format!("{key}: {value} is neither a text nor a list of texts");
        match self.take(key) {
            None => Ok(Vec::new()),
            Some(Value::String(text)) => Ok(text.split(',').map(|part| part.trim().to_owned()).collect()),
            Some(Value::Array(all)) => {
                all.iter().map(|one| one.as_str().map(str::to_owned).ok_or_else(|| wrong(one))).collect()
            }
            Some(other) => Err(wrong(other)),
        }
    }

    /// A whole number from 1.
    pub(super) fn count(&mut self, key: &'static str, most: u32) -> Result<Option<u32>, String> {
        let Some(value) = self.take(key) else { return Ok(None) };
        let found =
            value.as_u64().and_then(|value| u32::try_from(value).ok()).filter(|value| (1..=most).contains(value));
        found.map(Some).ok_or_else(|| format!("{key}: {value} is not a whole number from 1 to {most}"))
    }

    /// A time such as 30s.
    pub(super) fn duration(&mut self, key: &'static str) -> Result<Option<Duration>, String> {
        let Some(value) = self.take(key) else { return Ok(None) };
        let found = value.as_str().and_then(gds_alerting::duration::parse).filter(|ms| *ms > 0);
        let found = found.and_then(|ms| u64::try_from(ms).ok()).map(Duration::from_millis);
        found.map(Some).ok_or_else(|| format!("{key}: {value} is no time; expected a form such as 30s or 5m"))
    }

    /// Whole numbers by name.
    pub(super) fn numbers(&mut self, key: &'static str) -> Result<BTreeMap<String, i64>, String> {
        let wrong = |value: &Value| format!("{key}: {value} is no map of names to whole numbers, such as {{db-1: 17}}");
        match self.take(key) {
            None => Ok(BTreeMap::new()),
            Some(Value::Object(all)) => {
                let number = |(name, value): (&String, &Value)| Some((name.clone(), value.as_i64()?));
                all.iter().map(|entry| number(entry).ok_or_else(|| wrong(entry.1))).collect()
            }
            Some(other) => Err(wrong(other)),
        }
    }

    /// After all others: what nobody has asked for.
    pub(super) fn finish(self) -> Result<(), String> {
        match self.given.keys().find(|key| !self.known.contains(&key.as_str())) {
            None => Ok(()),
            Some(key) => Err(format!("unknown key `{key}`; expected one of type, {}", self.known.join(", "))),
        }
    }
}
