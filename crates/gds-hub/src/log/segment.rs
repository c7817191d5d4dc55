//! One file of a log: a header, then frames.
//!
//! ```text
//! header   8 bytes "GDSLOG" 0 and the version, u64 offset of the first entry, i64 time, u32 checksum, u32 0
//! ```
//!
//! The time is that of the youngest entry before, so that old segments are known without reading them.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use gds_process::sync::Mutex;

use super::frame::Cursor;

/// Bytes of the header.
pub(super) const HEADER: u64 = HEADER_LEN as u64;
const HEADER_LEN: usize = 32;
const VERSION: u8 = 1;
const MAGIC: [u8; 7] = *b"GDSLOG\0";
const EXTENSION: &str = "log";
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
    /// With this time.
    Sound(i64),
    /// By a version that this one does not know.
    Unknown(u8),
    /// Nothing: the file is torn or damaged.
    Damaged,
}

/// The name of the file whose first entry is `base`.
pub(super) fn path_of(dir: &Path, base: u64) -> PathBuf {
    dir.join(format!("{base:020}.{EXTENSION}"))
}

/// The offset that a file's name tells; none for files that are not ours.
pub(super) fn base_of(path: &Path) -> Option<u64> {
    let name = path.file_name()?.to_str()?.strip_suffix(EXTENSION)?.strip_suffix('.')?;
    (name.len() == 20 && name.bytes().all(|byte| byte.is_ascii_digit())).then(|| name.parse().ok())?
}

fn header_bytes(base: u64, before_ms: i64) -> [u8; HEADER_LEN] {
    let mut bytes = [0; HEADER_LEN];
    bytes[..7].copy_from_slice(&MAGIC);
    bytes[7] = VERSION;
    bytes[8..16].copy_from_slice(&base.to_le_bytes());
    bytes[16..24].copy_from_slice(&before_ms.to_le_bytes());
    let sum = crc32fast::hash(&bytes[..24]);
    bytes[24..28].copy_from_slice(&sum.to_le_bytes());
    bytes
}

/// Writes the header into a file that holds nothing yet.
pub(super) fn write_header(file: &File, base: u64, before_ms: i64) -> io::Result<()> {
    #[cfg(not(test))]
    return file.write_all_at(&header_bytes(base, before_ms), 0);
    #[cfg(test)]
    super::tests::faults::write_all_at(file, &header_bytes(base, before_ms), 0)
}

/// Reads the header of a file that is named after `base`.
pub(super) fn read_header(file: &File, base: u64) -> io::Result<Header> {
    let mut bytes = [0; HEADER_LEN];
    match file.read_exact_at(&mut bytes, 0) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(Header::Damaged),
        Err(error) => return Err(error),
    }
    let time: [u8; 8] = std::array::from_fn(|place| bytes[16 + place]);
    let before_ms = i64::from_le_bytes(time);
    if bytes[..7] == MAGIC && bytes[7] != VERSION && bytes[24..28] == crc32fast::hash(&bytes[..24]).to_le_bytes() {
        return Ok(Header::Unknown(bytes[7]));
    }
    Ok(if bytes == header_bytes(base, before_ms) { Header::Sound(before_ms) } else { Header::Damaged })
}

impl Segment {
    /// A segment that goes as far as `end`.
    pub(super) fn new(path: PathBuf, base: u64, before_ms: i64, end: End) -> Self {
        Self { base, before_ms, path, state: Mutex::new(State { end, index: Vec::new() }) }
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
        after.checked_sub(1).map_or((self.base, HEADER), |place| state.index[place])
    }

    /// Remembers a place that somebody came by.
    pub(super) fn note(&self, offset: u64, position: u64) {
        self.state.lock().note(offset, position);
    }

    /// Reads from the start to the first bad frame, before the offset `limit`; what is sound is the segment from then
    /// on. Also tells the time of the youngest entry.
    pub(super) fn scan(&self, file: File, bytes: u64, limit: u64) -> io::Result<(End, i64)> {
        let mut cursor = Cursor::new(file, self.base, HEADER, Vec::new());
        let (mut marked, mut youngest_ms) = (0, self.before_ms);
        while cursor.offset() < limit
            && let Some(entry) = cursor.next(bytes)?
        {
            youngest_ms = youngest_ms.max(entry.time_ms);
            if is_mark(marked, cursor.position()) {
                marked = cursor.position();
                self.note(cursor.offset(), cursor.position());
            }
        }
        let end = End { offset: cursor.offset(), position: cursor.position() };
        self.state.lock().end = end;
        Ok((end, youngest_ms))
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
