//! An alert: all series of a rule that have one key, and what has become of it.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::cell::Level;
use super::identity::hash;
use crate::effect::{AlertView, State, Transition};
use crate::matcher::Labels;
use crate::rules::{Canary, Flapping, Rule};
use crate::sample::Sample;

/// Somebody has taken it on.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Acknowledgement {
    pub(super) by: String,
    pub(super) until_ms: Option<i64>,
}

/// Who is told next.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Escalation {
    pub(super) route: String,
    pub(super) step: usize,
    pub(super) started_ms: i64,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Alert {
    pub(super) key: String,
    pub(super) rule: String,
    pub(super) state: State,
    /// By the time of the samples.
    pub(super) since_ms: i64,
    pub(super) episode: i64,
    sequence: u32,
    pub(super) transition_id: String,
    pub(super) pending: u32,
    pub(super) firing: u32,
    pub(super) no_data: u32,
    pub(super) value: String,
    pub(super) labels: Labels,
    pub(super) annotations: BTreeMap<String, String>,
    /// By the clock, when it opened or was resolved.
    pub(super) clock_ms: i64,
    pub(super) acknowledgement: Option<Acknowledgement>,
    pub(super) escalation: Option<Escalation>,
    /// Times of the last changes between open and not.
    changes: Vec<i64>,
    /// Whether the last of them was to open.
    last_open: bool,
    /// Channels that know of it, and which states they were told.
    pub(super) told: BTreeMap<String, u8>,
    /// The groups it is in.
    pub(super) groups: BTreeSet<String>,
    /// When its last episode was first told, by the clock, and which episode that was.
    pub(super) told_ms: Option<i64>,
    pub(super) told_episode: Option<i64>,
    pub(super) refires: i32,
    /// Nobody is told of it, because its rule is tried out.
    pub(super) shadow: bool,
}

/// The labels of alerts of a rule for a series.
pub(super) fn labels(rule: &Rule, sample: &Sample) -> Labels {
    let mut labels: Labels = sample.tags.clone();
    labels.extend(rule.labels.iter().map(|(name, value)| (name.clone(), value.clone())));
    let own = [
        ("alertname", rule.id.as_str()),
        ("severity", &rule.severity),
        ("page", if rule.page { "true" } else { "false" }),
        ("metric", &sample.metric),
        ("instance_id", &sample.instance_id),
        ("database_type", &sample.database_type),
    ];
    for (name, value) in own {
        // An empty label is none; what a tag says of the instance stays.
        if !value.is_empty() && (!labels.contains_key(name) || matches!(name, "alertname" | "severity" | "page")) {
            labels.insert(name.to_owned(), value.to_owned());
        }
    }
    labels
}

impl Alert {
    pub(super) fn new(key: &str, rule: &Rule) -> Self {
        Self {
            key: key.to_owned(),
            rule: rule.id.clone(),
            state: State::Inactive,
            since_ms: i64::MIN,
            episode: i64::MIN,
            sequence: 0,
            transition_id: String::new(),
            pending: 0,
            firing: 0,
            no_data: 0,
            value: String::new(),
            labels: Labels::new(),
            annotations: BTreeMap::new(),
            clock_ms: i64::MIN,
            acknowledgement: None,
            escalation: None,
            changes: Vec::new(),
            last_open: false,
            told: BTreeMap::new(),
            groups: BTreeSet::new(),
            told_ms: None,
            told_episode: None,
            refires: 0,
            shadow: rule.shadow,
        }
    }

    fn count(&mut self, level: Level) -> Option<&mut u32> {
        match level {
            Level::Fine => None,
            Level::Pending => Some(&mut self.pending),
            Level::Firing => Some(&mut self.firing),
            Level::NoData => Some(&mut self.no_data),
        }
    }

    /// A series of it has changed.
    pub(super) fn moved(&mut self, before: Level, after: Level) {
        if let Some(count) = self.count(before) {
            *count = count.saturating_sub(1);
        }
        if let Some(count) = self.count(after) {
            *count += 1;
        }
    }

    /// What it is by its series: one that fires is enough, and silence of one hides no firing of another.
    pub(super) fn wanted(&self) -> State {
        if self.firing > 0 {
            if self.acknowledgement.is_some() { State::Acknowledged } else { State::Firing }
        } else if self.no_data > 0 {
            State::NoData
        } else if self.state.is_open() {
            State::Resolved
        } else if self.pending > 0 {
            State::Pending
        } else if self.state == State::Pending {
            State::Inactive
        } else {
            self.state
        }
    }

    /// Notes a change between open and not; whether there have been too many.
    pub(super) fn flaps(&mut self, flapping: Flapping, open: bool, at_ms: i64) -> bool {
        if self.changes.is_empty() || self.last_open != open {
            self.changes.push(at_ms);
            self.last_open = open;
        }
        self.changes.retain(|change| at_ms - change < flapping.within_ms);
        self.changes.len() >= flapping.changes as usize
    }

    /// When it has been calm for long enough.
    pub(super) fn calm_at(&self, flapping: Flapping) -> i64 {
        self.changes.last().map_or(self.since_ms, |change| change.saturating_add(flapping.within_ms))
    }

    pub(super) fn correlation_id(&self) -> String {
        hash(&[&self.key, &self.episode.to_string()])
    }

    /// Goes into another state. Time never goes back, and no two episodes begin at one time.
    pub(super) fn go(&mut self, to: State, at_ms: i64, reason: &str, by: Option<&str>) -> Transition {
        let at_ms = at_ms.max(self.since_ms);
        let mut from = std::mem::replace(&mut self.state, to);
        if matches!(from, State::Inactive | State::Resolved) {
            self.episode = at_ms.max(self.episode.saturating_add(1));
            self.sequence = 0;
            // Whether the last trouble is still remembered depends on the clock; what is said of this one must not.
            from = State::Inactive;
        }
        self.sequence += 1;
        self.since_ms = at_ms;
        self.transition_id = hash(&[&self.key, &self.episode.to_string(), &self.sequence.to_string()]);
        Transition {
            id: self.transition_id.clone(),
            correlation_id: self.correlation_id(),
            key: self.key.clone(),
            rule: self.rule.clone(),
            episode: self.episode,
            sequence: self.sequence,
            from,
            to,
            at_ms,
            value: self.value.clone(),
            reason: reason.to_owned(),
            by: by.map(str::to_owned),
            labels: self.labels.clone(),
        }
    }

    pub(super) fn view(&self, rule: Option<&Rule>) -> AlertView {
        let of = |field: fn(&Rule) -> &Option<String>| rule.and_then(|rule| field(rule).clone());
        AlertView {
            key: self.key.clone(),
            rule: self.rule.clone(),
            state: self.state,
            transition_id: self.transition_id.clone(),
            correlation_id: self.correlation_id(),
            severity: self.labels.get("severity").cloned().unwrap_or_default(),
            page: self.labels.get("page").is_some_and(|page| page == "true"),
            value: self.value.clone(),
            started_at_ms: self.episode,
            since_ms: self.since_ms,
            labels: self.labels.clone(),
            annotations: self.annotations.clone(),
            routing_key: of(|rule| &rule.routing_key),
            runbook_url: of(|rule| &rule.runbook_url),
            dashboard_url: of(|rule| &rule.dashboard_url),
        }
    }
}

/// Whether a canary leaves an instance out.
pub(super) fn is_left_out(canary: &Canary, rule: &str, instance: &str) -> bool {
    match canary {
        Canary::Off => false,
        Canary::Instances(instances) => !instances.iter().any(|chosen| chosen == instance),
        Canary::Percent(percent) => {
            super::identity::share(&format!("{rule}/{instance}")) * 100.0 >= f64::from(*percent)
        }
    }
}
