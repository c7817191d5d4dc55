//! `NoOpMetrics`: the collector of a program that has none.

use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};

/// Does nothing, as cheaply as a call can.
#[pyclass(frozen, subclass, module = "gds_metrics")]
pub(crate) struct NoOpMetrics;

#[pymethods]
#[allow(clippy::unused_self, clippy::trivially_copy_pass_by_ref)]
impl NoOpMetrics {
    // Takes whatever a subclass's `__init__` takes.
    #[new]
    #[pyo3(signature = (*_args, **_kwargs))]
    fn new(_args: &Bound<'_, PyTuple>, _kwargs: Option<&Bound<'_, PyDict>>) -> Self {
        Self
    }

    #[pyo3(signature = (name, value = None, labels = None), text_signature = "($self, name, value=1, labels=None)")]
    fn increment(&self, name: &Bound<'_, PyAny>, value: Option<&Bound<'_, PyAny>>, labels: Option<&Bound<'_, PyAny>>) {
        let _ = (name, value, labels);
    }

    #[pyo3(signature = (name, value, labels = None))]
    fn gauge(&self, name: &Bound<'_, PyAny>, value: &Bound<'_, PyAny>, labels: Option<&Bound<'_, PyAny>>) {
        let _ = (name, value, labels);
    }

    #[pyo3(signature = (name, value, labels = None))]
    fn histogram(&self, name: &Bound<'_, PyAny>, value: &Bound<'_, PyAny>, labels: Option<&Bound<'_, PyAny>>) {
        let _ = (name, value, labels);
    }

    #[pyo3(signature = (name, value_ms, labels = None))]
    fn timing(&self, name: &Bound<'_, PyAny>, value_ms: &Bound<'_, PyAny>, labels: Option<&Bound<'_, PyAny>>) {
        let _ = (name, value_ms, labels);
    }

    #[pyo3(signature = (name, delta, labels = None))]
    fn gauge_add(&self, name: &Bound<'_, PyAny>, delta: &Bound<'_, PyAny>, labels: Option<&Bound<'_, PyAny>>) {
        let _ = (name, delta, labels);
    }

    #[pyo3(signature = (name, labels = None))]
    fn remove(&self, name: &Bound<'_, PyAny>, labels: Option<&Bound<'_, PyAny>>) -> bool {
        let _ = (name, labels);
        false
    }

    #[pyo3(signature = (name, callback, labels = None))]
    fn observable_gauge(
        &self,
        name: &Bound<'_, PyAny>,
        callback: &Bound<'_, PyAny>,
        labels: Option<&Bound<'_, PyAny>>,
    ) {
        let _ = (name, callback, labels);
    }

    #[pyo3(signature = (name, callback, labels = None))]
    fn observable_counter(
        &self,
        name: &Bound<'_, PyAny>,
        callback: &Bound<'_, PyAny>,
        labels: Option<&Bound<'_, PyAny>>,
    ) {
        let _ = (name, callback, labels);
    }

    #[pyo3(signature = (name, **_settings))]
    fn describe(&self, name: &Bound<'_, PyAny>, _settings: Option<&Bound<'_, PyDict>>) {
        let _ = name;
    }

    #[pyo3(signature = (timeout_seconds = None))]
    fn flush(&self, timeout_seconds: Option<&Bound<'_, PyAny>>) -> bool {
        let _ = timeout_seconds;
        true
    }

    #[pyo3(signature = (timeout_seconds = None))]
    fn close(&self, timeout_seconds: Option<&Bound<'_, PyAny>>) {
        let _ = timeout_seconds;
    }

    fn __enter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    #[pyo3(signature = (*_exception))]
    fn __exit__(&self, _exception: &Bound<'_, PyTuple>) {}

    fn __bool__(&self) -> bool {
        true
    }

    fn __repr__(&self) -> &'static str {
        "NoOpMetrics()"
    }

    fn __str__(&self) -> &'static str {
        "No-Op Metrics (disabled)"
    }
}

/// Takes the arguments of an observing method and does nothing: what benchmarks compare a collector with.
#[pyfunction]
#[pyo3(signature = (name, value = None, labels = None))]
pub(crate) fn empty_call(name: &Bound<'_, PyAny>, value: Option<&Bound<'_, PyAny>>, labels: Option<&Bound<'_, PyAny>>) {
    let _ = (name, value, labels);
}
