//! Who is told, and when: routes, groups, cooldown, limits, reminders, escalation. All of it goes by the clock.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::Engine;
use super::alert::{Alert, Escalation};
use super::identity::{hash, share};
use super::mute;
use crate::effect::{AlertView, Effect, Notification, NotificationKind, State};
use crate::matcher::Labels;
use crate::rules::{Cooldown, Route, Rules};

const HOUR_MS: i64 = 3_600_000;
/// A step of an escalation that is this late is about something that people have dealt with otherwise.
const STALE_MS: i64 = 24 * HOUR_MS;

/// Alerts that are told together.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Group {
    route: String,
    members: BTreeSet<String>,
    /// When somebody was last told.
    last_ms: Option<i64>,
    /// When there is something to tell.
    due_ms: Option<i64>,
    /// Whether something is open that nobody is told of yet.
    pub(super) waiting: bool,
}

/// How many alerts of a rule were told one by one within its time.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Sent {
    since_ms: i64,
    count: u32,
    said: bool,
}

/// States that a channel was told, as bits.
fn bit(state: State) -> u8 {
    match state {
        State::Firing | State::Acknowledged => 1,
        State::NoData => 2,
        State::Flapping => 4,
        State::Inactive | State::Pending | State::Resolved => 0,
    }
}

fn kind(state: State) -> NotificationKind {
    match state {
        State::NoData => NotificationKind::NoData,
        State::Flapping => NotificationKind::Flapping,
        State::Firing | State::Acknowledged => NotificationKind::Firing,
        State::Inactive | State::Pending | State::Resolved => NotificationKind::Resolved,
    }
}

fn find<'a>(route: &'a Route, id: &str) -> Option<&'a Route> {
    if route.id == id { Some(route) } else { route.routes.iter().find_map(|inner| find(inner, id)) }
}

fn group_id(route: &Route, alert: &Alert) -> String {
    if route.group_by.is_empty() {
        return format!("{}/{}", route.id, alert.key);
    }
    let of = |name: &String| format!("{name}={:?}", alert.labels.get(name).map_or("", String::as_str));
    format!("{}/{{{}}}", route.id, route.group_by.iter().map(of).collect::<Vec<_>>().join(","))
}

#[expect(clippy::cast_possible_truncation, reason = "at most a duration that was read as an integer")]
fn pause_ms(cooldown: &Cooldown, refires: i32, key: &str) -> i64 {
    let pause = (cooldown.initial_ms as f64 * cooldown.factor.powi(refires.min(64))).min(cooldown.max_ms as f64);
    (pause * (1.0 + cooldown.jitter * share(key))) as i64
}

impl Engine {
    /// Tells of the alerts that have changed within a step.
    pub(super) fn tell(&mut self, now_ms: i64, effects: &mut Vec<Effect>) {
        let touched = std::mem::take(&mut self.touched);
        let mut due = BTreeSet::new();
        for key in &touched {
            self.assign(key, now_ms);
            let Some(alert) = self.alerts.get(key) else { continue };
            due.extend(alert.groups.iter().cloned());
        }
        for id in due {
            let Some(group) = self.groups.get_mut(&id) else { continue };
            let (wait, interval) = find(&self.rules.routing.root, &group.route)
                .map_or((0, 0), |route| (route.group_wait_ms, route.group_interval_ms));
            let at_ms = group.last_ms.map_or(now_ms + wait, |last| now_ms.max(last + interval));
            if *group.due_ms.get_or_insert(at_ms) <= now_ms {
                self.flush(&id, now_ms, effects);
            }
        }
        for key in &touched {
            self.escalate(key, now_ms, effects);
        }
    }

    /// Puts an open alert into its groups, and begins an escalation.
    pub(super) fn assign(&mut self, key: &str, now_ms: i64) {
        let rules = Arc::clone(&self.rules);
        let Some(alert) = self.alerts.get_mut(key) else { return };
        if !alert.state.is_open() || rules.routing.channels.is_empty() {
            return;
        }
        for route in rules.routing.root.leading(&alert.labels) {
            let id = group_id(route, alert);
            alert.groups.insert(id.clone());
            let new = || Group {
                route: route.id.clone(),
                members: BTreeSet::new(),
                last_ms: None,
                due_ms: None,
                waiting: false,
            };
            self.groups.entry(id).or_insert_with(new).members.insert(key.to_owned());
            let escalates = alert.state == State::Firing && alert.escalation.is_none() && !route.escalation.is_empty();
            if escalates {
                alert.escalation = Some(Escalation { route: route.id.clone(), step: 0, started_ms: now_ms });
            }
        }
    }

    /// Whether an alert that is open is in the groups that the rules want; it is from now on.
    pub(super) fn regroup(&mut self, key: &str) {
        let rules = Arc::clone(&self.rules);
        let Some(alert) = self.alerts.get_mut(key) else { return };
        let routes = rules.routing.root.leading(&alert.labels);
        let wanted: BTreeSet<String> = routes.iter().map(|route| group_id(route, alert)).collect();
        if !alert.state.is_open() || wanted == alert.groups {
            return;
        }
        for id in std::mem::take(&mut alert.groups) {
            if let Some(group) = self.groups.get_mut(&id) {
                group.members.remove(key);
            }
        }
        self.groups.retain(|_, group| !group.members.is_empty());
        let escalation = alert.escalation.take();
        self.assign(key, i64::MIN);
        if let Some(alert) = self.alerts.get_mut(key) {
            alert.escalation = escalation;
            for id in alert.groups.clone() {
                if let Some(group) = self.groups.get_mut(&id) {
                    group.waiting = true;
                }
            }
        }
    }

    pub(super) fn mute_reason(&self, alert: &Alert, now_ms: i64) -> Option<String> {
        let policy = &self.rules.policy;
        if alert.shadow {
            return Some("shadow".to_owned());
        }
        mute::muted_by(policy, &self.silences, &alert.labels, now_ms)
            .or_else(|| self.inhibitors.find(policy, alert, &self.alerts).map(|by| format!("inhibited by {by}")))
            .or_else(|| {
                let last = alert.told_ms.filter(|_| alert.told_episode != Some(alert.episode))?;
                let until = last.saturating_add(pause_ms(&policy.cooldown, alert.refires, &alert.key));
                (now_ms < until).then(|| "cooldown".to_owned())
            })
    }

    /// Whether a rule may tell of one alert more. Where it may not, whether that is still to be said.
    fn within_limit(&mut self, rules: &Rules, rule: &str, now_ms: i64) -> Result<(), bool> {
        let Some(limit) = rules.find(rule).and_then(|place| rules.rules[place].limit) else { return Ok(()) };
        let fresh = Sent { since_ms: now_ms, count: 0, said: false };
        let sent = self.sent.entry(rule.to_owned()).or_insert_with(|| fresh.clone());
        if now_ms - sent.since_ms >= limit.within_ms {
            *sent = fresh;
        }
        if sent.count < limit.alerts {
            sent.count += 1;
            return Ok(());
        }
        Err(!std::mem::replace(&mut sent.said, true))
    }

    /// Tells what is new of a group.
    fn flush(&mut self, id: &str, now_ms: i64, effects: &mut Vec<Effect>) {
        let rules = Arc::clone(&self.rules);
        let Some(mut group) = self.groups.remove(id) else { return };
        group.due_ms = None;
        group.waiting = false;
        let channels = find(&rules.routing.root, &group.route).map_or(&[][..], |route| &route.channels);
        let mut news: BTreeMap<(String, NotificationKind), Vec<String>> = BTreeMap::new();
        for key in group.members.clone() {
            let Some(alert) = self.alerts.get(&key) else {
                group.members.remove(&key);
                continue;
            };
            if !alert.state.is_open() {
                // Whoever was told that it fires is told that it is over, whatever mutes it now.
                for channel in alert.told.keys() {
                    news.entry((channel.clone(), NotificationKind::Resolved)).or_default().push(key.clone());
                }
                group.members.remove(&key);
                self.leave(&key, id);
                continue;
            }
            let bit = bit(alert.state);
            let know = |channel: &&String| alert.told.get(*channel).is_some_and(|told| told & bit != 0);
            let untold: Vec<String> = channels.iter().filter(|channel| !know(channel)).cloned().collect();
            if untold.is_empty() || alert.acknowledgement.is_some() {
                continue;
            }
            if self.mute_reason(alert, now_ms).is_some() {
                group.waiting = true;
                continue;
            }
            let (kind, first) = (kind(alert.state), alert.told_episode != Some(alert.episode));
            let rule = alert.rule.clone();
            if first && let Err(say) = self.within_limit(&rules, &rule, now_ms) {
                group.waiting = true;
                if say {
                    for channel in untold {
                        news.entry((channel, NotificationKind::Limited)).or_default().push(key.clone());
                    }
                }
                continue;
            }
            self.note_told(&key, &untold, bit, now_ms);
            for channel in untold {
                news.entry((channel, kind)).or_default().push(key.clone());
            }
        }
        if !news.is_empty() {
            group.last_ms = Some(now_ms);
        }
        for ((channel, kind), keys) in news {
            self.notify((&channel, kind), id, &keys, &group.members, now_ms, effects);
        }
        if !group.members.is_empty() {
            self.groups.insert(id.to_owned(), group);
        }
    }

    fn note_told(&mut self, key: &str, channels: &[String], bit: u8, now_ms: i64) {
        let cooldown = self.rules.policy.cooldown;
        let Some(alert) = self.alerts.get_mut(key) else { return };
        for channel in channels {
            *alert.told.entry(channel.clone()).or_insert(0) |= bit;
        }
        if alert.told_episode != Some(alert.episode) {
            let calm = alert.told_ms.is_none_or(|last| now_ms - last > 2 * cooldown.max_ms);
            alert.refires = if calm { 0 } else { alert.refires + 1 };
            alert.told_episode = Some(alert.episode);
            alert.told_ms = Some(now_ms);
        }
    }

    /// An alert that is over leaves a group; the first to tell of its end has told everybody.
    fn leave(&mut self, key: &str, id: &str) {
        if let Some(alert) = self.alerts.get_mut(key) {
            alert.told.clear();
            alert.groups.remove(id);
        }
    }

    fn notify(
        &mut self,
        (channel, kind): (&str, NotificationKind),
        group: &str,
        keys: &[String],
        members: &BTreeSet<String>,
        now_ms: i64,
        effects: &mut Vec<Effect>,
    ) {
        let rest = members.iter().filter(|key| {
            let open = |alert: &Alert| alert.state.is_open() && alert.told.contains_key(channel);
            !keys.contains(key) && self.alerts.get(*key).is_some_and(open)
        });
        let alerts: Vec<_> = keys
            .iter()
            .chain(rest)
            .filter_map(|key| self.alerts.get(key))
            .map(|alert| alert.view(self.rules.find(&alert.rule).map(|place| &self.rules.rules[place])))
            .collect();
        let mut parts = vec![channel, kind.name()];
        parts.extend(alerts.iter().take(keys.len()).map(|alert| alert.transition_id.as_str()));
        let moment = now_ms.to_string();
        if matches!(kind, NotificationKind::Reminder | NotificationKind::Limited | NotificationKind::Escalation) {
            parts.push(&moment);
        }
        self.counters.notifications += 1;
        effects.push(Effect::Notify(Notification {
            id: hash(&parts),
            channel: channel.to_owned(),
            kind,
            group: group.to_owned(),
            group_labels: self.group_labels(group, alerts.first()),
            at_ms: now_ms,
            news: alerts.len().min(keys.len()),
            alerts,
        }));
    }

    /// What the alerts of a group have in common because of its route; all labels where each is told by itself.
    fn group_labels(&self, group: &str, first: Option<&AlertView>) -> Labels {
        let route = group.split_once('/').and_then(|(route, _)| find(&self.rules.routing.root, route));
        let Some(first) = first else { return Labels::new() };
        match route {
            Some(route) if !route.group_by.is_empty() => {
                let of = |name: &String| Some((name.clone(), first.labels.get(name)?.clone()));
                route.group_by.iter().filter_map(of).collect()
            }
            _ => first.labels.clone(),
        }
    }

    /// Tells those whom an escalation has come to.
    fn escalate(&mut self, key: &str, now_ms: i64, effects: &mut Vec<Effect>) {
        let rules = Arc::clone(&self.rules);
        loop {
            let Some(alert) = self.alerts.get(key) else { return };
            let (Some(escalation), true) = (&alert.escalation, alert.state.is_open()) else { return };
            let Some(route) = find(&rules.routing.root, &escalation.route) else { return };
            let Some(step) = route.escalation.get(escalation.step) else { return };
            let due_ms = escalation.started_ms.saturating_add(step.after_ms);
            if due_ms > now_ms || self.mute_reason(alert, now_ms).is_some() {
                return;
            }
            let (kind, group) = (
                if escalation.step == 0 { kind(alert.state) } else { NotificationKind::Escalation },
                group_id(route, alert),
            );
            let bit = bit(alert.state);
            // Whom the route has told at once need not hear it twice at once.
            let knows =
                |channel: &&String| step.after_ms == 0 && alert.told.get(*channel).is_some_and(|told| told & bit != 0);
            let channels: Vec<String> = step.channels.iter().filter(|channel| !knows(channel)).cloned().collect();
            if now_ms - due_ms < STALE_MS {
                self.note_told(key, &channels, bit, now_ms);
                for channel in &channels {
                    self.notify((channel, kind), &group, &[key.to_owned()], &BTreeSet::new(), now_ms, effects);
                }
            }
            if let Some(escalation) = self.alerts.get_mut(key).and_then(|alert| alert.escalation.as_mut()) {
                escalation.step += 1;
            }
        }
    }

    /// Looks at everything that the clock brings.
    pub(super) fn tick(&mut self, now_ms: i64, effects: &mut Vec<Effect>) {
        self.silences.retain(|_, silence| silence.ends_ms > now_ms);
        self.expire_acknowledgements(now_ms, effects);
        if !self.touched.is_empty() {
            self.tell(now_ms, effects);
        }
        let due = |group: &Group| group.waiting || group.due_ms.is_some_and(|due| due <= now_ms);
        let ids: Vec<String> = self.groups.iter().filter(|(_, group)| due(group)).map(|(id, _)| id.clone()).collect();
        for id in ids {
            self.flush(&id, now_ms, effects);
        }
        let escalating: Vec<String> =
            self.alerts.values().filter(|alert| alert.escalation.is_some()).map(|alert| alert.key.clone()).collect();
        for key in escalating {
            self.escalate(&key, now_ms, effects);
        }
        self.remind(now_ms, effects);
        self.prune(now_ms);
    }

    fn remind(&mut self, now_ms: i64, effects: &mut Vec<Effect>) {
        let rules = Arc::clone(&self.rules);
        let mut reminders = Vec::new();
        for (id, group) in &mut self.groups {
            let Some(route) = find(&rules.routing.root, &group.route) else { continue };
            // Not more often than the group may tell anything.
            let repeat = route.repeat_interval_ms.max(route.group_interval_ms);
            let Some(last) = group.last_ms.filter(|_| route.repeat_interval_ms > 0) else { continue };
            if now_ms - last < repeat {
                continue;
            }
            group.last_ms = Some(now_ms);
            reminders.extend(route.channels.iter().map(|channel| (id.clone(), channel, group.members.clone())));
        }
        for (id, channel, members) in reminders {
            let remembers = |key: &&String| {
                self.alerts.get(*key).is_some_and(|alert| {
                    alert.state.is_open()
                        && alert.told.contains_key(channel)
                        && alert.acknowledgement.is_none()
                        && rules.find(&alert.rule).is_some()
                        && self.mute_reason(alert, now_ms).is_none()
                })
            };
            let keys: Vec<String> = members.iter().filter(remembers).cloned().collect();
            if !keys.is_empty() {
                self.notify((channel, NotificationKind::Reminder), &id, &keys, &BTreeSet::new(), now_ms, effects);
            }
        }
    }

    /// Forgets alerts that have been over for longer than anything asks for.
    fn prune(&mut self, now_ms: i64) {
        let keep = |alert: &Alert| {
            let flapping = self.rules.find(&alert.rule).and_then(|place| self.rules.rules[place].flapping);
            let keep_ms = HOUR_MS.max(2 * self.rules.policy.cooldown.max_ms).max(flapping.map_or(0, |f| f.within_ms));
            alert.state.is_open()
                || alert.pending > 0
                || !alert.groups.is_empty()
                || alert.clock_ms.saturating_add(keep_ms) > now_ms
        };
        let over: Vec<String> = self.alerts.values().filter(|alert| !keep(alert)).map(|a| a.key.clone()).collect();
        for key in over {
            self.forget(&key);
        }
    }

    pub(super) fn forget(&mut self, key: &str) {
        if let Some(alert) = self.alerts.remove(key)
            && let Some(keys) = self.firing.get_mut(&alert.rule)
        {
            keys.remove(key);
            if keys.is_empty() {
                self.firing.remove(&alert.rule);
            }
        }
    }
}
