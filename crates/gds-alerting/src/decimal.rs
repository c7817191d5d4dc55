//! Decimal numbers as people write them, compared and reckoned with exactly.

use std::cmp::Ordering;
use std::fmt;

/// More digits than this stay floats: two of them can be multiplied within an `i128`.
const MAX_DIGITS: usize = 36;
const MAX_SCALE: i32 = 36;

/// A number of decimal text: `mantissa / 10^scale`.
#[derive(Clone, Copy, Debug)]
pub struct Decimal {
    mantissa: i128,
    scale: u32,
}

impl Decimal {
    /// Reads `-12.50`, `3e-4` and the like; `None` where the text is no number or one of too many digits.
    pub fn parse(text: &str) -> Option<Self> {
        let (negative, digits) = match text.as_bytes().first()? {
            b'-' => (true, &text[1..]),
            b'+' => (false, &text[1..]),
            _ => (false, text),
        };
        let (digits, exponent) = match digits.find(['e', 'E']) {
            Some(at) => (&digits[..at], digits[at + 1..].parse::<i32>().ok()?),
            None => (digits, 0),
        };
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
        if whole.is_empty() && fraction.is_empty() || whole.len() + fraction.len() > MAX_DIGITS {
            return None;
        }
        let mut mantissa: i128 = 0;
        for byte in whole.bytes().chain(fraction.bytes()) {
            if !byte.is_ascii_digit() {
                return None;
            }
            mantissa = mantissa * 10 + i128::from(byte - b'0');
        }
        let scale = i32::try_from(fraction.len()).ok()?.checked_sub(exponent)?;
        let mantissa = if negative { -mantissa } else { mantissa };
        if scale > MAX_SCALE {
            return None;
        }
        if scale < 0 {
            let mantissa = mantissa.checked_mul(power(scale.unsigned_abs())?)?;
            return Some(Self { mantissa, scale: 0 });
        }
        Some(Self { mantissa, scale: scale.unsigned_abs() })
    }

    /// The shortest decimal that reads as this float; `None` where it is not finite or out of range.
    pub fn from_float(value: f64) -> Option<Self> {
        if !value.is_finite() {
            return None;
        }
        Self::parse(&value.to_string())
    }

    /// The nearest float.
    pub fn to_float(self) -> f64 {
        // Both exact in a float, so the quotient is rounded once.
        if self.mantissa.unsigned_abs() < 1 << 53 && self.scale <= 22 {
            return self.mantissa as f64 / 10f64.powi(self.scale.cast_signed());
        }
        format!("{}e-{}", self.mantissa, self.scale).parse().unwrap_or(f64::NAN)
    }

    /// As a count of `10^-scale`; `None` where it does not fit, or where digits would be lost.
    pub fn scaled(self, scale: u32) -> Option<i128> {
        if let Some(more) = scale.checked_sub(self.scale) {
            return self.mantissa.checked_mul(power(more)?);
        }
        let unit = power(self.scale - scale)?;
        (self.mantissa % unit == 0).then(|| self.mantissa / unit)
    }

    fn aligned(self, other: Self) -> Option<(i128, i128, u32)> {
        let scale = self.scale.max(other.scale);
        Some((self.scaled(scale)?, other.scaled(scale)?, scale))
    }

    fn add(self, other: Self) -> Option<Self> {
        let (left, right, scale) = self.aligned(other)?;
        Some(Self { mantissa: left.checked_add(right)?, scale })
    }

    fn multiply(self, other: Self) -> Option<Self> {
        let scale = self.scale + other.scale;
        let product = Self { mantissa: self.mantissa.checked_mul(other.mantissa)?, scale };
        (scale <= MAX_SCALE.unsigned_abs()).then_some(product)
    }

    fn negate(self) -> Self {
        Self { mantissa: -self.mantissa, scale: self.scale }
    }
}

fn power(exponent: u32) -> Option<i128> {
    10i128.checked_pow(exponent)
}

impl PartialEq for Decimal {
    fn eq(&self, other: &Self) -> bool {
        Number::Exact(*self).compare(Number::Exact(*other)) == Some(Ordering::Equal)
    }
}

impl fmt::Display for Decimal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (mut mantissa, mut scale) = (self.mantissa, self.scale);
        while scale > 0 && mantissa % 10 == 0 {
            (mantissa, scale) = (mantissa / 10, scale - 1);
        }
        if scale == 0 {
            return write!(formatter, "{mantissa}");
        }
        let width = scale as usize;
        let digits = format!("{:0>1$}", mantissa.unsigned_abs(), width + 1);
        let (whole, fraction) = digits.split_at(digits.len() - width);
        write!(formatter, "{}{whole}.{fraction}", if mantissa < 0 { "-" } else { "" })
    }
}

/// A number that stays exact as long as it can.
#[derive(Clone, Copy, Debug)]
pub enum Number {
    /// Of decimal text, and what sums, differences and products of such are.
    Exact(Decimal),
    /// Of a quotient, or of more digits than a decimal takes.
    Float(f64),
}

impl Number {
    /// No number: comparisons with it are false.
    pub const NONE: Self = Self::Float(f64::NAN);

    /// Reads text as a number.
    pub fn parse(text: &str) -> Option<Self> {
        if let Some(exact) = Decimal::parse(text) {
            return Some(Self::Exact(exact));
        }
        // "inf", "nan" and "infinity" are words, not numbers.
        if text.bytes().any(|byte| byte.is_ascii_digit()) { text.parse().ok().map(Self::Float) } else { None }
    }

    /// The nearest float.
    pub fn to_float(self) -> f64 {
        match self {
            Self::Exact(value) => value.to_float(),
            Self::Float(value) => value,
        }
    }

    /// The exact value: a float counts as the shortest decimal that reads as it.
    pub fn to_decimal(self) -> Option<Decimal> {
        match self {
            Self::Exact(value) => Some(value),
            Self::Float(value) => Decimal::from_float(value),
        }
    }

    fn exactly(self, other: Self, operation: impl Fn(Decimal, Decimal) -> Option<Decimal>) -> Option<Self> {
        match (self, other) {
            (Self::Exact(left), Self::Exact(right)) => operation(left, right).map(Self::Exact),
            _ => None,
        }
    }

    /// The sum.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        self.exactly(other, Decimal::add).unwrap_or_else(|| Self::Float(self.to_float() + other.to_float()))
    }

    /// The difference.
    #[must_use]
    pub fn subtract(self, other: Self) -> Self {
        self.exactly(other, |left, right| left.add(right.negate()))
            .unwrap_or_else(|| Self::Float(self.to_float() - other.to_float()))
    }

    /// The product.
    #[must_use]
    pub fn multiply(self, other: Self) -> Self {
        self.exactly(other, Decimal::multiply).unwrap_or_else(|| Self::Float(self.to_float() * other.to_float()))
    }

    /// The quotient; nothing divided by zero is a number.
    #[must_use]
    pub fn divide(self, other: Self) -> Self {
        if other.to_float() == 0.0 {
            return Self::NONE;
        }
        Self::Float(self.to_float() / other.to_float())
    }

    /// The number with its sign turned.
    #[must_use]
    pub fn negate(self) -> Self {
        match self {
            Self::Exact(value) => Self::Exact(value.negate()),
            Self::Float(value) => Self::Float(-value),
        }
    }

    /// How two numbers stand to each other; `None` where one is none.
    pub fn compare(self, other: Self) -> Option<Ordering> {
        let (left, right) = (self.to_float(), other.to_float());
        match left.partial_cmp(&right)? {
            // Rounding keeps the order of numbers, so only floats that are equal may hide a difference.
            Ordering::Equal => {
                let exact = self.to_decimal().zip(other.to_decimal()).and_then(|(left, right)| left.aligned(right));
                Some(exact.map_or(Ordering::Equal, |(left, right, _)| left.cmp(&right)))
            }
            unequal => Some(unequal),
        }
    }
}

impl fmt::Display for Number {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(value) => value.fmt(formatter),
            Self::Float(value) => value.fmt(formatter),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(text: &str) -> Number {
        Number::parse(text).expect("a number")
    }

    #[test]
    fn products_of_decimals_are_exact() {
        let budget = number("14.4").multiply(number("0.001"));
        assert_eq!(number("0.0144").compare(budget), Some(Ordering::Equal));
        assert_eq!(number("0.01440000000000000000001").compare(budget), Some(Ordering::Greater));
        assert_eq!(number("0.1").plus(number("0.2")).compare(number("0.3")), Some(Ordering::Equal));
        assert_eq!(number("1").subtract(number("0.9")).to_string(), "0.1");
    }

    #[test]
    fn a_float_is_the_shortest_decimal_that_reads_as_it() {
        assert_eq!(Number::Float(0.1).compare(number("0.1")), Some(Ordering::Equal));
        assert_eq!(number("-12.50").to_string(), "-12.5");
        assert_eq!(number("3e-4").to_string(), "0.0003");
        assert_eq!(number("1e3").to_string(), "1000");
        assert_eq!(number("-0.05").to_string(), "-0.05");
    }

    #[test]
    fn what_is_no_number_compares_with_nothing() {
        for text in ["", "-", ".", "1.2.3", "nan", "inf", "1e", "0x10", "ten", "1 "] {
            assert!(Number::parse(text).is_none(), "{text:?}");
        }
        assert_eq!(number("1").divide(number("0")).compare(number("1")), None);
        assert_eq!(number("1e300").compare(number("1e299")), Some(Ordering::Greater));
    }
}
