//! Locks that end with the process that took them, and never pass to its forked children.
//!
//! `flock` belongs to an opening of a file, which a forked child shares: a child's copy would keep the lock of a parent
//! that died. So children close their copy at once, and whoever lets go does so by name and not just by closing.

use std::fs::{self, File, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use crate::ParentOnly;

/// A lock on a file, exclusive unless it says otherwise, held until this is dropped or the process ends.
#[derive(Debug)]
pub struct Lock {
    file: ParentOnly<File>,
}

impl Lock {
    /// Waits for whoever has it, which must be for moments only.
    pub fn wait(file: File) -> io::Result<Self> {
        let lock = Self::over(file);
        loop {
            match flock(&*lock.file, FlockOperation::LockExclusive) {
                Ok(()) => return Ok(lock),
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Gives up on a holder that keeps it for longer than `timeout`.
    pub fn within(file: File, timeout: Duration) -> io::Result<Self> {
        let lock = Self::over(file);
        let deadline = Instant::now() + timeout;
        loop {
            match flock(&*lock.file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => return Ok(lock),
                Err(Errno::WOULDBLOCK | Errno::INTR) if Instant::now() < deadline => {
                    std::thread::sleep(Duration::from_millis(2));
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Lets others share it, now and from now on.
    pub fn shared(self) -> io::Result<Self> {
        loop {
            match flock(&*self.file, FlockOperation::LockShared) {
                Ok(()) => return Ok(self),
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Shares it with others, unless one has it for himself.
    pub fn try_share(file: File) -> io::Result<Self> {
        let lock = Self::over(file);
        flock(&*lock.file, FlockOperation::NonBlockingLockShared)?;
        Ok(lock)
    }

    /// Whether the file that is locked is the one at `path`, where others look for it.
    pub fn is_at(&self, path: &Path) -> bool {
        let identity = |found: Metadata| (found.dev(), found.ino());
        match (self.file.metadata(), fs::metadata(path)) {
            (Ok(own), Ok(there)) => identity(own) == identity(there),
            (_, Err(error)) => !matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory),
            (Err(_), _) => true, // cannot be told now
        }
    }

    /// Shares it with others, waiting for one who has it for himself, for moments only.
    pub fn share(file: File) -> io::Result<Self> {
        Self::over(file).shared()
    }

    /// Named to the fork handler before it is locked, so that no child is ever born with a locked copy.
    fn over(file: File) -> Self {
        Self { file: ParentOnly::new(file) }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        if self.file.is_here() {
            let _ = flock(&*self.file, FlockOperation::Unlock); // closing does it too, unless a child has a copy
        }
    }
}

/// Whether some process has `file` locked.
pub fn is_held(file: &File) -> bool {
    let held = flock(file, FlockOperation::NonBlockingLockExclusive).is_err();
    if !held {
        // By name: a child forked at this moment must not keep it.
        let _ = flock(file, FlockOperation::Unlock);
    }
    held
}
