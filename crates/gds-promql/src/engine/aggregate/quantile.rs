//! `quantile(q, x)` over series.

use super::grouping::{Grouping, Groups};
use crate::annotations::Note;
use crate::ast::Span;
use crate::engine::column::{Column, Grid, Point, Series};
use crate::engine::context::Query;
use crate::engine::operator::{Op, Operator, Sink, scalar};
use crate::engine::quantile::quantile;
use crate::error::Error;

/// `quantile by (job) (0.9, x)`
pub(in crate::engine) struct Quantile {
    pub(in crate::engine) q: Op,
    /// Where the parameter stands.
    pub(in crate::engine) q_span: Span,
    pub(in crate::engine) input: Op,
    pub(in crate::engine) grouping: Grouping,
    /// Where what is aggregated stands.
    pub(in crate::engine) span: Span,
}

impl Operator for Quantile {
    fn run(&self, query: &Query<'_>, grid: Grid, sink: &mut Sink<'_>) -> Result<(), Error> {
        let q = scalar(&*self.q, query, grid)?;
        self.check(query, &q);
        let mut groups: Groups<(bool, Vec<Column>)> = Groups::default();
        self.input.run(query, grid, &mut |series| {
            let group = groups.of(self.grouping.of(&series.labels), || Ok::<_, Error>((false, Vec::new())))?;
            group.0 |= series.drop_name;
            group.1.push(series.column);
            Ok(())
        })?;
        let mut numbers = Vec::new();
        for (labels, (drop_name, columns)) in groups.list {
            query.check()?;
            let mut column = Column::new(query, grid.count)?;
            for (step, q) in q.iter().enumerate() {
                query.work(columns.len())?;
                numbers.clear();
                for point in columns.iter().filter_map(|column| column.get(step)) {
                    match point {
                        Point::Float(number) => numbers.push(number),
                        Point::Histogram(_) => query.notes.add(Note::IgnoredInAggregation("quantile"), self.span),
                    }
                }
                if !numbers.is_empty() {
                    column.set_float(step, quantile(*q, &mut numbers));
                }
            }
            if !column.is_empty() {
                sink(Series { labels, drop_name, column })?;
            }
        }
        Ok(())
    }
}

impl Quantile {
    /// Says once for each side by how much the parameter is outside at most.
    fn check(&self, query: &Query<'_>, q: &[f64]) {
        let say = |q: f64| query.notes.add(Note::InvalidQuantile(q.into()), self.q_span);
        if q.iter().any(|q| q.is_nan()) {
            say(f64::NAN);
        }
        let greatest = q.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let least = q.iter().copied().fold(f64::INFINITY, f64::min);
        if greatest > 1.0 {
            say(greatest);
        }
        if least < 0.0 {
            say(least);
        }
    }
}
