//! What could not be used, put aside: the message as it was, and headers that say why, as `schemas/dead-letter.json` has
//! them.

/// What was wrong, without secrets.
pub const ERROR: &str = "dlq.error";
/// Where the message was, or was to go.
pub const TOPIC: &str = "dlq.topic";
/// -1 where it is not known.
pub const PARTITION: &str = "dlq.partition";
/// -1 where it is not known.
pub const OFFSET: &str = "dlq.offset";
/// Of the message, in milliseconds since the epoch.
pub const TIMESTAMP: &str = "dlq.timestamp";
/// How often it was tried.
pub const ATTEMPTS: &str = "dlq.attempts";
/// What counters call the fault: [`ParseError::reason`](crate::ParseError::reason).
pub const REASON: &str = "dlq.reason";

/// Name and value of each header of a dead letter of a metric.
#[derive(Clone, Copy, Debug)]
pub struct DeadLetter<'a> {
    /// What was wrong, without secrets.
    pub error: &'a str,
    /// What counters call it.
    pub reason: &'a str,
    /// Where the message was, or was to go.
    pub topic: &'a str,
    /// Partition and offset, if it was read.
    pub place: Option<(i32, i64)>,
    /// Of the message, in milliseconds since the epoch.
    pub timestamp_ms: i64,
    /// How often it was tried.
    pub attempts: u32,
}

impl DeadLetter<'_> {
    /// Name and value of each.
    pub fn headers(&self) -> Vec<(String, Option<Vec<u8>>)> {
        let (partition, offset) = self.place.unwrap_or((-1, -1));
        let pairs = [
            (ERROR, self.error.to_owned()),
            (REASON, self.reason.to_owned()),
            (TOPIC, self.topic.to_owned()),
            (PARTITION, partition.to_string()),
            (OFFSET, offset.to_string()),
            (TIMESTAMP, self.timestamp_ms.to_string()),
            (ATTEMPTS, self.attempts.to_string()),
        ];
        pairs.into_iter().map(|(name, value)| (name.to_owned(), Some(value.into_bytes()))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_read_has_no_place() {
        let letter =
            DeadLetter { error: "no value", reason: "empty", topic: "t", place: None, timestamp_ms: 5, attempts: 1 };
        let headers = letter.headers();
        let of = |name: &str| headers.iter().find(|(known, _)| known == name).unwrap().1.clone().unwrap();
        assert_eq!((of(PARTITION), of(OFFSET), of(TIMESTAMP)), (b"-1".to_vec(), b"-1".to_vec(), b"5".to_vec()));
        assert_eq!((of(ERROR), of(REASON)), (b"no value".to_vec(), b"empty".to_vec()));
    }
}
