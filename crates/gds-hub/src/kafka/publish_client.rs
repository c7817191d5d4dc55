//! A client that publishes, and what a publisher shares with it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize};

use gds_process::sync::Mutex;

use super::Kafka;
use super::client::Client;
use super::produce::{self, Topics};
use crate::error::Result;
use crate::hub::Deliveries;
use crate::record::Record;

/// Sends records one by one that were refused together; made when first needed.
///
/// A broker's limit is on batches, and librdkafka does not know a topic's limit (max.message.bytes): where that is
/// less than batch.size, the broker refuses a batch of small records as too large. The Java client splits such a
/// batch; so does this. Their order among later records is lost, but not the records.
pub(super) type Single = Arc<Mutex<Option<PublishClient>>>;

/// What a publisher shares with the reports of its clients.
#[derive(Clone)]
pub(super) struct PublishContext {
    pub(super) kafka: Arc<Kafka>,
    pub(super) counters: Arc<Counters>,
    pub(super) deliveries: Arc<dyn Deliveries>,
    pub(super) single: Single,
}

/// A client and the topics it publishes to. Dropped in this order: topics are given back before their client ends.
pub(super) struct PublishClient {
    topics: Topics,
    pub(super) client: Client,
}

impl PublishClient {
    pub(super) fn new(client: Client) -> Self {
        Self { topics: Topics::new(client.handle().clone()), client }
    }

    pub(super) fn produce(&mut self, id: u64, record: &Record<'_>) -> Result<()> {
        self.topics.produce(id, record)
    }

    pub(super) fn purge(&self) {
        produce::purge(self.client.handle());
    }
}

#[derive(Default)]
pub(super) struct Counters {
    pub(super) in_flight: AtomicUsize,
    /// Bytes of keys and values of the same.
    pub(super) in_flight_bytes: AtomicUsize,
    /// Something was delivered since the client was made.
    pub(super) delivered: AtomicBool,
    /// The publisher is going: nothing is begun any more.
    pub(super) ending: AtomicBool,
}
