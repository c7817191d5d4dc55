use std::sync::Arc;
use std::time::{Duration, Instant};

use gds_hub::settings::Role;
use gds_hub::{Admin, Batch, Change, Error, Hub, Position, Start, Subscriber};

use crate::support::{TIMEOUT, cluster, fill, numbers, open, quick_group, read, reading, subscription, values};

fn at(partition: i32, offset: i64) -> Position {
    Position { topic: "t".into(), partition, offset }
}

#[test]
fn a_group_goes_on_where_it_committed() {
    let cluster = cluster(1);
    let hub = reading(&cluster);
    fill(&cluster, "t", numbers(10));
    let wanted = subscription(&["t"], Some("g"), Start::Earliest);

    let mut reader = hub.subscribe(&wanted).unwrap();
    assert_eq!(read(reader.as_mut(), 10), numbers(10));
    assert_eq!(reader.assignment().unwrap(), [("t".into(), 0)]);
    reader.commit(&[at(0, 4)], true).unwrap();
    drop(reader); // without close: nothing else is committed

    let mut reader = hub.subscribe(&wanted).unwrap();
    assert_eq!(read(reader.as_mut(), 6), numbers(10)[4..]);
    reader.commit(&[at(0, 6)], false).unwrap();
    reader.commit(&[at(0, 7)], false).unwrap();
    reader.close().unwrap();
    let error = reader.poll(&mut Batch::default(), 1, Duration::ZERO).unwrap_err();
    assert!(matches!(error, Error::Closed(_)), "{error}");

    let mut reader = hub.subscribe(&wanted).unwrap();
    assert_eq!(read(reader.as_mut(), 3), numbers(10)[7..]);
    let lag = reader.lag(TIMEOUT).unwrap();
    assert_eq!((lag.len(), lag[0].position, lag[0].end, lag[0].lag), (1, Some(10), 10, 0));
}

#[test]
fn a_groups_lag_survives_a_coordinator_that_moves() {
    const NOT_COORDINATOR: i32 = 16;
    let cluster = cluster(1);
    let hub = reading(&cluster);
    cluster.push_request_errors("OffsetFetch", &[NOT_COORDINATOR]).unwrap();
    let error = hub.lag("g", TIMEOUT).unwrap_err();
    assert!(error.retriable(), "{error}");
    // The mock cluster lists no offsets of a group as a whole; that the answer comes is all.
    hub.lag("g", TIMEOUT).unwrap();
}

#[test]
fn a_commit_that_fails_is_an_error_if_waited_for_and_tried_again_if_not() {
    let cluster = cluster(1);
    let hub = reading(&cluster);
    fill(&cluster, "t", numbers(5));
    let wanted = subscription(&["t"], Some("g"), Start::Earliest);
    let mut reader = hub.subscribe(&wanted).unwrap();
    assert_eq!(read(reader.as_mut(), 5), numbers(5));
    cluster.push_request_errors("OffsetCommit", &[30, 30]).unwrap(); // group not authorised
    let error = reader.commit(&[at(0, 2)], true).unwrap_err();
    assert!(matches!(error, Error::Message(_)) && error.code() == Some(30), "{error}");
    reader.commit(&[at(0, 3)], false).unwrap();
    // The first try of this one fails as well, and nobody is told but the log; the mock cluster cannot be asked for
    // what it has, but it says when it has nothing left to refuse.
    let end = Instant::now() + TIMEOUT;
    let mut batch = Batch::default();
    while reader.commit(&[], true).is_err() {
        assert!(Instant::now() < end, "not committed");
        reader.poll(&mut batch, 1, Duration::from_millis(20)).unwrap();
    }
    reader.close().unwrap();
    let mut reader = hub.subscribe(&wanted).unwrap();
    assert_eq!(read(reader.as_mut(), 2), ["3", "4"]);
}

#[test]
fn what_was_committed_is_kept_when_another_takes_over() {
    let cluster = cluster(2);
    fill(&cluster, "t", numbers(100));
    let hub = reading(&cluster);
    let wanted = subscription(&["t"], Some("g"), Start::Earliest);
    let end = Instant::now() + TIMEOUT;
    let (mut batch, mut other) = (Batch::default(), Batch::default());
    let poll = |reader: &mut dyn Subscriber, batch: &mut Batch| {
        assert!(Instant::now() < end, "the partitions do not move");
        batch.clear();
        reader.poll(batch, 1000, Duration::from_millis(50)).unwrap();
    };
    let mut first = hub.subscribe(&wanted).unwrap();
    while first.assignment().unwrap().len() < 2 {
        poll(first.as_mut(), &mut batch);
    }
    first.changes();
    // Waited for: unlike Kafka, the mock cluster takes no commit from when another joins until partitions are given anew.
    first.commit(&[at(0, 60), at(1, 0)], true).unwrap();
    let mut second = hub.subscribe(&wanted).unwrap();
    let mut revoked = Vec::new();
    while second.assignment().unwrap().len() != 1 || first.assignment().unwrap().len() != 1 {
        poll(first.as_mut(), &mut batch);
        poll(second.as_mut(), &mut other);
        revoked.extend(first.changes().into_iter().flat_map(|change| match change {
            Change::Revoked(places) => places,
            _ => Vec::new(),
        }));
    }
    let (topic, moved) = second.assignment().unwrap()[0].clone();
    assert!(revoked.contains(&(topic, moved)), "{revoked:?}");
    let error = first.commit(&[at(moved, 50)], true).unwrap_err();
    assert!(error.retriable() && error.message().contains("not assigned"), "{error}");
    first.close().unwrap();
    second.close().unwrap();
    // A third one goes on where the first one left off, in whatever it did not give up, too.
    let mut third = hub.subscribe(&wanted).unwrap();
    assert_eq!(read(third.as_mut(), 40), numbers(100)[60..]);
}

#[test]
fn what_was_committed_without_waiting_is_kept_before_partitions_go_however_often_a_group_takes_no_commits() {
    const REBALANCE_IN_PROGRESS: i32 = 27;
    let cluster = cluster(2);
    fill(&cluster, "t", numbers(100));
    let hub = reading(&cluster);
    // Partitions go by hand: a group that gives them anew would refuse commits at times of its own.
    let wanted = subscription(&[], Some("g"), Start::Earliest);
    let mut first = hub.subscribe(&wanted).unwrap();
    first.assign(&[("t".into(), 0), ("t".into(), 1)]).unwrap();
    // More often than any other failure is tried again.
    cluster.push_request_errors("OffsetCommit", &[REBALANCE_IN_PROGRESS; 5]).unwrap();
    first.commit(&[at(0, 40), at(1, 0)], false).unwrap();
    first.commit(&[at(0, 60), at(1, 0)], false).unwrap();
    first.assign(&[("t".into(), 1)]).unwrap();
    let error = first.commit(&[at(0, 50)], true).unwrap_err();
    assert!(error.retriable() && error.message().contains("not assigned"), "{error}");
    let mut second = hub.subscribe(&wanted).unwrap();
    second.assign(&[("t".into(), 0)]).unwrap();
    assert_eq!(read(second.as_mut(), 40), numbers(100)[60..]);
}

#[test]
fn a_group_goes_on_where_it_committed_though_that_could_not_be_asked_at_first() {
    for start in [Start::Earliest, Start::Latest] {
        let cluster = cluster(1);
        fill(&cluster, "t", numbers(10));
        let hub = open(Role::Consumer, &cluster, &quick_group(), &[]);
        let wanted = subscription(&["t"], Some("g"), start);
        let mut first = hub.subscribe(&wanted).unwrap();
        let mut batch = Batch::default();
        while first.assignment().unwrap().is_empty() {
            first.poll(&mut batch, 1, Duration::from_millis(50)).unwrap();
        }
        first.commit(&[at(0, 7)], true).unwrap();
        first.close().unwrap();
        cluster.push_request_errors("OffsetFetch", &[30]).unwrap();
        let mut second = hub.subscribe(&wanted).unwrap();
        assert_eq!(read(second.as_mut(), 3), numbers(10)[7..], "{start:?}");
    }
}

#[test]
fn without_a_group_every_partition_is_read_from_where_it_was_asked() {
    let cluster = cluster(1);
    for (topic, partitions) in [("a.1", 3), ("a.2", 1), ("b", 1)] {
        cluster.create_topic(topic, partitions, 1).unwrap();
        fill(&cluster, topic, [format!("{topic} old")]);
    }
    let hub = reading(&cluster);
    let mut all = hub.subscribe(&subscription(&["^a\\."], None, Start::Earliest)).unwrap();
    let mut latest = hub.subscribe(&subscription(&["b", "a.1"], None, Start::Latest)).unwrap();
    // No poll yet: what "latest" means was settled by subscribing.
    for topic in ["a.1", "a.2", "b"] {
        fill(&cluster, topic, [format!("{topic} new")]);
    }
    let sorted = |mut values: Vec<String>| {
        values.sort();
        values
    };
    assert_eq!(sorted(read(all.as_mut(), 4)), ["a.1 new", "a.1 old", "a.2 new", "a.2 old"]);
    assert_eq!(sorted(read(latest.as_mut(), 2)), ["a.1 new", "b new"]);
    assert_eq!(all.assignment().unwrap().len(), 4);
    let error = latest.commit(&[], false).unwrap_err();
    assert!(matches!(error, Error::Config(_)) && error.message().contains("group_id"), "{error}");
    let error = hub.subscribe(&subscription(&["^("], None, Start::Latest)).unwrap_err();
    assert!(matches!(error, Error::Config(_)) && error.message().contains("^("), "{error}");
    let mut nothing = hub.subscribe(&subscription(&[], None, Start::Latest)).unwrap();
    assert!(matches!(nothing.poll(&mut Batch::default(), 1, Duration::ZERO), Err(Error::Config(_))));
}

#[test]
fn without_a_group_what_comes_up_later_is_read_from_its_beginning() {
    let cluster = cluster(1);
    cluster.broker_down(1).unwrap();
    let hub = open(Role::Consumer, &cluster, &[("connect_timeout_seconds", gds_hub::settings::Value::Float(0.1))], &[]);
    let mut reader = hub.subscribe(&subscription(&["t"], None, Start::Latest)).unwrap();
    cluster.broker_up(1).unwrap();
    fill(&cluster, "t", numbers(3));
    assert_eq!(read(reader.as_mut(), 3), numbers(3));
}

#[test]
fn seeking_and_pausing_do_what_they_say() {
    let cluster = cluster(1);
    fill(&cluster, "t", numbers(5));
    let hub = reading(&cluster);
    let mut reader = hub.subscribe(&subscription(&["t"], None, Start::Latest)).unwrap();
    let place = [(Arc::from("t"), 0)];
    reader.seek(&at(0, 3)).unwrap();
    assert_eq!(read(reader.as_mut(), 2), ["3", "4"]);
    reader.seek(&at(0, 1)).unwrap();
    assert_eq!(read(reader.as_mut(), 4), ["1", "2", "3", "4"]);
    reader.pause(&place).unwrap();
    fill(&cluster, "t", ["5".to_owned()]);
    let mut batch = Batch::default();
    reader.poll(&mut batch, 10, Duration::from_millis(300)).unwrap();
    assert!(batch.is_empty());
    reader.resume(&place).unwrap();
    assert_eq!(read(reader.as_mut(), 1), ["5"]);
    for error in [reader.seek(&at(9, 1)), reader.pause(&[("t".into(), 9)])] {
        assert!(error.as_ref().is_err_and(|error| error.message().contains("partition 9")), "{error:?}");
    }
}

#[test]
fn a_poll_takes_many_messages_and_does_not_wait_for_more() {
    let cluster = cluster(1);
    fill(&cluster, "t", numbers(2000));
    let mut reader = reading(&cluster).subscribe(&subscription(&["t"], None, Start::Earliest)).unwrap();
    let mut batch = Batch::default();
    let begin = Instant::now();
    while batch.len() < 2000 {
        let before = batch.len();
        // Would be slept through for every poll that waited for messages that do not come.
        reader.poll(&mut batch, 700, Duration::from_secs(20)).unwrap();
        assert!(batch.len() - before <= 700 && begin.elapsed() < Duration::from_secs(15), "{}", batch.len());
    }
    assert_eq!(values(&batch), numbers(2000));
}

#[test]
fn a_seek_before_the_group_gives_partitions_is_where_they_begin() {
    let cluster = cluster(1);
    fill(&cluster, "t", numbers(5));
    let mut reader = reading(&cluster).subscribe(&subscription(&["t"], Some("g"), Start::Earliest)).unwrap();
    reader.seek(&at(0, 3)).unwrap();
    assert_eq!(read(reader.as_mut(), 2), ["3", "4"]);
    let error = reader.seek(&at(9, 0)).unwrap_err();
    assert!(error.message().contains("partition 9"), "{error}");
}

#[test]
fn a_group_has_the_patterns_of_a_reader_without_one() {
    let cluster = cluster(1);
    for topic in ["m-7", "m-x", "m-12"] {
        cluster.create_topic(topic, 1, 1).unwrap();
        fill(&cluster, topic, [topic.to_owned()]);
    }
    let hub = reading(&cluster);
    for group in [None, Some("g")] {
        let mut reader = hub.subscribe(&subscription(&["^m-\\d+$"], group, Start::Earliest)).unwrap();
        let mut found = read(reader.as_mut(), 2);
        found.sort();
        assert_eq!(found, ["m-12", "m-7"]);
        assert_eq!(reader.assignment().unwrap().len(), 2);
    }
}

#[test]
fn partitions_assigned_by_hand_are_read_and_committed() {
    let cluster = cluster(2);
    fill(&cluster, "t", numbers(3));
    let hub = reading(&cluster);
    let nothing = subscription(&[], Some("g"), Start::Earliest);
    let mut reader = hub.subscribe(&nothing).unwrap();
    reader.assign(&[("t".into(), 0)]).unwrap();
    assert_eq!(reader.changes(), [Change::Assigned(vec![("t".into(), 0)])]);
    assert_eq!(read(reader.as_mut(), 3), numbers(3));
    reader.commit(&[at(0, 2)], true).unwrap();
    reader.assign(&[("t".into(), 1)]).unwrap();
    assert_eq!(reader.assignment().unwrap(), [("t".into(), 1)]);
    reader.close().unwrap();
    let mut reader = hub.subscribe(&nothing).unwrap();
    reader.assign(&[("t".into(), 0)]).unwrap();
    assert_eq!(read(reader.as_mut(), 1), ["2"]);
}

#[test]
fn what_a_group_gives_is_told_before_any_of_its_messages() {
    let cluster = cluster(2);
    fill(&cluster, "t", numbers(5));
    let mut reader = reading(&cluster).subscribe(&subscription(&["t"], Some("g"), Start::Nowhere)).unwrap();
    let end = Instant::now() + TIMEOUT;
    let mut batch = Batch::default();
    let assigned = loop {
        assert!(Instant::now() < end, "no partitions");
        reader.poll(&mut batch, 10, Duration::from_millis(200)).unwrap();
        assert!(batch.is_empty());
        if let Some(Change::Assigned(places)) = reader.changes().pop() {
            break places;
        }
    };
    assert_eq!(assigned, [("t".into(), 0), ("t".into(), 1)]);
    // The time to say where they begin, which would be an error a moment later, and which of them are read.
    reader.seek(&at(0, 3)).unwrap();
    reader.seek(&at(1, 0)).unwrap();
    assert_eq!(read(reader.as_mut(), 2), ["3", "4"]);
}
