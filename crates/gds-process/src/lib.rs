//! What a library has to know of the process it lives in: that it was [forked](fork), [locks](lock) on files that end
//! with the process that took them, [calls](gate) that no fork may come between, such as those that look [names] up,
//! [random] numbers that a child does not share, and [locks for its threads](sync) that a fork does not break.

mod atomics {
    pub(crate) use std::sync::atomic::AtomicPtr;
}
pub mod fork;
pub mod gate;
mod generations;
#[cfg(unix)]
pub mod lock;
pub mod names;
#[cfg(test)]
mod ordering;
pub mod random;
mod signals;
pub mod sync;

pub use signals::leave_signals;
