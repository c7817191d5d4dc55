//! What the engine is told of a metric.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::decimal::Number;

/// Names of tags with their values.
pub type Tags = BTreeMap<String, String>;

/// One measured value.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Sample {
    /// Name of the metric.
    pub metric: String,
    /// Who was measured.
    pub instance_id: String,
    /// `postgresql`, `mongodb`, ...; empty where it is not about a database.
    pub database_type: String,
    /// What else tells series of the metric apart.
    pub tags: Tags,
    /// The value as a float.
    #[serde(with = "any_float")]
    pub value: f64,
    /// The value as decimal text, where it came as such: it is compared exactly.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// When it was measured, in milliseconds since 1970; the time of its arrival where it does not say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time_ms: Option<i64>,
    /// The partition it was read from.
    pub partition: i32,
    /// Its place there; what is at or before a place that was evaluated is not evaluated again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub offset: Option<i64>,
}

impl Sample {
    /// The value, exact where it came as decimal text.
    pub fn number(&self) -> Number {
        self.text.as_deref().and_then(Number::parse).unwrap_or(Number::Float(self.value))
    }

    /// A tag, `instance_id` and `database_type` among them; empty where there is none.
    pub fn tag(&self, name: &str) -> &str {
        match (self.tags.get(name), name) {
            (Some(value), _) => value,
            (None, "instance_id") => &self.instance_id,
            (None, "database_type") => &self.database_type,
            _ => "",
        }
    }
}

/// A float as JSON has it; what JSON has no number for is its name.
mod any_float {
    use serde::{Deserialize, Deserializer, Serializer};

    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Written {
        Number(f64),
        Name(String),
    }

    #[allow(clippy::trivially_copy_pass_by_ref, reason = "serde hands a reference to the field")]
    pub(super) fn serialize<S: Serializer>(value: &f64, serializer: S) -> Result<S::Ok, S::Error> {
        if value.is_finite() { serializer.serialize_f64(*value) } else { serializer.collect_str(value) }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
        match Written::deserialize(deserializer)? {
            Written::Number(value) => Ok(value),
            Written::Name(name) => name.parse().map_err(serde::de::Error::custom),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_is_read_as_it_was_written() {
        for value in [0.1, -0.0, 1e300, f64::INFINITY, f64::NEG_INFINITY, f64::NAN] {
            let written = serde_json::to_string(&Sample { value, ..Sample::default() }).expect("JSON");
            let read: Sample = serde_json::from_str(&written).expect("a sample");
            // To the last bit, the sign of a zero included.
            assert!(read.value.to_bits() == value.to_bits() || read.value.is_nan() && value.is_nan(), "{written}");
        }
    }
}
