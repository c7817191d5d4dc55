//! The end of the interpreter, as seen by threads that are still counting.
//!
//! When the interpreter ends, CPython before 3.14 ends each daemon thread at the moment it wants the lock again, by
//! unwinding its stack (`pthread_exit`). A thread that got there from Python code which Rust had called would unwind
//! through Rust, which aborts the process. So Rust calls Python code only in here, counted; at exit new calls of threads
//! other than the one that ends the interpreter are refused, and those under way are waited for.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use gds_process::PerProcess;
use pyo3::prelude::*;

/// How long the end waits for Python code that an observing call runs, such as the `__str__` of a label.
const TIMEOUT: Duration = Duration::from_secs(2);

/// Inherited by a forked child, as is what was registered.
static WATCHED: AtomicBool = AtomicBool::new(false);

/// Of each process its own: the threads whose calls were under way at a fork are not in the child.
static CALLS: PerProcess<Calls> = PerProcess::new();

#[derive(Default)]
struct Calls {
    under_way: AtomicUsize,
    /// Clients that are being closed beside an event loop.
    closing: AtomicUsize,
    /// The thread that ends the interpreter, once it does; 0 before.
    ending: AtomicU64,
}

fn calls() -> &'static Calls {
    CALLS.get_or_init(Calls::default)
}

/// Has the interpreter tell of its end.
pub(crate) fn watch(py: Python<'_>) -> PyResult<()> {
    if !WATCHED.swap(true, Ordering::Relaxed) {
        py.import("atexit")?.call_method1("register", (wrap_pyfunction!(interpreter_ends, py)?,))?;
    }
    Ok(())
}

/// Runs `call`, which may run Python code; none if the interpreter is ending around this thread.
///
/// Called with the interpreter's lock held, as is [`interpreter_ends`], so one cannot slip past the other.
pub(crate) fn calling_python<R>(_attached: Python<'_>, call: impl FnOnce() -> R) -> Option<R> {
    NoPython::check();
    let calls = calls();
    let ending = calls.ending.load(Ordering::Relaxed);
    if ending != 0 && ending != this_thread() {
        return None;
    }
    let _counted = CallInPython::new(calls);
    Some(call())
}

/// As [`calling_python`], for threads that whoever ends the interpreter stops before it is gone: what they have to tell
/// while they are being stopped is still told.
pub(crate) fn reporting_to_python<R>(_attached: Python<'_>, call: impl FnOnce() -> R) -> R {
    NoPython::check();
    let _counted = CallInPython::new(calls());
    call()
}

/// While one of these lives, this thread must run no Python code: it reads text that Python code could free. Checked in
/// debug builds, which is what the tests of a working copy run.
pub(crate) struct NoPython;

#[cfg(debug_assertions)]
thread_local! {
    static FORBIDDEN: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}

impl NoPython {
    #[inline]
    pub(crate) fn begin() -> Self {
        #[cfg(debug_assertions)]
        FORBIDDEN.with(|forbidden| forbidden.set(forbidden.get() + 1));
        Self
    }

    #[inline]
    fn check() {
        #[cfg(debug_assertions)]
        FORBIDDEN.with(|forbidden| assert_eq!(forbidden.get(), 0, "Python code would run while its text is borrowed"));
    }
}

impl Drop for NoPython {
    #[inline]
    fn drop(&mut self) {
        #[cfg(debug_assertions)]
        FORBIDDEN.with(|forbidden| forbidden.set(forbidden.get() - 1));
    }
}

/// Counts a call where it began: one that forks ends in the child as well, and is none of the child's.
struct CallInPython(&'static Calls);

impl CallInPython {
    fn new(calls: &'static Calls) -> Self {
        calls.under_way.fetch_add(1, Ordering::Relaxed);
        Self(calls)
    }
}

impl Drop for CallInPython {
    fn drop(&mut self) {
        self.0.under_way.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A client that is being closed beside an event loop, until this is dropped. The end of the interpreter waits for it,
/// which the client's own time limit bounds: nobody need be left who awaits it.
pub(crate) struct Closing(&'static Calls);

impl Closing {
    pub(crate) fn begin() -> Self {
        let calls = calls();
        calls.closing.fetch_add(1, Ordering::Relaxed);
        Self(calls)
    }
}

impl Drop for Closing {
    fn drop(&mut self) {
        self.0.closing.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Waits until clients are closed that are being closed, and no observing call of another thread is in Python code, and
/// lets no further one get there.
#[pyfunction]
pub(crate) fn interpreter_ends(py: Python<'_>) {
    let calls = calls();
    while calls.closing.load(Ordering::Relaxed) > 0 && py.check_signals().is_ok() {
        py.detach(|| std::thread::sleep(Duration::from_millis(1)));
    }
    calls.ending.store(this_thread(), Ordering::Relaxed);
    let deadline = Instant::now() + TIMEOUT;
    while calls.under_way.load(Ordering::Relaxed) > 0 && Instant::now() < deadline {
        py.detach(|| std::thread::sleep(Duration::from_millis(1)));
    }
}

/// A number for this thread, never 0.
pub(crate) fn this_thread() -> u64 {
    use std::hash::{Hash, Hasher};
    let mut hasher = std::hash::DefaultHasher::new();
    std::thread::current().id().hash(&mut hasher);
    hasher.finish() | 1
}
