//! What waits for outcomes: room, a flush, the end.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use gds_hub::producer::CloseReport;
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;

use super::{ProducerCore, ProducerInstance, SIGNAL_CHECK};
use crate::interop::runtime::seconds_or;
use crate::interop::warnings::warn_in;

/// How long a wait without an end is, each time.
const LONG: Duration = Duration::from_secs(3600);

#[pymethods]
impl ProducerCore {
    /// Wait until the outcome of everything sent is known; see `gds_kafka.KafkaProducerClient`.
    #[pyo3(signature = (timeout = None))]
    fn flush(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<u64> {
        let Some(Some(instance)) = self.instance.get() else { return Ok(0) };
        not_from_a_callback(instance, "flush()")?;
        let deadline = timeout.map(|_| Instant::now() + seconds_or(timeout, Duration::ZERO));
        instance.producer.hurry();
        loop {
            let left = deadline.map_or(SIGNAL_CHECK, |deadline| deadline.saturating_duration_since(Instant::now()));
            if py.detach(|| instance.producer.wait_flushed(left.min(SIGNAL_CHECK))) || left.is_zero() {
                break;
            }
            py.check_signals()?;
        }
        self.report_now(py)?;
        Ok(instance.producer.unflushed())
    }

    /// Flush within a bound and stop; see `gds_kafka.KafkaProducerClient`.
    #[pyo3(signature = (timeout = None))]
    fn close(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<u64> {
        let Some((instance, timeout)) = self.begin_close(timeout)? else { return Ok(0) };
        // In two steps, since the first one can be interrupted.
        let flushed = self.flush(py, Some(timeout.as_secs_f64()));
        let left = self.closed_with(py, &py.detach(|| instance.producer.close(Duration::ZERO)));
        flushed?;
        left
    }
}

impl ProducerCore {
    /// What waits for room, for a thread without the interpreter.
    pub(in crate::kafka) fn waiting_for_room(
        &self,
        py: Python<'_>,
        seconds: f64,
    ) -> PyResult<impl FnOnce() + Send + use<>> {
        let producer = Arc::clone(&self.instance(py)?.producer);
        let timeout = Duration::from_secs_f64(seconds.clamp(0.0, 1.0));
        Ok(move || producer.wait_for_room(timeout))
    }

    /// What waits until all is flushed, for a thread without the interpreter, and says how much is not; none in a process
    /// that sent nothing.
    pub(in crate::kafka) fn flushing(
        &self,
        timeout: Option<f64>,
    ) -> PyResult<Option<impl FnOnce() -> u64 + Send + use<>>> {
        let Some(Some(instance)) = self.instance.get() else { return Ok(None) };
        not_from_a_callback(instance, "flush()")?;
        let producer = Arc::clone(&instance.producer);
        let timeout = timeout.map(|_| seconds_or(timeout, Duration::ZERO));
        Ok(Some(move || {
            producer.hurry();
            match timeout {
                Some(timeout) => _ = producer.wait_flushed(timeout),
                None => while !producer.wait_flushed(LONG) {},
            }
            producer.unflushed()
        }))
    }

    /// What flushes and closes, for a thread without the interpreter; none if that is done.
    pub(in crate::kafka) fn closing(
        &self,
        timeout: Option<f64>,
    ) -> PyResult<Option<impl FnOnce() -> CloseReport + Send + use<>>> {
        let Some((instance, timeout)) = self.begin_close(timeout)? else { return Ok(None) };
        let producer = Arc::clone(&instance.producer);
        Ok(Some(move || {
            producer.hurry();
            producer.close(timeout)
        }))
    }

    /// The producer to be closed, and how long it may flush; none if that is done, or there is nothing to close.
    fn begin_close(&self, timeout: Option<f64>) -> PyResult<Option<(&ProducerInstance, Duration)>> {
        if let Some(Some(instance)) = self.instance.get() {
            not_from_a_callback(instance, "close()")?;
        }
        if self.closed.swap(true, Ordering::SeqCst) {
            return Ok(None);
        }
        let Some(config) = self.config.get() else { return Ok(None) };
        // A child that never used it has nothing to close.
        let Some(Some(instance)) = self.instance.get() else { return Ok(None) };
        Ok(Some((instance, seconds_or(timeout, config.settings.close_timeout))))
    }

    /// Says what is left of a producer that was closed; the number of messages that were not delivered.
    pub(in crate::kafka) fn closed_with(&self, py: Python<'_>, left: &CloseReport) -> PyResult<u64> {
        let warning =
            self.instance.get().and_then(Option::as_ref).and_then(|instance| instance.producer.close_warning(left));
        if let Some(text) = warning {
            warn_in("gds_kafka", &text);
        }
        self.report_now(py)?;
        Ok(left.spooled + left.dropped)
    }

    pub(in crate::kafka) fn report_now(&self, py: Python<'_>) -> PyResult<()> {
        if let Some(report) = self.config.get().and_then(|config| config.report.as_ref()) {
            report.call1(py, (self.stats(py)?,))?;
        }
        Ok(())
    }
}

/// What waits for outcomes cannot be called by the thread that tells them: it would wait for itself.
pub(super) fn not_from_a_callback(instance: &ProducerInstance, call: &str) -> PyResult<()> {
    if instance.producer.is_reporting_here() {
        return Err(PyRuntimeError::new_err(format!(
            "{call} waits until the on_delivery callbacks are done, so it cannot be called from one of them; call it from \
             another thread"
        )));
    }
    Ok(())
}
