//! Making, describing and deleting topics; retention.

use std::collections::BTreeMap;
use std::time::Duration;

use gds_hub::embedded::{Embedded, EmbeddedOptions, Retention};
use gds_hub::{Admin, Error, NewTopic, Start};

use crate::support::*;

fn new_topic(name: &str, partitions: i32, config: &[(&str, &str)]) -> NewTopic {
    let config = config.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    NewTopic { name: name.to_owned(), partitions, replication: 1, config }
}

#[test]
fn topics_are_there_again_with_what_they_were_made_with() {
    let dir = folder();
    let hub = open(dir.path());
    hub.create_topic(&new_topic("a", 3, &[("retention.bytes", "20000")]), TIMEOUT).expect("created");
    for number in 0..200 {
        publish(&hub, &gds_hub::Record { partition: Some(number % 2), ..record("a", &[0; 1_000]) });
    }
    publish(&hub, &record("b", b"v"));
    drop(hub);
    let hub = open(dir.path());
    let topics = Admin::topics(&hub, None, TIMEOUT).expect("known");
    assert_eq!(
        topics.iter().map(|topic| (&*topic.name, topic.partitions.len())).collect::<Vec<_>>(),
        [("a", 3), ("b", 1)]
    );
    for (number, ends) in [100, 100, 0].into_iter().enumerate() {
        let partition = topics[0].partitions[number];
        let kept = partition.end - partition.start;
        assert!(partition.end == ends && (ends.min(10)..=22).contains(&kept), "{partition:?}");
    }
    // The limit holds from now on, too.
    for _ in 0..50 {
        publish(&hub, &gds_hub::Record { partition: Some(0), ..record("a", &[0; 1_000]) });
    }
    let partition = Admin::topics(&hub, Some("a"), TIMEOUT).expect("known")[0].partitions[0];
    assert!(partition.end == 150 && (10..=25).contains(&(partition.end - partition.start)), "{partition:?}");
}

fn is_config(error: &Error) -> bool {
    matches!(error, Error::Config(_))
}

fn is_message(error: &Error) -> bool {
    matches!(error, Error::Message(_))
}

#[test]
fn what_makes_no_sense_is_refused_by_name() {
    let dir = folder();
    let hub = open(dir.path());
    hub.create_topic(&new_topic("a", 1, &[("retention.ms", "-1")]), TIMEOUT).expect("created");
    let replicated = NewTopic { replication: 3, ..new_topic("b", 1, &[]) };
    for (topic, kind, says) in [
        (new_topic("a", 1, &[]), is_message as fn(&Error) -> bool, "\"a\" exists"),
        (new_topic("a/b", 1, &[]), is_message, "\"a/b\""),
        (new_topic("b", 0, &[]), is_config, "0 partitions"),
        (new_topic("b", 1, &[("cleanup.policy", "squeeze")]), is_config, "\"compact,delete\""),
        (new_topic("b", 1, &[("cleanup.polcy", "compact")]), is_config, "\"cleanup.policy\""),
        (new_topic("b", 1, &[("delete.retention.ms", "-1")]), is_config, "0 or more"),
        (new_topic("b", 1, &[("retention.ms", "soon")]), is_config, "\"soon\""),
        (replicated, is_config, "replication 3"),
    ] {
        let error = hub.create_topic(&topic, TIMEOUT).expect_err("refused");
        assert!(kind(&error) && error.message().contains(says), "{error}");
    }
    assert!(matches!(Admin::topics(&hub, Some("b"), TIMEOUT), Err(Error::Message(_))));
    assert!(matches!(hub.delete_topic("b", TIMEOUT), Err(Error::Message(_))));
}

#[test]
fn a_deleted_topic_is_gone_with_its_commits_and_its_name_is_free() {
    let dir = folder();
    let hub = open(dir.path());
    let mut reader = subscribe(&hub, &["orders"], Some("g"), Start::Earliest);
    for _ in 0..3 {
        publish(&hub, &record("orders", b"old"));
    }
    assert_eq!(drain(&mut *reader).len(), 3);
    reader.commit(&[position("orders", 0, 3)], true).expect("committed");
    hub.delete_topic("orders", TIMEOUT).expect("deleted");
    assert!(drain(&mut *reader).is_empty());
    assert_eq!(revoked(&mut *reader).len(), 1);
    assert_eq!(publish(&hub, &record("orders", b"new")), (0, 0));
    assert_eq!(values(&drain(&mut *reader)), ["new"]);
    drop((hub, reader));
    let hub = open(dir.path());
    assert_eq!(Admin::topics(&hub, None, TIMEOUT).expect("known")[0].partitions[0].end, 1);
    assert_eq!(hub.groups(TIMEOUT).expect("known"), [""; 0]);
    assert_eq!(std::fs::read_dir(dir.path().join("trash")).map_or(0, Iterator::count), 0);
}

#[test]
fn topics_survive_the_loss_of_what_was_remembered_of_them() {
    let dir = folder();
    let hub = open(dir.path());
    create(&hub, "orders", 3);
    publish(&hub, &gds_hub::Record { partition: Some(1), ..record("orders", b"v") });
    drop(hub);
    std::fs::remove_dir_all(dir.path().join("meta")).expect("removed");
    let hub = open(dir.path());
    let topic = Admin::topics(&hub, Some("orders"), TIMEOUT).expect("known").remove(0);
    assert_eq!(topic.partitions.iter().map(|one| one.end).collect::<Vec<_>>(), [0, 1, 0]);
}

#[test]
fn a_reader_that_is_overtaken_by_retention_goes_on_with_the_oldest() {
    let dir = folder();
    let retention = Retention { bytes: Some(40_000), ..Retention::default() };
    let hub = Embedded::open(dir.path(), EmbeddedOptions { retention, ..EmbeddedOptions::default() }).expect("opened");
    let mut reader = subscribe(&hub, &["orders"], Some("g"), Start::Earliest);
    publish(&hub, &record("orders", b"first"));
    assert_eq!(values(&drain(&mut *reader)), ["first"]);
    reader.commit(&[position("orders", 0, 1)], true).expect("committed");
    for _ in 0..1_000 {
        publish(&hub, &record("orders", &[0; 1_000]));
    }
    let partition = Admin::topics(&hub, Some("orders"), TIMEOUT).expect("known")[0].partitions[0];
    assert!(partition.start > 900 && partition.end == 1_001, "{partition:?}");
    let lag = hub.lag("g", TIMEOUT).expect("known").remove(0);
    assert_eq!(lag.lag, partition.end - partition.start, "what is gone cannot be read any more");
    // It may have the file open that is gone, and then reads that to its end.
    let offsets: Vec<_> = drain(&mut *reader).into_iter().map(|(_, _, offset, _)| offset).collect();
    assert!(offsets.is_sorted() && offsets.last() == Some(&1_000) && offsets.len() < 100, "{offsets:?}");
    drop(reader);
    let mut reader = subscribe(&hub, &["orders"], Some("g"), Start::Latest);
    assert_eq!(drain(&mut *reader)[0].2, partition.start, "the commit is far behind the oldest");
}

#[test]
fn old_messages_go_when_the_hub_is_opened() {
    let dir = folder();
    let hub = open(dir.path());
    hub.create_topic(&new_topic("short", 1, &[("retention.ms", "1")]), TIMEOUT).expect("created");
    hub.create_topic(&new_topic("long", 1, &[("retention.ms", "3600000")]), TIMEOUT).expect("created");
    publish(&hub, &record("short", b"v"));
    publish(&hub, &record("long", b"v"));
    drop(hub);
    let stored = std::time::SystemTime::now();
    while stored.elapsed().unwrap_or_default() < Duration::from_millis(3) {
        std::thread::yield_now();
    }
    let topics = Admin::topics(&open(dir.path()), None, TIMEOUT).expect("known");
    let ranges: BTreeMap<_, _> = topics.iter().map(|topic| (&*topic.name, topic.partitions[0])).collect();
    assert_eq!((ranges["short"].start, ranges["short"].end), (1, 1));
    assert_eq!((ranges["long"].start, ranges["long"].end), (0, 1));
}

#[test]
fn no_offset_is_given_twice_though_a_power_cut_took_messages_that_were_read() {
    let dir = folder();
    let hub = open(dir.path());
    for _ in 0..10 {
        publish(&hub, &record("orders", b"v"));
    }
    let mut reader = subscribe(&hub, &["orders"], Some("g"), Start::Earliest);
    drain(&mut *reader);
    reader.commit(&[position("orders", 0, 10)], true).expect("committed");
    drop((reader, hub));
    let segment = dir.path().join("topics/orders/0/00000000000000000000.log");
    let file = std::fs::File::options().write(true).open(&segment).expect("a segment");
    file.set_len(file.metadata().expect("there").len() / 2).expect("cut");
    let hub = open(dir.path());
    assert_eq!(publish(&hub, &record("orders", b"new")), (0, 10));
    let mut reader = subscribe(&hub, &["orders"], Some("g"), Start::Earliest);
    assert_eq!(values(&drain(&mut *reader)), ["new"]);
}
