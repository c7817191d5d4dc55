//! One order for what one thread sends, whatever is full or away; and one outcome for each record.

use super::*;

fn sorted(values: &[String]) -> bool {
    values.windows(2).all(|two| two[0] < two[1])
}

#[test]
fn the_order_stays_when_memory_and_spool_are_full_and_get_room_again() {
    for on_full in [OnFull::Raise, OnFull::DropOldest, OnFull::DropNewest] {
        let dir = tempfile::tempdir().expect("a folder");
        let script = Script::with_window(3);
        let options =
            ProducerOptions { buffer_bytes: room_for(100), on_full, ..spooled(&dir, Durability::Memory, 12 * 1024) };
        let (producer, reports) = made(&script, options);
        let (mut taken, mut told_at_once) = (0, 0);
        for number in 0..1000_u32 {
            let sent = send(&producer, "t", &format!("{number:010}"), Some(number));
            taken += usize::from(sent.is_ok());
            told_at_once += usize::from(matches!(sent, Ok(Sent::Dropped(..))));
            if number % 7 == 0 {
                let held = script.0.state.lock().held.len();
                script.deliver(held.min(2));
            }
        }
        balanced(&producer.stats());
        let mut state = script.0.state.lock();
        (state.window, state.delivers) = (None, true);
        drop(state);
        let held = script.0.state.lock().held.len();
        script.deliver(held);
        assert!(producer.wait_flushed(SOON), "{:?}", producer.stats());
        assert!(sorted(&script.values()), "{on_full:?}: {:?}", script.values());
        let stats = producer.stats();
        balanced(&stats);
        assert_eq!((stats.accepted, stats.delivered + stats.drops()), (taken as u64, taken as u64));
        assert_eq!(reports.errors().len() + told_at_once, taken, "{on_full:?}");
        assert!(stats.dropped.keys().all(|reason| *reason == "buffer_full"), "{stats:?}");
    }
}

#[test]
fn the_order_stays_over_the_end_of_a_process_with_records_everywhere() {
    let dir = tempfile::tempdir().expect("a folder");
    let script = Script::with_window(3);
    let options = ProducerOptions { buffer_bytes: room_for(20), ..spooled(&dir, Durability::Memory, 1 << 20) };
    let (producer, _) = made(&script, options.clone());
    for number in 0..100 {
        drop(send(&producer, "t", &format!("{number:010}"), None).expect("queued"));
        if number == 2 {
            script.wait_held(3); // in the hub's hands; then some in the sender's, on disk, and in memory
        }
    }
    assert_eq!(producer.close(Duration::ZERO), CloseReport { spooled: 100, dropped: 0 });
    let next = Script::delivering();
    let (producer, _) = made(&next, options);
    assert!(producer.wait_flushed(SOON));
    assert_eq!(next.values(), (0..100).map(|number| format!("{number:010}")).collect::<Vec<_>>());
    assert_eq!(producer.close(SOON), CloseReport::default());
    assert_eq!(std::fs::read_dir(dir.path()).expect("the folder").count(), 0);
}

#[test]
fn what_must_make_room_while_it_waits_to_be_sent_again_has_its_outcome_once() {
    let dir = tempfile::tempdir().expect("a folder");
    let script = Script::with_window(40);
    let options = ProducerOptions { on_full: OnFull::DropOldest, ..spooled(&dir, Durability::Process, 64 * 1024) };
    let (producer, reports) = made(&script, options);
    let value = "x".repeat(1000);
    let mut sent = 0;
    let mut more = |count: u32| {
        for _ in 0..count {
            assert!(matches!(send(&producer, "t", &value, Some(sent)), Ok(Sent::Queued)));
            sent += 1;
        }
    };
    more(40);
    script.wait_held(40);
    script.0.state.lock().window = Some(0);
    // Of those that wait to be sent again some must go; then some must that are with the hub, and fail afterwards.
    script.fail(20, &Error::Timeout(Failure::new("later").retriable()));
    more(200);
    script.fail(20, &Error::Timeout(Failure::new("later").retriable()));
    more(200);
    script.0.state.lock().delivers = true;
    script.open();
    assert!(producer.wait_flushed(SOON), "{:?}", producer.stats());
    assert_eq!(reports.errors().len(), 440, "told when nothing is pending");
    let stats = producer.stats();
    balanced(&stats);
    assert_eq!(stats.dropped.keys().collect::<Vec<_>>(), [&"buffer_full"], "{stats:?}");
    assert!(reports.errors().iter().map(|(token, _)| *token).eq(0..440), "each once");
}

#[test]
fn those_who_wait_for_what_is_on_disk_are_bounded_as_memory_is() {
    // Room for a hundred; in memory are some more, each with its record.
    let cases = [(Durability::Process, 100), (Durability::Memory, 300)];
    for (durability, most) in cases {
        // One file that nothing can be cut off from, and many.
        for max_bytes in [1 << 20, 64 * 1024] {
            for on_full in [OnFull::Raise, OnFull::DropOldest, OnFull::DropNewest] {
                let dir = tempfile::tempdir().expect("a folder");
                let script = Script::with_window(0);
                let options = ProducerOptions { buffer_bytes: 12_800, on_full, ..spooled(&dir, durability, max_bytes) };
                let (producer, reports) = made(&script, options);
                let queued = |number: &u32| {
                    matches!(send(&producer, "t", &format!("{number:04}"), Some(*number)), Ok(Sent::Queued))
                };
                let queued = (0..2000).filter(queued).count();
                let what = format!("{durability:?} {max_bytes} {on_full:?}: {queued} queued");
                wait_until(&what, || (1..=most).contains(&(queued - reports.errors().len())));
                assert!(
                    matches!(send(&producer, "t", "last", None), Ok(Sent::Queued)),
                    "there is room for those nobody waits for"
                );
                balanced(&producer.stats());
                let mut state = script.0.state.lock();
                (state.window, state.delivers) = (None, true);
                drop(state);
                assert!(producer.wait_flushed(SOON), "{what}");
                let values = script.values();
                assert!(sorted(&values), "{what}: {values:?}");
                let newest_stays = on_full == OnFull::DropOldest;
                assert_eq!(values[values.len() - 2] == "1999", newest_stays, "{what}: {values:?}");
                assert_eq!(queued == 2000, newest_stays, "{what}");
                assert_eq!(reports.errors().len(), queued, "{what}: each once");
                balanced(&producer.stats());
            }
        }
    }
}

#[test]
fn who_waits_for_room_for_another_callback_gets_it_when_an_outcome_is_known() {
    for durability in [Durability::Process, Durability::Memory] {
        let dir = tempfile::tempdir().expect("a folder");
        let script = Script::with_window(0);
        let options = ProducerOptions { buffer_bytes: 12_800, ..spooled(&dir, durability, 1 << 20) };
        let (producer, reports) = made(&script, options);
        let mut queued = 0;
        while let Sent::Queued = send(&producer, "t", "x", Some(queued)).expect("no error") {
            queued += 1;
            assert!(queued <= 300, "{durability:?}: not bounded");
        }
        std::thread::scope(|scope| {
            let waiting: Vec<_> = (0..4)
                .map(|number| {
                    let record = Record { topic: "t", value: Some(b"x"), ..Record::default() };
                    let producer = &producer;
                    let token = Some(queued + number);
                    scope.spawn(move || {
                        producer.send_blocking(&producer.encode(&record), token, Linger::Short, None, never)
                    })
                })
                .collect();
            wait_until("nobody waits", || producer.shared.room.is_waited_for());
            script.0.state.lock().delivers = true;
            script.open();
            for thread in waiting {
                assert!(matches!(thread.join().expect("no panic"), Ok(Sent::Queued)), "{durability:?}");
            }
        });
        assert!(producer.wait_flushed(SOON));
        assert!(reports.errors().iter().map(|(token, _)| *token).eq(0..queued + 4), "{durability:?}: each once");
    }
}

fn broken() -> std::io::Result<()> {
    Err(std::io::Error::from_raw_os_error(5))
}

#[test]
fn what_the_disk_does_not_keep_is_an_error_at_once_and_nothing_else() {
    for on_full in [OnFull::Block, OnFull::Raise, OnFull::DropNewest, OnFull::DropOldest] {
        let dir = tempfile::tempdir().expect("a folder");
        let script = Script::delivering();
        let (producer, reports) =
            made(&script, ProducerOptions { on_full, ..spooled(&dir, Durability::Disk, 1 << 20) });
        crate::private::synced::call_first(|| Ok(()));
        assert!(matches!(send(&producer, "t", "1", Some(1)), Ok(Sent::Queued)));
        crate::private::synced::call_first(broken);
        for token in 2..5 {
            let error = send(&producer, "t", &token.to_string(), Some(token)).expect_err("not safe");
            assert!(matches!(error, Error::Storage(_)) && error.fatal(), "{error}");
            crate::private::synced::call_first(|| Ok(())); // it has forgotten what it could not write
        }
        assert!(producer.wait_flushed(SOON));
        wait_asleep(&producer);
        let stats = producer.stats();
        balanced(&stats);
        assert_eq!((stats.accepted, stats.delivered, stats.spool_errors), (1, 1, 1), "{stats:?}");
        assert_eq!(producer.close(SOON), CloseReport::default());
        assert_eq!((script.values(), reports.errors()), (vec!["1".to_owned()], vec![(1, None)]));
        assert_eq!(std::fs::read_dir(dir.path()).expect("the folder").count(), 0);
    }
}

#[test]
fn what_made_room_for_what_the_disk_does_not_keep_is_told_so() {
    let dir = tempfile::tempdir().expect("a folder");
    let script = Script::with_window(0);
    // The sender has nothing in hand, which could not make room.
    let linger = Duration::from_secs(3600);
    let options = ProducerOptions { on_full: OnFull::DropOldest, linger, ..spooled(&dir, Durability::Disk, 8 * 1024) };
    let (producer, reports) = made(&script, options);
    let [folder] = &std::fs::read_dir(dir.path()).expect("it").collect::<Vec<_>>()[..] else { panic!("one folder") };
    let oldest = folder.as_ref().expect("it").path().join("log").join(format!("{:020}.log", 0));
    let first = oldest.clone();
    crate::private::synced::call_first(move || if first.exists() { Ok(()) } else { broken() });
    let sent = (0..10_000).take_while(|number| send(&producer, "t", "x", Some(*number)).is_ok()).count();
    crate::private::synced::call_first(|| Ok(()));
    assert!(!oldest.exists());
    producer.hurry();
    wait_until("nobody is told", || !reports.errors().is_empty());
    assert!(reports.errors().iter().all(|(_, error)| matches!(error, Some(Error::Full(_)))));
    let mut state = script.0.state.lock();
    (state.window, state.delivers) = (None, true);
    drop(state);
    assert!(producer.wait_flushed(SOON), "{:?}", producer.stats());
    balanced(&producer.stats());
    assert!(reports.errors().into_iter().map(|(token, _)| token as usize).eq(0..sent), "each once");
}

#[test]
fn who_may_not_wait_is_told_so_where_the_disk_or_another_thread_would_be_waited_for() {
    let mut frame = Vec::new();
    codec::write(&mut frame, &Record { topic: "t", value: Some(&[0; 10]), ..Record::default() });
    let dir = tempfile::tempdir().expect("a folder");
    for durability in [Durability::Process, Durability::Disk] {
        let (producer, _) = made(&Script::default(), spooled(&dir, durability, 1 << 20));
        assert_eq!(producer.send_at_once(&frame, Some(7), Linger::Short).expect_err("it is written"), Some(7));
        assert_eq!(producer.stats().accepted, 0);
    }
    let options = ProducerOptions { buffer_bytes: room_for(2), ..spooled(&dir, Durability::Memory, 1 << 20) };
    let (producer, _) = made(&Script::with_window(0), options);
    for _ in 0..2 {
        assert!(matches!(producer.send_at_once(&frame, None, Linger::Short), Ok(Ok(Sent::Queued))));
    }
    assert_eq!(producer.send_at_once(&frame, Some(7), Linger::Short).expect_err("memory goes to disk"), Some(7));
    assert!(matches!(producer.send(&frame, Some(7), Linger::Short), Ok(Sent::Queued)));
    let (producer, _) = made(&Script::default(), spooled(&dir, Durability::Memory, 1 << 20));
    producer.shared.while_locked(|| {
        assert_eq!(producer.send_at_once(&frame, Some(7), Linger::Short).expect_err("another thread has it"), Some(7));
    });
}
