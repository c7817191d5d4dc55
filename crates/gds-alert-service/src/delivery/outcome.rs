//! What became of an attempt.

use std::time::Duration;

/// What a receiver has made of a message. Reasons hold no credential.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It has it.
    Delivered,
    /// It does not want it, and will not the next time either.
    Refused(String),
    /// It is away or busy; where it says for how long, not before that.
    Retry {
        /// What went wrong.
        reason: String,
        /// When it wants to be asked again.
        after: Option<Duration>,
    },
}

impl Outcome {
    pub(super) fn retry(reason: impl Into<String>) -> Self {
        Self::Retry { reason: reason.into(), after: None }
    }
}
