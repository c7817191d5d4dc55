//! The thread that hands records to the hub, in order.

use std::cell::Cell;
use std::time::Duration;

use super::queue::{self, Chunk};
use super::shared::Shared;
use crate::error::Kind;
use crate::hub::Publisher;
use crate::record::Record;

/// How long to wait for a hub whose own queue is full, if it does not say earlier that there is room.
const FULL: Duration = Duration::from_millis(10);

/// Before records that failed are handed over again.
const BEFORE_AGAIN: Duration = Duration::from_millis(100);

pub(super) fn run<T: Send + 'static>(shared: &Shared<T>, publisher: &dyn Publisher) {
    Sender { shared, publisher, outcomes: Cell::new(false) }.run();
}

struct Sender<'a, T: Send + 'static> {
    shared: &'a Shared<T>,
    publisher: &'a dyn Publisher,
    /// Records found their outcome in here. Those of the hub are told by the hub's thread, and this one goes on sending.
    outcomes: Cell<bool>,
}

impl<T: Send + 'static> Sender<'_, T> {
    fn run(&self) {
        let Self { shared, publisher, .. } = self;
        while !shared.stops() {
            shared.wait_for_work();
            // First what is on disk: while anything is, nothing newer is in memory that could overtake it.
            if let Some(spool) = &shared.spool {
                let again = spool.send_again(|id, record| self.publish(id, record, None));
                spool.send_unread(|id, record| self.publish(id, record, None));
                publisher.handed_over();
                shared.caught_up(spool);
                if again > 0 {
                    shared.progress.wait(BEFORE_AGAIN);
                }
            }
            while let Some(chunk) = shared.take() {
                let rest = self.send(chunk);
                publisher.handed_over();
                shared.put_back(rest);
                if shared.stops() {
                    break;
                }
            }
            if !shared.has_work() {
                publisher.idle();
            }
            if self.outcomes.take() {
                shared.collected();
            } else {
                shared.note_progress();
            }
        }
    }

    fn send(&self, mut chunk: Chunk) -> Chunk {
        while let Some((id, frame)) = chunk.first() {
            if !self.publish(id, &queue::record(frame), Some(&chunk)) {
                break;
            }
            chunk.drop_first();
        }
        chunk
    }

    /// Hands one record over, waiting while the hub's own queue is full; false when the sender is to stop.
    fn publish(&self, id: u64, record: &Record<'_>, waiting_in: Option<&Chunk>) -> bool {
        let Self { shared, publisher, outcomes } = self;
        let timeout = shared.options.delivery_timeout.map_or(u128::MAX, |timeout| timeout.as_millis());
        loop {
            match publisher.publish(id, record) {
                Ok(()) => return true,
                Err(error) if error.kind == Kind::Full && error.retriable => {
                    if shared.stops() {
                        return false;
                    }
                    if waiting_in.is_some_and(|chunk| u128::from(chunk.first_age()) > timeout) {
                        shared.timed_out(id);
                        outcomes.set(true);
                        return true;
                    }
                    publisher.handed_over();
                    shared.progress.wait(FULL);
                }
                Err(error) => {
                    shared.failed(id, record, &error);
                    outcomes.set(true);
                    return true;
                }
            }
        }
    }
}
