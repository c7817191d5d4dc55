//! `StoreCore`: time series in a folder, and PromQL over them, for `gds_store`.

mod arrow;
mod histogram;
mod result;
mod rows;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use gds_process::sync::RwLock;
use gds_promql::api::Metadata;
use gds_promql::ast::Expr;
use gds_promql::engine::{Cancel, Engine, EngineOptions, When};
use gds_promql::matcher::Matcher;
use gds_promql::parser;
use gds_promql::source::find_labels;
use gds_store::{Durability, Error, Limits, Maintainer, Options, RetentionClass, Store};
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::errors::{promql_error, store_closed, store_error};
use crate::interop::dicts::into_dict;
use crate::interop::drop_detached::DropDetached;
use crate::interop::runtime;
use crate::interop::warnings::warn_in;
pub(crate) use result::QueryResult;

/// Native side of `gds_store.Store`.
#[pyclass(frozen, module = "gds_native._lib")]
pub(crate) struct StoreCore {
    /// None only while it is dropped.
    shared: Option<DropDetached<Arc<StoreHandle>>>,
    folder: PathBuf,
    process_id: u32,
}

/// What calls under way have together: closing waits for them.
struct StoreHandle(RwLock<Option<Open>>);

struct Open {
    /// Before the store, which it uses until it is dropped.
    _maintainer: Option<Maintainer>,
    store: Arc<Store>,
    engine: Engine,
}

into_dict! {
    struct AppendedDict { accepted: u64, replaced: u64, too_old: u64, over_limit: u64 }
}

into_dict! {
    struct DeletedDict { series: u64, samples: u64 }
}

into_dict! {
    struct BackedUpDict { parts: u64, new_parts: u64, log_files: u64 }
}

into_dict! {
    struct MaintainedDict { flushed: u64, merged: u64, expired: u64 }
}

into_dict! {
    struct FindingDict { kind: String, path: PathBuf, detail: String, count: u64 }
}

into_dict! {
    struct StatsDict {
        head_series: u64,
        head_bytes: u64,
        parts: u64,
        part_samples: u64,
        part_bytes: u64,
        index_bytes: u64,
        deletions: u64,
        accepted: u64,
        duplicates: u64,
        too_old: u64,
        over_limit: u64,
        failed: u64,
    }
}

impl From<gds_store::Appended> for AppendedDict {
    fn from(done: gds_store::Appended) -> Self {
        let gds_store::Appended { accepted, replaced, too_old, over_limit } = done;
        Self { accepted, replaced, too_old, over_limit }
    }
}

impl From<gds_store::Finding> for FindingDict {
    fn from(found: gds_store::Finding) -> Self {
        let gds_store::Finding { kind, path, detail, count } = found;
        Self { kind: format!("{kind:?}"), path, detail, count }
    }
}

impl From<gds_store::Stats> for StatsDict {
    #[rustfmt::skip]
    fn from(stats: gds_store::Stats) -> Self {
        let gds_store::Stats {
            head_series, head_bytes, parts, part_samples, part_bytes, index_bytes, deletions, accepted, duplicates, too_old,
            over_limit, failed,
        } = stats;
        Self {
            head_series, head_bytes, parts, part_samples, part_bytes, index_bytes, deletions, accepted, duplicates, too_old,
            over_limit, failed,
        }
    }
}

impl StoreCore {
    fn here(&self, py: Python<'_>) -> PyResult<Arc<StoreHandle>> {
        let (own, here) = (self.process_id, std::process::id());
        match &self.shared {
            Some(shared) if own == here => Ok(Arc::clone(shared)),
            _ => Err(store_closed(
                py,
                &format!(
                    "the store belongs to process {own}, and this is its forked child {here}: open it for reading only here"
                ),
            )),
        }
    }

    fn closed_error(&self, py: Python<'_>) -> PyErr {
        store_closed(py, &format!("the store {} is closed: open it again", self.folder.display()))
    }

    /// Does something that ends soon, with the interpreter free for other threads.
    fn now<T: Send>(&self, py: Python<'_>, work: impl FnOnce(&Store) -> Result<T, Error> + Send) -> PyResult<T> {
        let shared = self.here(py)?;
        let done = py.detach(|| shared.0.read().as_ref().map(|open| work(&open.store)));
        done.ok_or_else(|| self.closed_error(py))?.map_err(|error| store_error(py, &error))
    }

    /// Does something that may take long; Ctrl-C ends the wait for it, and asks it to end.
    fn long<T: Send + 'static>(
        &self,
        py: Python<'_>,
        work: impl FnOnce(&Open, &Cancel) -> T + Send + 'static,
    ) -> PyResult<T> {
        let (shared, cancel) = (self.here(py)?, Cancel::new());
        let asked = cancel.clone();
        let call = move || shared.0.read().as_ref().map(|open| work(open, &asked));
        let done = runtime::wait_blocking(py, call).inspect_err(|_| cancel.cancel())?;
        done.ok_or_else(|| self.closed_error(py))
    }

    fn evaluate(&self, py: Python<'_>, query: &str, when: When) -> PyResult<QueryResult> {
        let expr: Expr = parser::parse(query).map_err(|error| promql_error(py, query, &error.into()))?;
        let answer = self.long(py, move |open, cancel| open.engine.evaluate(&expr, &*open.store, when, cancel))?;
        answer.map(|answer| QueryResult::new(query, answer)).map_err(|error| promql_error(py, query, &error))
    }
}

/// The matchers of selectors; one that chooses all series where there is none.
fn selectors(py: Python<'_>, texts: &[String]) -> PyResult<Vec<Vec<Matcher>>> {
    if texts.is_empty() {
        return Ok(vec![Vec::new()]);
    }
    let parse = |text: &String| parser::parse_selector(text).map_err(|error| promql_error(py, text, &error.into()));
    texts.iter().map(parse).collect()
}

#[pymethods]
impl StoreCore {
    #[new]
    #[pyo3(signature = (folder, *, read_only, synced, retention_ms, classes, shards, series_per_metric,
        series_per_tenant, tenant_label, flush_bytes, max_head_bytes, maintain_seconds, lookback_ms, max_samples, max_series,
        max_bytes, timeout_seconds))]
    #[allow(clippy::too_many_arguments, clippy::fn_params_excessive_bools)] // the settings of gds_store.Store
    fn new(
        py: Python<'_>,
        folder: PathBuf,
        read_only: bool,
        synced: bool,
        retention_ms: i64,
        classes: Vec<(String, String, i64)>,
        shards: usize,
        series_per_metric: Option<usize>,
        series_per_tenant: Option<usize>,
        tenant_label: String,
        flush_bytes: usize,
        max_head_bytes: usize,
        maintain_seconds: Option<f64>,
        lookback_ms: i64,
        max_samples: usize,
        max_series: usize,
        max_bytes: usize,
        timeout_seconds: f64,
    ) -> PyResult<Self> {
        let seconds = |name: &str, value: f64| {
            let text = || format!("{name}={value}: expected seconds above zero");
            let given = Duration::try_from_secs_f64(value).ok().filter(|time| !time.is_zero());
            given.ok_or_else(|| store_error(py, &Error::Setting(text())))
        };
        let timeout = seconds("timeout_seconds", timeout_seconds)?;
        let every = maintain_seconds.map(|value| seconds("maintain_seconds", value)).transpose()?;
        let classes = classes.into_iter().map(|(name, selector, retention)| {
            let matchers = parser::parse_selector(&selector).map_err(|e| promql_error(py, &selector, &e.into()))?;
            Ok(RetentionClass { name, matchers, retention })
        });
        let options = Options {
            shards,
            durability: if synced { Durability::Synced } else { Durability::Written },
            retention: retention_ms,
            classes: classes.collect::<PyResult<_>>()?,
            limits: Limits { series_per_metric, series_per_tenant, tenant_label },
            flush_bytes,
            max_head_bytes,
            ..Options::default()
        };
        let engine = Engine::new(EngineOptions {
            lookback: lookback_ms,
            max_samples,
            max_series,
            max_bytes,
            timeout,
            ..EngineOptions::default()
        });
        let path = folder.clone();
        let opened = runtime::wait_blocking(py, move || {
            let opened = if read_only { Store::open_read_only(&path, options) } else { Store::open(&path, options) };
            let store = Arc::new(opened?);
            let failed = |error: &Error| warn_in("gds_store", &format!("the store could not be looked after: {error}"));
            let start = |every| Maintainer::start(Arc::clone(&store), every, failed);
            let maintainer = every.filter(|_| !read_only).map(start).transpose();
            let maintainer =
                maintainer.map_err(|source| Error::Io { what: "cannot start a thread for", path, source })?;
            Ok(Open { _maintainer: maintainer, store, engine })
        })?;
        let open = opened.map_err(|error: Error| store_error(py, &error))?;
        let shared = Some(DropDetached::new(Arc::new(StoreHandle(RwLock::new(Some(open))))));
        Ok(Self { shared, folder, process_id: std::process::id() })
    }

    fn append(&self, py: Python<'_>, rows: &Bound<'_, PyAny>) -> PyResult<AppendedDict> {
        let mut done = gds_store::Appended::default();
        let mut rows = rows.try_iter()?;
        loop {
            let batch = rows::Batch::collect(&mut rows)?;
            if batch.is_empty() {
                return Ok(done.into());
            }
            let appended = self.now(py, |store| store.append(&batch.rows()))?;
            done.accepted += appended.accepted;
            done.replaced += appended.replaced;
            done.too_old += appended.too_old;
            done.over_limit += appended.over_limit;
        }
    }

    fn query(&self, py: Python<'_>, expression: &str, time_ms: i64) -> PyResult<QueryResult> {
        self.evaluate(py, expression, When::Instant(time_ms))
    }

    fn query_range(
        &self,
        py: Python<'_>,
        expression: &str,
        start_ms: i64,
        end_ms: i64,
        step_ms: i64,
    ) -> PyResult<QueryResult> {
        self.evaluate(py, expression, When::Range { start: start_ms, end: end_ms, step: step_ms })
    }

    #[allow(clippy::needless_pass_by_value)] // a list of Python's
    fn series<'py>(
        &self,
        py: Python<'py>,
        selectors: Vec<String>,
        start_ms: i64,
        end_ms: i64,
    ) -> PyResult<Vec<Bound<'py, PyDict>>> {
        let sets = self::selectors(py, &selectors)?;
        let found = self.long(py, move |open, _| find_labels(&*open.store, &sets, start_ms, end_ms))?;
        let found = found.map_err(|error| promql_error(py, "", &error.into()))?;
        found.iter().map(|labels| result::labels_dict(py, labels)).collect()
    }

    fn delete(
        &self,
        py: Python<'_>,
        selector: String,
        start_ms: i64,
        end_ms: i64,
        dry_run: bool,
    ) -> PyResult<DeletedDict> {
        let [matchers] = &selectors(py, &[selector])?[..] else { unreachable!("one for each") };
        let matchers = matchers.clone();
        let done = self.long(py, move |open, _| {
            let delete = if dry_run { Store::delete_dry_run } else { Store::delete };
            delete(&open.store, &matchers, start_ms, end_ms)
        })?;
        let gds_store::Deleted { series, samples } = done.map_err(|error| store_error(py, &error))?;
        Ok(DeletedDict { series, samples })
    }

    fn backup(&self, py: Python<'_>, folder: PathBuf) -> PyResult<BackedUpDict> {
        let done = self.long(py, move |open, _| open.store.backup(folder))?;
        let gds_store::BackedUp { parts, new_parts, log_files } = done.map_err(|error| store_error(py, &error))?;
        Ok(BackedUpDict { parts, new_parts, log_files })
    }

    /// Name, type, help and unit of each; how many were something else before.
    fn set_metadata(&self, py: Python<'_>, said: Vec<(String, String, String, String)>) -> PyResult<u64> {
        let said = said.into_iter().map(|(name, r#type, help, unit)| (name, Metadata { r#type, help, unit }));
        self.now(py, |store| store.set_metadata(said))
    }

    /// Type, help and unit of each name.
    fn metadata(&self, py: Python<'_>) -> PyResult<BTreeMap<String, (String, String, String)>> {
        let found = self.now(py, |store| Ok(store.metadata()))?;
        let fields = |Metadata { r#type, help, unit }| (r#type, help, unit);
        Ok(found.into_iter().map(|(name, metadata)| (name, fields(metadata))).collect())
    }

    fn verify(&self, py: Python<'_>) -> PyResult<Vec<FindingDict>> {
        let found = self.long(py, |open, _| open.store.verify())?.map_err(|error| store_error(py, &error))?;
        Ok(found.into_iter().map(FindingDict::from).collect())
    }

    fn findings(&self, py: Python<'_>) -> PyResult<Vec<FindingDict>> {
        let found = self.now(py, |store| Ok(store.findings()))?;
        Ok(found.into_iter().map(FindingDict::from).collect())
    }

    fn stats(&self, py: Python<'_>) -> PyResult<StatsDict> {
        self.now(py, |store| Ok(store.stats())).map(StatsDict::from)
    }

    fn flush(&self, py: Python<'_>) -> PyResult<u64> {
        self.long(py, |open, _| open.store.flush())?.map_err(|error| store_error(py, &error))
    }

    fn maintain(&self, py: Python<'_>) -> PyResult<MaintainedDict> {
        let done = self.long(py, |open, _| open.store.maintain())?;
        let gds_store::Maintained { flushed, merged, expired } = done.map_err(|error| store_error(py, &error))?;
        Ok(MaintainedDict { flushed, merged, expired })
    }

    fn close(&self, py: Python<'_>) -> PyResult<()> {
        if let Ok(shared) = self.here(py) {
            runtime::wait_blocking(py, move || drop(shared.0.write().take()))?;
        }
        Ok(())
    }

    #[getter]
    fn closed(&self, py: Python<'_>) -> bool {
        self.now(py, |_| Ok(())).is_err()
    }
}

impl Drop for StoreCore {
    fn drop(&mut self) {
        if self.process_id != std::process::id() {
            // The parent's: a thread of it may have a lock, and its files are not ours to close.
            std::mem::forget(self.shared.take());
        }
    }
}

/// Makes a new store of a backup, in a folder that is empty or not there.
#[pyfunction]
pub(crate) fn restore_store(py: Python<'_>, backup: PathBuf, folder: PathBuf) -> PyResult<()> {
    // It opens what it made, and must not find what was kept for long too old.
    let options = Options { retention: i64::MAX, ..Options::default() };
    let made = runtime::wait_blocking(py, move || Store::restore(backup, folder, options).map(drop))?;
    made.map_err(|error| store_error(py, &error))
}
