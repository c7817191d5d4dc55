//! `KafkaConsumerClient`: the hub's [`Consumer`] with messages as dicts.
//!
//! Messages are fetched in batches with the interpreter released, and made into objects one at a time. What waits does
//! so in slices, between which Ctrl-C is heard and other threads have their turn.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use gds_hub::consumer::{Consumer, ConsumerOptions, DEAD_LETTER_TIMEOUT, DeadLetterOutcome, OnError};
use gds_hub::settings::Role;
use gds_hub::{Change, Error, ErrorKind, Lag, OffsetSpec, Subscription, TopicPartition};
use gds_process::fork;
use gds_process::sync::{Mutex, TimedMutex};
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PyTuple};

use super::admin::Lag as LagDict;
use super::loops::ConsumerLoop;
use super::partitions::{offsets_dict, pairs, partitions_of, places_of};
use super::reading::{Handled, Opened, State, Tried, next_message, report_regularly, stats_of, take_in};
use super::{hub, settings};
use crate::drop_detached::DropDetached;
use crate::errors::hub_error;
use crate::json::read::Session;
use crate::observe::warn_in;
use crate::{exit, runtime};

/// How long a wait may keep Ctrl-C from being seen, and another thread from its turn.
const SLICE: Duration = Duration::from_millis(50);

/// How long questions wait for an answer.
pub(super) const ANSWER_PATIENCE: Duration = Duration::from_secs(10);

/// Native side of `gds_kafka.KafkaConsumerClient`.
#[pyclass(frozen, subclass, weakref, module = "gds_native._lib")]
pub(crate) struct ConsumerCore {
    opened: OnceLock<Opened>,
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

/// What came of trying to make a list.
enum Listed {
    Idle(Option<Instant>),
    Pending(Arc<DeadLetterOutcome>),
}

impl ConsumerCore {
    fn opened(&self, py: Python<'_>) -> PyResult<&Opened> {
        let Some(opened) = self.opened.get() else {
            let message = "the consumer is not open: its __init__ was not called; call super().__init__() first";
            return Err(hub_error(py, &Error::new(ErrorKind::Closed, message)));
        };
        if opened.generation != fork::generation() {
            let (made, here) = (opened.process, std::process::id());
            let message = format!(
                "this consumer was made in process {made} and cannot be used in process {here}, which is a fork of it: \
                 make a new KafkaConsumerClient in this process"
            );
            return Err(hub_error(py, &Error::new(ErrorKind::Closed, message)));
        }
        Ok(opened)
    }

    /// Runs `call` on the state with the interpreter released; waits for a fetch of another thread, but not for the
    /// end of a `close` that ran out of time.
    fn with_state<R: Send>(
        &self,
        py: Python<'_>,
        call: impl FnOnce(&mut State) -> Result<R, Error> + Send,
    ) -> PyResult<R> {
        let state = &self.opened(py)?.state;
        self.not_within(py)?;
        let mut call = Some(call);
        loop {
            let done = py.detach(|| {
                let mut state = state.try_lock_for(SLICE)?;
                call.take().map(|call| call(&mut state))
            });
            match done {
                Some(result) => return result.map_err(|error| hub_error(py, &error)),
                None if self.closed.load(Ordering::Relaxed) => return Err(hub_error(py, &Error::closed())),
                None => py.check_signals()?,
            }
        }
    }

    /// As `with_state`, for what may wait for the hub: Ctrl-C ends the wait, and the call goes on by itself.
    fn with_hub<R: Send + 'static>(
        &self,
        py: Python<'_>,
        call: impl FnOnce(&mut Consumer) -> Result<R, Error> + Send + 'static,
    ) -> PyResult<R> {
        runtime::wait_blocking(py, self.job(py, call)?)?.map_err(|error| hub_error(py, &error))
    }

    /// `call` on the consumer, for a thread without the interpreter: waits for a fetch of another thread, but not for the
    /// end of a `close` that ran out of time.
    pub(super) fn job<R, F>(
        &self,
        py: Python<'_>,
        call: F,
    ) -> PyResult<impl FnOnce() -> Result<R, Error> + Send + use<R, F>>
    where
        F: FnOnce(&mut Consumer) -> Result<R, Error> + Send,
    {
        let state = Arc::clone(&self.opened(py)?.state);
        self.not_within(py)?;
        let is_closed = Arc::clone(&self.closed);
        let handled = std::mem::take(&mut *self.handled.lock());
        Ok(move || {
            loop {
                if let Some(mut state) = state.try_lock_for(SLICE) {
                    take_in(&mut state, handled);
                    return call(&mut state.consumer);
                }
                if is_closed.load(Ordering::Relaxed) {
                    return Err(Error::closed());
                }
            }
        })
    }

    /// Refuses calls from a deserializer, which would wait for themselves.
    fn not_within(&self, py: Python<'_>) -> PyResult<()> {
        if self.owner.load(Ordering::Relaxed) != exit::this_thread() {
            return Ok(());
        }
        let message = "a deserializer cannot use the consumer that calls it; do it in the loop body";
        Err(hub_error(py, &Error::new(ErrorKind::Message, message)))
    }

    /// Runs `call` on the state with the interpreter held; waits for others without it. None while a `close` that ran
    /// out of time goes on.
    fn with_python<R>(
        &self,
        py: Python<'_>,
        call: impl FnOnce(&Opened, &mut State) -> PyResult<R>,
    ) -> PyResult<Option<R>> {
        let opened = self.opened(py)?;
        self.not_within(py)?;
        loop {
            if let Some(mut state) = opened.state.try_lock() {
                self.owner.store(exit::this_thread(), Ordering::Relaxed);
                let done = call(opened, &mut state);
                self.owner.store(0, Ordering::Relaxed);
                return done.map(Some);
            }
            if self.closed.load(Ordering::Relaxed) {
                return Ok(None);
            }
            // Only to wait: the lock is taken again with the interpreter.
            py.detach(|| drop(opened.state.try_lock_for(SLICE)));
            py.check_signals()?;
        }
    }

    /// Takes in what was told to be handled.
    fn handle(&self, state: &mut State) {
        take_in(state, std::mem::take(&mut *self.handled.lock()));
    }

    /// Fetches until there is something, or the time is over; false if there will be nothing any more.
    fn fetch(&self, py: Python<'_>, opened: &Opened, max: usize, deadline: Option<Instant>) -> PyResult<bool> {
        loop {
            if self.closed.load(Ordering::Relaxed) {
                return Ok(false);
            }
            let left = deadline.map_or(SLICE, |deadline| deadline.saturating_duration_since(Instant::now()));
            let fetched = self.with_state(py, |state| {
                if state.consumer.is_closed() {
                    return Ok(None);
                }
                self.handle(state);
                let fetched = state.consumer.fetch(max, left.min(SLICE));
                Ok(Some((!state.consumer.is_used_up(), state.consumer.take_changes(), fetched.err())))
            });
            let found = match fetched {
                Err(_) if self.closed.load(Ordering::Relaxed) => return Ok(false),
                fetched => fetched?,
            };
            let Some((some, news, error)) = found else { return Ok(false) };
            self.tell(py, opened, news)?;
            if let Some(error) = error {
                let closed = self.closed.load(Ordering::Relaxed);
                return if closed { Ok(false) } else { Err(hub_error(py, &error)) };
            }
            py.check_signals()?;
            if some || left.is_zero() {
                return Ok(true);
            }
        }
    }

    /// Tells the program of partitions that come and go. It may use the consumer meanwhile: nothing is held.
    fn tell(&self, py: Python<'_>, opened: &Opened, mut news: Vec<Change>) -> PyResult<()> {
        let Some(listener) = &opened.listener else { return Ok(()) };
        while !news.is_empty() && !self.closed.load(Ordering::Relaxed) {
            for change in news {
                let (what, places) = match change {
                    Change::Assigned(places) => ("assigned", places),
                    Change::Revoking(places) => ("revoking", places),
                    Change::Revoked(places) => ("revoked", places),
                };
                listener.call1(py, (what, pairs(places)))?;
            }
            let told = self.with_state(py, |state| {
                if !state.consumer.is_closed() {
                    state.consumer.changes_reported()?;
                }
                Ok(state.consumer.take_changes())
            });
            news = match told {
                Err(_) if self.closed.load(Ordering::Relaxed) => return Ok(()),
                told => told?,
            };
        }
        Ok(())
    }

    /// Waits until it is known what became of a dead letter, with nothing held and Ctrl-C heard; false when it takes too
    /// long.
    fn wait_for_dead_letter(&self, py: Python<'_>, outcome: &DeadLetterOutcome) -> PyResult<bool> {
        let deadline = Instant::now() + DEAD_LETTER_TIMEOUT;
        loop {
            if py.detach(|| outcome.wait(SLICE)) || self.closed.load(Ordering::Relaxed) {
                return Ok(true);
            }
            py.check_signals()?;
            if Instant::now() >= deadline {
                return Ok(false);
            }
        }
    }

    /// The next message for the loop `by`; None when there will be none, or none came in time.
    pub(super) fn next_of<'py>(&self, py: Python<'py>, by: u64) -> PyResult<Option<Bound<'py, PyDict>>> {
        let opened = self.opened(py)?;
        let _reading = self.one_reader(py)?;
        let deadline = opened.settings.consumer.timeout.map(|timeout| Instant::now() + timeout);
        let begins = self.begins.swap(false, Ordering::Relaxed);
        let mut asked = false;
        loop {
            let next = self.with_python(py, |opened, state| {
                if !std::mem::replace(&mut asked, true) {
                    self.handle(state);
                    state.consumer.ask(by, begins).map_err(|error| hub_error(py, &error))?;
                }
                next_message(py, opened, state, &mut Session::new(), by)
            })?;
            match next {
                None => return Ok(None),
                Some(Tried::Message(message)) => return Ok(Some(message)),
                Some(Tried::Refused(error)) => return Err(error),
                Some(Tried::Pending(outcome)) => {
                    if !self.wait_for_dead_letter(py, &outcome)? {
                        return Err(self.dead_letter_timed_out(py)?);
                    }
                    continue;
                }
                Some(Tried::Empty) => {}
            }
            let max = opened.settings.consumer.max_poll_records;
            // Slices of the whole wait, so that a message at hand is finished with before each.
            if !self.fetch(py, opened, max, deadline)? {
                return Ok(None);
            }
            let over = deadline.is_some_and(|deadline| Instant::now() >= deadline);
            if over && self.with_python(py, |_, state| Ok(state.consumer.is_used_up()))?.unwrap_or(true) {
                return Ok(None);
            }
        }
    }

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
        let patience = timeout.map_or(opened.settings.close_timeout, |seconds| {
            Duration::try_from_secs_f64(seconds.max(0.0)).unwrap_or(Duration::from_secs(1 << 32))
        });
        let runtime = runtime::handle()?;
        Ok(Some(move || {
            let left = runtime.spawn_blocking(move || {
                let mut state = state.lock();
                take_in(&mut state, handled);
                state.consumer.close()
            });
            match runtime.block_on(async { tokio::time::timeout(patience, left).await }) {
                Ok(Ok(ended)) => ended,
                Ok(Err(error)) => {
                    Err(Error::new(ErrorKind::Message, format!("closing failed; please report this: {error}")))
                }
                Err(_) => {
                    let message =
                        format!("the group was not left within {patience:?}; the last places may not be committed");
                    Err(Error::new(ErrorKind::Timeout, message).retriable())
                }
            }
        }))
    }

    fn dead_letter_timed_out(&self, py: Python<'_>) -> PyResult<PyErr> {
        let error = self.with_python(py, |_, state| Ok(state.consumer.dead_letter_timed_out()))?;
        Ok(hub_error(py, &error.unwrap_or_else(Error::closed)))
    }

    fn one_reader(&self, py: Python<'_>) -> PyResult<OneReader<'_>> {
        self.not_within(py)?;
        if self.reading.swap(true, Ordering::Acquire) {
            let message = "another thread is reading from this consumer; give each thread a consumer of its own";
            return Err(hub_error(py, &Error::new(ErrorKind::Message, message)));
        }
        Ok(OneReader(&self.reading))
    }

    pub(super) fn report_now(&self, py: Python<'_>) -> PyResult<()> {
        let Some(opened) = self.opened.get() else { return Ok(()) };
        if let Some(report) = &opened.report {
            report.call1(py, (stats_of(py, &opened.counts, None)?,))?;
        }
        Ok(())
    }
}

struct OneReader<'a>(&'a AtomicBool);

impl Drop for OneReader<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

/// What asks for one end of partitions.
pub(super) fn asking_for_offsets(
    partitions: Vec<(String, i32)>,
    latest: bool,
) -> impl FnOnce(&mut Consumer) -> Result<Vec<(TopicPartition, i64)>, Error> {
    let (places, which) = (partitions_of(partitions), if latest { OffsetSpec::Latest } else { OffsetSpec::Earliest });
    move |consumer| consumer.subscriber()?.offsets(&places, which, ANSWER_PATIENCE)
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
                return Err(hub_error(py, &Error::new(ErrorKind::Config, message)));
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
        let subscription = Subscription { topics, group: group_id, start: settings.consumer.start };
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
        let state = DropDetached::new(Arc::new(TimedMutex::new(State { consumer, topic: None, idle_since: None })));
        if let Some(report) = &report {
            let interval = settings.statistics_interval();
            let report = report.clone_ref(py);
            runtime::handle()?.spawn(report_regularly(Arc::downgrade(&state), Arc::clone(&counts), report, interval));
        }
        let generation = fork::generation();
        let opened = Opened {
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
        let opened = self.opened(py)?;
        let _reading = self.one_reader(py)?;
        let patience = Duration::try_from_secs_f64(timeout_seconds).unwrap_or_default();
        let deadline = Instant::now() + patience;
        let begins = self.begins.swap(false, Ordering::Relaxed);
        let list = PyList::empty(py);
        let (mut asked, mut fetched, mut late) = (false, false, false);
        loop {
            let listed = self.with_python(py, |opened, state| {
                state.idle_since.get_or_insert_with(Instant::now);
                if list.is_empty() {
                    self.handle(state);
                    if !std::mem::replace(&mut asked, true) {
                        state.consumer.ask(by, begins).map_err(|error| hub_error(py, &error))?;
                    }
                    state.consumer.open_list(by);
                }
                let mut session = Session::new();
                while list.len() < max_messages {
                    match next_message(py, opened, state, &mut session, by) {
                        Ok(Tried::Message(message)) => list.append(message)?,
                        Ok(Tried::Empty) => break,
                        Ok(Tried::Pending(outcome)) if !late => return Ok(Listed::Pending(outcome)),
                        // First what could be read; the next call raises.
                        Ok(_) if !list.is_empty() => break,
                        Ok(Tried::Pending(_)) => {
                            state.consumer.empty_list();
                            return Err(hub_error(py, &state.consumer.dead_letter_timed_out()));
                        }
                        Ok(Tried::Refused(error)) => {
                            state.consumer.empty_list();
                            return Err(error);
                        }
                        Err(error) => {
                            if list.is_empty() {
                                state.consumer.empty_list();
                            } else {
                                state.consumer.take_list_back();
                            }
                            return Err(error);
                        }
                    }
                }
                if list.is_empty() {
                    state.consumer.empty_list();
                } else {
                    state.idle_since = None;
                }
                Ok(Listed::Idle(state.idle_since))
            })?;
            let idle_since = match listed {
                None => return Ok(None),
                Some(Listed::Idle(since)) => since,
                Some(Listed::Pending(outcome)) => {
                    match self.wait_for_dead_letter(py, &outcome) {
                        Ok(settled) => late = !settled,
                        Err(interrupted) => {
                            self.with_state(py, |state| {
                                state.consumer.take_list_back();
                                Ok(())
                            })?;
                            return Err(interrupted);
                        }
                    }
                    continue;
                }
            };
            if !list.is_empty() {
                return Ok(Some(list));
            }
            if fetched && Instant::now() >= deadline {
                let idle = idle_since.map(|since| since.elapsed());
                let over = opened.settings.consumer.timeout.is_some_and(|most| idle.is_some_and(|idle| idle >= most));
                return Ok((!over).then_some(list));
            }
            if !self.fetch(py, opened, max_messages, Some(deadline))? {
                return Ok(None);
            }
            fetched = true;
        }
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
        let times: Vec<_> =
            times.into_iter().map(|((topic, partition), time)| ((Arc::from(topic), partition), time)).collect();
        let found =
            self.with_hub(py, move |consumer| consumer.subscriber()?.offsets_for_times(&times, ANSWER_PATIENCE))?;
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
        let lags = self.with_hub(py, |consumer| consumer.lag(ANSWER_PATIENCE))?;
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
