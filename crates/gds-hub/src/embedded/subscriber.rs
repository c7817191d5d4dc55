//! The way out of the embedded hub.

mod partitions;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use gds_process::clock::now_ms;
use gds_process::sync::Mutex;

use super::admin::lag;
use super::group::Group;
use super::meta;
use super::topic::Topic;
use super::topic_names::Selector;
use super::topics::unknown;
use super::{Core, OwnerGuard};
use crate::batch::Batch;
use crate::codec;
use crate::error::{Error, Result};
use crate::event::Listener;
use crate::hub::{Change, Lag, OffsetSpec, Position, Start, Subscriber, Subscription, TopicPartition};
use crate::log::Reader;

/// One poll takes no more than this from the disk, unless a single message is larger.
const POLL_BYTES: usize = 4 << 20;
/// Who may get partitions of a member that does not come back looks again after this time.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// Reads partitions in turn: all of its topics, or its share of them in a group.
#[derive(Debug)]
pub(super) struct EmbeddedSubscriber {
    core: Arc<Core>,
    selectors: Vec<Selector>,
    /// The group, of which it is a member unless partitions are assigned by hand.
    group: Option<String>,
    membership: Option<Membership>,
    start: Start,
    /// Where partitions ended when this began.
    ends: HashMap<TopicPartition, u64>,
    /// Where partitions are to begin that were sought before they came.
    wishes: HashMap<TopicPartition, u64>,
    owned: Vec<Owned>,
    /// Which partition is the first one read.
    turn: usize,
    changes: Vec<Change>,
    /// Some came in this poll.
    came: bool,
    /// Partitions that are to be given up, as was told.
    revoking: bool,
    /// The topics that `owned` was made of.
    topics_version: Option<u64>,
    closed: bool,
    _keep: OwnerGuard,
}

#[derive(Debug)]
struct Membership {
    group: Arc<Mutex<Group>>,
    id: u64,
    /// The group's at the last look.
    version: Option<u64>,
    waits: bool,
    /// There are others, one of which may stay away too long.
    has_others: bool,
}

#[derive(Debug)]
struct Owned {
    topic: Arc<Topic>,
    partition: i32,
    reader: Reader,
    paused: bool,
    /// It has nowhere to begin.
    homeless: bool,
}

impl Owned {
    fn is(&self, topic: &str, partition: i32) -> bool {
        self.partition == partition && *self.topic.name == *topic
    }

    fn place(&self) -> TopicPartition {
        (self.topic.name.clone(), self.partition)
    }
}

impl EmbeddedSubscriber {
    /// With the places where it was before, if it goes on: a member's are where the group began.
    pub(super) fn new(
        core: Arc<Core>,
        subscription: &Subscription,
        resumed: &[(TopicPartition, Option<i64>)],
        keep: OwnerGuard,
    ) -> Result<Self> {
        let selectors = subscription.topics.iter().map(|topic| Selector::parse(topic)).collect::<Result<Vec<_>>>()?;
        let mut ends = HashMap::new();
        let mut wishes = HashMap::new();
        for topic in core.topics.all() {
            for partition in 0..topic.len() {
                let place = (topic.name.clone(), partition);
                let end = topic.range(partition)?.1;
                if let Some((place, Some(offset))) = resumed.iter().find(|(resumed, _)| *resumed == place) {
                    // Behind the end is what was of a topic that was deleted.
                    wishes.extend(u64::try_from(*offset).ok().filter(|to| *to <= end).map(|to| (place.clone(), to)));
                }
                ends.insert(place, end);
            }
        }
        let group = subscription.group.clone();
        let membership = group.as_ref().filter(|_| !selectors.is_empty()).map(|name| {
            let (group, id) = (core.group(name), core.new_member());
            let mut joined = group.lock();
            joined.join(id, selectors.clone(), subscription.max_poll_interval);
            for (place, start) in wishes.drain() {
                joined.starts.entry(place).or_insert(start);
            }
            drop(joined);
            Membership { group, id, version: None, waits: false, has_others: false }
        });
        let start = subscription.start;
        let mut subscriber = Self {
            core,
            selectors,
            group,
            membership,
            start,
            ends,
            wishes,
            owned: Vec::new(),
            turn: 0,
            changes: Vec::new(),
            came: false,
            revoking: false,
            topics_version: None,
            closed: false,
            _keep: keep,
        };
        subscriber.core.changed.notify();
        subscriber.refresh()?;
        if subscriber.selectors.is_empty() {
            subscriber.take(&resumed.iter().map(|(place, _)| place.clone()).collect::<Vec<_>>())?;
        }
        Ok(subscriber)
    }

    /// Whether something happened to its partitions that was not told.
    pub(super) fn has_changes(&self) -> bool {
        !self.changes.is_empty()
    }

    /// Where to go on in a partition at the next process that has the hub, if nothing is committed: where it is, or a
    /// member where the group began.
    pub(super) fn resumes_at(&self, place: &TopicPartition) -> Option<i64> {
        let offset = if let Some(membership) = &self.membership {
            membership.group.lock().starts.get(place).copied()
        } else {
            let owned = self.owned.iter().find(|owned| owned.is(&place.0, place.1) && !owned.homeless);
            owned.map(|owned| owned.reader.position())
        };
        offset.and_then(|offset| i64::try_from(offset).ok())
    }

    fn check(&self) -> Result<()> {
        self.core.check()?;
        if self.closed {
            return Err(Error::Closed("the subscriber is closed; subscribe again".into()));
        }
        Ok(())
    }

    /// Reads what there is, from each partition in turn.
    fn fill(&mut self, batch: &mut Batch, max: usize) -> Result<()> {
        let before = (batch.len(), batch.bytes());
        let count = self.owned.len();
        for step in 0..count {
            let Owned { topic, partition, reader, paused, .. } = &mut self.owned[(self.turn + step) % count];
            let taken = |batch: &Batch| (batch.len() - before.0, batch.bytes() - before.1);
            let is_full = |batch: &Batch| taken(batch).0 >= max || taken(batch).1 >= POLL_BYTES;
            if is_full(batch) {
                self.turn = (self.turn + step) % count;
                return Ok(());
            }
            // Again where there were fewer messages than offsets.
            while !*paused && !is_full(batch) {
                let ((taken, bytes), from) = (taken(batch), reader.position());
                let up_to = from.saturating_add((max - taken) as u64);
                reader.next_batch(up_to, POLL_BYTES - bytes, |entry| {
                    // Its checksum is right: what is no record was never published here.
                    if let Ok((record, _)) = codec::read(entry.payload) {
                        let offset = i64::try_from(entry.offset).unwrap_or(i64::MAX);
                        batch.push(&topic.name, *partition, offset, Some(record.timestamp), &record);
                    }
                })?;
                if reader.position() == from {
                    break;
                }
            }
        }
        Ok(())
    }

    fn owned(&mut self, topic: &str, partition: i32) -> Result<&mut Owned> {
        let owned = self.owned.iter_mut().find(|owned| owned.is(topic, partition));
        owned.ok_or_else(|| not_owned(topic, partition))
    }

    fn set_paused(&mut self, partitions: &[TopicPartition], paused: bool) -> Result<()> {
        self.check()?;
        for (topic, partition) in partitions {
            self.owned(topic, *partition)?.paused = paused;
        }
        Ok(())
    }

    fn is_away(&self, away: bool) {
        if let Some(membership) = &self.membership {
            membership.group.lock().is_away(membership.id, away);
        }
    }

    fn poll_until(&mut self, batch: &mut Batch, max: usize, deadline: Option<Instant>) -> Result<()> {
        let before = batch.len();
        let core = Arc::clone(&self.core);
        // Only who has looked in vain listens, and looks once more.
        let mut listener: Option<Listener<'_>> = None;
        self.came = false;
        loop {
            self.refresh()?;
            if self.revoking || self.came {
                return Ok(());
            }
            self.all_begin()?;
            self.fill(batch, max)?;
            let now = Instant::now();
            if batch.len() > before || deadline.is_some_and(|deadline| now >= deadline) || core.ends() {
                return Ok(());
            }
            let looks = self.membership.as_ref().is_some_and(|membership| membership.waits || membership.has_others);
            let look_again = looks.then(|| now + LOOK_AGAIN);
            match &mut listener {
                Some(listener) => {
                    listener.wait([deadline, look_again].into_iter().flatten().min());
                }
                None => listener = Some(core.changed.listen()),
            }
        }
    }
}

fn not_owned(topic: &str, partition: i32) -> Error {
    let message = format!(
        "partition {partition} of topic {topic:?} is not assigned to this subscriber; it may have gone to another member"
    );
    Error::Message(message.into())
}

impl Subscriber for EmbeddedSubscriber {
    fn poll(&mut self, batch: &mut Batch, max: usize, timeout: Duration) -> Result<()> {
        self.check()?;
        if self.selectors.is_empty() && self.owned.is_empty() {
            return Err(Error::Config("there is nothing to read: give topics, or assign partitions".into()));
        }
        self.core.topics.look_after_quiet(now_ms());
        self.is_away(false);
        let polled = self.poll_until(batch, max.max(1), Instant::now().checked_add(timeout));
        self.is_away(true);
        polled
    }

    fn changes(&mut self) -> Vec<Change> {
        std::mem::take(&mut self.changes)
    }

    fn warnings(&self) -> Vec<String> {
        self.core.topics.failures().take()
    }

    fn give_up(&mut self) -> Result<()> {
        self.check()?;
        if self.revoking { self.refresh() } else { Ok(()) }
    }

    fn assign(&mut self, partitions: &[TopicPartition]) -> Result<()> {
        self.check()?;
        if !self.selectors.is_empty() {
            let message = "this consumer has topics, whose partitions it is given; make it without any to assign some";
            return Err(Error::Config(message.into()));
        }
        for (name, partition) in partitions {
            self.core.topics.get(name).ok_or_else(|| unknown(name))?.range(*partition)?;
        }
        self.take(partitions)
    }

    fn offsets_for_times(
        &self,
        times: &[(TopicPartition, i64)],
        _timeout: Duration,
    ) -> Result<Vec<(TopicPartition, Option<i64>)>> {
        self.check()?;
        let find = |(place, time): &(TopicPartition, i64)| {
            let topic = self.core.topics.get(&place.0).ok_or_else(|| unknown(&place.0))?;
            let found = topic.first_since(place.1, *time)?;
            Ok((place.clone(), found.map(|offset| i64::try_from(offset).unwrap_or(i64::MAX))))
        };
        times.iter().map(find).collect()
    }

    fn offsets(
        &self,
        partitions: &[TopicPartition],
        which: OffsetSpec,
        _timeout: Duration,
    ) -> Result<Vec<(TopicPartition, i64)>> {
        self.check()?;
        let find = |place: &TopicPartition| {
            let (first, end) = self.core.topics.get(&place.0).ok_or_else(|| unknown(&place.0))?.range(place.1)?;
            let offset = if which == OffsetSpec::Earliest { first } else { end };
            Ok((place.clone(), i64::try_from(offset).unwrap_or(i64::MAX)))
        };
        partitions.iter().map(find).collect()
    }

    fn commit(&mut self, positions: &[Position], _wait: bool) -> Result<()> {
        self.check()?;
        let Some(name) = &self.group else {
            return Err(Error::Config("a commit without a group; subscribe with one (group_id)".into()));
        };
        // Locked until the commit is kept: nobody begins there in between.
        let member = self.membership.as_ref().map(|membership| (membership.id, membership.group.lock()));
        let mut lost = None;
        let mut changes = Vec::with_capacity(positions.len());
        for Position { topic, partition, offset } in positions {
            let place = (topic.clone(), *partition);
            let ours = match &member {
                Some((id, group)) => group.owns(*id, &place),
                None => self.owned.iter().any(|owned| owned.is(topic, *partition)),
            };
            if !ours {
                lost = Some(not_owned(topic, *partition));
                continue;
            }
            let (_, end) = self.core.topics.get(topic).map_or(Ok((0, 0)), |topic| topic.range(*partition))?;
            if u64::try_from(*offset).is_ok_and(|offset| offset <= end) {
                let (group, topic) = (name.clone(), topic.to_string());
                changes.push(meta::Change::Commit { group, topic, partition: *partition, offset: *offset });
            } else {
                return Err(beyond(topic, *partition, *offset, end));
            }
        }
        if !changes.is_empty() {
            self.core.meta.lock().record(changes)?;
        }
        lost.map_or(Ok(()), Err)
    }

    fn seek(&mut self, position: &Position) -> Result<()> {
        self.check()?;
        let Position { topic, partition, offset } = position;
        let waits = self.membership.as_ref().is_some_and(|membership| membership.waits);
        let end = match self.core.topics.get(topic) {
            Some(known) => known.range(*partition)?.1,
            None => u64::MAX, // it may be made later
        };
        let to = u64::try_from(*offset).ok().filter(|offset| *offset <= end);
        let to = to.ok_or_else(|| beyond(topic, *partition, *offset, end))?;
        if let Some(owned) = self.owned.iter_mut().find(|owned| owned.is(topic, *partition)) {
            owned.reader.seek(to);
            owned.homeless = false;
            return Ok(());
        }
        let comes = waits || end == u64::MAX;
        if !comes || !self.selectors.iter().any(|by| by.selects(topic)) {
            return Err(not_owned(topic, *partition));
        }
        self.wishes.insert((topic.clone(), *partition), to);
        Ok(())
    }

    fn pause(&mut self, partitions: &[TopicPartition]) -> Result<()> {
        self.set_paused(partitions, true)
    }

    fn resume(&mut self, partitions: &[TopicPartition]) -> Result<()> {
        self.set_paused(partitions, false)
    }

    fn assignment(&self) -> Result<Vec<TopicPartition>> {
        self.check()?;
        let mut places: Vec<_> = self.owned.iter().map(Owned::place).collect();
        places.sort_unstable();
        Ok(places)
    }

    fn lag(&self, _timeout: Duration) -> Result<Vec<Lag>> {
        self.check()?;
        let position = |owned: &Owned| i64::try_from(owned.reader.position()).unwrap_or(i64::MAX);
        self.owned.iter().map(|owned| lag(&owned.topic, owned.partition, position(owned))).collect()
    }

    fn statistics(&self) -> BTreeMap<String, f64> {
        figures(self.lag(Duration::ZERO).unwrap_or_default())
    }

    fn close(&mut self) -> Result<()> {
        if !self.closed && self.core.is_here() {
            if let Some(membership) = &self.membership {
                membership.group.lock().leave(membership.id);
                self.core.changed.notify();
            }
            self.owned.clear();
        }
        self.closed = true;
        Ok(())
    }
}

impl Drop for EmbeddedSubscriber {
    fn drop(&mut self) {
        let _ = self.close(); // does not fail
    }
}

/// Lags as a subscriber's figures.
pub(super) fn figures(lags: Vec<Lag>) -> BTreeMap<String, f64> {
    let lags = lags.into_iter();
    lags.map(|lag| (format!("consumer_lag.{}.{}", lag.topic, lag.partition), lag.lag as f64)).collect()
}

fn beyond(topic: &str, partition: i32, offset: i64, end: u64) -> Error {
    let message = format!("offset {offset} of partition {partition} of topic {topic:?}; expected 0 to {end}, its end");
    Error::Message(message.into())
}
