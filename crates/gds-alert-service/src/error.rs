//! What can go wrong around the engine.

use std::path::Path;

use gds_alerting::problem::Problems;

/// Short for results of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong. None of the texts holds a credential.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A rules file that cannot be used.
    #[error("{0}")]
    Rules(#[from] Problems),
    /// A channel that cannot be used as it is configured.
    #[error("channel {channel}: {message}")]
    Channel {
        /// Its name in the rules file.
        channel: String,
        /// What is wrong, what was expected, and what to do.
        message: String,
    },
    /// The hub cannot be used.
    #[error("{0}")]
    Hub(#[from] gds_hub::Error),
    /// State cannot be read or written.
    #[error("{0}")]
    Store(String),
    /// The service has ended.
    #[error("the alerting service has ended; start another one")]
    Ended,
}

impl Error {
    pub(crate) fn store(path: &Path, what: &str, why: impl std::fmt::Display) -> Self {
        Self::Store(format!("{}: {what}: {why}", path.display()))
    }
}
