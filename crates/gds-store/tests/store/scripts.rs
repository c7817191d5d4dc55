//! PromQL answers the same from a store as from memory: the scripts of gds-promql, with samples in memory, in parts, and in
//! both. PROMQLTEST_DIR names a folder with more of them.

use std::path::{Path, PathBuf};

use gds_promql::labels::Labels;
use gds_promql::promqltest::{Loadable, engine, run_on};
use gds_promql::source::{Select, SeriesIter, Source, SourceError};
use gds_promql::value::Sample;
use gds_store::{Options, Row, Store};

use crate::support::*;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Where {
    Memory,
    Parts,
    Both,
}

struct Loaded {
    place: Where,
    store: Store,
    folder: tempfile::TempDir,
    waiting: Vec<(Labels, i64, i64, Sample)>,
}

fn empty() -> (Store, tempfile::TempDir) {
    let folder = tempfile::tempdir().expect("a folder");
    let options = Options { retention: i64::MAX / 2, merge_at: 2, shards: 2, ..Clock::at(0).options() };
    (Store::open(folder.path(), options).expect("opened"), folder)
}

impl Loaded {
    fn new(place: Where) -> Self {
        let (store, folder) = empty();
        Self { place, store, folder, waiting: Vec::new() }
    }

    fn write(&self, samples: &[(Labels, i64, i64, Sample)]) -> Result<(), String> {
        let rows: Vec<Row<'_>> = samples
            .iter()
            .map(|(labels, time, start, value)| Row { labels, time: *time, start: *start, value: value.clone() })
            .collect();
        let done = self.store.append(&rows).map_err(|error| error.to_string())?;
        assert_eq!(done.accepted, rows.len() as u64);
        Ok(())
    }
}

impl Source for Loaded {
    fn select<'a>(&'a self, request: &Select<'_>) -> Result<SeriesIter<'a>, SourceError> {
        self.store.select(request)
    }
}

impl Loadable for Loaded {
    fn clear(&mut self) -> Result<(), String> {
        (self.store, self.folder) = empty();
        Ok(())
    }

    fn append(&mut self, labels: &Labels, time: i64, start: i64, value: Sample) -> Result<(), String> {
        self.waiting.push((labels.clone(), time, start, value));
        Ok(())
    }

    fn loaded(&mut self) -> Result<(), String> {
        let samples = std::mem::take(&mut self.waiting);
        let (first, second) = samples.split_at(samples.len() / 2);
        let flush =
            |store: &Store| store.flush().and_then(|_| store.maintain()).map(drop).map_err(|error| error.to_string());
        self.write(first)?;
        if self.place != Where::Memory {
            flush(&self.store)?;
        }
        self.write(second)?;
        if self.place == Where::Parts { flush(&self.store) } else { Ok(()) }
    }
}

fn scripts() -> Vec<PathBuf> {
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("../gds-promql/tests/scripts");
    let folders = [Some(own), std::env::var_os("PROMQLTEST_DIR").map(PathBuf::from)];
    let files = folders.into_iter().flatten().flat_map(|folder| std::fs::read_dir(folder).expect("a folder"));
    let files = files.map(|entry| entry.expect("an entry").path());
    files.filter(|path| path.extension().is_some_and(|extension| extension == "test")).collect()
}

fn answers_as_memory_does(place: Where) {
    let (mut asked, mut failures) = (0, Vec::new());
    for path in scripts() {
        let script = std::fs::read_to_string(&path).expect("a script");
        let evaluations = run_on(&script, &engine(), &mut Loaded::new(place));
        asked += evaluations.len();
        for one in evaluations {
            if let Some(failure) = one.failure {
                failures.push(format!("{}:{}: {}\n    {failure}", path.display(), one.line, one.command));
            }
        }
    }
    println!("{} of {asked}", asked - failures.len());
    assert!(asked > 100);
    assert!(failures.is_empty(), "{} of {asked}:\n{}", failures.len(), failures.join("\n"));
}

#[test]
fn queries_are_answered_from_memory_as_they_have_to_be() {
    answers_as_memory_does(Where::Memory);
}

#[test]
fn queries_are_answered_from_parts_as_they_have_to_be() {
    answers_as_memory_does(Where::Parts);
}

#[test]
fn queries_are_answered_from_both_as_they_have_to_be() {
    answers_as_memory_does(Where::Both);
}
