use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use gds_hub::settings::{Role, Value};
use gds_hub::{Error, Headers, Hub, OwnedHeader, Publisher, Record, Start};

use crate::support::{Outcome, TIMEOUT, cluster, open, publisher, read_batch, reading, record, sending, subscription};

/// Outcomes are told one by one and taken off the count together.
fn wait_delivered(publisher: &dyn Publisher) {
    let end = Instant::now() + TIMEOUT;
    while publisher.in_flight() > 0 {
        assert!(Instant::now() < end, "{} in flight", publisher.in_flight());
        std::thread::yield_now();
    }
}

#[test]
fn records_arrive_as_they_were_sent() {
    let cluster = cluster(4);
    let hub = sending(&cluster);
    hub.check(TIMEOUT).unwrap();
    let (publisher, outcomes, told) = publisher(&hub);
    let murmur = i32::try_from(gds_hub::partition_for(b"foobar", 4)).unwrap();
    let (next, last) = ((murmur + 1) % 4, (murmur + 2) % 4);
    let headers: Vec<OwnedHeader> = vec![
        ("a".to_owned(), Some(b"1".to_vec())),
        ("a".to_owned(), None),
        ("empty".to_owned(), Some(Vec::new())),
        ("\u{fc}\u{2603}".to_owned(), Some(vec![0, 255])),
    ];
    let first = Record { key: Some(b"foobar"), timestamp: 1_500_000_000_123, ..record("t", b"x") };
    // An id may be any number.
    let sent: Vec<(u64, Record<'_>)> = vec![
        (0, Record { headers: Headers::new(&headers), ..first }),
        (u64::MAX, Record { partition: Some(next), timestamp: 1, value: None, key: Some(b""), ..record("t", b"") }),
        (1 << 40, Record { partition: Some(last), timestamp: 2, ..record("t", b"") }),
    ];
    for (id, record) in &sent {
        publisher.publish(*id, record).unwrap();
    }
    let mut places = BTreeMap::new();
    for _ in &sent {
        let (id, outcome) = outcomes.recv_timeout(TIMEOUT).unwrap();
        let Outcome::Delivered { topic, partition, offset } = outcome else { panic!("{outcome:?}") };
        assert_eq!((topic.as_str(), offset), ("t", 0));
        places.insert(id, partition);
    }
    let expected = [(0, murmur), (u64::MAX, next), (1 << 40, last)];
    assert_eq!(places, BTreeMap::from(expected));
    wait_delivered(publisher.as_ref());
    let end = Instant::now() + TIMEOUT;
    while told.batches() == 0 {
        assert!(Instant::now() < end, "no end of a batch");
        std::thread::yield_now();
    }

    let mut reader = reading(&cluster).subscribe(&subscription(&["t"], None, Start::Earliest)).unwrap();
    let batch = read_batch(reader.as_mut(), 3);
    assert_eq!(batch.len(), 3);
    for message in batch.iter() {
        let (_, record) = sent.iter().find(|(id, _)| places[id] == message.partition).unwrap();
        assert_eq!((message.key, message.value), (record.key, record.value));
        assert_eq!((&**message.topic, message.timestamp), ("t", Some(record.timestamp)));
        assert!(message.headers.iter().eq(record.headers.iter()));
    }
}

#[test]
fn keys_land_where_the_java_client_puts_them() {
    let cluster = cluster(7);
    let (publisher, outcomes, _) = publisher(&sending(&cluster));
    for id in 0..200_u64 {
        let key = format!("key-{id}");
        publisher.publish(id, &Record { key: Some(key.as_bytes()), ..record("t", b"x") }).unwrap();
    }
    for _ in 0..200 {
        let (id, outcome) = outcomes.recv_timeout(TIMEOUT).unwrap();
        let Outcome::Delivered { partition, .. } = outcome else { panic!("{outcome:?}") };
        let expected = gds_hub::partition_for(format!("key-{id}").as_bytes(), 7);
        assert_eq!(u32::try_from(partition).unwrap(), expected, "key-{id}");
    }
}

#[test]
fn a_record_that_is_too_large_is_refused_at_once_and_the_next_goes() {
    let cluster = cluster(1);
    let hub = open(Role::Producer, &cluster, &[("max_request_size", Value::Int(10_000))], &[]);
    let (publisher, outcomes, _) = publisher(&hub);
    let error = publisher.publish(1, &record("t", &vec![b'x'; 20_000])).unwrap_err();
    assert!(matches!(error, Error::Message(_)) && error.code() == Some(10) && !error.retriable(), "{error}");
    assert!(error.message().contains("20000") && error.message().contains("max_request_size"), "{error}");
    assert!(matches!(publisher.publish(1, &record("", b"x")), Err(Error::Message(_))));
    assert!(matches!(publisher.publish(1, &record("a\0b", b"x")), Err(Error::Message(_))));
    publisher.publish(2, &record("t", b"small")).unwrap();
    let (id, outcome) = outcomes.recv_timeout(TIMEOUT).unwrap();
    assert!(id == 2 && matches!(outcome, Outcome::Delivered { .. }), "{outcome:?}");
    wait_delivered(publisher.as_ref());
}

#[test]
fn what_the_broker_refuses_comes_back_whole_and_is_not_retriable() {
    let cluster = cluster(1);
    let hub = open(Role::Producer, &cluster, &[("enable_idempotence", Value::Bool(false))], &[]);
    let (publisher, outcomes, _) = publisher(&hub);
    // Invalid record, too large, topic not authorised.
    for code in [87, 10, 29] {
        // Too large is asked about twice: see the next test.
        let times = if code == 10 { 2 } else { 1 };
        cluster.push_request_errors("Produce", &vec![code; times]).unwrap();
        let headers = [("h".to_owned(), Some(b"1".to_vec())), ("n".to_owned(), None)];
        let headers_of = Headers::new(&headers);
        let record =
            Record { key: Some(b"k"), headers: headers_of, timestamp: 1_500_000_000_123, ..record("t", b"value") };
        publisher.publish(7, &record).unwrap();
        let (id, outcome) = outcomes.recv_timeout(TIMEOUT).unwrap();
        let Outcome::Failed { key, value, headers: back, topic, timestamp, error } = outcome else {
            panic!("{outcome:?}")
        };
        assert_eq!((id, key.as_deref(), value.as_deref()), (7, Some(&b"k"[..]), Some(&b"value"[..])));
        assert_eq!((back.as_slice(), topic.as_str(), timestamp), (&headers[..], "t", 1_500_000_000_123));
        assert!(matches!(error, Error::Message(_)) && error.code() == Some(code), "{error}");
        assert!(!error.retriable() && !error.fatal(), "{error}");
    }
    // librdkafka remembers the last one; the broker, asked again, knows no such thing any more.
    publisher.publish(9, &record("t", b"after")).unwrap();
    let (id, outcome) = outcomes.recv_timeout(TIMEOUT).unwrap();
    assert!(id == 9 && matches!(outcome, Outcome::Delivered { offset: 0, .. }), "{outcome:?}");
}

#[test]
fn a_batch_that_is_too_large_is_sent_in_parts() {
    let cluster = cluster(1);
    let (publisher, outcomes, _) = publisher(&sending(&cluster));
    cluster.broker_rtt(1, Duration::from_millis(50)).unwrap();
    // The first batch, however many it holds, and the first record sent alone.
    cluster.push_request_errors("Produce", &[10, 10]).unwrap();
    for id in 0..100 {
        publisher.publish(id, &record("t", id.to_string().as_bytes())).unwrap();
    }
    let (mut landed, mut refused) = (BTreeSet::new(), Vec::new());
    for _ in 0..100 {
        match outcomes.recv_timeout(TIMEOUT).unwrap() {
            (id, Outcome::Delivered { .. }) => assert!(landed.insert(id)),
            (id, Outcome::Failed { error, .. }) => refused.push((id, error.code())),
        }
    }
    assert_eq!((landed.len(), refused.len()), (99, 1));
    assert_eq!(refused[0].1, Some(10));
    wait_delivered(publisher.as_ref());
}

#[test]
fn trouble_of_the_moment_is_gone_through_in_order_and_without_duplicates() {
    let cluster = cluster(1);
    let hub = open(Role::Producer, &cluster, &[("retry_backoff_ms", Value::Int(10))], &[]);
    let (publisher, outcomes, _) = publisher(&hub);
    // Not the leader, not enough replicas, request timed out, and a connection that is closed.
    cluster.push_request_errors("Produce", &[6, 19, 7, -195]).unwrap();
    for id in 0..100 {
        publisher.publish(id, &record("t", b"x")).unwrap();
    }
    for expected in 0..100_u64 {
        let (id, outcome) = outcomes.recv_timeout(TIMEOUT).unwrap();
        let Outcome::Delivered { offset, .. } = outcome else { panic!("{outcome:?}") };
        assert_eq!((id, offset), (expected, i64::try_from(expected).unwrap()));
    }
}

#[test]
fn with_the_broker_away_the_queue_fills_and_purging_tells_of_every_record() {
    let cluster = cluster(1);
    let hub = open(Role::Producer, &cluster, &[], &[("queue.buffering.max.messages", Value::Int(50))]);
    let (publisher, outcomes, _) = publisher(&hub);
    cluster.broker_down(1).unwrap();
    let mut taken = 0;
    let error = loop {
        match publisher.publish(taken, &Record { timestamp: 7, ..record("t", b"x") }) {
            Ok(()) => taken += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(error, Error::Full(_)) && error.retriable() && taken == 50, "{taken}: {error}");
    assert_eq!(publisher.in_flight(), 50);
    publisher.purge();
    let mut told = BTreeSet::new();
    for _ in 0..taken {
        let (id, outcome) = outcomes.recv_timeout(TIMEOUT).unwrap();
        assert!(matches!(&outcome, Outcome::Failed { timestamp: 7, error, .. } if error.retriable()), "{outcome:?}");
        told.insert(id);
    }
    assert_eq!(told.len(), 50);
    // And it goes on with the broker's return.
    cluster.broker_up(1).unwrap();
    let end = Instant::now() + TIMEOUT;
    // librdkafka counts records until what told of them is let go of, which is a moment after it was told.
    while let Err(error) = publisher.publish(99, &record("t", b"x")) {
        assert!(matches!(error, Error::Full(_)) && Instant::now() < end, "{error}");
        std::thread::yield_now();
    }
    let (id, outcome) = outcomes.recv_timeout(TIMEOUT).unwrap();
    assert!(id == 99 && matches!(outcome, Outcome::Delivered { .. }), "{outcome:?}");
}

#[test]
fn a_publisher_that_is_dropped_tells_of_every_record() {
    let cluster = cluster(1);
    cluster.broker_down(1).unwrap();
    let (publisher, outcomes, _) = publisher(&sending(&cluster));
    for id in 0..1000 {
        publisher.publish(id, &record("t", b"x")).unwrap();
    }
    drop(publisher);
    let told: BTreeSet<u64> = outcomes.try_iter().map(|(id, _)| id).collect();
    assert_eq!(told.len(), 1000);
}

#[test]
fn what_is_not_delivered_in_time_says_why() {
    let cluster = cluster(1);
    cluster.broker_down(1).unwrap();
    let hub = open(Role::Producer, &cluster, &[("delivery_timeout_ms", Value::Int(1000))], &[]);
    let (publisher, outcomes, _) = publisher(&hub);
    publisher.publish(1, &record("t", b"x")).unwrap();
    let (_, outcome) = outcomes.recv_timeout(TIMEOUT).unwrap();
    let Outcome::Failed { error, .. } = outcome else { panic!("{outcome:?}") };
    assert!(matches!(error, Error::Timeout(_)) && error.retriable(), "{error}");
    assert!(error.message().contains("1s") && error.message().contains("refused"), "{error}");
}

#[test]
fn figures_are_told() {
    let cluster = cluster(1);
    let hub = open(Role::Producer, &cluster, &[], &[("statistics.interval.ms", Value::Int(100))]);
    let (publisher, outcomes, _) = publisher(&hub);
    publisher.publish(1, &record("t", b"x")).unwrap();
    outcomes.recv_timeout(TIMEOUT).unwrap();
    let end = Instant::now() + TIMEOUT;
    while publisher.statistics().get("sent_messages_total").is_none_or(|count| *count < 1.0) {
        assert!(Instant::now() < end, "{:?}", publisher.statistics());
        std::thread::park_timeout(Duration::from_millis(10));
    }
    assert!(publisher.statistics()["brokers_up"] >= 1.0);
}
