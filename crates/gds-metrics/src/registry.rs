//! The registry: families of series, found by the key as given, updated by an atomic.
//!
//! Several collectors of one process may share a registry (and so a page); each is a [`View`] with its own prefix and
//! settings. An update that finds its series takes one shared lock of an index shard; a new series takes the lock of
//! its family; a scrape copies batches of pointers and blocks neither. Nothing here panics or fails towards the caller of
//! an update: what cannot be kept is a [`Refusal`], counted in `gds_metrics_dropped_total`.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::{Mutex, RwLock};

use crate::cells::Cells;
use crate::clock::Clock;
use crate::error::{Error, Result};
use crate::family::{Aggregation, Description, Family, Members, Meta};
use crate::index::Index;
use crate::key::{Key, Kind, Scope};
use crate::naming::{self, Naming, TakenNames};
use crate::series::{Export, Labels, Rare, Series, Shape, value_of};
use crate::shared::Writer;
use crate::snapshot::{self, Exemplar, TraceContext};

/// Buckets of distributions that nobody described, the ones every Prometheus client starts with (seconds).
pub const DEFAULT_BUCKETS: [f64; 14] =
    [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0];

/// Series of one family before the rest goes to its overflow series.
pub const DEFAULT_MAX_SERIES: usize = 10_000;

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
const OWN_VIEW: u16 = u16::MAX;

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
    /// Called with a sentence for the user's log, with no lock held.
    pub warn: Box<dyn Fn(&str) + Send + Sync>,
}

impl Default for RegistryOptions {
    fn default() -> Self {
        Self {
            naming: Naming::Prometheus,
            clock: Clock::System,
            expire_after: None,
            shared: None,
            warn: Box::new(|_| ()),
        }
    }
}

/// Settings of one collector of a registry.
#[derive(Clone, Debug)]
pub struct ViewOptions {
    /// Put before every name.
    pub prefix: String,
    /// Buckets of histograms and timings that were not described.
    pub buckets: Arc<[f64]>,
    /// Series of a family before the rest goes to its overflow series.
    pub max_series: usize,
}

impl Default for ViewOptions {
    fn default() -> Self {
        Self { prefix: String::new(), buckets: Arc::from(DEFAULT_BUCKETS), max_series: DEFAULT_MAX_SERIES }
    }
}

struct ViewData {
    number: u16,
    options: ViewOptions,
    descriptions: RwLock<HashMap<String, Description>>,
}

/// Families, and the index that finds their series.
pub struct Registry {
    pub(crate) naming: Naming,
    pub(crate) clock: Clock,
    expire_after: Option<Duration>,
    pub(crate) shared: Option<Arc<Writer>>,
    warn: Box<dyn Fn(&str) + Send + Sync>,
    track_updates: bool,
    index: Index<Series>,
    families: RwLock<Families>,
    views: Mutex<u16>,
    own: ViewData,
    storage_failed: AtomicBool,
    /// Held for a whole scrape, so that expiry never shifts the list another scrape walks.
    pub(crate) scraping: Mutex<()>,
}

#[derive(Default)]
struct Families {
    /// By wanted name and kind, the registry's own apart from the users'.
    by_key: HashMap<(bool, String, Kind), Arc<Family>>,
    sorted: BTreeMap<Arc<str>, Arc<Family>>,
    taken: TakenNames,
}

/// One collector's way into a registry: its prefix, its buckets, its limits.
#[derive(Clone)]
pub struct View {
    registry: Arc<Registry>,
    data: Arc<ViewData>,
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
            warn: options.warn,
            index: Index::default(),
            families: RwLock::default(),
            views: Mutex::new(0),
            own,
            storage_failed: AtomicBool::new(false),
            scraping: Mutex::new(()),
        };
        // Taken first, so that no user's metric can be mistaken for the registry's word about itself.
        for (name, kind) in [
            (DROPPED, Kind::Counter),
            (OVERFLOWED, Kind::Counter),
            (SHARED_SKIPPED, Kind::Counter),
            (SCRAPE_DURATION, Kind::Gauge),
        ] {
            registry.family(&registry.own, name, kind, &mut None);
        }
        registry.families.write().taken.reserve(SERIES);
        Arc::new(registry)
    }

    /// A further collector of this registry.
    pub fn view(self: &Arc<Self>, options: ViewOptions) -> View {
        let mut next = self.views.lock();
        let data = ViewData { number: *next, options, descriptions: RwLock::default() };
        *next = (*next + 1).min(OWN_VIEW - 1);
        View { registry: Arc::clone(self), data: Arc::new(data) }
    }

    /// Keeps a name for something that is shown beside the registry's families.
    pub fn reserve(&self, name: &str) {
        self.families.write().taken.reserve(name);
    }

    /// Families that have a series, by name.
    pub fn families(&self) -> Vec<Arc<Family>> {
        self.families.read().sorted.values().filter(|family| !family.is_empty()).cloned().collect()
    }

    /// Counts an update that was not kept.
    pub fn count_refusal(&self, refusal: Refusal) {
        let labels = [("reason", refusal.as_str())];
        self.update_own(DROPPED, Kind::Counter, &labels, 1.0);
    }

    pub(crate) fn update_own(&self, name: &str, kind: Kind, labels: &[(&str, &str)], value: f64) {
        let key = Key { scope: Scope { view: OWN_VIEW, kind }, name, labels };
        // The registry's own words are the one thing that has nowhere to go when there is no storage for them.
        let _ = self.update(&self.own, &key, value, None);
    }

    #[inline]
    fn update(
        &self,
        view: &ViewData,
        key: &Key<'_>,
        value: f64,
        trace: Option<&TraceContext>,
    ) -> std::result::Result<(), Refusal> {
        let hash = key.hash();
        if self.index.with(hash, key, |series| self.update_series(series, value, trace)).is_some() {
            return Ok(());
        }
        let series = self.find_or_create(view, key, hash)?;
        self.update_series(&series, value, trace);
        if series.is_overflow {
            self.update_own(OVERFLOWED, Kind::Counter, &[], 1.0);
        }
        Ok(())
    }

    #[inline]
    fn update_series(&self, series: &Series, value: f64, trace: Option<&TraceContext>) {
        // Touched first: an expiry that runs at this moment then sees that somebody is here.
        if self.track_updates {
            series.touch(self.clock.coarse_millis());
        }
        let bucket = series.update(value);
        if let Some(trace) = trace {
            let exemplar = Exemplar { trace: *trace, value, nanos: self.clock.now_nanos(), bucket };
            series.keep_exemplar(&exemplar, self.shared.as_deref());
        }
    }

    #[cold]
    fn find_or_create(&self, view: &ViewData, key: &Key<'_>, hash: u64) -> std::result::Result<Arc<Series>, Refusal> {
        if key.name.is_empty() {
            return Err(Refusal::InvalidName);
        }
        let mut warning = None;
        let family = self.family(view, key.name, key.scope.kind, &mut warning);
        let series = self.series(&family, key.labels);
        if let Some(warning) = warning {
            (self.warn)(&warning);
        }
        let series = series?;
        if !series.is_overflow && series.aliases.load(Ordering::Relaxed) < MAX_ALIASES {
            // Counted first, so that an expiry at this moment does not take the series for one without entries.
            series.aliases.fetch_add(1, Ordering::Relaxed);
            let own = series.is_spelled(key);
            if !self.index.insert(hash, key, Arc::clone(&series), own) {
                series.aliases.fetch_sub(1, Ordering::Relaxed);
            }
        }
        Ok(series)
    }

    fn family(&self, view: &ViewData, name: &str, kind: Kind, warning: &mut Option<String>) -> Arc<Family> {
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
            *warning = Some(format!(
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
        let unit = described.unit.as_deref().unwrap_or(if kind == Kind::Timing { "seconds" } else { "" });
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
            if let Some(series) = members.find(&identity).filter(|series| !series.is_removed()) {
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
            if !series.is_removed() {
                return Ok(Arc::clone(series));
            }
            members.forget_removed();
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
            (self.warn)(&format!(
                "new series are dropped: this process's file for multiprocess metrics takes no more: {error}"
            ));
        }
        Refusal::StorageFull
    }

    fn canonical<'a>(&self, family: &Family, labels: &[(&'a str, &'a str)]) -> Vec<(Cow<'a, str>, Cow<'a, str>)> {
        let per_pid = family.aggregation == Aggregation::Pid && family.shape.kind == Kind::Gauge;
        naming::canonical_labels(self.naming, labels, per_pid.then_some("pid"))
    }

    /// The text by which a series is recognised: to Prometheus an empty label is an absent one, to others it is not.
    fn identity(&self, labels: &[(Cow<'_, str>, Cow<'_, str>)]) -> String {
        match self.naming {
            Naming::AsGiven => naming::label_text(labels),
            Naming::Prometheus => naming::shown_text(labels),
        }
    }

    /// Forgets series that nobody updated for `expire_after`. In a shared folder they are only left off the page, so
    /// that a counter that comes back continues where it was.
    pub fn expire(&self) {
        let Some(limit) = self.expire_after.filter(|_| self.shared.is_none()) else { return };
        let oldest = oldest_kept(&self.clock, limit);
        let is_stale = |series: &Series| series.updated_millis() < oldest;
        for family in self.families() {
            let mut any = false;
            family.for_each(|series| any |= is_stale(series));
            if !any {
                continue;
            }
            // The shard's lock keeps updates out while one entry is judged; a series goes with its last entry.
            self.index.retain(|series| {
                let stale = is_stale(series);
                if stale && series.aliases.fetch_sub(1, Ordering::AcqRel) == 1 {
                    series.remove();
                }
                !stale
            });
            let mut members = family.members.write();
            for series in &members.list {
                if series.aliases.load(Ordering::Acquire) == 0 && is_stale(series) {
                    series.remove();
                }
            }
            members.forget_removed();
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

fn oldest_kept(clock: &Clock, limit: Duration) -> u64 {
    clock.coarse_millis().saturating_sub(u64::try_from(limit.as_millis()).unwrap_or(u64::MAX))
}

fn default_help(naming: Naming, name: &str, kind: Kind) -> Arc<str> {
    match (naming, kind) {
        (Naming::AsGiven, _) => Arc::from(""),
        (_, Kind::Timing) => Arc::from(format!("Timing {name} in seconds.")),
        (_, Kind::Counter) => Arc::from(format!("Counter {name}.")),
        (_, Kind::Gauge) => Arc::from(format!("Gauge {name}.")),
        (_, Kind::Histogram) => Arc::from(format!("Histogram {name}.")),
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

impl View {
    /// Adds `value` to a counter.
    #[inline]
    pub fn increment(
        &self,
        name: &str,
        value: f64,
        labels: &[(&str, &str)],
        trace: Option<&TraceContext>,
    ) -> std::result::Result<(), Refusal> {
        // False for NaN too.
        if value >= 0.0 {
            self.update(Kind::Counter, name, value, labels, trace)
        } else {
            self.refuse(Refusal::NegativeIncrement)
        }
    }

    /// Sets a gauge.
    #[inline]
    pub fn gauge(&self, name: &str, value: f64, labels: &[(&str, &str)]) -> std::result::Result<(), Refusal> {
        self.update(Kind::Gauge, name, value, labels, None)
    }

    /// Observes a value of a distribution.
    #[inline]
    pub fn histogram(
        &self,
        name: &str,
        value: f64,
        labels: &[(&str, &str)],
        trace: Option<&TraceContext>,
    ) -> std::result::Result<(), Refusal> {
        self.update(Kind::Histogram, name, value, labels, trace)
    }

    /// Observes a duration given in milliseconds, kept in seconds.
    #[inline]
    pub fn timing(
        &self,
        name: &str,
        value_ms: f64,
        labels: &[(&str, &str)],
        trace: Option<&TraceContext>,
    ) -> std::result::Result<(), Refusal> {
        self.update(Kind::Timing, name, value_ms / 1000.0, labels, trace)
    }

    #[inline]
    fn update(
        &self,
        kind: Kind,
        name: &str,
        value: f64,
        labels: &[(&str, &str)],
        trace: Option<&TraceContext>,
    ) -> std::result::Result<(), Refusal> {
        let key = Key { scope: Scope { view: self.data.number, kind }, name, labels };
        self.registry.update(&self.data, &key, value, trace).or_else(|refusal| self.refuse(refusal))
    }

    /// The series that a key leads to, if it was reported before and is no overflow series (whose updates are counted
    /// one by one).
    pub fn find(&self, kind: Kind, name: &str, labels: &[(&str, &str)]) -> Option<Arc<Series>> {
        let key = Key { scope: Scope { view: self.data.number, kind }, name, labels };
        self.registry.index.with(key.hash(), &key, Arc::clone)
    }

    /// Reports a value to a series of this view that the caller kept; false if it must be reported by name, because the
    /// series expired or the value is refused.
    #[inline]
    pub fn update_found(&self, kind: Kind, series: &Series, value: f64, trace: Option<&TraceContext>) -> bool {
        if kind == Kind::Counter && (value < 0.0 || value.is_nan()) {
            return false;
        }
        let value = if kind == Kind::Timing { value / 1000.0 } else { value };
        self.registry.update_series(series, value, trace);
        // A series that expired meanwhile is off the page for good, and this value with it: report it again by name.
        !series.is_removed()
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
        let existing: Vec<_> = Kind::ALL.into_iter().filter_map(|kind| self.existing(name, kind)).collect();
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

    fn existing(&self, name: &str, kind: Kind) -> Option<Arc<Family>> {
        let wanted = naming::family_name(self.registry.naming, &self.data.options.prefix, name, kind);
        self.registry.families.read().by_key.get(&(false, wanted, kind)).filter(|family| !family.is_empty()).cloned()
    }

    /// The collector's prefix.
    pub fn prefix(&self) -> &str {
        &self.data.options.prefix
    }
}

/// Buckets must be finite and ascend; the last, infinite one is added by itself.
pub fn check_buckets(buckets: &[f64]) -> Result<()> {
    let ascending = buckets.windows(2).all(|pair| pair[0] < pair[1]);
    if !buckets.is_empty() && ascending && buckets.iter().all(|bound| bound.is_finite()) {
        return Ok(());
    }
    Err(Error::setting(
        "buckets",
        &format!("{buckets:?}"),
        "at least one finite bound, each larger than the one before",
    ))
}
