//! Who is refused, and what waits for it.

use super::*;
use crate::producer::state::LOOK;

fn no(code: i32) -> Error {
    Error::Message(Failure::new("no").with_code(code))
}

fn numbers(range: std::ops::Range<usize>) -> Vec<String> {
    range.map(|number| number.to_string()).collect()
}

#[test]
fn what_is_spooled_waits_until_the_client_may_send_and_the_next_process_finds_it() {
    let ends = Error::Connection(Failure::new("the client cannot go on").with_code(31).fatal());
    for error in [no(29), no(30), no(31), no(53), no(58), ends] {
        for durability in [Durability::Memory, Durability::Process] {
            let dir = tempfile::tempdir().expect("a folder");
            let script = Script::delivering();
            script.refuse("t", error.clone());
            let (producer, reports) = made(&script, spooled(&dir, durability, 1 << 20));
            for number in 0..200 {
                drop(send(&producer, "t", &number.to_string(), Some(number)).expect("queued"));
            }
            // What is said is said at the end of the round in which it was counted.
            wait_until("it does not try again", || producer.stats().retried > 2 && !reports.warnings().is_empty());
            let stats = producer.stats();
            balanced(&stats);
            assert_eq!((stats.pending, stats.failures(), stats.drops()), (200, 0, 0), "{error:?} {durability:?}");
            let [said] = &reports.warnings()[..] else { panic!("said once: {:?}", reports.warnings()) };
            assert!(said.contains("refuses") && said.contains(error.message()), "{said}");
            assert_eq!(producer.close(Duration::ZERO), CloseReport { spooled: 200, dropped: 0 });
            assert_eq!(reports.errors().len(), 200, "each is told that it was left");

            let (producer, reports) = made(&script, spooled(&dir, durability, 1 << 20));
            assert_eq!(producer.stats().adopted, 200);
            drop(send(&producer, "t", "200", None).expect("queued"));
            wait_until("it does not try again", || producer.stats().retried > 2);
            script.take_back("t");
            assert!(producer.wait_flushed(SOON), "{error:?} {durability:?}: {:?}", producer.stats());
            assert_eq!(script.values(), numbers(0..201));
            wait_until("it is not said when it is over", || reports.warnings().len() > 1);
            assert_eq!(reports.warnings().len(), 2, "and once when it is over");
        }
    }
}

#[test]
fn a_topic_that_is_refused_keeps_no_other_waiting() {
    for spools in [false, true] {
        let dir = tempfile::tempdir().expect("a folder");
        let script = Script::delivering();
        script.refuse("closed", no(29));
        let options = if spools { spooled(&dir, Durability::Process, 1 << 20) } else { options() };
        let (producer, _) = made(&script, options);
        for number in 0..100 {
            for topic in ["closed", "free"] {
                drop(send(&producer, topic, &number.to_string(), None).expect("queued"));
            }
        }
        wait_until("the other topic waits", || producer.stats().delivered == 100);
        assert_eq!(script.values(), numbers(0..100), "spools: {spools}");
        assert_eq!(producer.stats().pending, 100);
        script.take_back("closed");
        assert!(producer.wait_flushed(SOON));
        assert_eq!(script.values()[100..], numbers(0..100));
    }
}

#[test]
fn what_waits_goes_in_its_order_whichever_try_is_the_first_to_succeed() {
    for code in [29, 31] {
        for spool in [None, Some(Durability::Memory), Some(Durability::Process)] {
            for times in [1, 2, 10] {
                let dir = tempfile::tempdir().expect("a folder");
                let script = Script::delivering();
                // As often as there is no pause between tries.
                script.refuse_times("t", no(code), times);
                let options = spool.map_or_else(options, |durability| spooled(&dir, durability, 1 << 20));
                let options = ProducerOptions { refused_pause: Some(Duration::ZERO), ..options };
                let (producer, _) = made(&script, options);
                for number in 0..100 {
                    drop(send(&producer, "t", &number.to_string(), None).expect("queued"));
                }
                assert!(producer.wait_flushed(SOON), "{:?}", producer.stats());
                assert_eq!(script.values(), numbers(0..100), "{code} {spool:?} {times}");
            }
        }
    }
}

#[test]
fn who_is_refused_and_has_nothing_to_try_does_not_run_in_circles() {
    for code in [29, 31] {
        let script = Script::delivering();
        script.refuse("t", no(code));
        let timeout = Some(Duration::from_millis(50));
        let (producer, _) = made(
            &script,
            ProducerOptions { delivery_timeout: timeout, refused_pause: Some(Duration::ZERO), ..options() },
        );
        drop(send(&producer, "t", "x", None).expect("queued"));
        assert!(producer.wait_flushed(SOON));
        let (begun, before) = (Instant::now(), script.0.state.lock().idle);
        wait_until("it never looks", || script.0.state.lock().idle > before + 2);
        // Two rounds lie between three.
        assert!(begun.elapsed() >= 2 * LOOK, "{:?}", begun.elapsed());
    }
}

#[test]
fn without_a_spool_what_is_refused_waits_for_the_delivery_timeout() {
    let script = Script::delivering();
    script.refuse("t", no(29));
    let (producer, _) = made(&script, options());
    for number in 0..100 {
        drop(send(&producer, "t", &number.to_string(), None).expect("queued"));
    }
    wait_until("it does not try again", || producer.stats().retried > 2);
    script.take_back("t");
    assert!(producer.wait_flushed(SOON));
    assert_eq!(script.values(), numbers(0..100));

    for code in [29, 31] {
        let timeout = Some(Duration::from_millis(100));
        script.refuse("t", no(code));
        let options = ProducerOptions { delivery_timeout: timeout, dead_letter: code == 29, ..options() };
        let (producer, reports) = made(&script, options);
        for number in 0..100 {
            drop(send(&producer, "t", "x", Some(number)).expect("queued"));
        }
        assert!(producer.wait_flushed(SOON));
        let stats = producer.stats();
        balanced(&stats);
        assert_eq!(stats.failed, BTreeMap::from([("not_authorized", 100)]));
        assert_eq!(stats.dead_lettered, if code == 29 { 100 } else { 0 });
        assert_eq!(reports.errors().len(), 100);
    }
}

#[test]
fn memory_is_bounded_while_a_topic_is_refused() {
    let script = Script::delivering();
    script.refuse("t", no(29));
    let room = room_for(20);
    for (on_full, outcome) in [(OnFull::DropOldest, "dropped"), (OnFull::Raise, "raised")] {
        let (producer, reports) = made(&script, ProducerOptions { buffer_bytes: room, on_full, ..options() });
        let raised = (0..200).filter(|number| send(&producer, "t", "0123456789", Some(*number)).is_err()).count();
        let stats = producer.stats();
        balanced(&stats);
        assert!(stats.queued_bytes <= room as u64 && stats.pending <= 20, "{outcome}: {stats:?}");
        assert_eq!(stats.drops() + raised as u64 + stats.pending, 200);
        wait_until("not all are told", || reports.errors().len() as u64 == stats.drops());
    }
}

/// What a process that begins after the sudden end of this one hands over.
fn found_after_the_end(dir: &TempDir, count: usize) -> Vec<Seen> {
    let copy = tempfile::tempdir().expect("a folder");
    copy_all(dir.path(), copy.path());
    let next = Script::default();
    let (_producer, _) = made(&next, spooled(&copy, Durability::Process, 1 << 20));
    next.wait_held(count)
}

#[test]
fn a_dead_letter_is_on_disk_before_its_record_is_done() {
    let dir = tempfile::tempdir().expect("a folder");
    let script = Script::default();
    script.refuse("t", no(10));
    let options = ProducerOptions { dead_letter: true, ..spooled(&dir, Durability::Process, 1 << 20) };
    let (producer, _) = made(&script, options);
    drop(send(&producer, "t", "big", None).expect("queued"));
    script.wait_held(1);
    wait_until("the record is not done", || producer.stats().spooled == 1);
    let [letter] = &found_after_the_end(&dir, 1)[..] else { panic!("one letter") };
    assert_eq!((&*letter.topic, &*letter.value), ("t.dlq", &b"big"[..]));
}

#[test]
fn a_dead_letter_finds_room_in_a_spool_that_is_full() {
    for durability in [Durability::Memory, Durability::Process, Durability::Disk] {
        let dir = tempfile::tempdir().expect("a folder");
        let script = Script::default();
        let options = ProducerOptions {
            dead_letter: true,
            on_full: OnFull::Raise,
            buffer_bytes: 4096,
            ..spooled(&dir, durability, 4096)
        };
        let (producer, _) = made(&script, options);
        script.0.state.lock().window = Some(0);
        let sent = (0..1000).take_while(|number| send(&producer, "t", &number.to_string(), None).is_ok()).count();
        assert!((10..1000).contains(&sent), "{sent}");
        script.open();
        script.wait_held(1);
        script.fail(1, &no(10));
        let found = found_after_the_end(&dir, usize::try_from(producer.stats().spooled).expect("few"));
        let letters: Vec<_> = found.iter().filter(|seen| seen.topic == "t.dlq").map(|seen| &*seen.value).collect();
        assert_eq!(letters, [b"0"], "{durability:?}");
        // All others die, too.
        wait_until("not all are settled", || {
            let next = script.0.state.lock().held.front().map(|seen| seen.topic.clone());
            match next.as_deref() {
                Some("t") => script.fail(1, &no(10)),
                Some(_) => script.deliver(1),
                None => {}
            }
            producer.unflushed() == 0
        });
        let (stats, sent) = (producer.stats(), sent as u64);
        balanced(&stats);
        assert_eq!((stats.dead_lettered, stats.delivered, stats.failures()), (sent, sent, sent), "{stats:?}");
        assert_eq!(producer.close(SOON), CloseReport::default());
    }
}

#[test]
fn a_dead_letter_is_synced_before_its_record_is_done_where_records_are() {
    let dir = tempfile::tempdir().expect("a folder");
    let script = Script::default();
    let options = ProducerOptions { dead_letter: true, ..spooled(&dir, Durability::Disk, 1 << 20) };
    let (producer, reports) = made(&script, options);
    drop(send(&producer, "t", "big", Some(1)).expect("queued"));
    script.wait_held(1);
    let ((syncs, syncing), (go_on, goes_on)) = (std::sync::mpsc::channel(), std::sync::mpsc::channel());
    std::thread::scope(|scope| {
        let script = &script;
        scope.spawn(move || {
            crate::private::synced::call_first(move || {
                syncs.send(()).expect("somebody waits");
                goes_on.recv_timeout(SOON).expect("told");
                Ok(())
            });
            script.fail(1, &no(10));
        });
        syncing.recv_timeout(SOON).expect("it is not synced");
        assert_eq!(producer.shared.pending(), 2, "the record and its letter");
        assert!(reports.errors().is_empty());
        go_on.send(()).expect("somebody waits");
    });
    wait_until("the record is not done", || producer.stats().spooled == 1);
    assert!(matches!(reports.errors()[..], [(1, Some(Error::Message(_)))]));
    assert_eq!(found_after_the_end(&dir, 1)[0].topic, "t.dlq");
}

#[test]
fn a_dead_letter_that_the_disk_does_not_keep_goes_once_all_the_same() {
    let dir = tempfile::tempdir().expect("a folder");
    let script = Script::default();
    let options = ProducerOptions { dead_letter: true, ..spooled(&dir, Durability::Disk, 1 << 20) };
    let (producer, _) = made(&script, options);
    drop(send(&producer, "t", "big", None).expect("queued"));
    script.wait_held(1);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            crate::private::synced::call_first(|| Err(std::io::Error::from_raw_os_error(5)));
            script.fail(1, &no(10));
        });
    });
    assert_eq!(script.wait_held(1)[0].topic, "t.dlq");
    script.deliver(1);
    assert!(producer.wait_flushed(SOON));
    let stats = producer.stats();
    balanced(&stats);
    assert_eq!((stats.accepted, stats.dead_lettered, stats.delivered, stats.spool_errors), (2, 1, 1, 1), "{stats:?}");
    assert_eq!(producer.close(SOON), CloseReport::default());
    assert_eq!(script.values(), ["big", "big"], "the record and its letter");
}

fn copy_all(from: &std::path::Path, to: &std::path::Path) {
    for entry in std::fs::read_dir(from).expect("a folder") {
        let entry = entry.expect("an entry");
        let target = to.join(entry.file_name());
        if entry.file_type().expect("a type").is_dir() {
            std::fs::create_dir(&target).expect("made");
            copy_all(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).expect("copied");
        }
    }
}
