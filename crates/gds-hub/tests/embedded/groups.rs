//! Groups: sharing, committing, rebalancing.

use std::collections::BTreeSet;
use std::time::Duration;

use gds_hub::{Admin, Batch, Change, Error, Hub, Record, Start, Subscription};

use crate::support::*;

#[test]
fn a_group_goes_on_where_it_has_committed_and_no_further() {
    let dir = folder();
    let hub = open(dir.path());
    for value in ["a", "b", "c"] {
        publish(&hub, &record("orders", value.as_bytes()));
    }
    let mut reader = subscribe(&hub, &["orders"], Some("g"), Start::Earliest);
    assert_eq!(values(&drain(&mut *reader)), ["a", "b", "c"]);
    reader.commit(&[position("orders", 0, 1)], true).expect("committed");
    reader.commit(&[position("orders", 0, 2)], false).expect("committed");
    drop((reader, hub));
    let hub = open(dir.path());
    let mut reader = subscribe(&hub, &["orders"], Some("g"), Start::Latest);
    assert_eq!(values(&drain(&mut *reader)), ["c"]);
    let mut other = subscribe(&hub, &["orders"], Some("other"), Start::Earliest);
    assert_eq!(values(&drain(&mut *other)), ["a", "b", "c"], "groups know nothing of each other");
    assert_eq!(hub.groups(TIMEOUT).expect("known"), ["g", "other"]);
    let lag = hub.lag("g", TIMEOUT).expect("known").pop().expect("one");
    assert_eq!((lag.position, lag.end, lag.lag), (Some(2), 3, 1));
    assert_eq!(hub.lag("other", TIMEOUT).expect("a group"), [], "it has committed nothing");
    let error = hub.lag("othr", TIMEOUT).expect_err("no group");
    assert!(matches!(error, Error::Message(_)) && error.message().contains("first: \"other\", \"g\""), "{error}");
}

#[test]
fn members_share_and_a_member_that_goes_leaves_its_share() {
    let dir = folder();
    let hub = open(dir.path());
    create(&hub, "orders", 4);
    let mut one = subscribe(&hub, &["orders"], Some("g"), Start::Earliest);
    assert_eq!(one.assignment().expect("assigned").len(), 4);
    let mut two = subscribe(&hub, &["orders"], Some("g"), Start::Earliest);
    assert_eq!(two.assignment().expect("assigned"), [], "the first has not come back yet");
    assert!(drain(&mut *one).is_empty());
    assert_eq!(revoked(&mut *one).len(), 2);
    assert_eq!(revoked(&mut *one), []);
    assert!(drain(&mut *two).is_empty());
    let places: BTreeSet<_> = [&one, &two].iter().flat_map(|member| member.assignment().expect("assigned")).collect();
    assert_eq!(places.len(), 4);
    for number in 0..8 {
        publish(&hub, &Record { partition: Some(number % 4), ..record("orders", b"v") });
    }
    assert_eq!((drain(&mut *one).len(), drain(&mut *two).len()), (4, 4));
    drop(two);
    assert_eq!(drain(&mut *one).len(), 4, "what the other had not committed comes again");
    assert_eq!(one.assignment().expect("assigned").len(), 4);
}

#[test]
fn who_has_lost_a_partition_cannot_commit_there() {
    let dir = folder();
    let hub = open(dir.path());
    create(&hub, "orders", 2);
    for partition in [0, 1] {
        publish(&hub, &Record { partition: Some(partition), ..record("orders", b"v") });
    }
    let mut one = subscribe(&hub, &["orders"], Some("g"), Start::Earliest);
    assert_eq!(drain(&mut *one).len(), 2);
    let _two = subscribe(&hub, &["orders"], Some("g"), Start::Earliest);
    let both = [position("orders", 0, 1), position("orders", 1, 1)];
    one.commit(&both, true).expect("still its own, until it comes back");
    drain(&mut *one);
    let gone = revoked(&mut *one);
    assert_eq!(gone.len(), 1);
    let error = one.commit(&both.map(|position| gds_hub::Position { offset: 0, ..position }), true).expect_err("lost");
    assert!(matches!(error, Error::Message(_)) && error.message().contains("another member"), "{error}");
    let lags = hub.lag("g", TIMEOUT).expect("known");
    let expected: Vec<_> = (0..2).map(|number| Some(i64::from(number == gone[0].1))).collect();
    assert_eq!(lags.iter().map(|lag| lag.position).collect::<Vec<_>>(), expected, "its own was kept");
}

#[test]
fn a_member_that_waits_gets_what_the_other_gives_up() {
    let dir = folder();
    let hub = open(dir.path());
    publish(&hub, &record("orders", b"v"));
    let mut one = subscribe(&hub, &["orders"], Some("g"), Start::Earliest);
    assert_eq!(poll(&mut *one, 1, TIMEOUT).len(), 1);
    let mut two = subscribe(&hub, &["orders"], Some("g"), Start::Earliest);
    std::thread::scope(|scope| {
        let waiting = scope.spawn(move || poll(&mut *two, 1, TIMEOUT));
        drop(one);
        assert_eq!(values(&waiting.join().expect("no panic")), ["v"]);
    });
}

#[test]
fn a_member_that_stays_away_for_longer_than_it_said_loses_its_partitions() {
    let dir = folder();
    let hub = open(dir.path());
    publish(&hub, &record("orders", b"v"));
    let (topics, group) = (vec!["orders".to_owned()], Some("g".to_owned()));
    let hasty = Subscription { topics, group, max_poll_interval: Duration::from_millis(1), ..Subscription::default() };
    let mut away = hub.subscribe(&hasty).expect("subscribed");
    assert_eq!(values(&poll(&mut *away, 1, TIMEOUT)), ["v"]);
    let mut other = subscribe(&hub, &["orders"], Some("g"), Start::Earliest);
    assert_eq!(values(&poll(&mut *other, 1, TIMEOUT)), ["v"], "it was not committed");
    let error = away.commit(&[position("orders", 0, 1)], true).expect_err("lost");
    assert!(error.message().contains("another member"), "{error}");
    other.commit(&[position("orders", 0, 1)], true).expect("its own");
}

#[test]
fn what_comes_is_told_before_any_of_its_messages() {
    let dir = folder();
    let hub = open(dir.path());
    for value in ["a", "b", "c"] {
        publish(&hub, &record("orders", value.as_bytes()));
    }
    let assigned = |topic: &str| [Change::Assigned(vec![(topic.into(), 0)])];
    let mut one = subscribe(&hub, &["^."], Some("g"), Start::Earliest);
    assert_eq!(one.changes(), assigned("orders"), "before the first poll, even");
    let mut two = subscribe(&hub, &["^."], Some("g"), Start::Earliest);
    one.commit(&[position("orders", 0, 1)], true).expect("committed");
    drop(one);
    let mut batch = Batch::default();
    two.poll(&mut batch, 10, TIMEOUT).expect("polled");
    assert_eq!((batch.len(), two.changes()), (0, assigned("orders").to_vec()));
    two.seek(&position("orders", 0, 2)).expect("its own by now");
    assert_eq!(values(&poll(&mut *two, 10, TIMEOUT)), ["c"]);
    publish(&hub, &record("later", b"v"));
    two.poll(&mut batch, 10, TIMEOUT).expect("polled");
    assert_eq!((batch.len(), two.changes()), (0, assigned("later").to_vec()));
    two.pause(&[("later".into(), 0)]).expect("paused");
    assert!(drain(&mut *two).is_empty());
}

#[test]
fn a_group_with_a_pattern_finds_topics_that_come_later() {
    let dir = folder();
    let hub = open(dir.path());
    let mut reader = subscribe(&hub, &["^metrics[.]"], Some("g"), Start::Latest);
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| poll(&mut *reader, 10, TIMEOUT));
        publish(&hub, &record("metrics.a", b"found"));
        assert_eq!(values(&waiting.join().expect("no panic")), ["found"]);
    });
    publish(&hub, &record("other", b"v"));
    publish(&hub, &record("metrics.b", b"too"));
    assert_eq!(values(&drain(&mut *reader)), ["too"]);
}

#[test]
fn a_group_that_began_with_the_latest_misses_nothing_when_members_change() {
    let dir = folder();
    let hub = open(dir.path());
    publish(&hub, &record("orders", b"before"));
    let mut one = subscribe(&hub, &["orders"], Some("g"), Start::Latest);
    publish(&hub, &record("orders", b"v"));
    assert_eq!(values(&drain(&mut *one)), ["v"]);
    drop(one); // without a commit
    let mut two = subscribe(&hub, &["orders"], Some("g"), Start::Latest);
    assert_eq!(values(&drain(&mut *two)), ["v"]);
}

#[test]
fn members_that_come_and_go_under_load_miss_nothing() {
    const MESSAGES: usize = 4_000;
    let dir = folder();
    let hub = open(dir.path());
    create(&hub, "orders", 6);
    let handled = gds_process::sync::Mutex::new(BTreeSet::new());
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for number in 0..MESSAGES {
                let partition = Some(i32::try_from(number % 6).expect("few"));
                publish(&hub, &Record { partition, ..record("orders", &number.to_le_bytes()) });
            }
        });
        for _ in 0..3 {
            scope.spawn(|| {
                while handled.lock().len() < MESSAGES {
                    // A life of some polls, the last of which is not committed.
                    let mut member = subscribe(&hub, &["orders"], Some("g"), Start::Earliest);
                    for _ in 0..20 {
                        let seen = poll(&mut *member, 50, Duration::from_millis(1));
                        let ends =
                            seen.iter().map(|(topic, partition, offset, _)| position(topic, *partition, offset + 1));
                        member.commit(&ends.collect::<Vec<_>>(), true).expect("nobody takes it before the next poll");
                        handled.lock().extend(seen.into_iter().map(|(.., value)| value));
                    }
                    poll(&mut *member, 50, Duration::ZERO);
                }
            });
        }
    });
    assert_eq!(handled.into_inner().len(), MESSAGES);
}
