//! Native histograms as dicts.

use gds_promql::histogram::{Buckets, CounterResetHint, FloatHistogram};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList};

const FIELDS: [&str; 9] =
    ["schema", "count", "sum", "zero_threshold", "zero_count", "positive", "negative", "custom_values", "gauge"];

/// The histogram that a dict says: buckets are dicts of an index and a count; what is missing is empty.
pub(super) fn from_dict(fields: &Bound<'_, PyDict>) -> PyResult<FloatHistogram> {
    for name in fields.keys() {
        let name: String = name.extract()?;
        if !FIELDS.contains(&name.as_str()) {
            let known = FIELDS.join(", ");
            return Err(PyValueError::new_err(format!("a histogram has no {name:?}; expected some of {known}")));
        }
    }
    let number = |name: &str| fields.get_item(name)?.map_or(Ok(0.0), |value| value.extract::<f64>());
    let buckets = |name: &str| -> PyResult<Buckets> {
        let Some(given) = fields.get_item(name)? else { return Ok(Buckets::default()) };
        let mut all: Vec<(i32, f64)> = given
            .cast::<PyDict>()?
            .iter()
            .map(|(at, count)| Ok((at.extract()?, count.extract()?)))
            .collect::<PyResult<_>>()?;
        all.sort_by_key(|(at, _)| *at);
        let (index, count) = all.into_iter().unzip();
        Ok(Buckets { index, count })
    };
    let schema = fields.get_item("schema")?.map_or(Ok(0), |value| value.extract::<i32>())?;
    let custom_values =
        fields.get_item("custom_values")?.map_or(Ok(Vec::new()), |value| value.extract::<Vec<f64>>())?;
    let gauge = fields.get_item("gauge")?.map_or(Ok(false), |value| value.extract::<bool>())?;
    let made = FloatHistogram {
        counter_reset_hint: if gauge { CounterResetHint::Gauge } else { CounterResetHint::Unknown },
        schema,
        zero_threshold: number("zero_threshold")?,
        zero_count: number("zero_count")?,
        count: number("count")?,
        sum: number("sum")?,
        positive: buckets("positive")?,
        negative: buckets("negative")?,
        custom_values: custom_values.into(),
    };
    made.check().map_err(PyValueError::new_err)?;
    Ok(made)
}

/// What a query answers of one: count, sum, and its buckets by their bounds.
pub(super) fn to_dict<'py>(py: Python<'py>, histogram: &FloatHistogram) -> PyResult<Bound<'py, PyDict>> {
    let made = PyDict::new(py);
    made.set_item("count", histogram.count)?;
    made.set_item("sum", histogram.sum)?;
    let buckets = histogram.buckets().filter(|bucket| bucket.count != 0.0);
    let buckets: Vec<_> = buckets.map(|bucket| (bucket.lower, bucket.upper, bucket.count)).collect();
    made.set_item("buckets", PyList::new(py, buckets)?)?;
    Ok(made)
}
