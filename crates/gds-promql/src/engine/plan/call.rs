//! Calls of functions.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use super::Planner;
use crate::ast::{Call, Expr, ExprKind, Span, StringLiteral, ValueType};
use crate::engine::functions::elementwise::{self, Elementwise};
use crate::engine::functions::histogram::{Ask, OfHistograms};
use crate::engine::functions::label::{NewValue, Relabel};
use crate::engine::functions::range_call::{self, AbsentOverTime, RangeCall};
use crate::engine::functions::scalar::{Absent, OfTwo, Scalar, Time, WholeTime};
use crate::engine::functions::sort::{Key, Sort};
use crate::engine::functions::time_of::{Nothing, TimeOf};
use crate::engine::info::Info;
use crate::engine::operator::Op;
use crate::engine::selector::{SelectVector, Yield};
use crate::error::Error;
use crate::labels::Labels;
use crate::matcher::{METRIC_NAME, MatchOp, Matcher, anchored};

/// The text that an argument is.
pub(super) fn text(expr: Option<&Expr>) -> Result<&StringLiteral, Error> {
    match expr.map(|expr| &expr.unparenthesized().kind) {
        Some(ExprKind::String(literal)) => Ok(literal),
        _ => Err(Error::Execution("expected a string".to_owned())),
    }
}

impl Planner<'_> {
    pub(super) fn call(&mut self, call: &Call, span: Span, scope: &str) -> Result<Op, Error> {
        let name = call.function.name;
        let args: Vec<&Expr> = call.args.iter().map(Expr::unparenthesized).collect();
        if let Some(at) = args.iter().position(|arg| arg.value_type() == ValueType::Matrix) {
            return self.range_call(name, &args, at, scope);
        }
        if let Some(apply) = elementwise::named(name) {
            let (input, rest): (Op, &[&Expr]) = match args.split_first() {
                Some((first, rest)) => (self.build(first, scope)?, rest),
                None => (Rc::new(WholeTime), &[]),
            };
            let arguments = self.all(rest, scope)?;
            let op: Op = Rc::new(Elementwise { name, apply, input, arguments });
            return Ok(op);
        }
        Ok(match (name, args.as_slice()) {
            ("time", _) => Rc::new(Time),
            ("vector", [of]) => self.build(of, scope)?,
            ("scalar", [of]) => Rc::new(Scalar(self.build(of, scope)?)),
            ("max_of" | "min_of", [left, right]) => {
                let both = [self.build(left, scope)?, self.build(right, scope)?];
                Rc::new(OfTwo { greatest: name == "max_of", both })
            }
            ("absent", [of]) => Rc::new(Absent { input: self.build(of, scope)?, labels: absent_labels(of) }),
            ("timestamp" | "start_timestamp", [of]) => self.time_of(name, of, scope)?,
            ("sort" | "sort_desc", [of]) => {
                Rc::new(Sort { input: self.build(of, scope)?, key: Key::Value, descending: name == "sort_desc", span })
            }
            ("sort_by_label" | "sort_by_label_desc", [of, names @ ..]) => Rc::new(Sort {
                input: self.build(of, scope)?,
                key: Key::Labels(
                    names.iter().map(|name| Ok(text(Some(name))?.value.clone())).collect::<Result<_, Error>>()?,
                ),
                descending: name == "sort_by_label_desc",
                span,
            }),
            ("label_replace" | "label_join", [of, rest @ ..]) => self.relabel(name, of, rest, scope)?,
            ("histogram_quantile", [q, of]) => Rc::new(OfHistograms {
                ask: Ask::Quantile(self.build(q, scope)?, q.span),
                input: self.build(of, scope)?,
                span: of.span,
            }),
            ("histogram_quantiles", [of, label, list @ ..]) => {
                let list = list.iter().map(|q| Ok((self.build(q, scope)?, q.span))).collect::<Result<_, Error>>()?;
                Rc::new(OfHistograms {
                    ask: Ask::Quantiles(text(Some(label))?.value.clone(), list),
                    input: self.build(of, scope)?,
                    span: of.span,
                })
            }
            ("histogram_fraction", [lower, upper, of]) => Rc::new(OfHistograms {
                ask: Ask::Fraction(self.build(lower, scope)?, self.build(upper, scope)?),
                input: self.build(of, scope)?,
                span: of.span,
            }),
            ("info", [of, rest @ ..]) => self.info(of, rest.first().copied(), scope)?,
            _ => return Err(Error::Execution(format!("unknown function with name {name:?}"))),
        })
    }

    fn all(&mut self, exprs: &[&Expr], scope: &str) -> Result<Vec<Op>, Error> {
        exprs.iter().map(|expr| self.build(expr, scope)).collect()
    }

    fn range_call(&mut self, name: &'static str, args: &[&Expr], at: usize, scope: &str) -> Result<Op, Error> {
        let range = self.range(args[at], scope)?;
        range_call::check_extension(name, range.extension())?;
        let others: Vec<&Expr> =
            args.iter().enumerate().filter(|(index, _)| *index != at).map(|(_, arg)| *arg).collect();
        let arguments = self.all(&others, scope)?;
        let Some(apply) = range_call::named(name) else {
            return Err(Error::Execution(format!("unknown function with name {name:?}")));
        };
        let call = RangeCall { name, apply, range, arguments, span: args[0].span };
        if name == "absent_over_time" {
            return Ok(Rc::new(AbsentOverTime { call, labels: absent_labels(args[at]) }));
        }
        Ok(Rc::new(call))
    }

    fn time_of(&mut self, name: &str, of: &Expr, scope: &str) -> Result<Op, Error> {
        let is_start = name == "start_timestamp";
        if let ExprKind::Vector(vector) = &of.kind {
            let selector = self.selector(vector, of.span)?;
            return Ok(Rc::new(SelectVector { selector, yields: if is_start { Yield::Start } else { Yield::Time } }));
        }
        if is_start {
            return Ok(Rc::new(Nothing));
        }
        Ok(Rc::new(TimeOf(self.build(of, scope)?)))
    }

    fn relabel(&mut self, name: &str, of: &Expr, rest: &[&Expr], scope: &str) -> Result<Op, Error> {
        let texts = rest.iter().map(|arg| text(Some(arg))).collect::<Result<Vec<_>, _>>()?;
        let checked = |literal: &StringLiteral, what: &str| {
            if literal.value.is_empty() || !literal.is_utf8() {
                let message = format!("invalid {what} label name in {name}(): {}", literal.value);
                return Err(Error::Execution(message));
            }
            Ok(literal.value.clone())
        };
        let (target, value) = match (name, texts.as_slice()) {
            ("label_replace", [target, replacement, source, pattern]) => {
                let regex = anchored(&pattern.value).map_err(|_| {
                    Error::Execution(format!("invalid regular expression in label_replace(): {}", pattern.value))
                })?;
                let (source, replacement) = (source.value.clone(), replacement.value.clone());
                (checked(target, "destination")?, NewValue::Replace { source, regex, replacement })
            }
            (_, [target, separator, sources @ ..]) => {
                let sources = sources.iter().map(|source| checked(source, "source")).collect::<Result<_, _>>()?;
                (checked(target, "destination")?, NewValue::Join { sources, separator: separator.value.clone() })
            }
            _ => return Err(Error::Execution(format!("too few arguments in call of {name}()"))),
        };
        Ok(Rc::new(Relabel { input: self.build(of, scope)?, target, value }))
    }

    fn info(&mut self, of: &Expr, labels: Option<&Expr>, scope: &str) -> Result<Op, Error> {
        let matchers: Vec<Matcher> = match labels.map(|expr| &expr.kind) {
            Some(ExprKind::Vector(vector)) => vector.matchers.clone(),
            _ => Vec::new(),
        };
        let (at, offset) = self.first_selector(of)?.unwrap_or((None, 0));
        let input = self.build(of, scope)?;
        Ok(Rc::new(Info { input, matchers, at, offset, span: labels.unwrap_or(of).span }))
    }

    /// When the first selector of an expression looks: the innermost `@` around it, and the offsets up to there.
    fn first_selector(&self, expr: &Expr) -> Result<Option<(Option<i64>, i64)>, Error> {
        let of = |selector: &crate::ast::VectorSelector| {
            Ok::<_, Error>((self.at(selector.at), self.offset(selector.offset.as_ref())?))
        };
        match &expr.kind {
            ExprKind::Vector(vector) => return of(vector).map(Some),
            ExprKind::Matrix(matrix) => return of(&matrix.selector).map(Some),
            ExprKind::Subquery(subquery) => {
                let Some((at, offset)) = self.first_selector(&subquery.expr)? else { return Ok(None) };
                if at.is_some() {
                    return Ok(Some((at, offset)));
                }
                return Ok(Some((self.at(subquery.at), offset + self.offset(subquery.offset.as_ref())?)));
            }
            _ => {}
        }
        for child in expr.children() {
            if let Some(found) = self.first_selector(child)? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }
}

/// The labels that a selector says a series has to have: where it says it with one matcher.
fn absent_labels(expr: &Expr) -> Labels {
    let matchers = match &expr.kind {
        ExprKind::Vector(vector) => &vector.matchers,
        ExprKind::Matrix(matrix) => &matrix.selector.matchers,
        _ => return Labels::empty(),
    };
    // Of several matchers of a label the first that says a value counts, unless one comes after it.
    let mut certain: BTreeMap<&str, &str> = BTreeMap::new();
    let mut said: BTreeSet<&str> = BTreeSet::new();
    for matcher in matchers.iter().filter(|matcher| matcher.name() != METRIC_NAME) {
        if matcher.op() == MatchOp::Equal && said.insert(matcher.name()) {
            certain.insert(matcher.name(), matcher.value());
        } else {
            certain.remove(matcher.name());
        }
    }
    Labels::from_pairs(certain)
}
