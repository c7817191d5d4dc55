//! Operators: each gives its series one after the other to whoever asks.

use std::cell::RefCell;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::rc::Rc;

use super::column::{Column, Grid, Series};
use super::context::Query;
use crate::error::Error;
use crate::labels::Labels;

/// Takes the series of an operator.
pub(super) type Sink<'s> = dyn FnMut(Series) -> Result<(), Error> + 's;

/// A part of a plan. It may be part of several others.
pub(super) type Op = Rc<dyn Operator>;

/// Evaluates a part of a query at the steps of a grid.
///
/// A scalar is one series without labels that has a number at each step.
pub(super) trait Operator {
    /// Gives each series that has a value to the sink.
    fn run(&self, query: &Query<'_>, grid: Grid, sink: &mut Sink<'_>) -> Result<(), Error>;
}

/// All series of an operator.
pub(super) fn collect(op: &dyn Operator, query: &Query<'_>, grid: Grid) -> Result<Vec<Series>, Error> {
    let mut all = Vec::new();
    op.run(query, grid, &mut |series| {
        all.push(series);
        Ok(())
    })?;
    Ok(all)
}

/// The numbers of a scalar.
pub(super) fn scalar(op: &dyn Operator, query: &Query<'_>, grid: Grid) -> Result<Vec<f64>, Error> {
    let mut numbers = None;
    op.run(query, grid, &mut |series| {
        numbers = Some(series.column.into_floats());
        Ok(())
    })?;
    Ok(numbers.unwrap_or_else(|| vec![f64::NAN; grid.count]))
}

/// The numbers of several scalars.
pub(super) fn scalars(ops: &[Op], query: &Query<'_>, grid: Grid) -> Result<Vec<Vec<f64>>, Error> {
    ops.iter().map(|op| scalar(&**op, query, grid)).collect()
}

/// A scalar as a series.
pub(super) fn scalar_series(column: Column) -> Series {
    Series { labels: Labels::empty(), drop_name: false, column }
}

/// Series by labels, in the order in which they came. Those with the same labels become one where they do not overlap.
#[derive(Default)]
pub(super) struct Merger {
    series: Vec<Series>,
    by_labels: HashMap<Labels, usize>,
}

impl Merger {
    pub(super) fn add(&mut self, series: Series) -> Result<(), Error> {
        match self.by_labels.entry(series.labels.clone()) {
            Entry::Vacant(free) => {
                free.insert(self.series.len());
                self.series.push(series);
                Ok(())
            }
            Entry::Occupied(at) => self.series[*at.get()].column.merge(&series.column),
        }
    }

    /// The place of the series of these labels, made where there is none yet.
    pub(super) fn index(
        &mut self,
        labels: &Labels,
        drop_name: bool,
        make: impl FnOnce() -> Result<Column, Error>,
    ) -> Result<usize, Error> {
        if let Some(at) = self.by_labels.get(labels) {
            return Ok(*at);
        }
        self.series.push(Series { labels: labels.clone(), drop_name, column: make()? });
        self.by_labels.insert(labels.clone(), self.series.len() - 1);
        Ok(self.series.len() - 1)
    }

    /// The values of the series at a place.
    pub(super) fn column_at(&mut self, at: usize) -> &mut Column {
        &mut self.series[at].column
    }

    /// The values of the series of these labels, made where there is none yet.
    pub(super) fn column(
        &mut self,
        labels: &Labels,
        drop_name: bool,
        make: impl FnOnce() -> Result<Column, Error>,
    ) -> Result<&mut Column, Error> {
        let at = self.index(labels, drop_name, make)?;
        Ok(self.column_at(at))
    }

    /// Gives all that have a value.
    pub(super) fn finish(self, sink: &mut Sink<'_>) -> Result<(), Error> {
        self.series.into_iter().filter(|series| !series.column.is_empty()).try_for_each(sink)
    }

    pub(super) fn into_series(self) -> Vec<Series> {
        self.series
    }
}

/// A number.
pub(super) struct Number(pub(super) f64);

impl Operator for Number {
    fn run(&self, query: &Query<'_>, grid: Grid, sink: &mut Sink<'_>) -> Result<(), Error> {
        sink(scalar_series(Column::constant(query, grid.count, self.0)?))
    }
}

/// A part whose value is the same at each step: evaluated at the first one.
pub(super) struct StepInvariant(pub(super) Op);

impl Operator for StepInvariant {
    fn run(&self, query: &Query<'_>, grid: Grid, sink: &mut Sink<'_>) -> Result<(), Error> {
        if grid.count <= 1 {
            return self.0.run(query, grid, sink);
        }
        self.0.run(query, Grid::instant(grid.start), &mut |series| {
            let column = series.column.spread(query, grid.count)?;
            sink(Series { column, ..series })
        })
    }
}

/// A part that several others need: evaluated once, kept until the last of them has had it.
pub(super) struct CommonSubexpression {
    op: Op,
    /// How many need it.
    users: usize,
    kept: RefCell<Option<Kept>>,
}

/// The steps, the series at them, and how many still need them.
type Kept = (Grid, Rc<Vec<Series>>, usize);

impl CommonSubexpression {
    pub(super) fn new(op: Op, users: usize) -> Self {
        Self { op, users, kept: RefCell::new(None) }
    }
}

impl Operator for CommonSubexpression {
    fn run(&self, query: &Query<'_>, grid: Grid, sink: &mut Sink<'_>) -> Result<(), Error> {
        let kept = self.kept.borrow_mut().take();
        let (series, left) = match kept {
            Some((at, series, left)) if at == grid => (series, left),
            _ => (Rc::new(collect(&*self.op, query, grid)?), self.users),
        };
        if left > 1 {
            *self.kept.borrow_mut() = Some((grid, Rc::clone(&series), left - 1));
        }
        match Rc::try_unwrap(series) {
            Ok(last) => last.into_iter().try_for_each(sink),
            Err(series) => series.iter().try_for_each(|series| sink(series.try_clone()?)),
        }
    }
}
