#![allow(clippy::float_cmp)] // counts are exact

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use gds_process::fork::testing::{Child, FORKS};
use gds_process::lock;
use tempfile::TempDir;

use super::merge::{Merged, Taking};
use super::reader::Reader;
use super::{Folder, Writer};
use crate::page::RegistryPage;
use crate::registry::{Registry, RegistryOptions};
use crate::settings::ViewOptions;
use crate::view::View;

struct Process {
    page: RegistryPage,
    view: View,
    path: std::path::PathBuf,
}

fn process(folder: &Path) -> Process {
    let shared = Folder::open(folder).expect("a folder");
    let writer = Arc::new(Writer::create(folder).expect("a file"));
    let path = writer.path().to_owned();
    let registry = Registry::new(RegistryOptions { shared: Some(writer), ..RegistryOptions::default() });
    let view = registry.view(ViewOptions::default());
    Process { page: RegistryPage::new(registry, Some(shared)), view, path }
}

impl Process {
    fn increment(&self, value: f64) {
        self.view.increment("requests", value, &[], None).expect("counted");
    }

    fn sample(&self, name: &str) -> f64 {
        self.page.sample(&self.view, name, &[]).expect("read").unwrap_or(0.0)
    }
}

#[test]
fn sums_of_fractions_never_go_back_when_the_dead_are_folded() {
    let _no_children = FORKS.read();
    let folder = TempDir::new().expect("a folder");
    let survivor = process(folder.path());
    let mut living: Vec<Process> = Vec::new();
    let (mut counted, mut summed) = (0.0, 0.0);
    for round in 0..400_u32 {
        living.push(process(folder.path()));
        for (n, process) in (1_u32..).zip(&living) {
            let value = f64::from((round * 31 + n * 17) % 1009) / 997.0;
            process.increment(value);
            process.view.timing("took", value, &[], None).expect("counted");
        }
        for death in [false, true] {
            if death && living.len() > 4 {
                living.remove((round as usize * 7) % living.len());
            }
            let (now, sum) = (survivor.sample("requests"), survivor.sample("took_sum"));
            assert!(now >= counted && sum >= summed, "{now} after {counted}, {sum} after {summed} in round {round}");
            (counted, summed) = (now, sum);
        }
    }
}

#[test]
fn infinite_counts_are_added_up_too() {
    let _no_children = FORKS.read();
    let folder = TempDir::new().expect("a folder");
    let survivor = process(folder.path());
    for value in [1.0, f64::INFINITY, 2.0] {
        process(folder.path()).increment(value);
        survivor.increment(1.0);
    }
    assert_eq!(survivor.sample("requests").to_bits(), f64::INFINITY.to_bits());
}

#[test]
fn processes_come_and_go_while_others_scrape() {
    let _no_children = FORKS.read();
    let folder = TempDir::new().expect("a folder");
    let survivor = process(folder.path());
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    Folder::open(folder.path()).expect("a folder").merge().expect("a merge");
                }
            });
        }
        let coming: Vec<_> =
            (0..2).map(|_| scope.spawn(|| (0..200).for_each(|_| process(folder.path()).increment(1.0)))).collect();
        let all_well = coming.into_iter().all(|thread| thread.join().is_ok());
        stop.store(true, Ordering::Relaxed);
        assert!(all_well);
    });
    assert_eq!(survivor.sample("requests").to_bits(), 400_f64.to_bits());
}

#[test]
fn a_child_keeps_no_lock_of_its_parent() {
    let _alone = FORKS.write();
    let folder = TempDir::new().expect("a folder");
    let parent = process(folder.path());
    let path = parent.path.clone();
    let held = || lock::is_held(&fs::File::open(&path).expect("a file"));
    let opened = || Folder::open(folder.path()).and_then(|folder| folder.merge());
    let scraping = lock::Lock::wait(fs::File::open(folder.path().join("lock")).expect("the lock")).expect("locked");
    let child = Child::fork();
    assert!(held());
    drop((parent, scraping));
    assert!(!held(), "a child that lives keeps the file of its parent alive");
    opened().expect("a child that lives keeps others from scraping");
    drop(child);
}

#[test]
fn a_folder_that_takes_no_archive_still_shows_all() {
    let _no_children = FORKS.read();
    let folder = TempDir::new().expect("a folder");
    let survivor = process(folder.path());
    // A folder in the place of the next archive: it can neither be removed nor written.
    let blocked = folder.path().join("archive.gds-archive-next");
    fs::create_dir(&blocked).expect("made");
    for total in [1.0, 2.0] {
        process(folder.path()).increment(1.0);
        for _ in 0..2 {
            assert_eq!(survivor.sample("requests"), total);
        }
    }
    fs::remove_dir(&blocked).expect("removed");
    for _ in 0..2 {
        assert_eq!(survivor.sample("requests"), 2.0);
    }
    assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 3, "lock, archive and the survivor's file");
}

#[test]
fn what_a_killed_scrape_left_is_replaced() {
    let _no_children = FORKS.read();
    let folder = TempDir::new().expect("a folder");
    let survivor = process(folder.path());
    fs::write(folder.path().join("archive.gds-archive-next"), "half of it").expect("written");
    process(folder.path()).increment(1.0);
    assert_eq!(survivor.sample("requests").to_bits(), 1_f64.to_bits());
    assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 3, "lock, archive and the survivor's file");
}

#[test]
fn a_fold_that_was_killed_half_way_counts_nothing_twice() {
    let _no_children = FORKS.read();
    let path = TempDir::new().expect("a folder");
    let survivor = process(path.path());
    let dead = process(path.path());
    dead.increment(2.0);
    let file = dead.path.clone();
    drop(dead);
    // What a fold has done when it is killed before it removes the file.
    let mut merged = Merged::default();
    let reader = Reader::open(&fs::File::open(&file).expect("a file")).expect("whole");
    merged.add(&reader, Taking::Dead).expect("whole");
    let name = file.file_name().and_then(|name| name.to_str()).expect("a name").to_owned();
    Folder::open(path.path()).expect("a folder").write_archive(&merged, &[name]).expect("written");
    // Another process may just look at its lock.
    let held = lock::Lock::wait(fs::File::open(&file).expect("a file")).expect("locked");
    assert_eq!(survivor.sample("requests"), 2.0);
    drop(held);
    for _ in 0..3 {
        assert_eq!(survivor.sample("requests"), 2.0);
        assert!(!file.exists());
    }
}

#[test]
fn a_file_that_is_removed_is_made_anew_while_threads_count() {
    let _no_children = FORKS.read();
    let folder = TempDir::new().expect("a folder");
    let path = folder.path().join("shared");
    let process = process(&path);
    let writer = Arc::clone(process.page.registry().shared().expect("a file"));
    let other = self::process(&path);
    other.increment(1000.0);
    let stop = AtomicBool::new(false);
    let reports = AtomicU64::new(0);
    let counted: u64 = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..2)
            .map(|thread| {
                let (view, stop, reports) = (&process.view, &stop, &reports);
                scope.spawn(move || {
                    let mut counted = 0_u64;
                    while !stop.load(Ordering::Relaxed) {
                        view.increment("requests", 1.0, &[], None).expect("counted");
                        view.timing("took", 1000.0, &[], None).expect("counted");
                        // New series meanwhile, so that the file grows by several mappings.
                        let number = (counted / 8 % 2000).to_string();
                        view.gauge("level", counted as f64, &[("n", &number), ("thread", &thread.to_string())])
                            .expect("counted");
                        counted += 1;
                        reports.fetch_add(1, Ordering::Relaxed);
                    }
                    counted
                })
            })
            .collect();
        // As often as it takes for the threads to have made many series.
        let rounds = (0..).take_while(|round| *round < 60 || reports.load(Ordering::Relaxed) < 2000);
        for round in rounds {
            if round % 2 == 0 {
                fs::remove_dir_all(&path).expect("removed");
            } else {
                fs::remove_file(writer.path()).expect("removed");
            }
            assert!(!writer.is_in_place());
            writer.keep_in_place().expect("made anew");
            assert!(writer.is_in_place());
        }
        stop.store(true, Ordering::Relaxed);
        threads.into_iter().map(|thread| thread.join().expect("no panic")).sum()
    });
    assert!(writer.take_news().expect("news").contains("were removed while this program runs"));
    assert_eq!(writer.take_news(), None);
    // Of the other process nothing is there before it looks.
    assert_eq!(process.sample("requests"), counted as f64);
    assert_eq!(other.sample("requests"), counted as f64 + 1000.0);
    assert_eq!(process.sample("took_count"), counted as f64);
    assert_eq!(process.sample("took_sum"), counted as f64);
    assert!(process.sample("gds_metrics_series") > 100.0);
    assert_eq!(process.sample("gds_metrics_multiprocess_skipped_total"), 0.0);
    let (gone, survivor) = (process, other);
    drop((gone, writer));
    assert_eq!(survivor.sample("requests"), counted as f64 + 1000.0, "it died with the lock of its new file");
}

#[test]
fn what_a_gauge_was_set_to_and_exemplars_survive_the_removal() {
    let _no_children = FORKS.read();
    let folder = TempDir::new().expect("a folder");
    let process = process(folder.path());
    process.view.gauge("level", -2.5, &[]).expect("counted");
    let trace = crate::snapshot::TraceContext { trace_id: [7; 16], span_id: [9; 8] };
    process.view.histogram("size", 0.3, &[], Some(&trace)).expect("counted");
    fs::remove_dir_all(folder.path()).expect("removed");
    assert_eq!(process.sample("level"), -2.5);
    let page = process.page.write(crate::format::Format::OpenMetrics, &[]).expect("a page");
    let page = String::from_utf8(page).expect("text");
    assert!(page.contains("trace_id=\"07070707070707070707070707070707\""), "{page}");
    process.view.gauge("level", 4.0, &[]).expect("counted");
    assert_eq!(process.sample("level"), 4.0);
}

#[test]
fn a_folder_that_cannot_be_made_again_is_told_once_and_counts_are_kept() {
    let _no_children = FORKS.read();
    let folder = TempDir::new().expect("a folder");
    let path = folder.path().join("shared");
    let process = process(&path);
    let writer = Arc::clone(process.page.registry().shared().expect("a file"));
    process.increment(1.0);
    fs::remove_dir_all(&path).expect("removed");
    fs::write(&path, "in the way").expect("written");
    assert!(writer.take_news().is_none());
    writer.keep_in_place().expect_err("a file in the way");
    assert!(writer.take_news().expect("news").contains("cannot be made anew"));
    process.increment(2.0);
    process.page.sample(&process.view, "requests", &[]).expect_err("no page without it");
    assert_eq!(writer.take_news(), None);
    fs::remove_file(&path).expect("removed");
    assert_eq!(process.sample("requests"), 3.0);
    assert!(writer.take_news().expect("news").contains("made its own anew"));
}

#[test]
fn a_port_stays_claimed_when_the_folder_is_emptied() {
    let _no_children = FORKS.read();
    let folder = TempDir::new().expect("a folder");
    let shared = Folder::open(folder.path()).expect("a folder");
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let mut claim = shared.join_port(port).expect("claimed");
    let named = folder.path().join(format!("port-{port}"));
    fs::remove_file(&named).expect("removed");
    shared.claim_port("127.0.0.1", port).expect_err("nobody of the folder seems to listen");
    fs::remove_file(&named).expect("removed");
    claim.keep_in_place().expect("claimed again");
    drop(shared.claim_port("127.0.0.1", port).expect("one of the folder listens"));
}
