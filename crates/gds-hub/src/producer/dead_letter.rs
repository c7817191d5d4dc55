//! Records that a hub or a reader refuses, put where a person can look at them and send them again.

use crate::headers::{Headers, OwnedHeader};
use crate::record::Record;

/// What follows the topic's name.
pub const SUFFIX: &str = ".dlq";

/// Headers of this package's own; a replay leaves them out.
pub const PREFIX: &str = "dlq.";

/// Where a record stood, and why it is dead.
#[derive(Clone, Copy, Debug)]
pub struct DeadLetterCause<'a> {
    /// Why.
    pub error: &'a str,
    /// The partition it came from or was meant for, if known.
    pub partition: Option<i32>,
    /// Its offset there, if it had one.
    pub offset: Option<i64>,
}

/// The topic of dead letters; none for one that is such a topic itself, whose dead have nowhere to go.
pub fn topic(name: &str) -> Option<String> {
    (!name.ends_with(SUFFIX)).then(|| format!("{name}{SUFFIX}"))
}

/// The headers of a dead letter: those of the record, and why and where it died.
pub fn headers(record: &Record<'_>, cause: &DeadLetterCause<'_>) -> Vec<OwnedHeader> {
    let mut headers = Vec::with_capacity(record.headers.len() + 6);
    let mut attempts = 1_u64;
    for (name, value) in &record.headers {
        if name == "dlq.attempts" {
            let before = value.and_then(|value| std::str::from_utf8(value).ok()?.parse::<u64>().ok());
            attempts = before.unwrap_or(0).saturating_add(1);
        } else if !name.starts_with(PREFIX) {
            headers.push((name.to_owned(), value.map(<[u8]>::to_vec)));
        }
    }
    let mut add = |name: &str, value: String| headers.push((name.to_owned(), Some(value.into_bytes())));
    add("dlq.error", cause.error.to_owned());
    add("dlq.topic", record.topic.to_owned());
    add("dlq.partition", cause.partition.unwrap_or(-1).to_string());
    add("dlq.offset", cause.offset.unwrap_or(-1).to_string());
    add("dlq.timestamp", record.timestamp.to_string());
    add("dlq.attempts", attempts.to_string());
    headers
}

/// The dead letter itself; `topic` and `headers` are what the functions of these names gave.
pub fn record<'a>(record: &Record<'a>, topic: &'a str, headers: &'a [OwnedHeader]) -> Record<'a> {
    Record { topic, partition: None, headers: Headers::new(headers), ..*record }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(headers: &[OwnedHeader]) -> Vec<(&str, &str)> {
        headers
            .iter()
            .map(|(name, value)| (&**name, std::str::from_utf8(value.as_deref().unwrap_or_default()).expect("text")))
            .collect()
    }

    #[test]
    fn a_letter_says_why_where_and_how_often() {
        let given = [("trace".to_owned(), Some(b"abc".to_vec()))];
        let dead = Record { topic: "orders", timestamp: 7, headers: Headers::new(&given), ..Record::default() };
        let first = headers(&dead, &DeadLetterCause { error: "too large", partition: Some(3), offset: None });
        assert_eq!(
            text(&first),
            [
                ("trace", "abc"),
                ("dlq.error", "too large"),
                ("dlq.topic", "orders"),
                ("dlq.partition", "3"),
                ("dlq.offset", "-1"),
                ("dlq.timestamp", "7"),
                ("dlq.attempts", "1"),
            ]
        );
        let again = Record { headers: Headers::new(&first), ..dead };
        let second = headers(&again, &DeadLetterCause { error: "again", partition: None, offset: Some(5) });
        assert_eq!(text(&second).last(), Some(&("dlq.attempts", "2")));
        assert_eq!(second.len(), first.len());
    }

    #[test]
    fn the_dead_of_a_dead_letter_topic_stay() {
        assert_eq!(topic("a").as_deref(), Some("a.dlq"));
        assert_eq!(topic("a.dlq"), None);
    }
}
