//! Functions of one value at a time: `abs`, `clamp`, `hour`, `histogram_count`.

use crate::calendar::Date;
use crate::engine::column::{Column, Grid, Point, Series};
use crate::engine::context::{HISTOGRAM_WORK, Query};
use crate::engine::operator::{Op, Operator, Sink, scalars};
use crate::error::Error;
use crate::histogram::FloatHistogram;

/// What a function makes of a number and the other arguments. Histograms are left out.
type OfFloat = fn(f64, &[f64]) -> f64;
/// What a function makes of a histogram. Numbers are left out.
type OfHistogram = fn(&FloatHistogram) -> f64;

/// A function of one value.
#[derive(Clone, Copy)]
pub(in crate::engine) enum Apply {
    Float(OfFloat),
    Histogram(OfHistogram),
}

/// The function of one value of a name.
pub(in crate::engine) fn named(name: &str) -> Option<Apply> {
    if let Some(of_float) = math(name).or_else(|| date(name)) {
        return Some(Apply::Float(of_float));
    }
    Some(Apply::Histogram(match name {
        "histogram_avg" => |histogram| histogram.sum / histogram.count,
        "histogram_count" => |histogram| histogram.count,
        "histogram_sum" => |histogram| histogram.sum,
        "histogram_stddev" => |histogram| histogram.variance().sqrt(),
        "histogram_stdvar" => |histogram| histogram.variance(),
        _ => return None,
    }))
}

fn math(name: &str) -> Option<OfFloat> {
    Some(match name {
        "abs" => |x, _| x.abs(),
        "acos" => |x, _| x.acos(),
        "acosh" => |x, _| x.acosh(),
        "asin" => |x, _| x.asin(),
        "asinh" => |x, _| x.asinh(),
        "atan" => |x, _| x.atan(),
        "atanh" => |x, _| x.atanh(),
        "ceil" => |x, _| x.ceil(),
        "clamp" => |x, bounds| greatest(bounds[0], least(bounds[1], x)),
        "clamp_max" => |x, bounds| least(bounds[0], x),
        "clamp_min" => |x, bounds| greatest(bounds[0], x),
        "cos" => |x, _| x.cos(),
        "cosh" => |x, _| x.cosh(),
        "deg" => |x, _| x * 180.0 / std::f64::consts::PI,
        "exp" => |x, _| x.exp(),
        "floor" => |x, _| x.floor(),
        "ln" => |x, _| x.ln(),
        "log10" => |x, _| x.log10(),
        "log2" => |x, _| x.log2(),
        "rad" => |x, _| x * std::f64::consts::PI / 180.0,
        "round" => |x, nearest| {
            // Dividing by the inverse is more exact for the decimal fractions that are asked for.
            let inverse = 1.0 / nearest.first().unwrap_or(&1.0);
            (x * inverse + 0.5).floor() / inverse
        },
        "sgn" => |x, _| if x == 0.0 || x.is_nan() { x } else { x.signum() },
        "sin" => |x, _| x.sin(),
        "sinh" => |x, _| x.sinh(),
        "sqrt" => |x, _| x.sqrt(),
        "tan" => |x, _| x.tan(),
        "tanh" => |x, _| x.tanh(),
        _ => return None,
    })
}

/// The greater one; what is no number stays that, unless the other one is infinity.
pub(in crate::engine) fn greatest(a: f64, b: f64) -> f64 {
    if a == f64::INFINITY || b == f64::INFINITY {
        f64::INFINITY
    } else if a.is_nan() || b.is_nan() {
        f64::NAN
    } else {
        a.max(b)
    }
}

/// Likewise the smaller one.
pub(in crate::engine) fn least(a: f64, b: f64) -> f64 {
    -greatest(-a, -b)
}

fn date(name: &str) -> Option<OfFloat> {
    Some(match name {
        "day_of_month" => |x, _| of_date(x, |date| date.day),
        "day_of_week" => |x, _| of_date(x, Date::day_of_week),
        "day_of_year" => |x, _| of_date(x, Date::day_of_year),
        "days_in_month" => |x, _| of_date(x, Date::days_in_month),
        "hour" => |x, _| (whole_seconds(x).rem_euclid(86_400) / 3_600) as f64,
        "minute" => |x, _| (whole_seconds(x).rem_euclid(3_600) / 60) as f64,
        "month" => |x, _| of_date(x, |date| date.month),
        "year" => |x, _| of_date(x, |date| date.year),
        _ => return None,
    })
}

#[allow(clippy::cast_possible_truncation)]
fn whole_seconds(x: f64) -> i64 {
    // Go, on the machines that Prometheus runs on, makes the smallest integer of what is none.
    if x.is_nan() || x.abs() >= 9_223_372_036_854_775_808.0 { i64::MIN } else { x as i64 }
}

fn of_date(x: f64, part: impl Fn(Date) -> i64) -> f64 {
    part(Date::of_seconds(whole_seconds(x))) as f64
}

/// `abs(x)`
pub(in crate::engine) struct Elementwise {
    pub(in crate::engine) name: &'static str,
    pub(in crate::engine) apply: Apply,
    pub(in crate::engine) input: Op,
    /// The other arguments, scalars.
    pub(in crate::engine) arguments: Vec<Op>,
}

impl Operator for Elementwise {
    fn run(&self, query: &Query<'_>, grid: Grid, sink: &mut Sink<'_>) -> Result<(), Error> {
        let arguments = scalars(&self.arguments, query, grid)?;
        self.input.run(query, grid, &mut |series| {
            let column = self.column(query, grid, series.column, &arguments)?;
            if column.is_empty() { Ok(()) } else { sink(Series { labels: series.labels, drop_name: true, column }) }
        })
    }
}

impl Elementwise {
    fn column(
        &self,
        query: &Query<'_>,
        grid: Grid,
        mut column: Column,
        arguments: &[Vec<f64>],
    ) -> Result<Column, Error> {
        match self.apply {
            Apply::Float(of_float) if arguments.is_empty() => {
                column.drop_histograms();
                column.map_floats(query, |number| of_float(number, &[]))?;
                Ok(column)
            }
            Apply::Float(of_float) => {
                let mut result = Column::new(query, grid.count)?;
                let mut at_step = vec![0.0; arguments.len()];
                let mut pace = query.pace();
                for (step, point) in column.iter() {
                    pace.work(1)?;
                    let Point::Float(number) = point else { continue };
                    at_step.iter_mut().zip(arguments).for_each(|(value, all)| *value = all[step]);
                    // Bounds that exclude each other leave nothing.
                    if self.name == "clamp" && at_step[1] < at_step[0] {
                        continue;
                    }
                    result.set_float(step, of_float(number, &at_step));
                }
                Ok(result)
            }
            Apply::Histogram(of_histogram) => {
                let mut result = Column::new(query, grid.count)?;
                let mut pace = query.pace();
                for (step, point) in column.iter() {
                    pace.work(HISTOGRAM_WORK)?;
                    if let Point::Histogram(histogram) = point {
                        result.set_float(step, of_histogram(histogram));
                    }
                }
                Ok(result)
            }
        }
    }
}

/// `-x`
pub(in crate::engine) struct Negate(pub(in crate::engine) Op);

impl Operator for Negate {
    fn run(&self, query: &Query<'_>, grid: Grid, sink: &mut Sink<'_>) -> Result<(), Error> {
        self.0.run(query, grid, &mut |series| {
            let mut column = Column::new(query, grid.count)?;
            let mut pace = query.pace();
            for (step, point) in series.column.iter() {
                pace.work(1)?;
                match point {
                    Point::Float(number) => column.set_float(step, -number),
                    Point::Histogram(histogram) => {
                        let mut negative = FloatHistogram::clone(histogram);
                        negative.multiply(-1.0);
                        column.set(step, crate::value::Sample::Histogram(negative.into()))?;
                    }
                }
            }
            sink(Series { labels: series.labels, drop_name: true, column })
        })
    }
}
