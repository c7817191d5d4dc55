//! What an operator makes of two values.

use std::sync::Arc;

use crate::annotations::{Combination, Note};
use crate::ast::{BinaryOp, Span};
use crate::engine::column::Point;
use crate::engine::context::Notes;
use crate::histogram::{CounterResetHint, FloatHistogram, Keep};
use crate::value::Sample;

/// A result, and whether a comparison lets it pass.
pub(in crate::engine) struct Outcome {
    pub(in crate::engine) sample: Sample,
    pub(in crate::engine) passes: bool,
}

/// What an operator makes of two numbers; comparisons: one or zero.
pub(in crate::engine) fn numbers(op: BinaryOp, left: f64, right: f64) -> f64 {
    match op {
        BinaryOp::Add => left + right,
        BinaryOp::Sub => left - right,
        BinaryOp::Mul => left * right,
        BinaryOp::Div => left / right,
        BinaryOp::Mod => left % right,
        BinaryOp::Pow => left.powf(right),
        BinaryOp::Atan2 => left.atan2(right),
        _ => f64::from(u8::from(compare(op, left, right))),
    }
}

fn compare(op: BinaryOp, left: f64, right: f64) -> bool {
    match op {
        BinaryOp::Equal => left == right,
        BinaryOp::NotEqual => left != right,
        BinaryOp::Less => left < right,
        BinaryOp::LessEqual => left <= right,
        BinaryOp::Greater => left > right,
        BinaryOp::GreaterEqual => left >= right,
        _ => false,
    }
}

/// What an operator makes of two values; nothing where it cannot be used between them, which is said.
pub(in crate::engine) fn values(
    op: BinaryOp,
    left: Point<'_>,
    right: Point<'_>,
    (notes, span): (&Notes, Span),
) -> Option<Outcome> {
    let incompatible = |left: &'static str, right: &'static str| {
        notes.add(Note::IncompatibleTypes { left, op: op.text(), right }, span);
        None
    };
    let changed = |histogram: &FloatHistogram, change: &dyn Fn(&mut FloatHistogram)| {
        let mut histogram = histogram.clone();
        change(&mut histogram);
        Some(Outcome { sample: Sample::Histogram(Arc::new(histogram)), passes: true })
    };
    match (left, right) {
        (Point::Float(_), Point::Float(_)) if matches!(op, BinaryOp::TrimUpper | BinaryOp::TrimLower) => {
            incompatible("float", "float")
        }
        (Point::Float(left), Point::Float(right)) if op.is_comparison() => {
            Some(Outcome { sample: Sample::Float(left), passes: compare(op, left, right) })
        }
        (Point::Float(left), Point::Float(right)) => {
            Some(Outcome { sample: Sample::Float(numbers(op, left, right)), passes: true })
        }
        (Point::Float(factor), Point::Histogram(histogram)) => match op {
            BinaryOp::Mul => changed(histogram, &|histogram| {
                histogram.multiply(factor);
                histogram.compact();
            }),
            _ => incompatible("float", "histogram"),
        },
        (Point::Histogram(histogram), Point::Float(number)) => match op {
            BinaryOp::Mul => changed(histogram, &|histogram| {
                histogram.multiply(number);
                histogram.compact();
            }),
            BinaryOp::Div => changed(histogram, &|histogram| {
                histogram.divide(number);
                histogram.compact();
            }),
            BinaryOp::TrimUpper => changed(histogram, &|histogram| histogram.trim(number, Keep::Below)),
            BinaryOp::TrimLower => changed(histogram, &|histogram| histogram.trim(number, Keep::Above)),
            _ => incompatible("histogram", "float"),
        },
        (Point::Histogram(left), Point::Histogram(right)) => match op {
            BinaryOp::Add | BinaryOp::Sub => combined(op, left, right, (notes, span)),
            BinaryOp::Equal | BinaryOp::NotEqual => {
                let passes = left.same_data(right) == (op == BinaryOp::Equal);
                Some(Outcome { sample: Sample::Histogram(Arc::clone(left)), passes })
            }
            _ => incompatible("histogram", "histogram"),
        },
    }
}

fn combined(
    op: BinaryOp,
    left: &FloatHistogram,
    right: &FloatHistogram,
    (notes, span): (&Notes, Span),
) -> Option<Outcome> {
    let mut result = left.clone();
    let (combined, how) = if op == BinaryOp::Add {
        (result.add(right), Combination::Addition)
    } else {
        (result.subtract(right), Combination::Subtraction)
    };
    let Ok(combined) = combined else {
        notes.add(Note::IncompatibleBucketLayout(op.text()), span);
        return None;
    };
    if combined.counter_reset_collision {
        // One of them was reset and the other was not: what they are together says nothing.
        notes.add(Note::CounterResetCollision(how), span);
        return None;
    }
    if combined.bounds_reconciled {
        notes.add(Note::BoundsReconciled(how), span);
    }
    if op == BinaryOp::Sub {
        result.counter_reset_hint = CounterResetHint::Gauge;
    }
    result.compact();
    Some(Outcome { sample: Sample::Histogram(Arc::new(result)), passes: true })
}

/// Whether what comes out is no longer the metric that went in.
pub(in crate::engine) fn changes_metric(op: BinaryOp) -> bool {
    matches!(
        op,
        BinaryOp::Add | BinaryOp::Sub | BinaryOp::Mul | BinaryOp::Div | BinaryOp::Mod | BinaryOp::Pow | BinaryOp::Atan2
    )
}
