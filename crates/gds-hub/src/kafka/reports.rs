//! What became of records, as told by the thread of a publisher's client.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use super::callbacks::LogLevel;
use super::client::EventHandler;
use super::context::ClientContext;
use super::errors;
use super::native::{ClientPurpose, Event, Handle};
use super::produce::{self, Outcome};
use super::publish_client::{PublishClient, PublishContext};
use crate::error::{Error, Failure, Result};
use crate::record::Record;

/// Between looks for room among the records that are sent one by one.
const PAUSE: Duration = Duration::from_millis(5);

pub(super) struct Reports {
    common: PublishContext,
    timeout: String,
    /// What is refused as too large may be one of many.
    batches: bool,
}

impl Reports {
    pub(super) fn new(common: PublishContext, batches: bool) -> Self {
        let timeout = common.kafka.settings.producer.delivery_timeout;
        let timeout = timeout.map_or_else(|| "the time given".to_owned(), |time| format!("{time:?}"));
        Self { common, timeout, batches }
    }

    fn failure(&self, code: i32, topic: &str, event: &Event) -> Error {
        let shared = event.shared();
        let message = match code {
            errors::PURGE_QUEUE | errors::PURGE_INFLIGHT => {
                let fatal = event.fatal_error();
                if let Some(error) = &fatal
                    && error.code().is_some_and(errors::refuses_client)
                {
                    return error.clone(); // no broker has seen it
                }
                let why = fatal.map_or_else(|| errors::text(code), |error| error.message().to_owned());
                format!("a record for topic {topic:?} was given up: {why}")
            }
            errors::MSG_TIMED_OUT => {
                let (_, reason) = shared.reason((code, "the brokers did not answer in time"));
                format!("a record for topic {topic:?} could not be delivered within {}: {reason}", self.timeout)
            }
            errors::TOO_LARGE => format!(
                "a record for topic {topic:?} is larger than the broker takes: raise the topic's max.message.bytes, or \
                 send less at once"
            ),
            _ => format!("a record for topic {topic:?} was refused: {}", errors::text(code)),
        };
        errors::error(code, message)
    }

    /// Sends a record that was refused as too large once more, alone. Its outcome is told by the other client.
    fn alone(&self, id: u64, record: &Record<'_>, shared: &ClientContext) -> Result<()> {
        loop {
            if self.common.counters.ending.load(Ordering::Acquire) {
                return Err(Error::Closed(Failure::new("the publisher is closed").retriable()));
            }
            let mut single = self.common.single.lock();
            if single.is_none() {
                let text = format!(
                    "a batch for topic {:?} is larger than the broker takes; its records are sent one by one. Give a \
                     batch_size below the topic's max.message.bytes",
                    record.topic
                );
                shared.log(LogLevel::Warning, "TOOLARGE", &text);
                let reports = Self::new(self.common.clone(), false);
                let one = [("batch.num.messages", "1")];
                *single = Some(PublishClient::new(self.common.kafka.client(
                    ClientPurpose::Publish,
                    &one,
                    Box::new(reports),
                )?));
            }
            let Some(current) = single.as_mut() else { continue };
            match current.produce(id, record) {
                Err(Error::Full(_)) => {}
                result => return result,
            }
            // Reports behind this one wait, and with them whoever publishes: that is what bounds the memory.
            drop(single);
            thread::sleep(PAUSE);
        }
    }
}

impl EventHandler for Reports {
    fn outcomes(&mut self, event: &Event) {
        let shared = event.shared();
        let deliveries = &self.common.deliveries;
        let (mut told, mut bytes, mut delivered) = (0, 0, false);
        // Records of a batch fail together, for one reason.
        let mut last: Option<(i32, String, Error)> = None;
        produce::outcomes(event, |id, size, outcome| match outcome {
            Outcome::Delivered(place) => {
                if !delivered {
                    // Before anybody hears of it, and may find the client ended.
                    delivered = true;
                    shared.is_well();
                    self.common.counters.delivered.store(true, Ordering::Release);
                }
                (told, bytes) = (told + 1, bytes + size);
                deliveries.delivered(id, place);
            }
            Outcome::Failed(errors::TOO_LARGE, record) if self.batches => {
                if let Err(error) = self.alone(id, record, shared) {
                    (told, bytes) = (told + 1, bytes + size);
                    deliveries.failed(id, record, &error);
                }
            }
            Outcome::Failed(code, record) => {
                (told, bytes) = (told + 1, bytes + size);
                if last.as_ref().is_none_or(|(known, topic, _)| known != code || topic != record.topic) {
                    last = Some((*code, record.topic.to_owned(), self.failure(*code, record.topic, event)));
                }
                if let Some((_, _, error)) = &last {
                    deliveries.failed(id, record, error);
                }
            }
        });
        self.common.counters.in_flight.fetch_sub(told, Ordering::AcqRel);
        self.common.counters.in_flight_bytes.fetch_sub(bytes, Ordering::AcqRel);
        deliveries.collected();
    }

    /// What waits for a client that has ended waits for ever, unless it is given up.
    fn ended(&mut self, handle: &Arc<Handle>) {
        produce::purge(handle);
    }

    fn finished(&self) -> bool {
        self.common.counters.in_flight.load(Ordering::Acquire) == 0
    }
}
