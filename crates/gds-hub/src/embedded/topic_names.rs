//! Names of topics, and what a subscription selects: checked before anything touches the disk.

use regex::Regex;

use crate::error::{Error, Result};
use crate::record::MAX_TOPIC as LONGEST;

/// More would be more files than a process may open.
const MOST_PARTITIONS: i32 = 1_000;

/// Refuses what Kafka refuses, which leaves names that are safe as names of folders.
pub(super) fn check_topic(name: &str) -> Result<()> {
    let sound = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte));
    if sound && (1..=LONGEST).contains(&name.len()) && name != "." && name != ".." {
        return Ok(());
    }
    let message = format!(
        "topic {name:?} is no valid name; expected 1 to {LONGEST} of the characters a-z, A-Z, 0-9, '.', '_' and '-', \
         and neither \".\" nor \"..\""
    );
    Err(Error::Message(message.into()))
}

/// Refuses numbers of partitions that make no sense.
pub(super) fn check_partitions(partitions: i32) -> Result<()> {
    if (1..=MOST_PARTITIONS).contains(&partitions) {
        return Ok(());
    }
    let message = format!("{partitions} partitions; expected 1 to {MOST_PARTITIONS}");
    Err(Error::Config(message.into()))
}

/// One of the topics of a subscription.
#[derive(Clone, Debug)]
pub(super) enum Selector {
    Name(String),
    Pattern(Regex),
}

impl Selector {
    /// A name, or a pattern if it begins with `^`.
    pub(super) fn parse(topic: &str) -> Result<Self> {
        if !topic.starts_with('^') {
            return check_topic(topic).map(|()| Self::Name(topic.to_owned()));
        }
        Regex::new(topic).map(Self::Pattern).map_err(|error| {
            let message = format!("topic pattern {topic:?} is no regular expression: {error}");
            Error::Config(message.into())
        })
    }

    pub(super) fn selects(&self, topic: &str) -> bool {
        match self {
            Self::Name(name) => name == topic,
            Self::Pattern(pattern) => pattern.is_match(topic),
        }
    }
}
