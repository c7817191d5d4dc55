use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use gds_process::sync::{Condvar, Mutex};
use tempfile::TempDir;

use super::*;
use crate::headers::Headers;
use crate::hub::{Admin, Deliveries, Delivery, Lag, NewTopic, Subscriber, Subscription, Topic};

const SOON: Duration = Duration::from_secs(20);

/// A hub that does what a test tells it.
#[derive(Clone, Default)]
struct Script(Arc<Stage>);

#[derive(Default)]
struct Stage {
    state: Mutex<State>,
    changed: Condvar,
    deliveries: Mutex<Option<Arc<dyn Deliveries>>>,
}

impl std::fmt::Debug for Script {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Script")
    }
}

#[derive(Clone, Debug, Eq, PartialEq)]
struct Seen {
    id: u64,
    topic: String,
    value: Vec<u8>,
    headers: Vec<(String, String)>,
}

#[derive(Default)]
struct State {
    /// Records that may be taken before the hub's own queue is full.
    window: Option<usize>,
    /// Handed over, no outcome told.
    held: VecDeque<Seen>,
    /// All that were handed over.
    seen: Vec<Seen>,
    /// Topics that are refused at once, how, and how often at most.
    refused: BTreeMap<String, (Error, usize)>,
    /// Records are delivered as they come.
    delivers: bool,
    /// How often the sender had nothing more to hand over.
    idle: usize,
}

impl Script {
    fn with_window(window: usize) -> Self {
        let script = Self::default();
        script.0.state.lock().window = Some(window);
        script
    }

    fn refuse(&self, topic: &str, error: Error) {
        self.refuse_times(topic, error, usize::MAX);
    }

    fn refuse_times(&self, topic: &str, error: Error, times: usize) {
        self.0.state.lock().refused.insert(topic.to_owned(), (error, times));
    }

    fn take_back(&self, topic: &str) {
        self.0.state.lock().refused.remove(topic);
    }

    fn delivering() -> Self {
        let script = Self::default();
        script.0.state.lock().delivers = true;
        script
    }

    fn open(&self) {
        self.0.state.lock().window = None;
    }

    /// Waits until so many are held.
    fn wait_held(&self, count: usize) -> Vec<Seen> {
        let mut state = self.0.state.lock();
        while state.held.len() < count {
            let is_over;
            (state, is_over) = self.0.changed.wait_for(state, SOON);
            assert!(!is_over, "{} of {count}", state.held.len());
        }
        state.held.iter().cloned().collect()
    }

    fn told(&self, count: usize, tell: impl Fn(&dyn Deliveries, &Seen, i64)) {
        let deliveries = self.0.deliveries.lock().clone().expect("a publisher");
        for offset in 0..count {
            let seen = self.0.state.lock().held.pop_front().expect("a record held");
            tell(&*deliveries, &seen, i64::try_from(offset).expect("few"));
        }
        deliveries.collected();
    }

    fn deliver(&self, count: usize) {
        self.told(count, |deliveries, seen, offset| {
            deliveries.delivered(seen.id, &Delivery { topic: &seen.topic, partition: 0, offset, timestamp: 0 });
        });
    }

    fn fail(&self, count: usize, error: &Error) {
        self.told(count, |deliveries, seen, _| {
            let owned = |(name, value): &(String, String)| (name.clone(), Some(value.clone().into_bytes()));
            let headers: Vec<_> = seen.headers.iter().map(owned).collect();
            let headers = Headers::new(&headers);
            let record = Record { topic: &seen.topic, value: Some(&seen.value), headers, ..Record::default() };
            deliveries.failed(seen.id, &record, error);
        });
    }

    fn values(&self) -> Vec<String> {
        self.0.state.lock().seen.iter().map(|seen| String::from_utf8_lossy(&seen.value).into_owned()).collect()
    }
}

impl Publisher for Script {
    fn publish(&self, id: u64, record: &Record<'_>) -> Result<()> {
        let mut state = self.0.state.lock();
        if let Some((error, times)) = state.refused.get_mut(record.topic)
            && let Some(left) = times.checked_sub(1)
        {
            *times = left;
            return Err(error.clone());
        }
        if state.window.is_some_and(|window| state.held.len() >= window) {
            return Err(Error::Full(Failure::new("full").retriable()));
        }
        let text = |value: Option<&[u8]>| String::from_utf8_lossy(value.unwrap_or_default()).into_owned();
        let seen = Seen {
            id,
            topic: record.topic.to_owned(),
            value: record.value.unwrap_or_default().to_vec(),
            headers: record.headers.iter().map(|(name, value)| (name.to_owned(), text(value))).collect(),
        };
        state.seen.push(seen.clone());
        if state.delivers {
            drop(state);
            let deliveries = self.0.deliveries.lock().clone().expect("a publisher");
            deliveries.delivered(id, &Delivery { topic: &seen.topic, partition: 0, offset: 0, timestamp: 0 });
            deliveries.collected();
            return Ok(());
        }
        state.held.push_back(seen);
        self.0.changed.notify_all();
        Ok(())
    }

    fn in_flight(&self) -> usize {
        self.0.state.lock().held.len()
    }

    fn idle(&self) {
        self.0.state.lock().idle += 1;
    }

    fn purge(&self) {
        let held = self.in_flight();
        self.fail(held, &Error::Message(Failure::new("purged").retriable()));
    }

    fn statistics(&self) -> BTreeMap<String, f64> {
        BTreeMap::new()
    }
}

impl Admin for Script {
    fn create_topic(&self, _: &NewTopic, _: Duration) -> Result<()> {
        unimplemented!()
    }
    fn delete_topic(&self, _: &str, _: Duration) -> Result<()> {
        unimplemented!()
    }
    fn alter_topic(&self, _: &str, _: &BTreeMap<String, Option<String>>, _: Duration) -> Result<()> {
        unimplemented!()
    }
    fn topic_config(&self, _: &str, _: Duration) -> Result<BTreeMap<String, String>> {
        unimplemented!()
    }
    fn topics(&self, _: Option<&str>, _: Duration) -> Result<Vec<Topic>> {
        unimplemented!()
    }
    fn lag(&self, _: &str, _: Duration) -> Result<Vec<Lag>> {
        unimplemented!()
    }
    fn groups(&self, _: Duration) -> Result<Vec<String>> {
        unimplemented!()
    }
}

impl Hub for Script {
    fn publisher(&self, deliveries: Arc<dyn Deliveries>) -> Result<Box<dyn Publisher>> {
        *self.0.deliveries.lock() = Some(deliveries);
        Ok(Box::new(self.clone()))
    }
    fn subscribe(&self, _: &Subscription) -> Result<Box<dyn Subscriber>> {
        unimplemented!()
    }
    fn check(&self, _: Duration) -> Result<()> {
        Ok(())
    }
}

#[derive(Debug, Default)]
struct Reports(Mutex<Vec<Reported<u32>>>, Mutex<Vec<String>>);

impl Reporter<u32> for Reports {
    fn report(&self, outcomes: Vec<Reported<u32>>) {
        self.0.lock().extend(outcomes);
    }

    fn warn(&self, text: &str) {
        self.1.lock().push(text.to_owned());
    }
}

impl Reports {
    fn warnings(&self) -> Vec<String> {
        self.1.lock().clone()
    }

    fn errors(&self) -> Vec<(u32, Option<Error>)> {
        let mut told: Vec<_> = self.0.lock().iter().map(|it| (it.token, it.outcome.as_ref().err().cloned())).collect();
        told.sort_by_key(|(token, _)| *token);
        told
    }
}

fn made(script: &Script, options: ProducerOptions) -> (Producer<u32>, Arc<Reports>) {
    let reports = Arc::new(Reports::default());
    (Producer::new(script, options, reports.clone()).expect("a producer"), reports)
}

fn send(producer: &Producer<u32>, topic: &str, value: &str, token: Option<u32>) -> Result<Sent<u32>> {
    let record = Record { topic, value: Some(value.as_bytes()), headers: Headers::default(), ..Record::default() };
    producer.send(&producer.encode(&record), token, Linger::Short)
}

/// For waits that nothing interrupts.
#[allow(clippy::unnecessary_wraps)] // as `send_blocking` asks
fn never() -> Result<(), std::convert::Infallible> {
    Ok(())
}

fn options() -> ProducerOptions {
    let refused_pause = Some(Duration::from_millis(1));
    ProducerOptions { linger: Duration::from_millis(1), refused_pause, ..ProducerOptions::default() }
}

fn wait_until(what: &str, there: impl Fn() -> bool) {
    let deadline = Instant::now() + SOON;
    while !there() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::yield_now();
    }
}

/// Waits until the sender has found something to send, and lingers.
fn wait_lingering(producer: &Producer<u32>) {
    let shared = &producer.shared;
    wait_until("the sender does not linger", || shared.has_work() && shared.hurry.is_waited_for());
}

/// Waits until the sender has found nothing more to send.
fn wait_asleep(producer: &Producer<u32>) {
    let shared = &producer.shared;
    wait_until("the sender does not sleep", || !shared.has_work() && shared.work.is_waited_for());
}

mod folders;
mod order;
mod refusals;

/// Room for so many records of ten bytes.
fn room_for(records: usize) -> usize {
    let mut frame = Vec::new();
    codec::write(&mut frame, &Record { topic: "t", value: Some(&[0; 10]), ..Record::default() });
    queue::Memory::cost(&frame) * records
}

fn balanced(stats: &Stats) {
    assert_eq!(stats.accepted, stats.delivered + stats.failures() + stats.drops() + stats.pending, "{stats:?}");
}

#[test]
fn records_arrive_in_order_and_each_has_one_outcome() {
    let script = Script::default();
    let (producer, reports) = made(&script, options());
    for number in 0..1000_u32 {
        assert!(matches!(send(&producer, "t", &number.to_string(), Some(number)), Ok(Sent::Queued)));
    }
    script.wait_held(1000);
    script.deliver(1000);
    assert!(producer.wait_flushed(SOON));
    assert_eq!(script.values(), (0..1000).map(|number| number.to_string()).collect::<Vec<_>>());
    assert_eq!(reports.errors(), (0..1000).map(|number| (number, None)).collect::<Vec<_>>());
    let stats = producer.stats();
    assert_eq!((stats.accepted, stats.delivered, stats.pending), (1000, 1000, 0));
    assert_eq!(producer.close(SOON), CloseReport::default());
}

#[test]
fn each_policy_of_a_full_buffer_counts_what_it_drops() {
    for (on_full, kept) in [(OnFull::DropNewest, 0..6), (OnFull::DropOldest, 6..12)] {
        // One record in the hub's hands, which the sender holds with its chunk.
        let script = Script::with_window(0);
        let (producer, reports) = made(&script, ProducerOptions { on_full, buffer_bytes: room_for(6), ..options() });
        // The sender takes nothing before it has lingered; so the queue is filled at once.
        for number in 0..12_u32 {
            drop(send(&producer, "t", &format!("{number:010}"), Some(number)).expect("no error"));
        }
        let stats = producer.stats();
        balanced(&stats);
        assert_eq!(stats.dropped.get("buffer_full").copied().unwrap_or_default() + stats.pending, 12);
        script.open();
        producer.hurry();
        let pending = usize::try_from(stats.pending).expect("few");
        script.wait_held(pending);
        script.deliver(pending);
        assert!(producer.wait_flushed(SOON));
        let values = script.values();
        if on_full == OnFull::DropNewest {
            assert_eq!(values, kept.map(|number| format!("{number:010}")).collect::<Vec<_>>());
        } else {
            // What the sender already had in its hands stays; after it come the youngest.
            assert_eq!(values.last().map(String::as_str), Some("0000000011"));
            assert!(values.is_sorted());
        }
        balanced(&producer.stats());
        drop(reports);
    }
}

#[test]
fn a_full_buffer_makes_callers_wait_or_raises() {
    let script = Script::with_window(0);
    let (producer, _) = made(&script, ProducerOptions { buffer_bytes: room_for(2), ..options() });
    for _ in 0..2 {
        assert!(matches!(send(&producer, "t", "0123456789", None), Ok(Sent::Queued)));
    }
    assert!(matches!(send(&producer, "t", "0123456789", Some(7)), Ok(Sent::Full(Some(7)))));
    assert_eq!(producer.stats().accepted, 2, "who waits is not counted yet");
    let error = producer.no_room(None);
    assert!(error.retriable() && error.message().contains("within max_block_ms=60000"), "{error:?}");
    balanced(&producer.stats());
    std::thread::scope(|scope| {
        let waits = scope.spawn(|| {
            let record = Record { topic: "t", value: Some(b"0123456789"), ..Record::default() };
            producer.send_blocking(&producer.encode(&record), None, Linger::Short, None, never)
        });
        script.open();
        script.wait_held(2);
        assert!(matches!(waits.join().expect("no panic"), Ok(Sent::Queued)));
    });
    let (producer, _) = made(
        &Script::with_window(0),
        ProducerOptions { buffer_bytes: room_for(1), on_full: OnFull::Raise, ..options() },
    );
    assert!(matches!(send(&producer, "t", "0123456789", None), Ok(Sent::Queued)));
    let error = send(&producer, "t", "0123456789", None).expect_err("full");
    assert!(matches!(error, Error::Full(_)) && error.retriable(), "{error}");
    let error = send(&producer, "t", &"x".repeat(1000), None).expect_err("too large for any room");
    assert!(matches!(error, Error::Message(_)) && !error.retriable(), "{error}");
}

#[test]
fn a_wait_for_room_that_is_interrupted_counts_nothing() {
    let script = Script::with_window(0);
    let (producer, _) = made(&script, ProducerOptions { buffer_bytes: room_for(1), ..options() });
    assert!(matches!(send(&producer, "t", "0123456789", None), Ok(Sent::Queued)));
    let record = Record { topic: "t", value: Some(b"0123456789"), ..Record::default() };
    let mut asked = 0;
    let interrupted = producer.send_blocking(&producer.encode(&record), None, Linger::Short, None, || {
        asked += 1;
        if asked < 3 { Ok(()) } else { Err("ctrl-c") }
    });
    assert!(matches!(interrupted, Err(BlockingError::Interrupted("ctrl-c"))), "{interrupted:?}");
    assert_eq!((producer.stats().accepted, producer.stats().dropped), (1, BTreeMap::new()));
}

#[test]
fn a_wait_for_room_ends_at_what_comes_first_and_says_which() {
    let script = Script::with_window(0);
    for (max_block, given, bound) in
        [(Duration::ZERO, SOON, "max_block_ms=0"), (SOON, Duration::ZERO, "the timeout given")]
    {
        let (producer, _) = made(&script, ProducerOptions { buffer_bytes: room_for(1), max_block, ..options() });
        assert!(matches!(send(&producer, "t", "0123456789", None), Ok(Sent::Queued)));
        let record = Record { topic: "t", value: Some(b"0123456789"), ..Record::default() };
        let until = Some(std::time::Instant::now() + given);
        let sent = producer.send_blocking(&producer.encode(&record), None, Linger::Short, until, never);
        let Err(BlockingError::Refused(error)) = sent else { panic!("{sent:?}") };
        assert!(matches!(error, Error::Timeout(_)) && error.retriable(), "{error}");
        assert!(error.message().contains(bound), "{error}");
        assert_eq!(producer.stats().dropped, BTreeMap::from([("buffer_full", 1)]));
    }
}

#[test]
fn what_waits_too_long_is_dropped_and_told() {
    let script = Script::with_window(0);
    let timeout = Some(Duration::from_millis(50));
    let (producer, reports) = made(&script, ProducerOptions { delivery_timeout: timeout, ..options() });
    assert!(send(&producer, "t", "late", Some(1)).is_ok());
    assert!(producer.wait_flushed(SOON));
    assert_eq!(producer.stats().dropped, BTreeMap::from([("timeout", 1)]));
    assert!(matches!(reports.errors()[..], [(1, Some(Error::Timeout(_)))]));
}

#[test]
fn what_is_refused_for_good_is_told_and_buried() {
    let script = Script::default();
    script.refuse("t", Error::Message(Failure::new("too large").with_code(10)));
    let (producer, reports) = made(&script, ProducerOptions { dead_letter: true, ..options() });
    assert!(send(&producer, "t", "big", Some(1)).is_ok());
    let [letter] = &script.wait_held(1)[..] else { panic!("one letter") };
    assert_eq!((&*letter.topic, &*letter.value), ("t.dlq", &b"big"[..]));
    assert!(letter.headers.contains(&("dlq.error".to_owned(), "too large".to_owned())));
    // The letter fails, too: it has nowhere to go.
    script.fail(1, &Error::Message(Failure::new("no").with_code(17)));
    assert!(producer.wait_flushed(SOON));
    let stats = producer.stats();
    assert_eq!(stats.failed, BTreeMap::from([("invalid_topic", 1), ("message_too_large", 1)]));
    assert_eq!(stats.dead_lettered, 1);
    balanced(&stats);
    assert!(matches!(reports.errors()[..], [(1, Some(Error::Message(_)))]));
}

#[test]
fn closing_counts_what_it_leaves_and_takes_no_more() {
    let script = Script::with_window(3);
    let (producer, reports) = made(&script, options());
    for number in 0..10 {
        assert!(send(&producer, "t", "x", Some(number)).is_ok());
    }
    script.wait_held(3);
    assert_eq!(producer.close(Duration::ZERO), CloseReport { spooled: 0, dropped: 10 }, "three of them were purged");
    assert_eq!(reports.errors().len(), 10);
    assert_eq!(producer.stats().pending, 0);
    balanced(&producer.stats());
    assert!(matches!(send(&producer, "t", "x", None), Err(Error::Closed(_))));
}

fn spooled(dir: &TempDir, durability: Durability, max_bytes: u64) -> ProducerOptions {
    let spool = Some(SpoolOptions { dir: dir.path().to_owned(), durability, max_bytes });
    ProducerOptions { spool, ..options() }
}

#[test]
fn the_next_producer_delivers_what_a_dead_one_left() {
    for durability in [Durability::Memory, Durability::Process, Durability::Disk] {
        let dir = tempfile::tempdir().expect("a folder");
        let script = Script::with_window(3);
        let (producer, _) = made(&script, spooled(&dir, durability, 1 << 20));
        for number in 0..10 {
            assert!(send(&producer, "t", &number.to_string(), None).is_ok());
        }
        script.wait_held(3);
        script.deliver(2);
        assert_eq!(producer.close(Duration::ZERO), CloseReport { spooled: 8, dropped: 0 }, "{durability:?}");
        let first: Vec<Seen> = script.0.state.lock().seen.clone();

        let script = Script::default();
        let (producer, _) = made(&script, spooled(&dir, durability, 1 << 20));
        assert!(send(&producer, "t", "new", None).is_ok());
        if durability == Durability::Memory {
            script.wait_held(8); // what is in memory goes when those are delivered
            script.deliver(8);
        }
        wait_until("not all are handed over", || script.values().len() == 9);
        let held = script.0.state.lock().seen.clone();
        let values = script.values();
        let mut left: Vec<_> = (2..10).map(|number| number.to_string()).collect();
        left.push("new".to_owned());
        assert_eq!(values, left, "{durability:?}");
        let id = |seen: &Seen| seen.headers.iter().find(|(name, _)| name == MESSAGE_ID).cloned().expect("an id");
        let again = held.iter().find(|seen| seen.value == b"2").expect("the third");
        assert_eq!(id(again), id(&first[2]), "readers can tell that it came twice");
        let rest = script.wait_held(1).len();
        script.deliver(rest);
        assert!(producer.wait_flushed(SOON));
        let stats = producer.stats();
        assert_eq!((stats.accepted, stats.adopted, stats.delivered), (9, 8, 9));
        assert_eq!(producer.close(SOON), CloseReport::default());
        assert_eq!(std::fs::read_dir(dir.path()).expect("the folder").count(), 0, "nothing is left behind");
    }
}

#[test]
fn a_record_that_failed_for_now_is_sent_again_from_the_spool() {
    let dir = tempfile::tempdir().expect("a folder");
    let script = Script::default();
    let (producer, reports) = made(&script, spooled(&dir, Durability::Process, 1 << 20));
    for number in 0..3 {
        assert!(send(&producer, "t", &number.to_string(), Some(number)).is_ok());
    }
    script.wait_held(3);
    script.fail(2, &Error::Timeout(Failure::new("later").retriable()));
    drop(send(&producer, "t", "3", Some(3)).expect("queued"));
    script.deliver(1); // nothing goes before its outcome is known
    let held = script.wait_held(3);
    assert_eq!(held.iter().map(|seen| seen.value.clone()).collect::<Vec<_>>(), [b"0", b"1", b"3"]);
    script.deliver(3);
    assert!(producer.wait_flushed(SOON));
    assert_eq!(producer.stats().retried, 2);
    assert_eq!(reports.errors(), [(0, None), (1, None), (2, None), (3, None)]);
}

#[test]
fn a_full_spool_follows_the_policy() {
    let dir = tempfile::tempdir().expect("a folder");
    let script = Script::with_window(0);
    let options = ProducerOptions { on_full: OnFull::DropOldest, ..spooled(&dir, Durability::Process, 256 * 1024) };
    let (producer, _) = made(&script, options);
    let value = "x".repeat(1000);
    for _ in 0..1000 {
        assert!(matches!(send(&producer, "t", &value, None), Ok(Sent::Queued)));
    }
    let stats = producer.stats();
    balanced(&stats);
    assert!(stats.drops() > 500, "{stats:?}");
    assert!(stats.spool_bytes <= 256 * 1024, "{stats:?}");
    script.open();
    let pending = usize::try_from(stats.pending).expect("few");
    script.wait_held(pending);
    script.deliver(pending);
    assert!(producer.wait_flushed(SOON));
    assert_eq!(producer.stats().delivered, stats.pending);

    let script = Script::with_window(0);
    let dir = tempfile::tempdir().expect("a folder");
    let options = ProducerOptions { on_full: OnFull::Block, ..spooled(&dir, Durability::Process, 64 * 1024) };
    let (producer, _) = made(&script, options);
    let full = (0..1000).any(|_| matches!(send(&producer, "t", &value, None), Ok(Sent::Full(None))));
    assert!(full);
    balanced(&producer.stats());
}

#[test]
fn a_record_that_is_too_large_for_any_hub_is_refused_at_once() {
    let dir = tempfile::tempdir().expect("a folder");
    let frame = vec![0; (1 << 30) + 1];
    for durability in [Durability::Memory, Durability::Process] {
        let options = ProducerOptions { buffer_bytes: 1 << 40, ..spooled(&dir, durability, 1 << 40) };
        let (producer, _) = made(&Script::with_window(0), options);
        let error = producer.send(&frame, None, Linger::Short).expect_err("too large");
        assert!(matches!(error, Error::Message(_)) && error.code() == Some(10) && !error.retriable(), "{error}");
        assert!(error.message().contains("1073741825") && error.message().contains("1073741824"), "{error}");
        assert_eq!(producer.stats().accepted, 0);
    }
}

#[test]
fn memory_overflows_into_the_spool_and_keeps_the_order() {
    let dir = tempfile::tempdir().expect("a folder");
    let script = Script::with_window(0);
    // Room for 500 callbacks, and for less than 20 records.
    let options = ProducerOptions { buffer_bytes: 500 * 128, ..spooled(&dir, Durability::Memory, 4 << 20) };
    let long = |number: u32| format!("{number:04000}");
    let (producer, reports) = made(&script, options);
    for number in 0..500_u32 {
        assert!(matches!(send(&producer, "t", &long(number), Some(number)), Ok(Sent::Queued)));
    }
    assert!(producer.stats().spooled > 400);
    let mut state = script.0.state.lock();
    (state.window, state.delivers) = (None, true);
    drop(state);
    assert!(producer.wait_flushed(SOON));
    let values = script.values();
    assert_eq!(values, (0..500).map(long).collect::<Vec<_>>());
    assert_eq!(reports.errors().len(), 500);
    // And back in memory.
    script.0.state.lock().delivers = false;
    for number in 500..505_u32 {
        assert!(matches!(send(&producer, "t", &format!("{number:010}"), None), Ok(Sent::Queued)));
    }
    script.wait_held(5);
    script.deliver(5);
    assert!(producer.wait_flushed(SOON));
    assert_eq!(producer.stats().spooled, 0);
}

#[test]
fn patient_records_wait_for_one_that_is_not_and_go_before_it() {
    let script = Script::default();
    let for_ever = Duration::from_secs(3600);
    let (producer, _) = made(&script, ProducerOptions { long_linger: for_ever, ..options() });
    let mut frame = Vec::new();
    codec::write(&mut frame, &Record { topic: "t", value: Some(b"patient"), ..Record::default() });
    for _ in 0..3 {
        assert!(matches!(producer.send(&frame, None, Linger::Long), Ok(Sent::Queued)));
    }
    wait_lingering(&producer);
    assert!(script.values().is_empty());
    drop(send(&producer, "t", "soon", None).expect("queued"));
    script.wait_held(4);
    assert_eq!(script.values(), ["patient", "patient", "patient", "soon"]);

    // Nor does a flush wait for them, nor a queue that fills up.
    drop(producer.send(&frame, None, Linger::Long).expect("queued"));
    producer.hurry();
    script.wait_held(5);
    frame.clear();
    codec::write(&mut frame, &Record { topic: "t", value: Some(&vec![0; queue::CHUNK]), ..Record::default() });
    drop(producer.send(&frame, None, Linger::Long).expect("queued"));
    script.wait_held(6);
    script.deliver(6);
    assert!(producer.wait_flushed(SOON));
}

#[test]
fn in_a_hurry_when_idle_records_wait_for_those_under_way_and_no_longer() {
    let script = Script::default();
    let for_ever = Duration::from_secs(3600);
    let dir = TempDir::new().expect("a folder");
    let spool = SpoolOptions { dir: dir.path().to_owned(), durability: Durability::Process, max_bytes: 1 << 20 };
    for spool in [None, Some(spool)] {
        let spooled = spool.is_some();
        let (producer, _) = made(&script, ProducerOptions { linger: for_ever, spool, ..options() });
        drop(send(&producer, "t", "first", None).expect("queued"));
        producer.hurry_when_idle();
        script.wait_held(1);
        wait_asleep(&producer); // what comes while it is at it, it takes along
        drop(send(&producer, "t", "second", None).expect("queued"));
        producer.hurry_when_idle();
        if !spooled {
            wait_lingering(&producer);
            assert_eq!(script.wait_held(1).len(), 1);
            script.deliver(1);
        }
        let held = script.wait_held(if spooled { 2 } else { 1 }).len();
        script.deliver(held);
        assert!(producer.wait_flushed(SOON));
    }
}

/// Takes one batch at a time, each time a test lets it go on.
/// Says when it is let go of: whoever has it is gone.
#[derive(Debug)]
struct Farewell(std::sync::mpsc::Sender<()>);

impl Drop for Farewell {
    fn drop(&mut self) {
        let _ = self.0.send(());
    }
}

#[derive(Debug)]
struct SaysFarewell(Arc<Slow>, #[allow(dead_code)] Farewell); // kept for its drop

impl Reporter<u32> for SaysFarewell {
    fn report(&self, outcomes: Vec<Reported<u32>>) {
        self.0.report(outcomes);
    }
}

#[derive(Debug, Default)]
struct Slow {
    state: Mutex<SlowState>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct SlowState {
    told: Vec<u32>,
    inside: usize,
    most_inside: usize,
    open: bool,
    producer: Option<Producer<u32>>,
}

impl Reporter<u32> for Slow {
    fn report(&self, outcomes: Vec<Reported<u32>>) {
        let mut state = self.state.lock();
        state.inside += 1;
        state.most_inside = state.most_inside.max(state.inside);
        self.changed.notify_all();
        while !state.open {
            let is_over;
            (state, is_over) = self.changed.wait_for(state, SOON);
            assert!(!is_over);
        }
        state.told.extend(outcomes.iter().map(|outcome| outcome.token));
        state.inside -= 1;
        self.changed.notify_all();
        let producer = state.producer.take();
        drop(state);
        drop(producer);
    }
}

impl Slow {
    fn wait(&self, there: impl Fn(&SlowState) -> bool) {
        let mut state = self.state.lock();
        while !there(&state) {
            let is_over;
            (state, is_over) = self.changed.wait_for(state, SOON);
            assert!(!is_over, "{state:?}");
        }
    }

    fn open(&self) {
        self.state.lock().open = true;
        self.changed.notify_all();
    }
}

#[test]
fn outcomes_are_told_in_order_by_one_thread_at_a_time_and_nothing_is_settled_before() {
    let script = Script::default();
    let slow = Arc::new(Slow::default());
    let producer = Producer::new(&script, options(), slow.clone()).expect("a producer");
    for number in 0..3_u32 {
        drop(send(&producer, "t", &number.to_string(), Some(number)).expect("queued"));
    }
    script.wait_held(3);
    std::thread::scope(|scope| {
        scope.spawn(|| script.deliver(1));
        slow.wait(|state| state.inside == 1);
        // Whoever comes meanwhile does not wait, and does not overtake.
        script.deliver(1);
        script.deliver(1);
        assert_eq!(producer.stats().pending, 0);
        assert_eq!(producer.unflushed(), 3);
        assert!(!producer.wait_flushed(Duration::from_millis(100)));
        slow.open();
    });
    assert!(producer.wait_flushed(SOON));
    let state = slow.state.lock();
    assert_eq!((&*state.told, state.most_inside), (&[0, 1, 2][..], 1));
}

#[test]
fn a_reporter_that_lets_go_of_its_producer_does_not_wait_for_itself() {
    // Reported by a thread of the hub, then by the sender itself.
    for refused in [false, true] {
        let script = Script::default();
        if refused {
            script.refuse("t", Error::Message("no".into()));
        }
        let slow = Arc::new(Slow::default());
        let (farewell, gone) = std::sync::mpsc::channel();
        let reporter = SaysFarewell(slow.clone(), Farewell(farewell));
        let producer = Producer::new(&script, options(), Arc::new(reporter)).expect("a producer");
        drop(send(&producer, "t", "1", Some(1)).expect("queued"));
        slow.state.lock().producer = Some(producer);
        slow.open();
        if !refused {
            script.wait_held(1);
            script.deliver(1);
        }
        slow.wait(|state| state.told == [1] && state.producer.is_none());
        *script.0.deliveries.lock() = None;
        gone.recv_timeout(SOON).expect("the producer did not end");
    }
}
