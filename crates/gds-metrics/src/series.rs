//! One series: its label text, made once, and its cells.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use crate::cells::{self, Cells};
use crate::exemplar;
use crate::key::Kind;
use crate::shared::Writer;
use crate::snapshot::{Exemplar, Value};

/// What all series of a family share with their updates.
#[derive(Debug)]
pub struct Shape {
    /// The kind.
    pub kind: Kind,
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
            Kind::Counter => 1,
            Kind::Gauge => 0,
            Kind::Histogram | Kind::Timing => self.bounds.len() + 1,
        }
    }
}

/// One series.
#[derive(Debug)]
pub struct Series {
    /// A number that no other series of this process ever has.
    pub id: u64,
    /// When it was made, nanoseconds since the Unix epoch.
    pub created_nanos: u64,
    /// `a="b",c="d"` as on the page; empty without labels.
    pub text: Box<str>,
    /// The text without empty labels where that differs: to Prometheus an empty label is an absent one.
    identity: Option<Box<str>>,
    /// Label names and values in turn, for providers that do not show text.
    pub pairs: Option<Arc<[Box<str>]>>,
    /// Whether it takes what `max_series` kept out.
    pub is_overflow: bool,
    shape: Arc<Shape>,
    cells: Cells,
    exemplars: OnceLock<Box<Cells>>,
    /// Entries of the index that lead here.
    pub(crate) aliases: AtomicU32,
    removed: AtomicBool,
}

/// What makes a series one and not another.
pub(crate) struct Labels {
    pub(crate) text: Box<str>,
    pub(crate) identity: Option<Box<str>>,
    pub(crate) pairs: Option<Arc<[Box<str>]>>,
}

static NEXT_ID: AtomicU64 = AtomicU64::new(0);

impl Series {
    pub(crate) fn new(labels: Labels, shape: Arc<Shape>, cells: Cells, created_nanos: u64, is_overflow: bool) -> Self {
        Self {
            id: NEXT_ID.fetch_add(1, Ordering::Relaxed),
            created_nanos,
            text: labels.text,
            identity: labels.identity,
            pairs: labels.pairs,
            is_overflow,
            shape,
            cells,
            exemplars: OnceLock::new(),
            aliases: AtomicU32::new(0),
            removed: AtomicBool::new(false),
        }
    }

    /// The text by which two spellings of this series are recognised.
    pub fn identity(&self) -> &str {
        self.identity.as_deref().unwrap_or(&self.text)
    }

    /// Reports one value: an increment, a level, an observation; returns its exemplar slot.
    #[inline]
    pub fn update(&self, value: f64) -> usize {
        let cells = self.cells.get();
        match self.shape.kind {
            Kind::Counter => {
                cells::add_f64(&cells[cells::VALUE], value);
                0
            }
            Kind::Gauge => {
                cells[cells::VALUE].store(value.to_bits(), Ordering::Relaxed);
                0
            }
            Kind::Histogram | Kind::Timing => cells::observe(cells, &self.shape.bounds, value),
        }
    }

    /// Remembers when it was last updated.
    #[inline]
    pub fn touch(&self, millis: u64) {
        self.cells.get()[cells::UPDATED].store(millis, Ordering::Relaxed);
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
            Box::new(mapped.unwrap_or_else(|| Cells::heap(exemplar::cells_len(slots))))
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

    /// Whether it expired: nobody will see what is reported to it.
    #[inline]
    pub fn is_removed(&self) -> bool {
        self.removed.load(Ordering::Acquire)
    }

    pub(crate) fn remove(&self) {
        self.removed.store(true, Ordering::Release);
    }
}

/// What [`Series::read`] copied, as a value.
pub fn value_of(kind: Kind, raw: &[u64]) -> Value {
    if kind.is_distribution() {
        Value::Distribution { sum: f64::from_bits(raw[0]), buckets: raw[1..].to_vec() }
    } else {
        Value::Number(f64::from_bits(raw[0]))
    }
}
