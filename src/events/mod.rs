//! Measurements of databases: batches of Python objects become messages of the hub, and messages become fields.
//!
//! What the objects say is collected with the interpreter held, a thousand of them at a time; secrets are taken out, and
//! messages are written and queued, with the interpreter released.

mod collect;
mod publish;
pub(crate) mod read;
mod tell;

use std::time::Instant;

use gds_events::{avro, topic};
use gds_hub::producer::Producer;
use gds_process::sync::Mutex;
use gds_redact::Redactor;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::interop::drop_detached::DropDetached;
use crate::interop::exit;
use crate::kafka::outcomes::Token;
use crate::kafka::producer::ProducerCore;
use collect::Batch;
use publish::{Counts, Publishing};
use tell::{Heartbeat, Text};

/// As many are collected before others may have the interpreter.
const AT_ONCE: usize = 1024;

/// Native side of `gds_monitor.KafkaOutput`: writes batches of metrics to the hub.
#[pyclass(frozen, module = "gds_native._lib")]
pub(crate) struct MetricWriter {
    producer: Py<ProducerCore>,
    environment: Option<String>,
    key_with_type: bool,
    /// None where messages are JSON.
    ids: Mutex<SchemaIds>,
    redactor: Redactor,
}

/// The ids of the Avro schemas in the registry.
#[derive(Clone, Copy, Default)]
struct SchemaIds {
    metric: Option<u32>,
    heartbeat: Option<u32>,
}

/// How many were published, had secrets, were dead lettered, and were dropped by reason.
type Written<'py> = (u64, u64, u64, Bound<'py, PyDict>);

#[pymethods]
impl MetricWriter {
    #[new]
    #[pyo3(signature = (producer, *, environment = None, key_with_type = false, schema_id = None, heartbeat_schema_id = None, redact = Vec::new()))]
    #[allow(clippy::needless_pass_by_value)] // a list of Python's
    fn new(
        producer: Py<ProducerCore>,
        environment: Option<String>,
        key_with_type: bool,
        schema_id: Option<u32>,
        heartbeat_schema_id: Option<u32>,
        redact: Vec<String>,
    ) -> PyResult<Self> {
        let redactor = Redactor::new(&redact).map_err(|error| PyValueError::new_err(error.to_string()))?;
        let ids = Mutex::new(SchemaIds { metric: schema_id, heartbeat: heartbeat_schema_id });
        Ok(Self { producer, environment, key_with_type, ids, redactor })
    }

    /// The Avro schemas of metrics and of heartbeats, as JSON.
    #[staticmethod]
    fn schemas() -> (&'static str, &'static str) {
        (avro::SCHEMA, avro::HEARTBEAT_SCHEMA)
    }

    /// Writes Avro from now on, with schemas that the registry has by these numbers.
    fn use_schemas(&self, schema_id: u32, heartbeat_schema_id: u32) {
        *self.ids.lock() = SchemaIds { metric: Some(schema_id), heartbeat: Some(heartbeat_schema_id) };
    }

    /// The topic of the metrics of an instance.
    fn topic(&self, database_type: &str, instance_id: &str) -> String {
        let database_type = self.redactor.redact(database_type);
        let instance_id = self.redactor.redact(instance_id);
        topic::metrics(&database_type, self.environment.as_deref().unwrap_or(&instance_id))
    }

    /// Queues metrics in their order. Returns how many were published, had secrets, were dead lettered, and were dropped by
    /// reason. Raises nothing but what is no `Exception`.
    fn write<'py>(&self, metrics: &Bound<'py, PyAny>) -> PyResult<Written<'py>> {
        let mut counts = Counts::default();
        self.write_all(metrics, &mut counts)?;
        written(metrics.py(), &counts)
    }

    /// Queues heartbeats of collectors, as `write` does metrics.
    #[allow(clippy::needless_pass_by_value)] // a list of Python's
    fn write_heartbeats<'py>(&self, py: Python<'py>, heartbeats: Vec<Heartbeat>) -> PyResult<Written<'py>> {
        let schema_id = self.ids.lock().heartbeat;
        self.tell(py, heartbeats.len(), |to, counts| to.heartbeats(&heartbeats, schema_id, counts))
    }

    /// Queues texts that are told once, as `write` does metrics.
    #[allow(clippy::needless_pass_by_value)] // a list of Python's
    fn write_texts<'py>(&self, py: Python<'py>, texts: Vec<Text>) -> PyResult<Written<'py>> {
        self.tell(py, texts.len(), |to, counts| to.texts(&texts, counts))
    }
}

fn written<'py>(py: Python<'py>, counts: &Counts) -> PyResult<Written<'py>> {
    let dropped = PyDict::new(py);
    for (reason, count) in &counts.dropped {
        dropped.set_item(reason, count)?;
    }
    Ok((counts.published, counts.scrubbed, counts.dead_lettered, dropped))
}

impl MetricWriter {
    fn publishing<'a>(&'a self, producer: &'a Producer<Token>) -> Publishing<'a> {
        Publishing::new(
            producer,
            &self.redactor,
            self.environment.as_deref(),
            self.key_with_type,
            self.ids.lock().metric,
            Instant::now() + producer.max_block(),
        )
    }

    /// Has messages queued without the interpreter.
    fn tell<'py>(
        &self,
        py: Python<'py>,
        count: usize,
        tell: impl FnOnce(&mut Publishing<'_>, &mut Counts) + Send,
    ) -> PyResult<Written<'py>> {
        let mut counts = Counts::default();
        match self.producer.get().shared(py) {
            Err(_) => counts.drop("closed", count as u64),
            Ok(producer) => {
                let producer = DropDetached::new(producer);
                py.detach(|| tell(&mut self.publishing(&producer), &mut counts));
            }
        }
        written(py, &counts)
    }

    fn write_all(&self, metrics: &Bound<'_, PyAny>, counts: &mut Counts) -> PyResult<()> {
        let py = metrics.py();
        let Ok(producer) = self.producer.get().shared(py) else {
            counts.drop("closed", metrics.len().unwrap_or(1) as u64);
            return Ok(());
        };
        let producer = DropDetached::new(producer);
        let mut publishing = self.publishing(&producer);
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
