//! Files and sockets that forked children do not have.

use std::mem;
use std::ops::Deref;
use std::os::fd::AsFd;

use crate::fork;

/// A file or socket of the process that made this, and of none of its forked children: they close their copy at once,
/// so that what the system does when the last copy is closed does not wait for them. In a child it must not be used.
#[derive(Debug)]
pub struct ParentOnly<T: AsFd> {
    /// Always there, but in drop.
    owned: Option<T>,
    close_in_child: Option<fork::ChildClose>,
    generation: u32,
}

impl<T: AsFd> ParentOnly<T> {
    /// Named to the fork handler from here on.
    pub fn new(owned: T) -> Self {
        fork::watch();
        let close_in_child = Some(fork::close_in_child(&owned));
        Self { owned: Some(owned), close_in_child, generation: fork::generation() }
    }

    /// Whether this is the process that made it.
    pub fn is_here(&self) -> bool {
        self.generation == fork::generation()
    }
}

impl<T: AsFd> Deref for ParentOnly<T> {
    type Target = T;

    fn deref(&self) -> &T {
        let Some(owned) = &self.owned else { unreachable!("taken in drop only") };
        owned
    }
}

impl<T: AsFd> Drop for ParentOnly<T> {
    fn drop(&mut self) {
        drop(self.close_in_child.take()); // first, so that no child closes a number that means another file by then
        if !self.is_here() {
            // Closed by the fork handler; its number may be another file's by now.
            mem::forget(self.owned.take());
        }
    }
}
