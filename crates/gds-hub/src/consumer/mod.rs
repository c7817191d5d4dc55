//! What stands between a hub and a program that reads.
//!
//! A [`Consumer`] fetches messages in batches and gives them out one by one or in lists, has the program's parser make
//! something of each, puts aside what it cannot read, commits what the program has finished with, and follows
//! partitions that come and go. It is used by one thread at a time and never calls the program while it waits.
//!
//! A message counts as finished when the loop that was given it asks for more ([how far a program has come](Offsets));
//! what was not finished comes again, in the next loop or after a restart. Failures of the hub are errors of the call
//! that met them; a commit that can be tried again is, at the next fetch.

mod dead_letter;
mod offsets;
mod poll;
#[cfg(test)]
mod tests;

pub use dead_letter::{DEAD_LETTER_TIMEOUT, DeadLetterOutcome, DeadLetterStatus};
pub use offsets::Offsets;
pub use poll::{Consumer, ConsumerCounts, ConsumerOptions, Next, OnError, ParseError};

/// Called with what people should know, by whichever thread found it; no lock of this crate is held meanwhile.
pub type Warn = dyn Fn(&str) + Send + Sync;
