//! What a query may use up, and what it asks of its source.

use std::cell::RefCell;
use std::time::Duration;

use gds_promql::engine::{Cancel, Engine, EngineOptions, When};
use gds_promql::error::{Error, Limit};
use gds_promql::labels::Labels;
use gds_promql::memory::MemorySource;
use gds_promql::parser::parse;
use gds_promql::source::{Select, SeriesIter, Source, SourceError};
use gds_promql::value::{Sample, Value};

/// Ten series with a sample every ten seconds, for an hour.
fn source() -> MemorySource {
    let mut source = MemorySource::new();
    for instance in 0..10 {
        let labels = Labels::from_pairs([("__name__", "up"), ("instance", &instance.to_string())]);
        for at in 0..360 {
            source.append(&labels, at * 10_000, 0, Sample::Float(1.0));
        }
    }
    source
}

const HOUR: When = When::Range { start: 0, end: 3_600_000, step: 15_000 };

fn evaluate(query: &str, options: EngineOptions, when: When) -> Result<Value, Error> {
    let answer = Engine::new(options).evaluate(&parse(query).unwrap(), &source(), when, &Cancel::new())?;
    Ok(answer.value)
}

fn limit(query: &str, options: EngineOptions) -> Option<Limit> {
    match evaluate(query, options, HOUR) {
        Err(error @ Error::Limit { limit, .. }) => {
            assert!(!error.retriable());
            Some(limit)
        }
        other => {
            other.unwrap();
            None
        }
    }
}

#[test]
fn a_query_that_needs_too_much_ends_with_the_name_of_its_limit() {
    let options = EngineOptions::default;
    assert_eq!(limit("up", options()), None);
    assert_eq!(limit("up", EngineOptions { max_samples: 3_599, ..options() }), Some(Limit::Samples));
    assert_eq!(limit("up", EngineOptions { max_series: 9, ..options() }), Some(Limit::Series));
    assert_eq!(limit("up + 1", EngineOptions { max_bytes: 10_000, ..options() }), Some(Limit::Bytes));
}

#[test]
fn series_without_many_values_are_counted_for_what_they_take_besides() {
    let options = EngineOptions { max_bytes: 2_000, ..EngineOptions::default() };
    let error = evaluate("up", options, When::Instant(60_000)).unwrap_err();
    assert_eq!(error, Error::Limit { limit: Limit::Bytes, allowed: 2_000 });
}

#[test]
fn an_aggregation_holds_its_groups_rather_than_its_series() {
    // A column of 241 steps takes some 2 kB: ten of them do not fit, the two of a series and its group do.
    let options = EngineOptions { max_bytes: 12_000, ..EngineOptions::default() };
    assert_eq!(limit("sum(rate(up[5m]))", options.clone()), None);
    assert_eq!(limit("rate(up[5m])", options), Some(Limit::Bytes));
}

#[test]
fn steps_that_would_take_all_memory_are_refused_before_any_is_taken() {
    let endless = When::Range { start: 0, end: i64::MAX / 2, step: 1 };
    for query in ["1", "absent(up)", "vector(1) or up"] {
        let error = evaluate(query, EngineOptions::default(), endless).unwrap_err();
        assert!(matches!(error, Error::Limit { limit: Limit::Bytes, .. }), "{query}: {error}");
    }
    let error = evaluate("up[100y:1ms]", EngineOptions::default(), When::Instant(0)).unwrap_err();
    assert!(matches!(error, Error::Limit { limit: Limit::Bytes, .. }), "{error}");
}

#[test]
fn a_query_that_takes_too_long_ends() {
    let error =
        evaluate("up", EngineOptions { timeout: Duration::ZERO, ..EngineOptions::default() }, HOUR).unwrap_err();
    assert_eq!(error, Error::Timeout);
    assert!(error.retriable());
}

#[test]
fn a_step_that_is_not_positive_is_refused() {
    let error = evaluate("up", EngineOptions::default(), When::Range { start: 0, end: 1, step: 0 }).unwrap_err();
    assert_eq!(error.to_string(), "step must be a positive number of milliseconds, got 0");
}

/// Keeps what it is asked, and calls the query off when it is asked for the first time.
struct Asked<'a> {
    source: MemorySource,
    windows: RefCell<Vec<(i64, i64, i64)>>,
    cancel: Option<&'a Cancel>,
}

impl Source for Asked<'_> {
    fn select<'a>(&'a self, request: &Select<'_>) -> Result<SeriesIter<'a>, SourceError> {
        self.windows.borrow_mut().push((request.start, request.end, request.step));
        if let Some(cancel) = self.cancel {
            cancel.cancel();
        }
        self.source.select(request)
    }
}

#[test]
fn a_query_ends_when_its_caller_goes() {
    let cancel = Cancel::new();
    let asked = Asked { source: source(), windows: RefCell::default(), cancel: Some(&cancel) };
    let error = Engine::default().evaluate(&parse("up + up offset 1m").unwrap(), &asked, HOUR, &cancel).unwrap_err();
    assert_eq!(error, Error::Cancelled);
    assert!(error.retriable());
    assert_eq!(asked.windows.borrow().len(), 1, "the other selector is not asked for");
}

fn asked(query: &str, when: When) -> Vec<(i64, i64, i64)> {
    let asked = Asked { source: source(), windows: RefCell::default(), cancel: None };
    Engine::default().evaluate(&parse(query).unwrap(), &asked, when, &Cancel::new()).unwrap();
    asked.windows.into_inner()
}

#[test]
fn each_selector_asks_for_the_window_that_it_looks_at() {
    let range = When::Range { start: 1_000_000, end: 2_000_000, step: 30_000 };
    // The last step is not after the end; what is as old as the lookback, or as the window is long, does not count.
    assert_eq!(asked("up", range), [(700_001, 1_990_000, 30_000)]);
    assert_eq!(asked("rate(up[1m] offset 10s)", range), [(930_001, 1_980_000, 30_000)]);
    assert_eq!(asked("up @ 100", range), [(-199_999, 100_000, 0)]);
    assert_eq!(asked("max_over_time(up[2m:1m])", range), [(600_001, 1_980_000, 60_000)]);
    assert_eq!(asked("rate(up[1m] smoothed)", range), [(640_001, 2_290_000, 30_000)]);
}

#[test]
fn what_stands_in_a_query_twice_is_evaluated_once() {
    assert_eq!(asked("rate(up[5m]) / (rate(up[5m]) + 1)", HOUR).len(), 1);
    assert_eq!(asked("up - up offset 1m", HOUR).len(), 2);
    assert_eq!(asked("max_over_time(up[5m:1m]) + up", HOUR).len(), 2, "the steps are others");
    assert_eq!(asked("max_over_time(up[5m:1m]) + min_over_time(up[5m:1m])", HOUR).len(), 1);
}

#[test]
fn a_failing_source_is_said() {
    struct Failing;
    impl Source for Failing {
        fn select<'a>(&'a self, _: &Select<'_>) -> Result<SeriesIter<'a>, SourceError> {
            Err(SourceError { message: "the store is closed".to_owned(), retriable: true })
        }
    }
    let error = Engine::default().instant("up", &Failing, 0).unwrap_err();
    assert_eq!((error.to_string().as_str(), error.retriable()), ("expanding series: the store is closed", true));
}

#[test]
fn the_deepest_query_that_is_read_is_evaluated() {
    let nested = format!("{}up{}", "abs(".repeat(95), ")".repeat(95));
    let chained = format!("up{}", " + on (instance) up".repeat(240));
    for query in [nested, chained] {
        let Value::Vector(samples) = evaluate(&query, EngineOptions::default(), When::Instant(60_000)).unwrap() else {
            panic!("a vector is what it is")
        };
        assert_eq!(samples.len(), 10);
    }
}

#[test]
fn times_at_the_ends_of_all_time_are_steps_like_others() {
    for when in [
        When::Instant(i64::MAX),
        When::Instant(i64::MIN),
        When::Range { start: i64::MIN, end: i64::MIN + 10, step: 5 },
        When::Range { start: i64::MAX - 10, end: i64::MAX, step: i64::MAX },
        When::Range { start: 10, end: 0, step: 1 },
    ] {
        for query in
            ["up", "rate(up[5m] offset 100y)", "up offset -100y", "max_over_time(up[1h:7m])", "range() + time()"]
        {
            evaluate(query, EngineOptions::default(), when).unwrap();
        }
    }
}

/// A series with a sample each second, which says when it is asked for.
struct Announced {
    source: MemorySource,
    asked: std::sync::mpsc::Sender<()>,
}

impl Source for Announced {
    fn select<'a>(&'a self, request: &Select<'_>) -> Result<SeriesIter<'a>, SourceError> {
        self.asked.send(()).expect("somebody waits");
        self.source.select(request)
    }
}

#[test]
fn a_query_with_long_windows_ends_while_it_goes_through_one() {
    let mut source = MemorySource::new();
    let labels = Labels::from_pairs([("__name__", "up")]);
    (0..200_000).for_each(|at| source.append(&labels, at * 1_000, 0, Sample::Float(1.0)));
    let (own, (asked, is_asked)) = (Cancel::new(), std::sync::mpsc::channel());
    let cancel = own.clone();
    let announced = Announced { source, asked };
    // Each of 200,000 steps goes through up to as many samples: minutes, if nobody ended it.
    let when = When::Range { start: 0, end: 200_000_000, step: 1_000 };
    let query = parse("stddev_over_time(up[200000s])").unwrap();
    let (ended, took) = std::thread::scope(|scope| {
        let caller = scope.spawn(move || {
            is_asked.recv().unwrap();
            cancel.cancel();
            std::time::Instant::now()
        });
        let ended = Engine::default().evaluate(&query, &announced, when, &own).map(|_| ());
        (ended, caller.join().unwrap().elapsed())
    });
    assert_eq!(ended, Err(Error::Cancelled));
    assert!(took < Duration::from_secs(5), "{took:?}");
}
