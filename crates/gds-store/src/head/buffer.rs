//! The samples of one series that belong to one generation of the log.

use std::sync::Arc;

use gds_promql::source::Samples;
use gds_promql::value::Sample;

use crate::codec::chunk::{self, Chunk};
use crate::codec::histogram::{self, HistogramChunk};
use crate::samples::{Point, Range, in_time, merged};

/// The samples of a chunk before the next one begins.
const SEALED: usize = 240;
/// What a sealed chunk takes in memory besides its bytes.
const SEALED_OVERHEAD: usize = 40;

/// Samples, compressed as they come. Cloning it copies what is open, and shares the rest.
#[derive(Clone, Debug)]
pub(crate) struct Buffer {
    /// The generation of the log that has the samples, too.
    pub(crate) generation: u64,
    oldest: i64,
    newest: i64,
    sealed: Vec<(Arc<[u8]>, u16)>,
    open: Chunk,
    histograms: Option<Box<HistogramChunk>>,
    /// Samples that came after newer ones, in the order in which they came.
    late: Vec<Point>,
}

impl Buffer {
    pub(crate) fn new(generation: u64) -> Self {
        Self {
            generation,
            oldest: i64::MAX,
            newest: i64::MIN,
            sealed: Vec::new(),
            open: Chunk::default(),
            histograms: None,
            late: Vec::new(),
        }
    }

    /// Appends a sample; how many bytes of memory it took, and whether it takes the place of the newest one.
    pub(crate) fn push(&mut self, point: Point) -> (usize, bool) {
        let before = self.growing();
        let mut grown = 0;
        let time = point.time;
        let replaces = time == self.newest;
        let late = time <= self.newest && self.oldest <= self.newest;
        self.oldest = self.oldest.min(time);
        if late {
            self.late.push(point);
        } else {
            self.newest = time;
            match point.value {
                Sample::Float(value) => {
                    if self.open.len() >= SEALED {
                        let full = std::mem::take(&mut self.open);
                        grown = full.bytes().len() + SEALED_OVERHEAD;
                        self.sealed.push((Arc::from(full.bytes()), u16::try_from(full.len()).unwrap_or(0)));
                    }
                    self.open.push(time, point.start, value);
                }
                Sample::Histogram(value) => {
                    self.histograms.get_or_insert_default().push(time, point.start, &value);
                }
            }
        }
        ((grown + self.growing()).saturating_sub(before), replaces && late)
    }

    /// Whether a sample may be within a time.
    pub(crate) fn overlaps(&self, (start, end): Range) -> bool {
        self.oldest <= end && self.newest >= start
    }

    /// The samples; of those at the same time the one that came last. How many are left out so is counted.
    pub(crate) fn samples(&self) -> (Samples, u64) {
        let mut samples = Samples::default();
        for (bytes, count) in &self.sealed {
            let whole = chunk::decode(bytes, usize::from(*count), &mut samples.floats);
            debug_assert!(whole.is_ok(), "{whole:?}");
        }
        let whole = chunk::decode(self.open.bytes(), self.open.len(), &mut samples.floats);
        debug_assert!(whole.is_ok(), "{whole:?}");
        if let Some(histograms) = &self.histograms {
            let whole = histogram::decode(histograms.bytes(), histograms.len(), &mut samples.histograms);
            debug_assert!(whole.is_ok(), "{whole:?}");
        }
        if self.late.is_empty() {
            return (samples, 0);
        }
        let (late, among) = in_time(self.late.clone());
        let (samples, between) = merged(vec![samples, late]);
        (samples, among + between)
    }

    /// Bytes that it takes in memory.
    pub(crate) fn size(&self) -> usize {
        let sealed: usize = self.sealed.iter().map(|(bytes, _)| bytes.len() + SEALED_OVERHEAD).sum();
        size_of::<Self>() + sealed + self.growing()
    }

    /// Bytes of what is not sealed.
    fn growing(&self) -> usize {
        let histograms = self.histograms.as_ref().map_or(0, |chunk| chunk.capacity() + size_of::<HistogramChunk>());
        self.open.capacity() + histograms + self.late.capacity() * size_of::<Point>()
    }
}
