//! Backups share the files of the store, and are stores themselves.

use std::sync::Arc;

use gds_promql::matcher::Matcher;
use gds_store::{Error, Options, Store};

use crate::faulty::FaultyFs;
use crate::support::*;

#[test]
fn a_backup_has_what_was_accepted_before_and_is_restored_whole() {
    let folder = tempfile::tempdir().unwrap();
    let (backup, restored) = (folder.path().join("backup"), folder.path().join("restored"));
    let store = open(&folder.path().join("store"));
    let labels = series("up", 1);
    put(&store, &labels, NOON - DAY, 1.0);
    store.flush().unwrap();
    put(&store, &labels, NOON, 2.0);
    let done = store.backup(&backup).unwrap();
    assert_eq!((done.parts, done.new_parts, done.log_files), (1, 1, 1));
    put(&store, &labels, NOON + 1, 3.0);
    let before = [(NOON - DAY, 1.0), (NOON, 2.0)];
    assert_eq!(of(&Store::open_read_only(&backup, options()).unwrap(), &labels), before);

    // Once more: only what is new is linked, and what is no more is removed.
    store.flush().unwrap();
    store.delete(&[Matcher::equal("instance", "1")], NOON + 1, NOON + 1).unwrap();
    let done = store.backup(&backup).unwrap();
    assert_eq!((done.parts, done.new_parts, done.log_files), (2, 1, 0));
    drop(store);

    let store = Store::restore(&backup, &restored, options()).unwrap();
    assert_eq!(of(&store, &labels), before);
    put(&store, &labels, NOON + 5, 4.0);
    store.flush().unwrap();
    store.maintain().unwrap();
    assert_eq!(of(&Store::open_read_only(&backup, options()).unwrap(), &labels), before, "it stays as it was");
    let error = Store::restore(&backup, &restored, options()).err().expect("refused");
    assert!(matches!(error, Error::NotEmpty { .. }), "{error}");
}

#[test]
fn a_damaged_backup_is_not_restored() {
    let fs = FaultyFs::default();
    let options = || Options { fs: Arc::new(fs.clone()), ..options() };
    let store = Store::open("/store", options()).unwrap();
    for at in 0..20 {
        put(&store, &series("up", 1), NOON + at * at, 0.1);
    }
    store.flush().unwrap();
    store.backup("/backup").unwrap();
    drop(store);
    let data = fs.files("/backup/parts".as_ref()).into_iter().find(|path| path.ends_with("data")).unwrap();
    fs.flip(&data, 10, 1);
    let error = Store::restore("/backup", "/restored", options()).err().expect("refused");
    assert!(matches!(error, Error::Damaged { .. }), "{error}");
    assert_eq!(fs.files("/restored".as_ref()).len(), 0);
}
