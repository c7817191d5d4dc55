//! What surrounds the engine of `gds-alerting`: samples from a hub go in, state is kept, notifications arrive.
//!
//! ```text
//! hub -> intake -> engine -> one transaction: journal, outbox, history -> workers of channels -> receivers
//!                                  (redb)                                  (delivered: out of the outbox)
//! ```
//!
//! A [`Service`] reads the metric topics as the group `gds-alerting-{group}`. What it evaluates is written to a journal
//! together with what comes of it, in one transaction of a local [store], before anybody is told or the hub is
//! told how far it came. So after any end of the process the state is that of the last transaction, its notifications are
//! in the outbox, and what was read again is known to have been evaluated.

pub mod api;
mod asking;
mod credentials;
mod delivery;
mod error;
mod evaluator;
mod intake;
mod service;
pub mod store;
mod survey;

pub use credentials::Credentials;
pub use delivery::{Channels, Counts};
pub use error::{Error, Result};
pub use service::{Options, Service};
pub use survey::metrics;

use std::time::{SystemTime, UNIX_EPOCH};

/// Called with what people should know: lines for a terminal or a log. By any thread; it must not wait.
pub type Say = dyn Fn(Said<'_>) + Send + Sync;

/// What people are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Said<'a> {
    /// A notification of a channel of type `log`, in several lines.
    Notification(&'a str),
    /// Something is not as it should be, and what follows from it.
    Warning(&'a str),
    /// What was begun or ended.
    Note(&'a str),
}

/// The clock, in milliseconds since 1970.
fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}
