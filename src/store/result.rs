//! The answer of a query: dicts, or columns of Arrow.

use gds_promql::engine;
use gds_promql::labels::Labels;
use gds_promql::value::{Sample, Value};
use pyo3::exceptions::PyIndexError;
use pyo3::prelude::*;
use pyo3::types::{PyCapsule, PyDict, PyIterator, PyList};

use super::{arrow, histogram};
use crate::errors::arrow_error;
use crate::interop::once::interned;

/// What a query answers.
#[pyclass(frozen, module = "gds_store", name = "QueryResult")]
pub(crate) struct QueryResult {
    value: Value,
    #[pyo3(get)]
    warnings: Vec<String>,
    #[pyo3(get)]
    infos: Vec<String>,
}

impl QueryResult {
    pub(super) fn new(query: &str, answer: engine::QueryResult) -> Self {
        let said = |warning: bool| {
            let chosen = answer.annotations.iter().filter(move |annotation| annotation.is_warning() == warning);
            chosen.map(|annotation| annotation.render(query)).collect()
        };
        let (warnings, infos) = (said(true), said(false));
        Self { value: answer.value, warnings, infos }
    }

    fn dict<'py>(&self, py: Python<'py>, at: usize) -> PyResult<Bound<'py, PyDict>> {
        let made = PyDict::new(py);
        let (empty, labels, points);
        match &self.value {
            Value::Matrix(series) => {
                (labels, points) = (&series[at].labels, Some(&series[at].points));
            }
            Value::Vector(samples) => (labels, points) = (&samples[at].labels, None),
            Value::Scalar { .. } | Value::String { .. } => {
                empty = Labels::empty();
                (labels, points) = (&empty, None);
            }
        }
        made.set_item(interned!(py, "labels"), labels_dict(py, labels)?)?;
        if let Some(points) = points {
            let values = points.iter().map(|point| Ok((seconds(point.t), to_object(py, &point.value)?)));
            made.set_item(interned!(py, "values"), values.collect::<PyResult<Vec<_>>>()?)?;
            return Ok(made);
        }
        let (time, value) = match &self.value {
            Value::Scalar { t, v } => (*t, v.into_pyobject(py)?.into_any()),
            Value::String { t, v } => (*t, v.into_pyobject(py)?.into_any()),
            Value::Vector(samples) => (samples[at].t, to_object(py, &samples[at].value)?),
            Value::Matrix(_) => unreachable!("told above"),
        };
        made.set_item(interned!(py, "timestamp"), seconds(time))?;
        made.set_item(interned!(py, "value"), value)?;
        Ok(made)
    }

    fn list<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        let list = PyList::empty(py);
        (0..self.__len__()).try_for_each(|at| list.append(self.dict(py, at)?))?;
        Ok(list)
    }
}

fn seconds(milliseconds: i64) -> f64 {
    milliseconds as f64 / 1e3
}

fn to_object<'py>(py: Python<'py>, sample: &Sample) -> PyResult<Bound<'py, PyAny>> {
    match sample {
        Sample::Float(number) => Ok(number.into_pyobject(py)?.into_any()),
        Sample::Histogram(histogram) => Ok(histogram::to_dict(py, histogram)?.into_any()),
    }
}

/// Names and values, that of the metric as `__name__`.
pub(super) fn labels_dict<'py>(py: Python<'py>, labels: &Labels) -> PyResult<Bound<'py, PyDict>> {
    let made = PyDict::new(py);
    labels.iter().try_for_each(|(name, value)| made.set_item(name, value))?;
    Ok(made)
}

#[pymethods]
impl QueryResult {
    #[getter]
    fn r#type(&self) -> &'static str {
        match self.value {
            Value::Scalar { .. } => "scalar",
            Value::String { .. } => "string",
            Value::Vector(_) => "vector",
            Value::Matrix(_) => "matrix",
        }
    }

    fn __len__(&self) -> usize {
        match &self.value {
            Value::Scalar { .. } | Value::String { .. } => 1,
            Value::Vector(samples) => samples.len(),
            Value::Matrix(series) => series.len(),
        }
    }

    fn __getitem__<'py>(&self, py: Python<'py>, index: isize) -> PyResult<Bound<'py, PyDict>> {
        let count = self.__len__();
        let at = if index < 0 { count.checked_add_signed(index) } else { usize::try_from(index).ok() };
        match at.filter(|at| *at < count) {
            Some(at) => self.dict(py, at),
            None => Err(PyIndexError::new_err(format!("{index}: expected the place of one of {count} series"))),
        }
    }

    fn __iter__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyIterator>> {
        self.list(py)?.try_iter()
    }

    fn __repr__(&self) -> String {
        format!("QueryResult({}, {} series)", self.r#type(), self.__len__())
    }

    /// All samples as one table: see <https://arrow.apache.org/docs/format/CDataInterface/PyCapsuleInterface.html>. The
    /// schema is what it is, whatever is asked for.
    #[pyo3(signature = (requested_schema = None))]
    fn __arrow_c_stream__<'py>(
        &self,
        py: Python<'py>,
        requested_schema: Option<Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyCapsule>> {
        drop(requested_schema);
        let stream = py.detach(|| arrow::stream(&self.value)).map_err(|error| arrow_error(&error))?;
        PyCapsule::new_with_value(py, stream, c"arrow_array_stream")
    }
}
