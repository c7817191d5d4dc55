//! What every hub can do.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use crate::error::{Error, Result};
use crate::record::{Batch, Record};

/// A message hub: a place that others write to and read from.
pub trait Hub: Admin + Send + Sync + Debug {
    /// A way in. What becomes of each record published on it is told to `deliveries`.
    fn publisher(&self, deliveries: Arc<dyn Deliveries>) -> Result<Box<dyn Publisher>>;

    /// A way out.
    fn subscribe(&self, subscription: &Subscription) -> Result<Box<dyn Subscriber>>;

    /// Whether the hub answers. Waits for it for at most `patience`.
    fn check(&self, patience: Duration) -> Result<()>;
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
    /// A retriable error of kind [`Full`](crate::Kind::Full) asks to come again with the same record later.
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
}

/// Where to begin in a partition for which the group has committed nothing.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Start {
    /// With the oldest record there is.
    Earliest,
    /// With what is published from now on.
    #[default]
    Latest,
}

/// What to read, and as whom.
#[derive(Clone, Debug, Default)]
pub struct Subscription {
    /// Names of topics; one that begins with `^` is a regular expression.
    pub topics: Vec<String>,
    /// Members of a group share the partitions and go on where the group has committed. Without one there is no
    /// commit, and every partition is read.
    pub group: Option<String>,
    /// Where to begin without a commit.
    pub start: Start,
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
    /// Appends up to `max` messages to `batch`; returns when there are some, or after `patience` without.
    ///
    /// Messages that an earlier poll gave and that are no longer this member's are told by [`revoked`](Self::revoked).
    fn poll(&mut self, batch: &mut Batch, max: usize, patience: Duration) -> Result<()>;

    /// Partitions taken away since the last call; their messages that are not handled yet are to be left to others.
    fn revoked(&mut self) -> Vec<(Arc<str>, i32)>;

    /// Keeps the places for the group. With `wait`, returns when they are kept; else they are kept soon, and at close.
    fn commit(&mut self, positions: &[Position], wait: bool) -> Result<()>;

    /// Goes on at another place; the partition must be this member's.
    fn seek(&mut self, position: &Position) -> Result<()>;

    /// Leaves partitions out of polls, until [`resume`](Self::resume).
    fn pause(&mut self, partitions: &[(Arc<str>, i32)]) -> Result<()>;

    /// Takes partitions into polls again.
    fn resume(&mut self, partitions: &[(Arc<str>, i32)]) -> Result<()>;

    /// The partitions of this member.
    fn assignment(&self) -> Result<Vec<(Arc<str>, i32)>>;

    /// How far this member is behind the end, in each of its partitions.
    fn lag(&self, patience: Duration) -> Result<Vec<Lag>>;

    /// The hub's own figures, by name (bytes received, lag by partition); empty if it has none.
    fn statistics(&self) -> BTreeMap<String, f64> {
        BTreeMap::new()
    }

    /// Leaves the group. What was committed without waiting is kept before.
    fn close(&mut self) -> Result<()>;
}

/// How far a reader is behind.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Lag {
    /// The topic's name.
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

/// A topic to be made.
#[derive(Clone, Debug)]
pub struct NewTopic {
    /// Its name.
    pub name: String,
    /// How many partitions; at least 1.
    pub partitions: i32,
    /// How many brokers have a copy; -1 for the hub's default.
    pub replication: i32,
    /// Settings by Kafka's names, such as `retention.ms`.
    pub config: BTreeMap<String, String>,
}

/// A topic as it is.
#[derive(Clone, Debug)]
pub struct Topic {
    /// Its name.
    pub name: String,
    /// Its partitions, in order.
    pub partitions: Vec<Partition>,
}

/// A partition as it is.
#[derive(Clone, Copy, Debug)]
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
    fn create_topic(&self, topic: &NewTopic, patience: Duration) -> Result<()>;

    /// Removes a topic with all it holds.
    fn delete_topic(&self, name: &str, patience: Duration) -> Result<()>;

    /// All topics, or one.
    fn topics(&self, name: Option<&str>, patience: Duration) -> Result<Vec<Topic>>;

    /// How far a group is behind, in every partition it has committed in.
    fn lag(&self, group: &str, patience: Duration) -> Result<Vec<Lag>>;

    /// The names of all groups.
    fn groups(&self, patience: Duration) -> Result<Vec<String>>;
}
