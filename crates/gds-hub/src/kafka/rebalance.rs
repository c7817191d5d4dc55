//! Partitions that come and go, and the commits that belong to them.
//!
//! librdkafka calls [`rebalanced`] from within a poll, on the thread of the reader. What was to be committed for a
//! partition is committed before the partition is given up, so that its next reader goes on at the right place.
#![allow(unsafe_code)] // each block says why it is sound

use std::collections::BTreeMap;
use std::ffi::c_void;
use std::ptr;
use std::time::Duration;

use rdkafka_sys as sys;
use sys::rd_kafka_resp_err_t as Code;

use super::errors;
use super::native::{millis, owned_text};
use super::partitions::{PartitionList, Place, checked, checked_error, lines};
use super::shared::{LogLevel, Shared};
use crate::error::Result;

/// How long a partition is held back for its commit; the group waits meanwhile.
const COMMIT_PATIENCE: Duration = Duration::from_secs(10);

/// What changed in the partitions of a member, and what is to be committed for them.
#[derive(Default)]
pub(super) struct Rebalance {
    /// Taken away, not told yet.
    pub(super) revoked: Vec<Place>,
    /// Offsets that the group does not have yet, as far as is known.
    pub(super) pending: BTreeMap<Place, i64>,
    /// The consumer is leaving.
    pub(super) leaving: bool,
    /// Since then, librdkafka was told once to give up everything.
    given_up: bool,
}

impl Rebalance {
    /// Whether librdkafka needs no word about this change any more.
    ///
    /// While a consumer leaves, librdkafka takes whatever it is told about partitions as "give up all", and ends the
    /// consumer soon after; to what it is told after that there is no answer, and the call would wait for ever.
    fn settled(&mut self) -> bool {
        self.leaving && std::mem::replace(&mut self.given_up, true)
    }

    /// Those places that the group has now.
    pub(super) fn kept(&mut self, kept: &BTreeMap<Place, i64>) {
        self.pending.retain(|place, offset| kept.get(place) != Some(offset));
    }
}

/// librdkafka's callback.
pub(super) unsafe extern "C" fn rebalanced(
    rk: *mut sys::rd_kafka_t,
    code: Code,
    partitions: *mut sys::rd_kafka_topic_partition_list_t,
    opaque: *mut c_void,
) {
    // SAFETY: the opaque is the `Shared` that the handle owns until it is destroyed; handle and list are alive.
    unsafe { changed(rk, code as i32, partitions, &*opaque.cast::<Shared>()) }
}

/// Takes or gives up partitions.
///
/// # Safety
/// Handle and list are alive.
pub(super) unsafe fn changed(
    rk: *mut sys::rd_kafka_t,
    code: i32,
    partitions: *mut sys::rd_kafka_topic_partition_list_t,
    shared: &Shared,
) {
    // SAFETY: handle and list are alive for the call; a protocol's name is a constant.
    let (places, cooperative, closed) = unsafe {
        let places: Vec<Place> = lines(partitions).into_iter().map(|line| (line.topic, line.partition)).collect();
        let cooperative = owned_text(sys::rd_kafka_rebalance_protocol(rk)) == "COOPERATIVE";
        (places, cooperative, sys::rd_kafka_consumer_closed(rk) != 0)
    };
    let assigned = code == Code::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS as i32;
    if !assigned {
        // SAFETY: the handle is alive.
        let lost = unsafe { sys::rd_kafka_assignment_lost(rk) } != 0;
        let mut rebalance = shared.rebalance.lock();
        let mut last = BTreeMap::new();
        for place in &places {
            if let Some(offset) = rebalance.pending.remove(place) {
                last.insert(place.clone(), offset);
            }
        }
        rebalance.revoked.extend(places.iter().cloned());
        drop(rebalance);
        // What is lost may have a new reader already, whose commits are not to be turned back.
        if !lost && !closed && !last.is_empty() {
            // SAFETY: the handle is alive.
            if let Err(error) = unsafe { commit_now(rk, &last) } {
                shared.log(LogLevel::Warning, "COMMIT", &format!("{error}; some messages will be read again"));
            }
        }
    }
    if closed || shared.rebalance.lock().settled() {
        return;
    }
    // SAFETY: handle and list are alive for the call; the list is copied.
    let result = unsafe {
        match (assigned, cooperative) {
            (true, true) => checked_error(sys::rd_kafka_incremental_assign(rk, partitions), "assigning partitions"),
            (false, true) => checked_error(sys::rd_kafka_incremental_unassign(rk, partitions), "giving up partitions"),
            (true, false) => checked(sys::rd_kafka_assign(rk, partitions), "assigning partitions"),
            (false, false) => checked(sys::rd_kafka_assign(rk, ptr::null()), "giving up partitions"),
        }
    };
    if let Err(error) = result {
        shared.log(LogLevel::Error, "REBALANCE", &error.message);
    }
}

/// Commits, and waits for the answer.
///
/// # Safety
/// The handle is alive.
unsafe fn commit_now(rk: *mut sys::rd_kafka_t, offsets: &BTreeMap<Place, i64>) -> Result<()> {
    let list = PartitionList::of(offsets.iter().map(|((topic, partition), offset)| (&**topic, *partition, *offset)))?;
    // SAFETY: the handle is alive; the queue and the event are ours and destroyed once; the list is copied.
    let code = unsafe {
        let queue = sys::rd_kafka_queue_new(rk);
        let mut code = sys::rd_kafka_commit_queue(rk, list.raw(), queue, None, ptr::null_mut()) as i32;
        if code == 0 {
            let event = sys::rd_kafka_queue_poll(queue, millis(COMMIT_PATIENCE));
            code = errors::TIMED_OUT;
            if !event.is_null() {
                code = sys::rd_kafka_event_error(event) as i32;
                sys::rd_kafka_event_destroy(event);
            }
        }
        sys::rd_kafka_queue_destroy(queue);
        code
    };
    if code == 0 {
        return Ok(());
    }
    Err(errors::error(code, format!("the commit before giving up partitions failed: {}", errors::text(code))))
}
