//! The queue in memory: records as bytes in chunks, so that a record costs a copy and no allocation.

use std::collections::{BTreeMap, HashSet, VecDeque};

use super::gates::Allowance;
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
        parse(self.bytes.get(self.start..)?)
    }

    /// All records in it, with their ids.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u64, &[u8])> {
        let mut rest = self.bytes.get(self.start..).unwrap_or_default();
        std::iter::from_fn(move || {
            let (id, frame) = parse(rest)?;
            rest = &rest[HEAD + frame.len()..];
            Some((id, frame))
        })
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

fn parse(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let (head, rest) = bytes.split_at_checked(HEAD)?;
    let length = u32::from_le_bytes([head[0], head[1], head[2], head[3]]) as usize;
    let id = u64::from_le_bytes([head[4], head[5], head[6], head[7], head[8], head[9], head[10], head[11]]);
    Some((id, rest.get(..length)?))
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

    /// How long the oldest record waited, in milliseconds.
    pub(super) fn first_age(&self) -> Option<u32> {
        self.chunks.front().map(Chunk::first_age)
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

/// Records of memory that did not get through and are to be handed over again, before all others.
#[derive(Debug, Default)]
pub(super) struct Returned {
    records: BTreeMap<u64, Waiting>,
    /// Bytes of those that are not with the hub.
    bytes: usize,
    count: usize,
}

#[derive(Debug)]
struct Waiting {
    /// By [`clock`], when it came or was first seen to come back.
    since: u32,
    frame: Vec<u8>,
    /// It is with the hub once more.
    with_hub: bool,
}

impl Returned {
    /// Bytes of those that wait here.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// How many wait here.
    pub(super) fn waiting(&self) -> usize {
        self.count
    }

    /// Whether it knows of any, waiting or with the hub.
    pub(super) fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// A record comes back, or one is put aside that came `age` milliseconds ago.
    pub(super) fn put(&mut self, id: u64, age: u32, frame: impl FnOnce() -> Vec<u8>) {
        let since = clock().wrapping_sub(age);
        let waiting = self.records.entry(id).or_insert_with(|| Waiting { since, frame: frame(), with_hub: true });
        if std::mem::take(&mut waiting.with_hub) {
            self.bytes += Memory::cost(&waiting.frame);
            self.count += 1;
        }
    }

    /// How long a record that came back has been waiting, in milliseconds; none if it never did.
    pub(super) fn age(&self, id: u64) -> Option<u32> {
        self.records.get(&id).map(|waiting| clock().wrapping_sub(waiting.since))
    }

    /// The next one after `last` that waits and may go, in the order in which they were sent; it is with the hub from
    /// now on.
    pub(super) fn take_after(
        &mut self,
        last: Option<u64>,
        may_go: impl Fn(&str) -> Allowance,
    ) -> Option<(u64, u32, Vec<u8>)> {
        let from = last.map_or(0, |last| last + 1);
        // Topics that were met: the first record of each is looked for once, since many of others may lie before it.
        let mut met = HashSet::new();
        let (id, _) = self.records.range(from..).find(|&(id, waiting)| {
            let topic = record(&waiting.frame).topic;
            !waiting.with_hub
                && match may_go(topic) {
                    Allowance::All => true,
                    Allowance::First => {
                        met.insert(topic)
                            && self.records.range(..id).all(|(_, older)| record(&older.frame).topic != topic)
                    }
                    Allowance::None => false,
                }
        })?;
        let id = *id;
        let waiting = self.records.get_mut(&id)?;
        waiting.with_hub = true;
        self.bytes -= Memory::cost(&waiting.frame);
        self.count -= 1;
        Some((id, clock().wrapping_sub(waiting.since), waiting.frame.clone()))
    }

    /// Takes out those that have been waiting for longer.
    pub(super) fn take_older(&mut self, milliseconds: u32) -> Vec<(u64, Vec<u8>)> {
        let now = clock();
        let old = |waiting: &Waiting| !waiting.with_hub && now.wrapping_sub(waiting.since) > milliseconds;
        let ids: Vec<u64> = self.records.iter().filter(|(_, waiting)| old(waiting)).map(|(id, _)| *id).collect();
        ids.into_iter().filter_map(|id| Some((id, self.done(id)?))).collect()
    }

    /// The oldest one that waits, to be dropped.
    pub(super) fn drop_first(&mut self) -> Option<u64> {
        let (id, _) = self.records.iter().find(|(_, waiting)| !waiting.with_hub)?;
        let id = *id;
        self.done(id);
        Some(id)
    }

    /// Its outcome is known; what it was.
    pub(super) fn done(&mut self, id: u64) -> Option<Vec<u8>> {
        let waiting = self.records.remove(&id)?;
        if !waiting.with_hub {
            self.bytes -= Memory::cost(&waiting.frame);
            self.count -= 1;
        }
        Some(waiting.frame)
    }

    /// All that wait.
    pub(super) fn take_all(&mut self) -> Vec<(u64, Vec<u8>)> {
        let all = std::mem::take(self).records.into_iter();
        all.filter(|(_, waiting)| !waiting.with_hub).map(|(id, waiting)| (id, waiting.frame)).collect()
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
