//! Adds up the series of several processes.

use std::collections::HashMap;
use std::sync::Arc;

use hashbrown::HashTable;

use super::format::FamilyText;
use super::reader::{Item, Reader, Torn, read_exemplars, read_value};
use crate::cells::REMOVED;
use crate::family::{Aggregation, hash};
use crate::key::MetricKind;
use crate::naming::{Naming, TakenNames, push_label};
use crate::snapshot::Exemplar;

/// What is taken from a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Taking {
    /// All of it: the process lives.
    Live,
    /// What outlives a process: counters, distributions, gauges described as `last`.
    Dead,
}

/// The families of several processes.
#[derive(Debug, Default)]
pub struct Merged {
    by_name: HashMap<(Box<str>, MetricKind), usize>,
    /// In the order they were met.
    pub families: Vec<MergedFamily>,
    /// Families of one process left out because another has the name with other buckets.
    pub other_buckets: usize,
}

/// A family of several processes.
#[derive(Debug)]
pub struct MergedFamily {
    /// Its name; see [`Merged::settle_names`].
    pub name: Arc<str>,
    /// Its kind.
    pub kind: MetricKind,
    /// How its gauges were added up.
    pub aggregation: Aggregation,
    /// What it means.
    pub help: String,
    /// Its unit, or empty.
    pub unit: String,
    /// Finite upper bounds of its buckets.
    pub bounds: Arc<[f64]>,
    /// Its series, in the order they were met.
    pub series: Vec<MergedSeries>,
    by_text: HashTable<u32>,
}

/// A series of several processes.
#[derive(Debug)]
pub struct MergedSeries {
    /// Label text.
    pub text: Box<str>,
    /// When it was last updated, milliseconds since the Unix epoch.
    pub updated: u64,
    /// The value as [`crate::series::Series::read`] has it.
    pub raw: Vec<u64>,
    /// For each bucket the latest of all processes.
    pub exemplars: Vec<Exemplar>,
    /// What the sum in `raw[0]` is more than an `f64` can say: sums of the same parts are then the same in any order, and
    /// a counter of fractions does not go back by a rounding error, which a server would take for a restart.
    pub(super) low: f64,
}

impl Merged {
    /// Adds what a file says, or nothing of it if any of it makes no sense.
    pub(super) fn add(&mut self, file: &Reader, taking: Taking) -> Result<(), Torn> {
        validate(file)?;
        // Numbers of families and offsets of series mean something only within their file.
        let mut families: HashMap<u64, Option<usize>> = HashMap::new();
        let mut series: HashMap<u64, (usize, usize)> = HashMap::new();
        let mut raw = Vec::new();
        file.for_each(|item| {
            match item {
                Item::Family { number, kind, aggregation, text } => {
                    let wanted = match taking {
                        Taking::Live => true,
                        Taking::Dead => kind != MetricKind::Gauge || aggregation == Aggregation::Last,
                    };
                    families.insert(number, wanted.then(|| self.family(kind, aggregation, &text)).flatten());
                }
                Item::Series { family, record, text, updated, cells } => {
                    if updated == REMOVED {
                        return Ok(());
                    }
                    let Some(place) = *families.get(&family).ok_or(Torn)? else { return Ok(()) };
                    let family = &mut self.families[place];
                    read_value(family.kind, family.bounds.len(), cells, &mut raw)?;
                    let member = family.add(text, updated, &raw, file.pid);
                    if family.kind != MetricKind::Gauge {
                        series.insert(record, (place, member));
                    }
                }
                Item::Exemplars { series: record, cells } => {
                    if let Some((family, member)) = series.get(&record) {
                        let kept = &mut self.families[*family].series[*member].exemplars;
                        read_exemplars(cells).for_each(|exemplar| keep_latest(kept, exemplar));
                    }
                }
                Item::Carry { series: record, low } => {
                    if let Some((family, member)) = series.get(&record) {
                        self.families[*family].series[*member].sum_up(0.0, low);
                    }
                }
                Item::Folded(_) => {}
            }
            Ok(())
        })
    }

    /// The place of a family; none if another process has it with other buckets, which cannot be added up.
    fn family(&mut self, kind: MetricKind, aggregation: Aggregation, text: &FamilyText<'_>) -> Option<usize> {
        let key = (Box::from(text.name), kind);
        if let Some(place) = self.by_name.get(&key) {
            let same = *self.families[*place].bounds == *text.bounds;
            self.other_buckets += usize::from(!same);
            return same.then_some(*place);
        }
        self.families.push(MergedFamily {
            name: Arc::from(text.name),
            kind,
            aggregation,
            help: text.help.to_owned(),
            unit: text.unit.to_owned(),
            bounds: Arc::from(text.bounds.as_slice()),
            series: Vec::new(),
            by_text: HashTable::new(),
        });
        self.by_name.insert(key, self.families.len() - 1);
        Some(self.families.len() - 1)
    }

    /// Sorts the families by name, and renames those that two processes named alike for different kinds: each process
    /// only keeps its own names apart.
    pub fn settle_names(&mut self) {
        self.families.sort_by(|a, b| (&a.name, a.kind).cmp(&(&b.name, b.kind)));
        let mut taken = TakenNames::default();
        for family in &mut self.families {
            family.name = Arc::from(taken.take(Naming::Prometheus, &family.name, family.kind));
        }
        self.by_name.clear(); // the places it names have moved; a settled merge takes no more files
    }

    /// Number of series.
    pub fn len(&self) -> usize {
        self.families.iter().map(|family| family.series.len()).sum()
    }

    /// Whether there is no series.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl MergedFamily {
    /// The series with this label text.
    pub fn find(&self, text: &str) -> Option<&MergedSeries> {
        let place = self.by_text.find(hash(text), |&n| *self.series[n as usize].text == *text)?;
        self.series.get(*place as usize)
    }

    fn add(&mut self, text: &str, updated: u64, raw: &[u64], pid: u64) -> usize {
        let labelled;
        let text = if self.kind == MetricKind::Gauge && self.aggregation == Aggregation::Pid {
            let mut with_pid = text.to_owned();
            if !with_pid.is_empty() {
                with_pid.push(',');
            }
            push_label(&mut with_pid, "pid", &pid.to_string());
            labelled = with_pid;
            &labelled
        } else {
            text
        };
        let hash_of = |series: &[MergedSeries], n: u32| hash(&series[n as usize].text);
        let wanted = hash(text);
        if let Some(&n) = self.by_text.find(wanted, |&n| *self.series[n as usize].text == *text) {
            let series = &mut self.series[n as usize];
            combine(self.kind, self.aggregation, series, updated, raw);
            return n as usize;
        }
        let place = self.series.len();
        let (text, raw) = (Box::from(text), raw.to_vec());
        self.series.push(MergedSeries { text, updated, raw, exemplars: Vec::new(), low: 0.0 });
        if let Ok(n) = u32::try_from(place) {
            self.by_text.insert_unique(wanted, n, |&n| hash_of(&self.series, n));
        }
        place
    }
}

/// Reads a whole file without taking anything, so that a file is taken whole or not at all.
fn validate(file: &Reader) -> Result<(), Torn> {
    let mut shapes: HashMap<u64, (MetricKind, usize)> = HashMap::new();
    let mut raw = Vec::new();
    file.for_each(|item| {
        match item {
            Item::Family { number, kind, text, .. } => drop(shapes.insert(number, (kind, text.bounds.len()))),
            Item::Series { family, cells, .. } => {
                let (kind, bounds) = shapes.get(&family).ok_or(Torn)?;
                read_value(*kind, *bounds, cells, &mut raw)?;
            }
            Item::Exemplars { .. } | Item::Carry { .. } | Item::Folded(_) => {}
        }
        Ok(())
    })
}

impl MergedSeries {
    /// Adds to the sum in `raw[0]` without losing what does not fit it: `raw[0] + low` is kept to twice the digits.
    fn sum_up(&mut self, value: f64, low: f64) {
        let old = f64::from_bits(self.raw[0]);
        let (sum, lost) = two_sum(old, value);
        let (sum, rest) = two_sum(sum, self.low + low + lost);
        // Of infinities and NaN nothing is lost.
        let (sum, rest) = if sum.is_finite() { (sum, rest) } else { (old + value, 0.0) };
        self.raw[0] = sum.to_bits();
        self.low = rest;
    }
}

/// The rounded sum, and what rounding took from it (Knuth, The Art of Computer Programming 2, 4.2.2 theorem B).
fn two_sum(a: f64, b: f64) -> (f64, f64) {
    let sum = a + b;
    let b_in_sum = sum - a;
    (sum, (a - (sum - b_in_sum)) + (b - b_in_sum))
}

fn combine(kind: MetricKind, aggregation: Aggregation, series: &mut MergedSeries, updated: u64, raw: &[u64]) {
    let (old, new) = (f64::from_bits(series.raw[0]), f64::from_bits(raw[0]));
    match (kind, aggregation) {
        (MetricKind::Gauge, Aggregation::Min) => series.raw[0] = old.min(new).to_bits(),
        (MetricKind::Gauge, Aggregation::Max) => series.raw[0] = old.max(new).to_bits(),
        (MetricKind::Gauge, Aggregation::Last | Aggregation::Pid) => {
            if updated >= series.updated {
                series.raw[0] = raw[0];
            }
        }
        _ => series.sum_up(new, 0.0),
    }
    for (bucket, more) in series.raw[1..].iter_mut().zip(&raw[1..]) {
        *bucket = bucket.wrapping_add(*more);
    }
    series.updated = series.updated.max(updated);
}

fn keep_latest(kept: &mut Vec<Exemplar>, exemplar: Exemplar) {
    match kept.iter_mut().find(|other| other.bucket == exemplar.bucket) {
        Some(other) if other.nanos < exemplar.nanos => *other = exemplar,
        Some(_) => {}
        None => kept.push(exemplar),
    }
}
