//! Opening a log: finding out what the last process, or a power cut, left.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use gds_process::sync::Mutex;

use super::segment::{self, End, Header, Segment};
use super::{Active, Log, LogOptions, SharedSegments, storage};
use crate::error::{Error, ErrorKind, Result};
use crate::private;

/// What was found when a log was opened.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Recovered {
    /// Entries that are there.
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
        let bases = bases(dir).map_err(|error| storage("read", dir, &error))?;
        let mut recovered = Recovered::default();
        let mut segments = VecDeque::new();
        let mut active = None;
        let (mut bytes, mut before_ms) = (0, i64::MIN);
        for (place, base) in bases.iter().enumerate() {
            let following = bases.get(place + 1).copied();
            let path = segment::path_of(dir, *base);
            let found = find(&path, *base, following, before_ms, options.verify, &mut recovered)?;
            before_ms = found.segment.before_ms;
            bytes += found.end.position;
            segments.push_back(found.segment.clone());
            active = Some(found); // the last one stays
        }
        let first = bases.first().copied().unwrap_or(0);
        let next = active.as_ref().map_or(0, |active| active.end.offset);
        recovered.entries = next - first - recovered.lost;
        let log = Self {
            dir: dir.to_owned(),
            options,
            shared: Arc::new(SharedSegments { segments: Mutex::new(segments), next: AtomicU64::new(next) }),
            active,
            bytes,
            buffer: Vec::new(),
            marks: Vec::new(),
            // What an earlier process appended may not be on disk yet.
            unsynced_from: first,
            unsynced_dirs: made_dirs,
            dirty: true,
            sync_error: None,
        };
        Ok((log, recovered))
    }
}

/// The first offsets of all segments, in order. Other files are left alone.
fn bases(dir: &Path) -> io::Result<Vec<u64>> {
    let mut bases = Vec::new();
    for entry in fs::read_dir(dir)? {
        bases.extend(segment::base_of(&entry?.path()));
    }
    bases.sort_unstable();
    Ok(bases)
}

/// What is in a segment; the last one is cut at the first bad frame, as it is going to be written to.
fn find(
    path: &Path,
    base: u64,
    following: Option<u64>,
    known_ms: i64,
    verify: bool,
    recovered: &mut Recovered,
) -> Result<Active> {
    let failed = |error: io::Error| storage("open", path, &error);
    let file = File::options().read(true).write(following.is_none()).open(path).map_err(failed)?;
    let length = file.metadata().map_err(failed)?.len();
    let header = segment::read_header(&file, base).map_err(failed)?;
    let (before_ms, sound) = match header {
        Header::Sound(before_ms) => (before_ms, true),
        Header::Damaged => (known_ms, false),
        Header::Unknown(version) => {
            let path = path.display();
            let message = format!("{path} was written by a later version, in format {version}; use that version");
            return Err(Error::new(ErrorKind::Storage, message));
        }
    };
    let whole = End { offset: following.unwrap_or(base), position: length };
    let segment =
        Segment::new(path.to_owned(), base, before_ms, if sound { whole } else { End { offset: base, ..whole } });
    let mut youngest_ms = before_ms;
    let end = match following {
        None => {
            if !sound {
                file.set_len(0).and_then(|()| segment::write_header(&file, base, before_ms)).map_err(failed)?;
                recovered.torn_bytes += length;
            }
            let scanned = file.try_clone().and_then(|file| segment.scan(file, length, u64::MAX)).map_err(failed)?;
            let end;
            (end, youngest_ms) = scanned;
            if sound && end.position < length {
                file.set_len(end.position).map_err(failed)?;
                recovered.torn_bytes += length - end.position;
            }
            end
        }
        Some(following) => {
            if sound && verify {
                let scanned = file.try_clone().and_then(|file| segment.scan(file, length, following));
                let (end, _) = scanned.map_err(failed)?;
                segment.extend(End { position: length, ..end }, &[]); // on disk all of it counts
            }
            recovered.lost += following - segment.end().offset;
            segment.end()
        }
    };
    Ok(Active { segment: Arc::new(segment), file, end, youngest_ms, torn: false })
}
