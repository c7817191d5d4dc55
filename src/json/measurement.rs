//! The message of `gds_kafka.KafkaMetrics` for one measurement, as `schemas/metric.json` has it.

use super::text;

/// Appends the message: the same bytes as of the dict that `gds_kafka._aggregate.message` makes.
///
/// `timestamp` (seconds since the epoch) and `value` are finite.
pub(crate) fn write(out: &mut Vec<u8>, timestamp: f64, kind: &str, name: &str, value: f64, labels: &[(&str, &str)]) {
    out.extend_from_slice(br#"{"timestamp":"#);
    number(out, timestamp);
    out.extend_from_slice(br#""type":"#);
    text::write::<b','>(out, kind);
    out.extend_from_slice(br#""name":"#);
    text::write::<b','>(out, name);
    out.extend_from_slice(br#""value":"#);
    number(out, value);
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

/// A finite number, and a comma.
fn number(out: &mut Vec<u8>, number: f64) {
    text::write_plain(out, zmij::Buffer::new().format_finite(number).as_bytes());
}
