//! What a member of a group has and is asked for, as its callbacks, its reader and its context share it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::hub::{Change, TopicPartition};

/// What changed in the partitions of a member, and what is to be committed for them.
#[derive(Default)]
pub(super) struct Rebalance {
    /// What librdkafka waits for an answer to, in order.
    pub(super) asked: VecDeque<Asked>,
    /// What the reader was not told yet.
    pub(super) changes: Vec<Change>,
    /// The partitions of this member.
    pub(super) owned: BTreeSet<TopicPartition>,
    /// Whether it was given some, or none, before.
    pub(super) joined: bool,
    /// Where partitions are to begin that were sought before they came.
    pub(super) wishes: BTreeMap<TopicPartition, i64>,
    /// Offsets that the group does not have yet, as far as is known.
    pub(super) pending: BTreeMap<TopicPartition, i64>,
    /// The consumer is leaving.
    pub(super) leaving: bool,
    /// Since then, librdkafka was told once to give up everything.
    given_up: bool,
}

/// Partitions to be taken or given up.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub(super) assigned: bool,
    pub(super) places: Vec<TopicPartition>,
    /// They may have a new reader already, whose commits are not to be turned back.
    pub(super) lost: bool,
    /// Whether the reader knows.
    pub(super) announced: bool,
}

impl Rebalance {
    /// Whether librdkafka needs no word about this change any more.
    ///
    /// While a consumer leaves, librdkafka takes whatever it is told about partitions as "give up all", and ends the
    /// consumer soon after; to what it is told after that there is no answer, and the call would wait for ever.
    pub(super) fn is_answered(&mut self) -> bool {
        self.leaving && std::mem::replace(&mut self.given_up, true)
    }

    /// Those places that the group has now.
    pub(super) fn kept(&mut self, kept: &BTreeMap<TopicPartition, i64>) {
        self.pending.retain(|place, offset| kept.get(place) != Some(offset));
    }

    /// Tells the reader of partitions that are to go; those that are lost are gone for it.
    pub(super) fn announce(&mut self) {
        if let Some(asked) = self.asked.front_mut()
            && !asked.assigned
            && !std::mem::replace(&mut asked.announced, true)
        {
            let places = asked.places.clone();
            self.changes.push(if asked.lost { Change::Revoked(places) } else { Change::Revoking(places) });
        }
    }
}
