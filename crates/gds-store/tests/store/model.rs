//! The store beside a model of it: whatever is done, however often it stops at any point, what was accepted is there.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use gds_promql::api::Metadata;
use gds_promql::matcher::Matcher;
use gds_store::{Durability, Options, Store};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::faulty::FaultyFs;
use crate::support::*;

const FOLDER: &str = "/store";
const SERIES: u32 = 5;
/// After a power cut.
const CUT: &str = "power cut";

#[derive(Clone, Debug)]
enum Step {
    /// Samples of series, at minutes before noon.
    Append(Vec<(u32, i64)>),
    Flush,
    Maintain,
    /// All samples of one series from one minute before noon to another.
    Delete(u32, i64, i64),
    /// What a metric is.
    Describe(u32),
    Backup,
    Reopen,
    /// From now on it stops after so many changes, perhaps with a power cut.
    Stop(u64, bool, u64),
    Full(u64),
    Room,
}

fn step() -> impl Strategy<Value = Step> {
    let minutes = || prop_oneof![0..20i64, 0..4_000i64];
    prop_oneof![
        8 => vec((0..SERIES, minutes()), 1..12).prop_map(Step::Append),
        2 => Just(Step::Flush),
        3 => Just(Step::Maintain),
        2 => (0..SERIES, minutes(), minutes()).prop_map(|(series, one, other)| {
            Step::Delete(series, one.max(other), one.min(other))
        }),
        1 => (0..SERIES).prop_map(Step::Describe),
        1 => Just(Step::Backup),
        1 => Just(Step::Reopen),
        2 => (0..40u64, any::<bool>(), any::<u64>()).prop_map(|(changes, cut, chance)| Step::Stop(changes, cut, chance)),
        1 => (0..3_000u64).prop_map(Step::Full),
        2 => Just(Step::Room),
    ]
}

type Key = (u32, i64);

/// What may be read of each sample: more than one value where something was not acknowledged.
#[derive(Default)]
struct Model {
    may: BTreeMap<Key, BTreeSet<Option<u64>>>,
    /// What may be said of each metric, likewise.
    described: BTreeMap<String, BTreeSet<Option<String>>>,
    values: u64,
    cut: bool,
}

impl Model {
    fn may(&mut self, key: Key) -> &mut BTreeSet<Option<u64>> {
        self.may.entry(key).or_insert_with(|| BTreeSet::from([None]))
    }

    /// Compares. What was not acknowledged may be there or not, until the power was cut: then it is known which.
    fn check(&mut self, store: &Store, after: &str) {
        let mut held: BTreeMap<Key, u64> = BTreeMap::new();
        let mut found = all(store);
        for number in 0..SERIES {
            let own = found.remove(&series("up", number).to_string()).unwrap_or_default();
            held.extend(own.into_iter().map(|(time, bits)| ((number, time), bits)));
        }
        assert!(found.is_empty(), "{after}: {found:?} were never written");
        for key in held.keys() {
            assert!(self.may.contains_key(key), "{after}: {key:?} was never written");
        }
        for (key, may) in &mut self.may {
            let found = held.get(key).copied();
            assert!(may.contains(&found), "{after}: {key:?} is {found:?}, expected one of {may:?}");
            if after == CUT {
                *may = BTreeSet::from([found]);
            }
        }
        let said = store.metadata();
        assert!(said.keys().all(|name| self.described.contains_key(name)), "{after}: {said:?}");
        for (name, may) in &mut self.described {
            let found = said.get(name).map(|metadata| metadata.help.clone());
            assert!(may.contains(&found), "{after}: {name} is {found:?}, expected one of {may:?}");
            if after == CUT {
                *may = BTreeSet::from([found]);
            }
        }
    }
}

fn options_on(fs: &FaultyFs) -> Options {
    Options { fs: Arc::new(fs.clone()), durability: Durability::Synced, flush_bytes: 4_000, merge_at: 2, ..options() }
}

struct Run {
    fs: FaultyFs,
    store: Option<Store>,
    model: Model,
}

impl Run {
    fn open(&mut self, after: &str) {
        self.store = None;
        loop {
            match Store::open(FOLDER, options_on(&self.fs)) {
                Ok(store) => {
                    self.model.check(&store, after);
                    self.store = Some(store);
                    return;
                }
                // It may stop while it is opened, and have no room for it.
                Err(_) if self.fs.stopped() => self.fs.restart(self.model.cut),
                Err(error) => {
                    assert!(matches!(error, gds_store::Error::Full { .. }), "{after}: {error}");
                    self.fs.room(None);
                }
            }
        }
    }

    fn step(&mut self, step: &Step) {
        let store = self.store.as_ref().expect("open");
        let done = match step {
            Step::Append(samples) => {
                let all: Vec<_> = (0..SERIES).map(|number| series("up", number)).collect();
                let mut rows = Vec::new();
                let mut written = Vec::new();
                for (at, minutes) in samples {
                    self.model.values += 1;
                    let (time, value) = (NOON - minutes * 60_000, self.model.values as f64);
                    rows.push(number(&all[*at as usize], time, value));
                    written.push(((*at, time), value.to_bits()));
                }
                let done = store.append(&rows);
                for (key, bits) in written {
                    let may = self.model.may(key);
                    if done.is_ok() {
                        may.clear();
                    }
                    may.insert(Some(bits));
                }
                done.map(drop)
            }
            Step::Flush => store.flush().map(drop),
            Step::Maintain => store.maintain().map(drop),
            Step::Delete(at, from, to) => {
                let instance = at.to_string();
                let matchers = [Matcher::equal("__name__", "up"), Matcher::equal("instance", instance)];
                let (start, end) = (NOON - from * 60_000, NOON - to * 60_000);
                let done = store.delete(&matchers, start, end);
                for ((own, time), may) in &mut self.model.may {
                    if own == at && (start..=end).contains(time) {
                        if done.is_ok() {
                            may.clear();
                        }
                        may.insert(None);
                    }
                }
                done.map(drop)
            }
            Step::Describe(number) => {
                self.model.values += 1;
                let (name, help) = (format!("metric_{number}"), format!("Version {}.", self.model.values));
                let metadata = Metadata { r#type: "gauge".into(), help: help.clone(), unit: "seconds".into() };
                let done = store.set_metadata([(name.clone(), metadata)]);
                let may = self.model.described.entry(name).or_insert_with(|| BTreeSet::from([None]));
                if done.is_ok() {
                    may.clear();
                }
                may.insert(Some(help));
                done.map(drop)
            }
            Step::Backup => store.backup("/backup").map(|_| {
                let backup = Store::open_read_only("/backup", options_on(&self.fs));
                if !self.fs.stopped() {
                    self.model.check(&backup.expect("a backup"), "backup");
                }
            }),
            Step::Reopen => {
                self.open("reopened");
                Ok(())
            }
            Step::Stop(changes, cut, chance) => {
                self.model.cut = *cut;
                self.fs.stop_after(*changes, *chance);
                Ok(())
            }
            Step::Full(bytes) => {
                self.fs.room(Some(*bytes));
                Ok(())
            }
            Step::Room => {
                self.fs.room(None);
                Ok(())
            }
        };
        if self.fs.stopped() {
            self.store = None;
            self.fs.restart(self.model.cut);
            let after = if self.model.cut { CUT } else { "stopped" };
            self.open(after);
        } else {
            if let Err(error) = done {
                assert!(matches!(error, gds_store::Error::Full { .. }), "{error}");
                assert!(error.retriable());
            }
            let store = self.store.as_ref().expect("open");
            // Reads go on, whether there is room or not.
            self.model.check(store, "as it runs");
        }
    }
}

fn cases() -> u32 {
    std::env::var("GDS_STORE_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(48)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(cases()) })]

    #[test]
    fn what_was_accepted_is_there_wherever_it_stops(steps in vec(step(), 1..40)) {
        let fs = FaultyFs::default();
        let mut run = Run { fs, store: None, model: Model::default() };
        run.open("new");
        for step in &steps {
            run.step(step);
        }
        run.fs.room(None);
        run.fs.restart(false);
        run.open("at the end");
        let store = run.store.take().expect("open");
        let found = store.verify().expect("read");
        let damage = |finding: &&gds_store::Finding| finding.kind != gds_store::FindingKind::TornLog;
        prop_assert_eq!(found.iter().find(damage), None, "stopping damages nothing");
        store.flush().expect("flushed");
        store.maintain().expect("maintained");
        run.model.check(&store, "flushed");
        prop_assert!(run.fs.files(Path::new("/store/log")).is_empty(), "the log is not kept");
    }
}
