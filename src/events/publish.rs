//! A collected batch on its way to the hub, without the interpreter.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::time::Instant;

use gds_events::dead_letter::DeadLetter;
use gds_events::{DatabaseMetric, Timestamp, avro, topic};
use gds_hub::producer::{BlockingError, Linger, Producer, Sent};
use gds_hub::{Error, Headers, Record, codec};
use gds_process::clock::now_ms;
use gds_redact::{MARK, Redactor, is_secret_key};
use smallvec::SmallVec;

use super::collect::{Batch, CollectedMetric, Fault};
use crate::kafka::outcomes::Token;

/// What became of a batch.
#[derive(Default)]
pub(super) struct Counts {
    pub(super) published: u64,
    pub(super) scrubbed: u64,
    pub(super) dead_lettered: u64,
    pub(super) dropped: BTreeMap<&'static str, u64>,
}

impl Counts {
    pub(super) fn drop(&mut self, reason: &'static str, count: u64) {
        if count > 0 {
            *self.dropped.entry(reason).or_default() += count;
        }
    }

    /// Counts what became of a message.
    pub(super) fn add(&mut self, sent: Result<(), &'static str>, scrubber: &Scrubber<'_>) {
        if let Err(reason) = sent {
            self.drop(reason, 1);
        } else {
            self.published += 1;
            self.scrubbed += u64::from(scrubber.found);
        }
    }
}

/// Where batches go, and how.
pub(super) struct Publishing<'a> {
    producer: &'a Producer<Token>,
    pub(super) redactor: &'a Redactor,
    /// None where each instance has a topic.
    environment: Option<&'a str>,
    key_with_type: bool,
    /// None where messages are JSON.
    schema_id: Option<u32>,
    /// Until when it may be waited for room.
    until: Instant,
    frame: Vec<u8>,
    topic: TopicName,
}

/// The topic of the metric before, which mostly is that of the next.
#[derive(Default)]
struct TopicName {
    database_type: String,
    group: String,
    name: String,
}

impl TopicName {
    fn of(&mut self, database_type: &str, group: &str) -> &str {
        if self.name.is_empty() || self.database_type != database_type || self.group != group {
            database_type.clone_into(&mut self.database_type);
            group.clone_into(&mut self.group);
            self.name = topic::metrics(database_type, group);
        }
        &self.name
    }
}

/// Takes secrets out, and remembers whether there were any.
pub(super) struct Scrubber<'a> {
    redactor: &'a Redactor,
    found: bool,
}

impl<'a> Scrubber<'a> {
    pub(super) fn new(redactor: &'a Redactor) -> Self {
        Self { redactor, found: false }
    }

    pub(super) fn text<'t>(&mut self, text: &'t str) -> Cow<'t, str> {
        let clean = self.redactor.redact(text);
        self.found |= matches!(clean, Cow::Owned(_));
        clean
    }

    pub(super) fn tag<'t>(&mut self, name: &'t str, value: &'t str) -> (Cow<'t, str>, Cow<'t, str>) {
        let value = if is_secret_key(name) && !value.is_empty() {
            self.found = true;
            Cow::Borrowed(MARK)
        } else {
            self.text(value)
        };
        (self.text(name), value)
    }
}

impl<'a> Publishing<'a> {
    pub(super) fn new(
        producer: &'a Producer<Token>,
        redactor: &'a Redactor,
        environment: Option<&'a str>,
        key_with_type: bool,
        schema_id: Option<u32>,
        until: Instant,
    ) -> Self {
        let (frame, topic) = (Vec::new(), TopicName::default());
        Self { producer, redactor, environment, key_with_type, schema_id, until, frame, topic }
    }

    /// Queues all of a batch, in its order.
    pub(super) fn publish(&mut self, batch: &Batch, counts: &mut Counts) {
        let now = now_ms();
        for metric in batch.metrics() {
            let mut scrubber = Scrubber::new(self.redactor);
            let sent = match metric.fault {
                None => self.metric(batch, metric, now, &mut scrubber),
                Some(fault) => self.dead_letter(batch, metric, fault, now, &mut scrubber),
            };
            match sent {
                Ok(()) if metric.fault.is_some() => counts.dead_lettered += 1,
                sent => counts.add(sent, &scrubber),
            }
        }
    }

    fn metric(
        &mut self,
        batch: &Batch,
        metric: &CollectedMetric,
        now: i64,
        scrubber: &mut Scrubber<'_>,
    ) -> Result<(), &'static str> {
        let tags: SmallVec<[_; 8]> = batch.tags(metric).map(|(name, value)| scrubber.tag(name, value)).collect();
        let mut clean = |span| scrubber.text(batch.text(span));
        let (database_type, instance_id) = (clean(metric.database_type), clean(metric.instance_id));
        let (metric_name, version) = (clean(metric.metric_name), clean(metric.version));
        let (correlation_id, unit) = (metric.correlation_id.map(&mut clean), metric.unit.map(&mut clean));
        let timestamp = metric.timestamp.unwrap_or_else(|| Timestamp::from_millis(now));
        let message = DatabaseMetric {
            timestamp,
            database_type: &database_type,
            instance_id: &instance_id,
            metric_name: &metric_name,
            value: batch.value(metric),
            tags: &tags,
            collection_duration_ms: metric.collection_duration_ms,
            version: &version,
            correlation_id: correlation_id.as_deref(),
            unit: unit.as_deref(),
            metric_type: metric.metric_type,
            start_timestamp: metric.start_timestamp,
        };
        let kind = self.key_with_type.then(|| metric.metric_type.as_str());
        let key = kind.map(|kind| topic::key(&instance_id, Some(kind)));
        self.frame.clear();
        let draft = codec::begin(&mut self.frame, Some(key.as_deref().unwrap_or(&instance_id).as_bytes()));
        match self.schema_id {
            None => message.write_json(&mut self.frame),
            Some(schema_id) => {
                avro::begin_frame(&mut self.frame, schema_id);
                message.write_avro(&mut self.frame);
            }
        }
        let topic = self.topic.of(&database_type, self.environment.unwrap_or(&instance_id));
        // Brokers refuse what comes from the future, and 0 is none.
        let time = timestamp.millis();
        let time = if (1..=now).contains(&time) { time } else { now };
        let record = Record { topic, timestamp: time, ..Record::default() };
        self.producer.finish(&mut self.frame, draft, true, &record);
        self.queue()
    }

    /// Puts aside what is known of an object that is no measurement.
    fn dead_letter(
        &mut self,
        batch: &Batch,
        metric: &CollectedMetric,
        fault: Fault,
        now: i64,
        scrubber: &mut Scrubber<'_>,
    ) -> Result<(), &'static str> {
        let mut clean = |span| scrubber.text(batch.text(span));
        let (database_type, instance_id) = (clean(metric.database_type), clean(metric.instance_id));
        let metric_name = clean(metric.metric_name);
        let topic = topic::metrics(&database_type, self.environment.unwrap_or(&instance_id));
        let Fault { reason, error } = fault;
        let headers =
            DeadLetter { error, reason, topic: &topic, place: None, timestamp_ms: now, attempts: 1 }.headers();
        self.frame.clear();
        let draft = codec::begin(&mut self.frame, Some(instance_id.as_bytes()));
        self.frame.push(b'{');
        for (name, text) in
            [("database_type", database_type), ("instance_id", instance_id), ("metric_name", metric_name)]
        {
            gds_json::text::write::<b':'>(&mut self.frame, name);
            gds_json::text::write::<b','>(&mut self.frame, &text);
        }
        self.frame.pop();
        self.frame.push(b'}');
        let record =
            Record { topic: topic::METRICS_DLQ, timestamp: now, headers: Headers::new(&headers), ..Record::default() };
        self.producer.finish(&mut self.frame, draft, true, &record);
        self.queue()
    }

    /// The last part of the topic of an instance.
    pub(super) fn group<'t>(&self, instance_id: &'t str) -> &'t str
    where
        'a: 't,
    {
        self.environment.unwrap_or(instance_id)
    }

    /// Queues a message of an instance that is written by a function.
    pub(super) fn told(
        &mut self,
        topic: &str,
        instance_id: &str,
        time_ms: i64,
        write: impl FnOnce(&mut Vec<u8>),
    ) -> Result<(), &'static str> {
        self.frame.clear();
        let draft = codec::begin(&mut self.frame, Some(instance_id.as_bytes()));
        write(&mut self.frame);
        let record = Record { topic, timestamp: time_ms.clamp(1, now_ms()), ..Record::default() };
        self.producer.finish(&mut self.frame, draft, true, &record);
        self.queue()
    }

    fn queue(&self) -> Result<(), &'static str> {
        let never = || Ok::<(), Infallible>(());
        match self.producer.send_blocking(&self.frame, None, Linger::Long, Some(self.until), never) {
            Ok(Sent::Queued) => Ok(()),
            Ok(Sent::Full(_) | Sent::Dropped(..)) => Err("no_room"),
            Err(BlockingError::Refused(error)) => Err(reason(&error)),
        }
    }
}

fn reason(error: &Error) -> &'static str {
    match error {
        Error::Timeout(_) | Error::Full(_) => "no_room",
        Error::Closed(_) => "closed",
        Error::Storage(_) => "storage",
        _ => "refused",
    }
}
