//! A store that an older version wrote opens. `tests/store/format-1` was written by the first one.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use gds_promql::histogram::{Buckets, FloatHistogram};
use gds_promql::matcher::Matcher;
use gds_promql::source::{Select, Source};
use gds_promql::value::{STALE_NAN, Sample};
use gds_store::{Row, Store};

use crate::support::*;

/// Set to a new folder, where a store in the format of now is written for the tests of later versions.
const WRITE: &str = "GDS_STORE_TEST_WRITE";

/// A bit of everything: each way in which numbers are kept, in parts and in the log.
fn value(series: u32, at: u32) -> Sample {
    match series {
        0 => Sample::Float(1.0),
        1 => Sample::Float(f64::from(at) * 3.0),
        2 => Sample::Float(f64::from(at * at % 37) / 10.0),
        3 if at == 20 => Sample::Float(f64::from_bits(STALE_NAN)),
        3 => Sample::Float(f64::from(at).sqrt()),
        _ => Sample::Histogram(Arc::new(FloatHistogram {
            schema: 2,
            count: f64::from(at),
            sum: 0.5,
            positive: Buckets::from_offset(-1, vec![f64::from(at), 0.0]),
            ..FloatHistogram::default()
        })),
    }
}

const SERIES: u32 = 5;
const SAMPLES: u32 = 200;

#[test]
fn written() {
    let Some(folder) = std::env::var_os(WRITE) else { return };
    let store = Store::open(folder, options()).expect("opened");
    for at in 0..SAMPLES {
        for number in 0..SERIES {
            let labels = series("format", number);
            let row =
                Row { labels: &labels, time: NOON + i64::from(at) * 15_000, start: NOON, value: value(number, at) };
            store.append(&[row]).expect("appended");
        }
        if at == SAMPLES / 2 {
            store.flush().expect("flushed");
        }
    }
    store.delete(&[Matcher::equal("instance", "0")], NOON, NOON + 15_000).expect("deleted");
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a folder");
    for entry in std::fs::read_dir(from).expect("a folder") {
        let entry = entry.expect("an entry");
        let target: PathBuf = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).expect("copied");
        }
    }
}

#[test]
fn a_store_of_format_1_is_read_and_written_on() {
    let folder = tempfile::tempdir().expect("a folder");
    copy(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/store/format-1"), folder.path());
    let store = open(folder.path());
    assert_eq!(store.findings(), []);
    for _ in 0..2 {
        let found = store.select(&Select { matchers: &[], start: NOON, end: i64::MAX, step: 0 }).expect("selected");
        let mut count = 0;
        for (number, one) in (0..).zip(found) {
            let samples = one.expect("a series").samples.into_owned();
            let mut at = if number == 0 { 2 } else { 0 };
            for (place, own) in samples.floats.values.iter().enumerate() {
                assert_eq!(samples.floats.starts[place], NOON);
                let Sample::Float(expected) = value(number, at) else { panic!("{number} is numbers") };
                assert_eq!(own.to_bits(), expected.to_bits());
                at += 1;
            }
            for own in &samples.histograms.values {
                let Sample::Histogram(expected) = value(number, at) else { panic!("{number} is histograms") };
                assert!(own.same_data(&expected));
                at += 1;
            }
            assert_eq!(at, SAMPLES);
            count += 1;
        }
        assert_eq!(count, SERIES);
        store.flush().expect("flushed");
        store.maintain().expect("maintained");
    }
}
