//! In front of a hub: takes records without waiting for it, and tells what became of each.
//!
//! ```text
//! send -> queue in memory --+                                  +-> counters
//!     \                     +-> sender thread -> hub -> outcome +-> token (a callback, somebody who waits)
//!      +-> spool on disk ---+        (one, in order)           +-> dead letter, or once more from the spool
//! ```
//!
//! A record is accepted when it is in the queue, or, with a spool that is written ahead, on disk. From then on it is
//! counted once as delivered, failed or dropped. [`Producer::close`] leaves nothing uncounted; in a forked child a
//! producer of the parent must be left alone: neither used nor dropped.

mod accept;
pub mod dead_letter;
mod delivery;
mod gates;
mod id;
#[cfg(all(test, feature = "shuttle"))]
mod model;
mod outcome;
mod queue;
mod ranges;
mod sender;
mod spool;
mod state;
mod stats;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use gds_process::sync::Mutex;

use crate::codec::{self, Draft};
use crate::error::{Error, Failure, Result};
use crate::hub::{Hub, Publisher};
use crate::record::Record;

pub use accept::Sent;
pub use outcome::{DeliveryMetadata, Reported, Reporter};
pub use stats::Stats;

use delivery::DeliverySink;
use spool::Spool;
use state::ProducerState;

/// The header that tells readers a record they have seen before: records of a spool may arrive twice.
pub const MESSAGE_ID: &str = "gds.message.id";

/// How long the end waits for the hub to tell what became of records it was told to give up, and for whoever is being
/// told.
const LAST_OUTCOMES: Duration = Duration::from_secs(2);

/// How soon it is tried again to send what is refused for want of rights.
pub const REFUSED_PAUSE: Duration = Duration::from_secs(1);

/// How long a wait for room may keep an interruption from being seen.
const INTERRUPT_CHECK: Duration = Duration::from_millis(50);

/// What happens to a record for which there is no room.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum OnFull {
    /// The caller waits for room, for a bounded time.
    #[default]
    Block,
    /// The record is dropped.
    DropNewest,
    /// The oldest records are dropped.
    DropOldest,
    /// The caller gets an error.
    Raise,
}

/// What an accepted record survives.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub enum Durability {
    /// Nothing but a hub that is away: it is in memory. What does not fit, and what is left at the end, is spooled.
    #[default]
    Memory,
    /// The end of the process, however sudden: it is in a file.
    Process,
    /// The end of the machine: the file is on disk.
    Disk,
}

/// How long a record may wait for others to be sent with.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Linger {
    /// After [`ProducerOptions::linger`].
    #[default]
    Short,
    /// After [`ProducerOptions::long_linger`], or with the next record that is to go sooner.
    Long,
}

/// A write-ahead log on disk.
#[derive(Clone, Debug)]
pub struct SpoolOptions {
    /// Each process has a folder in here; what a dead one left is delivered by the next.
    pub dir: PathBuf,
    /// What to write to it, and when.
    pub durability: Durability,
    /// How large it may become. Dead letters go beyond.
    pub max_bytes: u64,
}

/// How a [`Producer`] behaves.
#[derive(Clone, Debug)]
pub struct ProducerOptions {
    /// Bytes that may wait in memory.
    pub buffer_bytes: usize,
    /// What happens to a record for which there is no room.
    pub on_full: OnFull,
    /// How long [`Producer::send_blocking`] waits for room, if its caller does not set a time.
    pub max_block: Duration,
    /// How long records are collected before they are handed to the hub together.
    pub linger: Duration,
    /// The same for records that are [`Linger::Long`].
    pub long_linger: Duration,
    /// Records that waited longer in memory are dropped; none for never.
    pub delivery_timeout: Option<Duration>,
    /// The first pause before a record is tried again where the hub refuses the client, or its right to a topic; then
    /// come longer ones. None for telling of what is not in a spool as failed at once.
    pub refused_pause: Option<Duration>,
    /// Whether records that the hub refuses for good go to `{topic}.dlq`.
    pub dead_letter: bool,
    /// The spool, if there is to be one.
    pub spool: Option<SpoolOptions>,
}

impl Default for ProducerOptions {
    fn default() -> Self {
        Self {
            buffer_bytes: 32 * 1024 * 1024,
            on_full: OnFull::default(),
            max_block: Duration::from_secs(60),
            linger: Duration::from_millis(5),
            long_linger: Duration::from_millis(100),
            delivery_timeout: Some(Duration::from_secs(120)),
            refused_pause: None,
            dead_letter: false,
            spool: None,
        }
    }
}

/// A way into a hub that does not wait. `T` is what the caller wants back with the outcome of a record.
#[derive(Debug)]
pub struct Producer<T: Send + 'static> {
    shared: Arc<ProducerState<T>>,
    /// None once it is closed: a hub on this machine is free for others then.
    publisher: Mutex<Option<Arc<dyn Publisher>>>,
    sender: Mutex<Option<JoinHandle<()>>>,
}

/// Why a record that could wait for room was not accepted.
#[derive(Debug)]
pub enum BlockingError<E> {
    /// It was refused, or there was no room in time.
    Refused(Error),
    /// The caller's `interrupt` ended the wait. The record is not counted.
    Interrupted(E),
}

impl<E> From<Error> for BlockingError<E> {
    fn from(error: Error) -> Self {
        Self::Refused(error)
    }
}

/// What is left when a producer is closed.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct CloseReport {
    /// Records that stay in the spool, for the next process.
    pub spooled: u64,
    /// Records that were dropped.
    pub dropped: u64,
}

impl<T: Send + 'static> Producer<T> {
    /// Starts the sender thread, and takes over what dead processes left in the folder of the spool.
    pub fn new(hub: &dyn Hub, options: ProducerOptions, reporter: Arc<dyn Reporter<T>>) -> Result<Self> {
        let (spool, left_alone) = options.spool.as_ref().map(Spool::open).transpose()?.unzip();
        let shared = Arc::new(ProducerState::new(options, spool, reporter));
        let publisher: Arc<dyn Publisher> = Arc::from(hub.publisher(Arc::new(DeliverySink(Arc::clone(&shared))))?);
        let (for_thread, hub_side) = (Arc::clone(&shared), Arc::clone(&publisher));
        let sender = std::thread::Builder::new()
            .name("gds-hub-send".to_owned())
            .spawn(move || {
                gds_process::leave_signals();
                sender::run(&for_thread, &*hub_side);
            })
            .map_err(|error| Error::Connection(format!("cannot start the sender thread: {error}").into()))?;
        left_alone.into_iter().flatten().for_each(|text| shared.warn(&text));
        Ok(Self { shared, publisher: Mutex::new(Some(publisher)), sender: Mutex::new(Some(sender)) })
    }

    /// Whether records get [`MESSAGE_ID`], since they may arrive twice.
    pub fn marks_records(&self) -> bool {
        self.shared.spool.is_some()
    }

    /// Ends a record begun with [`codec::begin`] as this producer needs it: with its id, if it may arrive twice.
    pub fn finish(&self, frame: &mut Vec<u8>, draft: Draft, has_value: bool, record: &Record<'_>) {
        match &self.shared.spool {
            None => codec::end(frame, draft, has_value, record, None),
            Some(spool) => {
                codec::end(frame, draft, has_value, record, Some((MESSAGE_ID, spool.next_message_id().as_bytes())));
            }
        }
    }

    /// Takes a record that [`finish`](Self::finish) ended. Never waits for the hub; with a spool, it may for the disk.
    /// After an error it is not accepted: it is not sent, and nothing is told with its token.
    pub fn send(&self, frame: &[u8], token: Option<T>, linger: Linger) -> Result<Sent<T>> {
        self.shared.send(frame, token, linger)
    }

    /// As [`send`](Self::send), if that waits neither for the disk nor for another thread that may; else gives back the
    /// token, for a thread that may wait.
    pub fn send_at_once(&self, frame: &[u8], token: Option<T>, linger: Linger) -> Result<Result<Sent<T>>, Option<T>> {
        self.shared.send_at_once(frame, token, linger)
    }

    /// As [`send`](Self::send), but never [`Sent::Full`]: waits for room for [`ProducerOptions::max_block`], or until
    /// `deadline` if that is sooner. `interrupt` is asked every 50 ms whether to go on waiting.
    ///
    /// # Errors
    /// Those of `send`; [`Error::Timeout`], with the record counted as dropped; or what
    /// `interrupt` returned.
    pub fn send_blocking<E>(
        &self,
        frame: &[u8],
        token: Option<T>,
        linger: Linger,
        deadline: Option<Instant>,
        mut interrupt: impl FnMut() -> Result<(), E>,
    ) -> Result<Sent<T>, BlockingError<E>> {
        let longest = Instant::now() + self.max_block();
        let until = deadline.map_or(longest, |deadline| deadline.min(longest));
        let mut token = token;
        loop {
            match self.send(frame, token, linger)? {
                Sent::Full(back) => token = back,
                done => return Ok(done),
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                let bound = if until < longest { Some("the timeout given") } else { None };
                return Err(self.no_room(bound).into());
            }
            self.wait_for_room(left.min(INTERRUPT_CHECK));
            interrupt().map_err(BlockingError::Interrupted)?;
        }
    }

    /// How long [`send_blocking`](Self::send_blocking) waits for room.
    pub fn max_block(&self) -> Duration {
        self.shared.options.max_block
    }

    /// Waits until there may be room again; for callers to whom `send` said [`Sent::Full`], and who wait in another way
    /// than [`send_blocking`](Self::send_blocking) does.
    pub fn wait_for_room(&self, timeout: Duration) {
        self.shared.room.wait(timeout);
    }

    /// Counts a record as dropped for which there was no room within `bound`, by default
    /// [`max_block`](Self::max_block), and says so.
    pub fn no_room(&self, bound: Option<&str>) -> Error {
        self.shared.gave_up_waiting();
        let max_block = || format!("max_block_ms={}", self.max_block().as_millis());
        let bound = bound.map_or_else(max_block, str::to_owned);
        let message = format!(
            "no room for the message within {bound}: the hub is slow or away; raise buffer_memory, or choose another \
             on_full or a spool_dir"
        );
        Error::Timeout(Failure::new(message).retriable())
    }

    /// What [`send`](Self::send) answered for a record that nobody waits with: without room it is counted as dropped.
    pub fn drop_if_full(&self, sent: Result<Sent<T>>) -> Result<()> {
        match sent {
            Ok(Sent::Queued | Sent::Dropped(..)) => Ok(()),
            Err(error) if !matches!(error, Error::Full(_)) => Err(error),
            Ok(Sent::Full(_)) | Err(_) => {
                self.shared.gave_up_waiting();
                Ok(())
            }
        }
    }

    /// A record as [`send`](Self::send) takes it.
    pub fn encode(&self, record: &Record<'_>) -> Vec<u8> {
        let mut frame = Vec::new();
        let draft = codec::begin(&mut frame, record.key);
        frame.extend_from_slice(record.value.unwrap_or_default());
        self.finish(&mut frame, draft, record.value.is_some(), record);
        frame
    }

    /// Has everything sent without further lingering.
    pub fn hurry(&self) {
        self.shared.hurry();
    }

    /// As [`hurry`](Self::hurry), but not before the records have arrived that are under way: what comes until then
    /// shares a request.
    pub fn hurry_when_idle(&self) {
        self.shared.hurry_when_idle();
    }

    /// Waits until the outcome of everything accepted so far is known and told; whether it is.
    pub fn wait_flushed(&self, timeout: Duration) -> bool {
        self.shared.wait_flushed(timeout)
    }

    /// Records accepted whose outcome is not known, or not told yet.
    pub fn unflushed(&self) -> u64 {
        self.shared.unflushed()
    }

    /// Whether this is called from within the [`Reporter`], where waiting for outcomes would be waiting for oneself.
    pub fn is_reporting_here(&self) -> bool {
        self.shared.is_reporting_here()
    }

    /// What was counted so far.
    pub fn stats(&self) -> Stats {
        let mut stats = self.shared.stats();
        let publisher = self.publisher.lock().clone();
        if let Some(publisher) = publisher {
            stats.in_flight = publisher.in_flight() as u64;
            stats.hub = publisher.statistics();
        }
        stats
    }

    /// Accepts no more, waits for the outcomes of the rest for at most `timeout`, then leaves the rest to the spool
    /// or drops it, counted. Does nothing the second time. Not to be called from within the [`Reporter`].
    pub fn close(&self, timeout: Duration) -> CloseReport {
        let Some(sender) = self.sender.lock().take() else { return CloseReport::default() };
        end(&self.shared, sender, &self.publisher, timeout)
    }
}

impl<T: Send + 'static> Producer<T> {
    /// What is to be said of a producer that was closed, if not all was delivered: nothing is lost silently.
    pub fn close_warning(&self, report: &CloseReport) -> Option<String> {
        let CloseReport { spooled, dropped } = *report;
        if dropped > 0 {
            let advice = "raise close_timeout_seconds, or give a spool_dir to keep them";
            return Some(format!(
                "{dropped} messages were not delivered before the client was closed: dropped; {advice}"
            ));
        }
        let dir = self.shared.options.spool.as_ref().map(|spool| spool.dir.display().to_string()).unwrap_or_default();
        (spooled > 0).then(|| format!("{spooled} messages stay in the spool {dir}, for the next process"))
    }
}

impl<T: Send + 'static> Drop for Producer<T> {
    fn drop(&mut self) {
        let Some(sender) = self.sender.get_mut().take() else { return };
        let publisher = std::mem::take(&mut self.publisher);
        if !self.shared.is_reporting_here() {
            end(&self.shared, sender, &publisher, Duration::ZERO);
            return;
        }
        // What was told held the last reference. This thread may be the sender or the hub's: it cannot wait for itself.
        let shared = Arc::clone(&self.shared);
        let ended = std::thread::Builder::new()
            .name("gds-hub-end".to_owned())
            .spawn(move || end(&shared, sender, &publisher, Duration::ZERO));
        drop(ended); // without a thread for it, the sender goes on
    }
}

fn end<T: Send + 'static>(
    shared: &ProducerState<T>,
    sender: JoinHandle<()>,
    publisher: &Mutex<Option<Arc<dyn Publisher>>>,
    timeout: Duration,
) -> CloseReport {
    shared.refuse_more();
    shared.hurry();
    let flushed = shared.wait_flushed(timeout);
    shared.abandon.store(true, Ordering::SeqCst);
    shared.work.notify();
    shared.progress.notify();
    let _ = sender.join(); // a panic there was told by the panic hook; the rest still has to be counted
    let publisher = publisher.lock().take();
    if let Some(publisher) = &publisher
        && !flushed
    {
        publisher.purge();
        let deadline = Instant::now() + LAST_OUTCOMES;
        while publisher.in_flight() > 0 && Instant::now() < deadline {
            shared.flushed.wait(Duration::from_millis(20));
        }
    }
    let left = shared.leave_the_rest();
    drop(publisher);
    left
}

#[cfg(test)]
mod tests;
