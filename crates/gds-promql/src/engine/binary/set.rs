//! `and`, `or`, `unless`: which series are there on the other side.

use std::collections::HashMap;

use super::signature::signature;
use crate::ast::{BinaryOp, VectorMatching};
use crate::engine::column::{Bits, Grid, Series};
use crate::engine::context::Query;
use crate::engine::operator::{Merger, Op, Operator, Sink};
use crate::error::Error;
use crate::labels::Labels;

/// `x and y`
pub(in crate::engine) struct OfSets {
    pub(in crate::engine) op: BinaryOp,
    pub(in crate::engine) left: Op,
    pub(in crate::engine) right: Op,
    pub(in crate::engine) matching: VectorMatching,
}

/// At which steps series of a signature are there.
#[derive(Default)]
struct Presence(HashMap<Labels, Bits>);

impl Presence {
    fn note(&mut self, query: &Query<'_>, signature: Labels, series: &Series, grid: Grid) -> Result<(), Error> {
        let bits = self.0.entry(signature).or_insert_with(|| Bits::new(grid.count));
        let mut pace = query.pace();
        for (step, _) in series.column.iter() {
            pace.work(1)?;
            bits.set(step);
        }
        Ok(())
    }
}

impl Operator for OfSets {
    fn run(&self, query: &Query<'_>, grid: Grid, sink: &mut Sink<'_>) -> Result<(), Error> {
        let mut there = Presence::default();
        if self.op == BinaryOp::Or {
            let mut merger = Merger::default();
            self.left.run(query, grid, &mut |series| {
                there.note(query, signature(&series.labels, &self.matching), &series, grid)?;
                merger.add(series)
            })?;
            self.right.run(query, grid, &mut |mut series| {
                query.work(grid.count)?;
                if let Some(bits) = there.0.get(&signature(&series.labels, &self.matching)) {
                    series.column.retain(|step| !bits.get(step));
                }
                merger.add(series)
            })?;
            return merger.finish(sink);
        }
        self.right.run(query, grid, &mut |series| {
            there.note(query, signature(&series.labels, &self.matching), &series, grid)
        })?;
        self.left.run(query, grid, &mut |mut series| {
            let bits = there.0.get(&signature(&series.labels, &self.matching));
            let kept = self.op == BinaryOp::And;
            query.work(grid.count)?;
            series.column.retain(|step| bits.is_some_and(|bits| bits.get(step)) == kept);
            if series.column.is_empty() { Ok(()) } else { sink(series) }
        })
    }
}
