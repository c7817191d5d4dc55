//! What an expression gives for a sample. Nothing in it fails: what is no number compares with nothing.

use std::cmp::Ordering;

use super::ast::{Arithmetic, Comparison, Node, Type};
use crate::decimal::Number;
use crate::sample::Sample;

pub(super) fn condition(node: &Node, sample: &Sample) -> bool {
    match node {
        Node::Condition(value) => *value,
        Node::Not(inner) => !condition(inner, sample),
        Node::And(left, right) => condition(left, sample) && condition(right, sample),
        Node::Or(left, right) => condition(left, sample) || condition(right, sample),
        Node::Compare(operator, left, right) => compare(*operator, left, right, sample),
        Node::In(inner, list) => list.iter().any(|item| compare(Comparison::Equal, inner, item, sample)),
        Node::Matches(inner, pattern) => pattern.is_match(text(inner, sample)),
        // The parser lets only conditions come here.
        _ => false,
    }
}

pub(super) fn number(node: &Node, sample: &Sample) -> Number {
    match node {
        Node::Number(value) => *value,
        Node::Value => sample.number(),
        Node::Negate(inner) => number(inner, sample).negate(),
        Node::Calculate(operator, left, right) => {
            let (left, right) = (number(left, sample), number(right, sample));
            match operator {
                Arithmetic::Add => left.plus(right),
                Arithmetic::Subtract => left.subtract(right),
                Arithmetic::Multiply => left.multiply(right),
                Arithmetic::Divide => left.divide(right),
            }
        }
        other => Number::parse(text(other, sample).trim()).unwrap_or(Number::NONE),
    }
}

fn text<'a>(node: &'a Node, sample: &'a Sample) -> &'a str {
    match node {
        Node::Text(value) => value,
        Node::Metric => &sample.metric,
        Node::InstanceId => &sample.instance_id,
        Node::DatabaseType => &sample.database_type,
        Node::Tag(name) => sample.tag(name),
        _ => "",
    }
}

fn compare(operator: Comparison, left: &Node, right: &Node, sample: &Sample) -> bool {
    let ordering = match (left.kind(), right.kind()) {
        (Type::Condition, _) | (_, Type::Condition) => Some(condition(left, sample).cmp(&condition(right, sample))),
        (Type::Text, Type::Text) => Some(text(left, sample).cmp(text(right, sample))),
        _ => number(left, sample).compare(number(right, sample)),
    };
    match operator {
        Comparison::Equal => ordering == Some(Ordering::Equal),
        Comparison::Unequal => ordering != Some(Ordering::Equal),
        Comparison::Less => ordering == Some(Ordering::Less),
        Comparison::LessOrEqual => matches!(ordering, Some(Ordering::Less | Ordering::Equal)),
        Comparison::Greater => ordering == Some(Ordering::Greater),
        Comparison::GreaterOrEqual => matches!(ordering, Some(Ordering::Greater | Ordering::Equal)),
    }
}
