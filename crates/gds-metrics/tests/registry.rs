//! The registry as its users see it: totals, families, limits, expiry.
#![allow(missing_docs, clippy::float_cmp)]

use std::collections::HashMap;
use std::sync::{Arc, Barrier};
use std::time::Duration;

use gds_metrics::clock::Clock;
use gds_metrics::family::Description;
use gds_metrics::format::Format;
use gds_metrics::key::Change;
use gds_metrics::key::MetricKind;
use gds_metrics::page::RegistryPage;
use gds_metrics::registry::{Refusal, Registry, RegistryOptions};
use gds_metrics::settings::ViewOptions;
use gds_metrics::view::View;
use proptest::prelude::*;

fn setup(options: RegistryOptions) -> (RegistryPage, View) {
    let registry = Registry::new(options);
    let view = registry.view(ViewOptions { prefix: "gds".to_owned(), ..ViewOptions::default() });
    (RegistryPage::new(registry, None), view)
}

fn text(page: &RegistryPage) -> String {
    String::from_utf8(page.write(Format::Text, &[]).expect("a page")).expect("UTF-8")
}

#[test]
fn eight_threads_count_exactly() {
    const EACH: u32 = 1_000_000;
    let (page, view) = setup(RegistryOptions::default());
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let view = view.clone();
            scope.spawn(move || {
                let own = thread.to_string();
                for _ in 0..EACH {
                    view.increment("shared", 1.0, &[("a", "b")], None).expect("counted");
                }
                for _ in 0..EACH / 10 {
                    view.histogram("spread", 0.5, &[("thread", &own)], None).expect("counted");
                }
            });
        }
        for _ in 0..20 {
            text(&page); // scrapes in between take nothing away
        }
    });
    assert_eq!(page.sample(&view, "shared", &[("a", "b")]).expect("read"), Some(8.0 * f64::from(EACH)));
    for thread in 0..8 {
        let own = thread.to_string();
        let count = page.sample(&view, "spread_count", &[("thread", &own)]).expect("read");
        assert_eq!(count, Some(f64::from(EACH / 10)));
    }
}

#[test]
fn label_order_makes_no_difference() {
    let (page, view) = setup(RegistryOptions::default());
    view.increment("x", 1.0, &[("a", "1"), ("b", "2")], None).expect("counted");
    view.increment("x", 1.0, &[("b", "2"), ("a", "1")], None).expect("counted");
    assert!(text(&page).contains("gds_x_total{a=\"1\",b=\"2\"} 2.0\n"));
}

#[test]
fn an_empty_label_is_an_absent_one() {
    let (page, view) = setup(RegistryOptions::default());
    view.increment("x", 1.0, &[("a", "")], None).expect("counted");
    view.increment("x", 1.0, &[], None).expect("counted");
    assert!(text(&page).contains("gds_x_total{a=\"\"} 2.0\n"));
    assert_eq!(page.sample(&view, "x", &[]).expect("read"), Some(2.0));
}

#[test]
fn names_that_sanitise_to_one_share_a_family() {
    let (page, view) = setup(RegistryOptions::default());
    for name in ["a.b", "a-b", "a b", "a_b_total"] {
        view.increment(name, 1.0, &[], None).expect("counted");
    }
    assert!(text(&page).contains("gds_a_b_total 4.0\n"));
}

#[test]
fn the_later_type_of_a_name_is_suffixed_and_said_once() {
    let (page, view) = setup(RegistryOptions::default());
    view.increment("x", 1.0, &[], None).expect("counted");
    for _ in 0..3 {
        view.gauge("x", 5.0, &[]).expect("counted");
    }
    let page = text(&page);
    assert!(page.contains("gds_x_total 1.0\n") && page.contains("gds_x_gauge 5.0\n"), "{page}");
    let said = view.registry().take_warnings();
    assert!(said.len() == 1 && said[0].contains("gds_x_gauge"), "{said:?}");
    assert!(view.registry().take_warnings().is_empty());
}

#[test]
fn no_metric_is_mistaken_for_the_registrys_own() {
    let (page, view) = setup(RegistryOptions::default());
    view.increment("metrics.dropped", 41.0, &[], None).expect("counted");
    view.gauge("metrics.series", 41.0, &[]).expect("counted");
    view.increment("x", -1.0, &[], None).expect_err("refused");
    let page = text(&page);
    assert!(page.contains("gds_metrics_dropped_total{reason=\"negative_increment\"} 1.0\n"), "{page}");
    assert!(page.contains("gds_metrics_dropped_counter_total 41.0\n"), "{page}");
    assert!(page.contains("gds_metrics_series_gauge 41.0\n"), "{page}");
}

#[test]
fn the_rest_goes_to_the_overflow_series_and_is_counted() {
    let registry = Registry::new(RegistryOptions::default());
    let view = registry.view(ViewOptions { max_series: 3, ..ViewOptions::default() });
    let page = RegistryPage::new(registry, None);
    view.describe("wide", Description { max_series: Some(5), ..Description::default() }).expect("described");
    for n in 0..10 {
        let n = n.to_string();
        for name in ["narrow", "wide"] {
            view.increment(name, 1.0, &[("n", &n)], None).expect("counted");
        }
    }
    let page = text(&page);
    assert!(page.contains("narrow_total{overflow=\"true\"} 7.0\n"), "{page}");
    assert!(page.contains("wide_total{overflow=\"true\"} 5.0\n"), "{page}");
    assert!(page.contains("gds_metrics_overflowed_total 12.0\n"), "{page}");
}

#[test]
fn series_that_nobody_updates_expire_and_start_anew() {
    let clock = Clock::manual(1_000_000);
    let expire_after = Some(Duration::from_secs(60));
    let (page, view) = setup(RegistryOptions { clock: clock.clone(), expire_after, ..RegistryOptions::default() });
    view.increment("x", 5.0, &[("a", "old")], None).expect("counted");
    view.increment("x", 5.0, &[("a", "used")], None).expect("counted");
    let kept = view.find(MetricKind::Counter, "x", &[("a", "old")]).expect("reported before");
    clock.advance(Duration::from_secs(50));
    view.increment("x", 1.0, &[("a", "used")], None).expect("counted");
    clock.advance(Duration::from_secs(50));
    let shown = text(&page);
    assert!(!shown.contains("old") && shown.contains("gds_x_total{a=\"used\"} 6.0\n"), "{shown}");
    let found = view.report_found(MetricKind::Counter, Change::Report, &kept, 1.0, None);
    assert!(!found, "an expired series is reported anew");
    view.increment("x", 1.0, &[("a", "old")], None).expect("counted");
    assert!(text(&page).contains("gds_x_total{a=\"old\"} 1.0\n"));
}

#[test]
fn expiry_and_counting_at_once_lose_nothing_that_is_alive() {
    let clock = Clock::manual(1_000_000);
    let expire_after = Some(Duration::from_millis(1));
    let (page, view) = setup(RegistryOptions { clock: clock.clone(), expire_after, ..RegistryOptions::default() });
    let page = &page;
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            for n in 0..200_000_u32 {
                let n = (n % 50).to_string();
                view.increment("x", 1.0, &[("n", &n)], None).expect("counted");
            }
        });
        while !writer.is_finished() {
            clock.advance(Duration::from_millis(2));
            text(page);
        }
    });
    view.increment("x", 1.0, &[("n", "0")], None).expect("counted");
    assert!(page.sample(&view, "x", &[("n", "0")]).expect("read").is_some());
}

#[test]
fn an_update_at_the_moment_of_expiry_is_not_lost() {
    let clock = Clock::manual(1_000_000);
    let expire_after = Some(Duration::from_millis(1));
    let (_, view) = setup(RegistryOptions { clock: clock.clone(), expire_after, ..RegistryOptions::default() });
    let at_once = Barrier::new(2);
    let total = || -> f64 {
        let families = view.registry().families();
        let mut total = 0.0;
        families.iter().filter(|family| &*family.name == "gds_x").for_each(|family| {
            family.for_each(|series| {
                if let gds_metrics::snapshot::Value::Number(value) = series.value() {
                    total = value;
                }
            });
        });
        total
    };
    // Told at the end: the other thread would wait for one that panicked.
    let mut wrong = Vec::new();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..20_000 {
                at_once.wait();
                view.registry().expire();
                at_once.wait();
            }
        });
        for round in 0..20_000 {
            view.increment("x", 1.0, &[], None).expect("counted");
            let kept = view.find(MetricKind::Counter, "x", &[]).expect("reported before");
            let before = total();
            clock.advance(Duration::from_millis(5));
            at_once.wait();
            for _ in 0..round % 64 {
                std::hint::spin_loop();
            }
            if !view.report_found(MetricKind::Counter, Change::Report, &kept, 1.0, None) {
                view.increment("x", 1.0, &[], None).expect("counted");
            }
            at_once.wait();
            // As it was and one more, or expired before that one.
            let after = total();
            if after != before + 1.0 && after != 1.0 {
                wrong.push(format!("{after} after {before} in round {round}"));
            }
        }
    });
    assert_eq!(wrong, [""; 0]);
}

#[test]
fn more_collectors_than_two_bytes_count_keep_their_prefixes() {
    let registry = Registry::new(RegistryOptions::default());
    let view = |prefix: &str| registry.view(ViewOptions { prefix: prefix.to_owned(), ..ViewOptions::default() });
    let views: Vec<View> = (0..65_600).map(|n| view(&format!("p{n}"))).collect();
    for (n, view) in views.iter().enumerate().skip(65_500) {
        for _ in 0..=n - 65_500 {
            view.increment("x", 1.0, &[], None).expect("counted");
        }
    }
    let page = RegistryPage::new(registry, None);
    for (n, view) in views.iter().enumerate().skip(65_500) {
        assert_eq!(page.sample(view, "x", &[]).expect("read"), Some((n - 65_499) as f64), "collector {n}");
    }
}

#[test]
fn a_removed_series_leaves_the_page_and_starts_anew() {
    let (page, view) = setup(RegistryOptions::default());
    for n in 0..1_000 {
        let n = n.to_string();
        view.increment("x", 5.0, &[("n", &n)], None).expect("counted");
        assert!(n == "0" || view.remove("x", &[("n", &n)]));
    }
    assert!(!view.remove("x", &[("n", "1")]) && !view.remove("y", &[]));
    view.increment("x", 1.0, &[("n", "1")], None).expect("counted");
    let shown = text(&page);
    let samples: Vec<_> = shown.lines().filter(|line| line.starts_with("gds_x_total")).collect();
    assert_eq!(samples, [r#"gds_x_total{n="0"} 5.0"#, r#"gds_x_total{n="1"} 1.0"#]);
    assert_eq!(
        page.sample(&view, "gds_metrics_series", &[]).expect("read"),
        Some(3.0),
        "these and the last scrape's time"
    );
}

#[test]
fn a_gauge_goes_up_and_down_from_wherever_it_is() {
    let (page, view) = setup(RegistryOptions::default());
    let add = |delta| view.report(MetricKind::Gauge, Change::Add, "busy", delta, &[], None);
    add(2.0).expect("counted");
    add(-1.0).expect("counted");
    assert_eq!(page.sample(&view, "busy", &[]).expect("read"), Some(1.0));
    view.gauge("busy", 10.0, &[]).expect("counted");
    add(-1.0).expect("counted");
    assert_eq!(page.sample(&view, "busy", &[]).expect("read"), Some(9.0));
    assert_eq!(add(f64::NAN), Err(Refusal::InvalidValue));
}

#[test]
fn an_observation_of_nan_is_dropped_and_counted() {
    let (page, view) = setup(RegistryOptions::default());
    assert_eq!(view.histogram("x", f64::NAN, &[], None), Err(Refusal::InvalidValue));
    assert_eq!(view.timing("took", f64::NAN, &[], None), Err(Refusal::InvalidValue));
    view.histogram("x", 1.0, &[], None).expect("counted");
    let shown = text(&page);
    assert!(shown.contains("gds_x_sum 1.0\n") && shown.contains("gds_x_count 1.0\n"), "{shown}");
    assert!(shown.contains("gds_metrics_dropped_total{reason=\"invalid_value\"} 2.0\n"), "{shown}");
}

#[test]
fn a_description_comes_before_the_values_it_shapes() {
    let (page, view) = setup(RegistryOptions::default());
    let described = |buckets: &[f64]| Description {
        help: Some("How long.".to_owned()),
        buckets: Some(Arc::from(buckets)),
        ..Description::default()
    };
    view.describe("took", described(&[1.0, 2.0])).expect("described");
    view.timing("took", 1500.0, &[], None).expect("counted");
    let shown = text(&page);
    assert!(
        shown.contains("# HELP gds_took How long.\n") && shown.contains("gds_took_bucket{le=\"2.0\"} 1.0\n"),
        "{shown}"
    );
    assert!(shown.contains("gds_took_sum 1.5\n"), "{shown}");
    let error = view.describe("took", described(&[3.0])).expect_err("too late").to_string();
    assert!(error.contains("before its first use"), "{error}");
    for wrong in [&[][..], &[2.0, 1.0], &[1.0, f64::INFINITY], &[f64::NAN]] {
        view.describe("other", described(wrong)).expect_err("no buckets");
    }
}

#[test]
fn an_empty_name_is_refused_and_counted() {
    let (page, view) = setup(RegistryOptions::default());
    assert_eq!(view.gauge("", 1.0, &[]), Err(Refusal::InvalidName));
    assert!(text(&page).contains("gds_metrics_dropped_total{reason=\"invalid_name\"} 1.0\n"));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn totals_equal_a_model(
        updates in prop::collection::vec(("[a-c.]{1,2}", prop::collection::btree_map("[a-b]", "[ab=,\"\\\\\n]{0,5}", 0..3), 0_u32..1000), 0..200),
    ) {
        let (page, view) = setup(RegistryOptions::default());
        let mut model: HashMap<_, f64> = HashMap::new();
        for (name, labels, value) in &updates {
            let pairs: Vec<_> = labels.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
            view.increment(name, f64::from(*value), &pairs, None).expect("counted");
            let shown: Vec<_> = pairs.into_iter().filter(|(_, value)| !value.is_empty()).collect();
            *model.entry((name.replace('.', "_"), shown)).or_default() += f64::from(*value);
        }
        for ((name, labels), total) in model {
            prop_assert_eq!(page.sample(&view, &name, &labels).expect("read"), Some(total), "{} {:?}", name, labels);
        }
    }

    #[test]
    fn any_text_makes_a_page_of_well_formed_lines(name in ".*", label in ".*", value in ".*", number in prop::num::f64::ANY) {
        let (page, view) = setup(RegistryOptions::default());
        let labels = [(label.as_str(), value.as_str())];
        let _ = view.increment(&name, number, &labels, None);
        let _ = view.gauge(&name, number, &labels);
        let _ = view.histogram(&name, number, &labels, None);
        let _ = view.timing(&name, number, &labels, None);
        for line in text(&page).lines().filter(|line| !line.starts_with('#')) {
            let (series, number) = line.rsplit_once(' ').expect("a number");
            let number = number.trim_start_matches('+');
            prop_assert!(number.parse::<f64>().is_ok(), "{}", line);
            let bare = series.split('{').next().expect("a name");
            prop_assert!(bare.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == ':'), "{}", line);
        }
    }
}
