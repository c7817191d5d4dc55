//! A log on disk: entries are appended at one end and cut off at the other.
//!
//! It is the spool of the [`producer`](crate::producer) and each partition of the [`embedded`](crate::embedded) hub.
//!
//! - What [`append`](Log::append) returned is with the operating system: it survives the end of the process, by
//!   SIGKILL too. What [`sync`](Log::sync) returned for is on the disk and survives a power cut.
//! - Entries have dense offsets, and [readers](Reader) see them in order, each once, as soon as they are appended.
//! - [`open`](Log::open) cuts off a torn end. Damage elsewhere loses the rest of its segment at most, and is counted.
//! - [Compaction](Log::compaction) keeps the last entry of each key only. Offsets stay: those of entries that went are
//!   passed over.
//! - When a write fails nothing of it stays: the log is as it was, and takes the next append when there is room again.
//!
//! A folder holds segments, files named after their first offset, that are written one after the other and removed as
//! a whole; compaction puts a file in the place of one or several. There are no other files: where the ends are is found by reading. No general store is used, since appending
//! here and dropping there is what trees of sorted files do worst: they would write each entry again to merge it, and
//! once more to forget it.
//!
//! ```
//! # fn main() -> gds_hub::Result<()> {
//! # let dir = tempfile::tempdir().unwrap();
//! use gds_hub::log::{Log, LogOptions};
//!
//! let (mut log, recovered) = Log::open(dir.path(), LogOptions::default())?;
//! assert_eq!(recovered.entries, 0);
//! log.append([&b"one"[..], b"two"])?;
//! let mut seen = Vec::new();
//! log.reader(0).next_batch(u64::MAX, usize::MAX, |entry| seen.push(entry.payload.to_vec()))?;
//! assert_eq!(seen, [b"one", b"two"]);
//! # Ok(())
//! # }
//! ```

mod compaction;
mod frame;
mod open;
mod reader;
mod segment;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use gds_process::clock::now_ms;
use gds_process::sync::Mutex;

pub use compaction::{Compacted, Compaction, Role, RoleOf};
pub use frame::Entry;
pub use open::Recovered;
pub use reader::{Progress, Reader};

use crate::error::{Error, Failure, Result};
use crate::private;
use segment::{End, HEADER, Segment};

/// Memory for writing is given back when a batch took more than this.
const KEEP_BYTES: usize = 1 << 20;

/// How a log is kept.
#[derive(Clone, Copy, Debug)]
pub struct LogOptions {
    /// A segment that has come to this many bytes is followed by a new one. What is trimmed is trimmed by segments.
    pub segment_bytes: u64,
    /// The log takes no more than this on disk: beyond it, appending is [`Error::Full`]. Segments are
    /// an eighth of it at most, so that trimming makes room early.
    pub max_bytes: Option<u64>,
    /// Reads all of the log when it is opened and not only its last segment, so that [`Recovered`] is exact.
    pub verify: bool,
}

impl Default for LogOptions {
    fn default() -> Self {
        Self { segment_bytes: 16 << 20, max_bytes: None, verify: false }
    }
}

/// What the writer and its readers share.
#[derive(Debug)]
struct SharedSegments {
    /// Oldest first. Files are removed with this locked.
    segments: Mutex<VecDeque<Arc<Segment>>>,
    next: AtomicU64,
}

impl SharedSegments {
    /// Whether it is one of them, and neither trimmed nor replaced.
    fn has(&self, segment: &Arc<Segment>) -> bool {
        self.segments.lock().iter().any(|known| Arc::ptr_eq(known, segment))
    }

    fn next(&self) -> u64 {
        self.next.load(Ordering::Acquire)
    }
}

/// The writer of a log. There must be one for a folder: who opens it sees to that.
#[derive(Debug)]
pub struct Log {
    dir: PathBuf,
    options: LogOptions,
    shared: Arc<SharedSegments>,
    active: Option<Active>,
    bytes: u64,
    buffer: Vec<u8>,
    marks: Vec<(u64, u64)>,
    /// Files whose place another one has taken, and that are still there.
    leftovers: Vec<PathBuf>,
    /// Segments from this one on may have bytes that are not on disk.
    unsynced_from: u64,
    /// Folders with names that may not be on disk.
    unsynced_dirs: Vec<PathBuf>,
    dirty: bool,
    sync_error: Option<Error>,
}

/// The segment that is written to.
#[derive(Debug)]
struct Active {
    segment: Arc<Segment>,
    file: File,
    end: End,
    /// The time of its first entry.
    first_ms: Option<i64>,
    /// No entry up to here is younger.
    youngest_ms: i64,
    /// The file has bytes behind the end, of a write that failed.
    torn: bool,
}

impl Log {
    /// Appends entries in one write, and returns their offsets. They are stamped with the time of now.
    ///
    /// Either all are appended or, on an error, none. [`Error::Storage`] is retriable when there may
    /// be room later, as is [`Error::Full`] once something was [trimmed](Self::trim_to).
    pub fn append<'a>(&mut self, payloads: impl IntoIterator<Item = &'a [u8]>) -> Result<Range<u64>> {
        self.append_at(now_ms(), payloads)
    }

    /// The same, with a time of the caller's: milliseconds since the epoch.
    pub fn append_at<'a>(&mut self, time_ms: i64, payloads: impl IntoIterator<Item = &'a [u8]>) -> Result<Range<u64>> {
        self.append_within(self.options.max_bytes, time_ms, payloads)
    }

    /// As [`append`](Self::append), however large the log is: for what takes the place of an entry that goes.
    pub fn append_beyond<'a>(&mut self, payloads: impl IntoIterator<Item = &'a [u8]>) -> Result<Range<u64>> {
        self.append_within(None, now_ms(), payloads)
    }

    fn append_within<'a>(
        &mut self,
        max_bytes: Option<u64>,
        time_ms: i64,
        payloads: impl IntoIterator<Item = &'a [u8]>,
    ) -> Result<Range<u64>> {
        let first = self.next_offset();
        let mut next = first;
        self.buffer.clear();
        self.marks.clear();
        let mut marked = 0;
        for payload in payloads {
            if payload.len() > frame::MAX_PAYLOAD {
                let (length, most) = (payload.len(), frame::MAX_PAYLOAD);
                return Err(Error::Message(format!("a record of {length} bytes; {most} is the most").into()));
            }
            if next == first || segment::is_mark(marked, self.buffer.len() as u64) {
                marked = self.buffer.len() as u64;
                self.marks.push((next, marked));
            }
            frame::write(&mut self.buffer, next, time_ms, payload);
            next += 1;
        }
        if next == first {
            return Ok(first..first);
        }
        let written = self.has_room(max_bytes).and_then(|()| self.write(time_ms, next));
        if self.buffer.capacity() > KEEP_BYTES {
            self.buffer = Vec::new();
        }
        written.map(|()| first..next)
    }

    /// Writes the buffer, of entries up to `next`.
    fn write(&mut self, time_ms: i64, next: u64) -> Result<()> {
        let length = self.buffer.len() as u64;
        let segment_bytes = self.segment_bytes();
        let rolls = |active: &Active| active.end.position > HEADER && active.end.position + length > segment_bytes;
        if self.active.as_ref().is_none_or(rolls) {
            self.roll(self.next_offset())?;
        }
        let Some(active) = &mut self.active else { unreachable!("made just before") };
        let written = active.write(&self.buffer);
        written.map_err(|error| storage("append to", &active.segment.path, &error))?;
        let start = active.end.position;
        self.marks.iter_mut().for_each(|(_, position)| *position += start);
        active.end = End { offset: next, position: start + length };
        active.first_ms.get_or_insert(time_ms);
        active.youngest_ms = active.youngest_ms.max(time_ms);
        active.segment.extend(active.end, &self.marks);
        self.bytes += length;
        self.dirty = true;
        self.shared.next.store(next, Ordering::Release);
        Ok(())
    }

    /// Whether there is room for the buffer.
    fn has_room(&self, max_bytes: Option<u64>) -> Result<()> {
        let Some(most) = max_bytes else { return Ok(()) };
        let length = self.buffer.len() as u64;
        if self.bytes + length <= most {
            return Ok(());
        }
        let dir = self.dir.display();
        let message = format!("{dir} is full: {} of {most} bytes, and {length} more do not fit", self.bytes);
        let failure = Failure::new(message);
        Err(Error::Full(if length + HEADER > most { failure } else { failure.retriable() }))
    }

    /// Segments that have come to this many bytes are followed by a new one from now on.
    pub fn set_segment_bytes(&mut self, segment_bytes: u64) {
        self.options.segment_bytes = segment_bytes;
    }

    fn segment_bytes(&self) -> u64 {
        let most = self.options.max_bytes.unwrap_or(u64::MAX);
        self.options.segment_bytes.min(most / 8)
    }

    /// Goes on in a new segment.
    fn roll(&mut self, base: u64) -> Result<()> {
        let before_ms = self.active.as_ref().map_or(i64::MIN, |active| active.youngest_ms);
        let path = segment::path_of(&self.dir, base);
        let made = private::options().truncate(true).open(&path);
        let made = made.and_then(|file| {
            let header = segment::write_header(&file, base, before_ms);
            if header.is_err() {
                let _ = std::fs::remove_file(&path);
            }
            header.map(|()| file)
        });
        let file = made.map_err(|error| storage("make", &path, &error))?;
        // Rubbish that could not be taken away behind the end of the one before does no harm: a segment is not read
        // beyond the first offset of the next.
        let segment = Arc::new(Segment::new(path, base, before_ms, false, Segment::start(base)));
        self.shared.segments.lock().push_back(segment.clone());
        let end = Segment::start(base);
        self.active = Some(Active { segment, file, end, first_ms: None, youngest_ms: before_ms, torn: false });
        self.bytes += HEADER;
        self.dirty = true;
        if !self.unsynced_dirs.contains(&self.dir) {
            self.unsynced_dirs.push(self.dir.clone());
        }
        Ok(())
    }

    /// Ends the segment that is written to, so that everything before can be trimmed.
    pub fn begin_segment(&mut self) -> Result<()> {
        match &self.active {
            Some(active) if active.end.position > HEADER => self.roll(active.end.offset),
            _ => Ok(()),
        }
    }

    /// The same, if its first entry is from before `time_ms`, in milliseconds since the epoch.
    pub fn end_segment_begun_before(&mut self, time_ms: i64) -> Result<()> {
        let first_ms = self.active.as_ref().and_then(|active| active.first_ms);
        if first_ms.is_some_and(|first_ms| first_ms < time_ms) { self.begin_segment() } else { Ok(()) }
    }

    /// Has everything appended so far on the disk.
    ///
    /// When this fails once it fails for good, and is told as [fatal](Error::fatal): the system forgets which bytes it
    /// could not write. Open the log anew to see what is there.
    pub fn sync(&mut self) -> Result<()> {
        if let Some(error) = &self.sync_error {
            return Err(error.clone());
        }
        if !self.dirty {
            return Ok(());
        }
        let synced = self.sync_files().and_then(|()| self.sync_dirs());
        if let Err(error) = synced {
            self.sync_error = Some(error.clone());
            return Err(error);
        }
        self.dirty = false;
        Ok(())
    }

    /// Why [`sync`](Self::sync) failed, if it did.
    pub fn sync_error(&self) -> Option<&Error> {
        self.sync_error.as_ref()
    }

    /// [Compacting](Compaction) failed with a [fatal](Error::fatal) error, of which a [`sync`](Self::sync) would not
    /// know: the system tells it once.
    pub fn keep_sync_error(&mut self, error: &Error) {
        self.sync_error.get_or_insert_with(|| error.clone());
    }

    fn sync_files(&mut self) -> Result<()> {
        let Some(active) = &self.active else { return Ok(()) };
        let before: Vec<_> = {
            let segments = self.shared.segments.lock();
            let range = self.unsynced_from..active.segment.base;
            segments.iter().filter(|segment| range.contains(&segment.base)).cloned().collect()
        };
        for segment in before {
            match File::open(&segment.path).and_then(|file| private::sync_file(&file)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(not_synced(&segment.path, &error));
                }
                _ => {}
            }
        }
        private::sync_file(&active.file).map_err(|error| not_synced(&active.segment.path, &error))?;
        self.unsynced_from = active.segment.base;
        Ok(())
    }

    fn sync_dirs(&mut self) -> Result<()> {
        while let Some(dir) = self.unsynced_dirs.last() {
            private::sync_dir(dir).map_err(|error| not_synced(dir, &error))?;
            self.unsynced_dirs.pop();
        }
        Ok(())
    }

    /// Reads from the entry at `from` on, or from the oldest one if that was trimmed.
    pub fn reader(&self, from: u64) -> Reader {
        Reader::new(self.shared.clone(), from)
    }

    /// Removes the segments that hold no entry from `offset` on, and returns how many entries went. The segment that
    /// is written to is one of them when it has grown enough to be worth a new file.
    pub fn trim_to(&mut self, offset: u64) -> Result<u64> {
        let worth = self.segment_bytes() / 4;
        if let Some(active) = &self.active
            && offset >= active.end.offset
            && active.end.position > worth
        {
            self.begin_segment()?;
        }
        self.remove_while(|_, following| following.base <= offset)
    }

    /// Removes the oldest segments until none but young entries are left: none appended before `older_than_ms`, in
    /// whole segments, and no more than `max_bytes` in all. Returns how many entries went.
    pub fn expire(&mut self, older_than_ms: Option<i64>, max_bytes: Option<u64>) -> Result<u64> {
        let limit = older_than_ms.unwrap_or(i64::MIN);
        if let Some(active) = &self.active
            && active.youngest_ms < limit
        {
            self.begin_segment()?;
        }
        let removed = self.remove_while(|_, following| following.before_ms < limit)?;
        let Some(most) = max_bytes else { return Ok(removed) };
        let mut bytes = self.bytes;
        let rest = self.remove_while(|segment, _| {
            let over = bytes > most;
            bytes -= if over { segment.end().position } else { 0 };
            over
        })?;
        Ok(removed + rest)
    }

    /// Removes from the oldest on, asking about each segment and the one that follows; the last one always stays.
    fn remove_while(&mut self, mut goes: impl FnMut(&Segment, &Segment) -> bool) -> Result<u64> {
        // While there are files that another one stands for, that one must not go: they would be taken for it.
        if !self.leftovers.is_empty() {
            return Ok(0);
        }
        let mut segments = self.shared.segments.lock();
        let mut removed = 0;
        while let [first, following] = [segments.front(), segments.get(1)]
            && let (Some(first), Some(following)) = (first, following)
            && goes(first, following)
        {
            match std::fs::remove_file(&first.path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(storage("remove", &first.path, &error));
                }
                _ => {}
            }
            removed += following.base - first.base;
            self.bytes -= first.end().position;
            segments.pop_front();
        }
        Ok(removed)
    }

    /// Leaves out offsets: the next entry gets `offset`, unless it would get a higher one anyway.
    ///
    /// For whoever remembers an offset that a power cut took from the log, and must not see it given to another entry.
    pub fn skip_to(&mut self, offset: u64) -> Result<()> {
        if offset > self.next_offset() {
            self.roll(offset)?;
            self.shared.next.store(offset, Ordering::Release);
        }
        Ok(())
    }

    /// The offset of the oldest entry; of the next one, if there is none.
    pub fn first_offset(&self) -> u64 {
        self.shared.segments.lock().front().map_or_else(|| self.next_offset(), |segment| segment.base)
    }

    /// An offset that no entry has before it that was appended at `time_ms` or later, in milliseconds since the epoch: the
    /// first one of a segment.
    pub fn offset_before(&self, time_ms: i64) -> u64 {
        let segments = self.shared.segments.lock();
        let older = segments.iter().rev().find(|segment| segment.before_ms < time_ms);
        older.or_else(|| segments.front()).map_or(0, |segment| segment.base)
    }

    /// The offset that the next entry will get.
    pub fn next_offset(&self) -> u64 {
        self.shared.next()
    }

    /// What the log takes on disk.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.dir
    }
}

impl Active {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.mend()?;
        let written = segment::write_all_at(&self.file, bytes, self.end.position);
        if written.is_err() {
            self.torn = true;
            let _ = self.mend(); // else before the next write
        }
        written
    }

    /// Takes away what a failed write left.
    fn mend(&mut self) -> io::Result<()> {
        if self.torn {
            self.file.set_len(self.end.position)?;
            self.torn = false;
        }
        Ok(())
    }
}

/// What now? For each way in which a file can fail.
fn storage(what: &str, path: &Path, error: &io::Error) -> Error {
    use io::ErrorKind::{FileTooLarge, PermissionDenied, QuotaExceeded, ReadOnlyFilesystem, StorageFull};
    let (remedy, retriable) = match error.kind() {
        StorageFull | QuotaExceeded => ("free space on its disk, or name a folder on another one", true),
        FileTooLarge => ("raise the limit on the size of files", true),
        PermissionDenied | ReadOnlyFilesystem => ("name a folder that this program may write to", false),
        _ => ("see that its folder is there and its disk is sound", false),
    };
    let failure = Failure::new(format!("cannot {what} {}: {error}; {remedy}", path.display()));
    Error::Storage(if retriable { failure.retriable() } else { failure })
}

/// What of a file is on disk is not known from here on: whoever has it open cannot go on, also when there is room again.
pub(crate) fn not_synced(path: &Path, error: &io::Error) -> Error {
    let why = storage("sync", path, error);
    let message = format!("{why}, and open it anew: what the disk has of it is not known");
    Error::Storage(Failure::new(message).fatal())
}
