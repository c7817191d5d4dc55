//! The short cut of a call site that repeats itself: the same `str` objects lead to the same series.
//!
//! Names, label names and most label values are constants of the program, so the very same objects come again and
//! again. A `str` never changes, so while this table holds a reference to each of them, equal addresses mean equal
//! text, and the series is found by comparing a few pointers: no text is read, hashed or compared, no lock is taken.
//! Text made anew for every call (a path, a user) misses and goes the ordinary way through the core's index.
#![allow(unsafe_code)]

use std::cell::UnsafeCell;
use std::sync::Arc;

use gds_metrics::key::Kind;
use gds_metrics::series::Series;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString};

/// Call sites a collector remembers; a power of two. A page of them costs 4 KiB and is filled on demand.
const SLOTS: usize = 512;
/// Pairs of labels a remembered call site may have.
const MAX_LABELS: usize = 4;
const MAX_PARTS: usize = 1 + 2 * MAX_LABELS;

/// The objects of one call: name, then label names and values in turn.
pub(crate) struct Parts {
    objects: [*mut ffi::PyObject; MAX_PARTS],
    len: usize,
    kind: Kind,
    hash: usize,
}

impl Parts {
    /// The objects of a call, unless it has too many labels or labels that are no `dict`. Costs no reference counting.
    #[inline]
    pub(crate) fn of(kind: Kind, name: &Bound<'_, PyAny>, labels: Option<&Bound<'_, PyAny>>) -> Option<Self> {
        let mut parts = Self { objects: [std::ptr::null_mut(); MAX_PARTS], len: 1, kind, hash: kind as usize };
        parts.objects[0] = name.as_ptr();
        if let Some(labels) = labels {
            let dict = labels.cast_exact::<PyDict>().ok()?;
            let (mut position, mut key, mut value) = (0, std::ptr::null_mut(), std::ptr::null_mut());
            // SAFETY: an exact dict, with the interpreter attached and no Python code run in between. The borrowed
            // pointers are compared and, in `remember`, turned into references while the caller's dict still holds
            // them; they are never read through.
            while unsafe { ffi::PyDict_Next(dict.as_ptr(), &raw mut position, &raw mut key, &raw mut value) } != 0 {
                let places = parts.objects.get_mut(parts.len..parts.len + 2)?;
                places.copy_from_slice(&[key, value]);
                parts.len += 2;
            }
        }
        for object in &parts.objects[..parts.len] {
            // Objects lie 16 bytes apart; multiplying spreads what is above those bits.
            parts.hash = (parts.hash.rotate_left(5) ^ (object.addr() >> 4)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        }
        Some(parts)
    }

    fn slot(&self) -> usize {
        (self.hash >> 32) % SLOTS
    }

    #[inline]
    fn get(&self) -> &[*mut ffi::PyObject] {
        &self.objects[..self.len]
    }
}

struct Site {
    kind: Kind,
    /// Kept alive by this table, so that an address means this text and no other.
    parts: Box<[Py<PyString>]>,
    series: Arc<Series>,
}

#[derive(Default)]
struct Slot {
    site: Option<Site>,
    /// The call that missed here last: only what misses twice in a row is worth remembering.
    missed: usize,
}

/// Call sites of one collector in one process.
pub(crate) struct Sites {
    slots: UnsafeCell<Vec<Slot>>,
}

// SAFETY: every access to `slots` takes a `Python` token, so it happens with the interpreter's lock held, and none of
// them runs Python code (freeing an exact `str` runs none) or lets the lock go: there is one access at a time. A wheel
// for the stable ABI of 3.10 cannot be loaded by an interpreter without that lock.
unsafe impl Sync for Sites {}
// SAFETY: holds nothing that belongs to a thread.
unsafe impl Send for Sites {}

impl Default for Sites {
    fn default() -> Self {
        Self { slots: UnsafeCell::new(Vec::new()) }
    }
}

impl Sites {
    /// Calls `found` with the series of a call that was made with the very same objects before.
    #[inline]
    pub(crate) fn find(&self, _attached: Python<'_>, parts: &Parts) -> Option<&Series> {
        // SAFETY: see `Sync`. The reference into the table ends here; the series is kept alive by the family that lists
        // it or, expired, by the slot, which changes only in `remember`, after the caller is done with it.
        let slots = unsafe { &*self.slots.get() };
        let site = slots.get(parts.slot())?.site.as_ref()?;
        let same = site.kind == parts.kind
            && site.parts.len() == parts.len
            && site.parts.iter().zip(parts.get()).all(|(kept, given)| kept.as_ptr() == *given);
        (same && !site.series.is_removed()).then_some(&*site.series)
    }

    /// Remembers the series of a call, the second time it asks.
    pub(crate) fn remember(&self, py: Python<'_>, parts: &Parts, series: impl FnOnce() -> Option<Arc<Series>>) {
        // SAFETY: see `Sync`; `series` is called while no reference into the table exists.
        let missed_before = unsafe {
            let slots = &mut *self.slots.get();
            if slots.is_empty() {
                slots.resize_with(SLOTS, Slot::default);
            }
            std::mem::replace(&mut slots[parts.slot()].missed, parts.hash) == parts.hash
        };
        if !missed_before {
            return;
        }
        let kept = parts.get().iter().map(|object| {
            // SAFETY: the objects of the call that is under way.
            let object = unsafe { Bound::from_borrowed_ptr(py, *object) };
            object.cast_into_exact::<PyString>().ok().map(Bound::unbind)
        });
        let Some(kept) = kept.collect::<Option<Box<[_]>>>() else { return };
        let Some(series) = series() else { return };
        let site = Site { kind: parts.kind, parts: kept, series };
        // SAFETY: see `Sync`. The site replaced is dropped after the table is left.
        let replaced = unsafe { (&mut *self.slots.get())[parts.slot()].site.replace(site) };
        drop(replaced);
    }
}
