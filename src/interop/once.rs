//! Python objects that are looked for once.

use std::convert::Infallible;

use once_cell::race::OnceBox;
use pyo3::prelude::*;
use pyo3::types::{PyMapping, PyString};

/// A value that is made at its first use and kept.
///
/// Unlike with `PyOnceLock` nobody waits for anybody: where several threads find none, each makes one, and the first is
/// kept. Whoever makes it may let go of the interpreter meanwhile, as imports do, and be left behind by a fork: a child
/// that waited for that thread would wait for ever.
pub(crate) struct RaceOnce<T>(OnceBox<T>);

impl<T> RaceOnce<T> {
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

/// A `str` literal as a Python string, made once.
pub(crate) struct Interned(&'static str, RaceOnce<Py<PyString>>);

impl Interned {
    pub(crate) const fn new(text: &'static str) -> Self {
        Self(text, RaceOnce::new())
    }

    #[inline]
    pub(crate) fn get<'py>(&self, py: Python<'py>) -> &Bound<'py, PyString> {
        let make = || Ok::<_, Infallible>(PyString::intern(py, self.0).unbind());
        let Ok(made) = self.1.get_or_try_init(py, make);
        made.bind(py)
    }
}

/// As pyo3's `intern!`, which holds a `PyOnceLock`.
macro_rules! interned {
    ($py:expr, $text:expr) => {{
        static TEXT: $crate::interop::once::Interned = $crate::interop::once::Interned::new($text);
        TEXT.get($py)
    }};
}
pub(crate) use interned;

/// Has pyo3 make what it keeps in `PyOnceLock`s of its own and what reports come across, while the module is imported:
/// no other thread has it yet, so no fork finds one half made.
pub(crate) fn make_ready(py: Python<'_>) -> PyResult<()> {
    let mapping = py.get_type::<PyMapping>();
    mapping.name()?;
    mapping.qualname()?;
    mapping.fully_qualified_name()?;
    Ok(())
}
