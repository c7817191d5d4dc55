//! The series of a shard: found by their labels, by their number, and by the name of their metric.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hasher};
use std::sync::Arc;

use foldhash::fast::FixedState;
use gds_promql::labels::Labels;
use gds_promql::matcher::{METRIC_NAME, MatchOp, Matcher};
use hashbrown::HashTable;
use roaring::RoaringBitmap;

use super::buffer::Buffer;
use super::symbols::Symbols;

/// Two numbers of texts for each label.
type Pairs = Box<[(u32, u32)]>;

/// One series.
#[derive(Debug)]
pub(crate) struct Series {
    labels: Pairs,
    hash: u64,
    /// Which class of retention it belongs to.
    pub(crate) class: usize,
    /// The last generation of the log that has its labels.
    pub(crate) logged: u64,
    /// Its samples, a buffer for each generation, oldest first.
    pub(crate) buffers: Vec<Buffer>,
}

/// All series of a shard.
#[derive(Debug, Default)]
pub(crate) struct Table {
    symbols: Symbols,
    series: Vec<Option<Series>>,
    free: Vec<u32>,
    by_labels: HashTable<u32>,
    by_metric: HashMap<u32, RoaringBitmap, FixedState>,
}

/// The hash of labels, the same in every process.
pub(crate) fn hash(labels: &Labels) -> u64 {
    let mut hasher = FixedState::default().build_hasher();
    for (name, value) in labels.iter() {
        hasher.write(name.as_bytes());
        hasher.write_u8(0xff);
        hasher.write(value.as_bytes());
        hasher.write_u8(0xff);
    }
    hasher.finish()
}

impl Table {
    /// The number of a series.
    pub(crate) fn find(&self, labels: &Labels, hash: u64) -> Option<u32> {
        let found = self.by_labels.find(hash, |number| {
            let Some(series) = self.series[*number as usize].as_ref() else { return false };
            series.hash == hash
                && series.labels.len() == labels.len()
                && series.labels.iter().zip(labels.iter()).all(|((own_name, own_value), (name, value))| {
                    **self.symbols.text(*own_value) == *value && **self.symbols.text(*own_name) == *name
                })
        });
        found.copied()
    }

    /// Adds a series that is not there.
    pub(crate) fn add(&mut self, labels: &Labels, hash: u64, class: usize) -> u32 {
        let symbols = &mut self.symbols;
        let pairs: Pairs = labels.iter().map(|(name, value)| (symbols.take(name), symbols.take(value))).collect();
        let metric = self.metric_of(&pairs);
        let series = Some(Series { labels: pairs, hash, class, logged: 0, buffers: Vec::new() });
        let number = if let Some(number) = self.free.pop() {
            self.series[number as usize] = series;
            number
        } else {
            self.series.push(series);
            u32::try_from(self.series.len() - 1).unwrap_or(u32::MAX)
        };
        self.by_metric.entry(metric).or_default().insert(number);
        let all = &self.series;
        self.by_labels.insert_unique(hash, number, |number| all[*number as usize].as_ref().map_or(0, |one| one.hash));
        number
    }

    /// Forgets a series.
    pub(crate) fn remove(&mut self, number: u32) {
        let Some(series) = self.series[number as usize].take() else { return };
        if let Ok(entry) = self.by_labels.find_entry(series.hash, |other| *other == number) {
            entry.remove();
        }
        let metric = self.metric_of(&series.labels);
        if let Some(numbers) = self.by_metric.get_mut(&metric) {
            numbers.remove(number);
            if numbers.is_empty() {
                self.by_metric.remove(&metric);
            }
        }
        for (name, value) in &series.labels {
            self.symbols.release(*name);
            self.symbols.release(*value);
        }
        self.free.push(number);
    }

    pub(crate) fn get(&self, number: u32) -> Option<&Series> {
        self.series.get(number as usize)?.as_ref()
    }

    pub(crate) fn get_mut(&mut self, number: u32) -> Option<&mut Series> {
        self.series.get_mut(number as usize)?.as_mut()
    }

    /// How many series there are.
    pub(crate) fn len(&self) -> usize {
        self.by_labels.len()
    }

    /// The numbers of all series.
    pub(crate) fn numbers(&self) -> Vec<u32> {
        (0..).zip(&self.series).filter(|(_, series)| series.is_some()).map(|(number, _)| number).collect()
    }

    /// The labels of a series that is there.
    pub(crate) fn labels(&self, series: &Series) -> Labels {
        let text = |number: u32| Arc::clone(self.symbols.text(number));
        Labels::from_sorted(series.labels.iter().map(|(name, value)| (text(*name), text(*value))))
    }

    /// The numbers of the series that all matchers choose.
    pub(crate) fn select(&self, matchers: &[Matcher]) -> Vec<u32> {
        let of_metric = matchers.iter().find(|matcher| {
            matcher.name() == METRIC_NAME && matcher.op() == MatchOp::Equal && !matcher.value().is_empty()
        });
        let candidates: Vec<u32> = match of_metric {
            Some(matcher) => {
                let metric = self.symbols.find(matcher.value()).and_then(|symbol| self.by_metric.get(&symbol));
                metric.into_iter().flatten().collect()
            }
            None => self.numbers(),
        };
        candidates
            .into_iter()
            .filter(|number| self.get(*number).is_some_and(|one| self.chosen(one, matchers)))
            .collect()
    }

    fn chosen(&self, series: &Series, matchers: &[Matcher]) -> bool {
        matchers.iter().all(|matcher| {
            let own = series.labels.iter().find(|(name, _)| **self.symbols.text(*name) == *matcher.name());
            matcher.matches(own.map_or("", |(_, value)| self.symbols.text(*value)))
        })
    }

    /// The symbol of the name of the metric of a series; a number that no symbol has where there is none.
    fn metric_of(&self, labels: &Pairs) -> u32 {
        let own = labels.iter().find(|(name, _)| **self.symbols.text(*name) == *METRIC_NAME);
        own.map_or(u32::MAX, |(_, value)| *value)
    }
}
