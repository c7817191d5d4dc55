//! The message for one measurement of a database, as `schemas/database-metric.json` has it.

use gds_json::{number, text};
use serde::{Deserialize, Serialize};

use crate::Timestamp;

/// What a message says of its form, if nothing else was asked for.
pub const VERSION: &str = "1.0";

/// What a number means.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum MetricType {
    /// As it is now.
    #[default]
    Gauge,
    /// A sum since [`DatabaseMetric::start_timestamp`].
    Counter,
}

impl MetricType {
    /// As messages and keys have it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Gauge => "gauge",
            Self::Counter => "counter",
        }
    }

    /// From its text.
    pub fn from_text(text: &str) -> Option<Self> {
        match text {
            "gauge" => Some(Self::Gauge),
            "counter" => Some(Self::Counter),
            _ => None,
        }
    }
}

/// A value, with as many digits as it has.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Number<'a> {
    /// Which need not be finite.
    Float(f64),
    /// Of which JSON keeps all digits, and Avro those of a double.
    Integer(i64),
    /// A number as JSON has it, with more digits than the others hold: [`is_decimal`] tells whether a text is one.
    Decimal(&'a str),
}

impl Number<'_> {
    /// The nearest double.
    pub fn as_f64(self) -> f64 {
        match self {
            Self::Float(number) => number,
            Self::Integer(number) => number as f64,
            Self::Decimal(text) => text.parse().unwrap_or(f64::NAN),
        }
    }
}

/// How JSON, which has no such number, says which one was meant; None for a finite number.
pub fn non_finite(number: f64) -> Option<&'static str> {
    if number.is_finite() {
        None
    } else if number.is_nan() {
        Some("NaN")
    } else if number > 0.0 {
        Some("+Inf")
    } else {
        Some("-Inf")
    }
}

/// Whether a text is a number as JSON writes it.
pub fn is_decimal(text: &str) -> bool {
    fn skip_digits(text: &[u8]) -> Option<&[u8]> {
        let count = text.iter().take_while(|digit| digit.is_ascii_digit()).count();
        (count > 0).then(|| &text[count..])
    }
    let text = text.as_bytes();
    let text = text.strip_prefix(b"-").unwrap_or(text);
    let whole = if text.first() == Some(&b'0') { Some(&text[1..]) } else { skip_digits(text) };
    let fraction = whole.and_then(|rest| rest.strip_prefix(b".").map_or(Some(rest), skip_digits));
    let end = fraction.and_then(|rest| match rest.split_first() {
        Some((b'e' | b'E', rest)) => {
            skip_digits(rest.strip_prefix(b"+").or_else(|| rest.strip_prefix(b"-")).unwrap_or(rest))
        }
        _ => Some(rest),
    });
    end.is_some_and(<[u8]>::is_empty)
}

/// A duration as messages have it: whole milliseconds, within what Avro's int holds.
#[allow(clippy::cast_possible_truncation)] // the cast keeps to the bounds of the type, and makes 0 of what is no number
pub fn whole_milliseconds(milliseconds: f64) -> i32 {
    milliseconds.max(0.0).round() as i32
}

/// A measurement on its way out; it borrows all its texts. [`Sample`](crate::Sample) is what it is read as.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DatabaseMetric<'a, T> {
    /// When it was measured.
    pub timestamp: Timestamp,
    /// `postgresql`, `mongodb`, ...
    pub database_type: &'a str,
    /// Of which instance.
    pub instance_id: &'a str,
    /// In dotted style: `postgresql.backends`.
    pub metric_name: &'a str,
    /// The number.
    pub value: Number<'a>,
    /// What tells series of the name apart; each name once.
    pub tags: &'a [(T, T)],
    /// How long it took to collect.
    pub collection_duration_ms: i32,
    /// Of the form of the message.
    pub version: &'a str,
    /// What else belongs to it.
    pub correlation_id: Option<&'a str>,
    /// In UCUM.
    pub unit: Option<&'a str>,
    /// What the number means.
    pub metric_type: MetricType,
    /// From when on a counter counts.
    pub start_timestamp: Option<Timestamp>,
}

impl<T: AsRef<str>> DatabaseMetric<'_, T> {
    /// Appends the message as JSON.
    pub fn write_json(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(br#"{"timestamp":""#);
        self.timestamp.write(out);
        out.extend_from_slice(br#"","database_type":"#);
        text::write::<b','>(out, self.database_type);
        out.extend_from_slice(br#""instance_id":"#);
        text::write::<b','>(out, self.instance_id);
        out.extend_from_slice(br#""metric_name":"#);
        text::write::<b','>(out, self.metric_name);
        out.extend_from_slice(br#""value":"#);
        self.write_value(out);
        out.extend_from_slice(br#""tags":{"#);
        for (name, value) in self.tags {
            text::write::<b':'>(out, name.as_ref());
            text::write::<b','>(out, value.as_ref());
        }
        if !self.tags.is_empty() {
            out.pop();
        }
        out.extend_from_slice(br#"},"metadata":{"collection_duration_ms":"#);
        number::write_integer_item(out, self.collection_duration_ms);
        out.extend_from_slice(br#""version":"#);
        text::write::<b','>(out, self.version);
        out.extend_from_slice(br#""correlation_id":"#);
        write_optional(out, self.correlation_id);
        out.pop();
        out.extend_from_slice(br#"},"unit":"#);
        write_optional(out, self.unit);
        out.extend_from_slice(br#""metric_type":"#);
        text::write::<b','>(out, self.metric_type.as_str());
        out.extend_from_slice(br#""start_timestamp":"#);
        match self.start_timestamp {
            None => out.extend_from_slice(b"null"),
            Some(start) => {
                out.push(b'"');
                start.write(out);
                out.push(b'"');
            }
        }
        out.push(b'}');
    }

    fn write_value(&self, out: &mut Vec<u8>) {
        match self.value {
            Number::Integer(number) => number::write_integer_item(out, number),
            Number::Decimal(digits) => text::write_plain(out, digits.as_bytes()),
            Number::Float(number) => match non_finite(number) {
                None => number::write_float_item(out, number),
                Some(name) => {
                    out.extend_from_slice(br#"null,"non_finite":"#);
                    text::write::<b','>(out, name);
                }
            },
        }
    }
}

fn write_optional(out: &mut Vec<u8>, value: Option<&str>) {
    match value {
        None => out.extend_from_slice(b"null,"),
        Some(value) => text::write::<b','>(out, value),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::parse;

    /// One with everything.
    pub(crate) fn full<'a>(tags: &'a [(&'a str, &'a str)]) -> DatabaseMetric<'a, &'a str> {
        DatabaseMetric {
            timestamp: Timestamp::from_micros(1_772_366_400_123_456),
            database_type: "postgresql",
            instance_id: "pg-1",
            metric_name: "postgresql.commits",
            value: Number::Integer(9_007_199_254_740_993),
            tags,
            collection_duration_ms: 12,
            version: VERSION,
            correlation_id: Some("cycle-1"),
            unit: Some("{transaction}"),
            metric_type: MetricType::Counter,
            start_timestamp: Some(Timestamp::from_millis(1_772_280_000_000)),
        }
    }

    pub(crate) fn json(metric: &DatabaseMetric<'_, &str>) -> String {
        let mut out = Vec::new();
        metric.write_json(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn the_message_is_the_designs_and_three_fields_more() {
        assert_eq!(
            json(&full(&[("db.namespace", "ap\"p"), ("数据库", "订单")])),
            concat!(
                r#"{"timestamp":"2026-03-01T12:00:00.123456Z","database_type":"postgresql","instance_id":"pg-1","#,
                r#""metric_name":"postgresql.commits","value":9007199254740993,"#,
                r#""tags":{"db.namespace":"ap\"p","数据库":"订单"},"#,
                r#""metadata":{"collection_duration_ms":12,"version":"1.0","correlation_id":"cycle-1"},"#,
                r#""unit":"{transaction}","metric_type":"counter","start_timestamp":"2026-02-28T12:00:00.000Z"}"#,
            )
        );
    }

    #[test]
    fn what_is_missing_is_null() {
        let metric = DatabaseMetric {
            value: Number::Float(0.5),
            correlation_id: None,
            unit: None,
            metric_type: MetricType::Gauge,
            start_timestamp: None,
            ..full(&[])
        };
        let value: serde_json::Value = serde_json::from_str(&json(&metric)).unwrap();
        assert_eq!(value["tags"], serde_json::json!({}));
        for null in [&value["unit"], &value["start_timestamp"], &value["metadata"]["correlation_id"]] {
            assert!(null.is_null());
        }
    }

    #[test]
    fn a_number_keeps_its_digits_and_one_that_is_none_its_name() {
        for (number, written) in [
            (Number::Decimal("14.40000000000000000000000000000001"), "14.40000000000000000000000000000001"),
            (Number::Float(f64::NEG_INFINITY), "-Inf"),
            (Number::Float(1e300), "1e+300"),
            (Number::Integer(i64::MIN), "-9223372036854775808"),
        ] {
            let sample = parse(json(&DatabaseMetric { value: number, ..full(&[]) }).as_bytes(), 0).unwrap();
            assert_eq!(sample.value_text, written);
            assert_eq!(sample.value.to_bits(), number.as_f64().to_bits());
        }
    }

    #[test]
    fn decimals_are_those_of_json() {
        for text in ["0", "-0", "1", "10.50", "1e5", "1.5E-7", "-12345678901234567890.1"] {
            assert!(is_decimal(text), "{text}");
        }
        for text in ["", "-", "01", ".5", "5.", "1e", "+1", "0x1", "1_0", "NaN", "Infinity", " 1", "1 ", "１"] {
            assert!(!is_decimal(text), "{text}");
        }
    }

    #[test]
    fn durations_are_whole_and_never_out_of_range() {
        assert_eq!(
            [0.4, 0.5, 1e300, -3.0, f64::NAN, f64::INFINITY].map(whole_milliseconds),
            [0, 1, i32::MAX, 0, 0, i32::MAX]
        );
    }
}
