//! The last example of each bucket with the trace it came from, kept as atomics so that a mapped file can hold it.

use std::sync::atomic::Ordering;

use crate::cells::Word;
use crate::snapshot::{Exemplar, TraceContext};

/// Cells of one example: version, trace id (two), span id, value, time.
pub const SLOT_LEN: usize = 6;

/// Number of cells for `slots` buckets.
pub const fn cells_len(slots: usize) -> usize {
    slots * SLOT_LEN
}

/// Puts an example into its slot. When another thread is at the same slot, that thread's example stays: one is enough.
pub fn store<W: Word>(cells: &[W], exemplar: &Exemplar) {
    let Some(slot) = cells.get(exemplar.bucket * SLOT_LEN..(exemplar.bucket + 1) * SLOT_LEN) else { return };
    let version = slot[0].load(Ordering::Relaxed);
    // An odd version is a writer at work (or one that was killed at it, whose slot then stays empty for readers).
    if version % 2 == 1 || slot[0].compare_exchange(version, version + 1, Ordering::Acquire, Ordering::Relaxed).is_err()
    {
        return;
    }
    W::fence(Ordering::Release);
    for (cell, value) in slot[1..].iter().zip(encode(exemplar)) {
        cell.store(value, Ordering::Relaxed);
    }
    slot[0].store(version + 2, Ordering::Release);
}

/// The example of `bucket`, if there is one and nobody is just replacing it.
pub fn load<W: Word>(cells: &[W], bucket: usize) -> Option<Exemplar> {
    let slot = cells.get(bucket * SLOT_LEN..(bucket + 1) * SLOT_LEN)?;
    let version = slot[0].load(Ordering::Acquire);
    if version == 0 || version % 2 == 1 {
        return None;
    }
    let values: [u64; SLOT_LEN - 1] = std::array::from_fn(|n| slot[n + 1].load(Ordering::Relaxed));
    W::fence(Ordering::Acquire);
    (slot[0].load(Ordering::Relaxed) == version).then(|| decode(values, bucket))
}

fn encode(exemplar: &Exemplar) -> [u64; SLOT_LEN - 1] {
    let trace = u128::from_be_bytes(exemplar.trace.trace_id);
    #[allow(clippy::cast_possible_truncation)] // the halves of a 128-bit id
    let (high, low) = ((trace >> 64) as u64, trace as u64);
    [high, low, u64::from_be_bytes(exemplar.trace.span_id), exemplar.value.to_bits(), exemplar.nanos]
}

fn decode([high, low, span, value, nanos]: [u64; SLOT_LEN - 1], bucket: usize) -> Exemplar {
    let trace_id = (u128::from(high) << 64 | u128::from(low)).to_be_bytes();
    Exemplar {
        trace: TraceContext { trace_id, span_id: span.to_be_bytes() },
        value: f64::from_bits(value),
        nanos,
        bucket,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cells::Cells;

    fn exemplar(bucket: usize, fill: u8) -> Exemplar {
        Exemplar {
            trace: TraceContext { trace_id: [fill; 16], span_id: [fill; 8] },
            value: f64::from(fill),
            nanos: u64::from(fill),
            bucket,
        }
    }

    #[test]
    fn a_slot_returns_what_was_stored_last() {
        let cells = Cells::private(cells_len(2));
        assert_eq!(load(cells.get(), 1), None);
        for fill in [1, 2] {
            store(cells.get(), &exemplar(1, fill));
            assert_eq!(load(cells.get(), 1), Some(exemplar(1, fill)));
        }
        assert_eq!(load(cells.get(), 0), None);
        store(cells.get(), &exemplar(2, 1)); // beyond the slots: ignored
    }

    #[test]
    fn readers_never_see_a_mixture() {
        let cells = Cells::private(cells_len(1));
        let stop = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            for base in [1_u8, 100] {
                let (cells, stop) = (&cells, &stop);
                scope.spawn(move || {
                    for fill in (base..base + 50).cycle() {
                        store(cells.get(), &exemplar(0, fill));
                        if stop.load(Ordering::Relaxed) {
                            return;
                        }
                    }
                });
            }
            for _ in 0..20_000 {
                if let Some(seen) = load(cells.get(), 0) {
                    assert_eq!(seen, exemplar(0, seen.trace.span_id[0]));
                }
            }
            stop.store(true, Ordering::Relaxed);
        });
    }
}
