//! The folders of many processes in one.

use super::*;

#[test]
fn many_that_begin_and_end_at_once_in_one_folder_do_not_get_in_each_others_way() {
    let dir = tempfile::tempdir().expect("a folder");
    let delivered: u64 = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..6)
            .map(|_| {
                scope.spawn(|| {
                    let mut delivered = 0;
                    for _ in 0..30 {
                        let (producer, reports) =
                            made(&Script::delivering(), spooled(&dir, Durability::Process, 1 << 20));
                        drop(send(&producer, "t", "x", None).expect("queued"));
                        assert!(producer.wait_flushed(SOON));
                        delivered += producer.stats().delivered;
                        assert_eq!(reports.warnings(), [""; 0]);
                    }
                    delivered
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().expect("no panic")).sum()
    });
    assert_eq!(delivered, 180);
    assert_eq!(std::fs::read_dir(dir.path()).expect("the folder").count(), 0);
}

#[test]
fn a_folder_that_cannot_be_taken_over_stays_and_stops_nobody() {
    let dir = tempfile::tempdir().expect("a folder");
    let left = |name: &str| {
        let script = Script::with_window(0);
        let (producer, _) = made(&script, spooled(&dir, Durability::Process, 1 << 20));
        drop(send(&producer, "t", name, None).expect("queued"));
        assert_eq!(producer.close(Duration::ZERO).spooled, 1);
        std::fs::read_dir(dir.path()).expect("the folder").map(|it| it.expect("one").path()).collect::<Vec<_>>()
    };
    // Of a later version; of one that this user may not read (a lock that cannot be opened stands for it).
    let [later] = &left("later")[..] else { panic!("one folder") };
    let segment = later.join("log").join(format!("{:020}.log", 0));
    let mut header = std::fs::read(&segment).expect("a segment");
    header[7] = 99;
    let sum = crc32fast::hash(&header[..24]);
    header[24..28].copy_from_slice(&sum.to_le_bytes());
    std::fs::write(&segment, header).expect("written");
    let unreadable = dir.path().join("1-0123456789abcdef");
    std::fs::create_dir_all(unreadable.join("lock")).expect("made");

    let (producer, reports) = made(&Script::delivering(), spooled(&dir, Durability::Process, 1 << 20));
    drop(send(&producer, "t", "x", None).expect("queued"));
    assert!(producer.wait_flushed(SOON));
    assert_eq!((producer.stats().adopted, producer.stats().delivered), (0, 1));
    let warnings = reports.warnings();
    assert_eq!(warnings.len(), 2, "{warnings:?}");
    assert!(warnings.iter().any(|text| text.contains("later version")), "{warnings:?}");
    assert!(warnings.iter().any(|text| text.contains("1-0123456789abcdef")), "{warnings:?}");
    assert!(later.exists() && unreadable.exists());
}

#[test]
fn the_names_of_new_folders_and_files_are_on_the_disk_where_records_are() {
    for durability in [Durability::Disk, Durability::Process] {
        let dir = tempfile::tempdir().expect("a folder");
        let (new, parent) = (dir.path().join("new"), dir.path().join("new").join("spool"));
        let spool = SpoolOptions { dir: parent.clone(), durability, max_bytes: 8 * 1024 };
        crate::private::synced::take();
        let (producer, _) = made(&Script::with_window(0), ProducerOptions { spool: Some(spool), ..options() });
        let synced = |folders: &[&std::path::Path]| {
            let seen = crate::private::synced::take();
            let expected = if durability == Durability::Disk { folders } else { &[] };
            let all = expected.iter().all(|folder| seen.iter().any(|seen| seen == folder));
            assert!(all && seen.is_empty() == expected.is_empty(), "{durability:?}: {seen:?} and not {expected:?}");
        };
        // When there is something to look for, the place where it is to be looked for is known.
        synced(&[dir.path(), &new, &parent]);
        let [own] = &std::fs::read_dir(&parent).expect("it").collect::<Vec<_>>()[..] else { panic!("one folder") };
        let own = own.as_ref().expect("it").path();
        let log = own.join("log");
        drop(send(&producer, "t", "x", None).expect("queued"));
        synced(&[&own, &log]);
        drop(send(&producer, "t", "x", None).expect("queued"));
        synced(&[]);
        let files = || std::fs::read_dir(&log).expect("it").count();
        while files() < 2 {
            assert!(crate::private::synced::take().is_empty(), "there is no new name");
            drop(send(&producer, "t", "x", None).expect("queued"));
        }
        synced(&[&log]);
    }
}

#[test]
fn a_folder_counts_as_synced_when_the_system_says_so() {
    let dir = tempfile::tempdir().expect("a folder");
    crate::private::synced::take();
    assert!(crate::private::sync_dir(&dir.path().join("missing")).is_err());
    assert!(crate::private::synced::take().is_empty());
    crate::private::sync_dir(dir.path()).expect("synced");
    assert_eq!(crate::private::synced::take(), [dir.path()]);
}

#[test]
fn the_folder_of_an_embedded_hub_is_on_the_disk_when_it_says_so() {
    use crate::embedded::{Embedded, EmbeddedOptions};
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().canonicalize().expect("a path").join("new").join("hub");
    let hub = Embedded::open(&path, EmbeddedOptions::default()).expect("a hub");
    crate::private::synced::take();
    hub.sync().expect("synced");
    let seen = crate::private::synced::take();
    for folder in [path.parent().and_then(std::path::Path::parent).expect("two up"), path.parent().expect("one"), &path]
    {
        assert!(seen.iter().any(|seen| seen == folder), "{folder:?} of {seen:?}");
    }
}
