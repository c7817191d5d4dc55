//! What has the same value at each step.

use crate::ast::{Expr, ExprKind};

/// Whether an expression does not depend on the step: all it selects is fixed with `@`.
pub(super) fn is_invariant(expr: &Expr) -> bool {
    match &expr.kind {
        ExprKind::Number(_) | ExprKind::String(_) => true,
        ExprKind::Vector(vector) => vector.at.is_some(),
        ExprKind::Matrix(matrix) => matrix.selector.at.is_some(),
        ExprKind::Subquery(subquery) => subquery.at.is_some(),
        ExprKind::Call(call) => {
            let fixed = call.args.iter().all(is_invariant);
            // The time of a sample is that of the sample only where it is selected; else it is that of the step.
            let of_selector = || matches!(call.args[0].unparenthesized().kind, ExprKind::Vector(_));
            fixed
                && (!depends_on_time(call.function.name, call.args.len())
                    || call.function.name == "timestamp" && of_selector())
        }
        _ => expr.children().all(is_invariant),
    }
}

fn depends_on_time(name: &str, arguments: usize) -> bool {
    match name {
        "time" | "timestamp" | "predict_linear" => true,
        "days_in_month" | "day_of_month" | "day_of_week" | "day_of_year" | "hour" | "minute" | "month" | "year" => {
            arguments == 0
        }
        _ => false,
    }
}
