//! What is told beside measurements, on its way to the hub: heartbeats of collectors, and texts.

use gds_events::heartbeat::HeartbeatStatus;
use gds_events::{CollectorHeartbeat, DatabaseText, Timestamp, avro, topic};

use super::publish::{Counts, Publishing, Scrubber};
use crate::interop::dicts::from_dict;

from_dict! {
    /// A heartbeat as `gds_monitor.KafkaOutput` gives it.
    pub(super) struct Heartbeat {
        time_ms: i64,
        collector: String,
        instance_id: String,
        database_type: String,
        status: String,
        reason: Option<String>,
        interval_ms: u64,
        metrics: u64,
        duration_ms: u64,
        correlation_id: Option<String>,
    }
}

from_dict! {
    /// A text as `gds_monitor.KafkaOutput` gives it.
    #[allow(clippy::struct_field_names)] // they are the keys of its dict
    pub(super) struct Text {
        name: String,
        time_ms: i64,
        instance_id: String,
        database_type: String,
        attributes: Vec<(String, String)>,
        text: String,
    }
}

impl<'a> Publishing<'a> {
    /// Queues heartbeats, each for the topic of its instance.
    pub(super) fn heartbeats(&mut self, heartbeats: &[Heartbeat], schema_id: Option<u32>, counts: &mut Counts) {
        for beat in heartbeats {
            let mut scrubber = self.scrubber();
            let mut clean = |text: &str| scrubber.text(text).into_owned();
            let (instance_id, database_type) = (clean(&beat.instance_id), clean(&beat.database_type));
            let message = CollectorHeartbeat {
                timestamp: Timestamp::from_millis(beat.time_ms),
                collector: clean(&beat.collector),
                topic: topic::metrics(&database_type, self.group(&instance_id)),
                instance_id,
                database_type,
                // There are no others; what is none of them is at least no good news.
                status: HeartbeatStatus::from_text(&beat.status).unwrap_or(HeartbeatStatus::Failed),
                reason: beat.reason.as_deref().map(&mut clean),
                interval_ms: beat.interval_ms,
                metrics: beat.metrics,
                duration_ms: beat.duration_ms,
                correlation_id: beat.correlation_id.as_deref().map(&mut clean),
            };
            let sent = self.told(topic::HEARTBEATS, &message.instance_id, beat.time_ms, |frame| match schema_id {
                None => message.write_json(frame),
                Some(schema_id) => {
                    avro::begin_frame(frame, schema_id);
                    message.write_avro(frame);
                }
            });
            counts.add(sent, &scrubber);
        }
    }

    /// Queues texts.
    pub(super) fn texts(&mut self, texts: &[Text], counts: &mut Counts) {
        for given in texts {
            let mut scrubber = self.scrubber();
            let attributes = given.attributes.iter().map(|(name, text)| {
                let (name, text) = scrubber.tag(name, text);
                (name.into_owned(), text.into_owned())
            });
            let attributes = attributes.collect();
            let (instance_id, database_type) = (scrubber.text(&given.instance_id), scrubber.text(&given.database_type));
            let (name, text) = (scrubber.text(&given.name), scrubber.text(&given.text));
            let message = DatabaseText {
                timestamp: Timestamp::from_millis(given.time_ms),
                database_type: &database_type,
                instance_id: &instance_id,
                attributes,
                text: &text,
                correlation_id: None,
            };
            let sent = self.told(topic::TEXTS, &instance_id, given.time_ms, |frame| message.write_json(&name, frame));
            counts.add(sent, &scrubber);
        }
    }

    fn scrubber(&self) -> Scrubber<'a> {
        Scrubber::new(self.redactor)
    }
}
