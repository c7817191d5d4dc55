//! The way out of Kafka.

mod commits;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka_sys as sys;

use super::Kafka;
use super::assign;
use super::callbacks::LogLevel;
use super::client::{Client, EventHandler, NoHandler};
use super::consume::{BatchConsumer, ConsumeEvent};
use super::discovery::{Discovery, Found, Wanted};
use super::errors;
use super::native::{ClientPurpose, Queue};
use super::partitions::{PartitionList, not_ours};
use super::rebalance;
use super::{admin, errors::error};
use crate::batch::Batch;
use crate::error::{Error, Failure, Result};
use crate::hub::{Change, Lag, OffsetSpec, Position, Start, Subscriber, Subscription, TopicPartition};
use sys::rd_kafka_OffsetSpec_t as Spec;

/// How long a commit that is waited for may take.
const COMMIT_TIMEOUT: Duration = Duration::from_secs(30);
/// How long leaving may take; the group finds out by itself otherwise.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long librdkafka is waited for without looking up.
const SLICE: Duration = Duration::from_millis(100);
const UNKNOWN_TOPIC: i32 = sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART as i32;

/// Reads from Kafka, as a member of a group or of every partition.
pub(super) struct KafkaSubscriber {
    /// First, so that it is given back before the client ends.
    messages: Queue,
    answers: Queue,
    pub(super) client: Client,
    taker: BatchConsumer,
    pub(super) group: bool,
    pub(super) start: Start,
    /// Its place among the members of the group, if it has one of its own.
    instance: Option<String>,
    /// What the commit under way carries; one at a time.
    committing: Option<BTreeMap<TopicPartition, i64>>,
    next_try: Option<Instant>,
    /// An error that came after messages, for the next poll.
    trouble: Option<Error>,
    /// Why this client is of no more use.
    ended: Option<Error>,
    /// What was said last of a commit that failed; it is not said again and again.
    complaint: String,
    wanted: Wanted,
    /// Partitions found: those of patterns, and without a group all.
    found: Found,
    /// The topics of the group that were asked for.
    topics: BTreeSet<String>,
    /// Partitions that have nowhere to begin.
    pub(super) homeless: BTreeSet<TopicPartition>,
    /// Partitions of which an error came: librdkafka takes its offset for that of a message, until there is one.
    doubtful: BTreeSet<TopicPartition>,
    /// Partitions came in this poll.
    pub(super) came: bool,
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
        // librdkafka wants a group even of a reader that has none; nothing is committed under this name.
        let private = format!("gds-kafka-reader-{:016x}", gds_process::random::random::<u64>());
        let group = subscription.group.as_deref();
        let more = [
            ("group.id", group.unwrap_or(&private)),
            ("enable.auto.commit", "false"),
            ("enable.auto.offset.store", "false"),
            (
                "auto.offset.reset",
                match subscription.start {
                    // What was to be read at a time and is there no more leaves what came after it.
                    Start::Earliest | Start::At(_) => "earliest",
                    Start::Latest => "latest",
                    Start::Nowhere => "error",
                },
            ),
        ];
        let found = Found::default();
        let looks = if group.is_some() { wanted.has_patterns() } else { !subscription.topics.is_empty() };
        let refresh = kafka.settings.client.get("topic.metadata.refresh.interval.ms").and_then(|ms| ms.parse().ok());
        let refresh = refresh.map_or(Duration::MAX, Duration::from_millis);
        let handler: Box<dyn EventHandler> =
            if looks { Box::new(Discovery::soon(wanted.clone(), found.clone(), refresh)) } else { Box::new(NoHandler) };
        let client = kafka.client(ClientPurpose::Subscribe(rebalance::rebalanced), &more, handler)?;
        let handle = client.handle();
        let messages = handle.messages().ok_or_else(|| Error::Config("librdkafka gives no queue".into()))?;
        let answers = handle.queue();
        let mut subscriber = Self {
            messages,
            answers,
            client,
            taker: BatchConsumer::default(),
            group: group.is_some(),
            start: subscription.start,
            instance: kafka.settings.client.get("group.instance.id").cloned(),
            committing: None,
            next_try: None,
            trouble: None,
            ended: None,
            complaint: String::new(),
            wanted,
            found,
            topics: BTreeSet::new(),
            homeless: BTreeSet::new(),
            doubtful: BTreeSet::new(),
            came: false,
            closed: false,
        };
        subscriber.begin(kafka.settings.connect_timeout)?;
        Ok(subscriber)
    }

    /// Takes what there is now; without a group, what "latest" means is settled before this returns, so that whatever
    /// is published after it is read. With no broker in reach, reading begins when there is one.
    fn begin(&mut self, timeout: Duration) -> Result<()> {
        if self.by_hand() {
            return Ok(());
        }
        let mut found = BTreeSet::new();
        if !self.group || self.wanted.has_patterns() {
            match self.wanted.find(self.client.handle(), timeout) {
                Ok((there, _)) => found = there,
                Err(Error::Connection(_)) => {}
                Err(error) => return Err(error),
            }
        }
        if self.group { self.ask_for(&found) } else { self.take_up(found, self.start, timeout) }
    }

    /// Asks the group for partitions of these topics, and of those that are named.
    fn ask_for(&mut self, found: &BTreeSet<TopicPartition>) -> Result<()> {
        let topics = self.wanted.topics(found);
        if topics != self.topics {
            assign::subscribe(self.client.handle(), &topics)?;
            self.topics = topics;
        }
        Ok(())
    }

    /// Takes what was found since.
    fn look(&mut self, timeout: Duration) -> Result<()> {
        let Some(found) = self.found.lock().take() else { return Ok(()) };
        if self.group {
            return self.ask_for(&found);
        }
        // What comes up later is new, and all of it is to be read.
        let start = if self.start == Start::Latest { Start::Earliest } else { self.start };
        self.take_up(found, start, timeout.max(Duration::from_secs(1)))
    }

    fn by_hand(&self) -> bool {
        !self.wanted.some()
    }

    fn open(&self) -> Result<()> {
        if self.closed { Err(Error::Closed("the consumer is closed".into())) } else { Ok(()) }
    }

    fn owned(&self, topic: &Arc<str>, partition: i32) -> Result<()> {
        let ours = self.client.shared().rebalance.lock().owned.contains(&(topic.clone(), partition));
        if ours { Ok(()) } else { Err(not_ours(topic, partition)) }
    }

    /// What librdkafka says instead of messages: an error for the program, or a line for the log.
    fn noticed(&mut self, notice: ConsumeEvent) {
        use sys::rd_kafka_resp_err_t as Code;
        let ConsumeEvent { code, text, topic, partition } = notice;
        if !topic.is_empty() && partition >= 0 {
            self.doubtful.insert((Arc::from(topic), partition));
        }
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
                | Code::RD_KAFKA_RESP_ERR__MAX_POLL_EXCEEDED,
            ) => true,
            Some(Code::RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET) => self.start != Start::Nowhere,
            // Without a group there is none to be let into.
            Some(Code::RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED) => !self.group,
            // librdkafka goes on trying.
            _ => !fatal && error(code, "").retriable(),
        };
        if quiet {
            self.client.log(LogLevel::Warning, "CONSUME", &text);
        } else if fatal {
            let last = self.client.handle().fatal_error();
            let last = last.unwrap_or_else(|| errors::fatal(code, &shared.scrubbed(&text)));
            let told = self.explained(last.code().unwrap_or(code), String::new());
            self.ended = Some(if told.fatal() { told } else { last });
        } else {
            self.trouble = Some(error(code, shared.scrubbed(&text)));
        }
    }
}

impl Subscriber for KafkaSubscriber {
    fn poll(&mut self, batch: &mut Batch, max: usize, timeout: Duration) -> Result<()> {
        self.open()?;
        if let Some(trouble) = self.trouble.take().or_else(|| self.ended.clone()) {
            return Err(trouble);
        }
        if self.by_hand() && self.client.shared().rebalance.lock().owned.is_empty() {
            return Err(Error::Config("there is nothing to read: give topics, or assign partitions".into()));
        }
        self.came = false;
        self.settle_later()?;
        self.look(timeout)?;
        if self.group {
            self.commit_on();
        }
        if self.came {
            return Ok(());
        }
        self.all_begin()?;
        let end = Instant::now() + timeout;
        let before = batch.len();
        let mut doubts = std::mem::take(&mut self.doubtful);
        loop {
            let left = end.saturating_duration_since(Instant::now());
            for notice in self.taker.take(&self.messages, batch, max, left.min(SLICE)) {
                self.noticed(notice);
            }
            let mut rebalance = self.client.shared().rebalance.lock();
            rebalance.announce();
            let news = !rebalance.asked.is_empty();
            drop(rebalance);
            if batch.len() > before || news || self.trouble.is_some() || self.ended.is_some() || left <= SLICE {
                break;
            }
        }
        if !doubts.is_empty() {
            for (topic, partition, _) in (before..batch.len()).filter_map(|index| batch.place(index)) {
                doubts.remove(&(topic.clone(), partition));
            }
            self.doubtful.extend(doubts);
        }
        if batch.len() == before
            && let Some(trouble) = self.trouble.take().or_else(|| self.ended.clone())
        {
            return Err(trouble);
        }
        Ok(())
    }

    fn changes(&mut self) -> Vec<Change> {
        std::mem::take(&mut self.client.shared().rebalance.lock().changes)
    }

    fn give_up(&mut self) -> Result<()> {
        self.open()?;
        self.settle_later()
    }

    fn assign(&mut self, partitions: &[TopicPartition]) -> Result<()> {
        self.open()?;
        if !self.by_hand() {
            let message = "this consumer has topics, whose partitions it is given; make it without any to assign some";
            return Err(Error::Config(message.into()));
        }
        self.take_by_hand(partitions)
    }

    fn passed(&self) -> Vec<Position> {
        let owned: Vec<TopicPartition> = {
            let owned = &self.client.shared().rebalance.lock().owned;
            owned.iter().filter(|place| !self.doubtful.contains(*place)).cloned().collect()
        };
        let found = assign::positions(self.client.handle(), &owned).unwrap_or_default();
        found.into_iter().map(|((topic, partition), offset)| Position { topic, partition, offset }).collect()
    }

    fn offsets_for_times(
        &self,
        times: &[(TopicPartition, i64)],
        timeout: Duration,
    ) -> Result<Vec<(TopicPartition, Option<i64>)>> {
        self.open()?;
        let found = admin::offsets_at(self.client.handle(), times, timeout)?;
        let answer = |(place, _): &(TopicPartition, i64)| {
            let offset = known(&found, place)?;
            Ok((place.clone(), (offset >= 0).then_some(offset)))
        };
        times.iter().map(answer).collect()
    }

    fn offsets(
        &self,
        partitions: &[TopicPartition],
        which: OffsetSpec,
        timeout: Duration,
    ) -> Result<Vec<(TopicPartition, i64)>> {
        self.open()?;
        let spec = match which {
            OffsetSpec::Earliest => Spec::RD_KAFKA_OFFSET_SPEC_EARLIEST,
            OffsetSpec::Latest => Spec::RD_KAFKA_OFFSET_SPEC_LATEST,
        };
        let found = admin::offsets(self.client.handle(), partitions, spec, timeout)?;
        partitions.iter().map(|place| Ok((place.clone(), known(&found, place)?))).collect()
    }

    fn commit(&mut self, positions: &[Position], wait: bool) -> Result<()> {
        self.open()?;
        if !self.group {
            return Err(Error::Config("there is nothing to commit to without a group: give group_id".into()));
        }
        let mut foreign = None;
        {
            let mut rebalance = self.client.shared().rebalance.lock();
            for position in positions {
                let place = (position.topic.clone(), position.partition);
                if rebalance.owned.contains(&place) {
                    rebalance.pending.insert(place, position.offset);
                } else {
                    let failure = not_ours(&position.topic, position.partition).into_failure();
                    foreign = Some(Error::Message(failure.retriable()));
                }
            }
        }
        if wait {
            self.commit_all(COMMIT_TIMEOUT)?;
            return foreign.map_or(Ok(()), Err);
        }
        self.commit_on();
        Ok(())
    }

    fn seek(&mut self, position: &Position) -> Result<()> {
        self.open()?;
        let place = (position.topic.clone(), position.partition);
        let mut rebalance = self.client.shared().rebalance.lock();
        if !rebalance.owned.contains(&place) {
            let of_topic = rebalance.owned.iter().any(|(topic, _)| *topic == place.0);
            let comes = if self.group { !rebalance.joined } else { !of_topic };
            if !comes || !self.wanted.selects(&place.0) {
                return Err(not_ours(&place.0, place.1));
            }
            rebalance.wishes.insert(place, position.offset);
            return Ok(());
        }
        drop(rebalance);
        assign::seek(self.client.handle(), &position.topic, position.partition, position.offset)?;
        if self.homeless.remove(&place) {
            assign::pause(self.client.handle(), &PartitionList::of_places(&[place])?, false)?;
        }
        Ok(())
    }

    fn pause(&mut self, partitions: &[TopicPartition]) -> Result<()> {
        self.open()?;
        partitions.iter().try_for_each(|(topic, partition)| self.owned(topic, *partition))?;
        assign::pause(self.client.handle(), &PartitionList::of_places(partitions)?, true)
    }

    fn resume(&mut self, partitions: &[TopicPartition]) -> Result<()> {
        self.open()?;
        partitions.iter().try_for_each(|(topic, partition)| self.owned(topic, *partition))?;
        assign::pause(self.client.handle(), &PartitionList::of_places(partitions)?, false)
    }

    fn assignment(&self) -> Result<Vec<TopicPartition>> {
        self.open()?;
        assign::assignment(self.client.handle())
    }

    fn lag(&self, timeout: Duration) -> Result<Vec<Lag>> {
        let end = Instant::now() + timeout;
        let left = || end.saturating_duration_since(Instant::now());
        let places = self.assignment()?;
        let handle = self.client.handle();
        let mut positions = assign::positions(handle, &places)?;
        if self.group {
            let unread: Vec<TopicPartition> =
                places.iter().filter(|place| !positions.contains_key(place)).cloned().collect();
            positions.extend(assign::committed(handle, &unread, left())?);
        }
        let ends = admin::offsets(handle, &places, Spec::RD_KAFKA_OFFSET_SPEC_LATEST, left())?;
        let unread: Vec<TopicPartition> =
            places.iter().filter(|place| !positions.contains_key(place)).cloned().collect();
        let starts = admin::offsets(handle, &unread, Spec::RD_KAFKA_OFFSET_SPEC_EARLIEST, left())?;
        let lag = |place: TopicPartition| {
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
        let kept = if self.group { self.commit_all(COMMIT_TIMEOUT) } else { Ok(()) };
        self.closed = true;
        let left = self.leave();
        match kept.and(left) {
            // It was told before, or there is nothing more to be done about it.
            Err(error) if self.ended.is_some() || error.code() == Some(UNKNOWN_TOPIC) => {
                self.client.log(LogLevel::Warning, "COMMIT", error.message());
                Ok(())
            }
            ended => ended,
        }
    }
}

impl KafkaSubscriber {
    /// What cannot be answered now is answered by a later poll.
    fn settle_later(&mut self) -> Result<()> {
        match self.settle() {
            Err(error) if error.retriable() => {
                self.client.log(LogLevel::Warning, "REBALANCE", error.message());
                Ok(())
            }
            settled => settled,
        }
    }

    /// Leaves the group; nothing waits for an answer any more.
    fn leave(&mut self) -> Result<()> {
        let handle = self.client.handle();
        let asked = std::mem::take(&mut handle.shared().rebalance.lock().asked);
        for asked in asked {
            rebalance::answer(handle, asked.assigned, &PartitionList::of_places(&asked.places)?);
        }
        assign::close(handle, CLOSE_TIMEOUT)
    }
}

/// Leaves the group, without waiting for commits. In a forked child this does nothing.
impl Drop for KafkaSubscriber {
    fn drop(&mut self) {
        if !self.closed && self.client.handle().ours() {
            let _ = self.leave();
        }
    }
}

/// The offset of a partition; a partition without a leader has none to tell.
fn known(found: &BTreeMap<TopicPartition, i64>, place: &TopicPartition) -> Result<i64> {
    found.get(place).copied().ok_or_else(|| {
        let message = format!("no offset is known of partition {} of topic {:?}", place.1, place.0);
        Error::Message(Failure::new(message).retriable())
    })
}
