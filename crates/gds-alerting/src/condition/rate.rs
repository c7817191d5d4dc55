//! How fast a number changes: the newest value beside the one at the beginning of the window.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::rules::{ChangeUnit, RateOfChange};

/// So many points of a window are kept, whatever the interval of the samples.
const POINTS: i64 = 32;

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Rate {
    points: VecDeque<(i64, f64)>,
    /// What a counter had counted before it began anew.
    before: f64,
    last: Option<f64>,
}

impl Rate {
    pub(super) fn heap_bytes(&self) -> usize {
        self.points.capacity() * size_of::<(i64, f64)>()
    }

    /// Takes a value; the change, once half a window is known.
    pub(super) fn add(&mut self, change: &RateOfChange, at_ms: i64, value: f64) -> Option<f64> {
        if !value.is_finite() {
            return None;
        }
        if change.counter {
            if let Some(last) = self.last.filter(|last| value < *last) {
                self.before += last;
            }
            self.last = Some(value);
        }
        let value = value + self.before;
        // After a gap of two windows nothing is known of this one.
        if self.points.back().is_some_and(|(last, _)| at_ms - last > 2 * change.window_ms) {
            self.points.clear();
        }
        let close = self.points.len() >= 2
            && self.points.get(self.points.len() - 2).is_some_and(|(at, _)| at_ms - at < change.window_ms / POINTS);
        if close {
            self.points.pop_back();
        }
        self.points.push_back((at_ms, value));
        while self.points.get(1).is_some_and(|(at, _)| *at <= at_ms - change.window_ms) {
            self.points.pop_front();
        }
        let (began, first) = *self.points.front()?;
        let elapsed = at_ms - began;
        if elapsed < change.window_ms / 2 || elapsed == 0 {
            return None;
        }
        let difference = value - first;
        match change.unit {
            ChangeUnit::PerSecond => Some(difference * 1000.0 / elapsed as f64),
            ChangeUnit::Absolute => Some(difference),
            ChangeUnit::Percent => (first != 0.0).then(|| difference / first.abs() * 100.0),
        }
    }
}
