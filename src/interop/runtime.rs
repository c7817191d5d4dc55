//! The tokio runtime, started on first use and again in a forked child, and how to wait for it without the interpreter.

use std::future::Future;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use gds_process::PerProcess;
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use tokio::runtime::{Builder, Handle, Runtime};

/// How long a wait may keep Ctrl-C from being seen.
const SIGNAL_CHECK: Duration = Duration::from_millis(50);

static RUNTIME: PerProcess<std::io::Result<Runtime>> = PerProcess::new();

/// The runtime of this process. One worker is enough: what it runs waits for sockets.
pub(crate) fn handle() -> PyResult<Handle> {
    let build = || {
        let mut builder = Builder::new_multi_thread();
        builder.worker_threads(1).thread_name("gds-telemetry").enable_all().on_thread_start(gds_process::leave_signals);
        builder.build()
    };
    match RUNTIME.get_or_init(build) {
        Ok(runtime) => Ok(runtime.handle().clone()),
        Err(error) => Err(PyRuntimeError::new_err(format!("cannot start the telemetry thread: {error}"))),
    }
}

/// Seconds as Python gives them: none is the `default`, below zero is zero, and what is too long is very long.
pub(crate) fn seconds_or(seconds: Option<f64>, default: Duration) -> Duration {
    const LONG: Duration = Duration::from_secs(1 << 32);
    seconds.map_or(default, |seconds| Duration::try_from_secs_f64(seconds.max(0.0)).unwrap_or(LONG))
}

/// Runs `future` on the runtime and waits for it with the interpreter free for other threads; Ctrl-C ends the wait.
pub(crate) fn wait<T: Send + 'static>(py: Python<'_>, future: impl Future<Output = T> + Send + 'static) -> PyResult<T> {
    let (done, mut result) = mpsc::sync_channel(1);
    let task = handle()?.spawn(async move { done.send(future.await) });
    loop {
        // Moved in and out, because a receiver may be used by one thread at a time only.
        let (back, outcome) = py.detach(move || {
            let outcome = result.recv_timeout(SIGNAL_CHECK);
            (result, outcome)
        });
        result = back;
        match outcome {
            Ok(value) => return Ok(value),
            Err(RecvTimeoutError::Timeout) => py.check_signals().inspect_err(|_| task.abort())?,
            Err(RecvTimeoutError::Disconnected) => {
                return Err(PyRuntimeError::new_err("the telemetry thread dropped a task; please report this"));
            }
        }
    }
}

/// For waits without the interpreter: what a signal that came meanwhile raises. An interpreter that ends has no signals.
#[allow(clippy::redundant_closure_for_method_calls)] // the method by itself is of one lifetime only
pub(crate) fn check_signals() -> PyResult<()> {
    Python::try_attach(|py| py.check_signals()).unwrap_or(Ok(()))
}

/// As [`wait`], for a call that blocks.
pub(crate) fn wait_blocking<T: Send + 'static>(
    py: Python<'_>,
    call: impl FnOnce() -> T + Send + 'static,
) -> PyResult<T> {
    let finished = wait(py, async { tokio::task::spawn_blocking(call).await })?;
    finished.map_err(|error| PyRuntimeError::new_err(format!("a telemetry task failed; please report this: {error}")))
}
