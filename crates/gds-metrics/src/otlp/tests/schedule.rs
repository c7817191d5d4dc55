//! The exporter against a receiver of a few lines, on a clock that moves only when every task waits.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::time::Duration;

use gds_process::sync::Mutex;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::clock::Clock;
use crate::key::MetricKind;
use crate::otlp::exporter::{Exporter, Source};
use crate::otlp::testing::{DEADLINE, Fixed, close, family, flush, number, only};
use crate::otlp::transport::{Accepted, Deliver, Failure};
use crate::otlp::{OtlpConfig, OtlpOptions, Stats, resolve};
use crate::snapshot::Family;
use crate::{Error, Result};

#[derive(Clone, Copy)]
enum Answer {
    Later(Option<u64>),
    Never,
    Hang,
}

/// Answers as told, then accepts.
#[derive(Clone)]
struct Scripted {
    answers: Arc<Mutex<VecDeque<Answer>>>,
    sent: mpsc::UnboundedSender<(Instant, f64)>,
    in_flight: Arc<AtomicUsize>,
}

impl Deliver for Scripted {
    async fn send(&self, request: ExportMetricsServiceRequest) -> std::result::Result<Accepted, Failure> {
        assert_eq!(self.in_flight.fetch_add(1, Ordering::SeqCst), 0, "two exports at a time");
        self.sent.send((Instant::now(), only(&request))).unwrap();
        let answer = self.answers.lock().pop_front();
        tokio::task::yield_now().await;
        self.in_flight.fetch_sub(1, Ordering::SeqCst);
        match answer {
            None => Ok(Accepted::default()),
            Some(Answer::Later(wait)) => {
                let error = Error::Unreachable { url: String::new(), reason: "later".into(), timed_out: false };
                Err(Failure { error, wait: wait.map(Duration::from_secs) })
            }
            Some(Answer::Never) => {
                let error = Error::Refused { url: String::new(), status: "400".into(), body: "never".into() };
                Err(Failure { error, wait: None })
            }
            Some(Answer::Hang) => std::future::pending().await,
        }
    }
}

/// One counter, which goes up with each snapshot.
#[derive(Default)]
struct Counting(AtomicU32);

impl Source for Counting {
    fn snapshot(&self) -> Vec<Family> {
        let count = f64::from(self.0.fetch_add(1, Ordering::SeqCst) + 1);
        vec![family("snapshots", MetricKind::Counter, vec![number(1, &[], count)])]
    }
}

struct Rig {
    exporter: Arc<Exporter>,
    sent: mpsc::UnboundedReceiver<(Instant, f64)>,
    started: Instant,
    made: Arc<AtomicUsize>,
}

impl Rig {
    fn new(answers: impl IntoIterator<Item = Answer>) -> Self {
        Self::with(answers, Arc::new(Counting::default()), |_| {})
    }

    fn with(
        answers: impl IntoIterator<Item = Answer>,
        source: Arc<dyn Source>,
        change: impl FnOnce(&mut OtlpConfig),
    ) -> Self {
        let mut config = resolve(&OtlpOptions::default(), |_| None).unwrap();
        change(&mut config);
        let (sender, sent) = mpsc::unbounded_channel();
        let answers = Arc::new(Mutex::new(answers.into_iter().collect()));
        let scripted = Scripted { answers, sent: sender, in_flight: Arc::default() };
        let made = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&made);
        let connect = move || -> Result<Scripted> {
            count.fetch_add(1, Ordering::SeqCst);
            scripted.in_flight.store(0, Ordering::SeqCst);
            Ok(scripted.clone())
        };
        let started = Instant::now();
        let clock = Clock::manual(1_000);
        let exporter = Exporter::start_with(Arc::new(config), source, clock, Arc::new(connect), &Handle::current());
        Self { exporter: Arc::new(exporter), sent, started, made }
    }

    /// When the next request came, in seconds since the start, and what it said.
    async fn next(&mut self) -> (f64, f64) {
        let (at, value) = self.sent.recv().await.unwrap();
        ((at - self.started).as_secs_f64(), value)
    }
}

fn near(found: f64, expected: f64) -> bool {
    (found - expected).abs() < 0.01
}

#[tokio::test(start_paused = true)]
async fn an_export_is_made_each_interval_and_nothing_before() {
    let mut rig = Rig::new([]);
    assert_eq!(rig.made.load(Ordering::SeqCst), 0);
    for round in 1..=3_u32 {
        let (at, value) = rig.next().await;
        assert!(near(at, 60.0 * f64::from(round)) && near(value, f64::from(round)), "{at} {value}");
    }
    assert_eq!(rig.made.load(Ordering::SeqCst), 1);
}

#[tokio::test(start_paused = true)]
async fn retries_back_off_with_jitter_and_each_takes_a_new_snapshot() {
    let mut rig = Rig::with([Answer::Later(None); 9], Arc::new(Counting::default()), |config| {
        config.interval = Duration::from_secs(1_000);
    });
    let (mut last, _) = rig.next().await;
    assert!(near(last, 1_000.0));
    for (retry, most) in [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 32.0, 32.0, 32.0].into_iter().enumerate() {
        let (at, value) = rig.next().await;
        assert!(at - last <= most + 0.01, "retry {retry} after {} s", at - last);
        assert!(near(value, retry as f64 + 2.0));
        last = at;
    }
    // Success: back to the interval.
    assert!(near(rig.next().await.0, 2_000.0));
    let stats = rig.exporter.stats();
    assert_eq!((stats.exports, stats.failed_attempts), (1, 9));
}

#[tokio::test(start_paused = true)]
async fn a_retry_does_not_outlast_the_interval() {
    let mut rig = Rig::with([Answer::Later(None); 40], Arc::new(Counting::default()), |config| {
        config.interval = Duration::from_secs(2);
    });
    let mut last = 0.0;
    for _ in 0..40 {
        let (at, _) = rig.next().await;
        assert!(at - last <= 2.01, "{}", at - last);
        last = at;
    }
}

#[tokio::test(start_paused = true)]
async fn a_refusal_is_not_retried_before_the_next_interval() {
    let mut rig = Rig::new([Answer::Never]);
    assert!(near(rig.next().await.0, 60.0));
    assert!(near(rig.next().await.0, 120.0));
    assert_eq!(rig.exporter.stats().last_error.as_deref(), Some(" answered 400: never"));
}

#[tokio::test(start_paused = true)]
async fn a_receiver_is_left_alone_as_long_as_it_asks_within_reason() {
    let mut rig = Rig::new([Answer::Later(Some(90)), Answer::Later(Some(1_000_000))]);
    let (first, _) = rig.next().await;
    let (second, _) = rig.next().await;
    let (third, _) = rig.next().await;
    assert!(near(second - first, 90.0), "{}", second - first);
    assert!(near(third - second, 600.0), "{}", third - second);
}

#[tokio::test(start_paused = true)]
async fn a_receiver_that_hangs_is_cut_and_connected_to_anew() {
    let mut rig = Rig::new([Answer::Hang]);
    assert!(near(rig.next().await.0, 60.0));
    let (at, _) = rig.next().await;
    assert!((70.0..71.1).contains(&at), "{at}");
    assert_eq!(rig.made.load(Ordering::SeqCst), 2);
    let stats = rig.exporter.stats();
    assert_eq!(stats.failed_attempts, 1);
    assert!(stats.last_error.unwrap().contains("no answer within 10 s"));
}

#[tokio::test(start_paused = true)]
async fn flush_exports_now_even_during_a_back_off() {
    let mut rig = Rig::new([Answer::Later(Some(500)), Answer::Never]);
    assert!(matches!(flush(&rig.exporter).await, Err(Error::Unreachable { .. })));
    assert!(matches!(flush(&rig.exporter).await, Err(Error::Refused { .. })));
    flush(&rig.exporter).await.unwrap();
    for expected in [1.0, 2.0, 3.0] {
        let (at, value) = rig.next().await;
        assert!(near(at, 0.0) && near(value, expected));
    }
    assert!(near(rig.next().await.0, 60.0));
}

#[tokio::test(start_paused = true)]
async fn one_export_is_in_flight_however_many_flush() {
    let rig = Rig::new([]);
    let flushes: Vec<_> = (0..8)
        .map(|_| {
            let exporter = Arc::clone(&rig.exporter);
            tokio::spawn(async move { flush(&exporter).await })
        })
        .collect();
    for done in flushes {
        done.await.unwrap().unwrap();
    }
    assert_eq!(rig.exporter.stats().exports, 8);
}

#[tokio::test(start_paused = true)]
async fn close_exports_a_last_time_and_once() {
    let mut rig = Rig::new([]);
    close(&rig.exporter, DEADLINE).await.unwrap();
    assert!(near(rig.next().await.1, 1.0));
    close(&rig.exporter, DEADLINE).await.unwrap();
    assert!(flush(&rig.exporter).await.unwrap_err().to_string().contains("closed"));
    assert!(rig.sent.recv().await.is_none(), "the task is gone, and with it its transport");
    assert_eq!(rig.exporter.stats().exports, 1);
}

#[tokio::test(start_paused = true)]
async fn close_says_that_the_last_export_failed_and_stops_all_the_same() {
    let mut rig = Rig::new([Answer::Later(None)]);
    assert!(close(&rig.exporter, DEADLINE).await.is_err());
    rig.next().await;
    assert!(rig.sent.recv().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn dropping_without_close_stops_the_task_and_exports_nothing() {
    let Rig { exporter, mut sent, .. } = Rig::new([]);
    drop(exporter);
    assert!(sent.recv().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn dropping_stops_an_export_that_hangs() {
    let Rig { exporter, mut sent, .. } = Rig::new([Answer::Hang]);
    sent.recv().await.unwrap();
    drop(exporter);
    assert!(sent.recv().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn an_export_that_was_turned_off_does_nothing_successfully() {
    let mut rig = Rig::with([], Arc::new(Counting::default()), |config| config.disabled = true);
    flush(&rig.exporter).await.unwrap();
    close(&rig.exporter, DEADLINE).await.unwrap();
    flush(&rig.exporter).await.unwrap();
    assert!(rig.sent.recv().await.is_none());
    assert_eq!((rig.made.load(Ordering::SeqCst), rig.exporter.stats()), (0, Stats::default()));
}

#[tokio::test(start_paused = true)]
async fn nothing_to_send_opens_no_connection_and_is_no_export() {
    let rig = Rig::with([], Arc::new(Fixed::default()), |_| {});
    flush(&rig.exporter).await.unwrap();
    assert_eq!((rig.made.load(Ordering::SeqCst), rig.exporter.stats()), (0, Stats::default()));
}

#[tokio::test(start_paused = true)]
async fn a_source_that_panics_costs_one_export() {
    struct Panics(Counting);
    impl Source for Panics {
        fn snapshot(&self) -> Vec<Family> {
            let families = self.0.snapshot();
            assert!(self.0.0.load(Ordering::SeqCst) > 1, "the first snapshot");
            families
        }
    }
    let rig = Rig::with([], Arc::new(Panics(Counting::default())), |_| {});
    assert!(flush(&rig.exporter).await.is_err());
    flush(&rig.exporter).await.unwrap();
}
