//! The one error type of this crate.

use std::io;
use std::path::PathBuf;

/// What can go wrong where the caller can be told: at construction and in calls that are not on the observing path.
///
/// No message holds a secret: user information is cut from URLs, files of secrets are named and never quoted.
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
    /// Another server was not reached or did not answer in time.
    #[error("cannot reach {url}: {reason}")]
    Unreachable {
        /// Where, without user information.
        url: String,
        /// Why.
        reason: String,
        /// Whether it was a time-out.
        timed_out: bool,
    },
    /// What sends there was closed by the program.
    #[error("cannot send to {url}: it was closed")]
    Closed {
        /// Where, without user information.
        url: String,
    },
    /// Another server answered, and refused.
    #[error("{url} answered {status}{}{body}", if body.is_empty() { "" } else { ": " })]
    Refused {
        /// Where, without user information.
        url: String,
        /// The status or code it gave.
        status: String,
        /// The start of what it said.
        body: String,
    },
}

impl Error {
    /// A setting whose value cannot be used.
    pub fn setting(setting: &'static str, value: &(impl ToString + ?Sized), expected: impl Into<String>) -> Self {
        Self::Setting { setting, value: value.to_string(), expected: expected.into() }
    }

    /// Whether the same call may succeed later without a change of settings.
    pub fn retriable(&self) -> bool {
        matches!(self, Self::Unreachable { .. })
    }
}

impl From<gds_net::Error> for Error {
    fn from(error: gds_net::Error) -> Self {
        match error {
            gds_net::Error::Setting { setting, value, expected } => Self::Setting { setting, value, expected },
            gds_net::Error::File { setting, path, remedy, source } => Self::File { setting, path, remedy, source },
            gds_net::Error::Listen { addr, port, remedy, source } => Self::Listen { addr, port, remedy, source },
            other => Self::Setting { setting: "server", value: String::new(), expected: other.to_string() },
        }
    }
}

/// Result with this crate's error.
pub type Result<T> = std::result::Result<T, Error>;
