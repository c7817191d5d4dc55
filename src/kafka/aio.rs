//! What the asyncio clients await: the same calls as those of the other clients, as futures.

use std::collections::HashMap;
use std::sync::Arc;

use gds_hub::consumer::Consumer;
use gds_hub::{Error, Lag};
use pyo3::IntoPyObjectExt;
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;

use super::admin::Lag as LagDict;
use super::consumer::{ANSWER_TIMEOUT, ConsumerCore, asking_for_offsets, asking_for_times};
use super::partitions::{offsets_dict, pairs, partitions_of, places_of};
use super::producer::ProducerCore;
use crate::errors::hub_error;
use crate::interop::{asyncio, exit};

/// Calls of a consumer, awaited. They take turns with a fetch of it.
#[pyclass(frozen, module = "gds_native._lib")]
pub(crate) struct AsyncConsumerCore(Py<ConsumerCore>);

impl AsyncConsumerCore {
    /// A future for what `finish` makes of what `call` returns.
    fn awaited<'py, R: Send + 'static>(
        &self,
        py: Python<'py>,
        call: impl FnOnce(&mut Consumer) -> Result<R, Error> + Send + 'static,
        finish: impl for<'p> FnOnce(Python<'p>, R) -> PyResult<Bound<'p, PyAny>> + Send + 'static,
    ) -> PyResult<Bound<'py, PyAny>> {
        let job = self.0.get().job(py, call)?;
        asyncio::future(py, job, |py, result| finish(py, result.map_err(|error| hub_error(py, &error))?))
    }
}

/// What a call returns that has nothing to say.
#[allow(clippy::unnecessary_wraps)] // as `asyncio::future` asks
fn none(py: Python<'_>, (): ()) -> PyResult<Bound<'_, PyAny>> {
    Ok(py.None().into_bound(py))
}

#[pymethods]
impl AsyncConsumerCore {
    #[new]
    fn new(consumer: Py<ConsumerCore>) -> Self {
        Self(consumer)
    }

    /// Commits these offsets, but for partitions that went to another member since.
    fn commit<'py>(&self, py: Python<'py>, offsets: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        let mut given = places_of(offsets)?;
        let commit = move |consumer: &mut Consumer| {
            let own = consumer.subscriber()?.assignment()?;
            given.retain(|place, _| own.contains(place));
            if given.is_empty() { Ok(()) } else { consumer.commit(Some(given)) }
        };
        self.awaited(py, commit, none)
    }

    fn seek<'py>(&self, py: Python<'py>, topic: String, partition: i32, offset: i64) -> PyResult<Bound<'py, PyAny>> {
        self.awaited(py, move |consumer| consumer.seek((Arc::from(topic), partition), offset), none)
    }

    fn assign<'py>(&self, py: Python<'py>, partitions: Vec<(String, i32)>) -> PyResult<Bound<'py, PyAny>> {
        let places = partitions_of(partitions);
        self.awaited(py, move |consumer| consumer.assign(&places), none)
    }

    fn pause<'py>(&self, py: Python<'py>, partitions: Vec<(String, i32)>) -> PyResult<Bound<'py, PyAny>> {
        let places = partitions_of(partitions);
        self.awaited(py, move |consumer| consumer.pause(&places), none)
    }

    fn resume<'py>(&self, py: Python<'py>, partitions: Vec<(String, i32)>) -> PyResult<Bound<'py, PyAny>> {
        let places = partitions_of(partitions);
        self.awaited(py, move |consumer| consumer.subscriber()?.resume(&places), none)
    }

    fn assignment<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let assignment = |consumer: &mut Consumer| consumer.subscriber()?.assignment();
        self.awaited(py, assignment, |py, places| Ok(pairs(places).into_pyobject(py)?.into_any()))
    }

    fn lag<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let dicts = |lags: Vec<Lag>| lags.into_iter().map(LagDict::from).collect::<Vec<_>>();
        self.awaited(py, |consumer| consumer.lag(ANSWER_TIMEOUT), move |py, lags| dicts(lags).into_bound_py_any(py))
    }

    fn offsets_for_times<'py>(
        &self,
        py: Python<'py>,
        times: HashMap<(String, i32), i64>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let ask = asking_for_times(times);
        self.awaited(py, ask, |py, found| offsets_dict(found).into_bound_py_any(py))
    }

    /// The oldest offset there is, or the next to be written, of each partition.
    fn offsets<'py>(
        &self,
        py: Python<'py>,
        partitions: Vec<(String, i32)>,
        latest: bool,
    ) -> PyResult<Bound<'py, PyAny>> {
        let ask = asking_for_offsets(partitions, latest);
        self.awaited(py, ask, |py, found| offsets_dict(found).into_bound_py_any(py))
    }

    /// Commits what is finished with, and leaves the group.
    #[pyo3(signature = (timeout = None))]
    fn close<'py>(&self, py: Python<'py>, timeout: Option<f64>) -> PyResult<Bound<'py, PyAny>> {
        let Some(closing) = self.0.get().closing(py, timeout)? else {
            return asyncio::future(py, || (), none);
        };
        let job = closing_then(closing, self.0.clone_ref(py), |py, consumer, ended| {
            consumer.get().report_now(py)?;
            ended.map_err(|error| hub_error(py, &error))
        });
        asyncio::future(py, job, |py, ended| none(py, ended?))
    }
}

/// Runs what closes a client, and then `report` on it, for a thread without the interpreter; also where nobody awaits it
/// any more.
fn closing_then<C: Send, R, T>(
    closing: impl FnOnce() -> R,
    client: Py<C>,
    report: impl FnOnce(Python<'_>, &Py<C>, R) -> PyResult<T>,
) -> impl FnOnce() -> PyResult<T> {
    let guard = exit::Closing::begin();
    move || {
        let mut closed = Some(closing());
        let reported = Python::try_attach(|py| {
            let closed = closed.take()?;
            Some(exit::reporting_to_python(py, || report(py, &client, closed)))
        });
        drop(guard);
        reported.flatten().unwrap_or_else(|| {
            std::mem::forget(client); // of an interpreter that is gone
            Err(PyRuntimeError::new_err("the interpreter has ended"))
        })
    }
}

/// Calls of a producer, awaited.
#[pyclass(frozen, module = "gds_native._lib")]
pub(crate) struct AsyncProducerCore(Py<ProducerCore>);

#[pymethods]
impl AsyncProducerCore {
    #[new]
    fn new(producer: Py<ProducerCore>) -> Self {
        Self(producer)
    }

    /// Waits for room after `send_future` found none.
    fn wait_for_room<'py>(&self, py: Python<'py>, seconds: f64) -> PyResult<Bound<'py, PyAny>> {
        let waiting = self.0.get().waiting_for_room(py, seconds)?;
        asyncio::future(py, waiting, none)
    }

    /// Waits until the outcome of everything sent is known; the number of messages whose outcome is not.
    #[pyo3(signature = (timeout = None))]
    fn flush<'py>(&self, py: Python<'py>, timeout: Option<f64>) -> PyResult<Bound<'py, PyAny>> {
        let flushing = self.0.get().flushing(timeout)?;
        let producer = self.0.clone_ref(py);
        asyncio::future(
            py,
            move || flushing.map_or(0, |flushing| flushing()),
            move |py, left| {
                producer.get().report_now(py)?;
                Ok(left.into_pyobject(py)?.into_any())
            },
        )
    }

    /// Flushes within a bound and stops; the number of messages that were not delivered.
    #[pyo3(signature = (timeout = None))]
    fn close<'py>(&self, py: Python<'py>, timeout: Option<f64>) -> PyResult<Bound<'py, PyAny>> {
        let Some(closing) = self.0.get().closing(timeout)? else {
            return asyncio::future(py, || 0, |py, left| left.into_bound_py_any(py));
        };
        let producer = self.0.clone_ref(py);
        let job = closing_then(closing, producer, |py, producer, report| producer.get().closed_with(py, &report));
        asyncio::future(py, job, |py, left| left?.into_bound_py_any(py))
    }
}
