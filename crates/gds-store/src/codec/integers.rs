//! Numbers that are integers, or decimal fractions with few digits: what most metrics are.

/// The greatest power of ten that fractions are multiplied with.
const DIGITS: u8 = 9;
/// Beyond it integers are not exact as numbers.
const EXACT: f64 = 9_007_199_254_740_992.0;

fn power(digits: u8) -> f64 {
    10f64.powi(i32::from(digits))
}

/// The numbers as integers, and how many decimal digits they have then; none where a number would not come back with all
/// its bits.
pub(crate) fn decimal(numbers: &[f64]) -> Option<(u8, Vec<i64>)> {
    let mut integers = Vec::with_capacity(numbers.len());
    let mut digits = 0;
    'more: loop {
        integers.clear();
        for number in numbers {
            match scaled(*number, digits) {
                Some(integer) => integers.push(integer),
                None if digits < DIGITS && number.abs() < EXACT && *number != 0.0 => {
                    digits += 1;
                    continue 'more;
                }
                None => return None,
            }
        }
        return Some((digits, integers));
    }
}

#[allow(clippy::cast_possible_truncation)] // it is checked that the number comes back
fn scaled(number: f64, digits: u8) -> Option<i64> {
    let scaled = (number * power(digits)).round();
    if scaled.abs() >= EXACT || scaled.is_nan() {
        return None;
    }
    let integer = scaled as i64;
    (restored(integer, digits).to_bits() == number.to_bits()).then_some(integer)
}

/// The number of an integer.
pub(crate) fn restored(integer: i64, digits: u8) -> f64 {
    integer as f64 / power(digits)
}

/// The first one and the distance, of integers that all have the same distance.
pub(crate) fn linear(integers: &[i64]) -> Option<(i64, i64)> {
    let first = *integers.first()?;
    let distance = integers.get(1)? - first;
    integers.windows(2).all(|pair| pair[1] - pair[0] == distance).then_some((first, distance))
}
