//! The partitions of a reader of Kafka: taken where they are to begin, and given up when what was handled is committed.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use rdkafka_sys as sys;
use sys::rd_kafka_OffsetSpec_t as Spec;

use super::callbacks::LogLevel;
use super::membership_state::Asked;
use super::partitions::PartitionList;
use super::subscriber::KafkaSubscriber;
use super::{admin, assign, rebalance};
use crate::error::{Error, Result};
use crate::hub::{Change, Start, TopicPartition};

/// How long a partition is held back for its commit; the group waits meanwhile.
const COMMIT_TIMEOUT: Duration = Duration::from_secs(10);
/// Between two tries of it while the group does not take commits.
const REBALANCE_PAUSE: Duration = Duration::from_millis(50);
const REBALANCE_IN_PROGRESS: i32 = sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_REBALANCE_IN_PROGRESS as i32;
/// How long it may take to find out where partitions begin, at a time: nobody is listened to meanwhile.
const BEGIN_TIMEOUT: Duration = Duration::from_secs(2);

/// Where partitions begin, and those that have nowhere to begin.
struct Beginnings {
    list: PartitionList,
    homeless: Vec<TopicPartition>,
}

impl KafkaSubscriber {
    /// Answers what librdkafka waits for; of partitions that are to go the reader is told before.
    pub(super) fn settle(&mut self) -> Result<()> {
        loop {
            let asked = {
                let mut rebalance = self.client.shared().rebalance.lock();
                let Some(asked) = rebalance.asked.front().cloned() else { return Ok(()) };
                if !asked.assigned && !asked.announced {
                    rebalance.announce();
                    return Ok(());
                }
                asked
            };
            if asked.assigned {
                self.take_over(&asked)?;
            } else {
                self.hand_over(&asked)?;
            }
            self.client.shared().rebalance.lock().asked.pop_front();
        }
    }

    fn take_over(&mut self, asked: &Asked) -> Result<()> {
        let found = self.beginnings(&asked.places, self.start, BEGIN_TIMEOUT)?;
        rebalance::answer(self.client.handle(), true, &found.list);
        self.client.shared().rebalance.lock().joined = true;
        self.has(&asked.places, found.homeless)
    }

    /// These are this reader's from now on.
    fn has(&mut self, places: &[TopicPartition], homeless: Vec<TopicPartition>) -> Result<()> {
        {
            let mut rebalance = self.client.shared().rebalance.lock();
            rebalance.owned.extend(places.iter().cloned());
            rebalance.wishes.retain(|place, _| !places.contains(place));
            if !places.is_empty() {
                rebalance.changes.push(Change::Assigned(places.to_vec()));
                self.came = true;
            }
        }
        if !homeless.is_empty() {
            assign::pause(self.client.handle(), &PartitionList::of_places(&homeless)?, true)?;
            self.homeless.extend(homeless);
        }
        Ok(())
    }

    fn hand_over(&mut self, asked: &Asked) -> Result<()> {
        // What is lost may have a new reader already.
        if !asked.lost {
            self.commit_before(&asked.places);
        }
        self.has_no_more(&asked.places, asked.lost);
        rebalance::answer(self.client.handle(), false, &PartitionList::of_places(&asked.places)?);
        Ok(())
    }

    fn has_no_more(&mut self, places: &[TopicPartition], told: bool) {
        self.homeless.retain(|place| !places.contains(place));
        let mut rebalance = self.client.shared().rebalance.lock();
        for place in places {
            rebalance.owned.remove(place);
            rebalance.pending.remove(place);
        }
        if !told && !places.is_empty() {
            rebalance.changes.push(Change::Revoked(places.to_vec()));
        }
    }

    /// Has committed what is to be committed of partitions that go, so that their next reader goes on at the right
    /// place.
    fn commit_before(&mut self, places: &[TopicPartition]) {
        let end = Instant::now() + COMMIT_TIMEOUT;
        let waits = |reader: &Self| {
            let rebalance = reader.client.shared().rebalance.lock();
            places.iter().any(|place| rebalance.pending.contains_key(place))
        };
        let (mut failures, mut failed) = (0, None);
        // Again when one that was under way did not say all, once when one failed, and until the group, which gives
        // partitions anew, takes commits once more.
        while waits(self) && failures < 2 && Instant::now() < end {
            let left = end.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
            if let Err(error) = self.send_commit().and_then(|()| self.answered(left)) {
                if error.code() == Some(REBALANCE_IN_PROGRESS) {
                    std::thread::sleep(REBALANCE_PAUSE);
                } else {
                    failures += 1;
                }
                failed = Some(error);
            }
        }
        if waits(self)
            && let Some(error) = failed
        {
            let text = format!("before giving up partitions, {error}; some messages may be read again");
            self.client.log(LogLevel::Warning, "COMMIT", &text);
        }
    }

    /// Where these partitions begin: where they were sought, or the group has committed, or as the reader was told.
    fn beginnings(&self, places: &[TopicPartition], start: Start, timeout: Duration) -> Result<Beginnings> {
        let end = Instant::now() + timeout;
        let left = || end.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
        let handle = self.client.handle();
        let mut found: BTreeMap<TopicPartition, i64> = {
            let wishes = &self.client.shared().rebalance.lock().wishes;
            places.iter().filter_map(|place| Some((place.clone(), *wishes.get(place)?))).collect()
        };
        let missing = |found: &BTreeMap<TopicPartition, i64>| -> Vec<TopicPartition> {
            places.iter().filter(|place| !found.contains_key(*place)).cloned().collect()
        };
        let ask = |found: &mut BTreeMap<TopicPartition, i64>| -> Result<()> {
            if self.group {
                found.extend(assign::committed(handle, &missing(found), left())?);
            }
            match start {
                Start::Nowhere => {}
                Start::Earliest => {
                    found.extend(admin::offsets(handle, &missing(found), Spec::RD_KAFKA_OFFSET_SPEC_EARLIEST, left())?);
                }
                Start::Latest => {
                    found.extend(admin::offsets(handle, &missing(found), Spec::RD_KAFKA_OFFSET_SPEC_LATEST, left())?);
                }
                Start::At(time) => {
                    let times: Vec<_> = missing(found).into_iter().map(|place| (place, time)).collect();
                    found.extend(admin::offsets_at(handle, &times, left())?.into_iter().filter(|(_, at)| *at >= 0));
                    // Nothing is that late yet: what comes next is.
                    found.extend(admin::offsets(handle, &missing(found), Spec::RD_KAFKA_OFFSET_SPEC_LATEST, left())?);
                }
            }
            Ok(())
        };
        let asked = ask(&mut found);
        let homeless = if start == Start::Nowhere { missing(&found) } else { Vec::new() };
        if asked.is_ok() && !homeless.is_empty() {
            // They are held there: a partition that librdkafka still looks for a place in cannot be sought.
            found.extend(admin::offsets(handle, &homeless, Spec::RD_KAFKA_OFFSET_SPEC_EARLIEST, left())?);
        }
        let otherwise = match start {
            // librdkafka asks for what the group has committed, for as long as it takes.
            Start::Earliest | Start::Latest if self.group => i64::from(sys::RD_KAFKA_OFFSET_STORED),
            Start::Earliest => i64::from(sys::RD_KAFKA_OFFSET_BEGINNING),
            Start::Latest => i64::from(sys::RD_KAFKA_OFFSET_END),
            Start::At(_) | Start::Nowhere => {
                asked?;
                0
            }
        };
        let lines = places.iter().map(|place| (&*place.0, place.1, found.get(place).copied().unwrap_or(otherwise)));
        Ok(Beginnings { list: PartitionList::of(lines)?, homeless })
    }

    /// Reads more partitions than before, which no group gives.
    pub(super) fn take_up(&mut self, places: BTreeSet<TopicPartition>, start: Start, timeout: Duration) -> Result<()> {
        let new: Vec<TopicPartition> = {
            let owned = &self.client.shared().rebalance.lock().owned;
            places.into_iter().filter(|place| !owned.contains(place)).collect()
        };
        if new.is_empty() {
            return Ok(());
        }
        let found = self.beginnings(&new, start, timeout)?;
        assign::add(self.client.handle(), &found.list)?;
        self.has(&new, found.homeless)
    }

    /// Reads these partitions and no others.
    pub(super) fn take_by_hand(&mut self, places: &[TopicPartition]) -> Result<()> {
        let wanted: BTreeSet<TopicPartition> = places.iter().cloned().collect();
        let gone: Vec<TopicPartition> = {
            let owned = &self.client.shared().rebalance.lock().owned;
            owned.iter().filter(|place| !wanted.contains(place)).cloned().collect()
        };
        if !gone.is_empty() {
            self.commit_before(&gone);
            assign::remove(self.client.handle(), &PartitionList::of_places(&gone)?)?;
            self.has_no_more(&gone, false);
        }
        self.take_up(wanted, self.start, COMMIT_TIMEOUT)
    }

    /// Fails while there are partitions that have nowhere to begin.
    pub(super) fn all_begin(&self) -> Result<()> {
        let Some((topic, partition)) = self.homeless.first() else { return Ok(()) };
        let of =
            if self.group { "the group has committed no offset for" } else { "without a group there is no offset for" };
        Err(Error::Message(
            format!(
                "{of} partition {partition} of topic {topic:?}, and auto_offset_reset is \"none\": seek, or say \
                 \"earliest\" or \"latest\""
            )
            .into(),
        ))
    }
}
