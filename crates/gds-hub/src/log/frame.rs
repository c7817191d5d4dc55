//! One entry as bytes, and reading entries off a file in big pieces.
//!
//! ```text
//! frame    u32 length of what follows the checksum, u32 checksum, i64 time, payload
//! gap      the same with the highest bit of the length set: u32, u32, i64 why, u64 how many offsets have no entry
//! ```
//!
//! All numbers are little-endian. The checksum is CRC-32 over time and payload and begins with the entry's offset, so
//! that bytes left over from another place are never taken for an entry of this one. The time counts into the length,
//! which is therefore never 0: a tail of zeros, as a power cut leaves it, is no frame.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use crc32fast::Hasher;

/// Bytes of a frame before the payload.
pub(super) const HEAD: usize = 16;
/// Those before what the checksum covers: length and checksum.
const UNCHECKED: usize = 8;
/// Longest payload. A length beyond it is damage, found without reading on.
pub(super) const MAX_PAYLOAD: usize = 1 << 30;
/// What a reader asks the file for at a time: some hundred entries, so that the call itself costs nothing.
const CHUNK: usize = 64 * 1024;

/// Set in the length of a gap.
const GAP: u32 = 1 << 31;
/// Bytes of a gap, and those of them that the checksum covers.
const GAP_SIZE: usize = HEAD + 8;
const GAP_COVERED: usize = GAP_SIZE - UNCHECKED;

/// An entry as it was read.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Entry<'a> {
    /// Its place in the log.
    pub offset: u64,
    /// When it was appended, in milliseconds since the epoch; of a tombstone that was
    /// [compacted](super::Log::compaction), when it was for the first time.
    pub time_ms: i64,
    /// What was appended.
    pub payload: &'a [u8],
}

/// Why offsets have no entry.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum GapReason {
    /// A compaction took it away.
    Compacted = 0,
    /// It was damaged, or not there, before.
    Lost = 1,
}

/// What stands at the place of an offset, or of several.
#[derive(Debug)]
pub(super) enum Frame<'a> {
    Entry(Entry<'a>),
    /// So many offsets without an entry.
    Gap {
        count: u64,
        why: GapReason,
    },
}

fn checksum(offset: u64, covered: &[u8]) -> u32 {
    #[allow(clippy::cast_possible_truncation)] // both halves count
    let seed = offset as u32 ^ ((offset >> 32) as u32).rotate_left(16);
    let mut hasher = Hasher::new_with_initial(seed);
    hasher.update(covered);
    hasher.finalize()
}

/// Appends the frame of an entry, whose payload must not be longer than [`MAX_PAYLOAD`].
#[allow(clippy::cast_possible_truncation)] // see there
pub(super) fn write(out: &mut Vec<u8>, offset: u64, time_ms: i64, payload: &[u8]) {
    let start = out.len();
    let mut head = [0; HEAD];
    head[..4].copy_from_slice(&((payload.len() + HEAD - UNCHECKED) as u32).to_le_bytes());
    head[UNCHECKED..].copy_from_slice(&time_ms.to_le_bytes());
    out.extend_from_slice(&head);
    out.extend_from_slice(payload);
    let sum = checksum(offset, &out[start + UNCHECKED..]);
    out[start + 4..start + UNCHECKED].copy_from_slice(&sum.to_le_bytes());
}

/// Appends what stands for `count` offsets from `offset` on that have no entry.
#[allow(clippy::cast_possible_truncation)] // a small constant
pub(super) fn write_gap(out: &mut Vec<u8>, offset: u64, count: u64, why: GapReason) {
    let mut frame = [0; GAP_SIZE];
    frame[..4].copy_from_slice(&(GAP_COVERED as u32 | GAP).to_le_bytes());
    frame[UNCHECKED..HEAD].copy_from_slice(&(why as i64).to_le_bytes());
    frame[HEAD..].copy_from_slice(&count.to_le_bytes());
    let sum = checksum(offset, &frame[UNCHECKED..]);
    frame[4..UNCHECKED].copy_from_slice(&sum.to_le_bytes());
    out.extend_from_slice(&frame);
}

enum Parsed {
    Entry { time_ms: i64, size: usize },
    Gap { count: u64, why: GapReason },
    Incomplete { size: usize },
    Bad,
}

#[inline]
fn parse(bytes: &[u8], offset: u64) -> Parsed {
    let Some(head) = bytes.first_chunk::<HEAD>() else { return Parsed::Incomplete { size: HEAD } };
    let number = |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
    let is_gap = number(0) & GAP != 0;
    let covered = (number(0) & !GAP) as usize;
    if !(HEAD - UNCHECKED..=HEAD - UNCHECKED + MAX_PAYLOAD).contains(&covered) || (is_gap && covered != GAP_COVERED) {
        return Parsed::Bad;
    }
    let size = UNCHECKED + covered;
    let Some(frame) = bytes.get(..size) else { return Parsed::Incomplete { size } };
    if checksum(offset, &frame[UNCHECKED..]) != number(4) {
        return Parsed::Bad;
    }
    let time = [head[8], head[9], head[10], head[11], head[12], head[13], head[14], head[15]];
    let time_ms = i64::from_le_bytes(time);
    if !is_gap {
        return Parsed::Entry { time_ms, size };
    }
    let count = frame.last_chunk().map_or(0, |count| u64::from_le_bytes(*count));
    let why = if time_ms == GapReason::Compacted as i64 { GapReason::Compacted } else { GapReason::Lost };
    if count == 0 || offset.checked_add(count).is_none() { Parsed::Bad } else { Parsed::Gap { count, why } }
}

/// Walks over the frames of one file.
#[derive(Debug)]
pub(super) struct Cursor {
    file: File,
    /// The offset of the next frame, and where in the file it begins.
    offset: u64,
    position: u64,
    /// Bytes from `position` on are `buffer[start..end]`.
    buffer: Vec<u8>,
    start: usize,
    end: usize,
}

impl Cursor {
    /// Begins with the frame of `offset`, which is at `position`. The buffer is one of a cursor before, or empty.
    pub(super) fn new(file: File, offset: u64, position: u64, buffer: Vec<u8>) -> Self {
        Self { file, offset, position, buffer, start: 0, end: 0 }
    }

    /// The offset of the next frame.
    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    /// Where in the file the next frame begins.
    pub(super) fn position(&self) -> u64 {
        self.position
    }

    /// The buffer, to be used by another.
    pub(super) fn into_buffer(self) -> Vec<u8> {
        self.buffer
    }

    /// Leaves out everything before the frame of `offset` at `position`.
    pub(super) fn jump(&mut self, offset: u64, position: u64) {
        (self.offset, self.position, self.start, self.end) = (offset, position, 0, 0);
    }

    /// The next frame, if there is a whole and sound one before the position `limit`.
    #[inline]
    pub(super) fn next(&mut self, limit: u64) -> io::Result<Option<Frame<'_>>> {
        let (time_ms, size) = loop {
            match parse(&self.buffer[self.start..self.end], self.offset) {
                Parsed::Entry { time_ms, size } => break (time_ms, size),
                Parsed::Gap { count, why } => {
                    self.pass(count, GAP_SIZE);
                    return Ok(Some(Frame::Gap { count, why }));
                }
                Parsed::Bad => return Ok(None),
                Parsed::Incomplete { size } => {
                    if !self.fill(size, limit)? {
                        return Ok(None);
                    }
                }
            }
        };
        let (offset, start) = (self.offset, self.start);
        self.pass(1, size);
        let payload = &self.buffer[start + HEAD..start + size];
        Ok(Some(Frame::Entry(Entry { offset, time_ms, payload })))
    }

    fn pass(&mut self, offsets: u64, size: usize) {
        self.start += size;
        self.position += size as u64;
        self.offset += offsets;
    }

    /// Has at least `size` bytes in the buffer, none of them from behind `limit`; false when there are not as many.
    #[allow(clippy::cast_possible_truncation)] // at most the length of the buffer
    fn fill(&mut self, size: usize, limit: u64) -> io::Result<bool> {
        if self.position + size as u64 > limit {
            return Ok(false);
        }
        self.buffer.copy_within(self.start..self.end, 0);
        (self.start, self.end) = (0, self.end - self.start);
        // A single huge entry must not keep its memory for as long as the reader lives.
        let room = size.max(CHUNK);
        if self.buffer.len() != room {
            self.buffer.resize(room, 0);
            self.buffer.shrink_to(room);
        }
        while self.end < size {
            let from = self.position + self.end as u64;
            let until = self.buffer.len().min(self.end + (limit - from).min(usize::MAX as u64) as usize);
            match self.file.read_at(&mut self.buffer[self.end..until], from) {
                Ok(0) => return Ok(false),
                Ok(read) => self.end += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }
}
