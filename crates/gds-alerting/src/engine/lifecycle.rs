//! How alerts go from state to state.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;

use super::Engine;
use super::alert::{Acknowledgement, Alert, is_left_out, labels};
use super::cell::Level;
use crate::duration;
use crate::effect::{Effect, State};
use crate::event::Command;
use crate::matcher::Labels;
use crate::rules::{Condition, Rule, Rules};
use crate::sample::{Sample, Tags};

/// A rule thinks otherwise of a series.
#[derive(Clone, Copy, Debug)]
pub(super) struct Change {
    pub(super) rule: usize,
    pub(super) cell: usize,
    pub(super) before: Level,
    pub(super) after: Level,
}

/// What templates see.
#[derive(Serialize)]
struct Context<'a> {
    rule: RuleContext<'a>,
    metric: &'a str,
    instance_id: &'a str,
    database_type: &'a str,
    tags: Tags,
    labels: &'a Labels,
    value: &'a str,
    state: &'a str,
}

#[derive(Serialize)]
struct RuleContext<'a> {
    id: &'a str,
    description: &'a str,
    severity: &'a str,
    owner: Option<&'a str>,
    impact: Option<&'a str>,
    runbook_url: Option<&'a str>,
    dashboard_url: Option<&'a str>,
}

fn context<'a>(rule: &'a Rule, sample: &'a Sample, labels: &'a Labels, value: &'a str, state: State) -> Context<'a> {
    let mut tags = sample.tags.clone();
    for (name, own) in [("instance_id", &sample.instance_id), ("database_type", &sample.database_type)] {
        tags.entry(name.to_owned()).or_insert_with(|| own.clone());
    }
    Context {
        rule: RuleContext {
            id: &rule.id,
            description: &rule.description,
            severity: &rule.severity,
            owner: rule.owner.as_deref(),
            impact: rule.impact.as_deref(),
            runbook_url: rule.runbook_url.as_deref(),
            dashboard_url: rule.dashboard_url.as_deref(),
        },
        metric: &sample.metric,
        instance_id: &sample.instance_id,
        database_type: &sample.database_type,
        tags,
        labels,
        value,
        state: state.name(),
    }
}

/// What makes an alert of a rule the same one for two samples.
pub(super) fn key(rules: &Rules, rule: &Rule, sample: &Sample, labels: &Labels) -> Result<String, (String, String)> {
    let context = context(rule, sample, labels, "", State::Inactive);
    match rules.alert_key_template.render(&context) {
        Ok(key) if !key.trim().is_empty() => Ok(key),
        result => {
            let reason = result.map_or_else(|reason| reason, |_| "the key is empty".to_owned());
            Err((format!("{}:{}:{}", rule.id, sample.instance_id, sample.metric), reason))
        }
    }
}

fn reason(rule: &Rule, from: State, to: State) -> String {
    match to {
        State::Pending => format!("condition true, waiting for {}", duration::text(rule.for_ms)),
        State::Firing | State::Acknowledged if from == State::NoData => "condition still true".to_owned(),
        State::Firing | State::Acknowledged if rule.for_ms > 0 => {
            format!("condition true for {}", duration::text(rule.for_ms))
        }
        State::Firing | State::Acknowledged => "condition true".to_owned(),
        State::NoData => format!("no sample for {}", duration::text(rule.no_data_after_ms.unwrap_or(0))),
        State::Flapping => "changes too often".to_owned(),
        State::Resolved | State::Inactive => "condition false".to_owned(),
    }
}

impl Engine {
    /// A series of a rule has changed: so may its alert, and composites of the rule.
    pub(super) fn change(
        &mut self,
        change: &Change,
        sample: &Sample,
        value: &str,
        at_ms: i64,
        now_ms: i64,
        effects: &mut Vec<Effect>,
    ) {
        let rules = Arc::clone(&self.rules);
        let rule = &rules.rules[change.rule];
        let labels = labels(rule, sample);
        let key = key(&rules, rule, sample, &labels).unwrap_or_else(|(key, reason)| {
            self.template_failed(rule, "alert_key_template", reason, effects);
            key
        });
        let alert = self.alerts.entry(key.clone()).or_insert_with(|| Alert::new(&key, rule));
        alert.moved(change.before, change.after);
        // A resolved one may be pending again at once.
        for _ in 0..2 {
            self.settle(&key, rule, sample, value, (at_ms, now_ms), effects);
        }
        if self.alerts.get(&key).is_some_and(|alert| alert.state == State::Inactive && alert.told_ms.is_none()) {
            self.forget(&key);
        }
    }

    /// Brings an alert to where its series want it.
    fn settle(
        &mut self,
        key: &str,
        rule: &Rule,
        sample: &Sample,
        value: &str,
        (at_ms, now_ms): (i64, i64),
        effects: &mut Vec<Effect>,
    ) {
        let Some(alert) = self.alerts.get_mut(key) else { return };
        let mut wanted = alert.wanted();
        if wanted == alert.state || wanted == State::Resolved && !rule.auto_resolve {
            return;
        }
        let opens = !alert.state.is_open() && matches!(wanted, State::Firing | State::Acknowledged);
        if let Some(flapping) = rule.flapping
            && (opens || wanted == State::Resolved || alert.state == State::Flapping)
        {
            let known = alert.state == State::Flapping;
            if alert.flaps(flapping, wanted != State::Resolved, at_ms) || known {
                wanted = State::Flapping;
            }
            if known {
                return;
            }
        }
        let closed = matches!(alert.state, State::Inactive | State::Resolved);
        if closed || !alert.state.is_open() {
            alert.labels = labels(rule, sample);
            alert.shadow = rule.shadow || is_left_out(&rule.canary, &rule.id, &sample.instance_id);
        }
        value.clone_into(&mut alert.value);
        let mut failed = Vec::new();
        if wanted.is_open() {
            let labels = alert.labels.clone();
            let context = context(rule, sample, &labels, value, wanted);
            let mut annotations = BTreeMap::new();
            for (name, template) in &rule.annotations {
                let (text, error) = template.render_counted(&context);
                annotations.extend(text.map(|text| (name.clone(), text)));
                failed.extend(error.map(|error| (name.clone(), error)));
            }
            alert.annotations = annotations;
        }
        let from = alert.state;
        let because = reason(rule, from, wanted);
        for (name, error) in failed {
            self.template_failed(rule, &format!("annotations.{name}"), error, effects);
        }
        self.go(key, wanted, (at_ms, now_ms), &because, None, effects);
    }

    /// Puts an alert into another state and says so.
    fn go(
        &mut self,
        key: &str,
        to: State,
        (at_ms, now_ms): (i64, i64),
        reason: &str,
        by: Option<&str>,
        effects: &mut Vec<Effect>,
    ) {
        let rules = Arc::clone(&self.rules);
        let Some(alert) = self.alerts.get_mut(key) else { return };
        if alert.state.is_open() != to.is_open() {
            alert.clock_ms = now_ms;
        }
        if !to.is_open() {
            alert.acknowledgement = None;
            alert.escalation = None;
        }
        let transition = alert.go(to, at_ms, reason, by);
        let at_ms = transition.at_ms;
        self.counters.transitions += 1;
        effects.push(Effect::Transition(transition));
        self.inhibitors.note(&rules.policy, alert);
        if to == State::Flapping {
            self.flapping.insert(key.to_owned());
        } else {
            self.flapping.remove(key);
        }
        let labels = alert.labels.clone();
        let rule = alert.rule.clone();
        self.touched.insert(key.to_owned());
        if matches!(to, State::Firing | State::Acknowledged | State::Flapping) {
            self.firing.entry(rule.clone()).or_default().insert(key.to_owned());
        } else if let Some(keys) = self.firing.get_mut(&rule) {
            keys.remove(key);
        }
        self.compose(&rule, &labels, at_ms, now_ms, effects);
    }

    /// Looks at the composites that a rule belongs to.
    fn compose(&mut self, of: &str, labels: &Labels, at_ms: i64, now_ms: i64, effects: &mut Vec<Effect>) {
        let rules = Arc::clone(&self.rules);
        for (place, rule) in rules.rules.iter().enumerate() {
            let Condition::Composite(composite) = &rule.condition else { continue };
            let mut members = composite.all.iter().chain(&composite.any).chain(&composite.none);
            if !rule.enabled || !members.any(|member| member == of) {
                continue;
            }
            let value = |labels: &Labels, name: &String| labels.get(name).cloned().unwrap_or_default();
            let equal: Vec<String> = composite.equal.iter().map(|name| value(labels, name)).collect();
            let fires = |id: &String| {
                self.firing.get(id).is_some_and(|keys| {
                    keys.iter().filter_map(|key| self.alerts.get(key)).any(|alert| {
                        composite.equal.iter().zip(&equal).all(|(name, wanted)| value(&alert.labels, name) == *wanted)
                    })
                })
            };
            let holds = composite.all.iter().all(fires)
                && (composite.any.is_empty() || composite.any.iter().any(fires))
                && !composite.none.iter().any(fires);
            let state = (rule.id.clone(), equal);
            if self.composites.contains(&state) == holds {
                continue;
            }
            let sample = super::identity::composite_sample(composite, &state.1);
            let (before, after) = if holds { (Level::Fine, Level::Firing) } else { (Level::Firing, Level::Fine) };
            if holds {
                self.composites.insert(state);
            } else {
                self.composites.remove(&state);
            }
            self.change(&Change { rule: place, cell: 0, before, after }, &sample, "", at_ms, now_ms, effects);
        }
    }

    /// Ends the flapping of what has not changed for long enough.
    pub(super) fn calm_down(&mut self, until_ms: i64, now_ms: i64, effects: &mut Vec<Effect>) {
        if self.flapping.is_empty() {
            return;
        }
        let rules = Arc::clone(&self.rules);
        let calm: Vec<(String, i64, State)> = self
            .flapping
            .iter()
            .filter_map(|key| {
                let alert = self.alerts.get(key)?;
                let rule = &rules.rules[rules.find(&alert.rule)?];
                let at_ms = alert.calm_at(rule.flapping?);
                (at_ms <= until_ms).then(|| (key.clone(), at_ms, alert.wanted()))
            })
            .collect();
        for (key, at_ms, wanted) in calm {
            self.go(&key, wanted, (at_ms, now_ms), "no change for a while", None, effects);
        }
    }

    fn template_failed(&mut self, rule: &Rule, template: &str, reason: String, effects: &mut Vec<Effect>) {
        self.counters.template_errors += 1;
        effects.push(Effect::TemplateFailed { rule: rule.id.clone(), template: template.to_owned(), reason });
    }

    /// The alert that a person means, unless it is not open, or opened after they spoke.
    fn meant(&mut self, command: &Command, effects: &mut Vec<Effect>) -> Option<&mut Alert> {
        let reason = match self.alerts.get(&command.key) {
            Some(alert) if !alert.state.is_open() => "it is not open",
            Some(alert) if alert.clock_ms > command.at_ms => "it opened after that was said",
            Some(_) => return self.alerts.get_mut(&command.key),
            None => "there is no such alert",
        };
        effects.push(Effect::Refused { key: command.key.clone(), reason: reason.to_owned() });
        None
    }

    pub(super) fn acknowledge(&mut self, command: &Command, now_ms: i64, effects: &mut Vec<Effect>) {
        if command.until_ms.is_some_and(|until| until <= now_ms) {
            let reason = "the acknowledgement is over already".to_owned();
            effects.push(Effect::Refused { key: command.key.clone(), reason });
            return;
        }
        let Some(alert) = self.meant(command, effects) else { return };
        alert.acknowledgement = Some(Acknowledgement { by: command.by.clone(), until_ms: command.until_ms });
        alert.escalation = None;
        if alert.state == State::Firing {
            self.go(&command.key, State::Acknowledged, (now_ms, now_ms), "acknowledged", Some(&command.by), effects);
        }
    }

    pub(super) fn resolve(&mut self, command: &Command, now_ms: i64, effects: &mut Vec<Effect>) {
        if self.meant(command, effects).is_some() {
            self.go(&command.key, State::Resolved, (now_ms, now_ms), "resolved by hand", Some(&command.by), effects);
        }
    }

    /// Acknowledgements end.
    pub(super) fn expire_acknowledgements(&mut self, now_ms: i64, effects: &mut Vec<Effect>) {
        let over = |alert: &&mut Alert| {
            let until = alert.acknowledgement.as_ref().and_then(|acknowledgement| acknowledgement.until_ms);
            until.is_some_and(|until| until <= now_ms)
        };
        let mut expired = Vec::new();
        for alert in self.alerts.values_mut().filter(over) {
            let by = alert.acknowledgement.take().map(|acknowledgement| acknowledgement.by).unwrap_or_default();
            if alert.state == State::Acknowledged {
                // Who was told has to be told again.
                alert.told.values_mut().for_each(|told| *told = 0);
                expired.push((alert.key.clone(), by));
            }
        }
        for (key, by) in expired {
            let reason = format!("acknowledgement of {by} is over");
            self.go(&key, State::Firing, (now_ms, now_ms), &reason, None, effects);
        }
    }
}
