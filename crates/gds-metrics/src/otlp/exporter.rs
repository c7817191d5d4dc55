//! The task that exports: on the interval, when told to, and a last time when closed.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc as blocking;
use std::time::Duration;

use gds_process::sync::Mutex;
use rand::Rng as _;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};
use tokio::task::{AbortHandle, JoinHandle};
use tokio::time::{Instant, sleep_until, timeout};

use super::config::{Backoff, OtlpConfig};
use super::convert::{Converter, Limits, Position};
use super::env::FOREVER;
use super::transport::{Deliver, Failure, Report, Transport};
use crate::clock::Clock;
use crate::outage::Outage;
use crate::snapshot::Family;
use crate::{Error, Result};

/// Flushes that may wait at a time; each one is a thread that waits with it.
const MAX_WAITING: usize = 64;
/// A receiver may ask to be left alone for this long; a slip of its clock must not stop export for a day.
const MAX_SERVER_WAIT: Duration = Duration::from_secs(600);

/// What an exporter exports.
pub trait Source: Send + Sync {
    /// The present state; called once for each export, on a thread that may block.
    fn snapshot(&self) -> Vec<Family>;
}

/// What an exporter has done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Exports that the receiver took; those with nothing to send are not counted.
    pub exports: u64,
    /// Exports that failed, each retry counting as one.
    pub failed_attempts: u64,
    /// Points that the receiver refused while it took the rest.
    pub rejected_points: u64,
    /// The last failure or complaint of the receiver, which a later success does not clear. It holds no secret.
    pub last_error: Option<String>,
}

/// Exports a source to a receiver until it is closed or dropped.
///
/// Calls may come from any thread but those of an asynchronous runtime, which they would block. They return within
/// their time-out whatever the receiver, the runtime or a fork of the process did.
pub struct Exporter {
    url: String,
    shared: Arc<ExportStatus>,
    state: Mutex<State>,
}

enum State {
    /// The environment turned export off.
    Disabled,
    Running(Running),
    Closed,
}

struct Running {
    flushes: mpsc::Sender<Command>,
    close: oneshot::Sender<Command>,
    task: AbortHandle,
}

struct Command {
    deadline: Instant,
    reply: blocking::SyncSender<Result<()>>,
}

#[derive(Default)]
struct ExportStatus {
    exports: AtomicU64,
    failed_attempts: AtomicU64,
    rejected_points: AtomicU64,
    last_error: Mutex<Option<String>>,
}

impl Exporter {
    /// Starts a task on `runtime`. It connects to nothing before the first export, which is one interval from now
    /// unless [`Exporter::flush`] comes first. A disabled configuration starts nothing.
    pub fn start(config: OtlpConfig, source: Arc<dyn Source>, runtime: &Handle) -> Self {
        let config = Arc::new(config);
        let make = Arc::clone(&config);
        Self::start_with(config, source, Clock::System, Arc::new(move || Transport::new(&make)), runtime)
    }

    /// As [`Exporter::start`], with another clock and another way to deliver.
    pub(super) fn start_with<T: Deliver>(
        config: Arc<OtlpConfig>,
        source: Arc<dyn Source>,
        clock: Clock,
        make: Arc<dyn Fn() -> Result<T> + Send + Sync>,
        runtime: &Handle,
    ) -> Self {
        let url = config.endpoint.shown().to_owned();
        let shared = Arc::new(ExportStatus::default());
        if config.disabled {
            return Self { url, shared, state: Mutex::new(State::Disabled) };
        }
        let (flushes, flush_commands) = mpsc::channel(MAX_WAITING);
        let (close, close_command) = oneshot::channel();
        let job = Job {
            report: Report::new(&config),
            converter: Converter::new(&config.resource, config.temporality, Limits::default()),
            config,
            source,
            clock,
            make,
            transport: None,
            outage: Outage::default(),
            complained: false,
            telling: None,
            shared: Arc::clone(&shared),
        };
        let task = runtime.spawn(job.run(flush_commands, close_command)).abort_handle();
        Self { url, shared, state: Mutex::new(State::Running(Running { flushes, close, task })) }
    }

    /// Exports now and waits for the receiver's acknowledgement, at most `timeout`, which also cuts the export short.
    /// It does not wait out a back-off, nor the time a receiver asked for: whoever calls this decided.
    ///
    /// # Errors
    ///
    /// [`Error::Unreachable`] if the receiver was not reached, may take the export later or did not answer in time;
    /// [`Error::Closed`] if the exporter is closed; [`Error::Refused`] if the receiver refused.
    pub fn flush(&self, timeout: Duration) -> Result<()> {
        let flushes = match &*self.state.lock() {
            State::Disabled => return Ok(()),
            State::Closed => return Err(self.gone()),
            State::Running(running) => running.flushes.clone(),
        };
        let (command, answer) = Command::new(timeout);
        match flushes.try_send(command) {
            Ok(()) => self.wait(&answer, timeout),
            Err(mpsc::error::TrySendError::Closed(_)) => Err(self.gone()),
            Err(mpsc::error::TrySendError::Full(_)) => {
                Err(self.unreachable(format!("{MAX_WAITING} flushes are waiting already"), true))
            }
        }
    }

    /// Exports a last time and stops the task; after `timeout` the task is stopped whatever it does. Closing again does
    /// nothing and succeeds.
    ///
    /// # Errors
    ///
    /// As [`Exporter::flush`], for the last export; the task has stopped nevertheless.
    pub fn close(&self, timeout: Duration) -> Result<()> {
        let state = {
            let mut state = self.state.lock();
            if matches!(*state, State::Disabled) {
                return Ok(());
            }
            std::mem::replace(&mut *state, State::Closed)
        };
        let State::Running(running) = state else { return Ok(()) };
        let (command, answer) = Command::new(timeout);
        let result = match running.close.send(command) {
            Ok(()) => self.wait(&answer, timeout),
            Err(_) => Err(self.gone()),
        };
        running.task.abort();
        result
    }

    /// What it has done so far.
    pub fn stats(&self) -> Stats {
        Stats {
            exports: self.shared.exports.load(Ordering::Relaxed),
            failed_attempts: self.shared.failed_attempts.load(Ordering::Relaxed),
            rejected_points: self.shared.rejected_points.load(Ordering::Relaxed),
            last_error: self.shared.last_error.lock().clone(),
        }
    }

    fn wait(&self, answer: &blocking::Receiver<Result<()>>, timeout: Duration) -> Result<()> {
        match answer.recv_timeout(timeout) {
            Ok(result) => result,
            Err(blocking::RecvTimeoutError::Disconnected) => Err(self.gone()),
            Err(blocking::RecvTimeoutError::Timeout) => {
                Err(self.unreachable(format!("no answer within {} s", timeout.as_secs_f64()), true))
            }
        }
    }

    fn gone(&self) -> Error {
        Error::Closed { url: self.url.clone() }
    }

    fn unreachable(&self, reason: String, timed_out: bool) -> Error {
        Error::Unreachable { url: self.url.clone(), reason, timed_out }
    }
}

impl Drop for Exporter {
    fn drop(&mut self) {
        if let State::Running(running) = self.state.get_mut() {
            running.task.abort();
        }
    }
}

impl fmt::Debug for Exporter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exporter").field("endpoint", &self.url).field("stats", &self.stats()).finish_non_exhaustive()
    }
}

impl Command {
    fn new(timeout: Duration) -> (Self, blocking::Receiver<Result<()>>) {
        let (reply, answer) = blocking::sync_channel(1);
        (Self { deadline: Instant::now() + timeout.min(FOREVER), reply }, answer)
    }

    fn time_left(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }

    fn answer(self, result: Result<()>) {
        // Nobody listens any more if the caller's time was up.
        let _ = self.reply.try_send(result);
    }
}

/// What the task owns.
struct Job<T> {
    config: Arc<OtlpConfig>,
    source: Arc<dyn Source>,
    clock: Clock,
    make: Arc<dyn Fn() -> Result<T> + Send + Sync>,
    transport: Option<Arc<T>>,
    converter: Converter,
    report: Report,
    outage: Outage,
    /// Whether the receiver is known to reject some of what it takes.
    complained: bool,
    /// What was told last.
    telling: Option<JoinHandle<()>>,
    shared: Arc<ExportStatus>,
}

impl<T: Deliver> Job<T> {
    async fn run(mut self, mut flushes: mpsc::Receiver<Command>, mut close: oneshot::Receiver<Command>) {
        let mut schedule = Schedule::new(self.config.interval, self.config.backoff);
        loop {
            tokio::select! {
                biased;
                last = &mut close => {
                    if let Ok(command) = last {
                        let result = self.export(command.time_left()).await;
                        command.answer(result.map(drop).map_err(|failure| failure.error));
                    }
                    return;
                }
                Some(command) = flushes.recv() => {
                    // Whoever stopped waiting while another export ran gets none of its own.
                    if !command.time_left().is_zero() {
                        let result = self.export(command.time_left()).await;
                        self.tell_of(&result);
                        schedule.after(&result);
                        command.answer(result.map(drop).map_err(|failure| failure.error));
                    }
                }
                () = sleep_until(schedule.wake) => {
                    let result = self.export(FOREVER).await;
                    self.tell_of(&result);
                    schedule.after(&result);
                }
            }
        }
    }

    /// Has the user's log told what is new: a receiver that is away or refuses, or is back.
    fn tell_of(&mut self, result: &std::result::Result<Exported, Failure>) {
        let url = self.config.endpoint.shown();
        let news = match result {
            Err(failure) => self.outage.failed(&failure.error, "totals are kept, and exported when they do"),
            Ok(Exported { anything: false, .. }) => None,
            Ok(Exported { complaint, .. }) => {
                let back = self.outage.succeeded(url);
                let is_new = complaint.is_some() && !self.complained;
                self.complained = complaint.is_some();
                let complaint = complaint.as_deref().filter(|_| is_new);
                back.or_else(|| Some(format!("{url} took the metrics, but not all: {}; this is said once", complaint?)))
            }
        };
        let Some(news) = news else { return };
        let (log, before) = (self.config.log.clone(), self.telling.take());
        // Not waited for: whoever is told may call this exporter and wait for it.
        self.telling = Some(tokio::spawn(async move {
            if let Some(before) = before {
                let _ = before.await;
            }
            let _ = tokio::task::spawn_blocking(move || log.say(&news)).await;
        }));
    }

    /// One export within `limit`, with its outcome counted.
    async fn export(&mut self, limit: Duration) -> std::result::Result<Exported, Failure> {
        let limit = limit.min(self.config.export_timeout);
        let result = match timeout(limit, self.attempt()).await {
            Ok(result) => result,
            Err(_) => Err(self.report.timed_out(limit)),
        };
        match &result {
            Ok(Exported { anything: false, .. }) => {}
            Ok(_) => _ = self.shared.exports.fetch_add(1, Ordering::Relaxed),
            Err(failure) => {
                self.shared.failed_attempts.fetch_add(1, Ordering::Relaxed);
                *self.shared.last_error.lock() = Some(failure.error.to_string());
                if matches!(failure.error, Error::Unreachable { timed_out: true, .. }) {
                    // A connection whose peer vanished stays open for many minutes; the next export opens another.
                    self.transport = None;
                }
            }
        }
        result
    }

    /// Takes a snapshot and sends all of it.
    async fn attempt(&mut self) -> std::result::Result<Exported, Failure> {
        let source = Arc::clone(&self.source);
        // Large registries take milliseconds to read, which other tasks should not wait for.
        let taken = tokio::task::spawn_blocking(move || source.snapshot()).await;
        let families = taken.map_err(|why| self.report.unreachable(&why))?;
        self.converter.begin(&families);
        let (now_nanos, mut position, mut sent) = (self.clock.now_nanos(), Position::default(), Exported::default());
        let mut refused = None;
        while let Some(batch) = self.converter.next_batch(&families, now_nanos, &mut position) {
            let (request, receipt) = batch.into_parts();
            let transport = self.transport().await?;
            sent.anything = true;
            let limit = self.config.timeout;
            let answer = match timeout(limit, transport.send(request)).await {
                Ok(answer) => answer,
                Err(_) => Err(self.report.timed_out(limit)),
            };
            match answer {
                Ok(accepted) => {
                    self.converter.acknowledge(receipt);
                    if accepted.rejected > 0 || !accepted.message.is_empty() {
                        self.shared.rejected_points.fetch_add(accepted.rejected, Ordering::Relaxed);
                        let text = format!("{} points rejected: {}", accepted.rejected, accepted.message);
                        *self.shared.last_error.lock() = Some(text.clone());
                        sent.complaint = Some(text);
                    }
                }
                Err(failure) if failure.error.retriable() => return Err(failure),
                // What is wrong with one batch need not be wrong with the next.
                Err(failure) => refused = Some(failure),
            }
        }
        refused.map_or(Ok(sent), Err)
    }

    async fn transport(&mut self) -> std::result::Result<Arc<T>, Failure> {
        if let Some(transport) = &self.transport {
            return Ok(Arc::clone(transport));
        }
        let make = Arc::clone(&self.make);
        // It reads the system's certificates.
        let result = tokio::task::spawn_blocking(move || make()).await.map_err(|why| self.report.unreachable(&why))?;
        let transport = Arc::new(result.map_err(|error| Failure { error, wait: None })?);
        self.transport = Some(Arc::clone(&transport));
        Ok(transport)
    }
}

/// What the receiver took.
#[derive(Debug, Default)]
struct Exported {
    /// Whether there was anything to send.
    anything: bool,
    /// What it said about points that it rejected, or another warning.
    complaint: Option<String>,
}

/// When to export next.
struct Schedule {
    interval: Duration,
    backoff: Backoff,
    /// The next export of the interval.
    tick: Instant,
    /// The next export.
    wake: Instant,
    failures: u32,
}

impl Schedule {
    fn new(interval: Duration, backoff: Backoff) -> Self {
        let tick = Instant::now() + interval;
        Self { interval, backoff, tick, wake: tick, failures: 0 }
    }

    fn after<T>(&mut self, result: &std::result::Result<T, Failure>) {
        let now = Instant::now();
        // Intervals that passed during a long export are skipped, not made up for.
        if self.tick <= now {
            let late = (now - self.tick).as_nanos() % self.interval.as_nanos().max(1);
            self.tick = now + self.interval - Duration::from_nanos(u64::try_from(late).unwrap_or(0));
        }
        match result {
            Err(failure) if failure.error.retriable() => {
                let most = self.backoff.base.saturating_mul(1 << self.failures.min(16)).min(self.backoff.most);
                self.failures += 1;
                // Full jitter, so that many exporters do not come back at once.
                let wait = gds_process::random::rng().random_range(Duration::ZERO..=most);
                self.wake = match failure.wait {
                    Some(asked) => now + wait.max(asked.min(MAX_SERVER_WAIT)),
                    // The next interval brings a new snapshot anyhow.
                    None => (now + wait).min(self.tick),
                };
            }
            _ => {
                self.failures = 0;
                self.wake = self.tick;
            }
        }
    }
}
