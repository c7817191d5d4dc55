//! The shared folder as a whole: who lives, what the dead left, and the merge of all.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::format::{self, FamilyText, HEADER_LEN, RECORD_LEN};
use super::merge::{Merged, Taking};
use super::process_file::{EXTENSION, TEMPORARY};
use super::reader::{Item, Reader};
use crate::cells;
use crate::error::{Error, Result};
use crate::exemplar;
use crate::key::MetricKind;
use gds_process::lock::{self, Lock};

/// The file of everything the dead counted.
const ARCHIVE: &str = "archive.gds-archive";
/// What it is written to first. One name, so that scrapes killed at it leave one file and not many.
const NEXT_ARCHIVE: &str = "archive.gds-archive-next";
/// The lock that lets one process at a time fold and read.
const LOCK: &str = "lock";
/// What an unreadable file is renamed to, so that it is counted once and a person can look at it.
const TORN: &str = "torn";
/// A scrape gives up on a process that holds the folder for longer: it was stopped in the middle of its own.
const TIMEOUT: Duration = Duration::from_secs(5);
/// A folder that is removed again and again while it is read is given up after so many times.
const REMOVALS: usize = 3;
/// An incomplete file without a lock was left by a process that was killed while it made it, or its maker is between
/// two calls and has not locked it yet: only age tells.
const ABANDONED: Duration = Duration::from_secs(60);

/// A folder shared by the processes of one program.
#[derive(Clone, Debug)]
pub struct Folder {
    path: PathBuf,
}

/// What a scrape of the folder found.
#[derive(Debug, Default)]
pub struct Merge {
    /// All series.
    pub merged: Merged,
    /// Files that made no sense and were left out.
    pub torn: usize,
    /// Files of dead processes folded into the archive.
    pub folded: usize,
}

impl Folder {
    /// Uses `path`, making it if needed.
    pub fn open(path: &Path) -> Result<Self> {
        let folder = Self { path: path.to_owned() };
        folder.make().map_err(|source| folder.unusable(source))?;
        Ok(folder)
    }

    fn make(&self) -> io::Result<()> {
        fs::create_dir_all(&self.path)?;
        self.lock_file().map(drop)
    }

    pub(crate) fn unusable(&self, source: io::Error) -> Error {
        let remedy = "name a folder on a local disk that this program may write to";
        Error::file("multiprocess_dir", &self.path, remedy, source)
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn lock_file(&self) -> io::Result<File> {
        File::options().create(true).truncate(false).write(true).open(self.path.join(LOCK))
    }

    /// The lock by its name: one on a file that was removed meanwhile keeps nobody out.
    fn lock(&self, timeout: Duration) -> io::Result<Lock> {
        loop {
            let lock = Lock::within(self.lock_file()?, timeout)?;
            if lock.is_at(&self.path.join(LOCK)) {
                return Ok(lock);
            }
        }
    }

    /// Folds the dead and adds up all.
    pub fn merge(&self) -> Result<Merge> {
        let mut merged = self.merge_within(TIMEOUT);
        for _ in 0..REMOVALS {
            // Somebody removes the folder, or what is in it, while it is read.
            if !merged.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::NotFound) {
                break;
            }
            merged = self.make().and_then(|()| self.merge_within(TIMEOUT));
        }
        let remedy =
            "see that the folder is there, writable, and that no process of the program is stopped in a scrape";
        merged.map_err(|source| Error::file("multiprocess_dir", &self.path, remedy, source))
    }

    fn merge_within(&self, timeout: Duration) -> io::Result<Merge> {
        let _lock = self.lock(timeout)?;
        let mut merge = Merge::default();
        let mut folded_before = Vec::new();
        if let Ok(file) = File::open(self.path.join(ARCHIVE)) {
            let archive = Reader::open(&file);
            match archive.as_ref().map(|archive| merge.merged.add(archive, Taking::Live)) {
                Ok(Ok(())) => folded_before = archive.map(|archive| names(&archive)).unwrap_or_default(),
                _ => self.set_aside(ARCHIVE, &mut merge),
            }
        }
        // Gone already, unless a scrape was killed before it could remove them. What still stays must stay known.
        let mut named = folded_before.len();
        folded_before.retain(|name| remove(&self.path.join(name)).is_err());
        let (living, dead) = self.files(&folded_before, &mut merge)?;
        let (mut folded, mut found) = (folded_before, 0);
        for (name, reader) in dead {
            if merge.merged.add(&reader, Taking::Dead).is_ok() {
                folded.push(name);
                found += 1;
            } else {
                self.set_aside(&name, &mut merge);
            }
        }
        // On a full disk the files of the dead stay as they are, on this page and until there is room.
        if found > 0 && self.write_archive(&merge.merged, &folded).is_ok() {
            merge.folded = found;
            named = folded.len();
            found = 0;
            // Named in the archive, none of them is counted again.
            folded.retain(|name| remove(&self.path.join(name)).is_err());
        }
        // Names of files that are gone would be read, and looked for, by every scrape from now on.
        if found == 0 && folded.len() < named {
            let _ = self.write_archive(&merge.merged, &folded);
        }
        for reader in &living {
            // A living process's file is left where it is: its owner goes on writing to it.
            merge.torn += usize::from(merge.merged.add(reader, Taking::Live).is_err());
        }
        merge.merged.settle_names();
        Ok(merge)
    }

    /// Opens the file of every process, alive and dead, but those that the archive contains.
    #[allow(clippy::type_complexity)] // the living, and the dead with their names
    fn files(&self, folded: &[String], merge: &mut Merge) -> io::Result<(Vec<Reader>, Vec<(String, Reader)>)> {
        let (mut living, mut dead) = (Vec::new(), Vec::new());
        for entry in fs::read_dir(&self.path)? {
            let path = entry?.path();
            let (Some(name), Some(extension)) = (path.file_name().and_then(|name| name.to_str()), path.extension())
            else {
                continue;
            };
            if extension == TEMPORARY {
                clear_abandoned(&path);
            }
            if extension != EXTENSION || folded.iter().any(|folded| folded == name) {
                continue;
            }
            let file = match File::open(&path) {
                Ok(file) => file,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                    merge.torn += 1;
                    continue;
                }
                Err(error) => return Err(error),
            };
            let alive = lock::is_held(&file);
            match Reader::open(&file) {
                Ok(reader) if alive => living.push(reader),
                Ok(reader) => dead.push((name.to_owned(), reader)),
                Err(_) if alive => merge.torn += 1,
                Err(_) => self.set_aside(name, merge),
            }
        }
        Ok((living, dead))
    }

    /// Leaves a file out, of this page and, where the folder may be written to, of the next.
    fn set_aside(&self, name: &str, merge: &mut Merge) {
        merge.torn += 1;
        let path = self.path.join(name);
        let _ = fs::rename(&path, path.with_extension(TORN));
    }

    /// Replaces the archive in one step; `folded` are the files it contains and that are there yet.
    pub(super) fn write_archive(&self, merged: &Merged, folded: &[String]) -> io::Result<()> {
        let next = self.path.join(NEXT_ARCHIVE);
        // Made anew, whatever a scrape that was killed left there; this one holds the lock.
        remove(&next)?;
        let mut file = File::options().write(true).create_new(true).open(&next)?;
        let written = file.write_all(&archive_bytes(merged, folded)).and_then(|()| file.sync_data());
        if let Err(error) = written.and_then(|()| fs::rename(&next, self.path.join(ARCHIVE))) {
            let _ = remove(&next);
            return Err(error);
        }
        Ok(())
    }
}

/// Removes what a process left that was killed while it made its file.
fn clear_abandoned(path: &Path) {
    let age =
        fs::metadata(path).and_then(|metadata| metadata.modified()).map(|time| time.elapsed().unwrap_or_default());
    if age.is_ok_and(|age| age > ABANDONED) && File::open(path).is_ok_and(|file| !lock::is_held(&file)) {
        let _ = remove(path);
    }
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

fn names(archive: &Reader) -> Vec<String> {
    let mut names = Vec::new();
    let _ = archive.for_each(|item| {
        if let Item::Folded(name) = item {
            names.push(name.to_owned());
        }
        Ok(())
    });
    names
}

fn archive_bytes(merged: &Merged, folded: &[String]) -> Vec<u8> {
    let mut out = vec![0; HEADER_LEN];
    for name in folded {
        push_record(&mut out, format::FOLDED, 0, 0, name.as_bytes(), &[]);
    }
    for (number, family) in (0_u64..).zip(&merged.families) {
        let way = u64::from(family.kind as u8) | u64::from(family.aggregation as u8) << 8;
        let text =
            FamilyText { name: &family.name, help: &family.help, unit: &family.unit, bounds: family.bounds.to_vec() };
        push_record(&mut out, format::FAMILY, number, way, &text.encode(), &[]);
        for series in &family.series {
            let record = out.len() as u64;
            let mut row = vec![series.updated];
            if family.kind.is_distribution() {
                let count = series.raw[1..].iter().fold(0_u64, |sum, more| sum.wrapping_add(*more));
                row.extend([count, count]); // as many observations finished as were started
            }
            row.extend(&series.raw);
            push_record(&mut out, format::SERIES, number, row.len() as u64, series.text.as_bytes(), &row);
            if series.low != 0.0 {
                push_record(&mut out, format::CARRY, record, series.low.to_bits(), &[], &[]);
            }
            if !series.exemplars.is_empty() {
                let slots = if family.kind == MetricKind::Counter { 1 } else { family.bounds.len() + 1 };
                let cells = cells::Cells::private(exemplar::cells_len(slots));
                series.exemplars.iter().for_each(|one| exemplar::store(cells.get(), one));
                let row: Vec<u64> =
                    cells.get().iter().map(|cell| cell.load(std::sync::atomic::Ordering::Relaxed)).collect();
                push_record(&mut out, format::EXEMPLARS, record, row.len() as u64, &[], &row);
            }
        }
    }
    let used = out.len() as u64;
    out[..8].copy_from_slice(&format::MAGIC.to_ne_bytes());
    out[format::USED_AT..format::USED_AT + 8].copy_from_slice(&used.to_ne_bytes());
    out
}

fn push_record(out: &mut Vec<u8>, kind: u32, a: u64, b: u64, text: &[u8], cells: &[u64]) {
    let length = RECORD_LEN + format::padded(text.len()) + cells.len() * 8;
    let words = [length, format::checksum(kind, a, b, text) as usize, kind as usize, text.len()];
    for word in words {
        out.extend(u32::try_from(word).unwrap_or(u32::MAX).to_ne_bytes());
    }
    out.extend(a.to_ne_bytes());
    out.extend(b.to_ne_bytes());
    out.extend(text);
    out.resize(out.len().next_multiple_of(8), 0);
    for cell in cells {
        out.extend(cell.to_ne_bytes());
    }
}
