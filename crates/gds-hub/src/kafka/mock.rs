//! librdkafka's mock cluster: brokers inside this process, for tests of programs that use Kafka.
//!
//! It speaks Kafka's protocol on local ports, and can be told to fail. It keeps a few megabytes per partition and
//! forgets older messages, and it knows no administration, no access control and no encryption. Start one in the
//! process that uses it; other processes may connect.
#![allow(unsafe_code)] // two calls, each with its proof

use std::fmt;
use std::mem::ManuallyDrop;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::client::{Client, DefaultClientContext};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::types::{RDKafkaApiKey, RDKafkaType};
use rdkafka_sys as sys;
use sys::rd_kafka_resp_err_t as Code;

use super::errors;
use crate::error::{Error, Result};

/// Requests that can be made to fail, by Kafka's names.
const APIS: &[(&str, RDKafkaApiKey)] = &[
    ("Produce", RDKafkaApiKey::Produce),
    ("Fetch", RDKafkaApiKey::Fetch),
    ("ListOffsets", RDKafkaApiKey::ListOffsets),
    ("Metadata", RDKafkaApiKey::Metadata),
    ("OffsetCommit", RDKafkaApiKey::OffsetCommit),
    ("OffsetFetch", RDKafkaApiKey::OffsetFetch),
    ("FindCoordinator", RDKafkaApiKey::FindCoordinator),
    ("JoinGroup", RDKafkaApiKey::JoinGroup),
    ("Heartbeat", RDKafkaApiKey::Heartbeat),
    ("LeaveGroup", RDKafkaApiKey::LeaveGroup),
    ("SyncGroup", RDKafkaApiKey::SyncGroup),
    ("ApiVersions", RDKafkaApiKey::ApiVersion),
    ("InitProducerId", RDKafkaApiKey::InitProducerId),
];

type Cluster<'a> = rdkafka::mocking::MockCluster<'a, DefaultClientContext>;

/// A cluster of mock brokers, numbered from 1. It ends when it is dropped, except in a forked child.
pub struct MockCluster {
    /// The client that the brokers live in; dropped in its own process only.
    client: ManuallyDrop<Client<DefaultClientContext>>,
    owner: u32,
}

impl fmt::Debug for MockCluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MockCluster").field("owner", &self.owner).finish_non_exhaustive()
    }
}

impl MockCluster {
    /// Starts so many brokers.
    pub fn start(brokers: u32) -> Result<Self> {
        if !(1..=100).contains(&brokers) {
            return Err(Error::Config(format!("{brokers} brokers: expected 1 to 100").into()));
        }
        let mut config = ClientConfig::new();
        config.set("test.mock.num.brokers", brokers.to_string()).set("log_level", "0");
        let client = config
            .create_native_config()
            .and_then(|native| Client::new(&config, native, RDKafkaType::RD_KAFKA_PRODUCER, DefaultClientContext))
            .map_err(|error| Error::Storage(format!("the mock cluster does not start: {error}").into()))?;
        let cluster = Self { client: ManuallyDrop::new(client), owner: std::process::id() };
        cluster.ask()?;
        // Groups form at once instead of after three seconds: tests are not to wait.
        // SAFETY: the client is alive, and has its cluster as long as it lives.
        unsafe {
            let brokers = sys::rd_kafka_handle_mock_cluster(cluster.client.native_ptr());
            sys::rd_kafka_mock_group_initial_rebalance_delay_ms(brokers, 0);
        }
        Ok(cluster)
    }

    fn ask(&self) -> Result<Cluster<'_>> {
        let none = || Error::Storage("the mock cluster does not start: no port or no memory".into());
        self.client.mock_cluster().ok_or_else(none)
    }

    /// Where it listens, as `bootstrap_servers` takes it.
    pub fn bootstrap_servers(&self) -> String {
        self.client.mock_cluster().map(|cluster| cluster.bootstrap_servers()).unwrap_or_default()
    }

    /// Makes a topic. Others come into being when they are asked for, with four partitions.
    pub fn create_topic(&self, name: &str, partitions: i32, replication: i32) -> Result<()> {
        done(self.ask()?.create_topic(name, partitions, replication), || {
            format!("the mock topic {name:?} cannot be made")
        })
    }

    /// Everything asked of the topic fails with this number of Kafka's, until it is 0.
    pub fn topic_error(&self, name: &str, code: i32) -> Result<()> {
        done(self.ask()?.topic_error(name, number(code)?), || format!("the mock topic {name:?} does not fail"))
    }

    /// The next requests of a kind fail, each with one of these numbers of Kafka's; 0 lets one through, -195 closes
    /// the connection. The kind is Kafka's name of it, such as `Produce`.
    pub fn push_request_errors(&self, api: &str, codes: &[i32]) -> Result<()> {
        let codes = codes.iter().map(|code| number(*code)).collect::<Result<Vec<_>>>()?;
        self.ask()?.request_errors(key_of(api)?, &codes);
        Ok(())
    }

    /// Forgets the failures that were pushed for a kind of request.
    pub fn clear_request_errors(&self, api: &str) -> Result<()> {
        self.ask()?.clear_request_errors(key_of(api)?);
        Ok(())
    }

    /// Closes a broker's connections and refuses new ones.
    pub fn broker_down(&self, broker: i32) -> Result<()> {
        done(self.ask()?.broker_down(broker), || format!("broker {broker} does not go down"))
    }

    /// Lets connections in again.
    pub fn broker_up(&self, broker: i32) -> Result<()> {
        done(self.ask()?.broker_up(broker), || format!("broker {broker} does not come up"))
    }

    /// Answers of a broker take at least so long.
    pub fn broker_rtt(&self, broker: i32, rtt: Duration) -> Result<()> {
        done(self.ask()?.broker_round_trip_time(broker, rtt), || format!("broker {broker} does not slow down"))
    }

    /// Makes a broker the leader of a partition.
    pub fn set_leader(&self, topic: &str, partition: i32, broker: i32) -> Result<()> {
        done(self.ask()?.partition_leader(topic, partition, Some(broker)), || {
            format!("partition {partition} of {topic:?} does not get broker {broker} as its leader")
        })
    }
}

impl Drop for MockCluster {
    fn drop(&mut self) {
        if self.owner == std::process::id() {
            // SAFETY: dropped here and nowhere else, and not used after.
            unsafe { ManuallyDrop::drop(&mut self.client) }
        }
    }
}

fn done(result: KafkaResult<()>, what: impl FnOnce() -> String) -> Result<()> {
    result.map_err(|error| match error {
        KafkaError::MockCluster(code) => {
            let code = code as i32;
            errors::error(code, format!("{}: {}", what(), errors::text(code)))
        }
        error => Error::Config(format!("{}: {error}", what()).into()),
    })
}

fn key_of(api: &str) -> Result<RDKafkaApiKey> {
    let found = APIS.iter().find(|(name, _)| name.eq_ignore_ascii_case(api));
    found.map(|(_, key)| *key).ok_or_else(|| {
        let names: Vec<_> = APIS.iter().map(|(name, _)| *name).collect();
        Error::Config(format!("{api:?} is no request of the mock cluster: expected one of {}", names.join(", ")).into())
    })
}

fn number(code: i32) -> Result<Code> {
    Code::try_from(code)
        .map_err(|_| Error::Config(format!("{code} is no error of Kafka: {}", errors::text(code)).into()))
}
