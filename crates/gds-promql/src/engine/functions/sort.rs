//! `sort` and its likes: the order of the series of an instant query.

use std::cmp::Ordering;

use crate::annotations::Note;
use crate::ast::Span;
use crate::engine::column::{Grid, Point, Series};
use crate::engine::context::Query;
use crate::engine::operator::{Op, Operator, Sink, collect};
use crate::error::Error;

/// What series are sorted by.
pub(in crate::engine) enum Key {
    /// Their values; histograms have no place in that order.
    Value,
    /// The values of labels, numbers in them by what they count; at last all labels.
    Labels(Vec<String>),
}

/// `sort(x)`
pub(in crate::engine) struct Sort {
    pub(in crate::engine) input: Op,
    pub(in crate::engine) key: Key,
    pub(in crate::engine) descending: bool,
    /// Where the call stands.
    pub(in crate::engine) span: Span,
}

impl Operator for Sort {
    fn run(&self, query: &Query<'_>, grid: Grid, sink: &mut Sink<'_>) -> Result<(), Error> {
        if grid.count != 1 {
            query.notes.add(Note::SortInRangeQuery, self.span);
        }
        let mut series = collect(&*self.input, query, grid)?;
        match &self.key {
            Key::Value => {
                for one in &mut series {
                    one.column.drop_histograms();
                }
                if grid.count == 1 {
                    series.sort_by(|a, b| by_value(number(a), number(b), self.descending));
                }
            }
            Key::Labels(names) if grid.count == 1 => series.sort_by(|a, b| {
                let order = by_labels(a, b, names);
                if self.descending { order.reverse() } else { order }
            }),
            Key::Labels(_) => {}
        }
        series.into_iter().filter(|series| !series.column.is_empty()).try_for_each(sink)
    }
}

fn number(series: &Series) -> f64 {
    match series.column.get(0) {
        Some(Point::Float(number)) => number,
        _ => f64::NAN,
    }
}

/// What is no number is last in either order.
pub(in crate::engine) fn by_value(a: f64, b: f64, descending: bool) -> Ordering {
    let order = a.partial_cmp(&b).unwrap_or(Ordering::Equal);
    a.is_nan().cmp(&b.is_nan()).then(if descending { order.reverse() } else { order })
}

fn by_labels(a: &Series, b: &Series, names: &[String]) -> Ordering {
    names
        .iter()
        .map(|name| natural(a.labels.get(name), b.labels.get(name)))
        .find(|order| order.is_ne())
        .unwrap_or_else(|| a.labels.cmp(&b.labels))
}

/// Texts compared piece by piece, runs of digits by the number that they are.
fn natural(a: &str, b: &str) -> Ordering {
    let (mut left, mut right) = (pieces(a), pieces(b));
    loop {
        let (left, right) = match (left.next(), right.next()) {
            (None, None) => return a.cmp(b),
            (None, Some(_)) => return Ordering::Less,
            (Some(_), None) => return Ordering::Greater,
            (Some(left), Some(right)) => (left, right),
        };
        let number =
            |piece: &str| piece.bytes().all(|byte| byte.is_ascii_digit()).then(|| piece.trim_start_matches('0').len());
        let order = match (number(left), number(right)) {
            (Some(one), Some(other)) => {
                one.cmp(&other).then_with(|| left.trim_start_matches('0').cmp(right.trim_start_matches('0')))
            }
            _ => left.cmp(right),
        };
        if order.is_ne() {
            return order;
        }
    }
}

/// Runs of digits, and what is between them.
fn pieces(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let digit = rest.bytes().next()?.is_ascii_digit();
        let length = rest.bytes().take_while(|byte| byte.is_ascii_digit() == digit).count();
        let (piece, after) = rest.split_at(length);
        rest = after;
        Some(piece)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_compared_as_numbers() {
        let mut names = ["cpu10", "cpu2", "cpu", "4", "10", "cpu02b", "cpu2a"];
        names.sort_by(|a, b| natural(a, b));
        assert_eq!(names, ["4", "10", "cpu", "cpu2", "cpu2a", "cpu02b", "cpu10"]);
    }

    #[test]
    fn what_is_no_number_is_last() {
        for descending in [false, true] {
            assert_eq!(by_value(f64::NAN, 1.0, descending), Ordering::Greater);
            assert_eq!(by_value(1.0, f64::NAN, descending), Ordering::Less);
        }
        assert_eq!(by_value(1.0, 2.0, true), Ordering::Greater);
    }
}
