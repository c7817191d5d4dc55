//! The way into Kafka.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use parking_lot::Mutex;

use super::Kafka;
use super::client::{Client, Duty};
use super::errors;
use super::native::{Event, Use};
use super::produce::{self, Outcome, Topics};
use super::shared::{LogLevel, Shared};
use crate::error::{Error, Result};
use crate::hub::{Deliveries, Publisher};
use crate::record::Record;

/// Publishes to Kafka. Reports come on a thread of its own.
///
/// An error that ends librdkafka's client (it says so when it can no longer promise that nothing is written twice or
/// in another order) makes a new client; what was under way is told as failed and retriable. If the new one ends in
/// the same way before anything was delivered, the error is fatal.
pub(super) struct KafkaPublisher {
    kafka: Arc<Kafka>,
    current: Mutex<Option<Current>>,
    counters: Arc<Counters>,
    deliveries: Arc<dyn Deliveries>,
}

/// Dropped in this order: topics are given back before their client ends.
struct Current {
    topics: Topics,
    client: Client,
}

#[derive(Default)]
struct Counters {
    in_flight: AtomicUsize,
    /// Something was delivered since the client was made.
    delivered: AtomicBool,
}

impl fmt::Debug for KafkaPublisher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KafkaPublisher").field("in_flight", &self.counters.in_flight).finish_non_exhaustive()
    }
}

impl KafkaPublisher {
    pub(super) fn new(kafka: Arc<Kafka>, deliveries: Arc<dyn Deliveries>) -> Result<Self> {
        let counters = Arc::new(Counters { in_flight: AtomicUsize::new(0), delivered: AtomicBool::new(true) });
        let publisher = Self { kafka, current: Mutex::new(None), counters, deliveries };
        *publisher.current.lock() = Some(publisher.client()?);
        Ok(publisher)
    }

    fn client(&self) -> Result<Current> {
        let timeout = self.kafka.settings.producer.delivery_timeout;
        let reports = Reports {
            counters: self.counters.clone(),
            deliveries: self.deliveries.clone(),
            patience: timeout.map_or_else(|| "the time given".to_owned(), |time| format!("{time:?}")),
        };
        let client = self.kafka.client(Use::Publish, &[], Box::new(reports))?;
        Ok(Current { topics: Topics::new(client.handle().clone()), client })
    }

    /// A new client in place of one that ended, once for each time that something was delivered.
    fn replace(&self, current: &mut Option<Current>) -> Result<()> {
        let Some(old) = current.as_ref() else { return Ok(()) };
        let handle = old.client.handle();
        let error = handle.fatal_error().unwrap_or_else(|| errors::fatal(errors::FATAL, "it does not say why"));
        if !self.counters.delivered.swap(false, Ordering::AcqRel) {
            return Err(error);
        }
        handle.shared().log(LogLevel::Error, "FATAL", &format!("making a new client: {error}"));
        produce::purge(handle);
        // The old one ends, and tells what became of its records, before the new one begins.
        *current = None;
        *current = Some(self.client()?);
        Ok(())
    }
}

impl Publisher for KafkaPublisher {
    fn publish(&self, id: u64, record: &Record<'_>) -> Result<()> {
        let mut current = self.current.lock();
        if current.is_none() {
            *current = Some(self.client()?);
        }
        for attempt in 0.. {
            let Some(now) = current.as_mut() else { break };
            // Before the call: the report may come before its end.
            self.counters.in_flight.fetch_add(1, Ordering::AcqRel);
            let Err(error) = now.topics.produce(id, record) else { return Ok(()) };
            self.counters.in_flight.fetch_sub(1, Ordering::AcqRel);
            if !error.fatal || attempt > 0 {
                return Err(error);
            }
            self.replace(&mut current)?;
        }
        Err(errors::fatal(errors::FATAL, "no client"))
    }

    fn in_flight(&self) -> usize {
        self.counters.in_flight.load(Ordering::Acquire)
    }

    fn purge(&self) {
        if let Some(current) = self.current.lock().as_ref() {
            produce::purge(current.client.handle());
        }
    }

    fn statistics(&self) -> BTreeMap<String, f64> {
        self.current.lock().as_ref().map(|current| current.client.shared().statistics()).unwrap_or_default()
    }
}

/// What is still under way is given up and told as failed. In a forked child this does nothing.
impl Drop for KafkaPublisher {
    fn drop(&mut self) {
        if let Some(current) = self.current.get_mut()
            && current.client.handle().ours()
        {
            produce::purge(current.client.handle());
        }
    }
}

/// Tells what became of records.
struct Reports {
    counters: Arc<Counters>,
    deliveries: Arc<dyn Deliveries>,
    patience: String,
}

impl Reports {
    fn failure(&self, code: i32, topic: &str, shared: &Shared) -> Error {
        if code != errors::MSG_TIMED_OUT {
            return errors::error(code, format!("a record for topic {topic:?} was refused: {}", errors::text(code)));
        }
        let (_, reason) = shared.reason((code, "the brokers did not answer in time"));
        let message = format!("a record for topic {topic:?} could not be delivered within {}: {reason}", self.patience);
        errors::error(code, message)
    }
}

impl Duty for Reports {
    fn outcomes(&mut self, event: &Event) {
        let shared = event.shared();
        let mut told = 0;
        // Records of a batch fail together, for one reason.
        let mut last: Option<(i32, String, Error)> = None;
        let mut delivered = false;
        produce::outcomes(event, |id, outcome| {
            told += 1;
            match outcome {
                Outcome::Delivered(place) => {
                    delivered = true;
                    self.deliveries.delivered(id, place);
                }
                Outcome::Failed(code, record) => {
                    if last.as_ref().is_none_or(|(known, topic, _)| known != code || topic != record.topic) {
                        last = Some((*code, record.topic.to_owned(), self.failure(*code, record.topic, shared)));
                    }
                    if let Some((_, _, error)) = &last {
                        self.deliveries.failed(id, record, error);
                    }
                }
            }
        });
        if delivered {
            shared.is_well();
            self.counters.delivered.store(true, Ordering::Release);
        }
        self.counters.in_flight.fetch_sub(told, Ordering::AcqRel);
        self.deliveries.collected();
    }

    fn finished(&self) -> bool {
        self.counters.in_flight.load(Ordering::Acquire) == 0
    }
}
