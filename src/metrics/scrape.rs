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
}

impl ScrapedPage {
    pub(crate) fn new(page: RegistryPage) -> Arc<Self> {
        Arc::new(Self { page, callbacks: ValueCallbacks::default() })
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
}

/// Says in the log what a registry has to say, by another thread: the interpreter may be busy for long, and whoever reads
/// the page does not wait for it.
fn log_warnings_later(registry: &Registry) {
    let warnings = registry.take_warnings();
    if let (false, Ok(runtime)) = (warnings.is_empty(), runtime::handle()) {
        runtime.spawn_blocking(move || warnings.iter().for_each(|warning| log_warning(warning)));
    }
}
