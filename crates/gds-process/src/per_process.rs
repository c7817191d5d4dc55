//! The list behind [`PerProcess`], written so that the tests can have all orders of its steps tried.

// The nodes of the list; each use with its proof.
#![allow(unsafe_code)]

use std::marker::PhantomData;
use std::ptr::null_mut;
use std::sync::OnceLock;
use std::sync::atomic::Ordering;

use super::atomics::AtomicPtr;
use crate::fork::{generation, watch};

/// A value for each process: a forked child makes its own on first use, whatever state the parent's was in.
///
/// The parent's value stays in the child's memory, untouched and unused, and is not dropped there with the rest: a lock
/// in it may have been held by a thread that the child does not have, a descriptor may be another file's by now.
#[derive(Debug)]
pub struct PerProcess<T> {
    // Not a `OnceLock`: one that another thread was just filling at the time of a fork stays so in the child for good.
    pub(super) first: AtomicPtr<Generation<T>>,
    /// May be shared and sent as a `OnceLock` may, for the same reasons.
    pub(super) shared: PhantomData<OnceLock<T>>,
}

#[derive(Debug)]
pub(super) struct Generation<T> {
    number: u32,
    value: T,
    next: AtomicPtr<Generation<T>>,
}

impl<T> PerProcess<T> {
    /// This process's value, if it has one.
    #[inline]
    pub fn get(&self) -> Option<&T> {
        let number = generation();
        // SAFETY: a pointer in the list is null or was made from a box by `get_or_init`, which published it with
        // release; nodes are freed in `drop` only, and only borrowed as shared until then.
        let mut node = unsafe { self.first.load(Ordering::Acquire).as_ref() }?;
        while node.number != number {
            // SAFETY: as above.
            node = unsafe { node.next.load(Ordering::Acquire).as_ref() }?;
        }
        Some(&node.value)
    }

    /// This process's value, made by `make` if it has none. When several threads find none, each makes one and the
    /// first one is kept: nobody waits for a thread that a fork may have taken away.
    pub fn get_or_init(&self, make: impl FnOnce() -> T) -> &T {
        watch();
        if let Some(value) = self.get() {
            return value;
        }
        let number = generation();
        let made = Box::into_raw(Box::new(Generation { number, value: make(), next: AtomicPtr::new(null_mut()) }));
        let mut place = &self.first;
        loop {
            let put = place.compare_exchange(null_mut(), made, Ordering::AcqRel, Ordering::Acquire);
            // SAFETY: as in `get`; `made` is in the list now.
            let node = unsafe { &*put.map_or_else(|other| other, |_| made) };
            if put.is_ok() {
                return &node.value;
            }
            if node.number == number {
                // SAFETY: made from a box above, and not put into the list.
                drop(unsafe { Box::from_raw(made) });
                return &node.value;
            }
            place = &node.next;
        }
    }
}

impl<T> Drop for PerProcess<T> {
    fn drop(&mut self) {
        let number = generation();
        let mut next = self.first.load(Ordering::Relaxed);
        while !next.is_null() {
            let node = next;
            // SAFETY: as in `get`; nobody else has the list any more.
            next = unsafe { (*node).next.load(Ordering::Relaxed) };
            // SAFETY: the same, and `next` was read before.
            if unsafe { (*node).number } == number {
                drop(unsafe { Box::from_raw(node) });
            }
        }
    }
}
