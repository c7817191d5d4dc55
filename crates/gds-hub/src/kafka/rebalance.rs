//! Partitions that come and go, as librdkafka tells of them.
//!
//! librdkafka calls [`rebalanced`] from within a poll, on the thread of the reader, and waits for an answer, which is
//! given [later](super::membership): the reader is to finish with its partitions before they go, and they begin where
//! they are to begin.
#![allow(unsafe_code)] // each block says why it is sound

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ffi::c_void;
use std::ptr;

use rdkafka_sys as sys;
use sys::rd_kafka_resp_err_t as Code;

use super::native::{Handle, owned_text};
use super::partitions::{PartitionList, Place, checked, checked_error, lines};
use super::shared::{LogLevel, Shared};
use crate::hub::Change;

/// What changed in the partitions of a member, and what is to be committed for them.
#[derive(Default)]
pub(super) struct Rebalance {
    /// What librdkafka waits for an answer to, in order.
    pub(super) asked: VecDeque<Asked>,
    /// What the reader was not told yet.
    pub(super) changes: Vec<Change>,
    /// The partitions of this member.
    pub(super) owned: BTreeSet<Place>,
    /// Whether it was given some, or none, before.
    pub(super) joined: bool,
    /// Where partitions are to begin that were sought before they came.
    pub(super) wishes: BTreeMap<Place, i64>,
    /// Offsets that the group does not have yet, as far as is known.
    pub(super) pending: BTreeMap<Place, i64>,
    /// The consumer is leaving.
    pub(super) leaving: bool,
    /// Since then, librdkafka was told once to give up everything.
    given_up: bool,
}

/// Partitions to be taken or given up.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub(super) assigned: bool,
    pub(super) places: Vec<Place>,
    /// They may have a new reader already, whose commits are not to be turned back.
    pub(super) lost: bool,
    /// Whether the reader knows.
    pub(super) told: bool,
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

    /// Tells the reader of partitions that are to go; those that are lost are gone for it.
    pub(super) fn announce(&mut self) {
        if let Some(asked) = self.asked.front_mut()
            && !asked.assigned
            && !std::mem::replace(&mut asked.told, true)
        {
            let places = asked.places.clone();
            self.changes.push(if asked.lost { Change::Revoked(places) } else { Change::Revoking(places) });
        }
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

/// Keeps what is asked, to be answered; a consumer that leaves answers at once.
///
/// # Safety
/// Handle and list are alive.
pub(super) unsafe fn changed(
    rk: *mut sys::rd_kafka_t,
    code: i32,
    partitions: *mut sys::rd_kafka_topic_partition_list_t,
    shared: &Shared,
) {
    let assigned = code == Code::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS as i32;
    // SAFETY: handle and list are alive for the call.
    let (places, lost) = unsafe {
        let places: Vec<Place> = lines(partitions).into_iter().map(|line| (line.topic, line.partition)).collect();
        (places, !assigned && sys::rd_kafka_assignment_lost(rk) != 0)
    };
    let mut rebalance = shared.rebalance.lock();
    if !rebalance.leaving {
        rebalance.asked.push_back(Asked { assigned, places, lost, told: false });
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
    shared: &Shared,
) {
    // SAFETY: handle and list are alive for the call; a protocol's name is a constant; the list is copied.
    let result = unsafe {
        if sys::rd_kafka_consumer_closed(rk) != 0 || shared.rebalance.lock().settled() {
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
        shared.log(LogLevel::Error, "REBALANCE", &error.message);
    }
}
