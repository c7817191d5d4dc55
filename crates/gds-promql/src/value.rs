//! What a query answers.

use std::sync::Arc;

use crate::histogram::FloatHistogram;
use crate::labels::Labels;

/// The bits of the number that says that a series ended: no sample, though there was one before.
pub const STALE_NAN: u64 = 0x7ff0_0000_0000_0002;

/// Whether a number is the [stale marker](STALE_NAN); other numbers that are none are values.
pub fn is_stale(number: f64) -> bool {
    number.to_bits() == STALE_NAN
}

/// One value.
#[derive(Clone, Debug, PartialEq)]
pub enum Sample {
    /// A number.
    Float(f64),
    /// A native histogram.
    Histogram(Arc<FloatHistogram>),
}

impl Sample {
    /// Whether it says that the series ended.
    pub fn is_stale(&self) -> bool {
        match self {
            Self::Float(number) => is_stale(*number),
            Self::Histogram(histogram) => is_stale(histogram.sum),
        }
    }
}

/// A value at a time.
#[derive(Clone, Debug, PartialEq)]
pub struct Point {
    /// Milliseconds since 1970.
    pub t: i64,
    /// The value.
    pub value: Sample,
}

/// A series of a range vector, or of the answer of a range query.
#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    /// Its labels.
    pub labels: Labels,
    /// Its samples by time.
    pub points: Vec<Point>,
}

/// A series of an instant vector.
#[derive(Clone, Debug, PartialEq)]
pub struct VectorSample {
    /// Its labels.
    pub labels: Labels,
    /// The time of the evaluation in milliseconds since 1970.
    pub t: i64,
    /// Its value.
    pub value: Sample,
}

/// The value of a query.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// A number.
    Scalar {
        /// Milliseconds since 1970.
        t: i64,
        /// The number.
        v: f64,
    },
    /// A text.
    String {
        /// Milliseconds since 1970.
        t: i64,
        /// The text.
        v: String,
    },
    /// An instant vector, in the order that `sort` and its likes gave it.
    Vector(Vec<VectorSample>),
    /// A range vector, or the answer of a range query, by labels.
    Matrix(Vec<Series>),
}
