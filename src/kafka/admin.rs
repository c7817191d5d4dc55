//! `HubAdmin`: topics and groups, for the command line and for tests.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use gds_hub::settings::Role;
use gds_hub::{Error, Hub, NewTopic, Result};
use pyo3::prelude::*;
use pyo3::types::PyDict;

use super::{hub, settings};
use crate::errors::hub_error;
use crate::interop::dicts::into_dict;
use crate::interop::runtime;

/// Looks after the topics and groups of a hub.
#[pyclass(frozen, module = "gds_native._lib")]
pub(crate) struct HubAdmin {
    /// None only while it is dropped.
    hub: Option<Arc<dyn Hub>>,
    process_id: u32,
}

into_dict! {
    struct Topic {
        name: String,
        partitions: Vec<Partition>,
    }
}

into_dict! {
    struct Partition {
        id: i32,
        leader: Option<i32>,
        replicas: usize,
        in_sync: usize,
        start: i64,
        end: i64,
    }
}

into_dict! {
    /// How far a group or a reader is behind in a partition.
    #[allow(clippy::struct_field_names)] // Kafka's word
    pub(crate) struct Lag {
        topic: String,
        partition: i32,
        position: Option<i64>,
        end: i64,
        lag: i64,
    }
}

impl From<gds_hub::Topic> for Topic {
    fn from(topic: gds_hub::Topic) -> Self {
        let partitions = topic.partitions.into_iter().map(|part| {
            let gds_hub::Partition { id, leader, replicas, in_sync, start, end } = part;
            Partition { id, leader, replicas, in_sync, start, end }
        });
        Self { name: topic.name, partitions: partitions.collect() }
    }
}

impl From<gds_hub::Lag> for Lag {
    fn from(lag: gds_hub::Lag) -> Self {
        let gds_hub::Lag { topic, partition, position, end, lag } = lag;
        Self { topic: topic.to_string(), partition, position, end, lag }
    }
}

impl HubAdmin {
    /// Asks the hub something, with the interpreter free for other threads.
    fn ask<T: Send + 'static>(
        &self,
        py: Python<'_>,
        timeout: f64,
        question: impl FnOnce(&dyn Hub, Duration) -> Result<T> + Send + 'static,
    ) -> PyResult<T> {
        let asked = self.hub.as_ref().filter(|_| self.process_id == std::process::id()).cloned();
        let Some(hub) = asked else {
            let message = format!(
                "this admin client belongs to process {}, and this is its forked child {}; make another one here",
                self.process_id,
                std::process::id()
            );
            return Err(hub_error(py, &Error::Closed(message.into())));
        };
        let timeout = Duration::try_from_secs_f64(timeout).map_err(|_| {
            hub_error(py, &Error::Config(format!("timeout={timeout}: expected seconds, 0 or more").into()))
        })?;
        runtime::wait_blocking(py, move || question(&*hub, timeout))?.map_err(|error| hub_error(py, &error))
    }
}

#[pymethods]
impl HubAdmin {
    #[new]
    #[pyo3(signature = (bootstrap_servers, config, librdkafka, *, log = None, token = None))]
    #[allow(clippy::needless_pass_by_value)] // as Python gives them
    fn new(
        py: Python<'_>,
        bootstrap_servers: Vec<String>,
        config: &Bound<'_, PyDict>,
        librdkafka: &Bound<'_, PyDict>,
        log: Option<Py<PyAny>>,
        token: Option<Py<PyAny>>,
    ) -> PyResult<Self> {
        let settings = settings::parse(py, Role::Admin, &bootstrap_servers, config, librdkafka)?;
        let callbacks = hub::callbacks(log, token);
        let opened = py.detach(|| gds_hub::open(&settings, callbacks)).map_err(|error| hub_error(py, &error))?;
        let made = Self { hub: Some(opened), process_id: std::process::id() };
        if !settings.lazy {
            made.ask(py, settings.connect_timeout.as_secs_f64(), |hub, timeout| hub.check(timeout))?;
        }
        Ok(made)
    }

    /// Makes a topic; one that exists is an error.
    #[pyo3(signature = (name, partitions = 1, replication = -1, config = None, *, timeout = 30.0))]
    fn create_topic(
        &self,
        py: Python<'_>,
        name: String,
        partitions: i32,
        replication: i32,
        config: Option<BTreeMap<String, String>>,
        timeout: f64,
    ) -> PyResult<()> {
        let topic = NewTopic { name, partitions, replication, config: config.unwrap_or_default() };
        self.ask(py, timeout, move |hub, timeout| hub.create_topic(&topic, timeout))
    }

    /// Changes settings of a topic by Kafka's names; None is the hub's own again.
    #[pyo3(signature = (name, config, *, timeout = 30.0))]
    fn alter_topic(
        &self,
        py: Python<'_>,
        name: String,
        config: BTreeMap<String, Option<String>>,
        timeout: f64,
    ) -> PyResult<()> {
        self.ask(py, timeout, move |hub, timeout| hub.alter_topic(&name, &config, timeout))
    }

    /// The settings of a topic as they are, by Kafka's names.
    #[pyo3(signature = (name, *, timeout = 30.0))]
    fn topic_config(&self, py: Python<'_>, name: String, timeout: f64) -> PyResult<BTreeMap<String, String>> {
        self.ask(py, timeout, move |hub, timeout| hub.topic_config(&name, timeout))
    }

    /// Removes a topic with all it holds.
    #[pyo3(signature = (name, *, timeout = 30.0))]
    fn delete_topic(&self, py: Python<'_>, name: String, timeout: f64) -> PyResult<()> {
        self.ask(py, timeout, move |hub, timeout| hub.delete_topic(&name, timeout))
    }

    /// All topics, or one, with their partitions.
    #[pyo3(signature = (name = None, *, timeout = 30.0))]
    fn topics(&self, py: Python<'_>, name: Option<String>, timeout: f64) -> PyResult<Vec<Topic>> {
        let found = self.ask(py, timeout, move |hub, timeout| hub.topics(name.as_deref(), timeout))?;
        Ok(found.into_iter().map(Topic::from).collect())
    }

    /// How far a group is behind, in every partition it has committed in.
    #[pyo3(signature = (group, *, timeout = 30.0))]
    fn lag(&self, py: Python<'_>, group: String, timeout: f64) -> PyResult<Vec<Lag>> {
        let found = self.ask(py, timeout, move |hub, timeout| hub.lag(&group, timeout))?;
        Ok(found.into_iter().map(Lag::from).collect())
    }

    /// The names of all groups.
    #[pyo3(signature = (*, timeout = 30.0))]
    fn groups(&self, py: Python<'_>, timeout: f64) -> PyResult<Vec<String>> {
        self.ask(py, timeout, |hub, timeout| hub.groups(timeout))
    }
}

impl Drop for HubAdmin {
    fn drop(&mut self) {
        let Some(hub) = self.hub.take() else { return };
        if self.process_id != std::process::id() {
            // The parent's: its threads are not here, and its connections are not ours to end.
            std::mem::forget(hub);
            return;
        }
        // Ending it may wait for a thread that is about to log, for which it needs the interpreter.
        let mut hub = Some(hub);
        Python::try_attach(|py| py.detach(|| drop(hub.take())));
    }
}
