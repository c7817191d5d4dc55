//! Calls that asyncio awaits once, run beside the event loop on the runtime of this process.
//!
//! pyo3-async-runtimes has the futures; its own runtime would be one for all forked processes, so it is given ours. What
//! waits beside the loop runs no Python code: the end of the interpreter could not wait for it, and CPython before 3.14
//! would end its thread by unwinding through Rust.

use std::any::Any;
use std::future::Future;
use std::pin::Pin;

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};
use pyo3_async_runtimes::generic::{self, ContextExt};
use pyo3_async_runtimes::{TaskLocals, get_running_loop};

use crate::interop::once::interned;
use crate::interop::{exit, runtime};

/// The runtime of this process, for futures of pyo3-async-runtimes.
struct ProcessRuntime;

struct JoinError(tokio::task::JoinError);

impl generic::JoinError for JoinError {
    fn is_panic(&self) -> bool {
        self.0.is_panic()
    }

    fn into_panic(self) -> Box<dyn Any + Send + 'static> {
        self.0.into_panic()
    }
}

type JoinHandle = Pin<Box<dyn Future<Output = Result<(), JoinError>> + Send>>;

fn joined(handle: tokio::task::JoinHandle<()>) -> JoinHandle {
    Box::pin(async { handle.await.map_err(JoinError) })
}

/// Only called on the runtime, or after [`runtime::handle`] gave one, which the process keeps.
fn of_this_process() -> tokio::runtime::Handle {
    runtime::handle().expect("a runtime was there a moment ago")
}

impl generic::Runtime for ProcessRuntime {
    type JoinError = JoinError;
    type JoinHandle = JoinHandle;

    fn spawn<F: Future<Output = ()> + Send + 'static>(future: F) -> JoinHandle {
        joined(of_this_process().spawn(future))
    }

    /// What is given calls Python: not where the interpreter has ended, and it waits for the call where it ends.
    fn spawn_blocking<F: FnOnce() + Send + 'static>(call: F) -> JoinHandle {
        joined(of_this_process().spawn_blocking(move || {
            let mut call = Some(call);
            let told = Python::try_attach(|py| exit::reporting_to_python(py, || call.take().map(|call| call())));
            if told.is_none() {
                std::mem::forget(call); // it has objects of an interpreter that is gone
            }
        }))
    }
}

tokio::task_local! {
    static LOCALS: TaskLocals;
}

impl ContextExt for ProcessRuntime {
    fn scope<F, R>(locals: TaskLocals, future: F) -> Pin<Box<dyn Future<Output = R> + Send>>
    where
        F: Future<Output = R> + Send + 'static,
    {
        Box::pin(LOCALS.scope(locals, future))
    }

    fn get_task_locals() -> Option<TaskLocals> {
        LOCALS.try_with(Clone::clone).ok()
    }
}

/// An event loop that is told of results as long as it is there to hear of them.
///
/// One that was closed while a call of it went on is nobody's to tell; the crate would print a traceback.
#[pyclass(frozen, module = "gds_native._lib")]
struct OpenLoop(Py<PyAny>);

#[pymethods]
impl OpenLoop {
    fn create_future<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.0.bind(py).call_method0(interned!(py, "create_future"))
    }

    #[pyo3(signature = (*args, **kwargs))]
    fn call_soon_threadsafe(&self, args: &Bound<'_, PyTuple>, kwargs: Option<&Bound<'_, PyDict>>) -> PyResult<()> {
        let (py, event_loop) = (args.py(), self.0.bind(args.py()));
        match event_loop.call_method(interned!(py, "call_soon_threadsafe"), args, kwargs) {
            Err(_) if event_loop.call_method0(interned!(py, "is_closed"))?.is_truthy()? => Ok(()),
            told => told.map(drop),
        }
    }
}

/// Fills what pyo3-async-runtimes keeps, while nothing forks: a child of a fork in that moment would wait for it.
#[pyfunction]
pub(crate) fn prepare_asyncio(py: Python<'_>) {
    let _ = get_running_loop(py); // none runs; the function that says so is known from here on
}

/// What is made of the result of a call, with the interpreter at hand.
type Finish<R> = Box<dyn for<'py> FnOnce(Python<'py>, R) -> PyResult<Bound<'py, PyAny>> + Send>;

/// The result of a call, on its way to Python.
struct Finished<R>(R, Finish<R>);

impl<'py, R> IntoPyObject<'py> for Finished<R> {
    type Target = PyAny;
    type Output = Bound<'py, PyAny>;
    type Error = PyErr;

    fn into_pyobject(self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        (self.1)(py, self.0)
    }
}

/// Runs `call`, which may wait and knows no Python, beside the running event loop; a future of that loop for what `finish`
/// makes of its result. Cancelling the future does not end the call.
pub(crate) fn future<R: Send + 'static>(
    py: Python<'_>,
    call: impl FnOnce() -> R + Send + 'static,
    finish: impl for<'py> FnOnce(Python<'py>, R) -> PyResult<Bound<'py, PyAny>> + Send + 'static,
) -> PyResult<Bound<'_, PyAny>> {
    runtime::handle()?;
    let event_loop = Bound::new(py, OpenLoop(get_running_loop(py)?.unbind()))?;
    let finished = async {
        match tokio::task::spawn_blocking(call).await {
            Ok(result) => Ok(Finished(result, Box::new(finish))),
            Err(error) => Err(PyRuntimeError::new_err(format!("a call failed; please report this: {error}"))),
        }
    };
    let locals = TaskLocals::new(event_loop.into_any());
    generic::future_into_py_with_locals::<ProcessRuntime, _, Finished<R>>(py, locals, finished)
}
