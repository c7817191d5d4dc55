//! Hubs, publishers and readers on a mock cluster.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::time::{Duration, Instant};

use gds_hub::kafka::mock::MockCluster;
use gds_hub::kafka::{Callbacks, Kafka};
use gds_hub::settings::{Role, Settings, Value};
use gds_hub::{
    Batch, Deliveries, Delivery, Error, Hub, OwnedHeader, Publisher, Record, Start, Subscriber, Subscription,
};
use gds_process::sync::Mutex;

pub(crate) const TIMEOUT: Duration = Duration::from_secs(30);

/// What became of a record.
#[derive(Debug)]
pub(crate) enum Outcome {
    Delivered {
        topic: String,
        partition: i32,
        offset: i64,
    },
    Failed {
        key: Option<Vec<u8>>,
        value: Option<Vec<u8>>,
        headers: Vec<OwnedHeader>,
        topic: String,
        timestamp: i64,
        error: Error,
    },
}

pub(crate) struct RecordedOutcomes {
    outcomes: Mutex<Sender<(u64, Outcome)>>,
    batches: AtomicUsize,
}

impl RecordedOutcomes {
    pub(crate) fn batches(&self) -> usize {
        self.batches.load(Ordering::SeqCst)
    }
}

impl Deliveries for RecordedOutcomes {
    fn delivered(&self, id: u64, place: &Delivery<'_>) {
        let (topic, partition) = (place.topic.to_owned(), place.partition);
        // The mock cluster says 1234 for the time, whatever it was.
        let outcome = Outcome::Delivered { topic, partition, offset: place.offset };
        let _ = self.outcomes.lock().send((id, outcome));
    }

    fn failed(&self, id: u64, record: &Record<'_>, error: &Error) {
        let owned = |bytes: Option<&[u8]>| bytes.map(<[u8]>::to_vec);
        let headers = record.headers.iter().map(|(name, value)| (name.to_owned(), owned(value))).collect();
        let (key, value, topic) = (owned(record.key), owned(record.value), record.topic.to_owned());
        let outcome = Outcome::Failed { key, value, headers, topic, timestamp: record.timestamp, error: error.clone() };
        let _ = self.outcomes.lock().send((id, outcome));
    }

    fn collected(&self) {
        self.batches.fetch_add(1, Ordering::SeqCst);
    }
}

pub(crate) fn given(pairs: &[(&str, Value)]) -> Vec<(String, Value)> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect()
}

pub(crate) fn text(text: &str) -> Value {
    Value::Text(text.to_owned())
}

/// One broker with a topic `t` of so many partitions.
pub(crate) fn cluster(partitions: i32) -> MockCluster {
    let cluster = MockCluster::start(1).unwrap();
    cluster.create_topic("t", partitions, 1).unwrap();
    cluster
}

pub(crate) fn open(
    role: Role,
    cluster: &MockCluster,
    keywords: &[(&str, Value)],
    librdkafka: &[(&str, Value)],
) -> Arc<Kafka> {
    open_with(role, &cluster.bootstrap_servers(), keywords, librdkafka, Callbacks::default())
}

pub(crate) fn open_with(
    role: Role,
    servers: &str,
    keywords: &[(&str, Value)],
    librdkafka: &[(&str, Value)],
    callbacks: Callbacks,
) -> Arc<Kafka> {
    let settings = Settings::parse(role, &[servers.to_owned()], &given(keywords), &given(librdkafka)).unwrap();
    Kafka::open(&settings, callbacks).unwrap()
}

pub(crate) fn sending(cluster: &MockCluster) -> Arc<Kafka> {
    open(Role::Producer, cluster, &[], &[])
}

pub(crate) fn reading(cluster: &MockCluster) -> Arc<Kafka> {
    open(Role::Consumer, cluster, &quick_group(), &[])
}

/// The mock cluster lets a group that has or had members wait for a second less than the session.
pub(crate) fn quick_group() -> [(&'static str, Value); 2] {
    [("session_timeout_ms", Value::Int(4000)), ("heartbeat_interval_ms", Value::Int(200))]
}

/// A way in, the outcomes of what goes in, and who is told of them.
pub(crate) type Sent = (Box<dyn Publisher>, Receiver<(u64, Outcome)>, Arc<RecordedOutcomes>);

pub(crate) fn publisher(hub: &Arc<Kafka>) -> Sent {
    let (send, receive) = mpsc::channel();
    let told = Arc::new(RecordedOutcomes { outcomes: Mutex::new(send), batches: AtomicUsize::new(0) });
    (hub.publisher(told.clone()).unwrap(), receive, told)
}

pub(crate) fn record<'a>(topic: &'a str, value: &'a [u8]) -> Record<'a> {
    Record { topic, value: Some(value), ..Record::default() }
}

/// Publishes texts into partition 0 and waits until they are there.
pub(crate) fn fill(cluster: &MockCluster, topic: &str, texts: impl IntoIterator<Item = String>) {
    let (publisher, outcomes, _) = publisher(&sending(cluster));
    let mut count = 0;
    for text in texts {
        let record = Record { partition: Some(0), ..record(topic, text.as_bytes()) };
        publisher.publish(count, &record).unwrap();
        count += 1;
    }
    for _ in 0..count {
        let (_, outcome) = outcomes.recv_timeout(TIMEOUT).unwrap();
        assert!(matches!(outcome, Outcome::Delivered { .. }), "{outcome:?}");
    }
}

pub(crate) fn numbers(count: usize) -> Vec<String> {
    (0..count).map(|number| number.to_string()).collect()
}

pub(crate) fn subscription(topics: &[&str], group: Option<&str>, start: Start) -> Subscription {
    let topics = topics.iter().map(|&topic| topic.to_owned()).collect();
    Subscription { topics, group: group.map(str::to_owned), start, ..Subscription::default() }
}

/// Polls until there are so many messages, or the time is over; gives their values.
pub(crate) fn read(reader: &mut dyn Subscriber, count: usize) -> Vec<String> {
    values(&read_batch(reader, count))
}

pub(crate) fn read_batch(reader: &mut dyn Subscriber, count: usize) -> Batch {
    let mut batch = Batch::default();
    let end = Instant::now() + TIMEOUT;
    while batch.len() < count && Instant::now() < end {
        let missing = count - batch.len();
        reader.poll(&mut batch, missing, Duration::from_millis(200)).unwrap();
    }
    batch
}

pub(crate) fn values(batch: &Batch) -> Vec<String> {
    batch.iter().map(|message| String::from_utf8_lossy(message.value.unwrap_or_default()).into_owned()).collect()
}
