//! What can go wrong.

use std::io;
use std::path::{Path, PathBuf};

use crate::codec::Damaged;

/// Why the store did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The disk has no room left, or the user no quota. What is stored can be read meanwhile.
    #[error("no room to write {}: free space, the store goes on by itself then", path.display())]
    Full {
        /// What was written.
        path: PathBuf,
    },
    /// The system refused something else.
    #[error("{what} {}: {source}", path.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file is not what was written.
    #[error("{} is damaged: {what}", path.display())]
    Damaged {
        /// Which one.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// A file was written by a newer version.
    #[error("{} has format {found}, expected at most {known}: open it with the version that wrote it", path.display())]
    Format {
        /// Which one.
        path: PathBuf,
        /// Its format.
        found: u8,
        /// The newest known one.
        known: u8,
    },
    /// Another process writes to the folder.
    #[error("{} is open in another process: close it there, or open it for reading only", path.display())]
    Locked {
        /// The folder.
        path: PathBuf,
    },
    /// The folder holds something, where nothing may be.
    #[error("{} is not empty: expected a new folder", path.display())]
    NotEmpty {
        /// The folder.
        path: PathBuf,
    },
    /// The store was opened for reading only.
    #[error("the store is open for reading only")]
    ReadOnly,
    /// More samples wait in memory than may: they are written to parts more slowly than they come.
    #[error("{held} bytes of samples are in memory, at most {allowed} may (max_head_bytes): call maintain more often")]
    HeadFull {
        /// How many there are.
        held: usize,
        /// How many may be.
        allowed: usize,
    },
    /// A setting that cannot be.
    #[error("{0}")]
    Setting(String),
}

impl Error {
    /// Whether trying the same again can help.
    pub fn retriable(&self) -> bool {
        match self {
            Self::Full { .. } | Self::Locked { .. } | Self::HeadFull { .. } => true,
            Self::Io { source, .. } => {
                matches!(
                    source.kind(),
                    io::ErrorKind::Interrupted | io::ErrorKind::TimedOut | io::ErrorKind::ResourceBusy
                )
            }
            Self::Damaged { .. } | Self::Format { .. } | Self::NotEmpty { .. } | Self::ReadOnly | Self::Setting(_) => {
                false
            }
        }
    }

    /// From what the system said about a file.
    pub(crate) fn io(what: &'static str, path: &Path, source: io::Error) -> Self {
        let path = path.to_owned();
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::Full { path },
            _ => Self::Io { what, path, source },
        }
    }

    /// From what a decoder said about a file.
    pub(crate) fn damaged(path: &Path, damaged: &Damaged) -> Self {
        Self::Damaged { path: path.to_owned(), what: damaged.to_string() }
    }
}

/// Names the file that an operation was about.
pub(crate) trait OnPath<T> {
    /// Says what was tried on which file, where it failed.
    fn on(self, what: &'static str, path: &Path) -> Result<T, Error>;
}

impl<T> OnPath<T> for io::Result<T> {
    fn on(self, what: &'static str, path: &Path) -> Result<T, Error> {
        self.map_err(|error| Error::io(what, path, error))
    }
}

impl<T> OnPath<T> for Result<T, Damaged> {
    fn on(self, _: &'static str, path: &Path) -> Result<T, Error> {
        self.map_err(|error| Error::damaged(path, &error))
    }
}
