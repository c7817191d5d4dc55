//! `sum`, `avg`, `count`, `min`, `max`, `group`, `stddev` and `stdvar`: each series is folded into its group as it comes,
//! and is gone.

use std::sync::Arc;

use super::grouping::{Grouping, Groups};
use crate::annotations::{Combination, Note};
use crate::ast::{AggregateOp, Span};
use crate::engine::column::{Bits, Column, Grid, Point, Series};
use crate::engine::context::{HISTOGRAM_WORK, Query, Reservation};
use crate::engine::functions::over_time::{HistogramMean, Mean};
use crate::engine::operator::{Op, Operator, Sink};
use crate::error::Error;
use crate::histogram::{Combined, CounterResetHint, FloatHistogram, HistogramSum, IncompatibleSchemas};
use crate::kahan::Sum;
use crate::labels::Labels;
use crate::value::Sample;

/// `sum by (job) (x)`
pub(in crate::engine) struct Fold {
    pub(in crate::engine) op: AggregateOp,
    pub(in crate::engine) input: Op,
    pub(in crate::engine) grouping: Grouping,
    /// Where what is aggregated stands.
    pub(in crate::engine) span: Span,
}

impl Operator for Fold {
    fn run(&self, query: &Query<'_>, grid: Grid, sink: &mut Sink<'_>) -> Result<(), Error> {
        let mut groups: Groups<Group> = Groups::default();
        self.input.run(query, grid, &mut |series| {
            let group = groups.of(self.grouping.of(&series.labels), || Group::new(self.op, query, grid.count))?;
            group.drop_name |= series.drop_name;
            self.take(query, group, &series)
        })?;
        for (labels, group) in groups.list {
            query.check()?;
            let drop_name = group.drop_name;
            let column = self.finish(query, grid, group)?;
            if !column.is_empty() {
                sink(Series { labels, drop_name, column })?;
            }
        }
        Ok(())
    }
}

/// What is known of a group.
struct Group {
    drop_name: bool,
    floats: Floats,
    /// Steps with a number.
    seen: Bits,
    steps: usize,
    /// Steps with a histogram; empty as long as there is none.
    histograms: Vec<Option<Box<Histograms>>>,
    held: Reservation,
}

/// What is known of the numbers at each step.
enum Floats {
    Sum(Vec<Sum>),
    Mean(Vec<Mean>),
    /// Of `count`, `min`, `max` and `group`.
    Number(Vec<f64>),
    Variance(Vec<Variance>),
}

#[derive(Clone, Copy, Debug, Default)]
struct Variance {
    count: f64,
    mean: f64,
    squares: f64,
}

/// What is known of the histograms at a step.
struct Histograms {
    sum: Summed,
    /// Exponential and custom buckets met: there is no result.
    incompatible: bool,
    reset_seen: bool,
    no_reset_seen: bool,
}

enum Summed {
    Sum(HistogramSum),
    Mean(HistogramMean),
}

impl Summed {
    fn add(&mut self, histogram: &FloatHistogram) -> Result<Combined, IncompatibleSchemas> {
        match self {
            Self::Sum(sum) => sum.add(histogram),
            Self::Mean(mean) => mean.add(histogram),
        }
    }
}

impl Group {
    fn new(op: AggregateOp, query: &Query<'_>, count: usize) -> Result<Self, Error> {
        let (floats, each) = match op {
            AggregateOp::Sum => (Floats::Sum(vec![Sum::default(); count]), size_of::<Sum>()),
            AggregateOp::Avg => (Floats::Mean(vec![Mean::new(0.0); count]), size_of::<Mean>()),
            AggregateOp::Stddev | AggregateOp::Stdvar => {
                (Floats::Variance(vec![Variance::default(); count]), size_of::<Variance>())
            }
            _ => (Floats::Number(vec![0.0; count]), size_of::<f64>()),
        };
        let held = query.hold(count.saturating_mul(each))?;
        Ok(Self { drop_name: false, floats, seen: Bits::new(count), steps: count, histograms: Vec::new(), held })
    }
}

impl Fold {
    fn take(&self, query: &Query<'_>, group: &mut Group, series: &Series) -> Result<(), Error> {
        let mut pace = query.pace();
        for (step, point) in series.column.iter() {
            pace.work(1)?;
            match (point, self.op) {
                (Point::Float(number), _) => {
                    let first = !group.seen.get(step);
                    group.seen.set(step);
                    self.take_float(&mut group.floats, step, number, first);
                }
                (Point::Histogram(_), AggregateOp::Count | AggregateOp::Group) => {
                    let first = !group.seen.get(step);
                    group.seen.set(step);
                    self.take_float(&mut group.floats, step, 0.0, first);
                }
                (Point::Histogram(histogram), AggregateOp::Sum | AggregateOp::Avg) => {
                    pace.work(HISTOGRAM_WORK)?;
                    self.take_histogram(query, group, step, histogram, &series.labels)?;
                }
                (Point::Histogram(_), _) => {
                    query.notes.add(Note::IgnoredInAggregation(self.op.text()), self.span);
                }
            }
        }
        Ok(())
    }

    fn take_float(&self, floats: &mut Floats, step: usize, number: f64, first: bool) {
        match floats {
            Floats::Sum(sums) if first => sums[step] = Sum { sum: number, lost: 0.0 },
            Floats::Sum(sums) => sums[step].add(number),
            Floats::Mean(means) if first => means[step] = Mean::new(number),
            Floats::Mean(means) => means[step].add(number),
            Floats::Number(numbers) => {
                let known = &mut numbers[step];
                match self.op {
                    AggregateOp::Count => *known += 1.0,
                    AggregateOp::Group => *known = 1.0,
                    AggregateOp::Max if first || *known < number || known.is_nan() => *known = number,
                    AggregateOp::Min if first || *known > number || known.is_nan() => *known = number,
                    _ => {}
                }
            }
            Floats::Variance(variances) => {
                let known = &mut variances[step];
                known.count += 1.0;
                if first {
                    known.mean = number;
                    known.squares = if number.is_finite() { 0.0 } else { f64::NAN };
                } else {
                    let delta = number - known.mean;
                    known.mean += delta / known.count;
                    known.squares += delta * (number - known.mean);
                }
            }
        }
    }

    fn take_histogram(
        &self,
        query: &Query<'_>,
        group: &mut Group,
        step: usize,
        histogram: &FloatHistogram,
        labels: &Labels,
    ) -> Result<(), Error> {
        if group.histograms.is_empty() {
            group.held.grow(group.steps * size_of::<Option<Box<Histograms>>>())?;
            group.histograms.resize_with(group.steps, || None);
        }
        let known = match &mut group.histograms[step] {
            Some(known) => {
                if known.incompatible {
                    return Ok(());
                }
                match known.sum.add(histogram) {
                    Ok(combined) => {
                        if combined.bounds_reconciled {
                            query.notes.add(Note::BoundsReconciled(Combination::Aggregation), self.span);
                        }
                    }
                    Err(IncompatibleSchemas) => {
                        let metric = labels.metric_name().to_owned();
                        query.notes.add(Note::MixedExponentialCustom(metric), self.span);
                        known.incompatible = true;
                    }
                }
                known
            }
            free => {
                // What is lost is kept beside the sum.
                group.held.grow(2 * histogram.size() + size_of::<Histograms>())?;
                let sum = match self.op {
                    AggregateOp::Avg => Summed::Mean(HistogramMean::new(histogram)),
                    _ => Summed::Sum(HistogramSum::new(histogram.clone())),
                };
                free.insert(Box::new(Histograms { sum, incompatible: false, reset_seen: false, no_reset_seen: false }))
            }
        };
        match histogram.counter_reset_hint {
            CounterResetHint::Reset => known.reset_seen = true,
            CounterResetHint::NotReset => known.no_reset_seen = true,
            CounterResetHint::Unknown | CounterResetHint::Gauge => {}
        }
        Ok(())
    }

    fn finish(&self, query: &Query<'_>, grid: Grid, group: Group) -> Result<Column, Error> {
        let mut column = Column::new(query, grid.count)?;
        let Group { mut seen, floats, histograms, .. } = group;
        for (step, histogram) in histograms.into_iter().enumerate() {
            let Some(histogram) = histogram else { continue };
            query.work(HISTOGRAM_WORK)?;
            if seen.get(step) {
                query.notes.add(Note::MixedFloatsHistogramsInAggregation, self.span);
                seen.clear(step);
                continue;
            }
            if histogram.incompatible {
                continue;
            }
            if histogram.reset_seen && histogram.no_reset_seen {
                query.notes.add(Note::CounterResetCollision(Combination::Aggregation), self.span);
            }
            let mut total = match histogram.sum {
                Summed::Sum(sum) => sum.total(),
                Summed::Mean(mean) => mean.mean(),
            };
            total.compact();
            column.set(step, Sample::Histogram(Arc::new(total)))?;
        }
        for step in seen.iter() {
            let number = match &floats {
                Floats::Sum(sums) => sums[step].total(),
                Floats::Mean(means) => means[step].mean(),
                Floats::Number(numbers) => numbers[step],
                Floats::Variance(variances) => {
                    let variance = variances[step].squares / variances[step].count;
                    if self.op == AggregateOp::Stddev { variance.sqrt() } else { variance }
                }
            };
            column.set_float(step, number);
        }
        Ok(column)
    }
}
