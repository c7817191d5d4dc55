//! The tree of a query as `parse_query` gives it.

use serde_json::{Value, json};

use crate::api::encode::Number;
use crate::ast::{
    At, Binary, DurationExpr, DurationKind, Expr, ExprKind, Extension, MatrixSelector, Subquery, VectorMatching,
    VectorSelector,
};
use crate::duration::{self, DurationContext};
use crate::functions::Function;

pub(super) fn expr(node: &Expr) -> Value {
    match &node.kind {
        ExprKind::Number(number) => json!({"type": "numberLiteral", "val": plain(number.value)}),
        ExprKind::String(literal) => json!({"type": "stringLiteral", "val": literal.value}),
        ExprKind::Vector(vector) => selector("vectorSelector", vector),
        ExprKind::Matrix(MatrixSelector { selector: vector, range, .. }) => {
            let mut object = selector("matrixSelector", vector);
            object["range"] = fixed(Some(range));
            object["rangeExpr"] = computed(Some(range));
            object
        }
        ExprKind::Subquery(Subquery { expr: inner, range, step, offset, at }) => {
            let (timestamp, start_or_end) = time(*at);
            json!({
                "type": "subquery",
                "expr": expr(inner),
                "range": fixed(Some(range)),
                "rangeExpr": computed(Some(range)),
                "offset": fixed(offset.as_ref()),
                "offsetExpr": computed(offset.as_ref()),
                "step": fixed(step.as_ref()),
                "stepExpr": computed(step.as_ref()),
                "timestamp": timestamp,
                "startOrEnd": start_or_end,
            })
        }
        ExprKind::Paren(inner) => json!({"type": "parenExpr", "expr": expr(inner)}),
        ExprKind::Unary(unary) => {
            json!({"type": "unaryExpr", "op": if unary.negative { "-" } else { "+" }, "expr": expr(&unary.expr)})
        }
        ExprKind::Binary(Binary { op, lhs, rhs, return_bool, matching }) => json!({
            "type": "binaryExpr",
            "op": op.text(),
            "lhs": expr(lhs),
            "rhs": expr(rhs),
            "matching": matching.as_ref().map(match_between),
            "bool": return_bool,
        }),
        ExprKind::Aggregate(aggregate) => json!({
            "type": "aggregation",
            "op": aggregate.op.text(),
            "expr": expr(&aggregate.expr),
            "param": aggregate.param.as_deref().map(expr),
            "grouping": aggregate.grouping,
            "without": aggregate.without,
        }),
        ExprKind::Call(call) => json!({
            "type": "call",
            "func": function(call.function),
            "args": call.args.iter().map(expr).collect::<Vec<_>>(),
        }),
    }
}

fn function(function: &Function) -> Value {
    let arguments = function.arguments;
    // How many more there may be than the last one's being left out: none, so many, or any.
    let variadic = match function.most {
        None => -1,
        Some(most) if most == function.least => 0,
        Some(most) => i64::try_from(most + 1 - arguments.len()).unwrap_or(i64::MAX),
    };
    json!({
        "name": function.name,
        "argTypes": arguments.iter().map(|argument| argument.text()).collect::<Vec<_>>(),
        "variadic": variadic,
        "returnType": function.returns.text(),
    })
}

fn selector(kind: &str, selector: &VectorSelector) -> Value {
    let (timestamp, start_or_end) = time(selector.at);
    let matchers: Vec<Value> = selector
        .matchers
        .iter()
        .map(|matcher| json!({"name": matcher.name(), "value": matcher.value(), "type": matcher.op().text()}))
        .collect();
    json!({
        "type": kind,
        "name": selector.name.as_deref().unwrap_or_default(),
        "offset": fixed(selector.offset.as_ref()),
        "offsetExpr": computed(selector.offset.as_ref()),
        "matchers": matchers,
        "timestamp": timestamp,
        "startOrEnd": start_or_end,
        "anchored": selector.extension == Some(Extension::Anchored),
        "smoothed": selector.extension == Some(Extension::Smoothed),
    })
}

fn time(at: Option<At>) -> (Value, Value) {
    match at {
        None => (Value::Null, Value::Null),
        Some(At::Timestamp(milliseconds)) => (json!(milliseconds), Value::Null),
        Some(At::Start) => (Value::Null, json!("start")),
        Some(At::End) => (Value::Null, json!("end")),
    }
}

fn match_between(matching: &VectorMatching) -> Value {
    json!({
        "card": matching.cardinality.text(),
        "labels": matching.labels,
        "on": matching.on,
        "include": matching.include,
        "fillValues": {"lhs": matching.fill_left, "rhs": matching.fill_right},
    })
}

/// The milliseconds of a duration that is a number, else zero.
fn fixed(duration: Option<&DurationExpr>) -> Value {
    let milliseconds = duration
        .filter(|duration| matches!(duration.kind, DurationKind::Number(_)))
        .and_then(|duration| duration::signed(duration, DurationContext::default()).ok());
    json!(milliseconds.unwrap_or(0))
}

/// A duration that is more than a number, else nothing.
fn computed(duration: Option<&DurationExpr>) -> Value {
    match duration {
        Some(duration) if !matches!(duration.kind, DurationKind::Number(_)) => part(duration, false),
        _ => Value::Null,
    }
}

fn part(duration: &DurationExpr, wrapped: bool) -> Value {
    let operation = |op: &str, lhs: Option<&DurationExpr>, rhs: Option<&DurationExpr>| {
        json!({
            "type": "durationExpr",
            "op": op,
            "lhs": lhs.map(|lhs| part(lhs, false)),
            "rhs": rhs.map(|rhs| part(rhs, false)),
            "wrapped": wrapped,
        })
    };
    match &duration.kind {
        // Prometheus has a plus sign where a number stands in parentheses.
        DurationKind::Number(_) if wrapped => operation("+", None, Some(duration)),
        DurationKind::Number(number) => {
            json!({"type": "numberLiteral", "val": plain(number.value), "duration": number.duration})
        }
        DurationKind::Step => operation("step", None, None),
        DurationKind::Range => operation("range", None, None),
        DurationKind::MinOf(first, second) => operation("min_of", Some(first), Some(second)),
        DurationKind::MaxOf(first, second) => operation("max_of", Some(first), Some(second)),
        DurationKind::Negated(inner) => operation("-", None, Some(inner)),
        DurationKind::Paren(inner) => part(inner, true),
        DurationKind::Binary(op, lhs, rhs) => operation(op.text(), Some(lhs), Some(rhs)),
    }
}

/// A number without an exponent.
fn plain(number: f64) -> String {
    if number.is_infinite() { Number(number).to_string() } else { number.to_string() }
}
