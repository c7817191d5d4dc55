//! Bytes of the hub become a [`Sample`].

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::avro;
use crate::fault::ParseError;
use crate::heartbeat::CollectorHeartbeat;
use crate::sample::Sample;
use crate::tags::Tags;
use crate::text::Text;
use crate::time::Timestamp;

/// The header by which newer Confluent serializers name the schema, instead of a frame around the value.
pub const SCHEMA_HEADER: &str = "__value_schema_id";

/// Reads a measurement: the message of a monitor as JSON, or as Avro or JSON in a Confluent frame, or one of
/// `KafkaMetrics`.
///
/// Tags may be missing, and texts may be numbers. Without a time it is `hub_ms`, the hub's, in milliseconds since the
/// epoch. In messages of `KafkaMetrics` `name`, `type` and `labels` stand for `metric_name`, `metric_type` and `tags`;
/// their instance and type of database are the labels `instance_id` and `database_type`, where they have them, and a
/// `timing` is in milliseconds. Takes time in proportion to the length.
pub fn parse(value: &[u8], hub_ms: i64) -> Result<Sample, ParseError> {
    parse_message(value, None, hub_ms)
}

/// As [`parse`], for a message whose header [`SCHEMA_HEADER`] may name its schema.
pub fn parse_message(value: &[u8], schema_header: Option<&[u8]>, hub_ms: i64) -> Result<Sample, ParseError> {
    let (schema_id, payload) = match (schema_header, value) {
        (_, []) => return Err(ParseError::Empty),
        (Some(_), payload) => (0, payload),
        (None, [avro::MAGIC, a, b, c, d, payload @ ..]) => (u32::from_be_bytes([*a, *b, *c, *d]), payload),
        (None, _) => return from_json(value, hub_ms),
    };
    // JSON is framed as well. As the first byte of Avro a brace would be the length of a text, and negative.
    if payload.first() == Some(&b'{') { from_json(payload, hub_ms) } else { avro::decode(payload, schema_id, hub_ms) }
}

/// Reads a heartbeat, as JSON or as Avro in a Confluent frame.
pub fn parse_heartbeat(value: &[u8]) -> Result<CollectorHeartbeat, ParseError> {
    if value.first() == Some(&avro::MAGIC) { avro::decode_heartbeat(value) } else { CollectorHeartbeat::parse(value) }
}

/// All that a message may have. What is not here is skipped.
#[derive(Deserialize)]
struct Wire<'a> {
    #[serde(borrow)]
    timestamp: Option<&'a RawValue>,
    database_type: Option<Text>,
    instance_id: Option<Text>,
    metric_name: Option<Text>,
    name: Option<Text>,
    value: Option<&'a RawValue>,
    non_finite: Option<Text>,
    tags: Option<Tags>,
    labels: Option<Tags>,
    metadata: Option<Metadata>,
    unit: Option<Text>,
    metric_type: Option<Text>,
    #[serde(rename = "type")]
    kind: Option<Text>,
    start_timestamp: Option<&'a RawValue>,
    correlation_id: Option<Text>,
}

#[derive(Default, Deserialize)]
struct Metadata {
    collection_duration_ms: Option<f64>,
    version: Option<Text>,
    correlation_id: Option<Text>,
}

/// What has a text, and not an empty one.
fn filled(text: Option<Text>) -> Option<String> {
    text.map(|text| text.0).filter(|text| !text.is_empty())
}

fn from_json(json: &[u8], hub_ms: i64) -> Result<Sample, ParseError> {
    let wire: Wire<'_> = serde_json::from_slice(json).map_err(|error| ParseError::json(&error))?;
    let of_a_program = wire.metric_name.is_none();
    let metric_name = filled(wire.metric_name).or_else(|| filled(wire.name)).ok_or(ParseError::NoMetricName)?;
    let tags = wire.tags.or(wire.labels).unwrap_or_default();
    let from_tags = |given: Option<Text>, name: &str| filled(given).or_else(|| tags.get(name).map(str::to_owned));
    let instance_id = from_tags(wire.instance_id, "instance_id").unwrap_or_default();
    if instance_id.is_empty() && !of_a_program {
        return Err(ParseError::NoInstanceId);
    }
    let database_type = from_tags(wire.database_type, "database_type").unwrap_or_default();
    let (value, value_text) = number(wire.value, wire.non_finite.as_ref())?;
    let time = wire.timestamp.map(|raw| time(raw).ok_or(ParseError::BadTimestamp)).transpose()?;
    let start = wire.start_timestamp.map(|raw| self::time(raw).ok_or(ParseError::BadStart)).transpose()?;
    let metric_type = filled(wire.metric_type).or_else(|| filled(wire.kind));
    let unit = filled(wire.unit)
        .or_else(|| (of_a_program && metric_type.as_deref() == Some("timing")).then(|| "ms".to_owned()));
    let metadata = wire.metadata.unwrap_or_default();
    Ok(Sample {
        time_ms: time.map_or(hub_ms, Timestamp::millis),
        time_from_hub: time.is_none(),
        database_type,
        instance_id,
        metric_name,
        value,
        value_text,
        tags,
        unit,
        metric_type,
        start_ms: start.map(Timestamp::millis),
        correlation_id: filled(metadata.correlation_id).or_else(|| filled(wire.correlation_id)),
        collection_duration_ms: crate::database::whole_milliseconds(metadata.collection_duration_ms.unwrap_or(0.0)),
        version: filled(metadata.version),
    })
}

fn time(raw: &RawValue) -> Option<Timestamp> {
    serde_json::from_str(raw.get()).ok()
}

/// A number, a decimal text, or the name of what JSON has no number for.
fn number(raw: Option<&RawValue>, non_finite: Option<&Text>) -> Result<(f64, String), ParseError> {
    let text = match raw {
        Some(raw) if raw.get().starts_with('"') => {
            serde_json::from_str::<String>(raw.get()).map_err(|_| ParseError::BadValue)?
        }
        Some(raw) => raw.get().to_owned(),
        None => non_finite.ok_or(ParseError::NoValue)?.0.clone(),
    };
    let value = named(&text).or_else(|| crate::database::is_decimal(&text).then(|| text.parse().ok()).flatten());
    // Digits that no double can hold would be compared as if they were infinite.
    let value = value.filter(|value: &f64| !value.is_infinite() || named(&text).is_some());
    value.map(|value| (value, text)).ok_or(ParseError::BadValue)
}

fn named(text: &str) -> Option<f64> {
    match text {
        "NaN" => Some(f64::NAN),
        "+Inf" | "Infinity" | "Inf" => Some(f64::INFINITY),
        "-Inf" | "-Infinity" => Some(f64::NEG_INFINITY),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::database::tests::{full, json};

    const HUB: i64 = 1_700_000_000_000;

    fn of(text: &str) -> Result<Sample, ParseError> {
        parse(text.as_bytes(), HUB)
    }

    #[test]
    fn the_message_of_a_monitor_is_read_whole() {
        let sample = of(&json(&full(&[("b", "2"), ("a", "1")]))).unwrap();
        let expected = Sample {
            time_ms: 1_772_366_400_123,
            time_from_hub: false,
            database_type: "postgresql".into(),
            instance_id: "pg-1".into(),
            metric_name: "postgresql.commits".into(),
            value: 9_007_199_254_740_993_i64 as f64,
            value_text: "9007199254740993".into(),
            tags: [("a", "1"), ("b", "2")].into_iter().collect(),
            unit: Some("{transaction}".into()),
            metric_type: Some("counter".into()),
            start_ms: Some(1_772_280_000_000),
            correlation_id: Some("cycle-1".into()),
            collection_duration_ms: 12,
            version: Some("1.0".into()),
        };
        assert_eq!(sample, expected);
    }

    #[test]
    fn without_tags_and_time_the_hubs_time_counts() {
        let sample = of(r#"{"instance_id": "pg-1", "metric_name": "up", "value": 1}"#).unwrap();
        assert_eq!((sample.time_ms, sample.time_from_hub, sample.tags.len()), (HUB, true, 0));
        assert_eq!(sample.tag("instance_id"), Some("pg-1"));
        let sample = of(r#"{"timestamp":null,"instance_id":7,"metric_name":"up","value":1,"tags":null}"#).unwrap();
        assert_eq!((sample.time_from_hub, sample.instance_id.as_str()), (true, "7"));
    }

    #[test]
    fn the_instance_may_be_a_tag_only() {
        let sample = of(r#"{"tags":{"instance_id":"pg-2"},"metric_name":"up","value":1}"#).unwrap();
        assert_eq!(sample.instance_id, "pg-2");
    }

    #[test]
    fn a_message_of_kafka_metrics_is_a_sample() {
        let sample = of(
            r#"{"timestamp":1700000000.25,"type":"timing","name":"query","value":1.5,"labels":{"instance_id":"a"}}"#,
        )
        .unwrap();
        assert_eq!((sample.time_ms, sample.metric_name.as_str()), (1_700_000_000_250, "query"));
        assert_eq!((sample.unit.as_deref(), sample.metric_type.as_deref()), (Some("ms"), Some("timing")));
        assert_eq!((sample.instance_id.as_str(), sample.database_type.as_str()), ("a", ""));
        let sample = of(r#"{"timestamp":1,"type":"gauge","name":"g","value":null,"labels":{},"non_finite":"-Inf"}"#);
        let sample = sample.unwrap();
        assert_eq!((sample.value, sample.value_text.as_str()), (f64::NEG_INFINITY, "-Inf"));
        assert_eq!(sample.instance_id, "");
    }

    #[test]
    fn a_value_is_a_number_or_its_digits() {
        let of = |value: &str| of(&format!(r#"{{"instance_id":"a","metric_name":"m","value":{value}}}"#));
        for (value, number, text) in [
            ("0.0144", 0.0144, "0.0144"),
            (r#""0.01440000000000000000001""#, 0.0144, "0.01440000000000000000001"),
            ("18446744073709551616", 18_446_744_073_709_551_616.0, "18446744073709551616"),
            (r#""+Inf""#, f64::INFINITY, "+Inf"),
        ] {
            let sample = of(value).unwrap();
            assert_eq!(sample.value.to_bits(), f64::to_bits(number));
            assert_eq!(sample.value_text, text);
        }
        for value in ["true", "{}", r#""1 or so""#, r#""""#, r#"" 1""#, "1e400", r#""1e400""#, "[1]"] {
            assert_eq!(of(value), Err(ParseError::BadValue), "{value}");
        }
        assert_eq!(of("null"), Err(ParseError::NoValue));
    }

    #[test]
    fn what_is_wrong_has_a_reason_and_nothing_of_the_message() {
        for (text, reason) in [
            ("", "empty"),
            ("hunter2", "malformed"),
            ("[]", "malformed"),
            (r#"{"metric_name":{"hunter2":1}}"#, "malformed"),
            (r#"{"value":1,"tags":"hunter2"}"#, "malformed"),
            (r#"{"value":1}"#, "no_metric_name"),
            (r#"{"value":1,"metric_name":""}"#, "no_metric_name"),
            (r#"{"value":1,"metric_name":"m"}"#, "no_instance_id"),
            (r#"{"instance_id":"a","metric_name":"m"}"#, "no_value"),
            (r#"{"instance_id":"a","metric_name":"m","value":"hunter2"}"#, "bad_value"),
            (r#"{"instance_id":"a","metric_name":"m","value":1,"timestamp":"hunter2"}"#, "bad_timestamp"),
            (r#"{"instance_id":"a","metric_name":"m","value":1,"timestamp":{}}"#, "bad_timestamp"),
            (r#"{"instance_id":"a","metric_name":"m","value":1,"start_timestamp":"x"}"#, "bad_start_timestamp"),
        ] {
            let error = of(text).unwrap_err();
            assert_eq!(error.reason(), reason, "{text}");
            assert!(!format!("{error} {error:?}").contains("hunter2"), "{error:?}");
        }
    }

    #[test]
    fn json_in_a_frame_is_json() {
        let mut framed = vec![0, 0, 0, 0, 7];
        framed.extend_from_slice(json(&full(&[])).as_bytes());
        assert_eq!(parse(&framed, HUB), of(&json(&full(&[]))));
    }

    #[test]
    fn deep_nesting_ends() {
        let deep = format!(r#"{{"metric_name":"m","instance_id":"a","value":{}}}"#, "[".repeat(1_000_000));
        assert!(of(&deep).is_err());
        let deep = format!(r#"{{"other":{}}}"#, "[".repeat(1_000_000));
        assert!(of(&deep).is_err());
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>, framed: bool) {
            let mut value = if framed { vec![0, 0, 0, 0, 1] } else { Vec::new() };
            value.extend_from_slice(&bytes);
            let _ = parse(&value, HUB);
            let _ = parse_message(&bytes, Some(b"\x01"), HUB);
        }

        #[test]
        fn no_damaged_message_makes_it_panic(at in 0_usize..300, byte: u8) {
            let mut message = json(&full(&[("a", "1")])).into_bytes();
            let at = at % message.len();
            message[at] = byte;
            let _ = parse(&message, HUB);
        }

        #[test]
        fn what_is_written_is_read(
            name in ".{1,20}", instance in ".{1,20}", tags in prop::collection::btree_map(".{0,8}", ".{0,20}", 0..5),
            number: f64, unit in prop::option::of(".{1,8}"),
        ) {
            let pairs: Vec<(&str, &str)> = tags.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
            let metric = crate::DatabaseMetric {
                metric_name: &name, instance_id: &instance, value: crate::Number::Float(number), unit: unit.as_deref(),
                ..full(&pairs)
            };
            let sample = of(&json(&metric)).unwrap();
            prop_assert_eq!(sample.metric_name, name);
            prop_assert_eq!(sample.instance_id, instance);
            prop_assert_eq!(sample.tags, tags.into_iter().collect());
            prop_assert_eq!(sample.unit, unit);
            prop_assert!(sample.value.to_bits() == number.to_bits() || sample.value.is_nan() && number.is_nan());
        }
    }
}
