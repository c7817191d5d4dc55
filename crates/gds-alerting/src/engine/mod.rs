//! The engine: what has happened goes in, what is to be done comes out.
//!
//! [`Engine::step`] has no clock, no thread, no random number and no input or output: the same events give the same
//! effects, today and in a replay. Conditions go by the time of the samples; notifications go by the clock that the caller
//! gives.
//!
//! What never happens: late data, lag, a restart, a new rules file or silence resolves an alert. Only a sample does whose
//! condition is false, or a person.

mod alert;
mod cell;
mod clock;
mod identity;
mod lifecycle;
mod mute;
mod notify;
mod series;
mod snapshot;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use alert::Alert;
use cell::Level;
use clock::Clocks;
use lifecycle::Change;
use mute::Inhibitors;
use notify::{Group, Sent};
use series::Table;

pub use snapshot::Snapshot;

use crate::condition::{evaluated, judge};
use crate::effect::{AlertView, Effect, State};
use crate::event::{Event, Silence};
use crate::matcher::Matcher;
use crate::rules::Rules;
use crate::sample::Sample;

/// What the engine has counted since it began.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counters {
    /// Samples that came in.
    pub samples: u64,
    /// Samples that had been read before.
    pub repeated: u64,
    /// Samples older than the newest of their series, which change no state.
    pub late: u64,
    /// Samples that could not be evaluated.
    pub rejected: u64,
    /// Changes of alerts.
    pub transitions: u64,
    /// Notifications.
    pub notifications: u64,
    /// Templates that failed.
    pub template_errors: u64,
}

/// An instance that has to report and has not been seen.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Expected {
    rule: String,
    instance: String,
    since_ms: Option<i64>,
    no_data: bool,
}

/// Rules and the state of everything they have seen.
#[derive(Debug)]
pub struct Engine {
    rules: Arc<Rules>,
    series: Table,
    clocks: Clocks,
    alerts: BTreeMap<String, Alert>,
    groups: BTreeMap<String, Group>,
    silences: BTreeMap<String, Silence>,
    /// Only those that were never seen.
    expected: Vec<Expected>,
    /// When to look at them again.
    expected_due_ms: i64,
    /// Composites that are true: rule, and values of the labels that are equal.
    composites: BTreeSet<(String, Vec<String>)>,
    sent: BTreeMap<String, Sent>,
    counters: Counters,
    // What follows is made of the above.
    inhibitors: Inhibitors,
    /// Keys of what is firing, by rule.
    firing: BTreeMap<String, BTreeSet<String>>,
    flapping: BTreeSet<String>,
    /// Alerts that have changed within this step.
    touched: BTreeSet<String>,
    changes: Vec<Change>,
}

impl Engine {
    /// An engine that has seen nothing.
    pub fn new(rules: Arc<Rules>) -> Self {
        let expected = rules.rules.iter().filter(|rule| rule.enabled).flat_map(|rule| {
            rule.expect.iter().map(|instance| Expected {
                rule: rule.id.clone(),
                instance: instance.clone(),
                since_ms: None,
                no_data: false,
            })
        });
        Self {
            expected: expected.collect(),
            rules,
            series: Table::default(),
            clocks: Clocks::default(),
            alerts: BTreeMap::new(),
            groups: BTreeMap::new(),
            silences: BTreeMap::new(),
            expected_due_ms: i64::MIN,
            composites: BTreeSet::new(),
            sent: BTreeMap::new(),
            counters: Counters::default(),
            inhibitors: Inhibitors::default(),
            firing: BTreeMap::new(),
            flapping: BTreeSet::new(),
            touched: BTreeSet::new(),
            changes: Vec::new(),
        }
    }

    /// Takes what has happened, and appends what is to be done. `now_ms` is the time of the caller's clock, in milliseconds
    /// since 1970.
    pub fn step(&mut self, event: &Event, now_ms: i64, effects: &mut Vec<Effect>) {
        match event {
            Event::Sample(sample) => self.sample(sample, now_ms, effects),
            Event::Tick => self.tick(now_ms, effects),
            Event::CaughtUp { partition } => {
                self.clocks.advance(*partition, now_ms);
                self.pass_time(*partition, now_ms, effects);
            }
            Event::Acknowledge(command) => self.acknowledge(command, now_ms, effects),
            Event::Resolve(command) => self.resolve(command, now_ms, effects),
            Event::Silence(silence) => {
                self.silences.insert(silence.id.clone(), silence.clone());
            }
            Event::Unsilence { id, .. } => {
                if self.silences.remove(id).is_none() {
                    let reason = "there is no such silence".to_owned();
                    effects.push(Effect::Refused { key: id.clone(), reason });
                }
            }
        }
        if !self.touched.is_empty() {
            self.tell(now_ms, effects);
        }
    }

    fn sample(&mut self, sample: &Sample, now_ms: i64, effects: &mut Vec<Effect>) {
        self.counters.samples += 1;
        if sample.offset.is_some_and(|offset| self.clocks.is_read(sample.partition, offset)) {
            self.counters.repeated += 1;
            return;
        }
        let at_ms = sample.time_ms.unwrap_or(now_ms);
        let rules = Arc::clone(&self.rules);
        let ahead = at_ms.saturating_sub(now_ms);
        if sample.value.is_nan() || ahead > rules.policy.max_ahead_ms || at_ms < 0 {
            self.counters.rejected += 1;
            let reason = if sample.value.is_nan() {
                "value is no number".to_owned()
            } else if at_ms < 0 {
                "timestamp is before 1970".to_owned()
            } else {
                format!("timestamp is {} s ahead of the clock", ahead / 1000)
            };
            effects.push(Effect::Rejected { reason, partition: sample.partition, offset: sample.offset });
            return;
        }
        self.clocks.advance(sample.partition, at_ms);
        self.pass_time(sample.partition, now_ms, effects);
        let (place, new) = self.series.find(&rules, sample);
        if new {
            self.watch(place, at_ms);
            self.seen(sample, at_ms, now_ms, effects);
        }
        let series = self.series.get_mut(place);
        series.partition = sample.partition;
        if at_ms <= series.last_ms {
            self.counters.late += 1;
            if at_ms < series.last_ms && series.last_ms - at_ms <= rules.policy.lateness_ms {
                for cell in &mut series.cells {
                    cell.memory.take_late(&rules.rules[cell.rule as usize], sample, at_ms);
                }
            }
            return;
        }
        series.last_ms = at_ms;
        let mut found = false;
        for (number, cell) in series.cells.iter_mut().enumerate() {
            let rule = &rules.rules[cell.rule as usize];
            let Some(verdict) = judge(rule, cell.chosen, &mut cell.memory, sample, at_ms) else { continue };
            if cell.level == Level::Fine && !verdict.enters {
                continue;
            }
            let before = cell.level;
            cell.advance(at_ms, verdict, rule.for_ms, rule.keep_firing_for_ms);
            if cell.level != before {
                found = true;
                self.changes.push(Change { rule: cell.rule as usize, cell: number, before, after: cell.level });
            }
        }
        if found {
            let mut changes = std::mem::take(&mut self.changes);
            for change in &changes {
                if let (Level::NoData, Some(after)) = (change.before, rules.rules[change.rule].no_data_after_ms) {
                    let cell = u32::try_from(change.cell).unwrap_or(u32::MAX);
                    self.clocks.watch(sample.partition, at_ms.saturating_add(after), (place, cell));
                }
                let value = evaluated(&rules.rules[change.rule], sample).to_string();
                self.change(change, sample, &value, at_ms, now_ms, effects);
            }
            changes.clear();
            self.changes = changes;
        }
    }

    /// Looks at a new series again when it may have fallen silent.
    fn watch(&mut self, place: u32, at_ms: i64) {
        let series = self.series.get(place);
        for (number, cell) in series.cells.iter().enumerate() {
            if let Some(after) = self.rules.rules[cell.rule as usize].no_data_after_ms {
                let number = u32::try_from(number).unwrap_or(u32::MAX);
                self.clocks.watch(series.partition, at_ms.saturating_add(after), (place, number));
            }
        }
    }

    /// An instance that was expected is there.
    fn seen(&mut self, sample: &Sample, at_ms: i64, now_ms: i64, effects: &mut Vec<Effect>) {
        if self.expected.is_empty() {
            return;
        }
        let rules = Arc::clone(&self.rules);
        let (here, missing): (Vec<_>, Vec<_>) = std::mem::take(&mut self.expected).into_iter().partition(|expected| {
            let rule = rules.find(&expected.rule).map(|place| &rules.rules[place]);
            expected.instance == sample.instance_id
                && rule.is_some_and(|rule| rule.metric.as_deref() == Some(sample.metric.as_str()))
        });
        self.expected = missing;
        for expected in here.iter().filter(|expected| expected.no_data) {
            let Some(rule) = rules.find(&expected.rule) else { continue };
            let change = Change { rule, cell: 0, before: Level::NoData, after: Level::Fine };
            self.change(&change, sample, &sample.number().to_string(), at_ms, now_ms, effects);
        }
    }

    /// The time of a partition has gone on: who has been silent for too long, what has been calm for long enough.
    fn pass_time(&mut self, partition: i32, now_ms: i64, effects: &mut Vec<Effect>) {
        let Some(clock) = self.clocks.partitions.get(&partition) else { return };
        let until_ms = clock.now_ms.saturating_sub(self.rules.policy.lateness_ms);
        while let Some((at_ms, place)) = self.clocks.pop(partition, until_ms) {
            self.look_at(at_ms, place, now_ms, effects);
        }
        if self.expected.is_empty() && self.flapping.is_empty() {
            return;
        }
        let Some(all_ms) = self.clocks.all() else { return };
        let until_ms = all_ms.saturating_sub(self.rules.policy.lateness_ms);
        if until_ms >= self.expected_due_ms {
            self.look_for_expected(all_ms, until_ms, now_ms, effects);
        }
        self.calm_down(until_ms, now_ms, effects);
    }

    fn look_at(&mut self, at_ms: i64, (place, number): (u32, u32), now_ms: i64, effects: &mut Vec<Effect>) {
        let rules = Arc::clone(&self.rules);
        let series = self.series.get_mut(place);
        let (partition, last_ms) = (series.partition, series.last_ms);
        let Some(cell) = series.cells.get_mut(number as usize) else { return };
        let rule = &rules.rules[cell.rule as usize];
        let Some(after) = rule.no_data_after_ms else { return };
        let due_ms = last_ms.saturating_add(after);
        // It has spoken since: its turn is at another time, so that all who are silent come in the order of their silence.
        if due_ms != at_ms {
            self.clocks.watch(partition, due_ms, (place, number));
            return;
        }
        // Its partition may have changed since; then that one's clock counts.
        let theirs = self.clocks.partitions.get(&partition).map_or(i64::MIN, |clock| clock.now_ms);
        if due_ms > theirs.saturating_sub(rules.policy.lateness_ms) {
            self.clocks.watch(partition, due_ms, (place, number));
            return;
        }
        if cell.level == Level::NoData {
            return;
        }
        let before = cell.level;
        cell.lose();
        let change = Change { rule: cell.rule as usize, cell: number as usize, before, after: Level::NoData };
        let sample = series.sample();
        self.change(&change, &sample, "", due_ms, now_ms, effects);
    }

    fn look_for_expected(&mut self, all_ms: i64, until_ms: i64, now_ms: i64, effects: &mut Vec<Effect>) {
        let rules = Arc::clone(&self.rules);
        let mut missing = Vec::new();
        self.expected_due_ms = i64::MAX;
        for expected in &mut self.expected {
            let Some(place) = rules.find(&expected.rule) else { continue };
            let rule = &rules.rules[place];
            let since_ms = *expected.since_ms.get_or_insert(all_ms);
            let due_ms = since_ms.saturating_add(rule.no_data_after_ms.unwrap_or(i64::MAX));
            if expected.no_data {
                continue;
            }
            if due_ms > until_ms {
                self.expected_due_ms = self.expected_due_ms.min(due_ms);
                continue;
            }
            expected.no_data = true;
            missing.push((place, identity::expected_sample(rule, &expected.instance), due_ms));
        }
        for (rule, sample, due_ms) in missing {
            let change = Change { rule, cell: 0, before: Level::Fine, after: Level::NoData };
            self.change(&change, &sample, "", due_ms, now_ms, effects);
        }
    }

    /// The rules in use.
    pub fn rules(&self) -> &Arc<Rules> {
        &self.rules
    }

    /// All alerts that are not over, in the order of their keys.
    pub fn alerts(&self) -> impl Iterator<Item = AlertView> + '_ {
        let alerts = self.alerts.values().filter(|alert| alert.state.is_open() || alert.state == State::Pending);
        alerts.map(|alert| alert.view(self.rules.find(&alert.rule).map(|place| &self.rules.rules[place])))
    }

    /// The channels that know of an open alert.
    pub fn told(&self, key: &str) -> Vec<String> {
        self.alerts.get(key).map(|alert| alert.told.keys().cloned().collect()).unwrap_or_default()
    }

    /// The place after the last one of a partition that was evaluated.
    pub fn next_offset(&self, partition: i32) -> Option<i64> {
        self.clocks.partitions.get(&partition).map(|clock| clock.next_offset)
    }

    /// What keeps an open alert from being told at a time, if anything does.
    pub fn muted(&self, key: &str, now_ms: i64) -> Option<String> {
        self.mute_reason(self.alerts.get(key)?, now_ms)
    }

    /// The names of the silences that mute an alert at a time.
    pub fn silenced_by(&self, key: &str, now_ms: i64) -> Vec<String> {
        let Some(alert) = self.alerts.get(key) else { return Vec::new() };
        mute::silences_about(&self.silences, &alert.labels, now_ms).map(|silence| silence.id.clone()).collect()
    }

    /// The key of the alert that makes another one needless.
    pub fn inhibited_by(&self, key: &str) -> Option<&str> {
        self.inhibitors.find(&self.rules.policy, self.alerts.get(key)?, &self.alerts)
    }

    /// The keys of the alerts that a silence would mute now.
    pub fn preview(&self, matchers: &[Matcher]) -> Vec<String> {
        let open = self.alerts.values().filter(|alert| alert.state.is_open());
        open.filter(|alert| mute::is_about(matchers, &alert.labels)).map(|alert| alert.key.clone()).collect()
    }

    /// Silences that are not over, by their names.
    pub fn silences(&self) -> impl Iterator<Item = &Silence> {
        self.silences.values()
    }

    /// What has been counted.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// How many series are known, and how many bytes they take, their names included.
    pub fn size(&self) -> (usize, usize) {
        (self.series.iter().count(), self.series.bytes())
    }
}
