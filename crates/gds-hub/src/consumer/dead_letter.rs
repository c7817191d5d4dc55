//! Dead letters of messages that cannot be read: written by a producer of the consumer's own, one at a time.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use gds_process::sync::{Condvar, Mutex};

use super::Warn;
use crate::batch::Message;
use crate::error::{Error, Failure, Result};
use crate::hub::{Hub, TopicPartition};
use crate::producer::dead_letter::{self, DeadLetterCause};
use crate::producer::{DeliveryMetadata, Linger, Producer, ProducerOptions, Reported, Reporter, Sent};
use crate::record::Record;

/// How long a dead letter may take: the message that it is of is not finished before.
pub const DEAD_LETTER_TIMEOUT: Duration = Duration::from_secs(30);

/// How it stands with a dead letter.
#[derive(Debug)]
pub enum DeadLetterStatus {
    /// The hub has it.
    Delivered,
    /// It is under way.
    Pending(Arc<DeadLetterOutcome>),
    /// The hub does not take it; asking again writes another.
    Refused(Error),
}

/// What becomes of a dead letter.
#[derive(Debug, Default)]
pub struct DeadLetterOutcome {
    outcome: Mutex<Option<Result<DeliveryMetadata>>>,
    known: Condvar,
}

impl DeadLetterOutcome {
    fn set(&self, outcome: Result<DeliveryMetadata>) {
        *self.outcome.lock() = Some(outcome);
        self.known.notify_all();
    }

    /// Waits until it is known, for at most `timeout`; whether it is.
    pub fn wait(&self, timeout: Duration) -> bool {
        let outcome = self.outcome.lock();
        outcome.is_some() || self.known.wait_for(outcome, timeout).0.is_some()
    }
}

/// The dead letters of a consumer.
pub(super) struct DeadLetters {
    /// None once it is closed.
    hub: Option<Arc<dyn Hub>>,
    warn: Arc<Warn>,
    /// Made when first needed.
    producer: Option<Producer<Arc<DeadLetterOutcome>>>,
    /// The letter under way, which is not written again when it is asked for again.
    written: Option<PendingDeadLetter>,
}

struct PendingDeadLetter {
    of: (TopicPartition, i64),
    outcome: Arc<DeadLetterOutcome>,
    /// What to say when it is not taken.
    trouble: String,
}

impl PendingDeadLetter {
    fn refused(&self, why: &Error) -> Error {
        let message = format!("{}: {}", self.trouble, why.message());
        let failure = Failure::new(message).retriable();
        Error::Message(match why.code() {
            Some(code) => failure.with_code(code),
            None => failure,
        })
    }
}

impl DeadLetters {
    pub(super) fn new(hub: Arc<dyn Hub>, warn: Arc<Warn>) -> Self {
        Self { hub: Some(hub), warn, producer: None, written: None }
    }

    /// Writes the dead letter of `message` to `topic`, without waiting for it, or says what became of it.
    pub(super) fn send(&mut self, message: &Message<'_>, topic: &str, error: &Error) -> DeadLetterStatus {
        let of = ((Arc::clone(message.topic), message.partition), message.offset);
        if self.written.as_ref().is_none_or(|letter| letter.of != of) {
            match self.write(message, topic, error) {
                Ok(outcome) => {
                    let trouble = format!(
                        "{topic} did not take the dead letter of a message that cannot be read ({})",
                        error.message()
                    );
                    self.written = Some(PendingDeadLetter { of, outcome, trouble });
                }
                Err(error) => return DeadLetterStatus::Refused(error),
            }
        }
        let Some(letter) = self.written.take() else { return DeadLetterStatus::Delivered };
        let outcome = letter.outcome.outcome.lock().take();
        match outcome {
            Some(Ok(_)) => DeadLetterStatus::Delivered,
            Some(Err(why)) => DeadLetterStatus::Refused(letter.refused(&why)),
            None => {
                let outcome = Arc::clone(&letter.outcome);
                self.written = Some(letter);
                DeadLetterStatus::Pending(outcome)
            }
        }
    }

    /// The error for a letter that takes too long; it stays under way.
    pub(super) fn timed_out(&self) -> Error {
        let why = Error::Timeout(format!("no answer within {DEAD_LETTER_TIMEOUT:?}").into());
        self.written.as_ref().map_or_else(|| why.clone(), |letter| letter.refused(&why))
    }

    fn write(&mut self, message: &Message<'_>, topic: &str, error: &Error) -> Result<Arc<DeadLetterOutcome>> {
        let producer = match &mut self.producer {
            Some(producer) => producer,
            none => {
                let hub = self.hub.as_ref().ok_or_else(Error::closed)?;
                let reporter = Arc::new(SetOutcomes(Arc::clone(&self.warn)));
                none.insert(Producer::new(&**hub, ProducerOptions::default(), reporter)?)
            }
        };
        let record = Record {
            topic: message.topic,
            partition: None,
            timestamp: message.timestamp.unwrap_or_default(),
            key: message.key,
            value: message.value,
            headers: message.headers,
        };
        let cause = DeadLetterCause {
            error: error.message(),
            partition: Some(message.partition),
            offset: Some(message.offset),
        };
        let headers = dead_letter::headers(&record, &cause);
        let outcome = Arc::new(DeadLetterOutcome::default());
        let letter = dead_letter::record(&record, topic, &headers);
        // There is room: letters are written one by one.
        match producer.send(&producer.encode(&letter), Some(Arc::clone(&outcome)), Linger::Short)? {
            Sent::Queued => producer.hurry(),
            Sent::Full(_) => outcome.set(Err(Error::Full("there is no room for it".into()))),
            Sent::Dropped(_, why) => outcome.set(Err(why)),
        }
        Ok(outcome)
    }

    /// Lets go of the hub, when what is under way is known or took too long.
    pub(super) fn close(&mut self) {
        if let Some(producer) = self.producer.take() {
            producer.close(DEAD_LETTER_TIMEOUT);
        }
        self.hub = None;
    }
}

struct SetOutcomes(Arc<Warn>);

impl fmt::Debug for SetOutcomes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SetOutcomes")
    }
}

impl Reporter<Arc<DeadLetterOutcome>> for SetOutcomes {
    fn report(&self, outcomes: Vec<Reported<Arc<DeadLetterOutcome>>>) {
        for Reported { token, outcome } in outcomes {
            token.set(outcome);
        }
    }

    fn warn(&self, text: &str) {
        (self.0)(text);
    }
}
