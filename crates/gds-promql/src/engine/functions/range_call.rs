//! Calls of functions over windows: each series once, its window moved along.

use super::{changes, instant_rate, over_time, rate, trend};
use crate::annotations::Note;
use crate::ast::{Extension, Span};
use crate::engine::column::{Bits, Column, Grid, Series};
use crate::engine::context::{Query, WORK};
use crate::engine::operator::{Op, Operator, Sink, scalars};
use crate::engine::window::{Cursor, Range, Window};
use crate::error::Error;
use crate::labels::{Labels, METRIC_TYPE};
use crate::source::Samples;
use crate::value::Sample;

/// What a function makes of a window.
pub(in crate::engine) type Apply = fn(&Window<'_>) -> Result<Option<Sample>, Error>;

/// The function over windows of a name.
pub(in crate::engine) fn named(name: &str) -> Option<Apply> {
    Some(match name {
        "avg_over_time" => over_time::avg,
        "changes" => changes::changes,
        "count_over_time" => over_time::count,
        "delta" => rate::delta,
        "deriv" => trend::deriv,
        "double_exponential_smoothing" => trend::double_exponential_smoothing,
        "first_over_time" => over_time::first,
        "idelta" => instant_rate::idelta,
        "increase" => rate::increase,
        "irate" => instant_rate::irate,
        "last_over_time" => over_time::last,
        "mad_over_time" => over_time::mad,
        "max_over_time" => over_time::max,
        "min_over_time" => over_time::min,
        "predict_linear" => trend::predict_linear,
        "absent_over_time" | "present_over_time" => over_time::present,
        "quantile_over_time" => over_time::quantile_of,
        "rate" => rate::rate,
        "resets" => changes::resets,
        "stddev_over_time" => over_time::stddev,
        "stdvar_over_time" => over_time::stdvar,
        "sum_over_time" => over_time::sum,
        "ts_of_first_over_time" => over_time::ts_of_first,
        "ts_of_last_over_time" => over_time::ts_of_last,
        "ts_of_max_over_time" => over_time::ts_of_max,
        "ts_of_min_over_time" => over_time::ts_of_min,
        _ => return None,
    })
}

/// Whether a function can be given a window that takes in what is beside it; the error where it cannot.
pub(in crate::engine) fn check_extension(name: &str, extension: Option<Extension>) -> Result<(), Error> {
    let (modifier, allowed): (_, &[&str]) = match extension {
        None => return Ok(()),
        Some(Extension::Anchored) => ("anchored", &["changes", "delta", "increase", "rate", "resets"]),
        Some(Extension::Smoothed) => ("smoothed", &["delta", "increase", "rate"]),
    };
    if allowed.contains(&name) {
        return Ok(());
    }
    let list = allowed.join(", ");
    Err(Error::Execution(format!("{modifier} modifier can only be used with: {list} - not with {name}")))
}

/// `rate(x[5m])`
pub(in crate::engine) struct RangeCall {
    pub(in crate::engine) name: &'static str,
    pub(in crate::engine) apply: Apply,
    pub(in crate::engine) range: Range,
    /// The other arguments, scalars.
    pub(in crate::engine) arguments: Vec<Op>,
    /// Where the first argument stands.
    pub(in crate::engine) span: Span,
}

impl RangeCall {
    fn is_counter_rate(&self) -> bool {
        matches!(self.name, "rate" | "increase")
    }

    /// The values at the steps.
    fn column(
        &self,
        query: &Query<'_>,
        grid: Grid,
        labels: &Labels,
        samples: &Samples,
        arguments: &[Vec<f64>],
    ) -> Result<Column, Error> {
        let mut column = Column::new(query, grid.count)?;
        let mut cursor = Cursor::default();
        let (before, after) = self.range.margins(query.options.lookback);
        let resets = if self.is_counter_rate() { resets(samples) } else { Vec::new() };
        let mut at_step = vec![0.0; arguments.len()];
        let mut pace = query.pace();
        for (step, time) in grid.times().enumerate() {
            let end = self.range.end(time);
            let start = end.saturating_sub(self.range.length);
            let (first_float, floats, histograms) =
                cursor.move_to(samples, start.saturating_sub(before), end.saturating_add(after));
            if floats.is_empty() && histograms.is_empty() {
                pace.work(1)?;
                continue;
            }
            for (value, all) in at_step.iter_mut().zip(arguments) {
                *value = all[step];
            }
            let window = Window {
                labels,
                floats,
                histograms,
                first_float,
                resets: &resets,
                start,
                end,
                time,
                length: self.range.length,
                extension: self.range.extension(),
                arguments: &at_step,
                notes: &query.notes,
                query,
                span: self.span,
            };
            let size = window.size();
            pace.work(size)?;
            let sample = (self.apply)(&window)?;
            if size > WORK {
                // It may be nothing because the query has to end.
                query.check()?;
            }
            if let Some(sample) = sample {
                column.set(step, sample)?;
            }
        }
        Ok(column)
    }

    /// Says that a metric whose growth is asked for does not look like a counter.
    fn check_counter(&self, query: &Query<'_>, labels: &Labels) {
        let metric = labels.metric_name();
        if metric.is_empty() {
            return;
        }
        if query.options.type_and_unit_labels {
            let found = labels.get(METRIC_TYPE);
            if !matches!(found, "counter" | "histogram") {
                let note = Note::PossibleNonCounterType { metric: metric.to_owned(), found: found.to_owned() };
                query.notes.add(note, self.span);
            }
        } else if !["_total", "_sum", "_count", "_bucket"].iter().any(|suffix| metric.ends_with(suffix)) {
            query.notes.add(Note::PossibleNonCounter(metric.to_owned()), self.span);
        }
    }
}

impl Operator for RangeCall {
    fn run(&self, query: &Query<'_>, grid: Grid, sink: &mut Sink<'_>) -> Result<(), Error> {
        let arguments = scalars(&self.arguments, query, grid)?;
        let keeps_name = matches!(self.name, "first_over_time" | "last_over_time");
        self.range.each(query, grid, &mut |labels, drop_name, samples| {
            let column = self.column(query, grid, &labels, samples, &arguments)?;
            if column.is_empty() {
                return Ok(());
            }
            if self.is_counter_rate() && column.has_floats() {
                self.check_counter(query, &labels);
            }
            sink(Series { labels, drop_name: drop_name || !keeps_name, column })
        })
    }
}

/// The floats that are smaller than the one before, or whose start says that the counter began anew.
fn resets(samples: &Samples) -> Vec<usize> {
    let floats = &samples.floats;
    let at = |index: usize| (floats.start(index), floats.times[index]);
    (1..floats.values.len())
        .filter(|index| {
            floats.values[*index] < floats.values[index - 1]
                || (!floats.starts.is_empty() && crate::engine::window::starts_anew(at(index - 1), at(*index)))
        })
        .collect()
}

/// `absent_over_time(x[5m])`: one where no series has a sample in the window.
pub(in crate::engine) struct AbsentOverTime {
    pub(in crate::engine) call: RangeCall,
    pub(in crate::engine) labels: Labels,
}

impl Operator for AbsentOverTime {
    fn run(&self, query: &Query<'_>, grid: Grid, sink: &mut Sink<'_>) -> Result<(), Error> {
        let mut there = Bits::new(grid.count);
        self.call.run(query, grid, &mut |series| {
            series.column.iter().for_each(|(step, _)| there.set(step));
            Ok(())
        })?;
        absent(query, grid, &there, &self.labels, sink)
    }
}

/// A one at each step that is not there.
pub(in crate::engine) fn absent(
    query: &Query<'_>,
    grid: Grid,
    there: &Bits,
    labels: &Labels,
    sink: &mut Sink<'_>,
) -> Result<(), Error> {
    let mut column = Column::new(query, grid.count)?;
    (0..grid.count).filter(|step| !there.get(*step)).for_each(|step| column.set_float(step, 1.0));
    if column.is_empty() {
        return Ok(());
    }
    sink(Series { labels: labels.clone(), drop_name: true, column })
}
