//! One of the pieces that the series are divided into, each with a lock and a log of its own.

use std::path::Path;
use std::sync::Arc;

use gds_promql::labels::Labels;
use gds_promql::value::Sample;

use super::buffer::Buffer;
use super::limits::Counts;
use super::series::{Series, Table};
use crate::error::Error;
use crate::fs::Fs;
use crate::log::file::{Segment, ShardLog};
use crate::log::record::Record;
use crate::log::scan::framed;
use crate::options::Options;
use crate::samples::Point;

/// What a series takes in memory besides its samples and the texts of its labels.
const SERIES_OVERHEAD: usize = size_of::<Series>() + 24;
/// And for each label.
const LABEL_OVERHEAD: usize = 8;

/// A sample that is offered.
#[derive(Clone, Debug)]
pub struct Row<'a> {
    /// The labels of its series.
    pub labels: &'a Labels,
    /// Milliseconds since 1970.
    pub time: i64,
    /// When what it counts began, in milliseconds since 1970; zero where that is not known.
    pub start: i64,
    /// Its value.
    pub value: Sample,
}

/// What became of samples that were offered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Appended {
    /// They are stored.
    pub accepted: u64,
    /// Of these, they took the place of the newest sample of their series, at the same time.
    pub replaced: u64,
    /// They are older than their series are kept.
    pub too_old: u64,
    /// Their series would have been one too many.
    pub over_limit: u64,
}

impl Appended {
    pub(crate) fn add(&mut self, other: Self) {
        self.accepted += other.accepted;
        self.replaced += other.replaced;
        self.too_old += other.too_old;
        self.over_limit += other.over_limit;
    }
}

/// In which file of the log samples are, and up to where.
pub(crate) type Written = (Arc<Segment>, u64);

/// Series, and the log of their samples.
#[derive(Debug)]
pub(crate) struct Shard {
    pub(crate) table: Table,
    /// The generation that samples belong to now.
    pub(crate) generation: u64,
    /// Bytes of memory.
    pub(crate) bytes: usize,
    log: ShardLog,
}

impl Shard {
    pub(crate) fn new(fs: Arc<dyn Fs>, folder: &Path, number: usize, generation: u64) -> Self {
        Self { table: Table::default(), generation, bytes: 0, log: ShardLog::new(fs, folder, number) }
    }

    /// Writes samples to the log, then keeps them: the rows at `mine`, whose labels have the hash beside. Also up to where
    /// in which file they are.
    pub(crate) fn append(
        &mut self,
        rows: &[Row<'_>],
        mine: &[(usize, u64)],
        options: &Options,
        counts: &Counts,
    ) -> Result<(Appended, Option<Written>), Error> {
        let mut done = Appended::default();
        let mut record = Record::default();
        let mut named = Vec::new();
        let mut taken = Vec::with_capacity(mine.len());
        let oldest: Vec<i64> = (0..=options.classes.len()).map(|class| options.oldest(class)).collect();
        for (at, hash) in mine {
            let row = &rows[*at];
            let Some(number) = self.number(row, *hash, &oldest, options, counts, &mut done) else { continue };
            let Some(series) = self.table.get_mut(number) else { continue };
            if series.logged != self.generation {
                series.logged = self.generation;
                record.name(number, row.labels);
                named.push(number);
            }
            record.sample(number, row.time, row.start, &row.value);
            taken.push((number, *at));
        }
        if taken.is_empty() {
            return Ok((done, None));
        }
        let place = match self.log.append(self.generation, &framed(&record.encode())) {
            Ok(place) => place,
            Err(error) => {
                for number in named {
                    if let Some(series) = self.table.get_mut(number) {
                        series.logged = 0;
                    }
                }
                return Err(error);
            }
        };
        for (number, at) in taken {
            let row = &rows[at];
            let point = Point { time: row.time, start: row.start, value: row.value.clone() };
            done.accepted += 1;
            done.replaced += u64::from(self.keep(number, self.generation, point));
        }
        Ok((done, Some(place)))
    }

    /// The number of the series of a row; none where the row is not taken, which is counted.
    fn number(
        &mut self,
        row: &Row<'_>,
        hash: u64,
        oldest: &[i64],
        options: &Options,
        counts: &Counts,
        done: &mut Appended,
    ) -> Option<u32> {
        let known = self.table.find(row.labels, hash);
        let class = known.and_then(|number| self.table.get(number)).map(|series| series.class);
        let class = class.unwrap_or_else(|| options.class_of(row.labels));
        if oldest.get(class).is_some_and(|oldest| row.time < *oldest) {
            done.too_old += 1;
            return None;
        }
        if known.is_some() {
            return known;
        }
        if !counts.add(row.labels, false) {
            done.over_limit += 1;
            return None;
        }
        Some(self.add(row.labels, hash, class))
    }

    fn add(&mut self, labels: &Labels, hash: u64, class: usize) -> u32 {
        self.bytes += SERIES_OVERHEAD + LABEL_OVERHEAD * labels.len();
        self.table.add(labels, hash, class)
    }

    /// Keeps a sample that is in the log already.
    pub(crate) fn replay(
        &mut self,
        labels: &Labels,
        hash: u64,
        generation: u64,
        point: Point,
        options: &Options,
        counts: &Counts,
    ) {
        let number = self.table.find(labels, hash).unwrap_or_else(|| {
            counts.add(labels, true);
            self.add(labels, hash, options.class_of(labels))
        });
        self.keep(number, generation, point);
    }

    /// Whether it took the place of the newest one.
    fn keep(&mut self, number: u32, generation: u64, point: Point) -> bool {
        let Some(series) = self.table.get_mut(number) else { return false };
        if series.buffers.last().is_none_or(|buffer| buffer.generation != generation) {
            series.buffers.reserve_exact(1); // most have one
            series.buffers.push(Buffer::new(generation));
            self.bytes += size_of::<Buffer>();
        }
        let Some(buffer) = series.buffers.last_mut() else { return false };
        let (grown, replaced) = buffer.push(point);
        self.bytes += grown;
        replaced
    }

    /// From now on samples belong to another generation.
    pub(crate) fn begin(&mut self, generation: u64) {
        self.generation = generation;
    }

    /// The file of the log cannot be relied on any more.
    pub(crate) fn leave_log(&mut self) {
        self.log.leave();
    }

    /// Forgets the samples of generations up to one, which are in parts now, and the series that have no others.
    pub(crate) fn forget(&mut self, generation: u64, counts: &Counts) {
        for number in self.table.numbers() {
            let Some(series) = self.table.get_mut(number) else { continue };
            let freed: usize =
                series.buffers.iter().filter(|buffer| buffer.generation <= generation).map(Buffer::size).sum();
            series.buffers.retain(|buffer| buffer.generation > generation);
            self.bytes = self.bytes.saturating_sub(freed);
            if series.buffers.is_empty() {
                let Some(series) = self.table.get(number) else { continue };
                let labels = self.table.labels(series);
                counts.remove(&labels);
                self.table.remove(number);
                self.bytes = self.bytes.saturating_sub(SERIES_OVERHEAD + LABEL_OVERHEAD * labels.len());
            }
        }
    }
}
