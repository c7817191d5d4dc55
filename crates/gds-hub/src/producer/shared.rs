//! What callers, the sender thread and the hub's threads share.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

use super::bell::Bell;
use super::dead_letter::{self, Death};
use super::outcome::{Place, Reported, Reporter, Tokens, Untold, reason};
use super::queue::{self, CHUNK, Chunk, Memory};
use super::spool::{self, Appended, Spool};
use super::{Durability, LAST_OUTCOMES, Left, OnFull, Pace, ProducerOptions, Stats};
use crate::codec;
use crate::error::{Error, Kind, Result};
use crate::hub::Delivery;
use crate::record::Record;

/// What became of a record that was sent.
#[derive(Debug)]
#[must_use]
pub enum Sent<T> {
    /// Accepted.
    Queued,
    /// There is no room, and the caller is to wait for some and send it again. Not counted.
    Full(Option<T>),
    /// There is no room; it was dropped, and counted so.
    Dropped(Option<T>, Error),
}

#[derive(Debug)]
pub(super) struct Shared<T: Send + 'static> {
    pub(super) options: ProducerOptions,
    pub(super) spool: Option<Spool>,
    queue: Mutex<Queue>,
    tokens: Tokens<T>,
    untold: Untold<T>,
    counts: Counts,
    /// Memory goes to the spool until the sender has caught up with it.
    spilling: AtomicBool,
    /// Rung when there is something to send and the sender sleeps.
    pub(super) work: Bell,
    /// Rung when the sender is not to linger.
    pub(super) hurry: Bell,
    hurried: AtomicBool,
    /// The sender is not to linger once nothing is under way.
    hurries_when_idle: AtomicBool,
    /// Something came since the sender last looked that is not patient.
    urgent: AtomicBool,
    /// Rung when there may be room again.
    pub(super) room: Bell,
    /// Rung when the hub told outcomes.
    pub(super) progress: Bell,
    /// Rung when nothing is pending and all is told.
    pub(super) settled: Bell,
    /// The sender is to stop where it is.
    pub(super) abandon: AtomicBool,
}

#[derive(Debug, Default)]
struct Queue {
    memory: Memory,
    /// Bytes that the sender took out and has not handed to the hub yet.
    in_hand: usize,
    in_hand_records: usize,
    next_id: u64,
    closed: bool,
}

#[derive(Debug, Default)]
struct Counts {
    accepted: AtomicU64,
    finished: AtomicU64,
    delivered: AtomicU64,
    retried: AtomicU64,
    dead_lettered: AtomicU64,
    failed: Mutex<std::collections::BTreeMap<&'static str, u64>>,
    dropped: Mutex<std::collections::BTreeMap<&'static str, u64>>,
}

impl<T: Send + 'static> Shared<T> {
    pub(super) fn new(options: ProducerOptions, spool: Option<Spool>, reporter: Arc<dyn Reporter<T>>) -> Self {
        let counts = Counts::default();
        counts.accepted.store(spool.as_ref().map_or(0, Spool::adopted), Ordering::Relaxed);
        Self {
            options,
            spool,
            queue: Mutex::default(),
            tokens: Tokens::new(),
            untold: Untold::new(reporter),
            counts,
            spilling: AtomicBool::new(false),
            work: Bell::default(),
            hurry: Bell::default(),
            hurried: AtomicBool::new(false),
            hurries_when_idle: AtomicBool::new(false),
            urgent: AtomicBool::new(false),
            room: Bell::default(),
            progress: Bell::default(),
            settled: Bell::default(),
            abandon: AtomicBool::new(false),
        }
    }

    // ---- callers

    pub(super) fn send(&self, frame: &[u8], token: Option<T>, pace: Pace) -> Result<Sent<T>> {
        let sent = match &self.spool {
            Some(spool) if self.writes_ahead() || self.spilling.load(Ordering::SeqCst) => {
                self.send_spooled(spool, frame, token)
            }
            _ => self.send_in_memory(frame, token),
        };
        // After it is queued: the sender forgets about it before it takes what is there.
        if pace == Pace::Soon && !self.urgent.load(Ordering::SeqCst) && !self.urgent.swap(true, Ordering::SeqCst) {
            self.hurry.ring();
        }
        sent
    }

    fn writes_ahead(&self) -> bool {
        self.options.spool.as_ref().is_some_and(|spool| spool.durability != Durability::Memory)
    }

    fn send_in_memory(&self, frame: &[u8], token: Option<T>) -> Result<Sent<T>> {
        let cost = Memory::cost(frame);
        let limit = self.options.buffer_bytes;
        let mut oldest = Vec::new();
        let mut queue = self.queue.lock();
        if queue.closed {
            return Err(closed());
        }
        if queue.memory.bytes() + queue.in_hand + cost > limit {
            if cost > limit {
                drop(queue);
                return Err(too_large(cost, limit));
            }
            if let Some(spool) = &self.spool {
                drop(queue);
                self.spill(spool);
                return self.send_spooled(spool, frame, token);
            }
            if self.options.on_full == OnFull::DropOldest {
                while queue.memory.bytes() + queue.in_hand + cost > limit
                    && queue.memory.drop_first(|id, _| oldest.push(id))
                {}
            }
            if queue.memory.bytes() + queue.in_hand + cost > limit {
                drop(queue);
                self.dropped(&oldest);
                return self.no_room(token, &format!("{limit} bytes of memory wait for the hub"));
            }
        }
        let id = queue.next_id;
        queue.next_id += 1;
        if let Some(token) = token {
            self.tokens.insert(id, token);
        }
        self.counts.accepted.fetch_add(1, Ordering::SeqCst);
        let before = queue.memory.bytes();
        queue.memory.push(id, frame);
        let much = before / CHUNK != queue.memory.bytes() / CHUNK;
        drop(queue);
        self.work.ring();
        if much {
            self.hurry.ring();
        }
        if !oldest.is_empty() {
            self.dropped(&oldest);
        }
        Ok(Sent::Queued)
    }

    fn send_spooled(&self, spool: &Spool, frame: &[u8], token: Option<T>) -> Result<Sent<T>> {
        let mut token = token;
        let appended = spool.append(frame, self.options.on_full == OnFull::DropOldest, |id| {
            self.counts.accepted.fetch_add(1, Ordering::SeqCst);
            if let Some(token) = token.take() {
                self.tokens.insert(id, token);
            }
        });
        match appended {
            Appended::Kept { dropped } => {
                self.dropped_spooled(dropped);
                self.work.ring();
                Ok(Sent::Queued)
            }
            Appended::Failed { id, error, dropped } => {
                // Counted as accepted before it was written; now it is not.
                self.counts.accepted.fetch_sub(1, Ordering::SeqCst);
                self.dropped_spooled(dropped);
                self.no_room(self.tokens.remove(id), &error.message)
            }
            Appended::Unsafe(error) => {
                self.work.ring();
                Err(error)
            }
            Appended::Closed => Err(closed()),
        }
    }

    fn no_room(&self, token: Option<T>, why: &str) -> Result<Sent<T>> {
        let error =
            |advice: &str| Error::new(Kind::Full, format!("no room for the record: {why}; {advice}")).retriable();
        match self.options.on_full {
            OnFull::Block => Ok(Sent::Full(token)),
            OnFull::Raise => Err(error("send it again later, or choose another on_full")),
            OnFull::DropNewest | OnFull::DropOldest => {
                self.counts.accepted.fetch_add(1, Ordering::SeqCst);
                self.count_dropped("buffer_full", 1);
                Ok(Sent::Dropped(token, error("it was dropped, as on_full says")))
            }
        }
    }

    /// Counts a record that waited for room in vain.
    pub(super) fn gave_up_waiting(&self) {
        self.counts.accepted.fetch_add(1, Ordering::SeqCst);
        self.count_dropped("buffer_full", 1);
    }

    /// Moves what waits in memory to the spool, so that order is kept; from now on records go there.
    fn spill(&self, spool: &Spool) {
        // Under the lock, so that no record slips in between those that are moved and those that follow.
        let mut queue = self.queue.lock();
        self.spilling.store(true, Ordering::SeqCst);
        while let Some(chunk) = queue.memory.take() {
            if let Some(rest) = self.spill_chunk(spool, chunk) {
                queue.memory.put_back(rest);
                return; // the spool is full; what is in memory stays there, and goes first
            }
        }
    }

    fn spill_chunk(&self, spool: &Spool, mut chunk: Chunk) -> Option<Chunk> {
        while let Some((id, frame)) = chunk.first() {
            let appended = spool.append(frame, false, |spooled| {
                if let Some(token) = self.tokens.remove(id) {
                    self.tokens.insert(spooled, token);
                }
            });
            match appended {
                Appended::Kept { .. } => chunk.drop_first(),
                Appended::Failed { id: spooled, .. } => {
                    if let Some(token) = self.tokens.remove(spooled) {
                        self.tokens.insert(id, token);
                    }
                    return Some(chunk);
                }
                _ => return Some(chunk),
            };
        }
        None
    }

    pub(super) fn refuse_more(&self) {
        self.queue.lock().closed = true;
        if let Some(spool) = &self.spool {
            spool.refuse_more();
        }
    }

    pub(super) fn hurry(&self) {
        self.hurried.store(true, Ordering::SeqCst);
        self.hurry.ring();
        self.work.ring();
    }

    pub(super) fn hurry_when_idle(&self) {
        // Before looking: what arrives meanwhile looks after it is counted as finished.
        self.hurries_when_idle.store(true, Ordering::SeqCst);
        self.hurry_if_idle();
    }

    fn hurry_if_idle(&self) {
        if self.hurries_when_idle.load(Ordering::SeqCst) && self.is_idle() {
            self.hurries_when_idle.store(false, Ordering::SeqCst);
            self.hurry();
        }
    }

    /// Whether all that is pending still waits in memory. What waits on disk is not told from what is under way, and is
    /// taken to wait.
    fn is_idle(&self) -> bool {
        if self.spool.is_some() {
            return true;
        }
        let queue = self.queue.lock();
        queue.in_hand_records == 0 && self.pending() <= queue.memory.records() as u64
    }

    pub(super) fn pending(&self) -> u64 {
        // In this order: a record is accepted before it is finished.
        let finished = self.counts.finished.load(Ordering::SeqCst);
        self.counts.accepted.load(Ordering::SeqCst).saturating_sub(finished)
    }

    /// Records whose outcome is not known, or not told yet.
    pub(super) fn unsettled(&self) -> u64 {
        // In this order: an outcome that is to be told is among the untold before its record is finished.
        let pending = self.pending();
        pending + self.untold.count() as u64
    }

    pub(super) fn is_telling_here(&self) -> bool {
        self.untold.is_telling_here()
    }

    pub(super) fn wait_settled(&self, patience: Duration) -> bool {
        self.wait_for(patience, || self.unsettled() == 0)
    }

    fn wait_for(&self, patience: Duration, there: impl Fn() -> bool) -> bool {
        let deadline = std::time::Instant::now() + patience;
        while !there() {
            let left = deadline.saturating_duration_since(std::time::Instant::now());
            if left.is_zero() {
                return false;
            }
            self.settled.wait_until(left.min(Duration::from_millis(50)), &there);
        }
        true
    }

    pub(super) fn stats(&self) -> Stats {
        let mut stats = Stats::default();
        {
            let queue = self.queue.lock();
            stats.queued = (queue.memory.records() + queue.in_hand_records) as u64;
            stats.queued_bytes = (queue.memory.bytes() + queue.in_hand) as u64;
        }
        if let Some(spool) = &self.spool {
            spool.describe(&mut stats);
        }
        stats.delivered = self.counts.delivered.load(Ordering::Relaxed);
        stats.failed.clone_from(&self.counts.failed.lock());
        stats.dropped.clone_from(&self.counts.dropped.lock());
        stats.retried = self.counts.retried.load(Ordering::Relaxed);
        stats.dead_lettered = self.counts.dead_lettered.load(Ordering::Relaxed);
        stats.accepted = self.counts.accepted.load(Ordering::Relaxed);
        stats.pending = stats.accepted.saturating_sub(stats.delivered + stats.failures() + stats.drops());
        // What the sender is about to let go of may have its outcome already.
        stats.queued = stats.queued.min(stats.pending);
        stats
    }

    // ---- the sender thread

    /// Sleeps until there is something to send or the sender is to stop, then lingers.
    pub(super) fn wait_for_work(&self) {
        if !self.has_work() && !self.stops() {
            self.work.wait_until(Duration::from_secs(1), || self.has_work() || self.stops());
        }
        let now = || {
            let told = self.hurried.load(Ordering::SeqCst) || self.stops();
            told || self.queue.lock().memory.bytes() >= CHUNK
        };
        let urgent = || self.urgent.load(Ordering::SeqCst);
        let ProducerOptions { linger, patience, .. } = self.options;
        if self.has_work() && !patience.is_zero() && !urgent() {
            self.hurry.wait_until(patience, || urgent() || now());
        }
        if self.has_work() && !linger.is_zero() && urgent() {
            self.hurry.wait_until(linger, now);
        }
        self.hurried.store(false, Ordering::SeqCst);
        self.urgent.store(false, Ordering::SeqCst);
    }

    pub(super) fn has_work(&self) -> bool {
        !self.queue.lock().memory.is_empty() || self.spool.as_ref().is_some_and(Spool::has_work)
    }

    pub(super) fn stops(&self) -> bool {
        self.abandon.load(Ordering::SeqCst)
    }

    /// The oldest records in memory; those of the spool come first, and memory is used again once they are read.
    pub(super) fn take(&self) -> Option<Chunk> {
        let mut queue = self.queue.lock();
        let chunk = queue.memory.take()?;
        queue.in_hand = chunk.len();
        queue.in_hand_records = chunk.records();
        Some(chunk)
    }

    pub(super) fn put_back(&self, chunk: Chunk) {
        let mut queue = self.queue.lock();
        queue.in_hand = 0;
        queue.in_hand_records = 0;
        queue.memory.put_back(chunk);
        drop(queue);
        self.room.ring();
    }

    /// The sender has read all there is in the spool.
    pub(super) fn caught_up(&self, spool: &Spool) {
        if self.spilling.load(Ordering::SeqCst) && !self.writes_ahead() {
            let queue = self.queue.lock();
            // Under the lock of the queue, as in `spill`; what was appended since is seen by `has_unread`.
            if !spool.has_unread() {
                self.spilling.store(false, Ordering::SeqCst);
            }
            drop(queue);
        }
    }

    pub(super) fn retried(&self) {
        self.counts.retried.fetch_add(1, Ordering::Relaxed);
    }

    // ---- outcomes

    pub(super) fn delivered(&self, id: u64, place: &Delivery<'_>) {
        self.counts.delivered.fetch_add(1, Ordering::Relaxed);
        if let Some(spool) = &self.spool {
            spool.done(id);
        }
        if let Some(token) = self.tokens.remove(id) {
            let place = Place {
                topic: place.topic.to_owned(),
                partition: place.partition,
                offset: place.offset,
                timestamp: place.timestamp,
            };
            self.untold.push(token, Ok(place));
        }
        self.counts.finished.fetch_add(1, Ordering::SeqCst);
    }

    pub(super) fn failed(&self, id: u64, record: &Record<'_>, error: &Error) {
        if let Some(spool) = &self.spool
            && error.retriable
        {
            if spool::is_spooled(id) {
                if !self.stops() {
                    self.retried();
                    spool.again(id);
                    self.work.ring();
                }
                return; // else it stays in the spool, for the next process
            }
            if self.stops() && self.keep(spool, id, record) {
                return;
            }
        }
        if let Some(spool) = &self.spool {
            spool.done(id);
        }
        if let Some(token) = self.tokens.remove(id) {
            self.untold.push(token, Err(error.clone()));
        }
        if self.stops() && error.retriable {
            self.count_dropped("closed", 1);
        } else {
            // Before it is finished itself: at no time nothing is pending while the dead letter is.
            if self.options.dead_letter && !error.retriable {
                self.bury(record, error);
            }
            *self.counts.failed.lock().entry(reason(error)).or_default() += 1;
            self.counts.finished.fetch_add(1, Ordering::SeqCst);
        }
    }

    /// Puts a record from memory into the spool at the end; it stays pending.
    fn keep(&self, spool: &Spool, id: u64, record: &Record<'_>) -> bool {
        let mut frame = Vec::new();
        codec::write(&mut frame, record);
        let kept = matches!(spool.append_last(&frame), Appended::Kept { .. });
        if kept {
            drop(self.tokens.remove(id));
        }
        kept
    }

    /// Writes the dead letter of a record; beyond all bounds, since what is in flight bounds their number.
    fn bury(&self, record: &Record<'_>, error: &Error) {
        let Some(topic) = dead_letter::topic(record.topic) else { return };
        let death = Death { error: &error.message, partition: record.partition, offset: None };
        let headers = dead_letter::headers(record, &death);
        let mut frame = Vec::new();
        codec::write(&mut frame, &dead_letter::record(record, &topic, &headers));
        let mut queue = self.queue.lock();
        let id = queue.next_id;
        queue.next_id += 1;
        self.counts.accepted.fetch_add(1, Ordering::SeqCst);
        self.counts.dead_lettered.fetch_add(1, Ordering::Relaxed);
        queue.memory.push(id, &frame);
        drop(queue);
        self.work.ring();
    }

    pub(super) fn collected(&self) {
        self.note_progress();
        self.hurry_if_idle();
        self.untold.tell();
        self.ring_if_settled();
    }

    /// As [`collected`](Self::collected), with no outcome to tell.
    pub(super) fn note_progress(&self) {
        if let Some(spool) = &self.spool {
            self.count_dropped("damaged", spool.take_lost());
            spool.collected();
        }
        self.progress.ring();
        self.room.ring();
        self.ring_if_settled();
    }

    fn ring_if_settled(&self) {
        if self.unsettled() == 0 {
            self.settled.ring();
        }
    }

    /// Records that waited too long in memory.
    pub(super) fn timed_out(&self, id: u64) {
        if let Some(token) = self.tokens.remove(id) {
            let waited = self.options.delivery_timeout.unwrap_or_default();
            let message = format!("the record was not sent within delivery_timeout_ms={}", waited.as_millis());
            self.untold.push(token, Err(Error::new(Kind::Timeout, message).retriable()));
        }
        self.count_dropped("timeout", 1);
    }

    fn dropped(&self, ids: &[u64]) {
        self.count_dropped("buffer_full", ids.len() as u64);
        let error = Error::new(Kind::Full, "no room: the record was the oldest and was dropped, as on_full says");
        let outcomes = ids.iter().filter_map(|id| self.tokens.remove(*id));
        let outcomes = outcomes.map(|token| Reported { token, outcome: Err(error.clone().retriable()) }).collect();
        self.untold.tell_now(outcomes);
    }

    fn dropped_spooled(&self, ids: std::ops::Range<u64>) {
        if !ids.is_empty() {
            self.dropped(&ids.collect::<Vec<_>>());
        }
    }

    fn count_dropped(&self, reason: &'static str, records: u64) {
        if records > 0 {
            *self.counts.dropped.lock().entry(reason).or_default() += records;
            self.counts.finished.fetch_add(records, Ordering::SeqCst);
        }
    }

    /// What is in memory now goes to the spool or is dropped; the sender and the hub have stopped.
    pub(super) fn leave_the_rest(&self) -> Left {
        let mut dropped = Vec::new();
        while let Some(mut chunk) = self.take() {
            while let Some((id, frame)) = chunk.first() {
                let kept = self.spool.as_ref().is_some_and(|spool| self.keep(spool, id, &queue::record(frame)));
                if !kept {
                    dropped.push(id);
                }
                chunk.drop_first();
            }
            self.put_back(chunk);
        }
        self.count_dropped("closed", dropped.len() as u64);
        let error = Error::new(Kind::Closed, "the client was closed before the record was delivered");
        for token in self.tokens.take_all() {
            self.untold.push(token, Err(error.clone()));
        }
        self.untold.tell();
        // Another thread may be telling them.
        self.wait_for(LAST_OUTCOMES, || self.untold.count() == 0);
        let spooled = self.spool.as_ref().map_or(0, Spool::close);
        // Whatever the hub did not tell about in time.
        let silent = self.pending().saturating_sub(spooled);
        self.count_dropped("closed", silent);
        self.settled.ring();
        self.room.ring();
        // Those that the hub gave up on are among them.
        let dropped = self.counts.dropped.lock().get("closed").copied().unwrap_or_default();
        Left { spooled, dropped }
    }
}

fn closed() -> Error {
    Error::new(Kind::Closed, "the client is closed; make another one")
}

fn too_large(cost: usize, limit: usize) -> Error {
    Error::new(Kind::Message, format!("the record takes {cost} bytes, more than buffer_memory={limit} holds"))
        .with_code(10)
}
