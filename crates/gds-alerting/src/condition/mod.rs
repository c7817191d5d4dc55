//! Conditions: what is kept of a series, and what a sample makes of it.

mod anomaly;
mod burn;
mod rate;
mod threshold;

use serde::{Deserialize, Serialize};

use crate::decimal::Number;
use crate::rules::{Condition, Rule};
use crate::sample::Sample;

pub(crate) use threshold::override_of;

/// Whether a condition becomes true, and whether one that was stays so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Verdict {
    pub(crate) enters: bool,
    pub(crate) stays: bool,
}

impl Verdict {
    pub(crate) const FALSE: Self = Self { enters: false, stays: false };

    fn both(holds: bool) -> Self {
        Self { enters: holds, stays: holds }
    }
}

/// What a condition has to remember of a series.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Memory {
    /// Nothing.
    #[default]
    Nothing,
    Rate(Box<rate::Rate>),
    Burn(Box<burn::Burn>),
    Anomaly(Box<anomaly::Memory>),
}

impl Memory {
    /// An empty one for a condition.
    pub(crate) fn new(condition: &Condition) -> Self {
        match condition {
            Condition::RateOfChange(_) => Self::Rate(Box::default()),
            Condition::BurnRate(burn) => Self::Burn(Box::new(burn::Burn::new(burn))),
            Condition::Anomaly(anomaly) => Self::Anomaly(Box::new(anomaly::Memory::new(anomaly))),
            _ => Self::Nothing,
        }
    }

    /// What was remembered under an earlier file, if the condition still remembers the same things.
    pub(crate) fn kept(self, condition: &Condition) -> Self {
        let fits = match (&self, condition) {
            (Self::Rate(_), Condition::RateOfChange(_)) => true,
            (Self::Burn(memory), Condition::BurnRate(burn)) => memory.fits(burn),
            (Self::Anomaly(memory), Condition::Anomaly(anomaly)) => memory.fits(anomaly),
            _ => false,
        };
        if fits { self } else { Self::new(condition) }
    }

    /// Takes a sample that is older than the newest; only sums over windows can use it.
    pub(crate) fn take_late(&mut self, rule: &Rule, sample: &Sample, at_ms: i64) {
        if let Self::Burn(memory) = self {
            memory.add(at_ms, evaluated(rule, sample));
        }
    }

    /// Bytes on the heap.
    pub(crate) fn heap_bytes(&self) -> usize {
        match self {
            Self::Nothing => 0,
            Self::Rate(memory) => size_of::<rate::Rate>() + memory.heap_bytes(),
            Self::Burn(memory) => size_of::<burn::Burn>() + memory.heap_bytes(),
            Self::Anomaly(memory) => size_of::<anomaly::Memory>() + memory.heap_bytes(),
        }
    }
}

/// The number that a rule looks at.
pub(crate) fn evaluated(rule: &Rule, sample: &Sample) -> Number {
    rule.evaluate.as_ref().map_or_else(|| sample.number(), |evaluate| evaluate.evaluate(sample))
}

/// What a sample makes of a condition; nothing where it says nothing.
pub(crate) fn judge(rule: &Rule, chosen: u8, memory: &mut Memory, sample: &Sample, at_ms: i64) -> Option<Verdict> {
    if rule.filter.as_ref().is_some_and(|filter| !filter.is_of_series() && !filter.holds(sample)) {
        return None;
    }
    match (&rule.condition, memory) {
        (Condition::Threshold(threshold), _) => {
            let bounds = threshold::bounds(threshold, chosen);
            match &rule.evaluate {
                // Only where floats are equal is the text looked at.
                None => threshold::judge(threshold.operator, bounds, sample.value, || sample.number()),
                Some(evaluate) => {
                    let number = evaluate.evaluate(sample);
                    threshold::judge(threshold.operator, bounds, number.to_float(), || number)
                }
            }
        }
        (Condition::RateOfChange(change), Memory::Rate(memory)) => {
            let rate = memory.add(change, at_ms, evaluated(rule, sample).to_float())?;
            threshold::judge(change.operator, &change.bounds, rate, || Number::Float(rate))
        }
        (Condition::BurnRate(burn), Memory::Burn(memory)) => {
            let number = evaluated(rule, sample);
            number.to_float().is_finite().then(|| {
                memory.add(at_ms, number);
                Verdict::both(memory.burns(burn))
            })
        }
        (Condition::Anomaly(anomaly), Memory::Anomaly(memory)) => {
            let value = evaluated(rule, sample).to_float();
            value.is_finite().then(|| Verdict::both(memory.add(anomaly, at_ms, value)))
        }
        // Whoever reports is not absent.
        _ => Some(Verdict::FALSE),
    }
}
