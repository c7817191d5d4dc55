//! `KafkaProducerClient`: a Python value becomes a record in the queue, and nothing else happens on the caller's path.

mod closing;
mod observing;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use gds_hub::kafka::Callbacks;
use gds_hub::producer::{BlockingError, Linger, Producer, Sent, Stats};
use gds_hub::settings::{Role, Settings};
use gds_hub::{Error, Failure, Hub};
use gds_process::sync::Mutex;
use gds_process::{PerProcess, fork};
use pyo3::exceptions::{PyException, PyTypeError};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PyTuple};

use super::outcomes::{BatchOutcomes, PythonReporter, Token, outcome_object};
use super::outgoing::{MessageFields, OutgoingMessage, Serializers, topic_name, with_scratch};
use super::{hub, settings};
use crate::errors::{hub_error, hub_exception, to_hub_error};
use crate::interop::drop_detached::DropDetached;
use crate::interop::once::interned;
use crate::interop::reporting::report_regularly;
use crate::interop::{exit, runtime};

use closing::not_from_a_callback;

/// How long a wait may keep Ctrl-C from being seen.
const SIGNAL_CHECK: Duration = Duration::from_millis(50);

/// What a process has of its own.
struct ProducerInstance {
    producer: DropDetached<Arc<Producer<Token>>>,
}

/// What was given once, and is used again in a forked child.
struct ProducerConfig {
    settings: Settings,
    callbacks: Callbacks,
    serializers: Serializers,
    report: Option<Py<PyAny>>,
}

/// Native side of `gds_kafka.KafkaProducerClient`.
#[pyclass(frozen, subclass, weakref, module = "gds_native._lib")]
pub(crate) struct ProducerCore {
    config: OnceLock<ProducerConfig>,
    closed: AtomicBool,
    instance: PerProcess<Option<ProducerInstance>>,
    turn: LoopTurn,
}

/// The event loop that was asked to say when the turn is over in which its tasks send.
///
/// Its lock is only taken with the interpreter's lock held and never while waiting, so no fork finds it taken.
#[derive(Default)]
struct LoopTurn(Mutex<Option<Py<PyAny>>>);

impl LoopTurn {
    /// Whether the loop is to be asked: not twice in a turn. One that ended before its turn was over keeps no other back.
    fn begins(&self, event_loop: &Bound<'_, PyAny>) -> bool {
        let mut asked = self.0.lock();
        if asked.as_ref().is_some_and(|asked| asked.is(event_loop)) {
            return false;
        }
        let before = asked.replace(event_loop.clone().unbind());
        drop(asked);
        drop(before); // with the lock free: it may run Python code
        true
    }

    fn ended(&self) {
        let asked = self.0.lock().take();
        drop(asked);
    }
}

impl ProducerCore {
    fn config(&self, py: Python<'_>) -> PyResult<&ProducerConfig> {
        let missing = || "the client is not open: its __init__ was not called; call super().__init__() first";
        self.config.get().ok_or_else(|| hub_error(py, &Error::Closed(missing().into())))
    }

    #[inline]
    fn instance(&self, py: Python<'_>) -> PyResult<&ProducerInstance> {
        if let Some(Some(instance)) = self.instance.get() { Ok(instance) } else { self.start_instance(py) }
    }

    /// What this process sends with, for batches that are written with the interpreter released.
    pub(crate) fn shared(&self, py: Python<'_>) -> PyResult<Arc<Producer<Token>>> {
        self.instance(py).map(|instance| Arc::clone(&instance.producer))
    }

    /// A forked child has a client of its own: what its parent has queued, the parent sends.
    #[cold]
    fn start_instance(&self, py: Python<'_>) -> PyResult<&ProducerInstance> {
        let config = self.config(py)?;
        if self.closed.load(Ordering::Relaxed) {
            return Err(hub_error(py, &Error::closed()));
        }
        let (instance, _) = start(py, config)?;
        match self.instance.get_or_init(|| Some(instance)) {
            Some(instance) => Ok(instance),
            None => Err(hub_error(py, &Error::closed())),
        }
    }

    fn send_with(
        &self,
        topic: &Bound<'_, PyAny>,
        value: &Bound<'_, PyAny>,
        parts: MessageFields<'_, '_>,
        token: Option<Token>,
        until: Option<Instant>,
    ) -> PyResult<()> {
        let py = value.py();
        let instance = self.instance(py)?;
        with_scratch(|frame| {
            self.config(py)?.serializers.write(&instance.producer, frame, topic_name(topic)?, value, parts)?;
            queue(py, &instance.producer, frame, token, until)
        })
    }
}

/// Queues a written record, as `on_full` says where there is no room; `until` ends the wait for some earlier. The
/// interpreter is released where that may wait.
fn queue(
    py: Python<'_>,
    producer: &Producer<Token>,
    frame: &[u8],
    token: Option<Token>,
    until: Option<Instant>,
) -> PyResult<()> {
    let sent = match send_now(py, producer, frame, Linger::Short, token).map_err(|error| hub_error(py, &error))? {
        Sent::Full(token) => {
            let sent = py.detach(|| producer.send_blocking(frame, token, Linger::Short, until, runtime::check_signals));
            sent.map_err(|error| match error {
                BlockingError::Refused(error) => hub_error(py, &error),
                BlockingError::Interrupted(signal) => signal,
            })?
        }
        sent => sent,
    };
    if let Sent::Dropped(token, error) = sent {
        report_dropped(token, error);
    }
    Ok(())
}

/// Sends with the interpreter released where that may wait for the disk, or for another thread that does.
fn send_now(
    py: Python<'_>,
    producer: &Producer<Token>,
    frame: &[u8],
    linger: Linger,
    token: Option<Token>,
) -> gds_hub::Result<Sent<Token>> {
    match producer.send_at_once(frame, token, linger) {
        Ok(sent) => sent,
        Err(token) => py.detach(|| producer.send(frame, token, linger)),
    }
}

/// The sender, and the hub to be asked whether it is there.
fn start(py: Python<'_>, config: &ProducerConfig) -> PyResult<(ProducerInstance, DropDetached<Arc<dyn Hub>>)> {
    let (settings, callbacks) = (&config.settings, &config.callbacks);
    let made = py.detach(|| {
        let hub = gds_hub::open(settings, callbacks.clone())?;
        let producer = Producer::new(&*hub, settings.producer.options(), Arc::new(PythonReporter))?;
        Ok((ProducerInstance { producer: DropDetached::new(Arc::new(producer)) }, DropDetached::new(hub)))
    });
    let (instance, hub) = made.map_err(|error| hub_error(py, &error))?;
    if let Some(report) = &config.report {
        let report = report.clone_ref(py);
        let producer = Arc::downgrade(&instance.producer);
        runtime::handle()?.spawn(report_regularly(
            settings.statistics_interval(),
            report,
            move || producer.upgrade(),
            producer_stats,
        ));
    }
    Ok((instance, hub))
}

/// Outcomes known at once are told on the caller's thread.
fn report_dropped(token: Option<Token>, error: Error) {
    use gds_hub::producer::{Reported, Reporter};
    if let Some(token) = token {
        PythonReporter.report(vec![Reported { token, outcome: Err(error) }]);
    }
}

#[pymethods]
impl ProducerCore {
    // Takes whatever a subclass's `__init__` takes.
    #[new]
    #[pyo3(signature = (*_args, **_kwargs))]
    fn new(_args: &Bound<'_, PyTuple>, _kwargs: Option<&Bound<'_, PyDict>>) -> Self {
        Self {
            config: OnceLock::new(),
            closed: AtomicBool::new(false),
            instance: PerProcess::new(),
            turn: LoopTurn::default(),
        }
    }

    /// Settles the settings, reaches for the servers and starts the sender.
    #[pyo3(name = "_open", signature = (servers, config, librdkafka, *, log = None, token = None, value_serializer = None,
        key_serializer = None, report = None))]
    #[allow(clippy::too_many_arguments, clippy::needless_pass_by_value)] // what Python's constructor collected
    fn open(
        &self,
        py: Python<'_>,
        servers: Vec<String>,
        config: &Bound<'_, PyDict>,
        librdkafka: &Bound<'_, PyDict>,
        log: Option<Py<PyAny>>,
        token: Option<Py<PyAny>>,
        value_serializer: Option<Py<PyAny>>,
        key_serializer: Option<Py<PyAny>>,
        report: Option<Py<PyAny>>,
    ) -> PyResult<()> {
        fork::watch();
        exit::watch(py)?;
        let settings = settings::parse(py, Role::Producer, &servers, config, librdkafka)?;
        let callbacks = hub::callbacks(log, token);
        let serializers = Serializers { value: value_serializer, key: key_serializer };
        let config = ProducerConfig { settings, callbacks, serializers, report };
        let (instance, hub) = start(py, &config)?;
        if !config.settings.lazy && config.settings.producer.spool.is_none() {
            hub::reach(py, &hub, config.settings.connect_timeout)?;
        }
        if self.config.set(config).is_err() {
            return Err(PyTypeError::new_err("__init__ was called twice; make a new client"));
        }
        self.instance.get_or_init(|| Some(instance));
        Ok(())
    }

    /// Queue a message and return; see `gds_kafka.KafkaProducerClient`.
    #[pyo3(signature = (topic, value, key = None, *, headers = None, partition = None, timestamp = None, on_delivery = None))]
    #[allow(clippy::too_many_arguments)] // the contract's
    fn send(
        &self,
        topic: &Bound<'_, PyAny>,
        value: &Bound<'_, PyAny>,
        key: Option<&Bound<'_, PyAny>>,
        headers: Option<&Bound<'_, PyAny>>,
        partition: Option<i32>,
        timestamp: Option<&Bound<'_, PyAny>>,
        on_delivery: Option<Py<PyAny>>,
    ) -> PyResult<()> {
        self.send_with(
            topic,
            value,
            MessageFields { key, headers, partition, timestamp },
            on_delivery.map(Token::Callback),
            None,
        )
    }

    /// As `send`, and a future of `event_loop` for the outcome; None if there is no room now. To be called by the loop's
    /// thread: messages of one turn of the loop go together, and not later than at its end if none are under way.
    #[pyo3(signature = (event_loop, topic, value, key = None, *, headers = None, partition = None, timestamp = None))]
    #[allow(clippy::too_many_arguments)] // the contract's
    fn send_future<'py>(
        slf: &Bound<'py, Self>,
        event_loop: &Bound<'py, PyAny>,
        topic: &Bound<'_, PyAny>,
        value: &Bound<'py, PyAny>,
        key: Option<&Bound<'_, PyAny>>,
        headers: Option<&Bound<'_, PyAny>>,
        partition: Option<i32>,
        timestamp: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Option<Bound<'py, PyAny>>> {
        let (py, this) = (value.py(), slf.get());
        let instance = this.instance(py)?;
        let future = event_loop.call_method0(interned!(py, "create_future"))?;
        let token = Token::Future { event_loop: event_loop.clone().unbind(), future: future.clone().unbind() };
        let sent = with_scratch(|frame| {
            let fields = MessageFields { key, headers, partition, timestamp };
            this.config(py)?.serializers.write(&instance.producer, frame, topic_name(topic)?, value, fields)?;
            send_now(py, &instance.producer, frame, Linger::Short, Some(token)).map_err(|error| hub_error(py, &error))
        })?;
        match sent {
            Sent::Queued => {
                if this.turn.begins(event_loop) {
                    event_loop
                        .call_method1(interned!(py, "call_soon"), (slf.getattr(interned!(py, "_turn_ended"))?,))?;
                }
                Ok(Some(future))
            }
            Sent::Full(_) => Ok(None),
            Sent::Dropped(token, error) => {
                report_dropped(token, error);
                Ok(Some(future))
            }
        }
    }

    /// Called by the event loop when each task that could has sent something: they wait for what became of it.
    #[pyo3(name = "_turn_ended")]
    fn turn_ended(&self) {
        self.turn.ended();
        if let Some(Some(instance)) = self.instance.get() {
            instance.producer.hurry_when_idle();
        }
    }

    /// How long a send may wait for room.
    #[getter(_max_block_seconds)]
    fn max_block_seconds(&self, py: Python<'_>) -> PyResult<f64> {
        self.instance(py).map(|instance| instance.producer.max_block().as_secs_f64())
    }

    /// Counts a message as dropped for which there was no room in that time; the error to raise.
    #[pyo3(name = "_no_room")]
    fn no_room<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        hub_exception(py, &self.instance(py)?.producer.no_room(None))
    }

    /// Queue many messages, and wait for the outcome of each; see `gds_kafka.KafkaProducerClient`.
    #[pyo3(signature = (topic, values, *, timeout = None))]
    fn send_many<'py>(
        &self,
        py: Python<'py>,
        topic: &Bound<'py, PyAny>,
        values: &Bound<'py, PyAny>,
        timeout: Option<f64>,
    ) -> PyResult<Bound<'py, PyList>> {
        not_from_a_callback(self.instance(py)?, "send_many()")?;
        let deadline = timeout.map(|seconds| Instant::now() + runtime::seconds_or(Some(seconds), Duration::ZERO));
        let many = Arc::new(BatchOutcomes::default());
        for value in values.try_iter()? {
            let value = value?;
            let index = many.expect();
            let token = Some(Token::Waiting(Arc::clone(&many), index));
            let sent = match value.cast::<OutgoingMessage>() {
                Ok(message) => {
                    let message = message.get();
                    let bind = |part: &Option<Py<PyAny>>| part.as_ref().map(|part| part.bind(py).clone());
                    let (key, headers, timestamp) =
                        (bind(&message.key), bind(&message.headers), bind(&message.timestamp));
                    let parts = MessageFields {
                        key: key.as_ref(),
                        headers: headers.as_ref(),
                        partition: message.partition,
                        timestamp: timestamp.as_ref(),
                    };
                    self.send_with(topic, message.value.bind(py), parts, token, deadline)
                }
                Err(_) => self.send_with(topic, &value, MessageFields::default(), token, deadline),
            };
            if let Err(error) = sent {
                if !error.is_instance_of::<PyException>(py) {
                    return Err(error);
                }
                // One bad message does not stop the others; its outcome is what was raised.
                many.put(index, Err(to_hub_error(py, &error)));
            }
        }
        let instance = self.instance(py)?;
        instance.producer.hurry();
        while !py.detach(|| many.wait(SIGNAL_CHECK)) {
            py.check_signals()?;
            if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                break;
            }
        }
        let outcomes = PyList::empty(py);
        for outcome in many.take() {
            let unknown =
                || Err(Error::Timeout(Failure::new("no outcome in time; it may still be delivered").retriable()));
            outcomes.append(outcome_object(py, outcome.unwrap_or_else(unknown))?)?;
        }
        Ok(outcomes)
    }

    /// What was counted so far; see `gds_kafka.KafkaProducerClient`.
    fn stats<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        match self.instance.get() {
            Some(Some(instance)) => producer_stats(py, &instance.producer),
            _ => stats_dict(py, &Stats::default()),
        }
    }

    /// Whether it is closed.
    #[getter]
    fn closed(&self) -> bool {
        self.closed.load(Ordering::Relaxed)
    }
}

/// Counting may wait for other threads: without the interpreter.
fn producer_stats<'py>(py: Python<'py>, producer: &Arc<Producer<Token>>) -> PyResult<Bound<'py, PyDict>> {
    stats_dict(py, &py.detach(|| producer.stats()))
}

fn stats_dict<'py>(py: Python<'py>, stats: &Stats) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    for (name, value) in [
        ("accepted_total", stats.accepted),
        ("delivered_total", stats.delivered),
        ("adopted_total", stats.adopted),
        ("retried_total", stats.retried),
        ("dead_lettered_total", stats.dead_lettered),
        ("spool_errors_total", stats.spool_errors),
        ("pending", stats.pending),
        ("queued", stats.queued),
        ("queued_bytes", stats.queued_bytes),
        ("in_flight", stats.in_flight),
        ("spooled", stats.spooled),
        ("spool_bytes", stats.spool_bytes),
    ] {
        dict.set_item(name, value)?;
    }
    dict.set_item("spool_age_seconds", stats.spool_age_seconds)?;
    dict.set_item("failed_total", &stats.failed)?;
    dict.set_item("dropped_total", &stats.dropped)?;
    for (name, value) in &stats.hub {
        dict.set_item(name, value)?;
    }
    Ok(dict)
}
