//! `gds_kafka.testing.MockKafkaCluster`: librdkafka's mock brokers.

use std::sync::Arc;
use std::time::Duration;

use gds_hub::kafka::mock;
use gds_hub::{Error, Result};
use gds_process::sync::Mutex;
use pyo3::prelude::*;

use crate::errors::hub_error;

/// Native side of `gds_kafka.testing.MockKafkaCluster`.
#[pyclass(frozen, module = "gds_native._lib")]
pub(crate) struct MockCluster {
    /// None once it is closed.
    cluster: Mutex<Option<Arc<mock::MockCluster>>>,
    bootstrap_servers: String,
}

impl MockCluster {
    /// Asks the brokers' thread for something, with the interpreter free for other threads.
    fn ask(&self, py: Python<'_>, question: impl FnOnce(&mock::MockCluster) -> Result<()> + Send) -> PyResult<()> {
        let cluster = self.cluster.lock().clone();
        let cluster = cluster.ok_or_else(|| hub_error(py, &Error::Closed("the mock cluster is closed".into())))?;
        py.detach(|| question(&cluster)).map_err(|error| hub_error(py, &error))
    }
}

#[pymethods]
impl MockCluster {
    #[new]
    fn new(py: Python<'_>, brokers: u32) -> PyResult<Self> {
        let cluster = py.detach(|| mock::MockCluster::start(brokers)).map_err(|error| hub_error(py, &error))?;
        let bootstrap_servers = cluster.bootstrap_servers();
        Ok(Self { cluster: Mutex::new(Some(Arc::new(cluster))), bootstrap_servers })
    }

    #[getter]
    fn bootstrap_servers(&self) -> &str {
        &self.bootstrap_servers
    }

    fn create_topic(&self, py: Python<'_>, name: &str, partitions: i32, replication: i32) -> PyResult<()> {
        self.ask(py, |cluster| cluster.create_topic(name, partitions, replication))
    }

    fn topic_error(&self, py: Python<'_>, topic: &str, error: i32) -> PyResult<()> {
        self.ask(py, |cluster| cluster.topic_error(topic, error))
    }

    #[allow(clippy::needless_pass_by_value)] // as Python gives it
    fn push_request_errors(&self, py: Python<'_>, request: &str, errors: Vec<i32>) -> PyResult<()> {
        self.ask(py, |cluster| cluster.push_request_errors(request, &errors))
    }

    fn clear_request_errors(&self, py: Python<'_>, request: &str) -> PyResult<()> {
        self.ask(py, |cluster| cluster.clear_request_errors(request))
    }

    fn broker_down(&self, py: Python<'_>, broker: i32) -> PyResult<()> {
        self.ask(py, |cluster| cluster.broker_down(broker))
    }

    fn broker_up(&self, py: Python<'_>, broker: i32) -> PyResult<()> {
        self.ask(py, |cluster| cluster.broker_up(broker))
    }

    fn broker_rtt(&self, py: Python<'_>, broker: i32, milliseconds: u32) -> PyResult<()> {
        self.ask(py, |cluster| cluster.broker_rtt(broker, Duration::from_millis(milliseconds.into())))
    }

    fn set_leader(&self, py: Python<'_>, topic: &str, partition: i32, broker: i32) -> PyResult<()> {
        self.ask(py, |cluster| cluster.set_leader(topic, partition, broker))
    }

    /// Ends the brokers; may be called again.
    fn close(&self, py: Python<'_>) {
        let cluster = self.cluster.lock().take();
        py.detach(|| drop(cluster));
    }
}
