//! Letting go of what waits for threads that may want the interpreter.

use std::ops::Deref;

use pyo3::prelude::*;

/// A value that is dropped with the interpreter released: its threads may be waiting for it, to log or to tell outcomes.
pub(crate) struct DropDetached<T: Send>(Option<T>);

impl<T: Send> DropDetached<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(Some(value))
    }
}

impl<T: Send> Deref for DropDetached<T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.0.as_ref().expect("taken in drop only")
    }
}

impl<T: Send> Drop for DropDetached<T> {
    fn drop(&mut self) {
        let Some(value) = self.0.take() else { return };
        let mut value = Some(value);
        let dropped = Python::try_attach(|py| py.detach(|| drop(value.take())));
        if dropped.is_none() {
            // The interpreter is ending: threads that want it would be waited for in vain.
            std::mem::forget(value);
        }
    }
}
