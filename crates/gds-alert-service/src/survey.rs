//! Which metrics there are on a hub.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use gds_events::topic::{HEARTBEATS, METRICS};
use gds_hub::producer::dead_letter;
use gds_hub::{Batch, Hub, OffsetSpec, Position, Subscription, TopicPartition};

use crate::error::{Error, Result};
use crate::intake;
use crate::now_ms;

/// Messages at the end of each partition that are looked at.
const LAST: i64 = 5_000;

/// The names of the metrics in the last messages of all topics of metrics. Takes as long as reading them, at most
/// `timeout`.
pub fn metrics(hub: &dyn Hub, timeout: Duration) -> Result<BTreeSet<String>> {
    let until = Instant::now() + timeout;
    let left = || until.saturating_duration_since(Instant::now());
    let topics = hub.topics(None, left())?;
    let places: Vec<TopicPartition> = topics
        .iter()
        .filter(|topic| {
            topic.name == HEARTBEATS || topic.name.starts_with(METRICS) && !topic.name.ends_with(dead_letter::SUFFIX)
        })
        .flat_map(|topic| {
            let name: Arc<str> = Arc::from(topic.name.as_str());
            topic.partitions.iter().map(move |partition| (Arc::clone(&name), partition.id))
        })
        .collect();
    let mut found = BTreeSet::new();
    if places.is_empty() {
        return Ok(found);
    }
    let mut subscriber = hub.subscribe(&Subscription::default())?;
    subscriber.assign(&places)?;
    let ends = subscriber.offsets(&places, OffsetSpec::Latest, left())?;
    let mut open: Vec<(TopicPartition, i64)> = Vec::new();
    for ((place, end), (_, start)) in ends.into_iter().zip(subscriber.offsets(&places, OffsetSpec::Earliest, left())?) {
        let from = start.max(end - LAST);
        subscriber.seek(&Position { topic: Arc::clone(&place.0), partition: place.1, offset: from })?;
        if from < end {
            open.push((place, end));
        }
    }
    let mut batch = Batch::default();
    while !open.is_empty() {
        if left().is_zero() {
            let text = format!("the hub was not read to its end within {} s", timeout.as_secs_f32());
            return Err(Error::Hub(gds_hub::Error::Timeout(gds_hub::Failure::new(text).retriable())));
        }
        batch.clear();
        subscriber.poll(&mut batch, 1000, left().min(Duration::from_millis(100)))?;
        for message in batch.iter() {
            if let Ok(sample) = intake::sample(&message, 0, now_ms()) {
                found.insert(sample.metric);
            }
            open.retain(|((topic, partition), end)| {
                !(topic == message.topic && *partition == message.partition && message.offset + 1 >= *end)
            });
        }
        // What is no message, such as the end of a transaction, is passed all the same.
        for passed in subscriber.passed() {
            open.retain(|((topic, partition), end)| {
                !(*topic == passed.topic && *partition == passed.partition && passed.offset >= *end)
            });
        }
    }
    subscriber.close()?;
    Ok(found)
}
