//! Where messages go: names of topics, and keys.

use std::fmt::Write as _;

/// What topics of metrics begin with.
pub const METRICS: &str = "gds.metrics.";
/// Messages that are no metrics, with their reason: [`crate::dead_letter`].
pub const METRICS_DLQ: &str = "gds.metrics.dlq";
/// Heartbeats of collectors.
pub const HEARTBEATS: &str = "gds.heartbeats";
/// Texts of databases that are told once: [`crate::database_text`].
pub const TEXTS: &str = "gds.texts";
/// Alerts that were triggered or resolved.
pub const ALERTS: &str = "gds.alerts";
/// A pattern for subscriptions, with the sign of a pattern in front: all topics of metrics. Dead letters of those, whose
/// topics end with `.dlq`, are among them; [`METRICS_DLQ`] is not.
pub const METRICS_PATTERN: &str = r"^gds\.metrics\.[^.]+\..+";

/// The same for [`HEARTBEATS`], so that who subscribes to it needs none of it to be there.
pub const HEARTBEATS_PATTERN: &str = r"^gds\.heartbeats$";

/// The longest name of a topic, in bytes.
const LONGEST: usize = 249;

/// The topic `gds.metrics.{database_type}.{group}`, the group being an environment or an instance.
///
/// Kafka has letters of ASCII, digits, `.`, `-` and `_` in names of topics; any other character becomes `_x` and its number
/// in hexadecimal and `_`, and so does a dot in the type of database, since a dot is what ends it. What would be
/// longer than a name may be ends with a number that stands for the rest.
pub fn metrics(database_type: &str, group: &str) -> String {
    let mut topic = String::from(METRICS);
    escape(&mut topic, database_type, true);
    topic.push('.');
    escape(&mut topic, group, false);
    if topic.len() > LONGEST {
        let digest = digest(&topic);
        topic.truncate(LONGEST - 19); // all of it is ASCII
        let _ = write!(topic, "_h_{digest:016x}");
    }
    topic
}

/// Type of database and group of a topic that [`metrics`] made; None for other topics.
pub fn parse_metrics(topic: &str) -> Option<(String, String)> {
    let (database_type, group) = topic.strip_prefix(METRICS)?.split_once('.')?;
    Some((unescape(database_type), unescape(group)))
}

/// The key of a metric: the instance; or the instance and the type of the metric. Messages of one key keep their order.
pub fn key(instance_id: &str, metric_type: Option<&str>) -> String {
    match metric_type {
        None => instance_id.to_owned(),
        Some(metric_type) => format!("{instance_id}:{metric_type}"),
    }
}

/// Instance and type of metric of a key. Since instances may have colons (`db:5432`), only what is a type ends a key.
pub fn parse_key(key: &str) -> (&str, Option<&str>) {
    match key.rsplit_once(':') {
        Some((instance_id, metric_type @ ("gauge" | "counter" | "histogram" | "timing"))) => {
            (instance_id, Some(metric_type))
        }
        _ => (key, None),
    }
}

fn escape(out: &mut String, text: &str, and_dots: bool) {
    let mut rest = text.chars().peekable();
    while let Some(char) = rest.next() {
        let plain = match char {
            '.' => !and_dots,
            // Else it would look like what stands for a character.
            '_' => rest.peek() != Some(&'x'),
            _ => char.is_ascii_alphanumeric() || char == '-',
        };
        if plain {
            out.push(char);
        } else {
            let _ = write!(out, "_x{:x}_", u32::from(char)); // text takes everything
        }
    }
}

fn unescape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("_x") {
        out.push_str(&rest[..at]);
        let behind = &rest[at + 2..];
        let length = behind.bytes().take(7).take_while(u8::is_ascii_hexdigit).count();
        let char = u32::from_str_radix(&behind[..length], 16).ok().and_then(char::from_u32);
        if let (Some(char), Some(behind)) = (char, behind[length..].strip_prefix('_')) {
            out.push(char);
            rest = behind;
        } else {
            out.push_str("_x");
            rest = behind;
        }
    }
    out.push_str(rest);
    out
}

/// FNV-1a: the same in every version and on every machine, as a topic's name has to be.
fn digest(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn usual_names_stay_as_they_are() {
        assert_eq!(metrics("postgresql", "production"), "gds.metrics.postgresql.production");
        assert_eq!(metrics("mssql", "db_1.example-2.com"), "gds.metrics.mssql.db_1.example-2.com");
        assert_eq!(parse_metrics("gds.metrics.mssql.a.b"), Some(("mssql".to_owned(), "a.b".to_owned())));
    }

    #[test]
    fn other_characters_become_numbers() {
        assert_eq!(metrics("a.b", "库:1"), "gds.metrics.a_x2e_b._x5e93__x3a_1");
        assert_eq!(metrics("t", "_x41_"), "gds.metrics.t._x5f_x41_");
    }

    #[test]
    fn names_that_are_too_long_stay_apart() {
        let (one, other) = ("库".repeat(100), "库".repeat(99) + "房");
        let topics = [metrics("postgresql", &one), metrics("postgresql", &other)];
        assert!(topics.iter().all(|topic| topic.len() == LONGEST), "{topics:?}");
        assert_ne!(topics[0], topics[1]);
        assert_eq!(topics[0], metrics("postgresql", &one));
    }

    #[test]
    fn other_topics_are_none() {
        for topic in ["metrics", "gds.metrics.dlq", "gds.metrics", "gds.alerts"] {
            assert_eq!(parse_metrics(topic), None, "{topic}");
        }
    }

    #[test]
    fn keys_are_taken_apart_again() {
        for (instance, kind) in [("pg-1", None), ("db:5432", None), ("db:5432", Some("counter")), ("", Some("gauge"))] {
            assert_eq!(parse_key(&key(instance, kind)), (instance, kind));
        }
    }

    proptest! {
        #[test]
        fn names_in_any_script_come_back(database_type in "\\PC{1,8}|[_x0-9a-f.]{0,12}", group in "\\PC{0,12}|[_x0-9a-f.]{0,20}") {
            let topic = metrics(&database_type, &group);
            prop_assert!(topic.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte)), "{}", topic);
            prop_assert_eq!(parse_metrics(&topic), Some((database_type, group)));
        }

        #[test]
        fn no_topic_makes_it_panic(topic in "(gds\\.metrics\\.)?.{0,40}") {
            let _ = parse_metrics(&topic);
        }
    }
}
