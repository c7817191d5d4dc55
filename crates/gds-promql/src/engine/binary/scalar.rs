//! Operators of which one side is a scalar, or both are.

use super::element::{changes_metric, numbers, values};
use crate::ast::{BinaryOp, Span};
use crate::engine::column::{Column, Grid, Point, Series};
use crate::engine::context::Query;
use crate::engine::operator::{Op, Operator, Sink, scalar, scalar_series};
use crate::error::Error;
use crate::value::Sample;

/// `1 + 2`
pub(in crate::engine) struct OfScalars {
    pub(in crate::engine) op: BinaryOp,
    pub(in crate::engine) left: Op,
    pub(in crate::engine) right: Op,
}

impl Operator for OfScalars {
    fn run(&self, query: &Query<'_>, grid: Grid, sink: &mut Sink<'_>) -> Result<(), Error> {
        let (left, right) = (scalar(&*self.left, query, grid)?, scalar(&*self.right, query, grid)?);
        let mut column = Column::new(query, grid.count)?;
        for (step, (left, right)) in left.into_iter().zip(right).enumerate() {
            column.set_float(step, numbers(self.op, left, right));
        }
        sink(scalar_series(column))
    }
}

/// `x + 1` and `1 + x`
pub(in crate::engine) struct OfVectorAndScalar {
    pub(in crate::engine) op: BinaryOp,
    pub(in crate::engine) vector: Op,
    pub(in crate::engine) scalar: Op,
    /// Whether the scalar stands on the left.
    pub(in crate::engine) scalar_first: bool,
    pub(in crate::engine) return_bool: bool,
    pub(in crate::engine) span: Span,
}

impl Operator for OfVectorAndScalar {
    fn run(&self, query: &Query<'_>, grid: Grid, sink: &mut Sink<'_>) -> Result<(), Error> {
        let numbers = scalar(&*self.scalar, query, grid)?;
        let drops_name = changes_metric(self.op) || self.return_bool;
        self.vector.run(query, grid, &mut |series| {
            let mut column = Column::new(query, grid.count)?;
            let mut pace = query.pace();
            for (step, point) in series.column.iter() {
                pace.work(1)?;
                if let Some(sample) = self.at(query, point, numbers[step]) {
                    column.set(step, sample)?;
                }
            }
            if column.is_empty() {
                return Ok(());
            }
            sink(Series { labels: series.labels, drop_name: series.drop_name || drops_name, column })
        })
    }
}

impl OfVectorAndScalar {
    fn at(&self, query: &Query<'_>, point: Point<'_>, number: f64) -> Option<Sample> {
        let place = (&query.notes, self.span);
        let outcome = if self.scalar_first {
            values(self.op, Point::Float(number), point, place)?
        } else {
            values(self.op, point, Point::Float(number), place)?
        };
        if self.return_bool {
            return Some(Sample::Float(f64::from(u8::from(outcome.passes))));
        }
        if !outcome.passes {
            return None;
        }
        // A comparison gives the value of the series, whichever side it stands on.
        Some(if self.op.is_comparison() { point.to_sample() } else { outcome.sample })
    }
}
