//! Messages on their way out.

use std::sync::Arc;

use crate::codec;
use crate::headers::Headers;
use crate::record::Record;

/// A record as it was read from a hub.
#[derive(Clone, Copy, Debug)]
pub struct Message<'a> {
    /// The topic's name.
    pub topic: &'a Arc<str>,
    /// The partition it is in.
    pub partition: i32,
    /// Its place in the partition.
    pub offset: i64,
    /// Milliseconds since the epoch; none if the hub has none.
    pub timestamp: Option<i64>,
    /// The key, if it has one.
    pub key: Option<&'a [u8]>,
    /// The value, if it has one.
    pub value: Option<&'a [u8]>,
    /// Name and value pairs.
    pub headers: Headers<'a>,
}

/// Messages of one poll, in the order to be handled; their bytes stand in one buffer that is used again.
#[derive(Debug, Default)]
pub struct Batch {
    bytes: Vec<u8>,
    entries: Vec<Entry>,
    topics: Vec<Arc<str>>,
}

#[derive(Debug)]
struct Entry {
    topic: usize,
    partition: i32,
    offset: i64,
    timestamp: Option<i64>,
    start: usize,
}

impl Batch {
    /// Takes a copy of a message; the topic's name is shared when it is that of a message before.
    pub fn push(&mut self, topic: &str, partition: i32, offset: i64, timestamp: Option<i64>, record: &Record<'_>) {
        let known = self.topics.iter().rposition(|known| &**known == topic);
        let topic = known.unwrap_or_else(|| {
            self.topics.push(Arc::from(topic));
            self.topics.len() - 1
        });
        let start = self.bytes.len();
        codec::write(&mut self.bytes, &Record { topic: "", ..*record });
        self.entries.push(Entry { topic, partition, offset, timestamp, start });
    }

    /// How many messages there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Bytes of all messages.
    pub fn bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Forgets the messages, keeps the memory.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.entries.clear();
    }

    /// One message.
    pub fn get(&self, index: usize) -> Option<Message<'_>> {
        let entry = self.entries.get(index)?;
        let (record, _) = codec::read(&self.bytes[entry.start..]).ok()?;
        Some(Message {
            topic: &self.topics[entry.topic],
            partition: entry.partition,
            offset: entry.offset,
            timestamp: entry.timestamp,
            key: record.key,
            value: record.value,
            headers: record.headers,
        })
    }

    /// Where a message is: its topic, partition and offset.
    pub(crate) fn place(&self, index: usize) -> Option<(&Arc<str>, i32, i64)> {
        let entry = self.entries.get(index)?;
        Some((&self.topics[entry.topic], entry.partition, entry.offset))
    }

    /// All messages in order.
    pub fn iter(&self) -> impl Iterator<Item = Message<'_>> {
        (0..self.len()).filter_map(|index| self.get(index))
    }
}
