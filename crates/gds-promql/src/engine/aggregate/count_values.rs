//! `count_values("version", x)`: how many series have each value.

use std::collections::HashMap;

use super::grouping::Grouping;
use crate::engine::column::{Column, Grid, Point, Series};
use crate::engine::context::Query;
use crate::engine::operator::{Merger, Op, Operator, Sink};
use crate::error::Error;
use crate::labels::Labels;

/// `count_values by (job) ("version", x)`
pub(in crate::engine) struct CountValues {
    pub(in crate::engine) label: String,
    pub(in crate::engine) input: Op,
    pub(in crate::engine) grouping: Grouping,
}

impl Operator for CountValues {
    fn run(&self, query: &Query<'_>, grid: Grid, sink: &mut Sink<'_>) -> Result<(), Error> {
        let mut counted = Merger::default();
        self.input.run(query, grid, &mut |series| self.take(query, grid, &mut counted, &series))?;
        counted.finish(sink)
    }
}

impl CountValues {
    fn take(&self, query: &Query<'_>, grid: Grid, counted: &mut Merger, series: &Series) -> Result<(), Error> {
        // Most series repeat a few values.
        let mut labels_of: HashMap<u64, Labels> = HashMap::new();
        let group = |value: &str| self.grouping.of(&series.labels.with(&self.label, value));
        let mut pace = query.pace();
        for (step, point) in series.column.iter() {
            pace.work(1)?;
            let labels = match point {
                Point::Float(number) => {
                    labels_of.entry(number.to_bits()).or_insert_with(|| group(&plain(number))).clone()
                }
                Point::Histogram(histogram) => group(&histogram.to_string()),
            };
            let column = counted.column(&labels, false, || Column::new(query, grid.count))?;
            let before = match column.get(step) {
                Some(Point::Float(count)) => count,
                _ => 0.0,
            };
            column.set_float(step, before + 1.0);
        }
        Ok(())
    }
}

/// A number with all its digits and no exponent.
fn plain(number: f64) -> String {
    if number.is_infinite() {
        return if number > 0.0 { "+Inf" } else { "-Inf" }.to_owned();
    }
    number.to_string()
}
