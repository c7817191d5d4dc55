//! Fetching from a hub, giving to a program, and committing what it has finished with.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::Warn;
use super::dead_letter::{DeadLetterStatus, DeadLetters};
use super::offsets::{OffsetTracker, Offsets};
use crate::batch::Message;
use crate::error::{Error, Result};
use crate::hub::{Change, Hub, Lag, Position, Subscriber, TopicPartition};
use crate::producer::dead_letter;

/// What is finished is committed no less often than this.
const COMMIT_AT_LEAST_EVERY: Duration = Duration::from_millis(250);

/// What becomes of messages that cannot be read.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum OnError {
    /// The program is told, and the message stays the next one.
    #[default]
    Raise,
    /// They are left out, and counted.
    Skip,
    /// They go to the [topic of dead letters](dead_letter::topic), and are left out once they are there.
    DeadLetter,
}

/// How a [`Consumer`] behaves.
#[derive(Clone, Copy, Debug, Default)]
pub struct ConsumerOptions {
    /// What is finished is committed after this time, or sooner; none if the program commits, or there is no group.
    pub auto_commit_interval: Option<Duration>,
    /// Whether the program wants to hear of partitions that come and go.
    pub listens: bool,
    /// What becomes of messages that cannot be read.
    pub on_error: OnError,
}

/// Why a program's parser did not make anything of a message.
#[derive(Debug)]
pub enum ParseError<C> {
    /// The message cannot be read: why, and the parser's own cause.
    Unreadable(Error, C),
    /// The program is interrupted; the message stays the next one.
    Interrupted(C),
}

/// What came of asking for the next message.
#[derive(Debug)]
pub enum Next<M, C> {
    /// What the parser made of it. It is given out.
    Message(M),
    /// It cannot be read, and stays the next one: to go on behind it, seek.
    Unreadable {
        /// Why.
        error: Error,
        /// The parser's own cause.
        cause: C,
        /// Where it is.
        at: Position,
    },
    /// It cannot be read, and a [dead letter](Consumer::send_dead_letter) is to be written, with this error.
    DeadLetter(Error),
    /// Nothing is at hand: [fetch](Consumer::fetch).
    Empty,
}

/// What was counted of messages, readable by any thread at any time.
#[derive(Debug, Default)]
pub struct ConsumerCounts {
    consumed: AtomicU64,
    unparsed: AtomicU64,
    skipped: AtomicU64,
    dead_lettered: AtomicU64,
    revoked_partitions: AtomicU64,
}

impl ConsumerCounts {
    /// Names and values.
    pub fn totals(&self) -> [(&'static str, u64); 5] {
        [
            ("consumed_total", &self.consumed),
            ("unparsed_total", &self.unparsed),
            ("skipped_total", &self.skipped),
            ("dead_lettered_total", &self.dead_lettered),
            ("revoked_partitions_total", &self.revoked_partitions),
        ]
        .map(|(name, count)| (name, count.load(Ordering::Relaxed)))
    }
}

fn count(counter: &AtomicU64, by: usize) {
    counter.fetch_add(by as u64, Ordering::Relaxed);
}

/// What a program is reading; used by one thread at a time.
pub struct Consumer {
    /// None once it is closed.
    subscriber: Option<Box<dyn Subscriber>>,
    /// Finished offsets are committed this often, if at all.
    commit_every: Option<Duration>,
    options: ConsumerOptions,
    offsets: OffsetTracker,
    dead_letters: DeadLetters,
    committed_at: Instant,
    changes: Vec<Change>,
    warnings: Vec<String>,
    counts: Arc<ConsumerCounts>,
}

impl fmt::Debug for Consumer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Consumer").field("options", &self.options).finish_non_exhaustive()
    }
}

impl Consumer {
    /// Reads from `subscriber`; dead letters go to `hub`, whose troubles `warn` tells.
    pub fn new(subscriber: Box<dyn Subscriber>, hub: Arc<dyn Hub>, options: ConsumerOptions, warn: Arc<Warn>) -> Self {
        Self {
            subscriber: Some(subscriber),
            commit_every: options.auto_commit_interval.map(|interval| interval.min(COMMIT_AT_LEAST_EVERY)),
            options,
            offsets: OffsetTracker::default(),
            dead_letters: DeadLetters::new(hub, warn),
            committed_at: Instant::now(),
            changes: Vec::new(),
            warnings: Vec::new(),
            counts: Arc::default(),
        }
    }

    /// Whether it is closed.
    pub fn is_closed(&self) -> bool {
        self.subscriber.is_none()
    }

    /// What was counted so far.
    pub fn counts(&self) -> &Arc<ConsumerCounts> {
        &self.counts
    }

    /// The hub's side.
    pub fn subscriber(&mut self) -> Result<&mut dyn Subscriber> {
        match &mut self.subscriber {
            Some(subscriber) => Ok(&mut **subscriber),
            None => Err(closed()),
        }
    }

    /// Both sides, to be used together.
    fn sides(&mut self) -> Result<(&mut OffsetTracker, &mut dyn Subscriber)> {
        match &mut self.subscriber {
            Some(subscriber) => Ok((&mut self.offsets, &mut **subscriber)),
            None => Err(closed()),
        }
    }

    /// The loop `by` asks for more: it has finished with what it had. In the first question of a new loop, or of who
    /// asks without one (0), what another loop left open comes again.
    pub fn ask(&mut self, by: u64, begins: bool) -> Result<()> {
        let subscriber = &mut self.subscriber;
        self.offsets.ask(by, begins, |position| subscriber.as_mut().ok_or_else(closed)?.seek(position))
    }

    /// Gives the loop `by` what `parse` makes of the next message that it can read.
    ///
    /// # Errors
    /// `parse` was interrupted.
    pub fn next<M, C>(
        &mut self,
        by: u64,
        mut parse: impl FnMut(&Message<'_>) -> Result<M, ParseError<C>>,
    ) -> Result<Next<M, C>, C> {
        while let Some(message) = self.offsets.peek() {
            let (error, cause) = match parse(&message) {
                Ok(parsed) => {
                    self.offsets.give(by);
                    count(&self.counts.consumed, 1);
                    return Ok(Next::Message(parsed));
                }
                Err(ParseError::Interrupted(cause)) => return Err(cause),
                Err(ParseError::Unreadable(error, cause)) => (error, cause),
            };
            match self.options.on_error {
                OnError::Skip => {
                    count(&self.counts.skipped, 1);
                    self.leave_out();
                }
                OnError::DeadLetter if dead_letter::topic(message.topic).is_some() => {
                    return Ok(Next::DeadLetter(error));
                }
                // The dead of a dead letter topic have nowhere to go.
                OnError::DeadLetter | OnError::Raise => {
                    let Message { topic, partition, offset, .. } = message;
                    let at = Position { topic: Arc::clone(topic), partition, offset };
                    return Ok(Next::Unreadable { error, cause, at });
                }
            }
        }
        Ok(Next::Empty)
    }

    /// Has a dead letter written of the next message, which cannot be read because of `error`; does not wait for it.
    /// Asked again, says what became of it: once it is delivered, the message is left out.
    pub fn send_dead_letter(&mut self, error: &Error) -> DeadLetterStatus {
        let Some(message) = self.offsets.peek() else { return DeadLetterStatus::Delivered };
        let Some(topic) = dead_letter::topic(message.topic) else { return DeadLetterStatus::Delivered };
        let status = self.dead_letters.send(&message, &topic, error);
        if matches!(status, DeadLetterStatus::Delivered) {
            count(&self.counts.dead_lettered, 1);
            self.leave_out();
        }
        status
    }

    /// The error for a dead letter that is under way for too long.
    pub fn dead_letter_timed_out(&self) -> Error {
        self.dead_letters.timed_out()
    }

    fn leave_out(&mut self) {
        count(&self.counts.unparsed, 1);
        self.offsets.leave_out();
    }

    /// From here on, messages given out are those of one list of the loop `by`.
    pub fn open_list(&mut self, by: u64) {
        self.offsets.open_list(by);
    }

    /// There was nothing for the list: what was left out is all there was.
    pub fn empty_list(&mut self) {
        self.offsets.empty_list();
    }

    /// The list comes again as a whole.
    pub fn take_list_back(&mut self) {
        self.offsets.take_list_back();
    }

    /// The last list of the loop `by` is handled.
    pub fn handled_list(&mut self, by: u64) {
        self.offsets.handled_list(by);
    }

    /// What is before these offsets is handled.
    pub fn handled(&mut self, places: impl IntoIterator<Item = (TopicPartition, i64)>) {
        self.offsets.handled(places);
    }

    /// Fetches up to `max` messages once those before are used up; commits what is finished when it is time to. Where a
    /// program that listens is to be [told](Self::take_changes) something first, it fetches nothing.
    pub fn fetch(&mut self, max: usize, timeout: Duration) -> Result<()> {
        if self.commit_every.is_some_and(|every| self.committed_at.elapsed() >= every) {
            self.commit_finished()?;
        }
        if self.options.listens {
            // Whoever wants to hear of partitions does so before anything is fetched of them.
            self.follow_changes()?;
            if !self.changes.is_empty() {
                return Ok(());
            }
        }
        let (offsets, subscriber) = self.sides()?;
        let polled = subscriber.poll(offsets.refill(), max, timeout);
        let warnings = subscriber.warnings();
        self.warnings.extend(warnings);
        self.follow_changes()?;
        polled
    }

    /// What the hub could not do by itself, to be said to people.
    pub fn take_warnings(&mut self) -> Vec<String> {
        std::mem::take(&mut self.warnings)
    }

    /// Follows what happened to the partitions.
    fn follow_changes(&mut self) -> Result<()> {
        loop {
            let Some(subscriber) = &mut self.subscriber else { return Ok(()) };
            let changes = subscriber.changes();
            let mut leaving = false;
            for change in &changes {
                match change {
                    Change::Assigned(places) => self.offsets.assigned(places),
                    Change::Revoking(places) => {
                        leaving = true;
                        // What came with the fetch in which they go was fetched for their next owner.
                        self.offsets.leave_to_others(places);
                        if self.commit_every.is_some() {
                            self.commit_finished()?;
                        }
                    }
                    Change::Revoked(places) => {
                        count(&self.counts.revoked_partitions, places.len());
                        self.offsets.revoked(places);
                    }
                }
            }
            if self.options.listens {
                self.changes.extend(changes);
                return Ok(());
            }
            if !leaving {
                return Ok(());
            }
            self.subscriber()?.give_up()?;
        }
    }

    /// What a program that listens is to be told; after that, [`changes_reported`](Self::changes_reported).
    pub fn take_changes(&mut self) -> Vec<Change> {
        std::mem::take(&mut self.changes)
    }

    /// The program was told: partitions that are to go may go.
    pub fn changes_reported(&mut self) -> Result<()> {
        self.subscriber()?.give_up()?;
        self.follow_changes()
    }

    /// Has what is finished committed soon.
    fn commit_finished(&mut self) -> Result<()> {
        self.pass();
        let places = positions(self.offsets.finished());
        if places.is_empty() {
            return Ok(());
        }
        self.committed_at = Instant::now();
        match self.subscriber()?.commit(&places, false) {
            // One of them was another member's by then, who begins where this one had committed.
            Err(error) if !matches!(error, Error::Message(_)) => {
                return if error.retriable() { Ok(()) } else { Err(error) }; // they are committed the next time
            }
            _ => self.offsets.finished_committed(),
        }
        Ok(())
    }

    /// Finishes with what is no message behind the last one.
    fn pass(&mut self) {
        if self.offsets.is_caught_up() {
            self.offsets.pass(self.subscriber.as_ref().map(|subscriber| subscriber.passed()).unwrap_or_default());
        }
    }

    /// Commits, and waits for it: the given offsets, or all that was finished and is open.
    pub fn commit(&mut self, given: Option<Offsets>) -> Result<()> {
        if let Some(places) = given {
            self.subscriber()?.commit(&positions(&places), true)?;
            self.offsets.committed(&places);
        } else {
            self.pass();
            let places = self.offsets.given();
            self.subscriber()?.commit(&positions(&places), true)?;
            self.offsets.given_committed(&places);
        }
        Ok(())
    }

    /// Reads these partitions and no others.
    pub fn assign(&mut self, places: &[TopicPartition]) -> Result<()> {
        if self.commit_every.is_some() {
            self.commit_finished()?;
        }
        self.subscriber()?.assign(places)?;
        self.follow_changes()
    }

    /// Goes on at another offset.
    pub fn seek(&mut self, place: TopicPartition, offset: i64) -> Result<()> {
        let position = Position { topic: place.0.clone(), partition: place.1, offset };
        self.subscriber()?.seek(&position)?;
        self.offsets.sought(place, offset);
        Ok(())
    }

    /// Leaves partitions out; what was fetched of them and not given out comes after [`resume`](Subscriber::resume).
    pub fn pause(&mut self, places: &[TopicPartition]) -> Result<()> {
        let (offsets, subscriber) = self.sides()?;
        offsets.paused(places, |position| subscriber.seek(position))?;
        subscriber.pause(places)
    }

    /// How far it is behind; what was fetched and not given out counts as not read.
    pub fn lag(&mut self, timeout: Duration) -> Result<Vec<Lag>> {
        let mut lags = self.subscriber()?.lag(timeout)?;
        let next_offsets = self.offsets.next_offsets();
        for lag in &mut lags {
            if let Some(next) = next_offsets.get(&(lag.topic.clone(), lag.partition)) {
                lag.position = Some(*next);
                lag.lag = (lag.end - next).max(0);
            }
        }
        Ok(lags)
    }

    /// Messages fetched and not given out.
    pub fn prefetched(&self) -> usize {
        self.offsets.prefetched()
    }

    /// Whether there is none of them.
    pub fn is_used_up(&self) -> bool {
        self.offsets.is_used_up()
    }

    /// Commits what is finished, leaves the group and lets go of the hub.
    pub fn close(&mut self) -> Result<()> {
        let followed = self.follow_changes();
        let kept = if self.commit_every.is_some() { self.commit_finished() } else { Ok(()) };
        self.offsets.clear();
        let left = self.subscriber.take().map_or(Ok(()), |mut subscriber| subscriber.close());
        self.dead_letters.close();
        followed.and(kept).and(left)
    }
}

fn closed() -> Error {
    Error::Closed("the consumer is closed; make another one".into())
}

fn positions(places: &Offsets) -> Vec<Position> {
    let position = |((topic, partition), offset): (&TopicPartition, &i64)| Position {
        topic: topic.clone(),
        partition: *partition,
        offset: *offset,
    };
    places.iter().map(position).collect()
}
