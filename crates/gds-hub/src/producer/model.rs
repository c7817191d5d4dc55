//! The producer under a model checker: callers, the sender and the hub's thread come in many orders, and for each what
//! one caller sent arrives in that order, once.
//!
//! `cargo test -p gds-hub --features shuttle --lib producer::model`

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::Arc;

use shuttle::thread;

use super::accept::Sent;
use super::delivery::DeliverySink;
use super::outcome::{Reported, Reporter};
use super::sender::Sender;
use super::spool::Spool;
use super::state::ProducerState;
use super::*;
use crate::headers::Headers;
use crate::hub::{Deliveries, Delivery};
use crate::sync::Mutex;

const SCHEDULES: usize = 1_000;
const CALLERS: u8 = 2;
const EACH: u8 = 8;

type Handed = (u64, Vec<u8>);

/// A hub whose thread is one of the model's.
#[derive(Default)]
struct Hub {
    held: Mutex<VecDeque<Handed>>,
    /// Values that arrived, in order.
    arrived: Mutex<Vec<Vec<u8>>>,
    deliveries: Mutex<Option<Arc<dyn Deliveries>>>,
    /// With every so manieth record the hub's client ends: all that it has come back, and it takes no more. A new one
    /// does, once that was said.
    ends_each: usize,
    published: Mutex<usize>,
    ended: Mutex<bool>,
}

impl fmt::Debug for Hub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hub")
    }
}

impl Publisher for Hub {
    fn publish(&self, id: u64, record: &Record<'_>) -> Result<()> {
        let mut held = self.held.lock();
        if std::mem::take(&mut *self.ended.lock()) {
            return Err(Error::Timeout(Failure::new("it has ended").retriable()));
        }
        if held.len() >= 3 {
            return Err(Error::Full(Failure::new("full").retriable()));
        }
        held.push_back((id, record.value.unwrap_or_default().to_vec()));
        *self.published.lock() += 1;
        Ok(())
    }

    fn in_flight(&self) -> usize {
        self.held.lock().len()
    }

    fn purge(&self) {}

    fn statistics(&self) -> BTreeMap<String, f64> {
        BTreeMap::new()
    }
}

impl Hub {
    /// Tells what became of the oldest record that it has, as its own thread would.
    fn tell(&self) {
        let Some((id, value)) = self.held.lock().front().cloned() else { return };
        let deliveries = self.deliveries.lock().clone().expect("set at the start");
        let published = *self.published.lock();
        if self.ends_each > 0 && published.is_multiple_of(self.ends_each) {
            *self.published.lock() += 1;
            let held = self.held.lock();
            *self.ended.lock() = true;
            let all: Vec<_> = held.iter().cloned().collect();
            drop(held);
            for (id, value) in &all {
                let record =
                    Record { topic: "t", value: Some(value), headers: Headers::default(), ..Record::default() };
                deliveries.failed(*id, &record, &Error::Timeout(Failure::new("later").retriable()));
            }
            self.held.lock().drain(..all.len());
        } else {
            self.arrived.lock().push(value);
            deliveries.delivered(id, &Delivery { topic: "t", partition: 0, offset: 0, timestamp: 0 });
            self.held.lock().pop_front();
        }
        deliveries.collected();
    }
}

#[derive(Debug)]
struct Nobody;

impl Reporter<u32> for Nobody {
    fn report(&self, _: Vec<Reported<u32>>) {}
}

fn run(durability: Durability, max_bytes: u64, ends_each: usize) {
    let dir = tempfile::tempdir().expect("a folder");
    let spool = SpoolOptions { dir: dir.path().to_owned(), durability, max_bytes };
    let mut frame = Vec::new();
    codec::write(&mut frame, &Record { topic: "t", value: Some(&[0; 2]), ..Record::default() });
    let options = ProducerOptions {
        buffer_bytes: queue::Memory::cost(&frame) * 3,
        on_full: OnFull::Block,
        linger: Duration::ZERO,
        long_linger: Duration::ZERO,
        spool: Some(spool.clone()),
        ..ProducerOptions::default()
    };
    let (spool, _) = Spool::open(&spool).expect("a spool");
    let shared = Arc::new(ProducerState::new(options, Some(spool), Arc::new(Nobody)));
    let hub = Arc::new(Hub { ends_each, ..Hub::default() });
    *hub.deliveries.lock() = Some(Arc::new(DeliverySink(shared.clone())));

    let callers: Vec<_> = (0..CALLERS)
        .map(|caller| {
            let shared = shared.clone();
            thread::spawn(move || {
                for number in 0..EACH {
                    let mut frame = Vec::new();
                    let record = Record { topic: "t", value: Some(&[caller, number]), ..Record::default() };
                    codec::write(&mut frame, &record);
                    // There is room for one who waits at a time.
                    let mut token = (number % 2 == 0).then_some(0);
                    while let Sent::Full(back) = shared.send(&frame, token, Linger::Short).expect("taken") {
                        token = back;
                        thread::yield_now();
                    }
                }
            })
        })
        .collect();
    let all = usize::from(CALLERS * EACH);
    let telling = {
        let hub = hub.clone();
        thread::spawn(move || {
            while hub.arrived.lock().len() < all {
                hub.tell();
                thread::yield_now();
            }
        })
    };
    let sender = Sender::new(&shared, &*hub);
    while hub.arrived.lock().len() < all {
        sender.round();
        thread::yield_now();
    }
    for thread in callers.into_iter().chain([telling]) {
        thread.join().expect("no panic");
    }
    for caller in 0..CALLERS {
        let arrived = hub.arrived.lock();
        let numbers: Vec<u8> = arrived.iter().filter(|value| value[0] == caller).map(|value| value[1]).collect();
        assert_eq!(numbers, (0..EACH).collect::<Vec<_>>(), "all: {:?}", *arrived);
    }
    assert_eq!(shared.unflushed(), 0);
    // The model's own order of things must not be asked for when it is over.
    *hub.deliveries.lock() = None;
}

#[test]
fn the_order_of_a_caller_stays_when_memory_overflows() {
    shuttle::check_random(|| run(Durability::Memory, 1 << 20, 0), SCHEDULES);
}

#[test]
fn the_order_of_a_caller_stays_when_the_spool_overflows_too() {
    // Room for a few records: segments of less than two.
    shuttle::check_random(|| run(Durability::Memory, 400, 0), SCHEDULES);
}

#[test]
fn the_order_of_a_caller_stays_when_records_come_back() {
    shuttle::check_random(|| run(Durability::Memory, 1 << 20, 5), SCHEDULES);
    shuttle::check_random(|| run(Durability::Process, 1 << 20, 5), SCHEDULES);
    shuttle::check_random(|| run(Durability::Disk, 1 << 20, 5), SCHEDULES / 10); // each record is waited for on the disk
}
