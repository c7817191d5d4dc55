//! The numbers of a series: a short row of 64-bit atomics, on the heap or in a file that other processes read.
//!
//! Cell 0 is the time of the last update (milliseconds since the Unix epoch, kept only where somebody asks for it);
//! then a counter's or gauge's value as `f64` bits, or a distribution's `started`, `finished`, `sum` and buckets.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::shared::MappedCells;

/// A 64-bit atomic: the one of the standard library, or in a test the one of a model checker.
pub trait Word {
    /// As [`AtomicU64::load`].
    fn load(&self, order: Ordering) -> u64;
    /// As [`AtomicU64::store`].
    fn store(&self, value: u64, order: Ordering);
    /// As [`AtomicU64::fetch_add`].
    fn fetch_add(&self, value: u64, order: Ordering) -> u64;
    /// As [`AtomicU64::compare_exchange`], which also the weak one may be.
    fn compare_exchange(&self, current: u64, new: u64, ok: Ordering, not: Ordering) -> Result<u64, u64>;
    /// As [`std::sync::atomic::fence`].
    fn fence(order: Ordering);
}

impl Word for AtomicU64 {
    #[inline]
    fn load(&self, order: Ordering) -> u64 {
        self.load(order)
    }

    #[inline]
    fn store(&self, value: u64, order: Ordering) {
        self.store(value, order);
    }

    #[inline]
    fn fetch_add(&self, value: u64, order: Ordering) -> u64 {
        self.fetch_add(value, order)
    }

    #[inline]
    fn compare_exchange(&self, current: u64, new: u64, ok: Ordering, not: Ordering) -> Result<u64, u64> {
        self.compare_exchange_weak(current, new, ok, not)
    }

    #[inline]
    fn fence(order: Ordering) {
        std::sync::atomic::fence(order);
    }
}

/// Cell of the time of the last update.
pub const UPDATED: usize = 0;
/// In its place: the series was removed.
pub const REMOVED: u64 = u64::MAX;
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
pub fn add_f64<W: Word>(cell: &W, value: f64) {
    let mut current = cell.load(Ordering::Relaxed);
    loop {
        let next = (f64::from_bits(current) + value).to_bits();
        match cell.compare_exchange(current, next, Ordering::Relaxed, Ordering::Relaxed) {
            Ok(_) => return,
            Err(actual) => current = actual,
        }
    }
}

/// Records one value of a distribution; returns its bucket.
#[inline]
pub fn observe<W: Word>(cells: &[W], bounds: &[f64], value: f64) -> usize {
    let bucket = bounds.iter().position(|bound| value <= *bound).unwrap_or(bounds.len());
    // `started` goes up before and `finished` after the values change: a reader that sees both equal around its
    // reading has seen no half-made observation. The fence is what keeps `started` before the values: whoever reads one
    // of them, and has a fence of its own behind that, sees `started` raised (C++20 [atomics.fences]). Ordering the
    // addition itself would keep only what is before it, and a weakly ordered processor may show the values first.
    cells[STARTED].fetch_add(1, Ordering::Relaxed);
    W::fence(Ordering::Release);
    add_f64(&cells[SUM], value);
    cells[BUCKETS + bucket].fetch_add(1, Ordering::Relaxed);
    cells[FINISHED].fetch_add(1, Ordering::Release);
    bucket
}

/// Copies cells from `SUM` on (sum, then buckets), without an observation that is only half made if at all possible.
pub fn read_distribution(cells: &[AtomicU64], into: &mut Vec<u64>) {
    for _ in 0..SNAPSHOT_ATTEMPTS {
        if try_read_distribution(cells, into) {
            return;
        }
        std::hint::spin_loop();
    }
}

/// One attempt at it; whether what was copied are whole observations.
pub(crate) fn try_read_distribution<W: Word>(cells: &[W], into: &mut Vec<u64>) -> bool {
    let finished = cells[FINISHED].load(Ordering::Acquire);
    into.clear();
    into.extend(cells[SUM..].iter().map(|cell| cell.load(Ordering::Relaxed)));
    W::fence(Ordering::Acquire);
    cells[STARTED].load(Ordering::Relaxed) == finished
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
        for (value, bucket) in [(0.5, 0), (1.0, 0), (1.5, 1), (3.0, 2), (f64::INFINITY, 2), (f64::NEG_INFINITY, 0)] {
            assert_eq!(observe(cells.get(), &[1.0, 2.0], value), bucket);
        }
    }
}
