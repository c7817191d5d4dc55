//! Reading a log, beside its writer and other readers.

use std::fs::File;
use std::io;
use std::sync::Arc;

use super::frame::{Cursor, Entry, Frame, GapReason};
use super::segment::{End, Segment, is_mark};
use super::{SharedSegments, storage};
use crate::error::Result;

/// What a call of [`Reader::next_batch`] came by.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Progress {
    /// Entries that were given out.
    pub entries: u64,
    /// Entries that had been trimmed before they were read.
    pub trimmed: u64,
    /// Entries that are lost: their bytes are damaged, or a power cut took them before they were synced.
    pub damaged: u64,
    /// Entries that a [compaction](super::Log::compaction) took away.
    pub compacted: u64,
}

/// Reads entries in order, with descriptors of its own; needs nothing of the [`Log`](super::Log), which may even be gone.
#[derive(Debug)]
pub struct Reader {
    shared: Arc<SharedSegments>,
    next: u64,
    at: Option<SegmentCursor>,
    /// The buffer of the place before.
    buffer: Vec<u8>,
}

#[derive(Debug)]
struct SegmentCursor {
    segment: Arc<Segment>,
    cursor: Cursor,
    end: End,
    marked: u64,
}

impl Reader {
    pub(super) fn new(shared: Arc<SharedSegments>, from: u64) -> Self {
        Self { shared, next: from, at: None, buffer: Vec::new() }
    }

    /// The offset of the next entry to be read.
    pub fn position(&self) -> u64 {
        self.next
    }

    /// Goes on at `offset`, before or behind.
    pub fn seek(&mut self, offset: u64) {
        if offset != self.next {
            self.next = offset;
            self.leave();
        }
    }

    /// Gives the entries that were appended before now and have offsets below `up_to` to `each`, at least one if
    /// there is one, and no further one when they have come to `max_bytes`.
    ///
    /// Offsets without an entry are passed over and counted, those behind `up_to` too where no entry is before. After an error the same entry is tried again.
    pub fn next_batch(&mut self, up_to: u64, max_bytes: usize, mut each: impl FnMut(Entry<'_>)) -> Result<Progress> {
        let limit = up_to.min(self.shared.next());
        let mut progress = Progress::default();
        let mut bytes = 0;
        while self.next < limit && bytes < max_bytes.max(1) {
            self.locate(&mut progress)?;
            let Some(place) = &mut self.at else { continue };
            let stop = limit.min(place.end.offset);
            while self.next < stop && bytes < max_bytes.max(1) {
                let frame = place.cursor.next(place.end.position);
                let Some(frame) = frame.map_err(|error| storage("read", &place.segment.path, &error))? else {
                    // The rest of the segment, as far as it is written, cannot be told apart any more.
                    progress.damaged += place.end.offset - self.next;
                    self.next = place.end.offset;
                    place.cursor.jump(place.end.offset, place.end.position);
                    break;
                };
                match frame {
                    Frame::Entry(entry) if entry.offset == self.next => {
                        bytes += entry.payload.len().max(1);
                        progress.entries += 1;
                        self.next += 1;
                        each(entry);
                    }
                    Frame::Entry(_) => {} // before the one that was sought
                    Frame::Gap { why, .. } => {
                        let behind = place.cursor.offset().max(self.next);
                        let missing = behind - self.next;
                        match why {
                            GapReason::Compacted => progress.compacted += missing,
                            GapReason::Lost => progress.damaged += missing,
                        }
                        self.next = behind;
                    }
                }
                if is_mark(place.marked, place.cursor.position()) {
                    place.marked = place.cursor.position();
                    place.segment.note(place.cursor.offset(), place.marked);
                }
            }
        }
        Ok(progress)
    }

    /// Finds the place of the next entry; when there is nothing at it, the next entry is another one from now on.
    fn locate(&mut self, progress: &mut Progress) -> Result<()> {
        let known = self.at.as_mut().is_some_and(|place| {
            if self.next >= place.end.offset {
                place.end = place.segment.end();
            }
            self.next < place.end.offset
        });
        if !known {
            self.leave();
            self.at = self.find(progress)?;
        }
        Ok(())
    }

    fn leave(&mut self) {
        if let Some(place) = self.at.take() {
            self.buffer = place.cursor.into_buffer();
        }
    }

    fn find(&mut self, progress: &mut Progress) -> Result<Option<SegmentCursor>> {
        let (segment, following) = {
            let segments = self.shared.segments.lock();
            let after = segments.partition_point(|segment| segment.base <= self.next);
            let following = segments.get(after).map(|segment| segment.base);
            let Some(place) = after.checked_sub(1) else {
                let first = following.unwrap_or_else(|| self.shared.next());
                progress.trimmed += first - self.next;
                self.next = first;
                return Ok(None);
            };
            (segments[place].clone(), following)
        };
        let end = segment.end();
        if self.next >= end.offset {
            // Behind the last entry, and yet before the end of the log: a gap.
            let next = following.unwrap_or_else(|| self.shared.next()).max(self.next);
            progress.damaged += next - self.next;
            self.next = next;
            return Ok(None);
        }
        let file = match File::open(&segment.path) {
            Ok(file) => file,
            // Taken away by somebody else, or replaced or trimmed in this moment.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                if self.shared.has(&segment) {
                    progress.damaged += end.offset - self.next;
                    self.next = end.offset;
                }
                return Ok(None);
            }
            Err(error) => return Err(storage("open", &segment.path, &error)),
        };
        // It may be the file that took its place, in which places are others: look again.
        if !self.shared.has(&segment) {
            return Ok(None);
        }
        let (offset, position) = segment.place_before(self.next);
        let cursor = Cursor::new(file, offset, position, std::mem::take(&mut self.buffer));
        Ok(Some(SegmentCursor { segment, cursor, end, marked: position }))
    }
}
