//! A hub in a folder of its own, and short words for what tests do with it.

use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use gds_hub::embedded::{Embedded, EmbeddedOptions};
use gds_hub::{
    Batch, Change, Deliveries, Delivery, Error, Hub, NewTopic, Position, Publisher, Record, Start, Subscriber,
    Subscription,
};
use gds_process::sync::Mutex;
use tempfile::TempDir;

/// Nothing is waited for that ought to be there: this is for a machine that is busy with something else.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(30);

/// Partition and offset, or why not.
pub(crate) type Outcome = Result<(i32, i64), Error>;

/// Outcomes as they were told, with their ids.
#[derive(Default)]
pub(crate) struct RecordedOutcomes(pub(crate) Mutex<Vec<(u64, Outcome)>>);

impl Deliveries for RecordedOutcomes {
    fn delivered(&self, id: u64, place: &Delivery<'_>) {
        self.0.lock().push((id, Ok((place.partition, place.offset))));
    }

    fn failed(&self, id: u64, _record: &Record<'_>, error: &Error) {
        self.0.lock().push((id, Err(error.clone())));
    }
}

pub(crate) fn folder() -> TempDir {
    tempfile::tempdir().expect("a folder")
}

/// A hub that this process has, or another one if the tests are [run so](crate::served).
pub(crate) fn open(path: &Path) -> Embedded {
    crate::served::hold_if_asked(path);
    Embedded::open(path, EmbeddedOptions::default()).expect("opened")
}

pub(crate) fn create(hub: &Embedded, name: &str, partitions: i32) {
    use gds_hub::Admin;
    let topic =
        NewTopic { name: name.to_owned(), partitions, replication: -1, config: std::collections::BTreeMap::new() };
    hub.create_topic(&topic, TIMEOUT).expect("created");
}

pub(crate) fn record<'a>(topic: &'a str, value: &'a [u8]) -> Record<'a> {
    Record { topic, value: Some(value), timestamp: 1_700_000_000_000, ..Record::default() }
}

pub(crate) fn publisher(hub: &Embedded) -> (Box<dyn Publisher>, Arc<RecordedOutcomes>) {
    let told = Arc::new(RecordedOutcomes::default());
    (hub.publisher(told.clone()).expect("a publisher"), told)
}

/// Publishes one value, and says where it landed.
pub(crate) fn publish(hub: &Embedded, record: &Record<'_>) -> (i32, i64) {
    let (publisher, told) = publisher(hub);
    publisher.publish(7, record).expect("taken");
    publisher.handed_over();
    let (id, place) = told.0.lock().pop().expect("told at once");
    assert_eq!((id, publisher.in_flight()), (7, 0));
    place.expect("delivered")
}

pub(crate) fn subscribe(hub: &Embedded, topics: &[&str], group: Option<&str>, start: Start) -> Box<dyn Subscriber> {
    let topics = topics.iter().map(|topic| (*topic).to_owned()).collect();
    hub.subscribe(&Subscription { topics, group: group.map(str::to_owned), start, ..Subscription::default() })
        .expect("subscribed")
}

/// Topic, partition, offset and value.
pub(crate) type Seen = (String, i32, i64, Vec<u8>);

/// What one poll gives, or a second one that waits too: the first may only tell of partitions that came.
pub(crate) fn poll(subscriber: &mut dyn Subscriber, max: usize, timeout: Duration) -> Vec<Seen> {
    let mut batch = Batch::default();
    subscriber.poll(&mut batch, max, timeout).expect("polled");
    if batch.is_empty() && !timeout.is_zero() {
        subscriber.poll(&mut batch, max, timeout).expect("polled");
    }
    let seen = batch.iter().map(|message| {
        let value = message.value.unwrap_or_default().to_vec();
        (message.topic.to_string(), message.partition, message.offset, value)
    });
    seen.collect()
}

/// All there is to read now.
pub(crate) fn drain(subscriber: &mut dyn Subscriber) -> Vec<Seen> {
    let mut all = Vec::new();
    loop {
        let mut seen = poll(subscriber, 100, Duration::ZERO);
        if seen.is_empty() {
            // A poll that tells of partitions that are to go gives nothing else.
            subscriber.give_up().expect("given up");
            seen = poll(subscriber, 100, Duration::ZERO);
        }
        if seen.is_empty() {
            return all;
        }
        all.extend(seen);
    }
}

/// The partitions taken away since the last call.
pub(crate) fn revoked(subscriber: &mut dyn Subscriber) -> Vec<gds_hub::TopicPartition> {
    let gone = |change| if let Change::Revoked(places) = change { places } else { Vec::new() };
    subscriber.changes().into_iter().flat_map(gone).collect()
}

pub(crate) fn values(seen: &[Seen]) -> Vec<String> {
    seen.iter().map(|(.., value)| String::from_utf8_lossy(value).into_owned()).collect()
}

pub(crate) fn position(topic: &str, partition: i32, offset: i64) -> Position {
    Position { topic: Arc::from(topic), partition, offset }
}

/// Says what was acknowledged, one line for each and one write(2) for a line.
pub(crate) struct Aloud(pub(crate) Mutex<std::fs::File>);

impl Deliveries for Aloud {
    fn delivered(&self, id: u64, place: &Delivery<'_>) {
        let line = format!("sent {id} {} {}\n", place.partition, place.offset);
        self.0.lock().write_all(line.as_bytes()).expect("told");
    }

    fn failed(&self, _: u64, _: &Record<'_>, error: &Error) {
        panic!("{error}");
    }
}
