//! Dead letters of messages that cannot be read: written by a producer of the consumer's own, one at a time.

use std::sync::Arc;
use std::time::Duration;

use gds_hub::producer::dead_letter::{self, Death};
use gds_hub::producer::{Producer, ProducerOptions, Sent};
use gds_hub::{Error, ErrorKind, Hub, Message, Record, TopicPartition};

use super::outcomes::{Many, PythonReporter, Token};

/// How long a dead letter may take: what it is the letter of is not finished before.
pub(super) const LETTER_PATIENCE: Duration = Duration::from_secs(30);

/// The dead letters of a consumer.
pub(super) struct Letters {
    /// None once it is closed.
    hub: Option<Arc<dyn Hub>>,
    /// Made when first needed.
    producer: Option<Producer<Token>>,
    /// The letter under way, which is not written again when it is asked for again.
    written: Option<Letter>,
}

struct Letter {
    of: (TopicPartition, i64),
    outcome: Arc<Many>,
    /// What to say when it is not taken.
    trouble: String,
}

/// How it stands with a dead letter.
pub(super) enum Burial {
    /// The hub has it.
    Done,
    /// It is under way.
    Waits(Arc<Many>),
    /// The hub does not take it; asking again writes another.
    Refused(Error),
}

impl Letters {
    pub(super) fn new(hub: Arc<dyn Hub>) -> Self {
        Self { hub: Some(hub), producer: None, written: None }
    }

    /// Writes the dead letter of `message`, which is not waited for, or says what became of it.
    pub(super) fn send_dead_letter(&mut self, message: &Message<'_>, topic: &str, error: &Error) -> Burial {
        let of = ((Arc::clone(message.topic), message.partition), message.offset);
        if self.written.as_ref().is_none_or(|letter| letter.of != of) {
            match self.write(message, topic, error) {
                Ok(outcome) => {
                    let trouble = format!(
                        "{topic} did not take the dead letter of a message that cannot be read ({})",
                        error.message
                    );
                    self.written = Some(Letter { of, outcome, trouble });
                }
                Err(error) => return Burial::Refused(error),
            }
        }
        let Some(letter) = &self.written else { return Burial::Done };
        if !letter.outcome.wait(Duration::ZERO) {
            return Burial::Waits(Arc::clone(&letter.outcome));
        }
        let outcome = letter.outcome.take().pop().flatten();
        let refused = match outcome {
            Some(Err(why)) => Burial::Refused(letter.refused(&why)),
            _ => Burial::Done,
        };
        self.written = None;
        refused
    }

    /// The error for a letter that takes too long; it stays under way.
    pub(super) fn late(&self) -> Error {
        let why = Error::new(ErrorKind::Timeout, format!("no answer within {LETTER_PATIENCE:?}"));
        self.written.as_ref().map_or_else(|| why.clone(), |letter| letter.refused(&why))
    }

    fn write(&mut self, message: &Message<'_>, topic: &str, error: &Error) -> Result<Arc<Many>, Error> {
        let producer = match &mut self.producer {
            Some(producer) => producer,
            none => {
                let hub = self.hub.as_ref().ok_or_else(Error::closed)?;
                none.insert(Producer::new(&**hub, ProducerOptions::default(), Arc::new(PythonReporter))?)
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
        let death = Death { error: &error.message, partition: Some(message.partition), offset: Some(message.offset) };
        let headers = dead_letter::headers(&record, &death);
        let outcome = Arc::new(Many::default());
        let index = outcome.expect();
        let letter = dead_letter::record(&record, topic, &headers);
        // There is room: letters are written one by one.
        match producer.send_record(&letter, Some(Token::Waiting(Arc::clone(&outcome), index)), Duration::ZERO)? {
            Sent::Queued => producer.hurry(),
            Sent::Full(_) => outcome.put(index, Err(Error::new(ErrorKind::Full, "there is no room for it"))),
            Sent::Dropped(_, why) => outcome.put(index, Err(why)),
        }
        Ok(outcome)
    }

    /// Lets go of the hub, when what is under way is settled or took too long.
    pub(super) fn close(&mut self) {
        if let Some(producer) = self.producer.take() {
            producer.close(LETTER_PATIENCE);
        }
        self.hub = None;
    }
}

impl Letter {
    fn refused(&self, why: &Error) -> Error {
        let message = format!("{}: {}", self.trouble, why.message);
        Error { code: why.code, ..Error::new(ErrorKind::Message, message).retriable() }
    }
}
