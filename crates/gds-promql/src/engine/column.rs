//! The values of a series at the steps of a query.

use std::sync::Arc;

use super::context::{Query, Reservation, WORK};
use crate::error::Error;
use crate::histogram::FloatHistogram;
use crate::labels::Labels;
use crate::value::Sample;

/// The steps of an evaluation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Grid {
    /// The first one, in milliseconds since 1970.
    pub(super) start: i64,
    /// Their distance, at least one millisecond.
    pub(super) step: i64,
    /// How many there are.
    pub(super) count: usize,
}

impl Grid {
    /// One step.
    pub(super) fn instant(time: i64) -> Self {
        Self { start: time, step: 1, count: 1 }
    }

    /// From `start` until not after `end`.
    pub(super) fn new(start: i64, end: i64, step: i64) -> Self {
        let step = step.max(1);
        let count = if end < start { 0 } else { (end.saturating_sub(start) / step).saturating_add(1) };
        Self { start, step, count: usize::try_from(count).unwrap_or(usize::MAX) }
    }

    /// The time of a step.
    pub(super) fn at(self, step: usize) -> i64 {
        self.start.saturating_add(self.step.saturating_mul(i64::try_from(step).unwrap_or(i64::MAX)))
    }

    /// The last step.
    pub(super) fn last(self) -> i64 {
        self.at(self.count.saturating_sub(1))
    }

    /// All of them.
    pub(super) fn times(self) -> impl Iterator<Item = i64> {
        (0..self.count).map(move |step| self.at(step))
    }
}

/// One bit for each step.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Bits(Vec<u64>);

impl Bits {
    pub(super) fn new(count: usize) -> Self {
        Self(vec![0; count.div_ceil(64)])
    }

    pub(super) fn set(&mut self, at: usize) {
        self.0[at / 64] |= 1 << (at % 64);
    }

    pub(super) fn clear(&mut self, at: usize) {
        self.0[at / 64] &= !(1 << (at % 64));
    }

    pub(super) fn get(&self, at: usize) -> bool {
        self.0[at / 64] >> (at % 64) & 1 == 1
    }

    /// Those set, in order.
    pub(super) fn iter(&self) -> impl Iterator<Item = usize> {
        self.0.iter().enumerate().flat_map(|(word, bits)| {
            let mut left = *bits;
            std::iter::from_fn(move || {
                if left == 0 {
                    return None;
                }
                let at = left.trailing_zeros() as usize;
                left &= left - 1;
                Some(word * 64 + at)
            })
        })
    }

    /// Whether none is set.
    pub(super) fn is_empty(&self) -> bool {
        self.0.iter().all(|word| *word == 0)
    }
}

/// A value that stays where it is.
#[derive(Clone, Copy, Debug)]
pub(super) enum Point<'a> {
    Float(f64),
    Histogram(&'a Arc<FloatHistogram>),
}

impl Point<'_> {
    pub(super) fn to_sample(self) -> Sample {
        match self {
            Self::Float(number) => Sample::Float(number),
            Self::Histogram(histogram) => Sample::Histogram(Arc::clone(histogram)),
        }
    }
}

/// What a series takes besides its values, as far as that can be said of all: labels, and its place in tables.
const BESIDE_VALUES: usize = 512;

/// The values at the steps: numbers in a row with a bit for each that is there, the few histograms beside them.
#[derive(Debug)]
pub(super) struct Column {
    floats: Vec<f64>,
    there: Bits,
    /// By step.
    histograms: Vec<(usize, Arc<FloatHistogram>)>,
    held: Reservation,
}

impl Column {
    /// Without any value.
    pub(super) fn new(query: &Query<'_>, count: usize) -> Result<Self, Error> {
        query.work(count.saturating_add(1))?;
        let held = query.hold(count.saturating_mul(8).saturating_add(count / 8 + BESIDE_VALUES))?;
        Ok(Self { floats: vec![0.0; count], there: Bits::new(count), histograms: Vec::new(), held })
    }

    /// The same number at each step.
    pub(super) fn constant(query: &Query<'_>, count: usize, number: f64) -> Result<Self, Error> {
        let mut column = Self::new(query, count)?;
        (0..count).for_each(|step| column.set_float(step, number));
        Ok(column)
    }

    pub(super) fn set_float(&mut self, step: usize, number: f64) {
        self.floats[step] = number;
        self.there.set(step);
    }

    pub(super) fn set(&mut self, step: usize, sample: Sample) -> Result<(), Error> {
        match sample {
            Sample::Float(number) => self.set_float(step, number),
            Sample::Histogram(histogram) => {
                // Histograms are shared where they only pass through; one reference is what is certain.
                let fresh = if Arc::strong_count(&histogram) == 1 { histogram.size() } else { 0 };
                self.held.grow(fresh + size_of::<(usize, Arc<FloatHistogram>)>())?;
                let at = self.histograms.partition_point(|(other, _)| *other < step);
                self.histograms.insert(at, (step, histogram));
            }
        }
        Ok(())
    }

    pub(super) fn get(&self, step: usize) -> Option<Point<'_>> {
        if self.there.get(step) {
            return Some(Point::Float(self.floats[step]));
        }
        if self.histograms.is_empty() {
            return None;
        }
        let at = self.histograms.binary_search_by_key(&step, |(other, _)| *other).ok()?;
        Some(Point::Histogram(&self.histograms[at].1))
    }

    /// Whether there is a value.
    pub(super) fn has(&self, step: usize) -> bool {
        self.get(step).is_some()
    }

    /// Numbers of a scalar, which has one at each step.
    pub(super) fn into_floats(self) -> Vec<f64> {
        self.floats
    }

    /// Takes away the values at steps that do not pass.
    pub(super) fn retain(&mut self, keep: impl Fn(usize) -> bool) {
        let gone: Vec<usize> = self.there.iter().filter(|step| !keep(*step)).collect();
        for step in gone {
            self.there.clear(step);
        }
        self.histograms.retain(|(step, _)| keep(*step));
    }

    /// Replaces numbers by what becomes of them.
    pub(super) fn map_floats(&mut self, query: &Query<'_>, change: impl Fn(f64) -> f64) -> Result<(), Error> {
        for piece in self.floats.chunks_mut(WORK) {
            query.work(piece.len())?;
            for number in piece {
                *number = change(*number);
            }
        }
        Ok(())
    }

    /// Takes away the histograms.
    pub(super) fn drop_histograms(&mut self) {
        self.histograms.clear();
    }

    /// Whether there is no value at all.
    pub(super) fn is_empty(&self) -> bool {
        self.there.is_empty() && self.histograms.is_empty()
    }

    /// Whether there is a number.
    pub(super) fn has_floats(&self) -> bool {
        !self.there.is_empty()
    }

    /// All values by step.
    pub(super) fn iter(&self) -> impl Iterator<Item = (usize, Point<'_>)> {
        let mut floats = self.there.iter().peekable();
        let mut histograms = self.histograms.iter().peekable();
        std::iter::from_fn(move || match (floats.peek(), histograms.peek()) {
            (None, None) => None,
            (Some(float), Some((histogram, _))) if histogram < float => take(&mut histograms),
            (None, Some(_)) => take(&mut histograms),
            (Some(_), _) => floats.next().map(|step| (step, Point::Float(self.floats[step]))),
        })
    }

    /// Takes in the values of another column; fails where both have one.
    pub(super) fn merge(&mut self, other: &Self) -> Result<(), Error> {
        for (step, point) in other.iter() {
            if self.has(step) {
                return Err(Error::same_labels());
            }
            self.set(step, point.to_sample())?;
        }
        Ok(())
    }

    /// The value of the only step, at each of many.
    pub(super) fn spread(self, query: &Query<'_>, count: usize) -> Result<Self, Error> {
        let mut column = Self::new(query, count)?;
        match self.get(0) {
            None => {}
            Some(Point::Float(number)) => (0..count).for_each(|step| column.set_float(step, number)),
            Some(Point::Histogram(histogram)) => {
                column.held.grow(count * size_of::<(usize, Arc<FloatHistogram>)>())?;
                column.histograms = (0..count).map(|step| (step, Arc::clone(histogram))).collect();
            }
        }
        Ok(column)
    }

    pub(super) fn try_clone(&self) -> Result<Self, Error> {
        let held = self.held.try_clone()?;
        let (floats, there, histograms) = (self.floats.clone(), self.there.clone(), self.histograms.clone());
        Ok(Self { floats, there, histograms, held })
    }
}

type Beside<'a> = std::iter::Peekable<std::slice::Iter<'a, (usize, Arc<FloatHistogram>)>>;

fn take<'a>(histograms: &mut Beside<'a>) -> Option<(usize, Point<'a>)> {
    histograms.next().map(|(step, histogram)| (*step, Point::Histogram(histogram)))
}

/// A series at the steps of a query.
#[derive(Debug)]
pub(super) struct Series {
    pub(super) labels: Labels,
    /// Whether the name of the metric goes at the end: it stays until then, so that series of several metrics do not
    /// become one too early.
    pub(super) drop_name: bool,
    pub(super) column: Column,
}

impl Series {
    pub(super) fn try_clone(&self) -> Result<Self, Error> {
        Ok(Self { labels: self.labels.clone(), drop_name: self.drop_name, column: self.column.try_clone()? })
    }
}
