//! Finding topics by patterns, and the partitions of a reader without a group, which nobody assigns any to.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use gds_process::sync::Mutex;
use regex::Regex;

use super::admin::{described, listed};
use super::callbacks::LogLevel;
use super::client::EventHandler;
use super::native::Handle;
use crate::error::{Error, Result};
use crate::hub::TopicPartition;

/// Between looks for new partitions, when all that was asked for is there and when it is not.
const CALM: Duration = Duration::from_secs(30);
const EAGER: Duration = Duration::from_secs(1);
/// Short, as other events wait behind it.
const TIMEOUT: Duration = Duration::from_secs(2);

/// Which topics are wanted.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    names: Vec<String>,
    patterns: Vec<Regex>,
    internal: bool,
}

impl Wanted {
    pub(super) fn new(topics: &[String], internal: bool) -> Result<Self> {
        let (mut names, mut patterns) = (Vec::new(), Vec::new());
        for topic in topics {
            if topic.starts_with('^') {
                patterns.push(Regex::new(topic).map_err(|error| {
                    let message = format!("topic {topic:?} begins with ^ and is no regular expression: {error}");
                    Error::Config(message.into())
                })?);
            } else {
                names.push(topic.clone());
            }
        }
        Ok(Self { names, patterns, internal })
    }

    /// The partitions there are, and whether each named topic has some.
    pub(super) fn find(&self, handle: &Handle, timeout: Duration) -> Result<(BTreeSet<TopicPartition>, bool)> {
        let end = Instant::now() + timeout;
        let left = || end.saturating_duration_since(Instant::now());
        let mut found = BTreeSet::new();
        let (mut whole, mut matched) = (true, true);
        let mut take = |topics: Vec<crate::hub::Topic>| {
            for topic in topics {
                let name: Arc<str> = topic.name.into();
                found.extend(topic.partitions.iter().map(|partition| (name.clone(), partition.id)));
            }
        };
        for name in &self.names {
            match described(handle, Some(name), left()) {
                Ok(topics) => take(topics),
                // It may be made later.
                Err(Error::Message(_)) => whole = false,
                Err(error) => return Err(error),
            }
        }
        if !self.patterns.is_empty() {
            // Not librdkafka's patterns, which know less than ours.
            let topics = listed(handle, None, left())?.into_iter().flatten();
            let topics: Vec<_> = topics.filter(|topic| self.matches(&topic.name)).collect();
            matched = !topics.is_empty();
            take(topics);
        }
        Ok((found, whole && matched))
    }

    /// Whether partitions of this topic are wanted.
    pub(super) fn selects(&self, topic: &str) -> bool {
        self.names.iter().any(|name| name == topic) || self.matches(topic)
    }

    fn matches(&self, topic: &str) -> bool {
        (self.internal || !topic.starts_with("__")) && self.patterns.iter().any(|pattern| pattern.is_match(topic))
    }

    /// Whether there is anything.
    pub(super) fn some(&self) -> bool {
        !self.names.is_empty() || !self.patterns.is_empty()
    }

    /// Whether topics are to be looked for.
    pub(super) fn has_patterns(&self) -> bool {
        !self.patterns.is_empty()
    }

    /// The topics of a group: those named, and those found.
    pub(super) fn topics(&self, found: &BTreeSet<TopicPartition>) -> BTreeSet<String> {
        let named = self.names.iter().cloned();
        named.chain(found.iter().map(|(topic, _)| topic.to_string())).collect()
    }
}

/// What was found and not taken up yet.
pub(super) type Found = Arc<Mutex<Option<BTreeSet<TopicPartition>>>>;

/// Looks for new partitions now and then, on the thread of the client.
pub(super) struct Discovery {
    pub(super) wanted: Wanted,
    pub(super) found: Found,
    calm: Duration,
    next: Instant,
}

impl Discovery {
    /// Looks as often as librdkafka does for itself, if that is often.
    pub(super) fn soon(wanted: Wanted, found: Found, refresh: Duration) -> Self {
        let calm = CALM.min(refresh);
        Self { wanted, found, calm, next: Instant::now() + EAGER.min(calm) }
    }
}

impl EventHandler for Discovery {
    fn tick(&mut self, handle: &Arc<Handle>) {
        if Instant::now() < self.next {
            return;
        }
        let mut pause = EAGER.min(self.calm);
        match self.wanted.find(handle, TIMEOUT) {
            Ok((found, whole)) => {
                if whole {
                    pause = self.calm;
                }
                *self.found.lock() = Some(found);
            }
            Err(error) => handle.shared().log(LogLevel::Debug, "DISCOVER", error.message()),
        }
        self.next = Instant::now() + pause;
    }
}
