//! Scalars that are known before anything is evaluated.

use super::Times;
use crate::ast::{Expr, ExprKind, ValueType};
use crate::engine::binary::element::numbers;

/// The number that an expression is at each step, where that is known.
pub(super) fn value(expr: &Expr, times: Times) -> Option<f64> {
    match &expr.kind {
        ExprKind::Number(number) => Some(number.value),
        ExprKind::Paren(inner) => value(inner, times),
        ExprKind::Unary(unary) if expr.value_type() == ValueType::Scalar => {
            let number = value(&unary.expr, times)?;
            Some(if unary.negative { -number } else { number })
        }
        ExprKind::Binary(binary) if expr.value_type() == ValueType::Scalar => {
            Some(numbers(binary.op, value(&binary.lhs, times)?, value(&binary.rhs, times)?))
        }
        ExprKind::Call(call) => {
            let seconds = |milliseconds: i64| milliseconds as f64 / 1e3;
            Some(match call.function.name {
                "pi" => std::f64::consts::PI,
                "start" => seconds(times.start),
                "end" => seconds(times.end),
                "range" => seconds(times.end.saturating_sub(times.start)),
                "step" if times.start == times.end => 0.0,
                "step" => seconds(times.step),
                _ => return None,
            })
        }
        _ => None,
    }
}
