//! The message of `gds_kafka.KafkaMetrics` for one measurement, as `schemas/metric.json` has it.

use gds_json::{number, text};

/// Appends the message: the same bytes as of the dict that `gds_kafka._aggregate.message` makes.
///
/// `timestamp` (seconds since the epoch) and `value` are finite.
pub fn write(out: &mut Vec<u8>, timestamp: f64, kind: &str, name: &str, value: f64, labels: &[(&str, &str)]) {
    out.extend_from_slice(br#"{"timestamp":"#);
    number::write_float_item(out, timestamp);
    out.extend_from_slice(br#""type":"#);
    text::write::<b','>(out, kind);
    out.extend_from_slice(br#""name":"#);
    text::write::<b','>(out, name);
    out.extend_from_slice(br#""value":"#);
    number::write_float_item(out, value);
    out.extend_from_slice(br#""labels":{"#);
    for (label, value) in labels {
        text::write::<b':'>(out, label);
        text::write::<b','>(out, value);
    }
    if !labels.is_empty() {
        out.pop();
    }
    out.extend_from_slice(b"}}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_measurement_is_json_with_its_labels_in_order() {
        let mut out = Vec::new();
        write(&mut out, 1.5, "gauge", "a \"b\"", 2.0, &[("x", "1"), ("y", "\n")]);
        let json = r#"{"timestamp":1.5,"type":"gauge","name":"a \"b\"","value":2.0,"labels":{"x":"1","y":"\n"}}"#;
        assert_eq!(String::from_utf8(out).unwrap(), json);
        assert!(serde_json::from_str::<serde_json::Value>(json).is_ok());
    }
}
