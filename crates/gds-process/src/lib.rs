//! What a library has to know of the process it lives in: that it was [forked](fork), and [locks](lock) on files that
//! end with the process that took them.

pub mod fork;
#[cfg(unix)]
pub mod lock;
mod signals;

pub use signals::leave_signals;
