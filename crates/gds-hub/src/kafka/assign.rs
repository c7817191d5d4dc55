//! What is asked of a consumer: its partitions, where it is in them, and where to go on.
#![allow(unsafe_code)] // each block says why it is sound

use std::collections::{BTreeMap, BTreeSet};
use std::ptr;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use rdkafka_sys as sys;
use sys::rd_kafka_resp_err_t as Code;

use super::errors;
use super::native::{Handle, Queue, millis};
use super::partitions::{PartitionList, checked, checked_error};
use crate::error::Result;
use crate::hub::TopicPartition;

/// How long a partition that was only just assigned may take to be ready for a seek.
const SEEK_TIMEOUT: Duration = Duration::from_secs(10);
/// Between looks whether the group is left.
const CLOSE_PAUSE: Duration = Duration::from_millis(20);

pub(super) fn subscribe(handle: &Handle, topics: &BTreeSet<String>) -> Result<()> {
    if topics.is_empty() {
        // SAFETY: the handle is alive.
        return checked(unsafe { sys::rd_kafka_unsubscribe(handle.raw()) }, "unsubscribing");
    }
    let list = PartitionList::of(topics.iter().map(|topic| (topic.as_str(), -1, 0)))?;
    // SAFETY: handle and list are alive; the list is copied.
    checked(unsafe { sys::rd_kafka_subscribe(handle.raw(), list.raw()) }, "subscribing")
}

/// More partitions for a consumer without a group.
pub(super) fn add(handle: &Handle, list: &PartitionList) -> Result<()> {
    // SAFETY: handle and list are alive; the list is copied.
    unsafe { checked_error(sys::rd_kafka_incremental_assign(handle.raw(), list.raw()), "taking partitions") }
}

/// Fewer of them.
pub(super) fn remove(handle: &Handle, list: &PartitionList) -> Result<()> {
    // SAFETY: handle and list are alive; the list is copied.
    unsafe { checked_error(sys::rd_kafka_incremental_unassign(handle.raw(), list.raw()), "giving up partitions") }
}

/// What the group has committed.
pub(super) fn committed(
    handle: &Handle,
    places: &[TopicPartition],
    timeout: Duration,
) -> Result<BTreeMap<TopicPartition, i64>> {
    if places.is_empty() {
        return Ok(BTreeMap::new());
    }
    let list = PartitionList::of_places(places)?;
    // SAFETY: handle and list are alive; offsets are written into the list.
    let code = unsafe { sys::rd_kafka_committed(handle.raw(), list.raw(), millis(timeout)) };
    checked(code, "asking for committed offsets")?;
    list.error("asking for the committed offset")?;
    Ok(known(&list))
}

fn known(list: &PartitionList) -> BTreeMap<TopicPartition, i64> {
    let lines = list.lines().into_iter().filter(|line| line.code == 0 && line.offset >= 0);
    lines.map(|line| ((line.topic, line.partition), line.offset)).collect()
}

/// Sends a commit, whose answer comes into `answers`.
pub(super) fn commit(handle: &Handle, list: &PartitionList, answers: &Queue) -> Result<()> {
    // SAFETY: all are alive; the list is copied; without a callback the answer is an event.
    let code = unsafe { sys::rd_kafka_commit_queue(handle.raw(), list.raw(), answers.raw(), None, ptr::null_mut()) };
    checked(code, "the commit failed")
}

pub(super) fn seek(handle: &Handle, topic: &str, partition: i32, offset: i64) -> Result<()> {
    let end = Instant::now() + SEEK_TIMEOUT;
    loop {
        let list = PartitionList::of([(topic, partition, offset)])?;
        // SAFETY: handle and list are alive; the error returned is ours.
        unsafe {
            let left = millis(end.saturating_duration_since(Instant::now())).max(1);
            checked_error(sys::rd_kafka_seek_partitions(handle.raw(), list.raw(), left), "seeking")?;
        }
        // A partition is assigned a moment before librdkafka reads it, and cannot be moved in between.
        let starting = [Code::RD_KAFKA_RESP_ERR__STATE as i32, Code::RD_KAFKA_RESP_ERR__PREV_IN_PROGRESS as i32];
        let early = list.lines().iter().any(|line| starting.contains(&line.code));
        if !early || Instant::now() >= end {
            return list.error("seeking");
        }
        thread::sleep(Duration::from_millis(5));
    }
}

/// Leaves partitions out of polls, or takes them in again.
pub(super) fn pause(handle: &Handle, list: &PartitionList, pause: bool) -> Result<()> {
    // SAFETY: handle and list are alive; what went wrong is written into the list.
    let (code, what) = unsafe {
        if pause {
            (sys::rd_kafka_pause_partitions(handle.raw(), list.raw()), "pausing")
        } else {
            (sys::rd_kafka_resume_partitions(handle.raw(), list.raw()), "resuming")
        }
    };
    checked(code, what)?;
    list.error(what)
}

pub(super) fn assignment(handle: &Handle) -> Result<Vec<TopicPartition>> {
    let mut list = ptr::null_mut();
    // SAFETY: the handle is alive; the list returned is ours.
    let list = unsafe {
        checked(sys::rd_kafka_assignment(handle.raw(), &raw mut list), "asking for the assignment")?;
        PartitionList::from_raw(list)
    };
    let mut places: Vec<TopicPartition> = list.lines().into_iter().map(|line| (line.topic, line.partition)).collect();
    places.sort();
    Ok(places)
}

/// The next offset of each partition that was read.
pub(super) fn positions(handle: &Handle, places: &[TopicPartition]) -> Result<BTreeMap<TopicPartition, i64>> {
    let list = PartitionList::of_places(places)?;
    // SAFETY: handle and list are alive; offsets are written into the list.
    checked(unsafe { sys::rd_kafka_position(handle.raw(), list.raw()) }, "asking for positions")?;
    Ok(known(&list))
}

/// Leaves the group; rebalances happen in here. librdkafka's own way would wait without end.
pub(super) fn close(handle: &Arc<Handle>, timeout: Duration) -> Result<()> {
    handle.shared().rebalance.lock().leaving = true;
    let queue = handle.queue();
    // SAFETY: handle and queue are alive; the error returned is ours.
    unsafe { checked_error(sys::rd_kafka_consumer_close_queue(handle.raw(), queue.raw()), "leaving the group")? };
    let end = Instant::now() + timeout;
    // SAFETY: the handle is alive.
    while unsafe { sys::rd_kafka_consumer_closed(handle.raw()) } == 0 {
        if Instant::now() >= end {
            let reason = handle.shared().reason((errors::TIMED_OUT, "no answer")).1;
            return Err(errors::error(errors::TIMED_OUT, format!("the group could not be left in time: {reason}")));
        }
        // The end comes with an event too; messages that nobody waits for any more are dropped here.
        let Some(event) = queue.poll(CLOSE_PAUSE) else { continue };
        if event.kind() == sys::RD_KAFKA_EVENT_REBALANCE {
            // SAFETY: handle and event are alive, and the list with the event.
            unsafe {
                let list = sys::rd_kafka_event_topic_partition_list(event.raw());
                super::rebalance::changed(handle.raw(), event.code(), list, handle.shared());
            }
        }
    }
    Ok(())
}
