//! What every hub can do.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::batch::Batch;
use crate::error::{Error, Result};
use crate::record::Record;

/// A message hub: a place that others write to and read from.
pub trait Hub: Admin + Send + Sync + Debug {
    /// A way in. What becomes of each record published on it is told to `deliveries`.
    fn publisher(&self, deliveries: Arc<dyn Deliveries>) -> Result<Box<dyn Publisher>>;

    /// A way out.
    fn subscribe(&self, subscription: &Subscription) -> Result<Box<dyn Subscriber>>;

    /// Whether the hub answers. Waits for it for at most `timeout`.
    fn check(&self, timeout: Duration) -> Result<()>;
}

/// Told what became of published records, by a thread of the hub or from within a call of [`Publisher`]. Must not wait.
pub trait Deliveries: Send + Sync {
    /// The hub has it.
    fn delivered(&self, id: u64, place: &Delivery<'_>);

    /// The hub does not have it, or will not say; `record` is what was published.
    fn failed(&self, id: u64, record: &Record<'_>, error: &Error);

    /// No more of these for the moment: the time to pass on what was collected.
    fn collected(&self) {}
}

/// Where a record landed.
#[derive(Clone, Copy, Debug)]
pub struct Delivery<'a> {
    /// The topic's name.
    pub topic: &'a str,
    /// The partition it is in.
    pub partition: i32,
    /// Its place in the partition; -1 if the hub does not say (acks=0).
    pub offset: i64,
    /// Milliseconds since the epoch, as the hub keeps it.
    pub timestamp: i64,
}

/// A way into a hub, used by one thread at a time.
pub trait Publisher: Send + Sync + Debug {
    /// Hands over a copy of `record`, in order. Its outcome is told once, under `id`, unless this returns an error.
    ///
    /// A retriable [`Error::Full`] asks to come again with the same record later.
    fn publish(&self, id: u64, record: &Record<'_>) -> Result<()>;

    /// No more for the moment: the time to write what was collected.
    fn handed_over(&self) {}

    /// There are no more records: the time to send those that wait for others.
    fn idle(&self) {}

    /// Records handed over whose outcome was not told yet.
    fn in_flight(&self) -> usize;

    /// Gives up on what is in flight: each is told as failed (retriable), and those already on their way to the hub
    /// may land all the same.
    fn purge(&self);

    /// The hub's own figures, by name (queue depth, round trip, retries); empty if it has none.
    fn statistics(&self) -> BTreeMap<String, f64>;

    /// What went wrong in the hub itself and was not told to anybody: to be said to people.
    fn warnings(&self) -> Vec<String> {
        Vec::new()
    }
}

/// Where to begin in a partition for which the group has committed nothing.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub enum Start {
    /// With the oldest record there is.
    #[default]
    Earliest,
    /// With what is published from now on.
    Latest,
    /// With the first record of this time or later, in milliseconds since the epoch.
    At(i64),
    /// Nowhere: polls fail, and name the partition, until it was sought.
    Nowhere,
}

/// What to read, and as whom.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Subscription {
    /// Names of topics; one that begins with `^` is a regular expression. Without any, partitions are
    /// [assigned](Subscriber::assign) by hand.
    pub topics: Vec<String>,
    /// Members of a group share the partitions and go on where the group has committed. Without one there is no
    /// commit, and every partition is read.
    pub group: Option<String>,
    /// Where to begin without a commit.
    pub start: Start,
    /// A member of a group of the embedded hub that handles messages for longer than this loses its partitions to the
    /// others. Kafka has this from its settings.
    pub max_poll_interval: Duration,
}

impl Default for Subscription {
    fn default() -> Self {
        Self { topics: Vec::new(), group: None, start: Start::default(), max_poll_interval: Duration::from_secs(300) }
    }
}

/// A topic's name and the number of a partition.
pub type TopicPartition = (Arc<str>, i32);

/// What happens to the partitions of a reader.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Change {
    /// They are this reader's from now on, and none of their messages was given yet: the time to seek, pause, or restore
    /// what belongs to them. That may take longer than a poll, up to `max.poll.interval.ms`, after
    /// which the group gives them to others.
    Assigned(Vec<TopicPartition>),
    /// They will be given up, by [`give_up`](Subscriber::give_up) or the next poll: until then what was given of them can
    /// be committed.
    Revoking(Vec<TopicPartition>),
    /// They are this reader's no more; what is not handled yet is left to others.
    Revoked(Vec<TopicPartition>),
}

/// An end of a partition.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum OffsetSpec {
    /// The oldest record there is.
    Earliest,
    /// The next record to be published.
    Latest,
}

/// A place in a partition: the offset of the next record to read.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Position {
    /// The topic's name.
    pub topic: Arc<str>,
    /// The number of the partition.
    pub partition: i32,
    /// The offset of the next record.
    pub offset: i64,
}

/// A way out of a hub, used by one thread at a time.
///
/// Offsets are committed by [`commit`](Self::commit) only: what was polled and not committed comes again.
pub trait Subscriber: Send + Debug {
    /// Appends up to `max` messages to `batch`; returns when there are some, or after `timeout` without.
    ///
    /// It also returns when partitions are to be [given up](Self::give_up), and without messages when some
    /// [came](Change::Assigned): ask for [`changes`](Self::changes) after each poll.
    fn poll(&mut self, batch: &mut Batch, max: usize, timeout: Duration) -> Result<()>;

    /// What happened to the partitions since the last call, in order, as seen at the end of the last
    /// [`poll`](Self::poll), [`give_up`](Self::give_up) or [`assign`](Self::assign). A reader may have some before its
    /// first poll.
    fn changes(&mut self) -> Vec<Change>;

    /// Gives up, with what was committed of them kept before, the partitions that are [told](Change::Revoking) to be
    /// given up. The next poll does so too; others wait for them meanwhile.
    fn give_up(&mut self) -> Result<()>;

    /// Reads these partitions and no other from now on; only without topics in the subscription.
    fn assign(&mut self, partitions: &[TopicPartition]) -> Result<()>;

    /// How far the last poll came where more than the message before is behind it, such as the end of a transaction,
    /// which is no message. Only of use when all messages given so far are handled.
    fn passed(&self) -> Vec<Position> {
        Vec::new()
    }

    /// The first offset of each partition whose record is of that time, in milliseconds since the epoch, or later;
    /// none where there is no such record.
    fn offsets_for_times(
        &self,
        times: &[(TopicPartition, i64)],
        timeout: Duration,
    ) -> Result<Vec<(TopicPartition, Option<i64>)>>;

    /// The offset at one end of each partition.
    fn offsets(
        &self,
        partitions: &[TopicPartition],
        which: OffsetSpec,
        timeout: Duration,
    ) -> Result<Vec<(TopicPartition, i64)>>;

    /// Keeps the places for the group. With `wait`, returns when they are kept; else they are kept soon, and at close.
    fn commit(&mut self, positions: &[Position], wait: bool) -> Result<()>;

    /// Goes on at another place; the partition must be this member's, or the group not have given it any yet.
    fn seek(&mut self, position: &Position) -> Result<()>;

    /// Leaves partitions out of polls, until [`resume`](Self::resume).
    fn pause(&mut self, partitions: &[TopicPartition]) -> Result<()>;

    /// Takes partitions into polls again.
    fn resume(&mut self, partitions: &[TopicPartition]) -> Result<()>;

    /// The partitions of this member.
    fn assignment(&self) -> Result<Vec<TopicPartition>>;

    /// How far this member is behind the end, in each of its partitions.
    fn lag(&self, timeout: Duration) -> Result<Vec<Lag>>;

    /// What went wrong in the hub itself and was not told to anybody: to be said to people.
    fn warnings(&self) -> Vec<String> {
        Vec::new()
    }

    /// The hub's own figures, by name (bytes received, lag by partition); empty if it has none.
    fn statistics(&self) -> BTreeMap<String, f64> {
        BTreeMap::new()
    }

    /// Leaves the group. What was committed without waiting is kept before.
    fn close(&mut self) -> Result<()>;
}

/// How far a reader is behind.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Lag {
    /// The topic's name.
    #[serde(serialize_with = "write_name", deserialize_with = "read_name")]
    pub topic: Arc<str>,
    /// The number of the partition.
    pub partition: i32,
    /// The offset the reader reads next; none if it never committed or read one.
    pub position: Option<i64>,
    /// The offset of the next record to be published.
    pub end: i64,
    /// Records between the two; all there are, without a position.
    pub lag: i64,
}

// serde would share names across threads only with a feature that all crates of a program have to agree on.
fn write_name<S: Serializer>(name: &Arc<str>, serializer: S) -> std::result::Result<S::Ok, S::Error> {
    serializer.serialize_str(name)
}

fn read_name<'de, D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Arc<str>, D::Error> {
    String::deserialize(deserializer).map(Arc::from)
}

/// The error for a group that nobody knows, with the names most like it.
pub(crate) fn no_such_group(name: &str, known: &[String]) -> Error {
    let mut alike: Vec<&String> = known.iter().collect();
    alike.sort_by(|a, b| strsim::jaro_winkler(name, b).total_cmp(&strsim::jaro_winkler(name, a)));
    let alike: Vec<String> = alike.into_iter().take(5).map(|name| format!("{name:?}")).collect();
    let known = if alike.is_empty() { "none".to_owned() } else { alike.join(", ") };
    Error::Message(format!("there is no group {name:?}; groups there are, most like it first: {known}").into())
}

/// A topic to be made.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct NewTopic {
    /// Its name.
    pub name: String,
    /// How many partitions; at least 1.
    pub partitions: i32,
    /// How many brokers have a copy; -1 for the hub's default.
    pub replication: i32,
    /// Settings by Kafka's names, such as `retention.ms` and `cleanup.policy`.
    pub config: BTreeMap<String, String>,
}

/// A topic as it is.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Topic {
    /// Its name.
    pub name: String,
    /// Its partitions, in order.
    pub partitions: Vec<Partition>,
}

/// A partition as it is.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
pub struct Partition {
    /// Its number.
    pub id: i32,
    /// The broker that leads it; none if it has no leader now.
    pub leader: Option<i32>,
    /// How many brokers have a copy.
    pub replicas: usize,
    /// How many of them are in step.
    pub in_sync: usize,
    /// The offset of the oldest record.
    pub start: i64,
    /// The offset of the next record.
    pub end: i64,
}

/// Looking after topics.
pub trait Admin {
    /// Makes topics; those that exist are an error.
    fn create_topic(&self, topic: &NewTopic, timeout: Duration) -> Result<()>;

    /// Removes a topic with all it holds.
    fn delete_topic(&self, name: &str, timeout: Duration) -> Result<()>;

    /// Changes settings of a topic, by Kafka's names; those without a value go back to the hub's own.
    fn alter_topic(&self, name: &str, changes: &BTreeMap<String, Option<String>>, timeout: Duration) -> Result<()>;

    /// The settings of a topic as they are, by Kafka's names.
    fn topic_config(&self, name: &str, timeout: Duration) -> Result<BTreeMap<String, String>>;

    /// All topics, or one.
    fn topics(&self, name: Option<&str>, timeout: Duration) -> Result<Vec<Topic>>;

    /// How far a group is behind, in every partition it has committed in.
    fn lag(&self, group: &str, timeout: Duration) -> Result<Vec<Lag>>;

    /// The names of all groups.
    fn groups(&self, timeout: Duration) -> Result<Vec<String>>;
}
