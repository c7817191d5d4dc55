//! A `StatsD` and `DogStatsD` client that adds up before it sends, and never makes its caller wait.
//!
//! # Contract
//!
//! * **Reporting** touches memory only: an atomic for counters and gauges, a short lock for distributions. It does no
//!   input or output, and a key that was seen before allocates nothing.
//! * **Counters** send what was added since the last flush, and nothing when nothing was. **Gauges** send the last value
//!   when one was set since the last flush. **Histograms and timings** send every value in a line of its own.
//! * **Memory is bounded**: by [`max_series`](StatsdOptions::max_series) label sets for each name, after which one series
//!   tagged `overflow:true` takes the rest, and by [`max_buffered_samples`](StatsdOptions::max_buffered_samples) values.
//!   When those places run out a series keeps a uniform sample of its values, and sends it with the sample rate
//!   (`|@0.1`) that keeps the server's counts right; a series that has not even one place drops the value and says so.
//! * **Nothing is lost while the server is away**, beyond that bound: sums, gauges and values go back and are sent by a
//!   later flush. A name that does not resolve and a socket that does not exist are such cases, not errors of [`Statsd::new`].
//!
//! # What a refusal means
//!
//! A unix socket tells at once whether a packet is in the server's queue. UDP does not: when nobody listens, an ICMP
//! message comes back later, the kernel reports it once, at the *next* call on the socket, and it does not say which
//! packet it is about. This client therefore asks the socket after each packet (on the same machine the answer is there
//! by then) and before each flush. A refusal is taken for all packets since the last flush began, because a server that
//! is away for one is away for its neighbours: their sums and gauges are sent again. If the server vanished in the
//! middle of that flush, a few milliseconds, some increments count twice; the other choice would lose half of what was
//! reported during every outage of a server on another machine. Histogram and timing values that were taken by the
//! kernel and then refused are dropped and counted. A firewall that swallows packets silently is no refusal.
//!
//! # On the wire
//!
//! `prefix.name:value|type|@rate|#tag:value` with the types `c`, `g`, `h` and `ms`, several lines to a datagram.
//! Characters that have a meaning (`:|@#,`, in names of other dialects `;[]`, white space, control characters) become
//! `_` in names and tag names, all but `:@;[]` in tag values; names that are the same then share a series. A gauge below zero is sent as `0` and
//! then as its value, both lines in one datagram: `-5` alone is "five less" to every server but Datadog's.
//!
//! # Example
//!
//! ```
//! use std::time::Duration;
//! use gds_metrics::key::{Key, MetricKind, Scope};
//! use gds_metrics::statsd::{Outcome, Statsd, StatsdOptions};
//!
//! let agent = std::net::UdpSocket::bind("127.0.0.1:0")?;
//! let port = agent.local_addr()?.port().into();
//! let statsd = Statsd::new(StatsdOptions { port, prefix: "app".into(), ..StatsdOptions::default() })?;
//! let key = Key { scope: Scope { view: 0, kind: MetricKind::Counter }, name: "requests", labels: &[("code", "200")] };
//! assert_eq!(statsd.increment(&key, 2.0), Outcome::Counted);
//! statsd.increment(&key, 1.0);
//! statsd.close(Duration::from_secs(1))?;
//!
//! let mut datagram = [0; 64];
//! let length = agent.recv(&mut datagram)?;
//! assert_eq!(&datagram[..length], b"app.requests:3|c|#code:200");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod aggregate;
mod link;
mod options;
mod round;
mod series;
mod text;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use gds_process::sync::{Mutex, TimedMutex};
use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;

use crate::error::{Error, Result};
use crate::key::Change;
use crate::key::{Key, MetricKind};
use crate::outage::{LogFn, Outage};
use crate::registry::Refusal;

pub use options::StatsdOptions;

use aggregate::Aggregate;
use link::Link;
use round::{SendCounts, Sender};

/// How long a flush in the background waits for a resolver or for room. What is not sent by then waits for the next
/// one; a runtime that shuts down waits for a flush under way, so this is short.
const BACKGROUND_LIMIT: Duration = Duration::from_secs(1);

/// What became of a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is part of what the next flush sends, by itself or through another value's sample rate.
    Counted,
    /// It is not.
    Dropped(Reason),
}

/// Why a report was dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Reason {
    /// A counter only grows.
    NegativeIncrement,
    /// The protocol has no word for NaN and infinities, whichever the kind.
    NotFinite,
    /// The counter's sum since the last flush would exceed the largest number.
    SumNotFinite,
    /// The name is empty.
    InvalidName,
    /// Name and tags alone are longer than a datagram may be.
    TooLong,
    /// The buffer for histogram and timing values is full, and this series has none in it.
    BufferFull,
    /// The client was closed.
    Closed,
}

impl Reason {
    /// Every reason.
    pub const ALL: [Self; 7] = [
        Self::NegativeIncrement,
        Self::NotFinite,
        Self::SumNotFinite,
        Self::InvalidName,
        Self::TooLong,
        Self::BufferFull,
        Self::Closed,
    ];

    /// The reason as the value of a label.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NegativeIncrement => "negative_increment",
            Self::NotFinite => "not_finite",
            Self::SumNotFinite => "sum_not_finite",
            Self::InvalidName => "invalid_name",
            Self::TooLong => "too_long",
            Self::BufferFull => "buffer_full",
            Self::Closed => "closed",
        }
    }
}

impl From<Reason> for Refusal {
    fn from(reason: Reason) -> Self {
        match reason {
            Reason::NegativeIncrement => Self::NegativeIncrement,
            Reason::InvalidName | Reason::TooLong => Self::InvalidName,
            Reason::NotFinite | Reason::SumNotFinite => Self::InvalidValue,
            Reason::BufferFull => Self::StorageFull,
            Reason::Closed => Self::Closed,
        }
    }
}

/// Counts since the client was made, each exact by itself; together they are of slightly different moments.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StatsdStats {
    /// Datagrams that the operating system took. With UDP that includes those refused later.
    pub packets_sent: u64,
    /// Bytes in them, without headers.
    pub bytes_sent: u64,
    /// Errors that the operating system gave for datagrams, at once or later.
    pub packets_failed: u64,
    /// Flushes that left something for the next one.
    pub flushes_failed: u64,
    /// Histogram and timing values that no line stands for: the buffer was full, their line too long, or their packet
    /// refused after it was taken.
    pub samples_dropped: u64,
    /// Histogram and timing values that were not sent themselves and that a sample rate stands for.
    pub samples_thinned: u64,
    /// Lines longer than a datagram may be, and reports whose line would be.
    pub lines_too_long: u64,
    /// Reports that went to an `overflow:true` series.
    pub overflowed: u64,
    /// Reports dropped for any reason but a full buffer.
    pub refused: u64,
    /// Series, those for overflow included.
    pub series: u64,
}

/// A client of one `StatsD` server; see the [module](self) for what it promises.
///
/// Dropping it stops what [`start`](Self::start) began and sends nothing: call [`close`](Self::close) first. After a
/// fork the child makes its own from [`options`](Self::options), since a lock that another thread held stays locked.
pub struct Statsd {
    options: StatsdOptions,
    inner: Arc<Inner>,
    task: Mutex<Option<JoinHandle<()>>>,
}

struct Inner {
    aggregate: Aggregate,
    sent: SendCounts,
    closed: AtomicBool,
    url: String,
    log: LogFn,
    /// Taken by one flush at a time, and by nobody who reports.
    output: TimedMutex<(Sender, Link, Outage)>,
}

impl Statsd {
    /// Checks the options; opens, resolves and starts nothing.
    ///
    /// Fails with [`gds_net::Error::Setting`] for a setting that can never work. A server that is not there yet is none.
    pub fn new(options: StatsdOptions) -> Result<Self> {
        let settings = options.check()?;
        let link = Link::new(settings.target.clone(), settings.clock.clone());
        let sender = Sender::new(settings.max_packet_bytes);
        let inner = Inner {
            url: settings.target.url(),
            aggregate: Aggregate::new(settings),
            sent: SendCounts::default(),
            closed: AtomicBool::new(false),
            log: options.log.clone(),
            output: TimedMutex::new((sender, link, Outage::default())),
        };
        Ok(Self { options, inner: Arc::new(inner), task: Mutex::new(None) })
    }

    /// The options it was made from, to make another.
    pub fn options(&self) -> &StatsdOptions {
        &self.options
    }

    /// Adds `value` to a counter. Drops values below zero and those that are not finite.
    pub fn increment(&self, key: &Key<'_>, value: f64) -> Outcome {
        self.report(MetricKind::Counter, Change::Report, key, value)
    }

    /// Sets a gauge. Drops values that are not finite: servers throw such a line away.
    pub fn gauge(&self, key: &Key<'_>, value: f64) -> Outcome {
        self.report(MetricKind::Gauge, Change::Report, key, value)
    }

    /// Raises or lowers a gauge, from zero where it was never set. What is sent is its level: servers do not agree on what
    /// a signed value means.
    pub fn gauge_add(&self, key: &Key<'_>, delta: f64) -> Outcome {
        self.report(MetricKind::Gauge, Change::Add, key, delta)
    }

    /// Reports one value of a distribution. Drops values that are not finite.
    pub fn histogram(&self, key: &Key<'_>, value: f64) -> Outcome {
        self.report(MetricKind::Histogram, Change::Report, key, value)
    }

    /// Reports one duration in milliseconds, the protocol's unit. Drops values that are not finite.
    pub fn timing_ms(&self, key: &Key<'_>, value_ms: f64) -> Outcome {
        self.report(MetricKind::Timing, Change::Report, key, value_ms)
    }

    /// One of the above: a gauge is raised or lowered where the `change` is [`Change::Add`].
    pub fn report(&self, kind: MetricKind, change: Change, key: &Key<'_>, value: f64) -> Outcome {
        if self.inner.closed.load(Ordering::Relaxed) {
            return self.inner.aggregate.refuse(Reason::Closed);
        }
        self.inner.aggregate.report(kind, change, key, value)
    }

    /// Flushes every [`flush_interval`](StatsdOptions::flush_interval) on `runtime`, whose time driver must be on,
    /// until the client is closed or dropped. Does nothing when that goes on already, or after [`close`](Self::close).
    pub fn start(&self, runtime: &Handle) {
        let mut task = self.task.lock();
        let runs = task.as_ref().is_some_and(|task| !task.is_finished());
        if runs || self.inner.closed.load(Ordering::Relaxed) {
            return;
        }
        let inner = Arc::downgrade(&self.inner);
        let interval = self.options.flush_interval;
        *task = Some(runtime.spawn(async move {
            let mut ticks = tokio::time::interval(interval);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            // The first tick is at once, when there is nothing to send.
            ticks.tick().await;
            loop {
                ticks.tick().await;
                let Some(inner) = inner.upgrade().filter(|inner| !inner.closed.load(Ordering::Relaxed)) else { return };
                // A flush may wait for the resolver or for room, which no worker of the runtime should.
                let flush = tokio::task::spawn_blocking(move || inner.flush_aloud(BACKGROUND_LIMIT));
                if flush.await.is_err_and(|error| error.is_cancelled()) {
                    return;
                }
            }
        }));
    }

    /// Sends what was reported before the call, waiting at most `timeout` for another flush, the resolver and room in
    /// the socket. Not for the worker threads of a runtime.
    ///
    /// Fails with [`Error::Unreachable`] when something was not sent; it is kept for the next flush.
    pub fn flush(&self, timeout: Duration) -> Result<()> {
        self.inner.flush_aloud(timeout)
    }

    /// Refuses further reports, ends what [`start`](Self::start) began and flushes. Calling it again flushes again,
    /// which is how to insist after a failure; with nothing left it does nothing.
    ///
    /// A report that runs beside this call may come too late for it. Fails as [`flush`](Self::flush) does.
    pub fn close(&self, timeout: Duration) -> Result<()> {
        self.inner.closed.store(true, Ordering::Relaxed);
        // Whoever closes it is told by the result.
        self.inner.flush(timeout).0
    }

    /// What happened so far.
    pub fn stats(&self) -> StatsdStats {
        let Inner { aggregate, sent, .. } = &*self.inner;
        StatsdStats {
            packets_sent: sent.packets.load(Ordering::Relaxed),
            bytes_sent: sent.bytes.load(Ordering::Relaxed),
            packets_failed: sent.packets_failed.load(Ordering::Relaxed),
            flushes_failed: sent.flushes_failed.load(Ordering::Relaxed),
            samples_dropped: aggregate.buffer.dropped.load(Ordering::Relaxed),
            samples_thinned: aggregate.buffer.thinned.load(Ordering::Relaxed),
            lines_too_long: aggregate.lines_too_long.load(Ordering::Relaxed),
            overflowed: aggregate.overflowed.load(Ordering::Relaxed),
            refused: aggregate.refused.load(Ordering::Relaxed),
            series: aggregate.series.load(Ordering::Relaxed),
        }
    }
}

impl Inner {
    /// Flushes, and has the user's log told of a server that is away, or back.
    fn flush_aloud(&self, timeout: Duration) -> Result<()> {
        let (result, news) = self.flush(timeout);
        if let Some(news) = news {
            self.log.say(&news);
        }
        result
    }

    /// Flushes; with the result comes what is news of the server.
    fn flush(&self, timeout: Duration) -> (Result<()>, Option<String>) {
        let now = Instant::now();
        // A time-out beyond what a clock can name means "however long", for which a day is enough.
        let deadline = now.checked_add(timeout).unwrap_or_else(|| now + Duration::from_secs(86_400));
        let Some(mut output) = self.output.try_lock_until(deadline) else {
            return (Err(self.unreachable("another flush is still at work; allow more time", true)), None);
        };
        let (sender, link, outage) = &mut *output;
        match sender.flush(&self.aggregate, &self.sent, link, deadline) {
            Ok(()) if sender.is_heard() => (Ok(()), outage.succeeded(&self.url)),
            Ok(()) => (Ok(()), None),
            Err(error) => {
                let timed_out = matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut);
                let kept = "kept for the next flush";
                let remedy = if timed_out { "; allow more time" } else { "" };
                // A server that reads too slowly is there.
                let is_away = error.kind() != io::ErrorKind::WouldBlock;
                let away = is_away.then(|| self.unreachable(&error.to_string(), timed_out));
                let news =
                    away.and_then(|why| outage.failed(&why, "counters and gauges are kept, and sent when they do"));
                (Err(self.unreachable(&format!("{error}; {kept}{remedy}"), timed_out)), news)
            }
        }
    }

    fn unreachable(&self, reason: &str, timed_out: bool) -> Error {
        Error::Unreachable { url: self.url.clone(), reason: reason.to_owned(), timed_out }
    }
}

#[cfg(test)]
mod tests;
