//! `KafkaConsumerClient`: the hub's [`Consumer`] with messages as dicts.
//!
//! Messages are fetched in batches with the interpreter released, and made into objects one at a time. What waits does
//! so in slices, between which Ctrl-C is heard and other threads have their turn.

mod access;
mod polling;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use gds_hub::consumer::{Consumer, ConsumerOptions, OnError};
use gds_hub::settings::Role;
use gds_hub::{Error, Failure, Lag, OffsetSpec, Subscription, TopicPartition};
use gds_process::fork;
use gds_process::sync::{Mutex, TimedMutex};
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PyTuple};

use super::admin::Lag as LagDict;
use super::loops::ConsumerLoop;
use super::partitions::{offsets_dict, pairs, partitions_of, places_of};
use super::reading::{ConsumerState, Handled, OpenConsumer, apply_handled, consumer_stats, stats_of};
use super::{hub, settings};
use crate::errors::hub_error;
use crate::interop::drop_detached::DropDetached;
use crate::interop::reporting::report_regularly;
use crate::interop::warnings::warn_in;
use crate::interop::{exit, runtime};

/// How long a wait may keep Ctrl-C from being seen, and another thread from its turn.
const SLICE: Duration = Duration::from_millis(50);

/// How long questions wait for an answer.
pub(super) const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// Native side of `gds_kafka.KafkaConsumerClient`.
#[pyclass(frozen, subclass, weakref, module = "gds_native._lib")]
pub(crate) struct ConsumerCore {
    opened: OnceLock<OpenConsumer>,
    closed: Arc<AtomicBool>,
    /// Whether a thread is waiting for messages.
    reading: AtomicBool,
    /// The thread that makes messages into objects, which may call Python code; 0 if none does.
    owner: AtomicU64,
    handled: Mutex<Handled>,
    /// How many loops there were; 0 stands for who asks without one.
    loops: AtomicU64,
    /// Whether a new one has not asked yet.
    begins: AtomicBool,
}

impl ConsumerCore {
    /// What closes it, for a thread without the interpreter; none if that is done, or another process's to do.
    pub(super) fn closing(
        &self,
        py: Python<'_>,
        timeout: Option<f64>,
    ) -> PyResult<Option<impl FnOnce() -> Result<(), Error> + Send + use<>>> {
        self.not_within(py)?; // before it counts as closed
        if self.closed.swap(true, Ordering::SeqCst) {
            return Ok(None);
        }
        let Some(opened) = self.opened.get() else { return Ok(None) };
        if opened.generation != fork::generation() {
            return Ok(None); // the parent's, who closes it
        }
        let handled = std::mem::take(&mut *self.handled.lock());
        let state = Arc::clone(&opened.state);
        let timeout = runtime::seconds_or(timeout, opened.settings.close_timeout);
        let runtime = runtime::handle()?;
        Ok(Some(move || {
            let left = runtime.spawn_blocking(move || {
                let mut state = state.lock();
                apply_handled(&mut state, handled);
                state.consumer.close()
            });
            match runtime.block_on(async { tokio::time::timeout(timeout, left).await }) {
                Ok(Ok(ended)) => ended,
                Ok(Err(error)) => Err(Error::Message(format!("closing failed; please report this: {error}").into())),
                Err(_) => {
                    let message =
                        format!("the group was not left within {timeout:?}; the last places may not be committed");
                    Err(Error::Timeout(Failure::new(message).retriable()))
                }
            }
        }))
    }

    pub(super) fn report_now(&self, py: Python<'_>) -> PyResult<()> {
        let Some(opened) = self.opened.get() else { return Ok(()) };
        if let Some(report) = &opened.report {
            report.call1(py, (stats_of(py, &opened.counts, None)?,))?;
        }
        Ok(())
    }
}

/// What asks for one end of partitions.
pub(super) fn asking_for_offsets(
    partitions: Vec<(String, i32)>,
    latest: bool,
) -> impl FnOnce(&mut Consumer) -> Result<Vec<(TopicPartition, i64)>, Error> {
    let (places, which) = (partitions_of(partitions), if latest { OffsetSpec::Latest } else { OffsetSpec::Earliest });
    move |consumer| consumer.subscriber()?.offsets(&places, which, ANSWER_TIMEOUT)
}

/// What asks for the first offsets of times or later.
pub(super) fn asking_for_times(
    times: HashMap<(String, i32), i64>,
) -> impl FnOnce(&mut Consumer) -> Result<Vec<(TopicPartition, Option<i64>)>, Error> {
    let times: Vec<_> =
        times.into_iter().map(|((topic, partition), time)| ((Arc::from(topic), partition), time)).collect();
    move |consumer| consumer.subscriber()?.offsets_for_times(&times, ANSWER_TIMEOUT)
}

#[pymethods]
impl ConsumerCore {
    // Takes whatever a subclass's `__init__` takes.
    #[new]
    #[pyo3(signature = (*_args, **_kwargs))]
    fn new(_args: &Bound<'_, PyTuple>, _kwargs: Option<&Bound<'_, PyDict>>) -> Self {
        Self {
            opened: OnceLock::new(),
            closed: Arc::default(),
            reading: AtomicBool::new(false),
            owner: AtomicU64::new(0),
            handled: Mutex::default(),
            loops: AtomicU64::new(0),
            begins: AtomicBool::new(false),
        }
    }

    /// Settles the settings, reaches for the servers and subscribes.
    #[pyo3(name = "_open", signature = (topics, servers, group_id, config, librdkafka, *, log = None, token = None,
        value_deserializer = None, key_deserializer = None, on_error = "raise", report = None, listener = None))]
    #[allow(clippy::too_many_arguments, clippy::needless_pass_by_value)] // what Python's constructor collected
    fn open(
        &self,
        py: Python<'_>,
        topics: Vec<String>,
        servers: Vec<String>,
        group_id: Option<String>,
        config: &Bound<'_, PyDict>,
        librdkafka: &Bound<'_, PyDict>,
        log: Option<Py<PyAny>>,
        token: Option<Py<PyAny>>,
        value_deserializer: Option<Py<PyAny>>,
        key_deserializer: Option<Py<PyAny>>,
        on_error: &str,
        report: Option<Py<PyAny>>,
        listener: Option<Py<PyAny>>,
    ) -> PyResult<()> {
        fork::watch();
        exit::watch(py)?;
        let on_error = match on_error {
            "raise" => OnError::Raise,
            "skip" => OnError::Skip,
            "dead_letter" => OnError::DeadLetter,
            other => {
                let message = format!("on_error={other:?}: expected \"raise\", \"skip\" or \"dead_letter\"");
                return Err(hub_error(py, &Error::Config(message.into())));
            }
        };
        let settings = settings::parse(py, Role::Consumer, &servers, config, librdkafka)?;
        let callbacks = hub::callbacks(log, token);
        let opening = settings.clone();
        let opened = py.detach(|| gds_hub::open(&opening, callbacks)).map_err(|error| hub_error(py, &error))?;
        let opened = DropDetached::new(opened);
        if !settings.lazy {
            hub::reach(py, &opened, settings.connect_timeout)?;
        }
        let grouped = group_id.is_some();
        let max_poll_interval = settings.max_poll_interval();
        let subscription = Subscription { topics, group: group_id, start: settings.consumer.start, max_poll_interval };
        let joining = Arc::clone(&opened);
        let subscriber = runtime::wait_blocking(py, move || joining.subscribe(&subscription))?
            .map_err(|error| hub_error(py, &error))?;
        let options = ConsumerOptions {
            auto_commit_interval: (grouped && settings.consumer.auto_commit)
                .then_some(settings.consumer.auto_commit_interval),
            listens: listener.is_some(),
            on_error,
        };
        let warn = Arc::new(|text: &str| warn_in("gds_kafka", text));
        let consumer = Consumer::new(subscriber, Arc::clone(&opened), options, warn);
        let counts = Arc::clone(consumer.counts());
        let state =
            DropDetached::new(Arc::new(TimedMutex::new(ConsumerState { consumer, topic: None, idle_since: None })));
        if let Some(report) = &report {
            let (reading, counts) = (Arc::downgrade(&state), Arc::clone(&counts));
            runtime::handle()?.spawn(report_regularly(
                settings.statistics_interval(),
                report.clone_ref(py),
                move || reading.upgrade().map(|state| (state, Arc::clone(&counts))),
                consumer_stats,
            ));
        }
        let generation = fork::generation();
        let opened = OpenConsumer {
            settings,
            value_deserializer,
            key_deserializer,
            report,
            listener,
            generation,
            process: std::process::id(),
            state,
            counts,
        };
        if self.opened.set(opened).is_err() {
            return Err(PyTypeError::new_err("__init__ was called twice; make a new client"));
        }
        Ok(())
    }

    fn __iter__(this: Bound<'_, Self>) -> ConsumerLoop {
        let number = this.get().begin();
        let consumer = this.unbind();
        ConsumerLoop::new(move |py| consumer.get().next_of(py, number))
    }

    fn __next__<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyDict>>> {
        self.next_of(py, 0)
    }

    /// A new loop begins: its number.
    #[pyo3(name = "_begin")]
    fn begin(&self) -> u64 {
        self.begins.store(true, Ordering::Relaxed);
        self.loops.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Up to `max_messages`; an empty list when nothing came in time, None when nothing will come any more.
    #[pyo3(name = "_poll")]
    fn poll<'py>(
        &self,
        py: Python<'py>,
        by: u64,
        max_messages: usize,
        timeout_seconds: f64,
    ) -> PyResult<Option<Bound<'py, PyList>>> {
        self.list_of(py, by, max_messages, timeout_seconds)
    }

    /// What the loop `by` is finished with, by default its last list; never waits for a fetch under way.
    #[pyo3(name = "_handled", signature = (by, offsets = None))]
    fn handled(&self, by: u64, offsets: Option<&Bound<'_, PyAny>>) -> PyResult<()> {
        match offsets {
            Some(offsets) => self.handled.lock().places.extend(places_of(offsets)?),
            None => self.handled.lock().list_of = Some(by),
        }
        Ok(())
    }

    /// Commit and wait; see `gds_kafka.KafkaConsumerClient`.
    #[pyo3(signature = (offsets = None))]
    fn commit(&self, py: Python<'_>, offsets: Option<&Bound<'_, PyAny>>) -> PyResult<()> {
        let given = offsets.map(places_of).transpose()?;
        self.with_hub(py, move |consumer| consumer.commit(given))
    }

    /// Go on at another place; see `gds_kafka.KafkaConsumerClient`.
    fn seek(&self, py: Python<'_>, topic: String, partition: i32, offset: i64) -> PyResult<()> {
        self.with_hub(py, move |consumer| consumer.seek((Arc::from(topic), partition), offset))
    }

    /// Read these partitions and no others; see `gds_kafka.KafkaConsumerClient`.
    fn assign(&self, py: Python<'_>, partitions: Vec<(String, i32)>) -> PyResult<()> {
        let places = partitions_of(partitions);
        self.with_hub(py, move |consumer| consumer.assign(&places))
    }

    /// The first offset of a time or later; see `gds_kafka.KafkaConsumerClient`.
    #[pyo3(name = "_offsets_for_times")]
    fn offsets_for_times(
        &self,
        py: Python<'_>,
        times: HashMap<(String, i32), i64>,
    ) -> PyResult<HashMap<(String, i32), Option<i64>>> {
        let found = self.with_hub(py, asking_for_times(times))?;
        Ok(offsets_dict(found))
    }

    /// The oldest offset there is, or the next to be written, of each partition; see `gds_kafka.KafkaConsumerClient`.
    #[pyo3(name = "_offsets")]
    fn offsets(
        &self,
        py: Python<'_>,
        partitions: Vec<(String, i32)>,
        latest: bool,
    ) -> PyResult<HashMap<(String, i32), i64>> {
        let ask = asking_for_offsets(partitions, latest);
        Ok(offsets_dict(self.with_hub(py, ask)?))
    }

    /// Leave partitions out; see `gds_kafka.KafkaConsumerClient`.
    fn pause(&self, py: Python<'_>, partitions: Vec<(String, i32)>) -> PyResult<()> {
        let places = partitions_of(partitions);
        self.with_hub(py, move |consumer| consumer.pause(&places))
    }

    /// Take partitions in again; see `gds_kafka.KafkaConsumerClient`.
    fn resume(&self, py: Python<'_>, partitions: Vec<(String, i32)>) -> PyResult<()> {
        let places = partitions_of(partitions);
        self.with_state(py, |state| state.consumer.subscriber()?.resume(&places))
    }

    /// The partitions of this member.
    fn assignment(&self, py: Python<'_>) -> PyResult<Vec<(String, i32)>> {
        Ok(pairs(self.with_state(py, |state| state.consumer.subscriber()?.assignment())?))
    }

    /// How far this member is behind; what was fetched and not given out counts as not read.
    fn lag(&self, py: Python<'_>) -> PyResult<Vec<LagDict>> {
        let lags = self.with_hub(py, |consumer| consumer.lag(ANSWER_TIMEOUT))?;
        Ok(lags.into_iter().map(|lag: Lag| LagDict::from(lag)).collect())
    }

    /// What was counted so far; see `gds_kafka.KafkaConsumerClient`.
    fn stats<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        match self.with_python(py, |opened, state| stats_of(py, &opened.counts, Some(state)))? {
            Some(stats) => Ok(stats),
            None => stats_of(py, &self.opened(py)?.counts, None),
        }
    }

    /// Commit what is finished with, and leave the group; see `gds_kafka.KafkaConsumerClient`.
    #[pyo3(signature = (timeout = None))]
    fn close(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<()> {
        let Some(closing) = self.closing(py, timeout)? else { return Ok(()) };
        let ended = runtime::wait_blocking(py, closing)?.map_err(|error| hub_error(py, &error));
        self.report_now(py)?;
        ended
    }

    /// Whether it is closed.
    #[getter]
    fn closed(&self) -> bool {
        self.closed.load(Ordering::Relaxed)
    }
}

impl Drop for ConsumerCore {
    /// A forked child leaves what is its parent's alone.
    fn drop(&mut self) {
        if let Some(opened) = self.opened.take()
            && opened.generation != fork::generation()
        {
            std::mem::forget(opened);
        }
    }
}
