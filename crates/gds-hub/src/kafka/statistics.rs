//! librdkafka's statistics as figures with names.
#![allow(unsafe_code)] // each block says why it is sound

use std::collections::BTreeMap;

use rdkafka_sys as sys;
use serde::Deserialize;

use super::callbacks::LogLevel;
use super::native::{Event, Handle};
use super::text::owned_text;

/// What is used of librdkafka's STATISTICS.md; times there are in microseconds.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Statistics {
    msg_cnt: f64,
    msg_size: f64,
    msg_max: f64,
    txmsgs: f64,
    rxmsgs: f64,
    tx_bytes: f64,
    rx_bytes: f64,
    brokers: BTreeMap<String, Broker>,
    topics: BTreeMap<String, Topic>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Broker {
    nodeid: i64,
    source: String,
    state: String,
    outbuf_msg_cnt: f64,
    waitresp_cnt: f64,
    waitresp_msg_cnt: f64,
    txretries: f64,
    txerrs: f64,
    req_timeouts: f64,
    connects: f64,
    rtt: Window,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Window {
    avg: f64,
    p99: f64,
    cnt: f64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Topic {
    partitions: BTreeMap<String, Partition>,
}

#[derive(Debug, Deserialize)]
#[serde(default)]
struct Partition {
    consumer_lag: f64,
    app_offset: f64,
    ls_offset: f64,
}

impl Default for Partition {
    fn default() -> Self {
        Self { consumer_lag: -1.0, app_offset: -1.0, ls_offset: -1.0 }
    }
}

impl Partition {
    /// How far the group is behind; before its first commit, and of a reader without one, how far this reader is.
    /// librdkafka's numbers below zero say that it does not know.
    fn lag(&self) -> Option<f64> {
        if self.consumer_lag >= 0.0 {
            return Some(self.consumer_lag);
        }
        (self.app_offset >= 0.0 && self.ls_offset >= 0.0).then(|| (self.ls_offset - self.app_offset).max(0.0))
    }
}

impl Statistics {
    /// None if the text is not librdkafka's.
    fn read(text: &str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }

    /// Whether there is no server left that the client could ask for others.
    fn knows_no_broker(&self) -> bool {
        self.brokers.values().all(|broker| broker.source == "internal" || broker.source == "logical")
    }
}

/// Keeps the figures of a statistics event, and helps a client that has none but itself.
///
/// A broker that was stopped for longer than its session with the controller answers, for a moment, that the cluster
/// has a topic and no brokers. librdkafka then forgets all it knew, those of `bootstrap.servers` too, and asks nobody
/// any more (its issue 5301, open as of 2.12.1): every later record would time out.
pub(super) fn keep(event: &Event, handle: &Handle) {
    // SAFETY: the event is alive, and so is its text, which ends in NUL.
    let text = unsafe { owned_text(sys::rd_kafka_event_stats(event.raw())) };
    let Some(given) = Statistics::read(&text) else { return };
    let shared = handle.shared();
    shared.keep_statistics(given.figures());
    if given.knows_no_broker() {
        let text = "the cluster said that it had no brokers; asking the bootstrap servers again";
        shared.log(LogLevel::Warning, "NOBROKERS", text);
        handle.ask_bootstrap_servers_again();
    }
}

impl Statistics {
    /// The figures, by name.
    ///
    /// `queue_messages`, `queue_bytes`, `queue_max_messages`: what waits here; `in_flight_requests`, `in_flight_messages`:
    /// what waits for an answer; `rtt_avg_seconds`, `rtt_p99_seconds`: the slowest broker's; `retries_total`,
    /// `errors_total`, `request_timeouts_total`, `connects_total`, `sent_messages_total`, `sent_bytes_total`,
    /// `received_messages_total`, `received_bytes_total`; `brokers_up`; `consumer_lag.{topic}.{partition}`.
    fn figures(&self) -> BTreeMap<String, f64> {
        // Brokers of the bootstrap list have no number, and appear again under the one they turn out to have.
        let sum = |figure: fn(&Broker) -> f64| self.brokers.values().map(figure).sum::<f64>();
        let slowest = |figure: fn(&Window) -> f64| {
            self.brokers
                .values()
                .filter(|broker| broker.rtt.cnt > 0.0)
                .map(|broker| figure(&broker.rtt))
                .fold(0.0, f64::max)
        };
        let up = self.brokers.values().filter(|broker| broker.nodeid >= 0 && broker.state == "UP").count();
        let mut figures: BTreeMap<String, f64> = [
            ("queue_messages", self.msg_cnt),
            ("queue_bytes", self.msg_size),
            ("queue_max_messages", self.msg_max),
            ("in_flight_requests", sum(|broker| broker.waitresp_cnt)),
            ("in_flight_messages", sum(|broker| broker.waitresp_msg_cnt + broker.outbuf_msg_cnt)),
            ("rtt_avg_seconds", slowest(|rtt| rtt.avg) / 1e6),
            ("rtt_p99_seconds", slowest(|rtt| rtt.p99) / 1e6),
            ("retries_total", sum(|broker| broker.txretries)),
            ("errors_total", sum(|broker| broker.txerrs)),
            ("request_timeouts_total", sum(|broker| broker.req_timeouts)),
            ("connects_total", sum(|broker| broker.connects)),
            ("sent_messages_total", self.txmsgs),
            ("sent_bytes_total", self.tx_bytes),
            ("received_messages_total", self.rxmsgs),
            ("received_bytes_total", self.rx_bytes),
            ("brokers_up", up as f64),
        ]
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect();
        for (topic, partitions) in &self.topics {
            for (partition, figure) in &partitions.partitions {
                // Partition -1 is where records wait for one.
                if let Some(lag) = figure.lag()
                    && partition != "-1"
                {
                    figures.insert(format!("consumer_lag.{topic}.{partition}"), lag);
                }
            }
        }
        figures
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_read_and_the_rest_is_left() {
        let given = Statistics::read(
            r#"{"name":"x","msg_cnt":3,"msg_size":300,"tx_bytes":10,"brokers":{
                "a/bootstrap":{"nodeid":-1,"state":"UP","txretries":1},
                "a/1":{"nodeid":1,"state":"UP","txretries":2,"rtt":{"avg":1500,"p99":9000,"cnt":4,"hdrsize":1}},
                "b/2":{"nodeid":2,"state":"DOWN","rtt":{"avg":99999,"p99":99999,"cnt":0}}},
               "topics":{"t":{"partitions":{"0":{"consumer_lag":7},"1":{"consumer_lag":-1,"app_offset":-1001,"ls_offset":9},
                    "2":{"consumer_lag":-1,"app_offset":4,"ls_offset":9},"-1":{"consumer_lag":5}}}}}"#,
        )
        .expect("statistics");
        let figures = given.figures();
        for (name, value) in [
            ("queue_messages", 3.0),
            ("queue_bytes", 300.0),
            ("retries_total", 3.0),
            ("rtt_avg_seconds", 0.0015),
            ("rtt_p99_seconds", 0.009),
            ("brokers_up", 1.0),
            ("sent_bytes_total", 10.0),
            ("consumer_lag.t.0", 7.0),
            ("consumer_lag.t.2", 5.0),
        ] {
            assert!((figures[name] - value).abs() < 1e-12, "{name}: {}", figures[name]);
        }
        assert_eq!(figures.keys().filter(|name| name.starts_with("consumer_lag")).count(), 2);
        assert!(Statistics::read("{").is_none());
    }

    #[test]
    fn a_client_of_which_only_its_own_parts_are_left_knows_no_broker() {
        let with = |brokers: &str| Statistics::read(&format!(r#"{{"brokers":{{{brokers}}}}}"#)).expect("statistics");
        let (internal, logical) =
            (r#"":0/internal":{"source":"internal"}"#, r#""GroupCoordinator":{"source":"logical"}"#);
        assert!(with(&format!("{internal},{logical}")).knows_no_broker());
        for source in ["configured", "learned"] {
            assert!(!with(&format!(r#"{internal},"a:9092/1":{{"source":"{source}"}}"#)).knows_no_broker());
        }
    }
}
