//! Kafka as a hub, on librdkafka.
//!
//! - Each publisher and each subscriber is a client of librdkafka with one thread of ours that serves its events.
//!   What is asked (topics, lag, [`check`](Hub::check)) shares one more client, made when first needed.
//! - librdkafka writes nothing to stderr: its log lines go to [`Callbacks::log`], without the secrets of the settings.
//! - Nothing of it may be used in a forked child: make a new [`Kafka`] there. Dropping the parent's in a child is safe
//!   and does nothing.

mod admin;
mod assign;
mod callbacks;
mod client;
mod consume;
mod context;
mod discovery;
mod errors;
mod logs;
mod membership;
mod membership_state;
pub mod mock;
mod native;
mod oauth;
mod partitions;
mod produce;
mod publish_client;
mod publisher;
mod rebalance;
mod reports;
mod statistics;
mod subscriber;
mod text;
mod tls;
mod topic_config;
mod window;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use gds_process::sync::Mutex;

pub use callbacks::{Callbacks, LogCallback, LogLevel, Token, TokenCallback};

use crate::error::{Error, Result};
use crate::hub::{Admin, Deliveries, Hub, Lag, NewTopic, Publisher, Subscriber, Subscription, Topic};
use crate::settings::{Address, Settings};
use client::{Client, EventHandler, NoHandler};
use native::ClientPurpose;

/// Asking for a topic must not make it.
const ONLY_ASKS: (&str, &str) = ("allow.auto.create.topics", "false");

/// How long a topic that was made may take to be known, until it is left at that.
const KNOWN_TIMEOUT: Duration = Duration::from_secs(5);

/// A Kafka cluster.
pub struct Kafka {
    settings: Settings,
    brokers: String,
    callbacks: Callbacks,
    /// Asks; made when first needed.
    asking: Mutex<Option<Arc<Client>>>,
    this: Weak<Self>,
}

impl fmt::Debug for Kafka {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kafka").field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl Kafka {
    /// The cluster of `settings`. Nothing is connected yet: see [`check`](Hub::check).
    pub fn open(settings: &Settings, callbacks: Callbacks) -> Result<Arc<Self>> {
        let Address::Kafka(brokers) = &settings.address else {
            return Err(Error::Config("embedded:PATH is no Kafka cluster".into()));
        };
        let (settings, brokers) = (settings.clone(), brokers.clone());
        Ok(Arc::new_cyclic(|this| Self { settings, brokers, callbacks, asking: Mutex::new(None), this: this.clone() }))
    }

    fn client(&self, purpose: ClientPurpose, more: &[(&str, &str)], handler: Box<dyn EventHandler>) -> Result<Client> {
        self.client_with_callbacks(purpose, more, &self.callbacks, handler)
    }

    fn client_with_callbacks(
        &self,
        purpose: ClientPurpose,
        more: &[(&str, &str)],
        callbacks: &Callbacks,
        handler: Box<dyn EventHandler>,
    ) -> Result<Client> {
        Client::start(purpose, &self.settings, &self.brokers, more, callbacks, handler)
    }

    fn asking(&self) -> Result<Arc<Client>> {
        let mut asking = self.asking.lock();
        if let Some(client) = &*asking {
            return Ok(client.clone());
        }
        let client = Arc::new(self.client(ClientPurpose::Admin, &[ONLY_ASKS], Box::new(NoHandler))?);
        *asking = Some(client.clone());
        Ok(client)
    }

    fn this(&self) -> Result<Arc<Self>> {
        self.this.upgrade().ok_or_else(|| Error::Closed("the hub is closed".into()))
    }
}

impl Hub for Kafka {
    fn publisher(&self, deliveries: Arc<dyn Deliveries>) -> Result<Box<dyn Publisher>> {
        Ok(Box::new(publisher::KafkaPublisher::new(self.this()?, deliveries)?))
    }

    fn subscribe(&self, subscription: &Subscription) -> Result<Box<dyn Subscriber>> {
        Ok(Box::new(subscriber::KafkaSubscriber::new(self, subscription)?))
    }

    /// Returns before `timeout` is over if waiting is of no use: a wrong password, a certificate that is refused.
    fn check(&self, timeout: Duration) -> Result<()> {
        let client = self.asking()?;
        let (handle, shared) = (client.handle(), client.shared());
        let end = Instant::now() + timeout;
        let mut slice = Duration::from_millis(250);
        loop {
            let left = end.saturating_duration_since(Instant::now());
            let Err(code) = admin::ping(handle, slice.min(left)) else {
                shared.is_well();
                return Ok(());
            };
            let (known, _) = shared.reason((code, ""));
            if left <= slice || errors::hopeless(known) {
                let otherwise = if code == errors::TIMED_OUT { "no answer" } else { "no broker answers" };
                return Err(shared.unreachable((code, &format!("{otherwise} within {timeout:?}"))));
            }
            // Longer each time, so that a slow network gets its answer through too.
            slice *= 2;
        }
    }
}

impl Admin for Kafka {
    fn create_topic(&self, topic: &NewTopic, timeout: Duration) -> Result<()> {
        let client = self.asking()?;
        admin::create_topic(client.handle(), topic, timeout)?;
        // The controller has made it; brokers hear of it a moment later. Who looks at it next, or sends, is to find it.
        admin::wait_until_known(client.handle(), &topic.name, timeout.min(KNOWN_TIMEOUT));
        Ok(())
    }

    fn delete_topic(&self, name: &str, timeout: Duration) -> Result<()> {
        admin::delete_topic(self.asking()?.handle(), name, timeout)
    }

    fn alter_topic(&self, name: &str, changes: &BTreeMap<String, Option<String>>, timeout: Duration) -> Result<()> {
        topic_config::alter(self.asking()?.handle(), name, changes, timeout)
    }

    fn topic_config(&self, name: &str, timeout: Duration) -> Result<BTreeMap<String, String>> {
        topic_config::of(self.asking()?.handle(), name, timeout)
    }

    fn topics(&self, name: Option<&str>, timeout: Duration) -> Result<Vec<Topic>> {
        admin::topics(self.asking()?.handle(), name, timeout)
    }

    fn lag(&self, group: &str, timeout: Duration) -> Result<Vec<Lag>> {
        let client = self.client(ClientPurpose::AskGroup, &[ONLY_ASKS, ("group.id", group)], Box::new(NoHandler))?;
        admin::lag(client.handle(), group, timeout)
    }

    fn groups(&self, timeout: Duration) -> Result<Vec<String>> {
        admin::groups(self.asking()?.handle(), timeout)
    }
}
