//! Looking after the topics of the embedded hub. In the process that has it nothing waits for anybody, so nothing needs
//! timeout; the others ask that one.

use std::collections::BTreeMap;
use std::time::Duration;

use super::meta::Settings;
use super::protocol::Request;
use super::topic::Topic as Known;
use super::topics::unknown;
use super::{Core, Embedded};
use crate::error::{Error, Result};
use crate::hub::{Admin, Lag, NewTopic, Partition, Topic, no_such_group};

impl Admin for Core {
    fn create_topic(&self, topic: &NewTopic, _timeout: Duration) -> Result<()> {
        self.check()?;
        if !matches!(topic.replication, -1 | 1) {
            let message =
                format!("replication {} for an embedded hub, which is on one machine; expected 1", topic.replication);
            return Err(Error::Config(message.into()));
        }
        self.topics.defaults().with(&topic.config)?;
        let settings = Settings { partitions: topic.partitions, config: topic.config.clone() };
        self.topics.create(&topic.name, settings)?;
        self.changed.notify();
        Ok(())
    }

    fn delete_topic(&self, name: &str, _timeout: Duration) -> Result<()> {
        self.check()?;
        self.topics.delete(name)?;
        let groups: Vec<_> = self.groups.lock().values().cloned().collect();
        for group in groups {
            group.lock().forget(name);
        }
        self.changed.notify();
        Ok(())
    }

    fn alter_topic(&self, name: &str, changes: &BTreeMap<String, Option<String>>, _timeout: Duration) -> Result<()> {
        self.check()?;
        self.topics.alter(name, changes)
    }

    fn topic_config(&self, name: &str, _timeout: Duration) -> Result<BTreeMap<String, String>> {
        self.check()?;
        Ok(self.topics.get(name).ok_or_else(|| unknown(name))?.config().shown())
    }

    fn topics(&self, name: Option<&str>, _timeout: Duration) -> Result<Vec<Topic>> {
        self.check()?;
        let known = match name {
            Some(name) => vec![self.topics.get(name).ok_or_else(|| unknown(name))?],
            None => self.topics.all(),
        };
        known.iter().map(|topic| describe(topic)).collect()
    }

    fn lag(&self, group: &str, _timeout: Duration) -> Result<Vec<Lag>> {
        self.check()?;
        let commits = self.meta.lock().commits(group).cloned();
        let Some(commits) = commits else {
            let groups = self.groups(Duration::ZERO)?;
            let known = groups.iter().any(|known| known == group);
            return if known { Ok(Vec::new()) } else { Err(no_such_group(group, &groups)) };
        };
        let lags = commits.into_iter().filter_map(|((topic, partition), position)| {
            let topic = self.topics.get(&topic)?;
            Some(lag(&topic, partition, position))
        });
        lags.collect()
    }

    fn groups(&self, _timeout: Duration) -> Result<Vec<String>> {
        self.check()?;
        let mut groups: Vec<_> = self.meta.lock().groups().map(str::to_owned).collect();
        let here = self.groups.lock();
        groups.extend(here.iter().filter(|(_, group)| !group.lock().is_empty()).map(|(name, _)| name.clone()));
        groups.sort_unstable();
        groups.dedup();
        Ok(groups)
    }
}

impl Admin for Embedded {
    fn create_topic(&self, topic: &NewTopic, timeout: Duration) -> Result<()> {
        self.ask(&Request::CreateTopic(topic.clone()), timeout, |core| core.create_topic(topic, timeout))
    }

    fn delete_topic(&self, name: &str, timeout: Duration) -> Result<()> {
        self.ask(&Request::DeleteTopic(name.to_owned()), timeout, |core| core.delete_topic(name, timeout))
    }

    fn alter_topic(&self, name: &str, changes: &BTreeMap<String, Option<String>>, timeout: Duration) -> Result<()> {
        let request = Request::AlterTopic(name.to_owned(), changes.clone());
        self.ask(&request, timeout, |core| core.alter_topic(name, changes, timeout))
    }

    fn topic_config(&self, name: &str, timeout: Duration) -> Result<BTreeMap<String, String>> {
        self.ask(&Request::TopicConfig(name.to_owned()), timeout, |core| core.topic_config(name, timeout))
    }

    fn topics(&self, name: Option<&str>, timeout: Duration) -> Result<Vec<Topic>> {
        self.ask(&Request::Topics(name.map(str::to_owned)), timeout, |core| core.topics(name, timeout))
    }

    fn lag(&self, group: &str, timeout: Duration) -> Result<Vec<Lag>> {
        self.ask(&Request::GroupLag(group.to_owned()), timeout, |core| core.lag(group, timeout))
    }

    fn groups(&self, timeout: Duration) -> Result<Vec<String>> {
        self.ask(&Request::Groups, timeout, |core| core.groups(timeout))
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
