//! From a snapshot to requests of the metrics data model, several if it is large.

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as AnyValueKind;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality, Exemplar as ProtoExemplar, Gauge, Histogram, HistogramDataPoint, Metric, NumberDataPoint,
    ResourceMetrics, ScopeMetrics, Sum, exemplar, metric, number_data_point,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use prost::Message as _;

use super::config::Temporality;
use super::delta::{Change, Deltas, Receipt};
use crate::key::MetricKind;
use crate::snapshot::{Exemplar, Family, Series, Value};

/// Name of the instrumentation scope of every metric.
pub const SCOPE: &str = "gds_metrics";

/// How large a request may become.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Data points; at least one is sent.
    pub points: usize,
    /// Bytes of the data points, before compression; a single point may be larger.
    pub bytes: usize,
}

impl Default for Limits {
    /// Below the 4 MiB that gRPC servers accept by default, with room for names and the resource.
    fn default() -> Self {
        Self { points: 5_000, bytes: 3 << 20 }
    }
}

/// Where in a snapshot the next request begins.
#[derive(Clone, Copy, Debug, Default)]
pub struct Position {
    family: usize,
    series: usize,
}

/// A request and what to remember once it is acknowledged.
#[derive(Debug)]
pub struct Batch {
    /// The request; it has at least one point.
    pub request: ExportMetricsServiceRequest,
    /// Its data points.
    pub points: usize,
    receipt: Acknowledgement,
}

/// What [`Converter::acknowledge`] takes; of a batch whose request was given away.
#[derive(Debug)]
pub struct Acknowledgement(Vec<Receipt>);

impl Batch {
    /// The request to send, and what to hand back when the receiver has taken it.
    pub fn into_parts(self) -> (ExportMetricsServiceRequest, Acknowledgement) {
        (self.request, self.receipt)
    }
}

/// Turns snapshots into requests, and remembers what was acknowledged if values are to be deltas.
///
/// For each snapshot: [`Converter::begin`], then [`Converter::next_batch`] until there is none. A batch that is never
/// acknowledged changes nothing: its deltas are part of those that the next snapshot gives.
#[derive(Debug)]
pub struct Converter {
    resource: Resource,
    limits: Limits,
    deltas: Option<Deltas>,
}

impl Converter {
    /// A converter for a resource with these attributes.
    pub fn new(resource: &[(String, String)], temporality: Temporality, limits: Limits) -> Self {
        let attributes = resource.iter().map(|(name, value)| attribute(name, value)).collect();
        let deltas = match temporality {
            Temporality::Cumulative => None,
            Temporality::Delta | Temporality::LowMemory => Some(Deltas::default()),
        };
        Self { resource: Resource { attributes, ..Resource::default() }, limits, deltas }
    }

    /// Begins with a new snapshot: what is remembered of series that it does not have is forgotten.
    pub fn begin(&mut self, families: &[Family]) {
        if let Some(deltas) = &mut self.deltas {
            deltas.retain(families);
        }
    }

    /// The next request of a snapshot taken at `now_nanos`, or none when all of it was given.
    pub fn next_batch(&self, families: &[Family], now_nanos: u64, position: &mut Position) -> Option<Batch> {
        let mut batch = OpenRequest { metrics: Vec::new(), points: 0, bytes: 0, receipts: Vec::new() };
        while let Some(family) = families.get(position.family) {
            let full = self.add(family, now_nanos, &mut position.series, &mut batch);
            if full {
                break;
            }
            *position = Position { family: position.family + 1, series: 0 };
        }
        // The protocol's "Empty Telemetry Envelopes": senders should not create them.
        (batch.points > 0).then(|| self.close(batch))
    }

    /// Remembers that the receiver has taken a batch; the next deltas count from there.
    pub fn acknowledge(&mut self, receipt: Acknowledgement) {
        if let Some(deltas) = &mut self.deltas {
            deltas.acknowledge(receipt.0);
        }
    }

    /// Number of series that something is remembered of.
    #[cfg(test)]
    pub(super) fn remembered(&self) -> usize {
        self.deltas.as_ref().map_or(0, Deltas::len)
    }

    /// Adds the family's series from `next` on, until the batch is full; says whether it is.
    fn add(&self, family: &Family, now_nanos: u64, next: &mut usize, batch: &mut OpenRequest) -> bool {
        let mut points = Points::of(family.kind);
        let mut full = false;
        while let Some(series) = family.series.get(*next) {
            if let Some((point, receipt)) = self.point(family, series, now_nanos) {
                let bytes = point.encoded_len();
                full =
                    batch.points > 0 && (batch.points >= self.limits.points || batch.bytes + bytes > self.limits.bytes);
                if full {
                    break;
                }
                batch.points += 1;
                batch.bytes += bytes;
                batch.receipts.extend(receipt);
                points.push(point);
            }
            *next += 1;
        }
        batch.metrics.extend(points.into_metric(family, self.aggregation()));
        full
    }

    fn point(&self, family: &Family, series: &Series, now_nanos: u64) -> Option<(Point, Option<Receipt>)> {
        let accumulates = family.kind != MetricKind::Gauge;
        let change = match &self.deltas {
            Some(deltas) if accumulates => deltas.change(series)?,
            _ => Change { start_nanos: series.created_nanos, value: series.value.clone(), seen: false },
        };
        // A wall clock that was set back must not give a point that ends before it begins.
        let start_nanos = change.start_nanos.min(now_nanos);
        let fresh = |exemplar: &&Exemplar| !change.seen || exemplar.nanos > change.start_nanos;
        let exemplars = series.exemplars.iter().filter(fresh).map(proto_exemplar).collect();
        let attributes = attributes(&series.labels);
        let point = match (change.value, family.kind.is_distribution()) {
            (Value::Number(value), false) => Point::Number(NumberDataPoint {
                attributes,
                start_time_unix_nano: if accumulates { start_nanos } else { 0 },
                time_unix_nano: now_nanos,
                exemplars,
                flags: 0,
                value: Some(number_data_point::Value::AsDouble(value)),
            }),
            (Value::Distribution { sum, buckets }, true) if buckets.len() == family.bounds.len() + 1 => {
                Point::Histogram(HistogramDataPoint {
                    attributes,
                    start_time_unix_nano: start_nanos,
                    time_unix_nano: now_nanos,
                    count: buckets.iter().sum(),
                    // Optional in the protocol: after an observed infinity no change of the sum can be told.
                    sum: (!sum.is_nan()).then_some(sum),
                    bucket_counts: buckets,
                    explicit_bounds: family.bounds.to_vec(),
                    exemplars,
                    flags: 0,
                    min: None,
                    max: None,
                })
            }
            // A series that does not fit its family would make the receiver refuse the whole request.
            _ => return None,
        };
        let receipt = (self.deltas.is_some() && accumulates).then(|| Receipt {
            id: series.id,
            nanos: now_nanos,
            value: series.value.clone(),
        });
        Some((point, receipt))
    }

    fn aggregation(&self) -> i32 {
        let temporality = match self.deltas {
            None => AggregationTemporality::Cumulative,
            Some(_) => AggregationTemporality::Delta,
        };
        temporality as i32
    }

    fn close(&self, batch: OpenRequest) -> Batch {
        let scope = InstrumentationScope {
            name: SCOPE.to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            ..InstrumentationScope::default()
        };
        let scope_metrics = ScopeMetrics { scope: Some(scope), metrics: batch.metrics, schema_url: String::new() };
        let resource_metrics = ResourceMetrics {
            resource: Some(self.resource.clone()),
            scope_metrics: vec![scope_metrics],
            schema_url: String::new(),
        };
        Batch {
            request: ExportMetricsServiceRequest { resource_metrics: vec![resource_metrics] },
            points: batch.points,
            receipt: Acknowledgement(batch.receipts),
        }
    }
}

/// A request that is being filled.
struct OpenRequest {
    metrics: Vec<Metric>,
    points: usize,
    bytes: usize,
    receipts: Vec<Receipt>,
}

enum Point {
    Number(NumberDataPoint),
    Histogram(HistogramDataPoint),
}

impl Point {
    fn encoded_len(&self) -> usize {
        match self {
            Self::Number(point) => point.encoded_len(),
            Self::Histogram(point) => point.encoded_len(),
        }
    }
}

enum Points {
    Counter(Vec<NumberDataPoint>),
    Gauge(Vec<NumberDataPoint>),
    Distribution(Vec<HistogramDataPoint>),
}

impl Points {
    const fn of(kind: MetricKind) -> Self {
        match kind {
            MetricKind::Counter => Self::Counter(Vec::new()),
            MetricKind::Gauge => Self::Gauge(Vec::new()),
            MetricKind::Histogram | MetricKind::Timing => Self::Distribution(Vec::new()),
        }
    }

    fn push(&mut self, point: Point) {
        match (self, point) {
            (Self::Counter(points) | Self::Gauge(points), Point::Number(point)) => points.push(point),
            (Self::Distribution(points), Point::Histogram(point)) => points.push(point),
            // `Converter::point` makes the point that the kind asks for.
            _ => {}
        }
    }

    fn into_metric(self, family: &Family, aggregation_temporality: i32) -> Option<Metric> {
        let data = match self {
            Self::Counter(data_points) if !data_points.is_empty() => {
                metric::Data::Sum(Sum { data_points, aggregation_temporality, is_monotonic: true })
            }
            Self::Gauge(data_points) if !data_points.is_empty() => metric::Data::Gauge(Gauge { data_points }),
            Self::Distribution(data_points) if !data_points.is_empty() => {
                metric::Data::Histogram(Histogram { data_points, aggregation_temporality })
            }
            _ => return None,
        };
        Some(Metric {
            name: family.name.to_string(),
            description: family.help.to_string(),
            unit: unit(family).to_owned(),
            metadata: Vec::new(),
            data: Some(data),
        })
    }
}

/// The unit's code: the metrics API asks for UCUM, "Instrument unit".
fn unit(family: &Family) -> &str {
    match (family.kind, &*family.unit) {
        (MetricKind::Timing, _) | (_, "seconds") => "s",
        (_, "bytes") => "By",
        (_, other) => other,
    }
}

fn attributes(labels: &[Box<str>]) -> Vec<KeyValue> {
    let (pairs, _) = labels.as_chunks::<2>();
    pairs.iter().map(|[name, value]| attribute(name, value)).collect()
}

fn attribute(name: &str, value: &str) -> KeyValue {
    let value = AnyValue { value: Some(AnyValueKind::StringValue(value.to_owned())) };
    KeyValue { key: name.to_owned(), value: Some(value), ..KeyValue::default() }
}

fn proto_exemplar(exemplar: &Exemplar) -> ProtoExemplar {
    ProtoExemplar {
        filtered_attributes: Vec::new(),
        time_unix_nano: exemplar.nanos,
        span_id: exemplar.trace.span_id.to_vec(),
        trace_id: exemplar.trace.trace_id.to_vec(),
        value: Some(exemplar::Value::AsDouble(exemplar.value)),
    }
}
