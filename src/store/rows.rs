//! Samples of Python objects.

use gds_promql::labels::Labels;
use gds_promql::matcher::METRIC_NAME;
use gds_promql::value::Sample;
use gds_store::Row;
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyIterator, PyString};

use super::histogram;
use crate::interop::text::type_name;

/// As many are collected before others may have the interpreter.
const AT_ONCE: usize = 4096;

/// Samples that no Python object is needed for any more.
#[derive(Default)]
pub(super) struct Batch(Vec<(Labels, i64, Sample)>);

impl Batch {
    /// Takes the next rows of an iterator: `(name, value, labels, time in milliseconds)`.
    pub(super) fn collect(rows: &mut Bound<'_, PyIterator>) -> PyResult<Self> {
        let mut batch = Self::default();
        for row in rows.take(AT_ONCE) {
            let (name, value, labels, time): (Bound<'_, PyAny>, Bound<'_, PyAny>, Bound<'_, PyAny>, i64) =
                row?.extract()?;
            batch.0.push((labels_of(&name, &labels)?, time, sample(&value)?));
        }
        Ok(batch)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn rows(&self) -> Vec<Row<'_>> {
        self.0.iter().map(|(labels, time, value)| Row { labels, time: *time, start: 0, value: value.clone() }).collect()
    }
}

fn labels_of(name: &Bound<'_, PyAny>, labels: &Bound<'_, PyAny>) -> PyResult<Labels> {
    let text = name.cast::<PyString>().map_err(|_| {
        PyTypeError::new_err(format!("name: expected the name of a metric, a str, got {}", type_name(Some(name))))
    })?;
    let name = text.to_str()?;
    if name.is_empty() {
        return Err(PyValueError::new_err("expected the name of a metric, got an empty text"));
    }
    let mut pairs = vec![(METRIC_NAME.to_owned(), name.to_owned())];
    if !labels.is_none() {
        let labels = labels.cast::<PyDict>().map_err(|_| {
            PyTypeError::new_err(format!("labels: expected a dict or None, got {}", type_name(Some(labels))))
        })?;
        for (label, value) in labels {
            let label: String = label.extract()?;
            if label == METRIC_NAME {
                return Err(PyValueError::new_err(
                    "labels: expected the name of the metric as the first argument only",
                ));
            }
            let value = if value.is_none() { String::new() } else { value.str()?.to_str()?.to_owned() };
            pairs.push((label, value));
        }
    }
    Ok(Labels::from_pairs(pairs))
}

fn sample(value: &Bound<'_, PyAny>) -> PyResult<Sample> {
    match value.cast::<PyDict>() {
        Ok(fields) => histogram::from_dict(fields).map(|made| Sample::Histogram(made.into())),
        Err(_) => value.extract().map(Sample::Float),
    }
}
