//! What the tests share.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use gds_promql::labels::Labels;
use gds_promql::matcher::Matcher;
use gds_promql::source::{Select, Source};
use gds_promql::value::Sample;
use gds_store::{Appended, Options, Row, Store};

/// The day on which tests live.
pub(crate) const TODAY: i64 = 20_000;
pub(crate) const DAY: i64 = 86_400_000;
/// Noon of that day.
pub(crate) const NOON: i64 = TODAY * DAY + DAY / 2;

/// A clock that stands still until it is set.
#[derive(Clone)]
pub(crate) struct Clock(Arc<AtomicI64>);

impl Clock {
    pub(crate) fn at(time: i64) -> Self {
        Self(Arc::new(AtomicI64::new(time)))
    }

    pub(crate) fn set(&self, time: i64) {
        self.0.store(time, Ordering::SeqCst);
    }

    pub(crate) fn options(&self) -> Options {
        let own = Arc::clone(&self.0);
        Options { clock: Arc::new(move || own.load(Ordering::SeqCst)), shards: 2, ..Options::default() }
    }
}

pub(crate) fn options() -> Options {
    Clock::at(NOON).options()
}

pub(crate) fn open(folder: &Path) -> Store {
    Store::open(folder, options()).expect("opened")
}

pub(crate) fn series(metric: &str, instance: u32) -> Labels {
    Labels::from_pairs([("__name__", metric), ("instance", &instance.to_string()), ("job", "tests")])
}

pub(crate) fn number(labels: &Labels, time: i64, value: f64) -> Row<'_> {
    Row { labels, time, start: 0, value: Sample::Float(value) }
}

/// Appends one number.
pub(crate) fn put(store: &Store, labels: &Labels, time: i64, value: f64) -> Appended {
    store.append(&[number(labels, time, value)]).expect("appended")
}

/// All numbers of a time, bit by bit, by labels.
pub(crate) type Held = BTreeMap<String, Vec<(i64, u64)>>;

pub(crate) fn read(store: &Store, matchers: &[Matcher], start: i64, end: i64) -> Held {
    let mut held = Held::new();
    for one in store.select(&Select { matchers, start, end, step: 0 }).expect("selected") {
        let one = one.expect("a series");
        let floats = &one.samples.floats;
        let values = floats.times.iter().copied().zip(floats.values.iter().map(|value| value.to_bits())).collect();
        assert!(held.insert(one.labels.to_string(), values).is_none(), "each series once");
    }
    held
}

/// All numbers.
pub(crate) fn all(store: &Store) -> Held {
    read(store, &[], i64::MIN, i64::MAX)
}

/// The numbers of one series.
pub(crate) fn of(store: &Store, labels: &Labels) -> Vec<(i64, f64)> {
    let held = all(store).remove(&labels.to_string()).unwrap_or_default();
    held.into_iter().map(|(time, bits)| (time, f64::from_bits(bits))).collect()
}
