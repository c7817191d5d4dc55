use std::sync::Arc;

use gds_process::sync::Mutex;

use super::*;
use crate::record::Record;

/// A hub's side that gives what it is told to, and notes what it is asked.
#[derive(Clone, Debug, Default)]
struct Scripted(Arc<Mutex<Script>>);

#[derive(Debug, Default)]
struct Script {
    polls: Vec<Vec<(i32, i64)>>,
    changes: Vec<Change>,
    passed: Vec<(i32, i64)>,
    committed: Vec<(i32, i64)>,
    sought: Vec<(i32, i64)>,
    given_up: usize,
}

fn place(partition: i32) -> TopicPartition {
    (Arc::from("t"), partition)
}

impl Subscriber for Scripted {
    fn poll(&mut self, batch: &mut Batch, _: usize, _: Duration) -> Result<()> {
        let mut script = self.0.lock();
        let given = if script.polls.is_empty() { Vec::new() } else { script.polls.remove(0) };
        for (partition, offset) in given {
            batch.push("t", partition, offset, None, &Record::default());
        }
        Ok(())
    }

    fn changes(&mut self) -> Vec<Change> {
        std::mem::take(&mut self.0.lock().changes)
    }

    fn give_up(&mut self) -> Result<()> {
        self.0.lock().given_up += 1;
        Ok(())
    }

    fn assign(&mut self, _: &[TopicPartition]) -> Result<()> {
        Ok(())
    }

    fn passed(&self) -> Vec<Position> {
        let passed = self.0.lock().passed.clone();
        passed.into_iter().map(|(partition, offset)| Position { topic: "t".into(), partition, offset }).collect()
    }

    fn offsets_for_times(
        &self,
        _: &[(TopicPartition, i64)],
        _: Duration,
    ) -> Result<Vec<(TopicPartition, Option<i64>)>> {
        Ok(Vec::new())
    }

    fn commit(&mut self, positions: &[Position], _: bool) -> Result<()> {
        let mut positions: Vec<_> = positions.iter().map(|at| (at.partition, at.offset)).collect();
        positions.sort_unstable();
        self.0.lock().committed.extend(positions);
        Ok(())
    }

    fn seek(&mut self, position: &Position) -> Result<()> {
        self.0.lock().sought.push((position.partition, position.offset));
        Ok(())
    }

    fn pause(&mut self, _: &[TopicPartition]) -> Result<()> {
        Ok(())
    }

    fn resume(&mut self, _: &[TopicPartition]) -> Result<()> {
        Ok(())
    }

    fn assignment(&self) -> Result<Vec<TopicPartition>> {
        Ok(vec![place(0), place(1)])
    }

    fn lag(&self, _: Duration) -> Result<Vec<Lag>> {
        Ok(Vec::new())
    }

    fn close(&mut self) -> Result<()> {
        Ok(())
    }
}

fn reading(polls: &[&[(i32, i64)]]) -> (Reading, Scripted) {
    let hub = Scripted::default();
    hub.0.lock().polls = polls.iter().map(|poll| poll.to_vec()).collect();
    (Reading::new(Box::new(hub.clone()), Some(Duration::ZERO), false), hub)
}

/// What the loop `by` is given when it asks.
fn next(reading: &mut Reading, by: u64, begins: bool) -> Option<(i32, i64)> {
    reading.ask(by, begins).unwrap();
    if reading.peek().is_none() {
        reading.fetch(100, Duration::ZERO).unwrap();
    }
    let found = reading.peek().map(|message| (message.partition, message.offset));
    if found.is_some() {
        reading.give(by);
    }
    found
}

fn list(reading: &mut Reading, by: u64, begins: bool, max: usize) -> Vec<(i32, i64)> {
    reading.ask(by, begins).unwrap();
    reading.open_list(by);
    let mut found = Vec::new();
    while found.len() < max
        && let Some(message) = reading.peek()
    {
        found.push((message.partition, message.offset));
        reading.give(by);
    }
    found
}

fn committed(hub: &Scripted) -> Vec<(i32, i64)> {
    std::mem::take(&mut hub.0.lock().committed)
}

const MESSAGES: &[(i32, i64)] = &[(0, 0), (0, 1), (1, 7), (0, 2)];

#[test]
fn what_a_loop_left_comes_again_in_the_next() {
    let (mut reading, hub) = reading(&[MESSAGES]);
    assert_eq!((next(&mut reading, 1, true), next(&mut reading, 1, false)), (Some((0, 0)), Some((0, 1))));
    assert_eq!((next(&mut reading, 2, true), next(&mut reading, 2, false)), (Some((0, 1)), Some((1, 7))));
    assert_eq!(next(&mut reading, 0, false), Some((1, 7)), "who asks without a loop is another one");
    assert_eq!(next(&mut reading, 3, true), Some((0, 2)), "and has finished when a loop begins");
    reading.close().unwrap();
    assert_eq!(committed(&hub), [(0, 2), (1, 8)]);
}

#[test]
fn an_older_loop_goes_on_where_a_newer_one_is() {
    let (mut reading, _) = reading(&[MESSAGES]);
    assert_eq!(next(&mut reading, 1, true), Some((0, 0)));
    assert_eq!(next(&mut reading, 2, false), Some((0, 1)));
    assert_eq!(next(&mut reading, 1, false), Some((1, 7)));
}

#[test]
fn a_list_that_was_left_comes_again_without_what_was_committed_of_it() {
    let (mut reading, hub) = reading(&[MESSAGES]);
    reading.fetch(100, Duration::ZERO).unwrap();
    assert_eq!(list(&mut reading, 1, true, 3), MESSAGES[..3]);
    reading.commit(Some(HashMap::from([(place(0), 1)]))).unwrap();
    assert_eq!(committed(&hub), [(0, 1)]);
    assert_eq!(list(&mut reading, 2, true, 2), [(0, 1), (1, 7)]);
    reading.handled_list(1);
    reading.handled_list(2);
    reading.close().unwrap();
    assert_eq!(committed(&hub), [(0, 2), (1, 8)]);
}

#[test]
fn commit_takes_what_is_open_and_it_does_not_come_again() {
    let (mut reading, hub) = reading(&[MESSAGES]);
    next(&mut reading, 1, true);
    next(&mut reading, 1, false);
    reading.commit(None).unwrap();
    assert_eq!(committed(&hub), [(0, 2)]);
    assert_eq!(next(&mut reading, 2, true), Some((1, 7)));
}

#[test]
fn what_was_paused_while_it_was_open_is_read_again() {
    let (mut reading, hub) = reading(&[MESSAGES, &[(0, 1), (0, 2)]]);
    next(&mut reading, 1, true);
    next(&mut reading, 1, false);
    reading.pause(&[place(0)]).unwrap();
    assert_eq!(hub.0.lock().sought, [(0, 2)], "what was not given out comes after `resume`");
    assert_eq!(next(&mut reading, 2, true), Some((1, 7)));
    assert_eq!(hub.0.lock().sought, [(0, 2), (0, 1)], "and what was open, too");
    assert_eq!(next(&mut reading, 2, false), Some((0, 1)));
    assert_eq!(committed(&hub), [(0, 1), (1, 8)]);
}

#[test]
fn a_seek_is_not_undone_by_what_was_open() {
    let (mut reading, hub) = reading(&[MESSAGES, &[(0, 5)]]);
    next(&mut reading, 1, true);
    next(&mut reading, 1, false);
    reading.seek(place(0), 5).unwrap();
    assert_eq!(next(&mut reading, 2, true), Some((1, 7)));
    assert_eq!(next(&mut reading, 2, false), Some((0, 5)));
    assert_eq!(committed(&hub), [(1, 8)]);
}

#[test]
fn what_is_finished_is_committed_before_partitions_go() {
    let hub = Scripted::default();
    hub.0.lock().polls = vec![MESSAGES[..2].to_vec(), vec![(1, 7), (0, 2)]];
    let mut reading = Reading::new(Box::new(hub.clone()), Some(Duration::from_secs(3600)), false);
    next(&mut reading, 1, true);
    next(&mut reading, 1, false);
    hub.0.lock().changes = vec![Change::Revoking(vec![place(0)])];
    assert_eq!(next(&mut reading, 1, false), Some((1, 7)));
    assert_eq!((committed(&hub), hub.0.lock().given_up), (vec![(0, 2)], 1), "long before it was time to");
    assert_eq!(next(&mut reading, 1, false), None, "what came of it since was fetched for another");
}

#[test]
fn the_end_of_a_transaction_is_passed_once_all_before_it_is_finished() {
    let (mut reading, hub) = reading(&[MESSAGES]);
    while next(&mut reading, 1, false).is_some_and(|last| last != (0, 2)) {}
    hub.0.lock().passed = vec![(0, 4), (1, 9)];
    assert_eq!(committed(&hub), [], "the last one is open");
    assert_eq!(next(&mut reading, 1, false), None);
    assert_eq!(committed(&hub), [(0, 4), (1, 9)]);
    assert_eq!(next(&mut reading, 1, false), None);
    assert_eq!(committed(&hub), [], "once");
}

#[test]
fn what_a_program_tells_message_by_message_outlives_the_list() {
    let (mut reading, hub) = reading(&[MESSAGES, &[(0, 3)]]);
    reading.fetch(100, Duration::ZERO).unwrap();
    assert_eq!(list(&mut reading, 0, false, 10), MESSAGES);
    reading.handled([(place(0), 1)]);
    reading.fetch(100, Duration::ZERO).unwrap();
    assert_eq!(committed(&hub), [(0, 1)]);
    assert_eq!(list(&mut reading, 0, false, 10), [(0, 3)]);
    reading.close().unwrap();
    assert_eq!(committed(&hub), []);
}
