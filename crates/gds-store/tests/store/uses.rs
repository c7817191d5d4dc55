//! What is appended, read, deleted and kept.

use std::sync::Arc;

use gds_promql::api::Metadata;
use gds_promql::histogram::{Buckets, FloatHistogram};
use gds_promql::matcher::{MatchOp, Matcher};
use gds_promql::source::{Select, Source, find_labels};
use gds_promql::value::{STALE_NAN, Sample};
use gds_store::{Error, Limits, Options, RetentionClass, Row, Store};

use crate::support::*;

/// What is asked in memory, in parts, and in parts that were merged.
fn everywhere(check: impl Fn(&Store)) -> impl Fn(&Store) {
    move |store| {
        check(store);
        store.flush().expect("flushed");
        check(store);
        store.maintain().expect("maintained");
        check(store);
    }
}

fn merging() -> Options {
    Options { merge_at: 2, ..options() }
}

#[test]
fn samples_of_any_age_and_order_are_read_by_time_and_the_last_of_a_time_counts() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path(), merging()).unwrap();
    let labels = series("up", 1);
    for (time, value) in [(NOON, 1.0), (NOON - 3 * DAY, 2.0), (NOON - 10, 3.0), (NOON, 4.0), (NOON - 10, 5.0)] {
        put(&store, &labels, time, value);
    }
    let expected = [(NOON - 3 * DAY, 2.0), (NOON - 10, 5.0), (NOON, 4.0)];
    everywhere(|store| assert_eq!(of(store, &labels), expected))(&store);
    assert_eq!(store.stats().duplicates, 2);
    put(&store, &labels, NOON - 10, 6.0);
    let expected = [(NOON - 3 * DAY, 2.0), (NOON - 10, 6.0), (NOON, 4.0)];
    everywhere(|store| assert_eq!(of(store, &labels), expected))(&store);
    assert_eq!((store.stats().duplicates, store.stats().parts), (3, 2));
    drop(store);
    assert_eq!(of(&open(folder.path()), &labels), expected);
}

#[test]
fn all_bits_of_a_number_and_its_start_come_back() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path(), merging()).unwrap();
    let labels = series("odd", 1);
    let odd = [STALE_NAN, f64::NAN.to_bits(), 0x7ff8_dead_beef_0001, (-0.0f64).to_bits(), 1, f64::MAX.to_bits()];
    for (at, bits) in (0i64..).zip(odd) {
        let value = Sample::Float(f64::from_bits(bits));
        store.append(&[Row { labels: &labels, time: NOON + at, start: at * 7, value }]).unwrap();
    }
    everywhere(|store| {
        let expected: Vec<_> = (NOON..).zip(odd).collect();
        assert_eq!(all(store)[&labels.to_string()], expected);
        let request = Select { matchers: &[], start: NOON, end: NOON + 10, step: 0 };
        let found = store.select(&request).unwrap().next().unwrap().unwrap();
        assert_eq!(found.samples.floats.starts, [0, 7, 14, 21, 28, 35]);
    })(&store);
}

#[test]
fn native_histograms_are_kept_beside_numbers() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path(), merging()).unwrap();
    let labels = series("latency", 1);
    let histogram = |count: f64| {
        Arc::new(FloatHistogram {
            schema: 3,
            count,
            sum: 0.1 * count,
            positive: Buckets::from_offset(-4, vec![count, 0.0, 1.5]),
            ..FloatHistogram::default()
        })
    };
    let mut rows = Vec::new();
    for at in 0..5u8 {
        let value = if at == 2 { Sample::Float(7.0) } else { Sample::Histogram(histogram(f64::from(at))) };
        rows.push(Row { labels: &labels, time: NOON + i64::from(at), start: 0, value });
    }
    store.append(&rows).unwrap();
    // One takes the place of a number at the same time.
    store
        .append(&[Row { labels: &labels, time: NOON + 2, start: 0, value: Sample::Histogram(histogram(2.0)) }])
        .unwrap();
    everywhere(|store| {
        let request = Select { matchers: &[], start: NOON, end: NOON + 10, step: 0 };
        let found = store.select(&request).unwrap().next().unwrap().unwrap();
        assert!(found.samples.floats.times.is_empty());
        let histograms = &found.samples.histograms;
        assert_eq!(histograms.times, (NOON..NOON + 5).collect::<Vec<_>>());
        for (at, own) in (0u8..).zip(&histograms.values) {
            assert!(own.same_data(&histogram(f64::from(at))), "{own}");
        }
    })(&store);
}

#[test]
fn matchers_choose_series_in_memory_and_in_parts_alike() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    for instance in 0..12 {
        put(&store, &series("up", instance), NOON, f64::from(instance));
        put(&store, &series("down", instance), NOON, 1.0);
    }
    let matcher = |name: &str, op, value: &str| Matcher::new(name, op, value).unwrap();
    let cases = [
        (vec![Matcher::equal("__name__", "up")], 12),
        (vec![Matcher::equal("__name__", "up"), matcher("instance", MatchOp::Regex, "1.?")], 3),
        (vec![Matcher::equal("__name__", "up"), matcher("instance", MatchOp::NotRegex, "1.?")], 9),
        (vec![matcher("instance", MatchOp::Equal, "3")], 2),
        (vec![matcher("instance", MatchOp::NotEqual, "3")], 22),
        (vec![matcher("none", MatchOp::Equal, "")], 24),
        (vec![matcher("none", MatchOp::NotEqual, "")], 0),
        (vec![matcher("none", MatchOp::Regex, ".*"), matcher("__name__", MatchOp::Regex, "d.+")], 12),
        (vec![matcher("job", MatchOp::Equal, "")], 0),
        (vec![Matcher::equal("__name__", "other")], 0),
    ];
    let check = |store: &Store| {
        for (matchers, count) in &cases {
            assert_eq!(read(store, matchers, NOON, NOON).len(), *count, "{matchers:?}");
            assert_eq!(read(store, matchers, NOON + 1, NOON + 2).len(), 0, "{matchers:?}");
        }
    };
    check(&store);
    store.flush().unwrap();
    assert_eq!(store.stats().head_series, 0);
    check(&store);
}

#[test]
fn a_deletion_is_seen_at_once_and_spares_what_comes_afterwards() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path(), merging()).unwrap();
    let (one, other) = (series("up", 1), series("up", 2));
    for minute in 0..10 {
        put(&store, &one, NOON + minute, 1.0);
        put(&store, &other, NOON + minute, 1.0);
        if minute == 4 {
            store.flush().unwrap();
        }
    }
    let matchers = [Matcher::equal("instance", "1")];
    let counted = store.delete_dry_run(&matchers, NOON + 3, NOON + 6).unwrap();
    assert_eq!((counted.series, counted.samples), (1, 4));
    assert_eq!(of(&store, &one).len(), 10, "nothing is deleted yet");
    assert_eq!(store.delete(&matchers, NOON + 3, NOON + 6).unwrap(), counted);
    let left = |store: &Store| of(store, &one).iter().map(|(time, _)| time - NOON).collect::<Vec<_>>();
    assert_eq!(left(&store), [0, 1, 2, 7, 8, 9]);
    put(&store, &one, NOON + 5, 2.0);
    let store = {
        drop(store);
        Store::open(folder.path(), merging()).unwrap()
    };
    assert_eq!(left(&store), [0, 1, 2, 5, 7, 8, 9], "it is known when the store is opened again");
    everywhere(|store| {
        assert_eq!(left(store), [0, 1, 2, 5, 7, 8, 9]);
        assert_eq!(of(store, &other).len(), 10);
    })(&store);
    let stats = store.stats();
    assert_eq!((stats.deletions, stats.part_samples), (0, 17), "the space is given back");
    assert!(matches!(store.delete(&[], 0, 1), Err(Error::Setting(_))), "everything is not deleted by mistake");
}

#[test]
fn each_class_is_kept_for_its_time() {
    let folder = tempfile::tempdir().unwrap();
    let clock = Clock::at(NOON);
    let class = |name: &str, metric: &str, days| RetentionClass {
        name: name.to_owned(),
        matchers: vec![Matcher::equal("__name__", metric)],
        retention: days * DAY,
    };
    let options = || Options {
        retention: 3 * DAY,
        classes: vec![class("short", "debug", 1), class("long", "billing", 100)],
        ..clock.options()
    };
    let store = Store::open(folder.path(), options()).unwrap();
    for metric in ["debug", "up", "billing"] {
        let labels = series(metric, 1);
        for day in [0, 2, 50, 200] {
            store.append(&[number(&labels, NOON - day * DAY, 1.0)]).unwrap();
        }
    }
    assert_eq!((store.stats().accepted, store.stats().too_old), (6, 6));
    store.flush().unwrap();
    let held = |store: &Store| ["debug", "up", "billing"].map(|metric| of(store, &series(metric, 1)).len());
    assert_eq!(held(&store), [1, 2, 3]);
    clock.set(NOON + 2 * DAY);
    assert_eq!(store.maintain().unwrap().expired, 2);
    assert_eq!(held(&store), [0, 1, 3]);
    drop(store);
    assert_eq!(held(&Store::open(folder.path(), options()).unwrap()), [0, 1, 3]);
    let parts = std::fs::read_dir(folder.path().join("parts")).unwrap().count();
    assert_eq!(parts, 4, "nothing of what expired is on the disk");
}

#[test]
fn series_beyond_their_limit_are_refused_and_counted() {
    let folder = tempfile::tempdir().unwrap();
    let limits = Limits { series_per_metric: Some(2), series_per_tenant: Some(3), tenant_label: "job".to_owned() };
    let store = Store::open(folder.path(), Options { limits: limits.clone(), ..options() }).unwrap();
    for instance in 0..4 {
        put(&store, &series("up", instance), NOON, 1.0);
    }
    for instance in 0..2 {
        put(&store, &series("down", instance), NOON, 1.0);
    }
    let stats = store.stats();
    assert_eq!((stats.accepted, stats.over_limit, stats.head_series), (3, 3, 3));
    assert_eq!(put(&store, &series("up", 0), NOON + 1, 1.0).accepted, 1, "a series that is there goes on");
    drop(store);
    let store = Store::open(folder.path(), Options { limits, ..options() }).unwrap();
    assert_eq!(put(&store, &series("up", 7), NOON, 1.0).over_limit, 1, "they are counted when the log is read");
    store.flush().unwrap();
    assert_eq!(put(&store, &series("up", 7), NOON, 1.0).accepted, 1, "those that ended count no more");
}

#[test]
fn too_much_in_memory_is_refused_until_it_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let store =
        Store::open(folder.path(), Options { flush_bytes: 10_000, max_head_bytes: 20_000, ..options() }).unwrap();
    let mut instance = 0;
    let error = loop {
        let labels = series("up", instance);
        match store.append(&[number(&labels, NOON, 1.0)]) {
            Ok(_) => instance += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(error, Error::HeadFull { .. }) && error.retriable(), "{error}");
    assert!(store.maintain().unwrap().flushed > 0);
    put(&store, &series("up", 0), NOON, 1.0);
    assert_eq!(u32::try_from(all(&store).len()).unwrap(), instance);
}

#[test]
fn parts_are_written_when_samples_are_old_and_merged_when_their_day_is_over() {
    let folder = tempfile::tempdir().unwrap();
    let clock = Clock::at(NOON);
    let store = Store::open(folder.path(), clock.options()).unwrap();
    for hour in 0..3 {
        clock.set(NOON + hour * 3_600_000);
        put(&store, &series("up", 1), NOON + hour * 3_600_000, 1.0);
        store.maintain().unwrap();
    }
    assert_eq!((store.stats().parts, store.stats().head_series), (1, 0));
    put(&store, &series("up", 1), NOON + 1, 1.0);
    store.flush().unwrap();
    assert_eq!(store.stats().parts, 2);
    clock.set(NOON + DAY);
    assert_eq!(store.maintain().unwrap().merged, 2);
    assert_eq!((store.stats().parts, of(&store, &series("up", 1)).len()), (1, 4));
}

#[test]
fn settings_that_cannot_be_are_refused_with_what_was_expected() {
    let folder = tempfile::tempdir().unwrap();
    let class = |name: &str, retention| RetentionClass { name: name.to_owned(), matchers: Vec::new(), retention };
    for (options, expected) in [
        (Options { shards: 0, ..options() }, "expected shards from 1 to 256, got 0"),
        (Options { retention: 0, ..options() }, "expected retention in milliseconds above zero, got 0"),
        (Options { merge_at: 1, ..options() }, "expected merge_at of 2 or more parts, got 1"),
        (
            Options { max_head_bytes: 1, ..options() },
            "expected flush_bytes of at most max_head_bytes, 1, got 268435456",
        ),
        (Options { classes: vec![class("a b", 1)], ..options() }, "for a class, got \"a b\""),
        (
            Options { classes: vec![class("a", 1), class("a", 1)], ..options() },
            "expected each class once, got \"a\" twice",
        ),
        (
            Options { classes: vec![class("a", -1)], ..options() },
            "expected retention of class \"a\" above zero, got -1",
        ),
    ] {
        let error = Store::open(folder.path(), options).err().expect("refused").to_string();
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn one_process_writes_and_others_read() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    put(&store, &series("up", 1), NOON, 1.0);
    store.flush().unwrap();
    put(&store, &series("up", 1), NOON + 1, 2.0);
    let error = Store::open(folder.path(), options()).err().expect("refused");
    assert!(matches!(error, Error::Locked { .. }) && error.retriable(), "{error}");
    let reader = Store::open_read_only(folder.path(), options()).unwrap();
    assert_eq!(of(&reader, &series("up", 1)), [(NOON, 1.0), (NOON + 1, 2.0)]);
    let refused = [
        reader.append(&[]).err(),
        reader.flush().err(),
        reader.maintain().err(),
        reader.delete(&[Matcher::equal("a", "b")], 0, 1).err(),
    ];
    assert!(refused.iter().all(|error| matches!(error, Some(Error::ReadOnly))));
}

#[test]
fn files_are_readable_by_their_owner_alone() {
    use std::os::unix::fs::PermissionsExt;

    fn look(folder: &std::path::Path, seen: &mut usize) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let metadata = path.metadata().unwrap();
            let expected = if metadata.is_dir() { 0o700 } else { 0o600 };
            assert_eq!(metadata.permissions().mode() & 0o777, expected, "{}", path.display());
            *seen += 1;
            if metadata.is_dir() {
                look(&path, seen);
            }
        }
    }
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder.path().join("store"));
    put(&store, &series("up", 1), NOON, 1.0);
    store.flush().unwrap();
    put(&store, &series("up", 1), NOON, 1.0);
    store.backup(folder.path().join("backup")).unwrap();
    let mut seen = 0;
    look(folder.path(), &mut seen);
    assert!(seen > 15, "{seen}");
}

#[test]
fn labels_are_told_of_series_that_are_left() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path(), merging()).unwrap();
    for instance in 1..=3 {
        put(&store, &series("up", instance), NOON, 1.0);
    }
    put(&store, &series("down", 1), NOON + 10, 1.0);
    let told = |matchers: &[Matcher], start, end| -> Vec<String> {
        let found = find_labels(&store, &[matchers.to_vec()], start, end).unwrap();
        found.iter().map(|labels| format!("{}{}", labels.metric_name(), labels.get("instance"))).collect()
    };
    let up = [Matcher::equal("__name__", "up")];
    everywhere(|_| {
        assert_eq!(told(&[], i64::MIN, i64::MAX), ["down1", "up1", "up2", "up3"]);
        assert_eq!(told(&up, NOON, NOON), ["up1", "up2", "up3"]);
        assert_eq!(told(&[], NOON + DAY, i64::MAX), [""; 0]);
    })(&store);
    store.delete(&[Matcher::equal("instance", "2")], i64::MIN, i64::MAX).unwrap();
    everywhere(|_| assert_eq!(told(&up, NOON, NOON), ["up1", "up3"]))(&store);
    put(&store, &series("up", 2), NOON, 2.0);
    everywhere(|_| assert_eq!(told(&up, NOON, NOON), ["up1", "up2", "up3"]))(&store);
}

#[test]
fn what_metrics_are_is_kept_until_something_else_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder.path().join("store"));
    let said = |r#type: &str, help: &str| Metadata { r#type: r#type.into(), help: help.into(), unit: "bytes".into() };
    let of = |name: &str, metadata: Metadata| (name.to_owned(), metadata);
    let two = [of("up", said("gauge", "Whether.")), of("sent_total", said("counter", "How much."))];
    assert_eq!(store.set_metadata(two.clone()).unwrap(), 2);
    assert_eq!(store.set_metadata(two).unwrap(), 0, "nothing is written for what is known");
    assert_eq!(store.set_metadata([of("up", said("gauge", "Whether it is."))]).unwrap(), 1);
    for (name, metadata, expected) in [
        ("", said("gauge", ""), "empty"),
        ("up", said("number", ""), "type \"number\""),
        ("up", said("gauge", &"x".repeat(5_000)), "at most 4096"),
    ] {
        let error = store.set_metadata([of("down", said("gauge", "")), of(name, metadata)]).unwrap_err();
        assert!(matches!(&error, Error::Setting(text) if text.contains(expected)), "{error}");
    }
    store.flush().unwrap();
    store.backup(folder.path().join("backup")).unwrap();
    drop(store);
    for path in ["store", "backup"] {
        let store = Store::open_read_only(folder.path().join(path), options()).unwrap();
        let found = store.metadata();
        assert_eq!(found.keys().collect::<Vec<_>>(), ["sent_total", "up"]);
        assert_eq!(found["up"], said("gauge", "Whether it is."));
        assert!(matches!(store.set_metadata([of("up", said("gauge", ""))]), Err(Error::ReadOnly)));
    }
}
