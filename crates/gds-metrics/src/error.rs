//! The one error type of this crate.

use std::io;
use std::path::Path;

/// What can go wrong where the caller can be told: at construction and in calls that are not on the observing path.
///
/// No message holds a secret: user information is cut from URLs, files of secrets are named and never quoted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A setting, a file or an address that cannot be used.
    #[error(transparent)]
    Unusable(#[from] gds_net::Error),
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
        gds_net::Error::setting(setting, value, expected).into()
    }

    /// A file or folder that cannot be used: the setting that named it, what to do, and what the system said.
    pub fn file(setting: &'static str, path: &Path, remedy: &'static str, source: io::Error) -> Self {
        gds_net::Error::File { setting, path: path.to_owned(), remedy, source }.into()
    }

    /// Whether the same call may succeed later without a change of settings.
    pub fn retriable(&self) -> bool {
        matches!(self, Self::Unreachable { .. })
    }
}

/// Result with this crate's error.
pub type Result<T> = std::result::Result<T, Error>;
