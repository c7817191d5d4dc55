use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use gds_process::sync::Mutex;
use tempfile::TempDir;

use super::*;
use crate::batch::{Batch, Message};
use crate::embedded::{Embedded, EmbeddedOptions};
use crate::error::{Error, Result};
use crate::hub::{Change, Hub, Lag, OffsetSpec, Position, Subscriber, Subscription, TopicPartition};
use crate::record::Record;

/// What a consumer asks of its subscriber that these tests do not look at.
macro_rules! unasked {
    () => {
        fn assign(&mut self, _: &[TopicPartition]) -> Result<()> {
            Ok(())
        }

        fn offsets_for_times(
            &self,
            _: &[(TopicPartition, i64)],
            _: Duration,
        ) -> Result<Vec<(TopicPartition, Option<i64>)>> {
            Ok(Vec::new())
        }

        fn offsets(&self, _: &[TopicPartition], _: OffsetSpec, _: Duration) -> Result<Vec<(TopicPartition, i64)>> {
            Ok(Vec::new())
        }

        fn lag(&self, _: Duration) -> Result<Vec<Lag>> {
            Ok(Vec::new())
        }

        fn close(&mut self) -> Result<()> {
            Ok(())
        }
    };
}

mod model;

/// A hub's side that gives what it is told to, and notes what it is asked.
#[derive(Clone, Debug, Default)]
struct Scripted(Arc<Mutex<Script>>);

#[derive(Debug)]
struct Script {
    topic: &'static str,
    polls: Vec<Vec<(i32, i64)>>,
    changes: Vec<Change>,
    passed: Vec<(i32, i64)>,
    committed: Vec<(i32, i64)>,
    sought: Vec<(i32, i64)>,
    given_up: usize,
}

impl Default for Script {
    fn default() -> Self {
        let (polls, changes, passed, committed, sought) = Default::default();
        Self { topic: "t", polls, changes, passed, committed, sought, given_up: 0 }
    }
}

fn place(partition: i32) -> TopicPartition {
    (Arc::from("t"), partition)
}

impl Subscriber for Scripted {
    unasked!();

    fn poll(&mut self, batch: &mut Batch, _: usize, _: Duration) -> Result<()> {
        let mut script = self.0.lock();
        let given = if script.polls.is_empty() { Vec::new() } else { script.polls.remove(0) };
        for (partition, offset) in given {
            batch.push(script.topic, partition, offset, None, &Record::default());
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

    fn passed(&self) -> Vec<Position> {
        let passed = self.0.lock().passed.clone();
        passed.into_iter().map(|(partition, offset)| Position { topic: "t".into(), partition, offset }).collect()
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
}

/// A consumer of what `subscriber` gives, whose dead letters go to a hub in a folder.
fn consuming(
    subscriber: impl Subscriber + 'static,
    every: Duration,
    on_error: OnError,
) -> (Consumer, Arc<dyn Hub>, TempDir) {
    consuming_as(subscriber, ConsumerOptions { auto_commit_interval: Some(every), listens: false, on_error })
}

fn consuming_as(subscriber: impl Subscriber + 'static, options: ConsumerOptions) -> (Consumer, Arc<dyn Hub>, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let hub: Arc<dyn Hub> = Arc::new(Embedded::open(folder.path(), EmbeddedOptions::default()).unwrap());
    let warn = |text: &str| panic!("{text}");
    (Consumer::new(Box::new(subscriber), Arc::clone(&hub), options, Arc::new(warn)), hub, folder)
}

fn consumer(polls: &[&[(i32, i64)]]) -> (Consumer, Scripted) {
    let hub = Scripted::default();
    hub.0.lock().polls = polls.iter().map(|poll| poll.to_vec()).collect();
    (consuming(hub.clone(), Duration::ZERO, OnError::Raise).0, hub)
}

fn given(consumer: &mut Consumer, by: u64) -> Option<(i32, i64)> {
    match consumer.next(by, |message| Ok::<_, ParseError<()>>((message.partition, message.offset))).unwrap() {
        Next::Message(at) => Some(at),
        Next::Empty => None,
        other => panic!("{other:?}"),
    }
}

/// What the loop `by` is given when it asks.
fn next(consumer: &mut Consumer, by: u64, begins: bool) -> Option<(i32, i64)> {
    consumer.ask(by, begins).unwrap();
    given(consumer, by).or_else(|| {
        consumer.fetch(100, Duration::ZERO).unwrap();
        given(consumer, by)
    })
}

fn list(consumer: &mut Consumer, by: u64, begins: bool, max: usize) -> Vec<(i32, i64)> {
    consumer.ask(by, begins).unwrap();
    consumer.open_list(by);
    std::iter::from_fn(|| given(consumer, by)).take(max).collect()
}

fn committed(hub: &Scripted) -> Vec<(i32, i64)> {
    std::mem::take(&mut hub.0.lock().committed)
}

const MESSAGES: &[(i32, i64)] = &[(0, 0), (0, 1), (1, 7), (0, 2)];

#[test]
fn what_a_loop_left_comes_again_in_the_next() {
    let (mut consumer, hub) = consumer(&[MESSAGES]);
    assert_eq!((next(&mut consumer, 1, true), next(&mut consumer, 1, false)), (Some((0, 0)), Some((0, 1))));
    assert_eq!((next(&mut consumer, 2, true), next(&mut consumer, 2, false)), (Some((0, 1)), Some((1, 7))));
    assert_eq!(next(&mut consumer, 0, false), Some((1, 7)), "who asks without a loop is another one");
    assert_eq!(next(&mut consumer, 3, true), Some((0, 2)), "and has finished when a loop begins");
    consumer.close().unwrap();
    assert_eq!(committed(&hub), [(0, 2), (1, 8)]);
}

#[test]
fn an_older_loop_goes_on_where_a_newer_one_is() {
    let (mut consumer, _) = consumer(&[MESSAGES]);
    assert_eq!(next(&mut consumer, 1, true), Some((0, 0)));
    assert_eq!(next(&mut consumer, 2, false), Some((0, 1)));
    assert_eq!(next(&mut consumer, 1, false), Some((1, 7)));
}

#[test]
fn a_list_that_was_left_comes_again_without_what_was_committed_of_it() {
    let (mut consumer, hub) = consumer(&[MESSAGES]);
    consumer.fetch(100, Duration::ZERO).unwrap();
    assert_eq!(list(&mut consumer, 1, true, 3), MESSAGES[..3]);
    consumer.commit(Some(HashMap::from([(place(0), 1)]))).unwrap();
    assert_eq!(committed(&hub), [(0, 1)]);
    assert_eq!(list(&mut consumer, 2, true, 2), [(0, 1), (1, 7)]);
    consumer.handled_list(1);
    consumer.handled_list(2);
    consumer.close().unwrap();
    assert_eq!(committed(&hub), [(0, 2), (1, 8)]);
}

#[test]
fn commit_takes_what_is_open_and_it_does_not_come_again() {
    let (mut consumer, hub) = consumer(&[MESSAGES]);
    next(&mut consumer, 1, true);
    next(&mut consumer, 1, false);
    consumer.commit(None).unwrap();
    assert_eq!(committed(&hub), [(0, 2)]);
    assert_eq!(next(&mut consumer, 2, true), Some((1, 7)));
}

#[test]
fn what_was_paused_while_it_was_open_is_read_again() {
    let (mut consumer, hub) = consumer(&[MESSAGES, &[(0, 1), (0, 2)]]);
    next(&mut consumer, 1, true);
    next(&mut consumer, 1, false);
    consumer.pause(&[place(0)]).unwrap();
    assert_eq!(hub.0.lock().sought, [(0, 2)], "what was not given out comes after `resume`");
    assert_eq!(next(&mut consumer, 2, true), Some((1, 7)));
    assert_eq!(hub.0.lock().sought, [(0, 2), (0, 1)], "and what was open, too");
    assert_eq!(next(&mut consumer, 2, false), Some((0, 1)));
    assert_eq!(committed(&hub), [(0, 1), (1, 8)]);
}

#[test]
fn a_seek_is_not_undone_by_what_was_open() {
    let (mut consumer, hub) = consumer(&[MESSAGES, &[(0, 5)]]);
    next(&mut consumer, 1, true);
    next(&mut consumer, 1, false);
    consumer.seek(place(0), 5).unwrap();
    assert_eq!(next(&mut consumer, 2, true), Some((1, 7)));
    assert_eq!(next(&mut consumer, 2, false), Some((0, 5)));
    assert_eq!(committed(&hub), [(1, 8)]);
}

#[test]
fn nothing_is_fetched_before_a_program_that_listens_was_told() {
    let hub = Scripted::default();
    hub.0.lock().polls = vec![vec![(0, 7)]];
    hub.0.lock().changes = vec![Change::Assigned(vec![place(0)])];
    let (mut consumer, ..) = consuming_as(hub, ConsumerOptions { listens: true, ..ConsumerOptions::default() });
    assert_eq!(next(&mut consumer, 1, true), None);
    assert_eq!(next(&mut consumer, 1, false), None, "nor while it was not");
    assert_eq!(consumer.take_changes(), [Change::Assigned(vec![place(0)])]);
    consumer.changes_reported().unwrap();
    assert_eq!(next(&mut consumer, 1, false), Some((0, 7)));
}

#[test]
fn what_is_finished_is_committed_before_partitions_go() {
    let hub = Scripted::default();
    hub.0.lock().polls = vec![MESSAGES[..2].to_vec(), vec![(1, 7), (0, 2)]];
    let (mut consumer, ..) = consuming(hub.clone(), Duration::from_secs(3600), OnError::Raise);
    next(&mut consumer, 1, true);
    next(&mut consumer, 1, false);
    hub.0.lock().changes = vec![Change::Revoking(vec![place(0)])];
    assert_eq!(next(&mut consumer, 1, false), Some((1, 7)));
    assert_eq!((committed(&hub), hub.0.lock().given_up), (vec![(0, 2)], 1), "long before it was time to");
    assert_eq!(next(&mut consumer, 1, false), None, "what came of it since was fetched for another");
}

#[test]
fn the_end_of_a_transaction_is_passed_once_all_before_it_is_finished() {
    let (mut consumer, hub) = consumer(&[MESSAGES]);
    while next(&mut consumer, 1, false).is_some_and(|last| last != (0, 2)) {}
    hub.0.lock().passed = vec![(0, 4), (1, 9)];
    assert_eq!(committed(&hub), [], "the last one is open");
    assert_eq!(next(&mut consumer, 1, false), None);
    assert_eq!(committed(&hub), [(0, 4), (1, 9)]);
    assert_eq!(next(&mut consumer, 1, false), None);
    assert_eq!(committed(&hub), [], "once");
}

#[test]
fn what_a_program_tells_message_by_message_outlives_the_list() {
    let (mut consumer, hub) = consumer(&[MESSAGES, &[(0, 3)]]);
    consumer.fetch(100, Duration::ZERO).unwrap();
    assert_eq!(list(&mut consumer, 0, false, 10), MESSAGES);
    consumer.handled([(place(0), 1)]);
    consumer.fetch(100, Duration::ZERO).unwrap();
    assert_eq!(committed(&hub), [(0, 1)]);
    assert_eq!(list(&mut consumer, 0, false, 10), [(0, 3)]);
    consumer.close().unwrap();
    assert_eq!(committed(&hub), []);
}

/// What parses every message but those at odd offsets.
fn even(message: &Message<'_>) -> Result<(i32, i64), ParseError<&'static str>> {
    if message.offset % 2 == 0 {
        Ok((message.partition, message.offset))
    } else {
        Err(ParseError::Unreadable(Error::Serialization("odd".into()), "why"))
    }
}

fn totals(consumer: &Consumer) -> HashMap<&'static str, u64> {
    consumer.counts().totals().into_iter().collect()
}

#[test]
fn what_cannot_be_read_stays_the_next_one_until_it_is_sought() {
    let (mut consumer, hub) = consumer(&[MESSAGES, &[(0, 2)]]);
    consumer.fetch(100, Duration::ZERO).unwrap();
    assert!(matches!(consumer.next(1, even), Ok(Next::Message((0, 0)))));
    for _ in 0..2 {
        consumer.ask(1, false).unwrap();
        let Ok(Next::Unreadable { error, cause: "why", at }) = consumer.next(1, even) else { panic!("readable") };
        assert_eq!((error.message(), at.partition, at.offset), ("odd", 0, 1));
    }
    consumer.seek(place(0), 2).unwrap();
    consumer.close().unwrap();
    assert_eq!((committed(&hub), totals(&consumer)["consumed_total"]), (vec![], 1));
}

#[test]
fn an_interrupted_parser_leaves_the_message_the_next_one() {
    let (mut consumer, _) = consumer(&[MESSAGES]);
    consumer.fetch(100, Duration::ZERO).unwrap();
    let interrupted = consumer.next(1, |_| Err::<(), _>(ParseError::Interrupted("ctrl-c")));
    assert!(matches!(interrupted, Err("ctrl-c")));
    assert_eq!(given(&mut consumer, 1), Some((0, 0)));
}

#[test]
fn what_is_skipped_is_counted_and_finished() {
    let hub = Scripted::default();
    hub.0.lock().polls = vec![MESSAGES[..3].to_vec()];
    let (mut consumer, ..) = consuming(hub.clone(), Duration::ZERO, OnError::Skip);
    consumer.fetch(100, Duration::ZERO).unwrap();
    assert!(matches!(consumer.next(1, even), Ok(Next::Message((0, 0)))));
    consumer.ask(1, false).unwrap();
    assert!(matches!(consumer.next(1, even), Ok(Next::Empty)));
    let totals = totals(&consumer);
    assert_eq!((totals["consumed_total"], totals["skipped_total"], totals["unparsed_total"]), (1, 2, 2));
    consumer.close().unwrap();
    assert_eq!(committed(&hub), [(0, 2), (1, 8)]);
}

#[test]
fn a_message_is_finished_when_its_dead_letter_is_delivered() {
    let soon = Duration::from_secs(30);
    let script = Scripted::default();
    script.0.lock().polls = vec![MESSAGES[1..2].to_vec()];
    let (mut consumer, hub, _folder) = consuming(script.clone(), Duration::ZERO, OnError::DeadLetter);
    consumer.fetch(100, Duration::ZERO).unwrap();
    let deadline = Instant::now() + soon;
    loop {
        assert!(Instant::now() < deadline, "the letter is under way for ever");
        let Ok(Next::DeadLetter(error)) = consumer.next(1, even) else { panic!("readable") };
        match consumer.send_dead_letter(&error) {
            DeadLetterStatus::Delivered => break,
            DeadLetterStatus::Pending(outcome) => {
                assert_eq!(totals(&consumer)["dead_lettered_total"], 0);
                assert!(outcome.wait(soon));
            }
            DeadLetterStatus::Refused(error) => panic!("{error}"),
        }
    }
    assert!(matches!(consumer.next(1, even), Ok(Next::Empty)));
    assert_eq!(totals(&consumer)["dead_lettered_total"], 1);
    consumer.close().unwrap();
    assert_eq!(committed(&script), [(0, 2)]);

    let subscription = Subscription { topics: vec!["t.dlq".to_owned()], ..Subscription::default() };
    let mut letters = Batch::default();
    hub.subscribe(&subscription).unwrap().poll(&mut letters, 10, soon).unwrap();
    let headers: Vec<_> = letters.get(0).unwrap().headers.into_iter().collect();
    assert!(headers.contains(&("dlq.error", Some(&b"odd"[..]))) && headers.contains(&("dlq.offset", Some(b"1"))));
    assert_eq!(letters.len(), 1, "one, however often it was asked for");
}

#[test]
fn the_dead_of_a_dead_letter_topic_are_the_programs_to_see() {
    let script = Scripted::default();
    let (mut consumer, ..) = consuming(script.clone(), Duration::ZERO, OnError::DeadLetter);
    script.0.lock().topic = "t.dlq";
    script.0.lock().polls = vec![vec![(0, 1)]];
    consumer.fetch(100, Duration::ZERO).unwrap();
    assert!(matches!(consumer.next(1, even), Ok(Next::Unreadable { .. })));
}
