//! What the objects of a batch say, copied into one text with its places.

use gds_events::database::{VERSION, is_decimal, whole_milliseconds};
use gds_events::{MetricType, Number, Timestamp};
use pyo3::exceptions::PyException;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyDict, PyFloat, PyInt, PyIterator, PyMapping, PyString};

use crate::interop::once::interned;
use crate::interop::text::lossy;

/// Why an object is no measurement: what counters call it, and what people read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fault {
    pub(super) reason: &'static str,
    pub(super) error: &'static str,
}

const METRIC_NAME: Fault =
    Fault { reason: "invalid_metric_name", error: "metric_name: expected a str that is not empty" };
const INSTANCE_ID: Fault =
    Fault { reason: "invalid_instance_id", error: "instance_id: expected a str that is not empty" };
const DATABASE_TYPE: Fault =
    Fault { reason: "invalid_database_type", error: "database_type: expected a str that is not empty" };
const VALUE: Fault = Fault { reason: "invalid_value", error: "value: expected a float, an int or a Decimal" };
const TIMESTAMP: Fault =
    Fault { reason: "invalid_timestamp", error: "timestamp: expected a datetime with a time zone, or None" };
const START: Fault = Fault {
    reason: "invalid_start_timestamp",
    error: "start_timestamp: expected a datetime with a time zone, or None",
};
const TAGS: Fault = Fault { reason: "invalid_tags", error: "tags: expected a dict of str to str" };
const TYPE: Fault = Fault { reason: "invalid_metric_type", error: "metric_type: expected 'gauge' or 'counter'" };
const METADATA: Fault = Fault {
    reason: "invalid_metadata",
    error: "unit, version, correlation_id and collection_duration_ms: expected str and a number",
};

/// A piece of the text of a batch.
#[derive(Clone, Copy, Default)]
pub(super) struct Span {
    from: usize,
    to: usize,
}

#[derive(Clone, Copy)]
pub(super) enum Value {
    Float(f64),
    Integer(i64),
    Decimal(Span),
}

/// One measurement; where there is a fault, as much of it as was read.
#[derive(Clone, Copy)]
pub(super) struct CollectedMetric {
    pub(super) timestamp: Option<Timestamp>,
    pub(super) database_type: Span,
    pub(super) instance_id: Span,
    pub(super) metric_name: Span,
    pub(super) value: Value,
    /// Where its tags begin and end among those of the batch.
    pub(super) tags: (usize, usize),
    pub(super) collection_duration_ms: i32,
    pub(super) version: Span,
    pub(super) correlation_id: Option<Span>,
    pub(super) unit: Option<Span>,
    pub(super) metric_type: MetricType,
    pub(super) start_timestamp: Option<Timestamp>,
    pub(super) fault: Option<Fault>,
}

/// What went wrong with one object: it is at fault, or Ctrl-C came while its code ran.
enum ReadError {
    Fault(Fault),
    Raise(PyErr),
}

/// What an exception of the object's own code comes to.
fn fault_of(object: &Bound<'_, PyAny>, error: PyErr, fault: Fault) -> ReadError {
    if error.is_instance_of::<PyException>(object.py()) { ReadError::Fault(fault) } else { ReadError::Raise(error) }
}

#[derive(Default)]
pub(super) struct Batch {
    text: String,
    tags: Vec<(Span, Span)>,
    metrics: Vec<CollectedMetric>,
    unreadable: u64,
    timestamps: TimestampCache,
    starts: TimestampCache,
}

impl Batch {
    pub(super) fn clear(&mut self) {
        self.text.clear();
        self.tags.clear();
        self.metrics.clear();
        self.unreadable = 0;
    }

    pub(super) fn metrics(&self) -> &[CollectedMetric] {
        &self.metrics
    }

    /// 1 if the iterator failed.
    pub(super) fn unreadable(&self) -> u64 {
        self.unreadable
    }

    pub(super) fn text(&self, span: Span) -> &str {
        &self.text[span.from..span.to]
    }

    pub(super) fn tags(&self, metric: &CollectedMetric) -> impl Iterator<Item = (&str, &str)> {
        self.tags[metric.tags.0..metric.tags.1].iter().map(|(name, value)| (self.text(*name), self.text(*value)))
    }

    pub(super) fn value(&self, metric: &CollectedMetric) -> Number<'_> {
        match metric.value {
            Value::Float(number) => Number::Float(number),
            Value::Integer(number) => Number::Integer(number),
            Value::Decimal(digits) => Number::Decimal(self.text(digits)),
        }
    }

    /// Reads so many of what the iterator gives, and says whether that was all. An error is no `Exception`.
    pub(super) fn collect(&mut self, iterator: &mut Bound<'_, PyIterator>, most: usize) -> PyResult<bool> {
        while self.metrics.len() < most {
            match iterator.next() {
                None => return Ok(true),
                Some(Ok(metric)) => self.add(&metric)?,
                Some(Err(error)) if error.is_instance_of::<PyException>(iterator.py()) => {
                    self.unreadable = 1;
                    return Ok(true);
                }
                Some(Err(error)) => return Err(error),
            }
        }
        Ok(false)
    }

    fn add(&mut self, metric: &Bound<'_, PyAny>) -> PyResult<()> {
        let mut collected = CollectedMetric {
            timestamp: None,
            database_type: Span::default(),
            instance_id: Span::default(),
            metric_name: Span::default(),
            value: Value::Float(f64::NAN),
            tags: (self.tags.len(), self.tags.len()),
            collection_duration_ms: 0,
            version: Span::default(),
            correlation_id: None,
            unit: None,
            metric_type: MetricType::Gauge,
            start_timestamp: None,
            fault: None,
        };
        match self.read(metric, &mut collected) {
            Ok(()) => {}
            Err(ReadError::Fault(fault)) => collected.fault = Some(fault),
            Err(ReadError::Raise(error)) => return Err(error),
        }
        self.metrics.push(collected);
        Ok(())
    }

    fn read(&mut self, metric: &Bound<'_, PyAny>, into: &mut CollectedMetric) -> Result<(), ReadError> {
        let py = metric.py();
        into.metric_name = self.name(metric, interned!(py, "metric_name"), METRIC_NAME)?;
        into.instance_id = self.name(metric, interned!(py, "instance_id"), INSTANCE_ID)?;
        into.database_type = self.name(metric, interned!(py, "database_type"), DATABASE_TYPE)?;
        let value = field(metric, interned!(py, "value"), VALUE)?.ok_or(ReadError::Fault(VALUE))?;
        into.value = self.number(&value)?;
        if let Some(time) = field(metric, interned!(py, "timestamp"), TIMESTAMP)? {
            into.timestamp = Some(self.timestamps.read(&time, TIMESTAMP)?);
        }
        if let Some(time) = field(metric, interned!(py, "start_timestamp"), START)? {
            into.start_timestamp = Some(self.starts.read(&time, START)?);
        }
        if let Some(tags) = field(metric, interned!(py, "tags"), TAGS)? {
            self.read_tags(&tags)?;
            into.tags.1 = self.tags.len();
        }
        into.unit = self.optional(metric, interned!(py, "unit"))?;
        into.correlation_id = self.optional(metric, interned!(py, "correlation_id"))?;
        into.version = match self.optional(metric, interned!(py, "version"))? {
            Some(version) => version,
            None => self.put(VERSION),
        };
        if let Some(milliseconds) = field(metric, interned!(py, "collection_duration_ms"), METADATA)? {
            let milliseconds = milliseconds.extract::<f64>().map_err(|error| fault_of(metric, error, METADATA))?;
            into.collection_duration_ms = whole_milliseconds(milliseconds);
        }
        if let Some(kind) = field(metric, interned!(py, "metric_type"), TYPE)? {
            let kind = kind.cast::<PyString>().map_err(|_| ReadError::Fault(TYPE))?;
            into.metric_type = MetricType::from_text(&lossy(kind)).ok_or(ReadError::Fault(TYPE))?;
        }
        Ok(())
    }

    fn put(&mut self, text: &str) -> Span {
        let from = self.text.len();
        self.text.push_str(text);
        Span { from, to: self.text.len() }
    }

    /// Text that has to be there.
    fn name(&mut self, metric: &Bound<'_, PyAny>, name: &Bound<'_, PyString>, fault: Fault) -> Result<Span, ReadError> {
        let given = field(metric, name, fault)?.ok_or(ReadError::Fault(fault))?;
        let text = given.cast::<PyString>().map_err(|_| ReadError::Fault(fault))?;
        let span = self.put(&lossy(text));
        if span.from == span.to { Err(ReadError::Fault(fault)) } else { Ok(span) }
    }

    /// Text that may be there.
    fn optional(&mut self, metric: &Bound<'_, PyAny>, name: &Bound<'_, PyString>) -> Result<Option<Span>, ReadError> {
        let Some(given) = field(metric, name, METADATA)? else { return Ok(None) };
        let text = given.cast::<PyString>().map_err(|_| ReadError::Fault(METADATA))?;
        Ok(Some(self.put(&lossy(text))))
    }

    fn number(&mut self, value: &Bound<'_, PyAny>) -> Result<Value, ReadError> {
        if let Ok(number) = value.cast_exact::<PyFloat>() {
            return Ok(Value::Float(number.value()));
        }
        let whole = value.cast_exact::<PyInt>().is_ok();
        if whole && let Ok(number) = value.extract::<i64>() {
            return Ok(Value::Integer(number));
        }
        if value.is_instance_of::<PyString>() {
            return Err(ReadError::Fault(VALUE));
        }
        // A large int or a Decimal has more digits than a float; another number is one.
        let digits = if value.is_instance_of::<PyBool>() { None } else { value.str().ok() };
        if let Some(digits) = digits
            && let Ok(digits) = digits.to_str()
            && is_decimal(digits)
            && digits.parse().is_ok_and(f64::is_finite)
        {
            return Ok(Value::Decimal(self.put(digits)));
        }
        value.extract::<f64>().map(Value::Float).map_err(|error| fault_of(value, error, VALUE))
    }

    fn read_tags(&mut self, tags: &Bound<'_, PyAny>) -> Result<(), ReadError> {
        let before = (self.text.len(), self.tags.len());
        if let Ok(dict) = tags.cast_exact::<PyDict>() {
            // No Python code runs in here, which could change the dict.
            let plain = dict.iter().all(|(name, value)| {
                let (Ok(name), Ok(value)) = (name.cast_exact::<PyString>(), value.cast_exact::<PyString>()) else {
                    return false;
                };
                let pair = (self.put(&lossy(name)), self.put(&lossy(value)));
                self.tags.push(pair);
                true
            });
            if plain {
                return Ok(());
            }
            self.text.truncate(before.0);
            self.tags.truncate(before.1);
        }
        let pairs = tags.cast::<PyMapping>().map_err(|_| ReadError::Fault(TAGS))?.items();
        for pair in pairs.map_err(|error| fault_of(tags, error, TAGS))?.iter() {
            let (name, value) =
                pair.extract::<(Bound<'_, PyAny>, Bound<'_, PyAny>)>().map_err(|error| fault_of(tags, error, TAGS))?;
            let name = self.text_of(&name)?;
            let value = self.text_of(&value)?;
            // Names that differ may have the same text.
            let known = &self.tags[before.1..];
            match known.iter().position(|(known, _)| self.text(*known) == self.text(name)) {
                Some(place) => self.tags[before.1 + place].1 = value,
                None => self.tags.push((name, value)),
            }
        }
        Ok(())
    }

    /// What is no text as its text: None is the empty one.
    fn text_of(&mut self, object: &Bound<'_, PyAny>) -> Result<Span, ReadError> {
        if let Ok(text) = object.cast::<PyString>() {
            return Ok(self.put(&lossy(text)));
        }
        if let Ok(truth) = object.cast::<PyBool>() {
            return Ok(self.put(if truth.is_true() { "true" } else { "false" }));
        }
        if object.is_none() {
            return Ok(self.put(""));
        }
        let text = object.str().map_err(|error| fault_of(object, error, TAGS))?;
        Ok(self.put(&lossy(&text)))
    }
}

/// A field that is there and not None.
fn field<'py>(
    metric: &Bound<'py, PyAny>,
    name: &Bound<'py, PyString>,
    fault: Fault,
) -> Result<Option<Bound<'py, PyAny>>, ReadError> {
    let found = metric.getattr_opt(name).map_err(|error| fault_of(metric, error, fault))?;
    Ok(found.filter(|value| !value.is_none()))
}

/// The last time that was read, of which the metrics of a cycle mostly have the same object.
#[derive(Default)]
struct TimestampCache(Option<(Py<PyAny>, Timestamp)>);

impl TimestampCache {
    fn read(&mut self, object: &Bound<'_, PyAny>, fault: Fault) -> Result<Timestamp, ReadError> {
        if let Some((last, time)) = &self.0
            && last.is(object)
        {
            return Ok(*time);
        }
        let py = object.py();
        let wrong = |error| fault_of(object, error, fault);
        let time = if object.is_instance_of::<PyFloat>() || object.is_instance_of::<PyInt>() {
            Timestamp::from_number(object.extract().map_err(wrong)?)
        } else {
            // Without a time zone nobody knows which moment it is.
            if object.getattr(interned!(py, "tzinfo")).map_err(wrong)?.is_none() {
                return Err(ReadError::Fault(fault));
            }
            let seconds = object.call_method0(interned!(py, "timestamp")).map_err(wrong)?;
            let seconds = seconds.extract::<f64>().map_err(wrong)?;
            // Not `from_number`, to which what is far away would be milliseconds. A datetime ends with the year 9999.
            #[allow(clippy::cast_possible_truncation)]
            seconds.is_finite().then(|| Timestamp::from_micros((seconds * 1e6).round() as i64))
        };
        let time = time.ok_or(ReadError::Fault(fault))?;
        self.0 = Some((object.clone().unbind(), time));
        Ok(time)
    }
}
