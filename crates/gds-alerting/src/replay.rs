//! The same events once more: what would have happened, and how noisy a rule would have been.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::effect::{Effect, Kind, State};
use crate::engine::Engine;
use crate::event::Event;
use crate::rules::Rules;

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
            Effect::Notify(notification) if notification.kind != Kind::Reminder => {
                let Some(alert) = notification.alerts.first() else { continue };
                let noise = rules.entry(alert.rule.clone()).or_default();
                *noise.notifications.entry(notification.channel.clone()).or_default() += 1;
            }
            _ => {}
        }
    }
    rules
}
