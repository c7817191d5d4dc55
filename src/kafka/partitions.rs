//! Partitions and offsets as Python has them: pairs of topic and number, and dicts of those.

use std::collections::HashMap;
use std::sync::Arc;

use gds_hub::TopicPartition;
use gds_hub::consumer::Offsets;
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;

pub(super) fn pairs(places: Vec<TopicPartition>) -> Vec<(String, i32)> {
    places.into_iter().map(|(topic, partition)| (topic.to_string(), partition)).collect()
}

pub(super) fn places_of(offsets: &Bound<'_, PyAny>) -> PyResult<Offsets> {
    let given: HashMap<(String, i32), i64> = offsets.extract().map_err(|_| {
        PyTypeError::new_err("offsets: expected a dict of (topic, partition) to the next offset to read")
    })?;
    Ok(given.into_iter().map(|((topic, partition), offset)| ((Arc::from(topic), partition), offset)).collect())
}

/// Offsets by topic and partition.
pub(super) fn offsets_dict<T>(offsets: Vec<(TopicPartition, T)>) -> HashMap<(String, i32), T> {
    offsets.into_iter().map(|((topic, partition), offset)| ((topic.to_string(), partition), offset)).collect()
}

pub(super) fn partitions_of(given: Vec<(String, i32)>) -> Vec<TopicPartition> {
    given.into_iter().map(|(topic, partition)| (Arc::from(topic), partition)).collect()
}
