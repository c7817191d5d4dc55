//! The thread that hands records to the hub, in order.

use std::cell::Cell;
use std::time::Duration;

use super::gates::Admission;
use super::queue::{self, Chunk};
use super::spool::HandOverOutcome;
use super::state::ProducerState;
use crate::error::Error;
use crate::hub::Publisher;
use crate::record::Record;

/// How long to wait for a hub whose own queue is full, if it does not say earlier that there is room.
const FULL: Duration = Duration::from_millis(10);

/// Before records that failed are handed over again, and how often it is looked whether those may go that are refused.
const BEFORE_AGAIN: Duration = Duration::from_millis(100);

pub(super) fn run<T: Send + 'static>(shared: &ProducerState<T>, publisher: &dyn Publisher) {
    let sender = Sender::new(shared, publisher);
    while !shared.stops() {
        shared.wait_for_work();
        sender.round();
    }
}

pub(super) struct Sender<'a, T: Send + 'static> {
    shared: &'a ProducerState<T>,
    publisher: &'a dyn Publisher,
    /// Records found their outcome in here. Those of the hub are told by the hub's thread, and this one goes on sending.
    outcomes: Cell<bool>,
}

impl<'a, T: Send + 'static> Sender<'a, T> {
    pub(super) fn new(shared: &'a ProducerState<T>, publisher: &'a dyn Publisher) -> Self {
        Self { shared, publisher, outcomes: Cell::new(false) }
    }

    /// Hands over what there is now.
    pub(super) fn round(&self) {
        let Self { shared, publisher, .. } = self;
        if self.may_go_on() {
            self.hand_over();
        }
        if !shared.has_work() {
            publisher.idle();
        }
        shared.notices.lock().extend(publisher.warnings());
        if shared.expire() | shared.takes_reports_due() | self.outcomes.take() {
            shared.collected();
        } else {
            shared.note_progress();
        }
    }

    /// Waits, for a while, for what must be before anything more is handed over; whether it is.
    fn may_go_on(&self) -> bool {
        let Self { shared, publisher, .. } = self;
        if shared.waits_for_outcomes() {
            if publisher.in_flight() > 0 {
                publisher.idle();
                shared.progress.wait(FULL);
                return false;
            }
            shared.outcomes_are_known();
            shared.progress.wait(BEFORE_AGAIN);
        }
        if let Some(pause) = shared.pause() {
            shared.progress.wait(pause.min(BEFORE_AGAIN));
            return false;
        }
        true
    }

    /// First what came back, then what is on disk, then what is in memory: this is the order in which it came.
    fn hand_over(&self) {
        let Self { shared, publisher, .. } = self;
        shared.try_parked();
        if shared.looks_at_returned() {
            self.hand_over_returned();
        }
        if let Some(spool) = &shared.spool {
            // What is in these hands cannot make room any more.
            match spool.hand_over(shared.options.buffer_bytes / 4, |id, record| self.pass(id, record, None, false)) {
                Ok(missing) => self.outcomes.set(shared.are_missing(&missing) | self.outcomes.get()),
                Err(_) => shared.progress.wait(BEFORE_AGAIN), // counted; the disk may be well again then
            }
        }
        publisher.handed_over();
        while !shared.stops() && !shared.waits_for_outcomes() {
            let Some(chunk) = shared.take() else {
                if shared.spool.is_some() && shared.has_work() {
                    // What is in memory waits for the outcome of what was on disk.
                    publisher.idle();
                    shared.progress.wait(FULL);
                }
                break;
            };
            let (rest, passed) = self.hand_over_chunk(chunk);
            publisher.handed_over();
            shared.put_back(rest);
            if passed == HandOverOutcome::Stop {
                break;
            }
        }
    }

    fn hand_over_returned(&self) {
        let mut last = None;
        while let Some((id, age, frame)) = self.shared.take_returned(last) {
            let record = queue::record(&frame);
            if self.pass(id, &record, Some(age), true) == HandOverOutcome::Stop {
                self.shared.put_aside(id, age, &record);
                self.shared.look_again();
                break;
            }
            last = Some(id);
        }
    }

    fn hand_over_chunk(&self, mut chunk: Chunk) -> (Chunk, HandOverOutcome) {
        while let Some((id, frame)) = chunk.first() {
            if self.pass(id, &queue::record(frame), Some(chunk.first_age()), false) == HandOverOutcome::Stop {
                return (chunk, HandOverOutcome::Stop);
            }
            chunk.drop_first();
        }
        (chunk, HandOverOutcome::On)
    }

    /// Hands one record over, waiting while the hub's own queue is full. `age` is how long one of memory waited so far.
    fn pass(&self, id: u64, record: &Record<'_>, age: Option<u32>, came_back: bool) -> HandOverOutcome {
        let Self { shared, publisher, outcomes } = self;
        match shared.admit(id, record.topic, came_back) {
            Admission::Go => {}
            Admission::Nothing => return HandOverOutcome::Stop,
            Admission::NotThisTopic => {
                if let Some(age) = age {
                    shared.put_aside(id, age, record);
                }
                return HandOverOutcome::On;
            }
        }
        let timeout = shared.options.delivery_timeout.map_or(u128::MAX, |timeout| timeout.as_millis());
        let begun = queue::clock();
        // Looked at after it was admitted: what a gate kept back is to go before what passes when it opens.
        while !shared.stops() && !shared.waits_for_outcomes() {
            match publisher.publish(id, record) {
                Ok(()) => return HandOverOutcome::On,
                Err(error) if matches!(error, Error::Full(_)) && error.retriable() => {
                    let waited = age.map(|age| u128::from(age) + u128::from(queue::clock().wrapping_sub(begun)));
                    if waited.is_some_and(|waited| waited > timeout) {
                        shared.timed_out(id);
                        outcomes.set(true);
                        return HandOverOutcome::On;
                    }
                    publisher.handed_over();
                    if shared.takes_reports_due() {
                        shared.collected();
                    }
                    shared.progress.wait(FULL);
                }
                Err(error) => {
                    shared.failed(id, record, &error);
                    outcomes.set(true);
                    return HandOverOutcome::On;
                }
            }
        }
        HandOverOutcome::Stop
    }
}
