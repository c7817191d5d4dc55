//! The way out of Kafka.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka_sys as sys;

use super::Kafka;
use super::assign;
use super::client::{Client, Duty, NoDuty};
use super::consume::{Notice, Taker};
use super::discovery::{Discovery, Found, Wanted};
use super::errors;
use super::native::{Queue, Use};
use super::partitions::{PartitionList, Place, not_ours};
use super::shared::LogLevel;
use super::{admin, errors::error};
use crate::error::{Error, Kind, Result};
use crate::hub::{Lag, Position, Start, Subscriber, Subscription};
use crate::record::Batch;
use sys::rd_kafka_OffsetSpec_t as Spec;

/// How long a commit that is waited for may take.
const COMMIT_PATIENCE: Duration = Duration::from_secs(30);
/// How long leaving may take; the group finds out by itself otherwise.
const CLOSE_PATIENCE: Duration = Duration::from_secs(10);
/// Between tries of a commit that failed and that nobody waits for.
const COMMIT_PAUSE: Duration = Duration::from_secs(1);

/// Reads from Kafka, as a member of a group or of every partition.
pub(super) struct KafkaSubscriber {
    /// First, so that it is given back before the client ends.
    messages: Queue,
    answers: Queue,
    client: Client,
    taker: Taker,
    group: bool,
    start: Start,
    /// What the commit under way carries; one at a time.
    committing: Option<BTreeMap<Place, i64>>,
    next_try: Option<Instant>,
    /// An error that came after messages, for the next poll.
    trouble: Option<Error>,
    /// Without a group: partitions found, and those that are read.
    found: Found,
    read: BTreeSet<Place>,
    closed: bool,
}

impl fmt::Debug for KafkaSubscriber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KafkaSubscriber")
            .field("group", &self.group)
            .field("closed", &self.closed)
            .finish_non_exhaustive()
    }
}

impl KafkaSubscriber {
    pub(super) fn new(kafka: &Kafka, subscription: &Subscription) -> Result<Self> {
        let internal = !kafka.settings.consumer.exclude_internal_topics;
        let wanted = Wanted::new(&subscription.topics, internal)?;
        if subscription.topics.is_empty() {
            return Err(Error::new(Kind::Config, "there is nothing to read: no topic is given"));
        }
        // librdkafka wants a group even of a reader that has none; nothing is committed under this name.
        let private = format!("gds-kafka-reader-{:016x}", rand::random::<u64>());
        let group = subscription.group.as_deref();
        let mut more = vec![
            ("group.id", group.unwrap_or(&private)),
            ("enable.auto.commit", "false"),
            ("enable.auto.offset.store", "false"),
            (
                "auto.offset.reset",
                match subscription.start {
                    Start::Earliest => "earliest",
                    Start::Latest => "latest",
                },
            ),
        ];
        let pattern = subscription.topics.iter().any(|topic| topic.starts_with('^'));
        if pattern && !internal && !kafka.settings.client.contains_key("topic.blacklist") {
            more.push(("topic.blacklist", "^__.*"));
        }
        let found = Found::default();
        let duty: Box<dyn Duty> =
            if group.is_some() { Box::new(NoDuty) } else { Box::new(Discovery::soon(wanted.clone(), found.clone())) };
        let client = kafka.client(Use::Subscribe, &more, duty)?;
        let handle = client.handle();
        let messages = handle.messages().ok_or_else(|| Error::new(Kind::Config, "librdkafka gives no queue"))?;
        let answers = handle.queue();
        let mut subscriber = Self {
            messages,
            answers,
            client,
            taker: Taker::default(),
            group: group.is_some(),
            start: subscription.start,
            committing: None,
            next_try: None,
            trouble: None,
            found,
            read: BTreeSet::new(),
            closed: false,
        };
        if subscriber.group {
            assign::subscribe(subscriber.client.handle(), &subscription.topics)?;
        } else {
            subscriber.begin(&wanted, subscription.start, kafka.settings.connect_timeout)?;
        }
        Ok(subscriber)
    }

    /// Takes the partitions there are now; what "latest" means is settled before this returns, so that whatever is
    /// published after it is read. With no broker in reach, reading begins when there is one.
    fn begin(&mut self, wanted: &Wanted, start: Start, patience: Duration) -> Result<()> {
        let handle = self.client.handle().clone();
        let found = match wanted.find(&handle, patience) {
            Ok((found, _)) => found,
            Err(error) if error.kind == Kind::Connection => return Ok(()),
            Err(error) => return Err(error),
        };
        let places: Vec<Place> = found.iter().cloned().collect();
        let ends = match start {
            Start::Earliest => BTreeMap::new(),
            Start::Latest => admin::offsets(&handle, &places, Spec::RD_KAFKA_OFFSET_SPEC_LATEST, patience)?,
        };
        let otherwise = match start {
            Start::Earliest => sys::RD_KAFKA_OFFSET_BEGINNING,
            Start::Latest => sys::RD_KAFKA_OFFSET_END,
        };
        self.take_up(found, |place| ends.get(place).copied().unwrap_or_else(|| i64::from(otherwise)))
    }

    fn take_up(&mut self, places: BTreeSet<Place>, offset: impl Fn(&Place) -> i64) -> Result<()> {
        let new: Vec<Place> = places.into_iter().filter(|place| !self.read.contains(place)).collect();
        if new.is_empty() {
            return Ok(());
        }
        let list = PartitionList::of(new.iter().map(|place| (&*place.0, place.1, offset(place))))?;
        assign::add(self.client.handle(), &list)?;
        self.read.extend(new);
        Ok(())
    }

    fn open(&self) -> Result<()> {
        if self.closed { Err(Error::new(Kind::Closed, "the consumer is closed")) } else { Ok(()) }
    }

    fn owned(&self, topic: &Arc<str>, partition: i32) -> Result<()> {
        let ours = self.assignment()?.contains(&(topic.clone(), partition));
        if ours { Ok(()) } else { Err(not_ours(topic, partition)) }
    }

    /// Takes the answer to the commit under way, if it has come or comes within `patience`.
    fn answered(&mut self, patience: Duration) -> Result<()> {
        if self.committing.is_none() {
            return Ok(());
        }
        let Some(event) = self.answers.poll(patience) else {
            return if patience.is_zero() { Ok(()) } else { Err(error(errors::TIMED_OUT, "no answer to the commit")) };
        };
        let sent = self.committing.take().unwrap_or_default();
        match event.code() {
            0 => {
                self.client.shared().rebalance.lock().kept(&sent);
                self.next_try = None;
                Ok(())
            }
            code => {
                self.next_try = Some(Instant::now() + COMMIT_PAUSE);
                Err(error(code, format!("the commit failed: {}", errors::text(code))))
            }
        }
    }

    /// Sends what is not committed yet, unless a commit is under way.
    fn send_commit(&mut self) -> Result<()> {
        if self.committing.is_some() {
            return Ok(());
        }
        let pending = self.client.shared().rebalance.lock().pending.clone();
        if pending.is_empty() {
            return Ok(());
        }
        let lines = pending.iter().map(|((topic, partition), offset)| (&**topic, *partition, *offset));
        assign::commit(self.client.handle(), &PartitionList::of(lines)?, &self.answers)?;
        self.committing = Some(pending);
        Ok(())
    }

    /// Commits nobody waits for: sent again when they failed, told to the log.
    fn commit_on(&mut self) {
        let sent = self.answered(Duration::ZERO).and_then(|()| {
            let due = self.next_try.is_none_or(|next| Instant::now() >= next);
            if due { self.send_commit() } else { Ok(()) }
        });
        if let Err(error) = sent {
            self.next_try = Some(Instant::now() + COMMIT_PAUSE);
            self.client.shared().log(LogLevel::Warning, "COMMIT", &error.message);
        }
    }

    fn commit_all(&mut self, patience: Duration) -> Result<()> {
        let end = Instant::now() + patience;
        let left = || end.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
        // One that is under way says nothing about what was added since; its failure is overtaken.
        if self.committing.is_some() {
            let _ = self.answered(left());
        }
        if self.committing.is_some() {
            return Err(error(errors::TIMED_OUT, "no answer to the commit"));
        }
        self.send_commit()?;
        self.answered(left())
    }

    /// What librdkafka says instead of messages: an error for the program, or a line for the log.
    fn noticed(&mut self, notice: Notice) {
        use sys::rd_kafka_resp_err_t as Code;
        let Notice { code, text } = notice;
        let shared = self.client.shared();
        let fatal = code == errors::FATAL;
        let known = Code::try_from(code).ok();
        let quiet = match known {
            Some(Code::RD_KAFKA_RESP_ERR__PARTITION_EOF) => return,
            // It may be made later, and is read then.
            Some(
                Code::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART
                | Code::RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC
                | Code::RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION
                // The next poll joins the group again.
                | Code::RD_KAFKA_RESP_ERR__MAX_POLL_EXCEEDED
                | Code::RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET,
            ) => true,
            // Without a group there is none to be let into.
            Some(Code::RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED) => !self.group,
            // librdkafka goes on trying.
            _ => !fatal && error(code, "").retriable,
        };
        if quiet {
            shared.log(LogLevel::Warning, "CONSUME", &text);
        } else if fatal {
            let last = self.client.handle().fatal_error();
            self.trouble = Some(last.unwrap_or_else(|| errors::fatal(code, &shared.scrubbed(&text))));
        } else {
            self.trouble = Some(error(code, shared.scrubbed(&text)));
        }
    }
}

impl Subscriber for KafkaSubscriber {
    fn poll(&mut self, batch: &mut Batch, max: usize, patience: Duration) -> Result<()> {
        self.open()?;
        if let Some(trouble) = self.trouble.take() {
            return Err(trouble);
        }
        if self.group {
            self.commit_on();
        } else {
            let found = std::mem::take(&mut *self.found.lock());
            // What comes up later is new, and all of it is to be read.
            self.take_up(found, |_| i64::from(sys::RD_KAFKA_OFFSET_BEGINNING))?;
        }
        let before = batch.len();
        for notice in self.taker.take(&self.messages, batch, max, patience) {
            self.noticed(notice);
        }
        if batch.len() == before
            && let Some(trouble) = self.trouble.take()
        {
            return Err(trouble);
        }
        Ok(())
    }

    fn revoked(&mut self) -> Vec<Place> {
        std::mem::take(&mut self.client.shared().rebalance.lock().revoked)
    }

    fn commit(&mut self, positions: &[Position], wait: bool) -> Result<()> {
        self.open()?;
        if !self.group {
            return Err(Error::new(Kind::Config, "there is nothing to commit to without a group: give group_id"));
        }
        let ours: BTreeSet<Place> = self.assignment()?.into_iter().collect();
        let mut foreign = None;
        {
            let mut rebalance = self.client.shared().rebalance.lock();
            for position in positions {
                let place = (position.topic.clone(), position.partition);
                if ours.contains(&place) {
                    rebalance.pending.insert(place, position.offset);
                } else {
                    foreign = Some(not_ours(&position.topic, position.partition).retriable());
                }
            }
        }
        if wait {
            self.commit_all(COMMIT_PATIENCE)?;
            return foreign.map_or(Ok(()), Err);
        }
        self.commit_on();
        Ok(())
    }

    fn seek(&mut self, position: &Position) -> Result<()> {
        self.open()?;
        self.owned(&position.topic, position.partition)?;
        assign::seek(self.client.handle(), &position.topic, position.partition, position.offset)
    }

    fn pause(&mut self, partitions: &[Place]) -> Result<()> {
        self.open()?;
        partitions.iter().try_for_each(|(topic, partition)| self.owned(topic, *partition))?;
        assign::pause(self.client.handle(), &PartitionList::of_places(partitions)?, true)
    }

    fn resume(&mut self, partitions: &[Place]) -> Result<()> {
        self.open()?;
        partitions.iter().try_for_each(|(topic, partition)| self.owned(topic, *partition))?;
        assign::pause(self.client.handle(), &PartitionList::of_places(partitions)?, false)
    }

    fn assignment(&self) -> Result<Vec<Place>> {
        self.open()?;
        assign::assignment(self.client.handle())
    }

    fn lag(&self, patience: Duration) -> Result<Vec<Lag>> {
        let end = Instant::now() + patience;
        let left = || end.saturating_duration_since(Instant::now());
        let places = self.assignment()?;
        let handle = self.client.handle();
        let positions = assign::positions(handle, &places, self.group, left())?;
        let ends = admin::offsets(handle, &places, Spec::RD_KAFKA_OFFSET_SPEC_LATEST, left())?;
        let unread: Vec<Place> = places.iter().filter(|place| !positions.contains_key(place)).cloned().collect();
        let starts = admin::offsets(handle, &unread, Spec::RD_KAFKA_OFFSET_SPEC_EARLIEST, left())?;
        let lag = |place: Place| {
            // A partition without a leader has no end to tell.
            let end = *ends.get(&place)?;
            let position = positions.get(&place).copied();
            // Who begins with what comes next is behind in nothing yet.
            let start = starts.get(&place).copied().filter(|_| self.start == Start::Earliest);
            let from = position.or(start).unwrap_or(end);
            Some(Lag { topic: place.0, partition: place.1, position, end, lag: (end - from).max(0) })
        };
        Ok(places.into_iter().filter_map(lag).collect())
    }

    fn statistics(&self) -> BTreeMap<String, f64> {
        self.client.shared().statistics()
    }

    fn close(&mut self) -> Result<()> {
        if self.closed {
            return Ok(());
        }
        let kept = if self.group { self.commit_all(COMMIT_PATIENCE) } else { Ok(()) };
        self.closed = true;
        assign::close(self.client.handle(), CLOSE_PATIENCE)?;
        kept
    }
}

/// Leaves the group, without waiting for commits. In a forked child this does nothing.
impl Drop for KafkaSubscriber {
    fn drop(&mut self) {
        if !self.closed && self.client.handle().ours() {
            let _ = assign::close(self.client.handle(), CLOSE_PATIENCE);
        }
    }
}
