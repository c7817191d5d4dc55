//! What a report becomes, over a network that works.

use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::clock::Clock;
use crate::key::Change;
use crate::key::{Key, MetricKind, Scope};

use super::super::options::StatsdOptions;
use super::super::{Outcome, Reason};
use super::{Bench, Fate, key};

fn bench(options: &StatsdOptions) -> Bench {
    Bench::new(options, true)
}

/// The text that arrived since the last call.
fn arrived(bench: &mut Bench) -> String {
    bench.flush().unwrap();
    let packets = std::mem::take(&mut bench.wire.server.packets);
    packets.iter().map(|packet| std::str::from_utf8(packet).unwrap()).collect::<Vec<_>>().join("\n---\n")
}

#[test]
fn each_kind_has_its_type() {
    let mut bench = bench(&StatsdOptions { prefix: "app".into(), ..StatsdOptions::default() });
    for (kind, expected) in [
        (MetricKind::Counter, "app.x:1.5|c|#a:b"),
        (MetricKind::Gauge, "app.x:1.5|g|#a:b"),
        (MetricKind::Histogram, "app.x:1.5|h|#a:b"),
        (MetricKind::Timing, "app.x:1.5|ms|#a:b"),
    ] {
        assert_eq!(bench.aggregate.report(kind, Change::Report, &key("x", &[("a", "b")]), 1.5), Outcome::Counted);
        assert_eq!(arrived(&mut bench), expected);
    }
}

#[test]
fn the_method_decides_the_kind_and_the_view_does_not_matter() {
    let mut bench = bench(&StatsdOptions::default());
    for view in 0..3 {
        let key = Key { scope: Scope { view, kind: MetricKind::Gauge }, name: "x", labels: &[] };
        let _ = bench.aggregate.report(MetricKind::Counter, Change::Report, &key, 1.0);
    }
    assert_eq!(arrived(&mut bench), "x:3|c");
}

#[test]
fn a_counter_without_a_change_sends_nothing() {
    let mut bench = bench(&StatsdOptions::default());
    let _ = bench.aggregate.report(MetricKind::Counter, Change::Report, &key("x", &[]), 2.0);
    assert_eq!(arrived(&mut bench), "x:2|c");
    let _ = bench.aggregate.report(MetricKind::Counter, Change::Report, &key("x", &[]), 0.0);
    assert_eq!(arrived(&mut bench), "");
    let _ = bench.aggregate.report(MetricKind::Counter, Change::Report, &key("x", &[]), 1.0);
    assert_eq!(arrived(&mut bench), "x:1|c");
}

#[test]
fn a_gauge_is_sent_when_set_and_again_when_asked_for() {
    let clock = Clock::manual(1_000_000);
    let mut changes = bench(&StatsdOptions::default());
    let mut resent = bench(&StatsdOptions {
        gauge_resend_interval: Some(Duration::from_secs(10)),
        clock: clock.clone(),
        ..StatsdOptions::default()
    });
    for bench in [&mut changes, &mut resent] {
        let _ = bench.aggregate.report(MetricKind::Gauge, Change::Report, &key("x", &[]), 1.0);
        let _ = bench.aggregate.report(MetricKind::Gauge, Change::Report, &key("x", &[]), 2.0);
        assert_eq!(arrived(bench), "x:2|g");
        assert_eq!(arrived(bench), "");
    }
    let _ = changes.aggregate.report(MetricKind::Gauge, Change::Report, &key("x", &[]), 2.0);
    assert_eq!(arrived(&mut changes), "x:2|g", "set again to the same value");
    clock.advance(Duration::from_secs(10));
    assert_eq!(arrived(&mut resent), "x:2|g");
    assert_eq!(arrived(&mut resent), "");
}

#[test]
fn a_gauge_below_zero_is_the_same_to_every_server() {
    let mut bench = bench(&StatsdOptions::default());
    for value in [7.0, -5.0, -2.5, 3.0, -1.0] {
        let _ = bench.aggregate.report(MetricKind::Gauge, Change::Report, &key("x", &[("a", "b")]), value);
        bench.flush().unwrap();
        let server = bench.server();
        assert_eq!((server.plain_gauges["x|#a:b"], server.datadog_gauges["x|#a:b"]), (value, value));
    }
    assert_eq!(bench.server().packets[1], b"x:0|g|#a:b\nx:-5|g|#a:b");
}

#[test]
fn the_lines_of_a_gauge_below_zero_stay_together() {
    let mut bench = bench(&StatsdOptions { max_packet_bytes: Some(64), ..StatsdOptions::default() });
    for n in 0..20 {
        let _ = bench.aggregate.report(MetricKind::Gauge, Change::Report, &key(&format!("gauge{n}"), &[]), -1.0);
    }
    bench.flush().unwrap();
    for packet in &bench.server().packets {
        let text = std::str::from_utf8(packet).unwrap();
        let lines: Vec<_> = text.split('\n').collect();
        assert!(
            lines.len() % 2 == 0 && lines.chunks(2).all(|pair| pair[0].replace(":0|", ":-1|") == pair[1]),
            "{text}"
        );
    }
}

#[test]
fn what_the_protocol_cannot_say_is_dropped_with_its_reason() {
    let mut bench = bench(&StatsdOptions::default());
    let long = "x".repeat(1500);
    for (kind, name, value, reason) in [
        (MetricKind::Counter, "x", -1.0, Reason::NegativeIncrement),
        (MetricKind::Counter, "x", f64::NAN, Reason::NotFinite),
        (MetricKind::Counter, "x", f64::INFINITY, Reason::NotFinite),
        (MetricKind::Gauge, "x", f64::NEG_INFINITY, Reason::NotFinite),
        (MetricKind::Histogram, "x", f64::NAN, Reason::NotFinite),
        (MetricKind::Timing, "", 1.0, Reason::InvalidName),
        (MetricKind::Counter, &*long, 1.0, Reason::TooLong),
    ] {
        assert_eq!(
            bench.aggregate.report(kind, Change::Report, &key(name, &[]), value),
            Outcome::Dropped(reason),
            "{kind:?} {value}"
        );
    }
    assert_eq!(bench.aggregate.report(MetricKind::Counter, Change::Report, &key("x", &[]), f64::MAX), Outcome::Counted);
    let overflow = bench.aggregate.report(MetricKind::Counter, Change::Report, &key("x", &[]), f64::MAX);
    assert_eq!(overflow, Outcome::Dropped(Reason::SumNotFinite));
    assert_eq!(bench.aggregate.refused.load(Ordering::Relaxed), 8);
    assert_eq!(bench.aggregate.lines_too_long.load(Ordering::Relaxed), 1);
    bench.flush().unwrap();
    assert_eq!(bench.server().counters["x"], f64::MAX);
}

#[test]
fn reasons_have_distinct_label_values() {
    let names: std::collections::HashSet<_> = Reason::ALL.iter().map(|reason| reason.as_str()).collect();
    assert_eq!(names.len(), Reason::ALL.len());
    assert!(names.iter().all(|name| name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')));
}

#[test]
fn a_line_that_only_its_value_makes_too_long_is_counted_and_frees_its_place() {
    let mut bench = bench(&StatsdOptions { max_packet_bytes: Some(64), ..StatsdOptions::default() });
    for kind in MetricKind::ALL {
        assert_eq!(bench.aggregate.report(kind, Change::Report, &key("x", &[]), f64::MAX), Outcome::Counted);
        assert_eq!(bench.aggregate.report(kind, Change::Report, &key("y", &[]), 1.0), Outcome::Counted);
    }
    bench.flush().unwrap();
    assert_eq!(bench.server().lines, 4);
    assert_eq!(bench.aggregate.lines_too_long.load(Ordering::Relaxed), 4);
    assert_eq!(bench.aggregate.buffer.dropped.load(Ordering::Relaxed), 2);
    assert_eq!(bench.aggregate.buffer.taken(), 0);
    bench.wire.server.packets.clear();
    assert_eq!(arrived(&mut bench), "", "nothing is due any more");
}

#[test]
fn labels_in_any_order_share_a_series_and_few_of_them_an_entry() {
    let mut bench = bench(&StatsdOptions::default());
    let labels = [("a", "1"), ("b", "2"), ("c", "3"), ("d", "4")];
    let mut order = labels;
    for n in 0..24 {
        order.swap(n % 3, 3);
        order.rotate_left(n % 2 + 1);
        let _ = bench.aggregate.report(MetricKind::Counter, Change::Report, &key("x", &order), 1.0);
    }
    assert_eq!(arrived(&mut bench), "x:24|c|#a:1,b:2,c:3,d:4");
    assert_eq!(bench.aggregate.series.load(Ordering::Relaxed), 1);
    assert!((2..=8).contains(&bench.aggregate.known_keys()), "{}", bench.aggregate.known_keys());
}

#[test]
fn names_that_are_the_same_on_the_wire_share_a_series() {
    let mut bench = bench(&StatsdOptions::default());
    for name in ["a b", "a:b", "a_b"] {
        let _ = bench.aggregate.report(MetricKind::Gauge, Change::Report, &key(name, &[("t", "x|y")]), 1.0);
    }
    assert_eq!(arrived(&mut bench), "a_b:1|g|#t:x_y");
}

#[test]
fn beyond_max_series_one_series_takes_the_rest() {
    let constant_tags = vec![("env".to_owned(), "test".to_owned())];
    let mut bench = bench(&StatsdOptions { max_series: 3, constant_tags, ..StatsdOptions::default() });
    for _ in 0..2 {
        for n in 0..10 {
            let n = n.to_string();
            assert_eq!(
                bench.aggregate.report(MetricKind::Counter, Change::Report, &key("x", &[("n", &n)]), 1.0),
                Outcome::Counted
            );
        }
    }
    let _ = bench.aggregate.report(MetricKind::Counter, Change::Report, &key("other", &[]), 1.0);
    bench.flush().unwrap();
    let server = bench.server();
    assert_eq!(server.series().len(), 5);
    assert_eq!(server.counters["x|#env:test,overflow:true"], 14.0);
    assert_eq!(server.counters["x|#env:test,n:2"], 2.0);
    assert_eq!(server.counters["other|#env:test"], 1.0);
    assert_eq!(bench.aggregate.overflowed.load(Ordering::Relaxed), 14);
    assert_eq!(bench.aggregate.series.load(Ordering::Relaxed), 5);
    assert_eq!(bench.aggregate.known_keys(), 4);
}

#[test]
fn packets_are_filled_and_never_beyond_the_limit() {
    for limit in [64, 100, 1432] {
        let mut bench = bench(&StatsdOptions { max_packet_bytes: Some(limit), ..StatsdOptions::default() });
        for n in 0..500 {
            let _ = bench.aggregate.report(
                MetricKind::Counter,
                Change::Report,
                &key(&format!("name{n}"), &[("a", "b")]),
                f64::from(n) + 1.0,
            );
        }
        bench.flush().unwrap();
        let server = bench.server();
        assert!(server.longest_packet() <= limit);
        // No packet but the last has room for another line, the longest of which is this long with its newline.
        let line = "name499:500|c|#a:b\n".len();
        let (_, full) = server.packets.split_last().unwrap();
        assert!(full.iter().all(|packet| packet.len() + line > limit));
        assert_eq!(server.counters.values().sum::<f64>(), 125_250.0);
    }
}

#[test]
fn packed_values_are_one_line_within_the_limit() {
    let options = StatsdOptions { pack_values: true, max_packet_bytes: Some(64), ..StatsdOptions::default() };
    let mut bench = bench(&options);
    let _ = bench.aggregate.report(MetricKind::Counter, Change::Report, &key("c", &[]), 1.0);
    for n in 0..100 {
        let _ = bench.aggregate.report(MetricKind::Histogram, Change::Report, &key("x", &[("a", "b")]), f64::from(n));
    }
    bench.flush().unwrap();
    let server = bench.server();
    assert!(server.longest_packet() <= 64 && server.lines < 10, "{}", server.lines);
    let values: Vec<_> = server.samples["x|#a:b"].iter().map(|(value, _)| *value).collect();
    assert_eq!(values, (0..100).map(f64::from).collect::<Vec<_>>());
    assert!(server.packets[0].starts_with(b"c:1|c\nx:0:1:2:"));
}

#[test]
fn values_beyond_the_buffer_are_thinned_and_the_totals_stay_right() {
    for pack_values in [false, true] {
        let options = StatsdOptions { max_buffered_samples: 100, pack_values, ..StatsdOptions::default() };
        let mut bench = bench(&options);
        for n in 0..1234 {
            assert_eq!(
                bench.aggregate.report(MetricKind::Timing, Change::Report, &key("hot", &[]), f64::from(n)),
                Outcome::Counted
            );
        }
        for n in 0..50 {
            let name = format!("cold{n}");
            assert_eq!(
                bench.aggregate.report(MetricKind::Timing, Change::Report, &key(&name, &[]), 1.0),
                Outcome::Counted
            );
        }
        let full = bench.aggregate.report(MetricKind::Timing, Change::Report, &key("late", &[]), 1.0);
        assert_eq!(full, Outcome::Dropped(Reason::BufferFull));
        assert_eq!(bench.aggregate.buffer.taken(), 100);
        bench.flush().unwrap();
        let server = bench.server();
        assert_eq!((server.samples["hot"].len(), server.sample_count()), (50, 1284));
        assert_eq!(bench.aggregate.buffer.dropped.load(Ordering::Relaxed), 1);
        assert_eq!(bench.aggregate.buffer.thinned.load(Ordering::Relaxed), 1184);
        assert_eq!(bench.aggregate.buffer.taken(), 0);
        assert_eq!(
            bench.aggregate.report(MetricKind::Timing, Change::Report, &key("late", &[]), 1.0),
            Outcome::Counted
        );
    }
}

#[test]
fn a_socket_that_takes_less_than_the_setting_gets_less() {
    let mut bench = bench(&StatsdOptions { max_packet_bytes: Some(8192), ..StatsdOptions::default() });
    bench.wire.fates = vec![Fate::Limited(2048)];
    for n in 0..1000 {
        let _ = bench.aggregate.report(MetricKind::Counter, Change::Report, &key(&format!("name{n}"), &[]), 1.0);
        let _ = bench.aggregate.report(MetricKind::Histogram, Change::Report, &key("h", &[]), 1.0);
    }
    bench.flush().unwrap();
    let server = bench.server();
    assert!((2000..=2048).contains(&server.longest_packet()), "{}", server.longest_packet());
    assert_eq!((server.counters.len(), server.sample_count()), (1000, 1000));
    assert!(server.counters.values().all(|value| *value == 1.0));
}
