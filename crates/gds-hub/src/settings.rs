//! Settings: kafka-python's keywords, our own, and librdkafka's dotted keys, checked once and turned into types.
//!
//! A mistake is an [`Error::Config`] that names the key and, if there is no such key, the
//! nearest known one. Values of secret keys are in no error, and neither [`Debug`](fmt::Debug) nor
//! [`Display`](fmt::Display) of [`Settings`] shows them.

mod address;
mod build;
mod librdkafka;
mod table;
#[cfg(test)]
mod tests;
mod value;

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

pub use address::Address;
pub use value::Value;

use crate::error::{Error, Result};
use crate::hub::{Start, Subscription};
pub use crate::producer::{Durability, OnFull};
use crate::producer::{ProducerOptions, REFUSED_PAUSE, SpoolOptions};
use librdkafka::Refusal;
use table::{Entry, Meaning};

/// What the settings are for; a key may be known to one and not to another.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Role {
    /// Sends.
    Producer,
    /// Reads.
    Consumer,
    /// Looks after topics.
    Admin,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Producer => "producer",
            Self::Consumer => "consumer",
            Self::Admin => "admin client",
        })
    }
}

/// Everything a client is to know.
#[derive(Clone, Eq, PartialEq)]
pub struct Settings {
    /// What they are for.
    pub role: Role,
    /// Where the hub is.
    pub address: Address,
    /// librdkafka's keys, all of those that differ from its defaults. Some are secrets: see [`is_secret`].
    pub client: BTreeMap<String, String>,
    /// How long to wait at construction for the hub to answer.
    pub connect_timeout: Duration,
    /// Do not wait for the hub at construction.
    pub lazy: bool,
    /// How long the end of the program may wait for what is queued.
    pub close_timeout: Duration,
    /// How to send.
    pub producer: ProducerSettings,
    /// How to read.
    pub consumer: ConsumerSettings,
    /// How the embedded hub keeps topics.
    pub embedded: EmbeddedSettings,
}

/// Where records wait on disk.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Spool {
    /// The folder; each process has a part of it.
    pub dir: PathBuf,
    /// Most bytes it may take.
    pub max_bytes: u64,
}

/// How to send.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ProducerSettings {
    /// What to do without room.
    pub on_full: OnFull,
    /// How long a send may wait for room.
    pub max_block: Duration,
    /// Bytes that may wait in memory.
    pub buffer_memory: u64,
    /// How long a record may wait for others to share a request with.
    pub linger: Duration,
    /// The same for a record that only watches: a measurement, a line of a log.
    pub long_linger: Duration,
    /// How long to try to deliver; none is for ever.
    pub delivery_timeout: Option<Duration>,
    /// Longest request, and so the longest record.
    pub max_request_size: u64,
    /// The records wait there, if anywhere on disk.
    pub spool: Option<Spool>,
    /// What an accepted record survives.
    pub durability: Durability,
    /// Records that are refused for good go to `{topic}.dlq`.
    pub dead_letter: bool,
}

impl ProducerSettings {
    /// The linger of librdkafka, on top of ours: for batches that are not full when no further records come, if the
    /// publisher did not get it to send them before. Records that wait beyond it make its thread poll without a pause.
    pub(crate) fn librdkafka_linger(&self) -> Duration {
        const LONG: Duration = Duration::from_millis(50);
        LONG.min(self.delivery_timeout.unwrap_or(LONG))
    }

    /// What the producer is to know of them.
    pub fn options(&self) -> ProducerOptions {
        let spool = self.spool.as_ref().map(|spool| SpoolOptions {
            dir: spool.dir.clone(),
            durability: self.durability,
            max_bytes: spool.max_bytes,
        });
        ProducerOptions {
            // The other half is what librdkafka may hold of it.
            buffer_bytes: usize::try_from(self.buffer_memory / 2).unwrap_or(usize::MAX),
            on_full: self.on_full,
            max_block: self.max_block,
            linger: self.linger,
            long_linger: self.long_linger,
            delivery_timeout: if spool.is_some() { None } else { self.delivery_timeout },
            refused_pause: Some(REFUSED_PAUSE),
            dead_letter: self.dead_letter,
            spool,
        }
    }
}

/// How to read.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ConsumerSettings {
    /// Where to begin without a commit.
    pub start: Start,
    /// Commit what the loop body has finished with, from time to time.
    pub auto_commit: bool,
    /// How often.
    pub auto_commit_interval: Duration,
    /// Most messages of one poll.
    pub max_poll_records: usize,
    /// Iteration ends when there was no message for so long; none is never.
    pub timeout: Option<Duration>,
    /// A pattern does not match Kafka's own topics.
    pub exclude_internal_topics: bool,
}

/// How the embedded hub keeps topics.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct EmbeddedSettings {
    /// Partitions of a topic that comes into being by itself.
    pub partitions: u32,
    /// How long a record is kept at least; none is for ever.
    pub retention: Option<Duration>,
    /// How many bytes of a partition are kept at least; none is all.
    pub retention_bytes: Option<u64>,
}

impl Settings {
    /// How often a client has new figures: librdkafka's `statistics.interval.ms`.
    pub fn statistics_interval(&self) -> Duration {
        let given = self.client.get("statistics.interval.ms").and_then(|ms| ms.parse().ok()).filter(|ms| *ms > 0);
        Duration::from_millis(given.unwrap_or(5_000))
    }

    /// How long a member of a group may handle messages: `max.poll.interval.ms`.
    pub fn max_poll_interval(&self) -> Duration {
        let given = self.client.get("max.poll.interval.ms").and_then(|ms| ms.parse().ok());
        given.map_or_else(|| Subscription::default().max_poll_interval, Duration::from_millis)
    }

    /// Checks what a program gave: the servers, keywords, and librdkafka's own keys.
    pub fn parse(
        role: Role,
        servers: &[String],
        given: &[(String, Value)],
        librdkafka: &[(String, Value)],
    ) -> Result<Self> {
        let address = Address::parse(servers)?;
        let mut taken = ParsedKeywords { role, own: BTreeMap::new(), client: BTreeMap::new() };
        for (name, value) in given {
            taken.keyword(name, value)?;
        }
        for (key, value) in librdkafka {
            taken.dotted(key, value)?;
        }
        taken.build(address)
    }
}

/// Whether the value of one of librdkafka's keys must not be shown.
pub fn is_secret(key: &str) -> bool {
    librdkafka::secret(key)
}

/// Keywords that were understood, not yet put together.
struct ParsedKeywords {
    role: Role,
    own: BTreeMap<&'static str, Value>,
    /// librdkafka's key: its value, and how the program spelled the key.
    client: BTreeMap<String, (String, String)>,
}

impl ParsedKeywords {
    fn keyword(&mut self, name: &str, value: &Value) -> Result<()> {
        let Some(entry) = table::find(name) else { return Err(self.unknown(name)) };
        if !entry.of(self.role) {
            let owners = entry.owners();
            return Err(config(format!("{name} is a setting of {owners}, not of a {}", self.role)));
        }
        let empty = match value {
            Value::None => true,
            Value::List(items) => items.is_empty(),
            _ => false,
        };
        match entry.meaning {
            Meaning::Needless => Ok(()),
            _ if empty => Ok(()),
            Meaning::Refused(why) => Err(config(format!("{name} is not supported: {why}"))),
            Meaning::Object(what) => {
                let shown = if matches!(value, Value::Text(_)) { "text".to_owned() } else { value.shown() };
                Err(config(format!("{name}: expected {what}, not {shown}")))
            }
            Meaning::Own(shape) => {
                self.own.insert(entry.name, shape.take(name, value)?);
                Ok(())
            }
            Meaning::Mapped(key, shape) => {
                let value = shape.take(name, value)?.plain();
                self.client.insert(librdkafka::canonical(key).to_owned(), (value, name.to_owned()));
                Ok(())
            }
        }
    }

    fn dotted(&mut self, key: &str, value: &Value) -> Result<()> {
        let name = librdkafka::canonical(key);
        if let Some(instead) = librdkafka::taken(name) {
            return Err(config(format!("librdkafka's {key} cannot be set: {instead}")));
        }
        if !librdkafka::names().iter().any(|known| known == key) {
            return Err(unknown_dotted(key));
        }
        let secret = librdkafka::secret(name);
        let value = match value {
            Value::None => return Ok(()),
            Value::Other(_) => {
                let shown = if secret { "an object".to_owned() } else { value.shown() };
                return Err(config(format!(
                    "librdkafka's {key}: {shown} is no valid value: expected text or a number"
                )));
            }
            value => value.plain(),
        };
        if let Some((_, other)) = self.client.get(name) {
            return Err(config(format!("{other} and librdkafka's {key} set the same: give one of them")));
        }
        self.client.insert(name.to_owned(), (value, format!("librdkafka's {key}")));
        Ok(())
    }

    fn unknown(&self, name: &str) -> Error {
        if name.contains('.') {
            return if librdkafka::names().iter().any(|known| known == name) {
                config(format!("{name} is a key of librdkafka: give it as librdkafka={{\"{name}\": ...}}"))
            } else {
                unknown_dotted(name)
            };
        }
        let known = table::TABLE.iter().filter(|entry| entry.of(self.role)).map(|entry: &Entry| entry.name);
        let nearest = nearest(name, known);
        config(format!("{name:?} is no setting of a {}; the nearest known one is {nearest:?}", self.role))
    }
}

fn unknown_dotted(key: &str) -> Error {
    let nearest = nearest(key, librdkafka::names().iter().map(String::as_str));
    config(format!(
        "{key:?} is no setting of librdkafka; the nearest known one is {nearest:?}, to be given as librdkafka={{...}}"
    ))
}

/// The known name most like `name`.
fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> &'a str {
    let name = name.to_ascii_lowercase();
    let alike = |known: &str| {
        strsim::normalized_damerau_levenshtein(&name, known).max(strsim::jaro_winkler(&name, known) * 0.9)
    };
    known.max_by(|a, b| alike(a).total_cmp(&alike(b))).unwrap_or_default()
}

fn config(message: String) -> Error {
    Error::Config(message.into())
}

/// For people and logs: one line, without secrets.
impl fmt::Display for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.address {
            Address::Kafka(brokers) => write!(f, "{} of {brokers}", self.role)?,
            Address::Embedded(path) => write!(f, "{} of embedded:{}", self.role, path.display())?,
        }
        for (key, value) in &self.client {
            write!(f, ", {key}={}", if is_secret(key) { "***" } else { value })?;
        }
        Ok(())
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hidden = self.client.iter().map(|(key, value)| (key, if is_secret(key) { "***" } else { value }));
        f.debug_struct("Settings")
            .field("role", &self.role)
            .field("address", &self.address)
            .field("client", &hidden.collect::<BTreeMap<_, _>>())
            .field("connect_timeout", &self.connect_timeout)
            .field("lazy", &self.lazy)
            .field("close_timeout", &self.close_timeout)
            .field("producer", &self.producer)
            .field("consumer", &self.consumer)
            .field("embedded", &self.embedded)
            .finish()
    }
}
