//! What a library has to know of the process it lives in: that it was [forked](fork), [locks](lock) on files that end
//! with the process that took them, [calls](gate) that no fork may come between, such as those that [resolve] names,
//! [random] numbers that a child does not share, and [locks for its threads](sync) that a fork does not break, and the [time](clock).

mod atomics {
    pub(crate) use std::sync::atomic::AtomicPtr;
}
pub mod clock;
pub mod fork;
pub mod gate;
#[cfg(unix)]
pub mod lock;
#[cfg(test)]
mod ordering;
#[cfg(unix)]
mod parent_only;
mod per_process;
pub mod random;
pub mod resolve;
mod signals;
#[cfg(unix)]
mod slots;
pub mod sync;

#[cfg(unix)]
pub use parent_only::ParentOnly;
pub use per_process::PerProcess;
pub use signals::leave_signals;

use std::marker::PhantomData;
use std::ptr::null_mut;
use std::sync::atomic::AtomicPtr;

impl<T> PerProcess<T> {
    /// Nothing yet.
    pub const fn new() -> Self {
        Self { first: AtomicPtr::new(null_mut()), shared: PhantomData }
    }
}

impl<T> Default for PerProcess<T> {
    fn default() -> Self {
        Self::new()
    }
}
