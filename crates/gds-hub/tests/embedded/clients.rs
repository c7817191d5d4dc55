//! Publishing and reading.

use std::sync::Arc;
use std::time::{Duration, Instant};

use gds_hub::embedded::{Embedded, EmbeddedOptions};
use gds_hub::{Admin, Batch, Error, Headers, Record, Start, Subscriber, partition_for};

use crate::support::*;

#[test]
fn a_record_comes_out_as_it_went_in() {
    let dir = folder();
    let hub = open(dir.path());
    let headers = vec![("a".to_owned(), Some(b"1".to_vec())), ("a".to_owned(), None)];
    let sent = Record {
        topic: "orders",
        partition: None,
        timestamp: -5,
        key: Some(b"k"),
        value: None,
        headers: Headers::new(&headers),
    };
    assert_eq!(publish(&hub, &sent), (0, 0));
    assert_eq!(publish(&hub, &record("orders", b"")), (0, 1));
    let mut reader = subscribe(&hub, &["orders"], None, Start::Earliest);
    let mut batch = Batch::default();
    reader.poll(&mut batch, 10, Duration::ZERO).expect("polled");
    let message = batch.get(0).expect("a message");
    assert_eq!((&**message.topic, message.partition, message.offset), ("orders", 0, 0));
    assert_eq!((message.timestamp, message.key, message.value), (Some(-5), Some(&b"k"[..]), None));
    assert_eq!(message.headers.iter().collect::<Vec<_>>(), [("a", Some(&b"1"[..])), ("a", None)]);
    assert_eq!(batch.get(1).expect("another").value, Some(&b""[..]));
}

#[test]
fn keys_land_where_kafka_puts_them_and_the_rest_is_spread() {
    let dir = folder();
    let hub = open(dir.path());
    create(&hub, "orders", 5);
    let (publisher, told) = publisher(&hub);
    for number in 0..20_u8 {
        let key = [number; 3];
        let keyed = Record { key: Some(&key), ..record("orders", b"v") };
        publisher.publish(0, &keyed).expect("taken");
        publisher.handed_over();
        let expected = i32::try_from(partition_for(&key, 5)).expect("few");
        assert_eq!(told.0.lock().pop().expect("told").1.expect("delivered").0, expected);
    }
    for _ in 0..10 {
        publisher.publish(0, &record("orders", b"v")).expect("taken");
    }
    publisher.handed_over();
    let mut spread: Vec<_> = told.0.lock().iter().map(|(_, place)| place.clone().expect("delivered").0).collect();
    spread.sort_unstable();
    assert_eq!(spread, [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]);
}

#[test]
fn what_is_refused_is_told_and_leaves_nothing_behind() {
    let dir = folder();
    let hub = open(dir.path());
    create(&hub, "orders", 2);
    let (publisher, told) = publisher(&hub);
    let long = "x".repeat(250);
    for topic in ["", ".", "..", "a/b", "../up", "a b", "\0", "topic\n", "ä", &long] {
        publisher.publish(1, &record(topic, b"v")).expect("told otherwise");
        publisher.handed_over();
        let error = told.0.lock().pop().expect("told").1.expect_err("no such topic");
        assert!(
            matches!(error, Error::Message(_)) && !error.retriable() && error.message().contains("valid name"),
            "{error}"
        );
    }
    for partition in [2, -1, i32::MAX] {
        publisher.publish(1, &Record { partition: Some(partition), ..record("orders", b"v") }).expect("told otherwise");
        publisher.handed_over();
        let error = told.0.lock().pop().expect("told").1.expect_err("no such partition");
        assert!(error.message().contains("expected 0 "), "{error}");
    }
    let topics = Admin::topics(&hub, None, TIMEOUT).expect("topics");
    assert_eq!(topics.iter().map(|topic| &*topic.name).collect::<Vec<_>>(), ["orders"]);
    let longest = "y".repeat(249);
    assert_eq!(publish(&hub, &record(&longest, b"v")), (0, 0));
}

#[test]
fn a_new_reader_begins_with_the_oldest_or_with_what_comes() {
    let dir = folder();
    let hub = open(dir.path());
    publish(&hub, &record("orders", b"before"));
    let mut oldest = subscribe(&hub, &["orders"], None, Start::Earliest);
    let mut latest = subscribe(&hub, &["^.*"], None, Start::Latest);
    publish(&hub, &record("orders", b"after"));
    publish(&hub, &record("later", b"new"));
    assert_eq!(values(&drain(&mut *oldest)), ["before", "after"]);
    let mut seen = values(&drain(&mut *latest));
    seen.sort_unstable();
    assert_eq!(seen, ["after", "new"], "a topic that came later is read from its beginning");
}

#[test]
fn a_poll_waits_for_a_message_and_no_longer() {
    let dir = folder();
    let hub = open(dir.path());
    let mut reader = subscribe(&hub, &["orders"], None, Start::Latest);
    let begun = Instant::now();
    assert!(poll(&mut *reader, 1, Duration::from_millis(20)).is_empty());
    assert!(begun.elapsed() >= Duration::from_millis(20));
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| (poll(&mut *reader, 1, Duration::MAX), Instant::now()));
        publish(&hub, &record("orders", b"at last"));
        let (seen, _) = waiting.join().expect("no panic");
        assert_eq!(values(&seen), ["at last"]);
    });
}

#[test]
fn many_write_and_many_read_at_once() {
    const EACH: usize = 500;
    let dir = folder();
    let hub = open(dir.path());
    create(&hub, "orders", 3);
    std::thread::scope(|scope| {
        for writer in 0..4 {
            let hub = &hub;
            scope.spawn(move || {
                let (publisher, told) = publisher(hub);
                let key = [writer];
                for number in 0..EACH {
                    let value = format!("{writer}:{number:04}");
                    let keyed = Record { key: Some(&key), ..record("orders", value.as_bytes()) };
                    publisher.publish(0, &keyed).expect("taken");
                }
                publisher.handed_over();
                assert_eq!(publisher.in_flight(), 0);
                assert!(told.0.lock().iter().all(|(_, place)| place.is_ok()));
            });
        }
        for _ in 0..3 {
            scope.spawn(|| {
                let mut reader = subscribe(&hub, &["orders"], None, Start::Earliest);
                let mut seen = Vec::new();
                while seen.len() < 4 * EACH {
                    seen.extend(poll(&mut *reader, 100, TIMEOUT));
                }
                for writer in 0..4 {
                    let prefix = format!("{writer}:");
                    let of: Vec<_> = values(&seen).into_iter().filter(|value| value.starts_with(&prefix)).collect();
                    assert!(of.len() == EACH && of.is_sorted(), "the records of a key are in order");
                }
            });
        }
    });
}

#[test]
fn a_reader_seeks_pauses_and_knows_how_far_it_is_behind() {
    let dir = folder();
    let hub = open(dir.path());
    create(&hub, "orders", 2);
    for number in 0..10 {
        let value = number.to_string();
        publish(&hub, &Record { partition: Some(number % 2), ..record("orders", value.as_bytes()) });
    }
    let mut reader = subscribe(&hub, &["orders"], None, Start::Earliest);
    let topic: Arc<str> = Arc::from("orders");
    assert_eq!(reader.assignment().expect("assigned"), [(topic.clone(), 0), (topic.clone(), 1)]);
    reader.pause(&[(topic.clone(), 1)]).expect("paused");
    assert_eq!(values(&drain(&mut *reader)), ["0", "2", "4", "6", "8"]);
    let lags = |reader: &dyn Subscriber| -> Vec<_> {
        let lags = reader.lag(TIMEOUT).expect("known");
        lags.iter().map(|lag| (lag.partition, lag.position, lag.end, lag.lag)).collect()
    };
    assert_eq!(lags(&*reader), [(0, Some(5), 5, 0), (1, Some(0), 5, 5)]);
    let figures: Vec<_> = reader.statistics().into_iter().collect();
    assert_eq!(figures, [("consumer_lag.orders.0".to_owned(), 0.0), ("consumer_lag.orders.1".to_owned(), 5.0)]);
    reader.seek(&position("orders", 1, 4)).expect("sought");
    reader.seek(&position("orders", 0, 5)).expect("sought");
    reader.resume(&[(topic, 1)]).expect("resumed");
    assert_eq!(values(&drain(&mut *reader)), ["9"]);
    for (partition, offset) in [(0, 6), (0, -1), (5, 0)] {
        let error = reader.seek(&position("orders", partition, offset)).expect_err("nowhere");
        assert!(matches!(error, Error::Message(_)), "{error}");
    }
    let error = reader.commit(&[position("orders", 0, 1)], true).expect_err("no group");
    assert!(matches!(error, Error::Config(_)), "{error}");
    reader.close().expect("closed");
    assert!(matches!(reader.poll(&mut Batch::default(), 1, Duration::ZERO), Err(Error::Closed(_))));
}

#[test]
fn a_batch_is_no_longer_than_asked_and_every_partition_has_its_turn() {
    let dir = folder();
    let hub = open(dir.path());
    create(&hub, "orders", 3);
    for number in 0..30 {
        publish(&hub, &Record { partition: Some(number % 3), ..record("orders", b"v") });
    }
    let mut reader = subscribe(&hub, &["orders"], None, Start::Earliest);
    let sizes: Vec<_> = (0..4).map(|_| poll(&mut *reader, 8, Duration::ZERO).len()).collect();
    assert_eq!(sizes, [8, 8, 8, 6]);
    // One partition that always has something does not keep the others waiting.
    reader.seek(&position("orders", 0, 0)).expect("sought");
    reader.seek(&position("orders", 1, 0)).expect("sought");
    reader.seek(&position("orders", 2, 0)).expect("sought");
    let mut first = Vec::new();
    for _ in 0..3 {
        let seen = poll(&mut *reader, 10, Duration::ZERO);
        first.push(seen[0].1);
        reader.seek(&position("orders", seen[0].1, 0)).expect("sought");
    }
    first.sort_unstable();
    assert_eq!(first, [0, 1, 2]);
}

#[test]
fn what_a_subscription_asks_for_is_checked() {
    let dir = folder();
    let hub = open(dir.path());
    let refused = |topic: &str| {
        let subscription = gds_hub::Subscription { topics: vec![topic.to_owned()], ..Default::default() };
        gds_hub::Hub::subscribe(&hub, &subscription).err()
    };
    assert!(matches!(refused("a/b"), Some(Error::Message(_))));
    assert!(matches!(refused("^("), Some(Error::Config(_))));
    let error = Embedded::open(dir.path(), EmbeddedOptions { partitions: 0, ..EmbeddedOptions::default() });
    assert!(matches!(error, Err(Error::Config(_))));
}
