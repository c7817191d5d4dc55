//! The folder of one process: its lock, its log, and the mark below which everything is done.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io;
use std::ops::Range;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use gds_process::lock::Lock;

use super::acks::Acks;
use crate::error::{Error, Kind, Result};
use crate::log::{Log, LogOptions};
use crate::private;

const LOCK: &str = "lock";
const MARK: &str = "mark";
const SEGMENT_BYTES: u64 = 16 << 20;

/// The folder's number in ids; 15 bits.
const NUMBERS: u16 = 1 << 15;

#[derive(Debug)]
pub(in crate::producer) struct Folder {
    pub(super) dir: PathBuf,
    pub(super) name: String,
    pub(super) number: u16,
    pub(super) log: Log,
    pub(super) acks: Acks,
    /// The sender has read all below.
    pub(super) read_to: u64,
    mark: File,
    written: u64,
    /// Where the next mark is written.
    place: u64,
    lock: Option<Lock>,
}

impl Folder {
    /// A new folder for this process.
    pub(super) fn create(parent: &Path, max_bytes: u64) -> Result<Self> {
        let name = format!("{}-{:016x}", std::process::id(), rand::random::<u64>());
        let dir = parent.join(&name);
        private::make_dirs(&dir).map_err(|error| storage("make", &dir, &error))?;
        let lock = lock_in(&dir, true)?.ok_or_else(|| {
            Error::new(Kind::Storage, format!("{}: locked by another process, though just made", dir.display()))
        })?;
        Self::open(dir, name, 0, lock, max_bytes)
    }

    fn open(dir: PathBuf, name: String, number: u16, lock: Lock, max_bytes: u64) -> Result<Self> {
        let options = LogOptions { segment_bytes: SEGMENT_BYTES, max_bytes: Some(max_bytes), ..LogOptions::default() };
        let (mut log, _) = Log::open(&dir.join("log"), options)?;
        let path = dir.join(MARK);
        let opened = private::options().truncate(false).open(&path);
        let mark = opened.map_err(|error| storage("open", &path, &error))?;
        let places = read_places(&mark);
        let place = u64::from(places[0] > places[1]);
        let written = places.into_iter().flatten().max().unwrap_or(0).max(log.first_offset());
        // A power cut may have taken records that were done; their offsets are not given to others.
        log.skip_to(written)?;
        Ok(Self {
            dir,
            name,
            number,
            log,
            acks: Acks::new(written),
            read_to: written,
            mark,
            written,
            place,
            lock: Some(lock),
        })
    }

    pub(super) fn has_unread(&self) -> bool {
        self.read_to < self.log.next_offset()
    }

    /// Records that are not done.
    pub(super) fn pending(&self) -> u64 {
        self.acks.open(self.log.next_offset())
    }

    /// Makes room by dropping the oldest segments; the records that nobody has seen and now nobody will.
    pub(super) fn drop_oldest(&mut self, keep_bytes: u64) -> Result<Range<u64>> {
        self.log.expire(None, Some(keep_bytes))?;
        let first = self.log.first_offset();
        // Those the sender has read are in its hands or the hub's, and their outcome will be known.
        let dropped = self.read_to.min(first)..first;
        for offset in dropped.clone() {
            self.acks.done(offset);
        }
        self.read_to = self.read_to.max(first);
        Ok(dropped)
    }

    /// Gives back the disk that records which are done take.
    pub(super) fn forget(&mut self) -> Result<()> {
        if self.acks.mark() > self.written {
            self.written = self.acks.mark();
            write_mark(&self.mark, self.place, self.written)
                .map_err(|error| storage("write", &self.dir.join(MARK), &error))?;
            self.place = 1 - self.place;
            self.log.trim_to(self.written)?;
        }
        Ok(())
    }

    /// When the oldest record that is not done was appended; milliseconds since the epoch.
    pub(super) fn oldest_ms(&self) -> Option<i64> {
        let mut oldest = None;
        if self.pending() > 0 {
            let read = |entry: crate::log::Entry<'_>| oldest = Some(entry.time_ms);
            let _ = self.log.reader(self.acks.mark()).next_batch(self.acks.mark() + 1, 1, read);
        }
        oldest
    }

    /// Removes it with all it holds, which must be done.
    pub(super) fn remove(mut self) {
        self.take_away();
    }

    /// Lets go of it, so that another process can have it.
    pub(super) fn leave(mut self) {
        self.end();
    }

    /// Lets go of it; if everything is done, removes it.
    pub(super) fn end(&mut self) {
        let _ = self.forget();
        if self.pending() == 0 {
            self.take_away();
        }
        self.lock = None;
    }

    fn take_away(&mut self) {
        // The lock goes last: who waits for it finds nothing to adopt.
        let _ = fs::remove_dir_all(self.dir.join("log"));
        let _ = fs::remove_file(self.dir.join(MARK));
        let _ = fs::remove_file(self.dir.join(LOCK));
        let _ = fs::remove_dir(&self.dir);
        self.lock = None;
    }
}

/// Takes over the folders of processes that ended, oldest first; those that hold nothing are removed.
pub(super) fn adopt(parent: &Path, max_bytes: u64, own: &Folder) -> Result<VecDeque<Folder>> {
    let entries = fs::read_dir(parent).map_err(|error| storage("read", parent, &error))?;
    let mut found: Vec<_> = entries
        .filter_map(|entry| {
            let entry = entry.ok()?;
            let name = entry.file_name().into_string().ok()?;
            let made = entry.metadata().ok().filter(fs::Metadata::is_dir)?.created().ok();
            (name != own.name && is_name(&name)).then_some((made, name))
        })
        .collect();
    found.sort();
    let mut adopted = VecDeque::new();
    for (_, name) in found {
        let number = u16::try_from(adopted.len() + 1).unwrap_or(NUMBERS);
        if number >= NUMBERS {
            break; // the next process has the rest
        }
        let dir = parent.join(&name);
        let Some(lock) = lock_in(&dir, false)? else { continue };
        let folder = Folder::open(dir, name, number, lock, max_bytes)?;
        if folder.pending() == 0 {
            folder.remove();
        } else {
            adopted.push_back(folder);
        }
    }
    Ok(adopted)
}

/// Whether a folder may be one of ours: `pid-16 hexadecimal digits`.
fn is_name(name: &str) -> bool {
    name.split_once('-').is_some_and(|(pid, random)| {
        pid.bytes().all(|byte| byte.is_ascii_digit())
            && random.len() == 16
            && random.bytes().all(|byte| byte.is_ascii_hexdigit())
    })
}

/// The lock of a folder, unless another process has it or the folder is going away.
fn lock_in(dir: &Path, create: bool) -> Result<Option<Lock>> {
    let path = dir.join(LOCK);
    let file = match private::options().create(create).truncate(false).open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(storage("open", &path, &error)),
    };
    let inode = file.metadata().map(|metadata| metadata.ino());
    let Ok(lock) = Lock::within(file, Duration::ZERO) else { return Ok(None) };
    // Its owner may have removed it between the opening and the locking.
    let still = fs::metadata(&path).is_ok_and(|metadata| inode.is_ok_and(|inode| metadata.ino() == inode));
    Ok(still.then_some(lock))
}

/// There are two places, each for a mark and its checksum, written in turn: one of them is always whole.
fn write_mark(file: &File, place: u64, mark: u64) -> io::Result<()> {
    let mut bytes = [0; 12];
    bytes[..8].copy_from_slice(&mark.to_le_bytes());
    bytes[8..].copy_from_slice(&crc32fast::hash(&mark.to_le_bytes()).to_le_bytes());
    file.write_all_at(&bytes, place * 12)
}

fn read_places(file: &File) -> [Option<u64>; 2] {
    let read = |place: u64| {
        let mut bytes = [0; 12];
        file.read_exact_at(&mut bytes, place * 12).ok()?;
        let (mark, sum) = bytes.split_at(8);
        (crc32fast::hash(mark).to_le_bytes() == sum).then(|| u64::from_le_bytes(mark.try_into().unwrap_or_default()))
    };
    [read(0), read(1)]
}

fn storage(what: &str, path: &Path, error: &io::Error) -> Error {
    let message =
        format!("cannot {what} {}: {error}; spool_dir must be a folder this program may write to", path.display());
    Error::new(Kind::Storage, message)
}
