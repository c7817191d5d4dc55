//! The values of one metric's series in a part, each series in the way that fits it.
//!
//! What is no number is kept beside the others, with all its bits: a stale marker at the end of a flat line leaves it a
//! flat line. What remains is one number, integers at one distance, or a page of what is packed by pco for all series
//! together. Whether pco wins is tried: on a sample of the series it is compared with [`xor`].

use super::packed::{self, Packed};
use super::{Damaged, Input, integers, put_signed, put_varint, xor};

/// Series that are tried in both ways.
const SAMPLE: usize = 8;

/// How the values of one series are kept.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Form {
    /// There is none that is a number.
    None,
    /// All have the same bits.
    Same(u64),
    /// Integers at one distance.
    Linear(i64, i64),
    /// A page of [`xor`].
    Xor(Vec<u8>),
    /// A page of numbers in the chunk of numbers.
    Numbers(Vec<u8>),
    /// A page of integers in the chunk of integers, with so many decimal digits.
    Decimal(u8, Vec<u8>),
}

/// Values of a series that are no numbers: where they are, and their bits.
pub(crate) type NotNumbers = Vec<(usize, u64)>;

/// A metric's series, encoded.
pub(crate) struct Group {
    /// Of each series.
    pub(crate) forms: Vec<(NotNumbers, Form)>,
    /// What pages of numbers share; empty where there is none.
    pub(crate) numbers: Vec<u8>,
    /// What pages of integers share.
    pub(crate) integers: Vec<u8>,
}

/// Encodes the values of series.
pub(crate) fn encode(series: &[&[f64]]) -> Group {
    let mut group = Group { forms: Vec::with_capacity(series.len()), numbers: Vec::new(), integers: Vec::new() };
    let (mut floats, mut decimals) = (Vec::new(), Vec::new());
    for (at, values) in series.iter().enumerate() {
        let not_numbers: NotNumbers = (values.iter().enumerate())
            .filter(|(_, value)| value.is_nan())
            .map(|(at, value)| (at, value.to_bits()))
            .collect();
        let numbers: Vec<f64> = values.iter().copied().filter(|value| !value.is_nan()).collect();
        let form = match numbers.first().map(|first| first.to_bits()) {
            None => Form::None,
            Some(first) if numbers.iter().all(|number| number.to_bits() == first) => Form::Same(first),
            Some(_) => {
                match integers::decimal(&numbers) {
                    Some((digits, integers)) => match integers::linear(&integers).filter(|_| digits == 0) {
                        Some((first, distance)) => {
                            group.forms.push((not_numbers, Form::Linear(first, distance)));
                            continue;
                        }
                        None => decimals.push((at, digits, integers, numbers)),
                    },
                    None => floats.push((at, numbers)),
                }
                Form::None // for now
            }
        };
        group.forms.push((not_numbers, form));
    }
    let own: Vec<&[f64]> = floats.iter().map(|(_, numbers)| numbers.as_slice()).collect();
    let packed = better(&own, &own);
    for (place, (at, numbers)) in floats.iter().enumerate() {
        group.forms[*at].1 = match &packed {
            Some(packed) => Form::Numbers(packed.pages[place].clone()),
            None => Form::Xor(xor::encode(numbers)),
        };
    }
    group.numbers = packed.map(|packed| packed.shared).unwrap_or_default();
    let own: Vec<&[i64]> = decimals.iter().map(|(_, _, integers, _)| integers.as_slice()).collect();
    let plain: Vec<&[f64]> = decimals.iter().map(|(_, _, _, numbers)| numbers.as_slice()).collect();
    let packed = better(&own, &plain);
    for (place, (at, digits, _, numbers)) in decimals.iter().enumerate() {
        group.forms[*at].1 = match &packed {
            Some(packed) => Form::Decimal(*digits, packed.pages[place].clone()),
            None => Form::Xor(xor::encode(numbers)),
        };
    }
    group.integers = packed.map(|packed| packed.shared).unwrap_or_default();
    group
}

/// The series packed, where a sample of them takes less so than by their bits.
fn better<T: pco::data_types::Number>(series: &[&[T]], plain: &[&[f64]]) -> Option<Packed> {
    if series.is_empty() {
        return None;
    }
    let every = series.len().div_ceil(SAMPLE);
    let sample: Vec<&[T]> = series.iter().step_by(every).copied().collect();
    let tried = packed::encode(&sample)?;
    let by_bits: usize = plain.iter().step_by(every).map(|numbers| xor::encode(numbers).len()).sum();
    if tried.size() >= by_bits {
        return None;
    }
    if every == 1 { Some(tried) } else { packed::encode(series) }
}

/// The values of a series of `count` samples, of its numbers and of those that are none.
pub(crate) fn restore(not_numbers: &NotNumbers, numbers: Vec<f64>, count: usize) -> Result<Vec<f64>, Damaged> {
    if not_numbers.is_empty() {
        return if numbers.len() == count { Ok(numbers) } else { Err(Damaged("a page has too few numbers")) };
    }
    let mut values = Vec::with_capacity(count);
    let (mut numbers, mut others) = (numbers.into_iter(), not_numbers.iter().peekable());
    for at in 0..count {
        let value = match others.next_if(|(place, _)| *place == at) {
            Some((_, bits)) => f64::from_bits(*bits),
            None => numbers.next().ok_or(Damaged("a page has too few numbers"))?,
        };
        values.push(value);
    }
    Ok(values)
}

/// Writes where values are that are no numbers.
pub(crate) fn put_not_numbers(out: &mut Vec<u8>, not_numbers: &NotNumbers) {
    put_varint(out, not_numbers.len() as u64);
    let mut next = 0;
    for (at, bits) in not_numbers {
        put_varint(out, (at - next) as u64);
        put_varint(out, bits.swap_bytes());
        next = at + 1;
    }
}

/// What [`put_not_numbers`] wrote, of a page of `count` samples.
pub(crate) fn read_not_numbers(input: &mut Input<'_>, count: usize) -> Result<NotNumbers, Damaged> {
    let many = input.at_most(count)?;
    let mut next = 0;
    let mut found = NotNumbers::new();
    for _ in 0..many {
        let at = next + input.at_most(count)?;
        if at >= count {
            return Err(Damaged("a value is beyond the end of its page"));
        }
        found.push((at, input.varint()?.swap_bytes()));
        next = at + 1;
    }
    Ok(found)
}

/// Writes integers at one distance.
pub(crate) fn put_linear(out: &mut Vec<u8>, first: i64, distance: i64) {
    put_signed(out, first);
    put_signed(out, distance);
}

/// `count` integers at one distance.
pub(crate) fn linear(first: i64, distance: i64, count: usize) -> Vec<f64> {
    std::iter::successors(Some(first), |last| Some(last.wrapping_add(distance)))
        .take(count)
        .map(|integer| integers::restored(integer, 0))
        .collect()
}
