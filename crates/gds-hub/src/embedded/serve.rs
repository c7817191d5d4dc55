//! Serving the hub to other processes: a thread that takes connections, and one for each of them.

use std::collections::HashMap;
use std::io;
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::{Arc, Weak};
use std::thread;
use std::time::{Duration, Instant};

use gds_process::sync::Mutex;
use gds_process::{ParentOnly, leave_signals};
use rustix::event::{PollFd, PollFlags};
use serde::Serialize;
use serde_json::Value;

use super::Core;
use super::protocol::{ChangeKind, Found, PartitionOffset, Published, Reply, Request, Wire};
use super::publisher::{EmbeddedPublisher, Mark};
use super::subscriber::EmbeddedSubscriber;
use crate::batch::Batch;
use crate::codec;
use crate::error::{Error, Result};
use crate::event::Event;
use crate::hub::{Admin, Change, Deliveries, Delivery, Subscriber};
use crate::record::Record;

/// How often it is looked whether who waits for messages is still there: its partitions go to others then.
const LOOK: Duration = Duration::from_millis(200);
/// The same while records are read for it.
const LOOK_RECORDS: usize = 1000;
/// Before connections are taken again when the process has no descriptor left.
const EXHAUSTED: Duration = Duration::from_millis(50);

/// Serves for as long as it is kept.
#[derive(Debug)]
pub(super) struct Server {
    connections: Arc<Connections>,
    /// The thread that takes connections ends when this is dropped.
    wake: ParentOnly<UnixStream>,
}

#[derive(Debug, Default)]
struct Connections {
    state: Mutex<State>,
    ended: Event,
}

#[derive(Debug, Default)]
struct State {
    stops: bool,
    threads: usize,
    last: u64,
    streams: HashMap<u64, Arc<ParentOnly<UnixStream>>>,
}

impl Server {
    pub(super) fn start(listener: UnixListener, core: &Arc<Core>) -> io::Result<Self> {
        let (wake, woken) = UnixStream::pair()?;
        let connections = Arc::new(Connections::default());
        let (listener, core) = (ParentOnly::new(listener), Arc::downgrade(core));
        begin(&connections, None, {
            let connections = connections.clone();
            move || take(&connections, &core, &listener, &woken)
        })?;
        Ok(Self { connections, wake: ParentOnly::new(wake) })
    }

    /// Returns when nobody is served any longer.
    pub(super) fn stop(self, core: &Core) {
        let Self { connections, wake } = self;
        drop(wake);
        {
            let mut state = connections.state.lock();
            state.stops = true;
            for stream in state.streams.values() {
                let _ = stream.shutdown(std::net::Shutdown::Both); // fails where the other side is gone
            }
        }
        core.end();
        let is_over = || connections.state.lock().threads == 0;
        while !is_over() {
            connections.ended.wait_until(Duration::from_secs(1), is_over);
        }
    }
}

/// Runs `work` in a thread that is waited for at the end, with the stream that it is about.
fn begin(
    connections: &Arc<Connections>,
    stream: Option<Arc<ParentOnly<UnixStream>>>,
    work: impl FnOnce() + Send + 'static,
) -> io::Result<()> {
    let running = {
        let mut state = connections.state.lock();
        if state.stops {
            return Ok(());
        }
        state.threads += 1;
        state.last += 1;
        let number = state.last;
        stream.map(|stream| state.streams.insert(number, stream));
        ThreadGuard { connections: connections.clone(), number }
    };
    let thread = thread::Builder::new().name("gds-hub-serve".to_owned());
    thread.spawn(move || {
        let _running = running; // until all that `work` has is let go of
        leave_signals();
        work();
    })?;
    Ok(())
}

struct ThreadGuard {
    connections: Arc<Connections>,
    number: u64,
}

impl Drop for ThreadGuard {
    fn drop(&mut self) {
        let mut state = self.connections.state.lock();
        state.streams.remove(&self.number);
        state.threads -= 1;
        drop(state);
        self.connections.ended.notify();
    }
}

/// Takes connections until `woken` is closed at the other end.
fn take(connections: &Arc<Connections>, core: &Weak<Core>, listener: &ParentOnly<UnixListener>, woken: &UnixStream) {
    loop {
        let mut ready = [PollFd::new(woken, PollFlags::IN), PollFd::new(&**listener, PollFlags::IN)];
        match rustix::event::poll(&mut ready, None) {
            Err(rustix::io::Errno::INTR) => continue,
            Err(_) => return,
            Ok(_) if !ready[0].revents().is_empty() => return,
            Ok(_) => {}
        }
        let accepted = listener.accept().and_then(|(stream, _)| {
            stream.set_nonblocking(true)?;
            let (stream, core) = (Arc::new(ParentOnly::new(stream)), core.clone());
            begin(connections, Some(stream.clone()), move || {
                if let Some(core) = core.upgrade() {
                    let _ = talk(core, stream); // an error: the other side is gone
                }
            })
        });
        if accepted.is_err_and(|error| error.kind() != io::ErrorKind::WouldBlock) {
            thread::sleep(EXHAUSTED);
        }
    }
}

/// Answers one client until it is gone.
fn talk(core: Arc<Core>, stream: Arc<ParentOnly<UnixStream>>) -> io::Result<()> {
    let Some(mut wire) = Wire::accept(stream)? else { return Ok(()) };
    let mut client = Client { core, publisher: None, subscriber: None, batch: Batch::default() };
    let mut data = Vec::new();
    while wire.receive(None)? {
        data.clear();
        match wire.decode()? {
            Request::Publish => {
                let published = client.publish(wire.data());
                wire.send(&Reply { outcome: published, changes: Vec::new() }, &[])?;
            }
            request => {
                let over = || wire.is_over();
                let outcome = client.answer(request, &mut data, &over);
                wire.send(&Reply { outcome, changes: client.changes() }, &data)?;
            }
        }
        wire.forget();
    }
    Ok(())
}

/// A client of another process.
struct Client {
    core: Arc<Core>,
    publisher: Option<(u64, EmbeddedPublisher)>,
    subscriber: Option<EmbeddedSubscriber>,
    batch: Batch,
}

fn encoded<T: Serialize>(outcome: Result<T>) -> Result<Value> {
    serde_json::to_value(outcome?).map_err(|error| Error::Serialization(error.to_string().into()))
}

fn out_of_place() -> Error {
    Error::Config("the client has not said before what it is".into())
}

impl Client {
    fn answer(&mut self, request: Request, data: &mut Vec<u8>, over: &dyn Fn() -> bool) -> Result<Value> {
        const NOW: Duration = Duration::ZERO;
        let core = &*self.core;
        match request {
            Request::Check => encoded(core.check()),
            Request::Sync => encoded(core.sync()),
            Request::CreateTopic(topic) => encoded(core.create_topic(&topic, NOW)),
            Request::DeleteTopic(name) => encoded(core.delete_topic(&name, NOW)),
            Request::AlterTopic(name, changes) => encoded(core.alter_topic(&name, &changes, NOW)),
            Request::TopicConfig(name) => encoded(core.topic_config(&name, NOW)),
            Request::Topics(name) => encoded(core.topics(name.as_deref(), NOW)),
            Request::GroupLag(group) => encoded(core.lag(&group, NOW)),
            Request::Groups => encoded(core.groups(NOW)),
            Request::Statistics => encoded(Ok(core.statistics())),
            Request::Publisher { id, topics, since_ms } => {
                let publisher = EmbeddedPublisher::new(self.core.clone(), Arc::new(IgnoredOutcomes), None);
                self.publisher = Some((id, publisher));
                encoded(self.find(id, &topics, since_ms, over))
            }
            Request::Publish => Err(out_of_place()), // answered by who has its data
            Request::Subscribe { subscription, resumed } => {
                let resumed: Vec<_> = resumed.iter().map(|place| (place.pair(), place.offset)).collect();
                let subscriber = EmbeddedSubscriber::new(self.core.clone(), &subscription, &resumed, None)?;
                self.subscriber = Some(subscriber);
                encoded(Ok(()))
            }
            Request::Poll { max, timeout } => encoded(self.poll(max, timeout, data, over)),
            request => answer_of(self.subscriber.as_mut().ok_or_else(out_of_place)?, request),
        }
    }

    /// What is there of what a publisher has published to these topics since then.
    fn find(&self, id: u64, topics: &[String], since_ms: i64, over: &dyn Fn() -> bool) -> Result<Vec<Found>> {
        let mut found = Vec::new();
        let mut read = 0_usize;
        for topic in topics.iter().filter_map(|name| self.core.topics.get(name)) {
            topic.each_since(since_ms, |partition, offset, record| {
                if let Some(number) = Mark::read(record.topic).filter(|mark| mark.publisher == id) {
                    found.push((number.number, partition, offset));
                }
                read += 1;
                // Who has asked may be gone, and there may be millions.
                !read.is_multiple_of(LOOK_RECORDS) || !over()
            })?;
        }
        Ok(found)
    }

    fn publish(&self, mut data: &[u8]) -> Result<Published> {
        let (id, publisher) = self.publisher.as_ref().ok_or_else(out_of_place)?;
        let mut outcomes = Vec::new();
        let mut stopped = None;
        while let Some((number, rest)) = data.split_first_chunk() {
            let malformed = |_| Error::Serialization("these bytes are no record".into());
            let (record, taken) = codec::read(rest).map_err(malformed)?;
            data = &rest[taken..];
            let mark = Mark { publisher: *id, number: u64::from_le_bytes(*number) };
            match publisher.append(&record, &mark.to_string()) {
                Ok((_, partition, offset)) => outcomes.push(Ok((partition, i64::try_from(offset).unwrap_or(i64::MAX)))),
                // Those behind it must not overtake it.
                Err(error) if error.retriable() => {
                    stopped = Some(error);
                    break;
                }
                Err(error) => outcomes.push(Err(error)),
            }
        }
        self.core.changed.notify();
        Ok((outcomes, stopped))
    }

    /// Waits for messages while the client is there.
    fn poll(&mut self, max: usize, timeout: Duration, data: &mut Vec<u8>, over: &dyn Fn() -> bool) -> Result<()> {
        let subscriber = self.subscriber.as_mut().ok_or_else(out_of_place)?;
        let deadline = Instant::now().checked_add(timeout);
        self.batch.clear();
        loop {
            let left = deadline.map_or(LOOK, |deadline| deadline.saturating_duration_since(Instant::now()));
            let polled = subscriber.poll(&mut self.batch, max, left.min(LOOK));
            if self.batch.is_empty() {
                polled?; // else it fails again the next time
            }
            if !self.batch.is_empty() || subscriber.has_changes() || left <= LOOK || self.core.ends() || over() {
                break;
            }
        }
        for message in self.batch.iter() {
            data.extend_from_slice(&message.offset.to_le_bytes());
            let record = Record {
                topic: message.topic,
                partition: Some(message.partition),
                timestamp: message.timestamp.unwrap_or_default(),
                key: message.key,
                value: message.value,
                headers: message.headers,
            };
            codec::write(data, &record);
        }
        Ok(())
    }

    fn changes(&mut self) -> Vec<(ChangeKind, Vec<PartitionOffset>)> {
        let Some(subscriber) = &mut self.subscriber else { return Vec::new() };
        let changes = subscriber.changes().into_iter().map(|change| match change {
            Change::Assigned(places) => {
                let begins = places.iter().map(|place| PartitionOffset::new(place, subscriber.resumes_at(place)));
                (ChangeKind::Assigned, begins.collect())
            }
            Change::Revoking(places) => (ChangeKind::Revoking, PartitionOffset::all(&places)),
            Change::Revoked(places) => (ChangeKind::Revoked, PartitionOffset::all(&places)),
        });
        changes.collect()
    }
}

fn answer_of(subscriber: &mut EmbeddedSubscriber, request: Request) -> Result<Value> {
    const NOW: Duration = Duration::ZERO;
    let pairs = |places: &[PartitionOffset]| places.iter().map(PartitionOffset::pair).collect::<Vec<_>>();
    match request {
        Request::GiveUp => encoded(subscriber.give_up()),
        Request::Assign(places) => encoded(subscriber.assign(&pairs(&places))),
        Request::OffsetsForTimes(places) => {
            let times: Vec<_> = places.iter().map(|place| (place.pair(), place.offset.unwrap_or(0))).collect();
            let found = subscriber.offsets_for_times(&times, NOW);
            encoded(found.map(|found| found.into_iter().map(|(_, offset)| offset).collect::<Vec<_>>()))
        }
        Request::Offsets(places, which) => {
            let found = subscriber.offsets(&pairs(&places), which, NOW);
            encoded(found.map(|found| found.into_iter().map(|(_, offset)| offset).collect::<Vec<_>>()))
        }
        Request::Commit(places) => {
            encoded(subscriber.commit(&places.iter().map(PartitionOffset::position).collect::<Vec<_>>(), true))
        }
        Request::Seek(place) => encoded(subscriber.seek(&place.position())),
        Request::Pause(places) => encoded(subscriber.pause(&pairs(&places))),
        Request::Resume(places) => encoded(subscriber.resume(&pairs(&places))),
        Request::Assignment => encoded(subscriber.assignment().map(|places| PartitionOffset::all(&places))),
        Request::Lag => encoded(subscriber.lag(NOW)),
        Request::Close => encoded(subscriber.close()),
        _ => Err(out_of_place()),
    }
}

/// Outcomes go back to the client with the answer.
struct IgnoredOutcomes;

impl Deliveries for IgnoredOutcomes {
    fn delivered(&self, _: u64, _: &Delivery<'_>) {}

    fn failed(&self, _: u64, _: &Record<'_>, _: &Error) {}
}
