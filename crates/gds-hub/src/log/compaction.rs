//! Compaction: of entries with the same key, the last one is kept.
//!
//! Segments that are not written to any more are copied without what is to go, oldest first, into files that take their
//! place. What was not compacted before is read for its keys first, and so is on the disk: what goes is never the last
//! of its key, not even after a power cut. Those who read a file that is replaced go on in what they have open.
//!
//! ```text
//! | compacted before | not compacted | written to |
//!                    ^ keys are read ^
//! ^ copied without what goes, one file after the other
//! ```
//!
//! At any moment the folder is as before or as after: a file is whole and on the disk before it gets the name of the first
//! of those whose place it takes, and says up to where it stands for others, which are removed after that.
//!
//! A step that fails leaves all as it was, and is worth another try; but not one that syncs what is there: the system
//! forgets what it could not write, and the next one would not tell.

use std::collections::{HashMap, VecDeque};
use std::fs::{self, File};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::frame::{self, Cursor, Frame, GapReason};
use super::segment::{self, COMPACTED_HEADER, End, Segment, is_mark};
use super::{Log, SharedSegments, not_synced, storage};
use crate::error::Result;
use crate::private;

/// Keys are read until they take this much, and those of one segment at least.
const KEYS_BYTES: usize = 64 << 20;
/// What a key takes besides its bytes, about.
const KEY_OVERHEAD: usize = 64;
/// Written at a time.
const WRITE_BYTES: usize = 256 * 1024;

/// What an entry is to a compaction.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Role<'a> {
    /// It stays.
    Kept,
    /// It goes.
    Dropped,
    /// It stays until another one has the same key.
    Last(&'a [u8]),
    /// The same, and for a limited time: it says that there is nothing any more under this key.
    Tombstone(&'a [u8]),
}

/// Tells what an entry is by its payload.
pub type RoleOf = for<'a> fn(&'a [u8]) -> Role<'a>;

/// A compaction under way: needs nothing of the log but its files, so that the log is free for others meanwhile.
#[derive(Debug)]
pub struct Compaction {
    dir: PathBuf,
    shared: Arc<SharedSegments>,
    segment_bytes: u64,
    role_of: RoleOf,
    now_ms: i64,
    /// Tombstones that were first compacted before this time go.
    tombstones_before_ms: i64,
    sources: VecDeque<Source>,
    /// The last offset of each key in what was not compacted before; none while it was not read.
    last: Option<HashMap<Box<[u8]>, u64>>,
    pub(super) keys_bytes: usize,
}

/// A segment that is copied.
#[derive(Debug)]
struct Source {
    segment: Arc<Segment>,
    /// Where the next one begins.
    ends: u64,
}

/// A file that is to take the place of segments.
#[derive(Debug)]
pub struct Compacted {
    draft: Draft,
    segment: Arc<Segment>,
    replaces: Vec<Arc<Segment>>,
}

impl Log {
    /// Bytes of segments that were compacted, and of those that could be.
    pub fn compactable(&self) -> (u64, u64) {
        let segments = self.shared.segments.lock();
        let closed = segments.len().saturating_sub(1);
        let (mut clean, mut dirty) = (0, 0);
        for segment in segments.iter().take(closed) {
            *(if segment.compacted { &mut clean } else { &mut dirty }) += segment.end().position;
        }
        (clean, dirty)
    }

    /// Begins a compaction of all but the segment that is written to. Tombstones are kept for `keep_tombstones_ms` after
    /// they were first compacted, and go with the next compaction.
    ///
    /// There must be one at a time. What it [makes](Compaction::next) is to be [put in place](Self::replace), in order.
    pub fn compaction(&self, role_of: RoleOf, now_ms: i64, keep_tombstones_ms: i64) -> Compaction {
        let segments = self.shared.segments.lock();
        let following = segments.iter().skip(1);
        let sources = segments.iter().zip(following);
        let sources = sources.map(|(segment, next)| Source { segment: segment.clone(), ends: next.base });
        Compaction {
            dir: self.dir.clone(),
            shared: self.shared.clone(),
            segment_bytes: self.segment_bytes(),
            role_of,
            now_ms,
            tombstones_before_ms: now_ms.saturating_sub(keep_tombstones_ms),
            sources: sources.collect(),
            last: None,
            keys_bytes: KEYS_BYTES,
        }
    }

    /// Puts a file in the place of those it was made of; false if one of them was trimmed meanwhile, which ends the
    /// compaction. What it replaced is to be [removed](Self::remove_replaced) once the folder is
    /// [on the disk](Compaction::sync).
    pub fn replace(&mut self, compacted: Compacted) -> Result<bool> {
        let Compacted { mut draft, segment, replaces } = compacted;
        let mut segments = self.shared.segments.lock();
        let found = replaces.first().and_then(|first| segments.iter().position(|known| Arc::ptr_eq(known, first)));
        let Some(place) = found else { return Ok(false) };
        let renamed = step("replace").and_then(|()| fs::rename(&draft.path, &segment.path));
        renamed.map_err(|error| storage("replace", &segment.path, &error))?;
        draft.is_in_place = true;
        self.bytes += segment.end().position;
        for replaced in segments.drain(place..place + replaces.len()) {
            self.bytes -= replaced.end().position;
            if replaced.base != segment.base {
                self.leftovers.push(replaced.path.clone());
            }
        }
        segments.insert(place, segment);
        Ok(true)
    }

    /// Removes the files that others have replaced.
    pub fn remove_replaced(&mut self) -> Result<()> {
        while let Some(path) = self.leftovers.last() {
            match step("remove").and_then(|()| fs::remove_file(path)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(storage("remove", path, &error)),
                _ => self.leftovers.pop(),
            };
        }
        Ok(())
    }
}

impl Compaction {
    /// The next file; none when there is no more to be done, or something was trimmed, or `stop` says so.
    pub fn next(&mut self, stop: &AtomicBool) -> Result<Option<Compacted>> {
        match self.make(stop) {
            Err(Ended::Early) => Ok(None),
            Err(Ended::Failed(error)) => Err(error),
            Ok(made) => Ok(made),
        }
    }

    /// Has the names of files on the disk. An error is [fatal](crate::error::Error::fatal), as that of [`Log::sync`].
    pub fn sync(&self) -> Result<()> {
        let synced = step("sync the folder").and_then(|()| private::sync_dir(&self.dir));
        synced.map_err(|error| not_synced(&self.dir, &error))
    }

    fn make(&mut self, stop: &AtomicBool) -> Result<Option<Compacted>, Ended> {
        let last = match self.last.take() {
            Some(last) => last,
            None => self.read_keys(stop)?,
        };
        let last = self.last.insert(last);
        while let Some(first) = self.sources.front() {
            let mut draft = Draft::begin(&self.dir, &first.segment)?;
            let mut replaces = Vec::new();
            // Several, if they are small by now.
            while let Some(source) = self.sources.front()
                && (replaces.is_empty() || draft.bytes() + source.segment.end().position <= self.segment_bytes)
            {
                source.walk(&self.shared, stop, |frame| match frame {
                    Frame::Gap { count, why } => draft.leave_out(count, why),
                    Frame::Entry(entry) => {
                        let (key, is_tombstone) = match (self.role_of)(entry.payload) {
                            Role::Kept => return draft.keep(entry.time_ms, entry.payload),
                            Role::Dropped => return draft.drop_entry(),
                            Role::Last(key) => (key, false),
                            Role::Tombstone(key) => (key, true),
                        };
                        let time_ms = match (is_tombstone, source.segment.compacted) {
                            (true, false) => self.now_ms,
                            _ => entry.time_ms,
                        };
                        let is_over = is_tombstone && time_ms < self.tombstones_before_ms;
                        if is_over || last.get(key).is_some_and(|last| entry.offset < *last) {
                            return draft.drop_entry();
                        }
                        draft.keep(time_ms, entry.payload)
                    }
                })?;
                replaces.extend(self.sources.pop_front().map(|source| source.segment));
            }
            let is_the_same = !draft.has_changed && replaces.len() == 1 && replaces[0].compacted;
            if !is_the_same {
                return Ok(Some(draft.end(replaces)?));
            }
        }
        Ok(None)
    }

    /// The last offset of each key in what was not compacted yet, as far as there is room for; what comes after that is
    /// left to another compaction.
    fn read_keys(&mut self, stop: &AtomicBool) -> Result<HashMap<Box<[u8]>, u64>, Ended> {
        let mut last = HashMap::new();
        let mut bytes = 0;
        let mut place = self.sources.iter().take_while(|source| source.segment.compacted).count();
        while let Some(source) = self.sources.get(place)
            && bytes < self.keys_bytes
        {
            let file = source.walk(&self.shared, stop, |frame| {
                if let Frame::Entry(entry) = frame
                    && let Role::Last(key) | Role::Tombstone(key) = (self.role_of)(entry.payload)
                {
                    if let Some(offset) = last.get_mut(key) {
                        *offset = entry.offset;
                    } else {
                        bytes += key.len() + KEY_OVERHEAD;
                        last.insert(Box::from(key), entry.offset);
                    }
                }
                Ok(())
            })?;
            let synced = step("sync what is read").and_then(|()| private::sync_file(&file));
            synced.map_err(|error| not_synced(&source.segment.path, &error))?;
            place += 1;
        }
        self.sources.truncate(place);
        Ok(last)
    }
}

/// Why a compaction goes no further.
enum Ended {
    /// It is to stop, or something was trimmed.
    Early,
    Failed(crate::error::Error),
}

impl From<crate::error::Error> for Ended {
    fn from(error: crate::error::Error) -> Self {
        Self::Failed(error)
    }
}

impl Source {
    /// Tells of every offset up to the next segment, and returns the file.
    fn walk(
        &self,
        shared: &SharedSegments,
        stop: &AtomicBool,
        mut each: impl FnMut(Frame<'_>) -> Result<()>,
    ) -> Result<File, Ended> {
        let Segment { base, path, .. } = &*self.segment;
        let failed = |error: io::Error| Ended::Failed(storage("read", path, &error));
        let file = match File::open(path) {
            Err(_) if !shared.has(&self.segment) => return Err(Ended::Early),
            file => file.map_err(failed)?,
        };
        let end = self.segment.end();
        let reading = file.try_clone().map_err(failed)?;
        let mut cursor = Cursor::new(reading, *base, self.segment.first_position(), Vec::new());
        while cursor.offset() < end.offset {
            if stop.load(Ordering::Relaxed) {
                return Err(Ended::Early);
            }
            match cursor.next(end.position).map_err(failed)? {
                Some(frame) => each(frame)?,
                None => break,
            }
        }
        // What is damaged stays lost, and counted.
        if cursor.offset() < self.ends {
            each(Frame::Gap { count: self.ends - cursor.offset(), why: GapReason::Lost })?;
        }
        Ok(file)
    }
}

/// A file that is being written.
#[derive(Debug)]
struct Draft {
    file: File,
    path: PathBuf,
    base: u64,
    before_ms: i64,
    next: u64,
    /// Bytes in the file, and those that are to follow.
    written: u64,
    buffer: Vec<u8>,
    /// Offsets without an entry before `next` that nothing stands for yet.
    gap: Option<(u64, GapReason)>,
    marks: Vec<(u64, u64)>,
    /// Something is not in it that was there.
    has_changed: bool,
    /// It is a draft no more.
    is_in_place: bool,
}

impl Draft {
    fn begin(dir: &std::path::Path, first: &Segment) -> Result<Self> {
        let (path, base, before_ms) = (segment::draft_of(dir, first.base), first.base, first.before_ms);
        let file = step("begin").and_then(|()| private::options().truncate(true).open(&path));
        let file = file.map_err(|error| storage("make", &path, &error))?;
        Ok(Self {
            file,
            path,
            base,
            before_ms,
            next: base,
            written: COMPACTED_HEADER,
            buffer: Vec::new(),
            gap: None,
            marks: Vec::new(),
            has_changed: false,
            is_in_place: false,
        })
    }

    fn bytes(&self) -> u64 {
        self.written + self.buffer.len() as u64
    }

    fn keep(&mut self, time_ms: i64, payload: &[u8]) -> Result<()> {
        self.end_gap();
        let position = self.bytes();
        if is_mark(self.marks.last().map_or(0, |(_, position)| *position), position) {
            self.marks.push((self.next, position));
        }
        frame::write(&mut self.buffer, self.next, time_ms, payload);
        self.next += 1;
        if self.buffer.len() >= WRITE_BYTES { self.write() } else { Ok(()) }
    }

    fn drop_entry(&mut self) -> Result<()> {
        self.has_changed = true;
        self.leave_out(1, GapReason::Compacted)
    }

    #[allow(clippy::unnecessary_wraps)] // as the others, whose place it is in
    fn leave_out(&mut self, count: u64, why: GapReason) -> Result<()> {
        match &mut self.gap {
            Some((before, reason)) if *reason == why => *before += count,
            _ => {
                self.end_gap();
                self.gap = Some((count, why));
            }
        }
        Ok(())
    }

    fn end_gap(&mut self) {
        if let Some((count, why)) = self.gap.take() {
            frame::write_gap(&mut self.buffer, self.next, count, why);
            self.next += count;
        }
    }

    fn write(&mut self) -> Result<()> {
        let written = step("write").and_then(|()| segment::write_all_at(&self.file, &self.buffer, self.written));
        written.map_err(|error| storage("write", &self.path, &error))?;
        self.written = self.bytes();
        self.buffer.clear();
        Ok(())
    }

    /// Has it whole and on the disk.
    fn end(mut self, replaces: Vec<Arc<Segment>>) -> Result<Compacted> {
        self.end_gap();
        self.write()?;
        let header = segment::compacted_header(self.base, self.before_ms, self.next - self.base);
        let whole = step("write the header").and_then(|()| segment::write_all_at(&self.file, &header, 0));
        let whole = whole.and_then(|()| private::sync_file(&self.file));
        whole.map_err(|error| storage("write", &self.path, &error))?;
        let end = End { offset: self.next, position: self.written };
        let path = self.path.with_extension(segment::EXTENSION);
        let segment = Segment::new(path, self.base, self.before_ms, true, end);
        segment.extend(end, &self.marks);
        Ok(Compacted { draft: self, segment: Arc::new(segment), replaces })
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if !self.is_in_place {
            let _ = fs::remove_file(&self.path); // else when the log is opened next
        }
    }
}

/// Where a test may look at what a process that ended here would leave, or have the step fail.
#[cfg_attr(not(test), allow(unused_variables, clippy::unnecessary_wraps))]
#[inline]
fn step(what: &'static str) -> io::Result<()> {
    #[cfg(not(test))]
    return Ok(());
    #[cfg(test)]
    super::tests::faults::reached(what)
}
