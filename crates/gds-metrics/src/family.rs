//! A family: all series of one name and kind, and what was said about it.

use std::hash::{BuildHasher, Hasher};
use std::sync::Arc;

use foldhash::fast::FixedState;
use gds_process::sync::RwLock;
use hashbrown::HashTable;

use crate::error::{Error, Result};
use crate::series::{Series, Shape};

/// Series copied out of a family at a time, so that a scrape never holds its lock for longer than this takes.
const BATCH: usize = 1_024;

/// How one gauge of several processes becomes one number of the page.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum Aggregation {
    /// The sum over the live processes.
    #[default]
    Sum = 0,
    /// The smallest of the live processes.
    Min = 1,
    /// The largest of the live processes.
    Max = 2,
    /// The one set last, by any process, alive or not.
    Last = 3,
    /// One series for each live process, with label `pid`.
    Pid = 4,
}

impl Aggregation {
    /// Every aggregation, in the order of its number.
    pub const ALL: [Self; 5] = [Self::Sum, Self::Min, Self::Max, Self::Last, Self::Pid];

    /// The name a user gives it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sum => "sum",
            Self::Min => "min",
            Self::Max => "max",
            Self::Last => "last",
            Self::Pid => "pid",
        }
    }

    /// The aggregation of this name.
    pub fn parse(name: &str) -> Result<Self> {
        let names = || Self::ALL.map(|known| format!("{:?}", known.as_str())).join(", ");
        let unknown = || Error::setting("aggregation", name, format!("one of {}", names()));
        Self::ALL.into_iter().find(|aggregation| aggregation.as_str() == name).ok_or_else(unknown)
    }
}

/// What was said about a metric, by [`crate::view::View::describe`].
#[derive(Clone, Debug, Default)]
pub struct Description {
    /// What it means.
    pub help: Option<String>,
    /// Its unit: `seconds`, `bytes`.
    pub unit: Option<String>,
    /// Finite upper bounds of the buckets, ascending.
    pub buckets: Option<Arc<[f64]>>,
    /// How gauges of several processes become one.
    pub aggregation: Option<Aggregation>,
    /// Series before the rest goes to the overflow series.
    pub max_series: Option<usize>,
}

impl Description {
    /// This, and what was said before where this says nothing.
    #[must_use]
    pub fn or(self, before: Self) -> Self {
        Self {
            help: self.help.or(before.help),
            unit: self.unit.or(before.unit),
            buckets: self.buckets.or(before.buckets),
            aggregation: self.aggregation.or(before.aggregation),
            max_series: self.max_series.or(before.max_series),
        }
    }
}

/// What a page says about a family.
#[derive(Clone, Debug)]
pub struct Meta {
    /// What it means.
    pub help: Arc<str>,
    /// Its unit, or empty.
    pub unit: Arc<str>,
}

/// All series of one name and kind.
#[derive(Debug)]
pub struct Family {
    /// The name on the page, without the suffix of its kind.
    pub name: Arc<str>,
    /// Its kind and buckets.
    pub shape: Arc<Shape>,
    /// How gauges of several processes become one.
    pub aggregation: Aggregation,
    pub(crate) meta: RwLock<Meta>,
    pub(crate) max_series: usize,
    pub(crate) members: RwLock<Members>,
}

/// The series of a family, in the order they came and by their identity.
#[derive(Debug, Default)]
pub(crate) struct Members {
    pub(crate) list: Vec<Arc<Series>>,
    by_identity: HashTable<Arc<Series>>,
    pub(crate) overflow: Option<Arc<Series>>,
    /// Series of the list that were removed: the list is shortened only while no scrape walks it.
    pub(crate) gone: usize,
}

pub(crate) fn hash(identity: &str) -> u64 {
    let mut hasher = FixedState::with_seed(0).build_hasher();
    hasher.write(identity.as_bytes());
    hasher.finish()
}

impl Members {
    pub(crate) fn find(&self, identity: &str) -> Option<&Arc<Series>> {
        self.by_identity.find(hash(identity), |series| series.identity() == identity)
    }

    pub(crate) fn add(&mut self, series: &Arc<Series>) {
        self.list.push(Arc::clone(series));
        if series.is_overflow {
            self.overflow = Some(Arc::clone(series));
        } else {
            let hash_of = |series: &Arc<Series>| hash(series.identity());
            self.by_identity.insert_unique(hash(series.identity()), Arc::clone(series), hash_of);
        }
    }

    /// Series that count against the limit.
    pub(crate) fn ordinary_len(&self) -> usize {
        self.by_identity.len()
    }

    /// Removes a series from everything but the list.
    pub(crate) fn take_out(&mut self, series: &Arc<Series>) {
        series.set_removed();
        let same = |other: &Arc<Series>| Arc::ptr_eq(other, series);
        if let Ok(entry) = self.by_identity.find_entry(hash(series.identity()), same) {
            entry.remove();
        }
        self.overflow.take_if(|other| same(other));
        self.gone += 1;
    }

    /// Shortens the list by what was removed; while nobody walks it.
    pub(crate) fn forget_removed(&mut self) {
        self.list.retain(|series| !series.is_removed());
        self.gone = 0;
    }
}

impl Family {
    /// Calls `each` with every series, holding the family's lock only to copy a batch of pointers.
    pub fn for_each(&self, mut each: impl FnMut(&Series)) {
        let mut batch: Vec<Arc<Series>> = Vec::new();
        for start in (0..).step_by(BATCH) {
            batch.clear();
            {
                let members = self.members.read();
                let Some(rest) = members.list.get(start..).filter(|rest| !rest.is_empty()) else { return };
                batch.extend(rest.iter().take(BATCH).cloned());
            }
            for series in batch.iter().filter(|series| !series.is_removed()) {
                each(series);
            }
        }
    }

    /// Number of series.
    pub fn len(&self) -> usize {
        let members = self.members.read();
        members.list.len() - members.gone
    }

    /// Whether it has no series yet.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
