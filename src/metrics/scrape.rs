//! A page that somebody asked for: whatever concerns Python happens before and after it is written, never meanwhile.

use std::cell::Cell;
use std::ptr;
use std::sync::mpsc;
use std::sync::{Arc, Weak};
use std::time::Duration;

use gds_metrics::Error;
use gds_metrics::format::Format;
use gds_metrics::http::Page;
use gds_metrics::page::RegistryPage;
use gds_metrics::registry::{Refusal, Registry};
use gds_metrics::view::View;
use gds_net::{Handler, PLAIN_TEXT, RequestHead, Response};
use gds_process::sync::Mutex;
use pyo3::prelude::*;

use crate::interop::exit;
use crate::interop::runtime;
use crate::interop::warnings::log_warning;

/// How long whoever reads a page waits for values that the program is asked for: a little longer than the functions are
/// given, and no longer than `exit` waits for those under way.
const TIMEOUT: Duration = Duration::from_millis(1_900);

/// How often processes that share a page ask for values that another of them will show.
const REFRESH: Duration = Duration::from_secs(5);

thread_local! {
    /// Whose functions this thread runs: the address of [`ValueCallbacks`], or 0.
    static ANSWERING: Cell<usize> = const { Cell::new(0) };
}

/// Python functions without arguments that report values, to be called before they are read.
///
/// The lock is held to copy pointers only.
#[derive(Default)]
pub(crate) struct ValueCallbacks(Mutex<Vec<Arc<Py<PyAny>>>>);

impl ValueCallbacks {
    pub(crate) fn add(&self, ask: Arc<Py<PyAny>>) {
        self.0.lock().push(ask);
    }

    /// From here to its end this thread runs one of the functions: what it reads would wait for its own answer.
    pub(crate) fn answers_here(&self) {
        ANSWERING.set(ptr::from_ref(self).addr());
    }

    /// Has them called by another thread, since the interpreter may be busy for long, and waits for that as long as it
    /// may take. Called without the interpreter, with nothing held.
    pub(crate) fn ask(&self, registry: &Registry) {
        if ANSWERING.get() == ptr::from_ref(self).addr() {
            return;
        }
        let asks = self.0.lock().clone();
        let (false, Ok(runtime)) = (asks.is_empty(), runtime::handle()) else { return };
        let (answer, answered) = mpsc::channel();
        runtime.spawn_blocking(move || {
            let call = |py: Python<'_>| {
                for ask in &asks {
                    // What they raise was theirs to count.
                    let _ = exit::calling_python(py, || ask.call0(py));
                }
            };
            let _ = answer.send(Python::try_attach(call));
        });
        if answered.recv_timeout(TIMEOUT).is_err() {
            registry.count_refusal(Refusal::CallbackTimeout);
        }
    }
}

/// The page of a registry, as its readers get it.
pub(crate) struct ScrapedPage {
    page: RegistryPage,
    pub(crate) callbacks: ValueCallbacks,
    /// What is shown at one other path. The lock is held to copy or to replace it only.
    beside: Mutex<Option<(String, Arc<Beside>)>>,
}

impl ScrapedPage {
    pub(crate) fn new(page: RegistryPage) -> Arc<Self> {
        Arc::new(Self { page, callbacks: ValueCallbacks::default(), beside: Mutex::default() })
    }

    /// Has a Python function answer at a path, or at none.
    pub(crate) fn show_beside(&self, path: String, call: Option<Py<PyAny>>) {
        let shown = call.map(|call| (path, Arc::new(Beside(call))));
        // What is dropped is dropped after the lock: that may run code of Python.
        let before = std::mem::replace(&mut *self.beside.lock(), shown);
        drop(before);
    }

    /// Writes the page. Called without the interpreter.
    pub(crate) fn write(&self, format: Format, names: &[String]) -> Result<Vec<u8>, Error> {
        self.callbacks.ask(self.page.registry());
        let written = self.page.write(format, names);
        log_warnings_later(self.page.registry());
        written
    }

    /// One value of the page. Called without the interpreter.
    pub(crate) fn sample(&self, view: &View, name: &str, labels: &[(&str, &str)]) -> Result<Option<f64>, Error> {
        self.callbacks.ask(self.page.registry());
        self.page.sample(view, name, labels)
    }
}

/// Asks again and again, for as long as there is the page: what one process counts is shown by all.
pub(crate) fn refresh(page: Weak<ScrapedPage>) {
    let Ok(runtime) = runtime::handle() else { return };
    runtime.spawn(async move {
        loop {
            tokio::time::sleep(REFRESH).await;
            let Some(page) = page.upgrade() else { return };
            let _ = tokio::task::spawn_blocking(move || page.callbacks.ask(page.page.registry())).await;
        }
    });
}

impl Page for ScrapedPage {
    fn render(&self, format: Format, names: &[String]) -> Result<Vec<u8>, Error> {
        self.write(format, names)
    }

    fn beside(&self, path: &str) -> Option<Arc<dyn Handler>> {
        let shown = self.beside.lock();
        let (_, call) = shown.as_ref().filter(|(at, _)| at == path)?;
        Some(Arc::clone(call) as Arc<dyn Handler>)
    }
}

/// A Python function that answers with a status and a body, given the query and how long is waited.
struct Beside(Py<PyAny>);

impl Handler for Beside {
    fn respond(&self, request: &RequestHead<'_>) -> Response {
        let call = |py: Python<'_>| {
            let given = (request.query, request.scrape_timeout);
            let answer = || -> PyResult<(u16, Vec<u8>)> { self.0.call1(py, given)?.extract(py) };
            // What it raises was its own to count and to tell.
            exit::calling_python(py, answer).and_then(Result::ok)
        };
        match Python::try_attach(call).flatten() {
            Some((200, body)) => Response::new(200, Format::Text.content_type(), body),
            Some((status, body)) => Response::new(status, PLAIN_TEXT, body),
            None => Response::text(500, "no answer: the log of this process says why\n"),
        }
    }
}

/// Says in the log what a registry has to say, by another thread: the interpreter may be busy for long, and whoever reads
/// the page does not wait for it.
fn log_warnings_later(registry: &Registry) {
    let warnings = registry.take_warnings();
    if let (false, Ok(runtime)) = (warnings.is_empty(), runtime::handle()) {
        runtime.spawn_blocking(move || warnings.iter().for_each(|warning| log_warning(warning)));
    }
}
