//! A compiled expression.

use regex::Regex;

use crate::decimal::Number;

/// What an expression gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    /// True or false.
    Condition,
    /// A number.
    Number,
    /// Text; counts as a number where one is needed and it reads as one.
    Text,
}

impl Type {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Condition => "a condition",
            Self::Number => "a number",
            Self::Text => "text",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Comparison {
    Equal,
    Unequal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Arithmetic {
    Add,
    Subtract,
    Multiply,
    Divide,
}

#[derive(Clone, Debug)]
pub(super) enum Node {
    Number(Number),
    Text(String),
    Condition(bool),
    Value,
    Metric,
    InstanceId,
    DatabaseType,
    Tag(String),
    Not(Box<Node>),
    Negate(Box<Node>),
    And(Box<Node>, Box<Node>),
    Or(Box<Node>, Box<Node>),
    Compare(Comparison, Box<Node>, Box<Node>),
    Calculate(Arithmetic, Box<Node>, Box<Node>),
    In(Box<Node>, Vec<Node>),
    Matches(Box<Node>, Regex),
}

impl Node {
    pub(super) fn kind(&self) -> Type {
        match self {
            Self::Number(_) | Self::Value | Self::Negate(_) | Self::Calculate(..) => Type::Number,
            Self::Text(_) | Self::Metric | Self::InstanceId | Self::DatabaseType | Self::Tag(_) => Type::Text,
            _ => Type::Condition,
        }
    }

    /// Whether what it gives changes from sample to sample of one series.
    pub(super) fn uses_value(&self) -> bool {
        match self {
            Self::Value => true,
            Self::Not(inner) | Self::Negate(inner) | Self::Matches(inner, _) => inner.uses_value(),
            Self::And(left, right)
            | Self::Or(left, right)
            | Self::Compare(_, left, right)
            | Self::Calculate(_, left, right) => left.uses_value() || right.uses_value(),
            Self::In(inner, list) => inner.uses_value() || list.iter().any(Self::uses_value),
            _ => false,
        }
    }
}
