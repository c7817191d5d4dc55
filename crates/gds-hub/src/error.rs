//! What can go wrong between a program and a hub.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Short for results of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong. Whether it goes away, ends the client or has a number is [asked](Error::retriable) of all alike.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize, thiserror::Error)]
pub enum Error {
    /// A setting that is unknown or makes no sense: the program is to be changed.
    #[error("{0}")]
    Config(Failure),
    /// The hub cannot be reached, or does not let us in.
    #[error("{0}")]
    Connection(Failure),
    /// The hub refuses this record, topic or request.
    #[error("{0}")]
    Message(Failure),
    /// A value that cannot be written or read.
    #[error("{0}")]
    Serialization(Failure),
    /// No answer in time; what was asked for may still happen.
    #[error("{0}")]
    Timeout(Failure),
    /// The buffer is full and the program chose not to wait or drop.
    #[error("{0}")]
    Full(Failure),
    /// The client is closed.
    #[error("{0}")]
    Closed(Failure),
    /// A file of the embedded hub or the spool: full disk, no permission, another owner.
    #[error("{0}")]
    Storage(Failure),
}

/// What a caller needs to act on an error.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Failure {
    message: String,
    code: Option<i32>,
    recovery: Recovery,
}

/// What may help.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
enum Recovery {
    /// Another request, another setting: it does not go away by itself.
    Change,
    /// The same again, later.
    Retry,
    /// A new client: this one is of no more use.
    NewClient,
}

impl Error {
    /// A client that was closed is used.
    pub fn closed() -> Self {
        Self::Closed("the client is closed; make another one".into())
    }

    /// For people; names the value, what was expected and what to do. Never holds a secret.
    pub fn message(&self) -> &str {
        &self.failure().message
    }

    /// librdkafka's number, where it has one.
    pub fn code(&self) -> Option<i32> {
        self.failure().code
    }

    /// Whether trying again later may help, with the same client. Never together with [fatal](Self::fatal).
    pub fn retriable(&self) -> bool {
        self.failure().recovery == Recovery::Retry
    }

    /// Whether the client that said this is of no more use. Whether a new one would help, the message says.
    pub fn fatal(&self) -> bool {
        self.failure().recovery == Recovery::NewClient
    }

    /// What happened, to be said as an error of another kind.
    #[must_use]
    pub fn into_failure(self) -> Failure {
        self.failure().clone()
    }

    fn failure(&self) -> &Failure {
        match self {
            Self::Config(failure)
            | Self::Connection(failure)
            | Self::Message(failure)
            | Self::Serialization(failure)
            | Self::Timeout(failure)
            | Self::Full(failure)
            | Self::Closed(failure)
            | Self::Storage(failure) => failure,
        }
    }
}

impl Failure {
    /// One that neither goes away by itself nor ends the client.
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), code: None, recovery: Recovery::Change }
    }

    /// The same, with librdkafka's number.
    #[must_use]
    pub fn with_code(self, code: i32) -> Self {
        Self { code: Some(code), ..self }
    }

    /// The same, worth another try.
    #[must_use]
    pub fn retriable(self) -> Self {
        Self { recovery: Recovery::Retry, ..self }
    }

    /// The same, and the end of this client.
    #[must_use]
    pub fn fatal(self) -> Self {
        Self { recovery: Recovery::NewClient, ..self }
    }
}

impl From<String> for Failure {
    fn from(message: String) -> Self {
        Self::new(message)
    }
}

impl From<&str> for Failure {
    fn from(message: &str) -> Self {
        Self::new(message)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}
