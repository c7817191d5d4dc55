//! Answers as columns that other libraries read without copying them: a row for each sample, a column for each label.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow_array::builder::{
    ArrayBuilder, Float64Builder, ListBuilder, StringDictionaryBuilder, StructBuilder, TimestampMillisecondBuilder,
};
use arrow_array::ffi_stream::FFI_ArrowArrayStream;
use arrow_array::types::Int32Type;
use arrow_array::{ArrayRef, RecordBatch, RecordBatchIterator, StringArray};
use arrow_schema::{ArrowError, DataType, Field, Fields, Schema};
use gds_promql::histogram::FloatHistogram;
use gds_promql::labels::Labels;
use gds_promql::value::{Sample, Value};

const TIME: &str = "timestamp";
const VALUE: &str = "value";
const HISTOGRAM: &str = "histogram";

/// A series and its samples, as all kinds of answers have them.
struct Rows<'a> {
    labels: &'a Labels,
    samples: Vec<(i64, &'a Sample)>,
}

/// The answer as a stream of one batch.
pub(super) fn stream(value: &Value) -> Result<FFI_ArrowArrayStream, ArrowError> {
    let batch = match value {
        Value::String { t, v } => {
            let columns = vec![
                (TIME.to_owned(), times([*t])),
                (VALUE.to_owned(), Arc::new(StringArray::from(vec![v.as_str()])) as _),
            ];
            table(columns)?
        }
        Value::Scalar { t, v } => batch(&[Rows { labels: &Labels::empty(), samples: vec![(*t, &Sample::Float(*v))] }])?,
        Value::Vector(samples) => {
            let rows = samples.iter().map(|one| Rows { labels: &one.labels, samples: vec![(one.t, &one.value)] });
            batch(&rows.collect::<Vec<_>>())?
        }
        Value::Matrix(series) => {
            let rows = series.iter().map(|one| {
                let samples = one.points.iter().map(|point| (point.t, &point.value)).collect();
                Rows { labels: &one.labels, samples }
            });
            batch(&rows.collect::<Vec<_>>())?
        }
    };
    let schema = batch.schema();
    Ok(FFI_ArrowArrayStream::new(Box::new(RecordBatchIterator::new([Ok(batch)], schema))))
}

fn table(columns: Vec<(String, ArrayRef)>) -> Result<RecordBatch, ArrowError> {
    let field = |(name, column): &(String, ArrayRef)| Field::new(name, column.data_type().clone(), true);
    let schema = Schema::new(columns.iter().map(field).collect::<Vec<_>>());
    RecordBatch::try_new(Arc::new(schema), columns.into_iter().map(|(_, column)| column).collect())
}

fn times(times: impl IntoIterator<Item = i64>) -> ArrayRef {
    let mut made = TimestampMillisecondBuilder::new().with_timezone("UTC");
    times.into_iter().for_each(|time| made.append_value(time));
    Arc::new(made.finish())
}

fn batch(rows: &[Rows<'_>]) -> Result<RecordBatch, ArrowError> {
    let samples = || rows.iter().flat_map(|one| &one.samples);
    let names: BTreeSet<&str> = rows.iter().flat_map(|one| one.labels.iter()).map(|(name, _)| name).collect();
    let mut columns = vec![(TIME.to_owned(), times(samples().map(|(time, _)| *time)))];
    for name in &names {
        columns.push((column_name(name, &names), label(rows, name)?));
    }
    let mut values = Float64Builder::new();
    let mut histograms = None;
    for (at, (_, sample)) in samples().enumerate() {
        match sample {
            Sample::Float(number) => values.append_value(*number),
            Sample::Histogram(histogram) => {
                values.append_null();
                let made = histograms.get_or_insert_with(Histograms::new);
                made.skip_to(at);
                made.append(histogram);
            }
        }
    }
    columns.push((VALUE.to_owned(), Arc::new(values.finish())));
    if let Some(mut made) = histograms {
        made.skip_to(samples().count());
        columns.push((HISTOGRAM.to_owned(), Arc::new(made.all.finish())));
    }
    table(columns)
}

/// The name of a label, or another one where a column of ours has it.
fn column_name(label: &str, labels: &BTreeSet<&str>) -> String {
    let mut name = label.to_owned();
    while matches!(&*name, TIME | VALUE | HISTOGRAM) || (name != label && labels.contains(&*name)) {
        name.insert_str(0, "exported_");
    }
    name
}

/// The values of a label, each text once; null where a series has none.
fn label(rows: &[Rows<'_>], name: &str) -> Result<ArrayRef, ArrowError> {
    let mut made = StringDictionaryBuilder::<Int32Type>::new();
    for one in rows {
        match one.labels.get(name) {
            "" => made.append_nulls(one.samples.len()),
            value => made.append_n(value, one.samples.len()).map(drop)?,
        }
    }
    Ok(Arc::new(made.finish()))
}

/// A column of histograms: count, sum, and buckets by their bounds.
struct Histograms {
    all: StructBuilder,
}

impl Histograms {
    fn new() -> Self {
        let number = |name: &str| Field::new(name, DataType::Float64, true);
        let bucket = Fields::from(vec![number("lower"), number("upper"), number("count")]);
        let item = Field::new_list_field(DataType::Struct(bucket.clone()), true);
        let fields = vec![number("count"), number("sum"), Field::new_list("buckets", item, true)];
        let buckets = ListBuilder::new(StructBuilder::from_fields(bucket, 0));
        let builders: Vec<Box<dyn ArrayBuilder>> =
            vec![Box::new(Float64Builder::new()), Box::new(Float64Builder::new()), Box::new(buckets)];
        Self { all: StructBuilder::new(fields, builders) }
    }

    /// Numbers have none.
    fn skip_to(&mut self, rows: usize) {
        while self.all.len() < rows {
            self.number(0, None);
            self.number(1, None);
            self.buckets().append(false);
            self.all.append(false);
        }
    }

    fn append(&mut self, histogram: &FloatHistogram) {
        self.number(0, Some(histogram.count));
        self.number(1, Some(histogram.sum));
        let list = self.buckets();
        for bucket in histogram.buckets().filter(|bucket| bucket.count != 0.0) {
            let one = list.values();
            for (at, number) in [bucket.lower, bucket.upper, bucket.count].into_iter().enumerate() {
                one.field_builder::<Float64Builder>(at).expect("made so").append_value(number);
            }
            one.append(true);
        }
        list.append(true);
        self.all.append(true);
    }

    fn number(&mut self, field: usize, number: Option<f64>) {
        self.all.field_builder::<Float64Builder>(field).expect("made so").append_option(number);
    }

    fn buckets(&mut self) -> &mut ListBuilder<StructBuilder> {
        self.all.field_builder(2).expect("made so")
    }
}
