//! What callers, the sender thread and the hub's threads share.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use super::dead_letter::{self, Death};
use super::gates::{self, Admission, Gates, Scope};
use super::id::is_spooled;
use super::outcome::{DeliveryMetadata, PendingReports, Reporter, Tokens, reason};
use super::queue::{self, CHUNK, Chunk, Memory, Returned};
use super::spool::{Appended, Missing, Spool};
use super::{CloseReport, Durability, LAST_OUTCOMES, Linger, OnFull, ProducerOptions, REFUSED_PAUSE, Stats};
use crate::codec;
use crate::error::{Error, ErrorKind, Result};
use crate::event::Event;
use crate::hub::{Deliveries, Delivery};
use crate::record::Record;
use crate::sync::{AtomicBool, AtomicU64, Mutex, MutexGuard, Ordering};

/// How often the sender looks up when nothing wakes it.
const IDLE: Duration = Duration::from_secs(1);

/// How often at most it looks whether what is refused may be tried: what there is to try may be with the hub.
pub(super) const LOOK: Duration = Duration::from_millis(20);

/// What a token is taken to need of the memory that records may take, where the record itself is on disk.
const TOKEN_BYTES: usize = 128;

/// librdkafka's number for a record that was given up before it was sent: sending it cannot double it.
const NEVER_SENT: i32 = -152;

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
pub(super) struct ProducerState<T: Send + 'static> {
    pub(super) options: ProducerOptions,
    pub(super) spool: Option<Spool>,
    queue: Mutex<Queue>,
    tokens: Tokens<T>,
    pending_reports: PendingReports<T>,
    counts: Counts,
    gates: Gates,
    /// Records came back that are older than what is handed over now. Nothing more is, until the outcome of all that
    /// is under way is known: then they go in order.
    came_back: AtomicBool,
    /// There are returned records, and some of them came since the sender last looked.
    returned: AtomicBool,
    returned_news: AtomicBool,
    /// There are outcomes that no thread of the hub will tell: the sender does, since callers are not to wait for it.
    reports_due: AtomicBool,
    /// What is to be said to people, when nothing is locked.
    notices: Mutex<Vec<String>>,
    /// Notified when there is something to send and the sender sleeps.
    pub(super) work: Event,
    /// Notified when the sender is not to linger.
    pub(super) hurry: Event,
    hurried: AtomicBool,
    /// The sender is not to linger once nothing is under way.
    hurries_when_idle: AtomicBool,
    /// Something came since the sender last looked that is not patient.
    urgent: AtomicBool,
    /// Notified when there may be room again.
    pub(super) room: Event,
    /// Notified when the hub told outcomes.
    pub(super) progress: Event,
    /// Notified when nothing is pending and all is told.
    pub(super) flushed: Event,
    /// The sender is to stop where it is.
    pub(super) abandon: AtomicBool,
}

#[derive(Debug, Default)]
struct Queue {
    /// Older than all in the spool, which is older than all in memory.
    returned: Returned,
    memory: Memory,
    /// Bytes that the sender took out and has not handed to the hub yet.
    in_hand: usize,
    in_hand_records: usize,
    next_id: u64,
    closed: bool,
}

impl Queue {
    fn has_room(&self, cost: usize, limit: usize) -> bool {
        self.memory.bytes() + self.in_hand + self.returned.bytes() + cost <= limit
    }
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

impl<T: Send + 'static> ProducerState<T> {
    pub(super) fn new(options: ProducerOptions, spool: Option<Spool>, reporter: Arc<dyn Reporter<T>>) -> Self {
        let counts = Counts::default();
        counts.accepted.store(spool.as_ref().map_or(0, Spool::adopted), Ordering::Relaxed);
        Self {
            gates: Gates::new(options.refused_pause.unwrap_or(REFUSED_PAUSE)),
            options,
            spool,
            queue: Mutex::default(),
            tokens: Tokens::new(),
            pending_reports: PendingReports::new(reporter),
            counts,
            came_back: AtomicBool::new(false),
            returned: AtomicBool::new(false),
            returned_news: AtomicBool::new(false),
            reports_due: AtomicBool::new(false),
            notices: Mutex::default(),
            work: Event::default(),
            hurry: Event::default(),
            hurried: AtomicBool::new(false),
            hurries_when_idle: AtomicBool::new(false),
            urgent: AtomicBool::new(false),
            room: Event::default(),
            progress: Event::default(),
            flushed: Event::default(),
            abandon: AtomicBool::new(false),
        }
    }

    // ---- callers

    pub(super) fn send(&self, frame: &[u8], token: Option<T>, linger: Linger) -> Result<Sent<T>> {
        fits_any(frame)?;
        let sent = match &self.spool {
            Some(spool) if token.is_some() && !self.may_wait(spool) => {
                let limit = self.options.buffer_bytes;
                let why = format!("of those on disk, as many wait for an outcome as {limit} bytes of memory allow");
                self.no_room(token, &why)
            }
            Some(spool) if self.writes_ahead() => self.append(spool, frame, token),
            _ => self.send_in_memory(self.queue.lock(), frame, token),
        };
        self.urge(linger);
        sent
    }

    /// As [`send`](Self::send), where that need not wait for the disk, nor for another thread that does; else the token.
    pub(super) fn send_at_once(
        &self,
        frame: &[u8],
        token: Option<T>,
        linger: Linger,
    ) -> Result<Result<Sent<T>>, Option<T>> {
        if self.spool.is_none() || fits_any(frame).is_err() {
            return Ok(self.send(frame, token, linger));
        }
        if self.writes_ahead() {
            return Err(token);
        }
        let Some(queue) = self.queue.try_lock() else { return Err(token) };
        let waits = token.is_some() && self.too_many_wait();
        if waits || !queue.has_room(Memory::cost(frame), self.options.buffer_bytes) {
            return Err(token);
        }
        let sent = self.send_in_memory(queue, frame, token);
        self.urge(linger);
        Ok(sent)
    }

    #[cfg(test)]
    pub(super) fn while_locked(&self, call: impl FnOnce()) {
        let _queue = self.queue.lock();
        call();
    }

    fn urge(&self, linger: Linger) {
        // After it is queued: the sender forgets about it before it takes what is there.
        if linger == Linger::Short && !self.urgent.load(Ordering::SeqCst) && !self.urgent.swap(true, Ordering::SeqCst) {
            self.hurry.notify();
        }
    }

    /// Whether as many tokens wait for records on disk as may. Those of records in memory are bounded as these are, and may
    /// come on top when all of memory goes to disk at once.
    fn too_many_wait(&self) -> bool {
        self.tokens.spooled() >= (self.options.buffer_bytes / TOKEN_BYTES).max(1)
    }

    /// Whether another token may wait, where need be in place of the oldest ones.
    fn may_wait(&self, spool: &Spool) -> bool {
        while self.too_many_wait() {
            let dropped = if self.options.on_full == OnFull::DropOldest { spool.drop_oldest() } else { None };
            let Some(dropped) = dropped else { return false };
            self.note_dropped(&[dropped]);
        }
        true
    }

    fn writes_ahead(&self) -> bool {
        self.options.spool.as_ref().is_some_and(|spool| spool.durability != Durability::Memory)
    }

    /// What is in memory is newer than all in the spool, always. So what finds no room in memory goes to the spool only
    /// behind all that is in memory, and under the lock that says what came first.
    fn send_in_memory(&self, mut queue: MutexGuard<'_, Queue>, frame: &[u8], token: Option<T>) -> Result<Sent<T>> {
        let cost = Memory::cost(frame);
        let limit = self.options.buffer_bytes;
        if queue.closed {
            return Err(Error::closed());
        }
        if cost > limit {
            return Err(too_large(cost, limit));
        }
        if let Some(spool) = &self.spool
            && !queue.has_room(cost, limit)
        {
            self.spill(&mut queue, spool);
            if queue.memory.is_empty() && !queue.has_room(cost, limit) {
                return self.append(spool, frame, token); // the rest is in the sender's hands
            }
        }
        if self.options.on_full == OnFull::DropOldest {
            let mut oldest = Vec::new();
            while !queue.has_room(cost, limit) {
                if let Some(id) = queue.returned.drop_first() {
                    oldest.push(id);
                } else if !queue.memory.drop_first(|id, _| oldest.push(id)) {
                    break;
                }
            }
            self.note_dropped(&oldest);
        }
        if !queue.has_room(cost, limit) {
            drop(queue);
            return self.no_room(token, &format!("{limit} bytes of memory wait for the hub"));
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
        self.work.notify();
        if much {
            self.hurry.notify();
        }
        Ok(Sent::Queued)
    }

    fn append(&self, spool: &Spool, frame: &[u8], token: Option<T>) -> Result<Sent<T>> {
        let drops_oldest = self.options.on_full == OnFull::DropOldest;
        let mut token = token;
        let appended = spool.append(frame, drops_oldest, |id| {
            self.counts.accepted.fetch_add(1, Ordering::SeqCst);
            if let Some(token) = token.take() {
                self.tokens.insert(id, token);
            }
        });
        match appended {
            Appended::Kept { dropped } => {
                self.note_dropped_spooled(dropped);
                self.work.notify();
                Ok(Sent::Queued)
            }
            Appended::Failed { id, error, dropped } => {
                // Counted as accepted before it was written; now it is not.
                self.counts.accepted.fetch_sub(1, Ordering::SeqCst);
                self.note_dropped_spooled(dropped);
                let token = self.tokens.remove(id);
                // Waiting for room is of no use, and dropping another one neither.
                if error.fatal { Err(error) } else { self.no_room(token, &error.message) }
            }
            Appended::Refused(error) => Err(error),
        }
    }

    fn no_room(&self, token: Option<T>, why: &str) -> Result<Sent<T>> {
        let error =
            |advice: &str| Error::new(ErrorKind::Full, format!("no room for the record: {why}; {advice}")).retriable();
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

    /// Moves what waits in memory to the spool, as much of it as finds room there.
    fn spill(&self, queue: &mut Queue, spool: &Spool) {
        while let Some(mut chunk) = queue.memory.take() {
            let moved = spool.append_chunk(&chunk, |from, to| self.tokens.rename(from, to))
                || self.spill_one_by_one(spool, &mut chunk);
            if !moved {
                queue.memory.put_back(chunk);
                return;
            }
            queue.memory.recycle(chunk);
        }
    }

    fn spill_one_by_one(&self, spool: &Spool, chunk: &mut Chunk) -> bool {
        let drop_oldest = self.options.on_full == OnFull::DropOldest;
        while let Some((id, frame)) = chunk.first() {
            match spool.append(frame, drop_oldest, |spooled| self.tokens.rename(id, spooled)) {
                Appended::Kept { dropped } => self.note_dropped_spooled(dropped),
                Appended::Failed { id: spooled, dropped, .. } => {
                    self.note_dropped_spooled(dropped);
                    self.tokens.rename(spooled, id);
                    return false;
                }
                Appended::Refused(_) => return false,
            }
            chunk.drop_first();
        }
        true
    }

    pub(super) fn refuse_more(&self) {
        self.queue.lock().closed = true;
        if let Some(spool) = &self.spool {
            spool.refuse_more();
        }
    }

    pub(super) fn hurry(&self) {
        self.hurried.store(true, Ordering::SeqCst);
        self.hurry.notify();
        self.work.notify();
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
        let waiting = queue.memory.records() + queue.returned.waiting();
        queue.in_hand_records == 0 && self.pending() <= waiting as u64
    }

    pub(super) fn pending(&self) -> u64 {
        // In this order: a record is accepted before it is finished.
        let finished = self.counts.finished.load(Ordering::SeqCst);
        self.counts.accepted.load(Ordering::SeqCst).saturating_sub(finished)
    }

    /// Records whose outcome is not known, or not told yet.
    pub(super) fn unflushed(&self) -> u64 {
        // In this order: an outcome that is to be told is among the pending reports before its record is finished.
        let pending = self.pending();
        pending + self.pending_reports.count() as u64
    }

    pub(super) fn is_reporting_here(&self) -> bool {
        self.pending_reports.is_reporting_here()
    }

    pub(super) fn wait_flushed(&self, patience: Duration) -> bool {
        self.wait_for(patience, || self.unflushed() == 0)
    }

    fn wait_for(&self, patience: Duration, there: impl Fn() -> bool) -> bool {
        let deadline = std::time::Instant::now() + patience;
        while !there() {
            let left = deadline.saturating_duration_since(std::time::Instant::now());
            if left.is_zero() {
                return false;
            }
            self.flushed.wait_until(left.min(Duration::from_millis(50)), &there);
        }
        true
    }

    pub(super) fn stats(&self) -> Stats {
        let mut stats = Stats::default();
        {
            let queue = self.queue.lock();
            stats.queued = (queue.memory.records() + queue.in_hand_records + queue.returned.waiting()) as u64;
            stats.queued_bytes = (queue.memory.bytes() + queue.in_hand + queue.returned.bytes()) as u64;
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
            let patience = self.gates.until_next().map_or(IDLE, |next| next.clamp(LOOK, IDLE));
            let reports_due = || self.reports_due.load(Ordering::SeqCst);
            self.work.wait_until(patience, || self.has_work() || reports_due() || self.stops());
        }
        let now = || {
            let told = self.hurried.load(Ordering::SeqCst) || self.stops();
            told || self.queue.lock().memory.bytes() >= CHUNK
        };
        let urgent = || self.urgent.load(Ordering::SeqCst);
        let ProducerOptions { linger, long_linger, .. } = self.options;
        if self.has_work() && !long_linger.is_zero() && !urgent() {
            self.hurry.wait_until(long_linger, || urgent() || now());
        }
        if self.has_work() && !linger.is_zero() && urgent() {
            self.hurry.wait_until(linger, now);
        }
        self.hurried.store(false, Ordering::SeqCst);
        self.urgent.store(false, Ordering::SeqCst);
    }

    pub(super) fn has_work(&self) -> bool {
        self.has_returned_news()
            || !self.queue.lock().memory.is_empty()
            || self.spool.as_ref().is_some_and(Spool::has_work)
    }

    fn has_returned_news(&self) -> bool {
        self.returned_news.load(Ordering::SeqCst)
    }

    pub(super) fn stops(&self) -> bool {
        self.abandon.load(Ordering::SeqCst)
    }

    /// The oldest records in memory, once those of the spool are done.
    pub(super) fn take(&self) -> Option<Chunk> {
        let mut queue = self.queue.lock();
        if let Some(spool) = &self.spool {
            if !self.gates.all_open() {
                // What is refused waits by topic, in the spool.
                self.spill(&mut queue, spool);
            }
            // Under the lock that is held where memory goes to the spool.
            if !spool.lets_memory_go() {
                return None;
            }
        }
        let chunk = queue.memory.take()?;
        queue.in_hand = chunk.len();
        queue.in_hand_records = chunk.records();
        Some(chunk)
    }

    /// What the sender could not hand over. With a spool, newer records may be there already, and it must go before.
    pub(super) fn put_back(&self, mut chunk: Chunk) {
        let mut queue = self.queue.lock();
        queue.in_hand = 0;
        queue.in_hand_records = 0;
        if self.spool.is_some() {
            while let Some((id, frame)) = chunk.first() {
                queue.returned.put(id, chunk.first_age(), || frame.to_vec());
                self.returned.store(true, Ordering::SeqCst);
                self.returned_news.store(true, Ordering::SeqCst);
                chunk.drop_first();
            }
        }
        queue.memory.put_back(chunk);
        drop(queue);
        self.room.notify();
    }

    /// The next returned record after `last` that may go; it is the hub's from now on.
    pub(super) fn take_returned(&self, last: Option<u64>) -> Option<(u64, u32, Vec<u8>)> {
        let mut queue = self.queue.lock();
        queue.returned.take_after(last, |topic| self.gates.may_go(topic))
    }

    /// Whether the sender is to look at returned records.
    pub(super) fn looks_at_returned(&self) -> bool {
        let news = self.returned_news.swap(false, Ordering::SeqCst);
        self.returned.load(Ordering::SeqCst) && (news || self.gates.is_due())
    }

    /// There is something to look at among the returned records.
    pub(super) fn look_again(&self) {
        self.returned_news.store(true, Ordering::SeqCst);
    }

    /// A record of memory waits, and comes before all others of its topic.
    pub(super) fn put_aside(&self, id: u64, age: u32, record: &Record<'_>) {
        self.queue.lock().returned.put(id, age, || framed(record));
        self.returned.store(true, Ordering::SeqCst);
    }

    /// Whether a record may be handed over, one that came back or another. A spooled one that may not is parked.
    pub(super) fn admit(&self, id: u64, topic: &str, came_back: bool) -> Admission {
        let is_first = || match &self.spool {
            Some(spool) if is_spooled(id) => spool.is_first(topic, id),
            // In memory it is behind those that came back, or will be one of them.
            _ => came_back,
        };
        let park = || {
            if let Some(spool) = self.spool.as_ref().filter(|_| is_spooled(id)) {
                spool.park(topic, id);
                spool.has_outcome(id);
            }
        };
        self.gates.admit(topic, is_first, park)
    }

    /// Whether records came back that go first.
    pub(super) fn waits_for_outcomes(&self) -> bool {
        self.came_back.load(Ordering::SeqCst)
    }

    /// All that was under way has its outcome.
    pub(super) fn outcomes_are_known(&self) {
        self.came_back.store(false, Ordering::SeqCst);
    }

    /// How long nothing may be handed over; none if something may.
    pub(super) fn pause(&self) -> Option<Duration> {
        self.gates.nothing_goes().then(|| self.gates.until_next().unwrap_or_default())
    }

    /// One record of each topic that is refused may try again now.
    pub(super) fn try_parked(&self) {
        if let Some(spool) = &self.spool {
            self.gates.due().iter().for_each(|topic| spool.unpark(topic, true));
        }
    }

    /// Gives up on what was refused for too long, or waited for what was. Whether there was any.
    pub(super) fn expire(&self) -> bool {
        let Some(timeout) = self.options.delivery_timeout else { return false };
        if self.gates.all_open() && !self.returned.load(Ordering::SeqCst) {
            return false;
        }
        let timeout = u32::try_from(timeout.as_millis()).unwrap_or(u32::MAX);
        let mut late = Vec::new();
        {
            let mut queue = self.queue.lock();
            late.extend(queue.returned.take_older(timeout));
            if self.gates.nothing_goes() {
                while queue.memory.first_age().is_some_and(|age| age > timeout)
                    && queue.memory.drop_first(|id, frame| late.push((id, frame.to_vec())))
                {}
            }
        }
        for (id, frame) in &late {
            let record = queue::record(frame);
            match self.gates.reason(record.topic) {
                Some(error) => self.give_up_on(*id, &record, &error),
                None => self.timed_out(*id),
            }
        }
        !late.is_empty()
    }

    /// Records were to be handed over that the spool does not have any more.
    pub(super) fn are_missing(&self, missing: &Missing) -> bool {
        self.note_dropped(&missing.dropped);
        let error = Error::new(ErrorKind::Storage, "the record is damaged in the spool and cannot be sent");
        for id in &missing.damaged {
            if let Some(token) = self.tokens.remove(*id) {
                self.pending_reports.push(token, Err(error.clone()));
            }
        }
        self.count_dropped("damaged", missing.damaged.len() as u64);
        if let Some(spool) = &self.spool {
            missing.dropped.iter().chain(&missing.damaged).for_each(|id| spool.done(*id));
        }
        !(missing.dropped.is_empty() && missing.damaged.is_empty())
    }

    // ---- outcomes

    pub(super) fn delivered(&self, id: u64, place: &Delivery<'_>) {
        self.counts.delivered.fetch_add(1, Ordering::Relaxed);
        if !self.gates.all_open() {
            let said = self.gates.open(place.topic, || {
                if let Some(spool) = &self.spool {
                    spool.unpark(place.topic, false);
                }
                self.returned_news.store(true, Ordering::SeqCst);
                // What waited goes before what is in the sender's hands.
                self.came_back.store(true, Ordering::SeqCst);
            });
            self.notices.lock().extend(said);
        }
        if let Some(token) = self.tokens.remove(id) {
            let place = DeliveryMetadata {
                topic: place.topic.to_owned(),
                partition: place.partition,
                offset: place.offset,
                timestamp: place.timestamp,
            };
            self.pending_reports.push(token, Ok(place));
        }
        self.finished(id);
    }

    pub(super) fn failed(&self, id: u64, record: &Record<'_>, error: &Error) {
        let refused = gates::refused(error);
        let waits = if self.spool.is_some() {
            refused.is_some() || error.retriable
        } else {
            let may_go_again =
                (refused.is_some() && self.options.refused_pause.is_some()) || error.code == Some(NEVER_SENT);
            may_go_again && !self.stops() && !self.waited_too_long(id)
        };
        if !waits {
            return self.give_up_on(id, record, error);
        }
        let mut is_there = None;
        if !self.stops() {
            self.counts.retried.fetch_add(1, Ordering::Relaxed);
            if let Some(scope) = refused {
                let park = || match &self.spool {
                    Some(spool) if scope == Scope::Topic && is_spooled(id) => {
                        is_there = Some(spool.come_back(id, Some(record.topic)));
                    }
                    _ => {}
                };
                self.notices.lock().extend(self.gates.close(scope, record.topic, error, park));
            }
            // Nothing is to overtake it; of what is refused by topic, the gate sees to that.
            if refused != Some(Scope::Topic) {
                self.came_back.store(true, Ordering::SeqCst);
            }
        }
        match &self.spool {
            Some(spool) if is_spooled(id) => {
                if !is_there.unwrap_or_else(|| spool.come_back(id, None)) {
                    self.note_dropped(&[id]);
                    spool.done(id);
                }
                spool.has_outcome(id);
            }
            _ => {
                self.put_aside(id, 0, record);
                self.returned_news.store(true, Ordering::SeqCst);
            }
        }
        self.work.notify();
    }

    fn waited_too_long(&self, id: u64) -> bool {
        let Some(timeout) = self.options.delivery_timeout else { return false };
        let age = if self.returned.load(Ordering::SeqCst) { self.queue.lock().returned.age(id) } else { None };
        age.is_some_and(|age| u128::from(age) > timeout.as_millis())
    }

    /// A record failed for good.
    fn give_up_on(&self, id: u64, record: &Record<'_>, error: &Error) {
        let closed = self.stops() && error.retriable;
        // Before it is done itself: at no time nothing is pending while the dead letter is, nor on disk.
        if !closed && self.options.dead_letter && !error.retriable {
            self.send_dead_letter(record, error);
        }
        if let Some(token) = self.tokens.remove(id) {
            self.pending_reports.push(token, Err(error.clone()));
        }
        let counts = if closed { &self.counts.dropped } else { &self.counts.failed };
        *counts.lock().entry(if closed { "closed" } else { reason(error) }).or_default() += 1;
        self.finished(id);
    }

    /// After its outcome is among those to be told.
    fn finished(&self, id: u64) {
        if self.returned.load(Ordering::SeqCst) && !is_spooled(id) {
            let mut queue = self.queue.lock();
            queue.returned.done(id);
            self.returned.store(!queue.returned.is_empty(), Ordering::SeqCst);
        }
        if let Some(spool) = &self.spool {
            spool.done(id);
            spool.has_outcome(id);
        }
        self.counts.finished.fetch_add(1, Ordering::SeqCst);
    }

    /// Writes the dead letter of a record, beyond all bounds, since it takes the record's place: into the spool, where the
    /// record may be; into memory where there is none, or its disk is broken.
    fn send_dead_letter(&self, record: &Record<'_>, error: &Error) {
        let Some(topic) = dead_letter::topic(record.topic) else { return };
        let death = Death { error: &error.message, partition: record.partition, offset: None };
        let headers = dead_letter::headers(record, &death);
        let frame = framed(&dead_letter::record(record, &topic, &headers));
        self.counts.dead_lettered.fetch_add(1, Ordering::Relaxed);
        self.counts.accepted.fetch_add(1, Ordering::SeqCst);
        if !self.spool.as_ref().is_some_and(|spool| spool.append_letter(&frame)) {
            let mut queue = self.queue.lock();
            let id = queue.next_id;
            queue.next_id += 1;
            queue.memory.push(id, &frame);
        }
        self.work.notify();
    }

    pub(super) fn collected(&self) {
        self.note_progress();
        self.hurry_if_idle();
        self.pending_reports.report();
        self.notify_if_flushed();
    }

    /// As [`collected`](Self::collected), with no outcome to tell.
    pub(super) fn note_progress(&self) {
        if let Some(spool) = &self.spool {
            spool.collected();
        }
        self.progress.notify();
        self.room.notify();
        self.notify_if_flushed();
        for text in std::mem::take(&mut *self.notices.lock()) {
            self.warn(&text);
        }
    }

    /// Says something to people. Nothing may be locked: the program's own code runs.
    pub(super) fn warn(&self, text: &str) {
        self.pending_reports.reporter().warn(text);
    }

    fn notify_if_flushed(&self) {
        if self.unflushed() == 0 {
            self.flushed.notify();
        }
    }

    /// A record that waited too long in memory.
    pub(super) fn timed_out(&self, id: u64) {
        if let Some(token) = self.tokens.remove(id) {
            let waited = self.options.delivery_timeout.unwrap_or_default();
            let message = format!("the record was not sent within delivery_timeout_ms={}", waited.as_millis());
            self.pending_reports.push(token, Err(Error::new(ErrorKind::Timeout, message).retriable()));
        }
        *self.counts.dropped.lock().entry("timeout").or_default() += 1;
        self.finished(id);
    }

    /// Records had to make room; the sender tells who waits for them.
    fn note_dropped(&self, ids: &[u64]) {
        if ids.is_empty() {
            return;
        }
        let error = Error::new(ErrorKind::Full, "no room: the record was the oldest and was dropped, as on_full says")
            .retriable();
        for id in ids {
            if let Some(token) = self.tokens.remove(*id) {
                self.pending_reports.push(token, Err(error.clone()));
            }
        }
        self.count_dropped("buffer_full", ids.len() as u64);
        self.reports_due.store(true, Ordering::SeqCst);
        self.work.notify();
        self.progress.notify();
    }

    /// Whether there is something to tell that nobody else will.
    pub(super) fn takes_reports_due(&self) -> bool {
        self.reports_due.swap(false, Ordering::SeqCst)
    }

    fn note_dropped_spooled(&self, ids: Vec<Range<u64>>) {
        if !ids.is_empty() {
            self.note_dropped(&ids.into_iter().flatten().collect::<Vec<_>>());
        }
    }

    fn count_dropped(&self, reason: &'static str, records: u64) {
        if records > 0 {
            *self.counts.dropped.lock().entry(reason).or_default() += records;
            self.counts.finished.fetch_add(records, Ordering::SeqCst);
        }
    }

    /// What is in memory now goes to the spool or is dropped; the sender and the hub have stopped.
    pub(super) fn leave_the_rest(&self) -> CloseReport {
        let (returned, mut dropped) = (self.queue.lock().returned.take_all(), 0);
        if let Some(spool) = &self.spool {
            // First those that came before all that is there.
            let frames = || returned.iter().map(|(_, frame)| &**frame);
            let kept = spool.put_before(frames());
            let kept = kept.unwrap_or_else(|_| frames().filter(|frame| spool.append_last(frame)).count());
            dropped += returned.len() - kept;
        } else {
            dropped += returned.len();
        }
        let mut queue = self.queue.lock();
        while let Some(chunk) = queue.memory.take() {
            let spool = self.spool.as_ref();
            dropped += chunk.iter().filter(|(_, frame)| !spool.is_some_and(|spool| spool.append_last(frame))).count();
        }
        drop(queue);
        self.count_dropped("closed", dropped as u64);
        let error = Error::new(ErrorKind::Closed, "the client was closed before the record was delivered");
        for token in self.tokens.take_all() {
            self.pending_reports.push(token, Err(error.clone()));
        }
        self.pending_reports.report();
        // Another thread may be telling them.
        self.wait_for(LAST_OUTCOMES, || self.pending_reports.count() == 0);
        let spooled = self.spool.as_ref().map_or(0, Spool::close);
        // Whatever the hub did not tell about in time.
        let silent = self.pending().saturating_sub(spooled);
        self.count_dropped("closed", silent);
        self.flushed.notify();
        self.room.notify();
        // Those that the hub gave up on are among them.
        let dropped = self.counts.dropped.lock().get("closed").copied().unwrap_or_default();
        CloseReport { spooled, dropped }
    }
}

fn framed(record: &Record<'_>) -> Vec<u8> {
    let mut frame = Vec::new();
    codec::write(&mut frame, record);
    frame
}

/// What the hub tells.
#[derive(Debug)]
pub(super) struct Sink<T: Send + 'static>(pub(super) Arc<ProducerState<T>>);

impl<T: Send + 'static> Deliveries for Sink<T> {
    fn delivered(&self, id: u64, place: &Delivery<'_>) {
        self.0.delivered(id, place);
    }

    fn failed(&self, id: u64, record: &Record<'_>, error: &Error) {
        self.0.failed(id, record, error);
    }

    fn collected(&self) {
        self.0.collected();
    }
}

/// Whether a record is not larger than any hub and any file of ours takes.
fn fits_any(frame: &[u8]) -> Result<()> {
    let (length, most) = (frame.len(), codec::MAX_RECORD);
    if length <= most {
        return Ok(());
    }
    Err(Error::new(ErrorKind::Message, format!("the record takes {length} bytes: expected at most {most}"))
        .with_code(10))
}

fn too_large(cost: usize, limit: usize) -> Error {
    Error::new(ErrorKind::Message, format!("the record takes {cost} bytes, more than buffer_memory={limit} holds"))
        .with_code(10)
}
