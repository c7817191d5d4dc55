//! Messages for a loop, one at a time or as lists: what is at hand first, then what a fetch brings.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use gds_hub::consumer::{DEAD_LETTER_TIMEOUT, DeadLetterOutcome};
use gds_hub::{Change, Error};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList};

use super::{ConsumerCore, SLICE};
use crate::errors::hub_error;
use crate::interop::warnings::warn_in;
use crate::json::read::Session;
use crate::kafka::partitions::pairs;
use crate::kafka::reading::{ConsumerState, NextMessage, OpenConsumer, apply_handled, next_message};

/// What came of trying to make a list.
enum ListOutcome {
    Idle(Option<Instant>),
    Pending(Arc<DeadLetterOutcome>),
}

impl ConsumerCore {
    /// Takes in what was told to be handled.
    fn handle(&self, state: &mut ConsumerState) {
        apply_handled(state, std::mem::take(&mut *self.handled.lock()));
    }

    /// Fetches until there is something, or the time is over; false if there will be nothing any more.
    fn fetch(&self, py: Python<'_>, opened: &OpenConsumer, max: usize, deadline: Option<Instant>) -> PyResult<bool> {
        loop {
            if self.closed.load(Ordering::Relaxed) {
                return Ok(false);
            }
            let left = deadline.map_or(SLICE, |deadline| deadline.saturating_duration_since(Instant::now()));
            let fetched = self.with_state(py, |state| {
                if state.consumer.is_closed() {
                    return Ok(None);
                }
                self.handle(state);
                let fetched = state.consumer.fetch(max, left.min(SLICE));
                let warnings = state.consumer.take_warnings();
                Ok(Some((!state.consumer.is_used_up(), state.consumer.take_changes(), warnings, fetched.err())))
            });
            let found = match fetched {
                Err(_) if self.closed.load(Ordering::Relaxed) => return Ok(false),
                fetched => fetched?,
            };
            let Some((some, news, warnings, error)) = found else { return Ok(false) };
            for text in warnings {
                warn_in("gds_kafka", &text);
            }
            self.report_changes(py, opened, news)?;
            if let Some(error) = error {
                let closed = self.closed.load(Ordering::Relaxed);
                return if closed { Ok(false) } else { Err(hub_error(py, &error)) };
            }
            py.check_signals()?;
            if some || left.is_zero() {
                return Ok(true);
            }
        }
    }

    /// Tells the program of partitions that come and go. It may use the consumer meanwhile: nothing is held.
    fn report_changes(&self, py: Python<'_>, opened: &OpenConsumer, mut news: Vec<Change>) -> PyResult<()> {
        let Some(listener) = &opened.listener else { return Ok(()) };
        while !news.is_empty() && !self.closed.load(Ordering::Relaxed) {
            for change in news {
                let (what, places) = match change {
                    Change::Assigned(places) => ("assigned", places),
                    Change::Revoking(places) => ("revoking", places),
                    Change::Revoked(places) => ("revoked", places),
                };
                listener.call1(py, (what, pairs(places)))?;
            }
            let told = self.with_state(py, |state| {
                if !state.consumer.is_closed() {
                    state.consumer.changes_reported()?;
                }
                Ok(state.consumer.take_changes())
            });
            news = match told {
                Err(_) if self.closed.load(Ordering::Relaxed) => return Ok(()),
                told => told?,
            };
        }
        Ok(())
    }

    /// Waits until it is known what became of a dead letter, with nothing held and Ctrl-C heard; false when it takes too
    /// long.
    fn wait_for_dead_letter(&self, py: Python<'_>, outcome: &DeadLetterOutcome) -> PyResult<bool> {
        let deadline = Instant::now() + DEAD_LETTER_TIMEOUT;
        loop {
            if py.detach(|| outcome.wait(SLICE)) || self.closed.load(Ordering::Relaxed) {
                return Ok(true);
            }
            py.check_signals()?;
            if Instant::now() >= deadline {
                return Ok(false);
            }
        }
    }

    fn dead_letter_timed_out(&self, py: Python<'_>) -> PyResult<PyErr> {
        let error = self.with_python(py, |_, state| Ok(state.consumer.dead_letter_timed_out()))?;
        Ok(hub_error(py, &error.unwrap_or_else(Error::closed)))
    }

    /// The next message for the loop `by`; None when there will be none, or none came in time.
    pub(in crate::kafka) fn next_of<'py>(&self, py: Python<'py>, by: u64) -> PyResult<Option<Bound<'py, PyDict>>> {
        let opened = self.opened(py)?;
        let _reading = self.begin_reading(py)?;
        let deadline = opened.settings.consumer.timeout.map(|timeout| Instant::now() + timeout);
        let begins = self.begins.swap(false, Ordering::Relaxed);
        let mut asked = false;
        loop {
            let next = self.with_python(py, |opened, state| {
                if !std::mem::replace(&mut asked, true) {
                    self.handle(state);
                    state.consumer.ask(by, begins).map_err(|error| hub_error(py, &error))?;
                }
                next_message(py, opened, state, &mut Session::new(), by)
            })?;
            match next {
                None => return Ok(None),
                Some(NextMessage::Message(message)) => return Ok(Some(message)),
                Some(NextMessage::Refused(error)) => return Err(error),
                Some(NextMessage::Pending(outcome)) => {
                    if !self.wait_for_dead_letter(py, &outcome)? {
                        return Err(self.dead_letter_timed_out(py)?);
                    }
                    continue;
                }
                Some(NextMessage::Empty) => {}
            }
            let max = opened.settings.consumer.max_poll_records;
            // Slices of the whole wait, so that a message at hand is finished with before each.
            if !self.fetch(py, opened, max, deadline)? {
                return Ok(None);
            }
            let over = deadline.is_some_and(|deadline| Instant::now() >= deadline);
            if over && self.with_python(py, |_, state| Ok(state.consumer.is_used_up()))?.unwrap_or(true) {
                return Ok(None);
            }
        }
    }

    /// Up to `max_messages` for the loop `by`; an empty list when nothing came in time, None when nothing will come any more.
    pub(super) fn list_of<'py>(
        &self,
        py: Python<'py>,
        by: u64,
        max_messages: usize,
        timeout_seconds: f64,
    ) -> PyResult<Option<Bound<'py, PyList>>> {
        let opened = self.opened(py)?;
        let _reading = self.begin_reading(py)?;
        let timeout = Duration::try_from_secs_f64(timeout_seconds).unwrap_or_default();
        let deadline = Instant::now() + timeout;
        let begins = self.begins.swap(false, Ordering::Relaxed);
        let list = PyList::empty(py);
        let (mut asked, mut fetched, mut late) = (false, false, false);
        loop {
            let listed = self.with_python(py, |opened, state| {
                state.idle_since.get_or_insert_with(Instant::now);
                if list.is_empty() {
                    self.handle(state);
                    if !std::mem::replace(&mut asked, true) {
                        state.consumer.ask(by, begins).map_err(|error| hub_error(py, &error))?;
                    }
                    state.consumer.open_list(by);
                }
                let mut session = Session::new();
                while list.len() < max_messages {
                    match next_message(py, opened, state, &mut session, by) {
                        Ok(NextMessage::Message(message)) => list.append(message)?,
                        Ok(NextMessage::Empty) => break,
                        Ok(NextMessage::Pending(outcome)) if !late => return Ok(ListOutcome::Pending(outcome)),
                        // First what could be read; the next call raises.
                        Ok(_) if !list.is_empty() => break,
                        Ok(NextMessage::Pending(_)) => {
                            state.consumer.empty_list();
                            return Err(hub_error(py, &state.consumer.dead_letter_timed_out()));
                        }
                        Ok(NextMessage::Refused(error)) => {
                            state.consumer.empty_list();
                            return Err(error);
                        }
                        Err(error) => {
                            if list.is_empty() {
                                state.consumer.empty_list();
                            } else {
                                state.consumer.take_list_back();
                            }
                            return Err(error);
                        }
                    }
                }
                if list.is_empty() {
                    state.consumer.empty_list();
                } else {
                    state.idle_since = None;
                }
                Ok(ListOutcome::Idle(state.idle_since))
            })?;
            let idle_since = match listed {
                None => return Ok(None),
                Some(ListOutcome::Idle(since)) => since,
                Some(ListOutcome::Pending(outcome)) => {
                    match self.wait_for_dead_letter(py, &outcome) {
                        Ok(settled) => late = !settled,
                        Err(interrupted) => {
                            self.with_state(py, |state| {
                                state.consumer.take_list_back();
                                Ok(())
                            })?;
                            return Err(interrupted);
                        }
                    }
                    continue;
                }
            };
            if !list.is_empty() {
                return Ok(Some(list));
            }
            if fetched && Instant::now() >= deadline {
                let idle = idle_since.map(|since| since.elapsed());
                let over = opened.settings.consumer.timeout.is_some_and(|most| idle.is_some_and(|idle| idle >= most));
                return Ok((!over).then_some(list));
            }
            if !self.fetch(py, opened, max_messages, Some(deadline))? {
                return Ok(None);
            }
            fetched = true;
        }
    }
}
