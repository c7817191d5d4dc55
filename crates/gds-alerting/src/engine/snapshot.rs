//! The whole state as data: for a restart, and for new rules.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::alert::{Alert, labels};
use super::cell::Level;
use super::clock::Partition;
use super::identity::{composite_sample, expected_sample};
use super::lifecycle::key;
use super::notify::{Group, Sent};
use super::series::SeriesRecord;
use super::{Counters, Engine, Expected};
use crate::effect::State;
use crate::event::Silence;
use crate::rules::{Condition, Rule, Rules};
use crate::sample::Sample;

/// Everything that an engine knows, independent of the order of the rules.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Snapshot {
    version: u32,
    series: Vec<SeriesRecord>,
    partitions: BTreeMap<i32, Partition>,
    alerts: Vec<Alert>,
    groups: BTreeMap<String, Group>,
    silences: BTreeMap<String, Silence>,
    expected: Vec<Expected>,
    composites: BTreeSet<(String, Vec<String>)>,
    sent: BTreeMap<String, Sent>,
    counters: Counters,
}

impl Engine {
    /// The state, to be kept or to go on from.
    pub fn snapshot(&self) -> Snapshot {
        let series = self.series.iter().map(|series| SeriesRecord {
            series: Sample { partition: series.partition, ..series.sample() },
            last_ms: series.last_ms,
            cells: series.cells.iter().map(|cell| cell.record(&self.rules.rules[cell.rule as usize].id)).collect(),
        });
        Snapshot {
            version: 1,
            series: series.collect(),
            partitions: self.clocks.partitions.clone(),
            alerts: self.alerts.values().cloned().collect(),
            groups: self.groups.clone(),
            silences: self.silences.clone(),
            expected: self.expected.clone(),
            composites: self.composites.clone(),
            sent: self.sent.clone(),
            counters: self.counters.clone(),
        }
    }

    /// Goes on from a state, with the same rules or others. What is open stays open: also where its rule is gone, until
    /// a person resolves it.
    pub fn restore(rules: &Arc<Rules>, snapshot: Snapshot) -> Self {
        let mut engine = Self::new(Arc::clone(rules));
        engine.clocks.partitions = snapshot.partitions;
        engine.alerts = snapshot.alerts.into_iter().map(|alert| (alert.key.clone(), alert)).collect();
        engine.groups = snapshot.groups;
        engine.silences = snapshot.silences;
        engine.sent = snapshot.sent;
        engine.counters = snapshot.counters;
        for alert in engine.alerts.values_mut() {
            (alert.pending, alert.firing, alert.no_data) = (0, 0, 0);
        }
        for record in snapshot.series {
            engine.restore_series(rules, record);
        }
        engine.restore_expected(rules, snapshot.expected);
        for (id, values) in snapshot.composites {
            let Some(rule) = rules.find(&id).map(|place| &rules.rules[place]) else { continue };
            let Condition::Composite(composite) = &rule.condition else { continue };
            if engine.count(rules, rule, &composite_sample(composite, &values), Level::Firing) {
                engine.composites.insert((id, values));
            }
        }
        engine.derive(rules);
        engine
    }

    /// Takes other rules into use. An incident that is open goes on; new times hold for new ones.
    pub fn reload(&mut self, rules: &Arc<Rules>) {
        let snapshot = self.snapshot();
        *self = Self::restore(rules, snapshot);
    }

    fn restore_series(&mut self, rules: &Arc<Rules>, record: SeriesRecord) {
        let sample = record.series;
        let (place, _) = self.series.find(rules, &sample);
        let mut records: BTreeMap<String, _> = record.cells.into_iter().map(|cell| (cell.rule.clone(), cell)).collect();
        let series = self.series.get_mut(place);
        series.last_ms = record.last_ms;
        let mut restored = Vec::new();
        for (number, cell) in series.cells.iter_mut().enumerate() {
            let rule = &rules.rules[cell.rule as usize];
            if let Some(record) = records.remove(&rule.id) {
                cell.restore(record, &rule.condition);
            }
            if cell.level != Level::Fine {
                restored.push((number, cell.rule as usize, cell.level));
            }
        }
        for (number, rule, level) in restored {
            // Under another key there is no such alert yet: it begins anew.
            if !self.count(rules, &rules.rules[rule], &sample, level) {
                self.series.get_mut(place).cells[number].level = Level::Fine;
            }
        }
        self.watch(place, record.last_ms);
    }

    /// Counts a series of an alert; whether there is that alert.
    fn count(&mut self, rules: &Rules, rule: &Rule, sample: &Sample, level: Level) -> bool {
        let key = key(rules, rule, sample, &labels(rule, sample)).unwrap_or_else(|(key, _)| key);
        let alert = self.alerts.get_mut(&key);
        alert.is_some_and(|alert| {
            alert.moved(Level::Fine, level);
            true
        })
    }

    fn restore_expected(&mut self, rules: &Rules, mut known: Vec<Expected>) {
        let seen = |rule: &Rule, instance: &str, series: &Sample| {
            series.instance_id == instance && rule.metric.as_deref() == Some(series.metric.as_str())
        };
        for mut expected in std::mem::take(&mut self.expected) {
            let Some(rule) = rules.find(&expected.rule).map(|place| &rules.rules[place]) else { continue };
            let same = known.iter().position(|k| k.rule == expected.rule && k.instance == expected.instance);
            if let Some(place) = same {
                expected = known.swap_remove(place);
            } else if self.series.iter().any(|series| seen(rule, &expected.instance, &series.sample())) {
                continue;
            }
            if expected.no_data {
                expected.no_data = self.count(rules, rule, &expected_sample(rule, &expected.instance), Level::NoData);
            }
            self.expected.push(expected);
        }
    }

    /// Makes what is made of the rest.
    fn derive(&mut self, rules: &Rules) {
        let keys: Vec<String> = self.alerts.keys().cloned().collect();
        for key in &keys {
            let Some(alert) = self.alerts.get_mut(key) else { continue };
            // Nobody evaluates it any more, and nobody was told of it.
            if alert.state == State::Pending && alert.pending == 0 {
                alert.state = State::Inactive;
            }
            self.inhibitors.note(&rules.policy, alert);
            if matches!(alert.state, State::Firing | State::Acknowledged | State::Flapping) {
                self.firing.entry(alert.rule.clone()).or_default().insert(key.clone());
            }
            if alert.state == State::Flapping {
                self.flapping.insert(key.clone());
            }
            self.regroup(key);
        }
    }
}
