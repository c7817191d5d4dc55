//! `KafkaConsumerClient`: messages become dicts, and places are committed once the program has finished with them.
//!
//! Messages are fetched in batches with the interpreter released, and made into objects one at a time. A place is
//! *given* when its message was handed out, and *finished* when the program asked for what comes after it; finished
//! places are passed to the hub's side before a fetch, which commits them.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::time::{Duration, Instant};

use gds_hub::producer::dead_letter::{self, Death};
use gds_hub::producer::{Producer, ProducerOptions, Sent};
use gds_hub::settings::{Role, Settings};
use gds_hub::{Batch, Error, Hub, Kind, Lag, Message, Position, Record, Subscriber, Subscription};
use gds_process::fork;
use parking_lot::Mutex;
use pyo3::exceptions::{PyException, PyTypeError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList, PyString, PyTuple};

use super::admin::Lag as LagDict;
use super::errors::to_python;
use super::outcomes::{Many, Tell, Token};
use super::{hub, settings};
use crate::json::read::Session;
use crate::made::interned;
use crate::released::Released;
use crate::{exit, runtime};

/// How long a wait may keep Ctrl-C from being seen, and another thread from its turn.
const SLICE: Duration = Duration::from_millis(50);

/// Finished places are passed on no more often than this, and no less often than `auto_commit_interval_ms`.
const PASS_ON: Duration = Duration::from_millis(250);

/// How long a dead letter may take: what it is the letter of is not finished before.
const LETTER_PATIENCE: Duration = Duration::from_secs(30);

/// How long questions wait for an answer.
const ANSWER_PATIENCE: Duration = Duration::from_secs(10);

type Place = (Arc<str>, i32);

/// What becomes of values that cannot be parsed.
#[derive(Clone, Copy, Eq, PartialEq)]
enum OnError {
    Raise,
    Skip,
    DeadLetter,
}

struct Opened {
    settings: Settings,
    value_deserializer: Option<Py<PyAny>>,
    key_deserializer: Option<Py<PyAny>>,
    on_error: OnError,
    grouped: bool,
    report: Option<Py<PyAny>>,
    generation: u32,
    process: u32,
    state: Released<Arc<Mutex<State>>>,
    counts: Arc<Counts>,
}

struct State {
    /// None once it is closed.
    subscriber: Option<Box<dyn Subscriber>>,
    batch: Batch,
    next: usize,
    /// Partitions whose messages in the batch are not to be given out any more.
    gone: HashSet<Place>,
    /// The message at hand, and the offset after it.
    at_hand: Option<(Place, i64)>,
    given: HashMap<Place, i64>,
    finished: HashMap<Place, i64>,
    passed_on: Instant,
    letters: Option<Producer<Token>>,
    /// For the dead letters; None once it is closed.
    hub: Option<Arc<dyn Hub>>,
    /// Where partitions go on after a seek, until a message of theirs was given out.
    sought: HashMap<Place, i64>,
    /// The topic of the last message, as a Python object.
    topic: Option<(Arc<str>, Py<PyString>)>,
    /// Since when `_poll` finds nothing.
    idle_since: Option<Instant>,
}

#[derive(Default)]
struct Counts {
    given: AtomicU64,
    unparsed: AtomicU64,
    skipped: AtomicU64,
    dead_lettered: AtomicU64,
    revoked: AtomicU64,
}

/// Native side of `gds_kafka.KafkaConsumerClient`.
#[pyclass(frozen, subclass, weakref, module = "gds_native._lib")]
pub(crate) struct ConsumerCore {
    opened: OnceLock<Opened>,
    closed: AtomicBool,
    /// Whether a thread is waiting for messages.
    reading: AtomicBool,
    /// The thread that makes messages into objects, which may call Python code; 0 if none does.
    owner: AtomicU64,
    /// Places told by `_handled`, which must not wait for a fetch under way.
    handled: Mutex<HashMap<Place, i64>>,
    /// The places after the list that `_poll` gave last.
    listed: Mutex<HashMap<Place, i64>>,
}

/// What came of trying to give out the next message.
enum Next<'py> {
    Message(Bound<'py, PyDict>),
    /// A value that cannot be parsed: what to raise, and the place after it. It is still the next one.
    Poison(PyErr, Place, i64),
    /// One whose dead letter was not taken. It is still the next one, so that asking again tries again.
    Unburied(PyErr),
    /// The batch is used up.
    Empty,
}

impl State {
    fn subscriber(&mut self) -> Result<&mut Box<dyn Subscriber>, Error> {
        self.subscriber.as_mut().ok_or_else(closed)
    }

    /// The program asked for more: it has finished with what it had.
    fn finish(&mut self) {
        if let Some((place, offset)) = self.at_hand.take() {
            self.finished.insert(place, offset);
        }
    }

    /// Leaves to others what is no longer this member's.
    fn drop_revoked(&mut self, counts: &Counts) {
        let Some(subscriber) = &mut self.subscriber else { return };
        for place in subscriber.revoked() {
            counts.revoked.fetch_add(1, Ordering::Relaxed);
            self.finished.remove(&place);
            self.given.remove(&place);
            if self.at_hand.as_ref().is_some_and(|(at_hand, _)| *at_hand == place) {
                self.at_hand = None;
            }
            // One that went and came back within a fetch is this member's again, from where the group had committed.
            if !subscriber.assignment().is_ok_and(|ours| ours.contains(&place)) {
                self.gone.insert(place);
            }
        }
    }

    /// Has finished places committed soon.
    fn pass_on(&mut self) -> Result<(), Error> {
        if self.finished.is_empty() {
            return Ok(());
        }
        self.passed_on = Instant::now();
        let places = positions(self.finished.clone());
        match self.subscriber()?.commit(&places, false) {
            // One of them was another member's by then, who begins where this one had committed.
            Err(error) if error.kind != Kind::Message => {
                return if error.retriable { Ok(()) } else { Err(error) }; // they are passed on the next time
            }
            _ => self.finished.clear(),
        }
        Ok(())
    }

    fn fetch(&mut self, opened: &Opened, max: usize, patience: Duration) -> Result<(), Error> {
        let every = opened.settings.consumer.auto_commit_interval.min(PASS_ON);
        if opened.grouped && opened.settings.consumer.auto_commit && self.passed_on.elapsed() >= every {
            self.pass_on()?;
        }
        self.batch.clear();
        self.next = 0;
        self.gone.clear();
        let Some(subscriber) = &mut self.subscriber else { return Err(closed()) };
        let polled = subscriber.poll(&mut self.batch, max, patience);
        self.drop_revoked(&opened.counts);
        // What came with the fetch in which a partition went away was fetched for its next owner.
        polled
    }
}

fn closed() -> Error {
    Error::new(Kind::Closed, "the consumer is closed; make another one")
}

fn positions(places: impl IntoIterator<Item = (Place, i64)>) -> Vec<Position> {
    places.into_iter().map(|((topic, partition), offset)| Position { topic, partition, offset }).collect()
}

impl ConsumerCore {
    fn opened(&self, py: Python<'_>) -> PyResult<&Opened> {
        let Some(opened) = self.opened.get() else {
            let message = "the consumer is not open: its __init__ was not called; call super().__init__() first";
            return Err(to_python(py, &Error::new(Kind::Closed, message)));
        };
        if opened.generation != fork::generation() {
            let (made, here) = (opened.process, std::process::id());
            let message = format!(
                "this consumer was made in process {made} and cannot be used in process {here}, which is a fork of it: \
                 make a new KafkaConsumerClient in this process"
            );
            return Err(to_python(py, &Error::new(Kind::Closed, message)));
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
                Some(result) => return result.map_err(|error| to_python(py, &error)),
                None if self.closed.load(Ordering::Relaxed) => return Err(to_python(py, &closed())),
                None => py.check_signals()?,
            }
        }
    }

    /// Refuses calls from a deserializer, which would wait for themselves.
    fn not_within(&self, py: Python<'_>) -> PyResult<()> {
        if self.owner.load(Ordering::Relaxed) != exit::this_thread() {
            return Ok(());
        }
        let message = "a deserializer cannot use the consumer that calls it; do it in the loop body";
        Err(to_python(py, &Error::new(Kind::Message, message)))
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

    /// Fetches until there is something, or the time is over; false if there will be nothing any more.
    fn fetch(&self, py: Python<'_>, opened: &Opened, max: usize, deadline: Option<Instant>) -> PyResult<bool> {
        loop {
            if self.closed.load(Ordering::Relaxed) {
                return Ok(false);
            }
            let left = deadline.map_or(SLICE, |deadline| deadline.saturating_duration_since(Instant::now()));
            let fetched = self.with_state(py, |state| {
                if state.subscriber.is_none() {
                    return Ok(None);
                }
                state.finished.extend(std::mem::take(&mut *self.handled.lock()));
                state.fetch(opened, max, left.min(SLICE))?;
                Ok(Some(!state.batch.is_empty()))
            });
            let some = match fetched {
                Err(_) if self.closed.load(Ordering::Relaxed) => return Ok(false),
                fetched => fetched?,
            };
            py.check_signals()?;
            match some {
                None => return Ok(false),
                Some(true) => return Ok(true),
                Some(false) if left.is_zero() => return Ok(true),
                Some(false) => {}
            }
        }
    }

    fn one_reader(&self, py: Python<'_>) -> PyResult<Reading<'_>> {
        self.not_within(py)?;
        if self.reading.swap(true, Ordering::Acquire) {
            let message = "another thread is reading from this consumer; give each thread a consumer of its own";
            return Err(to_python(py, &Error::new(Kind::Message, message)));
        }
        Ok(Reading(&self.reading))
    }

    fn report_now(&self, py: Python<'_>) -> PyResult<()> {
        let Some(opened) = self.opened.get() else { return Ok(()) };
        if let Some(report) = &opened.report {
            report.call1(py, (stats_of(py, &opened.counts, None)?,))?;
        }
        Ok(())
    }
}

/// Makes the next message of the batch into a dict. What is left out on the way is finished with at once, or with the
/// list whose places are `listed`.
fn next_message<'py>(
    py: Python<'py>,
    opened: &Opened,
    state: &mut State,
    session: &mut Session,
    mut listed: Option<&mut HashMap<Place, i64>>,
) -> PyResult<Next<'py>> {
    loop {
        let Some(message) = state.batch.get(state.next) else { return Ok(Next::Empty) };
        let place: Place = (Arc::clone(message.topic), message.partition);
        if !state.gone.is_empty() && state.gone.contains(&place) {
            state.next += 1;
            continue;
        }
        let after = message.offset + 1;
        let topic = match &state.topic {
            Some((known, topic)) if Arc::ptr_eq(known, message.topic) => topic.bind(py).clone(),
            _ => {
                let topic = PyString::new(py, message.topic);
                state.topic = Some((Arc::clone(message.topic), topic.clone().unbind()));
                topic
            }
        };
        let (error, cause) = match dict(py, opened, session, &message, &topic) {
            Ok(made) => {
                opened.counts.given.fetch_add(1, Ordering::Relaxed);
                state.next += 1;
                if !state.sought.is_empty() {
                    state.sought.remove(&place);
                }
                state.at_hand = Some((place, after));
                return Ok(Next::Message(made));
            }
            Err(Unparsed::Raised(error)) => return Err(error),
            Err(Unparsed::Value(error, cause)) => (error, cause),
        };
        match opened.on_error {
            OnError::Skip => {
                opened.counts.skipped.fetch_add(1, Ordering::Relaxed);
            }
            // The dead of a dead letter topic have nowhere to go.
            OnError::DeadLetter if dead_letter::topic(message.topic).is_some() => {
                if let Err(refused) = bury(py, state, state.next, &error) {
                    return Ok(Next::Unburied(refused));
                }
                opened.counts.dead_lettered.fetch_add(1, Ordering::Relaxed);
            }
            OnError::Raise | OnError::DeadLetter => {
                let raised = unparsed(py, &error, &message, cause)?;
                return Ok(Next::Poison(raised, place, after));
            }
        }
        opened.counts.unparsed.fetch_add(1, Ordering::Relaxed);
        state.next += 1;
        match &mut listed {
            // Messages before it are handled when the list is.
            Some(listed) => listed.insert(place, after),
            None => state.finished.insert(place, after),
        };
    }
}

/// Raises for a value that cannot be parsed, which counts as given out: asking again goes on behind it.
fn poisoned(opened: &Opened, state: &mut State, place: Place, after: i64) {
    opened.counts.unparsed.fetch_add(1, Ordering::Relaxed);
    state.next += 1;
    state.at_hand = Some((place, after));
}

struct Reading<'a>(&'a AtomicBool);

impl Drop for Reading<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

/// Commits what is finished with, leaves the group and lets go of the hub.
fn leave_group(state: &mut State, handled: HashMap<Place, i64>, commits: bool, counts: &Counts) -> Result<(), Error> {
    state.finished.extend(handled);
    state.drop_revoked(counts);
    // Nothing of it is given out any more.
    state.batch.clear();
    state.next = 0;
    let kept = if commits { state.pass_on() } else { Ok(()) };
    let left = state.subscriber.take().map_or(Ok(()), |mut subscriber| subscriber.close());
    if let Some(letters) = state.letters.take() {
        letters.close(LETTER_PATIENCE);
    }
    state.hub = None;
    kept.and(left)
}

/// Why a message could not be made into a dict.
enum Unparsed {
    /// Its key or value is not what the deserializer takes.
    Value(Error, Option<PyErr>),
    /// Something that is the program's: Ctrl-C, no memory.
    Raised(PyErr),
}

impl From<PyErr> for Unparsed {
    fn from(error: PyErr) -> Self {
        Self::Raised(error)
    }
}

fn dict<'py>(
    py: Python<'py>,
    opened: &Opened,
    session: &mut Session,
    message: &Message<'_>,
    topic: &Bound<'py, PyString>,
) -> Result<Bound<'py, PyDict>, Unparsed> {
    let key = match (message.key, &opened.key_deserializer) {
        (None, _) => py.None().into_bound(py),
        (Some(key), Some(deserializer)) => deserialized(py, deserializer, key, message, "key_deserializer")?,
        (Some(key), None) => match std::str::from_utf8(key) {
            Ok(text) => PyString::new(py, text).into_any(),
            Err(_) => PyBytes::new(py, key).into_any(),
        },
    };
    let value = match (message.value, &opened.value_deserializer) {
        (None, _) => py.None().into_bound(py),
        (Some(value), Some(deserializer)) => deserialized(py, deserializer, value, message, "value_deserializer")?,
        (Some(value), None) => match session.read(py, value) {
            Ok(value) => value,
            Err(mut error) => {
                let cause = error.cause.take();
                if let Some(cause) = &cause
                    && !cause.is_instance_of::<PyException>(py)
                {
                    return Err(Unparsed::Raised(cause.clone_ref(py)));
                }
                return Err(Unparsed::Value(not_read(message, &error.to_string()), cause));
            }
        },
    };
    let headers = PyList::empty(py);
    for (name, value) in &message.headers {
        headers.append((name, value.map(|value| PyBytes::new(py, value))))?;
    }
    let made = PyDict::new(py);
    made.set_item(interned!(py, "key"), key)?;
    made.set_item(interned!(py, "value"), value)?;
    made.set_item(interned!(py, "topic"), topic)?;
    made.set_item(interned!(py, "partition"), message.partition)?;
    made.set_item(interned!(py, "offset"), message.offset)?;
    made.set_item(interned!(py, "timestamp"), message.timestamp)?;
    made.set_item(interned!(py, "headers"), headers)?;
    Ok(made)
}

fn not_read(message: &Message<'_>, why: &str) -> Error {
    let Message { topic, partition, offset, .. } = message;
    Error::new(Kind::Serialization, format!("message at {topic}[{partition}] offset {offset} cannot be read: {why}"))
}

fn deserialized<'py>(
    py: Python<'py>,
    deserializer: &Py<PyAny>,
    bytes: &[u8],
    message: &Message<'_>,
    who: &str,
) -> Result<Bound<'py, PyAny>, Unparsed> {
    let bytes = PyBytes::new(py, bytes);
    if deserializer.is(py.get_type::<PyBytes>()) {
        return Ok(bytes.into_any());
    }
    match deserializer.bind(py).call1((bytes,)) {
        Ok(value) => Ok(value),
        Err(error) if error.is_instance_of::<PyException>(py) => {
            // Not its text, which may quote the value.
            let kind = error.get_type(py).name().map_or_else(|_| "an exception".to_owned(), |name| name.to_string());
            Err(Unparsed::Value(not_read(message, &format!("{who} raised {kind}")), Some(error)))
        }
        Err(error) => Err(Unparsed::Raised(error)),
    }
}

/// The exception for a value that cannot be parsed: it says from where the value is.
fn unparsed(py: Python<'_>, error: &Error, message: &Message<'_>, cause: Option<PyErr>) -> PyResult<PyErr> {
    let exception = super::errors::instance(py, error)?;
    exception.setattr("topic", &**message.topic)?;
    exception.setattr("partition", message.partition)?;
    exception.setattr("offset", message.offset)?;
    let raised = PyErr::from_value(exception);
    raised.set_cause(py, cause);
    Ok(raised)
}

/// Sends the message at `index` to its dead letter topic, and waits until it is there.
fn bury(py: Python<'_>, state: &mut State, index: usize, error: &Error) -> PyResult<()> {
    let done = py.detach(|| -> Result<(), Error> {
        let letters = match &mut state.letters {
            Some(letters) => letters,
            none => {
                let hub = state.hub.as_ref().ok_or_else(closed)?;
                none.insert(Producer::new(&**hub, ProducerOptions::default(), Arc::new(Tell))?)
            }
        };
        let Some(message) = state.batch.get(index) else { return Ok(()) };
        let Some(topic) = dead_letter::topic(message.topic) else { return Ok(()) };
        let record = Record {
            topic: message.topic,
            partition: None,
            timestamp: message.timestamp.unwrap_or_default(),
            key: message.key,
            value: message.value,
            headers: message.headers,
        };
        let death = Death { error: &error.message, partition: Some(message.partition), offset: Some(message.offset) };
        let headers = dead_letter::headers(&record, &death);
        let outcome = Arc::new(Many::default());
        let token = Token::Waiting(Arc::clone(&outcome), outcome.expect());
        let deadline = Instant::now() + LETTER_PATIENCE;
        let record = dead_letter::record(&record, &topic, &headers);
        let queued = matches!(letters.send_record(&record, Some(token), LETTER_PATIENCE)?, Sent::Queued);
        letters.hurry();
        while queued && !outcome.wait(deadline.saturating_duration_since(Instant::now())) && Instant::now() < deadline {
        }
        let why = match outcome.take().pop().flatten() {
            Some(Ok(_)) => return Ok(()),
            Some(Err(why)) => why,
            None => Error::new(Kind::Timeout, format!("no answer within {LETTER_PATIENCE:?}")),
        };
        let message = format!(
            "{topic} did not take the dead letter of a message that cannot be read ({}): {}",
            error.message, why.message
        );
        Err(Error { code: why.code, ..Error::new(Kind::Message, message).retriable() })
    });
    done.map_err(|error| to_python(py, &error))
}

fn places_of(offsets: &Bound<'_, PyAny>) -> PyResult<HashMap<Place, i64>> {
    let given: HashMap<(String, i32), i64> = offsets.extract().map_err(|_| {
        PyTypeError::new_err("offsets: expected a dict of (topic, partition) to the next offset to read")
    })?;
    Ok(given.into_iter().map(|((topic, partition), offset)| ((Arc::from(topic), partition), offset)).collect())
}

fn partitions_of(given: Vec<(String, i32)>) -> Vec<Place> {
    given.into_iter().map(|(topic, partition)| (Arc::from(topic), partition)).collect()
}

fn stats_of<'py>(py: Python<'py>, counts: &Counts, state: Option<&mut State>) -> PyResult<Bound<'py, PyDict>> {
    let stats = PyDict::new(py);
    for (name, count) in [
        ("consumed_total", &counts.given),
        ("unparsed_total", &counts.unparsed),
        ("skipped_total", &counts.skipped),
        ("dead_lettered_total", &counts.dead_lettered),
        ("revoked_partitions_total", &counts.revoked),
    ] {
        stats.set_item(name, count.load(Ordering::Relaxed))?;
    }
    if let Some(state) = state {
        stats.set_item("prefetched", state.batch.len() - state.next)?;
        for (name, value) in state.subscriber.as_ref().map(|subscriber| subscriber.statistics()).unwrap_or_default() {
            stats.set_item(name, value)?;
        }
    }
    Ok(stats)
}

/// Tells the figures once an interval, until the consumer is gone.
async fn report_regularly(state: Weak<Mutex<State>>, counts: Arc<Counts>, report: Py<PyAny>, interval: Duration) {
    let report = Arc::new(report);
    loop {
        tokio::time::sleep(interval).await;
        let Some(state) = state.upgrade() else { break };
        let (report, counts) = (Arc::clone(&report), Arc::clone(&counts));
        let told = tokio::task::spawn_blocking(move || {
            let call = |py: Python<'_>| -> PyResult<()> {
                let mut state = state.try_lock();
                let stats = stats_of(py, &counts, state.as_deref_mut())?;
                drop(state);
                report.call1(py, (stats,)).map(drop)
            };
            Python::try_attach(|py| exit::telling_python(py, || call(py))).is_some()
        });
        if !told.await.unwrap_or(false) {
            break; // the interpreter is ending
        }
    }
}

#[pymethods]
impl ConsumerCore {
    // Takes whatever a subclass's `__init__` takes.
    #[new]
    #[pyo3(signature = (*_args, **_kwargs))]
    fn new(_args: &Bound<'_, PyTuple>, _kwargs: Option<&Bound<'_, PyDict>>) -> Self {
        Self {
            opened: OnceLock::new(),
            closed: AtomicBool::new(false),
            reading: AtomicBool::new(false),
            owner: AtomicU64::new(0),
            handled: Mutex::default(),
            listed: Mutex::default(),
        }
    }

    /// Settles the settings, reaches for the servers and subscribes.
    #[pyo3(name = "_open", signature = (topics, servers, group_id, config, librdkafka, *, log = None, token = None,
        value_deserializer = None, key_deserializer = None, on_error = "raise", report = None))]
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
    ) -> PyResult<()> {
        fork::watch();
        exit::watch(py)?;
        let on_error = match on_error {
            "raise" => OnError::Raise,
            "skip" => OnError::Skip,
            "dead_letter" => OnError::DeadLetter,
            other => {
                let message = format!("on_error={other:?}: expected \"raise\", \"skip\" or \"dead_letter\"");
                return Err(to_python(py, &Error::new(Kind::Config, message)));
            }
        };
        let settings = settings::parse(py, Role::Consumer, &servers, config, librdkafka)?;
        let callbacks = hub::callbacks(log, token);
        let opening = settings.clone();
        let opened = py.detach(|| gds_hub::open(&opening, callbacks)).map_err(|error| to_python(py, &error))?;
        let opened = Released::new(opened);
        if !settings.lazy {
            hub::reach(py, &opened, settings.connect_timeout)?;
        }
        let grouped = group_id.is_some();
        let subscription = Subscription { topics, group: group_id, start: settings.consumer.start };
        let joining = Arc::clone(&opened);
        let subscriber = runtime::wait_blocking(py, move || joining.subscribe(&subscription))?
            .map_err(|error| to_python(py, &error))?;
        let state = Released::new(Arc::new(Mutex::new(State {
            subscriber: Some(subscriber),
            batch: Batch::default(),
            next: 0,
            gone: HashSet::new(),
            at_hand: None,
            given: HashMap::new(),
            finished: HashMap::new(),
            passed_on: Instant::now(),
            letters: None,
            hub: Some(Arc::clone(&opened)),
            sought: HashMap::new(),
            topic: None,
            idle_since: None,
        })));
        let counts = Arc::new(Counts::default());
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
            on_error,
            grouped,
            report,
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

    fn __iter__(this: PyRef<'_, Self>) -> PyRef<'_, Self> {
        this
    }

    fn __next__<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyDict>>> {
        let opened = self.opened(py)?;
        let _reading = self.one_reader(py)?;
        let deadline = opened.settings.consumer.timeout.map(|timeout| Instant::now() + timeout);
        loop {
            let next = self.with_python(py, |opened, state| {
                state.finish();
                match next_message(py, opened, state, &mut Session::new(), None)? {
                    Next::Message(message) => {
                        if let Some((place, after)) = &state.at_hand {
                            state.given.insert(place.clone(), *after);
                        }
                        Ok(Some(message))
                    }
                    Next::Poison(error, place, after) => {
                        poisoned(opened, state, place, after);
                        Err(error)
                    }
                    Next::Unburied(error) => Err(error),
                    Next::Empty => Ok(None),
                }
            })?;
            let Some(next) = next else { return Ok(None) };
            if next.is_some() {
                return Ok(next);
            }
            let max = opened.settings.consumer.max_poll_records;
            // Slices of the whole wait, so that a message at hand is finished with before each.
            if !self.fetch(py, opened, max, deadline)? {
                return Ok(None);
            }
            let over = deadline.is_some_and(|deadline| Instant::now() >= deadline);
            if over && self.with_python(py, |_, state| Ok(state.batch.is_empty()))?.unwrap_or(true) {
                return Ok(None);
            }
        }
    }

    /// Up to `max_messages`; an empty list when nothing came in time, None when nothing will come any more.
    #[pyo3(name = "_poll")]
    fn poll<'py>(
        &self,
        py: Python<'py>,
        max_messages: usize,
        timeout_seconds: f64,
    ) -> PyResult<Option<Bound<'py, PyList>>> {
        let opened = self.opened(py)?;
        let _reading = self.one_reader(py)?;
        let patience = Duration::try_from_secs_f64(timeout_seconds).unwrap_or_default();
        let deadline = Instant::now() + patience;
        let list = PyList::empty(py);
        let mut fetched = false;
        loop {
            let found = self.with_python(py, |opened, state| {
                state.idle_since.get_or_insert_with(Instant::now);
                // Now, as what is left out below is behind it.
                state.finished.extend(std::mem::take(&mut *self.handled.lock()));
                state.finish(); // what was raised for, by the call before
                let (mut session, start) = (Session::new(), state.next);
                let mut listed = HashMap::new();
                let mut raised = None;
                while list.len() < max_messages && raised.is_none() {
                    match next_message(py, opened, state, &mut session, Some(&mut listed)) {
                        Ok(Next::Message(message)) => {
                            list.append(message)?;
                            if let Some((place, after)) = state.at_hand.take() {
                                listed.insert(place, after); // finished only when `_handled` says so
                            }
                        }
                        Ok(Next::Empty) => break,
                        // First what could be read; the next call raises.
                        Ok(Next::Poison(..) | Next::Unburied(_)) if !list.is_empty() => break,
                        Ok(Next::Poison(error, place, after)) => {
                            poisoned(opened, state, place, after);
                            raised = Some(error);
                        }
                        Ok(Next::Unburied(error)) => raised = Some(error),
                        Err(error) => {
                            if !list.is_empty() {
                                state.next = start; // the list comes again as a whole
                                return Err(error);
                            }
                            raised = Some(error);
                        }
                    }
                }
                if list.is_empty() {
                    // What was left out is all there was, and behind what the program had before it asked for more.
                    state.finished.extend(std::mem::take(&mut listed));
                }
                if let Some(error) = raised {
                    return Err(error);
                }
                if !list.is_empty() {
                    state.idle_since = None;
                }
                state.given.extend(listed.iter().map(|(place, after): (&Place, &i64)| (place.clone(), *after)));
                *self.listed.lock() = listed;
                Ok(state.idle_since)
            })?;
            let Some(idle_since) = found else { return Ok(None) };
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

    /// Places that are finished with, by default those of the last list; never waits for a fetch under way.
    #[pyo3(name = "_handled", signature = (offsets = None))]
    fn handled(&self, offsets: Option<&Bound<'_, PyAny>>) -> PyResult<()> {
        let places = match offsets {
            Some(offsets) => places_of(offsets)?,
            None => std::mem::take(&mut *self.listed.lock()),
        };
        self.handled.lock().extend(places);
        Ok(())
    }

    /// Commit and wait; see `gds_kafka.KafkaConsumerClient`.
    #[pyo3(signature = (offsets = None))]
    fn commit(&self, py: Python<'_>, offsets: Option<&Bound<'_, PyAny>>) -> PyResult<()> {
        let given = offsets.map(places_of).transpose()?;
        self.with_state(py, |state| {
            state.finished.extend(std::mem::take(&mut *self.handled.lock()));
            let places = given.unwrap_or_else(|| {
                let mut places = state.finished.clone();
                places.extend(state.given.clone());
                places
            });
            let all = positions(places);
            state.subscriber()?.commit(&all, true)?;
            state.finished.retain(|place, offset| {
                !all.iter().any(|kept| kept.topic == place.0 && kept.partition == place.1 && kept.offset >= *offset)
            });
            Ok(())
        })
    }

    /// Go on at another place; see `gds_kafka.KafkaConsumerClient`.
    fn seek(&self, py: Python<'_>, topic: String, partition: i32, offset: i64) -> PyResult<()> {
        self.with_state(py, |state| {
            state.finished.extend(std::mem::take(&mut *self.handled.lock()));
            let place: Place = (Arc::from(topic), partition);
            let position = Position { topic: Arc::clone(&place.0), partition, offset };
            state.subscriber()?.seek(&position)?;
            if state.at_hand.as_ref().is_some_and(|(at_hand, _)| *at_hand == place) {
                state.at_hand = None;
            }
            state.finished.remove(&place);
            state.given.remove(&place);
            self.listed.lock().remove(&place);
            state.sought.insert(place.clone(), offset);
            state.gone.insert(place);
            Ok(())
        })
    }

    /// Leave partitions out; see `gds_kafka.KafkaConsumerClient`.
    fn pause(&self, py: Python<'_>, partitions: Vec<(String, i32)>) -> PyResult<()> {
        let places = partitions_of(partitions);
        self.with_state(py, |state| {
            for place in &places {
                // What was fetched and not given out comes again after `resume`.
                let first = (state.next..state.batch.len()).find_map(|index| {
                    let message = state.batch.get(index)?;
                    (message.partition == place.1 && **message.topic == *place.0).then_some(message.offset)
                });
                if let Some(offset) = first
                    && state.gone.insert(place.clone())
                {
                    let position = Position { topic: Arc::clone(&place.0), partition: place.1, offset };
                    state.subscriber()?.seek(&position)?;
                }
            }
            state.subscriber()?.pause(&places)
        })
    }

    /// Take partitions in again; see `gds_kafka.KafkaConsumerClient`.
    fn resume(&self, py: Python<'_>, partitions: Vec<(String, i32)>) -> PyResult<()> {
        let places = partitions_of(partitions);
        self.with_state(py, |state| state.subscriber()?.resume(&places))
    }

    /// The partitions of this member.
    fn assignment(&self, py: Python<'_>) -> PyResult<Vec<(String, i32)>> {
        let places = self.with_state(py, |state| state.subscriber()?.assignment())?;
        Ok(places.into_iter().map(|(topic, partition)| (topic.to_string(), partition)).collect())
    }

    /// How far this member is behind; what was fetched and not given out counts as not read.
    fn lag(&self, py: Python<'_>) -> PyResult<Vec<LagDict>> {
        let lags = self.with_state(py, |state| {
            let mut lags = state.subscriber()?.lag(ANSWER_PATIENCE)?;
            let mut waiting: HashMap<Place, i64> = HashMap::new();
            for index in (state.next..state.batch.len()).rev() {
                if let Some(message) = state.batch.get(index) {
                    waiting.insert((Arc::clone(message.topic), message.partition), message.offset);
                }
            }
            for lag in &mut lags {
                let place = (Arc::clone(&lag.topic), lag.partition);
                let fetched = waiting.get(&place).filter(|_| !state.gone.contains(&place));
                if let Some(next) = fetched.or_else(|| state.sought.get(&place)) {
                    lag.position = Some(*next);
                    lag.lag = (lag.end - next).max(0);
                }
            }
            Ok(lags)
        })?;
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
        self.not_within(py)?; // before it counts as closed
        if self.closed.swap(true, Ordering::SeqCst) {
            return Ok(());
        }
        let Some(opened) = self.opened.get() else { return Ok(()) };
        if opened.generation != fork::generation() {
            return Ok(()); // the parent's, who closes it
        }
        let handled = std::mem::take(&mut *self.handled.lock());
        let commits = opened.grouped && opened.settings.consumer.auto_commit;
        let (state, counts) = (Arc::clone(&opened.state), Arc::clone(&opened.counts));
        let patience = timeout.map_or(opened.settings.close_timeout, |seconds| {
            Duration::try_from_secs_f64(seconds.max(0.0)).unwrap_or(Duration::from_secs(1 << 32))
        });
        let leave = tokio::task::spawn_blocking;
        let ended = runtime::wait(py, async move {
            let left = leave(move || leave_group(&mut state.lock(), handled, commits, &counts));
            tokio::time::timeout(patience, left).await
        })?;
        let ended = match ended {
            Ok(Ok(ended)) => ended,
            Ok(Err(error)) => Err(Error::new(Kind::Message, format!("closing failed; please report this: {error}"))),
            Err(_) => {
                let message =
                    format!("the group was not left within {patience:?}; the last places may not be committed");
                Err(Error::new(Kind::Timeout, message).retriable())
            }
        };
        let ended = ended.map_err(|error| to_python(py, &error));
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
