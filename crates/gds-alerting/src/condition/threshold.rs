//! Comparisons with fixed values, exact where both are decimal text.

use std::cmp::Ordering;

use super::Verdict;
use crate::decimal::Number;
use crate::matcher::Labels;
use crate::rules::{Bounds, Operator, Threshold};

/// Which override holds for a series: 0 for none, else its place from 1.
pub(crate) fn override_of(threshold: &Threshold, labels: &Labels) -> u8 {
    let found = threshold
        .overrides
        .iter()
        .take(usize::from(u8::MAX) - 1)
        .position(|(matchers, _)| matchers.iter().all(|matcher| matcher.matches(labels)));
    found.map_or(0, |place| u8::try_from(place + 1).unwrap_or(0))
}

pub(super) fn bounds(threshold: &Threshold, chosen: u8) -> &Bounds {
    match usize::from(chosen).checked_sub(1).and_then(|place| threshold.overrides.get(place)) {
        Some((_, bounds)) => bounds,
        None => &threshold.bounds,
    }
}

pub(super) fn judge(operator: Operator, bounds: &Bounds, float: f64, exact: impl Fn() -> Number) -> Option<Verdict> {
    let compare = |with: Number| {
        Some(match float.partial_cmp(&with.to_float())? {
            Ordering::Equal => exact().compare(with)?,
            unequal => unequal,
        })
    };
    let low = compare(bounds.low)?;
    let enters = match operator {
        Operator::Greater => low.is_gt(),
        Operator::GreaterOrEqual => low.is_ge(),
        Operator::Less => low.is_lt(),
        Operator::LessOrEqual => low.is_le(),
        Operator::Equal => low.is_eq(),
        Operator::Unequal => low.is_ne(),
        Operator::Inside => low.is_ge() && compare(bounds.high)?.is_le(),
        Operator::Outside => low.is_lt() || compare(bounds.high)?.is_gt(),
    };
    let stays = match (bounds.clear, operator) {
        (Some(clear), Operator::Greater | Operator::GreaterOrEqual) => enters || compare(clear)?.is_ge(),
        (Some(clear), _) => enters || compare(clear)?.is_le(),
        (None, _) => enters,
    };
    Some(Verdict { enters, stays })
}
