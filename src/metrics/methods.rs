//! The methods that native collectors have in common, written once: a class takes them in with one line.

/// The four observing methods, and `gauge_add`, of a class that is a [`Collector`](crate::metrics::observe::Collector).
macro_rules! observing_methods {
    ($class:ty) => {
        #[pymethods]
        impl $class {
            #[pyo3(signature = (name, value = Argument::MISSING, labels = None), text_signature = "($self, name, value=1, labels=None)")]
            fn increment(&self, name: &Bound<'_, PyAny>, value: Argument<'_, '_>, labels: Option<&Bound<'_, PyAny>>) -> PyResult<()> {
                observe::report(self, MetricKind::Counter, Change::Report, name, value, labels)
            }

            #[pyo3(signature = (name, value, labels = None))]
            fn gauge(&self, name: &Bound<'_, PyAny>, value: Argument<'_, '_>, labels: Option<&Bound<'_, PyAny>>) -> PyResult<()> {
                observe::report(self, MetricKind::Gauge, Change::Report, name, value, labels)
            }

            #[pyo3(signature = (name, value, labels = None))]
            fn histogram(&self, name: &Bound<'_, PyAny>, value: Argument<'_, '_>, labels: Option<&Bound<'_, PyAny>>) -> PyResult<()> {
                observe::report(self, MetricKind::Histogram, Change::Report, name, value, labels)
            }

            #[pyo3(signature = (name, value_ms, labels = None))]
            fn timing(&self, name: &Bound<'_, PyAny>, value_ms: Argument<'_, '_>, labels: Option<&Bound<'_, PyAny>>) -> PyResult<()> {
                observe::report(self, MetricKind::Timing, Change::Report, name, value_ms, labels)
            }

            #[pyo3(signature = (name, delta, labels = None))]
            fn gauge_add(&self, name: &Bound<'_, PyAny>, delta: Argument<'_, '_>, labels: Option<&Bound<'_, PyAny>>) -> PyResult<()> {
                observe::report(self, MetricKind::Gauge, Change::Add, name, delta, labels)
            }
        }
    };
}

/// What a class has beside these where it counts in a registry.
macro_rules! registry_methods {
    ($class:ty) => {
        #[pymethods]
        impl $class {
            /// Sets the total of a counter that somebody else keeps.
            #[pyo3(name = "_set_total", signature = (name, value, labels = None))]
            fn set_total(
                &self,
                name: &Bound<'_, PyAny>,
                value: Argument<'_, '_>,
                labels: Option<&Bound<'_, PyAny>>,
            ) -> PyResult<()> {
                observe::report(self, MetricKind::Counter, Change::Total, name, value, labels)
            }

            #[pyo3(signature = (name, labels = None))]
            fn remove(&self, name: &Bound<'_, PyAny>, labels: Option<&Bound<'_, PyAny>>) -> PyResult<bool> {
                observe::remove(self.handle(), name, labels)
            }

            #[pyo3(name = "_count_unanswered")]
            fn count_unanswered(&self, in_time: bool) {
                observe::count_unanswered(self.handle(), in_time);
            }
        }
    };
}

pub(crate) use {observing_methods, registry_methods};
