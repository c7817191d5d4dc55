//! From the tree of a query to its operators.
//!
//! Numbers are computed where they are known. What is the same at each step is evaluated once, and so is what stands in
//! the query more than once. Each selector gets the window that it looks at.

mod call;
mod common_subexpression;
mod constant;
mod invariant;

use std::collections::HashMap;
use std::rc::Rc;

use super::aggregate::choose::Choose;
use super::aggregate::count_values::CountValues;
use super::aggregate::fold::Fold;
use super::aggregate::grouping::Grouping;
use super::aggregate::quantile::Quantile;
use super::binary::matched::OfVectors;
use super::binary::scalar::{OfScalars, OfVectorAndScalar};
use super::binary::set::OfSets;
use super::context::EngineOptions;
use super::functions::elementwise::Negate;
use super::operator::{CommonSubexpression, Number, Op, StepInvariant};
use super::selector::{SelectSmoothed, SelectVector, Selector, Yield};
use super::window::{Input, Range, Subquery};
use crate::ast::{
    Aggregate, AggregateOp, At, Binary, BinaryOp, Expr, ExprKind, Extension, Span, ValueType, VectorSelector,
};
use crate::duration::{self, DurationContext};
use crate::error::Error;

/// The times of a query.
#[derive(Clone, Copy, Debug)]
pub(super) struct Times {
    /// The first step.
    pub(super) start: i64,
    /// The end, which need not be a step.
    pub(super) end: i64,
    /// The distance of the steps, zero of an instant query.
    pub(super) step: i64,
}

/// Makes the operators of a query.
pub(super) struct Planner<'a> {
    options: &'a EngineOptions,
    times: Times,
    durations: DurationContext,
    /// How often each part is needed that is needed more than once, by where it is evaluated and its text.
    repeated: HashMap<(String, String), usize>,
    built: HashMap<(String, String), Op>,
    around: Around,
}

/// What of the expressions around one says how histograms are looked at.
#[derive(Clone, Copy, Debug, Default)]
struct Around {
    /// One takes only the count or the sum of a histogram.
    only_totals: bool,
    /// One looks at buckets, or chooses other samples to compare.
    buckets: bool,
}

impl<'a> Planner<'a> {
    pub(super) fn new(options: &'a EngineOptions, times: Times, expr: &Expr) -> Self {
        let durations = DurationContext { step: times.step, range: times.end.saturating_sub(times.start) };
        let repeated = common_subexpression::repeated(expr);
        Self { options, times, durations, repeated, built: HashMap::new(), around: Around::default() }
    }

    /// The operator of an expression that is no range vector and no text. `scope` says which steps it is evaluated at.
    pub(super) fn build(&mut self, expr: &Expr, scope: &str) -> Result<Op, Error> {
        let expr = expr.unparenthesized();
        if let Some(number) = constant::value(expr, self.times) {
            return Ok(Rc::new(Number(number)));
        }
        let key = (scope.to_owned(), expr.to_string());
        let Some(users) = self.repeated.get(&key).copied() else { return self.build_at(expr, scope) };
        if let Some(op) = self.built.get(&key) {
            return Ok(Rc::clone(op));
        }
        let op: Op = Rc::new(CommonSubexpression::new(self.build_at(expr, scope)?, users));
        self.built.insert(key, Rc::clone(&op));
        Ok(op)
    }

    fn build_at(&mut self, expr: &Expr, scope: &str) -> Result<Op, Error> {
        if !common_subexpression::is_once(scope) && invariant::is_invariant(expr) {
            let inner = self.build_node(expr, &common_subexpression::once(scope))?;
            return Ok(Rc::new(StepInvariant(inner)));
        }
        self.build_node(expr, scope)
    }

    fn build_node(&mut self, expr: &Expr, scope: &str) -> Result<Op, Error> {
        Ok(match &expr.kind {
            ExprKind::Number(number) => Rc::new(Number(number.value)),
            ExprKind::Vector(vector) => self.vector(vector, expr.span)?,
            ExprKind::Paren(inner) => self.build(inner, scope)?,
            ExprKind::Unary(unary) => {
                let inner = self.build(&unary.expr, scope)?;
                if unary.negative { Rc::new(Negate(inner)) } else { inner }
            }
            ExprKind::Binary(binary) => self.binary(binary, expr.span, scope)?,
            ExprKind::Aggregate(aggregate) => self.aggregate(aggregate, expr.span, scope)?,
            ExprKind::Call(call) => {
                let around = self.around;
                let name = call.function.name;
                self.around.only_totals |= matches!(name, "histogram_avg" | "histogram_count" | "histogram_sum");
                self.around.buckets |=
                    matches!(name, "histogram_fraction" | "histogram_quantile" | "histogram_quantiles");
                let op = self.call(call, expr.span, scope)?;
                self.around = around;
                op
            }
            ExprKind::String(_) | ExprKind::Matrix(_) | ExprKind::Subquery(_) => {
                let found = expr.value_type().documented();
                return Err(Error::Execution(format!("expected a scalar or an instant vector, got a {found}")));
            }
        })
    }

    fn vector(&self, vector: &VectorSelector, span: Span) -> Result<Op, Error> {
        let selector = self.selector(vector, span)?;
        if selector.extension == Some(Extension::Smoothed) {
            return Ok(Rc::new(SelectSmoothed { selector }));
        }
        Ok(Rc::new(SelectVector { selector, yields: Yield::Value }))
    }

    fn selector(&self, vector: &VectorSelector, span: Span) -> Result<Selector, Error> {
        Ok(Selector {
            matchers: vector.matchers.clone(),
            offset: self.offset(vector.offset.as_ref())?,
            at: self.at(vector.at),
            extension: vector.extension,
            detects_resets: self.around.only_totals && !self.around.buckets,
            span,
        })
    }

    fn offset(&self, offset: Option<&crate::ast::DurationExpr>) -> Result<i64, Error> {
        Ok(offset.map(|offset| duration::signed(offset, self.durations)).transpose()?.unwrap_or(0))
    }

    fn at(&self, at: Option<At>) -> Option<i64> {
        Some(match at? {
            At::Timestamp(time) => time,
            At::Start => self.times.start,
            At::End => self.times.end,
        })
    }

    /// The windows of a range vector.
    pub(super) fn range(&mut self, expr: &Expr, scope: &str) -> Result<Range, Error> {
        let expr = expr.unparenthesized();
        match &expr.kind {
            ExprKind::Matrix(matrix) => Ok(Range {
                input: Input::Selector(self.selector(&matrix.selector, expr.span)?),
                length: duration::positive(&matrix.range, self.durations)?,
            }),
            ExprKind::Subquery(subquery) => {
                let step = match &subquery.step {
                    Some(step) => duration::positive(step, self.durations)?,
                    None => self.options.subquery_step,
                };
                let around = self.around;
                self.around.buckets = true;
                let op = self.build(&subquery.expr, &common_subexpression::within(scope, subquery))?;
                self.around = around;
                Ok(Range {
                    input: Input::Subquery(Subquery {
                        op,
                        step: step.max(1),
                        offset: self.offset(subquery.offset.as_ref())?,
                        at: self.at(subquery.at),
                    }),
                    length: duration::positive(&subquery.range, self.durations)?,
                })
            }
            _ => Err(Error::Execution(format!("expected a range vector, got a {}", expr.value_type().documented()))),
        }
    }

    fn binary(&mut self, binary: &Binary, span: Span, scope: &str) -> Result<Op, Error> {
        let around = self.around;
        self.around.buckets |= matches!(binary.op, BinaryOp::TrimLower | BinaryOp::TrimUpper);
        let (left, right) = (self.build(&binary.lhs, scope)?, self.build(&binary.rhs, scope)?);
        self.around = around;
        let (op, return_bool) = (binary.op, binary.return_bool);
        let is_scalar = |expr: &Expr| expr.value_type() == ValueType::Scalar;
        Ok(match (is_scalar(&binary.lhs), is_scalar(&binary.rhs)) {
            (true, true) => Rc::new(OfScalars { op, left, right }),
            (false, true) => {
                Rc::new(OfVectorAndScalar { op, vector: left, scalar: right, scalar_first: false, return_bool, span })
            }
            (true, false) => {
                Rc::new(OfVectorAndScalar { op, vector: right, scalar: left, scalar_first: true, return_bool, span })
            }
            (false, false) => {
                let matching = binary.matching.clone().unwrap_or_default();
                if op.is_set() {
                    Rc::new(OfSets { op, left, right, matching })
                } else {
                    Rc::new(OfVectors { op, left, right, matching, return_bool, span })
                }
            }
        })
    }

    fn aggregate(&mut self, aggregate: &Aggregate, span: Span, scope: &str) -> Result<Op, Error> {
        let op = aggregate.op;
        let mut grouping = Grouping { labels: aggregate.grouping.clone(), without: aggregate.without };
        let of = aggregate.expr.unparenthesized();
        if op == AggregateOp::CountValues {
            let label = call::text(aggregate.param.as_deref())?;
            if label.value.is_empty() || !label.is_utf8() {
                return Err(Error::Execution(format!("invalid label name {label}")));
            }
            if !grouping.without {
                grouping.labels.push(label.value.clone());
            }
            let input = self.build(of, scope)?;
            return Ok(Rc::new(CountValues { label: label.value.clone(), input, grouping }));
        }
        let Some(param) = aggregate.param.as_deref().map(Expr::unparenthesized) else {
            let input = self.build(of, scope)?;
            return Ok(Rc::new(Fold { op, input, grouping, span: of.span }));
        };
        let parameter = self.build(param, scope)?;
        let input = self.build(of, scope)?;
        Ok(if op == AggregateOp::Quantile {
            Rc::new(Quantile { q: parameter, q_span: param.span, input, grouping, span: of.span })
        } else {
            Rc::new(Choose { op, parameter, parameter_span: param.span, input, grouping, span })
        })
    }
}
