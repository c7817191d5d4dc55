//! Taking messages from librdkafka: the hot path of reading.
#![allow(unsafe_code)] // each block says why it is sound

use std::ptr;
use std::time::Duration;

use rdkafka_sys as sys;

use super::errors;
use super::native::{Queue, millis};
use super::produce::{bytes, headers_of, topic_name};
use super::text::owned_text;
use crate::batch::Batch;
use crate::headers::Headers;
use crate::record::Record;

/// What came instead of a message.
pub(super) struct ConsumeEvent {
    pub(super) code: i32,
    pub(super) text: String,
    /// What it is about, if anything of the kind.
    pub(super) topic: String,
    pub(super) partition: i32,
}

/// Takes messages of librdkafka's queue in bulk.
#[derive(Debug, Default)]
pub(super) struct BatchConsumer {
    /// Empty between calls; its memory is used again.
    taken: Vec<*mut sys::rd_kafka_message_t>,
}

// SAFETY: empty between calls, so nothing is sent but memory.
unsafe impl Send for BatchConsumer {}

impl BatchConsumer {
    /// Appends copies of up to `max` messages. Waits up to `timeout` for the first, and for no other.
    ///
    /// Rebalances happen in here.
    pub(super) fn take(
        &mut self,
        queue: &Queue,
        batch: &mut Batch,
        max: usize,
        timeout: Duration,
    ) -> Vec<ConsumeEvent> {
        let mut notices = Vec::new();
        // librdkafka waits until it has all it was asked for; so what is there is taken first, without waiting, and
        // if there is nothing, one message is waited for.
        let mut count = self.some(queue, batch, max, Duration::ZERO, &mut notices);
        if count == 0 && notices.is_empty() && !timeout.is_zero() {
            count = self.some(queue, batch, 1, timeout, &mut notices);
            if count > 0 && max > count {
                self.some(queue, batch, max - count, Duration::ZERO, &mut notices);
            }
        }
        notices
    }

    fn some(
        &mut self,
        queue: &Queue,
        batch: &mut Batch,
        max: usize,
        timeout: Duration,
        notices: &mut Vec<ConsumeEvent>,
    ) -> usize {
        self.taken.resize(max, ptr::null_mut());
        // SAFETY: the queue is alive; the array has room for `max` pointers.
        let count =
            unsafe { sys::rd_kafka_consume_batch_queue(queue.raw(), millis(timeout), self.taken.as_mut_ptr(), max) };
        // -1 is an error of the call itself; there are no messages then.
        let count = usize::try_from(count).unwrap_or(0).min(max);
        let before = batch.len();
        for message in &self.taken[..count] {
            // SAFETY: a message that is ours: alive until it is destroyed, which happens once.
            unsafe {
                copy(*message, batch, notices);
                sys::rd_kafka_message_destroy(*message);
            }
        }
        self.taken.clear();
        batch.len() - before
    }
}

/// # Safety
/// The message is alive.
unsafe fn copy(message: *mut sys::rd_kafka_message_t, batch: &mut Batch, notices: &mut Vec<ConsumeEvent>) {
    // SAFETY: the caller's promise; the message's parts live as long as it. The number is read as one, as a newer
    // broker may send some that the type lacks.
    unsafe {
        let given = &*message;
        let code = (&raw const given.err).cast::<i32>().read();
        if code != 0 {
            let topic = topic_name(message);
            let text = owned_text(sys::rd_kafka_message_errstr(message));
            let text = if text.is_empty() { errors::text(code) } else { text };
            let text = match (topic.is_empty(), given.partition) {
                (true, _) => text,
                (false, ..0) => format!("topic {topic:?}: {text}"),
                (false, partition) => format!("topic {topic:?} partition {partition}: {text}"),
            };
            notices.push(ConsumeEvent { code, text, topic: topic.to_owned(), partition: given.partition });
            return;
        }
        let mut kind = sys::rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE;
        let timestamp = sys::rd_kafka_message_timestamp(message, &raw mut kind);
        let timestamp = (kind != sys::rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE).then_some(timestamp);
        let headers = headers_of(message);
        let record = Record {
            topic: "",
            partition: None,
            timestamp: timestamp.unwrap_or(-1),
            key: bytes(given.key, given.key_len),
            value: bytes(given.payload, given.len),
            headers: Headers::new(&headers),
        };
        batch.push(topic_name(message), given.partition, given.offset, timestamp, &record);
    }
}
