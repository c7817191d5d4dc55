//! What a library has to know of the process it lives in: that it was [forked](fork), [locks](lock) on files that end
//! with the process that took them, and [names] looked up so that a fork does not break it.

pub mod fork;
#[cfg(unix)]
pub mod lock;
pub mod names;
mod signals;

pub use signals::leave_signals;
