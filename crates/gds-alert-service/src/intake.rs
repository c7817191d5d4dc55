//! Messages of the hub become samples, or dead letters with their reason.

use gds_alerting::sample::Sample;
use gds_events::topic::HEARTBEATS;
use gds_events::{HeartbeatStatus, SCHEMA_HEADER, parse_heartbeat, parse_message};
use gds_hub::Message;

use crate::store::DeadLetter;

/// The metric that heartbeats of collectors are.
const HEARTBEAT: &str = "gds.heartbeat";

/// What a message says, at a place that the engine knows by the number of its partition.
pub(crate) fn sample(message: &Message<'_>, partition: i32, now_ms: i64) -> Result<Sample, Box<DeadLetter>> {
    if **message.topic == *HEARTBEATS {
        return heartbeat(message, partition);
    }
    let schema = message.headers.iter().find(|(name, _)| *name == SCHEMA_HEADER).and_then(|(_, value)| value);
    let hub_ms = message.timestamp.unwrap_or(now_ms);
    match parse_message(message.value.unwrap_or_default(), schema, hub_ms) {
        Ok(read) => Ok(Sample {
            metric: read.metric_name,
            instance_id: read.instance_id,
            database_type: read.database_type,
            tags: read.tags.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
            value: read.value,
            text: Some(read.value_text),
            time_ms: Some(read.time_ms),
            partition,
            offset: Some(message.offset),
        }),
        Err(error) => Err(Box::new(dead_letter(message, error.reason(), &error.to_string()))),
    }
}

/// A heartbeat of a collector. No tag of it changes from one to the next: it would be another series.
fn heartbeat(message: &Message<'_>, partition: i32) -> Result<Sample, Box<DeadLetter>> {
    let beat = parse_heartbeat(message.value.unwrap_or_default())
        .map_err(|error| Box::new(dead_letter(message, error.reason(), &error.to_string())))?;
    let value = match beat.status {
        HeartbeatStatus::Ok => 1.0,
        HeartbeatStatus::Partial => 0.5,
        HeartbeatStatus::Failed | HeartbeatStatus::Skipped => 0.0,
    };
    Ok(Sample {
        metric: HEARTBEAT.to_owned(),
        instance_id: beat.instance_id,
        database_type: beat.database_type,
        tags: [("collector".to_owned(), beat.collector), ("topic".to_owned(), beat.topic)].into(),
        value,
        text: None,
        time_ms: Some(beat.timestamp.millis()),
        partition,
        offset: Some(message.offset),
    })
}

/// A message as it was, and why it cannot be used.
pub(crate) fn dead_letter(message: &Message<'_>, reason: &str, error: &str) -> DeadLetter {
    DeadLetter {
        topic: message.topic.to_string(),
        partition: message.partition,
        offset: message.offset,
        timestamp_ms: message.timestamp.unwrap_or(0),
        reason: reason.to_owned(),
        error: error.to_owned(),
        key: message.key.map(<[u8]>::to_vec),
        value: message.value.map(<[u8]>::to_vec),
        headers: message.headers.iter().map(|(name, value)| (name.to_owned(), value.map(<[u8]>::to_vec))).collect(),
    }
}
