//! What the embedded hub costs: messages of 200 bytes, published and polled.
#![allow(missing_docs)] // what criterion's macros define

use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use gds_hub::embedded::{Embedded, EmbeddedOptions, Retention};
use gds_hub::{Batch, Deliveries, Delivery, Error, Hub, Position, Record, Subscription};

const MESSAGES: u64 = 100_000;

#[derive(Default)]
struct DeliveryCounter(AtomicU64);

impl Deliveries for DeliveryCounter {
    fn delivered(&self, _: u64, _: &Delivery<'_>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn failed(&self, _: u64, _: &Record<'_>, error: &Error) {
        panic!("{error}");
    }
}

fn open(dir: &tempfile::TempDir) -> Embedded {
    // So that the disk is not what is measured.
    let retention = Retention { bytes: Some(256 << 20), age_ms: None };
    Embedded::open(dir.path(), EmbeddedOptions { retention, ..EmbeddedOptions::default() }).expect("opened")
}

fn publish(criterion: &mut Criterion) {
    let dir = tempfile::tempdir().expect("a folder");
    let hub = open(&dir);
    let deliveries = Arc::new(DeliveryCounter::default());
    let publisher = hub.publisher(deliveries.clone()).expect("a publisher");
    let record = Record { topic: "metrics", key: Some(b"host"), value: Some(&[7; 200]), ..Record::default() };
    let mut group = criterion.benchmark_group("embedded/publish");
    group.throughput(Throughput::Elements(1));
    let mut published = 0;
    group.bench_function("keyed", |bencher| {
        bencher.iter(|| {
            publisher.publish(published, black_box(&record)).expect("taken");
            published += 1;
        });
    });
    assert_eq!(deliveries.0.load(Ordering::Relaxed), published);
}

fn poll(criterion: &mut Criterion) {
    let dir = tempfile::tempdir().expect("a folder");
    let hub = open(&dir);
    let publisher = hub.publisher(Arc::new(DeliveryCounter::default())).expect("a publisher");
    let record = Record { topic: "metrics", key: Some(b"host"), value: Some(&[7; 200]), ..Record::default() };
    for id in 0..MESSAGES {
        publisher.publish(id, &record).expect("taken");
    }
    let (topics, group) = (vec!["metrics".to_owned()], Some("readers".to_owned()));
    let subscription = Subscription { topics, group, ..Subscription::default() };
    let mut reader = hub.subscribe(&subscription).expect("subscribed");
    let start = Position { topic: Arc::from("metrics"), partition: 0, offset: 0 };
    let mut batch = Batch::default();
    let mut group = criterion.benchmark_group("embedded/poll");
    group.throughput(Throughput::Elements(MESSAGES));
    group.bench_function("500 and commit", |bencher| {
        bencher.iter(|| {
            reader.seek(&start).expect("sought");
            let mut read = 0;
            while read < MESSAGES {
                batch.clear();
                reader.poll(&mut batch, 500, Duration::ZERO).expect("polled");
                for message in batch.iter() {
                    assert_eq!(black_box(message.value).map(<[u8]>::len), Some(200));
                }
                read += batch.len() as u64;
                let offset = batch.get(batch.len() - 1).expect("a message").offset + 1;
                reader.commit(&[Position { offset, ..start.clone() }], true).expect("committed");
            }
        });
    });
}

criterion_group!(benches, publish, poll);
criterion_main!(benches);
