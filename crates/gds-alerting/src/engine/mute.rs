//! What keeps an alert from being told: silences, planned work, other alerts.

use std::collections::{BTreeMap, BTreeSet};

use super::alert::Alert;
use crate::effect::State;
use crate::event::Silence;
use crate::matcher::{Labels, Matcher};
use crate::rules::{Inhibition, Policy};

/// Values of the labels of an inhibition that have to be the same; a missing one is empty.
type Equal = (usize, Vec<String>);

/// Which open alerts make others needless, found without a look at all alerts.
#[derive(Debug, Default)]
pub(super) struct Inhibitors(BTreeMap<Equal, BTreeSet<String>>);

fn equal(place: usize, inhibition: &Inhibition, labels: &Labels) -> Equal {
    (place, inhibition.equal.iter().map(|name| labels.get(name).cloned().unwrap_or_default()).collect())
}

fn all(matchers: &[Matcher], labels: &Labels) -> bool {
    !matchers.is_empty() && matchers.iter().all(|matcher| matcher.matches(labels))
}

impl Inhibitors {
    /// Notes an alert that has changed: it counts from its firing until it is resolved, also while it has no data.
    pub(super) fn note(&mut self, policy: &Policy, alert: &Alert) {
        for (place, inhibition) in policy.inhibition.iter().enumerate() {
            if alert.shadow || !all(&inhibition.suppress_if, &alert.labels) {
                continue;
            }
            let equal = equal(place, inhibition, &alert.labels);
            match alert.state {
                State::Firing | State::Acknowledged | State::Flapping => {
                    self.0.entry(equal).or_default().insert(alert.key.clone());
                }
                State::NoData => {}
                State::Inactive | State::Pending | State::Resolved => {
                    if let Some(keys) = self.0.get_mut(&equal) {
                        keys.remove(&alert.key);
                        if keys.is_empty() {
                            self.0.remove(&equal);
                        }
                    }
                }
            }
        }
    }

    /// The alert that makes this one needless.
    pub(super) fn find(&self, policy: &Policy, alert: &Alert, alerts: &BTreeMap<String, Alert>) -> Option<&str> {
        policy.inhibition.iter().enumerate().find_map(|(place, inhibition)| {
            if !all(&inhibition.suppresses, &alert.labels) {
                return None;
            }
            // Two alerts that are on both sides do not hide each other.
            let on_both = all(&inhibition.suppress_if, &alert.labels);
            let keys = self.0.get(&equal(place, inhibition, &alert.labels))?;
            keys.iter().map(String::as_str).find(|key| {
                *key != alert.key
                    && !(on_both && alerts.get(*key).is_some_and(|other| all(&inhibition.suppresses, &other.labels)))
            })
        })
    }
}

/// Whether a silence is about labels. One that asks for a label which is not there is about nothing.
pub(super) fn is_about(matchers: &[Matcher], labels: &Labels) -> bool {
    !matchers.is_empty() && matchers.iter().all(|matcher| matcher.matches_present(labels))
}

/// What mutes an alert at a time, apart from other alerts.
pub(super) fn muted_by(
    policy: &Policy,
    silences: &BTreeMap<String, Silence>,
    labels: &Labels,
    now_ms: i64,
) -> Option<String> {
    let label = policy.silence_labels.iter().find(|(name, value)| match (labels.get(name), value) {
        (Some(found), Some(value)) => found == value,
        (Some(found), None) => !matches!(found.as_str(), "" | "false" | "no" | "0"),
        (None, _) => false,
    });
    if let Some((name, _)) = label {
        return Some(format!("label {name}"));
    }
    let window = policy.maintenance.iter().find(|window| {
        (window.matchers.is_empty() || is_about(&window.matchers, labels)) && window.schedule.contains(now_ms)
    });
    if let Some(window) = window {
        return Some(format!("maintenance {}", window.name));
    }
    silences_about(silences, labels, now_ms).next().map(|silence| format!("silence {}", silence.id))
}

/// The silences that hold at a time and are about labels.
pub(super) fn silences_about<'a>(
    silences: &'a BTreeMap<String, Silence>,
    labels: &'a Labels,
    now_ms: i64,
) -> impl Iterator<Item = &'a Silence> {
    silences.values().filter(move |silence| {
        (silence.starts_ms..silence.ends_ms).contains(&now_ms) && is_about(&silence.matchers, labels)
    })
}
