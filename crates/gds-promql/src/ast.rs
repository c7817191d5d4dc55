//! The tree of an expression.
//!
//! The parser gives only trees that are well typed, so an evaluator may rely on this:
//!
//! - the [kind](Expr::value_type) of each argument is what [`Function::argument_type`] says; there are as many as it takes;
//! - an [aggregation](Aggregate) has its parameter exactly where [`AggregateOp::parameter`] says one;
//! - the operands of a [binary expression](Binary) are scalars or instant vectors; [`Binary::matching`] is there exactly
//!   when both are vectors; set operators have two vectors and the cardinality [`Cardinality::ManyToMany`];
//! - `bool` stands only with comparisons, and always where two scalars are compared;
//! - the inner expression of a [subquery](Subquery) is an instant vector;
//! - a [selector](VectorSelector) has a matcher that does not match `""`, unless it is the second argument of `info`;
//! - durations of ranges and steps that are plain numbers are positive;
//! - no expression is deeper than [`MAX_DEPTH`], so functions that call themselves for each node have stack enough.
//!
//! Parentheses are kept, so that what is printed is what was written: see [`Expr::unparenthesized`].

use std::fmt;

use crate::functions::Function;
use crate::matcher::Matcher;
use crate::text::write_quoted_bytes;
pub use crate::types::ValueType;

/// How many expressions can be one inside the other. `a + b + c` has a depth of three, as `(a + b) + c` would have without
/// its parentheses.
pub const MAX_DEPTH: usize = 250;

/// How many of them can be inside parentheses, calls, signs or powers that are themselves inside such ones.
pub const MAX_NESTING: usize = 100;

/// Bytes of the text from `start` up to, not including, `end`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Span {
    /// The first byte.
    pub start: usize,
    /// One past the last byte.
    pub end: usize,
}

impl Span {
    /// From `start` to `end`.
    pub fn new(start: usize, end: usize) -> Self {
        Self { start, end }
    }

    /// From the start of this one to the end of the other.
    #[must_use]
    pub fn to(self, other: Self) -> Self {
        Self { start: self.start, end: other.end }
    }

    /// Line and column of the start in a text, counted from one; columns are bytes.
    pub fn position(self, text: &str) -> (usize, usize) {
        let before = &text.as_bytes()[..self.start.min(text.len())];
        let mut lines = before.rsplit(|byte| *byte == b'\n');
        let column = lines.next().map_or(0, <[u8]>::len) + 1;
        (lines.count() + 1, column)
    }
}

/// An expression and where it stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Expr {
    /// What it is.
    pub kind: ExprKind,
    /// Where it stands, modifiers such as `offset` included.
    pub span: Span,
}

/// The kinds of expressions.
#[derive(Clone, Debug, PartialEq)]
pub enum ExprKind {
    /// `1.5`, `-Inf`, `5m`: a sign before a literal is part of it.
    Number(Number),
    /// `"text"`
    String(StringLiteral),
    /// `up{job="api"} offset 5m`
    Vector(VectorSelector),
    /// `up{job="api"}[5m] offset 5m`
    Matrix(MatrixSelector),
    /// `rate(x[5m])[1h:1m]`
    Subquery(Subquery),
    /// `(x)`
    Paren(Box<Expr>),
    /// `-x`
    Unary(Unary),
    /// `x + y`
    Binary(Binary),
    /// `sum by (job) (x)`
    Aggregate(Aggregate),
    /// `rate(x[5m])`
    Call(Call),
}

impl Expr {
    /// What it evaluates to.
    pub fn value_type(&self) -> ValueType {
        match &self.kind {
            ExprKind::Number(_) => ValueType::Scalar,
            ExprKind::String(_) => ValueType::String,
            ExprKind::Vector(_) | ExprKind::Aggregate(_) => ValueType::Vector,
            ExprKind::Matrix(_) | ExprKind::Subquery(_) => ValueType::Matrix,
            ExprKind::Paren(inner) => inner.value_type(),
            ExprKind::Unary(unary) => unary.expr.value_type(),
            ExprKind::Binary(binary) => {
                if binary.lhs.value_type() == ValueType::Scalar && binary.rhs.value_type() == ValueType::Scalar {
                    ValueType::Scalar
                } else {
                    ValueType::Vector
                }
            }
            ExprKind::Call(call) => call.function.returns,
        }
    }

    /// The expression inside all parentheses around it.
    pub fn unparenthesized(&self) -> &Self {
        let mut expr = self;
        while let ExprKind::Paren(inner) = &expr.kind {
            expr = inner;
        }
        expr
    }

    /// The expressions directly in this one, in the order of the text; an aggregation's parameter before its operand.
    pub fn children(&self) -> impl Iterator<Item = &Self> {
        let (pair, list): ([Option<&Self>; 2], &[Self]) = match &self.kind {
            ExprKind::Number(_) | ExprKind::String(_) | ExprKind::Vector(_) | ExprKind::Matrix(_) => ([None; 2], &[]),
            ExprKind::Subquery(subquery) => ([Some(&subquery.expr), None], &[]),
            ExprKind::Paren(inner) => ([Some(inner), None], &[]),
            ExprKind::Unary(unary) => ([Some(&unary.expr), None], &[]),
            ExprKind::Binary(binary) => ([Some(&binary.lhs), Some(&binary.rhs)], &[]),
            ExprKind::Aggregate(aggregate) => ([aggregate.param.as_deref(), Some(&aggregate.expr)], &[]),
            ExprKind::Call(call) => ([None; 2], &call.args),
        };
        pair.into_iter().flatten().chain(list)
    }
}

/// A number, maybe written as a duration.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Number {
    /// The value; seconds of a duration.
    pub value: f64,
    /// Whether it was written as a duration, `1h30m`. It is a number all the same: `5m + 1` is 301.
    pub duration: bool,
}

/// A text without its quotes and escapes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StringLiteral {
    /// The text; what is no UTF-8 is U+FFFD in it.
    pub value: String,
    /// The bytes of the text where they are no UTF-8, as in `"\xff"`. Such a text is the value of no label.
    pub invalid: Option<Vec<u8>>,
}

impl StringLiteral {
    /// Whether the text is UTF-8.
    pub fn is_utf8(&self) -> bool {
        self.invalid.is_none()
    }
}

impl fmt::Display for StringLiteral {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_quoted_bytes(out, self.invalid.as_deref().unwrap_or(self.value.as_bytes()))
    }
}

/// Chooses series: at each step the newest sample within the lookback.
#[derive(Clone, Debug, PartialEq)]
pub struct VectorSelector {
    /// The name written before the braces. Its matcher is among `matchers`, as the last one.
    pub name: Option<String>,
    /// All conditions, in the order of the text.
    pub matchers: Vec<Matcher>,
    /// `offset`, of the range too where the selector is that of a [`MatrixSelector`].
    pub offset: Option<DurationExpr>,
    /// `@`, likewise.
    pub at: Option<At>,
    /// `anchored` or `smoothed`, likewise.
    pub extension: Option<Extension>,
}

/// Chooses series: at each step the samples of a window. Its modifiers are those of the selector.
#[derive(Clone, Debug, PartialEq)]
pub struct MatrixSelector {
    /// Which series, and the modifiers of the window.
    pub selector: VectorSelector,
    /// Where the selector without its range stands.
    pub selector_span: Span,
    /// The length of the window.
    pub range: DurationExpr,
}

/// An instant vector evaluated at the steps of a window.
#[derive(Clone, Debug, PartialEq)]
pub struct Subquery {
    /// What is evaluated.
    pub expr: Box<Expr>,
    /// The length of the window.
    pub range: DurationExpr,
    /// The distance of the steps; the engine's default where there is none.
    pub step: Option<DurationExpr>,
    /// `offset`
    pub offset: Option<DurationExpr>,
    /// `@`
    pub at: Option<At>,
}

/// The time that `@` sets instead of that of the step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum At {
    /// Milliseconds since 1970.
    Timestamp(i64),
    /// `start()` of the whole query.
    Start,
    /// `end()` of the whole query.
    End,
}

/// How a window takes in what is beside it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extension {
    /// The sample before the window becomes one at its start, the last one of it one at its end.
    Anchored,
    /// The values at start and end are interpolated between the samples around them.
    Smoothed,
}

/// A duration, computed from the step and the range of the query where it is more than a number.
#[derive(Clone, Debug, PartialEq)]
pub struct DurationExpr {
    /// What it is.
    pub kind: DurationKind,
    /// Where it stands.
    pub span: Span,
}

/// The kinds of [durations](DurationExpr).
#[derive(Clone, Debug, PartialEq)]
pub enum DurationKind {
    /// `5m`, `300`, and after `offset` `-5m`.
    Number(Number),
    /// `step()`: the distance of the steps of the query, zero of an instant query.
    Step,
    /// `range()`: the end of the query less its start, zero of an instant query.
    Range,
    /// `min_of(a, b)`
    MinOf(Box<DurationExpr>, Box<DurationExpr>),
    /// `max_of(a, b)`
    MaxOf(Box<DurationExpr>, Box<DurationExpr>),
    /// `-a`
    Negated(Box<DurationExpr>),
    /// `(a)`
    Paren(Box<DurationExpr>),
    /// `a + b`, with [`BinaryOp::Add`], `Sub`, `Mul`, `Div`, `Mod` or `Pow`.
    Binary(BinaryOp, Box<DurationExpr>, Box<DurationExpr>),
}

/// `-x` or `+x`, with `x` no number literal.
#[derive(Clone, Debug, PartialEq)]
pub struct Unary {
    /// Whether it is `-`.
    pub negative: bool,
    /// A scalar or an instant vector.
    pub expr: Box<Expr>,
}

/// Operators between two expressions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BinaryOp {
    /// `+`
    Add,
    /// `-`
    Sub,
    /// `*`
    Mul,
    /// `/`
    Div,
    /// `%`
    Mod,
    /// `^`
    Pow,
    /// `atan2`
    Atan2,
    /// `==`
    Equal,
    /// `!=`
    NotEqual,
    /// `<`
    Less,
    /// `<=`
    LessEqual,
    /// `>`
    Greater,
    /// `>=`
    GreaterEqual,
    /// `</`: leaves of a native histogram what is below a number.
    TrimUpper,
    /// `>/`: leaves of a native histogram what is above a number.
    TrimLower,
    /// `and`
    And,
    /// `or`
    Or,
    /// `unless`
    Unless,
}

impl BinaryOp {
    /// As it is written.
    pub fn text(self) -> &'static str {
        match self {
            Self::Add => "+",
            Self::Sub => "-",
            Self::Mul => "*",
            Self::Div => "/",
            Self::Mod => "%",
            Self::Pow => "^",
            Self::Atan2 => "atan2",
            Self::Equal => "==",
            Self::NotEqual => "!=",
            Self::Less => "<",
            Self::LessEqual => "<=",
            Self::Greater => ">",
            Self::GreaterEqual => ">=",
            Self::TrimUpper => "</",
            Self::TrimLower => ">/",
            Self::And => "and",
            Self::Or => "or",
            Self::Unless => "unless",
        }
    }

    /// `==`, `!=`, `<`, `<=`, `>`, `>=`.
    pub fn is_comparison(self) -> bool {
        matches!(self, Self::Equal | Self::NotEqual | Self::Less | Self::LessEqual | Self::Greater | Self::GreaterEqual)
    }

    /// `and`, `or`, `unless`.
    pub fn is_set(self) -> bool {
        matches!(self, Self::And | Self::Or | Self::Unless)
    }

    /// How strongly it binds: a greater number binds before a smaller one. `^` is the only one that groups to the right.
    pub fn precedence(self) -> u8 {
        match self {
            Self::Or => 1,
            Self::And | Self::Unless => 2,
            Self::Equal
            | Self::NotEqual
            | Self::Less
            | Self::LessEqual
            | Self::Greater
            | Self::GreaterEqual
            | Self::TrimUpper
            | Self::TrimLower => 3,
            Self::Add | Self::Sub => 4,
            Self::Mul | Self::Div | Self::Mod | Self::Atan2 => 5,
            Self::Pow => 6,
        }
    }
}

/// `lhs op rhs`.
#[derive(Clone, Debug, PartialEq)]
pub struct Binary {
    /// The operator.
    pub op: BinaryOp,
    /// What stands before it.
    pub lhs: Box<Expr>,
    /// What stands after it.
    pub rhs: Box<Expr>,
    /// `bool`: a comparison gives 0 or 1 rather than choosing.
    pub return_bool: bool,
    /// How series of the two sides find each other, where both are instant vectors.
    pub matching: Option<VectorMatching>,
}

/// How series of two vectors find each other.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct VectorMatching {
    /// How many of each side belong together.
    pub cardinality: Cardinality,
    /// The labels compared (`on`), or those not compared (`ignoring`, and where neither is written: none).
    pub labels: Vec<String>,
    /// Whether `labels` are those of `on`.
    pub on: bool,
    /// The labels of `group_left` or `group_right` that the result takes over from the side that has one.
    pub include: Vec<String>,
    /// The value of a series that is missing on the left.
    pub fill_left: Option<f64>,
    /// The value of a series that is missing on the right.
    pub fill_right: Option<f64>,
}

/// How many series of the left and the right belong together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Cardinality {
    /// One of each.
    #[default]
    OneToOne,
    /// `group_left`: many of the left.
    ManyToOne,
    /// `group_right`: many of the right.
    OneToMany,
    /// Of the set operators.
    ManyToMany,
}

impl Cardinality {
    /// As errors call it.
    pub fn text(self) -> &'static str {
        match self {
            Self::OneToOne => "one-to-one",
            Self::ManyToOne => "many-to-one",
            Self::OneToMany => "one-to-many",
            Self::ManyToMany => "many-to-many",
        }
    }
}

/// `op by (grouping) (param, expr)`.
#[derive(Clone, Debug, PartialEq)]
pub struct Aggregate {
    /// The aggregation.
    pub op: AggregateOp,
    /// What is aggregated, an instant vector.
    pub expr: Box<Expr>,
    /// Its parameter, of the aggregations that have one.
    pub param: Option<Box<Expr>>,
    /// The labels of `by` or `without`.
    pub grouping: Vec<String>,
    /// Whether `grouping` are those of `without`; else they are those of `by`, none where nothing is written.
    pub without: bool,
}

/// Aggregations over the series of a vector.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AggregateOp {
    /// `sum`
    Sum,
    /// `avg`
    Avg,
    /// `count`
    Count,
    /// `min`
    Min,
    /// `max`
    Max,
    /// `group`
    Group,
    /// `stddev`
    Stddev,
    /// `stdvar`
    Stdvar,
    /// `topk(k, x)`
    Topk,
    /// `bottomk(k, x)`
    Bottomk,
    /// `count_values("label", x)`
    CountValues,
    /// `quantile(q, x)`
    Quantile,
    /// `limitk(k, x)`
    Limitk,
    /// `limit_ratio(ratio, x)`
    LimitRatio,
}

impl AggregateOp {
    /// All of them.
    pub const ALL: [Self; 14] = [
        Self::Sum,
        Self::Avg,
        Self::Count,
        Self::Min,
        Self::Max,
        Self::Group,
        Self::Stddev,
        Self::Stdvar,
        Self::Topk,
        Self::Bottomk,
        Self::CountValues,
        Self::Quantile,
        Self::Limitk,
        Self::LimitRatio,
    ];

    /// As it is written.
    pub fn text(self) -> &'static str {
        match self {
            Self::Sum => "sum",
            Self::Avg => "avg",
            Self::Count => "count",
            Self::Min => "min",
            Self::Max => "max",
            Self::Group => "group",
            Self::Stddev => "stddev",
            Self::Stdvar => "stdvar",
            Self::Topk => "topk",
            Self::Bottomk => "bottomk",
            Self::CountValues => "count_values",
            Self::Quantile => "quantile",
            Self::Limitk => "limitk",
            Self::LimitRatio => "limit_ratio",
        }
    }

    /// What its parameter is, where it has one.
    pub fn parameter(self) -> Option<ValueType> {
        match self {
            Self::Topk | Self::Bottomk | Self::Quantile | Self::Limitk | Self::LimitRatio => Some(ValueType::Scalar),
            Self::CountValues => Some(ValueType::String),
            _ => None,
        }
    }
}

/// `function(args)`.
#[derive(Clone, Debug, PartialEq)]
pub struct Call {
    /// What is called.
    pub function: &'static Function,
    /// What it is given.
    pub args: Vec<Expr>,
}
