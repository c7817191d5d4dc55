//! The thread that looks after a store.

use std::fs;
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use gds_store::{Maintainer, Options, Store};

use crate::support::*;

const OFTEN: Duration = Duration::from_millis(1);
const LONG: Duration = Duration::from_secs(60);

fn eager() -> Options {
    Options { flush_bytes: 1, ..options() }
}

#[test]
fn parts_are_written_by_itself_and_its_end_leaves_the_store_to_others() {
    let folder = tempfile::tempdir().unwrap();
    let store = Arc::new(Store::open(folder.path(), eager()).unwrap());
    let maintainer = Maintainer::start(Arc::clone(&store), OFTEN, |error| panic!("{error}")).unwrap();
    let labels = series("up", 1);
    put(&store, &labels, NOON, 1.0);
    let begun = Instant::now();
    while store.stats().parts == 0 {
        assert!(begun.elapsed() < LONG, "no part was written");
        std::thread::yield_now();
    }
    drop(maintainer);
    assert_eq!(of(&store, &labels), [(NOON, 1.0)]);
    assert!(Arc::into_inner(store).is_some(), "the thread is gone");
    open(folder.path());
}

#[test]
fn it_ends_at_once_however_seldom_it_looks() {
    let folder = tempfile::tempdir().unwrap();
    let store = Arc::new(open(folder.path()));
    let begun = Instant::now();
    drop(Maintainer::start(store, Duration::from_secs(3_600), |error| panic!("{error}")).unwrap());
    assert!(begun.elapsed() < LONG);
}

#[test]
fn an_error_is_told_once_and_it_goes_on_by_itself() {
    let folder = tempfile::tempdir().unwrap();
    let store = Arc::new(Store::open(folder.path(), eager()).unwrap());
    let (told, errors) = channel();
    let parts = folder.path().join("parts");
    fs::remove_dir(&parts).unwrap();
    fs::write(&parts, "").unwrap();
    let labels = series("up", 1);
    put(&store, &labels, NOON, 1.0);
    let _maintainer =
        Maintainer::start(Arc::clone(&store), OFTEN, move |error| told.send(error.to_string()).unwrap()).unwrap();
    assert!(errors.recv_timeout(LONG).unwrap().contains("parts"));
    assert_eq!(errors.recv_timeout(Duration::from_millis(50)), Err(RecvTimeoutError::Timeout));

    fs::remove_file(&parts).unwrap();
    fs::create_dir(&parts).unwrap();
    let begun = Instant::now();
    while store.stats().parts == 0 {
        assert!(begun.elapsed() < LONG, "it goes on by itself");
        std::thread::yield_now();
    }
    assert_eq!(of(&store, &labels), [(NOON, 1.0)]);
}
