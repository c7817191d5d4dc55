//! The queue in memory: records as bytes in chunks, so that a record costs a copy and no allocation.

use std::collections::VecDeque;

use crate::codec;
use crate::record::Record;

/// Big enough that the sender's lock is rare, small enough that little is in its hands at a time.
pub(super) const CHUNK: usize = 256 * 1024;

/// Chunks kept for use again.
const SPARES: usize = 4;

/// Length, id and time before each record.
const HEAD: usize = 16;

/// Milliseconds of a clock that goes on while the machine runs, modulo 2^32: 49 days.
pub(super) fn clock() -> u32 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::MonotonicCoarse);
    // Only differences are looked at.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let ms = (now.tv_sec as u64 * 1000 + now.tv_nsec as u64 / 1_000_000) as u32;
    ms
}

/// Records in the order they were sent.
#[derive(Debug)]
pub(super) struct Chunk {
    bytes: Vec<u8>,
    start: usize,
    records: usize,
}

impl Chunk {
    fn new(capacity: usize) -> Self {
        Self { bytes: Vec::with_capacity(capacity), start: 0, records: 0 }
    }

    /// Bytes of the records still in it.
    pub(super) fn len(&self) -> usize {
        self.bytes.len() - self.start
    }

    pub(super) fn records(&self) -> usize {
        self.records
    }

    fn push(&mut self, id: u64, frame: &[u8]) {
        let length = u32::try_from(frame.len()).unwrap_or(u32::MAX); // a record of 4 GiB does not fit any buffer
        self.bytes.extend_from_slice(&length.to_le_bytes());
        self.bytes.extend_from_slice(&id.to_le_bytes());
        self.bytes.extend_from_slice(&clock().to_le_bytes());
        self.bytes.extend_from_slice(frame);
        self.records += 1;
    }

    /// How long the oldest record waited, in milliseconds.
    pub(super) fn first_age(&self) -> u32 {
        let at = self.start + 12;
        let came = self.bytes.get(at..at + 4).and_then(|bytes| bytes.try_into().ok()).map_or(0, u32::from_le_bytes);
        clock().wrapping_sub(came)
    }

    /// The oldest record, its id and its bytes.
    pub(super) fn first(&self) -> Option<(u64, &[u8])> {
        let rest = self.bytes.get(self.start..)?;
        let (head, rest) = rest.split_at_checked(HEAD)?;
        let length = u32::from_le_bytes([head[0], head[1], head[2], head[3]]) as usize;
        let id = u64::from_le_bytes([head[4], head[5], head[6], head[7], head[8], head[9], head[10], head[11]]);
        Some((id, rest.get(..length)?))
    }

    /// Takes the oldest record out; the number of bytes that frees.
    pub(super) fn drop_first(&mut self) -> usize {
        let Some((_, frame)) = self.first() else { return 0 };
        let freed = HEAD + frame.len();
        self.start += freed;
        self.records -= 1;
        freed
    }
}

/// The record that a frame of the queue is; the queue holds nothing else.
pub(super) fn record(frame: &[u8]) -> Record<'_> {
    codec::read(frame).map(|(record, _)| record).unwrap_or_default()
}

#[derive(Debug, Default)]
pub(super) struct Memory {
    chunks: VecDeque<Chunk>,
    spares: Vec<Chunk>,
    bytes: usize,
    records: usize,
}

impl Memory {
    /// What a frame takes up.
    pub(super) fn cost(frame: &[u8]) -> usize {
        HEAD + frame.len()
    }

    pub(super) fn push(&mut self, id: u64, frame: &[u8]) {
        let cost = Self::cost(frame);
        let fits = self.chunks.back().is_some_and(|chunk| chunk.bytes.len() + cost <= chunk.bytes.capacity());
        if !fits {
            let spare = if cost <= CHUNK { self.spares.pop() } else { None };
            self.chunks.push_back(spare.unwrap_or_else(|| Chunk::new(cost.max(CHUNK))));
        }
        if let Some(chunk) = self.chunks.back_mut() {
            chunk.push(id, frame);
            self.bytes += cost;
            self.records += 1;
        }
    }

    /// Bytes waiting here.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn records(&self) -> usize {
        self.records
    }

    pub(super) fn is_empty(&self) -> bool {
        self.records == 0
    }

    /// The oldest records, for the sender.
    pub(super) fn take(&mut self) -> Option<Chunk> {
        let chunk = self.chunks.pop_front()?;
        self.bytes -= chunk.len();
        self.records -= chunk.records;
        Some(chunk)
    }

    /// What the sender could not send, back to the front.
    pub(super) fn put_back(&mut self, chunk: Chunk) {
        if chunk.records == 0 {
            return self.recycle(chunk);
        }
        self.bytes += chunk.len();
        self.records += chunk.records;
        self.chunks.push_front(chunk);
    }

    /// Takes the oldest record out; what `dropped` is told of.
    pub(super) fn drop_first(&mut self, dropped: impl FnOnce(u64, &[u8])) -> bool {
        let Some(chunk) = self.chunks.front_mut() else { return false };
        if let Some((id, frame)) = chunk.first() {
            dropped(id, frame);
        }
        self.bytes -= chunk.drop_first();
        self.records -= 1;
        if chunk.records == 0
            && let Some(chunk) = self.chunks.pop_front()
        {
            self.recycle(chunk);
        }
        true
    }

    /// Keeps the memory of a chunk for the next one.
    pub(super) fn recycle(&mut self, mut chunk: Chunk) {
        if self.spares.len() < SPARES && chunk.bytes.capacity() <= CHUNK {
            chunk.bytes.clear();
            chunk.start = 0;
            chunk.records = 0;
            self.spares.push(chunk);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Debug)]
    enum Step {
        Push(usize),
        Drop,
        Take { send: usize },
    }

    proptest! {
        #[test]
        fn records_come_out_in_order_and_are_counted(
            steps in vec(prop_oneof![
                6 => prop_oneof![5 => 0..2000_usize, 1 => CHUNK / 2..2 * CHUNK].prop_map(Step::Push),
                1 => Just(Step::Drop),
                2 => (0..30_usize).prop_map(|send| Step::Take { send }),
            ], 0..200),
        ) {
            let mut memory = Memory::default();
            let mut model: VecDeque<(u64, Vec<u8>)> = VecDeque::new();
            for (id, step) in (0_u64..).zip(steps) {
                match step {
                    Step::Push(length) => {
                        let frame = vec![id.to_le_bytes()[0]; length];
                        memory.push(id, &frame);
                        model.push_back((id, frame));
                    }
                    Step::Drop => {
                        let mut seen = None;
                        let dropped = memory.drop_first(|id, frame| seen = Some((id, frame.to_vec())));
                        prop_assert_eq!(dropped, !model.is_empty());
                        prop_assert_eq!(seen, model.pop_front());
                    }
                    Step::Take { send } => {
                        let Some(mut chunk) = memory.take() else { prop_assert!(model.is_empty()); continue };
                        for _ in 0..send.min(chunk.records()) {
                            let first = chunk.first().map(|(id, frame)| (id, frame.to_vec()));
                            prop_assert_eq!(first, model.pop_front());
                            chunk.drop_first();
                        }
                        memory.put_back(chunk);
                    }
                }
                prop_assert_eq!(memory.records(), model.len());
                prop_assert_eq!(memory.bytes(), model.iter().map(|(_, frame)| Memory::cost(frame)).sum::<usize>());
            }
        }
    }
}
