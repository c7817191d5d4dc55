//! The four observing methods, the same for every native collector: read the arguments, record, swallow what fails.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};

use gds_metrics::Error;
use gds_metrics::family::Description;
use gds_metrics::key::Change;
use gds_metrics::key::MetricKind;
use gds_metrics::registry::{Refusal, Registry};
use gds_metrics::snapshot::TraceContext;
use gds_metrics::view::View;
use gds_process::sync::Mutex;
use pyo3::exceptions::PyException;
use pyo3::prelude::*;

use crate::interop::exit;
use crate::interop::text::type_name;
use crate::interop::trace;
use crate::interop::warnings::{self, log_warning};
use crate::metrics::arguments::{self, Argument, ArgumentError};
use crate::metrics::call_sites::{CallObjects, CallSiteCache};

/// What a native collector does with an observation.
pub(crate) trait Collector {
    /// The view and the call sites of a collector that counts in a registry. May run Python code, in a forked child.
    fn handle(&self) -> Option<&RegistryHandle> {
        None
    }
    /// Keeps one value under a name and labels that were reported before; none if they were not. The text is borrowed
    /// from Python: nothing is done here but to find what is known.
    fn record_known(&self, report: Report, name: &str, labels: &[(&str, &str)]) -> Option<Result<(), Refusal>>;
    /// Keeps one value.
    fn record(&self, report: Report, name: &str, labels: &[(&str, &str)]) -> Result<(), Refusal>;
    /// Counts one that could not be read.
    fn refuse(&self, refusal: Refusal);
    /// Whether observations are to be linked to the active trace.
    fn wants_trace(&self) -> bool;
    /// Which warnings were given already.
    fn warned(&self) -> &Warned;
}

/// A collector's way into its registry, with the short cut of its call sites.
pub(crate) struct RegistryHandle {
    pub(crate) view: View,
    sites: CallSiteCache,
}

impl RegistryHandle {
    pub(crate) fn new(view: View) -> Self {
        Self { view, sites: CallSiteCache::default() }
    }

    #[inline]
    pub(crate) fn record_known(&self, report: Report, name: &str, labels: &[(&str, &str)]) -> bool {
        let Report { kind, change, value, trace } = report;
        self.view.report_known(kind, change, name, value, labels, trace.as_ref())
    }

    pub(crate) fn record(&self, report: Report, name: &str, labels: &[(&str, &str)]) -> Result<(), Refusal> {
        let Report { kind, change, value, trace } = report;
        self.view.report(kind, change, name, value, labels, trace.as_ref())
    }
}

/// One value, and what it does.
#[derive(Clone, Copy)]
pub(crate) struct Report {
    pub(crate) kind: MetricKind,
    pub(crate) change: Change,
    pub(crate) value: f64,
    pub(crate) trace: Option<TraceContext>,
}

/// What a collector was told about its metrics, to be told again to its successor in a forked child.
///
/// Its lock is only taken with the interpreter's lock held and never while waiting, so no fork finds it taken.
#[derive(Default)]
pub(crate) struct Descriptions(Mutex<HashMap<String, Description>>);

impl Descriptions {
    /// Tells `view`, and remembers what it took.
    pub(crate) fn add(&self, view: &View, name: &str, description: Description) -> Result<(), Error> {
        view.describe(name, description.clone())?;
        let mut all = self.0.lock();
        let kept = all.entry(name.to_owned()).or_default();
        *kept = description.or(std::mem::take(kept));
        Ok(())
    }

    /// Tells a view that has no values yet, which takes whatever another took.
    pub(crate) fn replay(&self, view: &View) {
        for (name, description) in self.0.lock().iter() {
            let _ = view.describe(name, description.clone());
        }
    }
}

/// One bit for each method and reason.
#[derive(Default)]
pub(crate) struct Warned(AtomicU64);

/// Reports one value.
#[inline]
pub(crate) fn report(
    collector: &impl Collector,
    kind: MetricKind,
    change: Change,
    name: &Bound<'_, PyAny>,
    value: Argument<'_, '_>,
    labels: Option<&Bound<'_, PyAny>>,
) -> PyResult<()> {
    let value = value.get();
    let py = name.py();
    let outcome = arguments::number(value).and_then(|value| {
        // Asked before text is borrowed, because asking may run Python code.
        let trace = if kind != MetricKind::Gauge && collector.wants_trace() { trace::current(py) } else { None };
        let mut parts = CallObjects::empty();
        let handle = collector.handle().filter(|_| parts.fill(kind, name, labels));
        if let Some(handle) = handle
            && let Some(series) = handle.sites.find(py, kind, &parts)
            && handle.view.report_found(kind, change, series, value, trace.as_ref())
        {
            return Ok(Ok(()));
        }
        let report = Report { kind, change, value, trace };
        let known = arguments::with_borrowed_text(name, labels, handle.map(|_| &parts), |name, labels| {
            let known = collector.record_known(report, name, labels);
            if let (Some(handle), Some(Ok(()))) = (handle, known) {
                handle.sites.remember(py, kind, &parts, || handle.view.find(kind, name, labels));
            }
            known
        });
        if let Some(Some(known)) = known {
            return Ok(known);
        }
        // From here on Python code may run, so all text is copied and `parts` is not looked at again.
        let outcome = arguments::with_owned_text(name, labels, |name, labels| collector.record(report, name, labels));
        if let Some(handle) = handle {
            log_warnings(handle.view.registry());
        }
        outcome
    });
    match outcome {
        Ok(Ok(())) => Ok(()),
        Ok(Err(refusal)) => warn_once(collector, kind, refusal, name, value, labels),
        Err(ArgumentError::Refused(refusal)) => {
            collector.refuse(refusal);
            warn_once(collector, kind, refusal, name, value, labels)
        }
        Err(ArgumentError::Raise(error)) => Err(error),
    }
}

/// Takes a series off the page; whether there was one.
pub(crate) fn remove(
    handle: Option<&RegistryHandle>,
    name: &Bound<'_, PyAny>,
    labels: Option<&Bound<'_, PyAny>>,
) -> PyResult<bool> {
    let Some(handle) = handle else { return Ok(false) };
    match arguments::with_owned_text(name, labels, |name, labels| handle.view.remove(name, labels)) {
        Ok(removed) => Ok(removed),
        Err(ArgumentError::Refused(_)) => Ok(false),
        Err(ArgumentError::Raise(error)) => Err(error),
    }
}

/// Counts a function that was asked for values in vain.
pub(crate) fn count_unanswered(handle: Option<&RegistryHandle>, in_time: bool) {
    if let Some(handle) = handle {
        let refusal = if in_time { Refusal::CallbackFailed } else { Refusal::CallbackTimeout };
        handle.view.registry().count_refusal(refusal);
    }
}

#[cold]
fn warn_once(
    collector: &impl Collector,
    kind: MetricKind,
    refusal: Refusal,
    name_given: &Bound<'_, PyAny>,
    value: Option<&Bound<'_, PyAny>>,
    labels: Option<&Bound<'_, PyAny>>,
) -> PyResult<()> {
    let py = name_given.py();
    let bit = 1_u64 << ((kind as u32) * 16 + refusal as u32);
    if collector.warned().0.fetch_or(bit, Ordering::Relaxed) & bit == 0 {
        // Types only: a value or a label may be the secret that somebody passed by mistake.
        let name = name_given.extract::<String>();
        let name = name.unwrap_or_else(|_| format!("of type {}", type_name(Some(name_given))));
        let text = format!(
            "{}({name:?}) was dropped ({}): expected {}, got value {} and labels {}; this is said once, and counted",
            kind.as_str(),
            refusal.as_str(),
            refusal.expected(),
            type_name(value),
            type_name(labels),
        );
        match exit::calling_python(py, || warnings::log(py, "gds_metrics", &text)).unwrap_or(Ok(())) {
            // Ctrl-C that comes while a handler runs belongs to the program; anything else a handler raises does not.
            Err(error) if !error.is_instance_of::<PyException>(py) => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

/// Says in the log what a registry has to say. Nothing of it is held here, nor is text borrowed.
pub(crate) fn log_warnings(registry: &Registry) {
    for warning in registry.take_warnings() {
        log_warning(&warning);
    }
}
