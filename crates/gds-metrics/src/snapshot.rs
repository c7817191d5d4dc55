//! What a provider sees of a registry: plain values, taken without stopping those who write.

use std::sync::Arc;

use crate::key::MetricKind;

/// A family: all series of one name and kind.
#[derive(Clone, Debug)]
pub struct Family {
    /// The name; sanitised or as given, by the registry's naming.
    pub name: Arc<str>,
    /// The kind; a [`MetricKind::Timing`] is in seconds.
    pub kind: MetricKind,
    /// What it means, or empty.
    pub help: Arc<str>,
    /// Its unit (`seconds`, `bytes`), or empty.
    pub unit: Arc<str>,
    /// Upper bounds of the buckets without the last, which is infinite; empty unless a distribution.
    pub bounds: Arc<[f64]>,
    /// Its series.
    pub series: Vec<Series>,
}

/// One series of a family.
#[derive(Clone, Debug)]
pub struct Series {
    /// A number that no other series of this process ever has: survives renames, differs after expiry.
    pub id: u64,
    /// Label names and values, sorted by name, in turn: `[name, value, name, value]`.
    pub labels: Arc<[Box<str>]>,
    /// When the first value arrived, nanoseconds since the Unix epoch.
    pub created_nanos: u64,
    /// What it holds.
    pub value: Value,
    /// Examples with the trace they came from: at most one for a counter, one for each bucket of a distribution.
    pub exemplars: Vec<Exemplar>,
}

/// What a series holds.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// A counter's total or a gauge's value.
    Number(f64),
    /// A distribution.
    Distribution {
        /// Sum of the values.
        sum: f64,
        /// Values in each bucket (not cumulative), the last one being what exceeds every bound.
        buckets: Vec<u64>,
    },
}

/// The trace and span that were active.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceContext {
    /// W3C trace id, big-endian.
    pub trace_id: [u8; 16],
    /// W3C span id, big-endian.
    pub span_id: [u8; 8],
}

/// One measurement with the trace it came from.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Exemplar {
    /// Where it was measured.
    pub trace: TraceContext,
    /// The measured value.
    pub value: f64,
    /// When, nanoseconds since the Unix epoch.
    pub nanos: u64,
    /// The bucket it fell into; 0 for a counter.
    pub bucket: usize,
}
