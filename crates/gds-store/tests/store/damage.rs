//! Bytes that change on the disk are found, said and set aside; the rest is served.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use gds_store::{Error, FindingKind, Options, Store};
use proptest::prelude::*;

use crate::faulty::FaultyFs;
use crate::support::*;

const FOLDER: &str = "/store";
const SERIES: u32 = 6;
const SAMPLES: u32 = 30;
const ALL: usize = (SERIES * SAMPLES) as usize;

fn options_on(fs: &FaultyFs) -> Options {
    Options { fs: Arc::new(fs.clone()), ..options() }
}

/// A store with samples of two days in parts, and some in the log.
fn filled(fs: &FaultyFs) {
    let store = Store::open(FOLDER, options_on(fs)).unwrap();
    for at in 0..i64::from(SAMPLES) {
        for instance in 0..SERIES {
            let noise = f64::from(instance * 7919 + u32::try_from(at * at).unwrap() * 104_729 % 1_000) / 7.0;
            put(&store, &series("up", instance), NOON - DAY + at * DAY / i64::from(SAMPLES), noise);
        }
        if at == 20 {
            store.flush().unwrap();
        }
    }
}

fn count(store: &Store) -> usize {
    all(store).values().map(Vec::len).sum()
}

fn file(fs: &FaultyFs, folder: &str, name: &str) -> PathBuf {
    let files = fs.files(&Path::new(FOLDER).join(folder));
    files.into_iter().find(|path| path.to_string_lossy().contains(name)).expect("a file")
}

fn kinds(store: &Store) -> Vec<FindingKind> {
    store.findings().iter().map(|finding| finding.kind).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(64) })]

    #[test]
    fn any_byte_that_changed_is_said_and_nothing_wrong_is_served(
        which in any::<prop::sample::Index>(),
        at in any::<usize>(),
        change in 1..=255u8,
    ) {
        let fs = FaultyFs::default();
        filled(&fs);
        let whole = all(&Store::open(FOLDER, options_on(&fs)).unwrap());
        let files: Vec<_> = fs.files(Path::new(FOLDER));
        let path = &files[which.index(files.len())];
        fs.flip(path, at, change);
        let store = match Store::open(FOLDER, options_on(&fs)) {
            Ok(store) => store,
            // Its format is a newer one now, for all that is known.
            Err(error @ Error::Format { .. }) => {
                prop_assert!(error.to_string().contains("has format"), "{error}");
                return Ok(());
            }
            Err(error) => panic!("{error}"),
        };
        let held = all(&store);
        let lost: usize = whole.iter().map(|(labels, samples)| samples.len() - held.get(labels).map_or(0, Vec::len)).sum();
        for (labels, samples) in &held {
            prop_assert!(samples.iter().all(|sample| whole[labels].contains(sample)), "{path:?}");
        }
        let said = store.verify().unwrap();
        // Bytes that mean nothing, in the head of a file, may change.
        if lost > 0 {
            prop_assert!(!said.is_empty(), "{path:?}: {lost} lost, nothing said");
        }
        put(&store, &series("up", 0), NOON, 1.0);
        store.flush().unwrap();
        prop_assert!(count(&store) > 0);
    }

    #[test]
    fn an_end_of_the_log_that_is_cut_off_takes_the_last_record_with_it(cut in 1..2_000usize) {
        let fs = FaultyFs::default();
        let store = Store::open(FOLDER, Options { shards: 1, ..options_on(&fs) }).unwrap();
        for at in 0..50 {
            put(&store, &series("up", 1), NOON + at, 1.0);
        }
        drop(store);
        let path = file(&fs, "log", ".log");
        let bytes = gds_store::fs::Fs::read(&fs, &path).unwrap();
        let left = bytes.len().saturating_sub(cut);
        gds_store::fs::Fs::create(&fs, &path).unwrap().append(&bytes[..left]).unwrap();
        let store = Store::open(FOLDER, Options { shards: 1, ..options_on(&fs) }).unwrap();
        let held = of(&store, &series("up", 1));
        let expected: Vec<_> = (NOON..).map(|time| (time, 1.0)).take(held.len()).collect();
        prop_assert_eq!(held, expected, "what is left is the beginning");
        prop_assert!(kinds(&store).iter().all(|kind| *kind == FindingKind::TornLog));
    }
}

#[test]
fn a_part_whose_index_is_damaged_is_set_aside() {
    let fs = FaultyFs::default();
    filled(&fs);
    fs.flip(&file(&fs, "parts", "index"), 60, 1);
    let store = Store::open(FOLDER, options_on(&fs)).unwrap();
    assert_eq!(kinds(&store), [FindingKind::DamagedPart]);
    let left = count(&store);
    assert!(left > 0 && left < ALL, "{left}");
    assert_eq!(fs.files(Path::new("/store/quarantine")).len(), 2, "both of its files are kept");
    drop(store);
    let store = Store::open(FOLDER, options_on(&fs)).unwrap();
    assert_eq!(count(&store), left, "what is left stays");
}

#[test]
fn a_block_that_is_damaged_is_left_out_and_its_part_is_kept_when_it_is_merged() {
    let fs = FaultyFs::default();
    filled(&fs);
    // That of today, to which samples of the log will come.
    fs.flip(&file(&fs, "parts/000000000002", "data"), 40, 1);
    let store = Store::open(FOLDER, Options { merge_at: 2, ..options_on(&fs) }).unwrap();
    assert_eq!(kinds(&store), []);
    let left = count(&store);
    assert!(left > 0 && left < ALL, "{left}");
    assert!(kinds(&store).iter().all(|kind| *kind == FindingKind::DamagedBlock) && !kinds(&store).is_empty());
    store.flush().unwrap();
    store.maintain().unwrap();
    assert_eq!(count(&store), left);
    let store = {
        drop(store);
        Store::open(FOLDER, options_on(&fs)).unwrap()
    };
    assert_eq!((store.verify().unwrap(), count(&store)), (Vec::new(), left), "what was merged is whole");
}

#[test]
fn one_copy_of_the_list_of_parts_is_enough() {
    let fs = FaultyFs::default();
    filled(&fs);
    for name in ["manifest", "manifest.copy"] {
        fs.flip(&Path::new(FOLDER).join(name), 50, 1);
        let store = Store::open(FOLDER, options_on(&fs)).unwrap();
        assert_eq!(kinds(&store), [FindingKind::DamagedManifest]);
        assert_eq!(count(&store), ALL);
        store.flush().unwrap();
    }
    assert_eq!(kinds(&Store::open(FOLDER, options_on(&fs)).unwrap()), [], "it is written anew");
    for name in ["manifest", "manifest.copy"] {
        fs.flip(&Path::new(FOLDER).join(name), 50, 1);
    }
    let error = Store::open(FOLDER, options_on(&fs)).err().expect("refused");
    assert!(matches!(error, Error::Damaged { .. }) && !error.retriable(), "{error}");
}

#[test]
fn a_newer_format_is_refused_by_name() {
    let fs = FaultyFs::default();
    filled(&fs);
    for name in ["log", "index", "data", "manifest"] {
        let folder = match name {
            "log" => "log",
            "manifest" => "",
            _ => "parts",
        };
        let path = file(&fs, folder, name);
        fs.flip(&path, 4, 3); // 1 becomes 2
        let error = Store::open(FOLDER, options_on(&fs)).err().expect("refused");
        assert!(matches!(error, Error::Format { found: 2, known: 1, .. }), "{name}: {error}");
        fs.flip(&path, 4, 3);
    }
}

#[test]
fn a_full_disk_refuses_writes_serves_reads_and_is_left_behind() {
    let fs = FaultyFs::default();
    let store = Store::open(FOLDER, options_on(&fs)).unwrap();
    let labels = series("up", 1);
    put(&store, &labels, NOON, 1.0);
    fs.room(Some(10));
    for at in 1..5 {
        let error = store.append(&[number(&labels, NOON + at, 1.0)]).unwrap_err();
        assert!(matches!(error, Error::Full { .. }) && error.retriable(), "{error}");
        assert!(error.to_string().starts_with("no room to write /store/log/"), "{error}");
    }
    assert!(matches!(store.flush(), Err(Error::Full { .. })));
    assert_eq!(of(&store, &labels), [(NOON, 1.0)]);
    fs.room(None);
    put(&store, &labels, NOON + 9, 2.0);
    assert_eq!(of(&store, &labels), [(NOON, 1.0), (NOON + 9, 2.0)]);
    store.flush().unwrap();
    assert_eq!(store.stats().failed, 4);
    drop(store);
    let store = Store::open(FOLDER, options_on(&fs)).unwrap();
    assert_eq!(of(&store, &labels), [(NOON, 1.0), (NOON + 9, 2.0)]);
    assert_eq!(kinds(&store), [], "nothing half written is left");
}
