//! A consumer beside a model of what a program may rely on, whatever the program and its group do.

use std::collections::{BTreeMap, BTreeSet};

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

const PARTITIONS: i32 = 3;

/// Partitions that never end, and what the group has committed.
#[derive(Clone, Debug, Default)]
struct Endless(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    /// Where this member reads its partitions.
    positions: BTreeMap<i32, i64>,
    paused: BTreeSet<i32>,
    committed: BTreeMap<i32, i64>,
    /// To be taken away at the next poll.
    leaving: BTreeSet<i32>,
    /// To be given at the next poll.
    coming: BTreeSet<i32>,
    revoking: BTreeSet<i32>,
    changes: Vec<Change>,
}

fn places(partitions: &BTreeSet<i32>) -> Vec<TopicPartition> {
    partitions.iter().copied().map(place).collect()
}

impl Subscriber for Endless {
    unasked!();

    fn poll(&mut self, batch: &mut Batch, max: usize, _: Duration) -> Result<()> {
        let mut state = self.0.lock();
        let coming = std::mem::take(&mut state.coming);
        for partition in &coming {
            let start = state.committed.get(partition).copied().unwrap_or(0);
            state.positions.insert(*partition, start);
        }
        if !coming.is_empty() {
            state.changes.push(Change::Assigned(places(&coming)));
        }
        for round in 0..max {
            let Some((partition, offset)) = state.positions.iter().map(|(p, o)| (*p, *o)).nth(round) else { break };
            let run = if state.paused.contains(&partition) { 0 } else { 2 };
            for offset in offset..offset + run {
                batch.push("t", partition, offset, None, &Record::default());
            }
            state.positions.insert(partition, offset + run);
        }
        state.revoking = std::mem::take(&mut state.leaving);
        if !state.revoking.is_empty() {
            let leaving = places(&state.revoking);
            state.changes.push(Change::Revoking(leaving));
        }
        Ok(())
    }

    fn changes(&mut self) -> Vec<Change> {
        std::mem::take(&mut self.0.lock().changes)
    }

    fn give_up(&mut self) -> Result<()> {
        let mut state = self.0.lock();
        let revoked = std::mem::take(&mut state.revoking);
        for partition in &revoked {
            state.positions.remove(partition);
            state.paused.remove(partition);
        }
        if !revoked.is_empty() {
            state.changes.push(Change::Revoked(places(&revoked)));
        }
        Ok(())
    }

    fn commit(&mut self, positions: &[Position], _: bool) -> Result<()> {
        let mut state = self.0.lock();
        for at in positions {
            if !state.positions.contains_key(&at.partition) {
                return Err(Error::Message("another member's".into()));
            }
            state.committed.insert(at.partition, at.offset);
        }
        Ok(())
    }

    fn seek(&mut self, position: &Position) -> Result<()> {
        let mut state = self.0.lock();
        match state.positions.get_mut(&position.partition) {
            Some(offset) => *offset = position.offset,
            None => return Err(Error::Message("another member's".into())),
        }
        Ok(())
    }

    fn pause(&mut self, partitions: &[TopicPartition]) -> Result<()> {
        self.0.lock().paused.extend(partitions.iter().map(|(_, partition)| *partition));
        Ok(())
    }

    fn resume(&mut self, partitions: &[TopicPartition]) -> Result<()> {
        for (_, partition) in partitions {
            self.0.lock().paused.remove(partition);
        }
        Ok(())
    }

    fn assignment(&self) -> Result<Vec<TopicPartition>> {
        Ok(self.0.lock().positions.keys().copied().map(place).collect())
    }
}

#[derive(Clone, Debug)]
enum Step {
    /// A loop begins; over lists or over messages.
    Loop {
        lists: bool,
    },
    /// The loop asks for more: a message, or a list of so many.
    Ask(usize),
    /// The next message is asked for without a loop.
    AskAlone,
    Seek(i32, i64),
    Pause(i32),
    Resume(i32),
    CommitAll,
    /// So many messages before the next one to be given.
    CommitBefore(i32, i64),
    Revoke(i32),
    Assign(i32),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let partition = 0..PARTITIONS;
    let step = prop_oneof![
        2 => any::<bool>().prop_map(|lists| Step::Loop { lists }),
        8 => (1..6_usize).prop_map(Step::Ask),
        1 => Just(Step::AskAlone),
        1 => (partition.clone(), 0..9_i64).prop_map(|(partition, offset)| Step::Seek(partition, offset)),
        1 => partition.clone().prop_map(Step::Pause),
        1 => partition.clone().prop_map(Step::Resume),
        1 => Just(Step::CommitAll),
        1 => (partition.clone(), 0..4_i64).prop_map(|(partition, back)| Step::CommitBefore(partition, back)),
        1 => partition.clone().prop_map(Step::Revoke),
        1 => partition.prop_map(Step::Assign),
    ];
    vec(step, 0..60)
}

/// What a program may rely on.
#[derive(Debug, Default)]
struct Model {
    /// The next message of each partition that is this member's.
    next: BTreeMap<i32, i64>,
    paused: BTreeSet<i32>,
    /// Given out and not finished, in order.
    open: Vec<(i32, i64)>,
    open_by: u64,
    is_list: bool,
    /// Finished, and not yet known to be committed.
    finished: BTreeMap<i32, i64>,
    /// As far as anything may be committed.
    limit: BTreeMap<i32, i64>,
}

impl Model {
    fn finish_open(&mut self) {
        for (partition, offset) in std::mem::take(&mut self.open) {
            self.finished.insert(partition, offset + 1);
            self.allow(partition, offset + 1);
        }
    }

    fn allow(&mut self, partition: i32, offset: i64) {
        let limit = self.limit.entry(partition).or_default();
        *limit = offset.max(*limit);
    }

    fn ask(&mut self, by: u64, begins: bool) {
        if self.open.is_empty() {
            return;
        }
        if self.open_by != by && self.open_by != 0 && (begins || by == 0) {
            for (partition, offset) in std::mem::take(&mut self.open).into_iter().rev() {
                self.next.insert(partition, offset);
            }
        } else if !self.is_list {
            self.finish_open();
        }
    }

    fn give(&mut self, by: u64, is_list: bool, (partition, offset): (i32, i64)) {
        assert_eq!(self.next.get(&partition), Some(&offset), "in order, and none twice, of partition {partition}");
        assert!(!self.paused.contains(&partition), "it is paused");
        self.next.insert(partition, offset + 1);
        if self.open.is_empty() {
            (self.open_by, self.is_list) = (by, is_list);
        }
        self.open.push((partition, offset));
    }

    fn forget(&mut self, partition: i32) {
        self.finished.remove(&partition);
        self.open.retain(|(open, _)| *open != partition);
    }

    fn could_give(&self) -> bool {
        self.next.keys().any(|partition| !self.paused.contains(partition))
    }
}

struct Run {
    consumer: Consumer,
    hub: Endless,
    model: Model,
    by: u64,
    lists: bool,
    begins: bool,
}

impl Run {
    fn new() -> Self {
        let hub = Endless::default();
        let (consumer, ..) = consuming(hub.clone(), Duration::ZERO, OnError::Raise);
        Self { consumer, hub, model: Model::default(), by: 1, lists: false, begins: true }
    }

    /// Fetches, and has the model follow what happens to the partitions.
    fn fetch(&mut self) {
        let (coming, leaving) = {
            let state = self.hub.0.lock();
            (state.coming.clone(), state.leaving.clone())
        };
        self.consumer.fetch(10, Duration::ZERO).unwrap();
        self.finished_is_committed();
        for partition in coming {
            let start = self.hub.0.lock().committed.get(&partition).copied().unwrap_or(0);
            self.model.next.insert(partition, start);
        }
        for partition in leaving {
            self.model.forget(partition);
            self.model.next.remove(&partition);
            self.model.paused.remove(&partition);
        }
    }

    fn finished_is_committed(&mut self) {
        let state = self.hub.0.lock();
        for (partition, offset) in std::mem::take(&mut self.model.finished) {
            assert_eq!(state.committed.get(&partition), Some(&offset), "of partition {partition}");
        }
    }

    fn given(&mut self, by: u64, is_list: bool) -> bool {
        let found = given(&mut self.consumer, by);
        if let Some(at) = found {
            self.model.give(by, is_list, at);
        }
        found.is_some()
    }

    fn message(&mut self, by: u64, begins: bool) {
        self.consumer.ask(by, begins).unwrap();
        self.model.ask(by, begins);
        for _ in 0..3 {
            if self.given(by, false) {
                return;
            }
            self.fetch();
        }
        assert!(!self.model.could_give(), "nothing came");
    }

    fn list(&mut self, most: usize, begins: bool) {
        let by = self.by;
        self.consumer.handled_list(by);
        if self.model.open_by == by && self.model.is_list {
            self.model.finish_open();
        }
        self.consumer.ask(by, begins).unwrap();
        self.model.ask(by, begins);
        for _ in 0..3 {
            self.consumer.open_list(by);
            let found = (0..most).take_while(|_| self.given(by, true)).count();
            if found > 0 {
                return;
            }
            self.consumer.empty_list();
            self.fetch();
        }
        assert!(!self.model.could_give(), "nothing came");
    }

    fn step(&mut self, step: &Step) {
        let owns = |model: &Model, partition: &i32| model.next.contains_key(partition);
        match step {
            Step::Loop { lists } => (self.by, self.lists, self.begins) = (self.by + 1, *lists, true),
            Step::Ask(most) => {
                let begins = std::mem::take(&mut self.begins);
                if self.lists { self.list(*most, begins) } else { self.message(self.by, begins) }
            }
            Step::AskAlone => self.message(0, false),
            Step::Seek(partition, offset) if owns(&self.model, partition) => {
                self.consumer.seek(place(*partition), *offset).unwrap();
                self.model.forget(*partition);
                self.model.next.insert(*partition, *offset);
            }
            Step::Pause(partition) if owns(&self.model, partition) => {
                self.consumer.pause(&[place(*partition)]).unwrap();
                self.model.paused.insert(*partition);
            }
            Step::Resume(partition) if owns(&self.model, partition) => {
                self.consumer.subscriber().unwrap().resume(&[place(*partition)]).unwrap();
                self.model.paused.remove(partition);
            }
            Step::CommitAll => {
                self.consumer.commit(None).unwrap();
                self.model.finish_open();
                self.finished_is_committed();
            }
            Step::CommitBefore(partition, back) if owns(&self.model, partition) => {
                let offset = (self.model.next[partition] - back).max(0);
                self.consumer.commit(Some(HashMap::from([(place(*partition), offset)]))).unwrap();
                self.model.open.retain(|(open, at)| open != partition || *at >= offset);
                self.model.finished.retain(|known, at| known != partition || *at > offset);
                self.model.allow(*partition, offset);
            }
            Step::Revoke(partition) if owns(&self.model, partition) => {
                self.hub.0.lock().leaving.insert(*partition);
            }
            Step::Assign(partition) if !owns(&self.model, partition) => {
                self.hub.0.lock().coming.insert(*partition);
            }
            _ => {}
        }
        for (partition, offset) in &self.hub.0.lock().committed {
            let limit = self.model.limit.get(partition).copied().unwrap_or(0);
            assert!(
                *offset <= limit,
                "partition {partition} is committed at {offset}, finished at most before {limit}"
            );
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_messages_come_in_order_and_what_is_finished_is_committed(steps in steps()) {
        let mut run = Run::new();
        for partition in 0..PARTITIONS {
            run.step(&Step::Assign(partition));
        }
        for step in &steps {
            run.step(step);
        }
        run.consumer.close().unwrap();
        run.finished_is_committed();
    }
}
