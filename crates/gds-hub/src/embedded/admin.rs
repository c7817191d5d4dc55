//! Looking after the topics of the embedded hub. Nothing here waits for anybody, so nothing needs patience.

use std::collections::BTreeMap;
use std::time::Duration;

use super::Embedded;
use super::meta::Settings;
use super::topic::Topic as Known;
use super::topics::unknown;
use crate::error::{Error, ErrorKind, Result};
use crate::hub::{Admin, Lag, NewTopic, Partition, Topic, no_such_group};

impl Admin for Embedded {
    fn create_topic(&self, topic: &NewTopic, _patience: Duration) -> Result<()> {
        self.core.check()?;
        if !matches!(topic.replication, -1 | 1) {
            let message =
                format!("replication {} for an embedded hub, which is on one machine; expected 1", topic.replication);
            return Err(Error::new(ErrorKind::Config, message));
        }
        self.core.topics.defaults().with(&topic.config)?;
        let settings = Settings { partitions: topic.partitions, config: topic.config.clone() };
        self.core.topics.create(&topic.name, settings)?;
        self.core.changed.notify();
        Ok(())
    }

    fn delete_topic(&self, name: &str, _patience: Duration) -> Result<()> {
        self.core.check()?;
        self.core.topics.delete(name)?;
        let groups: Vec<_> = self.core.groups.lock().values().cloned().collect();
        for group in groups {
            group.lock().forget(name);
        }
        self.core.changed.notify();
        Ok(())
    }

    fn alter_topic(&self, name: &str, changes: &BTreeMap<String, Option<String>>, _patience: Duration) -> Result<()> {
        self.core.check()?;
        self.core.topics.alter(name, changes)
    }

    fn topic_config(&self, name: &str, _patience: Duration) -> Result<BTreeMap<String, String>> {
        self.core.check()?;
        Ok(self.core.topics.get(name).ok_or_else(|| unknown(name))?.config().shown())
    }

    fn topics(&self, name: Option<&str>, _patience: Duration) -> Result<Vec<Topic>> {
        self.core.check()?;
        let known = match name {
            Some(name) => vec![self.core.topics.get(name).ok_or_else(|| unknown(name))?],
            None => self.core.topics.all(),
        };
        known.iter().map(|topic| describe(topic)).collect()
    }

    fn lag(&self, group: &str, _patience: Duration) -> Result<Vec<Lag>> {
        self.core.check()?;
        let commits = self.core.meta.lock().commits(group).cloned();
        let Some(commits) = commits else {
            let groups = self.groups(Duration::ZERO)?;
            let known = groups.iter().any(|known| known == group);
            return if known { Ok(Vec::new()) } else { Err(no_such_group(group, &groups)) };
        };
        let lags = commits.into_iter().filter_map(|((topic, partition), position)| {
            let topic = self.core.topics.get(&topic)?;
            Some(lag(&topic, partition, position))
        });
        lags.collect()
    }

    fn groups(&self, _patience: Duration) -> Result<Vec<String>> {
        self.core.check()?;
        let mut groups: Vec<_> = self.core.meta.lock().groups().map(str::to_owned).collect();
        let here = self.core.groups.lock();
        groups.extend(here.iter().filter(|(_, group)| !group.lock().is_empty()).map(|(name, _)| name.clone()));
        groups.sort_unstable();
        groups.dedup();
        Ok(groups)
    }
}

fn describe(topic: &Known) -> Result<Topic> {
    let partitions = (0..topic.len()).map(|id| {
        let (start, end) = topic.range(id)?;
        let [start, end] = [start, end].map(|offset| i64::try_from(offset).unwrap_or(i64::MAX));
        Ok(Partition { id, leader: Some(0), replicas: 1, in_sync: 1, start, end })
    });
    Ok(Topic { name: topic.name.to_string(), partitions: partitions.collect::<Result<_>>()? })
}

/// How far `position` is behind the end.
pub(super) fn lag(topic: &Known, partition: i32, position: i64) -> Result<Lag> {
    let (start, end) = topic.range(partition)?;
    let [start, end] = [start, end].map(|offset| i64::try_from(offset).unwrap_or(i64::MAX));
    let lag = (end - position.max(start)).max(0);
    Ok(Lag { topic: topic.name.clone(), partition, position: Some(position), end, lag })
}
