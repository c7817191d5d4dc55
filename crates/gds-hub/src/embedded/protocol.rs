//! What processes that share a hub say to each other, over a stream between them.
//!
//! ```text
//! greeting  6 bytes "GDSHUB", u16 version, u32 process; both sides, once
//! frame     u32 length of the JSON, u32 length of the data, JSON, data
//! ```
//!
//! All numbers are little-endian. One side asks and waits for the answer. A publisher, a subscriber and a client that
//! looks after topics have a stream each. The greeting stays as it is in all versions.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use gds_process::ParentOnly;
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::net::SendFlags;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::socket;
use crate::error::Error;
use crate::hub::{NewTopic, OffsetSpec, Position, Subscription, TopicPartition};

/// Of what is said; to be raised with each change of it.
const VERSION: u16 = 1;
const MAGIC: [u8; 6] = *b"GDSHUB";
/// How long a greeting is waited for at a time.
const GREETING: Duration = Duration::from_secs(5);
/// Memory for frames is given back when one took more than this.
const KEEP_BYTES: usize = 8 << 20;

/// No signal when the other end is gone: the program may be one that such a signal ends.
#[cfg(not(target_vendor = "apple"))]
const SEND: SendFlags = SendFlags::NOSIGNAL;
#[cfg(target_vendor = "apple")]
const SEND: SendFlags = SendFlags::empty(); // its sockets are made so

/// A partition, and an offset in it.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(super) struct PartitionOffset {
    pub(super) topic: String,
    pub(super) partition: i32,
    pub(super) offset: Option<i64>,
}

impl PartitionOffset {
    pub(super) fn new((topic, partition): &TopicPartition, offset: Option<i64>) -> Self {
        Self { topic: topic.to_string(), partition: *partition, offset }
    }

    pub(super) fn all(places: &[TopicPartition]) -> Vec<Self> {
        places.iter().map(|place| Self::new(place, None)).collect()
    }

    pub(super) fn of(Position { topic, partition, offset }: &Position) -> Self {
        Self { topic: topic.to_string(), partition: *partition, offset: Some(*offset) }
    }

    pub(super) fn pair(&self) -> TopicPartition {
        (Arc::from(&*self.topic), self.partition)
    }

    pub(super) fn position(&self) -> Position {
        Position { topic: Arc::from(&*self.topic), partition: self.partition, offset: self.offset.unwrap_or(-1) }
    }
}

/// What happens to partitions of a subscriber.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
pub(super) enum ChangeKind {
    Assigned,
    Revoking,
    Revoked,
}

/// What is asked for.
#[derive(Debug, Deserialize, Serialize)]
pub(super) enum Request {
    Check,
    Sync,
    CreateTopic(NewTopic),
    DeleteTopic(String),
    AlterTopic(String, BTreeMap<String, Option<String>>),
    TopicConfig(String),
    Topics(Option<String>),
    GroupLag(String),
    Groups,
    Statistics,
    /// Records will be published by `id`; the answer says which of those to `topics` are there that it has published
    /// since the time `since_ms`.
    Publisher {
        id: u64,
        topics: Vec<String>,
        since_ms: i64,
    },
    /// The data are records, each with its number before.
    Publish,
    /// With the places where it was before, at somebody who has the folder no more.
    Subscribe {
        subscription: Subscription,
        resumed: Vec<PartitionOffset>,
    },
    Poll {
        max: usize,
        timeout: Duration,
    },
    GiveUp,
    Assign(Vec<PartitionOffset>),
    OffsetsForTimes(Vec<PartitionOffset>),
    Offsets(Vec<PartitionOffset>, OffsetSpec),
    Commit(Vec<PartitionOffset>),
    Seek(PartitionOffset),
    Pause(Vec<PartitionOffset>),
    Resume(Vec<PartitionOffset>),
    Assignment,
    Lag,
    Close,
}

/// The answer, and for a subscriber what happened to its partitions meanwhile.
#[derive(Debug, Deserialize, Serialize)]
pub(super) struct Reply<T> {
    pub(super) outcome: Result<T, Error>,
    pub(super) changes: Vec<(ChangeKind, Vec<PartitionOffset>)>,
}

/// Where a published record landed, or why it did not.
pub(super) type Outcome = Result<(i32, i64), Error>;
/// What became of the records of a [`Request::Publish`], in order. With an error, the rest is to come again.
pub(super) type Published = (Vec<Outcome>, Option<Error>);
/// A record that is there: its number, partition and offset.
pub(super) type Found = (u64, i32, i64);

/// Why a stream did not come about.
#[derive(Debug)]
pub(super) enum ConnectError {
    /// Nobody serves there now.
    Away,
    /// Somebody does, and does not greet: it is about to open the hub, or was stopped.
    Silent,
    /// That will not change by itself.
    Refused(Error),
}

impl From<io::Error> for ConnectError {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::TimedOut { Self::Silent } else { Self::Away }
    }
}

/// One end of a stream.
#[derive(Debug)]
pub(super) struct Wire {
    stream: Arc<ParentOnly<UnixStream>>,
    /// The process at the other end.
    pub(super) peer: u32,
    incoming: Vec<u8>,
    filled: usize,
    outgoing: Vec<u8>,
    written: usize,
}

impl Wire {
    /// Connects to the process that has `folder`, and exchanges greetings.
    pub(super) fn connect(folder: &Path) -> Result<Self, ConnectError> {
        let stream = socket::connect(folder)?;
        socket::check_user(&stream).map_err(|error| ConnectError::Refused(super::unusable(folder, &error)))?;
        stream.set_nonblocking(true)?;
        let mut wire = Self::over(Arc::new(ParentOnly::new(stream)));
        let version = wire.greet()?;
        if version == VERSION {
            return Ok(wire);
        }
        let (folder, peer, here) = (folder.display(), wire.peer, std::process::id());
        let message = format!(
            "process {peer} has embedded hub {folder} and speaks version {version} of its protocol, and process {here} \
             version {VERSION}: use one version of this package in both"
        );
        Err(ConnectError::Refused(Error::Connection(message.into())))
    }

    /// One that somebody connected; none if that one is not to be served.
    pub(super) fn accept(stream: Arc<ParentOnly<UnixStream>>) -> io::Result<Option<Self>> {
        socket::check_user(&stream)?;
        let mut wire = Self::over(stream);
        Ok((wire.greet()? == VERSION).then_some(wire))
    }

    fn over(stream: Arc<ParentOnly<UnixStream>>) -> Self {
        Self { stream, peer: 0, incoming: Vec::new(), filled: 0, outgoing: Vec::new(), written: 0 }
    }

    /// Greets; the version of the other side.
    fn greet(&mut self) -> io::Result<u16> {
        self.outgoing.extend_from_slice(&MAGIC);
        self.outgoing.extend_from_slice(&VERSION.to_le_bytes());
        self.outgoing.extend_from_slice(&std::process::id().to_le_bytes());
        let deadline = Some(Instant::now() + GREETING);
        if !self.flush(deadline)? || !self.fill(12, deadline)? {
            return Err(io::ErrorKind::TimedOut.into());
        }
        let version = u16::from_le_bytes([self.incoming[6], self.incoming[7]]);
        if self.incoming[..6] != MAGIC {
            return Err(io::ErrorKind::InvalidData.into());
        }
        self.peer = self.number(8);
        self.filled = 0;
        Ok(version)
    }

    /// Writes a frame, as far as there is room; [`receive`](Self::receive) writes the rest.
    pub(super) fn send(&mut self, message: &impl Serialize, data: &[u8]) -> io::Result<()> {
        self.filled = 0;
        self.outgoing.extend_from_slice(&[0; 8]);
        serde_json::to_writer(&mut self.outgoing, message)?;
        let lengths = [self.outgoing.len() - 8, data.len()].map(u32::try_from);
        let [Ok(length), Ok(data_length)] = lengths else { return Err(io::ErrorKind::InvalidInput.into()) };
        self.outgoing[..4].copy_from_slice(&length.to_le_bytes());
        self.outgoing[4..8].copy_from_slice(&data_length.to_le_bytes());
        self.outgoing.extend_from_slice(data);
        self.flush(Some(Instant::now())).map(drop)
    }

    /// Whether a whole frame has come, before the deadline.
    pub(super) fn receive(&mut self, deadline: Option<Instant>) -> io::Result<bool> {
        if !self.flush(deadline)? || !self.fill(8, deadline)? {
            return Ok(false);
        }
        let length = 8 + self.number(0) as usize + self.number(4) as usize;
        self.fill(length, deadline)
    }

    /// What the frame that has come says.
    pub(super) fn decode<T: DeserializeOwned>(&self) -> io::Result<T> {
        Ok(serde_json::from_slice(&self.incoming[8..8 + self.number(0) as usize])?)
    }

    /// The data of the frame that has come.
    pub(super) fn data(&self) -> &[u8] {
        if self.filled < 8 { &[] } else { &self.incoming[8 + self.number(0) as usize..self.filled] }
    }

    /// Makes room for the next frame.
    pub(super) fn forget(&mut self) {
        self.filled = 0;
        if self.incoming.len() > KEEP_BYTES {
            self.incoming = Vec::new();
        }
    }

    /// Whether the other side is gone; it says nothing while it waits for an answer.
    pub(super) fn is_over(&self) -> bool {
        self.wait(PollFlags::IN, Some(Instant::now())).unwrap_or(true)
    }

    fn number(&self, at: usize) -> u32 {
        u32::from_le_bytes(std::array::from_fn(|byte| self.incoming[at + byte]))
    }

    fn flush(&mut self, deadline: Option<Instant>) -> io::Result<bool> {
        while self.written < self.outgoing.len() {
            match rustix::net::send(&**self.stream, &self.outgoing[self.written..], SEND) {
                Ok(written) => self.written += written,
                Err(rustix::io::Errno::INTR) => {}
                Err(rustix::io::Errno::AGAIN) => {
                    if !self.wait(PollFlags::OUT, deadline)? {
                        return Ok(false);
                    }
                }
                Err(error) => return Err(error.into()),
            }
        }
        self.written = 0;
        self.outgoing.clear();
        self.outgoing.shrink_to(KEEP_BYTES);
        Ok(true)
    }

    /// Has `size` bytes of a frame.
    fn fill(&mut self, size: usize, deadline: Option<Instant>) -> io::Result<bool> {
        if self.incoming.len() < size {
            self.incoming.resize(size, 0);
        }
        while self.filled < size {
            match (&**self.stream).read(&mut self.incoming[self.filled..size]) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(read) => self.filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if !self.wait(PollFlags::IN, deadline)? {
                        return Ok(false);
                    }
                }
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }

    /// Whether the stream is ready, before the deadline.
    fn wait(&self, flags: PollFlags, deadline: Option<Instant>) -> io::Result<bool> {
        loop {
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            let left = left.and_then(|left| Timespec::try_from(left).ok());
            match rustix::event::poll(&mut [PollFd::new(&**self.stream, flags)], left.as_ref()) {
                Err(rustix::io::Errno::INTR) => {}
                ready => return Ok(ready? > 0),
            }
        }
    }
}
