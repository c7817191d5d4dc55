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
use crate::error::{Error, Result};
use crate::log::{Log, LogOptions};
use crate::private;

const LOCK: &str = "lock";
const MARK: &str = "mark";
const SEGMENT_BYTES: u64 = 16 << 20;

/// Numbers of folders in ids have 15 bits. This process's own comes after those of processes that ended.
pub(super) const OWN: u16 = (1 << 15) - 1;

/// What follows the name of a folder that its process has not locked yet.
const UNFINISHED: &str = ".new";

#[derive(Debug)]
pub(in crate::producer) struct Folder {
    pub(super) dir: PathBuf,
    pub(super) name: String,
    pub(super) number: u16,
    pub(super) log: Log,
    pub(super) acks: Acks,
    mark: File,
    written: u64,
    /// Where the next mark is written.
    place: u64,
    lock: Option<Lock>,
}

impl Folder {
    /// A new folder for this process, with its name on the disk if that is asked for.
    ///
    /// It gets the name by which others know it when it is locked: until then it is nobody's to take over.
    pub(super) fn create(parent: &Path, max_bytes: u64, on_disk: bool) -> Result<Self> {
        let made = private::make_dirs_noting(parent).map_err(|error| storage("make", parent, &error))?;
        let (dir, name, lock) = loop {
            let name = format!("{}-{:016x}", std::process::id(), gds_process::random::random::<u64>());
            let unfinished = parent.join(format!("{name}{UNFINISHED}"));
            private::make_dirs(&unfinished).map_err(|error| storage("make", &unfinished, &error))?;
            // None if another process took it for one that was left behind.
            if let Some(lock) = lock_in(&unfinished, true)? {
                let dir = parent.join(&name);
                fs::rename(&unfinished, &dir).map_err(|error| storage("make", &dir, &error))?;
                break (dir, name, lock);
            }
        };
        if on_disk {
            for dir in made.iter().map(PathBuf::as_path).chain([parent]) {
                private::sync_dir(dir).map_err(|error| storage("sync", dir, &error))?;
            }
        }
        Self::open(dir, name, OWN, lock, max_bytes)
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
        Ok(Self { dir, name, number, log, acks: Acks::new(written), mark, written, place, lock: Some(lock) })
    }

    /// Offsets of all that is not known to be done.
    pub(super) fn open_offsets(&self) -> Range<u64> {
        self.acks.mark()..self.log.next_offset()
    }

    /// Records that are not done.
    pub(super) fn pending(&self) -> u64 {
        self.acks.open(self.log.next_offset())
    }

    /// Makes room by dropping the oldest segments; the offset of the first record that stays.
    pub(super) fn drop_oldest(&mut self, keep_bytes: u64) -> Result<u64> {
        self.log.expire(None, Some(keep_bytes))?;
        Ok(self.log.first_offset())
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
            let first = self.acks.mark().max(self.log.first_offset());
            let _ = self.log.reader(first).next_batch(first + 1, 1, read);
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

/// Takes over the folders of processes that ended, those with the oldest records first; those that hold nothing are
/// removed. What cannot be taken over stays as it is, for whoever can: why is told in words.
pub(super) fn adopt(parent: &Path, max_bytes: u64) -> Result<(VecDeque<Folder>, Vec<String>)> {
    let entries = match fs::read_dir(parent) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok((VecDeque::new(), Vec::new())),
        entries => entries.map_err(|error| storage("read", parent, &error))?,
    };
    let mut found: Vec<_> = entries
        .filter_map(|entry| {
            let entry = entry.ok()?;
            let name = entry.file_name().into_string().ok()?;
            let made = entry.metadata().ok().filter(fs::Metadata::is_dir)?.created().ok();
            is_name(name.strip_suffix(UNFINISHED).unwrap_or(&name)).then_some((made, name))
        })
        .collect();
    found.sort();
    let (mut adopted, mut left_alone) = (Vec::new(), Vec::new());
    for (_, name) in found {
        if adopted.len() >= usize::from(OWN) {
            break; // the next process has the rest
        }
        let dir = parent.join(&name);
        let taken = lock_in(&dir, false).and_then(|lock| {
            if name.ends_with(UNFINISHED) {
                // Its process ended before it was locked, or is about to lock it and finds that it is gone.
                let _ = lock.as_ref().map(|_| fs::remove_file(dir.join(LOCK)));
                let _ = fs::remove_dir(&dir);
                return Ok(None);
            }
            let Some(lock) = lock else { return Ok(None) };
            Folder::open(dir.clone(), name, OWN, lock, max_bytes).map(Some)
        });
        match taken {
            Ok(Some(folder)) if folder.pending() == 0 => folder.remove(),
            Ok(Some(folder)) => adopted.push(folder),
            Ok(None) => {}
            Err(error) => left_alone.push(format!("what {} holds waits for another start: {error}", dir.display())),
        }
    }
    adopted.sort_by_cached_key(Folder::oldest_ms); // stable: else as they were made
    for (folder, number) in adopted.iter_mut().zip(0..) {
        folder.number = number;
    }
    Ok((adopted.into(), left_alone))
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
    let lock = match Lock::within(file, Duration::ZERO) {
        Ok(lock) => lock,
        Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {
            return Ok(None);
        }
        Err(error) => return Err(storage("lock", &path, &error)),
    };
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
    Error::Storage(message.into())
}
