//! Lists of partitions with offsets, as librdkafka takes and gives them.
#![allow(unsafe_code)] // each block says why it is sound

use std::ffi::c_int;
use std::sync::Arc;

use rdkafka_sys as sys;

use super::errors;
use super::text::{c_text, owned_text};
use crate::error::{Error, Result};
use crate::hub::TopicPartition;

/// One line of a list.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Line {
    pub(super) topic: Arc<str>,
    pub(super) partition: i32,
    pub(super) offset: i64,
    /// librdkafka's number of what went wrong with this one, 0 for nothing.
    pub(super) code: i32,
}

/// A list that is ours.
pub(super) struct PartitionList(*mut sys::rd_kafka_topic_partition_list_t);

// SAFETY: plain memory with one owner.
unsafe impl Send for PartitionList {}

impl PartitionList {
    pub(super) fn new() -> Self {
        // SAFETY: takes a number; aborts rather than returns null.
        Self(unsafe { sys::rd_kafka_topic_partition_list_new(0) })
    }

    /// Takes over a list that librdkafka made for us.
    ///
    /// # Safety
    /// The list is alive and no one else's.
    pub(super) unsafe fn from_raw(list: *mut sys::rd_kafka_topic_partition_list_t) -> Self {
        Self(list)
    }

    /// Of partitions with the offsets that go with them.
    pub(super) fn of<'a>(lines: impl IntoIterator<Item = (&'a str, i32, i64)>) -> Result<Self> {
        let mut list = Self::new();
        for (topic, partition, offset) in lines {
            list.add(topic, partition, offset)?;
        }
        Ok(list)
    }

    /// Of partitions, without offsets.
    pub(super) fn of_places(places: &[TopicPartition]) -> Result<Self> {
        const INVALID: i64 = sys::RD_KAFKA_OFFSET_INVALID as i64;
        Self::of(places.iter().map(|(topic, partition)| (&**topic, *partition, INVALID)))
    }

    pub(super) fn add(&mut self, topic: &str, partition: i32, offset: i64) -> Result<()> {
        let topic = c_text(topic, "the topic's name")?;
        // SAFETY: the list is alive; the name ends in NUL and is copied; the new line is alive while it is written.
        unsafe { (*sys::rd_kafka_topic_partition_list_add(self.0, topic.as_ptr(), partition)).offset = offset };
        Ok(())
    }

    pub(super) fn raw(&self) -> *mut sys::rd_kafka_topic_partition_list_t {
        self.0
    }

    pub(super) fn lines(&self) -> Vec<Line> {
        // SAFETY: the list is alive.
        unsafe { lines(self.0) }
    }

    /// The first thing that went wrong with one of them.
    pub(super) fn error(&self, what: &str) -> Result<()> {
        match self.lines().into_iter().find(|line| line.code != 0) {
            None => Ok(()),
            Some(line) => {
                let text = errors::text(line.code);
                let message = format!("{what} of {} partition {} failed: {text}", line.topic, line.partition);
                Err(errors::error(line.code, message))
            }
        }
    }
}

impl Drop for PartitionList {
    fn drop(&mut self) {
        // SAFETY: ours, destroyed once.
        unsafe { sys::rd_kafka_topic_partition_list_destroy(self.0) }
    }
}

/// Copies of the lines of a list.
///
/// # Safety
/// The list is null or alive.
pub(super) unsafe fn lines(list: *const sys::rd_kafka_topic_partition_list_t) -> Vec<Line> {
    if list.is_null() {
        return Vec::new();
    }
    let mut lines: Vec<Line> = Vec::new();
    // SAFETY: the list is alive and has as many lines as it says.
    let given = unsafe { slice((*list).elems, (*list).cnt) };
    for line in given {
        // SAFETY: the name ends in NUL. The number is read as one, as a broker may send some that the type lacks.
        let (topic, code) = unsafe { (owned_text(line.topic), (&raw const line.err).cast::<i32>().read()) };
        // Names of neighbours are mostly the same.
        let topic = match lines.last() {
            Some(last) if *last.topic == *topic => last.topic.clone(),
            _ => Arc::from(topic),
        };
        lines.push(Line { topic, partition: line.partition, offset: line.offset, code });
    }
    lines
}

/// An array of librdkafka's; it may be null when it is empty.
///
/// # Safety
/// `count` elements from `start` live for `'a`.
pub(super) unsafe fn slice<'a, T>(start: *const T, count: c_int) -> &'a [T] {
    let count = usize::try_from(count).unwrap_or(0);
    if start.is_null() || count == 0 {
        return &[];
    }
    // SAFETY: not null; the rest is the caller's promise.
    unsafe { std::slice::from_raw_parts(start, count) }
}

/// Turns librdkafka's number into a result.
pub(super) fn checked(code: sys::rd_kafka_resp_err_t, what: &str) -> Result<()> {
    match code as i32 {
        0 => Ok(()),
        code => Err(errors::error(code, format!("{what}: {}", errors::text(code)))),
    }
}

/// Turns librdkafka's error into a result, and frees it.
///
/// # Safety
/// The error is null, or alive and ours.
pub(super) unsafe fn checked_error(error: *mut sys::rd_kafka_error_t, what: &str) -> Result<()> {
    if error.is_null() {
        return Ok(());
    }
    // SAFETY: the caller's promise; the text is copied before the error goes.
    unsafe {
        let (code, text) = (sys::rd_kafka_error_code(error) as i32, owned_text(sys::rd_kafka_error_string(error)));
        sys::rd_kafka_error_destroy(error);
        Err(errors::error(code, format!("{what}: {text}")))
    }
}

/// That a partition is not this member's.
pub(super) fn not_ours(topic: &str, partition: i32) -> Error {
    Error::Message(format!("partition {partition} of topic {topic:?} is not assigned to this consumer").into())
}
