//! Topics that are compacted, as publishers, readers and groups see them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use gds_hub::embedded::Embedded;
use gds_hub::{Admin, Error, NewTopic, Record, Start};

use crate::support::*;

fn make(hub: &Embedded, name: &str) {
    let config = [("cleanup.policy", "compact"), ("segment.bytes", "4000")];
    let config = config.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
    let topic = NewTopic { name: name.to_owned(), partitions: 1, replication: -1, config };
    hub.create_topic(&topic, TIMEOUT).expect("created");
}

fn put(hub: &Embedded, topic: &str, key: &str, value: Option<&[u8]>) -> i64 {
    publish(hub, &Record { key: Some(key.as_bytes()), value, ..record(topic, b"") }).1
}

/// Publishes until a compaction was done beside that: there are fewer bytes than before.
fn put_until_compacted(hub: &Embedded, topic: &str) -> i64 {
    let bytes = || {
        let entries = std::fs::read_dir(hub.path().join("topics").join(topic).join("0")).expect("a folder");
        let sizes = entries.filter_map(|entry| Some(entry.ok()?.metadata().ok()?.len()));
        sizes.sum::<u64>()
    };
    let (end, mut most) = (Instant::now() + TIMEOUT, 0);
    loop {
        let last = put(hub, topic, "busy", Some(&[7; 200]));
        most = most.max(bytes());
        if bytes() < most {
            return last;
        }
        assert!(Instant::now() < end, "not compacted: {most} bytes");
    }
}

#[test]
fn of_each_key_the_last_message_stays_with_its_offset() {
    let dir = folder();
    let hub = open(dir.path());
    make(&hub, "state");
    let mut before = subscribe(&hub, &["state"], Some("before"), Start::Earliest);
    for round in 0..3_u8 {
        for key in ["a", "b", "c"] {
            put(&hub, "state", key, Some(&[round]));
        }
    }
    put(&hub, "state", "b", None);
    assert_eq!(poll(&mut *before, 4, TIMEOUT).len(), 4);
    before.commit(&[position("state", 0, 4)], true).expect("committed");
    let last = put_until_compacted(&hub, "state");
    let check = |hub: &Embedded| {
        let mut reader = subscribe(hub, &["state"], None, Start::Earliest);
        let seen = drain(&mut *reader);
        assert_eq!(seen[..3].iter().map(|(_, _, offset, _)| *offset).collect::<Vec<_>>(), [6, 8, 9]);
        assert_eq!(seen[..3].iter().map(|(.., value)| &**value).collect::<Vec<_>>(), [&[2][..], &[2], &[]]);
        assert!(seen.is_sorted_by_key(|(_, _, offset, _)| *offset) && seen.len() < usize::try_from(last).expect("few"));
        assert_eq!(seen.last().map(|(_, _, offset, _)| *offset), Some(last));
        let partition = Admin::topics(hub, Some("state"), TIMEOUT).expect("known")[0].partitions[0];
        assert_eq!((partition.start, partition.end), (0, last + 1), "offsets stay");
        // What is gone is not looked for.
        let place = (Arc::from("state"), 0);
        let times = [(place.clone(), 0), (place, i64::MAX)];
        let found = reader.offsets_for_times(&times, TIMEOUT).expect("found");
        assert_eq!(found.into_iter().map(|(_, offset)| offset).collect::<Vec<_>>(), [Some(6), None]);
        assert!(reader.lag(TIMEOUT).expect("known").iter().all(|lag| lag.lag == 0));
        reader.seek(&position("state", 0, 3)).expect("sought");
        assert_eq!(poll(&mut *reader, 1, TIMEOUT)[0].2, 6, "the next that there is");
    };
    check(&hub);
    // One that had the file open goes on, whatever of it is gone by now.
    let rest = drain(&mut *before);
    assert_eq!((rest[0].2 >= 4, rest.last().map(|seen| seen.2)), (true, Some(last)));
    drop((before, hub));
    let hub = open(dir.path());
    check(&hub);
    // A group that has committed what is gone goes on behind it, and is behind in nothing when it has read all.
    let mut member = subscribe(&hub, &["state"], Some("before"), Start::Latest);
    assert_eq!(hub.lag("before", TIMEOUT).expect("known")[0].lag, last + 1 - 4);
    assert_eq!(drain(&mut *member)[0].2, 6);
    member.commit(&[position("state", 0, last + 1)], true).expect("committed");
    assert_eq!(hub.lag("before", TIMEOUT).expect("known")[0].lag, 0);
}

#[test]
fn a_record_without_a_key_is_refused_and_others_are_taken() {
    let dir = folder();
    let hub = open(dir.path());
    make(&hub, "state");
    let (publisher, told) = publisher(&hub);
    publisher.publish(1, &record("state", b"v")).expect("told otherwise");
    publisher.publish(2, &Record { key: Some(b""), ..record("state", b"v") }).expect("taken");
    publisher.handed_over();
    let told = std::mem::take(&mut *told.0.lock());
    let error = told[0].1.as_ref().expect_err("it would go with the first compaction");
    assert!(matches!(error, Error::Message(_)) && error.code() == Some(87) && !error.retriable(), "{error}");
    assert!(error.message().contains("\"state\"") && error.message().contains("without a key"), "{error}");
    assert_eq!(told[1].1, Ok((0, 0)), "an empty key is one");
}

#[test]
fn settings_are_shown_changed_and_there_again() {
    let dir = folder();
    let mut hub = open(dir.path());
    create(&hub, "orders", 2);
    publish(&hub, &record("orders", b"no key"));
    let change = |hub: &Embedded, changes: &[(&str, Option<&str>)]| {
        let changes = changes.iter().map(|(key, value)| ((*key).to_owned(), value.map(str::to_owned)));
        hub.alter_topic("orders", &changes.collect(), TIMEOUT)
    };
    let shown = |hub: &Embedded| hub.topic_config("orders", TIMEOUT).expect("known");
    let own = shown(&hub);
    let expected = [
        ("cleanup.policy", "delete"),
        ("delete.retention.ms", "86400000"),
        ("retention.bytes", "-1"),
        ("retention.ms", "-1"),
        ("segment.bytes", "16777216"),
        ("segment.ms", "604800000"),
    ];
    assert_eq!(own, expected.map(|(key, value)| (key.to_owned(), value.to_owned())).into());
    change(&hub, &[("cleanup.policy", Some(" delete,compact ")), ("retention.ms", Some("1000"))]).expect("changed");
    for _ in 0..2 {
        let mut expected = own.clone();
        expected.extend(
            [("cleanup.policy", "compact,delete"), ("retention.ms", "1000")].map(|(k, v)| (k.into(), v.into())),
        );
        assert_eq!(shown(&hub), expected);
        let (publisher, told) = publisher(&hub);
        publisher.publish(1, &record("orders", b"v")).expect("told");
        publisher.handed_over();
        assert!(told.0.lock()[0].1.is_err(), "it holds at once");
        drop(publisher);
        drop(hub);
        hub = open(dir.path());
    }
    change(&hub, &[("cleanup.policy", None), ("retention.ms", None)]).expect("changed");
    assert_eq!(shown(&hub), own);
    publish(&hub, &record("orders", b"no key"));
    for (changes, says) in [
        (&[("cleanup.policy", Some("squeeze"))][..], "squeeze"),
        (&[("cleanup.polcy", None)], "\"cleanup.policy\""),
        (&[("segment.bytes", Some("0"))], "1 or more"),
    ] {
        let error = change(&hub, changes).expect_err("refused");
        assert!(matches!(error, Error::Config(_)) && error.message().contains(says), "{error}");
    }
    assert_eq!(shown(&hub), own, "all or nothing");
    for error in [
        hub.topic_config("other", TIMEOUT).expect_err("none"),
        hub.alter_topic("other", &BTreeMap::new(), TIMEOUT).expect_err("none"),
    ] {
        assert!(error.message().contains("\"other\""), "{error}");
    }
}

#[test]
fn what_has_no_key_goes_once_its_topic_is_compacted() {
    let dir = folder();
    let hub = open(dir.path());
    create(&hub, "state", 1);
    let kept = put(&hub, "state", "a", Some(b"v"));
    for _ in 0..20 {
        publish(&hub, &record("state", &[0; 400]));
    }
    let changes = [("cleanup.policy", "compact"), ("segment.bytes", "4000")];
    let changes = changes.map(|(key, value)| (key.to_owned(), Some(value.to_owned())));
    hub.alter_topic("state", &changes.into(), TIMEOUT).expect("changed");
    let last = put_until_compacted(&hub, "state");
    let offsets: Vec<_> =
        drain(&mut *subscribe(&hub, &["state"], None, Start::Earliest)).iter().map(|seen| seen.2).collect();
    assert!(offsets[0] == kept && offsets[1] > 20 && offsets.last() == Some(&last), "{offsets:?}");
}

#[test]
fn a_hub_is_closed_while_it_compacts_and_goes_on_later() {
    let dir = folder();
    for life in 0..4_i64 {
        let hub = open(dir.path());
        if life == 0 {
            make(&hub, "state");
        }
        for number in 0..60 {
            put(&hub, "state", &format!("{}", number % 5), Some(&[u8::try_from(life).expect("few"); 300]));
        }
        drop(hub);
        // Nobody has it any more, or this would be an error.
        let hub = open(dir.path());
        let seen = drain(&mut *subscribe(&hub, &["state"], None, Start::Earliest));
        let last: Vec<_> = seen[seen.len() - 5..].iter().map(|(_, _, offset, _)| *offset).collect();
        assert_eq!(last, (60 * (life + 1) - 5..60 * (life + 1)).collect::<Vec<_>>());
    }
}
