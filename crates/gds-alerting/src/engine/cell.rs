//! One rule on one series: whether its condition is true, and for how long it was or was not.

use serde::{Deserialize, Serialize};

use crate::condition::{Memory, Verdict};
use crate::duration::Millis;

/// What a rule thinks of a series.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Level {
    #[default]
    Fine,
    Pending,
    Firing,
    NoData,
}

/// No time.
const NEVER: i64 = i64::MIN;

#[derive(Clone, Debug)]
pub(super) struct Cell {
    /// Place of the rule in the file.
    pub(super) rule: u32,
    pub(super) level: Level,
    /// Whether it was firing when its data stopped.
    was_firing: bool,
    /// Which of the overrides of a threshold holds.
    pub(super) chosen: u8,
    /// Since when the condition is true.
    since_ms: i64,
    /// Since when it is false while firing.
    false_since_ms: i64,
    pub(super) memory: Memory,
}

/// A cell between two processes, or two files.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct CellRecord {
    pub(super) rule: String,
    pub(super) level: Level,
    was_firing: bool,
    since_ms: i64,
    false_since_ms: i64,
    memory: Memory,
}

impl Cell {
    pub(super) fn new(rule: u32, chosen: u8, memory: Memory) -> Self {
        let level = Level::Fine;
        Self { rule, level, was_firing: false, chosen, since_ms: NEVER, false_since_ms: NEVER, memory }
    }

    pub(super) fn record(&self, rule: &str) -> CellRecord {
        CellRecord {
            rule: rule.to_owned(),
            level: self.level,
            was_firing: self.was_firing,
            since_ms: self.since_ms,
            false_since_ms: self.false_since_ms,
            memory: self.memory.clone(),
        }
    }

    /// Goes on from a record; what is remembered is kept where the condition still can.
    pub(super) fn restore(&mut self, record: CellRecord, condition: &crate::rules::Condition) {
        self.level = record.level;
        self.was_firing = record.was_firing;
        self.since_ms = record.since_ms;
        self.false_since_ms = record.false_since_ms;
        self.memory = record.memory.kept(condition);
    }

    /// Takes what a sample says; an incident that is open stays so until the condition has been false for `keep_ms`.
    pub(super) fn advance(&mut self, at_ms: i64, verdict: Verdict, for_ms: Millis, keep_ms: Millis) {
        self.level = match self.level {
            Level::NoData if self.was_firing && verdict.stays => Level::Firing,
            Level::Fine | Level::NoData if verdict.enters => {
                self.since_ms = at_ms;
                if for_ms == 0 { Level::Firing } else { Level::Pending }
            }
            Level::Pending if verdict.enters => {
                if at_ms - self.since_ms >= for_ms {
                    Level::Firing
                } else {
                    Level::Pending
                }
            }
            Level::Firing if verdict.stays => {
                self.false_since_ms = NEVER;
                Level::Firing
            }
            Level::Firing => {
                if self.false_since_ms == NEVER {
                    self.false_since_ms = at_ms;
                }
                if at_ms - self.false_since_ms >= keep_ms { Level::Fine } else { Level::Firing }
            }
            Level::Fine | Level::Pending | Level::NoData => Level::Fine,
        };
        if self.level != Level::Firing {
            self.false_since_ms = NEVER;
        }
        self.was_firing = false;
    }

    /// Nothing has been heard for too long: nothing is known.
    pub(super) fn lose(&mut self) {
        self.was_firing = self.level == Level::Firing;
        self.level = Level::NoData;
    }
}
