//! The one error type of this crate.

use std::io;
use std::path::PathBuf;

/// What can go wrong, all of it at construction.
///
/// No message holds a secret: files of secrets are named and never quoted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A setting has a value that cannot be used.
    #[error("{setting}={value}: expected {expected}")]
    Setting {
        /// The setting as the user spells it.
        setting: &'static str,
        /// What was given.
        value: String,
        /// What would have been taken, and what to do.
        expected: String,
    },
    /// A file or folder cannot be used.
    #[error("{setting}={}: {source}; {remedy}", path.display())]
    File {
        /// The setting that named it.
        setting: &'static str,
        /// The path.
        path: PathBuf,
        /// What to do.
        remedy: &'static str,
        /// What the operating system said.
        source: io::Error,
    },
    /// An address cannot be listened on.
    #[error("cannot listen on {addr} port {port}: {source}; {remedy}")]
    Listen {
        /// The address asked for.
        addr: String,
        /// The port asked for.
        port: u16,
        /// What to do.
        remedy: &'static str,
        /// What the operating system said.
        source: io::Error,
    },
}

impl Error {
    /// A setting whose value cannot be used.
    pub fn setting(setting: &'static str, value: &(impl ToString + ?Sized), expected: impl Into<String>) -> Self {
        Self::Setting { setting, value: value.to_string(), expected: expected.into() }
    }
}

/// Result with this crate's error.
pub type Result<T> = std::result::Result<T, Error>;
