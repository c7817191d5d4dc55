//! The message hub: topics of keyed records that many write and many read.
//!
//! One contract, [`Hub`], and two hubs that keep it: Kafka and a durable log on one machine. In front of either stands
//! the [`producer`]: it takes records without waiting, holds them in memory or in a spool on disk until the hub has
//! them, and tells what became of each. Behind either stands the [`consumer`]: it gives messages to a program, and commits
//! what that has finished with. Nothing here knows Python or metrics.

mod batch;
pub mod codec;
pub mod consumer;
pub mod embedded;
mod error;
mod event;
mod headers;
mod hub;
pub mod kafka;
pub mod log;
mod opening;
mod partition;
mod private;
pub mod producer;
mod record;
pub mod settings;
mod sync;

pub use batch::{Batch, Message};
pub use error::{Error, Failure, Result};
pub use headers::{Headers, HeadersIter, OwnedHeader};
pub use hub::{
    Admin, Change, Deliveries, Delivery, Hub, Lag, NewTopic, OffsetSpec, Partition, Position, Publisher, Start,
    Subscriber, Subscription, Topic, TopicPartition,
};
pub use opening::open;
pub use partition::{murmur2, partition_for};
pub use record::{Record, check_topic};
