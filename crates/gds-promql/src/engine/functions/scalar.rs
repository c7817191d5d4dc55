//! Scalars, and what becomes one or is made of one: `time`, `scalar`, `absent`.

use super::elementwise::{greatest, least};
use super::range_call::absent;
use crate::engine::column::{Bits, Column, Grid, Point};
use crate::engine::context::Query;
use crate::engine::operator::{Op, Operator, Sink, scalar, scalar_series};
use crate::error::Error;
use crate::labels::Labels;

/// `time()`: the time of the step in seconds.
pub(in crate::engine) struct Time;

impl Operator for Time {
    fn run(&self, query: &Query<'_>, grid: Grid, sink: &mut Sink<'_>) -> Result<(), Error> {
        let mut column = Column::new(query, grid.count)?;
        for (step, time) in grid.times().enumerate() {
            column.set_float(step, time as f64 / 1e3);
        }
        sink(scalar_series(column))
    }
}

/// The time of the step in whole seconds, of which `hour()` and its likes are.
pub(in crate::engine) struct WholeTime;

impl Operator for WholeTime {
    fn run(&self, query: &Query<'_>, grid: Grid, sink: &mut Sink<'_>) -> Result<(), Error> {
        let mut column = Column::new(query, grid.count)?;
        for (step, time) in grid.times().enumerate() {
            column.set_float(step, (time / 1000) as f64);
        }
        sink(scalar_series(column))
    }
}

/// `scalar(x)`: the number of the only series that has one.
pub(in crate::engine) struct Scalar(pub(in crate::engine) Op);

impl Operator for Scalar {
    fn run(&self, query: &Query<'_>, grid: Grid, sink: &mut Sink<'_>) -> Result<(), Error> {
        let mut column = Column::constant(query, grid.count, f64::NAN)?;
        let mut seen = Bits::new(grid.count);
        self.0.run(query, grid, &mut |series| {
            for (step, point) in series.column.iter() {
                if let Point::Float(number) = point {
                    column.set_float(step, if seen.get(step) { f64::NAN } else { number });
                    seen.set(step);
                }
            }
            Ok(())
        })?;
        sink(scalar_series(column))
    }
}

/// `max_of(a, b)` and `min_of(a, b)`.
pub(in crate::engine) struct OfTwo {
    pub(in crate::engine) greatest: bool,
    pub(in crate::engine) both: [Op; 2],
}

impl Operator for OfTwo {
    fn run(&self, query: &Query<'_>, grid: Grid, sink: &mut Sink<'_>) -> Result<(), Error> {
        let [left, right] = &self.both;
        let (left, right) = (scalar(&**left, query, grid)?, scalar(&**right, query, grid)?);
        let mut column = Column::new(query, grid.count)?;
        for (step, (left, right)) in left.into_iter().zip(right).enumerate() {
            column.set_float(step, if self.greatest { greatest(left, right) } else { least(left, right) });
        }
        sink(scalar_series(column))
    }
}

/// `absent(x)`: one where no series has a value.
pub(in crate::engine) struct Absent {
    pub(in crate::engine) input: Op,
    pub(in crate::engine) labels: Labels,
}

impl Operator for Absent {
    fn run(&self, query: &Query<'_>, grid: Grid, sink: &mut Sink<'_>) -> Result<(), Error> {
        let mut there = Bits::new(grid.count);
        self.input.run(query, grid, &mut |series| {
            series.column.iter().for_each(|(step, _)| there.set(step));
            Ok(())
        })?;
        absent(query, grid, &there, &self.labels, &mut |mut series| {
            series.drop_name = false;
            sink(series)
        })
    }
}
