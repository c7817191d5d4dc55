//! How what a consumer has open is reached: which process and thread may, and how it waits for another thread.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use gds_hub::Error;
use gds_hub::consumer::Consumer;
use gds_process::fork;
use pyo3::prelude::*;

use super::{ConsumerCore, SLICE};
use crate::errors::hub_error;
use crate::interop::{exit, runtime};
use crate::kafka::reading::{ConsumerState, OpenConsumer, apply_handled};

impl ConsumerCore {
    pub(super) fn opened(&self, py: Python<'_>) -> PyResult<&OpenConsumer> {
        let Some(opened) = self.opened.get() else {
            let message = "the consumer is not open: its __init__ was not called; call super().__init__() first";
            return Err(hub_error(py, &Error::Closed(message.into())));
        };
        if opened.generation != fork::generation() {
            let (made, here) = (opened.process, std::process::id());
            let message = format!(
                "this consumer was made in process {made} and cannot be used in process {here}, which is a fork of it: \
                 make a new KafkaConsumerClient in this process"
            );
            return Err(hub_error(py, &Error::Closed(message.into())));
        }
        Ok(opened)
    }

    /// Runs `call` on the state with the interpreter released; waits for a fetch of another thread, but not for the
    /// end of a `close` that ran out of time.
    pub(super) fn with_state<R: Send>(
        &self,
        py: Python<'_>,
        call: impl FnOnce(&mut ConsumerState) -> Result<R, Error> + Send,
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
    pub(super) fn with_hub<R: Send + 'static>(
        &self,
        py: Python<'_>,
        call: impl FnOnce(&mut Consumer) -> Result<R, Error> + Send + 'static,
    ) -> PyResult<R> {
        runtime::wait_blocking(py, self.job(py, call)?)?.map_err(|error| hub_error(py, &error))
    }

    /// `call` on the consumer, for a thread without the interpreter: waits for a fetch of another thread, but not for the
    /// end of a `close` that ran out of time.
    pub(in crate::kafka) fn job<R, F>(
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
                    apply_handled(&mut state, handled);
                    return call(&mut state.consumer);
                }
                if is_closed.load(Ordering::Relaxed) {
                    return Err(Error::closed());
                }
            }
        })
    }

    /// Refuses calls from a deserializer, which would wait for themselves.
    pub(super) fn not_within(&self, py: Python<'_>) -> PyResult<()> {
        if self.owner.load(Ordering::Relaxed) != exit::this_thread() {
            return Ok(());
        }
        let message = "a deserializer cannot use the consumer that calls it; do it in the loop body";
        Err(hub_error(py, &Error::Message(message.into())))
    }

    /// Runs `call` on the state with the interpreter held; waits for others without it. None while a `close` that ran
    /// out of time goes on.
    pub(super) fn with_python<R>(
        &self,
        py: Python<'_>,
        call: impl FnOnce(&OpenConsumer, &mut ConsumerState) -> PyResult<R>,
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

    pub(super) fn begin_reading(&self, py: Python<'_>) -> PyResult<ReaderGuard<'_>> {
        self.not_within(py)?;
        if self.reading.swap(true, Ordering::Acquire) {
            let message = "another thread is reading from this consumer; give each thread a consumer of its own";
            return Err(hub_error(py, &Error::Message(message.into())));
        }
        Ok(ReaderGuard(&self.reading))
    }
}

/// Nobody else reads while this lives.
pub(super) struct ReaderGuard<'a>(&'a AtomicBool);

impl Drop for ReaderGuard<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}
