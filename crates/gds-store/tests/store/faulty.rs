//! A file system in memory that stops at any point, tears what is written then, loses what was not synced, and gets full.

use std::any::Any;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use gds_store::fs::{Fs, Reading, Writing};

/// The file system; clones are the same one.
#[derive(Clone, Debug, Default)]
pub(crate) struct FaultyFs(Arc<Mutex<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    files: HashMap<u64, File>,
    next: u64,
    /// What there is, and what would be there after a power cut.
    live: Names,
    durable: Names,
    /// Changes until it stops.
    left: Option<u64>,
    stopped: bool,
    /// Whether it was the last change at which it stopped.
    stops_now: bool,
    /// Bytes that there is room for.
    room: Option<u64>,
    /// The folders that are locked.
    locked: BTreeSet<PathBuf>,
    /// For what is left to chance.
    chance: u64,
}

type Names = BTreeMap<PathBuf, Node>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Node {
    File(u64),
    /// A folder with the name of one that is gone is another folder.
    Folder(u64),
}

#[derive(Debug, Default)]
struct File {
    bytes: Vec<u8>,
    synced: Vec<u8>,
}

impl FaultyFs {
    /// Stops after so many changes.
    pub(crate) fn stop_after(&self, changes: u64, chance: u64) {
        let mut inner = self.inner();
        inner.left = Some(changes);
        inner.chance = chance | 1;
    }

    /// Whether it has stopped.
    pub(crate) fn stopped(&self) -> bool {
        self.inner().stopped
    }

    /// Goes on; after a power cut without what was not synced.
    pub(crate) fn restart(&self, power_cut: bool) {
        let mut inner = self.inner();
        inner.left = None;
        inner.stopped = false;
        inner.locked.clear();
        if power_cut {
            inner.live = inner.durable.clone();
            let mut chance = inner.chance;
            for file in inner.files.values_mut() {
                // What was written after the last sync may be there, from its beginning on.
                let kept = if file.bytes.starts_with(&file.synced) {
                    let more = (file.bytes.len() - file.synced.len()) as u64;
                    file.synced.len() + usize::try_from(next(&mut chance) % (more + 1)).unwrap()
                } else {
                    file.bytes = file.synced.clone();
                    file.synced.len()
                };
                file.bytes.truncate(kept);
                file.synced = file.bytes.clone();
            }
            inner.chance = chance;
        }
        inner.durable = inner.live.clone();
    }

    /// There is room for so many bytes more; for as many as come.
    pub(crate) fn room(&self, bytes: Option<u64>) {
        self.inner().room = bytes;
    }

    /// The files below a folder.
    pub(crate) fn files(&self, folder: &Path) -> Vec<PathBuf> {
        let inner = self.inner();
        inner
            .live
            .iter()
            .filter(|(path, node)| path.starts_with(folder) && matches!(node, Node::File(_)))
            .map(|(path, _)| path.clone())
            .collect()
    }

    /// Changes a byte of a file.
    pub(crate) fn flip(&self, path: &Path, at: usize, change: u8) {
        let mut inner = self.inner();
        let number = inner.number(path).expect("a file");
        let bytes = &mut inner.files.get_mut(&number).expect("a file").bytes;
        let at = at % bytes.len();
        bytes[at] ^= change;
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap()
    }

    /// A change that is not made where it has stopped.
    fn change(&self) -> io::Result<MutexGuard<'_, Inner>> {
        let mut inner = self.inner();
        inner.count()?;
        Ok(inner)
    }

    fn look(&self) -> io::Result<MutexGuard<'_, Inner>> {
        let inner = self.inner();
        if inner.stopped { Err(stopped()) } else { Ok(inner) }
    }
}

fn stopped() -> io::Error {
    io::Error::other("the file system has stopped")
}

fn missing() -> io::Error {
    io::Error::from(io::ErrorKind::NotFound)
}

fn next(chance: &mut u64) -> u64 {
    *chance ^= *chance << 13;
    *chance ^= *chance >> 7;
    *chance ^= *chance << 17;
    *chance
}

impl Inner {
    fn count(&mut self) -> io::Result<()> {
        self.stops_now = false;
        if let Some(left) = &mut self.left {
            if *left == 0 {
                (self.stopped, self.stops_now, self.left) = (true, true, None);
            } else {
                *left -= 1;
            }
        }
        if self.stopped { Err(stopped()) } else { Ok(()) }
    }

    fn number(&self, path: &Path) -> io::Result<u64> {
        match self.live.get(path) {
            Some(Node::File(number)) => Ok(*number),
            _ => Err(missing()),
        }
    }

    fn below(names: &Names, folder: &Path) -> Vec<(PathBuf, Node)> {
        names.iter().filter(|(path, _)| path.starts_with(folder)).map(|(path, file)| (path.clone(), *file)).collect()
    }
}

#[derive(Debug)]
struct Open {
    fs: FaultyFs,
    number: u64,
}

impl Fs for FaultyFs {
    fn create(&self, path: &Path) -> io::Result<Arc<dyn Writing>> {
        let mut inner = self.change()?;
        if inner.room == Some(0) {
            return Err(io::Error::from(io::ErrorKind::StorageFull));
        }
        inner.next += 1;
        let number = inner.next;
        inner.files.insert(number, File::default());
        inner.live.insert(path.to_owned(), Node::File(number));
        Ok(Arc::new(Open { fs: self.clone(), number }))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn Reading>> {
        let number = self.look()?.number(path)?;
        Ok(Arc::new(Open { fs: self.clone(), number }))
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        let inner = self.look()?;
        Ok(inner.files[&inner.number(path)?].bytes.clone())
    }

    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        let inner = self.look()?;
        if !matches!(inner.live.get(path), Some(Node::Folder(_))) {
            return Err(missing());
        }
        let name = |own: &PathBuf| own.file_name().unwrap().to_string_lossy().into_owned();
        Ok(inner.live.keys().filter(|own| own.parent() == Some(path)).map(name).collect())
    }

    fn make_dir(&self, path: &Path) -> io::Result<()> {
        let mut inner = self.change()?;
        for folder in path.ancestors().filter(|folder| folder.file_name().is_some()) {
            inner.next += 1;
            let node = Node::Folder(inner.next);
            let node = *inner.live.entry(folder.to_owned()).or_insert(node);
            // Folders that stay for good are there before anything that matters.
            if folder.extension().is_none() {
                inner.durable.entry(folder.to_owned()).or_insert(node);
            }
        }
        Ok(())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut inner = self.change()?;
        let moved = Inner::below(&inner.live, from);
        if moved.is_empty() {
            return Err(missing());
        }
        for (path, file) in moved {
            inner.live.remove(&path);
            let rest = path.strip_prefix(from).unwrap();
            let target = if rest.as_os_str().is_empty() { to.to_owned() } else { to.join(rest) };
            inner.live.insert(target, file);
        }
        Ok(())
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut inner = self.change()?;
        let number = inner.number(from)?;
        if inner.live.contains_key(to) {
            return Err(io::Error::from(io::ErrorKind::AlreadyExists));
        }
        inner.live.insert(to.to_owned(), Node::File(number));
        Ok(())
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        let mut inner = self.change()?;
        inner.number(path)?;
        inner.live.remove(path);
        Ok(())
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        let names = Inner::below(&self.look()?.live, path);
        if names.is_empty() {
            return Err(missing());
        }
        // One name after the other, what is deepest first.
        for (name, _) in names.into_iter().rev() {
            self.change()?.live.remove(&name);
        }
        Ok(())
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        let mut inner = self.change()?;
        let child = |own: &Path| own.parent() == Some(path);
        let gone: Vec<PathBuf> =
            inner.durable.keys().filter(|own| child(own) && !inner.live.contains_key(*own)).cloned().collect();
        for folder in gone {
            inner.durable.retain(|own, _| !own.starts_with(&folder));
        }
        let children: Vec<_> =
            inner.live.iter().filter(|(own, _)| child(own)).map(|(own, file)| (own.clone(), *file)).collect();
        for (own, node) in children {
            // A folder that is new here was synced under its old name.
            if matches!(node, Node::Folder(_)) && inner.durable.get(&own) != Some(&node) {
                inner.durable.retain(|other, _| !other.starts_with(&own));
                let all = Inner::below(&inner.live, &own);
                inner.durable.extend(all);
            }
            inner.durable.insert(own, node);
        }
        Ok(())
    }

    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn Any + Send + Sync>>> {
        let mut inner = self.change()?;
        if !inner.locked.insert(path.to_owned()) {
            return Ok(None);
        }
        Ok(Some(Box::new(Held { fs: self.clone(), path: path.to_owned() })))
    }
}

struct Held {
    fs: FaultyFs,
    path: PathBuf,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.fs.inner().locked.remove(&self.path);
    }
}

impl Writing for Open {
    fn append(&self, bytes: &[u8]) -> io::Result<()> {
        let mut guard = self.fs.inner();
        let inner = &mut *guard;
        let counted = inner.count();
        let file = inner.files.get_mut(&self.number).expect("a file");
        if let Err(error) = counted {
            // It stops in the middle of this.
            if inner.stops_now {
                let torn = usize::try_from(next(&mut inner.chance) % (bytes.len() as u64 + 1)).unwrap();
                file.bytes.extend_from_slice(&bytes[..torn]);
            }
            return Err(error);
        }
        if let Some(room) = &mut inner.room {
            let fitting = bytes.len().min(usize::try_from(*room).unwrap());
            *room -= fitting as u64;
            file.bytes.extend_from_slice(&bytes[..fitting]);
            if fitting < bytes.len() {
                return Err(io::Error::from(io::ErrorKind::StorageFull));
            }
            return Ok(());
        }
        file.bytes.extend_from_slice(bytes);
        Ok(())
    }

    fn truncate(&self, length: u64) -> io::Result<()> {
        let mut inner = self.fs.change()?;
        inner.files.get_mut(&self.number).expect("a file").bytes.truncate(usize::try_from(length).unwrap());
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let mut inner = self.fs.change()?;
        let file = inner.files.get_mut(&self.number).expect("a file");
        file.synced = file.bytes.clone();
        Ok(())
    }
}

impl Reading for Open {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let inner = self.fs.look()?;
        let bytes = &inner.files[&self.number].bytes;
        let from = usize::try_from(offset).unwrap();
        let read = bytes.get(from..from + buffer.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
        buffer.copy_from_slice(read);
        Ok(())
    }

    fn length(&self) -> io::Result<u64> {
        let inner = self.fs.look()?;
        Ok(inner.files[&self.number].bytes.len() as u64)
    }
}
