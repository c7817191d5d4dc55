//! Python objects that are looked for once.

use once_cell::race::OnceBox;
use pyo3::prelude::*;

/// A value that is made at its first use and kept.
///
/// Unlike with `PyOnceLock` nobody waits for anybody: where several threads find none, each makes one, and the first is
/// kept. Whoever makes it may let go of the interpreter meanwhile, as imports do, and be left behind by a fork: a child
/// that waited for that thread would wait for ever.
pub(crate) struct Made<T>(OnceBox<T>);

impl<T> Made<T> {
    pub(crate) const fn new() -> Self {
        Self(OnceBox::new())
    }

    #[inline]
    pub(crate) fn get(&self) -> Option<&T> {
        self.0.get()
    }

    /// The value, made by `make` if there is none. The interpreter is held, since one made in vain is let go of.
    #[inline]
    pub(crate) fn get_or_try_init<E>(
        &self,
        _attached: Python<'_>,
        make: impl FnOnce() -> Result<T, E>,
    ) -> Result<&T, E> {
        self.0.get_or_try_init(|| make().map(Box::new))
    }
}
