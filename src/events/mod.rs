//! Measurements of databases: batches of Python objects become messages of the hub, and messages become fields.
//!
//! What the objects say is collected with the interpreter held, a thousand of them at a time; secrets are taken out, and
//! messages are written and queued, with the interpreter released.

mod collect;
mod publish;
pub(crate) mod read;

use std::time::Instant;

use gds_redact::Redactor;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::interop::drop_detached::DropDetached;
use crate::interop::exit;
use crate::kafka::producer::ProducerCore;
use collect::Batch;
use publish::{Counts, Publishing};

/// As many are collected before others may have the interpreter.
const AT_ONCE: usize = 1024;

/// Native side of `gds_monitor.KafkaOutput`: writes batches of metrics to the hub.
#[pyclass(frozen, module = "gds_native._lib")]
pub(crate) struct MetricWriter {
    producer: Py<ProducerCore>,
    environment: Option<String>,
    key_with_type: bool,
    schema_id: Option<u32>,
    redactor: Redactor,
}

#[pymethods]
impl MetricWriter {
    #[new]
    #[pyo3(signature = (producer, *, environment = None, key_with_type = false, schema_id = None, redact = Vec::new()))]
    #[allow(clippy::needless_pass_by_value)] // a list of Python's
    fn new(
        producer: Py<ProducerCore>,
        environment: Option<String>,
        key_with_type: bool,
        schema_id: Option<u32>,
        redact: Vec<String>,
    ) -> PyResult<Self> {
        let redactor = Redactor::new(&redact).map_err(|error| PyValueError::new_err(error.to_string()))?;
        Ok(Self { producer, environment, key_with_type, schema_id, redactor })
    }

    /// Queues metrics in their order. Returns how many were published, had secrets, were dead lettered, and were dropped by
    /// reason. Raises nothing but what is no `Exception`.
    fn write<'py>(&self, metrics: &Bound<'py, PyAny>) -> PyResult<(u64, u64, u64, Bound<'py, PyDict>)> {
        let py = metrics.py();
        let mut counts = Counts::default();
        self.write_all(metrics, &mut counts)?;
        let dropped = PyDict::new(py);
        for (reason, count) in &counts.dropped {
            dropped.set_item(reason, count)?;
        }
        Ok((counts.published, counts.scrubbed, counts.dead_lettered, dropped))
    }
}

impl MetricWriter {
    fn write_all(&self, metrics: &Bound<'_, PyAny>, counts: &mut Counts) -> PyResult<()> {
        let py = metrics.py();
        let Ok(producer) = self.producer.get().shared(py) else {
            counts.drop("closed", metrics.len().unwrap_or(1) as u64);
            return Ok(());
        };
        let producer = DropDetached::new(producer);
        let mut publishing = Publishing::new(
            &producer,
            &self.redactor,
            self.environment.as_deref(),
            self.key_with_type,
            self.schema_id,
            Instant::now() + producer.max_block(),
        );
        let mut batch = Batch::default();
        let Some(iterator) = exit::calling_python(py, || metrics.try_iter()) else { return Ok(()) };
        let Ok(mut iterator) = iterator else {
            counts.drop("unreadable", 1);
            return Ok(());
        };
        loop {
            batch.clear();
            let collected = exit::calling_python(py, || batch.collect(&mut iterator, AT_ONCE));
            let Some(collected) = collected else { return Ok(()) };
            let ended = collected?;
            py.detach(|| publishing.publish(&batch, counts));
            if ended {
                counts.drop("unreadable", batch.unreadable());
                return Ok(());
            }
        }
    }
}
