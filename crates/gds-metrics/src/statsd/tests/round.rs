//! What becomes of a packet that fails.

use std::io::ErrorKind;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Instant;

use crate::key::Change;
use crate::key::MetricKind;

use super::super::options::StatsdOptions;
use super::{Bench, Fate, key};

/// One of each kind for each of ten names: several packets of 64 bytes.
fn report_all(bench: &Bench) {
    for n in 0..10 {
        let name = format!("name{n}");
        for kind in MetricKind::ALL {
            let _ = bench.aggregate.report(kind, Change::Report, &key(&name, &[]), f64::from(n) + 1.0);
        }
    }
}

fn small() -> StatsdOptions {
    StatsdOptions { max_packet_bytes: Some(64), ..StatsdOptions::default() }
}

#[test]
fn what_did_not_fit_goes_with_the_next_flush_and_nothing_twice() {
    for certain in [true, false] {
        let mut bench = Bench::new(&small(), certain);
        report_all(&bench);
        bench.wire.fates = vec![Fate::Arrives, Fate::Arrives, Fate::Blocked, Fate::Arrives];
        assert_eq!(bench.flush().unwrap_err().kind(), ErrorKind::WouldBlock);
        assert_eq!(bench.server().packets.len(), 2);
        report_all(&bench);
        bench.flush().unwrap();
        let server = bench.server();
        assert_eq!(server.counters.values().sum::<f64>(), 110.0);
        assert_eq!(server.sample_count(), 40);
        assert_eq!(server.plain_gauges["name9"], 10.0);
        assert_eq!(bench.aggregate.buffer.taken(), 0);
        assert_eq!(bench.sent.packets_failed.load(Ordering::Relaxed), 1);
        assert_eq!(bench.sent.flushes_failed.load(Ordering::Relaxed), 1);
    }
}

#[test]
fn a_flush_that_ends_early_goes_on_where_it_stopped() {
    let mut bench = Bench::new(&small(), true);
    // Room for two packets in each flush, while everything is reported again: no series may starve.
    for _ in 0..10 {
        report_all(&bench);
        bench.wire.fates = vec![Fate::Arrives, Fate::Arrives, Fate::Blocked];
        assert!(bench.flush().is_err());
    }
    assert_eq!(bench.server().series().len(), 10);
}

#[test]
fn a_late_refusal_recalls_the_flush_before() {
    let mut bench = Bench::new(&small(), false);
    report_all(&bench);
    bench.wire.fates = vec![Fate::Refused];
    bench.wire.delay = 1000;
    bench.flush().unwrap();
    assert_eq!(bench.server().lines, 0);
    bench.wire.fates = vec![Fate::Arrives];
    bench.flush().unwrap();
    let server = bench.server();
    assert_eq!(server.counters.values().sum::<f64>(), 55.0);
    assert_eq!(server.plain_gauges.len(), 10);
    assert_eq!(server.sample_count(), 0);
    assert_eq!(bench.aggregate.buffer.dropped.load(Ordering::Relaxed), 20, "counted as lost");
    assert_eq!(bench.aggregate.buffer.taken(), 0);
}

#[test]
fn a_refusal_amid_a_flush_recalls_the_packets_before_it() {
    let mut bench = Bench::new(&small(), false);
    report_all(&bench);
    bench.wire.fates = vec![Fate::Refused];
    bench.wire.delay = 2;
    assert_eq!(bench.flush().unwrap_err().kind(), ErrorKind::ConnectionRefused);
    bench.wire.fates = vec![Fate::Arrives];
    bench.flush().unwrap();
    let server = bench.server();
    assert_eq!(server.counters.values().sum::<f64>(), 55.0);
    assert_eq!(server.sample_count() + bench.aggregate.buffer.dropped.load(Ordering::Relaxed), 20);
}

#[test]
fn a_flush_without_a_refusal_confirms_the_one_before() {
    let mut bench = Bench::new(&small(), false);
    report_all(&bench);
    bench.flush().unwrap();
    bench.flush().unwrap();
    // The server stops now: only what it refused is sent again.
    let _ = bench.aggregate.report(MetricKind::Counter, Change::Report, &key("name0", &[]), 1.0);
    bench.wire.fates = vec![Fate::Refused];
    bench.flush().unwrap();
    bench.wire.fates = vec![Fate::Arrives];
    bench.flush().unwrap();
    assert_eq!(bench.server().counters.values().sum::<f64>(), 56.0);
}

#[test]
fn values_that_arrive_during_flushes_are_sent_once() {
    let options = StatsdOptions { max_buffered_samples: 500, ..small() };
    let Bench { aggregate, mut sender, sent, mut wire } = Bench::new(&options, true);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for n in 0..20_000 {
                    let _ =
                        aggregate.report(MetricKind::Histogram, Change::Report, &key(["a", "b", "c"][n % 3], &[]), 1.0);
                }
            });
        }
        for n in 0..100 {
            // Every third flush breaks off after two packets.
            wire.fates =
                if n % 3 == 0 { vec![Fate::Arrives, Fate::Arrives, Fate::Blocked] } else { vec![Fate::Arrives] };
            let _ = sender.flush(&aggregate, &sent, &mut wire, Instant::now());
        }
    });
    wire.fates = vec![Fate::Arrives];
    sender.flush(&aggregate, &sent, &mut wire, Instant::now()).unwrap();
    assert_eq!(wire.server.sample_count() + aggregate.buffer.dropped.load(Ordering::Relaxed), 80_000);
    assert_eq!(aggregate.buffer.taken(), 0);
}
