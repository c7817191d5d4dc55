//! What a consumer has open, and its messages given to a program one by one.

use std::sync::Arc;
use std::time::Instant;

use gds_hub::Error;
use gds_hub::consumer::{Consumer, ConsumerCounts, DeadLetterOutcome, DeadLetterStatus, Next, Offsets};
use gds_hub::settings::Settings;
use gds_process::sync::TimedMutex;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString};

use super::messages::{dict, unparsed};
use crate::errors::hub_error;
use crate::interop::drop_detached::DropDetached;
use crate::json::read::Session;

pub(super) struct OpenConsumer {
    pub(super) settings: Settings,
    pub(super) value_deserializer: Option<Py<PyAny>>,
    pub(super) key_deserializer: Option<Py<PyAny>>,
    pub(super) report: Option<Py<PyAny>>,
    /// Told of partitions that come and go.
    pub(super) listener: Option<Py<PyAny>>,
    pub(super) generation: u32,
    pub(super) process: u32,
    pub(super) state: DropDetached<Arc<TimedMutex<ConsumerState>>>,
    pub(super) counts: Arc<ConsumerCounts>,
}

pub(super) struct ConsumerState {
    pub(super) consumer: Consumer,
    /// The topic of the last message, as a Python object.
    pub(super) topic: Option<(Arc<str>, Py<PyString>)>,
    /// Since when `_poll` finds nothing.
    pub(super) idle_since: Option<Instant>,
}

/// What is handled, told without waiting for a fetch under way.
#[derive(Default)]
pub(super) struct Handled {
    pub(super) places: Offsets,
    /// The loop whose list is.
    pub(super) list_of: Option<u64>,
}

/// What came of trying to give out the next message.
pub(super) enum NextMessage<'py> {
    Message(Bound<'py, PyDict>),
    /// It cannot be read, or its dead letter is not taken. It is still the next one.
    Refused(PyErr),
    /// Its dead letter is under way.
    Pending(Arc<DeadLetterOutcome>),
    /// The batch is used up.
    Empty,
}

/// Makes the next message of the batch into a dict, given to the loop `by`; leaves out what is to be left out.
pub(super) fn next_message<'py>(
    py: Python<'py>,
    opened: &OpenConsumer,
    state: &mut ConsumerState,
    session: &mut Session,
    by: u64,
) -> PyResult<NextMessage<'py>> {
    let ConsumerState { consumer, topic: known, .. } = state;
    let (key, value) = (opened.key_deserializer.as_ref(), opened.value_deserializer.as_ref());
    loop {
        let next = consumer.next(by, |message| {
            let topic = match known {
                Some((name, topic)) if Arc::ptr_eq(name, message.topic) => topic.bind(py).clone(),
                _ => {
                    let topic = PyString::new(py, message.topic);
                    *known = Some((Arc::clone(message.topic), topic.clone().unbind()));
                    topic
                }
            };
            dict(py, key, value, session, message, &topic)
        });
        let error = match next.map_err(|interrupted| interrupted.unwrap_or_else(|| hub_error(py, &Error::closed())))? {
            Next::Message(message) => return Ok(NextMessage::Message(message)),
            Next::Unreadable { error, cause, at } => {
                return Ok(NextMessage::Refused(unparsed(py, &error, &at, cause)?));
            }
            Next::DeadLetter(error) => error,
            Next::Empty => return Ok(NextMessage::Empty),
        };
        match py.detach(|| consumer.send_dead_letter(&error)) {
            DeadLetterStatus::Delivered => {}
            DeadLetterStatus::Pending(outcome) => return Ok(NextMessage::Pending(outcome)),
            DeadLetterStatus::Refused(refused) => return Ok(NextMessage::Refused(hub_error(py, &refused))),
        }
    }
}

pub(super) fn apply_handled(state: &mut ConsumerState, handled: Handled) {
    let Handled { places, list_of } = handled;
    state.consumer.handled(places);
    if let Some(by) = list_of {
        state.consumer.handled_list(by);
    }
}

pub(super) fn stats_of<'py>(
    py: Python<'py>,
    counts: &ConsumerCounts,
    state: Option<&mut ConsumerState>,
) -> PyResult<Bound<'py, PyDict>> {
    let stats = PyDict::new(py);
    for (name, count) in counts.totals() {
        stats.set_item(name, count)?;
    }
    if let Some(state) = state {
        stats.set_item("prefetched", state.consumer.prefetched())?;
        for (name, value) in state.consumer.subscriber().map(|subscriber| subscriber.statistics()).unwrap_or_default() {
            stats.set_item(name, value)?;
        }
    }
    Ok(stats)
}

/// The figures of a consumer; what its thread works with only if that is not under way.
pub(super) fn consumer_stats<'py>(
    py: Python<'py>,
    (state, counts): &(Arc<TimedMutex<ConsumerState>>, Arc<ConsumerCounts>),
) -> PyResult<Bound<'py, PyDict>> {
    stats_of(py, counts, state.try_lock().as_deref_mut())
}
