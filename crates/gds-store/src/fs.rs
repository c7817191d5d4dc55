//! What the store asks of a file system. Tests put one in its place that fails, tears writes and loses what was not synced.

use std::any::Any;
use std::fmt::Debug;
use std::fs::{self, DirBuilder, File};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;

use gds_process::lock::Lock;

/// Files and folders.
pub trait Fs: Debug + Send + Sync {
    /// Makes an empty file for its owner alone; one that is there becomes empty.
    fn create(&self, path: &Path) -> io::Result<Arc<dyn Writing>>;
    /// Opens a file for reading. It can be read on when its name is removed.
    fn open(&self, path: &Path) -> io::Result<Arc<dyn Reading>>;
    /// All bytes of a file.
    fn read(&self, path: &Path) -> io::Result<Vec<u8>>;
    /// The names in a folder, in order.
    fn list(&self, path: &Path) -> io::Result<Vec<String>>;
    /// Makes a folder for its owner alone, and those above it that are missing.
    fn make_dir(&self, path: &Path) -> io::Result<()>;
    /// Gives a file or folder another name. A file that had it is gone.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Gives a file a second name; copies it where that cannot be.
    fn link(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file.
    fn remove_file(&self, path: &Path) -> io::Result<()>;
    /// Removes a folder with all that is in it.
    fn remove_dir(&self, path: &Path) -> io::Result<()>;
    /// Has the names in a folder on the disk.
    fn sync_dir(&self, path: &Path) -> io::Result<()>;
    /// Keeps others from writing in a folder, until what it gives is dropped; nothing when another has it already.
    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn Any + Send + Sync>>>;
}

/// A file that is written to at its end.
pub trait Writing: Debug + Send + Sync {
    /// Appends all bytes. Where it fails, some of them may be there.
    fn append(&self, bytes: &[u8]) -> io::Result<()>;
    /// Cuts the file off.
    fn truncate(&self, length: u64) -> io::Result<()>;
    /// Has what was written on the disk.
    fn sync(&self) -> io::Result<()>;
}

/// A file that is read anywhere.
pub trait Reading: Debug + Send + Sync {
    /// Fills the buffer from an offset on.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()>;
    /// How many bytes it has.
    fn length(&self) -> io::Result<u64>;
}

/// The file system of the machine.
#[derive(Clone, Copy, Debug, Default)]
pub struct Disk;

impl Fs for Disk {
    fn create(&self, path: &Path) -> io::Result<Arc<dyn Writing>> {
        let file = File::options().create(true).append(true).mode(0o600).open(path)?;
        file.set_len(0)?;
        Ok(Arc::new(file))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn Reading>> {
        Ok(Arc::new(File::open(path)?))
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        fs::read(path)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        let mut names = fs::read_dir(path)?
            .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
            .collect::<io::Result<Vec<_>>>()?;
        names.sort();
        Ok(names)
    }

    fn make_dir(&self, path: &Path) -> io::Result<()> {
        DirBuilder::new().recursive(true).mode(0o700).create(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        match fs::hard_link(from, to) {
            Err(error) if matches!(error.kind(), io::ErrorKind::CrossesDevices | io::ErrorKind::Unsupported) => {
                let mut copy = File::options().create_new(true).write(true).mode(0o600).open(to)?;
                io::copy(&mut File::open(from)?, &mut copy)?;
                copy.sync_all()
            }
            done => done,
        }
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        fs::remove_dir_all(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        File::open(path)?.sync_all()
    }

    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn Any + Send + Sync>>> {
        let file = File::options().create(true).truncate(false).write(true).mode(0o600).open(path.join("lock"))?;
        match Lock::within(file, std::time::Duration::ZERO) {
            Ok(lock) => Ok(Some(Box::new(lock))),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error),
        }
    }
}

impl Writing for File {
    fn append(&self, bytes: &[u8]) -> io::Result<()> {
        let mut file = self;
        file.write_all(bytes)
    }

    fn truncate(&self, length: u64) -> io::Result<()> {
        self.set_len(length)
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_data()
    }
}

impl Reading for File {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.read_exact_at(buffer, offset)
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }
}
