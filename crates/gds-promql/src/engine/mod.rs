//! Evaluates queries: a plan first, then each series once over all steps.
//!
//! A query becomes operators, each of which gives its series one after the other to the one above it. Aggregations fold
//! them as they come; what has to see all series of a side at once, such as the matching of two vectors, keeps them. The
//! inner expression of a subquery is evaluated once at all its steps, and windows slide over that.
//!
//! Where Prometheus has feature flags for experimental parts, this is what it does with all of them on; the name of a
//! metric goes at the very end (delayed name removal). Annotations are said once for each message.

#![allow(clippy::float_cmp, reason = "PromQL compares numbers as they are")]
#![allow(clippy::single_match_else, reason = "the two cases of a look-up stand side by side")]

mod aggregate;
mod binary;
mod column;
mod context;
mod functions;
mod info;
mod interpolate;
mod operator;
mod plan;
mod quantile;
mod selector;
#[cfg(test)]
mod tests;
mod window;

use column::{Column, Grid, Point, Series};
use context::Query;
use functions::extended_rate;
use operator::{Merger, Op};
use plan::{Planner, Times};
use window::{Cursor, Input, Range};

use crate::annotations::Annotations;
use crate::ast::{Expr, ExprKind, Extension, ValueType};
use crate::error::Error;
use crate::parser;
use crate::source::{Samples, Source};
use crate::value::{self, Sample, Value, VectorSample};

pub use context::{Cancel, EngineOptions};

/// The answer of a query, and what there is to say about it.
#[derive(Clone, Debug)]
pub struct QueryResult {
    /// The answer.
    pub value: Value,
    /// Warnings and infos.
    pub annotations: Annotations,
}

/// When a query is evaluated, in milliseconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// Once.
    Instant(i64),
    /// From `start` until not after `end`, each `step` milliseconds.
    Range {
        /// The first step.
        start: i64,
        /// The end, which need not be a step.
        end: i64,
        /// The distance of the steps, positive.
        step: i64,
    },
}

/// Evaluates queries.
#[derive(Clone, Debug, Default)]
pub struct Engine {
    options: EngineOptions,
}

impl Engine {
    /// With these options.
    pub fn new(options: EngineOptions) -> Self {
        Self { options }
    }

    /// What it was made with.
    pub fn options(&self) -> &EngineOptions {
        &self.options
    }

    /// The answer of a query at one time.
    pub fn instant(&self, query: &str, source: &dyn Source, time: i64) -> Result<QueryResult, Error> {
        self.evaluate(&parser::parse(query)?, source, When::Instant(time), &Cancel::new())
    }

    /// The answer of a query at each step from `start` until not after `end`.
    pub fn range(
        &self,
        query: &str,
        source: &dyn Source,
        start: i64,
        end: i64,
        step: i64,
    ) -> Result<QueryResult, Error> {
        self.evaluate(&parser::parse(query)?, source, When::Range { start, end, step }, &Cancel::new())
    }

    /// The answer of a query that has been read. It ends early when `cancel` is called for, and its memory is free then.
    pub fn evaluate(
        &self,
        expr: &Expr,
        source: &dyn Source,
        when: When,
        cancel: &Cancel,
    ) -> Result<QueryResult, Error> {
        let (times, grid) = match when {
            When::Instant(time) => (Times { start: time, end: time, step: 0 }, Grid::instant(time)),
            When::Range { step, .. } if step <= 0 => {
                return Err(Error::Execution(format!("step must be a positive number of milliseconds, got {step}")));
            }
            When::Range { start, end, step } => (Times { start, end, step }, Grid::new(start, end, step)),
        };
        let is_range = matches!(when, When::Range { .. });
        if is_range && !matches!(expr.value_type(), ValueType::Scalar | ValueType::Vector) {
            return Err(Error::Execution(format!(
                "invalid expression type \"{}\" for range query, must be Scalar or instant Vector",
                expr.value_type().documented()
            )));
        }
        let query = Query::new(source, &self.options, cancel);
        query.check()?;
        query.admit(grid.count)?;
        let value = self.value(expr, &query, times, grid, is_range)?;
        Ok(QueryResult { value, annotations: query.notes.into_inner() })
    }

    fn value(&self, expr: &Expr, query: &Query<'_>, times: Times, grid: Grid, is_range: bool) -> Result<Value, Error> {
        let inner = expr.unparenthesized();
        if let ExprKind::String(literal) = &inner.kind {
            return Ok(Value::String { t: times.start, v: literal.value.clone() });
        }
        let mut planner = Planner::new(&self.options, times, inner);
        if inner.value_type() == ValueType::Matrix {
            let range = planner.range(inner, "")?;
            return range_vector(query, &range, grid);
        }
        let op = planner.build(inner, "")?;
        let series = named(&op, query, grid)?;
        if is_range {
            return matrix(query, series, grid);
        }
        let at_step = |column: &Column| column.get(0).map(Point::to_sample);
        if inner.value_type() == ValueType::Scalar {
            let number = match series.first().and_then(|series| series.column.get(0)) {
                Some(Point::Float(number)) => number,
                _ => f64::NAN,
            };
            return Ok(Value::Scalar { t: grid.start, v: number });
        }
        let samples = series.into_iter().filter_map(|series| {
            Some(VectorSample { labels: series.labels, t: grid.start, value: at_step(&series.column)? })
        });
        Ok(Value::Vector(samples.collect()))
    }
}

/// All series, without the names that go at the end.
fn named(op: &Op, query: &Query<'_>, grid: Grid) -> Result<Vec<Series>, Error> {
    let mut merger = Merger::default();
    if grid.count > 0 {
        op.run(query, grid, &mut |series| merger.add(without_name(series)))?;
    }
    Ok(merger.into_series())
}

fn without_name(series: Series) -> Series {
    let labels = if series.drop_name { series.labels.without_metric() } else { series.labels };
    Series { labels, ..series }
}

/// The answer of a range query.
fn matrix(query: &Query<'_>, series: Vec<Series>, grid: Grid) -> Result<Value, Error> {
    let mut list = Vec::with_capacity(series.len());
    let mut pace = query.pace();
    for series in series {
        let mut points = Vec::new();
        for (step, point) in series.column.iter() {
            pace.work(1)?;
            points.push(value::Point { t: grid.at(step), value: point.to_sample() });
        }
        if !points.is_empty() {
            list.push(value::Series { points, labels: series.labels });
        }
    }
    list.sort_by(|a, b| a.labels.cmp(&b.labels));
    Ok(Value::Matrix(list))
}

/// The answer of an instant query that is a range vector: the samples of the window, as they are.
fn range_vector(query: &Query<'_>, range: &Range, grid: Grid) -> Result<Value, Error> {
    if let Input::Subquery(subquery) = &range.input {
        let inner = subquery.grid(grid, range.length);
        query.admit(inner.count)?;
        return matrix(query, named(&subquery.op, query, inner)?, inner);
    }
    let mut list = Vec::new();
    range.each(query, grid, &mut |labels, _, samples| {
        let points = points(query, range, grid.start, samples)?;
        if !points.is_empty() {
            list.push(value::Series { labels, points });
        }
        Ok(())
    })?;
    list.sort_by(|a: &value::Series, b| a.labels.cmp(&b.labels));
    Ok(Value::Matrix(list))
}

/// The samples in the window of a time; of an extended window, with those at its ends.
fn points(query: &Query<'_>, range: &Range, time: i64, samples: &Samples) -> Result<Vec<value::Point>, Error> {
    let end = range.end(time);
    let start = end.saturating_sub(range.length);
    let (before, after) = range.margins(query.options.lookback);
    let (_, floats, histograms) =
        Cursor::default().move_to(samples, start.saturating_sub(before), end.saturating_add(after));
    if let Some(extension) = range.extension() {
        if !histograms.is_empty() {
            let modifier = if extension == Extension::Anchored { "anchored" } else { "smoothed" };
            return Err(Error::Execution(format!("{modifier} modifier is not supported with histograms")));
        }
        let points = extended_rate::extended(&floats, extension, (start, end)).into_iter();
        return Ok(points.map(|(t, number)| value::Point { t, value: Sample::Float(number) }).collect());
    }
    let floats = floats.times.iter().zip(floats.values).map(|(t, number)| (*t, Sample::Float(*number)));
    let histograms =
        histograms.times.iter().zip(histograms.values).map(|(t, histogram)| (*t, Sample::Histogram(histogram.clone())));
    let mut points: Vec<_> = floats.chain(histograms).map(|(t, value)| value::Point { t, value }).collect();
    points.sort_by_key(|point| point.t);
    Ok(points)
}
