//! A measurement as its readers want it, whatever message it came in.

use crate::Tags;

/// One measurement, read from the hub.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sample {
    /// When it was measured, in milliseconds since the epoch.
    pub time_ms: i64,
    /// Whether the message had no time, and this is the hub's.
    pub time_from_hub: bool,
    /// `postgresql`, `mongodb`, ...; empty where the message does not say.
    pub database_type: String,
    /// Of which instance; empty only in messages of `KafkaMetrics` that do not say.
    pub instance_id: String,
    /// What was measured; never empty.
    pub metric_name: String,
    /// The number. It may be infinite, or no number at all, where the message says so.
    pub value: f64,
    /// The number with all its digits, as it was written.
    pub value_text: String,
    /// What tells series of the name apart.
    pub tags: Tags,
    /// In UCUM.
    pub unit: Option<String>,
    /// `gauge`, `counter`, or what else the message says.
    pub metric_type: Option<String>,
    /// From when on a counter counts, in milliseconds since the epoch.
    pub start_ms: Option<i64>,
    /// What else belongs to it.
    pub correlation_id: Option<String>,
    /// How long it took to collect.
    pub collection_duration_ms: i32,
    /// Of the form of the message.
    pub version: Option<String>,
}

impl Sample {
    /// The text of a tag; `instance_id`, `database_type` and `metric_name` are found as tags even if the message has them
    /// only beside its tags.
    pub fn tag(&self, name: &str) -> Option<&str> {
        let beside = match name {
            "instance_id" => &self.instance_id,
            "database_type" => &self.database_type,
            "metric_name" => &self.metric_name,
            _ => return self.tags.get(name),
        };
        self.tags.get(name).or((!beside.is_empty()).then_some(beside))
    }
}
