//! librdkafka's mock cluster: brokers inside this process, for tests of programs that use Kafka.
//!
//! It speaks Kafka's protocol on local ports, and can be told to fail. It keeps a few megabytes per partition and
//! forgets older messages, and it knows no administration, no access control and no encryption. Start one in the
//! process that uses it; other processes may connect.
#![allow(unsafe_code)] // each block says why it is sound

use std::ffi::{c_char, c_int};
use std::fmt;
use std::time::Duration;

use rdkafka_sys as sys;
use sys::rd_kafka_resp_err_t as Code;

use super::errors;
use super::native::millis;
use super::partitions::checked;
use super::text::{c_text, owned_text};
use crate::error::{Error, ErrorKind, Result};

/// Requests that can be made to fail, by Kafka's names and numbers.
const APIS: &[(&str, i16)] = &[
    ("Produce", 0),
    ("Fetch", 1),
    ("ListOffsets", 2),
    ("Metadata", 3),
    ("OffsetCommit", 8),
    ("OffsetFetch", 9),
    ("FindCoordinator", 10),
    ("JoinGroup", 11),
    ("Heartbeat", 12),
    ("LeaveGroup", 13),
    ("SyncGroup", 14),
    ("ApiVersions", 18),
    ("InitProducerId", 22),
];

/// A cluster of mock brokers, numbered from 1. It ends when it is dropped, except in a forked child.
pub struct MockCluster {
    cluster: *mut sys::rd_kafka_mock_cluster_t,
    rk: *mut sys::rd_kafka_t,
    owner: u32,
}

// SAFETY: the mock's functions pass on what is asked to its thread, or take its lock.
unsafe impl Send for MockCluster {}
// SAFETY: as above.
unsafe impl Sync for MockCluster {}

impl fmt::Debug for MockCluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MockCluster").field("bootstrap_servers", &self.bootstrap_servers()).finish()
    }
}

impl MockCluster {
    /// Starts so many brokers.
    pub fn start(brokers: u32) -> Result<Self> {
        let count = c_int::try_from(brokers).ok().filter(|count| (1..=100).contains(count));
        let count =
            count.ok_or_else(|| Error::new(ErrorKind::Config, format!("{brokers} brokers: expected 1 to 100")))?;
        let mut text = [0 as c_char; 512];
        // SAFETY: the configuration is librdkafka's once the call succeeds, and destroyed here if it does not; the log
        // callback lives for ever; at most the length of `text` is written, NUL included.
        unsafe {
            let conf = sys::rd_kafka_conf_new();
            sys::rd_kafka_conf_set_log_cb(conf, Some(no_log));
            let kind = sys::rd_kafka_type_t::RD_KAFKA_PRODUCER;
            let rk = sys::rd_kafka_new(kind, conf, text.as_mut_ptr(), text.len());
            if rk.is_null() {
                sys::rd_kafka_conf_destroy(conf);
                let reason = owned_text(text.as_ptr());
                return Err(Error::new(ErrorKind::Storage, format!("the mock cluster does not start: {reason}")));
            }
            let cluster = sys::rd_kafka_mock_cluster_new(rk, count);
            if cluster.is_null() {
                sys::rd_kafka_destroy(rk);
                return Err(Error::new(ErrorKind::Storage, "the mock cluster does not start: no port or no memory"));
            }
            // Groups form at once instead of after three seconds: tests are not to wait.
            sys::rd_kafka_mock_group_initial_rebalance_delay_ms(cluster, 0);
            Ok(Self { cluster, rk, owner: std::process::id() })
        }
    }

    /// Where it listens, as `bootstrap_servers` takes it.
    pub fn bootstrap_servers(&self) -> String {
        // SAFETY: the cluster is alive, and so is its text, which ends in NUL.
        unsafe { owned_text(sys::rd_kafka_mock_cluster_bootstraps(self.cluster)) }
    }

    /// Makes a topic. Others come into being when they are asked for, with four partitions.
    pub fn create_topic(&self, name: &str, partitions: i32, replication: i32) -> Result<()> {
        let text = c_text(name, "the topic's name")?;
        // SAFETY: the cluster is alive; the name ends in NUL and is copied.
        let code = unsafe { sys::rd_kafka_mock_topic_create(self.cluster, text.as_ptr(), partitions, replication) };
        checked(code, &format!("the mock topic {name:?} cannot be made"))
    }

    /// Everything asked of the topic fails with this number of Kafka's, until it is 0.
    pub fn topic_error(&self, name: &str, code: i32) -> Result<()> {
        let (text, code) = (c_text(name, "the topic's name")?, number(code)?);
        // SAFETY: the cluster is alive; the name ends in NUL and is copied.
        unsafe { sys::rd_kafka_mock_topic_set_error(self.cluster, text.as_ptr(), code) };
        Ok(())
    }

    /// The next requests of a kind fail, each with one of these numbers of Kafka's; 0 lets one through, -195 closes
    /// the connection. The kind is Kafka's name of it, such as `Produce`.
    pub fn push_request_errors(&self, api: &str, codes: &[i32]) -> Result<()> {
        let api = number_of(api)?;
        let codes = codes.iter().map(|code| number(*code)).collect::<Result<Vec<_>>>()?;
        // SAFETY: the cluster is alive; the array is as long as said and copied.
        unsafe { sys::rd_kafka_mock_push_request_errors_array(self.cluster, api, codes.len(), codes.as_ptr()) };
        Ok(())
    }

    /// Forgets the failures that were pushed for a kind of request.
    pub fn clear_request_errors(&self, api: &str) -> Result<()> {
        let api = number_of(api)?;
        // SAFETY: the cluster is alive.
        unsafe { sys::rd_kafka_mock_clear_request_errors(self.cluster, api) };
        Ok(())
    }

    /// Closes a broker's connections and refuses new ones.
    pub fn broker_down(&self, broker: i32) -> Result<()> {
        // SAFETY: the cluster is alive.
        checked(unsafe { sys::rd_kafka_mock_broker_set_down(self.cluster, broker) }, "taking the broker down")
    }

    /// Lets connections in again.
    pub fn broker_up(&self, broker: i32) -> Result<()> {
        // SAFETY: the cluster is alive.
        checked(unsafe { sys::rd_kafka_mock_broker_set_up(self.cluster, broker) }, "bringing the broker up")
    }

    /// Answers of a broker take at least so long.
    pub fn broker_rtt(&self, broker: i32, rtt: Duration) -> Result<()> {
        // SAFETY: the cluster is alive.
        checked(
            unsafe { sys::rd_kafka_mock_broker_set_rtt(self.cluster, broker, millis(rtt)) },
            "slowing the broker down",
        )
    }

    /// Makes a broker the leader of a partition.
    pub fn set_leader(&self, topic: &str, partition: i32, broker: i32) -> Result<()> {
        let text = c_text(topic, "the topic's name")?;
        // SAFETY: the cluster is alive; the name ends in NUL and is copied.
        let code = unsafe { sys::rd_kafka_mock_partition_set_leader(self.cluster, text.as_ptr(), partition, broker) };
        checked(code, &format!("partition {partition} of {topic:?} does not get broker {broker} as its leader"))
    }
}

impl Drop for MockCluster {
    fn drop(&mut self) {
        if self.owner == std::process::id() {
            // SAFETY: both are ours and destroyed once, the cluster before the client it lives in.
            unsafe {
                sys::rd_kafka_mock_cluster_destroy(self.cluster);
                sys::rd_kafka_destroy(self.rk);
            }
        }
    }
}

fn number_of(api: &str) -> Result<i16> {
    let found = APIS.iter().find(|(name, _)| name.eq_ignore_ascii_case(api));
    found.map(|(_, number)| *number).ok_or_else(|| {
        let names: Vec<_> = APIS.iter().map(|(name, _)| *name).collect();
        Error::new(
            ErrorKind::Config,
            format!("{api:?} is no request of the mock cluster: expected one of {}", names.join(", ")),
        )
    })
}

fn number(code: i32) -> Result<Code> {
    Code::try_from(code)
        .map_err(|_| Error::new(ErrorKind::Config, format!("{code} is no error of Kafka: {}", errors::text(code))))
}

unsafe extern "C" fn no_log(_: *const sys::rd_kafka_t, _: c_int, _: *const c_char, _: *const c_char) {}
