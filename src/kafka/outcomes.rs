//! What became of messages, reported to Python: to callbacks, to futures of event loops, to a caller that waits.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use gds_hub::Error;
use gds_hub::producer::{DeliveryMetadata, Reported, Reporter};
use gds_process::sync::{Condvar, Mutex};
use pyo3::prelude::*;

use crate::errors::hub_exception;
use crate::interop::exit;
use crate::interop::once::interned;
use crate::interop::warnings::warn_in;

/// Where a message landed.
#[pyclass(frozen, module = "gds_kafka", name = "DeliveredMessage", get_all, eq)]
#[derive(Clone, PartialEq)]
pub(crate) struct DeliveredMessage {
    topic: String,
    partition: i32,
    offset: i64,
    timestamp: i64,
}

#[pymethods]
impl DeliveredMessage {
    fn __repr__(&self) -> String {
        let Self { topic, partition, offset, timestamp } = self;
        format!("DeliveredMessage(topic={topic:?}, partition={partition}, offset={offset}, timestamp={timestamp})")
    }
}

impl From<DeliveryMetadata> for DeliveredMessage {
    fn from(place: DeliveryMetadata) -> Self {
        let DeliveryMetadata { topic, partition, offset, timestamp } = place;
        Self { topic, partition, offset, timestamp }
    }
}

/// To whom an outcome is reported.
pub(crate) enum Token {
    /// `on_delivery(error, delivered)`, one of them None.
    Callback(Py<PyAny>),
    /// A future and its event loop.
    Future { event_loop: Py<PyAny>, future: Py<PyAny> },
    /// One of those whom a caller of `send_many` waits for.
    Waiting(Arc<BatchOutcomes>, usize),
}

/// Futures of one event loop, and what is to be reported to each.
type Futures = Vec<(Py<PyAny>, Result<DeliveryMetadata, Error>)>;

/// The outcomes of a `send_many`.
#[derive(Default)]
pub(crate) struct BatchOutcomes {
    outcomes: Mutex<Vec<Option<Result<DeliveryMetadata, Error>>>>,
    left: AtomicUsize,
    changed: Condvar,
}

impl BatchOutcomes {
    /// One more to wait for; its index.
    pub(crate) fn expect(&self) -> usize {
        let mut outcomes = self.outcomes.lock();
        outcomes.push(None);
        self.left.fetch_add(1, Ordering::SeqCst);
        outcomes.len() - 1
    }

    pub(crate) fn put(&self, index: usize, outcome: Result<DeliveryMetadata, Error>) {
        let mut outcomes = self.outcomes.lock();
        if let Some(place) = outcomes.get_mut(index)
            && place.is_none()
        {
            *place = Some(outcome);
            if self.left.fetch_sub(1, Ordering::SeqCst) == 1 {
                self.changed.notify_all();
            }
        }
    }

    /// Waits until all are known; whether they are.
    pub(crate) fn wait(&self, timeout: Duration) -> bool {
        let outcomes = self.outcomes.lock();
        if self.left.load(Ordering::SeqCst) > 0 {
            let _outcomes = self.changed.wait_for(outcomes, timeout);
        }
        self.left.load(Ordering::SeqCst) == 0
    }

    /// The outcomes so far, in order.
    pub(crate) fn take(&self) -> Vec<Option<Result<DeliveryMetadata, Error>>> {
        std::mem::take(&mut *self.outcomes.lock())
    }
}

/// Passes outcomes on; called by the hub's threads.
#[derive(Debug)]
pub(crate) struct PythonReporter;

impl Reporter<Token> for PythonReporter {
    fn report(&self, outcomes: Vec<Reported<Token>>) {
        let mut python = Vec::new();
        for Reported { token, outcome } in outcomes {
            match token {
                Token::Waiting(many, index) => many.put(index, outcome),
                token => python.push((token, outcome)),
            }
        }
        if python.is_empty() {
            return;
        }
        let mut python = Some(python);
        let reported = Python::try_attach(|py| {
            exit::reporting_to_python(py, || report_to_python(py, python.take().unwrap_or_default()));
        });
        if reported.is_none() {
            // The interpreter is ending: its objects can neither be called nor let go of any more.
            std::mem::forget(python);
        }
    }

    fn warn(&self, text: &str) {
        warn_in("gds_kafka", text);
    }
}

/// An exception or None, and a delivery or None.
#[allow(clippy::type_complexity)] // said in the line above
fn pair(
    py: Python<'_>,
    outcome: Result<DeliveryMetadata, Error>,
) -> PyResult<(Option<Bound<'_, PyAny>>, Option<Bound<'_, DeliveredMessage>>)> {
    match outcome {
        Ok(place) => Ok((None, Some(Bound::new(py, DeliveredMessage::from(place))?))),
        Err(error) => Ok((Some(hub_exception(py, &error)?), None)),
    }
}

fn report_to_python(py: Python<'_>, outcomes: Vec<(Token, Result<DeliveryMetadata, Error>)>) {
    // Futures of one loop are resolved together: waking a loop costs more than all the rest.
    let mut loops: Vec<(Py<PyAny>, Futures)> = Vec::new();
    for (token, outcome) in outcomes {
        match token {
            Token::Callback(callback) => {
                let reported = pair(py, outcome).and_then(|pair| callback.call1(py, pair));
                if let Err(error) = reported {
                    log_error(&error, "an on_delivery callback raised");
                }
            }
            Token::Future { event_loop, future } => match loops.iter_mut().find(|(known, _)| known.is(&event_loop)) {
                Some((_, futures)) => futures.push((future, outcome)),
                None => loops.push((event_loop, vec![(future, outcome)])),
            },
            Token::Waiting(..) => {}
        }
    }
    for (event_loop, futures) in loops {
        let resolved = Py::new(py, Resolve(Mutex::new(futures)))
            .and_then(|resolve| event_loop.call_method1(py, interned!(py, "call_soon_threadsafe"), (resolve,)));
        if let Err(error) = resolved {
            log_error(&error, "messages were sent, but the event loop that waits for them is closed");
        }
    }
}

fn log_error(error: &PyErr, what: &str) {
    warn_in("gds_kafka", &format!("{what}: {error}"));
}

/// Gives futures their outcome; called by their event loop, so that this thread takes little of the interpreter's time.
#[pyclass(frozen, module = "gds_native._lib")]
struct Resolve(Mutex<Futures>);

#[pymethods]
impl Resolve {
    fn __call__(&self, py: Python<'_>) {
        for (future, outcome) in std::mem::take(&mut *self.0.lock()) {
            // One that does not take it keeps the others from nothing.
            if let Err(error) = resolve(future.bind(py), outcome) {
                log_error(&error, "a future did not take what became of its message");
            }
        }
    }
}

fn resolve(future: &Bound<'_, PyAny>, outcome: Result<DeliveryMetadata, Error>) -> PyResult<()> {
    let py = future.py();
    if future.call_method0(interned!(py, "done"))?.is_truthy()? {
        return Ok(()); // cancelled: the message was sent all the same
    }
    match outcome {
        Ok(place) => future.call_method1(interned!(py, "set_result"), (DeliveredMessage::from(place),)),
        Err(error) => future.call_method1(interned!(py, "set_exception"), (hub_exception(py, &error)?,)),
    }
    .map(drop)
}

/// As [`pair`], one object.
pub(crate) fn outcome_object(py: Python<'_>, outcome: Result<DeliveryMetadata, Error>) -> PyResult<Py<PyAny>> {
    let (error, delivered) = pair(py, outcome)?;
    Ok(match (error, delivered) {
        (Some(error), _) => error.unbind(),
        (None, delivered) => delivered.map_or_else(|| py.None(), |delivered| delivered.into_any().unbind()),
    })
}
