//! A message of the hub, as the fields of a `gds_monitor.Metric`.

use gds_events::{Sample, parse_message};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyDict;

/// What a message says: the fields of a metric by name, times in milliseconds since the epoch, the value as a float and as
/// its digits, and whether its time is the hub's.
///
/// A message that is no measurement is a `ValueError` with the reason's name and its text.
#[pyfunction]
#[pyo3(signature = (value, hub_ms, schema_header = None))]
pub(crate) fn parse_metric<'py>(
    py: Python<'py>,
    value: &[u8],
    hub_ms: i64,
    schema_header: Option<&[u8]>,
) -> PyResult<Bound<'py, PyDict>> {
    let sample = parse_message(value, schema_header, hub_ms)
        .map_err(|error| PyValueError::new_err((error.reason(), error.to_string())))?;
    let fields = PyDict::new(py);
    let Sample { time_ms, time_from_hub, database_type, instance_id, metric_name, value, value_text, .. } = &sample;
    fields.set_item("time_ms", time_ms)?;
    fields.set_item("time_from_hub", time_from_hub)?;
    fields.set_item("database_type", database_type)?;
    fields.set_item("instance_id", instance_id)?;
    fields.set_item("metric_name", metric_name)?;
    fields.set_item("value", value)?;
    fields.set_item("value_text", value_text)?;
    let tags = PyDict::new(py);
    for (name, text) in sample.tags.iter() {
        tags.set_item(name, text)?;
    }
    fields.set_item("tags", tags)?;
    fields.set_item("unit", &sample.unit)?;
    fields.set_item("metric_type", &sample.metric_type)?;
    fields.set_item("start_ms", sample.start_ms)?;
    fields.set_item("collection_duration_ms", sample.collection_duration_ms)?;
    fields.set_item("version", &sample.version)?;
    fields.set_item("correlation_id", &sample.correlation_id)?;
    Ok(fields)
}
