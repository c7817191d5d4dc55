//! Every keyword there is: those of kafka-python's clients, and our own.

use super::Role;
use super::value::Shape;
use Meaning::{Mapped, Needless, Object, Own, Refused};
use Shape::{Acks, Choice, Endless, Flag, Seconds, Secret, Text, Texts, Whole};

/// What becomes of a keyword.
#[derive(Clone, Copy, Debug)]
pub(super) enum Meaning {
    /// Passed on to librdkafka under this name.
    Mapped(&'static str, Shape),
    /// Read by [`Settings`](super::Settings).
    Own(Shape),
    /// Taken, and without effect: there is nothing here that it could set.
    Needless,
    /// Cannot be done; the reason, and what to do instead.
    Refused(&'static str),
    /// Taken by the client before it comes here, as an object or an argument of its own.
    Object(&'static str),
}

/// A keyword.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    pub(super) name: &'static str,
    /// Letters of the roles that know it.
    roles: &'static str,
    pub(super) meaning: Meaning,
}

impl Entry {
    pub(super) fn of(&self, role: Role) -> bool {
        self.roles.contains(match role {
            Role::Producer => 'p',
            Role::Consumer => 'c',
            Role::Admin => 'a',
        })
    }

    /// "producers", "producers and consumers".
    pub(super) fn owners(&self) -> String {
        let names = self.roles.chars().map(|role| match role {
            'p' => "producers",
            'c' => "consumers",
            _ => "admin clients",
        });
        names.collect::<Vec<_>>().join(" and ")
    }
}

pub(super) fn find(name: &str) -> Option<&'static Entry> {
    TABLE.iter().find(|entry| entry.name == name)
}

const fn entry(name: &'static str, roles: &'static str, meaning: Meaning) -> Entry {
    Entry { name, roles, meaning }
}

pub(super) const MAX_MS: i64 = i32::MAX as i64;
const TRANSACTIONS: &str =
    "transactions are not supported; a stable message id in the headers lets readers drop duplicates";
const PROXY: &str = "librdkafka cannot go through a proxy; tunnel the brokers' ports instead";
const PROTOCOLS: &[&str] = &["plaintext", "ssl", "sasl_plaintext", "sasl_ssl"];
const MECHANISMS: &[&str] = &["PLAIN", "GSSAPI", "OAUTHBEARER", "SCRAM-SHA-256", "SCRAM-SHA-512"];
const PARTITIONERS: &[&str] =
    &["murmur2_random", "murmur2", "random", "consistent", "consistent_random", "fnv1a", "fnv1a_random"];

/// Sorted by what it is about; `p` producers, `c` consumers, `a` admin.
pub(super) const TABLE: &[Entry] = &[
    // Of our own, for every client.
    entry("connect_timeout_seconds", "pca", Own(Seconds)),
    entry("lazy", "pca", Own(Flag)),
    entry("close_timeout_seconds", "pca", Own(Seconds)),
    entry("partitions", "pca", Own(Whole(1, 10_000))),
    entry("retention_seconds", "pca", Own(Seconds)),
    entry("retention_bytes", "pca", Own(Whole(1, i64::MAX))),
    // Of our own, for producers.
    entry("on_full", "p", Own(Choice(&["block", "drop_newest", "drop_oldest", "raise"]))),
    entry("buffer_memory", "p", Own(Whole(1024, 1 << 40))),
    entry("spool_dir", "p", Own(Text)),
    entry("durability", "p", Own(Choice(&["memory", "process", "disk"]))),
    entry("spool_max_bytes", "p", Own(Whole(1024, i64::MAX))),
    entry("dead_letter", "p", Own(Flag)),
    // Sending.
    entry("acks", "p", Own(Acks)),
    entry("enable_idempotence", "p", Own(Flag)),
    entry("max_block_ms", "p", Own(Endless(0, MAX_MS))),
    entry("linger_ms", "p", Own(Whole(0, 900_000))),
    entry("delivery_timeout_ms", "p", Own(Endless(1, MAX_MS))),
    entry("compression_type", "p", Mapped("compression.type", Choice(&["none", "gzip", "snappy", "lz4", "zstd"]))),
    entry("retries", "p", Mapped("retries", Endless(0, MAX_MS))),
    entry("batch_size", "p", Mapped("batch.size", Whole(0, MAX_MS))),
    entry("max_request_size", "p", Own(Whole(1000, 1_000_000_000))),
    entry("partitioner", "p", Mapped("partitioner", Choice(PARTITIONERS))),
    entry("transactional_id", "p", Refused(TRANSACTIONS)),
    entry("transaction_timeout_ms", "p", Refused(TRANSACTIONS)),
    entry("key_serializer", "p", Object("a callable")),
    entry("value_serializer", "p", Object("a callable")),
    // Reading.
    entry("auto_offset_reset", "c", Own(Choice(&["earliest", "latest", "none"]))),
    entry("start_at", "c", Own(Whole(0, i64::MAX))),
    entry("enable_auto_commit", "c", Own(Flag)),
    entry("auto_commit_interval_ms", "c", Own(Whole(0, 86_400_000))),
    entry("max_poll_records", "c", Own(Whole(1, 1_000_000))),
    entry("consumer_timeout_ms", "c", Own(Endless(0, MAX_MS))),
    entry("exclude_internal_topics", "c", Own(Flag)),
    entry("max_poll_interval_ms", "c", Mapped("max.poll.interval.ms", Whole(1, 86_400_000))),
    entry("session_timeout_ms", "c", Mapped("session.timeout.ms", Whole(1, 3_600_000))),
    entry("heartbeat_interval_ms", "c", Mapped("heartbeat.interval.ms", Whole(1, 3_600_000))),
    entry("fetch_min_bytes", "c", Mapped("fetch.min.bytes", Whole(1, 100_000_000))),
    entry("fetch_max_bytes", "c", Mapped("fetch.max.bytes", Whole(1, 2_147_483_135))),
    entry("fetch_max_wait_ms", "c", Mapped("fetch.wait.max.ms", Whole(0, 300_000))),
    entry("max_partition_fetch_bytes", "c", Mapped("max.partition.fetch.bytes", Whole(1, 1_000_000_000))),
    entry("isolation_level", "c", Mapped("isolation.level", Choice(&["read_uncommitted", "read_committed"]))),
    entry("partition_assignment_strategy", "c", Own(Texts)),
    entry("group_instance_id", "c", Mapped("group.instance.id", Text)),
    entry("client_rack", "c", Mapped("client.rack", Text)),
    entry("check_crcs", "c", Mapped("check.crcs", Flag)),
    entry("enable_incremental_fetch_sessions", "c", Needless),
    entry("group_id", "c", Object("an argument of the client, text")),
    entry("key_deserializer", "c", Object("a callable")),
    entry("value_deserializer", "c", Object("a callable")),
    entry(
        "default_offset_commit_callback",
        "c",
        Refused("commit() raises what goes wrong, and commits without waiting are logged"),
    ),
    // Connecting.
    entry("bootstrap_servers", "pca", Object("an argument of the client")),
    entry("client_id", "pca", Mapped("client.id", Text)),
    entry("request_timeout_ms", "pca", Own(Whole(10, 300_000))),
    entry("retry_backoff_ms", "pca", Own(Whole(1, 300_000))),
    entry("reconnect_backoff_ms", "pca", Own(Whole(0, 3_600_000))),
    entry("reconnect_backoff_max_ms", "pca", Own(Whole(0, 3_600_000))),
    entry("metadata_max_age_ms", "pca", Mapped("topic.metadata.refresh.interval.ms", Whole(1, 3_600_000))),
    entry("connections_max_idle_ms", "pca", Mapped("connections.max.idle.ms", Whole(0, MAX_MS))),
    entry(
        "max_in_flight_requests_per_connection",
        "pca",
        Mapped("max.in.flight.requests.per.connection", Whole(1, 1_000_000)),
    ),
    entry("receive_message_max_bytes", "pca", Mapped("receive.message.max.bytes", Whole(1000, MAX_MS))),
    entry("receive_buffer_bytes", "pca", Mapped("socket.receive.buffer.bytes", Whole(0, 100_000_000))),
    entry("send_buffer_bytes", "pca", Mapped("socket.send.buffer.bytes", Whole(0, 100_000_000))),
    entry("allow_auto_create_topics", "pc", Mapped("allow.auto.create.topics", Flag)),
    entry(
        "client_dns_lookup",
        "pca",
        Mapped("client.dns.lookup", Choice(&["use_all_dns_ips", "resolve_canonical_bootstrap_servers_only"])),
    ),
    entry("bootstrap_timeout_ms", "pca", Own(Endless(0, MAX_MS))),
    entry("api_version", "pca", Needless), // librdkafka asks the broker
    entry("selector", "pca", Needless),    // librdkafka has its own
    entry("metrics_enabled", "pc", Needless),
    entry("metrics_num_samples", "pca", Needless),
    entry("metrics_sample_window_ms", "pca", Needless),
    entry("metric_group_prefix", "c", Needless),
    entry("metric_reporters", "pca", Refused("give metrics= a MetricsCollector instead")),
    entry(
        "socket_options",
        "pca",
        Refused("give librdkafka={\"socket.nagle.disable\": ..., \"socket.keepalive.enable\": ...} instead"),
    ),
    entry("kafka_client", "pca", Refused("librdkafka is the client")),
    entry("proxy_url", "pca", Refused(PROXY)),
    entry("socks5_proxy", "pca", Refused(PROXY)),
    // Who we are, and who they are.
    entry("security_protocol", "pca", Mapped("security.protocol", Choice(PROTOCOLS))),
    entry("ssl_check_hostname", "pca", Own(Flag)),
    entry("ssl_cafile", "pca", Mapped("ssl.ca.location", Text)),
    entry("ssl_certfile", "pca", Mapped("ssl.certificate.location", Text)),
    entry("ssl_keyfile", "pca", Mapped("ssl.key.location", Text)),
    entry("ssl_password", "pca", Mapped("ssl.key.password", Secret)),
    entry("ssl_crlfile", "pca", Mapped("ssl.crl.location", Text)),
    entry("ssl_ciphers", "pca", Mapped("ssl.cipher.suites", Text)),
    entry(
        "ssl_context",
        "pca",
        Refused("librdkafka cannot use Python's SSL context; give ssl_cafile, ssl_certfile and ssl_keyfile instead"),
    ),
    entry("sasl_mechanism", "pca", Mapped("sasl.mechanisms", Choice(MECHANISMS))),
    entry("sasl_plain_username", "pca", Mapped("sasl.username", Text)),
    entry("sasl_plain_password", "pca", Mapped("sasl.password", Secret)),
    entry("sasl_kerberos_service_name", "pca", Mapped("sasl.kerberos.service.name", Text)),
    entry("sasl_kerberos_name", "pca", Refused("give sasl_kerberos_service_name instead")),
    entry("sasl_kerberos_domain_name", "pca", Refused("the domain is that of the broker's host name")),
    entry("sasl_oauth_token_provider", "pca", Object("a callable, or an object with a method token()")),
];
