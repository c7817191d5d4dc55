//! Sharing partitions among the members of a group.
//!
//! A partition that is to go from one member to another goes when the first has come back for more, and so has had the
//! time to commit what it handled: nothing is handled twice for a rebalance. A member that stays away for longer than it
//! said (`max.poll.interval.ms`) loses its partitions to the others, and has a share again when it comes back.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::topic::Topic;
use super::topic_names::Selector;
use crate::hub::TopicPartition;

/// The members of a group that are in this process, and who has what.
#[derive(Debug, Default)]
pub(super) struct Group {
    members: BTreeMap<u64, Member>,
    owners: BTreeMap<TopicPartition, u64>,
    /// Who is to be the owner.
    plan: BTreeMap<TopicPartition, u64>,
    /// Where the group began in partitions in which it has committed nothing: the same for each member that comes.
    pub(super) starts: BTreeMap<TopicPartition, u64>,
    /// Counts changes of `owners` and `plan`.
    pub(super) version: u64,
    /// The topics that the plan knows.
    topics_version: Option<u64>,
}

#[derive(Debug)]
struct Member {
    selectors: Vec<Selector>,
    /// Since when it handles messages; none while it waits for some.
    away_since: Option<Instant>,
    max_poll_interval: Duration,
    /// It stays away too long: partitions are shared among the others.
    is_out: bool,
}

impl Member {
    fn is_overdue(&self) -> bool {
        self.away_since.is_some_and(|since| since.elapsed() > self.max_poll_interval)
    }
}

/// What a member has.
#[derive(Debug)]
pub(super) struct Share {
    pub(super) places: Vec<TopicPartition>,
    /// Others still have some that are to be its own.
    pub(super) waits: bool,
    pub(super) version: u64,
}

impl Group {
    pub(super) fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.members.len()
    }

    pub(super) fn join(&mut self, id: u64, selectors: Vec<Selector>, max_poll_interval: Duration) {
        let away_since = Some(Instant::now());
        self.members.insert(id, Member { selectors, away_since, max_poll_interval, is_out: false });
        self.topics_version = None;
        self.version += 1;
    }

    pub(super) fn leave(&mut self, id: u64) {
        self.members.remove(&id);
        self.owners.retain(|_, owner| *owner != id);
        self.topics_version = None;
        self.version += 1;
    }

    /// Whether `id` may commit there.
    pub(super) fn owns(&self, id: u64, place: &TopicPartition) -> bool {
        self.owners.get(place) == Some(&id)
    }

    /// The member comes for messages, or goes with some.
    pub(super) fn is_away(&mut self, id: u64, away: bool) {
        if let Some(member) = self.members.get_mut(&id) {
            member.away_since = away.then(Instant::now);
            if member.is_out && !away {
                member.is_out = false;
                self.topics_version = None;
                self.version += 1;
            }
        }
    }

    /// Whoever stays away too long has no share any longer.
    pub(super) fn exclude_overdue(&mut self) {
        for member in self.members.values_mut().filter(|member| !member.is_out && member.is_overdue()) {
            member.is_out = true;
            self.topics_version = None;
            self.version += 1;
        }
    }

    /// Plans anew when members or topics have changed.
    pub(super) fn plan<'a>(&mut self, topics: impl Iterator<Item = &'a Arc<Topic>>, topics_version: u64) {
        if self.topics_version == Some(topics_version) {
            return;
        }
        self.plan.clear();
        let mut turn = 0;
        for topic in topics {
            let selects = |member: &Member| member.selectors.iter().any(|selector| selector.selects(&topic.name));
            let members = self.members.iter().filter(|(_, member)| !member.is_out && selects(member));
            let members: Vec<_> = members.map(|(id, _)| *id).collect();
            if members.is_empty() {
                continue;
            }
            for partition in 0..topic.len() {
                self.plan.insert((topic.name.clone(), partition), members[turn % members.len()]);
                turn += 1;
            }
        }
        self.topics_version = Some(topics_version);
        self.version += 1;
    }

    /// What `id` has and others are to have, or nobody, as of a topic that is no more.
    pub(super) fn leaving(&self, id: u64) -> Vec<TopicPartition> {
        let leaves = |(place, owner): &(&TopicPartition, &u64)| **owner == id && self.plan.get(*place) != Some(&id);
        self.owners.iter().filter(leaves).map(|(place, _)| place.clone()).collect()
    }

    /// Gives up what others are to have, takes what is free.
    pub(super) fn settle(&mut self, id: u64) -> Share {
        let before = self.owners.len();
        self.owners.retain(|place, owner| *owner != id || self.plan.get(place) == Some(&id));
        let mut changed = self.owners.len() != before;
        let (mut places, mut waits) = (Vec::new(), false);
        for (place, _) in self.plan.iter().filter(|(_, planned)| **planned == id) {
            let owner = self.owners.get(place).copied();
            if owner.is_none_or(|owner| owner != id && self.members.get(&owner).is_none_or(Member::is_overdue)) {
                self.owners.insert(place.clone(), id);
                changed = true;
            } else if owner != Some(id) {
                waits = true;
                continue;
            }
            places.push(place.clone());
        }
        self.version += u64::from(changed);
        Share { places, waits, version: self.version }
    }

    /// Forgets where it began in a topic that is no more.
    pub(super) fn forget(&mut self, topic: &str) {
        self.starts.retain(|(name, _), _| &**name != topic);
    }
}

#[cfg(test)]
mod tests {
    use super::super::config::{Retention, TopicConfig};
    use super::super::topic::TopicUpkeep;
    use super::super::worker::Worker;
    use super::*;

    const INTERVAL: Duration = Duration::from_secs(60);

    struct Fixture {
        group: Group,
        topics: Vec<Arc<Topic>>,
        _dir: tempfile::TempDir,
    }

    fn fixture(partitions: &[(&str, i32)]) -> Fixture {
        let dir = tempfile::tempdir().expect("a folder");
        let topics = partitions.iter().map(|(name, partitions)| {
            let dir = dir.path().join(name);
            let config = TopicConfig::new(Retention::default(), 1 << 20);
            let upkeep = TopicUpkeep { worker: Arc::new(Worker::new()), failures: Arc::default() };
            let opened = Topic::open(&dir, name, *partitions, config, upkeep, |_| 0);
            Arc::new(opened.expect("opened").0)
        });
        Fixture { group: Group::default(), topics: topics.collect(), _dir: dir }
    }

    impl Fixture {
        fn join(&mut self, id: u64, topic: &str) {
            self.group.join(id, vec![Selector::parse(topic).expect("a selector")], INTERVAL);
            self.plan();
        }

        fn plan(&mut self) {
            self.group.plan(self.topics.iter(), 0);
        }

        fn stays_away(&mut self, id: u64) {
            let member = self.group.members.get_mut(&id).expect("a member");
            member.away_since = Instant::now().checked_sub(INTERVAL + Duration::from_secs(1));
            self.group.exclude_overdue();
        }

        fn share(&mut self, id: u64) -> (usize, bool) {
            let share = self.group.settle(id);
            (share.places.len(), share.waits)
        }
    }

    #[test]
    fn a_partition_goes_over_when_its_owner_comes_back() {
        let mut fixture = fixture(&[("a", 4)]);
        fixture.join(1, "a");
        assert_eq!(fixture.share(1), (4, false));
        fixture.join(2, "a");
        assert_eq!(fixture.share(2), (0, true), "the first may still handle messages of all four");
        let before = fixture.group.version;
        assert_eq!(fixture.share(1), (2, false));
        assert!(fixture.group.version > before, "by which the other is woken");
        assert_eq!(fixture.share(2), (2, false));
        fixture.group.leave(1);
        fixture.plan();
        assert_eq!(fixture.share(2), (4, false));
    }

    #[test]
    fn who_stays_away_too_long_loses_its_partitions() {
        let mut fixture = fixture(&[("a", 1)]);
        fixture.join(2, "a");
        assert_eq!(fixture.share(2), (1, false));
        fixture.join(1, "a"); // the one partition is planned for the lowest number
        assert_eq!(fixture.share(1), (0, true));
        fixture.stays_away(2);
        assert_eq!(fixture.share(1), (1, false));
        assert!(!fixture.group.owns(2, &(Arc::from("a"), 0)));
    }

    #[test]
    fn who_comes_back_has_a_share_again() {
        let mut fixture = fixture(&[("a", 2)]);
        fixture.join(1, "a");
        assert_eq!(fixture.share(1), (2, false));
        fixture.join(2, "a");
        assert_eq!(fixture.share(2), (0, true), "the first may still handle messages of both");
        fixture.stays_away(1);
        fixture.plan();
        assert_eq!(fixture.share(2), (2, false), "those that were to be the first one's too");
        fixture.group.is_away(1, false);
        fixture.plan();
        assert_eq!((fixture.share(1), fixture.share(2), fixture.share(1)), ((0, true), (1, false), (1, false)));
    }

    #[test]
    fn members_get_only_what_they_asked_for_and_shares_are_even() {
        let mut fixture = fixture(&[("a", 3), ("b", 3), ("other", 2)]);
        fixture.join(1, "^[ab]$");
        fixture.join(2, "b");
        fixture.join(3, "^[ab]$");
        let shares = [fixture.share(1), fixture.share(2), fixture.share(3)].map(|(places, _)| places);
        assert_eq!(shares.iter().sum::<usize>(), 6);
        assert!(shares.iter().all(|share| (1..=3).contains(share)), "{shares:?}");
    }
}
