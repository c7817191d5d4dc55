//! Partitions that come and go, as librdkafka tells of them.
//!
//! librdkafka calls [`rebalanced`] from within a poll, on the thread of the reader, and waits for an answer, which is
//! given [later](super::membership): the reader is to finish with its partitions before they go, and they begin where
//! they are to begin.
#![allow(unsafe_code)] // each block says why it is sound

use std::ffi::c_void;
use std::ptr;

use rdkafka_sys as sys;
use sys::rd_kafka_resp_err_t as Code;

use super::callbacks::LogLevel;
use super::context::ClientContext;
use super::membership_state::Asked;
use super::native::Handle;
use super::partitions::{PartitionList, checked, checked_error, lines};
use super::text::owned_text;
use crate::hub::TopicPartition;

/// librdkafka's callback.
pub(super) unsafe extern "C" fn rebalanced(
    rk: *mut sys::rd_kafka_t,
    code: Code,
    partitions: *mut sys::rd_kafka_topic_partition_list_t,
    opaque: *mut c_void,
) {
    // SAFETY: the opaque is the `ClientContext` that the handle owns until it is destroyed; handle and list are alive.
    unsafe { changed(rk, code as i32, partitions, &*opaque.cast::<ClientContext>()) }
}

/// Keeps what is asked, to be answered; a consumer that leaves answers at once.
///
/// # Safety
/// Handle and list are alive.
pub(super) unsafe fn changed(
    rk: *mut sys::rd_kafka_t,
    code: i32,
    partitions: *mut sys::rd_kafka_topic_partition_list_t,
    shared: &ClientContext,
) {
    let assigned = code == Code::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS as i32;
    // SAFETY: handle and list are alive for the call.
    let (places, lost) = unsafe {
        let places: Vec<TopicPartition> =
            lines(partitions).into_iter().map(|line| (line.topic, line.partition)).collect();
        (places, !assigned && sys::rd_kafka_assignment_lost(rk) != 0)
    };
    let mut rebalance = shared.rebalance.lock();
    if !rebalance.leaving {
        rebalance.asked.push_back(Asked { assigned, places, lost, announced: false });
        return;
    }
    drop(rebalance);
    // SAFETY: handle and list are alive for the call.
    unsafe { answered(rk, assigned, partitions, shared) }
}

/// Takes or gives up partitions.
pub(super) fn answer(handle: &Handle, assigned: bool, partitions: &PartitionList) {
    // SAFETY: handle and list are alive for the call.
    unsafe { answered(handle.raw(), assigned, partitions.raw(), handle.shared()) }
}

/// # Safety
/// Handle and list are alive.
unsafe fn answered(
    rk: *mut sys::rd_kafka_t,
    assigned: bool,
    partitions: *mut sys::rd_kafka_topic_partition_list_t,
    shared: &ClientContext,
) {
    // SAFETY: handle and list are alive for the call; a protocol's name is a constant; the list is copied.
    let result = unsafe {
        if sys::rd_kafka_consumer_closed(rk) != 0 || shared.rebalance.lock().is_answered() {
            return;
        }
        let cooperative = owned_text(sys::rd_kafka_rebalance_protocol(rk)) == "COOPERATIVE";
        match (assigned, cooperative) {
            (true, true) => checked_error(sys::rd_kafka_incremental_assign(rk, partitions), "assigning partitions"),
            (false, true) => checked_error(sys::rd_kafka_incremental_unassign(rk, partitions), "giving up partitions"),
            (true, false) => checked(sys::rd_kafka_assign(rk, partitions), "assigning partitions"),
            (false, false) => checked(sys::rd_kafka_assign(rk, ptr::null()), "giving up partitions"),
        }
    };
    if let Err(error) = result {
        shared.log(LogLevel::Error, "REBALANCE", error.message());
    }
}
