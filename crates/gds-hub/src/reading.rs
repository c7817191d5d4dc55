//! Messages fetched from a hub, and how far a program has come with them.
//!
//! A program reads in loops. A message, or a list of them, that was given out is *open* until the loop asks for more, or
//! says that it is handled; then it is *finished*. Only what is finished is committed by itself. What a loop left open,
//! because its body raised or was left, comes again in the next loop, as it would after a restart.
//!
//! ```text
//! batch   | accounted | finished | open | not given yet |
//!                                ^start ^next
//! ```

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::ops::Range;
use std::time::{Duration, Instant};

use crate::batch::{Batch, Message};
use crate::error::{Error, ErrorKind, Result};
use crate::hub::{Change, Lag, Position, Subscriber, TopicPartition};

type Offsets = HashMap<TopicPartition, i64>;

/// What a program is reading; used by one thread at a time.
pub struct Reading {
    /// None once it is closed.
    subscriber: Option<Box<dyn Subscriber>>,
    /// Finished places are committed this often; none if the program does so itself, or there is no group.
    every: Option<Duration>,
    /// Whether the program wants to hear of partitions that come and go.
    listens: bool,
    batch: Batch,
    next: usize,
    /// Messages before this one are in `finished` as far as they are.
    accounted: usize,
    open: Option<Open>,
    /// The places after a list that is open and whose messages are not kept any more.
    aside: Offsets,
    /// From which message of the batch on those of a partition are not given out: it was sought, paused or revoked.
    gone: HashMap<TopicPartition, usize>,
    /// Messages that are not given out, nor again: left out, or committed while they were open.
    done: BTreeSet<usize>,
    /// Offsets the hub was not told of yet.
    finished: Offsets,
    /// Offsets known to be finished, told or not.
    position: Offsets,
    /// Where partitions go on after a seek, until a message of theirs was given out.
    sought: Offsets,
    passed_on: Instant,
    changes: Vec<Change>,
    revoked: u64,
}

/// What was given out and is not finished.
#[derive(Clone, Copy, Debug)]
struct Open {
    by: u64,
    start: usize,
    list: bool,
}

impl fmt::Debug for Reading {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reading").field("open", &self.open).field("next", &self.next).finish_non_exhaustive()
    }
}

impl Reading {
    /// Reads from `subscriber`. What is finished is committed `every` so often, if at all.
    pub fn new(subscriber: Box<dyn Subscriber>, every: Option<Duration>, listens: bool) -> Self {
        Self {
            subscriber: Some(subscriber),
            every,
            listens,
            batch: Batch::default(),
            next: 0,
            accounted: 0,
            open: None,
            aside: Offsets::new(),
            gone: HashMap::new(),
            done: BTreeSet::new(),
            finished: Offsets::new(),
            position: Offsets::new(),
            sought: Offsets::new(),
            passed_on: Instant::now(),
            changes: Vec::new(),
            revoked: 0,
        }
    }

    /// Whether it is closed.
    pub fn is_closed(&self) -> bool {
        self.subscriber.is_none()
    }

    /// The hub's side.
    pub fn subscriber(&mut self) -> Result<&mut Box<dyn Subscriber>> {
        self.subscriber.as_mut().ok_or_else(closed)
    }

    /// The loop `by` asks for more: it has finished with what it had. In the first question of a new loop, or of who
    /// asks without one (0), what another loop left open comes again.
    pub fn ask(&mut self, by: u64, begins: bool) -> Result<()> {
        match self.open {
            Some(open) if open.by != by && open.by != 0 && (begins || by == 0) => self.go_back(),
            Some(open) if !open.list => {
                self.open = None;
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Gives out again what is open.
    fn go_back(&mut self) -> Result<()> {
        let Some(open) = self.open else { return Ok(()) };
        self.account(open.start);
        // What was paused since then is read anew once it is resumed.
        let mut anew = Vec::new();
        for index in (open.start..self.next).rev().filter(|index| !self.done.contains(index)) {
            let Some((topic, partition, offset)) = self.batch.place(index) else { continue };
            let place = (topic.clone(), partition);
            if self.gone.get(&place).is_some_and(|from| *from > index) {
                anew.retain(|(known, _)| *known != place);
                anew.push((place, offset));
            }
        }
        for ((topic, partition), offset) in anew {
            let position = Position { topic: topic.clone(), partition, offset };
            self.subscriber()?.seek(&position)?;
            self.gone.insert((topic, partition), open.start);
        }
        self.next = open.start;
        self.open = None;
        Ok(())
    }

    /// The next message to be given out or left out.
    pub fn peek(&mut self) -> Option<Message<'_>> {
        while let Some((topic, partition, _)) = self.batch.place(self.next) {
            let gone = !self.gone.is_empty()
                && self.gone.get(&(topic.clone(), partition)).is_some_and(|from| self.next >= *from);
            if !gone && (self.done.is_empty() || !self.done.contains(&self.next)) {
                break;
            }
            self.next += 1;
        }
        self.batch.get(self.next)
    }

    /// The same, once more.
    pub fn current(&self) -> Option<Message<'_>> {
        self.batch.get(self.next)
    }

    /// From here on, messages given out are those of one list of the loop `by`.
    pub fn open_list(&mut self, by: u64) {
        if self.open.is_none() {
            self.open = Some(Open { by, start: self.next, list: true });
        } else if let Some(open) = self.open
            && open.by == by
        {
            // The list before is open still, and told message by message.
            self.set_aside();
            self.open = Some(Open { by, start: self.next, list: true });
        }
    }

    /// There was nothing for the list: what was left out is all there was.
    pub fn empty_list(&mut self) {
        self.open = None;
    }

    /// The list comes again as a whole.
    pub fn take_list_back(&mut self) {
        if let Some(open) = self.open.take() {
            self.next = open.start;
        }
    }

    /// The current message is given out, by itself or in the list.
    pub fn give(&mut self, by: u64) {
        if self.open.is_none() {
            self.open = Some(Open { by, start: self.next, list: false });
        }
        if !self.sought.is_empty()
            && let Some((topic, partition, _)) = self.batch.place(self.next)
        {
            self.sought.remove(&(topic.clone(), partition));
        }
        self.next += 1;
    }

    /// The current message is left out; it is finished with what stands before it.
    pub fn leave_out(&mut self) {
        self.done.insert(self.next);
        self.next += 1;
    }

    /// The last list of the loop `by` is handled.
    pub fn handled_list(&mut self, by: u64) {
        if self.open.is_some_and(|open| open.list && open.by == by) {
            self.open = None;
        }
        for (place, offset) in std::mem::take(&mut self.aside) {
            self.finish(place, offset);
        }
    }

    /// These places are handled.
    pub fn handled(&mut self, places: impl IntoIterator<Item = (TopicPartition, i64)>) {
        for (place, offset) in places {
            self.finish(place, offset);
        }
    }

    fn finish(&mut self, place: TopicPartition, offset: i64) {
        self.position.insert(place.clone(), offset);
        self.finished.insert(place, offset);
    }

    /// The places after these messages, without those that were sought, paused or revoked since.
    fn after(&self, range: Range<usize>) -> Offsets {
        let mut places = Offsets::new();
        let mut last: Option<(TopicPartition, i64)> = None;
        for index in range {
            let Some((topic, partition, offset)) = self.batch.place(index) else { break };
            if let Some(((known, number), after)) = &mut last
                && *number == partition
                && std::sync::Arc::ptr_eq(known, topic)
                && self.gone.is_empty()
            {
                *after = offset + 1;
                continue;
            }
            places.extend(last.take());
            let place = (topic.clone(), partition);
            if self.gone.get(&place).is_none_or(|from| *from > index) {
                last = Some((place, offset + 1));
            }
        }
        places.extend(last);
        places
    }

    /// Takes in what is finished before the message `end`.
    fn account(&mut self, end: usize) {
        if self.accounted < end {
            for (place, offset) in self.after(self.accounted..end) {
                self.finish(place, offset);
            }
            self.accounted = end;
        }
    }

    fn account_finished(&mut self) {
        self.account(self.open.map_or(self.next, |open| open.start));
    }

    /// Keeps what is open in mind, whose messages go.
    fn set_aside(&mut self) {
        self.account_finished();
        if let Some(open) = self.open.take() {
            let places = self.after(open.start..self.next);
            self.aside.extend(places);
            self.accounted = self.next;
        }
    }

    /// Fetches up to `max` messages once those before are used up; commits what is finished when it is time to.
    pub fn fetch(&mut self, max: usize, patience: Duration) -> Result<()> {
        if self.every.is_some_and(|every| self.passed_on.elapsed() >= every) {
            self.pass_on()?;
        }
        self.set_aside();
        self.clear();
        let Some(subscriber) = &mut self.subscriber else { return Err(closed()) };
        let polled = subscriber.poll(&mut self.batch, max, patience);
        self.hear()?;
        polled
    }

    fn clear(&mut self) {
        self.batch.clear();
        (self.next, self.accounted) = (0, 0);
        self.gone.clear();
        self.done.clear();
    }

    /// Follows what happened to the partitions.
    fn hear(&mut self) -> Result<()> {
        loop {
            let Some(subscriber) = &mut self.subscriber else { return Ok(()) };
            let changes = subscriber.changes();
            let mut leaving = false;
            for change in &changes {
                match change {
                    // What there is of them came after they did.
                    Change::Assigned(places) => self.gone.retain(|place, _| !places.contains(place)),
                    Change::Revoking(places) => {
                        leaving = true;
                        // What came with the fetch in which they go was fetched for their next owner.
                        self.leave_to_others(places);
                        if self.every.is_some() {
                            self.pass_on()?;
                        }
                    }
                    Change::Revoked(places) => {
                        self.revoked += places.len() as u64;
                        self.leave_to_others(places);
                        for place in places {
                            for known in [&mut self.finished, &mut self.position, &mut self.aside, &mut self.sought] {
                                known.remove(place);
                            }
                        }
                    }
                }
            }
            if self.listens {
                self.changes.extend(changes);
                return Ok(());
            }
            if !leaving {
                return Ok(());
            }
            self.subscriber()?.give_up()?;
        }
    }

    fn leave_to_others(&mut self, places: &[TopicPartition]) {
        for place in places {
            self.gone.insert(place.clone(), 0);
        }
    }

    /// What a program that listens is to be told; after that, [`changes_reported`](Self::changes_reported).
    pub fn take_changes(&mut self) -> Vec<Change> {
        std::mem::take(&mut self.changes)
    }

    /// The program was told: partitions that are to go may go.
    pub fn changes_reported(&mut self) -> Result<()> {
        self.subscriber()?.give_up()?;
        self.hear()
    }

    /// Has finished places committed soon.
    fn pass_on(&mut self) -> Result<()> {
        self.account_finished();
        self.pass();
        if self.finished.is_empty() {
            return Ok(());
        }
        self.passed_on = Instant::now();
        let places = positions(self.finished.clone());
        match self.subscriber()?.commit(&places, false) {
            // One of them was another member's by then, who begins where this one had committed.
            Err(error) if error.kind != ErrorKind::Message => {
                return if error.retriable { Ok(()) } else { Err(error) }; // they are passed on the next time
            }
            _ => self.finished.clear(),
        }
        Ok(())
    }

    /// Finishes with what is no message behind the last one.
    fn pass(&mut self) {
        if self.open.is_some() || !self.aside.is_empty() || self.next < self.batch.len() {
            return;
        }
        for Position { topic, partition, offset } in
            self.subscriber.as_ref().map(|subscriber| subscriber.passed()).unwrap_or_default()
        {
            let place = (topic, partition);
            let known = self.position.get(&place);
            if !self.sought.contains_key(&place) && known.is_none_or(|known| *known < offset) {
                self.finish(place, offset);
            }
        }
    }

    /// Commits, and waits for it: the given places, or all that was finished and is open.
    pub fn commit(&mut self, given: Option<Offsets>) -> Result<()> {
        self.account_finished();
        let default = given.is_none();
        let places = given.unwrap_or_else(|| {
            self.pass();
            let mut places = self.finished.clone();
            places.extend(self.aside.clone());
            places.extend(self.open.map(|open| self.after(open.start..self.next)).unwrap_or_default());
            places
        });
        self.subscriber()?.commit(&positions(places.clone()), true)?;
        if default {
            self.open = None;
            self.account(self.next);
            self.aside.clear();
        } else if let Some(open) = self.open {
            // What of it is committed does not come again.
            for index in open.start..self.next {
                let Some((topic, partition, offset)) = self.batch.place(index) else { break };
                if places.get(&(topic.clone(), partition)).is_some_and(|next| offset < *next) {
                    self.done.insert(index);
                }
            }
        }
        self.finished.retain(|place, offset| places.get(place).is_none_or(|kept| kept < offset));
        Ok(())
    }

    /// Reads these partitions and no others.
    pub fn assign(&mut self, places: &[TopicPartition]) -> Result<()> {
        self.account_finished();
        if self.every.is_some() {
            self.pass_on()?;
        }
        self.subscriber()?.assign(places)?;
        self.hear()
    }

    /// Goes on at another place.
    pub fn seek(&mut self, place: TopicPartition, offset: i64) -> Result<()> {
        self.account_finished();
        let position = Position { topic: place.0.clone(), partition: place.1, offset };
        self.subscriber()?.seek(&position)?;
        for known in [&mut self.finished, &mut self.position, &mut self.aside] {
            known.remove(&place);
        }
        self.sought.insert(place.clone(), offset);
        self.gone.insert(place, 0);
        Ok(())
    }

    /// Leaves partitions out; what was fetched of them and not given out comes after [`resume`](Subscriber::resume).
    pub fn pause(&mut self, places: &[TopicPartition]) -> Result<()> {
        self.account_finished();
        let start = self.open.map_or(self.next, |open| open.start);
        for place in places {
            let of = |index: &usize| {
                let found = self.batch.place(*index);
                found.is_some_and(|(topic, partition, _)| partition == place.1 && **topic == *place.0)
            };
            if self.gone.contains_key(place) || !(start..self.batch.len()).any(|index| of(&index)) {
                continue;
            }
            let first = (self.next..self.batch.len()).find(of).and_then(|index| self.batch.place(index));
            if let Some((_, _, offset)) = first {
                let position = Position { topic: place.0.clone(), partition: place.1, offset };
                self.subscriber()?.seek(&position)?;
            }
            self.gone.insert(place.clone(), self.next);
        }
        self.subscriber()?.pause(places)
    }

    /// How far it is behind; what was fetched and not given out counts as not read.
    pub fn lag(&mut self, patience: Duration) -> Result<Vec<Lag>> {
        let mut lags = self.subscriber()?.lag(patience)?;
        let mut waiting = Offsets::new();
        for index in (self.next..self.batch.len()).rev() {
            if let Some((topic, partition, offset)) = self.batch.place(index) {
                waiting.insert((topic.clone(), partition), offset);
            }
        }
        for lag in &mut lags {
            let place = (lag.topic.clone(), lag.partition);
            let fetched = waiting.get(&place).filter(|_| !self.gone.contains_key(&place));
            if let Some(next) = fetched.or_else(|| self.sought.get(&place)) {
                lag.position = Some(*next);
                lag.lag = (lag.end - next).max(0);
            }
        }
        Ok(lags)
    }

    /// Messages fetched and not given out.
    pub fn prefetched(&self) -> usize {
        self.batch.len().saturating_sub(self.next)
    }

    /// Whether there is none of them.
    pub fn is_used_up(&self) -> bool {
        self.next >= self.batch.len()
    }

    /// How many partitions were taken away so far.
    pub fn revoked(&self) -> u64 {
        self.revoked
    }

    /// Commits what is finished and leaves the group.
    pub fn close(&mut self) -> Result<()> {
        let heard = self.hear();
        let kept = if self.every.is_some() { self.pass_on() } else { Ok(()) };
        self.open = None;
        self.clear();
        let left = self.subscriber.take().map_or(Ok(()), |mut subscriber| subscriber.close());
        heard.and(kept).and(left)
    }
}

fn closed() -> Error {
    Error::new(ErrorKind::Closed, "the consumer is closed; make another one")
}

fn positions(places: Offsets) -> Vec<Position> {
    places.into_iter().map(|((topic, partition), offset)| Position { topic, partition, offset }).collect()
}

#[cfg(test)]
mod tests;
