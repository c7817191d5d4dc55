//! The way into a hub that another process has.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io;
use std::mem;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use gds_process::clock::now_ms;
use gds_process::sync::Mutex;

use super::link::Link;
use super::protocol::{Found, Outcome, Published, Reply, Request};
use super::publisher::EmbeddedPublisher;
use super::{EmbeddedOptions, HubFolder};
use crate::codec;
use crate::error::{Error, Result};
use crate::hub::{Deliveries, Delivery, Publisher};
use crate::record::Record;

/// Records are published together up to this many bytes.
const BATCH_BYTES: usize = 256 << 10;
/// How long a call waits for an answer. Later calls go on waiting for it.
const TIMEOUT: Duration = Duration::from_secs(1);
/// How long figures are waited for: nobody needs them.
const FIGURES_TIMEOUT: Duration = Duration::from_millis(100);
/// How far the clock may be set back while a record is under way, or it may be there twice.
const CLOCK_SLACK_MS: i64 = 60_000;

/// Collects records, publishes them together, and keeps them until they are acknowledged: by the process that has the
/// hub, or the one after it, which is asked first what it has of them.
pub(super) struct RemotePublisher {
    home: HubFolder,
    deliveries: Arc<dyn Deliveries>,
    id: u64,
    state: Mutex<State>,
    /// The way to the hub once this process has it and all that was on its way to another one has its outcome.
    local: OnceLock<EmbeddedPublisher>,
    /// Records whose outcome is not told.
    in_flight: AtomicUsize,
}

struct State {
    link: Link,
    /// Records, each with its number before.
    batch: Vec<u8>,
    /// What the caller calls each of them.
    ids: Vec<u64>,
    next_number: u64,
    /// Before any of the batch can have been appended, in milliseconds since the epoch; none if none of it was sent.
    since_ms: Option<i64>,
    /// The answer of the process that it is connected to is awaited.
    asked: Option<Question>,
    /// The process that it is connected to has answered who it is.
    introduced: bool,
    /// Why the batch is still here, if it was to be gone.
    stuck: Option<Error>,
}

/// What is asked for over the stream.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Question {
    /// [`Request::Publisher`]
    Publisher,
    /// [`Request::Publish`]
    Publish,
}

/// Records whose outcomes are known; told when nothing is locked.
#[derive(Default)]
struct Resolved {
    batch: Vec<u8>,
    /// Id, place in the batch and outcome.
    outcomes: Vec<(u64, usize, Outcome)>,
}

impl fmt::Debug for RemotePublisher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RemotePublisher").field("home", &self.home).finish_non_exhaustive()
    }
}

impl RemotePublisher {
    pub(super) fn new(home: HubFolder, options: EmbeddedOptions, deliveries: Arc<dyn Deliveries>) -> Self {
        let state = State {
            link: Link::new(home.path.clone(), options),
            batch: Vec::new(),
            ids: Vec::new(),
            next_number: 0,
            since_ms: None,
            asked: None,
            introduced: false,
            stuck: None,
        };
        let id = gds_process::random::random();
        Self { home, deliveries, id, state: Mutex::new(state), local: OnceLock::new(), in_flight: AtomicUsize::new(0) }
    }

    /// As if the records from the first on were still under way, `back` of them, and nobody there to answer.
    #[cfg(test)]
    pub(super) fn forget_answer(&self, back: u64) {
        let mut state = self.state.lock();
        state.link.disconnect();
        state.since_ms = Some(now_ms() - CLOCK_SLACK_MS);
        state.next_number -= back;
    }

    /// Publishes what was collected, as far as that is possible now; then goes without the socket if there is none in
    /// between.
    fn exchange(&self) {
        self.exchange_remotely();
        let mut state = self.state.lock();
        if state.ids.is_empty()
            && let Some(owner) = state.link.owner()
        {
            state.link.leave();
            let local = EmbeddedPublisher::new(owner.core.clone(), self.deliveries.clone(), Some(owner));
            let _ = self.local.set(local); // with the state locked, so that nobody was faster
        }
    }

    /// Publishes through the socket.
    pub(super) fn exchange_remotely(&self) {
        let deadline = Instant::now() + TIMEOUT;
        let mut goes_on = true;
        while goes_on {
            let resolved = {
                let mut state = self.state.lock();
                state.stuck = None;
                let step = state.step(self.id, deadline);
                if let Err(error) = &step {
                    state.stuck = Some(error.clone());
                }
                goes_on = matches!(step, Ok(Some(_))) && state.stuck.is_none();
                step.ok().flatten().unwrap_or_default()
            };
            self.report(&resolved);
        }
    }

    fn report(&self, resolved: &Resolved) {
        for (id, start, outcome) in &resolved.outcomes {
            let Ok((record, _)) = codec::read(&resolved.batch[*start..]) else { unreachable!("written by codec") };
            match outcome {
                Ok((partition, offset)) => {
                    let (topic, timestamp) = (record.topic, record.timestamp);
                    let place = Delivery { topic, partition: *partition, offset: *offset, timestamp };
                    self.deliveries.delivered(*id, &place);
                }
                Err(error) => self.deliveries.failed(*id, &record, error),
            }
            self.in_flight.fetch_sub(1, Ordering::SeqCst);
        }
        if !resolved.outcomes.is_empty() {
            self.deliveries.collected();
        }
    }
}

impl State {
    /// One step towards an empty batch: none when it is empty, an error when it has to stay for now.
    fn step(&mut self, publisher: u64, deadline: Instant) -> Result<Option<Resolved>> {
        if self.ids.is_empty() {
            return Ok(None);
        }
        let may_change = |error: Error| Error::Full(error.into_failure().retriable());
        if !self.link.is_connected() {
            self.link.connect(Some(deadline)).map_err(may_change)?;
            (self.asked, self.introduced) = (None, false);
        }
        let (question, sent) = match self.asked {
            // It is not asked again: a process that needs longer would have that to do too.
            Some(question) => (question, Ok(())),
            None if self.introduced => (Question::Publish, self.ask_to_publish()),
            None => (Question::Publisher, self.introduce(publisher)),
        };
        self.asked = Some(question);
        let Some(wire) = self.link.wire() else { unreachable!("connected") };
        let received = match sent.and_then(|()| wire.receive(Some(deadline))) {
            Ok(true) => Ok(()),
            Ok(false) => return Err(self.link.unanswered()),
            Err(error) => Err(error),
        };
        let resolved = match question {
            Question::Publisher => match received.and_then(|()| wire.decode::<Reply<Vec<Found>>>()) {
                Ok(reply) => {
                    let found = reply.outcome.inspect_err(|_| self.link.disconnect()).map_err(may_change)?;
                    self.introduced = true;
                    Ok(self.resolve_found(found))
                }
                Err(error) => Err(error),
            },
            Question::Publish => match received.and_then(|()| wire.decode::<Reply<Published>>()) {
                Ok(reply) => {
                    let published = reply.outcome.inspect_err(|_| self.link.disconnect()).map_err(may_change)?;
                    let (outcomes, stopped) = published;
                    let mut outcomes = outcomes.into_iter();
                    self.stuck = stopped;
                    Ok(self.resolve(|_| outcomes.next()))
                }
                Err(error) => Err(error),
            },
        };
        let Ok(resolved) = resolved else {
            self.link.lose(Some(deadline))?; // it went away; who is next?
            return Ok(Some(Resolved::default()));
        };
        self.asked = None;
        if let Some(wire) = self.link.wire() {
            wire.forget();
        }
        Ok(Some(resolved))
    }

    /// Asks the process at the other end what it has of the batch, if it may have anything.
    fn introduce(&mut self, id: u64) -> io::Result<()> {
        let (topics, since_ms) = match self.since_ms {
            Some(since_ms) => (self.topics(), since_ms),
            None => (Vec::new(), i64::MAX),
        };
        self.send(&Request::Publisher { id, topics, since_ms }, false)
    }

    fn ask_to_publish(&mut self) -> io::Result<()> {
        self.since_ms.get_or_insert_with(|| now_ms() - CLOCK_SLACK_MS);
        self.send(&Request::Publish, true)
    }

    fn send(&mut self, request: &Request, with_batch: bool) -> io::Result<()> {
        let Some(wire) = self.link.wire() else { unreachable!("connected") };
        wire.send(request, if with_batch { &self.batch } else { &[] })
    }

    /// Takes the records out that are there, and those that must not come behind them now.
    fn resolve_found(&mut self, found: Vec<Found>) -> Resolved {
        let mut found: BTreeMap<_, _> =
            found.into_iter().map(|(number, partition, offset)| (number, (partition, offset))).collect();
        // What is before one that came through was taken or refused.
        let taken = found.keys().next_back().copied();
        let is_unknown = |number| Some(number) < taken;
        self.resolve(|number| {
            let outcome = found.remove(&number).map(Ok);
            outcome.or_else(|| is_unknown(number).then(|| Err(outcome_unknown())))
        })
    }

    /// Takes the records out whose outcome is known.
    fn resolve(&mut self, mut outcome_of: impl FnMut(u64) -> Option<Outcome>) -> Resolved {
        let (batch, ids) = (mem::take(&mut self.batch), mem::take(&mut self.ids));
        let mut outcomes = Vec::with_capacity(ids.len());
        let mut at = 0;
        for id in ids {
            let (number, start) = (number_at(&batch, at), at + 8);
            let end = start + codec::read(&batch[start..]).map_or(0, |(_, taken)| taken);
            if let Some(outcome) = outcome_of(number) {
                outcomes.push((id, start, outcome));
            } else {
                self.batch.extend_from_slice(&batch[at..end]);
                self.ids.push(id);
            }
            at = end;
        }
        if self.ids.is_empty() {
            self.since_ms = None;
        }
        Resolved { batch, outcomes }
    }

    /// The topics of the batch.
    fn topics(&self) -> Vec<String> {
        let (mut topics, mut rest) = (BTreeSet::new(), &self.batch[..]);
        while let Some((record, taken)) = rest.get(8..).and_then(|bytes| codec::read(bytes).ok()) {
            topics.insert(record.topic);
            rest = &rest[8 + taken..];
        }
        topics.into_iter().map(str::to_owned).collect()
    }
}

fn outcome_unknown() -> Error {
    let message = "the hub went to another process, which does not know what became of this record: it was refused, or \
                   is gone again";
    Error::Message(message.into())
}

fn number_at(batch: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(std::array::from_fn(|byte| batch[at + byte]))
}

impl Publisher for RemotePublisher {
    fn publish(&self, id: u64, record: &Record<'_>) -> Result<()> {
        self.home.check()?;
        if let Some(local) = self.local.get() {
            return local.publish(id, record);
        }
        if let Some(partition) = record.partition.filter(|partition| *partition < 0) {
            let message = format!("partition {partition} of topic {:?}; expected 0 or more", record.topic);
            self.deliveries.failed(id, record, &Error::Message(message.into()));
            self.deliveries.collected();
            return Ok(());
        }
        let is_full = {
            let mut state = self.state.lock();
            if let Some(local) = self.local.get() {
                drop(state);
                return local.publish(id, record);
            }
            if let Some(error) = &state.stuck {
                return Err(Error::Full(error.clone().into_failure()));
            }
            let State { batch, ids, next_number, .. } = &mut *state;
            batch.extend_from_slice(&next_number.to_le_bytes());
            codec::write(batch, record);
            *next_number += 1;
            ids.push(id);
            self.in_flight.fetch_add(1, Ordering::SeqCst);
            batch.len() >= BATCH_BYTES
        };
        if is_full {
            self.exchange();
        }
        Ok(())
    }

    fn handed_over(&self) {
        if self.in_flight() > 0 && self.home.is_here() {
            self.exchange();
        }
    }

    fn idle(&self) {
        self.handed_over();
    }

    fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::SeqCst)
    }

    fn purge(&self) {
        if !self.home.is_here() {
            return;
        }
        let resolved = {
            let mut state = self.state.lock();
            state.link.disconnect();
            state.stuck = None;
            let error = state.link.unanswered();
            state.resolve(|_| Some(Err(error.clone())))
        };
        self.report(&resolved);
    }

    fn statistics(&self) -> BTreeMap<String, f64> {
        if let Some(local) = self.local.get() {
            return local.statistics();
        }
        let state = self.home.is_here().then(|| self.state.try_lock()).flatten();
        let Some(mut state) = state.filter(|state| state.asked.is_none()) else { return BTreeMap::new() };
        let deadline = Instant::now().checked_add(FIGURES_TIMEOUT);
        let reply = state.link.ask::<BTreeMap<String, f64>>(&Request::Statistics, deadline);
        reply.ok().flatten().and_then(|reply| reply.outcome.ok()).unwrap_or_default()
    }

    fn warnings(&self) -> Vec<String> {
        self.local.get().map(Publisher::warnings).unwrap_or_default()
    }
}
