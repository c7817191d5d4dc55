//! What the sender thread does with a spool: it reads records in order and hands them over, or puts them aside.

use std::ops::Range;

use super::Spool;
use crate::codec;
use crate::error::Result;
use crate::log::Reader;
use crate::producer::id::{OFFSET, folder_of, id_of};
use crate::producer::ranges::Ranges;
use crate::record::Record;
use crate::sync::Ordering;

/// Read from disk at a time, at most.
const READ_BYTES: usize = 256 * 1024;

/// What became of a record that was to be handed over.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(in crate::producer) enum HandOverOutcome {
    /// The hub has it or its outcome is known, or it was put aside.
    On,
    /// Not now.
    Stop,
}

/// Records that were to be handed over and are not in the spool any more.
#[derive(Debug, Default)]
pub(in crate::producer) struct MissingRecords {
    /// Their bytes are damaged.
    pub(in crate::producer) damaged: Vec<u64>,
    /// They had to make room while they were about to be read.
    pub(in crate::producer) dropped: Vec<u64>,
}

/// The sender's place.
#[derive(Debug, Default)]
pub(super) struct Reading {
    reader: Option<(u16, Reader)>,
    frames: Vec<u8>,
    ends: Vec<(u64, usize)>,
}

impl Spool {
    /// Whether there is something to hand over.
    pub(in crate::producer) fn has_work(&self) -> bool {
        !self.folders.lock().to_do.is_empty()
    }

    /// Whether all that could be handed over was, and its outcome is known: what is in memory is next.
    pub(in crate::producer) fn lets_memory_go(&self) -> bool {
        // In this order: a record is handed over before it is not to do any more, and comes back in the same way.
        let waits = {
            let folders = self.folders.lock();
            !(folders.to_do.is_empty() && folders.parked.is_empty())
        };
        !waits && self.handed.load(Ordering::SeqCst) == 0
    }

    /// Gives the records that are to do to `pass`, in order, until that says no; `bytes` of them are in its hands at a
    /// time, or one.
    pub(in crate::producer) fn hand_over(
        &self,
        bytes: usize,
        mut pass: impl FnMut(u64, &Record<'_>) -> HandOverOutcome,
    ) -> Result<MissingRecords> {
        let mut reading = self.reading.lock();
        let mut missing = MissingRecords::default();
        while let Some(taken) = self.read(&mut reading, bytes.min(READ_BYTES), &mut missing)? {
            let Reading { frames, ends, .. } = &*reading;
            let mut taken = taken.into_iter().flatten().peekable();
            let mut start = 0;
            let mut stopped = false;
            for (id, end) in ends {
                let frame = &frames[start..*end];
                start = *end;
                while taken.next_if(|taken| taken < id).is_some() {}
                if taken.next_if_eq(id).is_none() {
                    continue; // it had to make room meanwhile, and that was told
                }
                if stopped {
                    if !self.come_back(*id, None) {
                        missing.dropped.push(*id);
                    }
                } else if let Ok((record, _)) = codec::read(frame) {
                    // Before it is known: the outcome may come before the end of the call.
                    self.handed.fetch_add(1, Ordering::SeqCst);
                    if pass(*id, &record) == HandOverOutcome::Stop {
                        if !self.come_back(*id, None) {
                            missing.dropped.push(*id);
                        }
                        self.has_outcome(*id);
                        stopped = true;
                    }
                } else {
                    missing.damaged.push(*id); // the checksum held, so this is no record of ours
                }
            }
            if stopped {
                break;
            }
        }
        Ok(missing)
    }

    /// Reads the next records into memory; the ids of those that are to do no more.
    fn read(
        &self,
        reading: &mut Reading,
        bytes: usize,
        missing: &mut MissingRecords,
    ) -> Result<Option<Vec<Range<u64>>>> {
        let (ids, number) = {
            let mut folders = self.folders.lock();
            let Some(ids) = folders.to_do.first() else { return Ok(None) };
            let number = folder_of(ids.start);
            let Some(folder) = folders.get(number) else {
                folders.to_do.take(&ids); // never: folders go when they hold nothing
                return Ok(Some(Vec::new()));
            };
            let offset = ids.start & OFFSET;
            match &mut reading.reader {
                Some((known, reader)) if *known == number => reader.seek(offset),
                reader => *reader = Some((number, folder.log.reader(offset))),
            }
            (ids, number)
        };
        let Reading { reader: Some((_, reader)), frames, ends } = reading else { return Ok(None) };
        frames.clear();
        ends.clear();
        // With the lock free: whoever sends does not wait for the disk to read.
        let up_to = (ids.start & OFFSET) + (ids.end - ids.start);
        let read = reader.next_batch(up_to, bytes, |entry| {
            frames.extend_from_slice(entry.payload);
            ends.push((id_of(number, entry.offset), frames.len()));
        });
        if let Err(error) = read {
            self.errors.fetch_add(1, Ordering::Relaxed);
            return Err(error);
        }
        let position = reader.position();
        if position <= ids.start & OFFSET {
            return Ok(None); // never: there is something before the end of the log
        }
        let mut folders = self.folders.lock();
        // A gap may end behind the last of them.
        let taken = folders.to_do.take(&(ids.start..id_of(number, position)));
        let first = folders.get(number).map_or(0, |folder| folder.log.first_offset());
        let mut known = ends.iter().map(|(id, _)| *id).peekable();
        for id in taken.iter().cloned().flatten() {
            while known.next_if(|known| *known < id).is_some() {}
            if known.peek() != Some(&id) {
                let dropped = id & OFFSET < first;
                (if dropped { &mut missing.dropped } else { &mut missing.damaged }).push(id);
            }
        }
        Ok(Some(taken))
    }

    /// Whether no older record of this topic waits until it may be sent to.
    pub(in crate::producer) fn is_first(&self, topic: &str, id: u64) -> bool {
        self.folders.lock().parked.get(topic).and_then(Ranges::first).is_none_or(|parked| id < parked.start)
    }

    /// Puts a record with others of a topic that wait until it may be sent to.
    pub(in crate::producer) fn park(&self, topic: &str, id: u64) {
        let mut folders = self.folders.lock();
        folders.to_do.take(&(id..id + 1));
        folders.park(topic, id);
    }

    /// Those parked are to do again: the first one, to see whether it goes, or all.
    pub(in crate::producer) fn unpark(&self, topic: &str, only_first: bool) {
        let mut folders = self.folders.lock();
        let Some(mut parked) = folders.parked.remove(topic) else { return };
        if only_first && let Some(first) = parked.first() {
            folders.to_do.insert(first.start..first.start + 1);
            parked.take(&(first.start..first.start + 1));
            if !parked.is_empty() {
                folders.parked.insert(topic.into(), parked);
            }
            return;
        }
        for ids in parked.into_ranges() {
            folders.to_do.insert(ids);
        }
    }
}
