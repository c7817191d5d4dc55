//! What becomes of records, as the hub tells: counted, reported, tried again or put aside.

use std::sync::Arc;

use super::dead_letter::{self, DeadLetterCause};
use super::gates::{self, Scope};
use super::id::is_spooled;
use super::outcome::{DeliveryMetadata, reason};
use super::queue;
use super::spool::{MissingRecords, Spool};
use super::state::{ProducerState, framed};
use super::{CloseReport, LAST_OUTCOMES};
use crate::error::{Error, Failure};
use crate::hub::{Deliveries, Delivery};
use crate::record::Record;
use crate::sync::Ordering;

/// librdkafka's number for a record that was given up before it was sent: sending it cannot double it.
const NEVER_SENT: i32 = -152;

impl<T: Send + 'static> ProducerState<T> {
    /// Records were to be handed over that the spool does not have any more.
    pub(super) fn are_missing(&self, missing: &MissingRecords) -> bool {
        self.note_dropped(&missing.dropped);
        let error = Error::Storage("the record is damaged in the spool and cannot be sent".into());
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
            refused.is_some() || error.retriable()
        } else {
            let may_go_again =
                (refused.is_some() && self.options.refused_pause.is_some()) || error.code() == Some(NEVER_SENT);
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
        let closed = self.stops() && error.retriable();
        // Before it is done itself: at no time nothing is pending while the dead letter is, nor on disk.
        if !closed && self.options.dead_letter && !error.retriable() {
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
        let cause = DeadLetterCause { error: error.message(), partition: record.partition, offset: None };
        let headers = dead_letter::headers(record, &cause);
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
        let notices = std::mem::take(&mut *self.notices.lock());
        for text in notices {
            self.warn(&text);
        }
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
            self.pending_reports.push(token, Err(Error::Timeout(Failure::new(message).retriable())));
        }
        *self.counts.dropped.lock().entry("timeout").or_default() += 1;
        self.finished(id);
    }

    /// Whether there is something to tell that nobody else will.
    pub(super) fn takes_reports_due(&self) -> bool {
        self.reports_due.swap(false, Ordering::SeqCst)
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
        let error = Error::Closed("the client was closed before the record was delivered".into());
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
}

/// What the hub tells.
#[derive(Debug)]
pub(super) struct DeliverySink<T: Send + 'static>(pub(super) Arc<ProducerState<T>>);

impl<T: Send + 'static> Deliveries for DeliverySink<T> {
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
