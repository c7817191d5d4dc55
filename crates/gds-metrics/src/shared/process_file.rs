//! The file of a process in a shared folder, with what keeps others from it.

use std::fs::{File, OpenOptions};
use std::io;
use std::path::Path;

use gds_process::lock::Lock;
use rustix::fs::{FallocateFlags, fallocate};

/// Ending of the files of processes.
pub(super) const EXTENSION: &str = "gds";
/// Ending of files that are not complete yet.
pub(super) const TEMPORARY: &str = "tmp";

/// A file in the folder, and what keeps others from it.
#[derive(Debug)]
pub(super) struct ProcessFile {
    pub(super) file: File,
    /// Held open only for its lock: the lock ends when the last descriptor of *this* opening goes, and a mapping would
    /// count as one, so it must not be the opening that is mapped.
    pub(super) lock: Lock,
    /// systemd-tmpfiles leaves a folder and all below it alone while somebody has a lock on it.
    _folder: Option<Lock>,
}

impl ProcessFile {
    /// Makes an empty file with a lock, where none is.
    pub(super) fn create(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().read(true).write(true).create_new(true).open(path)?;
        let lock = File::open(path).and_then(Lock::wait).inspect_err(|_| drop(std::fs::remove_file(path)))?;
        let folder =
            path.parent().and_then(|folder| File::open(folder).ok()).and_then(|folder| Lock::try_share(folder).ok());
        Ok(Self { file, lock, _folder: folder })
    }
}

/// Gives the file real blocks, so that a full disk is an error here and not a signal at some later increment.
pub(super) fn reserve(file: &File, start: usize, len: usize) -> io::Result<()> {
    match fallocate(file, FallocateFlags::empty(), start as u64, len as u64) {
        Ok(()) => Ok(()),
        Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) => {
            use std::os::unix::fs::FileExt;
            file.write_all_at(&vec![0; len], start as u64)
        }
        Err(error) => Err(error.into()),
    }
}
