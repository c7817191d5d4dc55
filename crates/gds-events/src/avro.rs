//! The measurement, and the heartbeat of its collector, in Avro, in a Confluent frame: `0x00`, the schema's id in four bytes, the fields.
//!
//! There are two schemas. [`READER_SCHEMA`] is what readers have had; [`SCHEMA`] has three more fields behind those, null by
//! default, so that either reads the other. Since one begins with the other, both are read here whatever their id.

use crate::database::DatabaseMetric;
use crate::fault::ParseError;
use crate::heartbeat::{CollectorHeartbeat, HeartbeatStatus};
use crate::sample::Sample;
use crate::time::Timestamp;

/// The first byte of a frame.
pub const MAGIC: u8 = 0;

/// What is written.
pub const SCHEMA: &str = include_str!("../../../schemas/database-metric.avsc");

/// What existing readers have.
pub const READER_SCHEMA: &str = include_str!("../../../schemas/metrics-value.avsc");

/// What heartbeats are written with.
pub const HEARTBEAT_SCHEMA: &str = include_str!("../../../schemas/heartbeat.avsc");

/// Appends the beginning of a frame.
pub fn begin_frame(out: &mut Vec<u8>, schema_id: u32) {
    out.push(MAGIC);
    out.extend_from_slice(&schema_id.to_be_bytes());
}

impl<T: AsRef<str>> DatabaseMetric<'_, T> {
    /// Appends the fields as [`SCHEMA`] has them, without a frame.
    pub fn write_avro(&self, out: &mut Vec<u8>) {
        write_time(out, self.timestamp);
        write_text(out, self.database_type);
        write_text(out, self.instance_id);
        write_text(out, self.metric_name);
        out.extend_from_slice(&self.value.as_f64().to_le_bytes());
        if !self.tags.is_empty() {
            write_length(out, self.tags.len());
            for (name, text) in self.tags {
                write_text(out, name.as_ref());
                write_text(out, text.as_ref());
            }
        }
        write_long(out, 0);
        write_long(out, i64::from(self.collection_duration_ms));
        write_text(out, self.version);
        write_optional(out, self.correlation_id);
        write_optional(out, self.unit);
        write_optional(out, Some(self.metric_type.as_str()));
        match self.start_timestamp {
            None => write_long(out, 0),
            Some(start) => {
                write_long(out, 1);
                write_time(out, start);
            }
        }
    }
}

impl CollectorHeartbeat {
    /// Appends the fields as [`HEARTBEAT_SCHEMA`] has them, without a frame.
    pub fn write_avro(&self, out: &mut Vec<u8>) {
        write_time(out, self.timestamp);
        for text in [&self.collector, &self.instance_id, &self.database_type, &self.topic] {
            write_text(out, text);
        }
        write_text(out, self.status.as_str());
        write_optional(out, self.reason.as_deref());
        for number in [self.interval_ms, self.metrics, self.duration_ms] {
            write_long(out, i64::try_from(number).unwrap_or(i64::MAX));
        }
        write_optional(out, self.correlation_id.as_deref());
    }
}

/// Zigzag, then seven bits to a byte, the lowest first.
fn write_long(out: &mut Vec<u8>, number: i64) {
    let mut rest = ((number << 1) ^ (number >> 63)).cast_unsigned();
    while rest >= 0x80 {
        out.push(rest.to_le_bytes()[0] | 0x80);
        rest >>= 7;
    }
    out.push(rest.to_le_bytes()[0]);
}

fn write_length(out: &mut Vec<u8>, length: usize) {
    write_long(out, i64::try_from(length).unwrap_or(i64::MAX));
}

fn write_text(out: &mut Vec<u8>, text: &str) {
    write_length(out, text.len());
    out.extend_from_slice(text.as_bytes());
}

/// A union of null and string.
fn write_optional(out: &mut Vec<u8>, text: Option<&str>) {
    match text {
        None => write_long(out, 0),
        Some(text) => {
            write_long(out, 1);
            write_text(out, text);
        }
    }
}

fn write_time(out: &mut Vec<u8>, time: Timestamp) {
    // Its length is in front of it, and is less than a byte holds.
    let length_at = out.len();
    out.push(0);
    time.write(out);
    let length = out.len() - length_at - 1;
    out[length_at] = u8::try_from(length * 2).unwrap_or_default();
}

/// Reads a framed heartbeat.
pub(crate) fn decode_heartbeat(frame: &[u8]) -> Result<CollectorHeartbeat, ParseError> {
    let (id, payload) = frame[1..].split_first_chunk().unwrap_or((&[0; 4], &[]));
    let mut reader = Reader(payload);
    let wrong = |what| ParseError::Avro { schema_id: u32::from_be_bytes(*id), what };
    let heartbeat = reader.heartbeat().map_err(wrong)?;
    if reader.0.is_empty() { Ok(heartbeat) } else { Err(wrong("bytes are left over")) }
}

/// Reads the fields of either schema. An empty timestamp is none.
pub(crate) fn decode(payload: &[u8], schema_id: u32, hub_ms: i64) -> Result<Sample, ParseError> {
    let mut reader = Reader(payload);
    let sample = reader.sample(hub_ms).map_err(|what| match what {
        Wrong::Form(what) => ParseError::Avro { schema_id, what },
        Wrong::Content(error) => error,
    })?;
    if reader.0.is_empty() { Ok(sample) } else { Err(ParseError::Avro { schema_id, what: "bytes are left over" }) }
}

enum Wrong {
    Form(&'static str),
    Content(ParseError),
}

impl From<&'static str> for Wrong {
    fn from(what: &'static str) -> Self {
        Self::Form(what)
    }
}

impl From<ParseError> for Wrong {
    fn from(error: ParseError) -> Self {
        Self::Content(error)
    }
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn sample(&mut self, hub_ms: i64) -> Result<Sample, Wrong> {
        let time = self.text()?;
        let database_type = self.text()?.to_owned();
        let instance_id = self.text()?.to_owned();
        let metric_name = self.text()?.to_owned();
        let value = f64::from_le_bytes(*self.take::<8>()?);
        let tags = self.map()?.into_iter().collect();
        let collection_duration_ms = i32::try_from(self.long()?).map_err(|_| "collection_duration_ms is no int")?;
        let version = Some(self.text()?.to_owned());
        let correlation_id = self.optional()?.map(str::to_owned);
        let mut sample = Sample { database_type, instance_id, metric_name, value, tags, ..Sample::default() };
        sample.value_text = crate::database::non_finite(value).map_or_else(|| shortest(value), str::to_owned);
        sample.time_from_hub = time.is_empty();
        sample.time_ms = if time.is_empty() { hub_ms } else { millis(time).ok_or(ParseError::BadTimestamp)? };
        (sample.collection_duration_ms, sample.version) = (collection_duration_ms, version);
        sample.correlation_id = correlation_id;
        if sample.metric_name.is_empty() {
            return Err(ParseError::NoMetricName.into());
        }
        if sample.instance_id.is_empty() {
            return Err(ParseError::NoInstanceId.into());
        }
        if self.0.is_empty() {
            return Ok(sample);
        }
        sample.unit = self.optional()?.map(str::to_owned);
        sample.metric_type = self.optional()?.map(str::to_owned);
        sample.start_ms = self.optional()?.map(|text| millis(text).ok_or(ParseError::BadStart)).transpose()?;
        Ok(sample)
    }

    fn heartbeat(&mut self) -> Result<CollectorHeartbeat, &'static str> {
        let timestamp = Timestamp::from_text(self.text()?).ok_or("the timestamp is none")?;
        let mut text = || self.text().map(str::to_owned);
        let (collector, instance_id, database_type, topic) = (text()?, text()?, text()?, text()?);
        let status = HeartbeatStatus::from_text(self.text()?).ok_or("there is no such status")?;
        let reason = self.optional()?.map(str::to_owned);
        let mut number = || self.long().map(|number| u64::try_from(number).unwrap_or_default());
        let (interval_ms, metrics, duration_ms) = (number()?, number()?, number()?);
        let correlation_id = self.optional()?.map(str::to_owned);
        Ok(CollectorHeartbeat {
            timestamp,
            collector,
            instance_id,
            database_type,
            topic,
            status,
            reason,
            interval_ms,
            metrics,
            duration_ms,
            correlation_id,
        })
    }

    fn take<const N: usize>(&mut self) -> Result<&'a [u8; N], &'static str> {
        let (taken, rest) = self.0.split_first_chunk().ok_or("it ends too soon")?;
        self.0 = rest;
        Ok(taken)
    }

    fn long(&mut self) -> Result<i64, &'static str> {
        let mut number = 0_u64;
        for shift in (0..64).step_by(7) {
            let [byte] = *self.take()?;
            number |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok((number >> 1).cast_signed() ^ -(number & 1).cast_signed());
            }
        }
        Err("a number is too long")
    }

    fn text(&mut self) -> Result<&'a str, &'static str> {
        let length = usize::try_from(self.long()?).map_err(|_| "a length is negative")?;
        let (text, rest) = self.0.split_at_checked(length).ok_or("it ends too soon")?;
        self.0 = rest;
        std::str::from_utf8(text).map_err(|_| "a text is not in UTF-8")
    }

    fn optional(&mut self) -> Result<Option<&'a str>, &'static str> {
        match self.long()? {
            0 => Ok(None),
            1 => self.text().map(Some),
            _ => Err("a union has no such branch"),
        }
    }

    /// Blocks of pairs, each with their number in front; a negative one is followed by the length of the block.
    fn map(&mut self) -> Result<Vec<(&'a str, &'a str)>, &'static str> {
        let mut pairs = Vec::new();
        loop {
            let count = self.long()?;
            if count == 0 {
                return Ok(pairs);
            }
            if count < 0 {
                self.long()?;
            }
            // Each takes two bytes at least, which end before a false number of them does.
            for _ in 0..count.unsigned_abs() {
                pairs.push((self.text()?, self.text()?));
            }
        }
    }
}

fn millis(text: &str) -> Option<i64> {
    Timestamp::from_text(text).map(Timestamp::millis)
}

fn shortest(value: f64) -> String {
    let mut digits = Vec::new();
    gds_json::number::write_float(&mut digits, value);
    String::from_utf8(digits).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use apache_avro::Schema;
    use apache_avro::reader::datum::GenericDatumReader;
    use apache_avro::types::Value;
    use apache_avro::writer::datum::GenericDatumWriter;
    use proptest::prelude::*;

    use super::*;
    use crate::database::tests::{full, json};
    use crate::heartbeat::tests::beat;
    use crate::{MetricType, Number, parse, parse_heartbeat};

    fn avro(metric: &DatabaseMetric<'_, &str>) -> Vec<u8> {
        let mut out = Vec::new();
        metric.write_avro(&mut out);
        out
    }

    fn framed(metric: &DatabaseMetric<'_, &str>) -> Vec<u8> {
        let mut out = Vec::new();
        begin_frame(&mut out, 258);
        metric.write_avro(&mut out);
        out
    }

    /// What the other library reads with the reader's schema of what was written with ours.
    fn read_by_other(bytes: &[u8], reader: Option<&Schema>) -> Value {
        let ours = Schema::parse_str(SCHEMA).unwrap();
        let datum = GenericDatumReader::builder(&ours).maybe_reader_schema(reader).build().unwrap();
        datum.read_value(&mut &*bytes).unwrap()
    }

    fn written_by_other(schema: &Schema, value: Value) -> Vec<u8> {
        GenericDatumWriter::builder(schema).build().unwrap().write_value_to_vec(value).unwrap()
    }

    fn existing() -> Schema {
        Schema::parse_str(READER_SCHEMA).unwrap()
    }

    #[test]
    fn the_frame_is_confluents() {
        assert_eq!(framed(&full(&[]))[..5], [0, 0, 0, 1, 2]);
    }

    #[test]
    fn another_library_reads_what_is_written_with_either_schema() {
        let bytes = avro(&full(&[("k", "数据")]));
        let Value::Record(fields) = read_by_other(&bytes, None) else { panic!("no record") };
        assert_eq!(fields[0].1, Value::String("2026-03-01T12:00:00.123456Z".to_owned()));
        assert_eq!(
            fields[7],
            ("unit".to_owned(), Value::Union(1, Box::new(Value::String("{transaction}".to_owned()))))
        );
        let Value::Record(fields) = read_by_other(&bytes, Some(&existing())) else { panic!("no record") };
        assert_eq!(fields.len(), 7);
        assert_eq!(fields[3].1, Value::String("postgresql.commits".to_owned()));
    }

    #[test]
    fn what_another_library_writes_with_the_existing_schema_is_read() {
        let metric = full(&[("x", "1"), ("y", "2")]);
        let mut bytes = vec![0, 0, 0, 0, 1];
        bytes.extend(written_by_other(&existing(), read_by_other(&avro(&metric), Some(&existing()))));
        let sample = parse(&bytes, 0).unwrap();
        assert_eq!((sample.time_ms, sample.collection_duration_ms), (1_772_366_400_123, 12));
        assert_eq!((sample.tag("y"), sample.unit.as_deref(), sample.metric_type.as_deref()), (Some("2"), None, None));
        assert_eq!(sample.correlation_id.as_deref(), Some("cycle-1"));
    }

    #[test]
    fn a_heartbeat_is_what_another_library_reads_and_comes_back() {
        for beat in [beat(), CollectorHeartbeat { reason: None, correlation_id: Some("c".into()), ..beat() }] {
            let mut frame = Vec::new();
            begin_frame(&mut frame, 258);
            beat.write_avro(&mut frame);
            let schema = Schema::parse_str(HEARTBEAT_SCHEMA).unwrap();
            let reader = GenericDatumReader::builder(&schema).build().unwrap();
            let Value::Record(fields) = reader.read_value(&mut &frame[5..]).unwrap() else { panic!("no record") };
            assert_eq!(fields[5], ("status".to_owned(), Value::String("partial".to_owned())));
            assert_eq!(fields[7], ("interval_ms".to_owned(), Value::Long(30_000)));
            assert_eq!(parse_heartbeat(&frame), Ok(beat));
            for length in 1..frame.len() {
                assert_eq!(parse_heartbeat(&frame[..length]).unwrap_err().reason(), "malformed_avro");
            }
            frame.push(0);
            assert_eq!(parse_heartbeat(&frame).unwrap_err().reason(), "malformed_avro");
        }
    }

    #[test]
    fn a_header_stands_for_the_frame() {
        let metric = full(&[]);
        assert_eq!(crate::parse_message(&avro(&metric), Some(&[1; 17]), 0), parse(&framed(&metric), 0));
    }

    #[test]
    fn both_forms_say_the_same() {
        let metric = DatabaseMetric { value: Number::Float(0.1), ..full(&[("a", "1"), ("b", "")]) };
        assert_eq!(parse(&framed(&metric), 0), parse(json(&metric).as_bytes(), 0));
    }

    #[test]
    fn what_is_cut_off_or_too_long_is_said_to_be() {
        let whole = framed(&full(&[("a", "1")]));
        // Without its last three fields it is what the other schema writes.
        let existing = whole.len() - avro_extras();
        for length in 5..whole.len() {
            let read = parse(&whole[..length], 0);
            assert_eq!(read.is_ok(), length == existing, "{length}: {read:?}");
        }
        let longer = [whole.as_slice(), &[0]].concat();
        let error = parse(&longer, 0).unwrap_err();
        assert_eq!(error, ParseError::Avro { schema_id: 258, what: "bytes are left over" });
        assert_eq!(error.reason(), "malformed_avro");
    }

    /// How many bytes the fields take that only our schema has.
    fn avro_extras() -> usize {
        let metric = full(&[]);
        let texts = [metric.unit.unwrap(), metric.metric_type.as_str(), "2026-02-28T12:00:00.000Z"];
        texts.iter().map(|text| text.len() + 2).sum()
    }

    proptest! {
        #[test]
        fn both_libraries_agree(
            name in ".{1,20}", instance in ".{1,20}", tags in prop::collection::btree_map(".{0,8}", ".{0,200}", 0..5),
            number: f64, duration: i32, correlation in prop::option::of(".{0,80}"), unit in prop::option::of(".{0,8}"),
            micros: i64, start in prop::option::of(any::<i64>()), counter: bool,
        ) {
            let pairs: Vec<(&str, &str)> = tags.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
            let metric = DatabaseMetric {
                timestamp: Timestamp::from_micros(micros), metric_name: &name, instance_id: &instance,
                value: Number::Float(number), collection_duration_ms: duration, correlation_id: correlation.as_deref(),
                unit: unit.as_deref(), metric_type: if counter { MetricType::Counter } else { MetricType::Gauge },
                start_timestamp: start.map(Timestamp::from_micros), ..full(&pairs)
            };
            let bytes = avro(&metric);
            let again = written_by_other(&Schema::parse_str(SCHEMA).unwrap(), read_by_other(&bytes, None));
            // The order of a map is the other library's own.
            if pairs.len() < 2 { prop_assert_eq!(&again, &bytes); }
            prop_assert_eq!(again.len(), bytes.len());
            let sample = parse(&framed(&metric), 0).unwrap();
            prop_assert_eq!(sample.tags, tags.into_iter().collect());
            prop_assert_eq!(sample.collection_duration_ms, duration);
        }
    }
}
