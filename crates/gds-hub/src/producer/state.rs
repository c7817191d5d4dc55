//! What callers, the sender thread and the hub's threads share.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use super::gates::{Admission, Gates};
use super::id::is_spooled;
use super::outcome::{PendingReports, Reporter, Tokens};
use super::queue::{CHUNK, Chunk, Memory, Returned};
use super::spool::{Appended, Spool};
use super::{OnFull, ProducerOptions, REFUSED_PAUSE, Stats};
use crate::codec;
use crate::error::{Error, Failure};
use crate::event::Event;
use crate::record::Record;
use crate::sync::{AtomicBool, AtomicU64, Mutex, Ordering};

/// How often the sender looks up when nothing wakes it.
const IDLE: Duration = Duration::from_secs(1);

/// How often at most it looks whether what is refused may be tried: what there is to try may be with the hub.
pub(super) const LOOK: Duration = Duration::from_millis(20);

#[derive(Debug)]
pub(super) struct ProducerState<T: Send + 'static> {
    pub(super) options: ProducerOptions,
    pub(super) spool: Option<Spool>,
    pub(super) queue: Mutex<Queue>,
    pub(super) tokens: Tokens<T>,
    pub(super) pending_reports: PendingReports<T>,
    pub(super) counts: Counts,
    pub(super) gates: Gates,
    /// Records came back that are older than what is handed over now. Nothing more is, until the outcome of all that
    /// is under way is known: then they go in order.
    pub(super) came_back: AtomicBool,
    /// There are returned records, and some of them came since the sender last looked.
    pub(super) returned: AtomicBool,
    pub(super) returned_news: AtomicBool,
    /// There are outcomes that no thread of the hub will tell: the sender does, since callers are not to wait for it.
    pub(super) reports_due: AtomicBool,
    /// What is to be said to people, when nothing is locked.
    pub(super) notices: Mutex<Vec<String>>,
    /// Notified when there is something to send and the sender sleeps.
    pub(super) work: Event,
    /// Notified when the sender is not to linger.
    pub(super) hurry: Event,
    pub(super) hurried: AtomicBool,
    /// The sender is not to linger once nothing is under way.
    pub(super) hurries_when_idle: AtomicBool,
    /// Something came since the sender last looked that is not patient.
    pub(super) urgent: AtomicBool,
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
pub(super) struct Queue {
    /// Older than all in the spool, which is older than all in memory.
    pub(super) returned: Returned,
    pub(super) memory: Memory,
    /// Bytes that the sender took out and has not handed to the hub yet.
    pub(super) in_hand: usize,
    pub(super) in_hand_records: usize,
    pub(super) next_id: u64,
    pub(super) closed: bool,
}

impl Queue {
    pub(super) fn has_room(&self, cost: usize, limit: usize) -> bool {
        self.memory.bytes() + self.in_hand + self.returned.bytes() + cost <= limit
    }
}

#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) accepted: AtomicU64,
    pub(super) finished: AtomicU64,
    pub(super) delivered: AtomicU64,
    pub(super) retried: AtomicU64,
    pub(super) dead_lettered: AtomicU64,
    pub(super) failed: Mutex<std::collections::BTreeMap<&'static str, u64>>,
    pub(super) dropped: Mutex<std::collections::BTreeMap<&'static str, u64>>,
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

    pub(super) fn hurry_if_idle(&self) {
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

    pub(super) fn wait_flushed(&self, timeout: Duration) -> bool {
        self.wait_for(timeout, || self.unflushed() == 0)
    }

    pub(super) fn wait_for(&self, timeout: Duration, there: impl Fn() -> bool) -> bool {
        let deadline = std::time::Instant::now() + timeout;
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

    /// Sleeps until there is something to send or the sender is to stop, then lingers.
    pub(super) fn wait_for_work(&self) {
        if !self.has_work() && !self.stops() {
            let timeout = self.gates.until_next().map_or(IDLE, |next| next.clamp(LOOK, IDLE));
            let reports_due = || self.reports_due.load(Ordering::SeqCst);
            self.work.wait_until(timeout, || self.has_work() || reports_due() || self.stops());
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

    /// Says something to people. Nothing may be locked: the program's own code runs.
    pub(super) fn warn(&self, text: &str) {
        self.pending_reports.reporter().warn(text);
    }

    pub(super) fn note_dropped_spooled(&self, ids: Vec<Range<u64>>) {
        if !ids.is_empty() {
            self.note_dropped(&ids.into_iter().flatten().collect::<Vec<_>>());
        }
    }

    /// Records had to make room; the sender tells who waits for them.
    pub(super) fn note_dropped(&self, ids: &[u64]) {
        if ids.is_empty() {
            return;
        }
        let error = Error::Full(
            Failure::new("no room: the record was the oldest and was dropped, as on_full says").retriable(),
        );
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

    pub(super) fn count_dropped(&self, reason: &'static str, records: u64) {
        if records > 0 {
            *self.counts.dropped.lock().entry(reason).or_default() += records;
            self.counts.finished.fetch_add(records, Ordering::SeqCst);
        }
    }

    /// Moves what waits in memory to the spool, as much of it as finds room there.
    pub(super) fn spill(&self, queue: &mut Queue, spool: &Spool) {
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
}

pub(super) fn framed(record: &Record<'_>) -> Vec<u8> {
    let mut frame = Vec::new();
    codec::write(&mut frame, record);
    frame
}
