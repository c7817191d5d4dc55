//! The way into Kafka.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use gds_process::sync::Mutex;

use super::Kafka;
use super::callbacks::{Callbacks, LogCallback, LogLevel};
use super::errors;
use super::native::ClientPurpose;
use super::produce;
use super::publish_client::{Counters, PublishClient, PublishContext, Single};
use super::reports::Reports;
use super::window::Window;
use crate::error::{Error, Failure, Result};
use crate::hub::{Deliveries, Publisher};
use crate::record::Record;

/// How long librdkafka is told to send what it has, unless that is delivered before.
const NOW: Duration = Duration::from_millis(5);

/// librdkafka's own `batch.size`.
const BATCH: usize = 1_000_000;

/// Publishes to Kafka. Reports come on a thread of its own.
///
/// An error that ends librdkafka's client (it says so when it can no longer promise that nothing is written twice or
/// in another order, or where the brokers do not let it write) makes a new client; what was under way, and the record
/// that found the client ended, are told as failed and retriable, so that they can go again in order. If the new one
/// ends before anything was delivered, or rights are what is missing, the error is fatal; and the next record is tried
/// with a new client all the same.
pub(super) struct KafkaPublisher {
    current: Mutex<Option<PublishClient>>,
    window: Mutex<Window>,
    common: PublishContext,
}

impl fmt::Debug for KafkaPublisher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KafkaPublisher").field("in_flight", &self.common.counters.in_flight).finish_non_exhaustive()
    }
}

impl KafkaPublisher {
    pub(super) fn new(kafka: Arc<Kafka>, deliveries: Arc<dyn Deliveries>) -> Result<Self> {
        let counters = Arc::new(Counters { delivered: AtomicBool::new(true), ..Counters::default() });
        let common = PublishContext { kafka, counters, deliveries, single: Single::default() };
        let size = |key: &str, default| {
            common.kafka.settings.client.get(key).and_then(|value| value.parse().ok()).unwrap_or(default)
        };
        let most = size("queue.buffering.max.kbytes", usize::MAX).saturating_mul(1024);
        let window = Mutex::new(Window::new(size("batch.size", BATCH), most));
        let publisher = Self { current: Mutex::new(None), window, common };
        *publisher.current.lock() = Some(publisher.client()?);
        Ok(publisher)
    }

    fn client(&self) -> Result<PublishClient> {
        let reports = Reports::new(self.common.clone(), true);
        let kafka = &self.common.kafka;
        // What the first of a row of refused clients has said, the others need not.
        let again = !self.common.counters.delivered.load(Ordering::Acquire);
        let callbacks = if again { quiet(&kafka.callbacks) } else { kafka.callbacks.clone() };
        Ok(PublishClient::new(kafka.client_with_callbacks(
            ClientPurpose::Publish,
            &[],
            &callbacks,
            Box::new(reports),
        )?))
    }

    /// Lets go of a client that ended; the next record makes a new one. What is to be said of the record that came
    /// upon it: nothing of that was sent.
    fn end(&self, old: PublishClient) -> Error {
        let handle = old.client.handle();
        let error = handle.fatal_error().unwrap_or_else(|| errors::fatal(errors::FATAL, "it does not say why"));
        let delivered = self.common.counters.delivered.swap(false, Ordering::AcqRel);
        let error = if delivered && !error.code().is_some_and(errors::refuses_client) {
            old.client.log(LogLevel::Error, "FATAL", &format!("making a new client: {error}"));
            errors::error(errors::PURGE_QUEUE, format!("given up before it was sent: {error}"))
        } else {
            error
        };
        // It ends, and tells what became of its records, before a new one begins: only this thread makes one.
        old.purge();
        drop(old);
        error
    }
}

/// Without the lines in which librdkafka says again and again that it may not write.
fn quiet(callbacks: &Callbacks) -> Callbacks {
    let log = callbacks.log.clone().map(|log| -> LogCallback {
        Arc::new(move |level, facility, text| {
            if !["FATAL", "GETPID"].contains(&facility) {
                log(level, facility, text);
            }
        })
    });
    Callbacks { log, ..callbacks.clone() }
}

impl Publisher for KafkaPublisher {
    fn publish(&self, id: u64, record: &Record<'_>) -> Result<()> {
        let counters = &self.common.counters;
        let size = record.key.map_or(0, <[u8]>::len) + record.value.map_or(0, <[u8]>::len);
        if !self.window.lock().has_room(counters.in_flight_bytes.load(Ordering::Acquire), size) {
            return Err(Error::Full(Failure::new("enough is under way").retriable()));
        }
        let mut current = self.current.lock();
        let now = match &mut *current {
            Some(now) => now,
            none => none.insert(self.client()?),
        };
        // Before the call: the report may come before its end.
        counters.in_flight.fetch_add(1, Ordering::AcqRel);
        counters.in_flight_bytes.fetch_add(size, Ordering::AcqRel);
        let Err(error) = now.produce(id, record) else { return Ok(()) };
        counters.in_flight.fetch_sub(1, Ordering::AcqRel);
        counters.in_flight_bytes.fetch_sub(size, Ordering::AcqRel);
        if !error.fatal() {
            return Err(error);
        }
        let old = current.take();
        // The program's code that runs when a client ends may ask for its statistics.
        drop(current);
        Err(old.map_or(error, |old| self.end(old)))
    }

    fn idle(&self) {
        let handle = self.current.lock().as_ref().map(|current| current.client.handle().clone());
        if let Some(handle) = handle
            && self.in_flight() > 0
        {
            produce::send_now(&handle, NOW);
        }
    }

    fn in_flight(&self) -> usize {
        self.common.counters.in_flight.load(Ordering::Acquire)
    }

    fn purge(&self) {
        if let Some(current) = self.current.lock().as_ref() {
            current.purge();
        }
        if let Some(single) = self.common.single.lock().as_ref() {
            single.purge();
        }
    }

    fn statistics(&self) -> BTreeMap<String, f64> {
        self.current.lock().as_ref().map(|current| current.client.shared().statistics()).unwrap_or_default()
    }
}

/// What is still under way is given up and told as failed. In a forked child this does nothing, and leaves the
/// parent's memory as it is.
impl Drop for KafkaPublisher {
    fn drop(&mut self) {
        let Some(current) = self.current.get_mut().take() else { return };
        if !current.client.handle().ours() {
            std::mem::forget(current);
            return;
        }
        self.common.counters.ending.store(true, Ordering::Release);
        current.purge();
        drop(current);
        let single = self.common.single.lock().take();
        if let Some(single) = single {
            single.purge();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{self, Sender};
    use std::time::Duration;

    use super::*;
    use crate::error::Error;
    use crate::hub::Delivery;
    use crate::kafka::mock::MockCluster;
    use crate::kafka::{Callbacks, native};
    use crate::settings::{Role, Settings};

    const TIMEOUT: Duration = Duration::from_secs(30);

    struct OutcomeSender(Mutex<Sender<(u64, Option<Error>)>>);

    impl Deliveries for OutcomeSender {
        fn delivered(&self, id: u64, _: &Delivery<'_>) {
            let _ = self.0.lock().send((id, None));
        }

        fn failed(&self, id: u64, _: &Record<'_>, error: &Error) {
            let _ = self.0.lock().send((id, Some(error.clone())));
        }
    }

    /// librdkafka's test of itself is the one sure way to such an error.
    #[test]
    fn a_client_that_ends_is_replaced_unless_its_successor_ends_too() {
        let cluster = MockCluster::start(1).unwrap();
        let settings = Settings::parse(Role::Producer, &[cluster.bootstrap_servers()], &[], &[]).unwrap();
        let kafka = Kafka::open(&settings, Callbacks::default()).unwrap();
        let (send, told) = mpsc::channel();
        let publisher = KafkaPublisher::new(kafka, Arc::new(OutcomeSender(Mutex::new(send)))).unwrap();
        let record = Record { topic: "t", value: Some(b"x"), ..Record::default() };
        let end_client = || {
            let current = publisher.current.lock();
            native::end_for_test(current.as_ref().expect("a client").client.handle());
        };

        publisher.publish(1, &record).unwrap();
        assert_eq!(told.recv_timeout(TIMEOUT).unwrap(), (1, None));
        cluster.broker_down(1).unwrap();
        publisher.publish(2, &record).unwrap();
        end_client();
        let error = publisher.publish(3, &record).unwrap_err();
        assert!(error.retriable() && !error.fatal() && error.code() == Some(errors::PURGE_QUEUE), "{error}");
        publisher.publish(3, &record).unwrap();
        let (id, error) = told.recv_timeout(TIMEOUT).unwrap();
        let error = error.expect("it was not delivered");
        assert!(id == 2 && error.retriable() && !error.fatal() && error.message().contains("given up: "), "{error}");
        assert!(!error.message().contains("Purged"), "{error}");

        // Nothing was delivered since: it is not for this record that it ends.
        end_client();
        let error = publisher.publish(4, &record).unwrap_err();
        assert!(error.fatal() && error.message().contains("make a new one"), "{error}");
        assert_eq!(told.recv_timeout(TIMEOUT).unwrap().0, 3);
        cluster.broker_up(1).unwrap();
        publisher.publish(5, &record).unwrap();
        assert_eq!(told.recv_timeout(TIMEOUT).unwrap(), (5, None));
    }
}
