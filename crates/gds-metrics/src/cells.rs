//! The numbers of a series: a short row of 64-bit atomics, on the heap or in a file that other processes read.
//!
//! Cell 0 is the time of the last update (milliseconds since the Unix epoch, kept only where somebody asks for it);
//! then a counter's or gauge's value as `f64` bits, or a distribution's `started`, `finished`, `sum` and buckets.

use std::sync::atomic::{AtomicU64, Ordering, fence};

use crate::shared::MappedCells;

/// Cell of the time of the last update.
pub const UPDATED: usize = 0;
/// Cell of a counter's or gauge's value.
pub const VALUE: usize = 1;
/// Observations begun.
const STARTED: usize = 1;
/// Observations completed.
const FINISHED: usize = 2;
/// Sum of the observed values.
pub const SUM: usize = 3;
/// First bucket.
pub const BUCKETS: usize = 4;

/// A reader that met a writer this often takes what it sees: no writer is ever waited for.
const SNAPSHOT_ATTEMPTS: usize = 1_000;

/// The row of cells of one series.
#[derive(Debug)]
pub enum Cells {
    /// A counter's or gauge's, private to this process: right here, since most series are such.
    Number([AtomicU64; NUMBER_LEN]),
    /// A distribution's, private to this process.
    Heap(Box<[AtomicU64]>),
    /// In this process's file of a shared folder.
    Mapped(Box<MappedCells>),
}

impl Cells {
    /// `len` zeroed cells of this process.
    pub fn private(len: usize) -> Self {
        if len == NUMBER_LEN {
            Self::Number(Default::default())
        } else {
            Self::Heap((0..len).map(|_| AtomicU64::new(0)).collect())
        }
    }

    /// The cells.
    #[inline]
    pub fn get(&self) -> &[AtomicU64] {
        match self {
            Self::Number(cells) => cells,
            Self::Heap(cells) => cells,
            Self::Mapped(cells) => cells.get(),
        }
    }
}

/// Number of cells of a counter or a gauge.
pub const NUMBER_LEN: usize = 2;

/// Number of cells of a distribution with `bounds` finite bounds.
pub const fn distribution_len(bounds: usize) -> usize {
    BUCKETS + bounds + 1
}

/// Adds to a cell that holds an `f64`.
#[inline]
pub fn add_f64(cell: &AtomicU64, value: f64) {
    let mut current = cell.load(Ordering::Relaxed);
    loop {
        let next = (f64::from_bits(current) + value).to_bits();
        match cell.compare_exchange_weak(current, next, Ordering::Relaxed, Ordering::Relaxed) {
            Ok(_) => return,
            Err(actual) => current = actual,
        }
    }
}

/// Records one value of a distribution; returns its bucket.
#[inline]
pub fn observe(cells: &[AtomicU64], bounds: &[f64], value: f64) -> usize {
    // NaN compares false with every bound and so falls into the last bucket, as prometheus_client has it.
    let bucket = bounds.iter().position(|bound| value <= *bound).unwrap_or(bounds.len());
    // `started` goes up before and `finished` after the values change: a reader that sees both equal around its
    // reading has seen no half-made observation.
    cells[STARTED].fetch_add(1, Ordering::AcqRel);
    add_f64(&cells[SUM], value);
    cells[BUCKETS + bucket].fetch_add(1, Ordering::Relaxed);
    cells[FINISHED].fetch_add(1, Ordering::Release);
    bucket
}

/// Copies cells from `SUM` on (sum, then buckets), without an observation that is only half made if at all possible.
pub fn read_distribution(cells: &[AtomicU64], into: &mut Vec<u64>) {
    for attempt in 1..=SNAPSHOT_ATTEMPTS {
        let finished = cells[FINISHED].load(Ordering::Acquire);
        into.clear();
        into.extend(cells[SUM..].iter().map(|cell| cell.load(Ordering::Relaxed)));
        fence(Ordering::Acquire);
        if cells[STARTED].load(Ordering::Relaxed) == finished || attempt == SNAPSHOT_ATTEMPTS {
            return;
        }
        std::hint::spin_loop();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn concurrent_additions_lose_nothing() {
        let cell = AtomicU64::new(0);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| (0..100_000).for_each(|_| add_f64(&cell, 1.0)));
            }
        });
        assert_eq!(f64::from_bits(cell.into_inner()).to_bits(), 800_000_f64.to_bits());
    }

    #[test]
    fn a_snapshot_holds_whole_observations() {
        let cells = Cells::private(distribution_len(1));
        let stop = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    observe(cells.get(), &[1.0], 1.0);
                    for _ in 0..20 {
                        std::hint::spin_loop();
                    }
                }
            });
            let mut seen = Vec::new();
            for _ in 0..20_000 {
                read_distribution(cells.get(), &mut seen);
                let (sum, count) = (f64::from_bits(seen[0]), seen[1..].iter().sum::<u64>());
                assert!((sum - count as f64).abs() < 0.5, "sum {sum} of {count} observations of 1");
            }
            stop.store(true, Ordering::Relaxed);
        });
    }

    #[test]
    fn values_fall_into_their_bucket() {
        let cells = Cells::private(distribution_len(2));
        for (value, bucket) in [(0.5, 0), (1.0, 0), (1.5, 1), (3.0, 2), (f64::NAN, 2), (f64::NEG_INFINITY, 0)] {
            assert_eq!(observe(cells.get(), &[1.0, 2.0], value), bucket);
        }
    }
}
