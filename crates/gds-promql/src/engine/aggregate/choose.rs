//! `topk`, `bottomk`, `limitk` and `limit_ratio`: some of the series, at each step.

use super::grouping::{Grouping, Groups};
use crate::annotations::Note;
use crate::ast::{AggregateOp, Span};
use crate::engine::column::{Bits, Grid, Point, Series};
use crate::engine::context::Query;
use crate::engine::functions::sort::by_value;
use crate::engine::operator::{Op, Operator, Sink, collect, scalar};
use crate::error::Error;
use crate::labels::Labels;

/// 2^63, which no `i64` is.
const BEYOND_I64: f64 = 9_223_372_036_854_775_808.0;

/// `topk by (job) (3, x)`
pub(in crate::engine) struct Choose {
    pub(in crate::engine) op: AggregateOp,
    pub(in crate::engine) parameter: Op,
    /// Where the parameter stands.
    pub(in crate::engine) parameter_span: Span,
    pub(in crate::engine) input: Op,
    pub(in crate::engine) grouping: Grouping,
    /// Where the aggregation stands.
    pub(in crate::engine) span: Span,
}

impl Operator for Choose {
    fn run(&self, query: &Query<'_>, grid: Grid, sink: &mut Sink<'_>) -> Result<(), Error> {
        let parameter = scalar(&*self.parameter, query, grid)?;
        if !self.check(query, &parameter)? {
            return Ok(());
        }
        let mut series = collect(&*self.input, query, grid)?;
        let mut groups: Groups<Vec<usize>> = Groups::default();
        for (at, one) in series.iter().enumerate() {
            groups.of(self.grouping.of(&one.labels), || Ok::<_, Error>(Vec::new()))?.push(at);
        }
        let mut kept: Vec<Bits> = series.iter().map(|_| Bits::new(grid.count)).collect();
        // The order is that of an instant query's answer: of a range query's it is that of the labels.
        let mut order = Vec::with_capacity(series.len());
        for (_, members) in &groups.list {
            query.check()?;
            for (step, parameter) in parameter.iter().enumerate() {
                query.work(members.len())?;
                let chosen = self.chosen(query, &series, members, step, *parameter);
                for at in &chosen {
                    kept[*at].set(step);
                }
                if grid.count == 1 {
                    order.extend(chosen);
                }
            }
        }
        for (one, kept) in series.iter_mut().zip(&kept) {
            one.column.retain(|step| kept.get(step));
        }
        if grid.count == 1 {
            let mut slots: Vec<Option<Series>> = series.into_iter().map(Some).collect();
            return order.into_iter().filter_map(|at| slots[at].take()).try_for_each(sink);
        }
        series.into_iter().filter(|series| !series.column.is_empty()).try_for_each(sink)
    }
}

impl Choose {
    /// Whether anything can be chosen at any step.
    fn check(&self, query: &Query<'_>, parameter: &[f64]) -> Result<bool, Error> {
        let greatest = parameter.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let least = parameter.iter().copied().fold(f64::INFINITY, f64::min);
        let has_nan = parameter.iter().any(|number| number.is_nan());
        if self.op == AggregateOp::LimitRatio {
            if greatest == 0.0 && least == 0.0 && !has_nan {
                return Ok(false);
            }
            if has_nan {
                return Err(Error::Execution("Ratio value is NaN".to_owned()));
            }
            let say = |ratio: f64, capped_to| {
                query.notes.add(Note::InvalidRatio { ratio: ratio.into(), capped_to }, self.parameter_span);
            };
            if greatest > 1.0 {
                say(greatest, 1);
            }
            if least < -1.0 {
                say(least, -1);
            }
            return Ok(true);
        }
        if greatest < 1.0 && !has_nan {
            return Ok(false);
        }
        if has_nan {
            return Err(Error::Execution("Parameter value is NaN".to_owned()));
        }
        let number = crate::histogram::Number;
        if least <= -BEYOND_I64 {
            return Err(Error::Execution(format!("Scalar value {} underflows int64", number(least))));
        }
        if greatest >= BEYOND_I64 {
            return Err(Error::Execution(format!("Scalar value {} overflows int64", number(greatest))));
        }
        Ok(true)
    }

    /// The series of a group that are chosen at a step, in order.
    fn chosen(
        &self,
        query: &Query<'_>,
        series: &[Series],
        members: &[usize],
        step: usize,
        parameter: f64,
    ) -> Vec<usize> {
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let count = parameter.max(0.0) as usize;
        let there = members.iter().copied().filter(|at| series[*at].column.has(step));
        match self.op {
            AggregateOp::Limitk => there.take(count).collect(),
            AggregateOp::LimitRatio => there.filter(|at| is_sampled(&series[*at].labels, parameter)).collect(),
            _ => {
                if count == 0 {
                    return Vec::new();
                }
                let mut numbers = Vec::new();
                for at in there {
                    match series[at].column.get(step) {
                        Some(Point::Float(number)) => numbers.push((at, number)),
                        _ => query.notes.add(Note::IgnoredInAggregation(self.op.text()), self.span),
                    }
                }
                let descending = self.op == AggregateOp::Topk;
                let order = |a: &(usize, f64), b: &(usize, f64)| by_value(a.1, b.1, descending).then(a.0.cmp(&b.0));
                if count < numbers.len() {
                    numbers.select_nth_unstable_by(count - 1, order);
                    numbers.truncate(count);
                }
                numbers.sort_unstable_by(order);
                numbers.into_iter().map(|(at, _)| at).collect()
            }
        }
    }
}

/// Whether a series is in the part that a ratio chooses: always the same one, that of a negative ratio being what the
/// positive one leaves.
fn is_sampled(labels: &Labels, ratio: f64) -> bool {
    let offset = position(labels) as f64 / u64::MAX as f64;
    let ratio = ratio.clamp(-1.0, 1.0);
    if ratio >= 0.0 { offset < ratio } else { offset >= 1.0 + ratio }
}

/// Where a series is among all numbers: the same in each version and on each machine. FNV-1a, its bits mixed once more.
fn position(labels: &Labels) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for (name, value) in labels.iter() {
        for byte in name.bytes().chain([0xff]).chain(value.bytes()).chain([0xff]) {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    hash ^ (hash >> 33)
}
