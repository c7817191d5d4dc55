//! What processes say to each other, where that cannot be seen from outside.

use std::io::{Read, Write};

use gds_process::ParentOnly;

use super::publisher::Mark;
use super::*;
use crate::hub::{Admin, Delivery, NewTopic};
use crate::record::Record;

#[derive(Default)]
struct DeliveredOffsets(Mutex<Vec<(u64, i64)>>);

impl Deliveries for DeliveredOffsets {
    fn delivered(&self, id: u64, place: &Delivery<'_>) {
        self.0.lock().push((id, place.offset));
    }

    fn failed(&self, _: u64, _: &Record<'_>, error: &Error) {
        panic!("{error}");
    }
}

#[test]
fn marks_are_read_as_they_were_written() {
    for mark in [Mark { publisher: 0, number: 0 }, Mark { publisher: u64::MAX, number: 0x1234_5678_9abc }] {
        assert_eq!(Mark::read(&mark.to_string()), Some(mark));
    }
    for other in ["", ".", "orders", "1.", "a.b.c"] {
        assert_eq!(Mark::read(other), None, "{other}");
    }
}

#[test]
fn a_record_whose_acknowledgement_was_lost_is_not_published_again() {
    let dir = tempfile::tempdir().expect("a folder");
    let hub = Embedded::open(dir.path(), EmbeddedOptions::default()).expect("opened");
    let told = Arc::new(DeliveredOffsets::default());
    let publisher = RemotePublisher::new(hub.home.clone(), hub.options, told.clone());
    let publish = |ids: std::ops::Range<u64>| {
        for id in ids {
            publisher.publish(id, &Record { topic: "orders", value: Some(b"v"), ..Record::default() }).expect("taken");
        }
    };
    publish(0..3);
    publisher.exchange_remotely();
    assert_eq!(std::mem::take(&mut *told.0.lock()), [(0, 0), (1, 1), (2, 2)]);
    // Three of a batch of five had come through when the answer to it was lost.
    publisher.forget_answer(3);
    publish(0..5);
    publisher.handed_over();
    assert_eq!(*told.0.lock(), [(0, 0), (1, 1), (2, 2), (3, 3), (4, 4)]);
    assert_eq!((hub.topics(None, link::TIMEOUT).expect("known")[0].partitions[0].end, publisher.in_flight()), (5, 0));
    // This process has the hub, and nothing is on its way any more.
    publish(5..6);
    assert_eq!(told.0.lock().last(), Some(&(5, 5)), "published without the socket, at once");
    assert!(publisher.statistics().contains_key("topics"));
}

#[test]
fn who_needs_long_to_say_what_came_through_is_asked_once() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().canonicalize().expect("there");
    let _lock = Lock::wait(private::options().open(path.join("lock")).expect("made")).expect("locked");
    let listener = socket::listen(&path).expect("listens");
    listener.set_nonblocking(false).expect("waits");
    let (heard, questions) = std::sync::mpsc::channel();
    let answers = Arc::new(Mutex::new(()));
    let may_answer = answers.clone();
    // Answers what it is asked, over each of the streams.
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (heard, may_answer) = (heard.clone(), may_answer.clone());
            let stream = Arc::new(ParentOnly::new(stream.expect("somebody")));
            std::thread::spawn(move || {
                let mut wire = protocol::Wire::accept(stream).expect("greeted").expect("of this version");
                while wire.receive(None).is_ok() {
                    let question = wire.decode::<protocol::Request>().expect("a question");
                    let published = matches!(question, protocol::Request::Publish);
                    let _ = heard.send(published); // the test is over
                    let _may = may_answer.lock();
                    let outcome =
                        if published { serde_json::json!([[{"Ok": [0, 7]}], null]) } else { serde_json::json!([]) };
                    let _ = wire.send(&protocol::Reply { outcome: Ok(outcome), changes: Vec::new() }, &[]);
                    wire.forget();
                }
            });
        }
    });
    let told = Arc::new(DeliveredOffsets::default());
    let publisher = RemotePublisher::new(HubFolder::new(path), EmbeddedOptions::default(), told.clone());
    publisher.publish(3, &Record { topic: "orders", value: Some(b"v"), ..Record::default() }).expect("taken");
    let held = answers.lock();
    publisher.exchange_remotely();
    publisher.exchange_remotely();
    drop(held);
    publisher.exchange_remotely();
    assert_eq!(*told.0.lock(), [(3, 7)]);
    assert_eq!(questions.try_iter().collect::<Vec<_>>(), [false, true], "its word was waited for");
}

#[test]
fn a_topic_that_nobody_publishes_to_is_looked_after_too() {
    let dir = tempfile::tempdir().expect("a folder");
    let retention = Retention { age_ms: Some(1_000), bytes: None };
    let hub = Embedded::open(dir.path(), EmbeddedOptions { retention, ..EmbeddedOptions::default() }).expect("opened");
    let owner = hub.owner().expect("here").expect("it has it");
    append(&owner.core, "quiet");
    owner.core.topics.look_after_quiet(now_ms() + 60_000);
    let (tell, told) = std::sync::mpsc::channel();
    assert!(owner.core.topics.upkeep.worker.submit(move |_| tell.send(()).expect("it waits")));
    told.recv_timeout(link::TIMEOUT).expect("it is done after that");
    assert_eq!(owner.core.topics.get("quiet").expect("there").range(0).expect("there"), (1, 1));
}

#[test]
fn what_retention_cannot_remove_is_counted_each_time_and_said_once() {
    let dir = tempfile::tempdir().expect("a folder");
    let retention = Retention { age_ms: Some(1_000), bytes: None };
    let hub = Embedded::open(dir.path(), EmbeddedOptions { retention, ..EmbeddedOptions::default() }).expect("opened");
    let publisher = hub.publisher(Arc::new(DeliveredOffsets::default())).expect("a publisher");
    let owner = hub.owner().expect("here").expect("it has it");
    append(&owner.core, "orders");
    let partition = owner.core.home.path.join("topics/orders/0");
    let file = std::fs::read_dir(&partition).expect("there").next().expect("a file").expect("read").path();
    std::fs::remove_file(&file).expect("removed");
    std::fs::create_dir(&file).expect("a folder is no file that can be removed");
    let topic = owner.core.topics.get("orders").expect("there");
    for _ in 0..2 {
        topic.look_after_all(now_ms() + 60_000);
    }
    assert_eq!(publisher.statistics()["retention_errors_total"].to_string(), "2");
    let said = publisher.warnings();
    assert!(said.len() == 1 && said[0].starts_with("retention of topic \"orders\""), "{said:?}");
    std::fs::remove_dir(&file).expect("removed");
    topic.look_after_all(now_ms() + 60_000);
    assert_eq!((topic.range(0).expect("there"), publisher.warnings().len()), ((1, 1), 0));
}

#[test]
fn a_compaction_that_fails_is_counted_each_time_and_said_once_and_goes_on_when_the_fault_ends() {
    let dir = tempfile::tempdir().expect("a folder");
    let hub = Embedded::open(dir.path(), EmbeddedOptions::default()).expect("opened");
    let config = [("cleanup.policy", "compact"), ("segment.bytes", "4096")];
    let config = config.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
    let topic = NewTopic { name: "state".to_owned(), partitions: 1, replication: -1, config };
    hub.create_topic(&topic, link::TIMEOUT).expect("created");
    let told = Arc::new(DeliveredOffsets::default());
    let publisher = hub.publisher(told.clone()).expect("a publisher");
    let owner = hub.owner().expect("here").expect("it has it");
    let topic = owner.core.topics.get("state").expect("there");
    // No file can be made where there is a folder.
    let obstacle = owner.core.home.path.join("topics/state/0/00000000000000000000.compacting");
    let publish = |ids: std::ops::Range<u64>| {
        for id in ids {
            let record = Record { topic: "state", key: Some(b"k"), value: Some(&[7; 100]), ..Record::default() };
            publisher.publish(id, &record).expect("taken");
        }
    };
    // A minute after it failed it is tried again.
    let compact = || {
        topic.look_after_all(now_ms() + 120_000);
        let (tell, told) = std::sync::mpsc::channel();
        assert!(owner.core.topics.upkeep.worker.submit(move |_| tell.send(()).expect("it waits")));
        told.recv_timeout(link::TIMEOUT).expect("it is done after that");
    };
    let offsets = || {
        let topics = vec!["state".to_owned()];
        let mut reader = hub.subscribe(&Subscription { topics, ..Subscription::default() }).expect("subscribed");
        let mut batch = crate::Batch::default();
        reader.poll(&mut batch, 1_000, link::TIMEOUT).expect("polled");
        batch.iter().map(|message| message.offset).collect::<Vec<_>>()
    };
    let failures = || publisher.statistics()["compaction_errors_total"];
    let (mut published, mut compacted) = (0, 0);
    for _ in 0..2 {
        std::fs::create_dir(&obstacle).expect("made");
        publish(published..published + 100);
        published += 100;
        compact();
        let (before, said) = (failures(), publisher.warnings());
        assert!(said.len() == 1 && said[0].starts_with("compaction of topic \"state\""), "{said:?}");
        assert!(said[0].contains("is tried again") && said[0].contains("cannot make"), "{said:?}");
        compact();
        compact();
        assert_eq!((failures() - before, publisher.warnings().len()), (2.0, 0));
        assert_eq!(told.0.lock().len() as u64, published, "who publishes is not concerned");
        assert_eq!(offsets().len() as u64, published - compacted, "nothing is gone");
        let before = failures();
        std::fs::remove_dir(&obstacle).expect("removed");
        compact();
        let left = offsets();
        assert!(left.len() < 50 && left.last() == Some(&(published.cast_signed() - 1)), "{left:?}");
        assert_eq!((failures(), publisher.warnings().len()), (before, 0));
        compacted = published - left.len() as u64;
    }
}

fn append(core: &Core, topic: &str) {
    let mut payload = Vec::new();
    crate::codec::write(&mut payload, &Record { topic: "", value: Some(b"v"), ..Record::default() });
    let appended = core.topic_for(topic).expect("made").append(0, now_ms(), &payload);
    assert_eq!(appended.expect("appended"), Some(0));
}

#[test]
fn a_process_that_speaks_another_version_is_named_with_both() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().canonicalize().expect("there");
    let file = private::options().open(path.join("lock")).expect("made");
    let _lock = Lock::wait(file).expect("locked");
    let listener = socket::listen(&path).expect("listens");
    listener.set_nonblocking(false).expect("waits");
    let other = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("somebody");
        let mut greeting = [0; 12];
        stream.read_exact(&mut greeting).expect("a greeting");
        greeting[6..].copy_from_slice(&[9, 0, 0xd2, 4, 0, 0]);
        stream.write_all(&greeting).expect("written");
    });
    let error = Embedded::open(&path, EmbeddedOptions::default()).expect_err("refused");
    let says = ["process 1234 ", "version 9 ", "version 1:"];
    assert!(says.iter().all(|says| error.message().contains(says)) && !error.retriable(), "{error}");
    other.join().expect("no panic");
}
