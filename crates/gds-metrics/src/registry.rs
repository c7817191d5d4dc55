//! The registry: families of series, found by the key as given, updated by an atomic.
//!
//! Several collectors of one process may share a registry (and so a page); each is a [`View`](crate::view::View) with its own prefix and
//! settings. An update that finds its series takes one shared lock of an index shard; a new series takes the lock of
//! its family; a scrape copies batches of pointers and blocks neither. Nothing here panics or fails towards the caller of
//! an update: what cannot be kept is a [`Refusal`], counted in `gds_metrics_dropped_total`.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use gds_process::sync::{Mutex, RwLock};

use crate::cells::Cells;
use crate::clock::Clock;
use crate::family::{Aggregation, Description, Family, Members, Meta};
use crate::index::Index;
use crate::key::{Change, Key, MetricKind, Scope};
use crate::naming::{self, Naming, TakenNames};
use crate::series::{Export, Labels, Rare, Series, Shape, value_of};
use crate::settings::{ViewData, ViewOptions};
use crate::shared::Writer;
use crate::snapshot::{self, Exemplar, TraceContext};

/// Spellings (orders of labels) of one series that get a fast look-up of their own.
const MAX_ALIASES: u16 = 8;

/// Families the registry shows about itself.
pub(crate) const DROPPED: &str = "gds_metrics_dropped";
pub(crate) const OVERFLOWED: &str = "gds_metrics_overflowed";
pub(crate) const SERIES: &str = "gds_metrics_series";
pub(crate) const SCRAPE_DURATION: &str = "gds_metrics_scrape_duration_seconds";
pub(crate) const SHARED_SKIPPED: &str = "gds_metrics_multiprocess_skipped";

/// The labels of overflow series.
const OVERFLOW: &str = "overflow=\"true\"";

/// The view of the registry's own families; their names are taken as they are.
const OWN_VIEW: u64 = u64::MAX;

/// Why an update was not kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// The name is no text, or empty.
    InvalidName,
    /// The value is no number.
    InvalidValue,
    /// The labels are no dictionary of names to values.
    InvalidLabels,
    /// A counter was asked to go down, or by NaN.
    NegativeIncrement,
    /// The folder shared with other processes takes no more (disk full, file removed).
    StorageFull,
    /// The collector was never set up, or the interpreter is ending around the caller.
    Unavailable,
    /// The collector was closed: nothing would send it any more.
    Closed,
    /// A function that was asked for a value failed.
    CallbackFailed,
    /// A function that was asked for a value did not answer in time.
    CallbackTimeout,
}

impl Refusal {
    /// Value of label `reason` of `gds_metrics_dropped_total`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::InvalidName => "invalid_name",
            Self::InvalidValue => "invalid_value",
            Self::InvalidLabels => "invalid_labels",
            Self::NegativeIncrement => "negative_increment",
            Self::StorageFull => "storage_full",
            Self::Unavailable => "unavailable",
            Self::Closed => "closed",
            Self::CallbackFailed => "callback_failed",
            Self::CallbackTimeout => "callback_timeout",
        }
    }

    /// What was expected instead, for people.
    pub const fn expected(self) -> &'static str {
        match self {
            Self::InvalidName => "a name that is a str and not empty",
            Self::InvalidValue => "a number, for a distribution not NaN",
            Self::InvalidLabels => "labels that are a dict of str to str, or None",
            Self::NegativeIncrement => "an increment of zero or more",
            Self::StorageFull => "storage for it",
            Self::Unavailable => "a collector that is set up: a subclass calls super().__init__() first",
            Self::Closed => "a collector that is not closed",
            Self::CallbackFailed | Self::CallbackTimeout => "a function that answers in time",
        }
    }
}

/// Settings of a registry.
pub struct RegistryOptions {
    /// How names are shown.
    pub naming: Naming,
    /// Time.
    pub clock: Clock,
    /// Series not updated for this long leave the page.
    pub expire_after: Option<Duration>,
    /// This process's file in a folder shared with others.
    pub shared: Option<Arc<Writer>>,
}

impl Default for RegistryOptions {
    fn default() -> Self {
        Self { naming: Naming::Prometheus, clock: Clock::System, expire_after: None, shared: None }
    }
}

/// Warnings kept for whoever writes the log; beyond these nobody is reading them.
const MAX_WARNINGS: usize = 100;

/// Families, and the index that finds their series.
pub struct Registry {
    pub(crate) naming: Naming,
    pub(crate) clock: Clock,
    pub(crate) expire_after: Option<Duration>,
    pub(crate) shared: Option<Arc<Writer>>,
    /// Nothing is called from here that writes to a log: a log may run any code, also such as reports to this registry
    /// or changes the text that is being read.
    warnings: Mutex<Vec<String>>,
    track_updates: bool,
    pub(crate) index: Index<Series>,
    pub(crate) families: RwLock<Families>,
    pub(crate) views: AtomicU64,
    own: ViewData,
    storage_failed: AtomicBool,
    /// Held for a whole scrape, so that expiry never shifts the list another scrape walks.
    pub(crate) scraping: Mutex<()>,
    /// Held while it is settled which series expire.
    pub(crate) expiring: Mutex<()>,
}

#[derive(Default)]
pub(crate) struct Families {
    /// By wanted name and kind, the registry's own apart from the users'.
    pub(crate) by_key: HashMap<(bool, String, MetricKind), Arc<Family>>,
    pub(crate) sorted: BTreeMap<Arc<str>, Arc<Family>>,
    taken: TakenNames,
}

impl Registry {
    /// An empty registry.
    pub fn new(options: RegistryOptions) -> Arc<Self> {
        let own = ViewData {
            number: OWN_VIEW,
            options: ViewOptions::default(),
            descriptions: RwLock::new(own_descriptions()),
        };
        let registry = Self {
            naming: options.naming,
            clock: options.clock,
            track_updates: options.expire_after.is_some() || options.shared.is_some(),
            expire_after: options.expire_after,
            shared: options.shared,
            warnings: Mutex::default(),
            index: Index::default(),
            families: RwLock::default(),
            views: AtomicU64::new(0),
            own,
            storage_failed: AtomicBool::new(false),
            scraping: Mutex::new(()),
            expiring: Mutex::new(()),
        };
        // Taken first, so that no user's metric can be mistaken for the registry's word about itself.
        for (name, kind) in [
            (DROPPED, MetricKind::Counter),
            (OVERFLOWED, MetricKind::Counter),
            (SHARED_SKIPPED, MetricKind::Counter),
            (SCRAPE_DURATION, MetricKind::Gauge),
        ] {
            registry.family(&registry.own, name, kind);
        }
        registry.families.write().taken.reserve(SERIES);
        Arc::new(registry)
    }

    /// What the user's log is to be told; each is given once. To be asked for after calls that may add a series or write
    /// a page, when nothing is held: no lock, and no text that was borrowed for the call.
    pub fn take_warnings(&self) -> Vec<String> {
        std::mem::take(&mut *self.warnings.lock())
    }

    pub(crate) fn warn(&self, warning: String) {
        let mut warnings = self.warnings.lock();
        if warnings.len() < MAX_WARNINGS {
            warnings.push(warning);
        }
    }

    /// Keeps a name for something that is shown beside the registry's families.
    pub fn reserve(&self, name: &str) {
        self.families.write().taken.reserve(name);
    }

    /// Families that have a series, by name.
    pub fn families(&self) -> Vec<Arc<Family>> {
        self.families.read().sorted.values().filter(|family| !family.is_empty()).cloned().collect()
    }

    /// This process's file in a folder shared with others.
    pub fn shared(&self) -> Option<&Arc<Writer>> {
        self.shared.as_ref()
    }

    /// Counts an update that was not kept.
    pub fn count_refusal(&self, refusal: Refusal) {
        let labels = [("reason", refusal.as_str())];
        self.update_own(DROPPED, MetricKind::Counter, &labels, 1.0);
    }

    pub(crate) fn update_own(&self, name: &str, kind: MetricKind, labels: &[(&str, &str)], value: f64) {
        let key = Key { scope: Scope { view: OWN_VIEW, kind }, name, labels };
        // The registry's own words are the one thing that has nowhere to go when there is no storage for them.
        let _ = self.update(&self.own, &key, value, Change::Report, None);
    }

    #[inline]
    pub(crate) fn update(
        &self,
        view: &ViewData,
        key: &Key<'_>,
        value: f64,
        change: Change,
        trace: Option<&TraceContext>,
    ) -> std::result::Result<(), Refusal> {
        let hash = key.hash();
        if self.update_known(hash, key, value, change, trace) {
            return Ok(());
        }
        loop {
            let series = self.find_or_create(view, key, hash)?;
            if self.update_series(&series, value, change, trace) {
                if series.is_overflow {
                    self.update_own(OVERFLOWED, MetricKind::Counter, &[], 1.0);
                }
                return Ok(());
            }
        }
    }

    /// Updates the series that a key leads to; false if there is none, or it expired at this moment.
    #[inline]
    pub(crate) fn update_known(
        &self,
        hash: u64,
        key: &Key<'_>,
        value: f64,
        change: Change,
        trace: Option<&TraceContext>,
    ) -> bool {
        let update = |series: &Arc<Series>| !series.is_removed() && self.update_series(series, value, change, trace);
        self.index.with(hash, key, update).unwrap_or(false)
    }

    /// Updates a series; false if it expired meanwhile, and this value with it.
    #[inline]
    pub(crate) fn update_series(
        &self,
        series: &Series,
        value: f64,
        change: Change,
        trace: Option<&TraceContext>,
    ) -> bool {
        if self.track_updates {
            series.touch(self.clock.coarse_millis());
        }
        let bucket = series.update(value, change);
        if let Some(trace) = trace {
            let exemplar = Exemplar { trace: *trace, value, nanos: self.clock.now_nanos(), bucket };
            series.keep_exemplar(&exemplar, self.shared.as_deref());
        }
        self.expire_after.is_none() || series.stays(|| drop(self.expiring.lock()))
    }

    #[cold]
    fn find_or_create(&self, view: &ViewData, key: &Key<'_>, hash: u64) -> std::result::Result<Arc<Series>, Refusal> {
        if key.name.is_empty() {
            return Err(Refusal::InvalidName);
        }
        let family = self.family(view, key.name, key.scope.kind);
        let series = self.series(&family, key.labels)?;
        if !series.is_overflow && series.aliases.load(Ordering::Relaxed) < MAX_ALIASES {
            let own = series.is_spelled(key);
            if self.index.insert(hash, key, Arc::clone(&series), own) {
                series.aliases.fetch_add(1, Ordering::Relaxed);
            }
        }
        Ok(series)
    }

    fn family(&self, view: &ViewData, name: &str, kind: MetricKind) -> Arc<Family> {
        let wanted = naming::family_name(self.naming, &view.options.prefix, name, kind);
        let key = (view.number == OWN_VIEW, wanted, kind);
        if let Some(family) = self.families.read().by_key.get(&key) {
            return Arc::clone(family);
        }
        let described = view.descriptions.read().get(name).cloned().unwrap_or_default();
        let mut families = self.families.write();
        if let Some(family) = families.by_key.get(&key) {
            return Arc::clone(family);
        }
        let shown = families.taken.take(self.naming, &key.1, kind);
        if shown != key.1 {
            self.warn(format!(
                "metric {name:?} is reported as {} and under a name that is taken already; the {} is shown as {shown:?}",
                kind.as_str(),
                kind.as_str(),
            ));
        }
        let bounds = match (kind.is_distribution(), described.buckets) {
            (false, _) => Arc::from([]),
            (true, Some(buckets)) => buckets,
            (true, None) => Arc::clone(&view.options.buckets),
        };
        let help = described.help.map_or_else(|| default_help(self.naming, name, kind), Arc::from);
        let unit = described.unit.as_deref().unwrap_or(if kind == MetricKind::Timing { "seconds" } else { "" });
        let family = Arc::new(Family {
            name: Arc::from(shown),
            shape: Arc::new(Shape { kind, view: view.number, name: Box::from(name), bounds }),
            aggregation: described.aggregation.unwrap_or_default(),
            meta: RwLock::new(Meta { help, unit: Arc::from(unit) }),
            max_series: described.max_series.unwrap_or(view.options.max_series),
            members: RwLock::new(Members::default()),
        });
        families.sorted.insert(Arc::clone(&family.name), Arc::clone(&family));
        families.by_key.insert(key, Arc::clone(&family));
        family
    }

    fn series(&self, family: &Family, given: &[(&str, &str)]) -> std::result::Result<Arc<Series>, Refusal> {
        let labels = self.canonical(family, given);
        let identity = self.identity(&labels);
        // A caller's own labels of this text mean the same series: a page must not show it twice.
        let is_overflow = |members: &Members| members.ordinary_len() >= family.max_series || identity == OVERFLOW;
        {
            let members = family.members.read();
            if let Some(series) = members.find(&identity) {
                return Ok(Arc::clone(series));
            }
            if is_overflow(&members)
                && let Some(overflow) = &members.overflow
            {
                return Ok(Arc::clone(overflow));
            }
        }
        let mut members = family.members.write();
        if let Some(series) = members.find(&identity) {
            return Ok(Arc::clone(series));
        }
        let is_overflow = is_overflow(&members);
        if let Some(overflow) = members.overflow.as_ref().filter(|_| is_overflow) {
            return Ok(Arc::clone(overflow));
        }
        let labels = if is_overflow { vec![(Cow::Borrowed("overflow"), Cow::Borrowed("true"))] } else { labels };
        let series = Arc::new(self.new_series(family, given, &labels, is_overflow)?);
        members.add(&series);
        Ok(series)
    }

    fn new_series(
        &self,
        family: &Family,
        given: &[(&str, &str)],
        labels: &[(Cow<'_, str>, Cow<'_, str>)],
        is_overflow: bool,
    ) -> std::result::Result<Series, Refusal> {
        let identity = self.identity(labels);
        // Other processes know a series by its text alone, so there the text is the identity.
        let text = if self.shared.is_some() { identity.clone() } else { naming::label_text(labels) };
        let export = (self.naming == Naming::AsGiven).then(|| {
            let parts = labels.iter().flat_map(|(name, value)| [name, value]);
            Export::new(self.clock.now_nanos(), parts.map(|part| Box::from(&**part)).collect())
        });
        let cells = match &self.shared {
            None => Cells::private(family.shape.cells_len()),
            Some(writer) => writer.series(family, &text).map_err(|error| self.storage_error(&error))?,
        };
        let labels = Labels {
            len: labels.len(),
            is_plain: naming::is_plain(given, labels),
            is_overflow,
            rare: Rare { identity: (identity != text).then(|| identity.into_boxed_str()), export },
            text: text.into_boxed_str(),
        };
        let series = Series::new(labels, Arc::clone(&family.shape), cells);
        if self.track_updates {
            series.touch(self.clock.coarse_millis());
        }
        Ok(series)
    }

    fn storage_error(&self, error: &std::io::Error) -> Refusal {
        if !self.storage_failed.swap(true, Ordering::Relaxed) {
            self.warn(format!(
                "new series are dropped: this process's file for multiprocess metrics takes no more: {error}"
            ));
        }
        Refusal::StorageFull
    }

    pub(crate) fn canonical<'a>(
        &self,
        family: &Family,
        labels: &[(&'a str, &'a str)],
    ) -> Vec<(Cow<'a, str>, Cow<'a, str>)> {
        let per_pid = family.aggregation == Aggregation::Pid && family.shape.kind == MetricKind::Gauge;
        naming::canonical_labels(self.naming, labels, per_pid.then_some("pid"))
    }

    /// The text by which a series is recognised: to Prometheus an empty label is an absent one, to others it is not.
    pub(crate) fn identity(&self, labels: &[(Cow<'_, str>, Cow<'_, str>)]) -> String {
        match self.naming {
            Naming::AsGiven => naming::label_text(labels),
            Naming::Prometheus => naming::shown_text(labels),
        }
    }

    /// Milliseconds since the epoch before which an update is too old to be shown, if anything expires.
    pub(crate) fn oldest_shown(&self) -> Option<u64> {
        self.expire_after.map(|limit| oldest_kept(&self.clock, limit))
    }

    /// Plain values of every family, for providers other than the page.
    pub fn snapshot(&self) -> Vec<snapshot::Family> {
        let _one_at_a_time = self.scraping.lock();
        self.expire();
        let mut raw = Vec::new();
        self.families().iter().map(|family| snapshot_family(family, &mut raw)).collect()
    }
}

fn snapshot_family(family: &Family, raw: &mut Vec<u64>) -> snapshot::Family {
    let meta = family.meta.read().clone();
    let mut series = Vec::with_capacity(family.len());
    family.for_each(|one| {
        let Some(export) = one.export() else { return };
        one.read(raw);
        series.push(snapshot::Series {
            id: export.id,
            labels: Arc::clone(&export.pairs),
            created_nanos: export.created_nanos,
            value: value_of(family.shape.kind, raw),
            exemplars: one.exemplars(),
        });
    });
    snapshot::Family {
        name: Arc::clone(&family.name),
        kind: family.shape.kind,
        help: meta.help,
        unit: meta.unit,
        bounds: Arc::clone(&family.shape.bounds),
        series,
    }
}

pub(crate) fn oldest_kept(clock: &Clock, limit: Duration) -> u64 {
    clock.coarse_millis().saturating_sub(u64::try_from(limit.as_millis()).unwrap_or(u64::MAX))
}

fn default_help(naming: Naming, name: &str, kind: MetricKind) -> Arc<str> {
    match (naming, kind) {
        (Naming::AsGiven, _) => Arc::from(""),
        (_, MetricKind::Timing) => Arc::from(format!("Timing {name} in seconds.")),
        (_, MetricKind::Counter) => Arc::from(format!("Counter {name}.")),
        (_, MetricKind::Gauge) => Arc::from(format!("Gauge {name}.")),
        (_, MetricKind::Histogram) => Arc::from(format!("Histogram {name}.")),
    }
}

fn own_descriptions() -> HashMap<String, Description> {
    let described =
        |help: &str, aggregation| Description { help: Some(help.to_owned()), aggregation, ..Description::default() };
    HashMap::from([
        (DROPPED.to_owned(), described("Updates that were not kept, by reason.", None)),
        (
            OVERFLOWED.to_owned(),
            described("Updates that went to an overflow series because max_series was reached.", None),
        ),
        (
            SHARED_SKIPPED.to_owned(),
            described(
                "What other processes counted and the page leaves out, by reason: files (torn), families (other_buckets).",
                None,
            ),
        ),
        (SCRAPE_DURATION.to_owned(), described("Duration of the scrape before this one.", Some(Aggregation::Max))),
    ])
}
