//! The names librdkafka knows, and whether it takes a value, asked of librdkafka itself.
#![allow(unsafe_code)] // one block, which says why it is sound

use std::ffi::c_char;
use std::ptr;

use once_cell::race::OnceBox;
use rdkafka::ClientConfig;
use rdkafka::error::KafkaError;
use rdkafka::types::RDKafkaConfRes;
use rdkafka_sys as sys;

/// Names that mean the same, and the one that is used here.
const ALIASES: &[(&str, &str)] = &[
    ("bootstrap.servers", "metadata.broker.list"),
    ("max.in.flight", "max.in.flight.requests.per.connection"),
    ("queue.buffering.max.ms", "linger.ms"),
    ("message.send.max.retries", "retries"),
    ("compression.codec", "compression.type"),
    ("request.required.acks", "acks"),
    ("delivery.timeout.ms", "message.timeout.ms"),
    ("sasl.mechanism", "sasl.mechanisms"),
    ("fetch.message.max.bytes", "max.partition.fetch.bytes"),
    ("sasl.oauthbearer.client.credentials.client.id", "sasl.oauthbearer.client.id"),
    ("sasl.oauthbearer.client.credentials.client.secret", "sasl.oauthbearer.client.secret"),
];

/// Keys that the client needs for itself, and what to use instead.
const TAKEN: &[(&str, &str)] = &[
    ("metadata.broker.list", "give bootstrap_servers"),
    ("group.id", "give group_id"),
    ("enable.auto.commit", "give enable_auto_commit: offsets are committed after the loop body, not by librdkafka"),
    ("auto.commit.interval.ms", "give auto_commit_interval_ms"),
    ("auto.commit.enable", "give enable_auto_commit"),
    ("enable.auto.offset.store", "offsets are committed after the loop body, not by librdkafka"),
    ("auto.offset.reset", "give auto_offset_reset"),
    ("transactional.id", "transactions are not supported"),
    ("transaction.timeout.ms", "transactions are not supported"),
    ("delivery.report.only.error", "every outcome is reported"),
    ("enabled_events", "the client listens itself"),
    ("log.queue", "librdkafka's log goes to the gds_kafka logger"),
    ("opaque", "the client needs it"),
    ("interceptors", "it cannot be given as text"),
    ("default_topic_conf", "give the topic's keys beside the others"),
    ("ssl_engine_callback_data", "it cannot be given as text"),
    ("ssl_key", "give ssl_keyfile"),
    ("ssl_certificate", "give ssl_certfile"),
    ("ssl_ca", "give ssl_cafile"),
];

/// The one spelling of a key that has several.
pub(super) fn canonical(key: &str) -> &str {
    ALIASES.iter().find(|(alias, _)| *alias == key).map_or(key, |(_, name)| name)
}

/// What to do instead of giving `key`, if it is one that the client needs for itself.
pub(super) fn taken(key: &str) -> Option<&'static str> {
    if key.ends_with("_cb") {
        return Some("it cannot be given as text");
    }
    TAKEN.iter().find(|(name, _)| *name == key).map(|(_, instead)| *instead)
}

/// Whether the value of `key` must not be shown.
pub(super) fn secret(key: &str) -> bool {
    ["password", "secret", "passphrase", "key.pem", "oauthbearer.config", "token"].iter().any(|part| key.contains(part))
}

/// A value that names a file, from the root: a client that is made later, or again after a fork, means the same one.
pub(super) fn rooted(key: &str, value: String) -> String {
    let is_file = key.ends_with(".location") || key == "sasl.kerberos.keytab";
    let is_word = key == "ssl.ca.location" && value == "probe";
    if !is_file || is_word {
        return value;
    }
    std::path::absolute(&value).ok().and_then(|path| path.into_os_string().into_string().ok()).unwrap_or(value)
}

/// Why librdkafka does not take a setting.
pub(super) enum Refusal {
    /// There is no such key.
    Unknown,
    /// The value does not fit; librdkafka's words, which may repeat the value.
    Invalid(String),
}

/// Whether librdkafka takes a setting.
pub(super) fn check(key: &str, value: &str) -> Result<(), Refusal> {
    match ClientConfig::new().set(key, value).create_native_config() {
        Ok(_) => Ok(()),
        Err(KafkaError::ClientConfig(RDKafkaConfRes::RD_KAFKA_CONF_UNKNOWN, ..)) => Err(Refusal::Unknown),
        Err(KafkaError::ClientConfig(_, why, ..)) => Err(Refusal::Invalid(why)),
        Err(_) if key.contains('\0') => Err(Refusal::Unknown),
        Err(_) => Err(Refusal::Invalid("the value holds a NUL".to_owned())),
    }
}

/// The name of every key of librdkafka, aliases too.
pub(super) fn names() -> &'static [String] {
    static NAMES: OnceBox<Vec<String>> = OnceBox::new();
    NAMES.get_or_init(|| {
        let page = properties();
        let mut names: Vec<String> = page
            .lines()
            .filter_map(|line| line.split_once('|').map(|(name, _)| name.trim()))
            .filter(|name| name.starts_with(|c: char| c.is_ascii_lowercase()))
            .map(str::to_owned)
            .collect();
        names.sort_unstable();
        names.dedup();
        Box::new(names)
    })
}

/// librdkafka's own table of its settings; empty if there is no memory for it.
fn properties() -> String {
    let (mut bytes, mut length) = (ptr::null_mut::<c_char>(), 0_usize);
    // SAFETY: the stream writes to memory of its own, whose place and size it keeps in the two variables, which live
    // on until it is closed; then they are valid, and the memory is ours to free.
    unsafe {
        let stream = libc::open_memstream(&raw mut bytes, &raw mut length);
        if stream.is_null() {
            return String::new();
        }
        sys::rd_kafka_conf_properties_show(stream.cast());
        libc::fclose(stream);
        if bytes.is_null() {
            return String::new();
        }
        let page = String::from_utf8_lossy(std::slice::from_raw_parts(bytes.cast::<u8>(), length)).into_owned();
        libc::free(bytes.cast());
        page
    }
}
