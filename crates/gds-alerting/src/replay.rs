//! The same events once more: what would have happened, and how noisy a rule would have been.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::effect::{Effect, NotificationKind, State};
use crate::engine::Engine;
use crate::event::Event;
use crate::rules::Rules;
use crate::sample::Sample;

/// How often a running engine looks at the clock.
const TICK_MS: i64 = 1000;

/// An event and the time of the clock when it came. A list of these is a history: in a file, one in each line, as JSON.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Input {
    /// Milliseconds since 1970.
    pub now_ms: i64,
    /// What happened.
    pub event: Event,
}

/// How often a rule fired, for whom, and how many were told.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Noise {
    /// Alerts that began to fire.
    pub fired: u64,
    /// Alerts that were resolved.
    pub resolved: u64,
    /// Alerts whose data stopped.
    pub no_data: u64,
    /// Notifications, by channel.
    pub notifications: BTreeMap<String, u64>,
    /// Alerts that began to fire, by key.
    pub keys: BTreeMap<String, u64>,
}

/// Runs a history through rules. The effects are those that a running engine gave for it, to the byte.
pub fn replay<'a>(rules: Arc<Rules>, history: impl IntoIterator<Item = &'a Input>) -> Vec<Effect> {
    let mut engine = Engine::new(rules);
    let mut effects = Vec::new();
    for input in history {
        engine.step(&input.event, input.now_ms, &mut effects);
    }
    effects
}

/// Runs samples through rules as an engine does that has read its partitions to their ends: between them it looks at the
/// clock each second, until `until_ms`. Each has the time of the clock when it came, and they are in its order.
pub fn replay_samples(
    rules: Arc<Rules>,
    samples: impl IntoIterator<Item = (i64, Sample)>,
    until_ms: i64,
) -> Vec<Effect> {
    let mut engine = Engine::new(rules);
    let mut effects = Vec::new();
    let mut partitions = BTreeSet::new();
    let mut ticked: Option<i64> = None;
    for (now_ms, sample) in samples {
        pass(&mut engine, &partitions, &mut ticked, now_ms, &mut effects);
        partitions.insert(sample.partition);
        engine.step(&Event::Sample(sample), now_ms, &mut effects);
    }
    pass(&mut engine, &partitions, &mut ticked, until_ms, &mut effects);
    effects
}

/// The clock goes on.
fn pass(
    engine: &mut Engine,
    partitions: &BTreeSet<i32>,
    ticked: &mut Option<i64>,
    now_ms: i64,
    effects: &mut Vec<Effect>,
) {
    let mut at_ms = ticked.map_or(now_ms, |last| last + TICK_MS);
    while at_ms <= now_ms {
        for &partition in partitions {
            engine.step(&Event::CaughtUp { partition }, at_ms, effects);
        }
        engine.step(&Event::Tick, at_ms, effects);
        *ticked = Some(at_ms);
        at_ms += TICK_MS;
    }
}

/// Counts effects by rule.
pub fn noise(effects: &[Effect]) -> BTreeMap<String, Noise> {
    let mut rules: BTreeMap<String, Noise> = BTreeMap::new();
    for effect in effects {
        match effect {
            Effect::Transition(transition) => {
                let noise = rules.entry(transition.rule.clone()).or_default();
                match transition.to {
                    State::Firing if !transition.from.is_open() => {
                        noise.fired += 1;
                        *noise.keys.entry(transition.key.clone()).or_default() += 1;
                    }
                    State::Resolved => noise.resolved += 1,
                    State::NoData => noise.no_data += 1,
                    _ => {}
                }
            }
            Effect::Notify(notification) if notification.kind != NotificationKind::Reminder => {
                let Some(alert) = notification.alerts.first() else { continue };
                let noise = rules.entry(alert.rule.clone()).or_default();
                *noise.notifications.entry(notification.channel.clone()).or_default() += 1;
            }
            _ => {}
        }
    }
    rules
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_evaluated_as_a_running_engine_does() {
        let rules = Rules::parse(
            "version: 1
routing: {default_channel: a, channels: {a: {type: log}}}
rules: [{id: high, metric: cpu, threshold: {op: '>', value: 85, for: 5s}, no_data_after: 10s}]
policy: {lateness: 0}
",
        );
        let rules = Arc::new(rules.expect("rules"));
        let sample = |at_ms: i64, value: f64| {
            let sample =
                Sample { metric: "cpu".to_owned(), instance_id: "db-1".to_owned(), value, ..Sample::default() };
            (at_ms + 100, Sample { time_ms: Some(at_ms), ..sample })
        };
        let samples = [sample(0, 90.0), sample(5_000, 90.0), sample(6_000, 90.0), sample(30_000, 1.0)];
        let effects = replay_samples(rules, samples, 40_000);
        let said: Vec<String> = effects
            .iter()
            .filter_map(|effect| match effect {
                Effect::Transition(transition) => Some(format!("{}@{}", transition.to.name(), transition.at_ms)),
                Effect::Notify(said) => Some(format!("told {}@{}", said.kind.name(), said.at_ms)),
                _ => None,
            })
            .collect();
        let expected = [
            "pending@0",
            "firing@5000",
            "told firing@5100",
            "no_data@16000",
            "told no_data@16100",
            "resolved@30000",
            "told resolved@30100",
            "no_data@40000",
            "told no_data@40000",
        ];
        assert_eq!(said[..7], expected[..7], "{said:?}");
        let noise = noise(&effects);
        assert_eq!((noise["high"].fired, noise["high"].resolved), (1, 1));
        assert_eq!(noise["high"].keys, [("high:db-1:cpu".to_owned(), 1)].into());
    }
}
