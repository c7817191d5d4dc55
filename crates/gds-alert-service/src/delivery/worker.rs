//! The workers of channels, and who settles with the outbox what they have done.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc as blocking;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;

use super::channel::{Channel, Channels};
use super::outcome::Outcome;
use super::pace::{Turn, backoff};
use crate::error::Result;
use crate::now_ms;
use crate::store::{Item, Store};
use crate::{Said, Say};

/// How long an attempt that is under way may go on when the service ends.
const LAST_ATTEMPTS: Duration = Duration::from_secs(3);
/// How long the outbox is left alone after it could not be written.
const STORE_PAUSE: Duration = Duration::from_secs(1);

/// What became of the messages of a channel.
#[derive(Debug, Default)]
pub struct Counts {
    /// Handed over, those of the outbox of an earlier process included.
    pub accepted: AtomicU64,
    /// Delivered.
    pub delivered: AtomicU64,
    /// Tried again.
    pub retried: AtomicU64,
    /// Given up.
    pub dead: AtomicU64,
}

/// What is settled with the outbox: its number, why it is dead if it is, and whom to tell.
struct Settled {
    number: u64,
    dead: Option<String>,
    done: oneshot::Sender<()>,
}

type Queue = mpsc::UnboundedSender<(u64, Item)>;

/// Hands items to the workers of their channels.
pub(crate) struct Dispatcher {
    channels: Channels,
    queues: BTreeMap<String, Vec<Queue>>,
    dead_letters: Vec<Queue>,
    settle: Option<blocking::Sender<Settled>>,
    settler: Option<JoinHandle<()>>,
    stop: watch::Sender<bool>,
    workers: Vec<tokio::task::JoinHandle<()>>,
    runtime: Handle,
    counts: BTreeMap<String, Arc<Counts>>,
}

impl Dispatcher {
    /// Starts the workers, with what is in the outbox.
    pub(crate) fn start(channels: Channels, store: &Arc<Store>, say: &Arc<Say>, runtime: &Handle) -> Result<Self> {
        let left = store.outbox()?;
        let (settle, settled) = blocking::channel();
        let stop = watch::Sender::new(false);
        let settler = {
            let (store, say, stopped) = (Arc::clone(store), Arc::clone(say), stop.subscribe());
            std::thread::Builder::new().name("gds-alert-outbox".to_owned()).spawn(move || {
                gds_process::leave_signals();
                settle_all(&settled, &store, &say, &stopped);
            })
        };
        let settler = settler.map_err(|error| crate::Error::Store(format!("no thread for the outbox: {error}")))?;
        let mut dispatcher = Self {
            queues: BTreeMap::new(),
            dead_letters: Vec::new(),
            settle: Some(settle),
            settler: Some(settler),
            stop,
            workers: Vec::new(),
            runtime: runtime.clone(),
            counts: BTreeMap::new(),
            channels,
        };
        let all: Vec<Arc<Channel>> = dispatcher.channels.by_name.values().map(Arc::clone).collect();
        for channel in all {
            let queues = dispatcher.begin(&channel, say);
            dispatcher.queues.insert(channel.name.clone(), queues);
        }
        let dead_letters = Arc::clone(&dispatcher.channels.dead_letters);
        dispatcher.dead_letters = dispatcher.begin(&dead_letters, say);
        for (number, item) in left {
            dispatcher.hand_over(number, item);
        }
        Ok(dispatcher)
    }

    fn begin(&mut self, channel: &Arc<Channel>, say: &Arc<Say>) -> Vec<Queue> {
        let counts = Arc::clone(self.counts.entry(channel.name.clone()).or_default());
        let Some(settle) = &self.settle else { return Vec::new() };
        (0..channel.workers)
            .map(|_| {
                let (queue, items) = mpsc::unbounded_channel();
                let worker = Worker {
                    channel: Arc::clone(channel),
                    settle: settle.clone(),
                    stop: self.stop.subscribe(),
                    counts: Arc::clone(&counts),
                    say: Arc::clone(say),
                };
                self.workers.push(self.runtime.spawn(worker.run(items)));
                queue
            })
            .collect()
    }

    pub(crate) fn channels(&self) -> &Channels {
        &self.channels
    }

    pub(crate) fn counts(&self) -> &BTreeMap<String, Arc<Counts>> {
        &self.counts
    }

    /// Messages that are neither delivered nor given up.
    pub(crate) fn undelivered(&self) -> u64 {
        let left = |counts: &Arc<Counts>| {
            let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
            of(&counts.accepted).saturating_sub(of(&counts.delivered) + of(&counts.dead))
        };
        self.counts.values().map(left).sum()
    }

    /// Hands over an item that is in the outbox under `number`.
    pub(crate) fn hand_over(&self, number: u64, item: Item) {
        let queues = match item.channel() {
            None => &self.dead_letters,
            Some(name) => {
                let Some(queues) = self.queues.get(name) else {
                    let (done, _) = oneshot::channel();
                    let dead = Some(format!("channel {name} is not in the rules file any more"));
                    if let Some(settle) = &self.settle {
                        // A settler that has ended leaves it in the outbox.
                        let _ = settle.send(Settled { number, dead, done });
                    }
                    return;
                };
                queues
            }
        };
        let about = match &item {
            Item::Notification(said) | Item::Acknowledged(said) => {
                said.alerts.first().map(|alert| alert.key.as_str()).unwrap_or_default()
            }
            Item::DeadLetter(_) => "",
        };
        let hash = BuildHasherDefault::<DefaultHasher>::default().hash_one(about);
        let Some(queue) = usize::try_from(hash % queues.len().max(1) as u64).ok().and_then(|at| queues.get(at)) else {
            return;
        };
        let name = item.channel().unwrap_or(&self.channels.dead_letters.name);
        if let Some(counts) = self.counts.get(name) {
            counts.accepted.fetch_add(1, Ordering::Relaxed);
        }
        // A worker that has ended leaves it in the outbox.
        let _ = queue.send((number, item));
    }

    /// Ends the workers. What is not delivered stays in the outbox.
    pub(crate) fn stop(mut self) {
        self.stop.send_replace(true);
        self.queues.clear();
        self.dead_letters.clear();
        let workers = std::mem::take(&mut self.workers);
        let aborts: Vec<_> = workers.iter().map(tokio::task::JoinHandle::abort_handle).collect();
        let (ended, known) = blocking::channel();
        self.runtime.spawn(async move {
            for worker in workers {
                // One that panicked was told by the panic hook.
                let _ = worker.await;
            }
            let _ = ended.send(());
        });
        if known.recv_timeout(LAST_ATTEMPTS).is_err() {
            aborts.iter().for_each(tokio::task::AbortHandle::abort);
            let _ = known.recv_timeout(LAST_ATTEMPTS);
        }
        self.settle = None;
        if let Some(settler) = self.settler.take() {
            let _ = settler.join();
        }
        self.channels.bus.close();
    }
}

struct Worker {
    channel: Arc<Channel>,
    settle: blocking::Sender<Settled>,
    stop: watch::Receiver<bool>,
    counts: Arc<Counts>,
    say: Arc<Say>,
}

impl Worker {
    async fn run(mut self, mut items: mpsc::UnboundedReceiver<(u64, Item)>) {
        loop {
            let (number, item) = tokio::select! {
                biased;
                () = stopped(&mut self.stop) => return,
                next = items.recv() => match next {
                    Some(next) => next,
                    None => return,
                },
            };
            let Some(dead) = self.deliver(&item).await else { return };
            let count = if dead.is_some() { &self.counts.dead } else { &self.counts.delivered };
            count.fetch_add(1, Ordering::Relaxed);
            let (done, known) = oneshot::channel();
            if self.settle.send(Settled { number, dead, done }).is_err() {
                return;
            }
            // Only then the next: of what is delivered twice after a kill there is one at most.
            let _ = known.await;
        }
    }

    /// Tries until it is delivered or dead, and then why; nothing where the service ends first.
    async fn deliver(&mut self, item: &Item) -> Option<Option<String>> {
        let began = Instant::now();
        let waited_ms = match item {
            Item::Notification(said) | Item::Acknowledged(said) => now_ms().saturating_sub(said.at_ms),
            Item::DeadLetter(_) => 0,
        };
        let waited = Duration::from_millis(u64::try_from(waited_ms).unwrap_or(0));
        let mut failures = 0;
        loop {
            loop {
                match self.channel.pace.turn(Instant::now()) {
                    Turn::Now => break,
                    Turn::At(at) => self.sleep_until(at).await?,
                }
            }
            let attempt = tokio::time::timeout(self.channel.deadline, self.channel.send(item, now_ms()));
            let outcome = attempt.await.unwrap_or_else(|_| Outcome::Retry {
                reason: format!("no end within {} s", self.channel.deadline.as_secs()),
                after: None,
            });
            match outcome {
                Outcome::Delivered => {
                    self.answered();
                    return Some(None);
                }
                Outcome::Refused(reason) => {
                    self.answered();
                    self.warn(&format!("has refused a message for good: {reason}; it is with the dead ones"));
                    return Some(Some(reason));
                }
                Outcome::Retry { reason, after } => {
                    failures += 1;
                    self.counts.retried.fetch_add(1, Ordering::Relaxed);
                    if self.channel.pace.failed(after, Instant::now()) {
                        self.warn(&format!("is away ({reason}); its messages wait in the outbox"));
                    } else if failures == 1 && !self.channel.pace.is_open() {
                        self.warn(&format!("has not taken a message ({reason}); it is tried again"));
                    }
                    if waited + began.elapsed() >= self.channel.retry_for {
                        let tried = self.channel.retry_for.as_secs();
                        self.warn(&format!(
                            "has not taken a message for {tried} s ({reason}); it is with the dead ones"
                        ));
                        return Some(Some(format!("not taken within {tried} s: {reason}")));
                    }
                    self.sleep_until(Instant::now() + backoff(failures)).await?;
                }
            }
        }
    }

    fn answered(&self) {
        if self.channel.pace.succeeded() {
            (self.say)(Said::Note(&format!("channel {} is back", self.channel.name)));
        }
    }

    fn warn(&self, what: &str) {
        (self.say)(Said::Warning(&format!("channel {} {what}", self.channel.name)));
    }

    /// Nothing where the service ends first.
    async fn sleep_until(&mut self, at: Instant) -> Option<()> {
        tokio::select! {
            () = stopped(&mut self.stop) => None,
            () = tokio::time::sleep_until(at) => Some(()),
        }
    }
}

/// Returns when the service ends.
async fn stopped(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}

/// Takes what is settled out of the outbox, as much as there is in one transaction.
fn settle_all(settled: &blocking::Receiver<Settled>, store: &Store, say: &Arc<Say>, stopped: &watch::Receiver<bool>) {
    while let Ok(first) = settled.recv() {
        let mut numbers = Vec::new();
        let mut waiting = Vec::new();
        for Settled { number, dead, done } in std::iter::once(first).chain(settled.try_iter()) {
            numbers.push((number, dead));
            waiting.push(done);
        }
        let mut said = false;
        // A disk that is full is not so for ever; till then nothing more goes out.
        while let Err(error) = store.settle(&numbers, now_ms()) {
            if *stopped.borrow() {
                return;
            }
            if !said {
                (say)(Said::Warning(&format!("{error}; deliveries wait until it can be written")));
                said = true;
            }
            std::thread::sleep(STORE_PAUSE);
        }
        for done in waiting {
            // A worker that has ended does not wait.
            let _ = done.send(());
        }
    }
}
