//! Opening a log: finding out what the last process, or a power cut, left.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use gds_process::sync::Mutex;

use super::segment::{self, End, Header, Segment};
use super::{Active, Log, LogOptions, SharedSegments, not_synced, storage};
use crate::error::{Error, Result};
use crate::private;

/// What was found when a log was opened.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Recovered {
    /// Entries that are there; those that a compaction took away count too, unless with [`LogOptions::verify`].
    pub entries: u64,
    /// Bytes at the end that were no whole entry and were cut off.
    pub torn_bytes: u64,
    /// Entries in the middle that are known to be lost. Damage in segments before the last shows only when they are
    /// read, or at once with [`LogOptions::verify`].
    pub lost: u64,
}

impl Log {
    /// Opens the log in the folder `dir`, which is made if there is none.
    pub fn open(dir: &Path, options: LogOptions) -> Result<(Self, Recovered)> {
        let mut made_dirs = private::make_dirs_noting(dir).map_err(|error| storage("make", dir, &error))?;
        made_dirs.push(dir.to_owned());
        let files = files(dir)?;
        let mut sum = Sum::default();
        let mut segments = VecDeque::new();
        let mut active = None;
        let (mut bytes, mut before_ms) = (0, i64::MIN);
        for (place, file) in files.iter().enumerate() {
            let following = files.get(place + 1).map(|file| file.base);
            let found = find(dir, file, following, before_ms, options.verify, &mut sum)?;
            before_ms = found.segment.before_ms;
            bytes += found.end.position;
            segments.push_back(found.segment.clone());
            active = Some(found); // the last one stays
        }
        let first = files.first().map_or(0, |file| file.base);
        let next = active.as_ref().map_or(0, |active| active.end.offset);
        let recovered =
            Recovered { entries: next - first - sum.lost - sum.compacted, torn_bytes: sum.torn_bytes, lost: sum.lost };
        let goes_on = active.as_ref().is_none_or(|active| !active.segment.compacted);
        let mut log = Self {
            dir: dir.to_owned(),
            options,
            shared: Arc::new(SharedSegments { segments: Mutex::new(segments), next: AtomicU64::new(next) }),
            active,
            bytes,
            buffer: Vec::new(),
            marks: Vec::new(),
            leftovers: Vec::new(),
            // What an earlier process appended may not be on disk yet.
            unsynced_from: first,
            unsynced_dirs: made_dirs,
            dirty: true,
            sync_error: None,
        };
        if !goes_on {
            log.roll(next)?;
        }
        Ok((log, recovered))
    }
}

/// What is added up over all segments.
#[derive(Default)]
struct Sum {
    torn_bytes: u64,
    lost: u64,
    /// Entries that a compaction took away, where that is known.
    compacted: u64,
}

/// A file that is a segment.
struct SegmentFile {
    base: u64,
    length: u64,
    /// What its header says, unless that is damaged: a time, and how many offsets one that was compacted stands for.
    header: Option<(i64, Option<u64>)>,
}

/// The segments in order; other files are left alone. Removed is what a compaction left that did not come to its end:
/// files that were never whole, and those whose place another one has taken.
fn files(dir: &Path) -> Result<Vec<SegmentFile>> {
    let unreadable = |error: io::Error| storage("read", dir, &error);
    let (mut bases, mut useless) = (Vec::new(), Vec::new());
    for entry in fs::read_dir(dir).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        bases.extend(segment::base_of(&path));
        if segment::is_draft(&path) {
            useless.push(path);
        }
    }
    bases.sort_unstable();
    let mut files = Vec::new();
    let mut taken_to = 0;
    for base in bases {
        let file = look(dir, base)?;
        if base < taken_to {
            useless.push(segment::path_of(dir, base));
            continue;
        }
        if let Some((_, Some(offsets))) = file.header {
            taken_to = base + offsets;
        }
        files.push(file);
    }
    // Only now that it is known that no later version wrote any of it.
    if !useless.is_empty() {
        private::sync_dir(dir).map_err(|error| not_synced(dir, &error))?; // what stands for them is to stay
    }
    for path in useless {
        fs::remove_file(&path).map_err(|error| storage("remove", &path, &error))?;
    }
    Ok(files)
}

fn look(dir: &Path, base: u64) -> Result<SegmentFile> {
    let path = segment::path_of(dir, base);
    let failed = |error: io::Error| storage("open", &path, &error);
    let file = File::open(&path).map_err(failed)?;
    let length = file.metadata().map_err(failed)?.len();
    let header = match segment::read_header(&file, base).map_err(failed)? {
        Header::Sound { before_ms, compacted } => Some((before_ms, compacted)),
        Header::Damaged => None,
        Header::Unknown(version) => {
            let path = path.display();
            let message = format!("{path} was written by a later version, in format {version}; use that version");
            return Err(Error::Storage(message.into()));
        }
    };
    Ok(SegmentFile { base, length, header })
}

/// What is in a segment; the last one is cut at the first bad frame, as it is going to be written to.
fn find(
    dir: &Path,
    file: &SegmentFile,
    following: Option<u64>,
    known_ms: i64,
    verify: bool,
    sum: &mut Sum,
) -> Result<Active> {
    let SegmentFile { base, length, header } = *file;
    let path = segment::path_of(dir, base);
    let failed = |error: io::Error| storage("open", &path, &error);
    let (sound, before_ms) = (header.is_some(), header.map_or(known_ms, |(before_ms, _)| before_ms));
    let compacted_to = header.and_then(|(_, offsets)| Some(base + offsets?));
    let ends = compacted_to.or(following);
    let file = File::options().read(true).write(ends.is_none()).open(&path).map_err(failed)?;
    let whole = End { offset: ends.unwrap_or(base), position: length };
    let end = if sound { whole } else { End { offset: base, ..whole } };
    let segment = Segment::new(path.clone(), base, before_ms, compacted_to.is_some(), end);
    let (mut first_ms, mut youngest_ms) = (None, before_ms);
    let end = if let Some(ends) = ends {
        if sound && (verify || following.is_none()) {
            let scanned = file.try_clone().and_then(|file| segment.scan(file, length, ends)).map_err(failed)?;
            segment.extend(End { position: length, ..scanned.end }, &[]); // on disk all of it counts
            youngest_ms = scanned.youngest_ms;
            sum.compacted += scanned.compacted;
            sum.lost += scanned.lost;
        }
        sum.lost += following.unwrap_or(ends) - segment.end().offset;
        segment.end()
    } else {
        if !sound {
            file.set_len(0).and_then(|()| segment::write_header(&file, base, before_ms)).map_err(failed)?;
            sum.torn_bytes += length;
        }
        let scanned = file.try_clone().and_then(|file| segment.scan(file, length, u64::MAX)).map_err(failed)?;
        (first_ms, youngest_ms) = (scanned.first_ms, scanned.youngest_ms);
        if sound && scanned.end.position < length {
            file.set_len(scanned.end.position).map_err(failed)?;
            sum.torn_bytes += length - scanned.end.position;
        }
        scanned.end
    };
    Ok(Active { segment: Arc::new(segment), file, end, first_ms, youngest_ms, torn: false })
}
