//! The short cut of a call site that repeats itself: the same `str` objects lead to the same series.
//!
//! Names, label names and most label values are constants of the program, so the very same objects come again and
//! again. A `str` never changes, so while this table holds a reference to each of them, equal addresses mean equal
//! text, and the series is found by comparing a few pointers: no text is read, hashed or compared, no lock is taken.
//! Text made anew for every call (a path, a user) misses and goes the ordinary way through the core's index.
#![allow(unsafe_code)]

use std::cell::{Cell, UnsafeCell};
use std::sync::Arc;

use gds_metrics::key::MetricKind;
use gds_metrics::series::Series;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString};

/// Call sites a collector remembers; a power of two. The table takes 76 KiB, from the first repeated call on.
const SLOTS: usize = 512;
/// Pairs of labels a remembered call site may have.
const MAX_LABELS: usize = 4;
const MAX_PARTS: usize = 1 + 2 * MAX_LABELS;

/// The objects of one call: name, then label names and values in turn.
pub(crate) struct CallObjects {
    objects: [*mut ffi::PyObject; MAX_PARTS],
    len: usize,
    hash: usize,
}

impl CallObjects {
    /// To be filled in place: this is the hot path, and a copy of it costs as much as filling it.
    #[inline]
    pub(crate) const fn empty() -> Self {
        Self { objects: [std::ptr::null_mut(); MAX_PARTS], len: 0, hash: 0 }
    }

    /// Takes the objects of a call; false if it has too many labels or labels that are no `dict`. Costs no reference
    /// counting.
    #[inline]
    pub(crate) fn fill(
        &mut self,
        kind: MetricKind,
        name: &Bound<'_, PyAny>,
        labels: Option<&Bound<'_, PyAny>>,
    ) -> bool {
        self.objects[0] = name.as_ptr();
        self.len = 1;
        if let Some(labels) = labels {
            let Ok(dict) = labels.cast_exact::<PyDict>() else { return false };
            let pairs = dict.len();
            if pairs > MAX_LABELS {
                return false;
            }
            let (mut position, mut key, mut value) = (0, std::ptr::null_mut(), std::ptr::null_mut());
            for pair in self.objects[1..].chunks_exact_mut(2).take(pairs) {
                // SAFETY: an exact dict, with the interpreter attached and no Python code run in between, so it keeps
                // its length. The pointers are borrowed from the caller's dict: they may be compared at any time, and
                // read through, or turned into references, only as long as no Python code ran (see `remember`).
                unsafe { ffi::PyDict_Next(dict.as_ptr(), &raw mut position, &raw mut key, &raw mut value) };
                pair.copy_from_slice(&[key, value]);
            }
            self.len += 2 * pairs;
        }
        // Rotating by the place keeps the objects' order in the hash, and each step apart from the others.
        let mut hash = kind as usize;
        let mut turn = 0;
        for object in self.get() {
            hash ^= object.addr().rotate_left(turn);
            turn += 7;
        }
        self.hash = hash.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        true
    }

    fn slot(&self) -> usize {
        (self.hash >> 48) % SLOTS
    }

    /// The objects, which live as long as the caller's arguments do unchanged.
    #[inline]
    pub(crate) fn get(&self) -> &[*mut ffi::PyObject] {
        &self.objects[..self.len]
    }
}

struct Site {
    kind: MetricKind,
    len: usize,
    /// The addresses of `kept`, here so that comparing them needs no other memory.
    objects: [*mut ffi::PyObject; MAX_PARTS],
    /// Kept alive by this table, so that an address means this text and no other.
    _kept: Box<[Py<PyString>]>,
    series: Arc<Series>,
    /// Whether it was found again since it was remembered.
    was_found: Cell<bool>,
}

/// Misses of a slot that are not worth a site after one was pushed out that nobody had found: text that is made anew for
/// every call often gets the address of the text before.
const PAUSE: u8 = u8::MAX;

#[derive(Default)]
struct Slot {
    site: Option<Site>,
    /// The call that missed here last: only what misses twice in a row is worth remembering.
    missed: usize,
    /// Misses still to let pass.
    pause: u8,
}

/// Call sites of one collector in one process.
pub(crate) struct CallSiteCache {
    slots: UnsafeCell<Vec<Slot>>,
}

// SAFETY: every access to `slots` takes a `Python` token, so it happens with the interpreter's lock held, and none of
// them runs Python code (freeing an exact `str` runs none) or lets the lock go: there is one access at a time. A wheel
// for the stable ABI of 3.10 cannot be loaded by an interpreter without that lock.
unsafe impl Sync for CallSiteCache {}
// SAFETY: holds nothing that belongs to a thread.
unsafe impl Send for CallSiteCache {}

impl Default for CallSiteCache {
    fn default() -> Self {
        Self { slots: UnsafeCell::new(Vec::new()) }
    }
}

impl CallSiteCache {
    /// Calls `found` with the series of a call that was made with the very same objects before.
    #[inline]
    pub(crate) fn find(&self, _attached: Python<'_>, kind: MetricKind, parts: &CallObjects) -> Option<&Series> {
        // SAFETY: see `Sync`. The series is kept alive by the slot, which changes only in `remember`: the caller is done
        // with it before that, and lets no other thread or Python code in between (it updates atomics).
        let slots = unsafe { &*self.slots.get() };
        let site = slots.get(parts.slot())?.site.as_ref()?;
        // Places beyond the length are null on both sides.
        let same = site.kind == kind && site.len == parts.len && site.objects == parts.objects;
        if !same || site.series.is_removed() {
            return None;
        }
        site.was_found.set(true);
        Some(&site.series)
    }

    /// Remembers the series of a call, the second time it asks. No Python code may have run since `parts` was filled.
    pub(crate) fn remember(
        &self,
        py: Python<'_>,
        kind: MetricKind,
        parts: &CallObjects,
        series: impl FnOnce() -> Option<Arc<Series>>,
    ) {
        // SAFETY: see `Sync`; `series` is called while no reference into the table exists.
        let missed_before = unsafe {
            let slots = &mut *self.slots.get();
            if slots.is_empty() {
                slots.resize_with(SLOTS, Slot::default);
            }
            let slot = &mut slots[parts.slot()];
            if slot.pause > 0 {
                slot.pause -= 1;
                return;
            }
            std::mem::replace(&mut slot.missed, parts.hash) == parts.hash
        };
        if !missed_before {
            return;
        }
        let kept = parts.get().iter().map(|object| {
            // SAFETY: the objects of the call that is under way: its dict still holds them, since no Python code ran
            // since they were taken from it. The reference made here is a strong one.
            let object = unsafe { Bound::from_borrowed_ptr(py, *object) };
            object.cast_into_exact::<PyString>().ok().map(Bound::unbind)
        });
        let Some(kept) = kept.collect::<Option<Box<[_]>>>() else { return };
        let Some(series) = series() else { return };
        let was_found = Cell::new(false);
        let site = Site { kind, len: parts.len, objects: parts.objects, _kept: kept, series, was_found };
        // SAFETY: see `Sync`. The site replaced is dropped after the table is left.
        let replaced = unsafe {
            let slot = &mut (&mut *self.slots.get())[parts.slot()];
            let replaced = slot.site.replace(site);
            if replaced.as_ref().is_some_and(|site| !site.was_found.get()) {
                slot.pause = PAUSE;
            }
            replaced
        };
        drop(replaced);
    }
}
