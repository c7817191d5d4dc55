//! Which partitions a subscriber reads, and where it begins in them.

use super::{EmbeddedSubscriber, Owned};
use crate::embedded::topic::Topic;
use crate::error::{Error, Result};
use crate::hub::{Change, Start, TopicPartition};

impl EmbeddedSubscriber {
    /// Finds out what is to be read now. Of partitions that are to go the reader is told, and they go the next time.
    pub(super) fn refresh(&mut self) -> Result<()> {
        if self.selectors.is_empty() {
            return Ok(());
        }
        let topics_version = self.core.topics.version();
        let topics_changed = self.topics_version != Some(topics_version);
        let places = match &mut self.membership {
            None if !topics_changed => return Ok(()),
            None => {
                let topics = self.core.topics.all();
                let selected = topics.iter().filter(|topic| self.selectors.iter().any(|by| by.selects(&topic.name)));
                selected.flat_map(|topic| (0..topic.len()).map(|number| (topic.name.clone(), number))).collect()
            }
            Some(membership) => {
                let mut group = membership.group.lock();
                group.exclude_overdue();
                if topics_changed || membership.version != Some(group.version) || membership.waits {
                    group.plan(self.core.topics.all().iter(), topics_version);
                    let leaving = group.leaving(membership.id);
                    if !self.revoking && !leaving.is_empty() {
                        self.revoking = true;
                        self.changes.push(Change::Revoking(leaving));
                        return Ok(());
                    }
                    self.revoking = false;
                    let before = group.version;
                    let share = group.settle(membership.id);
                    membership.version = Some(share.version);
                    membership.waits = share.waits;
                    membership.has_others = group.len() > 1;
                    if share.version != before {
                        self.core.changed.notify();
                    }
                    share.places
                } else {
                    return Ok(());
                }
            }
        };
        self.take(&places)?;
        self.topics_version = Some(topics_version);
        Ok(())
    }

    /// Reads from these partitions from now on, and from no other.
    pub(super) fn take(&mut self, places: &[TopicPartition]) -> Result<()> {
        let (mut revoked, mut assigned) = (Vec::new(), Vec::new());
        self.owned.retain(|owned| {
            let kept = !owned.topic.is_deleted() && places.iter().any(|(topic, number)| owned.is(topic, *number));
            if !kept {
                revoked.push(owned.place());
            }
            kept
        });
        if !revoked.is_empty() {
            self.changes.push(Change::Revoked(revoked));
        }
        for (name, partition) in places {
            if self.owned.iter().any(|owned| owned.is(name, *partition)) {
                continue;
            }
            let Some(topic) = self.core.topics.get(name) else { continue };
            let from = self.start_of(&topic, *partition)?;
            let reader = topic.reader(*partition, from.unwrap_or(0))?;
            assigned.push((topic.name.clone(), *partition));
            self.owned.push(Owned { topic, partition: *partition, reader, paused: false, homeless: from.is_none() });
        }
        if !assigned.is_empty() {
            self.came = true;
            self.wishes.retain(|place, _| !assigned.contains(place));
            self.changes.push(Change::Assigned(assigned));
        }
        Ok(())
    }

    /// Where to begin in a partition, if anywhere.
    fn start_of(&self, topic: &Topic, partition: i32) -> Result<Option<u64>> {
        let (first, end) = topic.range(partition)?;
        let place = (topic.name.clone(), partition);
        if let Some(wish) = self.wishes.get(&place) {
            return Ok(Some(*wish));
        }
        if let Some(group) = &self.group {
            let committed = self.core.meta.lock().committed(group, &topic.name, partition);
            if let Some(offset) = committed {
                return Ok(Some(u64::try_from(offset).unwrap_or(0)));
            }
        }
        let start = match self.start {
            Start::Earliest => first,
            // A topic that came later begins with what is published from now on.
            Start::Latest => self.ends.get(&place).copied().unwrap_or(0).max(first),
            Start::At(time) => topic.first_since(partition, time)?.unwrap_or(end),
            Start::Nowhere => return Ok(None),
        };
        let Some(membership) = &self.membership else { return Ok(Some(start)) };
        Ok(Some(*membership.group.lock().starts.entry(place).or_insert(start)))
    }

    /// Fails while there are partitions that have nowhere to begin.
    pub(super) fn all_begin(&self) -> Result<()> {
        let Some(homeless) = self.owned.iter().find(|owned| owned.homeless) else { return Ok(()) };
        let of =
            if self.group.is_some() { "the group has committed no offset" } else { "without a group there is none" };
        let message = format!(
            "{of} for partition {} of topic {:?}, and auto_offset_reset is \"none\": seek, or say \"earliest\" or \
             \"latest\"",
            homeless.partition, homeless.topic.name
        );
        Err(Error::Message(message.into()))
    }
}
