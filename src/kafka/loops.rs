//! One loop over the messages of a consumer.

use pyo3::prelude::*;
use pyo3::types::PyDict;

/// What `for` iterates over: what the loop leaves open when it ends early comes again in the next one.
#[pyclass(frozen, module = "gds_native._lib")]
pub(crate) struct ConsumerLoop(Box<Next>);

type Next = dyn for<'py> Fn(Python<'py>) -> PyResult<Option<Bound<'py, PyDict>>> + Send + Sync;

impl ConsumerLoop {
    pub(super) fn new(
        next: impl for<'py> Fn(Python<'py>) -> PyResult<Option<Bound<'py, PyDict>>> + Send + Sync + 'static,
    ) -> Self {
        Self(Box::new(next))
    }
}

#[pymethods]
impl ConsumerLoop {
    fn __iter__(this: PyRef<'_, Self>) -> PyRef<'_, Self> {
        this
    }

    fn __next__<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyDict>>> {
        (self.0)(py)
    }
}
