//! `timestamp(x)` of what is no selector: the time of the step.

use crate::engine::column::{Column, Grid, Series};
use crate::engine::context::Query;
use crate::engine::operator::{Op, Operator, Sink};
use crate::error::Error;

/// `timestamp(abs(x))`
pub(in crate::engine) struct TimeOf(pub(in crate::engine) Op);

impl Operator for TimeOf {
    fn run(&self, query: &Query<'_>, grid: Grid, sink: &mut Sink<'_>) -> Result<(), Error> {
        self.0.run(query, grid, &mut |series| {
            let mut column = Column::new(query, grid.count)?;
            series.column.iter().for_each(|(step, _)| column.set_float(step, grid.at(step) as f64 / 1e3));
            sink(Series { labels: series.labels, drop_name: true, column })
        })
    }
}

/// `start_timestamp(abs(x))`: what is no selector has no samples that began somewhere.
pub(in crate::engine) struct Nothing;

impl Operator for Nothing {
    fn run(&self, _: &Query<'_>, _: Grid, _: &mut Sink<'_>) -> Result<(), Error> {
        Ok(())
    }
}
