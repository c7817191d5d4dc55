//! Texts of expressions: on one line as [`Display`](fmt::Display) of [`Expr`], on several by [`pretty`]. Parsed again they
//! are the same expression; matchers are sorted.

use std::fmt::{self, Write as _};

use crate::ast::{
    Aggregate, At, Binary, Cardinality, DurationExpr, DurationKind, Expr, ExprKind, Extension, MatrixSelector, Number,
    Subquery, VectorMatching, VectorSelector,
};
use crate::duration;
use crate::matcher::{METRIC_NAME, MatchOp};
use crate::text::{is_plain_label, write_quoted};

/// Lines longer than this many bytes are split.
const WIDTH: usize = 100;

/// An expression on as many lines as it needs, inner ones indented by two spaces.
pub fn pretty(expr: &Expr) -> String {
    let mut out = String::new();
    // A String takes everything.
    let _ = write_pretty(&mut out, expr, 0);
    out
}

fn indent(out: &mut String, level: usize) {
    out.extend(std::iter::repeat_n("  ", level));
}

fn write_pretty(out: &mut String, expr: &Expr, level: usize) -> fmt::Result {
    let line = expr.to_string();
    if line.len() <= WIDTH {
        indent(out, level);
        out.push_str(&line);
        return Ok(());
    }
    match &expr.kind {
        ExprKind::Aggregate(aggregate) => {
            indent(out, level);
            write_aggregate_head(out, aggregate)?;
            out.push_str("(\n");
            write_list(out, aggregate.param.as_deref().into_iter().chain([&*aggregate.expr]), level + 1)?;
            out.push('\n');
            indent(out, level);
            out.push(')');
        }
        ExprKind::Call(call) => {
            indent(out, level);
            writeln!(out, "{}(", call.function.name)?;
            write_list(out, call.args.iter(), level + 1)?;
            out.push('\n');
            indent(out, level);
            out.push(')');
        }
        ExprKind::Paren(inner) => {
            indent(out, level);
            out.push_str("(\n");
            write_pretty(out, inner, level + 1)?;
            out.push('\n');
            indent(out, level);
            out.push(')');
        }
        ExprKind::Binary(binary) => {
            write_pretty(out, &binary.lhs, level + 1)?;
            out.push('\n');
            indent(out, level);
            write_operator(out, binary)?;
            out.push('\n');
            write_pretty(out, &binary.rhs, level + 1)?;
        }
        ExprKind::Unary(unary) => {
            indent(out, level);
            out.push(if unary.negative { '-' } else { '+' });
            let mut inner = String::new();
            write_pretty(&mut inner, &unary.expr, level)?;
            out.push_str(inner.trim_start());
        }
        ExprKind::Subquery(subquery) => {
            write_pretty(out, &subquery.expr, level)?;
            write_window(out, subquery)?;
        }
        ExprKind::Number(_) | ExprKind::String(_) | ExprKind::Vector(_) | ExprKind::Matrix(_) => {
            indent(out, level);
            out.push_str(&line);
        }
    }
    Ok(())
}

fn write_list<'a>(out: &mut String, list: impl Iterator<Item = &'a Expr>, level: usize) -> fmt::Result {
    for (index, expr) in list.enumerate() {
        if index > 0 {
            out.push_str(",\n");
        }
        write_pretty(out, expr, level)?;
    }
    Ok(())
}

impl fmt::Display for Expr {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            ExprKind::Number(number) => write_number(out, *number),
            ExprKind::String(literal) => write!(out, "{literal}"),
            ExprKind::Vector(selector) => {
                write_selector(out, selector)?;
                write_at(out, selector.at)?;
                write_extension(out, selector.extension)?;
                write_offset(out, selector.offset.as_ref())
            }
            ExprKind::Matrix(MatrixSelector { selector, range, .. }) => {
                write_selector(out, selector)?;
                write!(out, "[{range}]")?;
                write_extension(out, selector.extension)?;
                write_at(out, selector.at)?;
                write_offset(out, selector.offset.as_ref())
            }
            ExprKind::Subquery(subquery) => {
                write!(out, "{}", subquery.expr)?;
                write_window(out, subquery)
            }
            ExprKind::Paren(inner) => write!(out, "({inner})"),
            ExprKind::Unary(unary) => write!(out, "{}{}", if unary.negative { '-' } else { '+' }, unary.expr),
            ExprKind::Binary(binary) => {
                write!(out, "{} ", binary.lhs)?;
                write_operator(out, binary)?;
                write!(out, " {}", binary.rhs)
            }
            ExprKind::Aggregate(aggregate) => {
                write_aggregate_head(out, aggregate)?;
                out.write_char('(')?;
                if let Some(param) = &aggregate.param {
                    write!(out, "{param}, ")?;
                }
                write!(out, "{})", aggregate.expr)
            }
            ExprKind::Call(call) => {
                write!(out, "{}(", call.function.name)?;
                for (index, arg) in call.args.iter().enumerate() {
                    write!(out, "{}{arg}", if index > 0 { ", " } else { "" })?;
                }
                out.write_char(')')
            }
        }
    }
}

impl fmt::Display for DurationExpr {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            DurationKind::Number(number) => write_number(out, *number),
            DurationKind::Step => out.write_str("step()"),
            DurationKind::Range => out.write_str("range()"),
            DurationKind::MinOf(first, second) => write!(out, "min_of({first}, {second})"),
            DurationKind::MaxOf(first, second) => write!(out, "max_of({first}, {second})"),
            DurationKind::Negated(inner) => write!(out, "-{inner}"),
            DurationKind::Paren(inner) => write!(out, "({inner})"),
            DurationKind::Binary(op, lhs, rhs) => write!(out, "{lhs} {} {rhs}", op.text()),
        }
    }
}

fn write_number(out: &mut impl fmt::Write, number: Number) -> fmt::Result {
    let value = number.value;
    if number.duration {
        #[expect(clippy::cast_possible_truncation, reason = "durations are whole milliseconds within bounds")]
        return duration::write(out, (value * 1e3).round() as i64);
    }
    if value.is_infinite() {
        // Without the plus sign, which would not be part of the number before `^`.
        return out.write_str(if value > 0.0 { "Inf" } else { "-Inf" });
    }
    write!(out, "{value}")
}

fn write_selector(out: &mut impl fmt::Write, selector: &VectorSelector) -> fmt::Result {
    let name = selector.name.as_deref();
    let mut matchers: Vec<String> = selector
        .matchers
        .iter()
        .filter(|matcher| {
            name.is_none_or(|name| {
                (matcher.name(), matcher.op(), matcher.value()) != (METRIC_NAME, MatchOp::Equal, name)
            })
        })
        .map(ToString::to_string)
        .collect();
    matchers.sort_unstable();
    out.write_str(name.unwrap_or_default())?;
    if name.is_some() && matchers.is_empty() {
        return Ok(());
    }
    write!(out, "{{{}}}", matchers.join(","))
}

fn write_at(out: &mut impl fmt::Write, at: Option<At>) -> fmt::Result {
    match at {
        None => Ok(()),
        Some(At::Start) => out.write_str(" @ start()"),
        Some(At::End) => out.write_str(" @ end()"),
        Some(At::Timestamp(milliseconds)) => {
            let sign = if milliseconds < 0 { "-" } else { "" };
            let milliseconds = milliseconds.unsigned_abs();
            write!(out, " @ {sign}{}.{:03}", milliseconds / 1_000, milliseconds % 1_000)
        }
    }
}

fn write_extension(out: &mut impl fmt::Write, extension: Option<Extension>) -> fmt::Result {
    match extension {
        None => Ok(()),
        Some(Extension::Anchored) => out.write_str(" anchored"),
        Some(Extension::Smoothed) => out.write_str(" smoothed"),
    }
}

fn write_offset(out: &mut impl fmt::Write, offset: Option<&DurationExpr>) -> fmt::Result {
    offset.map_or(Ok(()), |offset| write!(out, " offset {offset}"))
}

fn write_window(out: &mut impl fmt::Write, subquery: &Subquery) -> fmt::Result {
    write!(out, "[{}:", subquery.range)?;
    if let Some(step) = &subquery.step {
        write!(out, "{step}")?;
    }
    out.write_char(']')?;
    write_at(out, subquery.at)?;
    write_offset(out, subquery.offset.as_ref())
}

fn write_aggregate_head(out: &mut impl fmt::Write, aggregate: &Aggregate) -> fmt::Result {
    out.write_str(aggregate.op.text())?;
    if aggregate.without || !aggregate.grouping.is_empty() {
        out.write_str(if aggregate.without { " without (" } else { " by (" })?;
        write_labels(out, &aggregate.grouping)?;
        out.write_str(") ")?;
    }
    Ok(())
}

fn write_labels(out: &mut impl fmt::Write, labels: &[String]) -> fmt::Result {
    for (index, label) in labels.iter().enumerate() {
        if index > 0 {
            out.write_str(", ")?;
        }
        if is_plain_label(label) {
            out.write_str(label)?;
        } else {
            write_quoted(out, label)?;
        }
    }
    Ok(())
}

/// The operator with its modifiers.
fn write_operator(out: &mut impl fmt::Write, binary: &Binary) -> fmt::Result {
    out.write_str(binary.op.text())?;
    if binary.return_bool {
        out.write_str(" bool")?;
    }
    binary.matching.as_ref().map_or(Ok(()), |matching| write_matching(out, matching))
}

fn write_matching(out: &mut impl fmt::Write, matching: &VectorMatching) -> fmt::Result {
    let group = match matching.cardinality {
        Cardinality::ManyToOne => Some("left"),
        Cardinality::OneToMany => Some("right"),
        Cardinality::OneToOne | Cardinality::ManyToMany => None,
    };
    if matching.on || !matching.labels.is_empty() || group.is_some() {
        out.write_str(if matching.on { " on (" } else { " ignoring (" })?;
        write_labels(out, &matching.labels)?;
        out.write_char(')')?;
    }
    if let Some(side) = group {
        write!(out, " group_{side} (")?;
        write_labels(out, &matching.include)?;
        out.write_char(')')?;
    }
    let mut fill = |word: &str, value: f64| {
        write!(out, " {word} (")?;
        write_number(out, Number { value, duration: false })?;
        out.write_char(')')
    };
    match (matching.fill_left, matching.fill_right) {
        (Some(left), Some(right)) if left.to_bits() == right.to_bits() => fill("fill", left),
        (left, right) => {
            left.map_or(Ok(()), |left| fill("fill_left", left))?;
            right.map_or(Ok(()), |right| fill("fill_right", right))
        }
    }
}
