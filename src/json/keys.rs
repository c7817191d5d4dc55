//! Keys of objects that came before: message after message has the same ones.
//!
//! A key that is found needs no new `str`, and has its hash already. There is one table; who reads takes it along, and
//! who finds it taken, in another thread or in a finalizer that runs in the middle of a reading, does without.

use gds_process::sync::Mutex;
use pyo3::prelude::*;
use pyo3::types::PyString;

/// Longer ones are rare, and not repeated that often.
const LONGEST: usize = 39;
/// A power of two.
const SLOTS: usize = 1024;

/// Held to take or to put back only.
static SHELF: Mutex<Shelf> = Mutex::new(Shelf::Unused);

enum Shelf {
    Unused,
    Taken,
    Here(Keys),
}

/// The table, in the hands of one who reads.
pub(super) struct Keys(Box<[Slot]>);

#[derive(Default)]
struct Slot {
    key: Option<Py<PyString>>,
    length: u8,
    text: Text,
}

/// [`Default`] for a size that the standard library has none for.
struct Text([u8; LONGEST]);

impl Default for Text {
    fn default() -> Self {
        Self([0; LONGEST])
    }
}

impl Keys {
    pub(super) fn take() -> Option<Self> {
        match std::mem::replace(&mut *SHELF.lock(), Shelf::Taken) {
            Shelf::Unused => Some(Self((0..SLOTS).map(|_| Slot::default()).collect())),
            Shelf::Taken => None,
            Shelf::Here(keys) => Some(keys),
        }
    }

    pub(super) fn put_back(self) {
        *SHELF.lock() = Shelf::Here(self);
    }

    /// The `str` of this text.
    #[inline]
    pub(super) fn get<'py>(&mut self, py: Python<'py>, text: &str) -> Bound<'py, PyString> {
        let bytes = text.as_bytes();
        if bytes.len() > LONGEST {
            return PyString::new(py, text);
        }
        let slot = &mut self.0[place(bytes)];
        if let Some(key) = &slot.key
            && usize::from(slot.length) == bytes.len()
            && slot.text.0[..bytes.len()] == *bytes
        {
            return key.bind(py).clone();
        }
        let made = PyString::new(py, text);
        slot.text.0[..bytes.len()].copy_from_slice(bytes);
        slot.length = u8::try_from(bytes.len()).unwrap_or(u8::MAX);
        // Letting go of a `str` runs no Python code.
        slot.key = Some(made.clone().unbind());
        made
    }
}

/// Where a key is kept. That programs can make keys collide costs a new `str` for each, as without the table.
#[inline]
fn place(bytes: &[u8]) -> usize {
    const MIX: u64 = 0x9e37_79b9_7f4a_7c15;
    let mut hash = bytes.len() as u64;
    let (words, rest) = bytes.as_chunks::<8>();
    for word in words {
        hash = (hash.rotate_left(5) ^ u64::from_le_bytes(*word)).wrapping_mul(MIX);
    }
    let mut last = 0;
    for &byte in rest {
        last = last << 8 | u64::from(byte);
    }
    hash = (hash.rotate_left(5) ^ last).wrapping_mul(MIX);
    // The high bits are the well mixed ones; there are 64 of them.
    #[allow(clippy::cast_possible_truncation)]
    let place = (hash >> 54) as usize;
    place % SLOTS
}
