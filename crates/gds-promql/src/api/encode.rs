//! Values as the HTTP interface writes them.

use std::fmt::{self, Write as _};

use serde::ser::{Serialize, SerializeMap, Serializer};

use crate::histogram::FloatHistogram;
use crate::labels::Labels;
use crate::value::{Sample, Series, Value, VectorSample};

/// A number as a text.
pub(super) struct Number(pub(super) f64);

impl fmt::Display for Number {
    /// As short as it can be: with an exponent from 1e21 on and below 1e-6.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = self.0;
        if number.is_infinite() {
            return out.write_str(if number > 0.0 { "+Inf" } else { "-Inf" });
        }
        if number == 0.0 || !(number.abs() < 1e-6 || number.abs() >= 1e21) {
            return write!(out, "{number}");
        }
        let text = format!("{number:e}");
        let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
        let (sign, exponent) = exponent.strip_prefix('-').map_or(('+', exponent), |exponent| ('-', exponent));
        out.write_str(digits)?;
        out.write_char('e')?;
        out.write_char(sign)?;
        write!(out, "{exponent:0>2}")
    }
}

impl Serialize for Number {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Seconds of milliseconds.
struct Time(i64);

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.0 % 1_000 == 0 {
            serializer.serialize_i64(self.0 / 1_000)
        } else {
            serializer.serialize_f64(self.0 as f64 / 1e3)
        }
    }
}

/// An object of names and values.
pub(super) struct LabelsJson<'a>(pub(super) &'a Labels);

impl Serialize for LabelsJson<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter())
    }
}

struct HistogramJson<'a>(&'a FloatHistogram);

impl Serialize for HistogramJson<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let histogram = self.0;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("count", &Number(histogram.count))?;
        map.serialize_entry("sum", &Number(histogram.sum))?;
        let buckets: Vec<_> = histogram
            .buckets()
            .filter(|bucket| bucket.count != 0.0)
            .map(|bucket| {
                let bounds = match (bucket.lower_inclusive, bucket.upper_inclusive) {
                    (false, true) => 0,
                    (true, false) => 1,
                    (false, false) => 2,
                    (true, true) => 3,
                };
                (bounds, Number(bucket.lower), Number(bucket.upper), Number(bucket.count))
            })
            .collect();
        if !buckets.is_empty() {
            map.serialize_entry("buckets", &buckets)?;
        }
        map.end()
    }
}

impl Serialize for VectorSample {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(2))?;
        map.serialize_entry("metric", &LabelsJson(&self.labels))?;
        match &self.value {
            Sample::Float(number) => map.serialize_entry("value", &(Time(self.t), Number(*number)))?,
            Sample::Histogram(histogram) => {
                map.serialize_entry("histogram", &(Time(self.t), HistogramJson(histogram)))?;
            }
        }
        map.end()
    }
}

impl Serialize for Series {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("metric", &LabelsJson(&self.labels))?;
        let mut values = Vec::new();
        let mut histograms = Vec::new();
        for point in &self.points {
            match &point.value {
                Sample::Float(number) => values.push((Time(point.t), Number(*number))),
                Sample::Histogram(histogram) => histograms.push((Time(point.t), HistogramJson(histogram))),
            }
        }
        if !values.is_empty() {
            map.serialize_entry("values", &values)?;
        }
        if !histograms.is_empty() {
            map.serialize_entry("histograms", &histograms)?;
        }
        map.end()
    }
}

/// The type of a value and the value.
pub(super) struct QueryData<'a>(pub(super) &'a Value);

impl Serialize for QueryData<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(2))?;
        match self.0 {
            Value::Scalar { t, v } => {
                map.serialize_entry("resultType", "scalar")?;
                map.serialize_entry("result", &(Time(*t), Number(*v)))?;
            }
            Value::String { t, v } => {
                map.serialize_entry("resultType", "string")?;
                map.serialize_entry("result", &(Time(*t), v))?;
            }
            Value::Vector(samples) => {
                map.serialize_entry("resultType", "vector")?;
                map.serialize_entry("result", samples)?;
            }
            Value::Matrix(series) => {
                map.serialize_entry("resultType", "matrix")?;
                map.serialize_entry("result", series)?;
            }
        }
        map.end()
    }
}
