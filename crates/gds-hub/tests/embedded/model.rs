//! Any order of publishing, reading, committing and opening again, against lists in memory.

use std::collections::BTreeMap;

use gds_hub::{Admin, Record, Start, Subscriber, partition_for};
use proptest::collection::vec;
use proptest::option::of;
use proptest::prelude::*;

use crate::support::*;

const TOPICS: [&str; 3] = ["a", "b", "c.d"];
const PARTITIONS: [i32; 3] = [1, 2, 4];

#[derive(Clone, Debug)]
enum Step {
    Publish {
        topic: usize,
        key: Option<u8>,
        value: Vec<u8>,
    },
    /// A member polls, and commits so many of what it got.
    Read {
        member: usize,
        max: usize,
        commit: usize,
    },
    Replace {
        member: usize,
    },
    Delete {
        topic: usize,
    },
    Reopen,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        10 => (0..3_usize, of(any::<u8>()), vec(any::<u8>(), 0..40))
            .prop_map(|(topic, key, value)| Step::Publish { topic, key, value }),
        8 => (0..3_usize, 1..6_usize, 0..6_usize).prop_map(|(member, max, commit)| Step::Read { member, max, commit }),
        2 => (0..3_usize).prop_map(|member| Step::Replace { member }),
        1 => (0..3_usize).prop_map(|topic| Step::Delete { topic }),
        1 => Just(Step::Reopen),
    ];
    vec(step, 1..80)
}

/// By topic and partition: values, and the offset that the group has committed.
type Model = BTreeMap<(String, i32), (Vec<Vec<u8>>, i64)>;

fn fresh(model: &mut Model, topic: usize) {
    for partition in 0..PARTITIONS[topic] {
        model.insert((TOPICS[topic].to_owned(), partition), (Vec::new(), 0));
    }
}

fn member(hub: &gds_hub::embedded::Embedded, number: usize) -> Box<dyn Subscriber> {
    // Two that want everything, in two spellings, and one that does not.
    subscribe(hub, [&["^."][..], &TOPICS, &["b"]][number], Some("g"), Start::Earliest)
}

fn run(steps: Vec<Step>) {
    let dir = folder();
    let mut hub = open(dir.path());
    let mut model = Model::new();
    for topic in 0..TOPICS.len() {
        create(&hub, TOPICS[topic], PARTITIONS[topic]);
        fresh(&mut model, topic);
    }
    let mut members: Vec<_> = (0..3).map(|number| member(&hub, number)).collect();
    for step in steps {
        match step {
            Step::Publish { topic, key, value } => {
                let key = key.map(|key| [key]);
                let record = Record { key: key.as_ref().map(|key| &key[..]), ..record(TOPICS[topic], &value) };
                let (partition, offset) = publish(&hub, &record);
                if let Some(key) = key {
                    let expected = partition_for(&key, PARTITIONS[topic].unsigned_abs());
                    assert_eq!(partition.unsigned_abs(), expected);
                }
                let (values, _) = model.get_mut(&(TOPICS[topic].to_owned(), partition)).expect("a partition");
                assert_eq!(offset, i64::try_from(values.len()).expect("few"));
                values.push(value);
            }
            Step::Read { member, max, commit } => {
                let seen = poll(&mut *members[member], max, std::time::Duration::ZERO);
                let owned = members[member].assignment().expect("assigned");
                assert!(seen.len() <= max);
                for (number, (topic, partition, offset, value)) in seen.into_iter().enumerate() {
                    let (values, committed) = model.get_mut(&(topic.clone(), partition)).expect("a partition");
                    assert!(owned.iter().any(|(name, number)| **name == *topic && *number == partition));
                    assert_eq!(values[usize::try_from(offset).expect("few")], value);
                    assert!(offset >= *committed, "what was committed comes no more");
                    if number < commit {
                        members[member].commit(&[position(&topic, partition, offset + 1)], true).expect("committed");
                        *committed = offset + 1;
                    }
                }
            }
            Step::Replace { member: number } => {
                members[number].close().expect("closed");
                members[number] = member(&hub, number);
            }
            Step::Delete { topic } => {
                hub.delete_topic(TOPICS[topic], TIMEOUT).expect("deleted");
                create(&hub, TOPICS[topic], PARTITIONS[topic]);
                fresh(&mut model, topic);
            }
            // The members take the hub over.
            Step::Reopen if crate::served::is_asked() => crate::served::kill(dir.path()),
            Step::Reopen => {
                members.clear();
                drop(hub);
                hub = open(dir.path());
                members = (0..3).map(|number| member(&hub, number)).collect();
            }
        }
        // Nothing is anybody's twice.
        let mut owned: Vec<_> = members.iter().flat_map(|member| member.assignment().expect("assigned")).collect();
        let all = owned.len();
        owned.sort_unstable();
        owned.dedup();
        assert_eq!(owned.len(), all);
    }
    members.clear();
    let mut all = subscribe(&hub, &["^."], None, Start::Earliest);
    let mut held: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for (topic, partition, _, value) in drain(&mut *all) {
        held.entry((topic, partition)).or_default().push(value);
    }
    let expected: BTreeMap<_, _> = model.iter().filter(|(_, (values, _))| !values.is_empty()).collect();
    assert_eq!(
        held.iter().collect::<Vec<_>>(),
        expected.iter().map(|(place, (values, _))| (*place, values)).collect::<Vec<_>>()
    );
    // A new member gets exactly what was not committed, in order.
    let mut rest = subscribe(&hub, &["^."], Some("g"), Start::Earliest);
    let mut next: BTreeMap<_, i64> = model.iter().map(|(place, (_, committed))| (place.clone(), *committed)).collect();
    for (topic, partition, offset, _) in drain(&mut *rest) {
        let place = (topic, partition);
        assert_eq!(next[&place], offset);
        next.insert(place, offset + 1);
    }
    for (place, (values, _)) in &model {
        assert_eq!(next[place], i64::try_from(values.len()).expect("few"));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: if crate::served::is_asked() { 20 } else { 100 }, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_hub_is_lists_that_survive(steps in steps()) {
        run(steps);
    }
}
