//! Why bytes of the hub are no message.

/// Why a message is no measurement. Nothing of the message is repeated: these texts go to logs and to dead letters.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ParseError {
    /// A deletion.
    #[error("no value")]
    Empty,
    /// Neither JSON nor Avro.
    #[error("not a JSON object of the expected form, at line {line}, column {column}")]
    Malformed {
        /// Counted from 1.
        line: usize,
        /// Counted from 1; 0 before the first character.
        column: usize,
    },
    /// Framed, but not as the schema says.
    #[error("the payload of schema {schema_id} is not what the metric schemas say: {what}")]
    Avro {
        /// In the registry; 0 where a header names the schema.
        schema_id: u32,
        /// What is wrong.
        what: &'static str,
    },
    /// Without `metric_name` or `name`, or with an empty one.
    #[error("no metric_name")]
    NoMetricName,
    /// Of a database, but nobody knows which.
    #[error("no instance_id")]
    NoInstanceId,
    /// Without a value, or with null.
    #[error("no value of the metric")]
    NoValue,
    /// The value is no number.
    #[error("the value is no number")]
    BadValue,
    /// There is a time, but nobody can tell which.
    #[error("the timestamp is neither ISO 8601 nor seconds or milliseconds since the epoch")]
    BadTimestamp,
    /// The same of the start.
    #[error("the start_timestamp is neither ISO 8601 nor seconds or milliseconds since the epoch")]
    BadStart,
}

impl ParseError {
    /// What counters and dead letters call it.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Empty => "empty",
            Self::Malformed { .. } => "malformed",
            Self::Avro { .. } => "malformed_avro",
            Self::NoMetricName => "no_metric_name",
            Self::NoInstanceId => "no_instance_id",
            Self::NoValue => "no_value",
            Self::BadValue => "bad_value",
            Self::BadTimestamp => "bad_timestamp",
            Self::BadStart => "bad_start_timestamp",
        }
    }

    pub(crate) fn json(error: &serde_json::Error) -> Self {
        Self::Malformed { line: error.line(), column: error.column() }
    }
}
