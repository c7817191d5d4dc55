//! Parts that stand in a query more than once.
//!
//! Two parts are the same when they are written the same and evaluated at the same steps. The steps are those of the
//! query, those of a subquery within them, or the first of those only.

use std::collections::HashMap;

use super::invariant::is_invariant;
use crate::ast::{DurationExpr, Expr, ExprKind, Subquery};

/// The mark of a part that is evaluated at the first step only.
const ONCE: &str = "!";

/// Where a part is evaluated at the first step only.
pub(super) fn once(scope: &str) -> String {
    format!("{scope}{ONCE}")
}

/// Whether only the first step is evaluated there.
pub(super) fn is_once(scope: &str) -> bool {
    scope.ends_with(ONCE)
}

/// Where the inner expression of a subquery is evaluated.
pub(super) fn within(scope: &str, subquery: &Subquery) -> String {
    let written = |duration: &Option<DurationExpr>| duration.as_ref().map(ToString::to_string).unwrap_or_default();
    let (step, offset) = (written(&subquery.step), written(&subquery.offset));
    format!("{scope}[{}:{step}]@{:?} offset {offset}", subquery.range, subquery.at)
}

/// How often each part is needed that is needed more than once.
pub(super) fn repeated(expr: &Expr) -> HashMap<(String, String), usize> {
    let mut counted = HashMap::new();
    count(expr, "", &mut counted);
    counted.retain(|_, count| *count > 1);
    counted
}

fn count(expr: &Expr, scope: &str, counted: &mut HashMap<(String, String), usize>) {
    let expr = expr.unparenthesized();
    match &expr.kind {
        ExprKind::Number(_) | ExprKind::String(_) | ExprKind::Matrix(_) => return,
        ExprKind::Subquery(subquery) => return count(&subquery.expr, &within(scope, subquery), counted),
        _ => {}
    }
    let known = counted.entry((scope.to_owned(), expr.to_string())).or_insert(0);
    *known += 1;
    if *known > 1 {
        // What is in it is needed once, for all of them.
        return;
    }
    let fixed = !is_once(scope) && is_invariant(expr);
    let scope = if fixed { once(scope) } else { scope.to_owned() };
    expr.children().for_each(|child| count(child, &scope, counted));
}
