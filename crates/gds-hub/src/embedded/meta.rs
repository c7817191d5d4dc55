//! What the hub remembers besides messages: the settings of topics and the commits of groups.
//!
//! Each change is an entry of a log, as JSON. When the log has grown far beyond what it says, the whole state is
//! appended once more and everything before is cut off; a process killed in between finds both, which say the same.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::log::{Log, LogOptions, Recovered};

/// A log smaller than this is left as it is.
const SMALL_BYTES: u64 = 1 << 20;
/// How many times what the state takes the log may take.
const SLACK: u64 = 4;
/// Changes in one write, so that a large state needs no large buffer.
const BATCH: usize = 1_000;

/// What may change.
#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Change {
    Topic { name: String, settings: Settings },
    Deleted { name: String },
    Commit { group: String, topic: String, partition: i32, offset: i64 },
}

/// What a topic was made with.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub(super) struct Settings {
    pub(super) partitions: i32,
    #[serde(default)]
    pub(super) config: BTreeMap<String, String>,
}

/// The offsets a group has committed, by topic and partition.
pub(super) type Commits = BTreeMap<(String, i32), i64>;

/// The state, and the log that remembers it.
#[derive(Debug)]
pub(super) struct Meta {
    log: Log,
    topics: BTreeMap<String, Settings>,
    groups: BTreeMap<String, Commits>,
    compact_at: u64,
}

impl Meta {
    /// What the log in `dir` says.
    pub(super) fn open(dir: &Path) -> Result<(Self, Recovered)> {
        let options = LogOptions { segment_bytes: SMALL_BYTES, verify: true, ..LogOptions::default() };
        let (log, recovered) = Log::open(dir, options)?;
        let mut reader = log.reader(log.first_offset());
        let mut meta = Self { log, topics: BTreeMap::new(), groups: BTreeMap::new(), compact_at: SMALL_BYTES };
        let mut unknown = None;
        reader.next_batch(u64::MAX, usize::MAX, |entry| match serde_json::from_slice(entry.payload) {
            Ok(change) => meta.apply(change),
            Err(error) => unknown = Some(error),
        })?;
        if let Some(error) = unknown {
            let dir = dir.display();
            let message = format!("{dir} was written by a later version ({error}); use that version");
            return Err(Error::Storage(message.into()));
        }
        meta.compact_if_large()?;
        Ok((meta, recovered))
    }

    pub(super) fn topics(&self) -> &BTreeMap<String, Settings> {
        &self.topics
    }

    pub(super) fn groups(&self) -> impl Iterator<Item = &str> {
        self.groups.keys().map(String::as_str)
    }

    pub(super) fn commits(&self, group: &str) -> Option<&Commits> {
        self.groups.get(group)
    }

    pub(super) fn committed(&self, group: &str, topic: &str, partition: i32) -> Option<i64> {
        self.groups.get(group)?.get(&(topic.to_owned(), partition)).copied()
    }

    /// The highest offset that any group has committed.
    pub(super) fn highest(&self, topic: &str, partition: i32) -> i64 {
        let key = (topic.to_owned(), partition);
        self.groups.values().filter_map(|commits| commits.get(&key)).copied().max().unwrap_or(0)
    }

    /// Remembers changes, all or none of them; when this returns, they survive the end of the process.
    pub(super) fn record(&mut self, changes: Vec<Change>) -> Result<()> {
        self.append(&changes)?;
        for change in changes {
            self.apply(change);
        }
        // The changes are kept; there will be another occasion to make the log smaller.
        let _ = self.compact_if_large();
        Ok(())
    }

    /// Has everything remembered on the disk.
    pub(super) fn sync(&mut self) -> Result<()> {
        self.log.sync()
    }

    fn append(&mut self, changes: &[Change]) -> Result<()> {
        let lines: Result<Vec<_>, _> = changes.iter().map(serde_json::to_vec).collect();
        let lines = lines.map_err(|error| Error::Serialization(error.to_string().into()))?;
        self.log.append(lines.iter().map(Vec::as_slice)).map(drop)
    }

    fn apply(&mut self, change: Change) {
        match change {
            Change::Topic { name, settings } => {
                self.topics.insert(name, settings);
            }
            Change::Deleted { name } => {
                self.topics.remove(&name);
                for commits in self.groups.values_mut() {
                    commits.retain(|(topic, _), _| *topic != name);
                }
                self.groups.retain(|_, commits| !commits.is_empty());
            }
            Change::Commit { group, topic, partition, offset } => {
                self.groups.entry(group).or_default().insert((topic, partition), offset);
            }
        }
    }

    fn compact_if_large(&mut self) -> Result<()> {
        if self.log.bytes() < self.compact_at {
            return Ok(());
        }
        self.compact_at = self.log.bytes() * 2; // should this fail, it is not tried with every change
        self.log.begin_segment()?;
        let start = self.log.next_offset();
        let state = self.state();
        for changes in state.chunks(BATCH) {
            self.append(changes)?;
        }
        // Never on the disk without one or the other.
        self.log.sync()?;
        self.log.trim_to(start)?;
        self.compact_at = SMALL_BYTES.max(SLACK * self.log.bytes());
        Ok(())
    }

    fn state(&self) -> Vec<Change> {
        let topics = self.topics.iter();
        let topics = topics.map(|(name, settings)| Change::Topic { name: name.clone(), settings: settings.clone() });
        let commits = self.groups.iter().flat_map(|(group, commits)| {
            commits.iter().map(|((topic, partition), offset)| Change::Commit {
                group: group.clone(),
                topic: topic.clone(),
                partition: *partition,
                offset: *offset,
            })
        });
        topics.chain(commits).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn commit(offset: i64) -> Change {
        Change::Commit { group: "readers".to_owned(), topic: "orders".to_owned(), partition: 3, offset }
    }

    #[test]
    fn what_was_remembered_is_there_again_however_often_it_changed() {
        let dir = tempfile::tempdir().expect("a folder");
        let (mut meta, _) = Meta::open(dir.path()).expect("opened");
        let settings = Settings { partitions: 7, config: BTreeMap::from([("retention.ms".into(), "5".into())]) };
        for name in ["orders", "gone"] {
            let topic = Change::Topic { name: name.to_owned(), settings: settings.clone() };
            meta.record(vec![topic]).expect("recorded");
        }
        meta.record(vec![Change::Deleted { name: "gone".to_owned() }]).expect("recorded");
        let mut largest = 0;
        for offset in 0..40_000 {
            meta.record(vec![commit(offset)]).expect("recorded");
            largest = largest.max(meta.log.bytes());
        }
        assert!(meta.log.first_offset() > 0 && largest < 2 * SMALL_BYTES, "{largest}");
        drop(meta);
        let (meta, _) = Meta::open(dir.path()).expect("opened");
        assert_eq!(meta.topics(), &BTreeMap::from([("orders".to_owned(), settings)]));
        assert_eq!(meta.committed("readers", "orders", 3), Some(39_999));
        assert_eq!((meta.committed("readers", "orders", 2), meta.highest("orders", 3)), (None, 39_999));
    }

    #[test]
    fn commits_end_with_their_topic() {
        let dir = tempfile::tempdir().expect("a folder");
        let (mut meta, _) = Meta::open(dir.path()).expect("opened");
        meta.record(vec![commit(5), Change::Deleted { name: "orders".to_owned() }]).expect("recorded");
        assert_eq!((meta.groups().count(), meta.committed("readers", "orders", 3)), (0, None));
    }
}
