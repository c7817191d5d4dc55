//! The series that rules look at, found by their names.

use foldhash::fast::FixedState;
use hashbrown::HashTable;
use serde::{Deserialize, Serialize};
use std::hash::BuildHasher;

use super::cell::{Cell, CellRecord};
use super::identity;
use crate::condition::{Memory, override_of};
use crate::rules::{Condition, Rules};
use crate::sample::Sample;

#[derive(Debug)]
pub(super) struct Series {
    identity: Box<[u8]>,
    pub(super) partition: i32,
    /// Time of its newest sample.
    pub(super) last_ms: i64,
    /// One for each rule whose filter takes it.
    pub(super) cells: Box<[Cell]>,
}

impl Series {
    pub(super) fn sample(&self) -> Sample {
        identity::read(&self.identity)
    }

    fn heap_bytes(&self) -> usize {
        let memory: usize = self.cells.iter().map(|cell| cell.memory.heap_bytes()).sum();
        self.identity.len() + size_of_val(&*self.cells) + memory
    }
}

/// A series between two processes, or two files.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct SeriesRecord {
    pub(super) series: Sample,
    pub(super) last_ms: i64,
    pub(super) cells: Vec<CellRecord>,
}

#[derive(Debug, Default)]
pub(super) struct Table {
    all: Vec<Series>,
    index: HashTable<u32>,
    hasher: FixedState,
    key: Vec<u8>,
}

impl Table {
    /// The series of a sample, and whether it is new.
    pub(super) fn find(&mut self, rules: &Rules, sample: &Sample) -> (u32, bool) {
        identity::write(&mut self.key, sample);
        let hash = self.hasher.hash_one(self.key.as_slice());
        let same = |place: &u32| *self.all[*place as usize].identity == *self.key;
        if let Some(place) = self.index.find(hash, same) {
            return (*place, false);
        }
        let place = u32::try_from(self.all.len()).expect("fewer series than 2^32: each takes far more than a byte");
        self.all.push(Series {
            identity: self.key.as_slice().into(),
            partition: sample.partition,
            last_ms: i64::MIN,
            cells: cells(rules, sample),
        });
        let rehash = |place: &u32| self.hasher.hash_one(&*self.all[*place as usize].identity);
        self.index.insert_unique(hash, place, rehash);
        (place, true)
    }

    pub(super) fn get(&self, place: u32) -> &Series {
        &self.all[place as usize]
    }

    pub(super) fn get_mut(&mut self, place: u32) -> &mut Series {
        &mut self.all[place as usize]
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Series> {
        self.all.iter()
    }

    /// Bytes that all series take together, their names and index included.
    pub(super) fn bytes(&self) -> usize {
        let heap: usize = self.all.iter().map(Series::heap_bytes).sum();
        heap + self.all.len() * size_of::<Series>() + self.index.capacity() * (size_of::<u32>() + 1)
    }
}

/// A cell for each rule that looks at a series. What only depends on the series is decided here, once.
fn cells(rules: &Rules, sample: &Sample) -> Box<[Cell]> {
    let looks = |place: &&usize| {
        let filter = rules.rules[**place].filter.as_ref();
        filter.is_none_or(|filter| !filter.is_of_series() || filter.holds(sample))
    };
    let cell = |place: &usize| {
        let rule = &rules.rules[*place];
        let chosen = match &rule.condition {
            Condition::Threshold(threshold) if !threshold.overrides.is_empty() => {
                override_of(threshold, &super::alert::labels(rule, sample))
            }
            _ => 0,
        };
        Cell::new(u32::try_from(*place).unwrap_or(u32::MAX), chosen, Memory::new(&rule.condition))
    };
    rules.of_metric(&sample.metric).iter().filter(looks).map(cell).collect()
}
