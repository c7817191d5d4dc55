//! From checked keywords to [`Settings`]: defaults, and what contradicts what.

use std::collections::BTreeMap;
use std::time::Duration;

use super::address::at_home;
use super::{
    Address, ConsumerSettings, Durability, EmbeddedSettings, OnFull, ParsedKeywords, ProducerSettings, Refusal, Result,
    Role, Settings, Spool, Value, config, librdkafka, table::MAX_MS,
};
use crate::hub::Start;

/// The assignors of kafka-python and of Java, and librdkafka's names of them.
const ASSIGNORS: &[(&str, &str)] = &[
    ("range", "range"),
    ("rangepartitionassignor", "range"),
    ("roundrobin", "roundrobin"),
    ("roundrobinpartitionassignor", "roundrobin"),
    ("roundrobinassignor", "roundrobin"),
    ("cooperative-sticky", "cooperative-sticky"),
    ("cooperativestickyassignor", "cooperative-sticky"),
    ("cooperativestickypartitionassignor", "cooperative-sticky"),
];

impl ParsedKeywords {
    pub(super) fn build(mut self, address: Address) -> Result<Settings> {
        let embedded = self.embedded(&address)?;
        let producer = self.producer(&address)?;
        let consumer = self.consumer()?;
        self.network();
        self.security()?;
        match self.role {
            Role::Producer => self.sending(&producer)?,
            Role::Consumer => self.reading()?,
            Role::Admin => {}
        }
        let connect_timeout = match (self.own.get("connect_timeout_seconds"), self.own.get("bootstrap_timeout_ms")) {
            (Some(Value::Float(seconds)), _) => Duration::from_secs_f64(*seconds),
            (None, Some(Value::Int(ms))) => Duration::from_millis(ms.unsigned_abs()),
            _ => Duration::from_secs(10),
        };
        let lazy = self.flag("lazy").unwrap_or(false);
        let close_timeout = self.seconds("close_timeout_seconds").unwrap_or(Duration::from_secs(5));
        let client = self.tried()?;
        Ok(Settings {
            role: self.role,
            address,
            client,
            connect_timeout,
            lazy,
            close_timeout,
            producer,
            consumer,
            embedded,
        })
    }

    fn embedded(&self, address: &Address) -> Result<EmbeddedSettings> {
        if matches!(address, Address::Kafka(_)) {
            for name in ["partitions", "retention_seconds", "retention_bytes"] {
                if self.own.contains_key(name) {
                    return Err(config(format!(
                        "{name} is a setting of the embedded hub (embedded:PATH); in Kafka, topics are made with it"
                    )));
                }
            }
        }
        Ok(EmbeddedSettings {
            partitions: self.number("partitions").map_or(1, |number| u32::try_from(number).unwrap_or(1)),
            retention: Some(self.seconds("retention_seconds").unwrap_or(Duration::from_secs(7 * 24 * 3600))),
            retention_bytes: self.number("retention_bytes"),
        })
    }

    fn producer(&self, address: &Address) -> Result<ProducerSettings> {
        let embedded = matches!(address, Address::Embedded(_));
        let dir =
            self.text("spool_dir").map(|dir| at_home(dir).map_err(|why| config(format!("spool_dir={dir:?}: {why}"))));
        let spool =
            dir.transpose()?.map(|dir| Spool { dir, max_bytes: self.number("spool_max_bytes").unwrap_or(1 << 30) });
        if embedded && spool.is_some() {
            return Err(config(
                "spool_dir cannot be used with embedded:PATH: the embedded hub is on disk already".to_owned(),
            ));
        }
        if spool.as_ref().is_some_and(|spool| spool.dir.as_os_str().is_empty()) {
            return Err(config("spool_dir is empty: expected the path of a folder".to_owned()));
        }
        if spool.is_none() && self.own.contains_key("spool_max_bytes") {
            return Err(config("spool_max_bytes needs spool_dir".to_owned()));
        }
        let durability = match self.text("durability") {
            Some("memory") => Durability::Memory,
            Some("process") => Durability::Process,
            Some(_) => Durability::Disk,
            None if spool.is_some() || embedded => Durability::Process,
            None => Durability::Memory,
        };
        if durability != Durability::Memory && spool.is_none() && !embedded {
            let given = self.text("durability").unwrap_or_default();
            return Err(config(format!("durability={given:?} needs spool_dir, the folder where records wait")));
        }
        let linger = self.millis("linger_ms");
        Ok(ProducerSettings {
            on_full: match self.text("on_full") {
                None | Some("block") => OnFull::Block,
                Some("drop_newest") => OnFull::DropNewest,
                Some("drop_oldest") => OnFull::DropOldest,
                Some(_) => OnFull::Raise,
            },
            max_block: self.millis("max_block_ms").unwrap_or(Duration::from_secs(60)),
            buffer_memory: self.number("buffer_memory").unwrap_or(32 << 20),
            linger: linger.unwrap_or(Duration::from_millis(5)),
            long_linger: linger.unwrap_or(Duration::from_millis(100)),
            delivery_timeout: match self.own.get("delivery_timeout_ms") {
                Some(Value::Int(MAX_MS)) => None,
                Some(Value::Int(ms)) => Some(Duration::from_millis(ms.unsigned_abs())),
                _ => Some(Duration::from_secs(120)),
            },
            max_request_size: self.number("max_request_size").unwrap_or(1 << 20),
            spool,
            durability,
            dead_letter: self.flag("dead_letter").unwrap_or(false),
        })
    }

    fn consumer(&self) -> Result<ConsumerSettings> {
        let records = self.number("max_poll_records").unwrap_or(500);
        Ok(ConsumerSettings {
            start: match (self.number("start_at"), self.text("auto_offset_reset")) {
                (Some(_), Some(_)) => {
                    return Err(config(
                        "start_at and auto_offset_reset both say where to begin without a commit: give one of them"
                            .to_owned(),
                    ));
                }
                (Some(ms), None) => Start::At(i64::try_from(ms).unwrap_or(i64::MAX)),
                (None, Some("latest")) => Start::Latest,
                (None, Some("none")) => Start::Nowhere,
                (None, _) => Start::Earliest,
            },
            auto_commit: self.flag("enable_auto_commit").unwrap_or(true),
            auto_commit_interval: self.millis("auto_commit_interval_ms").unwrap_or(Duration::from_secs(5)),
            max_poll_records: usize::try_from(records)
                .map_err(|_| config("max_poll_records is too high".to_owned()))?,
            timeout: match self.own.get("consumer_timeout_ms") {
                Some(Value::Int(ms)) if *ms < MAX_MS => Some(Duration::from_millis(ms.unsigned_abs())),
                _ => None,
            },
            exclude_internal_topics: self.flag("exclude_internal_topics").unwrap_or(true),
        })
    }

    /// What all clients share.
    fn network(&mut self) {
        self.default("client.id", "gds-kafka");
        self.default("socket.keepalive.enable", "true");
        self.default("log.connection.close", "false");
        self.default("broker.address.family", "any");
        self.default("statistics.interval.ms", "5000");
        if let Some(ms) = self.number("request_timeout_ms") {
            self.mapped("socket.timeout.ms", ms.to_string(), "request_timeout_ms");
            if self.role == Role::Producer {
                self.mapped("request.timeout.ms", ms.to_string(), "request_timeout_ms");
            }
        }
        // A first pause longer than librdkafka's longest raises the longest too.
        if let Some(ms) = self.number("retry_backoff_ms") {
            self.mapped("retry.backoff.ms", ms.to_string(), "retry_backoff_ms");
            self.default("retry.backoff.max.ms", &ms.max(1000).to_string());
        }
        let (first, longest) = (self.number("reconnect_backoff_ms"), self.number("reconnect_backoff_max_ms"));
        if first.is_some() || longest.is_some() {
            let longest = longest.unwrap_or(10_000).max(first.unwrap_or(0));
            let first = first.unwrap_or(100).min(longest);
            self.mapped("reconnect.backoff.ms", first.to_string(), "reconnect_backoff_ms");
            self.mapped("reconnect.backoff.max.ms", longest.to_string(), "reconnect_backoff_max_ms");
        }
        if let Some((size, _)) = self.client.get_mut("batch.size")
            && size == "0"
        {
            "1".clone_into(size); // kafka-python's way to say "no batches"
        }
    }

    fn security(&mut self) -> Result<()> {
        if self.flag("ssl_check_hostname") == Some(false) {
            self.mapped("ssl.endpoint.identification.algorithm", "none".to_owned(), "ssl_check_hostname");
        }
        // As in Python's ssl module, one file may hold the certificate and its key.
        if let Some((file, _)) = self.client.get("ssl.certificate.location").cloned()
            && !["ssl.key.pem", "ssl.keystore.location"].iter().any(|key| self.client.contains_key(*key))
        {
            self.default("ssl.key.location", &file);
        }
        let sasl = self.client.get("security.protocol").is_some_and(|(protocol, _)| protocol.starts_with("sasl_"));
        match self.client.get("sasl.mechanisms") {
            None if sasl => Err(config(
                "security_protocol asks for SASL and sasl_mechanism is not given: expected PLAIN, GSSAPI, OAUTHBEARER, \
                 SCRAM-SHA-256 or SCRAM-SHA-512"
                    .to_owned(),
            )),
            Some((mechanism, name)) if !sasl => Err(config(format!(
                "{name} is {mechanism:?}, but security_protocol does not use it: set security_protocol to SASL_SSL (or \
                 SASL_PLAINTEXT), or leave {name} out"
            ))),
            Some((mechanism, _)) if mechanism == "PLAIN" || mechanism.starts_with("SCRAM-") => {
                for (key, name) in [("sasl.username", "sasl_plain_username"), ("sasl.password", "sasl_plain_password")] {
                    if !self.client.contains_key(key) {
                        return Err(config(format!("sasl_mechanism {mechanism} needs {name}")));
                    }
                }
                Ok(())
            }
            None => {
                // Somebody who says who they are, and would be let in as nobody or not at all.
                let said = ["sasl.username", "sasl.password"].iter().find_map(|key| self.client.get(*key));
                said.map_or(Ok(()), |(_, name)| {
                    Err(config(format!(
                        "{name} is given and sasl_mechanism is not: set sasl_mechanism (PLAIN, SCRAM-SHA-256 or \
                         SCRAM-SHA-512) and security_protocol (SASL_SSL or SASL_PLAINTEXT), or leave {name} out"
                    )))
                })
            }
            Some(_) => Ok(()),
        }
    }

    fn sending(&mut self, producer: &ProducerSettings) -> Result<()> {
        if let Some(Value::Int(acks)) = self.own.get("acks") {
            self.mapped("acks", acks.to_string(), "acks");
        }
        // Idempotence by default, unless something given rules it out; asked for, the contradiction is an error.
        let at = |key: &str| self.client.get(key).map(|(value, name)| (value.as_str(), name.as_str()));
        let in_the_way = [
            at("acks").filter(|(acks, _)| !["-1", "all"].contains(acks)).map(|found| (found, "all")),
            at("max.in.flight.requests.per.connection")
                .filter(|(most, _)| most.parse::<i64>().is_ok_and(|most| most > 5))
                .map(|found| (found, "at most 5")),
            at("retries").filter(|(retries, _)| *retries == "0").map(|found| (found, "more than 0")),
        ];
        let in_the_way = in_the_way.into_iter().flatten().next();
        if let (Some(true), Some(((value, name), expected))) = (self.flag("enable_idempotence"), in_the_way) {
            return Err(config(format!(
                "enable_idempotence=True and {name}={value} contradict each other: expected {name} to be {expected}"
            )));
        }
        let idempotent = self.flag("enable_idempotence").unwrap_or(in_the_way.is_none());
        if self.own.contains_key("enable_idempotence") {
            self.mapped("enable.idempotence", idempotent.to_string(), "enable_idempotence");
        } else {
            self.default("enable.idempotence", &idempotent.to_string());
        }
        self.default("acks", "-1");
        self.default("partitioner", "murmur2_random"); // where the Java client and kafka-python put a key
        // The queue before librdkafka does the rest of the waiting.
        self.default("linger.ms", &producer.librdkafka_linger().as_millis().to_string());
        // A topic that is not there within this time, though asked for so that it may be made, is said to be unknown.
        self.default("topic.metadata.propagation.max.ms", "5000");
        self.default("queue.buffering.max.messages", "100000");
        // The other half is the queue before it.
        self.default(
            "queue.buffering.max.kbytes",
            &(producer.buffer_memory / 2 / 1024).clamp(1, 2_097_151).to_string(),
        );
        self.mapped("message.max.bytes", producer.max_request_size.to_string(), "max_request_size");
        // What is spooled waits as long as it takes.
        let timeout = producer.delivery_timeout.filter(|_| producer.spool.is_none()).unwrap_or_default();
        self.default("message.timeout.ms", &timeout.as_millis().to_string());
        Ok(())
    }

    fn reading(&mut self) -> Result<()> {
        if let Some(Value::List(given)) = self.own.get("partition_assignment_strategy") {
            let mut names = Vec::new();
            for name in given {
                let found = ASSIGNORS.iter().find(|(known, _)| name.trim().eq_ignore_ascii_case(known));
                let Some((_, name)) = found else {
                    return Err(config(format!(
                        "partition_assignment_strategy: {name:?} is not known: expected range, roundrobin or \
                         cooperative-sticky"
                    )));
                };
                names.push(*name);
            }
            if names.contains(&"cooperative-sticky") && names.iter().any(|name| *name != "cooperative-sticky") {
                return Err(config(
                    "partition_assignment_strategy: cooperative-sticky stands alone, without range or roundrobin"
                        .to_owned(),
                ));
            }
            let names = names.join(",");
            self.mapped("partition.assignment.strategy", names, "partition_assignment_strategy");
        }
        self.default("allow.auto.create.topics", "true"); // as kafka-python
        self.default("isolation.level", "read_uncommitted"); // as kafka-python
        self.default("check.crcs", "true"); // as kafka-python
        // A fast reader empties the queue sooner than librdkafka's second.
        self.default("fetch.queue.backoff.ms", "10");
        let number = |key: &str, default: i64| {
            let (value, name) = self.client.get(key).map_or(("", key), |(value, name)| (value.as_str(), name.as_str()));
            (value.parse::<i64>().unwrap_or(default), name.to_owned())
        };
        let (heartbeat, session) = (number("heartbeat.interval.ms", 3000), number("session.timeout.ms", 45_000));
        let poll = number("max.poll.interval.ms", 300_000);
        for ((low, low_name), (high, high_name)) in [(&heartbeat, &session), (&session, &poll)] {
            if low > high {
                return Err(config(format!("{low_name}={low} is more than {high_name}={high}: expected less")));
            }
        }
        // A response may be a little longer than what it carries.
        let (fetch, _) = number("fetch.max.bytes", 52_428_800);
        if fetch > 100_000_000 - 512 {
            self.default("receive.message.max.bytes", &(fetch + 512).to_string());
        }
        Ok(())
    }

    /// What librdkafka takes, once it has taken it.
    fn tried(&mut self) -> Result<BTreeMap<String, String>> {
        let mut client = BTreeMap::new();
        for (key, (value, name)) in std::mem::take(&mut self.client) {
            match librdkafka::check(&key, &value) {
                Ok(()) => {
                    let value = librdkafka::rooted(&key, value);
                    client.insert(key, value)
                }
                Err(Refusal::Invalid(_)) if librdkafka::secret(&key) => {
                    return Err(config(format!(
                        "{name}: librdkafka does not take the value (not shown: it is a secret)"
                    )));
                }
                Err(Refusal::Invalid(text)) => return Err(config(format!("{name}={value} is no valid value: {text}"))),
                Err(Refusal::Unknown) => return Err(config(format!("{name}: this librdkafka does not know {key}"))),
            };
        }
        Ok(client)
    }

    fn default(&mut self, key: &str, value: &str) {
        self.client.entry(key.to_owned()).or_insert_with(|| (value.to_owned(), key.to_owned()));
    }

    /// What a keyword sets; librdkafka's own key, if given, stands.
    fn mapped(&mut self, key: &str, value: String, name: &str) {
        self.client.entry(key.to_owned()).or_insert_with(|| (value, name.to_owned()));
    }

    fn flag(&self, name: &str) -> Option<bool> {
        match self.own.get(name) {
            Some(Value::Bool(value)) => Some(*value),
            _ => None,
        }
    }

    fn text(&self, name: &str) -> Option<&str> {
        match self.own.get(name) {
            Some(Value::Text(text)) => Some(text),
            _ => None,
        }
    }

    fn number(&self, name: &str) -> Option<u64> {
        match self.own.get(name) {
            Some(Value::Int(number)) => u64::try_from(*number).ok(),
            _ => None,
        }
    }

    fn millis(&self, name: &str) -> Option<Duration> {
        self.number(name).map(Duration::from_millis)
    }

    fn seconds(&self, name: &str) -> Option<Duration> {
        match self.own.get(name) {
            Some(Value::Float(seconds)) => Some(Duration::from_secs_f64(*seconds)),
            _ => None,
        }
    }
}
