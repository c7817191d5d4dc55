//! One file of a log: a header, then frames.
//!
//! ```text
//! header   8 bytes "GDSLOG" 0 and the version, u64 offset of the first entry, i64 time, u32 checksum, u32 0
//! more     in version 2, of a file that was compacted: u64 how many offsets it stands for, u32 checksum, u32 0
//! ```
//!
//! The time is that of the youngest entry before, so that old segments are known without reading them. A file that was
//! compacted may stand for several that were there before: those of them that are still there are not looked at.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use gds_process::sync::Mutex;

use super::frame::{Cursor, Frame, GapReason};

/// Bytes of the header.
pub(super) const HEADER: u64 = HEADER_LEN as u64;
const HEADER_LEN: usize = 32;
/// Bytes of the header of a file that was compacted.
pub(super) const COMPACTED_HEADER: u64 = COMPACTED_HEADER_LEN as u64;
const COMPACTED_HEADER_LEN: usize = HEADER_LEN + 16;
const VERSION: u8 = 1;
const COMPACTED_VERSION: u8 = 2;
const MAGIC: [u8; 7] = *b"GDSLOG\0";
pub(super) const EXTENSION: &str = "log";
/// Of a file that is to take the place of others, and is not whole yet.
const DRAFT_EXTENSION: &str = "compacting";
/// An offset is looked up by reading on from at most this far before it.
const INDEX_BYTES: u64 = 16 * 1024;

/// A file of a log, shared by its writer and its readers.
#[derive(Debug)]
pub(super) struct Segment {
    /// The offset of its first entry, which is also its name.
    pub(super) base: u64,
    /// No entry of the segments before is younger; milliseconds since the epoch.
    pub(super) before_ms: i64,
    pub(super) path: PathBuf,
    /// It was compacted, and is not written to.
    pub(super) compacted: bool,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    end: End,
    /// Where the frames of some offsets begin, in order.
    index: Vec<(u64, u64)>,
}

/// How far a segment goes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct End {
    /// The offset after its last entry.
    pub(super) offset: u64,
    /// Bytes of the file that count.
    pub(super) position: u64,
}

/// What the header of a file says.
pub(super) enum Header {
    /// With this time; one that was compacted says how many offsets it stands for.
    Sound { before_ms: i64, compacted: Option<u64> },
    /// By a version that this one does not know.
    Unknown(u8),
    /// Nothing: the file is torn or damaged.
    Damaged,
}

/// The name of the file whose first entry is `base`.
pub(super) fn path_of(dir: &Path, base: u64) -> PathBuf {
    dir.join(format!("{base:020}.{EXTENSION}"))
}

/// The name of the file that is to take its place.
pub(super) fn draft_of(dir: &Path, base: u64) -> PathBuf {
    dir.join(format!("{base:020}.{DRAFT_EXTENSION}"))
}

/// The offset that a file's name tells; none for files that are not ours.
pub(super) fn base_of(path: &Path) -> Option<u64> {
    number_before(path, EXTENSION)
}

/// Whether it is a file that never came to take the place of others.
pub(super) fn is_draft(path: &Path) -> bool {
    number_before(path, DRAFT_EXTENSION).is_some()
}

fn number_before(path: &Path, extension: &str) -> Option<u64> {
    let name = path.file_name()?.to_str()?.strip_suffix(extension)?.strip_suffix('.')?;
    (name.len() == 20 && name.bytes().all(|byte| byte.is_ascii_digit())).then(|| name.parse().ok())?
}

fn header_bytes(version: u8, base: u64, before_ms: i64) -> [u8; HEADER_LEN] {
    let mut bytes = [0; HEADER_LEN];
    bytes[..7].copy_from_slice(&MAGIC);
    bytes[7] = version;
    bytes[8..16].copy_from_slice(&base.to_le_bytes());
    bytes[16..24].copy_from_slice(&before_ms.to_le_bytes());
    let sum = crc32fast::hash(&bytes[..24]);
    bytes[24..28].copy_from_slice(&sum.to_le_bytes());
    bytes
}

/// The header of a file that was compacted. A version that does not know such files knows its first part, and refuses it.
pub(super) fn compacted_header(base: u64, before_ms: i64, offsets: u64) -> [u8; COMPACTED_HEADER_LEN] {
    let mut bytes = [0; COMPACTED_HEADER_LEN];
    bytes[..HEADER_LEN].copy_from_slice(&header_bytes(COMPACTED_VERSION, base, before_ms));
    bytes[HEADER_LEN..HEADER_LEN + 8].copy_from_slice(&offsets.to_le_bytes());
    let sum = crc32fast::hash(&bytes[..HEADER_LEN + 8]);
    bytes[HEADER_LEN + 8..HEADER_LEN + 12].copy_from_slice(&sum.to_le_bytes());
    bytes
}

/// Writes the header into a file that holds nothing yet.
pub(super) fn write_header(file: &File, base: u64, before_ms: i64) -> io::Result<()> {
    write_all_at(file, &header_bytes(VERSION, base, before_ms), 0)
}

/// Writes to a file of the log: that of a test may fail.
pub(super) fn write_all_at(file: &File, bytes: &[u8], position: u64) -> io::Result<()> {
    #[cfg(not(test))]
    return file.write_all_at(bytes, position);
    #[cfg(test)]
    super::tests::faults::write_all_at(file, bytes, position)
}

/// False when the file ends before.
fn read_all_at(file: &File, bytes: &mut [u8], position: u64) -> io::Result<bool> {
    match file.read_exact_at(bytes, position) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}

/// Reads the header of a file that is named after `base`.
pub(super) fn read_header(file: &File, base: u64) -> io::Result<Header> {
    let mut bytes = [0; COMPACTED_HEADER_LEN];
    if !read_all_at(file, &mut bytes[..HEADER_LEN], 0)? {
        return Ok(Header::Damaged);
    }
    let before_ms = i64::from_le_bytes(std::array::from_fn(|place| bytes[16 + place]));
    let version = bytes[7];
    if bytes[..7] != MAGIC || bytes[24..28] != crc32fast::hash(&bytes[..24]).to_le_bytes() {
        return Ok(Header::Damaged);
    }
    if !matches!(version, VERSION | COMPACTED_VERSION) {
        return Ok(Header::Unknown(version));
    }
    if bytes[..HEADER_LEN] != header_bytes(version, base, before_ms) {
        return Ok(Header::Damaged);
    }
    if version == VERSION {
        return Ok(Header::Sound { before_ms, compacted: None });
    }
    if !read_all_at(file, &mut bytes[HEADER_LEN..], HEADER)? {
        return Ok(Header::Damaged);
    }
    let offsets = u64::from_le_bytes(std::array::from_fn(|place| bytes[HEADER_LEN + place]));
    let sound = bytes == compacted_header(base, before_ms, offsets) && base.checked_add(offsets).is_some();
    Ok(if sound { Header::Sound { before_ms, compacted: Some(offsets) } } else { Header::Damaged })
}

/// What was found by [`Segment::scan`].
pub(super) struct Scanned {
    pub(super) end: End,
    /// The times of the first entry and of the youngest.
    pub(super) first_ms: Option<i64>,
    pub(super) youngest_ms: i64,
    /// Offsets that have no entry since a compaction, and those known by then to be lost.
    pub(super) compacted: u64,
    pub(super) lost: u64,
}

impl Segment {
    /// A segment that goes as far as `end`.
    pub(super) fn new(path: PathBuf, base: u64, before_ms: i64, compacted: bool, end: End) -> Self {
        Self { base, before_ms, path, compacted, state: Mutex::new(State { end, index: Vec::new() }) }
    }

    /// Where in the file its first frame is.
    pub(super) fn first_position(&self) -> u64 {
        if self.compacted { COMPACTED_HEADER } else { HEADER }
    }

    /// The end of one without entries.
    pub(super) fn start(base: u64) -> End {
        End { offset: base, position: HEADER }
    }

    /// How far it goes now.
    pub(super) fn end(&self) -> End {
        self.state.lock().end
    }

    /// Makes entries visible to readers; `marks` are places of some of them.
    pub(super) fn extend(&self, end: End, marks: &[(u64, u64)]) {
        let mut state = self.state.lock();
        state.end = end;
        for (offset, position) in marks {
            state.note(*offset, *position);
        }
    }

    /// Where to begin to read for `offset`.
    pub(super) fn place_before(&self, offset: u64) -> (u64, u64) {
        let state = self.state.lock();
        let after = state.index.partition_point(|(known, _)| *known <= offset);
        after.checked_sub(1).map_or((self.base, self.first_position()), |place| state.index[place])
    }

    /// Remembers a place that somebody came by.
    pub(super) fn note(&self, offset: u64, position: u64) {
        self.state.lock().note(offset, position);
    }

    /// Reads from the start to the first bad frame, before the offset `limit`; what is sound is the segment from then
    /// on.
    pub(super) fn scan(&self, file: File, bytes: u64, limit: u64) -> io::Result<Scanned> {
        let mut cursor = Cursor::new(file, self.base, self.first_position(), Vec::new());
        let (mut marked, mut first_ms, mut youngest_ms, mut compacted, mut lost) = (0, None, self.before_ms, 0, 0);
        while cursor.offset() < limit
            && let Some(frame) = cursor.next(bytes)?
        {
            match frame {
                Frame::Entry(entry) => {
                    first_ms.get_or_insert(entry.time_ms);
                    youngest_ms = youngest_ms.max(entry.time_ms);
                }
                Frame::Gap { count, why: GapReason::Compacted } => compacted += count,
                Frame::Gap { count, why: GapReason::Lost } => lost += count,
            }
            if is_mark(marked, cursor.position()) {
                marked = cursor.position();
                self.note(cursor.offset(), cursor.position());
            }
        }
        let end = End { offset: cursor.offset(), position: cursor.position() };
        self.state.lock().end = end;
        Ok(Scanned { end, first_ms, youngest_ms, compacted, lost })
    }
}

/// Whether `position` is far enough from the place noted last.
pub(super) fn is_mark(last: u64, position: u64) -> bool {
    position >= last + INDEX_BYTES
}

impl State {
    fn note(&mut self, offset: u64, position: u64) {
        let last = self.index.last().map_or(HEADER, |(_, position)| *position);
        if is_mark(last, position) {
            self.index.push((offset, position));
        }
    }
}
