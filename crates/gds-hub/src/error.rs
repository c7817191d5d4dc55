//! What can go wrong between a program and a hub.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Short for results of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Which exception the error becomes, and who can do something about it.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum ErrorKind {
    /// A setting that is unknown or makes no sense: the program is to be changed.
    Config,
    /// The hub cannot be reached, or does not let us in.
    Connection,
    /// The hub refuses this record, topic or request.
    Message,
    /// A value that cannot be written or read.
    Serialization,
    /// No answer in time; what was asked for may still happen.
    Timeout,
    /// The buffer is full and the program chose not to wait or drop.
    Full,
    /// The client is closed.
    Closed,
    /// A file of the embedded hub or the spool: full disk, no permission, another owner.
    Storage,
}

/// An error with what a caller needs to act on it.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Error {
    /// What kind of thing went wrong.
    pub kind: ErrorKind,
    /// For people; names the value, what was expected and what to do. Never holds a secret.
    pub message: String,
    /// librdkafka's number, where it has one.
    pub code: Option<i32>,
    /// Trying again later may help.
    pub retriable: bool,
    /// The client that said this is of no more use.
    pub fatal: bool,
}

impl Error {
    /// An error that neither goes away by itself nor ends the client.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), code: None, retriable: false, fatal: false }
    }

    /// A client that was closed is used.
    pub fn closed() -> Self {
        Self::new(ErrorKind::Closed, "the client is closed; make another one")
    }

    /// The same, with librdkafka's number.
    #[must_use]
    pub fn with_code(self, code: i32) -> Self {
        Self { code: Some(code), ..self }
    }

    /// The same, worth another try.
    #[must_use]
    pub fn retriable(self) -> Self {
        Self { retriable: true, ..self }
    }

    /// The same, and the end of this client.
    #[must_use]
    pub fn fatal(self) -> Self {
        Self { fatal: true, ..self }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}
