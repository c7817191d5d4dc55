//! The way out of a hub that another process has.

use std::cell::{RefCell, RefMut};
use std::collections::{BTreeMap, BTreeSet};
use std::mem;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::de::DeserializeOwned;

use super::link::{Link, TIMEOUT};
use super::protocol::{ChangeKind, PartitionOffset, Request};
use super::subscriber::figures;
use super::{EmbeddedOptions, HubFolder};
use crate::batch::Batch;
use crate::codec;
use crate::error::{Error, Result};
use crate::hub::{Change, Lag, OffsetSpec, Position, Subscriber, Subscription, TopicPartition};

/// How much later than asked for the answer to a poll may come.
const GRACE: Duration = Duration::from_secs(5);

/// Asks the process that has the hub, and goes on at the one after it.
#[derive(Debug)]
pub(super) struct RemoteSubscriber {
    home: HubFolder,
    state: RefCell<State>,
}

#[derive(Debug)]
struct State {
    link: Link,
    subscription: Subscription,
    held: BTreeMap<TopicPartition, AssignedPartition>,
    changes: Vec<Change>,
    /// Partitions are to be given up, as was told with the last answer.
    revoking: bool,
    closed: bool,
}

/// A partition that it reads.
#[derive(Debug)]
struct AssignedPartition {
    /// Where it goes on; for a member of a group where that began, if nothing is committed.
    offset: Option<i64>,
    paused: bool,
}

impl RemoteSubscriber {
    pub(super) fn new(home: HubFolder, options: EmbeddedOptions, subscription: &Subscription) -> Result<Self> {
        let mut state = State {
            link: Link::new(home.path.clone(), options),
            subscription: subscription.clone(),
            held: BTreeMap::new(),
            changes: Vec::new(),
            revoking: false,
            closed: false,
        };
        state.join(Instant::now().checked_add(TIMEOUT))?;
        Ok(Self { home, state: RefCell::new(state) })
    }

    fn state(&self) -> Result<RefMut<'_, State>> {
        self.home.check()?;
        let state = self.state.borrow_mut();
        if state.closed {
            return Err(Error::Closed("the subscriber is closed; subscribe again".into()));
        }
        Ok(state)
    }

    fn ask<T: DeserializeOwned>(&self, request: &Request, timeout: Duration) -> Result<T> {
        self.state()?.ask(request, Instant::now().checked_add(timeout))
    }
}

impl State {
    /// Whether it is a member of a group, which goes on where that has committed.
    fn is_member(&self) -> bool {
        self.subscription.group.is_some() && !self.subscription.topics.is_empty()
    }

    fn ask<T: DeserializeOwned>(&mut self, request: &Request, deadline: Option<Instant>) -> Result<T> {
        loop {
            if !self.link.is_connected() {
                self.join(deadline)?;
            }
            if let Some(reply) = self.link.ask(request, deadline)? {
                self.follow(reply.changes);
                return reply.outcome;
            }
        }
    }

    /// Subscribes at the process that has the hub now.
    fn join(&mut self, deadline: Option<Instant>) -> Result<()> {
        loop {
            self.link.connect(deadline)?;
            let resumed = self.held.iter().map(|(place, held)| PartitionOffset::new(place, held.offset)).collect();
            let request = Request::Subscribe { subscription: self.subscription.clone(), resumed };
            let Some(reply) = self.link.ask::<()>(&request, deadline)? else { continue };
            reply.outcome.inspect_err(|_| self.link.disconnect())?;
            self.rejoined(reply.changes);
            let paused =
                self.held.iter().filter(|(_, held)| held.paused).map(|(place, _)| PartitionOffset::new(place, None));
            let pause = Request::Pause(paused.collect());
            if let Some(reply) = self.link.ask::<()>(&pause, deadline)? {
                return reply.outcome;
            }
        }
    }

    /// What it reads there is what it was given there; a member begins anew with all.
    fn rejoined(&mut self, changes: Vec<(ChangeKind, Vec<PartitionOffset>)>) {
        let places = changes.iter().flat_map(|(_, places)| places).filter(|_| !self.is_member());
        let kept: BTreeSet<_> = places.map(PartitionOffset::pair).collect();
        let gone: Vec<_> = self.held.keys().filter(|place| !kept.contains(*place)).cloned().collect();
        self.held.retain(|place, _| kept.contains(place));
        if !gone.is_empty() {
            self.changes.push(Change::Revoked(gone));
        }
        self.follow(changes);
    }

    fn follow(&mut self, changes: Vec<(ChangeKind, Vec<PartitionOffset>)>) {
        self.revoking = false;
        for (kind, places) in changes {
            let mut pairs: Vec<_> = places.iter().map(PartitionOffset::pair).collect();
            match kind {
                ChangeKind::Assigned => {
                    pairs.retain(|pair| !self.held.contains_key(pair)); // it went on with the others
                    for place in &places {
                        self.held
                            .entry(place.pair())
                            .or_insert(AssignedPartition { offset: place.offset, paused: false });
                    }
                    if !pairs.is_empty() {
                        self.changes.push(Change::Assigned(pairs));
                    }
                }
                ChangeKind::Revoking => {
                    self.revoking = true;
                    self.changes.push(Change::Revoking(pairs));
                }
                ChangeKind::Revoked => {
                    self.held.retain(|place, _| !pairs.contains(place));
                    self.changes.push(Change::Revoked(pairs));
                }
            }
        }
    }

    /// Asks for messages once; where it has just subscribed, what came is told before any of them.
    fn poll(&mut self, request: &Request, deadline: Option<Instant>, batch: &mut Batch) -> Result<()> {
        let Some(reply) = self.link.ask::<()>(request, deadline)? else { return self.join(deadline) };
        self.follow(reply.changes);
        reply.outcome?;
        self.take(batch);
        Ok(())
    }

    /// Takes the messages of the answer.
    fn take(&mut self, batch: &mut Batch) {
        let Some(wire) = self.link.wire() else { return };
        let mut ends: Vec<(TopicPartition, i64)> = Vec::new();
        let mut data = wire.data();
        while let Some((offset, rest)) = data.split_first_chunk()
            && let Ok((record, taken)) = codec::read(rest)
        {
            data = &rest[taken..];
            let (offset, partition) = (i64::from_le_bytes(*offset), record.partition.unwrap_or(0));
            batch.push(record.topic, partition, offset, Some(record.timestamp), &record);
            match ends.last_mut() {
                Some(((topic, last), end)) if **topic == *record.topic && *last == partition => *end = offset + 1,
                _ => ends.push(((Arc::from(record.topic), partition), offset + 1)),
            }
        }
        wire.forget();
        for (place, end) in ends {
            self.goes_on(&place, end);
        }
    }

    /// Without a group it goes on there, wherever the hub is.
    fn goes_on(&mut self, place: &TopicPartition, offset: i64) {
        let member = self.is_member();
        if let Some(held) = self.held.get_mut(place).filter(|_| !member) {
            held.offset = Some(offset);
        }
    }

    fn set_paused(&mut self, places: &[TopicPartition], paused: bool) -> Result<()> {
        let request = if paused { Request::Pause } else { Request::Resume };
        self.ask::<()>(&request(PartitionOffset::all(places)), Instant::now().checked_add(TIMEOUT))?;
        for place in places {
            if let Some(held) = self.held.get_mut(place) {
                held.paused = paused;
            }
        }
        Ok(())
    }
}

impl Subscriber for RemoteSubscriber {
    fn poll(&mut self, batch: &mut Batch, max: usize, timeout: Duration) -> Result<()> {
        let mut state = self.state()?;
        let before = batch.len();
        let deadline = Instant::now().checked_add(timeout);
        loop {
            let left = deadline.map_or(TIMEOUT, |deadline| deadline.saturating_duration_since(Instant::now()));
            let told = state.changes.len();
            match state.poll(&Request::Poll { max, timeout: left }, Instant::now().checked_add(left + GRACE), batch) {
                // Nobody has the hub for the moment, or does not come to answer: there is nothing to read now.
                Err(error) if matches!(error, Error::Timeout(_)) && error.retriable() => {}
                polled => polled?,
            }
            let is_over = deadline.is_some_and(|deadline| Instant::now() >= deadline);
            if batch.len() > before || state.changes.len() > told || is_over {
                return Ok(());
            }
        }
    }

    fn changes(&mut self) -> Vec<Change> {
        mem::take(&mut self.state.get_mut().changes)
    }

    fn give_up(&mut self) -> Result<()> {
        let revoking = self.state()?.revoking;
        if revoking { self.ask(&Request::GiveUp, TIMEOUT) } else { Ok(()) }
    }

    fn assign(&mut self, partitions: &[TopicPartition]) -> Result<()> {
        self.ask(&Request::Assign(PartitionOffset::all(partitions)), TIMEOUT)
    }

    fn offsets_for_times(
        &self,
        times: &[(TopicPartition, i64)],
        timeout: Duration,
    ) -> Result<Vec<(TopicPartition, Option<i64>)>> {
        let places = times.iter().map(|(place, time)| PartitionOffset::new(place, Some(*time))).collect();
        let found: Vec<Option<i64>> = self.ask(&Request::OffsetsForTimes(places), timeout)?;
        Ok(times.iter().map(|(place, _)| place.clone()).zip(found).collect())
    }

    fn offsets(
        &self,
        partitions: &[TopicPartition],
        which: OffsetSpec,
        timeout: Duration,
    ) -> Result<Vec<(TopicPartition, i64)>> {
        let found: Vec<i64> = self.ask(&Request::Offsets(PartitionOffset::all(partitions), which), timeout)?;
        Ok(partitions.iter().cloned().zip(found).collect())
    }

    fn commit(&mut self, positions: &[Position], _wait: bool) -> Result<()> {
        let request = Request::Commit(positions.iter().map(PartitionOffset::of).collect());
        let deadline = Instant::now().checked_add(TIMEOUT);
        let mut state = self.state()?;
        if !state.is_member() {
            return state.ask(&request, deadline);
        }
        if let Some(reply) = state.link.ask(&request, deadline)? {
            state.follow(reply.changes);
            return reply.outcome;
        }
        // Others may have gone on there meanwhile: it is not to set them back.
        state.join(deadline)?;
        let message = "the hub has gone to another process, where the group goes on from what was committed before";
        Err(Error::Message(message.into()))
    }

    fn seek(&mut self, position: &Position) -> Result<()> {
        self.ask::<()>(&Request::Seek(PartitionOffset::of(position)), TIMEOUT)?;
        let place = (position.topic.clone(), position.partition);
        self.state()?.goes_on(&place, position.offset);
        Ok(())
    }

    fn pause(&mut self, partitions: &[TopicPartition]) -> Result<()> {
        self.state()?.set_paused(partitions, true)
    }

    fn resume(&mut self, partitions: &[TopicPartition]) -> Result<()> {
        self.state()?.set_paused(partitions, false)
    }

    fn assignment(&self) -> Result<Vec<TopicPartition>> {
        let places: Vec<PartitionOffset> = self.ask(&Request::Assignment, TIMEOUT)?;
        Ok(places.iter().map(PartitionOffset::pair).collect())
    }

    fn lag(&self, timeout: Duration) -> Result<Vec<Lag>> {
        self.ask(&Request::Lag, timeout)
    }

    fn statistics(&self) -> BTreeMap<String, f64> {
        figures(self.lag(GRACE).unwrap_or_default())
    }

    fn close(&mut self) -> Result<()> {
        let state = self.state.get_mut();
        if !state.closed && self.home.is_here() {
            let deadline = Instant::now().checked_add(GRACE);
            let _ = state.link.ask::<()>(&Request::Close, deadline); // where it is gone, so is the membership
            state.link.leave();
        }
        state.closed = true;
        Ok(())
    }
}

impl Drop for RemoteSubscriber {
    fn drop(&mut self) {
        let _ = self.close(); // does not fail
    }
}
