//! Whether an answer is the one that was expected.

use std::collections::BTreeSet;

use super::script::{Eval, Expected, Pattern};
use super::series::SeriesValue;
use crate::annotations::Annotations;
use crate::error::Error;
use crate::histogram::{Buckets, FloatHistogram};
use crate::labels::Labels;
use crate::value::{Point, Sample, Series, Value, VectorSample, is_stale};

/// How far apart numbers may be, of their sum.
const TOLERANCE: f64 = 0.000_001;

/// Whether a query failed as it had to.
pub(super) fn failure(expected: &Expected, error: &Error) -> Result<(), String> {
    let text = error.to_string();
    match &expected.fail {
        None => Err(format!("failed: {text}")),
        Some(pattern) if pattern.matches(&text) => Ok(()),
        Some(pattern) => Err(format!("expected the error {pattern}, got: {text}")),
    }
}

/// Whether the warnings and infos are the expected ones.
pub(super) fn annotations(expected: &Expected, found: &Annotations) -> Result<(), String> {
    let check = |kind: &str, patterns: Option<&[Pattern]>, texts: &[String]| {
        let Some(patterns) = patterns else { return Ok(()) };
        if patterns.is_empty() && !texts.is_empty() {
            return Err(format!("expected no {kind}, got {texts:?}"));
        }
        if let Some(missing) = patterns.iter().find(|pattern| !texts.iter().any(|text| pattern.matches(text))) {
            return Err(format!("expected the {kind} {missing}, got {texts:?}"));
        }
        match texts.iter().find(|text| !patterns.iter().any(|pattern| pattern.matches(text))) {
            Some(text) => Err(format!("unexpected {kind} {text:?}")),
            None => Ok(()),
        }
    };
    check("warning", expected.warn.as_deref(), &found.warnings().collect::<Vec<_>>())?;
    check("info", expected.info.as_deref(), &found.infos().collect::<Vec<_>>())
}

/// Whether the value is the expected one.
pub(super) fn value(eval: &Eval, found: &Value) -> Result<(), String> {
    let expected = &eval.expected;
    match found {
        Value::Scalar { v, .. } => match expected.scalar {
            Some(wanted) if almost_equal(wanted, *v) => Ok(()),
            Some(wanted) => Err(format!("expected scalar {wanted}, got {v}")),
            None => Err(format!("expected no scalar, got {v}")),
        },
        Value::String { v, .. } => {
            let wanted = expected.text.as_deref().unwrap_or_default();
            if wanted == v { Ok(()) } else { Err(format!("expected string {wanted:?}, got {v:?}")) }
        }
        Value::Vector(samples) => vector(expected, samples),
        Value::Matrix(series) => matrix(eval, series),
    }
}

fn vector(expected: &Expected, samples: &[VectorSample]) -> Result<(), String> {
    if let Some(wanted) = expected.scalar {
        return Err(format!("expected scalar {wanted}, got a vector of {}", samples.len()));
    }
    for (index, sample) in samples.iter().enumerate() {
        let labels = &sample.labels;
        let Some((position, values)) = expected.series.get(labels) else {
            return Err(format!("unexpected {labels} {}", shown(&sample.value)));
        };
        if expected.ordered && *position != index + 1 {
            return Err(format!("expected {labels} at position {position}, got it at {}", index + 1));
        }
        let wanted = values.first().ok_or_else(|| format!("no value is expected of {labels}"))?;
        same_value(wanted, &sample.value).map_err(|error| format!("{labels}: {error}"))?;
    }
    all_found(expected, samples.iter().map(|sample| &sample.labels))
}

fn matrix(eval: &Eval, series: &[Series]) -> Result<(), String> {
    let expected = &eval.expected;
    if expected.ordered {
        return Err("expected an order, got a range vector".to_owned());
    }
    if let Some(wanted) = expected.scalar {
        return Err(format!("expected scalar {wanted}, got a range vector of {}", series.len()));
    }
    sorted(series)?;
    for one in series {
        let labels = &one.labels;
        let Some((_, values)) = expected.series.get(labels) else {
            return Err(format!("unexpected {labels} {}", points(&one.points)));
        };
        let wanted: Vec<(i64, &SeriesValue)> = (0..)
            .map(|index: i64| eval.start + index * eval.step)
            .zip(values)
            .filter(|(_, value)| !matches!(value, SeriesValue::Omitted))
            .collect();
        if wanted.last().is_some_and(|(time, _)| *time > eval.end) {
            return Err(format!("more values are expected of {labels} than there are steps"));
        }
        if wanted.len() != one.points.len() {
            return Err(format!("{labels}: expected {} points, got {}", wanted.len(), points(&one.points)));
        }
        for ((time, wanted), point) in wanted.into_iter().zip(&one.points) {
            if time != point.t {
                return Err(format!("{labels}: expected a point at {time} ms, got {}", points(&one.points)));
            }
            same_value(wanted, &point.value).map_err(|error| format!("{labels} at {time} ms: {error}"))?;
        }
    }
    all_found(expected, series.iter().map(|series| &series.labels))
}

/// Range vectors are in the order of their labels.
pub(super) fn sorted(series: &[Series]) -> Result<(), String> {
    match series.windows(2).find(|pair| pair[0].labels > pair[1].labels) {
        Some(pair) => Err(format!("{} is before {}", pair[0].labels, pair[1].labels)),
        None => Ok(()),
    }
}

fn all_found<'a>(expected: &Expected, found: impl Iterator<Item = &'a Labels>) -> Result<(), String> {
    let found: BTreeSet<&Labels> = found.collect();
    let missing = expected.series.keys().find(|labels| !found.contains(labels));
    missing.map_or(Ok(()), |labels| Err(format!("expected {labels}, which is not there")))
}

fn same_value(wanted: &SeriesValue, found: &Sample) -> Result<(), String> {
    let same = match (wanted, found) {
        (SeriesValue::Float(wanted), Sample::Float(found)) => almost_equal(*wanted, *found),
        (SeriesValue::Omitted, Sample::Float(found)) => *found == 0.0,
        (SeriesValue::Histogram { histogram, hinted }, Sample::Histogram(found)) => {
            same_histogram(histogram, found, *hinted)
        }
        _ => false,
    };
    if same {
        return Ok(());
    }
    let wanted = match wanted {
        SeriesValue::Omitted => "nothing".to_owned(),
        SeriesValue::Float(number) => number.to_string(),
        SeriesValue::Histogram { histogram, .. } => described(histogram),
    };
    Err(format!("expected {wanted}, got {}", shown(found)))
}

/// Whether numbers are so close that they differ by rounding only. A stale marker is equal to another one only.
#[expect(clippy::float_cmp, reason = "infinities are equal, and so are zeros")]
fn almost_equal(one: f64, other: f64) -> bool {
    if is_stale(one) || is_stale(other) {
        return is_stale(one) && is_stale(other);
    }
    if one.is_nan() && other.is_nan() || one == other {
        return true;
    }
    let (sum, difference) = (one.abs() + other.abs(), (one - other).abs());
    if one == 0.0 || other == 0.0 || sum < f64::MIN_POSITIVE {
        return difference < TOLERANCE * f64::MIN_POSITIVE;
    }
    difference / sum.min(f64::MAX) < TOLERANCE
}

fn same_histogram(wanted: &FloatHistogram, found: &FloatHistogram, hinted: bool) -> bool {
    let (mut wanted, mut found) = (wanted.clone(), found.clone());
    wanted.compact();
    found.compact();
    let buckets = |wanted: &Buckets, found: &Buckets| {
        wanted.index == found.index
            && wanted.count.iter().zip(&found.count).all(|(wanted, found)| almost_equal(*wanted, *found))
    };
    wanted.schema == found.schema
        && almost_equal(wanted.count, found.count)
        && almost_equal(wanted.sum, found.sum)
        && (!wanted.uses_custom_buckets() || wanted.custom_values == found.custom_values)
        && wanted.zero_threshold.to_bits() == found.zero_threshold.to_bits()
        && almost_equal(wanted.zero_count, found.zero_count)
        && buckets(&wanted.negative, &found.negative)
        && buckets(&wanted.positive, &found.positive)
        && (!hinted || wanted.counter_reset_hint == found.counter_reset_hint)
}

// ------------------------------------------------------------------ for messages
fn shown(value: &Sample) -> String {
    match value {
        Sample::Float(number) => number.to_string(),
        Sample::Histogram(histogram) => described(histogram),
    }
}

fn points(points: &[Point]) -> String {
    let texts: Vec<String> = points.iter().map(|point| format!("{} @[{}]", shown(&point.value), point.t)).collect();
    format!("{} points: {}", points.len(), texts.join(", "))
}

/// A histogram as scripts write it.
fn described(histogram: &FloatHistogram) -> String {
    let mut parts = vec![format!("schema:{}", histogram.schema)];
    let mut add = |name: &str, number: f64| {
        if number != 0.0 {
            parts.push(format!("{name}:{number}"));
        }
    };
    add("count", histogram.count);
    add("sum", histogram.sum);
    add("z_bucket", histogram.zero_count);
    add("z_bucket_w", histogram.zero_threshold);
    if !histogram.custom_values.is_empty() {
        parts.push(format!("custom_values:{:?}", histogram.custom_values));
    }
    for (name, buckets) in [("buckets", &histogram.positive), ("n_buckets", &histogram.negative)] {
        if !buckets.is_empty() {
            let texts: Vec<String> = buckets.iter().map(|(index, count)| format!("{index}={count}")).collect();
            parts.push(format!("{name}:[{}]", texts.join(" ")));
        }
    }
    parts.push(format!("counter_reset_hint:{:?}", histogram.counter_reset_hint));
    format!("{{{{{}}}}}", parts.join(" "))
}
