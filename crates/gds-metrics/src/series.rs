//! One series: its label text, made once, and its cells.

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, AtomicU64, Ordering};

use once_cell::race::OnceBox;
use smallvec::SmallVec;

use crate::cells::{self, Cells};
use crate::exemplar;
use crate::index::Spelling;
use crate::key::{Change, Key, MetricKind, Scope};
use crate::lifetime;
use crate::shared::Writer;
use crate::snapshot::{Exemplar, Value};

/// What all series of a family share with their updates.
#[derive(Debug)]
pub struct Shape {
    /// The kind.
    pub kind: MetricKind,
    /// View and name by which the family was first reported.
    pub view: u64,
    /// See `view`.
    pub name: Box<str>,
    /// Finite upper bounds of the buckets; empty unless a distribution.
    pub bounds: Arc<[f64]>,
}

impl Shape {
    /// Number of cells of a series.
    pub fn cells_len(&self) -> usize {
        if self.kind.is_distribution() { cells::distribution_len(self.bounds.len()) } else { cells::NUMBER_LEN }
    }

    /// Number of exemplar slots of a series.
    pub fn exemplar_slots(&self) -> usize {
        match self.kind {
            MetricKind::Counter => 1,
            MetricKind::Gauge => 0,
            MetricKind::Histogram | MetricKind::Timing => self.bounds.len() + 1,
        }
    }
}

/// One series.
#[derive(Debug)]
pub struct Series {
    /// `a="b",c="d"` as on the page; empty without labels.
    pub text: Box<str>,
    /// What few series have.
    rare: Option<Box<Rare>>,
    shape: Arc<Shape>,
    cells: Cells,
    exemplars: OnceBox<Cells>,
    /// Entries of the index that lead here.
    pub(crate) aliases: AtomicU16,
    /// Labels in `text`.
    labels: u8,
    /// Whether `text` is how the labels were given: in this order, with nothing changed or escaped.
    is_plain: bool,
    /// Whether it takes what `max_series` kept out.
    pub is_overflow: bool,
    /// [`lifetime::LIVES`] or [`lifetime::REMOVED`].
    mark: AtomicU64,
}

/// What only series of some registries have: there are many series, so each word of them counts.
#[derive(Debug)]
pub(crate) struct Rare {
    /// The text without empty labels where that differs: to Prometheus an empty label is an absent one.
    pub(crate) identity: Option<Box<str>>,
    /// For providers that do not show text.
    pub(crate) export: Option<Export>,
}

/// What a provider needs of a series that it exports instead of showing its text.
#[derive(Debug)]
pub struct Export {
    /// A number that no other series of this process ever has.
    pub id: u64,
    /// When it was made, nanoseconds since the Unix epoch.
    pub created_nanos: u64,
    /// Label names and values in turn.
    pub pairs: Arc<[Box<str>]>,
}

impl Export {
    pub(crate) fn new(created_nanos: u64, pairs: Arc<[Box<str>]>) -> Self {
        static NEXT_ID: AtomicU64 = AtomicU64::new(0);
        Self { id: NEXT_ID.fetch_add(1, Ordering::Relaxed), created_nanos, pairs }
    }
}

/// What makes a series one and not another.
pub(crate) struct Labels {
    pub(crate) text: Box<str>,
    /// Number of labels; more than a byte holds are never plain.
    pub(crate) len: usize,
    pub(crate) is_plain: bool,
    pub(crate) is_overflow: bool,
    pub(crate) rare: Rare,
}

impl Series {
    pub(crate) fn new(labels: Labels, shape: Arc<Shape>, cells: Cells) -> Self {
        let len = u8::try_from(labels.len);
        let has_rare = labels.rare.identity.is_some() || labels.rare.export.is_some();
        Self {
            text: labels.text,
            rare: has_rare.then(|| Box::new(labels.rare)),
            shape,
            cells,
            exemplars: OnceBox::new(),
            aliases: AtomicU16::new(0),
            labels: len.unwrap_or(0),
            is_plain: labels.is_plain && len.is_ok(),
            is_overflow: labels.is_overflow,
            mark: AtomicU64::new(lifetime::LIVES),
        }
    }

    /// What a provider needs that exports it; only in registries with names as given.
    pub fn export(&self) -> Option<&Export> {
        self.rare.as_ref()?.export.as_ref()
    }

    /// Whether `key` is this series by the spelling that its text tells.
    pub(crate) fn is_spelled(&self, key: &Key<'_>) -> bool {
        self.is_plain && self.has_spelling(key)
    }

    /// The text by which two spellings of this series are recognised.
    pub fn identity(&self) -> &str {
        self.rare.as_ref().and_then(|rare| rare.identity.as_deref()).unwrap_or(&self.text)
    }

    /// Changes it by one value; returns its exemplar slot.
    #[inline]
    pub(crate) fn update(&self, value: f64, change: Change) -> usize {
        let cells = self.cells.get();
        match (self.shape.kind, change) {
            (MetricKind::Histogram | MetricKind::Timing, _) => return cells::observe(cells, &self.shape.bounds, value),
            (MetricKind::Counter, Change::Report | Change::Add) | (MetricKind::Gauge, Change::Add) => {
                cells::add_f64(&cells[cells::VALUE], value);
            }
            (MetricKind::Gauge, _) | (MetricKind::Counter, Change::Total) => {
                cells[cells::VALUE].store(value.to_bits(), Ordering::Relaxed);
            }
        }
        0
    }

    /// Leaves nothing of it in the file of this process.
    pub(crate) fn forget(&self) {
        let first = if self.shape.kind.is_distribution() { cells::SUM } else { cells::VALUE };
        for cell in &self.cells.get()[first..] {
            cell.store(0, Ordering::Relaxed);
        }
        self.touch(cells::REMOVED);
    }

    /// Remembers when it was last updated.
    #[inline]
    pub fn touch(&self, millis: u64) {
        lifetime::touch(&self.cells.get()[cells::UPDATED], millis);
    }

    /// When it was last updated, as [`Series::touch`] was told.
    pub fn updated_millis(&self) -> u64 {
        self.cells.get()[cells::UPDATED].load(Ordering::Relaxed)
    }

    /// Keeps an exemplar; without effect on kinds that have none.
    pub(crate) fn keep_exemplar(&self, seen: &Exemplar, shared: Option<&Writer>) {
        let slots = self.shape.exemplar_slots();
        if slots == 0 {
            return;
        }
        let cells = self.exemplars.get_or_init(|| {
            let mapped = match (shared, &self.cells) {
                (Some(writer), Cells::Mapped(cells)) => writer.exemplars(cells, exemplar::cells_len(slots)).ok(),
                _ => None,
            };
            Box::new(mapped.unwrap_or_else(|| Cells::private(exemplar::cells_len(slots))))
        });
        exemplar::store(cells.get(), seen);
    }

    /// Every exemplar it has.
    pub fn exemplars(&self) -> Vec<Exemplar> {
        let Some(cells) = self.exemplars.get() else { return Vec::new() };
        (0..self.shape.exemplar_slots()).filter_map(|slot| exemplar::load(cells.get(), slot)).collect()
    }

    /// Copies the value into `into`: one cell for a number; sum, then buckets for a distribution.
    pub fn read(&self, into: &mut Vec<u64>) {
        let cells = self.cells.get();
        if self.shape.kind.is_distribution() {
            cells::read_distribution(cells, into);
        } else {
            into.clear();
            into.push(cells[cells::VALUE].load(Ordering::Relaxed));
        }
    }

    /// The value.
    pub fn value(&self) -> Value {
        let mut raw = Vec::new();
        self.read(&mut raw);
        value_of(self.shape.kind, &raw)
    }

    /// Whether it expired or was removed: nobody will see what is reported to it.
    #[inline]
    pub fn is_removed(&self) -> bool {
        self.mark.load(Ordering::Acquire) == lifetime::REMOVED
    }

    /// Marks it as removed; under the lock of its family's members.
    pub(crate) fn set_removed(&self) {
        self.mark.store(lifetime::REMOVED, Ordering::Release);
    }

    /// As [`lifetime::stays`].
    #[inline]
    pub(crate) fn stays(&self, wait: impl FnOnce()) -> bool {
        lifetime::stays(&self.mark, wait)
    }

    /// As [`lifetime::leaves`]; under the lock of its family's members.
    pub(crate) fn leaves(&self, oldest: u64) -> bool {
        lifetime::leaves(&self.cells.get()[cells::UPDATED], &self.mark, oldest)
    }
}

impl Spelling for Series {
    #[inline]
    fn is_removed(&self) -> bool {
        Self::is_removed(self)
    }

    // With as many labels on both sides, equal text means equal labels: a plain text has four quotes for every two
    // labels, so a given value with a quote in it would make it longer than it can be.
    fn has_spelling(&self, key: &Key<'_>) -> bool {
        let shape = &self.shape;
        if usize::from(self.labels) != key.labels.len()
            || (shape.view, shape.kind) != (key.scope.view, key.scope.kind)
            || *shape.name != *key.name
        {
            return false;
        }
        let mut rest = &*self.text;
        for (name, value) in key.labels {
            let label = rest.strip_prefix(name).and_then(|rest| rest.strip_prefix("=\""));
            let Some(after) = label.and_then(|rest| rest.strip_prefix(value)?.strip_prefix('"')) else { return false };
            rest = after.strip_prefix(',').unwrap_or(after);
        }
        rest.is_empty()
    }

    fn hash(&self) -> u64 {
        let mut labels: SmallVec<[(&str, &str); 8]> = SmallVec::new();
        let mut rest = &*self.text;
        while let Some((name, after)) = rest.split_once("=\"") {
            let (value, after) = after.split_once('"').unwrap_or((after, ""));
            labels.push((name, value));
            rest = after.strip_prefix(',').unwrap_or(after);
        }
        let scope = Scope { view: self.shape.view, kind: self.shape.kind };
        Key { scope, name: &self.shape.name, labels: &labels }.hash()
    }
}

/// What [`Series::read`] copied, as a value.
pub fn value_of(kind: MetricKind, raw: &[u64]) -> Value {
    if kind.is_distribution() {
        Value::Distribution { sum: f64::from_bits(raw[0]), buckets: raw[1..].to_vec() }
    } else {
        Value::Number(f64::from_bits(raw[0]))
    }
}
