//! The way into the embedded hub.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use gds_process::clock::now_ms;
use gds_process::sync::Mutex;

use super::topic::Topic;
use super::{Core, OwnerGuard};
use crate::codec;
use crate::error::{Error, Result};
use crate::hub::{Deliveries, Delivery, Publisher};
use crate::partition::partition_for;
use crate::record::Record;

/// Memory for encoding is given back when a record took more than this.
const KEEP_BYTES: usize = 1 << 20;

/// Appends each record before it returns, and tells its outcome on the way.
pub(super) struct EmbeddedPublisher {
    core: Arc<Core>,
    deliveries: Arc<dyn Deliveries>,
    /// Where the next record without a key goes.
    turn: AtomicU32,
    buffer: Mutex<Vec<u8>>,
    _keep: OwnerGuard,
}

/// Who published a record, and which of its records it is: so that one whose acknowledgement was lost is known again.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Mark {
    pub(super) publisher: u64,
    pub(super) number: u64,
}

impl Mark {
    /// The one that [`Display`](fmt::Display) wrote.
    pub(super) fn read(text: &str) -> Option<Self> {
        let (publisher, number) = text.split_once('.')?;
        let [Ok(publisher), Ok(number)] = [publisher, number].map(|text| u64::from_str_radix(text, 16)) else {
            return None;
        };
        Some(Self { publisher, number })
    }
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}.{:x}", self.publisher, self.number)
    }
}

impl fmt::Debug for EmbeddedPublisher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EmbeddedPublisher").field("core", &self.core).finish_non_exhaustive()
    }
}

impl EmbeddedPublisher {
    pub(super) fn new(core: Arc<Core>, deliveries: Arc<dyn Deliveries>, keep: OwnerGuard) -> Self {
        let turn = AtomicU32::new(gds_process::random::random());
        Self { core, deliveries, turn, buffer: Mutex::default(), _keep: keep }
    }

    fn partition(&self, topic: &Topic, record: &Record<'_>) -> i32 {
        if let Some(partition) = record.partition {
            return partition;
        }
        let partitions = topic.len().unsigned_abs();
        let partition = match record.key {
            _ if partitions == 1 => 0,
            Some(key) => partition_for(key, partitions),
            None => self.turn.fetch_add(1, Ordering::Relaxed) % partitions,
        };
        partition.cast_signed()
    }

    /// Appends a record; where it landed. `mark` is kept with it.
    pub(super) fn append(&self, record: &Record<'_>, mark: &str) -> Result<(Arc<Topic>, i32, u64)> {
        let mut buffer = self.buffer.lock();
        buffer.clear();
        // Topic and partition are those of the log; where the topic has its place is room for the mark.
        codec::write(&mut buffer, &Record { topic: mark, partition: None, ..*record });
        loop {
            let topic = self.core.topic_for(record.topic)?;
            let partition = self.partition(&topic, record);
            let now_ms = now_ms();
            if let Some(offset) = topic.append(partition, now_ms, &buffer)? {
                self.core.topics.look_after_quiet(now_ms);
                if buffer.capacity() > KEEP_BYTES {
                    *buffer = Vec::new();
                }
                return Ok((topic, partition, offset));
            }
        }
    }
}

impl Publisher for EmbeddedPublisher {
    fn publish(&self, id: u64, record: &Record<'_>) -> Result<()> {
        self.core.check()?;
        match self.append(record, "") {
            Ok((topic, partition, offset)) => {
                self.core.changed.notify();
                let offset = i64::try_from(offset).unwrap_or(i64::MAX);
                let place = Delivery { topic: &topic.name, partition, offset, timestamp: record.timestamp };
                self.deliveries.delivered(id, &place);
            }
            // There may be room later, and those behind it must not overtake this one.
            Err(error) if error.retriable() => return Err(Error::Full(error.into_failure())),
            Err(error) => self.deliveries.failed(id, record, &error),
        }
        self.deliveries.collected();
        Ok(())
    }

    fn in_flight(&self) -> usize {
        0
    }

    fn purge(&self) {}

    fn statistics(&self) -> BTreeMap<String, f64> {
        self.core.statistics()
    }

    fn warnings(&self) -> Vec<String> {
        self.core.topics.failures().take()
    }
}
