//! One loop over the messages of a consumer.

use pyo3::prelude::*;
use pyo3::types::PyDict;

use super::consumer::ConsumerCore;

/// What `for` iterates over: what the loop leaves open when it ends early comes again in the next one.
#[pyclass(frozen, module = "gds_native._lib")]
pub(crate) struct ConsumerLoop {
    consumer: Py<ConsumerCore>,
    number: u64,
}

impl ConsumerLoop {
    pub(super) fn new(consumer: Py<ConsumerCore>, number: u64) -> Self {
        Self { consumer, number }
    }
}

#[pymethods]
impl ConsumerLoop {
    fn __iter__(this: PyRef<'_, Self>) -> PyRef<'_, Self> {
        this
    }

    fn __next__<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyDict>>> {
        self.consumer.get().next_of(py, self.number)
    }
}
