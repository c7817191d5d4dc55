//! One collector's way into a registry: its prefix, its buckets, its limits.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use gds_process::sync::RwLock;

use crate::error::{Error, Result};
use crate::family::{Description, Family};
use crate::key::{Change, Key, MetricKind, Scope};
use crate::naming;
use crate::registry::{Refusal, Registry};
use crate::series::Series;
use crate::settings::{ViewData, ViewOptions, check_buckets};
use crate::snapshot::TraceContext;

impl Registry {
    /// A further collector of this registry.
    pub fn view(self: &Arc<Self>, options: ViewOptions) -> View {
        // A new one each nanosecond would take 584 years to reach the registry's own.
        let number = self.views.fetch_add(1, Ordering::Relaxed);
        View::new(self, ViewData { number, options, descriptions: RwLock::default() })
    }
}

/// One collector's way into a registry: its prefix, its buckets, its limits.
#[derive(Clone)]
pub struct View {
    registry: Arc<Registry>,
    data: Arc<ViewData>,
}

/// A value as it is kept, or why it is not.
#[inline]
fn accepted(kind: MetricKind, change: Change, value: f64) -> std::result::Result<f64, Refusal> {
    match kind {
        MetricKind::Counter if value.is_nan() || value < 0.0 => Err(Refusal::NegativeIncrement),
        // One NaN would make the sum NaN for good.
        MetricKind::Histogram | MetricKind::Timing if value.is_nan() => Err(Refusal::InvalidValue),
        MetricKind::Gauge if value.is_nan() && change == Change::Add => Err(Refusal::InvalidValue),
        MetricKind::Timing => Ok(value / 1000.0),
        _ => Ok(value),
    }
}

impl View {
    pub(crate) fn new(registry: &Arc<Registry>, data: ViewData) -> Self {
        Self { registry: Arc::clone(registry), data: Arc::new(data) }
    }

    /// Adds `value` to a counter.
    pub fn increment(
        &self,
        name: &str,
        value: f64,
        labels: &[(&str, &str)],
        trace: Option<&TraceContext>,
    ) -> std::result::Result<(), Refusal> {
        self.report(MetricKind::Counter, Change::Report, name, value, labels, trace)
    }

    /// Sets a gauge.
    pub fn gauge(&self, name: &str, value: f64, labels: &[(&str, &str)]) -> std::result::Result<(), Refusal> {
        self.report(MetricKind::Gauge, Change::Report, name, value, labels, None)
    }

    /// Observes a value of a distribution.
    pub fn histogram(
        &self,
        name: &str,
        value: f64,
        labels: &[(&str, &str)],
        trace: Option<&TraceContext>,
    ) -> std::result::Result<(), Refusal> {
        self.report(MetricKind::Histogram, Change::Report, name, value, labels, trace)
    }

    /// Observes a duration given in milliseconds, kept in seconds.
    pub fn timing(
        &self,
        name: &str,
        value_ms: f64,
        labels: &[(&str, &str)],
        trace: Option<&TraceContext>,
    ) -> std::result::Result<(), Refusal> {
        self.report(MetricKind::Timing, Change::Report, name, value_ms, labels, trace)
    }

    /// Reports a value; a [`MetricKind::Timing`] in milliseconds. What is refused is counted.
    #[inline]
    pub fn report(
        &self,
        kind: MetricKind,
        change: Change,
        name: &str,
        value: f64,
        labels: &[(&str, &str)],
        trace: Option<&TraceContext>,
    ) -> std::result::Result<(), Refusal> {
        let key = self.key(kind, name, labels);
        accepted(kind, change, value)
            .and_then(|value| self.registry.update(&self.data, &key, value, change, trace))
            .or_else(|refusal| self.refuse(refusal))
    }

    /// As [`View::report`] where the key was reported before in this spelling; false if it must be reported by that.
    #[inline]
    pub fn report_known(
        &self,
        kind: MetricKind,
        change: Change,
        name: &str,
        value: f64,
        labels: &[(&str, &str)],
        trace: Option<&TraceContext>,
    ) -> bool {
        let key = self.key(kind, name, labels);
        accepted(kind, change, value)
            .is_ok_and(|value| self.registry.update_known(key.hash(), &key, value, change, trace))
    }

    /// As [`View::report`] to a series of this view that the caller kept; false if it must be reported by that, because
    /// the series expired or the value is refused.
    #[inline]
    pub fn report_found(
        &self,
        kind: MetricKind,
        change: Change,
        series: &Series,
        value: f64,
        trace: Option<&TraceContext>,
    ) -> bool {
        accepted(kind, change, value).is_ok_and(|value| self.registry.update_series(series, value, change, trace))
    }

    #[inline]
    fn key<'a>(&self, kind: MetricKind, name: &'a str, labels: &'a [(&'a str, &'a str)]) -> Key<'a> {
        Key { scope: Scope { view: self.data.number, kind }, name, labels }
    }

    /// The series that a key leads to, if it was reported before and is no overflow series (whose updates are counted
    /// one by one).
    pub fn find(&self, kind: MetricKind, name: &str, labels: &[(&str, &str)]) -> Option<Arc<Series>> {
        let key = self.key(kind, name, labels);
        self.registry.index.with(key.hash(), &key, Arc::clone).filter(|series| !series.is_removed())
    }

    /// Takes the series of this name with these labels off the page, whatever its kind; reported again, it starts anew.
    /// Whether there was one. In a shared folder, what this process counted.
    pub fn remove(&self, name: &str, labels: &[(&str, &str)]) -> bool {
        let mut any = false;
        for kind in MetricKind::ALL {
            if let Some(family) = self.existing(name, kind) {
                any |= self.registry.remove(&family, labels);
            }
        }
        any
    }

    /// Counts an update that could not even be read.
    #[cold]
    pub fn refuse(&self, refusal: Refusal) -> std::result::Result<(), Refusal> {
        self.registry.count_refusal(refusal);
        Err(refusal)
    }

    /// The registry behind it.
    pub fn registry(&self) -> &Arc<Registry> {
        &self.registry
    }

    /// Says what a metric means. Help and unit may change at any time; buckets, aggregation and limit only as long as
    /// nothing was reported under the name.
    pub fn describe(&self, name: &str, description: Description) -> Result<()> {
        if name.is_empty() {
            return Err(Error::setting("name", name, "the name of a metric, not empty"));
        }
        if let Some(buckets) = &description.buckets {
            check_buckets(buckets)?;
        }
        let existing: Vec<_> = MetricKind::ALL.into_iter().filter_map(|kind| self.existing(name, kind)).collect();
        for family in &existing {
            let shape = &family.shape;
            let other_buckets = shape.kind.is_distribution()
                && description.buckets.as_ref().is_some_and(|wanted| **wanted != *shape.bounds);
            let other_way = description.aggregation.is_some_and(|wanted| wanted != family.aggregation);
            let other_limit = description.max_series.is_some_and(|wanted| wanted != family.max_series);
            if other_buckets || other_way || other_limit {
                let expected = "buckets, aggregation and max_series as they are, since values were reported already; \
                                describe the metric before its first use";
                return Err(Error::setting("name", name, expected));
            }
            let mut meta = family.meta.write();
            if let Some(help) = description.help.as_deref() {
                meta.help = Arc::from(help);
            }
            if let Some(unit) = description.unit.as_deref() {
                meta.unit = Arc::from(unit);
            }
        }
        let mut descriptions = self.data.descriptions.write();
        let kept = descriptions.entry(name.to_owned()).or_default();
        *kept = description.or(std::mem::take(kept));
        Ok(())
    }

    fn existing(&self, name: &str, kind: MetricKind) -> Option<Arc<Family>> {
        let wanted = naming::family_name(self.registry.naming, &self.data.options.prefix, name, kind);
        self.registry.families.read().by_key.get(&(false, wanted, kind)).filter(|family| !family.is_empty()).cloned()
    }

    /// The collector's prefix.
    pub fn prefix(&self) -> &str {
        &self.data.options.prefix
    }
}
